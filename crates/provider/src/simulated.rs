//! Hosts of a simulation: in virtual time, in one process, with the programs of the test only.
//!
//! ```text
//! control process: the test, its runtime, every link        programs of host a
//!   Testbed ── socketpair, its end as fd 0 ──> agent of a ── pipes ──> kvd, kvctl …
//!           ── netsplit_sim::network ──> links between hosts
//! ```
//!
//! The agent is that of every host, as one more simulated process: its files are those of the simulated disk, its
//! processes are functions of this executable (`programs`). Each client has an agent of its own, which ends with its
//! link and what it ran. Not here: what a process, a disk and a network are (`netsplit_sim`).

mod agent;
mod captures;
mod network;
mod programs;
mod testbed;

use std::sync::Arc;

use netsplit_model::{Capabilities, Capability, Reason, Trouble};

use crate::bed::{Bed, BedSpec, BoxFuture, Provider};

/// Makes simulated hosts.
#[derive(Clone, Copy, Debug)]
pub struct Simulated;

impl Provider for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn capabilities(&self) -> Capabilities {
        use Capability::{Clock, Connect, Disk, Kill, Network, Pause};
        [Kill, Pause, Connect, Network, Clock, Disk].into_iter().collect()
    }

    fn begin(&self, spec: BedSpec) -> BoxFuture<'_, Result<Arc<dyn Bed>, Trouble>> {
        Box::pin(async move {
            if !netsplit_sim::is_simulated() {
                return Err(not_simulated());
            }
            Ok(Arc::new(testbed::Testbed::begin(spec.network)?) as Arc<dyn Bed>)
        })
    }
}

fn not_simulated() -> Trouble {
    Trouble::new(Reason::NotSimulated, "`simulated` hosts exist only within a simulation")
        .because("this process is in real time: it was not begun as a simulation")
        .fix("cargo test simulated")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn nobody_has_simulated_hosts_in_real_time() {
        let spec = BedSpec { dir: "/".into(), run: "x".to_owned(), network: crate::NetworkSpec::default() };
        let refused = Simulated.begin(spec).await.unwrap_err();
        assert_eq!(refused.name, Reason::NotSimulated);
    }
}
