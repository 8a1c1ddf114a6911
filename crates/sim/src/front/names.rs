//! Names of hosts. All hosts know each other's; nobody else's are known.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::raw::c_char;

use super::{define, tell};
use crate::kernel::{CONTROL, Caller, Kernel};
use crate::switch::Context;

/// One answer and its address, in one piece, so that what frees one frees both.
#[repr(C)]
struct Answer {
    info: libc::addrinfo,
    address: libc::sockaddr_storage,
}

fn resolve(kernel: &Kernel, caller: Caller, name: &str, is_passive: bool) -> Option<Vec<IpAddr>> {
    if name.is_empty() {
        return Some(if is_passive {
            vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
        } else {
            vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]
        });
    }
    if let Some((address, _)) = numeric(name) {
        return Some(vec![address]);
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name == "localhost" {
        return Some(vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]);
    }
    // The test itself has no host, and reaches none but through agents.
    if caller.process == CONTROL {
        return None;
    }
    // IPv6 first, as the C library sorts them on a host that has both (RFC 6724).
    kernel.named(&name).map(|[four, six]| vec![six, four])
}

/// An address in figures, with the number of the interface that it names: `ff02::1%eth0`.
fn numeric(name: &str) -> Option<(IpAddr, u32)> {
    let Some((address, interface)) = name.split_once('%') else { return Some((name.parse().ok()?, 0)) };
    let number = match interface {
        "lo" => 1,
        "eth0" => 2,
        number => number.parse().ok()?,
    };
    Some((address.parse::<Ipv6Addr>().ok()?.into(), number))
}

/// The port of a service: a number, or one of the names that programs use without a list of them.
fn port(service: &str) -> Option<u16> {
    match service {
        "" => Some(0),
        "http" => Some(80),
        "https" => Some(443),
        "domain" => Some(53),
        number => number.parse().ok(),
    }
}

unsafe fn text<'t>(text: *const c_char) -> &'t str {
    if text.is_null() { "" } else { CStr::from_ptr(text).to_str().unwrap_or("\u{fffd}") }
}

unsafe fn answer(
    (address, interface): (IpAddr, u32),
    port: u16,
    kind: i32,
    protocol: i32,
) -> *mut libc::addrinfo {
    let mut answer: Answer = std::mem::zeroed();
    let storage = &raw mut answer.address;
    let length = match address {
        IpAddr::V4(ip) => {
            let into = &mut *storage.cast::<libc::sockaddr_in>();
            into.sin_family = libc::AF_INET as u16;
            (into.sin_port, into.sin_addr.s_addr) = (port.to_be(), u32::from(ip).to_be());
            size_of::<libc::sockaddr_in>()
        }
        IpAddr::V6(ip) => {
            let into = &mut *storage.cast::<libc::sockaddr_in6>();
            into.sin6_family = libc::AF_INET6 as u16;
            (into.sin6_port, into.sin6_addr.s6_addr) = (port.to_be(), ip.octets());
            into.sin6_scope_id = interface;
            size_of::<libc::sockaddr_in6>()
        }
    };
    answer.info.ai_family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    (answer.info.ai_socktype, answer.info.ai_protocol) = (kind, protocol);
    answer.info.ai_addrlen = length as libc::socklen_t;
    let answer = Box::into_raw(Box::new(answer));
    (*answer).info.ai_addr = (&raw mut (*answer).address).cast();
    answer.cast()
}

unsafe fn look_up(
    me: &'static Context,
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    into: *mut *mut libc::addrinfo,
) -> i32 {
    let (flags, family, kind) = match hints.as_ref() {
        Some(hints) => (hints.ai_flags, hints.ai_family, hints.ai_socktype),
        None => (0, libc::AF_UNSPEC, 0),
    };
    let name = text(node);
    let Some(port) = port(text(service)) else { return libc::EAI_SERVICE };
    if flags & libc::AI_NUMERICHOST != 0 && !name.is_empty() && numeric(name).is_none() {
        return libc::EAI_NONAME;
    }
    let is_passive = flags & libc::AI_PASSIVE != 0;
    let Some(addresses) = tell(me, |kernel, caller| resolve(kernel, caller, name, is_passive)) else {
        return libc::EAI_NONAME;
    };
    let interface = numeric(name).map_or(0, |(_, interface)| interface);
    let is_wanted = |address: &IpAddr| match family {
        libc::AF_INET => address.is_ipv4(),
        libc::AF_INET6 => address.is_ipv6(),
        _ => true,
    };
    let kinds: &[(i32, i32)] = match kind {
        libc::SOCK_STREAM => &[(libc::SOCK_STREAM, libc::IPPROTO_TCP)],
        libc::SOCK_DGRAM => &[(libc::SOCK_DGRAM, libc::IPPROTO_UDP)],
        0 => &[(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)],
        _ => return libc::EAI_SOCKTYPE,
    };
    let mut first = std::ptr::null_mut();
    for address in addresses.into_iter().filter(is_wanted).rev() {
        for (kind, protocol) in kinds.iter().rev() {
            let new = answer((address, interface), port, *kind, *protocol);
            (*new).ai_next = first;
            first = new;
        }
    }
    if first.is_null() {
        return libc::EAI_NONAME;
    }
    into.write(first);
    0
}

define! {
    /// The addresses of a name.
    fn getaddrinfo(
        node: *const c_char,
        service: *const c_char,
        hints: *const libc::addrinfo,
        into: *mut *mut libc::addrinfo,
    ) -> i32 |me, real| { look_up(me, node, service, hints, into) }

    /// Frees what `getaddrinfo` gave on a simulated thread, which is the only one that has it.
    fn freeaddrinfo(first: *mut libc::addrinfo) -> () |me, real| {
        let mut next = first;
        while !next.is_null() {
            let answer = Box::from_raw(next.cast::<Answer>());
            next = answer.info.ai_next;
        }
    }
}
