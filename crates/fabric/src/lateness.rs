//! How late deliveries were: a histogram of fixed size, exact to a sixteenth.

use std::time::Duration;

/// Sixteen steps for each doubling.
const STEP_BITS: u32 = 4;
const STEPS: usize = 1 << STEP_BITS;
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) * STEPS;

/// How much later than due packets were handed to their receivers. Those that no link delays are handed over as they are
/// read and do not count.
#[derive(Clone)]
pub struct Lateness {
    buckets: Vec<u64>,
    count: u64,
    max: Duration,
}

impl Lateness {
    /// How many deliveries were measured.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The latest of them.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// What this share of them, 0 to 1, was not later than: `0.5` is the median. At most a sixteenth too high; zero if
    /// nothing was measured.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if *count > 0 && seen as f64 >= share * self.count as f64 {
                return Duration::from_nanos(upper(index)).min(self.max);
            }
        }
        Duration::ZERO
    }

    pub(crate) fn add(&mut self, late: Duration) {
        let nanos = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(late);
    }
}

impl Default for Lateness {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: Duration::ZERO }
    }
}

impl std::fmt::Debug for Lateness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99] = [0.5, 0.99].map(|share| self.quantile(share));
        write!(f, "Lateness({} deliveries, p50 {p50:?}, p99 {p99:?}, max {:?})", self.count, self.max)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the shift leaves less than two times the steps")]
fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(STEP_BITS + 1);
    shift as usize * STEPS + (nanos >> shift) as usize
}

/// The highest number of a bucket.
fn upper(index: usize) -> u64 {
    if index < 2 * STEPS {
        return index as u64;
    }
    let shift = index / STEPS - 1;
    let first = (index % STEPS + STEPS) as u64;
    (first << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_join_without_gaps() {
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(upper(BUCKETS - 1), u64::MAX);
        for index in 0..BUCKETS - 1 {
            assert_eq!((bucket(upper(index)), bucket(upper(index) + 1)), (index, index + 1));
        }
    }

    #[test]
    fn quantiles_are_near() {
        let mut lateness = Lateness::default();
        assert_eq!((lateness.quantile(0.5), lateness.max()), (Duration::ZERO, Duration::ZERO));
        (1..=1000).for_each(|us| lateness.add(Duration::from_micros(us)));
        let near = |share, us: u64| {
            let found = lateness.quantile(share);
            let wanted = Duration::from_micros(us);
            assert!(found >= wanted && found <= wanted + wanted / 15, "{found:?} for {wanted:?}");
        };
        near(0.5, 500);
        near(0.99, 990);
        assert_eq!(lateness.quantile(1.0), lateness.max());
        assert_eq!((lateness.count(), lateness.max()), (1000, Duration::from_millis(1)));
    }
}
