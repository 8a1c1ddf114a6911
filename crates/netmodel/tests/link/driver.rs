//! Drives one link as a network would: keeps what is queued and what is under way, and lets time pass.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use netsplit_netmodel::{Behaviour, Cause, Condition, Count, Delivery, Fate, Link};

/// A link with its packets. Packets are known by the order in which they were offered, from 0.
pub(crate) struct Driver {
    pub(crate) link: Link,
    pub(crate) now: Duration,
    /// How long after a deadline the queue is looked at.
    pub(crate) late: Duration,
    pub(crate) offered: Vec<Packet>,
    pub(crate) arrived: Vec<Arrival>,
    pub(crate) dropped: BTreeMap<usize, Cause>,
    queue: VecDeque<usize>,
    /// By when they are due, then in the order in which the link told of them.
    under_way: BTreeMap<(Duration, u64), (Delivery, usize)>,
    told: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Packet {
    pub(crate) at: Duration,
    pub(crate) length_bytes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arrival {
    pub(crate) at: Duration,
    pub(crate) packet: usize,
    pub(crate) flipped_bit: Option<u64>,
    pub(crate) is_duplicate: bool,
}

impl Driver {
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        Self {
            link: Link::new(seed, name),
            now: Duration::ZERO,
            late: Duration::ZERO,
            offered: Vec::new(),
            arrived: Vec::new(),
            dropped: BTreeMap::new(),
            queue: VecDeque::new(),
            under_way: BTreeMap::new(),
            told: 0,
        }
    }

    /// A link under one condition from the begin.
    pub(crate) fn under(condition: Condition) -> Self {
        let mut driver = Self::new(4711, "a>b");
        driver.change(&[condition]);
        driver
    }

    pub(crate) fn change(&mut self, layers: &[Condition]) {
        self.link.change(self.now, Behaviour::of(layers).unwrap());
        self.release();
    }

    /// Offers a packet now, and gives its number.
    pub(crate) fn offer(&mut self, length_bytes: u32) -> usize {
        let packet = self.offered.len();
        self.offered.push(Packet { at: self.now, length_bytes });
        let fate = self.link.offer(self.now, length_bytes);
        self.carry_out(fate, packet);
        packet
    }

    pub(crate) fn offer_many(&mut self, count: usize, length_bytes: u32) {
        for _ in 0..count {
            self.offer(length_bytes);
        }
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let deadline = self.link.deadline().map(|at| at.max(self.now) + self.late);
            let due = self.under_way.keys().next().map(|(at, _)| *at);
            let Some(next) = deadline.into_iter().chain(due).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if due.is_some_and(|due| due <= next) {
                self.arrive();
            } else {
                self.release();
            }
        }
        self.now = end;
    }

    /// Lets everything arrive that can.
    pub(crate) fn finish(&mut self) {
        self.wait(Duration::from_secs(1_000_000));
    }

    /// The packets that arrived, in that order, second copies left out.
    pub(crate) fn order(&self) -> Vec<usize> {
        self.arrived.iter().filter(|arrival| !arrival.is_duplicate).map(|arrival| arrival.packet).collect()
    }

    /// The packets dropped for this cause.
    pub(crate) fn dropped_by(&self, cause: Cause) -> Vec<usize> {
        self.dropped.iter().filter(|(_, known)| **known == cause).map(|(packet, _)| *packet).collect()
    }

    /// Compares the link's counters with what was seen here, and among themselves.
    pub(crate) fn check_counters(&self) {
        let counters = self.link.counters();
        let count = |packets: &mut dyn Iterator<Item = usize>| {
            packets.fold(Count::default(), |sum, packet| Count {
                packets: sum.packets + 1,
                bytes: sum.bytes + u64::from(self.offered[packet].length_bytes),
            })
        };
        assert_eq!(counters.offered, count(&mut (0..self.offered.len())));
        assert_eq!(counters.delivered, count(&mut self.arrived.iter().map(|arrival| arrival.packet)));
        assert_eq!(counters.queued, count(&mut self.queue.iter().copied()));
        assert_eq!(counters.under_way, count(&mut self.under_way.values().map(|(_, packet)| *packet)));
        assert!(counters.queued.bytes <= counters.queued_bytes_max);
        let sum = |left: Count, right: Count| (left.packets + right.packets, left.bytes + right.bytes);
        let inside = sum(counters.queued, counters.under_way);
        let outside = sum(counters.delivered, counters.dropped());
        let all = sum(counters.offered, counters.duplicated);
        assert_eq!(all, (inside.0 + outside.0, inside.1 + outside.1));
    }

    fn release(&mut self) {
        while let Some(fate) = self.link.release(self.now) {
            assert_ne!(fate, Fate::Queued);
            let packet = self.queue.pop_front().expect("the link knows how many wait");
            self.carry_out(fate, packet);
        }
    }

    fn arrive(&mut self) {
        let (_, (delivery, packet)) = self.under_way.pop_first().unwrap();
        let Delivery { at, flipped_bit, is_duplicate, .. } = delivery;
        match self.link.arrive(delivery) {
            Ok(()) => self.arrived.push(Arrival { at, packet, flipped_bit, is_duplicate }),
            Err(cause) => drop(self.dropped.insert(packet, cause)),
        }
    }

    fn carry_out(&mut self, fate: Fate, packet: usize) {
        match fate {
            Fate::Queued => self.queue.push_back(packet),
            Fate::Dropped(cause) => drop(self.dropped.insert(packet, cause)),
            Fate::Sent { first, duplicate } => {
                for delivery in [Some(first), duplicate].into_iter().flatten() {
                    self.under_way.insert((delivery.at, self.told), (delivery, packet));
                    self.told += 1;
                }
            }
        }
    }
}
