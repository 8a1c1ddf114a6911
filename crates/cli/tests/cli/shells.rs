//! Shells in hosts, on real terminals.

use std::os::unix::process::ExitStatusExt;

use rustix::termios::{LocalModes, tcgetattr};

use crate::support::{Project, wait};

const TWO_STEPS: &str = "{ run = \"touch /tmp/one\", on = \"a\" },\n{ run = \"touch /tmp/two\", on = \"a\" }";

#[test]
fn the_shell_before_a_step_has_the_terminal_to_itself_and_ends_with_exit() {
    let project = Project::new();
    project.scenario("x.toml", TWO_STEPS);
    let mut terminal = project.on_terminal(&["run", "x.toml:6"]);
    terminal.wait_for("a shell on a; exit ends the run");
    terminal.types("ls /tmp; echo se''en\n");
    terminal.wait_for("seen");
    // A line that changes would have changed by now.
    std::thread::sleep(std::time::Duration::from_millis(400));
    let said = terminal.said();
    let (before, shell) = said.split_once("stopped before: ").unwrap();
    assert!(before.contains('▸'), "{said}");
    assert!(!shell.contains('▸'), "{said}");
    assert!(shell.starts_with("step 2 of `it`: run `touch /tmp/two` on a"), "{said}");
    assert!(shell.contains("one") && !shell.contains("two\r\n\u{1b}"), "{said}");
    terminal.types("exit\n");
    assert_eq!(terminal.end(), 5, "{}", terminal.said());
    terminal.wait_for("stopped before line 6, as asked");
}

#[test]
fn what_was_entered_ends_without_another_key() {
    let project = Project::new();
    project.scenario("x.toml", TWO_STEPS);
    project.run(&["run", "x.toml", "--keep", "always"]).expect(0);
    let mut terminal = project.on_terminal(&["enter", "last", "a", "--", "sh", "-c", "exit 7"]);
    assert_eq!(terminal.end(), 7, "{}", terminal.said());
    let mut terminal = project.on_terminal(&["enter", "a"]);
    terminal.types("exit 3\n");
    assert_eq!(terminal.end(), 3, "{}", terminal.said());
    project.run(&["clean"]).expect(0);
}

#[test]
fn a_shell_that_is_ended_gives_the_terminal_back() {
    let project = Project::new();
    project.scenario("x.toml", TWO_STEPS);
    let mut terminal = project.on_terminal(&["run", "x.toml:6"]);
    terminal.types("echo se''en\n");
    terminal.wait_for("seen");
    let echoes = |terminal: &crate::support::Terminal| {
        tcgetattr(&terminal.master).unwrap().local_modes.contains(LocalModes::ECHO)
    };
    assert!(!echoes(&terminal), "the host's terminal echoes, this one does not");
    let pid = rustix::process::Pid::from_child(&terminal.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait(&mut terminal.child, std::time::Duration::from_secs(20));
    let status = terminal.child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(143), None), "{}", terminal.said());
    assert!(echoes(&terminal));
    assert_eq!(project.verdict()["reason"]["name"], "interrupted");
}

#[test]
fn a_line_stops_one_case() {
    let project = Project::new();
    let text = "hosts.n = [\"a\"]\nmatrix.color = [\"red\", \"green\"]\n[[test]]\nname = \"x\"\nsteps = [\n\
                { run = \"echo %{color}\", on = \"a\" },\n]\n";
    project.write("m.toml", text);
    let ran = project.run(&["run", "m.toml:6"]);
    ran.expect(5).complains("only `m[color=red]` on `namespace` is run, the first of 2; -f and -p choose");
    assert_eq!(project.run(&["runs"]).out().lines().count(), 1);
    project.run(&["run", "m.toml:6", "-f", "green"]).expect(5).says("m[color=green]");
}
