//! `netsplit enter`: a shell, or a command, inside a host of a testbed that lives.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use netsplit::HostName;
use netsplit::settings::Settings;
use netsplit_link::{Channel, Config, Link, Received, SessionId};
use netsplit_model::{Event, Outcome, Reason, Record, Trouble};
use netsplit_provider::{Bed, namespace};
use netsplit_report::{Run, RunDir, Runs, State, state};
use netsplit_wire::message::{
    Body, Command, Ended, Happened, How, ProcessCommand, ProcessEvent, Pty, Request, Start, add_variable, tag,
};
use prost::Message;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::{find_names, has, hosts, listed, runtime, settings, unknown_host};
use crate::args::EnterArgs;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// The best shell that the host has.
const SHELL: &str = "if command -v bash >/dev/null; then exec bash -i; else exec sh -i; fi";
/// By then nothing is left of a testbed that is ending.
const ENDING: Duration = Duration::from_secs(2);
/// A process that nobody gave a grace.
const GRACE_MS: u64 = 2000;

pub(crate) fn run(args: &EnterArgs, output: Output) -> anyhow::Result<ExitCode> {
    let settings = settings(&[], output)?;
    let (mut run, names) = find_names(&settings, args.run.iter().chain(&args.host))?;
    if args.run.as_ref().is_none_or(|word| word == "last" || names.contains(word)) {
        run = last_alive(&settings, names.first()).unwrap_or(run);
    }
    check_alive(&run)?;
    let host = find_host(&run, names.first().map(String::as_str))?;
    let code = runtime()?.block_on(async {
        // Who is ended gives the terminal back.
        let interrupt = Interrupt::listen()?;
        tokio::select! {
            code = enter(run.dir.path(), &host, &args.command) => code.map_err(|error| explain(&run, error)),
            () = interrupt.wait() => Ok(interrupt.exit_code().unwrap_or_default()),
        }
    })?;
    Ok(ExitCode::from(code))
}

/// The last run whose testbed is there, with this host: one that ended later has nothing to enter.
fn last_alive(settings: &Settings, host: Option<&String>) -> Option<Run> {
    let runs = Runs::new(&settings.dir).list().ok()?;
    let is_meant = |run: &Run| run.state != State::Over && host.is_none_or(|host| has(run, host));
    runs.into_iter().rev().find(is_meant)
}

pub(super) fn check_alive(run: &Run) -> anyhow::Result<()> {
    if run.state != State::Over {
        return Ok(());
    }
    let events = run.dir.read_events().unwrap_or_default();
    let is_kept = |record: &Record| matches!(record.event, Event::TeardownEnded { kept: true, .. });
    let end = match events.iter().any(is_kept) {
        true => "it was kept, and has ended since: by `netsplit clean`, or after a day",
        false => "it ended with its run",
    };
    let text = format!("the testbed of run {} ({}) is gone: {end}", run.id, run.test());
    let repeat = run.dir.read_run().map(|facts| facts.repeat).unwrap_or_default();
    let trouble = Trouble::new(Reason::NoSuchRun, text);
    Err(match () {
        () if run.test().ends_with("::simulated") => {
            trouble.because("what is simulated ends with its process")
        }
        () if repeat.starts_with("netsplit ") => trouble.fix(format!("{repeat} --keep always")),
        () => trouble.fix(format!("NETSPLIT_KEEP=always {repeat}")),
    }
    .into())
}

