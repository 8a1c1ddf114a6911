//! Sockets: of the network, IPv4 and IPv6, TCP and UDP; and unix sockets within a host. Raw and packet sockets, netlink and
//! passing descriptors are refused. Of control messages what tells of a datagram is given: its destination, its type of
//! service, its hops; segmentation offload is refused, so that callers send one datagram at a time.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

mod options;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::raw::c_void;

use self::options::{get_option, set_option};
use super::files::{bytes_in, gather, scatter, write_from};
use super::{ask, define, fail, int, new_fd, simulated, size, tell, zero};
use crate::disk;
use crate::errno::{Errno, Result};
use crate::kernel::{Caller, FileId, Kernel, Kind, Place, Stop, Timing};
use crate::net::{self, Family, Opt, Received, Shutdown};
use crate::switch::Context;

/// An address of either kind.
enum Address {
    Net(SocketAddr),
    Unix(Vec<u8>),
    /// AF_UNSPEC: a datagram socket forgets its peer.
    None,
}

unsafe fn address(from: *const libc::sockaddr, length: libc::socklen_t) -> Result<Address> {
    let length = length as usize;
    if from.is_null() || length < size_of::<libc::sa_family_t>() {
        return Err(Errno::EINVAL);
    }
    match i32::from((*from).sa_family) {
        libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => {
            let from = from.cast::<libc::sockaddr_in>().read_unaligned();
            let ip = Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr));
            Ok(Address::Net(SocketAddrV4::new(ip, u16::from_be(from.sin_port)).into()))
        }
        libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() - 4 => {
            let from = from.cast::<libc::sockaddr_in6>().read_unaligned();
            let ip = Ipv6Addr::from(from.sin6_addr.s6_addr);
            Ok(Address::Net(SocketAddrV6::new(ip, u16::from_be(from.sin6_port), 0, 0).into()))
        }
        libc::AF_UNIX => {
            let name = bytes_in(from.cast_mut().cast::<u8>().add(2), length - 2);
            let name = match name {
                [0, ..] | [] => &*name,
                _ => name.split(|byte| *byte == 0).next().unwrap_or_default(),
            };
            Ok(Address::Unix(name.to_vec()))
        }
        libc::AF_UNSPEC => Ok(Address::None),
        libc::AF_INET | libc::AF_INET6 => Err(Errno::EINVAL),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// The bytes of an address, as C has them; empty: there is none.
#[derive(Default)]
struct Encoded {
    /// Of the network.
    bytes: [u8; size_of::<libc::sockaddr_in6>()],
    length: usize,
    unix: Vec<u8>,
}

impl std::ops::Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.unix.is_empty() { &self.bytes[..self.length] } else { &self.unix }
    }
}

fn encoded(address: SocketAddr) -> Encoded {
    let mut bytes = [0; size_of::<libc::sockaddr_in6>()];
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    let (family, length) = match address {
        SocketAddr::V4(address) => {
            bytes[4..8].copy_from_slice(&address.ip().octets());
            (libc::AF_INET, size_of::<libc::sockaddr_in>())
        }
        SocketAddr::V6(address) => {
            bytes[8..24].copy_from_slice(&address.ip().octets());
            (libc::AF_INET6, size_of::<libc::sockaddr_in6>())
        }
    };
    bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    Encoded { bytes, length, unix: Vec::new() }
}

fn encoded_unix(name: &[u8]) -> Encoded {
    let mut bytes = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(name);
    if !name.is_empty() && name[0] != 0 {
        bytes.push(0);
    }
    Encoded { unix: bytes, ..Encoded::default() }
}

/// Copies what fits, and tells the whole length.
unsafe fn put_address(bytes: &[u8], into: *mut libc::sockaddr, length: *mut libc::socklen_t) {
    if into.is_null() || length.is_null() {
        return;
    }
    let count = bytes.len().min(*length as usize);
    std::ptr::copy_nonoverlapping(bytes.as_ptr(), into.cast(), count);
    *length = libc::socklen_t::try_from(bytes.len()).unwrap_or_default();
}

