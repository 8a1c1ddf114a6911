//! The log in memory: all entries since the beginning, indexed from 1. Nothing here decides anything.

use crate::kv::Command;

/// Entries in one message. A restarted member with a long log gets it in so many steps.
pub(crate) const BATCH_ENTRIES_MAX: usize = 64;
/// Bytes of the texts in one message beyond its first entry; with that entry a message stays below a frame's
/// limit.
const BATCH_BYTES_MAX: usize = 512 * 1024;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The term of the leader who made it.
    pub(crate) term: u64,
    pub(crate) command: Command,
}

/// All entries.
#[derive(Debug)]
pub(super) struct Log {
    entries: Vec<Entry>,
}

impl Log {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// The index of the last entry; 0 when there is none.
    pub(super) fn last_index(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The term of the last entry; 0 when there is none.
    pub(super) fn last_term(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.term)
    }

    /// The entry at `index`.
    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(position(index)?)
    }

    /// The term of the entry at `index`. The place before the first entry has term 0.
    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        if index == 0 { Some(0) } else { self.get(index).map(|entry| entry.term) }
    }

    /// The index of the first entry that has the term of the entry at `index`.
    pub(super) fn first_of_term(&self, index: u64) -> u64 {
        let term = self.term_at(index);
        (1..index).rev().take_while(|&earlier| self.term_at(earlier) == term).last().unwrap_or(index)
    }

    /// Puts `entry` at `index` and drops what was there and behind it.
    ///
    /// # Panics
    /// When that would leave a gap.
    pub(super) fn put(&mut self, index: u64, entry: Entry) {
        assert!((1..=self.last_index() + 1).contains(&index), "entry {index} would leave a gap");
        self.entries.truncate(position(index).unwrap_or(0));
        self.entries.push(entry);
    }

    /// What one message may carry of the entries from `index` on.
    pub(super) fn batch_from(&self, index: u64) -> Vec<Entry> {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let had = bytes;
            if let Command::Put(put) = &entry.command {
                bytes += put.key.len() + put.value.len();
            }
            had == 0 || bytes <= BATCH_BYTES_MAX
        };
        let start = position(index).map_or(self.entries.len(), |start| start.min(self.entries.len()));
        self.entries[start..].iter().take(BATCH_ENTRIES_MAX).take_while(fits).cloned().collect()
    }
}

fn position(index: u64) -> Option<usize> {
    usize::try_from(index.checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Put;

    fn log(terms: &[u64]) -> Log {
        Log::new(terms.iter().map(|&term| Entry { term, command: Command::Nothing }).collect())
    }

    #[test]
    fn indices_begin_with_one() {
        let mut log = log(&[1, 1, 3]);
        assert_eq!((log.last_index(), log.last_term()), (3, 3));
        assert_eq!([log.term_at(0), log.term_at(1), log.term_at(4)], [Some(0), Some(1), None]);
        assert_eq!(log.term_at(u64::MAX), None);
        log.put(2, Entry { term: 4, command: Command::Nothing });
        assert_eq!((log.last_index(), log.last_term()), (2, 4));
    }

    #[test]
    fn the_first_entry_of_a_term_is_found() {
        let log = log(&[1, 2, 2, 2, 5]);
        assert_eq!([1, 2, 4, 5].map(|index| log.first_of_term(index)), [1, 2, 2, 5]);
    }

    #[test]
    fn batches_are_limited() {
        assert_eq!(log(&[1; 100]).batch_from(1).len(), BATCH_ENTRIES_MAX);
        assert_eq!(log(&[1; 100]).batch_from(99).len(), 2);
        assert_eq!(log(&[1; 100]).batch_from(101).len(), 0);
        let put = Put { client: 1, sequence: 1, key: "k".into(), value: "v".repeat(60_000) };
        let large = Entry { term: 1, command: Command::Put(put) };
        assert_eq!(Log::new(vec![large; 20]).batch_from(1).len(), 8);
    }
}
