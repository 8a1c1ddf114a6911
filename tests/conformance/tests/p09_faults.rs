//! P9: a cut takes one direction away and leaves the other, also from connections that stand; healed, all is as before.
//! So with every word of the network's, for IPv4 and IPv6; what conditions do in figures is P10.
//!
//! What must not arrive is waited for until the network says that nothing is under way, not for a time.

use conformance::fails;
use conformance::log::events;
use conformance::measure::{Burst, Ears, link, send};
use conformance::programs::{beat, echo_client, echo_server};
use conformance::traffic::{talk_client, talk_server, tcp_ask, udp_ask};
use netsplit::model::{Event, Record};
use netsplit::netmodel::{Cause, FaultState};
use netsplit::prelude::*;
use netsplit::{Change, Process, Reason};
use tokio::time::{sleep, timeout};

/// Neighbour discovery shares a link with what a test sends: an ARP question, its answer, and again when it is old.
const DISCOVERY_MAX: u64 = 10;

/// Who hears whom, for both families, is this: `HOST: SENDERS`.
///
/// Who is to be heard may take a while: a host that could not ask for its neighbour's address asks once a second. Who is
/// not to be heard is never heard.
async fn assert_hears(ears: &Ears, wanted: &[&str], what: &str) -> netsplit::Result {
    for family in [4, 6] {
        let heard = eventually(secs(20), async || {
            let heard = ears.roll_call(family).await.map_err(|error| vec![error.to_string()])?;
            for (line, wanted) in heard.iter().zip(wanted) {
                let wanted_only = senders(line).all(|sender| senders(wanted).any(|other| other == sender));
                assert!(wanted_only, "{what}, IPv{family}: {heard:?}");
            }
            if heard == wanted { Ok(()) } else { Err(heard) }
        });
        let heard = heard.await;
        assert!(heard.is_ok(), "{what}, IPv{family}: {heard:?}, and not {wanted:?}");
    }
    Ok(())
}

fn senders(line: &str) -> impl Iterator<Item = &str> {
    line.split(": ").nth(1).unwrap_or_default().split(',').filter(|name| !name.is_empty())
}

// ── which links ──

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_cut_takes_one_direction(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    assert_hears(&ears, &["a: b", "b: a"], "before").await?;
    for (from, to) in [(&a, &b), (&b, &a)] {
        let cut = bed.network().cut(from.to(to)).await?;
        assert_eq!(cut.what(), format!("cut {from} to {to}"));
        let report = bed.network().report().await?;
        let [fault] = &report.faults[..] else { panic!("{:?}", report.faults) };
        assert_eq!((fault.links, fault.verified, fault.state), (1, 1, FaultState::InForce));
        for family in [4, 6] {
            let before = link(&bed.network().report().await?, from, to).dropped_by(Cause::Cut).packets;
            let there = ears.measure(from, to, Burst::of(200).over(family)).await?;
            let back = ears.measure(to, from, Burst::of(200).over(family)).await?;
            assert_eq!((there.got, back.got, back.link.dropped), (0, 200, 0), "{from} to {to}");
            let after = link(&bed.network().report().await?, from, to).dropped_by(Cause::Cut).packets;
            assert!((200..=200 + DISCOVERY_MAX).contains(&(after - before)), "{before} {after}");
        }
        cut.heal().await?;
        assert!(bed.network().report().await?.faults.is_empty());
        assert_eq!(ears.measure(from, to, Burst::of(200)).await?.got, 200, "{from} to {to}");
    }
    Ok(())
}

