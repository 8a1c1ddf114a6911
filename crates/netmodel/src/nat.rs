//! Translators of addresses (NAT) and stateful firewalls, as a pure model: packets and time go in, the same packets with
//! other addresses come out. No I/O, no clock; chance (ports) comes from the seed, the translator's name and the number of
//! the draw. Who has which hardware address is not known here.
//!
//! Start at [`Nat`]; [`NatKind`] has what users say, [`NatBehaviour`] what it stands for, in the words of RFC 4787 (UDP),
//! RFC 5382 (TCP) and RFC 5508 (ICMP). Packets are [bytes](Bytes), or whatever else can be [viewed](View) as one.
//!
//! | kind | mapping | filtering | ports | hairpin | UDP | about |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | `router` | none | none | | | | everything passes |
//! | `home` | endpoint-independent | address and port-dependent | kept | yes | 5 min | the usual home router |
//! | `full-cone` | endpoint-independent | endpoint-independent | kept | yes | 5 min | whoever knows the port gets in |
//! | `restricted` | endpoint-independent | address-dependent | kept | yes | 5 min | any port of who was spoken to gets in |
//! | `symmetric`, `corporate` | address and port-dependent | address and port-dependent | random | no | 2 min | a port for each peer |
//! | `cgnat` | endpoint-independent | endpoint-independent | 512 for each host | yes | 2 min | a provider's (RFC 6888) |
//! | `firewall` | none | address and port-dependent | | | 5 min | only flows begun inside |
//!
//! TCP, for all: 2 h 4 min once established, 4 min before and after (RFC 5382, REQ-5); ICMP queries 60 s (RFC 5508, REQ-2).
//!
//! **State** is made by what goes out and by nothing else: a flow (*session*) for each pair of ends, and for IPv4, where
//! that is translated, a *mapping* from an end inside to a port outside, which lives as long as a session of it. Packets
//! of a session refresh it both ways (RFC 4787, REQ-6). A connection whose begin was not seen is taken up, as by Linux.
//!
//! **IPv6** is never translated; where there is filtering it is filtered by the same rule, for endpoint-independent
//! filtering that of RFC 6092: an end inside that has spoken to anybody may be spoken to by all.
//!
//! **Fragments** pass behind the first of their packet, which shows their flow; those that come before it are refused.
//! Protocols without ports pass where nothing is translated. Of ICMP, queries (echo, timestamp) and errors about flows
//! that are known.

mod fragments;
mod kind;
mod packet;
mod table;
mod view;

// Addresses alone: there are no sockets in `core`.
use core::net::{IpAddr, Ipv4Addr};
use std::fmt;
use std::time::Duration;

use fragments::Fragments;
pub use kind::{NatBehaviour, NatKind, NatRule, Ports};
pub use packet::Bytes;
use table::{Key, Table};
pub use view::{Content, End, Endpoint, Flow, FlowKind, Fragment, Heading, View};

/// A translator or firewall between an inside and an outside.
#[derive(Debug)]
pub struct Nat {
    behaviour: NatBehaviour,
    outside: Option<Ipv4Addr>,
    table: Table,
    fragments: Fragments,
}

/// Where a packet comes from, or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Hosts that are translated or protected.
    Inside,
    /// All others.
    Outside,
}

/// What a packet has in the place of its TCP or UDP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The checksum. It is changed by the difference (RFC 1624): what was wrong before is wrong after.
    Finished,
    /// The sum of the pseudo header, not complemented, as a host leaves it to a device that finishes it.
    Unfinished,
}

/// Why a packet does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// Its headers contradict each other, or are cut off.
    Malformed,
    /// A part of a packet whose first part has not passed.
    Fragment,
    /// A protocol or message that is not translated.
    Unsupported,
    /// From outside, and not of a flow that filtering lets in; or a message about a flow that is unknown.
    Unsolicited,
    /// From inside to a port outside of this translator, which does not do that.
    NoHairpin,
    /// As many sessions or mappings as there may be.
    TableFull,
    /// No port outside is free, of all or of the host's own.
    NoPort,
}

impl Nat {
    /// One without state. `outside` is the address that stands for those inside; without it IPv4 is filtered but not
    /// translated. Translators of one seed draw their ports apart by their names.
    pub fn new(seed: u64, name: &str, outside: Option<Ipv4Addr>, behaviour: NatBehaviour) -> Self {
        Self { behaviour, outside, table: Table::new(seed, name, behaviour), fragments: Fragments::default() }
    }

