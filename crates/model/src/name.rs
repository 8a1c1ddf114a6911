//! Names that users choose and see: hosts, roles, runs, processes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest name of a host: a DNS label.
const HOST_NAME_MAX: usize = 63;
/// Words that mean something else in a selector.
const RESERVED: [&str; 4] = ["all", "here", "localhost", "none"];

/// A host's name or a role's: a DNS label of lower-case letters, digits and `-` that begins with a letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
pub struct HostName(Arc<str>);

/// Why a text is no name of a host or role.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a host's name is empty")]
    Empty,
    /// Longer than a DNS label may be.
    #[error("`{0}` is longer than {HOST_NAME_MAX} characters")]
    TooLong(String),
    /// A character that no DNS label has, or a first or last one that may not stand there.
    #[error("`{name}` cannot be a host's name: {why}")]
    Character {
        /// The text as given.
        name: String,
        /// What is wrong, as a phrase.
        why: &'static str,
    },
    /// A word with a meaning of its own.
    #[error("`{0}` cannot be a host's name: the word has a meaning of its own")]
    Reserved(String),
}

impl HostName {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is empty, too long, reserved, or no DNS label in lower case.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let bad = |why| Err(NameError::Character { name: text.to_owned(), why });
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > HOST_NAME_MAX {
            return Err(NameError::TooLong(text.to_owned()));
        }
        if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return bad("only lower-case letters, digits and `-` may stand in it");
        }
        if !text.as_bytes()[0].is_ascii_lowercase() {
            return bad("it must begin with a letter");
        }
        if text.ends_with('-') {
            return bad("it must not end with `-`");
        }
        if RESERVED.contains(&text) {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// The machine that runs the test, which is no host of its testbed.
    pub fn here() -> Self {
        Self("here".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of `count` hosts that nobody named: `a`, `b`, `c` …, and `h0`, `h1` … beyond the alphabet.
    pub fn numbered(count: usize) -> Vec<Self> {
        let name = |index: usize| match u8::try_from(index) {
            Ok(index) if count <= 26 => char::from(b'a' + index).to_string(),
            _ => format!("h{index}"),
        };
        (0..count).map(|index| Self(name(index).into())).collect()
    }

    /// The names of the `count` hosts of role `self`: the role's own when there is one, else `role0`, `role1` …
    pub fn of_role(&self, count: usize) -> Vec<Self> {
        if count == 1 {
            return vec![self.clone()];
        }
        (0..count).map(|index| Self(format!("{self}{index}").into())).collect()
    }
}

impl TryFrom<String> for HostName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// So that it may be a word of a command: `["ping", "-c1", host.name().as_ref()]`.
impl AsRef<str> for HostName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// A process of one host: `a/etcd.2` is the second process called `etcd` on host `a`. Shown without `.1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(with = "String"))]
pub struct ProcessName {
    host: HostName,
    name: Arc<str>,
    number: u32,
}

impl ProcessName {
    /// The longest name: it becomes part of a file's name.
    const NAME_MAX: usize = 64;

    /// Process `number` (from 1) called `name` on `host`. What no file name may contain becomes `_`.
    pub fn new(host: HostName, name: &str, number: u32) -> Self {
        let keep = |c: char| if c.is_alphanumeric() || "-_+@".contains(c) { c } else { '_' };
        let mut name: String = name.chars().map(keep).collect();
        while name.len() > Self::NAME_MAX {
            name.pop();
        }
        if name.is_empty() {
            name.push('_');
        }
        Self { host, name: name.into(), number }
    }

    /// The host it runs on.
    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// Its name without host and number: `etcd`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which process of that name on its host, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its files in the run's directory begin with this: `etcd.1`.
    pub fn file_stem(&self) -> String {
        format!("{}.{}", self.name, self.number)
    }
}

impl TryFrom<String> for ProcessName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let bad =
            || NameError::Character { name: text.clone(), why: "a process is written `host/name.number`" };
        let (host, rest) = text.split_once('/').ok_or_else(bad)?;
        let (name, number) = rest.rsplit_once('.').ok_or_else(bad)?;
        let number = number.parse().map_err(|_| bad())?;
        let host = if host == "here" { HostName::here() } else { HostName::new(host)? };
        Ok(Self::new(host, name, number))
    }
}

impl From<ProcessName> for String {
    fn from(process: ProcessName) -> Self {
        format!("{}/{}.{}", process.host, process.name, process.number)
    }
}

impl fmt::Display for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            1 => f.pad(&format!("{}/{}", self.host, self.name)),
            number => f.pad(&format!("{}/{}.{number}", self.host, self.name)),
        }
    }
}

impl fmt::Debug for ProcessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// A run's id: four characters of base 32 without letters that look alike. Unique among the runs a user keeps.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunId(String);

impl RunId {
    const ALPHABET: &'static [u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    /// The id that `random` spells; only its low 20 bits count.
    pub fn from_random(random: u32) -> Self {
        let digit = |place: u32| char::from(Self::ALPHABET[(random >> (place * 5) & 31) as usize]);
        Self((0..4).map(digit).collect())
    }

    /// An id read from a file or typed by a user.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

/// Whether `text` may name a variable, a file, a capture or a command: a letter or `_`, then letters, digits, `_`, `-`.
pub fn check_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_dns_label() {
        for good in ["a", "rig4", "nfs-server", &"x".repeat(63)] {
            assert_eq!(HostName::new(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "A", "4a", "a_b", "a.b", "a-", "ä", "all", "here", "localhost", &"x".repeat(64)] {
            assert!(HostName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unnamed_hosts_get_letters_while_they_last() {
        let names = |count| HostName::numbered(count).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(3), ["a", "b", "c"]);
        assert_eq!(names(26)[25], "z");
        assert_eq!(names(27)[26], "h26");
    }

    #[test]
    fn a_process_name_survives_its_text() {
        let process = ProcessName::new(HostName::new("a").unwrap(), "my prog.sh", 2);
        assert_eq!(process.to_string(), "a/my_prog_sh.2");
        assert_eq!(ProcessName::try_from(String::from(process.clone())), Ok(process));
    }
}
