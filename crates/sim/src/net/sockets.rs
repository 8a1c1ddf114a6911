//! Sockets of all kinds: the calls that each of them knows, and what is asked of all. What becomes of bytes is known by
//! `streams` and `datagrams`.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;

use super::address::{Endpoint, Ip};
use super::datagrams::Datagrams;
use super::options::{Opt, Options};
use super::streams::Listener;
use super::tcp::Connection;
use super::{ERR, HUP, HostIndex, IN, Nanos, Net, OUT, Outbox, SocketId};
use crate::errno::{Errno, Result};

/// Which addresses a socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6, and IPv4 in its clothes unless [`Opt::V6Only`] is set.
    V6,
}

/// What a socket carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP.
    Stream,
    /// UDP.
    Datagram,
}

/// Which direction is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Nothing more is read.
    Read,
    /// Nothing more is written.
    Write,
    /// Both.
    Both,
}

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes that were copied.
    pub bytes: usize,
    /// How long the datagram is; more than `bytes` if it did not fit. Of a stream: `bytes`.
    pub length: usize,
    /// Who sent the datagram.
    pub from: Option<SocketAddr>,
    /// What address it was sent to, for `IP_PKTINFO`.
    pub to: Option<SocketAddr>,
    /// Its type of service; the two lowest bits are ECN.
    pub tos: u8,
    /// Its hops left (TTL).
    pub hops: u8,
}

/// All sockets.
#[derive(Default)]
pub(super) struct Sockets {
    slots: Vec<Option<Socket>>,
    free: Vec<SocketId>,
}

/// One socket.
pub(super) struct Socket {
    pub(super) host: HostIndex,
    pub(super) family: Family,
    pub(super) options: Options,
    /// The port is 0 while it has none.
    pub(super) local: Endpoint,
    /// Whether the address was chosen, and not only the port.
    pub(super) is_bound: bool,
    /// Whether its port's table has it: not that of a connection which chose none.
    pub(super) has_port: bool,
    /// The next socket on its port.
    pub(super) port_next: Option<SocketId>,
    pub(super) state: Role,
}

/// What a socket is.
pub(super) enum Role {
    /// A stream that is neither connected nor listens.
    Idle,
    Listener(Box<Listener>),
    Connection(Box<Connection>),
    Datagrams(Box<Datagrams>),
}

impl Socket {
    pub(super) fn is_stream(&self) -> bool {
        !matches!(self.state, Role::Datagrams(_))
    }

    /// Forgets what came of connecting.
    pub(super) fn become_idle(&mut self) {
        self.state = Role::Idle;
        if !self.has_port {
            self.local = Endpoint { ip: Ip::any(self.family), port: 0 };
        } else if !self.is_bound {
            self.local.ip = Ip::any(self.family);
        }
    }

    /// As this socket may use it.
    ///
    /// # Errors
    /// EAFNOSUPPORT for the wrong family, ENETUNREACH for IPv4 where only IPv6 is wanted.
    pub(super) fn endpoint(&self, address: SocketAddr) -> Result<Endpoint> {
        let end = Endpoint::new(address);
        match self.family {
            Family::V4 if !address.is_ipv4() => Err(Errno::EAFNOSUPPORT),
            Family::V6 if end.ip.is_v4() && self.options.v6_only => Err(Errno::ENETUNREACH),
            _ => Ok(end),
        }
    }
}

impl Sockets {
    pub(super) fn add(&mut self, socket: Socket) -> SocketId {
        if let Some(id) = self.free.pop() {
            self.slots[id.at()] = Some(socket);
            return id;
        }
        self.slots.push(Some(socket));
        SocketId::new(self.slots.len() - 1)
    }

    /// The next number that [`add`](Self::add) gives.
    pub(super) fn next(&self) -> SocketId {
        self.free.last().copied().unwrap_or_else(|| SocketId::new(self.slots.len()))
    }

    pub(super) fn remove(&mut self, id: SocketId) {
        if self.slots[id.at()].take().is_some() {
            self.free.push(id);
        }
    }

    pub(super) fn remove_all_of(&mut self, host: HostIndex) {
        for at in 0..self.slots.len() {
            if self.slots[at].as_ref().is_some_and(|socket| socket.host == host) {
                self.remove(SocketId::new(at));
            }
        }
    }

    #[inline]
    pub(super) fn find(&mut self, id: SocketId) -> Option<&mut Socket> {
        self.slots.get_mut(id.at())?.as_mut()
    }

