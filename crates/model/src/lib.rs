//! netsplit's words as types. Nothing here does I/O, reads a clock or draws a random number.
//!
//! Start at [`Outcome`] (how a process ended) and [`Verdict`] (how a test ended); [`Trouble`] is every message a
//! user ever reads; [`Record`] is one line of a run's event log. [`Template`], [`words`], [`Selector`] and [`units`]
//! parse what users write; [`Scopes`] decides which environment a process sees.

mod capability;
mod event;
pub mod excerpt;
mod name;
mod nearest;
mod outcome;
mod reason;
mod scope;
mod selector;
pub mod signal;
mod template;
mod trouble;
pub mod units;
mod verdict;
pub mod words;

pub use crate::{
    capability::{Capabilities, Capability},
    event::{Event, FORMAT, Record, Stream},
    name::{HostName, NameError, ProcessName, RunId, check_identifier},
    nearest::nearest,
    outcome::{NotStarted, NotStartedKind, Outcome},
    reason::Reason,
    scope::{Effective, Scope, Scopes},
    selector::{Selector, SelectorError, Term},
    template::{Template, TemplateError, Unset},
    trouble::{Help, Place, Trouble},
    verdict::{LateSummary, NetworkSummary, Teardown, TestReport, Verdict, VerdictFile},
};
