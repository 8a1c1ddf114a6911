//! Processes as programs see them: who they are, how they end. A program starts no other: `fork`, `exec` and `posix_spawn` are
//! refused.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::os::raw::{c_char, c_void};

use super::{Interrupted, define, fail, tell};
use crate::errno::Errno;
use crate::kernel::{CONTROL, Exit, On, Wait};
use crate::switch::{self, Context};

/// Ends the calling process. Its other threads never run again, as with `_exit`.
pub(crate) fn end(me: &'static Context, exit: Exit) -> ! {
    tell(me, |kernel, caller| kernel.end_process(caller.process, exit));
    switch::leave_for_ever(me)
}

/// Copies a name into a caller's field.
unsafe fn copy_name(name: &str, into: *mut c_char, room: usize) -> bool {
    let bytes = name.as_bytes();
    let count = bytes.len().min(room.saturating_sub(1));
    std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), into, count);
    if room > 0 {
        *into.add(count) = 0;
    }
    count == bytes.len()
}

define! {
    /// Ends the simulated process; its destructors and `atexit` functions are those of the whole test binary, and do not run.
    fn exit(code: i32) -> () |me, real| { end(me, Exit::Code(code & 0xff)) }

    /// Ends the simulated process.
    fn _exit(code: i32) -> () |me, real| { end(me, Exit::Code(code & 0xff)) }

    /// Ends the simulated process by SIGABRT.
    fn abort() -> () |me, real| { end(me, Exit::Signal(libc::SIGABRT)) }

    /// Waits for a signal that has a handler. So the standard library parks the second thread of a process that exits; while
    /// statics are everybody's that may be another process's, and ends it.
    fn pause() -> i32 |me, real| {
        if !tell(me, |kernel, _| kernel.rules.has_own_statics) {
            end(me, Exit::Code(1));
        }
        let mut interrupted = Interrupted::No;
        while interrupted == Interrupted::No {
            interrupted = switch::wait(me, Wait { on: On::Time, until: None, what: "pause" });
        }
        fail(Errno::EINTR)
    }

    /// Refused.
    fn fork() -> i32 |me, real| { fail(Errno::ENOSYS) }

    /// Refused.
    fn vfork() -> i32 |me, real| { fail(Errno::ENOSYS) }

    /// Refused: there are no executables on simulated hosts.
    fn posix_spawn(
        _pid: *mut i32,
        _path: *const c_char,
        _actions: *const c_void,
        _attributes: *const c_void,
        _arguments: *const c_void,
        _environment: *const c_void,
    ) -> i32 |me, real| { libc::ENOENT }

    /// Refused: there are no executables on simulated hosts.
    fn posix_spawnp(
        _pid: *mut i32,
        _file: *const c_char,
        _actions: *const c_void,
        _attributes: *const c_void,
        _arguments: *const c_void,
        _environment: *const c_void,
    ) -> i32 |me, real| { libc::ENOENT }

    /// For a spawn that is refused. The C library would look whether it knows such a descriptor.
    fn posix_spawn_file_actions_adddup2(_actions: *mut c_void, _from: i32, _to: i32) -> i32 |me, real| { 0 }

    /// Refused: there are no executables on simulated hosts.
    fn execve(
        _path: *const c_char,
        _arguments: *const c_void,
        _environment: *const c_void,
    ) -> i32 |me, real| { fail(Errno::ENOENT) }

    /// Refused: there are no executables on simulated hosts.
    fn execvp(_file: *const c_char, _arguments: *const c_void) -> i32 |me, real| { fail(Errno::ENOENT) }

    /// A program has no children.
    fn waitpid(_pid: i32, _status: *mut i32, _options: i32) -> i32 |me, real| { fail(Errno::ECHILD) }

    /// A number of its own.
    fn getpid() -> i32 |me, real| { tell(me, |_, caller| caller.process.number()) }

    /// The host's agent has no number.
    fn getppid() -> i32 |me, real| { 0 }

    /// The host's name.
    fn gethostname(into: *mut c_char, room: usize) -> i32 |me, real| {
        let name = tell(me, |kernel, caller| kernel.host_name(caller.host).to_owned());
        if copy_name(&name, into, room) { 0 } else { fail(Errno::ENAMETOOLONG) }
    }

    /// The host's name; the rest is this machine's.
    fn uname(into: *mut libc::utsname) -> i32 |me, real| {
        let failed = real();
        let name = tell(me, |kernel, caller| kernel.host_name(caller.host).to_owned());
        let node = &mut (*into).nodename;
        copy_name(&name, node.as_mut_ptr(), node.len());
        failed
    }

    /// The mask of new files' permissions.
    fn umask(mask: libc::mode_t) -> libc::mode_t |me, real| {
        tell(me, |kernel, caller| kernel.change_umask(caller.process, mask))
    }

    /// Each process is a group of its own.
    fn getpgrp() -> i32 |me, real| { tell(me, |_, caller| caller.process.number()) }

    /// Programs on hosts are root's; the test is whoever began it.
    fn getuid() -> libc::uid_t |me, real| { if is_control(me) { real() } else { 0 } }

    /// As `getuid`.
    fn geteuid() -> libc::uid_t |me, real| { if is_control(me) { real() } else { 0 } }

    /// As `getuid`.
    fn getgid() -> libc::gid_t |me, real| { if is_control(me) { real() } else { 0 } }

    /// As `getuid`.
    fn getegid() -> libc::gid_t |me, real| { if is_control(me) { real() } else { 0 } }
}

pub(super) fn is_control(me: &'static Context) -> bool {
    tell(me, |_, caller| caller.process == CONTROL)
}
