//! The userspace network that joins virtual hosts: an Ethernet segment of TAP devices or packet sockets, with a
//! [`netsplit_netmodel::Link`] between every directed pair of them. Linux, without root in a user namespace.
//!
//! Start at [`Fabric`]: it takes [`Port`]s, is told what links do by [`Change`]s, and gives [`Report`]s. Ports
//! are on networks, and a [`Router`](netsplit_netmodel::router) stands between two, which may translate addresses (NAT) or
//! filter. Behind it is one thread. What it does to each frame is decided in `segment`, which does no I/O.

mod boxes;
mod buffers;
mod capture;
mod engine;
mod fabric;
mod frame;
mod lateness;
mod membership;
mod netlink;
#[cfg(test)]
#[path = "../../netmodel/tests/nat/packets.rs"]
#[expect(dead_code, reason = "the translator's tests' packets, of which boxes need some")]
mod packets;
#[cfg(test)]
#[path = "../../netmodel/tests/capture/parse.rs"]
#[expect(dead_code, reason = "the readers of captures, of which the fabric needs all but those of IP")]
mod parse;
mod port;
mod reject;
mod schedule;
mod segment;
mod sys;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use crate::{
    boxes::BoxReport,
    capture::{CaptureFilter, CaptureReport, CaptureSpec},
    fabric::{CaptureEnd, Change, Fabric, FabricError, Limits, LinkReport, PortReport, Report},
    lateness::Lateness,
    port::{Mac, Port, PortError, PortKind},
    schedule::Scheduling,
    segment::Strays,
};
