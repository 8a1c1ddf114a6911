//! Conditions as people read them, in the words of scenarios. Reading such words is `words`' part.

use std::fmt;
use std::time::Duration;

use netsplit_model::units::{Bytes, Wanted};

use crate::{Behaviour, Condition, Distribution, Loss, Passage};

/// What it says, in a fixed order: `cut`, `delay 50ms jitter 5ms uniform, loss 10%, rate 1 mbit/s`; `nothing` if that
/// is what it says.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = parts(self).into_iter().flatten().collect();
        f.pad(&if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") })
    }
}

/// As the [condition](Behaviour::condition) that asks for it: what is the default is not shown.
impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition().fmt(f)
    }
}

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Cut => "cut",
            Self::Reject => "reject",
            Self::Hold => "hold",
        })
    }
}

/// As it is written in scenarios: `uniform`, `pareto-normal`.
impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Uniform => "uniform",
            Self::Normal => "normal",
            Self::Pareto => "pareto",
            Self::ParetoNormal => "pareto-normal",
        })
    }
}

/// `loss 10%`, `loss 10% in bursts of 4 packets`, or the four numbers of Gilbert and Elliott in the order of tc-netem(8).
impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Independent(share) => write!(f, "loss {}", Percent(share)),
            Self::Bursts { share, packets } => bursts(f, share, packets),
            // The model of Gilbert: it is what bursts become in a behaviour.
            Self::GilbertElliott { good_to_bad, bad_to_good, loss_in_bad: 1.0, loss_in_good: 0.0 }
                if bad_to_good > 0.0 =>
            {
                bursts(f, good_to_bad / (good_to_bad + bad_to_good), 1.0 / bad_to_good)
            }
            Self::GilbertElliott { good_to_bad, bad_to_good, loss_in_bad, loss_in_good } => {
                let [p, r] = [good_to_bad, bad_to_good].map(Percent);
                write!(f, "loss p {p} r {r} 1-h {} 1-k {}", Percent(loss_in_bad), Percent(loss_in_good))
            }
        }
    }
}

fn bursts(f: &mut fmt::Formatter<'_>, share: f64, packets: f64) -> fmt::Result {
    write!(f, "loss {} in bursts of {} packets", Percent(share), number(packets))
}

fn parts(condition: &Condition) -> [Option<String>; 10] {
    let share = |name: &str, share: Option<f64>| share.map(|share| format!("{name} {}", Percent(share)));
    let bytes = |name: &str, bytes: Option<u64>| bytes.map(|bytes| format!("{name} {}", Bytes(bytes)));
    [
        condition.passage.map(|passage| passage.to_string()),
        times(condition),
        condition.loss.map(|loss| loss.to_string()),
        share("duplicate", condition.duplicate),
        condition
            .reorder
            .map(|reorder| format!("reorder {} by {}", Percent(reorder.share), Wanted(reorder.by))),
        share("corrupt", condition.corrupt),
        condition.rate_bits_per_s.map(|rate| format!("rate {}", Rate(rate))),
        bytes("queue", condition.queue_bytes),
        sizes(condition),
        bytes("hold up to", condition.hold_bytes),
    ]
}

/// Delay and jitter, which belong together.
fn times(condition: &Condition) -> Option<String> {
    let delay = condition.delay.map(|delay: Duration| format!("delay {}", Wanted(delay)));
    let jitter =
        condition.jitter.map(|jitter| format!("jitter {} {}", Wanted(jitter.spread), jitter.distribution));
    joined([delay, jitter], " ")
}

fn sizes(condition: &Condition) -> Option<String> {
    let overhead = condition.overhead_bytes.map(|bytes| format!("overhead {bytes} B"));
    joined([overhead, condition.mtu_bytes.map(|bytes| format!("mtu {bytes}"))], ", ")
}

fn joined(parts: [Option<String>; 2], between: &str) -> Option<String> {
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(between))
}

