//! One stream of one process: its file, which grows, and when its bytes came.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Marks closer together than this are one, unless the world was disturbed or another stream written to in between.
const MARK_EVERY: u64 = 1_000_000;
/// A line longer than this is looked at in pieces of this size.
pub(super) const LINE_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct StreamLog {
    file: Option<File>,
    length: u64,
    /// When bytes came: time and the offset of the first of them, both ascending.
    marks: Vec<(u64, u64)>,
    /// The next bytes get a mark of their own.
    mark: bool,
    last_at: u64,
    /// The last line as long as it has no end.
    pub(super) tail: Vec<u8>,
}

impl StreamLog {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(path)?;
        Ok(Self { file: Some(file), ..Self::lost() })
    }

    /// A stream whose file cannot be made: waits still work, its bytes are not kept.
    pub(super) fn lost() -> Self {
        Self { file: None, length: 0, marks: Vec::new(), mark: true, last_at: 0, tail: Vec::new() }
    }

    pub(super) fn append(&mut self, t: u64, bytes: &[u8]) -> io::Result<()> {
        if self.mark || self.marks.last().is_none_or(|(last, _)| t >= last + MARK_EVERY) {
            self.marks.push((t, self.length));
            self.mark = false;
        }
        self.last_at = t;
        self.length += bytes.len() as u64;
        match &mut self.file {
            Some(file) => file.write_all(bytes).inspect_err(|_| self.file = None),
            None => Ok(()),
        }
    }

    pub(super) fn mark_next(&mut self) {
        self.mark = true;
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn last_at(&self) -> u64 {
        self.last_at
    }

    /// Where the bytes begin that came at `t` or later.
    pub(super) fn offset_at(&self, t: u64) -> u64 {
        let at = self.marks.partition_point(|(mark, _)| *mark < t);
        self.marks.get(at).map_or(self.length, |(_, offset)| *offset)
    }

    /// When the byte at `offset` came, to the millisecond.
    pub(super) fn time_of(&self, offset: u64) -> u64 {
        let at = self.marks.partition_point(|(_, mark)| *mark <= offset);
        at.checked_sub(1).map_or(0, |at| self.marks[at].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_times_belong_together() {
        let mut log = StreamLog::lost();
        let ms = 1_000_000;
        for (t, bytes) in [(5, "abc"), (5 * ms, "de"), (5 * ms + 1, "f"), (9 * ms, "g")] {
            log.append(t, bytes.as_bytes()).unwrap();
        }
        assert_eq!([0, 2, 3, 5, 6].map(|offset| log.time_of(offset)), [5, 5, 5 * ms, 5 * ms, 9 * ms]);
        assert_eq!([0, 6, 5 * ms, 6 * ms, 10 * ms].map(|t| log.offset_at(t)), [0, 3, 3, 6, 7]);
    }

    #[test]
    fn what_comes_after_a_disturbance_is_told_apart() {
        let mut log = StreamLog::lost();
        log.append(100, b"before").unwrap();
        log.mark_next();
        log.append(300, b"after").unwrap();
        assert_eq!(log.offset_at(200), 6);
    }
}
