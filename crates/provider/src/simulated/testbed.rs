//! The hosts of a simulation as a testbed: made, switched off and on, connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netsplit_agent::Settings;
use netsplit_model::{HostName, Reason, Teardown, Trouble};
use netsplit_sim::Host;
use netsplit_sim::net::NicSpec;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::agent::{self, Started};
use super::network::Network;
use crate::bed::{Bed, BedEvent, BoxFuture, BoxTransport, HostSpec, MadeHost, NetworkSpec, Power};
use crate::machine::{ClockFault, DiskFault};
use crate::network::{CaptureReport, CaptureSpec, FaultSpec, NetworkReport};
use crate::plan::{HostPlan, NicPlan, Plan};

/// The shortest time until faults are asked again what they did: that of a timer of tokio's.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A testbed of simulated hosts.
#[derive(Debug)]
pub(super) struct Testbed {
    shared: Arc<Shared>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<BedEvent>>,
    watching: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    tell: mpsc::UnboundedSender<BedEvent>,
    /// A fault began or was healed.
    faults_changed: Notify,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    hosts: Vec<Placed>,
    network: Network,
    disk_faults: Vec<DiskFaultInForce>,
    /// Faults of disks so far.
    disk_faults_ever: u32,
}

#[derive(Debug)]
struct DiskFaultInForce {
    id: u32,
    host: HostName,
    fault: DiskFault,
}

#[derive(Debug)]
struct Placed {
    name: HostName,
    host: Host,
    /// On each of its networks.
    addresses: Vec<(Ipv4Addr, Ipv6Addr)>,
    generation: u32,
    power: Is,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Up,
    Paused,
    Down,
}

impl Testbed {
    /// A testbed without hosts. Must be called in a tokio runtime.
    pub(super) fn begin(network: NetworkSpec) -> Result<Self, Trouble> {
        let NetworkSpec { networks, routers, .. } = network;
        #[expect(
            clippy::disallowed_methods,
            reason = "one death for each time that a host came up, and turns of faults"
        )]
        let (tell, events) = mpsc::unbounded_channel();
        netsplit_sim::network(|net, _, _| networks.iter().for_each(|name| net.add_network(name)));
        let plan = Plan::new(networks, routers)?;
        let mut network = Network::default();
        for router in plan.routers() {
            network.add_router(&router)?;
        }
        let state = State { plan, hosts: Vec::new(), network, disk_faults: Vec::new(), disk_faults_ever: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), tell, faults_changed: Notify::new() });
        let watching = tokio::spawn(Arc::clone(&shared).watch_faults());
        Ok(Self { shared, events: tokio::sync::Mutex::new(events), watching })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody listens any more when the test is over.
    fn tell(&self, event: BedEvent) {
        let _over = self.tell.send(event);
    }

    /// Makes hosts, with all names on all of them; their addresses and agents follow.
    fn place(&self, specs: Vec<HostSpec>) -> Result<Vec<HostName>, Trouble> {
        let mut state = self.lock();
        let (plans, names) = state.plan.add(specs)?;
        let added: Vec<_> = plans.iter().map(|plan| plan.name.clone()).collect();
        for HostPlan { name, nics, routes, disk } in plans {
            let addresses = nics.iter().map(|nic| (nic.v4, nic.v6)).collect();
            let nics =
                nics.into_iter().map(|NicPlan { network, v4, v6 }| NicSpec { network, v4, v6 }).collect();
            let host = Host::add(&netsplit_sim::HostSpec { name: name.to_string(), nics, routes, disk });
            let what = || format!("make host {name}");
            host.write_file("/etc/hostname", format!("{name}\n").as_bytes())
                .map_err(|error| failed(&what(), &error))?;
            state.network.add_host(host.index(), name.as_str());
            state.hosts.push(Placed { name, host, addresses, generation: 0, power: Is::Down });
        }
        for placed in &state.hosts {
            let written = placed.host.write_file("/etc/hosts", names.as_bytes());
            written.map_err(|error| failed(&format!("name hosts on {}", placed.name), &error))?;
        }
        Ok(added)
    }

    /// Has a host that is down come up, with an agent.
    fn come_up(self: &Arc<Self>, name: &HostName) -> Result<MadeHost, Trouble> {
        let what = format!("start host {name}");
        let mut state = self.lock();
        let placed = state.find(name, &what)?;
        if placed.power != Is::Down {
            return Err(refused(&what, "it is running"));
        }
        if placed.generation > 0 {
            placed.host.power_on();
        }
        placed.generation += 1;
        placed.power = Is::Up;
        let started = agent::start(placed.host, placed.settings());
        let Started { transport, process, words } = started.map_err(|error| {
            placed.switch_off();
            failed(&what, &error)
        })?;
        let (name, generation, (address, address6)) = (name.clone(), placed.generation, placed.addresses[0]);
        let (shared, died) = (Arc::clone(self), name.clone());
        tokio::spawn(async move {
            let words = words.last().await;
            let how = match process.exit() {
                Some(netsplit_sim::Exit::Code(code)) => format!("its agent exited {code}"),
                Some(netsplit_sim::Exit::Signal(signal)) => format!("its agent was ended by signal {signal}"),
                None => "its agent closed its output".to_owned(),
            };
            let reason = if words.is_empty() { how } else { format!("{how}: {words}") };
            shared.on_agent_end(died, generation, reason);
        });
        Ok(MadeHost { name, address, address6, generation, transport })
    }

    /// A host without its agent is no host any more, as one without its first process.
    fn on_agent_end(&self, name: HostName, generation: u32, reason: String) {
        let mut state = self.lock();
        let found = state.hosts.iter_mut().find(|placed| placed.name == name);
        let Some(placed) = found.filter(|placed| placed.generation == generation) else { return };
        if placed.power != Is::Down {
            placed.switch_off();
            self.tell(BedEvent::HostDied(name, reason));
        }
    }

    fn power(&self, name: &HostName, power: Power) -> Result<(), Trouble> {
        let verb = match power {
            Power::Kill => "kill",
            Power::Pause => "pause",
            Power::Resume => "resume",
        };
        let what = format!("{verb} host {name}");
        let mut state = self.lock();
        let placed = state.running(name, &what)?;
        match (power, placed.power) {
            (Power::Kill, _) => placed.switch_off(),
            (Power::Pause, Is::Paused) => return Err(refused(&what, "it is paused")),
            (Power::Resume, Is::Up) => return Err(refused(&what, "it is not paused")),
            (Power::Pause, _) => placed.pause(true),
            (Power::Resume, _) => placed.pause(false),
        }
        Ok(())
    }

    /// Tells what faults do by themselves, as soon as they do.
    async fn watch_faults(self: Arc<Self>) {
        loop {
            for turned in self.lock().network.news() {
                self.tell(BedEvent::FaultTurned(turned));
            }
            let changed = self.faults_changed.notified();
            let turns_at = netsplit_sim::network(|net, _, _| net.fault_deadline());
            let Some(at) = turns_at else {
                changed.await;
                continue;
            };
            // What turns at this very instant may not have done so yet.
            let until = at.saturating_sub(netsplit_sim::now()).max(LOOK_AGAIN);
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(until) => {}
            }
        }
    }
}

