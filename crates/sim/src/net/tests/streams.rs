//! Connections as programs see them: data, ends, resets, and what epoll says.

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
