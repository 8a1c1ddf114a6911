//! What members and clients say to each other; as JSON between members.

use serde::{Deserialize, Serialize};

/// Bytes of a key at most. A key is a name, not a document.
pub(crate) const KEY_BYTES_MAX: usize = 256;
/// Bytes of a value at most. Several entries go into one message, see `raft`'s `APPEND_BYTES_FULL`.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024;

/// A write, with the name of the attempt so that a second one is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Put {
    /// Who writes: a random number.
    pub(crate) client: u64,
    /// The client's count of its writes, from 1. Another attempt at a write has the number of the first.
    pub(crate) sequence: u64,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) term: u64,
    /// `None` in a new leader's first entry: it may commit only entries of its own term, so there must be one.
    pub(crate) put: Option<Put>,
}

/// A member's term, and whom it voted for in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ballot {
    pub(crate) term: u64,
    pub(crate) vote: Option<String>,
}

/// A candidate asks for a vote.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Vote {
    pub(crate) term: u64,
    pub(crate) candidate: String,
    pub(crate) last_index: u64,
    pub(crate) last_term: u64,
}

/// The answer to [`Vote`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Voted {
    pub(crate) term: u64,
    pub(crate) granted: bool,
}

/// A leader shows itself, and hands on entries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Append {
    pub(crate) term: u64,
    pub(crate) leader: String,
    /// The entry before `entries`; 0 before the first.
    pub(crate) prev_index: u64,
    pub(crate) prev_term: u64,
    pub(crate) commit: u64,
    pub(crate) entries: Vec<Entry>,
}

/// The answer to [`Append`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Appended {
    pub(crate) term: u64,
    pub(crate) accepted: bool,
    /// The entry to send next. When accepted: all before it are on this member's disk, and equal the leader's.
    pub(crate) next: u64,
}

/// How one member sees things.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// `leader`, `follower` or `candidate`.
    pub role: String,
    /// Its term.
    pub term: u64,
    /// How many entries of its log it knows to be committed, and has applied.
    pub commit: u64,
    /// How many entries its log has.
    pub last: u64,
}
