//! Kept and running testbeds: enter, logs, runs, clean.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use crate::support::{Project, Ran, left_behind, nothing_left};

#[test]
fn a_kept_testbed_can_be_entered_and_ends_with_clean() {
    let project = Project::new();
    let text = "hosts.n = [\"a\", \"b\"]\nenv.NS_TEST_KEEP = \"1\"\n[[test]]\nname = \"x\"\nsteps = [\n\
                { start = \"sh -c 'while sleep 0.1; do echo tick; done'\", on = \"a\", name = \"ticker\" },\n\
                { sh = \"echo made > /root/made\", on = \"a\" },\n{ run = \"false\", on = \"b\" },\n]\n";
    project.write("x.toml", text);
    project.run(&["run", "x.toml", "--keep", "failed"]).expect(1).says("kept: netsplit enter");
    project.run(&["runs"]).expect(0).says("kept: netsplit enter");
    let entered = project.run(&["enter", "last", "a", "--", "sh", "-c", "cat /root/made; hostname; exit 7"]);
    assert_eq!(entered.expect(7).out(), "made\na\n");
    project.run(&["enter", "a", "--", "pgrep", "-f", "sleep 0.1"]).expect(0);
    project.run(&["enter", "last", "x"]).expect(2).complains("no host `x`").complains("hosts: a b");
    project
        .run(&["enter", "last", "a", "--", "no-such-program"])
        .expect(241)
        .complains("no program `no-such-program`");
    let mut command = project.command(&["enter", "last", "b", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\0binary\xff").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"\0binary\xff");
    project.run(&["enter", "last"]).expect(2).complains("which host of run ").complains("hosts: a b");
    project.run(&["enter", "a/ticker", "--", "true"]).expect(0);
    project.run(&["enter", "zz"]).expect(2).complains("no run `zz`");
    // A run that left no testbed is no reason to refuse the one that is there.
    project.scenario("later.toml", "{ run = \"true\", on = \"a\" }").run(&["run", "later.toml"]).expect(0);
    assert_eq!(project.run(&["enter", "last", "a", "--", "cat", "/root/made"]).expect(0).out(), "made\n");
    project.run(&["clean", "--dry-run"]).expect(0).says("would end the testbed");
    project.run(&["clean"]).expect(0).says("ended the testbed");
    nothing_left("NS_TEST_KEEP=1");
    let entered = project.run(&["enter", "last-failed", "a"]);
    entered.expect(2).complains("is gone: it was kept, and has ended since: by `netsplit clean`");
    project.run(&["enter", "last", "a"]).expect(2).complains("is gone: it ended with its run");
    project.run(&["runs"]).expect(0).says("failed");
    project.run(&["clean", "--all"]).expect(0);
    assert_eq!(project.run(&["runs"]).out(), "");
}

#[test]
fn who_enters_sees_what_commands_of_the_test_see() {
    let project = Project::new();
    let text = "hosts.n = [\"a\", \"b\"]\nenv = { WHERE = \"at %{address}\", MY_TOKEN = \"hidden\" }\n\
                [[test]]\nname = \"x\"\nenv.NEAR = \"1\"\nsteps = [\n\
                { sh = \"echo $MY_TOKEN\", on = \"a\", stdout = \"hidden\", env.OWN = \"1\" },\n]\n";
    project.write("x.toml", text).write("netsplit.toml", "pass = ['MINE']");
    let with = |args: &[&str]| Ran(project.command(args).env("MINE", "from here").output().unwrap());
    with(&["run", "x.toml", "--keep", "always"]).expect(0);
    let script = "echo $NETSPLIT_HOST $NETSPLIT_ROLE $WHERE $NEAR $OWN.$MY_TOKEN $MINE";
    let entered = with(&["enter", "a", "--", "sh", "-c", script]);
    assert_eq!(entered.expect(0).out(), "a n at 10.0.0.1 1 . from here\n");
    let written = std::fs::read_to_string(project.last().join("hosts/a/environment.json")).unwrap();
    assert!(!written.contains("hidden") && !written.contains("from here"), "{written}");
    project.run(&["clean"]).expect(0);
}

/// Each test has its own, and what it takes away or changes is not as the user's shell has it.
#[test]
fn who_enters_sees_the_last_test_and_not_the_users_shell() {
    let project = Project::new();
    let text = "hosts.n = [\"a\"]\n[[test]]\nname = \"first\"\nenv.NEAR = \"1\"\nsteps = [{ run = \"true\", on = \"a\" }]\n\
                [[test]]\nname = \"second\"\nenv = { GONE = false, OTHER = \"of the test\" }\n\
                steps = [{ run = \"true\", on = \"a\" }]\n";
    project.write("x.toml", text).write("netsplit.toml", "pass = ['GONE', 'OTHER']");
    let with = |args: &[&str]| {
        Ran(project.command(args).envs([("GONE", "here"), ("OTHER", "here")]).output().unwrap())
    };
    with(&["run", "x.toml", "--keep", "always"]).expect(0);
    let entered = with(&["enter", "a", "--", "sh", "-c", "echo .$NEAR.$GONE.$OTHER"]);
    assert_eq!(entered.expect(0).out(), "...of the test\n");
    project.run(&["clean"]).expect(0);
}

/// Nobody could reach such a testbed any more.
#[test]
fn a_kept_testbed_ends_with_its_directory() {
    let project = Project::new();
    project.scenario(
        "x.toml",
        "{ start = \"sleep 1000\", env = { NS_TEST_GONE = \"1\" }, on = \"a\" },\n{ run = \"false\", on = \"a\" }",
    );
    project.run(&["run", "x.toml", "--keep", "failed"]).expect(1).says("kept: netsplit enter");
    assert!(!left_behind("NS_TEST_GONE=1").is_empty(), "it is kept");
    std::fs::remove_dir_all(project.path().join(".netsplit")).unwrap();
    nothing_left("NS_TEST_GONE=1");
}

#[test]
fn a_running_testbed_can_be_entered_and_followed() {
    let project = Project::new();
    project.scenario(
        "x.toml",
        "{ sh = \"echo begun; while ! test -e /tmp/go; do sleep 0.05; done; echo done\", on = \"a\" }",
    );
    let started = project.start(&["run", "x.toml"]);
    project.wait_for_event("\"kind\":\"output\"");
    project.run(&["runs"]).expect(0).says("running");
    let follower = project.start(&["logs", "--follow"]);
    project.run(&["enter", "last", "a", "--", "touch", "/tmp/go"]).expect(0);
    started.end().0.expect(0);
    let (followed, _) = follower.end();
    let text = followed.expect(0).out();
    assert!(text.contains("stdout  begun") && text.contains("stdout  done"), "{text}");
}

#[test]
fn data_that_could_not_be_printed_is_an_error() {
    let project = Project::new();
    for args in [&["explain", "disk-full"][..], &["schema"], &["completions", "bash"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = project.command(args).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("standard output is not whole: No space left"), "{args:?}: {said}");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}

/// A testbed takes more open files than many systems give a process that does not ask; its commands have what the user had.
#[test]
fn many_hosts_want_no_higher_limit_of_files() {
    let project = Project::new();
    let step = |on: &str| format!("{{ sh = \"ulimit -S -n\", on = \"{on}\", stdout = \"200\" }}");
    let steps = [step("h"), step("here")].join(", ");
    project.write("many.toml", &format!("hosts.h = 120\n[[test]]\nname = \"many\"\nsteps = [ {steps} ]\n"));
    let run = |limit: &str| {
        let inner = project.command(&["run", "many.toml"]);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit {limit} 200; exec \"$0\" \"$@\"")]);
        command.arg(inner.get_program()).args(inner.get_args()).current_dir(project.path());
        for (name, _) in inner.get_envs() {
            command.env_remove(name);
        }
        Ran(command.output().unwrap())
    };
    run("-S -n").expect(0);
    // No process may have more.
    run("-n").expect(3).says("Too many open files").says("fix: sudo prlimit ");
}

