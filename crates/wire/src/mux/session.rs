//! What outlives a transport: which frames were sent and not acknowledged, how many arrived; and what does not: the
//! greeting, heartbeats, acknowledgements under way.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use prost::Message;

use super::Config;
use crate::frame::{Frame, ProtocolError};
use crate::hello::{Hello, SessionId};
use crate::limits::{ACK_BYTES, ACK_DELAY, FRAME_PAYLOAD_MAX, UNACKED_MAX};
use crate::outbox::Outbox;

#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    phase: Phase,
    /// Whether a peer ever greeted us: what was lost then cannot be begun anew.
    fresh: bool,
    payload_max: usize,

    /// Counted frames that the peer has not acknowledged, the oldest first.
    unacked: VecDeque<Frame>,
    unacked_bytes: usize,
    /// How many counted frames the peer has acknowledged.
    acked: u64,
    /// The first of `unacked` that the present transport has not carried yet.
    resend: usize,

    /// How many counted frames have arrived, and of those, how many we acknowledged.
    received: u64,
    received_acked: u64,
    received_bytes: usize,
    ack_due: Option<Instant>,
    /// Whether the last `transmit` found no room: what is due waits for the next one then, and for no time.
    is_held_up: bool,

    last_heard: Option<Instant>,
    /// Bytes of a frame that has begun to arrive.
    begun: usize,
    pinged: bool,
    ping_due: bool,
    pong_due: bool,
}

#[derive(Debug)]
enum Phase {
    Detached,
    /// Our hello is to be sent, or was; the peer's is awaited.
    Greeting {
        hello: Option<Hello>,
    },
    /// The peer's hello was read; ours may still have to be sent.
    Open {
        hello: Option<Hello>,
    },
}

