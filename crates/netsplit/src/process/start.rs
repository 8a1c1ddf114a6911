//! `host.start(…)` and `host.run(…)`: builders that are awaited.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::future::IntoFuture;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use netsplit_link::Channel;
use netsplit_model::{
    Effective, Event, HostName, NotStarted, NotStartedKind, Outcome, Reason, Stream, Trouble, excerpt,
    units::Wanted,
};
use netsplit_wire::limits;
use netsplit_wire::message::{Body, Pty, Request, Start as StartMessage, add_variable};
use prost::Message;
use tokio::io::AsyncRead;
use tokio::sync::watch;

use super::driver::Driver;
use super::stdin::Stdin;
use super::{BoxFuture, Process, Progress, Shared, is_missing_program};
use crate::command::{Input, Resolved, Spec, Words, resolve};
use crate::core::{Core, lost};
use crate::error::{Error, Result};
use crate::wait::Wait;
use crate::{files, place};

/// How often `eventually` tries again.
const TRY_EVERY: Duration = Duration::from_millis(50);

/// What an agent may take longer than a command's deadline and grace to say that it ended it.
const AGENT_MAX: Duration = Duration::from_secs(15);

/// Starts a process; awaited, it is there when the process runs, or is ready.
#[must_use = "a command does nothing until it is awaited"]
#[derive(Debug)]
pub struct Start {
    pub(crate) core: Arc<Core>,
    pub(crate) host: HostName,
    pub(crate) spec: Spec,
    ready: Option<String>,
    pub(crate) at: Option<netsplit_model::Place>,
}

/// Runs a command to its end; awaited, it fails unless the command exited as expected.
#[must_use = "a command does nothing until it is awaited"]
#[derive(Debug)]
pub struct Run {
    start: Start,
    exit: Exit,
    eventually: Option<Duration>,
}

/// With which ends of a command a test is content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// One of these codes.
    Codes(Vec<i32>),
    /// Any code but 0.
    Nonzero,
    /// Any code, any signal.
    Any,
    /// This signal.
    Signal(i32),
}

impl Exit {
    /// Whether `outcome` is one of them. What could not start, was lost or timed out never is.
    pub fn allows(&self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::Codes(codes), Outcome::Exited { code }) => codes.contains(code),
            (Self::Nonzero, Outcome::Exited { code }) => *code != 0,
            (Self::Any, Outcome::Exited { .. } | Outcome::Signalled { .. }) => true,
            (Self::Signal(wanted), Outcome::Signalled { signal, .. }) => wanted == signal,
            _ => false,
        }
    }
}

impl<const N: usize> From<[i32; N]> for Exit {
    fn from(codes: [i32; N]) -> Self {
        Self::Codes(codes.to_vec())
    }
}

impl From<Vec<i32>> for Exit {
    fn from(codes: Vec<i32>) -> Self {
        Self::Codes(codes)
    }
}

impl From<i32> for Exit {
    fn from(code: i32) -> Self {
        Self::Codes(vec![code])
    }
}

impl Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codes(codes) => {
                let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
                write!(f, "exit {}", codes.join(" or "))
            }
            Self::Nonzero => f.write_str("an exit code other than 0"),
            Self::Any => f.write_str("any exit"),
            Self::Signal(signal) => write!(f, "signal {}", netsplit_model::signal::name(*signal)),
        }
    }
}

