//! Simulated mode, from a test down to the one fresh process that simulates one seed.
//!
//! ```text
//! the harness's function (outside)               this executable again, before `main` (inside)
//!   seeds, processes ── Order, one line ───────> simulate_seed ── inside(seed, …) ── the run, its hosts, its verdict
//!   Attempt, summary <── Report, one line ──────     │
//! ```
//!
//! Here are both ends. What a seed is simulated with is [`inside`], and only that.

mod attempt;
mod child;
mod crowd;
mod diverge;
mod order;
mod progress;
mod seeds;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netsplit_model::{Reason, Trouble, Verdict, units::Measured};
use netsplit_provider::simulated::Simulated;
use netsplit_sim::{Config, End, Exit, Stuck};

use self::attempt::Outside;
use self::order::{Ended, Order, Report};
use self::seeds::Plan;
use crate::error::Error;
use crate::interrupt::Open;
use crate::run::{self, Run, RunSpec};
use crate::settings::Settings;
use crate::test::{self, IntoTestResult, TestFailure, TestSpec};
use crate::testbed::Testbed;

/// Virtual time that a test may take: tests that hang end by their own deadlines long before.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// What `abort` ends a process by.
const SIGABRT: i32 = 6;
/// Threads that are named when nothing can happen any more.
const STUCK_SHOWN: usize = 12;

/// What a simulation is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeedSpec {
    /// Of all chance.
    pub(crate) seed: u64,
}

/// How a simulation went.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Of all that happened, in its order.
    pub(crate) trace: u64,
    /// How long it lasted, in its own time.
    pub(crate) now: Duration,
    /// How many events there were.
    pub(crate) events: u64,
    /// What its process exited with.
    pub(crate) code: i32,
    /// Why it ended before its body returned, if it did.
    pub(crate) end: Result<(), Trouble>,
}

/// Simulates a seed in this process, once: `body` and all that it starts.
pub(crate) fn inside(seed: SeedSpec, body: impl FnOnce() + Send + 'static) -> Inside {
    let config = Config { seed: seed.seed, limit: TIME_MAX, ..Config::default() };
    let report = netsplit_sim::run(config, body);
    let end = match &report.end {
        // So ends the process that simulates it, and so it is told.
        End::Ended(Exit::Signal(SIGABRT)) => std::process::abort(),
        End::Ended(_) => Ok(()),
        End::Deadlock(stuck) => {
            Err(stopped(Reason::Deadlock, "nothing can ever happen again", &report, stuck))
        }
        End::Limit(stuck) => Err(stopped(Reason::TestTimedOut, "the test did not end", &report, stuck)),
        End::Flood(stuck) => {
            let what = "more than a million packets and timers are to come within a second";
            let trouble = stopped(Reason::Flood, what, &report, stuck);
            Err(trouble
                .guess("look for programs that answer each packet with several, or never stop to send"))
        }
    };
    let code = match report.end {
        End::Ended(Exit::Code(code)) => code,
        // As shells tell of a signal; for a simulation that did not end nobody asks.
        End::Ended(Exit::Signal(signal)) => 128 + signal,
        End::Deadlock(_) | End::Limit(_) | End::Flood(_) => 1,
    };
    Inside { trace: report.trace, now: report.now, events: report.events, code, end }
}

fn stopped(reason: Reason, what: &str, report: &netsplit_sim::Report, stuck: &[Stuck]) -> Trouble {
    let mut trouble = Trouble::new(reason, format!("{what}, at {} (virtual)", Measured(report.now)));
    for stuck in stuck.iter().take(STUCK_SHOWN) {
        let host = if stuck.host.is_empty() { "the test" } else { &stuck.host };
        trouble = trouble.saw(format!("{host}: {} waits in {}", stuck.process, stuck.waits_for));
    }
    match stuck.len().saturating_sub(STUCK_SHOWN) {
        0 => trouble,
        more => trouble.saw(format!("and {more} more")),
    }
}

