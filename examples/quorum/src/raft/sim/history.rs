//! Whether a history of reads and writes could be that of one register per key (Wing and Gong's search,
//! 1993).

use std::collections::HashSet;

/// What one client did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) client: u64,
    pub(super) key: u64,
    pub(super) kind: Kind,
    /// When it began and ended, in events of the world. One without an end may have happened at any time or
    /// not at all.
    pub(super) began: u64,
    pub(super) ended: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Writes a value that nobody else writes.
    Write(u64),
    /// What it returned.
    Read(Option<u64>),
}

/// Whether the history is linearizable: each key by itself, since that is enough (Herlihy and Wing, 1990).
pub(super) fn is_linearizable(history: &[Operation]) -> bool {
    let keys: HashSet<u64> = history.iter().map(|operation| operation.key).collect();
    let of = |key: u64| -> Vec<Operation> {
        let matters = |operation: &&Operation| match operation.kind {
            Kind::Write(_) => true,
            Kind::Read(_) => operation.ended.is_some(),
        };
        history.iter().filter(|operation| operation.key == key).filter(matters).copied().collect()
    };
    keys.into_iter().all(|key| is_register(&of(key)))
}

/// Searches for an order, oldest state first, that explains every read.
fn is_register(operations: &[Operation]) -> bool {
    assert!(operations.len() <= 128, "{} operations on a key are too many for the search", operations.len());
    let must: u128 = bits(operations, |operation| operation.ended.is_some());
    let mut seen = HashSet::new();
    let mut states: Vec<(u128, Option<u64>)> = vec![(0, None)];
    while let Some((done, value)) = states.pop() {
        if done & must == must {
            return true;
        }
        if !seen.insert((done, value)) {
            continue;
        }
        let open = |place: usize| done >> place & 1 == 0;
        let ends =
            (0..operations.len()).filter(|&place| open(place)).filter_map(|place| operations[place].ended);
        let first_end = ends.min().unwrap_or(u64::MAX);
        // Next can be any that began before the first of the others had ended.
        for (place, operation) in operations.iter().enumerate() {
            if !open(place) || operation.began > first_end {
                continue;
            }
            match operation.kind {
                Kind::Write(written) => states.push((done | 1 << place, Some(written))),
                Kind::Read(read) if read == value => states.push((done | 1 << place, value)),
                Kind::Read(_) => {}
            }
        }
    }
    false
}

fn bits(operations: &[Operation], matters: impl Fn(&Operation) -> bool) -> u128 {
    operations
        .iter()
        .enumerate()
        .filter(|(_, operation)| matters(operation))
        .map(|(place, _)| 1 << place)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::Kind::{Read, Write};
    use super::*;

    fn check(operations: &[(Kind, u64, Option<u64>)], expected: bool) {
        let operation = |&(kind, began, ended)| Operation { client: 0, key: 0, kind, began, ended };
        let history: Vec<Operation> = operations.iter().map(operation).collect();
        assert_eq!(is_linearizable(&history), expected, "{operations:?}");
    }

    #[test]
    fn registers_are_told_from_others() {
        check(&[(Write(1), 1, Some(2)), (Read(Some(1)), 3, Some(4))], true);
        check(&[(Write(1), 1, Some(2)), (Read(None), 3, Some(4))], false);
        check(&[(Write(1), 1, Some(4)), (Read(None), 2, Some(3))], true);
        // A write without an end may happen late, or never; but once read it stays.
        check(&[(Write(1), 1, None), (Read(None), 2, Some(3)), (Read(Some(1)), 4, Some(5))], true);
        check(&[(Write(1), 1, None), (Read(Some(1)), 2, Some(3)), (Read(None), 4, Some(5))], false);
        // Two writes one after the other, and the first read afterwards.
        check(&[(Write(1), 1, Some(2)), (Write(2), 3, Some(4)), (Read(Some(1)), 5, Some(6))], false);
        check(&[(Write(1), 1, Some(4)), (Write(2), 2, Some(3)), (Read(Some(1)), 5, Some(6))], true);
        check(&[(Read(Some(9)), 1, Some(2))], false);
    }
}
