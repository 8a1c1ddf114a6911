//! The network between simulated hosts: who asked for what, names → numbers of hosts, what turned by itself. What links
//! do with packets and when is the simulation's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use netsplit_model::{Reason, Trouble};
use netsplit_netmodel::capture::View;
use netsplit_netmodel::{
    Behaviour, Fault, FaultState, FaultTurn, LinkId, Links, Scope, Topology, TopologyError,
};
use netsplit_sim::net::{HostIndex, Net};

use super::captures::Captures;
use crate::network::{
    CaptureFilter, CaptureReport, CaptureSpec, FaultReport, FaultSpec, FaultTurned, LatenessReport,
    LinkReport, NetworkReport, PortReport,
};
use crate::plan::RouterPlan;
use crate::register::{self, Register, TEST, shortened};

/// Who asked for what on which hosts, and who watches them.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// Names of hosts and routers, by their numbers in the simulation.
    hosts: BTreeMap<usize, String>,
    /// Those that are no hosts.
    routers: BTreeSet<String>,
    faults: Register,
    captures: Captures,
    /// What faults did by themselves; not told yet.
    news: VecDeque<FaultTurned>,
}

impl Network {
    pub(super) fn add_host(&mut self, index: usize, name: &str) {
        self.hosts.insert(index, name.to_owned());
    }

    /// Makes a router that is no host.
    pub(super) fn add_router(&mut self, plan: &RouterPlan) -> Result<(), Trouble> {
        let failed =
            |text: String| Trouble::new(Reason::BadValue, format!("make router {}: {text}", plan.name));
        let spec = plan.spec().ok_or_else(|| failed(format!("there is no kind `{}`", plan.kind)))?;
        let made = netsplit_sim::network(|net, now, out| net.add_router(now, out, &spec)).map_err(failed)?;
        self.hosts.insert(made.0 as usize, plan.name.clone());
        self.routers.insert(plan.name.clone());
        Ok(())
    }

    /// Begins a fault, and reads back that its links obey.
    pub(super) fn begin(&mut self, spec: FaultSpec) -> Result<u32, Trouble> {
        let refused = |text: String| Trouble::new(Reason::BadFault, format!("begin `{}`: {text}", spec.what));
        // What is over by now is not in force, and its name is free.
        self.catch_up();
        let id = self.faults.next(&spec).map_err(refused)?;
        let scope = spec.fault.scope.clone().try_map(|name| self.index(&name)).map_err(refused)?;
        netsplit_sim::network(|net, _, _| self.check_links(net, &scope)).map_err(refused)?;
        let Fault { condition, schedule, .. } = spec.fault;
        let fault = Fault { scope, condition, schedule };
        netsplit_sim::network(|net, now, out| net.begin_fault(now, out, id.into(), fault))
            .map_err(|error| refused(error.to_string()))?;
        let obeys = netsplit_sim::network(|net, _, _| self.view(net).into_iter().all(|fault| fault.obeys()));
        if !obeys {
            // One whose time was over at this very moment has ended, too.
            let _ended_already =
                netsplit_sim::network(|net, now, out| net.heal_fault(now, out, id.into()).is_ok());
            self.hush(id);
            let text = format!("begin `{}`: a link did not change", spec.what);
            return Err(Trouble::new(Reason::FaultRefused, text));
        }
        self.faults.add(id, TEST, netsplit_sim::now(), spec);
        // Who asked for it learns it from the answer.
        self.hush(id);
        Ok(id)
    }

    pub(super) fn heal(&mut self, id: u32) -> Result<(), Trouble> {
        self.catch_up();
        let refused = |text| Trouble::new(Reason::BadFault, format!("heal a fault: {text}"));
        self.faults.check(id).map_err(refused)?;
        netsplit_sim::network(|net, now, out| net.heal_fault(now, out, id.into()))
            .map_err(|error| refused(error.to_string()))?;
        self.hush(id);
        Ok(())
    }

    /// What this fault did is no news.
    fn hush(&mut self, id: u32) {
        self.catch_up();
        self.news.retain(|turned| turned.id != id);
    }

    /// What faults did by themselves since this was last asked.
    pub(super) fn news(&mut self) -> VecDeque<FaultTurned> {
        self.catch_up();
        std::mem::take(&mut self.news)
    }

    fn catch_up(&mut self) {
        for turn in netsplit_sim::network(|net, _, _| net.take_turns()) {
            let Some(turned) = turned(turn) else { continue };
            if turned.state == FaultState::Ended {
                self.faults.remove(turned.id);
            }
            self.news.push_back(turned);
        }
    }

    /// Begins a capture; its number.
    pub(super) fn capture(&mut self, capture: CaptureSpec) -> Result<u32, Trouble> {
        let CaptureSpec { file, filter } = capture;
        let view = netsplit_sim::network(|net, _, _| self.view_of(net, filter))
            .map_err(|text| Trouble::new(Reason::BadFault, format!("begin a capture: {text}")))?;
        Ok(self.captures.begin(file, view))
    }

    fn view_of(&self, net: &Net, filter: CaptureFilter) -> Result<View, String> {
        Ok(match filter {
            CaptureFilter::All => View::All,
            CaptureFilter::Host(name) => {
                View::Ports(net.ports(host(self.index(&name)?)).map(|(port, _)| port).collect())
            }
            CaptureFilter::Link { from, to, both_ways } => {
                if from == to {
                    return Err(format!("`{from}` has no link to itself"));
                }
                let ends = [host(self.index(&from)?), host(self.index(&to)?)];
                let pairs: Vec<_> = net.links_between(ends[0], ends[1]).map(|(ports, _)| ports).collect();
                if pairs.is_empty() {
                    return Err(register::apart(&from, &to));
                }
                View::Links { pairs, both_ways }
            }
        })
    }

