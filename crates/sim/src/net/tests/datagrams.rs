//! Datagrams as programs see them.

use super::*;

#[test]
fn a_datagram_arrives_with_its_sender() {
    let mut world = World::new(1, 2);
    let server = world.bound(1, Kind::Datagram, "0.0.0.0:53");
    let client = world.socket(0, Kind::Datagram);
    assert_eq!(world.send(client, b"x"), Err(Errno::EDESTADDRREQ));
    world.set(client, Opt::Tos, 2);
    assert_eq!(world.send_to(client, b"ask", "10.0.0.2:53"), Ok(3));
    assert_eq!(world.read(server), Err(Errno::EAGAIN));
    assert_eq!(world.net.readiness(server), OUT);
    world.run(MS);
    assert_eq!((world.news(server), world.net.readiness(server)), (IN, IN | OUT));
    let (data, received) = world.receive(server, 2).unwrap();
    assert_eq!((data.as_slice(), received.length), (&b"as"[..], 3), "what does not fit is cut off");
    let from = received.from.unwrap();
    assert_eq!(from.ip().to_string(), "10.0.0.1");
    assert_eq!(from.port(), world.net.local_addr(client).unwrap().port());
    assert_eq!(received.to, Some("10.0.0.2:53".parse().unwrap()));
    assert_eq!((received.tos, received.hops), (2, 64));
    assert_eq!(world.read(server), Err(Errno::EAGAIN));
    world.send_to(server, b"", &from.to_string()).unwrap();
    world.run(MS);
    assert_eq!(world.read(client), Ok(Vec::new()));
}

#[test]
fn nobody_has_the_port() {
    let mut world = World::new(1, 2);
    let client = world.socket(0, Kind::Datagram);
    world.connect(client, "10.0.0.2:53").unwrap();
    assert_eq!(world.net.local_addr(client).unwrap().ip().to_string(), "10.0.0.1");
    assert_eq!(world.send(client, b"x"), Ok(1));
    world.run(MS);
    assert_eq!(world.news(client), ERR);
    assert_eq!(world.read(client), Err(Errno::ECONNREFUSED));
    assert_eq!(world.read(client), Err(Errno::EAGAIN));
    let other = world.socket(0, Kind::Datagram);
    world.send_to(other, b"x", "10.0.0.2:53").unwrap();
    world.run(MS);
    assert_eq!(world.net.readiness(other), OUT, "who is not connected is not told");
    assert_eq!(world.net.drops(HostIndex(1)).no_port, 2);
}

#[test]
fn who_is_connected_hears_only_its_peer() {
    let mut world = World::new(1, 3);
    let server = world.bound(1, Kind::Datagram, "0.0.0.0:53");
    world.connect(server, "10.0.0.1:1000").unwrap();
    let peer = world.bound(0, Kind::Datagram, "10.0.0.1:1000");
    let stranger = world.bound(2, Kind::Datagram, "10.0.0.3:1000");
    world.send_to(peer, b"peer", "10.0.0.2:53").unwrap();
    world.send_to(stranger, b"stranger", "10.0.0.2:53").unwrap();
    world.run(MS);
    assert_eq!(world.read(server), Ok(b"peer".to_vec()));
    assert_eq!(world.read(server), Err(Errno::EAGAIN));
    world.connect(server, "127.0.0.1:1000").unwrap();
    assert_eq!(world.net.local_addr(server).unwrap(), "127.0.0.1:53".parse().unwrap());
    world.net.disconnect(server).unwrap();
    assert_eq!(world.net.local_addr(server).unwrap(), "0.0.0.0:53".parse().unwrap());
    world.send_to(stranger, b"stranger", "10.0.0.2:53").unwrap();
    world.run(MS);
    assert_eq!(world.read(server), Ok(b"stranger".to_vec()));
}

#[test]
fn queues_have_an_end() {
    let mut world = World::new(1, 2);
    let server = world.bound(1, Kind::Datagram, "0.0.0.0:53");
    let client = world.socket(0, Kind::Datagram);
    for _ in 0..400 {
        world.send_to(client, &[7; 1000], "10.0.0.2:53").unwrap();
    }
    world.run(MS);
    let got = std::iter::from_fn(|| world.read(server).ok()).count();
    assert_eq!(got, 92, "of 2304 bytes each");
    assert_eq!(world.net.drops(HostIndex(1)).queue, 400 - got as u64);
}

