//! The evidence as it is made: the event log and every stream's bytes, and whoever waits for a line in them.
//!
//! Everything that happens in a run passes through here, under one lock, and gets its number: this is what puts the
//! events of many hosts in one order. What is written is in the kernel before anybody is told of it, so that a runner
//! that is killed leaves all up to that moment.

mod lines;
mod seen;
mod streams;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netsplit_model::{Event, HostName, ProcessName, Reason, Record, Stream, Trouble};
use netsplit_report::RunDir;
use tokio::sync::Notify;

pub(crate) use seen::Seen;
use streams::StreamLog;
pub(crate) use watch::{Behind, Found, Scope, Since, WatchEnd, WatchSpec};

/// A line without its end is looked at once nothing has followed it for so long: it counts if it matches however it goes on,
/// or if its program writes to a terminal: a prompt waits for its answer.
pub(crate) const QUIET: Duration = Duration::from_millis(20);
/// It counts as it is once nothing has followed it for so long, unless it must not come.
pub(crate) const STILL: Duration = Duration::from_secs(1);

/// How many streams may be open files at a time. Of more, all are closed, and opened again as more comes: many systems give a
/// process 1,024 files.
const OPEN_MAX: usize = 256;

/// Told of each event right after it was written.
pub(crate) type Listener = Box<dyn FnMut(&Record) + Send>;

/// Clones are the same recorder.
#[derive(Clone)]
pub(crate) struct Recorder {
    inner: Arc<Mutex<Inner>>,
    /// A line without its end may have become one.
    pub(crate) unfinished: Arc<Notify>,
}

/// A place in the order of all that happens: of what happened at one time, numbers say what came first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    t: u64,
    /// The event's.
    n: u64,
}

impl Moment {
    /// How long the run had lasted.
    pub(crate) fn time(self) -> Duration {
        Duration::from_nanos(self.t)
    }

    /// The one behind it.
    pub(crate) fn next(self) -> Self {
        Self { n: self.n + 1, ..self }
    }
}

impl From<Duration> for Moment {
    /// Before all that happened at this time.
    fn from(time: Duration) -> Self {
        Self { t: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), n: 0 }
    }
}

pub(super) struct Inner {
    dir: RunDir,
    begun: Instant,
    log: File,
    next: u64,
    streams: BTreeMap<(ProcessName, Stream), StreamLog>,
    /// How many of them were opened since all were closed.
    opened: usize,
    /// Whoever waits for a line of one of these waits for nothing.
    ended: BTreeSet<ProcessName>,
    /// Processes that write to a terminal.
    terminals: BTreeSet<ProcessName>,
    watches: BTreeMap<u64, watch::Watch>,
    next_watch: u64,
    /// When hosts or network were last disturbed, and by what.
    disturbance: (Moment, String),
    /// The stream that was written to last.
    last_written: Option<(ProcessName, Stream)>,
    listeners: Vec<Listener>,
    /// Why evidence is no longer written.
    broken: Option<Trouble>,
}

impl Recorder {
    /// Begins the log in an existing directory.
    pub(crate) fn begin(dir: RunDir, first: Event) -> io::Result<Self> {
        let log = OpenOptions::new().create_new(true).append(true).open(dir.events())?;
        let inner = Inner {
            dir,
            begun: Instant::now(),
            log,
            next: 0,
            streams: BTreeMap::new(),
            opened: 0,
            ended: BTreeSet::new(),
            terminals: BTreeSet::new(),
            watches: BTreeMap::new(),
            next_watch: 1,
            disturbance: (Moment::default(), "the run began".to_owned()),
            last_written: None,
            listeners: Vec::new(),
            broken: None,
        };
        let recorder = Self { inner: Arc::new(Mutex::new(inner)), unfinished: Arc::default() };
        recorder.lock().write(first, 0);
        Ok(recorder)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the run has lasted.
    pub(crate) fn now(&self) -> Duration {
        self.lock().begun.elapsed()
    }

    /// Writes an event and returns when it happened.
    pub(crate) fn event(&self, event: Event) -> Duration {
        let mut inner = self.lock();
        let now = inner.now();
        inner.write(event, now);
        Duration::from_nanos(now)
    }

    /// Writes an event after which the world is another: waits on hosts look from here on. Gives when that was.
    pub(crate) fn disturbance(&self, event: Event, what: String) -> Duration {
        let mut inner = self.lock();
        let now = inner.now();
        inner.disturbance = (Moment { t: now, n: inner.next }, what);
        for stream in inner.streams.values_mut() {
            stream.mark_next();
        }
        inner.write(event, now);
        Duration::from_nanos(now)
    }

    /// When the world was last disturbed, and by what.
    pub(crate) fn last_disturbance(&self) -> (Moment, String) {
        self.lock().disturbance.clone()
    }

    /// A process wrote `bytes`.
    pub(crate) fn output(&self, process: &ProcessName, stream: Stream, bytes: &[u8]) {
        let unfinished = self.lock().output(process, stream, bytes);
        if unfinished {
            self.unfinished.notify_one();
        }
    }

    /// A process ended; its last line may have no end.
    pub(crate) fn process_ended(&self, process: &ProcessName, event: impl FnOnce(u64, u64) -> Event) {
        let mut inner = self.lock();
        for stream in Stream::ALL {
            inner.match_unfinished(process, stream, watch::Pause::End);
        }
        let [stdout, stderr] = Stream::ALL.map(|stream| inner.length(process, stream));
        let now = inner.now();
        inner.write(event(stdout, stderr), now);
        inner.ended.insert(process.clone());
        inner.end_watches_of(process);
    }

    /// Nothing more comes from a process, nor from what it left.
    pub(crate) fn close(&self, process: &ProcessName) {
        let mut inner = self.lock();
        for stream in Stream::ALL {
            if let Some(log) = inner.streams.get_mut(&(process.clone(), stream)) {
                log.close();
            }
        }
    }

    /// Looks at lines without an end that nothing has followed for a while. Returns whether some may still become so.
    pub(crate) fn match_quiet(&self) -> bool {
        self.lock().match_quiet()
    }

    /// Tells `listener` of every event from now on.
    pub(crate) fn listen(&self, listener: Listener) {
        self.lock().listeners.push(listener);
    }

    /// How many bytes a stream has.
    pub(crate) fn length(&self, process: &ProcessName, stream: Stream) -> u64 {
        self.lock().length(process, stream)
    }

    /// How many bytes the streams of `scope` have.
    pub(crate) fn written(&self, scope: &Scope) -> u64 {
        let inner = self.lock();
        let covered = inner.streams.iter().filter(|((process, _), _)| scope.covers(process));
        covered.map(|(_, log)| log.length()).sum()
    }

    /// The run's directory.
    pub(crate) fn dir(&self) -> RunDir {
        self.lock().dir.clone()
    }

    /// Why evidence could not be written, if it could not.
    pub(crate) fn broken(&self) -> Option<Trouble> {
        self.lock().broken.clone()
    }
}

impl Inner {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn write(&mut self, event: Event, t: u64) {
        if let Event::ProcessStarted { process, pty: true, .. } = &event {
            self.terminals.insert(process.clone());
        }
        let record = Record { n: self.next, t, event };
        self.next += 1;
        let line = serde_json::to_vec(&record).map(|mut line| {
            line.push(b'\n');
            line
        });
        let written = line.map_err(io::Error::from).and_then(|line| self.log.write_all(&line));
        if let Err(error) = written {
            self.broken.get_or_insert_with(|| not_kept("events.jsonl", &error));
        }
        for listener in &mut self.listeners {
            listener(&record);
        }
    }

