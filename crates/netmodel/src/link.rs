//! One directed link: what becomes of each packet, and when. Packets themselves stay with whoever drives the link; here
//! are their numbers, lengths and instants.
//!
//! ```text
//! offer ─► MTU, cut, reject ─► queue (waits for the line, or is held) ─► line (rate) ─► loss ─► delay ─► arrive
//!               drop                          drop when full                             drop        drop when cut
//! ```

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::behaviour::{Chain, Losses};
use crate::draws::{Draws, Purpose};
use crate::{Behaviour, Cause, Counters, Passage};

/// The state of one directed link.
///
/// All instants are since the run's begin, and `now` never goes backwards. Whoever drives a link does four things:
///
/// 1. [`offer`](Self::offer) each packet. [`Fate::Queued`] means: keep it in a queue of this link.
/// 2. At [`deadline`](Self::deadline), and after each [`change`](Self::change), call [`release`](Self::release) until it
///    gives nothing. Each answer is the fate of the oldest packet of that queue. To be late is harmless: the line's time
///    is counted from when it was free.
/// 3. Keep each [`Delivery`] with its packet until it is due, those of one instant in the order in which they came.
/// 4. Then ask [`arrive`](Self::arrive) whether the receiver gets it, and flip the bit that the delivery names.
///
/// A packet's number is given when it is offered, whatever becomes of it; chance depends on nothing but the seed, the
/// link's name and that number. What the link does is what it does when the packet leaves the queue. Packets under way
/// keep their fate when that changes, except that nothing arrives through a link that is cut or rejects by then; what
/// leaves later arrives no earlier, so that after a long delay is healed the first packets wait for those under way.
#[derive(Debug)]
pub struct Link {
    behaviour: Behaviour,
    draws: Draws,
    counters: Counters,
    /// The number of the next packet that is offered.
    number_next: u64,
    waiting: VecDeque<Waiting>,
    /// When the link last stopped holding.
    released_at: Duration,
    line: Line,
    burst: Burst,
    /// When the last packet that was not reordered arrives.
    arrival_last: Duration,
    /// One more than the highest number that has arrived.
    expected: u64,
}

/// What becomes of a packet that was offered or released.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the packet's fate is the caller's to carry out"]
pub enum Fate {
    /// It is on its way.
    Sent {
        /// The packet.
        first: Delivery,
        /// The same once more.
        duplicate: Option<Delivery>,
    },
    /// It goes nowhere. For [`Cause::Reject`] the caller answers the sender.
    Dropped(Cause),
    /// It waits; [`Link::release`] tells its fate.
    Queued,
}

/// A packet under way. It is given back to [`Link::arrive`], once.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a packet under way arrives"]
pub struct Delivery {
    /// When it is due.
    pub at: Duration,
    /// The bit to flip, counted from 0 at the highest bit of the first byte.
    pub flipped_bit: Option<u64>,
    /// Whether it is a second copy.
    pub is_duplicate: bool,
    number: u64,
    length_bytes: u32,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    length_bytes: u32,
    offered_at: Duration,
}

/// The sender's line: one packet at a time.
#[derive(Debug, Default)]
struct Line {
    free_at: Duration,
    /// What the nanosecond that `free_at` lies in has left over, in nanoseconds times the rate, so that rounding adds up
    /// to nothing.
    carry: u64,
}

/// Where the chain of a bursty loss stands.
#[derive(Debug, Default)]
struct Burst {
    /// The packet that `is_bad` is about.
    number: u64,
    is_bad: bool,
}

/// The purposes of the draws that each copy of a packet has for itself.
struct Copy {
    reorder: Purpose,
    corrupt: Purpose,
    bit: Purpose,
    jitter: Purpose,
    is_duplicate: bool,
}

const FIRST: Copy = Copy {
    reorder: Purpose::Reorder,
    corrupt: Purpose::Corrupt,
    bit: Purpose::Bit,
    jitter: Purpose::Jitter,
    is_duplicate: false,
};
const SECOND: Copy = Copy {
    reorder: Purpose::ReorderCopy,
    corrupt: Purpose::CorruptCopy,
    bit: Purpose::BitCopy,
    jitter: Purpose::JitterCopy,
    is_duplicate: true,
};

