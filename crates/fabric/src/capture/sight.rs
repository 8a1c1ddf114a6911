//! What the segment shows of a frame, and the words for it.

use std::fmt;
use std::time::Duration;

use netsplit_netmodel::{Cause, Delivery, Fate};

use crate::frame;

/// A frame at one point of its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight<'f> {
    pub(crate) at: Duration,
    pub(crate) from: usize,
    /// `None`: it has no receiver, or several.
    pub(crate) to: Option<usize>,
    pub(crate) point: Point,
    pub(crate) remark: Remark,
    pub(crate) frame: &'f [u8],
    /// Those of ports, by number.
    pub(crate) names: &'f [String],
}

/// Where a frame is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Its sender gave it.
    Sent,
    /// Of what its sender gave for several, the one for `to`.
    SentToOne,
    /// All of these were seen.
    SentToAll,
    /// Its receiver was given it.
    Given,
    /// Its receiver is not given it, though it was sent.
    Missed,
}

/// What is to be said of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    Plain,
    Dropped(Cause),
    /// Dropped, and not by a link.
    Stray(&'static str),
    Held,
    /// What its link is about to do to it.
    Altered {
        is_duplicated: bool,
        is_corrupted: bool,
    },
    /// What its link has done to it.
    Arrived {
        is_duplicate: bool,
        flipped_bit: Option<u64>,
    },
    /// No host sent it: it tells that another was rejected.
    Answer,
}

impl Sight<'_> {
    /// The packet's words.
    pub(crate) fn comment(&self) -> String {
        let remark = self.remark;
        if self.point != Point::Missed {
            return remark.to_string();
        }
        let late = if matches!(remark, Remark::Dropped(_)) { ", on its way" } else { "" };
        let is_shared = frame::destination(self.frame).is_some_and(|receiver| receiver.is_group());
        let to = self.to.filter(|_| is_shared).map(|to| format!("to {}: ", self.names[to]));
        format!("{}{remark}{late}", to.unwrap_or_default())
    }
}

impl Remark {
    /// What is to be said when a link tells the fate of a packet that it was offered.
    pub(crate) fn of_fate(fate: &Fate, is_held: bool) -> Self {
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

    pub(crate) fn of_delivery(delivery: &Delivery) -> Self {
        let Delivery { is_duplicate, flipped_bit, .. } = *delivery;
        if is_duplicate || flipped_bit.is_some() {
            Self::Arrived { is_duplicate, flipped_bit }
        } else {
            Self::Plain
        }
    }

    /// Whether the frame goes nowhere.
    pub(crate) fn is_end(self) -> bool {
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
