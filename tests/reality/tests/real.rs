//! The cases on the kernel of this machine: under both runtimes they see what `expected.txt` says.
//!
//! `REALITY_WRITE=1` writes that file anew from what the one-threaded runtime saw.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use reality::cases::CASES;
use reality::{Place, differences, run_all};
use tokio::runtime::{Builder, Runtime};

const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/expected.txt");

/// What all cases see in this runtime.
fn seen_in(runtime: Runtime) -> String {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { dir: dir.path().to_owned() };
    let text = runtime.block_on(run_all(&place));
    // A case that blocks beyond its deadline has been told of; it must not hang the test as well.
    runtime.shutdown_timeout(Duration::from_secs(1));
    text
}

fn agrees(what: &str, seen: &str) {
    let expected = fs::read_to_string(EXPECTED).unwrap();
    let differences = differences(&expected, seen);
    assert!(differences.is_empty(), "{what} saw other things:\n{differences}");
    let failures: Vec<_> = seen.lines().filter(|line| line.starts_with("    !")).collect();
    assert!(failures.is_empty(), "{what} has cases that failed, and so they are expected to: {failures:?}");
}

#[test]
fn one_thread_sees_what_is_expected() {
    let seen = seen_in(Builder::new_current_thread().enable_all().build().unwrap());
    if std::env::var_os("REALITY_WRITE").is_some() {
        fs::write(EXPECTED, &seen).unwrap();
    }
    agrees("the runtime of one thread", &seen);
}

#[test]
fn two_workers_see_what_is_expected() {
    let seen = seen_in(Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    agrees("the runtime of two workers", &seen);
}

#[test]
fn a_difference_shows_both_texts() {
    assert_eq!(differences("a\n    1\nb\n", "a\n    1\nb\n"), "");
    let told = differences("a\n    1\nb\n    2\n", "a\n    1\nb\n    3\nc\n    4\n");
    let b = "b\n  expected\n    2\n  seen\n    3\n";
    let c = "c\n  expected\n    (no such case)\n  seen\n    4\n";
    assert_eq!(told, format!("{b}{c}"));
}

#[test]
fn each_name_stands_once() {
    let names: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), CASES.len());
    assert!(CASES.len() >= 110, "{}", CASES.len());
}
