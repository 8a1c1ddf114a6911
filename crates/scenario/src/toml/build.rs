//! Makes the tree from the parser's events.

use std::borrow::Cow;

use toml_parser::decoder::ScalarKind;
use toml_parser::parser::{Event, EventKind, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ParseError, Source};

use super::{
    DEPTH_MAX, Document, Entry, Key, Node, Origin, Syntax, Table, Text, Twice, Value, brackets, syntax,
};
use crate::source::Span;

pub(super) fn document(text: &str, base: usize) -> Document {
    let source = Source::new(text);
    let tokens = source.lex().into_vec();
    let mut events: Vec<Event> = Vec::with_capacity(tokens.len());
    let mut errors: Vec<ParseError> = Vec::new();
    let mut guard = RecursionGuard::new(&mut events, DEPTH_MAX);
    parse_document(&tokens, &mut ValidateWhitespace::new(&mut guard, source), &mut errors);
    let mut builder =
        Builder { source, base, events: &events, at: 0, errors, syntax: Vec::new(), twice: Vec::new() };
    let root = builder.document();
    let mut found = builder.syntax;
    found.extend(builder.errors.iter().map(|error| syntax::explain(error, text, base)));
    let open = brackets::open(&tokens, base);
    Document { root, syntax: syntax::first_of_each_line(found, open, text, base), twice: builder.twice }
}

struct Builder<'t> {
    source: Source<'t>,
    base: usize,
    events: &'t [Event],
    at: usize,
    errors: Vec<ParseError>,
    syntax: Vec<Syntax>,
    twice: Vec<Twice>,
}

/// A table in the making: the names that lead to it, and the header that names it.
#[derive(Default)]
struct Current {
    path: Vec<String>,
    header: Option<Span>,
}

