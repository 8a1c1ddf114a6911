//! What is done with descriptors: reading, writing, sizes, locks, durability; and opening. The control process has the files of
//! this machine; all others those of their host's disk. Memory maps are not here.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::os::raw::{c_char, c_void};

use super::folders::{base, path, uses_real_files};
use super::maps;
use super::{ask, define, fail, int, new_fd, simulated, size, tell, zero};
use crate::disk::{Allocate, Cost, Lock, Operation};
use crate::errno::{Errno, Result};
use crate::kernel::{
    Caller, Descriptor, FileId, Kernel, Kind, On, Opening, Range, Stop, Timing, Wait, Whence,
};
use crate::switch::{self, Context};

/// Pays for an operation on the disk, in virtual time; what the disk refuses fails.
pub(super) fn pay(me: &'static Context, operation: Operation) -> Result<()> {
    loop {
        let (cost, now) = tell(me, |kernel, caller| (kernel.disk_cost(caller, operation), kernel.now));
        let until = match cost {
            Cost::Free => return Ok(()),
            Cost::Fail(errno) => return Err(errno),
            Cost::Wait(time) => Some(now + time),
            Cost::Never => None,
        };
        switch::wait(me, Wait { on: On::Disk, until, what: "a disk" });
        // One that did not answer is asked again once something about it has changed.
        if until.is_some() {
            return Ok(());
        }
    }
}

fn is_on_disk(kernel: &Kernel, file: FileId) -> bool {
    matches!(kernel.kind(file), Kind::Disk(_))
}

/// Pays for moving bytes, if the file is on a disk.
fn pay_for(me: &'static Context, file: FileId, operation: Operation) -> Result<()> {
    if tell(me, |kernel, _| is_on_disk(kernel, file)) { pay(me, operation) } else { Ok(()) }
}

fn reading(kernel: &Kernel, file: FileId) -> Timing {
    Timing { is_nonblocking: false, until: kernel.receive_until(file) }
}

fn read_into(me: &'static Context, file: FileId, into: &mut [u8]) -> Result<usize> {
    let (is_on_disk, timing) = tell(me, |kernel, _| (is_on_disk(kernel, file), reading(kernel, file)));
    if is_on_disk {
        pay(me, Operation::Read(into.len() as u64))?;
    }
    ask(me, |kernel, caller| {
        maps::absorb(kernel, file)?;
        kernel.read(caller, file, into, timing)
    })
}

/// Writes all of it, unless the file does not block or only some fits.
pub(super) fn write_from(
    me: &'static Context,
    file: FileId,
    bytes: &[u8],
    mut write: impl FnMut(&mut Kernel, Caller, &[u8], Timing) -> Result<usize, Stop>,
) -> Result<usize> {
    let (is_on_disk, writes_all, timing) = tell(me, |kernel, _| {
        let writes_all = !kernel.is_nonblocking(file) && kernel.writes_all(file);
        let timing = Timing { is_nonblocking: false, until: kernel.send_until(file) };
        (is_on_disk(kernel, file), writes_all, timing)
    });
    if is_on_disk {
        pay(me, Operation::Write(bytes.len() as u64))?;
    }
    let mut done = 0;
    loop {
        match ask(me, |kernel, caller| write(kernel, caller, &bytes[done..], timing)) {
            Ok(count) => done += count,
            Err(_) if done > 0 => return Ok(done),
            Err(errno) => return Err(errno),
        }
        if !writes_all || done == bytes.len() {
            return Ok(done);
        }
    }
}

fn write_all(me: &'static Context, file: FileId, bytes: &[u8]) -> Result<usize> {
    write_from(me, file, bytes, |kernel, caller, bytes, timing| {
        maps::changing(kernel, file, |kernel| kernel.write(caller, file, bytes, timing))
    })
}

pub(super) fn read_from(me: &'static Context, file: FileId, into: &mut [u8], at: i64) -> Result<usize> {
    let at = u64::try_from(at).map_err(|_| Errno::EINVAL)?;
    pay_for(me, file, Operation::Read(into.len() as u64))?;
    ask(me, |kernel, caller| match kernel.kind(file) {
        Kind::Disk(_) => {
            maps::absorb(kernel, file)?;
            kernel.read_disk(caller, file, into, Some(at))
        }
        Kind::Device(_) => kernel.read(caller, file, into, Timing::default()),
        _ => Err(Errno::ESPIPE.into()),
    })
}

