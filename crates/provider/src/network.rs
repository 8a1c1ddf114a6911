//! The emulated network of a testbed: what may be asked of it, and what it tells.

use std::fs::File;
use std::time::Duration;

use netsplit_netmodel::{Condition, Counters, Fault, FaultState};
use serde::{Deserialize, Serialize};

/// A fault as it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultSpec {
    /// What it is called, unlike any other in force; none: it has but its number.
    pub name: Option<String>,
    /// Itself in words: `isolate a`, `link a to b delay 50ms`.
    pub what: String,
    /// Which links, what they do, and when; by the names of hosts.
    pub fault: Fault<String>,
    /// Whether it stays when who asked for it has gone, as what a command line asks for does.
    pub outlives_asker: bool,
}

/// A fault that the network has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultReport {
    /// Its number.
    pub id: u32,
    /// What it is called.
    pub name: Option<String>,
    /// Itself in words.
    pub what: String,
    /// Whether links do it now.
    pub state: FaultState,
    /// For how long the network has had it, in nanoseconds.
    pub age_ns: u64,
    /// How many directed links it is about.
    pub links: usize,
    /// Of how many of them this was read back from the network: they do what the table of faults wants of them. Fewer
    /// than `links` only while a host of theirs has never come up.
    pub verified: usize,
}

/// What is in force and what has happened, read from the network at one instant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkReport {
    /// The faults, in the order in which they were asked for.
    pub faults: Vec<FaultReport>,
    /// Links that carried something or do something to packets: all, or of very many those that dropped or carried most.
    pub links: Vec<LinkReport>,
    /// How many links are not among them.
    pub links_left_out: usize,
    /// The ways in and out of hosts.
    pub ports: Vec<PortReport>,
    /// How late packets were that a link delayed.
    pub lateness: LatenessReport,
    /// Which turn its thread gets: `fifo`, `short-slice`, `ordinary`; `simulated`: it has none.
    pub scheduling: String,
    /// Packets that no link counts: to nobody, malformed, beyond what the network may hold; simulated ones that came with
    /// a wrong checksum.
    pub strays: u64,
}

/// One directed link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkReport {
    /// The sender.
    pub from: String,
    /// The receiver.
    pub to: String,
    /// What it does to packets.
    pub condition: Condition,
    /// What happened to them.
    pub counters: Counters,
}

/// How one host is joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortReport {
    /// The host.
    pub name: String,
    /// `tap`, `packet`, `simulated`, or nothing: it is down.
    pub kind: Option<String>,
    /// Frames that its kernel did not take.
    pub refused: u64,
}

/// How late the network was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatenessReport {
    /// How many deliveries were measured.
    pub count: u64,
    /// Half of them were not later, in nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 were not later.
    pub p99_ns: u64,
    /// The latest.
    pub max_ns: u64,
}

impl LatenessReport {
    /// What 99 of 100 deliveries were not later than.
    pub fn p99(&self) -> Duration {
        Duration::from_nanos(self.p99_ns)
    }
}

/// A fault did something by itself: its time came, or was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultTurned {
    /// Its number.
    pub id: u32,
    /// What it does from now on.
    pub state: FaultState,
}

/// Packets to write down.
#[derive(Debug)]
pub struct CaptureSpec {
    /// Where, as pcapng.
    pub file: File,
    /// Which.
    pub filter: CaptureFilter,
}

/// Which packets are written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureFilter {
    /// Of every link.
    All,
    /// What one host sends, is given, and would have been given.
    Host(String),
    /// Of one link.
    Link {
        /// The sender.
        from: String,
        /// The receiver.
        to: String,
        /// Whether what goes the other way, too.
        both_ways: bool,
    },
}

/// What a capture came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureReport {
    /// Packets in the file.
    pub packets: u64,
    /// Packets that came faster than they could be written.
    pub lost: u64,
    /// The file's length.
    pub bytes: u64,
    /// Why no more could be written.
    pub error: Option<String>,
}