#[test]
fn logs_are_merged_filtered_and_for_machines() {
    let project = Project::new();
    project.write(
        "x.toml",
        "hosts.n = [\"a\", \"b\"]\n[[test]]\nname = \"x\"\nsteps = [\n{ run = \"echo one\", on = \"a\" },\n\
         { sh = \"echo two >&2\", on = \"b\" },\n{ run = \"printf three\", on = \"a\" },\n]\n",
    );
    project.run(&["run", "x.toml"]).expect(0);
    let all = project.run(&["logs"]).expect(0).out();
    let lines: Vec<_> =
        all.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines, ["a/echo stdout one", "b/sh stderr two", "a/printf stdout three"]);
    assert_eq!(project.run(&["logs", "last", "b"]).out().lines().count(), 1);
    assert_eq!(project.run(&["logs", "a/echo"]).out().lines().count(), 1, "the run may be left out");
    assert_eq!(project.run(&["logs", "--grep", "t[hw]"]).out().lines().count(), 2);
    project.run(&["logs", "last", "c"]).expect(2).complains("no host or process `c`").complains("hosts: a b");
    let failed = project.run(&["logs", "--grep", "GET("]);
    assert_eq!(failed.expect(2).err().lines().count(), 1, "{}", failed.err());
    failed.complains("--grep is no regular expression: unclosed group");
    project.run(&["logs", "zzzz"]).expect(2).complains("no run `zzzz`").complains("netsplit runs");
    let json = project.run(&["logs", "--json"]).out();
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&first["process"], &first["line"]), (&"a/echo.1".into(), &"one".into()));
}

