//! Who asked for which fault of a network, and what is told of it: what `netmodel`'s table does not know. No I/O and no clock.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use netsplit_netmodel::{FaultState, LinkId, Links, Scope};

use crate::network::{FaultReport, FaultSpec, LinkReport};

/// The client that is the test itself.
pub(crate) const TEST: u64 = 0;
/// Links of one report: a report of all 250,000 between 500 hosts would hold a hundred megabytes.
const LINKS_MAX: usize = 10_000;
/// Faults at once: a test that forgets to heal is told so before it fills the memory.
const FAULTS_MAX: usize = 1000;

/// Between hosts without a common network there is nothing to be changed: who names two such hosts means something else.
/// What is about many is about those that there are: `isolate a`, and `all and all`, whose two sides share hosts. The first
/// link of a fault that cannot be for want of it.
pub(crate) fn lost(scope: &Scope, links: &Links, is_there: impl Fn(LinkId) -> bool) -> Option<LinkId> {
    let is_named = match scope {
        Scope::OneWay { from: left, to: right } | Scope::BothWays { left, right } => {
            left.iter().all(|host| !right.contains(host))
        }
        _ => false,
    };
    let mut apart = links.iter().filter(|link| !is_there(**link));
    let first = *apart.next()?;
    (is_named || apart.count() + 1 == links.len()).then_some(first)
}

/// What is said of two hosts between which nothing can be changed.
pub(crate) fn apart(from: &str, to: &str) -> String {
    format!("{from} and {to} have no network in common; name the router between them")
}

/// Faults that have not ended, by number.
#[derive(Debug, Default)]
pub(crate) struct Register {
    faults: BTreeMap<u32, Asked>,
    ever: u32,
}

/// A fault, and who asked for it.
#[derive(Debug)]
struct Asked {
    client: u64,
    at: Duration,
    spec: FaultSpec,
}

impl Register {
    /// The number that a fault would get. It is taken by [`add`](Self::add).
    ///
    /// # Errors
    /// When there are too many, or one of its name.
    pub(crate) fn next(&self, spec: &FaultSpec) -> Result<u32, String> {
        if self.faults.len() >= FAULTS_MAX {
            return Err(format!("{FAULTS_MAX} faults are in force; heal some"));
        }
        let named = |asked: &&Asked| spec.name.is_some() && asked.spec.name == spec.name;
        if let (Some(name), Some(other)) = (&spec.name, self.faults.values().find(named)) {
            return Err(format!("`{name}` is in force already: {}", other.spec.what));
        }
        Ok(self.ever + 1)
    }

    pub(crate) fn add(&mut self, id: u32, client: u64, at: Duration, spec: FaultSpec) {
        self.ever = id;
        self.faults.insert(id, Asked { client, at, spec });
    }

    /// Takes one out. Whether it was there.
    pub(crate) fn remove(&mut self, id: u32) -> bool {
        self.faults.remove(&id).is_some()
    }

    /// # Errors
    /// When there is none of this number.
    pub(crate) fn check(&self, id: u32) -> Result<(), String> {
        if self.faults.contains_key(&id) { Ok(()) } else { Err(format!("no fault {id} is in force")) }
    }

    /// Those that end when this client has gone.
    pub(crate) fn ending_with(&self, client: u64) -> Vec<u32> {
        let theirs = |asked: &Asked| asked.client == client && !asked.spec.outlives_asker;
        self.faults.iter().filter(|(_, asked)| theirs(asked)).map(|(id, _)| *id).collect()
    }

    /// What is told of a fault at `now`, that is about so many links, of which so many were seen to obey.
    pub(crate) fn report(
        &self,
        id: u32,
        state: FaultState,
        now: Duration,
        [links, verified]: [usize; 2],
    ) -> Option<FaultReport> {
        let Asked { at, spec, .. } = self.faults.get(&id)?;
        Some(FaultReport {
            id,
            name: spec.name.clone(),
            what: spec.what.clone(),
            state,
            age_ns: nanos(now.saturating_sub(*at)),
            links,
            verified,
        })
    }
}

/// The links of a report by name, and how many had to be left out.
pub(crate) fn shortened(mut links: Vec<LinkReport>) -> (Vec<LinkReport>, usize) {
    // What was lost is what a reader looks for.
    links.sort_by_key(|link| Reverse((link.counters.dropped().packets, link.counters.offered.packets)));
    let left_out = links.len().saturating_sub(LINKS_MAX);
    links.truncate(LINKS_MAX);
    links.sort_by(|one, other| (&one.from, &one.to).cmp(&(&other.from, &other.to)));
    (links, left_out)
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use netsplit_netmodel::{Condition, Fault, Schedule, Scope};

    use super::*;

    fn spec(name: &str, outlives_asker: bool) -> FaultSpec {
        let scope = Scope::Isolate { hosts: vec!["a".to_owned()] };
        let fault = Fault { scope, condition: Condition::new().cut(), schedule: Schedule::default() };
        FaultSpec { name: Some(name.to_owned()), what: "isolate a".to_owned(), fault, outlives_asker }
    }

    #[test]
    fn a_name_is_taken_until_its_fault_has_ended_and_a_number_for_ever() {
        let mut register = Register::default();
        let (one, s) = (register.next(&spec("one", false)).unwrap(), Duration::from_secs);
        register.add(one, TEST, s(1), spec("one", false));
        assert_eq!(register.next(&spec("one", false)).unwrap_err(), "`one` is in force already: isolate a");
        let report = register.report(one, FaultState::InForce, s(3), [2, 1]).unwrap();
        assert_eq!((report.age_ns, report.links, report.verified), (2_000_000_000, 2, 1));
        assert!(register.remove(one) && !register.remove(one));
        assert_eq!(register.check(one).unwrap_err(), "no fault 1 is in force");
        assert_eq!(register.next(&spec("one", false)), Ok(2));
    }

    #[test]
    fn what_a_client_asked_for_ends_with_it_unless_it_said_otherwise() {
        let mut register = Register::default();
        for (client, outlives) in [(3, false), (3, true), (4, false)] {
            let spec = FaultSpec { name: None, ..spec("", outlives) };
            register.add(register.next(&spec).unwrap(), client, Duration::ZERO, spec);
        }
        assert_eq!(register.ending_with(3), [1]);
    }
}
