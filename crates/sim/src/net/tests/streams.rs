//! Streams as programs see them: connecting, data, ends, resets, backlogs, and what epoll says.

use super::*;

#[test]
fn a_connection_carries_bytes_both_ways() {
    let mut world = World::new(1, 2);
    let listener = world.listener(1, 80, 8);
    let client = world.connecting(0, "10.0.0.2:80");
    assert_eq!(world.net.readiness(client), 0);
    world.run(MS);
    assert_eq!(world.news(client), OUT);
    assert_eq!(world.news(listener), IN);
    assert_eq!(world.net.readiness(listener), IN);
    let (server, from) = world.net.accept(listener).unwrap();
    assert_eq!(from, world.net.local_addr(client).unwrap());
    assert_eq!(world.net.accept(listener), Err(Errno::EAGAIN));
    assert_eq!(world.net.peer_addr(client).unwrap(), "10.0.0.2:80".parse().unwrap());
    assert_eq!(world.net.take_error(client), None);
    assert_eq!(world.connect(client, "10.0.0.2:80"), Ok(()));
    assert_eq!(world.connect(client, "10.0.0.2:80"), Err(Errno::EISCONN));

    assert_eq!(world.read(server), Err(Errno::EAGAIN));
    assert_eq!(world.send(client, b"ping"), Ok(4));
    world.run(MS);
    assert_eq!(world.net.readiness(server), IN | OUT);
    assert_eq!(world.net.available(server), 4);
    assert_eq!(world.read(server), Ok(b"ping".to_vec()));
    assert_eq!(world.send(server, b"pong"), Ok(4));
    world.run(MS);
    assert_eq!(world.read(client), Ok(b"pong".to_vec()));
}

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
fn the_end_of_one_direction_is_not_that_of_the_other() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.send(client, b"last words").unwrap();
    world.shutdown(client, Shutdown::Write).unwrap();
    assert_eq!(world.send(client, b"more"), Err(Errno::EPIPE));
    world.news(server);
    world.run(MS);
    assert_eq!(world.news(server), IN | RDHUP);
    assert_eq!(world.net.readiness(server), IN | OUT | RDHUP);
    assert_eq!(world.read(server), Ok(b"last words".to_vec()));
    assert_eq!(world.read(server), Ok(Vec::new()));
    world.send(server, b"answer").unwrap();
    world.run(MS);
    assert_eq!(world.read(client), Ok(b"answer".to_vec()));
    world.close(server);
    world.run(MS);
    assert_eq!(world.read(client), Ok(Vec::new()));
    assert_eq!(world.net.readiness(client), IN | OUT | RDHUP | HUP);
    world.close(client);
    world.run_out();
    assert_eq!(world.net.socket_count(), 0);
}

#[test]
fn writing_to_who_has_closed_is_reset() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.close(server);
    world.run(MS);
    assert_eq!(world.net.readiness(client), IN | OUT | RDHUP);
    assert_eq!(world.send(client, b"x"), Ok(1));
    world.run(MS);
    assert_eq!(world.net.readiness(client), IN | OUT | RDHUP | HUP | ERR);
    assert_eq!(world.read(client), Ok(Vec::new()));
    assert_eq!(world.send(client, b"x"), Err(Errno::EPIPE));
    assert_eq!(world.send(client, b"x"), Err(Errno::EPIPE));
    assert_eq!(world.net.readiness(client), IN | OUT | RDHUP | HUP);
}

#[test]
fn shutting_both_directions_resets_who_goes_on() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.shutdown(client, Shutdown::Both).unwrap();
    world.run(MS);
    assert_eq!(world.net.readiness(client), IN | OUT | RDHUP | HUP);
    assert_eq!(world.net.readiness(server), IN | OUT | RDHUP);
    world.send(server, b"on").unwrap();
    world.run(MS);
    for id in [client, server] {
        assert_eq!(world.net.readiness(id), IN | OUT | RDHUP | HUP | ERR);
    }
    assert_eq!(world.read(client), Err(Errno::ECONNRESET));
    assert_eq!(world.read(server), Ok(Vec::new()));
    assert_eq!(world.send(server, b"on"), Err(Errno::EPIPE));
}

