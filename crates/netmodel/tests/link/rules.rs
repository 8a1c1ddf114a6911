//! What holds for every packet, whatever the conditions, the traffic and the time.

use std::time::Duration;

use netsplit_netmodel::{Behaviour, Cause, Condition, Distribution, Jitter, Loss, Passage, Reorder};
use proptest::prelude::*;

use crate::driver::Driver;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What happens to a link.
#[derive(Clone, Debug)]
enum Step {
    Offer { length_bytes: u32, count: usize },
    Wait(Duration),
    Change(Vec<Condition>),
}

fn time(most_us: u64) -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), 0..most_us].prop_map(Duration::from_micros)
}

fn share() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..1.0]
}

fn jitter() -> impl Strategy<Value = Jitter> {
    use Distribution::{Normal, Pareto, ParetoNormal, Uniform};
    let distribution = prop::sample::select(vec![Uniform, Normal, Pareto, ParetoNormal]);
    (time(20_000), distribution).prop_map(|(spread, distribution)| Jitter { spread, distribution })
}

fn loss() -> impl Strategy<Value = Loss> {
    let bursts = (0.0..0.5, 1.0..20.0).prop_map(|(share, packets)| Loss::Bursts { share, packets });
    let chain = [share(), share(), share(), share()].prop_map(
        |[good_to_bad, bad_to_good, loss_in_bad, loss_in_good]| Loss::GilbertElliott {
            good_to_bad,
            bad_to_good,
            loss_in_bad,
            loss_in_good,
        },
    );
    prop_oneof![share().prop_map(Loss::Independent), bursts, chain]
}

fn passage() -> impl Strategy<Value = Passage> {
    prop::sample::select(vec![Passage::Open, Passage::Open, Passage::Cut, Passage::Reject, Passage::Hold])
}

prop_compose! {
    fn condition()(
        passage in prop::option::of(passage()),
        delay in prop::option::of(time(50_000)),
        jitter in prop::option::of(jitter()),
        loss in prop::option::of(loss()),
        duplicate in prop::option::of(share()),
        reorder in prop::option::of((share(), time(50_000))),
        corrupt in prop::option::of(share()),
        rate in prop::option::of(1_000..10_000_000_000u64),
        queue in prop::option::of(0..20_000u64),
        overhead in prop::option::of(-100..100i32),
        mtu in prop::option::of(68..3000u32),
        hold in prop::option::of(0..20_000u64),
    ) -> Condition {
        let reorder = reorder.map(|(share, by)| Reorder { share, by });
        let mut condition = Condition { passage, delay, jitter, loss, duplicate, reorder, corrupt, ..Condition::new() };
        condition.rate_bits_per_s = rate;
        condition.queue_bytes = queue;
        condition.overhead_bytes = overhead;
        condition.mtu_bytes = mtu;
        condition.hold_bytes = hold;
        condition
    }
}

fn traffic() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2000u32, 1..8usize).prop_map(|(length_bytes, count)| Step::Offer { length_bytes, count }),
        time(30_000).prop_map(Step::Wait),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = prop::collection::vec(condition(), 0..3).prop_map(Step::Change);
    prop::collection::vec(prop_oneof![4 => traffic(), 1 => change], 1..60)
}

fn take(driver: &mut Driver, step: &Step) {
    match step {
        Step::Offer { length_bytes, count } => driver.offer_many(*count, *length_bytes),
        Step::Wait(time) => driver.wait(*time),
        Step::Change(layers) => driver.change(layers),
    }
}

/// Offers this traffic under one condition and lets it arrive.
fn run(name: &str, condition: Condition, traffic: &[Step]) -> Driver {
    let mut driver = Driver::new(1, name);
    driver.change(&[condition]);
    traffic.iter().for_each(|step| take(&mut driver, step));
    driver.finish();
    driver
}

