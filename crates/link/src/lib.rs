//! Carries the wire protocol over any byte stream.
//!
//! Start at [`Link`]: it owns a [`netsplit_wire::Mux`] and one task, the pump, which alone reads and writes the
//! transport. So a caller may drop any future at any await: a message is queued whole or not at all, and never cut.
//! [`Channel`] is what callers hold.
//!
//! Not here: what is said on the channels (`netsplit_wire::message`), and how a transport comes to be (`provider`).

mod channel;
mod link;
mod pump;
mod socket;

pub use crate::{
    channel::{Channel, Received, Receiver, Sender},
    link::{Link, LinkError, Peer, Transport, read_peer},
    socket::Socket,
};
pub use netsplit_wire::{Config, Priority, SessionId};
