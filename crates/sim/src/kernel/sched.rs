//! Threads: who can run, who waits for what and until when, and whose turn is next.

use super::file::{Caller, FileId};
use super::signals::{Mask, ThreadSignals};
use super::{Event, HostId, Kernel, Nanos, process::Pid};

/// A simulated thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ThreadId(pub(crate) u32);

/// One wait of one thread; stale once that wait is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    thread: ThreadId,
    wait: u64,
}

/// What a thread waits for.
#[derive(Clone, Debug)]
pub(crate) enum On {
    /// Something about an open file.
    File(FileId),
    /// Something about any of these.
    Files(Vec<FileId>),
    /// A wake-up at an address.
    Address(usize),
    /// The end of a thread.
    Thread(ThreadId),
    /// Only time.
    Time,
    /// The answer of the host's disk; no signal interrupts it.
    Disk,
}

/// A wait of the calling thread.
#[derive(Clone, Debug)]
pub(crate) struct Wait {
    pub(crate) on: On,
    pub(crate) until: Option<Nanos>,
    /// The function that waits, for reports.
    pub(crate) what: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runnable,
    Running,
    Waiting,
    Dead,
}

#[derive(Debug)]
pub(super) struct Thread {
    pub(super) process: Pid,
    host: HostId,
    state: State,
    /// Counts waits, so that what is stale wakes nobody.
    wait: u64,
    what: &'static str,
    on: On,
    until: Option<Nanos>,
    /// When its earliest entry in the agenda rings, and that entry's number. There is at most one that counts.
    alarm: Option<Nanos>,
    alarms: u64,
    was_woken: bool,
    pub(super) signals: ThreadSignals,
    /// How often it has read the clock since it last waited.
    pub(super) clock_reads: u32,
    joiners: Vec<Waiter>,
}

/// After so many reads of the clock without a wait each further one takes [`SPIN`]: a loop that waits for time to pass.
const SPINS_MAX: u32 = 1000;
/// The time that such a read takes, and a turn given up to nobody.
pub(crate) const SPIN: Nanos = 1000;

impl Kernel {
    /// A new thread of a process, which holds back these signals; it can run at once.
    pub(crate) fn add_thread(&mut self, process: Pid, held_back: Mask) -> ThreadId {
        let id = ThreadId(u32::try_from(self.threads.len()).expect("fewer than 2^32 threads"));
        let host = self.process(process).host;
        self.threads.push(Thread {
            process,
            host,
            state: State::Waiting,
            wait: 0,
            what: "its start",
            on: On::Time,
            until: None,
            alarm: None,
            alarms: 0,
            was_woken: false,
            signals: ThreadSignals::new(held_back),
            clock_reads: 0,
            joiners: Vec::new(),
        });
        self.process_mut(process).threads.push(id);
        self.make_runnable(id);
        id
    }

    #[inline]
    pub(super) fn thread(&self, id: ThreadId) -> &Thread {
        &self.threads[id.0 as usize]
    }

    #[inline]
    pub(super) fn thread_mut(&mut self, id: ThreadId) -> &mut Thread {
        &mut self.threads[id.0 as usize]
    }

    /// Who calls.
    #[inline]
    pub(crate) fn caller(&self, thread: ThreadId) -> Caller {
        let Thread { process, host, .. } = *self.thread(thread);
        Caller { thread, process, host }
    }

    /// Whose thread it is.
    #[inline]
    pub(crate) fn process_of(&self, thread: ThreadId) -> Pid {
        self.thread(thread).process
    }

    /// Whether its last wait ended because what it waited for happened, rather than by its deadline.
    pub(crate) fn was_woken(&self, thread: ThreadId) -> bool {
        self.thread(thread).was_woken
    }

    /// Lets a thread wait. It gets no turn before something wakes it.
    pub(crate) fn wait(&mut self, id: ThreadId, wait: Wait) {
        // Time passes even in a wait for what is due already: loops wait until time is beyond what they want, not at it.
        let soonest = self.now + SPIN;
        let wait =
            Wait { until: wait.until.map(|until| if until <= self.now { soonest } else { until }), ..wait };
        let thread = self.thread_mut(id);
        thread.wait += 1;
        thread.state = State::Waiting;
        thread.was_woken = false;
        thread.clock_reads = 0;
        (thread.what, thread.until) = (wait.what, wait.until);
        let waiter = Waiter { thread: id, wait: thread.wait };
        if let Some(until) = wait.until
            && thread.alarm.is_none_or(|alarm| alarm > until)
        {
            thread.alarm = Some(until);
            thread.alarms += 1;
            let event = Event::Timeout(id, thread.alarms);
            self.agenda.push(until, event);
        }
        match &wait.on {
            On::File(file) => self.files[*file].waiters.push_back(waiter),
            On::Files(files) => {
                for file in files {
                    self.files[*file].waiters.push_back(waiter);
                }
            }
            On::Address(address) => self.addresses.entry(*address).or_default().push_back(waiter),
            On::Thread(thread) => self.thread_mut(*thread).joiners.push(waiter),
            On::Disk if wait.until.is_none() => {
                let host = self.thread(id).host;
                self.hosts[host.index()].disk_waiters.push(waiter);
            }
            On::Time | On::Disk => {}
        }
        self.thread_mut(id).on = wait.on;
    }