#[test]
fn long_datagrams_go_in_parts() {
    let mut world = World::new(1, 2);
    let server = world.bound(1, Kind::Datagram, "0.0.0.0:53");
    let client = world.socket(0, Kind::Datagram);
    let data = bytes(65_507);
    assert_eq!(world.send_to(client, &bytes(65_508), "10.0.0.2:53"), Err(Errno::EMSGSIZE));
    world.send_to(client, &data, "10.0.0.2:53").unwrap();
    world.run(MS);
    assert_eq!(world.receive(server, 70_000).unwrap().0, data);
    assert_eq!(world.offered(0, 1), 1);
    world.one_way(1, 0, 1, Condition::new().duplicate(0.5).reorder(0.3, ms(5)));
    world.send_to(client, &data, "10.0.0.2:53").unwrap();
    world.run(S);
    assert_eq!(world.offered(0, 1), 1 + 45);
    assert_eq!(world.receive(server, 70_000).unwrap().0, data);
    assert_eq!(world.read(server), Err(Errno::EAGAIN));
    // One part that is lost is the whole.
    world.one_way(2, 0, 1, Condition::new().duplicate(0.0).loss(0.5));
    world.send_to(client, &data, "10.0.0.2:53").unwrap();
    world.run(S);
    assert_eq!(world.read(server), Err(Errno::EAGAIN));
    world.set(client, Opt::MtuDiscover, 2);
    assert_eq!(world.send_to(client, &data[..1473], "10.0.0.2:53"), Err(Errno::EMSGSIZE));
    assert_eq!(world.send_to(client, &data[..1472], "10.0.0.2:53"), Ok(1472));
}

#[test]
fn groups_reach_their_members() {
    let mut world = World::new(1, 4);
    let group = "239.1.2.3";
    let members: Vec<_> = (0..3).map(|host| world.bound(host, Kind::Datagram, "0.0.0.0:5000")).collect();
    for member in &members {
        world.net.join_group(*member, group.parse().unwrap()).unwrap();
    }
    let stranger = world.bound(3, Kind::Datagram, "0.0.0.0:5000");
    let send = |world: &mut World| world.send_to(members[0], b"all", "239.1.2.3:5000").unwrap();
    send(&mut world);
    world.run(MS);
    let heard = |world: &mut World| -> Vec<bool> {
        members.iter().chain([&stranger]).map(|id| world.read(*id).is_ok()).collect()
    };
    assert_eq!(heard(&mut world), [true, true, true, false]);
    world.set(members[0], Opt::MulticastLoop, 0);
    world.one_way(1, 0, 1, Condition::new().cut());
    send(&mut world);
    world.run(MS);
    assert_eq!(heard(&mut world), [false, false, true, false]);
    world.heal(1);
    world.close(members[1]);
    world.net.leave_group(members[2], group.parse().unwrap()).unwrap();
    send(&mut world);
    world.run(MS);
    assert_eq!(world.read(members[2]), Err(Errno::EAGAIN));
    assert_eq!(world.net.join_group(members[2], "10.0.0.1".parse().unwrap()), Err(Errno::EINVAL));
}

#[test]
fn broadcasts_reach_all_and_are_asked_for() {
    let mut world = World::new(1, 3);
    let sockets: Vec<_> = (0..3).map(|host| world.bound(host, Kind::Datagram, "0.0.0.0:67")).collect();
    assert_eq!(world.send_to(sockets[0], b"x", "255.255.255.255:67"), Err(Errno::EACCES));
    world.set(sockets[0], Opt::Broadcast, 1);
    for to in ["255.255.255.255:67", "10.0.255.255:67"] {
        world.send_to(sockets[0], b"x", to).unwrap();
        world.run(MS);
        assert!(sockets.iter().all(|id| world.read(*id).is_ok()), "{to}");
    }
}

#[test]
fn ipv6_sockets_take_both_unless_told_otherwise() {
    let mut world = World::new(1, 2);
    let both = world.net.socket(HostIndex(1), Family::V6, Kind::Datagram);
    world.net.bind(both, "[::]:53".parse().unwrap()).unwrap();
    let only = world.net.socket(HostIndex(1), Family::V6, Kind::Datagram);
    world.set(only, Opt::V6Only, 1);
    world.net.bind(only, "[::]:54".parse().unwrap()).unwrap();
    let old = world.socket(0, Kind::Datagram);
    for to in ["10.0.0.2:53", "10.0.0.2:54"] {
        world.send_to(old, b"old", to).unwrap();
    }
    world.run(MS);
    let (_, received) = world.receive(both, 10).unwrap();
    assert_eq!(received.from.unwrap().ip().to_string(), "::ffff:10.0.0.1");
    assert_eq!(world.read(only), Err(Errno::EAGAIN));
    let next = world.socket(1, Kind::Datagram);
    assert_eq!(world.net.bind(next, "0.0.0.0:53".parse().unwrap()), Err(Errno::EADDRINUSE));
    assert_eq!(world.net.bind(next, "0.0.0.0:54".parse().unwrap()), Ok(()));
}

