//! Routers between two networks, with or without a translator or a firewall: which packets they send on, where, and what
//! they do to them. Packets and time go in, a side and a next hop come out. Who has which hardware address, and how a
//! packet's sender is told that it went nowhere, is not known here.
//!
//! ```text
//! to or from a group, or local? ─► to the router itself? ─► route ─► one hop less ─► Nat::pass ─► route of what it is now
//!            Local                   Own                    NoRoute     Expired        Refused       Astray
//! ```
//!
//! A packet that leaves by the side it came from is not translated, but for hairpins. There is no MTU here: links have one.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::nat::{End, Nat, NatBehaviour, Refusal, Side, View};

/// Where packets go whose destination begins with these bits. The longest prefix counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The first bits; further ones do not matter.
    pub to: IpAddr,
    /// How many. 0: all of this family.
    pub prefix_bits: u8,
    /// The next router, on one of the networks of who asks.
    pub via: IpAddr,
}

/// A router between two networks.
///
/// Its sides are ports as those of hosts are, so that links to and from them are cut, delayed and captured as any: the one
/// outside has the router's name, the one inside that and `@inside`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterSpec {
    /// Its name, and that of its port outside. Its hardware addresses and random ports are made from it.
    pub name: String,
    /// The side of those whom it translates or protects.
    pub inside: RouterSide,
    /// The side of all others.
    pub outside: RouterSide,
    /// Where packets go that are for neither network.
    pub routes: Vec<Route>,
    /// What it does to flows: [`NatKind::behaviour`](crate::nat::NatKind::behaviour) has the usual ones.
    pub behaviour: NatBehaviour,
}

/// One side of a router: its network, and its address there with the length of the network's prefix in bits. Hosts route
/// to these addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterSide {
    /// The network.
    pub network: String,
    /// IPv4. `None`: it has none on this side. What a translator sends out has the one outside.
    pub v4: Option<(Ipv4Addr, u8)>,
    /// IPv6.
    pub v6: Option<(Ipv6Addr, u8)>,
}

/// Why a router did not send a packet on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouterDrop {
    /// Its translator or firewall does not let it pass.
    Refused(Refusal),
    /// Its headers contradict each other, or the checksum of its IP header is wrong.
    Malformed,
    /// It had no hop left. Its sender is told, if it may be.
    Expired,
    /// No route leads to its destination. Its sender is told, if it may be.
    NoRoute,
    /// No route leads to where its translator sends it.
    Astray,
    /// Nobody answers for its next hop within three seconds, or too many packets wait. Its sender is not told.
    Unresolved,
    /// It is for the router itself, which has no use for it.
    Own,
    /// It is for a group, of link-local addresses, or no IP at all.
    Local,
}

/// A router at work.
#[derive(Debug)]
pub struct Router {
    nat: Nat,
    /// The address that stands for those inside, if one does.
    translated_to: Option<IpAddr>,
    prefixes: [Vec<(IpAddr, u8)>; 2],
    /// The longest first; of two the one said first.
    routes: Vec<Way>,
}

#[derive(Debug)]
struct Way {
    to: IpAddr,
    prefix_bits: u8,
    side: Side,
    /// `None`: it is there.
    via: Option<IpAddr>,
}

impl RouterSpec {
    /// The name of its port on one side.
    pub fn port_name(&self, side: Side) -> String {
        match side {
            Side::Outside => self.name.clone(),
            Side::Inside => format!("{}@inside", self.name),
        }
    }

    /// One of its sides.
    pub fn side(&self, side: Side) -> &RouterSide {
        match side {
            Side::Outside => &self.outside,
            Side::Inside => &self.inside,
        }
    }

    /// What is wrong with it.
    fn mistake(&self) -> Option<String> {
        let (inside, outside) = (&self.inside, &self.outside);
        let own: Vec<_> = [inside, outside].into_iter().flat_map(RouterSide::prefixes).collect();
        let routes = self.routes.iter().map(|route| (route.to, route.prefix_bits));
        if self.name.is_empty() {
            return Some("it has no name".to_owned());
        }
        if inside.network == outside.network {
            return Some(format!("both its sides are on network `{}`", inside.network));
        }
        if let Some((address, bits)) =
            own.iter().copied().chain(routes).find(|(address, bits)| *bits > length(*address))
        {
            return Some(format!("{address}/{bits} is no prefix"));
        }
        let overlap = inside.prefixes().find(|(address, bits)| {
            outside.prefixes().any(|(other, others)| is_in(other, *address, (*bits).min(others)))
        });
        if let Some((address, bits)) = overlap {
            return Some(format!("{address}/{bits} is on both its sides"));
        }
        if self.behaviour.mapping.is_some() && inside.v4.is_some() && outside.v4.is_none() {
            return Some("it translates IPv4, and has no IPv4 address outside".to_owned());
        }
        let lost = self.routes.iter().find(|route| {
            route.to.is_ipv4() != route.via.is_ipv4()
                || !own.iter().any(|(address, bits)| is_in(route.via, *address, *bits))
        });
        lost.map(|route| format!("{} is on none of its networks", route.via))
    }
}

impl RouterSide {
    fn prefixes(&self) -> impl Iterator<Item = (IpAddr, u8)> + use<> {
        let v4 = self.v4.map(|(address, bits)| (IpAddr::V4(address), bits));
        [v4, self.v6.map(|(address, bits)| (IpAddr::V6(address), bits))].into_iter().flatten()
    }
}

