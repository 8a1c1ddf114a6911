//! Unix sockets: streams and datagrams between processes of one host.

use std::collections::{BTreeMap, VecDeque};

use super::buffer::{Buffer, BufferId};
use super::epoll::epoll_bits::{HUP, IN, OUT, RDHUP};
use super::file::{FileId, Kind, Timing};
use super::{Call, HostId, Kernel};
use crate::errno::{Errno, Result};

/// What one direction holds, as Linux has it by default.
const ROOM: usize = 212_992;
/// Datagrams that wait for one receiver, as Linux has it by default.
const DATAGRAMS_MAX: usize = 10;

/// Sockets by their name: a path, or an abstract name, which begins with a zero byte.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<(HostId, Vec<u8>), FileId>);

/// One socket.
#[derive(Debug)]
pub(crate) struct Socket {
    host: HostId,
    name: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    Listening { waiting: VecDeque<FileId>, backlog: usize },
    Connected { receives: BufferId, sends: BufferId, peer: Vec<u8>, may_receive: bool, may_send: bool },
    Datagrams { inbox: VecDeque<Datagram>, peer: Option<Vec<u8>>, partner: Option<FileId> },
}

/// A datagram that was received.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    /// The sender's name; empty: it has none.
    pub(crate) from: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

impl Socket {
    fn new(host: HostId, is_stream: bool) -> Self {
        let datagrams = State::Datagrams { inbox: VecDeque::new(), peer: None, partner: None };
        Self { host, name: Vec::new(), state: if is_stream { State::Idle } else { datagrams } }
    }
}

impl Kernel {
    /// A socket without a name.
    pub(crate) fn open_unix(&mut self, host: HostId, is_stream: bool, is_nonblocking: bool) -> FileId {
        self.open_file(Kind::Unix(Socket::new(host, is_stream)), is_nonblocking)
    }

    /// Two sockets that are each other's peer.
    pub(crate) fn open_unix_pair(
        &mut self,
        host: HostId,
        is_stream: bool,
        is_nonblocking: bool,
    ) -> (FileId, FileId) {
        let left = self.open_unix(host, is_stream, is_nonblocking);
        let right = self.open_unix(host, is_stream, is_nonblocking);
        if is_stream {
            self.join(left, right, Vec::new());
        } else {
            for (one, other) in [(left, right), (right, left)] {
                if let Kind::Unix(Socket { state: State::Datagrams { partner, .. }, .. }) =
                    &mut self.files[one].kind
                {
                    *partner = Some(other);
                }
            }
        }
        (left, right)
    }

    /// Connects two idle stream sockets; `name` is the second one's.
    fn join(&mut self, client: FileId, server: FileId, name: Vec<u8>) {
        let mut flow = |writer, reader| {
            let mut buffer = Buffer::new(ROOM, 1);
            (buffer.reader, buffer.writer) = (Some(reader), Some(writer));
            self.buffers.insert(buffer)
        };
        let (to_server, to_client) = (flow(client, server), flow(server, client));
        let connected = |receives, sends, peer| State::Connected {
            receives,
            sends,
            peer,
            may_receive: true,
            may_send: true,
        };
        let client_name = self.unix(client).map(|socket| socket.name.clone()).unwrap_or_default();
        if let Ok(socket) = self.unix_mut(client) {
            socket.state = connected(to_client, to_server, name.clone());
        }
        if let Ok(socket) = self.unix_mut(server) {
            socket.name = name;
            socket.state = connected(to_server, to_client, client_name);
        }
    }

    fn unix(&self, id: FileId) -> Result<&Socket> {
        match &self.files[id].kind {
            Kind::Unix(socket) => Ok(socket),
            _ => Err(Errno::ENOTSOCK),
        }
    }

    fn unix_mut(&mut self, id: FileId) -> Result<&mut Socket> {
        match &mut self.files[id].kind {
            Kind::Unix(socket) => Ok(socket),
            _ => Err(Errno::ENOTSOCK),
        }
    }

    /// Gives it a name. A path must have been made by the caller, who knows folders.
    pub(crate) fn bind_unix(&mut self, id: FileId, name: Vec<u8>) -> Result<()> {
        let socket = self.unix(id)?;
        if !socket.name.is_empty() {
            return Err(Errno::EINVAL);
        }
        let key = (socket.host, name.clone());
        if name.starts_with(&[0]) && self.unix.0.contains_key(&key) {
            return Err(Errno::EADDRINUSE);
        }
        self.unix.0.insert(key, id);
        self.unix_mut(id)?.name = name;
        Ok(())
    }

