//! Boxes: routers between two networks, with or without a translator or a firewall, which the fabric runs itself. They need
//! no host, and nothing of the kernel. Frames and time go in, frames and a deadline come out: no I/O, no clock.
//!
//! A frame that comes to a box goes this way:
//!
//! ```text
//! ARP, neighbour solicitations ─► answered for the address of that side
//! IP ─► to the box itself? ping is answered ─► route ─► one hop less ─► Nat::pass ─► neighbour's MAC, or wait for it ─► out
//!            other: dropped                    none: told   none left: told   refused: dropped        nobody: dropped
//! ```
//!
//! Groups, link-local addresses and frames with VLAN tags are not forwarded. A packet that leaves by the side it came from
//! is not translated, but for hairpins. What a box answers itself goes back to the neighbour that passed the packet on.
//! There is no MTU here: links have one.

mod answers;
mod neighbours;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netsplit_netmodel::Count;
use netsplit_netmodel::nat::{Checksum, Nat, NatBehaviour, Refusal, Side, hop};

use crate::Mac;
use crate::buffers::Buffer;
use crate::frame::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER, PAYLOAD, read_u16};
use answers::{Failure, Packet};
use neighbours::{Neighbours, Want};

/// A router between two networks, to be [added](crate::Fabric::add_box).
///
/// Its sides are ports as those of hosts are, so that links to and from them are cut, delayed and captured as any: the one
/// outside has the box's name, the one inside that and `@inside`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoxSpec {
    /// Its name, and that of its port outside. Its hardware addresses and random ports are made from it.
    pub name: String,
    /// The side of those whom it translates or protects.
    pub inside: BoxSide,
    /// The side of all others.
    pub outside: BoxSide,
    /// Where packets go that are for neither network.
    pub routes: Vec<BoxRoute>,
    /// What it does to flows: [`NatKind::behaviour`](netsplit_netmodel::nat::NatKind::behaviour) has the usual ones.
    pub behaviour: NatBehaviour,
}

/// One side of a box: its network, and its address there with the length of the network's prefix in bits. Hosts route to
/// these addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoxSide {
    /// The network, as [`Port::on`](crate::Port::on) has it.
    pub network: String,
    /// IPv4. `None`: it has none on this side. What a translator sends out has the one outside.
    pub v4: Option<(Ipv4Addr, u8)>,
    /// IPv6.
    pub v6: Option<(Ipv6Addr, u8)>,
}

/// Where packets go whose destination begins with these bits. The longest prefix counts; the box's own networks are such
/// prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoxRoute {
    /// The first bits; further ones do not matter.
    pub to: IpAddr,
    /// How many. 0: all of this family.
    pub prefix_bits: u8,
    /// The next router, on one of the box's networks.
    pub via: IpAddr,
}

/// What a box has done.
#[derive(Clone, Debug)]
pub struct BoxReport {
    /// Its name.
    pub name: String,
    /// Packets that it forwarded to its network inside. Bytes are those of packets; a super-frame is one.
    pub to_inside: Count,
    /// To its network outside.
    pub to_outside: Count,
    /// Packets that it did not forward, by cause. What is for itself and was answered is not among them.
    pub dropped: BTreeMap<BoxDrop, Count>,
    /// How many mappings it has.
    pub mappings: usize,
    /// How many sessions it has.
    pub sessions: usize,
    /// Packets that wait for a neighbour's hardware address.
    pub waiting: usize,
}

/// Why a box did not forward a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BoxDrop {
    /// Its translator or firewall does not let it pass.
    Refused(Refusal),
    /// Its headers contradict each other, or the checksum of its IP header is wrong.
    Malformed,
    /// It had no hop left. Its sender was told.
    Expired,
    /// No route leads to its destination. Its sender was told.
    NoRoute,
    /// Nobody answers for its next hop within three seconds, or too many packets wait. Its sender is not told.
    Unresolved,
    /// It is for the box itself, and no ping.
    Own,
    /// It is for a group, of link-local addresses, or no IP at all.
    Local,
}