#[test]
fn shutting_reading_does_not_refuse_data() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.shutdown(client, Shutdown::Read).unwrap();
    assert_eq!(world.net.readiness(client), IN | OUT | RDHUP);
    assert_eq!(world.read(client), Ok(Vec::new()));
    world.send(server, b"late").unwrap();
    world.run(MS);
    assert_eq!(world.read(client), Ok(b"late".to_vec()));
    assert_eq!(world.read(client), Ok(Vec::new()));
    assert_eq!(world.net.readiness(server), OUT);
}

#[test]
fn both_ends_may_end_at_once() {
    let mut world = World::new(1, 2);
    let ends = world.pair();
    for id in ends {
        world.shutdown(id, Shutdown::Write).unwrap();
    }
    world.run(S);
    for id in ends {
        assert_eq!(world.net.readiness(id), IN | OUT | RDHUP | HUP);
        assert_eq!(world.read(id), Ok(Vec::new()));
        assert_eq!(world.net.peer_addr(id), Err(Errno::ENOTCONN));
        assert_eq!(world.shutdown(id, Shutdown::Write), Err(Errno::ENOTCONN));
    }
    world.run_out();
    ends.into_iter().for_each(|id| world.close(id));
    assert_eq!(world.net.socket_count(), 0);
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
fn one_loss_of_many_is_found_by_what_comes_after_it() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    // Segments, not one for all.
    world.both_ways(1, 0, 1, Condition::new().delay(ms(5)).mtu(1500));
    world.one_way(2, 0, 1, Condition::new().cut());
    world.send(client, &bytes(1460)).unwrap();
    world.run(10 * MS);
    world.heal(2);
    let rest = bytes(1460 * 8);
    world.send(client, &rest).unwrap();
    world.run(30 * MS);
    assert_eq!(world.net.available(server), 1460 * 9, "long before 200 ms");
}

#[test]
fn what_was_lost_alone_comes_again_after_200_ms() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.one_way(1, 0, 1, Condition::new().cut());
    world.send(client, b"x").unwrap();
    world.run(199 * MS);
    world.heal(1);
    assert_eq!(world.net.available(server), 0);
    world.run(3 * MS);
    assert_eq!(world.net.available(server), 1);
    // Each time it waits twice as long: 0.2, 0.4, 0.8, 1.6 s.
    world.one_way(2, 0, 1, Condition::new().cut());
    let before = world.offered(0, 1);
    world.send(client, b"y").unwrap();
    world.run(3100 * MS);
    assert_eq!(world.offered(0, 1) - before, 5);
}

#[test]
fn closing_with_unread_data_resets() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.send(client, b"unread").unwrap();
    world.run(MS);
    world.close(server);
    world.run(MS);
    assert_eq!(world.read(client), Err(Errno::ECONNRESET));
    assert_eq!(world.read(client), Ok(Vec::new()));
    assert_eq!(world.send(client, b"x"), Err(Errno::EPIPE));
}

#[test]
fn linger_of_nothing_resets() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.send(client, b"data").unwrap();
    world.run(MS);
    world.set(client, Opt::Linger, 0);
    world.close(client);
    world.run(MS);
    // What has come can still be read.
    assert_eq!(world.read(server), Ok(b"data".to_vec()));
    assert_eq!(world.read(server), Err(Errno::ECONNRESET));
}

#[test]
fn what_was_written_before_a_close_arrives() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.both_ways(1, 0, 1, Condition::new().delay(ms(20)).rate(10_000_000));
    let data = bytes(80_000);
    assert_eq!(world.send(client, &data), Ok(80_000));
    world.close(client);
    let mut got = Vec::new();
    for _ in 0..100 {
        world.run(20 * MS);
        match world.read(server) {
            Ok(part) if part.is_empty() => break,
            Ok(part) => got.extend(part),
            Err(error) => assert_eq!(error, Errno::EAGAIN),
        }
    }
    assert_eq!(got, data);
}

