//! Several networks: hosts on more than one, routers, translators and firewalls.

use netsplit_netmodel::Cause;
use netsplit_netmodel::capture::Point;
use netsplit_netmodel::nat::NatKind;
use netsplit_netmodel::router::{RouterSide, RouterSpec};

use super::faults::{Watched, is_sum_right, put_together};
use super::*;

const HOME: u8 = 0;
const NET: u8 = 1;

fn nic(network: u8, host: u8) -> NicSpec {
    let v6 = format!("fd00:0:0:{network}::{host}").parse().unwrap();
    NicSpec { network: format!("n{network}"), v4: Ipv4Addr::new(10, network, 0, host), v6 }
}

/// To a network by way of this host of another.
fn routes(to: u8, [network, host]: [u8; 2]) -> [Route; 2] {
    let NicSpec { v4, v6, .. } = nic(network, host);
    let to = nic(to, 0);
    [
        Route { to: to.v4.into(), prefix_bits: 16, via: v4.into() },
        Route { to: to.v6.into(), prefix_bits: 64, via: v6.into() },
    ]
}

impl World {
    fn add_on(&mut self, name: &str, host: u8, networks: &[u8], routes: &[Route]) -> HostIndex {
        let nics: Vec<_> = networks.iter().map(|network| nic(*network, host)).collect();
        self.net.add_host(self.now, &mut self.out, name, &nics, routes)
    }

    /// Hosts 0 and 1 at home, as .1 and .2; router 2 as .9; hosts 3 and 4 outside, as .3 and .4, who know the way in.
    fn with_router(kind: NatKind) -> Self {
        let mut world = Self::new(1, 0);
        world.add_on("a", 1, &[HOME], &routes(NET, [HOME, 9]));
        world.add_on("b", 2, &[HOME], &routes(NET, [HOME, 9]));
        let side = |network: u8| {
            let NicSpec { network, v4, v6 } = nic(network, 9);
            RouterSide { network, v4: Some((v4, 16)), v6: Some((v6, 64)) }
        };
        let spec = RouterSpec {
            name: "gw".to_owned(),
            inside: side(HOME),
            outside: side(NET),
            routes: Vec::new(),
            behaviour: kind.behaviour(),
        };
        world.call(|net, now, out| net.add_router(now, out, &spec)).unwrap();
        world.add_on("c", 3, &[NET], &routes(HOME, [NET, 9]));
        world.add_on("d", 4, &[NET], &routes(HOME, [NET, 9]));
        world
    }

    /// Host 0 on `n0`, host 1 on `n0` and `n1`, host 2 on `n1`.
    fn with_middle() -> Self {
        let mut world = Self::new(1, 0);
        world.add_on("a", 1, &[HOME], &routes(NET, [HOME, 2]));
        world.add_on("m", 2, &[HOME, NET], &[]);
        world.add_on("c", 3, &[NET], &routes(HOME, [NET, 2]));
        world
    }

    fn datagrams(&mut self, host: u32, port: u16) -> SocketId {
        let id = self.net.socket(HostIndex(host), Family::V6, Kind::Datagram);
        self.net.bind(id, format!("[::]:{port}").parse().unwrap()).unwrap();
        id
    }

    /// From whom a socket hears a datagram that is sent now.
    fn hears(&mut self, from: SocketId, to: &str, socket: SocketId) -> Option<SocketAddr> {
        self.send_to(from, b"x", to).unwrap();
        self.run(MS);
        let from = self.receive(socket, 9).ok()?.1.from?;
        Some(SocketAddr::new(from.ip().to_canonical(), from.port()))
    }

    fn links_named(&self) -> Vec<String> {
        self.net.links().map(|link| format!("{}>{}", link.ports[0], link.ports[1])).collect()
    }
}

