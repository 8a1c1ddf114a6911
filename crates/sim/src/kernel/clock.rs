//! A host's clocks: they begin together with virtual time, and may be set, and run fast or slow.

use super::{EPOCH, Nanos, UPTIME};

/// The clocks of one host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// When the rate was last changed, in virtual time and by the host's monotonic clock.
    since: Nanos,
    monotonic: Nanos,
    drift_ppm: i64,
    /// What was added to the wall clock by hand.
    jumped: i64,
}

const MILLION: i128 = 1_000_000;

impl Default for Clock {
    fn default() -> Self {
        Self { since: 0, monotonic: UPTIME, drift_ppm: 0, jumped: 0 }
    }
}

impl Clock {
    /// CLOCK_MONOTONIC at `now`.
    #[inline]
    pub(crate) fn monotonic(&self, now: Nanos) -> Nanos {
        let passed = now - self.since;
        if self.drift_ppm == 0 {
            return self.monotonic + passed;
        }
        self.monotonic + saturated(i128::from(passed) * (MILLION + i128::from(self.drift_ppm)) / MILLION)
    }

    /// CLOCK_REALTIME at `now`.
    pub(crate) fn wall(&self, now: Nanos) -> Nanos {
        (self.monotonic(now) - UPTIME + EPOCH).saturating_add_signed(self.jumped)
    }

    /// When the monotonic clock shows `at`.
    pub(crate) fn when_monotonic(&self, at: Nanos) -> Nanos {
        let ahead = at.saturating_sub(self.monotonic);
        if self.drift_ppm == 0 {
            return self.since.saturating_add(ahead);
        }
        // Rounded up: a clock that is asked then shows no less.
        let rate = MILLION + i128::from(self.drift_ppm);
        self.since.saturating_add(saturated((i128::from(ahead) * MILLION + rate - 1) / rate))
    }

    /// When the wall clock shows `at`.
    pub(crate) fn when_wall(&self, at: Nanos) -> Nanos {
        let shown = at.saturating_add_signed(-self.jumped);
        self.when_monotonic((shown + UPTIME).saturating_sub(EPOCH))
    }

    /// When `time` of the host's has passed from `now` on.
    #[inline]
    pub(crate) fn after(&self, now: Nanos, time: Nanos) -> Nanos {
        if self.drift_ppm == 0 {
            return now.saturating_add(time);
        }
        self.when_monotonic(self.monotonic(now).saturating_add(time))
    }

    /// Sets the wall clock ahead or back.
    pub(crate) fn jump(&mut self, by: i64) {
        self.jumped = self.jumped.saturating_add(by);
    }

    /// Sets the wall clock that far ahead of the monotonic one, or behind.
    pub(crate) fn skew(&mut self, by: i64) {
        self.jumped = by;
    }

    /// From `now` on it runs fast by so many millionths, or slow.
    pub(crate) fn drift(&mut self, now: Nanos, ppm: i32) {
        self.monotonic = self.monotonic(now);
        self.since = now;
        self.drift_ppm = i64::from(ppm).max(1 - 1_000_000);
    }
}

fn saturated(value: i128) -> Nanos {
    Nanos::try_from(value.max(0)).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::SECOND;
    use super::*;

    #[test]
    fn clocks_begin_together_and_run_at_their_rate() {
        let mut clock = Clock::default();
        assert_eq!((clock.monotonic(5), clock.wall(5)), (UPTIME + 5, EPOCH + 5));
        clock.drift(10 * SECOND, 200);
        assert_eq!(clock.monotonic(11 * SECOND), UPTIME + 11 * SECOND + 200_000);
        assert_eq!(clock.when_monotonic(clock.monotonic(123 * SECOND)), 123 * SECOND);
        clock.drift(20 * SECOND, -500_000);
        let at = clock.after(20 * SECOND, SECOND);
        assert_eq!(at, 22 * SECOND, "half as fast");
        assert!(clock.monotonic(at) >= clock.monotonic(20 * SECOND) + SECOND);
    }

    #[test]
    fn a_jump_moves_the_wall_clock_only() {
        let mut clock = Clock::default();
        clock.jump(-3_000_000_000);
        assert_eq!((clock.monotonic(7), clock.wall(7)), (UPTIME + 7, EPOCH + 7 - 3 * SECOND));
        assert_eq!(clock.when_wall(EPOCH), 3 * SECOND);
    }
}
