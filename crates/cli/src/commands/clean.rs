//! `netsplit clean`: ends kept testbeds, then removes runs. Only what has a run's id, and whose runner is dead.

use std::fs;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::SystemTime;

use netsplit_model::units::count;
use netsplit_provider::namespace;
use netsplit_report::{Run, Runs, State, screen};

use super::{runtime, settings};
use crate::args::CleanArgs;
use crate::output::Output;

pub(crate) fn run(args: &CleanArgs, output: Output) -> anyhow::Result<ExitCode> {
    let settings = settings(&[], output)?;
    let runs = Runs::new(&settings.dir);
    let all = runs.list()?;
    let kept: Vec<_> = all.iter().filter(|run| run.state == State::Kept).cloned().collect();
    let mut is_clean = true;
    for run in &kept {
        if args.dry_run {
            output.out(format!("would end the testbed of {} {}", run.id, run.test()));
            continue;
        }
        match end(run) {
            Ok(()) => output.out(format!("ended the testbed of {} {}", run.id, run.test())),
            Err(error) => {
                is_clean = false;
                output.err(format!("the testbed of {} was not ended: {error:#}", run.id));
            }
        }
    }
    let beyond = if args.all {
        // Those whose testbeds have just ended are over as well.
        all.into_iter().filter(|run| run.state != State::Running).collect()
    } else {
        let limits = settings.retention;
        runs.beyond(limits.runs, limits.size, limits.age, SystemTime::now())?
    };
    for run in &beyond {
        let path = screen::shown_path(run.dir.path());
        if args.dry_run {
            output.out(format!("would remove {path}"));
        } else if let Err(error) = fs::remove_dir_all(run.dir.path()) {
            is_clean = false;
            output.err(format!("{path} was not removed: {error}"));
        }
    }
    if !args.dry_run {
        output.err(format!("{} ended, {} removed", count(kept.len(), "testbed"), count(beyond.len(), "run")));
    } else if kept.is_empty() && beyond.is_empty() {
        output.err("nothing to clean: no testbed is kept, no run is beyond the limits");
    }
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn end(run: &Run) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let bed = match namespace::attach(run.dir.path()) {
            // Its socket has gone since we looked: it has just ended by itself.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                return Ok(());
            }
            attached => attached?,
        };
        let teardown = bed.end().await;
        anyhow::ensure!(teardown.ok, "{}", teardown.errors.join("; "));
        Ok(())
    })
}
