//! System calls by number, as `syscall` and instructions make them: each is done as the function of its name.
#![expect(unsafe_code, reason = "system calls take pointers from their callers")]

use std::os::raw::c_void;

use super::{process, tell};
use crate::switch::{self, Context};

/// The arguments of a call, as C reads them.
#[derive(Clone, Copy)]
struct Words([i64; 6]);

impl Words {
    fn int(self, place: usize) -> i32 {
        self.0[place] as i32
    }

    fn bits(self, place: usize) -> u32 {
        self.0[place] as u32
    }

    fn size(self, place: usize) -> usize {
        self.0[place] as usize
    }

    fn pointer(self, place: usize) -> *mut c_void {
        std::ptr::with_exposed_provenance_mut(self.size(place))
    }
}

/// What a function gave, as system calls tell it.
fn result(value: i64) -> i64 {
    // SAFETY: the C library gives this thread's own.
    if value < 0 { -i64::from(unsafe { *libc::__errno_location() }) } else { value }
}

/// System calls by number that are simulated; `None`: not this one. A negative errno tells of failure.
pub(super) unsafe fn by_number(me: &'static Context, number: i64, a: [i64; 6]) -> Option<i64> {
    let a = Words(a);
    Some(match number {
        libc::SYS_futex => unsafe {
            super::threads::futex(me, a.size(0), a.int(1), a.bits(2), [a.0[3], a.0[4], a.0[5]])
        },
        libc::SYS_getrandom => {
            let bytes = unsafe { std::slice::from_raw_parts_mut(a.pointer(0).cast(), a.size(1)) };
            tell(me, |kernel, caller| kernel.random(caller.process).fill(bytes));
            a.0[1]
        }
        libc::SYS_clock_gettime => {
            match unsafe { super::time::clock_gettime_here(me, a.int(0), a.pointer(1).cast()) } {
                Ok(()) => 0,
                Err(errno) => -i64::from(errno.0),
            }
        }
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => {
            let (clock, flags, [time, left]) = match number {
                libc::SYS_nanosleep => (libc::CLOCK_MONOTONIC, 0, [0, 1].map(|place| a.pointer(place))),
                _ => (a.int(0), a.int(1), [2, 3].map(|place| a.pointer(place))),
            };
            match unsafe { super::time::clock_sleep(me, clock, flags, time.cast(), left.cast()) } {
                Ok(()) => 0,
                Err(errno) => -i64::from(errno.0),
            }
        }
        libc::SYS_gettid => super::threads::thread_number(me).into(),
        libc::SYS_getpid => i64::from(tell(me, |_, caller| caller.process.number())),
        libc::SYS_sched_yield => {
            switch::yield_now(me);
            0
        }
        libc::SYS_io_uring_setup | libc::SYS_clone3 | libc::SYS_pidfd_open | libc::SYS_membarrier => {
            -i64::from(libc::ENOSYS)
        }
        libc::SYS_fork | libc::SYS_vfork | libc::SYS_execve => -i64::from(libc::ENOSYS),
        _ => return unsafe { other(me, number, a) },
    })
}

/// All but those of the thread itself.
unsafe fn other(me: &'static Context, number: i64, a: Words) -> Option<i64> {
    if let Some(done) = by_function(number, a) {
        return Some(done);
    }
    // The control process has the files of this machine.
    let is_real = process::is_control(me) && super::trap::OF_FILES.contains(&number);
    if is_real {
        return Some(switch::call(number, a.0));
    }
    by_descriptor_function(number, a).or_else(|| by_name_function(number, a))
}

