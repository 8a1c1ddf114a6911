//! P14: after every case nothing is left: no process, mount, namespace, device, group or temporary file; and two runs
//! side by side do not touch each other. What is counted is this machine's, so this names the namespace provider; what
//! every provider owes of it is in `p14_side_by_side.rs`.
//!
//! One test at a time: each counts for itself, but they would wait for each other's processors.
//! `CONFORMANCE_KILLS` is how many times each victim is killed, 7 unless it is set.

use std::env;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

static ALONE: Mutex<()> = Mutex::new(());

/// Runs the runner with these words, to its end; what it printed is shown when it fails.
fn runner(words: &[&str]) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = conformance::scratch();
    let output = Command::new(env!("CARGO_BIN_EXE_conformance-runner"))
        .args(words)
        .env("NETSPLIT_DIR", folder.path())
        .output()
        .expect("the runner");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words:?}: {}\n{said}", output.status);
    conformance::programs::say(&said);
}

/// Kills `victim` of running testbeds at random moments, and counts after each.
fn kill(victim: &str) {
    let kills = env::var("CONFORMANCE_KILLS").unwrap_or_else(|_| "7".to_owned());
    let seed = std::process::id().to_string();
    runner(&["survey", victim, &kills, &seed]);
}

#[test]
fn nothing_is_left_after_any_case() {
    runner(&["cases"]);
}

#[test]
fn nothing_is_left_of_a_killed_runner() {
    kill("runner");
}

#[test]
fn nothing_is_left_of_a_killed_keeper() {
    kill("keeper");
}

#[test]
fn nothing_is_left_of_a_killed_stage() {
    kill("stage");
}

#[test]
fn nothing_is_left_of_a_killed_agent() {
    kill("agent");
}

#[test]
fn nothing_is_left_of_a_runner_and_keeper_killed_at_once() {
    kill("both");
}
