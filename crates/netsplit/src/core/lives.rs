//! How hosts come up, and how it is known that one has gone without the test's doing.

use std::sync::Arc;
use std::time::Duration;

use netsplit_link::{Config, Link, SessionId};
use netsplit_model::{Event, HostName, Reason, Trouble, units::Wanted};
use netsplit_provider::{BedEvent, MadeHost};
use tokio::sync::watch;

use super::{Core, HostState, Info, Power};
use crate::error::{Error, Result};
use crate::gate::Gated;
use crate::host::HEARTBEAT;

/// How long a host's own last words may take after its link has ended.
const LAST_WORDS: Duration = Duration::from_millis(300);

impl Core {
    /// Connects to a host that was made, and waits until its agent has answered. Must run on the engine.
    pub(crate) async fn connect(self: &Arc<Self>, info: Arc<Info>, made: MadeHost) -> Result {
        let config = Config { name: format!("run {}", self.run), ..Config::default() };
        let gate = self.with_host(&info.name, |host| host.gate.clone());
        let way = Gated { gate: gate.clone(), inner: made.transport };
        let link = Link::dial(config, random_session(), None, way);
        let limit = self.settings.deadlines.host;
        match tokio::time::timeout(limit, link.connected()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(self.not_ready(&info.name, &error.to_string()).await),
            Err(_) => {
                return Err(self.not_ready(&info.name, &format!("no answer for {}", Wanted(limit))).await);
            }
        }
        let (address, address6) = self.with_host(&info.name, |host| {
            (host.link, host.power, host.generation) = (Some(link.clone()), Power::Up, made.generation);
            host.tend();
            host.changed.send_replace(());
            (host.address.clone(), host.address6.clone())
        });
        if made.generation <= 1 {
            self.record_environment(std::slice::from_ref(&info.name));
        }
        self.recorder.event(Event::HostReady {
            host: info.name.clone(),
            role: info.role.clone(),
            address,
            address6,
            generation: made.generation,
        });
        tokio::spawn(watch_link(Arc::clone(self), info.name.clone(), made.generation, link));
        Ok(())
    }

    /// The error of a host that did not come up, with its own last words if it has any.
    async fn not_ready(self: &Arc<Self>, name: &HostName, otherwise: &str) -> Error {
        let words = async {
            loop {
                match self.bed.event().await {
                    BedEvent::HostDied(host, reason) if host == *name && !reason.is_empty() => return reason,
                    // What is not ours is nobody else's to hear: events come once.
                    BedEvent::Ended(reason) => {
                        self.on_bed_event(BedEvent::Ended(reason.clone()));
                        return reason;
                    }
                    other => self.on_bed_event(other),
                }
            }
        };
        let reason = tokio::time::timeout(LAST_WORDS, words).await.unwrap_or_else(|_| otherwise.to_owned());
        Trouble::new(Reason::HostNotReady, format!("host {name} did not come up: {reason}")).into()
    }

    /// The testbed said something by itself.
    fn on_bed_event(self: &Arc<Self>, event: BedEvent) {
        let lost = |host: &HostName, reason: &str| {
            let generation = self.with_host(host, |host| host.generation);
            self.on_lost(host, generation, reason);
        };
        match event {
            BedEvent::HostDied(host, reason) if self.names().contains(&host) => {
                lost(&host, if reason.is_empty() { "its agent was killed or ended" } else { &reason });
            }
            BedEvent::HostDied(..) => {}
            BedEvent::FaultTurned(turned) => self.on_fault_turned(turned),
            BedEvent::Ended(reason) => self.names().iter().for_each(|host| lost(host, &reason)),
        }
    }

    /// The verdict is given; the testbed is taken down.
    pub(crate) fn set_over(&self) {
        self.lock().over = true;
    }

    /// A host has gone, and the test did not do it.
    pub(crate) fn on_lost(&self, name: &HostName, generation: u32, reason: &str) {
        if self.lock().over {
            return;
        }
        let is_news = self.with_host(name, |host| {
            let is_news = host.generation == generation && matches!(host.power, Power::Up | Power::Paused);
            if is_news {
                host.power = Power::Lost(reason.to_owned());
                host.link = None;
                host.changed.send_replace(());
            }
            is_news
        });
        if is_news {
            let event = Event::HostLost { host: name.clone(), reason: reason.to_owned() };
            self.recorder.disturbance(event, format!("host {name} was lost"));
        }
    }

    /// Whether a host was lost that the test did not kill; which, and why.
    pub(crate) fn any_lost(&self) -> Option<(HostName, String)> {
        self.lock().hosts.iter().find_map(|host| match &host.power {
            Power::Lost(reason) => Some((host.info.name.clone(), reason.clone())),
            _ => None,
        })
    }

    /// Waits until what has happened to hosts so far is known here, and why. Must run on the engine.
    pub(crate) async fn news(&self) {
        // Sockets are looked at, and then what came of them.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        let is_silent = |host: &HostState| {
            matches!(host.power, Power::Up | Power::Paused) && host.link.as_ref().is_some_and(Link::is_over)
        };
        let silent: Vec<_> = self
            .lock()
            .hosts
            .iter()
            .filter(|host| is_silent(host))
            .map(|host| host.changed.subscribe())
            .collect();
        let all = async {
            for mut changed in silent {
                let _told = changed.changed().await;
            }
        };
        let _unexplained = tokio::time::timeout(LAST_WORDS, all).await;
    }

    /// Wakes when the host's power has changed.
    pub(crate) fn power_changes(&self, name: &HostName) -> watch::Receiver<()> {
        self.with_host(name, |host| host.changed.subscribe())
    }

    /// Why a process on this host was lost.
    pub(crate) fn why_lost(&self, name: &HostName, otherwise: &str) -> String {
        self.with_host(name, |host| match &host.power {
            Power::Killed => "the host was killed by the test".to_owned(),
            Power::Lost(reason) => format!("the host was lost: {reason}"),
            Power::Up | Power::Paused => otherwise.to_owned(),
        })
    }
}

impl HostState {
    /// Asks the agent whether it lives, but not while silence is what was asked for: that is no death.
    pub(crate) fn tend(&self) {
        let may_answer = self.falls_silent && self.power == Power::Up && self.gate.is_open();
        if let Some(link) = &self.link {
            link.set_heartbeat(may_answer.then_some(HEARTBEAT));
        }
    }
}

pub(crate) fn lost(name: &HostName, reason: &str) -> Error {
    Trouble::new(Reason::HostLost, format!("host {name} was lost: {reason}"))
        .guess(format!("restart {name}, if its loss is part of the test"))
        .into()
}

async fn watch_link(core: Arc<Core>, host: HostName, generation: u32, link: Link) {
    let why = link.ended().await;
    // What the host or its stage says of it is better than that a connection ended.
    tokio::time::sleep(LAST_WORDS / 10).await;
    core.on_lost(&host, generation, &format!("its agent went away ({why})"));
}

/// Passes on what the testbed says by itself. Runs on the engine until the testbed ends.
pub(crate) async fn watch_bed(core: Arc<Core>) {
    loop {
        let event = core.bed.event().await;
        let is_last = matches!(event, BedEvent::Ended(_));
        core.on_bed_event(event);
        if is_last {
            return;
        }
    }
}

fn random_session() -> SessionId {
    let mut id = [0; 16];
    crate::entropy::fill(&mut id);
    SessionId(id)
}
