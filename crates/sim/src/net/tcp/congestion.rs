//! How much may be under way, and how long to wait for an acknowledgement.

use crate::net::Nanos;

/// NewReno (RFC 5681, RFC 6582), in bytes.
pub(super) struct Congestion {
    pub(super) window: u64,
    threshold: u64,
    duplicates: u32,
    /// The end of what was under way when something was last found lost.
    recover: u64,
    is_recovering: bool,
}

/// Duplicates of an acknowledgement that tell of a loss.
const DUPLICATES: u32 = 3;
/// Segments that a connection begins with (RFC 6928).
const SEGMENTS_FIRST: u64 = 10;

impl Congestion {
    pub(super) fn new(mss: u64, sequence: u64) -> Self {
        Self {
            window: SEGMENTS_FIRST * mss,
            threshold: u64::MAX,
            duplicates: 0,
            recover: sequence,
            is_recovering: false,
        }
    }

    /// Something new was acknowledged. Whether the next segment is lost, too.
    pub(super) fn acknowledge(&mut self, bytes: u64, acknowledged: u64, under_way: u64, mss: u64) -> bool {
        self.duplicates = 0;
        if self.is_recovering {
            if acknowledged < self.recover {
                self.window = self.window.saturating_sub(bytes).max(mss) + mss;
                return true;
            }
            self.is_recovering = false;
            self.window = self.threshold.min(under_way.max(mss) + mss).max(mss);
        } else if self.window < 2 * under_way {
            // Who sends less than may be sent learns nothing about how much that is.
            self.window += if self.window < self.threshold {
                bytes
            } else {
                (mss * bytes).div_ceil(self.window).min(mss)
            };
        }
        false
    }

    /// The same was acknowledged again. Whether to send the first segment again.
    pub(super) fn duplicate(&mut self, acknowledged: u64, sent: u64, mss: u64) -> bool {
        self.duplicates += 1;
        if self.is_recovering {
            self.window += mss;
            return false;
        }
        let is_loss = self.duplicates == DUPLICATES && acknowledged > self.recover;
        if is_loss {
            self.threshold = ((sent - acknowledged) / 2).max(2 * mss);
            self.window = self.threshold + u64::from(DUPLICATES) * mss;
            self.recover = sent;
            self.is_recovering = true;
        }
        is_loss
    }

    /// Nothing was acknowledged in time.
    pub(super) fn time_out(&mut self, under_way: u64, sent: u64, mss: u64, is_first: bool) {
        if is_first {
            self.threshold = (under_way / 2).max(2 * mss);
        }
        self.window = mss;
        self.recover = sent;
        self.is_recovering = false;
        self.duplicates = 0;
    }
}

/// RFC 6298, with Linux' bounds.
pub(super) struct RoundTrip {
    smoothed: Nanos,
    variation: Nanos,
    timeout: Nanos,
    backoff: u32,
    /// What is measured: the end of it, and when it was sent.
    probe: Option<(u64, Nanos)>,
}

const SECOND: Nanos = 1_000_000_000;
const TIMEOUT_FIRST: Nanos = SECOND;
const TIMEOUT_MIN: Nanos = SECOND / 5;
const TIMEOUT_MAX: Nanos = 120 * SECOND;

impl Default for RoundTrip {
    fn default() -> Self {
        Self { smoothed: 0, variation: 0, timeout: TIMEOUT_FIRST, backoff: 0, probe: None }
    }
}

impl RoundTrip {
    pub(super) fn timeout(&self) -> Nanos {
        (self.timeout << self.backoff.min(20)).min(TIMEOUT_MAX)
    }

    pub(super) fn back_off(&mut self) {
        self.backoff += 1;
        self.probe = None;
    }

    /// What was waited for was no acknowledgement, and has come.
    pub(super) fn calm_down(&mut self) {
        self.backoff = 0;
    }

    pub(super) fn is_backed_off(&self) -> bool {
        self.backoff > 0
    }

    pub(super) fn begin(&mut self, end: u64, now: Nanos) {
        self.probe.get_or_insert((end, now));
    }

    /// What is sent twice tells nothing (Karn).
    pub(super) fn forget(&mut self) {
        self.probe = None;
    }

    pub(super) fn acknowledge(&mut self, acknowledged: u64, now: Nanos) {
        self.backoff = 0;
        let Some((_, sent_at)) = self.probe.filter(|(end, _)| *end <= acknowledged) else { return };
        self.probe = None;
        let sample = now - sent_at;
        if self.smoothed == 0 {
            self.smoothed = sample;
            self.variation = sample / 2;
        } else {
            self.variation = (3 * self.variation + self.smoothed.abs_diff(sample)) / 4;
            self.smoothed = (7 * self.smoothed + sample) / 8;
        }
        // Linux keeps the variation's part at its minimum, so that timeouts are 200 ms and a round trip at least.
        self.timeout = (self.smoothed + (4 * self.variation).max(TIMEOUT_MIN)).min(TIMEOUT_MAX);
    }
}
