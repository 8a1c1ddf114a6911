//! What captures are made of: packets as they were seen, with the bytes that a wire would have had. Files are written
//! elsewhere.

mod bytes;

use netsplit_netmodel::{Cause, Delivery, Fate};

pub(super) use bytes::udp_checksum;

use super::packet::Packet;
use super::{HostIndex, Nanos};

/// A packet at one point of its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// When.
    pub at: Nanos,
    /// The sender.
    pub from: HostIndex,
    /// The receiver.
    pub to: HostIndex,
    /// Where.
    pub point: Point,
    /// What became of it.
    pub remark: Remark,
    /// The packet from its IP header on, with right checksums. A bit that is flipped is flipped.
    pub bytes: Vec<u8>,
}

/// Where a packet is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Its sender gave it.
    Sent,
    /// Its receiver was given it.
    Given,
    /// Its receiver is not given it, though it was sent.
    Missed,
}

/// What is to be said of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Nothing.
    Plain,
    /// A link dropped it.
    Dropped(Cause),
    /// A link keeps it.
    Held,
    /// What its link is about to do to it.
    Altered {
        /// It will arrive twice.
        is_duplicated: bool,
        /// A bit of it will be flipped, at least in one of two.
        is_corrupted: bool,
    },
    /// What its link has done to it.
    Arrived {
        /// It is a second one.
        is_duplicate: bool,
        /// The bit that was flipped, counted from the highest of the first byte.
        flipped_bit: Option<u64>,
    },
    /// No host sent it: it tells that another was rejected.
    Answer,
}

/// What was seen and not yet taken.
#[derive(Default)]
pub(super) struct Capture {
    sights: Vec<Sight>,
    number: u16,
}

impl Capture {
    pub(super) fn see(&mut self, at: Nanos, packet: &Packet, point: Point, remark: Remark) {
        self.number = self.number.wrapping_add(1);
        let mut bytes = bytes::of(packet, self.number);
        if let Remark::Arrived { flipped_bit: Some(bit), .. } = remark {
            let byte = usize::try_from(bit / 8).ok().and_then(|byte| bytes.get_mut(byte));
            byte.into_iter().for_each(|byte| *byte ^= 0x80 >> (bit % 8));
        }
        self.sights.push(Sight { at, from: packet.from, to: packet.to, point, remark, bytes });
    }

    pub(super) fn take(&mut self) -> Vec<Sight> {
        std::mem::take(&mut self.sights)
    }
}

impl Remark {
    /// What is to be said when a link tells the fate of a packet that it was offered.
    pub(super) fn of_fate(fate: &Fate, is_held: bool) -> Self {
        match fate {
            Fate::Queued if is_held => Self::Held,
            Fate::Queued => Self::Plain,
            Fate::Dropped(cause) => Self::Dropped(*cause),
            Fate::Sent { first, duplicate } => {
                let is_corrupt = |delivery: &Delivery| delivery.flipped_bit.is_some();
                let is_corrupted = is_corrupt(first) || duplicate.as_ref().is_some_and(is_corrupt);
                match (duplicate, is_corrupted) {
                    (None, false) => Self::Plain,
                    _ => Self::Altered { is_duplicated: duplicate.is_some(), is_corrupted },
                }
            }
        }
    }

    pub(super) fn of_delivery(delivery: &Delivery) -> Self {
        let Delivery { is_duplicate, flipped_bit, .. } = *delivery;
        if is_duplicate || flipped_bit.is_some() {
            Self::Arrived { is_duplicate, flipped_bit }
        } else {
            Self::Plain
        }
    }
}
