//! Promises of translators and firewalls: what each kind maps and lets in, for how long, and what holds of every packet;
//! and of the routers that they stand in.

mod packets;
mod routers;
mod rules;

use std::net::Ipv4Addr;
use std::time::Duration;

use netsplit_netmodel::nat::{Checksum, Nat, NatBehaviour, NatKind, NatRule, Ports, Refusal, Side, hop};
use packets::{End, ICMP, TCP, echo, end, ip, quoted, read, tcp, udp, unreachable};

const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A translator at an instant.
struct World {
    nat: Nat,
    now: Duration,
}

impl World {
    fn of(behaviour: NatBehaviour) -> Self {
        Self { nat: Nat::new(1, "box", Some(OUTSIDE), behaviour), now: SECOND }
    }

    fn new(kind: NatKind) -> Self {
        Self::of(kind.behaviour())
    }

    fn pass(&mut self, from: Side, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut packet = packet.to_vec();
        self.nat.pass(self.now, from, &mut packet, Checksum::Finished).map(|to| {
            assert_eq!(to, from.other());
            packet
        })
    }

    /// Sends a datagram from inside. The end outside that it comes from.
    #[track_caller]
    fn out(&mut self, from: &str, to: &str) -> End {
        let sent = udp(end(from), end(to), b"there");
        let come = read(&self.pass(Side::Inside, &sent).unwrap());
        assert_eq!((come.to, &come.payload[..]), (end(to), &b"there"[..]));
        come.from
    }

    /// Whether a datagram from outside gets in, and to which end.
    fn back(&mut self, from: &str, to: End) -> Option<End> {
        let sent = udp(end(from), to, b"back");
        let come = self.pass(Side::Outside, &sent);
        if come.is_err() {
            assert_eq!(come, Err(Refusal::Unsolicited));
        }
        come.ok().map(|packet| {
            assert_eq!(read(&packet).from, end(from));
            read(&packet).to
        })
    }
}

const A: &str = "10.0.0.2:5000";
const B: &str = "10.0.0.3:5000";
/// Three ends outside: of the first two the address, of the first and third the port is the same.
const X: &str = "203.0.113.1:80";
const X2: &str = "203.0.113.1:81";
const Y: &str = "203.0.113.2:80";

#[test]
fn kinds_map_and_filter_as_their_table_says() {
    use NatKind::{Cgnat, FullCone, Home, Restricted, Symmetric};
    // Whether two peers see one port, whether it is the inside's own; whether X, another port of it and another host get in.
    for (kind, is_same, is_kept, gets_in) in [
        (Home, true, true, [true, false, false]),
        (FullCone, true, true, [true, true, true]),
        (Restricted, true, true, [true, true, false]),
        (Symmetric, false, false, [true, false, false]),
        (Cgnat, true, false, [true, true, true]),
    ] {
        let mut world = World::new(kind);
        let outside = world.out(A, X);
        assert_eq!(outside.0, OUTSIDE);
        assert_eq!(outside.1 == 5000, is_kept, "{kind}");
        let come = [X, X2, Y].map(|peer| world.back(peer, outside));
        assert_eq!(come, gets_in.map(|gets_in| gets_in.then(|| end(A))), "{kind}");
        assert_eq!([X2, Y].map(|peer| world.out(A, peer) == outside), [is_same; 2], "{kind}");
        assert_eq!(world.out(A, X), outside, "{kind}: the same as before");
        assert_eq!(world.back(X, (outside.0, outside.1 ^ 1)), None, "{kind}: no such mapping");
        assert_eq!(world.nat.mappings(), if is_same { 1 } else { 3 });
        assert_eq!(world.nat.sessions(), 3);
    }
}