/// Calls of sockets, waiting, time and processes that have a function here are that function's.
unsafe fn by_function(number: i64, a: Words) -> Option<i64> {
    use super::{polling, signals, sockets, time};
    let done: i64 = match number {
        libc::SYS_socket => sockets::socket(a.int(0), a.int(1), a.int(2)).into(),
        libc::SYS_socketpair => sockets::socketpair(a.int(0), a.int(1), a.int(2), a.pointer(3).cast()).into(),
        libc::SYS_connect => sockets::connect(a.int(0), a.pointer(1).cast(), a.bits(2)).into(),
        libc::SYS_bind => sockets::bind(a.int(0), a.pointer(1).cast(), a.bits(2)).into(),
        libc::SYS_listen => sockets::listen(a.int(0), a.int(1)).into(),
        libc::SYS_accept => sockets::accept(a.int(0), a.pointer(1).cast(), a.pointer(2).cast()).into(),
        libc::SYS_accept4 => {
            sockets::accept4(a.int(0), a.pointer(1).cast(), a.pointer(2).cast(), a.int(3)).into()
        }
        libc::SYS_sendmsg => sockets::sendmsg(a.int(0), a.pointer(1).cast(), a.int(2)) as i64,
        libc::SYS_recvmsg => sockets::recvmsg(a.int(0), a.pointer(1).cast(), a.int(2)) as i64,
        libc::SYS_sendto => sockets::sendto(
            a.int(0),
            a.pointer(1).cast(),
            a.size(2),
            a.int(3),
            a.pointer(4).cast(),
            a.bits(5),
        ) as i64,
        libc::SYS_recvfrom => sockets::recvfrom(
            a.int(0),
            a.pointer(1).cast(),
            a.size(2),
            a.int(3),
            a.pointer(4).cast(),
            a.pointer(5).cast(),
        ) as i64,
        libc::SYS_epoll_create1 => polling::epoll_create1(a.int(0)).into(),
        libc::SYS_epoll_ctl => polling::epoll_ctl(a.int(0), a.int(1), a.int(2), a.pointer(3).cast()).into(),
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait => {
            polling::epoll_wait(a.int(0), a.pointer(1).cast(), a.int(2), a.int(3)).into()
        }
        libc::SYS_poll => polling::poll(a.pointer(0).cast(), a.0[1] as libc::nfds_t, a.int(2)).into(),
        libc::SYS_ppoll => {
            polling::ppoll(a.pointer(0).cast(), a.0[1] as libc::nfds_t, a.pointer(2).cast(), std::ptr::null())
                .into()
        }
        libc::SYS_eventfd2 => polling::eventfd(a.bits(0), a.int(1)).into(),
        libc::SYS_pipe2 => polling::pipe2(a.pointer(0).cast(), a.int(1)).into(),
        libc::SYS_timerfd_create => time::timerfd_create(a.int(0), a.int(1)).into(),
        libc::SYS_gettimeofday => time::gettimeofday(a.pointer(0).cast(), std::ptr::null_mut()).into(),
        libc::SYS_kill => signals::kill(a.int(0), a.int(1)).into(),
        libc::SYS_time => time::time(a.pointer(0).cast()),
        _ => return None,
    };
    Some(result(done))
}

/// Calls on descriptors that have a function here are that function's.
unsafe fn by_descriptor_function(number: i64, a: Words) -> Option<i64> {
    use super::{files, folders};
    let done: i64 = match number {
        libc::SYS_close => files::close(a.int(0)).into(),
        libc::SYS_dup => files::dup(a.int(0)).into(),
        libc::SYS_read => files::read(a.int(0), a.pointer(1).cast(), a.size(2)) as i64,
        libc::SYS_write => files::write(a.int(0), a.pointer(1).cast(), a.size(2)) as i64,
        libc::SYS_readv => files::readv(a.int(0), a.pointer(1).cast(), a.int(2)) as i64,
        libc::SYS_writev => files::writev(a.int(0), a.pointer(1).cast(), a.int(2)) as i64,
        libc::SYS_pread64 => files::pread(a.int(0), a.pointer(1).cast(), a.size(2), a.0[3]) as i64,
        libc::SYS_pwrite64 => files::pwrite(a.int(0), a.pointer(1).cast(), a.size(2), a.0[3]) as i64,
        libc::SYS_lseek => files::lseek(a.int(0), a.0[1], a.int(2)),
        libc::SYS_ftruncate => files::ftruncate(a.int(0), a.0[1]).into(),
        libc::SYS_fsync => files::fsync(a.int(0)).into(),
        libc::SYS_fdatasync => files::fdatasync(a.int(0)).into(),
        libc::SYS_flock => files::flock(a.int(0), a.int(1)).into(),
        libc::SYS_fcntl => files::fcntl(a.int(0), a.int(1), a.0[2]).into(),
        libc::SYS_ioctl => files::ioctl(a.int(0), a.0[1].cast_unsigned(), a.pointer(2)).into(),
        libc::SYS_fstat => folders::fstat(a.int(0), a.pointer(1).cast()).into(),
        _ => return None,
    };
    Some(result(done))
}

