//! Maps of files in memory. A private one of a simulated file is a copy, made when it is mapped. A shared one is real memory
//! that all maps of the file share, in all processes of the host; it is held against the file before anybody reads the file
//! in another way or makes it durable, and filled again from what anybody else changes. So it is exact, at the cost of a look
//! at the whole file for each such operation. What was written only through maps is lost with the power. A map that `mremap`
//! has moved is forgotten only with its process.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::raw::c_void;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::files::{bytes_in, pay, read_from};
use super::statics::shared;
use super::{define, descriptor, fail, owned, tell, zero};
use crate::disk::{self, Inode, Operation};
use crate::errno::{Errno, Result};
use crate::kernel::{Descriptor, FileId, HostId, Kernel, Pid};
use crate::switch::{self, Context};

/// Bytes that memory is mapped by.
const PAGE: usize = 4096;
/// Bytes that are compared at once.
const CHUNK: usize = 64 * PAGE;

/// A file of a host that has shared maps.
struct Shared {
    host: HostId,
    inode: Inode,
    /// How often the host had lost its power: maps of before are of no file any more.
    losses: u32,
    /// The file's bytes as the maps see them.
    memory: Memory,
    maps: Vec<Map>,
}

/// A file of this machine in memory, of which only what is outside of the simulation may know.
struct Memory(Option<File>);

impl Memory {
    fn new() -> Result<Self> {
        // SAFETY: the name is a C string.
        let fd = switch::outside(|| unsafe { libc::memfd_create(c"shared map".as_ptr(), libc::MFD_CLOEXEC) });
        if fd < 0 { Err(Errno::ENOMEM) } else { Ok(Self(Some(owned(fd).into()))) }
    }

    fn real<T>(&self, f: impl FnOnce(&File) -> std::io::Result<T>) -> Result<T> {
        let done = self.0.as_ref().map(|file| switch::outside(|| f(file)));
        done.and_then(std::io::Result::ok).ok_or(Errno::ENOMEM)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let file = self.0.take();
        switch::outside(|| drop(file));
    }
}

struct Map {
    process: Pid,
    start: usize,
    length: usize,
}

shared! {
    /// All of them. One simulated thread runs at a time, so nobody waits for it.
    static SHARED: Mutex<Vec<Shared>> = Mutex::new(Vec::new());
    /// Whether there has been any: most programs have none, and pay nothing.
    static IS_USED: AtomicBool = AtomicBool::new(false);
}

