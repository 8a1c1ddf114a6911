//! One end of a link: channels over frames over a transport that may be replaced.

mod channel;
mod session;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::frame::{Frame, ProtocolError};
use crate::hello::{Hello, SessionId, check_start};
use crate::limits::{CHANNELS_MAX, FRAME_PAYLOAD_MAX, OUTPUT_BURST};
use crate::outbox::Outbox;
use channel::{Channel, Receiving};
use session::Session;

/// Names a channel of one link: odd when the initiator opened it, even when the acceptor did.
pub type ChannelId = u32;

/// Which of two things goes first when both wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Requests and their answers.
    Control,
    /// What processes write.
    Output,
    /// Files.
    Bulk,
}

/// How one end behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who we are, for the peer's messages.
    pub name: String,
    /// How often this host has come up; 0 for a client.
    pub generation: u32,
    /// After so much silence we ask whether the peer lives; `None`: we never ask.
    pub heartbeat: Option<Duration>,
    /// After so much silence the transport counts as dead. Only with a heartbeat.
    pub dead_after: Duration,
    /// Payload bytes of a frame that we want to receive at most: less than the limit on slow lines.
    pub frame_payload_max: usize,
}

impl Default for Config {
    /// A nameless client that asks each second and gives up after 30: for peers on this machine, which may be starved
    /// but not unreachable.
    fn default() -> Self {
        Self {
            name: String::new(),
            generation: 0,
            heartbeat: Some(Duration::from_secs(1)),
            dead_after: Duration::from_secs(30),
            frame_payload_max: FRAME_PAYLOAD_MAX,
        }
    }
}

/// What a mux has to say to its owner.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The peer greeted us.
    Connected {
        /// What it said of itself.
        peer: Hello,
        /// Whether it went on with a session that both had.
        resumed: bool,
    },
    /// The peer opened a channel.
    Opened(ChannelId),
    /// [`Mux::receive_from`] has something new to say about this channel.
    Readable(ChannelId),
    /// A channel whose `send` was refused takes more.
    Writable(ChannelId),
}

/// What came in on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A frame's payload.
    Data {
        /// What kind of payload, as both sides agreed; 0 to 127.
        tag: u8,
        /// Whether more frames of the same message follow.
        more: bool,
        /// The bytes.
        payload: Bytes,
    },
    /// The peer will send no more; everything before this was delivered.
    Finished,
    /// The peer gave the channel up without finishing.
    Reset,
}

/// Why a channel cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{CHANNELS_MAX} channels are open already")]
pub struct OpenError;

/// Why something cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The channel's queue is full; [`Event::Writable`] will say when it is not.
    #[error("the channel's queue is full")]
    Full,
    /// The channel was finished or given up, by us or by the peer.
    #[error("the channel is closed")]
    Closed,
}

/// One end of a link. All state; no sockets, no clock.
#[derive(Debug)]
pub struct Mux {
    config: Config,
    initiator: bool,
    session: Session,
    channels: BTreeMap<ChannelId, Channel>,
    next_id: ChannelId,
    last_peer_id: ChannelId,
    /// OPEN, CREDIT and RESET on their way; at most a few a channel.
    urgent: VecDeque<Frame>,
    /// Channels that have something to send and may, by priority.
    ready: [VecDeque<ChannelId>; 3],
    /// Output frames sent since the last bulk frame.
    burst: u32,
    events: VecDeque<Event>,
}

impl Mux {
    /// The end that dials. `session` must be random: it is what a resume is recognised by.
    pub fn initiator(config: Config, session: SessionId) -> Self {
        Self::new(config, true, session)
    }

    /// The end that was dialled and read `hello`; greets back.
    pub fn acceptor(config: Config, hello: Hello, now: Instant) -> Self {
        let mut mux = Self::new(config, false, hello.session());
        mux.session.greet(&mux.config, now, false);
        mux.session.greeted(&hello, now);
        mux.events.push_back(Event::Connected { peer: hello, resumed: false });
        mux
    }

