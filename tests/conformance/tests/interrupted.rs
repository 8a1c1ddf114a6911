//! ctrl-C ends tests in Rust at once, and says which they were and what each did last.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use conformance::programs::echo_server;
use conformance::{census, scratch};
use netsplit::prelude::*;
use rustix::process::{Pid, Signal, kill_process};

/// What the test below runs for ever in, as a child.
const CHILD: &str = "CONFORMANCE_INTERRUPTED";
/// In its log once it does.
const WAITS: &str = r#""pattern":"a word""#;

#[netsplit::test(hosts = 2)]
async fn waits_in_vain(bed: Testbed) -> netsplit::Result {
    let server = bed.host("a")?.start(echo_server).ready("listening").await?;
    if std::env::var_os(CHILD).is_some() {
        server.wait_for("a word").within(secs(600)).await?;
    }
    Ok(())
}

/// Runs it until its log has this text, then sends `signal`.
fn interrupted(mode: &str, variable: (&str, &str), text: &str, signal: Signal) -> (Output, Duration) {
    let folder = scratch();
    let child = Command::new(std::env::current_exe().expect("this binary"))
        .args([&format!("waits_in_vain::{mode}"), "--exact"])
        .envs([("NETSPLIT_DIR", folder.path().as_os_str()), (variable.0, variable.1.as_ref())])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let begun = census::until(secs(60), || has_logged(folder.path(), text));
    let at = Instant::now();
    kill_process(Pid::from_child(&child), signal).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    begun.expect("it began before");
    (output, at.elapsed())
}

/// Whether a run in `dir` has something like this in its log.
fn has_logged(dir: &Path, text: &str) -> bool {
    let runs = fs::read_dir(dir.join("runs")).into_iter().flatten().flatten();
    let logs = runs.filter_map(|run| fs::read_to_string(run.path().join("events.jsonl")).ok());
    logs.into_iter().any(|log| log.contains(text))
}

#[test]
fn a_test_that_is_interrupted_says_what_it_did_last() {
    let (output, took) = interrupted("namespace", (CHILD, "1"), WAITS, Signal::INT);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains(
        "\ninterrupted: waits_in_vain::namespace\nlast: waited for `a word` on a/echo_server, at 0"
    ));
    assert!(
        said.lines().any(|line| line.starts_with("evidence ") && line.contains("waits_in_vain")),
        "{said}"
    );
    assert!(took < secs(5), "{took:?}");
}

/// As under `nohup`.
#[test]
fn a_signal_that_is_ignored_ends_nothing() {
    let folder = scratch();
    let mut child = Command::new("/bin/sh")
        .args(["-c", "trap '' HUP; exec \"$0\" waits_in_vain::namespace --exact"])
        .arg(std::env::current_exe().expect("this binary"))
        .envs([("NETSPLIT_DIR", folder.path().as_os_str()), (CHILD, "1".as_ref())])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let begun = census::until(secs(60), || has_logged(folder.path(), WAITS));
    kill_process(Pid::from_child(&child), Signal::HUP).expect("it runs");
    std::thread::sleep(millis(300));
    let ended = child.try_wait().expect("its state");
    child.kill().and_then(|()| child.wait()).expect("it is ended");
    assert!(begun.is_ok() && ended.is_none(), "{ended:?}");
}

#[test]
fn so_is_one_with_many_seeds() {
    let (output, took) = interrupted("simulated", ("NETSPLIT_SEEDS", "100000"), "run.began", Signal::TERM);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(143), "{said}");
    assert!(said.contains("\ninterrupted: waits_in_vain::simulated"), "{said}");
    assert!(took < secs(5), "{took:?}");
}
