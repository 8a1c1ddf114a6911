//! The ends of streams, and streams of many processes as one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use netsplit_model::{Event, ProcessName, Record, Stream};

use crate::layout::RunDir;

/// Bytes looked at for the last lines.
const LOOK_MAX: u64 = 64 << 10;
/// Characters of a line that are shown.
const LINE_MAX: usize = 300;

/// The last `count` lines of a stream that are not empty, shortened; bytes that are no UTF-8 are replaced, control
/// characters escaped.
///
/// # Errors
/// When the file cannot be read.
pub fn last_lines(path: &Path, count: usize) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LOOK_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> =
        text.lines().rev().filter(|line| !line.trim().is_empty()).take(count).map(clean).collect();
    Ok(lines.into_iter().rev().collect())
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

/// Calls `line` for each line of the streams that `wanted` picks, in the order in which they were ended.
///
/// # Errors
/// When the log or a stream cannot be read.
pub fn merged(
    dir: &RunDir,
    records: &[Record],
    wanted: impl Fn(&ProcessName, Stream) -> bool,
    mut line: impl FnMut(Duration, &ProcessName, Stream, &[u8]),
) -> io::Result<()> {
    use std::collections::BTreeMap;
    let mut open: BTreeMap<(ProcessName, Stream), (File, Vec<u8>, Duration)> = BTreeMap::new();
    for record in records {
        let Event::Output { process, stream, bytes, .. } = &record.event else { continue };
        if !wanted(process, *stream) {
            continue;
        }
        let key = (process.clone(), *stream);
        if !open.contains_key(&key) {
            let file = File::open(dir.stream(process, *stream))?;
            open.insert(key.clone(), (file, Vec::new(), record.time()));
        }
        let Some((file, rest, at)) = open.get_mut(&key) else { continue };
        *at = record.time();
        file.take(*bytes).read_to_end(rest)?;
        let mut start = 0;
        while let Some(end) = rest[start..].iter().position(|byte| *byte == b'\n') {
            line(*at, process, *stream, &rest[start..start + end]);
            start += end + 1;
        }
        rest.drain(..start);
    }
    for ((process, stream), (_, rest, at)) in &open {
        if !rest.is_empty() {
            line(*at, process, *stream, rest);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown_harmless() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"one\n\ntwo \xff\n\x1b[31mred\tx\r\n").unwrap();
        assert_eq!(last_lines(&path, 2).unwrap(), ["two \u{fffd}", "\\u{1b}[31mred    x"]);
        assert_eq!(last_lines(&path, 9).unwrap().len(), 3);
    }
}
