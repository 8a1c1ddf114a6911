//! IP packets as bytes, as far as translation needs them: where their ends stand, and how these are changed with every
//! checksum that covers them. Nothing that a packet says is trusted.

use core::net::{IpAddr, Ipv4Addr};

use super::view::{Content, End, Endpoint, Flow, FlowKind, Fragment, Heading, ICMP, ICMPV6, TCP, UDP, View};
use super::{Checksum, Refusal};

/// IPv6 extension headers (RFC 8200, section 4): hop-by-hop, routing, fragment, authentication, destination options.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;
/// Nobody sends more of them than there are kinds.
const EXTENSIONS_MAX: usize = 8;

const IPV6_HEADER: usize = 40;
const ICMP_HEADER: usize = 8;
/// Of a quoted transport header, at least this much is there (RFC 792).
const QUOTED: usize = 8;
/// Of the word of an IPv4 header.
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// The same, of a fragment header of IPv6.
const MORE_FRAGMENTS_V6: u16 = 0x0001;
const FRAGMENT_OFFSET_V6: u16 = 0xfff8;

/// Where things stand in a packet, or in a packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
struct Head {
    is_ipv4: bool,
    protocol: u8,
    fragment: Option<Fragment>,
    /// Where the IP header begins, where what it carries does, and where that ends, or is cut off.
    ip: usize,
    transport: usize,
    end: usize,
}

/// An IP packet as bytes.
#[derive(Debug)]
pub struct Bytes<'p> {
    packet: &'p mut [u8],
    head: Result<Head, Refusal>,
    checksum: Checksum,
}

/// What changed in words that a checksum covers: the one's complement sum of what is new and of the complement of what was
/// old (RFC 1624, equation 3).
#[derive(Clone, Copy, Debug, Default)]
struct Delta(u64);

fn read_u16(bytes: &[u8], at: usize) -> Result<u16, Refusal> {
    let word = bytes.get(at..at + 2).and_then(|word| word.try_into().ok());
    word.map(u16::from_be_bytes).ok_or(Refusal::Malformed)
}

fn read_u8(bytes: &[u8], at: usize) -> Result<u8, Refusal> {
    bytes.get(at).copied().ok_or(Refusal::Malformed)
}

impl<'p> Bytes<'p> {
    /// A packet that begins with its IP header; what lies behind its end is left alone.
    ///
    /// # Errors
    /// [`Refusal::Malformed`]: it has no whole IP header.
    pub fn new(packet: &'p mut [u8], checksum: Checksum) -> Result<Self, Refusal> {
        let is_whole = match packet.first().map(|first| first >> 4) {
            Some(4) => packet.len() >= 20,
            Some(6) => packet.len() >= IPV6_HEADER,
            _ => false,
        };
        if !is_whole {
            return Err(Refusal::Malformed);
        }
        let head = Head::at(packet, 0, false);
        Ok(Self { packet, head, checksum })
    }
}

impl View for Bytes<'_> {
    fn address(&self, end: End) -> IpAddr {
        address(self.packet, 0, self.packet[0] >> 4 == 4, end)
    }

    fn heading(&self) -> Result<Heading, Refusal> {
        self.head.map(|head| Heading { protocol: head.protocol, fragment: head.fragment })
    }

    fn content(&self) -> Result<Content, Refusal> {
        self.head?.content(self.packet)
    }

    fn count_hop(&mut self) -> bool {
        hop(self.packet)
    }

    fn rewrite(&mut self, end: End, to: Endpoint) {
        if let Ok(head) = self.head {
            head.rewrite_into(self.packet, end, to, self.checksum, &mut Delta::default());
        }
    }

    fn rewrite_quoted(&mut self, end: End, to: Endpoint) {
        let quoted = self.head.and_then(|head| Ok((head, head.quoted(self.packet)?)));
        if let Ok((head, quoted)) = quoted {
            head.rewrite_quoted(self.packet, &quoted, end, to);
        }
    }

    fn rewrite_address(&mut self, end: End, to: Ipv4Addr) {
        if let Ok(head) = self.head {
            head.rewrite_address(self.packet, end, to);
        }
    }
}

impl Head {
    /// The one of the packet at `ip`. One that is quoted may be cut off behind its first bytes, and be a first fragment.
    fn at(bytes: &[u8], ip: usize, is_quoted: bool) -> Result<Self, Refusal> {
        let head = match read_u8(bytes, ip)? >> 4 {
            4 => Self::ipv4(bytes, ip)?,
            6 => Self::ipv6(bytes, ip)?,
            _ => return Err(Refusal::Malformed),
        };
        let is_whole = head.end <= bytes.len() || is_quoted;
        if !is_whole || head.transport > head.end {
            return Err(Refusal::Malformed);
        }
        if is_quoted && head.fragment.is_some_and(|fragment| !fragment.is_first) {
            return Err(Refusal::Fragment);
        }
        Ok(Self { end: head.end.min(bytes.len()), ..head })
    }

