//! One TCP connection (RFC 9293): its state, and what calls, segments and timers do to it. Who it belongs to, ports and
//! backlogs are not known here.
//!
//! | file | what |
//! | --- | --- |
//! | `send` | what is to be sent: buffer, peer's window, Nagle, retransmission |
//! | `congestion` | how much may be under way (NewReno, RFC 6582), how long an acknowledgement is waited for (RFC 6298) |
//! | `receive` | what was received: order, own window, when to acknowledge |
//! | `input` | segments |
//! | `timers` | deadlines |

mod congestion;
mod input;
mod receive;
mod send;
mod timers;

pub(super) use input::After;
use std::mem;

use receive::Receive;
use send::Send;
use timers::{FIN_TIMEOUT, Timers};

use super::address::Endpoint;
use super::hosts::Hop;
use super::options::{Opt, Options};
use super::packet::{Flags, HOPS, Segment};
use super::wires::{MTU, MTU_LOOPBACK, Wires};
use super::{ERR, HUP, IN, Nanos, OUT, Outbox, RDHUP, SocketId};
use crate::errno::{Errno, Result};

/// A moment, and where what happens in it goes.
pub(super) struct Turn<'t> {
    pub(super) now: Nanos,
    pub(super) out: &'t mut Outbox,
    pub(super) wires: &'t mut Wires,
}

/// One end of a connection.
pub(super) struct Connection {
    pub(super) path: Path,
    pub(super) state: State,
    /// Whether a program has it: not those that nobody has accepted yet, or that were closed.
    pub(super) is_held: bool,
    /// The listener whose queue it is to join.
    pub(super) parent: Option<SocketId>,
    /// What the next call fails with.
    pub(super) error: Option<Errno>,
    /// Why nothing comes back, if anybody said so.
    soft_error: Option<Errno>,
    shut_read: bool,
    shut_write: bool,
    /// Whether its program has not heard yet how connecting went.
    is_connecting: bool,
    was_connected: bool,
    send: Send,
    receive: Receive,
    timers: Timers,
}

/// Both ends.
#[derive(Clone, Copy)]
pub(super) struct Path {
    /// Its first step.
    pub(super) hop: Hop,
    pub(super) local: Endpoint,
    pub(super) peer: Endpoint,
    pub(super) id: SocketId,
    /// The peer's socket, once it is known.
    pub(super) peer_id: Option<SocketId>,
    pub(super) tos: u8,
    pub(super) hops: u8,
}

/// The states of RFC 9293, section 3.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

impl Connection {
    /// One that sends the first SYN.
    pub(super) fn connect(turn: &mut Turn<'_>, path: Path, options: &Options, sequence: u64) -> Box<Self> {
        let mut connection = Self::new(path, State::SynSent, options, sequence);
        connection.is_held = true;
        connection.send_syn(turn);
        connection.arm(turn);
        connection
    }

    /// One that answers a SYN which came to a listener.
    pub(super) fn answer(
        turn: &mut Turn<'_>,
        path: Path,
        options: &Options,
        sequence: u64,
        (parent, syn): (SocketId, &Segment),
    ) -> Box<Self> {
        let mut connection = Self::new(path, State::SynReceived, options, sequence);
        connection.parent = Some(parent);
        connection.begin(syn);
        connection.send_syn(turn);
        connection.arm(turn);
        connection
    }

    fn new(path: Path, state: State, options: &Options, sequence: u64) -> Box<Self> {
        let mss = path.mss();
        Box::new(Self {
            path,
            state,
            is_held: false,
            parent: None,
            error: None,
            soft_error: None,
            shut_read: false,
            shut_write: false,
            is_connecting: state == State::SynSent,
            was_connected: false,
            send: Send::new(sequence, mss),
            receive: Receive::new(mss, options),
            timers: Timers::new(),
        })
    }

    /// Notes what the peer's SYN says.
    fn begin(&mut self, syn: &Segment) {
        self.receive.begin(syn.sequence + 1);
        let mss = u64::from(syn.mss).clamp(MSS_MIN, self.path.mss());
        self.send.set_mss(mss);
        self.send.note_window(syn);
    }

    /// A program has it from now on.
    pub(super) fn accept(&mut self) {
        self.is_held = true;
        self.parent = None;
    }

    /// Whether it has a peer, and something is left to be said to it or by it.
    pub(super) fn is_connected(&self) -> bool {
        !matches!(self.state, State::SynSent | State::SynReceived | State::TimeWait | State::Closed)
    }

    /// Whether no program has it any more.
    fn is_orphan(&self) -> bool {
        !self.is_held && self.parent.is_none()
    }

    fn wake(&self, turn: &mut Turn<'_>, bits: u32) {
        if self.is_held {
            turn.out.wake(self.path.id, bits);
        }
    }

    /// What epoll says of it (`tcp_poll`).
    pub(super) fn readiness(&mut self, options: &Options) -> u32 {
        let is_shut = self.shut_read && self.shut_write;
        let mut bits = if is_shut || self.state == State::Closed { HUP } else { 0 };
        if self.shut_read {
            bits |= IN | RDHUP;
        }
        if !matches!(self.state, State::SynSent | State::SynReceived) {
            if self.receive.bytes > 0 {
                bits |= IN;
            }
            if self.shut_write || self.send.has_room(options) {
                bits |= OUT;
            } else {
                self.send.is_full = true;
            }
        }
        if self.error.is_some() {
            bits |= ERR;
        }
        bits
    }

