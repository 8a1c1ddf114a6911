//! How runs get on, for people: one run in detail, several a line each; on a terminal a last line that changes.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netsplit::Verdict;
use netsplit_model::units::{Measured, Wanted, count};
use netsplit_model::{Event, Record, VerdictFile};
use netsplit_report::clean;

use crate::args::Progress;
use crate::output::Output;
use crate::printer::{Printer, Stream};

/// How often the line that changes does.
const REDRAW: Duration = Duration::from_millis(100);
/// How often a run that goes on says so where no line can change: some systems kill what is silent.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// Columns when nobody says how many there are.
const COLUMNS: usize = 80;
/// Characters of a nested test's name in a list.
const NAME_WIDTH: usize = 34;

/// How many faults a line names; of the others it has the number.
const FAULTS_SHOWN: usize = 2;

/// Characters of a step's text in the line that changes.
const STEP_WIDTH: usize = 36;

/// What is shown. Clones are the same screen.
#[derive(Clone)]
pub(crate) struct Screen {
    state: Arc<Mutex<State>>,
    printer: Printer,
}

struct State {
    output: Output,
    printer: Printer,
    /// Whether there is one run, told in detail.
    single: bool,
    quiet: bool,
    /// Whether a line may change.
    live: bool,
    progress: Progress,
    runs: BTreeMap<usize, View>,
    total: usize,
    done: usize,
    /// Somebody else has the terminal.
    is_held: bool,
}

/// A terminal that is somebody else's until this is dropped.
#[must_use = "dropping it goes on printing"]
pub(crate) struct Held(Screen);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.lock().is_held = false;
        self.0.printer.release();
    }
}

/// What is known of one run.
struct View {
    name: String,
    hosts: usize,
    begun: Instant,
    said: Instant,
    ready: Vec<(String, String)>,
    test: String,
    steps: u32,
    /// How many steps the present test has begun.
    step: u32,
    step_text: String,
    step_began: Instant,
    /// Open waits: pattern, where, deadline, since when.
    waits: BTreeMap<u64, (String, String, Duration, Instant)>,
    /// What a person did to power: killed and paused hosts.
    power: BTreeMap<String, &'static str>,
    /// Faults of the network that the present test has begun.
    network: Vec<FaultView>,
    faults: usize,
}

/// A fault of the network.
struct FaultView {
    /// Its number in the run's log.
    label: String,
    what: String,
    is_in_force: bool,
    began: Duration,
    ended: Option<Duration>,
}

