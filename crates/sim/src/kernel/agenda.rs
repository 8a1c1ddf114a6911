//! What will happen, by (instant, order of insertion).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Nanos;

/// Bits of a key for the place of its event: 16 million at a time, and 2^40 ever.
const SLOT_BITS: u32 = 24;

/// A queue of future events. Those of one instant come in the order in which they were put in.
pub(super) struct Agenda<E> {
    /// Instant, sequence and slot in one number: sifting moves little, and compares once.
    heap: BinaryHeap<Reverse<u128>>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), sequence: 0 }
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
        let order: Vec<_> = std::iter::from_fn(|| agenda.pop()).collect();
        assert_eq!(order, [(3, "a"), (3, "b"), (5, "c"), (5, "d")]);
    }
}
