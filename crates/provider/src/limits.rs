//! How many files a process may have open. A stage and its network have some for each host, and many systems give a process
//! 1,024 unless it asks for more; the hosts are to find what the user has.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than a testbed takes. Some systems have no limit at all.
const ENOUGH: u64 = 1 << 20;

/// What the user gave, from before the forks.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Takes as many open files as the system lets this process have, and those that it forks.
pub(crate) fn raise() {
    let before = *BEFORE.get_or_init(|| getrlimit(Resource::Nofile));
    let more = before.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if before.current.is_some_and(|current| current < more) {
        // Refused, it is as it was: whoever lacks a file will say so.
        let _refused = setrlimit(Resource::Nofile, Rlimit { current: Some(more), ..before });
    }
}

/// Goes back to what the user gave.
pub(crate) fn restore() {
    if let Some(before) = BEFORE.get() {
        let _never_refused = setrlimit(Resource::Nofile, *before);
    }
}
