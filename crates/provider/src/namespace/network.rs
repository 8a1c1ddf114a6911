//! The network's process: the fabric, the table of faults, and who asked for what. Conditions, links and times are
//! decided in `netmodel`; packets pass in the fabric's own thread.

mod captures;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use netsplit_fabric::{
    CaptureFilter as FabricFilter, CaptureSpec, Change, Fabric, Limits, LinkReport as FabricLink, Mac, Port,
    PortError, PortKind, Report, Scheduling,
};
use netsplit_netmodel::nat::Side;
use netsplit_netmodel::{Advance, Behaviour, FaultState, Faults, LinkId, Scope, Topology};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use rustix::process::Pid;
use serde::Serialize;

use self::captures::Captures;
use super::control::{
    self, Ask, Attach, Capture, Failure, Fault, Heal, REQUEST_MAX, Reply, Request, Say, State, Step,
    StepError, Turned,
};
use super::net::Netlink;
use crate::network::{
    CaptureFilter, FaultReport, FaultSpec, LatenessReport, LinkReport, NetworkReport, PortReport,
};
use crate::plan::RouterPlan;
use crate::register::{self, Register, TEST, nanos, shortened};
use crate::sys;

/// Runs the network until the stage, which is pid 1 of our namespace, has gone.
pub(super) fn run(control: OwnedFd, seed: u64) -> ! {
    sys::close_all_but(&[control.as_raw_fd()]);
    let _only_for_ps = rustix::thread::set_name(c"netsplit-net");
    // Never dropped: that would wait for captures whose files take no bytes.
    let done = Network::new(seed).and_then(|network| std::mem::ManuallyDrop::new(network).serve(&control));
    if let Err(error) = &done {
        let say = Say::Failed(Failure::of(super::diagnose::RUN_NETWORK, error));
        let _stage_gone = control::send(&control, &Reply { id: 0, say: Some(say) }, None);
    }
    sys::exit_now(done.is_err().into())
}

struct Network {
    begun: Instant,
    fabric: Fabric,
    netlink: Netlink,
    /// Outer ends of hosts whose port is a packet socket, by its name.
    veths: BTreeMap<String, u32>,
    /// The table's indexes are places in here.
    stations: Vec<Station>,
    table: Faults,
    faults: Register,
    captures: Captures,
    /// What faults did by themselves, or by others than the test; not told yet.
    news: Vec<(u32, State)>,
}

/// A host, or a router that is none.
struct Station {
    name: String,
    ports: Vec<At>,
}

/// One way of a station into one network.
#[derive(Clone, PartialEq, Eq)]
struct At {
    network: String,
    port: String,
}

impl Network {
    fn new(seed: u64) -> io::Result<Self> {
        Ok(Self {
            begun: Instant::now(),
            fabric: Fabric::start(seed, Limits::default()).map_err(whole)?,
            netlink: Netlink::open()?,
            veths: BTreeMap::new(),
            stations: Vec::new(),
            table: Faults::new(seed),
            faults: Register::default(),
            captures: Captures::default(),
            news: Vec::new(),
        })
    }

    fn serve(&mut self, control: &OwnedFd) -> io::Result<()> {
        loop {
            let is_asked = self.wait(control)?;
            for (id, answer) in self.captures.settle(Instant::now()) {
                reply(control, id, answer)?;
            }
            if !is_asked {
                self.tell(control)?;
                continue;
            }
            let next = control::receive::<Request>(control, RecvFlags::empty(), REQUEST_MAX)?;
            let Some((request, fd)) = next else { return Ok(()) };
            let Request { id, ask: Some(ask) } = request else { continue };
            if let Some(answer) = self.obey(id, ask, fd) {
                reply(control, id, answer)?;
            }
            self.say_news(control)?;
        }
    }

