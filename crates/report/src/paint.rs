//! Colour, where a terminal wants it. It is never the only carrier: verdicts are words, hosts have names.

use std::fmt::Display;

use netsplit_model::Verdict;

/// Whether to paint at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// No escape sequence ever.
    Plain,
    /// The sixteen colours that every terminal has.
    Colour,
}

/// The colours of hosts, one of eight by name; red and green are for verdicts.
const HOSTS: [u8; 8] = [36, 35, 34, 33, 96, 95, 94, 93];

impl Paint {
    fn wrap(self, code: &str, text: impl Display) -> String {
        match self {
            Self::Plain => text.to_string(),
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    /// A verdict's word.
    pub fn verdict(self, verdict: Verdict) -> String {
        self.verdict_padded(verdict, 0)
    }

    /// A verdict's word, filled up to `width` with spaces that have no colour.
    pub fn verdict_padded(self, verdict: Verdict, width: usize) -> String {
        let code = match verdict {
            Verdict::Passed => "1;32",
            Verdict::Failed => "1;31",
            Verdict::Infra => "1;35",
            Verdict::Unknown => "1;33",
            Verdict::Skipped => "1;34",
        };
        let fill = " ".repeat(width.saturating_sub(verdict.as_str().len()));
        self.wrap(code, verdict) + &fill
    }

    /// `error:`, for what stops before any test.
    pub fn error(self, text: impl Display) -> String {
        self.wrap("1;31", text)
    }

    /// `warning:`, for what does not decide.
    pub fn warning(self, text: impl Display) -> String {
        self.wrap("1;33", text)
    }

    /// A host's name, always in the same colour.
    pub fn host(self, name: &str, text: impl Display) -> String {
        let sum = name.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.wrap(&HOSTS[sum % HOSTS.len()].to_string(), text)
    }

    /// A path or place.
    pub fn path(self, text: impl Display) -> String {
        self.wrap("36", text)
    }

    /// A way out.
    pub fn help(self, text: impl Display) -> String {
        self.wrap("1;32", text)
    }

    /// What stands beside the fact: names in brackets, times.
    pub fn dim(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    /// What is meant in a line of source.
    pub fn mark(self, text: impl Display) -> String {
        self.wrap("1;31", text)
    }
}
