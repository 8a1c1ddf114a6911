//! The log as the member knows it, and up to where it is saved as it is. The first entry has index 1.

use crate::message::Entry;

/// Entries of one message at most.
const APPEND_ENTRIES_MAX: usize = 128;
/// Bytes from which on a message is full; escaped by JSON, it stays below `http`'s limit with one more.
const APPEND_BYTES_FULL: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Log {
    entries: Vec<Entry>,
    /// The first so many entries are saved as they are here.
    saved: usize,
}

impl Log {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        let saved = entries.len();
        Self { entries, saved }
    }

    pub(super) fn last_index(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The last entry that is saved.
    pub(super) fn saved_index(&self) -> u64 {
        self.saved as u64
    }

    /// The term of the entry at `index`, 0 at index 0; `None` behind the end.
    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        if index == 0 { Some(0) } else { self.get(index).map(|entry| entry.term) }
    }

    /// The term of the last entry.
    pub(super) fn last_term(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.term)
    }

    /// The first entry of the term that the entry at `index` has.
    pub(super) fn first_of_term(&self, index: u64) -> u64 {
        let term = self.term_at(index);
        (1..=index).rev().take_while(|&index| self.term_at(index) == term).last().unwrap_or(1)
    }

    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(position(index)?)
    }

    /// The entries from `index` on that go into one message.
    pub(super) fn batch_from(&self, index: u64) -> Vec<Entry> {
        let mut bytes = 0;
        let rest = position(index).and_then(|position| self.entries.get(position..)).unwrap_or_default();
        let fits = |entry: &&Entry| {
            let fits = bytes < APPEND_BYTES_FULL;
            bytes += entry.put.as_ref().map_or(0, |put| put.key.len() + put.value.len());
            fits
        };
        rest.iter().take(APPEND_ENTRIES_MAX).take_while(fits).cloned().collect()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Takes away the entry at `index` and all behind it.
    pub(super) fn truncate(&mut self, index: u64) {
        self.entries.truncate(position(index).unwrap_or(0));
        self.saved = self.saved.min(self.entries.len());
    }

    /// How many entries are saved as they are, and those that must be saved behind them.
    pub(super) fn unsaved(&self) -> (usize, &[Entry]) {
        (self.saved, &self.entries[self.saved..])
    }

    pub(super) fn set_saved(&mut self) {
        self.saved = self.entries.len();
    }
}

/// Where in the vector the entry at `index` is.
fn position(index: u64) -> Option<usize> {
    usize::try_from(index.checked_sub(1)?).ok()
}
