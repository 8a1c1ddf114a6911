//! Boxes between hosts: what goes through them with real sockets. What each kind maps and filters is tested in `netmodel`.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Instant;

use netsplit_fabric::{BoxReport, CaptureFilter, Change, FabricError, PortKind, Report};
use netsplit_netmodel::nat::{NatKind, Refusal};
use netsplit_netmodel::router::{RouterDrop, RouterSide, RouterSpec};
use netsplit_netmodel::{Behaviour, Cause, Condition, Route};

use crate::capture::Capture;
use crate::parse::Seen;
use crate::world::{Host, PATIENCE, World, each, eventually};
use crate::{MS, SILENCE, connect, count, delivered, reach, reaches, sockets, transfer};

const INSIDE4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const OUTSIDE4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 254);

fn spec(kind: NatKind) -> RouterSpec {
    RouterSpec {
        name: "box".into(),
        inside: RouterSide {
            network: String::new(),
            v4: Some((INSIDE4, 24)),
            v6: Some(("fd6e:7370::fe".parse().unwrap(), 64)),
        },
        outside: RouterSide {
            network: "outside".into(),
            v4: Some((OUTSIDE4, 24)),
            v6: Some(("2001:db8::fe".parse().unwrap(), 64)),
        },
        routes: Vec::new(),
        behaviour: kind.behaviour(),
    }
}

/// Puts a box between the hosts that there are and two more, `c` and `d`, outside.
fn divide(world: &mut World, kind: NatKind) {
    world.add_on("outside");
    world.add_on("outside");
    world.fabric.add_box(spec(kind)).unwrap();
    for host in &world.hosts {
        let [v4, v6] = if host.v4.to_string().starts_with("10.") {
            [INSIDE4.into(), "fd6e:7370::fe".parse().unwrap()]
        } else {
            [OUTSIDE4.into(), "2001:db8::fe".parse().unwrap()]
        };
        host.route_by(v4);
        host.route_by(v6);
    }
}

fn state(report: &Report) -> &BoxReport {
    report.the_box("box").unwrap()
}

/// Sends from one host's socket; whether it comes, and from where.
fn come(near: &UdpSocket, far: &UdpSocket, to: SocketAddr) -> Option<SocketAddr> {
    near.send_to(b"there", to).unwrap();
    far.recv_from(&mut [0; 64]).ok().map(|(_, from)| from)
}

fn ping(from: &Host, to: IpAddr) -> Option<bool> {
    let mut ping = Command::new("ping");
    ping.args(["-c", "1", "-W", "5", &to.to_string()]);
    from.run(|| ping.output()).ok().map(|output| output.status.success())
}

/// Whether a host outside that nobody spoke to gets in by a port: `d`, where `a` has spoken to `c`.
fn check_udp(world: &World, kind: NatKind, lets_in: bool) {
    let [a, _, c, d] = &world.hosts[..] else { unreachable!("four there are") };
    let (near, _) = &sockets(a, c)[0];
    let [far, stranger] = [c, d].map(|host| {
        let socket = host.run(|| UdpSocket::bind((host.v4, 4000))).unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket
    });
    let seen = eventually(|| come(near, &far, far.local_addr().unwrap()).ok_or("nothing came"));
    let own = near.local_addr().unwrap();
    assert_eq!(seen.ip() == OUTSIDE4, kind.behaviour().mapping.is_some(), "{kind}: {seen}");
    assert_eq!(come(&far, near, seen), Some(far.local_addr().unwrap()), "{kind}: the answer");
    // They meet first, so that silence is not an unknown neighbour's.
    reach(c, d);
    assert_eq!(come(&stranger, near, seen).is_some(), lets_in, "{kind}: a stranger's");
    assert_eq!(near.local_addr().unwrap(), own);
}

#[test]
fn udp_passes_boxes_of_each_kind() {
    each("boxes::udp_passes_boxes_of_each_kind", 2, |mut world| {
        divide(&mut world, NatKind::Router);
        for kind in NatKind::ALL {
            world.fabric.add_box(spec(kind)).unwrap();
            check_udp(&world, kind, matches!(kind, NatKind::Router | NatKind::FullCone | NatKind::Cgnat));
            let report = world.report();
            let state = state(&report);
            assert_eq!(state.mappings > 0, kind.behaviour().mapping.is_some(), "{kind}");
            assert!(state.to_inside.packets > 0 && state.to_outside.packets > 0, "{kind}");
        }
        let report = world.report();
        assert!(state(&report).dropped[&RouterDrop::Refused(Refusal::Unsolicited)].packets >= 1);
        assert_eq!(report.port("box").unwrap().kind, Some(PortKind::Box));
        assert_eq!(report.port("box@inside").unwrap().network, "");
        assert!(report.port("box@inside").unwrap().sent.packets > 0);
        assert!(report.link("a", "c").is_none() && report.link("a", "box@inside").is_some());
    });
}

