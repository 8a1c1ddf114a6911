//! Open files: what a descriptor stands for, whether it is ready, and who is told when it becomes so.

use std::collections::VecDeque;

use super::buffer::BufferId;
use super::epoll::{Epoll, Watch, epoll_bits};
use super::process::Pid;
use super::sched::{On, ThreadId, Wait, Waiter};
use super::storage::Handle;
use super::timer::Timer;
use super::{HostId, Kernel, Nanos, Stop, unix};
use crate::errno::{Errno, Result};
use crate::net::SocketId;
use crate::slab::Id;

/// An open file ("description"): what duplicates of a descriptor share.
#[derive(Debug)]
pub(crate) struct File {
    pub(super) kind: Kind,
    /// Descriptors that stand for it.
    refs: u32,
    pub(super) is_nonblocking: bool,
    /// How long a call may wait: SO_RCVTIMEO, SO_SNDTIMEO.
    pub(super) receive_within: Option<Nanos>,
    pub(super) send_within: Option<Nanos>,
    pub(super) waiters: VecDeque<Waiter>,
    pub(super) watches: Vec<Watch>,
}

/// The number of an open file.
pub(crate) type FileId = Id<File>;

/// What an open file is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Of the network.
    Socket(SocketId),
    Unix(unix::Socket),
    PipeReader(BufferId),
    PipeWriter(BufferId),
    Event {
        count: u64,
        is_semaphore: bool,
    },
    Timer(Timer),
    Epoll(Epoll),
    /// Tells of a process's end.
    Process(Pid),
    Device(Device),
    Disk(Handle),
}

/// A device of every host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Null,
    Zero,
    Full,
    Random,
}

impl File {
    /// Whether one descriptor stands for it.
    pub(super) fn is_last(&self) -> bool {
        self.refs == 1
    }

    /// Whether writes go to its end.
    pub(super) fn appends(&self) -> bool {
        matches!(&self.kind, Kind::Disk(handle) if handle.appends())
    }
}

impl Kernel {
    /// Opens a file; it lives until the last descriptor for it is closed.
    pub(super) fn open_file(&mut self, kind: Kind, is_nonblocking: bool) -> FileId {
        self.files.insert(File {
            kind,
            refs: 0,
            is_nonblocking,
            receive_within: None,
            send_within: None,
            waiters: VecDeque::new(),
            watches: Vec::new(),
        })
    }

    /// What it is.
    pub(crate) fn kind(&self, file: FileId) -> &Kind {
        &self.files[file].kind
    }

    /// One more descriptor stands for it.
    pub(super) fn hold(&mut self, file: FileId) {
        self.files[file].refs += 1;
    }

    /// One descriptor less. With the last one it closes.
    pub(super) fn let_go(&mut self, id: FileId) {
        let file = &mut self.files[id];
        file.refs -= 1;
        if file.refs > 0 {
            return;
        }
        let Some(file) = self.files.remove(id) else { return };
        for watch in &file.watches {
            if let Some(Kind::Epoll(epoll)) = self.files.get_mut(watch.epoll).map(|file| &mut file.kind) {
                epoll.forget(id, watch.fd);
            }
        }
        match file.kind {
            Kind::Socket(socket) => self.close_socket(socket),
            Kind::Unix(socket) => self.close_unix(socket),
            Kind::PipeReader(buffer) => self.close_reader(buffer),
            Kind::PipeWriter(buffer) => self.close_writer(buffer),
            Kind::Epoll(epoll) => self.close_epoll(id, &epoll),
            Kind::Disk(handle) => self.close_disk(&handle),
            Kind::Event { .. } | Kind::Timer(_) | Kind::Process(_) | Kind::Device(_) => {}
        }
    }

    /// Something about a file is so from now on: whoever waits looks again, and event queues hear of it.
    pub(super) fn notify(&mut self, id: FileId, bits: u32) {
        let Some(file) = self.files.get_mut(id) else { return };
        let mut waiters = std::mem::take(&mut file.waiters);
        for waiter in waiters.drain(..) {
            self.wake(waiter);
        }
        let file = &mut self.files[id];
        file.waiters = waiters;
        for index in 0..file.watches.len() {
            self.tell_epoll(id, index, bits);
        }
    }

    /// Which EPOLL bits hold now.
    pub(crate) fn readiness(&mut self, id: FileId) -> u32 {
        use epoll_bits::{IN, OUT};
        match &self.files[id].kind {
            Kind::Socket(socket) => self.net.readiness(*socket),
            Kind::Unix(socket) => self.unix_readiness(socket),
            Kind::PipeReader(buffer) => self.buffers[*buffer].reader_bits(),
            Kind::PipeWriter(buffer) => self.buffers[*buffer].writer_bits(),
            Kind::Event { count, .. } => {
                (if *count > 0 { IN } else { 0 }) | (if *count < u64::MAX - 1 { OUT } else { 0 })
            }
            Kind::Timer(timer) => {
                if timer.rings > 0 {
                    IN
                } else {
                    0
                }
            }
            Kind::Epoll(epoll) => {
                if self.has_ready(epoll) {
                    IN
                } else {
                    0
                }
            }
            Kind::Process(pid) => {
                if self.process(*pid).exit.is_some() {
                    IN
                } else {
                    0
                }
            }
            Kind::Device(_) | Kind::Disk(_) => IN | OUT,
        }
    }

