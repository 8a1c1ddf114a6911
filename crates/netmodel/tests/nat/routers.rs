//! Routers: where packets go, and why some do not.

use netsplit_netmodel::Route;
use netsplit_netmodel::nat::Bytes;
use netsplit_netmodel::router::{Router, RouterDrop, RouterSide, RouterSpec};

use super::*;

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

#[test]
fn routes_lead_by_their_longest_prefix() {
    let mut spec = spec(NatKind::Router);
    let route = |to: &str, prefix_bits, via: &str| Route {
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
fn what_goes_nowhere_has_its_reason() {
    let mut router = Router::new(1, &spec(NatKind::Home)).unwrap();
    let mut pass = |from: Side, packet: &[u8]| {
        let mut packet = packet.to_vec();
        let passed = router.pass(SECOND, from, &mut Bytes::new(&mut packet, Checksum::Finished).unwrap());
        passed.map(|(side, next)| (side, next.to_string(), packet))
    };
    let (inside, outside) = (end("10.0.0.1:5000"), end("203.0.113.3:80"));
    let (side, next, sent) = pass(Side::Inside, &udp(inside, outside, b"words")).unwrap();
    assert_eq!((side, next.as_str(), sent[8]), (Side::Outside, "203.0.113.3", 63));
    let back = udp(outside, end("203.0.113.254:5000"), b"back");
    let (side, next, _) = pass(Side::Outside, &back).unwrap();
    assert_eq!((side, next.as_str()), (Side::Inside, "10.0.0.1"));
    // One that stays on its side is not translated.
    let (side, next, sent) = pass(Side::Inside, &udp(inside, end("10.0.0.2:1"), b"")).unwrap();
    assert_eq!((side, next.as_str(), read(&sent).from), (Side::Inside, "10.0.0.2", inside));
    let mut last = udp(inside, outside, b"");
    while hop(&mut last) {}
    for (from, packet, why) in [
        (Side::Inside, last, RouterDrop::Expired),
        (Side::Inside, udp(inside, end("192.0.2.1:1"), b""), RouterDrop::NoRoute),
        (Side::Inside, udp(inside, end("10.0.0.254:1"), b""), RouterDrop::Own),
        (Side::Inside, udp(inside, end("224.0.0.5:1"), b""), RouterDrop::Local),
        (Side::Outside, udp(outside, inside, b""), RouterDrop::Refused(Refusal::Unsolicited)),
    ] {
        assert_eq!(pass(from, &packet), Err(why));
    }
}
