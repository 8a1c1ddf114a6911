//! Processes: threads that share descriptors, a folder and an end.

use super::epoll::epoll_bits;
use super::file::{FileId, Kind};
use super::sched::ThreadId;
use super::signals::Signals;
use super::timer::Alarm;
use super::{HostId, Kernel, Over};
use crate::disk::Inode;
use crate::errno::{Errno, Result};
use crate::random::Random;

/// The number of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Pid(pub(crate) u32);

/// The first process is the control process: the test, whose files are those of this machine.
pub(crate) const CONTROL: Pid = Pid(0);

impl Pid {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// As programs see it.
    pub(crate) fn number(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX - 1) + 1
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Simulated descriptors from here on; below are those of this machine.
pub(crate) const FD_BASE: i32 = 1 << 28;
/// Each process has numbers of its own, so that a descriptor in a static belongs to nobody else.
const FDS_SHIFT: u32 = 14;
/// Descriptors that one process may have.
const FDS_MAX: usize = 1 << FDS_SHIFT;

/// A process to begin.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) host: HostId,
    pub(crate) name: String,
    /// Standard input, output and error; `None`: closed.
    pub(crate) stdio: [Option<FileId>; 3],
    /// Its folder, by an absolute path. One that is not there is `/`.
    pub(crate) cwd: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(super) host: HostId,
    pub(super) name: String,
    pub(super) threads: Vec<ThreadId>,
    stdio: [Option<FileId>; 3],
    fds: Vec<Option<FileId>>,
    /// Its folder.
    pub(super) cwd: Inode,
    pub(super) umask: u32,
    pub(super) signals: Signals,
    pub(super) exit: Option<Exit>,
    /// While SIGSTOP holds it: the threads that could run.
    pub(super) stopped: Option<Vec<ThreadId>>,
    /// Descriptors that tell of its end.
    watchers: Vec<FileId>,
    pub(super) alarm: Alarm,
    random: Random,
}

/// What a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// A simulated file.
    Simulated(FileId),
    /// One of this machine.
    Real,
    /// Nothing.
    Closed,
}

impl Kernel {
    /// A new process, without threads yet.
    pub(crate) fn add_process(&mut self, plan: Plan) -> Pid {
        let pid = Pid(u32::try_from(self.processes.len()).expect("fewer than 2^32 processes"));
        let count =
            self.processes.iter().filter(|other| other.host == plan.host && other.name == plan.name).count();
        // By name and how often it was started, so that no other process shifts its draws.
        let stream = format!("{}/{}.{count}", self.hosts[plan.host.index()].name, plan.name);
        let disk = &mut self.hosts[plan.host.index()].disk;
        let cwd = disk.resolve(Inode::ROOT, &plan.cwd, true).unwrap_or(Inode::ROOT);
        disk.hold(cwd);
        for file in plan.stdio.into_iter().flatten() {
            self.hold(file);
            self.widen(file);
        }
        self.processes.push(Process {
            host: plan.host,
            name: plan.name,
            threads: Vec::new(),
            stdio: plan.stdio,
            fds: Vec::new(),
            cwd,
            umask: 0o022,
            signals: Signals::default(),
            exit: None,
            stopped: None,
            watchers: Vec::new(),
            alarm: Alarm::default(),
            random: Random::new(self.rules.seed, &stream),
        });
        pid
    }

    #[inline]
    pub(super) fn process(&self, pid: Pid) -> &Process {
        &self.processes[pid.index()]
    }

    pub(super) fn process_mut(&mut self, pid: Pid) -> &mut Process {
        &mut self.processes[pid.index()]
    }

    pub(super) fn live_processes(&self) -> impl Iterator<Item = (Pid, &Process)> {
        let all = self.processes.iter().enumerate();
        all.filter(|(_, process)| process.exit.is_none())
            .map(|(index, process)| (Pid(u32::try_from(index).unwrap_or(u32::MAX)), process))
    }

    /// Its random draws.
    pub(crate) fn random(&mut self, pid: Pid) -> &mut Random {
        &mut self.process_mut(pid).random
    }

    /// Its name.
    pub(crate) fn process_name(&self, pid: Pid) -> &str {
        &self.process(pid).name
    }

    /// How it ended, if it has.
    pub(crate) fn exit_of(&self, pid: Pid) -> Option<Exit> {
        self.process(pid).exit
    }

    /// The process of this number as programs see it.
    pub(crate) fn pid(&self, number: i32) -> Option<Pid> {
        let pid = Pid(u32::try_from(number.checked_sub(1)?).ok()?);
        (pid.index() < self.processes.len()).then_some(pid)
    }

    /// The process of this number on the host of another one, which sees no others.
    pub(crate) fn neighbour(&self, of: Pid, number: i32) -> Option<Pid> {
        self.pid(number).filter(|pid| self.process(*pid).host == self.process(of).host)
    }

    /// Sets the mask of new files' permissions; gives the one before.
    pub(crate) fn change_umask(&mut self, pid: Pid, mask: u32) -> u32 {
        std::mem::replace(&mut self.process_mut(pid).umask, mask & 0o777)
    }

