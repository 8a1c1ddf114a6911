//! Files of hosts' disks as processes have them open: offsets, flags, locks, and where relative paths begin.

use super::file::{Caller, Device, FileId, Kind};
use super::sched::{On, Wait};
use super::{Call, HostId, Kernel, Nanos, Pid, Stop};
use crate::disk::{self, Cost, Disk, Held, Inode, Lock, Operation, Owner};
use crate::errno::{Errno, Result};

/// An open file or directory of a disk.
#[derive(Debug)]
pub(crate) struct Handle {
    host: HostId,
    inode: Inode,
    offset: u64,
    /// As `open` was told: how it may be used, and O_APPEND.
    flags: i32,
}

/// What `open` is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<'p> {
    pub(crate) path: &'p [u8],
    pub(crate) flags: i32,
    pub(crate) mode: u32,
}

/// From where an offset counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whence {
    Start,
    Here,
    End,
    Data,
    Hole,
}

impl Handle {
    pub(super) fn appends(&self) -> bool {
        self.flags & libc::O_APPEND != 0
    }
}

/// Folders that a host finds empty when it comes up.
const IN_MEMORY: [&str; 3] = ["/dev/shm", "/run", "/tmp"];

impl Kernel {
    /// Lays what every host finds on its disk as it comes up.
    pub(super) fn make_tree(&mut self, id: HostId) {
        let now = self.wall(id);
        let host = &mut self.hosts[id.index()];
        let name = format!("{}\n", host.name);
        for folder in IN_MEMORY {
            // One that was removed has nothing in it.
            let _none = host.disk.empty(now, folder.as_bytes());
        }
        // A disk that is full has no name on it, and says so to whoever asks.
        let _full = host.disk.install(now, b"/etc/hostname", name.as_bytes(), 0o644);
    }

    /// A host's wall clock now.
    pub(crate) fn wall(&self, host: HostId) -> Nanos {
        self.clocks[host.index()].wall(self.now)
    }

    /// The disk of the caller's host, and its wall clock now.
    pub(crate) fn own_disk(&mut self, caller: Caller) -> (&mut Disk, Nanos) {
        let now = self.wall(caller.host);
        (&mut self.hosts[caller.host.index()].disk, now)
    }

    /// What an operation of the caller's on its disk costs. To be asked once for each.
    pub(crate) fn disk_cost(&mut self, caller: Caller, operation: Operation) -> Cost {
        let now = self.now;
        let host = &mut self.hosts[caller.host.index()];
        host.disk.cost(now, operation, &mut host.luck)
    }

    /// Where a path of the caller's begins: in an open directory, or in its own.
    pub(crate) fn start_of(&self, caller: Caller, at: Option<FileId>) -> Result<Inode> {
        match at {
            None => Ok(self.process(caller.process).cwd),
            Some(file) => Ok(self.handle(file)?.inode),
        }
    }

    /// Changes the caller's folder.
    pub(crate) fn change_folder(&mut self, caller: Caller, at: Inode, path: &[u8]) -> Result<()> {
        let (disk, _) = self.own_disk(caller);
        let folder = disk.resolve(at, path, true)?;
        // Only a directory has a list.
        disk.list(folder)?;
        disk.hold(folder);
        let before = std::mem::replace(&mut self.process_mut(caller.process).cwd, folder);
        self.own_disk(caller).0.close(before);
        Ok(())
    }

    /// Opens what a path means; a device is served by the kernel.
    pub(crate) fn open(&mut self, caller: Caller, at: Inode, opening: Opening<'_>) -> Result<FileId> {
        let Opening { path, flags, mode } = opening;
        let mode = mode & !self.process(caller.process).umask;
        let (disk, now) = self.own_disk(caller);
        let opened = disk.open(now, at, path, flags, mode)?;
        let device = match opened.kind {
            disk::Kind::Device(disk::Device::Null) => Some(Device::Null),
            disk::Kind::Device(disk::Device::Zero) => Some(Device::Zero),
            disk::Kind::Device(disk::Device::Full) => Some(Device::Full),
            disk::Kind::Device(disk::Device::Random) => Some(Device::Random),
            disk::Kind::Device(disk::Device::Tty) | disk::Kind::Fifo | disk::Kind::Socket => {
                disk.close(opened.inode);
                return Err(Errno::ENXIO);
            }
            disk::Kind::File | disk::Kind::Directory | disk::Kind::Symlink => None,
        };
        if let Some(device) = device {
            disk.close(opened.inode);
            return Ok(self.open_device(device));
        }
        let handle = Handle { host: caller.host, inode: opened.inode, offset: 0, flags };
        Ok(self.open_file(Kind::Disk(handle), flags & libc::O_NONBLOCK != 0))
    }

