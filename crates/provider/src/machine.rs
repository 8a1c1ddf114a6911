//! Faults of one host's clock and disk, as they are asked for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is done to a host's clock. It holds until it is changed again, also when the host is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClockFault {
    /// The time of day changes at once by so many nanoseconds; time that is measured (`Instant`) does not.
    Jump {
        /// Forward, or back when negative.
        nanos: i64,
    },
    /// The time of day is off the true one by so much from now on, whatever it was before.
    Skew {
        /// Ahead, or behind when negative.
        nanos: i64,
    },
    /// All clocks of the host run faster by so many millionths, or slower when negative; 0 is true time again.
    Drift {
        /// Millionths.
        ppm: i32,
    },
}

/// What is wrong with a host's disk while the fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum DiskFault {
    /// When its power is cut, a write that was not synced may be there in part; without this it is there or not.
    TornWrites,
    /// Nothing more can be written: ENOSPC.
    Full,
    /// This share of reads, writes and syncs fails: EIO.
    Errors {
        /// From 0 to 1.
        share: f64,
    },
    /// Each read, write and sync takes so much longer.
    Slow {
        /// How much.
        latency: Duration,
    },
    /// No read, write or sync is answered.
    Stuck,
}
