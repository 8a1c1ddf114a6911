//! The fuzz targets' bodies over random bytes for a moment: on stable, in every test run. The fuzzer itself is `fuzz/`.

use std::time::{Duration, Instant};

use netsplit_wire::testing::{operate, receive_arbitrary};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// How long each body is tried.
const TIME: Duration = Duration::from_millis(500);

/// Tries `body` on bytes of up to `length` for a moment; the same bytes each time, as many as the machine manages.
fn try_for_a_moment(length: usize, body: impl Fn(&[u8])) {
    let bytes = prop::collection::vec(prop_oneof![3 => 0..12_u8, 1 => any::<u8>()], 0..length);
    let mut runner = TestRunner::deterministic();
    let begun = Instant::now();
    let mut tries = 0;
    while begun.elapsed() < TIME {
        let bytes = bytes.new_tree(&mut runner).unwrap().current();
        body(&bytes);
        tries += 1;
    }
    assert!(tries > 3, "only {tries} tries");
}

#[test]
fn arbitrary_bytes_are_taken_or_refused() {
    try_for_a_moment(300, receive_arbitrary);
}

#[test]
fn arbitrary_operations_lose_nothing() {
    try_for_a_moment(600, operate);
}
