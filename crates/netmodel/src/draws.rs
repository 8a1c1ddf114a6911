//! Chance without a state: every draw is a function of (seed, name, index, purpose), so that no draw can move another.
//!
//! The function is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011), a
//! keyed bijection of 128-bit counters that passes `BigCrush`. The seed is its key; index, purpose and the name's hash are
//! its counter.

/// What a draw decides. The numbers are part of every seed's meaning: they never change, and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Loss = 0,
    Burst = 1,
    Duplicate = 2,
    Reorder = 3,
    Corrupt = 4,
    Bit = 5,
    Jitter = 6,
    /// As the four above, for the second copy of a packet.
    ReorderCopy = 7,
    CorruptCopy = 8,
    BitCopy = 9,
    JitterCopy = 10,
    Flap = 11,
    NatPort = 12,
}

/// The draws of one named thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    key: [u32; 2],
    name: [u32; 2],
}

/// Indexes are below this: the counter's upper 8 bits of index hold the purpose. 2^56 packets take a link 22 years at
/// 100 million packets a second.
const INDEX_END: u64 = 1 << 56;

impl Draws {
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        Self { key: halves(seed), name: halves(fnv1a(name.as_bytes())) }
    }

    /// 64 random bits.
    pub(crate) fn bits(&self, index: u64, purpose: Purpose) -> u64 {
        debug_assert!(index < INDEX_END);
        let [low, high] = halves(index | (purpose as u64) << 56);
        let [first, second, ..] = philox([low, high, self.name[0], self.name[1]], self.key);
        u64::from(first) | u64::from(second) << 32
    }

    /// A number of at least 0 and less than 1, with 53 random bits.
    pub(crate) fn unit(&self, index: u64, purpose: Purpose) -> f64 {
        const STEP: f64 = 1.0 / (1u64 << 53) as f64;
        (self.bits(index, purpose) >> 11) as f64 * STEP
    }

    /// Whether an event of this probability happens. A packet that happens on stays so when the probability grows.
    pub(crate) fn happens(&self, index: u64, purpose: Purpose, probability: f64) -> bool {
        self.unit(index, purpose) < probability
    }

    /// A number below `end`, each as likely as any other but for 2^-64 of `end`.
    pub(crate) fn below(&self, index: u64, purpose: Purpose, end: u64) -> u64 {
        let [_, high] = wide(self.bits(index, purpose), end);
        high
    }
}

/// The ten rounds of Philox4x32-10.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for _ in 0..10 {
        let [low_0, high_0] = halves(u64::from(MULTIPLIERS[0]) * u64::from(counter[0]));
        let [low_1, high_1] = halves(u64::from(MULTIPLIERS[1]) * u64::from(counter[2]));
        counter = [high_1 ^ counter[1] ^ key[0], low_1, high_0 ^ counter[3] ^ key[1], low_0];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// FNV-1a with 64 bits (draft-eastlake-fnv): names are few, short and nobody's attack.
fn fnv1a(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

/// The product's lower and upper 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
fn wide(left: u64, right: u64) -> [u64; 2] {
    let product = u128::from(left) * u128::from(right);
    [product as u64, (product >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines `philox4x32 10` of `tests/kat_vectors` in the authors' library Random123.
    #[test]
    fn philox_is_the_published_one() {
        let check = |counter, key, expect: [u32; 4]| assert_eq!(philox(counter, key), expect);
        check([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        check([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        check(
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        );
    }

    /// Vectors of draft-eastlake-fnv, appendix C.
    #[test]
    fn fnv1a_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn every_part_of_the_tuple_counts() {
        let bits = |seed, name, index, purpose| Draws::new(seed, name).bits(index, purpose);
        let first = bits(1, "a>b", 0, Purpose::Loss);
        assert_eq!(first, bits(1, "a>b", 0, Purpose::Loss));
        assert_ne!(first, bits(2, "a>b", 0, Purpose::Loss));
        assert_ne!(first, bits(1, "b>a", 0, Purpose::Loss));
        assert_ne!(first, bits(1, "a>b", 1, Purpose::Loss));
        assert_ne!(first, bits(1, "a>b", 0, Purpose::Jitter));
        assert_ne!(first, bits(1, "a>b", INDEX_END - 1, Purpose::Loss));
    }

    #[test]
    fn numbers_keep_their_range() {
        let draws = Draws::new(7, "range");
        let mut seen = [0u32; 6];
        for index in 0..6000 {
            assert!((0.0..1.0).contains(&draws.unit(index, Purpose::Loss)));
            let number = usize::try_from(draws.below(index, Purpose::Bit, 6)).unwrap();
            seen[number] += 1;
        }
        // 1000 each; the standard deviation is 29.
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
        assert!((0..100).all(|index| draws.happens(index, Purpose::Loss, 1.0)));
        assert!(!(0..100).any(|index| draws.happens(index, Purpose::Loss, 0.0)));
    }
}
