//! `bed.sock` in the run's directory: how others reach a testbed that lives.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, unlinkat};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen as listen_on, socket_with,
};

const NAME: &str = "bed.sock";
const LOCK: &str = "bed.lock";
const BACKLOG: i32 = 16;

/// Listens in `dir`. Only this user may connect: the umask of the file is 0600, and the keeper asks who it is.
pub(super) fn listen(dir: &OwnedFd) -> io::Result<OwnedFd> {
    let socket = new()?;
    bind(&socket, &address(dir)?)?;
    rustix::fs::chmodat(dir, NAME, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    listen_on(&socket, BACKLOG)?;
    Ok(socket)
}

/// Locks `bed.lock` in `dir` for as long as what is returned is held: by it others see that the testbed lives.
pub(super) fn lock(dir: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, LOCK, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Connects to the testbed of the run in `dir`.
pub(super) fn dial(dir: &Path) -> io::Result<OwnedFd> {
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let socket = new()?;
    connect(&socket, &address(&dir)?)?;
    Ok(socket)
}

/// Whether the socket in `dir` can still be found by its name.
pub(super) fn is_there(dir: &OwnedFd) -> bool {
    rustix::fs::statat(dir, NAME, AtFlags::empty()).is_ok()
}

pub(super) fn unlink(dir: &OwnedFd) {
    // `clean` may have removed the directory already.
    for name in [NAME, LOCK] {
        let _gone = unlinkat(dir, name, AtFlags::empty());
    }
}

fn new() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Through the descriptor: a run's directory may lie deeper than the 107 bytes that a socket's address has.
fn address(dir: &OwnedFd) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()))?)
}
