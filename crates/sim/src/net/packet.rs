//! Packets as the simulator moves them: boxes that go from socket to link to socket and are used again. Their bytes on a
//! wire exist only in captures; here is how many they would be.

use std::mem;

use netsplit_netmodel::Delivery;

use super::SocketId;
use super::address::Endpoint;
use super::hosts::Hop;

/// An IP packet.
pub(super) struct Packet {
    /// Where it is: on which network, and between whom there.
    pub(super) hop: Hop,
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
    pub(super) body: Body,
    pub(super) payload: Vec<u8>,
    pub(super) tos: u8,
    pub(super) hops: u8,
    /// IPv4's identification: its copies have the same.
    pub(super) number: u16,
    /// Whether it is one of those that were sent to several.
    pub(super) is_shared: bool,
    /// The link that it is on, while it is under way.
    pub(super) way: Option<(u32, Delivery)>,
}

/// What IP carries.
#[derive(Clone)]
pub(super) enum Body {
    Udp,
    Tcp(Segment),
    Icmp(Icmp),
    /// A part of a UDP datagram that is longer than the link's packets.
    Fragment(Fragment),
}

/// The header of TCP. Sequence numbers do not wrap: their lower half is what a wire has.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) acknowledged: u64,
    /// In bytes, scaled already.
    pub(super) window: u32,
    /// Of SYN packets only.
    pub(super) mss: u16,
    pub(super) flags: Flags,
    /// The sender's socket, and which one it takes for the receiver's. No more than a hint.
    pub(super) sockets: [Option<SocketId>; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Flags(pub(super) u8);

/// "Unreachable" or "time exceeded", about a packet that the receiver of this had sent.
#[derive(Clone, Copy)]
pub(super) struct Icmp {
    pub(super) what: Unreachable,
    pub(super) is_tcp: bool,
    pub(super) source: Endpoint,
    pub(super) destination: Endpoint,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreachable {
    Port,
    Host,
    Network,
    /// It had no hop left.
    Expired,
}

/// Which part of which datagram.
#[derive(Clone, Copy)]
pub(super) struct Fragment {
    pub(super) datagram: u64,
    /// Of the whole payload, in bytes.
    pub(super) offset: usize,
    pub(super) total: usize,
    /// Of the whole, which stands in its first part; 0 while nobody sees packets.
    pub(super) checksum: u16,
}

impl Flags {
    pub(super) const NONE: Self = Self(0);
    pub(super) const FIN: Self = Self(0x01);
    pub(super) const SYN: Self = Self(0x02);
    pub(super) const RST: Self = Self(0x04);
    pub(super) const PSH: Self = Self(0x08);
    pub(super) const ACK: Self = Self(0x10);

    #[inline]
    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[inline]
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What ends have beside data: the options of SYN are MSS and window scale.
pub(super) const TCP_HEADER: u32 = 20;
pub(super) const SYN_OPTIONS: u32 = 8;
pub(super) const UDP_HEADER: u32 = 8;
const ICMP_HEADER: u32 = 8;

impl Packet {
    pub(super) fn ip_header(&self) -> u32 {
        if self.destination.ip.is_v4() { 20 } else { 40 }
    }

    /// The length of the IP packet, which is what links count.
    #[inline]
    pub(super) fn length(&self) -> u32 {
        let payload = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let header = match &self.body {
            Body::Udp => UDP_HEADER,
            Body::Tcp(segment) if segment.flags.has(Flags::SYN) => TCP_HEADER + SYN_OPTIONS,
            Body::Tcp(_) => TCP_HEADER,
            // It quotes the headers of the packet.
            Body::Icmp(_) => ICMP_HEADER + self.ip_header() + UDP_HEADER,
            // IPv6 has an extension header, and the first one has UDP's.
            Body::Fragment(part) => {
                let extension = if self.destination.ip.is_v4() { 0 } else { 8 };
                extension + if part.offset == 0 { UDP_HEADER } else { 0 }
            }
        };
        self.ip_header() + header + payload
    }

    /// A number that two packets share only by chance: of both ends, the kind, the header and every byte.
    pub(super) fn fingerprint(&self) -> u64 {
        let ends = u64::from(self.hop.from.0) << 32 | u64::from(self.hop.to.0);
        let ports = u64::from(self.source.port) << 16 | u64::from(self.destination.port);
        let mut hash = mix(mix(ends, ports), self.payload.len() as u64);
        hash = match &self.body {
            Body::Udp => mix(hash, 17),
            Body::Tcp(segment) => {
                let numbers = mix(segment.sequence, segment.acknowledged);
                mix(hash, numbers ^ u64::from(segment.flags.0) << 32 ^ u64::from(segment.window))
            }
            Body::Icmp(icmp) => mix(hash, 1 + u64::from(icmp.what == Unreachable::Port)),
            Body::Fragment(part) => mix(hash, mix(part.datagram, part.offset as u64)),
        };
        let (lines, rest) = self.payload.as_chunks::<32>();
        if !lines.is_empty() {
            hash = mix(hash, fold(lines));
        }
        let (words, rest) = rest.as_chunks::<8>();
        hash = words.iter().fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte)))
    }
}

