//! A packet's bytes as a wire would have them: IPv4 or IPv6, and UDP, TCP or ICMP, with right checksums.

use crate::net::address::{Endpoint, Ip};
use crate::net::packet::{Body, Flags, Icmp, Packet, Segment, UDP_HEADER, Unreachable};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// IPv6's extension header of parts.
const FRAGMENT: u8 = 44;
/// Windows are told in units of 128 bytes, but for those of SYN packets.
pub(in crate::net) const WINDOW_SHIFT: u8 = 7;

/// The packet from its IP header on.
pub(super) fn of(packet: &Packet) -> Vec<u8> {
    let ends = [packet.source, packet.destination];
    let is_v4 = packet.destination.ip.is_v4();
    let mut body = Vec::new();
    let (protocol, part) = match &packet.body {
        Body::Udp => {
            udp(&mut body, ends, &packet.payload, packet.payload.len());
            finish(&mut body, ends, UDP, 6);
            (UDP, None)
        }
        Body::Tcp(segment) => {
            tcp(&mut body, ends, segment, &packet.payload);
            finish(&mut body, ends, TCP, 16);
            (TCP, None)
        }
        Body::Icmp(icmp) => {
            unreachable(&mut body, icmp, ends);
            (if is_v4 { ICMP } else { ICMPV6 }, None)
        }
        Body::Fragment(part) => {
            let is_last = part.offset + packet.payload.len() == part.total;
            if part.offset == 0 {
                udp(&mut body, ends, &packet.payload, part.total);
                body[6..8].copy_from_slice(&part.checksum.to_be_bytes());
            } else {
                body.extend_from_slice(&packet.payload);
            }
            let header = if part.offset == 0 { 0 } else { UDP_HEADER as usize };
            (UDP, Some((low(part.datagram), (part.offset + header) / 8, !is_last)))
        }
    };
    let mut bytes = Vec::with_capacity(body.len() + 48);
    if is_v4 {
        header_v4(&mut bytes, packet, protocol, body.len(), part);
    } else {
        header_v6(&mut bytes, packet, protocol, body.len(), part);
    }
    bytes.extend(body);
    bytes
}

/// Number, place in units of eight bytes, and whether more follow.
type Part = Option<(u16, usize, bool)>;

fn header_v4(bytes: &mut Vec<u8>, packet: &Packet, protocol: u8, body: usize, part: Part) {
    const DONT_FRAGMENT: u16 = 0x4000;
    const MORE: u16 = 0x2000;
    let (number, place) = match part {
        None => (packet.number, DONT_FRAGMENT),
        Some((number, place, more)) => (number, count(place) | if more { MORE } else { 0 }),
    };
    bytes.extend([0x45, packet.tos]);
    bytes.extend(count(20 + body).to_be_bytes());
    bytes.extend(number.to_be_bytes());
    bytes.extend(place.to_be_bytes());
    bytes.extend([packet.hops, protocol, 0, 0]);
    address(bytes, packet.source.ip);
    address(bytes, packet.destination.ip);
    let checksum = !fold(sum(bytes));
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
}

fn header_v6(bytes: &mut Vec<u8>, packet: &Packet, protocol: u8, body: usize, part: Part) {
    let extension = if part.is_some() { 8 } else { 0 };
    bytes.extend([0x60 | packet.tos >> 4, packet.tos << 4, 0, 0]);
    bytes.extend(count(body + extension).to_be_bytes());
    bytes.extend([if part.is_some() { FRAGMENT } else { protocol }, packet.hops]);
    address(bytes, packet.source.ip);
    address(bytes, packet.destination.ip);
    if let Some((number, place, more)) = part {
        bytes.extend([protocol, 0]);
        bytes.extend((count(place) << 3 | u16::from(more)).to_be_bytes());
        bytes.extend(u32::from(number).to_be_bytes());
    }
}

fn udp(body: &mut Vec<u8>, ends: [Endpoint; 2], payload: &[u8], total: usize) {
    ends.iter().for_each(|end| body.extend(end.port.to_be_bytes()));
    body.extend(count(total + UDP_HEADER as usize).to_be_bytes());
    body.extend([0, 0]);
    body.extend_from_slice(payload);
}

/// The checksum of a datagram that goes in parts.
pub(in crate::net) fn udp_checksum(ends: [Endpoint; 2], payload: &[u8]) -> u16 {
    let mut whole = Vec::new();
    udp(&mut whole, ends, payload, payload.len());
    finish(&mut whole, ends, UDP, 6);
    u16::from_be_bytes([whole[6], whole[7]])
}

