//! Faults, captures, and that nobody's chance is moved by anybody else.

use std::sync::{Arc, Mutex};

use netsplit_netmodel::Cause;
use netsplit_netmodel::capture::{Point, Remark, Sight};

use super::*;

#[test]
fn a_delay_is_what_was_asked_and_what_a_clean_link_takes() {
    let mut world = World::new(1, 2);
    let server = world.bound(1, Kind::Datagram, "0.0.0.0:53");
    let client = world.socket(0, Kind::Datagram);
    world.one_way(1, 0, 1, Condition::new().delay(ms(10)));
    world.send_to(client, b"x", "10.0.0.2:53").unwrap();
    world.run(10 * MS + 49_999);
    assert_eq!(world.read(server), Err(Errno::EAGAIN));
    world.run(1);
    assert!(world.read(server).is_ok());
}

#[test]
fn faults_turn_by_themselves() {
    let mut world = World::new(1, 2);
    let schedule = Schedule { after: ms(100), lasts: Some(ms(200)), ..Schedule::default() };
    let scope = Scope::Isolate { hosts: vec![1] };
    let fault = Fault { scope, condition: Condition::new().cut(), schedule };
    world.call(|net, now, out| net.begin_fault(now, out, 7, fault)).unwrap();
    let passage = |world: &World| world.behaviour(0, 1);
    assert_eq!(passage(&world), "nothing");
    world.run(150 * MS);
    assert_eq!(passage(&world), "cut");
    assert_eq!(world.net.faults().count(), 1);
    world.add("c");
    assert_eq!(world.behaviour(1, 2), "cut", "of new ones, too");
    world.run(150 * MS);
    assert_eq!(passage(&world), "nothing");
    let turns: Vec<_> = world.net.take_turns().iter().map(|turn| (turn.id, turn.at)).collect();
    assert_eq!(turns, [(7, ms(100)), (7, ms(300))]);
    assert!(world.call(|net, now, out| net.heal_fault(now, out, 7)).is_err());
}

#[test]
fn held_packets_go_when_released() {
    let mut world = World::new(1, 2);
    let server = world.bound(1, Kind::Datagram, "0.0.0.0:53");
    let client = world.socket(0, Kind::Datagram);
    world.one_way(1, 0, 1, Condition::new().hold());
    for at in 0..5u8 {
        world.send_to(client, &[at], "10.0.0.2:53").unwrap();
    }
    world.run(10 * S);
    assert_eq!(world.read(server), Err(Errno::EAGAIN));
    world.heal(1);
    world.run(MS);
    let got: Vec<_> = std::iter::from_fn(|| world.read(server).ok()).flatten().collect();
    assert_eq!(got, [0, 1, 2, 3, 4]);
}

#[test]
fn corrupted_packets_fail_their_checksum() {
    let mut world = World::new(1, 2);
    let server = world.bound(1, Kind::Datagram, "0.0.0.0:53");
    let client = world.socket(0, Kind::Datagram);
    world.one_way(1, 0, 1, Condition::new().corrupt(0.3));
    for _ in 0..200 {
        world.send_to(client, b"words", "10.0.0.2:53").unwrap();
        world.run(MS);
    }
    let got: Vec<_> = std::iter::from_fn(|| world.read(server).ok()).collect();
    assert!(got.iter().all(|data| data == b"words"));
    assert_eq!(got.len() as u64 + world.net.corrupted(), 200);
    assert!((40..80).contains(&world.net.corrupted()), "{}", world.net.corrupted());
}

/// Which of 200 datagrams from `a` to `b` arrive, and the port of each of ten sockets of `a`, while others do other things.
fn fates(seed: u64, others: bool) -> (Vec<u8>, Vec<u16>) {
    let mut world = World::new(seed, 2);
    if others {
        let [c, d] = ["c", "d"].map(|name| world.add(name));
        world.begin(9, Scope::BothWays { left: vec![2, 3], right: vec![0, 1] }, Condition::new().loss(0.5));
        let listener = world.listener(d.0, 80, 8);
        for _ in 0..20 {
            world.connecting(c.0, "10.0.0.4:80");
        }
        world.run(MS);
        while world.net.accept(listener).is_ok() {}
    }
    world.one_way(1, 0, 1, Condition::new().loss(0.3).duplicate(0.1).delay(ms(5)));
    let server = world.bound(1, Kind::Datagram, "0.0.0.0:53");
    let client = world.socket(0, Kind::Datagram);
    let noise = others.then(|| world.bound(2, Kind::Datagram, "0.0.0.0:53"));
    for at in 0..200u8 {
        world.send_to(client, &[at], "10.0.0.2:53").unwrap();
        if let Some(noise) = noise {
            world.send_to(noise, &[at], "10.0.0.2:99").unwrap();
            world.send_to(noise, &[at], "10.0.0.4:99").unwrap();
        }
        world.run(10 * MS);
    }
    let got = std::iter::from_fn(|| world.read(server).ok()).flatten().collect();
    let port = |world: &mut World| {
        let id = world.bound(0, Kind::Datagram, "0.0.0.0:0");
        world.net.local_addr(id).unwrap().port()
    };
    (got, (0..10).map(|_| port(&mut world)).collect())
}