impl<'t> Builder<'t> {
    fn next(&mut self) -> Option<&'t Event> {
        let event = self.events.get(self.at);
        self.at += 1;
        event
    }

    fn peek(&self) -> Option<EventKind> {
        self.events.get(self.at).map(Event::kind)
    }

    fn skip_space(&mut self) {
        while let Some(EventKind::Whitespace | EventKind::Comment | EventKind::Newline) = self.peek() {
            self.at += 1;
        }
    }

    fn span(&self, event: &Event) -> Span {
        Span::new(self.base + event.span().start()..self.base + event.span().end())
    }

    fn document(&mut self) -> Table {
        let mut root = Table::new(Origin::Root);
        let mut current = Current::default();
        while let Some(event) = self.next() {
            match event.kind() {
                EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                    current = self.header(event, &mut root);
                }
                EventKind::SimpleKey => {
                    let keys = self.keys(event);
                    let Some(node) = self.assigned() else { continue };
                    let Some(table) = descend(&mut root, &current.path) else { continue };
                    self.insert(table, keys, node, current.header);
                }
                _ => {}
            }
        }
        root
    }

    /// `[a.b]` or `[[a.b]]`.
    fn header(&mut self, open: &Event, root: &mut Table) -> Current {
        let many = open.kind() == EventKind::ArrayTableOpen;
        let mut keys = Vec::new();
        let mut span = self.span(open);
        while let Some(event) = self.next() {
            match event.kind() {
                EventKind::SimpleKey => keys = self.keys(event),
                EventKind::StdTableClose | EventKind::ArrayTableClose => {
                    span = span.to(self.span(event));
                    break;
                }
                EventKind::Newline => break,
                _ => {}
            }
        }
        let path = keys.iter().map(|key| key.name.clone()).collect();
        self.open(root, keys, span, many);
        Current { path, header: Some(span) }
    }

    /// Makes the table that a header names.
    fn open(&mut self, root: &mut Table, mut keys: Vec<Key>, header: Span, many: bool) {
        let Some(last) = keys.pop() else { return };
        let Some(parent) = self.way(root, keys, false, Some(header)) else { return };
        let fresh = |value| Node { span: header, value };
        let table = || Table::new(Origin::Header(header));
        let Some(entry) = parent.entries.iter_mut().find(|entry| entry.key.name == last.name) else {
            let value = match many {
                true => Value::Array(vec![fresh(Value::Table(table()))]),
                false => Value::Table(table()),
            };
            parent.entries.push(Entry { key: last, node: fresh(value), under: None });
            return;
        };
        match &mut entry.node.value {
            Value::Array(nodes) if many && by_headers(nodes) => nodes.push(fresh(Value::Table(table()))),
            Value::Table(known) if !many && known.origin == (Origin::Implied { dotted: false }) => {
                known.origin = Origin::Header(header);
                entry.node.span = header;
            }
            Value::Table(known) => {
                let closed = !matches!(known.origin, Origin::Header(_)) || many;
                let (name, first) = (last.name, entry.key.span);
                self.twice.push(Twice { name, again: last.span, first, closed });
            }
            _ => {
                let (name, first) = (last.name, entry.key.span);
                self.twice.push(Twice { name, again: last.span, first, closed: true });
            }
        }
    }

    /// The keys of a dotted key, of which the first is `event`.
    fn keys(&mut self, event: &Event) -> Vec<Key> {
        let mut keys = vec![self.key(event)];
        loop {
            match self.peek() {
                Some(EventKind::Whitespace | EventKind::KeySep) => self.at += 1,
                Some(EventKind::SimpleKey) => {
                    let event = &self.events[self.at];
                    self.at += 1;
                    keys.push(self.key(event));
                }
                _ => break,
            }
        }
        if keys.len() > DEPTH_MAX as usize {
            let text = "this name has too many dots".to_owned();
            self.syntax.push(Syntax { span: keys[0].span.to(keys[keys.len() - 1].span), text, hint: None });
            keys.truncate(1);
        }
        keys
    }

    fn key(&mut self, event: &Event) -> Key {
        let mut name = Cow::Borrowed("");
        if let Some(raw) = self.source.get(event) {
            raw.decode_key(&mut name, &mut self.errors);
        }
        Key { name: name.into_owned(), span: self.span(event) }
    }

    /// What stands behind `=`.
    fn assigned(&mut self) -> Option<Node> {
        if self.peek() != Some(EventKind::KeyValSep) {
            return None;
        }
        self.at += 1;
        self.skip_space();
        let event = self.next()?;
        self.value(event)
    }

    fn value(&mut self, event: &Event) -> Option<Node> {
        match event.kind() {
            EventKind::Scalar => Some(self.scalar(event)),
            EventKind::ArrayOpen => Some(self.array(event)),
            EventKind::InlineTableOpen => Some(self.inline_table(event)),
            _ => {
                self.at -= 1;
                None
            }
        }
    }

    fn scalar(&mut self, event: &Event) -> Node {
        let span = self.span(event);
        let Some(raw) = self.source.get(event) else { return Node { span, value: Value::Date } };
        let mut decoded = Cow::Borrowed("");
        let before = self.errors.len();
        let kind = raw.decode_scalar(&mut decoded, &mut self.errors);
        let value = match kind {
            ScalarKind::String => Value::Text(Text::decode(raw.as_str(), event.encoding(), span.start)),
            ScalarKind::Boolean(flag) => Value::Flag(flag),
            ScalarKind::DateTime => Value::Date,
            ScalarKind::Float => Value::Float(decoded.parse().unwrap_or(f64::NAN)),
            ScalarKind::Integer(radix) => match i64::from_str_radix(&decoded, radix.value()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    if self.errors.len() == before {
                        let text = "this number is too large".to_owned();
                        self.syntax.push(Syntax { span, text, hint: None });
                    }
                    Value::Integer(0)
                }
            },
        };
        Node { span, value }
    }

    fn array(&mut self, open: &Event) -> Node {
        let mut span = self.span(open);
        let mut nodes = Vec::new();
        while let Some(event) = self.next() {
            match event.kind() {
                EventKind::ArrayClose => {
                    span = span.to(self.span(event));
                    break;
                }
                EventKind::Scalar | EventKind::ArrayOpen | EventKind::InlineTableOpen => {
                    nodes.extend(self.value(event));
                }
                _ => {}
            }
        }
        Node { span, value: Value::Array(nodes) }
    }

    fn inline_table(&mut self, open: &Event) -> Node {
        let mut span = self.span(open);
        let mut table = Table::new(Origin::Inline);
        while let Some(event) = self.next() {
            match event.kind() {
                EventKind::InlineTableClose => {
                    span = span.to(self.span(event));
                    break;
                }
                EventKind::SimpleKey => {
                    let keys = self.keys(event);
                    self.skip_space();
                    if let Some(node) = self.assigned() {
                        self.insert(&mut table, keys, node, None);
                    }
                }
                _ => {}
            }
        }
        Node { span, value: Value::Table(table) }
    }

    fn insert(&mut self, table: &mut Table, mut keys: Vec<Key>, node: Node, under: Option<Span>) {
        let Some(key) = keys.pop() else { return };
        let Some(table) = self.way(table, keys, true, under) else { return };
        if let Some(first) = table.get(&key.name) {
            let (name, first) = (key.name, first.key.span);
            self.twice.push(Twice { name, again: key.span, first, closed: false });
            return;
        }
        table.entries.push(Entry { key, node, under });
    }

    /// Follows `keys` from `table`, making what is not there.
    fn way<'a>(
        &mut self,
        mut table: &'a mut Table,
        keys: Vec<Key>,
        dotted: bool,
        under: Option<Span>,
    ) -> Option<&'a mut Table> {
        for key in keys {
            let index = table.entries.iter().position(|entry| entry.key.name == key.name);
            let index = index.unwrap_or_else(|| {
                let value = Value::Table(Table::new(Origin::Implied { dotted }));
                let node = Node { span: key.span, value };
                table.entries.push(Entry { key: key.clone(), node, under: under.filter(|_| dotted) });
                table.entries.len() - 1
            });
            let entry = &mut table.entries[index];
            let first = entry.key.span;
            let next = match &mut entry.node.value {
                Value::Table(next) => Some(next).filter(|next| may_add(next.origin, dotted)),
                Value::Array(nodes) if !dotted && by_headers(nodes) => match nodes.last_mut() {
                    Some(Node { value: Value::Table(next), .. }) => Some(next),
                    _ => None,
                },
                _ => None,
            };
            let Some(next) = next else {
                self.twice.push(Twice { name: key.name, again: key.span, first, closed: true });
                return None;
            };
            table = next;
        }
        Some(table)
    }
}