    fn length(&self, process: &ProcessName, stream: Stream) -> u64 {
        self.streams.get(&(process.clone(), stream)).map_or(0, StreamLog::length)
    }

    /// For what is about to be opened.
    fn make_room(&mut self, key: &(ProcessName, Stream)) {
        if self.streams.get(key).is_some_and(StreamLog::is_open) {
            return;
        }
        self.opened += 1;
        if self.opened > OPEN_MAX {
            self.streams.values_mut().for_each(StreamLog::close);
            self.opened = 1;
        }
    }

    /// Returns whether a line is left without its end that somebody may wait for.
    fn output(&mut self, process: &ProcessName, stream: Stream, bytes: &[u8]) -> bool {
        let moment = Moment { t: self.now(), n: self.next };
        let key = (process.clone(), stream);
        self.make_room(&key);
        if !self.streams.contains_key(&key) {
            let path = self.dir.stream(process, stream);
            let shown = path.display().to_string();
            let made =
                fs::create_dir_all(self.dir.host(process.host())).and_then(|()| StreamLog::create(path));
            let log = made.unwrap_or_else(|error| {
                self.broken.get_or_insert_with(|| not_kept(&shown, &error));
                StreamLog::lost()
            });
            self.streams.insert(key.clone(), log);
        }
        let Some(log) = self.streams.get_mut(&key) else { return false };
        if self.last_written.as_ref() != Some(&key) {
            // What came in between on another stream lies between the marks of this one.
            log.mark_next();
            self.last_written = Some(key.clone());
        }
        let offset = log.length();
        if let Err(error) = log.append(moment, bytes) {
            self.broken.get_or_insert_with(|| not_kept(&format!("{process}.{stream}"), &error));
        }
        let event = Event::Output { process: process.clone(), stream, offset, bytes: bytes.len() as u64 };
        self.write(event, moment.t);
        self.match_output(&key, bytes, moment)
    }
}

/// Why `what` is not in the evidence.
fn not_kept(what: &str, error: &io::Error) -> Trouble {
    let trouble = |text: &str| Trouble::new(Reason::DiskFull, format!("{text}: {what}: {error}"));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            trouble("no space for evidence").fix("netsplit clean")
        }
        _ => trouble("evidence cannot be written").guess("NETSPLIT_DIR=/another/folder"),
    }
}

impl Scope {
    /// Whether what `process` writes is looked at.
    pub(crate) fn covers(&self, process: &ProcessName) -> bool {
        match self {
            Self::All => true,
            Self::Hosts(hosts) => hosts.contains(process.host()),
            Self::Process(own) => own == process,
        }
    }

    /// Hosts or processes by name, for messages and events.
    pub(crate) fn names(&self, all: &[HostName]) -> Vec<String> {
        match self {
            Self::All => all.iter().map(ToString::to_string).collect(),
            Self::Hosts(hosts) => hosts.iter().map(ToString::to_string).collect(),
            Self::Process(process) => vec![process.to_string()],
        }
    }
}
