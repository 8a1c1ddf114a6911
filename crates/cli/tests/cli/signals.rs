//! ctrl-C once and twice, the terminal gone, kill -9: what is left is evidence, and nothing else.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::pipe::PipeFlags;

use crate::support::{LONG, Project, Started, in_session, nothing_left, open_terminal, wait};

/// A run whose host does something for ever, with a daemon beside it, marked by a variable.
fn busy(mark: &str) -> Project {
    let project = Project::new();
    let text = format!(
        "hosts.n = [\"a\", \"b\"]\nenv.{mark} = \"1\"\n[[test]]\nname = \"first\"\nsteps = [{{ run = \"true\", on = \"n\" }}]\n\
         [[test]]\nname = \"busy\"\nsteps = [{{ sh = \"setsid sleep 1000 & echo now busy; sleep 1000\", on = \"n\" }}]\n"
    );
    project.write("busy.toml", &text);
    project
}

fn start(project: &Project) -> Started {
    let started = project.start(&["run", "busy.toml"]);
    wait_for_busy(project);
    started
}

/// Until both hosts do what they do for ever.
fn wait_for_busy(project: &Project) {
    for host in ["a", "b"] {
        project.wait_for_event(&format!("\"kind\":\"output\",\"process\":\"{host}/sh.1\""));
    }
}

#[test]
fn once_ends_in_order() {
    let project = busy("NS_TEST_ONCE");
    let started = start(&project);
    started.signal("INT");
    let (ran, took) = started.end();
    ran.expect(130).says("unknown").says("[interrupted]");
    ran.says("the run was interrupted in step 1 of 1: sh `setsid sleep").says("--> busy.toml:8:12\n");
    ran.says("busy.toml:8 --seed ").says("   stops just before it\n");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let verdict = project.verdict();
    assert_eq!((&verdict["verdict"], &verdict["reason"]["name"]), (&"unknown".into(), &"interrupted".into()));
    assert_eq!(verdict["tests"][0]["verdict"], "passed");
    assert_eq!(verdict["tests"][1]["verdict"], "unknown");
    assert_eq!(verdict["teardown"]["ok"], true);
    nothing_left("NS_TEST_ONCE=1");
}

/// A run that does something here for ever, with a daemon beside it, marked by a variable.
fn busy_here(project: &Project, mark: &str) -> Started {
    let sh = format!("sh = \"sleep 1000 & echo now busy; sleep 1000\", on = \"here\", env.{mark} = \"1\"");
    project.scenario("here.toml", &format!("{{ {sh} }}"));
    let started = project.start(&["run", "here.toml"]);
    project.wait_for_event("\"process\":\"here/sh.1\",\"stream\":\"stdout\"");
    started
}

/// What runs here goes with all that it started.
#[test]
fn commands_here_end_with_the_run() {
    let project = Project::new();
    let started = busy_here(&project, "NS_TEST_HERE");
    started.signal("INT");
    let (ran, took) = started.end();
    ran.expect(130);
    assert!(took < Duration::from_secs(5), "{took:?}");
    nothing_left("NS_TEST_HERE=1");
}

#[test]
fn commands_here_end_with_a_killed_runner() {
    let project = Project::new();
    let started = busy_here(&project, "NS_TEST_HERE_KILL");
    started.signal("KILL");
    started.end();
    nothing_left("NS_TEST_HERE_KILL=1");
}

/// Also when only the test is over that it belongs to.
#[test]
fn commands_here_end_with_their_test() {
    let project = Project::new();
    let text = "hosts.n = 1\n[[test]]\nname = \"first\"\nwithin = \"1s\"\nkeep_going = true\n\
        steps = [{ sh = \"sleep 1000 & sleep 1000\", on = \"here\", env.NS_TEST_HERE_TEST = \"1\" }]\n\
        [[test]]\nname = \"second\"\n\
        steps = [{ sh = \"until [ -e go ]; do sleep 0.05; done\", on = \"here\" }]\n";
    project.write("here.toml", text);
    let started = project.start(&["run", "here.toml"]);
    project.wait_for_event("\"process\":\"here/sh.2\"");
    nothing_left("NS_TEST_HERE_TEST=1");
    project.write("go", "");
    started.end().0.expect(1).says("[test-timed-out]");
    let events = project.events();
    let ended = events.iter().find(|event| event["kind"] == "process.ended").unwrap();
    assert_eq!((&ended["process"], &ended["outcome"]), (&"here/sh.1".into(), &"cancelled".into()));
}

