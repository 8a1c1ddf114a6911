//! One stream of one process: its file, which grows, and when its bytes came.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use super::Moment;

/// Marks closer together than this are one, unless the world was disturbed or another stream written to in between.
const MARK_EVERY: u64 = 1_000_000;
/// A line longer than this is looked at in pieces of this size.
pub(super) const LINE_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct StreamLog {
    /// `None`: its bytes are not kept.
    path: Option<PathBuf>,
    /// As long as more may come.
    file: Option<File>,
    length: u64,
    /// When bytes came: the moment and the offset of the first of them, both ascending.
    marks: Vec<(Moment, u64)>,
    /// The next bytes get a mark of their own.
    mark: bool,
    last_at: Moment,
    /// The last line as long as it has no end.
    pub(super) tail: Vec<u8>,
}

impl StreamLog {
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(&path)?;
        Ok(Self { path: Some(path), file: Some(file), ..Self::lost() })
    }

    /// A stream whose file cannot be made: waits still work, its bytes are not kept.
    pub(super) fn lost() -> Self {
        let last_at = Moment::default();
        Self { path: None, file: None, length: 0, marks: Vec::new(), mark: true, last_at, tail: Vec::new() }
    }

    pub(super) fn append(&mut self, now: Moment, bytes: &[u8]) -> io::Result<()> {
        if self.mark || self.marks.last().is_none_or(|(last, _)| now.t >= last.t + MARK_EVERY) {
            self.marks.push((now, self.length));
            self.mark = false;
        }
        self.last_at = now;
        self.length += bytes.len() as u64;
        self.keep(bytes).inspect_err(|_| (self.path, self.file) = (None, None))
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if self.file.is_none() {
            self.file = Some(OpenOptions::new().append(true).open(path)?);
        }
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes))
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Until more comes.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    pub(super) fn mark_next(&mut self) {
        self.mark = true;
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn last_at(&self) -> Moment {
        self.last_at
    }

    /// Where the bytes begin that came at `moment` or later.
    pub(super) fn offset_at(&self, moment: Moment) -> u64 {
        let at = self.marks.partition_point(|(mark, _)| *mark < moment);
        self.marks.get(at).map_or(self.length, |(_, offset)| *offset)
    }

    /// When the byte at `offset` came, to the millisecond.
    pub(super) fn moment_of(&self, offset: u64) -> Moment {
        let at = self.marks.partition_point(|(_, mark)| *mark <= offset);
        at.checked_sub(1).map_or_else(Moment::default, |at| self.marks[at].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_times_belong_together() {
        let mut log = StreamLog::lost();
        let ms = 1_000_000;
        for (n, t, bytes) in [(1, 5, "abc"), (2, 5 * ms, "de"), (3, 5 * ms + 1, "f"), (4, 9 * ms, "g")] {
            log.append(Moment { t, n }, bytes.as_bytes()).unwrap();
        }
        assert_eq!([0, 2, 3, 5, 6].map(|offset| log.moment_of(offset).t), [5, 5, 5 * ms, 5 * ms, 9 * ms]);
        assert_eq!(
            [0, 6, 5 * ms, 6 * ms, 10 * ms].map(|t| log.offset_at(Moment { t, n: 0 })),
            [0, 3, 3, 6, 7]
        );
    }

    #[test]
    fn what_comes_after_a_disturbance_is_told_apart() {
        let mut log = StreamLog::lost();
        log.append(Moment { t: 100, n: 1 }, b"before").unwrap();
        log.mark_next();
        log.append(Moment { t: 300, n: 3 }, b"after").unwrap();
        assert_eq!(log.offset_at(Moment { t: 200, n: 2 }), 6);
    }

    #[test]
    fn what_came_at_one_time_has_an_order() {
        let mut log = StreamLog::lost();
        log.append(Moment { t: 100, n: 1 }, b"before").unwrap();
        log.mark_next();
        log.append(Moment { t: 100, n: 3 }, b"after").unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(|n| log.offset_at(Moment { t: 100, n })), [0, 0, 6, 6, 11]);
    }
}
