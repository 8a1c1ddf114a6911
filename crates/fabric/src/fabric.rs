//! The handle: asks the fabric's thread, and waits for what it says.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use netsplit_netmodel::router::RouterSpec;
use netsplit_netmodel::{Behaviour, Count, Counters};
use rustix::event::{EventfdFlags, eventfd};
use rustix::pipe::{PipeFlags, pipe_with};
use thiserror::Error;

use crate::capture::writer;
use crate::engine::{Answer, Command, Engine, wake};
use crate::segment::Segment;
use crate::{BoxReport, CaptureReport, CaptureSpec, Lateness, Port, PortKind, Scheduling, Strays};

/// A running network. Dropping it ends it; so does [`stop`](Self::stop), which tells what happened.
#[derive(Debug)]
pub struct Fabric {
    commands: SyncSender<Command>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// At end of file once the thread has gone.
    ended: OwnedFd,
    /// Those who write the captures that run.
    writers: Mutex<BTreeMap<u64, CaptureEnd>>,
}

/// A capture that ends: its file is complete as soon as this can be read from (it is at end of file then).
#[derive(Debug)]
pub struct CaptureEnd {
    thread: JoinHandle<CaptureReport>,
    /// The thread that writes has the other end.
    ended: OwnedFd,
}

impl CaptureEnd {
    /// Whether the file is complete.
    pub fn is_complete(&self) -> bool {
        self.thread.is_finished()
    }