/// A box at work.
#[derive(Debug)]
pub(crate) struct Router {
    name: String,
    nat: Nat,
    is_translator: bool,
    stations: [Station; 2],
    routes: Vec<Route>,
    out: VecDeque<(Side, Buffer)>,
    forwarded: [Count; 2],
    dropped: BTreeMap<BoxDrop, Count>,
}

/// One side.
#[derive(Debug)]
struct Station {
    mac: Mac,
    v4: Option<(Ipv4Addr, u8)>,
    v6: Option<(Ipv6Addr, u8)>,
    neighbours: Neighbours,
}

#[derive(Debug)]
struct Route {
    to: IpAddr,
    prefix_bits: u8,
    side: Side,
    /// `None`: it is there.
    via: Option<IpAddr>,
}

impl BoxSpec {
    /// The name of its port on one side.
    pub fn port_name(&self, side: Side) -> String {
        match side {
            Side::Outside => self.name.clone(),
            Side::Inside => format!("{}@inside", self.name),
        }
    }

    pub(crate) fn side(&self, side: Side) -> &BoxSide {
        match side {
            Side::Outside => &self.outside,
            Side::Inside => &self.inside,
        }
    }

    /// What is wrong with it.
    fn mistake(&self) -> Option<String> {
        let (inside, outside) = (&self.inside, &self.outside);
        let prefixes = |side: &BoxSide| {
            let v4 = side.v4.map(|(address, bits)| (IpAddr::V4(address), bits));
            [v4, side.v6.map(|(address, bits)| (IpAddr::V6(address), bits))].into_iter().flatten()
        };
        let own: Vec<_> = [inside, outside].into_iter().flat_map(prefixes).collect();
        let routes = self.routes.iter().map(|route| (route.to, route.prefix_bits));
        if self.name.is_empty() {
            return Some("it has no name".to_owned());
        }
        if inside.network == outside.network {
            return Some(format!("both its sides are on network `{}`", inside.network));
        }
        if let Some((address, bits)) =
            own.iter().copied().chain(routes).find(|(address, bits)| *bits > length(*address))
        {
            return Some(format!("{address}/{bits} is no prefix"));
        }
        let overlap = prefixes(inside).find(|(address, bits)| {
            prefixes(outside).any(|(other, others)| is_in(other, *address, (*bits).min(others)))
        });
        if let Some((address, bits)) = overlap {
            return Some(format!("{address}/{bits} is on both its sides"));
        }
        if self.behaviour.mapping.is_some() && inside.v4.is_some() && outside.v4.is_none() {
            return Some("it translates IPv4, and has no IPv4 address outside".to_owned());
        }
        let lost = self.routes.iter().find(|route| {
            route.to.is_ipv4() != route.via.is_ipv4()
                || !own.iter().any(|(address, bits)| is_in(route.via, *address, *bits))
        });
        lost.map(|route| format!("{} is on none of its networks", route.via))
    }
}

