//! What is done with paths: making, moving, removing, listing, looking. The control process has the paths of this machine, all
//! others those of their host's disk. Permissions, owners and times are not here.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::os::raw::{c_char, c_void};
use std::sync::Mutex;

use super::files::{pay, sync_disk};
use super::maps;
use super::statics::shared;
use super::time::timespec;
use super::{define, descriptor, fail, int, size, tell, zero};
use crate::disk::{self, Entry, Inode, Kind, Operation, Stat};
use crate::errno::{Errno, Result};
use crate::kernel::{CONTROL, Caller, Descriptor, FileId, Kernel, Nanos, SECOND};
use crate::switch::{self, Context};

/// What a backtrace is read from, which is printed and no part of a simulation.
const READ_FOR_BACKTRACES: [&[u8]; 5] =
    [b"/proc/self/maps", b"/proc/self/exe", b"/usr/lib/", b"/lib/", b"/usr/lib64/"];

/// Bytes of a C string.
pub(super) unsafe fn path<'p>(name: *const c_char) -> &'p [u8] {
    if name.is_null() { b"" } else { CStr::from_ptr(name).to_bytes() }
}

/// Whether a path is one of this machine's to the caller.
pub(super) fn uses_real_files(me: &'static Context, name: &[u8]) -> bool {
    let is_control = tell(me, |_, caller| caller.process == CONTROL);
    is_control
        || READ_FOR_BACKTRACES.iter().any(|prefix| name.starts_with(prefix))
        || name == own_executable()
}

fn own_executable() -> &'static [u8] {
    use std::os::unix::ffi::OsStrExt;
    shared! { static OWN: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new(); }
    let own = || OWN.get_or_init(|| std::env::current_exe().unwrap_or_default());
    switch::outside(own).as_os_str().as_bytes()
}

/// Where a path begins that is relative to `at`.
pub(super) fn base(kernel: &Kernel, caller: Caller, at: i32) -> Result<Inode> {
    if at == libc::AT_FDCWD {
        return kernel.start_of(caller, None);
    }
    match kernel.descriptor(caller.process, at) {
        Descriptor::Simulated(file) => kernel.start_of(caller, Some(file)),
        // An absolute path needs no beginning.
        Descriptor::Real | Descriptor::Closed => Ok(Inode::ROOT),
    }
}

/// Does something with a name of the caller's host.
pub(super) fn with_names<T>(
    me: &'static Context,
    at: i32,
    f: impl FnOnce(&mut disk::Disk, Nanos, Inode) -> Result<T>,
) -> Result<T> {
    pay(me, Operation::Names)?;
    tell(me, |kernel, caller| {
        let at = base(kernel, caller, at)?;
        let (disk, now) = kernel.own_disk(caller);
        f(disk, now, at)
    })
}

fn with_two_names<T>(
    me: &'static Context,
    [from, to]: [i32; 2],
    f: impl FnOnce(&mut disk::Disk, Nanos, [Inode; 2]) -> Result<T>,
) -> Result<T> {
    pay(me, Operation::Names)?;
    tell(me, |kernel, caller| {
        let places = [base(kernel, caller, from)?, base(kernel, caller, to)?];
        let (disk, now) = kernel.own_disk(caller);
        f(disk, now, places)
    })
}

fn masked(me: &'static Context, mode: u32) -> u32 {
    tell(me, |kernel, caller| {
        let mask = kernel.change_umask(caller.process, 0);
        kernel.change_umask(caller.process, mask);
        mode & !mask
    })
}

/// What `stat` tells of a path, or of a descriptor when the path is empty and may be.
fn look(me: &'static Context, at: i32, name: &[u8], flags: i32) -> Result<Stat> {
    if name.is_empty() && flags & libc::AT_EMPTY_PATH != 0 && at != libc::AT_FDCWD {
        return match descriptor(me, at) {
            Descriptor::Simulated(file) => look_at(me, file),
            Descriptor::Real | Descriptor::Closed => Err(Errno::EBADF),
        };
    }
    with_names(me, at, |disk, _, at| {
        let inode = disk.resolve(at, name, flags & libc::AT_SYMLINK_NOFOLLOW == 0)?;
        Ok(disk.stat(inode))
    })
}

