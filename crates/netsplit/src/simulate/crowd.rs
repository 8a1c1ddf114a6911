//! Many seeds: side by side, counted, the first failures kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use netsplit_model::Verdict;

use super::attempt::Attempt;
use super::progress::{Progress, grouped};
use crate::error::Result;
use crate::settings::Settings;

/// Failures of which the run's directory stays.
const KEPT_MAX: usize = 3;
/// Seeds that do not pass before no more are begun: they would tell the same.
const BAD_MAX: usize = 10;
/// Warnings that are told; the others are in the evidence.
const WARNINGS_MAX: usize = 5;
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How many seeds are simulated at once, of all tests of this process together.
pub(super) fn jobs(settings: &Settings) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    settings.jobs.unwrap_or(cores)
}

/// How the seeds of a test ended.
#[derive(Debug, Default)]
pub(super) struct Tally {
    wanted: usize,
    done: usize,
    passed: usize,
    /// The seeds that did not pass, by how they ended.
    others: BTreeMap<Verdict, BTreeSet<u64>>,
    /// The first failures; what failed rather than what broke.
    pub(super) kept: Vec<Attempt>,
    warnings: BTreeSet<String>,
    pub(super) took: Duration,
}

impl Tally {
    fn bad(&self) -> usize {
        self.others.iter().filter(|(verdict, _)| super::is_bad(**verdict)).map(|(_, seeds)| seeds.len()).sum()
    }

    /// Whether there is no use in more of them.
    fn is_enough(&self) -> bool {
        self.others.values().map(BTreeSet::len).sum::<usize>() >= BAD_MAX
    }

    fn add(&mut self, attempt: Attempt) {
        self.done += 1;
        let told = attempt.verdict.reason.iter().filter(|_| attempt.verdict.verdict == Verdict::Skipped);
        let told = told.map(|reason| ("skipped", reason));
        let warnings = attempt.verdict.warnings.iter().map(|warning| ("warning", warning));
        for (label, trouble) in told.chain(warnings) {
            let text = trouble.text.lines().next().unwrap_or_default();
            self.warnings.insert(format!("{label}: {}: {text}", attempt.verdict.test));
        }
        match attempt.verdict.verdict {
            Verdict::Passed => self.passed += 1,
            verdict => drop(self.others.entry(verdict).or_default().insert(attempt.seed)),
        }
        if !attempt.is_bad() {
            return attempt.remove();
        }
        // The gravest first, and of one kind those that came first.
        let at = self.kept.partition_point(|kept| kept.verdict.verdict >= attempt.verdict.verdict);
        self.kept.insert(at, attempt);
        self.kept.drain(KEPT_MAX.min(self.kept.len())..).for_each(Attempt::remove);
    }

    /// The failure that is told as a whole: of those kept the gravest, the first of the seeds as they are listed.
    pub(super) fn shown(&self) -> Option<&Attempt> {
        self.kept.iter().min_by_key(|attempt| (std::cmp::Reverse(attempt.verdict.verdict), attempt.seed))
    }

    /// `failed   997 of 1,000 seeds passed, 3 failed: 17 2211 90210`.
    pub(super) fn summary(&self) -> String {
        let verdict = match self.shown() {
            Some(attempt) => attempt.verdict.verdict,
            None if self.passed == 0 => Verdict::Skipped,
            None => Verdict::Passed,
        };
        let (passed, wanted) = (grouped(self.passed), grouped(self.wanted));
        let mut text = format!("{:<9}{passed} of {wanted} seeds passed", verdict.as_str());
        for (verdict, seeds) in self.others.iter().rev() {
            let listed: Vec<_> = seeds.iter().map(u64::to_string).collect();
            text += &format!(", {} {verdict}: {}", grouped(seeds.len()), listed.join(" "));
        }
        if self.done < self.wanted {
            let left = grouped(self.wanted - self.done);
            text += &format!("; {left} were not begun after {BAD_MAX} that did not pass");
        }
        text
    }

    /// Tells skips and warnings past the harness's capture, each once.
    pub(super) fn say_aside(&self) {
        let lines: String = self.warnings.iter().take(WARNINGS_MAX).map(|line| format!("{line}\n")).collect();
        let _nobody_listens = std::io::stderr().write_all(lines.as_bytes());
    }
}

/// What the threads share.
struct Shared {
    tally: Tally,
    next: usize,
    /// Threads that still work.
    working: usize,
    /// What keeps any seed from being simulated.
    broken: Option<crate::Error>,
}

