//! System calls that rustix does not have. Every block says why it is sound.
#![expect(
    unsafe_code,
    reason = "raw clone, closing inherited descriptors, and taking fd 0 have no safe form"
)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

/// Namespaces as `clone` knows them.
pub(super) use libc::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS,
};

/// Which of the two a fork made this.
pub(super) enum Forked {
    Child,
    Parent(Pid),
}

/// fork() into new namespaces. The child goes on in the same code, allocator and all.
///
/// # Panics
/// When this process has more than one thread: the child would inherit locks whose holders it does not have.
pub(super) fn fork(namespaces: i32) -> io::Result<Forked> {
    assert_eq!(threads()?, 1, "only a process with one thread may fork and go on");
    #[expect(clippy::cast_sign_loss, reason = "flags are bits")]
    let flags = (namespaces | libc::SIGCHLD) as u64;
    // SAFETY: without CLONE_VM and with a null stack this is fork(): the child has a copy of everything. This process
    // has one thread, checked above, so no lock is held by somebody who is not copied. glibc is not told and keeps the
    // parent's thread id in its cache; of what follows only `pthread_kill` on itself and robust mutexes would read it,
    // and threads, tokio, panics and abort were tried.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    // Before anything else: a negative number is no `Pid`, and making one of it panics.
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    match i32::try_from(pid).map(Pid::from_raw) {
        Ok(Some(pid)) => Ok(Forked::Parent(pid)),
        _ => Ok(Forked::Child),
    }
}

/// How many threads this process has.
pub(super) fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Closes every descriptor above 2 but `keep`: what was leaked into us, and other hosts' sockets.
pub(super) fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<u32> =
        keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.into_iter().chain([u32::MAX]) {
        if first < fd {
            // SAFETY: no value in this process that owns one of these descriptors is used again: the caller is a child
            // that has just been forked, or a keeper that has just begun, and goes on with `keep` alone.
            let done = unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
            if done < 0 {
                close_one_by_one(first, fd - 1);
            }
        }
        first = fd.saturating_add(1);
    }
}

/// For kernels and filters without `close_range`.
fn close_one_by_one(first: u32, last: u32) {
    let names = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let open: Vec<u32> = names.filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| (first..=last).contains(fd)) {
        if let Ok(fd) = i32::try_from(fd) {
            // SAFETY: as in `close_all_but`. The directory's own descriptor is closed already; a second close of it is
            // an error that nobody sees.
            unsafe { libc::close(fd) };
        }
    }
}

/// Takes over a descriptor that was passed by number: by the parent, as part of the role.
pub(super) fn take_fd(fd: RawFd) -> OwnedFd {
    // SAFETY: the parent made this descriptor for us and told us its number; nothing else here knows of it, and each
    // role is taken on once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Ends this process at once: no destructors, which belong to code that never began here.
pub(super) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Starts a process by `start` whose memory lies where that of the one before lay, or, where this is refused, anywhere.
pub(super) fn with_fixed_addresses<T>(start: impl FnOnce() -> T) -> T {
    let before = personality(ASK);
    if let Some(before) = before {
        personality(before | libc::ADDR_NO_RANDOMIZE);
    }
    let started = start();
    before.and_then(personality);
    started
}

/// Whether [`with_fixed_addresses`] is refused, as containers do.
pub(super) fn has_random_addresses() -> bool {
    with_fixed_addresses(|| personality(ASK).is_none_or(|now| now & libc::ADDR_NO_RANDOMIZE == 0))
}

/// Changes nothing.
const ASK: i32 = -1;

/// Sets how the kernel treats this thread and what it starts, and gives how it did before; `None`: it is refused.
fn personality(wanted: i32) -> Option<i32> {
    // It takes 32 bits, and all of them set is the question.
    let wanted = libc::c_ulong::from(u32::from_ne_bytes(wanted.to_ne_bytes()));
    // SAFETY: it changes flags of this thread, and of what is set here those matter to a process that begins only.
    let before = unsafe { libc::personality(wanted) };
    (before != -1).then_some(before)
}

/// Takes `name` out of the environment.
///
/// Only before `main`, while this process has one thread.
#[expect(clippy::disallowed_methods, reason = "nobody reads at the same time")]
pub(super) fn remove_variable(name: &str) {
    // SAFETY: called from the constructor, where nobody reads the environment at the same time; a process in which
    // another constructor has started threads refuses to become a keeper, and the other roles have none.
    unsafe { std::env::remove_var(name) }
}

/// Makes writing to a closed pipe an error rather than a death, as std does before `main`.
pub(super) fn ignore_sigpipe() {
    // SAFETY: SIG_IGN is a valid disposition for SIGPIPE, and no other code of this process has set one yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Makes a mount and all below it read-only.
pub(super) fn make_read_only(target: &std::path::Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(target.as_os_str().as_bytes())?;
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: `path` is a NUL-terminated string and `attributes` a struct of the size given; both outlive the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
