//! A link: one mux, whoever uses its channels, and the pump that carries it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use netsplit_wire::{
    ChannelId, Config, Event, Hello, Mux, Priority, ProtocolError, SessionId, limits, message::tag,
    read_hello,
};
use prost::Message;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::Notify;

use crate::channel::Channel;
use crate::pump;

/// A byte stream that keeps bytes in order and whole: a socket, a child's pipes, a TLS session.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {}

/// Why a link is over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// The peer closed the transport, or ended.
    #[error("the connection ended")]
    Ended,
    /// The transport broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The peer broke the protocol, was silent for too long, or forgot the session.
    #[error("{0}")]
    Protocol(ProtocolError),
    /// No new transport came in time.
    #[error("no connection for {0:?}")]
    NotResumed(Duration),
    /// We closed it.
    #[error("the connection was closed here")]
    Closed,
}

/// What an initiator said of itself before there was a link.
#[derive(Debug)]
pub struct Peer {
    pub(crate) hello: Hello,
    pub(crate) input: BytesMut,
}

impl Peer {
    /// The session it wants to begin or to go on with.
    pub fn session(&self) -> SessionId {
        self.hello.session()
    }

    /// The name it gave.
    pub fn name(&self) -> &str {
        &self.hello.name
    }
}

/// Reads an initiator's hello, so that the caller can look for the session it names.
///
/// # Errors
/// When the transport ends first, or something else than a hello comes.
pub async fn read_peer(transport: &mut impl Transport) -> Result<Peer, LinkError> {
    let mut input = BytesMut::new();
    loop {
        if let Some(hello) = read_hello(&mut input).map_err(LinkError::Protocol)? {
            return Ok(Peer { hello, input });
        }
        match transport.read_buf(&mut input).await {
            Ok(0) => return Err(LinkError::Ended),
            Ok(_) => {}
            Err(error) => return Err(LinkError::Broken(error.to_string())),
        }
    }
}

/// A link to a peer. Clones are the same link; it lives until it is closed or ends by itself.
#[derive(Clone, Debug)]
pub struct Link {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Something is to be sent, or the transport is to be given up.
    pub(crate) pump: Notify,
    /// Connected, ended, or a channel was released.
    changed: Notify,
    /// A transport was lost and none is there.
    pub(crate) detached: Notify,
    /// How long a lost transport may take to be replaced; `None`: the link ends with its transport.
    resume_within: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) mux: Mux,
    pub(crate) wakers: HashMap<ChannelId, Wakers>,
    accepted: VecDeque<ChannelId>,
    acceptors: Waiting,
    /// Whether somebody could not open a channel because too many were.
    is_full: bool,
    peer: Option<Hello>,
    pub(crate) ended: Option<LinkError>,
    /// Counts transports, so that a pump knows when it has been replaced.
    pub(crate) transport: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Wakers {
    pub(crate) reader: Option<Waker>,
    pub(crate) writers: Waiting,
}

impl Wakers {
    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// All who wait for one thing. Each looks again when it is woken: who has gone meanwhile takes nothing from the others.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Vec<Waker>);

impl Waiting {
    pub(crate) fn add(&mut self, waker: &Waker) {
        if !self.0.iter().any(|known| known.will_wake(waker)) {
            self.0.push(waker.clone());
        }
    }

    fn wake(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl Link {
    /// Dials: begins `session` on `transport`. With `resume_within`, a lost transport may be replaced by
    /// [`Self::attach`] for so long; without, the link ends with it.
    ///
    /// Must be called in a tokio runtime, which runs the pump.
    pub fn dial(
        config: Config,
        session: SessionId,
        resume_within: Option<Duration>,
        transport: impl Transport,
    ) -> Self {
        let link = Self::new(Mux::initiator(config, session), resume_within);
        link.attach(transport);
        link
    }

    /// Answers `peer`, who was read from `transport`, with a new session.
    pub fn answer(
        config: Config,
        peer: Peer,
        resume_within: Option<Duration>,
        transport: impl Transport,
    ) -> Self {
        let mux = Mux::acceptor(config, peer.hello, pump::now());
        let link = Self::new(mux, resume_within);
        pump::start(&link.shared, transport, peer.input);
        link
    }

    fn new(mux: Mux, resume_within: Option<Duration>) -> Self {
        let state = State {
            mux,
            wakers: HashMap::new(),
            accepted: VecDeque::new(),
            acceptors: Waiting::default(),
            is_full: false,
            peer: None,
            ended: None,
            transport: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                pump: Notify::new(),
                changed: Notify::new(),
                detached: Notify::new(),
                resume_within,
            }),
        }
    }

    /// The initiator goes on over another transport; the present one, if any, is dropped.
    pub fn attach(&self, transport: impl Transport) {
        self.shared.lock().mux.attach(pump::now());
        pump::start(&self.shared, transport, BytesMut::new());
    }

    /// The acceptor goes on with `peer`, who was read from `transport` and named this link's session.
    ///
    /// # Errors
    /// When the peer claims what cannot be; the link goes on as it was.
    pub fn resume(&self, peer: Peer, transport: impl Transport) -> Result<(), LinkError> {
        let resumed = self.shared.lock().mux.resume(peer.hello, pump::now());
        resumed.map_err(LinkError::Protocol)?;
        pump::start(&self.shared, transport, peer.input);
        Ok(())
    }

