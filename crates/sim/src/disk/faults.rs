//! What is wrong with a disk on purpose, and what an operation costs on it.

use std::num::NonZeroU64;

use super::Disk;
use super::node::Inode;
use crate::{Errno, Random};

/// What is wrong with a disk. By default nothing, and operations take no time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// No space is left: what needs some is `ENOSPC`. Overwriting does not.
    pub full: bool,
    /// The share of reads that are `EIO`.
    pub read_errors: f64,
    /// The share of writes that are `EIO`.
    pub write_errors: f64,
    /// The share of syncs that are `EIO`. Like Linux's such a sync loses what it should have written: it can still be read,
    /// the next sync succeeds, and a crash shows that it is not there.
    pub sync_errors: f64,
    /// What each operation takes, in nanoseconds.
    pub latency: u64,
    /// Bytes a second; operations wait for each other.
    pub rate: Option<NonZeroU64>,
    /// No operation ever ends.
    pub stuck: bool,
    /// A crash may leave some of the 512-byte sectors of writes that were not synced.
    pub torn: bool,
    /// Syncs succeed and make nothing durable.
    pub lost_sync: bool,
}

/// What a disk is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// To read this many bytes.
    Read(u64),
    /// To write this many bytes.
    Write(u64),
    /// To make this file durable.
    Sync(Inode),
    /// To change names or attributes; to look them up takes no disk.
    Names,
}

/// What an operation costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Nothing.
    Free,
    /// So many nanoseconds, after which it is done.
    Wait(u64),
    /// It never ends.
    Never,
    /// It fails, and must not be done.
    Fail(Errno),
}

const SECOND: u128 = 1_000_000_000;

impl Disk {
    /// What is wrong with it.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Changes what is wrong with it.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// What an operation costs that would begin now; asked once for each, before it is done. An undamaged disk draws nothing
    /// from `random`.
    pub fn cost(&mut self, now: u64, operation: Operation, random: &mut Random) -> Cost {
        if self.faults.stuck {
            return Cost::Never;
        }
        let (errors, bytes) = match operation {
            Operation::Read(bytes) => (self.faults.read_errors, bytes),
            Operation::Write(bytes) => (self.faults.write_errors, bytes),
            Operation::Sync(_) => (self.faults.sync_errors, 0),
            Operation::Names => (0.0, 0),
        };
        if errors > 0.0 && random.happens(errors) {
            if let Operation::Sync(inode) = operation {
                self.lose_changes(inode);
            }
            return Cost::Fail(Errno::EIO);
        }
        self.time(now, bytes)
    }

    fn time(&mut self, now: u64, bytes: u64) -> Cost {
        let transfer = self.faults.rate.map_or(0, |rate| u128::from(bytes) * SECOND / u128::from(rate.get()));
        let mut wait = self.faults.latency;
        if transfer > 0 {
            let begin = self.busy_until.max(now);
            self.busy_until = begin.saturating_add(u64::try_from(transfer).unwrap_or(u64::MAX));
            wait = wait.saturating_add(self.busy_until - now);
        }
        if wait == 0 { Cost::Free } else { Cost::Wait(wait) }
    }
}
