//! What a provider cannot do is a skip with the reason, never a silent pass, and a failure where it was required. (A17,
//! A21: skipped, failed and broken are kept apart)

use std::fs;
use std::process::{Command, Output};

use conformance::{error_of, scratch};
use netsplit::Reason;
use netsplit::model::{Verdict, VerdictFile};
use netsplit::prelude::*;

/// Its body runs only where a host's clock can be set; nobody here can do that yet.
#[netsplit::test(hosts = 1, needs = ["clock"])]
async fn needs_a_clock(bed: Testbed) -> netsplit::Result {
    bed.need(Capability::Clock)
}

/// What a test needs may turn out as it goes.
#[netsplit::test(hosts = 1)]
async fn finds_out_that_it_needs_a_clock(bed: Testbed) -> netsplit::Result {
    bed.host("a")?.run("true").await?;
    bed.need(Capability::Clock)
}

#[netsplit::test(hosts = 1)]
async fn skips_for_a_reason_of_its_own(_bed: Testbed) -> netsplit::Result {
    Err(netsplit::Error::new(Reason::MissingCapability, "there is no printer"))
}

/// The same, as another user: a command says so rather than run as somebody else.
#[netsplit::test(hosts = 1)]
async fn another_user_is_another_user_or_a_skip(bed: Testbed) -> netsplit::Result {
    match bed.host("a")?.run("id -un").user("nobody").await {
        Ok(output) => output.expect_stdout("nobody"),
        Err(error) => {
            assert_eq!((error.name(), error.verdict()), (Reason::MissingCapability, Verdict::Skipped));
            assert!(error.to_string().contains("needs `users`, which `"), "{error}");
            assert_eq!(error_of(bed.need(Capability::Users)).name(), Reason::MissingCapability);
            Ok(())
        }
    }
}

/// Runs one of these tests in a child; gives what it left.
fn run(test: &str, require: &str) -> (Output, VerdictFile) {
    let folder = scratch();
    let output = Command::new(std::env::current_exe().expect("this binary"))
        .args([&format!("{test}::namespace"), "--exact"])
        .env("NETSPLIT_DIR", folder.path())
        .env("NETSPLIT_REQUIRE", require)
        .output()
        .expect("a child");
    let verdict = fs::read_to_string(folder.path().join("last/verdict.json")).expect("a verdict");
    (output, serde_json::from_str(&verdict).expect("a verdict"))
}

#[test]
fn a_skip_says_what_is_missing() {
    for test in ["needs_a_clock", "finds_out_that_it_needs_a_clock"] {
        let (output, verdict) = run(test, "");
        let said = String::from_utf8_lossy(&output.stderr);
        if verdict.verdict == Verdict::Passed {
            return; // a provider with clocks
        }
        let reason = verdict.reason.expect("a reason");
        assert_eq!((verdict.verdict, reason.name), (Verdict::Skipped, Reason::MissingCapability), "{said}");
        assert!(reason.text.contains("needs `clock`, which `namespace` cannot do here"), "{}", reason.text);
        let aside = format!("skipped: {test}::namespace: {}", reason.text);
        assert!(output.status.success() && said.lines().any(|line| line == aside), "{said}");
    }
}

#[netsplit::test(hosts = 1)]
async fn passes_with_a_warning(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let _nobody_waits = a.start("false").await?;
    a.run("sleep 0.2").await.map(drop)
}

/// The harness says `ok` and keeps what a test that passed prints to itself.
#[test]
fn the_warnings_of_a_test_that_passed_are_seen() {
    let (output, verdict) = run("passes_with_a_warning", "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((verdict.verdict, verdict.warnings.len()), (Verdict::Passed, 1), "{said}");
    let aside = format!("warning: passes_with_a_warning::namespace: {}", verdict.warnings[0].text);
    assert!(aside.contains("`false` on a exited 1"), "{aside}");
    assert!(said.lines().any(|line| line == aside), "{said}");
}

#[test]
fn what_is_required_is_not_skipped() {
    let clocks = ["needs_a_clock", "finds_out_that_it_needs_a_clock"];
    let required = clocks.map(|test| [(test, "clock"), (test, "namespace")]).concat();
    for (test, require) in [required, vec![("skips_for_a_reason_of_its_own", "namespace")]].concat() {
        let (output, verdict) = run(test, require);
        if verdict.verdict == Verdict::Passed {
            return;
        }
        let reason = verdict.reason.expect("a reason");
        assert_eq!((verdict.verdict, reason.name), (Verdict::Failed, Reason::RequiredCapability), "{test}");
        assert!(reason.text.ends_with("and `require` forbids to skip it"), "{}", reason.text);
        assert!(!output.status.success());
    }
}