/// A hash of much: four words at a time, none of which waits for another.
fn fold(lines: &[[u8; 32]]) -> u64 {
    const ODD: [u64; 4] =
        [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9, 0x27d4_eb2f_1656_67c5];
    let mut lanes = ODD;
    for line in lines {
        let (words, _) = line.as_chunks::<8>();
        for ((lane, odd), word) in lanes.iter_mut().zip(ODD).zip(words) {
            *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(odd).rotate_left(29);
        }
    }
    lanes.into_iter().fold(0, mix)
}

/// Folds a word into a hash: both halves of a product (as in wyhash).
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
pub(super) fn mix(hash: u64, word: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let product = u128::from(hash ^ word ^ 0x2545_f491_4f6c_dd1d) * u128::from(ODD);
    product as u64 ^ (product >> 64) as u64
}

/// Packets that nobody uses, with their buffers.
#[derive(Default)]
pub(super) struct Pool {
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    free: Vec<Box<Packet>>,
    /// Buffers of long packets, apart, so that short ones do not keep them.
    long: Vec<Vec<u8>>,
    /// Of the last packet.
    number: u16,
}

/// Packets that are kept: what a hundred hosts have under way in a busy moment.
const FREE_MAX: usize = 4096;
/// Longer buffers are long: 4096 of these are 16 MiB.
const SHORT_BYTES_MAX: usize = 4096;
/// As many bytes again.
const LONG_MAX: usize = 256;

impl Pool {
    /// A packet without a payload.
    #[inline]
    pub(super) fn take(&mut self, hop: Hop, [source, destination]: [Endpoint; 2], body: Body) -> Box<Packet> {
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        if let Some(mut packet) = self.free.pop() {
            packet.hop = hop;
            packet.source = source;
            packet.destination = destination;
            packet.body = body;
            packet.tos = 0;
            packet.hops = HOPS;
            packet.number = number;
            packet.is_shared = false;
            packet.way = None;
            return packet;
        }
        let payload = Vec::new();
        Box::new(Packet {
            hop,
            source,
            destination,
            body,
            payload,
            tos: 0,
            hops: HOPS,
            number,
            is_shared: false,
            way: None,
        })
    }

    /// Has an empty payload take so many bytes.
    #[inline]
    pub(super) fn make_room(&mut self, payload: &mut Vec<u8>, length: usize) {
        if length > SHORT_BYTES_MAX
            && let Some(long) = self.long.pop()
        {
            *payload = long;
        }
        payload.reserve(length);
    }

    #[inline]
    pub(super) fn give_back(&mut self, mut packet: Box<Packet>) {
        if self.free.len() < FREE_MAX {
            packet.payload.clear();
            if packet.payload.capacity() > SHORT_BYTES_MAX {
                let payload = mem::take(&mut packet.payload);
                if self.long.len() < LONG_MAX {
                    self.long.push(payload);
                }
            }
            packet.way = None;
            self.free.push(packet);
        }
    }

    /// The same once more.
    pub(super) fn copy(&mut self, packet: &Packet) -> Box<Packet> {
        let mut copy = self.take(packet.hop, [packet.source, packet.destination], packet.body.clone());
        self.make_room(&mut copy.payload, packet.payload.len());
        copy.payload.extend_from_slice(&packet.payload);
        copy.tos = packet.tos;
        copy.hops = packet.hops;
        copy.number = packet.number;
        copy.is_shared = packet.is_shared;
        copy
    }

    /// What tells the sender of `packet` that nobody takes it, and why. `None` where nobody may be told.
    pub(super) fn refusal(&mut self, packet: &Packet, what: Unreachable) -> Option<Box<Packet>> {
        let Packet { source, destination, .. } = *packet;
        if packet.is_shared {
            return None;
        }
        let body = match &packet.body {
            Body::Tcp(segment) if what == Unreachable::Port => {
                Body::Tcp(segment.reset(packet.payload.len())?)
            }
            Body::Tcp(_) => Body::Icmp(Icmp { what, is_tcp: true, source, destination }),
            Body::Udp => Body::Icmp(Icmp { what, is_tcp: false, source, destination }),
            Body::Fragment(part) if part.offset == 0 => {
                Body::Icmp(Icmp { what, is_tcp: false, source, destination })
            }
            Body::Icmp(_) | Body::Fragment(_) => return None,
        };
        Some(self.take(packet.hop.back(), [destination, source], body))
    }
}

/// Linux' default.
pub(super) const HOPS: u8 = 64;

impl Segment {
    /// The answer to a segment that belongs to no connection (RFC 9293, section 3.10.7.1).
    pub(super) fn reset(&self, payload: usize) -> Option<Self> {
        if self.flags.has(Flags::RST) {
            return None;
        }
        let [sender, receiver] = self.sockets;
        let reset = Self {
            sequence: 0,
            acknowledged: 0,
            window: 0,
            mss: 0,
            flags: Flags::RST,
            sockets: [receiver, sender],
        };
        Some(if self.flags.has(Flags::ACK) {
            Self { sequence: self.acknowledged, ..reset }
        } else {
            let taken = payload as u64
                + u64::from(self.flags.has(Flags::SYN))
                + u64::from(self.flags.has(Flags::FIN));
            Self { acknowledged: self.sequence + taken, flags: Flags::RST.and(Flags::ACK), ..reset }
        })
    }
}
