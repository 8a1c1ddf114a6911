//! Processes on hosts: what starts them, what they are while they run, how they end.

mod driver;
mod start;
mod stdin;

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use netsplit_link::{LinkError, Sender};
use netsplit_model::{
    Event, HostName, NotStartedKind, Outcome, ProcessName, Reason, Stream, Trouble, signal, units::Wanted,
};
use netsplit_wire::message::{Command, ProcessCommand, Pty};
use tokio::sync::watch;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::place;
use crate::recorder::{Scope, Seen};
use crate::wait::{Never, Wait};
use stdin::Stdin;

pub use start::{Exit, Output, Run, Start};

/// How many lines of each stream messages show, counted from its end.
const LAST_SHOWN: usize = 5;
/// How many lines of stderr, counted from its begin.
const FIRST_SHOWN: usize = 2;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What an agent may take, beside the grace, to end what a process left behind. Who escaped and holds the streams keeps the
/// channel open for ever.
const LEFT_MAX: Duration = Duration::from_secs(3);

/// How far a process has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Starting,
    Running,
    Ended(Outcome),
}

/// A process on a host. Clones are the same process; dropping them leaves it running until its host or the test ends.
#[derive(Clone)]
pub struct Process {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) core: Arc<Core>,
    pub(crate) name: ProcessName,
    /// The command as the user wrote it.
    pub(crate) shown: String,
    pub(crate) progress: watch::Receiver<Progress>,
    sender: Sender,
    stdin: Stdin,
    /// Whether its standard input was left open for the test.
    is_open: bool,
    has_pty: bool,
    /// Where the next wait begins, for each stream.
    cursor: Mutex<BTreeMap<Stream, u64>>,
    /// Whether its end was ordered because nobody waits for it any more.
    cancelled: Arc<AtomicBool>,
    /// Whether the test knows of its end, or brought it about.
    noticed: Arc<AtomicBool>,
}

impl Process {
    /// The host it runs on.
    pub fn host(&self) -> &HostName {
        self.shared.name.host()
    }

    /// Its name: `a/etcd`.
    pub fn name(&self) -> &ProcessName {
        &self.shared.name
    }

    /// How it ended; `None` while it runs.
    pub fn outcome(&self) -> Option<Outcome> {
        let outcome = self.how();
        if outcome.is_some() {
            self.shared.notice();
        }
        outcome
    }

    /// How it ended, for us and not for the test.
    pub(crate) fn how(&self) -> Option<Outcome> {
        match &*self.shared.progress.borrow() {
            Progress::Ended(outcome) => Some(outcome.clone()),
            _ => None,
        }
    }

    /// Waits until it has ended, by default as long as a command may take (`deadlines.run`), and gives how it ended,
    /// whatever that is: a failure is an error only when [`WaitForEnd::exits`] says so. On a host that was killed or lost
    /// it is [`Outcome::AgentLost`].
    #[track_caller]
    pub fn wait(&self) -> WaitForEnd {
        WaitForEnd { process: self.clone(), within: None, exit: None, at: Location::caller() }
    }

    /// Waits for a line that matches a regular expression: from the first byte, or behind the last match.
    #[track_caller]
    pub fn wait_for(&self, pattern: impl Into<String>) -> Wait {
        Wait::on_process(self, pattern.into(), Location::caller())
    }

    /// Expects that no line matches: from the first byte, or behind the last match, and for as long as is said.
    #[track_caller]
    pub fn never(&self, pattern: impl Into<String>) -> Never {
        Never::from(Wait::on_process(self, pattern.into(), Location::caller()))
    }

    /// Ends it with all its children: TERM, grace, KILL. Returns how it ended.
    ///
    /// # Errors
    /// When its host was lost.
    #[track_caller]
    pub fn stop(&self) -> impl Future<Output = Result<Outcome>> + use<> {
        self.end(false, Location::caller())
    }

    /// Ends it with all its children at once.
    ///
    /// # Errors
    /// When its host was lost.
    #[track_caller]
    pub fn kill(&self) -> impl Future<Output = Result<Outcome>> + use<> {
        self.end(true, Location::caller())
    }

