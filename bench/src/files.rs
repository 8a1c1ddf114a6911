//! A large file to several hosts at the same time, beside as many copies on the spot; and the same file again.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use netsplit::Testbed;

use crate::bed::Bed;
use crate::figures::{Bar, figure, median, need, raw, seconds};

const ROUNDS: usize = 3;
const HOSTS: usize = 4;
const GIB: usize = 1 << 30;
/// Hosts' disks are memory, so the copies beside them are as well.
const MEMORY: &str = "/dev/shm";

pub(crate) async fn run() -> Result<()> {
    let scratch = tempfile::tempdir_in(MEMORY)?;
    let disk = tempfile::tempdir()?;
    need(11, scratch.path(), 6)?;
    need(0, disk.path(), 6)?;
    let source = scratch.path().join("source");
    fill(&source)?;
    let (mut ours, mut copies, mut ratios, mut again) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        // Other bytes each time: nobody has seen them before.
        change(&source, round)?;
        let copied = copy(&source, scratch.path())?;
        let bed = Bed::new(HOSTS).await?;
        let (first, sent) = put(&bed.hosts, &source).await?;
        let (second, sent_again) = put(&bed.hosts, &source).await?;
        bed.end().await?;
        ensure!(sent == (GIB * HOSTS) as u64, "the first time {sent} bytes were sent");
        // The first round finds memory that was never touched.
        if round > 0 {
            ours.push(first);
            copies.push(copied);
            ratios.push(first / copied);
            again.push(sent_again as f64);
            raw("the second time", &[second], "s");
        }
    }
    println!(
        "# 1 GiB in {MEMORY} to 4 hosts (their disks: tmpfs), all at once / 4 `cp` of it within {MEMORY}, all at once"
    );
    raw("ours", &ours, "s");
    raw("cp", &copies, "s");
    raw("ours / cp, each round", &ratios, "times");
    raw("cp from there to 4 files on disk, for comparison", &[copy(&source, disk.path())?], "s");
    figure("files.vs_cp", median(&ratios), "times", &Bar::AtMost(1.5));
    figure("files.second.sent", again.iter().sum(), "bytes", &Bar::AtMost(0.0));
    Ok(())
}

fn fill(path: &Path) -> Result<()> {
    let mut file = File::create(path)?;
    let block = conformance::load::noise(1 << 20);
    for _ in 0..GIB / block.len() {
        file.write_all(&block)?;
    }
    Ok(())
}

fn change(path: &Path, round: usize) -> Result<()> {
    let mut file = File::options().write(true).open(path)?;
    for at in 0..64_u64 {
        file.seek(std::io::SeekFrom::Start(at * (GIB as u64 / 64)))?;
        file.write_all(format!("round {round} of process {}", std::process::id()).as_bytes())?;
    }
    Ok(())
}

/// Puts it on all hosts at once: seconds, and how many bytes were sent.
async fn put(bed: &Testbed, source: &Path) -> Result<(f64, u64)> {
    let before = bytes_sent(bed)?;
    let begun = Instant::now();
    let mut puts = tokio::task::JoinSet::new();
    for host in bed.hosts() {
        let put = host.put(source, "/var/tmp/large");
        puts.spawn(async move { put.await });
    }
    while let Some(done) = puts.join_next().await {
        done??;
    }
    Ok((seconds(begun.elapsed()), bytes_sent(bed)? - before))
}

/// What the run's log says was sent.
fn bytes_sent(bed: &Testbed) -> Result<u64> {
    let log = fs::read_to_string(bed.evidence().join("events.jsonl"))?;
    let events = log.lines().map(serde_json::from_str::<serde_json::Value>).collect::<Result<Vec<_>, _>>()?;
    Ok(events
        .iter()
        .filter(|event| event["kind"] == "file.put")
        .filter_map(|event| event["sent"].as_u64())
        .sum())
}

/// As many copies by `cp`, all at once: seconds.
fn copy(source: &Path, folder: &Path) -> Result<f64> {
    let targets: Vec<PathBuf> = (0..HOSTS).map(|number| folder.join(format!("copy{number}"))).collect();
    let begun = Instant::now();
    let copies = targets
        .iter()
        .map(|to| Command::new("cp").arg(source).arg(to).spawn())
        .collect::<Result<Vec<_>, _>>();
    for mut copy in copies.context("cp")? {
        ensure!(copy.wait()?.success(), "cp failed");
    }
    let time = seconds(begun.elapsed());
    for target in targets {
        fs::remove_file(target)?;
    }
    Ok(time)
}