proptest! {
    #[test]
    fn conditions_and_behaviours_can_be_written_and_read(condition in condition()) {
        let again = |condition: &Condition| -> Condition {
            serde_json::from_str(&serde_json::to_string(condition).unwrap()).unwrap()
        };
        prop_assert_eq!(again(&condition), condition);
        let behaviour = Behaviour::of([&condition]).unwrap();
        prop_assert_eq!(Behaviour::of([&again(&behaviour.condition())]), Ok(behaviour));
    }

    #[test]
    fn nothing_is_lost_from_sight(steps in steps(), late in time(5000)) {
        let mut driver = Driver::new(7, "a>b");
        driver.late = late;
        for step in &steps {
            take(&mut driver, step);
            driver.check_counters();
        }
        driver.change(&[]);
        driver.finish();
        driver.check_counters();
        let counters = driver.link.counters();
        prop_assert_eq!((counters.queued.packets, counters.under_way.packets), (0, 0), "all came to an end");
    }

    #[test]
    fn order_is_kept_unless_asked(steps in steps(), late in time(5000)) {
        let mut driver = Driver::new(7, "a>b");
        driver.late = late;
        for step in steps {
            let step = match step {
                Step::Change(mut layers) => {
                    layers.iter_mut().for_each(|layer| layer.reorder = None);
                    Step::Change(layers)
                }
                step => step,
            };
            take(&mut driver, &step);
        }
        driver.finish();
        prop_assert!(driver.order().is_sorted(), "{:?}", driver.order());
        prop_assert_eq!(driver.link.counters().reordered.packets, 0);
    }

    #[test]
    fn nothing_arrives_before_it_was_offered(steps in steps()) {
        let mut driver = Driver::new(7, "a>b");
        steps.iter().for_each(|step| take(&mut driver, step));
        driver.finish();
        for arrival in &driver.arrived {
            let packet = driver.offered[arrival.packet];
            prop_assert!(arrival.at >= packet.at);
            prop_assert!(arrival.flipped_bit.is_none_or(|bit| bit < u64::from(packet.length_bytes) * 8));
        }
    }

    #[test]
    fn equal_seeds_equal_fates(steps in steps(), seed: u64) {
        let fates = |name| {
            let mut driver = Driver::new(seed, name);
            steps.iter().for_each(|step| take(&mut driver, step));
            driver.finish();
            (driver.arrived, driver.dropped)
        };
        prop_assert_eq!(fates("a>b"), fates("a>b"));
    }

    /// Not over any window, whether the driver is late or not, however long a packet, and whatever else holds that
    /// leaves the spacing of packets alone.
    #[test]
    fn rate_is_never_exceeded(
        traffic in prop::collection::vec(traffic(), 1..60),
        rate in 1_000..10_000_000_000u64,
        overhead in -100..100i32,
        duplicate in share(),
        losing in loss(),
        held in time(50_000),
        late in time(5000),
    ) {
        let condition = Condition::new().rate(rate).queue(50_000).duplicate(duplicate).losing(losing);
        let condition = Condition { overhead_bytes: Some(overhead), ..condition };
        let mut driver = Driver::under(condition.hold());
        driver.late = late;
        traffic.iter().for_each(|step| take(&mut driver, step));
        driver.wait(held);
        driver.change(&[condition]);
        traffic.iter().for_each(|step| take(&mut driver, step));
        driver.finish();
        check_rate(&driver, rate, overhead);
    }

    #[test]
    fn a_late_driver_moves_nothing(
        traffic in prop::collection::vec(traffic(), 1..60),
        rate in 1_000..10_000_000_000u64,
        late in time(5000),
    ) {
        // The queue is not looked at: how full it is does depend on when packets leave it.
        let arrivals = |late| {
            let mut driver = Driver::under(Condition::new().rate(rate).queue(u64::MAX).delay(ms(5)).loss(0.2));
            driver.late = late;
            traffic.iter().for_each(|step| take(&mut driver, step));
            driver.finish();
            driver.arrived
        };
        prop_assert_eq!(arrivals(late), arrivals(Duration::ZERO));
    }

    #[test]
    fn queues_keep_their_limits(
        traffic in prop::collection::vec(traffic(), 1..60),
        queue in 0..20_000u64,
        hold in 0..20_000u64,
    ) {
        let driver = run("a>b", Condition::new().rate(100_000).queue(queue), &traffic);
        prop_assert!(driver.link.counters().queued_bytes_max <= queue);
        let held = Condition { hold_bytes: Some(hold), ..Condition::new().hold() };
        let driver = run("a>b", held, &traffic);
        prop_assert!(driver.link.counters().queued_bytes_max <= hold);
        prop_assert_eq!(driver.arrived.len(), 0);
    }

    #[test]
    fn delays_keep_their_bounds(
        traffic in prop::collection::vec(traffic(), 1..60),
        delay in time(50_000),
        jitter in jitter(),
        (share, by) in (share(), time(50_000)),
    ) {
        let driver = run("a>b", Condition::new().delay(delay).jitter(jitter).reorder(share, by), &traffic);
        let reach = if jitter.distribution == Distribution::Uniform { 1 } else { 4 } * jitter.spread;
        for arrival in &driver.arrived {
            let travelled = arrival.at - driver.offered[arrival.packet].at;
            prop_assert!(travelled >= delay.saturating_sub(reach), "{travelled:?}");
            prop_assert!(travelled <= delay + reach + by, "{travelled:?}");
        }
        prop_assert_eq!(driver.arrived.len(), driver.offered.len());
    }

    /// Nothing else that holds for a link moves which of its packets are lost.
    #[test]
    fn what_else_holds_moves_no_loss(
        traffic in prop::collection::vec(traffic(), 1..60),
        losing in loss(),
        other in condition(),
    ) {
        let lost = |condition: Condition| {
            let driver = run("a>b", condition.losing(losing), &traffic);
            (driver.dropped_by(Cause::Loss), driver)
        };
        let (alone, _) = lost(Condition::new());
        let (among, driver) = lost(Condition { passage: None, ..other });
        // What never came to the line cannot be lost on it.
        let expect: Vec<_> = alone
            .into_iter()
            .filter(|packet| driver.dropped.get(packet).is_none_or(|cause| *cause == Cause::Loss))
            .collect();
        prop_assert_eq!(among, expect);
    }

    /// A link's fates do not know of other links, and differ from theirs.
    #[test]
    fn what_other_links_do_moves_nothing(steps in steps(), others in steps()) {
        let mut alone = Driver::new(7, "a>b");
        steps.iter().for_each(|step| take(&mut alone, step));
        let [mut among, mut other] = ["a>b", "b>a"].map(|name| Driver::new(7, name));
        for at in 0..steps.len().max(others.len()) {
            others.get(at).into_iter().for_each(|step| take(&mut other, step));
            steps.get(at).into_iter().for_each(|step| take(&mut among, step));
        }
        prop_assert_eq!(alone.arrived, among.arrived);
        prop_assert_eq!(alone.dropped, among.dropped);
    }

    /// A packet that is lost at some share is lost at every larger one.
    #[test]
    fn more_loss_loses_the_same_and_more(less in 0.0..1.0, more in 0.0..1.0) {
        let (less, more) = if less < more { (less, more) } else { (more, less) };
        let traffic = [Step::Offer { length_bytes: 100, count: 200 }];
        let lost = |share| run("a>b", Condition::new().loss(share), &traffic).dropped_by(Cause::Loss);
        let more = lost(more);
        prop_assert!(lost(less).iter().all(|packet| more.contains(packet)));
    }
}

