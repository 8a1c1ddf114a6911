//! What a connection sends: the bytes that are not acknowledged yet, and which of them may go now.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::congestion::{Congestion, RoundTrip};
use super::{Connection, Flags, State, Turn, size};
use crate::errno::{Errno, Result};
use crate::net::options::Options;
use crate::net::packet::{Body, Segment};
use crate::net::{NEVER, OUT};

/// The sender's half.
pub(super) struct Send {
    /// The SYN's number; data begin behind it.
    pub(super) first: u64,
    pub(super) acknowledged: u64,
    /// The next to be sent, and the end of all that ever was.
    pub(super) next: u64,
    pub(super) end: u64,
    /// Data from the first that is not acknowledged.
    buffer: VecDeque<u8>,
    /// The FIN's number, once there is one.
    pub(super) fin: Option<u64>,
    /// How much the peer takes from `acknowledged` on, and what told so.
    window: u64,
    window_told: (u64, u64),
    pub(super) mss: u64,
    /// The end of the last segment that was not full (Minshall's form of Nagle's rule).
    small_end: u64,
    pub(super) congestion: Congestion,
    pub(super) round_trip: RoundTrip,
    /// Whether somebody found no room.
    pub(super) is_full: bool,
}

/// What a sender keeps before and after its congestion window has grown (`net.ipv4.tcp_wmem`).
const BUFFER_MIN: usize = 87_040;
const BUFFER_MAX: usize = 4 << 20;
/// The longest super-segment: it and its headers are an IP packet.
const SUPER_MAX: u64 = 65_000;

impl Send {
    pub(super) fn new(first: u64, mss: u64) -> Self {
        Self {
            first,
            acknowledged: first,
            next: first,
            end: first,
            buffer: VecDeque::new(),
            fin: None,
            window: 0,
            window_told: (0, 0),
            mss,
            small_end: first,
            congestion: Congestion::new(mss, first),
            round_trip: RoundTrip::default(),
            is_full: false,
        }
    }

    /// Notes how long the peer's segments may be, before any data.
    pub(super) fn set_mss(&mut self, mss: u64) {
        self.mss = mss;
        self.congestion = Congestion::new(mss, self.first);
    }

    /// The number of the first byte in the buffer.
    fn base(&self) -> u64 {
        self.acknowledged.max(self.first + 1)
    }

