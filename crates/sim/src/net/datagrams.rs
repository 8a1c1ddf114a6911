//! Datagram sockets: queues, connected ones, groups and broadcasts, and datagrams that come in parts.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use super::address::{Endpoint, Ip};
use super::hosts::{Hop, Route};
use super::options::BUFFER_DEFAULT;
use super::packet::{Body, Fragment, HOPS, Icmp, Packet, Pool, Unreachable};
use super::sockets::{Role, Socket};
use super::wires::MTU;
use super::{ERR, Family, HUP, HostIndex, IN, Nanos, Net, OUT, Outbox, RDHUP, Received, SocketId};
use crate::errno::{Errno, Result};

/// A datagram socket.
#[derive(Default)]
pub(super) struct Datagrams {
    queue: VecDeque<Box<Packet>>,
    /// What the queue takes, as Linux counts it.
    used: usize,
    pub(super) error: Option<Errno>,
    peer: Option<Endpoint>,
    /// Where the last one went.
    last: Option<(Ip, Route)>,
    groups: Vec<Ip>,
    shut_read: bool,
    shut_write: bool,
}

/// Packets that a host has dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// The queue of their datagram socket was full.
    pub queue: u64,
    /// Nobody had their port.
    pub no_port: u64,
    /// SYNs for which a listener's backlog had no room.
    pub backlog: u64,
}

impl Datagrams {
    pub(super) fn peer(&self) -> Option<Endpoint> {
        self.peer
    }

    pub(super) fn available(&self) -> usize {
        self.queue.front().map_or(0, |packet| packet.payload.len())
    }

    pub(super) fn readiness(&self) -> u32 {
        let mut bits = OUT;
        if !self.queue.is_empty() || self.shut_read {
            bits |= IN;
        }
        if self.shut_read {
            bits |= RDHUP;
        }
        if self.shut_read && self.shut_write {
            bits |= HUP;
        }
        if self.error.is_some() {
            bits |= ERR;
        }
        bits
    }

    pub(super) fn shut(&mut self, out: &mut Outbox, id: SocketId, read: bool, write: bool) -> Result<()> {
        self.shut_read |= read;
        self.shut_write |= write;
        out.wake(id, self.readiness());
        // It is done in any case, as by Linux.
        if self.peer.is_some() { Ok(()) } else { Err(Errno::ENOTCONN) }
    }

    #[inline]
    pub(super) fn recv(
        &mut self,
        pool: &mut Pool,
        family: Family,
        bufs: &mut [IoSliceMut<'_>],
        peek: bool,
    ) -> Result<Received> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let Some(packet) = self.queue.front() else {
            let end = Received { bytes: 0, length: 0, from: None, to: None, tos: 0, hops: 0 };
            return if self.shut_read { Ok(end) } else { Err(Errno::EAGAIN) };
        };
        let mut bytes = 0;
        for buf in bufs {
            let length = buf.len().min(packet.payload.len() - bytes);
            buf[..length].copy_from_slice(&packet.payload[bytes..bytes + length]);
            bytes += length;
        }
        let received = Received {
            bytes,
            length: packet.payload.len(),
            from: Some(packet.source.shown(family)),
            to: Some(packet.destination.shown(family)),
            tos: packet.tos,
            hops: packet.hops,
        };
        if !peek && let Some(packet) = self.queue.pop_front() {
            self.used -= size_of_buffer(packet.payload.len());
            pool.give_back(packet);
        }
        Ok(received)
    }

    /// Takes a datagram. Gives it back when there is no room.
    #[inline]
    fn push(&mut self, packet: Box<Packet>, limit: usize) -> Option<Box<Packet>> {
        let size = size_of_buffer(packet.payload.len());
        // However small the limit is, one is taken.
        if self.used + size > limit && self.used > 0 {
            return Some(packet);
        }
        self.used += size;
        self.queue.push_back(packet);
        None
    }
}

/// What Linux counts for a datagram (`truesize`): a buffer of a power of two, and what manages it.
#[inline]
fn size_of_buffer(length: usize) -> usize {
    const HEADERS: usize = 64;
    const SHARED_INFO: usize = 320;
    const SMALL: usize = 576;
    const MANAGEMENT: usize = 256;
    let whole = length + HEADERS + SHARED_INFO;
    MANAGEMENT + if whole <= SMALL { SMALL } else { whole.next_power_of_two() }
}

