//! Packets of these tests, made and read by other code than the translator's: checksums are summed anew.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// `10.0.0.1:5000` or `[fd00::1]:5000`; of pings the port is the identifier, at the end that asks.
pub(crate) type End = (IpAddr, u16);

pub(crate) fn end(text: &str) -> End {
    let address: std::net::SocketAddr = text.parse().unwrap();
    (address.ip(), address.port())
}

/// The one's complement sum, not complemented.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

fn add(one: u16, other: u16) -> u16 {
    let sum = u32::from(one) + u32::from(other);
    u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> u16 {
    let tail = [&u32::try_from(length).unwrap().to_be_bytes()[..], &[0, 0, 0, protocol]].concat();
    sum(&[octets(from), octets(to), tail].concat())
}

fn checksum_at(protocol: u8) -> usize {
    match protocol {
        TCP => 16,
        UDP => 6,
        _ => 2,
    }
}

/// An IP packet around `body`, whose checksum is put in its place.
pub(crate) fn ip(from: IpAddr, to: IpAddr, protocol: u8, options: usize, mut body: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap();
    let mut out = match from {
        IpAddr::V4(_) => {
            let total = (length + 20 + u16::try_from(options).unwrap() * 4).to_be_bytes();
            let first = 0x45 + u8::try_from(options).unwrap();
            vec![first, 0, total[0], total[1], 0x12, 0x34, 0, 0, 64, protocol, 0, 0]
        }
        IpAddr::V6(_) => [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[protocol, 64]].concat(),
    };
    out.extend([octets(from), octets(to)].concat());
    out.resize(out.len() + options * 4, 1);
    if from.is_ipv4() {
        let checksum = !sum(&out);
        out[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    let at = checksum_at(protocol);
    if [TCP, UDP, ICMP, ICMPV6].contains(&protocol) {
        let pseudo = if protocol == ICMP { 0 } else { pseudo(from, to, protocol, body.len()) };
        let checksum = !add(pseudo, sum(&body));
        let checksum = if checksum == 0 && protocol == UDP { 0xffff } else { checksum };
        body[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
    out.extend(body);
    out
}

pub(crate) fn udp(from: End, to: End, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    let body = [&from.1.to_be_bytes(), &to.1.to_be_bytes(), &length, &[0, 0], payload].concat();
    ip(from.0, to.0, UDP, 0, body)
}

pub(crate) fn tcp(from: End, to: End, flags: u8, payload: &[u8]) -> Vec<u8> {
    let head = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 1, 0, 0, 0, 0, 0];
    let body = [&from.1.to_be_bytes()[..], &to.1.to_be_bytes(), &head, payload].concat();
    ip(from.0, to.0, TCP, 0, body)
}

/// A ping, or the answer to one.
pub(crate) fn echo(from: End, to: End, is_reply: bool) -> Vec<u8> {
    let id = if is_reply { to.1 } else { from.1 }.to_be_bytes();
    let (protocol, kind) = match (from.0.is_ipv4(), is_reply) {
        (true, false) => (ICMP, 8),
        (true, true) => (ICMP, 0),
        (false, false) => (ICMPV6, 128),
        (false, true) => (ICMPV6, 129),
    };
    ip(from.0, to.0, protocol, 0, vec![kind, 0, 0, 0, id[0], id[1], 0, 9, b'p', b'i', b'n', b'g'])
}

/// "Unreachable" from `from` to `to` about a packet, of which so much is quoted.
pub(crate) fn unreachable(from: IpAddr, to: IpAddr, packet: &[u8], quoted: usize) -> Vec<u8> {
    let (protocol, kind, code) = if from.is_ipv4() { (ICMP, 3, 3) } else { (ICMPV6, 1, 4) };
    let body = [&[kind, code, 0, 0, 0, 0, 0, 0], &packet[..quoted.min(packet.len())]].concat();
    ip(from, to, protocol, 0, body)
}

/// What a packet says, with all its checksums looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) protocol: u8,
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) payload: Vec<u8>,
}

/// Where the transport header begins, the protocol and both addresses.
fn head(packet: &[u8]) -> (usize, u8, IpAddr, IpAddr) {
    let v4 = |at: usize| IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap()));
    let v6 = |at: usize| IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap()));
    if packet[0] >> 4 == 4 {
        let header = usize::from(packet[0] & 15) * 4;
        assert_eq!(sum(&packet[..header]), 0xffff, "the IP header's checksum");
        (header, packet[9], v4(12), v4(16))
    } else {
        (40, packet[6], v6(8), v6(24))
    }
}

