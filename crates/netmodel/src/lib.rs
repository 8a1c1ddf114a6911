//! What an emulated network does to packets. Nothing here does I/O, reads a clock or holds a random state: time comes in
//! as a [`Duration`](std::time::Duration) since the run's begin, and chance is a function of a seed, a link's name and a
//! packet's number.
//!
//! Start at [`Link`]: a packet that is offered to it is sent, dropped or queued. [`Condition`] is what one fault wants
//! of a link; [`Behaviour`] is what a link does with several of them in force. [`Topology`] turns the faults' words
//! (partition, ring, bridge) into sets of links. [`PRESETS`] and [`regions`] are figures of real networks, and
//! [`Flapping`] tells when a fault that comes and goes does so.

mod behaviour;
mod condition;
mod counters;
mod delay;
mod draws;
mod flapping;
mod link;
mod nanos;
mod presets;
pub mod regions;
mod shown;
mod topology;
mod words;

pub use crate::{
    behaviour::Behaviour,
    condition::{Condition, ConditionError, Loss, Passage, Reorder},
    counters::{Cause, Count, Counters},
    delay::{Distribution, Jitter},
    flapping::{Flapping, FlappingError, Turn},
    link::{Delivery, Fate, Link},
    presets::{PRESETS, Preset, preset},
    topology::{Ends, Group, LinkId, Links, Topology, TopologyError},
    words::{ConditionWords, WordError},
};