impl Link {
    /// A link that does nothing to packets. Links of one seed draw apart by their names, which therefore stay the same
    /// from run to run: `a>b`, not an index.
    pub fn new(seed: u64, name: &str) -> Self {
        Self {
            behaviour: Behaviour::default(),
            draws: Draws::new(seed, name),
            counters: Counters::default(),
            number_next: 0,
            waiting: VecDeque::new(),
            released_at: Duration::ZERO,
            line: Line::default(),
            burst: Burst::default(),
            arrival_last: Duration::ZERO,
            expected: 0,
        }
    }

    /// What the link does now.
    pub fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// What has happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Changes what the link does. What waits may have to be [released](Self::release) now. If the loss differs,
    /// bursts begin anew, in the good state, with the next packet that is offered.
    pub fn change(&mut self, now: Duration, behaviour: Behaviour) {
        if self.behaviour.losses != behaviour.losses {
            self.burst = Burst { number: self.number_next, is_bad: false };
        }
        if self.behaviour.rate_bits_per_s != behaviour.rate_bits_per_s {
            self.line.carry = 0;
        }
        if self.behaviour.passage == Passage::Hold && behaviour.passage != Passage::Hold {
            self.released_at = now;
        }
        self.behaviour = behaviour;
    }

    /// Offers a packet, and tells what becomes of it.
    #[inline]
    pub fn offer(&mut self, now: Duration, length_bytes: u32) -> Fate {
        let packet = Waiting { number: self.number_next, length_bytes, offered_at: now };
        self.number_next += 1;
        self.counters.offered.add(length_bytes);
        if let Some(cause) = self.refusal() {
            self.drop(cause, length_bytes)
        } else if length_bytes > self.behaviour.mtu_bytes {
            self.drop(Cause::Mtu, length_bytes)
        } else if self.behaviour.passage == Passage::Hold
            || !self.waiting.is_empty()
            || self.line.free_at > now
        {
            self.queue(packet)
        } else {
            self.send(now, &packet)
        }
    }

    /// When the oldest packet in the queue may leave it. `None` when there is none, and while the link holds.
    pub fn deadline(&self) -> Option<Duration> {
        let oldest = self.waiting.front()?;
        match self.behaviour.passage {
            Passage::Hold => None,
            Passage::Cut | Passage::Reject => Some(oldest.offered_at),
            Passage::Open => Some(self.line.free_at.max(self.released_at).max(oldest.offered_at)),
        }
    }

    /// The fate of the oldest packet in the queue, if it may leave by now: sent or dropped. Packets once queued are not
    /// dropped for want of room, even when a released link has more of them than its queue holds.
    pub fn release(&mut self, now: Duration) -> Option<Fate> {
        let at = self.deadline().filter(|at| *at <= now)?;
        let packet = self.waiting.pop_front()?;
        self.counters.queued.remove(packet.length_bytes);
        Some(match self.refusal() {
            Some(cause) => self.drop(cause, packet.length_bytes),
            None => self.send(at, &packet),
        })
    }

    /// Ends a packet's way when it is due: it is delivered, unless the link is cut or rejects by now.
    ///
    /// # Errors
    /// Why it is not delivered. For [`Cause::Reject`] the caller answers the sender.
    #[inline]
    pub fn arrive(&mut self, delivery: Delivery) -> Result<(), Cause> {
        let Delivery { number, length_bytes, is_duplicate, .. } = delivery;
        self.counters.under_way.remove(length_bytes);
        if let Some(cause) = self.refusal() {
            self.counters.drop(cause, length_bytes);
            return Err(cause);
        }
        self.counters.delivered.add(length_bytes);
        // Its own second copy may have come before it, which is no later packet.
        if number + 1 < self.expected && !is_duplicate {
            self.counters.reordered.add(length_bytes);
        }
        self.expected = self.expected.max(number + 1);
        Ok(())
    }

    fn refusal(&self) -> Option<Cause> {
        match self.behaviour.passage {
            Passage::Open | Passage::Hold => None,
            Passage::Cut => Some(Cause::Cut),
            Passage::Reject => Some(Cause::Reject),
        }
    }

    fn drop(&mut self, cause: Cause, length_bytes: u32) -> Fate {
        self.counters.drop(cause, length_bytes);
        Fate::Dropped(cause)
    }

    fn queue(&mut self, packet: Waiting) -> Fate {
        // Without a rate, what waits was held and is about to be released.
        let is_paced = self.behaviour.passage != Passage::Hold && self.behaviour.rate_bits_per_s.is_some();
        let (room_bytes, cause) = if is_paced {
            (self.behaviour.queue_bytes, Cause::QueueFull)
        } else {
            (self.behaviour.hold_bytes, Cause::HoldFull)
        };
        if self.counters.queued.bytes + u64::from(packet.length_bytes) > room_bytes {
            return self.drop(cause, packet.length_bytes);
        }
        self.counters.queue(packet.length_bytes);
        self.waiting.push_back(packet);
        Fate::Queued
    }

