//! Files to and from this host. What the host has already, by content, is not sent again.

mod get;
mod index;
mod pipes;
mod put;

pub(crate) use get::get;
pub(crate) use index::Index;
pub(crate) use pipes::Pipes;
pub(crate) use put::put;

use std::io;
use std::path::Path;

use netsplit_wire::message::{Refused, Trouble};

/// Bytes read or written between two looks at the rest of the world.
const CHUNK: usize = 64 << 10;
/// Entries of one tree: beyond this it is no longer a test's files.
const ENTRIES_MAX: usize = 1_000_000;

fn refused(path: &Path, error: &io::Error) -> Refused {
    let trouble = match error.kind() {
        io::ErrorKind::NotFound => Trouble::NotFound,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::NoSpace,
        _ => Trouble::Other,
    };
    Refused { path: path.display().to_string(), trouble: trouble.into(), text: error.to_string() }
}
