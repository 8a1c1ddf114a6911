//! What the parser says about a text that is no TOML, in the words of UX §8.

use toml_parser::{Expected, ParseError};

use super::Syntax;
use crate::source::Span;

/// The parser's phrases that we say in our own way: its phrase, ours, and whether the opening place is shown.
const PHRASES: [(&str, &str, bool); 23] = [
    ("unclosed table", "this header has no closing `]`", true),
    ("unclosed array table", "this header has no closing `]]`", true),
    ("unclosed array", "this `[` has no closing `]`", true),
    ("unclosed inline table", "this `{` has no closing `}`", true),
    ("key with no value", "a `=` and a value are missing here", false),
    ("missing value for key", "a `=` and a value are missing here", false),
    ("missing value", "a value is missing here", false),
    ("missing comma between array elements", "a comma is missing before this", false),
    ("missing comma between key-value pairs", "a comma is missing before this", false),
    ("missing assignment between key-value pairs", "a `=` is missing before this", false),
    ("extra comma in inline table", "a key and its value are missing before this comma", false),
    ("unexpected key or value", "nothing more may stand on this line", false),
    ("unquoted keys cannot be empty", "a key is missing here", false),
    ("missing key for inline table element", "a key and `=` are missing before this", false),
    ("invalid key-value pair", "a key is missing here", false),
    ("invalid basic string", "this text has no closing `\"` on its line", true),
    ("invalid literal string", "this text has no closing `'` on its line", true),
    ("invalid multi-line basic string", "this text has no closing `\"\"\"`", true),
    ("invalid multi-line literal string", "this text has no closing `'''`", true),
    ("missing escaped value", "nothing is escaped by this backslash", false),
    ("missing opening quote", "this text has no opening quote", false),
    ("string values must be quoted", "text needs quotes", false),
    ("cannot recurse further; max recursion depth met", "this is nested too deep", false),
];

pub(super) fn explain(error: &ParseError, text: &str, base: usize) -> Syntax {
    let range = |span: toml_parser::Span| span.start().min(text.len())..span.end().min(text.len());
    let unexpected = error.unexpected().map_or(text.len()..text.len(), range);
    let said = PHRASES.iter().find(|(phrase, ..)| *phrase == error.description());
    let opening = said.is_some_and(|(.., opening)| *opening) && unexpected.is_empty();
    // A string that holds what no string may holds it there; one that is not closed began somewhere.
    let ends = unexpected.start >= error.context().map_or(0, |context| context.end());
    let range = match error.context().map(range) {
        Some(context) if opening && ends => context,
        _ => unexpected,
    };
    let described = match said {
        _ if let Some(missing) = missing(error, &text[..range.start]) => missing,
        _ if text[range.clone()].is_empty() && error.description() == "string values must be quoted" => {
            "a value is missing here"
        }
        Some((phrase, _, true)) if !ends && phrase.contains("string") => "this character must be escaped",
        Some((_, ours, _)) => ours,
        None => error.description(),
    };
    let hint = hint(error, &text[range.clone()], said.is_some());
    let text = described.replacen("invalid", "this is no", 1);
    Syntax { span: Span::new(base + range.start..base + range.end), text, hint }
}

/// What a key in `{ … }` lacks, of which all that is `before` stands before the `}` or the comma.
fn missing(error: &ParseError, before: &str) -> Option<&'static str> {
    let has_equals = before.trim_end().ends_with('=');
    match error.description() {
        // Before a `}` the parser makes up a value of no characters, in quotes that are not there.
        "invalid literal string" if error.context().is_some_and(|context| context.is_empty()) => {
            Some(match has_equals {
                true => "a value is missing here",
                false => "a `=` and a value are missing here",
            })
        }
        "extra comma in inline table" => match error.expected() {
            Some([Expected::Literal("=")]) => Some("a `=` and a value are missing before this comma"),
            Some([Expected::Description("value")]) => Some("a value is missing before this comma"),
            _ => None,
        },
        _ => None,
    }
}

fn hint(error: &ParseError, there: &str, known: bool) -> Option<String> {
    if error.description() == "string values must be quoted" && !there.is_empty() {
        return Some(format!("did you mean `\"{there}\"`?"));
    }
    if error.description() == "missing escaped value" {
        return Some("a text in '…' takes backslashes as they are".into());
    }
    if known {
        return None;
    }
    let one = |expected: &Expected| match expected {
        Expected::Literal("\n") => Some("a new line".to_owned()),
        Expected::Literal(text) => Some(format!("`{text}`")),
        Expected::Description(text) => Some((*text).to_owned()),
        _ => None,
    };
    let expected: Vec<_> = error.expected()?.iter().filter_map(one).collect();
    if expected.is_empty() { None } else { Some(format!("wanted here: {}", expected.join(", "))) }
}

/// One mistake makes the parser stumble on: what follows on the same line is rarely another, and what follows a list or
/// table without an end never is; which of them has none, `open` knows.
pub(super) fn first_of_each_line(
    mut found: Vec<Syntax>,
    open: Option<(Span, char)>,
    text: &str,
    base: usize,
) -> Vec<Syntax> {
    let endless =
        |syntax: &Syntax| ["this `[` has", "this `{` has"].iter().any(|open| syntax.text.starts_with(open));
    if let Some((span, bracket)) = open.filter(|_| found.iter().any(endless)) {
        let closing = if bracket == '[' { ']' } else { '}' };
        found.retain(|syntax| !endless(syntax));
        found.push(Syntax { span, text: format!("this `{bracket}` has no closing `{closing}`"), hint: None });
    }
    found.sort_by_key(|syntax| syntax.span.start);
    if let Some(first) = found.iter().position(endless) {
        found.truncate(first + 1);
    }
    let line = |at: usize| text[..at.saturating_sub(base).min(text.len())].matches('\n').count();
    found.dedup_by_key(|syntax| line(syntax.span.start));
    found
}
