//! `netsplit run`: from scenarios to verdicts and an exit code.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use netsplit::Verdict;
use netsplit::run::Finished;
use netsplit::settings::Settings;
use netsplit_model::units::{Measured, count};
use netsplit_model::{Reason, Trouble, VerdictFile, words};
use netsplit_provider::Provider;
use netsplit_report::{RunDir, junit, screen};
use netsplit_scenario::{Level, Loaded, Overrides, Scenario, StepAt};
use serde_json::json;
use tokio::sync::Semaphore;

use super::inputs::{self, Input};
use super::{runtime, settings};
use crate::args::{Format, RunArgs};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::scenario::{CaseRun, run_case};
use crate::terminal::Screen;

/// Annotations that the forge shows for one step of a job.
const ANNOTATIONS_MAX: usize = 10;

/// One case of one scenario on one provider.
#[derive(Clone)]
struct Job {
    loaded: Rc<Loaded>,
    file: PathBuf,
    /// Which case.
    case: usize,
    provider: Arc<dyn Provider>,
    stop_before: Option<StepAt>,
    /// The line that was typed for it.
    line: Option<u32>,
    /// What else was typed, for the command that repeats it.
    flags: Vec<String>,
}

pub(crate) fn run(args: &RunArgs, output: Output) -> anyhow::Result<ExitCode> {
    let settings = settings(&flags(args), output)?;
    let providers = providers(args, &settings)?;
    let inputs = if args.inputs.is_empty() { usual(&settings)? } else { inputs::find(&args.inputs)? };
    let Some(loaded) = load(&inputs, args, output)? else { return Ok(ExitCode::from(2)) };
    let jobs = jobs(loaded, &providers, args, output)?;
    if args.list {
        for job in &jobs {
            output.out(format!("{}\t{}\t{}", name(job), job.provider.name(), job.file.display()));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if jobs.is_empty() {
        output.err("nothing to run: no test matches");
        return Ok(ExitCode::from(4));
    }
    if let Some(path) = &settings.junit {
        check_writable(path)?;
    }
    runtime()?.block_on(run_all(jobs, args, &settings, output))
}

/// What runs when nothing is said.
fn usual(settings: &Settings) -> Result<Vec<Input>, Trouble> {
    let words: Vec<_> = settings.tests.iter().map(|path| path.display().to_string()).collect();
    let is_there = settings.tests.iter().all(|path| path.exists());
    inputs::find(&words).map_err(|trouble| {
        let said = settings.shown.iter().find(|(name, ..)| *name == "tests").filter(|_| !is_there);
        let Some((_, value, origin)) = said else { return trouble };
        trouble
            .because(format!(
                "`netsplit run` alone runs what the setting `tests` names: `{value}` ({origin})"
            ))
            .guess("netsplit run FILE")
            .or("netsplit new tests/first.toml -- ./server")
    })
}

/// Who waits for a file at the end wants to know at the begin that it cannot be written.
fn check_writable(path: &Path) -> Result<(), Trouble> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."));
    let text = if !folder.is_dir() {
        format!("the folder of the JUnit file `{}` is not there", path.display())
    } else if path.is_dir() {
        format!("the JUnit file `{}` is a folder", path.display())
    } else {
        return Ok(());
    };
    Err(Trouble::new(Reason::NoSuchFile, text))
}

/// What the command line says over the other settings.
fn flags(args: &RunArgs) -> Vec<(String, String)> {
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            flags.push((name.to_owned(), value));
        }
    };
    flag("jobs", args.jobs.map(|jobs| jobs.to_string()));
    flag("seed", args.seed.map(|seed| seed.to_string()));
    flag("patience", args.patience.clone());
    flag("keep", args.keep.clone());
    flag("junit", args.junit.as_ref().map(|path| path.display().to_string()));
    flag("profile", args.profile.clone());
    flags
}

fn providers(args: &RunArgs, settings: &Settings) -> anyhow::Result<Vec<Arc<dyn Provider>>> {
    let names = match (&args.provider[..], &settings.provider) {
        ([], None) => vec!["namespace".to_owned()],
        ([], Some(provider)) => vec![provider.clone()],
        (said, _) => said.to_vec(),
    };
    let find = |name: &String| {
        netsplit_provider::by_name(name)
            .ok_or_else(|| anyhow::Error::from(netsplit::run::unknown_provider(name)))
    };
    names.iter().map(find).collect()
}

