//! Waits: for a line, for its absence, for something to become so.

mod several;

use std::fmt::Debug;
use std::future::IntoFuture;
use std::ops::Index;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use netsplit_model::{
    Event, HostName, Outcome, Place, ProcessName, Reason, Stream, Trouble, excerpt,
    units::{At, Wanted},
};
use regex::bytes::{Captures, Regex, RegexBuilder};

pub use several::AtLeast;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::host::{Host, Hosts};
use crate::place;
use crate::process::{BoxFuture, Process};
use crate::recorder::{Behind, Found, Moment, Scope, Since, WatchEnd, WatchSpec};

/// How long the outcome of a process may take after its last line.
const OUTCOME_MAX: Duration = Duration::from_secs(5);
/// Bytes of old output that are looked through for a line that was just missed.
const MISSED_MAX: u64 = 8 << 20;

/// Lines shown of what was seen instead.
const SAW_MAX: usize = 6;

/// A line that a process wrote.
#[derive(Clone)]
pub struct Line {
    host: Host,
    process: ProcessName,
    stream: Stream,
    at: Moment,
    /// Where the next line begins in its stream.
    end: u64,
    text: String,
    groups: Vec<(Option<String>, Option<String>)>,
}

impl Line {
    fn new(core: &Arc<Core>, found: &Found, pattern: &Regex) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let captures = pattern.captures(&found.line);
        let group = |(index, name): (usize, Option<&str>)| {
            let value = captures.as_ref().and_then(|captures: &Captures<'_>| captures.get(index));
            (name.map(str::to_owned), value.map(|value| text(value.as_bytes())))
        };
        Self {
            host: Host::new(core, found.process.host()),
            process: found.process.clone(),
            stream: found.stream,
            at: found.at,
            end: found.end,
            text: text(&found.line),
            groups: pattern.capture_names().enumerate().map(group).collect(),
        }
    }

    /// The host of the process that wrote it.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The process that wrote it.
    pub fn process(&self) -> &ProcessName {
        &self.process
    }

    /// The stream it was written to.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// When it came, since the run began. Of lines that came within a millisecond it may be the time of the first.
    pub fn at(&self) -> Duration {
        self.at.time()
    }

    /// The whole line without its end; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn behind(&self) -> Behind {
        Behind { process: self.process.clone(), stream: self.stream, end: self.end, at: self.at }
    }

    /// What a group of the regular expression matched: 0 is the whole match.
    pub fn get(&self, group: usize) -> Option<&str> {
        self.groups.get(group)?.1.as_deref()
    }

    /// What a named group of the regular expression matched.
    pub fn name(&self, group: &str) -> Option<&str> {
        self.groups.iter().find(|(name, _)| name.as_deref() == Some(group))?.1.as_deref()
    }
}

impl Index<&str> for Line {
    type Output = str;

    /// What a named group matched.
    ///
    /// # Panics
    /// When there is no such group, or it took no part in the match.
    fn index(&self, group: &str) -> &str {
        match self.name(group) {
            Some(value) => value,
            None => panic!("the line `{}` was matched without a group `{group}`", self.text),
        }
    }
}

impl Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {} {:?}", At(self.at()), self.process, self.stream, self.text)
    }
}

/// A wait for a line. Awaited, it is the line.
#[must_use = "a wait does nothing until it is awaited"]
#[derive(Clone, Debug)]
pub struct Wait {
    core: Arc<Core>,
    pattern: String,
    scope: Scope,
    process: Option<Process>,
    within: Option<Duration>,
    since: Option<Since>,
    newest: bool,
    never: bool,
    at: Option<Place>,
}

impl Wait {
    fn new(core: &Arc<Core>, pattern: String, scope: Scope, at: &'static Location<'static>) -> Self {
        Self {
            core: Arc::clone(core),
            pattern,
            scope,
            process: None,
            within: None,
            since: None,
            newest: false,
            never: false,
            at: place::of(at),
        }
    }

    pub(crate) fn on_process(process: &Process, pattern: String, at: &'static Location<'static>) -> Self {
        let scope = Scope::Process(process.name().clone());
        Self { process: Some(process.clone()), ..Self::new(&process.shared.core, pattern, scope, at) }
    }

    pub(crate) fn on_hosts(
        core: &Arc<Core>,
        hosts: Option<&[HostName]>,
        pattern: String,
        at: &'static Location<'static>,
    ) -> Self {
        let scope = hosts.map_or(Scope::All, |hosts| Scope::Hosts(hosts.iter().cloned().collect()));
        Self::new(core, pattern, scope, at)
    }

