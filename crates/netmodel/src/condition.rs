//! What one fault, preset or setting wants of a directed link, as users say it, and what is wrong with it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Jitter, nanos, shown::number};

/// What one fault wants of a directed link. A field that is `None` says nothing.
///
/// Several may hold for a link at once; [`Behaviour::of`](crate::Behaviour::of) has the rule: **field by field, the
/// newest that says anything wins.** After `delay` and then `loss` both hold; of two `delay`s the newer holds, not their
/// sum; a preset's figures hold but for those said after it. To heal a fault is to leave its condition out: what it
/// covered holds again. A zero is said, too: `loss(0.0)` over a lossy preset is a link without loss.
///
/// Lengths are in bytes of what is offered to the link. Whoever offers decides which bytes these are; IP packets without
/// their Ethernet header are what an MTU counts.
///
/// ```
/// use netsplit_netmodel::{Behaviour, Condition, preset};
/// use std::time::Duration;
///
/// let wifi = preset("lossy-wifi").unwrap().condition;
/// let slower = Condition::new().delay(Duration::from_millis(50));
/// assert!(Behaviour::of([&wifi, &slower]).is_ok());
/// let error = Behaviour::of([&wifi, &slower.loss(1.3)]).unwrap_err();
/// assert_eq!(error.to_string(), "`loss` is 130 %; allowed is 0 % to 100 %");
/// ```
///
/// Written, it has its fields by name, times in nanoseconds, and leaves out what it says nothing about. What is read is
/// not checked: [`mistakes`](Self::mistakes) does that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Whether packets pass at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passage: Option<Passage>,
    /// How long a packet travels after it has left the sender's line.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nanos::option")]
    pub delay: Option<Duration>,
    /// How much that varies. Packets stay in order: one that would overtake arrives together with the one before it, so
    /// that dense traffic arrives a little later than the mean. (netem reorders by jitter, unless a rate is set.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
    /// Which packets are lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// The share of packets that arrive twice, 0 to 1. A second copy takes its part of the rate, and has jitter and
    /// corruption of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<f64>,
    /// Which packets arrive behind later ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Reorder>,
    /// The share of packets with one bit flipped, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<f64>,
    /// How fast the sender's line is. Lost packets take their part of it, as on a wire. (In netem they do not.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bits_per_s: Option<u64>,
    /// How many bytes may wait for the line, the packet on it not counted; what exceeds them is dropped as it comes (tail
    /// drop). Without it: what the line sends in 100 ms, at least 64 KiB. Without a rate nothing waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_bytes: Option<u64>,
    /// How many bytes more than its length each packet takes on the line: 38 for IP packets on Ethernet. A negative number
    /// stands for a line that compresses headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead_bytes: Option<i32>,
    /// The longest packet that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_bytes: Option<u32>,
    /// How many bytes may wait while the link holds. Without it: 16 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_bytes: Option<u64>,
}

/// Whether packets pass a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passage {
    /// They do.
    #[default]
    Open,
    /// They are dropped in silence: those that are offered or queued, and those under way at their arrival, at the
    /// receiver, so that the sender learns it from its own timeouts only.
    Cut,
    /// As cut, but the sender is told: whoever drives the link answers with RST or ICMP, as a firewall's "reject" does.
    Reject,
    /// They wait at the sender until the link is anything else, and then go in order. Those under way arrive.
    Hold,
}

/// Which packets are lost. All shares are of 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Loss {
    /// Each with this probability, whatever happened to others.
    Independent(f64),
    /// In bursts: this share of all, in runs of so many packets on average (at least 1). The model of Gilbert: the
    /// next two with r = 1/packets, p = r · share/(1 − share), and a bad state that loses all.
    Bursts {
        /// The share of all packets.
        share: f64,
        /// The mean length of a run of lost packets.
        packets: f64,
    },
    /// The model of Gilbert and Elliott: a link is good or bad, begins good, and may change after each packet (netem's
    /// `loss gemodel p r 1-h 1-k`). The mean loss is (r · (1−k) + p · (1−h)) / (p + r).
    GilbertElliott {
        /// p: the probability that a good link turns bad.
        good_to_bad: f64,
        /// r: the probability that a bad link turns good; 1/r packets is how long it stays bad on average.
        bad_to_good: f64,
        /// 1−h: the share lost while it is bad.
        loss_in_bad: f64,
        /// 1−k: the share lost while it is good.
        loss_in_good: f64,
    },
}

/// Packets that arrive behind later ones.
///
/// Each is held back on its way, and those behind it pass. (netem does it the other way round: the chosen ones skip the
/// delay, so that a link without delay cannot reorder.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reorder {
    /// The share of packets, 0 to 1.
    pub share: f64,
    /// How much later they arrive than they would.
    #[serde(with = "nanos")]
    pub by: Duration,
}

