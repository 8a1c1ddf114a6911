//! Rust source, read just far enough: what is code, what is comment or string, what is test.

/// A Rust file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    /// The same, byte for byte as long, with comments and the insides of strings blank.
    pub(super) code: String,
    /// For each line whether it belongs to tests.
    is_test: Vec<bool>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = code_of(text);
        let all = path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs");
        let mut is_test = vec![all; text.lines().count() + 1];
        for (from, to) in test_modules(&code) {
            is_test[from..=to].fill(true);
        }
        Self { path: path.to_owned(), text: text.to_owned(), code, is_test }
    }

    /// Lines of code that are no test's, with their numbers from 1.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.lines().zip(&self.is_test).enumerate();
        lines.filter(|(_, (_, is_test))| !**is_test).map(|(index, (line, _))| (index + 1, line))
    }

    /// Whether the line with this number from 1 belongs to tests.
    pub(super) fn is_test_line(&self, number: usize) -> bool {
        self.is_test.get(number - 1).copied().unwrap_or(false)
    }
}

/// Blanks comments, and what is inside strings and character literals.
pub(super) fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = match rest {
            [b'/', b'/', ..] => at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => at + block_comment(rest),
            [b'"', ..] => at + string(rest, 1),
            [b'r' | b'b' | b'c', ..] if !is_word(bytes, at.wrapping_sub(1)) => match raw_string(rest) {
                Some(length) => at + length,
                None => {
                    at += 1;
                    continue;
                }
            },
            [b'\'', ..] if character(rest) > 1 => at + character(rest),
            _ => {
                at += 1;
                continue;
            }
        };
        let end = end.min(bytes.len());
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_word(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string that begins `from` bytes before its first inner byte.
fn string(rest: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of `r"…"`, `br#"…"#`, `b"…"`, `c"…"`; `None` when it is a name.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let prefix = rest.iter().take(2).take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let is_raw = rest[..prefix].contains(&b'r');
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') || (!is_raw && hashes > 0) {
        return None;
    }
    if !is_raw {
        return Some(string(rest, open + 1));
    }
    let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let inside = &rest[open + 1..];
    let end = inside.windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| open + 1 + end + close.len()))
}

/// The length of a character literal, or 1 for the mark of a lifetime.
fn character(rest: &[u8]) -> usize {
    match rest.get(1) {
        Some(b'\\') => rest[2..].iter().skip(1).position(|byte| *byte == b'\'').map_or(1, |end| end + 4),
        Some(_) => rest
            .iter()
            .take(6)
            .skip(2)
            .position(|byte| *byte == b'\'')
            .filter(|end| {
                // One character, which may be several bytes: `'a'`, `'é'`; not `'a, 'b`.
                std::str::from_utf8(&rest[1..end + 2]).is_ok_and(|text| text.chars().count() == 1)
            })
            .map_or(1, |end| end + 3),
        None => 1,
    }
}

/// First and last line, from 0, of each module or item behind `#[cfg(test)]`.
fn test_modules(code: &str) -> Vec<(usize, usize)> {
    let line = |at: usize| code[..at].matches('\n').count();
    let starts = code.match_indices("#[cfg(test)]").map(|(at, _)| at);
    starts.filter_map(|at| Some((line(at), line(end_of_item(code, at)?)))).collect()
}

/// Where the item ends that begins at `from`: behind its block, or at its semicolon.
pub(super) fn end_of_item(code: &str, from: usize) -> Option<usize> {
    let (mut depth, mut parens) = (0_usize, 0_usize);
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && parens == 0 {
                    return Some(at);
                }
            }
            b'(' | b'[' => parens += 1,
            b')' | b']' => parens = parens.checked_sub(1)?,
            b';' if depth == 0 && parens == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_no_code() {
        let same = |text: &str, code: &str| assert_eq!(code_of(text), code, "{text}");
        same("a // b\nc", "a     \nc");
        same("a /* /* b */ */ c", "a               c");
        same(r#"f("x\"y") + 1"#, "f(      ) + 1");
        same(r##"f(r#"x"y"#, br"z")"##, "f(        ,      )");
        same("fn f<'a>(x: &'a str) { '{' }", "fn f<'a>(x: &'a str) {     }");
        same("'\\n' 'é' '\\'' 'b", "               'b");
        same("for r in bar {}", "for r in bar {}");
    }

    #[test]
    fn tests_are_told_apart() {
        let source = Source::new(
            "crates/x/src/a.rs",
            "fn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\nfn h() {}\n",
        );
        let lines: Vec<_> = source.product_lines().map(|(number, _)| number).collect();
        assert_eq!(lines, [1, 6]);
        assert_eq!(Source::new("tests/a.rs", "fn f() {}").product_lines().count(), 0);
    }
}