/// Of an IP packet's 65,535 bytes. IPv6 does not count its header.
const LENGTH_MAX: [usize; 2] = [65_507, 65_527];

impl Net {
    /// Sends one datagram.
    #[inline]
    pub(super) fn send_datagram(
        &mut self,
        now: Nanos,
        out: &mut Outbox,
        id: SocketId,
        data: &[IoSlice<'_>],
        to: Option<SocketAddr>,
    ) -> Result<usize> {
        let socket = self.sockets.get_mut(id)?;
        let named = to.map(|to| socket.endpoint(to)).transpose()?;
        let Socket { host, local, options, .. } = *socket;
        let Role::Datagrams(datagrams) = &mut socket.state else { return Err(Errno::ENOTSOCK) };
        if datagrams.shut_write {
            return Err(Errno::EPIPE);
        }
        let mut to = named.or(datagrams.peer).ok_or(Errno::EDESTADDRREQ)?;
        if to.port == 0 {
            return Err(Errno::EINVAL);
        }
        if to.ip.is_any() {
            to.ip = if to.ip.is_v4() { Ip::LOOPBACK_V4 } else { Ip::LOOPBACK_V6 };
        }
        let length: usize = data.iter().map(|slice| slice.len()).sum();
        if length > LENGTH_MAX[usize::from(!to.ip.is_v4())] {
            return Err(Errno::EMSGSIZE);
        }
        if let Some(error) = datagrams.error.take() {
            return Err(error);
        }
        let known = datagrams.last.filter(|(ip, _)| *ip == to.ip).map(|(_, route)| route);
        if local.port == 0 {
            self.bind_any(id)?;
        }
        let is_group = self.hosts[host.at()].is_group(to.ip);
        let route = match known {
            Some(route) => route,
            None if is_group => self.group_route(host, to.ip, options.broadcast)?,
            None => self.route(host, to.ip)?,
        };
        if local.ip.is_loopback() && !route.hop.is_loopback() {
            return Err(Errno::EINVAL);
        }
        let headers = if to.ip.is_v4() { 28 } else { 48 };
        if options.mtu_discover >= 2 && !route.hop.is_loopback() && length + headers > MTU {
            return Err(Errno::EMSGSIZE);
        }
        let socket = self.sockets.get_mut(id)?;
        let source = if local.ip.is_any() { route.source } else { local.ip };
        let ends = [Endpoint { ip: source, port: socket.local.port }, to];
        if let Role::Datagrams(datagrams) = &mut socket.state {
            datagrams.last = Some((to.ip, route));
        }
        let mut packet = self.wires.pool.take(route.hop, ends, Body::Udp);
        self.wires.pool.make_room(&mut packet.payload, length);
        data.iter().for_each(|slice| packet.payload.extend_from_slice(slice));
        packet.tos = options.tos;
        packet.hops = match (to.ip.is_multicast(), options.hops) {
            (true, _) => options.multicast_hops,
            (false, hops) => hops.unwrap_or(HOPS),
        };
        if is_group {
            self.send_to_group(now, out, packet, options.multicast_loop);
        } else {
            self.wires.send(now, out, packet);
        }
        Ok(length)
    }

    fn group_route(&self, host: HostIndex, group: Ip, may_broadcast: bool) -> Result<Route> {
        if !group.is_multicast() && !may_broadcast {
            return Err(Errno::EACCES);
        }
        let tables = &self.hosts[host.at()];
        let nic = tables.nic_for(group).ok_or(Errno::ENETUNREACH)?;
        let hop = Hop { from: host, to: host, network: nic.network };
        Ok(Route { hop, source: nic.address(group.is_v4()) })
    }

    /// To all members on its network, each over its own link. Who joined a group did so on the first of his networks.
    fn send_to_group(&mut self, now: Nanos, out: &mut Outbox, mut packet: Box<Packet>, is_looped: bool) {
        let group = packet.destination.ip;
        let Hop { from, network, .. } = packet.hop;
        packet.is_shared = true;
        for to in (0..).map(HostIndex).take(self.hosts.len()) {
            let host = &self.hosts[to.at()];
            let has_joined = || {
                host.groups.contains_key(&group)
                    && host.nics.first().is_some_and(|nic| nic.network == network)
            };
            let is_member = !group.is_multicast() || group.is_all_hosts() || has_joined();
            let is_own = to == from && (is_looped || !group.is_multicast());
            if !is_member || !host.is_on_network(network) || to == from && !is_own {
                continue;
            }
            let mut copy = self.wires.pool.copy(&packet);
            copy.hop.to = to;
            self.wires.send(now, out, copy);
        }
        self.wires.see_all(now, &packet);
        self.wires.pool.give_back(packet);
    }

    pub(super) fn connect_datagrams(&mut self, id: SocketId, peer: Endpoint) -> Result<()> {
        let Socket { host, options, local, is_bound, .. } = *self.sockets.get(id)?;
        let is_group = self.hosts[host.at()].is_group(peer.ip);
        let route = if is_group {
            self.group_route(host, peer.ip, options.broadcast)?
        } else {
            self.route(host, peer.ip)?
        };
        if is_bound && local.ip.is_loopback() && !route.hop.is_loopback() {
            return Err(Errno::EINVAL);
        }
        self.bind_any(id)?;
        let socket = self.sockets.get_mut(id)?;
        if !is_bound {
            socket.local.ip = route.source;
        }
        if let Role::Datagrams(datagrams) = &mut socket.state {
            datagrams.peer = Some(peer);
            datagrams.last = Some((peer.ip, route));
        }
        Ok(())
    }

    /// Undoes a datagram socket's connect (`AF_UNSPEC`).
    ///
    /// # Errors
    /// EBADF.
    pub fn disconnect(&mut self, id: SocketId) -> Result<()> {
        let socket = self.sockets.get_mut(id)?;
        if let Role::Datagrams(datagrams) = &mut socket.state {
            datagrams.peer = None;
            if !socket.is_bound {
                socket.local.ip = Ip::any(socket.family);
            }
        }
        Ok(())
    }

    #[inline]
    pub(super) fn receive_datagram(&mut self, now: Nanos, out: &mut Outbox, packet: Box<Packet>) {
        let to = packet.destination.ip;
        if self.hosts[packet.hop.to.at()].is_group(to) {
            for id in self.all_on_port(&packet) {
                let copy = self.wires.pool.copy(&packet);
                self.give(out, id, copy);
            }
            self.wires.pool.give_back(packet);
        } else if let Some(id) = self.best_on_port(&packet, false) {
            self.give(out, id, packet);
        } else {
            self.hosts[packet.hop.to.at()].drops.no_port += 1;
            self.wires.refuse(now, out, packet, Unreachable::Port);
        }
    }

    #[inline]
    fn give(&mut self, out: &mut Outbox, id: SocketId, packet: Box<Packet>) {
        let Some(Socket { state: Role::Datagrams(datagrams), options, .. }) = self.sockets.find(id) else {
            return;
        };
        match datagrams.push(packet, options.receive_buffer.unwrap_or(BUFFER_DEFAULT)) {
            None => out.wake(id, IN),
            Some(packet) => {
                self.hosts[packet.hop.to.at()].drops.queue += 1;
                self.wires.pool.give_back(packet);
            }
        }
    }

    /// Tells the connected socket whose datagram nobody took.
    pub(super) fn fail_datagrams(&mut self, out: &mut Outbox, host: HostIndex, icmp: &Icmp, error: Errno) {
        // As the answer of a packet that came the other way.
        let answer = self.wires.pool.take(Hop::loopback(host), [icmp.destination, icmp.source], Body::Udp);
        let id = self.best_on_port(&answer, false);
        self.wires.pool.give_back(answer);
        let Some(id) = id else { return };
        if let Some(Socket { state: Role::Datagrams(datagrams), .. }) = self.sockets.find(id)
            && datagrams.peer == Some(icmp.destination)
        {
            datagrams.error = Some(error);
            out.wake(id, ERR);
        }
    }

    /// Has a socket receive what is sent to a group.
    ///
    /// # Errors
    /// EINVAL for what is no group, EADDRINUSE when it is a member.
    pub fn join_group(&mut self, id: SocketId, group: IpAddr) -> Result<()> {
        let group = Ip::new(group);
        let Socket { host, state, .. } = self.sockets.get_mut(id)?;
        let Role::Datagrams(datagrams) = state else { return Err(Errno::ENOPROTOOPT) };
        if !group.is_multicast() {
            return Err(Errno::EINVAL);
        }
        if datagrams.groups.contains(&group) {
            return Err(Errno::EADDRINUSE);
        }
        if self.hosts[host.at()].nics.is_empty() {
            return Err(Errno::ENODEV);
        }
        datagrams.groups.push(group);
        *self.hosts[host.at()].groups.entry(group).or_default() += 1;
        Ok(())
    }

    /// Undoes [`join_group`](Self::join_group).
    ///
    /// # Errors
    /// EADDRNOTAVAIL when it is no member.
    pub fn leave_group(&mut self, id: SocketId, group: IpAddr) -> Result<()> {
        let group = Ip::new(group);
        let Socket { host, state, .. } = self.sockets.get_mut(id)?;
        let Role::Datagrams(datagrams) = state else { return Err(Errno::ENOPROTOOPT) };
        let place = datagrams.groups.iter().position(|known| *known == group).ok_or(Errno::EADDRNOTAVAIL)?;
        datagrams.groups.remove(place);
        let host = *host;
        self.leave(host, group);
        Ok(())
    }

    pub(super) fn leave_all(&mut self, id: SocketId) {
        let Some(Socket { host, state: Role::Datagrams(datagrams), .. }) = self.sockets.find(id) else {
            return;
        };
        let (host, groups) = (*host, std::mem::take(&mut datagrams.groups));
        groups.into_iter().for_each(|group| self.leave(host, group));
    }

    fn leave(&mut self, host: HostIndex, group: Ip) {
        let groups = &mut self.hosts[host.at()].groups;
        if let Some(members) = groups.get_mut(&group) {
            *members -= 1;
            if *members == 0 {
                groups.remove(&group);
            }
        }
    }

    /// What a host has dropped.
    pub fn drops(&self, host: HostIndex) -> Drops {
        self.hosts[host.at()].drops
    }
}

/// Datagrams of which parts have come, the oldest first.
#[derive(Default)]
pub(super) struct Parts {
    open: VecDeque<Open>,
}

struct Open {
    datagram: u64,
    /// As it will be once nothing is missing.
    whole: Box<Packet>,
    /// Where the parts that have come begin.
    offsets: Vec<usize>,
    missing: usize,
}

/// Datagrams in parts at once; the oldest goes for a new one. Linux keeps 4 MiB, which these are.
const OPEN_MAX: usize = 64;

impl Parts {
    /// Takes a part. Gives the datagram once it is whole.
    pub(super) fn add(
        &mut self,
        packet: Box<Packet>,
        part: Fragment,
        pool: &mut Pool,
    ) -> Option<Box<Packet>> {
        let known = self.open.iter().position(|open| open.datagram == part.datagram);
        let place = known.unwrap_or_else(|| {
            if self.open.len() == OPEN_MAX
                && let Some(oldest) = self.open.pop_front()
            {
                pool.give_back(oldest.whole);
            }
            let mut whole = pool.copy(&packet);
            whole.body = Body::Udp;
            whole.payload.clear();
            whole.payload.resize(part.total, 0);
            let (datagram, missing) = (part.datagram, part.total);
            self.open.push_back(Open { datagram, whole, offsets: Vec::new(), missing });
            self.open.len() - 1
        });
        let open = &mut self.open[place];
        // Ports stand in the first part alone.
        if part.offset == 0 {
            (open.whole.source, open.whole.destination) = (packet.source, packet.destination);
        }
        if !open.offsets.contains(&part.offset) {
            let end = part.offset + packet.payload.len();
            open.offsets.push(part.offset);
            open.whole.payload[part.offset..end].copy_from_slice(&packet.payload);
            open.missing -= packet.payload.len();
        }
        let is_whole = open.missing == 0;
        pool.give_back(packet);
        let whole = is_whole.then(|| self.open.remove(place)).flatten();
        whole.map(|open| open.whole)
    }
}
