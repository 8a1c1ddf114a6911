//! A run's evidence, read back.

use std::fs;

use netsplit::Testbed;
use netsplit::model::{Event, Record};

/// All events that the run has written so far.
///
/// # Panics
/// When the log cannot be read.
pub fn events(bed: &Testbed) -> Vec<Record> {
    let text = fs::read_to_string(bed.evidence().join("events.jsonl")).expect("the event log");
    let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(read).collect()
}

/// What each put of the run had to send, in order.
///
/// # Panics
/// When the log cannot be read.
pub fn sent(bed: &Testbed) -> Vec<u64> {
    let of = |record: Record| match record.event {
        Event::FilePut { sent, .. } => Some(sent),
        _ => None,
    };
    events(bed).into_iter().filter_map(of).collect()
}

/// How many processes the run has asked for.
///
/// # Panics
/// When the log cannot be read.
pub fn processes(bed: &Testbed) -> usize {
    events(bed).iter().filter(|record| matches!(record.event, Event::ProcessStarted { .. })).count()
}