fn shared_maps() -> MutexGuard<'static, Vec<Shared>> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// A file's first map: its contents become memory. The file stays while maps of it do.
    fn new(kernel: &mut Kernel, host: HostId, inode: Inode) -> Result<Self> {
        let losses = kernel.power_losses(host);
        let new = Self { host, inode, losses, memory: Memory::new()?, maps: Vec::new() };
        new.publish(kernel)?;
        kernel.disk(host).hold(inode);
        Ok(new)
    }

    fn is_of(&self, kernel: &Kernel, node: (HostId, Inode)) -> bool {
        (self.host, self.inode) == node && self.losses == kernel.power_losses(self.host)
    }

    /// Calls `each` with the bytes of memory and file where they differ, chunk by chunk.
    fn compare(
        &self,
        kernel: &mut Kernel,
        mut each: impl FnMut(&mut Kernel, u64, &[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let in_memory = self.memory.real(|real| Ok(real.metadata()?.len()))?;
        let size = kernel.disk(self.host).stat(self.inode).size.min(in_memory);
        let (mut memory, mut file) = (vec![0; CHUNK], vec![0; CHUNK]);
        for at in (0..size).step_by(CHUNK) {
            let count = usize::try_from(size - at).map_or(CHUNK, |left| left.min(CHUNK));
            let (memory, file) = (&mut memory[..count], &mut file[..count]);
            self.memory.real(|real| real.read_exact_at(memory, at))?;
            kernel.disk(self.host).read_at(self.inode, at, file)?;
            if memory != file {
                each(kernel, at, memory, file)?;
            }
        }
        Ok(())
    }

    /// The file takes over what was written through maps.
    fn absorb(&self, kernel: &mut Kernel) -> Result<()> {
        self.compare(kernel, |kernel, at, memory, file| {
            let now = kernel.wall(self.host);
            for (index, (new, old)) in memory.chunks(PAGE).zip(file.chunks(PAGE)).enumerate() {
                let at = at + (index * PAGE) as u64;
                if new != old && kernel.disk(self.host).write_at(now, self.inode, at, new)? < new.len() {
                    return Err(Errno::ENOSPC);
                }
            }
            Ok(())
        })
    }

    /// Maps see what was written to the file.
    fn publish(&self, kernel: &mut Kernel) -> Result<()> {
        let size = kernel.disk(self.host).stat(self.inode).size;
        self.memory.real(|real| real.set_len(size))?;
        self.compare(kernel, |_, at, _, file| self.memory.real(|real| real.write_all_at(file, at)))
    }
}

/// Forgets maps that are gone, and files that have none any more.
fn reap(kernel: &mut Kernel, all: &mut Vec<Shared>) {
    all.retain_mut(|shared| {
        if shared.losses != kernel.power_losses(shared.host) {
            return false;
        }
        shared.maps.retain(|map| kernel.exit_of(map.process).is_none());
        if !shared.maps.is_empty() {
            return true;
        }
        // What finds no room now found none in memory's stead either: there is nobody left to tell.
        let _full = shared.absorb(kernel);
        kernel.disk(shared.host).close(shared.inode);
        false
    });
}

/// The file takes over what was written through maps.
pub(super) fn absorb(kernel: &mut Kernel, file: FileId) -> Result<()> {
    with_maps_of(kernel, kernel.node_of(file), |shared, kernel| shared.absorb(kernel))
}

/// Maps see what was written to the file.
pub(super) fn publish(kernel: &mut Kernel, file: FileId) -> Result<()> {
    with_maps_of(kernel, kernel.node_of(file), |shared, kernel| shared.publish(kernel))
}

fn with_maps_of(
    kernel: &mut Kernel,
    node: Option<(HostId, Inode)>,
    f: impl FnOnce(&Shared, &mut Kernel) -> Result<()>,
) -> Result<()> {
    let Some(node) = node.filter(|_| IS_USED.load(Ordering::Relaxed)) else { return Ok(()) };
    match shared_maps().iter().find(|shared| shared.is_of(kernel, node)) {
        Some(shared) => f(shared, kernel),
        None => Ok(()),
    }
}

/// Does what changes a file, with its maps.
pub(super) fn changing<T, E: From<Errno>>(
    kernel: &mut Kernel,
    file: FileId,
    change: impl FnOnce(&mut Kernel) -> Result<T, E>,
) -> Result<T, E> {
    absorb(kernel, file)?;
    let changed = change(kernel)?;
    publish(kernel, file)?;
    Ok(changed)
}

/// As [`changing`], of a file that nobody may have open.
pub(super) fn changing_node<T>(
    kernel: &mut Kernel,
    node: (HostId, Inode),
    change: impl FnOnce(&mut Kernel) -> Result<T>,
) -> Result<T> {
    with_maps_of(kernel, Some(node), |shared, kernel| shared.absorb(kernel))?;
    let changed = change(kernel)?;
    with_maps_of(kernel, Some(node), |shared, kernel| shared.publish(kernel))?;
    Ok(changed)
}

/// As [`absorb`], of all files of a host.
pub(super) fn absorb_host(kernel: &mut Kernel, host: HostId) -> Result<()> {
    for shared in shared_maps().iter().filter(|shared| shared.host == host) {
        if shared.losses == kernel.power_losses(host) {
            shared.absorb(kernel)?;
        }
    }
    Ok(())
}

/// What mmap is asked for, besides where.
#[derive(Clone, Copy)]
struct Asked {
    start: *mut c_void,
    length: usize,
    protection: i32,
    flags: i32,
    offset: i64,
}

/// Memory of our own in place of a simulated file's.
unsafe fn real_map(asked: Asked, flags: i32, fd: i32, offset: i64) -> Result<*mut c_void> {
    let Asked { start, length, protection, .. } = asked;
    match switch::outside(|| libc::mmap(start, length, protection, flags, fd, offset)) {
        libc::MAP_FAILED => Err(Errno(*libc::__errno_location())),
        memory => Ok(memory),
    }
}

unsafe fn map_private(me: &'static Context, file: FileId, asked: Asked) -> Result<*mut c_void> {
    let Asked { length, offset, protection, .. } = asked;
    let writable = Asked { protection: protection | libc::PROT_READ | libc::PROT_WRITE, ..asked };
    let start = real_map(writable, asked.flags | libc::MAP_ANONYMOUS, -1, 0)?;
    let mut done = 0;
    while done < length {
        let at = offset + i64::try_from(done).unwrap_or_default();
        match read_from(me, file, &mut bytes_in(start.cast(), length)[done..], at) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(errno) => {
                switch::outside(|| libc::munmap(start, length));
                return Err(errno);
            }
        }
    }
    if writable.protection != protection {
        libc::mprotect(start, length, protection);
    }
    Ok(start)
}

unsafe fn map_shared(me: &'static Context, file: FileId, asked: Asked) -> Result<*mut c_void> {
    tell(me, |kernel, caller| {
        let (host, inode) = kernel.node_of(file).ok_or(Errno::ENODEV)?;
        if kernel.open_flags(file) & libc::O_ACCMODE != libc::O_RDWR
            && asked.protection & libc::PROT_WRITE != 0
        {
            return Err(Errno::EACCES);
        }
        let mut all = shared_maps();
        reap(kernel, &mut all);
        let index = match all.iter().position(|shared| (shared.host, shared.inode) == (host, inode)) {
            Some(index) => index,
            None => {
                all.push(Shared::new(kernel, host, inode)?);
                all.len() - 1
            }
        };
        let shared = &mut all[index];
        let start =
            real_map(asked, asked.flags, shared.memory.real(|real| Ok(real.as_raw_fd()))?, asked.offset)?;
        IS_USED.store(true, Ordering::Relaxed);
        shared.maps.push(Map { process: caller.process, start: start.addr(), length: asked.length });
        Ok(start)
    })
}

