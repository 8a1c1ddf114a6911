//! What stands in a frame: the virtio-net header, Ethernet, and as much of IP, TCP and UDP as checksums, super-frames and
//! rejection need. Pure; nothing that a host sends is trusted.
//!
//! A frame is `struct virtio_net_hdr` of 10 bytes in the machine's byte order (Virtual I/O Device 1.3, section 5.1.6; the
//! legacy form, which both kinds of ports speak), then an Ethernet frame without its checksum sequence:
//!
//! | byte | field |
//! | --- | --- |
//! | 0 | flags; bit 0: the checksum is not finished |
//! | 1 | kind of super-frame: 0 none, 1 TCP/IPv4, 4 TCP/IPv6, 5 UDP; bit 7: ECN |
//! | 2, 4 | length of all headers; payload bytes of each segment |
//! | 6, 8 | where the checksum begins, from the Ethernet header on; where it stands, from there |
//!
//! A super-frame (GSO) is a TCP or UDP packet of up to 64 KiB that stands for many; an unfinished checksum holds the sum
//! of the pseudo header alone.

use std::ops::Range;

use crate::Mac;

/// Bytes of the virtio-net header.
pub(crate) const HEADER: usize = 10;
/// Where the Ethernet frame's payload begins: bytes before it are not counted by links.
pub(crate) const PAYLOAD: usize = HEADER + 14;
/// The longest frame: a packet of 65,535 bytes behind two VLAN tags; IPv6 does not count its header, either.
pub(crate) const FRAME_MAX: usize = PAYLOAD + 8 + 40 + 65_535;

const NEEDS_CHECKSUM: u8 = 1;
const GSO_ECN: u8 = 0x80;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;

pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
const TCP_FIN_PSH: u8 = 0x09;
const TCP_CWR: u8 = 0x80;

pub(crate) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn native_u16(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]))
}

fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The receiver, if there is a whole Ethernet header.
pub(crate) fn destination(frame: &[u8]) -> Option<Mac> {
    frame.get(HEADER..PAYLOAD).map(|header| Mac(std::array::from_fn(|at| header[at])))
}

/// The sender of a frame that has a whole Ethernet header.
pub(crate) fn source(frame: &[u8]) -> Mac {
    Mac(std::array::from_fn(|at| frame[HEADER + 6 + at]))
}

/// The EtherType and where what it names begins, behind VLAN tags.
pub(crate) fn network(frame: &[u8]) -> Option<(u16, usize)> {
    let mut at = HEADER + 12;
    for _tags in 0..3 {
        let kind = read_u16(frame, at)?;
        if !ETHERTYPE_VLAN.contains(&kind) {
            return Some((kind, at + 2));
        }
        at += 4;
    }
    None
}

/// Whether the frame stands for many.
pub(crate) fn is_super(frame: &[u8]) -> bool {
    frame[1] & !GSO_ECN != 0
}

/// Whether its checksum is left to the device.
pub(crate) fn is_unfinished(frame: &[u8]) -> bool {
    frame[0] & NEEDS_CHECKSUM != 0
}

/// The sum of 16-bit words (RFC 1071), not folded. A last odd byte is a word's first.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let sum: u64 = words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum();
    sum + rest.first().map_or(0, |last| u64::from(*last) << 8)
}

/// The one's complement sum in 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "the carries are added before")]
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Finishes a checksum that the host left to its device, so that the receiver checks what it receives.
pub(crate) fn finish_checksum(frame: &mut [u8]) {
    let start = HEADER + native_u16(frame, 6);
    let place = start + native_u16(frame, 8);
    let is_unfinished = is_unfinished(frame);
    frame[0] = 0;
    if is_unfinished && place + 2 <= frame.len() {
        let checksum = !fold(sum(&frame[start..]));
        // A UDP checksum of zero means none, and its other form is as good for all.
        put_u16(frame, place, if checksum == 0 { 0xffff } else { checksum });
    }
}

/// Flips a bit, counted from the packet's first.
pub(crate) fn flip(frame: &mut [u8], bit: u64) {
    finish_checksum(frame);
    let byte = usize::try_from(bit / 8).ok().and_then(|byte| frame.get_mut(PAYLOAD + byte));
    if let Some(byte) = byte {
        *byte ^= 0x80 >> (bit % 8);
    }
}

