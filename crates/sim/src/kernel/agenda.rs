//! What will happen, by (instant, order of insertion).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Nanos;

/// Bits of a key for the place of its event: 16 million at a time, and 2^40 ever.
const SLOT_BITS: u32 = 24;

/// After how many insertions all events are looked at.
const LOOK_EVERY: u64 = 1 << 16;

/// A queue of future events. Those of one instant come in the order in which they were put in.
pub(super) struct Agenda<E> {
    /// Instant, sequence and slot in one number: sifting moves little, and compares once.
    heap: BinaryHeap<Reverse<u128>>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    sequence: u64,
    /// When all events are looked at again.
    next_look: u64,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), sequence: 0, next_look: 0 }
    }
}

impl<E> Agenda<E> {
    #[inline]
    pub(super) fn push(&mut self, at: Nanos, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.events[slot as usize] = Some(event);
                slot
            }
            None => {
                self.events.push(Some(event));
                let slot = u32::try_from(self.events.len() - 1).ok();
                slot.filter(|slot| slot >> SLOT_BITS == 0).expect("fewer than 2^24 events at a time")
            }
        };
        self.sequence += 1;
        let place = self.sequence << SLOT_BITS | u64::from(slot);
        self.heap.push(Reverse(u128::from(at) << 64 | u128::from(place)));
    }

    /// Whether at least `count` events are to come before `until`. Of many it is looked at now and then.
    pub(super) fn has(&mut self, count: usize, until: Nanos) -> bool {
        if self.heap.len() < count || self.sequence < self.next_look {
            return false;
        }
        self.next_look = self.sequence + LOOK_EVERY;
        self.heap.iter().filter(|Reverse(key)| key >> 64 < u128::from(until)).count() >= count
    }

    /// Whether an event was to come by `now`.
    pub(super) fn is_due(&self, now: Nanos) -> bool {
        self.heap.peek().is_some_and(|Reverse(key)| key >> 64 <= u128::from(now))
    }

    #[expect(clippy::cast_possible_truncation, reason = "parts of a key")]
    pub(super) fn pop(&mut self) -> Option<(Nanos, E)> {
        let Reverse(key) = self.heap.pop()?;
        let at = (key >> 64) as Nanos;
        let slot = key as u32 & ((1 << SLOT_BITS) - 1);
        let event = self.events[slot as usize].take()?;
        self.free.push(slot);
        Some((at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instant_keeps_order() {
        let mut agenda = Agenda::default();
        for (at, name) in [(5, "c"), (3, "a"), (5, "d"), (3, "b")] {
            agenda.push(at, name);
        }
        assert_eq!([2, 3, 4].map(|now| agenda.is_due(now)), [false, true, true]);
        let order: Vec<_> = std::iter::from_fn(|| agenda.pop()).collect();
        assert_eq!(order, [(3, "a"), (3, "b"), (5, "c"), (5, "d")]);
    }

    #[test]
    fn what_comes_soon_is_counted_now_and_then() {
        let mut agenda = Agenda::default();
        (0..LOOK_EVERY).for_each(|at| agenda.push(at, ()));
        assert!(agenda.has(100, 100));
        agenda.push(0, ());
        assert!(!agenda.has(100, 100), "not each time");
        (0..LOOK_EVERY).for_each(|_| agenda.push(u64::MAX, ()));
        assert!(!agenda.has(102, 100));
    }
}