impl Router {
    /// One that has forwarded nothing. Routers of one seed draw their ports apart by their names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(seed: u64, spec: &RouterSpec) -> Result<Self, String> {
        if let Some(mistake) = spec.mistake() {
            return Err(mistake);
        }
        let prefixes = Side::ALL.map(|side| spec.side(side).prefixes().collect::<Vec<_>>());
        let mut routes: Vec<Way> = Vec::new();
        for side in Side::ALL {
            let own = prefixes[side as usize].iter();
            routes.extend(own.map(|(to, prefix_bits)| Way {
                to: *to,
                prefix_bits: *prefix_bits,
                side,
                via: None,
            }));
        }
        for Route { to, prefix_bits, via } in spec.routes.iter().copied() {
            let is_there =
                |side: &Side| prefixes[*side as usize].iter().any(|(own, bits)| is_in(via, *own, *bits));
            let side = Side::ALL.into_iter().find(is_there).unwrap_or(Side::Outside);
            routes.push(Way { to, prefix_bits, side, via: Some(via) });
        }
        routes.sort_by_key(|route| Reverse(route.prefix_bits));
        let outside = spec.outside.v4.map(|(address, _)| address);
        let nat = Nat::new(seed, &spec.name, outside, spec.behaviour);
        let translated_to = outside.filter(|_| spec.behaviour.mapping.is_some()).map(IpAddr::V4);
        Ok(Self { nat, translated_to, prefixes, routes })
    }

    /// Its translator or firewall.
    pub fn nat(&self) -> &Nat {
        &self.nat
    }

    /// Whether an address is its own, on any side.
    pub fn has(&self, address: IpAddr) -> bool {
        self.prefixes.iter().flatten().any(|(own, _)| *own == address)
    }

    /// Its address on one side.
    pub fn address(&self, side: Side, is_ipv4: bool) -> Option<IpAddr> {
        let mut own = self.prefixes[side as usize].iter().map(|(own, _)| *own);
        own.find(|own| own.is_ipv4() == is_ipv4)
    }

    /// Whether an address is on the network of one side.
    pub fn is_near(&self, side: Side, address: IpAddr) -> bool {
        self.prefixes[side as usize].iter().any(|(own, bits)| is_in(address, *own, *bits))
    }

    /// The side and the next hop for a destination.
    pub fn route(&self, destination: IpAddr) -> Option<(Side, IpAddr)> {
        let way = self.routes.iter().find(|way| is_in(destination, way.to, way.prefix_bits))?;
        Some((way.side, way.via.unwrap_or(destination)))
    }

    /// Takes a packet that came to one side, with a hop less and translated where that is to be; tells by which side it
    /// goes out, and to which next hop. `now` is the time since the run's begin and never goes backwards.
    ///
    /// # Errors
    /// Why it goes nowhere. Where its sender is to be told the packet is as it came.
    pub fn pass(
        &mut self,
        now: Duration,
        from: Side,
        packet: &mut impl View,
    ) -> Result<(Side, IpAddr), RouterDrop> {
        let [source, destination] = End::ALL.map(|end| packet.address(end));
        if is_local(source) || is_local(destination) {
            return Err(RouterDrop::Local);
        }
        let is_own = self.has(destination);
        let is_translated = self.translated_to == Some(destination);
        if is_own && !is_translated {
            return Err(RouterDrop::Own);
        }
        let way_out = self.route(destination).map(|(side, _)| side);
        if way_out.is_none() && !is_own {
            return Err(RouterDrop::NoRoute);
        }
        if !packet.count_hop() {
            return Err(RouterDrop::Expired);
        }
        let is_turn = way_out == Some(from) && !is_own;
        let to = if is_turn { from } else { self.nat.pass_view(now, from, packet)? };
        match self.route(packet.address(End::Destination)) {
            Some((side, next)) if side == to => Ok((to, next)),
            _ => Err(RouterDrop::Astray),
        }
    }
}

impl From<Refusal> for RouterDrop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl fmt::Display for Route {
    /// `10.1.0.0/16 10.0.0.2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.to, self.prefix_bits, self.via)
    }
}

impl fmt::Display for RouterDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Malformed => f.write_str("malformed"),
            Self::Expired => f.write_str("no hop left"),
            Self::NoRoute => f.write_str("no route"),
            Self::Astray => f.write_str("no route behind the translator"),
            Self::Unresolved => f.write_str("nobody answers for its next hop"),
            Self::Own => f.write_str("for the router itself"),
            Self::Local => f.write_str("not to be forwarded"),
        }
    }
}

/// The bits of an address.
fn length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether an address begins with the first `bits` of a network's.
fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let different = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => u128::from(address.to_bits() ^ network.to_bits()) << 96,
        (IpAddr::V6(address), IpAddr::V6(network)) => address.to_bits() ^ network.to_bits(),
        _ => return false,
    };
    different.leading_zeros() >= u32::from(bits)
}

/// Whether an address means something on its own network only, or nothing.
pub fn is_local(address: IpAddr) -> bool {
    let is_v4_local =
        |address: Ipv4Addr| address.is_broadcast() || address.is_link_local() || address.octets()[0] == 0;
    address.is_multicast()
        || address.is_loopback()
        || address.is_unspecified()
        || match address {
            IpAddr::V4(address) => is_v4_local(address),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
}