/// The line was never quicker than its rate: between any two arrivals, as the delay is constant.
fn check_rate(driver: &Driver, rate: u64, overhead_bytes: i32) {
    let nanos_of = |packet: usize| {
        let length = i64::from(driver.offered[packet].length_bytes) + i64::from(overhead_bytes);
        length.max(0) as f64 * 8e9 / rate as f64
    };
    // How much later than the sum of all transmissions each arrival is never falls, but for a rounding of 1 ns.
    let mut sent = 0.0;
    let mut slack_most = f64::NEG_INFINITY;
    for arrival in &driver.arrived {
        let before = arrival.at.as_nanos() as f64 - sent - nanos_of(arrival.packet);
        assert!(before >= slack_most - 1.5, "{arrival:?} is {} ns early", slack_most - before);
        sent += nanos_of(arrival.packet);
        slack_most = slack_most.max(arrival.at.as_nanos() as f64 - sent);
    }
}

#[test]
fn a_line_sends_one_packet_at_a_time() {
    // 1000 bytes at 8 Mbit/s take 1 ms.
    let mut driver = Driver::under(Condition::new().rate(8_000_000).queue(2000).delay(ms(10)));
    driver.offer_many(5, 1000);
    driver.finish();
    let at: Vec<_> = driver.arrived.iter().map(|arrival| arrival.at).collect();
    assert_eq!(at, [ms(11), ms(12), ms(13)], "one on the line, two behind it");
    assert_eq!(driver.dropped_by(Cause::QueueFull), [3, 4]);
}