fn ports(protocol: u8, body: &[u8]) -> [u16; 2] {
    let word = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    match (protocol, body[0]) {
        (TCP | UDP, _) => [word(0), word(2)],
        (ICMP, 8) | (ICMPV6, 128) => [word(4), 0],
        (ICMP, 0) | (ICMPV6, 129) => [0, word(4)],
        _ => [0, 0],
    }
}

#[track_caller]
pub(crate) fn read(packet: &[u8]) -> Read {
    let (at, protocol, from, to) = head(packet);
    let body = &packet[at..];
    let has_none = protocol == UDP && body[6..8] == [0, 0];
    if !has_none && [TCP, UDP, ICMP, ICMPV6].contains(&protocol) {
        let pseudo = if protocol == ICMP { 0 } else { pseudo(from, to, protocol, body.len()) };
        assert_eq!(add(pseudo, sum(body)), 0xffff, "the packet's checksum");
    }
    let [source, destination] = ports(protocol, body);
    let payload = body[if protocol == TCP { 20 } else { 8 }..].to_vec();
    Read { protocol, from: (from, source), to: (to, destination), payload }
}

/// The ends of a packet that an ICMP error quotes, of which only the IP header's checksum can be looked at.
#[track_caller]
pub(crate) fn quoted(error: &[u8]) -> (End, End) {
    let quote = read(error).payload;
    let (at, protocol, from, to) = head(&quote);
    let [source, destination] = ports(protocol, &quote[at..]);
    ((from, source), (to, destination))
}

/// A packet in parts of so many bytes, which eight divides.
pub(crate) fn fragments(packet: &[u8], size: usize, id: u16) -> Vec<Vec<u8>> {
    let (at, ..) = head(packet);
    let parts: Vec<_> = packet[at..].chunks(size).collect();
    let part = |(index, body): (usize, &&[u8])| {
        let offset = u16::try_from(index * size / 8).unwrap();
        let is_last = index + 1 == parts.len();
        let mut out = packet[..at].to_vec();
        if packet[0] >> 4 == 4 {
            let length = u16::try_from(at + body.len()).unwrap();
            let word = offset | if is_last { 0 } else { 0x2000 };
            out[2..4].copy_from_slice(&length.to_be_bytes());
            out[4..6].copy_from_slice(&id.to_be_bytes());
            out[6..8].copy_from_slice(&word.to_be_bytes());
            out[10..12].fill(0);
            let checksum = !sum(&out);
            out[10..12].copy_from_slice(&checksum.to_be_bytes());
        } else {
            let length = u16::try_from(8 + body.len()).unwrap();
            let word = offset << 3 | u16::from(!is_last);
            out[4..6].copy_from_slice(&length.to_be_bytes());
            out[6] = 44;
            out.extend([&[packet[6], 0], &word.to_be_bytes()[..], &[0, 0], &id.to_be_bytes()].concat());
        }
        [&out[..], body].concat()
    };
    parts.iter().enumerate().map(part).collect()
}

/// The packet whose parts these are, in their order.
pub(crate) fn reassembled(parts: &[Vec<u8>]) -> Vec<u8> {
    let is_v4 = parts[0][0] >> 4 == 4;
    let mut out = parts[0][..if is_v4 { 20 } else { 40 }].to_vec();
    for part in parts {
        let at = if is_v4 { head(part).0 } else { 48 };
        out.extend(&part[at..]);
    }
    if is_v4 {
        let length = u16::try_from(out.len()).unwrap();
        out[2..4].copy_from_slice(&length.to_be_bytes());
        out[6..8].fill(0);
        out[10..12].fill(0);
        let checksum = !sum(&out[..20]);
        out[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        let length = u16::try_from(out.len() - 40).unwrap();
        out[4..6].copy_from_slice(&length.to_be_bytes());
        out[6] = parts[0][40];
    }
    out
}