#[test]
fn a_slow_reader_stops_the_writer() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    let data = bytes(100_000);
    let mut written = 0;
    loop {
        match world.send(client, &data[written % 251..]) {
            Ok(length) => written += length,
            Err(error) => {
                assert_eq!(error, Errno::EAGAIN);
                world.run(10 * MS);
                if world.net.readiness(client) & OUT == 0 {
                    break;
                }
            }
        }
    }
    assert!(written > 100_000, "{written}");
    world.news(client);
    // Its window stays closed, and the writer asks from time to time.
    world.run(600 * S);
    assert_eq!(world.news(client), 0);
    let mut read = 0;
    while read < written {
        match world.read(server) {
            Ok(part) => {
                let expect = (0..part.len()).map(|at| u8::try_from((read + at) % 251).unwrap());
                assert!(part.iter().copied().eq(expect), "at {read}");
                read += part.len();
            }
            Err(_) => world.run(10 * MS),
        }
    }
    assert_ne!(world.news(client) & OUT, 0);
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
fn established_connections_outlive_a_cut_and_time_out_in_the_end() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.both_ways(1, 0, 1, Condition::new().cut());
    world.send(client, b"after").unwrap();
    world.run(20 * S);
    world.heal(1);
    world.run(30 * S);
    assert_eq!(world.read(server), Ok(b"after".to_vec()));
    world.both_ways(2, 0, 1, Condition::new().cut());
    world.send(client, b"never").unwrap();
    world.run(900 * S);
    assert_eq!(world.net.readiness(client), OUT);
    world.run(100 * S);
    assert!(world.is_error(client, Errno::ETIMEDOUT));
    // Who only listens never learns of it.
    assert_eq!(world.net.readiness(server), OUT);
}

#[test]
fn a_user_timeout_ends_it_sooner() {
    let mut world = World::new(1, 2);
    let [client, _server] = world.pair();
    world.set(client, Opt::UserTimeout, 5000);
    world.both_ways(1, 0, 1, Condition::new().cut());
    world.send(client, b"x").unwrap();
    world.run(4990 * MS);
    assert_eq!(world.net.readiness(client), OUT);
    world.run(20 * MS);
    assert!(world.is_error(client, Errno::ETIMEDOUT));
}

#[test]
fn keep_alive_finds_who_is_gone() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    for (option, value) in
        [(Opt::KeepIdle, 10), (Opt::KeepInterval, 2), (Opt::KeepCount, 3), (Opt::KeepAlive, 1)]
    {
        world.set(client, option, value);
    }
    world.run(100 * S);
    assert_eq!(world.net.readiness(client), OUT, "the peer answers");
    world.net.power_off(HostIndex(1));
    world.run(17 * S);
    assert!(world.is_error(client, Errno::ETIMEDOUT));
    assert_eq!(world.net.local_addr(server), Err(Errno::EBADF));
}

#[test]
fn a_host_that_comes_up_again_knows_no_connection() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.net.power_off(HostIndex(1));
    world.send(client, b"x").unwrap();
    world.run(S);
    assert_eq!(world.net.readiness(client), OUT, "not a word");
    world.net.power_on(HostIndex(1));
    world.run(10 * S);
    assert_eq!(world.read(client), Err(Errno::ECONNRESET));
    assert_eq!(world.net.send(world.now, &mut world.out, server, &[], None), Err(Errno::EBADF));
}

#[test]
fn a_killed_client_does_not_leave_its_peer_waiting() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.call(|net, now, out| net.abort(now, out, client));
    world.run(MS);
    assert_eq!(world.read(server), Err(Errno::ECONNRESET));
}

#[test]
fn small_writes_are_joined_unless_told_otherwise() {
    let segments = |no_delay| {
        let mut world = World::new(1, 2);
        let [client, server] = world.pair();
        world.set(client, Opt::NoDelay, no_delay);
        let before = world.offered(0, 1);
        for _ in 0..10 {
            world.send(client, b"word ").unwrap();
        }
        world.run(MS);
        assert_eq!(world.read(server).unwrap().len(), 50, "the peer acknowledges at once at first");
        world.offered(0, 1) - before
    };
    assert_eq!(segments(0), 2);
    assert_eq!(segments(1), 10);
}

