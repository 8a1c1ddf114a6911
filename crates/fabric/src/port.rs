//! Where frames of one host come in and go out: a TAP device in its namespace, or a packet socket on our end of its veth.
//!
//! Every frame is a [virtio-net header](crate::frame) and an Ethernet frame, for both kinds.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use thiserror::Error;

use crate::{netlink, sys};

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

/// How a port reaches its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// A TAP device in the host's namespace. The quicker one, and the host's kernel can be told to send no super-frames.
    Tap,
    /// A side of a box, which the fabric runs itself.
    Box,
    /// A packet socket (`AF_PACKET`) on the outer end of a veth pair, where `/dev/net/tun` may not be opened.
    Packet,
}

/// One host's way in and out, not yet [attached](crate::Fabric::attach).
#[derive(Debug)]
pub struct Port {
    name: String,
    network: String,
    mac: Mac,
    kind: PortKind,
    fd: OwnedFd,
    passes_super_frames: bool,
}

/// Why there is no port.
#[derive(Debug, Error)]
pub enum PortError {
    /// TAP devices cannot be had here; a packet socket may do.
    #[error(
        "no TAP device for `{port}`: /dev/net/tun may not be used\ntry: a veth pair and a port of its outer end; or, as root, chmod 0666 /dev/net/tun"
    )]
    NoTun {
        /// The port.
        port: String,
        /// Why it cannot.
        #[source]
        error: io::Error,
    },
    /// One step of making it failed.
    #[error("no port `{port}` on device `{device}`: {step} failed")]
    Step {
        /// The port.
        port: String,
        /// The network device.
        device: String,
        /// What failed.
        step: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// Frames that may wait in a TAP device while the fabric is busy: with the kernel's 1000, plain frames at 4 Gbit/s were
/// lost by the thousand, with this none.
const TAP_QUEUE_FRAMES: u32 = 10_000;
/// What a packet socket may hold, for the same reason: 16 MiB are 10,000 frames and some.
const SOCKET_BYTES: i32 = 16 << 20;

impl Port {
    /// A new TAP device called `device` with hardware address `mac`: in `namespace`, or in this thread's.
    ///
    /// It is down and has no address. It outlives its port, and goes with its namespace: the kernel takes 20 ms to close
    /// one device, and no longer for all devices of a namespace.
    ///
    /// # Errors
    /// [`PortError::NoTun`] where a [packet socket](Self::packet) is to be tried; else what failed.
    pub fn tap(
        name: &str,
        device: &str,
        mac: Mac,
        namespace: Option<BorrowedFd<'_>>,
    ) -> Result<Self, PortError> {
        let Some(namespace) = namespace else { return Self::tap_here(name, device, mac) };
        // A thread of its own, so that the caller's stays where it is.
        let inside = || {
            move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network)).map_err(failed(
                name,
                device,
                "entering the namespace",
            ))?;
            Self::tap_here(name, device, mac)
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, inside);
            let thread = thread.map_err(failed(name, device, "starting a thread"))?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn tap_here(name: &str, device: &str, mac: Mac) -> Result<Self, PortError> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let no_tun = |error| PortError::NoTun { port: name.to_owned(), error };
        let fd = open("/dev/net/tun", flags, Mode::empty()).map_err(|error| no_tun(error.into()))?;
        sys::become_tap(fd.as_fd(), device).map_err(|error| match error.kind() {
            // It may be opened, and a security module or filter forbids the rest.
            io::ErrorKind::PermissionDenied => no_tun(error),
            _ => failed(name, device, "making a TAP device")(error),
        })?;
        sys::persist(fd.as_fd()).map_err(failed(name, device, "making it persistent"))?;
        sys::set_mac(fd.as_fd(), device, mac).map_err(failed(name, device, "setting its address"))?;
        let any = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .map_err(failed(name, device, "opening a socket"))?;
        let index = name_to_index(any, device).map_err(failed(name, device, "finding the device"))?;
        // A discipline would have three queues as long as the device's: a quarter of a MiB a host.
        let _no_traffic_control = netlink::set_no_discipline(index);
        netlink::set_queue(index, TAP_QUEUE_FRAMES).map_err(failed(name, device, "setting its queue"))?;
        sys::set_offload(fd.as_fd(), true).map_err(failed(name, device, "setting its offload"))?;
        Ok(Self::new(name, mac, PortKind::Tap, fd))
    }

    /// A packet socket on `device`, the outer end of a veth pair in this thread's namespace; `mac` is the address of the
    /// inner end. The device must be up before frames pass. That namespace's own network stack sees the frames, too: it is
    /// to have no address on this device, and no IPv6 (`disable_ipv6`), with which it would speak unasked.
    ///
    /// # Errors
    /// What failed: there is no such device, or the namespace is not ours (CAP_NET_RAW).
    pub fn packet(name: &str, device: &str, mac: Mac) -> Result<Self, PortError> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        // Protocol 0: it receives nothing before it is bound to its device.
        let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None).map_err(failed(
            name,
            device,
            "opening a packet socket",
        ))?;
        let index = name_to_index(&fd, device).map_err(failed(name, device, "finding the device"))?;
        sys::widen(fd.as_fd(), SOCKET_BYTES).map_err(failed(name, device, "widening its buffers"))?;
        sys::become_packet(fd.as_fd(), index).map_err(failed(name, device, "binding a packet socket"))?;
        Ok(Self::new(name, mac, PortKind::Packet, fd))
    }

    fn new(name: &str, mac: Mac, kind: PortKind, fd: OwnedFd) -> Self {
        Self { name: name.to_owned(), network: String::new(), mac, kind, fd, passes_super_frames: true }
    }

    /// Puts it on a network, a broadcast domain: frames pass only between ports of one network. A host on two networks has
    /// two ports. Unless this is said, a port is on the network `""`.
    #[must_use]
    pub fn on(mut self, network: &str) -> Self {
        network.clone_into(&mut self.network);
        self
    }

    /// The network that it is on.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Its name: one half of a link's name, so the same from run to run.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host's hardware address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// How it reaches its host.
    pub fn kind(&self) -> PortKind {
        self.kind
    }

    /// Whether its host may send super-frames from now on. Those that are under way to us still come. A veth's inner end
    /// belongs to the host's namespace, where nobody can be told: such a port's super-frames are segmented by us.
    pub(crate) fn pass_super_frames(&mut self, pass: bool) -> io::Result<()> {
        if self.kind == PortKind::Tap && self.passes_super_frames != pass {
            sys::set_offload(self.fd.as_fd(), pass)?;
            self.passes_super_frames = pass;
        }
        Ok(())
    }

    pub(crate) fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.fd, into)?)
    }

    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::io::write(&self.fd, frame)?;
        Ok(())
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn failed<E: Into<io::Error>>(port: &str, device: &str, step: &'static str) -> impl FnOnce(E) -> PortError {
    let (port, device) = (port.to_owned(), device.to_owned());
    move |error| PortError::Step { port, device, step, error: error.into() }
}

impl Mac {
    /// Whether it stands for several stations: broadcast and multicast.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
