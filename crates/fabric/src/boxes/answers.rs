//! What a box says itself: ARP (RFC 826), neighbour discovery (RFC 4861), answers to ping, and ICMP errors (RFC 792, RFC 4443).
//! Pure; nothing that a host sends is trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Mac;
use crate::buffers::Buffer;
use crate::frame::{
    self, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER, PAYLOAD, fold, read_u16, sum,
};
use crate::reject::{ICMP, ICMPV6, QUOTE_IPV4, QUOTE_IPV6, TTL, is_icmp_query};

const BROADCAST: Mac = Mac([0xff; 6]);
const ARP_BYTES: usize = 28;
/// Ethernet and IPv4, with addresses of 6 and 4 bytes.
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;
/// Of an advertisement: from a router, asked for, and to be believed.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// What comes from the same link has all its hops (RFC 4861, section 7.1).
const ALL_HOPS: u8 = 255;

/// An IP packet in a frame, its header known to be whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) is_ipv4: bool,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    protocol: u8,
    /// Whether it is whole, or the first of its fragments.
    is_first: bool,
    transport: usize,
    end: usize,
}

/// Why a packet is not forwarded, in what its sender is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    Expired,
    NoRoute,
}

#[derive(Debug)]
pub(super) struct Arp {
    pub(super) is_request: bool,
    pub(super) sender_mac: Mac,
    pub(super) sender: Ipv4Addr,
    pub(super) target: Ipv4Addr,
}

/// A neighbour solicitation or advertisement.
#[derive(Debug)]
pub(super) struct Discovery {
    pub(super) is_solicitation: bool,
    pub(super) target: Ipv6Addr,
    /// Of its sender, when it asks; of the target, when it tells.
    pub(super) mac: Option<Mac>,
    /// Who sent the frame.
    sender_mac: Mac,
}

fn octets<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Where an IP packet in this frame goes by now.
pub(super) fn destination(frame: &[u8], is_ipv4: bool) -> Option<IpAddr> {
    address(frame, is_ipv4, PAYLOAD + if is_ipv4 { 16 } else { 24 })
}

fn address(frame: &[u8], is_ipv4: bool, at: usize) -> Option<IpAddr> {
    if is_ipv4 { octets::<4>(frame, at).map(IpAddr::from) } else { octets::<16>(frame, at).map(IpAddr::from) }
}

impl Packet {
    /// `None`: it is malformed.
    pub(super) fn of(frame: &[u8], is_ipv4: bool) -> Option<Self> {
        let source = address(frame, is_ipv4, PAYLOAD + if is_ipv4 { 12 } else { 8 })?;
        let destination = destination(frame, is_ipv4)?;
        let version = frame[PAYLOAD] >> 4;
        if is_ipv4 {
            let transport = PAYLOAD + usize::from(frame[PAYLOAD] & 0x0f) * 4;
            let end = PAYLOAD + usize::from(read_u16(frame, PAYLOAD + 2)?);
            let is_whole = version == 4
                && transport >= PAYLOAD + 20
                && transport <= end
                && end <= frame.len()
                && fold(sum(&frame[PAYLOAD..transport])) == 0xffff;
            let is_first = read_u16(frame, PAYLOAD + 6)? & 0x1fff == 0;
            let protocol = frame[PAYLOAD + 9];
            is_whole.then_some(Self { is_ipv4, source, destination, protocol, is_first, transport, end })
        } else {
            let transport = PAYLOAD + 40;
            let end = transport + usize::from(read_u16(frame, PAYLOAD + 4)?);
            let protocol = frame[PAYLOAD + 6];
            let is_whole = version == 6 && end <= frame.len();
            is_whole.then_some(Self {
                is_ipv4,
                source,
                destination,
                protocol,
                is_first: true,
                transport,
                end,
            })
        }
    }