/// A super-frame taken apart.
#[derive(Debug)]
pub(crate) struct Segments<'f> {
    frame: &'f [u8],
    protocol: u8,
    is_ipv4: bool,
    /// Where the IP and the TCP or UDP header begin.
    ip: usize,
    transport: usize,
    /// Where the payload begins, what of it is still to come, and how much of it each segment has.
    payload: usize,
    left: Range<usize>,
    size: usize,
}

impl<'f> Segments<'f> {
    /// `None` when the headers are not what the virtio-net header says.
    pub(crate) fn of(frame: &'f [u8]) -> Option<Self> {
        let protocol = match frame[1] & !GSO_ECN {
            GSO_TCP4 | GSO_TCP6 => TCP,
            GSO_UDP => UDP,
            _ => return None,
        };
        let (kind, ip) = network(frame)?;
        let is_ipv4 = kind == ETHERTYPE_IPV4;
        let ip_bytes = if is_ipv4 { usize::from(frame.get(ip)? & 0x0f) * 4 } else { 40 };
        let transport = HEADER + native_u16(frame, 6);
        let transport_bytes = match protocol {
            TCP => usize::from(frame.get(transport + 12)? >> 4) * 4,
            _ => 8,
        };
        let payload = transport + transport_bytes;
        let size = native_u16(frame, 4);
        let is_whole = (is_ipv4 || kind == ETHERTYPE_IPV6)
            && ip_bytes >= 20
            && transport >= ip + ip_bytes
            && transport_bytes >= if protocol == TCP { 20 } else { 8 }
            && size > 0
            && payload < frame.len();
        let left = payload..frame.len();
        is_whole.then_some(Self { frame, protocol, is_ipv4, ip, transport, payload, left, size })
    }

    /// Writes the next segment to `out`. `false`: there was none.
    pub(crate) fn next_into(&mut self, out: &mut Vec<u8>) -> bool {
        if self.left.is_empty() {
            return false;
        }
        let index = (self.left.start - self.payload) / self.size;
        let end = self.left.end.min(self.left.start + self.size);
        out.clear();
        out.extend_from_slice(&self.frame[..self.payload]);
        out.extend_from_slice(&self.frame[self.left.start..end]);
        self.left.start = end;
        out[..HEADER].fill(0);
        out[0] = NEEDS_CHECKSUM;
        out[6..8].copy_from_slice(&self.frame[6..8]);
        let checksum = if self.protocol == TCP { 16u16 } else { 6 };
        out[8..10].copy_from_slice(&checksum.to_ne_bytes());
        self.mend_ip(out, index);
        self.mend_transport(out, index);
        true
    }

    /// The length, and for IPv4 the number and the checksum, of segment `index`.
    #[expect(clippy::cast_possible_truncation, reason = "a frame's length fits, and the number wraps")]
    fn mend_ip(&self, out: &mut [u8], index: usize) {
        let ip = self.ip;
        if self.is_ipv4 {
            put_u16(out, ip + 2, (out.len() - ip) as u16);
            let number = u16::from_be_bytes([out[ip + 4], out[ip + 5]]);
            put_u16(out, ip + 4, number.wrapping_add(index as u16));
            put_u16(out, ip + 10, 0);
            let end = ip + usize::from(out[ip] & 0x0f) * 4;
            let checksum = !fold(sum(&out[ip..end]));
            put_u16(out, ip + 10, checksum);
        } else {
            put_u16(out, ip + 4, (out.len() - ip - 40) as u16);
        }
    }

