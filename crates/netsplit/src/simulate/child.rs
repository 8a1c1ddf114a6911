//! One process of ours, from its start to its end: what it answered, what it printed, how it ended. Every wait has the
//! process's deadline.

use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use netsplit_provider::simulation;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How much of what it prints is kept: its end, which is what a crash is understood by.
const PRINTED_MAX: usize = 64 << 10;
/// How much it may answer. A verdict has a few lines of each failed wait.
const ANSWER_MAX: usize = 16 << 20;

/// Reads after its end: more than its answer and its pipe can hold.
const LAST_READS_MAX: usize = 2 * ANSWER_MAX / READ_MAX;
const READ_MAX: usize = 16 << 10;

/// A process that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// `None`: it was still running at its deadline, and was killed.
    pub(super) status: Option<ExitStatus>,
    pub(super) answer: Vec<u8>,
    /// Both streams in the order in which they were written; of much output the end.
    pub(super) printed: String,
    pub(super) took: Duration,
}

/// A process that is killed unless it was waited for.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        let _gone_already = self.0.kill();
        let _reaped_already = self.0.wait();
    }
}

/// Starts `command` with `order` on the socket that is its standard input, and waits for its end.
///
/// # Errors
/// When it cannot be started or watched.
pub(super) fn run(mut command: Command, order: &[u8], limit: Duration) -> io::Result<Ended> {
    let begun = Instant::now();
    let (ours, theirs) = UnixStream::pair()?;
    let (mut output, printer) = io::pipe()?;
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    command.stdout(Stdio::from(printer.try_clone()?)).stderr(Stdio::from(printer));
    let mut child = Guarded(simulation::spawn(&mut command)?);
    // It holds the other ends, which must end with it.
    drop(command);
    ours.set_write_timeout(Some(limit))?;
    // One that has died says so below.
    let _died = (&ours).write_all(order);
    let alive = pidfd_open(Pid::from_child(&child.0), PidfdFlags::empty())?;
    let mut heard = Heard { answer: Vec::new(), answers: true, printed: Vec::new(), prints: true };
    let in_time = loop {
        let left = limit.saturating_sub(begun.elapsed());
        if left.is_zero() {
            break false;
        }
        if heard.listen(&ours, &mut output, &alive, left)? {
            break true;
        }
    };
    if !in_time {
        let _gone_already = child.0.kill();
    }
    let status = child.0.wait()?;
    // What it wrote before its end is in the pipe; a process that it left behind may write on.
    for _ in 0..LAST_READS_MAX {
        if !heard.listen_now(&ours, &mut output)? {
            break;
        }
    }
    Ok(Ended {
        status: in_time.then_some(status),
        answer: heard.answer,
        printed: String::from_utf8_lossy(&heard.printed).into_owned(),
        took: begun.elapsed(),
    })
}

/// What was heard of a process.
struct Heard {
    answer: Vec<u8>,
    answers: bool,
    printed: Vec<u8>,
    prints: bool,
}

impl Heard {
    /// Waits for a word of the process, or its end: whether that has come.
    fn listen(
        &mut self,
        socket: &UnixStream,
        output: &mut PipeReader,
        alive: &OwnedFd,
        limit: Duration,
    ) -> io::Result<bool> {
        let ready = ready(
            [(socket.as_fd(), self.answers), (output.as_fd(), self.prints), (alive.as_fd(), true)],
            limit,
        )?;
        self.take(socket, output, [ready[0], ready[1]])?;
        Ok(ready[2])
    }

    /// Takes what is there; whether there was any.
    fn listen_now(&mut self, socket: &UnixStream, output: &mut PipeReader) -> io::Result<bool> {
        let ready = ready([(socket.as_fd(), self.answers), (output.as_fd(), self.prints)], Duration::ZERO)?;
        self.take(socket, output, ready)?;
        Ok(ready.contains(&true))
    }

    fn take(&mut self, mut socket: &UnixStream, output: &mut PipeReader, ready: [bool; 2]) -> io::Result<()> {
        let mut buffer = [0; READ_MAX];
        if ready[0] {
            // A process that died with our order unread resets the connection.
            let count = socket.read(&mut buffer).unwrap_or(0);
            self.answer.extend_from_slice(&buffer[..count]);
            self.answers = count > 0 && self.answer.len() < ANSWER_MAX;
        }
        if ready[1] {
            let count = output.read(&mut buffer)?;
            self.printed.extend_from_slice(&buffer[..count]);
            self.prints = count > 0;
            if self.printed.len() > 2 * PRINTED_MAX {
                self.printed.drain(..self.printed.len() - PRINTED_MAX);
            }
        }
        Ok(())
    }
}

/// Which of these have something to say, once one of them has; those that are not wanted never do.
fn ready<const N: usize>(
    wanted: [(std::os::fd::BorrowedFd<'_>, bool); N],
    limit: Duration,
) -> io::Result<[bool; N]> {
    let mut ready = [false; N];
    let asked: Vec<usize> = (0..N).filter(|index| wanted[*index].1).collect();
    let mut fds: Vec<_> =
        asked.iter().map(|index| PollFd::from_borrowed_fd(wanted[*index].0, PollFlags::IN)).collect();
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    match poll(&mut fds, Some(&limit)) {
        Err(rustix::io::Errno::INTR) => return Ok(ready),
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    for (index, fd) in asked.iter().zip(&fds) {
        ready[*index] = !fd.revents().is_empty();
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn shell(script: &str, limit: Duration) -> Ended {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        run(command, b"an order\n", limit).unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_answers_on_its_standard_input() {
        let ended = shell("read -r order; echo \"$order\" >&0; echo out; echo err >&2; exit 3", LONG);
        assert_eq!((ended.status.unwrap().code(), ended.answer), (Some(3), b"an order\n".to_vec()));
        assert_eq!(ended.printed, "out\nerr\n");
    }

    #[test]
    fn one_that_dies_is_heard_to_the_end() {
        let ended = shell("yes | head -c 300000; echo the last words; kill -ABRT $$", LONG);
        assert_eq!(ended.status.unwrap().signal(), Some(6));
        assert!(ended.printed.ends_with("the last words\n") && ended.printed.len() < 200_000);
        assert_eq!(ended.answer, b"");
    }

    #[test]
    fn one_that_does_not_end_is_killed_and_one_that_it_leaves_is_not_waited_for() {
        let ended = shell("echo begun; exec sleep 1000", Duration::from_millis(300));
        assert_eq!((ended.status, &*ended.printed), (None, "begun\n"));
        let ended = shell("sleep 5 & echo left", LONG);
        assert!(ended.status.unwrap().success() && ended.took < Duration::from_secs(4), "{ended:?}");
    }
}
