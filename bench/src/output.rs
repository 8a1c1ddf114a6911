//! Much output, all of it kept as evidence, beside the same through a pipe into a file.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::bed::Bed;
use crate::figures::{Bar, figure, median, need, raw, seconds};

const ROUNDS: usize = 5;
const GIB: u64 = 1 << 30;

pub(crate) async fn run() -> Result<()> {
    let (mut ours, mut cats, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let folder = Bed::new(1).await?;
    // Beside the evidence: the same disk.
    let evidence = folder.hosts.evidence();
    let disk = tempfile::tempdir_in(evidence.parent().unwrap_or(&evidence))?;
    need(2, disk.path(), 4)?;
    folder.end().await?;
    for round in 0..=ROUNDS {
        let cat = through_cat(disk.path())?;
        let own = through_agent().await?;
        if round > 0 {
            ours.push(own);
            cats.push(cat);
            ratios.push(own / cat);
        }
    }
    raw("ours", &ours, "s");
    raw("producer | cat > file", &cats, "s");
    raw("ours / cat, each round", &ratios, "times");
    raw("ours", &[GIB as f64 / f64::from(1 << 20) / median(&ours)], "MiB/s");
    figure("output.vs_cat", median(&ratios), "times", &Bar::AtMost(2.0));
    Ok(())
}

async fn through_agent() -> Result<f64> {
    let bed = Bed::new(1).await?;
    let host = bed.host()?;
    host.put(std::env::current_exe()?, "/tmp/netsplit-bench").await?;
    rustix::fs::sync();
    let begun = Instant::now();
    let process = host.start(["/tmp/netsplit-bench", "lines", &GIB.to_string()]).await?;
    process.wait().exits(0).await?;
    let time = seconds(begun.elapsed());
    let kept: u64 = fs::read_dir(bed.hosts.evidence().join("hosts/a"))?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".stdout"))
        .map(|entry| entry.metadata().map_or(0, |data| data.len()))
        .sum();
    ensure!(kept == GIB, "{kept} bytes were kept");
    bed.end().await?;
    Ok(time)
}

fn through_cat(folder: &Path) -> Result<f64> {
    let target = folder.join("cat");
    rustix::fs::sync();
    let begun = Instant::now();
    let mut producer = Command::new(std::env::current_exe()?);
    let mut producer = producer.args(["lines", &GIB.to_string()]).stdout(Stdio::piped()).spawn()?;
    let pipe = producer.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let mut cat = Command::new("cat").stdin(pipe).stdout(File::create(&target)?).spawn()?;
    ensure!(producer.wait()?.success() && cat.wait()?.success(), "`cat` failed");
    let time = seconds(begun.elapsed());
    ensure!(fs::metadata(&target)?.len() == GIB, "`cat` kept something else");
    fs::remove_file(target)?;
    Ok(time)
}
