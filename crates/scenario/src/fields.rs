//! Reads tables by the grammar: what a key wants, what a table lacks, what nobody knows. Both ways are checked: a key
//! that is not in the grammar cannot be asked for, and one that is must be.

use std::cell::RefCell;
use std::time::Duration;

use netsplit_model::{Capability, Reason, Trouble, nearest, units};

use crate::Limit;
use crate::grammar::{self, Key, Kind, Shape, Unspoken};
use crate::ledger::Ledger;
use crate::names::list;
use crate::source::Span;
use crate::toml::{Entry, Node, Table, Text, Value};

/// The keys of one table, of which each is asked for once.
pub(crate) struct Fields<'t> {
    table: &'t Table,
    keys: &'static [Key],
    /// For `needs …`: `a command`.
    what: String,
    /// What is marked when something is missing.
    span: Span,
    taken: RefCell<Vec<&'static str>>,
}

impl<'t> Fields<'t> {
    /// The keys of `table`, which is a `shape`; unknown ones are mistakes. `span` is marked when one is missing.
    pub(crate) fn open(ledger: &mut Ledger, table: &'t Table, shape: &'static Shape, span: Span) -> Self {
        unknown_words(ledger, table, shape);
        let what = shape.place.trim_start_matches("in ").to_owned();
        Self { table, keys: shape.keys, what, span, taken: RefCell::default() }
    }

    /// The keys of a step whose words the caller has checked.
    pub(crate) fn of_step(table: &'t Table, keys: &'static [Key], what: String, span: Span) -> Self {
        Self { table, keys, what, span, taken: RefCell::default() }
    }

    /// The key `word` of the grammar, and what the user wrote for it.
    pub(crate) fn get(&self, word: &str) -> Option<(&'static Key, &'t Entry)> {
        let key = self.keys.iter().find(|key| key.word == word);
        debug_assert!(key.is_some(), "the grammar has no `{word}` in {}", self.what);
        let key = key?;
        self.taken.borrow_mut().push(key.word);
        Some((key, self.table.get(word)?))
    }

