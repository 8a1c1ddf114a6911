//! What follows one process on the engine: its output into the evidence, its end to whoever waits.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use netsplit_link::{Received, Receiver, Sender};
use netsplit_model::{Event, NotStarted, NotStartedKind, Outcome, ProcessName, Stream};
use netsplit_wire::message::{Command, Ended, Happened, How, ProcessCommand, ProcessEvent, tag};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

use super::Progress;
use crate::command::Input;
use crate::core::Core;

/// Bytes of an input read at a time.
const READ_MAX: usize = 64 << 10;
/// What an agent may take longer than a process's own deadline to end it, beside the grace.
const AGENT_MAX: Duration = Duration::from_secs(10);

/// One process as the engine follows it.
pub(super) struct Driver {
    pub(super) core: Weak<Core>,
    pub(super) name: ProcessName,
    pub(super) receiver: Receiver,
    pub(super) progress: watch::Sender<Progress>,
    /// After this the agent itself counts as stuck.
    pub(super) deadline: Option<Duration>,
    pub(super) cancelled: Arc<AtomicBool>,
}

impl Driver {
    /// Follows the process to the last byte of its streams.
    pub(super) async fn run(mut self) {
        let limit = self.deadline.map(|deadline| deadline + AGENT_MAX);
        let end = self.until_ended();
        let outcome = match limit {
            None => end.await,
            Some(limit) => match tokio::time::timeout(limit, end).await {
                Ok(outcome) => outcome,
                Err(_) => Some(Outcome::TimedOut { after_ms: millis(self.deadline.unwrap_or(limit)) }),
            },
        };
        let Some(outcome) = outcome else { return };
        self.ended(outcome);
        // Children may hold its streams: what they write is still evidence.
        while self.receive().await.is_some() {}
    }

    /// `None`: the run is over.
    async fn until_ended(&mut self) -> Option<Outcome> {
        loop {
            match self.receive().await {
                Some(Ok(Happened::Started(_))) => {
                    self.progress.send_replace(Progress::Running);
                }
                Some(Ok(Happened::Ended(ended))) => return Some(outcome(&ended, self.deadline)),
                Some(Err(why)) => {
                    let core = self.core.upgrade()?;
                    // The host's state may only now be on its way to say why.
                    let reason = wait_for_reason(&core, &self.name, &why).await;
                    return Some(Outcome::AgentLost { reason });
                }
                None => return Some(Outcome::AgentLost { reason: "its agent gave it up".into() }),
            }
        }
    }

    /// The next event; output goes into the evidence. `None`: nothing more comes. An error: the link is over.
    async fn receive(&mut self) -> Option<Result<Happened, String>> {
        loop {
            match self.receiver.receive().await {
                Received::Data(tag::STDOUT, bytes) => self.output(Stream::Stdout, &bytes)?,
                Received::Data(tag::STDERR, bytes) => self.output(Stream::Stderr, &bytes)?,
                Received::Data(..) => {}
                Received::Message(message) => {
                    let event = ProcessEvent::decode(message).ok().and_then(|event| event.event);
                    return event.map(Ok);
                }
                Received::Finished | Received::Reset => return None,
                Received::Lost(why) => {
                    if matches!(&*self.progress.borrow(), Progress::Ended(_)) {
                        return None;
                    }
                    return Some(Err(why.to_string()));
                }
            }
        }
    }

    fn output(&self, stream: Stream, bytes: &Bytes) -> Option<()> {
        self.core.upgrade()?.recorder.output(&self.name, stream, bytes);
        Some(())
    }

    fn ended(&self, outcome: Outcome) {
        let is_ours = self.cancelled.load(Ordering::Relaxed) && matches!(outcome, Outcome::Signalled { .. });
        let outcome = if is_ours { Outcome::Cancelled } else { outcome };
        let Some(core) = self.core.upgrade() else { return };
        let (process, written) = (self.name.clone(), outcome.clone());
        core.recorder.process_ended(&self.name, |stdout, stderr| Event::ProcessEnded {
            process,
            outcome: written,
            stdout,
            stderr,
        });
        self.progress.send_replace(Progress::Ended(outcome));
    }
}

/// Lets the news of a host's end arrive, which travels on another socket than the process's own.
async fn wait_for_reason(core: &Arc<Core>, process: &ProcessName, otherwise: &str) -> String {
    let mut changes = core.power_changes(process.host());
    let is_known = || {
        core.with_host(process.host(), |host| {
            matches!(host.power, crate::core::Power::Killed | crate::core::Power::Lost(_))
        })
    };
    if !is_known() {
        let _late = tokio::time::timeout(Duration::from_millis(500), changes.changed()).await;
    }
    core.why_lost(process.host(), otherwise)
}

fn outcome(ended: &Ended, deadline: Option<Duration>) -> Outcome {
    let not = |kind| Outcome::CouldNotStart(NotStarted { kind, text: ended.text.clone() });
    match ended.how() {
        How::Exited => Outcome::Exited { code: ended.number },
        How::Signalled => Outcome::Signalled { signal: ended.number, core: ended.core },
        How::NoSuchProgram => not(NotStartedKind::NoSuchProgram),
        How::NoSuchFile => not(NotStartedKind::NoSuchFile),
        How::NotExecutable => not(NotStartedKind::NotExecutable),
        How::NotStarted => not(NotStartedKind::Other),
        How::TimedOut => Outcome::TimedOut { after_ms: deadline.map_or(0, millis) },
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Feeds a standard input to its end; stops when the process is gone.
pub(super) async fn feed(input: Input, sender: Sender) {
    let done = match input {
        Input::None | Input::Open => return,
        Input::Bytes(bytes) => sender.send(tag::STDIN, bytes).await.is_ok(),
        Input::Stream(stream) => carry(stream, &sender).await,
        Input::File(path) => carry_file(path, &sender).await,
    };
    if done {
        let end = ProcessCommand::from(Command::StdinEnd(true));
        let _gone = sender.send_message(&end).await;
    }
}

async fn carry(mut stream: impl AsyncRead + Unpin, sender: &Sender) -> bool {
    loop {
        let mut bytes = Vec::with_capacity(READ_MAX);
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return true,
            Ok(_) if sender.send(tag::STDIN, bytes.into()).await.is_err() => return false,
            Ok(_) => {}
        }
    }
}

async fn carry_file(path: PathBuf, sender: &Sender) -> bool {
    use std::io::Read;
    let Ok(mut file) = std::fs::File::open(path) else { return true };
    loop {
        let mut bytes = Vec::with_capacity(READ_MAX);
        match (&mut file).take(READ_MAX as u64).read_to_end(&mut bytes) {
            Ok(0) | Err(_) => return true,
            Ok(_) if sender.send(tag::STDIN, bytes.into()).await.is_err() => return false,
            Ok(_) => {}
        }
    }
}
