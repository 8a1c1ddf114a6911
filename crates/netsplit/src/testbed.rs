//! All hosts of a run, as a test sees them.

use std::fmt::{self, Display};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use netsplit_model::{Capability, Event, Scope, Selector};

use crate::core::Core;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::network::Network;
use crate::place;
use crate::wait::{Find, Never, Wait};
use netsplit_model::{Reason, Trouble};

/// The hosts of one run. Clones are the same testbed.
#[derive(Clone)]
pub struct Testbed {
    pub(crate) core: Arc<Core>,
}

impl Testbed {
    /// All hosts, in the order in which they were made.
    pub fn hosts(&self) -> Vec<Host> {
        self.core.names().iter().map(|name| Host::new(&self.core, name)).collect()
    }

    /// The host called `name`.
    ///
    /// # Errors
    /// When there is none, with the nearest name.
    #[track_caller]
    pub fn host(&self, name: &str) -> Result<Host> {
        let host = match self.core.infos().iter().find(|info| info.name.as_str() == name) {
            Some(info) => Ok(Host::new(&self.core, &info.name)),
            None => Err(self.core.unknown_host(name)),
        };
        self.core.noted(host, place::of(Location::caller()))
    }

    /// The hosts that play `role`.
    ///
    /// # Errors
    /// When none does, with the nearest name.
    #[track_caller]
    pub fn role(&self, role: &str) -> Result<Vec<Host>> {
        let infos = self.core.infos();
        let hosts: Vec<_> = infos
            .iter()
            .filter(|info| info.role.as_str() == role)
            .map(|info| Host::new(&self.core, &info.name))
            .collect();
        let hosts = if hosts.is_empty() { Err(self.core.unknown_role(role)) } else { Ok(hosts) };
        self.core.noted(hosts, place::of(Location::caller()))
    }

    /// The hosts that a selector means: hosts, roles and `all`; a comma joins, `-` takes away: `members,-a`.
    ///
    /// # Errors
    /// When it is no selector, or names nobody.
    #[track_caller]
    pub fn select(&self, selector: &str) -> Result<Vec<Host>> {
        let parsed =
            Selector::parse(selector).map_err(|error| Error::new(Reason::UnknownHost, error.to_string()));
        let names = parsed.and_then(|parsed| {
            let names = parsed.resolve(|name| self.core.named(name));
            names.map_err(|term| self.core.unknown_name(&term.name))
        });
        let hosts = names.map(|names| names.iter().map(|name| Host::new(&self.core, name)).collect());
        self.core.noted(hosts, place::of(Location::caller()))
    }

    /// Every host with `port`, as clusters like to be told: `a:7000,b:7000,c:7000`.
    pub fn addresses(&self, port: u16) -> String {
        let names = self.core.names();
        names.iter().map(|name| format!("{name}:{port}")).collect::<Vec<_>>().join(",")
    }

    /// Waits for a line of any process of any host, since the last disturbance (fault, heal, power, signal).
    #[track_caller]
    pub fn wait_for(&self, pattern: impl Into<String>) -> Wait {
        Wait::on_hosts(&self.core, None, pattern.into(), Location::caller())
    }

    /// Waits for a line and says whose host it was; of several the newest.
    #[track_caller]
    pub fn find(&self, pattern: impl Into<String>) -> Find {
        Find::new(Wait::on_hosts(&self.core, None, pattern.into(), Location::caller()))
    }

    /// Expects that no process of any host writes such a line.
    #[track_caller]
    pub fn never(&self, pattern: impl Into<String>) -> Never {
        Never::from(Wait::on_hosts(&self.core, None, pattern.into(), Location::caller()))
    }

    /// Sets a variable of the environment for every process that is started from now on; the value is taken as it is.
    ///
    /// The nearest scope wins: the command's, then the nested test's, then the run's, then the host's
    /// ([`Host::set_env`]). Within a nested test it is that test's. A name that is empty or has `=` or NUL in it is an
    /// error of the command.
    pub fn set_env(&self, name: impl Into<String>, value: impl Display) {
        self.core.change_scope(|scope| {
            scope.set(name, value.to_string());
        });
    }

    /// Takes a variable of the environment away from every process that is started from now on.
    pub fn remove_env(&self, name: impl Into<String>) {
        self.core.change_scope(|scope| {
            scope.unset(name);
        });
    }

    /// Begins a nested scope: what is set from here on is forgotten when the guard goes.
    pub fn nested(&self, name: impl Into<String>) -> Nested {
        self.core.push_scope(Scope::new(name));
        Nested { core: Arc::clone(&self.core) }
    }

    /// Sets what `%{name}` means in commands.
    pub fn set_var(&self, name: &str, value: &str) {
        self.core.set_variable(name, value);
    }

    /// What `%{name}` means in commands.
    pub fn var(&self, name: &str) -> Option<String> {
        self.core.variable(name)
    }

    /// The network between the hosts: faults, what is in force, captures.
    pub fn network(&self) -> Network {
        Network::new(&self.core)
    }

    /// Writes something down in the run's log.
    pub fn note(&self, text: impl Into<String>) {
        self.core.recorder.event(Event::NoteAdded { text: text.into() });
    }

    /// Skips the test unless the provider can do `capability`.
    ///
    /// # Errors
    /// With the skip; returned from the test, it is its verdict.
    pub fn need(&self, capability: Capability) -> Result {
        self.core.need(capability)
    }

    /// How long the run has lasted.
    pub fn now(&self) -> Duration {
        self.core.recorder.now()
    }

    /// The run's id.
    pub fn run_id(&self) -> &str {
        &self.core.run
    }

    /// The seed of every random draw.
    pub fn seed(&self) -> u64 {
        self.core.seed
    }

    /// Where the run's evidence lies.
    pub fn evidence(&self) -> std::path::PathBuf {
        self.core.recorder.dir().path().to_owned()
    }

    /// Says something that does not decide the verdict.
    pub fn warn(&self, warning: Trouble) {
        self.core.warn(warning);
    }
}

/// A nested scope of environment; it ends when this goes.
#[must_use = "dropping the guard ends the scope"]
#[derive(Debug)]
pub struct Nested {
    core: Arc<Core>,
}

impl Drop for Nested {
    fn drop(&mut self) {
        self.core.pop_scope();
    }
}

impl fmt::Debug for Testbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Testbed({:?})", self.core.names())
    }
}
