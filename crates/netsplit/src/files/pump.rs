//! A file's bytes through a pipe to an agent on this machine: the kernel moves them.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// What a pipe holds, if this user may have so large a one: all that is moved at a time.
const PIPE_SIZE: usize = 1 << 20;
/// Bytes of a file that cannot be spliced, read at a time; a pipe takes them whole or not at all.
const CHUNK: usize = 4096;
/// How long it takes at most to see that nobody wants the bytes any more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A pipe: the end to read from, and the end to write to.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // A user has so much room for pipes; a small one is only slower.
    let _small = fcntl_setpipe_size(&writer, PIPE_SIZE);
    Ok((reader, writer))
}

/// How a pump ended.
#[derive(Debug)]
pub(super) enum Pumped {
    /// All bytes are in the pipe.
    Whole,
    /// The file ended before.
    Short,
    /// The reader wants no more.
    Closed,
}

/// How far a pump is, and whether it is still wanted.
#[derive(Debug, Default)]
pub(super) struct Meter {
    moved: AtomicU64,
    cancelled: AtomicBool,
}

impl Meter {
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

/// Moves `size` bytes of `file` into `pipe`, unless it is cancelled. Blocks.
pub(super) fn pump(mut file: File, size: u64, pipe: &OwnedFd, meter: &Meter) -> io::Result<Pumped> {
    let mut left = size;
    while left > 0 {
        match room(pipe)? {
            _ if meter.cancelled.load(Ordering::Relaxed) => return Ok(Pumped::Closed),
            Room::Closed => return Ok(Pumped::Closed),
            Room::None => continue,
            Room::Some => {}
        }
        let some = usize::try_from(left).unwrap_or(usize::MAX).min(PIPE_SIZE);
        match move_some(&mut file, pipe, some) {
            Ok(0) => return Ok(Pumped::Short),
            Ok(moved) => {
                left = left.saturating_sub(moved as u64);
                meter.moved.store(size - left, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Pumped::Closed),
            Err(error) => return Err(error),
        }
    }
    Ok(Pumped::Whole)
}

enum Room {
    Some,
    None,
    /// Nobody reads any more.
    Closed,
}

/// Waits for room in a pipe, for a while.
fn room(pipe: &OwnedFd) -> io::Result<Room> {
    let mut fds = [PollFd::new(pipe, PollFlags::OUT)];
    let timeout = Timespec::try_from(LOOK_EVERY).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&timeout)) {
        Err(Errno::INTR) => return Ok(Room::None),
        other => other?,
    };
    let found = fds[0].revents();
    Ok(match found {
        _ if found.contains(PollFlags::ERR) => Room::Closed,
        _ if found.contains(PollFlags::OUT) => Room::Some,
        _ => Room::None,
    })
}

fn move_some(file: &mut File, pipe: &OwnedFd, some: usize) -> io::Result<usize> {
    match splice(&*file, None, pipe, None, some, SpliceFlags::NONBLOCK) {
        // A file system that cannot.
        Err(Errno::INVAL) => {
            let mut bytes = [0; CHUNK];
            let count = file.read(&mut bytes[..some.min(CHUNK)])?;
            Ok(if count == 0 { 0 } else { rustix::io::write(pipe, &bytes[..count])? })
        }
        moved => Ok(moved?),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn source(size: usize) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'x'; size]).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        file
    }

    #[test]
    fn all_bytes_come_through() {
        let (reader, writer) = pipe().unwrap();
        let reading = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            File::from(reader).read_to_end(&mut bytes).map(|_| bytes.len())
        });
        let size = (3 << 20) + 5;
        let pumped = pump(source(size), size as u64, &writer, &Meter::default()).unwrap();
        drop(writer);
        assert!(matches!(pumped, Pumped::Whole));
        assert_eq!(reading.join().unwrap().unwrap(), size);
    }

    #[test]
    fn a_shorter_file_a_closed_pipe_and_a_cancelled_pump_end() {
        let (reader, writer) = pipe().unwrap();
        let not = Meter::default();
        assert!(matches!(pump(source(5), 6, &writer, &not), Ok(Pumped::Short)));
        let cancelled = Meter::default();
        cancelled.cancel();
        assert!(matches!(pump(source(5), 5, &writer, &cancelled), Ok(Pumped::Closed)));
        drop(reader);
        assert!(matches!(pump(source(5), 5, &writer, &not), Ok(Pumped::Closed)));
    }
}
