//! Locks on files, as data: whole files (flock(2)) and ranges of bytes (fcntl(2)), which do not see each other. Who waits
//! for a lock, for how long and whether in a circle (`EDEADLK`) is the kernel's: it is told who is in the way, and asks
//! again whenever something was released.

use std::collections::BTreeMap;

use super::node::Inode;

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A process: ranges by `F_SETLK`.
    Process(u32),
    /// An open file description: whole files by flock(2), ranges by `F_OFD_SETLK`.
    Description(u64),
}

/// Whom a lock keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Those who want it for themselves (`LOCK_SH`, `F_RDLCK`).
    Shared,
    /// Everybody else (`LOCK_EX`, `F_WRLCK`).
    Exclusive,
}

/// A locked range: what `F_GETLK` tells, and what stands in the way of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who holds it.
    pub owner: Owner,
    /// How.
    pub lock: Lock,
    /// The first byte.
    pub start: u64,
    /// The first byte behind it; `u64::MAX` for all that follow. A whole file is 0 to `u64::MAX`.
    pub end: u64,
}

impl Held {
    fn overlaps(&self, start: u64, end: u64) -> bool {
        self.start < end && start < self.end
    }

    fn bars(&self, wanted: &Self) -> bool {
        let shared = self.lock == Lock::Shared && wanted.lock == Lock::Shared;
        self.owner != wanted.owner && !shared && self.overlaps(wanted.start, wanted.end)
    }
}

/// Locks of one disk.
#[derive(Debug, Default)]
pub struct Locks {
    files: BTreeMap<Inode, FileLocks>,
}

#[derive(Debug, Default)]
struct FileLocks {
    /// By flock(2), in the order in which they were given.
    whole: Vec<Held>,
    /// By fcntl(2), by their begin; those of one owner do not overlap.
    ranges: Vec<Held>,
}

impl Locks {
    /// Locks a whole file for an open file description, as flock(2). What it held is released first, even where another's
    /// lock, which is then told, is in the way.
    pub fn lock_file(&mut self, inode: Inode, description: u64, lock: Lock) -> Result<(), Held> {
        let owner = Owner::Description(description);
        let wanted = Held { owner, lock, start: 0, end: u64::MAX };
        let locks = &mut self.files.entry(inode).or_default().whole;
        if locks.contains(&wanted) {
            return Ok(());
        }
        locks.retain(|held| held.owner != owner);
        let barred = locks.iter().find(|held| held.bars(&wanted)).copied();
        if barred.is_none() {
            locks.push(wanted);
        }
        barred.map_or(Ok(()), Err)
    }

    /// Releases what flock(2) gave. Whether there was something.
    pub fn unlock_file(&mut self, inode: Inode, description: u64) -> bool {
        self.release(inode, |locks| locks.whole.retain(|held| held.owner != Owner::Description(description)))
    }

    /// Locks a range, as `F_SETLK`: in place of what its owner held of it. The first lock in the way, if there is one.
    pub fn lock_range(&mut self, inode: Inode, wanted: Held) -> Result<(), Held> {
        if let Some(held) = self.barring(inode, &wanted) {
            return Err(held);
        }
        let ranges = &mut self.files.entry(inode).or_default().ranges;
        cut_out(ranges, wanted.owner, wanted.start, wanted.end);
        ranges.push(wanted);
        ranges.sort_by_key(|held| (held.start, held.owner));
        Ok(())
    }

    /// The first lock in the way of this one, as `F_GETLK` tells it.
    pub fn barring(&self, inode: Inode, wanted: &Held) -> Option<Held> {
        self.files.get(&inode)?.ranges.iter().find(|held| held.bars(wanted)).copied()
    }

    /// Releases what its owner holds of a range. Whether there was something.
    pub fn unlock_range(&mut self, inode: Inode, owner: Owner, start: u64, end: u64) -> bool {
        self.release(inode, |locks| cut_out(&mut locks.ranges, owner, start, end))
    }

    /// Releases all that an owner holds of a file: a description that is closed for the last time, or a process that closes
    /// any descriptor of the file, which POSIX has lose all its ranges. Whether there was something.
    pub fn release_file(&mut self, inode: Inode, owner: Owner) -> bool {
        self.release(inode, |locks| {
            locks.whole.retain(|held| held.owner != owner);
            locks.ranges.retain(|held| held.owner != owner);
        })
    }

    /// Releases all that an owner holds, as at a process's end. The files of which that was something.
    pub fn release_all(&mut self, owner: Owner) -> Vec<Inode> {
        let files: Vec<_> = self.files.keys().copied().collect();
        files.into_iter().filter(|inode| self.release_file(*inode, owner)).collect()
    }

    /// Drops the locks of what is no longer there: its inode will mean something else.
    pub(super) fn forget(&mut self, inode: Inode) {
        self.files.remove(&inode);
    }

    pub(super) fn clear(&mut self) {
        self.files.clear();
    }

    fn release(&mut self, inode: Inode, how: impl FnOnce(&mut FileLocks)) -> bool {
        let Some(locks) = self.files.get_mut(&inode) else { return false };
        let before = (locks.whole.clone(), locks.ranges.clone());
        how(locks);
        let released = before.0 != locks.whole || before.1 != locks.ranges;
        if locks.whole.is_empty() && locks.ranges.is_empty() {
            self.files.remove(&inode);
        }
        released
    }
}

/// Leaves an owner what it holds before and behind a range.
fn cut_out(ranges: &mut Vec<Held>, owner: Owner, start: u64, end: u64) {
    let cut = |held: Held| {
        let before = Held { end: held.end.min(start), ..held };
        let behind = Held { start: held.start.max(end), ..held };
        [before, behind].into_iter().filter(|part| part.start < part.end)
    };
    let (mine, mut rest): (Vec<_>, Vec<_>) =
        ranges.drain(..).partition(|held| held.owner == owner && held.overlaps(start, end));
    rest.extend(mine.into_iter().flat_map(cut));
    rest.sort_by_key(|held| (held.start, held.owner));
    *ranges = rest;
}
