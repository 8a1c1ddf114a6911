//! A small replicated key-value service: something to test. It knows nothing of the tests.
//!
//! Two programs: [`kvd`] is one Raft member, [`kvctl`] the client. From the inside out:
//!
//! - `raft`: the member as a pure state machine; no sockets, files, clocks or threads.
//! - `kv`: what the log's entries mean; `members`: who takes part, and where.
//! - `codec`, `protocol`: bytes, and the frames on the wire; `storage`: the log on disk.
//! - `net`: sockets; `server`: the loop that joins all of it; `client`: the other side.
//! - `flags`, `failure`, `rng`: the command line, what to say when something fails, seeded randomness.
//!
//! Left out on purpose: membership change, snapshots, pre-vote, authentication.

mod client;
mod codec;
mod failure;
mod flags;
mod kv;
mod members;
mod net;
mod protocol;
mod raft;
mod rng;
mod server;
mod storage;

pub use crate::client::kvctl;
pub use crate::failure::Failure;
pub use crate::server::kvd;
