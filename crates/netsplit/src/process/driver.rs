//! What follows one process on the engine: its output into the evidence, its end to whoever waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use netsplit_link::{Received, Receiver};
use netsplit_model::{Event, NotStarted, NotStartedKind, Outcome, ProcessName, Stream};
use netsplit_wire::message::{Ended, Happened, How, ProcessEvent, tag};
use prost::Message;
use tokio::sync::watch;

use super::Progress;
use crate::core::Core;
use crate::ends::End;

/// What an agent may take longer than a process's own deadline to end it, beside the grace.
const AGENT_MAX: Duration = Duration::from_secs(10);

/// One process as the engine follows it.
pub(super) struct Driver {
    pub(super) core: Weak<Core>,
    pub(super) name: ProcessName,
    pub(super) receiver: Receiver,
    pub(super) progress: watch::Sender<Progress>,
    /// Whether somebody waits until it runs; else only its end wakes whoever waits.
    pub(super) tells_start: bool,
    /// What the command may take; the agent ends it then.
    pub(super) deadline: Option<Duration>,
    /// Between TERM and KILL.
    pub(super) grace: Duration,
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) noticed: Arc<AtomicBool>,
    /// Bytes of standard input that the host has passed on.
    pub(super) taken: watch::Sender<u64>,
}

impl Driver {
    /// Follows the process to the last byte of its streams.
    pub(super) async fn run(mut self) {
        // After this the agent itself counts as stuck.
        let limit = self.deadline.map(|deadline| deadline + self.grace + AGENT_MAX);
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
        if let Some(core) = self.core.upgrade() {
            core.recorder.close(&self.name);
        }
        self.receiver.release_later();
    }

    /// `None`: the run is over.
    async fn until_ended(&mut self) -> Option<Outcome> {
        loop {
            match self.receive().await {
                Some(Ok(Happened::Started(_))) => {
                    self.progress.send_if_modified(|progress| {
                        *progress = Progress::Running;
                        self.tells_start
                    });
                }
                // `receive` keeps these to itself.
                Some(Ok(Happened::Taken(_))) => {}
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
                    if let Some(Happened::Taken(count)) = event {
                        self.taken.send_modify(|taken| *taken += count);
                        continue;
                    }
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
        core.ended(&self.name);
        let (process, written) = (self.name.clone(), outcome.clone());
        core.recorder.process_ended(&self.name, |stdout, stderr| Event::ProcessEnded {
            process,
            outcome: written,
            stdout,
            stderr,
        });
        let (process, noticed) = (self.name.clone(), Arc::clone(&self.noticed));
        core.ends.add(End { process, outcome: outcome.clone(), at: core.recorder.now(), noticed });
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
