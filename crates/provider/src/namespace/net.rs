//! The few rtnetlink requests that stage and hosts need; each waits for its acknowledgement.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use rustix::process::Pid;

/// A request socket of this network namespace.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

// linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/veth.h
const REQUEST: u16 = 0x01 | 0x04; // NLM_F_REQUEST | NLM_F_ACK
const CREATE: u16 = REQUEST | 0x400 | 0x200; // NLM_F_CREATE | NLM_F_EXCL
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const ACK: u16 = 0x04; // NLM_F_ACK
const RTM_NEWNEIGH: u16 = 28;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_STALE: u8 = 0x04;
const NTF_EXT_LEARNED: u8 = 0x10;
/// 56 bytes each, in one request of the kernel's default 208 KiB at most.
const NEIGHBOURS_AT_ONCE: usize = 1000;
const RTM_NEWROUTE: u16 = 24;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const NETLINK_ROUTE: Option<rustix::net::Protocol> = None; // protocol 0
const HEADER: usize = 16;

fn attribute(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 4).expect("attributes here are short");
    let mut out = Vec::with_capacity(body.len() + 7);
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn text_attribute(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

/// struct ifinfomsg of device `index`; 0 when it is named by an attribute.
fn link(index: u32, up: bool) -> Vec<u8> {
    let flag = if up { IFF_UP } else { 0 }.to_ne_bytes();
    let mut out = vec![0; 16];
    out[4..8].copy_from_slice(&index.to_ne_bytes());
    out[8..12].copy_from_slice(&flag);
    out[12..16].copy_from_slice(&flag);
    out
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, NETLINK_ROUTE)?))
    }

    fn request(&self, kind: u16, flags: u16, body: &[&[u8]]) -> io::Result<()> {
        let body = body.concat();
        let length = u32::try_from(HEADER + body.len()).expect("requests here are short");
        let mut out = vec![0; HEADER];
        out[0..4].copy_from_slice(&length.to_ne_bytes());
        out[4..6].copy_from_slice(&kind.to_ne_bytes());
        out[6..8].copy_from_slice(&flags.to_ne_bytes());
        out.extend(body);
        send(&self.0, &out, SendFlags::empty())?;
        let mut answer = [0; 4096];
        let (_, length) = recv(&self.0, &mut answer[..], RecvFlags::empty())?;
        let field = |at: usize| answer[..length].get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        let kind = answer[..length].get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
        match (kind, field(HEADER).map(i32::from_ne_bytes)) {
            (Some(NLMSG_ERROR), Some(0)) => Ok(()),
            (Some(NLMSG_ERROR), Some(errno)) => Err(io::Error::from_raw_os_error(-errno)),
            _ => Err(io::Error::other("an answer that is no acknowledgement")),
        }
    }

    /// A device here that is up.
    fn create(&self, name: &str, bridge: u32, info: &[u8]) -> io::Result<u32> {
        let name_attribute = text_attribute(IFLA_IFNAME, name);
        let master = if bridge == 0 { Vec::new() } else { attribute(IFLA_MASTER, &bridge.to_ne_bytes()) };
        let info = attribute(IFLA_LINKINFO, info);
        self.request(RTM_NEWLINK, CREATE, &[&link(0, true), &name_attribute, &master, &info])?;
        index(name)
    }

    pub(super) fn bridge(&self, name: &str) -> io::Result<u32> {
        self.create(name, 0, &attribute(IFLA_INFO_KIND, b"bridge"))
    }

    /// A pair: `name` here, up and in `bridge` (0: in none); its peer `device` in the network namespace of `pid`, with a
    /// hardware address.
    pub(super) fn veth(
        &self,
        name: &str,
        bridge: u32,
        pid: Pid,
        device: &str,
        hardware: [u8; 6],
    ) -> io::Result<u32> {
        let hardware = attribute(IFLA_ADDRESS, &hardware);
        let namespace = attribute(IFLA_NET_NS_PID, &pid.as_raw_nonzero().get().to_ne_bytes());
        let peer = [link(0, false), text_attribute(IFLA_IFNAME, device), hardware, namespace].concat();
        let data = attribute(IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer));
        self.create(name, bridge, &[attribute(IFLA_INFO_KIND, b"veth"), data].concat())
    }

    pub(super) fn up(&self, index: u32) -> io::Result<()> {
        self.request(RTM_NEWLINK, REQUEST, &[&link(index, true)])
    }

    pub(super) fn delete(&self, index: u32) -> io::Result<()> {
        self.request(RTM_DELLINK, REQUEST, &[&link(index, false)])
    }

    /// Sends packets for IPv4 addresses that stand for many out by a device, where no other is asked for: all groups, and
    /// everybody on its network.
    pub(super) fn route_groups(&self, device: u32) -> io::Result<()> {
        for (to, prefix_bits) in [(Ipv4Addr::new(224, 0, 0, 0), 4), (Ipv4Addr::BROADCAST, 32)] {
            let family = u8::try_from(AddressFamily::INET.as_raw()).expect("families are small");
            // As below, of scope link.
            let head = [family, prefix_bits, 0, 0, 254, 4, 253, 1, 0, 0, 0, 0];
            let (to, by) = (attribute(RTA_DST, &to.octets()), attribute(RTA_OIF, &device.to_ne_bytes()));
            self.request(RTM_NEWROUTE, CREATE, &[&head, &to, &by])?;
        }
        Ok(())
    }

    /// Sends packets for a network to a router.
    pub(super) fn route(&self, to: IpAddr, prefix_bits: u8, via: IpAddr) -> io::Result<()> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let family = u8::try_from(family.as_raw()).expect("families are small");
        // struct rtmsg: family, lengths, service, table main, protocol static, scope universe, type unicast, flags.
        let head = [family, prefix_bits, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
        let (to, via) = (attribute(RTA_DST, &octets(to)), attribute(RTA_GATEWAY, &octets(via)));
        self.request(RTM_NEWROUTE, CREATE, &[&head, &to, &via])
    }

    /// Tells a device who its neighbours are, before anybody asked: an address and the hardware behind it each. They are
    /// still asked whether they are there, but do not count among those that the kernel may forget.
    ///
    /// All namespaces of a machine share 1,024 neighbours that were asked for (`gc_thresh3`): 33 hosts that all speak to each
    /// other had no room left.
    pub(super) fn neighbours(&self, index: u32, all: &[(IpAddr, [u8; 6])]) -> io::Result<()> {
        for some in all.chunks(NEIGHBOURS_AT_ONCE) {
            let mut out = Vec::new();
            for (address, hardware) in some {
                let (family, octets) = match address {
                    IpAddr::V4(address) => (AddressFamily::INET, address.octets().to_vec()),
                    IpAddr::V6(address) => (AddressFamily::INET6, address.octets().to_vec()),
                };
                let family = u8::try_from(family.as_raw()).expect("families are small");
                // struct ndmsg: family, padding, device, state, flags, type.
                let mut body = vec![family, 0, 0, 0];
                body.extend(index.to_ne_bytes());
                body.extend([NUD_STALE, 0, NTF_EXT_LEARNED, 0]);
                body.extend(attribute(NDA_DST, &octets));
                body.extend(attribute(NDA_LLADDR, hardware));
                let length = u32::try_from(HEADER + body.len()).expect("requests here are short");
                out.extend(length.to_ne_bytes());
                out.extend(RTM_NEWNEIGH.to_ne_bytes());
                // Unacknowledged: only those that fail are answered.
                out.extend((CREATE & !ACK).to_ne_bytes());
                out.extend([0; 8]);
                out.extend(body);
            }
            send(&self.0, &out, SendFlags::empty())?;
        }
        Ok(())
    }

    /// Gives a device an address that is used at once, without asking whether somebody else has it.
    pub(super) fn address(&self, index: u32, address: IpAddr, prefix_bits: u8) -> io::Result<()> {
        let (family, octets) = match address {
            IpAddr::V4(address) => (AddressFamily::INET, address.octets().to_vec()),
            IpAddr::V6(address) => (AddressFamily::INET6, address.octets().to_vec()),
        };
        let family = u8::try_from(family.as_raw()).expect("families are small");
        let head = [&[family, prefix_bits, IFA_F_NODAD, 0][..], &index.to_ne_bytes()].concat();
        let (local, peer) = (attribute(IFA_LOCAL, &octets), attribute(IFA_ADDRESS, &octets));
        self.request(RTM_NEWADDR, CREATE, &[&head, &local, &peer])
    }
}

/// The number of the device called `name` in this network namespace.
pub(super) fn index(name: &str) -> io::Result<u32> {
    let any = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(rustix::net::netdevice::name_to_index(any, name)?)
}
