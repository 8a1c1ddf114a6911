//! How connections begin or do not: backlogs, time-outs, addresses and ports.

use super::*;

#[test]
fn nobody_listens() {
    let mut world = World::new(1, 2);
    let client = world.connecting(0, "10.0.0.2:80");
    world.run(MS);
    assert_eq!(world.news(client), IN | OUT | RDHUP | HUP | ERR);
    assert!(world.is_error(client, Errno::ECONNREFUSED));
    assert_eq!(world.send(client, b"x"), Err(Errno::EPIPE));
    assert_eq!(world.connect(client, "10.0.0.2:80"), Err(Errno::ECONNABORTED));
    assert_eq!(world.net.local_addr(client).unwrap().port(), 0);
    let _listener = world.listener(1, 80, 8);
    assert_eq!(world.connect(client, "10.0.0.2:80"), Err(Errno::EINPROGRESS));
    assert_eq!(world.connect(client, "10.0.0.2:80"), Err(Errno::EALREADY));
    world.run(MS);
    assert_eq!(world.news(client), OUT);
    let hasty = world.connecting(0, "10.0.0.2:80");
    assert_eq!(world.send(hasty, b"x"), Err(Errno::EAGAIN));
    assert_eq!(world.read(hasty), Err(Errno::EAGAIN));
    world.shutdown(hasty, Shutdown::Write).unwrap();
    assert!(world.is_error(hasty, Errno::ECONNRESET));
    world.run(MS);
    assert_eq!(world.net.readiness(hasty), IN | OUT | RDHUP | HUP);
}

#[test]
fn both_ends_may_begin_at_once() {
    let mut world = World::new(1, 2);
    let one = world.bound(0, Kind::Stream, "10.0.0.1:1000");
    let other = world.bound(1, Kind::Stream, "10.0.0.2:1000");
    assert_eq!(world.connect(one, "10.0.0.2:1000"), Err(Errno::EINPROGRESS));
    assert_eq!(world.connect(other, "10.0.0.1:1000"), Err(Errno::EINPROGRESS));
    let own = world.bound(0, Kind::Stream, "10.0.0.1:2000");
    assert_eq!(world.connect(own, "10.0.0.1:2000"), Err(Errno::EINPROGRESS));
    world.run(MS);
    for [from, to] in [[one, other], [other, one], [own, own]] {
        assert_eq!(world.news(from) & (OUT | ERR), OUT);
        world.send(from, b"hello").unwrap();
        world.run(MS);
        assert_eq!(world.read(to), Ok(b"hello".to_vec()));
    }
    world.shutdown(own, Shutdown::Write).unwrap();
    world.run(MS);
    assert_eq!(world.net.readiness(own), IN | OUT | RDHUP | HUP);
}

#[test]
fn a_full_backlog_drops_syns() {
    let mut world = World::new(1, 2);
    let listener = world.listener(1, 80, 1);
    let clients: Vec<_> = (0..4).map(|_| world.connecting(0, "10.0.0.2:80")).collect();
    world.run(MS);
    assert_eq!(world.net.readiness(listener), IN);
    let first: Vec<_> = std::iter::from_fn(|| world.net.accept(listener).ok()).collect();
    assert_eq!(first.len(), 2, "one more than the backlog");
    // The others come again: their SYN, or the listener's.
    world.run(4 * S);
    let second: Vec<_> = std::iter::from_fn(|| world.net.accept(listener).ok()).collect();
    assert_eq!(second.len(), 2);
    assert!(clients.iter().all(|client| world.net.readiness(*client) == OUT));
}

#[test]
fn closing_a_listener_resets_who_waits() {
    let mut world = World::new(1, 2);
    let listener = world.listener(1, 80, 8);
    let client = world.connecting(0, "10.0.0.2:80");
    world.run(MS);
    world.close(listener);
    world.run(MS);
    assert_eq!(world.read(client), Err(Errno::ECONNRESET));
    let late = world.connecting(0, "10.0.0.2:80");
    world.run(MS);
    assert!(world.is_error(late, Errno::ECONNREFUSED));
}

#[test]
fn syns_that_nobody_answers_time_out() {
    let mut world = World::new(1, 2);
    let _listener = world.listener(1, 80, 8);
    world.one_way(1, 0, 1, Condition::new().cut());
    let client = world.connecting(0, "10.0.0.2:80");
    world.run(126 * S);
    assert_eq!(world.net.readiness(client), 0);
    world.run(2 * S);
    assert!(world.is_error(client, Errno::ETIMEDOUT));
    assert_eq!(world.offered(0, 1), 7);
}

#[test]
fn a_syn_that_was_lost_comes_again_after_a_second() {
    let mut world = World::new(1, 2);
    let _listener = world.listener(1, 80, 8);
    world.one_way(1, 0, 1, Condition::new().cut());
    let client = world.connecting(0, "10.0.0.2:80");
    world.run(MS);
    world.heal(1);
    world.run(998 * MS);
    assert_eq!(world.net.readiness(client), 0);
    world.run(2 * MS);
    assert_eq!(world.net.readiness(client), OUT);
}