    /// What it does.
    pub fn behaviour(&self) -> &NatBehaviour {
        &self.behaviour
    }

    /// How many mappings there are, of which some may be past their time until the next packet.
    pub fn mappings(&self) -> usize {
        self.table.mappings()
    }

    /// How many sessions there are, of which some may be past their time until the next packet.
    pub fn sessions(&self) -> usize {
        self.table.sessions()
    }

    /// Has an IP packet that comes from one side pass, translated in place, and tells the side to which it goes. `now` is
    /// the time since the run's begin and never goes backwards. `packet` begins with its IP header; what lies behind its
    /// end is left alone. One that is longer than a link carries (a super-frame) is translated as any other.
    ///
    /// # Errors
    /// Why it does not pass. It may have made a session all the same.
    pub fn pass(
        &mut self,
        now: Duration,
        from: Side,
        packet: &mut [u8],
        checksum: Checksum,
    ) -> Result<Side, Refusal> {
        if self.lets_all_pass(packet.first().is_some_and(|first| first >> 4 == 4)) {
            return Ok(from.other());
        }
        self.pass_view(now, from, &mut Bytes::new(packet, checksum)?)
    }

    /// The same for a packet in any form.
    ///
    /// # Errors
    /// As [`pass`](Self::pass).
    pub fn pass_view(&mut self, now: Duration, from: Side, packet: &mut impl View) -> Result<Side, Refusal> {
        let is_ipv4 = packet.address(End::Source).is_ipv4();
        if self.lets_all_pass(is_ipv4) {
            return Ok(from.other());
        }
        self.table.expire(now);
        let outside = self.outside.filter(|_| is_ipv4 && self.behaviour.mapping.is_some());
        let heading = packet.heading()?;
        let Some(fragment) = heading.fragment else {
            return self.pass_whole(now, from, packet, outside);
        };
        if !fragment.is_first {
            return self.fragments.follow(now, from, heading, fragment, packet);
        }
        let came = fragments::ends(packet);
        let to = self.pass_whole(now, from, packet, outside)?;
        self.fragments.note(now, [from, to], heading, fragment, [came, fragments::ends(packet)]);
        Ok(to)
    }

    /// Whether it neither translates nor filters packets of a family.
    fn lets_all_pass(&self, is_ipv4: bool) -> bool {
        let is_translated = is_ipv4 && self.outside.is_some() && self.behaviour.mapping.is_some();
        !is_translated && self.behaviour.filtering.is_none()
    }

    /// A packet, or the first part of one.
    fn pass_whole(
        &mut self,
        now: Duration,
        from: Side,
        packet: &mut impl View,
        outside: Option<Ipv4Addr>,
    ) -> Result<Side, Refusal> {
        match (packet.content()?, from) {
            (Content::Flow(flow), Side::Inside) => self.leave(now, packet, &flow, outside),
            (Content::Flow(flow), Side::Outside) => {
                self.enter(now, packet, &flow, outside)?;
                Ok(Side::Inside)
            }
            (Content::Error(protocol, flow), Side::Inside) => {
                self.leave_error(packet, protocol, &flow, outside)?;
                Ok(Side::Outside)
            }
            (Content::Error(protocol, flow), Side::Outside) => {
                self.enter_error(packet, protocol, &flow, outside)?;
                Ok(Side::Inside)
            }
        }
    }

    /// A packet from inside: it makes or refreshes its session.
    fn leave(
        &mut self,
        now: Duration,
        packet: &mut impl View,
        flow: &Flow,
        outside: Option<Ipv4Addr>,
    ) -> Result<Side, Refusal> {
        let heading = packet.heading()?;
        // Queries from outside do not get in, so that there is nothing to answer.
        if flow.kind == FlowKind::Reply {
            return Err(Refusal::Unsolicited);
        }
        if outside.is_some() && !heading.has_ports() {
            return Err(Refusal::Unsupported);
        }
        let is_hairpin = outside.is_some_and(|address| flow.destination.0 == IpAddr::V4(address));
        if is_hairpin && !self.behaviour.hairpin {
            return Err(Refusal::NoHairpin);
        }
        let (protocol, flags) = (heading.protocol, flow.kind.tcp_flags());
        let key = Key { protocol, inside: flow.source, remote: flow.destination };
        let port = self.table.open(now, key, flags, outside.is_some())?;
        let (Some(address), Some(port)) = (outside, port) else { return Ok(Side::Outside) };
        let source = Endpoint(address.into(), port);
        if is_hairpin {
            let receiver = self.table.enter_mapped(now, protocol, flow.destination.1, source, flags)?;
            packet.rewrite(End::Destination, receiver);
        }
        packet.rewrite(End::Source, source);
        Ok(if is_hairpin { Side::Inside } else { Side::Outside })
    }