    fn end(
        &self,
        at_once: bool,
        at: &'static Location<'static>,
    ) -> impl Future<Output = Result<Outcome>> + use<> {
        let process = self.clone();
        async move {
            let core = Arc::clone(&process.shared.core);
            let is_over = process.how().is_some();
            if !is_over {
                let number = if at_once { signal::KILL } else { signal::TERM };
                process.shared.signalled(number);
            }
            // A host that went meanwhile ends the process as well.
            let _gone = process.command(Command::End(at_once)).await;
            if is_over {
                process.left_ended(core.settings.deadlines.grace + LEFT_MAX).await;
            }
            let limit = core.settings.deadlines.grace + core.settings.deadlines.wait;
            let ended = process.until_ended(limit).await.ok_or_else(|| process.still_running(limit));
            core.noted(ended, place::of(at))
        }
    }

    /// Waits until the agent has ended what the process left behind: it gives the channel up then.
    async fn left_ended(&self, limit: Duration) {
        let _still_open = tokio::time::timeout(limit, self.shared.sender.given_up()).await;
    }

    /// Sends a signal to its process group: a number, `"USR1"` or `"SIGUSR1"`.
    ///
    /// # Errors
    /// When there is no such signal, the process has ended, or the host was lost.
    #[track_caller]
    pub fn signal<S: IntoSignal>(&self, signal: S) -> impl Future<Output = Result> + use<S> {
        let (process, number, at) = (self.clone(), signal.into_signal(), Location::caller());
        async move {
            let core = Arc::clone(&process.shared.core);
            let sent = match number {
                Some(_) if process.how().is_some() => Err(process.gone()),
                Some(number) => {
                    process.shared.signalled(number);
                    process.command(Command::Signal(number)).await
                }
                None => Err(Error::new(Reason::BadValue, "there is no such signal")),
            };
            core.noted(sent, place::of(at))
        }
    }

    /// Writes to its standard input, which [`Start::stdin_open`] left open.
    ///
    /// # Errors
    /// When its input was not left open, it has ended, its host was lost, or nothing was taken for `deadlines.wait`.
    #[track_caller]
    pub fn write<B: Into<Bytes>>(&self, bytes: B) -> impl Future<Output = Result> + use<B> {
        let (process, bytes, at) = (self.clone(), bytes.into(), Location::caller());
        async move {
            let core = &process.shared.core;
            let limit = core.settings.deadlines.wait;
            core.noted(process.check_open(), place::of(at))?;
            let sent = match process.outcome() {
                Some(_) => Some(Err(LinkError::Closed)),
                None => process.shared.stdin.write_in_time(bytes, limit).await,
            };
            let sent = match sent {
                Some(sent) => sent.map_err(|_| process.gone()),
                None => {
                    let (name, limit) = (process.name(), Wanted(limit));
                    let text = format!("write to {name}: nothing was taken for {limit}");
                    Err(core.stalled(process.host(), text))
                }
            };
            core.noted(sent, place::of(at))
        }
    }

    /// Ends its standard input, which [`Start::stdin_open`] left open.
    ///
    /// # Errors
    /// When its input was not left open, or its host was lost.
    #[track_caller]
    pub fn close_stdin(&self) -> impl Future<Output = Result> + use<> {
        let (process, at) = (self.clone(), Location::caller());
        async move {
            let sent = match process.check_open() {
                Ok(()) => process.command(Command::StdinEnd(true)).await,
                not_open => not_open,
            };
            process.shared.core.noted(sent, place::of(at))
        }
    }

    /// Tells its terminal another size.
    ///
    /// # Errors
    /// When it has no terminal, or its host was lost.
    #[track_caller]
    pub fn resize(&self, rows: u32, columns: u32) -> impl Future<Output = Result> + use<> {
        let (process, at) = (self.clone(), Location::caller());
        async move {
            let sent = match process.check_pty() {
                Ok(()) => process.command(Command::Resize(Pty { rows, columns })).await,
                no_pty => no_pty,
            };
            process.shared.core.noted(sent, place::of(at))
        }
    }

