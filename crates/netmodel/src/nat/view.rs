//! IP packets as translators and routers see them, be they bytes or a simulator's own form: ends, flows, hops.

use core::net::{IpAddr, Ipv4Addr};

use super::Refusal;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;

/// An IP packet that is looked at, and changed.
pub trait View {
    /// The address of one end.
    fn address(&self, end: End) -> IpAddr;

    /// What it carries, and whether it is a part.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    fn heading(&self) -> Result<Heading, Refusal>;

    /// To which flow it belongs. Not asked of later parts.
    ///
    /// # Errors
    /// Why that cannot be told, or does not matter: such packets do not pass.
    fn content(&self) -> Result<Content, Refusal>;

    /// Counts one hop: takes one from the TTL (IPv4) or the hop limit (IPv6). `false`: it has no hop left, and is unchanged.
    fn count_hop(&mut self) -> bool;

    /// Gives one end of an IPv4 packet another address and port, or identifier.
    fn rewrite(&mut self, end: End, to: Endpoint);

    /// The same for an end of what this ICMP error quotes.
    fn rewrite_quoted(&mut self, end: End, to: Endpoint);

    /// Gives one end of an IPv4 packet another address, which nothing behind its header speaks of.
    fn rewrite_address(&mut self, end: End, to: Ipv4Addr);
}

/// An address and a port. Queries have their identifier as the port of who asks, and 0 for who answers; protocols without
/// ports have 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint(pub IpAddr, pub u16);

/// One of the two ends of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Who sent it.
    Source,
    /// Whom it is for.
    Destination,
}

/// What an IP header says beside addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heading {
    /// The number of what it carries: 6 is TCP, 17 UDP.
    pub protocol: u8,
    /// `None`: it is whole.
    pub fragment: Option<Fragment>,
}

/// A part of a packet. Only the first has what shows its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Whether it is the first one.
    pub is_first: bool,
    /// The same for all parts.
    pub id: u32,
}

/// To what a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A flow.
    Flow(Flow),
    /// None, as an ICMP error about a packet: that one's protocol and flow.
    Error(u8, Flow),
}

/// Both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Who sent it.
    pub source: Endpoint,
    /// Whom it is for.
    pub destination: Endpoint,
    /// What kind of packet of it.
    pub kind: FlowKind,
}

/// A kind of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowKind {
    /// TCP, with its flags.
    Tcp(u8),
    /// An ICMP query.
    Request,
    /// Its answer.
    Reply,
    /// Any other.
    Other,
}

impl End {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Source, Self::Destination];
}

impl Heading {
    /// Whether the protocol, of IPv4, has what a translator may change.
    pub(super) fn has_ports(self) -> bool {
        [TCP, UDP, ICMP].contains(&self.protocol)
    }
}

impl FlowKind {
    /// `None`: it is no TCP.
    pub(super) fn tcp_flags(self) -> Option<u8> {
        match self {
            Self::Tcp(flags) => Some(flags),
            _ => None,
        }
    }
}
