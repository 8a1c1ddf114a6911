//! A connection's deadlines. The kernel has one event for all of them: a deadline that moves away leaves it where it is, and
//! it looks again when it comes.

use super::input::After;
use super::{Connection, State, Turn};
use crate::errno::Errno;
use crate::net::options::Options;
use crate::net::packet::Flags;
use crate::net::{Event, NEVER, Nanos};

/// When to do what; `NEVER` where there is nothing to do.
pub(super) struct Timers {
    /// Send again what was not acknowledged, or ask whether there is room by now.
    pub(super) retransmit: Nanos,
    /// Acknowledge.
    pub(super) acknowledge: Nanos,
    /// See whether the peer is there.
    pub(super) keep: Nanos,
    /// Forget it: its time to wait is over.
    pub(super) end: Nanos,
    /// When the kernel's event comes.
    armed: Nanos,
    pub(super) retries: u32,
    probes: u32,
    /// Since when nothing has been acknowledged although something is under way.
    pub(super) waits_since: Nanos,
    pub(super) heard_at: Nanos,
}

const MILLISECOND: Nanos = 1_000_000;
const SECOND: Nanos = 1000 * MILLISECOND;
/// `net.ipv4.tcp_syn_retries`, `tcp_synack_retries`, `tcp_retries2`, `tcp_orphan_retries`.
const SYN_RETRIES: u32 = 6;
const SYN_ACK_RETRIES: u32 = 5;
const RETRIES: u32 = 15;
const ORPHAN_RETRIES: u32 = 8;
/// How long a connection without a program waits for the peer's end (`tcp_fin_timeout`), and how long one that has ended
/// for stragglers (`TCP_TIMEWAIT_LEN`).
pub(super) const FIN_TIMEOUT: Nanos = 60 * SECOND;

impl Timers {
    pub(super) fn new() -> Self {
        Self {
            retransmit: NEVER,
            acknowledge: NEVER,
            keep: NEVER,
            end: NEVER,
            armed: NEVER,
            retries: 0,
            probes: 0,
            waits_since: 0,
            heard_at: 0,
        }
    }

    /// None but the event under way.
    pub(super) fn clear(&mut self) {
        *self = Self { armed: self.armed, ..Self::new() };
    }

    pub(super) fn hear(&mut self, now: Nanos) {
        self.heard_at = now;
        self.probes = 0;
    }

    fn earliest(&self) -> Nanos {
        self.retransmit.min(self.acknowledge).min(self.keep).min(self.end)
    }
}

impl Connection {
    /// Has the kernel's event come in time for the next deadline. To be called at the end of whatever may set one.
    #[inline]
    pub(super) fn arm(&mut self, turn: &mut Turn<'_>) {
        let earliest = self.timers.earliest();
        if earliest < self.timers.armed {
            self.timers.armed = earliest;
            turn.out.timers.push((earliest, Event::timer(self.path.id)));
        }
    }

    /// At an event. Those for which an earlier one took over find nothing to do.
    pub(in crate::net) fn on_timer(&mut self, turn: &mut Turn<'_>, options: &Options) -> After {
        if self.timers.armed != turn.now {
            return After::Nothing;
        }
        self.timers.armed = NEVER;
        if self.timers.end <= turn.now {
            self.timers.clear();
            return self.finish();
        }
        if self.timers.acknowledge <= turn.now {
            self.receive.is_interactive = false;
            self.acknowledge(turn);
        }
        if self.timers.retransmit <= turn.now && self.on_retransmit(turn, options) == After::Closed {
            return After::Closed;
        }
        if self.timers.keep <= turn.now && self.on_keep(turn, options) == After::Closed {
            return After::Closed;
        }
        self.arm(turn);
        After::Nothing
    }

    fn on_retransmit(&mut self, turn: &mut Turn<'_>, options: &Options) -> After {
        self.timers.retransmit = NEVER;
        let retries_max = match self.state {
            State::SynSent => SYN_RETRIES,
            State::SynReceived => SYN_ACK_RETRIES,
            _ if self.is_orphan() => ORPHAN_RETRIES,
            _ => RETRIES,
        };
        self.timers.retries += 1;
        let patience = Nanos::from(options.user_timeout_ms) * MILLISECOND;
        let is_over = if patience > 0 && !matches!(self.state, State::SynSent | State::SynReceived) {
            turn.now >= self.timers.waits_since + patience
        } else {
            self.timers.retries > retries_max
        };
        if is_over {
            return self.fail(turn, self.soft_error.unwrap_or(Errno::ETIMEDOUT));
        }
        let is_first = !self.send.round_trip.is_backed_off();
        self.send.round_trip.back_off();
        self.timers.retransmit = turn.now + self.send.round_trip.timeout();
        if patience > 0 {
            self.timers.retransmit = self.timers.retransmit.min(self.timers.waits_since + patience);
        }
        match self.state {
            State::SynSent | State::SynReceived => self.send_syn(turn),
            _ if self.send.acknowledged < self.send.next => {
                self.send.rewind(is_first);
                self.push(turn, options.no_delay);
            }
            // There is no room at the peer: this makes it tell how much there is.
            _ => self.transmit(turn, self.send.acknowledged - 1, 0, Flags::NONE),
        }
        After::Nothing
    }

    /// Keep-alive begins or ends.
    pub(in crate::net) fn keep_alive(&mut self, turn: &mut Turn<'_>, options: &Options) {
        let is_wanted = options.keep_alive && self.is_connected();
        let idle = Nanos::from(options.keep_idle_s) * SECOND;
        self.timers.keep = if is_wanted { (self.timers.heard_at + idle).max(turn.now) } else { NEVER };
        self.arm(turn);
    }

    fn on_keep(&mut self, turn: &mut Turn<'_>, options: &Options) -> After {
        let idle = Nanos::from(options.keep_idle_s) * SECOND;
        let quiet = turn.now - self.timers.heard_at;
        if quiet < idle || self.send.is_waiting() {
            self.timers.keep = turn.now + idle.saturating_sub(quiet).max(SECOND);
            return After::Nothing;
        }
        let patience = Nanos::from(options.user_timeout_ms) * MILLISECOND;
        let is_over = if patience > 0 {
            quiet >= patience && self.timers.probes > 0
        } else {
            self.timers.probes >= options.keep_count
        };
        if is_over {
            self.transmit(turn, self.send.next, 0, Flags::RST);
            return self.fail(turn, self.soft_error.unwrap_or(Errno::ETIMEDOUT));
        }
        self.timers.probes += 1;
        self.timers.keep = turn.now + Nanos::from(options.keep_interval_s) * SECOND;
        self.transmit(turn, self.send.acknowledged - 1, 0, Flags::NONE);
        After::Nothing
    }
}