    fn ipv4(bytes: &[u8], ip: usize) -> Result<Self, Refusal> {
        let header = usize::from(read_u8(bytes, ip)? & 0x0f) * 4;
        let length = usize::from(read_u16(bytes, ip + 2)?);
        let word = read_u16(bytes, ip + 6)?;
        let fragment = (word & (FRAGMENT_OFFSET | MORE_FRAGMENTS) != 0).then_some(Fragment {
            is_first: word & FRAGMENT_OFFSET == 0,
            id: u32::from(read_u16(bytes, ip + 4)?),
        });
        if header < 20 || bytes.len() < ip + header {
            return Err(Refusal::Malformed);
        }
        let protocol = read_u8(bytes, ip + 9)?;
        Ok(Self { is_ipv4: true, protocol, fragment, ip, transport: ip + header, end: ip + length })
    }

    fn ipv6(bytes: &[u8], ip: usize) -> Result<Self, Refusal> {
        let end = ip + IPV6_HEADER + usize::from(read_u16(bytes, ip + 4)?);
        if bytes.len() < ip + IPV6_HEADER {
            return Err(Refusal::Malformed);
        }
        let (mut protocol, mut transport) = (read_u8(bytes, ip + 6)?, ip + IPV6_HEADER);
        let mut fragment = None;
        for _extension in 0..EXTENSIONS_MAX {
            let unit = match protocol {
                HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(read_u8(bytes, transport + 1)?) + 1) * 8,
                // RFC 4302, section 2.2.
                AUTHENTICATION => (usize::from(read_u8(bytes, transport + 1)?) + 2) * 4,
                FRAGMENT => 8,
                _ => return Ok(Self { is_ipv4: false, protocol, fragment, ip, transport, end }),
            };
            if protocol == FRAGMENT {
                let word = read_u16(bytes, transport + 2)?;
                let high = u32::from(read_u16(bytes, transport + 4)?);
                let id = high << 16 | u32::from(read_u16(bytes, transport + 6)?);
                let is_first = word & FRAGMENT_OFFSET_V6 == 0;
                // One that is all of its packet is no part (RFC 6946).
                fragment = (!is_first || word & MORE_FRAGMENTS_V6 != 0).then_some(Fragment { is_first, id });
            }
            protocol = read_u8(bytes, transport)?;
            transport += unit;
            // What follows is no header.
            if fragment.is_some_and(|fragment| !fragment.is_first) {
                return Ok(Self { is_ipv4: false, protocol, fragment, ip, transport, end });
            }
        }
        Err(Refusal::Malformed)
    }

    fn is_icmp(&self) -> bool {
        self.protocol == if self.is_ipv4 { ICMP } else { ICMPV6 }
    }

    fn content(&self, bytes: &[u8]) -> Result<Content, Refusal> {
        if self.is_icmp() && self.is_error(read_u8(bytes, self.transport)?) {
            let quoted = self.quoted(bytes)?;
            return Ok(Content::Error(quoted.protocol, quoted.flow(bytes, true)?));
        }
        self.flow(bytes, false).map(Content::Flow)
    }

    /// That of the packet that an ICMP error quotes.
    fn quoted(&self, bytes: &[u8]) -> Result<Self, Refusal> {
        let quoted = Self::at(&bytes[..self.end], self.transport + ICMP_HEADER, true)?;
        if quoted.is_ipv4 == self.is_ipv4 { Ok(quoted) } else { Err(Refusal::Malformed) }
    }

    /// Destination unreachable, time exceeded, parameter problem (RFC 792); and packet too big (RFC 4443).
    fn is_error(&self, kind: u8) -> bool {
        if self.is_ipv4 { matches!(kind, 3 | 11 | 12) } else { (1..=4).contains(&kind) }
    }

    fn flow(&self, bytes: &[u8], is_quoted: bool) -> Result<Flow, Refusal> {
        let at = self.transport;
        let least = match self.protocol {
            TCP if !is_quoted => 20,
            TCP | UDP => QUOTED,
            _ if self.is_icmp() => ICMP_HEADER,
            _ => 0,
        };
        if self.end < at + least {
            return Err(Refusal::Malformed);
        }
        let [from, to] = End::ALL.map(|end| address(bytes, self.ip, self.is_ipv4, end));
        let flow = |[source, destination]: [u16; 2], kind| Flow {
            source: Endpoint(from, source),
            destination: Endpoint(to, destination),
            kind,
        };
        Ok(match self.protocol {
            TCP => {
                // Flags of what is quoted may be cut off, and nobody asks for them.
                let flags = if is_quoted { 0 } else { read_u8(bytes, at + 13)? };
                flow([read_u16(bytes, at)?, read_u16(bytes, at + 2)?], FlowKind::Tcp(flags))
            }
            UDP => flow([read_u16(bytes, at)?, read_u16(bytes, at + 2)?], FlowKind::Other),
            _ if self.is_icmp() => {
                let id = read_u16(bytes, at + 4)?;
                match (self.is_ipv4, read_u8(bytes, at)?) {
                    // Echo, timestamp; echo of ICMPv6.
                    (true, 8 | 13) | (false, 128) => flow([id, 0], FlowKind::Request),
                    (true, 0 | 14) | (false, 129) => flow([0, id], FlowKind::Reply),
                    _ => return Err(Refusal::Unsupported),
                }
            }
            _ => flow([0, 0], FlowKind::Other),
        })
    }

    fn address_at(&self, end: End) -> usize {
        address_at(self.ip, self.is_ipv4, end)
    }

    fn port_at(&self, end: End) -> usize {
        self.transport
            + match (self.protocol, end) {
                (ICMP, _) => 4,
                (_, End::Source) => 0,
                (_, End::Destination) => 2,
            }
    }

    fn checksum_at(&self) -> usize {
        self.transport
            + match self.protocol {
                TCP => 16,
                UDP => 6,
                _ => 2,
            }
    }

    /// Gives an end of what this ICMP error quotes another address and port, and mends the error's own checksum.
    fn rewrite_quoted(&self, packet: &mut [u8], quoted: &Self, end: End, to: Endpoint) {
        let mut all = Delta::default();
        quoted.rewrite_into(packet, end, to, Checksum::Finished, &mut all);
        all.mend(packet, self.checksum_at());
    }

    /// Gives one end of an IPv4 packet another address, where no checksum behind the IP header covers it.
    fn rewrite_address(&self, packet: &mut [u8], end: End, to: Ipv4Addr) {
        let mut address = Delta::default();
        address.put(packet, self.address_at(end), &to.octets());
        address.mend(packet, self.ip + 10);
    }

    /// Gives one end of an IPv4 packet another address and port, or identifier. Adds every word that it changes, checksums
    /// included, to `all`.
    fn rewrite_into(&self, packet: &mut [u8], end: End, to: Endpoint, checksum: Checksum, all: &mut Delta) {
        let IpAddr::V4(to_address) = to.0 else { return };
        let (mut address, mut port) = (Delta::default(), Delta::default());
        address.put(packet, self.address_at(end), &to_address.octets());
        port.put(packet, self.port_at(end), &to.1.to_be_bytes());
        all.0 += address.0 + port.0;
        let at = self.ip + 10;
        all.put(packet, at, &address.after(word(packet, at)).to_be_bytes());
        let at = self.checksum_at();
        // What is quoted may end before it.
        if at + 2 > self.end {
            return;
        }
        let old = word(packet, at);
        let new = match (self.protocol, checksum) {
            // UDP without a checksum.
            (UDP, Checksum::Finished) if old == 0 => return,
            (TCP | UDP, Checksum::Unfinished) => fold(u64::from(old) + address.0),
            (TCP, Checksum::Finished) => Delta(address.0 + port.0).after(old),
            (UDP, Checksum::Finished) => match Delta(address.0 + port.0).after(old) {
                0 => 0xffff,
                sum => sum,
            },
            // ICMP has no pseudo header.
            _ => port.after(old),
        };
        all.put(packet, at, &new.to_be_bytes());
    }
}

