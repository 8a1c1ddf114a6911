//! What messages show of streams: their first and last lines, each with its time.

use std::time::Duration;

use netsplit_model::units::At;
use netsplit_model::{ProcessName, Stream};
use netsplit_report::{Line, first_lines, last_lines};

use super::{Recorder, Scope};

/// A line that was seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) process: ProcessName,
    pub(crate) stream: Stream,
    /// Where it begins in its stream.
    pub(crate) start: u64,
    pub(crate) text: String,
}

impl Seen {
    /// When, on which stream, what: for messages about one process.
    pub(crate) fn shown(&self) -> String {
        format!("{:>9}  {}  {}", At(self.at), self.stream, self.text)
    }
}

impl Recorder {
    /// The last lines of each stream in `scope`, the newest stream first.
    pub(crate) fn last_lines(&self, scope: &Scope, each: usize) -> Vec<Seen> {
        let mut streams: Vec<_> = {
            let inner = self.lock();
            let wanted = inner.streams.iter().filter(|((process, _), _)| scope.covers(process));
            let written = wanted.filter(|(_, log)| log.length() > 0);
            written.map(|((process, stream), log)| (log.last_at(), process.clone(), *stream)).collect()
        };
        streams.sort_by_key(|(last_at, ..)| std::cmp::Reverse(*last_at));
        let dir = self.dir();
        let seen = streams.into_iter().flat_map(|(_, process, stream)| {
            let lines = last_lines(&dir.stream(&process, stream), each).unwrap_or_default();
            self.seen(&process, stream, lines)
        });
        seen.collect()
    }

    /// The processes that wrote anything to this stream.
    pub(crate) fn writers(&self, stream: Stream) -> Vec<ProcessName> {
        let inner = self.lock();
        let wrote = inner.streams.iter().filter(|((_, own), log)| *own == stream && log.length() > 0);
        wrote.map(|((process, _), _)| process.clone()).collect()
    }

    /// The first lines of a stream.
    pub(crate) fn first_lines(&self, process: &ProcessName, stream: Stream, count: usize) -> Vec<Seen> {
        let lines = first_lines(&self.dir().stream(process, stream), count).unwrap_or_default();
        self.seen(process, stream, lines)
    }

    /// Gives each line the time at which it ended.
    fn seen(&self, process: &ProcessName, stream: Stream, lines: Vec<Line>) -> Vec<Seen> {
        let inner = self.lock();
        let Some(log) = inner.streams.get(&(process.clone(), stream)) else { return Vec::new() };
        let seen = |Line { start, end, text }| Seen {
            at: log.moment_of(end).time(),
            process: process.clone(),
            stream,
            start,
            text,
        };
        lines.into_iter().map(seen).collect()
    }
}
