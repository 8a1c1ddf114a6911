//! Conditions as people write them: `key=value` of scenarios and command lines. Passage is not among the keys, as `cut`,
//! `reject` and `hold` are verbs there.

use std::collections::BTreeMap;
use std::time::Duration;

use netsplit_model::{nearest, units};
use thiserror::Error;

use crate::shown::{Percent, RATES, number};
use crate::{Condition, Distribution, Jitter, Loss, PRESETS, Reorder, preset};

/// Reads a condition from `key=value` pairs, whose order does not matter.
///
/// | key | value |
/// | --- | --- |
/// | `delay`, `jitter` | a time: `50ms` |
/// | `distribution` | of the jitter: `uniform` (if nobody says), `normal`, `pareto`, `pareto-normal` |
/// | `loss`, `duplicate`, `corrupt` | a share of packets: `10%`, `0.1` |
/// | `burst` | how many packets are lost in a row on average: `4` |
/// | `reorder`, `reorder_by` | a share of packets, and how much later these arrive |
/// | `rate` | `10mbit`, `1.5gbit`, `64kbit`; with or without `/s` behind it |
/// | `queue` | how much may wait for the line: `64KiB`; if nobody says, 100 ms of the rate, at least 64 KiB |
/// | `mtu` | bytes: `1400` |
/// | `preset` | a name of [`PRESETS`], whose figures hold but for those given |
///
/// `loss` and `jitter` take the place of the preset's, bursts and distribution included; `burst` or `distribution` alone
/// change the preset's.
///
/// ```
/// use netsplit_netmodel::ConditionWords;
///
/// let mut words = ConditionWords::new();
/// words.set("delay", "50ms");
/// words.set("loss", "10%");
/// assert_eq!(words.finish().unwrap().to_string(), "delay 50ms, loss 10%");
///
/// let mut words = ConditionWords::new();
/// words.set("loss", "130%");
/// let mistakes = words.finish().unwrap_err();
/// assert_eq!(mistakes[0].to_string(), "loss = 130%: a share between 0 and 1, or 0% and 100%");
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConditionWords {
    /// As it was written, whether it could be read or not.
    written: BTreeMap<&'static str, String>,
    figures: Figures,
    mistakes: Vec<WordError>,
}

/// What could be read.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    delay: Option<Duration>,
    jitter: Option<Duration>,
    distribution: Option<Distribution>,
    loss: Option<f64>,
    burst: Option<f64>,
    duplicate: Option<f64>,
    reorder: Option<f64>,
    reorder_by: Option<Duration>,
    corrupt: Option<f64>,
    rate: Option<u64>,
    queue: Option<u64>,
    mtu: Option<u32>,
    preset: Option<Condition>,
}

/// What is wrong with one `key=value` of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WordError {
    /// No link can have this value, or it is none of its kind.
    #[error("{key} = {value}: {allowed}")]
    Value {
        /// One of [`ConditionWords::KEYS`].
        key: &'static str,
        /// As it was written.
        value: String,
        /// What may stand there.
        allowed: String,
    },
    /// There is no such key.
    #[error("{key} = {value}: no such key; {}", did_you_mean(*.nearest))]
    UnknownKey {
        /// As it was written.
        key: String,
        /// As it was written.
        value: String,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A key may stand once.
    #[error("{key} = {value}: given twice, the first time as {first}")]
    Twice {
        /// The key.
        key: &'static str,
        /// What it should be the second time.
        value: String,
        /// What it is.
        first: String,
    },
    /// It means nothing without another key, which neither stands there nor is in the preset.
    #[error("{key} = {value}: conflicting rules, this needs `{needs}`")]
    Alone {
        /// The key.
        key: &'static str,
        /// As it was written.
        value: String,
        /// The key that is missing.
        needs: &'static str,
    },
}

impl WordError {
    /// The key that it is about, as it was written.
    pub fn key(&self) -> &str {
        match self {
            Self::Value { key, .. } | Self::Twice { key, .. } | Self::Alone { key, .. } => key,
            Self::UnknownKey { key, .. } => key,
        }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || format!("known: {}", ConditionWords::KEYS.join(" ")),
        |key| format!("did you mean `{key}`?"),
    )
}

impl ConditionWords {
    /// Every key.
    pub const KEYS: [&str; 13] = [
        "delay",
        "jitter",
        "distribution",
        "loss",
        "burst",
        "duplicate",
        "reorder",
        "reorder_by",
        "corrupt",
        "rate",
        "queue",
        "mtu",
        "preset",
    ];

