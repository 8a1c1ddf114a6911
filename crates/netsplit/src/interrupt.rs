//! ctrl-C while tests in Rust run: the kernel reaps their hosts, and here is said which tests that were. SIGTERM and SIGHUP
//! are ctrl-C. The command line has a way of its own, as it ends its runs itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use netsplit_report::{RunDir, screen};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::test::last_done;

/// A log that is longer is not looked at: whoever interrupts does not want to wait.
const LOG_MAX: u64 = 4 << 20;

/// The tests that run in this process, each with its run's directory.
static OPEN: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());

/// A test that runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(PathBuf);

impl Open {
    pub(crate) fn begin(test: String, dir: &Path) -> Self {
        static LISTENING: Once = Once::new();
        // Who cannot listen is interrupted as any other program.
        LISTENING.call_once(|| drop(listen()));
        lock().insert(dir.to_owned(), test);
        Self(dir.to_owned())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock().remove(&self.0);
    }
}

fn lock() -> MutexGuard<'static, BTreeMap<PathBuf, String>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends this process at the first signal, as it would end without us.
#[expect(clippy::exit, reason = "what a signal does; the kernel reaps what is left")]
fn listen() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut signals = JoinSet::new();
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    for kind in kinds.into_iter().filter(|kind| !is_ignored(kind.as_raw_value())) {
        let mut signal = signal(kind)?;
        signals.spawn(async move { signal.recv().await.map(|()| kind.as_raw_value()) });
    }
    drop(entered);
    thread::Builder::new().name("signals".into()).spawn(move || {
        let Some(Ok(Some(number))) = runtime.block_on(signals.join_next()) else { return };
        let said: String = lock().iter().map(|(dir, test)| told(test, dir)).collect();
        let _nobody_listens = io::stderr().write_all(said.as_bytes());
        process::exit(128 + number);
    })?;
    Ok(())
}

/// Whether whoever started this process does not want a signal to end it, as `nohup` does not.
fn is_ignored(number: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}

/// What is said of a test that was interrupted.
fn told(test: &str, dir: &Path) -> String {
    let run = RunDir::new(dir);
    let is_short = fs::metadata(run.events()).is_ok_and(|log| log.len() <= LOG_MAX);
    let events = is_short.then(|| run.read_events().ok()).flatten().unwrap_or_default();
    let last = last_done(&events).map(|last| format!("{last}\n")).unwrap_or_default();
    format!("\ninterrupted: {test}\n{last}evidence {}\n", screen::shown_path(dir))
}