    #[inline]
    pub(super) fn get(&self, id: SocketId) -> Result<&Socket> {
        self.slots.get(id.at()).and_then(Option::as_ref).ok_or(Errno::EBADF)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: SocketId) -> Result<&mut Socket> {
        self.find(id).ok_or(Errno::EBADF)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl Net {
    /// A new socket.
    pub fn socket(&mut self, host: HostIndex, family: Family, kind: Kind) -> SocketId {
        let state = match kind {
            Kind::Stream => Role::Idle,
            Kind::Datagram => Role::Datagrams(Box::default()),
        };
        let local = Endpoint { ip: Ip::any(family), port: 0 };
        let options = Options::default();
        self.sockets.add(Socket {
            host,
            family,
            options,
            local,
            is_bound: false,
            has_port: false,
            port_next: None,
            state,
        })
    }

    /// Sockets that there are, those that programs have closed and that have not ended yet among them.
    pub fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// Sends bytes. A stream takes what it has room for.
    ///
    /// # Errors
    /// Linux': EAGAIN where a program would wait.
    #[inline]
    pub fn send(
        &mut self,
        now: Nanos,
        out: &mut Outbox,
        id: SocketId,
        data: &[IoSlice<'_>],
        to: Option<SocketAddr>,
    ) -> Result<usize> {
        let Socket { state, options, .. } = self.sockets.get_mut(id)?;
        match state {
            Role::Datagrams(_) => self.send_datagram(now, out, id, data, to),
            Role::Connection(connection) => {
                connection.write(&mut Self::turn(&mut self.wires, now, out), options, data)
            }
            Role::Idle | Role::Listener(_) => Err(Errno::EPIPE),
        }
    }

    /// Receives bytes. None at the end of a stream.
    ///
    /// # Errors
    /// Linux': EAGAIN where a program would wait.
    #[inline]
    pub fn recv(
        &mut self,
        now: Nanos,
        out: &mut Outbox,
        id: SocketId,
        bufs: &mut [IoSliceMut<'_>],
        peek: bool,
    ) -> Result<Received> {
        let Socket { state, family, options, .. } = self.sockets.get_mut(id)?;
        match state {
            Role::Datagrams(datagrams) => datagrams.recv(&mut self.wires.pool, *family, bufs, peek),
            Role::Connection(connection) => {
                let bytes = connection.read(&mut Self::turn(&mut self.wires, now, out), bufs, peek)?;
                let (tos, hops) = (options.tos, super::packet::HOPS);
                Ok(Received { bytes, length: bytes, from: None, to: None, tos, hops })
            }
            Role::Idle | Role::Listener(_) => Err(Errno::ENOTCONN),
        }
    }

    /// Says that one direction, or both, are over.
    ///
    /// # Errors
    /// ENOTCONN.
    pub fn shutdown(&mut self, now: Nanos, out: &mut Outbox, id: SocketId, how: Shutdown) -> Result<()> {
        let (read, write) = (how != Shutdown::Write, how != Shutdown::Read);
        let Socket { state, .. } = self.sockets.get_mut(id)?;
        match state {
            Role::Datagrams(datagrams) => datagrams.shut(out, id, read, write),
            Role::Connection(connection) if connection.is_connected() => {
                connection.shut(&mut Self::turn(&mut self.wires, now, out), read, write);
                Ok(())
            }
            Role::Connection(_) => self.give_up(out, id),
            Role::Listener(_) if read => {
                self.stop_listening(now, out, id)?;
                out.wake(id, OUT | HUP);
                Ok(())
            }
            Role::Listener(_) => Ok(()),
            Role::Idle => Err(Errno::ENOTCONN),
        }
    }

    /// Closes a socket: nobody has it any more. What was written is still sent; a stream with unread data, or with
    /// [`Opt::Linger`] 0, is reset.
    pub fn close(&mut self, now: Nanos, out: &mut Outbox, id: SocketId) {
        let Some(Socket { state, options, .. }) = self.sockets.find(id) else { return };
        match state {
            Role::Connection(connection) => {
                let after = connection.close(&mut Self::turn(&mut self.wires, now, out), options);
                self.settle(id, after);
            }
            Role::Listener(_) => {
                let _listened = self.stop_listening(now, out, id);
                self.remove(id);
            }
            Role::Idle | Role::Datagrams(_) => self.remove(id),
        }
    }

    /// Closes a socket as [`close`](Self::close) does, and resets its connection.
    pub fn abort(&mut self, now: Nanos, out: &mut Outbox, id: SocketId) {
        if let Some(Socket { state: Role::Connection(connection), .. }) = self.sockets.find(id) {
            let after = connection.reset(&mut Self::turn(&mut self.wires, now, out));
            self.settle(id, after);
        } else {
            self.close(now, out, id);
        }
    }

    /// The address that a socket has.
    ///
    /// # Errors
    /// EBADF.
    pub fn local_addr(&self, id: SocketId) -> Result<SocketAddr> {
        let socket = self.sockets.get(id)?;
        Ok(socket.local.shown(socket.family))
    }

    /// The address that it is connected to.
    ///
    /// # Errors
    /// ENOTCONN.
    pub fn peer_addr(&self, id: SocketId) -> Result<SocketAddr> {
        let socket = self.sockets.get(id)?;
        let peer = match &socket.state {
            Role::Connection(connection) if connection.is_connected() => Some(connection.path.peer),
            Role::Datagrams(datagrams) => datagrams.peer(),
            _ => None,
        };
        peer.map(|peer| peer.shown(socket.family)).ok_or(Errno::ENOTCONN)
    }

    /// What the next call would fail with (`SO_ERROR`). It is forgotten.
    pub fn take_error(&mut self, id: SocketId) -> Option<Errno> {
        match &mut self.sockets.find(id)?.state {
            Role::Connection(connection) => connection.error.take(),
            Role::Datagrams(datagrams) => datagrams.error.take(),
            Role::Idle | Role::Listener(_) => None,
        }
    }

    /// What a socket carries.
    ///
    /// # Errors
    /// EBADF.
    pub fn kind(&self, id: SocketId) -> Result<Kind> {
        Ok(if self.sockets.get(id)?.is_stream() { Kind::Stream } else { Kind::Datagram })
    }

    /// What epoll says of a socket now.
    pub fn readiness(&mut self, id: SocketId) -> u32 {
        let Some(socket) = self.sockets.find(id) else { return HUP | ERR };
        match &mut socket.state {
            Role::Connection(connection) => connection.readiness(&socket.options),
            Role::Datagrams(datagrams) => datagrams.readiness(),
            Role::Listener(listener) if listener.ready.is_empty() => 0,
            Role::Listener(_) => IN,
            Role::Idle => OUT | HUP,
        }
    }

    /// Whether it listens (`SO_ACCEPTCONN`).
    pub fn is_listening(&self, id: SocketId) -> bool {
        matches!(self.sockets.get(id).map(|socket| &socket.state), Ok(Role::Listener(_)))
    }

    /// Bytes that can be read (`FIONREAD`): of a datagram socket the first one's.
    pub fn available(&self, id: SocketId) -> usize {
        match self.sockets.get(id).map(|socket| &socket.state) {
            Ok(Role::Connection(connection)) => connection.available(),
            Ok(Role::Datagrams(datagrams)) => datagrams.available(),
            _ => 0,
        }
    }

    /// Bytes that were written and that the peer has not acknowledged (`SIOCOUTQ`).
    pub fn unacknowledged(&self, id: SocketId) -> usize {
        match self.sockets.get(id).map(|socket| &socket.state) {
            Ok(Role::Connection(connection)) => connection.unsent(),
            _ => 0,
        }
    }

    /// What an option is.
    ///
    /// # Errors
    /// EBADF.
    pub fn option(&self, id: SocketId, option: Opt) -> Result<i32> {
        let socket = self.sockets.get(id)?;
        Ok(socket.options.get(option, socket.is_stream()))
    }

    /// Sets an option.
    ///
    /// # Errors
    /// EINVAL for a value that it cannot have.
    pub fn set_option(
        &mut self,
        now: Nanos,
        out: &mut Outbox,
        id: SocketId,
        option: Opt,
        value: i32,
    ) -> Result<()> {
        let socket = self.sockets.get_mut(id)?;
        if option == Opt::V6Only && socket.local.port != 0 {
            return Err(Errno::EINVAL);
        }
        socket.options.set(option, value)?;
        if let Socket { state: Role::Connection(connection), options, .. } = socket {
            connection.adopt(&mut Self::turn(&mut self.wires, now, out), options, option);
        }
        Ok(())
    }
}