/// A host's name may be the begin of a run's id.
#[test]
fn a_host_of_the_last_run_goes_before_a_run() {
    let project = Project::new();
    project.scenario("x.toml", "{ run = \"echo one\", on = \"a\" }");
    project.run(&["run", "x.toml", "--keep", "always"]).expect(0);
    let dir = project.last();
    let id = dir.to_str().unwrap().rsplit('-').next().unwrap().to_owned();
    let other = dir.with_file_name("20200101-000000-old-a000");
    std::fs::create_dir(&other).unwrap();
    for file in ["run.json", "events.jsonl"] {
        std::fs::copy(dir.join(file), other.join(file)).unwrap();
    }
    project.run(&["logs", "a"]).expect(0).says("one");
    assert_eq!(project.run(&["enter", "a", "--", "hostname"]).expect(0).out(), "a\n");
    assert_eq!(project.run(&["enter", &id, "--", "hostname"]).expect(0).out(), "a\n", "its only host");
    project.run(&["enter", "a000", "--", "hostname"]).expect(2).complains("is gone");
    project.run(&["clean"]).expect(0);
}

#[test]
fn logs_skip_a_line_that_they_cannot_read() {
    let project = Project::new();
    project.scenario(
        "x.toml",
        "{ run = \"echo one\", on = \"a\" },\n{ run = \"true\", on = \"a\", cwd = \"/nowhere\" }",
    );
    // What could not start is an event that reads back.
    project.run(&["run", "x.toml"]).expect(1);
    let ran = project.run(&["logs"]);
    assert_eq!(ran.expect(0).err(), "");
    let events = project.last().join("events.jsonl");
    let text = std::fs::read_to_string(&events).unwrap();
    std::fs::write(&events, format!("nonsense\n{text}")).unwrap();
    let ran = project.run(&["logs", "a"]);
    ran.expect(0).says("stdout  one").complains("/events.jsonl:1 was skipped: expected ident");
}

#[test]
fn a_new_scenario_runs_as_it_is() {
    let project = Project::new();
    let made = project.run(&["new", "sub/quorum.toml", "--hosts", "3", "--", "sleep", "1000"]);
    made.expect(0).says("wrote sub/quorum.toml").says("2 lines say TODO").complains("next: netsplit run");
    project.run(&["lint", "sub/quorum.toml"]).expect(0).says("no mistake · ").says("needs kill");
    project.scenario("odd.toml", "{ run = \"echo $HOME\", on = \"a\" }");
    project.run(&["lint", "odd.toml"]).expect(0).says("odd.toml: no mistake, 1 warning · ");
    project.run(&["run", "sub/quorum.toml"]).expect(0);
    project.run(&["new", "sub/quorum.toml"]).expect(2).complains("was left alone");
    project.run(&["new", "sub/quorum.yaml"]).expect(2).complains("does not end in .toml");
}