#[test]
fn each_kind_translates_and_filters_as_its_words_say() {
    use NatKind::{Cgnat, Firewall, FullCone, Home, Restricted, Router, Symmetric};
    for kind in NatKind::ALL {
        let mut world = World::with_router(kind);
        let inside = world.datagrams(0, 5000);
        let (peer, beside, other) = (world.datagrams(3, 53), world.datagrams(3, 54), world.datagrams(4, 53));
        let unasked = world.hears(peer, "[::ffff:10.0.0.1]:5000", inside).is_some();
        assert_eq!(unasked, kind == Router, "{kind}: nobody spoke to it");
        let seen = world.hears(inside, "[::ffff:10.1.0.3]:53", peer).unwrap();
        let is_translated = !matches!(kind, Router | Firewall);
        assert_eq!(seen.ip().to_string(), if is_translated { "10.1.0.9" } else { "10.0.0.1" }, "{kind}");
        assert_eq!(seen.port() == 5000, !matches!(kind, Symmetric | Cgnat), "{kind}");
        let back = format!("[::ffff:{}]:{}", seen.ip(), seen.port());
        assert_eq!(world.hears(peer, &back, inside), Some("10.1.0.3:53".parse().unwrap()), "{kind}");
        let gets_in = [beside, other].map(|from| world.hears(from, &back, inside).is_some());
        let wanted = match kind {
            Router | FullCone | Cgnat => [true, true],
            Restricted => [true, false],
            Home | Symmetric | Firewall => [false, false],
        };
        assert_eq!(gets_in, wanted, "{kind}");
        // To somebody else it goes by the same port, but for those who want one for each.
        let again = world.hears(inside, "[::ffff:10.1.0.4]:53", other).unwrap();
        assert_eq!(again == seen, kind != Symmetric, "{kind}");
        // From inside by the address outside.
        let neighbour = world.datagrams(1, 6000);
        let hairpin = world.hears(neighbour, &back, inside);
        let passes = match kind {
            Router | Firewall => Some("10.0.0.2"),
            FullCone | Cgnat => Some("10.1.0.9"),
            Restricted | Home | Symmetric => None,
        };
        assert_eq!(hairpin.map(|from| from.ip().to_string()).as_deref(), passes, "{kind}");
        // IPv6 is filtered by the same rule.
        let gets_in = |world: &mut World| {
            [peer, beside, other].map(|from| world.hears(from, "[fd00::1]:5000", inside).is_some())
        };
        assert_eq!(gets_in(&mut world), [kind == Router; 3], "{kind}");
        assert_eq!(world.hears(inside, "[fd00:0:0:1::3]:53", peer), Some("[fd00::1]:5000".parse().unwrap()));
        assert_eq!(gets_in(&mut world), [true, wanted[0], wanted[1]], "{kind}");
    }
}

#[test]
fn connections_pass_a_translator_and_their_ends_are_told() {
    let mut world = World::with_router(NatKind::Home);
    let listener = world.listener(3, 80, 8);
    let client = world.connecting(0, "10.1.0.3:80");
    world.run(MS);
    let (server, from) = world.net.accept(listener).unwrap();
    assert_eq!(from.ip().to_string(), "10.1.0.9");
    let data = bytes(100_000);
    let mut got = Vec::new();
    let mut sent = 0;
    while got.len() < data.len() {
        sent += world.send(client, &data[sent..]).unwrap_or(0);
        world.run(MS);
        got.extend(world.read(server).unwrap_or_default());
    }
    assert_eq!(got, data);
    assert_eq!(world.links_named(), ["a>gw@inside", "gw>c", "c>gw", "gw@inside>a"]);
    // No more than a packet at a time passes, whatever the next link is like.
    let Counts { packets, bytes } = world.count("a>gw@inside");
    assert!(packets > 60 && bytes <= packets * 1500, "{packets} packets");
    let refused = world.connecting(0, "10.1.0.3:81");
    let asker = world.datagrams(0, 5000);
    world.connect(asker, "[::ffff:10.1.0.3]:53").unwrap();
    world.send(asker, b"x").unwrap();
    world.run(MS);
    assert!(world.is_error(refused, Errno::ECONNREFUSED) && world.is_error(asker, Errno::ECONNREFUSED));
    // What a link behind the router rejects, too.
    world.one_way(1, 2, 3, Condition::new().reject());
    let rejected = world.connecting(0, "10.1.0.3:80");
    world.run(MS);
    assert!(world.is_error(rejected, Errno::ECONNREFUSED));
    assert_eq!(world.dropped("gw>c", Cause::Reject), 1);
    // To the router itself nobody speaks.
    let own = world.connecting(0, "10.0.0.9:80");
    world.run(S);
    assert_eq!(world.news(own) & ERR, 0);
}

