//! The simulated world as data: virtual time, threads and who has the turn, processes, descriptors, hosts. No I/O, no clock,
//! no thread of its own: whoever gives up the turn lets time pass here ([`Kernel::pick`]). How a turn is handed over, and what
//! libc functions make of all this, is not here.

mod agenda;
mod buffer;
mod clock;
mod epoll;
mod file;
mod host;
mod io;
mod poll;
mod process;
mod sched;
mod signals;
mod socket;
mod storage;
mod timer;
mod unix;

use std::collections::HashMap;

pub use self::process::Exit;
use self::{agenda::Agenda, buffer::Buffer, file::File, host::Host, process::Process, sched::Thread};
pub(crate) use self::{
    clock::Clock,
    epoll::Interest,
    file::{Caller, Device, FileId, Kind, Timing},
    host::{HostId, HostPlan},
    poll::PollEntry,
    process::{CONTROL, Descriptor, FD_BASE, Pid, Plan},
    sched::{On, SPIN, ThreadId, Wait, Waiter, Waiting},
    signals::{Action, Mask, bit},
    storage::{Opening, Range, Whence},
    timer::Setting,
    unix::Place,
};
use crate::errno::Errno;
use crate::net::{self, Delays, Net, Outbox, SocketId};
use crate::random::Random;
use crate::slab::Slab;

/// Virtual time since the begin, in nanoseconds.
pub(crate) type Nanos = u64;
/// A second.
pub(crate) const SECOND: Nanos = 1_000_000_000;
/// The wall clock of hosts at the begin: 2026-01-01 00:00:00 UTC, in nanoseconds since 1970.
pub(crate) const EPOCH: Nanos = 1_767_225_600 * SECOND;
/// How long hosts have been up at the begin: programs subtract from the monotonic clock.
pub(crate) const UPTIME: Nanos = 864_000 * SECOND;

/// Packets and timers that may be to come within a second: a system whose packets breed packets would use up the machine's
/// memory and patience in next to no virtual time.
const SOON_MAX: usize = 1 << 20;

/// Why a system call is not done.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It has failed.
    Fail(Errno),
    /// It is tried again when this is over.
    Wait(Wait),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Fail(errno)
    }
}

/// What a system call that may wait gives.
pub(crate) type Call<T> = Result<T, Stop>;

/// What a simulation is told before it begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) seed: u64,
    /// When it is stopped, if it has not ended by then.
    pub(crate) limit: Nanos,
    /// How many processors a host says it has.
    pub(crate) cpus: usize,
    /// Whether each process has statics of its own.
    pub(crate) has_own_statics: bool,
}

/// What happens at an instant.
#[derive(Debug)]
enum Event {
    /// A thread that waits may have waited long enough.
    Timeout(ThreadId, u64),
    /// The network's.
    Net(net::Event),
    /// A timer descriptor rings, if it is still the same setting.
    Timer(FileId, u64),
    /// A process's alarm goes off, if it is still the same setting.
    Alarm(Pid, u64),
}

/// Why a simulation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The control process ended.
    Ended(Exit),
    /// Nothing can ever happen again.
    Deadlock,
    /// Virtual time has reached its limit.
    Limit,
    /// More comes within a second than [`SOON_MAX`].
    Flood,
}

/// The world.
pub(crate) struct Kernel {
    pub(crate) rules: Rules,
    pub(crate) now: Nanos,
    agenda: Agenda<Event>,
    /// Whose turn it is, among several that could run.
    turns: Random,
    /// How often who wakes another gives its turn away: of half of all seeds never.
    yield_share: f64,
    yield_draws: Random,
    noise: Random,
    runnable: Vec<ThreadId>,
    threads: Vec<Thread>,
    processes: Vec<Process>,
    hosts: Vec<Host>,
    /// Each host's, apart: they are read all the time, and little else of a host is.
    clocks: Vec<Clock>,
    /// How many hosts are paused and processes stopped.
    frozen: usize,
    /// Whether a signal has ever been left for a thread to do.
    has_signals: bool,
    files: Slab<File>,
    buffers: Slab<Buffer>,
    unix: unix::Names,
    /// Queues by address, for futexes and what is like them. Never iterated: addresses differ from run to run.
    addresses:
        HashMap<usize, std::collections::VecDeque<Waiter>, std::hash::BuildHasherDefault<AddressHasher>>,
    pub(crate) net: Net,
    outbox: Outbox,
    /// The file of each socket, by its number.
    socket_files: Vec<Option<FileId>>,
    pub(crate) trace: Trace,
    pub(crate) counts: Counts,
    over: Option<Over>,
}