    /// Waits until a process that was just started is ready. `within` is scaled already.
    pub(crate) async fn ready(
        process: &Process,
        pattern: String,
        within: Duration,
        at: Option<Place>,
    ) -> Result<Line> {
        let scope = Scope::Process(process.name().clone());
        let core = &process.shared.core;
        let wait = Self {
            process: Some(process.clone()),
            within: Some(within.div_f64(core.settings.patience)),
            at,
            ..Self::new(core, pattern, scope, Location::caller())
        };
        wait.line().await
    }

    /// How long to wait; `deadlines.wait` unless said.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// Looks at these hosts only: a host, several, or what a role gives.
    pub fn on(mut self, hosts: impl Hosts) -> Self {
        self.scope = Scope::Hosts(hosts.hosts().into_iter().collect());
        self
    }

    /// Looks at all hosts but these.
    pub fn on_others(mut self, hosts: impl Hosts) -> Self {
        let not = hosts.hosts();
        self.scope = Scope::Hosts(self.core.names().into_iter().filter(|host| !not.contains(host)).collect());
        self
    }

    /// Looks at everything since the run began, rather than since the last disturbance.
    pub fn since_begin(self) -> Self {
        self.since(Duration::ZERO)
    }

    /// Looks at everything since this instant of the run, what came at the instant itself included.
    pub fn since(mut self, instant: Duration) -> Self {
        self.since = Some(Since::Moment(instant.into()));
        self
    }

    /// Looks at everything that came behind this line, on its own stream and on every other; not at the line itself.
    pub fn after(mut self, line: &Line) -> Self {
        self.since = Some(Since::Line(line.behind()));
        self
    }

    /// Of several lines that are there already, takes the newest rather than the oldest.
    pub fn newest(mut self) -> Self {
        self.newest = true;
        self
    }

