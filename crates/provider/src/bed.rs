//! What every provider owes.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use netsplit_link::Transport;
use netsplit_model::{Capabilities, Capability, HostName, Reason, Teardown, Trouble};

use crate::machine::{ClockFault, DiskFault};
use crate::namespace::Namespace;
use crate::network::{CaptureReport, CaptureSpec, FaultSpec, FaultTurned, NetworkReport};
use crate::simulated::Simulated;

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A byte stream to an agent.
pub type BoxTransport = Box<dyn AnyTransport>;

/// [`Transport`] as a trait object.
pub trait AnyTransport: Transport {}
impl<T: Transport> AnyTransport for T {}

impl fmt::Debug for dyn AnyTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a transport")
    }
}

/// Something that makes hosts.
pub trait Provider: Send + Sync + fmt::Debug {
    /// Its name: `namespace`, `simulated`.
    fn name(&self) -> &'static str;

    /// What it can do to its hosts.
    fn capabilities(&self) -> Capabilities;

    /// Begins a testbed without hosts.
    ///
    /// The future fails with the rule that forbids it here and the remedy.
    fn begin(&self, spec: BedSpec) -> BoxFuture<'_, Result<Arc<dyn Bed>, Trouble>>;
}

/// What a testbed must be told before it has hosts.
#[derive(Clone, Debug)]
pub struct BedSpec {
    /// The run's directory; a socket through which others reach the testbed lies there while it lives.
    pub dir: PathBuf,
    /// The run's id, for names that must not collide.
    pub run: String,
    /// What joins its hosts.
    pub network: NetworkSpec,
}

/// What joins the hosts of a testbed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Who carries their packets.
    pub model: NetworkModel,
    /// Of all chance in it.
    pub seed: u64,
    /// The networks by name, each a broadcast domain; none: one that has no name.
    pub networks: Vec<String>,
    /// Routers between two of them.
    pub routers: Vec<RouterSpec>,
}

/// A router that is no host: it forwards between two networks, and may translate addresses or filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterSpec {
    /// Its name, unlike any host's: links to it are cut and shaped as a host's are.
    pub name: String,
    /// The network whose hosts it translates or protects.
    pub inside: String,
    /// The network of all others.
    pub outside: String,
    /// What it does: a name of [`NatKind`](netsplit_netmodel::nat::NatKind).
    pub kind: String,
}

/// Who carries the packets of hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkModel {
    /// netsplit's own network in user space: any fault between any two hosts.
    #[default]
    Fabric,
    /// The kernel, at line rate: no faults.
    Kernel,
}

/// A host to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSpec {
    /// Its name, unique in its testbed.
    pub name: HostName,
    /// What its disk holds at most, in bytes; `None`: no limit of its own.
    pub disk: Option<u64>,
    /// The networks that it is on, the one of its name first; none: the only one there is. On several it is a router.
    pub networks: Vec<String>,
}

/// A host that was made. Its agent may still be on its way.
#[derive(Debug)]
pub struct MadeHost {
    /// Its name.
    pub name: HostName,
    /// Its IPv4 address.
    pub address: Ipv4Addr,
    /// Its IPv6 address.
    pub address6: Ipv6Addr,
    /// How often it came up, from 1.
    pub generation: u32,
    /// The way to its agent.
    pub transport: BoxTransport,
}

/// What may be done to a host's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Cut it: everything on the host is gone at once, its disk stays.
    Kill,
    /// Stop it for a while; what others send it waits or is lost, as the network has it.
    Pause,
    /// Let it go on.
    Resume,
}

/// What a testbed has to say by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BedEvent {
    /// A host has gone, and nobody asked for it here; why, as far as it could say.
    HostDied(HostName, String),
    /// A fault of the network came into force, was lifted or ended, and nobody asked for it just now.
    FaultTurned(FaultTurned),
    /// The testbed has gone.
    Ended(String),
}

