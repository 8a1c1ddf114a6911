//! Arbitrary frames of hosts into the network, over links that do a bit of everything and through a translator.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| netsplit_fabric::testing::receive_arbitrary(bytes));
