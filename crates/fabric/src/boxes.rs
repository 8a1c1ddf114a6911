//! Boxes: routers between two networks, with or without a translator or a firewall, which the fabric runs itself. They need
//! no host, and nothing of the kernel. Frames and time go in, frames and a deadline come out: no I/O, no clock. What
//! becomes of IP packets is decided by `netmodel`'s [`Router`]; here is what Ethernet needs beside it.
//!
//! A frame that comes to a box goes this way:
//!
//! ```text
//! ARP, neighbour solicitations ─► answered for the address of that side
//! IP ─► ping to the box itself? is answered ─► Router::pass ─► neighbour's MAC, or wait for it ─► out
//!                                              none: told or dropped  nobody: dropped
//! ```
//!
//! Frames to groups and those with VLAN tags are not forwarded. What a box answers itself goes back to the neighbour that
//! passed the packet on.

mod answers;
mod neighbours;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use netsplit_netmodel::Count;
use netsplit_netmodel::nat::{Bytes, Checksum, Side};
use netsplit_netmodel::router::{Router, RouterDrop, RouterSpec, is_local};

use crate::Mac;
use crate::buffers::Buffer;
use crate::frame::{self, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, HEADER, PAYLOAD, read_u16};
use answers::{Failure, Packet};
use neighbours::{Neighbours, Want};

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
    pub dropped: BTreeMap<RouterDrop, Count>,
    /// How many mappings it has.
    pub mappings: usize,
    /// How many sessions it has.
    pub sessions: usize,
    /// Packets that wait for a neighbour's hardware address.
    pub waiting: usize,
}

/// A box at work: a router, and who its neighbours are.
#[derive(Debug)]
pub(crate) struct Device {
    name: String,
    router: Router,
    stations: [Station; 2],
    out: VecDeque<(Side, Buffer)>,
    forwarded: [Count; 2],
    dropped: BTreeMap<RouterDrop, Count>,
}

/// One side.
#[derive(Debug)]
struct Station {
    mac: Mac,
    neighbours: Neighbours,
}

impl Device {
    /// # Errors
    /// What is wrong with the box.
    pub(crate) fn new(seed: u64, spec: &RouterSpec) -> Result<Self, String> {
        let station =
            |side: Side| Station { mac: mac(&spec.port_name(side)), neighbours: Neighbours::default() };
        Ok(Self {
            name: spec.name.clone(),
            router: Router::new(seed, spec)?,
            stations: Side::ALL.map(station),
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
            mappings: self.router.nat().mappings(),
            sessions: self.router.nat().sessions(),
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
                self.drop(RouterDrop::Unresolved, &frame);
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
                    None => self.drop(RouterDrop::Malformed, &frame),
                }
            }
            _ => self.drop(RouterDrop::Local, &frame),
        }
    }

    fn arp(&mut self, now: Duration, from: Side, frame: &[u8]) {
        let Some(arp) = answers::Arp::of(frame) else { return self.drop(RouterDrop::Malformed, frame) };
        self.learn(now, from, arp.sender.into(), arp.sender_mac);
        if arp.is_request && self.router.address(from, true) == Some(arp.target.into()) {
            let reply = answers::arp_reply(&arp, self.mac(from));
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
            return self.drop(RouterDrop::Local, &frame);
        }
        if self.router.has(packet.destination) && packet.is_echo_request(&frame) {
            let mac = self.mac(from);
            match answers::echo_reply(packet, &frame, mac) {
                Some(reply) => self.out.push_back((from, reply)),
                None => self.drop(RouterDrop::Malformed, &frame),
            }
            return;
        }
        self.forward(now, from, packet, frame);
    }

    /// Takes what finds neighbours. `false`: it does not.
    fn discovery(&mut self, now: Duration, from: Side, packet: Packet, frame: &[u8]) -> bool {
        let Some(discovery) = packet.discovery(frame) else { return false };
        let is_asked =
            discovery.is_solicitation && self.router.address(from, false) == Some(discovery.target.into());
        let answer = is_asked.then(|| answers::advertisement(packet, &discovery, self.mac(from)));
        let about = if discovery.is_solicitation { packet.source } else { discovery.target.into() };
        if let Some(mac) = discovery.mac {
            self.learn(now, from, about, mac);
        }
        self.out.extend(answer.map(|answer| (from, answer)));
        true
    }

    /// Sends a packet on.
    fn forward(&mut self, now: Duration, from: Side, packet: Packet, mut frame: Buffer) {
        let checksum = if frame::is_unfinished(&frame) { Checksum::Unfinished } else { Checksum::Finished };
        let view = Bytes::new(&mut frame[PAYLOAD..], checksum).map_err(RouterDrop::Refused);
        match view.and_then(|mut view| self.router.pass(now, from, &mut view)) {
            Ok((to, next)) => self.send(now, to, next, frame),
            Err(drop) => {
                let failure = match drop {
                    RouterDrop::NoRoute => Some(Failure::NoRoute),
                    RouterDrop::Expired => Some(Failure::Expired),
                    _ => None,
                };
                if let Some(failure) = failure {
                    self.tell(from, packet, &frame, failure);
                }
                self.drop(drop, &frame);
            }
        }
    }

    fn send(&mut self, now: Duration, to: Side, next: IpAddr, frame: Buffer) {
        match self.stations[to as usize].neighbours.want(now, next, frame) {
            Want::Send(mac, frame) => self.emit(to, mac, frame),
            Want::Ask => self.ask(to, next),
            Want::Wait => {}
            Want::Full(frame) => self.drop(RouterDrop::Unresolved, &frame),
        }
    }

    fn emit(&mut self, to: Side, mac: Mac, mut frame: Buffer) {
        frame[HEADER..HEADER + 6].copy_from_slice(&mac.0);
        frame[HEADER + 6..HEADER + 12].copy_from_slice(&self.mac(to).0);
        add(&mut self.forwarded[to as usize], &frame);
        self.out.push_back((to, frame));
    }

    fn ask(&mut self, side: Side, address: IpAddr) {
        let mac = self.mac(side);
        let question = match (self.router.address(side, address.is_ipv4()), address) {
            (Some(IpAddr::V4(own)), IpAddr::V4(wanted)) => Some(answers::arp_request(own, mac, wanted)),
            (Some(IpAddr::V6(own)), IpAddr::V6(wanted)) => Some(answers::solicitation(own, mac, wanted)),
            _ => None,
        };
        self.out.extend(question.map(|question| (side, question)));
    }

    /// Notes who has an address, and sends what waited for it.
    fn learn(&mut self, now: Duration, from: Side, address: IpAddr, mac: Mac) {
        let is_own = self.router.address(from, address.is_ipv4()) == Some(address);
        if mac.is_group() || is_own || !self.router.is_near(from, address) {
            return;
        }
        for frame in self.stations[from as usize].neighbours.learn(now, address, mac) {
            self.emit(from, mac, frame);
        }
    }

    /// Tells a packet's sender why it goes no further.
    fn tell(&mut self, from: Side, packet: Packet, frame: &[u8], failure: Failure) {
        let own = self.router.address(from, packet.is_ipv4);
        let answer = own.and_then(|own| answers::error(packet, frame, own, self.mac(from), failure));
        self.out.extend(answer.map(|answer| (from, answer)));
    }

    fn drop(&mut self, cause: RouterDrop, frame: &[u8]) {
        add(self.dropped.entry(cause).or_default(), frame);
    }
}