#[test]
fn ipv6_is_filtered_and_not_translated() {
    each("boxes::ipv6_is_filtered_and_not_translated", 2, |mut world| {
        divide(&mut world, NatKind::Router);
        let [a, _, c, _] = &world.hosts[..] else { unreachable!("four there are") };
        reach(a, c);
        reach(c, a);
        for kind in [NatKind::Home, NatKind::Firewall] {
            world.fabric.add_box(spec(kind)).unwrap();
            reach(a, c);
            assert_eq!(reaches(c, a), [false; 2], "{kind}");
            let (near, far) = &sockets(a, c)[1];
            let seen = eventually(|| come(near, far, far.local_addr().unwrap()).ok_or("nothing came"));
            assert_eq!(seen, near.local_addr().unwrap());
            assert!(come(far, near, seen).is_some(), "{kind}: the answer");
        }
    });
}

#[test]
fn tcp_passes_in_super_frames() {
    each("boxes::tcp_passes_in_super_frames", 2, |mut world| {
        divide(&mut world, NatKind::Home);
        let [a, _, c, _] = &world.hosts[..] else { unreachable!("four there are") };
        let begun = Instant::now();
        transfer(connect(a, c), 64 << 20, || ());
        println!("64 MiB in {:?}", begun.elapsed());
        let report = world.report();
        let link = report.link("box", "c").unwrap().counters;
        assert!(link.delivered.bytes / link.delivered.packets > 3000, "{link:?}");
        // A link that is not plain takes them apart.
        world.set("box", "c", Condition::new().delay(MS).loss(0.0001));
        transfer(connect(a, c), 4 << 20, || ());
        world.set("a", "box@inside", Condition::new().delay(MS).loss(0.0001));
        transfer(connect(a, c), 4 << 20, || ());
        let error = c.run(|| TcpStream::connect_timeout(&a.at(4000)[0], SILENCE)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    });
}

#[test]
fn long_datagrams_pass_in_parts() {
    each("boxes::long_datagrams_pass_in_parts", 2, |mut world| {
        divide(&mut world, NatKind::Symmetric);
        let [a, _, c, _] = &world.hosts[..] else { unreachable!("four there are") };
        for (near, far) in sockets(a, c) {
            let bytes = crate::pattern(8000);
            let mut come = vec![0; 9000];
            let (length, seen) = eventually(|| {
                near.send_to(&bytes, far.local_addr().unwrap()).unwrap();
                far.recv_from(&mut come)
            });
            assert!(come[..length] == bytes, "{length} bytes from {seen}");
            far.send_to(&bytes, seen).unwrap();
            let length = near.recv(&mut come).unwrap();
            assert!(come[..length] == bytes, "{length} bytes back");
        }
    });
}

#[test]
fn errors_come_back_through_a_translator() {
    each("boxes::errors_come_back_through_a_translator", 2, |mut world| {
        divide(&mut world, NatKind::Symmetric);
        let [a, _, c, _] = &world.hosts[..] else { unreachable!("four there are") };
        for ((near, far), closed) in sockets(a, c).into_iter().zip(c.at(4001)) {
            eventually(|| come(&near, &far, far.local_addr().unwrap()).ok_or("nothing came"));
            // Nobody listens there: the host's kernel tells.
            near.connect(closed).unwrap();
            near.set_read_timeout(Some(PATIENCE)).unwrap();
            near.send(b"there").unwrap();
            assert_eq!(near.recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            let error = a.run(|| TcpStream::connect_timeout(&closed, PATIENCE)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        }
        // So does a link behind the box that rejects.
        world.set("box", "c", Condition::new().reject());
        for (near, far) in sockets(a, c) {
            near.connect(far.local_addr().unwrap()).unwrap();
            near.set_read_timeout(Some(PATIENCE)).unwrap();
            near.send(b"there").unwrap();
            assert_eq!(near.recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn pings_are_answered_by_boxes_and_behind_them() {
    each("boxes::pings_are_answered_by_boxes_and_behind_them", 2, |mut world| {
        divide(&mut world, NatKind::Home);
        let [a, _, c, _] = &world.hosts[..] else { unreachable!("four there are") };
        let six = |text: &str| -> IpAddr { text.parse().unwrap() };
        for (from, to, is_answered) in [
            (a, INSIDE4.into(), true),
            (a, OUTSIDE4.into(), true),
            (a, c.v4, true),
            (a, c.v6, true),
            (a, six("fd6e:7370::fe"), true),
            (c, six("2001:db8::fe"), true),
            (c, OUTSIDE4.into(), true),
            (c, a.v6, false),
            (a, Ipv4Addr::new(192, 0, 2, 1).into(), false),
        ] {
            match ping(from, to) {
                Some(answered) => assert_eq!(answered, is_answered, "{} pings {to}", from.name),
                None => println!("skipped: `ping` is not installed"),
            }
        }
        let report = world.report();
        if let Some(dropped) = state(&report).dropped.get(&RouterDrop::NoRoute) {
            assert_eq!(dropped.packets, 1);
        }
    });
}

#[test]
fn links_of_a_box_have_faults() {
    each("boxes::links_of_a_box_have_faults", 2, |mut world| {
        divide(&mut world, NatKind::Home);
        let [a, b, c, _] = &world.hosts[..] else { unreachable!("four there are") };
        reach(a, c);
        reach(b, c);
        world.set("a", "box@inside", Condition::new().cut());
        assert_eq!(reaches(a, c), [false; 2]);
        reach(b, c);
        reach(a, b);
        assert!(world.link("a", "box@inside").counters.dropped_by(Cause::Cut).packets >= 2);
        world.set("a", "box@inside", Condition::new());
        reach(a, c);
        world.set("box", "c", Condition::new().loss(1.0));
        let (near, far) = &sockets(a, c)[0];
        (0..20).for_each(|_| assert_eq!(near.send_to(b"there", far.local_addr().unwrap()).unwrap(), 5));
        assert_eq!(count(far), 0);
        assert!(world.link("box", "c").counters.dropped_by(Cause::Loss).packets >= 20);
        world.set("box", "c", Condition::new());
        // The box is gone, and is there again with another table.
        let report = world.report();
        assert!(state(&report).mappings > 0);
        world.fabric.detach("box").unwrap();
        assert_eq!(reaches(a, c), [false; 2]);
        assert!(world.report().boxes.is_empty());
        world.fabric.add_box(spec(NatKind::Home)).unwrap();
        assert_eq!(world.report().boxes[0].mappings, 0);
        reach(a, c);
    });
}

#[test]
fn both_sides_of_a_box_are_captured() {
    each("boxes::both_sides_of_a_box_are_captured", 2, |mut world| {
        divide(&mut world, NatKind::Home);
        let [a, _, c, _] = &world.hosts[..] else { unreachable!("four there are") };
        reach(a, c);
        let captures = ["box@inside", "box"]
            .map(|name| Capture::begin(&world, CaptureFilter::Ports(vec![name.to_owned()])));
        let (near, far) = &sockets(a, c)[0];
        assert!(come(near, far, far.local_addr().unwrap()).is_some());
        // Source addresses, and whether the box was given the packet or sent it.
        let [inside, outside] = captures.map(|capture| {
            let (_, parsed, _) = capture.end();
            let is_one = |seen: &&Seen| seen.bytes.ends_with(b"there");
            let tell = |seen: &Seen| (seen.bytes[26..30].to_vec(), seen.is_inbound);
            parsed.packets.iter().filter(is_one).map(tell).collect::<Vec<_>>()
        });
        assert_eq!(inside, [(vec![10, 0, 0, 1], false)]);
        assert_eq!(outside, [(OUTSIDE4.octets().to_vec(), true)]);
    });
}

#[test]
fn boxes_stand_in_a_row() {
    each("boxes::boxes_stand_in_a_row", 2, |mut world| {
        divide(&mut world, NatKind::Home);
        let [a, _, c, _] = &world.hosts[..] else { unreachable!("four there are") };
        // A provider's translator between the home and the others.
        let mut home = spec(NatKind::Home);
        let next = Ipv4Addr::new(100, 64, 0, 1);
        home.outside =
            RouterSide { network: "provider".into(), v4: Some((Ipv4Addr::new(100, 64, 0, 2), 24)), v6: None };
        home.routes = vec![Route { to: Ipv4Addr::UNSPECIFIED.into(), prefix_bits: 0, via: next.into() }];
        let mut provider = spec(NatKind::Cgnat);
        provider.name = "isp".into();
        provider.inside = RouterSide { network: "provider".into(), v4: Some((next, 24)), v6: None };
        world.fabric.add_box(home).unwrap();
        world.fabric.add_box(provider).unwrap();
        let (near, far) = &sockets(a, c)[0];
        let seen = eventually(|| come(near, far, far.local_addr().unwrap()).ok_or("nothing came"));
        assert_eq!(seen.ip(), OUTSIDE4);
        assert_eq!(come(far, near, seen), Some(far.local_addr().unwrap()));
        transfer(connect(a, c), 4 << 20, || ());
        assert!(world.report().link("box", "isp@inside").is_some());
    });
}

#[test]
fn networks_are_apart() {
    each("boxes::networks_are_apart", 2, |mut world| {
        world.add_on("outside");
        let [a, b, c] = &world.hosts[..] else { unreachable!("three there are") };
        a.route_by(INSIDE4.into());
        reach(a, b);
        assert_eq!(delivered(&world, a, b, 100), 100);
        let report = world.report();
        assert_eq!(report.port("c").unwrap().network, "outside");
        assert_eq!(report.port("c").unwrap().sent.packets, 0, "not even a broadcast");
        assert!(c.v4 != a.v4 && report.link("a", "c").is_none());
        let behaviour = Behaviour::of([&Condition::new().cut()]).unwrap();
        let change = Change { from: "a".into(), to: "c".into(), behaviour };
        let error = world.fabric.set(vec![change]).unwrap_err();
        assert!(matches!(error, FabricError::Apart { .. }), "{error}");
        let mut wrong = spec(NatKind::Home);
        wrong.outside.network = String::new();
        let error = world.fabric.add_box(wrong).unwrap_err();
        assert_eq!(error.to_string(), "box `box` cannot be: both its sides are on network ``");
        assert!(world.report().boxes.is_empty());
    });
}
