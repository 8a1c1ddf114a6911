//! What holds whatever a link does: bytes arrive exactly once and in order, and no packet is lost from sight.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Plan {
    seed: u64,
    condition: Condition,
    writes: Vec<usize>,
    reads: usize,
    no_delay: bool,
    receive_buffer: Option<i32>,
}

fn plans() -> impl Strategy<Value = Plan> {
    let condition =
        (0.0..0.2, 0.0..0.2, 0.0..0.3, 0u64..30, 0.0..0.1, proptest::option::of(200_000u64..20_000_000))
            .prop_map(|(loss, duplicate, reorder, delay, corrupt, rate)| {
                let condition = Condition::new()
                    .loss(loss)
                    .duplicate(duplicate)
                    .reorder(reorder, ms(7))
                    .delay(ms(delay))
                    .corrupt(corrupt);
                rate.map_or(condition, |rate| condition.rate(rate))
            });
    (
        any::<u64>(),
        condition,
        proptest::collection::vec(1usize..20_000, 1..12),
        200usize..30_000,
        any::<bool>(),
        proptest::option::of(2_000i32..100_000),
    )
        .prop_map(|(seed, condition, writes, reads, no_delay, receive_buffer)| Plan {
            seed,
            condition,
            writes,
            reads,
            no_delay,
            receive_buffer,
        })
}

/// Sends all of a plan from one host to the other, closes, and reads until the end.
fn carry(plan: &Plan) -> (World, Vec<u8>) {
    let mut world = World::new(plan.seed, 2);
    let listener = world.listener(1, 80, 8);
    if let Some(bytes) = plan.receive_buffer {
        world.set(listener, Opt::ReceiveBuffer, bytes);
    }
    let client = world.connecting(0, "10.0.0.2:80");
    world.run(MS);
    world.both_ways(1, 0, 1, plan.condition);
    world.set(client, Opt::NoDelay, plan.no_delay.into());
    let data = bytes(plan.writes.iter().sum());
    let (mut writes, mut sent, mut end, mut is_closed) = (plan.writes.iter(), 0, 0, false);
    let (mut server, mut got) = (None, Vec::new());
    for _ in 0..400_000 {
        world.run(5 * MS);
        if sent == end
            && let Some(length) = writes.next()
        {
            end += length;
        }
        if sent < end {
            sent += world.send(client, &data[sent..end]).unwrap_or(0);
        } else if !is_closed {
            // One that nobody has any more would give up after eight attempts in vain, which happens.
            is_closed = true;
            world.shutdown(client, Shutdown::Write).unwrap();
        }
        server = server.or_else(|| world.net.accept(listener).ok().map(|(id, _)| id));
        let Some(server) = server else { continue };
        match world.receive(server, plan.reads) {
            Ok((part, _)) if part.is_empty() => break,
            Ok((part, _)) => got.extend(part),
            Err(error) => assert_eq!(error, Errno::EAGAIN),
        }
    }
    assert_eq!(got.len(), data.len());
    assert!(got == data);
    world.close(server.unwrap());
    world.close(listener);
    world.close(client);
    (world, data)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_once_and_in_order(plan in plans()) {
        let (mut world, _) = carry(&plan);
        world.run_out();
        prop_assert_eq!(world.net.socket_count(), 0, "all has ended");
        for link in world.net.links() {
            let counters = link.counters;
            prop_assert_eq!(
                counters.offered.packets + counters.duplicated.packets,
                counters.delivered.packets + counters.dropped().packets
            );
            prop_assert_eq!(counters.queued.packets + counters.under_way.packets, 0);
        }
    }

    #[test]
    fn datagrams_are_conserved(seed in any::<u64>(), loss in 0.0..0.5, duplicate in 0.0..0.5, count in 1u64..100) {
        let mut world = World::new(seed, 2);
        let server = world.bound(1, Kind::Datagram, "0.0.0.0:53");
        let client = world.socket(0, Kind::Datagram);
        world.one_way(1, 0, 1, Condition::new().loss(loss).duplicate(duplicate).reorder(0.2, ms(3)));
        for at in 0..count {
            world.send_to(client, &at.to_be_bytes(), "10.0.0.2:53").unwrap();
            world.run(MS);
        }
        world.run(S);
        let got = std::iter::from_fn(|| world.read(server).ok()).count() as u64;
        let link = world.net.links().find(|link| link.from.0 == 0).unwrap();
        prop_assert_eq!(got, link.counters.delivered.packets);
        prop_assert_eq!(got, count + link.counters.duplicated.packets - link.counters.dropped().packets);
    }
}
