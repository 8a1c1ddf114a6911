//! A host: what a test does to it.

use std::fmt::{self, Display};
use std::future::Future;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use netsplit_model::{Capability, Event, HostName, Place, Reason, Trouble};
use netsplit_provider::Power as PowerChange;

use crate::clock::Clock;
use crate::command::IntoWords;
use crate::connect::{self, Forward, HostStream};
use crate::core::{Core, Info, Power, lost};
use crate::disk::Disk;
use crate::engine::run_on;
use crate::error::{Error, Result};
use crate::files::{CopyTo, Get, Put, Write};
use crate::network::{self, Capture};
use crate::place;
use crate::process::{Run, Start};
use crate::wait::{Never, Wait};

/// How often the agent of a host that is not paused is asked whether it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(1);

/// A host of the testbed. Clones are the same host.
#[derive(Clone)]
pub struct Host {
    pub(crate) core: Arc<Core>,
    info: Arc<Info>,
}

impl Host {
    /// The handle of a host that exists.
    pub(crate) fn new(core: &Arc<Core>, name: &HostName) -> Self {
        let info = core.with_host(name, |host| Arc::clone(&host.info));
        Self { core: Arc::clone(core), info }
    }

    /// Its name.
    pub fn name(&self) -> &HostName {
        &self.info.name
    }

    /// Its role.
    pub fn role(&self) -> &HostName {
        &self.info.role
    }

    /// Its number within its role, from 0.
    pub fn index(&self) -> usize {
        self.info.index
    }

    /// Its IPv4 address.
    pub fn address(&self) -> String {
        self.core.with_host(self.name(), |host| host.address.clone())
    }

    /// Its IPv6 address.
    pub fn address6(&self) -> String {
        self.core.with_host(self.name(), |host| host.address6.clone())
    }

    /// How often it has come up, from 1.
    pub fn generation(&self) -> u32 {
        self.core.with_host(self.name(), |host| host.generation)
    }

    // ── commands ──

    /// Runs a command to its end. Anything but exit code 0 is an error with the tails of both streams, unless
    /// [`Run::exits`] says otherwise.
    #[track_caller]
    pub fn run(&self, command: impl IntoWords) -> Run {
        Run::new(&self.core, self.name(), command.into_words(), Location::caller())
    }

    /// Starts a command and lets it run.
    #[track_caller]
    pub fn start(&self, command: impl IntoWords) -> Start {
        Start::new(&self.core, self.name(), command.into_words(), Location::caller())
    }

    // ── waits ──

    /// Waits for a line of any process of this host, since the last disturbance (fault, heal, power, signal).
    #[track_caller]
    pub fn wait_for(&self, pattern: impl Into<String>) -> Wait {
        Wait::on_hosts(
            &self.core,
            Some(std::slice::from_ref(self.name())),
            pattern.into(),
            Location::caller(),
        )
    }

    /// Expects that no process of this host writes such a line.
    #[track_caller]
    pub fn never(&self, pattern: impl Into<String>) -> Never {
        Never::from(self.wait_for(pattern))
    }

    // ── files ──

    /// Brings a file or folder of this machine to the host. A path that ends with `/` is a folder to put it into.
    #[track_caller]
    pub fn put(&self, from: impl Into<PathBuf>, to: impl Into<String>) -> Put {
        Put::new(&self.core, self.name(), from.into(), to.into(), Location::caller())
    }

    /// Writes a file on the host.
    #[track_caller]
    pub fn write(&self, path: impl Into<String>, contents: impl Into<Bytes>) -> Write {
        Write::new(&self.core, self.name(), path.into(), contents.into(), Location::caller())
    }

    /// Fetches a file or folder of the host into the run's evidence, below `hosts/HOST/files`; one that was fetched
    /// before stays, and the new one is `NAME.2`.
    #[track_caller]
    pub fn get(&self, path: impl Into<String>) -> Get {
        Get::new(&self.core, self.name(), path.into(), Location::caller())
    }

    /// Copies a file or folder of this host to another, at the same path unless [`CopyTo::at_path`] says otherwise.
    #[track_caller]
    pub fn copy_to(&self, other: &Self, path: impl Into<String>) -> CopyTo {
        CopyTo::new(self, other, path.into(), Location::caller())
    }

    // ── environment ──

    /// Sets a variable for every process that is started on this host from now on; the value is taken as it is.
    ///
    /// The nearest scope wins: the command's, then the nested test's, then the run's ([`Testbed::set_env`]), then the
    /// host's, which therefore is a default. A name that is empty or has `=` or NUL in it is an error of the command.
    ///
    /// [`Testbed::set_env`]: crate::Testbed::set_env
    pub fn set_env(&self, name: impl Into<String>, value: impl Display) {
        self.core.change_host_scope(self.name(), |scope| {
            scope.set(name, value.to_string());
        });
    }