#[test]
fn answers_carry_acknowledgements() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    let ask = |world: &mut World| {
        world.send(client, b"ask").unwrap();
        world.run(MS);
        assert_eq!(world.read(server), Ok(b"ask".to_vec()));
        world.send(server, b"tell").unwrap();
        world.run(MS);
        assert_eq!(world.read(client), Ok(b"tell".to_vec()));
    };
    (0..10).for_each(|_| ask(&mut world));
    let before = world.offered(0, 1) + world.offered(1, 0);
    (0..10).for_each(|_| ask(&mut world));
    assert_eq!(world.offered(0, 1) + world.offered(1, 0) - before, 20);
    // What nobody answers is acknowledged after 40 ms.
    world.send(client, b"ask").unwrap();
    world.run(35 * MS);
    assert_eq!(world.net.unacknowledged(client), 3);
    world.run(10 * MS);
    assert_eq!(world.net.unacknowledged(client), 0);
}

#[test]
fn plain_links_carry_super_segments_and_others_do_not() {
    let packets = |condition: Condition| {
        let mut world = World::new(1, 2);
        let [client, server] = world.pair();
        world.both_ways(1, 0, 1, condition);
        let before = world.offered(0, 1);
        let mut left = 1_000_000;
        let data = bytes(100_000);
        let mut got = 0;
        while got < 1_000_000 {
            if left > 0 {
                left -= world.send(client, &data[..left.min(100_000)]).unwrap_or(0);
            }
            world.run(MS);
            got += world.read(server).map_or(0, |part| part.len());
        }
        world.offered(0, 1) - before
    };
    assert!(packets(Condition::new().delay(ms(1))) < 100);
    let segments = packets(Condition::new().rate(1_000_000_000));
    assert!((685..700).contains(&segments), "{segments}");
}

#[test]
fn rates_are_kept() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.one_way(1, 0, 1, Condition::new().rate(8_000_000));
    let begun = world.now;
    let data = bytes(1_000_000);
    let (mut sent, mut got) = (0, 0);
    while got < data.len() {
        sent += world.send(client, &data[sent..]).unwrap_or(0);
        world.run(MS);
        got += world.read(server).map_or(0, |part| part.len());
    }
    let took = world.now - begun;
    // A megabyte and its headers at a megabyte a second.
    assert!((1020 * MS..1150 * MS).contains(&took), "{took}");
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
    let lone = world.net.add_lone_host("test");
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
fn rejected_connections_fail_at_once() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.both_ways(1, 0, 1, Condition::new().reject());
    world.send(client, b"x").unwrap();
    world.run(MS);
    assert_eq!(world.read(client), Err(Errno::ECONNRESET));
    assert_eq!(world.net.readiness(server), OUT, "it hears nothing");
    let refused = world.connecting(0, "10.0.0.2:80");
    world.run(MS);
    assert!(world.is_error(refused, Errno::ECONNREFUSED));
}

#[test]
fn peeking_leaves_what_it_sees() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.send(client, b"seen").unwrap();
    world.run(MS);
    let mut buf = [0; 2];
    let seen = world.call(|net, now, out| net.recv(now, out, server, &mut [IoSliceMut::new(&mut buf)], true));
    assert_eq!((seen.unwrap().bytes, &buf), (2, b"se"));
    assert_eq!(world.read(server), Ok(b"seen".to_vec()));
}

#[test]
fn an_idle_connection_costs_no_events() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    world.send(client, b"x").unwrap();
    world.run(S);
    world.read(server).unwrap();
    let before = world.events;
    world.run(3600 * S);
    assert_eq!(world.events, before);
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
fn a_window_that_opens_after_long_is_used_at_once_and_well() {
    let mut world = World::new(1, 2);
    let [client, server] = world.pair();
    while world.send(client, &bytes(100_000)).is_ok() {
        world.run(10 * MS);
    }
    world.run(1000 * S);
    let waiting = world.net.unacknowledged(client);
    // The first segments that may go are lost.
    while world.net.available(server) > 0 {
        world.read(server).unwrap();
    }
    world.run(60_000);
    world.one_way(1, 0, 1, Condition::new().cut());
    world.run(10 * MS);
    world.heal(1);
    let mut left = 10;
    while world.net.unacknowledged(client) == waiting && left > 0 {
        left -= 1;
        world.run(100 * MS);
    }
    assert!(left > 0, "not after two minutes");
}