    pub(super) fn data_end(&self) -> u64 {
        self.base() + self.buffer.len() as u64
    }

    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Whether anything is under way or still to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        self.acknowledged < self.end || !self.buffer.is_empty()
    }

    pub(super) fn limit(&self, options: &Options) -> usize {
        let wanted = size(2 * self.congestion.window).clamp(BUFFER_MIN, BUFFER_MAX);
        options.send_buffer.unwrap_or(wanted)
    }

    /// A third is free, as `sk_stream_is_writeable` has it.
    pub(super) fn has_room(&self, options: &Options) -> bool {
        self.buffer.len() * 3 <= self.limit(options) * 2
    }

    fn take(&mut self, room: usize, data: &[IoSlice<'_>]) -> usize {
        let mut left = room;
        for slice in data {
            let part = &slice[..slice.len().min(left)];
            self.buffer.extend(part);
            left -= part.len();
        }
        room - left
    }

    fn copy(&self, sequence: u64, length: usize, payload: &mut Vec<u8>) {
        let start = size(sequence - self.base());
        let (front, back) = self.buffer.as_slices();
        let in_front = front.len().saturating_sub(start).min(length);
        if in_front > 0 {
            payload.extend_from_slice(&front[start..start + in_front]);
        }
        if in_front < length {
            let start = (start + in_front) - front.len();
            payload.extend_from_slice(&back[start..start + length - in_front]);
        }
    }

    /// Notes what the peer acknowledged. How much of that is new.
    pub(super) fn acknowledge(&mut self, acknowledged: u64) -> u64 {
        let new = acknowledged - self.acknowledged;
        let data = size(acknowledged.min(self.data_end()).saturating_sub(self.base()));
        self.buffer.drain(..data);
        self.acknowledged = acknowledged;
        self.next = self.next.max(acknowledged);
        new
    }

    /// Notes the window of a segment, unless an older one comes late. Whether it differs.
    pub(super) fn note_window(&mut self, segment: &Segment) -> bool {
        let told = (segment.sequence, segment.acknowledged);
        if told < self.window_told || segment.acknowledged < self.acknowledged {
            return false;
        }
        self.window_told = told;
        let is_new = self.window != u64::from(segment.window);
        self.window = segment.window.into();
        is_new
    }

    /// Whether the peer has room.
    pub(super) fn may_send(&self) -> bool {
        self.window > 0
    }

    /// All of what is under way is to be sent again.
    pub(super) fn rewind(&mut self, is_first: bool) {
        let under_way = self.end - self.acknowledged;
        self.congestion.time_out(under_way, self.end, self.mss, is_first);
        self.next = self.acknowledged;
        self.small_end = self.acknowledged;
    }

    /// How many bytes are to go in the next segment. `None`: nothing may be sent now.
    fn part(&self, no_delay: bool, takes_super: impl FnOnce() -> bool) -> Option<u64> {
        let unsent = self.data_end().saturating_sub(self.next);
        if unsent == 0 {
            return self.fin.filter(|fin| self.next <= *fin).map(|_| 0);
        }
        let under_way = self.next - self.acknowledged;
        let room = self.congestion.window.min(self.window).saturating_sub(under_way);
        let allowed = unsent.min(room);
        let mss = self.mss;
        if allowed < mss {
            // Silly windows are waited for, but for the first segment.
            let is_whole = allowed == unsent && (no_delay || self.fin.is_some() || !self.has_small());
            let may_go = allowed > 0 && (is_whole || under_way == 0 && allowed < unsent);
            return may_go.then_some(allowed);
        }
        let most = if allowed > mss && takes_super() { SUPER_MAX.max(mss) / mss * mss } else { mss };
        let length = allowed.min(most);
        let tail = length % mss;
        let may_have_tail = length == unsent && (no_delay || self.fin.is_some() || !self.has_small());
        Some(if may_have_tail { length } else { length - tail })
    }

    pub(super) fn clear(&mut self) {
        self.buffer = VecDeque::new();
    }

    fn has_small(&self) -> bool {
        self.small_end > self.acknowledged
    }
}

impl Connection {
    /// Takes bytes to be sent.
    pub(in crate::net) fn write(
        &mut self,
        turn: &mut Turn<'_>,
        options: &Options,
        data: &[IoSlice<'_>],
    ) -> Result<usize> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.shut_write || self.state == State::Closed {
            return Err(Errno::EPIPE);
        }
        let wanted: usize = data.iter().map(|slice| slice.len()).sum();
        let room = if matches!(self.state, State::SynSent | State::SynReceived) {
            0
        } else {
            self.send.limit(options).saturating_sub(self.send.buffered())
        };
        if wanted > room {
            self.send.is_full = true;
            if room == 0 {
                return Err(Errno::EAGAIN);
            }
        }
        let taken = self.send.take(room.min(wanted), data);
        self.push(turn, options.no_delay);
        self.arm(turn);
        Ok(taken)
    }

    /// Sends what may be sent.
    pub(super) fn push(&mut self, turn: &mut Turn<'_>, no_delay: bool) {
        if !self.is_connected() {
            return;
        }
        let hop = self.path.hop;
        while let Some(length) = self.send.part(no_delay, || turn.wires.takes_super(hop)) {
            let send = &mut self.send;
            let sequence = send.next;
            let after = sequence + length;
            let is_last = after == send.data_end();
            let with_fin = is_last && send.fin.is_some();
            let flags = if with_fin { Flags::FIN } else { Flags::NONE };
            let flags = if is_last && length > 0 { flags.and(Flags::PSH) } else { flags };
            if length % send.mss != 0 {
                send.small_end = after;
            }
            send.next = after + u64::from(with_fin);
            if send.next > send.end {
                if sequence == send.end {
                    send.round_trip.begin(send.next, turn.now);
                }
                if send.end == send.acknowledged {
                    self.timers.waits_since = turn.now;
                }
                send.end = send.next;
            }
            self.receive.note_sent(turn.now);
            self.transmit(turn, sequence, size(length), flags);
        }
        if self.timers.retransmit == NEVER && self.send.is_waiting() {
            if self.send.end == self.send.acknowledged {
                self.timers.waits_since = turn.now;
            }
            self.timers.retransmit = turn.now + self.send.round_trip.timeout();
        }
    }

