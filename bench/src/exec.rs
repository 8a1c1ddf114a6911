//! What a command costs through an agent, beside the same on the spot and through others' ways into a host.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use netsplit::Host;

use crate::bed::Bed;
use crate::figures::{Bar, figure, median, quantile, raw, skipped};
use crate::ssh;

const ROUNDS: usize = 3;
const COMMANDS: usize = 500;
const PEER_COMMANDS: usize = 60;
/// Of ours to each of the peer's: what the machine does meanwhile meets both alike.
const TO_EACH: usize = 8;

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
            ours.push(through_agent(&host).await?);
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
    let ssh = ssh::Shared::connect()?;
    against("exec.vs_ssh", &host, ssh.as_ref().map(|shared| || shared.command())).await?;
    let docker = Container::start();
    against("exec.vs_docker", &host, docker.as_ref().map(|container| || container.command())).await?;
    bed.end().await
}

/// `true` through somebody else's way into a host, in turns with ours; or why that cannot be had.
async fn against(key: &str, host: &Host, peer: Result<impl Fn() -> Command, &String>) -> Result<()> {
    let peer = match peer {
        Ok(peer) => peer,
        Err(reason) => {
            skipped(key, reason);
            return Ok(());
        }
    };
    let (mut ratios, mut all) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..PEER_COMMANDS {
            for _ in 0..TO_EACH {
                ours.push(through_agent(host).await?);
            }
            theirs.push(on_the_spot(&mut peer())?);
        }
        ratios.push(median(&theirs) / median(&ours));
        all.push((median(&ours), median(&theirs)));
    }
    let (ours, theirs): (Vec<_>, Vec<_>) = all.into_iter().unzip();
    raw("ours, p50 of each round", &ours, "µs");
    raw("the peer, p50 of each round", &theirs, "µs");
    raw("the peer / ours, each round", &ratios, "times");
    figure(key, median(&ratios), "times", &Bar::AtLeast(10.0));
    Ok(())
}

/// How long `true` takes on a host, in microseconds.
async fn through_agent(host: &Host) -> Result<f64> {
    let begun = Instant::now();
    host.run("true").await?;
    Ok(begun.elapsed().as_secs_f64() * 1e6)
}

/// Runs a command with captured output; how long it took, in microseconds.
pub(crate) fn on_the_spot(command: &mut Command) -> Result<f64> {
    let begun = Instant::now();
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let time = begun.elapsed().as_secs_f64() * 1e6;
    anyhow::ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(time)
}

/// A container of an image that is there. Ends when it goes.
struct Container(String);

impl Container {
    /// Starts one, or says why not.
    fn start() -> Result<Self, String> {
        if asked(&["version", "--format", "{{.Server.Version}}"]).is_none() {
            return Err("no docker daemon answers".into());
        }
        let images = asked(&["images", "--quiet"]).unwrap_or_default();
        let Some(image) = images.lines().next() else { return Err("docker has no image".into()) };
        let started = asked(&["run", "--detach", "--rm", "--network=none", image, "sleep", "600"]);
        started.map(Self).ok_or_else(|| "the image runs no `sleep`".into())
    }

    /// `docker exec container true`.
    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.args(["exec", &self.0, "true"]);
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        asked(&["kill", &self.0]);
    }
}

/// What docker answers; `None` when it fails.
fn asked(words: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(words).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
