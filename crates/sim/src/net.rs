//! The simulated network: hosts, their sockets, and the links between them. Calls, events and the time go in; results,
//! events and news of sockets come out. Nothing here blocks, does I/O or knows of descriptors and threads.
//!
//! | file | what |
//! | --- | --- |
//! | `sockets`, `options` | sockets of all kinds: what all have, and what epoll says of them |
//! | `binding`, `ports`, `address` | which socket has which address and port |
//! | `hosts`, `forwarding` | networks and routes; packets that are for others |
//! | `streams`, `tcp` | listeners and connections; what one connection does |
//! | `datagrams` | UDP: queues, groups, parts of long datagrams |
//! | `wires`, `packet` | packets, and the links that they pass |
//! | `faults` | what links are wanted to do |
//! | `capture` | packets as they were seen, with their bytes |
//!
//! All chance is drawn from streams named after hosts (ports, sequence numbers) and pairs of hosts (fates of packets), so
//! that no host, link or connection moves the draws of another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use netsplit_netmodel::Route;

mod address;
mod binding;
mod capture;
mod datagrams;
mod faults;
mod forwarding;
mod hosts;
mod options;
mod packet;
mod ports;
mod sockets;
mod streams;
mod tcp;
#[cfg(test)]
mod tests;
mod wires;

pub use capture::Watcher;
pub use datagrams::Drops;
pub use faults::LinkReport;
pub use options::Opt;
pub use sockets::{Family, Kind, Received, Shutdown};
pub use wires::Delays;

use address::Ip;
use faults::FaultTable;
use hosts::{Host, NetworkIndex, Nic};
use packet::{Body, Packet, mix};
use sockets::Sockets;
use tcp::Turn;
use wires::Wires;

/// Nanoseconds of virtual time since the run's begin.
pub type Nanos = u64;

/// No instant at all.
const NEVER: Nanos = u64::MAX;

mod bits {
    pub(super) const IN: u32 = libc::EPOLLIN as u32;
    pub(super) const OUT: u32 = libc::EPOLLOUT as u32;
    pub(super) const RDHUP: u32 = libc::EPOLLRDHUP as u32;
    pub(super) const HUP: u32 = libc::EPOLLHUP as u32;
    pub(super) const ERR: u32 = libc::EPOLLERR as u32;
}
use bits::{ERR, HUP, IN, OUT, RDHUP};

/// A host, by number in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostIndex(pub u32);

/// A socket. Its number is used again after it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(NonZeroU32);

/// What comes out of each call beside its result. The kernel empties it.
#[derive(Debug, Default)]
pub struct Outbox {
    /// What is to be [handled](Net::handle) when. Those of one instant are to be handled in this order.
    pub timers: Vec<(Nanos, Event)>,
    /// Sockets of which something can be done that could not before, or more of it, and the bits of epoll for it. It is
    /// said each time, as edge-triggered epoll needs it.
    pub ready: Vec<(SocketId, u32)>,
}

/// Something that happens later.
#[derive(Debug)]
pub struct Event(What);

const _: () = assert!(size_of::<Event>() <= 16, "the kernel's heap moves them about");

enum What {
    Arrival(Box<Packet>),
    Release(u32),
    Timer(SocketId),
    Faults,
}

/// All hosts, their sockets, and what is between them.
pub struct Net {
    seed: u64,
    hosts: Vec<Host>,
    /// The names of networks, by number.
    networks: Vec<String>,
    /// Which host has an address, in order of address.
    addresses: Vec<(Ip, HostIndex)>,
    sockets: Sockets,
    wires: Wires,
    faults: FaultTable,
}

/// A host's way into a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicSpec {
    /// The network; of the only one the name may be empty.
    pub network: String,
    /// The host's IPv4 address there, of a /16.
    pub v4: Ipv4Addr,
    /// Its IPv6 address there, of a /64.
    pub v6: Ipv6Addr,
}

/// Who has an address of the network that nobody has.
const NOBODY: HostIndex = HostIndex(u32::MAX);

impl HostIndex {
    #[inline]
    fn at(self) -> usize {
        self.0 as usize
    }
}

