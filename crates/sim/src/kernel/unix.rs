//! Unix sockets: streams and datagrams between processes of one host.

use std::collections::{BTreeMap, VecDeque};

use super::buffer::{Buffer, BufferId};
use super::epoll::epoll_bits::{HUP, IN, OUT, RDHUP};
use super::file::{Caller, FileId, Kind, Timing};
use super::{Call, HostId, Kernel, On, Pid, Stop, Wait};
use crate::disk::Inode;
use crate::errno::{Errno, Result};

/// What one direction holds, as Linux has it by default.
const ROOM: usize = 212_992;
/// Datagrams that wait for one receiver, as Linux has it by default.
const DATAGRAMS_MAX: usize = 10;
/// Connections that wait at most, whatever is asked for: `net.core.somaxconn`.
const BACKLOG_MAX: usize = 4096;

/// Where a socket is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// By the node that its path made, wherever that was moved.
    Node(Inode),
    /// By a name in no folder, which begins with a zero byte.
    Abstract(Vec<u8>),
}

/// Sockets by their place.
#[derive(Debug, Default)]
pub(super) struct Names {
    sockets: BTreeMap<(HostId, Place), FileId>,
    /// Sockets so far.
    count: u64,
}

/// One socket.
#[derive(Debug)]
pub(crate) struct Socket {
    host: HostId,
    /// Unlike any other's, ever.
    serial: u64,
    owner: Pid,
    place: Option<Place>,
    /// As it was told; empty: it has none.
    name: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    Listening { waiting: VecDeque<FileId>, backlog: usize },
    Connected(Connected),
    Datagrams { inbox: VecDeque<Datagram>, peer: Option<(FileId, u64)> },
}

#[derive(Debug)]
struct Connected {
    receives: BufferId,
    sends: BufferId,
    /// Its peer's name, and who made that.
    peer: Vec<u8>,
    peer_owner: Pid,
    may_receive: bool,
    may_send: bool,
}

/// A datagram that was received.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    /// The sender's name; empty: it has none.
    pub(crate) from: Vec<u8>,
    pub(crate) bytes: Vec<u8>,
}

impl Kernel {
    /// A socket without a name.
    pub(crate) fn open_unix(&mut self, caller: Caller, is_stream: bool, is_nonblocking: bool) -> FileId {
        self.unix.count += 1;
        let datagrams = State::Datagrams { inbox: VecDeque::new(), peer: None };
        let socket = Socket {
            host: caller.host,
            serial: self.unix.count,
            owner: caller.process,
            place: None,
            name: Vec::new(),
            state: if is_stream { State::Idle } else { datagrams },
        };
        self.open_file(Kind::Unix(socket), is_nonblocking)
    }

    /// Two sockets that are each other's peer.
    pub(crate) fn open_unix_pair(
        &mut self,
        caller: Caller,
        is_stream: bool,
        is_nonblocking: bool,
    ) -> Result<(FileId, FileId)> {
        let left = self.open_unix(caller, is_stream, is_nonblocking);
        let right = self.open_unix(caller, is_stream, is_nonblocking);
        if is_stream {
            self.join(left, right)?;
        } else {
            self.set_peer(left, right)?;
            self.set_peer(right, left)?;
        }
        Ok((left, right))
    }

    fn set_peer(&mut self, id: FileId, to: FileId) -> Result<()> {
        let serial = self.unix(to)?.serial;
        match &mut self.unix_mut(id)?.state {
            State::Datagrams { peer, .. } => *peer = Some((to, serial)),
            _ => return Err(Errno::EPROTOTYPE),
        }
        Ok(())
    }