    /// What the user wrote for `word`, which is read elsewhere.
    pub(crate) fn peek(&self, word: &str) -> Option<&'t Entry> {
        self.table.get(word)
    }

    /// Whether the grammar has `word` here.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        self.keys.iter().any(|key| key.word == word)
    }

    /// Whether a word stands there, beside the first, that the grammar does not have here.
    pub(crate) fn has_strangers(&self) -> bool {
        let words = self.table.entries.iter().filter(|entry| !self.has_word(&entry.key.name));
        words.count() > 1
    }

    /// The same, for a key that must be there.
    pub(crate) fn must(
        &self,
        ledger: &mut Ledger,
        word: &str,
        hint: Option<String>,
    ) -> Option<(&'static Key, &'t Entry)> {
        let found = self.get(word);
        if found.is_none() {
            let example = self.keys.iter().find(|key| key.word == word).map_or("…", |key| key.example);
            let hint = hint.unwrap_or_else(|| format!("such as `{word} = {example}`"));
            let trouble = Trouble::new(Reason::MissingKey, format!("{} needs `{word}`", self.what));
            ledger.mistake(self.span, trouble.hint(hint));
        }
        found
    }

    pub(crate) fn text(&self, ledger: &mut Ledger, word: &str) -> Option<&'t Text> {
        let (key, entry) = self.get(word)?;
        text(ledger, &entry.node, key)
    }

    pub(crate) fn duration(&self, ledger: &mut Ledger, word: &str) -> Option<Duration> {
        let (key, entry) = self.get(word)?;
        duration(ledger, &entry.node, key)
    }

    pub(crate) fn limit(&self, ledger: &mut Ledger, word: &str) -> Option<Limit> {
        let time = self.duration(ledger, word)?;
        let place = ledger.place(self.peek(word)?.key.span);
        Some(Limit { time, place })
    }

    pub(crate) fn size(&self, ledger: &mut Ledger, word: &str) -> Option<u64> {
        let (key, entry) = self.get(word)?;
        let text = text(ledger, &entry.node, key)?;
        if text.value.trim().is_empty() {
            return wrong(ledger, &entry.node, key.word, key.kind);
        }
        let bad = |error: units::UnitError| Trouble::new(Reason::BadValue, error.to_string());
        units::size(&text.value).map_err(|error| ledger.mistake(text.inner(), bad(error))).ok()
    }

    pub(crate) fn flag(&self, ledger: &mut Ledger, word: &str) -> Option<bool> {
        let (key, entry) = self.get(word)?;
        match entry.node.value {
            Value::Flag(flag) => Some(flag),
            _ => wrong(ledger, &entry.node, key.word, key.kind),
        }
    }

    pub(crate) fn count(&self, ledger: &mut Ledger, word: &str) -> Option<u32> {
        let (key, entry) = self.get(word)?;
        count(ledger, &entry.node, key.word, key.kind)
    }

    pub(crate) fn mode(&self, ledger: &mut Ledger, word: &str) -> Option<u32> {
        let (key, entry) = self.get(word)?;
        let text = text(ledger, &entry.node, key)?;
        let digits = text.value.strip_prefix("0o").unwrap_or(&text.value);
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if mode <= 0o7777 && digits.len() >= 3 && digits.len() <= 5 => Some(mode),
            _ => wrong(ledger, &entry.node, key.word, key.kind),
        }
    }

    /// One text or several.
    pub(crate) fn texts(&self, ledger: &mut Ledger, word: &str) -> Vec<&'t Text> {
        let Some((key, entry)) = self.get(word) else { return Vec::new() };
        texts(ledger, &entry.node, key)
    }

    /// Capabilities, each with where it stands. `claims`: words that a host may publish one day.
    pub(crate) fn capabilities(
        &self,
        ledger: &mut Ledger,
        word: &str,
        claims: bool,
    ) -> Vec<(Capability, Span)> {
        let mut found = Vec::new();
        for text in self.texts(ledger, word) {
            let mut at = 0;
            for part in text.value.split([' ', ',', '\n', '\t']) {
                let range = at..at + part.len();
                at += part.len() + 1;
                if part.is_empty() || part == "and" {
                    continue;
                }
                match Capability::named(part) {
                    Some(capability) => found.push((capability, text.part(range))),
                    None => {
                        let (span, all) = (text.part(range), text.inner());
                        if unknown_capability(ledger, part, &text.value, (span, all), claims) {
                            break;
                        }
                    }
                }
            }
        }
        found
    }

    /// Asserts that each key of the grammar was asked for: what it allows, the reader reads.
    pub(crate) fn finish(self) {
        let taken = self.taken.borrow();
        for key in self.keys {
            debug_assert!(taken.contains(&key.word), "`{}` of {} is never read", key.word, self.what);
        }
    }
}

/// Writes down an unknown capability; says whether the rest of the text belongs to it.
fn unknown_capability(ledger: &mut Ledger, word: &str, text: &str, at: (Span, Span), claims: bool) -> bool {
    let near = nearest(word, grammar::capabilities());
    if near.is_none() && (claims || text.contains(['=', '<', '>'])) {
        let text =
            format!("`{word}` would be claimed from a pool of hosts, which this version does not have");
        let known: Vec<_> = grammar::capabilities().collect();
        ledger.mistake(
            at.1,
            Trouble::new(Reason::NotYet, text).hint(list("capabilities of providers", &known)),
        );
        return true;
    }
    let trouble = Trouble::new(Reason::UnknownName, format!("no capability `{word}`"));
    let known: Vec<_> = grammar::capabilities().collect();
    let hint = near.map_or_else(|| list("known", &known), |near| format!("did you mean `{near}`?"));
    ledger.mistake(at.0, trouble.hint(hint));
    false
}