fn write_at(me: &'static Context, file: FileId, bytes: &[u8], at: i64) -> Result<usize> {
    let at = u64::try_from(at).map_err(|_| Errno::EINVAL)?;
    pay_for(me, file, Operation::Write(bytes.len() as u64))?;
    ask(me, |kernel, caller| match kernel.kind(file) {
        Kind::Disk(_) => {
            maps::changing(kernel, file, |kernel| kernel.write_disk(caller, file, bytes, Some(at)))
        }
        Kind::Device(_) => kernel.write(caller, file, bytes, Timing::default()),
        _ => Err(Errno::ESPIPE.into()),
    })
}

pub(super) unsafe fn bytes_in<'b>(start: *mut u8, count: usize) -> &'b mut [u8] {
    if count == 0 { &mut [] } else { std::slice::from_raw_parts_mut(start, count) }
}

unsafe fn parts<'p>(start: *const libc::iovec, count: i32) -> Result<&'p [libc::iovec]> {
    match usize::try_from(count) {
        Ok(0) => Ok(&[]),
        Ok(count @ 1..=1024) => Ok(std::slice::from_raw_parts(start, count)),
        _ => Err(Errno::EINVAL),
    }
}

/// The bytes of several parts, one after the other.
pub(super) unsafe fn gather(parts: &[libc::iovec]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.iov_len).sum());
    for part in parts {
        bytes.extend_from_slice(bytes_in(part.iov_base.cast(), part.iov_len));
    }
    bytes
}

/// Spreads bytes over several parts.
pub(super) unsafe fn scatter(bytes: &[u8], parts: &[libc::iovec]) {
    let mut rest = bytes;
    for part in parts {
        let (now, later) = rest.split_at(rest.len().min(part.iov_len));
        bytes_in(part.iov_base.cast(), now.len()).copy_from_slice(now);
        rest = later;
    }
}

unsafe fn read_parts(
    start: *const libc::iovec,
    count: i32,
    read: impl FnOnce(&mut [u8]) -> Result<usize>,
) -> Result<usize> {
    match parts(start, count)? {
        [part] => read(bytes_in(part.iov_base.cast(), part.iov_len)),
        parts => {
            let mut bytes = vec![0; parts.iter().map(|part| part.iov_len).sum()];
            let count = read(&mut bytes)?;
            scatter(&bytes[..count], parts);
            Ok(count)
        }
    }
}

unsafe fn write_parts(
    start: *const libc::iovec,
    count: i32,
    write: impl FnOnce(&[u8]) -> Result<usize>,
) -> Result<usize> {
    match parts(start, count)? {
        [part] => write(bytes_in(part.iov_base.cast(), part.iov_len)),
        parts => write(&gather(parts)),
    }
}

/// Opens a path; `None`: it is one of this machine's.
unsafe fn open_at(
    me: &'static Context,
    at: i32,
    name: *const c_char,
    flags: i32,
    mode: u32,
) -> Option<Result<i32>> {
    let name = path(name);
    if uses_real_files(me, name) {
        return None;
    }
    // A name that is only looked up is in memory.
    let changes = flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
    let paid = if changes { pay(me, Operation::Names) } else { Ok(()) };
    Some(paid.and_then(|()| {
        tell(me, |kernel, caller| {
            let at = base(kernel, caller, at)?;
            let file = kernel.open(caller, at, Opening { path: name, flags, mode })?;
            if flags & libc::O_TRUNC != 0 {
                maps::publish(kernel, file)?;
            }
            new_fd(kernel, caller, file)
        })
    }))
}

pub(super) fn sync(me: &'static Context, file: FileId, is_data_only: bool) -> Result<()> {
    let inode = tell(me, |kernel, _| kernel.inode_of(file, Errno::EINVAL))?;
    pay(me, Operation::Sync(inode))?;
    tell(me, |kernel, caller| {
        maps::absorb(kernel, file)?;
        let (disk, _) = kernel.own_disk(caller);
        if is_data_only {
            disk.sync_data(inode)
        } else {
            disk.sync(inode)
        }
        Ok(())
    })
}

/// Makes all of the caller's disk durable.
pub(super) fn sync_disk(kernel: &mut Kernel, caller: Caller) -> Result<()> {
    maps::absorb_host(kernel, caller.host)?;
    kernel.own_disk(caller).0.sync_all();
    Ok(())
}