impl Router {
    /// # Errors
    /// What is wrong with the box.
    pub(crate) fn new(seed: u64, spec: &BoxSpec) -> Result<Self, String> {
        if let Some(mistake) = spec.mistake() {
            return Err(mistake);
        }
        let station = |side: Side| {
            let BoxSide { v4, v6, .. } = *spec.side(side);
            Station { mac: mac(&spec.port_name(side)), v4, v6, neighbours: Neighbours::default() }
        };
        let stations = Side::ALL.map(station);
        let mut routes: Vec<Route> = Vec::new();
        for side in Side::ALL {
            let own = stations[side as usize].prefixes();
            routes.extend(own.map(|(to, prefix_bits)| Route { to, prefix_bits, side, via: None }));
        }
        for BoxRoute { to, prefix_bits, via } in spec.routes.iter().copied() {
            let is_there = |side: &Side| stations[*side as usize].is_near(via);
            let side = Side::ALL.into_iter().find(is_there).unwrap_or(Side::Outside);
            routes.push(Route { to, prefix_bits, side, via: Some(via) });
        }
        // The longest first; of two the one said first.
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix_bits));
        let outside = spec.outside.v4.map(|(address, _)| address);
        Ok(Self {
            name: spec.name.clone(),
            nat: Nat::new(seed, &spec.name, outside, spec.behaviour),
            is_translator: spec.behaviour.mapping.is_some() && outside.is_some(),
            stations,
            routes,
            out: VecDeque::new(),
            forwarded: [Count::default(); 2],
            dropped: BTreeMap::new(),
        })
    }

    /// The hardware address of one side.
    pub(crate) fn mac(&self, side: Side) -> Mac {
        self.stations[side as usize].mac
    }

    pub(crate) fn report(&self) -> BoxReport {
        BoxReport {
            name: self.name.clone(),
            to_inside: self.forwarded[Side::Inside as usize],
            to_outside: self.forwarded[Side::Outside as usize],
            dropped: self.dropped.clone(),
            mappings: self.nat.mappings(),
            sessions: self.nat.sessions(),
            waiting: self.stations.iter().map(|station| station.neighbours.waiting()).sum(),
        }
    }

    /// The next frame that goes out, and by which side.
    pub(crate) fn transmit(&mut self) -> Option<(Side, Buffer)> {
        self.out.pop_front()
    }

    /// When [`Self::tick`] is to be called next.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.stations.iter().filter_map(|station| station.neighbours.deadline()).min()
    }

    /// Asks again for neighbours that did not answer, and gives up.
    pub(crate) fn tick(&mut self, now: Duration) {
        for side in Side::ALL {
            let (again, lost) = self.stations[side as usize].neighbours.tick(now);
            for frame in lost {
                self.drop(BoxDrop::Unresolved, &frame);
            }
            for address in again {
                self.ask(side, address);
            }
        }
    }

    /// Takes a frame that came to one side.
    pub(crate) fn receive(&mut self, now: Duration, from: Side, mut frame: Buffer) {
        match read_u16(&frame, HEADER + 12) {
            Some(ETHERTYPE_ARP) => self.arp(now, from, &frame),
            Some(kind @ (ETHERTYPE_IPV4 | ETHERTYPE_IPV6)) => {
                if !frame::is_super(&frame) {
                    frame::finish_checksum(&mut frame);
                }
                match Packet::of(&frame, kind == ETHERTYPE_IPV4) {
                    Some(packet) => self.ip(now, from, packet, frame),
                    None => self.drop(BoxDrop::Malformed, &frame),
                }
            }
            _ => self.drop(BoxDrop::Local, &frame),
        }
    }

    fn arp(&mut self, now: Duration, from: Side, frame: &[u8]) {
        let Some(arp) = answers::Arp::of(frame) else { return self.drop(BoxDrop::Malformed, frame) };
        self.learn(now, from, arp.sender.into(), arp.sender_mac);
        let station = &self.stations[from as usize];
        if arp.is_request && station.v4.is_some_and(|(own, _)| own == arp.target) {
            let reply = answers::arp_reply(&arp, station.mac);
            self.out.push_back((from, reply));
        }
    }

    fn ip(&mut self, now: Duration, from: Side, packet: Packet, frame: Buffer) {
        let sender_mac = frame::source(&frame);
        if self.discovery(now, from, packet, &frame) {
            return;
        }
        self.stations[from as usize].neighbours.confirm(now, packet.source, sender_mac);
        let is_to_group = frame::destination(&frame).is_none_or(Mac::is_group);
        if is_to_group || is_local(packet.source) || is_local(packet.destination) {
            return self.drop(BoxDrop::Local, &frame);
        }
        let is_own = self.stations.iter().any(|station| station.has(packet.destination));
        if is_own && packet.is_echo_request(&frame) {
            let mac = self.mac(from);
            match answers::echo_reply(packet, &frame, mac) {
                Some(reply) => self.out.push_back((from, reply)),
                None => self.drop(BoxDrop::Malformed, &frame),
            }
            return;
        }
        let outside = self.stations[Side::Outside as usize].v4.map(|(own, _)| IpAddr::V4(own));
        if is_own && !(self.is_translator && outside == Some(packet.destination)) {
            return self.drop(BoxDrop::Own, &frame);
        }
        self.forward(now, from, packet, frame, is_own);
    }

    /// Takes what finds neighbours. `false`: it does not.
    fn discovery(&mut self, now: Duration, from: Side, packet: Packet, frame: &[u8]) -> bool {
        let Some(discovery) = packet.discovery(frame) else { return false };
        let station = &self.stations[from as usize];
        let answer = discovery
            .is_solicitation
            .then(|| station.v6.filter(|(own, _)| *own == discovery.target))
            .flatten()
            .map(|_| answers::advertisement(packet, &discovery, station.mac));
        let about = if discovery.is_solicitation { packet.source } else { discovery.target.into() };
        if let Some(mac) = discovery.mac {
            self.learn(now, from, about, mac);
        }
        self.out.extend(answer.map(|answer| (from, answer)));
        true
    }

    /// Sends a packet on. `to_itself`: to its address outside, which stands for those inside.
    fn forward(&mut self, now: Duration, from: Side, packet: Packet, mut frame: Buffer, to_itself: bool) {
        let way_out = self.route(packet.destination).map(|(side, _)| side);
        if way_out.is_none() && !to_itself {
            self.tell(from, packet, &frame, Failure::NoRoute);
            return self.drop(BoxDrop::NoRoute, &frame);
        }
        if !hop(&mut frame[PAYLOAD..]) {
            self.tell(from, packet, &frame, Failure::Expired);
            return self.drop(BoxDrop::Expired, &frame);
        }
        let is_turn = way_out == Some(from) && !to_itself;
        let checksum = if frame::is_unfinished(&frame) { Checksum::Unfinished } else { Checksum::Finished };
        let passed =
            if is_turn { Ok(from) } else { self.nat.pass(now, from, &mut frame[PAYLOAD..], checksum) };
        let to = match passed {
            Ok(to) => to,
            Err(refusal) => return self.drop(BoxDrop::Refused(refusal), &frame),
        };
        // Its destination may be another by now.
        let next = answers::destination(&frame, packet.is_ipv4).and_then(|address| self.route(address));
        match next {
            Some((side, next)) if side == to => self.send(now, to, next, frame),
            _ => self.drop(BoxDrop::NoRoute, &frame),
        }
    }

    /// The side and the next hop for a destination.
    fn route(&self, destination: IpAddr) -> Option<(Side, IpAddr)> {
        let route = self.routes.iter().find(|route| is_in(destination, route.to, route.prefix_bits))?;
        Some((route.side, route.via.unwrap_or(destination)))
    }

    fn send(&mut self, now: Duration, to: Side, next: IpAddr, frame: Buffer) {
        match self.stations[to as usize].neighbours.want(now, next, frame) {
            Want::Send(mac, frame) => self.emit(to, mac, frame),
            Want::Ask => self.ask(to, next),
            Want::Wait => {}
            Want::Full(frame) => self.drop(BoxDrop::Unresolved, &frame),
        }
    }

    fn emit(&mut self, to: Side, mac: Mac, mut frame: Buffer) {
        frame[HEADER..HEADER + 6].copy_from_slice(&mac.0);
        frame[HEADER + 6..HEADER + 12].copy_from_slice(&self.mac(to).0);
        add(&mut self.forwarded[to as usize], &frame);
        self.out.push_back((to, frame));
    }

    fn ask(&mut self, side: Side, address: IpAddr) {
        let station = &self.stations[side as usize];
        let question = match address {
            IpAddr::V4(wanted) => station.v4.map(|(own, _)| answers::arp_request(own, station.mac, wanted)),
            IpAddr::V6(wanted) => station.v6.map(|(own, _)| answers::solicitation(own, station.mac, wanted)),
        };
        self.out.extend(question.map(|question| (side, question)));
    }

    /// Notes who has an address, and sends what waited for it.
    fn learn(&mut self, now: Duration, from: Side, address: IpAddr, mac: Mac) {
        let station = &mut self.stations[from as usize];
        if mac.is_group() || !station.is_near(address) || station.has(address) {
            return;
        }
        for frame in station.neighbours.learn(now, address, mac) {
            self.emit(from, mac, frame);
        }
    }

    /// Tells a packet's sender why it goes no further.
    fn tell(&mut self, from: Side, packet: Packet, frame: &[u8], failure: Failure) {
        let station = &self.stations[from as usize];
        let own: Option<IpAddr> = if packet.is_ipv4 {
            station.v4.map(|(own, _)| own.into())
        } else {
            station.v6.map(|(own, _)| own.into())
        };
        let answer = own.and_then(|own| answers::error(packet, frame, own, station.mac, failure));
        self.out.extend(answer.map(|answer| (from, answer)));
    }

    fn drop(&mut self, cause: BoxDrop, frame: &[u8]) {
        add(self.dropped.entry(cause).or_default(), frame);
    }
}

