//! P17: one seed, one run: the same log in two processes, whatever their directory and environment, and another log with
//! another seed. What chance does to one link is nobody else's business: who and what else is there shifts no draw.
// As a user's crate may.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv6Addr, UdpSocket};
use std::path::Path;
use std::process::Command;

use conformance::programs::{PORT, say};
use conformance::scratch;
use netsplit::prelude::*;

/// Datagrams of the flow that is looked at.
const COUNT: u32 = 400;

/// `numbered HOST`: sends numbered datagrams to a host, a millisecond apart.
#[netsplit::program]
async fn numbered(words: Vec<String>) -> std::io::Result<()> {
    let socket = tokio::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await?;
    let to = tokio::net::lookup_host((words[0].as_str(), PORT)).await?.find(|address| address.is_ipv6());
    let to = to.ok_or_else(|| std::io::Error::other("no address"))?;
    for number in 0..COUNT {
        socket.send_to(&number.to_le_bytes(), to).await?;
        tokio::time::sleep(millis(1)).await;
    }
    Ok(())
}

/// `notes HOST`: takes datagrams, and prints the numbers of those that came from a host, until none came for a second.
#[netsplit::program]
async fn notes(words: Vec<String>) -> std::io::Result<()> {
    let wanted: BTreeSet<_> =
        tokio::net::lookup_host((words[0].as_str(), 0)).await?.map(|address| address.ip()).collect();
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT))?;
    socket.set_read_timeout(Some(secs(1)))?;
    say("hears");
    let mut came = Vec::new();
    let mut number = [0; 4];
    while let Ok((_, from)) = socket.recv_from(&mut number) {
        if wanted.contains(&from.ip().to_canonical()) {
            came.push(u32::from_le_bytes(number));
        }
    }
    say(&format!("came {came:?}"));
    Ok(())
}

/// What of a flow from `a` to `b` came through a link that loses, copies and reorders, while others talk or do not.
async fn pattern(bed: &Testbed, others: &[(&str, &str)]) -> netsplit::Result<String> {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let _link = bed.network().link("all and all").loss(0.3).duplicate(0.1).reorder(0.1, millis(20)).await?;
    let hears = b.start(notes).arg("a").ready("hears").await?;
    let mut talk = Vec::new();
    // Where nobody hears, a refusal goes back: a packet of the link that is looked at.
    for to in others.iter().map(|(_, to)| *to).filter(|to| *to != "b").collect::<BTreeSet<_>>() {
        bed.host(to)?.start(notes).arg("a").ready("hears").await?;
    }
    for (from, to) in others {
        talk.push(bed.host(from)?.start(numbered).arg(*to).await?);
    }
    a.run(numbered).arg("b").await?;
    let came = hears.wait_for("^came ").await?.text().to_owned();
    wait_all(&talk).await?;
    Ok(came)
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn two_hosts(bed: Testbed) -> netsplit::Result {
    bed.note(pattern(&bed, &[]).await?);
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["network"])]
async fn two_hosts_that_talk_both_ways(bed: Testbed) -> netsplit::Result {
    bed.note(pattern(&bed, &[("b", "a")]).await?);
    Ok(())
}

#[netsplit::test(hosts = 4, needs = ["network"])]
async fn two_hosts_among_others_that_talk(bed: Testbed) -> netsplit::Result {
    bed.note(pattern(&bed, &[("c", "b"), ("d", "b"), ("a", "c"), ("b", "a")]).await?);
    Ok(())
}

/// The log of one of these tests, simulated with a seed in a process of its own.
fn log(test: &str, seed: u64, here: &Path, change: impl FnOnce(&mut Command)) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args([&format!("{test}::simulated"), "--exact"]);
    for name in ["NETSPLIT_SEEDS", "NETSPLIT_CHECK"] {
        command.env_remove(name);
    }
    command.env("NETSPLIT_DIR", here).env("NETSPLIT_SEED", seed.to_string());
    change(&mut command);
    let output = command.output().expect("a child");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    fs::read_to_string(here.join("last/events.jsonl")).expect("the log")
}

/// The numbers that came, as the log has them.
fn came(test: &str, seed: u64) -> String {
    let log = log(test, seed, scratch().path(), |_| {});
    let noted = log.lines().find(|line| line.contains("\"came [")).expect("a note");
    let (_, came) = noted.split_once("\"came [").expect("the numbers");
    came.split(']').next().unwrap_or_default().to_owned()
}

#[test]
fn one_seed_is_one_log_and_another_is_another() {
    let folders = [scratch(), scratch(), scratch()];
    let [one, again, other] = folders.each_ref().map(|folder| folder.path());
    let test = "two_hosts_among_others_that_talk";
    let first = log(test, 7, one, |_| {});
    assert!(first.lines().count() > 20, "{first}");
    let elsewhere = log(test, 7, again, |command| {
        command.current_dir(again).env("NOISE", "x".repeat(5000)).env("RUST_TEST_THREADS", "1");
    });
    assert_eq!(first, elsewhere);
    // The run's id is the seed's as well: it is what the links did that is another.
    let noted = |log: &str| log.lines().find(|line| line.contains("\"came [")).map(str::to_owned);
    assert_ne!(noted(&first), noted(&log(test, 8, other, |_| {})));
}

#[test]
fn who_else_is_there_shifts_no_draw() {
    for seed in [1, 2, 3] {
        let alone = came("two_hosts", seed);
        let count = alone.split(", ").count();
        assert!((200..400).contains(&count), "{count} of {COUNT}: {alone}");
        assert_eq!(alone, came("two_hosts_that_talk_both_ways", seed), "the other way");
        assert_eq!(alone, came("two_hosts_among_others_that_talk", seed), "other hosts");
    }
}