#[test]
fn rejected_datagrams_are_refused() {
    let mut world = World::new(1, 2);
    let _server = world.bound(1, Kind::Datagram, "0.0.0.0:53");
    let client = world.socket(0, Kind::Datagram);
    world.connect(client, "10.0.0.2:53").unwrap();
    world.one_way(1, 0, 1, Condition::new().reject());
    world.send(client, b"x").unwrap();
    world.run(MS);
    assert_eq!(world.send(client, b"y"), Err(Errno::ECONNREFUSED));
    assert_eq!(world.send(client, b"y"), Ok(1));
}

#[test]
fn what_comes_for_a_host_that_is_off_vanishes() {
    let mut world = World::new(1, 2);
    let server = world.bound(1, Kind::Datagram, "0.0.0.0:53");
    let client = world.socket(0, Kind::Datagram);
    world.connect(client, "10.0.0.2:53").unwrap();
    world.net.power_off(HostIndex(1));
    world.send(client, b"x").unwrap();
    world.run(S);
    assert_eq!(world.net.readiness(client), OUT);
    assert_eq!(world.net.readiness(server), HUP | ERR, "it is gone");
    world.net.power_on(HostIndex(1));
    world.send(client, b"x").unwrap();
    world.run(S);
    assert_eq!(world.read(client), Err(Errno::ECONNREFUSED));
}

#[test]
fn a_datagram_to_oneself_takes_the_loopback_delay() {
    let mut world = World::new(1, 1);
    let id = world.bound(0, Kind::Datagram, "0.0.0.0:53");
    for to in ["127.0.0.1:53", "10.0.0.1:53", "0.0.0.0:53"] {
        world.send_to(id, b"me", to).unwrap();
        world.run(9_999);
        assert_eq!(world.read(id), Err(Errno::EAGAIN), "{to}");
        world.run(1);
        assert_eq!(world.read(id), Ok(b"me".to_vec()), "{to}");
    }
}

#[test]
fn groups_of_ipv6_and_sockets_that_share_a_port() {
    let mut world = World::new(1, 2);
    let member = |world: &mut World, host| {
        let id = world.net.socket(HostIndex(host), Family::V6, Kind::Datagram);
        world.set(id, Opt::ReuseAddr, 1);
        world.net.bind(id, "[::]:5353".parse().unwrap()).unwrap();
        world.net.join_group(id, "ff05::fb".parse().unwrap()).unwrap();
        id
    };
    let members = [member(&mut world, 0), member(&mut world, 1), member(&mut world, 1)];
    world.set(members[0], Opt::MulticastHops, 7);
    world.send_to(members[0], b"who", "[ff05::fb]:5353").unwrap();
    world.run(MS);
    for id in members {
        let (_, received) = world.receive(id, 10).unwrap();
        assert_eq!(received.from.unwrap().to_string(), "[fd00::1]:5353");
        assert_eq!((received.to.unwrap().to_string(), received.hops), ("[ff05::fb]:5353".to_owned(), 7));
    }
    // What is for one goes to one.
    world.send_to(members[0], b"you", "[fd00::2]:5353").unwrap();
    world.run(MS);
    assert_eq!(members.iter().filter(|id| world.read(**id).is_ok()).count(), 1);
}

#[test]
fn senders_are_shared_among_sockets_of_a_port() {
    let mut world = World::new(1, 2);
    let servers = [0, 1].map(|_| {
        let id = world.socket(1, Kind::Datagram);
        world.set(id, Opt::ReusePort, 1);
        world.net.bind(id, "0.0.0.0:53".parse().unwrap()).unwrap();
        id
    });
    let clients: Vec<_> = (0..40).map(|_| world.socket(0, Kind::Datagram)).collect();
    let round = |world: &mut World| {
        for id in &clients {
            world.send_to(*id, b"x", "10.0.0.2:53").unwrap();
        }
        world.run(MS);
        servers.map(|id| {
            let heard = std::iter::from_fn(|| world.receive(id, 1).ok());
            heard.map(|(_, received)| received.from.unwrap()).collect::<Vec<_>>()
        })
    };
    let first = round(&mut world);
    assert!(first.iter().all(|senders| senders.len() > 5));
    assert_eq!(first, round(&mut world), "each always to the same");
}