fn open_socket(me: &'static Context, domain: i32, kind: i32) -> Result<i32> {
    let is_nonblocking = kind & libc::SOCK_NONBLOCK != 0;
    let kind = match kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) {
        libc::SOCK_STREAM => net::Kind::Stream,
        libc::SOCK_DGRAM => net::Kind::Datagram,
        libc::SOCK_RAW if domain != libc::AF_UNIX => return Err(Errno::EPERM),
        _ => return Err(Errno::EPROTONOSUPPORT),
    };
    tell(me, |kernel, caller| {
        let file = match domain {
            libc::AF_INET => kernel.open_socket(caller, Family::V4, kind, is_nonblocking),
            libc::AF_INET6 => kernel.open_socket(caller, Family::V6, kind, is_nonblocking),
            libc::AF_UNIX => kernel.open_unix(caller, kind == net::Kind::Stream, is_nonblocking),
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        new_fd(kernel, caller, file)
    })
}

unsafe fn open_pair(me: &'static Context, domain: i32, kind: i32, into: *mut i32) -> Result<()> {
    if domain != libc::AF_UNIX {
        return Err(Errno::EAFNOSUPPORT);
    }
    let is_nonblocking = kind & libc::SOCK_NONBLOCK != 0;
    let is_stream = match kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) {
        libc::SOCK_STREAM => true,
        libc::SOCK_DGRAM => false,
        _ => return Err(Errno::EPROTONOSUPPORT),
    };
    let [left, right] = tell(me, |kernel, caller| {
        let (left, right) = kernel.open_unix_pair(caller, is_stream, is_nonblocking)?;
        Ok([new_fd(kernel, caller, left)?, new_fd(kernel, caller, right)?])
    })?;
    into.write(left);
    into.add(1).write(right);
    Ok(())
}

unsafe fn bind_to(
    me: &'static Context,
    file: FileId,
    at: *const libc::sockaddr,
    length: libc::socklen_t,
) -> Result<()> {
    let at = address(at, length)?;
    tell(me, |kernel, caller| match (at, kernel.socket(file)) {
        (Address::Net(at), Ok(socket)) => kernel.net.bind(socket, at),
        (Address::Unix(name), Err(_)) => bind_unix(kernel, caller, file, name),
        (Address::None, _) => Err(Errno::EINVAL),
        (Address::Net(_), Err(_)) => Err(Errno::EINVAL),
        (Address::Unix(_), Ok(_)) => Err(Errno::EAFNOSUPPORT),
    })
}

/// A path becomes a name in its folder, which stays until it is removed.
fn bind_unix(kernel: &mut Kernel, caller: Caller, file: FileId, name: Vec<u8>) -> Result<()> {
    if name.is_empty() {
        return Err(Errno::EINVAL);
    }
    if name[0] == 0 {
        return kernel.bind_unix(file, Place::Abstract(name.clone()), name);
    }
    let at = kernel.start_of(caller, None)?;
    let (disk, now) = kernel.own_disk(caller);
    let inode = match disk.make_node(now, at, &name, disk::Kind::Socket, 0o755) {
        Err(Errno::EEXIST) => return Err(Errno::EADDRINUSE),
        made => made?,
    };
    kernel.bind_unix(file, Place::Node(inode), name)
}

/// The place that a unix socket's name means.
fn known_unix(kernel: &mut Kernel, caller: Caller, name: &[u8]) -> Result<Place> {
    if name.is_empty() {
        return Err(Errno::EINVAL);
    }
    if name[0] == 0 {
        return Ok(Place::Abstract(name.to_vec()));
    }
    let at = kernel.start_of(caller, None)?;
    let (disk, _) = kernel.own_disk(caller);
    let inode = disk.resolve(at, name, true)?;
    if disk.stat(inode).kind != disk::Kind::Socket {
        return Err(Errno::ECONNREFUSED);
    }
    Ok(Place::Node(inode))
}

unsafe fn connect_to(
    me: &'static Context,
    file: FileId,
    to: *const libc::sockaddr,
    length: libc::socklen_t,
) -> Result<()> {
    let to = address(to, length)?;
    let timing = sending(me, file, 0);
    match to {
        Address::Net(to) => {
            let mut has_begun = false;
            ask(me, |kernel, _| kernel.connect(file, to, &mut has_begun, timing))
        }
        Address::Unix(name) => {
            let place = tell(me, |kernel, caller| known_unix(kernel, caller, &name))?;
            ask(me, |kernel, caller| kernel.connect_unix(caller, file, &place, timing))
        }
        Address::None => tell(me, |kernel, _| {
            let socket = kernel.socket(file)?;
            kernel.net.disconnect(socket)
        }),
    }
}