/// A number in a condition that no link can have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{field}` is {value}; allowed is {allowed}")]
pub struct ConditionError {
    /// The field, and the part of it behind a point: `loss.packets`.
    pub field: &'static str,
    /// What it is, with its unit.
    pub value: String,
    /// What it may be, with the unit.
    pub allowed: String,
}

/// More than a packet of the usual MTU is no overhead.
const OVERHEAD_MAX: i32 = 1500;

impl Condition {
    /// The longest delay, jitter and reordering: longer than any path on earth or any timeout of TCP, and far from
    /// where sums of instants end.
    pub(crate) const DELAY_MAX: Duration = Duration::from_secs(3600);
    /// The longest run of lost packets that can be asked for, on average.
    pub(crate) const BURST_MAX: f64 = 1e6;
    /// What every link must carry whole (RFC 791), and the longest IP packet.
    pub(crate) const MTU: [u32; 2] = [68, 65_535];

    /// A condition that says nothing.
    pub const fn new() -> Self {
        Self {
            passage: None,
            delay: None,
            jitter: None,
            loss: None,
            duplicate: None,
            reorder: None,
            corrupt: None,
            rate_bits_per_s: None,
            queue_bytes: None,
            overhead_bytes: None,
            mtu_bytes: None,
            hold_bytes: None,
        }
    }

    /// Drops everything in silence.
    #[must_use]
    pub const fn cut(self) -> Self {
        Self { passage: Some(Passage::Cut), ..self }
    }

    /// Drops everything and lets the sender know.
    #[must_use]
    pub const fn reject(self) -> Self {
        Self { passage: Some(Passage::Reject), ..self }
    }

    /// Keeps everything until released.
    #[must_use]
    pub const fn hold(self) -> Self {
        Self { passage: Some(Passage::Hold), ..self }
    }

    /// Lets each packet travel for so long.
    #[must_use]
    pub const fn delay(self, delay: Duration) -> Self {
        Self { delay: Some(delay), ..self }
    }

    /// Varies the delay.
    #[must_use]
    pub const fn jitter(self, jitter: Jitter) -> Self {
        Self { jitter: Some(jitter), ..self }
    }

    /// Loses this share of packets, each independently.
    #[must_use]
    pub const fn loss(self, share: f64) -> Self {
        self.losing(Loss::Independent(share))
    }

    /// Loses packets by any model.
    #[must_use]
    pub const fn losing(self, loss: Loss) -> Self {
        Self { loss: Some(loss), ..self }
    }

    /// Delivers this share of packets twice.
    #[must_use]
    pub const fn duplicate(self, share: f64) -> Self {
        Self { duplicate: Some(share), ..self }
    }

    /// Delivers this share of packets so much later, behind others.
    #[must_use]
    pub const fn reorder(self, share: f64, by: Duration) -> Self {
        Self { reorder: Some(Reorder { share, by }), ..self }
    }

    /// Flips a bit in this share of packets.
    #[must_use]
    pub const fn corrupt(self, share: f64) -> Self {
        Self { corrupt: Some(share), ..self }
    }

    /// Limits how fast the line is.
    #[must_use]
    pub const fn rate(self, bits_per_s: u64) -> Self {
        Self { rate_bits_per_s: Some(bits_per_s), ..self }
    }

    /// Limits how much may wait for the line; what is more is dropped. Unless said, it is what the rate carries in 100 ms,
    /// and at least 64 KiB.
    #[must_use]
    pub const fn queue(self, bytes: u64) -> Self {
        Self { queue_bytes: Some(bytes), ..self }
    }

    /// Limits how long a packet may be.
    #[must_use]
    pub const fn mtu(self, bytes: u32) -> Self {
        Self { mtu_bytes: Some(bytes), ..self }
    }

    /// This condition, and where it says nothing what the older one `below` says.
    #[must_use]
    pub fn over(self, below: &Self) -> Self {
        Self {
            passage: self.passage.or(below.passage),
            delay: self.delay.or(below.delay),
            jitter: self.jitter.or(below.jitter),
            loss: self.loss.or(below.loss),
            duplicate: self.duplicate.or(below.duplicate),
            reorder: self.reorder.or(below.reorder),
            corrupt: self.corrupt.or(below.corrupt),
            rate_bits_per_s: self.rate_bits_per_s.or(below.rate_bits_per_s),
            queue_bytes: self.queue_bytes.or(below.queue_bytes),
            overhead_bytes: self.overhead_bytes.or(below.overhead_bytes),
            mtu_bytes: self.mtu_bytes.or(below.mtu_bytes),
            hold_bytes: self.hold_bytes.or(below.hold_bytes),
        }
    }

