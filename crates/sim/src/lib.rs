//! Simulated hosts in one process: unmodified programs in virtual time, one seed, one outcome.
//!
//! A pure kernel (sockets, files, clocks, threads as data; no I/O, no clock, no ambient randomness) below a front end that
//! stands in for the libc functions by which a program meets the world.

mod control;
pub mod disk;
mod errno;
mod front;
mod kernel;
pub mod net;
mod random;
mod slab;
mod switch;

pub use crate::{
    control::*,
    errno::{Errno, Result},
    front::SPINS,
    kernel::Exit,
    random::Random,
    switch::{Switch, outside},
};