/// Whether a dotted key or header may add to a table that began as `origin`.
fn may_add(origin: Origin, dotted: bool) -> bool {
    match origin {
        Origin::Root => true,
        Origin::Header(_) => !dotted,
        Origin::Implied { dotted: by_key } => by_key || !dotted,
        Origin::Inline => false,
    }
}

fn by_headers(nodes: &[Node]) -> bool {
    let by_header = |node: &Node| matches!(node.as_table(), Some(Table { origin: Origin::Header(_), .. }));
    !nodes.is_empty() && nodes.iter().all(by_header)
}

/// The table that a header named before.
fn descend<'a>(mut table: &'a mut Table, path: &[String]) -> Option<&'a mut Table> {
    for name in path {
        let entry = table.entries.iter_mut().find(|entry| entry.key.name == *name)?;
        table = match &mut entry.node.value {
            Value::Table(next) => next,
            Value::Array(nodes) => match nodes.last_mut() {
                Some(Node { value: Value::Table(next), .. }) => next,
                _ => return None,
            },
            _ => return None,
        };
    }
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, json: &str) {
        let document = Document::parse(text, 0);
        assert!(document.syntax.is_empty(), "{:?}", document.syntax);
        let twice: Vec<_> = document.twice.iter().map(|twice| format!(" twice:{}", twice.name)).collect();
        assert_eq!(document.root.to_json().to_string() + &twice.concat(), json, "{text}");
    }

    #[test]
    fn tables_are_put_together() {
        check("a.b = 1\na.c = 2", r#"{"a":{"b":1,"c":2}}"#);
        check("[a.b]\nc = 1\n[a]\nd = 2", r#"{"a":{"b":{"c":1},"d":2}}"#);
        check("[[t]]\nx = 1\n[t.e]\ny = 2\n[[t]]\nx = 3", r#"{"t":[{"e":{"y":2},"x":1},{"x":3}]}"#);
        check("a = { b.c = 'x', b.d = true, e = [1, 2.5, { f = 1 }] }", {
            r#"{"a":{"b":{"c":"x","d":true},"e":[1,2.5,{"f":1}]}}"#
        });
        check("a = {\n  b = 1, # one\n  c = 2,\n}", r#"{"a":{"b":1,"c":2}}"#);
        check("a = 0x1f\n\"b c\" = '''\nx'''", r#"{"a":31,"b c":"x"}"#);
    }

    #[test]
    fn what_is_written_twice_is_named_and_the_first_stays() {
        check("a = 1\na = 2", r#"{"a":1} twice:a"#);
        check("[a]\nb = 1\n[a]\nc = 2", r#"{"a":{"b":1,"c":2}} twice:a"#);
        check("a.b = 1\n[a]\nc = 2", r#"{"a":{"b":1,"c":2}} twice:a"#);
        check("a = { b = 1 }\na.c = 2", r#"{"a":{"b":1}} twice:a"#);
        check("a = { b = 1 }\n[a.c]\nd = 2", r#"{"a":{"b":1}} twice:a"#);
        check("a = [1]\n[[a]]\nd = 2", r#"{"a":[1]} twice:a"#);
        check("x = { a = 1, a = 2 }", r#"{"x":{"a":1}} twice:a"#);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_strings_decode_as_the_parser_does(text in r#"[\[\]{}=.,"' \\\nabc%u0-9#]{0,80}"#) {
            Document::parse(&text, 7);
        }

        #[test]
        fn basic_strings_decode_as_the_parser_does(inner in r#"(\\[bfnrte"\\]|\\u00e9|\\x41|[^"\\\p{C}]){0,20}"#) {
            let text = format!("a = \"{inner}\"\nb = \"\"\"{inner} \\\n  x\"\"\"");
            let document = Document::parse(&text, 0);
            prop_assert!(document.syntax.is_empty(), "{:?}", document.syntax);
            let source = Source::new(&text);
            let mut events: Vec<Event> = Vec::new();
            parse_document(&source.lex().into_vec(), &mut events, &mut ());
            let scalars = events.iter().filter(|event| event.kind() == EventKind::Scalar);
            for (scalar, entry) in scalars.zip(&document.root.entries) {
                let mut decoded = Cow::Borrowed("");
                let _ = source.get(scalar).unwrap().decode_scalar(&mut decoded, &mut ());
                prop_assert_eq!(&*decoded, &entry.node.as_text().unwrap().value);
            }
        }
    }
}