    fn handle(&self, id: FileId) -> Result<&Handle> {
        match &self.files[id].kind {
            Kind::Disk(handle) => Ok(handle),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The node of an open file; `other`: what an open file that is none of a disk fails with.
    pub(crate) fn inode_of(&self, id: FileId, other: Errno) -> Result<Inode> {
        self.handle(id).map(|handle| handle.inode).map_err(|_| other)
    }

    /// The disk and the node of an open file, if it is one of a disk.
    pub(crate) fn node_of(&self, id: FileId) -> Option<(HostId, Inode)> {
        self.handle(id).ok().map(|handle| (handle.host, handle.inode))
    }

    /// As `open` was told.
    pub(crate) fn open_flags(&self, id: FileId) -> i32 {
        match &self.files[id].kind {
            Kind::Disk(handle) => handle.flags,
            Kind::PipeReader(_) => libc::O_RDONLY,
            Kind::PipeWriter(_) => libc::O_WRONLY,
            _ => libc::O_RDWR,
        }
    }

    /// F_SETFL: whether it appends.
    pub(crate) fn set_append(&mut self, id: FileId, appends: bool) {
        if let Kind::Disk(handle) = &mut self.files[id].kind {
            handle.flags = handle.flags & !libc::O_APPEND | if appends { libc::O_APPEND } else { 0 };
        }
    }

    fn readable(&self, id: FileId) -> Result<(HostId, Inode, u64)> {
        let handle = self.handle(id)?;
        if handle.flags & libc::O_ACCMODE == libc::O_WRONLY || handle.flags & libc::O_PATH != 0 {
            return Err(Errno::EBADF);
        }
        Ok((handle.host, handle.inode, handle.offset))
    }

    fn writable(&self, id: FileId) -> Result<(HostId, Inode, u64)> {
        let handle = self.handle(id)?;
        if handle.flags & libc::O_ACCMODE == libc::O_RDONLY || handle.flags & libc::O_PATH != 0 {
            return Err(Errno::EBADF);
        }
        Ok((handle.host, handle.inode, handle.offset))
    }

    fn seek_to(&mut self, id: FileId, offset: u64) {
        if let Kind::Disk(handle) = &mut self.files[id].kind {
            handle.offset = offset;
        }
    }

    /// Reads at an offset, or at its own, which moves on.
    pub(crate) fn read_disk(
        &mut self,
        _caller: Caller,
        id: FileId,
        into: &mut [u8],
        at: Option<u64>,
    ) -> Call<usize> {
        let (host, inode, offset) = self.readable(id)?;
        let from = at.unwrap_or(offset);
        let count = self.hosts[host.index()].disk.read_at(inode, from, into)?;
        if at.is_none() {
            self.seek_to(id, from + count as u64);
        }
        Ok(count)
    }

    /// Writes at an offset, or at its own, which moves on; what appends, at the end.
    pub(crate) fn write_disk(
        &mut self,
        _caller: Caller,
        id: FileId,
        bytes: &[u8],
        at: Option<u64>,
    ) -> Call<usize> {
        let (host, inode, offset) = self.writable(id)?;
        let now = self.wall(host);
        let disk = &mut self.hosts[host.index()].disk;
        let (from, count) = if self.files[id].appends() {
            disk.append(now, inode, bytes)?
        } else {
            let from = at.unwrap_or(offset);
            (from, disk.write_at(now, inode, from, bytes)?)
        };
        if at.is_none() {
            self.seek_to(id, from + count as u64);
        }
        Ok(count)
    }

    /// Moves its offset; gives the new one.
    pub(crate) fn seek(&mut self, id: FileId, by: i64, whence: Whence) -> Result<u64> {
        let handle = self.handle(id).map_err(|_| Errno::ESPIPE)?;
        let (inode, offset) = (handle.inode, handle.offset);
        let disk = &self.hosts[handle.host.index()].disk;
        let absolute = || u64::try_from(by).map_err(|_| Errno::ENXIO);
        let to = match whence {
            Whence::Start => u64::try_from(by).map_err(|_| Errno::EINVAL)?,
            Whence::Here => offset.checked_add_signed(by).ok_or(Errno::EINVAL)?,
            Whence::End => disk.stat(inode).size.checked_add_signed(by).ok_or(Errno::EINVAL)?,
            Whence::Data => disk.seek(inode, absolute()?, disk::Sought::Data)?,
            Whence::Hole => disk.seek(inode, absolute()?, disk::Sought::Hole)?,
        };
        self.seek_to(id, to);
        Ok(to)
    }

    /// Changes its size.
    pub(crate) fn truncate(&mut self, id: FileId, size: u64) -> Result<()> {
        let (host, inode, _) = self.writable(id).map_err(|_| Errno::EINVAL)?;
        let now = self.wall(host);
        self.hosts[host.index()].disk.truncate(now, inode, size)
    }

    pub(super) fn close_disk(&mut self, handle: &Handle) {
        self.hosts[handle.host.index()].disk.close(handle.inode);
    }

    // ---- locks -------------------------------------------------------------------------------------------------------

    /// flock(2). Whoever waits tries again when any lock of the file was released.
    pub(crate) fn lock_file(&mut self, id: FileId, lock: Option<Lock>, may_wait: bool) -> Call<()> {
        let handle = self.handle(id).map_err(|_| Errno::EINVAL)?;
        let (host, inode) = (handle.host, handle.inode);
        let locks = self.hosts[host.index()].disk.locks();
        let description = description(id);
        let Some(lock) = lock else {
            locks.unlock_file(inode, description);
            self.unlocked(host, inode);
            return Ok(());
        };
        match locks.lock_file(inode, description, lock) {
            Ok(()) => Ok(()),
            Err(_) if may_wait => Err(wait_for_lock(host, inode)),
            Err(_) => Err(Errno::EAGAIN.into()),
        }
    }

    /// F_SETLK and F_SETLKW; `None`: unlocks.
    pub(crate) fn lock_range(
        &mut self,
        caller: Caller,
        id: FileId,
        range: Range,
        lock: Option<Lock>,
        may_wait: bool,
    ) -> Call<()> {
        let handle = self.handle(id).map_err(|_| Errno::EINVAL)?;
        let (host, inode) = (handle.host, handle.inode);
        let owner = range.owner(caller, id);
        let locks = self.hosts[host.index()].disk.locks();
        let Some(lock) = lock else {
            locks.unlock_range(inode, owner, range.start, range.end);
            self.unlocked(host, inode);
            return Ok(());
        };
        match locks.lock_range(inode, Held { owner, lock, start: range.start, end: range.end }) {
            Ok(()) => Ok(()),
            Err(_) if may_wait => Err(wait_for_lock(host, inode)),
            Err(_) => Err(Errno::EAGAIN.into()),
        }
    }

    /// F_GETLK: what is in the way.
    pub(crate) fn barring(
        &mut self,
        caller: Caller,
        id: FileId,
        range: Range,
        lock: Lock,
    ) -> Result<Option<Held>> {
        let handle = self.handle(id).map_err(|_| Errno::EINVAL)?;
        let (host, inode) = (handle.host, handle.inode);
        let wanted = Held { owner: range.owner(caller, id), lock, start: range.start, end: range.end };
        Ok(self.hosts[host.index()].disk.locks().barring(inode, &wanted))
    }

    /// Where an offset of the caller's lies that counts from the file's own or its end.
    pub(crate) fn origin(&self, id: FileId, whence: i32) -> Result<u64> {
        let handle = self.handle(id).map_err(|_| Errno::EINVAL)?;
        match whence {
            libc::SEEK_SET => Ok(0),
            libc::SEEK_CUR => Ok(handle.offset),
            libc::SEEK_END => Ok(self.hosts[handle.host.index()].disk.stat(handle.inode).size),
            _ => Err(Errno::EINVAL),
        }
    }

    /// A descriptor was closed: its process loses its ranges of that file, as POSIX has it; the last one, the file's own.
    pub(super) fn forget_locks(&mut self, pid: Pid, id: FileId) {
        let Ok(Handle { host, inode, .. }) = self.handle(id) else { return };
        let (host, inode) = (*host, *inode);
        let is_last = self.files[id].is_last();
        let locks = self.hosts[host.index()].disk.locks();
        let mut released = locks.release_file(inode, Owner::Process(pid.0));
        if is_last {
            released |= locks.release_file(inode, Owner::Description(description(id)));
        }
        if released {
            self.unlocked(host, inode);
        }
    }

    fn unlocked(&mut self, host: HostId, inode: Inode) {
        self.wake_address(lock_address(host, inode), usize::MAX);
    }
}

/// A range of bytes, and whether the open file owns its locks rather than the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) start: u64,
    /// The first byte behind it.
    pub(crate) end: u64,
    pub(crate) is_of_description: bool,
}

impl Range {
    fn owner(self, caller: Caller, id: FileId) -> Owner {
        if self.is_of_description {
            Owner::Description(description(id))
        } else {
            Owner::Process(caller.process.0)
        }
    }
}

fn description(id: FileId) -> u64 {
    u64::from(id.number())
}

/// An address that no program has: where those wait who want a lock of a file.
fn lock_address(host: HostId, inode: Inode) -> usize {
    let number = usize::try_from(inode.number()).unwrap_or(usize::MAX >> 20);
    1 << 63 | host.index() << 40 | number
}

fn wait_for_lock(host: HostId, inode: Inode) -> Stop {
    Wait { on: On::Address(lock_address(host, inode)), until: None, what: "a lock on a file" }.into()
}
