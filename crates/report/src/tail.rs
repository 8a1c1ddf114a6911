//! The beginnings and ends of streams, and streams of many processes as one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use netsplit_model::{Event, ProcessName, Record, Stream};

use crate::layout::RunDir;

/// Bytes looked at for the first or last lines.
const LOOK_MAX: u64 = 64 << 10;
/// Characters of a line that are shown.
const LINE_MAX: usize = 300;

/// A line of a stream as messages show it: shortened; bytes that are no UTF-8 are replaced, control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it begins in its stream.
    pub start: u64,
    /// Where the byte stands that ended it, or the last one of the stream.
    pub end: u64,
    /// What it says.
    pub text: String,
}

/// The last `count` lines of a stream that are not empty.
///
/// # Errors
/// When the file cannot be read.
pub fn last_lines(path: &Path, count: usize) -> io::Result<Vec<Line>> {
    last_lines_of(path, 0..u64::MAX, count)
}

/// As [`last_lines`], of these bytes of the stream.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn last_lines_of(path: &Path, part: Range<u64>, count: usize) -> io::Result<Vec<Line>> {
    let mut file = File::open(path)?;
    let end = part.end.min(file.metadata()?.len());
    let from = part.start.max(end.saturating_sub(LOOK_MAX));
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(end.saturating_sub(from)).read_to_end(&mut bytes)?;
    let mut lines = lines(from, &bytes);
    lines.drain(..lines.len().saturating_sub(count));
    Ok(lines)
}

/// The first `count` lines of a stream that are not empty.
///
/// # Errors
/// When the file cannot be read.
pub fn first_lines(path: &Path, count: usize) -> io::Result<Vec<Line>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LOOK_MAX).read_to_end(&mut bytes)?;
    let mut lines = lines(0, &bytes);
    lines.truncate(count);
    Ok(lines)
}

/// The lines of `bytes` that are not empty; these begin at `from` of their stream.
fn lines(from: u64, bytes: &[u8]) -> Vec<Line> {
    let mut start = from;
    let all = bytes.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let begin = start;
        start += line.len() as u64;
        let text = clean(String::from_utf8_lossy(line).trim_end_matches('\n'));
        Line { start: begin, end: start - 1, text }
    });
    all.filter(|line| !line.text.trim().is_empty()).collect()
}

/// A line as a terminal may show it: no control characters, not endless.
pub fn clean(line: &str) -> String {
    let mut out = String::new();
    for (index, c) in line.trim_end_matches('\r').chars().enumerate() {
        if index == LINE_MAX {
            out.push('…');
            break;
        }
        match c {
            '\t' => out.push_str("    "),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// The streams of many processes as one: lines in the order in which they were ended.
#[derive(Debug)]
pub struct Merger {
    dir: RunDir,
    open: BTreeMap<(ProcessName, Stream), Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// What has no end yet.
    rest: Vec<u8>,
    at: Duration,
}

impl Merger {
    /// Of the run in `dir`.
    pub fn new(dir: &RunDir) -> Self {
        Self { dir: dir.clone(), open: BTreeMap::new() }
    }

    /// Takes the next event; calls `line` for each line that it ended, of the streams that `wanted` picks.
    ///
    /// # Errors
    /// When a stream cannot be read.
    pub fn take(
        &mut self,
        record: &Record,
        wanted: impl Fn(&ProcessName, Stream) -> bool,
        mut line: impl FnMut(Duration, &ProcessName, Stream, &[u8]),
    ) -> io::Result<()> {
        let Event::Output { process, stream, offset, bytes } = &record.event else { return Ok(()) };
        if !wanted(process, *stream) {
            return Ok(());
        }
        let key = (process.clone(), *stream);
        if !self.open.contains_key(&key) {
            let file = File::open(self.dir.stream(process, *stream))?;
            self.open.insert(key.clone(), Open { file, rest: Vec::new(), at: record.time() });
        }
        let Some(open) = self.open.get_mut(&key) else { return Ok(()) };
        open.at = record.time();
        // An event before this one may have been left out.
        open.file.seek(SeekFrom::Start(*offset))?;
        (&mut open.file).take(*bytes).read_to_end(&mut open.rest)?;
        let mut start = 0;
        while let Some(end) = open.rest[start..].iter().position(|byte| *byte == b'\n') {
            line(open.at, process, *stream, &open.rest[start..start + end]);
            start += end + 1;
        }
        open.rest.drain(..start);
        Ok(())
    }

    /// Calls `line` for what never got an end.
    pub fn finish(self, mut line: impl FnMut(Duration, &ProcessName, Stream, &[u8])) {
        for ((process, stream), open) in &self.open {
            if !open.rest.is_empty() {
                line(open.at, process, *stream, &open.rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown_harmless() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"one\n\ntwo \xff\n\x1b[31mred\tx\r\n").unwrap();
        let line = |start, end, text: &str| Line { start, end, text: text.to_owned() };
        let [one, two, red] =
            [line(0, 3, "one"), line(5, 10, "two \u{fffd}"), line(11, 22, "\\u{1b}[31mred    x")];
        assert_eq!(last_lines(&path, 2).unwrap(), [two.clone(), red.clone()]);
        assert_eq!(last_lines(&path, 9).unwrap(), [one.clone(), two.clone(), red]);
        assert_eq!(first_lines(&path, 2).unwrap(), [one, two]);
    }
}