impl State {
    fn find(&mut self, name: &HostName, what: &str) -> Result<&mut Placed, Trouble> {
        let found = self.hosts.iter_mut().find(|placed| placed.name == *name);
        found.ok_or_else(|| refused(what, &format!("no host `{name}`")))
    }

    /// Has wrong with a host's disk what its faults say together, the newest first where they differ.
    fn damage(&mut self, name: &HostName) -> Result<(), Trouble> {
        let mut faults = netsplit_sim::disk::Faults::default();
        for known in self.disk_faults.iter().filter(|known| known.host == *name) {
            match known.fault {
                DiskFault::TornWrites => faults.torn = true,
                DiskFault::Full => faults.full = true,
                DiskFault::Errors { share } => {
                    (faults.read_errors, faults.write_errors, faults.sync_errors) = (share, share, share);
                }
                DiskFault::Slow { latency } => {
                    faults.latency = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
                }
                DiskFault::Stuck => faults.stuck = true,
            }
        }
        self.find(name, &format!("damage the disk of {name}"))?.host.set_disk_faults(faults);
        Ok(())
    }

    fn running(&mut self, name: &HostName, what: &str) -> Result<&mut Placed, Trouble> {
        let placed = self.find(name, what)?;
        if placed.power == Is::Down { Err(refused(what, "it is down")) } else { Ok(placed) }
    }
}

impl Placed {
    fn settings(&self) -> Settings {
        let both = |(v4, v6): &(Ipv4Addr, Ipv6Addr)| [IpAddr::from(*v4), IpAddr::from(*v6)];
        let addresses = self.addresses.iter().flat_map(both).collect();
        Settings { host: self.name.to_string(), generation: self.generation, addresses }
    }

    fn pause(&mut self, is_paused: bool) {
        self.host.pause(is_paused);
        self.power = if is_paused { Is::Paused } else { Is::Up };
    }

    /// What comes up after it is not paused.
    fn switch_off(&mut self) {
        if self.power == Is::Paused {
            self.host.pause(false);
        }
        self.host.power_off();
        self.power = Is::Down;
    }
}