#[netsplit::test(hosts = 5, needs = ["network"])]
async fn who_hears_whom_is_as_the_word_says(bed: Testbed) -> netsplit::Result {
    let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(|name| bed.host(name).expect("five hosts"));
    let all = ["a: b,c,d,e", "b: a,c,d,e", "c: a,b,d,e", "d: a,b,c,e", "e: a,b,c,d"];
    let ears = Ears::of(&bed).await?;
    assert_hears(&ears, &all, "nothing in force").await?;
    let network = bed.network();
    let wanted: [(Change, usize, [&str; 5]); 6] = [
        (network.isolate([&a, &e]), 14, ["a: ", "b: c,d", "c: b,d", "d: b,c", "e: "]),
        // Who is in no group hears all.
        (
            network.partition([vec![a.clone(), b.clone()], vec![c.clone()]]),
            4,
            ["a: b,d,e", "b: a,d,e", "c: d,e", "d: a,b,c,e", "e: a,b,c,d"],
        ),
        (
            network.partition([vec![a.clone()], vec![b.clone(), c.clone()], vec![d.clone(), e.clone()]]),
            16,
            ["a: ", "b: c", "c: b", "d: e", "e: d"],
        ),
        // Each hears the one before and the one behind it: three of five, itself included.
        (network.ring([&a, &b, &c, &d, &e]), 10, ["a: b,e", "b: a,c", "c: b,d", "d: c,e", "e: a,d"]),
        (network.bridge([&a, &b, &c, &d, &e], &c), 8, ["a: b,c", "b: a,c", "c: a,b,d,e", "d: c,e", "e: c,d"]),
        (network.cut("all to d"), 4, ["a: b,c,d,e", "b: a,c,d,e", "c: a,b,d,e", "d: ", "e: a,b,c,d"]),
    ];
    for (change, links, wanted) in wanted {
        let fault = change.await?;
        let report = network.report().await?;
        assert_eq!((report.faults[0].links, report.faults[0].verified), (links, links), "{}", fault.what());
        assert_hears(&ears, &wanted, fault.what()).await?;
        fault.heal().await?;
    }
    assert_hears(&ears, &all, "healed").await
}

/// Of several faults what one takes away comes back when that one is healed, and only then.
#[netsplit::test(hosts = 3, needs = ["network"])]
async fn faults_lie_over_one_another(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    let network = bed.network();
    let isolated = network.isolate(&a).await?;
    let cut = network.cut(a.and(&b)).await?;
    assert_hears(&ears, &["a: ", "b: c", "c: b"], "both").await?;
    isolated.heal().await?;
    assert_hears(&ears, &["a: c", "b: c", "c: a,b"], "the cut alone").await?;
    let isolated = network.isolate(&a).await?;
    cut.heal().await?;
    assert_hears(&ears, &["a: ", "b: c", "c: b"], "the isolation alone").await?;
    isolated.heal().await?;
    assert_hears(&ears, &["a: b,c", "b: a,c", "c: a,b"], "healed").await
}

/// IPv4's broadcast, and IPv6's "all nodes"; what is cut is cut for one of those who would hear it.
#[netsplit::test(hosts = 3, needs = ["network"])]
async fn broadcast_and_multicast_reach_all_but_who_is_cut_off(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    let groups = [(4, "10.0.255.255"), (6, "ff02::1%eth0")];
    // A host may hear itself, as its own kernel likes: no link has a part in that.
    for (family, group) in groups {
        for (from, to, one, other) in [(&a, &b, 1, 2), (&b, &a, 0, 2)] {
            for is_cut in [false, true] {
                let cut = if is_cut { from.to(to) } else { to.to(from) };
                let _cut = bed.network().cut(cut).await?;
                ears.heard().await?;
                send(from, Burst::of(1).over(family), &[group]).await?;
                let heard = ears.heard().await?;
                let is_heard = |at: usize| senders(&heard[at]).any(|sender| sender == from.name().as_str());
                assert_eq!((is_heard(one), is_heard(other)), (!is_cut, true), "{from} to {group}: {heard:?}");
            }
        }
    }
    Ok(())
}

// ── connections that stand ──

/// A connection from `a` to `b` that stands, and its two ends.
async fn connected(family: &str, a: &Host, b: &Host) -> netsplit::Result<[Process; 2]> {
    let server = b.start(talk_server).stdin_open().ready("listening").await?;
    let client =
        a.start(talk_client).args([family, b.name().as_str()]).stdin_open().ready("connected").await?;
    server.wait_for("connected").await?;
    Ok([client, server])
}

/// Says a line at one end, and waits until the other hears it.
async fn tells(from: &Process, to: &Process, line: &str) -> netsplit::Result {
    from.write(format!("{line}\n")).await?;
    // A sender that heard nothing for a while waits twice as long each time.
    to.wait_for(format!("^hears {line}$")).within(secs(60)).await.map(drop)
}

