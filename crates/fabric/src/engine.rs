//! The fabric's thread: waits for frames, instants and commands, and has the [`Segment`] decide.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use netsplit_netmodel::nat::Side;
use netsplit_netmodel::router::RouterSpec;
use netsplit_netmodel::{Behaviour, Count};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::capture::writer::Queue;
use crate::capture::{CaptureFilter, Captures, Sight, View};
use crate::fabric::{Change, FabricError, LinkReport, PortReport, Report};
use crate::frame::{FRAME_MAX, PAYLOAD};
use crate::segment::{Outlet, Segment};
use crate::{Port, PortKind, Scheduling, schedule};

/// What the thread is asked to do. Each is answered once it is done.
#[derive(Debug)]
pub(crate) enum Command {
    Attach(Port, Answer<Result<(), FabricError>>),
    AddBox(RouterSpec, Answer<Result<(), FabricError>>),
    Detach(String, Answer<Result<(), FabricError>>),
    Set(Vec<Change>, Answer<Result<(), FabricError>>),
    Capture(CaptureFilter, Queue, Answer<Result<u64, FabricError>>),
    EndCapture(u64, Answer<()>),
    Behaviours(Vec<[String; 2]>, Answer<Result<Vec<Behaviour>, FabricError>>),
    Report(Answer<Report>),
    Stop(Answer<Report>),
}

pub(crate) type Answer<T> = SyncSender<T>;

/// Frames read of one port before the others have their turn.
const BATCH_FRAMES: usize = 64;
/// How much earlier than due the timer rings: a thread that sleeps wakes up so late, which was half of a delay's error.
const WAKE_UP: Duration = Duration::from_micros(40);
/// Ports that one wait may report.
const EVENTS_MAX: usize = 64;
/// What epoll says besides numbers of ports.
const TIMER: u64 = u64::MAX;
const COMMANDS: u64 = u64::MAX - 1;

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Engine {
    begun: Instant,
    segment: Segment,
    ports: Ports,
    commands: Receiver<Command>,
    wake: Arc<OwnedFd>,
    epoll: OwnedFd,
    timer: OwnedFd,
    /// What the timer is set to.
    timer_at: Option<Duration>,
    scratch: Vec<u8>,
    takes_time: bool,
    scheduling: Scheduling,
}

/// Ports by number, what passed them, and who watches it.
#[derive(Debug)]
struct Ports {
    slots: Vec<Slot>,
    captures: Captures,
}

#[derive(Debug, Default)]
struct Slot {
    port: Option<Port>,
    received: Count,
    sent: Count,
    refused: Count,
}

impl Engine {
    /// To be made where it runs: the thread's turn is this thread's.
    pub(crate) fn new(segment: Segment, commands: Receiver<Command>, wake: Arc<OwnedFd>) -> io::Result<Self> {
        let (takes_time, scheduling) = (false, schedule::hasten(false));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        epoll::add(&epoll, &wake, EventData::new_u64(COMMANDS), EventFlags::IN)?;
        let scratch = vec![0; FRAME_MAX];
        let begun = Instant::now();
        let ports = Ports { slots: Vec::new(), captures: Captures::new(SystemTime::now()) };
        Ok(Self {
            begun,
            segment,
            ports,
            commands,
            wake,
            epoll,
            timer,
            timer_at: None,
            scratch,
            takes_time,
            scheduling,
        })
    }

