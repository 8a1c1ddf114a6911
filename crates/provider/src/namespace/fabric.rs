//! The process that runs a testbed's emulated network, beside the stage: a fabric has threads, and the stage, which forks
//! hosts, must have one. This is the stage's side; [`run`](super::network::run) is the process.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use rustix::process::{PidfdFlags, pidfd_open};

use super::control::{self, Ask, REPLY_MAX, Reply, Request, Say, Step, StepError};
use super::network;
use super::sys::{Forked, fork};

/// How long the process may take for one thing: a device takes a millisecond, a capture's last bytes a slow disk.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// What a question is numbered: 0 is what nobody asked for.
const ASKED: u64 = 1;

/// The network's process.
#[derive(Debug)]
pub(super) struct Process {
    /// Readable when it has ended.
    pub(super) alive: OwnedFd,
    /// Readable when it has news.
    pub(super) control: OwnedFd,
    /// What it said by itself while it was asked something.
    news: VecDeque<Say>,
}

impl Process {
    /// Forks it off: this process must have one thread.
    pub(super) fn start(seed: u64) -> Result<Self, StepError> {
        let (control, theirs) = control::pair().step("socketpair")?;
        let pid = match fork(0).step("fork the network's process")? {
            Forked::Child => network::run(theirs, seed),
            Forked::Parent(pid) => pid,
        };
        let alive = pidfd_open(pid, PidfdFlags::empty()).step("pidfd_open")?;
        Ok(Self { alive, control, news: VecDeque::new() })
    }

    /// Asks for one thing, and waits until it is done.
    pub(super) fn ask(&mut self, ask: Ask, fd: Option<BorrowedFd<'_>>) -> Result<u32, StepError> {
        const STEP: &str = "ask the network's process";
        control::send(&self.control, &Request { id: ASKED, ask: Some(ask) }, fd).step(STEP)?;
        loop {
            if !is_readable(&self.control, ANSWER_MAX).step(STEP)? {
                return Err(io::Error::from(io::ErrorKind::TimedOut)).step(STEP);
            }
            let reply = control::receive::<Reply>(&self.control, RecvFlags::empty(), REPLY_MAX).step(STEP)?;
            match reply {
                Some((Reply { id: 0, say: Some(news) }, _)) => self.news.push_back(news),
                Some((Reply { say: Some(Say::Done(number)), .. }, _)) => return Ok(number),
                Some((Reply { say: Some(Say::Failed(failure)), .. }, _)) => return Err(failure.into()),
                _ => return Err(io::Error::other("it has ended")).step(STEP),
            }
        }
    }

    /// Whether there are news that no poll would tell.
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// What it has said by itself; `None`: nothing.
    pub(super) fn news(&mut self) -> Option<Say> {
        self.news.pop_front().or_else(|| {
            let reply = control::receive::<Reply>(&self.control, RecvFlags::DONTWAIT, REPLY_MAX).ok()??;
            reply.0.say
        })
    }
}

fn is_readable(fd: &OwnedFd, within: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(within).map_err(io::Error::other)?;
    Ok(poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout))? > 0)
}