    /// What the capture came to. Waits until its file is complete.
    ///
    /// # Panics
    /// When the thread that writes the file did.
    pub fn report(self) -> CaptureReport {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl AsFd for CaptureEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

/// How much may wait in all links together; what comes beyond it is dropped and counted as [`Strays::overflow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a directed link is to do from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The sender's port.
    pub from: String,
    /// The receiver's port.
    pub to: String,
    /// All of what it does; [`Behaviour::default`] does nothing.
    pub behaviour: Behaviour,
}

/// What is in force and what has happened, all of one instant.
#[derive(Clone, Debug)]
pub struct Report {
    /// Every link that was used or changed, by the order in which its ports came.
    pub links: Vec<LinkReport>,
    /// Every port, in the order in which they came.
    pub ports: Vec<PortReport>,
    /// Every box, in the order in which their ports came.
    pub boxes: Vec<BoxReport>,
    /// What no link counts.
    pub strays: Strays,
    /// What waits now, in all links.
    pub held: Count,
    /// How late the fabric was.
    pub lateness: Lateness,
    /// Which turn its thread gets now.
    pub scheduling: Scheduling,
}

/// A directed link.
#[derive(Clone, Debug)]
pub struct LinkReport {
    /// The sender's port.
    pub from: String,
    /// The receiver's port.
    pub to: String,
    /// What it does.
    pub behaviour: Behaviour,
    /// What happened to its packets. Bytes are those of packets, without Ethernet headers.
    pub counters: Counters,
}

/// A port.
#[derive(Clone, Debug)]
pub struct PortReport {
    /// Its name.
    pub name: String,
    /// The network that it is on, or was.
    pub network: String,
    /// How it reaches its host. `None` when it is detached, or its TAP device was deleted.
    pub kind: Option<PortKind>,
    /// Frames that its host sent. A super-frame is one.
    pub received: Count,
    /// Frames that its host was given.
    pub sent: Count,
    /// Frames that its host's kernel did not take: the device is down or gone, or its buffers are full.
    pub refused: Count,
}

/// Why the fabric did not do what it was asked.
#[derive(Debug, Error)]
pub enum FabricError {
    /// The machine lacks something.
    #[error("the fabric cannot start: {step} failed")]
    Start {
        /// What failed.
        step: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// No port has ever had this name.
    #[error("there is no port `{name}`\ntry: one of {known}")]
    UnknownPort {
        /// The name.
        name: String,
        /// Those there are.
        known: String,
    },
    /// A port has no link to itself.
    #[error("`{name}` has no link to itself\nfix: name two ports")]
    Loop {
        /// The port.
        name: String,
    },
    /// Ports on two networks have no link between them.
    #[error(
        "there is no link between `{from}` and `{to}`: they are on two networks, `{}` and `{}`\nfix: name two ports of one network",
        networks[0], networks[1]
    )]
    Apart {
        /// The sender's port.
        from: String,
        /// The receiver's port.
        to: String,
        /// The network of each.
        networks: [String; 2],
    },
    /// A box cannot be as it was asked for.
    #[error("box `{name}` cannot be: {mistake}")]
    BadBox {
        /// The box.
        name: String,
        /// What is wrong with it.
        mistake: String,
    },
    /// A port did not do as it was told.
    #[error("port `{name}`: {step} failed\ntry: attach it again")]
    Port {
        /// The port.
        name: String,
        /// What failed.
        step: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The machine has no threads or descriptors left.
    #[error("the capture cannot start: making a thread or a pipe failed")]
    Capture(#[source] io::Error),
    /// No capture that runs has this number.
    #[error("there is no capture {id}\nfix: end each capture once")]
    UnknownCapture {
        /// The number.
        id: u64,
    },
    /// The thread is gone.
    #[error("the fabric has ended\ntry: look above for a panic of thread `fabric`")]
    Ended,
}

/// Commands that may wait; who asks waits for the answer, so these are askers at once.
const COMMANDS_MAX: usize = 16;

impl Default for Limits {
    /// A quarter of a gigabyte, in packets of a kilobyte.
    fn default() -> Self {
        Self { packets: 1 << 18, bytes: 1 << 28 }
    }
}

impl Fabric {
    /// Starts a network without ports. All chance in it comes from `seed` and the names of ports.
    ///
    /// # Errors
    /// The machine has no descriptors or threads left.
    pub fn start(seed: u64, limits: Limits) -> Result<Self, FabricError> {
        let failed = |step| move |error| FabricError::Start { step, error };
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        let event = eventfd(0, flags).map_err(io::Error::from).map_err(failed("making an eventfd"))?;
        let wake = Arc::new(event);
        let (commands, receiver) = sync_channel(COMMANDS_MAX);
        let (ready, is_ready) = sync_channel(1);
        let theirs = Arc::clone(&wake);
        let (ended, not_ended) =
            pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).map_err(failed("making a pipe"))?;
        let run = move || {
            // Closed when this ends, by a panic, too.
            let _not_ended = not_ended;
            let engine = Engine::new(Segment::new(seed, limits), receiver, theirs)?;
            // Whoever started it waits for this.
            let _waits = ready.send(());
            engine.run()
        };
        let thread = std::thread::Builder::new()
            .name("fabric".to_owned())
            .spawn(run)
            .map_err(failed("starting a thread"))?;
        match is_ready.recv() {
            Ok(()) => Ok(Self { commands, wake, thread: Some(thread), ended, writers: Mutex::default() }),
            Err(_ended) => {
                let error = thread.join().map_or_else(
                    |_panic| io::ErrorKind::Other.into(),
                    |end| end.err().unwrap_or_else(|| io::ErrorKind::Other.into()),
                );
                Err(FabricError::Start { step: "making epoll and a timer", error })
            }
        }
    }

    /// Can be read from (it is at end of file) once the network has ended by itself, which is a mistake in here.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// Why it has ended by itself. Waits until it has.
    pub fn why_ended(&mut self) -> String {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(panic)) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                format!("panic: {}", text.unwrap_or("without words"))
            }
            Some(Ok(Ok(()))) | None => "it was told to".to_owned(),
        }
    }

    /// Joins a port. One of the same name leaves for it, as when a host comes up again, with a side of a box the box; its
    /// links stay what they are.
    ///
    /// # Errors
    /// [`FabricError::Port`], [`FabricError::Ended`].
    pub fn attach(&self, port: Port) -> Result<(), FabricError> {
        self.ask(|answer| Command::Attach(port, answer))?
    }

    /// Has a box stand between two networks from now on: a router, which may translate addresses or filter. One of the same
    /// name leaves for it with all mappings, as when a router is started again; its links stay what they are.
    ///
    /// # Errors
    /// [`FabricError::BadBox`], [`FabricError::Ended`].
    pub fn add_box(&self, spec: RouterSpec) -> Result<(), FabricError> {
        self.ask(|answer| Command::AddBox(spec, answer))?
    }

    /// Takes a port away; with a side of a box, the box. What is under way to it is lost; its links stay what they are. Until
    /// then an attached TAP device keeps its namespace, even when no process of it is left.
    ///
    /// # Errors
    /// [`FabricError::UnknownPort`], [`FabricError::Ended`].
    pub fn detach(&self, name: &str) -> Result<(), FabricError> {
        self.ask(|answer| Command::Detach(name.to_owned(), answer))?
    }

    /// Makes links do something else, all at one instant between two packets. When this returns it is so. Of two changes
    /// of one link the later counts.
    ///
    /// # Errors
    /// An unknown name, a loop or ports that are apart: nothing was changed. [`FabricError::Port`]: all was changed, but a
    /// sender may go on to send super-frames, which are then segmented here.
    pub fn set(&self, changes: Vec<Change>) -> Result<(), FabricError> {
        self.ask(|answer| Command::Set(changes, answer))?
    }

    /// Reads back what links do, in the order in which they are named: a sender's and a receiver's port each.
    ///
    /// # Errors
    /// An unknown name, a loop or ports that are apart; [`FabricError::Ended`].
    pub fn behaviours(&self, links: Vec<[String; 2]>) -> Result<Vec<Behaviour>, FabricError> {
        self.ask(|answer| Command::Behaviours(links, answer))?
    }

    /// Reads back what is in force, and the counters.
    ///
    /// # Errors
    /// [`FabricError::Ended`].
    pub fn report(&self) -> Result<Report, FabricError> {
        self.ask(Command::Report)
    }

    /// Writes packets to a file from now on, until [`end_capture`](Self::end_capture) of the number that this gives, or until
    /// the network ends. The network does not wait for the file: what comes quicker than it is written is counted, there and
    /// in the report. What is older than a tenth of a second is in the file even when this process is killed.
    ///
    /// # Errors
    /// An unknown name, a loop or ports that are apart; [`FabricError::Capture`], [`FabricError::Ended`].
    pub fn capture(&self, spec: CaptureSpec) -> Result<u64, FabricError> {
        let CaptureSpec { file, ports, snap_bytes } = spec;
        let (queue, inlet) = writer::queue(writer::QUEUE_BYTES_MAX);
        // Made here: a thread of the network's thread would have its turn before all others.
        let (ended, not_ended) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| FabricError::Capture(error.into()))?;
        let run = move || {
            let _not_ended = not_ended;
            writer::run(file, snap_bytes, &inlet)
        };
        let thread = std::thread::Builder::new()
            .name("capture".to_owned())
            .spawn(run)
            .map_err(FabricError::Capture)?;
        let id = self.ask(|answer| Command::Capture(ports, queue, answer))??;
        self.writers().insert(id, CaptureEnd { thread, ended });
        Ok(id)
    }

    /// Ends a capture. When this returns its file is complete: a slow one is waited for.
    ///
    /// # Errors
    /// [`FabricError::UnknownCapture`].
    ///
    /// # Panics
    /// When the thread that writes the file did.
    pub fn end_capture(&self, id: u64) -> Result<CaptureReport, FabricError> {
        self.begin_end_of_capture(id).map(CaptureEnd::report)
    }

    /// Ends a capture, and does not wait until its file is complete: a pipe that nobody reads never is.
    ///
    /// # Errors
    /// [`FabricError::UnknownCapture`].
    pub fn begin_end_of_capture(&self, id: u64) -> Result<CaptureEnd, FabricError> {
        let end = self.writers().remove(&id).ok_or(FabricError::UnknownCapture { id })?;
        // A network that has ended has ended its captures.
        let _ended = self.ask(|answer| Command::EndCapture(id, answer));
        Ok(end)
    }

    fn writers(&self) -> MutexGuard<'_, BTreeMap<u64, CaptureEnd>> {
        // What is locked is never left half done.
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the network, and tells what happened in it. What was under way is lost. Captures end with it, and their files
    /// are complete.
    ///
    /// # Errors
    /// [`FabricError::Ended`].
    pub fn stop(self) -> Result<Report, FabricError> {
        self.ask(Command::Stop)
    }

    fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, FabricError> {
        let (answer, answered) = sync_channel(1);
        self.commands.send(command(answer)).map_err(|_ended| FabricError::Ended)?;
        wake(&self.wake);
        answered.recv().map_err(|_ended| FabricError::Ended)
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        // It may have ended already; a panic of it was shown when it happened.
        let _ended = self.ask(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
        for writer in std::mem::take(&mut *self.writers()).into_values() {
            let _panicked = writer.thread.join();
        }
    }
}