    fn body<'f>(&self, frame: &'f [u8]) -> &'f [u8] {
        &frame[self.transport..self.end]
    }

    pub(super) fn is_echo_request(&self, frame: &[u8]) -> bool {
        let kind = self.body(frame).first().copied();
        let is_fragment = self.is_ipv4 && read_u16(frame, PAYLOAD + 6).is_none_or(|word| word & 0x3fff != 0);
        !is_fragment
            && (self.protocol, kind) == if self.is_ipv4 { (ICMP, Some(8)) } else { (ICMPV6, Some(128)) }
    }

    /// `None`: it is something else, or not to be believed.
    pub(super) fn discovery(&self, frame: &[u8]) -> Option<Discovery> {
        let body = self.body(frame);
        let kind = *body.first()?;
        let is_discovery = !self.is_ipv4
            && self.protocol == ICMPV6
            && [SOLICITATION, ADVERTISEMENT].contains(&kind)
            && frame[PAYLOAD + 7] == ALL_HOPS
            && self.sum(body) == 0xffff;
        if !is_discovery {
            return None;
        }
        let is_solicitation = kind == SOLICITATION;
        let wanted = if is_solicitation { SOURCE_MAC } else { TARGET_MAC };
        let mut options = body.get(24..)?;
        let mut mac = None;
        while let [kind, length, ..] = *options
            && length > 0
        {
            if kind == wanted {
                mac = octets::<6>(options, 2).map(Mac);
            }
            options = options.get(usize::from(length) * 8..).unwrap_or_default();
        }
        let target = octets::<16>(body, 8)?.into();
        Some(Discovery { is_solicitation, target, mac, sender_mac: frame::source(frame) })
    }

    /// Whether its sender may be told that it failed: no error about an error (RFC 1122, section 3.2.2).
    fn may_be_answered(&self, frame: &[u8]) -> bool {
        let kind = self.body(frame).first().copied().unwrap_or_default();
        self.is_first
            && match (self.is_ipv4, self.protocol) {
                (true, ICMP) => is_icmp_query(kind),
                (false, ICMPV6) => kind >= 128,
                _ => true,
            }
    }

    /// The one's complement sum of an ICMP message of this packet.
    fn sum(&self, body: &[u8]) -> u16 {
        if self.is_ipv4 { fold(sum(body)) } else { sum_v6(self.source, self.destination, body) }
    }
}

fn sum_v6(source: IpAddr, destination: IpAddr, body: &[u8]) -> u16 {
    let addresses: u64 = [source, destination].iter().map(|address| sum_of(*address)).sum();
    fold(addresses + u64::from(ICMPV6) + body.len() as u64 + sum(body))
}

fn sum_of(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    }
}

fn ethernet(to: Mac, from: Mac, kind: u16) -> Buffer {
    [&[0; HEADER][..], &to.0, &from.0, &kind.to_be_bytes()].concat()
}

/// The frame of an ICMP message whose checksum is still to be put in.
fn icmp(macs: [Mac; 2], from: IpAddr, to: IpAddr, hops: u8, mut body: Vec<u8>) -> Option<Buffer> {
    let [to_mac, from_mac] = macs;
    match (from, to) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let checksum = !fold(sum(&body));
            body[2..4].copy_from_slice(&checksum.to_be_bytes());
            let length = u16::try_from(20 + body.len()).ok()?.to_be_bytes();
            let mut header = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, hops, ICMP, 0, 0];
            header.extend([source.octets(), destination.octets()].concat());
            let checksum = !fold(sum(&header));
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            Some([ethernet(to_mac, from_mac, ETHERTYPE_IPV4), header, body].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let checksum = !sum_v6(from, to, &body);
            body[2..4].copy_from_slice(&checksum.to_be_bytes());
            let length = u16::try_from(body.len()).ok()?.to_be_bytes();
            let mut header = vec![0x60, 0, 0, 0, length[0], length[1], ICMPV6, hops];
            header.extend([source.octets(), destination.octets()].concat());
            Some([ethernet(to_mac, from_mac, ETHERTYPE_IPV6), header, body].concat())
        }
        _ => None,
    }
}

/// The answer to a ping. `None`: its checksum is wrong.
pub(super) fn echo_reply(packet: Packet, frame: &[u8], own: Mac) -> Option<Buffer> {
    let body = packet.body(frame);
    if body.len() < 8 || packet.sum(body) != 0xffff {
        return None;
    }
    let kind = if packet.is_ipv4 { 0 } else { 129 };
    let answer = [&[kind, 0, 0, 0], &body[4..]].concat();
    icmp([frame::source(frame), own], packet.destination, packet.source, TTL, answer)
}