    /// Sends the first segment that is not acknowledged once more.
    pub(super) fn send_first_again(&mut self, turn: &mut Turn<'_>) {
        self.send.round_trip.forget();
        let from = self.send.acknowledged;
        let data = self.send.data_end() - from;
        let most =
            if turn.wires.takes_super(self.path.hop) { SUPER_MAX.max(self.send.mss) } else { self.send.mss };
        let length = data.min(most).min(self.send.end - from);
        let with_fin = self.send.fin.is_some_and(|fin| fin == from + length && self.send.end > fin);
        let flags = if with_fin { Flags::FIN } else { Flags::NONE };
        self.transmit(turn, from, size(length), flags);
    }

    /// Sends one segment of data that are in the buffer. It acknowledges, too.
    pub(super) fn transmit(&mut self, turn: &mut Turn<'_>, sequence: u64, length: usize, flags: Flags) {
        let segment = Segment {
            sequence,
            acknowledged: self.receive.next,
            window: self.receive.advertise(),
            mss: 0,
            flags: flags.and(Flags::ACK),
            sockets: [Some(self.path.id), self.path.peer_id],
        };
        self.timers.acknowledge = NEVER;
        let ends = [self.path.local, self.path.peer];
        let mut packet = turn.wires.pool.take(self.path.hop, ends, Body::Tcp(segment));
        if length > 0 {
            turn.wires.pool.make_room(&mut packet.payload, length);
            self.send.copy(sequence, length, &mut packet.payload);
        }
        (packet.tos, packet.hops) = (self.path.tos, self.path.hops);
        turn.wires.send(turn.now, turn.out, packet);
    }

    pub(super) fn acknowledge(&mut self, turn: &mut Turn<'_>) {
        self.transmit(turn, self.send.next, 0, Flags::NONE);
    }

    /// The first segment, or its answer.
    pub(super) fn send_syn(&mut self, turn: &mut Turn<'_>) {
        let is_answer = self.state == State::SynReceived;
        let segment = Segment {
            sequence: self.send.first,
            acknowledged: if is_answer { self.receive.next } else { 0 },
            window: self.receive.advertise().min(u32::from(u16::MAX)),
            mss: u16::try_from(self.path.mss()).unwrap_or(u16::MAX),
            flags: if is_answer { Flags::SYN.and(Flags::ACK) } else { Flags::SYN },
            sockets: [Some(self.path.id), self.path.peer_id],
        };
        self.send.next = self.send.first + 1;
        self.send.end = self.send.next;
        if self.timers.retries == 0 {
            self.send.round_trip.begin(self.send.next, turn.now);
        }
        if self.timers.retransmit == NEVER {
            self.timers.retransmit = turn.now + self.send.round_trip.timeout();
        }
        let ends = [self.path.local, self.path.peer];
        let mut packet = turn.wires.pool.take(self.path.hop, ends, Body::Tcp(segment));
        (packet.tos, packet.hops) = (self.path.tos, self.path.hops);
        turn.wires.send(turn.now, turn.out, packet);
    }

    /// Tells who waits for room that there is some.
    pub(super) fn wake_writer(&mut self, turn: &mut Turn<'_>, options: &Options) {
        if self.send.is_full && self.send.has_room(options) {
            self.send.is_full = false;
            self.wake(turn, OUT);
        }
    }
}