    /// Waits until so many of its hosts said such a line; awaited, it is the first line of each, as they came.
    ///
    /// ```no_run
    /// # use netsplit::prelude::*;
    /// # async fn settled(bed: Testbed) -> netsplit::Result {
    /// let lines = bed.wait_for("follows [a-z]+").at_least(2).within(secs(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn at_least(self, hosts: usize) -> AtLeast {
        AtLeast { wait: self, hosts }
    }

    pub(crate) async fn line(self) -> Result<Line> {
        let (core, at) = (Arc::clone(&self.core), self.at.clone());
        let line = self.look().await;
        core.noted(line, at)
    }

    /// Waits; a negative wait returns the line that must not have come.
    async fn look(self) -> Result<Line> {
        let pattern = compile(&self.pattern)?;
        let core = &self.core;
        let begun = core.recorder.now();
        let (since, because) = match (&self.process, &self.since) {
            (_, Some(since)) => (since.clone(), None),
            (Some(process), None) => (Since::Cursor(process.shared.cursor()), None),
            (None, None) => {
                let (moment, what) = core.recorder.last_disturbance();
                (Since::Moment(moment), Some((moment, what)))
            }
        };
        let from = match &since {
            Since::Moment(moment) => moment.time(),
            Since::Line(line) => line.at.time(),
            Since::Cursor(_) => Duration::ZERO,
        };
        let within = self.within.map_or(core.settings.deadlines.wait, |time| core.scaled(time));
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let number = next_wait();
        core.recorder.event(Event::WaitBegan {
            wait: number,
            pattern: self.pattern.clone(),
            on: self.scope.names(&core.names()),
            since: nanos(from),
            within: nanos(within),
            never: self.never,
        });
        let spec = WatchSpec {
            pattern: pattern.clone(),
            scope: self.scope.clone(),
            since,
            newest: self.newest,
            never: self.never,
        };
        let mut watch = core.recorder.watch(spec);
        let result = tokio::time::timeout(within, &mut watch.end).await;
        let searched = watch.searched();
        drop(watch);
        let result = match result {
            Ok(Ok(WatchEnd::Found(found))) => {
                // What must not come was not waited for: the next wait still sees it.
                if let Some(process) = self.process.as_ref().filter(|_| !self.never) {
                    process.shared.advance(found.stream, found.end);
                }
                Ok(found)
            }
            Ok(Ok(WatchEnd::ProcessEnded)) => Err(self.process_ended(searched).await),
            Ok(Err(_)) => Err(Error::new(Reason::Interrupted, "the run is over")),
            Err(_) => Err(self.timed_out(within, begun, because, searched, &pattern)),
        };
        let (found, reason) = (result.as_ref().ok(), result.as_ref().err().map(Error::name));
        core.recorder.event(Event::WaitEnded {
            wait: number,
            matched: found.is_some(),
            process: found.map(|found| found.process.clone()),
            offset: found.map(|found| found.offset),
            reason,
        });
        result.map(|found| Line::new(core, &found, &pattern))
    }

    async fn process_ended(&self, searched: u64) -> Error {
        let Some(process) = &self.process else {
            return Error::new(Reason::Bug, "a host's wait ended with a process");
        };
        // The evidence is told first, and waits with it; the outcome is on its way.
        let outcome = process.ended(OUTCOME_MAX).await.unwrap_or(Outcome::Cancelled);
        let outcome = match process.fed(outcome) {
            Ok(outcome) => outcome,
            Err(error) => return error,
        };
        if let Outcome::AgentLost { .. } | Outcome::CouldNotStart(_) = outcome {
            return process.unwanted(&outcome);
        }
        let text = format!(
            "`{}` on {} {outcome} before a line like `{}`",
            process.shared.shown,
            process.host(),
            self.pattern
        );
        let trouble = process.with_tails(Trouble::new(Reason::EndedBeforeLine, text));
        let trouble = if searched == 0 { trouble.saw("it wrote nothing") } else { trouble };
        Error::from(trouble).with_outcome(outcome)
    }

    fn timed_out(
        &self,
        within: Duration,
        begun: Duration,
        because: Option<(Moment, String)>,
        searched: u64,
        pattern: &Regex,
    ) -> Error {
        let missed = because.as_ref().and_then(|(moment, _)| self.last_before(*moment, pattern));
        let names = self.scope.names(&self.core.names());
        let on = if names.is_empty() { "no host".to_owned() } else { excerpt::names(&names) };
        let from = match because {
            Some((moment, _)) if moment == Moment::default() => "looked from the begin of the run".to_owned(),
            Some((moment, what)) => format!("looked from {}, when {what}", At(moment.time())),
            None => match &self.since {
                Some(Since::Moment(moment)) => format!("looked from {}", At(moment.time())),
                Some(Since::Line(line)) => {
                    format!("looked behind a line of {} at {}", line.process, At(line.at.time()))
                }
                Some(Since::Cursor(_)) | None => format!("waited since {}", At(begun)),
            },
        };
        let text = format!("no line like `{}` on {on} within {} ({from})", self.pattern, Wanted(within));
        let trouble = Trouble::new(Reason::WaitTimedOut, text);
        let trouble = match missed {
            Some(found) => trouble
                .because(format!(
                    "such a line came at {} on {}, before that",
                    At(found.at.time()),
                    found.process
                ))
                .guess("since = \"begin\", in Rust .since_begin(), if it counts"),
            None => trouble,
        };
        let mut trouble = self.core.ends.seen(&self.scope).into_iter().fold(trouble, Trouble::saw);
        let lines = self.core.recorder.last_lines(&self.scope, 2);
        for line in lines.iter().take(SAW_MAX) {
            trouble =
                trouble.saw(format!("{:>9}  {}  {}  {}", At(line.at), line.process, line.stream, line.text));
        }
        if lines.is_empty() {
            trouble = trouble.saw(if searched == 0 {
                "nothing was written there"
            } else {
                "no line was left open"
            });
        }
        if lines.is_empty() && self.core.is_any_piped(&self.scope) {
            trouble = trouble.guess("a `pty`: programs often hold back output that is not for a terminal");
        }
        self.core.unless_paused(&self.hosts(), trouble).into()
    }

    /// The last line that matches and came before `moment`; of much output nothing.
    fn last_before(&self, moment: Moment, pattern: &Regex) -> Option<Found> {
        if self.core.recorder.written(&self.scope) > MISSED_MAX {
            return None;
        }
        let spec = WatchSpec {
            pattern: pattern.clone(),
            scope: self.scope.clone(),
            since: Since::Moment(Moment::default()),
            newest: true,
            never: true,
        };
        let mut watch = self.core.recorder.watch(spec);
        match watch.end.try_recv() {
            Ok(WatchEnd::Found(found)) if found.at < moment => Some(*found),
            _ => None,
        }
    }

    /// The hosts that it looks at.
    fn hosts(&self) -> Vec<HostName> {
        match &self.scope {
            Scope::All => self.core.names(),
            Scope::Hosts(hosts) => hosts.iter().cloned().collect(),
            Scope::Process(process) => vec![process.host().clone()],
        }
    }
}

impl IntoFuture for Wait {
    type Output = Result<Line>;
    type IntoFuture = BoxFuture<Result<Line>>;

    fn into_future(self) -> BoxFuture<Result<Line>> {
        Box::pin(self.line())
    }
}

/// A wait whose answer is the host that said it. Awaited, it is the host of the newest match.
#[must_use = "a wait does nothing until it is awaited"]
#[derive(Clone, Debug)]
pub struct Find(Wait);

impl Find {
    pub(crate) fn new(wait: Wait) -> Self {
        Self(wait.newest())
    }

    /// How long to wait; `deadlines.wait` unless said.
    pub fn within(self, time: Duration) -> Self {
        Self(self.0.within(time))
    }

    /// Looks at these hosts only.
    pub fn on(self, hosts: impl Hosts) -> Self {
        Self(self.0.on(hosts))
    }

