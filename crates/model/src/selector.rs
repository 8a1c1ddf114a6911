//! Who is meant: hosts, roles, captured names and `all`; a comma joins, `-` takes away: `members,-leader`.

use std::ops::Range;

use thiserror::Error;

use crate::HostName;

/// A list of names to join and to take away, in the order written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// At least one; the first that joins comes before the first that takes away.
    pub terms: Vec<Term>,
}

/// One name of a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// A host, a role, a captured name or `all`.
    pub name: String,
    /// Whether it is taken away.
    pub minus: bool,
    /// Where the name stands in the text, in bytes.
    pub span: Range<usize>,
}

/// Why a text selects nobody.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// Nothing between two commas, or nothing at all.
    #[error("a name is missing here")]
    Missing {
        /// Where, in bytes.
        span: Range<usize>,
    },
    /// A space inside a name: a comma was forgotten.
    #[error("`{text}` is two names; put a comma between them")]
    Space {
        /// The text.
        text: String,
        /// Where, in bytes.
        span: Range<usize>,
    },
    /// It only takes away.
    #[error("`{text}` takes away from nothing; begin with whom you mean, as in `all,{text}`")]
    OnlyMinus {
        /// The text.
        text: String,
        /// Where, in bytes.
        span: Range<usize>,
    },
}

impl SelectorError {
    /// Where in the text, in bytes.
    pub fn span(&self) -> Range<usize> {
        match self {
            Self::Missing { span } | Self::Space { span, .. } | Self::OnlyMinus { span, .. } => span.clone(),
        }
    }
}

impl Selector {
    /// Reads `text`.
    ///
    /// # Errors
    /// When a name is missing, a comma is, or it only takes away.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        let mut at = 0;
        for part in text.split(',') {
            let start = at + (part.len() - part.trim_start().len());
            let trimmed = part.trim();
            let name = trimmed.strip_prefix('-').unwrap_or(trimmed);
            let minus = name.len() < trimmed.len();
            let span = start + usize::from(minus)..start + trimmed.len();
            if name.is_empty() {
                return Err(SelectorError::Missing { span });
            }
            if name.contains(char::is_whitespace) {
                return Err(SelectorError::Space { text: name.to_owned(), span });
            }
            terms.push(Term { name: name.to_owned(), minus, span });
            at += part.len() + 1;
        }
        if terms[0].minus {
            return Err(SelectorError::OnlyMinus { text: text.trim().to_owned(), span: 0..text.len() });
        }
        Ok(Self { terms })
    }

    /// The hosts meant, each once, in the order in which they were first joined.
    ///
    /// # Errors
    /// The first term that `lookup` does not know.
    pub fn resolve(&self, lookup: impl Fn(&str) -> Option<Vec<HostName>>) -> Result<Vec<HostName>, &Term> {
        let mut hosts: Vec<HostName> = Vec::new();
        for term in &self.terms {
            let named = lookup(&term.name).ok_or(term)?;
            if term.minus {
                hosts.retain(|host| !named.contains(host));
            } else {
                hosts.extend(named.into_iter().filter(|host| !hosts.contains(host)).collect::<Vec<_>>());
            }
        }
        Ok(hosts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let lookup = |name: &str| {
            let names = match name {
                "members" => &["a", "b", "c"][..],
                "all" => &["a", "b", "c", "client"],
                "leader" => &["b"],
                "client" => &["client"],
                _ => return None,
            };
            Some(names.iter().map(|name| HostName::new(name).unwrap()).collect())
        };
        let got = match Selector::parse(text) {
            Ok(selector) => match selector.resolve(lookup) {
                Ok(hosts) => hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(" "),
                Err(term) => format!("unknown {} at {:?}", term.name, term.span),
            },
            Err(error) => format!("{error} at {:?}", error.span()),
        };
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn names_join_and_are_taken_away() {
        check("members", "a b c");
        check("members,-leader", "a c");
        check("leader, members", "b a c");
        check("all,-members,leader", "client b");
        check("leadr", "unknown leadr at 0..5");
        check("all, -leadr", "unknown leadr at 6..11");
        check("a b", "`a b` is two names; put a comma between them at 0..3");
        check("members,", "a name is missing here at 8..8");
        check(
            "-leader",
            "`-leader` takes away from nothing; begin with whom you mean, as in `all,-leader` at 0..7",
        );
    }
}