    /// Wakes a waiter, unless that wait is over.
    pub(super) fn wake(&mut self, waiter: Waiter) -> bool {
        let thread = self.thread_mut(waiter.thread);
        if thread.state != State::Waiting || thread.wait != waiter.wait {
            return false;
        }
        thread.was_woken = true;
        self.make_runnable(waiter.thread);
        true
    }

    /// Ends a thread's wait, whatever it is for but a disk's answer: it has a signal to do.
    pub(super) fn interrupt(&mut self, id: ThreadId) {
        let thread = self.thread_mut(id);
        if thread.state == State::Waiting && !matches!(thread.on, On::Disk) {
            thread.was_woken = true;
            self.make_runnable(id);
        }
    }

    fn make_runnable(&mut self, id: ThreadId) {
        let thread = self.thread_mut(id);
        thread.state = State::Runnable;
        let (process, host) = (thread.process, thread.host);
        if self.frozen > 0 {
            if let Some(stopped) = &mut self.process_mut(process).stopped {
                return stopped.push(id);
            }
            if let Some(frozen) = &mut self.hosts[host.index()].frozen {
                return frozen.push(id);
            }
        }
        self.runnable.push(id);
    }

    /// A deadline in the agenda. The thread may wait for something else by now, until later or for ever.
    pub(super) fn timeout(&mut self, at: Nanos, id: ThreadId, number: u64) {
        let thread = self.thread_mut(id);
        if thread.alarms != number || thread.state == State::Dead {
            return;
        }
        thread.alarm = None;
        if thread.state != State::Waiting {
            return;
        }
        match thread.until {
            Some(until) if until > at => {
                thread.alarm = Some(until);
                thread.alarms += 1;
                let event = Event::Timeout(id, thread.alarms);
                self.agenda.push(until, event);
            }
            Some(_) => {
                self.pass(at);
                self.make_runnable(id);
            }
            None => {}
        }
    }

    /// Wakes up to `count` of those that wait at an address; how many it were.
    pub(crate) fn wake_address(&mut self, address: usize, count: usize) -> usize {
        let Some(mut queue) = self.addresses.remove(&address) else { return 0 };
        let mut woken = 0;
        while woken < count {
            let Some(waiter) = queue.pop_front() else { break };
            woken += usize::from(self.wake(waiter));
        }
        if !queue.is_empty() {
            self.addresses.insert(address, queue);
        }
        woken
    }

    /// Moves up to `count` of those that wait at `from` over to `to`; how many it were.
    pub(crate) fn requeue_address(&mut self, from: usize, to: usize, count: usize) -> usize {
        let Some(mut queue) = self.addresses.remove(&from) else { return 0 };
        let mut moved = 0;
        while moved < count {
            let Some(waiter) = queue.pop_front() else { break };
            let thread = self.thread(waiter.thread);
            if thread.state == State::Waiting && thread.wait == waiter.wait {
                self.addresses.entry(to).or_default().push_back(waiter);
                moved += 1;
            }
        }
        if !queue.is_empty() {
            self.addresses.insert(from, queue);
        }
        moved
    }

    /// Lets the running thread go to the end of the queue. Alone it lets a moment pass, so that spinning ends.
    pub(crate) fn yield_turn(&mut self, id: ThreadId) {
        if self.runnable.is_empty() {
            let until = Some(self.now + SPIN);
            self.wait(id, Wait { on: On::Time, until, what: "sched_yield" });
        } else {
            self.make_runnable(id);
        }
    }

    /// Whether a thread that has just woken another gives its turn away: so seeds explore more orders than those in which
    /// everybody goes on until it must wait.
    pub(crate) fn yields(&mut self) -> bool {
        self.yield_share > 0.0 && self.yield_draws.happens(self.yield_share)
    }