impl Report {
    /// The link from one port to another, if it was used or changed.
    pub fn link(&self, from: &str, to: &str) -> Option<&LinkReport> {
        self.links.iter().find(|link| link.from == from && link.to == to)
    }

    /// The box of this name.
    pub fn the_box(&self, name: &str) -> Option<&BoxReport> {
        self.boxes.iter().find(|the_box| the_box.name == name)
    }

    /// The port of this name.
    pub fn port(&self, name: &str) -> Option<&PortReport> {
        self.ports.iter().find(|port| port.name == name)
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    #[test]
    fn whoever_looks_sees_that_it_has_ended() {
        let mut fabric = Fabric::start(1, Limits::default()).unwrap();
        let has_ended = |fabric: &Fabric, within_ms: i64| {
            let within = Timespec { tv_sec: 0, tv_nsec: within_ms * 1_000_000 };
            poll(&mut [PollFd::new(&fabric.ended(), PollFlags::IN)], Some(&within)).unwrap() == 1
        };
        assert!(!has_ended(&fabric, 0));
        fabric.ask(Command::Stop).unwrap();
        assert!(has_ended(&fabric, 900));
        assert_eq!(fabric.why_ended(), "it was told to");
        assert!(matches!(fabric.report(), Err(FabricError::Ended)));
    }
}
