//! Captures: what stands in their files of what hosts sent, on every provider, and that files are complete.

use std::net::IpAddr;
use std::path::Path;

use conformance::fails;
use conformance::measure::{Burst, Ears};
use conformance::run;
use netsplit::prelude::*;
use netsplit::{Reason, Verdict};
use packets::UDP;
use parse::{Parsed, Seen, parse};

#[path = "../../../crates/netmodel/tests/nat/packets.rs"]
#[expect(dead_code, reason = "the translator's tests' packets, of which captures need the reader")]
mod packets;
#[path = "../../../crates/netmodel/tests/capture/parse.rs"]
mod parse;

fn parsed(path: &Path) -> Parsed {
    parse(&std::fs::read(path).expect("a file"))
}

/// The datagrams of a file that an interface had, to this host, or that this was said of.
fn count(file: &Parsed, interface: &str, to: Option<IpAddr>, comment: Option<&str>) -> usize {
    let is_it = |seen: &&Seen| {
        // Whatever became of it, it is a packet as a wire has it.
        let packet = seen.ip().map(packets::read).filter(|packet| packet.protocol == UDP);
        seen.interface == interface
            && packet.is_some_and(|packet| to.is_none_or(|to| packet.to.0 == to))
            && comment.is_none_or(|comment| seen.comment == comment)
    };
    file.packets.iter().filter(is_it).count()
}

/// Captures of a link, of both its ways, of a host and of all: each has its packets, with what became of them.
#[netsplit::test(hosts = 3, needs = ["network"])]
async fn captures_say_what_became_of_packets(bed: Testbed) -> netsplit::Result {
    let [a, b, c] = [bed.host("a")?, bed.host("b")?, bed.host("c")?];
    let ears = Ears::of(&bed).await?;
    let network = bed.network();
    let captures = [
        network.capture(a.to(&b)).await?,
        network.capture(a.and(&b)).await?,
        c.capture().await?,
        network.capture_all().await?,
    ];
    fails(network.capture(a.to([&b, &c])).await, Reason::BadFault);
    let fault = network.link(a.to(&b)).loss(0.3).await?;
    let seen = ears.measure(&a, &b, Burst::of(500)).await?;
    fault.heal().await?;
    ears.measure(&b, &a, Burst::of(50)).await?;
    let cut = network.cut(a.to(&c)).await?;
    ears.measure(&a, &c, Burst::of(20)).await?;
    cut.heal().await?;
    let mut files = Vec::new();
    for (capture, name) in captures.into_iter().zip(["a-to-b", "a-and-b", "c", "all"]) {
        let path = capture.path().to_owned();
        assert_eq!(path, bed.evidence().join(format!("captures/{name}.pcapng")));
        let report = capture.end().await?;
        assert_eq!((report.lost, &report.error), (0, &None));
        assert_eq!(std::fs::metadata(&path).expect("a file").len(), report.bytes);
        let file = parsed(&path);
        assert_eq!(file.packets.len() as u64, report.packets);
        files.push((name, file));
    }
    // As their sender's interface saw them, by file: datagrams from a to b, those of them that were lost, those from b to
    // a, those that were cut. Those c would have got stand at its own interface.
    let [to_a, to_b, to_c] = [&a, &b, &c].map(|host| host.address().parse::<IpAddr>().ok());
    let lost = seen.lost().try_into().expect("at most 500");
    let wanted = [[500, lost, 0, 0, 0], [500, lost, 50, 0, 0], [0, 0, 0, 0, 20], [500, lost, 50, 20, 0]];
    for ((name, file), wanted) in files.iter().zip(wanted) {
        let counts = [
            count(file, "a", to_b, None),
            count(file, "a", None, Some("dropped: lost")),
            count(file, "b", to_a, None),
            count(file, "a", None, Some("dropped: cut")),
            count(file, "c", to_c, Some("dropped: cut")),
        ];
        assert_eq!(counts, wanted, "{name}");
    }
    Ok(())
}

/// A delay lies between the packet at its sender and the packet at its receiver.
#[netsplit::test(hosts = 2, needs = ["network"])]
async fn a_capture_shows_a_delay(bed: Testbed) -> netsplit::Result {
    let [a, b] = [bed.host("a")?, bed.host("b")?];
    let ears = Ears::of(&bed).await?;
    let capture = bed.network().capture(a.to(&b)).await?;
    let _slow = bed.network().link(a.to(&b)).delay(millis(50)).await?;
    ears.measure(&a, &b, Burst::of(1)).await?;
    let path = capture.path().to_owned();
    capture.end().await?;
    let file = parsed(&path);
    let at = |interface: &str| {
        let is_it = |seen: &&Seen| {
            seen.interface == interface
                && seen.ip().map(packets::read).is_some_and(|packet| packet.protocol == UDP)
        };
        file.packets.iter().find(is_it).map(|seen| (seen.at_ns, &seen.bytes))
    };
    let (Some((sent, one)), Some((given, other))) = (at("a"), at("b")) else { panic!("{:?}", file.packets) };
    assert_eq!(one, other, "it is the same packet");
    assert!(given - sent >= 50_000_000, "{sent} to {given}");
    Ok(())
}

/// Every packet of a capture that goes on when the test ends is in its file when the run has ended.
#[test]
fn a_capture_is_complete_when_its_run_has_ended() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let done = runtime.block_on(run::with("capture", run::plans(2, None), async |bed| {
        bed.need(Capability::Network)?;
        let (a, b) = (bed.host("a")?, bed.host("b")?);
        let ears = Ears::of(&bed).await?;
        let capture = bed.network().capture(a.to(&b)).await?;
        ears.measure(&a, &b, Burst::of(500)).await?;
        Ok(capture.path().to_owned())
    }));
    let path = match done {
        Err(error) if error.verdict() == Verdict::Skipped => return,
        done => done.unwrap_or_else(|error| panic!("{error}")),
    };
    let file = parsed(&path);
    assert!(file.packets.len() >= 500, "{}", file.packets.len());
    assert_eq!(file.statistics.len(), 2, "it has its end");
}