/// The settings that `start` and `run` have in common.
macro_rules! command_settings {
    ($($spec:ident).+) => {
        /// Appends words, as they are shown: texts, names of hosts, numbers, `path.display()`.
        pub fn args<S: Display>(mut self, words: impl IntoIterator<Item = S>) -> Self {
            self.$($spec).+.args.extend(words.into_iter().map(|word| word.to_string()));
            self
        }

        /// Appends a word, as it is shown.
        ///
        /// ```
        /// # use netsplit::prelude::*;
        /// # fn start(leader: &Host, client: &Host, port: u16) -> netsplit::Start {
        /// client.start("kvctl put").arg("--to").arg(leader.name()).arg(port).args([client.name()]).env("PORT", port)
        /// # }
        /// ```
        pub fn arg(self, word: impl Display) -> Self {
            self.args([word])
        }

        /// Sets a variable for this command, over every other scope.
        pub fn env(mut self, name: impl Into<String>, value: impl Display) -> Self {
            self.$($spec).+.scope.set(name, value.to_string());
            self
        }

        /// Takes a variable away that another scope sets.
        pub fn env_remove(mut self, name: impl Into<String>) -> Self {
            self.$($spec).+.scope.unset(name);
            self
        }

        /// The working directory on the host; `/` unless said.
        pub fn cwd(mut self, path: impl Into<String>) -> Self {
            self.$($spec).+.cwd = path.into();
            self
        }

        /// The user of the host to run as; root unless said.
        pub fn user(mut self, name: impl Into<String>) -> Self {
            self.$($spec).+.user = name.into();
            self
        }

        /// Gives it these bytes on standard input, then its end. Unless said, it reads /dev/null.
        pub fn stdin(mut self, bytes: impl Into<Bytes>) -> Self {
            self.$($spec).+.input = Input::Bytes(bytes.into());
            self
        }

        /// Gives it a file of this machine on standard input. When it cannot be read to its end, the command fails.
        pub fn stdin_file(mut self, path: impl Into<PathBuf>) -> Self {
            self.$($spec).+.input = Input::File(path.into());
            self
        }

        /// Gives it what comes from a stream on standard input. When the stream ends with an error, the command fails.
        pub fn stdin_stream(mut self, stream: impl AsyncRead + Send + 'static) -> Self {
            self.$($spec).+.input = Input::Stream(Box::pin(stream));
            self
        }

        /// Gives it a terminal of 24 rows and 80 columns; both its streams come out as standard output.
        pub fn pty(self) -> Self {
            self.pty_size(24, 80)
        }

        /// Gives it a terminal of this size.
        pub fn pty_size(mut self, rows: u32, columns: u32) -> Self {
            self.$($spec).+.pty = Some((rows, columns));
            self
        }

        /// Ends it with all its children when it takes longer.
        pub fn within(mut self, time: Duration) -> Self {
            self.$($spec).+.within = Some(time);
            self
        }

        /// What a first word such as `./x` is relative to.
        pub fn beside(mut self, folder: impl Into<PathBuf>) -> Self {
            self.$($spec).+.base = Some(folder.into());
            self
        }

        /// Calls the process so, rather than by its program's name.
        pub fn name(mut self, name: impl Into<String>) -> Self {
            self.$($spec).+.name = Some(name.into());
            self
        }
    };
}

impl Start {
    pub(crate) fn new(
        core: &Arc<Core>,
        host: &HostName,
        words: Words,
        at: &'static Location<'static>,
    ) -> Self {
        Self {
            core: Arc::clone(core),
            host: host.clone(),
            spec: Spec::new(words),
            ready: None,
            at: place::of(at),
        }
    }

    command_settings!(spec);

    /// It is there when a line matches: within `deadlines.start`, or the start fails.
    pub fn ready(mut self, pattern: impl Into<String>) -> Self {
        self.ready = Some(pattern.into());
        self
    }

    /// Leaves its standard input open for [`Process::write`].
    pub fn stdin_open(mut self) -> Self {
        self.spec.input = Input::Open;
        self
    }

    async fn start(self) -> Result<Process> {
        let (core, at, ready) = (Arc::clone(&self.core), self.at.clone(), self.ready.clone());
        let started = self.started().await;
        let process = core.noted(started, at.clone())?;
        if let Some(pattern) = ready {
            let within = core.settings.deadlines.start;
            Wait::ready(&process, pattern, within, at).await?;
        }
        Ok(process)
    }

    async fn started(self) -> Result<Process> {
        let process = self.launch(true).await?;
        // The agent's word that it runs, or why not.
        let mut progress = process.shared.progress.clone();
        let started = progress.wait_for(|progress| *progress != Progress::Starting);
        let limit = process.shared.core.settings.deadlines.start;
        match tokio::time::timeout(limit, started).await {
            Err(_) => {
                return Err(process.still_running(limit));
            }
            Ok(Err(_)) => return Err(lost(process.host(), "the run is over")),
            Ok(Ok(progress)) => {
                if let Progress::Ended(outcome @ (Outcome::CouldNotStart(_) | Outcome::AgentLost { .. })) =
                    &*progress
                {
                    return Err(process.unwanted(outcome));
                }
            }
        }
        Ok(process)
    }

