//! Options of sockets, by level and name. What is not known is refused, so that callers do without.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::raw::c_void;

use super::super::tell;
use crate::errno::{Errno, Result};
use crate::kernel::{FileId, Kernel, Kind, Nanos, SECOND};
use crate::net::Opt;
use crate::switch::Context;

/// The option that a level and a name mean; `None`: one that changes nothing here.
fn option(level: i32, name: i32) -> Result<Option<Opt>> {
    use libc::{IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, SOL_SOCKET};
    Ok(Some(match (level, name) {
        (SOL_SOCKET, libc::SO_REUSEADDR) => Opt::ReuseAddr,
        (SOL_SOCKET, libc::SO_REUSEPORT) => Opt::ReusePort,
        (SOL_SOCKET, libc::SO_KEEPALIVE) => Opt::KeepAlive,
        (SOL_SOCKET, libc::SO_RCVBUF | libc::SO_RCVBUFFORCE) => Opt::ReceiveBuffer,
        (SOL_SOCKET, libc::SO_SNDBUF | libc::SO_SNDBUFFORCE) => Opt::SendBuffer,
        (SOL_SOCKET, libc::SO_BROADCAST) => Opt::Broadcast,
        (IPPROTO_TCP, libc::TCP_NODELAY) => Opt::NoDelay,
        (IPPROTO_TCP, libc::TCP_QUICKACK) => Opt::QuickAck,
        (IPPROTO_TCP, libc::TCP_KEEPIDLE) => Opt::KeepIdle,
        (IPPROTO_TCP, libc::TCP_KEEPINTVL) => Opt::KeepInterval,
        (IPPROTO_TCP, libc::TCP_KEEPCNT) => Opt::KeepCount,
        (IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => Opt::UserTimeout,
        (IPPROTO_IP, libc::IP_TTL) | (IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) => Opt::Hops,
        (IPPROTO_IP, libc::IP_TOS) | (IPPROTO_IPV6, libc::IPV6_TCLASS) => Opt::Tos,
        (IPPROTO_IP, libc::IP_RECVTOS) | (IPPROTO_IPV6, libc::IPV6_RECVTCLASS) => Opt::ReceiveTos,
        (IPPROTO_IP, libc::IP_PKTINFO) | (IPPROTO_IPV6, libc::IPV6_RECVPKTINFO) => Opt::PacketInfo,
        (IPPROTO_IP, libc::IP_MTU_DISCOVER) | (IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER) => Opt::MtuDiscover,
        (IPPROTO_IP, libc::IP_MULTICAST_LOOP) | (IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP) => {
            Opt::MulticastLoop
        }
        (IPPROTO_IP, libc::IP_MULTICAST_TTL) | (IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS) => {
            Opt::MulticastHops
        }
        (IPPROTO_IPV6, libc::IPV6_V6ONLY) => Opt::V6Only,
        // There is one network, one class of traffic and one way of congestion control.
        (SOL_SOCKET, libc::SO_PRIORITY | libc::SO_OOBINLINE | libc::SO_PASSCRED)
        | (IPPROTO_IP, libc::IP_MULTICAST_IF | libc::IP_MULTICAST_ALL | libc::IP_RECVERR)
        | (IPPROTO_IPV6, libc::IPV6_MULTICAST_IF | libc::IPV6_RECVERR)
        | (IPPROTO_TCP, libc::TCP_CORK | libc::TCP_DEFER_ACCEPT | libc::TCP_NOTSENT_LOWAT) => {
            return Ok(None);
        }
        // Segmentation offload among them: who is refused it sends one datagram at a time.
        _ => return Err(Errno::ENOPROTOOPT),
    }))
}

unsafe fn number(value: *const c_void, length: libc::socklen_t) -> Result<i32> {
    match length {
        4.. => Ok(value.cast::<i32>().read_unaligned()),
        // IP_MULTICAST_TTL and its like may be a byte.
        1..4 => Ok(i32::from(value.cast::<u8>().read())),
        0 => Err(Errno::EINVAL),
    }
}

/// The group of a membership request of either family.
unsafe fn group(level: i32, value: *const c_void, length: libc::socklen_t) -> Result<IpAddr> {
    match level {
        libc::IPPROTO_IP if length >= 8 => {
            Ok(Ipv4Addr::from(value.cast::<[u8; 4]>().read_unaligned()).into())
        }
        libc::IPPROTO_IPV6 if length >= 20 => {
            Ok(Ipv6Addr::from(value.cast::<[u8; 16]>().read_unaligned()).into())
        }
        _ => Err(Errno::EINVAL),
    }
}

pub(super) unsafe fn set_option(
    me: &'static Context,
    file: FileId,
    level: i32,
    name: i32,
    value: *const c_void,
    length: libc::socklen_t,
) -> Result<()> {
    if level == libc::SOL_SOCKET && matches!(name, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO) {
        if (length as usize) < size_of::<libc::timeval>() {
            return Err(Errno::EINVAL);
        }
        let time = value.cast::<libc::timeval>().read_unaligned();
        let (Ok(seconds), Ok(micros)) = (Nanos::try_from(time.tv_sec), Nanos::try_from(time.tv_usec)) else {
            return Err(Errno::EINVAL);
        };
        let within = seconds.saturating_mul(SECOND).saturating_add(micros * 1000);
        tell(me, |kernel, _| {
            kernel.set_patience(file, name == libc::SO_RCVTIMEO, (within > 0).then_some(within));
        });
        return Ok(());
    }
    if tell(me, |kernel, _| matches!(kernel.kind(file), Kind::Unix(_))) {
        return if level == libc::SOL_SOCKET { Ok(()) } else { Err(Errno::ENOTSUP) };
    }
    let joins = matches!(
        (level, name),
        (libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP) | (libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP)
    );
    let leaves = matches!(
        (level, name),
        (libc::IPPROTO_IP, libc::IP_DROP_MEMBERSHIP) | (libc::IPPROTO_IPV6, libc::IPV6_DROP_MEMBERSHIP)
    );
    if joins || leaves {
        let group = group(level, value, length)?;
        return tell(me, |kernel, _| {
            let socket = kernel.socket(file)?;
            if joins { kernel.net.join_group(socket, group) } else { kernel.net.leave_group(socket, group) }
        });
    }
    if (level, name) == (libc::SOL_SOCKET, libc::SO_LINGER) {
        if (length as usize) < size_of::<libc::linger>() {
            return Err(Errno::EINVAL);
        }
        let linger = value.cast::<libc::linger>().read_unaligned();
        let value = if linger.l_onoff == 0 { -1 } else { linger.l_linger };
        return tell(me, |kernel, _| {
            let socket = kernel.socket(file)?;
            kernel.set_option(socket, Opt::Linger, value)
        });
    }
    let number = number(value, length);
    tell(me, |kernel, _| {
        let socket = kernel.socket(file)?;
        match option(level, name)? {
            Some(option) => kernel.set_option(socket, option, number?),
            None => Ok(()),
        }
    })
}

unsafe fn put_number(value: i32, into: *mut c_void, length: *mut libc::socklen_t) {
    let bytes = value.to_ne_bytes();
    let count = bytes.len().min(*length as usize);
    std::ptr::copy_nonoverlapping(bytes.as_ptr(), into.cast(), count);
    *length = libc::socklen_t::try_from(count).unwrap_or_default();
}

/// What an option is; [`None`]: it is no number.
fn number_of(kernel: &mut Kernel, file: FileId, level: i32, name: i32) -> Result<Option<i32>> {
    let socket = kernel.socket(file);
    let is_unix = matches!(kernel.kind(file), Kind::Unix(_));
    if !is_unix {
        socket?;
    }
    let is_datagrams = kernel.is_datagrams(file) || kernel.is_datagram_socket(file);
    let number = match (level, name) {
        (libc::SOL_SOCKET, libc::SO_ERROR) => {
            let error = socket.ok().and_then(|socket| kernel.net.take_error(socket));
            error.map_or(0, |errno| errno.0)
        }
        (libc::SOL_SOCKET, libc::SO_TYPE) if is_datagrams => libc::SOCK_DGRAM,
        (libc::SOL_SOCKET, libc::SO_TYPE) => libc::SOCK_STREAM,
        (libc::SOL_SOCKET, libc::SO_DOMAIN) => match socket {
            Err(_) => libc::AF_UNIX,
            Ok(socket) if kernel.net.local_addr(socket).is_ok_and(|own| own.is_ipv4()) => libc::AF_INET,
            Ok(_) => libc::AF_INET6,
        },
        (libc::SOL_SOCKET, libc::SO_PROTOCOL) if is_unix => 0,
        (libc::SOL_SOCKET, libc::SO_PROTOCOL) if is_datagrams => libc::IPPROTO_UDP,
        (libc::SOL_SOCKET, libc::SO_PROTOCOL) => libc::IPPROTO_TCP,
        (libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => {
            i32::from(socket.is_ok_and(|socket| kernel.net.is_listening(socket)))
        }
        (
            libc::SOL_SOCKET,
            libc::SO_LINGER
            | libc::SO_PEERCRED
            | libc::SO_BINDTODEVICE
            | libc::SO_RCVTIMEO
            | libc::SO_SNDTIMEO,
        ) => return Ok(None),
        _ if is_unix => 0,
        _ => match option(level, name)? {
            Some(option) => kernel.net.option(socket?, option)?,
            None => 0,
        },
    };
    Ok(Some(number))
}

pub(super) unsafe fn get_option(
    me: &'static Context,
    file: FileId,
    level: i32,
    name: i32,
    into: *mut c_void,
    length: *mut libc::socklen_t,
) -> Result<()> {
    if let Some(number) = tell(me, |kernel, _| number_of(kernel, file, level, name))? {
        put_number(number, into, length);
        return Ok(());
    }
    let bytes = match name {
        libc::SO_LINGER => {
            let seconds = tell(me, |kernel, _| {
                kernel.socket(file).and_then(|socket| kernel.net.option(socket, Opt::Linger))
            })?;
            let linger = libc::linger { l_onoff: i32::from(seconds >= 0), l_linger: seconds.max(0) };
            into.cast::<libc::linger>().write_unaligned(linger);
            size_of::<libc::linger>()
        }
        libc::SO_BINDTODEVICE => 0,
        libc::SO_PEERCRED => {
            let pid = tell(me, |kernel, _| kernel.unix_peer(file))?.number();
            into.cast::<libc::ucred>().write_unaligned(libc::ucred { pid, uid: 0, gid: 0 });
            size_of::<libc::ucred>()
        }
        _ => {
            let within = tell(me, |kernel, _| kernel.patience(file, name == libc::SO_RCVTIMEO)).unwrap_or(0);
            let time = libc::timeval {
                tv_sec: (within / SECOND).cast_signed(),
                tv_usec: (within % SECOND / 1000).cast_signed(),
            };
            into.cast::<libc::timeval>().write_unaligned(time);
            size_of::<libc::timeval>()
        }
    };
    *length = bytes as libc::socklen_t;
    Ok(())
}