fn look_at(me: &'static Context, file: FileId) -> Result<Stat> {
    tell(me, |kernel, caller| match kernel.inode_of(file, Errno::EBADF) {
        Ok(inode) => Ok(kernel.own_disk(caller).0.stat(inode)),
        Err(_) => Ok(stat_of(kernel, file)),
    })
}

/// What is no file of a disk looks like a pipe, a socket or a device.
fn stat_of(kernel: &Kernel, file: FileId) -> Stat {
    use crate::kernel::Kind as Open;
    let kind = match kernel.kind(file) {
        Open::Socket(_) | Open::Unix(_) => Kind::Socket,
        Open::Device(crate::kernel::Device::Null) => Kind::Device(disk::Device::Null),
        Open::Device(crate::kernel::Device::Zero) => Kind::Device(disk::Device::Zero),
        Open::Device(crate::kernel::Device::Full) => Kind::Device(disk::Device::Full),
        Open::Device(crate::kernel::Device::Random) => Kind::Device(disk::Device::Random),
        _ => Kind::Fifo,
    };
    Stat {
        number: u64::from(file.number()),
        kind,
        mode: 0o600,
        links: 1,
        size: 0,
        blocks: 0,
        uid: 0,
        gid: 0,
        accessed: 0,
        modified: 0,
        changed: 0,
        created: 0,
    }
}

/// The minor number of the device that files are on: each process sees its own. What a library keeps by device and inode in
/// its statics, as sqlite does with locks and maps, would else be shared with processes of other hosts, and with those that
/// were killed.
fn device(me: &'static Context) -> u32 {
    tell(me, |_, caller| caller.process.number().unsigned_abs())
}

unsafe fn fill(me: &'static Context, into: *mut libc::stat64, stat: Stat) {
    let mut filled: libc::stat64 = std::mem::zeroed();
    filled.st_dev = libc::makedev(0, device(me));
    filled.st_ino = stat.number;
    filled.st_mode = stat.kind.bits() | stat.mode;
    filled.st_nlink = stat.links.into();
    (filled.st_uid, filled.st_gid) = (stat.uid, stat.gid);
    if let Kind::Device(device) = stat.kind {
        let (major, minor) = device.number();
        filled.st_rdev = libc::makedev(major, minor);
    }
    filled.st_size = stat.size.cast_signed();
    filled.st_blksize = 4096;
    filled.st_blocks = stat.blocks.cast_signed();
    let [accessed, modified, changed] = [stat.accessed, stat.modified, stat.changed].map(timespec);
    (filled.st_atime, filled.st_atime_nsec) = (accessed.tv_sec, accessed.tv_nsec);
    (filled.st_mtime, filled.st_mtime_nsec) = (modified.tv_sec, modified.tv_nsec);
    (filled.st_ctime, filled.st_ctime_nsec) = (changed.tv_sec, changed.tv_nsec);
    into.write(filled);
}

unsafe fn fill_statx(me: &'static Context, into: *mut libc::statx, stat: Stat) {
    let mut filled: libc::statx = std::mem::zeroed();
    filled.stx_mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    filled.stx_blksize = 4096;
    filled.stx_nlink = stat.links;
    (filled.stx_uid, filled.stx_gid) = (stat.uid, stat.gid);
    filled.stx_mode = u16::try_from(stat.kind.bits() | stat.mode).unwrap_or_default();
    (filled.stx_ino, filled.stx_size, filled.stx_blocks) = (stat.number, stat.size, stat.blocks);
    filled.stx_dev_minor = device(me);
    if let Kind::Device(device) = stat.kind {
        (filled.stx_rdev_major, filled.stx_rdev_minor) = device.number();
    }
    let time = |at: Nanos, into: &mut libc::statx_timestamp| {
        into.tv_sec = (at / SECOND).cast_signed();
        into.tv_nsec = u32::try_from(at % SECOND).unwrap_or_default();
    };
    time(stat.accessed, &mut filled.stx_atime);
    time(stat.modified, &mut filled.stx_mtime);
    time(stat.changed, &mut filled.stx_ctime);
    time(stat.created, &mut filled.stx_btime);
    into.write(filled);
}