/// A value of a wrong kind: names what it is and what is wanted.
pub(crate) fn wrong<T>(ledger: &mut Ledger, node: &Node, word: &str, kind: Kind) -> Option<T> {
    let written = ledger.sources.slice(node.span);
    let simple = !written.contains(['\n', '`']) && node.as_table().is_none();
    let short = simple && written.chars().count() <= 24;
    let is_flag = matches!(node.value, Value::Flag(_));
    let (value, what) = match node.value {
        Value::Text(_) if short => (format!("`{written}`"), "not that"),
        Value::Text(_) => ("this".to_owned(), "not that"),
        _ if short && !is_flag => (format!("`{written}`"), node.what()),
        _ => ("this".to_owned(), node.what()),
    };
    let wants = kind.wants();
    let text = match node.value {
        Value::Text(_) => format!("`{word}` wants {wants}, and {value} is {what}"),
        _ => format!("{value} is {what}, `{word}` wants {wants}"),
    };
    let trouble = Trouble::new(Reason::BadValue, text);
    let quotes = matches!(node.value, Value::Integer(_) | Value::Float(_) | Value::Date) || is_flag;
    let hint = match kind {
        Kind::Duration if quotes && !is_flag => Some(format!("did you mean `\"{written}s\"`?")),
        Kind::Text | Kind::Texts | Kind::Variable | Kind::Mode | Kind::Command | Kind::Version if quotes => {
            Some(format!("did you mean `\"{written}\"`?"))
        }
        _ => None,
    };
    let trouble = match hint {
        Some(hint) => trouble.hint(hint),
        None => trouble,
    };
    ledger.mistake(node.span, trouble);
    None
}

pub(crate) fn text<'t>(ledger: &mut Ledger, node: &'t Node, key: &Key) -> Option<&'t Text> {
    match node.as_text() {
        Some(text) => Some(text),
        None => wrong(ledger, node, key.word, key.kind),
    }
}

pub(crate) fn texts<'t>(ledger: &mut Ledger, node: &'t Node, key: &Key) -> Vec<&'t Text> {
    match &node.value {
        Value::Text(text) => vec![text],
        Value::Array(nodes) => nodes.iter().filter_map(|node| text(ledger, node, key)).collect(),
        _ => wrong(ledger, node, key.word, key.kind).into_iter().collect(),
    }
}

pub(crate) fn duration(ledger: &mut Ledger, node: &Node, key: &Key) -> Option<Duration> {
    let text = text(ledger, node, key)?;
    if text.value.trim().is_empty() {
        return wrong(ledger, node, key.word, key.kind);
    }
    let bad = |error: units::UnitError| Trouble::new(Reason::BadValue, error.to_string());
    units::duration(&text.value).map_err(|error| ledger.mistake(text.inner(), bad(error))).ok()
}

/// A whole number from 1 on.
pub(crate) fn count(ledger: &mut Ledger, node: &Node, word: &str, kind: Kind) -> Option<u32> {
    match node.value {
        Value::Integer(number) => match u32::try_from(number) {
            Ok(number) if number > 0 => Some(number),
            _ => {
                let text = format!("`{word}` wants {}, and this is {number}", kind.wants());
                ledger.mistake(node.span, Trouble::new(Reason::BadValue, text));
                None
            }
        },
        _ => wrong(ledger, node, word, kind),
    }
}

/// The keys of `table` that `shape` does not know are mistakes.
pub(crate) fn unknown_words(ledger: &mut Ledger, table: &Table, shape: &'static Shape) {
    let unknown: Vec<_> = table.entries.iter().filter(|entry| shape.get(&entry.key.name).is_none()).collect();
    let steps = unknown.iter().any(|entry| is_astray_steps(entry));
    for entry in &unknown {
        let word = entry.key.name.as_str();
        if is_astray_steps(entry) {
            steps_astray(ledger, entry, table);
        } else if steps && grammar::TEST.get(word).is_some() {
            // Said with the steps.
        } else if let Some(header) = entry.under.filter(|_| belongs_elsewhere(word, shape)) {
            key_astray(ledger, entry, header);
        } else if let Some(unspoken) = Unspoken::top(word).filter(|_| is_top(shape)) {
            not_yet(ledger, entry.key.span, unspoken);
        } else if word == "step" {
            step_header(ledger, entry.key.span, &entry.node);
        } else {
            unknown_word(ledger, entry, shape.place, shape.words());
        }
    }
}

fn is_top(shape: &'static Shape) -> bool {
    std::ptr::eq(shape, &grammar::TOP)
}

fn belongs_elsewhere(word: &str, shape: &'static Shape) -> bool {
    !is_top(shape) && (grammar::TOP.get(word).is_some() || grammar::TEST.get(word).is_some())
}

