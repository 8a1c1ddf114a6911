//! What is to be said of a packet that is seen on its way, and the words for it.

use std::fmt;

use crate::{Cause, Delivery, Fate};

/// What is to be said of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remark {
    /// Nothing.
    Plain,
    /// A link dropped it.
    Dropped(Cause),
    /// Dropped, and not by a link; why.
    Stray(&'static str),
    /// A link keeps it.
    Held,
    /// What its link is about to do to it.
    Altered {
        /// It will arrive twice.
        is_duplicated: bool,
        /// A bit of it will be flipped, at least in one of two.
        is_corrupted: bool,
    },
    /// What its link has done to it.
    Arrived {
        /// It is a second one.
        is_duplicate: bool,
        /// The bit that was flipped, counted from the highest of the first byte.
        flipped_bit: Option<u64>,
    },
    /// No host sent it: it tells that another was rejected.
    Answer,
}

impl Remark {
    /// It arrived at a host that takes nothing.
    pub const NOT_TAKEN: Self = Self::Stray("its host did not take it");

    /// What is to be said when a link tells the fate of a packet that it was offered.
    pub fn of_fate(fate: &Fate, is_held: bool) -> Self {
        match fate {
            Fate::Queued if is_held => Self::Held,
            Fate::Queued => Self::Plain,
            Fate::Dropped(cause) => Self::Dropped(*cause),
            Fate::Sent { first, duplicate } => {
                let is_corrupt = |delivery: &Delivery| delivery.flipped_bit.is_some();
                let is_corrupted = is_corrupt(first) || duplicate.as_ref().is_some_and(is_corrupt);
                match (duplicate, is_corrupted) {
                    (None, false) => Self::Plain,
                    _ => Self::Altered { is_duplicated: duplicate.is_some(), is_corrupted },
                }
            }
        }
    }

    /// What is to be said when a packet is due.
    pub fn of_delivery(delivery: &Delivery) -> Self {
        let Delivery { is_duplicate, flipped_bit, .. } = *delivery;
        if is_duplicate || flipped_bit.is_some() {
            Self::Arrived { is_duplicate, flipped_bit }
        } else {
            Self::Plain
        }
    }

    /// Whether the packet goes nowhere.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Dropped(_) | Self::Stray(_))
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => Ok(()),
            Self::Dropped(Cause::Reject) => write!(f, "rejected"),
            Self::Dropped(cause) => write!(f, "dropped: {cause}"),
            Self::Stray(why) => write!(f, "dropped: {why}"),
            Self::Held => write!(f, "held"),
            Self::Altered { is_duplicated: true, is_corrupted: true } => write!(f, "duplicated, corrupted"),
            Self::Altered { is_duplicated: true, .. } => write!(f, "duplicated"),
            Self::Altered { .. } => write!(f, "corrupted"),
            Self::Arrived { is_duplicate: true, flipped_bit: Some(bit) } => {
                write!(f, "duplicate, corrupted: bit {bit}")
            }
            Self::Arrived { flipped_bit: Some(bit), .. } => write!(f, "corrupted: bit {bit}"),
            Self::Arrived { .. } => write!(f, "duplicate"),
            Self::Answer => write!(f, "netsplit's answer to a rejected packet"),
        }
    }
}
