//! The process that runs a testbed's emulated network, beside the stage: a fabric has threads, and the stage, which forks
//! hosts, must have one. This is the stage's side; [`run`](super::network::run) is the process.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use rustix::process::{PidfdFlags, pidfd_open};

use super::control::{self, Ask, REPLY_MAX, Reply, Request, Say, Step, StepError};
use super::network;
use crate::sys::{Forked, fork};

/// How long the process may take for one thing: a device takes a millisecond, a capture's last bytes a slow disk.
const ANSWER_MAX: Duration = Duration::from_secs(20);

const STEP: &str = "ask the network's process";

/// The network's process.
#[derive(Debug)]
pub(super) struct Process {
    /// Readable when it has ended.
    pub(super) alive: OwnedFd,
    /// Readable when it has news.
    pub(super) control: OwnedFd,
    /// The number of the newest question; 0 is what nobody asked for.
    asked: u64,
    /// Questions whose answers nobody waits for here: the client's number and that of its request.
    later: BTreeMap<u64, (usize, u64)>,
    /// What it said by itself while it was asked something.
    news: VecDeque<News>,
}

/// What the process says while nobody waits for it here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    /// For every client.
    All(Say),
    /// The answer to a client's request.
    Answer(usize, Reply),
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
        Ok(Self { alive, control, asked: 0, later: BTreeMap::new(), news: VecDeque::new() })
    }

    /// Asks for one thing, and waits until it is done.
    pub(super) fn ask(&mut self, ask: Ask, fd: Option<BorrowedFd<'_>>) -> Result<u32, StepError> {
        self.send(ask, fd)?;
        let begun = Instant::now();
        loop {
            if !is_readable(&self.control, ANSWER_MAX.saturating_sub(begun.elapsed())).step(STEP)? {
                return Err(io::Error::from(io::ErrorKind::TimedOut)).step(STEP);
            }
            let reply = control::receive::<Reply>(&self.control, RecvFlags::empty(), REPLY_MAX).step(STEP)?;
            let Some((reply, _)) = reply else { return Err(io::Error::other("it has ended")).step(STEP) };
            match reply {
                Reply { id, say: Some(Say::Done(number)) } if id == self.asked => return Ok(number),
                Reply { id, say: Some(Say::Failed(failure)) } if id == self.asked => {
                    return Err(failure.into());
                }
                other => self.note(other),
            }
        }
    }

    /// Asks for something that takes long. The answer to the client's request is among the news.
    pub(super) fn ask_later(
        &mut self,
        ask: Ask,
        fd: Option<BorrowedFd<'_>>,
        client: usize,
        request: u64,
    ) -> Result<(), StepError> {
        self.send(ask, fd)?;
        self.later.insert(self.asked, (client, request));
        Ok(())
    }

    fn send(&mut self, ask: Ask, fd: Option<BorrowedFd<'_>>) -> Result<(), StepError> {
        self.asked += 1;
        control::send(&self.control, &Request { id: self.asked, ask: Some(ask) }, fd).step(STEP)
    }

    /// The late answer to a question that nobody waits for any more is no news.
    fn note(&mut self, reply: Reply) {
        if let Some((client, id)) = self.later.remove(&reply.id) {
            self.news.push_back(News::Answer(client, Reply { id, ..reply }));
        } else if let Reply { id: 0, say: Some(say @ (Say::Turned(_) | Say::Failed(_))) } = reply {
            self.news.push_back(News::All(say));
        }
    }

    /// Whether there are news that no poll would tell.
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// What it has said by itself; `None`: nothing.
    pub(super) fn news(&mut self) -> Option<News> {
        while self.news.is_empty() {
            let (reply, _) =
                control::receive::<Reply>(&self.control, RecvFlags::DONTWAIT, REPLY_MAX).ok()??;
            self.note(reply);
        }
        self.news.pop_front()
    }
}

fn is_readable(fd: &OwnedFd, within: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(within).map_err(io::Error::other)?;
    Ok(poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout))? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::control::{State, Turned};

    #[test]
    fn a_late_answer_is_not_taken_for_the_next_ones() {
        let (ours, theirs) = control::pair().unwrap();
        let alive = theirs.try_clone().unwrap();
        let mut process =
            Process { alive, control: ours, asked: 1, later: BTreeMap::new(), news: VecDeque::new() };
        let turned = |id| Say::Turned(Turned { id, state: State::Ended.into() });
        let say = |id, say| control::send(&theirs, &Reply { id, say: Some(say) }, None).unwrap();
        say(1, Say::Done(7));
        say(0, turned(5));
        say(2, Say::Done(8));
        assert_eq!(process.ask(Ask::Gone(0), None).unwrap(), 8);
        process.ask_later(Ask::EndCapture(1), None, 4, 17).unwrap();
        say(2, Say::Done(9));
        say(0, turned(6));
        say(3, Say::Done(10));
        let [five, six] = [5, 6].map(|id| Some(News::All(turned(id))));
        let answer = Some(News::Answer(4, Reply { id: 17, say: Some(Say::Done(10)) }));
        assert_eq!([five, six, answer, None], [(); 4].map(|()| process.news()));
    }
}
