//! Tests for systems that run on more than one host.
//!
//! ```no_run
//! use netsplit::prelude::*;
//!
//! #[netsplit::test(hosts = 3, needs = ["programs"])] // `kvd` is an executable: see `program` for what simulated hosts run
//! async fn survives_losing_a_host(bed: Testbed) -> netsplit::Result {
//!     for host in bed.hosts() {
//!         host.start("kvd --peers a:7000,b:7000,c:7000").ready("became (leader|follower)").await?;
//!     }
//!     let leader = bed.find("became leader").await?;
//!     leader.kill().await?;
//!     bed.wait_for("became leader").on_others(&leader).within(secs(10)).await?;
//!     leader.restart().await
//! }
//! ```
//!
//! Start at [`test`](macro@test), which gives a test its [`Testbed`]. A [`Host`] runs commands, keeps files and loses its
//! power; a [`Process`] is one command on one host; [`Wait`] waits for words in what they write. [`program`](macro@program)
//! makes an async function of the test a command. [`run`] and [`settings`] are what the command line is made of.
//!
//! Not here: how hosts come to be (`netsplit-provider`), what runs on them (`netsplit-agent`).

mod clock;
mod command;
mod connect;
mod core;
mod counted;
mod disk;
mod ends;
mod engine;
mod entropy;
mod error;
mod files;
mod gate;
pub mod here;
mod host;
mod interrupt;
mod network;
mod panics;
mod place;
mod process;
mod program;
mod recorder;
pub mod run;
pub mod settings;
mod simulate;
mod test;
mod testbed;
mod wait;

pub use netsplit_macros::{program, test};
pub use netsplit_model as model;
pub use netsplit_model::{Capability, HostName, Outcome, Reason, Stream, Verdict};
pub use netsplit_netmodel as netmodel;
pub use netsplit_provider::{
    CaptureReport, FaultReport, LatenessReport, LinkReport, NetworkReport, PortReport,
};
pub use netsplit_sim::Random;

#[doc(hidden)]
pub use crate::interrupt::is_ignored;
pub use crate::{
    clock::Clock,
    command::{IntoWords, Words, local, sh},
    connect::{Forward, HostStream},
    disk::{Disk, DiskFault},
    error::{Error, Result},
    files::{CopyTo, Fetched, Get, Put, Write},
    host::{Host, Hosts},
    network::{
        Between, Capture, Change, Fault, IntoGroups, IntoHosts, IntoLinks, Links, Network, check_fault,
        fault_words,
    },
    process::{Exit, IntoSignal, Output, Process, Run, Start, WaitForEnd, wait_all, wait_any},
    program::{Machine, Peer, machine},
    test::TestFailure,
    testbed::{Nested, Testbed},
    wait::{AtLeast, Find, Line, Never, Wait, eventually},
};

/// What a test file imports.
pub mod prelude {
    pub use std::time::Duration;

    pub use crate::{
        Between as _, Capability, Exit, Host, Line, Machine, Outcome, Process, Testbed, eventually, local,
        millis, secs, sh, wait_all, wait_any,
    };
}

/// So many seconds.
pub const fn secs(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}

/// So many milliseconds.
pub const fn millis(millis: u64) -> std::time::Duration {
    std::time::Duration::from_millis(millis)
}

/// For the code that the attributes make.
#[doc(hidden)]
pub mod __private {
    pub use linkme;
    pub use netsplit_provider::program::{PROGRAMS, Program};
    pub use netsplit_provider::simulation::{SIMULATIONS, Simulation};

    pub use crate::program::{AsProgram, run_program};
    pub use crate::simulate::simulate_seed;
    pub use crate::test::{Mode, RoleSpec, TestSpec, panic_if_failed, run_test};
}