fn sending(me: &'static Context, file: FileId, flags: i32) -> Timing {
    let is_nonblocking = flags & libc::MSG_DONTWAIT != 0;
    Timing { is_nonblocking, until: tell(me, |kernel, _| kernel.send_until(file)) }
}

fn receiving(me: &'static Context, file: FileId, flags: i32) -> Timing {
    let is_nonblocking = flags & libc::MSG_DONTWAIT != 0;
    Timing { is_nonblocking, until: tell(me, |kernel, _| kernel.receive_until(file)) }
}

unsafe fn accept_one(
    me: &'static Context,
    file: FileId,
    from: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
    flags: i32,
) -> Result<i32> {
    let is_nonblocking = flags & libc::SOCK_NONBLOCK != 0;
    let timing = receiving(me, file, 0);
    let is_unix = tell(me, |kernel, _| matches!(kernel.kind(file), Kind::Unix(_)));
    if is_unix {
        let accepted = ask(me, |kernel, _| kernel.accept_unix(file, timing))?;
        let (fd, name) = tell(me, |kernel, caller| {
            kernel.set_nonblocking(accepted, is_nonblocking);
            let name = kernel.unix_name(accepted, true).unwrap_or_default();
            (new_fd(kernel, caller, accepted), name)
        });
        put_address(&encoded_unix(&name), from, length);
        return fd;
    }
    let (accepted, peer) = ask(me, |kernel, _| kernel.accept(file, is_nonblocking, timing))?;
    put_address(&encoded(peer), from, length);
    tell(me, |kernel, caller| new_fd(kernel, caller, accepted))
}

/// Who a message is for.
enum To {
    Peer,
    Net(SocketAddr),
    Unix(Vec<u8>),
}

unsafe fn destination(to: *const libc::sockaddr, length: libc::socklen_t) -> Result<To> {
    if to.is_null() || length == 0 {
        return Ok(To::Peer);
    }
    Ok(match address(to, length)? {
        Address::Net(address) => To::Net(address),
        Address::Unix(name) => To::Unix(name),
        Address::None => return Err(Errno::EINVAL),
    })
}

fn send_bytes(me: &'static Context, file: FileId, bytes: &[u8], flags: i32, to: &To) -> Result<usize> {
    if flags & libc::MSG_DONTWAIT != 0 {
        let timing = Timing { is_nonblocking: true, until: None };
        return ask(me, |kernel, caller| send_once(kernel, caller, file, bytes, to, timing));
    }
    write_from(me, file, bytes, |kernel, caller, bytes, timing| {
        send_once(kernel, caller, file, bytes, to, timing)
    })
}

fn send_once(
    kernel: &mut Kernel,
    caller: Caller,
    file: FileId,
    bytes: &[u8],
    to: &To,
    timing: Timing,
) -> Result<usize, Stop> {
    match (kernel.kind(file), to) {
        (Kind::Socket(socket), To::Peer) => {
            let socket = *socket;
            kernel.send(file, socket, bytes, None, timing)
        }
        (Kind::Socket(socket), To::Net(to)) => {
            let socket = *socket;
            kernel.send(file, socket, bytes, Some(*to), timing)
        }
        (Kind::Unix(_), To::Peer) => kernel.send_unix(file, bytes, None, timing),
        (Kind::Unix(_), To::Unix(name)) => {
            let place = known_unix(kernel, caller, name)?;
            kernel.send_unix(file, bytes, Some(&place), timing)
        }
        (Kind::Socket(_) | Kind::Unix(_), _) => Err(Errno::EAFNOSUPPORT.into()),
        _ => Err(Errno::ENOTSOCK.into()),
    }
}

/// A message that was received: how it came, and from whom.
struct Message {
    /// Bytes that were copied.
    bytes: usize,
    /// Bytes that it has.
    length: usize,
    /// As C has it; empty: it has none.
    from: Encoded,
    details: Option<Received>,
}