unsafe fn copy_out(bytes: &[u8], into: *mut c_char, room: usize) -> Result<usize> {
    let count = bytes.len().min(room);
    std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), into, count);
    Ok(count)
}

unsafe fn statvfs_into(me: &'static Context, into: *mut libc::statvfs64) {
    let space = tell(me, |kernel, caller| kernel.own_disk(caller).0.space());
    let mut filled: libc::statvfs64 = std::mem::zeroed();
    (filled.f_bsize, filled.f_frsize) = (space.block, space.block);
    (filled.f_blocks, filled.f_bfree, filled.f_bavail) = (space.blocks, space.blocks_free, space.blocks_free);
    (filled.f_files, filled.f_ffree, filled.f_favail) = (space.inodes, space.inodes_free, space.inodes_free);
    filled.f_namemax = 255;
    into.write(filled);
}

// ---- directories ---------------------------------------------------------------------------------------------------------

/// An open directory stream of a simulated program.
struct Stream {
    fd: i32,
    entries: Vec<Entry>,
    next: usize,
    shown: libc::dirent64,
}

shared! {
    /// The streams that are ours, by address: a `DIR *` may be the C library's.
    static STREAMS: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());
}

fn streams<T>(f: impl FnOnce(&mut BTreeSet<usize>) -> T) -> T {
    switch::outside(|| f(&mut STREAMS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)))
}

fn is_ours(stream: *mut c_void) -> bool {
    streams(|streams| streams.contains(&stream.addr()))
}

/// A stream over an open directory; `None`: it is none.
unsafe fn stream_of(me: &'static Context, fd: i32) -> Result<*mut c_void> {
    let Descriptor::Simulated(file) = descriptor(me, fd) else { return Err(Errno::EBADF) };
    let mut entries = tell(me, |kernel, caller| {
        let inode = kernel.inode_of(file, Errno::ENOTDIR)?;
        let here = [(&b"."[..], inode), (&b".."[..], inode)];
        let mut all: Vec<_> = here
            .into_iter()
            .map(|(name, inode)| Entry { name: name.into(), inode, kind: Kind::Directory })
            .collect();
        all.extend(kernel.own_disk(caller).0.list(inode)?);
        Ok(all)
    })?;
    entries.shrink_to_fit();
    let stream = Box::into_raw(Box::new(Stream { fd, entries, next: 0, shown: std::mem::zeroed() }));
    let stream: *mut c_void = stream.cast();
    streams(|streams| streams.insert(stream.addr()));
    Ok(stream)
}

unsafe fn next_entry(stream: *mut c_void) -> *mut libc::dirent64 {
    let stream = &mut *stream.cast::<Stream>();
    let Some(entry) = stream.entries.get(stream.next) else { return std::ptr::null_mut() };
    stream.next += 1;
    let shown = &mut stream.shown;
    shown.d_ino = entry.inode.number();
    shown.d_off = i64::try_from(stream.next).unwrap_or_default();
    shown.d_reclen = u16::try_from(size_of::<libc::dirent64>()).unwrap_or_default();
    shown.d_type = entry.kind.entry_type();
    let room = shown.d_name.len() - 1;
    let count = entry.name.len().min(room);
    std::ptr::copy_nonoverlapping(entry.name.as_ptr().cast(), shown.d_name.as_mut_ptr(), count);
    shown.d_name[count] = 0;
    shown
}