    fn check_open(&self) -> Result {
        if self.shared.is_open {
            return Ok(());
        }
        let text = format!("standard input of {} was not left open", self.name());
        Err(Trouble::new(Reason::BadValue, text).fix("start it with `.stdin_open()`").into())
    }

    fn check_pty(&self) -> Result {
        if self.shared.has_pty {
            return Ok(());
        }
        let text = format!("{} has no terminal to resize", self.name());
        Err(Trouble::new(Reason::BadValue, text).fix("start it with `.pty()`").into())
    }

    /// What it has written to standard output so far, byte for byte.
    ///
    /// # Errors
    /// When the evidence cannot be read.
    pub fn stdout(&self) -> Result<Vec<u8>> {
        self.shared.read(Stream::Stdout)
    }

    /// What it has written to standard error so far, byte for byte.
    ///
    /// # Errors
    /// When the evidence cannot be read.
    pub fn stderr(&self) -> Result<Vec<u8>> {
        self.shared.read(Stream::Stderr)
    }

    async fn command(&self, command: Command) -> Result {
        let sent = self.shared.sender.send_message(&ProcessCommand::from(command)).await;
        sent.map_err(|_| self.gone())
    }

    /// The error for a process that can no longer be spoken to.
    fn gone(&self) -> Error {
        let core = &self.shared.core;
        match self.outcome() {
            Some(outcome) => Error::new(Reason::ProcessEnded, format!("{} {outcome} already", self.name()))
                .with_outcome(outcome),
            None => crate::core::lost(self.host(), &core.why_lost(self.host(), "its agent went away")),
        }
    }

    /// How it ended, unless it runs for longer than `limit`. The test is told.
    pub(crate) async fn ended(&self, limit: Duration) -> Option<Outcome> {
        let outcome = self.until_ended(limit).await;
        if outcome.is_some() {
            self.shared.notice();
        }
        outcome
    }

    async fn until_ended(&self, limit: Duration) -> Option<Outcome> {
        let mut progress = self.shared.progress.clone();
        let ended = progress.wait_for(|progress| matches!(progress, Progress::Ended(_)));
        match tokio::time::timeout(limit, ended).await {
            Ok(Ok(progress)) => match &*progress {
                Progress::Ended(outcome) => Some(outcome.clone()),
                _ => None,
            },
            // The driver ended without a word: only when the run is over.
            Ok(Err(_)) => Some(Outcome::AgentLost { reason: "the run is over".into() }),
            Err(_) => None,
        }
    }

    fn still_running(&self, limit: Duration) -> Error {
        let how = match *self.shared.progress.borrow() {
            Progress::Starting => "had not started within",
            _ => "was still running after",
        };
        let text = format!("`{}` on {} {how} {}", self.shared.shown, self.host(), Wanted(limit));
        let trouble = self.with_tails(Trouble::new(Reason::CommandTimedOut, text));
        self.shared.core.unless_paused(std::slice::from_ref(self.host()), trouble).into()
    }

    /// Ends it as soon as its host can, for nobody waits for it any more.
    async fn give_up(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
        let _gone = self.command(Command::End(true)).await;
    }