#[test]
fn what_is_not_translated_is_filtered() {
    let six = ["[fd00::2]:5000", "[2001:db8::1]:80", "[2001:db8::1]:81", "[2001:db8::2]:80"];
    let four = [A, X, X2, Y];
    for (kind, [inside, first, port, host], gets_in) in [
        (NatKind::Router, four, [true, true, true, true]),
        (NatKind::Firewall, four, [false, true, false, false]),
        (NatKind::Router, six, [true, true, true, true]),
        (NatKind::Firewall, six, [false, true, false, false]),
        (NatKind::Home, six, [false, true, false, false]),
        (NatKind::Restricted, six, [false, true, true, false]),
        (NatKind::FullCone, six, [false, true, true, true]),
    ] {
        let mut world = World::new(kind);
        let before = world.back(first, end(inside)).is_some();
        assert_eq!(world.out(inside, first), end(inside));
        let after = [first, port, host].map(|peer| world.back(peer, end(inside)).is_some());
        assert_eq!([&[before][..], &after].concat(), gets_in, "{kind}, {inside}");
    }
}

#[test]
fn two_ends_inside_have_two_ports() {
    for kind in NatKind::ALL.into_iter().filter(|kind| kind.behaviour().mapping.is_some()) {
        let mut world = World::new(kind);
        let [one, other] = [A, B].map(|inside| world.out(inside, X));
        assert_ne!(one, other);
        assert_eq!([one, other].map(|to| world.back(X, to)), [A, B].map(|inside| Some(end(inside))));
    }
    // RFC 4787: REQ-3 the range, REQ-4 the parity.
    let mut world = World::new(NatKind::Home);
    for (inside, is_well_known, parity) in
        [("10.0.0.2:123", true, 1), ("10.0.0.3:123", true, 1), ("10.0.0.4:5000", false, 0), (B, false, 0)]
    {
        let port = world.out(inside, X).1;
        assert_eq!((port < 1024, port % 2), (is_well_known, parity), "{inside} has {port}");
    }
}

#[test]
fn ports_are_those_of_the_seed_and_the_name() {
    let ports = |seed, name| -> Vec<u8> {
        let mut nat = Nat::new(seed, name, Some(OUTSIDE), NatKind::Symmetric.behaviour());
        let mut port = |peer| {
            let mut packet = udp(end(A), end(peer), b"");
            nat.pass(SECOND, Side::Inside, &mut packet, Checksum::Finished).unwrap();
            packet[20..22].to_vec()
        };
        [X, X2, Y].into_iter().flat_map(&mut port).collect()
    };
    assert_eq!(ports(1, "a"), ports(1, "a"));
    assert_ne!(ports(1, "a"), ports(2, "a"));
    assert_ne!(ports(1, "a"), ports(1, "b"));
}

#[test]
fn hosts_of_a_provider_have_a_block_each() {
    let size = 8.try_into().unwrap();
    let mut world = World::of(NatBehaviour { ports: Ports::Blocks(size), ..NatKind::Cgnat.behaviour() });
    let mut ports =
        |host: &str| -> Vec<u16> { (1..=8).map(|port| world.out(&format!("{host}:{port}"), X).1).collect() };
    let (mut one, mut other) = (ports("10.0.0.2"), ports("10.0.0.3"));
    one.sort_unstable();
    other.sort_unstable();
    assert_eq!((one, other), ((1024..1032).collect(), (1032..1040).collect()));
    let ninth = udp(end("10.0.0.2:9"), end(X), b"");
    assert_eq!(world.pass(Side::Inside, &ninth), Err(Refusal::NoPort));
    world.now += 10 * MINUTE;
    assert_eq!(world.out("10.0.0.3:9", X).1 / 8, 1024 / 8, "the first block is free again");
}

#[test]
fn udp_lives_as_long_as_packets_come() {
    for kind in [NatKind::Home, NatKind::Symmetric, NatKind::Firewall] {
        let timeout = kind.behaviour().udp_timeout;
        let mut world = World::new(kind);
        let outside = world.out(A, X);
        for _both_ways in 0..3 {
            world.now += timeout - SECOND;
            assert!(world.back(X, outside).is_some(), "{kind}");
            world.now += timeout - SECOND;
            assert_eq!(world.out(A, X), outside, "{kind}");
        }
        world.now += timeout - SECOND;
        world.out(A, Y);
        world.now += SECOND;
        assert!(world.back(X, outside).is_none(), "{kind}: it was silent for so long");
        assert_eq!(world.nat.sessions(), 1, "{kind}: the other lives");
        world.now += timeout;
        assert!(world.back(Y, outside).is_none());
        assert_eq!((world.nat.mappings(), world.nat.sessions()), (0, 0), "{kind}");
    }
}

