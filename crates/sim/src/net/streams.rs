//! Stream sockets: listeners with their backlogs, connections by their ends, and who is told what.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::address::{Endpoint, Ip};
use super::hosts::{Ends, Hop, Route};
use super::options::Options;
use super::packet::{Flags, HOPS, Icmp, Packet, Segment, Unreachable};
use super::sockets::{Role, Socket};
use super::tcp::{After, Connection, Path, State};
use super::{HostIndex, IN, Nanos, Net, Outbox, SocketId};
use crate::errno::{Errno, Result};

/// A socket that listens.
pub(super) struct Listener {
    /// Connections that may wait, less one, as Linux counts.
    backlog: usize,
    /// Those whose SYN was answered, and that have not answered yet.
    half: usize,
    pub(super) ready: VecDeque<SocketId>,
}

/// `net.core.somaxconn`, and half-open connections of one listener.
const BACKLOG_MAX: usize = 4096;

impl Net {
    /// Has a stream socket take connections.
    ///
    /// # Errors
    /// EADDRINUSE when another one listens there, EINVAL for one that is connected, EOPNOTSUPP for datagrams.
    pub fn listen(&mut self, id: SocketId, backlog: i32) -> Result<()> {
        let backlog = usize::try_from(backlog).unwrap_or(BACKLOG_MAX).min(BACKLOG_MAX);
        match &mut self.sockets.get_mut(id)?.state {
            Role::Idle => {}
            Role::Listener(listener) => {
                listener.backlog = backlog;
                return Ok(());
            }
            Role::Connection(_) => return Err(Errno::EINVAL),
            Role::Datagrams(_) => return Err(Errno::ENOTSUP),
        }
        self.bind_any(id)?;
        if self.has_listener_beside(id) {
            return Err(Errno::EADDRINUSE);
        }
        self.sockets.get_mut(id)?.state =
            Role::Listener(Box::new(Listener { backlog, half: 0, ready: VecDeque::new() }));
        Ok(())
    }

    /// Takes a connection that waits: its socket, and who is at its other end.
    ///
    /// # Errors
    /// EAGAIN when none waits, EINVAL for a socket that does not listen.
    pub fn accept(&mut self, id: SocketId) -> Result<(SocketId, SocketAddr)> {
        let Socket { state, family, .. } = self.sockets.get_mut(id)?;
        let family = *family;
        let Role::Listener(listener) = state else {
            return Err(if matches!(state, Role::Datagrams(_)) { Errno::ENOTSUP } else { Errno::EINVAL });
        };
        let child = listener.ready.pop_front().ok_or(Errno::EAGAIN)?;
        let Role::Connection(connection) = &mut self.sockets.get_mut(child)?.state else {
            return Err(Errno::ECONNABORTED);
        };
        connection.accept();
        Ok((child, connection.path.peer.shown(family)))
    }

    /// Connects a socket. A datagram socket is connected at once.
    ///
    /// # Errors
    /// EINPROGRESS when a stream has begun to; then epoll says OUT, and [`take_error`](Self::take_error) how it went.
    pub fn connect(&mut self, now: Nanos, out: &mut Outbox, id: SocketId, to: SocketAddr) -> Result<()> {
        let socket = self.sockets.get_mut(id)?;
        let mut peer = socket.endpoint(to)?;
        if peer.ip.is_any() {
            peer.ip = if peer.ip.is_v4() { Ip::LOOPBACK_V4 } else { Ip::LOOPBACK_V6 };
        }
        match &mut socket.state {
            Role::Datagrams(_) => self.connect_datagrams(id, peer),
            Role::Listener(_) => Err(Errno::EISCONN),
            Role::Connection(connection) => {
                let told = connection.connect_again();
                if connection.is_over() {
                    socket.become_idle();
                }
                told
            }
            Role::Idle => {
                self.begin_connection(now, out, id, peer)?;
                Err(Errno::EINPROGRESS)
            }
        }
    }

    fn begin_connection(&mut self, now: Nanos, out: &mut Outbox, id: SocketId, peer: Endpoint) -> Result<()> {
        let Socket { host, local, is_bound, .. } = *self.sockets.get(id)?;
        if peer.ip.is_multicast() {
            return Err(Errno::ENETUNREACH);
        }
        let route = self.route(host, peer.ip)?;
        if is_bound && local.ip.is_loopback() && !route.hop.is_loopback() {
            return Err(Errno::EINVAL);
        }
        let ip = if is_bound { local.ip } else { route.source };
        let port = match local.port {
            0 => self.connection_port(host, ip, peer).ok_or(Errno::EADDRNOTAVAIL)?,
            port => port,
        };
        let local = Endpoint { ip, port };
        if self.hosts[host.at()].connections.contains_key(&Ends::of(local, peer)) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let sequence = self.hosts[host.at()].sequence();
        let socket = self.sockets.get_mut(id)?;
        let path = Path::new(route.hop, [local, peer], id, &socket.options);
        let mut turn = Self::turn(&mut self.wires, now, out);
        socket.state = Role::Connection(Connection::connect(&mut turn, path, &socket.options, sequence));
        // Without a port of its own it is found by its connection.
        socket.local = local;
        self.hosts[host.at()].connections.insert(Ends::of(local, peer), id);
        Ok(())
    }