    /// What differs from segment to segment in TCP and UDP headers; the checksum stays unfinished.
    #[expect(clippy::cast_possible_truncation, reason = "a frame's length fits, and sequence numbers wrap")]
    fn mend_transport(&self, out: &mut [u8], index: usize) {
        let at = self.transport;
        let length = out.len() - at;
        if self.protocol == TCP {
            let sequence = u32::from_be_bytes([out[at + 4], out[at + 5], out[at + 6], out[at + 7]]);
            let sequence = sequence.wrapping_add((index * self.size) as u32);
            out[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
            if !self.left.is_empty() {
                out[at + 13] &= !TCP_FIN_PSH;
            }
            if index > 0 {
                out[at + 13] &= !TCP_CWR;
            }
        } else {
            put_u16(out, at + 4, length as u16);
        }
        let addresses = if self.is_ipv4 { self.ip + 12..self.ip + 20 } else { self.ip + 8..self.ip + 40 };
        let pseudo = fold(sum(&out[addresses]) + u64::from(self.protocol) + length as u64);
        put_u16(out, at + if self.protocol == TCP { 16 } else { 6 }, pseudo);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP/IPv4 super-frame with segments of 1000 bytes.
    fn super_frame(payload: usize) -> Vec<u8> {
        let mut frame = vec![0; HEADER];
        frame[0] = NEEDS_CHECKSUM;
        frame[1] = GSO_TCP4;
        frame[4..6].copy_from_slice(&1000u16.to_ne_bytes());
        frame[6..8].copy_from_slice(&34u16.to_ne_bytes());
        frame[8..10].copy_from_slice(&16u16.to_ne_bytes());
        frame.extend([2; 12]);
        frame.extend(ETHERTYPE_IPV4.to_be_bytes());
        frame.extend([0x45, 0, 0, 0, 0xff, 0xff, 0x40, 0, 64, TCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0, 1, 0, 2, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 9, 0x50, 0x99, 1, 0, 0, 0, 0, 0]);
        frame.extend((0..payload).map(|at| u8::try_from(at % 251).unwrap()));
        frame
    }

    fn segments(frame: &[u8]) -> Vec<Vec<u8>> {
        let mut segments = Segments::of(frame).unwrap();
        let mut out = Vec::new();
        let mut all = Vec::new();
        while segments.next_into(&mut out) {
            all.push(out.clone());
        }
        all
    }

    #[test]
    fn segments_have_every_byte_once() {
        let frame = super_frame(2500);
        let all = segments(&frame);
        let lengths: Vec<_> = all.iter().map(|segment| segment.len() - PAYLOAD - 40).collect();
        assert_eq!(lengths, [1000, 1000, 500]);
        let bytes: Vec<_> = all.iter().flat_map(|segment| &segment[PAYLOAD + 40..]).copied().collect();
        assert_eq!(bytes, frame[PAYLOAD + 40..]);
        assert!(!all.iter().any(|segment| is_super(segment)));
    }

    #[test]
    fn headers_go_on_and_checksums_hold() {
        for (index, mut segment) in segments(&super_frame(2500)).into_iter().enumerate() {
            let ip = PAYLOAD;
            assert_eq!(usize::from(read_u16(&segment, ip + 2).unwrap()), segment.len() - ip);
            assert_eq!(read_u16(&segment, ip + 4).unwrap(), [0xffff, 0, 1][index], "it wraps");
            assert_eq!(fold(sum(&segment[ip..ip + 20])), 0xffff, "the header's checksum");
            assert_eq!(read_u32(&segment, ip + 24).unwrap(), [0xffff_fff0, 984, 1984][index]);
            assert_eq!(segment[ip + 33], [0x90, 0x10, 0x19][index], "CWR first, PSH and FIN last");
            finish_checksum(&mut segment);
            let length = segment.len() - ip - 20;
            let pseudo = sum(&segment[ip + 12..ip + 20]) + u64::from(TCP) + length as u64;
            assert_eq!(fold(pseudo + sum(&segment[ip + 20..])), 0xffff, "the packet's checksum");
        }
    }

    #[test]
    fn a_flipped_bit_is_one_and_the_checksum_tells() {
        let whole = segments(&super_frame(100)).remove(0);
        let mut finished = whole.clone();
        finish_checksum(&mut finished);
        let mut flipped = whole;
        flip(&mut flipped, 8 * 40 + 3);
        let different: Vec<_> = (0..flipped.len()).filter(|at| flipped[*at] != finished[*at]).collect();
        assert_eq!(different, [PAYLOAD + 40]);
        assert_eq!(flipped[PAYLOAD + 40] ^ finished[PAYLOAD + 40], 0x10);
        flip(&mut flipped, u64::MAX);
    }

    #[test]
    fn no_header_of_a_host_is_trusted() {
        let frame = super_frame(1500);
        for end in PAYLOAD..frame.len() {
            let _may_be_none =
                Segments::of(&frame[..end]).map(|mut segments| segments.next_into(&mut Vec::new()));
        }
        for at in 0..PAYLOAD + 40 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut wrong = frame.clone();
                wrong[at] = value;
                if let Some(mut segments) = Segments::of(&wrong) {
                    while segments.next_into(&mut Vec::new()) {}
                }
                flip(&mut wrong, 1);
            }
        }
    }
}