impl Screen {
    pub(crate) fn new(output: Output, progress: Progress, total: usize, quiet: bool) -> io::Result<Self> {
        let printer = Printer::start()?;
        let live = progress == Progress::Auto && io::stderr().is_terminal() && !netsplit::settings::is_dumb();
        let state = State {
            output,
            printer: printer.clone(),
            single: total == 1,
            quiet,
            live,
            progress,
            runs: BTreeMap::new(),
            total,
            done: 0,
            is_held: false,
        };
        Ok(Self { state: Arc::new(Mutex::new(state)), printer })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Redraws for as long as the runs go on.
    pub(crate) async fn redraw(self) {
        loop {
            tokio::time::sleep(REDRAW).await;
            let mut state = self.lock();
            state.say_now_and_then();
            state.draw();
        }
    }

    /// A run begins.
    pub(crate) fn begin(&self, number: usize, name: &str, hosts: usize) {
        let now = Instant::now();
        let view = View {
            name: name.to_owned(),
            hosts,
            begun: now,
            said: now,
            ready: Vec::new(),
            test: String::new(),
            steps: 0,
            step: 0,
            step_text: String::new(),
            step_began: now,
            waits: BTreeMap::new(),
            power: BTreeMap::new(),
            network: Vec::new(),
            faults: 0,
        };
        self.lock().runs.insert(number, view);
    }

    /// Something happened in a run.
    pub(crate) fn event(&self, number: usize, record: &Record) {
        let mut state = self.lock();
        let single = state.single && !state.quiet;
        let output = state.output;
        let Some(view) = state.runs.get_mut(&number) else { return };
        let line = view.take(record, output);
        if let Some(line) = line.filter(|_| single) {
            state.print(line);
        }
    }

    /// A run is over.
    pub(crate) fn end(&self, number: usize, verdict: &VerdictFile, kept: bool, lines: &str) {
        let mut state = self.lock();
        let view = state.runs.remove(&number);
        state.done += 1;
        let faults = view.map_or(0, |view| view.faults);
        let passed = verdict.verdict == Verdict::Passed;
        let is_bad = !matches!(verdict.verdict, Verdict::Passed | Verdict::Skipped);
        let shown_below = state.single && is_bad && !lines.is_empty();
        if !(shown_below || state.quiet && passed && !kept) {
            let line = if state.single {
                single_end(verdict, faults, kept, state.output)
            } else {
                many_end(verdict, state.output)
            };
            state.print(line);
        }
        if !lines.is_empty() {
            state.print(lines.trim_end().to_owned());
        }
    }

    /// The first line of a run told in detail.
    pub(crate) fn headline(&self, line: String) {
        let state = self.lock();
        if state.single && !state.quiet {
            state.print(line);
        }
    }

    /// Whether there is one run.
    pub(crate) fn is_single(&self) -> bool {
        self.lock().single
    }

    /// Whether there is one run, told in detail even when it passes.
    pub(crate) fn is_detailed(&self) -> bool {
        let state = self.lock();
        state.single && !state.quiet
    }

    /// A run is over that somebody else tells of.
    pub(crate) fn forget(&self, number: usize) {
        let mut state = self.lock();
        state.runs.remove(&number);
        state.done += 1;
    }

    /// A line of data between the others.
    pub(crate) fn data(&self, line: String) {
        self.lock().print(line);
    }

    /// A line for people between the others.
    pub(crate) fn say(&self, line: String) {
        self.printer.line(Stream::Err, line);
    }

    /// What every run waits for, for whoever asks with SIGUSR1.
    pub(crate) fn status(&self) {
        for view in self.lock().runs.values() {
            self.say(format!("running  {}", view.line()));
        }
    }

    /// Leaves the terminal to somebody else until what is returned is dropped.
    pub(crate) fn hold(&self) -> Held {
        self.lock().is_held = true;
        self.printer.hold();
        Held(self.clone())
    }

    /// Takes the changing line away, and waits until all is printed.
    pub(crate) fn close(&self) {
        self.printer.live(None);
        self.printer.flush();
    }
}

impl State {
    fn print(&self, line: String) {
        self.draw();
        self.printer.line(Stream::Out, line);
    }

    /// Brings the changing line up to date.
    fn draw(&self) {
        if self.live && !self.is_held {
            self.printer.live(self.live_line());
        }
    }

    fn live_line(&self) -> Option<String> {
        let line = match self.runs.values().next() {
            Some(view) if self.runs.len() == 1 && self.total == 1 => view.line(),
            Some(view) => format!(
                "{} of {} done · {} running · {} › {}",
                self.done,
                self.total,
                self.runs.len(),
                view.name,
                view.line()
            ),
            None => return None,
        };
        let room = columns().saturating_sub(3);
        if line.chars().count() <= room {
            return Some(line);
        }
        Some(line.chars().take(room.saturating_sub(1)).chain(['…']).collect())
    }

