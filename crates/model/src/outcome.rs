//! How a process ended. The six ways are never blurred: not here, not in exit codes, not in reports.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::signal;
use crate::units::Wanted;

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// It ended by itself, with this code.
    Exited {
        /// 0 to 255.
        code: i32,
    },
    /// A signal ended it that nobody here sent because of a deadline.
    Signalled {
        /// The signal's number.
        signal: i32,
        /// Whether the kernel says that it dumped core.
        core: bool,
    },
    /// It never ran.
    CouldNotStart(NotStarted),
    /// Its deadline passed; it was ended with all its children.
    TimedOut {
        /// The deadline, in milliseconds.
        after_ms: u64,
    },
    /// The host or its agent went away while it ran; what became of it is not known.
    AgentLost {
        /// Why, as a phrase: `the host was killed by the test`.
        reason: String,
    },
    /// The caller no longer wanted it; it was ended with all its children.
    Cancelled,
}

/// Why a process never ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NotStarted {
    /// The kind of trouble. An event has a `kind` of its own.
    #[serde(rename = "why")]
    pub kind: NotStartedKind,
    /// The whole sentence, with the program's name.
    pub text: String,
}

/// What kept a process from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum NotStartedKind {
    /// A bare name that is in no directory of the host's PATH.
    NoSuchProgram,
    /// A path where nothing is.
    NoSuchFile,
    /// A file that is a directory, has no right to execute, or is in no format the kernel runs.
    NotExecutable,
    /// No working directory, no such user, too many arguments, no memory.
    Other,
}

impl Outcome {
    /// Whether it ended by itself with code 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }

    /// The code that `bed run` and `enter` exit with (UX §2.3).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exited { code } => u8::try_from(*code & 0xff).unwrap_or(u8::MAX),
            Self::Signalled { signal, .. } => u8::try_from(128 + (*signal & 0x7f)).unwrap_or(u8::MAX),
            Self::CouldNotStart(_) => 241,
            Self::TimedOut { .. } => 242,
            Self::AgentLost { .. } => 243,
            Self::Cancelled => 244,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exited {code}"),
            Self::Signalled { signal, core } => {
                let core = if *core { ", core dumped" } else { "" };
                write!(f, "was ended by signal {}{core}", signal::name(*signal))
            }
            Self::CouldNotStart(reason) => write!(f, "could not start: {}", reason.text),
            Self::TimedOut { after_ms } => {
                write!(f, "was still running after {}", Wanted(Duration::from_millis(*after_ms)))
            }
            Self::AgentLost { reason } => write!(f, "was lost: {reason}"),
            Self::Cancelled => f.write_str("was cancelled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_exit_code() {
        let reason = NotStarted { kind: NotStartedKind::NoSuchProgram, text: "no program `x`".into() };
        let all = [
            Outcome::Exited { code: 3 },
            Outcome::Signalled { signal: 9, core: false },
            Outcome::CouldNotStart(reason),
            Outcome::TimedOut { after_ms: 1500 },
            Outcome::AgentLost { reason: "x".into() },
            Outcome::Cancelled,
        ];
        assert_eq!(all.each_ref().map(Outcome::exit_code), [3, 137, 241, 242, 243, 244]);
        assert_eq!(all[3].to_string(), "was still running after 1.5s");
        assert_eq!(
            serde_json::to_string(&all[0]).unwrap(),
            r#"{"outcome":"exited","code":3}"#,
            "the shape of UX §6"
        );
    }
}