    /// Adds the last lines of both streams, and the first ones of a long stderr: there the cause often stands.
    pub(crate) fn with_tails(&self, trouble: Trouble) -> Trouble {
        let recorder = &self.shared.core.recorder;
        let lines = recorder.last_lines(&Scope::Process(self.name().clone()), LAST_SHOWN);
        let (stderr, stdout): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|line| line.stream == Stream::Stderr);
        let mut shown = match stderr.first() {
            Some(last) => self.first_before(last.start),
            None => Vec::new(),
        };
        shown.extend(stderr.iter().chain(&stdout).map(Seen::shown));
        if shown.is_empty() {
            return trouble.saw("it wrote nothing");
        }
        shown.into_iter().fold(trouble, Trouble::saw)
    }

    /// The first lines of stderr, of those that begin before `end`, and the way to all.
    fn first_before(&self, end: u64) -> Vec<String> {
        let recorder = &self.shared.core.recorder;
        let first = recorder.first_lines(self.name(), Stream::Stderr, FIRST_SHOWN + 1);
        let before: Vec<_> = first.iter().filter(|line| line.start < end).collect();
        let mut shown: Vec<_> = before.iter().take(FIRST_SHOWN).map(|line| line.shown()).collect();
        if before.len() > FIRST_SHOWN {
            let (run, host, name) = (&self.shared.core.run, self.host(), self.name().name());
            shown.push(format!("{:>9}  all of it: netsplit logs {run} {host}/{name}", "…"));
        }
        shown
    }

    /// How it ended, unless what fed its standard input broke off, which ended it.
    pub(crate) fn fed(&self, outcome: Outcome) -> Result<Outcome> {
        let Some(broken) = self.shared.stdin.broken() else { return Ok(outcome) };
        let text = format!("standard input of `{}` on {}: {broken}", self.shared.shown, self.host());
        let trouble = self.with_tails(Trouble::new(Reason::FileRefused, text));
        Err(Error::from(trouble).with_outcome(outcome))
    }

    /// The error for a process that ended as `outcome`, which `exit` does not allow.
    fn unexpected(&self, outcome: &Outcome, exit: &Exit) -> Error {
        let error = self.unwanted(outcome);
        if error.name() != Reason::UnexpectedExit || *exit == Exit::Codes(vec![0]) {
            return error;
        }
        let mut trouble = error.trouble().clone();
        trouble.text = format!("{}; expected was {exit}", trouble.text);
        Error::from(trouble).with_outcome(outcome.clone())
    }

    /// The error for a process that ended as `outcome`, which was not wanted.
    pub(crate) fn unwanted(&self, outcome: &Outcome) -> Error {
        let (shown, host) = (&self.shared.shown, self.host());
        let trouble = match outcome {
            Outcome::Exited { .. } | Outcome::Signalled { .. } => {
                let trouble = Trouble::new(Reason::UnexpectedExit, format!("`{shown}` on {host} {outcome}"));
                self.with_tails(trouble)
            }
            Outcome::CouldNotStart(reason) => start::could_not_start(reason, shown, host),
            Outcome::TimedOut { .. } => {
                let trouble = Trouble::new(
                    Reason::CommandTimedOut,
                    format!("`{shown}` on {host} {outcome} and was ended"),
                );
                self.with_tails(trouble).guess("a longer `within`")
            }
            Outcome::AgentLost { reason } if reason.contains("killed by the test") => {
                Trouble::new(Reason::HostDown, format!("`{shown}` on {host} was lost: {reason}"))
            }
            Outcome::AgentLost { reason } => {
                Trouble::new(Reason::HostLost, format!("`{shown}` on {host} was lost: {reason}"))
            }
            Outcome::Cancelled => {
                Trouble::new(Reason::Cancelled, format!("`{shown}` on {host} was cancelled"))
            }
        };
        Error::from(trouble).with_outcome(outcome.clone())
    }
}

impl Shared {
    fn notice(&self) {
        self.noticed.store(true, Ordering::Relaxed);
    }

    fn signalled(&self, signal: i32) {
        self.notice();
        let event = Event::ProcessSignalled { process: self.name.clone(), signal };
        self.core.recorder.disturbance(event, format!("{} was sent {}", self.name, signal::name(signal)));
    }

    fn read(&self, stream: Stream) -> Result<Vec<u8>> {
        read_stream(&self.core, &self.name, stream)
    }

    pub(crate) fn cursor(&self) -> BTreeMap<Stream, u64> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn advance(&self, stream: Stream, to: u64) {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).insert(stream, to);
    }
}

pub(crate) fn read_stream(core: &Core, process: &ProcessName, stream: Stream) -> Result<Vec<u8>> {
    if core.recorder.length(process, stream) == 0 {
        return Ok(Vec::new());
    }
    let path = core.recorder.dir().stream(process, stream);
    std::fs::read(&path).map_err(|error| {
        Error::new(Reason::DiskFull, format!("the evidence `{}` cannot be read: {error}", path.display()))
    })
}

/// A signal by number or name.
pub trait IntoSignal {
    /// Its number, if there is one.
    fn into_signal(self) -> Option<i32>;
}

