//! What members say to each other.

use super::log::Entry;

/// What one member says to another. Every message carries its sender's term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Vote for me; my log ends with the entry `last_index` of `last_term`.
    Vote { term: u64, last_index: u64, last_term: u64 },
    /// The answer to a [`Message::Vote`].
    VoteReply { term: u64, granted: bool },
    /// I lead. Behind the entry `prev_index` of `prev_term` come `entries`, maybe none; all up to `commit` is
    /// committed.
    Append { term: u64, round: u64, prev_index: u64, prev_term: u64, commit: u64, entries: Vec<Entry> },
    /// The answer to the [`Message::Append`] of `round`.
    AppendReply { term: u64, round: u64, outcome: Outcome },
}

/// What came of a [`Message::Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The log equals the leader's up to `matched`.
    Accepted { matched: u64 },
    /// The entry before those sent is missing or another; try from `next`.
    Rejected { next: u64 },
}

/// The part of a [`Message::Append`] that is about the log.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) prev_index: u64,
    pub(super) prev_term: u64,
    pub(super) commit: u64,
    pub(super) entries: Vec<Entry>,
}

impl Message {
    /// The sender's term.
    pub(crate) fn term(&self) -> u64 {
        match *self {
            Self::Vote { term, .. }
            | Self::VoteReply { term, .. }
            | Self::Append { term, .. }
            | Self::AppendReply { term, .. } => term,
        }
    }
}