    /// Everything in it that no link can have. As fields do not depend on one another, conditions without a mistake
    /// combine to one without a mistake.
    pub fn mistakes(&self) -> Vec<ConditionError> {
        let spread = self.jitter.map(|jitter| jitter.spread);
        let (share, by) = self.reorder.map(|reorder| (reorder.share, reorder.by)).unzip();
        let checks = [
            self.delay.and_then(|delay| time_mistake("delay", delay)),
            spread.and_then(|spread| time_mistake("jitter", spread)),
            self.duplicate.and_then(|share| share_mistake("duplicate", share)),
            share.and_then(|share| share_mistake("reorder", share)),
            by.and_then(|by| time_mistake("reorder.by", by)),
            self.corrupt.and_then(|share| share_mistake("corrupt", share)),
            self.rate_bits_per_s.and_then(rate_mistake),
            self.overhead_bytes.and_then(overhead_mistake),
            self.mtu_bytes.and_then(mtu_mistake),
        ];
        let loss = self.loss.map(Loss::mistakes).unwrap_or_default();
        loss.into_iter().chain(checks.into_iter().flatten()).collect()
    }
}

impl Loss {
    fn mistakes(self) -> Vec<ConditionError> {
        let checks = match self {
            Self::Independent(share) => vec![share_mistake("loss", share)],
            Self::Bursts { share, packets } => vec![burst_mistake(share, packets)],
            Self::GilbertElliott { good_to_bad, bad_to_good, loss_in_bad, loss_in_good } => vec![
                share_mistake("loss.good_to_bad", good_to_bad),
                share_mistake("loss.bad_to_good", bad_to_good),
                share_mistake("loss.loss_in_bad", loss_in_bad),
                share_mistake("loss.loss_in_good", loss_in_good),
            ],
        };
        checks.into_iter().flatten().collect()
    }
}

fn mistake(field: &'static str, value: String, allowed: impl Into<String>) -> ConditionError {
    ConditionError { field, value, allowed: allowed.into() }
}

fn share_mistake(field: &'static str, share: f64) -> Option<ConditionError> {
    let is_right = (0.0..=1.0).contains(&share);
    (!is_right).then(|| mistake(field, percent(share), "0 % to 100 %"))
}

/// A run of n packets on average is followed by at least one that arrives: more than n/(n + 1) cannot be lost so.
fn burst_mistake(share: f64, packets: f64) -> Option<ConditionError> {
    if !(1.0..=Condition::BURST_MAX).contains(&packets) {
        return Some(mistake("loss.packets", number(packets), format!("1 to {}", Condition::BURST_MAX)));
    }
    let most = packets / (packets + 1.0);
    if (0.0..=most).contains(&share) {
        return None;
    }
    let allowed = format!("0 % to {} in bursts of {} packets", percent(most), number(packets));
    Some(mistake("loss.share", percent(share), allowed))
}

fn time_mistake(field: &'static str, time: Duration) -> Option<ConditionError> {
    let is_right = time <= Condition::DELAY_MAX;
    (!is_right).then(|| mistake(field, format!("{time:?}"), format!("0s to {:?}", Condition::DELAY_MAX)))
}

fn rate_mistake(rate: u64) -> Option<ConditionError> {
    let is_right = rate > 0;
    (!is_right).then(|| mistake("rate", format!("{rate} bit/s"), "1 bit/s or more; to stop a link, cut it"))
}

fn overhead_mistake(bytes: i32) -> Option<ConditionError> {
    let is_right = (-OVERHEAD_MAX..=OVERHEAD_MAX).contains(&bytes);
    (!is_right)
        .then(|| mistake("overhead", format!("{bytes} B"), format!("-{OVERHEAD_MAX} B to {OVERHEAD_MAX} B")))
}

fn mtu_mistake(bytes: u32) -> Option<ConditionError> {
    let [least, most] = Condition::MTU;
    let is_right = (least..=most).contains(&bytes);
    (!is_right).then(|| mistake("mtu", format!("{bytes} B"), format!("{least} B to {most} B")))
}

