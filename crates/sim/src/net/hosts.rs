//! What a host has beside its sockets: networks and addresses, routes, tables that find sockets, and its streams of chance.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use netsplit_netmodel as netmodel;

use super::address::{Endpoint, Ip};
use super::datagrams::{Drops, Parts};
use super::forwarding::Gateway;
use super::ports::Ports;
use super::{HostIndex, NOBODY, Net, SocketId};
use crate::errno::{Errno, Result};
use crate::random::Random;

/// One host.
pub(super) struct Host {
    /// Its ways into networks, the one of its name first; none: it sees only itself.
    pub(super) nics: Vec<Nic>,
    /// Where packets for other networks go, the longest prefix first.
    pub(super) routes: Vec<RouteEntry>,
    /// What it does as a router that is no host.
    pub(super) gateway: Option<Box<Gateway>>,
    pub(super) is_on: bool,
    pub(super) udp: Ports,
    /// Sockets that were bound, those that listen among them.
    pub(super) tcp: Ports,
    /// Connections by both ends, the local port first.
    pub(super) connections: BTreeMap<Ends, SocketId>,
    /// How many sockets have joined a group.
    pub(super) groups: BTreeMap<Ip, u32>,
    pub(super) parts: Parts,
    pub(super) drops: Drops,
    /// Ports that nobody chose.
    pub(super) ports_random: Random,
    /// The first numbers of connections.
    pub(super) sequence_random: Random,
}

/// Both ends of a connection, in the order by which they are found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ends {
    pub(super) local_port: u16,
    pub(super) peer: Endpoint,
    pub(super) local_ip: Ip,
}

/// A network, by number in the order in which they were named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NetworkIndex(pub(super) u32);

/// A host's way into a network.
pub(super) struct Nic {
    pub(super) network: NetworkIndex,
    addresses: [Ip; 2],
}

/// Where packets go whose destination begins with these bits.
pub(super) struct RouteEntry {
    to: Ip,
    bits: u32,
    via: Ip,
}

/// One step of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) from: HostIndex,
    pub(super) to: HostIndex,
    pub(super) network: NetworkIndex,
}

/// Where packets to an address go.
#[derive(Clone, Copy)]
pub(super) struct Route {
    /// The first step.
    pub(super) hop: Hop,
    /// The sender's address.
    pub(super) source: Ip,
}

impl NetworkIndex {
    #[inline]
    pub(super) fn at(self) -> usize {
        self.0 as usize
    }
}

impl Hop {
    /// From a host to itself.
    pub(super) fn loopback(host: HostIndex) -> Self {
        Self { from: host, to: host, network: NetworkIndex(0) }
    }

    #[inline]
    pub(super) fn is_loopback(self) -> bool {
        self.from == self.to
    }

    /// The way back.
    pub(super) fn back(self) -> Self {
        Self { from: self.to, to: self.from, network: self.network }
    }
}

impl Nic {
    pub(super) fn new(network: NetworkIndex, v4: Ipv4Addr, v6: Ipv6Addr) -> Self {
        Self { network, addresses: [Ip::new(v4.into()), Ip::new(v6.into())] }
    }

    #[inline]
    pub(super) fn address(&self, is_v4: bool) -> Ip {
        self.addresses[usize::from(!is_v4)]
    }

    pub(super) fn addresses(&self) -> [Ip; 2] {
        self.addresses
    }
}

impl RouteEntry {
    pub(super) fn new(route: &netmodel::Route) -> Self {
        let netmodel::Route { to, prefix_bits, via } = *route;
        // IPv4 stands in the last 32 of 128 bits.
        let bits = u32::from(prefix_bits) + if to.is_ipv4() { 96 } else { 0 };
        Self { to: Ip::new(to), bits, via: Ip::new(via) }
    }
}

impl Host {
    pub(super) fn new(seed: u64, name: &str, nics: Vec<Nic>, routes: &[netmodel::Route]) -> Self {
        let mut routes: Vec<RouteEntry> = routes.iter().map(RouteEntry::new).collect();
        routes.sort_by_key(|route| Reverse(route.bits));
        Self {
            nics,
            routes,
            gateway: None,
            is_on: true,
            udp: Ports::new(),
            tcp: Ports::new(),
            connections: BTreeMap::new(),
            groups: BTreeMap::new(),
            parts: Parts::default(),
            drops: Drops::default(),
            ports_random: Random::new(seed, &format!("ports of {name}")),
            sequence_random: Random::new(seed, &format!("sequence numbers of {name}")),
        }
    }

