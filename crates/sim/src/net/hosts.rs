//! What a host has beside its sockets: addresses, tables that find sockets, and its streams of chance.

use std::collections::BTreeMap;

use super::address::{Endpoint, Ip};
use super::datagrams::{Drops, Parts};
use super::ports::Ports;
use super::{HostIndex, NOBODY, Net, SocketId};
use crate::errno::{Errno, Result};
use crate::random::Random;

/// One host.
pub(super) struct Host {
    /// `None`: it sees only itself.
    pub(super) addresses: Option<[Ip; 2]>,
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

/// Where packets to an address go.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) host: HostIndex,
    /// The sender's address.
    pub(super) source: Ip,
}

impl Host {
    pub(super) fn new(seed: u64, name: &str, addresses: Option<[Ip; 2]>) -> Self {
        Self {
            addresses,
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
        ip.is_loopback() || self.addresses.is_some_and(|addresses| addresses.contains(&ip))
    }

    /// Its own address of the family of `ip`, or the loopback one.
    pub(super) fn own(&self, ip: Ip) -> Ip {
        let [loopback, at] =
            if ip.is_v4() { [Ip::LOOPBACK_V4, Ip::LOOPBACK_V4] } else { [Ip::LOOPBACK_V6, Ip::LOOPBACK_V6] };
        let own = self.addresses.map(|[v4, v6]| if ip.is_v4() { v4 } else { v6 });
        if ip.is_loopback() { loopback } else { own.unwrap_or(at) }
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
    /// ENETUNREACH for an address that is on no network of the host's.
    #[inline]
    pub(super) fn route(&self, from: HostIndex, to: Ip) -> Result<Route> {
        let host = &self.hosts[from.at()];
        if host.owns(to) {
            return Ok(Route { host: from, source: if to.is_loopback() { host.own(to) } else { to } });
        }
        let Some([v4, v6]) = host.addresses else { return Err(Errno::ENETUNREACH) };
        let own = if to.is_v4() { v4 } else { v6 };
        match self.addresses.binary_search_by_key(&to, |known| known.0) {
            Ok(place) => Ok(Route { host: self.addresses[place].1, source: own }),
            Err(_) if to.is_beside(own) => Ok(Route { host: NOBODY, source: own }),
            Err(_) => Err(Errno::ENETUNREACH),
        }
    }
}
