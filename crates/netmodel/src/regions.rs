//! How far regions of a cloud are from one another.
//!
//! The figures are the mean round trips that IBM Cloud published for its regions for 17 August to 15 September 2024
//! (documentation of its virtual private cloud, "Network latency", tables of latency between and within regions);
//! networks of other clouds between the same places are within some ten per cent of them.

use std::time::Duration;

use crate::Condition;

/// The regions, by the place they are at.
pub const REGIONS: [&str; 8] =
    ["dallas", "toronto", "washington", "frankfurt", "london", "sydney", "tokyo", "sao-paulo"];

/// Round trips in milliseconds, in the order of [`REGIONS`]. The diagonal is between two zones of a region.
const ROUND_TRIP_MS: [[u16; 8]; 8] = [
    [2, 34, 31, 123, 113, 185, 143, 145],
    [34, 2, 19, 92, 82, 215, 161, 130],
    [31, 19, 2, 91, 76, 214, 166, 118],
    [123, 92, 91, 2, 13, 250, 228, 197],
    [113, 82, 76, 13, 2, 261, 242, 187],
    [185, 215, 214, 250, 261, 2, 115, 327],
    [143, 161, 166, 228, 242, 115, 2, 284],
    [145, 130, 118, 197, 187, 327, 284, 2],
];

/// The delay from one region to another: half of their round trip, and 1 ms within a region.
pub fn between(from: &str, to: &str) -> Option<Condition> {
    let index = |name: &str| REGIONS.iter().position(|region| *region == name);
    let round_trip_ms = ROUND_TRIP_MS[index(from)?][index(to)?];
    Some(Condition::new().delay(Duration::from_micros(u64::from(round_trip_ms) * 500)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_as_far_as_back() {
        for (from, row) in ROUND_TRIP_MS.iter().enumerate() {
            for (to, round_trip) in row.iter().enumerate() {
                assert_eq!(*round_trip, ROUND_TRIP_MS[to][from]);
                assert_eq!(*round_trip < 10, from == to);
            }
        }
    }

    #[test]
    fn a_delay_is_half_a_round_trip() {
        let delay = |from, to| between(from, to).and_then(|condition| condition.delay);
        assert_eq!(delay("london", "washington"), Some(Duration::from_millis(38)));
        assert_eq!(delay("tokyo", "tokyo"), Some(Duration::from_millis(1)));
        assert_eq!(delay("tokyo", "atlantis"), None);
    }
}