    /// Asks the agent; returns before it has answered. With `tells_start`, progress wakes when the process runs.
    async fn launch(self, tells_start: bool) -> Result<Process> {
        let Self { core, host, spec, .. } = self;
        check_needs(&core, &spec)?;
        let environment = core.environment(&host, &spec.scope, |seen| environment_of(seen, &host, &spec))?;
        let resolved = resolve(&core, &host, &spec)?;
        let link = core.link(&host)?;
        let argv = bring(&core, &host, &resolved).await?;
        let shown = spec.shown();
        check_input(&spec.input)?;
        let name = core.new_process(&host, &resolved.name);
        let message = StartMessage {
            until_end: !tells_start,
            ..message(&core, environment, &spec, &resolved, argv, name.to_string())
        };
        check_length(&message, &shown, &host)?;
        core.recorder.event(Event::ProcessStarted {
            process: name.clone(),
            argv: message.argv.clone(),
            pty: spec.pty.is_some(),
        });
        let why = |error: netsplit_link::LinkError| lost(&host, &core.why_lost(&host, &error.to_string()));
        let request = Request::from(Body::Start(message));
        let Channel { sender, receiver } = link.request(&request).await.map_err(why)?;
        let (progress, watch) = watch::channel(Progress::Starting);
        let (taken, has_taken) = watch::channel(0);
        let deadline = spec.within.map(|time| core.scaled(time));
        let (cancelled, noticed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let driver = Driver {
            core: Arc::downgrade(&core),
            name: name.clone(),
            receiver,
            progress,
            tells_start,
            deadline,
            grace: core.settings.deadlines.grace,
            cancelled: Arc::clone(&cancelled),
            noticed: Arc::clone(&noticed),
            taken,
        };
        if spec.pty.is_none() {
            core.piped(&name);
        }
        core.engine.spawn(driver.run());
        let stdin = Stdin::new(sender.clone(), has_taken);
        let is_open = matches!(spec.input, Input::Open);
        if !matches!(spec.input, Input::None | Input::Open) {
            core.engine.spawn(stdin.clone().feed(spec.input));
        }
        let cursor = Mutex::new(BTreeMap::new());
        let has_pty = spec.pty.is_some();
        Ok(Process {
            shared: Arc::new(Shared {
                core,
                name,
                shown,
                progress: watch,
                sender,
                stdin,
                is_open,
                has_pty,
                cursor,
                cancelled,
                noticed,
            }),
        })
    }
}

fn check_needs(core: &Core, spec: &Spec) -> Result {
    use netsplit_model::Capability::{Pty, Users};
    if spec.pty.is_some() {
        core.need(Pty)?;
    }
    if !spec.user.is_empty() && spec.user != "root" {
        core.need(Users)?;
    }
    // Whether a host runs executables of this machine its agent knows: where it does not, a bare name may be a program's.
    Ok(())
}

/// What is seen, as a message has it.
fn environment_of(seen: &[Effective<'_>], host: &HostName, spec: &Spec) -> Result<String> {
    check_environment(seen, host, spec)?;
    let length = seen.iter().map(|seen| seen.name.len() + seen.value.len() + 2).sum();
    let mut all = String::with_capacity(length);
    seen.iter().for_each(|seen| add_variable(&mut all, seen.name, seen.value));
    Ok(all)
}

/// What an environment cannot hold would come out as another variable, or as none.
fn check_environment(environment: &[Effective<'_>], host: &HostName, spec: &Spec) -> Result {
    for Effective { name, value, scope } in environment {
        let what = match () {
            () if name.is_empty() => "an empty name",
            () if name.contains(['=', '\0']) => "`=` or NUL in its name",
            () if value.contains('\0') => "NUL in its value",
            () => continue,
        };
        let name = name.escape_debug();
        let text = format!("the variable `{name}` of `{}` on {host} has {what}", spec.shown());
        let trouble = Trouble::new(Reason::BadValue, text);
        return Err(trouble.because(format!("it was set for the {scope}")).into());
    }
    Ok(())
}

/// A file that is to be read must be there before anything starts, and must not keep us waiting as a pipe would.
fn check_input(input: &Input) -> Result {
    let Input::File(path) = input else { return Ok(()) };
    match std::fs::metadata(path) {
        Ok(data) if data.is_file() => Ok(()),
        Ok(_) => {
            let text = format!("standard input: `{}` is not a file", path.display());
            Err(Error::new(Reason::FileRefused, text))
        }
        Err(error) => {
            let text = format!("standard input: no file `{}` here: {error}", path.display());
            Err(Error::new(Reason::NoSuchFile, text))
        }
    }
}

/// More than a message holds is more than any kernel takes: the host would say the same.
fn check_length(message: &StartMessage, shown: &str, host: &HostName) -> Result {
    // What wraps it takes a few bytes.
    if message.encoded_len() + 64 <= limits::MESSAGE_MAX {
        return Ok(());
    }
    let text = format!("`{}` has too many or too long arguments and variables", message.argv[0]);
    let reason = NotStarted { kind: NotStartedKind::Other, text };
    let trouble = could_not_start(&reason, shown, host);
    Err(Error::from(trouble).with_outcome(Outcome::CouldNotStart(reason)))
}

/// Brings the user's program to the host, once by content, and names it as the host does.
async fn bring(core: &Arc<Core>, host: &HostName, resolved: &Resolved) -> Result<Vec<String>> {
    let mut argv = resolved.argv.clone();
    if let Some(file) = &resolved.bring {
        argv[0] = files::bring_program(core, host, file).await?;
    }
    Ok(argv)
}

fn message(
    core: &Core,
    mut environment: String,
    spec: &Spec,
    resolved: &Resolved,
    argv: Vec<String>,
    process: String,
) -> StartMessage {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (name, value) = core.started();
    add_variable(&mut environment, &name, &value);
    StartMessage {
        // Unique on this machine too: hosts of root share its view of processes.
        process: format!("{}.{process}", core.run),
        argv,
        env: environment,
        cwd: spec.cwd.clone(),
        user: if spec.user == "root" { String::new() } else { spec.user.clone() },
        stdin: !matches!(spec.input, Input::None),
        pty: spec.pty.map(|(rows, columns)| Pty { rows, columns }),
        deadline_ms: spec.within.map_or(0, |time| millis(core.scaled(time)).max(1)),
        grace_ms: millis(core.settings.deadlines.grace),
        program: resolved.program.clone(),
        until_end: false,
    }
}

/// The message for what could not start.
pub(super) fn could_not_start(reason: &NotStarted, shown: &str, host: &HostName) -> Trouble {
    let name = if is_missing_program(reason.kind) { Reason::NoSuchProgram } else { Reason::CouldNotStart };
    if is_missing_program(reason.kind) {
        if !reason.text.contains(" (PATH") {
            // Not a question of what is installed: the host runs programs of the test only.
            return Trouble::new(name, format!("on {host}: {}", reason.text))
                .guess(
                    "make it an `async fn` of the test with #[netsplit::program]; or say needs = [\"programs\"], and the \
                     test is for hosts that run executables",
                );
        }
        let trouble = Trouble::new(name, reason.text.replacen(" (PATH", &format!(" on {host} (PATH"), 1));
        let program = shown.split_whitespace().next().unwrap_or(shown);
        return match package_of(program) {
            Some(package) => trouble
                .fix(format!("sudo apt-get install {package}, or name a file of yours: \"./{program} …\"")),
            None => trouble.guess(format!("install it here, or name a file of yours: \"./{program} …\"")),
        };
    }
    Trouble::new(name, format!("`{shown}` on {host} could not start: {}", reason.text))
}

/// The Debian package of programs that people often test, where its name is another.
fn package_of(program: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 12] = [
        ("etcd", "etcd-server"),
        ("etcdctl", "etcd-client"),
        ("redis-server", "redis-server"),
        ("redis-cli", "redis-tools"),
        ("ping", "iputils-ping"),
        ("iperf3", "iperf3"),
        ("curl", "curl"),
        ("nc", "netcat-openbsd"),
        ("psql", "postgresql-client"),
        ("nats-server", "nats-server"),
        ("dig", "bind9-dnsutils"),
        ("tcpdump", "tcpdump"),
    ];
    KNOWN.iter().find(|(known, _)| *known == program).map(|(_, package)| *package)
}

impl IntoFuture for Start {
    type Output = Result<Process>;
    type IntoFuture = BoxFuture<Result<Process>>;

    fn into_future(self) -> BoxFuture<Result<Process>> {
        Box::pin(self.start())
    }
}

impl Run {
    pub(crate) fn new(
        core: &Arc<Core>,
        host: &HostName,
        words: Words,
        at: &'static Location<'static>,
    ) -> Self {
        Self { start: Start::new(core, host, words, at), exit: Exit::Codes(vec![0]), eventually: None }
    }

    command_settings!(start.spec);

    /// With which ends to be content, instead of exit code 0: `3`, `[0, 1]`, [`Exit::Any`].
    pub fn exits(mut self, exit: impl Into<Exit>) -> Self {
        self.exit = exit.into();
        self
    }

    /// Runs it again until it ends as expected, for so long. Only for commands without standard input, or with bytes.
    pub fn eventually(mut self, time: Duration) -> Self {
        self.eventually = Some(time);
        self
    }

    /// Runs it and gives what it wrote to standard output, without white space around it.
    ///
    /// # Errors
    /// As awaiting it.
    pub async fn read(self) -> Result<String> {
        Ok(self.await?.stdout().trim().to_owned())
    }

    async fn run(self) -> Result<Output> {
        let (core, at) = (Arc::clone(&self.start.core), self.start.at.clone());
        let output = match self.eventually {
            None => self.once().await,
            Some(time) => self.repeated(core.scaled(time)).await,
        };
        core.noted(output, at)
    }

    async fn once(mut self) -> Result<Output> {
        let default = self.start.core.settings.deadlines.run;
        // Its own deadline is scaled when it is sent; the setting is scaled already.
        let unscaled = default.div_f64(self.start.core.settings.patience);
        let within = *self.start.spec.within.get_or_insert(unscaled);
        let process = self.start.launch(false).await?;
        let mut guard = Cancel(Some(process.clone()));
        let ended = ended_in_time(&process, within).await;
        guard.0 = None;
        let outcome = process.fed(ended?)?;
        if !self.exit.allows(&outcome) {
            return Err(process.unexpected(&outcome, &self.exit));
        }
        Ok(Output { process, outcome })
    }

    async fn repeated(self, time: Duration) -> Result<Output> {
        let begun = tokio::time::Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let last = match self.again()?.once().await {
                Ok(output) => return Ok(output),
                Err(error) => error,
            };
            let is_final =
                matches!(last.name(), Reason::NoSuchProgram | Reason::HostLost | Reason::UnsetVariable);
            if is_final || begun.elapsed() >= time {
                let mut trouble = last.trouble().clone();
                trouble.text = format!("{} (tried {tries} times in {})", trouble.text, Wanted(time));
                let error = Error::from(trouble);
                return Err(match last.outcome() {
                    Some(outcome) => error.with_outcome(outcome.clone()),
                    None => error,
                });
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    /// The same command once more.
    fn again(&self) -> Result<Self> {
        let spec = &self.start.spec;
        let input = match &spec.input {
            Input::None => Input::None,
            Input::Bytes(bytes) => Input::Bytes(bytes.clone()),
            Input::File(path) => Input::File(path.clone()),
            Input::Stream(_) | Input::Open => {
                return Err(Error::new(Reason::BadValue, "a command that is repeated cannot read a stream"));
            }
        };
        let spec = Spec {
            words: spec.words.clone(),
            args: spec.args.clone(),
            scope: spec.scope.clone(),
            cwd: spec.cwd.clone(),
            user: spec.user.clone(),
            input,
            pty: spec.pty,
            within: spec.within,
            name: spec.name.clone(),
            base: spec.base.clone(),
        };
        let start = Start {
            core: Arc::clone(&self.start.core),
            host: self.start.host.clone(),
            spec,
            ready: None,
            at: self.start.at.clone(),
        };
        Ok(Self { start, exit: self.exit.clone(), eventually: None })
    }
}

impl IntoFuture for Run {
    type Output = Result<Output>;
    type IntoFuture = BoxFuture<Result<Output>>;

    fn into_future(self) -> BoxFuture<Result<Output>> {
        Box::pin(self.run())
    }
}

/// How a command ended that may take so long: its agent ends it then, unless the test paused its host.
async fn ended_in_time(process: &Process, within: Duration) -> Result<Outcome> {
    let core = &process.shared.core;
    let within = core.scaled(within);
    if let Some(outcome) = process.ended(within).await {
        return Ok(outcome);
    }
    if core.is_paused(process.host()) {
        // Not awaited: what a paused host does not take may have filled the channel.
        let given_up = process.clone();
        core.engine.spawn(async move { given_up.give_up().await });
        return Err(process.still_running(within));
    }
    let late = core.settings.deadlines.grace + AGENT_MAX;
    process.ended(late).await.ok_or_else(|| process.still_running(within + late))
}

/// Ends the process of a `run` that nobody waits for any more.
struct Cancel(Option<Process>);

impl Drop for Cancel {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            process.shared.cancelled.store(true, Ordering::Relaxed);
            let engine = process.shared.core.engine.clone();
            engine.spawn(async move { process.kill().await });
        }
    }
}

/// A command that has ended, and what it wrote.
#[derive(Clone, Debug)]
pub struct Output {
    process: Process,
    outcome: Outcome,
}

impl Output {
    /// How it ended.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Its exit code, if it exited.
    pub fn code(&self) -> Option<i32> {
        match self.outcome {
            Outcome::Exited { code } => Some(code),
            _ => None,
        }
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What it wrote to standard output; bytes that are no UTF-8 are replaced.
    pub fn stdout(&self) -> String {
        text(self.process.stdout())
    }

    /// What it wrote to standard error; bytes that are no UTF-8 are replaced.
    pub fn stderr(&self) -> String {
        text(self.process.stderr())
    }

    /// What it wrote to standard output, byte for byte.
    ///
    /// # Errors
    /// When the evidence cannot be read.
    pub fn stdout_bytes(&self) -> Result<Vec<u8>> {
        self.process.stdout()
    }

    /// What it wrote to standard error, byte for byte.
    ///
    /// # Errors
    /// When the evidence cannot be read.
    pub fn stderr_bytes(&self) -> Result<Vec<u8>> {
        self.process.stderr()
    }

    /// Expects this on standard output; one newline at the end does not count.
    ///
    /// # Errors
    /// With what it wrote, when that is something else.
    #[track_caller]
    pub fn expect_stdout(&self, wanted: &str) -> Result {
        self.expect(Stream::Stdout, Reason::ExpectStdout, wanted, Location::caller())
    }

    /// Expects this on standard error; one newline at the end does not count.
    ///
    /// # Errors
    /// With what it wrote, when that is something else.
    #[track_caller]
    pub fn expect_stderr(&self, wanted: &str) -> Result {
        self.expect(Stream::Stderr, Reason::ExpectStderr, wanted, Location::caller())
    }

    fn expect(&self, stream: Stream, name: Reason, wanted: &str, at: &'static Location<'static>) -> Result {
        let said = text(self.process.shared.read(stream));
        let chomp = |text: &str| text.strip_suffix('\n').unwrap_or(text).to_owned();
        let (wanted, said) = (chomp(wanted), chomp(&said));
        let met = if wanted == said {
            Ok(())
        } else {
            let found = excerpt::difference(&wanted, &said);
            let what = format!("{stream} of `{}` on {}", self.process.shared.shown, self.process.host());
            let text = format!("{what} differs {}", found.place);
            Err(Trouble::new(name, text.trim_end()).wanted(found.wanted, found.said).into())
        };
        self.process.shared.core.noted(met, place::of(at))
    }
}

fn text(bytes: Result<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}
