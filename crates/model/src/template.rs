//! `%{NAME}` and `%{file:NAME}` in what users write; `%%` is a percent sign, and any other `%` stays what it is
//! (`date +%s`).

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::nearest;

/// A text with places for values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The name, and where `%{name}` stands in bytes.
    Value(String, Range<usize>),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// `%{` without `}`.
    #[error("`%{{` has no closing `}}`")]
    Open {
        /// Where, in bytes.
        span: Range<usize>,
    },
    /// Nothing between the braces, or what no name may contain.
    #[error("`%{{{name}}}` is no name")]
    Name {
        /// What stands there.
        name: String,
        /// Where, in bytes.
        span: Range<usize>,
    },
}

impl TemplateError {
    /// Where in the text, in bytes.
    pub fn span(&self) -> Range<usize> {
        match self {
            Self::Open { span } | Self::Name { span, .. } => span.clone(),
        }
    }
}

/// A name that has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unset {
    /// The name.
    pub name: String,
    /// In characters, from 1.
    pub column: usize,
    /// Where in the text, in bytes.
    pub span: Range<usize>,
    /// The set name that is nearest to it.
    pub nearest: Option<String>,
}

impl fmt::Display for Unset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`%{{{}}}` is not set, column {}", self.name, self.column)
    }
}

impl Template {
    /// Reads `text`.
    ///
    /// # Errors
    /// When a `%{` stays open or holds no name.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find('%') {
            let percent = at + found;
            plain.push_str(&text[at..percent]);
            let behind = &text[percent + 1..];
            if behind.starts_with('%') {
                plain.push('%');
                at = percent + 2;
            } else if let Some(inner) = behind.strip_prefix('{') {
                let end = inner.find('}').ok_or(TemplateError::Open { span: percent..percent + 2 })?;
                let (name, span) = (&inner[..end], percent..percent + end + 3);
                let bare = name.strip_prefix("file:").unwrap_or(name);
                if !crate::check_identifier(bare) {
                    return Err(TemplateError::Name { name: name.to_owned(), span });
                }
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                at = span.end;
                parts.push(Part::Value(name.to_owned(), span));
            } else {
                plain.push('%');
                at = percent + 1;
            }
        }
        plain.push_str(&text[at..]);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The names it asks for, each with where it stands in bytes.
    pub fn names(&self) -> impl Iterator<Item = (&str, &Range<usize>)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(name, span) => Some((name.as_str(), span)),
            Part::Text(_) => None,
        })
    }

    /// The text with every name replaced by what `lookup` says.
    ///
    /// # Errors
    /// The first name without a value; `known` are the names that have one, for the nearest. `text` is what was parsed.
    pub fn render<'k>(
        &self,
        text: &str,
        lookup: impl Fn(&str) -> Option<String>,
        known: impl IntoIterator<Item = &'k str>,
    ) -> Result<String, Unset> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(name, span) => match lookup(name) {
                    Some(value) => out.push_str(&value),
                    None => {
                        return Err(Unset {
                            name: name.clone(),
                            column: text[..span.start].chars().count() + 1,
                            span: span.clone(),
                            nearest: nearest(name, known).map(str::to_owned),
                        });
                    }
                },
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expect: &str) {
        let values = [("host", "a"), ("address", "10.0.0.1"), ("file:key", "/run/key")];
        let lookup =
            |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let known = values.iter().map(|(key, _)| *key);
        let got = match Template::parse(text) {
            Ok(template) => {
                template.render(text, lookup, known).unwrap_or_else(|unset| match &unset.nearest {
                    Some(nearest) => format!("{unset}; {nearest}"),
                    None => unset.to_string(),
                })
            }
            Err(error) => format!("{error} at {:?}", error.span()),
        };
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn values_are_filled_in() {
        check("--name %{host} --listen http://%{address}:2380", "--name a --listen http://10.0.0.1:2380");
        check("%{file:key}", "/run/key");
        check("100%% of %{host}", "100% of a");
        check("date +%s %", "date +%s %");
        check("", "");
    }

    #[test]
    fn mistakes_are_named_with_their_column() {
        check("ü %{adress}", "`%{adress}` is not set, column 3; address");
        check("%{nothing}", "`%{nothing}` is not set, column 1");
        check("x %{host", "`%{` has no closing `}` at 2..4");
        check("%{}", "`%{}` is no name at 0..3");
        check("%{a b}", "`%{a b}` is no name at 0..6");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            if let Ok(template) = Template::parse(&text) {
                let _ = template.render(&text, |_| None, ["host"]);
            }
        }

        #[test]
        fn doubled_percents_come_out_single(text in "[a-z%]*") {
            let doubled = text.replace('%', "%%");
            let template = Template::parse(&doubled).unwrap();
            prop_assert_eq!(template.render(&doubled, |_| None, []).unwrap(), text);
        }
    }
}
