//! The wire protocol, without I/O: bytes and time go in; bytes, events and a deadline come out.
//!
//! Start at [`Mux`]: one end of a link. It turns channels into frames and back, keeps a window of credit for each
//! channel and direction, sends control before output before bulk, notices a peer that has gone silent, and resumes on
//! a new transport where the last one broke off, without a frame lost or doubled. [`message`] has what agents and
//! their clients say to each other on those channels.
//!
//! ```text
//! frame    = varint length, kind, fields          length counts what follows it
//! HELLO    = 0, prost Hello                       first on every transport, from the initiator first
//! DATA     = 1, varint channel, tag, payload      tag bit 7: more of this message follows
//! FIN      = 2, varint channel                    no more from this side
//! RESET    = 3, varint channel                    no more from this side, none wanted; answered by RESET unless finished
//! CREDIT   = 4, varint channel, varint cost       the peer may send so much more
//! PING     = 5    PONG = 6                        any byte received proves life; PING asks for one
//! ACK      = 7, varint count                      so many of the numbered frames have arrived in this session
//! OPEN     = 8, varint channel                    before anything else of a channel, ids ascending
//!
//! DATA, FIN, RESET, CREDIT and OPEN are numbered: kept until acknowledged, and repeated on a new transport.
//! ```
//!
//! Not here: sockets, tasks, serial lines (frames ask for a transport that keeps bytes in order and whole).

mod frame;
mod hello;
pub mod limits;
pub mod message;
mod mux;
mod outbox;
#[cfg(feature = "testing")]
pub mod testing;

pub use crate::{
    frame::ProtocolError,
    hello::{Hello, SessionId, VERSION, VERSION_MIN, read_hello},
    mux::{ChannelId, Config, Event, Incoming, Mux, OpenError, Priority, SendError},
    outbox::Outbox,
};
