//! What processes see in their environment, and what every host can know of itself.

use std::fmt::{Display, Write};

use netsplit_model::{Effective, HostName, Scope, Scopes};
use netsplit_provider::MadeHost;

use super::{Core, Info};

/// What the names of all these variables begin with.
const PREFIX: &str = "NETSPLIT_";
/// The variable that names the other hosts: `a=10.0.0.1,b=10.0.0.2`.
const PEERS: &str = "NETSPLIT_PEERS";

/// What every process and template on this host can know of it.
pub(super) fn facts(info: &Info, made: &MadeHost, run: &str, seed: u64) -> Scope {
    let mut facts = Scope::new("netsplit");
    facts
        .set("NETSPLIT_HOST", info.name.as_str())
        .set("NETSPLIT_ROLE", info.role.as_str())
        .set("NETSPLIT_INDEX", info.index.to_string())
        .set("NETSPLIT_COUNT", info.count.to_string())
        .set("NETSPLIT_ADDRESS", made.address.to_string())
        .set("NETSPLIT_ADDRESS6", made.address6.to_string())
        .set("NETSPLIT_RUN", run)
        .set("NETSPLIT_SEED", seed.to_string());
    facts
}

/// These facts as templates name them: `%{host}`.
pub(super) fn values_of(facts: &Scope) -> impl Iterator<Item = (String, String)> {
    facts
        .variables
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_lowercase(), value.clone()?)))
}

/// The hosts as each is told of the others. Commands are many, and hosts may be: the text of all is kept.
#[derive(Debug, Default)]
pub(super) struct Peers {
    /// `a=10.0.0.1,b=10.0.0.2,`.
    all: String,
}

impl Peers {
    pub(super) fn add(&mut self, host: &HostName, address: &impl Display) {
        let _infallible = write!(self.all, "{host}={address},");
    }

    /// All but `host`.
    fn of(&self, host: &HostName) -> String {
        let mut others = String::with_capacity(self.all.len());
        for peer in self.all.split_inclusive(',') {
            let is_own = peer.strip_prefix(host.as_str()).is_some_and(|rest| rest.starts_with('='));
            if !is_own {
                others.push_str(peer);
            }
        }
        others.pop();
        others
    }
}

impl Core {
    /// Changes what every process of the run sees, or of the innermost nested test.
    pub(crate) fn change_scope(&self, change: impl FnOnce(&mut Scope)) {
        if let Some(scope) = self.lock().scopes.last_mut() {
            change(scope);
        }
        self.record_environment(&self.names());
    }

    pub(crate) fn change_host_scope(&self, host: &HostName, change: impl FnOnce(&mut Scope)) {
        self.with_host(host, |host| change(&mut host.scope));
        self.record_environment(std::slice::from_ref(host));
    }

    pub(crate) fn push_scope(&self, scope: Scope) {
        self.lock().scopes.push(scope);
    }

    pub(crate) fn pop_scope(&self) {
        let mut state = self.lock();
        if state.scopes.len() > 1 {
            state.scopes.pop();
        }
        drop(state);
        self.record_environment(&self.names());
    }

    /// Writes down what processes of these hosts see, for whoever enters them. What the user's shell passed is the user's.
    pub(super) fn record_environment(&self, hosts: &[HostName]) {
        for host in hosts {
            // The peers of many hosts are a long text, and not all may be there yet.
            let is_told =
                |seen: &Effective<'_>| seen.name != PEERS && !self.settings.is_passed(seen.name, seen.value);
            let variables = self.environment(host, &Scope::new("command"), |seen| {
                let told = seen.iter().filter(|seen| is_told(seen));
                told.map(|seen| (seen.name.to_owned(), Some(seen.value.to_owned()))).collect()
            });
            let _only_for_those_who_enter = self.recorder.dir().write_environment(host, &variables);
        }
    }

    /// Hands to `take` what a process on `host` sees, by name.
    pub(crate) fn environment<T>(
        &self,
        host: &HostName,
        command: &Scope,
        take: impl FnOnce(&[Effective<'_>]) -> T,
    ) -> T {
        let state = self.lock();
        let Some(own) = state.hosts.iter().find(|known| known.info.name == *host) else { return take(&[]) };
        let mut peers = Scope::new("netsplit");
        peers.set(PEERS, state.peers.of(host));
        let mut scopes = vec![command];
        scopes.extend(state.scopes.iter().rev());
        scopes.extend([&own.scope, &own.facts, &peers]);
        take(&Scopes(&scopes).effective().collect::<Vec<_>>())
    }

    /// What a process that is started now sees beside [`environment`](Self::environment): when that was, in nanoseconds
    /// since the run began.
    pub(crate) fn started(&self) -> (String, String) {
        ("NETSPLIT_STARTED".to_owned(), self.recorder.now().as_nanos().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_told_of_the_others() {
        let mut peers = Peers::default();
        let names = ["a", "ab", "b"].map(|name| HostName::new(name).unwrap());
        assert_eq!(peers.of(&names[0]), "");
        for (name, address) in names.iter().zip(["10.0.0.1", "10.0.0.2", "10.0.0.3"]) {
            peers.add(name, &address);
        }
        let told = names.map(|name| peers.of(&name));
        assert_eq!(told, ["ab=10.0.0.2,b=10.0.0.3", "a=10.0.0.1,b=10.0.0.3", "a=10.0.0.1,ab=10.0.0.2"]);
    }
}
