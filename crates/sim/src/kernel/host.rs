//! Hosts: a name, networks, a disk, clocks, and power.

use std::net::IpAddr;

use netsplit_netmodel::Route;

use super::sched::{ThreadId, Waiter};
use super::{Clock, Exit, Kernel, Pid};
use crate::disk::{Crash, Disk, Faults};
use crate::net::{HostIndex, NicSpec};
use crate::random::Random;

/// The number of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostId(u32);

impl HostId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A host to make.
#[derive(Clone, Debug)]
pub(crate) struct HostPlan {
    pub(crate) name: String,
    /// Its ways into networks; without any it reaches itself only.
    pub(crate) nics: Vec<NicSpec>,
    pub(crate) routes: Vec<Route>,
    /// What its disk holds, in bytes.
    pub(crate) disk: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Host {
    pub(super) name: String,
    pub(super) net: HostIndex,
    pub(super) disk: Disk,
    /// While it is paused: the threads that could run.
    pub(super) frozen: Option<Vec<ThreadId>>,
    pub(super) is_up: bool,
    /// Who waits for a disk that does not answer.
    pub(super) disk_waiters: Vec<Waiter>,
    /// How often its power was cut.
    losses: u32,
    /// What chance decides about its disk.
    pub(super) luck: Random,
}

impl Kernel {
    /// A new host, up and without processes.
    pub(crate) fn add_host(&mut self, plan: &HostPlan) -> HostId {
        let (now, out) = (self.now, &mut self.outbox);
        let net = self.net.add_host(now, out, &plan.name, &plan.nics, &plan.routes);
        let id = HostId(u32::try_from(self.hosts.len()).expect("fewer than 2^32 hosts"));
        self.hosts.push(Host {
            name: plan.name.clone(),
            net,
            disk: Disk::new(plan.disk),
            frozen: None,
            is_up: true,
            disk_waiters: Vec::new(),
            losses: 0,
            luck: Random::new(self.rules.seed, &format!("disk of {}", plan.name)),
        });
        self.clocks.push(Clock::default());
        self.settle();
        self.make_tree(id);
        id
    }

    /// Its name.
    pub(crate) fn host_name(&self, id: HostId) -> &str {
        &self.hosts[id.index()].name
    }

    /// Its number on the network.
    pub(crate) fn host_on_net(&self, id: HostId) -> HostIndex {
        self.hosts[id.index()].net
    }

    /// Its clocks.
    pub(crate) fn clock(&mut self, id: HostId) -> &mut Clock {
        &mut self.clocks[id.index()]
    }

    /// Its disk.
    pub(crate) fn disk(&mut self, id: HostId) -> &mut Disk {
        &mut self.hosts[id.index()].disk
    }

    /// Changes what is wrong with its disk; who waits for it asks again.
    pub(crate) fn set_disk_faults(&mut self, id: HostId, faults: Faults) {
        let host = &mut self.hosts[id.index()];
        host.disk.set_faults(faults);
        for waiter in std::mem::take(&mut host.disk_waiters) {
            self.wake(waiter);
        }
    }

    /// The addresses of a host: by its name on its first network; where there are several, by `HOST.NETWORK` on that one.
    pub(crate) fn named(&self, name: &str) -> Option<[IpAddr; 2]> {
        let (host, network) = match name.split_once('.') {
            Some((host, network)) if self.net.has_several_networks() => (host, Some(network)),
            _ => (name, None),
        };
        let host = self.hosts.iter().find(|known| known.name == host)?;
        self.net.addresses(host.net, network)
    }

    /// Cuts its power: processes and sockets are gone without a word, and of its disk what was not durable.
    pub(crate) fn power_off(&mut self, id: HostId) {
        let host = &mut self.hosts[id.index()];
        if !std::mem::replace(&mut host.is_up, false) {
            return;
        }
        let net = host.net;
        self.net.power_off(net);
        for pid in self.processes_of(id) {
            self.end_process(pid, Exit::Signal(libc::SIGKILL));
        }
        let host = &mut self.hosts[id.index()];
        self.frozen -= usize::from(host.frozen.take().is_some());
        host.losses += 1;
        host.disk.crash(Crash::Chance, &mut host.luck);
        self.trace.mix(id.index() as u64 ^ 0x0ff);
    }

    /// Gives it power again, with the disk it had.
    pub(crate) fn power_on(&mut self, id: HostId) {
        let host = &mut self.hosts[id.index()];
        host.is_up = true;
        let net = host.net;
        self.net.power_on(net);
        self.make_tree(id);
    }

    /// How often it has lost its power.
    pub(crate) fn power_losses(&self, id: HostId) -> u32 {
        self.hosts[id.index()].losses
    }

    /// Whether it has power.
    pub(crate) fn is_up(&self, id: HostId) -> bool {
        self.hosts[id.index()].is_up
    }

    /// Stops all its threads for a while, or lets them go on. Its network stack answers meanwhile.
    pub(crate) fn pause(&mut self, id: HostId, is_paused: bool) {
        if is_paused { self.freeze(id) } else { self.thaw(id) }
    }

    fn processes_of(&self, host: HostId) -> Vec<Pid> {
        self.live_processes().filter(|(_, process)| process.host == host).map(|(pid, _)| pid).collect()
    }
}