/// A scenario, and what was typed for it.
type Ready = (Input, Rc<Loaded>);

/// Reads every scenario; every mistake of every one is shown, and then nothing runs.
fn load(inputs: &[Input], args: &RunArgs, output: Output) -> anyhow::Result<Option<Vec<Ready>>> {
    let mut overrides = Overrides::default();
    for text in &args.set {
        overrides.set(text).map_err(|trouble| anyhow::Error::from(*trouble))?;
    }
    for text in &args.hosts {
        overrides.hosts(text).map_err(|trouble| anyhow::Error::from(*trouble))?;
    }
    let (mut all, mut mistakes, mut files) = (Vec::new(), 0, 0);
    for input in inputs {
        match Scenario::load(&input.file, &overrides) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    output.err(loaded.sources.draw(warning, Level::Warning, output.paint_err).trim_end());
                }
                all.push((input.clone(), Rc::new(loaded)));
            }
            Err(found) => {
                for trouble in &found.troubles {
                    output.err(found.sources.draw(trouble, Level::Error, output.paint_err).trim_end());
                }
                mistakes += found.troubles.len();
                files += 1;
            }
        }
    }
    if mistakes == 0 {
        return Ok(Some(all));
    }
    output.err(format!("{} in {}, nothing was run", count(mistakes, "mistake"), count(files, "file")));
    Ok(None)
}

fn jobs(
    loaded: Vec<Ready>,
    providers: &[Arc<dyn Provider>],
    args: &RunArgs,
    output: Output,
) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (input, loaded) in loaded {
        let stop = input.line.map(|line| loaded.scenario.stop_before(line)).transpose();
        let stop_before = stop.map_err(|trouble| anyhow::Error::from(*trouble))?;
        let before = jobs.len();
        for provider in providers {
            for case in 0..loaded.scenario.cases().len() {
                let job = Job {
                    flags: flags_of(&loaded, case, &**provider, args),
                    loaded: Rc::clone(&loaded),
                    file: input.file.clone(),
                    case,
                    provider: Arc::clone(provider),
                    stop_before,
                    line: input.line,
                };
                if is_wanted(&job, &args.filter) {
                    jobs.push(job);
                }
            }
        }
        if stop_before.is_some() {
            only_first(&mut jobs, before, output);
        }
    }
    Ok(jobs)
}

/// Who asked for a shell wants one.
fn only_first(jobs: &mut Vec<Job>, from: usize, output: Output) {
    let count = jobs.len() - from;
    if count > 1 {
        let first = &jobs[from];
        output.err(format!(
            "only `{}` on `{}` is run, the first of {count}; -f and -p choose another",
            name(first),
            first.provider.name()
        ));
        jobs.truncate(from + 1);
    }
}

fn name(job: &Job) -> &str {
    &job.loaded.scenario.cases()[job.case].name
}

/// `part` of a name, `@tag`; a `-` before it excludes.
fn is_wanted(job: &Job, filters: &[String]) -> bool {
    let matches = |pattern: &str| match pattern.strip_prefix('@') {
        Some(tag) => job.loaded.scenario.tags.iter().any(|own| own == tag),
        None => name(job).contains(pattern),
    };
    let (without, with): (Vec<_>, Vec<_>) = filters.iter().partition(|filter| filter.starts_with('-'));
    let excluded = without.iter().any(|filter| matches(&filter[1..]));
    !excluded && (with.is_empty() || with.iter().any(|filter| matches(filter)))
}

/// The flags that make this case of this scenario again.
fn flags_of(loaded: &Loaded, case: usize, provider: &dyn Provider, args: &RunArgs) -> Vec<String> {
    let cases = loaded.scenario.cases();
    let case = cases.get(case).filter(|_| cases.len() > 1).map(|case| case.name.clone());
    let provider = (!args.provider.is_empty()).then(|| provider.name().to_owned());
    let flags = [
        ("-s", args.set.clone()),
        ("-n", args.hosts.clone()),
        ("--patience", args.patience.iter().cloned().collect()),
        ("--profile", args.profile.iter().cloned().collect()),
        ("-p", provider.into_iter().collect()),
        ("-f", case.into_iter().collect()),
    ];
    let of_each = |(flag, values): (&str, Vec<String>)| {
        values.into_iter().flat_map(|value| [flag.to_owned(), value]).collect::<Vec<_>>()
    };
    flags.into_iter().flat_map(of_each).collect()
}