#[test]
fn a_new_scenario_sees_that_its_command_does_not_run() {
    let project = Project::new();
    project.run(&["new", "x.toml", "--hosts", "2", "--", "sh", "-c", "echo no such module >&2; exit 1"]);
    let ran = project.run(&["run", "x.toml"]);
    ran.expect(1).says("on a, b exited 1").says("saw").says("stderr  no such module").says("runs = true");
}

#[test]
fn it_stops_before_a_line() {
    let project = Project::new();
    project.scenario(
        "x.toml",
        "{ run = \"touch /tmp/one\", on = \"a\" },\n{ run = \"touch /tmp/two\", on = \"a\" }",
    );
    let ran = project.run(&["run", "x.toml:6", "--keep", "always"]);
    ran.expect(5).complains("stopped before: ").says("stopped before line 6, as asked");
    ran.says("repeat   netsplit run x.toml:6 --seed ");
    assert!(!ran.out().contains("stops just before it"), "that is what it did");
    assert_eq!(project.run(&["enter", "last", "a", "--", "ls", "/tmp"]).out(), "one\n");
    project.scenario("x.toml", "{ run = \"false\", on = \"a\" },\n{ run = \"true\", on = \"a\" }");
    let ran = project.run(&["run", "x.toml:6"]);
    ran.expect(1)
        .says("repeat   netsplit run x.toml:6 --seed ")
        .says("or       netsplit run x.toml:5 --seed ");
    project.run(&["clean"]).expect(0);
}

#[test]
fn doctor_explain_and_what_is_generated() {
    let project = Project::new();
    project.run(&["doctor", "--require", "namespace"]).expect(0).says("namespace  can run");
    project.run(&["doctor", "--json"]).expect(0).says("\"can\":true");
    project.run(&["doctor", "--settings"]).expect(0).says("deadlines.run").says("default");
    project.run(&["doctor", "nothing"]).expect(2).complains("no provider `nothing`");
    project.run(&["explain", "wait-timed-out"]).expect(0).says("## wait-timed-out");
    project.run(&["explain", "wait-timedout"]).expect(2).complains("did you mean `wait-timed-out`?");
    for of in ["scenario", "events", "verdict"] {
        serde_json::from_str::<serde_json::Value>(&project.run(&["schema", of]).expect(0).out()).unwrap();
    }
    for shell in ["bash", "zsh", "fish"] {
        project.run(&["completions", shell]).expect(0).says("netsplit").says("simulated");
    }
    let completions = project.run(&["completions", "bash"]);
    completions.says("-W \"never failed always\"").says(" wait-timed-out ");
    project.run(&["enter", "--help"]).expect(0).says(" enter [OPTIONS] [RUN] [HOST] [-- <COMMAND>...]\n");
    project.run(&["man", "man"]).expect(0);
    assert!(project.path().join("man/netsplit-run.1").is_file());
}