    /// What a number stands for in a process. While statics are everybody's, so are the control process's descriptors: what a
    /// runtime keeps in one, such as its pipe for signals, was made there.
    #[inline]
    pub(crate) fn descriptor(&self, pid: Pid, fd: i32) -> Descriptor {
        if fd >= FD_BASE {
            let offset = (fd - FD_BASE).unsigned_abs();
            let owner = Pid(offset >> FDS_SHIFT);
            if owner != pid && (self.rules.has_own_statics || owner != CONTROL) {
                return Descriptor::Closed;
            }
            let fds = &self.process(owner).fds;
            let file = fds.get((offset as usize) & (FDS_MAX - 1)).copied().flatten();
            return file.map_or(Descriptor::Closed, Descriptor::Simulated);
        }
        let process = self.process(pid);
        match usize::try_from(fd) {
            Ok(fd @ 0..=2) if pid != CONTROL => {
                process.stdio[fd].map_or(Descriptor::Closed, Descriptor::Simulated)
            }
            Ok(_) => Descriptor::Real,
            Err(_) => Descriptor::Closed,
        }
    }

    /// The open file that a number stands for.
    pub(crate) fn file(&self, pid: Pid, fd: i32) -> Result<FileId> {
        match self.descriptor(pid, fd) {
            Descriptor::Simulated(file) => Ok(file),
            Descriptor::Real | Descriptor::Closed => Err(Errno::EBADF),
        }
    }

    /// A descriptor for an open file: the lowest that is free.
    pub(crate) fn add_fd(&mut self, pid: Pid, file: FileId) -> Result<i32> {
        let fds = &mut self.process_mut(pid).fds;
        let place = fds.iter().position(Option::is_none).unwrap_or(fds.len());
        if place >= FDS_MAX {
            self.hold(file);
            self.let_go(file);
            return Err(Errno::EMFILE);
        }
        if place == fds.len() {
            fds.push(Some(file));
        } else {
            fds[place] = Some(file);
        }
        self.hold(file);
        Ok(first_fd(pid) + i32::try_from(place).unwrap_or(i32::MAX))
    }

    /// A descriptor with this number, in the place of what it stood for.
    pub(crate) fn put_fd(&mut self, pid: Pid, file: FileId, fd: i32) -> Result<()> {
        self.hold(file);
        let _was_open = self.close_fd(pid, fd);
        let process = self.process_mut(pid);
        if let Ok(place @ 0..=2) = usize::try_from(fd) {
            process.stdio[place] = Some(file);
            return Ok(());
        }
        let place = usize::try_from(fd - first_fd(pid)).ok().filter(|place| *place < FDS_MAX);
        let Some(place) = place else {
            self.let_go(file);
            return Err(Errno::EBADF);
        };
        if process.fds.len() <= place {
            process.fds.resize(place + 1, None);
        }
        process.fds[place] = Some(file);
        Ok(())
    }

    /// Closes a descriptor.
    pub(crate) fn close_fd(&mut self, pid: Pid, fd: i32) -> Result<()> {
        let file = self.file(pid, fd)?;
        let process = self.process_mut(pid);
        let own = usize::try_from(fd - first_fd(pid)).ok();
        match (usize::try_from(fd), own.and_then(|place| process.fds.get_mut(place))) {
            (Ok(place @ 0..=2), _) => process.stdio[place] = None,
            (_, Some(own)) => *own = None,
            (_, None) => return Err(Errno::EBADF),
        }
        self.forget_locks(pid, file);
        self.let_go(file);
        Ok(())
    }

    /// A descriptor of its own for a process's end.
    pub(crate) fn open_pidfd(&mut self, of: Pid) -> FileId {
        let file = self.open_file(Kind::Process(of), false);
        self.process_mut(of).watchers.push(file);
        file
    }

    /// Ends a process. Its threads never run again and none of their destructors do, as with SIGKILL; its files close.
    pub(crate) fn end_process(&mut self, pid: Pid, exit: Exit) {
        let process = self.process_mut(pid);
        if process.exit.is_some() {
            return;
        }
        process.exit = Some(exit);
        let (host, cwd) = (process.host, process.cwd);
        let threads = std::mem::take(&mut process.threads);
        let files: Vec<_> =
            process.stdio.iter_mut().chain(&mut process.fds).filter_map(Option::take).collect();
        let watchers = std::mem::take(&mut process.watchers);
        self.trace.mix(u64::from(pid.0) << 32 | u64::from(exit.raw()));
        let was_stopped = self.process_mut(pid).stopped.take().is_some();
        self.frozen -= usize::from(was_stopped);
        self.kill_threads(threads);
        self.hosts[host.index()].disk.close(cwd);
        for file in files {
            self.forget_locks(pid, file);
            self.let_go(file);
        }
        for watcher in watchers {
            self.notify(watcher, epoll_bits::IN);
        }
        if pid == CONTROL {
            self.finish(Over::Ended(exit));
        }
    }
}

impl Exit {
    fn raw(self) -> u32 {
        match self {
            Self::Code(code) => code.unsigned_abs(),
            Self::Signal(signal) => signal.unsigned_abs() | 0x100,
        }
    }
}

fn first_fd(pid: Pid) -> i32 {
    FD_BASE + i32::try_from(pid.0 << FDS_SHIFT).unwrap_or(0)
}
