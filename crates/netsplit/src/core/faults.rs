//! The faults of a run's network, and the ways to hosts that they close.

use std::sync::Arc;

use netsplit_model::{Event, HostName, units::At};
use netsplit_netmodel::FaultState;
use netsplit_provider::FaultTurned;

use super::{Core, State};
use crate::disk::DiskFaultInForce;
use crate::network::{self, InForce};

/// A fault is being begun; see [`Core::begins_fault`].
pub(crate) struct FaultBegins(Arc<Core>);

impl Drop for FaultBegins {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.faults_beginning -= 1;
        let news = std::mem::take(&mut state.fault_news);
        drop(state);
        for turned in news {
            self.0.on_fault_turned(turned);
        }
    }
}

/// Something heals; see [`Core::heals`].
pub(crate) struct Heals(Arc<Core>);

impl Drop for Heals {
    fn drop(&mut self) {
        self.0.healing.send_modify(|count| *count -= 1);
    }
}

impl Core {
    pub(crate) fn set_routers(&self, routers: Vec<HostName>) {
        self.lock().routers = routers;
    }

    /// Whom faults may be about: hosts, and routers that are none.
    pub(crate) fn stations(&self) -> Vec<HostName> {
        let mut names = self.names();
        names.extend(self.lock().routers.iter().cloned());
        names
    }

    /// A number for a new fault.
    pub(crate) fn next_fault(&self) -> u32 {
        let mut state = self.lock();
        state.faults_ever += 1;
        state.faults_ever
    }

    /// How many faults were asked for.
    pub(crate) fn faults_ever(&self) -> u32 {
        self.lock().faults_ever
    }

    /// Our own way to its hosts closes with it.
    pub(crate) fn add_fault(&self, fault: InForce) {
        let mut state = self.lock();
        let unreached = fault.unreached.clone();
        state.faults.push(fault);
        state.reach(&unreached);
    }

    /// Keeps news of unknown faults until what this returns is dropped: news may come before the answer that has a number.
    pub(crate) fn begins_fault(self: &Arc<Self>) -> FaultBegins {
        self.lock().faults_beginning += 1;
        FaultBegins(Arc::clone(self))
    }

    /// The network knows a fault of ours by this number, for good.
    pub(crate) fn owns_fault(&self, id: u32) {
        self.lock().own_faults.insert(id);
    }

    /// A fault is none any more. Our own way to its hosts stays closed until [`reach`](Self::reach).
    pub(crate) fn take_fault(&self, number: u32) -> Option<InForce> {
        let faults = &mut self.lock().faults;
        let at = faults.iter().position(|fault| fault.number == number)?;
        Some(faults.remove(at))
    }

    pub(crate) fn faults(&self) -> Vec<InForce> {
        self.lock().faults.clone()
    }

    /// The faults in force, for messages.
    pub(crate) fn in_force(&self) -> Vec<String> {
        let state = self.lock();
        let network = state.faults.iter().filter(|fault| !fault.is_lifted);
        let network = network.map(|fault| (&fault.what, fault.since));
        let disks = state.disk_faults.iter().map(|fault| (&fault.what, fault.since));
        network.chain(disks).map(|(what, since)| format!("{what} since {}", At(since))).collect()
    }

    pub(crate) fn add_disk_fault(&self, fault: DiskFaultInForce) {
        self.lock().disk_faults.push(fault);
    }

    /// A fault of a disk is none any more; `None`: it was none already.
    pub(crate) fn take_disk_fault(&self, number: u32) -> Option<DiskFaultInForce> {
        let faults = &mut self.lock().disk_faults;
        let at = faults.iter().position(|fault| fault.number == number)?;
        Some(faults.remove(at))
    }

    pub(crate) fn disk_faults(&self) -> Vec<DiskFaultInForce> {
        self.lock().disk_faults.clone()
    }

    /// The fault that closes our own way to a host.
    pub(crate) fn unreached_by(&self, host: &HostName) -> Option<InForce> {
        self.lock().faults.iter().find(|fault| fault.closes(host)).cloned()
    }

    /// Opens our own way to each of these hosts, or closes it, as the faults in force have it.
    pub(crate) fn reach(&self, hosts: &[HostName]) {
        self.lock().reach(hosts);
    }

    /// What is asked of the network waits until what this returns is dropped: see [`network::settle`].
    pub(crate) fn heals(self: &Arc<Self>) -> Heals {
        self.healing.send_modify(|count| *count += 1);
        Heals(Arc::clone(self))
    }

    /// A fault did something by itself.
    pub(super) fn on_fault_turned(self: &Arc<Self>, turned: FaultTurned) {
        let mut state = self.lock();
        let Some(at) = state.faults.iter().position(|fault| fault.ids.contains(&turned.id)) else {
            if state.faults_beginning > 0 {
                state.fault_news.push(turned);
                return;
            }
            // Its last turn was on its way when it was healed.
            let is_own = state.own_faults.contains(&turned.id);
            drop(state);
            if !is_own && turned.state != FaultState::Ended {
                let news_waits = self.begins_fault();
                self.engine.spawn(network::note_foreign(Arc::clone(self), turned.id, news_waits));
            }
            return;
        };
        if turned.state == FaultState::Ended {
            state.faults[at].ids.retain(|id| *id != turned.id);
            // It lasts as long as any part of it.
            if state.faults[at].ids.is_empty() {
                let fault = state.faults.remove(at);
                drop(state);
                self.on_fault_ended(&fault);
            }
            return;
        }
        // A fault of several parts turns once.
        let is_lifted = turned.state != FaultState::InForce;
        if std::mem::replace(&mut state.faults[at].is_lifted, is_lifted) != is_lifted {
            let fault = state.faults[at].clone();
            drop(state);
            self.on_fault_lifted(&fault, is_lifted);
        }
    }

    fn on_fault_ended(&self, fault: &InForce) {
        let (why, what) = match fault.ends {
            Some(ends) if self.recorder.now() >= ends => ("time", "was over"),
            _ if fault.is_foreign => ("from outside", "ended"),
            _ => ("from outside", "was healed, from outside"),
        };
        let event = Event::FaultEnded { fault: InForce::label(fault.number), why: why.into() };
        self.recorder.disturbance(event, format!("`{}` {what}", fault.what));
        self.reach(&fault.unreached);
    }

    fn on_fault_lifted(&self, fault: &InForce, is_lifted: bool) {
        let event = Event::FaultTurned { fault: InForce::label(fault.number), in_force: !is_lifted };
        let what = if is_lifted { "was lifted" } else { "came into force" };
        let since = self.recorder.disturbance(event, format!("`{}` {what}", fault.what));
        let mut state = self.lock();
        if let Some(known) = state.faults.iter_mut().find(|known| known.number == fault.number) {
            known.since = since;
        }
        state.reach(&fault.unreached);
    }
}

impl State {
    fn reach(&self, hosts: &[HostName]) {
        for host in self.hosts.iter().filter(|host| hosts.contains(&host.info.name)) {
            host.gate.set(!self.faults.iter().any(|fault| fault.closes(&host.info.name)));
            host.tend();
        }
    }
}