/// What does not end by itself is cut off, so that the run ends in time.
#[test]
fn cleanup_runs_after_an_interrupt_but_not_for_long() {
    let project = busy("NS_TEST_CLEANUP");
    let path = project.path().join("busy.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let case = "cleanup = [{ note = \"of the case\" }, { run = \"sleep 100\", on = \"a\" }]\n";
    let test = "cleanup = [{ note = \"of the test\" }]\n";
    std::fs::write(path, format!("{case}{text}{test}")).unwrap();
    let started = start(&project);
    started.signal("INT");
    let (ran, took) = started.end();
    ran.expect(130).says("[interrupted]").says("cleanup was cut off 2s after the interrupt");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let notes: Vec<_> =
        project.events().iter().filter_map(|event| Some(event["text"].as_str()?.to_owned())).collect();
    let at = |text: &str| notes.iter().position(|note| note == text);
    assert!(at("of the test").is_some() && at("of the test") < at("of the case"), "{notes:?}");
    assert_eq!(project.verdict()["teardown"]["ok"], true);
    nothing_left("NS_TEST_CLEANUP=1");
}

#[test]
fn term_is_one_ctrl_c() {
    let project = busy("NS_TEST_TERM");
    let started = start(&project);
    started.signal("TERM");
    started.end().0.expect(143);
    assert_eq!(project.verdict()["verdict"], "unknown");
    nothing_left("NS_TEST_TERM=1");
}

#[test]
fn twice_ends_at_once() {
    let project = busy("NS_TEST_TWICE");
    let started = start(&project);
    // A stopped keeper would hold up an orderly end for ever.
    started.signal("INT");
    started.signal("INT");
    started.signal("TERM");
    let (ran, took) = started.end();
    assert!([130, 143].contains(&ran.code()), "{}", ran.code());
    assert!(took < Duration::from_secs(2), "{took:?}");
    nothing_left("NS_TEST_TWICE=1");
}

#[test]
fn a_killed_runner_leaves_its_evidence_and_nothing_else() {
    let project = busy("NS_TEST_KILL");
    let started = start(&project);
    started.signal("KILL");
    started.end();
    nothing_left("NS_TEST_KILL=1");
    let events = project.events();
    assert!(events.iter().any(|event| event["kind"] == "output"), "all up to that moment is there");
    let output = std::fs::read_to_string(project.last().join("hosts/a/sh.1.stdout")).unwrap();
    assert_eq!(output, "now busy\n");
    assert!(!project.last().join("verdict.json").exists());
    project.run(&["runs"]).expect(0).says("unknown");
    project.run(&["logs", "last", "a"]).expect(0).says("now busy");
    let shown = project.run(&["runs", "last"]);
    shown.expect(0).says("unknown  busy").says("[unfinished]").says("step 2.1 began: ").says("evidence ");
    shown.says("repeat   netsplit run busy.toml --seed ");
    project.run(&["enter", "last", "a"]).expect(2).complains("is gone");
}

#[test]
fn the_terminal_goes_away() {
    let project = busy("NS_TEST_HUP");
    let (master, name) = open_terminal();
    let open = || std::fs::File::options().read(true).write(true).open(&name).unwrap();
    let mut command = in_session(&project, &["run", "busy.toml"]);
    // Nobody reads it even before.
    fill(open());
    let mut child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
    wait_for_busy(&project);
    drop(master);
    wait(&mut child, LONG);
    nothing_left("NS_TEST_HUP=1");
    assert_eq!(project.verdict()["reason"]["name"], "interrupted");
}

/// A pipe that takes nothing any more, and its reader.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, full) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
    fill(&full);
    (reader, full)
}

/// Writes until nothing more is taken.
fn fill(full: impl AsFd) {
    let flags = rustix::fs::fcntl_getfl(&full).unwrap();
    rustix::fs::fcntl_setfl(&full, flags | OFlags::NONBLOCK).unwrap();
    while rustix::io::write(&full, b"x").is_ok() {}
    rustix::fs::fcntl_setfl(&full, flags).unwrap();
}

#[test]
fn output_that_nobody_takes_holds_up_no_run() {
    let project = Project::new();
    project.scenario("x.toml", "{ run = \"echo hello\", on = \"a\" }");
    let (reader, full) = full_pipe();
    let mut child = project.command(&["run", "x.toml"]).stdout(full).spawn().unwrap();
    project.wait_for_event("\"teardown.ended\"");
    drop(reader);
    wait(&mut child, LONG);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(project.verdict()["verdict"], "passed");
}

/// A pipe that nobody reads, or a terminal that is stopped.
#[test]
fn output_that_nobody_takes_does_not_hold_up_the_end() {
    let project = busy("NS_TEST_STUCK");
    let (reader, full) = full_pipe();
    // Its first line waits for ever.
    let mut child = project.command(&["run", "busy.toml"]).stdout(full).spawn().unwrap();
    wait_for_busy(&project);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let begun = Instant::now();
    wait(&mut child, LONG);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(project.verdict()["reason"]["name"], "interrupted");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(reader);
    nothing_left("NS_TEST_STUCK=1");
}

/// As under `nohup`.
#[test]
fn a_signal_that_is_ignored_interrupts_nothing() {
    let project = Project::new();
    project.scenario("x.toml", "{ run = \"sleep 1\", on = \"a\" }");
    let mut shell = project.prepare(Command::new("/bin/sh"));
    shell.args(["-c", "trap '' HUP; exec \"$0\" run x.toml", env!("CARGO_BIN_EXE_netsplit")]);
    let mut child = shell.spawn().unwrap();
    project.wait_for_event("process.started");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::HUP)
        .unwrap();
    wait(&mut child, LONG);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(project.verdict()["verdict"], "passed");
}

#[test]
fn who_asks_is_told_what_is_waited_for() {
    let project = Project::new();
    project.scenario(
        "x.toml",
        "{ run = \"true\", on = \"a\" },\n{ wait_for = \"never comes\", on = \"a\", within = \"30s\" }",
    );
    let started = project.start(&["run", "x.toml"]);
    project.wait_for_event("wait.began");
    started.signal("USR1");
    std::thread::sleep(Duration::from_millis(300));
    started.signal("INT");
    let (ran, _) = started.end();
    ran.complains("waiting for `never comes` on a");
}
