//! P10: what links do, measured against what was asked, in each direction by itself: delay, jitter, loss, bursts, copies,
//! order, damage, rate, queue, MTU, presets. By programs of ours that count, and by ping and iperf3 where these can run.
//!
//! Tolerances: counts may be five standard deviations off (`measure::check_share`). Times have a lower bound, which is what
//! was asked, and an upper one that is generous: a busy machine is late, and never early.

use std::process::Command;

use conformance::measure::{Burst, Ears, Seen, assert_share, check_share, link};
use conformance::programs::flood_server;
use conformance::traffic::{DATAGRAM_MIN, drain};
use netsplit::netmodel::{Cause, Distribution, Jitter, Loss};
use netsplit::prelude::*;
use netsplit::{Change, Reason};

/// How late half of all packets may be on a busy machine, beside what was asked.
const LATE_MAX: Duration = millis(40);

/// Begins a change of the link from one host to another, measures a burst in both directions, and heals it.
async fn measured(
    bed: &Testbed,
    ears: &Ears,
    [from, to]: [&Host; 2],
    burst: Burst,
    change: impl FnOnce(Change) -> Change,
) -> netsplit::Result<Seen> {
    let fault = change(bed.network().link(from.to(to))).await?;
    let what = fault.what().to_owned();
    let there = ears.measure(from, to, burst).await?;
    let back = ears.measure(to, from, Burst::of(500)).await?;
    assert_eq!(
        (back.got, back.distinct, back.late, back.checksum),
        (500, 500, 0, 0),
        "{what}: the other way"
    );
    assert!(back.median() < LATE_MAX, "{what}: the other way took {:?}", back.median());
    fault.heal().await?;
    Ok(there)
}

// ── what came of how many ──

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn loss_is_the_share_that_was_asked(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    for pair in [[&a, &b], [&b, &a]] {
        for (family, share) in [(4, 0.3), (6, 0.3), (4, 0.05)] {
            let burst = Burst::of(4000).over(family);
            let seen = measured(&bed, &ears, pair, burst, |link| link.loss(share)).await?;
            let what = format!("{} to {} over IPv{family}", pair[0], pair[1]);
            assert_share(&what, share, seen.sent, seen.lost());
            assert_eq!((seen.got, seen.late), (seen.distinct, 0), "{what}");
            // Each by itself: whether the one behind a lost one comes is no other question than of any. (Of those where
            // nearly all would come there are too few to tell.)
            if share > 0.2 {
                assert_share(&format!("{what}: ends of runs"), 1.0 - share, seen.lost(), seen.runs);
            }
        }
    }
    Ok(())
}

