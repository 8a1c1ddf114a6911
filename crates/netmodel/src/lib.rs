//! What an emulated network does to packets. Nothing here does I/O, reads a clock or holds a random state: time comes in
//! as a [`Duration`](std::time::Duration) since the run's begin, and chance is a function of a seed, a link's name and a
//! packet's number.
//!
//! Start at [`Link`]: a packet that is offered to it is sent, dropped or queued. [`Condition`] is what one fault wants
//! of a link, and [`ConditionWords`] reads one; [`Behaviour`] is what a link does with several of them in force. [`Faults`]
//! is the table of those: it tells which links change when. [`Scope`] and [`Topology`] turn the faults' words (partition,
//! ring, bridge) into sets of links. [`PRESETS`] and [`regions`] are figures of real networks, and [`Flapping`] tells when
//! a fault that comes and goes does so. [`nat`] has what stands between two networks: translators and firewalls.
//! [`capture`] makes files for Wireshark of what packets met.

mod behaviour;
pub mod capture;
mod condition;
mod counters;
mod delay;
mod draws;
mod faults;
mod flapping;
mod link;
mod nanos;
pub mod nat;
mod presets;
pub mod regions;
pub mod router;
mod scope;
mod shown;
mod topology;
mod words;

pub use crate::{
    behaviour::Behaviour,
    condition::{Condition, ConditionError, Loss, Passage, Reorder},
    counters::{Cause, Count, Counters},
    delay::{Distribution, Jitter},
    faults::{Advance, Fault, FaultError, FaultState, FaultTurn, Faults, Flap, Schedule},
    flapping::{Flapping, FlappingError, Turn},
    link::{Delivery, Fate, Link},
    presets::{PRESETS, Preset, preset},
    router::Route,
    scope::Scope,
    topology::{Ends, Group, LinkId, Links, Topology, TopologyError},
    words::{ConditionWords, WordError},
};