    /// A shutdown before there is a connection.
    pub(super) fn give_up(&mut self, out: &mut Outbox, id: SocketId) -> Result<()> {
        let Socket { state: Role::Connection(connection), .. } = self.sockets.get_mut(id)? else {
            return Err(Errno::ENOTCONN);
        };
        if !matches!(connection.state, State::SynSent | State::SynReceived) {
            return Err(Errno::ENOTCONN);
        }
        let after = connection.give_up(out);
        self.settle(id, after);
        Ok(())
    }

    /// Makes a listener an ordinary socket. Who waited to be accepted is reset.
    pub(super) fn stop_listening(&mut self, now: Nanos, out: &mut Outbox, id: SocketId) -> Result<()> {
        let socket = self.sockets.get_mut(id)?;
        let Role::Listener(_) = std::mem::replace(&mut socket.state, Role::Idle) else {
            return Err(Errno::ENOTCONN);
        };
        let (host, port) = (socket.host, socket.local.port);
        let connections: Vec<SocketId> = self.hosts[host.at()].connections_from(port).collect();
        for child in connections {
            let Some(Socket { state: Role::Connection(connection), .. }) = self.sockets.find(child) else {
                continue;
            };
            if connection.parent == Some(id) {
                connection.parent = None;
                let after = connection.reset(&mut Self::turn(&mut self.wires, now, out));
                self.settle(child, after);
            }
        }
        Ok(())
    }

