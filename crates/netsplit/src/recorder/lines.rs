//! Lines out of bytes that come in pieces.

use super::streams::LINE_MAX;

/// Calls `line` for each line that `bytes` completes, with its offset from the begin of `tail`; what is left without
/// an end stays in `tail`. Lines end at `\n`; a `\r` before it does not belong to them.
pub(super) fn complete(tail: &mut Vec<u8>, bytes: &[u8], mut line: impl FnMut(u64, &[u8])) {
    let mut rest = bytes;
    let mut offset = 0;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        if tail.is_empty() {
            line(offset, without_return(&rest[..end]));
            offset += end as u64 + 1;
        } else {
            tail.extend_from_slice(&rest[..end]);
            line(offset, without_return(tail));
            offset += tail.len() as u64 + 1;
            tail.clear();
        }
        rest = &rest[end + 1..];
    }
    while tail.len() + rest.len() > LINE_MAX {
        let some = LINE_MAX - tail.len();
        tail.extend_from_slice(&rest[..some]);
        rest = &rest[some..];
        line(offset, tail);
        offset += tail.len() as u64;
        tail.clear();
    }
    tail.extend_from_slice(rest);
}

/// A line without the `\r` of terminals and of Windows.
pub(super) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that come out when `pieces` come in, each with its offset in the whole.
    fn lines(pieces: &[&[u8]]) -> (Vec<(u64, String)>, Vec<u8>) {
        let (mut tail, mut all, mut before) = (Vec::new(), Vec::new(), 0);
        for piece in pieces {
            let start = before - tail.len() as u64;
            complete(&mut tail, piece, |offset, line| {
                all.push((start + offset, String::from_utf8_lossy(line).into_owned()));
            });
            before += piece.len() as u64;
        }
        (all, tail)
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let text = b"one\ntwo\r\n\nthree";
        let expect = vec![(0, "one".to_owned()), (4, "two".to_owned()), (9, String::new())];
        for cut in 1..=text.len() {
            let pieces: Vec<_> = text.chunks(cut).collect();
            assert_eq!(lines(&pieces), (expect.clone(), b"three".to_vec()), "pieces of {cut}");
        }
    }

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let long = vec![b'x'; LINE_MAX * 2 + 5];
        let (all, tail) = lines(&[&long[..10], &long[10..]]);
        assert_eq!(
            all.iter().map(|(offset, line)| (*offset, line.len())).collect::<Vec<_>>(),
            [(0, LINE_MAX), (LINE_MAX as u64, LINE_MAX)]
        );
        assert_eq!(tail.len(), 5);
    }
}