unsafe fn map(
    me: &'static Context,
    fd: i32,
    asked: Asked,
    real: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    let made = match descriptor(me, fd) {
        _ if asked.flags & libc::MAP_ANONYMOUS != 0 => return real(),
        Descriptor::Real => return real(),
        Descriptor::Closed => Err(Errno::EBADF),
        Descriptor::Simulated(file) => map_file(me, file, asked),
    };
    made.unwrap_or_else(|errno| {
        fail(errno);
        libc::MAP_FAILED
    })
}

unsafe fn map_file(me: &'static Context, file: FileId, asked: Asked) -> Result<*mut c_void> {
    let is_aligned = usize::try_from(asked.offset).is_ok_and(|offset| offset.is_multiple_of(PAGE));
    if asked.length == 0 || !is_aligned {
        return Err(Errno::EINVAL);
    }
    tell(me, |kernel, _| {
        let (host, inode) = kernel.node_of(file).ok_or(Errno::ENODEV)?;
        match kernel.disk(host).stat(inode).kind {
            disk::Kind::File if kernel.open_flags(file) & libc::O_ACCMODE == libc::O_WRONLY => {
                Err(Errno::EACCES)
            }
            disk::Kind::File => Ok(()),
            _ => Err(Errno::ENODEV),
        }
    })?;
    match asked.flags & libc::MAP_TYPE {
        libc::MAP_PRIVATE => map_private(me, file, asked),
        libc::MAP_SHARED | libc::MAP_SHARED_VALIDATE => map_shared(me, file, asked),
        _ => Err(Errno::EINVAL),
    }
}

/// Forgets the calling process's maps within a range.
fn unmapped(me: &'static Context, start: usize, length: usize) {
    tell(me, |kernel, caller| {
        let mut all = shared_maps();
        let end = start.saturating_add(length);
        let is_gone = |map: &Map| {
            map.process == caller.process && map.start >= start && map.start.saturating_add(map.length) <= end
        };
        let before: usize = all.iter().map(|shared| shared.maps.len()).sum();
        all.iter_mut().for_each(|shared| shared.maps.retain(|map| !is_gone(map)));
        if all.iter().map(|shared| shared.maps.len()).sum::<usize>() < before {
            reap(kernel, &mut all);
        }
    });
}

/// The file of the calling process's map at an address.
fn mapped_at(me: &'static Context, address: usize) -> Option<(HostId, Inode)> {
    let process = tell(me, |_, caller| caller.process);
    let is_there = |map: &Map| {
        map.process == process && (map.start..map.start.saturating_add(map.length)).contains(&address)
    };
    shared_maps()
        .iter()
        .find(|shared| shared.maps.iter().any(is_there))
        .map(|shared| (shared.host, shared.inode))
}

fn sync_map(me: &'static Context, (host, inode): (HostId, Inode), flags: i32) -> Result<()> {
    let is_known = flags & !(libc::MS_SYNC | libc::MS_ASYNC | libc::MS_INVALIDATE) == 0;
    if !is_known || flags & libc::MS_SYNC != 0 && flags & libc::MS_ASYNC != 0 {
        return Err(Errno::EINVAL);
    }
    if flags & libc::MS_SYNC == 0 {
        return Ok(());
    }
    pay(me, Operation::Sync(inode))?;
    tell(me, |kernel, _| {
        with_maps_of(kernel, Some((host, inode)), |shared, kernel| shared.absorb(kernel))?;
        kernel.disk(host).sync_data(inode);
        Ok(())
    })
}

define! {
    /// Memory is real; of simulated files it is memory that is held against them.
    fn mmap(
        start: *mut c_void,
        length: usize,
        protection: i32,
        flags: i32,
        fd: i32,
        offset: i64,
    ) -> *mut c_void |me, real| {
        map(me, fd, Asked { start, length, protection, flags, offset }, real)
    }

    /// As `mmap`.
    fn mmap64(
        start: *mut c_void,
        length: usize,
        protection: i32,
        flags: i32,
        fd: i32,
        offset: i64,
    ) -> *mut c_void |me, real| {
        map(me, fd, Asked { start, length, protection, flags, offset }, real)
    }

    /// Memory is real. What was written to a simulated file through its last map is the file's.
    fn munmap(start: *mut c_void, length: usize) -> i32 |me, real| {
        let failed = real();
        if failed == 0 && IS_USED.load(Ordering::Relaxed) {
            unmapped(me, start.addr(), length);
        }
        failed
    }

    /// Makes durable what was written through maps of a simulated file: all of the file, whatever the range.
    fn msync(start: *mut c_void, _length: usize, flags: i32) -> i32 |me, real| {
        match mapped_at(me, start.addr()) {
            Some(node) => zero(sync_map(me, node, flags)),
            None => real(),
        }
    }
}
