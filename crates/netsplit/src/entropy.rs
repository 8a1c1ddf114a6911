//! The only source of true randomness: a run's id, its seed when nobody said one, and names of sessions.

use rustix::rand::{GetRandomFlags, getrandom};

/// Fills `bytes` with the kernel's random numbers.
pub(crate) fn fill(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        // It can only fail for want of the call itself, before Linux 3.17.
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).expect("the kernel has getrandom");
    }
}

/// A random number.
pub(crate) fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
