//! Faults: what links are wanted to do, by `netmodel`'s table, and when that changes.

use std::time::Duration;

use netsplit_netmodel::{Advance, Behaviour, Counters, Fault, FaultError, FaultState, FaultTurn, Faults};

use super::hosts::Hop;
use super::{Event, HostIndex, NEVER, Nanos, Net, Outbox};

/// The table, in which every host has its own number.
pub(super) struct FaultTable {
    table: Faults,
    turns: Vec<FaultTurn>,
    /// When the kernel has it looked at next.
    armed: Nanos,
}

/// A directed link.
#[derive(Clone, Copy, Debug)]
pub struct LinkReport<'n> {
    /// The sender.
    pub from: HostIndex,
    /// The receiver.
    pub to: HostIndex,
    /// The names of their ports on the network of the link: on a host's first network its own.
    pub ports: [&'n str; 2],
    /// What it does.
    pub behaviour: &'n Behaviour,
    /// What happened to its packets. Bytes are those of IP packets.
    pub counters: &'n Counters,
}

impl FaultTable {
    pub(super) fn new(seed: u64) -> Self {
        Self { table: Faults::new(seed), turns: Vec::new(), armed: NEVER }
    }

    pub(super) fn add_host(&mut self) {
        self.table.add_host();
    }
}

impl Net {
    /// Begins a fault, whose id nobody else has. Hosts are named by their numbers.
    ///
    /// # Errors
    /// A fault that cannot be; nothing has changed.
    pub fn begin_fault(
        &mut self,
        now: Nanos,
        out: &mut Outbox,
        id: u64,
        fault: Fault,
    ) -> Result<(), FaultError> {
        self.faults.table.begin(Duration::from_nanos(now), id, fault)?;
        self.advance_faults(now, out);
        Ok(())
    }

    /// Ends a fault.
    ///
    /// # Errors
    /// There is none of this id.
    pub fn heal_fault(&mut self, now: Nanos, out: &mut Outbox, id: u64) -> Result<(), FaultError> {
        self.faults.table.heal(Duration::from_nanos(now), id)?;
        self.advance_faults(now, out);
        Ok(())
    }

    /// The faults that have not ended, the oldest first.
    pub fn faults(&self) -> impl Iterator<Item = (u64, &Fault, FaultState)> {
        self.faults.table.list()
    }

    /// What faults did since this was last asked, the healed ones included.
    pub fn take_turns(&mut self) -> Vec<FaultTurn> {
        std::mem::take(&mut self.faults.turns)
    }

    /// When a fault next turns by itself.
    pub fn fault_deadline(&self) -> Option<Duration> {
        self.faults.table.deadline()
    }

    /// The links from one host to another, one for each network that both are on: the ports of their ends, and what they
    /// do now.
    pub fn links_between(
        &self,
        from: HostIndex,
        to: HostIndex,
    ) -> impl Iterator<Item = ([usize; 2], Behaviour)> {
        self.hops([from, to]).map(|hop| (self.wires.ports_of(hop), self.wires.behaviour(hop)))
    }

    /// The links from one host to another.
    fn hops(&self, [from, to]: [HostIndex; 2]) -> impl Iterator<Item = Hop> {
        let [ours, theirs] = [from, to].map(|host| &self.hosts[host.at()]);
        let both = ours.nics.iter().filter(|nic| theirs.is_on_network(nic.network));
        both.map(move |nic| Hop { from, to, network: nic.network })
    }

    /// Every link that was used or changed, in the order in which they were.
    pub fn links(&self) -> impl Iterator<Item = LinkReport<'_>> {
        self.wires.links().map(|(hop, behaviour, counters)| LinkReport {
            from: hop.from,
            to: hop.to,
            ports: self.wires.names_of(hop),
            behaviour,
            counters,
        })
    }

    /// Packets that arrived with a flipped bit, which checksums found.
    pub fn corrupted(&self) -> u64 {
        self.wires.corrupted
    }

    /// Brings links to what the table wants by now.
    pub(super) fn advance_faults(&mut self, now: Nanos, out: &mut Outbox) {
        let Advance { links, turns } = self.faults.table.advance(Duration::from_nanos(now));
        self.faults.turns.extend(turns);
        for (link, behaviour) in links {
            let ends = [link.from, link.to].map(|at| HostIndex(u32::try_from(at).expect("a host's number")));
            let hops: Vec<_> = self.hops(ends).collect();
            hops.into_iter().for_each(|hop| self.wires.change(now, out, hop, behaviour));
        }
        let deadline = self.faults.table.deadline();
        let deadline = deadline.and_then(|at| u64::try_from(at.as_nanos()).ok());
        if let Some(at) = deadline.filter(|at| *at < self.faults.armed) {
            self.faults.armed = at;
            out.timers.push((at, Event::faults()));
        }
    }

    /// At an instant that was armed, or at one for which an earlier one took over.
    pub(super) fn on_faults(&mut self, now: Nanos, out: &mut Outbox) {
        self.faults.armed = NEVER;
        self.advance_faults(now, out);
    }
}
