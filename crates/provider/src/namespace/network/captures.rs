//! Captures: whose they are, and how they end. A file that takes no bytes, as a pipe that nobody reads, holds up nobody:
//! whoever ends its capture is told so after a while, and all else goes on.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use netsplit_fabric::{CaptureEnd, Fabric};

use super::super::control::{Step, StepError};
use super::super::diagnose::END_CAPTURE;
use super::{whole, write};
use crate::network::CaptureReport;

/// Captures at once, with those that cannot end: each has a thread, a file, and 16 MiB that may wait for it.
const CAPTURES_MAX: usize = 64;
/// How long a file may take for the last bytes: a slow disk writes a full queue of them in less.
const END_MAX: Duration = Duration::from_secs(5);

/// All captures of a network.
#[derive(Debug, Default)]
pub(super) struct Captures {
    /// Those that run, and their clients.
    running: BTreeMap<u32, u64>,
    ending: Vec<Ending>,
}

/// A capture whose file is not complete yet.
#[derive(Debug)]
struct Ending {
    end: CaptureEnd,
    /// By which question, and the file for what it came to; nobody waits for it any more without.
    asked: Option<(u64, OwnedFd)>,
    until: Instant,
}

impl Captures {
    /// Whether there may be one more.
    pub(super) fn check_room(&self) -> io::Result<()> {
        if self.running.len() + self.ending.len() < CAPTURES_MAX {
            return Ok(());
        }
        Err(io::Error::other(format!("{CAPTURES_MAX} captures run; end some")))
    }

    pub(super) fn add(&mut self, id: u32, client: u64) {
        self.running.insert(id, client);
    }

    /// Ends a capture. The answer comes from [`settle`](Self::settle).
    pub(super) fn end(
        &mut self,
        fabric: &Fabric,
        id: u32,
        question: u64,
        file: OwnedFd,
    ) -> Result<(), StepError> {
        self.begin_end(fabric, id, Some((question, file)))
    }

    /// A client has gone: nobody else ends what it has begun.
    pub(super) fn leave(&mut self, fabric: &Fabric, client: u64) {
        let theirs: Vec<_> =
            self.running.iter().filter(|(_, of)| **of == client).map(|(id, _)| *id).collect();
        for id in theirs {
            // It runs, as is noted here.
            let _ended_already = self.begin_end(fabric, id, None);
        }
    }

    fn begin_end(
        &mut self,
        fabric: &Fabric,
        id: u32,
        asked: Option<(u64, OwnedFd)>,
    ) -> Result<(), StepError> {
        self.running.remove(&id);
        let end = fabric.begin_end_of_capture(id.into()).map_err(whole).step(END_CAPTURE)?;
        self.ending.push(Ending { end, asked, until: Instant::now() + END_MAX });
        Ok(())
    }

    /// What can be read from as soon as there is something to settle.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ending.iter().map(|ending| ending.end.as_fd())
    }

    /// When there is something to settle although no file is complete.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.ending.iter().filter(|ending| ending.asked.is_some()).map(|ending| ending.until).min()
    }

    /// Answers to questions: of captures whose files are complete by now, or take too long.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<(u64, Result<u32, StepError>)> {
        let mut answers = Vec::new();
        for mut ending in std::mem::take(&mut self.ending) {
            if ending.end.is_complete() {
                let report = ending.end.report();
                answers.extend(ending.asked.map(|(question, file)| {
                    let error = report.error.map(|error| error.to_string());
                    let netsplit_fabric::CaptureReport { packets, lost, bytes, .. } = report;
                    (question, write(file, &CaptureReport { packets, lost, bytes, error }).map(|()| 0))
                }));
                continue;
            }
            if let Some((question, _)) = ending.asked.take_if(|_| now >= ending.until) {
                let text = format!("its file takes no more: it is not complete after {}s", END_MAX.as_secs());
                answers.push((question, Err(io::Error::other(text)).step(END_CAPTURE)));
            }
            self.ending.push(ending);
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use netsplit_fabric::{CaptureFilter, CaptureSpec, Limits};
    use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn begin(fabric: &Fabric, file: OwnedFd) -> u32 {
        let spec = CaptureSpec { file: file.into(), ports: CaptureFilter::All, snap_bytes: 0 };
        fabric.capture(spec).unwrap().try_into().unwrap()
    }

    fn memory() -> OwnedFd {
        memfd_create("capture", MemfdFlags::CLOEXEC).unwrap()
    }

    /// Waits for an answer that is not late.
    fn settle(captures: &mut Captures) -> Vec<(u64, bool)> {
        loop {
            let answers = captures.settle(Instant::now());
            if !answers.is_empty() {
                return answers.into_iter().map(|(question, answer)| (question, answer.is_ok())).collect();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_up_nobody() {
        let fabric = Fabric::start(1, Limits::default()).unwrap();
        let mut captures = Captures::default();
        let (read, full) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        while rustix::io::write(&full, &[0; 4096]).is_ok() {}
        fcntl_setfl(&full, OFlags::empty()).unwrap();
        let ids = [full, memory()].map(|file| begin(&fabric, file));
        ids.into_iter().for_each(|id| captures.add(id, 3));
        captures.end(&fabric, ids[0], 7, memory()).unwrap();
        captures.end(&fabric, ids[1], 8, memory()).unwrap();
        assert_eq!(settle(&mut captures), [(8, true)]);
        assert!(captures.deadline().is_some());
        let late = captures.settle(Instant::now() + END_MAX);
        assert!(matches!(&late[..], [(7, Err(_))]), "{late:?}");
        assert_eq!((captures.deadline(), captures.ending.len()), (None, 1));
        drop(read);
        while !captures.ending.is_empty() {
            assert!(captures.settle(Instant::now()).is_empty(), "nobody asks any more");
        }
        assert!(captures.end(&fabric, ids[0], 9, memory()).is_err());
    }

    #[test]
    fn who_has_gone_captures_nothing() {
        let fabric = Fabric::start(1, Limits::default()).unwrap();
        let mut captures = Captures::default();
        for client in [3, 4] {
            let id = begin(&fabric, memory());
            captures.add(id, client);
        }
        captures.leave(&fabric, 3);
        assert_eq!(captures.running.values().copied().collect::<Vec<_>>(), [4]);
        (2..CAPTURES_MAX).for_each(|id| captures.add(id.try_into().unwrap(), 4));
        while !captures.ending.is_empty() {
            captures.settle(Instant::now());
        }
        assert!(captures.check_room().is_ok());
        captures.add(u32::MAX, 4);
        assert!(captures.check_room().is_err());
    }
}
