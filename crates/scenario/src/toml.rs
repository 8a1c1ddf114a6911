//! TOML as a tree whose every key and value knows where it stands, also when the text has mistakes. The parser's events
//! come from `toml_parser`; the tree is our own because we need what deserializers throw away: the order, both places
//! of what is written twice, and the header that a key stands under.

mod brackets;
mod build;
mod syntax;
mod text;

pub(crate) use text::Text;

use crate::source::Span;

/// How deep values, headers and dotted keys may nest: far more than the grammar has, and no danger to the stack.
const DEPTH_MAX: u32 = 24;

/// What one text says.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Table,
    /// What is no TOML. When there is any, the tree is a guess.
    pub(crate) syntax: Vec<Syntax>,
    /// What is written twice; the tree has the first.
    pub(crate) twice: Vec<Twice>,
}

/// A place that is no TOML.
#[derive(Debug)]
pub(crate) struct Syntax {
    pub(crate) span: Span,
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
}

/// A key that is written twice.
#[derive(Debug)]
pub(crate) struct Twice {
    pub(crate) name: String,
    pub(crate) again: Span,
    pub(crate) first: Span,
    /// The first is no table that may be added to, and the second would add to it.
    pub(crate) closed: bool,
}

/// A value.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// The kinds of values.
#[derive(Debug)]
pub(crate) enum Value {
    Text(Text),
    Integer(i64),
    Float(f64),
    Flag(bool),
    Date,
    Array(Vec<Node>),
    Table(Table),
}

/// Keys and their values, in the order written.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
    pub(crate) origin: Origin,
}

/// How a table was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The file itself.
    Root,
    /// `[name]` or `[[name]]`, here.
    Header(Span),
    /// By being on the way to another: `a` in `a.b = 1`, or in `[a.b]`.
    Implied { dotted: bool },
    /// `{ … }`.
    Inline,
}

/// A key with its value.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) node: Node,
    /// The header it stands under, when it was written as a line of its own.
    pub(crate) under: Option<Span>,
}

/// A key.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) span: Span,
}

impl Document {
    /// Reads `text`, which begins at offset `base`.
    pub(crate) fn parse(text: &str, base: usize) -> Self {
        build::document(text, base)
    }
}

impl Table {
    pub(crate) fn new(origin: Origin) -> Self {
        Self { entries: Vec::new(), origin }
    }

    /// The entry called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key.name == name)
    }
}

impl Node {
    /// What it is, with an article.
    pub(crate) fn what(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "text",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Flag(true) => "`true`",
            Value::Flag(false) => "`false`",
            Value::Date => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    pub(crate) fn as_text(&self) -> Option<&Text> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_array(&self) -> Option<&[Self]> {
        match &self.value {
            Value::Array(nodes) => Some(nodes),
            _ => None,
        }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The value as JSON, to check it against the schema.
    #[cfg(test)]
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Text(text) => text.value.clone().into(),
            Value::Integer(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Flag(flag) => (*flag).into(),
            Value::Date => serde_json::Value::Null,
            Value::Array(nodes) => nodes.iter().map(Self::to_json).collect(),
            Value::Table(table) => table.to_json(),
        }
    }
}

#[cfg(test)]
impl Table {
    pub(crate) fn to_json(&self) -> serde_json::Value {
        self.entries.iter().map(|entry| (entry.key.name.clone(), entry.node.to_json())).collect()
    }
}
