//! How a link that rejects answers the sender, as a firewall does: TCP with RST (RFC 9293, section 3.10.7.1), UDP with
//! "port unreachable", anything else with "host unreachable" (ICMP: RFC 792; ICMPv6: RFC 4443, section 3.1). Pure.
//!
//! Connections and sockets of the sender then fail at once: ECONNREFUSED, ECONNRESET, EHOSTUNREACH.

use crate::frame::{
    self, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER, TCP, UDP, fold, read_u16, read_u32, sum,
};

pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const SYN_FIN: u8 = 0x03;
/// How much of a rejected packet an answer quotes at most: with it, it is no longer than what every link passes (IPv4:
/// 576, RFC 1812; IPv6: 1280).
pub(crate) const QUOTE_IPV4: usize = 548;
pub(crate) const QUOTE_IPV6: usize = 1232;
pub(crate) const TTL: u8 = 64;

/// A packet that is to be answered.
struct Packet<'f> {
    frame: &'f [u8],
    is_ipv4: bool,
    ip: usize,
    protocol: u8,
    transport: usize,
    end: usize,
}

/// Whether a frame finds neighbours: ARP, or ICMPv6 133 to 137 (RFC 4861). These pass a link that rejects, as a firewall
/// lets them pass, or nothing would ever be sent that could be rejected.
pub(crate) fn is_neighbour_discovery(frame: &[u8]) -> bool {
    match frame::network(frame) {
        Some((ETHERTYPE_ARP, _)) => true,
        Some((ETHERTYPE_IPV6, ip)) => {
            let kind = frame.get(ip + 40).copied().unwrap_or_default();
            frame.get(ip + 6) == Some(&ICMPV6) && (133..=137).contains(&kind)
        }
        _ => false,
    }
}

/// The frame that tells the sender of `frame`. `None` where nobody may be told: groups, later fragments, errors and
/// resets.
pub(crate) fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    if frame::destination(frame)?.is_group() {
        return None;
    }
    let packet = Packet::of(frame)?;
    let (protocol, body) = match packet.protocol {
        TCP => (TCP, packet.reset()?),
        UDP => packet.unreachable(true),
        ICMP if packet.is_ipv4 && !is_icmp_query(*frame.get(packet.transport)?) => return None,
        // Errors are below 128.
        ICMPV6 if !packet.is_ipv4 && *frame.get(packet.transport)? < 128 => return None,
        _ => packet.unreachable(false),
    };
    packet.wrap(protocol, body)
}

/// Echo, timestamp, and their answers.
pub(crate) fn is_icmp_query(kind: u8) -> bool {
    matches!(kind, 0 | 8 | 13 | 14)
}

impl<'f> Packet<'f> {
    fn of(frame: &'f [u8]) -> Option<Self> {
        let (kind, ip) = frame::network(frame)?;
        match kind {
            ETHERTYPE_IPV4 => {
                let header = usize::from(frame.get(ip)? & 0x0f) * 4;
                let end = ip + usize::from(read_u16(frame, ip + 2)?);
                let is_first = read_u16(frame, ip + 6)? & 0x1fff == 0;
                let transport = ip + header;
                let is_whole = is_first && header >= 20 && transport <= end && end <= frame.len();
                let protocol = *frame.get(ip + 9)?;
                is_whole.then_some(Self { frame, is_ipv4: true, ip, protocol, transport, end })
            }
            ETHERTYPE_IPV6 => {
                let transport = ip + 40;
                let end = transport + usize::from(read_u16(frame, ip + 4)?);
                let protocol = *frame.get(ip + 6)?;
                let is_whole = end <= frame.len();
                is_whole.then_some(Self { frame, is_ipv4: false, ip, protocol, transport, end })
            }
            _ => None,
        }
    }

    fn addresses(&self) -> [&'f [u8]; 2] {
        let (first, length) = if self.is_ipv4 { (self.ip + 12, 4) } else { (self.ip + 8, 16) };
        [&self.frame[first..first + length], &self.frame[first + length..first + 2 * length]]
    }

    fn reset(&self) -> Option<Vec<u8>> {
        let tcp = self.frame.get(self.transport..self.end)?;
        let (flags, header) = (*tcp.get(13)?, usize::from(tcp[12] >> 4) * 4);
        if flags & RST != 0 || header > tcp.len() {
            return None;
        }
        let taken = tcp.len() - header + (flags & SYN_FIN).count_ones() as usize;
        let (sequence, acknowledged, answer) = if flags & ACK != 0 {
            (read_u32(tcp, 8)?, 0, RST)
        } else {
            (0, read_u32(tcp, 4)?.wrapping_add(u32::try_from(taken).ok()?), RST | ACK)
        };
        let mut out = [&tcp[2..4], &tcp[0..2]].concat();
        out.extend(sequence.to_be_bytes());
        out.extend(acknowledged.to_be_bytes());
        out.extend([0x50, answer, 0, 0, 0, 0, 0, 0]);
        self.put_checksum(TCP, &mut out, 16, true);
        Some(out)
    }

    /// The ICMP message that quotes the packet: of its port or of its host.
    fn unreachable(&self, port: bool) -> (u8, Vec<u8>) {
        let (protocol, kind, code, quote) = match (self.is_ipv4, port) {
            (true, false) => (ICMP, 3, 1, QUOTE_IPV4),
            (true, true) => (ICMP, 3, 3, QUOTE_IPV4),
            (false, false) => (ICMPV6, 1, 3, QUOTE_IPV6),
            (false, true) => (ICMPV6, 1, 4, QUOTE_IPV6),
        };
        let mut out = vec![kind, code, 0, 0, 0, 0, 0, 0];
        out.extend_from_slice(&self.frame[self.ip..self.end.min(self.ip + quote)]);
        self.put_checksum(protocol, &mut out, 2, !self.is_ipv4);
        (protocol, out)
    }

