//! Strings of a TOML file, and where each of their bytes was written: a mistake inside a string points into the string,
//! through quotes and escapes.

use std::ops::Range;

use toml_parser::decoder::Encoding;

use crate::source::Span;

/// A string value, and what of the source it was made from.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) value: String,
    pieces: Vec<Piece>,
    /// All of it, with its quotes.
    span: Span,
}

/// Bytes of the value and the bytes of the source they came from. Only escapes differ in length.
#[derive(Clone, Debug)]
struct Piece {
    value: Range<usize>,
    source: Range<usize>,
}

impl Text {
    /// Reads the string that is written as `raw` at offset `base`. `raw` was checked by the parser before.
    pub(crate) fn decode(raw: &str, encoding: Option<Encoding>, base: usize) -> Self {
        let span = Span::new(base..base + raw.len());
        let mut text = Self { value: String::with_capacity(raw.len()), pieces: Vec::new(), span };
        let (quote, multi_line) = match encoding {
            Some(Encoding::LiteralString) => ("'", false),
            Some(Encoding::BasicString) => ("\"", false),
            Some(Encoding::MlLiteralString) => ("'''", true),
            Some(Encoding::MlBasicString) => ("\"\"\"", true),
            None => ("", false),
        };
        // A text that is not closed comes here too.
        let mut start = if raw.starts_with(quote) { quote.len() } else { 0 };
        let end = if raw[start..].ends_with(quote) { raw.len() - quote.len() } else { raw.len() };
        if multi_line {
            let skip = ["\r\n", "\n"].into_iter().find(|newline| raw[start..end].starts_with(newline));
            start += skip.map_or(0, str::len);
        }
        match encoding {
            Some(Encoding::BasicString | Encoding::MlBasicString) => text.unescape(raw, start..end, base),
            _ => text.verbatim(raw, start..end, base),
        }
        text
    }

    fn unescape(&mut self, raw: &str, range: Range<usize>, base: usize) {
        let mut at = range.start;
        while let Some(found) = raw[at..range.end].find('\\') {
            let backslash = at + found;
            self.verbatim(raw, at..backslash, base);
            let behind = &raw[backslash + 1..range.end];
            at = backslash + 1 + self.escape(behind, base + backslash);
        }
        self.verbatim(raw, at..range.end, base);
    }

    /// Reads what follows a backslash at `source` and returns how many bytes that were.
    fn escape(&mut self, behind: &str, source: usize) -> usize {
        let Some(letter) = behind.chars().next() else { return 0 };
        let digits = match letter {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let known = [('b', '\u{8}'), ('e', '\u{1b}'), ('f', '\u{c}'), ('n', '\n'), ('r', '\r'), ('t', '\t')];
        let (value, read) = if digits > 0 {
            let digits = behind[1..].bytes().take(digits).take_while(u8::is_ascii_hexdigit).count();
            let code = u32::from_str_radix(&behind[1..=digits], 16).ok();
            (code.and_then(char::from_u32), 1 + digits)
        } else if letter.is_whitespace() {
            // A backslash at the end of a line takes all white space behind it away.
            return behind.len() - behind.trim_start_matches([' ', '\t', '\r', '\n']).len();
        } else {
            let value = known.iter().find(|(name, _)| *name == letter).map_or(letter, |(_, value)| *value);
            (Some(value), letter.len_utf8())
        };
        let start = self.value.len();
        self.value.push(value.unwrap_or(char::REPLACEMENT_CHARACTER));
        self.pieces.push(Piece { value: start..self.value.len(), source: source..source + 1 + read });
        read
    }

    fn verbatim(&mut self, raw: &str, range: Range<usize>, base: usize) {
        if range.is_empty() {
            return;
        }
        let start = self.value.len();
        self.value.push_str(&raw[range.clone()]);
        let source = base + range.start..base + range.end;
        self.pieces.push(Piece { value: start..self.value.len(), source });
    }

    /// All of it, without its quotes; with them when it is empty.
    pub(crate) fn inner(&self) -> Span {
        if self.value.is_empty() { self.span } else { self.part(0..self.value.len()) }
    }

    /// Where the bytes `range` of the value were written. An empty range is the point before its byte.
    pub(crate) fn part(&self, range: Range<usize>) -> Span {
        let (Some(first), Some(last)) = (self.pieces.first(), self.pieces.last()) else { return self.span };
        let start = match self.pieces.iter().find(|piece| range.start < piece.value.end) {
            Some(piece) if piece.value.len() == piece.source.len() => {
                piece.source.start + range.start.saturating_sub(piece.value.start)
            }
            Some(piece) => piece.source.start,
            None => last.source.end,
        };
        if range.end <= range.start {
            return Span::new(start..start);
        }
        let end = match self.pieces.iter().rfind(|piece| piece.value.start < range.end) {
            Some(piece) if piece.value.len() == piece.source.len() => {
                piece.source.start + (range.end.min(piece.value.end) - piece.value.start)
            }
            Some(piece) => piece.source.end,
            None => first.source.start,
        };
        Span::new(start..end.max(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, encoding: Encoding, value: &str, part: &str, source: &str) {
        let text = Text::decode(raw, Some(encoding), 100);
        assert_eq!(text.value, value);
        let at = value.find(part).unwrap();
        let span = text.part(at..at + part.len());
        assert_eq!(&raw[span.start - 100..span.end - 100], source, "{raw}");
    }

    #[test]
    fn a_part_is_found_in_the_source() {
        check("'a|b'", Encoding::LiteralString, "a|b", "|", "|");
        check(r#""a\tb|c""#, Encoding::BasicString, "a\tb|c", "|", "|");
        check(r#""a\u00fcb|c""#, Encoding::BasicString, "aüb|c", "ü", r"\u00fc");
        check(r#""\"x\" %{y}""#, Encoding::BasicString, "\"x\" %{y}", "%{y}", "%{y}");
        check("'''\nab\ncd'''", Encoding::MlLiteralString, "ab\ncd", "cd", "cd");
        check("\"\"\"ab \\\n   cd\\n\"\"\"", Encoding::MlBasicString, "ab cd\n", "cd", "cd");
        check("\"\"\"ab \\\n   cd\\n\"\"\"", Encoding::MlBasicString, "ab cd\n", "b c", "b \\\n   c");
    }
}
