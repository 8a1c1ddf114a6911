//! A process's streams on their way: from its pipes to the channel, and from the channel to its standard input.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use netsplit_link::Sender;
use netsplit_wire::message::{Pty, tag};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};

/// Bytes read at a time: one frame.
const READ_MAX: usize = 64 << 10;
/// Bytes read as long as no more came at a time: most commands write little.
const READ_FIRST: usize = 1 << 10;
/// Less than this is copied out of a read's buffer, so that a few bytes do not hold 64 KiB.
const COPY_MAX: usize = 16 << 10;
/// A pipe's size once its process has proved to write much. Not sooner: an ordinary user may have 64 MiB in pipes.
const PIPE_BIG: usize = 1 << 20;
/// Output after which a pipe is made big.
const PIPE_BIG_AFTER: u64 = 1 << 20;

/// Held for each stream that has not been drained; that nobody holds it is the message.
pub(crate) type Drained = Arc<oneshot::Sender<()>>;

/// The reading end of a pipe or terminal.
pub(crate) fn reader(fd: OwnedFd) -> io::Result<pipe::Receiver> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    pipe::Receiver::from_owned_fd_unchecked(fd)
}

/// The writing end of a pipe or terminal.
pub(crate) fn writer(fd: OwnedFd) -> io::Result<pipe::Sender> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    pipe::Sender::from_owned_fd_unchecked(fd)
}

/// Tells a terminal its size.
pub(crate) fn resize(master: impl AsFd, size: Pty) -> io::Result<()> {
    let cut = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let size = Winsize { ws_row: cut(size.rows), ws_col: cut(size.columns), ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(master, size)?)
}

/// Carries what a process writes to the channel, until its streams have ended, and then calls `ended`. `drained` is told
/// as [`carry_out`] has it.
pub(crate) async fn carry(
    stdout: pipe::Receiver,
    stderr: Option<pipe::Receiver>,
    channel: Sender,
    exited: watch::Receiver<bool>,
    drained: Drained,
    ended: impl FnOnce(),
) {
    // Whoever holds `drained` has not drained its stream.
    let others = (channel.clone(), exited.clone(), drained.clone());
    let errors = async {
        let (channel, exited, drained) = others;
        if let Some(stderr) = &stderr {
            carry_out(stderr, tag::STDERR, channel, exited, drained).await;
        }
    };
    tokio::join!(carry_out(&stdout, tag::STDOUT, channel, exited, drained), errors);
    ended();
    // Somebody waits for the news, nobody for closed descriptors.
    tokio::task::yield_now().await;
}

/// Carries what comes out of `fd` to the channel, as `tag`, until its end. When `exited` turns true, what lies in the
/// pipe at that moment is sent and `drained` told, before anything that another process may still write: output that
/// was written before an exit is there when the exit is seen, and a daemon that holds the pipe does not delay it.
async fn carry_out(
    fd: &pipe::Receiver,
    tag: u8,
    channel: Sender,
    mut exited: watch::Receiver<bool>,
    drained: Drained,
) {
    let mut drained = Some(drained);
    let (mut scratch, mut room) = (Vec::new(), READ_FIRST);
    let mut total = 0;
    let mut gone = false;
    // What lay in the pipe at the exit and was not read yet.
    let mut left = None;
    loop {
        if left.is_none() && *exited.borrow_and_update() {
            left = Some(rustix::io::ioctl_fionread(fd).unwrap_or(0));
        }
        if left == Some(0) {
            drop(drained.take()); // that is the message
        }
        let ready = tokio::select! {
            ready = fd.readable() => ready,
            changed = exited.changed(), if left.is_none() => {
                // The process was given up: nobody will say when it exits, or asks what was written by then.
                left = changed.is_err().then_some(0);
                continue;
            }
        };
        if ready.is_err() {
            return;
        }
        let bytes = match fd.try_io(|| read_once(fd, &mut scratch, room)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            // EIO: the last process closed the terminal.
            Err(_) => return,
            Ok(bytes) if bytes.is_empty() => return,
            Ok(bytes) => bytes,
        };
        if bytes.len() >= room {
            room = READ_MAX;
        }
        let count = bytes.len() as u64;
        left = left.map(|left: u64| left.saturating_sub(count));
        total += count;
        if total >= PIPE_BIG_AFTER && total - count < PIPE_BIG_AFTER {
            // It stays as it is when the user has no more room.
            let _same = rustix::pipe::fcntl_setpipe_size(fd, PIPE_BIG);
        }
        // With the client gone what comes is read and dropped: a kept process must not block on its pipe.
        gone = gone || channel.send(tag, bytes).await.is_err();
    }
}

/// Reads `room` bytes or less into `scratch` and gives what came; much is handed over, little is copied out.
fn read_once(fd: &pipe::Receiver, scratch: &mut Vec<u8>, room: usize) -> io::Result<Bytes> {
    scratch.clear();
    scratch.reserve_exact(room);
    rustix::io::read(fd, rustix::buffer::spare_capacity(scratch))?;
    Ok(if scratch.len() < COPY_MAX {
        Bytes::copy_from_slice(scratch)
    } else {
        std::mem::take(scratch).into()
    })
}

/// Writes what comes to a process's standard input. What a process does not read any more is dropped.
pub(crate) async fn write_in(fd: &mut pipe::Sender, bytes: Bytes) -> io::Result<()> {
    match fd.write_all(&bytes).await {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netsplit_link::{Config, Link, Priority, SessionId};

    use super::*;

    /// Hundredths of a second that this thread has worked.
    fn worked() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().skip(11).take(2);
        fields.map(|field| field.parse::<u64>().unwrap()).sum()
    }

    /// Its client has gone, and nobody will say when it exits: somebody who escaped holds its pipe.
    #[tokio::test]
    async fn a_process_that_was_given_up_keeps_nobody_busy() {
        let (ours, _theirs) = tokio::net::UnixStream::pair().unwrap();
        let link = Link::dial(Config::default(), SessionId([1; 16]), None, ours);
        let channel = link.open(Priority::Output).await.unwrap();
        let (output, held) = rustix::pipe::pipe().unwrap();
        let (exited, watch) = watch::channel(false);
        let (drain, drained) = oneshot::channel();
        let output = reader(output).unwrap();
        let carrying = tokio::spawn(carry(output, None, channel.sender, watch, Arc::new(drain), || {}));
        drop(exited);
        let before = worked();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let worked = worked() - before;
        assert!(worked < 20, "{worked} of 50");
        drop(held);
        carrying.await.unwrap();
        assert!(drained.await.is_err());
    }
}