/// What is begun from outside stays until it is healed, is read back, and is told of in the run's log.
#[test]
fn the_network_of_a_kept_testbed_is_changed_from_outside() {
    let project = Project::new();
    let steps = "steps = [{ run = \"true\", on = \"members\" }]\n";
    project.write(
        "x.toml",
        &format!("hosts.members = [\"a\", \"b\", \"c\"]\n[[test]]\nname = \"one\"\n{steps}"),
    );
    project.run(&["run", "x.toml", "--keep", "always"]).expect(0);
    let pings =
        |from: &str, to: &str| project.run(&["enter", from, "--", "ping", "-c1", "-W1", to]).code() == 0;
    assert!(pings("a", "b"));
    let isolated = project.run(&["bed", "isolate", "a"]);
    assert_eq!(isolated.expect(0).out(), "1\n", "a script keeps it");
    isolated.complains("isolate a is in force; netsplit bed heal 1 ends it");
    assert_eq!(
        project.run(&["bed", "link", "b", "to", "c", "delay=20ms", "--as", "slow"]).expect(0).out(),
        "slow\n"
    );
    assert!(!pings("a", "b") && pings("b", "c"));
    let listed = project.run(&["bed", "faults"]).expect(0).out();
    assert!(listed.contains("isolate a\t4 of 4 links read back"), "{listed}");
    assert!(listed.contains("slow\tin force") && listed.contains("link b to c delay 20ms"), "{listed}");
    let links = project.run(&["bed", "links", "--json"]).expect(0).out();
    let links: serde_json::Value = serde_json::from_str(&links).unwrap();
    assert!(
        links["links"].as_array().unwrap().iter().any(|link| link["condition"]["passage"] == "cut"),
        "{links}"
    );
    project.run(&["bed", "heal", "all"]).expect(0);
    assert!(pings("a", "b") && project.run(&["bed", "faults"]).expect(0).out().is_empty());
    project.run(&["clean"]).expect(0);
}

#[test]
fn a_fault_from_outside_that_cannot_be_changes_nothing() {
    let project = Project::new();
    let text = "hosts.members = [\"a\", \"b\"]\n[[test]]\nname = \"one\"\nsteps = [{ run = \"true\", on = \"a\" }]\n";
    project.write("x.toml", text);
    project.run(&["run", "x.toml", "--keep", "always"]).expect(0);
    for (words, wanted) in [
        ("cut a b", "`a b` names no links"),
        ("cut a to d", "no host or role `d`"),
        ("cut a to a", "a host has no link to itself"),
        ("partition members b", "b is in group 1 and in group 2"),
        ("link a to b loss=130%", "loss = 130%: a share between 0 and 1"),
        ("link a to b delay=-5ms", "delay = -5ms: a time with its unit"),
        ("link a to b lss=5% queue=64KiB", "did you mean `loss`?; queue = 64KiB: conflicting rules"),
        ("link a to b", "it does nothing"),
        ("link a to b delay=1ms delay=2ms", "given twice"),
        ("cut a to b --for soon", "--for takes a time such as 5s"),
        ("cut a to b delay=5ms", "`cut` takes no figures"),
        ("heal x", "no fault `x` is in force"),
    ] {
        let words: Vec<_> = std::iter::once("bed").chain(words.split(' ')).collect();
        let said = project.run(&words).expect(2).err();
        assert!(said.contains(wanted), "{words:?}: {said}");
    }
    assert!(project.run(&["bed", "faults"]).expect(0).out().is_empty());
    project.run(&["clean"]).expect(0);
}

/// Whoever waits for a pipe that takes nothing is told so, and nobody else waits.
#[test]
fn a_capture_into_a_pipe_that_nobody_reads_holds_up_nobody() {
    let project = Project::new();
    let text = "hosts.members = [\"a\", \"b\"]\n[[test]]\nname = \"one\"\nsteps = [{ run = \"true\", on = \"a\" }]\n";
    project.write("x.toml", text);
    project.run(&["run", "x.toml", "--keep", "always"]).expect(0);
    let path = project.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Both ends, so that opening it does not wait either.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let pipe = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
    while rustix::io::write(&pipe, &[0; 4096]).is_ok() {}
    let capture = project.start(&["bed", "capture", "all", "--to", "pipe", "--for", "10ms"]);
    // While the capture ends.
    std::thread::sleep(Duration::from_secs(1));
    let begun = Instant::now();
    project.run(&["bed", "cut", "a", "to", "b", "--for", "10ms"]).expect(0);
    while !project.run(&["bed", "faults"]).expect(0).out().is_empty() {}
    let took = begun.elapsed();
    let (ran, _) = capture.end();
    ran.expect(2).complains("its file takes no more");
    assert!(took < Duration::from_secs(3), "{took:?}");
    project.run(&["clean"]).expect(0);
}