async fn a_cut_stalls_one_way_and_loses_nothing(bed: Testbed, family: &str) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let [client, server] = connected(family, &a, &b).await?;
    // Once in each direction of the same connection: whoever connected may be the one who is not heard.
    for (host, peer, from, to) in [(&a, &b, &client, &server), (&b, &a, &server, &client)] {
        tells(from, to, "before").await?;
        tells(to, from, "before").await?;
        let cut = bed.network().cut(host.to(peer)).await?;
        from.write("stalls\n").await?;
        tells(to, from, "meanwhile").await?;
        // More than the first retransmission, which comes after 200 ms.
        to.never("stalls").lasting(millis(500)).await?;
        cut.heal().await?;
        to.wait_for("^hears stalls$").within(secs(60)).await?;
        tells(from, to, "after").await?;
        tells(to, from, "after").await?;
        let counters = link(&bed.network().report().await?, host, peer);
        assert!(counters.dropped_by(Cause::Cut).packets > 1, "it was sent again: {counters:?}");
    }
    let heard = String::from_utf8_lossy(&client.stdout()?).into_owned();
    assert!(!heard.contains("broken") && !heard.contains("ended"), "{heard}");
    // Each line once: nothing is said twice because it was sent twice.
    for word in ["stalls", "meanwhile"] {
        assert_eq!(heard.matches(&format!("hears {word}")).count(), 1, "{word}: {heard}");
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_connection_outlives_a_cut_of_each_direction(bed: Testbed) -> netsplit::Result {
    a_cut_stalls_one_way_and_loses_nothing(bed, "4").await
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_connection_over_ipv6_does_too(bed: Testbed) -> netsplit::Result {
    a_cut_stalls_one_way_and_loses_nothing(bed, "6").await
}

/// A cut in the middle of megabytes: of the data, of its acknowledgements, of both.
#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_transfer_outlives_a_cut_whole(bed: Testbed) -> netsplit::Result {
    use conformance::traffic::{noise_client, noise_server};
    const BYTES: u64 = 1 << 20;
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let server = b.start(noise_server).ready("listening").await?;
    for links in [a.to(&b), b.to(&a), a.and(&b)] {
        // Slow enough that the cut meets it under way: two seconds for all.
        let slow = bed.network().link(a.to(&b)).rate(4_000_000).await?;
        let before = link(&bed.network().report().await?, &a, &b).delivered.bytes;
        let client = a.start(noise_client).args(["4", "b", &BYTES.to_string()]).ready("connected").await?;
        let moved = async || link(&bed.network().report().await.expect("a report"), &a, &b).delivered.bytes;
        eventually(secs(30), async || if moved().await > before + BYTES / 10 { Ok(()) } else { Err("slow") })
            .await
            .expect("it gets under way");
        let cut = bed.network().cut(links).await?;
        sleep(millis(400)).await;
        server.never("whole|damaged").await?;
        assert_eq!(client.outcome(), None);
        slow.heal().await?;
        cut.heal().await?;
        server.wait_for(format!("^whole {BYTES}$")).within(secs(60)).await?;
    }
    Ok(())
}

// ── hold, reject ──

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn what_is_held_arrives_in_order_on_release(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    for (from, to) in [(&a, &b), (&b, &a)] {
        for family in [4, 6] {
            let held = bed.network().hold(from.to(to)).await?;
            let seen = ears.measure(from, to, Burst::of(100).over(family)).await?;
            assert_eq!((seen.got, seen.link.delivered, seen.link.dropped), (0, 0, 0), "held");
            assert_eq!(ears.measure(to, from, Burst::of(10).over(family)).await?.got, 10);
            let queued = link(&bed.network().report().await?, from, to).queued.packets;
            assert!((100..=100 + DISCOVERY_MAX).contains(&queued), "{queued}");
            held.heal().await?;
            let seen = ears.came(from, to, 100).await?;
            assert_eq!((seen.distinct, seen.got, seen.late), (100, 100, 0), "released");
        }
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn what_is_rejected_is_told_so_at_once(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    for host in [&a, &b] {
        host.start(echo_server).ready("listening").await?;
    }
    for (from, to) in [(&a, &b), (&b, &a)] {
        let reject = bed.network().reject(from.to(to)).await?;
        for family in ["4", "6"] {
            let name = to.name().as_str();
            for program in [from.run(tcp_ask), from.run(udp_ask)] {
                program.args([family, name]).await?.expect_stdout("refused")?;
            }
            // The other way packets pass, and what answers them is rejected: that is told to who answers.
            to.run(tcp_ask).args([family, from.name().as_str()]).await?.expect_stdout("silence")?;
            let seen = ears.measure(to, from, Burst::of(20).over(if family == "4" { 4 } else { 6 })).await?;
            assert_eq!(seen.got, 20, "{from} to {to}");
        }
        reject.heal().await?;
        from.run(tcp_ask).args(["4", to.name().as_str()]).await?.expect_stdout("ok")?;
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network", "programs"])]
async fn ping_is_told_that_it_is_rejected(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    for (from, to) in [(&a, &b), (&b, &a)] {
        let _reject = bed.network().reject(from.to(to)).await?;
        let ping = from.run(["ping", "-c1", "-W2", to.name().as_str()]).exits(Exit::Any).await?;
        assert!(ping.stdout().contains("nreachable"), "{}", ping.stdout());
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_connection_that_stands_is_reset_where_it_is_rejected(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let [client, server] = connected("4", &a, &b).await?;
    tells(&client, &server, "before").await?;
    let _reject = bed.network().reject(a.to(&b)).await?;
    client.write("refused\n").await?;
    client.wait_for("^broken reset$").await?;
    server.never("refused").await
}

// ── power, names, schedules ──

#[netsplit::test(hosts = 3, needs = ["network", "kill"])]
async fn a_restarted_host_is_as_isolated_as_before(bed: Testbed) -> netsplit::Result {
    let c = bed.host("c")?;
    let mut ears = Ears::of(&bed).await?;
    let isolated = bed.network().isolate(&c).await?;
    assert_hears(&ears, &["a: b", "b: a", "c: "], "isolated").await?;
    c.kill().await?;
    c.restart().await?;
    ears.on(&c).await?;
    assert_hears(&ears, &["a: b", "b: a", "c: "], "restarted").await?;
    let fault = bed.network().report().await?.faults.remove(0);
    assert_eq!((fault.links, fault.verified), (4, 4));
    isolated.heal().await?;
    assert_hears(&ears, &["a: b,c", "b: a,c", "c: a,b"], "healed").await?;
    // One that begins while the host is down holds when it is up.
    c.kill().await?;
    let cut = bed.network().cut("c to b").await?;
    c.restart().await?;
    ears.on(&c).await?;
    assert_hears(&ears, &["a: b,c", "b: a", "c: a,b"], "cut while it was down").await?;
    cut.heal().await?;
    assert_hears(&ears, &["a: b,c", "b: a,c", "c: a,b"], "healed").await
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_fault_is_healed_by_its_name(bed: Testbed) -> netsplit::Result {
    let ears = Ears::of(&bed).await?;
    let network = bed.network();
    network.cut("a to b").named("split").await?.leave();
    let text = fails(network.cut("b to a").named("split").await, Reason::DuplicateName);
    assert!(text.contains("a fault `split` is in force already: cut a to b"), "{text}");
    assert_hears(&ears, &["a: b", "b: "], "left").await?;
    let text = fails(network.heal("spilt").await, Reason::UnknownName);
    assert!(text.contains("no fault called `spilt` is in force; did you mean `split`?"), "{text}");
    network.heal("split").await?;
    fails(network.heal("split").await, Reason::UnknownName);
    assert_hears(&ears, &["a: b", "b: a"], "healed").await?;
    // Its name is free again.
    network.cut("b to a").named("split").await?.leave();
    network.isolate(&bed.host("a")?).await?.leave();
    assert_eq!(network.report().await?.faults.len(), 2);
    network.heal_all().await?;
    assert_hears(&ears, &["a: b", "b: a"], "healed").await
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_guard_that_is_dropped_heals(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    for _ in 0..5 {
        {
            let _cut = bed.network().cut(a.and(&b)).await?;
            assert_hears(&ears, &["a: ", "b: "], "guarded").await?;
        }
        assert_eq!(bed.network().report().await?.faults, [], "what is asked next finds it healed");
        assert_hears(&ears, &["a: b", "b: a"], "dropped").await?;
    }
    Ok(())
}

/// Whoever gives a change up, or its heal, leaves nothing in force, and what he asks next finds it so.
#[netsplit::test(hosts = 2, needs = ["network"])]
async fn what_nobody_waits_for_is_healed(bed: Testbed) -> netsplit::Result {
    let network = bed.network();
    for _ in 0..20 {
        let change = network.cut("a and b").named("split").into_future();
        drop(timeout(Duration::ZERO, change).await);
        assert_eq!(network.report().await?.faults, [], "its change was dropped");
        let cut = network.cut("a and b").named("split").await?;
        drop(cut.heal());
        assert_eq!(network.report().await?.faults, [], "its heal never began");
        let cut = network.cut("a and b").named("split").await?;
        drop(timeout(Duration::ZERO, cut.heal()).await);
        assert_eq!(network.report().await?.faults, [], "its heal was dropped");
    }
    let text = fails(bed.host("a")?.wait_for("x").within(millis(1)).await, Reason::WaitTimedOut);
    assert!(!text.contains("in force"), "{text}");
    Ok(())
}

/// Hosts are named as values of any shape, and in words.
#[netsplit::test(hosts = 3, needs = ["network"])]
async fn hosts_are_named_in_many_ways(bed: Testbed) -> netsplit::Result {
    let [a, b, c] = ["a", "b", "c"].map(|name| bed.host(name).expect("three hosts"));
    let network = bed.network();
    let (slice, rest): (&[&Host], &[&Host]) = (&[&a, &b], &[&c]);
    let ways = [
        network.partition(([&a, &b], [&c])),
        network.partition((vec![&a, &b], &c)),
        network.partition((bed.select("all,-c")?, "c")),
        network.partition([slice, rest]),
        network.partition([vec![&a, &b], vec![&c]]),
        network.partition(vec![vec![a.clone(), b.clone()], vec![c.clone()]]),
        network.partition(["a,b", "c"]),
        network.isolate("c"),
        network.isolate(vec![&c]),
        network.cut(slice.and(rest)),
        network.cut([a.clone(), b.clone()].and(&c)),
        network.cut("all,-c and c"),
    ];
    for change in ways {
        let fault = change.await?;
        let report = network.report().await?;
        assert_eq!((report.faults[0].links, report.faults[0].verified), (4, 4), "{}", fault.what());
        fault.heal().await?;
    }
    for (change, wanted) in [
        (network.ring("all"), "ring a, b, c"),
        (network.bridge("all", "b"), "bridge a, c with b in the middle"),
        (network.regions([("london", "a,b"), ("tokyo", "c")]), "regions london a, b | tokyo c"),
    ] {
        assert_eq!(format!("{change:?}"), format!("Change({wanted})"));
    }
    fails(network.isolate("d").await, Reason::UnknownHost);
    Ok(())
}

/// How often each thing happened to faults, by the run's log.
fn turns(bed: &Testbed) -> [usize; 3] {
    let mut counts = [0; 3];
    for record in events(bed) {
        match record.event {
            Event::FaultTurned { in_force: true, .. } => counts[0] += 1,
            Event::FaultTurned { in_force: false, .. } => counts[1] += 1,
            Event::FaultEnded { why, .. } if why == "time" => counts[2] += 1,
            _ => {}
        }
    }
    counts
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_fault_ends_when_its_time_is_over(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    // Longer than a measurement takes on a busy machine.
    let cut = bed.network().cut(a.to(&b)).lasting(secs(4)).await?;
    let begun = bed.now();
    assert_eq!(ears.measure(&a, &b, Burst::of(10)).await?.got, 0);
    bed.network().report().await?.faults.first().expect("it is in force");
    eventually(secs(30), async || {
        let faults = bed.network().report().await.expect("a report").faults;
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    })
    .await
    .expect("it ends");
    assert!(bed.now() - begun > secs(3), "it lasted");
    assert_eq!(ears.measure(&a, &b, Burst::of(10)).await?.got, 10);
    eventually(secs(10), async || if turns(&bed)[2] == 1 { Ok(()) } else { Err(turns(&bed)) })
        .await
        .expect("the log says so");
    let text = fails(a.wait_for("x").within(millis(1)).await, Reason::WaitTimedOut);
    assert!(!text.contains("in force"), "{text}");
    cut.heal().await
}

/// Ends come while other things are asked of the network, right after begins, and together with heals; each is heard of.
#[netsplit::test(hosts = 2, needs = ["network"])]
async fn no_end_of_a_fault_is_missed(bed: Testbed) -> netsplit::Result {
    const EACH: u64 = 40;
    let network = bed.network();
    for index in 0..EACH {
        network.cut("a to b").after(millis(1)).lasting(millis(1)).await?.leave();
        network.link("b to a").delay(millis(1)).lasting(millis(20 + 10 * index)).await?.leave();
        let cut = network.cut("a and b").lasting(millis(2)).await?;
        sleep(millis(1)).await;
        cut.heal().await?;
    }
    while !network.report().await?.faults.is_empty() {
        network.link("a to b").loss(0.1).await?.heal().await?;
        sleep(millis(1)).await;
    }
    // Those that were healed may have ended by themselves before.
    let ended = async || {
        if (2 * EACH..=3 * EACH).contains(&(turns(&bed)[2] as u64)) { Ok(()) } else { Err(turns(&bed)) }
    };
    eventually(secs(10), ended).await.expect("every end is in the log");
    let is_foreign = |record: &Record| match &record.event {
        Event::FaultBegan { what, .. } => what.contains("from outside"),
        _ => false,
    };
    assert!(!events(&bed).iter().any(is_foreign), "all are the test's own");
    let text = fails(bed.host("a")?.wait_for("x").within(millis(1)).await, Reason::WaitTimedOut);
    assert!(!text.contains("in force"), "{text}");
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_fault_begins_when_its_time_comes(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    let cut = bed.network().cut(a.to(&b)).after(secs(4)).await?;
    let begun = bed.now();
    assert_eq!(ears.measure(&a, &b, Burst::of(10)).await?.got, 10);
    assert_eq!(bed.network().report().await?.faults[0].state, FaultState::Waiting);
    let text = fails(a.wait_for("x").within(millis(1)).await, Reason::WaitTimedOut);
    assert!(!text.contains("in force"), "{text}");
    eventually(secs(30), async || match bed.network().report().await.expect("a report").faults[0].state {
        FaultState::InForce => Ok(()),
        other => Err(other),
    })
    .await
    .expect("it begins");
    assert!(bed.now() - begun > secs(3), "it waited");
    assert_eq!(ears.measure(&a, &b, Burst::of(10)).await?.got, 0);
    cut.heal().await?;
    assert_eq!(ears.measure(&a, &b, Burst::of(10)).await?.got, 10);
    // It was not in force at first, and came into force.
    assert_eq!(turns(&bed), [1, 1, 0]);
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_flapping_fault_comes_and_goes(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let ears = Ears::of(&bed).await?;
    for (from, to) in [(&a, &b), (&b, &a)] {
        let before = turns(&bed);
        let flaps = bed.network().cut(from.to(to)).flap(millis(100), millis(100)).await?;
        // 1.2 s and more: six times down, at least twice however late anybody comes.
        let seen = ears.measure(from, to, Burst::of(300).every(millis(4))).await?;
        assert!(seen.runs >= 2 && seen.got > 0 && seen.lost() > 0, "{seen:?}");
        assert_eq!(ears.measure(to, from, Burst::of(300)).await?.got, 300);
        flaps.heal().await?;
        assert_eq!(ears.measure(from, to, Burst::of(300)).await?.got, 300);
        let [came, went, _] = turns(&bed);
        assert!(came - before[0] >= 2 && went - before[1] >= 2, "{came} {went}, {before:?}");
    }
    Ok(())
}

// ── what others do ──

/// Why faults ended, by the run's log.
fn whys(bed: &Testbed) -> Vec<String> {
    let why = |record: Record| match record.event {
        Event::FaultEnded { why, .. } => Some(why),
        _ => None,
    };
    events(bed).into_iter().filter_map(why).collect()
}

/// What is begun and healed from outside is told as that; a fault of several parts lasts as long as one of them.
#[netsplit::test(hosts = 3, needs = ["network"])]
async fn what_others_do_is_known_for_that(bed: Testbed) -> netsplit::Result {
    let (a, network) = (bed.host("a")?, bed.network());
    let Ok(others) = netsplit_provider::namespace::attach(&bed.evidence()) else {
        return Err(netsplit::Error::new(Reason::MissingCapability, "nobody else reaches this testbed"));
    };
    let says = async || fails(a.wait_for("x").within(millis(1)).await, Reason::WaitTimedOut);
    let ended = async |count: usize| {
        let seen = async || if whys(&bed).len() == count { Ok(()) } else { Err(whys(&bed)) };
        eventually(secs(10), seen).await.expect("its end is heard of");
    };
    let regions = network.regions([("london", "a,b"), ("tokyo", "c")]).await?;
    let ids: Vec<u32> = network.report().await?.faults.iter().map(|fault| fault.id).collect();
    assert_eq!(ids.len(), 2);
    others.heal(ids[0]).await?;
    // That a part has ended is not in the log: there is nothing to wait for.
    sleep(millis(300)).await;
    assert!(says().await.contains("in force regions london a, b | tokyo c since "));
    others.heal(ids[1]).await?;
    ended(1).await;
    assert!(!says().await.contains("in force"));
    regions.heal().await?;
    let regions = network.regions([("london", "a,b"), ("tokyo", "c")]).await?;
    let first = network.report().await?.faults[0].id;
    others.heal(first).await?;
    regions.heal().await?;
    assert_eq!(network.report().await?.faults, [], "its other part is healed with it");
    let theirs = netsplit_provider::FaultSpec {
        name: Some("theirs".into()),
        what: "cut a to b".into(),
        fault: netsplit::netmodel::Fault {
            scope: netsplit::netmodel::Scope::OneWay { from: vec!["a".into()], to: vec!["b".into()] },
            condition: netsplit::netmodel::Condition::new().cut(),
            schedule: Default::default(),
        },
        outlives_asker: true,
    };
    let theirs = others.begin_fault(theirs).await?;
    eventually(secs(10), async || {
        let text = says().await;
        if text.contains("in force cut a to b since ") { Ok(()) } else { Err(text) }
    })
    .await
    .expect("it is heard of");
    network.heal_all().await?;
    assert_eq!(network.report().await?.faults.len(), 1, "it was not begun here");
    others.heal(theirs).await?;
    ended(3).await;
    assert_eq!(whys(&bed), ["from outside", "healed", "from outside"]);
    assert!(!says().await.contains("in force"));
    Ok(())
}

// ── the test's own way, and what it reads ──

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn the_test_is_cut_off_only_where_it_asks_for_it(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let clock = a.start(beat).arg("tick").ready("tick").await?;
    let isolated = bed.network().isolate(&a).await?;
    a.run("true").within(secs(30)).await?;
    clock.wait_for("tick").await?;
    isolated.heal().await?;
    let isolated = bed.network().isolate(&a).control().await?;
    // What was on its way before may still be heard.
    sleep(millis(200)).await;
    let before = clock.stdout()?.len();
    assert!(timeout(millis(1500), a.run("true").within(secs(60)).into_future()).await.is_err(), "it waits");
    assert_eq!(clock.stdout()?.len(), before, "nothing is heard of it");
    b.run("true").await?;
    let begun = bed.now();
    let (waited, healed) = tokio::join!(a.run("true").within(secs(60)), async {
        sleep(millis(300)).await;
        isolated.heal().await
    });
    waited?;
    healed?;
    assert!(bed.now() - begun >= millis(300), "it waited for the heal");
    bed.wait_for("tick").on(&a).await?;
    // It went on meanwhile: what it said is heard now.
    clock.wait_for("tick").await?;
    assert_eq!((clock.outcome(), a.generation()), (None, 1));
    Ok(())
}

/// Silence that was asked for twice, by a fault and by a pause, is no death when one of them ends.
#[netsplit::test(hosts = 2, needs = ["network", "pause"])]
async fn a_paused_host_that_was_cut_off_is_not_lost(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let [isolated, other] =
        [bed.network().isolate(&a).control().await?, bed.network().isolate(&b).control().await?];
    a.pause().await?;
    isolated.heal().await?;
    b.pause().await?;
    b.resume().await?;
    // A host that ought to answer counts as lost after 30.
    sleep(secs(33)).await;
    a.resume().await?;
    other.heal().await?;
    for host in [a, b] {
        host.run("true").within(secs(30)).await?;
        assert_eq!(host.generation(), 1);
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network", "kill"])]
async fn a_host_that_is_cut_off_from_the_test_is_not_restarted(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let isolated = bed.network().isolate(&a).control().await?;
    for _ in 0..2 {
        let text = fails(a.restart().await, Reason::HostDown);
        assert!(text.contains("`isolate a` cuts netsplit off from it"), "{text}");
        assert!(text.contains("fix: heal `isolate a` first"), "{text}");
        if a.generation() == 1 {
            let _down_already = a.kill().await;
        }
    }
    isolated.heal().await?;
    a.restart().await?;
    a.run("true").await?;
    assert_eq!(a.generation(), 2);
    Ok(())
}

/// Our own way closes when links do, and opens when they do.
#[netsplit::test(hosts = 2, needs = ["network"])]
async fn the_test_is_cut_off_while_the_fault_is_in_force(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let network = bed.network();
    let later = network.isolate(&a).control().after(secs(3)).await?;
    timeout(secs(2), a.run("true").into_future()).await.expect("it is not in force")?;
    eventually(secs(30), async || if turns(&bed)[0] == 1 { Ok(()) } else { Err(turns(&bed)) })
        .await
        .expect("it comes into force");
    assert!(timeout(millis(500), a.run("true").into_future()).await.is_err(), "it is in force");
    later.heal().await?;
    a.run("true").await?;
    let flaps = network.isolate(&a).control().flap(millis(300), millis(300)).await?;
    for _ in 0..5 {
        a.run("true").within(secs(30)).await?;
        sleep(millis(200)).await;
    }
    flaps.heal().await?;
    let over = network.isolate(&a).control().lasting(millis(300)).await?;
    a.run("true").within(secs(30)).await?;
    over.heal().await
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_failure_says_what_was_in_force(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let cut = bed.network().cut("a and b").await?;
    let slow = bed.network().link("a to b").delay(millis(20)).await?;
    let text = fails(a.wait_for("never said").within(millis(10)).await, Reason::WaitTimedOut);
    assert!(text.contains("in force cut a and b since "), "{text}");
    assert!(text.contains("in force link a to b delay 20ms since "), "{text}");
    slow.heal().await?;
    let text = fails(a.run("false").await, Reason::UnexpectedExit);
    assert!(text.contains("in force cut a and b since ") && !text.contains("delay"), "{text}");
    cut.heal().await?;
    let text = fails(a.run("false").await, Reason::UnexpectedExit);
    assert!(!text.contains("in force"), "{text}");
    Ok(())
}

#[netsplit::test(hosts = 3, needs = ["network"])]
async fn what_cannot_be_is_said_and_changes_nothing(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let network = bed.network();
    let nobody: [&Host; 0] = [];
    let wrong: [(Change, Reason, &str); 9] = [
        (network.cut("a to z"), Reason::UnknownHost, "z"),
        (network.cut("a"), Reason::BadFault, "`a` names no links"),
        (network.cut(a.to(&a)), Reason::BadFault, "no link to itself"),
        (network.isolate(nobody), Reason::BadFault, "is empty"),
        (network.partition([[&a], [&a]]), Reason::BadFault, "a is in group 1 and in group 2"),
        (network.link(a.to(&b)).loss(1.3), Reason::BadFault, "130 %"),
        (network.link(a.to(&b)).queue(9000), Reason::BadFault, "`queue` wants a `rate`"),
        (network.link(a.to(&b)), Reason::BadFault, "it does nothing"),
        (network.link(a.to(&b)).preset("wam"), Reason::BadFault, "did you mean `wan`?"),
    ];
    for (change, reason, part) in wrong {
        let text = fails(change.await, reason);
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    let report = network.report().await?;
    assert!(report.faults.is_empty() && report.links.iter().all(|link| link.condition == Default::default()));
    a.start(echo_server).ready("listening").await?;
    b.run(echo_client).args(["a", "hello"]).await.map(drop)
}

/// Rootless and root alike: a TAP device where `/dev/net/tun` may be opened, a packet socket where it may not; or by nothing
/// real.
#[netsplit::test(hosts = 2, needs = ["network"])]
async fn the_report_says_how_hosts_are_joined(bed: Testbed) -> netsplit::Result {
    let tun = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let real = if tun.is_ok() { "tap" } else { "packet" };
    let report = bed.network().report().await?;
    let wanted = if report.scheduling == "simulated" { "simulated" } else { real };
    let kinds: Vec<_> = report.ports.iter().map(|port| (port.name.as_str(), port.kind.as_deref())).collect();
    assert_eq!(kinds, [("a", Some(wanted)), ("b", Some(wanted))]);
    Ok(())
}