#[test]
fn ipv6_and_ipv4_in_its_clothes() {
    let mut world = World::new(1, 2);
    let listener = world.net.socket(HostIndex(1), Family::V6, Kind::Stream);
    world.net.bind(listener, "[::]:80".parse().unwrap()).unwrap();
    world.net.listen(listener, 8).unwrap();
    let old = world.connecting(0, "10.0.0.2:80");
    let new = world.net.socket(HostIndex(0), Family::V6, Kind::Stream);
    assert_eq!(world.connect(new, "[fd00::2]:80"), Err(Errno::EINPROGRESS));
    let mapped = world.net.socket(HostIndex(0), Family::V6, Kind::Stream);
    assert_eq!(world.connect(mapped, "[::ffff:10.0.0.2]:80"), Err(Errno::EINPROGRESS));
    world.run(MS);
    let froms: Vec<_> = (0..3).map(|_| world.net.accept(listener).unwrap().1.ip().to_string()).collect();
    assert_eq!(froms, ["::ffff:10.0.0.1", "fd00::1", "::ffff:10.0.0.1"]);
    assert_eq!(world.net.local_addr(new).unwrap().ip().to_string(), "fd00::1");
    assert_eq!(world.net.peer_addr(mapped).unwrap().to_string(), "[::ffff:10.0.0.2]:80");
    assert_eq!(world.net.peer_addr(old).unwrap().to_string(), "10.0.0.2:80");
    let wrong = world.socket(0, Kind::Stream);
    assert_eq!(world.connect(wrong, "[fd00::2]:80"), Err(Errno::EAFNOSUPPORT));
}

#[test]
fn loopback_is_each_hosts_own() {
    let mut world = World::new(1, 2);
    let listener = world.bound(0, Kind::Stream, "127.0.0.1:80");
    world.net.listen(listener, 8).unwrap();
    let near = world.connecting(0, "127.0.0.1:80");
    let far = world.connecting(1, "127.0.0.1:80");
    let outside = world.connecting(1, "10.0.0.1:80");
    world.run(MS);
    assert_eq!(world.net.readiness(near), OUT);
    assert!(world.is_error(far, Errno::ECONNREFUSED));
    assert!(world.is_error(outside, Errno::ECONNREFUSED));
    let lone = world.net.add_host(0, &mut Outbox::default(), "test", &[], &[]);
    let id = world.net.socket(lone, Family::V4, Kind::Stream);
    assert_eq!(world.connect(id, "10.0.0.1:80"), Err(Errno::ENETUNREACH));
    assert_eq!(world.connect(id, "127.0.0.1:80"), Err(Errno::EINPROGRESS));
}

#[test]
fn addresses_are_somebodys() {
    let mut world = World::new(1, 2);
    let id = world.socket(0, Kind::Stream);
    let bind = |world: &mut World, address: &str| world.net.bind(id, address.parse().unwrap());
    assert_eq!(bind(&mut world, "10.0.0.2:80"), Err(Errno::EADDRNOTAVAIL));
    assert_eq!(bind(&mut world, "[::]:80"), Err(Errno::EAFNOSUPPORT));
    assert_eq!(bind(&mut world, "10.0.0.1:0"), Ok(()));
    assert!((32_768..61_000).contains(&world.net.local_addr(id).unwrap().port()));
    assert_eq!(bind(&mut world, "10.0.0.1:81"), Err(Errno::EINVAL));
    let inside = world.bound(0, Kind::Stream, "127.0.0.1:0");
    assert_eq!(world.connect(inside, "10.0.0.2:80"), Err(Errno::EINVAL));
    let inside = world.bound(0, Kind::Datagram, "127.0.0.1:0");
    assert_eq!(world.connect(inside, "10.0.0.2:80"), Err(Errno::EINVAL));
    assert_eq!(world.send_to(inside, b"x", "10.0.0.2:80"), Err(Errno::EINVAL));
    // Nobody has this one, which takes three questions to find out.
    let absent = world.connecting(0, "10.0.9.9:80");
    world.run(2900 * MS);
    assert_eq!(world.net.readiness(absent), 0);
    world.run(200 * MS);
    assert!(world.is_error(absent, Errno::EHOSTUNREACH));
    let lost = world.socket(0, Kind::Stream);
    assert_eq!(world.connect(lost, "192.0.2.1:80"), Err(Errno::ENETUNREACH));
}

#[test]
fn ports_are_used_once() {
    let mut world = World::new(1, 2);
    let listener = world.listener(0, 80, 8);
    let other = world.socket(0, Kind::Stream);
    let bind = |world: &mut World, address: &str| world.net.bind(other, address.parse().unwrap());
    assert_eq!(bind(&mut world, "10.0.0.1:80"), Err(Errno::EADDRINUSE));
    world.set(other, Opt::ReuseAddr, 1);
    assert_eq!(bind(&mut world, "10.0.0.1:80"), Err(Errno::EADDRINUSE), "it listens");
    world.close(listener);
    assert_eq!(bind(&mut world, "10.0.0.1:80"), Ok(()));
    let again = world.socket(0, Kind::Stream);
    world.set(again, Opt::ReuseAddr, 1);
    assert_eq!(world.net.bind(again, "0.0.0.0:80".parse().unwrap()), Ok(()));
    assert_eq!(world.net.listen(again, 8), Ok(()));
    assert_eq!(world.net.listen(other, 8), Err(Errno::EADDRINUSE));
}