    pub(crate) fn listen_unix(&mut self, id: FileId, backlog: i32) -> Result<()> {
        let socket = self.unix_mut(id)?;
        let backlog = usize::try_from(backlog).unwrap_or(4096).min(4096);
        match &mut socket.state {
            State::Listening { backlog: before, .. } => *before = backlog,
            State::Idle if !socket.name.is_empty() => {
                socket.state = State::Listening { waiting: VecDeque::new(), backlog };
            }
            State::Datagrams { .. } => return Err(Errno::ENOTSUP),
            State::Idle | State::Connected { .. } => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    pub(crate) fn connect_unix(&mut self, id: FileId, name: &[u8], timing: Timing) -> Call<()> {
        let socket = self.unix(id)?;
        let host = socket.host;
        let found = self.unix.0.get(&(host, name.to_owned())).copied();
        match &socket.state {
            State::Connected { .. } => return Err(Errno::EISCONN.into()),
            State::Listening { .. } => return Err(Errno::EINVAL.into()),
            State::Datagrams { .. } => {
                let found = found.ok_or(Errno::ECONNREFUSED)?;
                if !matches!(self.unix(found)?.state, State::Datagrams { .. }) {
                    return Err(Errno::EPROTOTYPE.into());
                }
                if let State::Datagrams { peer, .. } = &mut self.unix_mut(id)?.state {
                    *peer = Some(name.to_owned());
                }
                return Ok(());
            }
            State::Idle => {}
        }
        let listener = found.ok_or(Errno::ECONNREFUSED)?;
        match &self.unix(listener)?.state {
            State::Listening { waiting, backlog } if waiting.len() > *backlog => {
                // It is told when there is room: the listener's file changes.
                return Err(match self.not_now(id, timing, "connect") {
                    super::Stop::Wait(wait) => super::Wait { on: super::On::File(listener), ..wait }.into(),
                    fail => fail,
                });
            }
            State::Listening { .. } => {}
            State::Datagrams { .. } => return Err(Errno::EPROTOTYPE.into()),
            State::Idle | State::Connected { .. } => return Err(Errno::ECONNREFUSED.into()),
        }
        let server = self.open_unix(host, true, false);
        self.join(id, server, name.to_owned());
        if let State::Listening { waiting, .. } = &mut self.unix_mut(listener)?.state {
            waiting.push_back(server);
        }
        self.notify(listener, IN);
        self.notify(id, OUT);
        Ok(())
    }

    pub(crate) fn accept_unix(&mut self, id: FileId, timing: Timing) -> Call<FileId> {
        let State::Listening { waiting, .. } = &mut self.unix_mut(id)?.state else {
            return Err(Errno::EINVAL.into());
        };
        match waiting.pop_front() {
            Some(server) => {
                self.notify(id, 0);
                Ok(server)
            }
            None => Err(self.not_now(id, timing, "accept")),
        }
    }

    /// Its own name, or its peer's; empty: none.
    pub(crate) fn unix_name(&self, id: FileId, of_peer: bool) -> Result<&[u8]> {
        let socket = self.unix(id)?;
        if !of_peer {
            return Ok(&socket.name);
        }
        match &socket.state {
            State::Connected { peer, .. } => Ok(peer),
            State::Datagrams { peer: Some(peer), .. } => Ok(peer),
            State::Datagrams { partner: Some(_), .. } => Ok(&[]),
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// Whether it carries datagrams rather than a stream.
    pub(crate) fn is_datagrams(&self, id: FileId) -> bool {
        matches!(self.unix(id), Ok(Socket { state: State::Datagrams { .. }, .. }))
    }

    pub(crate) fn receive_unix(
        &mut self,
        id: FileId,
        into: &mut [u8],
        peek: bool,
        timing: Timing,
    ) -> Call<usize> {
        match &self.unix(id)?.state {
            State::Connected { may_receive: false, .. } => Ok(0),
            State::Connected { receives, .. } => {
                let receives = *receives;
                self.read_buffer(id, receives, into, peek, timing)
            }
            State::Datagrams { .. } => {
                let datagram = self.receive_datagram(id, peek, timing)?;
                let count = datagram.bytes.len().min(into.len());
                into[..count].copy_from_slice(&datagram.bytes[..count]);
                Ok(count)
            }
            State::Idle => Err(Errno::EINVAL.into()),
            State::Listening { .. } => Err(Errno::EINVAL.into()),
        }
    }

    /// Takes one datagram, whole.
    pub(crate) fn receive_datagram(&mut self, id: FileId, peek: bool, timing: Timing) -> Call<Datagram> {
        let State::Datagrams { inbox, .. } = &mut self.unix_mut(id)?.state else {
            return Err(Errno::EINVAL.into());
        };
        let first = if peek { inbox.front().cloned() } else { inbox.pop_front() };
        match first {
            Some(datagram) => {
                self.notify(id, 0);
                Ok(datagram)
            }
            None => Err(self.not_now(id, timing, "receive")),
        }
    }

    pub(crate) fn send_unix(
        &mut self,
        id: FileId,
        bytes: &[u8],
        to: Option<&[u8]>,
        timing: Timing,
    ) -> Call<usize> {
        let socket = self.unix(id)?;
        match &socket.state {
            State::Connected { may_send: false, .. } => Err(Errno::EPIPE.into()),
            State::Connected { .. } if to.is_some() => Err(Errno::EISCONN.into()),
            State::Connected { sends, .. } => {
                let sends = *sends;
                self.write_buffer(id, sends, bytes, timing)
            }
            State::Idle | State::Listening { .. } => Err(Errno::ENOTCONN.into()),
            State::Datagrams { peer, partner, .. } => {
                let host = socket.host;
                let named = to.map(<[u8]>::to_owned).or_else(|| peer.clone());
                let target = match (named, partner) {
                    (Some(name), _) => self.unix.0.get(&(host, name)).copied().ok_or(Errno::ECONNREFUSED)?,
                    (None, Some(partner)) => *partner,
                    (None, None) => return Err(Errno::ENOTCONN.into()),
                };
                self.deliver(id, target, bytes, timing)
            }
        }
    }

    fn deliver(&mut self, from: FileId, to: FileId, bytes: &[u8], timing: Timing) -> Call<usize> {
        if bytes.len() > ROOM {
            return Err(Errno::EMSGSIZE.into());
        }
        let name = self.unix(from)?.name.clone();
        if self.files.get(to).is_none() {
            return Err(Errno::ECONNREFUSED.into());
        }
        let State::Datagrams { inbox, .. } = &mut self.unix_mut(to)?.state else {
            return Err(Errno::EPROTOTYPE.into());
        };
        if inbox.len() > DATAGRAMS_MAX {
            return Err(match self.not_now(from, timing, "send") {
                super::Stop::Wait(wait) => super::Wait { on: super::On::File(to), ..wait }.into(),
                fail => fail,
            });
        }
        inbox.push_back(Datagram { from: name, bytes: bytes.to_owned() });
        self.notify(to, IN);
        Ok(bytes.len())
    }

    pub(crate) fn shutdown_unix(&mut self, id: FileId, receive: bool, send: bool) -> Result<()> {
        let State::Connected { receives, sends, may_receive, may_send, .. } = &mut self.unix_mut(id)?.state
        else {
            return Err(Errno::ENOTCONN);
        };
        let (receives, sends) = (*receives, *sends);
        let closes_receive = receive && std::mem::replace(may_receive, false);
        let closes_send = send && std::mem::replace(may_send, false);
        if closes_send {
            self.close_writer(sends);
        }
        if closes_receive {
            self.close_reader(receives);
        }
        self.notify(id, IN | RDHUP);
        Ok(())
    }

    pub(super) fn unix_readiness(&self, socket: &Socket) -> u32 {
        match &socket.state {
            State::Idle => OUT | HUP,
            State::Listening { waiting, .. } => {
                if waiting.is_empty() {
                    0
                } else {
                    IN
                }
            }
            State::Connected { receives, sends, may_receive, may_send, .. } => {
                let flow = self.buffers.get(*receives).filter(|_| *may_receive);
                let has_bytes = flow.is_some_and(|flow| flow.length() > 0);
                let is_ended = flow.is_none_or(|flow| flow.writer.is_none());
                let out = self.buffers.get(*sends).filter(|_| *may_send);
                let is_deaf = out.is_none_or(|out| out.reader.is_none());
                let has_room = out.is_none_or(|out| out.reader.is_none() || out.has_room());
                (if has_bytes || is_ended { IN } else { 0 })
                    | (if is_ended { RDHUP } else { 0 })
                    | (if is_ended && is_deaf { HUP } else { 0 })
                    | (if has_room { OUT } else { 0 })
            }
            State::Datagrams { inbox, .. } => OUT | if inbox.is_empty() { 0 } else { IN },
        }
    }

    pub(super) fn close_unix(&mut self, socket: Socket) {
        let Socket { host, name, state } = socket;
        if !name.is_empty()
            && matches!(state, State::Listening { .. } | State::Datagrams { .. } | State::Idle)
        {
            self.unix.0.remove(&(host, name));
        }
        match state {
            State::Listening { waiting, .. } => {
                for file in waiting {
                    self.hold(file);
                    self.let_go(file);
                }
            }
            State::Connected { receives, sends, may_receive, may_send, .. } => {
                if may_send {
                    self.close_writer(sends);
                }
                if may_receive {
                    self.close_reader(receives);
                }
            }
            State::Idle | State::Datagrams { .. } => {}
        }
    }

    /// Bytes that wait to be read.
    pub(crate) fn unix_available(&self, id: FileId) -> usize {
        match self.unix(id).map(|socket| &socket.state) {
            Ok(State::Connected { receives, .. }) => self.buffers.get(*receives).map_or(0, Buffer::length),
            Ok(State::Datagrams { inbox, .. }) => inbox.front().map_or(0, |datagram| datagram.bytes.len()),
            _ => 0,
        }
    }
}
