//! What the log's entries mean: writes to a map of texts, each applied once however often it was sent.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Bytes of a key. A key is a name, not a document.
pub(crate) const KEY_BYTES_MAX: usize = 256;
/// Bytes of a value. Several entries must fit into one frame, see `protocol::FRAME_BYTES_MAX`.
pub(crate) const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Entries of a page.
pub(crate) const PAGE_ENTRIES_MAX: usize = 1024;
/// Bytes from which on a page is full: with one more entry it still fits into a frame.
const PAGE_BYTES_FULL: usize = 512 * 1024;

/// What one entry of the log does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Nothing. A new leader's first entry, since it may commit only entries of its own term.
    Nothing,
    /// A write.
    Put(Put),
}

/// A write, with the name of the attempt so that a retry is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Put {
    /// Who wrote: a random number per client process.
    pub(crate) client: u64,
    /// The client's count of its writes, from 1. A retry has the number of the first try.
    pub(crate) sequence: u64,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Some of the map, in the order of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) entries: Vec<(String, String)>,
    /// Whether there are keys behind these.
    pub(crate) more: bool,
}

/// The map that all members agree on, and the last write of every client.
///
/// `sessions` grows by one per client and is never pruned, as is the log: there are no snapshots.
#[derive(Debug, Default)]
pub(crate) struct Store {
    values: BTreeMap<String, String>,
    sessions: BTreeMap<u64, u64>,
}

impl Store {
    /// Applies the next entry of the log. A write that was applied before, or is older than one, changes
    /// nothing.
    pub(crate) fn apply(&mut self, command: Command) {
        let Command::Put(put) = command else { return };
        let last = self.sessions.entry(put.client).or_insert(0);
        if put.sequence > *last {
            *last = put.sequence;
            self.values.insert(put.key, put.value);
        }
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The keys behind `after`, from the first when it is empty, and their values.
    pub(crate) fn page(&self, after: &str) -> Page {
        let from = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for (key, value) in self.values.range::<str, _>((from, Bound::Unbounded)) {
            if entries.len() == PAGE_ENTRIES_MAX || bytes >= PAGE_BYTES_FULL {
                return Page { entries, more: true };
            }
            bytes += key.len() + value.len() + 8; // and their lengths
            entries.push((key.clone(), value.clone()));
        }
        Page { entries, more: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(client: u64, sequence: u64, value: &str) -> Command {
        Command::Put(Put { client, sequence, key: "x".into(), value: value.into() })
    }

    #[test]
    fn pages_have_every_key_once() {
        let mut store = Store::default();
        let keys: Vec<String> = (0..3000).map(|number| format!("key{number:04}")).collect();
        for (sequence, key) in (1..).zip(&keys) {
            let value = if sequence % 100 == 0 { "v".repeat(VALUE_BYTES_MAX) } else { "v".into() };
            store.apply(Command::Put(Put { client: 1, sequence, key: key.clone(), value }));
        }
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let Page { entries, more } = store.page(&after);
            assert!(entries.iter().map(|(key, value)| key.len() + value.len() + 8).sum::<usize>() < 1 << 20);
            all.extend(entries.into_iter().map(|(key, _)| key));
            after = all.last().cloned().unwrap_or_default();
            if !more {
                break;
            }
        }
        assert_eq!(all, keys);
        assert_eq!(Store::default().page(""), Page { entries: Vec::new(), more: false });
    }

    #[test]
    fn a_retry_is_applied_once() {
        let mut store = Store::default();
        for command in [put(1, 1, "first"), put(2, 1, "second"), put(1, 1, "first"), Command::Nothing] {
            store.apply(command);
        }
        assert_eq!(store.get("x"), Some("second"));
        store.apply(put(1, 2, "third"));
        assert_eq!(store.get("x"), Some("third"));
        assert_eq!(store.get("y"), None);
    }
}
