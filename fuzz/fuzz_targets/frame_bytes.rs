//! Arbitrary bytes into both ends of a link, before and behind a hello: what a stranger can do to us.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| netsplit_wire::testing::receive_arbitrary(bytes));