/// A testbed: hosts that can reach each other.
pub trait Bed: Send + Sync + fmt::Debug {
    /// Makes hosts, each named on all others. `made` is told of each as soon as it is; the future ends after the last.
    fn add_hosts<'a>(
        &'a self,
        hosts: Vec<HostSpec>,
        made: &'a mut (dyn FnMut(MadeHost) + Send),
    ) -> BoxFuture<'a, Result<(), Trouble>>;

    /// A new byte stream to a host's agent.
    fn connect<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<BoxTransport, Trouble>>;

    /// Hands the reading end of a pipe to a host's agent: on one machine the kernel moves a file's bytes faster than a
    /// link. Gives the number by which the agent knows it; `None` where descriptors do not travel.
    fn hand<'a>(&'a self, host: &'a HostName, pipe: OwnedFd) -> BoxFuture<'a, Result<Option<u32>, Trouble>> {
        drop((host, pipe));
        Box::pin(async { Ok(None) })
    }

    /// Whether a byte stream to an agent may fall silent without an end, so that who has one must ask whether it lives.
    fn falls_silent(&self) -> bool {
        true
    }

    /// Does something to a host's power.
    fn power<'a>(&'a self, host: &'a HostName, power: Power) -> BoxFuture<'a, Result<(), Trouble>>;

    /// Starts a killed host again, with the disk it had.
    fn start<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<MadeHost, Trouble>>;

    /// Begins a fault of the network; its number. When this returns, the links that it is about were read back.
    fn begin_fault<'a>(&'a self, fault: FaultSpec) -> BoxFuture<'a, Result<u32, Trouble>> {
        drop(fault);
        Box::pin(async { Err(no_network()) })
    }

    /// Ends a fault. When this returns, its links were read back.
    fn heal(&self, fault: u32) -> BoxFuture<'_, Result<(), Trouble>> {
        let _nobody_has_it = fault;
        Box::pin(async { Err(no_network()) })
    }

    /// Reads what is in force, and what has happened to packets.
    fn network(&self) -> BoxFuture<'_, Result<NetworkReport, Trouble>> {
        Box::pin(async { Err(no_network()) })
    }

    /// Writes packets down; the number of the capture.
    fn capture(&self, capture: CaptureSpec) -> BoxFuture<'_, Result<u32, Trouble>> {
        drop(capture);
        Box::pin(async { Err(no_network()) })
    }

    /// Ends a capture. When this returns, its file is complete.
    fn end_capture(&self, capture: u32) -> BoxFuture<'_, Result<CaptureReport, Trouble>> {
        let _nobody_has_it = capture;
        Box::pin(async { Err(no_network()) })
    }

    /// Does something to a host's clock.
    fn change_clock<'a>(
        &'a self,
        host: &'a HostName,
        fault: ClockFault,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        let _there_is_none = (host, fault);
        Box::pin(async { Err(missing(Capability::Clock)) })
    }

    /// Begins a fault of a host's disk; its number, unlike any other of this testbed.
    fn begin_disk_fault<'a>(
        &'a self,
        host: &'a HostName,
        fault: DiskFault,
    ) -> BoxFuture<'a, Result<u32, Trouble>> {
        let _there_is_none = (host, fault);
        Box::pin(async { Err(missing(Capability::Disk)) })
    }

    /// Ends a fault of a disk.
    fn heal_disk_fault(&self, fault: u32) -> BoxFuture<'_, Result<(), Trouble>> {
        let _nobody_has_it = fault;
        Box::pin(async { Err(missing(Capability::Disk)) })
    }

    /// The next thing the testbed has to say; never ends before the testbed does.
    fn event(&self) -> BoxFuture<'_, BedEvent>;

    /// Leaves the testbed to itself: it outlives this process until somebody ends it, or for a day.
    fn keep(&self) -> BoxFuture<'_, Result<(), Trouble>>;

    /// Ends the testbed and waits until nothing of it is left.
    fn end(&self) -> BoxFuture<'_, Teardown>;
}

/// The network of these hosts is not ours.
pub(crate) fn no_network() -> Trouble {
    Trouble::new(Reason::MissingCapability, "needs `network`, which these hosts do not have")
        .because("what joins them is not netsplit's own network")
        .fix("network.model = \"fabric\"")
}

/// These hosts do not have it.
fn missing(capability: Capability) -> Trouble {
    Trouble::new(Reason::MissingCapability, format!("needs `{capability}`, which these hosts do not have"))
}

/// The providers of this version.
pub fn names() -> &'static [&'static str] {
    &["namespace", "simulated"]
}

/// The provider called `name`.
pub fn by_name(name: &str) -> Option<Arc<dyn Provider>> {
    match name {
        "namespace" => Some(Arc::new(Namespace)),
        "simulated" => Some(Arc::new(Simulated)),
        _ => None,
    }
}