    /// Looks at all hosts but these.
    pub fn on_others(self, hosts: impl Hosts) -> Self {
        Self(self.0.on_others(hosts))
    }

    /// Looks at everything since the run began, rather than since the last disturbance.
    pub fn since_begin(self) -> Self {
        Self(self.0.since_begin())
    }

    /// Looks at everything since this instant of the run, what came at the instant itself included.
    pub fn since(self, instant: Duration) -> Self {
        Self(self.0.since(instant))
    }

    /// Looks at everything that came behind this line, on its own stream and on every other; not at the line itself.
    pub fn after(self, line: &Line) -> Self {
        Self(self.0.after(line))
    }

    /// The line rather than the host.
    ///
    /// # Errors
    /// As awaiting it.
    pub async fn line(self) -> Result<Line> {
        self.0.line().await
    }
}

impl IntoFuture for Find {
    type Output = Result<Host>;
    type IntoFuture = BoxFuture<Result<Host>>;

    fn into_future(self) -> BoxFuture<Result<Host>> {
        Box::pin(async move { Ok(self.0.line().await?.host.clone()) })
    }
}

/// The expectation that no line matches. Awaited, it looks at what is there, and at what comes for as long as was said.
#[must_use = "a wait does nothing until it is awaited"]
#[derive(Clone, Debug)]
pub struct Never {
    wait: Wait,
    lasting: Duration,
}

impl From<Wait> for Never {
    /// The expectation that what `wait` waits for does not come.
    fn from(wait: Wait) -> Self {
        Self { wait: Wait { never: true, ..wait }, lasting: Duration::ZERO }
    }
}

impl Never {
    /// Goes on looking for so long.
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasting = time;
        self
    }

    /// Looks at these hosts only.
    pub fn on(mut self, hosts: impl Hosts) -> Self {
        self.wait = self.wait.on(hosts);
        self
    }

    /// Looks at all hosts but these.
    pub fn on_others(mut self, hosts: impl Hosts) -> Self {
        self.wait = self.wait.on_others(hosts);
        self
    }

    /// Looks at everything since the run began, rather than since the last disturbance.
    pub fn since_begin(mut self) -> Self {
        self.wait = self.wait.since_begin();
        self
    }

    /// Looks at everything since this instant of the run, what came at the instant itself included.
    pub fn since(mut self, instant: Duration) -> Self {
        self.wait = self.wait.since(instant);
        self
    }

    /// Looks at everything that came behind this line, on its own stream and on every other; not at the line itself.
    pub fn after(mut self, line: &Line) -> Self {
        self.wait = self.wait.after(line);
        self
    }
}

impl IntoFuture for Never {
    type Output = Result;
    type IntoFuture = BoxFuture<Result>;

    fn into_future(self) -> BoxFuture<Result> {
        Box::pin(async move {
            let Self { wait, lasting } = self;
            let (core, at, pattern) = (Arc::clone(&wait.core), wait.at.clone(), wait.pattern.clone());
            // A line that has no end yet is looked at after a moment of quiet.
            let least = crate::recorder::QUIET * 2;
            let looked = Wait { within: Some(lasting.max(least)), ..wait }.look().await;
            let result = match looked {
                Ok(line) => Err(forbidden(&pattern, &line)),
                Err(error) if matches!(error.name(), Reason::WaitTimedOut | Reason::EndedBeforeLine) => {
                    Ok(())
                }
                Err(error) => Err(error),
            };
            core.noted(result, at)
        })
    }
}

pub(crate) fn forbidden(pattern: &str, line: &Line) -> Error {
    let text = format!("a line like `{pattern}` came on {}, which must not come", line.process);
    Trouble::new(Reason::ForbiddenLine, text)
        .saw(format!("{:>9}  {}  {}  {}", At(line.at()), line.process, line.stream, line.text))
        .into()
}

/// Reads a regular expression; `.` and classes match characters, and bytes that are no UTF-8 never match them.
pub(crate) fn compile(pattern: &str) -> Result<Regex> {
    RegexBuilder::new(pattern).size_limit(10 << 20).build().map_err(|error| {
        let error = error.to_string();
        // The last of the lines that draw the mistake.
        let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Error::new(Reason::BadRegex, format!("`{pattern}` is no regular expression: {why}"))
    })
}

fn next_wait() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Tries `attempt` until it succeeds, for so long (not scaled by `patience`: a test's own time).
///
/// # Errors
/// What the last attempt returned.
pub async fn eventually<T, E>(
    within: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, E> {
    let begun = tokio::time::Instant::now();
    loop {
        match attempt().await {
            Err(_) if begun.elapsed() < within => tokio::time::sleep(Duration::from_millis(20)).await,
            ended => return ended,
        }
    }
}