pub(crate) fn unknown_word<'k>(
    ledger: &mut Ledger,
    entry: &Entry,
    place: &str,
    known: impl Iterator<Item = &'k str>,
) {
    let word = &entry.key.name;
    let known: Vec<_> = known.collect();
    let trouble = Trouble::new(Reason::UnknownKey, format!("unknown word `{word}` {place}"));
    let hint = match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "nothing else may stand here".to_owned(),
        None => list("known here", &known),
    };
    ledger.mistake(entry.key.span, trouble.hint(hint));
}

pub(crate) fn not_yet(ledger: &mut Ledger, span: Span, unspoken: &Unspoken) {
    let text = format!("`{}` needs {}, which this version does not have", unspoken.word, unspoken.needs);
    ledger.mistake(span, Trouble::new(Reason::NotYet, text));
}

/// Whether this is a list of steps where none belongs.
pub(crate) fn is_astray_steps(entry: &Entry) -> bool {
    let Some(nodes) = entry.node.as_array().filter(|_| entry.key.name == "steps") else { return false };
    nodes.iter().all(|node| node.as_table().is_some())
}

/// `steps` that TOML gives to another table, because no `[[test]]` stands above them.
pub(crate) fn steps_astray(ledger: &mut Ledger, entry: &Entry, table: &Table) {
    let name = table.get("name").filter(|name| name.under == entry.under && name.node.as_text().is_some());
    let (top, missing) = match name {
        Some(name) if name.key.span.start < entry.key.span.start => (name.key.span, "`[[test]]`"),
        Some(_) => (entry.key.span, "`[[test]]`"),
        None => (entry.key.span, "`[[test]]` and a `name`"),
    };
    let fix = format!("put {missing} above line {}", ledger.sources.line_of(top.start));
    let trouble = match entry.under {
        Some(header) => {
            let text = format!("these `steps` belong to `{}`, not to a test", ledger.sources.slice(header));
            let line = ledger.sources.line_of(header.start);
            let hint = format!("in TOML a key belongs to the last header above it, here line {line}");
            Trouble::new(Reason::StepsAstray, text).hint(hint)
        }
        None => Trouble::new(Reason::StepsAstray, "these `steps` belong to no test"),
    };
    ledger.mistake(entry.key.span, trouble.fix(fix));
}

/// A key of the file or of a test under a header that has no such key.
pub(crate) fn key_astray(ledger: &mut Ledger, entry: &Entry, header: Span) {
    let word = &entry.key.name;
    let of = if grammar::TOP.get(word).is_some() { "the file" } else { "a test" };
    let text = format!("`{word}` belongs to `{}`, not to {of}", ledger.sources.slice(header));
    let line = ledger.sources.line_of(header.start);
    let hint = format!("in TOML a key belongs to the last header above it, here line {line}");
    let trouble = Trouble::new(Reason::UnknownKey, text).hint(hint);
    let fix = if of == "the file" {
        format!("put it above line {line}")
    } else {
        format!("put `[[test]]` above line {}", ledger.sources.line_of(entry.key.span.start))
    };
    ledger.mistake(entry.key.span, trouble.fix(fix));
}

/// `[[step]]` or `[[test.steps]]`: a step is a line, not a section.
pub(crate) fn step_header(ledger: &mut Ledger, span: Span, node: &Node) {
    let first = match &node.value {
        Value::Array(nodes) => nodes.first().and_then(Node::as_table),
        Value::Table(table) => Some(table),
        _ => None,
    };
    let write = |entry: &Entry| {
        let (start, end) = (entry.key.span.start, entry.node.span.end);
        let text = ledger.sources.slice(Span::new(start..end));
        (!text.contains('\n')).then(|| text.to_owned())
    };
    let words: Option<Vec<_>> =
        first.map(|table| table.entries.iter().map(write).collect()).unwrap_or_default();
    let step = match words.filter(|words| !words.is_empty()) {
        Some(words) => format!("{{ {} }}", words.join(", ")),
        None => r#"{ run = "true", on = "a" }"#.to_owned(),
    };
    let trouble = Trouble::new(Reason::StepsAstray, "a step is a line in `steps`, not a header of its own");
    ledger.mistake(span, trouble.fix(format!("steps = [{step}]   in a `[[test]]`, one a line")));
}
