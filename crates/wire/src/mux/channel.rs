//! One channel: what waits to be sent, what came and was not read, and how much more either side may send.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Incoming, Priority, SendError};
use crate::frame::{Frame, ProtocolError};
use crate::limits::{FRAME_COST, QUEUE_MAX, WINDOW};

/// What a queued message counts beside its bytes, so that empty ones cannot be queued without end.
const FRAME_QUEUED: usize = 32;

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) priority: Priority,
    /// Whether it stands in its priority's list.
    pub(super) ready: bool,
    /// Whether the owner is done with it.
    pub(super) released: bool,

    outbox: VecDeque<(u8, Bytes)>,
    queued: usize,
    /// Whether a `send` was refused since the last `Writable`.
    refused: bool,
    sending: Sending,
    pub(super) credit: u64,

    pub(super) inbox: VecDeque<(u8, bool, Bytes)>,
    pub(super) receiving: Receiving,
    /// Whether the peer has given it up, before or after it finished.
    pub(super) given_up: bool,
    /// Whether the owner was told how receiving ended.
    told: bool,
    /// What the peer may still send.
    window: u64,
    /// What it may have under way at most.
    window_max: u64,
    /// What was read and not yet given back.
    owed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Open,
    /// FIN follows what is queued.
    Finishing,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    Open,
    Finished,
    Reset,
}

impl Channel {
    pub(super) fn new(priority: Priority) -> Self {
        Self {
            priority,
            ready: false,
            released: false,
            outbox: VecDeque::new(),
            queued: 0,
            refused: false,
            sending: Sending::Open,
            credit: WINDOW,
            inbox: VecDeque::new(),
            receiving: Receiving::Open,
            given_up: false,
            told: false,
            window: WINDOW,
            window_max: WINDOW,
            owed: 0,
        }
    }

    pub(super) fn queue(&mut self, tag: u8, payload: Bytes) -> Result<(), SendError> {
        if self.sending != Sending::Open {
            return Err(SendError::Closed);
        }
        if self.is_full() {
            self.refused = true;
            return Err(SendError::Full);
        }
        self.queued += payload.len() + FRAME_QUEUED;
        self.outbox.push_back((tag, payload));
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.queued >= QUEUE_MAX
    }

    /// Whether somebody waits for room and there is some; asked once.
    pub(super) fn wants_writable(&mut self) -> bool {
        !self.is_full() && std::mem::take(&mut self.refused)
    }

    pub(super) fn finish(&mut self) {
        if self.sending == Sending::Open {
            self.sending = Sending::Finishing;
        }
    }

    /// Drops what is queued. Returns whether the peer still counted on hearing more.
    pub(super) fn stop_sending(&mut self) -> bool {
        let was_open = self.sending != Sending::Closed;
        self.sending = Sending::Closed;
        self.outbox.clear();
        self.queued = 0;
        was_open
    }

    /// Whether a FIN is still to go out behind what is queued.
    pub(super) fn is_finishing(&self) -> bool {
        self.sending == Sending::Finishing
    }

    pub(super) fn can_send(&self) -> bool {
        match self.outbox.front() {
            Some((_, payload)) => self.credit > FRAME_COST || payload.is_empty() && self.credit == FRAME_COST,
            None => self.sending == Sending::Finishing,
        }
    }

    pub(super) fn next_frame(&mut self, id: u32, payload_max: usize) -> Option<Frame> {
        if !self.can_send() {
            return None;
        }
        let Some((tag, payload)) = self.outbox.front_mut() else {
            self.sending = Sending::Closed;
            return Some(Frame::Fin { channel: id });
        };
        let allowed = usize::try_from(self.credit - FRAME_COST).unwrap_or(usize::MAX);
        let piece = payload.split_to(payload.len().min(payload_max).min(allowed));
        let frame = Frame::Data { channel: id, tag: *tag, more: !payload.is_empty(), payload: piece.clone() };
        if payload.is_empty() {
            self.outbox.pop_front();
            self.queued -= FRAME_QUEUED;
        }
        self.queued -= piece.len();
        self.credit -= piece.len() as u64 + FRAME_COST;
        Some(frame)
    }

    pub(super) fn widen(&mut self, cost: u64) {
        self.window = self.window.saturating_add(cost);
        self.window_max = self.window_max.saturating_add(cost);
    }

    /// Returns whether the owner should be told: nothing lay unread before.
    pub(super) fn receive(
        &mut self,
        id: u32,
        tag: u8,
        more: bool,
        payload: Bytes,
    ) -> Result<bool, ProtocolError> {
        if self.receiving != Receiving::Open {
            return Err(ProtocolError::NoSuchChannel(id));
        }
        let cost = payload.len() as u64 + FRAME_COST;
        self.window = self.window.checked_sub(cost).ok_or(ProtocolError::CreditExceeded(id))?;
        if self.released {
            return Ok(false); // the peer has not yet seen our RESET
        }
        self.inbox.push_back((tag, more, payload));
        Ok(self.inbox.len() == 1)
    }

    /// What is next for the owner, and the credit to give back for it.
    pub(super) fn take(&mut self) -> (Option<Incoming>, Option<u64>) {
        if let Some((tag, more, payload)) = self.inbox.pop_front() {
            self.owed += payload.len() as u64 + FRAME_COST;
            let due = self.owed * 2 >= self.window_max && self.receiving == Receiving::Open;
            let credit = due.then(|| std::mem::take(&mut self.owed));
            self.window += credit.unwrap_or(0);
            return (Some(Incoming::Data { tag, more, payload }), credit);
        }
        let end = match self.receiving {
            Receiving::Open => None,
            _ if self.told => None,
            Receiving::Finished => Some(Incoming::Finished),
            Receiving::Reset => Some(Incoming::Reset),
        };
        self.told |= end.is_some();
        (end, None)
    }

    /// Whether both sides are done: nothing more may come or go.
    pub(super) fn is_over(&self) -> bool {
        self.released && self.sending == Sending::Closed && self.receiving != Receiving::Open
    }
}
