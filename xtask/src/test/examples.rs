//! The commands that the README shows, run as it shows them: as whoever we are, and as an ordinary user.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::count::Counts;
use crate::shell;
use crate::user::Ordinary;

/// Scenarios, and what each needs on this machine.
const SCENARIOS: [(&str, &[&str]); 4] = [
    ("examples/quorum.toml", &[]),
    ("examples/etcd.toml", &["etcd", "etcdctl"]),
    ("examples/etcd-partition.toml", &["etcd", "etcdctl"]),
    ("examples/nat.toml", &["curl", "python3"]),
];

/// Runs each scenario once as ourselves and once as `user`.
pub(crate) fn run(target: &Path, user: Option<&Ordinary>) -> Result<Counts> {
    let mut counts = Counts::default();
    for (scenario, needs) in SCENARIOS {
        if let Some(missing) = needs.iter().find(|program| !shell::has(program)) {
            println!("{scenario}: skipped: {missing} is not installed");
            counts.skipped += 1;
            continue;
        }
        if !shell::root().join(scenario).is_file() {
            println!("{scenario}: skipped: there is no such scenario yet");
            continue;
        }
        let runs = tempfile::tempdir()?;
        println!("── netsplit run {scenario}");
        let mut command = shell::command(target.join("debug/netsplit"));
        command.args(["run", scenario]).env("NETSPLIT_DIR", runs.path());
        counts += Counts::of(shell::succeeds(&mut command)?);
        if let Some(user) = user {
            println!("── netsplit run {scenario} as an ordinary user");
            counts += Counts::of(as_user(scenario, target, user)?);
        }
    }
    Ok(counts)
}

/// In a folder of the user's own, with the programs that the scenario's `build` has made: that user may write nothing
/// into this checkout, and may have no toolchain.
fn as_user(scenario: &str, target: &Path, user: &Ordinary) -> Result<bool> {
    let folder = user.make_folder("project")?;
    for made in ["examples", "target/release"] {
        fs::create_dir_all(folder.join(made))?;
    }
    for program in ["kvd", "kvctl"] {
        let built = target.join("release").join(program);
        if built.is_file() {
            fs::copy(built, folder.join("target/release").join(program))?;
        }
    }
    let program = user.folder().join("netsplit");
    fs::copy(target.join("debug/netsplit"), &program).context("the program `netsplit`")?;
    fs::write(folder.join(scenario), without_builds(&fs::read_to_string(shell::root().join(scenario))?))?;
    let mut command = Command::new(program);
    command.args(["run", scenario]).current_dir(&folder).stdin(std::process::Stdio::null());
    command.env_remove("RUST_BACKTRACE").env("NETSPLIT_DIR", user.make_folder("scenarios")?);
    shell::succeeds(user.takes(&mut command))
}

fn without_builds(scenario: &str) -> String {
    let is_build = |line: &&str| {
        line.trim_start().strip_prefix("build").is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    scenario.lines().filter(|line| !is_build(line)).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_builds_are_left_out() {
        assert_eq!(
            super::without_builds("run = \"builder\"\n  build = \"x\"\nbuilder = 1\n"),
            "run = \"builder\"\nbuilder = 1\n"
        );
    }
}
