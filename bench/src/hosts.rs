//! How fast hosts come up, what each costs in memory, and what is left when their runner is killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use conformance::census;

use crate::bed::Bed;
use crate::figures::{Bar, figure, median, memory, quantile, raw, seconds};

const ROUNDS: usize = 5;
const KILLS: usize = 10;
const KILLED_HOSTS: &str = "40";
/// The kernel gives network namespaces back some time after they are gone.
const SETTLE: Duration = Duration::from_millis(1500);

pub(crate) async fn run() -> Result<()> {
    Bed::new(3).await?.end().await?; // what is read for the first time
    let (mut hundred, mut many, mut each) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        hundred.push(seconds(ready(100).await?.0));
        let (time, cost) = ready(500).await?;
        many.push(seconds(time));
        each.push(cost);
    }
    raw("100 hosts ready", &hundred, "s");
    raw("500 hosts ready", &many, "s");
    raw("memory a host", &each, "KiB");
    println!(
        "# memory: used = MemTotal - MemFree - Buffers - Cached + Shmem of /proc/meminfo, with 500 hosts less without, / 500;"
    );
    println!(
        "# the runner's side of the links is in it, pages of evidence files are not; told is the highest"
    );
    figure("hosts.100.ready", median(&hundred), "s", &Bar::Below(0.6));
    figure("hosts.500.ready", median(&many), "s", &Bar::Below(4.0));
    // Later rounds find kernel memory that the first has left for reuse.
    figure("hosts.memory", quantile(&each, 1.0), "KiB", &Bar::Below(1536.0));
    kills()
}

/// How long so many hosts take to be ready, and how many KiB each holds.
async fn ready(hosts: usize) -> Result<(Duration, f64)> {
    tokio::time::sleep(SETTLE).await;
    let before = used();
    let bed = Bed::new(hosts).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let cost = (used() - before) / hosts as f64;
    let time = bed.ready;
    bed.end().await?;
    Ok((time, cost))
}

fn used() -> f64 {
    memory("MemTotal") - memory("MemFree") - memory("Buffers") - memory("Cached") + memory("Shmem")
}

/// Kills runners whose hosts have children and daemons.
fn kills() -> Result<()> {
    census::adopt_orphans()?;
    let (mut left, mut gone) = (Vec::new(), Vec::new());
    for _ in 0..KILLS {
        let mut runner = start_runner()?;
        let root = runner.id().cast_signed();
        let mut held = census::Holdings::default();
        held.note(root);
        let ticks = census::ticks();
        census::kill(root);
        let begun = Instant::now();
        let went = census::until(Duration::from_secs(1), || {
            census::reap();
            held.left(ticks).is_empty()
        });
        gone.push(went.map_or(1000.0, |time| time.as_secs_f64() * 1e3));
        std::thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
        census::reap();
        let still = held.left(ticks);
        for what in still.iter().take(5) {
            println!("# left: {what}");
        }
        left.push(still.len() as f64);
        println!("# killed {} processes in {} namespaces", held.processes.len(), held.namespaces.len());
        // It was reaped above.
        let _reaped = runner.try_wait();
    }
    raw("left 1 s after each kill", &left, "things");
    raw("gone after each kill (counting takes some of it)", &gone, "ms");
    figure("hosts.kill9.left", left.iter().sum(), "things", &Bar::AtMost(0.0));
    Ok(())
}

fn start_runner() -> Result<Child> {
    let own = std::env::current_exe()?;
    let mut runner =
        Command::new(own).args(["hold", KILLED_HOSTS]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = runner.stdout.take().context("no stdout")?;
    match BufReader::new(stdout).lines().next() {
        Some(Ok(line)) if line == "up" => Ok(runner),
        other => bail!("the runner did not come up: {other:?}"),
    }
}

/// The runner that is killed: its hosts come up with a child and a daemon each, then it waits for its end.
pub(crate) fn hold(hosts: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let bed = Bed::new(hosts.parse()?).await?;
        for host in bed.hosts.hosts() {
            host.start(["sh", "-c", "setsid --fork sleep 1000; sleep 1000 & sleep 1000"]).await?;
        }
        // The daemons of the last hosts come up.
        tokio::time::sleep(Duration::from_millis(100)).await;
        println!("up");
        tokio::time::sleep(Duration::from_secs(600)).await;
        bed.end().await
    })
}
