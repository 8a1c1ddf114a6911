//! `cargo xtask bench`: builds the benches in release and runs them, as an ordinary user where the figures are rootless.

use anyhow::{Result, bail};

use crate::shell;
use crate::user::{Ordinary, is_root};

/// The benches there are, in the order of `all`.
const NAMES: [&str; 6] = ["hosts", "exec", "wait", "files", "output", "fabric"];

/// Runs the benches `names`; whether all did.
pub(crate) fn run(names: &[&str]) -> Result<bool> {
    let names = if names == ["all"] { NAMES.to_vec() } else { names.to_vec() };
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(name)) {
        bail!("no bench `{unknown}`; there is: {} all", NAMES.join(" "));
    }
    let mut build = shell::cargo();
    build.args(["build", "--quiet", "--release", "--package", "netsplit-bench"]);
    if !shell::succeeds(&mut build)? {
        bail!("the benches do not build");
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), Into::into);
    let program = target.join("release/netsplit-bench");
    if !is_root() {
        return shell::succeeds(shell::command(program).args(&names));
    }
    let user = Ordinary::get()?;
    // A copy of its own, wherever the checkout lies.
    let copy = user.folder().join("netsplit-bench");
    std::fs::copy(program, &copy)?;
    let mut command = shell::command(&copy);
    command.args(&names).current_dir(user.folder()).env("NETSPLIT_DIR", user.make_folder("runs")?);
    shell::succeeds(user.takes(&mut command))
}