    fn new(config: Config, initiator: bool, session: SessionId) -> Self {
        Self {
            config,
            initiator,
            session: Session::new(session),
            channels: BTreeMap::new(),
            next_id: if initiator { 1 } else { 2 },
            last_peer_id: 0,
            urgent: VecDeque::new(),
            ready: Default::default(),
            burst: 0,
            events: VecDeque::new(),
        }
    }

    /// The initiator has a new transport: the first, or one after a break.
    pub fn attach(&mut self, now: Instant) {
        assert!(self.initiator, "an acceptor attaches with the hello it read");
        self.session.greet(&self.config, now, false);
    }

    /// The acceptor goes on with this session on a new transport, on which it read `hello`.
    ///
    /// # Errors
    /// When the peer claims to have received what was never sent.
    pub fn resume(&mut self, hello: Hello, now: Instant) -> Result<(), ProtocolError> {
        assert!(!self.initiator, "an initiator attaches and then reads a hello");
        self.session.greet(&self.config, now, true);
        self.session.resume(&hello, now)?;
        self.events.push_back(Event::Connected { peer: hello, resumed: true });
        Ok(())
    }

    /// The transport is gone; everything is kept for the next one.
    pub fn detach(&mut self) {
        self.session.detach();
    }

    /// Whether the peer has greeted us on the present transport.
    pub fn is_connected(&self) -> bool {
        self.session.is_open()
    }

    /// Takes all whole frames from the front of `input`, which is what the last call left and what has come since.
    ///
    /// # Errors
    /// When the peer breaks the protocol, or has lost the session; the link must be closed.
    pub fn receive(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), ProtocolError> {
        if self.session.is_news(input) {
            self.session.heard(now);
        }
        loop {
            if !self.session.is_open() {
                check_start(input)?;
            }
            let before = input.len();
            let Some(frame) = Frame::decode(input)? else {
                self.session.leave(input);
                return Ok(());
            };
            self.session.count(&frame, before - input.len(), now);
            self.on_frame(frame, now)?;
        }
    }

    fn on_frame(&mut self, frame: Frame, now: Instant) -> Result<(), ProtocolError> {
        if !self.session.is_open() {
            return match frame {
                Frame::Hello(body) if self.initiator => self.on_hello(Hello::decode_checked(body)?, now),
                _ => Err(ProtocolError::NoHello),
            };
        }
        match frame {
            Frame::Hello(_) => Err(ProtocolError::UnexpectedHello),
            Frame::Open { channel } => self.on_open(channel),
            Frame::Data { channel, tag, more, payload } => self.on_data(channel, tag, more, payload),
            Frame::Fin { channel } => self.on_fin(channel),
            Frame::Reset { channel } => self.on_reset(channel),
            Frame::Credit { channel, cost } => self.on_credit(channel, cost),
            Frame::Ping => {
                self.session.pong_due();
                Ok(())
            }
            Frame::Pong => Ok(()),
            Frame::Ack { count } => self.session.on_ack(count),
        }
    }

    fn on_hello(&mut self, hello: Hello, now: Instant) -> Result<(), ProtocolError> {
        let resumed = hello.resumed;
        if resumed {
            self.session.resume(&hello, now)?;
        } else if self.session.is_fresh() {
            self.session.greeted(&hello, now);
        } else {
            return Err(ProtocolError::SessionLost);
        }
        self.events.push_back(Event::Connected { peer: hello, resumed });
        Ok(())
    }

    fn on_data(&mut self, id: ChannelId, tag: u8, more: bool, payload: Bytes) -> Result<(), ProtocolError> {
        let channel = self.channels.get_mut(&id).ok_or(ProtocolError::NoSuchChannel(id))?;
        if channel.receive(id, tag, more, payload)? {
            self.events.push_back(Event::Readable(id));
        }
        Ok(())
    }

