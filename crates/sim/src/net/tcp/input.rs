//! Segments that come to a connection (RFC 9293, section 3.10.7).

use super::timers::FIN_TIMEOUT;
use super::{Connection, Flags, State, Turn};
use crate::errno::Errno;
use crate::net::options::Options;
use crate::net::packet::{Packet, Segment, Unreachable};
use crate::net::{HUP, IN, NEVER, OUT, RDHUP};

/// What whoever keeps connections is to do.
#[derive(Clone, Copy, PartialEq, Eq)]
#[must_use = "connections are kept by somebody else"]
pub(in crate::net) enum After {
    Nothing,
    /// One that answered a SYN may be accepted.
    Established,
    /// Nothing of it is left.
    Closed,
}

impl Connection {
    /// Takes a segment. `has_room`: whether one more may wait to be accepted.
    pub(in crate::net) fn input(
        &mut self,
        turn: &mut Turn<'_>,
        options: &Options,
        packet: Box<Packet>,
        segment: &Segment,
        has_room: bool,
    ) -> After {
        let flags = segment.flags;
        if self.state == State::SynSent {
            let after = self.input_syn_sent(turn, options, segment, packet);
            self.arm(turn);
            return after;
        }
        let length = packet.payload.len() as u64;
        let occupied = length + u64::from(flags.has(Flags::SYN)) + u64::from(flags.has(Flags::FIN));
        let is_acceptable = segment.sequence <= self.receive.edge().max(self.receive.next)
            && segment.sequence + occupied >= self.receive.next;
        self.timers.hear(turn.now);
        if !is_acceptable || flags.has(Flags::SYN) {
            if !flags.has(Flags::RST) {
                self.answer_stale(turn, flags);
            }
            turn.wires.pool.give_back(packet);
            return After::Nothing;
        }
        if flags.has(Flags::RST) || !flags.has(Flags::ACK) {
            turn.wires.pool.give_back(packet);
            return if flags.has(Flags::RST) { self.on_reset(turn) } else { After::Nothing };
        }
        self.path.peer_id = segment.sockets[0];
        let mut after = After::Nothing;
        if self.state == State::SynReceived {
            if segment.acknowledged != self.send.first + 1 {
                turn.wires.refuse(turn.now, turn.out, packet, Unreachable::Port);
                return After::Nothing;
            }
            if self.parent.is_some() && !has_room {
                // As if it were lost: the peer comes again with its first data, or upon our next SYN.
                turn.wires.pool.give_back(packet);
                return After::Nothing;
            }
            after = self.establish(turn, options);
        }
        if self.on_acknowledgement(turn, options, segment, length > 0) == After::Closed {
            turn.wires.pool.give_back(packet);
            return After::Closed;
        }
        if self.take_data(turn, segment, packet) == After::Closed {
            return After::Closed;
        }
        self.push(turn, options.no_delay);
        if self.timers.acknowledge <= turn.now {
            self.acknowledge(turn);
        }
        self.arm(turn);
        after
    }

    /// A segment from long ago, a probe, or a SYN once more.
    fn answer_stale(&mut self, turn: &mut Turn<'_>, flags: Flags) {
        if self.state == State::SynReceived && flags.has(Flags::SYN) && !flags.has(Flags::ACK) {
            self.send_syn(turn);
            return;
        }
        if self.state == State::SynReceived && flags.has(Flags::SYN) {
            // Both ends have begun at once: this is the answer to ours.
            self.send.acknowledge(self.send.first + 1);
        }
        if self.state == State::TimeWait && flags.has(Flags::FIN) {
            self.timers.end = turn.now + FIN_TIMEOUT;
        }
        self.acknowledge(turn);
        self.arm(turn);
    }

    fn input_syn_sent(
        &mut self,
        turn: &mut Turn<'_>,
        options: &Options,
        segment: &Segment,
        packet: Box<Packet>,
    ) -> After {
        let flags = segment.flags;
        let has_ack = flags.has(Flags::ACK);
        if has_ack && segment.acknowledged != self.send.next {
            turn.wires.refuse(turn.now, turn.out, packet, Unreachable::Port);
            return After::Nothing;
        }
        turn.wires.pool.give_back(packet);
        if flags.has(Flags::RST) {
            return if has_ack { self.fail(turn, Errno::ECONNREFUSED) } else { After::Nothing };
        }
        if !flags.has(Flags::SYN) {
            return After::Nothing;
        }
        self.path.peer_id = segment.sockets[0];
        self.begin(segment);
        self.timers.hear(turn.now);
        if !has_ack {
            self.state = State::SynReceived;
            self.send_syn(turn);
            return After::Nothing;
        }
        let _not_a_child = self.establish(turn, options);
        self.send.acknowledge(segment.acknowledged);
        self.send.note_window(segment);
        self.send.round_trip.acknowledge(segment.acknowledged, turn.now);
        self.acknowledge(turn);
        After::Nothing
    }

