//! The command `netsplit`.
//!
//! `args.rs` is what may be typed; `commands/` has a file a verb; `scenario/` runs scenarios; `terminal.rs` shows how
//! they get on, by the thread of `printer.rs`; `interrupt.rs` is ctrl-C.

mod args;
mod commands;
mod interrupt;
mod output;
mod printer;
mod scenario;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use netsplit_model::{Reason, Trouble};

use crate::args::{Cli, Command};
use crate::output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.color);
    let done = std::panic::catch_unwind(|| dispatch(&cli.command, output));
    match done {
        Ok(Ok(code)) => match output.lost() {
            Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                output.err(format!("error: standard output is not whole: {error}"));
                // What a run ended with says more.
                if code == ExitCode::SUCCESS { ExitCode::from(2) } else { code }
            }
            _ => code,
        },
        Ok(Err(error)) => {
            output.error(&error);
            // No mistake in what was typed.
            let is_full = |trouble: &Trouble| trouble.name == Reason::DiskFull;
            ExitCode::from(if error.downcast_ref().is_some_and(is_full) { 3 } else { 2 })
        }
        Err(_) => {
            output.err("netsplit itself is at fault  [bug]");
            output.err("fix: send the lines above and `netsplit --version` to https://github.com/netsplit/netsplit/issues");
            ExitCode::from(70)
        }
    }
}

fn dispatch(command: &Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => commands::run::run(args, output),
        Command::New(args) => commands::new::run(args, output),
        Command::Lint(args) => commands::lint::run(args, output),
        Command::Runs(args) => commands::runs::run(args, output),
        Command::Logs(args) => commands::logs::run(args, output),
        Command::Bed(args) => commands::bed::run(args, output),
        Command::Enter(args) => commands::enter::run(args, output),
        Command::Doctor(args) => commands::doctor::run(args, output),
        Command::Clean(args) => commands::clean::run(args, output),
        Command::Explain(args) => commands::explain::run(args, output),
        Command::Presets(args) => commands::presets::run(args, output),
        Command::Schema(args) => commands::generate::schema(args, output),
        Command::Completions(args) => commands::generate::completions(args, output),
        Command::Man(args) => commands::generate::man(args),
    }
}
