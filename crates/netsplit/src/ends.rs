//! Processes that ended, and of which of them nobody took notice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netsplit_model::units::At;
use netsplit_model::{Outcome, ProcessName, Reason, Stream, Trouble};

use crate::core::Core;
use crate::recorder::Scope;

/// Ends kept that nobody took notice of; beyond them new ones are forgotten.
const ENDS_MAX: usize = 4096;
/// Ends that a message about a wait shows.
const SHOWN_MAX: usize = 2;
/// Lines of a process that a warning shows.
const LINES_MAX: usize = 3;

/// How a process ended by itself, by its own exit or by a signal.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) process: ProcessName,
    pub(crate) outcome: Outcome,
    pub(crate) at: Duration,
    /// Whether the test waited for it, was told of it, or brought it about.
    pub(crate) noticed: Arc<AtomicBool>,
}

/// The ends of a run, in their order.
#[derive(Debug, Default)]
pub(crate) struct Ends(Mutex<Vec<End>>);

impl Ends {
    fn lock(&self) -> MutexGuard<'_, Vec<End>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, end: End) {
        let mut ends = self.lock();
        // A test may run thousands of commands, and waits for nearly all of them.
        ends.retain(|end| !end.noticed.load(Ordering::Relaxed));
        let is_own = matches!(end.outcome, Outcome::Exited { .. } | Outcome::Signalled { .. });
        if is_own && ends.len() < ENDS_MAX {
            ends.push(end);
        }
    }

    /// Of which nobody took notice.
    pub(crate) fn unnoticed(&self) -> Vec<End> {
        self.lock().iter().filter(|end| !end.noticed.load(Ordering::Relaxed)).cloned().collect()
    }

    /// What a wait that found nothing in `scope` says of them.
    pub(crate) fn seen(&self, scope: &Scope) -> Vec<String> {
        let ends = self.unnoticed();
        let ends = ends.iter().filter(|end| scope.covers(&end.process)).rev().take(SHOWN_MAX);
        ends.map(|end| format!("{} {} at {}", end.process, end.outcome, At(end.at))).collect()
    }
}

impl Core {
    /// Warns of processes that failed while nobody waited for them: a test may pass without what it is about.
    pub(crate) fn warn_of_failures(&self) {
        let ends = self.ends.unnoticed();
        let mut failed = ends.iter().filter(|end| !end.outcome.is_success()).collect::<Vec<_>>();
        while let Some(first) = failed.first().copied() {
            let is_alike =
                |end: &&End| (end.process.name(), &end.outcome) == (first.process.name(), &first.outcome);
            let (alike, others) = failed.into_iter().partition::<Vec<_>, _>(is_alike);
            let mut hosts: Vec<_> = alike.iter().map(|end| end.process.host().to_string()).collect();
            hosts.sort();
            hosts.dedup();
            let (name, on, outcome) = (first.process.name(), hosts.join(", "), &first.outcome);
            let text = format!("`{name}` on {on} {outcome} at {} and nobody waited for it", At(first.at));
            let warning = Trouble::new(Reason::ProcessEnded, text);
            self.warn(self.last_words(&first.process).into_iter().fold(warning, Trouble::saw));
            failed = others;
        }
    }

    fn last_words(&self, process: &ProcessName) -> Vec<String> {
        let lines = self.recorder.last_lines(&Scope::Process(process.clone()), LINES_MAX);
        let (stderr, stdout): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| line.stream == Stream::Stderr);
        let lines = stderr.into_iter().chain(stdout).take(LINES_MAX);
        lines.map(|line| format!("{:>9}  {}  {}", At(line.at), line.stream, line.text)).collect()
    }
}
