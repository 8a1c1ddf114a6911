//! What happened to the packets of a link, counted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a packet did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The link was cut when it was offered, when it would have left the queue, or when it would have arrived.
    Cut,
    /// As cut, but the sender is to be told.
    Reject,
    /// It was longer than the link's MTU.
    Mtu,
    /// The queue before the line was full.
    QueueFull,
    /// The link held packets, and had no room for more.
    HoldFull,
    /// Chance.
    Loss,
}

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// How many.
    pub packets: u64,
    /// The sum of their lengths.
    pub bytes: u64,
}

/// What happened to the packets of a link since its begin.
///
/// Nothing is lost from sight: `offered + duplicated = delivered + dropped() + queued + under_way`, always, in packets
/// and in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Handed to the link.
    pub offered: Count,
    /// Second copies that the link made.
    pub duplicated: Count,
    /// Handed to the receiver, second copies included.
    pub delivered: Count,
    /// Sent with a flipped bit, whether they arrived or not.
    pub corrupted: Count,
    /// Delivered after a packet that had been offered later (RFC 4737, section 3.3); second copies are not counted.
    pub reordered: Count,
    /// In the queue now: waiting for the line, or held.
    pub queued: Count,
    /// On their way now.
    pub under_way: Count,
    /// The most bytes that were ever in the queue at once.
    pub queued_bytes_max: u64,
    #[serde(with = "by_cause")]
    dropped: [Count; Cause::ALL.len()],
}

impl Cause {
    /// Every cause, in the order of [`Counters`].
    pub const ALL: [Self; 6] =
        [Self::Cut, Self::Reject, Self::Mtu, Self::QueueFull, Self::HoldFull, Self::Loss];
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cut => "cut",
            Self::Reject => "rejected",
            Self::Mtu => "longer than the MTU",
            Self::QueueFull => "queue full",
            Self::HoldFull => "held queue full",
            Self::Loss => "lost",
        })
    }
}

impl Count {
    pub(crate) fn add(&mut self, length_bytes: u32) {
        self.packets += 1;
        self.bytes += u64::from(length_bytes);
    }

    pub(crate) fn remove(&mut self, length_bytes: u32) {
        debug_assert!(self.packets >= 1 && self.bytes >= u64::from(length_bytes));
        self.packets -= 1;
        self.bytes -= u64::from(length_bytes);
    }
}

impl Counters {
    /// Dropped for this cause.
    pub fn dropped_by(&self, cause: Cause) -> Count {
        self.dropped[cause as usize]
    }

    /// Dropped for any cause.
    pub fn dropped(&self) -> Count {
        let packets = self.dropped.iter().map(|count| count.packets).sum();
        Count { packets, bytes: self.dropped.iter().map(|count| count.bytes).sum() }
    }

    pub(crate) fn drop(&mut self, cause: Cause, length_bytes: u32) {
        self.dropped[cause as usize].add(length_bytes);
    }

    pub(crate) fn queue(&mut self, length_bytes: u32) {
        self.queued.add(length_bytes);
        self.queued_bytes_max = self.queued_bytes_max.max(self.queued.bytes);
    }
}

/// Written as a map from causes to counts, without those that are zero.
mod by_cause {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Cause, Count};

    type Counts = [Count; Cause::ALL.len()];

    pub(super) fn serialize<S: Serializer>(counts: &Counts, serializer: S) -> Result<S::Ok, S::Error> {
        let all = Cause::ALL.into_iter().zip(counts);
        serializer.collect_map(all.filter(|(_, count)| **count != Count::default()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Counts, D::Error> {
        let known = BTreeMap::<Cause, Count>::deserialize(deserializer)?;
        Ok(Cause::ALL.map(|cause| known.get(&cause).copied().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_counted_apart() {
        let mut counters = Counters::default();
        for (packets, cause) in (1u32..).zip(Cause::ALL) {
            assert_eq!(Cause::ALL[cause as usize], cause);
            (0..packets).for_each(|_| counters.drop(cause, 10));
            assert_eq!(
                counters.dropped_by(cause),
                Count { packets: packets.into(), bytes: (packets * 10).into() }
            );
        }
        assert_eq!(counters.dropped(), Count { packets: 21, bytes: 210 });
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut counters = Counters::default();
        counters.offered.add(100);
        counters.drop(Cause::QueueFull, 100);
        let text = serde_json::to_string(&counters).unwrap();
        assert!(text.ends_with(r#""dropped":{"queue-full":{"packets":1,"bytes":100}}}"#), "{text}");
        assert_eq!(serde_json::from_str::<Counters>(&text).unwrap(), counters);
    }

    #[test]
    fn the_high_water_stays() {
        let mut counters = Counters::default();
        counters.queue(100);
        counters.queue(50);
        counters.queued.remove(100);
        assert_eq!((counters.queued.bytes, counters.queued_bytes_max), (50, 150));
    }
}