/// Attempts each of `seeds`, so many at once, until enough have failed.
///
/// # Errors
/// The first attempt that could not be made.
pub(super) fn run(
    test: &str,
    seeds: &[u64],
    jobs: usize,
    attempt: impl Fn(u64) -> Result<Attempt> + Sync,
) -> Result<Tally> {
    let begun = Instant::now();
    let workers = jobs.clamp(1, seeds.len().max(1));
    let tally = Tally { wanted: seeds.len(), ..Tally::default() };
    let shared = Mutex::new(Shared { tally, next: 0, working: workers, broken: None });
    let ended = Condvar::new();
    thread::scope(|scope| {
        for _ in 0..workers {
            // The processes that a thread starts die with it: it waits for each of them.
            scope.spawn(|| {
                let _works = Working { shared: &shared, ended: &ended };
                while let Some(seed) = next(&shared, seeds) {
                    let slot = Slot::take(jobs);
                    let attempted = attempt(seed);
                    drop(slot);
                    let mut shared = lock(&shared);
                    match attempted {
                        Ok(attempt) => shared.tally.add(attempt),
                        Err(error) => shared.broken = Some(error),
                    }
                }
            });
        }
        let mut progress = Progress::new(test, seeds.len());
        let mut state = lock(&shared);
        while state.working > 0 {
            progress.tell(state.tally.done, state.tally.bad());
            let waited = ended.wait_timeout(state, LOOK_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    });
    let Shared { tally, broken, .. } = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    match broken {
        Some(error) => Err(error),
        None => Ok(Tally { took: begun.elapsed(), ..tally }),
    }
}

fn next(shared: &Mutex<Shared>, seeds: &[u64]) -> Option<u64> {
    let mut shared = lock(shared);
    if shared.tally.is_enough() || shared.broken.is_some() {
        return None;
    }
    let seed = seeds.get(shared.next).copied();
    shared.next += 1;
    seed
}

/// A thread that works; it tells when it does no more, also when it panics.
struct Working<'a> {
    shared: &'a Mutex<Shared>,
    ended: &'a Condvar,
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        lock(self.shared).working -= 1;
        self.ended.notify_all();
    }
}

/// A place among the seeds that are simulated at once: tests run side by side as well.
struct Slot;

static SLOTS_TAKEN: Mutex<usize> = Mutex::new(0);
static SLOT_FREE: Condvar = Condvar::new();

impl Slot {
    fn take(max: usize) -> Self {
        let mut taken = lock(&SLOTS_TAKEN);
        while *taken >= max {
            taken = SLOT_FREE.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += 1;
        Self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *lock(&SLOTS_TAKEN) -= 1;
        SLOT_FREE.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use netsplit_model::{Reason, Trouble};

    use super::*;

    /// Attempts `count` seeds of which some fail; the summary, the seeds shown and kept, and the directories left.
    fn crowd(count: u64, fails: &[(u64, Reason)]) -> (String, Option<u64>, Vec<u64>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let seeds: Vec<_> = (0..count).collect();
        let attempt = |seed| {
            let dir = folder.path().join(format!("{seed}"));
            std::fs::create_dir(&dir).unwrap();
            let fails = fails.iter().find(|(bad, _)| *bad == seed);
            let reason = fails.map(|(_, reason)| Trouble::new(*reason, "it did"));
            Ok(Attempt::for_test(seed, &dir, reason))
        };
        let tally = run("a test", &seeds, 2, attempt).unwrap();
        let mut kept: Vec<_> = tally.kept.iter().map(|attempt| attempt.seed).collect();
        kept.sort_unstable();
        let shown = tally.shown().map(|attempt| attempt.seed);
        (tally.summary(), shown, kept, left(folder.path()))
    }

    fn left(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn failures_are_listed_and_the_first_are_kept() {
        let fails = [17, 221, 902].map(|seed| (seed, Reason::WaitTimedOut));
        let (summary, shown, kept, left) = crowd(1000, &fails);
        assert_eq!(summary, "failed   997 of 1,000 seeds passed, 3 failed: 17 221 902");
        assert_eq!((shown, kept, left), (Some(17), vec![17, 221, 902], 3));
        assert_eq!(crowd(20, &[]).0, "passed   20 of 20 seeds passed");
    }

    #[test]
    fn what_failed_is_told_before_what_broke() {
        let (summary, shown, ..) =
            crowd(30, &[(3, Reason::HostLost), (5, Reason::Expect), (6, Reason::MissingCapability)]);
        assert_eq!(summary, "failed   27 of 30 seeds passed, 1 failed: 5, 1 infra: 3, 1 skipped: 6");
        assert_eq!(shown, Some(5));
    }

    #[test]
    fn what_failed_is_kept_rather_than_what_broke() {
        let mut bad: Vec<_> = (0..5).map(|seed| (seed, Reason::HostLost)).collect();
        bad.push((20, Reason::Expect));
        let (summary, shown, kept, left) = crowd(30, &bad);
        assert!(
            summary.starts_with("failed   24 of 30 seeds passed, 1 failed: 20, 5 infra: 0 1 2 3 4"),
            "{summary}"
        );
        assert_eq!((shown, kept.len(), left), (Some(20), 3, 3));
    }

    #[test]
    fn enough_failures_end_it() {
        let fails: Vec<_> = (0..500).map(|seed| (seed, Reason::Expect)).collect();
        let (summary, _, kept, left) = crowd(500, &fails);
        assert_eq!((kept.len(), left), (3, 3));
        assert!(
            summary.starts_with("failed   0 of 500 seeds passed, 1")
                && summary.contains("were not begun after 10")
        );
        let skips: Vec<_> = (0..500).map(|seed| (seed, Reason::MissingCapability)).collect();
        let (summary, shown, _, left) = crowd(500, &skips);
        assert!(summary.starts_with("skipped  0 of 500") && shown.is_none() && left == 0, "{summary}");
    }
}
