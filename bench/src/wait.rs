//! How soon a wait returns after its line was written.

use std::future::IntoFuture;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bed::Bed;
use crate::figures::{Bar, figure, median, quantile, raw};
use crate::programs;

const ROUNDS: usize = 3;
const LINES: u64 = 1000;

pub(crate) async fn run() -> Result<()> {
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let late = round().await?;
        p50.push(median(&late));
        p99.push(quantile(&late, 0.99));
        raw("p50 p90 p99 max", &[0.5, 0.9, 0.99, 1.0].map(|share| quantile(&late, share)), "ms");
    }
    println!("# from the clock in the line, read just before it is written, to the return of the wait");
    figure("wait.p50", median(&p50), "ms", &Bar::None);
    figure("wait.p99", median(&p99), "ms", &Bar::Below(2.0));
    Ok(())
}

async fn round() -> Result<Vec<f64>> {
    let bed = Bed::new(1).await?;
    let host = bed.host()?;
    host.put(std::env::current_exe()?, "/tmp/netsplit-bench").await?;
    let process = host.start(["/tmp/netsplit-bench", "ticks"]).stdin_open().await?;
    let mut late = Vec::new();
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    for number in 0..LINES {
        dice = programs::throw(dice);
        let pause = Duration::from_micros(dice % 3000);
        // The wait stands before the line is written.
        let (line, written) =
            tokio::join!(process.wait_for(format!("^tick {number} at (\\d+)")).into_future(), async {
                tokio::time::sleep(pause).await;
                process.write(&b"\n"[..]).await
            });
        let returned = programs::now();
        written?;
        let line = line?;
        let at = line.get(1).context("a line without its time")?.parse().map(Duration::from_nanos)?;
        late.push(returned.saturating_sub(at).as_secs_f64() * 1e3);
    }
    process.close_stdin().await?;
    process.wait().await?;
    bed.end().await?;
    Ok(late)
}