fn add(count: &mut Count, frame: &[u8]) {
    count.packets += 1;
    count.bytes += frame.len().saturating_sub(PAYLOAD) as u64;
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
    use std::net::Ipv6Addr;

    use netsplit_netmodel::nat::{NatKind, hop};
    use netsplit_netmodel::router::RouterSide;

    use super::*;
    use crate::packets::{Read, end, read, tcp, udp};

    const A: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const C: Mac = Mac([2, 0, 0, 0, 0, 3]);
    const GROUP: Mac = Mac([0xff; 6]);
    const NOW: Duration = Duration::from_secs(1);

    fn spec(kind: NatKind) -> RouterSpec {
        let side = |network: &str, v4: [u8; 4], v6: &str| RouterSide {
            network: network.to_owned(),
            v4: Some((v4.into(), 24)),
            v6: Some((v6.parse().unwrap(), 64)),
        };
        RouterSpec {
            name: "box".to_owned(),
            inside: side("lan", [10, 0, 0, 254], "fd00::fe"),
            outside: side("wan", [203, 0, 113, 254], "2001:db8::fe"),
            routes: Vec::new(),
            behaviour: kind.behaviour(),
        }
    }

    fn router(kind: NatKind) -> Device {
        Device::new(1, &spec(kind)).unwrap()
    }

    fn frame(to: Mac, from: Mac, kind: u16, packet: &[u8]) -> Vec<u8> {
        [&[0; HEADER][..], &to.0, &from.0, &kind.to_be_bytes(), packet].concat()
    }

    impl Device {
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
        assert_eq!((asked, router.report().dropped[&RouterDrop::Unresolved].packets), (3, 1));
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
            assert_eq!(router.report().sessions, 0);
        }
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
        assert_eq!(router.report().dropped[&RouterDrop::Own].packets, 3);
        assert!(router.give(Side::Inside, &udp(end("[fe80::1]:1"), end("[2001:db8::3]:1"), b"")).is_empty());
        assert!(router.give(Side::Inside, &udp(end("10.0.0.1:1"), end("224.0.0.5:1"), b"")).is_empty());
        assert_eq!(router.report().dropped[&RouterDrop::Local].packets, 2);
        let mut wrong = udp(end("10.0.0.1:5000"), end("203.0.113.3:80"), b"");
        wrong[8] ^= 1;
        assert!(router.give(Side::Inside, &wrong).is_empty());
        assert_eq!(router.report().dropped[&RouterDrop::Malformed].packets, 1);
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
