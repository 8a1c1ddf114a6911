//! Users: programs on hosts are root's, who cannot become anybody else, and whom every host knows. Groups and roots of file
//! systems stay what they are. The test is whoever began it.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::os::raw::{c_char, c_void};

use super::files::bytes_in;
use super::process::is_control;
use super::{define, fail};
use crate::errno::Errno;

/// Root's name, password, full name, folder and shell, one after the other.
const ROOT: &[u8] = b"root\0x\0root\0/root\0/bin/sh\0";
/// Where each of them begins.
const FIELDS: [usize; 5] = [0, 5, 7, 12, 18];

/// Fills in root's entry; `false`: the room is too small.
unsafe fn put_root(entry: *mut libc::passwd, into: *mut c_char, room: usize) -> bool {
    if room < ROOT.len() {
        return false;
    }
    bytes_in(into.cast(), ROOT.len()).copy_from_slice(ROOT);
    let [name, password, full_name, folder, shell] = FIELDS.map(|at| into.add(at));
    *entry = libc::passwd {
        pw_name: name,
        pw_passwd: password,
        pw_uid: 0,
        pw_gid: 0,
        pw_gecos: full_name,
        pw_dir: folder,
        pw_shell: shell,
    };
    true
}

define! {
    /// The entry of root; there is no other user. It returns its error.
    fn getpwuid_r(
        user: libc::uid_t,
        entry: *mut libc::passwd,
        into: *mut c_char,
        room: usize,
        found: *mut *mut libc::passwd,
    ) -> i32 |me, real| {
        if is_control(me) { return real() }
        *found = std::ptr::null_mut();
        if user != 0 {
            return 0;
        }
        if !put_root(entry, into, room) {
            return libc::ERANGE;
        }
        *found = entry;
        0
    }

    /// Refused: it would be the whole test binary's.
    fn setuid(_user: libc::uid_t) -> i32 |me, real| { fail(Errno::EPERM) }

    /// Refused: it would be the whole test binary's.
    fn setgid(_group: libc::gid_t) -> i32 |me, real| { fail(Errno::EPERM) }

    /// Refused: it would be the whole test binary's.
    fn setgroups(_count: usize, _groups: *const libc::gid_t) -> i32 |me, real| { fail(Errno::EPERM) }

    /// Refused: it would be the whole test binary's.
    fn chroot(_path: *const c_char) -> i32 |me, real| { fail(Errno::EPERM) }

    /// Refused, as to the leader of a group, which every process is that its host began.
    fn setsid() -> i32 |me, real| { fail(Errno::EPERM) }

    /// Refused: a process's group is what its host began it with.
    fn setpgid(_pid: i32, _group: i32) -> i32 |me, real| { fail(Errno::EPERM) }

    /// A program has no children.
    fn waitid(
        _kind: libc::idtype_t,
        _id: libc::id_t,
        _info: *mut libc::siginfo_t,
        _options: i32,
    ) -> i32 |me, real| { fail(Errno::ECHILD) }

    /// Refused, as `posix_spawn` is.
    fn pidfd_spawnp(
        _fd: *mut i32,
        _path: *const c_char,
        _actions: *const c_void,
        _attributes: *const c_void,
        _arguments: *const c_void,
        _environment: *const c_void,
    ) -> i32 |me, real| { libc::ENOENT }
}
