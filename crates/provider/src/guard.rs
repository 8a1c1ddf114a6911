//! A process beside a runner that ends the runner's own commands, those on no host, when the runner is killed. Hosts need
//! none: their stage sees for itself that the runner has gone.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use netsplit_model::{Reason, Trouble};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::hook;

/// The role of the process, see [`hook`].
pub(crate) const ROLE: &str = "guard";

/// Ends process groups with KILL when this process has gone. Clones are the same guard; its process ends with the last.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Guarding>);

/// The process. It reads numbers of 4 bytes: a group's, and the same below zero when it is no longer to be ended.
#[derive(Debug)]
struct Guarding(Mutex<Child>);

/// A process group that is ended with this process.
#[derive(Debug)]
pub struct Guarded {
    guard: Guard,
    leader: Pid,
}

impl Guard {
    /// Starts the process.
    ///
    /// # Errors
    /// When this executable cannot be started again.
    pub fn start() -> Result<Self, Trouble> {
        let mut command = hook::again(ROLE)?;
        // Of no terminal's foreground: ctrl-C is the runner's to obey.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().map_err(|error| {
            Trouble::new(Reason::NoAgent, format!("this program cannot be started again: {error}"))
        })?;
        if let Some(orders) = &process.stdin {
            // Nobody is to wait for a guard that somebody has stopped. Of a pipe that is open it is never refused.
            let _done = rustix::io::ioctl_fionbio(orders, true);
        }
        Ok(Self(Arc::new(Guarding(Mutex::new(process)))))
    }

    /// From now on the group that `leader` leads ends with this process, until what is returned is dropped.
    pub fn guard(&self, leader: Pid) -> Guarded {
        self.tell(leader.as_raw_pid());
        Guarded { guard: self.clone(), leader }
    }

    fn tell(&self, number: i32) {
        let mut process = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(orders) = &mut process.stdin {
            // Whoever killed the guard wanted no guard.
            let _gone = orders.write_all(&number.to_ne_bytes());
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.guard.tell(-self.leader.as_raw_pid());
    }
}

impl Drop for Guarding {
    fn drop(&mut self) {
        let process = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Whatever it guarded holds a clone, so it guards nothing; and killed it ends even where somebody has stopped it.
        let _gone_already = process.kill();
        let _reaped = process.wait();
    }
}

/// Is the process: returns its exit status when the runner has gone.
pub(crate) fn run() -> i32 {
    let mut groups = BTreeSet::new();
    let mut number = [0; 4];
    while std::io::stdin().read_exact(&mut number).is_ok() {
        match i32::from_ne_bytes(number) {
            group @ 1.. => groups.insert(group),
            gone => groups.remove(&-gone),
        };
    }
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        let _gone = kill_process_group(group, Signal::KILL);
    }
    0
}