impl Session {
    pub(super) fn new(id: SessionId) -> Self {
        Self {
            id,
            phase: Phase::Detached,
            fresh: true,
            payload_max: FRAME_PAYLOAD_MAX,
            unacked: VecDeque::new(),
            unacked_bytes: 0,
            acked: 0,
            resend: 0,
            received: 0,
            received_acked: 0,
            received_bytes: 0,
            ack_due: None,
            is_held_up: false,
            last_heard: None,
            begun: 0,
            pinged: false,
            ping_due: false,
            pong_due: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    pub(super) fn payload_max(&self) -> usize {
        self.payload_max
    }

    /// A new transport: our hello is due.
    pub(super) fn greet(&mut self, config: &Config, now: Instant, resumed: bool) {
        let mut hello = Hello::new(&config.name, config.generation, self.id, config.frame_payload_max);
        hello.received = self.received;
        hello.resumed = resumed;
        self.detach();
        self.phase = Phase::Greeting { hello: Some(hello) };
        self.last_heard = Some(now);
    }

    /// The peer's hello for a session that begins.
    pub(super) fn greeted(&mut self, hello: &Hello, now: Instant) {
        self.fresh = false;
        self.payload_max = hello.payload_max();
        self.last_heard = Some(now);
        let ours = match &mut self.phase {
            Phase::Greeting { hello } => hello.take(),
            Phase::Detached | Phase::Open { .. } => None,
        };
        self.phase = Phase::Open { hello: ours };
    }

    /// The peer's hello for a session that goes on: what it has is forgotten, the rest goes out again.
    pub(super) fn resume(&mut self, hello: &Hello, now: Instant) -> Result<(), ProtocolError> {
        self.on_ack(hello.received)?;
        self.resend = 0;
        self.received_acked = self.received;
        self.greeted(hello, now);
        Ok(())
    }

    pub(super) fn detach(&mut self) {
        self.phase = Phase::Detached;
        self.resend = 0;
        (self.pinged, self.ping_due, self.pong_due, self.ack_due) = (false, false, false, None);
        self.last_heard = None;
        self.begun = 0;
        self.is_held_up = false;
    }

    /// Whether `input` holds more than was left of it. A frame's begin is no news a second time: a peer that stopped
    /// within the frame would never be given up.
    pub(super) fn is_news(&self, input: &[u8]) -> bool {
        input.len() > self.begun
    }

    pub(super) fn leave(&mut self, input: &[u8]) {
        self.begun = input.len();
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = Some(now);
        self.pinged = false;
    }

    /// Counts a frame that arrived, if it is of the kind that is kept until acknowledged.
    pub(super) fn count(&mut self, frame: &Frame, bytes: usize, now: Instant) {
        if is_counted(frame) {
            self.received += 1;
            self.received_bytes += bytes;
            self.ack_due.get_or_insert(now + ACK_DELAY);
        }
    }

    pub(super) fn pong_due(&mut self) {
        self.pong_due = true;
    }

    pub(super) fn on_ack(&mut self, count: u64) -> Result<(), ProtocolError> {
        let newly = count.checked_sub(self.acked).ok_or(ProtocolError::BadAck)?;
        let newly = usize::try_from(newly).map_err(|_| ProtocolError::BadAck)?;
        if newly > self.unacked.len() {
            return Err(ProtocolError::BadAck);
        }
        for frame in self.unacked.drain(..newly) {
            self.unacked_bytes -= cost(&frame);
        }
        self.acked = count;
        self.resend = self.resend.saturating_sub(newly);
        Ok(())
    }

    /// Whether one more counted frame may be sent.
    pub(super) fn may_send(&self) -> bool {
        self.is_open() && self.resend == self.unacked.len() && self.unacked_bytes < UNACKED_MAX
    }

    pub(super) fn sent(&mut self, frame: Frame) {
        debug_assert!(is_counted(&frame));
        self.unacked_bytes += cost(&frame);
        self.unacked.push_back(frame);
        self.resend += 1;
    }

    /// Everything that no channel asks for: hello, heartbeat, acknowledgement, frames to repeat.
    pub(super) fn transmit(&mut self, now: Instant, out: &mut Outbox, limit: usize) {
        self.is_held_up = out.len() >= limit;
        if self.is_held_up {
            return;
        }
        if let Phase::Greeting { hello } | Phase::Open { hello } = &mut self.phase
            && let Some(hello) = hello.take()
        {
            out.push(&Frame::Hello(Bytes::from(hello.encode_to_vec())));
        }
        if !self.is_open() {
            return;
        }
        if std::mem::take(&mut self.pong_due) {
            out.push(&Frame::Pong);
        }
        if std::mem::take(&mut self.ping_due) {
            out.push(&Frame::Ping);
        }
        if self.received_bytes >= ACK_BYTES || self.ack_due.is_some_and(|due| due <= now) {
            self.acknowledge(out);
        }
        while out.len() < limit && self.resend < self.unacked.len() {
            out.push(&self.unacked[self.resend]);
            self.resend += 1;
        }
    }

    /// Something else is going out: an acknowledgement that waits for company goes along.
    pub(super) fn acknowledge_along(&mut self, out: &mut Outbox) {
        if self.is_open() && self.received > self.received_acked {
            self.acknowledge(out);
        }
    }

    fn acknowledge(&mut self, out: &mut Outbox) {
        self.received_acked = self.received;
        self.received_bytes = 0;
        self.ack_due = None;
        out.push(&Frame::Ack { count: self.received });
    }

    pub(super) fn deadline(&self, config: &Config) -> Option<Instant> {
        let heard = self.last_heard?;
        let life = match (&self.phase, config.heartbeat) {
            (Phase::Detached, _) | (Phase::Open { .. }, None) => None,
            (Phase::Open { .. }, Some(heartbeat)) if !self.pinged => Some(heard + heartbeat),
            _ => Some(heard + config.dead_after),
        };
        let ack_due = self.ack_due.filter(|_| !self.is_held_up);
        life.into_iter().chain(ack_due).min()
    }

    pub(super) fn timeout(&mut self, config: &Config, now: Instant) -> Result<(), ProtocolError> {
        let Some(heard) = self.last_heard else { return Ok(()) };
        let asks = config.heartbeat.is_some() || !self.is_open();
        if asks && now >= heard + config.dead_after {
            return Err(ProtocolError::Silent(config.dead_after));
        }
        if let Some(heartbeat) = config.heartbeat
            && self.is_open()
            && !self.pinged
            && now >= heard + heartbeat
        {
            (self.pinged, self.ping_due) = (true, true);
        }
        Ok(())
    }
}

/// Whether a frame is kept until acknowledged, and repeated on a new transport.
fn is_counted(frame: &Frame) -> bool {
    match frame {
        Frame::Open { .. }
        | Frame::Data { .. }
        | Frame::Fin { .. }
        | Frame::Reset { .. }
        | Frame::Credit { .. } => true,
        Frame::Hello(_) | Frame::Ping | Frame::Pong | Frame::Ack { .. } => false,
    }
}

/// What an unacknowledged frame holds in memory, about.
fn cost(frame: &Frame) -> usize {
    frame.payload().len() + size_of::<Frame>()
}