impl SocketId {
    /// Its number, from 0, for tables of sockets.
    #[inline]
    pub fn index(self) -> usize {
        self.at()
    }

    #[inline]
    fn at(self) -> usize {
        self.0.get() as usize - 1
    }

    fn new(at: usize) -> Self {
        let number = u32::try_from(at + 1).ok().and_then(NonZeroU32::new);
        Self(number.expect("fewer sockets than bytes of memory"))
    }
}

impl Outbox {
    #[inline]
    fn wake(&mut self, socket: SocketId, bits: u32) {
        match self.ready.last_mut() {
            Some((last, known)) if *last == socket => *known |= bits,
            _ => self.ready.push((socket, bits)),
        }
    }
}

impl Event {
    #[inline]
    fn arrival(packet: Box<Packet>) -> Self {
        Self(What::Arrival(packet))
    }

    fn release(wire: u32) -> Self {
        Self(What::Release(wire))
    }

    fn timer(socket: SocketId) -> Self {
        Self(What::Timer(socket))
    }

    fn faults() -> Self {
        Self(What::Faults)
    }
}

impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Arrival(packet) => {
                write!(
                    f,
                    "a packet of {} bytes from {} to {}",
                    packet.length(),
                    packet.hop.from.0,
                    packet.hop.to.0
                )
            }
            Self::Release(wire) => write!(f, "the queue of link {wire}"),
            Self::Timer(socket) => write!(f, "a timer of socket {}", socket.0),
            Self::Faults => write!(f, "a fault turns"),
        }
    }
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net")
            .field("seed", &self.seed)
            .field("hosts", &self.hosts.len())
            .finish_non_exhaustive()
    }
}

impl Net {
    /// A network without hosts.
    pub fn new(seed: u64, delays: Delays) -> Self {
        Self {
            seed,
            hosts: Vec::new(),
            networks: Vec::new(),
            addresses: Vec::new(),
            sockets: Sockets::default(),
            wires: Wires::new(seed, delays),
            faults: FaultTable::new(seed),
        }
    }

    /// Adds a host that is joined to all others on its networks, of which the first is that of its name; without any it
    /// sees only itself. On several it sends on what is for others. `routes` lead to further networks. It is switched on.
    pub fn add_host(
        &mut self,
        now: Nanos,
        out: &mut Outbox,
        name: &str,
        nics: &[NicSpec],
        routes: &[Route],
    ) -> HostIndex {
        let port =
            |at: usize, network: &str| if at == 0 { name.to_owned() } else { format!("{name}@{network}") };
        let ports = nics.iter().enumerate().map(|(at, nic)| (nic.clone(), port(at, &nic.network))).collect();
        let host = self.push_host(name, ports, routes);
        self.advance_faults(now, out);
        host
    }

    /// Adds a host with its ways into networks, and what its links there are named by.
    fn push_host(&mut self, name: &str, nics: Vec<(NicSpec, String)>, routes: &[Route]) -> HostIndex {
        let host = HostIndex(u32::try_from(self.hosts.len()).expect("fewer hosts than bytes of memory"));
        let (mut known, mut ports) = (Vec::new(), Vec::new());
        for (NicSpec { network, v4, v6 }, port) in nics {
            let network = self.network(&network);
            let nic = Nic::new(network, v4, v6);
            for ip in nic.addresses() {
                let place = self.addresses.partition_point(|known| known.0 < ip);
                self.addresses.insert(place, (ip, host));
            }
            known.push(nic);
            ports.push((network, port));
        }
        self.wires.add_host(name, ports, known.len() > 1);
        self.hosts.push(Host::new(self.seed, name, known, routes));
        self.faults.add_host();
        host
    }

    /// Names a network that may have no host yet.
    pub fn add_network(&mut self, name: &str) {
        self.network(name);
    }

    /// The number of a network, which is made if there is none of this name.
    fn network(&mut self, name: &str) -> NetworkIndex {
        let known = self.networks.iter().position(|known| known == name);
        let at = known.unwrap_or_else(|| {
            self.networks.push(name.to_owned());
            self.wires.add_network();
            self.networks.len() - 1
        });
        NetworkIndex(u32::try_from(at).expect("fewer networks than bytes of memory"))
    }

