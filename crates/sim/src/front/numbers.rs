//! System calls by number, as `syscall` and instructions make them: each is done as the function of its name.
#![expect(unsafe_code, reason = "system calls take pointers from their callers")]

use std::os::raw::c_void;

use super::{process, tell};
use crate::switch::{self, Context};

/// System calls by number that are simulated; `None`: not this one. A negative errno tells of failure.
pub(super) unsafe fn by_number(me: &'static Context, number: i64, a: [i64; 6]) -> Option<i64> {
    let pointer =
        |value: i64| std::ptr::with_exposed_provenance_mut::<c_void>(value.cast_unsigned() as usize);
    let result =
        |value: i64| if value < 0 { -i64::from(unsafe { *libc::__errno_location() }) } else { value };
    let int = |value: i64| value as i32;
    Some(match number {
        libc::SYS_futex => unsafe {
            super::threads::futex(
                me,
                a[0].cast_unsigned() as usize,
                int(a[1]),
                a[2] as u32,
                [a[3], a[4], a[5]],
            )
        },
        libc::SYS_getrandom => {
            let bytes = unsafe { std::slice::from_raw_parts_mut(pointer(a[0]).cast(), a[1] as usize) };
            tell(me, |kernel, caller| kernel.random(caller.process).fill(bytes));
            a[1]
        }
        libc::SYS_clock_gettime => {
            match unsafe { super::time::clock_gettime_here(me, int(a[0]), pointer(a[1]).cast()) } {
                Ok(()) => 0,
                Err(errno) => -i64::from(errno.0),
            }
        }
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => {
            let (clock, flags, [time, left]) = match number {
                libc::SYS_nanosleep => (libc::CLOCK_MONOTONIC, 0, [a[0], a[1]].map(pointer)),
                _ => (int(a[0]), int(a[1]), [a[2], a[3]].map(pointer)),
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
        _ => return unsafe { other(me, number, a, &pointer, &result) },
    })
}

/// All but those of the thread itself.
unsafe fn other(
    me: &'static Context,
    number: i64,
    a: [i64; 6],
    pointer: &dyn Fn(i64) -> *mut c_void,
    result: &dyn Fn(i64) -> i64,
) -> Option<i64> {
    if let Some(done) = by_function(number, a, pointer, result) {
        return Some(done);
    }
    // The control process has the files of this machine.
    let is_real = process::is_control(me) && super::trap::OF_FILES.contains(&number);
    if is_real {
        return Some(switch::call(number, a));
    }
    by_descriptor_function(number, a, pointer, result)
        .or_else(|| by_name_function(number, a, pointer, result))
}

/// Calls of sockets, waiting and time that have a function here are that function's.
unsafe fn by_function(
    number: i64,
    a: [i64; 6],
    pointer: &dyn Fn(i64) -> *mut c_void,
    result: &dyn Fn(i64) -> i64,
) -> Option<i64> {
    use super::{polling, sockets, time};
    let int = |value: i64| value as i32;
    let length = |value: i64| value as libc::socklen_t;
    let done: i64 = match number {
        libc::SYS_socket => sockets::socket(int(a[0]), int(a[1]), int(a[2])).into(),
        libc::SYS_socketpair => {
            sockets::socketpair(int(a[0]), int(a[1]), int(a[2]), pointer(a[3]).cast()).into()
        }
        libc::SYS_connect => sockets::connect(int(a[0]), pointer(a[1]).cast(), length(a[2])).into(),
        libc::SYS_bind => sockets::bind(int(a[0]), pointer(a[1]).cast(), length(a[2])).into(),
        libc::SYS_listen => sockets::listen(int(a[0]), int(a[1])).into(),
        libc::SYS_accept => sockets::accept(int(a[0]), pointer(a[1]).cast(), pointer(a[2]).cast()).into(),
        libc::SYS_accept4 => {
            sockets::accept4(int(a[0]), pointer(a[1]).cast(), pointer(a[2]).cast(), int(a[3])).into()
        }
        libc::SYS_sendmsg => sockets::sendmsg(int(a[0]), pointer(a[1]).cast(), int(a[2])) as i64,
        libc::SYS_recvmsg => sockets::recvmsg(int(a[0]), pointer(a[1]).cast(), int(a[2])) as i64,
        libc::SYS_sendto => sockets::sendto(
            int(a[0]),
            pointer(a[1]).cast(),
            a[2] as usize,
            int(a[3]),
            pointer(a[4]).cast(),
            length(a[5]),
        ) as i64,
        libc::SYS_recvfrom => sockets::recvfrom(
            int(a[0]),
            pointer(a[1]).cast(),
            a[2] as usize,
            int(a[3]),
            pointer(a[4]).cast(),
            pointer(a[5]).cast(),
        ) as i64,
        libc::SYS_epoll_create1 => polling::epoll_create1(int(a[0])).into(),
        libc::SYS_epoll_ctl => {
            polling::epoll_ctl(int(a[0]), int(a[1]), int(a[2]), pointer(a[3]).cast()).into()
        }
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait => {
            polling::epoll_wait(int(a[0]), pointer(a[1]).cast(), int(a[2]), int(a[3])).into()
        }
        libc::SYS_poll => polling::poll(pointer(a[0]).cast(), a[1] as libc::nfds_t, int(a[2])).into(),
        libc::SYS_ppoll => {
            polling::ppoll(pointer(a[0]).cast(), a[1] as libc::nfds_t, pointer(a[2]).cast(), std::ptr::null())
                .into()
        }
        libc::SYS_eventfd2 => polling::eventfd(a[0] as u32, int(a[1])).into(),
        libc::SYS_pipe2 => polling::pipe2(pointer(a[0]).cast(), int(a[1])).into(),
        libc::SYS_timerfd_create => time::timerfd_create(int(a[0]), int(a[1])).into(),
        libc::SYS_gettimeofday => time::gettimeofday(pointer(a[0]).cast(), std::ptr::null_mut()).into(),
        libc::SYS_time => time::time(pointer(a[0]).cast()),
        _ => return None,
    };
    Some(result(done))
}

/// Calls on descriptors that have a function here are that function's.
unsafe fn by_descriptor_function(
    number: i64,
    a: [i64; 6],
    pointer: &dyn Fn(i64) -> *mut c_void,
    result: &dyn Fn(i64) -> i64,
) -> Option<i64> {
    use super::{files, folders};
    let int = |value: i64| value as i32;
    let size = |value: i64| value as usize;
    let done: i64 = match number {
        libc::SYS_close => files::close(int(a[0])).into(),
        libc::SYS_dup => files::dup(int(a[0])).into(),
        libc::SYS_read => files::read(int(a[0]), pointer(a[1]).cast(), size(a[2])) as i64,
        libc::SYS_write => files::write(int(a[0]), pointer(a[1]).cast(), size(a[2])) as i64,
        libc::SYS_readv => files::readv(int(a[0]), pointer(a[1]).cast(), int(a[2])) as i64,
        libc::SYS_writev => files::writev(int(a[0]), pointer(a[1]).cast(), int(a[2])) as i64,
        libc::SYS_pread64 => files::pread(int(a[0]), pointer(a[1]).cast(), size(a[2]), a[3]) as i64,
        libc::SYS_pwrite64 => files::pwrite(int(a[0]), pointer(a[1]).cast(), size(a[2]), a[3]) as i64,
        libc::SYS_lseek => files::lseek(int(a[0]), a[1], int(a[2])),
        libc::SYS_ftruncate => files::ftruncate(int(a[0]), a[1]).into(),
        libc::SYS_fsync => files::fsync(int(a[0])).into(),
        libc::SYS_fdatasync => files::fdatasync(int(a[0])).into(),
        libc::SYS_flock => files::flock(int(a[0]), int(a[1])).into(),
        libc::SYS_fcntl => files::fcntl(int(a[0]), int(a[1]), a[2]).into(),
        libc::SYS_ioctl => files::ioctl(int(a[0]), a[1].cast_unsigned(), pointer(a[2])).into(),
        libc::SYS_fstat => folders::fstat(int(a[0]), pointer(a[1]).cast()).into(),
        _ => return None,
    };
    Some(result(done))
}

/// Calls on files by name that have a function here are that function's.
unsafe fn by_name_function(
    number: i64,
    a: [i64; 6],
    pointer: &dyn Fn(i64) -> *mut c_void,
    result: &dyn Fn(i64) -> i64,
) -> Option<i64> {
    use super::{attributes, files, folders, signals};
    let int = |value: i64| value as i32;
    let mode = |value: i64| value as u32;
    let size = |value: i64| value as usize;
    let here = libc::AT_FDCWD;
    let done: i64 = match number {
        libc::SYS_open => files::open(pointer(a[0]).cast(), int(a[1]), mode(a[2])).into(),
        libc::SYS_openat => files::openat(int(a[0]), pointer(a[1]).cast(), int(a[2]), mode(a[3])).into(),
        libc::SYS_creat => files::creat(pointer(a[0]).cast(), mode(a[1])).into(),
        libc::SYS_stat => folders::stat(pointer(a[0]).cast(), pointer(a[1]).cast()).into(),
        libc::SYS_lstat => folders::lstat(pointer(a[0]).cast(), pointer(a[1]).cast()).into(),
        libc::SYS_newfstatat => {
            folders::fstatat(int(a[0]), pointer(a[1]).cast(), pointer(a[2]).cast(), int(a[3])).into()
        }
        libc::SYS_statx => {
            let [name, into] = [a[1], a[4]].map(pointer);
            folders::statx(int(a[0]), name.cast(), int(a[2]), mode(a[3]), into.cast()).into()
        }
        libc::SYS_access => folders::access(pointer(a[0]).cast(), int(a[1])).into(),
        libc::SYS_faccessat | libc::SYS_faccessat2 => {
            folders::faccessat(int(a[0]), pointer(a[1]).cast(), int(a[2]), 0).into()
        }
        libc::SYS_mkdir => folders::mkdir(pointer(a[0]).cast(), mode(a[1])).into(),
        libc::SYS_mkdirat => folders::mkdirat(int(a[0]), pointer(a[1]).cast(), mode(a[2])).into(),
        libc::SYS_rmdir => folders::rmdir(pointer(a[0]).cast()).into(),
        libc::SYS_unlink => folders::unlink(pointer(a[0]).cast()).into(),
        libc::SYS_unlinkat => folders::unlinkat(int(a[0]), pointer(a[1]).cast(), int(a[2])).into(),
        libc::SYS_rename => folders::rename(pointer(a[0]).cast(), pointer(a[1]).cast()).into(),
        libc::SYS_renameat | libc::SYS_renameat2 => {
            let flags = if number == libc::SYS_renameat { 0 } else { mode(a[4]) };
            let [from, to] = [a[1], a[3]].map(pointer);
            folders::renameat2(int(a[0]), from.cast(), int(a[2]), to.cast(), flags).into()
        }
        libc::SYS_link => folders::link(pointer(a[0]).cast(), pointer(a[1]).cast()).into(),
        libc::SYS_linkat => {
            let [from, to] = [a[1], a[3]].map(pointer);
            folders::linkat(int(a[0]), from.cast(), int(a[2]), to.cast(), int(a[4])).into()
        }
        libc::SYS_symlink => folders::symlink(pointer(a[0]).cast(), pointer(a[1]).cast()).into(),
        libc::SYS_symlinkat => {
            folders::symlinkat(pointer(a[0]).cast(), int(a[1]), pointer(a[2]).cast()).into()
        }
        libc::SYS_readlink => {
            folders::readlinkat(here, pointer(a[0]).cast(), pointer(a[1]).cast(), size(a[2])) as i64
        }
        libc::SYS_readlinkat => {
            folders::readlinkat(int(a[0]), pointer(a[1]).cast(), pointer(a[2]).cast(), size(a[3])) as i64
        }
        libc::SYS_truncate => folders::truncate(pointer(a[0]).cast(), a[1]).into(),
        libc::SYS_chdir => folders::chdir(pointer(a[0]).cast()).into(),
        libc::SYS_getcwd => {
            let folder = folders::getcwd(pointer(a[0]).cast(), size(a[1]));
            if folder.is_null() { -1 } else { libc::strlen(folder) as i64 + 1 }
        }
        libc::SYS_chmod => attributes::chmod(pointer(a[0]).cast(), mode(a[1])).into(),
        libc::SYS_fchmod => attributes::fchmod(int(a[0]), mode(a[1])).into(),
        libc::SYS_fchmodat => attributes::fchmodat(int(a[0]), pointer(a[1]).cast(), mode(a[2]), 0).into(),
        libc::SYS_kill => signals::kill(int(a[0]), int(a[1])).into(),
        _ => return None,
    };
    Some(result(done))
}