    /// A thread has read the clock. Returns whether time has passed what is to happen first: it must not go on before that.
    pub(crate) fn clock_read(&mut self, id: ThreadId) -> bool {
        let thread = self.thread_mut(id);
        thread.clock_reads += 1;
        if thread.clock_reads <= SPINS_MAX {
            return false;
        }
        self.now += SPIN;
        self.agenda.is_due(self.now)
    }

    /// A thread has ended: whoever joins it goes on.
    pub(crate) fn end_thread(&mut self, id: ThreadId) {
        let thread = self.thread_mut(id);
        thread.state = State::Dead;
        let process = thread.process;
        for joiner in std::mem::take(&mut self.thread_mut(id).joiners) {
            self.wake(joiner);
        }
        self.process_mut(process).threads.retain(|thread| *thread != id);
    }

    /// The threads of an ended process never run again.
    pub(super) fn kill_threads(&mut self, threads: Vec<ThreadId>) {
        for id in &threads {
            self.thread_mut(*id).state = State::Dead;
        }
        self.runnable.retain(|id| !threads.contains(id));
        if self.frozen == 0 {
            return;
        }
        for host in &mut self.hosts {
            if let Some(frozen) = &mut host.frozen {
                frozen.retain(|id| !threads.contains(id));
            }
        }
    }

    /// Takes the next turn, by lot among all that can run.
    pub(super) fn next_turn(&mut self) -> Option<ThreadId> {
        let place = match self.runnable.len() {
            0 => return None,
            1 => 0,
            count => usize::try_from(self.turns.below(count as u64)).unwrap_or_default(),
        };
        let id = self.runnable.swap_remove(place);
        self.thread_mut(id).state = State::Running;
        self.counts.turns += 1;
        self.trace.mix(u64::from(id.0));
        Some(id)
    }

    /// No thread of the host gets a turn until it is [thawed](Self::thaw).
    pub(super) fn freeze(&mut self, host: HostId) {
        let Self { runnable, threads, hosts, .. } = self;
        let is_there = |id: &ThreadId| threads[id.0 as usize].host == host;
        let frozen = runnable.extract_if(.., |id| is_there(id)).collect();
        if hosts[host.index()].frozen.is_none() {
            hosts[host.index()].frozen = Some(frozen);
            self.frozen += 1;
        }
    }

    /// Lets the threads of the host go on.
    pub(super) fn thaw(&mut self, host: HostId) {
        if let Some(frozen) = self.hosts[host.index()].frozen.take() {
            self.frozen -= 1;
            self.runnable.extend(frozen);
        }
    }

    /// No thread of the process gets another turn until it [goes on](Self::go_on).
    pub(super) fn stop(&mut self, pid: Pid) {
        let Self { runnable, threads, processes, hosts, .. } = self;
        let is_its = |id: &ThreadId| threads[id.0 as usize].process == pid;
        let process = &mut processes[pid.index()];
        let ready = hosts[process.host.index()].frozen.as_mut().unwrap_or(runnable);
        let ready = ready.extract_if(.., |id| is_its(id)).collect();
        if process.stopped.is_none() {
            process.stopped = Some(ready);
            self.frozen += 1;
        }
    }

    /// Lets the threads of a stopped process go on.
    pub(super) fn go_on(&mut self, pid: Pid) {
        let Some(stopped) = self.process_mut(pid).stopped.take() else { return };
        self.frozen -= 1;
        for id in stopped {
            self.make_runnable(id);
        }
    }

    /// Everybody who waits: host, process, thread, and for what.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let waiting = self.threads.iter().enumerate().filter(|(_, thread)| thread.state == State::Waiting);
        let tell = |(index, thread): (usize, &Thread)| {
            let process = &self.processes[thread.process.index()];
            Waiting {
                thread: ThreadId(u32::try_from(index).unwrap_or(u32::MAX)),
                host: self.hosts[process.host.index()].name.clone(),
                process: process.name.clone(),
                what: match self.describe(&thread.on) {
                    Some(on) => format!("{}: {on}", thread.what),
                    None => thread.what.to_owned(),
                },
            }
        };
        waiting.map(tell).collect()
    }

    fn describe(&self, on: &On) -> Option<String> {
        match on {
            On::File(file) => self.files.get(*file).map(|_| self.describe_file(*file)),
            On::Files(files) => files.first().map(|file| self.describe_file(*file)),
            On::Thread(thread) => Some(format!("thread {}", thread.0)),
            On::Address(_) | On::Time | On::Disk => None,
        }
    }
}

/// A thread that waits, for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) thread: ThreadId,
    pub(crate) host: String,
    pub(crate) process: String,
    pub(crate) what: String,
}
