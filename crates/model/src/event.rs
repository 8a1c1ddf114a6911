//! The lines of a run's event log. Everything that happens is one; wall clock, pids and paths never are, so that one
//! seed gives one log.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{HostName, Outcome, ProcessName, Trouble, Verdict};

/// The log's format, major and minor: new kinds and fields raise minor and readers skip what they do not know; a
/// changed meaning raises major.
pub const FORMAT: [u32; 2] = [1, 0];

/// One line of events.jsonl.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record {
    /// The line's number, from 0, without gaps.
    pub n: u64,
    /// Nanoseconds since the run began; virtual when simulated.
    pub t: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Which stream of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Stream {
    /// Standard output, and a terminal's.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What happened. The kinds are `noun.past`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Event {
    /// The log begins.
    #[serde(rename = "run.began")]
    RunBegan {
        /// [`FORMAT`].
        format: [u32; 2],
        /// The run's id.
        run: String,
        /// The test's name.
        test: String,
        /// What makes the hosts.
        provider: String,
        /// The seed of every random draw.
        seed: u64,
    },
    /// A nested test began.
    #[serde(rename = "test.began")]
    TestBegan {
        /// Its number, from 1.
        test: u32,
        /// Its name.
        name: String,
        /// How many steps it has.
        steps: u32,
    },
    /// A nested test ended.
    #[serde(rename = "test.ended")]
    TestEnded {
        /// Its number.
        test: u32,
        /// How.
        verdict: Verdict,
        /// Why, unless it passed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Trouble>,
    },
    /// A step began.
    #[serde(rename = "step.began")]
    StepBegan {
        /// `TEST.STEP`, both from 1; `TEST.STEP.PART` inside a `together` or a procedure.
        step: String,
        /// The step in a few words.
        text: String,
        /// The scenario's line.
        line: u32,
    },
    /// A step ended.
    #[serde(rename = "step.ended")]
    StepEnded {
        /// Which.
        step: String,
        /// How.
        verdict: Verdict,
    },
    /// A host is up: its agent answered.
    #[serde(rename = "host.ready")]
    HostReady {
        /// Its name.
        host: HostName,
        /// Its role.
        role: HostName,
        /// Its IPv4 address.
        address: String,
        /// Its IPv6 address.
        address6: String,
        /// How often it came up, from 1.
        generation: u32,
    },
    /// The test killed a host.
    #[serde(rename = "host.killed")]
    HostKilled {
        /// Its name.
        host: HostName,
    },
    /// The test stopped a host for a while.
    #[serde(rename = "host.paused")]
    HostPaused {
        /// Its name.
        host: HostName,
    },
    /// The test let a host go on.
    #[serde(rename = "host.resumed")]
    HostResumed {
        /// Its name.
        host: HostName,
    },
    /// A host went away, and not because of the test.
    #[serde(rename = "host.lost")]
    HostLost {
        /// Its name.
        host: HostName,
        /// Why, as far as is known.
        reason: String,
    },
    /// The test began a fault of the network.
    #[serde(rename = "fault.began")]
    FaultBegan {
        /// Its number: `f1`.
        fault: String,
        /// What it is called.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Itself in words: `isolate a`.
        what: String,
        /// The hosts that it names.
        on: Vec<HostName>,
        /// Whether the test's own way to these hosts is cut, too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        control: bool,
    },
    /// A fault came into force by itself, or was lifted for a while.
    #[serde(rename = "fault.turned")]
    FaultTurned {
        /// Which.
        fault: String,
        /// Whether links do now what it says.
        in_force: bool,
    },
    /// A fault ended.
    #[serde(rename = "fault.ended")]
    FaultEnded {
        /// Which.
        fault: String,
        /// `healed`, `time`, `from outside`, `the run ended`, or `refused`: it never was in force.
        why: String,
    },
    /// The test changed a host's clock.
    #[serde(rename = "clock.changed")]
    ClockChanged {
        /// Whose.
        host: HostName,
        /// In words: `jump 3s`, `jump -3s`, `skew 20ms`, `drift 200ppm`.
        what: String,
    },
    /// The test began a fault of a host's disk.
    #[serde(rename = "disk.began")]
    DiskBegan {
        /// Its number: `d1`.
        fault: String,
        /// Whose.
        host: HostName,
        /// In words: `torn-writes`, `full`, `errors 1%`, `slow 50ms`, `stuck`.
        what: String,
    },
    /// A fault of a disk ended.
    #[serde(rename = "disk.ended")]
    DiskEnded {
        /// Which.
        fault: String,
        /// `healed`, `the run ended`, or `refused`: it never was in force.
        why: String,
    },
    /// What happened on a directed link on which packets were lost or a fault was in force; links.json has all.
    #[serde(rename = "link.counted")]
    LinkCounted {
        /// The sender.
        from: String,
        /// The receiver.
        to: String,
        /// Packets handed to it.
        offered: u64,
        /// Packets handed over.
        delivered: u64,
        /// Packets lost, by cause.
        dropped: BTreeMap<String, u64>,
        /// The most bytes that ever waited for the line.
        queued_bytes_max: u64,
    },
    /// A process was asked for.
    #[serde(rename = "process.started")]
    ProcessStarted {
        /// Its name.
        process: ProcessName,
        /// Its words, secrets masked.
        argv: Vec<String>,
        /// Whether it has a terminal.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pty: bool,
    },
    /// A process ended, or could not start. All its output up to then stands before this.
    #[serde(rename = "process.ended")]
    ProcessEnded {
        /// Its name.
        process: ProcessName,
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
        /// Bytes of standard output so far.
        stdout: u64,
        /// Bytes of standard error so far.
        stderr: u64,
    },
    /// The test signalled a process.
    #[serde(rename = "process.signalled")]
    ProcessSignalled {
        /// Its name.
        process: ProcessName,
        /// The signal's number.
        signal: i32,
    },
    /// A process wrote; the bytes are in its stream's file.
    #[serde(rename = "output")]
    Output {
        /// Its name.
        process: ProcessName,
        /// Which stream.
        stream: Stream,
        /// Where they begin in the stream.
        offset: u64,
        /// How many.
        bytes: u64,
    },
    /// A file was put on a host.
    #[serde(rename = "file.put")]
    FilePut {
        /// The host.
        host: HostName,
        /// Where it lies there.
        path: String,
        /// How many files: 1, or those of a tree.
        files: u64,
        /// Their sizes added up.
        bytes: u64,
        /// How many bytes had to be sent: 0 when the host had them all.
        sent: u64,
    },
    /// A file was fetched from a host.
    #[serde(rename = "file.got")]
    FileGot {
        /// The host.
        host: HostName,
        /// Where it lies there.
        path: String,
        /// How many files: 1, or those of a tree.
        files: u64,
        /// Their sizes added up.
        bytes: u64,
    },
    /// A wait began.
    #[serde(rename = "wait.began")]
    WaitBegan {
        /// Its number.
        wait: u64,
        /// What is waited for: a regular expression, or `exit`.
        pattern: String,
        /// Processes or hosts it looks at.
        on: Vec<String>,
        /// Where it looks from, in nanoseconds since the begin.
        since: u64,
        /// How long it may take, in nanoseconds.
        within: u64,
        /// Whether the line must not come.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        never: bool,
    },
    /// A wait ended.
    #[serde(rename = "wait.ended")]
    WaitEnded {
        /// Its number.
        wait: u64,
        /// Whether a line matched.
        matched: bool,
        /// The process that wrote the line.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        process: Option<ProcessName>,
        /// Where the line begins in its stream.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        /// Why no line matched.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<crate::Reason>,
    },
    /// An expectation was not met.
    #[serde(rename = "expect.failed")]
    ExpectFailed {
        /// What was wanted and what came.
        reason: Trouble,
    },
    /// The test wrote something down.
    #[serde(rename = "note.added")]
    NoteAdded {
        /// What.
        text: String,
    },
    /// Something was noticed that does not decide.
    #[serde(rename = "warning.raised")]
    WarningRaised {
        /// What.
        warning: Trouble,
    },
    /// The verdict is known; teardown follows.
    #[serde(rename = "verdict.given")]
    VerdictGiven {
        /// How the test ended.
        verdict: Verdict,
        /// Why, unless it passed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Trouble>,
    },
    /// The testbed is gone, or was kept.
    #[serde(rename = "teardown.ended")]
    TeardownEnded {
        /// Whether it was kept on purpose.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        kept: bool,
        /// Whether nothing was left behind.
        ok: bool,
        /// What went wrong.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        errors: Vec<String>,
    },
    /// A kind this version does not know.
    #[serde(other, rename = "unknown")]
    Unknown,
}

