//! `netsplit new`: a scenario that runs as it is.

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use netsplit_model::units::count;
use netsplit_model::{Reason, Trouble};
use netsplit_scenario::{Overrides, Scenario, new_scenario};

use crate::args::NewArgs;
use crate::output::Output;

pub(crate) fn run(args: &NewArgs, output: Output) -> anyhow::Result<ExitCode> {
    let name = args.file.display().to_string();
    if !name.ends_with(".toml") {
        return Err(Trouble::new(Reason::BadName, format!("`{name}` does not end in .toml"))
            .fix(format!("netsplit new {name}.toml …"))
            .into());
    }
    let text = new_scenario(&name, args.hosts, &args.command);
    if let Some(parent) = args.file.parent() {
        fs::create_dir_all(parent).with_context(|| format!("`{}` cannot be made", parent.display()))?;
    }
    let mut file = match fs::File::options().write(true).create_new(true).open(&args.file) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let trouble =
                Trouble::new(Reason::DuplicateName, format!("`{name}` is there already, and was left alone"));
            return Err(trouble.fix("another name, or remove it first").into());
        }
        Err(error) => return Err(error).with_context(|| format!("`{name}` cannot be written")),
    };
    file.write_all(text.as_bytes())?;
    let loaded = Scenario::parse(&name, &text, &Overrides::default())?;
    let steps: usize =
        loaded.scenario.cases().iter().flat_map(|case| &case.tests).map(|test| test.steps.len()).sum();
    let todo = text.matches("TODO").count();
    output.out(format!(
        "wrote {name}   {}, {}; {} TODO",
        count(args.hosts.max(1), "host"),
        count(steps, "step"),
        if todo == 1 { "1 line says".to_owned() } else { format!("{todo} lines say") },
    ));
    output.err(format!("next: netsplit run {name}"));
    Ok(ExitCode::SUCCESS)
}