/// Passes TCP packets of one connection: from inside or not, flags. Whether each passed.
fn connection(world: &mut World, packets: &[(Side, u8)]) -> Vec<bool> {
    let (outside, mut passed) = ((OUTSIDE.into(), 5000), Vec::new());
    for (from, flags) in packets {
        let packet = match from {
            Side::Inside => tcp(end(A), end(X), *flags, b""),
            Side::Outside => tcp(end(X), outside, *flags, b""),
        };
        passed.push(world.pass(*from, &packet).map(|packet| drop(read(&packet))).is_ok());
    }
    passed
}

#[test]
fn tcp_lives_as_its_state_says() {
    use Side::{Inside, Outside};
    let handshake = [(Inside, SYN), (Outside, SYN | ACK), (Inside, ACK)];
    let half = [(Inside, SYN)];
    let reset = [(Inside, SYN), (Outside, SYN | ACK), (Inside, ACK), (Outside, RST | ACK)];
    let closed = [&handshake[..], &[(Inside, FIN | ACK), (Outside, FIN | ACK), (Inside, ACK)]].concat();
    let half_closed = [&handshake[..], &[(Inside, FIN | ACK), (Outside, ACK)]].concat();
    let again = [&closed[..], &handshake].concat();
    for (packets, minutes) in [
        (&handshake[..], 124),
        (&half, 4),
        (&reset, 4),
        (&closed, 4),
        (&half_closed, 124),
        (&again, 124),
        (&[(Inside, ACK), (Outside, ACK)], 124),
    ] {
        let mut world = World::new(NatKind::Home);
        assert!(connection(&mut world, packets).iter().all(|passed| *passed), "{packets:?}");
        let mut later = World::new(NatKind::Home);
        connection(&mut later, packets);
        world.now += minutes * MINUTE - SECOND;
        later.now += minutes * MINUTE;
        assert_eq!(connection(&mut world, &[(Outside, ACK)]), [true], "{packets:?}");
        assert_eq!(connection(&mut later, &[(Outside, ACK)]), [false], "{packets:?}");
    }
    let mut world = World::new(NatKind::Home);
    assert_eq!(connection(&mut world, &[(Outside, SYN), (Inside, RST)]), [false; 2], "nobody began");
    assert_eq!(world.nat.sessions(), 0);
}

#[test]
fn strangers_connect_where_filtering_lets_them() {
    for (kind, gets_in) in [(NatKind::FullCone, true), (NatKind::Home, false)] {
        let mut world = World::new(kind);
        connection(&mut world, &[(Side::Inside, SYN)]);
        let outside = (OUTSIDE.into(), 5000);
        let inward = |flags| tcp(end(Y), outside, flags, b"");
        let outward = |flags| tcp(end(A), end(Y), flags, b"");
        assert_eq!(world.pass(Side::Outside, &inward(SYN)).is_ok(), gets_in, "{kind}");
        assert_eq!(world.nat.sessions(), 1, "what comes in makes none");
        // Nobody listens, or somebody does.
        assert_eq!(world.pass(Side::Inside, &outward(RST | ACK)).is_ok(), gets_in, "{kind}");
        assert_eq!(world.nat.sessions(), 1, "nor does a reset");
        assert!(world.pass(Side::Inside, &outward(SYN | ACK)).is_ok());
        assert!(world.pass(Side::Outside, &inward(ACK)).is_ok());
        world.now += 124 * MINUTE - SECOND;
        assert!(world.pass(Side::Outside, &inward(ACK)).is_ok(), "{kind}: it is established");
    }
}

#[test]
fn pings_go_out_and_answers_in() {
    let mut world = World::new(NatKind::Home);
    let (a, b, x) = (end("10.0.0.2:7"), end("10.0.0.3:7"), end("203.0.113.1:0"));
    let [one, other] =
        [a, b].map(|from| read(&world.pass(Side::Inside, &echo(from, x, false)).unwrap()).from);
    assert_eq!((one, one == other), ((OUTSIDE.into(), 7), false));
    for (outside, inside) in [(one, a), (other, b)] {
        assert_eq!(read(&world.pass(Side::Outside, &echo(x, outside, true)).unwrap()).to, inside);
    }
    let stranger = end("203.0.113.2:0");
    assert_eq!(world.pass(Side::Outside, &echo(stranger, one, true)), Err(Refusal::Unsolicited));
    assert_eq!(world.pass(Side::Outside, &echo(x, one, false)), Err(Refusal::Unsolicited));
    world.now += MINUTE;
    assert_eq!(world.pass(Side::Outside, &echo(x, one, true)), Err(Refusal::Unsolicited));
}

