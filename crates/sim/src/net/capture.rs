//! What captures are made of: packets as they were seen, with the bytes that a wire would have had. Files are written
//! elsewhere.

mod bytes;

pub use netsplit_netmodel::Remark;

pub(super) use bytes::{mended, udp_checksum};

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
        self.sights.push(Sight { at, from: packet.hop.from, to: packet.hop.to, point, remark, bytes });
    }

    pub(super) fn take(&mut self) -> Vec<Sight> {
        std::mem::take(&mut self.sights)
    }
}