fn allocate(me: &'static Context, file: FileId, mode: i32, offset: i64, length: i64) -> Result<()> {
    const ZERO_RANGE: i32 = libc::FALLOC_FL_ZERO_RANGE;
    const KEEP_SIZE: i32 = libc::FALLOC_FL_KEEP_SIZE;
    let how = match mode {
        0 => Allocate::Extend,
        KEEP_SIZE => Allocate::KeepSize,
        ZERO_RANGE => Allocate::ZeroRange,
        _ if mode == ZERO_RANGE | KEEP_SIZE => Allocate::ZeroKeepSize,
        _ if mode == libc::FALLOC_FL_PUNCH_HOLE | KEEP_SIZE => Allocate::PunchHole,
        _ => return Err(Errno::ENOTSUP),
    };
    let (Ok(offset), Ok(length @ 1..)) = (u64::try_from(offset), u64::try_from(length)) else {
        return Err(Errno::EINVAL);
    };
    pay(me, Operation::Names)?;
    tell(me, |kernel, caller| {
        let inode = kernel.inode_of(file, Errno::ESPIPE)?;
        maps::changing(kernel, file, |kernel| {
            let (disk, now) = kernel.own_disk(caller);
            disk.allocate(now, inode, how, offset, length)
        })
    })
}

fn whence(number: i32) -> Result<Whence> {
    match number {
        libc::SEEK_SET => Ok(Whence::Start),
        libc::SEEK_CUR => Ok(Whence::Here),
        libc::SEEK_END => Ok(Whence::End),
        libc::SEEK_DATA => Ok(Whence::Data),
        libc::SEEK_HOLE => Ok(Whence::Hole),
        _ => Err(Errno::EINVAL),
    }
}

fn seek(me: &'static Context, file: FileId, by: i64, from: i32) -> Result<i64> {
    let whence = whence(from)?;
    tell(me, |kernel, _| kernel.seek(file, by, whence)).map(u64::cast_signed)
}

fn truncate(me: &'static Context, file: FileId, length: i64) -> Result<()> {
    let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
    pay(me, Operation::Write(0))?;
    tell(me, |kernel, _| maps::changing(kernel, file, |kernel| kernel.truncate(file, length)))
}

fn lock_whole(me: &'static Context, file: FileId, operation: i32) -> Result<()> {
    let lock = match operation & !libc::LOCK_NB {
        libc::LOCK_SH => Some(Lock::Shared),
        libc::LOCK_EX => Some(Lock::Exclusive),
        libc::LOCK_UN => None,
        _ => return Err(Errno::EINVAL),
    };
    let may_wait = operation & libc::LOCK_NB == 0;
    ask(me, |kernel, _| kernel.lock_file(file, lock, may_wait))
}

/// The range that a `flock` means.
unsafe fn range(
    kernel: &Kernel,
    file: FileId,
    asked: &libc::flock,
    is_of_description: bool,
) -> Result<Range> {
    let origin = kernel.origin(file, i32::from(asked.l_whence))?;
    let start = origin.checked_add_signed(asked.l_start).ok_or(Errno::EINVAL)?;
    Ok(match asked.l_len {
        0 => Range { start, end: u64::MAX, is_of_description },
        length @ 1.. => Range { start, end: start.saturating_add_signed(length), is_of_description },
        length => Range { start: start.saturating_add_signed(length), end: start, is_of_description },
    })
}

fn wanted_lock(kind: libc::c_short) -> Result<Option<Lock>> {
    match i32::from(kind) {
        libc::F_RDLCK => Ok(Some(Lock::Shared)),
        libc::F_WRLCK => Ok(Some(Lock::Exclusive)),
        libc::F_UNLCK => Ok(None),
        _ => Err(Errno::EINVAL),
    }
}

unsafe fn lock_range(
    me: &'static Context,
    file: FileId,
    command: i32,
    asked: *mut libc::flock,
) -> Result<()> {
    let is_of_description = matches!(command, libc::F_OFD_SETLK | libc::F_OFD_SETLKW | libc::F_OFD_GETLK);
    let lock = wanted_lock((*asked).l_type)?;
    let range = tell(me, |kernel, _| range(kernel, file, &*asked, is_of_description))?;
    if matches!(command, libc::F_GETLK | libc::F_OFD_GETLK) {
        let lock = lock.ok_or(Errno::EINVAL)?;
        let held = tell(me, |kernel, caller| kernel.barring(caller, file, range, lock))?;
        match held {
            None => (*asked).l_type = libc::F_UNLCK as libc::c_short,
            Some(held) => {
                let kind = if held.lock == Lock::Shared { libc::F_RDLCK } else { libc::F_WRLCK };
                (*asked).l_type = kind as libc::c_short;
                (*asked).l_whence = libc::SEEK_SET as libc::c_short;
                (*asked).l_start = held.start.cast_signed();
                (*asked).l_len = if held.end == u64::MAX { 0 } else { (held.end - held.start).cast_signed() };
                (*asked).l_pid = match held.owner {
                    crate::disk::Owner::Process(pid) => crate::kernel::Pid(pid).number(),
                    crate::disk::Owner::Description(_) => -1,
                };
            }
        }
        return Ok(());
    }
    let may_wait = matches!(command, libc::F_SETLKW | libc::F_OFD_SETLKW);
    ask(me, |kernel, caller| kernel.lock_range(caller, file, range, lock, may_wait))
}

