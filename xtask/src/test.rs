//! `cargo xtask test`: everything that must hold, on a machine that has only a toolchain.
//!
//! Twice where users matter: as root, hosts are made with root's means; as an ordinary user, with a user namespace. And where
//! that user's hosts are joined by packet sockets, for want of `/dev/net/tun`, a third time with TAP devices, for what the
//! network does.

mod binaries;
mod count;
mod examples;
mod setup;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::shell;
use crate::tidy;
use crate::user::Ordinary;
use binaries::Binary;
use count::Counts;

/// Set in a run that tests a copy of the checkout, so that it makes no copy of the copy.
const IS_COPY: &str = "XTASK_IS_COPY";

/// One stage: what it is, how long it took, what it found.
struct Stage {
    name: &'static str,
    time: Duration,
    counts: Counts,
}

/// Runs all stages. Whether nothing failed.
pub(crate) fn run() -> Result<bool> {
    let mut stages = Stages(Vec::new());
    let user = stages.time("set-up", setup::machine)?;
    if let Some(user) = &user
        && !user.reaches(&std::env::current_exe()?)
    {
        return in_copy();
    }
    stages.check("fmt", || shell::succeeds(shell::cargo().args(["fmt", "--all", "--check"])))?;
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    stages.check("clippy", || shell::succeeds(cargo().args(clippy)))?;
    stages.check("tidy", tidy::run)?;
    let Some(built) = stages.time("build", build)? else {
        bail!("the tests do not build");
    };
    stages.count("doc tests", || {
        let (ok, output) = shell::tee(cargo().args(["test", "--quiet", "--workspace", "--doc"]))?;
        Ok(Counts::read(&output, ok))
    })?;
    stages.count("tests", tests)?;
    stages.check("a thousand seeds", thousand_seeds)?;
    if let Some(user) = &user {
        stages.count("tests, ordinary user", || tests_as(user, &built, "runs", Binary::is_for_anyone))?;
        if let Some(_open) = setup::OpenTun::begin() {
            stages.count("the same, TAP devices", || tests_as(user, &built, "tap", Binary::is_of_network))?;
        }
    }
    let target = binaries::target()?;
    stages.count("README commands", || examples::run(&target, user.as_ref()))?;
    Ok(stages.summary())
}

/// Debug info is most of what a build writes, and nobody looks at it here.
fn cargo() -> std::process::Command {
    let mut cargo = shell::cargo();
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
    cargo
}

fn build() -> Result<Option<Vec<Binary>>> {
    // The programs first: tests that run them find them as they are now.
    if !shell::succeeds(cargo().args(["build", "--quiet", "--workspace", "--bins"]))? {
        return Ok(None);
    }
    binaries::build(cargo())
}

/// All tests as whoever we are.
fn tests() -> Result<Counts> {
    let runs = tempfile::tempdir()?;
    let has_nextest =
        shell::cargo().args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
    let mut command = cargo();
    if has_nextest {
        let profile = if std::env::var_os("CI").is_some() { "ci" } else { "default" };
        command.args([
            "nextest",
            "run",
            "--workspace",
            "--all-targets",
            "--no-fail-fast",
            "--profile",
            profile,
        ]);
    } else {
        command.args(["test", "--workspace", "--all-targets", "--no-fail-fast"]);
    }
    command.env("NETSPLIT_DIR", runs.path()).env("NETSPLIT_RETENTION_RUNS", "100000");
    let (ok, output) = shell::tee(&mut command)?;
    let mut counts = Counts::read(&output, ok);
    counts.skip(say_skipped(runs.path())?);
    Ok(counts)
}

/// The matrix of faults on the replicated service, a field a seed.
fn thousand_seeds() -> Result<bool> {
    let runs = tempfile::tempdir()?;
    // All of the workspace, as everywhere else: what is built has the same features.
    let mut command = cargo();
    command.args(["test", "--quiet", "--workspace", "--test", "kv", "--", "--exact", "--nocapture"]);
    command.arg("what_was_acknowledged_is_kept_with_any_seed::simulated");
    command.env("NETSPLIT_SEED", "1").env("NETSPLIT_SEEDS", "1000").env("NETSPLIT_DIR", runs.path());
    shell::succeeds(&mut command)
}

