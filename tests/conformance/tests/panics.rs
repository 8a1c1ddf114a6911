//! A test whose body panics: `#[should_panic]` sees it, and otherwise its place and its words are in the verdict.

use std::fs;
use std::process::{Command, Output};

use conformance::scratch;
use netsplit::Reason;
use netsplit::model::{Verdict, VerdictFile};
use netsplit::prelude::*;

#[netsplit::test(hosts = 1)]
#[should_panic(expected = "the disk is on fire")]
async fn a_panic_that_is_wanted(bed: Testbed) -> netsplit::Result {
    bed.host("a")?.run("true").await?;
    panic!("the disk is on fire");
}

#[netsplit::test(hosts = 1)]
#[should_panic(expected = "`false` on a exited 1")]
async fn an_unwrapped_error_is_a_panic(bed: Testbed) {
    bed.host("a").unwrap().run("false").await.unwrap();
}

#[netsplit::test(hosts = 1)]
#[should_panic(expected = "there is no printer  ")]
async fn an_error_that_is_returned_is_a_panic_where_one_is_wanted(_bed: Testbed) -> netsplit::Result {
    Err(netsplit::Error::new(Reason::Expect, "there is no printer"))
}

/// What the tests below run in a child.
const CHILD: &str = "CONFORMANCE_PANICS";

#[netsplit::test(hosts = 1)]
async fn asserts_what_is_not(bed: Testbed) -> netsplit::Result {
    let wanted = if std::env::var_os(CHILD).is_some() { "5" } else { "4" };
    assert_eq!(bed.host("a")?.run("echo 4").read().await?, wanted, "the queue is too short");
    Ok(())
}

/// A task of it panics, and nobody joins it.
#[netsplit::program]
async fn careless() {
    let _nobody_joins_it = tokio::spawn(async { panic!("the clerk fell asleep") });
    tokio::time::sleep(secs(1000)).await;
}

#[netsplit::test(hosts = ["a", "b"])]
async fn passes_over_panics(bed: Testbed) -> netsplit::Result {
    if std::env::var_os(CHILD).is_some() {
        let _nobody_joins_it = tokio::spawn(async { panic!("the guard left") });
        for host in bed.hosts() {
            host.start(careless).ready("the clerk").await?;
        }
    }
    Ok(())
}

/// It ends with its panic.
#[netsplit::program]
async fn doomed() {
    panic!("the roof came down");
}

#[netsplit::test(hosts = 1)]
async fn is_told_of_a_panic(bed: Testbed) -> netsplit::Result {
    bed.host("a")?.run(doomed).exits(101).await?;
    Ok(())
}

#[test]
fn a_test_that_passes_over_panics_is_warned() {
    for mode in ["simulated", "namespace"] {
        let (output, verdict, _) = child("passes_over_panics", mode);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let warnings: Vec<_> = verdict.warnings.iter().map(|warning| warning.text.as_str()).collect();
        let [own, programs] = warnings[..] else { panic!("{warnings:?}") };
        assert!(own.starts_with("a panic at tests/conformance/tests/panics.rs:"), "{own}");
        assert!(own.ends_with(" did not fail the test: the guard left"), "{own}");
        let (process, rest) =
            programs.split_once(" panicked at tests/conformance/tests/panics.rs:").expect(programs);
        assert_eq!(process, "`careless` on a, b");
        assert!(rest.ends_with(" and went on: the clerk fell asleep"), "{rest}");
        for text in warnings {
            let line = format!("warning: passes_over_panics::{mode}: {text}");
            assert!(said.lines().any(|said| said == line), "{line} in {said}");
        }
        let (_, verdict, _) = child("is_told_of_a_panic", mode);
        assert_eq!(
            (verdict.verdict, verdict.warnings),
            (Verdict::Passed, Vec::new()),
            "its exit code told of it"
        );
    }
}

fn child(test: &str, mode: &str) -> (Output, VerdictFile, String) {
    let folder = scratch();
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args([&format!("{test}::{mode}"), "--exact"])
        .envs([("NETSPLIT_DIR", folder.path().as_os_str()), (CHILD, "1".as_ref())])
        .output()
        .expect("a child");
    let read = |name| fs::read_to_string(folder.path().join("last").join(name)).expect("a verdict");
    (output, serde_json::from_str(&read("verdict.json")).expect("a verdict"), read("junit.xml"))
}

#[test]
fn a_panic_has_its_place_and_keeps_its_lines() {
    ["simulated", "namespace"].into_iter().for_each(a_panic_has_its_place_in);
}

fn a_panic_has_its_place_in(mode: &str) {
    let (output, verdict, junit) = child("asserts_what_is_not", mode);
    let said = String::from_utf8_lossy(&output.stdout);
    let reason = verdict.reason.expect("a reason");
    assert_eq!(reason.name, Reason::TestError, "{said}");
    assert!(reason.text.ends_with("failed: the queue is too short"), "{}", reason.text);
    assert_eq!(reason.saw, ["  left: \"4\"\n right: \"5\""]);
    let place = reason.place.expect("a place");
    assert!(place.file.ends_with("tests/panics.rs"), "{place}");
    for text in [format!("--> {place}\n"), "  left: \"4\"\n".to_owned()] {
        assert!(said.contains(&text), "{text} in {said}");
        let escaped = text.replace('>', "&gt;").replace('"', "&quot;");
        assert!(junit.contains(&text) || junit.contains(&escaped), "{text} in {junit}");
    }
}