    /// Ends a capture, whose file is complete then.
    pub(super) fn end_capture(&mut self, capture: u32) -> Result<CaptureReport, Trouble> {
        let none = || Trouble::new(Reason::BadFault, format!("end a capture: there is no capture {capture}"));
        self.captures.end(capture).ok_or_else(none)
    }

    /// Ends all captures.
    pub(super) fn end_captures(&mut self) {
        self.captures.end_all();
    }

    fn index(&self, name: &str) -> Result<usize, String> {
        let found = self.hosts.iter().find(|(_, known)| *known == name).map(|(index, _)| *index);
        found.ok_or_else(|| format!("no host `{name}` has come up"))
    }

    /// Reads what is in force and what happened; `is_up` says which hosts run.
    pub(super) fn report(&mut self, is_up: impl Fn(&str) -> bool) -> NetworkReport {
        self.catch_up();
        netsplit_sim::network(|net, now, _| {
            let (links, links_left_out) = shortened(Self::links(net));
            let now = Duration::from_nanos(now);
            let report = |fault: Seen| -> Option<FaultReport> {
                let id = u32::try_from(fault.id).ok()?;
                self.faults.report(id, fault.state, now, [fault.links.len(), fault.verified])
            };
            let port = |(index, name): (&usize, &String)| {
                let kind = if self.routers.contains(name) {
                    Some("router".to_owned())
                } else {
                    is_up(name).then(|| "simulated".to_owned())
                };
                let ports = net.ports(host(*index)).map(|(_, name)| name.to_owned());
                ports.map(move |name| PortReport { name, kind: kind.clone(), refused: 0 }).collect::<Vec<_>>()
            };
            NetworkReport {
                faults: self.view(net).into_iter().filter_map(report).collect(),
                links,
                links_left_out,
                ports: self.hosts.iter().flat_map(port).collect(),
                // No packet is ever late: nothing else goes on meanwhile.
                lateness: LatenessReport::default(),
                scheduling: "simulated".to_owned(),
                strays: net.corrupted(),
            }
        })
    }

    fn links(net: &Net) -> Vec<LinkReport> {
        let report = |link: netsplit_sim::net::LinkReport<'_>| {
            let [from, to] = link.ports.map(str::to_owned);
            LinkReport { from, to, condition: link.behaviour.condition(), counters: *link.counters }
        };
        net.links().map(report).collect()
    }

    fn topology(&self) -> Topology {
        Topology::new(self.hosts.keys().next_back().map_or(0, |last| last + 1))
    }

    fn check_links(&self, net: &Net, scope: &Scope) -> Result<(), String> {
        let mut links = scope.links(&self.topology()).map_err(|error| error.to_string())?;
        // The simulation has a host more, of the test itself, which is on no network.
        links.retain(|link| [link.from, link.to].iter().all(|host| self.hosts.contains_key(host)));
        if links.is_empty() {
            return Err(TopologyError::NoLink.to_string());
        }
        let lost = register::lost(scope, &links, |link| behaviours(net, link).next().is_some());
        let name = |index: usize| self.hosts.get(&index).map_or("", String::as_str);
        lost.map_or(Ok(()), |link| Err(register::apart(name(link.from), name(link.to))))
    }

    /// The faults that have not ended, and what links were seen to do.
    fn view(&self, net: &Net) -> Vec<Seen> {
        let links = |scope: &Scope| {
            // It was checked when it began.
            let mut links = scope.links(&self.topology()).unwrap_or_default();
            links.retain(|link| behaviours(net, *link).next().is_some());
            links
        };
        let faults: Vec<_> =
            net.faults().map(|(id, fault, state)| (id, links(&fault.scope), fault, state)).collect();
        let wanted = |link: &LinkId| {
            let in_force = faults
                .iter()
                .filter(|(_, links, _, state)| *state == FaultState::InForce && links.contains(link));
            // Each was checked when it began; what they come to was, too.
            Behaviour::of(in_force.map(|(_, _, fault, _)| &fault.condition)).ok()
        };
        let does = |link: &&LinkId| {
            let wanted = wanted(link);
            behaviours(net, **link).all(|done| Some(done) == wanted)
        };
        let seen = |(id, links, _, state): &(u64, Links, &Fault, FaultState)| Seen {
            id: *id,
            state: *state,
            verified: links.iter().filter(does).count(),
            links: links.clone(),
        };
        faults.iter().map(seen).collect()
    }
}

/// What a link does on each network that both its ends are on.
fn behaviours(net: &Net, link: LinkId) -> impl Iterator<Item = Behaviour> {
    net.links_between(host(link.from), host(link.to)).map(|(_, behaviour)| behaviour)
}

/// A host by its number, which came from the simulation.
fn host(index: usize) -> HostIndex {
    HostIndex(u32::try_from(index).unwrap_or(u32::MAX))
}

/// A fault as the network has it.
#[derive(Debug)]
struct Seen {
    id: u64,
    state: FaultState,
    links: Links,
    /// Links that do what is wanted of them.
    verified: usize,
}

impl Seen {
    fn obeys(&self) -> bool {
        self.verified == self.links.len()
    }
}

fn turned(turn: FaultTurn) -> Option<FaultTurned> {
    let state = match turn.state {
        FaultState::Waiting => FaultState::Lifted,
        state => state,
    };
    Some(FaultTurned { id: u32::try_from(turn.id).ok()?, state })
}
