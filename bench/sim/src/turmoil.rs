//! The ring of the benches in turmoil: `netsplit-bench-turmoil HOSTS MILLISECONDS` prints the wall seconds that it took.
#![expect(clippy::print_stdout, reason = "figures are what it prints")]

mod programs;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

/// turmoil's own default, and what its users mostly have.
const TICK: Duration = Duration::from_millis(1);

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>());
    let mut number = move || words.next().context("HOSTS MILLISECONDS")?.context("a number");
    let (hosts, time) = (number()?, Duration::from_millis(number()?));
    let begun = Instant::now();
    let mut sim = turmoil::Builder::new()
        .tick_duration(TICK)
        .min_message_latency(TICK)
        .max_message_latency(TICK)
        .simulation_duration(time * 2)
        .build();
    for host in 0..hosts {
        let next = format!("host{}", (host + 1) % hosts);
        sim.client(format!("host{host}"), async move {
            let next = SocketAddr::new(turmoil::lookup(next), programs::PORT);
            Ok(programs::ring(next, time).await?)
        });
    }
    sim.run().map_err(|error| anyhow!("{error}"))?;
    println!("{}", begun.elapsed().as_secs_f64());
    Ok(())
}