    /// A packet from outside.
    fn enter(
        &mut self,
        now: Duration,
        packet: &mut impl View,
        flow: &Flow,
        outside: Option<Ipv4Addr>,
    ) -> Result<(), Refusal> {
        let heading = packet.heading()?;
        if flow.kind == FlowKind::Request {
            return Err(Refusal::Unsolicited);
        }
        let (protocol, flags) = (heading.protocol, flow.kind.tcp_flags());
        let Some(address) = outside else {
            let key = Key { protocol, inside: flow.destination, remote: flow.source };
            return self.table.enter(now, key, flags);
        };
        if !heading.has_ports() {
            return Err(Refusal::Unsupported);
        }
        if flow.destination.0 != IpAddr::V4(address) {
            return Err(Refusal::Unsolicited);
        }
        let receiver = self.table.enter_mapped(now, protocol, flow.destination.1, flow.source, flags)?;
        packet.rewrite(End::Destination, receiver);
        Ok(())
    }

    /// An ICMP error from inside about a packet that got in (RFC 5508, REQ-5): that one's protocol and flow.
    fn leave_error(
        &self,
        packet: &mut impl View,
        protocol: u8,
        flow: &Flow,
        outside: Option<Ipv4Addr>,
    ) -> Result<(), Refusal> {
        // It would be about a hairpin.
        if outside.is_some_and(|address| packet.address(End::Destination) == IpAddr::V4(address)) {
            return Err(Refusal::Unsupported);
        }
        let key = Key { protocol, inside: flow.destination, remote: flow.source };
        let port = self.table.entered(key, outside.is_some())?;
        if let (Some(address), Some(port)) = (outside, port) {
            packet.rewrite_quoted(End::Destination, Endpoint(address.into(), port));
            packet.rewrite_address(End::Source, address);
        }
        Ok(())
    }

    /// An ICMP error from outside about a packet that went out (RFC 5508, REQ-4), whoever noticed it.
    fn enter_error(
        &self,
        packet: &mut impl View,
        protocol: u8,
        flow: &Flow,
        outside: Option<Ipv4Addr>,
    ) -> Result<(), Refusal> {
        let Some(address) = outside else {
            let key = Key { protocol, inside: flow.source, remote: flow.destination };
            return if self.table.has(key) { Ok(()) } else { Err(Refusal::Unsolicited) };
        };
        let receiver = packet.address(End::Destination);
        if receiver != IpAddr::V4(address) || flow.source.0 != receiver {
            return Err(Refusal::Unsolicited);
        }
        let sender = self.table.left(protocol, flow.source.1, flow.destination)?;
        let IpAddr::V4(inside) = sender.0 else { return Err(Refusal::Unsolicited) };
        packet.rewrite_quoted(End::Source, sender);
        packet.rewrite_address(End::Destination, inside);
        Ok(())
    }
}

impl Side {
    /// All, for tables by side.
    pub const ALL: [Self; 2] = [Self::Inside, Self::Outside];

    /// The one across.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed",
            Self::Fragment => "a fragment behind no first one",
            Self::Unsupported => "a protocol that is not translated",
            Self::Unsolicited => "unsolicited",
            Self::NoHairpin => "no hairpin",
            Self::TableFull => "the table is full",
            Self::NoPort => "no port is free",
        })
    }
}

/// Counts one hop: takes one from the TTL (IPv4) or the hop limit (IPv6) of a packet. `false`: it has no hop left, or is no
/// whole header, and is unchanged.
#[must_use]
pub fn hop(packet: &mut [u8]) -> bool {
    packet::hop(packet)
}
