//! Simulated hosts in one process: unmodified programs in virtual time, one seed, one outcome.
//!
//! A pure kernel (sockets, files, clocks, threads as data; no I/O, no clock, no ambient randomness) below a front end that
//! stands in for the libc functions by which a program meets the world.

mod control;
mod errno;
mod random;

pub use crate::control::{
    Exit, Host, HostSpec, Process, Spawn, is_simulated, network, now, outside, signal, spawn,
};
pub use crate::control::{disk, net};
pub use crate::{errno::Errno, random::Random};