/// An injector that does nothing, or too much, is found out, whatever was asked.
#[test]
fn no_measurement_of_nothing_passes() {
    for (asked, right) in [(0.05, 200), (0.3, 1200), (0.5, 2000), (0.95, 3800)] {
        assert_eq!(check_share(asked, 4000, right, 1.0, 0.0), Ok(()), "{asked}");
        for wrong in [0, right / 2, right + (4000 - right) / 2, 4000] {
            let text = check_share(asked, 4000, wrong, 1.0, 0.0).expect_err("it is wrong");
            assert!(text.starts_with(&format!("{wrong} of 4000 are ")), "{text}");
        }
    }
    // Nor one of so few that nothing would be right as well.
    let text = check_share(0.3, 20, 6, 1.0, 0.0).expect_err("too few");
    assert!(text.ends_with("too few to tell"), "{text}");
    let text = check_share(0.02, 4000, 80, 50.0, 0.0).expect_err("too few bursts");
    assert!(text.ends_with("too few to tell"), "{text}");
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn losses_come_in_bursts_of_the_length_that_was_asked(bed: Testbed) -> netsplit::Result {
    const LENGTH: f64 = 5.0;
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    for pair in [[&a, &b], [&b, &a]] {
        let loss = Loss::Bursts { share: 0.2, packets: LENGTH };
        let seen = measured(&bed, &ears, pair, Burst::of(8000), |link| link.losing(loss)).await?;
        let share = check_share(0.2, seen.sent, seen.lost(), LENGTH, 0.0);
        share.unwrap_or_else(|wrong| panic!("{wrong}: {seen:?}"));
        // A burst ends after each packet with one probability: ends are a share of losses.
        assert_share("bursts of losses", 1.0 / LENGTH, seen.lost(), seen.runs);
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn so_many_come_twice(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    for pair in [[&a, &b], [&b, &a]] {
        let seen = measured(&bed, &ears, pair, Burst::of(3000), |link| link.duplicate(0.2)).await?;
        assert_eq!((seen.lost(), seen.late), (0, 0), "{seen:?}");
        assert_share("copies", 0.2, seen.sent, seen.got - seen.distinct);
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn so_many_are_overtaken(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    for pair in [[&a, &b], [&b, &a]] {
        let seen = measured(&bed, &ears, pair, Burst::of(3000), |link| link.reorder(0.2, millis(50))).await?;
        assert_eq!((seen.got, seen.distinct), (3000, 3000), "{seen:?}");
        // Where a sender was stopped for 50 ms there was nobody to overtake; at its end there is nobody, too.
        check_share(0.2, seen.sent, seen.late, 1.0, 0.05).unwrap_or_else(|wrong| panic!("{wrong}: {seen:?}"));
        // Most are as quick as before, and some are later by what was asked.
        assert!(seen.median() < LATE_MAX && seen.times[4] >= millis(50), "{:?}", seen.times);
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn so_many_are_damaged(bed: Testbed) -> netsplit::Result {
    const SHARE: f64 = 0.2;
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    for pair in [[&a, &b], [&b, &a]] {
        for family in [4, 6] {
            let burst = Burst::of(3000).over(family).long(1000);
            let seen = measured(&bed, &ears, pair, burst, |link| link.corrupt(SHARE)).await?;
            // The link delivers all; the receiver's kernel finds one bit wrong, by the checksum of UDP (its own count of
            // them) or, in 2 of 100 (20 or 40 of 1028 bytes), by what the header of IP says.
            assert!(seen.link.delivered >= 3000 && seen.link.dropped == 0, "{seen:?}");
            check_share(SHARE, seen.sent, seen.lost(), 1.0, 0.01).unwrap_or_else(|wrong| panic!("{wrong}"));
            check_share(SHARE, seen.sent, seen.checksum, 1.0, 0.02).unwrap_or_else(|wrong| panic!("{wrong}"));
            assert!(seen.checksum <= seen.lost(), "{seen:?}");
        }
    }
    Ok(())
}

/// What a link does to packets is the seed's, the link's and the packet's number's: the same again, and another elsewhere.
#[netsplit::test(hosts = 2, needs = ["network"])]
async fn all_at_once_is_what_each_is(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    for pair in [[&a, &b], [&b, &a]] {
        let both = |link: Change| link.delay(millis(20)).loss(0.25).duplicate(0.25).reorder(0.25, millis(50));
        let seen = measured(&bed, &ears, pair, Burst::of(3000), both).await?;
        assert_share("lost", 0.25, seen.sent, seen.lost());
        assert_share("copies", 0.25, seen.distinct, seen.got - seen.distinct);
        // One of two copies may be late and the other not: then the packet came in time.
        assert!(seen.late > seen.distinct / 10 && seen.late < seen.distinct / 3, "{seen:?}");
        assert!(seen.times[0] >= millis(20), "{:?}", seen.times);
    }
    Ok(())
}

// ── when they come ──

/// A clock that is being set right runs slow by 1 part in 2000 at most; ping's is one, and is read to a tenth of a ms.
const SLEW: Duration = millis(1);

/// The round trips of so many pings.
async fn round_trips(from: &Host, to: &Host, family: &str, count: u32) -> netsplit::Result<Vec<Duration>> {
    let count = count.to_string();
    let words = ["ping", family, "-n", "-i", "0.02", "-c", &count, "-W", "5", to.name().as_str()];
    let said = from.run(words).read().await?;
    let mut trips: Vec<Duration> = said
        .lines()
        .filter_map(|line| line.split_once("time=")?.1.split(' ').next()?.parse::<f64>().ok())
        .map(|millis| Duration::from_secs_f64(millis / 1000.0))
        .collect();
    trips.sort_unstable();
    assert_eq!(trips.len().to_string(), count, "{said}");
    Ok(trips)
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_delay_is_one_way(bed: Testbed) -> netsplit::Result {
    const DELAY: Duration = millis(100);
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    let burst = Burst::of(400);
    for (from, to) in [(&a, &b), (&b, &a)] {
        let fault = bed.network().link(from.to(to)).delay(DELAY).await?;
        for family in [4, 6] {
            let there = ears.measure(from, to, burst.over(family)).await?;
            let back = ears.measure(to, from, burst.over(family)).await?;
            assert_eq!((there.got, there.late, back.got), (400, 0, 400));
            assert!(there.times[0] >= DELAY && there.median() < DELAY + LATE_MAX, "{:?}", there.times);
            assert!(back.median() < LATE_MAX, "{:?}", back.times);
        }
        fault.heal().await?;
        assert!(ears.measure(from, to, burst).await?.median() < LATE_MAX, "healed");
    }
    Ok(())
}

/// Each way by itself is seen by ours; ping sees that both together have it once.
#[netsplit::test(hosts = 2, needs = ["network", "programs"])]
async fn ping_sees_the_delays_of_both_ways(bed: Testbed) -> netsplit::Result {
    const DELAY: Duration = millis(100);
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    for (from, to) in [(&a, &b), (&b, &a)] {
        let fault = bed.network().link(from.to(to)).delay(DELAY).await?;
        for (family, asks, answers) in [("-4", from, to), ("-6", to, from)] {
            let trips = round_trips(asks, answers, family, 10).await?;
            assert!(trips[0] >= DELAY - SLEW && trips[4] < DELAY + LATE_MAX, "{trips:?}");
        }
        let other = bed.network().link(to.to(from)).delay(DELAY / 2).await?;
        let trips = round_trips(from, to, "-4", 10).await?;
        assert!(trips[0] >= DELAY * 3 / 2 - SLEW && trips[4] < DELAY * 3 / 2 + LATE_MAX, "{trips:?}");
        other.heal().await?;
        fault.heal().await?;
        let trips = round_trips(from, to, "-4", 10).await?;
        assert!(trips[4] < LATE_MAX, "healed: {trips:?}");
    }
    // What a link delays is told with how late it was.
    let lateness = bed.network().report().await?.lateness;
    assert!(
        lateness.count >= 60 && lateness.p50_ns > 0 && lateness.p50_ns <= lateness.p99_ns,
        "{lateness:?}"
    );
    let jitter = Jitter { spread: millis(40), distribution: Distribution::Uniform };
    let spread = bed.network().link(a.to(&b)).delay(millis(60)).jitter(jitter).await?;
    let trips = round_trips(&a, &b, "-4", 40).await?;
    assert!(trips[0] >= millis(20) && trips[35] - trips[4] >= millis(15), "{trips:?}");
    spread.heal().await?;
    let _wan = bed.network().link(a.and(&b)).preset("wan").await?;
    let trips = round_trips(&a, &b, "-4", 10).await?;
    assert!(trips[0] >= millis(37) && trips[4] < millis(54) + LATE_MAX, "{trips:?}");
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn jitter_spreads_delays_as_was_asked(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    // Those that would overtake do not, and are later for that: far apart, so that few would.
    let burst = Burst::of(100).every(millis(15));
    for pair in [[&a, &b], [&b, &a]] {
        let jitter = Jitter { spread: millis(40), distribution: Distribution::Uniform };
        let seen = measured(&bed, &ears, pair, burst, |link| link.delay(millis(100)).jitter(jitter)).await?;
        let [first, tenth, half, ninth, last] = seen.times;
        assert_eq!((seen.got, seen.late), (100, 0));
        // 60 to 140 ms, each as likely: tenths at 68 and 132. Dense packets pull the lower ones up.
        assert!(first >= millis(60) && last >= millis(120), "{:?}", seen.times);
        assert!(ninth - tenth >= millis(25) && ninth < millis(140) + LATE_MAX, "{:?}", seen.times);
        assert!(half >= millis(80) && half < millis(125) + LATE_MAX, "{:?}", seen.times);
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_preset_is_what_the_table_says(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    // wan: 22.5 ms with 1 ms of jitter, which is never more than four times that, and 100 Mbit/s.
    let _wan = bed.network().link(a.and(&b)).preset("wan").await?;
    for (from, to) in [(&a, &b), (&b, &a)] {
        let seen = ears.measure(from, to, Burst::of(300)).await?;
        assert_eq!((seen.got, seen.late), (300, 0));
        assert!(seen.times[0] >= millis(18) && seen.median() < millis(27) + LATE_MAX, "{:?}", seen.times);
        let report = bed.network().report().await?;
        let is_it = |link: &&netsplit::LinkReport| link.from == from.name().as_str();
        let condition = report.links.iter().find(is_it).expect("the link").condition;
        assert_eq!(condition.rate_bits_per_s, Some(100_000_000));
    }
    Ok(())
}

// ── how fast ──

/// How much of the line's rate a connection may leave unused at least is its headers' (52 of 1500 bytes); at most, on a
/// busy machine, so much.
const IDLE_MAX: f64 = 0.4;

#[track_caller]
fn assert_rate(what: &str, asked: u32, got: f64) {
    let share = got / f64::from(asked);
    assert!((1.0 - IDLE_MAX..=1.0).contains(&share), "{what}: {got} bit/s of {asked}");
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_rate_is_kept_and_used(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    for host in [&a, &b] {
        host.start(flood_server).ready("listening").await?;
    }
    for (from, to) in [(&a, &b), (&b, &a)] {
        for rate in [10_000_000, 100_000_000] {
            let fault = bed.network().link(from.to(to)).rate(rate.into()).await?;
            let there = flow(from, to).await?;
            assert_rate(&format!("{from} to {to}"), rate, there);
            // The other way has acknowledgements to send only, and is far quicker.
            let back = flow(to, from).await?;
            assert!(back > 2.0 * f64::from(rate), "{to} to {from}: {back} bit/s");
            fault.heal().await?;
        }
    }
    Ok(())
}

/// The goodput of one connection to a `flood_server`, over a second, or over what a gigabit's line carries in a third of one: a
/// line without a rate may be as quick as time is short.
async fn flow(from: &Host, to: &Host) -> netsplit::Result<f64> {
    let said = to.run(drain).args([from.name().as_str(), "1000", "40000000"]).within(secs(60)).read().await?;
    let number = said.trim().strip_prefix("bits_per_s ").and_then(|number| number.parse().ok());
    Ok(number.unwrap_or_else(|| panic!("{said}")))
}

#[netsplit::test(hosts = 2, needs = ["network", "programs"])]
async fn iperf3_sees_the_rate_that_was_asked(bed: Testbed) -> netsplit::Result {
    if Command::new("iperf3").arg("--version").output().is_err() {
        let text = "`iperf3` is not installed; try: apt-get install iperf3";
        return Err(netsplit::Error::new(Reason::MissingCapability, text));
    }
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    b.start(["iperf3", "--server", "--forceflush"]).ready("listening").await?;
    for (links, direction) in [(a.to(&b), &[][..]), (b.to(&a), &["--reverse"][..])] {
        let fault = bed.network().link(links).rate(10_000_000).await?;
        let words = ["iperf3", "--client", "b", "--time", "2", "--json"];
        let said = a.run([&words[..], direction].concat()).within(secs(60)).read().await?;
        let json: serde_json::Value = serde_json::from_str(&said).expect("JSON of iperf3");
        let got = json["end"]["sum_received"]["bits_per_second"].as_f64().expect("its figure");
        // Its clock starts when the first bytes may lie in the receiver's buffer already: 1 part in 20.
        assert_rate(fault.what(), 10_500_000, got);
        fault.heal().await?;
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_queue_holds_what_was_asked_and_no_more(bed: Testbed) -> netsplit::Result {
    const QUEUE: u64 = 30_000;
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    // 300 kB at once, on a line that takes more than two seconds for them.
    let burst = Burst::of(300).long(1000).every(Duration::ZERO);
    for (from, to) in [(&a, &b), (&b, &a)] {
        let fault = bed.network().link(from.to(to)).rate(1_000_000).queue(QUEUE).await?;
        let seen = ears.measure(from, to, burst).await?;
        let counters = link(&bed.network().report().await?, from, to);
        let full = counters.dropped_by(Cause::QueueFull).packets;
        assert_eq!((seen.lost(), seen.late), (full, 0), "{seen:?}");
        // 29 of 1028 bytes, and what left the queue while they were sent.
        assert!(full > 0 && seen.got >= 29, "{seen:?}");
        assert!((QUEUE - 1028..=QUEUE).contains(&counters.queued_bytes_max), "{counters:?}");
        // The last one waited for the whole queue: 29 times 8.2 ms.
        assert!(seen.times[4] >= millis(220), "{:?}", seen.times);
        fault.heal().await?;
    }
    Ok(())
}

// ── how long ──

/// Whether a ping of so many bytes, headers included, comes back undivided.
async fn passes(from: &Host, to: &Host, bytes: usize) -> netsplit::Result<bool> {
    let size = (bytes - 28).to_string();
    let words = ["ping", "-4", "-c", "1", "-W", "1", "-M", "do", "-s", &size, to.name().as_str()];
    Ok(from.run(words).exits(Exit::Any).await?.code() == Some(0))
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn what_is_longer_than_the_mtu_does_not_pass(bed: Testbed) -> netsplit::Result {
    const HEADERS: usize = 28;
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    for (from, to) in [(&a, &b), (&b, &a)] {
        let fault = bed.network().link(from.to(to)).mtu(1400).await?;
        for (bytes, there, back) in [(1400, 20, 20), (1401, 0, 20)] {
            let burst = Burst::of(20).long(bytes - HEADERS);
            assert!(bytes - HEADERS >= DATAGRAM_MIN);
            assert_eq!(ears.measure(from, to, burst).await?.got, there, "{bytes} bytes");
            assert_eq!(ears.measure(to, from, burst).await?.got, back, "{bytes} bytes, the other way");
        }
        let dropped = link(&bed.network().report().await?, from, to).dropped_by(Cause::Mtu).packets;
        assert_eq!(dropped, 20);
        fault.heal().await?;
        assert_eq!(ears.measure(from, to, Burst::of(20).long(1500 - HEADERS)).await?.got, 20, "healed");
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network", "programs"])]
async fn ping_finds_the_mtu(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    for (from, to) in [(&a, &b), (&b, &a)] {
        let fault = bed.network().link(from.to(to)).mtu(1400).await?;
        assert!(passes(from, to, 1400).await? && !passes(from, to, 1401).await?);
        fault.heal().await?;
        assert!(passes(from, to, 1500).await?);
    }
    Ok(())
}
