//! How many files a process may have open. A runner and a stage take some for each host, and many systems give a process
//! 1,024 unless it asks for more; the commands of both are to find what the user gave them.

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// More than a testbed takes. Some systems have no limit, and some programs try to close every file that there could be.
const ENOUGH: u64 = 1 << 20;

/// What this process had, or the one that it was forked from.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Takes as many open files as the system lets this process have.
pub(crate) fn raise() {
    let before = BEFORE.get_or_init(|| getrlimit(Resource::Nofile)).clone();
    let more = before.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if before.current.is_some_and(|current| current < more) {
        // Refused, it is as it was: whoever lacks a file will say so.
        let _refused = setrlimit(Resource::Nofile, Rlimit { current: Some(more), ..before });
    }
}

/// Gives `process`, a child or this one, the limit that its user gave.
pub fn restore(process: Option<Pid>) {
    if let Some(before) = BEFORE.get() {
        let _gone = prlimit(process, Resource::Nofile, before.clone());
    }
}