    /// Runs until it is told to stop, or nobody is left who could tell.
    ///
    /// # Errors
    /// When epoll fails, which has no cause but a mistake in here.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            self.deliver();
            self.await_soon();
            self.set_timer()?;
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    // The next `deliver` does what it rang for; read, it falls silent.
                    TIMER => {
                        let _rang = rustix::io::read(&self.timer, &mut [0; 8]);
                        self.timer_at = None;
                    }
                    COMMANDS => {
                        if !self.obey() {
                            return Ok(());
                        }
                    }
                    port => self.receive(usize::try_from(port).map_err(io::Error::other)?),
                }
            }
        }
    }

    fn deliver(&mut self) {
        while self.segment.step(self.begun.elapsed(), &mut self.ports) {}
    }

    /// Stays awake for what is due within the time that it takes to wake up, once before each wait.
    fn await_soon(&mut self) {
        let Some(at) = self.segment.deadline() else { return };
        if at.saturating_sub(self.begun.elapsed()) > WAKE_UP {
            return;
        }
        while self.begun.elapsed() < at {
            std::hint::spin_loop();
        }
        self.deliver();
    }

    fn set_timer(&mut self) -> io::Result<()> {
        let deadline = self.segment.deadline();
        if deadline.is_none() || deadline == self.timer_at {
            return Ok(());
        }
        let wait = deadline.unwrap_or_default().saturating_sub(self.begun.elapsed() + WAKE_UP);
        // Zero would stop the timer.
        let wait = Timespec::try_from(wait.max(Duration::from_nanos(1))).map_err(io::Error::other)?;
        let once = Itimerspec { it_interval: Timespec::default(), it_value: wait };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.timer_at = deadline;
        Ok(())
    }

    fn receive(&mut self, number: usize) {
        for _frame in 0..BATCH_FRAMES {
            let slot = &mut self.ports.slots[number];
            let Some(port) = &slot.port else { return };
            let length = match port.receive(&mut self.scratch) {
                Ok(length) => length,
                Err(error) => return self.on_read_error(number, &error),
            };
            let frame = &mut self.scratch[..length];
            count(&mut slot.received, frame);
            self.segment.receive(self.begun.elapsed(), number, frame, &mut self.ports);
        }
        self.deliver();
    }

    /// A device that is down comes up again; one that is gone, with its namespace, does not.
    fn on_read_error(&mut self, number: usize, error: &io::Error) {
        let errno = error.raw_os_error();
        let is_passing = [libc::EAGAIN, libc::EINTR, libc::ENETDOWN, libc::EINVAL].map(Some).contains(&errno);
        if !is_passing {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: usize) {
        self.segment.leave(number);
        if let Some(port) = self.ports.slots[number].port.take() {
            // Closing it does so, too, unless somebody else has it open.
            let _gone_already = epoll::delete(&self.epoll, &port);
        }
    }

    /// Does what was asked. `false`: stop.
    fn obey(&mut self) -> bool {
        let _woken = rustix::io::read(&self.wake, &mut [0; 8]);
        // Who asked may have given up: nobody is left to tell.
        loop {
            match self.commands.try_recv() {
                Ok(Command::Attach(port, answer)) => drop(answer.send(self.attach(port))),
                Ok(Command::AddBox(spec, answer)) => drop(answer.send(self.add_box(&spec))),
                Ok(Command::Detach(name, answer)) => drop(answer.send(self.detach(&name))),
                Ok(Command::Set(changes, answer)) => drop(answer.send(self.set(&changes))),
                Ok(Command::Capture(filter, queue, answer)) => {
                    drop(answer.send(self.capture(&filter, queue)))
                }
                Ok(Command::EndCapture(id, answer)) => {
                    self.ports.captures.end(id);
                    let _nobody_asks = answer.send(());
                }
                Ok(Command::Behaviours(links, answer)) => drop(answer.send(self.behaviours(&links))),
                Ok(Command::Report(answer)) => drop(answer.send(self.report())),
                Ok(Command::Stop(answer)) => {
                    drop(answer.send(self.report()));
                    return false;
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn attach(&mut self, port: Port) -> Result<(), FabricError> {
        let name = port.name().to_owned();
        if let Some(number) = self.segment.number(&name) {
            self.remove(number);
        }
        let number = self.segment.join(&name, port.network(), port.mac());
        if self.ports.slots.len() <= number {
            self.ports.slots.resize_with(number + 1, Slot::default);
        }
        let watched = epoll::add(&self.epoll, &port, EventData::new_u64(number as u64), EventFlags::IN);
        if let Err(error) = watched {
            self.segment.leave(number);
            return Err(FabricError::Port { name, step: "watching it", error: error.into() });
        }
        self.ports.slots[number].port = Some(port);
        self.switch_offload(number)
    }

    fn add_box(&mut self, spec: &RouterSpec) -> Result<(), FabricError> {
        let wrong = |mistake| FabricError::BadBox { name: spec.name.clone(), mistake };
        self.segment.join_box(spec).map_err(wrong)?;
        // A host's ports of these names have left.
        for name in Side::ALL.map(|side| spec.port_name(side)) {
            let number = self.find(&name)?;
            if let Some(port) = self.ports.slots.get_mut(number).and_then(|slot| slot.port.take()) {
                let _gone_already = epoll::delete(&self.epoll, &port);
            }
        }
        self.ports.slots.resize_with(self.segment.names().len(), Slot::default);
        Ok(())
    }

    fn detach(&mut self, name: &str) -> Result<(), FabricError> {
        let number = self.find(name)?;
        self.remove(number);
        Ok(())
    }

    /// All of it or, when a name is wrong, nothing.
    fn set(&mut self, changes: &[Change]) -> Result<(), FabricError> {
        let mut found = Vec::with_capacity(changes.len());
        for Change { from, to, behaviour } in changes {
            found.push((self.find_pair(from, to)?, *behaviour));
        }
        let now = self.begun.elapsed();
        for (pair, behaviour) in &found {
            self.segment.change(now, *pair, *behaviour, &mut self.ports);
        }
        let takes_time = self.segment.takes_time();
        if self.takes_time != takes_time {
            (self.takes_time, self.scheduling) = (takes_time, schedule::hasten(takes_time));
        }
        let mut senders: Vec<usize> = found.iter().map(|([from, _], _)| *from).collect();
        senders.dedup();
        senders.into_iter().try_for_each(|from| self.switch_offload(from))
    }

    fn switch_offload(&mut self, number: usize) -> Result<(), FabricError> {
        let pass = self.segment.passes_super_frames(number);
        let Some(port) = &mut self.ports.slots[number].port else { return Ok(()) };
        port.pass_super_frames(pass).map_err(|error| FabricError::Port {
            name: port.name().to_owned(),
            step: "switching its offload",
            error,
        })
    }

    fn find(&self, name: &str) -> Result<usize, FabricError> {
        self.segment.number(name).ok_or_else(|| FabricError::UnknownPort {
            name: name.to_owned(),
            known: self.segment.names().join(", "),
        })
    }

    fn find_pair(&self, from: &str, to: &str) -> Result<[usize; 2], FabricError> {
        let pair = [self.find(from)?, self.find(to)?];
        if pair[0] == pair[1] {
            return Err(FabricError::Loop { name: from.to_owned() });
        }
        let networks = pair.map(|number| self.segment.network(number));
        if networks[0] != networks[1] {
            return Err(FabricError::Apart {
                from: from.to_owned(),
                to: to.to_owned(),
                networks: networks.map(str::to_owned),
            });
        }
        Ok(pair)
    }

    fn capture(&mut self, filter: &CaptureFilter, queue: Queue) -> Result<u64, FabricError> {
        let view = match filter {
            CaptureFilter::All => View::All,
            CaptureFilter::Ports(names) => {
                View::Ports(names.iter().map(|name| self.find(name)).collect::<Result<_, _>>()?)
            }
            CaptureFilter::Links { links, both_ways } => {
                let pairs = links.iter().map(|[from, to]| self.find_pair(from, to));
                View::Links { pairs: pairs.collect::<Result<_, _>>()?, both_ways: *both_ways }
            }
        };
        Ok(self.ports.captures.begin(view, queue, self.segment.names()))
    }

    fn behaviours(&self, links: &[[String; 2]]) -> Result<Vec<Behaviour>, FabricError> {
        let behaviour = |[from, to]: &[String; 2]| Ok(self.segment.behaviour(self.find_pair(from, to)?));
        links.iter().map(behaviour).collect()
    }

    fn report(&self) -> Report {
        let link = |(from, to, behaviour, counters): (&str, &str, &Behaviour, &_)| LinkReport {
            from: from.to_owned(),
            to: to.to_owned(),
            behaviour: *behaviour,
            counters: *counters,
        };
        let port = |(number, slot): (usize, &Slot)| {
            let box_counts = self.segment.box_counts(number);
            let [received, sent] = box_counts.unwrap_or([slot.received, slot.sent]);
            let kind = slot.port.as_ref().map(Port::kind);
            PortReport {
                name: self.segment.names()[number].clone(),
                network: self.segment.network(number).to_owned(),
                kind: kind.or_else(|| box_counts.map(|_| PortKind::Box)),
                received,
                sent,
                refused: slot.refused,
            }
        };
        // There may be ten thousand, each of half a kilobyte: not to be moved while they become more.
        let mut links = Vec::with_capacity(self.segment.links().count());
        links.extend(self.segment.links().map(link));
        Report {
            links,
            ports: self.ports.slots.iter().enumerate().map(port).collect(),
            boxes: self.segment.boxes().collect(),
            strays: self.segment.strays(),
            held: self.segment.held(),
            lateness: self.segment.lateness().clone(),
            scheduling: self.scheduling,
        }
    }
}

impl Outlet for Ports {
    fn send(&mut self, port: usize, frame: &[u8]) -> bool {
        let slot = &mut self.slots[port];
        let is_taken = slot.port.as_ref().is_some_and(|port| port.send(frame).is_ok());
        count(if is_taken { &mut slot.sent } else { &mut slot.refused }, frame);
        is_taken
    }

    fn is_watched(&self) -> bool {
        !self.captures.is_empty()
    }

    fn see(&mut self, sight: &Sight<'_>, frame: &[u8]) {
        self.captures.see(sight, frame);
    }
}

fn count(count: &mut Count, frame: &[u8]) {
    count.packets += 1;
    count.bytes += frame.len().saturating_sub(PAYLOAD) as u64;
}

/// Wakes the thread for its commands.
pub(crate) fn wake(wake: &impl AsFd) {
    // It fails when the counter is full, and then the thread is awake.
    let _awake = rustix::io::write(wake, &1u64.to_ne_bytes());
}