define! {
    /// Looks, following links.
    fn stat(name: *const c_char, into: *mut libc::stat64) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(look(me, libc::AT_FDCWD, path(name), 0).map(|stat| fill(me, into, stat)))
    }

    /// Looks, following links.
    fn stat64(name: *const c_char, into: *mut libc::stat64) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(look(me, libc::AT_FDCWD, path(name), 0).map(|stat| fill(me, into, stat)))
    }

    /// Looks at a link itself.
    fn lstat(name: *const c_char, into: *mut libc::stat64) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(look(me, libc::AT_FDCWD, path(name), libc::AT_SYMLINK_NOFOLLOW).map(|stat| fill(me, into, stat)))
    }

    /// Looks at a link itself.
    fn lstat64(name: *const c_char, into: *mut libc::stat64) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(look(me, libc::AT_FDCWD, path(name), libc::AT_SYMLINK_NOFOLLOW).map(|stat| fill(me, into, stat)))
    }

    /// Looks at what is open.
    fn fstat(fd: i32, into: *mut libc::stat64) -> i32 |me, real| {
        let file = super::simulated!(me, fd, real);
        zero(look_at(me, file).map(|stat| fill(me, into, stat)))
    }

    /// Looks at what is open.
    fn fstat64(fd: i32, into: *mut libc::stat64) -> i32 |me, real| {
        let file = super::simulated!(me, fd, real);
        zero(look_at(me, file).map(|stat| fill(me, into, stat)))
    }

    /// Looks, from a directory.
    fn fstatat(at: i32, name: *const c_char, into: *mut libc::stat64, flags: i32) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(look(me, at, path(name), flags).map(|stat| fill(me, into, stat)))
    }

    /// Looks, from a directory.
    fn fstatat64(at: i32, name: *const c_char, into: *mut libc::stat64, flags: i32) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(look(me, at, path(name), flags).map(|stat| fill(me, into, stat)))
    }

    /// Looks, from a directory.
    fn statx(
        at: i32,
        name: *const c_char,
        flags: i32,
        _wanted: u32,
        into: *mut libc::statx,
    ) -> i32 |me, real| {
        let is_real_file = path(name).is_empty() && descriptor(me, at) == Descriptor::Real;
        if is_real_file || uses_real_files(me, path(name)) && !is_simulated_fd(me, at, path(name)) {
            return real();
        }
        // Probes of whether there is such a call pass no pointers.
        if name.is_null() || into.is_null() { return fail(Errno::EFAULT) }
        zero(look(me, at, path(name), flags).map(|stat| fill_statx(me, into, stat)))
    }

    /// Whether root may.
    fn access(name: *const c_char, wanted: i32) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, libc::AT_FDCWD, |disk, _, at| {
            disk.resolve(at, path(name), true).and_then(|inode| disk.access(inode, wanted))
        }))
    }

    /// Whether root may, from a directory.
    fn faccessat(at: i32, name: *const c_char, wanted: i32, _flags: i32) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, at, |disk, _, at| {
            disk.resolve(at, path(name), true).and_then(|inode| disk.access(inode, wanted))
        }))
    }

    /// Makes a directory.
    fn mkdir(name: *const c_char, mode: libc::mode_t) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        let mode = masked(me, mode);
        zero(with_names(me, libc::AT_FDCWD, |disk, now, at| {
            disk.make_directory(now, at, path(name), mode).map(drop)
        }))
    }

    /// Makes a directory, from a directory.
    fn mkdirat(at: i32, name: *const c_char, mode: libc::mode_t) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        let mode = masked(me, mode);
        zero(with_names(me, at, |disk, now, at| disk.make_directory(now, at, path(name), mode).map(drop)))
    }

    /// Removes an empty directory.
    fn rmdir(name: *const c_char) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, libc::AT_FDCWD, |disk, now, at| disk.remove_directory(now, at, path(name))))
    }

    /// Removes a name.
    fn unlink(name: *const c_char) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, libc::AT_FDCWD, |disk, now, at| disk.unlink(now, at, path(name))))
    }

    /// Removes a name or an empty directory, from a directory.
    fn unlinkat(at: i32, name: *const c_char, flags: i32) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, at, |disk, now, at| {
            if flags & libc::AT_REMOVEDIR != 0 {
                disk.remove_directory(now, at, path(name))
            } else {
                disk.unlink(now, at, path(name))
            }
        }))
    }

    /// Moves a name.
    fn rename(from: *const c_char, to: *const c_char) -> i32 |me, real| {
        if uses_real_files(me, path(from)) { return real() }
        zero(with_two_names(me, [libc::AT_FDCWD; 2], |disk, now, [old, new]| {
            disk.rename(now, (old, path(from)), (new, path(to)), 0)
        }))
    }

    /// Moves a name between directories.
    fn renameat(from_at: i32, from: *const c_char, to_at: i32, to: *const c_char) -> i32 |me, real| {
        if uses_real_files(me, path(from)) { return real() }
        zero(with_two_names(me, [from_at, to_at], |disk, now, [old, new]| {
            disk.rename(now, (old, path(from)), (new, path(to)), 0)
        }))
    }

    /// Moves or exchanges names.
    fn renameat2(
        from_at: i32,
        from: *const c_char,
        to_at: i32,
        to: *const c_char,
        flags: u32,
    ) -> i32 |me, real| {
        if uses_real_files(me, path(from)) { return real() }
        zero(with_two_names(me, [from_at, to_at], |disk, now, [old, new]| {
            disk.rename(now, (old, path(from)), (new, path(to)), flags)
        }))
    }

    /// One more name.
    fn link(from: *const c_char, to: *const c_char) -> i32 |me, real| {
        if uses_real_files(me, path(from)) { return real() }
        zero(with_two_names(me, [libc::AT_FDCWD; 2], |disk, now, [old, new]| {
            let inode = disk.resolve(old, path(from), false)?;
            disk.link(now, inode, new, path(to))
        }))
    }

    /// One more name.
    fn linkat(
        from_at: i32,
        from: *const c_char,
        to_at: i32,
        to: *const c_char,
        flags: i32,
    ) -> i32 |me, real| {
        if uses_real_files(me, path(from)) { return real() }
        zero(with_two_names(me, [from_at, to_at], |disk, now, [old, new]| {
            let inode = disk.resolve(old, path(from), flags & libc::AT_SYMLINK_FOLLOW != 0)?;
            disk.link(now, inode, new, path(to))
        }))
    }

    /// A symbolic link.
    fn symlink(target: *const c_char, name: *const c_char) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, libc::AT_FDCWD, |disk, now, at| {
            disk.make_symlink(now, path(target), at, path(name)).map(drop)
        }))
    }

    /// A symbolic link, from a directory.
    fn symlinkat(target: *const c_char, at: i32, name: *const c_char) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, at, |disk, now, at| {
            disk.make_symlink(now, path(target), at, path(name)).map(drop)
        }))
    }

    /// Where a symbolic link leads.
    fn readlink(name: *const c_char, into: *mut c_char, room: usize) -> isize |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        size(with_names(me, libc::AT_FDCWD, |disk, _, at| {
            let inode = disk.resolve(at, path(name), false)?;
            copy_out(disk.read_link(inode)?, into, room)
        }))
    }

    /// Where a symbolic link leads, from a directory.
    fn readlinkat(at: i32, name: *const c_char, into: *mut c_char, room: usize) -> isize |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        size(with_names(me, at, |disk, _, at| {
            let inode = disk.resolve(at, path(name), false)?;
            copy_out(disk.read_link(inode)?, into, room)
        }))
    }

    /// The path without links and dots.
    fn realpath(name: *const c_char, into: *mut c_char) -> *mut c_char |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        match with_names(me, libc::AT_FDCWD, |disk, _, at| disk.real_path(at, path(name))) {
            Ok(mut found) => {
                found.push(0);
                let into = if into.is_null() { libc::malloc(found.len()).cast() } else { into };
                std::ptr::copy_nonoverlapping(found.as_ptr().cast(), into, found.len());
                into
            }
            Err(errno) => {
                fail(errno);
                std::ptr::null_mut()
            }
        }
    }

    /// Changes a file's size.
    fn truncate(name: *const c_char, length: i64) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(pay(me, Operation::Names).and_then(|()| tell(me, |kernel, caller| {
            let length = u64::try_from(length).map_err(|_| Errno::EINVAL)?;
            let at = kernel.start_of(caller, None)?;
            let inode = kernel.own_disk(caller).0.resolve(at, path(name), true)?;
            maps::changing_node(kernel, (caller.host, inode), |kernel| {
                let (disk, now) = kernel.own_disk(caller);
                disk.truncate(now, inode, length)
            })
        })))
    }

    /// The process's own folder.
    fn getcwd(into: *mut c_char, room: usize) -> *mut c_char |me, real| {
        if uses_real_files(me, b"") { return real() }
        let found = tell(me, |kernel, caller| {
            let own = kernel.start_of(caller, None)?;
            kernel.own_disk(caller).0.path(own)
        });
        match found {
            Ok(mut found) => {
                found.push(0);
                if found.len() > room {
                    fail(Errno::ERANGE);
                    return std::ptr::null_mut();
                }
                std::ptr::copy_nonoverlapping(found.as_ptr().cast(), into, found.len());
                into
            }
            Err(errno) => {
                fail(errno);
                std::ptr::null_mut()
            }
        }
    }

    /// Changes the process's own folder.
    fn chdir(name: *const c_char) -> i32 |me, real| {
        if uses_real_files(me, b"") { return real() }
        zero(tell(me, |kernel, caller| {
            let at = kernel.start_of(caller, None)?;
            kernel.change_folder(caller, at, path(name))
        }))
    }

    /// Space of the host's disk.
    fn statvfs(name: *const c_char, into: *mut libc::statvfs64) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, libc::AT_FDCWD, |disk, _, at| disk.resolve(at, path(name), true)).map(|_| {
            statvfs_into(me, into);
        }))
    }

    /// Space of the host's disk.
    fn statvfs64(name: *const c_char, into: *mut libc::statvfs64) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, libc::AT_FDCWD, |disk, _, at| disk.resolve(at, path(name), true)).map(|_| {
            statvfs_into(me, into);
        }))
    }

    /// Space of the host's disk.
    fn fstatvfs64(fd: i32, into: *mut libc::statvfs64) -> i32 |me, real| {
        let _file = super::simulated!(me, fd, real);
        statvfs_into(me, into);
        0
    }

    /// Makes all of the host's disk durable.
    fn sync() -> () |me, real| {
        if uses_real_files(me, b"") { return real() }
        // It has no way to tell that something found no room.
        let _full = tell(me, sync_disk);
    }

    /// A stream of entries, as they are now.
    fn opendir(name: *const c_char) -> *mut c_void |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let fd = libc::open(name, flags);
        if fd < 0 {
            return std::ptr::null_mut();
        }
        stream_of(me, fd).unwrap_or_else(|errno| {
            libc::close(fd);
            fail(errno);
            std::ptr::null_mut()
        })
    }

    /// A stream of entries, as they are now.
    fn fdopendir(fd: i32) -> *mut c_void |me, real| {
        if descriptor(me, fd) == Descriptor::Real { return real() }
        stream_of(me, fd).unwrap_or_else(|errno| {
            fail(errno);
            std::ptr::null_mut()
        })
    }

    /// The next entry; null at the end.
    fn readdir(stream: *mut c_void) -> *mut libc::dirent64 |me, real| {
        if is_ours(stream) { next_entry(stream) } else { real() }
    }

    /// The next entry; null at the end.
    fn readdir64(stream: *mut c_void) -> *mut libc::dirent64 |me, real| {
        if is_ours(stream) { next_entry(stream) } else { real() }
    }

    /// Begins anew.
    fn rewinddir(stream: *mut c_void) -> () |me, real| {
        if !is_ours(stream) { return real() }
        (*stream.cast::<Stream>()).next = 0;
    }

    /// Closes a stream and its descriptor.
    fn closedir(stream: *mut c_void) -> i32 |me, real| {
        if !streams(|streams| streams.remove(&stream.addr())) { return real() }
        let stream = Box::from_raw(stream.cast::<Stream>());
        libc::close(stream.fd)
    }

    /// The descriptor of a stream.
    fn dirfd(stream: *mut c_void) -> i32 |me, real| {
        if !is_ours(stream) { return real() }
        int(Ok((*stream.cast::<Stream>()).fd))
    }
}

/// Whether an empty path means an open simulated file.
fn is_simulated_fd(me: &'static Context, at: i32, name: &[u8]) -> bool {
    name.is_empty() && at != libc::AT_FDCWD && matches!(descriptor(me, at), Descriptor::Simulated(_))
}
