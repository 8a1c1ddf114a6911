//! The agent: our process on a host. It runs commands, keeps files, streams output, connects to ports.
//!
//! Start at [`Agent`]: it serves any number of clients, each on a link of its own. What a client asked for ends with
//! its link, unless it said `Keep`. One thread; nothing here knows how the host came to be.
//!
//! Everything an agent is asked is a channel (`netsplit_wire::message`): [`process`], [`files`], [`dial`] serve one kind
//! each. What a process is on this host, a [`System`] knows: [`unix`] is that of real ones.

mod agent;
mod dial;
mod files;
mod process;
mod streams;
mod system;
pub mod unix;

pub use crate::{
    agent::{Agent, Settings},
    system::{Child, Exit, MARK, Streams, System, Tree, environment, not_started},
};
pub use netsplit_wire::message::{Ended, How, Start, variables};