/// How much has happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// What happened at its instant: packets, timers.
    pub(crate) events: u64,
    /// Turns given.
    pub(crate) turns: u64,
    /// System calls that were not of the simulated front end, and caught.
    pub(crate) traps: u64,
}

/// A hash of everything that happened, in order. Two runs of one seed have the same.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Trace(pub(crate) u64);

impl Trace {
    #[inline]
    pub(crate) fn mix(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }
}

/// Addresses are as good as random above their alignment.
#[derive(Clone, Copy, Default)]
struct AddressHasher(u64);

impl std::hash::Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, value: usize) {
        let mixed = (self.0 ^ value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Kernel {
    pub(crate) fn new(rules: Rules) -> Self {
        let mut yield_draws = Random::new(rules.seed, "yields");
        let yield_share = if yield_draws.happens(0.5) { 0.0 } else { yield_draws.unit() / 2.0 };
        Self {
            rules,
            yield_share,
            yield_draws,
            now: 0,
            agenda: Agenda::default(),
            turns: Random::new(rules.seed, "turns"),
            noise: Random::new(rules.seed, "noise of clocks"),
            runnable: Vec::new(),
            threads: Vec::new(),
            processes: Vec::new(),
            hosts: Vec::new(),
            clocks: Vec::new(),
            frozen: 0,
            has_signals: false,
            files: Slab::default(),
            buffers: Slab::default(),
            unix: unix::Names::default(),
            addresses: HashMap::default(),
            net: Net::new(rules.seed, Delays::default()),
            outbox: Outbox::default(),
            socket_files: Vec::new(),
            trace: Trace::default(),
            counts: Counts::default(),
            over: None,
        }
    }

    /// A number below `end` that nothing depends on but who asks: the noise of a clock.
    pub(crate) fn noise(&mut self, end: u64) -> u64 {
        self.noise.below(end)
    }

    /// Why it is over, if it is.
    pub(crate) fn over(&self) -> Option<&Over> {
        self.over.as_ref()
    }

    /// Ends the simulation: nobody gets a turn any more.
    pub(crate) fn finish(&mut self, over: Over) {
        self.over.get_or_insert(over);
    }

    /// Lets time pass until somebody can run, and takes the next turn; `None`: it is over.
    pub(crate) fn pick(&mut self) -> Option<ThreadId> {
        loop {
            if self.over.is_some() {
                return None;
            }
            if let Some(thread) = self.next_turn() {
                return Some(thread);
            }
            match self.agenda.pop() {
                Some((at, _)) if at > self.rules.limit => self.finish(Over::Limit),
                Some(_) if self.agenda.has(SOON_MAX, self.now + SECOND) => self.finish(Over::Flood),
                Some((at, event)) => self.happen(at, event),
                None => self.finish(Over::Deadlock),
            }
        }
    }

    fn happen(&mut self, at: Nanos, event: Event) {
        match event {
            Event::Timeout(thread, number) => self.timeout(at, thread, number),
            Event::Net(event) => {
                self.pass(at);
                let print = self.net.handle(at, &mut self.outbox, event);
                self.trace.mix(print);
                self.settle();
            }
            Event::Timer(file, setting) => self.ring(at, file, setting),
            Event::Alarm(process, setting) => self.go_off(at, process, setting),
        }
    }

    /// It is `at` now, because something happens.
    fn pass(&mut self, at: Nanos) {
        self.now = self.now.max(at);
        self.counts.events += 1;
        self.trace.mix(self.now);
    }

    /// Carries out what the network left in its outbox.
    pub(crate) fn settle(&mut self) {
        if self.outbox.timers.is_empty() && self.outbox.ready.is_empty() {
            return;
        }
        let Outbox { mut timers, mut ready } = std::mem::take(&mut self.outbox);
        for (at, event) in timers.drain(..) {
            self.agenda.push(at, Event::Net(event));
        }
        for (socket, bits) in ready.drain(..) {
            if let Some(file) = self.socket_file(socket) {
                self.notify(file, bits);
            }
        }
        // Their room is used again.
        self.outbox = Outbox { timers, ready };
    }

    fn socket_file(&self, socket: SocketId) -> Option<FileId> {
        self.socket_files.get(socket.index()).copied().flatten()
    }
}
