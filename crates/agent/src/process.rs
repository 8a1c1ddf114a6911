//! One process from its start to the last byte of its streams.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use netsplit_link::{Channel, Priority, Received, Receiver, Sender};
use netsplit_wire::message::{Command, Ended, Happened, How, ProcessCommand, ProcessEvent, Start, tag};
use prost::Message;
use rustix::process::Signal;
use tokio::net::unix::pipe;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::agent::Session;
use crate::streams::{carry, reader, resize, write_in, writer};
use crate::system::{Child, Exit, Streams, Tree};

/// A process that has no deadline.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// How often a grace period looks whether it is over.
const GRACE_LOOK: Duration = Duration::from_millis(10);
/// What is kept of a standard input that its process does not read. Clients keep to less; only one that does not is made
/// to wait, with all that it says to the process.
const STDIN_KEPT_MAX: usize = 4 << 20;
/// What a piece of it counts beside its bytes.
const PIECE_COST: usize = 32;
/// What ends a file at a terminal, where a line begins. Within a line it only hands the line over.
const END_OF_TRANSMISSION: u8 = 4;

/// Serves one process until all its streams have ended and nobody can end what it left.
pub(crate) async fn serve(session: Session, start: Start, channel: Channel) {
    let Channel { sender, receiver } = channel;
    sender.set_priority(Priority::Output);
    let agent = &session.agent;
    let child = match agent.system.spawn(&agent.settings.host, &start) {
        Ok(child) => child,
        Err(ended) => {
            tell(&sender, Happened::Ended(ended)).await;
            return sender.finish();
        }
    };
    let started = Happened::Started(child.pid.as_raw_nonzero().get().unsigned_abs());
    if start.until_end {
        let _gone = sender.send_message_later(&ProcessEvent::from(started)).await;
    } else {
        tell(&sender, started).await;
    }
    let Ok(process) = Running::new(&session, start, child, &sender) else {
        return; // the channel is given up: no descriptor could be registered, the host is out of memory
    };
    process.run(receiver, sender).await;
}

async fn tell(sender: &Sender, event: Happened) {
    // A client that has gone is noticed on the receiving side.
    let _gone = sender.send_message(&ProcessEvent::from(event)).await;
}

struct Running {
    session: Session,
    tree: Tree,
    /// Whether the client has ordered its end, or its deadline has.
    is_ended: bool,
    grace: Duration,
    deadline: Instant,
    exit: oneshot::Receiver<Exit>,
    exited: watch::Sender<bool>,
    /// Ends when every stream has been drained.
    drained: oneshot::Receiver<()>,
    output: JoinHandle<()>,
    stdin: Option<Stdin>,
    sender: Sender,
    terminal: Option<OwnedFd>,
    /// Why it was ended, if it was.
    because: Option<How>,
}

impl Running {
    fn new(session: &Session, start: Start, child: Child, sender: &Sender) -> std::io::Result<Self> {
        let (exited, watch) = watch::channel(false);
        let (drain, drained) = oneshot::channel();
        let (mut terminal, mut stdin) = (None, None);
        let (stdout, stderr) = match child.streams {
            Streams::Pipes { stdin: input, stdout, stderr } => {
                stdin = input.map(writer).transpose()?.map(|fd| feed(fd, false, sender.clone()));
                (reader(stdout)?, Some(reader(stderr)?))
            }
            Streams::Terminal { master } => {
                let stdout = reader(master.try_clone()?)?;
                if start.stdin {
                    stdin = Some(feed(writer(master.try_clone()?)?, true, sender.clone()));
                }
                terminal = Some(master);
                (stdout, None)
            }
        };
        let agent = Arc::clone(&session.agent);
        // Who closes its streams has most often ended.
        let ended = move || agent.system.look();
        let output = tokio::spawn(carry(stdout, stderr, sender.clone(), watch, Arc::new(drain), ended));
        let deadline = if start.deadline_ms == 0 { FAR } else { Duration::from_millis(start.deadline_ms) };
        Ok(Self {
            session: session.clone(),
            tree: Tree { leader: child.pid, mark: start.process, is_leaderless: false },
            is_ended: false,
            grace: Duration::from_millis(start.grace_ms),
            deadline: Instant::now() + deadline,
            exit: child.exit,
            exited,
            drained,
            output,
            stdin,
            sender: sender.clone(),
            terminal,
            because: None,
        })
    }

    async fn run(mut self, mut receiver: Receiver, sender: Sender) {
        if self.until_closed(&mut receiver).await.is_none() {
            // The client gave it up: nobody wants to hear how it ends.
            return self.end(true).await;
        }
        self.terminal = None;
        sender.finish();
        if !self.is_ended {
            self.until_ended(&mut receiver).await;
        }
    }

    /// Obeys the client until no stream is open; `None` when it has gone.
    async fn until_closed(&mut self, receiver: &mut Receiver) -> Option<()> {
        let exit = self.until_exit(receiver).await?;
        self.tree.is_leaderless = true;
        self.exited.send_replace(true);
        self.stdin = None;
        self.until_drained(receiver).await?;
        tell(&self.sender, Happened::Ended(self.outcome(exit))).await;
        self.until_silent(receiver).await
    }

    /// Obeys the client until the process has exited; `None` when the client has gone.
    async fn until_exit(&mut self, receiver: &mut Receiver) -> Option<Exit> {
        loop {
            tokio::select! {
                biased;
                exit = &mut self.exit => return exit.ok(),
                () = tokio::time::sleep_until(self.deadline), if self.because.is_none() => {
                    self.because = Some(How::TimedOut);
                    self.end(false).await;
                }
                received = receiver.receive() => self.obey(received).await?,
            }
        }
    }

