//! What a connection has received: in order and not yet read, or early; how much more it takes, and when it says so.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSliceMut;

use super::{Connection, State, Turn, size};
use crate::errno::{Errno, Result};
use crate::net::options::Options;
use crate::net::packet::{Packet, Pool};
use crate::net::{NEVER, Nanos};

/// The receiver's half.
pub(super) struct Receive {
    /// The next that is missing.
    pub(super) next: u64,
    /// The end of what the peer was told it may send.
    edge: u64,
    /// What was last acknowledged.
    told: u64,
    queue: VecDeque<Box<Packet>>,
    /// How much of the first was read.
    start: usize,
    pub(super) bytes: usize,
    early: BTreeMap<u64, Box<Packet>>,
    /// The FIN's number, once it was seen.
    pub(super) fin: Option<u64>,
    capacity: usize,
    is_fixed: bool,
    read: usize,
    mss: u64,
    /// How many segments are acknowledged at once, as Linux does at the begin, so that the peer gets up to speed.
    quick: u32,
    /// Whether the program answers what it receives: then acknowledgements wait for the answer.
    pub(super) is_interactive: bool,
    last_at: Option<Nanos>,
}

/// `net.ipv4.tcp_rmem`: half of a buffer is window.
const CAPACITY_FIRST: usize = 65_536;
const CAPACITY_MAX: usize = 6 << 20;
const QUICK_FIRST: u32 = 16;
const DELAY: Nanos = 40_000_000;
/// Payloads up to this are put together, as Linux does, so that many small ones do not take a packet each.
const JOINED_MAX: usize = 2048;

impl Receive {
    pub(super) fn new(mss: u64, options: &Options) -> Self {
        Self {
            next: 0,
            edge: 0,
            told: 0,
            queue: VecDeque::new(),
            start: 0,
            bytes: 0,
            early: BTreeMap::new(),
            fin: None,
            capacity: options.receive_buffer.map_or(CAPACITY_FIRST, |bytes| bytes / 2),
            is_fixed: options.receive_buffer.is_some(),
            read: 0,
            mss,
            quick: QUICK_FIRST,
            is_interactive: false,
            last_at: None,
        }
    }

    pub(super) fn begin(&mut self, next: u64) {
        (self.next, self.edge, self.told) = (next, next, next);
    }

    pub(super) fn resize(&mut self, bytes: usize) {
        self.capacity = bytes / 2;
        self.is_fixed = true;
    }

    /// The end of what may come, which never moves back.
    pub(super) fn edge(&self) -> u64 {
        self.edge
    }

    /// The window to tell, and that what has come is acknowledged with it.
    pub(super) fn advertise(&mut self) -> u32 {
        self.told = self.next;
        let free = self.capacity.saturating_sub(self.bytes) as u64;
        let edge = self.next + free;
        // Small steps would make for small segments.
        let step = self.mss.min(self.capacity as u64 / 2);
        if edge >= self.edge + step || free == self.capacity as u64 && edge > self.edge {
            self.edge = edge;
        }
        u32::try_from(self.edge.saturating_sub(self.next)).unwrap_or(u32::MAX)
    }

    /// Something was sent: if it answers what just came, the next answer may carry an acknowledgement, too.
    #[inline]
    pub(super) fn note_sent(&mut self, now: Nanos) {
        if self.last_at.is_some_and(|at| now < at + DELAY) {
            self.is_interactive = true;
        }
    }

    /// Whether what has come is to be acknowledged at once. It was in order.
    fn is_urgent(&mut self) -> bool {
        if self.next - self.told > self.mss || !self.early.is_empty() {
            return true;
        }
        let is_quick = self.quick > 0 && !self.is_interactive;
        self.quick -= u32::from(is_quick);
        is_quick
    }

    /// Takes a segment's payload, of which nothing lies beyond the edge. Whether anything came in order.
    fn insert(&mut self, sequence: u64, mut packet: Box<Packet>, pool: &mut Pool) -> bool {
        let end = sequence + packet.payload.len() as u64;
        if end <= self.next {
            pool.give_back(packet);
            return false;
        }
        if sequence > self.next {
            match self.early.get(&sequence) {
                Some(known) if known.payload.len() >= packet.payload.len() => pool.give_back(packet),
                _ => {
                    if let Some(shorter) = self.early.insert(sequence, packet) {
                        pool.give_back(shorter);
                    }
                }
            }
            return false;
        }
        if sequence < self.next {
            packet.payload.drain(..size(self.next - sequence));
        }
        self.append(packet, pool);
        while let Some(entry) = self.early.first_entry()
            && *entry.key() <= self.next
        {
            let (sequence, mut packet) = entry.remove_entry();
            let known = size(self.next - sequence);
            if known < packet.payload.len() {
                packet.payload.drain(..known);
                self.append(packet, pool);
            } else {
                pool.give_back(packet);
            }
        }
        true
    }