#[test]
fn other_hosts_and_flows_move_no_draw() {
    let alone = fates(1, false);
    assert_eq!(alone, fates(1, true));
    assert_ne!(alone, fates(2, false));
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let mut world = World::new(seed, 3);
        let [client, server] = world.pair();
        world.both_ways(1, 0, 1, Condition::new().loss(0.1).delay(ms(3)));
        world.send(client, &bytes(50_000)).unwrap();
        world.close(client);
        world.run(100 * S);
        (world.trace, world.events, world.read(server).map(|data| data.len()))
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}

/// The sum of a packet's 16-bit words with its pseudo header, which is all ones when it is right.
pub(super) fn is_sum_right(packet: &[u8]) -> bool {
    let sum = |bytes: &[u8]| -> u32 {
        bytes
            .chunks(2)
            .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)))
            .sum()
    };
    let fold = |sum: u32| (sum & 0xffff) + (sum >> 16);
    let (protocol, addresses, body) = if packet[0] >> 4 == 4 {
        assert_eq!(fold(fold(sum(&packet[..20]))), 0xffff, "the header's");
        assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
        (packet[9], &packet[12..20], &packet[20..])
    } else {
        assert_eq!(usize::from(u16::from_be_bytes([packet[4], packet[5]])) + 40, packet.len());
        (packet[6], &packet[8..40], &packet[40..])
    };
    let pseudo = if protocol == 1 {
        0
    } else {
        sum(addresses) + u32::from(protocol) + u32::try_from(body.len()).unwrap()
    };
    fold(fold(fold(pseudo + sum(body)))) == 0xffff
}