    /// Connects two stream sockets that are idle.
    fn join(&mut self, client: FileId, server: FileId) -> Result<()> {
        let mut flow = |writer, reader| {
            let mut buffer = Buffer::new(ROOM, 1);
            (buffer.reader, buffer.writer) = (Some(reader), Some(writer));
            self.buffers.insert(buffer)
        };
        let (to_server, to_client) = (flow(client, server), flow(server, client));
        for (one, other, receives, sends) in
            [(client, server, to_client, to_server), (server, client, to_server, to_client)]
        {
            let Socket { name, owner, .. } = self.unix(other)?;
            let (peer, peer_owner) = (name.clone(), *owner);
            let connected =
                Connected { receives, sends, peer, peer_owner, may_receive: true, may_send: true };
            self.unix_mut(one)?.state = State::Connected(connected);
        }
        Ok(())
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

    /// Gives it a place and a name. A node must have been made by the caller, who knows folders.
    pub(crate) fn bind_unix(&mut self, id: FileId, place: Place, name: Vec<u8>) -> Result<()> {
        let socket = self.unix(id)?;
        if socket.place.is_some() {
            return Err(Errno::EINVAL);
        }
        let host = socket.host;
        let key = (host, place.clone());
        if self.unix.sockets.contains_key(&key) {
            return Err(Errno::EADDRINUSE);
        }
        if let Place::Node(inode) = place {
            // Its number means no other node for as long as the socket is there.
            self.disk(host).hold(inode);
        }
        self.unix.sockets.insert(key, id);
        let socket = self.unix_mut(id)?;
        (socket.place, socket.name) = (Some(place), name);
        Ok(())
    }

    pub(crate) fn listen_unix(&mut self, id: FileId, backlog: i32) -> Result<()> {
        let socket = self.unix_mut(id)?;
        let backlog = usize::try_from(backlog).unwrap_or(BACKLOG_MAX).min(BACKLOG_MAX);
        match &mut socket.state {
            State::Listening { backlog: before, .. } => *before = backlog,
            State::Idle if socket.place.is_some() => {
                socket.state = State::Listening { waiting: VecDeque::new(), backlog };
            }
            State::Datagrams { .. } => return Err(Errno::ENOTSUP),
            State::Idle | State::Connected(_) => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn find_unix(&self, host: HostId, place: &Place) -> Result<FileId> {
        self.unix.sockets.get(&(host, place.clone())).copied().ok_or(Errno::ECONNREFUSED)
    }

    pub(crate) fn connect_unix(
        &mut self,
        caller: Caller,
        id: FileId,
        to: &Place,
        timing: Timing,
    ) -> Call<()> {
        let found = self.find_unix(caller.host, to)?;
        match &self.unix(id)?.state {
            State::Connected(_) => return Err(Errno::EISCONN.into()),
            State::Listening { .. } => return Err(Errno::EINVAL.into()),
            State::Datagrams { .. } => {
                let is_alike = matches!(self.unix(found)?.state, State::Datagrams { .. });
                return if is_alike { Ok(self.set_peer(id, found)?) } else { Err(Errno::EPROTOTYPE.into()) };
            }
            State::Idle => {}
        }
        match &self.unix(found)?.state {
            State::Listening { waiting, backlog } if waiting.len() > *backlog => {
                return Err(self.not_until(id, found, timing, "connect"));
            }
            State::Listening { .. } => {}
            State::Datagrams { .. } => return Err(Errno::EPROTOTYPE.into()),
            State::Idle | State::Connected(_) => return Err(Errno::ECONNREFUSED.into()),
        }
        let Socket { host, owner, name, .. } = self.unix(found)?;
        let (owner, name) = (Caller { process: *owner, host: *host, ..caller }, name.clone());
        let server = self.open_unix(owner, true, false);
        self.unix_mut(server)?.name = name;
        self.join(id, server)?;
        if let State::Listening { waiting, .. } = &mut self.unix_mut(found)?.state {
            waiting.push_back(server);
        }
        self.notify(found, IN);
        self.notify(id, OUT);
        Ok(())
    }

    /// As [`not_now`](Self::not_now), where another file decides.
    fn not_until(&self, id: FileId, other: FileId, timing: Timing, what: &'static str) -> Stop {
        match self.not_now(id, timing, what) {
            Stop::Wait(wait) => Wait { on: On::File(other), ..wait }.into(),
            fail @ Stop::Fail(_) => fail,
        }
    }

    pub(crate) fn accept_unix(&mut self, id: FileId, timing: Timing) -> Call<FileId> {
        let State::Listening { waiting, .. } = &mut self.unix_mut(id)?.state else {
            return Err(Errno::EINVAL.into());
        };
        match waiting.pop_front() {
            Some(server) => {
                // There is room for another.
                self.notify(id, 0);
                Ok(server)
            }
            None => Err(self.not_now(id, timing, "accept")),
        }
    }

    /// Its own name, or its peer's; empty: none.
    pub(crate) fn unix_name(&self, id: FileId, of_peer: bool) -> Result<Vec<u8>> {
        let socket = self.unix(id)?;
        if !of_peer {
            return Ok(socket.name.clone());
        }
        match &socket.state {
            State::Connected(Connected { peer, .. }) => Ok(peer.clone()),
            State::Datagrams { peer: Some((peer, serial)), .. } => {
                let peer = self.files.get(*peer).and_then(|file| match &file.kind {
                    Kind::Unix(peer) if peer.serial == *serial => Some(peer.name.clone()),
                    _ => None,
                });
                Ok(peer.unwrap_or_default())
            }
            _ => Err(Errno::ENOTCONN),
        }
    }

    /// Who made its peer.
    pub(crate) fn unix_peer(&self, id: FileId) -> Result<Pid> {
        match &self.unix(id)?.state {
            State::Connected(Connected { peer_owner, .. }) => Ok(*peer_owner),
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
            State::Connected(Connected { may_receive: false, .. }) => Ok(0),
            State::Connected(Connected { receives, .. }) => {
                let receives = *receives;
                self.read_buffer(id, receives, into, peek, timing)
            }
            State::Datagrams { .. } => {
                let datagram = self.receive_datagram(id, peek, timing)?;
                let count = datagram.bytes.len().min(into.len());
                into[..count].copy_from_slice(&datagram.bytes[..count]);
                Ok(count)
            }
            State::Idle | State::Listening { .. } => Err(Errno::EINVAL.into()),
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
                // There is room for another.
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
        to: Option<&Place>,
        timing: Timing,
    ) -> Call<usize> {
        let socket = self.unix(id)?;
        match &socket.state {
            State::Connected(Connected { may_send: false, .. }) => Err(Errno::EPIPE.into()),
            State::Connected(_) if to.is_some() => Err(Errno::EISCONN.into()),
            State::Connected(Connected { sends, .. }) => {
                let sends = *sends;
                self.write_buffer(id, sends, bytes, timing)
            }
            State::Idle | State::Listening { .. } => Err(Errno::ENOTCONN.into()),
            State::Datagrams { peer, .. } => {
                let (target, serial) = match (to, peer) {
                    (Some(place), _) => (self.find_unix(socket.host, place)?, None),
                    (None, Some((peer, serial))) => (*peer, Some(*serial)),
                    (None, None) => return Err(Errno::ENOTCONN.into()),
                };
                self.deliver(id, target, serial, bytes, timing)
            }
        }
    }

    fn deliver(
        &mut self,
        from: FileId,
        to: FileId,
        serial: Option<u64>,
        bytes: &[u8],
        timing: Timing,
    ) -> Call<usize> {
        if bytes.len() > ROOM {
            return Err(Errno::EMSGSIZE.into());
        }
        let name = self.unix(from)?.name.clone();
        let Some(Kind::Unix(receiver)) = self.files.get_mut(to).map(|file| &mut file.kind) else {
            return Err(Errno::ECONNREFUSED.into());
        };
        if serial.is_some_and(|serial| serial != receiver.serial) {
            return Err(Errno::ECONNREFUSED.into());
        }
        let State::Datagrams { inbox, .. } = &mut receiver.state else {
            return Err(Errno::EPROTOTYPE.into());
        };
        if inbox.len() > DATAGRAMS_MAX {
            return Err(self.not_until(from, to, timing, "send"));
        }
        inbox.push_back(Datagram { from: name, bytes: bytes.to_owned() });
        self.notify(to, IN);
        Ok(bytes.len())
    }

    pub(crate) fn shutdown_unix(&mut self, id: FileId, receive: bool, send: bool) -> Result<()> {
        let State::Connected(connected) = &mut self.unix_mut(id)?.state else { return Err(Errno::ENOTCONN) };
        let (receives, sends) = (connected.receives, connected.sends);
        let closes_receive = receive && std::mem::replace(&mut connected.may_receive, false);
        let closes_send = send && std::mem::replace(&mut connected.may_send, false);
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
            State::Connected(connected) => self.connected_readiness(connected),
            State::Datagrams { inbox, .. } => OUT | if inbox.is_empty() { 0 } else { IN },
        }
    }

    fn connected_readiness(&self, connected: &Connected) -> u32 {
        let flow = self.buffers.get(connected.receives).filter(|_| connected.may_receive);
        let has_bytes = flow.is_some_and(|flow| flow.length() > 0);
        let is_ended = flow.is_none_or(|flow| flow.writer.is_none());
        let out = self.buffers.get(connected.sends).filter(|_| connected.may_send);
        let is_deaf = out.is_none_or(|out| out.reader.is_none());
        let has_room = is_deaf || out.is_some_and(Buffer::has_room);
        (if has_bytes || is_ended { IN } else { 0 })
            | (if is_ended { RDHUP } else { 0 })
            | (if is_ended && is_deaf { HUP } else { 0 })
            | (if has_room { OUT } else { 0 })
    }

    pub(super) fn close_unix(&mut self, socket: Socket) {
        let Socket { host, place, state, .. } = socket;
        if let Some(place) = place {
            if let Place::Node(inode) = place {
                self.disk(host).close(inode);
            }
            self.unix.sockets.remove(&(host, place));
        }
        match state {
            State::Listening { waiting, .. } => {
                for file in waiting {
                    self.hold(file);
                    self.let_go(file);
                }
            }
            State::Connected(Connected { receives, sends, may_receive, may_send, .. }) => {
                // What nobody has read is a reset to who wrote it.
                let is_unread = may_receive && self.buffers[receives].length() > 0;
                if may_send {
                    self.buffers[sends].is_reset = is_unread;
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
            Ok(State::Connected(connected)) => self.buffers.get(connected.receives).map_or(0, Buffer::length),
            Ok(State::Datagrams { inbox, .. }) => inbox.front().map_or(0, |datagram| datagram.bytes.len()),
            _ => 0,
        }
    }
}