    /// Takes away a variable that was set for this host.
    pub fn remove_env(&self, name: impl Into<String>) {
        self.core.change_host_scope(self.name(), |scope| {
            scope.unset(name);
        });
    }

    /// What a process started now would see: variable, value, and the scope that it comes from.
    pub fn environment(&self) -> Vec<(String, String, String)> {
        let own = |text: &str| text.to_owned();
        self.core.environment(self.name(), &netsplit_model::Scope::new("command"), |seen| {
            seen.iter().map(|seen| (own(seen.name), own(seen.value), own(seen.scope))).collect()
        })
    }

    // ── power ──

    /// Cuts its power: every process is gone at once, its disk stays.
    ///
    /// # Errors
    /// When it does not run, or cannot be killed.
    #[track_caller]
    pub fn kill(&self) -> impl Future<Output = Result> + use<> {
        let (host, at) = (self.clone(), Location::caller());
        async move { host.noted(host.do_kill().await, place::of(at)) }
    }

    /// Stops everything on it for a while.
    ///
    /// # Errors
    /// When it does not run, or cannot be paused.
    #[track_caller]
    pub fn pause(&self) -> impl Future<Output = Result> + use<> {
        let (host, at) = (self.clone(), Location::caller());
        async move { host.noted(host.do_pause(true).await, place::of(at)) }
    }

    /// Lets everything on it go on.
    ///
    /// # Errors
    /// When it is not paused.
    #[track_caller]
    pub fn resume(&self) -> impl Future<Output = Result> + use<> {
        let (host, at) = (self.clone(), Location::caller());
        async move { host.noted(host.do_pause(false).await, place::of(at)) }
    }

    /// Starts it again with the disk it had; a host that runs is killed first. Nothing that ran on it runs again.
    ///
    /// # Errors
    /// When it does not come up.
    #[track_caller]
    pub fn restart(&self) -> impl Future<Output = Result> + use<> {
        let (host, at) = (self.clone(), Location::caller());
        async move { host.noted(host.do_restart().await, place::of(at)) }
    }

    // ── clock and disk ──

    /// Its clock, which can be wrong.
    pub fn clock(&self) -> Clock {
        Clock::new(self)
    }

    /// Its disk, which can fail.
    pub fn disk(&self) -> Disk {
        Disk::new(self)
    }

    // ── connections ──

    /// Connects to a TCP port of the host, from this process.
    ///
    /// # Errors
    /// When nobody listens there, or the host is paused.
    #[track_caller]
    pub fn connect(&self, port: u16) -> impl Future<Output = Result<HostStream>> + use<> {
        let (host, at) = (self.clone(), Location::caller());
        async move {
            let connected = match connect::check_awake(&host.core, host.name(), port) {
                Ok(()) => connect::connect(&host.core, host.name(), port).await,
                Err(paused) => Err(paused),
            };
            host.noted(connected, place::of(at))
        }
    }

    /// Listens on 127.0.0.1 here and carries each connection to a port of the host, until what is returned is dropped.
    /// It shows as `127.0.0.1:PORT`.
    ///
    /// # Errors
    /// When no port can be opened here.
    #[track_caller]
    pub fn forward(&self, port: u16) -> impl Future<Output = Result<Forward>> + use<> {
        let (host, at) = (self.clone(), Location::caller());
        async move {
            let forward = connect::forward(&host.core, host.name(), port).await;
            host.noted(forward, place::of(at))
        }
    }

    fn noted<T>(&self, result: Result<T>, at: Option<Place>) -> Result<T> {
        self.core.noted(result, at)
    }