#[test]
fn long_datagrams_pass_a_translator_in_parts() {
    let mut world = World::with_router(NatKind::Symmetric);
    let watched = Watched::begin(&mut world);
    let (inside, outside) = (world.datagrams(0, 5000), world.datagrams(3, 53));
    let data = bytes(4001);
    world.send_to(inside, &data, "[::ffff:10.1.0.3]:53").unwrap();
    world.run(MS);
    let (got, received) = world.receive(outside, 5000).unwrap();
    assert_eq!((got == data, received.hops), (true, 63));
    let from = received.from.unwrap();
    assert!(from.port() != 5000);
    let parts = watched.take().into_iter().filter(|part| part.point == Point::Sent);
    let (here, there): (Vec<_>, Vec<_>) = parts.partition(|part| part.from == 0);
    assert_eq!((here.len(), there.len()), (3, 3));
    assert!(is_sum_right(&put_together(&here)) && is_sum_right(&put_together(&there)));
    world.one_way(1, 2, 3, Condition::new().reorder(0.5, ms(5)));
    for _again in 0..8 {
        world.send_to(inside, &data, "[::ffff:10.1.0.3]:53").unwrap();
        world.run(S);
        assert_eq!(world.receive(outside, 5000).unwrap().1.from, Some(from), "whichever part comes first");
    }
}

#[test]
fn who_goes_too_far_or_nowhere_is_told() {
    for is_translated in [true, false] {
        let mut world = if is_translated { World::with_router(NatKind::Home) } else { World::with_middle() };
        let server = if is_translated { 3 } else { 2 };
        let _listener = world.listener(server, 80, 8);
        let near = world.socket(0, Kind::Stream);
        world.set(near, Opt::Hops, 1);
        world.connect(near, "10.1.0.3:80").unwrap_err();
        world.run(MS);
        assert!(world.is_error(near, Errno::EHOSTUNREACH));
        let far = world.socket(0, Kind::Stream);
        world.set(far, Opt::Hops, 2);
        world.connect(far, "10.1.0.3:80").unwrap_err();
        world.run(MS);
        assert_eq!(world.news(far) & (OUT | ERR), OUT);
        // Nobody has the address: a host says so, a router that is none does not.
        let nobody = world.connecting(0, "10.1.0.7:80");
        world.run(4 * S);
        assert_eq!(world.is_error(nobody, Errno::EHOSTUNREACH), !is_translated);
        // There is no way: the sender's own host knows, or the router tells.
        let socket = world.socket(0, Kind::Stream);
        assert_eq!(world.connect(socket, "10.2.0.1:80"), Err(Errno::ENETUNREACH));
        let via = nic(HOME, if is_translated { 9 } else { 2 }).v4.into();
        let all = Route { to: Ipv4Addr::UNSPECIFIED.into(), prefix_bits: 0, via };
        let late = world.add_on("late", 20, &[HOME], &[all]);
        let lost = world.connecting(late.0, "10.2.0.1:80");
        world.run(MS);
        assert!(world.is_error(lost, Errno::ENETUNREACH));
    }
}