#[test]
fn a_server_that_is_started_again_needs_reuse() {
    let mut world = World::new(1, 2);
    let listener = world.listener(1, 80, 8);
    let client = world.connecting(0, "10.0.0.2:80");
    world.run(MS);
    let (server, _) = world.net.accept(listener).unwrap();
    world.close(server);
    world.run(MS);
    world.close(client);
    world.close(listener);
    world.run(S);
    let plain = world.socket(1, Kind::Stream);
    assert_eq!(world.net.bind(plain, "0.0.0.0:80".parse().unwrap()), Err(Errno::EADDRINUSE));
    world.run(61 * S);
    assert_eq!(world.net.bind(plain, "0.0.0.0:80".parse().unwrap()), Ok(()));
    assert_eq!(world.net.socket_count(), 1);
}

#[test]
fn listeners_of_one_port_share_by_sender() {
    let mut world = World::new(1, 2);
    let listeners: Vec<_> = (0..2)
        .map(|_| {
            let id = world.socket(1, Kind::Stream);
            world.set(id, Opt::ReusePort, 1);
            world.net.bind(id, "0.0.0.0:80".parse().unwrap()).unwrap();
            world.net.listen(id, 100).unwrap();
            id
        })
        .collect();
    for _ in 0..40 {
        world.connecting(0, "10.0.0.2:80");
    }
    world.run(MS);
    let counts: Vec<_> =
        listeners.iter().map(|id| std::iter::from_fn(|| world.net.accept(*id).ok()).count()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 40);
    assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
}

#[test]
fn epoll_of_what_is_not_connected() {
    let mut world = World::new(1, 1);
    let id = world.socket(0, Kind::Stream);
    assert_eq!(world.net.readiness(id), OUT | HUP);
    assert_eq!(world.read(id), Err(Errno::ENOTCONN));
    assert_eq!(world.send(id, b"x"), Err(Errno::EPIPE));
    assert_eq!(world.shutdown(id, Shutdown::Both), Err(Errno::ENOTCONN));
    assert_eq!(world.net.peer_addr(id), Err(Errno::ENOTCONN));
    assert_eq!(world.net.accept(id), Err(Errno::EINVAL));
}

#[test]
fn who_was_reset_before_it_was_accepted_is_accepted() {
    let mut world = World::new(1, 2);
    let listener = world.listener(1, 80, 8);
    let client = world.connecting(0, "10.0.0.2:80");
    world.run(MS);
    world.call(|net, now, out| net.abort(now, out, client));
    world.run(MS);
    let (server, _) = world.net.accept(listener).unwrap();
    assert_eq!(world.net.readiness(server), IN | OUT | RDHUP | HUP | ERR);
    assert_eq!(world.read(server), Err(Errno::ECONNRESET));
    world.close(server);
    world.close(listener);
    assert_eq!(world.net.socket_count(), 0);
}

#[test]
fn data_before_accept_waits() {
    let mut world = World::new(1, 2);
    let listener = world.listener(1, 80, 8);
    let client = world.connecting(0, "10.0.0.2:80");
    world.run(MS);
    world.send(client, b"early").unwrap();
    world.close(client);
    world.run(MS);
    let (server, _) = world.net.accept(listener).unwrap();
    assert_eq!(world.net.readiness(server), IN | OUT | RDHUP);
    assert_eq!(world.read(server), Ok(b"early".to_vec()));
    assert_eq!(world.read(server), Ok(Vec::new()));
}

#[test]
fn options_are_kept_as_linux_does() {
    let mut world = World::new(1, 1);
    let id = world.socket(0, Kind::Stream);
    let mut set = |option, value| world.call(|net, now, out| net.set_option(now, out, id, option, value));
    assert_eq!(set(Opt::ReceiveBuffer, 10_000), Ok(()));
    assert_eq!(set(Opt::SendBuffer, 1 << 30), Ok(()));
    assert_eq!(set(Opt::Linger, 5), Ok(()));
    assert_eq!(set(Opt::KeepIdle, 0), Err(Errno::EINVAL));
    assert_eq!(set(Opt::Hops, 256), Err(Errno::EINVAL));
    assert_eq!(set(Opt::Hops, 3), Ok(()));
    let get = |option| world.net.option(id, option).unwrap();
    assert_eq!(
        (get(Opt::ReceiveBuffer), get(Opt::SendBuffer)),
        (20_000, 425_984),
        "twice, and not without end"
    );
    assert_eq!((get(Opt::Linger), get(Opt::KeepIdle), get(Opt::Hops)), (5, 7200, 3));
    assert_eq!((get(Opt::NoDelay), get(Opt::V6Only), get(Opt::UserTimeout)), (0, 0, 0));
}