    fn on_open(&mut self, id: ChannelId) -> Result<(), ProtocolError> {
        let is_peers = id % 2 == u32::from(!self.initiator);
        if !is_peers || id <= self.last_peer_id {
            return Err(ProtocolError::NoSuchChannel(id));
        }
        if self.channels.len() >= CHANNELS_MAX * 2 {
            return Err(ProtocolError::TooManyChannels(CHANNELS_MAX));
        }
        self.last_peer_id = id;
        self.channels.insert(id, Channel::new(Priority::Control));
        self.events.push_back(Event::Opened(id));
        Ok(())
    }

    /// Whether the peer may still speak of `id`: a channel that both sides have closed is forgotten, and what was on
    /// its way then still arrives.
    fn is_past(&self, id: ChannelId) -> bool {
        let is_ours = id % 2 == u32::from(self.initiator);
        if is_ours { id < self.next_id } else { id != 0 && id <= self.last_peer_id }
    }

    fn on_fin(&mut self, id: ChannelId) -> Result<(), ProtocolError> {
        let channel = self.channels.get_mut(&id).ok_or(ProtocolError::NoSuchChannel(id))?;
        if channel.receiving != Receiving::Open {
            return Err(ProtocolError::NoSuchChannel(id));
        }
        channel.receiving = Receiving::Finished;
        self.events.push_back(Event::Readable(id));
        self.forget_if_over(id);
        Ok(())
    }