impl Station {
    fn prefixes(&self) -> impl Iterator<Item = (IpAddr, u8)> + use<> {
        let v4 = self.v4.map(|(address, bits)| (IpAddr::V4(address), bits));
        [v4, self.v6.map(|(address, bits)| (IpAddr::V6(address), bits))].into_iter().flatten()
    }

    fn has(&self, address: IpAddr) -> bool {
        self.prefixes().any(|(own, _)| own == address)
    }

    fn is_near(&self, address: IpAddr) -> bool {
        self.prefixes().any(|(own, bits)| is_in(address, own, bits))
    }
}

impl fmt::Display for BoxDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Malformed => f.write_str("malformed"),
            Self::Expired => f.write_str("no hop left"),
            Self::NoRoute => f.write_str("no route"),
            Self::Unresolved => f.write_str("nobody answers for its next hop"),
            Self::Own => f.write_str("for the box itself"),
            Self::Local => f.write_str("not to be forwarded"),
        }
    }
}

fn add(count: &mut Count, frame: &[u8]) {
    count.packets += 1;
    count.bytes += frame.len().saturating_sub(PAYLOAD) as u64;
}

/// The bits of an address.
fn length(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether an address begins with the first `bits` of a network's.
fn is_in(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let different = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => u128::from(address.to_bits() ^ network.to_bits()) << 96,
        (IpAddr::V6(address), IpAddr::V6(network)) => address.to_bits() ^ network.to_bits(),
        _ => return false,
    };
    different.leading_zeros() >= u32::from(bits)
}