    /// What a call does that can do nothing now: it fails, or waits until the file changes.
    pub(super) fn not_now(&self, id: FileId, timing: Timing, what: &'static str) -> Stop {
        let Timing { is_nonblocking, until } = timing;
        if is_nonblocking || self.files[id].is_nonblocking || until.is_some_and(|until| until <= self.now) {
            return Errno::EAGAIN.into();
        }
        Wait { on: On::File(id), until, what }.into()
    }

    /// Changes O_NONBLOCK.
    pub(crate) fn set_nonblocking(&mut self, id: FileId, is_nonblocking: bool) {
        self.files[id].is_nonblocking = is_nonblocking;
    }

    pub(crate) fn is_nonblocking(&self, id: FileId) -> bool {
        self.files[id].is_nonblocking
    }

    /// When a call on this file that begins now gives up.
    pub(crate) fn receive_until(&self, id: FileId) -> Option<Nanos> {
        self.files[id].receive_within.map(|within| self.now + within)
    }

    /// When a call on this file that begins now gives up.
    pub(crate) fn send_until(&self, id: FileId) -> Option<Nanos> {
        self.files[id].send_within.map(|within| self.now + within)
    }

    /// Sets how long calls may wait; `None`: for ever.
    pub(crate) fn set_patience(&mut self, id: FileId, receive: bool, within: Option<Nanos>) {
        let file = &mut self.files[id];
        if receive {
            file.receive_within = within;
        } else {
            file.send_within = within;
        }
    }

    /// How long calls may wait.
    pub(crate) fn patience(&self, id: FileId, receive: bool) -> Option<Nanos> {
        let file = &self.files[id];
        if receive { file.receive_within } else { file.send_within }
    }

    /// An eventfd.
    pub(crate) fn open_event(&mut self, count: u64, is_semaphore: bool, is_nonblocking: bool) -> FileId {
        self.open_file(Kind::Event { count, is_semaphore }, is_nonblocking)
    }

    /// A device of a host.
    pub(crate) fn open_device(&mut self, device: Device) -> FileId {
        self.open_file(Kind::Device(device), false)
    }

    /// Reads an eventfd.
    pub(super) fn read_event(&mut self, id: FileId, timing: Timing) -> Result<u64, Stop> {
        let Kind::Event { count, is_semaphore } = &mut self.files[id].kind else {
            return Err(Errno::EINVAL.into());
        };
        let read = if *is_semaphore { (*count).min(1) } else { *count };
        if read == 0 {
            return Err(self.not_now(id, timing, "read of an eventfd"));
        }
        *count -= read;
        self.notify(id, epoll_bits::OUT);
        Ok(read)
    }

    /// Adds to an eventfd.
    pub(super) fn write_event(&mut self, id: FileId, value: u64, timing: Timing) -> Result<(), Stop> {
        let Kind::Event { count, .. } = &mut self.files[id].kind else { return Err(Errno::EINVAL.into()) };
        if value == u64::MAX {
            return Err(Errno::EINVAL.into());
        }
        if *count > u64::MAX - 1 - value {
            return Err(self.not_now(id, timing, "write of an eventfd"));
        }
        *count += value;
        self.notify(id, epoll_bits::IN);
        Ok(())
    }

    /// What it is, for reports.
    pub(super) fn describe_file(&self, id: FileId) -> String {
        match &self.files[id].kind {
            Kind::Socket(socket) => self.describe_socket(*socket),
            Kind::Unix(_) => "a unix socket".into(),
            Kind::PipeReader(_) | Kind::PipeWriter(_) => "a pipe".into(),
            Kind::Event { .. } => "an eventfd".into(),
            Kind::Timer(_) => "a timer".into(),
            Kind::Epoll(epoll) => self.describe_epoll(epoll),
            Kind::Process(pid) => format!("the end of {}", self.process(*pid).name),
            Kind::Device(_) => "a device".into(),
            Kind::Disk(_) => "a file".into(),
        }
    }
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timing {
    /// Not at all: MSG_DONTWAIT.
    pub(crate) is_nonblocking: bool,
    pub(crate) until: Option<Nanos>,
}

impl From<Wait> for Stop {
    fn from(wait: Wait) -> Self {
        Self::Wait(wait)
    }
}

/// Whose call it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) thread: ThreadId,
    pub(crate) process: Pid,
    pub(crate) host: HostId,
}
