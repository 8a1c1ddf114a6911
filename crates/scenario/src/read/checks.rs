//! What a process must have done and written: `exit`, `stdout`, `stderr`, `json`, `save`.

use netsplit_model::{Reason, Trouble, nearest, signal};

use super::Reader;
use crate::fields::{self, Fields};
use crate::grammar::{Key, Kind, OUTPUT};
use crate::names::Asker;
use crate::source::Span;
use crate::toml::{self, Entry, Node, Table, Value};
use crate::{Checks, Exit, JsonCheck, JsonValue, Matcher, Number, Pattern, Save, Saved, Text};

impl Reader<'_> {
    /// All of them, of a step that knows them all.
    pub(crate) fn checks(&mut self, fields: &Fields<'_>, asker: Asker) -> Checks {
        let exit = fields.get("exit").and_then(|(key, entry)| self.exit(key, entry)).unwrap_or_default();
        let stdout = self.output(fields, "stdout", asker);
        let stderr = self.output(fields, "stderr", asker);
        let json = match fields.get("json") {
            Some((key, entry)) => self.json(key, entry, asker),
            None => Vec::new(),
        };
        Checks { exit, stdout, stderr, json, save: self.save(fields, false) }
    }

    fn exit(&mut self, key: &Key, entry: &Entry) -> Option<Exit> {
        match &entry.node.value {
            Value::Integer(_) => Some(Exit::Codes(vec![self.code(&entry.node, key)?])),
            Value::Array(nodes) if !nodes.is_empty() => {
                let codes: Vec<_> = nodes.iter().map(|node| self.code(node, key)).collect();
                codes.into_iter().collect::<Option<_>>().map(Exit::Codes)
            }
            Value::Text(text) => match text.value.as_str() {
                "nonzero" => Some(Exit::Nonzero),
                "any" => Some(Exit::Any),
                other => match other.strip_prefix("signal ") {
                    Some(name) => {
                        let at = text.part(text.value.len() - name.len()..text.value.len());
                        self.signal(name, at).map(Exit::Signal)
                    }
                    None => {
                        let trouble = Trouble::new(Reason::BadValue, format!("`{other}` is no way to end"));
                        let hint = match nearest(other, ["nonzero", "any"]) {
                            Some(near) => format!("did you mean `\"{near}\"`?"),
                            None => {
                                r#"a code, a list of codes, "nonzero", "any" or "signal KILL""#.to_owned()
                            }
                        };
                        self.ledger.mistake(text.inner(), trouble.hint(hint));
                        None
                    }
                },
            },
            _ => fields::wrong(self.ledger, &entry.node, key.word, key.kind),
        }
    }

    fn code(&mut self, node: &Node, key: &Key) -> Option<u8> {
        let Value::Integer(number) = node.value else {
            return fields::wrong(self.ledger, node, key.word, key.kind);
        };
        let code = u8::try_from(number).ok();
        if code.is_none() {
            let trouble =
                Trouble::new(Reason::BadValue, format!("{number} is no exit code; they go from 0 to 255"));
            self.ledger.mistake(node.span, trouble);
        }
        code
    }

    /// A signal by name or number.
    pub(crate) fn signal(&mut self, name: &str, span: Span) -> Option<i32> {
        let known = signal::parse(name);
        if known.is_none() {
            let trouble = Trouble::new(Reason::BadValue, format!("no signal `{name}`"));
            let upper = name.to_uppercase();
            let hint = match nearest(upper.strip_prefix("SIG").unwrap_or(&upper), signal::names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "such as TERM, KILL, HUP, USR1".to_owned(),
            };
            self.ledger.mistake(span, trouble.hint(hint));
        }
        known
    }

    fn output(&mut self, fields: &Fields<'_>, word: &str, asker: Asker) -> Option<Matcher> {
        let (key, entry) = fields.get(word)?;
        let place = Some(self.ledger.place(entry.key.span));
        match &entry.node.value {
            Value::Text(text) => {
                let equals = Some(self.template(text, asker)?);
                Some(Matcher { place, equals, ..Matcher::default() })
            }
            Value::Table(table) => {
                let fields = Fields::open(self.ledger, table, &OUTPUT, entry.key.span);
                let matcher = self.matcher(&fields, asker);
                fields.finish();
                if table.entries.is_empty() {
                    let text = format!("`{word}` says nothing to expect");
                    self.ledger.mistake(entry.node.span, Trouble::new(Reason::BadValue, text));
                }
                Some(Matcher { place, ..matcher })
            }
            _ => fields::wrong(self.ledger, &entry.node, key.word, Kind::Text),
        }
    }

    /// `equals`, `has`, `matches`, `lines`, `is_empty`, `at_least`, `at_most`.
    pub(crate) fn matcher(&mut self, fields: &Fields<'_>, asker: Asker) -> Matcher {
        let equals = fields.text(self.ledger, "equals").and_then(|text| self.template(text, asker));
        let has = fields.texts(self.ledger, "has");
        let has = has.into_iter().filter_map(|text| self.template(text, asker)).collect();
        let matches = fields.texts(self.ledger, "matches");
        let matches = matches.into_iter().filter_map(|text| self.pattern(text, asker)).collect();
        let is_empty = fields.flag(self.ledger, "is_empty");
        let mut number = |word: &str| {
            let (key, entry) = fields.get(word)?;
            self.number(&entry.node, key, asker)
        };
        let (lines, at_least, at_most) = (number("lines"), number("at_least"), number("at_most"));
        Matcher { place: None, equals, has, matches, lines, is_empty, at_least, at_most }
    }

    fn number(&mut self, node: &Node, key: &Key, asker: Asker) -> Option<Number> {
        let whole = matches!(key.kind, Kind::Lines);
        match &node.value {
            #[expect(clippy::cast_precision_loss, reason = "whole numbers of this size are not compared")]
            Value::Integer(number) if !whole || *number >= 0 => Some(Number::Is(*number as f64)),
            Value::Float(number) if !whole && number.is_finite() => Some(Number::Is(*number)),
            Value::Text(text) if text.value.contains("%{") => Some(Number::Of(self.template(text, asker)?)),
            _ => fields::wrong(self.ledger, node, key.word, key.kind),
        }
    }

    fn json(&mut self, key: &Key, entry: &Entry, asker: Asker) -> Vec<JsonCheck> {
        let mut found = Vec::new();
        match entry.node.as_table() {
            Some(table) if !table.entries.is_empty() => {
                self.json_below(table, &mut Vec::new(), asker, &mut found)
            }
            _ => found.extend(fields::wrong::<JsonCheck>(self.ledger, &entry.node, key.word, key.kind)),
        }
        found
    }

    /// `json."a.b"` and `json.a.b` are the same way.
    fn json_below(&mut self, table: &Table, way: &mut Vec<String>, asker: Asker, found: &mut Vec<JsonCheck>) {
        for entry in &table.entries {
            let depth = way.len();
            way.extend(entry.key.name.split('.').map(str::to_owned));
            match &entry.node.value {
                Value::Table(inner) => self.json_below(inner, way, asker, found),
                _ => {
                    let place = self.ledger.place(entry.key.span.to(entry.node.span));
                    let value = match &entry.node.value {
                        Value::Text(text) => self.template(text, asker).map(JsonValue::Text),
                        _ => json_value(&entry.node).map(JsonValue::Is),
                    };
                    match value {
                        Some(value) => found.push(JsonCheck { place, path: way.clone(), value }),
                        None if entry.node.as_text().is_some() => {}
                        None => {
                            let text = "JSON has no such value";
                            self.ledger.mistake(entry.node.span, Trouble::new(Reason::BadValue, text));
                        }
                    }
                }
            }
            way.truncate(depth);
        }
    }

    /// `save.NAME`. With `line_only`, of a line that matched and not of a whole output.
    pub(crate) fn save(&mut self, fields: &Fields<'_>, line_only: bool) -> Vec<Save> {
        let Some((key, entry)) = fields.get("save") else { return Vec::new() };
        let Some(table) = entry.node.as_table() else {
            return fields::wrong(self.ledger, &entry.node, key.word, key.kind).into_iter().collect();
        };
        let mut found = Vec::new();
        for entry in &table.entries {
            let (name, span) = (&entry.key.name, entry.key.span);
            let what =
                fields::text(self.ledger, &entry.node, key).and_then(|text| self.saved(text, line_only));
            let taken = self.names.value_taken(name);
            if self.new_name(name, span, "a saved value", taken).is_none() {
                continue;
            }
            if let Some(first) = self.seen.captured.get(name).copied() {
                self.ledger.duplicate(format!("`{name}` is already a captured host"), span, first);
                continue;
            }
            self.seen.saved.insert(name.clone(), span);
            if let Some(what) = what {
                found.push(Save { name: name.clone(), place: self.ledger.place(span), what });
            }
        }
        found
    }

    fn saved(&mut self, text: &toml::Text, line_only: bool) -> Option<Saved> {
        match text.value.strip_prefix("json:") {
            Some(path) if !line_only && !path.is_empty() => {
                return Some(Saved::Json(path.split('.').map(str::to_owned).collect()));
            }
            _ if text.value == "stdout" && !line_only => return Some(Saved::Stdout),
            _ => {}
        }
        let pattern = self.pattern(text, Asker::Runner)?;
        if !has_group(&pattern) {
            let trouble = Trouble::new(Reason::BadRegex, "nothing is saved: the expression has no group");
            self.ledger.mistake(text.inner(), trouble.hint("put ( ) round what to save"));
            return None;
        }
        Some(Saved::Group(pattern))
    }

    /// An optional text of a step.
    pub(crate) fn optional(&mut self, fields: &Fields<'_>, word: &str, asker: Asker) -> Option<Text> {
        let text = fields.text(self.ledger, word)?;
        self.template(text, asker)
    }
}

fn has_group(pattern: &Pattern) -> bool {
    pattern.regex(|_| Some(String::new())).is_ok_and(|regex| regex.captures_len() > 1)
}

fn json_value(node: &Node) -> Option<serde_json::Value> {
    match &node.value {
        Value::Text(text) => Some(text.value.clone().into()),
        Value::Integer(number) => Some((*number).into()),
        Value::Float(number) => serde_json::Number::from_f64(*number).map(Into::into),
        Value::Flag(flag) => Some((*flag).into()),
        Value::Array(nodes) => nodes.iter().map(json_value).collect(),
        Value::Table(table) => table
            .entries
            .iter()
            .map(|entry| Some((entry.key.name.clone(), json_value(&entry.node)?)))
            .collect(),
        Value::Date => None,
    }
}

/// The table of a provider's hints, which nobody checks here.
pub(crate) fn hint(node: &Node) -> Option<serde_json::Value> {
    node.as_table()?;
    json_value(node)
}
