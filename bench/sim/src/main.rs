//! The figures that the simulated mode is held to: `netsplit-bench-sim`. Every measurement runs in a fresh process, which is
//! this program under other words; medians are told. `cargo xtask bench sim` builds it, and the ring in turmoil beside it,
//! which is measured in turns with ours.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "figures are what it prints")]

#[path = "../../src/figures.rs"]
#[expect(dead_code, reason = "other benches need more of it")]
mod figures;
mod mixed;
mod programs;
mod web;
mod worlds;

use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use figures::{Bar, figure, median, raw};

const ROUNDS: u64 = 7;
const STARTS: u64 = 100;
/// Seeds that run twice.
const SEEDS: u64 = 1000;
/// turmoil is asked for less virtual time than we are: its speed does not depend on it.
const TURMOIL_TIME: Duration = Duration::from_secs(1);
const TURMOIL_ROUNDS: u64 = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => all(),
        [world, seed] => worlds::simulate(world, seed),
        _ => Err(anyhow::anyhow!("usage: netsplit-bench-sim [WORLD SEED]")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<()> {
    println!("# ── sim: {}", figures::machine());
    ring()?;
    web()?;
    idle()?;
    start()?;
    divergent()
}

/// What a fresh process tells of its simulation.
struct Told {
    events: f64,
    /// Seconds.
    wall: f64,
    /// Virtual seconds.
    time: f64,
    trace: String,
}

fn simulate(world: &str, seed: u64) -> Result<Told> {
    let mut command = Command::new(std::env::current_exe()?);
    let text = output(command.args([world, &seed.to_string()]))?;
    let [events, wall, time, trace] = text.split_whitespace().collect::<Vec<_>>()[..] else {
        anyhow::bail!("{world} said {text:?}")
    };
    Ok(Told { events: events.parse()?, wall: wall.parse()?, time: time.parse()?, trace: trace.to_owned() })
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The ring, and turmoil's in turns.
fn ring() -> Result<()> {
    let (mut rates, mut speeds, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let told = simulate("ring", round)?;
        rates.push(told.events / told.wall / 1e6);
        speeds.push(worlds::RING_TIME.as_secs_f64() / told.wall);
        if round < TURMOIL_ROUNDS {
            peer.push(TURMOIL_TIME.as_secs_f64() / turmoil()?);
        }
        ensure!(told.time < worlds::RING_TIME.as_secs_f64() + 1.0, "it took {} virtual seconds", told.time);
    }
    println!("# {} hosts, one datagram each {:?} from each", worlds::RING, programs::EVERY);
    raw("datagrams and timers", &rates, "M/s");
    raw("virtual seconds a second", &speeds, "");
    raw(&format!("turmoil's, of {TURMOIL_TIME:?} each"), &peer, "");
    figure("sim.events", median(&rates) * 1e6, "/s", &Bar::AtLeast(1e6));
    figure("sim.vs_turmoil", median(&speeds) / median(&peer), "times", &Bar::AtLeast(50.0));
    Ok(())
}

/// The wall seconds that turmoil takes for its time.
fn turmoil() -> Result<f64> {
    let program = std::env::current_exe()?.with_file_name("netsplit-bench-turmoil");
    let words = [worlds::RING.to_string(), TURMOIL_TIME.as_millis().to_string()];
    Ok(output(Command::new(program).args(words))?.trim().parse()?)
}

fn web() -> Result<()> {
    let told = (0..ROUNDS).map(|seed| simulate("web", seed)).collect::<Result<Vec<_>>>()?;
    let requests = (web::TASKS * web::REQUESTS) as f64;
    let rates: Vec<_> = told.iter().map(|told| requests / told.wall).collect();
    raw("requests", &rates, "/s");
    figure("sim.http", median(&rates), "/s", &Bar::AtLeast(80_000.0));
    Ok(())
}

fn idle() -> Result<()> {
    let told = (0..ROUNDS).map(|seed| simulate("idle", seed)).collect::<Result<Vec<_>>>()?;
    let walls: Vec<_> = told.iter().map(|told| told.wall).collect();
    raw(&format!("{} idle hosts, an hour each", worlds::IDLE), &walls, "s");
    figure("sim.idle", median(&walls), "s", &Bar::Below(0.15));
    Ok(())
}

/// Whole processes, as their parent sees them.
fn start() -> Result<()> {
    let mut times = Vec::new();
    for seed in 0..STARTS {
        let begun = Instant::now();
        simulate("one", seed)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    raw("fastest, slowest", &[figures::quantile(&times, 0.0), figures::quantile(&times, 1.0)], "ms");
    figure("sim.start", median(&times), "ms", &Bar::Below(5.0));
    Ok(())
}

/// Each seed in two processes, on all cores.
fn divergent() -> Result<()> {
    let (next, different, turns) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let compare = || -> Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= SEEDS {
                return Ok(());
            }
            let [one, other] = [simulate("mixed", seed)?, simulate("mixed", seed)?];
            turns.fetch_add(u64::from(one.events != 0.0), Ordering::Relaxed);
            if one.trace != other.trace {
                println!("# seed {seed}: {} and {}", one.trace, other.trace);
                different.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let cores = std::thread::available_parallelism()?.get();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(compare)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it gives errors"))
    })?;
    println!("# {} seeds, twice each, in {:.1} s", turns.into_inner(), begun.elapsed().as_secs_f64());
    figure("sim.divergent", different.into_inner() as f64, "seeds", &Bar::AtMost(0.0));
    Ok(())
}
