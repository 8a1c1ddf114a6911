//! What runs the commands of a host: the seam between the agent, which is the same everywhere, and the kind of processes
//! that its host has. Not here: what becomes of their streams and deadlines (`process`).

use std::fmt;
use std::os::fd::OwnedFd;

use netsplit_wire::message::{Ended, How, Start, variables};
use rustix::process::{Pid, Signal};
use tokio::sync::oneshot;

/// The variable that marks a command's processes.
pub const MARK: &str = "NETSPLIT_PROCESS";
/// What every command finds in PATH unless it says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What runs commands.
pub trait System: fmt::Debug + Send + Sync + 'static {
    /// Starts what `start` describes on the host that is called `host`, as the leader of a process group of its own.
    ///
    /// # Errors
    /// With how and why it is none that could start.
    fn spawn(&self, host: &str, start: &Start) -> Result<Child, Ended>;

    /// Sends `signal` to the group that a command leads. One that has gone needs none.
    fn signal_group(&self, leader: Pid, signal: Signal);

    /// Sends `signal` once to every process of a command.
    fn signal(&self, tree: &Tree, signal: Signal);

    /// Ends every process of a command.
    fn kill(&self, tree: &Tree);

    /// Whether no process of a command is left.
    fn is_empty(&self, tree: &Tree) -> bool;

    /// A child may just have ended: looks, where looking is sooner than being told.
    fn look(&self) {}
}

/// A child that runs.
#[derive(Debug)]
pub struct Child {
    /// Its number on its host.
    pub pid: Pid,
    /// Our ends of its streams.
    pub streams: Streams,
    /// How it ends.
    pub exit: oneshot::Receiver<Exit>,
}

/// Our ends of a child's streams.
#[derive(Debug)]
pub enum Streams {
    /// Pipes.
    Pipes {
        /// To write to, if it was wanted.
        stdin: Option<OwnedFd>,
        /// To read from.
        stdout: OwnedFd,
        /// To read from.
        stderr: OwnedFd,
    },
    /// A terminal.
    Terminal {
        /// Its end here.
        master: OwnedFd,
    },
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Signal {
        /// Which.
        number: i32,
        /// Whether it left a core.
        core: bool,
    },
}

/// One command's processes.
#[derive(Debug)]
pub struct Tree {
    /// The process that was started.
    pub leader: Pid,
    /// What each of them has in the variable [`MARK`].
    pub mark: String,
    /// Whether the leader was reaped: its number may be another command's by now, whose mark is another.
    pub is_leaderless: bool,
}

/// The variables of a command of the user called `user`, whose home is `home`.
pub fn environment<'a>(start: &'a Start, user: &'a str, home: &'a str) -> Vec<(&'a str, &'a str)> {
    let theirs: Vec<_> = variables(&start.env).collect();
    let terminal = start.pty.map(|_| ("TERM", "xterm-256color"));
    let ours = [("PATH", PATH), ("HOME", home), ("USER", user), ("LOGNAME", user)];
    let ours =
        ours.into_iter().chain(terminal).filter(|(name, _)| !theirs.iter().any(|their| their.0 == *name));
    ours.chain(theirs.iter().copied()).chain([(MARK, start.process.as_str())]).collect()
}

/// What could not start, and why.
pub fn not_started(how: How, text: String) -> Ended {
    Ended { how: how.into(), number: 0, core: false, text }
}
