//! What the log's entries come to: a map of texts, to which each write is applied once however often it was sent.

use std::collections::BTreeMap;

use crate::message::Put;

/// The map that all members agree on, and the last write of every client.
///
/// `clients` grows by one per client and is never pruned, as is the log: there are no snapshots.
#[derive(Debug, Default)]
pub(crate) struct Store {
    values: BTreeMap<String, String>,
    clients: BTreeMap<u64, u64>,
}

impl Store {
    /// Applies the next write. One that was applied before, or is older than one of its client's, changes nothing.
    pub(crate) fn apply(&mut self, put: &Put) {
        let last = self.clients.entry(put.client).or_insert(0);
        if put.sequence > *last {
            *last = put.sequence;
            self.values.insert(put.key.clone(), put.value.clone());
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&String> {
        self.values.get(key)
    }

    pub(crate) fn all(&self) -> &BTreeMap<String, String> {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_attempt_is_applied_once() {
        let put =
            |client, sequence, value: &str| Put { client, sequence, key: "x".into(), value: value.into() };
        let mut store = Store::default();
        for put in [put(1, 1, "first"), put(2, 1, "second"), put(1, 1, "first")] {
            store.apply(&put);
        }
        assert_eq!(store.get("x").map(String::as_str), Some("second"));
        store.apply(&put(1, 2, "third"));
        assert_eq!(store.get("x").map(String::as_str), Some("third"));
    }
}