#[test]
fn errors_find_who_sent_what_they_quote() {
    let router = end("192.0.2.9:0").0;
    for kind in [NatKind::Home, NatKind::Symmetric, NatKind::Cgnat] {
        for packet in
            [udp(end(A), end(X), b"words"), tcp(end(A), end(X), SYN, b""), echo(end(A), end(X), false)]
        {
            for length in [28, 1000] {
                let mut world = World::new(kind);
                let sent = world.pass(Side::Inside, &packet).unwrap();
                let error = unreachable(router, OUTSIDE.into(), &sent, length);
                let come = world.pass(Side::Outside, &error).unwrap();
                assert_eq!((read(&come).from.0, read(&come).to.0), (router, end(A).0));
                assert_eq!(read(&come).payload, packet[..length.min(packet.len())], "as it was sent");
                let mut unknown = sent;
                unknown[22..26].fill(0x77);
                let error = unreachable(router, OUTSIDE.into(), &unknown, length);
                assert_eq!(world.pass(Side::Outside, &error), Err(Refusal::Unsolicited));
            }
        }
    }
}

#[test]
fn errors_about_what_came_in_have_the_outside_address() {
    for kind in [NatKind::Home, NatKind::FullCone] {
        let mut world = World::new(kind);
        let outside = world.out(A, X);
        let peer = if kind == NatKind::FullCone { Y } else { X };
        let sent = udp(end(peer), outside, b"words");
        let come = world.pass(Side::Outside, &sent).unwrap();
        let error = unreachable(end(A).0, end(peer).0, &come, 1000);
        let error = world.pass(Side::Inside, &error).unwrap();
        assert_eq!((read(&error).from.0, read(&error).payload), (OUTSIDE.into(), sent));
        assert_eq!(quoted(&error), (end(peer), outside));
        let stranger = unreachable(end(B).0, end(peer).0, &udp(end(peer), end(B), b""), 1000);
        assert_eq!(world.pass(Side::Inside, &stranger), Err(Refusal::Unsolicited));
    }
    let six = [end("[fd00::2]:5000"), end("[2001:db8::1]:80")];
    let mut world = World::new(NatKind::Home);
    let sent = udp(six[0], six[1], b"");
    let error = unreachable(six[1].0, six[0].0, &sent, 1000);
    assert_eq!(world.pass(Side::Outside, &error), Err(Refusal::Unsolicited));
    world.pass(Side::Inside, &sent).unwrap();
    assert_eq!(world.pass(Side::Outside, &error), Ok(error));
}

#[test]
fn those_inside_meet_outside() {
    for kind in [NatKind::Home, NatKind::FullCone, NatKind::Restricted, NatKind::Cgnat] {
        let mut world = World::new(kind);
        let [a, b] = [A, B].map(|inside| world.out(inside, X));
        let mut hairpin = |from: &str, to: End| {
            let mut packet = udp(end(from), to, b"near");
            let side = world.nat.pass(world.now, Side::Inside, &mut packet, Checksum::Finished);
            side.map(|side| (side, read(&packet).from, read(&packet).to))
        };
        if kind == NatKind::FullCone || kind == NatKind::Cgnat {
            assert_eq!(hairpin(A, b), Ok((Side::Inside, a, end(B))));
        } else {
            assert_eq!(hairpin(A, b), Err(Refusal::Unsolicited), "B has not sent anything to A");
        }
        assert_eq!(hairpin(B, a), Ok((Side::Inside, b, end(A))));
        assert_eq!(hairpin(A, b), Ok((Side::Inside, a, end(B))));
    }
    let mut world = World::new(NatKind::Symmetric);
    let outside = world.out(B, X);
    assert_eq!(world.pass(Side::Inside, &udp(end(A), outside, b"")), Err(Refusal::NoHairpin));
}