    /// Gives a segment to its connection, or its listener.
    #[inline]
    pub(super) fn receive_segment(
        &mut self,
        now: Nanos,
        out: &mut Outbox,
        packet: Box<Packet>,
        segment: &Segment,
    ) {
        let is_first = segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK);
        if let Some(id) = self.connection_of(&packet, segment)
            && !(is_first && self.forget_waiting(id))
        {
            self.input(now, out, id, packet, segment);
            return;
        }
        if is_first && let Some(listener) = self.best_on_port(&packet, true) {
            self.answer(now, out, listener, &packet, segment);
            self.wires.pool.give_back(packet);
        } else {
            self.wires.refuse(now, out, packet, Unreachable::Port);
        }
    }

    /// The connection of a segment: the one that its sender names, or the one that is found.
    #[inline]
    fn connection_of(&mut self, packet: &Packet, segment: &Segment) -> Option<SocketId> {
        let [_, named] = segment.sockets;
        if let Some(id) = named
            && let Some(Socket { state: Role::Connection(connection), .. }) = self.sockets.find(id)
            && connection.path.is_of(packet)
            && connection.state != State::Closed
        {
            return Some(id);
        }
        let ends = Ends::of(packet.destination, packet.source);
        self.hosts[packet.hop.to.at()].connections.get(&ends).copied()
    }

    /// Has a connection that is over make place for a new one of the same ends. Whether it was one.
    fn forget_waiting(&mut self, id: SocketId) -> bool {
        let Some(Socket { state: Role::Connection(connection), .. }) = self.sockets.find(id) else {
            return false;
        };
        let is_over = connection.state == State::TimeWait;
        if is_over {
            let after = connection.forget();
            self.settle(id, after);
        }
        is_over
    }

    #[inline]
    fn input(&mut self, now: Nanos, out: &mut Outbox, id: SocketId, packet: Box<Packet>, segment: &Segment) {
        let Some(Socket { state: Role::Connection(connection), .. }) = self.sockets.find(id) else { return };
        let has_room = match connection.parent {
            Some(parent) => self.has_room(parent),
            None => true,
        };
        let Some(Socket { state: Role::Connection(connection), options, .. }) = self.sockets.find(id) else {
            return;
        };
        let mut turn = Self::turn(&mut self.wires, now, out);
        match connection.input(&mut turn, options, packet, segment, has_room) {
            After::Nothing => {}
            After::Established => self.join_backlog(out, id),
            After::Closed => self.settle(id, After::Closed),
        }
    }

    fn has_room(&mut self, listener: SocketId) -> bool {
        match self.sockets.find(listener).map(|socket| &socket.state) {
            Some(Role::Listener(listener)) => listener.ready.len() <= listener.backlog,
            _ => false,
        }
    }

    fn join_backlog(&mut self, out: &mut Outbox, id: SocketId) {
        let parent = match self.sockets.find(id).map(|socket| &socket.state) {
            Some(Role::Connection(connection)) => connection.parent,
            _ => None,
        };
        let Some(parent) = parent else { return };
        if let Some(Socket { state: Role::Listener(listener), .. }) = self.sockets.find(parent) {
            listener.half -= 1;
            listener.ready.push_back(id);
            out.wake(parent, IN);
        }
    }

    /// Answers a SYN, unless there is no room: then it is as if it were lost.
    fn answer(&mut self, now: Nanos, out: &mut Outbox, parent: SocketId, packet: &Packet, syn: &Segment) {
        // Whom it cannot answer it does not hear.
        let Ok(Route { hop, .. }) = self.route(packet.hop.to, packet.source.ip) else { return };
        let child = self.sockets.next();
        let Some(Socket { state: Role::Listener(listener), options, family, host, .. }) =
            self.sockets.find(parent)
        else {
            return;
        };
        if listener.ready.len() > listener.backlog || listener.half >= BACKLOG_MAX {
            self.hosts[packet.hop.to.at()].drops.backlog += 1;
            return;
        }
        listener.half += 1;
        let (options, family, host) = (*options, *family, *host);
        let (local, peer) = (packet.destination, packet.source);
        let sequence = self.hosts[host.at()].sequence();
        let mut path = Path::new(hop, [local, peer], child, &options);
        path.peer_id = syn.sockets[0];
        let mut turn = Self::turn(&mut self.wires, now, out);
        let connection = Connection::answer(&mut turn, path, &options, sequence, (parent, syn));
        let state = Role::Connection(connection);
        let made = self.sockets.add(Socket {
            host,
            family,
            options,
            local,
            is_bound: true,
            has_port: false,
            port_next: None,
            state,
        });
        debug_assert_eq!(made, child);
        self.hosts[host.at()].connections.insert(Ends::of(local, peer), child);
    }

    /// Carries out what became of a connection.
    pub(super) fn settle(&mut self, id: SocketId, after: After) {
        if after != After::Closed {
            return;
        }
        let Some(Socket { state: Role::Connection(connection), host, .. }) = self.sockets.find(id) else {
            return;
        };
        let (path, parent, is_held, host) = (connection.path, connection.parent, connection.is_held, *host);
        let connections = &mut self.hosts[host.at()].connections;
        let ends = Ends::of(path.local, path.peer);
        if connections.get(&ends) == Some(&id) {
            connections.remove(&ends);
        }
        let mut is_kept = is_held;
        if let Some(parent) = parent
            && let Some(Socket { state: Role::Listener(listener), .. }) = self.sockets.find(parent)
        {
            // Who accepts it finds out.
            is_kept |= listener.ready.contains(&id);
            listener.half -= usize::from(!is_kept);
        }
        if !is_kept {
            self.remove(id);
        }
    }

    pub(super) fn on_timer(&mut self, now: Nanos, out: &mut Outbox, id: SocketId) {
        if let Some(Socket { state: Role::Connection(connection), options, .. }) = self.sockets.find(id) {
            let after = connection.on_timer(&mut Self::turn(&mut self.wires, now, out), options);
            self.settle(id, after);
        }
    }

    /// "Unreachable" has come for a packet that this host had sent.
    pub(super) fn receive_unreachable(&mut self, now: Nanos, out: &mut Outbox, host: HostIndex, icmp: &Icmp) {
        let error = match icmp.what {
            Unreachable::Port => Errno::ECONNREFUSED,
            Unreachable::Network => Errno::ENETUNREACH,
            Unreachable::Host | Unreachable::Expired => Errno::EHOSTUNREACH,
        };
        if !icmp.is_tcp {
            // Of the others a socket is told that asks for them (`IP_RECVERR`), which none can here.
            if icmp.what == Unreachable::Port {
                self.fail_datagrams(out, host, icmp, error);
            }
            return;
        }
        let ends = Ends::of(icmp.source, icmp.destination);
        let Some(id) = self.hosts[host.at()].connections.get(&ends).copied() else { return };
        if let Some(Socket { state: Role::Connection(connection), .. }) = self.sockets.find(id) {
            let after = connection.on_unreachable(&mut Self::turn(&mut self.wires, now, out), error);
            self.settle(id, after);
        }
    }
}

impl Ends {
    pub(super) fn of(local: Endpoint, peer: Endpoint) -> Self {
        Self { local_port: local.port, peer, local_ip: local.ip }
    }
}

impl Path {
    fn new(hop: Hop, [local, peer]: [Endpoint; 2], id: SocketId, options: &Options) -> Self {
        let hops = options.hops.unwrap_or(HOPS);
        Self { hop, local, peer, id, peer_id: None, tos: options.tos, hops }
    }

    #[inline]
    fn is_of(&self, packet: &Packet) -> bool {
        self.hop.from == packet.hop.to && self.local == packet.destination && self.peer == packet.source
    }
}
