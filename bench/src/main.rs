//! The figures that netsplit is held to, one file a bench: `netsplit-bench hosts exec wait files output fabric`.
//!
//! A figure is a line `figure KEY VALUE UNIT`; a peer that is not installed is `figure KEY skipped REASON`. Lines that
//! begin with `#` say how it came about. Peers are measured in the same run, in turns with ours, and medians are told.
//! `cargo xtask bench` builds this in release and runs it as an ordinary user.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are what it prints")]

mod bed;
mod exec;
mod fabric;
mod figures;
mod files;
mod hosts;
#[path = "../../crates/provider/src/namespace/net.rs"]
#[expect(dead_code, reason = "the provider needs more of it")]
mod net;
mod output;
mod programs;
mod ssh;
mod wait;

use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["lines", bytes] => programs::lines(bytes),
        ["ticks"] => programs::ticks(),
        ["drain", address] => programs::drain(address),
        ["pour", address, milliseconds] => programs::pour(address, milliseconds),
        ["fabric-inside"] => fabric::inside(),
        ["hold", hosts] => hosts::hold(hosts),
        _ => words.iter().try_for_each(|name| bench(name)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(name: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("# ── {name}: {}", figures::machine());
    runtime.block_on(async {
        match name {
            "hosts" => hosts::run().await,
            "exec" => exec::run().await,
            "wait" => wait::run().await,
            "files" => files::run().await,
            "output" => output::run().await,
            "fabric" => fabric::run(),
            _ => bail!("no bench `{name}`"),
        }
    })
}
