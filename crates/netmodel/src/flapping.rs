//! Faults that come and go: when, as a sequence without an end.

use std::time::Duration;

use thiserror::Error;

use crate::draws::{Draws, Purpose};

/// A fault that is in force for a while, then not, and so on without an end: the instants at which that turns. It is in
/// force from its begin.
///
/// ```
/// use netsplit_netmodel::Flapping;
/// use std::time::Duration;
///
/// let s = Duration::from_secs;
/// let turns = Flapping::new(s(10), s(1), s(3)).unwrap();
/// let first: Vec<_> = turns.take(4).map(|turn| (turn.at, turn.is_in_force)).collect();
/// assert_eq!(first, [(s(10), true), (s(11), false), (s(14), true), (s(15), false)]);
/// ```
#[derive(Clone, Debug)]
pub struct Flapping {
    /// How long it is in force, and how long not.
    spans: [Duration; 2],
    jitter: Option<(Duration, Draws)>,
    at: Duration,
    index: u64,
}

/// An instant at which a flapping fault turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When, since the run's begin.
    pub at: Duration,
    /// Whether the fault is in force from then on.
    pub is_in_force: bool,
}

/// Why a fault cannot flap so.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FlappingError {
    /// It would turn infinitely often.
    #[error("`flap.{field}` is 0s; allowed is more")]
    Zero {
        /// `down` or `up`.
        field: &'static str,
    },
    /// A span could become nothing or less.
    #[error("`flap.jitter` is {jitter:?}; allowed is less than the shorter of `down` and `up`, {shorter:?}")]
    Jitter {
        /// The jitter.
        jitter: Duration,
        /// The shorter span.
        shorter: Duration,
    },
}

impl Flapping {
    /// A fault in force from `begin` on for `down`, then not for `up`, and so on.
    ///
    /// # Errors
    /// When one of them is zero.
    pub fn new(begin: Duration, down: Duration, up: Duration) -> Result<Self, FlappingError> {
        for (field, span) in [("down", down), ("up", up)] {
            if span.is_zero() {
                return Err(FlappingError::Zero { field });
            }
        }
        Ok(Self { spans: [down, up], jitter: None, at: begin, index: 0 })
    }

    /// Makes each span longer or shorter by up to `jitter`, each value as likely, as seed and name say.
    ///
    /// # Errors
    /// When a span could become nothing.
    pub fn jitter(self, jitter: Duration, seed: u64, name: &str) -> Result<Self, FlappingError> {
        let shorter = self.spans[0].min(self.spans[1]);
        if jitter >= shorter {
            return Err(FlappingError::Jitter { jitter, shorter });
        }
        Ok(Self { jitter: Some((jitter, Draws::new(seed, name))), ..self })
    }

    fn span(&self, is_in_force: bool) -> Duration {
        let span = self.spans[usize::from(!is_in_force)];
        self.jitter.map_or(span, |(jitter, draws)| {
            let share = draws.unit(self.index, Purpose::Flap);
            span.saturating_sub(jitter) + (2 * jitter).mul_f64(share)
        })
    }
}

impl Iterator for Flapping {
    type Item = Turn;

    fn next(&mut self) -> Option<Turn> {
        let turn = Turn { at: self.at, is_in_force: self.index.is_multiple_of(2) };
        self.at += self.span(turn.is_in_force);
        self.index += 1;
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flapping() -> Flapping {
        let ms = Duration::from_millis;
        Flapping::new(ms(500), ms(100), ms(300)).unwrap()
    }

    #[test]
    fn spans_vary_within_their_jitter() {
        let ms = Duration::from_millis;
        let turns =
            |seed, name| flapping().jitter(ms(20), seed, name).unwrap().take(2000).collect::<Vec<_>>();
        let first = turns(1, "cut 1");
        assert_eq!(first, turns(1, "cut 1"));
        assert_ne!(first, turns(2, "cut 1"));
        assert_ne!(first, turns(1, "cut 2"));
        let spans = first.windows(2).map(|pair| (pair[0].is_in_force, pair[1].at - pair[0].at));
        for (is_in_force, span) in spans {
            let mean = if is_in_force { ms(100) } else { ms(300) };
            assert!(span.abs_diff(mean) <= ms(20), "{span:?}");
        }
        // 1000 pairs; the sum's standard deviation is 0.52 s.
        assert!(first[1998].at.abs_diff(ms(500 + 999 * 400)) < ms(2600), "{:?}", first[1998]);
    }

    #[test]
    fn spans_that_vanish_are_refused() {
        let ms = Duration::from_millis;
        let zero = Flapping::new(ms(0), ms(0), ms(1)).unwrap_err();
        assert_eq!(zero.to_string(), "`flap.down` is 0s; allowed is more");
        let jitter = flapping().jitter(ms(100), 1, "x").unwrap_err();
        assert_eq!(
            jitter.to_string(),
            "`flap.jitter` is 100ms; allowed is less than the shorter of `down` and `up`, 100ms"
        );
    }
}
