//! What rustix does not have: the ioctls and socket options of network devices, and a thread's scheduling. Every block
//! says why it is sound.
#![expect(unsafe_code, reason = "ioctls of network devices and sched_setattr have no safe form")]

use std::ffi::{c_int, c_uint, c_ulong};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::Mac;

/// What a TAP device leaves to us: checksums always, segmentation (TSO) where super-frames are wanted.
const CHECKSUM: c_uint = libc::TUN_F_CSUM;
const SEGMENTATION: c_uint = libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;

// linux/if_packet.h, linux/socket.h
const SOL_PACKET: c_int = 263;
const PACKET_VNET_HDR: c_int = 15;
const PACKET_QDISC_BYPASS: c_int = 20;
const PACKET_IGNORE_OUTGOING: c_int = 23;

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn request(device: &str) -> io::Result<libc::ifreq> {
    // SAFETY: `ifreq` is integers, a pointer and unions of them: all zeros is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let is_name = !device.is_empty() && device.len() < request.ifr_name.len() && !device.contains('\0');
    if !is_name {
        return Err(io::Error::other("a device's name has 1 to 15 bytes"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

fn set(fd: BorrowedFd<'_>, what: c_ulong, request: &libc::ifreq) -> io::Result<()> {
    // SAFETY: all callers name an ioctl that takes an `ifreq`, and the reference lives through the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), what as libc::Ioctl, std::ptr::from_ref(request)) })
}

/// Makes `tun`, an open `/dev/net/tun`, the TAP device called `device`, whose frames begin with a virtio-net header.
pub(crate) fn become_tap(tun: BorrowedFd<'_>, device: &str) -> io::Result<()> {
    let mut request = request(device)?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).map_err(io::Error::other)?;
    set(tun, libc::TUNSETIFF as c_ulong, &request)
}

/// Lets the device live on when its descriptor is closed.
pub(crate) fn persist(tap: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TUNSETPERSIST takes a number.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETPERSIST, 1 as c_ulong) })
}

/// Whether the host's kernel may hand over super-frames.
pub(crate) fn set_offload(tap: BorrowedFd<'_>, super_frames: bool) -> io::Result<()> {
    let offload = if super_frames { CHECKSUM | SEGMENTATION } else { CHECKSUM };
    // SAFETY: TUNSETOFFLOAD takes a number.
    check(unsafe { libc::ioctl(tap.as_raw_fd(), libc::TUNSETOFFLOAD, c_ulong::from(offload)) })
}

/// Gives a TAP device its hardware address.
pub(crate) fn set_mac(tap: BorrowedFd<'_>, device: &str, mac: Mac) -> io::Result<()> {
    let mut request = request(device)?;
    let mut data = [0; 14];
    for (to, from) in data.iter_mut().zip(mac.0) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_hwaddr = libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: data };
    set(tap, libc::SIOCSIFHWADDR, &request)
}

/// Binds a packet socket to device number `index`. Its frames begin with a virtio-net header, and what this side sends
/// does not come back.
pub(crate) fn become_packet(socket: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    set_option(socket, SOL_PACKET, PACKET_VNET_HDR, 1)?;
    set_option(socket, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)?;
    set_option(socket, SOL_PACKET, PACKET_QDISC_BYPASS, 1)?;
    // SAFETY: `sockaddr_ll` is integers: all zeros is a value of it.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?.to_be();
    address.sll_ifindex = c_int::try_from(index).map_err(io::Error::other)?;
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    // SAFETY: `address` is a `sockaddr_ll` of the length given and outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) })
}

/// Widens both buffers of a socket to `bytes`, or as far as the kernel lets us.
pub(crate) fn widen(socket: BorrowedFd<'_>, bytes: c_int) -> io::Result<()> {
    for (force, ask) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        set_option(socket, libc::SOL_SOCKET, force, bytes)
            .or_else(|_not_root| set_option(socket, libc::SOL_SOCKET, ask, bytes))?;
    }
    Ok(())
}

fn set_option(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<c_int>()).map_err(io::Error::other)?;
    // SAFETY: the value is a `c_int` of the length given and outlives the call.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) })
}

/// Makes this thread one of SCHED_FIFO.
pub(crate) fn become_fifo(priority: u32) -> io::Result<()> {
    let mut wanted = no_attributes();
    wanted.sched_policy = u32::try_from(libc::SCHED_FIFO).map_err(io::Error::other)?;
    wanted.sched_priority = priority;
    set_attributes(&wanted)
}

/// Gives this thread of SCHED_OTHER a slice of `slice_ns`. Whether the kernel took it: those before 6.12 say yes and do
/// nothing.
pub(crate) fn become_short(slice_ns: u64) -> io::Result<bool> {
    let mut wanted = no_attributes();
    wanted.sched_runtime = slice_ns;
    set_attributes(&wanted)?;
    let mut given = no_attributes();
    // SAFETY: thread 0 is this one; `given` is a `sched_attr` of the size given, to which the kernel writes.
    let done = unsafe {
        libc::syscall(libc::SYS_sched_getattr, 0, &raw mut given, size_of::<libc::sched_attr>(), 0)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(given.sched_runtime == slice_ns) }
}

fn no_attributes() -> libc::sched_attr {
    // SAFETY: `sched_attr` is integers: all zeros is a value of it, SCHED_OTHER.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or_default();
    attributes
}

fn set_attributes(wanted: &libc::sched_attr) -> io::Result<()> {
    // SAFETY: thread 0 is this one; `wanted` holds its own size and outlives the call.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(wanted), 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