/// The command that runs a case again, before a line if one is said; `%{seed}` stands for the seed.
fn again(job: &Job, line: Option<u32>) -> String {
    let file = job.file.display();
    let file = line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}"));
    let command = ["netsplit", "run", &file].into_iter().chain(job.flags.iter().map(String::as_str));
    words::join(command) + " --seed %{seed}"
}

/// What all jobs share.
struct Shared {
    screen: Screen,
    interrupt: Interrupt,
    settings: Settings,
    output: Output,
    format: Format,
    finished: RefCell<Vec<(RunDir, VerdictFile)>>,
    /// Those that did not pass.
    bad: Cell<usize>,
    annotations: Cell<usize>,
    /// The warnings that were told.
    warned: RefCell<BTreeSet<String>>,
    stop_after: Option<usize>,
    until_fail: bool,
}

async fn run_all(
    jobs: Vec<Job>,
    args: &RunArgs,
    settings: &Settings,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let format = match args.format {
        Some(format) => format,
        None if args.json => Format::Json,
        None if netsplit::settings::is_github() => Format::Github,
        None => Format::Text,
    };
    let rounds = if args.until_fail && args.repeat == 1 { u32::MAX } else { args.repeat.max(1) };
    let total = jobs.len().saturating_mul(usize::try_from(rounds).unwrap_or(usize::MAX));
    let screen = Screen::new(output, args.progress, total, args.quiet || format == Format::Json)?;
    let shared = Rc::new(Shared {
        screen: screen.clone(),
        interrupt: Interrupt::listen()?,
        settings: settings.clone(),
        output,
        format,
        finished: RefCell::default(),
        bad: Cell::new(0),
        annotations: Cell::new(0),
        warned: RefCell::default(),
        stop_after: args.stop_after,
        until_fail: args.until_fail,
    });
    tokio::spawn(screen.clone().redraw());
    tokio::spawn(say_interrupted(shared.interrupt.clone(), screen.clone()));
    listen_for_questions(screen.clone())?;
    let local = tokio::task::LocalSet::new();
    // A shell has the terminal to itself.
    let has_shell = jobs.iter().any(|job| job.stop_before.is_some());
    let at_once = if has_shell { 1 } else { at_once(settings, total) };
    let launched = local.run_until(launch(jobs, rounds, Rc::clone(&shared), at_once)).await;
    screen.close();
    launched?;
    finish(&shared, begun.elapsed())
}

fn at_once(settings: &Settings, total: usize) -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    settings.jobs.unwrap_or_else(|| (processors / 2).max(1)).min(total.max(1))
}

async fn say_interrupted(interrupt: Interrupt, screen: Screen) {
    interrupt.wait().await;
    screen.say("interrupted: ending the hosts, closing the evidence · again: at once".to_owned());
}

/// SIGUSR1: what does each run wait for?
fn listen_for_questions(screen: Screen) -> anyhow::Result<()> {
    let mut asked = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined1())?;
    tokio::spawn(async move {
        while asked.recv().await.is_some() {
            screen.status();
        }
    });
    Ok(())
}

/// Runs all jobs, so many at once; begins nothing new once that is to stop.
async fn launch(jobs: Vec<Job>, rounds: u32, shared: Rc<Shared>, at_once: usize) -> anyhow::Result<()> {
    let room = Rc::new(Semaphore::new(at_once));
    let mut running = tokio::task::JoinSet::new();
    let mut number = 0;
    'all: for _ in 0..rounds {
        for job in &jobs {
            let permit = Rc::clone(&room);
            let permit = loop {
                // Whoever has ended made room; what it met is passed on.
                while let Some(ended) = running.try_join_next() {
                    ended.context("a run ended badly")??;
                }
                if shared.must_stop() {
                    break 'all;
                }
                match permit.try_acquire() {
                    Ok(permit) => break permit,
                    Err(_) => {
                        if let Some(ended) = running.join_next().await {
                            ended.context("a run ended badly")??;
                        }
                    }
                }
            };
            permit.forget();
            let (job, shared, room) = (job.clone(), Rc::clone(&shared), Rc::clone(&room));
            running.spawn_local(async move {
                let done = one(number, job, &shared).await;
                room.add_permits(1);
                done
            });
            number += 1;
        }
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a run ended badly")??;
    }
    Ok(())
}