    /// No pair yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one pair. What is wrong with it, [`finish`](Self::finish) tells.
    pub fn set(&mut self, key: &str, value: &str) {
        let value = value.trim();
        let Some(key) = Self::KEYS.into_iter().find(|known| *known == key) else {
            let nearest = nearest(key, Self::KEYS);
            self.mistakes.push(WordError::UnknownKey { key: key.into(), value: value.into(), nearest });
            return;
        };
        if let Some(first) = self.written.get(key) {
            self.mistakes.push(WordError::Twice { key, value: value.into(), first: first.clone() });
            return;
        }
        self.written.insert(key, value.into());
        if let Err(allowed) = self.figures.read(key, value) {
            self.mistakes.push(WordError::Value { key, value: value.into(), allowed });
        }
    }

    /// The condition that the pairs stand for: the one that says nothing if there were none.
    ///
    /// # Errors
    /// All mistakes: those of single pairs in the order in which they came, then those of pairs together.
    pub fn finish(mut self) -> Result<Condition, Vec<WordError>> {
        let condition = self.figures.condition();
        self.find_alone(&condition);
        self.find_long_bursts(&condition);
        if !self.mistakes.is_empty() {
            return Err(self.mistakes);
        }
        assert_eq!(condition.mistakes(), [], "each figure was checked");
        Ok(condition)
    }

    /// What needs another key. One that was written counts, whether it could be read or not.
    fn find_alone(&mut self, condition: &Condition) {
        let needs = [
            ("jitter", "delay", condition.delay.is_some()),
            ("distribution", "jitter", condition.jitter.is_some()),
            ("burst", "loss", condition.loss.is_some()),
            ("reorder", "reorder_by", false),
            ("reorder_by", "reorder", false),
            ("queue", "rate", condition.rate_bits_per_s.is_some()),
        ];
        let has_unknown_preset = self.written.contains_key("preset") && self.figures.preset.is_none();
        for (key, needs, is_there) in needs {
            let is_there = is_there || self.written.contains_key(needs) || has_unknown_preset;
            if let Some(value) = self.written.get(key).filter(|_| !is_there) {
                self.mistakes.push(WordError::Alone { key, value: value.clone(), needs });
            }
        }
    }

    /// More loss than runs of the length asked for can be.
    fn find_long_bursts(&mut self, condition: &Condition) {
        let Some(Loss::Bursts { share, packets }) = condition.loss else { return };
        let most = packets / (packets + 1.0);
        if share > most {
            let value = self.written.get("loss").cloned().unwrap_or_default();
            let allowed = format!("at most {} in bursts of {} packets", Percent(most), number(packets));
            self.mistakes.push(WordError::Value { key: "loss", value, allowed });
        }
    }
}

impl Figures {
    /// # Errors
    /// What is allowed.
    fn read(&mut self, key: &'static str, value: &str) -> Result<(), String> {
        match key {
            "delay" => self.delay = Some(time(value)?),
            "jitter" => self.jitter = Some(time(value)?),
            "distribution" => self.distribution = Some(distribution(value)?),
            "loss" => self.loss = Some(share(value)?),
            "burst" => self.burst = Some(packets(value)?),
            "duplicate" => self.duplicate = Some(share(value)?),
            "reorder" => self.reorder = Some(share(value)?),
            "reorder_by" => self.reorder_by = Some(time(value)?),
            "corrupt" => self.corrupt = Some(share(value)?),
            "rate" => self.rate = Some(rate(value)?),
            "queue" => self.queue = Some(queue(value)?),
            "mtu" => self.mtu = Some(mtu(value)?),
            "preset" => self.preset = Some(preset_condition(value)?),
            _ => unreachable!("every one of KEYS has its arm"),
        }
        Ok(())
    }

    fn condition(&self) -> Condition {
        let below = self.preset.unwrap_or_default();
        let condition = Condition {
            delay: self.delay,
            jitter: self.jitter(&below),
            loss: self.loss(&below),
            duplicate: self.duplicate,
            reorder: self.reorder.zip(self.reorder_by).map(|(share, by)| Reorder { share, by }),
            corrupt: self.corrupt,
            rate_bits_per_s: self.rate,
            queue_bytes: self.queue,
            mtu_bytes: self.mtu,
            ..Condition::new()
        };
        condition.over(&below)
    }

    fn jitter(&self, below: &Condition) -> Option<Jitter> {
        if let Some(spread) = self.jitter {
            return Some(Jitter { spread, distribution: self.distribution.unwrap_or_default() });
        }
        let distribution = self.distribution?;
        below.jitter.map(|jitter| Jitter { distribution, ..jitter })
    }