#[test]
fn tables_are_full_some_time() {
    let mut world = World::of(NatBehaviour { mappings_max: 2, sessions_max: 3, ..NatKind::Home.behaviour() });
    world.out(A, X);
    world.out(B, X);
    let third = udp(end("10.0.0.4:5000"), end(X), b"");
    assert_eq!(world.pass(Side::Inside, &third), Err(Refusal::TableFull));
    world.out(A, Y);
    assert_eq!(world.pass(Side::Inside, &udp(end(A), end(X2), b"")), Err(Refusal::TableFull));
    world.out(B, X);
    world.now += 5 * MINUTE;
    assert!(world.pass(Side::Inside, &third).is_ok());
    assert_eq!((world.nat.mappings(), world.nat.sessions()), (1, 1));
}

#[test]
fn an_address_dependent_mapping_is_one_for_each_host() {
    let mut world = World::of(NatBehaviour {
        mapping: Some(NatRule::AddressDependent),
        filtering: Some(NatRule::AddressDependent),
        ..NatKind::Symmetric.behaviour()
    });
    let [x, x2, y] = [X, X2, Y].map(|peer| world.out(A, peer));
    assert_eq!((x == x2, x == y), (true, false));
    assert_eq!([X, X2, Y].map(|peer| world.back(peer, x).is_some()), [true, true, false]);
}

#[test]
fn what_cannot_be_translated_is_refused() {
    let (a, x) = (end(A), end(X));
    let sctp = ip(a.0, x.0, 132, 0, vec![0; 12]);
    let redirect = ip(x.0, OUTSIDE.into(), ICMP, 0, vec![5, 1, 0, 0, 0, 0, 0, 0]);
    let mut world = World::new(NatKind::Home);
    assert_eq!(world.pass(Side::Inside, &sctp), Err(Refusal::Unsupported));
    assert_eq!(world.pass(Side::Outside, &redirect), Err(Refusal::Unsupported));
    assert_eq!(world.pass(Side::Inside, &[]), Err(Refusal::Malformed));
    assert_eq!(world.pass(Side::Outside, &udp(x, a, b"")), Err(Refusal::Unsolicited), "past the translator");
    assert_eq!(world.pass(Side::Inside, &echo(a, x, true)), Err(Refusal::Unsolicited));
    let mut firewall = World::new(NatKind::Firewall);
    let back = ip(x.0, a.0, 132, 0, vec![0; 12]);
    assert_eq!(firewall.pass(Side::Outside, &back), Err(Refusal::Unsolicited));
    assert_eq!(firewall.pass(Side::Inside, &sctp), Ok(sctp));
    assert_eq!(firewall.pass(Side::Outside, &back), Ok(back));
}

#[test]
fn fragments_follow_their_first() {
    for [inside, remote] in [[A, X], ["[fd00::2]:5000", "[2001:db8::1]:80"]] {
        let sent = udp(end(inside), end(remote), &[7; 3000]);
        let parts = packets::fragments(&sent, 1400, 77);
        assert_eq!(parts.len(), 3);
        let mut world = World::new(NatKind::Symmetric);
        assert_eq!(world.pass(Side::Inside, &parts[1]), Err(Refusal::Fragment), "before its first");
        let mut come: Vec<_> = parts.iter().map(|part| world.pass(Side::Inside, part).unwrap()).collect();
        let whole = read(&packets::reassembled(&come));
        assert_eq!((whole.from == end(inside), whole.to), (inside != A, end(remote)));
        assert_eq!(whole.payload, [7; 3000]);
        // The answer, in parts as well.
        let answer = packets::fragments(&udp(whole.to, whole.from, &[8; 3000]), 1400, 78);
        come = answer.iter().map(|part| world.pass(Side::Outside, part).unwrap()).collect();
        assert_eq!(read(&packets::reassembled(&come)).to, end(inside));
        assert_eq!(world.pass(Side::Outside, &parts[1]), Err(Refusal::Fragment), "of the other way");
        world.now += 30 * SECOND;
        assert_eq!(world.pass(Side::Inside, &parts[1]), Err(Refusal::Fragment), "too late");
        let mut router = World::new(NatKind::Router);
        assert_eq!(router.pass(Side::Inside, &parts[1]).as_ref(), Ok(&parts[1]));
        // As many as may be under way.
        for id in 0..3000 {
            world.pass(Side::Inside, &packets::fragments(&sent, 1400, id)[0]).unwrap();
        }
        assert!(world.pass(Side::Inside, &packets::fragments(&sent, 1400, 5)[1]).is_ok());
        assert!(world.pass(Side::Inside, &packets::fragments(&sent, 1400, 2999)[1]).is_err());
    }
}

