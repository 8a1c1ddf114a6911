//! `netsplit lint`: every mistake of every file, and what the scenarios need.

use std::process::ExitCode;

use netsplit_model::units::count;
use netsplit_model::{Place, Trouble};
use netsplit_scenario::{Level, Linted, Need, lint};
use serde_json::json;

use super::inputs;
use crate::args::LintArgs;
use crate::output::Output;

pub(crate) fn run(args: &LintArgs, output: Output) -> anyhow::Result<ExitCode> {
    let words: Vec<String> = args.inputs.iter().map(|input| input.display().to_string()).collect();
    let inputs = inputs::find(&words)?;
    let mut is_good = true;
    let mut documents = Vec::new();
    for input in inputs {
        let name = input.file.display().to_string();
        let linted = lint(&input.file);
        is_good &= linted.is_ok();
        if args.json {
            documents.push(document(&name, linted));
        } else {
            show(&name, linted, output);
        }
    }
    if args.json {
        output.out(serde_json::to_string(&json!({ "netsplit": 1, "type": "lint", "files": documents }))?);
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn show(name: &str, linted: Result<Linted, netsplit_scenario::Mistakes>, output: Output) {
    match linted {
        Err(mistakes) => output.err(mistakes.draw(output.paint_err).trim_end()),
        Ok(Linted::Scenario(loaded)) => {
            for warning in &loaded.warnings {
                output.err(loaded.sources.draw(warning, Level::Warning, output.paint_err).trim_end());
            }
            let needs = loaded.scenario.needs();
            let needs: Vec<_> = needs.iter().map(|needed| need(needed, &loaded.scenario.file)).collect();
            let (cases, hosts) = (loaded.scenario.cases().len(), loaded.scenario.hosts().count());
            let needs = if needs.is_empty() { "nothing".to_owned() } else { needs.join(", ") };
            let cases = if cases == 1 { String::new() } else { format!("{cases} cases · ") };
            let found = found(&loaded.warnings);
            output.out(format!("{name}: {found} · {cases}{} · needs {needs}", count(hosts, "host")));
        }
        Ok(Linted::Part { warnings, sources }) => {
            for warning in &warnings {
                output.err(sources.draw(warning, Level::Warning, output.paint_err).trim_end());
            }
            output.out(format!("{name}: {} · a part for `include`, without a [[test]]", found(&warnings)));
        }
    }
}

fn found(warnings: &[Trouble]) -> String {
    match warnings.len() {
        0 => "no mistake".to_owned(),
        number => format!("no mistake, {}", count(number, "warning")),
    }
}

/// A capability and the line that needs it, of `file` or of what that includes.
fn need(need: &Need, file: &str) -> String {
    let Place { file: of, line, .. } = &need.place;
    match of == file {
        true => format!("{} (line {line})", need.capability),
        false => format!("{} ({of}:{line})", need.capability),
    }
}

fn document(name: &str, linted: Result<Linted, netsplit_scenario::Mistakes>) -> serde_json::Value {
    match linted {
        Err(mistakes) => {
            json!({ "file": name, "mistakes": mistakes.troubles, "warnings": mistakes.warnings })
        }
        Ok(Linted::Scenario(loaded)) => {
            let needs: Vec<_> = loaded.scenario.needs().iter().map(|need| need.capability).collect();
            json!({ "file": name, "mistakes": [], "warnings": loaded.warnings, "needs": needs })
        }
        Ok(Linted::Part { warnings, .. }) => {
            json!({ "file": name, "mistakes": [], "warnings": warnings, "part": true })
        }
    }
}