impl Shared {
    fn must_stop(&self) -> bool {
        let limit = if self.until_fail { Some(1) } else { self.stop_after };
        limit.is_some_and(|limit| self.bad.get() >= limit) || self.interrupt.exit_code().is_some()
    }

    /// The warnings that no run before had: cases of a matrix have one cleanup, and what it meets is mostly the same.
    fn untold(&self, warnings: &[Trouble]) -> Vec<Trouble> {
        let is_new = |warning: &&Trouble| {
            let place = warning.place.as_ref().map(ToString::to_string).unwrap_or_default();
            self.warned.borrow_mut().insert(format!("{place} {}", warning.text))
        };
        warnings.iter().filter(is_new).cloned().collect()
    }
}

async fn one(number: usize, job: Job, shared: &Shared) -> anyhow::Result<()> {
    let scenario = &job.loaded.scenario;
    shared.screen.begin(number, name(&job), scenario.hosts().count());
    let screen = shared.screen.clone();
    let listener = move |record: &netsplit_model::Record| screen.event(number, record);
    let finished = run_case(CaseRun {
        loaded: &job.loaded,
        case: &scenario.cases()[job.case],
        settings: shared.settings.clone(),
        provider: Arc::clone(&job.provider),
        repeat: again(&job, job.line),
        stop_before: job.stop_before,
        began: Box::new(|seed| shared.screen.headline(head(&job, seed))),
        listener: Box::new(listener),
        interrupt: shared.interrupt.clone(),
        screen: shared.screen.clone(),
    })
    .await
    .map_err(|trouble| anyhow::Error::from(*trouble))?;
    if !matches!(finished.verdict.verdict, Verdict::Passed | Verdict::Skipped) {
        shared.bad.set(shared.bad.get() + 1);
    }
    show(number, &job, &finished, shared)?;
    shared.finished.borrow_mut().push((finished.dir, finished.verdict));
    Ok(())
}

/// The first line of a run told in detail.
fn head(job: &Job, seed: u64) -> String {
    let hosts = count(job.loaded.scenario.hosts().count(), "host");
    format!("{}  {} · {hosts} · seed {seed}", name(job), job.provider.name())
}

fn show(number: usize, job: &Job, finished: &Finished, shared: &Shared) -> anyhow::Result<()> {
    let verdict = &finished.verdict;
    if shared.format == Format::Json {
        shared.screen.forget(number);
        shared.screen.data(serde_json::to_string(&document(finished))?);
        return Ok(());
    }
    let verdict = &VerdictFile { warnings: shared.untold(&verdict.warnings), ..verdict.clone() };
    if shared.format == Format::Github {
        annotate(verdict, shared);
    }
    let passed = matches!(verdict.verdict, Verdict::Passed | Verdict::Skipped);
    let lines = if passed {
        passed_lines(job, finished, verdict, shared)
    } else {
        let next = screen::Next {
            repeat: verdict.repeat.clone(),
            stop_before: stop_before(job, verdict),
            look: Some(inside(finished, "failed")),
        };
        screen::failure(&finished.dir, verdict, &next, &[std::env::current_dir()?], shared.output.paint)
    };
    shared.screen.end(number, verdict, finished.kept, &lines);
    Ok(())
}

/// What stands below the line of a run that passed or was skipped: the warnings, and where to look.
fn passed_lines(job: &Job, finished: &Finished, verdict: &VerdictFile, shared: &Shared) -> String {
    let paint = shared.output.paint;
    let warnings = verdict.warnings.iter();
    let mut lines: String =
        warnings.map(|warning| job.loaded.sources.draw(warning, Level::Warning, paint)).collect();
    if shared.screen.is_detailed() || finished.kept {
        lines += &format!("evidence {}\n", paint.path(screen::shown_path(finished.dir.path())));
        if finished.verdict.verdict == Verdict::Passed || finished.kept {
            lines += &format!("inside   {}\n", inside(finished, "always"));
        }
    }
    lines
}

