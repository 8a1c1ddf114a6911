//! How a test ended, and the file that says so.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Reason, Trouble};

/// How a test ended: the same five words in terminal, JSON, JUnit and exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Verdict {
    /// Every expectation was met.
    Passed,
    /// It needs what is not here; nothing was run.
    Skipped,
    /// Nobody can tell: a check gave up, or the run was interrupted.
    Unknown,
    /// The testbed broke, not the system under test.
    Infra,
    /// An expectation was not met.
    Failed,
}

impl Verdict {
    /// All, in the order in which summaries list them.
    pub const ALL: [Self; 5] = [Self::Passed, Self::Failed, Self::Infra, Self::Unknown, Self::Skipped];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Infra => "infra",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }

    /// The exit code of `run` when these are the verdicts of its tests (UX §2.3): the first that applies from the top.
    pub fn exit_code(verdicts: &[Self]) -> u8 {
        let any = |verdict| verdicts.contains(&verdict);
        if any(Self::Failed) {
            1
        } else if any(Self::Infra) {
            3
        } else if any(Self::Unknown) {
            5
        } else if any(Self::Passed) {
            0
        } else {
            4
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The contents of `verdict.json`, written before teardown and completed after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VerdictFile {
    /// The file's format, as in events.jsonl.
    pub format: [u32; 2],
    /// The run's id.
    pub run: String,
    /// The test's name.
    pub test: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Why, unless it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Trouble>,
    /// The nested tests in order.
    #[serde(default)]
    pub tests: Vec<TestReport>,
    /// How long it took, teardown not counted.
    pub seconds: f64,
    /// The seed of every random draw.
    pub seed: u64,
    /// What made the hosts.
    pub provider: String,
    /// The command that repeats it.
    pub repeat: String,
    /// What happened on the network between hosts, if it is netsplit's own; links.json has it by link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSummary>,
    /// What was noticed and did not decide.
    #[serde(default)]
    pub warnings: Vec<Trouble>,
    /// How the testbed was taken down; absent until it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teardown: Option<Teardown>,
}

/// All links of a run together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkSummary {
    /// How many faults were begun.
    pub faults: u32,
    /// Packets that hosts sent one another.
    pub offered: u64,
    /// Packets that arrived.
    pub delivered: u64,
    /// Packets that did not, by cause.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dropped: BTreeMap<String, u64>,
    /// How hosts are joined: `tap` or `packet`.
    pub ports: String,
    /// How late packets were that a link delayed.
    pub late: LateSummary,
}

/// How late a network was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LateSummary {
    /// How many deliveries were measured.
    pub deliveries: u64,
    /// Half of them were not later, in nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 were not later.
    pub p99_ns: u64,
    /// The latest.
    pub max_ns: u64,
}

/// One nested test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TestReport {
    /// Its name within the scenario.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// Why, unless it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Trouble>,
    /// When it began, in seconds since the run's begin.
    pub began: f64,
    /// How long it took.
    pub seconds: f64,
    /// How many steps it ran.
    pub steps: u32,
}

/// What taking down the testbed left or met. It never changes the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Teardown {
    /// Whether nothing was left behind.
    pub ok: bool,
    /// What went wrong, a line each.
    #[serde(default)]
    pub errors: Vec<String>,
}

impl From<Reason> for Verdict {
    /// The verdict of a test that ended for this reason.
    fn from(reason: Reason) -> Self {
        reason.verdict()
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{self, *};

    #[test]
    fn the_gravest_verdict_is_the_exit_code() {
        for (verdicts, code) in [
            (&[Passed, Skipped][..], 0),
            (&[Passed, Failed, Infra], 1),
            (&[Infra, Unknown, Passed], 3),
            (&[Unknown, Passed], 5),
            (&[Skipped], 4),
            (&[], 4),
        ] {
            assert_eq!(Verdict::exit_code(verdicts), code, "{verdicts:?}");
        }
    }
}