fn receive_bytes(me: &'static Context, file: FileId, into: &mut [u8], flags: i32) -> Result<Message> {
    let timing = receiving(me, file, flags);
    let peek = flags & libc::MSG_PEEK != 0;
    let waits_for_all = flags & libc::MSG_WAITALL != 0 && !peek;
    let message = ask(me, |kernel, _| match kernel.kind(file) {
        Kind::Socket(socket) => {
            let socket = *socket;
            let received = kernel.receive(file, socket, into, peek, timing)?;
            let from = received.from.map(encoded).unwrap_or_default();
            Ok(Message { bytes: received.bytes, length: received.length, from, details: Some(received) })
        }
        Kind::Unix(_) if kernel.is_datagrams(file) => {
            let datagram = kernel.receive_datagram(file, peek, timing)?;
            let bytes = datagram.bytes.len().min(into.len());
            into[..bytes].copy_from_slice(&datagram.bytes[..bytes]);
            let from = encoded_unix(&datagram.from);
            Ok(Message { bytes, length: datagram.bytes.len(), from, details: None })
        }
        Kind::Unix(_) => {
            let bytes = kernel.receive_unix(file, into, peek, timing)?;
            Ok(Message { bytes, length: bytes, from: Encoded::default(), details: None })
        }
        _ => Err(Errno::ENOTSOCK.into()),
    })?;
    if !waits_for_all || message.bytes == 0 || message.bytes == into.len() {
        return Ok(message);
    }
    if !tell(me, |kernel, _| kernel.writes_all(file)) {
        return Ok(message);
    }
    let rest = receive_bytes(me, file, &mut into[message.bytes..], flags);
    let more = rest.map_or(0, |rest| rest.bytes);
    Ok(Message { bytes: message.bytes + more, length: message.length + more, ..message })
}

unsafe fn receive_from(
    me: &'static Context,
    file: FileId,
    into: &mut [u8],
    flags: i32,
    from: *mut libc::sockaddr,
    length: *mut libc::socklen_t,
) -> Result<usize> {
    let message = receive_bytes(me, file, into, flags)?;
    if !length.is_null() && message.from.is_empty() {
        *length = 0;
    }
    if !message.from.is_empty() {
        put_address(&message.from, from, length);
    }
    Ok(if flags & libc::MSG_TRUNC != 0 { message.length } else { message.bytes })
}

unsafe fn send_message(
    me: &'static Context,
    file: FileId,
    message: &libc::msghdr,
    flags: i32,
) -> Result<usize> {
    let to = destination(message.msg_name.cast(), message.msg_namelen)?;
    let parts = std::slice::from_raw_parts(message.msg_iov, message.msg_iovlen);
    match parts {
        [part] => send_bytes(me, file, bytes_in(part.iov_base.cast(), part.iov_len), flags, &to),
        parts => send_bytes(me, file, &gather(parts), flags, &to),
    }
}

unsafe fn receive_message(
    me: &'static Context,
    file: FileId,
    message: *mut libc::msghdr,
    flags: i32,
) -> Result<usize> {
    let header = &mut *message;
    let parts = std::slice::from_raw_parts(header.msg_iov, header.msg_iovlen);
    let received = match parts {
        [part] => receive_bytes(me, file, bytes_in(part.iov_base.cast(), part.iov_len), flags)?,
        parts => {
            let mut bytes = vec![0; parts.iter().map(|part| part.iov_len).sum()];
            let received = receive_bytes(me, file, &mut bytes, flags)?;
            scatter(&bytes[..received.bytes], parts);
            received
        }
    };
    header.msg_flags = 0;
    if received.length > received.bytes {
        header.msg_flags |= libc::MSG_TRUNC;
    }
    if header.msg_name.is_null() || received.from.is_empty() {
        header.msg_namelen = 0;
    } else {
        put_address(&received.from, header.msg_name.cast(), &mut header.msg_namelen);
    }
    put_details(me, file, header, received.details.as_ref());
    Ok(if flags & libc::MSG_TRUNC != 0 { received.length } else { received.bytes })
}

