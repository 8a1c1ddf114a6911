//! A test that takes too long fails by that name, also when it blocks its thread and hears of no deadline.

use std::fs;
use std::process::{Command, Stdio};

use conformance::{census, scratch};
use netsplit::Reason;
use netsplit::model::VerdictFile;
use netsplit::prelude::*;

/// It is shorter for the children below.
const DEADLINE: &str = "NETSPLIT_DEADLINES_TEST";

#[netsplit::test(hosts = 1)]
async fn blocks_its_thread(bed: Testbed) -> netsplit::Result {
    bed.host("a")?.run("true").await?;
    std::thread::sleep(millis(700));
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn sleeps(_bed: Testbed) -> netsplit::Result {
    tokio::time::sleep(millis(700)).await;
    Ok(())
}

/// A client that waits for a server that never speaks first; only a child has the time for it.
#[netsplit::test(hosts = 1)]
async fn waits_for_ever(bed: Testbed) -> netsplit::Result {
    if std::env::var_os(DEADLINE).is_none() {
        return Ok(());
    }
    let a = bed.host("a")?;
    a.start(conformance::programs::echo_server).ready("listening").await?;
    let forward = a.forward(conformance::programs::PORT).await?;
    let mut client = std::net::TcpStream::connect(forward.address())?;
    client.set_read_timeout(Some(secs(60)))?;
    std::io::Read::read_exact(&mut client, &mut [0])?;
    Ok(())
}

#[test]
fn a_test_that_takes_too_long_has_timed_out() {
    let tests = ["blocks_its_thread", "sleeps", "waits_for_ever"];
    for test in tests.map(|test| ["simulated", "namespace"].map(|mode| format!("{test}::{mode}"))).concat() {
        let folder = scratch();
        let output = Command::new(std::env::current_exe().expect("this binary"))
            .args([&test, "--exact"])
            .envs([("NETSPLIT_DIR", folder.path().as_os_str()), (DEADLINE, "500ms".as_ref())])
            .output()
            .expect("a child");
        let said = String::from_utf8_lossy(&output.stdout);
        let verdict = fs::read_to_string(folder.path().join("last/verdict.json")).expect("a verdict");
        let verdict: VerdictFile = serde_json::from_str(&verdict).expect("a verdict");
        assert_eq!(verdict.reason.map(|reason| reason.name), Some(Reason::TestTimedOut), "{test}: {said}");
        let does_something = !test.starts_with("sleeps");
        assert_eq!(
            said.contains("last: started `") || said.contains("last: waited for `listening`"),
            does_something,
            "{test}: {said}"
        );
        assert!(!output.status.success() && verdict.seconds < 30.0, "{said}");
    }
}

/// Only a child may: nothing ends it but a signal.
#[netsplit::test(hosts = 1)]
async fn never_returns(bed: Testbed) -> netsplit::Result {
    bed.host("a")?.run("true").await?;
    while std::env::var_os(DEADLINE).is_some() {
        std::thread::park();
    }
    Ok(())
}

/// Its verdict is written and told all the same.
#[test]
fn a_test_that_never_returns_has_timed_out() {
    let folder = scratch();
    let said = folder.path().join("said");
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["never_returns::namespace", "--exact"])
        .envs([("NETSPLIT_DIR", folder.path().as_os_str()), (DEADLINE, "500ms".as_ref())])
        .stdout(Stdio::null())
        .stderr(fs::File::create(&said).expect("a file"))
        .spawn()
        .expect("a child");
    let told = || fs::read_to_string(&said).is_ok_and(|said| said.contains("it still does not return"));
    let in_time = census::until(secs(60), told);
    child.kill().and_then(|()| child.wait()).expect("it is ended");
    let verdict = fs::read_to_string(folder.path().join("last/verdict.json"));
    let verdict: VerdictFile = serde_json::from_str(&verdict.unwrap_or_default()).expect("a verdict");
    let reason = verdict.reason.expect("a reason");
    assert_eq!(reason.name, Reason::TestTimedOut);
    assert!(reason.saw.iter().any(|line| line.starts_with("last: started `true` as a/true")), "{reason}");
    assert!(in_time.is_ok(), "{}", fs::read_to_string(&said).unwrap_or_default());
}