    /// Every stream has sent what was written before the exit, or the client takes nothing more.
    async fn until_drained(&mut self, receiver: &mut Receiver) -> Option<()> {
        loop {
            tokio::select! {
                _all_dropped = &mut self.drained => return Some(()),
                received = receiver.receive() => self.obey(received).await?,
            }
        }
    }

    /// Its children may still hold its streams. What they write is carried on; the client can still end them.
    async fn until_silent(&mut self, receiver: &mut Receiver) -> Option<()> {
        loop {
            tokio::select! {
                // A task that panicked has closed its streams as well.
                _panicked = &mut self.output => return Some(()),
                received = receiver.receive() => self.obey(received).await?,
            }
        }
    }

    /// What it left behind without its streams goes on; the client can end it for as long as it holds the process, which
    /// costs it a channel too. Then the channel is given up: that is the answer.
    async fn until_ended(&mut self, receiver: &mut Receiver) {
        while !self.is_ended {
            match receiver.receive().await {
                Received::Message(message) => {
                    let said = ProcessCommand::decode(message).ok().and_then(|said| said.command);
                    if let Some(Command::End(at_once)) = said {
                        self.end(at_once).await;
                    }
                }
                Received::Data(..) => {}
                Received::Finished | Received::Reset | Received::Lost(_) => return,
            }
        }
    }

    /// `None`: the client gave the process up.
    async fn obey(&mut self, received: Received) -> Option<()> {
        match received {
            Received::Data(tag::STDIN, bytes) => {
                let count = bytes.len() as u64;
                let is_kept = match &self.stdin {
                    Some(stdin) => stdin.push(bytes).await,
                    None => false,
                };
                if !is_kept {
                    tell(&self.sender, Happened::Taken(count)).await;
                }
            }
            Received::Message(message) => self.command(ProcessCommand::decode(message).ok()?.command?).await,
            Received::Data(..) => return None,
            Received::Finished => {}
            Received::Lost(_) if self.session.kept.load(std::sync::atomic::Ordering::Relaxed) => {
                std::future::pending::<()>().await;
            }
            Received::Reset | Received::Lost(_) => return None,
        }
        Some(())
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Signal(number) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    self.session.agent.system.signal_group(self.tree.leader, signal);
                }
            }
            Command::End(at_once) => self.end(at_once).await,
            Command::Resize(size) => {
                if let Some(terminal) = &self.terminal {
                    let _closed = resize(terminal, size);
                }
            }
            Command::StdinEnd(_) => self.stdin = None,
        }
    }

    /// Ends the process with all its children: TERM, grace, KILL; or KILL at once.
    async fn end(&mut self, at_once: bool) {
        self.is_ended = true;
        let system = &self.session.agent.system;
        if !at_once {
            system.signal(&self.tree, Signal::TERM);
            let over = Instant::now() + self.grace;
            while Instant::now() < over && !system.is_empty(&self.tree) {
                tokio::time::sleep(GRACE_LOOK).await;
            }
        }
        system.kill(&self.tree);
    }

    fn outcome(&self, exit: Exit) -> Ended {
        let (how, number, core) = match exit {
            Exit::Code(code) => (How::Exited, code, false),
            Exit::Signal { number, core } => (How::Signalled, number, core),
        };
        Ended { how: self.because.unwrap_or(how).into(), number, core, text: String::new() }
    }
}

/// The way into a standard input. Dropping it closes the input, once all was written.
struct Stdin {
    queue: mpsc::Sender<Bytes>,
    room: Arc<Semaphore>,
}

impl Stdin {
    /// Queues bytes. `false`: nobody reads them any more.
    async fn push(&self, bytes: Bytes) -> bool {
        let Ok(room) = self.room.acquire_many(cost(&bytes)).await else { return false };
        // Given back when they are written.
        room.forget();
        self.queue.send(bytes).await.is_ok()
    }
}

fn cost(bytes: &Bytes) -> u32 {
    u32::try_from((bytes.len() + PIECE_COST).min(STDIN_KEPT_MAX)).unwrap_or(u32::MAX)
}

/// Starts what writes to a standard input, and tells the client how much it has written.
fn feed(mut fd: pipe::Sender, is_terminal: bool, sender: Sender) -> Stdin {
    // As many pieces as there is room for: `room` is what makes a client wait.
    let (queue, mut queued) = mpsc::channel::<Bytes>(STDIN_KEPT_MAX / PIECE_COST);
    let room = Arc::new(Semaphore::new(STDIN_KEPT_MAX));
    let given_back = Arc::clone(&room);
    tokio::spawn(async move {
        let mut last = b'\n';
        while let Some(bytes) = queued.recv().await {
            let (count, cost) = (bytes.len() as u64, cost(&bytes));
            last = bytes.last().copied().unwrap_or(last);
            let written = write_in(&mut fd, bytes).await;
            given_back.add_permits(cost as usize);
            tell(&sender, Happened::Taken(count)).await;
            if written.is_err() {
                return given_back.close();
            }
        }
        if is_terminal {
            let is_within_line = !matches!(last, b'\n' | END_OF_TRANSMISSION);
            let times = if is_within_line { 2 } else { 1 };
            let _closed = write_in(&mut fd, vec![END_OF_TRANSMISSION; times].into()).await;
        }
    });
    Stdin { queue, room }
}