    /// `false`: nobody asked, and the time has come for something else.
    fn wait(&mut self, control: &OwnedFd) -> io::Result<bool> {
        let fault = self.table.deadline().map(|at| at.saturating_sub(self.begun.elapsed()));
        let capture = self.captures.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = fault.into_iter().chain(capture).min();
        let timeout = timeout.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let ends: Vec<_> = self.captures.fds().collect();
        let fabric = self.fabric.ended();
        let mut fds = vec![PollFd::new(control, PollFlags::IN), PollFd::new(&fabric, PollFlags::IN)];
        fds.extend(ends.iter().map(|end| PollFd::new(end, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let [is_asked, has_ended] = [0, 1].map(|fd: usize| !fds[fd].revents().is_empty());
        if has_ended {
            return Err(io::Error::other(self.fabric.why_ended()));
        }
        Ok(is_asked)
    }

    /// Does what faults do by themselves, and says so.
    fn tell(&mut self, control: &OwnedFd) -> io::Result<()> {
        self.catch_up();
        self.say_news(control)
    }

    /// Does what faults do by themselves. Links that did not change, which nobody asked for just now, are those that a
    /// report says were not read back.
    fn catch_up(&mut self) {
        let _seen_in_reports = self.advance();
    }

    fn say_news(&mut self, control: &OwnedFd) -> io::Result<()> {
        for (id, state) in std::mem::take(&mut self.news) {
            let turned = Turned { id, state: state.into() };
            control::send(control, &Reply { id: 0, say: Some(Say::Turned(turned)) }, None)?;
        }
        Ok(())
    }

    /// `None`: the answer comes later.
    fn obey(&mut self, id: u64, ask: Ask, fd: Option<OwnedFd>) -> Option<Result<u32, StepError>> {
        Some(match (ask, fd) {
            (Ask::EndCapture(capture), Some(file)) => {
                return self.captures.end(&self.fabric, capture, id, file).err().map(Err);
            }
            (Ask::Attach(attach), Some(agent)) => self.attach(&attach, agent.as_fd()).map(|()| 0),
            (Ask::Detach(name), _) => self.detach(&name).map(|()| 0),
            (Ask::Fault(Fault { client, spec }), _) => self.begin(client, &spec),
            (Ask::Heal(Heal { client, id }), _) => self.heal(client, id).map(|()| 0),
            (Ask::Gone(client), _) => {
                self.captures.leave(&self.fabric, client);
                self.heal_all_of(client).map(|()| 0)
            }
            (Ask::Router(plan), _) => self.router(&plan).map(|()| 0),
            (Ask::Report(_), Some(file)) => self.report().and_then(|report| write(file, &report)).map(|()| 0),
            (Ask::Capture(Capture { client, filter }), Some(file)) => {
                self.capture(client, &filter, file.into())
            }
            _ => Err(io::Error::other("no such question")).step("ask the network's process"),
        })
    }

    // ── hosts ──

    /// A pidfd stands for its process's namespaces (Linux 5.8).
    fn attach(&mut self, attach: &Attach, agent: BorrowedFd<'_>) -> Result<(), StepError> {
        let mac = attach.hardware.as_slice().try_into().map(Mac).map_err(whole);
        let mac = mac.step("read a hardware address")?;
        let at = self.at(&attach.name, &attach.network);
        let port = match Port::tap(&at.port, &attach.device, mac, Some(agent)) {
            Err(PortError::NoTun { .. }) => self.veth(attach, &at.port, mac)?,
            port => port.map_err(whole).step("make a network port")?,
        };
        self.fabric.attach(port.on(&attach.network)).map_err(whole).step("attach a network port")?;
        self.station(&attach.name, [at])
    }

    /// The port of a host on a network: on its first the host's name.
    fn at(&self, host: &str, network: &str) -> At {
        let ports = self.stations.iter().find(|station| station.name == host).map(|station| &station.ports);
        let known = ports.into_iter().flatten().find(|at| at.network == network);
        known.cloned().unwrap_or_else(|| At {
            network: network.to_owned(),
            port: if ports.is_none() { host.to_owned() } else { format!("{host}@{network}") },
        })
    }

    /// Notes ports of a host or router, and has in force for them what is for all.
    fn station(&mut self, name: &str, ports: impl IntoIterator<Item = At>) -> Result<(), StepError> {
        let index = self.stations.iter().position(|station| station.name == name).unwrap_or_else(|| {
            self.stations.push(Station { name: name.to_owned(), ports: Vec::new() });
            self.table.add_host()
        });
        for at in ports {
            if !self.stations[index].ports.contains(&at) {
                self.stations[index].ports.push(at);
            }
        }
        // Who is isolated is isolated from the new one, too.
        self.advance()
    }

    fn router(&mut self, plan: &str) -> Result<(), StepError> {
        const STEP: &str = "make a router";
        let plan: RouterPlan = serde_json::from_str(plan).map_err(whole).step(STEP)?;
        let spec = plan.spec().ok_or(io::ErrorKind::InvalidInput).step(STEP)?;
        let sides = [Side::Outside, Side::Inside].map(|side| spec.port_name(side));
        self.fabric.add_box(spec).map_err(whole).step(STEP)?;
        let networks = [plan.outside.0, plan.inside.0];
        let ports = networks.into_iter().zip(sides).map(|(network, port)| At { network, port });
        self.station(&plan.name, ports)
    }

    /// Where no TAP device can be had.
    fn veth(&mut self, attach: &Attach, name: &str, mac: Mac) -> Result<Port, StepError> {
        const STEP: &str = "make a network port";
        let outer = &attach.outer;
        let pid = Pid::from_raw(attach.pid).ok_or(io::ErrorKind::InvalidInput).step(STEP)?;
        let index = self.netlink.veth(outer, 0, pid, &attach.device, mac.0).step(STEP)?;
        self.veths.insert(name.to_owned(), index);
        // Our own stack would speak on it unasked. A kernel without IPv6 has no such file.
        let _no_ipv6 = std::fs::write(format!("/proc/sys/net/ipv6/conf/{outer}/disable_ipv6"), "1");
        Port::packet(name, outer, mac).map_err(whole).step(STEP)
    }

    /// At once, rather than when the kernel gets round to it: an open TAP device would keep its namespace.
    fn detach(&mut self, name: &str) -> Result<(), StepError> {
        let station = self.stations.iter().find(|station| station.name == name);
        for At { port, .. } in station.iter().flat_map(|station| &station.ports) {
            self.fabric.detach(port).map_err(whole).step("detach a network port")?;
            if let Some(index) = self.veths.remove(port) {
                // It went with its host's namespace.
                let _gone_already = self.netlink.delete(index);
            }
        }
        Ok(())
    }

    // ── faults ──

    fn begin(&mut self, client: u64, spec: &str) -> Result<u32, StepError> {
        const STEP: &str = super::diagnose::BEGIN_FAULT;
        let spec: FaultSpec = serde_json::from_str(spec).map_err(whole).step(STEP)?;
        // What is over by now is not in force, and its name is free.
        self.catch_up();
        let id = self.faults.next(&spec).map_err(io::Error::other).step(STEP)?;
        let scope = spec.fault.scope.clone().try_map(|name| self.index(&name)).step(STEP)?;
        self.check_links(&scope).step(STEP)?;
        let fault = netsplit_netmodel::Fault {
            scope,
            condition: spec.fault.condition,
            schedule: spec.fault.schedule,
        };
        let at = self.begun.elapsed();
        self.table.begin(at, id.into(), fault).map_err(whole).step(STEP)?;
        self.faults.add(id, client, at, spec);
        if let Err(error) = self.advance() {
            // Nobody would have its number.
            let _first_error_counts = self.take_out(id);
            return Err(error);
        }
        // Who asked for it learns it from the answer.
        self.news.retain(|(turned, _)| *turned != id);
        if client != TEST {
            self.news.push((id, State::InForce));
        }
        Ok(id)
    }

    fn index(&self, name: &str) -> io::Result<usize> {
        let known = self.stations.iter().position(|station| station.name == name);
        known.ok_or_else(|| io::Error::other(format!("no host `{name}` has come up")))
    }

    fn check_links(&self, scope: &Scope) -> io::Result<()> {
        let links = scope.links(&Topology::new(self.stations.len())).map_err(whole)?;
        register::lost(scope, &links, |link| !self.pairs(link).is_empty())
            .map_or(Ok(()), |link| refuse(self.apart(link)))
    }

    fn apart(&self, link: LinkId) -> String {
        let [from, to] = [link.from, link.to].map(|index| &*self.stations[index].name);
        register::apart(from, to)
    }

    fn heal(&mut self, client: u64, id: u32) -> Result<(), StepError> {
        const STEP: &str = super::diagnose::HEAL_FAULT;
        self.faults.check(id).map_err(io::Error::other).step(STEP)?;
        let done = self.take_out(id);
        if client != TEST {
            self.news.push((id, State::Ended));
        }
        done
    }

    fn take_out(&mut self, id: u32) -> Result<(), StepError> {
        self.faults.remove(id);
        // One whose time was over at this very moment is healed, too.
        let _ended_already = self.table.heal(self.begun.elapsed(), id.into());
        let done = self.advance();
        self.news.retain(|(turned, _)| *turned != id);
        done
    }

    fn heal_all_of(&mut self, client: u64) -> Result<(), StepError> {
        let ids = self.faults.ending_with(client);
        // All of them, and then the first error.
        ids.into_iter().map(|id| self.heal(client, id)).fold(Ok(()), Result::and)
    }

    /// Brings the fabric to what the table wants by now, reads that back, and notes what faults did by themselves.
    fn advance(&mut self) -> Result<(), StepError> {
        const STEP: &str = super::diagnose::CHANGE_NETWORK;
        let Advance { links, turns } = self.table.advance(self.begun.elapsed());
        // Whatever comes of the links: nobody would hear of these again.
        for turn in turns {
            let id = u32::try_from(turn.id).map_err(io::Error::other).step(STEP)?;
            let state = match turn.state {
                FaultState::InForce => State::InForce,
                FaultState::Lifted | FaultState::Waiting => State::Lifted,
                FaultState::Ended => State::Ended,
            };
            self.news.push((id, state));
            if state == State::Ended {
                self.faults.remove(id);
            }
        }
        self.change(&links).step(STEP)
    }

    /// Has links do something else, and reads it back.
    fn change(&self, links: &[(LinkId, Behaviour)]) -> io::Result<()> {
        let changes = links.iter().flat_map(|(link, behaviour)| {
            let (pairs, behaviour) = (self.pairs(*link).into_iter(), *behaviour);
            pairs.map(move |[from, to]| Change { from: from.into(), to: to.into(), behaviour })
        });
        let changes: Vec<_> = changes.collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.fabric.set(changes.clone()).map_err(whole)?;
        // Only these: there may be a quarter of a million others.
        let named = changes.iter().map(|Change { from, to, .. }| [from.clone(), to.clone()]).collect();
        let done = self.fabric.behaviours(named).map_err(whole)?;
        match changes.iter().zip(done).find(|(change, done)| change.behaviour != *done) {
            None => Ok(()),
            Some((Change { from, to, .. }, _)) => refuse(format!("the link {from} to {to} did not change")),
        }
    }

    /// Whether the fabric was seen to do `wanted` on this link.
    fn does(&self, done: &BTreeMap<(&str, &str), Behaviour>, link: LinkId, wanted: &Behaviour) -> bool {
        let does = |[from, to]: [&str; 2]| done.get(&(from, to)).copied().unwrap_or_default() == *wanted;
        self.pairs(link).into_iter().all(does)
    }

    /// The ports by which two stations see each other: one pair for each network that both are on.
    fn pairs(&self, link: LinkId) -> Vec<[&str; 2]> {
        let (from, to) = (&self.stations[link.from].ports, &self.stations[link.to].ports);
        let both = from.iter().flat_map(|from| to.iter().map(move |to| (from, to)));
        both.filter(|(from, to)| from.network == to.network)
            .map(|(from, to)| [&*from.port, &*to.port])
            .collect()
    }

    // ── reports ──

    fn report(&mut self) -> Result<NetworkReport, StepError> {
        self.catch_up();
        let report = self.fabric.report().map_err(whole).step("read the network")?;
        let (links, links_left_out) = shortened(report.links.iter().map(link).collect());
        let lateness = &report.lateness;
        let strays = report.strays;
        Ok(NetworkReport {
            faults: self.fault_reports(&report),
            links,
            links_left_out,
            ports: report.ports.iter().map(port).collect(),
            lateness: LatenessReport {
                count: lateness.count(),
                p50_ns: nanos(lateness.quantile(0.5)),
                p99_ns: nanos(lateness.quantile(0.99)),
                max_ns: nanos(lateness.max()),
            },
            scheduling: match report.scheduling {
                Scheduling::Fifo => "fifo",
                Scheduling::ShortSlice => "short-slice",
                Scheduling::Ordinary => "ordinary",
            }
            .to_owned(),
            strays: strays.unaddressed.packets + strays.malformed.packets + strays.overflow.packets,
        })
    }

    fn fault_reports(&self, report: &Report) -> Vec<FaultReport> {
        let done = behaviours(report);
        let topology = Topology::new(self.stations.len());
        let now = self.begun.elapsed();
        let mut reports = Vec::new();
        for (id, fault, state) in self.table.list() {
            let Ok(id) = u32::try_from(id) else { continue };
            // It was checked when it began.
            let mut links = fault.scope.links(&topology).unwrap_or_default();
            links.retain(|link| !self.pairs(*link).is_empty());
            let does = |link: &&LinkId| self.does(&done, **link, &self.table.behaviour(**link));
            let verified = links.iter().filter(does).count();
            reports.extend(self.faults.report(id, state, now, [links.len(), verified]));
        }
        reports
    }

    fn capture(&mut self, client: u64, filter: &str, file: File) -> Result<u32, StepError> {
        const STEP: &str = super::diagnose::BEGIN_CAPTURE;
        let ports = match serde_json::from_str(filter).map_err(whole).step(STEP)? {
            CaptureFilter::All => FabricFilter::All,
            CaptureFilter::Host(name) => {
                let ports = &self.stations[self.index(&name).step(STEP)?].ports;
                FabricFilter::Ports(ports.iter().map(|at| at.port.clone()).collect())
            }
            CaptureFilter::Link { from, to, both_ways } => {
                let link = LinkId { from: self.index(&from).step(STEP)?, to: self.index(&to).step(STEP)? };
                let links: Vec<_> =
                    self.pairs(link).into_iter().map(|pair| pair.map(str::to_owned)).collect();
                if links.is_empty() {
                    return refuse(self.apart(link)).step(STEP);
                }
                FabricFilter::Links { links, both_ways }
            }
        };
        self.captures.check_room().step(STEP)?;
        let id = self.fabric.capture(CaptureSpec { file, ports, snap_bytes: 0 }).map_err(whole).step(STEP)?;
        let id = u32::try_from(id).map_err(io::Error::other).step(STEP)?;
        self.captures.add(id, client);
        Ok(id)
    }
}

/// Answers a question.
fn reply(control: &OwnedFd, id: u64, answer: Result<u32, StepError>) -> io::Result<()> {
    let say = match answer {
        Ok(number) => Say::Done(number),
        Err(error) => Say::Failed(error.failure()),
    };
    control::send(control, &Reply { id, say: Some(say) }, None)
}

fn behaviours(report: &Report) -> BTreeMap<(&str, &str), Behaviour> {
    report.links.iter().map(|link| ((link.from.as_str(), link.to.as_str()), link.behaviour)).collect()
}

fn link(link: &FabricLink) -> LinkReport {
    LinkReport {
        from: link.from.clone(),
        to: link.to.clone(),
        condition: link.behaviour.condition(),
        counters: link.counters,
    }
}

fn port(port: &netsplit_fabric::PortReport) -> PortReport {
    let kind = port.kind.map(|kind| match kind {
        PortKind::Tap => "tap".to_owned(),
        PortKind::Packet => "packet".to_owned(),
        PortKind::Box => "router".to_owned(),
    });
    PortReport { name: port.name.clone(), kind, refused: port.refused.packets }
}

fn write(file: OwnedFd, what: &impl Serialize) -> Result<(), StepError> {
    serde_json::to_writer(io::BufWriter::new(File::from(file)), what).map_err(whole).step("write a report")
}

fn refuse<T>(text: String) -> io::Result<T> {
    Err(io::Error::other(text))
}

/// An error with its causes, as text that travels.
fn whole(error: impl std::error::Error) -> io::Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    io::Error::other(text)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use netsplit_netmodel::{Condition, Fault as Asked, Schedule};
    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    /// Routers in a row: `r0` between networks `n0` and `n1`, `r1` between `n1` and `n2`, and so on. No right is needed.
    fn row(routers: u8) -> Network {
        let mut network = Network::new(1).unwrap();
        for number in 0..routers {
            let side = |at: u8| {
                let v6 = format!("fd00:{at}::{}", number + 1).parse().unwrap();
                (format!("n{at}"), Ipv4Addr::new(10, at, 0, number + 1), v6)
            };
            let plan = RouterPlan {
                name: format!("r{number}"),
                kind: "router".to_owned(),
                inside: side(number),
                outside: side(number + 1),
                routes: Vec::new(),
            };
            network.router(&serde_json::to_string(&plan).unwrap()).unwrap();
        }
        network
    }

    fn cut(network: &mut Network, scope: Scope<String>, lasts: Option<Duration>) -> Result<u32, String> {
        let schedule = Schedule { lasts, ..Schedule::default() };
        let spec = FaultSpec {
            name: Some("one".to_owned()),
            what: "cut".to_owned(),
            fault: Asked { scope, condition: Condition::new().cut(), schedule },
            outlives_asker: false,
        };
        let text = serde_json::to_string(&spec).unwrap();
        network.begin(TEST, &text).map_err(|error| error.error.to_string())
    }

    fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
        names.map(str::to_owned).into()
    }

    #[test]
    fn between_hosts_without_a_common_network_nothing_can_be_cut() {
        let mut network = row(4);
        let one_way = |to| Scope::OneWay { from: names(["r0"]), to: names([to]) };
        let refused = cut(&mut network, one_way("r2"), None).unwrap_err();
        assert_eq!(refused, "r0 and r2 have no network in common; name the router between them");
        let some = Scope::BothWays { left: names(["r0"]), right: names(["r1", "r2"]) };
        assert!(cut(&mut network, some, None).unwrap_err().contains("r0 and r2"));
        let groups = [names(["r0"]), names(["r2"])];
        assert!(cut(&mut network, Scope::Partition { groups: groups.into() }, None).is_err());
        assert!(network.report().unwrap().faults.is_empty());
        // What is about all, or all others, is about those that there are.
        let all = names(["r0", "r1", "r2", "r3"]);
        let id = cut(&mut network, Scope::BothWays { left: all.clone(), right: all }, None).unwrap();
        let faults = network.report().unwrap().faults;
        assert_eq!((faults[0].links, faults[0].verified), (6, 6), "a row of four hosts has three links");
        network.heal(TEST, id).unwrap();
        let id = cut(&mut network, Scope::Isolate { hosts: names(["r0"]) }, None).unwrap();
        let faults = network.report().unwrap().faults;
        assert_eq!((faults[0].id, faults[0].links, faults[0].verified), (id, 2, 2));
        network.heal(TEST, id).unwrap();
        assert!(cut(&mut network, one_way("r1"), None).is_ok());
    }

    #[test]
    fn the_name_of_what_is_over_is_free() {
        let mut network = row(2);
        let scope = || Scope::OneWay { from: names(["r0"]), to: names(["r1"]) };
        let first = cut(&mut network, scope(), Some(Duration::from_millis(1))).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        assert!(network.report().unwrap().faults.is_empty());
        cut(&mut network, scope(), Some(Duration::from_millis(1))).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        let last = cut(&mut network, scope(), None).unwrap();
        assert!(cut(&mut network, scope(), None).unwrap_err().contains("in force already"));
        network.heal_all_of(TEST).unwrap();
        assert!(network.heal(TEST, last).is_err());
        assert_eq!(network.news[0], (first, State::Ended));
    }

    #[test]
    fn what_was_not_read_back_is_not_in_force() {
        let mut network = row(2);
        // The fabric knows no port of this one.
        let at = At { network: "n1".to_owned(), port: "x".to_owned() };
        network.station("x", [at]).unwrap();
        let to = |name| Scope::OneWay { from: names(["r0"]), to: names([name]) };
        assert!(cut(&mut network, to("x"), None).unwrap_err().contains("there is no port `x`"));
        assert!(network.report().unwrap().faults.is_empty() && network.news.is_empty());
        let id = cut(&mut network, to("r1"), None).unwrap();
        let faults = network.report().unwrap().faults;
        assert_eq!((faults[0].id, faults[0].verified), (id, 1));
    }

    #[test]
    fn captures_name_hosts_and_not_their_ports() {
        let mut network = row(3);
        let mut capture = |filter: CaptureFilter| {
            let file = memfd_create("capture", MemfdFlags::CLOEXEC).unwrap();
            let filter = serde_json::to_string(&filter).unwrap();
            network.capture(TEST, &filter, file.into()).map_err(|error| error.error.to_string())
        };
        let link = |[from, to]: [&str; 2]| CaptureFilter::Link {
            from: from.to_owned(),
            to: to.to_owned(),
            both_ways: true,
        };
        assert!(capture(CaptureFilter::Host("r1".to_owned())).is_ok());
        // Once on the second network of the one, once on that of the other.
        assert!(capture(link(["r1", "r2"])).is_ok() && capture(link(["r2", "r1"])).is_ok());
        assert!(capture(link(["r0", "r2"])).unwrap_err().contains("no network in common"));
        assert!(capture(link(["r0", "x"])).unwrap_err().contains("no host `x`"));
    }
}
