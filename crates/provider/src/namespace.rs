//! Hosts from Linux namespaces on this machine, without root and without a daemon.
//!
//! ```text
//! test T (any threads) ── /proc/self/exe again, socket as fd 0 ──> keeper K (in the constructor, 1 thread, no namespace)
//!   K ── clone(NEWUSER? NEWPID NEWNS NEWNET NEWIPC), no exec ──> stage S (pid 1 of all; the network; all disks)
//!     S ── clone(NEWPID NEWNS NEWNET NEWUTS NEWIPC NEWCGROUP), no exec ──> agent A (pid 1 of one host)
//! ```
//!
//! Who dies takes all below along, at every instant: T → K sees its pidfd and kills S; K → S by its parent-death signal;
//! S → everything, since the kernel kills a pid namespace with its pid 1; A → its host, for the same reason. K ends
//! last, so its end means that nothing is left. Connections to agents go directly from T to A; K and S are not in the
//! data path.

mod cgroup;
mod control;
mod diagnose;
mod fabric;
mod host;
mod keeper;
mod net;
mod network;
mod root;
mod socket;
mod stage;
mod testbed;

use std::path::Path;
use std::sync::Arc;

use netsplit_model::{Capabilities, Capability, Trouble};
use rustix::process::Pid;

use crate::bed::{Bed, BedSpec, BoxFuture, Provider};

/// Makes namespace hosts.
#[derive(Clone, Copy, Debug)]
pub struct Namespace;

impl Provider for Namespace {
    fn name(&self) -> &'static str {
        "namespace"
    }

    fn capabilities(&self) -> Capabilities {
        use Capability::{Connect, Kill, Network, Pause, Programs, Pty, Users};
        // Another user than root exists only where we are root of the machine.
        let users = rustix::process::geteuid().is_root().then_some(Users);
        [Kill, Pause, Pty, Connect, Programs, Network].into_iter().chain(users).collect()
    }

    fn begin(&self, spec: BedSpec) -> BoxFuture<'_, Result<Arc<dyn Bed>, Trouble>> {
        Box::pin(async move { Ok(Arc::new(testbed::Testbed::begin(spec).await?) as Arc<dyn Bed>) })
    }
}

/// Serves the test process `test` as the keeper of its testbed; the exit code.
pub(crate) fn become_keeper(test: Pid) -> i32 {
    keeper::run(test).map_or(70, |()| 0)
}

/// The testbed of a run that lives, or was kept: the run's directory leads to it.
///
/// # Errors
/// When nothing lives there.
pub fn attach(dir: &Path) -> Result<Arc<dyn Bed>, std::io::Error> {
    Ok(Arc::new(testbed::Testbed::attach(dir)?))
}