pub(super) struct Seen {
    pub(super) from: usize,
    to: Option<usize>,
    pub(super) point: Point,
    remark: Remark,
    bytes: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Watched(Arc<Mutex<Vec<Seen>>>);

impl Watched {
    pub(super) fn begin(world: &mut World) -> Self {
        let watched = Self::default();
        let seen = Arc::clone(&watched.0);
        world.net.watch(Some(Box::new(move |sight, bytes| {
            let Sight { from, to, point, remark, .. } = *sight;
            seen.lock().unwrap().push(Seen { from, to, point, remark, bytes: bytes() });
        })));
        watched
    }

    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[test]
fn captures_have_real_packets() {
    let mut world = World::new(1, 2);
    let watched = Watched::begin(&mut world);
    let [client, _server] = world.pair();
    world.send(client, b"bytes").unwrap();
    let six = world.net.socket(HostIndex(0), Family::V6, Kind::Datagram);
    for to in ["[fd00::2]:53", "[::ffff:10.0.0.2]:53"] {
        world.send_to(six, b"odd", to).unwrap();
    }
    world.run(MS);
    let sights = watched.take();
    assert!(sights.iter().all(|sight| is_sum_right(&sight.bytes)));
    let at = |point| sights.iter().filter(move |sight| sight.point == point).map(|sight| &sight.bytes);
    assert!(at(Point::Sent).eq(at(Point::Given)) || at(Point::Sent).count() == at(Point::Given).count());
    let syn = &sights[0].bytes;
    assert_eq!((syn.len(), syn[9], syn[33]), (48, 6, 2), "TCP with its options, SYN");
    assert_eq!(&syn[12..20], &[10, 0, 0, 1, 10, 0, 0, 2]);
    let kinds: Vec<_> = sights
        .iter()
        .filter(|sight| sight.point == Point::Given)
        .map(|sight| {
            let bytes = &sight.bytes;
            if bytes[0] >> 4 == 4 { bytes[9] } else { bytes[6] }
        })
        .collect();
    assert_eq!(kinds, [6, 6, 6, 6, 17, 17, 6, 58, 1]);
    // The lengths that links count are those of the bytes.
    let sum: u64 =
        sights.iter().filter(|s| s.point == Point::Sent && s.from == 0).map(|s| s.bytes.len() as u64).sum();
    let link = world.net.links().find(|link| link.from.0 == 0).unwrap();
    assert_eq!(link.counters.offered.bytes, sum);

    world.one_way(1, 0, 1, Condition::new().corrupt(1.0));
    world.send_to(six, b"flip", "[fd00::2]:53").unwrap();
    world.one_way(2, 0, 1, Condition::new().cut());
    world.send_to(six, b"cut", "[fd00::2]:53").unwrap();
    world.run(MS);
    let remarks: Vec<_> = watched.take().iter().map(|sight| (sight.point, sight.remark)).collect();
    let altered = Remark::Altered { is_duplicated: false, is_corrupted: true };
    let cut = Remark::Dropped(Cause::Cut);
    assert_eq!(remarks, [(Point::Sent, altered), (Point::Sent, cut), (Point::Missed, cut)]);
}

/// IPv4's identification.
fn number(seen: &Seen) -> u16 {
    u16::from_be_bytes([seen.bytes[4], seen.bytes[5]])
}

#[test]
fn a_packet_is_told_apart_from_the_next_and_not_from_its_copies() {
    let mut world = World::new(1, 3);
    let watched = Watched::begin(&mut world);
    let client = world.socket(0, Kind::Datagram);
    world.one_way(1, 0, 1, Condition::new().duplicate(1.0));
    (0..2).for_each(|_| world.send_to(client, b"x", "10.0.0.2:53").map(drop).unwrap());
    world.call(|net, _, _| net.power_off(HostIndex(1)));
    world.run(MS);
    let seen = watched.take();
    let [first, second] = [number(&seen[0]), number(&seen[1])];
    assert_ne!(first, second);
    let arrived: Vec<_> = seen[2..].iter().map(|seen| (number(seen), seen.point, seen.remark)).collect();
    let missed = |number| (number, Point::Missed, Remark::NOT_TAKEN);
    assert_eq!(arrived, [first, first, second, second].map(missed));
}

#[test]
fn a_packet_to_several_is_shown_to_each_and_then_to_all() {
    let mut world = World::new(1, 3);
    let watched = Watched::begin(&mut world);
    let [own, other] = [0, 2].map(|host| world.bound(host, Kind::Datagram, "0.0.0.0:53"));
    for id in [own, other] {
        world.net.join_group(id, "239.1.1.1".parse().unwrap()).unwrap();
    }
    world.send_to(own, b"x", "239.1.1.1:53").unwrap();
    // To itself it is on no link.
    world.send_to(own, b"x", "127.0.0.1:53").unwrap();
    world.run(MS);
    let seen: Vec<_> = watched.take().iter().map(|seen| (seen.from, seen.to, seen.point)).collect();
    assert_eq!(
        seen,
        [(0, Some(2), Point::SentToOne), (0, None, Point::SentToAll), (0, Some(2), Point::Given)]
    );
}

/// The packet that was taken into these parts.
pub(super) fn put_together(parts: &[Seen]) -> Vec<u8> {
    let is_v4 = parts[0].bytes[0] >> 4 == 4;
    let (header, extension) = if is_v4 { (20, 0) } else { (40, 8) };
    let mut whole = parts[0].bytes[..header].to_vec();
    for Seen { bytes, .. } in parts {
        let place = if is_v4 {
            usize::from(u16::from_be_bytes([bytes[6], bytes[7]]) & 0x1fff) * 8
        } else {
            usize::from(u16::from_be_bytes([bytes[42], bytes[43]]) & 0xfff8)
        };
        assert_eq!(place, whole.len() - header);
        whole.extend(&bytes[header + extension..]);
    }
    let length = u16::try_from(whole.len() - if is_v4 { 0 } else { 40 }).unwrap().to_be_bytes();
    if is_v4 {
        // Its header's own checksum is of a part.
        whole[2..4].copy_from_slice(&length);
        whole[10..12].fill(0);
        let sum: u32 = whole[..20].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        whole[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        whole[4..6].copy_from_slice(&length);
        whole[6] = 17;
    }
    whole
}

#[test]
fn parts_put_together_have_the_checksum_of_the_whole() {
    let mut world = World::new(1, 2);
    let watched = Watched::begin(&mut world);
    world.one_way(1, 0, 1, Condition::new().mtu(1500));
    let id = world.net.socket(HostIndex(0), Family::V6, Kind::Datagram);
    for to in ["[fd00::2]:53", "[::ffff:10.0.0.2]:53"] {
        world.send_to(id, &bytes(4001), to).unwrap();
        let sights = watched.take();
        assert_eq!(sights.len(), 3);
        assert!(sights.iter().all(|sight| sight.bytes.len() <= 1500));
        assert!(is_sum_right(&put_together(&sights)), "{to}");
    }
}
