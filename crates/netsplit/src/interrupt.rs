//! ctrl-C while tests in Rust run: the kernel reaps their hosts, and here is said which tests that were. SIGTERM and SIGHUP
//! are ctrl-C. The command line has a way of its own, as it ends its runs itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, MutexGuard, Once, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use netsplit_report::{RunDir, screen};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::test::last_done;

/// A log that is longer is not looked at: whoever interrupts does not want to wait.
const LOG_MAX: u64 = 4 << 20;
/// How long it may take to say what was interrupted.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// The tests and seeds that run in this process.
static OPEN: Mutex<BTreeSet<Name>> = Mutex::new(BTreeSet::new());

/// What runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(Name);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    test: String,
    seed: Option<u64>,
    /// Its run's directory; a test of many seeds has none.
    dir: Option<PathBuf>,
}

impl Open {
    pub(crate) fn test(test: &str, dir: Option<&Path>) -> Self {
        Self::begin(Name { test: test.to_owned(), seed: None, dir: dir.map(Path::to_owned) })
    }

    pub(crate) fn seed(test: &str, seed: u64, dir: &Path) -> Self {
        Self::begin(Name { test: test.to_owned(), seed: Some(seed), dir: Some(dir.to_owned()) })
    }

    fn begin(name: Name) -> Self {
        static LISTENING: Once = Once::new();
        // Who cannot listen is interrupted as any other program.
        LISTENING.call_once(|| drop(listen()));
        lock().insert(name.clone());
        Self(name)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        lock().remove(&self.0);
    }
}

fn lock() -> MutexGuard<'static, BTreeSet<Name>> {
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
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let _nobody_listens = io::stderr().write_all(said().as_bytes());
            let _too_late = done.send(());
        });
        // A terminal or pipe that takes no more holds up nobody.
        let _told_or_not = is_done.recv_timeout(TOLD_WITHIN);
        process::exit(128 + number);
    })?;
    Ok(())
}

/// What is said of all that was interrupted.
fn said() -> String {
    let open = lock().clone();
    // Between two of its seeds a test has none.
    let has_seed = |name: &Name| open.iter().any(|other| other.test == name.test && other.seed.is_some());
    open.iter().filter(|name| name.dir.is_some() || !has_seed(name)).map(told).collect()
}

/// Whether whoever started this process does not want the signal of this number to end it, as `nohup` does not.
#[doc(hidden)]
pub fn is_ignored(number: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}

/// What is said of a test or a seed that was interrupted.
fn told(Name { test, seed, dir }: &Name) -> String {
    let seed = seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
    let head = format!("\ninterrupted: {test}{seed}\n");
    let Some(dir) = dir else { return head };
    let run = RunDir::new(dir);
    let is_short = fs::metadata(run.events()).is_ok_and(|log| log.len() <= LOG_MAX);
    let events = is_short.then(|| run.read_events().ok()).flatten().unwrap_or_default();
    let last = last_done(&events).map(|last| format!("{last}\n")).unwrap_or_default();
    format!("{head}{last}evidence {}\n", screen::shown_path(dir))
}