    fn put_checksum(&self, protocol: u8, body: &mut [u8], at: usize, with_pseudo_header: bool) {
        let [from, to] = self.addresses();
        let pseudo = sum(from) + sum(to) + u64::from(protocol) + body.len() as u64;
        let checksum = !fold(sum(body) + if with_pseudo_header { pseudo } else { 0 });
        body[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }

    /// The frame that carries `body` back: all in front of IP with its ends exchanged, and a new IP header.
    fn wrap(&self, protocol: u8, body: Vec<u8>) -> Option<Vec<u8>> {
        let mut out = vec![0; HEADER];
        let ethernet = &self.frame[HEADER..self.ip];
        out.extend([&ethernet[6..12], &ethernet[0..6], &ethernet[12..]].concat());
        let [from, to] = self.addresses();
        let ip = out.len();
        if self.is_ipv4 {
            let length = u16::try_from(20 + body.len()).ok()?.to_be_bytes();
            out.extend([0x45, 0, length[0], length[1], 0, 0, 0, 0, TTL, protocol, 0, 0]);
        } else {
            let length = u16::try_from(body.len()).ok()?.to_be_bytes();
            out.extend([0x60, 0, 0, 0, length[0], length[1], protocol, TTL]);
        }
        out.extend([to, from].concat());
        if self.is_ipv4 {
            let checksum = !fold(sum(&out[ip..]));
            out[ip + 10..ip + 12].copy_from_slice(&checksum.to_be_bytes());
        }
        out.extend(body);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PAYLOAD;

    const ADDRESSES: [u8; 8] = [10, 0, 0, 1, 10, 0, 0, 2];

    fn ethernet(kind: u16) -> Vec<u8> {
        let mut frame = vec![0; HEADER];
        frame.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
        frame.extend(kind.to_be_bytes());
        frame
    }

    fn ipv4(protocol: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = ethernet(ETHERTYPE_IPV4);
        let length = u8::try_from(20 + body.len()).unwrap();
        frame.extend([0x45, 0, 0, length, 0, 0, 0, 0, 64, protocol, 0, 0]);
        frame.extend(ADDRESSES);
        frame.extend(body);
        frame
    }

    fn syn(flags: u8) -> Vec<u8> {
        let mut body = vec![0x11, 0x11, 0x22, 0x22, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, flags, 1, 0, 0, 0, 0, 0];
        body.extend(b"abc");
        body
    }

    #[test]
    fn tcp_is_reset() {
        let reset = answer(&ipv4(TCP, &syn(0x02))).unwrap();
        assert_eq!(reset[HEADER..HEADER + 12], [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        let tcp = &reset[PAYLOAD + 20..];
        assert_eq!(tcp[..4], [0x22, 0x22, 0x11, 0x11]);
        assert_eq!((read_u32(tcp, 4), read_u32(tcp, 8), tcp[13]), (Some(0), Some(7 + 3 + 1), RST | ACK));
        assert_eq!(fold(sum(&reset[PAYLOAD..PAYLOAD + 20])), 0xffff);
        let pseudo = sum(&reset[PAYLOAD + 12..PAYLOAD + 20]) + u64::from(TCP) + 20;
        assert_eq!(fold(pseudo + sum(tcp)), 0xffff);
        let established = answer(&ipv4(TCP, &syn(ACK))).unwrap();
        let tcp = &established[PAYLOAD + 20..];
        assert_eq!((read_u32(tcp, 4), tcp[13]), (Some(9), RST));
        assert!(answer(&ipv4(TCP, &syn(RST))).is_none(), "no answer to a reset");
    }

    #[test]
    fn others_are_told_by_icmp() {
        let kind = |frame: &[u8]| answer(frame).map(|answer| (answer[PAYLOAD + 20], answer[PAYLOAD + 21]));
        assert_eq!(kind(&ipv4(UDP, &[0; 8])), Some((3, 3)));
        assert_eq!(kind(&ipv4(ICMP, &[8, 0, 0, 0])), Some((3, 1)));
        assert_eq!(kind(&ipv4(132, &[0; 12])), Some((3, 1)));
        assert_eq!(kind(&ipv4(ICMP, &[3, 1, 0, 0])), None, "no answer to an error");
        let mut group = ipv4(UDP, &[0; 8]);
        group[HEADER] = 0xff;
        assert_eq!(kind(&group), None);
        let icmp = answer(&ipv4(UDP, &[0; 8])).unwrap();
        assert_eq!(fold(sum(&icmp[PAYLOAD + 20..])), 0xffff);
        let mut echo = ethernet(ETHERTYPE_IPV6);
        echo.extend([0x60, 0, 0, 0, 0, 8, ICMPV6, 64]);
        echo.extend([1; 32]);
        echo.extend([128, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(answer(&echo).unwrap()[PAYLOAD + 40..PAYLOAD + 42], [1, 3]);
        assert!(!is_neighbour_discovery(&echo));
        echo[PAYLOAD + 40] = 135;
        assert!(is_neighbour_discovery(&echo));
    }

    #[test]
    fn no_header_of_a_host_is_trusted() {
        let frame = ipv4(TCP, &syn(0x02));
        for end in PAYLOAD..frame.len() {
            let _may_be_none = answer(&frame[..end]);
        }
        for at in HEADER..frame.len() {
            let mut wrong = frame.clone();
            wrong[at] = 0xff;
            let _may_be_none = answer(&wrong);
        }
    }
}
