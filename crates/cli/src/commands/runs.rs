//! `netsplit runs`.

use std::process::ExitCode;
use std::time::Duration;

use netsplit_model::units::{At, Measured};
use netsplit_model::{Event, Reason, Trouble, Verdict, VerdictFile};
use netsplit_report::{Run, Runs, State, screen};
use serde_json::{Value, json};

use super::{find_run, settings};
use crate::args::RunsArgs;
use crate::output::Output;

pub(crate) fn run(args: &RunsArgs, output: Output) -> anyhow::Result<ExitCode> {
    let settings = settings(&[], output)?;
    if let Some(name) = &args.run {
        show_one(&find_run(&settings, name)?, args.json, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let all = Runs::new(&settings.dir).list()?;
    let wanted = |run: &&Run| {
        let is_bad =
            run.ending().is_some_and(|verdict| !matches!(verdict, Verdict::Passed | Verdict::Skipped));
        (!args.failed || is_bad) && args.test.as_ref().is_none_or(|part| run.test().contains(part))
    };
    let runs: Vec<_> = all.iter().filter(wanted).collect();
    if args.json {
        let runs: Vec<_> = runs.iter().map(|run| document(run)).collect();
        output.out(serde_json::to_string(&json!({ "netsplit": 1, "type": "runs", "runs": runs }))?);
        return Ok(ExitCode::SUCCESS);
    }
    if runs.is_empty() {
        output.err(format!("no runs in {}", settings.dir.display()));
    }
    for run in runs {
        output.out(line(run, output));
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest stands last, where the eye is.
fn line(run: &Run, output: Output) -> String {
    let word = match (run.ending(), run.state) {
        (None, _) => format!("{:<9}", "running"),
        (Some(verdict), _) => output.paint.verdict_padded(verdict, 9),
    };
    let seconds = run.verdict.as_ref().map_or_else(String::new, |verdict| {
        Measured(Duration::from_secs_f64(verdict.seconds.max(0.0))).to_string()
    });
    let kept = if run.state == State::Kept {
        format!("   kept: netsplit enter {} HOST", run.id)
    } else {
        String::new()
    };
    let name = run.dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let when = name.get(..15).unwrap_or_default();
    format!("{}\t{when}\t{word}\t{seconds:>7}\t{}{kept}", run.id, run.test())
}

fn show_one(run: &Run, json: bool, output: Output) -> anyhow::Result<()> {
    if json {
        output.out(serde_json::to_string(&document(run))?);
        return Ok(());
    }
    let unfinished = unfinished(run);
    match run.verdict.as_ref().or(unfinished.as_ref()) {
        Some(verdict) if verdict.verdict == Verdict::Passed => {
            output.out(screen::summary(verdict, output.paint));
            output.out(format!("evidence {}", output.paint.path(screen::shown_path(run.dir.path()))));
        }
        Some(verdict) => {
            let here = std::env::current_dir().unwrap_or_default();
            let screen = screen::failure(&run.dir, verdict, &screen::Next::default(), &[here], output.paint);
            output.out(screen.trim_end());
        }
        None => {
            output.out(line(run, output));
            output.out(format!("evidence {}", output.paint.path(screen::shown_path(run.dir.path()))));
        }
    }
    Ok(())
}

/// What is known of a run whose runner was killed; `None` of all others.
fn unfinished(run: &Run) -> Option<VerdictFile> {
    if run.verdict.is_some() || run.state == State::Running {
        return None;
    }
    let facts = run.dir.read_run().ok()?;
    let records = run.dir.read_events().unwrap_or_default();
    let last = records.iter().rev().find_map(|record| match &record.event {
        Event::StepBegan { step, text, .. } => {
            Some(format!("{} step {step} began: {text}", At(record.time())))
        }
        _ => None,
    });
    let reason = Trouble::new(Reason::Unfinished, "it ended without a verdict: its runner was killed");
    Some(VerdictFile {
        format: facts.format,
        run: facts.run,
        test: facts.test,
        verdict: Verdict::Unknown,
        reason: Some(last.into_iter().fold(reason, Trouble::saw)),
        tests: Vec::new(),
        seconds: records.last().map_or(0.0, |record| record.time().as_secs_f64()),
        seed: facts.seed,
        provider: facts.provider,
        repeat: facts.repeat,
        network: None,
        warnings: Vec::new(),
        teardown: None,
    })
}

fn document(run: &Run) -> Value {
    let facts = run.dir.read_run().ok();
    let state = match run.state {
        State::Running => "running",
        State::Kept => "kept",
        State::Over => "over",
    };
    json!({
        "netsplit": 1,
        "type": "run",
        "id": run.id.as_str(),
        "test": run.test(),
        "state": state,
        "verdict": run.ending(),
        "seconds": run.verdict.as_ref().map(|verdict| verdict.seconds),
        "seed": facts.as_ref().map(|facts| facts.seed),
        "provider": facts.as_ref().map(|facts| facts.provider.clone()),
        "dir": run.dir.path(),
        "reason": run.verdict.as_ref().and_then(|verdict| verdict.reason.clone()),
    })
}