    fn establish(&mut self, turn: &mut Turn<'_>, options: &Options) -> After {
        self.state = State::Established;
        self.was_connected = true;
        self.timers.retries = 0;
        self.timers.retransmit = NEVER;
        self.timers.hear(turn.now);
        self.keep_alive(turn, options);
        if self.parent.is_some() {
            return After::Established;
        }
        self.wake(turn, OUT);
        After::Nothing
    }

    fn on_reset(&mut self, turn: &mut Turn<'_>) -> After {
        match self.state {
            State::TimeWait => After::Nothing,
            State::CloseWait => self.fail(turn, Errno::EPIPE),
            State::LastAck | State::Closing if self.is_orphan() => self.finish(),
            _ => self.fail(turn, Errno::ECONNRESET),
        }
    }

    fn on_acknowledgement(
        &mut self,
        turn: &mut Turn<'_>,
        options: &Options,
        segment: &Segment,
        has_data: bool,
    ) -> After {
        let acknowledged = segment.acknowledged;
        if acknowledged > self.send.end {
            self.timers.acknowledge = turn.now;
            return After::Nothing;
        }
        let is_new_window = self.send.note_window(segment);
        if acknowledged <= self.send.acknowledged {
            let is_duplicate = acknowledged == self.send.acknowledged
                && self.send.acknowledged < self.send.end
                && !has_data
                && !is_new_window
                && !segment.flags.has(Flags::FIN);
            let (sent, mss) = (self.send.end, self.send.mss);
            if is_duplicate && self.send.congestion.duplicate(acknowledged, sent, mss) {
                self.send_first_again(turn);
            }
            if self.send.acknowledged == self.send.end {
                // The peer is there, however long it has no room.
                self.timers.retries = 0;
                if self.send.may_send() {
                    self.send.round_trip.calm_down();
                    self.timers.retransmit = NEVER;
                }
            }
            return After::Nothing;
        }
        let under_way = self.send.end - self.send.acknowledged;
        let bytes = self.send.acknowledge(acknowledged);
        self.send.round_trip.acknowledge(acknowledged, turn.now);
        self.timers.retries = 0;
        self.timers.waits_since = turn.now;
        let mss = self.send.mss;
        let is_hole = self.send.congestion.acknowledge(bytes, acknowledged, under_way, mss);
        let is_waiting = self.send.acknowledged < self.send.end;
        self.timers.retransmit = if is_waiting { turn.now + self.send.round_trip.timeout() } else { NEVER };
        if is_hole && is_waiting {
            self.send_first_again(turn);
        }
        self.wake_writer(turn, options);
        if self.send.fin.is_some_and(|fin| acknowledged > fin) {
            return self.on_fin_acknowledged(turn);
        }
        After::Nothing
    }

    fn on_fin_acknowledged(&mut self, turn: &mut Turn<'_>) -> After {
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                if self.is_orphan() {
                    self.timers.end = turn.now + FIN_TIMEOUT;
                }
            }
            State::Closing => self.wait(turn),
            State::LastAck => return self.finish(),
            _ => {}
        }
        After::Nothing
    }

    fn take_data(&mut self, turn: &mut Turn<'_>, segment: &Segment, packet: Box<Packet>) -> After {
        let length = packet.payload.len() as u64;
        if segment.flags.has(Flags::FIN) {
            self.receive.fin = Some(segment.sequence + length);
        }
        let is_receiving = matches!(self.state, State::Established | State::FinWait1 | State::FinWait2);
        if length > 0 && is_receiving {
            let is_unwanted = self.shut_read && self.state != State::Established;
            if is_unwanted && segment.sequence + length > self.receive.next {
                turn.wires.refuse(turn.now, turn.out, packet, Unreachable::Port);
                return self.fail(turn, Errno::ECONNRESET);
            }
            if self.take_payload(turn, segment.sequence, packet) {
                self.wake(turn, IN);
            }
        } else {
            if length > 0 || segment.flags.has(Flags::FIN) && !is_receiving {
                self.timers.acknowledge = turn.now;
            }
            turn.wires.pool.give_back(packet);
        }
        if is_receiving && self.receive.fin == Some(self.receive.next) {
            self.on_fin(turn);
        } else if is_receiving && self.receive.fin.is_some() {
            // What is before it is missing.
            self.timers.acknowledge = turn.now;
        }
        After::Nothing
    }

    fn on_fin(&mut self, turn: &mut Turn<'_>) {
        self.receive.next += 1;
        self.shut_read = true;
        match self.state {
            State::FinWait1 => {
                self.state = State::Closing;
                self.timers.acknowledge = turn.now;
            }
            State::FinWait2 => {
                self.wait(turn);
                self.timers.acknowledge = turn.now;
            }
            _ => {
                self.state = State::CloseWait;
                self.delay_acknowledgement(turn.now);
            }
        }
        let hang_up = if self.shut_write { HUP } else { 0 };
        self.wake(turn, IN | RDHUP | hang_up);
    }

    /// It is over on both sides, but for segments that are still under way.
    fn wait(&mut self, turn: &mut Turn<'_>) {
        self.state = State::TimeWait;
        // There may be many of these.
        self.send.clear();
        self.timers.retransmit = NEVER;
        self.timers.keep = NEVER;
        self.timers.end = turn.now + FIN_TIMEOUT;
    }
}