    /// A host's name.
    pub fn host_name(&self, host: HostIndex) -> &str {
        self.wires.name(host)
    }

    /// A host's addresses on one of its networks; without a name on its first one.
    pub fn addresses(&self, host: HostIndex, network: Option<&str>) -> Option<[IpAddr; 2]> {
        let is_meant = |nic: &&Nic| network.is_none_or(|network| self.networks[nic.network.at()] == network);
        let nic = self.hosts[host.at()].nics.iter().find(is_meant)?;
        Some(nic.addresses().map(Ip::address))
    }

    /// Whether more than one network was named.
    pub fn has_several_networks(&self) -> bool {
        self.networks.len() > 1
    }

    /// Who has an address on a network.
    pub fn host_at(&self, address: IpAddr) -> Option<HostIndex> {
        Some(self.owner(Ip::new(address))).filter(|host| *host != NOBODY)
    }

    /// A host's ports, one for each of its networks: their numbers, and the names by which links are named.
    pub fn ports(&self, host: HostIndex) -> impl Iterator<Item = (usize, &str)> {
        self.wires.ports(host)
    }

    /// Whether a host is switched on.
    pub fn is_on(&self, host: HostIndex) -> bool {
        self.hosts[host.at()].is_on
    }

    /// Switches a host off. Its sockets are gone without a word to anybody, and their numbers free; what comes for it
    /// vanishes.
    pub fn power_off(&mut self, host: HostIndex) {
        self.hosts[host.at()].power_off();
        self.sockets.remove_all_of(host);
    }

    /// Switches a host on again. It has no sockets.
    pub fn power_on(&mut self, host: HostIndex) {
        self.hosts[host.at()].is_on = true;
    }

    /// Does what was to be done now. The number stands for what it was, in a hash of all that happens.
    #[inline]
    pub fn handle(&mut self, now: Nanos, out: &mut Outbox, event: Event) -> u64 {
        match event.0 {
            What::Arrival(packet) => {
                let fingerprint = packet.fingerprint();
                let takes = self.hosts[packet.hop.to.at()].is_on;
                if let Some(packet) = self.wires.arrive(now, out, packet, takes) {
                    self.receive(now, out, packet);
                }
                fingerprint
            }
            What::Release(wire) => {
                self.wires.on_release(now, out, wire);
                mix(1, wire.into())
            }
            What::Timer(socket) => {
                self.on_timer(now, out, socket);
                mix(2, socket.0.get().into())
            }
            What::Faults => {
                self.on_faults(now, out);
                3
            }
        }
    }

    /// Gives a packet to the sockets of its receiver.
    #[inline]
    fn receive(&mut self, now: Nanos, out: &mut Outbox, packet: Box<Packet>) {
        let host = &self.hosts[packet.hop.to.at()];
        if !host.is_on {
            self.wires.pool.give_back(packet);
            return;
        }
        if host.is_router() && !host.takes(packet.destination.ip) {
            self.forward(now, out, packet);
            return;
        }
        match packet.body {
            Body::Udp => self.receive_datagram(now, out, packet),
            Body::Tcp(segment) => self.receive_segment(now, out, packet, &segment),
            Body::Icmp(icmp) => {
                self.receive_unreachable(now, out, packet.hop.to, &icmp);
                self.wires.pool.give_back(packet);
            }
            Body::Fragment(part) => {
                if let Some(whole) =
                    self.hosts[packet.hop.to.at()].parts.add(packet, part, &mut self.wires.pool)
                {
                    self.receive_datagram(now, out, whole);
                }
            }
        }
    }

    // ── captures ──

    /// Has packets shown from now on, or not any more.
    pub fn watch(&mut self, watcher: Option<Watcher>) {
        self.wires.watcher = watcher;
    }

    /// The names of hosts, by their numbers.
    pub fn host_names(&self) -> &[String] {
        self.wires.names()
    }

    fn turn<'t>(wires: &'t mut Wires, now: Nanos, out: &'t mut Outbox) -> Turn<'t> {
        Turn { now, out, wires }
    }
}
