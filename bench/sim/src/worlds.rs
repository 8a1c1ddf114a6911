//! What is simulated: hosts, their programs and what befalls them, each in a fresh process of this program.

use std::io::{self, PipeReader, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use netsplit_netmodel::{Condition, Fault, Jitter, Schedule, Scope};
use netsplit_sim::{Config, End, Exit, Host, HostSpec, Process, Spawn};

use crate::mixed::{self};
use crate::programs;
use crate::web::{self};

/// Hosts of the ring.
pub(crate) const RING: usize = 100;
/// How long it turns.
pub(crate) const RING_TIME: Duration = Duration::from_secs(10);
/// Hosts that do nothing, and for how long.
pub(crate) const IDLE: usize = 1000;
const IDLE_TIME: Duration = Duration::from_secs(3600);
const MIXED_TIME: Duration = Duration::from_millis(400);

/// Simulates the world of this name and prints: events, wall seconds, virtual seconds, the hash of all that happened.
pub(crate) fn simulate(name: &str, seed: &str) -> Result<()> {
    let world: fn() = match name {
        "ring" => ring,
        "web" => web,
        "idle" => idle,
        "one" => one,
        "mixed" => mixed,
        _ => bail!("no world `{name}`"),
    };
    let begun = Instant::now();
    let report = netsplit_sim::run(Config { seed: seed.parse()?, ..Config::default() }, world);
    let wall = begun.elapsed().as_secs_f64();
    match report.end {
        End::Ended(Exit::Code(0)) => {}
        end => bail!("{name}, seed {seed}: {end:?}"),
    }
    println!("{} {wall} {} {:x}", report.events, report.now.as_secs_f64(), report.trace);
    Ok(())
}

/// Each host sends to the next, the last one to the first.
fn ring() {
    let hosts: Vec<_> = (0..RING).map(host).collect();
    let members = hosts.into_iter().enumerate().map(|(at, host)| {
        let next = SocketAddr::new(address((at + 1) % RING).into(), programs::PORT);
        start(host, move || member(next))
    });
    wait(members.collect());
}

#[tokio::main(flavor = "current_thread")]
async fn member(next: SocketAddr) -> Result<()> {
    programs::ring(next, RING_TIME).await
}

fn web() {
    let [server, client] = [0, 1].map(host);
    start(server, web::server);
    wait(vec![start(client, web::client)]);
}

fn idle() {
    #[tokio::main(flavor = "current_thread")]
    async fn sleep() -> Result<()> {
        tokio::time::sleep(IDLE_TIME).await;
        Ok(())
    }
    wait((0..IDLE).map(|at| start(host(at), sleep)).collect());
}

fn one() {
    wait(vec![start(host(0), || Ok(()))]);
}

/// A store on a network that loses and delays; its host loses its power on the way.
fn mixed() {
    let [store, one, other] = [0, 1, 2].map(host);
    let all = [store, one, other].map(Host::index).to_vec();
    let condition = Condition::new().loss(0.05).delay(Duration::from_micros(500));
    let condition = condition.jitter(Jitter::uniform(Duration::from_micros(200)));
    let fault = Fault { scope: Scope::Isolate { hosts: all }, condition, schedule: Schedule::default() };
    let begun = netsplit_sim::network(|net, now, out| net.begin_fault(now, out, 0, fault));
    assert_eq!(begun, Ok(()), "a network may be bad");
    start(store, mixed::store);
    for host in [one, other] {
        start(host, mixed::writer);
        start(host, mixed::threads);
    }
    std::thread::sleep(MIXED_TIME / 2);
    store.power_off();
    std::thread::sleep(MIXED_TIME / 8);
    store.power_on();
    start(store, mixed::store);
    std::thread::sleep(MIXED_TIME / 2);
}

/// The host of this number.
fn host(at: usize) -> Host {
    let address6 = Ipv6Addr::from_bits(0xfd6e_7370 << 96 | (at as u128 + 1));
    Host::add(&HostSpec::new(format!("host{at}"), address(at), address6))
}

fn address(at: usize) -> Ipv4Addr {
    let at = u32::try_from(at).unwrap_or(u32::MAX);
    Ipv4Addr::from_bits(0x0a00_0001 + at)
}

/// A process that runs `main`, and what it says: all of that has been read when it has ended.
fn start(host: Host, main: impl FnOnce() -> Result<()> + Send + 'static) -> (Process, PipeReader) {
    let begin = || -> io::Result<_> {
        let (stdin, _) = io::pipe()?;
        let (said, stdout) = io::pipe()?;
        let stderr = stdout.try_clone()?;
        let main = move || match main() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{error:#}");
                1
            }
        };
        let streams = [stdin.into(), stdout.into(), stderr.into()];
        let process = host.spawn(Spawn::new("program", streams, main))?;
        Ok((process, said))
    };
    begin().expect("a process begins on a host that has power")
}

/// Waits for processes, all of which must succeed.
fn wait(processes: Vec<(Process, PipeReader)>) {
    for (process, mut said) in processes {
        let mut text = String::new();
        let _end = said.read_to_string(&mut text);
        assert_eq!(process.exit(), Some(Exit::Code(0)), "{text}");
    }
}