    /// Bytes that may be read.
    pub(super) fn available(&self) -> usize {
        self.receive.bytes
    }

    /// Bytes that were written and are not acknowledged.
    pub(super) fn unsent(&self) -> usize {
        self.send.buffered()
    }

    /// Has an option take effect.
    pub(super) fn adopt(&mut self, turn: &mut Turn<'_>, options: &Options, option: Opt) {
        match option {
            Opt::NoDelay if options.no_delay => self.push(turn, true),
            Opt::KeepAlive | Opt::KeepIdle => self.keep_alive(turn, options),
            Opt::ReceiveBuffer => {
                options.receive_buffer.into_iter().for_each(|bytes| self.receive.resize(bytes))
            }
            Opt::Tos => self.path.tos = options.tos,
            Opt::Hops => self.path.hops = options.hops.unwrap_or(HOPS),
            _ => {}
        }
        self.arm(turn);
    }

    /// Says that one direction, or both, are over.
    pub(super) fn shut(&mut self, turn: &mut Turn<'_>, read: bool, write: bool) {
        self.shut_read |= read;
        if write && !self.shut_write {
            self.shut_write = true;
            self.send_fin(turn);
        }
        let bits = if self.shut_read { IN | RDHUP } else { 0 };
        let bits = bits | if self.shut_write { OUT } else { 0 };
        let hang_up = if self.shut_read && self.shut_write { HUP } else { 0 };
        self.wake(turn, bits | hang_up);
        self.arm(turn);
    }

    fn send_fin(&mut self, turn: &mut Turn<'_>) {
        self.state = match self.state {
            State::Established => State::FinWait1,
            State::CloseWait => State::LastAck,
            _ => return,
        };
        self.send.fin = Some(self.send.data_end());
        // Nothing is behind it that Nagle's rule could wait for.
        self.push(turn, true);
    }

    /// Its program has closed it.
    pub(super) fn close(&mut self, turn: &mut Turn<'_>, options: &Options) -> After {
        self.is_held = false;
        self.parent = None;
        if matches!(self.state, State::Closed | State::SynSent) {
            return self.finish();
        }
        let is_unread = self.receive.bytes > 0;
        let is_abrupt = options.linger_s == Some(0) || self.state == State::SynReceived;
        if self.state != State::TimeWait && (is_unread || is_abrupt) {
            return self.reset(turn);
        }
        self.receive.clear();
        self.shut_read = true;
        if self.shut_write && self.state == State::FinWait2 {
            self.timers.end = turn.now + FIN_TIMEOUT;
        }
        self.shut(turn, true, true);
        After::Nothing
    }

    /// Ends it at once, and says so to the peer.
    pub(super) fn reset(&mut self, turn: &mut Turn<'_>) -> After {
        self.is_held = false;
        if self.is_connected() || self.state == State::SynReceived {
            self.transmit(turn, self.send.next, 0, Flags::RST);
        }
        self.finish()
    }

    /// What a second call of connect gives.
    pub(super) fn connect_again(&mut self) -> Result<()> {
        match self.state {
            State::SynSent | State::SynReceived => Err(Errno::EALREADY),
            State::Closed if !self.was_connected => Err(self.error.take().unwrap_or(Errno::ECONNABORTED)),
            _ if mem::take(&mut self.is_connecting) => Ok(()),
            _ => Err(Errno::EISCONN),
        }
    }

    /// Whether nothing has come of it, and its socket may connect to somebody else.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Closed && !self.was_connected
    }

    /// Its program no longer wants to connect.
    pub(super) fn give_up(&mut self, out: &mut Outbox) -> After {
        self.error = Some(Errno::ECONNRESET);
        out.wake(self.path.id, IN | OUT | RDHUP | HUP | ERR);
        self.finish()
    }

    /// It makes place for a new one.
    pub(super) fn forget(&mut self) -> After {
        self.finish()
    }

    /// Somebody says that packets to the peer do not arrive.
    pub(super) fn on_unreachable(&mut self, turn: &mut Turn<'_>, error: Errno) -> After {
        if self.state == State::SynSent {
            return self.fail(turn, error);
        }
        self.soft_error = Some(error);
        After::Nothing
    }

    /// It ends with an error, which the next call tells.
    fn fail(&mut self, turn: &mut Turn<'_>, error: Errno) -> After {
        self.error = Some(error);
        let after = self.finish();
        self.wake(turn, IN | OUT | RDHUP | HUP | ERR);
        after
    }

    /// Nothing is left but what can be read.
    fn finish(&mut self) -> After {
        self.state = State::Closed;
        self.shut_read = true;
        self.shut_write = true;
        self.timers.clear();
        self.send.clear();
        if !self.is_held {
            self.receive.clear();
        }
        After::Closed
    }
}

/// The least that is believed (`net.ipv4.tcp_min_snd_mss`).
const MSS_MIN: u64 = 48;

impl Path {
    /// How much of an IP packet is payload.
    fn mss(&self) -> u64 {
        let mtu = if self.hop.is_loopback() { MTU_LOOPBACK } else { MTU };
        let headers = if self.peer.ip.is_v4() { 40 } else { 60 };
        (mtu - headers) as u64
    }
}

/// What fits into memory anyway.
fn size(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