/// The tests that `wanted` takes, with their evidence in a folder called `runs`.
fn tests_as(user: &Ordinary, built: &[Binary], runs: &str, wanted: fn(&Binary) -> bool) -> Result<Counts> {
    let runs = user.make_folder(runs)?;
    let mut counts = Counts::default();
    for binary in built.iter().filter(|binary| wanted(binary)) {
        if user.reaches(binary.program()) {
            counts += binary.run_as(user, &runs)?;
        } else {
            println!("{}: that user cannot reach it", binary.program().display());
            counts.failed += 1;
        }
    }
    counts.skip(say_skipped(&runs)?);
    Ok(counts)
}

/// Tests whose run says that they could not run here, with what they say.
fn say_skipped(runs: &Path) -> Result<u64> {
    let mut skipped = 0;
    for entry in fs::read_dir(runs.join("runs")).into_iter().flatten().flatten() {
        let Ok(text) = fs::read_to_string(entry.path().join("verdict.json")) else { continue };
        let verdict: Value = serde_json::from_str(&text)?;
        if verdict["verdict"] == "skipped" {
            skipped += 1;
            let why = verdict["reason"]["text"].as_str().unwrap_or("it does not say why");
            println!("skipped {}: {why}", verdict["test"].as_str().unwrap_or("a test"));
        }
    }
    Ok(skipped)
}

/// The same in a copy of the checkout: paths are compiled into tests, so their binaries alone would not do.
fn in_copy() -> Result<bool> {
    if std::env::var_os(IS_COPY).is_some() {
        bail!("an ordinary user can reach neither this checkout nor a copy of it");
    }
    let copy = setup::reachable_copy()?;
    println!(
        "an ordinary user cannot reach this checkout; testing a copy of it in {}",
        copy.path().display()
    );
    let mut again = shell::cargo();
    again.args(["run", "--quiet", "--package", "xtask", "--", "test"]).current_dir(copy.path());
    shell::succeeds(again.env_remove("CARGO_TARGET_DIR").env(IS_COPY, "1"))
}

struct Stages(Vec<Stage>);

impl Stages {
    fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("━━ {name}");
        let begun = Instant::now();
        let done = work()?;
        let time = begun.elapsed();
        println!("━━ {name}: {:.1} s", time.as_secs_f64());
        self.0.push(Stage { name, time, counts: Counts::default() });
        Ok(done)
    }

    fn count(&mut self, name: &'static str, work: impl FnOnce() -> Result<Counts>) -> Result<()> {
        let counts = self.time(name, work)?;
        if let Some(stage) = self.0.last_mut() {
            stage.counts = counts;
        }
        Ok(())
    }

    /// A stage that is right or wrong as a whole; it counts only when it is wrong.
    fn check(&mut self, name: &'static str, work: impl FnOnce() -> Result<bool>) -> Result<()> {
        self.count(name, || Ok(Counts { failed: u64::from(!work()?), ..Counts::default() }))
    }

    fn summary(&self) -> bool {
        println!("\n{:<24} {:>8}  {:>6} {:>6} {:>7}", "stage", "seconds", "passed", "failed", "skipped");
        let mut all = Counts::default();
        for Stage { name, time, counts } in &self.0 {
            let Counts { passed, failed, skipped } = counts;
            println!("{name:<24} {:>8.1}  {passed:>6} {failed:>6} {skipped:>7}", time.as_secs_f64());
            all += *counts;
        }
        let total: Duration = self.0.iter().map(|stage| stage.time).sum();
        println!("{:<24} {:>8.1}\n", "total", total.as_secs_f64());
        println!("{} passed, {} failed, {} skipped", all.passed, all.failed, all.skipped);
        all.failed == 0
    }
}
