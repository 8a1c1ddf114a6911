//! What the emulated network costs: a stream beside a bare veth pair, how exact a delay is, how soon 100 hosts are cut.
//!
//! Measured in a network namespace of its own, and in a user namespace unless this is root: hosts are namespaces here, and
//! the fabric is a thread. Root has TAP devices and a real-time thread; others have TAP devices where `/dev/net/tun` may be
//! opened, else packet sockets. What hosts of a testbed would get has the plain keys, the other kind keys of its own.

mod world;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netsplit_fabric::{Change, PortKind};
use netsplit_netmodel::{Behaviour, Condition, Fault, Faults, LinkId, Passage, Schedule, Scope};

use crate::figures::{Bar, figure, machine, median, quantile, raw, skipped};
use crate::programs;
use world::{Host, World};

const ROUNDS: usize = 5;
/// Short streams in turns, and many: what else the machine does meets both alike.
const STREAMS: usize = 20;
const STREAM_MS: &str = "300";
const DELAY: Duration = Duration::from_millis(10);
const DATAGRAMS: u64 = 1000;
const HOSTS: usize = 100;
const MS: f64 = 1e3;

/// Runs [`inside`] in namespaces.
pub(crate) fn run() -> Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    let user: &[&str] = if is_root { &[] } else { &["--user", "--map-root-user"] };
    let mut command = Command::new("unshare");
    command.args(user).arg("--net").arg(std::env::current_exe()?).arg("fabric-inside");
    ensure!(command.status().context("unshare")?.success(), "no figures of the fabric");
    Ok(())
}

/// All of it, for each kind of port that can be had here.
pub(crate) fn inside() -> Result<()> {
    match world::no_tap() {
        None => {
            measure(PortKind::Tap, "")?;
            measure(PortKind::Packet, ".packet")
        }
        Some(reason) => {
            measure(PortKind::Packet, "")?;
            skipped("fabric.vs_veth.tap", &reason);
            Ok(())
        }
    }
}

fn measure(kind: PortKind, suffix: &str) -> Result<()> {
    let world = World::new(kind, 2)?;
    println!("# ── {kind:?} ports: {}", machine());
    let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
    let veth = world::veth_pair()?;
    throughput([a, b], &veth, suffix)?;
    raw(
        "error of no delay over the veth, p50 p99",
        &p50_p99(&late(&veth[0], &veth[1], Duration::ZERO)?),
        "ms",
    );
    raw("error of no delay, p50 p99", &p50_p99(&late(a, b, Duration::ZERO)?), "ms");
    world.set("a", "b", Condition::new().delay(DELAY))?;
    delay(&world, suffix)?;
    cut(&World::new(kind, HOSTS)?, suffix)
}

fn throughput(ours: [&Host; 2], veth: &[Host; 2], suffix: &str) -> Result<()> {
    let (mut fabric, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=STREAMS {
        let (one, other) = (stream(ours[0], ours[1])?, stream(&veth[0], &veth[1])?);
        // The first round finds buffers that were never touched.
        if round > 0 {
            fabric.push(one);
            bare.push(other);
            ratios.push(one / other);
        }
    }
    raw("ours", &fabric, "Gbit/s");
    raw("a bare veth pair", &bare, "Gbit/s");
    raw("ours / veth, each round", &ratios, "times");
    figure(&format!("fabric.vs_veth{suffix}"), median(&ratios), "times", &Bar::AtLeast(0.6));
    Ok(())
}

/// One TCP stream from host to host, between two processes: Gbit/s.
fn stream(from: &Host, to: &Host) -> Result<f64> {
    let this = std::env::current_exe()?;
    let mut drain = Command::new(&this);
    drain.args(["drain", &to.v4.to_string()]).stdout(Stdio::piped());
    let mut drain = to.run(|| drain.spawn())??;
    let mut said = BufReader::new(drain.stdout.take().context("no stdout")?).lines();
    let address = said.next().context("it does not listen")??;
    let mut pour = Command::new(&this);
    pour.args(["pour", &address, STREAM_MS]);
    let poured = from.run(|| pour.status())??;
    ensure!(poured.success() && drain.wait()?.success(), "the stream broke");
    Ok(said.next().context("it does not say how much came")??.parse()?)
}

fn delay(world: &World, suffix: &str) -> Result<()> {
    let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for _round in 0..ROUNDS {
        let late = late(a, b, DELAY)?;
        p50.push(median(&late));
        p99.push(quantile(&late, 0.99));
        raw("p50 p90 p99 max", &[0.5, 0.9, 0.99, 1.0].map(|share| quantile(&late, share)), "ms");
    }
    println!("# from just before a datagram is sent to just after it was received, beyond {DELAY:?}");
    let report = world.fabric.report()?;
    println!("# the fabric itself, {:?}: {:?}", report.scheduling, report.lateness);
    figure(&format!("fabric.delay.p50{suffix}"), median(&p50), "ms", &Bar::Below(0.1));
    figure(&format!("fabric.delay.p99{suffix}"), median(&p99), "ms", &Bar::Below(0.5));
    Ok(())
}

/// How much later than `delay` after they were sent spaced datagrams are received, in milliseconds.
fn late(from: &Host, to: &Host, delay: Duration) -> Result<Vec<f64>> {
    let far = to.run(|| UdpSocket::bind((to.v4, 0)))??;
    far.set_read_timeout(Some(Duration::from_secs(5)))?;
    let address = far.local_addr()?;
    let near = from.run(|| UdpSocket::bind((from.v4, 0)))??;
    // Before the first, neighbours ask for each other.
    near.send_to(&[0; 16], address)?;
    far.recv(&mut [0; 16])?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<()> {
            let mut dice = 0x2545_f491_4f6c_dd1d_u64;
            for _datagram in 0..DATAGRAMS {
                dice = programs::throw(dice);
                std::thread::sleep(Duration::from_micros(500 + dice % 3000));
                near.send_to(&programs::now().as_nanos().to_ne_bytes(), address)?;
            }
            Ok(())
        });
        let mut late = Vec::new();
        for _datagram in 0..DATAGRAMS {
            let mut sent = [0; 16];
            far.recv(&mut sent)?;
            let took = programs::now().as_nanos() - u128::from_ne_bytes(sent);
            late.push((took as f64 / 1e9 - delay.as_secs_f64()) * MS);
        }
        sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(late)
    })
}

