//! Commands on the machine that runs the test: builds before it, oracles after it. Their output is evidence as well.
//!
//! A command ends with all its group when nobody waits for it any more. What the kernel does for hosts it does not
//! do here: when the runner is killed, a guard beside it ends the group.

use std::io;
use std::path::{self, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use netsplit_model::{Event, HostName, NotStarted, NotStartedKind, Outcome, ProcessName, Stream};
use netsplit_provider::{Guard, Guarded};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::engine::run_while_awaited;
use crate::error::Result;
use crate::recorder::Recorder;

/// Bytes read at a time.
const READ_MAX: usize = 64 << 10;
/// How long what a command left behind may hold its output after it has ended.
const STREAMS_MAX: Duration = Duration::from_secs(1);

/// A command to run here.
#[derive(Clone, Debug)]
pub struct HereSpec {
    /// How it is called.
    pub name: String,
    /// The words; the first is looked up in this process's PATH, or in `base` when it has a slash.
    pub argv: Vec<String>,
    /// Variables beside those of this process; `None` takes one away.
    pub env: Vec<(String, Option<String>)>,
    /// Where the user's own files lie.
    pub base: PathBuf,
    /// Where it runs.
    pub cwd: PathBuf,
    /// What it reads.
    pub stdin: Option<Bytes>,
    /// When it is ended with all its group.
    pub within: Duration,
}

/// A command that ran here.
#[derive(Clone, Debug)]
pub struct HereOutput {
    /// Its name.
    pub process: ProcessName,
    /// How it ended.
    pub outcome: Outcome,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

pub(crate) async fn run(
    engine: &Handle,
    recorder: &Recorder,
    guard: Guard,
    number: u32,
    spec: HereSpec,
) -> Result<HereOutput> {
    let recorder = recorder.clone();
    run_while_awaited(engine, async move {
        let process = ProcessName::new(HostName::here(), &spec.name, number);
        recorder.event(Event::ProcessStarted {
            process: process.clone(),
            argv: spec.argv.clone(),
            pty: false,
        });
        let mut ending = Ending { recorder: &recorder, process: &process, outcome: Outcome::Cancelled };
        let outcome = match start(&spec, &guard) {
            Ok(child) => follow(child, &recorder, &process, &spec).await,
            Err(error) => not_started(&spec, &error),
        };
        ending.outcome = outcome.clone();
        drop(ending);
        recorder.close(&process);
        let dir = recorder.dir();
        // A stream without output has no file.
        let read = |stream| std::fs::read(dir.stream(&process, stream)).unwrap_or_default();
        let (stdout, stderr) = (read(Stream::Stdout), read(Stream::Stderr));
        HereOutput { process, outcome, stdout, stderr }
    })
    .await
}

/// Writes how a command ended, also when nobody waits for it any more.
struct Ending<'a> {
    recorder: &'a Recorder,
    process: &'a ProcessName,
    outcome: Outcome,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let (process, outcome) = (self.process.clone(), self.outcome.clone());
        self.recorder.process_ended(self.process, |stdout, stderr| Event::ProcessEnded {
            process,
            outcome,
            stdout,
            stderr,
        });
    }
}

/// A child that leads a group, which ends with it when nobody waits for it any more.
struct Leader {
    child: Child,
    _guarded: Option<Guarded>,
}

impl Leader {
    fn new(child: Child, guard: &Guard) -> Self {
        let guarded = group_of(&child).map(|group| guard.guard(group));
        Self { child, _guarded: guarded }
    }

    /// Kills the group, unless its leader was reaped: its number may be another's by then.
    fn kill_group(&self) {
        if let Some(group) = group_of(&self.child) {
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}

fn group_of(leader: &Child) -> Option<Pid> {
    leader.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.kill_group();
    }
}

fn start(spec: &HereSpec, guard: &Guard) -> io::Result<Leader> {
    let first = spec.argv.first().ok_or_else(|| io::Error::other("the command is empty"))?;
    // The child looks for a relative program from its own folder, and an empty path is no folder.
    let cwd = path::absolute(std::env::current_dir()?.join(&spec.cwd))?;
    let program =
        if first.contains('/') { path::absolute(spec.base.join(first))? } else { PathBuf::from(first) };
    let mut command = Command::new(program);
    command
        .args(&spec.argv[1..])
        .current_dir(&cwd)
        .stdin(if spec.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for (name, value) in &spec.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Ok(Leader::new(command.spawn()?, guard))
}

fn not_started(spec: &HereSpec, error: &io::Error) -> Outcome {
    let name = spec.argv.first().map_or("", String::as_str);
    let kind = match error.kind() {
        io::ErrorKind::NotFound if name.contains('/') => NotStartedKind::NoSuchFile,
        io::ErrorKind::NotFound => NotStartedKind::NoSuchProgram,
        io::ErrorKind::PermissionDenied => NotStartedKind::NotExecutable,
        _ => NotStartedKind::Other,
    };
    Outcome::CouldNotStart(NotStarted { kind, text: format!("`{name}` here: {error}") })
}

async fn follow(mut leader: Leader, recorder: &Recorder, process: &ProcessName, spec: &HereSpec) -> Outcome {
    let child = &mut leader.child;
    if let (Some(mut stdin), Some(bytes)) = (child.stdin.take(), spec.stdin.clone()) {
        tokio::spawn(async move {
            // It may not read all of it.
            let _closed = stdin.write_all(&bytes).await;
        });
    }
    let streams = (child.stdout.take(), child.stderr.take());
    let output = async {
        tokio::join!(
            keep(streams.0, recorder, process, Stream::Stdout),
            keep(streams.1, recorder, process, Stream::Stderr),
        )
    };
    tokio::pin!(output);
    let mut is_read = false;
    let ended = async {
        loop {
            tokio::select! {
                status = child.wait() => return status,
                _ = &mut output, if !is_read => is_read = true,
            }
        }
    };
    let outcome = match tokio::time::timeout(spec.within, ended).await {
        Ok(Ok(status)) => outcome(status),
        Ok(Err(error)) => not_started(spec, &error),
        Err(_) => Outcome::TimedOut { after_ms: u64::try_from(spec.within.as_millis()).unwrap_or(u64::MAX) },
    };
    if let Outcome::TimedOut { .. } = outcome {
        leader.kill_group();
        let _reaped = leader.child.wait().await;
    }
    if !is_read {
        let _whoever_holds_them = tokio::time::timeout(STREAMS_MAX, output).await;
    }
    outcome
}

fn outcome(status: std::process::ExitStatus) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    match status.signal() {
        Some(signal) => Outcome::Signalled { signal, core: status.core_dumped() },
        None => Outcome::Exited { code: status.code().unwrap_or(-1) },
    }
}

async fn keep(
    stream: Option<impl AsyncRead + Unpin>,
    recorder: &Recorder,
    process: &ProcessName,
    which: Stream,
) {
    let Some(mut stream) = stream else { return };
    let mut bytes = Vec::with_capacity(READ_MAX);
    while let Ok(1..) = stream.read_buf(&mut bytes).await {
        recorder.output(process, which, &bytes);
        bytes.clear();
    }
}
