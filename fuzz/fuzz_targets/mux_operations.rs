//! Operations on two ends that are joined, over a transport that breaks: nothing is lost, doubled or invented.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| netsplit_wire::testing::operate(bytes));