impl IntoSignal for i32 {
    fn into_signal(self) -> Option<i32> {
        (1..=64).contains(&self).then_some(self)
    }
}

impl IntoSignal for &str {
    fn into_signal(self) -> Option<i32> {
        signal::parse(self)
    }
}

/// Waits for a process to end.
#[must_use = "a wait does nothing until it is awaited"]
#[derive(Debug)]
pub struct WaitForEnd {
    process: Process,
    within: Option<Duration>,
    exit: Option<Exit>,
    at: &'static Location<'static>,
}

impl WaitForEnd {
    /// Fails unless it ends so: `0`, `[0, 1]`, [`Exit::Any`].
    pub fn exits(mut self, exit: impl Into<Exit>) -> Self {
        self.exit = Some(exit.into());
        self
    }

    /// How long to wait.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }
}

impl IntoFuture for WaitForEnd {
    type Output = Result<Outcome>;
    type IntoFuture = BoxFuture<Result<Outcome>>;

    fn into_future(self) -> BoxFuture<Result<Outcome>> {
        Box::pin(async move {
            let core = &self.process.shared.core;
            let limit = self.within.map_or(core.settings.deadlines.run, |time| core.scaled(time));
            let ended = self.process.ended(limit).await.ok_or_else(|| self.process.still_running(limit));
            let ended = ended.and_then(|outcome| self.process.fed(outcome));
            let ended = ended.and_then(|outcome| match &self.exit {
                Some(exit) if !exit.allows(&outcome) => Err(self.process.unexpected(&outcome, exit)),
                _ => Ok(outcome),
            });
            core.noted(ended, place::of(self.at))
        })
    }
}

/// Waits until the first of several processes has ended: which, and how.
///
/// # Errors
/// When none has within `deadlines.run`, or there are none.
#[track_caller]
pub fn wait_any(processes: &[Process]) -> impl Future<Output = Result<(usize, Outcome)>> + use<> {
    let (processes, at) = (processes.to_vec(), Location::caller());
    async move {
        let Some(first) = processes.first() else {
            let text = "there is no process to wait for";
            return Err(Error::new(Reason::BadValue, text).at(place::of(at)));
        };
        let core = Arc::clone(&first.shared.core);
        let limit = core.settings.deadlines.run;
        let mut waits: Vec<_> = processes.iter().map(|process| Box::pin(process.ended(limit))).collect();
        let first_ended = std::future::poll_fn(|context| {
            let ready =
                waits.iter_mut().enumerate().find_map(|(index, wait)| match wait.as_mut().poll(context) {
                    std::task::Poll::Ready(ended) => Some((index, ended)),
                    std::task::Poll::Pending => None,
                });
            ready.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await;
        let ended = match first_ended {
            (index, Some(outcome)) => processes[index].fed(outcome).map(|outcome| (index, outcome)),
            (index, None) => Err(processes[index].still_running(limit)),
        };
        core.noted(ended, place::of(at))
    }
}

/// Waits until all of several processes have ended: how each did, in order.
///
/// # Errors
/// When one has not within `deadlines.run`.
#[track_caller]
pub fn wait_all(processes: &[Process]) -> impl Future<Output = Result<Vec<Outcome>>> + use<> {
    let (processes, at) = (processes.to_vec(), Location::caller());
    async move {
        let mut outcomes = Vec::new();
        let begun = tokio::time::Instant::now();
        for process in &processes {
            let limit = process.shared.core.settings.deadlines.run;
            let ended = process.ended(limit.saturating_sub(begun.elapsed())).await;
            let ended = ended.ok_or_else(|| process.still_running(limit));
            let ended = ended.and_then(|outcome| process.fed(outcome));
            outcomes.push(process.shared.core.noted(ended, place::of(at))?);
        }
        Ok(outcomes)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({})", self.name())
    }
}

/// Whether a bare name was not found, which is the testbed's fault and not the system's.
pub(crate) fn is_missing_program(kind: NotStartedKind) -> bool {
    kind == NotStartedKind::NoSuchProgram
}
