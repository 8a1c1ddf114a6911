//! Every message a user reads about something that went wrong has this shape (UX §8): a fact with its name, the cause,
//! what was seen, and the way out.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Reason, Verdict};

/// Something went wrong: what, where, why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Trouble {
    /// The stable name.
    pub name: Reason,
    /// What and where: lower case, no full stop, numbers with units, names in backticks.
    pub text: String,
    /// Where in the user's file, when it is known.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Said beside the place, behind the carets: ``did you mean `within`?``.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The cause we know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// What was wanted, for an expectation that was not met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    /// What was said instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
    /// What was seen, the likelier cause first; lines that stand under one another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub saw: Vec<String>,
    /// Faults of the network that were in force: `isolate a since 2.104s`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_force: Vec<String>,
    /// Ways out, the surest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub help: Vec<Help>,
}

/// A way out of trouble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Help {
    /// Sure: paste it.
    Fix(String),
    /// A guess.
    Try(String),
    /// Another way.
    Or(String),
}

/// A place in a file of the user's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Place {
    /// The file, as the user would name it.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// How many characters are meant; 0 when only the point is known.
    #[serde(default)]
    pub width: u32,
}

impl Trouble {
    /// A fact with its name; the rest is added by the methods below.
    pub fn new(name: Reason, text: impl Into<String>) -> Self {
        Self {
            name,
            text: text.into(),
            place: None,
            hint: None,
            because: None,
            wanted: None,
            said: None,
            saw: Vec::new(),
            in_force: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Says something beside the place; an empty text says nothing.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hint = Some(text.into()).filter(|text| !text.is_empty());
        self
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, text: impl Into<String>) -> Self {
        self.because = Some(text.into());
        self
    }

    /// Says where, unless it is known already.
    #[must_use]
    pub fn at(mut self, place: Option<Place>) -> Self {
        self.place = self.place.or(place);
        self
    }

    /// Adds a line that was seen.
    #[must_use]
    pub fn saw(mut self, line: impl Into<String>) -> Self {
        self.saw.push(line.into());
        self
    }

    /// Says which faults were in force, unless it is known already.
    #[must_use]
    pub fn in_force(mut self, faults: Vec<String>) -> Self {
        if self.in_force.is_empty() {
            self.in_force = faults;
        }
        self
    }

    /// Says what was wanted and what came instead.
    #[must_use]
    pub fn wanted(mut self, wanted: impl Into<String>, said: impl Into<String>) -> Self {
        self.wanted = Some(wanted.into());
        self.said = Some(said.into());
        self
    }

    /// Adds a sure way out.
    #[must_use]
    pub fn fix(mut self, text: impl Into<String>) -> Self {
        self.help.push(Help::Fix(text.into()));
        self
    }

    /// Adds a guess at a way out.
    #[must_use]
    pub fn guess(mut self, text: impl Into<String>) -> Self {
        self.help.push(Help::Try(text.into()));
        self
    }

    /// Adds another way out.
    #[must_use]
    pub fn or(mut self, text: impl Into<String>) -> Self {
        self.help.push(Help::Or(text.into()));
        self
    }

    /// The verdict of a test that ended with this.
    pub fn verdict(&self) -> Verdict {
        self.name.verdict()
    }
}

impl fmt::Display for Help {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fix(text) => write!(f, "fix: {text}"),
            Self::Try(text) => write!(f, "try: {text}"),
            Self::Or(text) => write!(f, "or   {text}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The message as plain text of several lines, without the source line: reports draw that.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  [{}]", self.text, self.name)?;
        if let Some(place) = &self.place {
            write!(f, "\n  --> {place}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n      {hint}")?;
        }
        if let Some(because) = &self.because {
            write!(f, "\nbecause {because}")?;
        }
        for (label, text) in [("wanted  ", &self.wanted), ("said    ", &self.said)] {
            if let Some(text) = text {
                write!(f, "\n{label} {}", indented(text))?;
            }
        }
        for (index, line) in self.saw.iter().enumerate() {
            let label = if index == 0 { "saw" } else { "" };
            write!(f, "\n{label:<8} {}", indented(line))?;
        }
        for fault in &self.in_force {
            write!(f, "\nin force {fault}")?;
        }
        for help in &self.help {
            write!(f, "\n{help}")?;
        }
        Ok(())
    }
}

/// Keeps the lines of `text` under one another behind a label of nine characters.
fn indented(text: &str) -> String {
    text.replace('\n', "\n         ")
}

impl std::error::Error for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_the_handbook_says() {
        let trouble = Trouble::new(Reason::UsernsRestricted, "user namespaces give no rights here")
            .because("kernel.apparmor_restrict_unprivileged_userns = 1")
            .fix("sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0")
            .or("--provider docker");
        assert_eq!(
            trouble.to_string(),
            "user namespaces give no rights here  [userns-restricted]\n\
             because kernel.apparmor_restrict_unprivileged_userns = 1\n\
             fix: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\n\
             or   --provider docker"
        );
        assert_eq!(trouble.verdict(), Verdict::Infra);
    }

    #[test]
    fn it_survives_json() {
        let place = Place { file: "a.toml".into(), line: 3, column: 1, width: 0 };
        let trouble = Trouble::new(Reason::Expect, "x").at(Some(place)).wanted("1", "2").saw("y");
        let text = serde_json::to_string(&trouble).unwrap();
        assert!(text.contains(r#""file":"a.toml","line":3"#), "{text}");
        assert_eq!(serde_json::from_str::<Trouble>(&text).unwrap(), trouble);
        let bare = Trouble::new(Reason::Expect, "x");
        assert_eq!(serde_json::from_str::<Trouble>(&serde_json::to_string(&bare).unwrap()).unwrap(), bare);
    }
}