    /// Writes the packets of this host into the evidence, for Wireshark: what it sends and gets, and what was lost on its
    /// way to it.
    #[track_caller]
    pub fn capture(&self) -> impl Future<Output = Result<Capture>> + Send + 'static {
        network::capture(&self.core, Ok(network::of_host(self)), place::of(Location::caller()))
    }

    async fn do_kill(&self) -> Result {
        self.core.need(Capability::Kill)?;
        let before = self.take_power(Power::Killed)?;
        let event = Event::HostKilled { host: self.name().clone() };
        self.core.recorder.disturbance(event, format!("kill {} began", self.name()));
        let killed = self.change(PowerChange::Kill).await;
        match killed {
            Ok(()) => {
                let link = self.core.with_host(self.name(), |host| host.link.take());
                if let Some(link) = link {
                    link.close();
                }
                Ok(())
            }
            Err(error) => {
                self.core.with_host(self.name(), |host| host.power = before);
                Err(error)
            }
        }
    }

    async fn do_pause(&self, pause: bool) -> Result {
        self.core.need(Capability::Pause)?;
        let (wanted, verb) = if pause { (Power::Paused, "pause") } else { (Power::Up, "resume") };
        let before = self.core.with_host(self.name(), |host| host.power.clone());
        if before == wanted {
            let text =
                format!("host {} is {}", self.name(), if pause { "paused already" } else { "not paused" });
            return Err(Error::new(Reason::HostDown, text));
        }
        self.core.link(self.name())?;
        let event = if pause {
            Event::HostPaused { host: self.name().clone() }
        } else {
            Event::HostResumed { host: self.name().clone() }
        };
        self.core.recorder.disturbance(event, format!("{verb} {} began", self.name()));
        self.core.with_host(self.name(), |host| {
            host.power = wanted;
            // One that is stopped on purpose does not answer; one that goes on does so when it has come to that.
            if pause {
                host.tend();
            }
        });
        let changed = self.change(if pause { PowerChange::Pause } else { PowerChange::Resume }).await;
        self.core.with_host(self.name(), |host| {
            if changed.is_err() {
                host.power = before;
            }
            host.tend();
        });
        changed
    }

    async fn do_restart(&self) -> Result {
        self.core.need(Capability::Kill)?;
        if let Some(fault) = self.core.unreached_by(self.name()) {
            let text =
                format!("{0} cannot be restarted: `{1}` cuts netsplit off from it", self.name(), fault.what);
            return Err(Trouble::new(Reason::HostDown, text)
                .fix(format!("heal `{}` first", fault.what))
                .into());
        }
        let power = self.core.with_host(self.name(), |host| host.power.clone());
        match power {
            Power::Up | Power::Paused => self.do_kill().await?,
            // Its connection ended; it may still be on its way out, and comes up only when it is gone.
            Power::Lost(_) => drop(self.change(PowerChange::Kill).await),
            Power::Killed => {}
        }
        let (core, info) = (Arc::clone(&self.core), Arc::clone(&self.info));
        run_on(&self.core.engine, async move {
            let made = core.bed.start(&info.name).await.map_err(Error::from)?;
            let name = info.name.clone();
            let connected = core.connect(info, made).await;
            if connected.is_err() {
                // It is down for the test: it must not run behind its back.
                let _gone_already = core.bed.power(&name, PowerChange::Kill).await;
            }
            connected
        })
        .await?
    }

    /// Sets the power of a host that runs, before it is changed: what ends because of it is not lost.
    fn take_power(&self, power: Power) -> Result<Power> {
        self.core.with_host(self.name(), |host| match &host.power {
            Power::Up | Power::Paused => Ok(std::mem::replace(&mut host.power, power)),
            Power::Lost(reason) => Err(lost(self.name(), reason)),
            Power::Killed => {
                let text = format!("host {} is down already: the test killed it", self.name());
                Err(Trouble::new(Reason::HostDown, text).into())
            }
        })
    }

    async fn change(&self, power: PowerChange) -> Result {
        let (core, name) = (Arc::clone(&self.core), self.name().clone());
        run_on(&self.core.engine, async move { core.bed.power(&name, power).await })
            .await?
            .map_err(Error::from)
    }
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({})", self.name())
    }
}

impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && Arc::ptr_eq(&self.core, &other.core)
    }
}

impl Eq for Host {}

/// One host or several: what a wait looks at.
pub trait Hosts {
    /// Their names.
    fn hosts(self) -> Vec<HostName>;
}

impl Hosts for &Host {
    fn hosts(self) -> Vec<HostName> {
        vec![self.name().clone()]
    }
}

impl Hosts for Host {
    fn hosts(self) -> Vec<HostName> {
        vec![self.name().clone()]
    }
}

impl Hosts for Vec<Host> {
    fn hosts(self) -> Vec<HostName> {
        self.as_slice().hosts()
    }
}

impl Hosts for &[Host] {
    fn hosts(self) -> Vec<HostName> {
        self.iter().map(|host| host.name().clone()).collect()
    }
}

impl Hosts for &Vec<Host> {
    fn hosts(self) -> Vec<HostName> {
        self.as_slice().hosts()
    }
}

impl Hosts for Vec<&Host> {
    fn hosts(self) -> Vec<HostName> {
        self.as_slice().hosts()
    }
}

impl Hosts for &[&Host] {
    fn hosts(self) -> Vec<HostName> {
        self.iter().map(|host| host.name().clone()).collect()
    }
}

impl Hosts for &Vec<&Host> {
    fn hosts(self) -> Vec<HostName> {
        self.as_slice().hosts()
    }
}

impl<const N: usize> Hosts for [Host; N] {
    fn hosts(self) -> Vec<HostName> {
        self.as_slice().hosts()
    }
}

impl<const N: usize> Hosts for &[Host; N] {
    fn hosts(self) -> Vec<HostName> {
        self.as_slice().hosts()
    }
}

impl<const N: usize> Hosts for [&Host; N] {
    fn hosts(self) -> Vec<HostName> {
        self.iter().map(|host| host.name().clone()).collect()
    }
}

impl<const N: usize> Hosts for &[&Host; N] {
    fn hosts(self) -> Vec<HostName> {
        (*self).hosts()
    }
}
