//! Bytes to send through things, and their comparison.

/// Bytes of every value without a period that a buffer has: what is lost, doubled or shifted shows.
///
/// # Panics
/// Never.
pub fn noise(length: usize) -> Vec<u8> {
    // A prime, so that no buffer's size divides it.
    const BLOCK: usize = 65_521;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(BLOCK + 8);
    while block.len() < BLOCK {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        block.extend(state.to_le_bytes());
    }
    block.truncate(BLOCK);
    let mut bytes = Vec::with_capacity(length + BLOCK);
    while bytes.len() < length {
        // Numbered, so that a block that is left out shows as well.
        let number = (bytes.len() / BLOCK).to_le_bytes();
        bytes.extend_from_slice(&block[..BLOCK - number.len()]);
        bytes.extend(number);
    }
    bytes.truncate(length);
    bytes
}

/// Asserts that two byte strings are the same, and says where they are not.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn assert_same(got: &[u8], wanted: &[u8], what: &str) {
    if got == wanted {
        return;
    }
    let at = got.iter().zip(wanted).position(|(got, wanted)| got != wanted);
    panic!("{what}: {} bytes came of {}; the first that differs is {at:?}", got.len(), wanted.len());
}
