//! Makes hosts. One folder a provider, behind one trait.
//!
//! Start at [`Provider`] and [`Bed`]: a provider owes a host on which the agent runs, a byte stream to that agent,
//! power, and that nothing survives the run. Commands, files, output, waits and environment all go through the agent
//! and are the same code everywhere; none of it is here.

mod bed;
mod guard;
mod hook;
mod limits;
mod machine;
pub mod namespace;
mod network;
mod plan;
pub mod program;
mod register;
pub mod simulated;
pub mod simulation;
mod sys;

pub use crate::{
    bed::{
        Bed, BedEvent, BedSpec, BoxFuture, BoxTransport, HostSpec, MadeHost, NetworkModel, NetworkSpec,
        Power, Provider, RouterSpec, by_name, names,
    },
    guard::{Guard, Guarded},
    machine::{ClockFault, DiskFault},
    network::{
        CaptureFilter, CaptureReport, CaptureSpec, FaultReport, FaultSpec, FaultTurned, LatenessReport,
        LinkReport, NetworkReport, PortReport,
    },
    program::Program,
};
