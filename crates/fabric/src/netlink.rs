//! The rtnetlink requests that ports need. Their ioctls want root of the machine, these root of the namespace.

use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

// linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/pkt_sched.h
const REQUEST: u16 = 0x01 | 0x04; // NLM_F_REQUEST | NLM_F_ACK
const REPLACE: u16 = REQUEST | 0x400 | 0x100; // NLM_F_CREATE | NLM_F_REPLACE
const RTM_NEWLINK: u16 = 16;
const RTM_NEWQDISC: u16 = 36;
const NLMSG_ERROR: u16 = 2;
const IFLA_TXQLEN: u16 = 13;
const TCA_KIND: u16 = 1;
const TC_H_ROOT: u32 = 0xffff_ffff;

/// How many frames may wait in device number `index` of this thread's namespace until they are read.
pub(crate) fn set_queue(index: u32, frames: u32) -> io::Result<()> {
    // struct ifinfomsg, one attribute.
    let head = [&[0; 4], &index.to_ne_bytes()[..], &[0; 8]].concat();
    let length = [&8u16.to_ne_bytes()[..], &IFLA_TXQLEN.to_ne_bytes(), &frames.to_ne_bytes()].concat();
    request(RTM_NEWLINK, REQUEST, &[head, length].concat())
}

/// Takes the queueing discipline away: the device has a queue of its own.
///
/// # Errors
/// A kernel without traffic control has none.
pub(crate) fn set_no_discipline(index: u32) -> io::Result<()> {
    // struct tcmsg, one attribute, padded to four bytes.
    let head = [&[0; 4], &index.to_ne_bytes()[..], &[0; 4], &TC_H_ROOT.to_ne_bytes(), &[0; 4]].concat();
    let kind = [&12u16.to_ne_bytes()[..], &TCA_KIND.to_ne_bytes(), b"noqueue\0"].concat();
    request(RTM_NEWQDISC, REPLACE, &[head, kind].concat())
}

fn request(kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    // struct nlmsghdr: length, kind, flags, number, sender.
    let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
    let header = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8]].concat();
    send(&socket, &[header, body.to_vec()].concat(), SendFlags::empty())?;
    let mut answer = [0; 256];
    recv(&socket, &mut answer[..], RecvFlags::empty())?;
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    let errno = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    match (kind, errno) {
        (NLMSG_ERROR, 0) => Ok(()),
        (NLMSG_ERROR, errno) => Err(io::Error::from_raw_os_error(-errno)),
        _ => Err(io::Error::other("an answer that is no acknowledgement")),
    }
}