/// A checksum that covers one end, when that has become another (RFC 1624). 0 is none.
pub(in crate::net) fn mended(checksum: u16, old: Endpoint, new: Endpoint) -> u16 {
    if checksum == 0 {
        return 0;
    }
    let sum_of = |end: Endpoint| fold(sum(&end.ip.bits().to_be_bytes()) + u64::from(end.port));
    let mended = !fold(u64::from(!checksum) + u64::from(!sum_of(old)) + u64::from(sum_of(new)));
    if mended == 0 { 0xffff } else { mended }
}

fn tcp(body: &mut Vec<u8>, ends: [Endpoint; 2], segment: &Segment, payload: &[u8]) {
    let is_syn = segment.flags.has(Flags::SYN);
    let window = if is_syn { segment.window } else { segment.window >> WINDOW_SHIFT };
    ends.iter().for_each(|end| body.extend(end.port.to_be_bytes()));
    body.extend(wrapped(segment.sequence).to_be_bytes());
    body.extend(wrapped(segment.acknowledged).to_be_bytes());
    body.extend([if is_syn { 0x70 } else { 0x50 }, segment.flags.0]);
    body.extend(u16::try_from(window).unwrap_or(u16::MAX).to_be_bytes());
    body.extend([0, 0, 0, 0]);
    if is_syn {
        let [high, low] = segment.mss.to_be_bytes();
        body.extend([2, 4, high, low, 1, 3, 3, WINDOW_SHIFT]);
    }
    body.extend_from_slice(payload);
}

/// It quotes as much of the packet as tells whose it was.
fn unreachable(body: &mut Vec<u8>, icmp: &Icmp, ends: [Endpoint; 2]) {
    let is_v4 = ends[1].ip.is_v4();
    let (kind, code) = match (is_v4, icmp.what) {
        (true, Unreachable::Port) => (3, 3),
        (true, Unreachable::Host) => (3, 1),
        (true, Unreachable::Network) => (3, 0),
        (true, Unreachable::Expired) => (11, 0),
        (false, Unreachable::Port) => (1, 4),
        (false, Unreachable::Host) => (1, 3),
        (false, Unreachable::Network) => (1, 0),
        (false, Unreachable::Expired) => (3, 0),
    };
    body.extend([kind, code, 0, 0, 0, 0, 0, 0]);
    let protocol = if icmp.is_tcp { TCP } else { UDP };
    let quoted = body.len();
    if is_v4 {
        body.extend([0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
    } else {
        body.extend([0x60, 0, 0, 0, 0, 8, protocol, 64]);
    }
    address(body, icmp.source.ip);
    address(body, icmp.destination.ip);
    if is_v4 {
        let checksum = !fold(sum(&body[quoted..]));
        body[quoted + 10..quoted + 12].copy_from_slice(&checksum.to_be_bytes());
    }
    [icmp.source, icmp.destination].iter().for_each(|end| body.extend(end.port.to_be_bytes()));
    body.extend([0, 8, 0, 0]);
    if is_v4 {
        let checksum = !fold(sum(body));
        body[2..4].copy_from_slice(&checksum.to_be_bytes());
    } else {
        finish(body, ends, ICMPV6, 2);
    }
}

fn address(bytes: &mut Vec<u8>, ip: Ip) {
    let whole = ip.bits().to_be_bytes();
    bytes.extend(if ip.is_v4() { &whole[12..] } else { &whole });
}

/// Puts the checksum of a body and its pseudo header at `at`.
fn finish(body: &mut [u8], ends: [Endpoint; 2], protocol: u8, at: usize) {
    let mut pseudo = Vec::with_capacity(32);
    ends.iter().for_each(|end| address(&mut pseudo, end.ip));
    let checksum = !fold(sum(&pseudo) + u64::from(protocol) + body.len() as u64 + sum(body));
    // A UDP checksum of zero means none, and its other form is as good for all.
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    body[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// The sum of 16-bit words (RFC 1071), not folded. A last odd byte is a word's first.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let sum: u64 = words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum();
    sum + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

/// The one's complement sum in 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "the carries are added before")]
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn count(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "numbers wrap on the wire")]
fn wrapped(sequence: u64) -> u32 {
    sequence as u32
}

#[expect(clippy::cast_possible_truncation, reason = "numbers wrap on the wire")]
fn low(number: u64) -> u16 {
    number as u16
}