/// Calls on files by name that have a function here are that function's.
unsafe fn by_name_function(number: i64, a: Words) -> Option<i64> {
    use super::{attributes, files, folders};
    let here = libc::AT_FDCWD;
    let done: i64 = match number {
        libc::SYS_open => files::open(a.pointer(0).cast(), a.int(1), a.bits(2)).into(),
        libc::SYS_openat => files::openat(a.int(0), a.pointer(1).cast(), a.int(2), a.bits(3)).into(),
        libc::SYS_creat => files::creat(a.pointer(0).cast(), a.bits(1)).into(),
        libc::SYS_stat => folders::stat(a.pointer(0).cast(), a.pointer(1).cast()).into(),
        libc::SYS_lstat => folders::lstat(a.pointer(0).cast(), a.pointer(1).cast()).into(),
        libc::SYS_newfstatat => {
            folders::fstatat(a.int(0), a.pointer(1).cast(), a.pointer(2).cast(), a.int(3)).into()
        }
        libc::SYS_statx => {
            let [name, into] = [1, 4].map(|place| a.pointer(place));
            folders::statx(a.int(0), name.cast(), a.int(2), a.bits(3), into.cast()).into()
        }
        libc::SYS_access => folders::access(a.pointer(0).cast(), a.int(1)).into(),
        libc::SYS_faccessat | libc::SYS_faccessat2 => {
            folders::faccessat(a.int(0), a.pointer(1).cast(), a.int(2), 0).into()
        }
        libc::SYS_mkdir => folders::mkdir(a.pointer(0).cast(), a.bits(1)).into(),
        libc::SYS_mkdirat => folders::mkdirat(a.int(0), a.pointer(1).cast(), a.bits(2)).into(),
        libc::SYS_rmdir => folders::rmdir(a.pointer(0).cast()).into(),
        libc::SYS_unlink => folders::unlink(a.pointer(0).cast()).into(),
        libc::SYS_unlinkat => folders::unlinkat(a.int(0), a.pointer(1).cast(), a.int(2)).into(),
        libc::SYS_rename => folders::rename(a.pointer(0).cast(), a.pointer(1).cast()).into(),
        libc::SYS_renameat | libc::SYS_renameat2 => {
            let flags = if number == libc::SYS_renameat { 0 } else { a.bits(4) };
            let [from, to] = [1, 3].map(|place| a.pointer(place));
            folders::renameat2(a.int(0), from.cast(), a.int(2), to.cast(), flags).into()
        }
        libc::SYS_link => folders::link(a.pointer(0).cast(), a.pointer(1).cast()).into(),
        libc::SYS_linkat => {
            let [from, to] = [1, 3].map(|place| a.pointer(place));
            folders::linkat(a.int(0), from.cast(), a.int(2), to.cast(), a.int(4)).into()
        }
        libc::SYS_symlink => folders::symlink(a.pointer(0).cast(), a.pointer(1).cast()).into(),
        libc::SYS_symlinkat => folders::symlinkat(a.pointer(0).cast(), a.int(1), a.pointer(2).cast()).into(),
        libc::SYS_readlink => {
            folders::readlinkat(here, a.pointer(0).cast(), a.pointer(1).cast(), a.size(2)) as i64
        }
        libc::SYS_readlinkat => {
            folders::readlinkat(a.int(0), a.pointer(1).cast(), a.pointer(2).cast(), a.size(3)) as i64
        }
        libc::SYS_truncate => folders::truncate(a.pointer(0).cast(), a.0[1]).into(),
        libc::SYS_chdir => folders::chdir(a.pointer(0).cast()).into(),
        libc::SYS_getcwd => {
            let folder = folders::getcwd(a.pointer(0).cast(), a.size(1));
            if folder.is_null() { -1 } else { libc::strlen(folder) as i64 + 1 }
        }
        libc::SYS_chmod => attributes::chmod(a.pointer(0).cast(), a.bits(1)).into(),
        libc::SYS_fchmod => attributes::fchmod(a.int(0), a.bits(1)).into(),
        libc::SYS_fchmodat => attributes::fchmodat(a.int(0), a.pointer(1).cast(), a.bits(2), 0).into(),
        _ => return None,
    };
    Some(result(done))
}