/// Control messages that tell of a datagram, as far as they were asked for and fit.
unsafe fn put_details(
    me: &'static Context,
    file: FileId,
    header: &mut libc::msghdr,
    details: Option<&Received>,
) {
    let room = header.msg_controllen;
    header.msg_controllen = 0;
    let Some(Received { to: Some(to), tos, .. }) = details else { return };
    let (wants_tos, wants_info, is_v4) = tell(me, |kernel, _| {
        let Ok(socket) = kernel.socket(file) else { return (false, false, true) };
        let option = |option| kernel.net.option(socket, option).is_ok_and(|value| value != 0);
        let is_v4 = kernel.net.local_addr(socket).is_ok_and(|own| own.is_ipv4());
        (option(Opt::ReceiveTos), option(Opt::PacketInfo), is_v4)
    });
    let mut control = Vec::new();
    if wants_tos {
        let tos = i32::from(*tos);
        if is_v4 {
            push_control(&mut control, libc::IPPROTO_IP, libc::IP_TOS, &tos.to_ne_bytes()[..1]);
        } else {
            push_control(&mut control, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &tos.to_ne_bytes());
        }
    }
    if wants_info {
        match to.ip() {
            IpAddr::V4(ip) if is_v4 => {
                // in_pktinfo: interface, local address, destination.
                let info = [&1u32.to_ne_bytes()[..], &ip.octets(), &ip.octets()].concat();
                push_control(&mut control, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            ip => {
                let ip = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                let info = [&ip.octets()[..], &1u32.to_ne_bytes()].concat();
                push_control(&mut control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }
    if control.len() > room {
        header.msg_flags |= libc::MSG_CTRUNC;
        return;
    }
    std::ptr::copy_nonoverlapping(control.as_ptr(), header.msg_control.cast(), control.len());
    header.msg_controllen = control.len();
}

/// Appends a control message: length, level, kind, data, padded to eight bytes.
fn push_control(control: &mut Vec<u8>, level: i32, kind: i32, data: &[u8]) {
    control.extend_from_slice(&(16 + data.len()).to_ne_bytes());
    control.extend_from_slice(&level.to_ne_bytes());
    control.extend_from_slice(&kind.to_ne_bytes());
    control.extend_from_slice(data);
    control.resize(control.len().next_multiple_of(8), 0);
}

fn name_of(me: &'static Context, file: FileId, of_peer: bool) -> Result<Encoded> {
    tell(me, |kernel, _| match kernel.socket(file) {
        Ok(socket) if of_peer => kernel.net.peer_addr(socket).map(encoded),
        Ok(socket) => kernel.net.local_addr(socket).map(encoded),
        Err(_) => kernel.unix_name(file, of_peer).map(|name| encoded_unix(&name)),
    })
}

define! {
    /// A socket of the network or of the host.
    fn socket(domain: i32, kind: i32, _protocol: i32) -> i32 |me, real| { int(open_socket(me, domain, kind)) }

    /// Two unix sockets that are each other's peer.
    fn socketpair(domain: i32, kind: i32, _protocol: i32, into: *mut i32) -> i32 |me, real| {
        zero(open_pair(me, domain, kind, into))
    }

    /// Gives a socket an address or a name.
    fn bind(fd: i32, at: *const libc::sockaddr, length: libc::socklen_t) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(bind_to(me, file, at, length))
    }

    /// Lets a socket be connected to.
    fn listen(fd: i32, backlog: i32) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(tell(me, |kernel, _| match kernel.socket(file) {
            Ok(socket) => kernel.net.listen(socket, backlog),
            Err(_) => kernel.listen_unix(file, backlog),
        }))
    }

    /// Connects, in virtual time.
    fn connect(fd: i32, to: *const libc::sockaddr, length: libc::socklen_t) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(connect_to(me, file, to, length))
    }

    /// The next connection.
    fn accept(fd: i32, from: *mut libc::sockaddr, length: *mut libc::socklen_t) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        int(accept_one(me, file, from, length, 0))
    }

    /// The next connection.
    fn accept4(
        fd: i32,
        from: *mut libc::sockaddr,
        length: *mut libc::socklen_t,
        flags: i32,
    ) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        int(accept_one(me, file, from, length, flags))
    }

    /// Its own address.
    fn getsockname(fd: i32, into: *mut libc::sockaddr, length: *mut libc::socklen_t) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(name_of(me, file, false).map(|name| put_address(&name, into, length)))
    }

    /// Its peer's address.
    fn getpeername(fd: i32, into: *mut libc::sockaddr, length: *mut libc::socklen_t) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(name_of(me, file, true).map(|name| put_address(&name, into, length)))
    }

    /// Ends one direction or both.
    fn shutdown(fd: i32, how: i32) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        let (receive, send, both) = match how {
            libc::SHUT_RD => (true, false, Shutdown::Read),
            libc::SHUT_WR => (false, true, Shutdown::Write),
            libc::SHUT_RDWR => (true, true, Shutdown::Both),
            _ => return fail(Errno::EINVAL),
        };
        zero(tell(me, |kernel, _| match kernel.socket(file) {
            Ok(socket) => kernel.shutdown_socket(socket, both),
            Err(_) => kernel.shutdown_unix(file, receive, send),
        }))
    }

    /// Sends.
    fn send(fd: i32, from: *const u8, count: usize, flags: i32) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(send_bytes(me, file, bytes_in(from.cast_mut(), count), flags, &To::Peer))
    }

    /// Sends to somebody.
    fn sendto(
        fd: i32,
        from: *const u8,
        count: usize,
        flags: i32,
        to: *const libc::sockaddr,
        length: libc::socklen_t,
    ) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        let sent = destination(to, length)
            .and_then(|to| send_bytes(me, file, bytes_in(from.cast_mut(), count), flags, &to));
        size(sent)
    }

    /// Sends several parts as one. Its control messages change nothing.
    fn sendmsg(fd: i32, message: *const libc::msghdr, flags: i32) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(send_message(me, file, &*message, flags))
    }

    /// Sends several messages.
    fn sendmmsg(fd: i32, messages: *mut libc::mmsghdr, count: u32, flags: i32) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        let mut done = 0;
        while done < count {
            let message = &mut *messages.add(done as usize);
            match send_message(me, file, &message.msg_hdr, flags) {
                Ok(sent) => message.msg_len = u32::try_from(sent).unwrap_or(u32::MAX),
                Err(errno) if done == 0 => return fail(errno),
                Err(_) => break,
            }
            done += 1;
        }
        done.cast_signed()
    }

    /// Receives.
    fn recv(fd: i32, into: *mut u8, count: usize, flags: i32) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(receive_from(me, file, bytes_in(into, count), flags, std::ptr::null_mut(), std::ptr::null_mut()))
    }

    /// Receives, and tells from whom.
    fn recvfrom(
        fd: i32,
        into: *mut u8,
        count: usize,
        flags: i32,
        from: *mut libc::sockaddr,
        length: *mut libc::socklen_t,
    ) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(receive_from(me, file, bytes_in(into, count), flags, from, length))
    }

    /// Receives into several parts, and tells about it.
    fn recvmsg(fd: i32, message: *mut libc::msghdr, flags: i32) -> isize |me, real| {
        let file = simulated!(me, fd, real);
        size(receive_message(me, file, message, flags))
    }

    /// Receives several messages: waits for the first one only.
    fn recvmmsg(
        fd: i32,
        messages: *mut libc::mmsghdr,
        count: u32,
        flags: i32,
        _time: *mut libc::timespec,
    ) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        let mut done = 0;
        while done < count {
            let message = &mut *messages.add(done as usize);
            let flags = if done == 0 { flags } else { flags | libc::MSG_DONTWAIT };
            match receive_message(me, file, &mut message.msg_hdr, flags & !libc::MSG_WAITFORONE) {
                Ok(received) => message.msg_len = u32::try_from(received).unwrap_or(u32::MAX),
                Err(errno) if done == 0 => return fail(errno),
                Err(_) => break,
            }
            done += 1;
        }
        done.cast_signed()
    }

    /// Options; what is not known is refused.
    fn setsockopt(
        fd: i32,
        level: i32,
        name: i32,
        value: *const c_void,
        length: libc::socklen_t,
    ) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(set_option(me, file, level, name, value, length))
    }

    /// Options; what is not known is refused.
    fn getsockopt(
        fd: i32,
        level: i32,
        name: i32,
        into: *mut c_void,
        length: *mut libc::socklen_t,
    ) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        zero(get_option(me, file, level, name, into, length))
    }
}