#[test]
fn rounding_adds_up_to_nothing() {
    // 1 byte at 3 Gbit/s takes 2.67 ns.
    let mut driver = Driver::under(Condition::new().rate(3_000_000_000));
    driver.offer_many(3000, 1);
    driver.finish();
    assert_eq!(driver.arrived.last().map(|arrival| arrival.at), Some(Duration::from_nanos(8000)));
}

#[test]
fn a_new_rate_holds_for_what_waits() {
    let slow = Condition::new().rate(8000);
    let mut driver = Driver::under(slow);
    driver.offer_many(10, 1000);
    driver.wait(ms(500));
    driver.change(&[]);
    driver.finish();
    assert!(driver.arrived.iter().all(|arrival| arrival.at == ms(1000)), "all behind the one on the line");
    assert_eq!(driver.order(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_cut_drops_at_both_ends() {
    let slow = Condition::new().delay(ms(50));
    let mut driver = Driver::under(slow);
    let early = driver.offer(100);
    driver.wait(ms(40));
    let under_way = driver.offer(100);
    driver.wait(ms(20));
    driver.change(&[slow, Condition::new().cut()]);
    let offered = driver.offer(100);
    driver.wait(ms(40));
    driver.change(&[slow]);
    let healed = driver.offer(100);
    driver.finish();
    assert_eq!(driver.order(), [early, healed]);
    assert_eq!(driver.dropped_by(Cause::Cut), [under_way, offered]);
}

#[test]
fn a_cut_that_heals_in_time_spares_those_under_way() {
    let slow = Condition::new().delay(ms(50));
    let mut driver = Driver::under(slow);
    driver.offer(100);
    driver.change(&[slow.cut()]);
    driver.wait(ms(10));
    driver.change(&[slow]);
    driver.finish();
    assert_eq!(driver.order(), [0]);
}

#[test]
fn rejected_packets_say_so_at_both_ends() {
    let mut driver = Driver::under(Condition::new().delay(ms(50)));
    driver.offer(100);
    driver.change(&[Condition::new().reject()]);
    driver.offer(100);
    driver.finish();
    assert_eq!(driver.dropped_by(Cause::Reject), [0, 1]);
}

#[test]
fn held_packets_go_in_order_when_released() {
    let slow = Condition::new().delay(ms(50));
    let mut driver = Driver::under(slow);
    driver.offer(100);
    driver.change(&[slow.hold()]);
    driver.offer_many(3, 100);
    driver.wait(ms(1000));
    assert_eq!(driver.order(), [0], "what was under way arrives");
    assert_eq!(driver.link.deadline(), None);
    driver.change(&[slow]);
    driver.offer(100);
    driver.finish();
    assert_eq!(driver.order(), [0, 1, 2, 3, 4]);
    assert!(driver.arrived[1..].iter().all(|arrival| arrival.at == ms(1050)));
}

#[test]
fn what_was_held_keeps_to_the_rate_and_is_not_dropped() {
    let paced = Condition::new().rate(8_000_000).queue(1000);
    let mut driver = Driver::under(paced.hold());
    driver.offer_many(20, 1000);
    driver.wait(ms(100));
    driver.change(&[paced]);
    let late = driver.offer(1000);
    driver.finish();
    assert_eq!(driver.arrived.last().map(|arrival| arrival.at), Some(ms(120)));
    assert_eq!(driver.order().len(), 20);
    assert_eq!(driver.dropped_by(Cause::QueueFull), [late], "no room behind what was held");
}

#[test]
fn a_cut_takes_what_was_held() {
    let mut driver = Driver::under(Condition::new().hold());
    driver.offer(100);
    driver.change(&[Condition::new().hold(), Condition::new().cut()]);
    assert_eq!(driver.dropped_by(Cause::Cut), [0]);
}

#[test]
fn a_full_hold_says_so() {
    let hold = Condition { hold_bytes: Some(250), ..Condition::new().hold() };
    let mut driver = Driver::under(hold);
    driver.offer_many(3, 100);
    assert_eq!(driver.dropped_by(Cause::HoldFull), [2]);
}

#[test]
fn long_packets_do_not_pass() {
    let mut driver = Driver::under(Condition::new().mtu(1500));
    let [fits, long] = [1500, 1501].map(|length| driver.offer(length));
    driver.finish();
    assert_eq!((driver.order(), driver.dropped_by(Cause::Mtu)), (vec![fits], vec![long]));
}

#[test]
fn packets_after_a_delay_wait_for_those_under_way() {
    let mut driver = Driver::under(Condition::new().delay(ms(50)));
    driver.offer(100);
    driver.change(&[]);
    driver.offer(100);
    driver.finish();
    assert_eq!(driver.order(), [0, 1]);
    assert_eq!(driver.arrived[1].at, ms(50));
}

#[test]
fn second_copies_follow_the_first() {
    let mut driver = Driver::under(Condition::new().rate(8_000_000).duplicate(1.0));
    driver.offer(1000);
    driver.finish();
    let seen: Vec<_> = driver.arrived.iter().map(|arrival| (arrival.at, arrival.is_duplicate)).collect();
    assert_eq!(seen, [(ms(1), false), (ms(2), true)]);
}

/// The fates of these seeds and names are promised: a new version of the crate keeps them. The figures were worked out
/// from the definitions by another program.
#[test]
fn fates_stay_from_version_to_version() {
    let traffic = [Step::Offer { length_bytes: 1000, count: 40 }];
    let bursts = Condition::new().losing(Loss::Bursts { share: 0.2, packets: 3.0 });
    let jitter = Jitter { spread: ms(2), distribution: Distribution::ParetoNormal };
    let noisy = Condition::new().delay(ms(20)).jitter(jitter).corrupt(0.1).loss(0.2);
    assert_eq!(
        run("a>b", bursts, &traffic).dropped_by(Cause::Loss),
        [14, 26, 27, 28, 29, 30, 31, 37, 38, 39]
    );
    let driver = run("a>b", noisy, &traffic);
    assert_eq!(driver.dropped_by(Cause::Loss), [18, 20, 28, 32, 36]);
    let flipped: Vec<_> = driver.arrived.iter().filter_map(|arrival| arrival.flipped_bit).collect();
    assert_eq!(flipped, [266, 2247, 5402, 2635]);
    assert_eq!(driver.arrived[0].at, Duration::from_nanos(19_528_060));
}
