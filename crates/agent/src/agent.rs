//! Clients and what they ask for.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netsplit_link::{Channel, Config, Link, Priority, Received, SessionId, Transport, read_peer};
use netsplit_wire::message::{Body, KeepReply, Request};
use prost::Message;

use crate::files::{Index, Pipes};
use crate::system::System;
use crate::{dial, files, process};

/// How long a new client may take to say who it is.
const GREETING_MAX: Duration = Duration::from_secs(30);

/// What an agent must be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The host's name.
    pub host: String,
    /// How often the host has come up.
    pub generation: u32,
    /// The host's own addresses, where its servers may listen beside loopback.
    pub addresses: Vec<IpAddr>,
}

/// An agent that serves clients. Clones are the same agent.
#[derive(Clone, Debug)]
pub struct Agent {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) system: Box<dyn System>,
    pub(crate) index: Mutex<Index>,
    pub(crate) pipes: Pipes,
    sessions: Mutex<HashMap<SessionId, Link>>,
}

/// One client: its link, and whether what it runs outlives it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) agent: Arc<Shared>,
    pub(crate) link: Link,
    pub(crate) kept: Arc<AtomicBool>,
}

impl Agent {
    /// An agent without clients, whose commands `system` runs.
    pub fn new(settings: Settings, system: impl System) -> Self {
        let shared = Shared {
            settings,
            system: Box::new(system),
            index: Mutex::default(),
            pipes: Pipes::default(),
            sessions: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Serves the client at the other end of `transport` until its link is over. A client that was here before goes on
    /// where it broke off.
    pub async fn serve(&self, mut transport: impl Transport) {
        let Ok(Ok(peer)) = tokio::time::timeout(GREETING_MAX, read_peer(&mut transport)).await else {
            return;
        };
        let id = peer.session();
        let known = self.sessions().get(&id).cloned();
        if let Some(link) = known {
            // A peer that claims what cannot be is dropped; the session goes on without it.
            let _refused = link.resume(peer, transport);
            return;
        }
        let config = Config {
            name: self.shared.settings.host.clone(),
            generation: self.shared.settings.generation,
            heartbeat: None,
            ..Config::default()
        };
        let link = Link::answer(config, peer, None, transport);
        self.sessions().insert(id, link.clone());
        let session = Session { agent: Arc::clone(&self.shared), link, kept: Arc::default() };
        while let Some(channel) = session.link.accept().await {
            tokio::spawn(session.clone().serve(channel));
        }
        self.sessions().remove(&id);
    }

    /// Takes the reading end of a pipe; a put asks for it by `number`.
    pub fn hand(&self, number: u32, pipe: OwnedFd) {
        self.shared.pipes.hand(number, pipe);
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Link>> {
        self.shared.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    async fn serve(self, mut channel: Channel) {
        let Received::Message(body) = channel.receiver.receive().await else { return };
        // A request that cannot be read is answered by giving the channel up.
        let Ok(Request { body: Some(body) }) = Request::decode(body) else { return };
        match body {
            Body::Start(start) => process::serve(self, start, channel).await,
            Body::Put(put) => {
                channel.receiver.widen();
                files::put(&self.agent, put, channel).await;
            }
            Body::Get(get) => {
                channel.sender.set_priority(Priority::Bulk);
                files::get(&get.path, &channel.sender).await;
            }
            Body::Dial(dial) => dial::serve(&self.agent.settings, dial, channel).await,
            Body::Keep(_) => {
                self.kept.store(true, Ordering::Relaxed);
                let _gone = channel.sender.send_message(&KeepReply {}).await;
                channel.sender.finish();
            }
        }
    }
}
