//! The agent: our process on a host. It runs commands, keeps files, streams output, connects to ports.
//!
//! Start at [`Agent`]: it serves any number of clients, each on a link of its own. What a client asked for ends with
//! its link, unless it said `Keep`. One thread, one reaper; nothing here knows how the host came to be.
//!
//! Everything an agent is asked is a channel (`netsplit_wire::message`): [`process`], [`files`], [`dial`] serve one kind
//! each. [`tree`] finds and ends what a command left behind; [`shim`] prepares the child of a command with a
//! terminal, or of one as a user with groups.

mod agent;
mod dial;
mod files;
mod process;
mod reaper;
pub mod shim;
mod spawn;
mod streams;
mod tree;
mod users;

pub use crate::agent::{Agent, Settings};
