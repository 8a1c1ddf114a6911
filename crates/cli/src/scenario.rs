//! Runs scenarios: a case on a testbed of its own, its tests in order, its steps one by one.
//!
//! `case.rs` is the life of one case; `steps.rs` does each verb; `checks.rs` judges outputs; `state.rs` is what steps
//! leave for later ones.

mod case;
mod checks;
mod faults;
mod state;
mod steps;

pub(crate) use case::{CaseRun, run_case};