/// The ICMP error that quotes a packet. `None` where nobody may be told.
pub(super) fn error(
    packet: Packet,
    frame: &[u8],
    from: IpAddr,
    own: Mac,
    failure: Failure,
) -> Option<Buffer> {
    if !packet.may_be_answered(frame) {
        return None;
    }
    let (kind, code, quote) = match (packet.is_ipv4, failure) {
        (true, Failure::Expired) => (11, 0, QUOTE_IPV4),
        (true, Failure::NoRoute) => (3, 0, QUOTE_IPV4),
        (false, Failure::Expired) => (3, 0, QUOTE_IPV6),
        (false, Failure::NoRoute) => (1, 0, QUOTE_IPV6),
    };
    let quoted = &frame[PAYLOAD..packet.end.min(PAYLOAD + quote)];
    let body = [&[kind, code, 0, 0, 0, 0, 0, 0], quoted].concat();
    icmp([frame::source(frame), own], from, packet.source, TTL, body)
}

impl Arp {
    /// `None`: it is none of Ethernet and IPv4.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let arp = frame.get(PAYLOAD..PAYLOAD + ARP_BYTES)?;
        let operation = read_u16(arp, 6)?;
        let is_known = arp[..6] == ARP_HEAD && [1, 2].contains(&operation);
        is_known.then_some(Self {
            is_request: operation == 1,
            sender_mac: Mac(octets(arp, 8)?),
            sender: octets::<4>(arp, 14)?.into(),
            target: octets::<4>(arp, 24)?.into(),
        })
    }
}

fn arp(to: Mac, operation: u8, from: (Mac, Ipv4Addr), about: (Mac, Ipv4Addr)) -> Buffer {
    let ends = [from, about].map(|(mac, address)| [&mac.0[..], &address.octets()].concat());
    let head = [&ARP_HEAD[..], &[0, operation]].concat();
    [ethernet(to, from.0, ETHERTYPE_ARP), head, ends.concat()].concat()
}

pub(super) fn arp_reply(request: &Arp, own: Mac) -> Buffer {
    let asker = (request.sender_mac, request.sender);
    arp(request.sender_mac, 2, (own, request.target), asker)
}

pub(super) fn arp_request(own: Ipv4Addr, mac: Mac, wanted: Ipv4Addr) -> Buffer {
    arp(BROADCAST, 1, (mac, own), (Mac([0; 6]), wanted))
}

fn discovery(
    kind: u8,
    flags: u8,
    target: Ipv6Addr,
    mac: Mac,
    [from, to]: [Ipv6Addr; 2],
    to_mac: Mac,
) -> Buffer {
    let option = if kind == SOLICITATION { SOURCE_MAC } else { TARGET_MAC };
    let body = [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &target.octets(), &[option, 1], &mac.0].concat();
    icmp([to_mac, mac], from.into(), to.into(), ALL_HOPS, body).expect("32 bytes, and both ends are IPv6")
}

/// The multicast group of an address (RFC 4291, section 2.7.1), and its hardware address (RFC 2464, section 7).
pub(super) fn solicitation(own: Ipv6Addr, mac: Mac, wanted: Ipv6Addr) -> Buffer {
    let [.., a, b, c] = wanted.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    discovery(SOLICITATION, 0, wanted, mac, [own, group], Mac([0x33, 0x33, 0xff, a, b, c]))
}

/// The answer to a solicitation; one without a sender looks whether the address is free.
pub(super) fn advertisement(packet: Packet, asked: &Discovery, own: Mac) -> Buffer {
    let (to, to_mac, flags) = match packet.source {
        IpAddr::V6(source) if !source.is_unspecified() => {
            (source, asked.mac.unwrap_or(asked.sender_mac), ROUTER | SOLICITED | OVERRIDE)
        }
        _ => (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), Mac([0x33, 0x33, 0, 0, 0, 1]), ROUTER | OVERRIDE),
    };
    discovery(ADVERTISEMENT, flags, asked.target, own, [asked.target, to], to_mac)
}