/// Simulates the seed that this process was started for. Called by the code that `#[netsplit::test]` makes.
#[doc(hidden)]
pub fn simulate_seed<F, T>(spec: &'static TestSpec, body: impl FnOnce(Testbed) -> F + Send + 'static) -> i32
where
    F: Future<Output = T>,
    T: IntoTestResult,
{
    let Ok((order, answer)) = order::receive() else { return 70 };
    let seed = SeedSpec { seed: order.place.seed };
    let told = Arc::new(Mutex::new(None));
    let tell = Arc::clone(&told);
    let inside = inside(seed, move || {
        let ended = run_one(spec, order, body);
        *tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
    });
    let told = told.lock().unwrap_or_else(PoisonError::into_inner).take();
    let ended = match (inside.end, told) {
        (Ok(()), Some(ended)) => ended,
        (Err(trouble), _) => Ended::Stopped(vec![trouble]),
        // It exited, or panicked beyond its test: what it printed says where.
        (Ok(()), None) => return inside.code,
    };
    let code = ended.exit_code();
    let report = Report { ended, trace: inside.trace, now: inside.now, events: inside.events };
    order::send(&answer, &report).map_or(70, |()| code)
}

/// Runs the test with one seed, on simulated hosts.
fn run_one<F, T>(spec: &TestSpec, order: Order, body: impl FnOnce(Testbed) -> F) -> Ended
where
    F: Future<Output = T>,
    T: IntoTestResult,
{
    let begin = || -> Result<_, Vec<Trouble>> {
        let settings = order.settings.take()?;
        let run_spec = RunSpec {
            test: order.test,
            repeat: order.repeat,
            ..test::run_spec(spec, test::Mode::Simulated, Arc::new(Simulated), order.base)
        };
        let begun = Run::begin_at(settings, run_spec, order.place).map_err(|error| vec![error.into()])?;
        let no_runtime = |error: std::io::Error| vec![Error::from(error).into()];
        Ok((begun, test::runtime(spec).map_err(no_runtime)?))
    };
    let (run, runtime) = match begin() {
        Ok(begun) => begun,
        Err(troubles) => return Ended::Stopped(troubles),
    };
    let (finished, _its_words_are_in_the_verdict) = runtime.block_on(test::carry_out(spec, run, body));
    Ended::Finished { verdict: Box::new(finished.verdict), kept: finished.kept }
}

/// Simulates a test with all its seeds.
pub(crate) fn all(spec: &TestSpec, settings: Settings, run: &RunSpec) -> Result<(), TestFailure> {
    let wrong = |error: Error| test::show_all(spec, &[error.into()]);
    let _open = Open::test(&run.test, None);
    let outside = Outside::new(spec, &settings, run).map_err(wrong)?;
    match seeds::plan(&settings, spec.seeds, run::random_seed) {
        Plan::One(seed) => one(&outside, seed).map_err(wrong)?,
        Plan::Many { base, seeds } => many(&outside, base, &seeds).map_err(wrong)?,
    }
}

/// A run like any other: its directory stays, and its output is the test's.
fn one(outside: &Outside<'_>, seed: u64) -> Result<Result<(), TestFailure>, Error> {
    test::say(&format!("seed {seed}"));
    let attempt = outside.attempt(seed)?;
    outside.point("last", &attempt);
    outside.clear_up(Some(&attempt).filter(|attempt| attempt.is_bad()));
    attempt.say_printed();
    let verdict = &attempt.verdict;
    if !attempt.is_bad() {
        test::say_aside(verdict);
        return Ok(Ok(()));
    }
    Ok(Err(TestFailure::new(outside.screen(&attempt), test::is_own(verdict))))
}

fn many(outside: &Outside<'_>, base: u64, seeds: &[u64]) -> Result<Result<(), TestFailure>, Error> {
    let jobs = crowd::jobs(outside.settings);
    let tally = crowd::run(&outside.run.test, seeds, jobs, |seed| outside.attempt(seed))?;
    outside.clear_up(tally.shown());
    let again = outside.repeat_all(base, seeds.len());
    let summary = tally.summary();
    let Some(first) = tally.shown() else {
        let took = Measured(tally.took);
        test::say(&format!("{summary}\nbase     {base}, simulated in {took}\nagain    {again}"));
        tally.say_aside();
        return Ok(Ok(()));
    };
    outside.point("last", first);
    first.say_printed();
    let mut screen = format!("{summary}\nagain    {again}\n");
    for other in tally.kept.iter().filter(|other| other.seed != first.seed) {
        screen += &format!("kept     seed {}: {}\n", other.seed, other.shown_dir());
    }
    screen += &format!("\n{}", outside.screen(first));
    Ok(Err(TestFailure::new(screen, test::is_own(&first.verdict))))
}

/// Whether a test with this verdict did not pass.
fn is_bad(verdict: Verdict) -> bool {
    !matches!(verdict, Verdict::Passed | Verdict::Skipped)
}
