//! A small replicated key-value service over HTTP, to be tested: ordinary code on tokio, axum and reqwest that knows
//! nothing of netsplit.
//!
//! Start at [`serve`], one member, and [`Client`], who asks members; [`run`] is both as a command. Inside: `raft` decides
//! and does nothing else, `storage` keeps what must outlast the power, `member` joins the two, `http` is the way in and
//! out, `message` what is said.

mod client;
mod command;
mod config;
mod http;
mod kv;
mod member;
mod message;
mod raft;
mod storage;

pub use crate::{
    client::{Client, Failure},
    command::run,
    config::{Config, Flaw, Malformed, parse_peers},
    http::serve,
    message::Status,
};
