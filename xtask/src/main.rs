//! `cargo xtask`: what this repository does to itself.
//!
//! ```text
//! cargo xtask test            everything, on a machine that has only a toolchain; `.ci/run` calls this
//! cargo xtask tidy            rules about the repository that no compiler knows
//! cargo xtask bench NAME...   figures of hosts, exec, wait, files, output, fabric, sim; `all`
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks by printing")]

mod bench;
mod shell;
mod test;
mod tidy;
mod user;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask test | tidy | bench NAME...";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["test"] => test::run(),
        ["tidy"] => tidy::run(),
        ["bench", ref names @ ..] if !names.is_empty() => bench::run(names),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