    /// Waits until the peer has greeted us; gives the name it said.
    ///
    /// # Errors
    /// When the link ends first.
    pub async fn connected(&self) -> Result<String, LinkError> {
        self.wait(|state| state.peer.as_ref().map(|peer| peer.name.clone())).await
    }

    /// Opens a channel; waits while too many are open.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn open(&self, priority: Priority) -> Result<Channel, LinkError> {
        let open = |state: &mut State| {
            let id = state.mux.open(priority).ok();
            state.is_full = id.is_none();
            id
        };
        let id = self.wait(open).await?;
        self.shared.pump.notify_one();
        Ok(Channel::new(Arc::clone(&self.shared), id))
    }

    /// Opens a channel for [`Priority::Control`] whose answers may be much, and queues its first message: all of it goes
    /// out in one write. Waits while too many are open.
    ///
    /// # Errors
    /// When the link has ended.
    pub async fn request(&self, message: &impl Message) -> Result<Channel, LinkError> {
        let payload = Bytes::from(message.encode_to_vec());
        let open = |state: &mut State| {
            let id = state.mux.open(Priority::Control).ok();
            state.is_full = id.is_none();
            if let Some(id) = id {
                state.mux.widen(id, limits::WINDOW_BULK);
                let _room = state.mux.send(id, tag::MESSAGE, payload.clone());
            }
            id
        };
        let id = self.wait(open).await?;
        self.shared.pump.notify_one();
        Ok(Channel::new(Arc::clone(&self.shared), id))
    }

    /// The next channel that the peer opened; `None` when the link has ended.
    pub async fn accept(&self) -> Option<Channel> {
        let id = std::future::poll_fn(|context| {
            let mut state = self.shared.lock();
            if let Some(id) = state.accepted.pop_front() {
                return std::task::Poll::Ready(Some(id));
            }
            if state.ended.is_some() {
                return std::task::Poll::Ready(None);
            }
            state.acceptors.add(context.waker());
            std::task::Poll::Pending
        })
        .await?;
        Some(Channel::new(Arc::clone(&self.shared), id))
    }

    /// Waits until the link is over, and says why.
    pub async fn ended(&self) -> LinkError {
        match self.wait(|_| None::<std::convert::Infallible>).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    /// Whether the link is over.
    pub fn is_over(&self) -> bool {
        self.shared.lock().ended.is_some()
    }

    /// From now on asks after so much silence whether the peer lives, or never: while it is stopped on purpose.
    pub fn set_heartbeat(&self, heartbeat: Option<Duration>) {
        self.shared.lock().mux.set_heartbeat(heartbeat, pump::now());
        self.shared.pump.notify_one();
    }

    /// Ends the link; whoever waits on it learns so.
    pub fn close(&self) {
        self.shared.end(LinkError::Closed);
    }

    async fn wait<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> Result<T, LinkError> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // Enabled before the look, so that no change between the look and the wait is missed.
            changed.as_mut().enable();
            {
                let mut state = self.shared.lock();
                if let Some(error) = &state.ended {
                    return Err(error.clone());
                }
                if let Some(value) = ready(&mut state) {
                    return Ok(value);
                }
            }
            changed.await;
        }
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed, whatever panicked elsewhere.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what the mux has to say.
    pub(crate) fn dispatch(&self, state: &mut State) {
        while let Some(event) = state.mux.poll_event() {
            match event {
                Event::Connected { peer, .. } => {
                    state.peer = Some(peer);
                    self.changed.notify_waiters();
                }
                Event::Opened(id) => {
                    state.accepted.push_back(id);
                    state.acceptors.wake();
                }
                // A channel that was released has nobody who waits.
                Event::Readable(id) => {
                    state.wakers.get_mut(&id).into_iter().for_each(Wakers::wake_reader);
                }
                Event::Writable(id) => {
                    state.wakers.get_mut(&id).into_iter().for_each(|wakers| wakers.writers.wake());
                }
            }
        }
        if state.is_full && state.mux.open_channels() < limits::CHANNELS_MAX {
            state.is_full = false;
            self.changed.notify_waiters();
        }
    }

    /// The transport number `transport` is gone. The link waits for another, or ends.
    pub(crate) fn lost(self: &Arc<Self>, transport: u64, why: LinkError) {
        {
            let mut state = self.lock();
            if state.transport != transport || state.ended.is_some() {
                return;
            }
            state.mux.detach();
        }
        let forgotten =
            matches!(why, LinkError::Protocol(ref error) if !matches!(error, ProtocolError::Silent(_)));
        match self.resume_within {
            Some(lease) if !forgotten => {
                self.detached.notify_one();
                tokio::spawn(pump::expire(Arc::clone(self), transport, lease));
            }
            _ => self.end(why),
        }
    }

    pub(crate) fn end(&self, why: LinkError) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(why);
        state.acceptors.wake();
        for (_, mut wakers) in state.wakers.drain() {
            wakers.wake_reader();
            wakers.writers.wake();
        }
        drop(state);
        self.changed.notify_waiters();
        self.pump.notify_one();
    }

    pub(crate) fn release(&self, id: ChannelId, is_urgent: bool) {
        let mut state = self.lock();
        state.mux.release(id);
        state.wakers.remove(&id);
        let is_awaited = std::mem::take(&mut state.is_full);
        drop(state);
        if is_urgent {
            self.pump.notify_one();
        }
        if is_awaited {
            self.changed.notify_waiters();
        }
    }
}
