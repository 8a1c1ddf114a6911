//! The processes of a Unix kernel. `spawn` starts them, `reaper` waits for them, `tree` finds and ends what a command left
//! behind; [`shim`] prepares the child of a command with a terminal, or of one as a user with groups.

mod reaper;
pub mod shim;
mod spawn;
mod tree;
mod users;

use std::io;
use std::path::PathBuf;

use netsplit_wire::message::{Ended, Start};
use rustix::process::{Pid, Signal, kill_process_group};

use self::reaper::Reaper;
use crate::system::{Child, System, Tree};

/// Runs commands as children of this process.
#[derive(Debug)]
pub struct Unix {
    reaper: Reaper,
    own_program: PathBuf,
    role_variable: &'static str,
}

impl Unix {
    /// Takes over the reaping of every child of this process. Must be called in a current-thread tokio runtime.
    ///
    /// `own_program` is the file that becomes a program of the test, or [`shim`], when the variable `role_variable` says
    /// so.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub fn start(own_program: PathBuf, role_variable: &'static str) -> io::Result<Self> {
        Ok(Self { reaper: Reaper::start()?, own_program, role_variable })
    }
}

impl System for Unix {
    fn spawn(&self, host: &str, start: &Start) -> Result<Child, Ended> {
        spawn::spawn(self, host, start)
    }

    fn signal_group(&self, leader: Pid, signal: Signal) {
        let _gone = kill_process_group(leader, signal);
    }

    fn signal(&self, tree: &Tree, signal: Signal) {
        tree::signal(tree, signal);
    }

    fn kill(&self, tree: &Tree) {
        tree::kill(tree);
    }

    fn is_empty(&self, tree: &Tree) -> bool {
        tree::is_empty(tree)
    }

    fn look(&self) {
        self.reaper.look();
    }
}

/// Stops every process of the host but this one. Only for an agent that is its host's pid 1.
///
/// # Errors
/// The kernel's.
pub fn freeze() -> io::Result<Frozen> {
    tree::freeze().map(Frozen)
}

/// Lets go on what [`freeze`] stopped; what was stopped before stays so.
///
/// # Errors
/// The kernel's.
pub fn thaw(frozen: &Frozen) -> io::Result<()> {
    tree::thaw(&frozen.0)
}

/// A stopped host: the processes that were stopped before.
#[derive(Debug, Default)]
pub struct Frozen(Vec<Pid>);