    pub(super) fn power_off(&mut self) {
        self.is_on = false;
        self.udp.clear();
        self.tcp.clear();
        self.connections.clear();
        self.groups.clear();
        self.parts = Parts::default();
    }

    pub(super) fn owns(&self, ip: Ip) -> bool {
        ip.is_loopback() || self.nics.iter().any(|nic| nic.addresses.contains(&ip))
    }

    /// Its way into the network that `ip` is on, or into its first one.
    #[inline]
    pub(super) fn nic_for(&self, ip: Ip) -> Option<&Nic> {
        match &self.nics[..] {
            [] => None,
            [only] => Some(only),
            [first, ..] => Some(self.nic_beside(ip).unwrap_or(first)),
        }
    }

    fn nic_beside(&self, ip: Ip) -> Option<&Nic> {
        self.nics.iter().find(|nic| ip.is_beside(nic.address(ip.is_v4())))
    }

    pub(super) fn is_on_network(&self, network: NetworkIndex) -> bool {
        self.nics.iter().any(|nic| nic.network == network)
    }

    /// Its address on a network.
    pub(super) fn address_on(&self, network: NetworkIndex, is_v4: bool) -> Option<Ip> {
        self.nics.iter().find(|nic| nic.network == network).map(|nic| nic.address(is_v4))
    }

    /// Its own address of the family of `ip`, on the network that this is on or on its first one; or the loopback one.
    pub(super) fn own(&self, ip: Ip) -> Ip {
        let loopback = if ip.is_v4() { Ip::LOOPBACK_V4 } else { Ip::LOOPBACK_V6 };
        let nic = self.nic_for(ip).filter(|_| !ip.is_loopback());
        nic.map_or(loopback, |nic| nic.address(ip.is_v4()))
    }

    /// Whether an address is of a group, or of everybody on its network.
    #[inline]
    pub(super) fn is_group(&self, ip: Ip) -> bool {
        ip.is_multicast() || (ip.ends_as_broadcast() && ip.is_broadcast(self.own(ip)))
    }

    /// Whether it sends on what is for others.
    #[inline]
    pub(super) fn is_router(&self) -> bool {
        self.nics.len() > 1
    }

    /// Whether a packet to an address ends here. One that is no host has a use for none.
    pub(super) fn takes(&self, ip: Ip) -> bool {
        self.gateway.is_none() && (self.owns(ip) || self.is_group(ip))
    }

    /// The connections that have a local port.
    pub(super) fn connections_from(&self, port: u16) -> impl Iterator<Item = SocketId> {
        let least = Endpoint { ip: Ip::ANY_V6, port: 0 };
        let ends = Ends { local_port: port, peer: least, local_ip: Ip::ANY_V6 };
        let from = self.connections.range(ends..);
        from.take_while(move |(ends, _)| ends.local_port == port).map(|(_, id)| *id)
    }

    /// The first number of a new connection. The lower half of all numbers is what a wire has; none is zero.
    pub(super) fn sequence(&mut self) -> u64 {
        (self.sequence_random.draw() >> 32) + (1 << 32)
    }
}

impl Net {
    /// Where packets from a host to an address go.
    ///
    /// # Errors
    /// ENETUNREACH for an address that is on no network of the host's, and to which no router leads.
    #[inline]
    pub(super) fn route(&self, from: HostIndex, to: Ip) -> Result<Route> {
        let host = &self.hosts[from.at()];
        if host.owns(to) {
            let source = if to.is_loopback() { host.own(to) } else { to };
            return Ok(Route { hop: Hop::loopback(from), source });
        }
        let (nic, next) = match host.nic_beside(to) {
            Some(nic) => (nic, to),
            None => {
                let mut routes = host.routes.iter();
                let via = routes.find(|route| to.begins_as(route.to, route.bits)).map(|route| route.via);
                via.and_then(|via| Some((host.nic_beside(via)?, via))).ok_or(Errno::ENETUNREACH)?
            }
        };
        let hop = Hop { from, to: self.owner(next), network: nic.network };
        Ok(Route { hop, source: nic.address(to.is_v4()) })
    }

    /// Whose an address of a network is; `NOBODY`'s, if it is nobody's.
    #[inline]
    pub(super) fn owner(&self, ip: Ip) -> HostIndex {
        let place = self.addresses.binary_search_by_key(&ip, |known| known.0);
        place.map_or(NOBODY, |place| self.addresses[place].1)
    }
}
