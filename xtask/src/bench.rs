//! `cargo xtask bench`: builds the benches in release and runs them, as an ordinary user where the figures are rootless.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::user::{Ordinary, is_root};

/// The benches there are, in the order of `all`.
const NAMES: [&str; 7] = ["hosts", "exec", "wait", "files", "output", "fabric", SIM];
/// A program of its own, and its peer beside it: simulations are to meet no code that they do not need.
const SIM: &str = "sim";

/// Runs the benches `names`; whether all did.
pub(crate) fn run(names: &[&str]) -> Result<bool> {
    let names = if names == ["all"] { NAMES.to_vec() } else { names.to_vec() };
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(name)) {
        bail!("no bench `{unknown}`; there is: {} all", NAMES.join(" "));
    }
    let others: Vec<_> = names.iter().copied().filter(|name| *name != SIM).collect();
    let mut succeeded = true;
    if !others.is_empty() {
        succeeded &= run_program(&[build("netsplit-bench", &[])?], &others)?;
    }
    if names.contains(&SIM) {
        let package = "netsplit-bench-sim";
        let turmoil = ["--bin", "netsplit-bench-turmoil", "--features", "turmoil"];
        let peer = build(package, &turmoil)?.with_file_name("netsplit-bench-turmoil");
        succeeded &= run_program(&[build(package, &[])?, peer], &[])?;
    }
    Ok(succeeded)
}

/// Builds a package in release; the program of its name.
fn build(package: &str, options: &[&str]) -> Result<PathBuf> {
    let mut build = shell::cargo();
    build.args(["build", "--quiet", "--release", "--package", package]).args(options);
    if !shell::succeeds(&mut build)? {
        bail!("the benches do not build");
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), Into::into);
    Ok(target.join("release").join(package))
}

/// Runs the first of these programs, which finds the others beside it. Whether it succeeded.
fn run_program(programs: &[PathBuf], words: &[&str]) -> Result<bool> {
    if !is_root() {
        return shell::succeeds(shell::command(&programs[0]).args(words));
    }
    let user = Ordinary::get()?;
    // Copies of its own, wherever the checkout lies.
    let copy = |program: &PathBuf| -> Result<PathBuf> {
        let copy = user.folder().join(program.file_name().context("a program's name")?);
        std::fs::copy(program, &copy)?;
        Ok(copy)
    };
    let copies = programs.iter().map(copy).collect::<Result<Vec<_>>>()?;
    let mut command = shell::command(&copies[0]);
    command.args(words).current_dir(user.folder()).env("NETSPLIT_DIR", user.make_folder("runs")?);
    // cargo's, in which every program that is started on the spot would look for its libraries first.
    command.env_remove("LD_LIBRARY_PATH");
    shell::succeeds(user.takes(&mut command))
}
