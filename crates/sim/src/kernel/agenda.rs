//! What will happen, by (instant, order of insertion).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::Nanos;

/// A queue of future events. Those of one instant come in the order in which they were put in.
pub(super) struct Agenda<E> {
    /// Small keys, so that sifting moves little.
    heap: BinaryHeap<Reverse<(Nanos, u64, u32)>>,
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
    pub(super) fn push(&mut self, at: Nanos, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.events[slot as usize] = Some(event);
                slot
            }
            None => {
                self.events.push(Some(event));
                u32::try_from(self.events.len() - 1).expect("fewer than 2^32 events")
            }
        };
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, slot)));
    }

    pub(super) fn pop(&mut self) -> Option<(Nanos, E)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
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