    fn loss(&self, below: &Condition) -> Option<Loss> {
        let Some(packets) = self.burst else { return self.loss.map(Loss::Independent) };
        let share = match (self.loss, below.loss) {
            (Some(share), _) | (None, Some(Loss::Independent(share) | Loss::Bursts { share, .. })) => share,
            (None, Some(Loss::GilbertElliott { .. }) | None) => return None,
        };
        Some(Loss::Bursts { share, packets })
    }
}

/// Digits, and a point among them: no sign, no exponent, and nothing but a number.
fn decimal(text: &str) -> Option<&str> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (is_plain && text.parse::<f64>().is_ok()).then_some(text)
}

fn share(text: &str) -> Result<f64, String> {
    // Two places fewer in the text, so that 0.7% and 0.007 are one number.
    let number = match text.strip_suffix('%') {
        Some(percent) => decimal(percent.trim_end()).map(|percent| format!("{percent}e-2")),
        None => decimal(text).map(ToOwned::to_owned),
    };
    let share = number.and_then(|number| number.parse().ok()).filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share between 0 and 1, or 0% and 100%".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    let time = units::duration(text).ok().filter(|time| *time <= Condition::DELAY_MAX);
    let most = units::Wanted(Condition::DELAY_MAX);
    time.ok_or_else(|| format!("a time with its unit, such as 50ms; at most {most}"))
}

fn packets(text: &str) -> Result<f64, String> {
    let most = Condition::BURST_MAX;
    let packets = decimal(text).and_then(|text| text.parse().ok());
    packets
        .filter(|packets| (1.0..=most).contains(packets))
        .ok_or_else(|| format!("a mean number of packets, 1 to {most}"))
}

fn rate(text: &str) -> Result<u64, String> {
    let known =
        || "a rate with its unit, such as 10mbit; bit, kbit, mbit, gbit; to stop a link, cut it".to_owned();
    let text = text.strip_suffix("/s").unwrap_or(text);
    let (number, factor) =
        RATES.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor))).ok_or_else(known)?;
    let number: f64 = decimal(number.trim_end()).and_then(|number| number.parse().ok()).ok_or_else(known)?;
    let bits = (number * f64::from(*factor)).round();
    if !(1.0..=u64::MAX as f64).contains(&bits) {
        return Err(known());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
    Ok(bits as u64)
}

fn queue(text: &str) -> Result<u64, String> {
    units::size(text).map_err(|_| "a size with its unit, such as 64KiB".to_owned())
}

fn mtu(text: &str) -> Result<u32, String> {
    let [least, most] = Condition::MTU;
    let bytes = text.parse().ok().filter(|bytes| (least..=most).contains(bytes));
    bytes.ok_or_else(|| format!("bytes, {least} to {most}"))
}

fn distribution(text: &str) -> Result<Distribution, String> {
    let named = |distribution: &Distribution| distribution.to_string() == text;
    Distribution::ALL
        .into_iter()
        .find(named)
        .ok_or_else(|| one_of(text, &Distribution::ALL.map(|distribution| distribution.to_string())))
}

fn preset_condition(text: &str) -> Result<Condition, String> {
    let known = || one_of(text, &PRESETS.map(|preset| preset.name.to_owned()));
    preset(text).map(|preset| preset.condition).ok_or_else(known)
}

