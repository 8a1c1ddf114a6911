//! Which socket has which address and port: binding, conflicts as Linux finds them, ports that nobody chose, and the socket
//! that a packet is for.

use std::net::SocketAddr;
use std::ops::Range;

use super::address::{Endpoint, Ip};
use super::hosts::Ends;
use super::packet::Packet;
use super::ports::Ports;
use super::sockets::{Role, Socket};
use super::{Family, HostIndex, Net, SocketId};
use crate::errno::{Errno, Result};

/// `net.ipv4.ip_local_port_range`.
const EPHEMERAL: Range<u64> = 32_768..61_000;

impl Net {
    /// Gives a socket an address; port 0 is any free one.
    ///
    /// # Errors
    /// Linux': EINVAL when it has one, EADDRINUSE, EADDRNOTAVAIL for an address of another host, EAFNOSUPPORT.
    pub fn bind(&mut self, id: SocketId, address: SocketAddr) -> Result<()> {
        let socket = self.sockets.get(id)?;
        let is_new = matches!(socket.state, Role::Idle | Role::Datagrams(_)) && socket.local.port == 0;
        let mut end = Endpoint::new(address);
        let is_family = match socket.family {
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        };
        if !is_family {
            // An IPv4 address is too short for an IPv6 socket, which Linux sees first.
            return Err(if socket.family == Family::V6 { Errno::EINVAL } else { Errno::EAFNOSUPPORT });
        }
        if !is_new || socket.options.v6_only && end.ip.is_v4() && socket.family == Family::V6 {
            return Err(Errno::EINVAL);
        }
        let host = &self.hosts[socket.host.at()];
        let is_group = host.is_group(end.ip);
        let may_have = end.ip.is_any() || host.owns(end.ip) || is_group && !socket.is_stream();
        if !may_have {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if end.port == 0 {
            end.port = self.free_port(id, end.ip).ok_or(Errno::EADDRINUSE)?;
        } else if self.has_conflict(id, end) {
            return Err(Errno::EADDRINUSE);
        }
        self.sockets.get_mut(id)?.is_bound = !end.ip.is_any();
        self.occupy(id, end)
    }

    /// Gives a socket a port if it has none.
    pub(super) fn bind_any(&mut self, id: SocketId) -> Result<()> {
        let local = self.sockets.get(id)?.local;
        if local.port != 0 {
            return Ok(());
        }
        let port = self.free_port(id, local.ip).ok_or(Errno::EAGAIN)?;
        self.occupy(id, Endpoint { port, ..local })
    }

    fn occupy(&mut self, id: SocketId, end: Endpoint) -> Result<()> {
        let first = self.ports_mut(id)?.first(end.port);
        let socket = self.sockets.get_mut(id)?;
        debug_assert!(!socket.has_port);
        socket.local = end;
        socket.has_port = true;
        socket.port_next = first;
        self.ports_mut(id)?.set_first(end.port, Some(id));
        Ok(())
    }

    fn ports_mut(&mut self, id: SocketId) -> Result<&mut Ports> {
        let socket = self.sockets.get(id)?;
        let host = &mut self.hosts[socket.host.at()];
        Ok(if socket.is_stream() { &mut host.tcp } else { &mut host.udp })
    }

    /// The sockets that are bound to a port.
    fn on_port(
        &self,
        host: HostIndex,
        is_stream: bool,
        port: u16,
    ) -> impl Iterator<Item = (SocketId, &Socket)> {
        let host = &self.hosts[host.at()];
        let first = if is_stream { host.tcp.first(port) } else { host.udp.first(port) };
        let with = |id: SocketId| self.sockets.get(id).ok().map(|socket| (id, socket));
        std::iter::successors(first.and_then(with), move |(_, socket)| socket.port_next.and_then(with))
    }

    /// Takes a socket off its port.
    fn vacate(&mut self, id: SocketId) {
        let Some(Socket { local, port_next, has_port: true, .. }) = self.sockets.find(id) else { return };
        let (port, next) = (local.port, port_next.take());
        let Ok(ports) = self.ports_mut(id) else { return };
        let Some(mut at) = ports.first(port) else { return };
        if at == id {
            ports.set_first(port, next);
            return;
        }
        while let Some(socket) = self.sockets.find(at) {
            match socket.port_next {
                Some(after) if after == id => {
                    socket.port_next = next;
                    return;
                }
                Some(after) => at = after,
                None => return,
            }
        }
    }

    /// Ends a socket of which nothing is left.
    pub(super) fn remove(&mut self, id: SocketId) {
        self.leave_all(id);
        self.vacate(id);
        self.sockets.remove(id);
    }

    fn has_conflict(&self, id: SocketId, end: Endpoint) -> bool {
        let Ok(socket) = self.sockets.get(id) else { return true };
        let is_against = |other: &Socket| {
            let (ours, theirs) = (&socket.options, &other.options);
            let is_listening = matches!(other.state, Role::Listener(_));
            let may_share =
                ours.reuse_port && theirs.reuse_port || ours.reuse_addr && theirs.reuse_addr && !is_listening;
            !may_share && overlap((end.ip, ours.v6_only), (other.local.ip, theirs.v6_only))
        };
        let is_stream = socket.is_stream();
        let mut others = self.on_port(socket.host, is_stream, end.port).filter(|(other, _)| *other != id);
        others.any(|(_, other)| is_against(other))
            || is_stream && self.connections_on(socket.host, end.port).any(is_against)
    }

    /// The connections that have a local port.
    fn connections_on(&self, host: HostIndex, port: u16) -> impl Iterator<Item = &Socket> {
        self.hosts[host.at()].connections_from(port).filter_map(|id| self.sockets.get(id).ok())
    }

    /// A port on which nobody is against `ip`.
    fn free_port(&mut self, id: SocketId, ip: Ip) -> Option<u16> {
        let host = self.sockets.get(id).ok()?.host;
        self.pick_port(host, |net, port| !net.has_conflict(id, Endpoint { ip, port }))
    }

    /// The first port that will do, from one on that chance names.
    pub(super) fn pick_port(&mut self, host: HostIndex, will_do: impl Fn(&Self, u16) -> bool) -> Option<u16> {
        let count = EPHEMERAL.end - EPHEMERAL.start;
        let start = self.hosts[host.at()].ports_random.below(count);
        let port = |step: u64| u16::try_from(EPHEMERAL.start + (start + step) % count).ok();
        (0..count).filter_map(port).find(|port| will_do(self, *port))
    }

    /// A port from which a connection to `peer` differs from all others.
    pub(super) fn connection_port(&mut self, host: HostIndex, local_ip: Ip, peer: Endpoint) -> Option<u16> {
        self.pick_port(host, |net, port| {
            let tables = &net.hosts[host.at()];
            let ends = Ends { local_port: port, peer, local_ip };
            tables.tcp.first(port).is_none() && !tables.connections.contains_key(&ends)
        })
    }

    /// Whether another socket that listens is in the way of this one.
    pub(super) fn has_listener_beside(&self, id: SocketId) -> bool {
        let Ok(socket) = self.sockets.get(id) else { return true };
        let ours = (socket.local.ip, socket.options.v6_only);
        self.on_port(socket.host, true, socket.local.port).any(|(other, theirs)| {
            let is_group = socket.options.reuse_port && theirs.options.reuse_port;
            other != id
                && matches!(theirs.state, Role::Listener(_))
                && !is_group
                && overlap(ours, (theirs.local.ip, theirs.options.v6_only))
        })
    }

    /// The socket that a packet to nobody's connection is for: the one that fits best, of several the one that a hash of
    /// the sender names.
    #[inline]
    pub(super) fn best_on_port(&self, packet: &Packet, is_stream: bool) -> Option<SocketId> {
        let mut best: Option<(u32, SocketId)> = None;
        let mut is_tied = false;
        for (id, socket) in self.on_port(packet.hop.to, is_stream, packet.destination.port) {
            let Some(score) = score(socket, packet) else { continue };
            match best {
                Some((most, _)) if most > score => {}
                Some((most, _)) if most == score => is_tied = true,
                _ => (best, is_tied) = (Some((score, id)), false),
            }
        }
        let (most, id) = best?;
        if !is_tied {
            return Some(id);
        }
        let all = self.on_port(packet.hop.to, is_stream, packet.destination.port);
        let group: Vec<_> = all
            .filter(|(_, socket)| score(socket, packet) == Some(most) && socket.options.reuse_port)
            .collect();
        let place = packet.source.hash() % group.len().max(1) as u64;
        let named = usize::try_from(place).ok().and_then(|place| group.get(place));
        Some(named.map_or(id, |(id, _)| *id))
    }

    /// All datagram sockets that a packet to a group is for.
    pub(super) fn all_on_port(&self, packet: &Packet) -> Vec<SocketId> {
        let all = self.on_port(packet.hop.to, false, packet.destination.port);
        let mut ids: Vec<_> =
            all.filter(|(_, socket)| score(socket, packet).is_some()).map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }
}

/// How well a socket fits a packet, as `compute_score` has it. `None`: not at all.
#[inline]
fn score(socket: &Socket, packet: &Packet) -> Option<u32> {
    let to = packet.destination.ip;
    let own = if socket.local.ip == to {
        4
    } else if socket.local.ip == Ip::ANY_V4 && to.is_v4() || socket.local.ip == Ip::ANY_V6 && !to.is_v4() {
        2
    } else if socket.local.ip == Ip::ANY_V6 && !socket.options.v6_only {
        1
    } else {
        return None;
    };
    match &socket.state {
        Role::Listener(_) => Some(own),
        Role::Datagrams(datagrams) => match datagrams.peer() {
            Some(peer) if peer != packet.source => None,
            Some(_) => Some(own + 8),
            None => Some(own),
        },
        Role::Idle | Role::Connection(_) => None,
    }
}

/// Whether two addresses, each with whether IPv6 alone is meant, have one in common.
fn overlap(one: (Ip, bool), other: (Ip, bool)) -> bool {
    let covers = |(ip, is_only): (Ip, bool), (of, of_is_only): (Ip, bool)| match ip {
        Ip::ANY_V4 => of.is_v4() || of == Ip::ANY_V6 && !of_is_only,
        Ip::ANY_V6 => !of.is_v4() || !is_only,
        ip => ip == of,
    };
    covers(one, other) || covers(other, one)
}