unsafe fn control(me: &'static Context, file: FileId, command: i32, argument: i64) -> Result<i32> {
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => tell(me, |kernel, caller| new_fd(kernel, caller, file)),
        libc::F_GETFD => Ok(libc::FD_CLOEXEC),
        libc::F_SETFD => Ok(0),
        libc::F_GETFL => Ok(tell(me, |kernel, _| {
            let blocking = if kernel.is_nonblocking(file) { libc::O_NONBLOCK } else { 0 };
            let kept = libc::O_ACCMODE | libc::O_APPEND | libc::O_PATH | libc::O_DIRECTORY;
            kernel.open_flags(file) & kept | blocking
        })),
        libc::F_SETFL => Ok(tell(me, |kernel, _| {
            let flags = argument as i32;
            kernel.set_nonblocking(file, flags & libc::O_NONBLOCK != 0);
            kernel.set_append(file, flags & libc::O_APPEND != 0);
            0
        })),
        libc::F_GETLK
        | libc::F_SETLK
        | libc::F_SETLKW
        | libc::F_OFD_GETLK
        | libc::F_OFD_SETLK
        | libc::F_OFD_SETLKW => {
            let asked = std::ptr::with_exposed_provenance_mut(argument.cast_unsigned() as usize);
            lock_range(me, file, command, asked).map(|()| 0)
        }
        libc::F_GETPIPE_SZ | libc::F_SETPIPE_SZ => Ok(64 << 10),
        _ => Err(Errno::EINVAL),
    }
}

unsafe fn io_control(me: &'static Context, file: FileId, request: u64, argument: *mut c_void) -> Result<i32> {
    match request {
        libc::FIONBIO => {
            let is_nonblocking = argument.cast::<i32>().read() != 0;
            tell(me, |kernel, _| kernel.set_nonblocking(file, is_nonblocking));
            Ok(0)
        }
        libc::FIONREAD => {
            let count = tell(me, |kernel, _| kernel.available(file));
            argument.cast::<i32>().write(i32::try_from(count).unwrap_or(i32::MAX));
            Ok(0)
        }
        libc::FIOCLEX | libc::FIONCLEX => Ok(0),
        _ => Err(Errno::ENOTTY),
    }
}

/// Copies between open files.
fn copy(
    me: &'static Context,
    from: (FileId, Option<i64>),
    to: (FileId, Option<i64>),
    count: usize,
) -> Result<usize> {
    let mut bytes = vec![0; count.min(1 << 20)];
    let read = match from.1 {
        Some(at) => read_from(me, from.0, &mut bytes, at)?,
        None => read_into(me, from.0, &mut bytes)?,
    };
    match to.1 {
        Some(at) => write_at(me, to.0, &bytes[..read], at),
        None => write_all(me, to.0, &bytes[..read]),
    }
}

unsafe fn offset_in(offset: *mut i64) -> Option<i64> {
    if offset.is_null() { None } else { Some(*offset) }
}

unsafe fn advance(offset: *mut i64, result: Result<usize>) -> Result<usize> {
    if let (false, Ok(count)) = (offset.is_null(), &result) {
        *offset += i64::try_from(*count).unwrap_or_default();
    }
    result
}

