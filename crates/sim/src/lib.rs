//! Simulated hosts in one process: unmodified programs in virtual time, one seed, one outcome.
//!
//! A pure kernel (sockets, files, clocks, threads as data; no I/O, no clock, no ambient randomness) below a front end that
//! stands in for the libc functions by which a program meets the world.

pub mod disk;
mod errno;
pub mod net;
mod random;

pub use crate::{
    errno::{Errno, Result},
    random::Random,
};