    fn on_reset(&mut self, id: ChannelId) -> Result<(), ProtocolError> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return if self.is_past(id) { Ok(()) } else { Err(ProtocolError::NoSuchChannel(id)) };
        };
        channel.given_up = true;
        // What came before is still delivered; after a FIN, a RESET only asks us to stop.
        if channel.receiving == Receiving::Open {
            channel.receiving = Receiving::Reset;
        }
        if channel.stop_sending() {
            self.urgent.push_back(Frame::Reset { channel: id });
        }
        self.events.push_back(Event::Readable(id));
        self.events.push_back(Event::Writable(id));
        self.forget_if_over(id);
        Ok(())
    }

    fn on_credit(&mut self, id: ChannelId, cost: u64) -> Result<(), ProtocolError> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return if self.is_past(id) { Ok(()) } else { Err(ProtocolError::NoSuchChannel(id)) };
        };
        channel.credit = channel.credit.saturating_add(cost);
        self.make_ready(id);
        Ok(())
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// When too many are open.
    pub fn open(&mut self, priority: Priority) -> Result<ChannelId, OpenError> {
        if self.channels.len() >= CHANNELS_MAX {
            return Err(OpenError);
        }
        let id = self.next_id;
        self.next_id += 2;
        self.channels.insert(id, Channel::new(priority));
        self.urgent.push_back(Frame::Open { channel: id });
        Ok(id)
    }

    /// Sets what our frames on a channel that the peer opened yield to.
    pub fn set_priority(&mut self, id: ChannelId, priority: Priority) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.priority = priority;
        }
    }

    /// Lets the peer send `cost` more on a channel than it could at first, from now on.
    pub fn widen(&mut self, id: ChannelId, cost: u64) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.widen(cost);
            self.urgent.push_back(Frame::Credit { channel: id, cost });
        }
    }

    /// Queues one message, whole or not at all. An empty queue takes a message of any size.
    ///
    /// # Errors
    /// When the queue is full or the channel closed.
    pub fn send(&mut self, id: ChannelId, tag: u8, payload: Bytes) -> Result<(), SendError> {
        assert!(tag < 128, "tags have seven bits");
        let channel = self.channels.get_mut(&id).ok_or(SendError::Closed)?;
        channel.queue(tag, payload)?;
        self.make_ready(id);
        Ok(())
    }

    /// Says that we send no more on a channel, once what is queued is sent.
    pub fn finish(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.finish();
            self.make_ready(id);
        }
    }

    /// What came in on a channel, in order; `None` until more comes. What was taken is given back as credit.
    pub fn receive_from(&mut self, id: ChannelId) -> Option<Incoming> {
        let channel = self.channels.get_mut(&id)?;
        let (incoming, credit) = channel.take();
        if let Some(cost) = credit {
            self.urgent.push_back(Frame::Credit { channel: id, cost });
        }
        incoming
    }

    /// Whether the peer has given a channel up, and so hears nothing more on it; [`Event::Writable`] tells of it.
    pub fn is_given_up(&self, id: ChannelId) -> bool {
        self.channels.get(&id).is_none_or(|channel| channel.given_up)
    }

    /// Whether credit or the like waits to be transmitted, which no channel's owner asked for.
    pub fn has_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    /// We are done with a channel: what was not read is dropped, and a peer that still sends is told to stop. What we
    /// sent and finished still arrives; what we did not finish is dropped.
    pub fn release(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.released = true;
        channel.inbox.clear();
        if !channel.is_finishing() {
            let unfinished = channel.stop_sending();
            if unfinished || channel.receiving == Receiving::Open {
                self.urgent.push_back(Frame::Reset { channel: id });
            }
            self.forget_if_over(id);
        }
    }

    /// How many channels are not yet closed by both sides.
    pub fn open_channels(&self) -> usize {
        self.channels.len()
    }

    fn forget_if_over(&mut self, id: ChannelId) {
        if self.channels.get(&id).is_some_and(Channel::is_over) {
            self.channels.remove(&id);
        }
    }

    fn make_ready(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id)
            && !channel.ready
            && channel.can_send()
        {
            channel.ready = true;
            self.ready[channel.priority as usize].push_back(id);
        }
    }

    /// Moves frames to `out` until it holds `limit` bytes or there is nothing to send. Returns whether it added any.
    /// An acknowledgement that finds no room has no deadline: call this again when there is some.
    pub fn transmit(&mut self, now: Instant, out: &mut Outbox, limit: usize) -> bool {
        let before = out.len();
        self.session.transmit(now, out, limit);
        while self.session.may_send() && out.len() < limit {
            let Some(frame) = self.next_frame() else { break };
            out.push(&frame);
            self.session.sent(frame);
        }
        if out.len() > before {
            self.session.acknowledge_along(out);
        }
        out.len() > before
    }

    fn next_frame(&mut self) -> Option<Frame> {
        if let Some(frame) = self.urgent.pop_front() {
            return Some(frame);
        }
        loop {
            let id = self.next_ready()?;
            let Some(channel) = self.channels.get_mut(&id) else { continue };
            channel.ready = false;
            let was_full = channel.is_full();
            let Some(frame) = channel.next_frame(id, self.session.payload_max()) else { continue };
            if was_full && channel.wants_writable() {
                self.events.push_back(Event::Writable(id));
            }
            if channel.released && matches!(frame, Frame::Fin { .. }) && channel.receiving == Receiving::Open
            {
                self.urgent.push_back(Frame::Reset { channel: id });
            }
            self.make_ready(id);
            self.forget_if_over(id);
            return Some(frame);
        }
    }

    /// Control before output before bulk, but for one of bulk after a burst of output.
    fn next_ready(&mut self) -> Option<ChannelId> {
        let [control, output, bulk] = &mut self.ready;
        if let Some(id) = control.pop_front() {
            return Some(id);
        }
        if (self.burst < OUTPUT_BURST || bulk.is_empty())
            && let Some(id) = output.pop_front()
        {
            self.burst += 1;
            return Some(id);
        }
        self.burst = 0;
        bulk.pop_front()
    }

    /// From now on asks after so much silence, or never: a peer that is stopped on purpose does not answer.
    pub fn set_heartbeat(&mut self, heartbeat: Option<Duration>, now: Instant) {
        self.config.heartbeat = heartbeat;
        if self.session.is_open() {
            self.session.heard(now);
        }
    }

    /// The next thing to tell the owner.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::timeout`] must be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.session.deadline(&self.config)
    }

    /// Time has passed: a heartbeat or an acknowledgement may be due.
    ///
    /// # Errors
    /// [`ProtocolError::Silent`] when the peer has been silent for too long; detach, and attach again or give up.
    pub fn timeout(&mut self, now: Instant) -> Result<(), ProtocolError> {
        self.session.timeout(&self.config, now)
    }
}
