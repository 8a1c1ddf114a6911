//! Conditions of usual links, by name.

use std::time::Duration;

use crate::{Condition, Distribution, Jitter, Loss};

/// A named condition for each direction of a link.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// What users write.
    pub name: &'static str,
    /// What it stands for.
    pub about: &'static str,
    /// Where its figures come from.
    pub source: &'static str,
    /// The figures. Delays are one way: half of the round trip where a source has that.
    pub condition: Condition,
}

/// Every preset, the quickest first. Where a link has different rates up and down, this is the one down.
pub const PRESETS: [Preset; 8] = [
    Preset {
        name: "lan",
        about: "hosts on one switch",
        source: "rate: IEEE 802.3ab, with 38 B of preamble, header, checksum and gap a frame (802.3); \
                 delay: hosts in one zone of a cloud, 0.1 ms round trip (see `regions`)",
        condition: Condition { overhead_bytes: Some(38), ..line(1_000_000_000, 50) },
    },
    Preset {
        name: "lossy-wifi",
        about: "a radio at the edge of its reach",
        source: "rate and delay: `Wi-Fi` of Apple's Network Link Conditioner; jitter and loss are our choice: \
                 retries in the link layer make delays vary, and what they cannot mend is lost in bursts",
        condition: jittery(line(40_000_000, 1000), 3000).losing(Loss::Bursts { share: 0.02, packets: 4.0 }),
    },
    Preset {
        name: "wan",
        about: "two sites on one continent",
        source: "delay: Verizon's latency guarantee for North America, 45 ms round trip; rate, jitter: our choice",
        condition: jittery(line(100_000_000, 22_500), 1000),
    },
    Preset {
        name: "transatlantic",
        about: "New York and London",
        source: "delay: Verizon's latency guarantee for this pair, 90 ms round trip; rate, jitter: our choice",
        condition: jittery(line(100_000_000, 45_000), 1000),
    },
    Preset {
        name: "geo",
        about: "replicas all over the earth",
        source: "delay: mean of all pairs in `regions`; rate, jitter and loss: our choice",
        condition: jittery(line(100_000_000, 76_000), 2000).loss(0.0001),
    },
    Preset {
        name: "4g",
        about: "a phone on 4G",
        source: "rate and delay: `4G` of WebPageTest, 9 Mbit/s, 170 ms round trip; jitter: our choice",
        condition: jittery(line(9_000_000, 85_000), 10_000),
    },
    Preset {
        name: "3g",
        about: "a phone on 3G",
        source: "rate and delay: `3G` of WebPageTest, 1.6 Mbit/s down, 300 ms round trip; jitter: our choice",
        condition: jittery(line(1_600_000, 150_000), 20_000),
    },
    Preset {
        name: "satellite",
        about: "one hop over a geostationary satellite",
        source: "delay: RFC 2488 section 2, 279.0 ms for stations at the edge of its view; rate: our choice",
        condition: line(10_000_000, 279_000),
    },
];

/// The preset of this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

const fn line(bits_per_s: u64, delay_us: u64) -> Condition {
    Condition::new().rate(bits_per_s).delay(Duration::from_micros(delay_us))
}

const fn jittery(condition: Condition, spread_us: u64) -> Condition {
    let spread = Duration::from_micros(spread_us);
    condition.jitter(Jitter { spread, distribution: Distribution::ParetoNormal })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regions::{REGIONS, between};

    #[test]
    fn presets_are_conditions() {
        for (index, Preset { name, about, source, condition }) in PRESETS.iter().enumerate() {
            assert_eq!(condition.mistakes(), [], "{name}");
            assert!(!about.is_empty() && source.contains("delay"), "{name}");
            assert!(PRESETS[..index].iter().all(|other| other.name != *name), "{name}");
        }
        assert!(PRESETS.is_sorted_by_key(|preset| preset.condition.delay));
        assert_eq!(preset("geo").map(|preset| preset.name), Some("geo"));
        assert!(preset("GEO").is_none());
    }

    #[test]
    fn geo_is_the_mean_of_regions() {
        let pairs = REGIONS.iter().flat_map(|from| REGIONS.iter().map(move |to| (from, to)));
        let apart = pairs.filter(|(from, to)| from != to);
        let delays: Vec<_> = apart.map(|(from, to)| between(from, to).unwrap().delay.unwrap()).collect();
        let mean = delays.iter().sum::<Duration>() / u32::try_from(delays.len()).unwrap();
        assert!(mean.abs_diff(preset("geo").unwrap().condition.delay.unwrap()) < Duration::from_millis(1));
    }
}
