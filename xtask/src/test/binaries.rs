//! The test binaries, as cargo built them, and how each is run as another user.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::count::Counts;
use crate::shell;
use crate::user::Ordinary;

/// Packages whose promises hold for every user. The others know nothing of users.
const AS_ANYONE: [&str; 9] = [
    "conformance",
    "kv-example",
    "quorum-example",
    "netsplit",
    "netsplit-fabric",
    "netsplit-provider",
    "netsplit-agent",
    "netsplit-link",
    "netsplit-cli",
];
/// Tests of the network between hosts, whatever joins them.
const OF_NETWORK: [&str; 2] = ["p09_faults", "p10_conditions"];
/// Seconds that one binary may take.
const BINARY_MAX: &str = "900";

/// One test binary.
pub(crate) struct Binary {
    package: String,
    name: String,
    program: PathBuf,
    /// The package's folder: where cargo runs its tests.
    folder: PathBuf,
}

/// Builds every test of the workspace with `cargo`. `None`: they do not build.
pub(crate) fn build(mut cargo: Command) -> Result<Option<Vec<Binary>>> {
    cargo.args([
        "test",
        "--workspace",
        "--all-targets",
        "--no-run",
        "--message-format",
        "json-render-diagnostics",
    ]);
    cargo.stderr(std::process::Stdio::inherit());
    let output = cargo.output().context("cannot run cargo")?;
    if !output.status.success() {
        return Ok(None);
    }
    let lines =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    Ok(Some(lines.filter_map(|message| binary(&message)).collect()))
}

fn binary(message: &Value) -> Option<Binary> {
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    if !is_test {
        return None;
    }
    let program = PathBuf::from(message["executable"].as_str()?);
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    Some(Binary {
        package: package_name(message["package_id"].as_str()?)?.to_owned(),
        name: message["target"]["name"].as_str()?.to_owned(),
        program,
        folder,
    })
}

/// `path+file:///a/crates/link#netsplit-link@0.1.0`, `path+file:///a/xtask#0.1.0`.
fn package_name(id: &str) -> Option<&str> {
    let (path, name) = id.rsplit_once('#')?;
    match name.split_once('@') {
        Some((name, _)) => Some(name),
        None => path.rsplit('/').next(),
    }
}

impl Binary {
    /// Whether its tests are to hold for every user.
    pub(crate) fn is_for_anyone(&self) -> bool {
        AS_ANYONE.contains(&self.package.as_str())
    }

    /// Whether it is about the network between hosts.
    pub(crate) fn is_of_network(&self) -> bool {
        OF_NETWORK.contains(&self.name.as_str())
    }

    /// Its file.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Runs it as `user` from its package's folder.
    pub(crate) fn run_as(&self, user: &Ordinary, runs: &Path) -> Result<Counts> {
        println!("── {} {} as an ordinary user", self.package, self.name);
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", BINARY_MAX]).arg(&self.program);
        command.current_dir(&self.folder).stdin(std::process::Stdio::null());
        command.env_remove("RUST_BACKTRACE").env("CARGO_MANIFEST_DIR", &self.folder);
        command.env("NETSPLIT_DIR", runs).env("NETSPLIT_RETENTION_RUNS", "100000");
        let (ok, output) = shell::tee(user.takes(&mut command))?;
        Ok(Counts::read(&output, ok))
    }
}

/// The folder that cargo builds into.
pub(crate) fn target() -> Result<PathBuf> {
    let output = shell::cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    match metadata["target_directory"].as_str() {
        Some(folder) => Ok(folder.into()),
        None => bail!("cargo names no target folder"),
    }
}

#[cfg(test)]
mod tests {
    use super::package_name;

    #[test]
    fn packages_by_id() {
        assert_eq!(package_name("path+file:///a/crates/link#netsplit-link@0.1.0"), Some("netsplit-link"));
        assert_eq!(package_name("path+file:///a/xtask#0.1.0"), Some("xtask"));
    }
}