/// Why a testbed that looked alive does not answer: one whose runner was killed is about to end, and says so when it has.
pub(super) fn explain(run: &Run, error: anyhow::Error) -> anyhow::Error {
    let name = error.downcast_ref::<Trouble>().map(|trouble| trouble.name);
    if !matches!(name, Some(Reason::TestbedLost | Reason::NoSuchRun)) {
        return error;
    }
    let begun = Instant::now();
    while begun.elapsed() < ENDING {
        let run = Run { state: state(&run.dir), ..run.clone() };
        if let Err(gone) = check_alive(&run) {
            return gone;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    error
}

/// The host of this name, or of a process of this name; the only one when none is said.
fn find_host(run: &Run, name: Option<&str>) -> anyhow::Result<HostName> {
    let known = hosts(run);
    let Some(name) = name else {
        let [only] = &known[..] else {
            let text = format!("which host of run {}?", run.id);
            return Err(Trouble::new(Reason::UnknownHost, text).saw(listed(&known)).into());
        };
        return Ok(only.clone());
    };
    let host = name.split('/').next().unwrap_or(name);
    let found = known.into_iter().find(|known| known.as_str() == host);
    found.ok_or_else(|| unknown_host(run, "host", name).into())
}

/// Says that a run stopped as asked, and opens a shell there if there is a terminal.
pub(crate) async fn at_stop(dir: &RunDir, host: Option<&HostName>, step: &str) {
    let output = Output::new(crate::args::When::Auto);
    let Some(host) = host else { return };
    let id = dir.path().file_name().unwrap_or_default().to_string_lossy();
    let id = id.rsplit('-').next().unwrap_or_default().to_owned();
    output.err(format!("stopped before: {step}"));
    if !std::io::stdin().is_terminal() {
        output.err("there is no terminal to open a shell on; with --keep always the testbed stays");
        return;
    }
    output.err(format!(
        "a shell on {host}; exit ends the run · another host meanwhile: netsplit enter {id} HOST"
    ));
    if let Err(error) = enter(dir.path(), host, &[]).await {
        output.error(&error);
    }
}

/// Runs a command in a host, on this terminal if there is one. Returns what `enter` exits with.
async fn enter(dir: &Path, host: &HostName, command: &[String]) -> anyhow::Result<u8> {
    let gone = |error: std::io::Error| {
        Trouble::new(Reason::NoSuchRun, format!("the testbed does not answer: {error}"))
    };
    let bed: Arc<dyn Bed> = namespace::attach(dir).map_err(gone)?;
    let transport = bed.connect(host).await?;
    let link = Link::dial(
        Config { name: "enter".into(), ..Config::default() },
        SessionId(session()),
        None,
        transport,
    );
    link.connected().await?;
    let terminal = Terminal::take();
    let cwd = std::env::current_dir().unwrap_or_default();
    let mut environment = Settings::load(&cwd, &[]).map(|settings| settings.pass).unwrap_or_default();
    for (name, value) in RunDir::new(dir).read_environment(host) {
        match value {
            Some(value) => drop(environment.insert(name, value)),
            None => drop(environment.remove(&name)),
        }
    }
    let channel = start(&link, host, command, environment, terminal.as_ref()).await?;
    let outcome = carry(channel, terminal.is_some()).await?;
    drop(terminal);
    match &outcome {
        Outcome::CouldNotStart(reason) => {
            Output::new(crate::args::When::Auto).err(format!("error: {}", reason.text))
        }
        Outcome::AgentLost { reason } => Output::new(crate::args::When::Auto).err(format!("error: {reason}")),
        _ => {}
    }
    Ok(outcome.exit_code())
}

/// Unique enough among the clients of one agent.
fn session() -> [u8; 16] {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&std::process::id().to_le_bytes());
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    id[4..12].copy_from_slice(&nanos.to_le_bytes()[..8]);
    id
}

async fn start(
    link: &Link,
    host: &HostName,
    command: &[String],
    mut environment: BTreeMap<String, String>,
    terminal: Option<&Terminal>,
) -> anyhow::Result<Channel> {
    let argv = if command.is_empty() {
        ["/bin/sh", "-c", SHELL].map(str::to_owned).to_vec()
    } else {
        command.to_vec()
    };
    environment.insert("NETSPLIT_HOST".into(), host.to_string());
    environment.insert("PS1".into(), "\\h:\\w\\$ ".into());
    environment.extend(netsplit::settings::terminal_kind().map(|kind| ("TERM".into(), kind)));
    let mut env = String::new();
    environment.iter().for_each(|(name, value)| add_variable(&mut env, name, value));
    let start = Start {
        process: format!("enter-{}.{host}", std::process::id()),
        argv,
        env,
        cwd: "/root".into(),
        stdin: true,
        pty: terminal.map(|_| size()),
        grace_ms: GRACE_MS,
        ..Start::default()
    };
    Ok(link.request(&Request::from(Body::Start(start))).await?)
}

fn size() -> Pty {
    match tcgetwinsize(rustix::stdio::stdin()) {
        Ok(size) if size.ws_col > 0 => Pty { rows: size.ws_row.into(), columns: size.ws_col.into() },
        _ => Pty { rows: 24, columns: 80 },
    }
}

/// Carries both ways until the command has ended and all it wrote has come.
async fn carry(channel: Channel, is_terminal: bool) -> anyhow::Result<Outcome> {
    let Channel { sender, mut receiver } = channel;
    let (keys, _until_dropped) = keys()?;
    // They end with this, however it ends.
    let mut beside = tokio::task::JoinSet::new();
    beside.spawn(feed(keys, sender.clone()));
    beside.spawn(async move {
        let Ok(mut resized) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())
        else {
            return;
        };
        while is_terminal && resized.recv().await.is_some() {
            let resize = ProcessCommand::from(Command::Resize(size()));
            if sender.send_message(&resize).await.is_err() {
                return;
            }
        }
    });
    let (mut stdout, mut stderr) = (tokio::io::stdout(), tokio::io::stderr());
    let outcome = loop {
        match receiver.receive().await {
            Received::Data(tag::STDERR, bytes) => {
                stderr.write_all(&bytes).await?;
                stderr.flush().await?;
            }
            Received::Data(_, bytes) => {
                stdout.write_all(&bytes).await?;
                stdout.flush().await?;
            }
            Received::Message(message) => {
                if let Some(Happened::Ended(ended)) = ProcessEvent::decode(message)?.event {
                    break outcome(&ended);
                }
            }
            Received::Lost(error) => {
                break Outcome::AgentLost { reason: format!("the host went away: {error}") };
            }
            Received::Finished | Received::Reset => {
                break Outcome::AgentLost { reason: "the agent gave it up".into() };
            }
        }
    };
    Ok(outcome)
}

