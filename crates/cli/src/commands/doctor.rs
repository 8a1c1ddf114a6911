//! `netsplit doctor`: tries what can run here, rather than guess.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use netsplit::HostName;
use netsplit_link::{Config, Link, Priority, Received, SessionId};
use netsplit_model::{Capability, Trouble};
use netsplit_provider::{BedSpec, HostSpec, NetworkSpec, Provider};
use netsplit_report::screen;
use netsplit_wire::message::{Body, Get, Request, tag};
use serde_json::json;

use super::{runtime, settings};
use crate::args::DoctorArgs;
use crate::output::Output;

/// How long a provider may take to make a host.
const TRY_MAX: Duration = Duration::from_secs(30);

/// What a provider can do here.
struct Health {
    name: &'static str,
    /// How long a host took, and which of its folders are read-only; or why there is none.
    host: Result<Tried, Trouble>,
    capabilities: Vec<Capability>,
}

/// What a host was like that was made to see.
struct Tried {
    took: Duration,
    /// Folders that it cannot write to.
    read_only: Vec<String>,
    /// How it is joined to others: `tap`, `packet`; `None`: by another network than ours.
    port: Option<String>,
}

impl Health {
    /// Whether it makes hosts here, if only for tests in Rust.
    fn can_run(&self) -> bool {
        self.host.as_ref().err().is_none_or(|trouble| trouble.name == netsplit::Reason::NotSimulated)
    }
}

pub(crate) fn run(args: &DoctorArgs, output: Output) -> anyhow::Result<ExitCode> {
    let settings = settings(&[], output)?;
    if args.settings {
        for (name, value, origin) in &settings.shown {
            output.out(format!("{name:<18}\t{value:<10}\t{origin}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let asked = args.provider.iter().chain(&args.require).map(String::as_str);
    for name in asked {
        if netsplit_provider::by_name(name).is_none() {
            return Err(netsplit::run::unknown_provider(name).into());
        }
    }
    let names = netsplit_provider::names()
        .iter()
        .filter(|name| args.provider.as_ref().is_none_or(|only| only == *name));
    let mut health = Vec::new();
    for name in names {
        if let Some(provider) = netsplit_provider::by_name(name) {
            health.push(runtime()?.block_on(examine(&*provider)));
        }
    }
    if args.json {
        let all: Vec<_> = health.iter().map(document).collect();
        output.out(serde_json::to_string(&json!({ "netsplit": 1, "type": "doctor", "providers": all }))?);
    } else {
        health.iter().for_each(|health| show(health, output));
    }
    let is_missing = |name: &String| health.iter().any(|health| health.name == name && !health.can_run());
    // What only tests can have runs no scenario: without any other, nothing is right.
    let is_asked_for = args.provider.is_some();
    let none =
        health.iter().all(|health| if is_asked_for { !health.can_run() } else { health.host.is_err() });
    Ok(if none || args.require.iter().any(is_missing) { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

async fn examine(provider: &dyn Provider) -> Health {
    let host = match tokio::time::timeout(TRY_MAX, make_host(provider)).await {
        Ok(host) => host,
        Err(_) => Err(Trouble::new(netsplit::Reason::HostNotReady, "a host did not come up within 30s")),
    };
    Health { name: provider.name(), host, capabilities: provider.capabilities().iter().collect() }
}

/// Makes one host, asks it what is read-only, and takes it down.
async fn make_host(provider: &dyn Provider) -> Result<Tried, Trouble> {
    let here = |error: std::io::Error| {
        Trouble::new(netsplit::Reason::DiskFull, format!("no folder for a try: {error}"))
    };
    let dir = std::env::temp_dir().join(format!("netsplit-doctor-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(here)?;
    let begun = Instant::now();
    let tried = async {
        let bed = provider
            .begin(BedSpec { dir: dir.clone(), run: "doctor".into(), network: NetworkSpec::default() })
            .await?;
        let mut made = None;
        let spec = HostSpec { name: HostName::numbered(1).remove(0), disk: None, networks: Vec::new() };
        bed.add_hosts(vec![spec], &mut |host| made = Some(host)).await?;
        let asked = match made {
            Some(made) => {
                read_only(Link::dial(Config::default(), SessionId([0; 16]), None, made.transport)).await
            }
            None => Err(Trouble::new(netsplit::Reason::HostNotReady, "no host was made")),
        };
        let took = begun.elapsed();
        let ports = bed.network().await.map(|network| network.ports).unwrap_or_default();
        bed.end().await;
        let port = ports.into_iter().find_map(|port| port.kind);
        asked.map(|read_only| Tried { took, read_only, port })
    }
    .await;
    let _only_a_try = std::fs::remove_dir_all(&dir);
    tried
}

/// Asks the host which folders it could not put a layer over.
async fn read_only(link: Link) -> Result<Vec<String>, Trouble> {
    let lost = |error: netsplit_link::LinkError| {
        Trouble::new(netsplit::Reason::HostNotReady, format!("the host went away: {error}"))
    };
    link.connected().await.map_err(lost)?;
    let mut channel = link.open(Priority::Control).await.map_err(lost)?;
    let request = Request::from(Body::Get(Get { path: "/run/netsplit/read-only".into() }));
    channel.sender.send_message(&request).await.map_err(lost)?;
    let mut text = Vec::new();
    loop {
        match channel.receiver.receive().await {
            Received::Data(tag::BYTES, bytes) => text.extend_from_slice(&bytes),
            Received::Message(_) => {}
            Received::Lost(error) => return Err(lost(error)),
            _ => break,
        }
    }
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

fn show(health: &Health, output: Output) {
    match &health.host {
        Ok(Tried { took, read_only, port }) => {
            let can: Vec<_> = health.capabilities.iter().map(ToString::to_string).collect();
            let word = output.paint.help("can run");
            output.out(format!(
                "{:<11}{word}   a host in {:.0} ms · {}",
                health.name,
                took.as_secs_f64() * 1e3,
                can.join(" ")
            ));
            let how = match port.as_deref() {
                Some("tap") => "TAP devices",
                Some("packet") => {
                    "packet sockets; quicker where users may open it: sudo chmod 0666 /dev/net/tun"
                }
                _ => "the kernel",
            };
            output.out(format!("           hosts are joined by {how}"));
            if !read_only.is_empty() {
                output.out(format!(
                    "           read-only on hosts: {} (something is mounted below)",
                    read_only.join(" ")
                ));
            }
        }
        Err(_) if health.can_run() => {
            let can: Vec<_> = health.capabilities.iter().map(ToString::to_string).collect();
            let word = output.paint.help("in tests");
            output.out(format!("{:<11}{word}  in virtual time · {}", health.name, can.join(" ")));
        }
        Err(trouble) => {
            output.out(format!("{:<11}{}", health.name, output.paint.error("cannot run")));
            let text = screen::trouble(trouble, &[], output.paint);
            for line in text.trim_end().lines() {
                output.out(format!("           {line}"));
            }
        }
    }
}

fn document(health: &Health) -> serde_json::Value {
    match &health.host {
        Ok(Tried { took, read_only, port }) => json!({
            "name": health.name, "can": true, "seconds": took.as_secs_f64(), "read_only": read_only, "port": port,
            "capabilities": health.capabilities,
        }),
        Err(_) if health.can_run() => {
            json!({ "name": health.name, "can": true, "only_in": "tests", "capabilities": health.capabilities })
        }
        Err(trouble) => json!({ "name": health.name, "can": false, "reason": trouble }),
    }
}