    fn append(&mut self, packet: Box<Packet>, pool: &mut Pool) {
        let length = packet.payload.len();
        self.next += length as u64;
        self.bytes += length;
        if let Some(last) = self.queue.back_mut()
            && last.payload.len() + length <= JOINED_MAX
        {
            last.payload.extend_from_slice(&packet.payload);
            pool.give_back(packet);
        } else {
            self.queue.push_back(packet);
        }
    }

    fn copy_out(&mut self, bufs: &mut [IoSliceMut<'_>], peek: bool, pool: &mut Pool) -> usize {
        let mut place = (0, self.start);
        let mut copied = 0;
        for buf in bufs {
            let mut filled = 0;
            while filled < buf.len() {
                let (index, start) = place;
                let Some(packet) = self.queue.get(index) else { break };
                let part = &packet.payload[start..];
                let length = part.len().min(buf.len() - filled);
                buf[filled..filled + length].copy_from_slice(&part[..length]);
                filled += length;
                place = if length == part.len() { (index + 1, 0) } else { (index, start + length) };
            }
            copied += filled;
        }
        if !peek {
            self.queue.drain(..place.0).for_each(|packet| pool.give_back(packet));
            self.start = place.1;
            self.bytes -= copied;
            self.note_read(copied);
        }
        copied
    }

    /// Who reads a whole window has use for a larger one.
    fn note_read(&mut self, bytes: usize) {
        self.read += bytes;
        if !self.is_fixed && self.read >= self.capacity && self.capacity < CAPACITY_MAX {
            self.read = 0;
            self.capacity = (self.capacity * 2).min(CAPACITY_MAX);
        }
    }

    /// Whether the peer should hear of what was read.
    fn wants_update(&self) -> bool {
        let is_pending = self.next > self.told;
        if is_pending && (self.next - self.told > self.mss || self.bytes == 0 && !self.is_interactive) {
            return true;
        }
        let open = size(self.edge.saturating_sub(self.next));
        let free = self.capacity.saturating_sub(self.bytes);
        2 * open <= self.capacity && free >= 2 * open && free >= size(self.mss).min(self.capacity / 2)
    }

    /// Whether the peer has said all: nothing that happens later is told to who reads.
    fn is_done(&self) -> bool {
        self.fin.is_some_and(|fin| self.next > fin)
    }

    pub(super) fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.early.clear();
        (self.start, self.bytes) = (0, 0);
    }
}

impl Connection {
    /// Gives what was received.
    pub(in crate::net) fn read(
        &mut self,
        turn: &mut Turn<'_>,
        bufs: &mut [IoSliceMut<'_>],
        peek: bool,
    ) -> Result<usize> {
        if self.receive.bytes == 0 {
            if self.receive.is_done() {
                return Ok(0);
            }
            if bufs.iter().all(|buf| buf.is_empty()) && self.error.is_none() {
                return Ok(0);
            }
            return match self.error.take() {
                Some(error) => Err(error),
                None if self.shut_read || self.state == State::Closed => Ok(0),
                None => Err(Errno::EAGAIN),
            };
        }
        let copied = self.receive.copy_out(bufs, peek, &mut turn.wires.pool);
        if !peek && self.is_connected() && self.receive.wants_update() {
            self.acknowledge(turn);
            self.arm(turn);
        }
        Ok(copied)
    }

    /// Takes a segment's payload, and acknowledges it now or later. Whether there is something new to read.
    pub(super) fn take_payload(
        &mut self,
        turn: &mut Turn<'_>,
        sequence: u64,
        mut packet: Box<Packet>,
    ) -> bool {
        let allowed = size(self.receive.edge().saturating_sub(sequence));
        packet.payload.truncate(allowed);
        let is_in_order = self.receive.insert(sequence, packet, &mut turn.wires.pool);
        self.receive.last_at = Some(turn.now);
        if !is_in_order || self.receive.is_urgent() {
            self.timers.acknowledge = turn.now;
        } else {
            self.delay_acknowledgement(turn.now);
        }
        is_in_order
    }

    pub(super) fn delay_acknowledgement(&mut self, now: Nanos) {
        if self.timers.acknowledge == NEVER {
            self.timers.acknowledge = now + DELAY;
        }
    }
}