impl Record {
    /// When it happened, since the run began.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.t)
    }
}

impl Stream {
    /// Both, in the order in which they are shown.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// `stdout` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NotStarted, NotStartedKind};

    #[test]
    fn a_line_has_the_shape_of_the_handbook() {
        let process = ProcessName::new(HostName::new("b").unwrap(), "etcd", 1);
        let event = Event::Output { process, stream: Stream::Stderr, offset: 10231, bytes: 118 };
        let line = serde_json::to_string(&Record { n: 61, t: 2_190_002_000, event }).unwrap();
        assert_eq!(
            line,
            r#"{"n":61,"t":2190002000,"kind":"output","process":"b/etcd.1","stream":"stderr","offset":10231,"bytes":118}"#
        );
    }

    #[test]
    fn what_a_newer_version_writes_is_skipped() {
        let line = r#"{"n":0,"t":0,"kind":"op.ended","op":7}"#;
        assert_eq!(serde_json::from_str::<Record>(line).unwrap().event, Event::Unknown);
        let line = r#"{"n":0,"t":0,"kind":"host.killed","host":"a","colour":"red"}"#;
        assert!(matches!(serde_json::from_str::<Record>(line).unwrap().event, Event::HostKilled { .. }));
    }

    #[test]
    fn an_ended_process_reads_back() {
        let process = ProcessName::new(HostName::new("b").unwrap(), "etcd", 1);
        let written = |outcome| {
            let event = Event::ProcessEnded { process: process.clone(), outcome, stdout: 1, stderr: 2 };
            let record = Record { n: 1, t: 2, event };
            let line = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
            line
        };
        let line = written(Outcome::Exited { code: 2 });
        assert!(line.contains(r#""outcome":"exited","code":2"#), "{line}");
        let kind = NotStartedKind::Other;
        let line = written(Outcome::CouldNotStart(NotStarted { kind, text: "no user `x`".into() }));
        assert!(line.contains(r#""outcome":"could-not-start","why":"other""#), "{line}");
        written(Outcome::Signalled { signal: 9, core: false });
        written(Outcome::TimedOut { after_ms: 1 });
        written(Outcome::AgentLost { reason: "x".into() });
        written(Outcome::Cancelled);
    }
}