fn one_of(text: &str, known: &[String]) -> String {
    let list = format!("one of {}", known.join(", "));
    match nearest(text, known.iter().map(String::as_str)) {
        Some(meant) => format!("{list}; did you mean `{meant}`?"),
        None => list,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Condition, Vec<WordError>> {
        let mut words = ConditionWords::new();
        for pair in text.split_whitespace() {
            let (key, value) = pair.split_once('=').unwrap();
            words.set(key, &value.replace('~', " "));
        }
        words.finish()
    }

    fn check(text: &str, expect: &str) {
        let shown = match read(text) {
            Ok(condition) => condition.to_string(),
            Err(mistakes) => mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        };
        assert_eq!(shown, expect, "{text}");
    }

    #[test]
    fn words_make_a_condition() {
        check("", "nothing");
        check("delay=50ms loss=10%", "delay 50ms, loss 10%");
        check("jitter=5ms delay=50ms", "delay 50ms jitter 5ms uniform");
        check("distribution=pareto-normal jitter=5ms delay=1s", "delay 1s jitter 5ms pareto-normal");
        check("burst=4 loss=0.1", "loss 10% in bursts of 4 packets");
        check(
            "duplicate=0.5% corrupt=1 reorder_by=20ms reorder=25~%",
            "duplicate 0.5%, reorder 25% by 20ms, corrupt 100%",
        );
        check("queue=64KiB rate=10mbit mtu=1400", "rate 10 mbit/s, queue 64 KiB, mtu 1400");
        for (rate, shown) in [
            ("1.5gbit", "1.5 gbit/s"),
            ("64kbit/s", "64 kbit/s"),
            ("64~kbit/s", "64 kbit/s"),
            ("9600bit", "9.6 kbit/s"),
        ] {
            check(&format!("rate={rate}"), &format!("rate {shown}"));
        }
        assert_eq!(read("loss=0.7%").unwrap(), Condition::new().loss(0.007));
    }

    #[test]
    fn a_preset_is_below_single_figures() {
        let wifi = "delay 1ms jitter 3ms pareto-normal, loss 2% in bursts of 4 packets, rate 40 mbit/s";
        check("preset=lossy-wifi", wifi);
        for text in ["preset=lossy-wifi delay=9ms", "delay=9ms preset=lossy-wifi"] {
            check(text, &wifi.replace("delay 1ms", "delay 9ms"));
        }
        check("preset=lossy-wifi loss=1%", &wifi.replace("2% in bursts of 4 packets", "1%"));
        check("preset=lossy-wifi burst=9", &wifi.replace("bursts of 4", "bursts of 9"));
        check("preset=lossy-wifi distribution=normal", &wifi.replace("pareto-normal", "normal"));
        check("preset=lossy-wifi jitter=2ms", &wifi.replace("3ms pareto-normal", "2ms uniform"));
        check("preset=lossy-wifi queue=1MiB", &format!("{wifi}, queue 1.0 MiB"));
    }

    #[test]
    fn a_wrong_value_says_what_is_allowed() {
        let of_shares = "a share between 0 and 1, or 0% and 100%";
        for value in ["130%", "-1%", "1.1", "ten", "", "%", ".", "inf", "nan", "1e-3", "+0.1", "10%%"] {
            for key in ["loss", "duplicate", "corrupt"] {
                check(&format!("{key}={value}"), &format!("{key} = {value}: {of_shares}"));
            }
        }
        let of_times = "a time with its unit, such as 50ms; at most 1h";
        for value in ["50", "-5ms", "61m", "soon"] {
            check(&format!("delay={value}"), &format!("delay = {value}: {of_times}"));
        }
        let of_rates = "a rate with its unit, such as 10mbit; bit, kbit, mbit, gbit; to stop a link, cut it";
        for value in ["10", "0mbit", "0.1bit", "fastbit", "mbit", "10MB", "99999999999999gbit"] {
            check(&format!("rate={value}"), &format!("rate = {value}: {of_rates}"));
        }
        check("queue=64 rate=1mbit", "queue = 64: a size with its unit, such as 64KiB");
        check("mtu=67", "mtu = 67: bytes, 68 to 65535");
        check("burst=0.5 loss=1%", "burst = 0.5: a mean number of packets, 1 to 1000000");
        check("burst=2 loss=90%", "loss = 90%: at most 66.6667% in bursts of 2 packets");
        check(
            "preset=lossywifi",
            "preset = lossywifi: one of lan, lossy-wifi, wan, transatlantic, geo, 4g, 3g, satellite; did you mean \
             `lossy-wifi`?",
        );
        check(
            "distribution=gauss delay=1s jitter=1ms",
            "distribution = gauss: one of uniform, normal, pareto, pareto-normal",
        );
    }

    #[test]
    fn a_wrong_key_says_which_was_meant() {
        check("dealy=5ms", "dealy = 5ms: no such key; did you mean `delay`?");
        check(
            "cut=a",
            "cut = a: no such key; known: delay jitter distribution loss burst duplicate reorder reorder_by corrupt \
             rate queue mtu preset",
        );
        check("delay=5ms delay=6ms", "delay = 6ms: given twice, the first time as 5ms");
    }

    #[test]
    fn what_means_nothing_alone_is_a_conflict() {
        for (pair, needs) in [
            ("queue = 64KiB", "rate"),
            ("burst = 4", "loss"),
            ("jitter = 5ms", "delay"),
            ("reorder = 5%", "reorder_by"),
            ("reorder_by = 5ms", "reorder"),
        ] {
            let expect = format!("{pair}: conflicting rules, this needs `{needs}`");
            check(&pair.replace(' ', ""), &expect);
        }
        // One mistake is told once.
        check("jitter=5ms delay=5", "delay = 5: a time with its unit, such as 50ms; at most 1h");
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let mistakes = read("loss=2 dealy=1s queue=1KiB loss=1").unwrap_err();
        let keys: Vec<_> = mistakes.iter().map(WordError::key).collect();
        assert_eq!(keys, ["loss", "dealy", "loss", "queue"]);
    }

    #[test]
    fn every_key_is_read() {
        for key in ConditionWords::KEYS {
            let known = Figures::default().read(key, "?");
            assert!(known.is_err(), "{key}");
        }
    }
}