fn p50_p99(late: &[f64]) -> [f64; 2] {
    [0.5, 0.99].map(|share| quantile(late, share))
}

/// Cuts half of the hosts from the other half and heals them, each read back.
fn cut(world: &World, suffix: &str) -> Result<()> {
    let mut faults = Faults::new(1);
    for _host in &world.hosts {
        faults.add_host();
    }
    // Every link has been used.
    let every = (0..HOSTS).map(|host| vec![host]).collect();
    steps(world, &mut faults, 0, Scope::Partition { groups: every })?;
    let (mut cuts, mut heals, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for id in 1..=ROUNDS as u64 {
        let halves = vec![(0..HOSTS / 2).collect(), (HOSTS / 2..HOSTS).collect()];
        let [cut, heal] = steps(world, &mut faults, id, Scope::Partition { groups: halves })?;
        cuts.push(cut);
        heals.push(heal);
        both.push(cut + heal);
    }
    raw("cut, read back", &cuts, "ms");
    raw("heal, read back", &heals, "ms");
    figure(&format!("fabric.cut100{suffix}"), median(&both), "ms", &Bar::Below(20.0));
    Ok(())
}

/// How long a cut took, and its end, in milliseconds.
fn steps(world: &World, faults: &mut Faults, id: u64, scope: Scope) -> Result<[f64; 2]> {
    let now = Duration::from_secs(id);
    let begun = Instant::now();
    faults.begin(
        now,
        id,
        Fault { scope, condition: Condition::new().cut(), schedule: Schedule::default() },
    )?;
    enforce(world, faults, now, Passage::Cut)?;
    let cut = begun.elapsed();
    faults.heal(now, id)?;
    enforce(world, faults, now, Passage::Open)?;
    Ok([cut, begun.elapsed() - cut].map(|time| time.as_secs_f64() * MS))
}

/// Sets the links that changed, and reads back that each does what it is to.
fn enforce(world: &World, faults: &mut Faults, now: Duration, passage: Passage) -> Result<()> {
    let name = |host: usize| world.hosts[host].name.as_str();
    let changed = faults.advance(now).links;
    ensure!(changed.len() >= HOSTS * HOSTS / 2, "{} links changed", changed.len());
    let change = |(link, behaviour): &(LinkId, Behaviour)| Change {
        from: name(link.from).to_owned(),
        to: name(link.to).to_owned(),
        behaviour: *behaviour,
    };
    world.fabric.set(changed.iter().map(change).collect())?;
    let report = world.fabric.report()?;
    let in_force: HashMap<_, _> =
        report.links.iter().map(|link| ((link.from.as_str(), link.to.as_str()), link.behaviour)).collect();
    for (link, behaviour) in &changed {
        let found = in_force.get(&(name(link.from), name(link.to)));
        ensure!(found == Some(behaviour) && behaviour.passage() == passage, "{link:?}: {found:?}");
    }
    Ok(())
}