    fn say_now_and_then(&mut self) {
        if self.live || self.is_held || self.progress == Progress::None {
            return;
        }
        for view in self.runs.values_mut().filter(|view| view.said.elapsed() >= SAY_EVERY) {
            view.said = Instant::now();
            let time = Measured(view.begun.elapsed());
            let line = format!("{:<9}{time:>7}  {} › {}", "running", view.name, view.line());
            self.printer.line(Stream::Err, line);
        }
    }
}

impl View {
    /// Takes note of an event; gives a line to keep, if it is worth one.
    fn take(&mut self, record: &Record, output: Output) -> Option<String> {
        match &record.event {
            Event::HostReady { host, address, .. } => {
                self.power.remove(host.as_str());
                if self.ready.len() >= self.hosts {
                    return None; // it came up again
                }
                self.ready.push((host.to_string(), address.clone()));
                return (self.ready.len() == self.hosts).then(|| self.hosts_ready(record.time(), output));
            }
            Event::TestBegan { name, steps, .. } => {
                (self.test, self.steps, self.step) = (name.clone(), *steps, 0);
                self.step_text.clear();
                self.network.retain(|fault| fault.ended.is_none());
            }
            Event::TestEnded { verdict, reason, .. } => {
                let word = output.paint.verdict(*verdict);
                let more = match (verdict, reason) {
                    (Verdict::Passed, _) => self.steps_and_faults(record.time()),
                    (Verdict::Skipped, Some(reason)) => {
                        format!("{word}: {}", reason.text.lines().next().unwrap_or_default())
                    }
                    _ => format!("step {} of {}   {word}", self.step.max(1), self.steps),
                };
                return Some(timed(record.time(), &self.test, &more));
            }
            Event::StepBegan { step, text, .. } => {
                if step.matches('.').count() == 1 {
                    self.step += 1;
                }
                (self.step_text, self.step_began) = (text.clone(), Instant::now());
            }
            Event::WaitBegan { wait, pattern, on, within, never: false, .. } => {
                let until = Duration::from_nanos(*within);
                self.waits.insert(*wait, (pattern.clone(), shown_hosts(on), until, Instant::now()));
            }
            Event::WaitEnded { wait, .. } => {
                self.waits.remove(wait);
            }
            Event::HostKilled { host } => {
                self.faults += 1;
                self.power.insert(host.to_string(), "killed");
            }
            Event::HostPaused { host } => {
                self.faults += 1;
                self.power.insert(host.to_string(), "paused");
            }
            Event::HostResumed { host } => {
                self.power.remove(host.as_str());
            }
            Event::FaultBegan { .. } | Event::FaultTurned { .. } | Event::FaultEnded { .. } => {
                self.fault(record);
            }
            _ => {}
        }
        None
    }

    fn fault(&mut self, record: &Record) {
        let known = |network: &mut Vec<FaultView>, label: &str| {
            network.iter().position(|fault| fault.label == label && fault.ended.is_none())
        };
        match &record.event {
            Event::FaultBegan { fault, what, .. } => {
                self.faults += 1;
                let (label, what, began) = (fault.clone(), what.clone(), record.time());
                self.network.push(FaultView { label, what, is_in_force: true, began, ended: None });
            }
            Event::FaultTurned { fault, in_force } => {
                if let Some(at) = known(&mut self.network, fault) {
                    self.network[at].is_in_force = *in_force;
                }
            }
            Event::FaultEnded { fault, why } => {
                let Some(at) = known(&mut self.network, fault) else { return };
                self.network[at].ended = Some(record.time());
                if why == "refused" {
                    self.network.remove(at);
                    self.faults -= 1;
                }
            }
            _ => {}
        }
    }

    /// Of a test that passed: `3 steps      isolate b 0.45s–2.31s`.
    fn steps_and_faults(&self, now: Duration) -> String {
        let span = |fault: &FaultView| {
            let (began, ended) = (Measured(fault.began), Measured(fault.ended.unwrap_or(now)));
            format!("{} {began}–{ended}", fault.what)
        };
        let faults = shortened(self.network.iter().map(span).collect());
        format!("{:<12} {}", count_of(self.steps), faults.join(", ")).trim_end().to_owned()
    }

    fn hosts_ready(&mut self, time: Duration, output: Output) -> String {
        // In the order of the scenario, which is that of their addresses.
        self.ready.sort_by_key(|(_, address)| address.parse::<IpAddr>().ok());
        let mut shown: Vec<_> = self
            .ready
            .iter()
            .take(6)
            .map(|(host, address)| format!("{} {address}", output.paint.host(host, host)))
            .collect();
        if self.ready.len() > 6 {
            shown.push(format!("and {} more", self.ready.len() - 6));
        }
        timed(time, "hosts ready", &shown.join("   "))
    }

