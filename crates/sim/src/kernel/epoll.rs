//! Event queues: who watches which descriptor for what, and what has become ready.

use std::collections::VecDeque;

use super::file::{FileId, Kind, Timing};
use super::{Call, Kernel};
use crate::errno::{Errno, Result};

/// What may hold of a file, as epoll(7) and poll(2) number it.
pub(super) mod epoll_bits {
    pub(in crate::kernel) const IN: u32 = 0x1;
    pub(in crate::kernel) const OUT: u32 = 0x4;
    pub(in crate::kernel) const ERR: u32 = 0x8;
    pub(in crate::kernel) const HUP: u32 = 0x10;
    pub(in crate::kernel) const RDHUP: u32 = 0x2000;
    /// Once, then it must be armed again.
    pub(in crate::kernel) const ONESHOT: u32 = 1 << 30;
    /// When something changes, rather than for as long as it holds.
    pub(in crate::kernel) const EDGE: u32 = 1 << 31;
    /// What a watch may ask for and be told.
    pub(in crate::kernel) const STATES: u32 = 0xffff;
}

use epoll_bits::{EDGE, ERR, HUP, IN, ONESHOT, STATES};

/// What is watched, and what is said when it happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interest {
    pub(crate) mask: u32,
    pub(crate) data: u64,
}

/// A watch of a file, kept with that file.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(super) epoll: FileId,
    pub(super) fd: i32,
    interest: Interest,
    is_queued: bool,
    is_armed: bool,
}

/// An event queue.
#[derive(Debug, Default)]
pub(crate) struct Epoll {
    ready: VecDeque<(FileId, i32)>,
    members: Vec<(FileId, i32)>,
}

impl Epoll {
    /// A watched file has gone.
    pub(super) fn forget(&mut self, file: FileId, fd: i32) {
        self.ready.retain(|entry| *entry != (file, fd));
        self.members.retain(|entry| *entry != (file, fd));
    }
}

impl Watch {
    /// Which of `bits` it is told of.
    fn told(&self, bits: u32) -> u32 {
        if self.is_armed { bits & (self.interest.mask & STATES | ERR | HUP) } else { 0 }
    }
}

impl Kernel {
    /// A new event queue.
    pub(crate) fn open_epoll(&mut self) -> FileId {
        self.open_file(Kind::Epoll(Epoll::default()), false)
    }

    fn epoll(&mut self, id: FileId) -> Result<&mut Epoll> {
        match &mut self.files[id].kind {
            Kind::Epoll(epoll) => Ok(epoll),
            _ => Err(Errno::EINVAL),
        }
    }

    /// EPOLL_CTL_ADD.
    pub(crate) fn watch(&mut self, epoll: FileId, file: FileId, fd: i32, interest: Interest) -> Result<()> {
        if epoll == file {
            return Err(Errno::EINVAL);
        }
        if matches!(self.files[file].kind, Kind::Disk(_) | Kind::Device(_)) {
            return Err(Errno::EPERM);
        }
        self.epoll(epoll)?;
        if self.find_watch(epoll, file, fd).is_some() {
            return Err(Errno::EEXIST);
        }
        self.epoll(epoll)?.members.push((file, fd));
        let watch = Watch { epoll, fd, interest, is_queued: false, is_armed: true };
        self.files[file].watches.push(watch);
        let index = self.files[file].watches.len() - 1;
        let level = self.readiness(file);
        self.tell_epoll(file, index, level);
        Ok(())
    }

    /// EPOLL_CTL_MOD.
    pub(crate) fn watch_again(
        &mut self,
        epoll: FileId,
        file: FileId,
        fd: i32,
        interest: Interest,
    ) -> Result<()> {
        self.epoll(epoll)?;
        let index = self.find_watch(epoll, file, fd).ok_or(Errno::ENOENT)?;
        let watch = &mut self.files[file].watches[index];
        (watch.interest, watch.is_armed) = (interest, true);
        let level = self.readiness(file);
        self.tell_epoll(file, index, level);
        Ok(())
    }

