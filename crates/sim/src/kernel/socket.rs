//! Sockets of the network as open files.

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;

use super::file::{Caller, FileId, Kind, Timing};
use super::sched::{On, Wait};
use super::{Call, Kernel};
use crate::errno::{Errno, Result};
use crate::net::{self, Family, Net, Opt, Outbox, Received, Shutdown, SocketId};

impl Kernel {
    /// A socket of the caller's host.
    pub(crate) fn open_socket(
        &mut self,
        caller: Caller,
        family: Family,
        kind: net::Kind,
        is_nonblocking: bool,
    ) -> FileId {
        let socket = self.net.socket(self.host_on_net(caller.host), family, kind);
        self.adopt_socket(socket, is_nonblocking)
    }

    fn adopt_socket(&mut self, socket: SocketId, is_nonblocking: bool) -> FileId {
        let file = self.open_file(Kind::Socket(socket), is_nonblocking);
        let place = socket.index();
        if self.socket_files.len() <= place {
            self.socket_files.resize(place + 1, None);
        }
        self.socket_files[place] = Some(file);
        file
    }

    /// The socket of an open file.
    pub(crate) fn socket(&self, id: FileId) -> Result<SocketId> {
        match self.kind(id) {
            Kind::Socket(socket) => Ok(*socket),
            _ => Err(Errno::ENOTSOCK),
        }
    }

    /// Does something with the network, and carries out what came of it.
    pub(crate) fn on_net<T>(&mut self, f: impl FnOnce(&mut Net, u64, &mut Outbox) -> T) -> T {
        let result = f(&mut self.net, self.now, &mut self.outbox);
        self.settle();
        result
    }

    pub(super) fn close_socket(&mut self, socket: SocketId) {
        if let Some(file) = self.socket_files.get_mut(socket.index()) {
            *file = None;
        }
        self.on_net(|net, now, out| net.close(now, out, socket));
    }

    /// A connection that somebody made to a listener, and who did.
    pub(crate) fn accept(
        &mut self,
        id: FileId,
        is_nonblocking: bool,
        timing: Timing,
    ) -> Call<(FileId, SocketAddr)> {
        let socket = self.socket(id)?;
        match self.net.accept(socket) {
            Ok((accepted, peer)) => Ok((self.adopt_socket(accepted, is_nonblocking), peer)),
            Err(Errno::EAGAIN) => Err(self.not_now(id, timing, "accept")),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Connects. Whoever may wait does so until it is decided; asked again, it tells how.
    pub(crate) fn connect(
        &mut self,
        id: FileId,
        to: SocketAddr,
        has_begun: &mut bool,
        timing: Timing,
    ) -> Call<()> {
        let socket = self.socket(id)?;
        if *has_begun {
            if let Some(errno) = self.net.take_error(socket) {
                return Err(errno.into());
            }
            if self.net.peer_addr(socket).is_ok() {
                return Ok(());
            }
        } else {
            match self.on_net(|net, now, out| net.connect(now, out, socket, to)) {
                Err(Errno::EINPROGRESS) if !self.is_nonblocking(id) => *has_begun = true,
                Err(errno) => return Err(errno.into()),
                Ok(()) => return Ok(()),
            }
        }
        if timing.until.is_some_and(|until| until <= self.now) {
            return Err(Errno::EINPROGRESS.into());
        }
        Err(Wait { on: On::File(id), until: timing.until, what: "connect" }.into())
    }

    /// Receives into `into`.
    pub(crate) fn receive(
        &mut self,
        id: FileId,
        socket: SocketId,
        into: &mut [u8],
        peek: bool,
        timing: Timing,
    ) -> Call<Received> {
        let received =
            self.on_net(|net, now, out| net.recv(now, out, socket, &mut [IoSliceMut::new(into)], peek));
        match received {
            Err(Errno::EAGAIN) => Err(self.not_now(id, timing, "receive")),
            result => Ok(result?),
        }
    }

    /// Sends some of `bytes`.
    pub(crate) fn send(
        &mut self,
        id: FileId,
        socket: SocketId,
        bytes: &[u8],
        to: Option<SocketAddr>,
        timing: Timing,
    ) -> Call<usize> {
        match self.on_net(|net, now, out| net.send(now, out, socket, &[IoSlice::new(bytes)], to)) {
            Err(Errno::EAGAIN) => Err(self.not_now(id, timing, "send")),
            result => Ok(result?),
        }
    }

    pub(crate) fn shutdown_socket(&mut self, socket: SocketId, how: Shutdown) -> Result<()> {
        self.on_net(|net, now, out| net.shutdown(now, out, socket, how))
    }

    pub(crate) fn set_option(&mut self, socket: SocketId, option: Opt, value: i32) -> Result<()> {
        self.on_net(|net, now, out| net.set_option(now, out, socket, option, value))
    }

    /// Whether a file is a socket for datagrams.
    pub(crate) fn is_datagram_socket(&self, id: FileId) -> bool {
        self.socket(id).is_ok_and(|socket| self.net.kind(socket) == Ok(net::Kind::Datagram))
    }

    pub(super) fn describe_socket(&self, socket: SocketId) -> String {
        let own = self.net.local_addr(socket).map(|own| self.by_name(own));
        match (own, self.net.peer_addr(socket)) {
            (_, Ok(peer)) => self.by_name(peer),
            (Ok(own), Err(_)) => format!("port {}", own.rsplit(':').next().unwrap_or_default()),
            (Err(_), Err(_)) => "a socket".into(),
        }
    }

    /// An address, with its host's name if it has one.
    fn by_name(&self, address: SocketAddr) -> String {
        match self.net.host_at(address.ip().to_canonical()) {
            Some(host) => format!("{}:{}", self.net.host_name(host), address.port()),
            None => address.to_string(),
        }
    }
}
