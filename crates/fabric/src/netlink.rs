//! The one rtnetlink request that ports need. Its ioctl wants root of the machine, this root of the namespace.

use std::io;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

// linux/netlink.h, linux/rtnetlink.h, linux/if_link.h
const NLM_F_REQUEST_ACK: u16 = 0x01 | 0x04;
const RTM_NEWLINK: u16 = 16;
const NLMSG_ERROR: u16 = 2;
const IFLA_TXQLEN: u16 = 13;
const LENGTH: usize = 16 + 16 + 8;

/// How many frames may wait in device number `index` of this thread's namespace until they are read.
pub(crate) fn set_queue(index: u32, frames: u32) -> io::Result<()> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    // struct nlmsghdr, struct ifinfomsg, one attribute.
    let mut request = [0; LENGTH];
    let mut put = |at: usize, bytes: &[u8]| request[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &u32::try_from(LENGTH).map_err(io::Error::other)?.to_ne_bytes());
    put(4, &RTM_NEWLINK.to_ne_bytes());
    put(6, &NLM_F_REQUEST_ACK.to_ne_bytes());
    put(20, &index.to_ne_bytes());
    put(32, &8u16.to_ne_bytes());
    put(34, &IFLA_TXQLEN.to_ne_bytes());
    put(36, &frames.to_ne_bytes());
    send(&socket, &request, SendFlags::empty())?;
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