    /// EPOLL_CTL_DEL.
    pub(crate) fn unwatch(&mut self, epoll: FileId, file: FileId, fd: i32) -> Result<()> {
        self.epoll(epoll)?;
        let index = self.find_watch(epoll, file, fd).ok_or(Errno::ENOENT)?;
        self.files[file].watches.remove(index);
        self.epoll(epoll)?.forget(file, fd);
        Ok(())
    }

    fn find_watch(&self, epoll: FileId, file: FileId, fd: i32) -> Option<usize> {
        self.files[file].watches.iter().position(|watch| watch.epoll == epoll && watch.fd == fd)
    }

    /// Tells one watch of a file that `bits` hold now.
    pub(super) fn tell_epoll(&mut self, file: FileId, index: usize, bits: u32) {
        let watch = &mut self.files[file].watches[index];
        if watch.told(bits) == 0 {
            return;
        }
        let (epoll, fd, was_queued) = (watch.epoll, watch.fd, watch.is_queued);
        watch.is_queued = true;
        if !was_queued && let Ok(queue) = self.epoll(epoll) {
            queue.ready.push_back((file, fd));
        }
        // One of those that wait is enough; the next one looks for itself.
        while let Some(waiter) = self.files[epoll].waiters.pop_front() {
            if self.wake(waiter) {
                break;
            }
        }
        for index in 0..self.files[epoll].watches.len() {
            self.tell_epoll(epoll, index, IN);
        }
    }

    /// Gives up to `max` events to `take`; how many it were. None: the time is up.
    pub(crate) fn take_events(
        &mut self,
        id: FileId,
        max: usize,
        timing: Timing,
        mut take: impl FnMut(usize, Interest),
    ) -> Call<usize> {
        let mut count = 0;
        let mut again = Vec::new();
        self.epoll(id)?;
        while count < max {
            let Some((file, fd)) = self.epoll(id)?.ready.pop_front() else { break };
            let level = self.readiness(file);
            let Some(index) = self.find_watch(id, file, fd) else { continue };
            let watch = &mut self.files[file].watches[index];
            watch.is_queued = false;
            let told = watch.told(level);
            if told == 0 {
                continue;
            }
            take(count, Interest { mask: told, data: watch.interest.data });
            count += 1;
            if watch.interest.mask & ONESHOT != 0 {
                watch.is_armed = false;
            } else if watch.interest.mask & EDGE == 0 {
                watch.is_queued = true;
                again.push((file, fd));
            }
        }
        self.epoll(id)?.ready.extend(again);
        if count == 0 {
            return match self.not_now(id, timing, "epoll_wait") {
                super::Stop::Fail(_) => Ok(0),
                wait => Err(wait),
            };
        }
        Ok(count)
    }

    /// Whether a wait on it would end at once.
    pub(super) fn has_ready(&self, epoll: &Epoll) -> bool {
        epoll.ready.iter().any(|(file, fd)| {
            let Some(file) = self.files.get(*file) else { return false };
            file.watches.iter().any(|watch| watch.fd == *fd && watch.is_queued)
        })
    }

    pub(super) fn close_epoll(&mut self, id: FileId, epoll: &Epoll) {
        for (file, fd) in &epoll.members {
            if let Some(file) = self.files.get_mut(*file) {
                file.watches.retain(|watch| watch.epoll != id || watch.fd != *fd);
            }
        }
    }

    pub(super) fn describe_epoll(&self, epoll: &Epoll) -> String {
        let members = epoll.members.iter().filter(|(file, _)| self.files.get(*file).is_some());
        // Every runtime has an eventfd to wake it, which says nothing.
        let named = members.filter(|(file, _)| !matches!(self.files[*file].kind, Kind::Event { .. }));
        let mut names: Vec<_> = named.map(|(file, _)| self.describe_file(*file)).collect();
        names.sort();
        names.dedup();
        if names.is_empty() { "no descriptor".into() } else { names.join(", ") }
    }
}
