//! What is said when something fails: the fact with the thing named, then the remedy, on one line.

use std::fmt;
use std::io;

/// Why a program gave up: a lower-case fact that names the thing, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    what: String,
    remedy: String,
}

impl Failure {
    /// A failure whose fact is `what`, to be met by doing `remedy`.
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

impl std::error::Error for Failure {}

/// The error's phrase in lower case, without the number of the operating system's error.
pub(crate) fn phrase(err: &io::Error) -> String {
    let text = err.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_read_as_phrases() {
        assert_eq!(phrase(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(phrase(&io::Error::other("No leader")), "no leader");
    }
}