/// How to look into a host of a run like this, which is kept when `keep` says so.
fn inside(finished: &Finished, keep: &str) -> String {
    if finished.kept {
        return format!("kept: netsplit enter {} HOST   ends with: netsplit clean", finished.verdict.run);
    }
    format!("{} --keep {keep}, then netsplit enter last HOST", finished.verdict.repeat)
}

/// The command that stops just before the step that failed.
fn stop_before(job: &Job, verdict: &VerdictFile) -> Option<String> {
    let place = verdict.reason.as_ref()?.place.as_ref()?;
    let at = job.loaded.scenario.stop_before(place.line).ok();
    // Where it stopped as asked, the command that repeats it does.
    let is_step = place.file == job.loaded.scenario.file && at.is_some() && at != job.stop_before;
    is_step.then(|| again(job, Some(place.line)).replace("%{seed}", &verdict.seed.to_string()))
}

fn document(finished: &Finished) -> serde_json::Value {
    let verdict = &finished.verdict;
    json!({
        "netsplit": 1,
        "type": "run",
        "id": verdict.run,
        "test": verdict.test,
        "provider": verdict.provider,
        "verdict": verdict.verdict,
        "seconds": verdict.seconds,
        "seed": verdict.seed,
        "dir": finished.dir.path(),
        "kept": finished.kept,
        "reason": verdict.reason,
        "tests": verdict.tests,
        "warnings": verdict.warnings,
        "repeat": verdict.repeat,
    })
}

/// Lines that the forge turns into notes beside the file.
fn annotate(verdict: &VerdictFile, shared: &Shared) {
    if matches!(verdict.verdict, Verdict::Passed | Verdict::Skipped) {
        return;
    }
    let room = ANNOTATIONS_MAX - shared.annotations.get();
    let told = screen::told(verdict);
    let told = told.iter().filter_map(|told| Some((told.verdict, told.reason?))).take(room);
    for (verdict_of, reason) in told {
        shared.annotations.set(shared.annotations.get() + 1);
        let title = format!("{verdict_of}: {}", verdict.test).replace([',', ':'], " ");
        shared.screen.data(annotation(&title, reason));
    }
}

fn annotation(title: &str, reason: &Trouble) -> String {
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let place =
        reason.place.as_ref().map(|place| format!("file={},line={},", escape(&place.file), place.line));
    format!("::error {}title={}::{}", place.unwrap_or_default(), escape(title), escape(&reason.text))
}

/// The last line, the JUnit file, the exit code.
fn finish(shared: &Shared, took: Duration) -> anyhow::Result<ExitCode> {
    let finished = shared.finished.borrow();
    let verdicts: Vec<_> = finished.iter().map(|(_, verdict)| verdict.verdict).collect();
    let code = shared.interrupt.exit_code().unwrap_or_else(|| Verdict::exit_code(&verdicts));
    if let Some(path) = &shared.settings.junit {
        let wrote = junit::document(&finished).and_then(|xml| std::fs::write(path, xml));
        wrote.map_err(|error| {
            Trouble::new(Reason::DiskFull, format!("`{}` was not written: {error}", path.display()))
        })?;
    }
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for verdict in &verdicts {
        *counts.entry(*verdict).or_default() += 1;
    }
    let count = |verdict| counts.get(&verdict).copied().unwrap_or(0);
    if shared.format == Format::Json {
        let counts: serde_json::Map<_, _> =
            Verdict::ALL.iter().map(|verdict| (verdict.to_string(), json!(count(*verdict)))).collect();
        shared.output.out(serde_json::to_string(&json!({
            "netsplit": 1, "type": "summary", "verdicts": counts, "seconds": took.as_secs_f64(), "exit": code,
        }))?);
    } else if !shared.screen.is_single() {
        let counts = Verdict::ALL.iter().map(|verdict| format!("{} {verdict}", count(*verdict)));
        let counts: Vec<_> = counts.collect();
        shared.output.out(format!("{} · {} · exit {code}", counts.join(" · "), Measured(took)));
    }
    Ok(ExitCode::from(code))
}