/// Whether an address means something on its own network only, or nothing.
fn is_local(address: IpAddr) -> bool {
    let is_v4_local =
        |address: Ipv4Addr| address.is_broadcast() || address.is_link_local() || address.octets()[0] == 0;
    address.is_multicast()
        || address.is_loopback()
        || address.is_unspecified()
        || match address {
            IpAddr::V4(address) => is_v4_local(address),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        }
}

/// A hardware address that is the same from run to run: locally administered, and 40 bits of a port's name (FNV-1a).
fn mac(port: &str) -> Mac {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = port.bytes().fold(BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    let [_, _, _, a, b, c, d, e] = hash.to_be_bytes();
    Mac([2, a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use netsplit_netmodel::nat::NatKind;

    use super::*;
    use crate::packets::{Read, end, read, tcp, udp};

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const C: Mac = Mac([2, 0, 0, 0, 0, 3]);
    const GROUP: Mac = Mac([0xff; 6]);
    const NOW: Duration = Duration::from_secs(1);

    fn spec(kind: NatKind) -> BoxSpec {
        let side = |network: &str, v4: [u8; 4], v6: &str| BoxSide {
            network: network.to_owned(),
            v4: Some((v4.into(), 24)),
            v6: Some((v6.parse().unwrap(), 64)),
        };
        BoxSpec {
            name: "box".to_owned(),
            inside: side("lan", [10, 0, 0, 254], "fd00::fe"),
            outside: side("wan", [203, 0, 113, 254], "2001:db8::fe"),
            routes: Vec::new(),
            behaviour: kind.behaviour(),
        }
    }

    fn router(kind: NatKind) -> Router {
        Router::new(1, &spec(kind)).unwrap()
    }

    fn frame(to: Mac, from: Mac, kind: u16, packet: &[u8]) -> Vec<u8> {
        [&[0; HEADER][..], &to.0, &from.0, &kind.to_be_bytes(), packet].concat()
    }

    impl Router {
        /// What goes out when a packet comes in: by which side, to whom, and the packet.
        fn give(&mut self, from: Side, packet: &[u8]) -> Vec<(Side, Mac, Vec<u8>)> {
            let sender = if from == Side::Inside { A } else { C };
            let kind = if packet[0] >> 4 == 4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
            let frame = frame(self.mac(from), sender, kind, packet);
            self.receive(NOW, from, frame);
            self.sent()
        }

        fn sent(&mut self) -> Vec<(Side, Mac, Vec<u8>)> {
            let out = std::iter::from_fn(|| self.transmit());
            let split = |(side, frame): (Side, Buffer)| {
                (side, frame::destination(&frame).unwrap(), frame[PAYLOAD..].to_vec())
            };
            out.map(split).collect()
        }

        /// Has both sides know their hosts.
        fn meet(&mut self) {
            for (side, mac, addresses) in [
                (Side::Inside, A, ["10.0.0.1", "fd00::1"]),
                (Side::Outside, C, ["203.0.113.3", "2001:db8::3"]),
            ] {
                for address in addresses {
                    self.learn(NOW, side, address.parse().unwrap(), mac);
                }
            }
        }
    }

    fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        [&[0, 1, 8, 0, 6, 4, 0, operation][..], &A.0, &sender, &[0; 6], &target].concat()
    }

    #[test]
    fn arp_is_answered_for_the_side_alone() {
        let mut router = router(NatKind::Home);
        let mut ask = |target| {
            let frame = frame(GROUP, A, ETHERTYPE_ARP, &arp(1, [10, 0, 0, 1], target));
            router.receive(NOW, Side::Inside, frame);
            router.sent()
        };
        let answers = ask([10, 0, 0, 254]);
        assert_eq!(answers.len(), 1);
        let (side, to, reply) = &answers[0];
        assert_eq!((*side, *to, reply[7]), (Side::Inside, A, 2));
        assert_eq!((&reply[8..14], &reply[14..18]), (&mac("box@inside").0[..], &[10, 0, 0, 254][..]));
        assert!(ask([10, 0, 0, 2]).is_empty());
        assert!(ask([203, 0, 113, 254]).is_empty());
    }

    #[test]
    fn solicitations_are_answered_for_the_side_alone() {
        let mut router = router(NatKind::Home);
        let own = mac("box");
        for (asker, target, answered) in [
            ("2001:db8::3", "2001:db8::fe", Some(C)),
            ("fe80::3", "2001:db8::fe", Some(C)),
            ("2001:db8::3", "2001:db8::4", None),
            ("2001:db8::3", "fd00::fe", None),
        ] {
            let question = answers::solicitation(asker.parse().unwrap(), C, target.parse().unwrap());
            router.receive(NOW, Side::Outside, question);
            let sent = router.sent();
            assert_eq!(sent.first().map(|(_, to, _)| *to), answered, "{asker} asks for {target}");
            if let Some((_, _, advertisement)) = sent.first() {
                assert_eq!((advertisement[7], advertisement[40], advertisement[44]), (255, 136, 0xe0));
                assert_eq!((&advertisement[64..66], &advertisement[66..72]), (&[2, 1][..], &own.0[..]));
                read(advertisement);
            }
        }
        // Whoever looks whether the address is free is told that it is not.
        let question = answers::solicitation(Ipv6Addr::UNSPECIFIED, C, "2001:db8::fe".parse().unwrap());
        router.receive(NOW, Side::Outside, question);
        assert_eq!(router.sent()[0].1, Mac([0x33, 0x33, 0, 0, 0, 1]));
    }

    #[test]
    fn packets_wait_for_their_next_hop() {
        let mut router = router(NatKind::Home);
        let packet = udp(end("10.0.0.1:5000"), end("203.0.113.3:80"), b"words");
        let asked = router.give(Side::Inside, &packet);
        assert_eq!((asked.len(), asked[0].0, asked[0].1), (1, Side::Outside, GROUP));
        assert_eq!(asked[0].2[24..28], [203, 0, 113, 3]);
        assert!(router.give(Side::Inside, &packet).is_empty());
        assert_eq!(router.report().waiting, 2);
        let reply = arp(2, [203, 0, 113, 3], [203, 0, 113, 254]);
        router.receive(NOW, Side::Outside, frame(mac("box"), A, ETHERTYPE_ARP, &reply));
        let sent = router.sent();
        assert_eq!(sent.iter().map(|(_, to, _)| *to).collect::<Vec<_>>(), [A, A]);
        assert_eq!(read(&sent[0].2).from, end("203.0.113.254:5000"));
        assert_eq!((sent[0].2[8], router.deadline()), (63, None));
        // Whoever asks for the box is known to it.
        let ask = arp(1, [10, 0, 0, 1], [10, 0, 0, 254]);
        router.receive(NOW, Side::Inside, frame(GROUP, A, ETHERTYPE_ARP, &ask));
        assert_eq!(router.sent().len(), 1);
        let back = udp(end("203.0.113.3:80"), end("203.0.113.254:5000"), b"back");
        let sent = router.give(Side::Outside, &back);
        assert_eq!((sent[0].0, sent[0].1, read(&sent[0].2).to), (Side::Inside, A, end("10.0.0.1:5000")));
    }

    #[test]
    fn nobody_is_waited_for_in_vain() {
        let mut router = router(NatKind::Router);
        let packet = udp(end("[fd00::1]:5000"), end("[2001:db8::9]:80"), b"words");
        let mut asked = router.give(Side::Inside, &packet).len();
        while let Some(at) = router.deadline() {
            router.tick(at);
            asked += router.sent().len();
        }
        assert_eq!((asked, router.report().dropped[&BoxDrop::Unresolved].packets), (3, 1));
    }

    #[test]
    fn who_sent_too_far_is_told() {
        for (from, to, own) in [
            ("10.0.0.1:5000", "203.0.113.3:80", "10.0.0.254"),
            ("[fd00::1]:5000", "[2001:db8::3]:80", "fd00::fe"),
        ] {
            let mut router = router(NatKind::Home);
            router.meet();
            let mut packet = udp(end(from), end(to), b"words");
            let ttl = if packet[0] >> 4 == 4 { 8 } else { 7 };
            while packet[ttl] > 1 {
                assert!(hop(&mut packet));
            }
            let told = router.give(Side::Inside, &packet);
            let Read { from: teller, to: told_to, payload, .. } = read(&told[0].2);
            assert_eq!((told.len(), told[0].0, told[0].1), (1, Side::Inside, A));
            assert_eq!((teller.0, told_to.0), (own.parse().unwrap(), end(from).0));
            assert_eq!(payload, packet);
            let error = told[0].2.clone();
            let kind = if ttl == 8 { error[20] } else { error[40] };
            assert_eq!(kind, if ttl == 8 { 11 } else { 3 });
            // Nobody is told about an error, or where there is no way.
            let lost = udp(end(from), end(if ttl == 8 { "192.0.2.1:1" } else { "[2001:db9::1]:1" }), b"");
            assert_eq!(router.give(Side::Inside, &lost).len(), 1);
            assert_eq!(router.nat.sessions(), 0);
        }
    }

    #[test]
    fn routes_lead_by_their_longest_prefix() {
        let mut spec = spec(NatKind::Router);
        let route = |to: &str, prefix_bits, via: &str| BoxRoute {
            to: to.parse().unwrap(),
            prefix_bits,
            via: via.parse().unwrap(),
        };
        spec.routes = vec![
            route("0.0.0.0", 0, "203.0.113.1"),
            route("10.1.0.0", 16, "10.0.0.9"),
            route("::", 0, "2001:db8::1"),
        ];
        let router = Router::new(1, &spec).unwrap();
        for (to, side, next) in [
            ("192.0.2.1", Side::Outside, "203.0.113.1"),
            ("10.1.2.3", Side::Inside, "10.0.0.9"),
            ("10.0.0.7", Side::Inside, "10.0.0.7"),
            ("2001:db9::1", Side::Outside, "2001:db8::1"),
        ] {
            assert_eq!(router.route(to.parse().unwrap()), Some((side, next.parse().unwrap())), "{to}");
        }
        spec.routes[1].via = "192.0.2.1".parse().unwrap();
        assert_eq!(Router::new(1, &spec).unwrap_err(), "192.0.2.1 is on none of its networks");
        spec.routes.clear();
        spec.outside.v4 = Some(([10, 0, 0, 1].into(), 16));
        assert_eq!(Router::new(1, &spec).unwrap_err(), "10.0.0.254/24 is on both its sides");
        spec.outside.v4 = Some(([10, 0, 0, 1].into(), 33));
        assert_eq!(Router::new(1, &spec).unwrap_err(), "10.0.0.1/33 is no prefix");
        spec.outside.v4 = None;
        assert!(Router::new(1, &spec).is_ok());
        spec.behaviour = NatKind::Home.behaviour();
        assert!(Router::new(1, &spec).unwrap_err().contains("no IPv4 address outside"));
    }

    #[test]
    fn what_is_for_the_box_itself_goes_no_further() {
        let mut router = router(NatKind::FullCone);
        router.meet();
        for (from, sender, own) in [
            (Side::Inside, "10.0.0.1:5000", "10.0.0.254:80"),
            (Side::Outside, "203.0.113.3:80", "10.0.0.254:80"),
            (Side::Outside, "[2001:db8::3]:80", "[2001:db8::fe]:80"),
        ] {
            assert!(router.give(from, &tcp(end(sender), end(own), 2, b"")).is_empty());
        }
        assert_eq!(router.report().dropped[&BoxDrop::Own].packets, 3);
        assert!(router.give(Side::Inside, &udp(end("[fe80::1]:1"), end("[2001:db8::3]:1"), b"")).is_empty());
        assert!(router.give(Side::Inside, &udp(end("10.0.0.1:1"), end("224.0.0.5:1"), b"")).is_empty());
        assert_eq!(router.report().dropped[&BoxDrop::Local].packets, 2);
        let mut wrong = udp(end("10.0.0.1:5000"), end("203.0.113.3:80"), b"");
        wrong[8] ^= 1;
        assert!(router.give(Side::Inside, &wrong).is_empty());
        assert_eq!(router.report().dropped[&BoxDrop::Malformed].packets, 1);
        // A hairpin leaves by the side that it came from, translated.
        let mapped = udp(end("10.0.0.1:5000"), end("203.0.113.3:80"), b"");
        assert_eq!(router.give(Side::Inside, &mapped).len(), 1);
        let near = router.give(Side::Inside, &udp(end("10.0.0.1:6000"), end("203.0.113.254:5000"), b""));
        assert_eq!((near[0].0, near[0].1), (Side::Inside, A));
        assert_eq!(read(&near[0].2).from, end("203.0.113.254:6000"));
    }

    #[test]
    fn nothing_that_comes_is_trusted() {
        let mut router = router(NatKind::Home);
        router.meet();
        let question = answers::solicitation("fd00::1".parse().unwrap(), A, "fd00::fe".parse().unwrap());
        let inside = router.mac(Side::Inside);
        let mut frames =
            vec![question, frame(inside, A, ETHERTYPE_ARP, &arp(1, [10, 0, 0, 1], [10, 0, 0, 254]))];
        for packet in [
            udp(end("10.0.0.1:5000"), end("203.0.113.3:80"), b"words"),
            tcp(end("10.0.0.1:5000"), end("203.0.113.254:80"), 2, b"words"),
            crate::packets::echo(end("10.0.0.1:5000"), end("10.0.0.254:0"), false),
        ] {
            frames.push(frame(inside, A, ETHERTYPE_IPV4, &packet));
        }
        frames.push(frame(
            inside,
            A,
            ETHERTYPE_IPV6,
            &udp(end("[fd00::1]:5000"), end("[2001:db8::3]:80"), b""),
        ));
        for whole in &frames {
            for side in Side::ALL {
                (0..whole.len()).for_each(|end| router.receive(NOW, side, whole[..end].to_vec()));
                for (at, value) in (0..whole.len()).flat_map(|at| [0, 1, 0x7f, 0xff].map(|value| (at, value)))
                {
                    let mut wrong = whole.clone();
                    wrong[at] = value;
                    router.receive(NOW, side, wrong);
                    router.sent();
                }
            }
        }
    }
}
