//! `netsplit logs`: what all processes of a run wrote, by time.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::ExitCode;
use std::time::Duration;

use netsplit_model::units::{self, At};
use netsplit_model::{ProcessName, Reason, Record, Stream, Trouble};
use netsplit_report::screen::shown_path;
use netsplit_report::{Merger, Run, State, clean};
use regex::Regex;
use serde_json::json;

use super::{find_names, has, is_named, settings, unknown_host};
use crate::args::LogsArgs;
use crate::output::Output;

/// How often a run that goes on is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Which lines are wanted.
struct Filter {
    /// Hosts or processes; empty: all.
    names: Vec<String>,
    since: Duration,
    grep: Option<Regex>,
    json: bool,
    output: Output,
}

pub(crate) fn run(args: &LogsArgs, output: Output) -> anyhow::Result<ExitCode> {
    let settings = settings(&[], output)?;
    let (run, names) = find_names(&settings, args.run.iter().chain(&args.hosts))?;
    for name in &names {
        if !has(&run, name) {
            return Err(unknown_host(&run, "host or process", name).into());
        }
    }
    let grep = args.grep.as_deref().map(Regex::new).transpose();
    let grep = grep.map_err(|error| {
        let text = format!("--grep is no regular expression: {}", why(&error.to_string()));
        Trouble::new(Reason::BadRegex, text)
    })?;
    let filter = Filter { names, since: since(args.since.as_deref(), &run)?, grep, json: args.json, output };
    follow(&run, args.follow, &filter)?;
    Ok(ExitCode::SUCCESS)
}

/// The reason, which is the last of the lines that draw a mistake in a regular expression.
fn why(error: &str) -> &str {
    error.lines().last().unwrap_or_default().trim_start_matches("error: ")
}

/// `2s` since the begin, `-2s` before the end.
fn since(text: Option<&str>, run: &Run) -> anyhow::Result<Duration> {
    let Some(text) = text else { return Ok(Duration::ZERO) };
    let (before_end, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let time =
        units::duration(text).map_err(|error| Trouble::new(Reason::BadValue, format!("--since: {error}")))?;
    let end = run.dir.read_events()?.last().map_or(Duration::ZERO, Record::time);
    Ok(if before_end { end.saturating_sub(time) } else { time })
}

/// Shows what is there, and with `on` what comes, until the run is over.
fn follow(run: &Run, on: bool, filter: &Filter) -> anyhow::Result<()> {
    let mut events = BufReader::new(File::open(run.dir.events())?);
    let mut merger = Merger::new(&run.dir);
    let (mut line, mut number) = (Vec::new(), 0u64);
    loop {
        // Looked at before the log is read: what was written before the end is seen.
        let is_over = State::Running != state(run);
        while events.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            if filter.output.lost().is_some() {
                return Ok(());
            }
            number += 1;
            let read = serde_json::from_slice::<Record>(&line);
            line.clear();
            let record = match read {
                Ok(record) => record,
                Err(error) => {
                    filter.skipped(run, number, &error);
                    continue;
                }
            };
            merger.take(
                &record,
                |process, _| filter.wants(process),
                |at, process, stream, text| filter.show(at, process, stream, text),
            )?;
        }
        if !on || is_over {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    merger.finish(|at, process, stream, text| filter.show(at, process, stream, text));
    Ok(())
}

fn state(run: &Run) -> State {
    netsplit_report::state(&run.dir)
}

impl Filter {
    fn wants(&self, process: &ProcessName) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| is_named(process, name))
    }

    /// A line that cannot be read hides no other.
    fn skipped(&self, run: &Run, number: u64, error: &serde_json::Error) {
        let (file, warning) = (run.dir.events(), self.output.paint_err.warning("warning:"));
        self.output.err(format!("{warning} {}:{number} was skipped: {error}", shown_path(&file)));
    }

    fn show(&self, at: Duration, process: &ProcessName, stream: Stream, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        if at < self.since || self.grep.as_ref().is_some_and(|grep| !grep.is_match(&text)) {
            return;
        }
        if self.json {
            let document = json!({
                "netsplit": 1, "type": "line", "t": u64::try_from(at.as_nanos()).unwrap_or(u64::MAX), "process": process, "stream": stream, "line": text,
            });
            self.output.out(document.to_string());
            return;
        }
        let name = self.output.paint.host(process.host().as_str(), format!("{process:<14}"));
        let stream = if stream == Stream::Stderr { "stderr" } else { "stdout" };
        self.output.out(format!("{:>10}  {name}  {stream}  {}", At(at).to_string(), clean(&text)));
    }
}