    /// What it is at, in one line.
    fn line(&self) -> String {
        if self.test.is_empty() {
            return match self.ready.len() {
                up if up < self.hosts => {
                    format!("hosts {up} of {} · {}", self.hosts, Measured(self.begun.elapsed()))
                }
                _ => format!("files and first steps · {}", Measured(self.begun.elapsed())),
            };
        }
        let mut line = format!("{} · step {} of {}", self.test, self.step.max(1), self.steps);
        match self.waits.values().next() {
            Some((pattern, on, within, since)) => {
                let time = Measured(since.elapsed());
                line += &format!(
                    " · waiting for `{}` on {on} · {time} of {}",
                    middle(&clean(pattern), STEP_WIDTH),
                    Wanted(*within)
                );
            }
            None => {
                line += &format!(
                    " · {} · {}",
                    middle(&clean(&self.step_text), STEP_WIDTH),
                    Measured(self.step_began.elapsed())
                )
            }
        }
        for (host, what) in &self.power {
            line += &format!(" · {host} {what}");
        }
        let in_force = self.network.iter().filter(|fault| fault.is_in_force && fault.ended.is_none());
        for fault in shortened(in_force.map(|fault| format!("{} in force", fault.what)).collect()) {
            line += &format!(" · {fault}");
        }
        line
    }
}

/// The first of them, and how many more there are.
fn shortened(mut faults: Vec<String>) -> Vec<String> {
    let more = faults.len().saturating_sub(FAULTS_SHOWN);
    if more > 0 {
        faults.truncate(FAULTS_SHOWN);
        faults.push(count(more, "other fault"));
    }
    faults
}

/// A text of at most so many characters, cut in its middle, so that what stands at its end is seen.
fn middle(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let head: String = text.chars().take(width / 2).collect();
    let tail: String = text.chars().skip(count - (width - width / 2 - 1)).collect();
    format!("{head}…{tail}")
}

fn shown_hosts(names: &[String]) -> String {
    match names.len() {
        0..=4 => names.join(", "),
        more => count(more, "host"),
    }
}

fn count_of(steps: u32) -> String {
    count(usize::try_from(steps).unwrap_or(usize::MAX), "step")
}

/// A line of a run told in detail: when, what, more.
fn timed(time: Duration, what: &str, more: &str) -> String {
    let what = middle(what, NAME_WIDTH);
    format!("{:>8}  {what:<NAME_WIDTH$} {more}", Measured(time).to_string()).trim_end().to_owned()
}

fn seconds(verdict: &VerdictFile) -> Measured {
    Measured(Duration::from_secs_f64(verdict.seconds.max(0.0)))
}

fn single_end(verdict: &VerdictFile, faults: usize, kept: bool, output: Output) -> String {
    if verdict.verdict != Verdict::Passed {
        return many_end(verdict, output);
    }
    let steps: u32 = verdict.tests.iter().map(|test| test.steps).sum();
    let faults = if faults == 0 { String::new() } else { format!(", {}", count(faults, "fault")) };
    let left = match &verdict.teardown {
        _ if kept => ", kept",
        Some(teardown) if !teardown.ok => ", teardown had errors",
        _ => ", nothing left behind",
    };
    format!(
        "{}{:>7}   {}{faults}{left}",
        output.paint.verdict_padded(verdict.verdict, 9),
        seconds(verdict).to_string(),
        count_of(steps)
    )
}

fn many_end(verdict: &VerdictFile, output: Output) -> String {
    let bad = verdict
        .tests
        .iter()
        .find(|test| test.verdict == verdict.verdict && verdict.verdict != Verdict::Passed);
    let name = match bad {
        Some(test) => format!("{} › {}", verdict.test, test.name),
        None => verdict.test.clone(),
    };
    let more = match (&verdict.reason, verdict.verdict) {
        (Some(reason), Verdict::Skipped) => format!("   {}", reason.text.lines().next().unwrap_or_default()),
        _ => String::new(),
    };
    format!(
        "{}{:>7}  {name}{more}",
        output.paint.verdict_padded(verdict.verdict, 9),
        seconds(verdict).to_string()
    )
}

/// How wide the terminal is.
pub(crate) fn columns() -> usize {
    rustix::termios::tcgetwinsize(rustix::stdio::stderr()).map_or(COLUMNS, |size| match size.ws_col {
        0 => COLUMNS,
        columns => columns.into(),
    })
}