    /// Puts a packet on the line at `at`, at which the line is free.
    fn send(&mut self, at: Duration, packet: &Waiting) -> Fate {
        let sent_at = self.transmit(at, packet.length_bytes);
        if self.behaviour.has_no_chance() {
            let first = self.deliver(sent_at, packet, &FIRST);
            return Fate::Sent { first, duplicate: None };
        }
        if self.is_lost(packet.number) {
            return self.drop(Cause::Loss, packet.length_bytes);
        }
        let first = self.deliver(sent_at, packet, &FIRST);
        let is_doubled = self.draws.happens(packet.number, Purpose::Duplicate, self.behaviour.duplicate);
        let duplicate = is_doubled.then(|| {
            self.counters.duplicated.add(packet.length_bytes);
            let sent_at = self.transmit(sent_at, packet.length_bytes);
            self.deliver(sent_at, packet, &SECOND)
        });
        Fate::Sent { first, duplicate }
    }

    /// When the last bit of a packet has left, if the first does at `at`.
    fn transmit(&mut self, at: Duration, length_bytes: u32) -> Duration {
        let Some(rate) = self.behaviour.rate_bits_per_s else { return at };
        let length = i64::from(length_bytes) + i64::from(self.behaviour.overhead_bytes);
        self.line.transmit(at, rate, length.max(0).unsigned_abs())
    }

    fn is_lost(&mut self, number: u64) -> bool {
        let share = match self.behaviour.losses {
            Losses::None => return false,
            Losses::Independent(share) => share,
            Losses::Chain(chain) => {
                let is_bad = self.burst.advance(chain, number, self.draws);
                if is_bad { chain.loss_in_bad } else { chain.loss_in_good }
            }
        };
        self.draws.happens(number, Purpose::Loss, share)
    }

    /// Lets one copy of a packet travel.
    fn deliver(&mut self, sent_at: Duration, packet: &Waiting, copy: &Copy) -> Delivery {
        let Waiting { number, length_bytes, .. } = *packet;
        let behaviour = &self.behaviour;
        let travel = behaviour.jitter.map_or(behaviour.delay, |jitter| {
            jitter.around(behaviour.delay, self.draws.unit(number, copy.jitter))
        });
        let mut at = (sent_at + travel).max(self.arrival_last);
        if behaviour.reorder_share > 0.0 && self.draws.happens(number, copy.reorder, behaviour.reorder_share)
        {
            at += behaviour.reorder_by;
        } else {
            self.arrival_last = at;
        }
        let is_corrupt = behaviour.corrupt > 0.0
            && length_bytes > 0
            && self.draws.happens(number, copy.corrupt, behaviour.corrupt);
        let flipped_bit = is_corrupt.then(|| self.draws.below(number, copy.bit, u64::from(length_bytes) * 8));
        if is_corrupt {
            self.counters.corrupted.add(length_bytes);
        }
        self.counters.under_way.add(length_bytes);
        Delivery { at, flipped_bit, is_duplicate: copy.is_duplicate, number, length_bytes }
    }
}

impl Line {
    fn transmit(&mut self, at: Duration, rate_bits_per_s: NonZeroU64, length_bytes: u64) -> Duration {
        debug_assert!(at >= self.free_at);
        if at > self.free_at {
            self.carry = 0;
        }
        // It saturates at packets of gigabytes on lines of a bit a second, which are late in any case.
        let work = length_bytes.saturating_mul(8_000_000_000).saturating_add(self.carry);
        self.carry = work % rate_bits_per_s;
        self.free_at = at + Duration::from_nanos(work / rate_bits_per_s);
        self.free_at
    }
}

impl Burst {
    /// Whether the link is bad for packet `number`, having taken a step after each packet before it. Packets that never
    /// came to the line count: the pattern is one of packets offered, whatever a queue does to them. Those offered
    /// before the chain began find it good.
    fn advance(&mut self, chain: Chain, number: u64, draws: Draws) -> bool {
        for before in self.number..number {
            let leave = if self.is_bad { chain.bad_to_good } else { chain.good_to_bad };
            self.is_bad ^= draws.happens(before, Purpose::Burst, leave);
        }
        self.number = self.number.max(number);
        self.is_bad
    }
}