/// A share as `10%` with at most four decimals, and as the plain number it is if these were zeros.
pub(crate) struct Percent(pub(crate) f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        let is_tiny = percent != 0.0 && percent.abs() < 0.0001;
        if is_tiny { write!(f, "{}", self.0) } else { write!(f, "{}%", number(percent)) }
    }
}

/// A number with at most four decimals, and no zeros at its end.
pub(crate) fn number(value: f64) -> String {
    if value.is_nan() {
        return "not a number".to_owned();
    }
    let text = format!("{value:.4}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The units of rates, the largest first, and how many bits a second they are.
pub(crate) const RATES: [(&str, u32); 4] =
    [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1000), ("bit", 1)];

struct Rate(u64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |unit: &&(&str, u32)| u64::from(unit.1) <= self.0;
        let (unit, bits) = RATES.iter().find(fits).unwrap_or(&RATES[3]);
        write!(f, "{} {unit}/s", number(self.0 as f64 / f64::from(*bits)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Jitter, preset};

    fn check(condition: Condition, expect: &str) {
        assert_eq!(condition.to_string(), expect);
    }

    #[test]
    fn conditions_read_as_they_are_written() {
        let new = Condition::new;
        let ms = Duration::from_millis;
        check(new(), "nothing");
        check(new().cut(), "cut");
        check(new().reject().delay(ms(50)), "reject, delay 50ms");
        check(new().hold(), "hold");
        check(Condition { passage: Some(Passage::Open), ..new() }, "open");
        check(
            new()
                .delay(ms(50))
                .jitter(Jitter::uniform(ms(5)))
                .loss(0.1)
                .rate(1_000_000)
                .queue(65_536)
                .mtu(1400),
            "delay 50ms jitter 5ms uniform, loss 10%, rate 1 mbit/s, queue 64 KiB, mtu 1400",
        );
        check(
            new().duplicate(0.005).reorder(0.25, ms(20)).corrupt(0.000_000_1).jitter(Jitter::uniform(ms(1))),
            "jitter 1ms uniform, duplicate 0.5%, reorder 25% by 20ms, corrupt 0.0000001",
        );
        let rest = Condition { overhead_bytes: Some(-20), hold_bytes: Some(1 << 24), ..new() };
        check(rest, "overhead -20 B, hold up to 16 MiB");
        check(new().delay(Duration::ZERO).loss(0.0), "delay 0s, loss 0%");
    }

    #[test]
    fn models_of_loss_are_shown_by_their_numbers() {
        let losing = |loss| Condition::new().losing(loss);
        let bursts = losing(Loss::Bursts { share: 0.1, packets: 2.5 });
        check(bursts, "loss 10% in bursts of 2.5 packets");
        let behaviour = Behaviour::of([&bursts]).unwrap();
        assert_eq!(behaviour.to_string(), bursts.to_string());
        let model = Loss::GilbertElliott {
            good_to_bad: 0.01,
            bad_to_good: 0.05,
            loss_in_bad: 0.6,
            loss_in_good: 0.0,
        };
        check(losing(model), "loss p 1% r 5% 1-h 60% 1-k 0%");
    }

    #[test]
    fn rates_have_the_largest_unit_that_fits() {
        let rate = |bits_per_s| Rate(bits_per_s).to_string();
        assert_eq!(
            [0, 999, 1000, 64_500, 9_000_000, 1_500_000_000, 40_000_000_000].map(rate),
            ["0 bit/s", "999 bit/s", "1 kbit/s", "64.5 kbit/s", "9 mbit/s", "1.5 gbit/s", "40 gbit/s"]
        );
    }

    #[test]
    fn behaviours_show_what_is_not_the_default() {
        assert_eq!(Behaviour::default().to_string(), "nothing");
        let wifi = preset("lossy-wifi").unwrap().condition;
        let text = "delay 1ms jitter 3ms pareto-normal, loss 2% in bursts of 4 packets, rate 40 mbit/s";
        assert_eq!(Behaviour::of([&wifi]).unwrap().to_string(), text);
        assert_eq!(wifi.to_string(), text);
    }
}
