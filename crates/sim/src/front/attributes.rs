//! Permissions, owners and times of files. Those of the control process are this machine's.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::os::raw::c_char;

use super::folders::{path, uses_real_files, with_names};
use super::{define, fail, tell, zero};
use crate::errno::{Errno, Result};
use crate::kernel::Nanos;

/// The times that `utimensat` sets: none, now, or one that is given.
unsafe fn times(given: *const libc::timespec, now: Nanos) -> Result<[Option<Nanos>; 2]> {
    if given.is_null() {
        return Ok([Some(now); 2]);
    }
    let mut times = [None; 2];
    for (index, time) in times.iter_mut().enumerate() {
        let given = &*given.add(index);
        *time = match given.tv_nsec {
            libc::UTIME_NOW => Some(now),
            libc::UTIME_OMIT => None,
            _ => Some(super::time::nanos(given)?),
        };
    }
    Ok(times)
}

fn owner(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

unsafe fn nanos_of(time: libc::timeval) -> Result<Nanos> {
    let time = libc::timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_usec.saturating_mul(1000) };
    super::time::nanos(&raw const time)
}

define! {
    /// Changes permissions.
    fn chmod(name: *const c_char, mode: libc::mode_t) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, libc::AT_FDCWD, |disk, now, at| {
            let inode = disk.resolve(at, path(name), true)?;
            disk.set_mode(now, inode, mode)
        }))
    }

    /// Changes permissions of what is open.
    fn fchmod(fd: i32, mode: libc::mode_t) -> i32 |me, real| {
        let file = super::simulated!(me, fd, real);
        zero(tell(me, |kernel, caller| {
            let inode = kernel.inode_of(file, Errno::EINVAL)?;
            let (disk, now) = kernel.own_disk(caller);
            disk.set_mode(now, inode, mode)
        }))
    }

    /// Changes permissions, from a directory.
    fn fchmodat(at: i32, name: *const c_char, mode: libc::mode_t, flags: i32) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, at, |disk, now, at| {
            let inode = disk.resolve(at, path(name), flags & libc::AT_SYMLINK_NOFOLLOW == 0)?;
            disk.set_mode(now, inode, mode)
        }))
    }

    /// Changes owners.
    fn chown(name: *const c_char, user: u32, group: u32) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, libc::AT_FDCWD, |disk, now, at| {
            let inode = disk.resolve(at, path(name), true)?;
            disk.set_owner(now, inode, owner(user), owner(group));
            Ok(())
        }))
    }

    /// Changes owners of what is open.
    fn fchown(fd: i32, user: u32, group: u32) -> i32 |me, real| {
        let file = super::simulated!(me, fd, real);
        zero(tell(me, |kernel, caller| {
            let inode = kernel.inode_of(file, Errno::EINVAL)?;
            let (disk, now) = kernel.own_disk(caller);
            disk.set_owner(now, inode, owner(user), owner(group));
            Ok(())
        }))
    }

    /// Sets times of what is open.
    fn futimens(fd: i32, given: *const libc::timespec) -> i32 |me, real| {
        let file = super::simulated!(me, fd, real);
        zero(tell(me, |kernel, caller| {
            let inode = kernel.inode_of(file, Errno::EINVAL)?;
            let (disk, now) = kernel.own_disk(caller);
            let [accessed, modified] = times(given, now)?;
            disk.set_times(now, inode, accessed, modified);
            Ok(())
        }))
    }

    /// Sets times.
    fn utimensat(
        at: i32,
        name: *const c_char,
        given: *const libc::timespec,
        flags: i32,
    ) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, at, |disk, now, at| {
            let inode = disk.resolve(at, path(name), flags & libc::AT_SYMLINK_NOFOLLOW == 0)?;
            let [accessed, modified] = times(given, now)?;
            disk.set_times(now, inode, accessed, modified);
            Ok(())
        }))
    }

    /// Changes owners; of a symbolic link its own.
    fn lchown(name: *const c_char, user: u32, group: u32) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, libc::AT_FDCWD, |disk, now, at| {
            let inode = disk.resolve(at, path(name), false)?;
            disk.set_owner(now, inode, owner(user), owner(group));
            Ok(())
        }))
    }

    /// Changes owners, from a directory.
    fn fchownat(at: i32, name: *const c_char, user: u32, group: u32, flags: i32) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, at, |disk, now, at| {
            let inode = disk.resolve(at, path(name), flags & libc::AT_SYMLINK_NOFOLLOW == 0)?;
            disk.set_owner(now, inode, owner(user), owner(group));
            Ok(())
        }))
    }

    /// Sets times, in microseconds.
    fn utimes(name: *const c_char, given: *const libc::timeval) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        zero(with_names(me, libc::AT_FDCWD, |disk, now, at| {
            let inode = disk.resolve(at, path(name), true)?;
            let [accessed, modified] =
                if given.is_null() { [now; 2] } else { [nanos_of(*given)?, nanos_of(*given.add(1))?] };
            disk.set_times(now, inode, Some(accessed), Some(modified));
            Ok(())
        }))
    }

    /// Refused, as by a file system that has none: pipes with names are not simulated.
    fn mkfifo(name: *const c_char, _mode: libc::mode_t) -> i32 |me, real| {
        if uses_real_files(me, path(name)) { return real() }
        fail(Errno::EPERM)
    }
}