#[test]
fn options_stay_and_a_datagram_without_a_checksum_has_none_after() {
    let (a, x) = (end(A), end(X));
    let body = [&a.1.to_be_bytes()[..], &x.1.to_be_bytes(), &[0, 8, 0, 0]].concat();
    let with_options = ip(a.0, x.0, packets::UDP, 3, body);
    let mut world = World::new(NatKind::Home);
    let come = world.pass(Side::Inside, &with_options).unwrap();
    assert_eq!((read(&come).from.0, &come[20..32]), (OUTSIDE.into(), &with_options[20..32]));
    let mut without = udp(a, x, b"");
    without[26..28].fill(0);
    assert_eq!(world.pass(Side::Inside, &without).unwrap()[26..28], [0, 0]);
}

#[test]
fn an_unfinished_checksum_stays_one() {
    let payload = [7; 3001];
    for mut packet in [tcp(end(A), end(X), ACK, &payload), udp(end(A), end(X), &payload)] {
        // What a host leaves to its device: the pseudo header's sum.
        let at = if packet[9] == TCP { 36 } else { 26 };
        let length = u16::try_from(packet.len() - 20).unwrap();
        let unfinished = |packet: &[u8]| {
            packets::sum(&[&packet[12..20], &[0, packet[9]], &length.to_be_bytes()].concat()).to_be_bytes()
        };
        let sum = unfinished(&packet);
        packet[at..at + 2].copy_from_slice(&sum);
        let mut world = World::new(NatKind::Symmetric);
        let passed = world.nat.pass(SECOND, Side::Inside, &mut packet, Checksum::Unfinished);
        assert_eq!((passed, &packet[12..16]), (Ok(Side::Outside), &OUTSIDE.octets()[..]));
        assert_eq!(packet[at..at + 2], unfinished(&packet));
    }
}

#[test]
fn no_byte_of_ipv6_is_trusted() {
    let [inside, remote] = [end("[fd00::2]:5000"), end("[2001:db8::1]:80")];
    let sent = udp(inside, remote, &[7; 40]);
    let mut all = packets::fragments(&sent, 16, 77);
    all.extend([tcp(inside, remote, SYN, b""), echo(inside, remote, false)]);
    all.push(unreachable(remote.0, inside.0, &sent, 60));
    all.push(sent);
    // A hop-by-hop header before UDP.
    let body = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp(inside, remote, b"")[40..]].concat();
    all.push(ip(inside.0, remote.0, 0, 0, body));
    let mut world = World::new(NatKind::Home);
    assert!(world.pass(Side::Inside, all.last().unwrap()).is_ok());
    assert!(world.back("[2001:db8::1]:80", inside).is_some());
    for packet in &all {
        for (at, value) in
            (0..packet.len()).flat_map(|at| [0, 1, 44, 60, 0x7f, 0xff].map(|value| (at, value)))
        {
            let mut wrong = packet.clone();
            wrong[at] = value;
            for side in Side::ALL {
                let _refused = world.nat.pass(SECOND, side, &mut wrong.clone(), Checksum::Finished);
                let _refused = world.nat.pass(SECOND, side, &mut wrong[..at].to_vec(), Checksum::Unfinished);
            }
        }
    }
}

#[test]
fn hops_are_counted() {
    for packet in [udp(end(A), end(X), b""), udp(end("[fd00::2]:1"), end("[fd00::3]:1"), b"")] {
        let mut here = packet.clone();
        let mut hops = 0;
        while hop(&mut here) {
            read(&here);
            hops += 1;
        }
        assert_eq!(hops, 63);
        assert!(!hop(&mut packet[..7].to_vec()));
    }
}