impl Delta {
    /// Writes whole words.
    fn put(&mut self, bytes: &mut [u8], at: usize, new: &[u8]) {
        for (index, pair) in new.as_chunks::<2>().0.iter().enumerate() {
            let at = at + 2 * index;
            self.0 += u64::from(!word(bytes, at)) + u64::from(u16::from_be_bytes(*pair));
            bytes[at..at + 2].copy_from_slice(pair);
        }
    }

    /// What a checksum is now that covers what changed.
    fn after(self, checksum: u16) -> u16 {
        !fold(u64::from(!checksum) + self.0)
    }

    fn mend(self, bytes: &mut [u8], at: usize) {
        let checksum = self.after(word(bytes, at));
        bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// One address of the IP header that begins at `ip`, which is whole.
fn address(bytes: &[u8], ip: usize, is_ipv4: bool, end: End) -> IpAddr {
    let at = address_at(ip, is_ipv4, end);
    if is_ipv4 {
        IpAddr::V4(std::array::from_fn::<u8, 4, _>(|byte| bytes[at + byte]).into())
    } else {
        IpAddr::V6(std::array::from_fn::<u8, 16, _>(|byte| bytes[at + byte]).into())
    }
}

fn address_at(ip: usize, is_ipv4: bool, end: End) -> usize {
    ip + match (is_ipv4, end) {
        (true, End::Source) => 12,
        (true, End::Destination) => 16,
        (false, End::Source) => 8,
        (false, End::Destination) => 24,
    }
}

/// The word at a place that is known to be there.
fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The one's complement sum in 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "the carries are added before")]
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

pub(super) fn hop(packet: &mut [u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(4) if packet.len() >= 20 && packet[8] > 1 => {
            let mut delta = Delta::default();
            let new = [packet[8] - 1, packet[9]];
            delta.put(packet, 8, &new);
            delta.mend(packet, 10);
            true
        }
        Some(6) if packet.len() >= IPV6_HEADER && packet[7] > 1 => {
            packet[7] -= 1;
            true
        }
        _ => false,
    }
}