fn percent(share: f64) -> String {
    if share.is_nan() { number(share) } else { format!("{} %", number(share * 100.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(condition: Condition, expect: &[&str]) {
        let found: Vec<_> = condition.mistakes().iter().map(ToString::to_string).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn each_mistake_names_field_value_and_what_is_allowed() {
        let new = Condition::new;
        let long = Duration::from_secs(3601);
        check(new().loss(1.3), &["`loss` is 130 %; allowed is 0 % to 100 %"]);
        check(new().loss(-0.001), &["`loss` is -0.1 %; allowed is 0 % to 100 %"]);
        check(new().loss(f64::NAN), &["`loss` is not a number; allowed is 0 % to 100 %"]);
        check(new().duplicate(f64::INFINITY), &["`duplicate` is inf %; allowed is 0 % to 100 %"]);
        check(new().corrupt(2.0), &["`corrupt` is 200 %; allowed is 0 % to 100 %"]);
        check(new().delay(long), &["`delay` is 3601s; allowed is 0s to 3600s"]);
        check(new().jitter(Jitter::uniform(long)), &["`jitter` is 3601s; allowed is 0s to 3600s"]);
        check(
            new().reorder(1.5, long),
            &["`reorder` is 150 %; allowed is 0 % to 100 %", "`reorder.by` is 3601s; allowed is 0s to 3600s"],
        );
        check(new().rate(0), &["`rate` is 0 bit/s; allowed is 1 bit/s or more; to stop a link, cut it"]);
        check(new().mtu(20), &["`mtu` is 20 B; allowed is 68 B to 65535 B"]);
        let overhead = Condition { overhead_bytes: Some(-2000), ..new() };
        check(overhead, &["`overhead` is -2000 B; allowed is -1500 B to 1500 B"]);
    }

    #[test]
    fn models_of_loss_are_checked_by_part() {
        let bursts = |share, packets| Condition::new().losing(Loss::Bursts { share, packets });
        check(bursts(0.1, 0.5), &["`loss.packets` is 0.5; allowed is 1 to 1000000"]);
        check(
            bursts(0.9, 2.0),
            &["`loss.share` is 90 %; allowed is 0 % to 66.6667 % in bursts of 2 packets"],
        );
        check(bursts(0.5, 1.0), &[]);
        let model = Loss::GilbertElliott {
            good_to_bad: -1.0,
            bad_to_good: 2.0,
            loss_in_bad: 1.0,
            loss_in_good: f64::NAN,
        };
        check(
            Condition::new().losing(model),
            &[
                "`loss.good_to_bad` is -100 %; allowed is 0 % to 100 %",
                "`loss.bad_to_good` is 200 %; allowed is 0 % to 100 %",
                "`loss.loss_in_good` is not a number; allowed is 0 % to 100 %",
            ],
        );
    }

    #[test]
    fn what_links_can_have_is_no_mistake() {
        let edge = Condition::new().loss(1.0).duplicate(0.0).corrupt(1.0).rate(1).queue(0).mtu(68);
        check(edge.delay(Condition::DELAY_MAX).reorder(1.0, Condition::DELAY_MAX).cut(), &[]);
        check(Condition::new(), &[]);
    }

    #[test]
    fn the_newest_that_says_anything_wins() {
        let ms = Duration::from_millis;
        let older = Condition::new().delay(ms(50)).loss(0.1).cut();
        let newer = Condition::new().delay(ms(5)).corrupt(0.2).loss(0.0);
        let both = Condition::new().delay(ms(5)).corrupt(0.2).loss(0.0).cut();
        assert_eq!(newer.over(&older), both);
        assert_eq!(Condition::new().over(&older), older);
    }

    #[test]
    fn written_it_has_units_of_its_own() {
        let check = |condition: Condition, text: &str| {
            assert_eq!(serde_json::to_string(&condition).unwrap(), text);
            assert_eq!(serde_json::from_str::<Condition>(text).unwrap(), condition);
        };
        let ms = Duration::from_millis;
        check(Condition::new(), "{}");
        check(Condition::new().cut().delay(ms(50)), r#"{"passage":"cut","delay":50000000}"#);
        let jitter = Jitter { spread: ms(5), distribution: crate::Distribution::ParetoNormal };
        check(
            Condition::new().jitter(jitter).loss(0.1),
            r#"{"jitter":{"spread":5000000,"distribution":"pareto-normal"},"loss":{"independent":0.1}}"#,
        );
        check(
            Condition::new().losing(Loss::Bursts { share: 0.1, packets: 4.0 }).reorder(0.5, ms(1)).mtu(1400),
            r#"{"loss":{"bursts":{"share":0.1,"packets":4.0}},"reorder":{"share":0.5,"by":1000000},"mtu_bytes":1400}"#,
        );
        for wrong in
            [r#"{"loos":1}"#, r#"{"delay":-1}"#, r#"{"jitter":{"spread":1}}"#, r#"{"passage":"shut"}"#]
        {
            assert!(serde_json::from_str::<Condition>(wrong).is_err(), "{wrong}");
        }
        let centuries = Condition::new().delay(Duration::MAX);
        assert!(serde_json::to_string(&centuries).unwrap_err().to_string().contains("centuries"));
    }
}