#[test]
fn a_host_between_two_networks_sends_on() {
    let mut world = World::with_middle();
    let (left, middle, right) = (world.datagrams(0, 53), world.datagrams(1, 53), world.datagrams(2, 53));
    let at = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
    assert_eq!(world.hears(left, "[::ffff:10.1.0.3]:53", right), at("10.0.0.1:53"));
    assert_eq!(world.hears(right, "[fd00::1]:53", left), at("[fd00:0:0:1::3]:53"));
    // Every address of its own is its own, on whichever network it is asked.
    assert_eq!(world.hears(left, "[::ffff:10.1.0.2]:53", middle), at("10.0.0.1:53"));
    assert_eq!(world.hears(middle, "[::ffff:10.1.0.3]:53", right), at("10.1.0.2:53"));
    assert_eq!(world.hears(middle, "[::ffff:10.1.0.2]:53", middle), at("10.1.0.2:53"));
    assert_eq!(world.links_named(), ["a>m", "m@n1>c", "c>m@n1", "m>a"]);
    // A fault is about all networks that both are on.
    world.both_ways(1, 1, 2, Condition::new().cut());
    assert_eq!(world.hears(left, "[::ffff:10.1.0.3]:53", right), None);
    assert_eq!(world.hears(left, "[::ffff:10.0.0.2]:53", middle), at("10.0.0.1:53"));
    assert_eq!(world.net.links_between(HostIndex(0), HostIndex(2)).count(), 0);
    world.heal(1);
    world.net.power_off(HostIndex(1));
    assert_eq!(world.hears(left, "[::ffff:10.1.0.3]:53", right), None);
    world.net.power_on(HostIndex(1));
    assert_eq!(world.hears(left, "[::ffff:10.1.0.3]:53", right), at("10.0.0.1:53"));
}

#[test]
fn broadcasts_and_groups_stay_on_their_network() {
    let mut world = World::with_middle();
    world.add_on("b", 4, &[HOME], &routes(NET, [HOME, 2]));
    let all: Vec<_> = (0..4).map(|host| world.datagrams(host, 53)).collect();
    all.iter().for_each(|id| world.set(*id, Opt::Broadcast, 1));
    let heard = |world: &mut World, from: usize, to: &str| {
        world.send_to(all[from], b"all", to).unwrap();
        world.run(4 * S);
        let heard: String = all.iter().map(|id| if world.read(*id).is_ok() { 'x' } else { '-' }).collect();
        heard
    };
    assert_eq!(heard(&mut world, 0, "[::ffff:10.0.255.255]:53"), "xx-x");
    assert_eq!(heard(&mut world, 1, "[::ffff:10.1.255.255]:53"), "-xx-");
    assert_eq!(heard(&mut world, 0, "[::ffff:10.1.255.255]:53"), "-x--", "it is not sent on");
    assert_eq!(heard(&mut world, 2, "[ff02::1]:53"), "-xx-");
    let group = "ff02::1234".parse().unwrap();
    all.iter().for_each(|id| world.net.join_group(*id, group).unwrap());
    assert_eq!(heard(&mut world, 0, "[ff02::1234]:53"), "xx-x");
    // Who joins a group does so on his first network.
    assert_eq!(heard(&mut world, 2, "[ff02::1234]:53"), "--x-");
}

struct Counts {
    packets: u64,
    bytes: u64,
}

impl World {
    fn counters(&self, link: &str) -> netsplit_netmodel::Counters {
        let mut links = self.net.links();
        let is_it = |ports: [&str; 2]| format!("{}>{}", ports[0], ports[1]) == link;
        *links.find(|link| is_it(link.ports)).unwrap().counters
    }

    fn count(&self, link: &str) -> Counts {
        let offered = self.counters(link).offered;
        Counts { packets: offered.packets, bytes: offered.bytes }
    }

    fn dropped(&self, link: &str, cause: Cause) -> u64 {
        self.counters(link).dropped_by(cause).packets
    }
}
