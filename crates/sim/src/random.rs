//! Chance by name: a stream of draws for each (seed, name), so that no draw of one name moves another's.

/// A stream of random numbers (splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream called `name` of a seed. The same two give the same draws, in every process and on every machine.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut stream = Self { state: seed };
        for byte in name.bytes() {
            stream.state = stream.draw() ^ u64::from(byte);
        }
        stream
    }

    /// 64 random bits.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0; each as likely as any other but for 2^-64 of `end`.
    #[inline]
    pub fn below(&mut self, end: u64) -> u64 {
        let wide = u128::from(self.draw()) * u128::from(end);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// A number of at least 0 and less than 1, with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        const STEP: f64 = 1.0 / (1u64 << 53) as f64;
        (self.draw() >> 11) as f64 * STEP
    }

    /// Whether an event of this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let draw = self.draw().to_le_bytes();
            chunk.copy_from_slice(&draw[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_and_name_and_never_by_the_run() {
        assert_eq!(Random::new(1, "a").draw(), Random::new(1, "a").draw());
        assert_ne!(Random::new(1, "a").draw(), Random::new(2, "a").draw());
        assert_ne!(Random::new(1, "a").draw(), Random::new(1, "b").draw());
        assert_ne!(Random::new(1, "ab").draw(), Random::new(1, "ba").draw());
    }

    #[test]
    fn below_is_below() {
        let mut random = Random::new(7, "below");
        let draws: Vec<_> = (0..1000).map(|_| random.below(3)).collect();
        assert!((0..3).all(|n| draws.iter().filter(|draw| **draw == n).count() > 250), "{draws:?}");
    }
}
