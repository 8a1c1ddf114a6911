//! What the segment shows of a frame, and the words for it.

use std::time::Duration;

pub(crate) use netsplit_netmodel::Remark;

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
