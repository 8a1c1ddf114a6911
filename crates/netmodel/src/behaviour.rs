//! What a link does with all conditions that are in force for it: checked, combined, with every default filled in.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::{Condition, ConditionError, Jitter, Loss, Passage, Reorder};

/// What a link does: the outcome of the conditions in force. The default is a link that does nothing to packets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    pub(crate) passage: Passage,
    pub(crate) delay: Duration,
    pub(crate) jitter: Option<Jitter>,
    pub(crate) losses: Losses,
    pub(crate) duplicate: f64,
    pub(crate) reorder_share: f64,
    pub(crate) reorder_by: Duration,
    pub(crate) corrupt: f64,
    pub(crate) rate_bits_per_s: Option<NonZeroU64>,
    pub(crate) queue_bytes: u64,
    pub(crate) hold_bytes: u64,
    pub(crate) overhead_bytes: i32,
    pub(crate) mtu_bytes: u32,
}

/// Which packets are lost, ready for use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Losses {
    None,
    Independent(f64),
    Chain(Chain),
}

/// The model of Gilbert and Elliott; see [`Loss::GilbertElliott`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Chain {
    pub(crate) good_to_bad: f64,
    pub(crate) bad_to_good: f64,
    pub(crate) loss_in_bad: f64,
    pub(crate) loss_in_good: f64,
}

/// What held links keep: more than two of the largest windows of Linux' TCP (6 MiB), so that no sender that waits
/// for acknowledgements fills it.
const HOLD_BYTES: u64 = 16 << 20;
/// What a queue holds at least if nobody says: a burst of ten full segments and some (RFC 6928), or one super-frame.
const QUEUE_BYTES_MIN: u64 = 64 << 10;
/// Queues hold a tenth of a second if nobody says: one product of rate and delay for a round trip of 100 ms.
const QUEUES_PER_S: u64 = 10;

impl Behaviour {
    /// What a link does under `layers`, the oldest first: field by field, the newest that says anything wins.
    ///
    /// # Errors
    /// The first mistake in any of them; [`Condition::mistakes`] has all.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a Condition>) -> Result<Self, ConditionError> {
        let mut wanted = Condition::new();
        for layer in layers {
            if let Some(mistake) = layer.mistakes().into_iter().next() {
                return Err(mistake);
            }
            wanted = layer.over(&wanted);
        }
        Ok(Self::resolve(&wanted))
    }

    /// What a link does under one condition without a mistake.
    pub(crate) fn resolve(wanted: &Condition) -> Self {
        let rate = wanted.rate_bits_per_s.and_then(NonZeroU64::new);
        Self {
            passage: wanted.passage.unwrap_or_default(),
            delay: wanted.delay.unwrap_or_default(),
            jitter: wanted.jitter.filter(|jitter| !jitter.spread.is_zero()),
            losses: wanted.loss.map_or(Losses::None, Losses::of),
            duplicate: wanted.duplicate.unwrap_or_default(),
            reorder_share: wanted.reorder.map_or(0.0, |reorder| reorder.share),
            reorder_by: wanted.reorder.map_or(Duration::ZERO, |reorder| reorder.by),
            corrupt: wanted.corrupt.unwrap_or_default(),
            rate_bits_per_s: rate,
            queue_bytes: wanted.queue_bytes.unwrap_or_else(|| queue_default(rate)),
            hold_bytes: wanted.hold_bytes.unwrap_or(HOLD_BYTES),
            overhead_bytes: wanted.overhead_bytes.unwrap_or_default(),
            mtu_bytes: wanted.mtu_bytes.unwrap_or(u32::MAX),
        }
    }

    /// The condition without a mistake that asks for this and says nothing of what is the default:
    /// `Behaviour::of([&behaviour.condition()])` is `behaviour`. This is how a behaviour is written and shown. Losses in
    /// bursts come as the model of Gilbert and Elliott that they are.
    pub fn condition(&self) -> Condition {
        let default = Self::default();
        let rate = self.rate_bits_per_s;
        let has_reorder = self.reorder_share != 0.0 || !self.reorder_by.is_zero();
        Condition {
            passage: unless(default.passage, self.passage),
            delay: unless(default.delay, self.delay),
            jitter: self.jitter,
            loss: self.losses.wanted(),
            duplicate: unless(default.duplicate, self.duplicate),
            reorder: has_reorder.then_some(Reorder { share: self.reorder_share, by: self.reorder_by }),
            corrupt: unless(default.corrupt, self.corrupt),
            rate_bits_per_s: rate.map(NonZeroU64::get),
            queue_bytes: unless(queue_default(rate), self.queue_bytes),
            overhead_bytes: unless(default.overhead_bytes, self.overhead_bytes),
            mtu_bytes: unless(default.mtu_bytes, self.mtu_bytes),
            hold_bytes: unless(default.hold_bytes, self.hold_bytes),
        }
    }

    /// Whether packets pass.
    pub fn passage(&self) -> Passage {
        self.passage
    }

    /// Whether all packets of a flow fare alike but for the time: nothing is lost, doubled, reordered, corrupted, paced
    /// or measured. Several packets may then cross such a link as one super-frame (GSO); on any other each must be
    /// offered on its own. A link that is cut, rejects or holds treats all alike, too.
    pub fn is_plain(&self) -> bool {
        self.has_no_chance() && self.rate_bits_per_s.is_none() && self.mtu_bytes == u32::MAX
    }

    /// Whether it gives packets a time at which they are due: those that pass are delayed, paced or reordered.
    pub fn takes_time(&self) -> bool {
        !self.delay.is_zero()
            || self.jitter.is_some()
            || self.reorder_share > 0.0
            || self.rate_bits_per_s.is_some()
    }

    /// Whether no draw decides about a packet, jitter aside.
    pub(crate) fn has_no_chance(&self) -> bool {
        self.losses == Losses::None
            && self.duplicate == 0.0
            && self.reorder_share == 0.0
            && self.corrupt == 0.0
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::resolve(&Condition::new())
    }
}