impl Bed for Testbed {
    fn add_hosts<'a>(
        &'a self,
        hosts: Vec<HostSpec>,
        made: &'a mut (dyn FnMut(MadeHost) + Send),
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            for name in self.shared.place(hosts)? {
                made(self.shared.come_up(&name)?);
            }
            Ok(())
        })
    }

    fn connect<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<BoxTransport, Trouble>> {
        Box::pin(async move {
            let what = format!("connect to host {host}");
            let mut state = self.shared.lock();
            let placed = state.running(host, &what)?;
            let Started { transport, words, .. } =
                agent::start(placed.host, placed.settings()).map_err(|error| failed(&what, &error))?;
            // Its client sees that it ends, and nobody else has it.
            tokio::spawn(words.last());
            Ok(transport)
        })
    }

    /// To ask would be something that happens for ever, where nothing else ever does again.
    fn falls_silent(&self) -> bool {
        false
    }

    fn power<'a>(&'a self, host: &'a HostName, power: Power) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move { self.shared.power(host, power) })
    }

    fn start<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<MadeHost, Trouble>> {
        Box::pin(async move { self.shared.come_up(host) })
    }

    fn change_clock<'a>(
        &'a self,
        host: &'a HostName,
        fault: ClockFault,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let host = self.shared.lock().find(host, &format!("change the clock of {host}"))?.host;
            match fault {
                ClockFault::Jump { nanos } => host.jump_clock(nanos),
                ClockFault::Skew { nanos } => host.skew_clock(nanos),
                ClockFault::Drift { ppm } => host.drift_clock(ppm),
            }
            Ok(())
        })
    }

    fn begin_disk_fault<'a>(
        &'a self,
        host: &'a HostName,
        fault: DiskFault,
    ) -> BoxFuture<'a, Result<u32, Trouble>> {
        Box::pin(async move {
            let mut state = self.shared.lock();
            state.find(host, &format!("damage the disk of {host}"))?;
            state.disk_faults_ever += 1;
            let id = state.disk_faults_ever;
            state.disk_faults.push(DiskFaultInForce { id, host: host.clone(), fault });
            state.damage(host)?;
            Ok(id)
        })
    }

    fn heal_disk_fault(&self, fault: u32) -> BoxFuture<'_, Result<(), Trouble>> {
        Box::pin(async move {
            let mut state = self.shared.lock();
            let place = state.disk_faults.iter().position(|known| known.id == fault);
            let Some(place) = place else { return Ok(()) };
            let DiskFaultInForce { host, .. } = state.disk_faults.remove(place);
            state.damage(&host)
        })
    }

    fn begin_fault<'a>(&'a self, fault: FaultSpec) -> BoxFuture<'a, Result<u32, Trouble>> {
        Box::pin(async move {
            let begun = self.shared.lock().network.begin(fault);
            self.shared.faults_changed.notify_one();
            begun
        })
    }

    fn heal(&self, fault: u32) -> BoxFuture<'_, Result<(), Trouble>> {
        Box::pin(async move {
            let healed = self.shared.lock().network.heal(fault);
            self.shared.faults_changed.notify_one();
            healed
        })
    }

    fn network(&self) -> BoxFuture<'_, Result<NetworkReport, Trouble>> {
        Box::pin(async move {
            let mut state = self.shared.lock();
            let State { hosts, network, .. } = &mut *state;
            let is_up = |name: &str| {
                hosts.iter().any(|placed| placed.name.as_str() == name && placed.power != Is::Down)
            };
            Ok(network.report(is_up))
        })
    }

    fn capture(&self, capture: CaptureSpec) -> BoxFuture<'_, Result<u32, Trouble>> {
        Box::pin(async move { self.shared.lock().network.capture(capture) })
    }

    fn end_capture(&self, capture: u32) -> BoxFuture<'_, Result<CaptureReport, Trouble>> {
        Box::pin(async move { self.shared.lock().network.end_capture(capture) })
    }

    fn event(&self) -> BoxFuture<'_, BedEvent> {
        Box::pin(async move {
            match self.events.lock().await.recv().await {
                Some(event) => event,
                // Everything was said; who asks again waits for ever, as for any event that does not come.
                None => std::future::pending().await,
            }
        })
    }

    fn keep(&self) -> BoxFuture<'_, Result<(), Trouble>> {
        Box::pin(async {
            Err(Trouble::new(Reason::MissingCapability, "simulated hosts cannot be kept")
                .because("a simulation ends with its process")
                .guess("the same seed again, up to where it failed"))
        })
    }

    fn end(&self) -> BoxFuture<'_, Teardown> {
        Box::pin(async move {
            self.watching.abort();
            let mut state = self.shared.lock();
            for placed in &mut state.hosts {
                if placed.power != Is::Down {
                    placed.switch_off();
                }
            }
            state.network.end_captures();
            drop(state);
            self.shared.tell(BedEvent::Ended("it was ended".to_owned()));
            Teardown { ok: true, errors: Vec::new() }
        })
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

fn refused(what: &str, why: &str) -> Trouble {
    Trouble::new(Reason::HostNotReady, format!("{what}: {why}"))
}

fn failed(what: &str, error: &std::io::Error) -> Trouble {
    refused(what, &error.to_string())
}
