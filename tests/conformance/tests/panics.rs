//! A test whose body panics: `#[should_panic]` sees it, and otherwise its place and its words are in the verdict.

use std::fs;
use std::process::{Command, Output};

use conformance::scratch;
use netsplit::Reason;
use netsplit::model::VerdictFile;
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