fn queue_default(rate_bits_per_s: Option<NonZeroU64>) -> u64 {
    rate_bits_per_s.map_or(0, |rate| rate.get() / 8 / QUEUES_PER_S).max(QUEUE_BYTES_MIN)
}

fn unless<T: PartialEq>(default: T, value: T) -> Option<T> {
    (value != default).then_some(value)
}

impl Losses {
    fn of(loss: Loss) -> Self {
        match loss {
            Loss::Independent(0.0) => Self::None,
            Loss::Independent(share) => Self::Independent(share),
            Loss::Bursts { share, packets } => {
                let bad_to_good = 1.0 / packets;
                // The largest share that is allowed gives 1, but for the last bit.
                let good_to_bad = (bad_to_good * share / (1.0 - share)).min(1.0);
                Self::Chain(Chain { good_to_bad, bad_to_good, loss_in_bad: 1.0, loss_in_good: 0.0 })
            }
            Loss::GilbertElliott { good_to_bad, bad_to_good, loss_in_bad, loss_in_good } => {
                Self::Chain(Chain { good_to_bad, bad_to_good, loss_in_bad, loss_in_good })
            }
        }
    }

    fn wanted(self) -> Option<Loss> {
        match self {
            Self::None => None,
            Self::Independent(share) => Some(Loss::Independent(share)),
            Self::Chain(Chain { good_to_bad, bad_to_good, loss_in_bad, loss_in_good }) => {
                Some(Loss::GilbertElliott { good_to_bad, bad_to_good, loss_in_bad, loss_in_good })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(condition: Condition) -> bool {
        Behaviour::of([&condition]).unwrap().is_plain()
    }

    #[test]
    fn delays_and_rates_take_time() {
        let ms = Duration::from_millis;
        let new = Condition::new;
        let takes_time = |condition| Behaviour::of([&condition]).unwrap().takes_time();
        for condition in
            [new().delay(ms(1)), new().delay(ms(2)).jitter(Jitter::uniform(ms(1))), new().rate(1000)]
        {
            assert!(takes_time(condition));
        }
        for condition in [new(), new().cut(), new().hold(), new().loss(0.5).duplicate(0.5)] {
            assert!(!takes_time(condition));
        }
    }

    #[test]
    fn only_time_may_differ_on_a_plain_link() {
        let ms = Duration::from_millis;
        let new = Condition::new;
        assert!(plain(new()));
        assert!(plain(new().delay(ms(10)).jitter(Jitter::uniform(ms(1)))));
        assert!(plain(new().cut()) && plain(new().hold()) && plain(new().reject()));
        assert!(plain(new().loss(0.0).duplicate(0.0).queue(10)));
        let unlike = [new().loss(0.1), new().duplicate(0.1), new().reorder(0.1, ms(1)), new().corrupt(0.1)];
        assert!(!unlike.into_iter().any(plain));
        assert!(!plain(new().rate(1_000_000)) && !plain(new().mtu(1500)));
        assert!(!plain(new().losing(Loss::Bursts { share: 0.1, packets: 5.0 })));
    }

    #[test]
    fn layers_combine_and_heal() {
        let ms = Duration::from_millis;
        let [delay, loss, cut] =
            [Condition::new().delay(ms(50)), Condition::new().loss(0.5), Condition::new().cut()];
        let all = Behaviour::of([&delay, &loss, &cut]).unwrap();
        assert_eq!((all.delay, all.losses, all.passage), (ms(50), Losses::Independent(0.5), Passage::Cut));
        let healed = Behaviour::of([&delay, &loss]).unwrap();
        assert_eq!((healed.losses, healed.passage), (Losses::Independent(0.5), Passage::Open));
        let newer = Behaviour::of([&delay, &Condition::new().delay(ms(5))]).unwrap();
        assert_eq!(newer.delay, ms(5));
        assert!(Behaviour::of([&Condition::new().loss(7.0), &loss]).is_err(), "covered mistakes count");
    }

    #[test]
    fn a_behaviour_says_what_it_is_not_by_default() {
        assert_eq!(Behaviour::default().condition(), Condition::new());
        let asked =
            Condition::new().delay(Duration::ZERO).queue(65_536).duplicate(0.0).loss(0.0).corrupt(0.5);
        assert_eq!(Behaviour::of([&asked]).unwrap().condition(), Condition::new().corrupt(0.5));
        for packets in 1..100 {
            let packets = f64::from(packets);
            let most = Loss::Bursts { share: packets / (packets + 1.0), packets };
            let behaviour = Behaviour::of([&Condition::new().losing(most)]).unwrap();
            assert_eq!(Behaviour::of([&behaviour.condition()]), Ok(behaviour), "{packets}");
        }
    }

    #[test]
    fn a_queue_holds_a_tenth_of_a_second() {
        let queue = |condition: Condition| Behaviour::of([&condition]).unwrap().queue_bytes;
        assert_eq!(queue(Condition::new().rate(80_000_000)), 1_000_000);
        assert_eq!(queue(Condition::new().rate(1000)), 65_536);
        assert_eq!(queue(Condition::new().rate(1000).queue(0)), 0);
    }
}