/// What comes on standard input, until the second is dropped.
///
/// Nothing is read before it is there: a read that waits could not be ended, and would take what is typed afterwards.
fn keys() -> std::io::Result<(mpsc::Receiver<Bytes>, OwnedFd)> {
    let (sender, keys) = mpsc::channel(1);
    let (dropped, held) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let read = move || {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let stdin = rustix::stdio::stdin();
            let mut both = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(&dropped, PollFlags::IN)];
            match poll(&mut both, None) {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) if !both[1].revents().is_empty() => return,
                Ok(_) => {}
            }
            let Ok(count @ 1..) = rustix::io::read(stdin, &mut buffer[..]) else { return };
            if sender.blocking_send(Bytes::copy_from_slice(&buffer[..count])).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("keys".into()).spawn(read)?;
    Ok((keys, held))
}

async fn feed(mut keys: mpsc::Receiver<Bytes>, sender: netsplit_link::Sender) {
    while let Some(bytes) = keys.recv().await {
        if sender.send(tag::STDIN, bytes).await.is_err() {
            return;
        }
    }
    let _gone = sender.send_message(&ProcessCommand::from(Command::StdinEnd(true))).await;
}

fn outcome(ended: &Ended) -> Outcome {
    match ended.how() {
        How::Exited => Outcome::Exited { code: ended.number },
        How::Signalled => Outcome::Signalled { signal: ended.number, core: ended.core },
        How::TimedOut => Outcome::TimedOut { after_ms: 0 },
        _ => Outcome::CouldNotStart(netsplit_model::NotStarted {
            kind: netsplit_model::NotStartedKind::Other,
            text: ended.text.clone(),
        }),
    }
}

/// This terminal, whose keys go to the host as they are; given back when this goes.
struct Terminal(Termios);

impl Terminal {
    /// `None` when standard input or output is none.
    fn take() -> Option<Self> {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        let before = tcgetattr(rustix::stdio::stdin()).ok().filter(|_| is_terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _gone = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.0);
    }
}
