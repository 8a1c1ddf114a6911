//! What a command costs through an agent, beside the same on the spot and through others' ways into a host.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::bed::Bed;
use crate::figures::{Bar, figure, median, quantile, raw, skipped};
use crate::ssh;

const ROUNDS: usize = 3;
const COMMANDS: usize = 500;
const PEER_COMMANDS: usize = 60;

pub(crate) async fn run() -> Result<()> {
    let bed = Bed::new(1).await?;
    let host = bed.host()?;
    for _ in 0..50 {
        host.run("true").await?;
        on_the_spot(&mut Command::new("true"))?;
    }
    let (mut ours_all, mut ratios, mut ours_p50, mut spot_p50) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut ours, mut spot) = (Vec::new(), Vec::new());
        for _ in 0..COMMANDS {
            let begun = Instant::now();
            host.run("true").await?;
            ours.push(begun.elapsed().as_secs_f64() * 1e6);
            spot.push(on_the_spot(&mut Command::new("true"))?);
        }
        ours_p50.push(median(&ours));
        spot_p50.push(median(&spot));
        ratios.push(median(&ours) / median(&spot));
        ours_all.extend(ours);
    }
    raw("ours, p50 of each round", &ours_p50, "µs");
    raw("on the spot, p50 of each round", &spot_p50, "µs");
    raw("ours, p90 p99 of all", &[quantile(&ours_all, 0.9), quantile(&ours_all, 0.99)], "µs");
    raw("ours / on the spot, each round", &ratios, "times");
    let p50 = median(&ours_p50);
    figure("exec.p50", p50, "µs", &Bar::None);
    figure("exec.vs_spawn", median(&ratios), "times", &Bar::AtMost(1.5));
    bed.end().await?;
    against("exec.vs_ssh", p50, ssh::measure(PEER_COMMANDS)?);
    against("exec.vs_docker", p50, docker()?);
    Ok(())
}

fn against(key: &str, ours: f64, peer: Result<Vec<f64>, String>) {
    match peer {
        Ok(times) => {
            raw("peer, p50 p99", &[median(&times), quantile(&times, 0.99)], "µs");
            figure(key, median(&times) / ours, "times", &Bar::AtLeast(10.0));
        }
        Err(reason) => skipped(key, &reason),
    }
}

/// Runs a command with captured output; how long it took, in microseconds.
pub(crate) fn on_the_spot(command: &mut Command) -> Result<f64> {
    let begun = Instant::now();
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let time = begun.elapsed().as_secs_f64() * 1e6;
    anyhow::ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(time)
}

/// `docker exec` into a container of an image that is there, or why not.
fn docker() -> Result<Result<Vec<f64>, String>> {
    let asked = |words: &[&str]| -> Option<String> {
        let output =
            Command::new("docker").args(words).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if asked(&["version", "--format", "{{.Server.Version}}"]).is_none() {
        return Ok(Err("no docker daemon answers".into()));
    }
    let images = asked(&["images", "--quiet"]).unwrap_or_default();
    let Some(image) = images.lines().next() else { return Ok(Err("docker has no image".into())) };
    let Some(container) = asked(&["run", "--detach", "--rm", "--network=none", image, "sleep", "600"]) else {
        return Ok(Err("the image runs no `sleep`".into()));
    };
    let run =
        || (0..PEER_COMMANDS).map(|_| on_the_spot(Command::new("docker").args(["exec", &container, "true"])));
    let times = run().collect::<Result<Vec<_>>>();
    asked(&["kill", &container]);
    Ok(Ok(times?))
}