define! {
    /// Opens a file of the host, or of this machine for the control process.
    fn open(name: *const c_char, flags: i32, mode: u32) -> i32 |me, real| {
        open_at(me, libc::AT_FDCWD, name, flags, mode).map_or_else(real, int)
    }

    /// As `open`.
    fn open64(name: *const c_char, flags: i32, mode: u32) -> i32 |me, real| {
        open_at(me, libc::AT_FDCWD, name, flags, mode).map_or_else(real, int)
    }

    /// As `open`, from a directory.
    fn openat(at: i32, name: *const c_char, flags: i32, mode: u32) -> i32 |me, real| {
        open_at(me, at, name, flags, mode).map_or_else(real, int)
    }

    /// As `open`, from a directory.
    fn openat64(at: i32, name: *const c_char, flags: i32, mode: u32) -> i32 |me, real| {
        open_at(me, at, name, flags, mode).map_or_else(real, int)
    }

    /// As `open` with O_CREAT.
    fn creat(name: *const c_char, mode: u32) -> i32 |me, real| {
        let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
        open_at(me, libc::AT_FDCWD, name, flags, mode).map_or_else(real, int)
    }

    /// Closes.
    fn close(fd: i32) -> i32 |me, real| {
        if descriptor_is_real(me, fd) {
            return real();
        }
        zero(tell(me, |kernel, caller| kernel.close_fd(caller.process, fd)))
    }

    /// One more descriptor.
    fn dup(fd: i32) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        int(tell(me, |kernel, caller| new_fd(kernel, caller, file)))
    }

    /// One more descriptor, by a number of the caller's own.
    fn dup2(fd: i32, new: i32) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        if fd == new {
            return new;
        }
        int(tell(me, |kernel, caller| kernel.put_fd(caller.process, file, new).map(|()| new)))
    }

    /// One more descriptor, by a number of the caller's own.
    fn dup3(fd: i32, new: i32, _flags: i32) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        if fd == new {
            return fail(Errno::EINVAL);
        }
        int(tell(me, |kernel, caller| kernel.put_fd(caller.process, file, new).map(|()| new)))
    }

    /// Reads; waits in virtual time.
    fn read(fd: i32, into: *mut u8, count: usize) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(read_into(me, file, bytes_in(into, count)))
    }

    /// Reads into several parts.
    fn readv(fd: i32, into: *const libc::iovec, count: i32) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(read_parts(into, count, |bytes| read_into(me, file, bytes)))
    }

    /// Reads at an offset.
    fn pread(fd: i32, into: *mut u8, count: usize, at: i64) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(read_from(me, file, bytes_in(into, count), at))
    }

    /// Reads at an offset.
    fn pread64(fd: i32, into: *mut u8, count: usize, at: i64) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(read_from(me, file, bytes_in(into, count), at))
    }

    /// Reads at an offset into several parts.
    fn preadv(fd: i32, into: *const libc::iovec, count: i32, at: i64) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(read_parts(into, count, |bytes| read_from(me, file, bytes, at)))
    }

    /// Reads at an offset into several parts.
    fn preadv64(fd: i32, into: *const libc::iovec, count: i32, at: i64) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(read_parts(into, count, |bytes| read_from(me, file, bytes, at)))
    }

    /// Writes; waits in virtual time.
    fn write(fd: i32, from: *const u8, count: usize) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(write_all(me, file, bytes_in(from.cast_mut(), count)))
    }

    /// Writes several parts.
    fn writev(fd: i32, from: *const libc::iovec, count: i32) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(write_parts(from, count, |bytes| write_all(me, file, bytes)))
    }

    /// Writes at an offset.
    fn pwrite(fd: i32, from: *const u8, count: usize, at: i64) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(write_at(me, file, bytes_in(from.cast_mut(), count), at))
    }

    /// Writes at an offset.
    fn pwrite64(fd: i32, from: *const u8, count: usize, at: i64) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(write_at(me, file, bytes_in(from.cast_mut(), count), at))
    }

    /// Writes several parts at an offset.
    fn pwritev(fd: i32, from: *const libc::iovec, count: i32, at: i64) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(write_parts(from, count, |bytes| write_at(me, file, bytes, at)))
    }

    /// Writes several parts at an offset.
    fn pwritev64(fd: i32, from: *const libc::iovec, count: i32, at: i64) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(write_parts(from, count, |bytes| write_at(me, file, bytes, at)))
    }

    /// Moves the file's offset.
    fn lseek(fd: i32, by: i64, from: i32) -> i64 |me, real| {
        let file = simulated!(me, fd, real);
        seek(me, file, by, from).unwrap_or_else(|errno| fail(errno).into())
    }

    /// Moves the file's offset.
    fn lseek64(fd: i32, by: i64, from: i32) -> i64 |me, real| {
        let file = simulated!(me, fd, real);
        seek(me, file, by, from).unwrap_or_else(|errno| fail(errno).into())
    }

    /// Changes a file's size.
    fn ftruncate(fd: i32, length: i64) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(truncate(me, file, length))
    }

    /// Changes a file's size.
    fn ftruncate64(fd: i32, length: i64) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(truncate(me, file, length))
    }

    /// Makes a file durable.
    fn fsync(fd: i32) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(sync(me, file, false))
    }

    /// Makes a file's contents durable.
    fn fdatasync(fd: i32) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(sync(me, file, true))
    }

    /// Begins to write, which promises nothing.
    fn sync_file_range(fd: i32, _from: i64, _count: i64, _flags: u32) -> i32 |me, real| {
        let _file = simulated!(me, fd, real);
        0
    }

    /// Makes all of the file's disk durable.
    fn syncfs(fd: i32) -> i32 |me, real| {
        let _file = simulated!(me, fd, real);
        zero(tell(me, sync_disk))
    }

    /// Takes space.
    fn fallocate(fd: i32, mode: i32, offset: i64, length: i64) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(allocate(me, file, mode, offset, length))
    }

    /// Takes space.
    fn fallocate64(fd: i32, mode: i32, offset: i64, length: i64) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(allocate(me, file, mode, offset, length))
    }

    /// Takes space; it returns its error.
    fn posix_fallocate(fd: i32, offset: i64, length: i64) -> i32 |me, real| {
        let file = match super::descriptor(me, fd) {
            Descriptor::Simulated(file) => file,
            Descriptor::Real => return real(),
            Descriptor::Closed => return libc::EBADF,
        };
        allocate(me, file, 0, offset, length).map_or_else(|errno| errno.0, |()| 0)
    }

    /// Advice changes nothing.
    fn posix_fadvise(fd: i32, _offset: i64, _length: i64, _advice: i32) -> i32 |me, real| {
        let _file = simulated!(me, fd, real);
        0
    }

    /// Advice changes nothing.
    fn posix_fadvise64(fd: i32, _offset: i64, _length: i64, _advice: i32) -> i32 |me, real| {
        let _file = simulated!(me, fd, real);
        0
    }

    /// Locks a whole file; waits in virtual time.
    fn flock(fd: i32, operation: i32) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(lock_whole(me, file, operation))
    }

    /// Flags, duplicates, locks of ranges.
    fn fcntl(fd: i32, command: i32, argument: i64) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        int(control(me, file, command, argument))
    }

    /// Flags, duplicates, locks of ranges.
    fn fcntl64(fd: i32, command: i32, argument: i64) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        int(control(me, file, command, argument))
    }

    /// Whether to wait, and how many bytes there are; no terminals.
    fn ioctl(fd: i32, request: u64, argument: *mut c_void) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        int(io_control(me, file, request, argument))
    }

    /// Nothing simulated is a terminal.
    fn isatty(fd: i32) -> i32 |me, real| {
        let _file = match super::descriptor(me, fd) {
            Descriptor::Simulated(file) => file,
            Descriptor::Real => return real(),
            Descriptor::Closed => {
                fail(Errno::EBADF);
                return 0;
            }
        };
        fail(Errno::ENOTTY);
        0
    }

    /// Copies between files.
    fn copy_file_range(
        from: i32,
        from_at: *mut i64,
        to: i32,
        to_at: *mut i64,
        count: usize,
        _flags: u32,
    ) -> isize |me, real| {
        let source = simulated!(me, from, real);
        let target = simulated!(me, to, real);
        let copied = copy(me, (source, offset_in(from_at)), (target, offset_in(to_at)), count);
        size(advance(to_at, advance(from_at, copied)))
    }

    /// Copies from a file to what takes bytes.
    fn sendfile(to: i32, from: i32, at: *mut i64, count: usize) -> isize |me, real| {
        let target = simulated!(me, to, real);
        let source = simulated!(me, from, real);
        size(advance(at, copy(me, (source, offset_in(at)), (target, None), count)))
    }

    /// Copies from a file to what takes bytes.
    fn sendfile64(to: i32, from: i32, at: *mut i64, count: usize) -> isize |me, real| {
        let target = simulated!(me, to, real);
        let source = simulated!(me, from, real);
        size(advance(at, copy(me, (source, offset_in(at)), (target, None), count)))
    }

    /// Refused with what makes callers copy by themselves.
    fn splice(
        from: i32,
        _from_at: *mut i64,
        _to: i32,
        _to_at: *mut i64,
        _count: usize,
        _flags: u32,
    ) -> isize |me, real| {
        let _file = simulated!(me, from, real);
        fail(Errno::EINVAL) as isize
    }
}

fn descriptor_is_real(me: &'static Context, fd: i32) -> bool {
    super::descriptor(me, fd) == Descriptor::Real
}
