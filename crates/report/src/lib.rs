//! A run's directory, and what is made of it for people and machines.
//!
//! Start at [`RunDir`]: which file is what. [`Runs`] finds the runs of a project and clears old ones away. Everything
//! else is a view of a run's events, streams and verdict: [`screen`] for a terminal, [`junit`] for other tools.
//!
//! Not here: how a run is made (`netsplit`).

pub mod draw;
pub mod junit;
mod layout;
pub mod paint;
mod runs;
pub mod screen;
mod tail;

pub use crate::{
    layout::{RunDir, RunFile, is_secret},
    runs::{Run, Runs, State, state},
    tail::{Line, Merger, clean, first_lines, last_lines},
};
