//! How long packets travel: distributions of jitter, as functions from a number between 0 and 1.
//!
//! Only additions, multiplications, divisions and square roots are used, which IEEE 754 defines to the last bit:
//! logarithms and powers of the system's library differ between machines, and then so would fates.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::nanos;

/// How much a link's delay varies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jitter {
    /// The unit of the distribution: half its width when uniform, else about its standard deviation.
    #[serde(with = "nanos")]
    pub spread: Duration,
    /// Its shape.
    pub distribution: Distribution,
}

/// The shape of jitter, by the names of tc-netem(8), whose tables (of NIST Net) these are the formulas of.
///
/// Each has its mean at the link's delay, but for what is cut off: no value lies more than four spreads from the delay,
/// where netem's tables end too, nor below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Between delay − spread and delay + spread, each as likely. What the kernel's netem does when no distribution is named,
    /// though its manual says normal.
    #[default]
    Uniform,
    /// The bell with its standard deviation at one spread.
    Normal,
    /// A Pareto law with exponent 3: many a little faster than the mean, few very late.
    Pareto,
    /// A quarter normal and three quarters Pareto, the mixture of NIST Net.
    ParetoNormal,
}

/// Where distributions end, in spreads from the mean.
pub(crate) const SPREADS_MAX: f64 = 4.0;

impl Jitter {
    /// Jitter of equally likely values.
    pub const fn uniform(spread: Duration) -> Self {
        Self { spread, distribution: Distribution::Uniform }
    }

    /// The travelling time that `unit` (at least 0, less than 1) stands for.
    pub(crate) fn around(self, delay: Duration, unit: f64) -> Duration {
        let shift = self.spread.as_nanos() as f64 * self.distribution.quantile(unit);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates at both ends"
        )]
        let size = Duration::from_nanos(shift.abs() as u64);
        if shift < 0.0 { delay.saturating_sub(size) } else { delay + size }
    }
}

impl Distribution {
    /// Every shape.
    pub const ALL: [Self; 4] = [Self::Uniform, Self::Normal, Self::Pareto, Self::ParetoNormal];

    /// The value in spreads below which a share `unit` of all values lies.
    fn quantile(self, unit: f64) -> f64 {
        let value = match self {
            Self::Uniform => 2.0 * unit - 1.0,
            Self::Normal => normal(unit),
            Self::Pareto => pareto(unit),
            Self::ParetoNormal => 0.25 * normal(unit) + 0.75 * pareto(unit),
        };
        value.clamp(-SPREADS_MAX, SPREADS_MAX)
    }
}

/// The inverse of the normal distribution, with a relative error below 1.2e-9 (P. J. Acklam, 2003), ending at four.
fn normal(unit: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    const TAIL: f64 = 0.024_25;
    /// Less than what the distribution has beyond four standard deviations, and no zero, whose logarithm is infinite.
    const LEAST: f64 = 1e-6;
    let tail = unit.min(1.0 - unit).max(LEAST);
    let below = if tail < TAIL {
        let root = (-2.0 * ln(tail)).sqrt();
        polynomial(&C, root) / polynomial(&D, root)
    } else {
        let centred = tail - 0.5;
        let square = centred * centred;
        polynomial(&A, square) * centred / polynomial(&B, square)
    };
    let value = if unit < 0.5 { below } else { -below };
    value.clamp(-SPREADS_MAX, SPREADS_MAX)
}

/// The inverse of the Pareto distribution with exponent 3 and least value 1, moved and scaled to mean 0 and spread 1
/// as NIST Net does: (x − 3/2) · 4/3, ending at four.
fn pareto(unit: f64) -> f64 {
    let rest = 1.0 - unit;
    let value = if rest < 1.0 / 91.125 { 4.5 } else { inverse_cube_root(rest) };
    (value - 1.5) * (4.0 / 3.0)
}

/// 1 ∕ ∛x for x of 1/91.125 to 1, by Newton's method, whose error is below 1e-12 after these rounds.
fn inverse_cube_root(x: f64) -> f64 {
    // It converges from any start that is positive and below ∛(4/x).
    let mut y = if x < 0.125 { 2.0 } else { 1.25 };
    for _ in 0..9 {
        y *= (4.0 - x * y * y * y) * (1.0 / 3.0);
    }
    y
}

/// The natural logarithm of a positive normal number: exponent and mantissa apart, the mantissa's by the series of
/// 2·artanh((m − 1)/(m + 1)), whose first term left out is below 1e-11.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as f64 - 1023.0;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = (0..11).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    exponent * std::f64::consts::LN_2 + 2.0 * ratio * series
}

/// Horner's rule, the highest power first.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(left: f64, right: f64, error: f64) {
        assert!((left - right).abs() <= error, "{left} is not {right} ± {error}");
    }

    #[test]
    fn own_functions_equal_the_librarys() {
        for step in 1..=10_000 {
            let x = f64::from(step) / 10_000.0;
            near(ln(x), x.ln(), 1e-10);
            if x > 1.0 / 91.125 {
                near(inverse_cube_root(x), x.powf(-1.0 / 3.0), 1e-12);
            }
        }
        // Tables of the normal distribution.
        for (unit, value) in
            [(0.5, 0.0), (0.841_344_746, 1.0), (0.975, 1.959_963_985), (0.001, -3.090_232_306)]
        {
            near(normal(unit), value, 1e-7);
        }
    }

    /// First, quarter, half, three quarters and 99 of 100 in the tables of iproute2, there in units of 1/8192.
    #[test]
    fn quantiles_are_netems() {
        let check = |distribution: Distribution, expect: [f64; 5]| {
            for (unit, value) in [0.0, 0.25, 0.5, 0.75, 0.99].into_iter().zip(expect) {
                near(distribution.quantile(unit), value / 8192.0, 0.01);
            }
        };
        check(Distribution::Normal, [-32768.0, -5525.0, 0.0, 5526.0, 19064.0]);
        check(Distribution::Pareto, [-5461.0, -4362.0, -2622.0, 955.0, 32767.0]);
        check(Distribution::ParetoNormal, [-12305.0, -4652.0, -1966.0, 2097.0, 29341.0]);
    }

    #[test]
    fn values_grow_and_end() {
        for distribution in Distribution::ALL {
            let values: Vec<_> =
                (0..=1000).map(|step| distribution.quantile(f64::from(step) / 1001.0)).collect();
            assert!(values.is_sorted(), "{distribution:?}");
            assert!(values.iter().all(|value| value.abs() <= SPREADS_MAX));
            let least_and_most = [0.0, 1.0 - f64::EPSILON / 2.0].map(|unit| distribution.quantile(unit));
            assert!(least_and_most.iter().all(|value| value.is_finite() && value.abs() <= SPREADS_MAX));
        }
    }

    #[test]
    fn nothing_arrives_before_it_left() {
        let jitter = Jitter::uniform(Duration::from_millis(10));
        assert_eq!(jitter.around(Duration::from_millis(5), 0.0), Duration::ZERO);
        assert_eq!(jitter.around(Duration::from_millis(50), 0.0), Duration::from_millis(40));
        assert_eq!(jitter.around(Duration::from_millis(50), 0.75), Duration::from_millis(55));
    }
}
