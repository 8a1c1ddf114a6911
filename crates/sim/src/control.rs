//! STUB, to compile against only: what a control process says to its simulation. To be replaced whole.
#![allow(missing_docs, unused_variables)]

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

pub fn is_simulated() -> bool {
    false
}

pub fn outside<T>(f: impl FnOnce() -> T) -> T {
    f()
}

pub fn now() -> Duration {
    unreachable!()
}

#[derive(Clone, Copy, Debug)]
pub struct Host;

#[derive(Debug)]
pub struct HostSpec {
    pub name: String,
    pub address: Ipv4Addr,
    pub address6: Ipv6Addr,
    pub disk: Option<u64>,
}

impl Host {
    pub fn add(spec: &HostSpec) -> Self {
        unreachable!()
    }
    pub fn write_file(self, path: &str, bytes: &[u8]) -> io::Result<()> {
        unreachable!()
    }
    pub fn spawn(self, spawn: Spawn) -> io::Result<Process> {
        unreachable!()
    }
    pub fn power_off(self) {}
    pub fn power_on(self) {}
    pub fn pause(self, is_paused: bool) {}
    pub fn jump_clock(self, nanos: i64) {}
    pub fn drift_clock(self, ppm: i32) {}
    pub fn set_disk_faults(self, faults: disk::Faults) {}
    pub fn index(self) -> usize {
        unreachable!()
    }
}

pub fn spawn(spawn: Spawn) -> io::Result<Process> {
    unreachable!()
}

pub struct Spawn {
    pub name: String,
    pub environment: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    pub group: Option<u32>,
    pub main: Box<dyn FnOnce() -> i32 + Send>,
}

impl std::fmt::Debug for Spawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub pid: u32,
}

impl Process {
    pub fn pidfd(self) -> io::Result<OwnedFd> {
        unreachable!()
    }
    pub fn exit(self) -> Option<Exit> {
        unreachable!()
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

pub fn signal(pid: u32, is_group: bool, signal: i32) -> usize {
    unreachable!()
}

pub fn network<T>(f: impl FnOnce(&mut net::Net, net::Nanos, &mut net::Outbox) -> T) -> T {
    unreachable!()
}

pub mod disk {
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Faults;
}

/// As the network's own is, and `fault_deadline`.
pub mod net {
    use std::time::Duration;

    use netsplit_netmodel::{Behaviour, Counters, Fault, FaultError, FaultState, FaultTurn};

    pub type Nanos = u64;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct HostIndex(pub u32);

    #[derive(Debug)]
    pub struct Outbox;

    #[derive(Debug)]
    pub struct Net;

    #[derive(Clone, Copy, Debug)]
    pub struct LinkReport<'n> {
        pub from: HostIndex,
        pub to: HostIndex,
        pub behaviour: &'n Behaviour,
        pub counters: &'n Counters,
    }

    impl Net {
        pub fn begin_fault(
            &mut self,
            now: Nanos,
            out: &mut Outbox,
            id: u64,
            fault: Fault,
        ) -> Result<(), FaultError> {
            unreachable!()
        }
        pub fn heal_fault(&mut self, now: Nanos, out: &mut Outbox, id: u64) -> Result<(), FaultError> {
            unreachable!()
        }
        pub fn faults(&self) -> impl Iterator<Item = (u64, &Fault, FaultState)> {
            std::iter::empty()
        }
        pub fn take_turns(&mut self) -> Vec<FaultTurn> {
            unreachable!()
        }
        pub fn behaviour(&self, from: HostIndex, to: HostIndex) -> Behaviour {
            unreachable!()
        }
        pub fn links(&self) -> impl Iterator<Item = LinkReport<'_>> {
            std::iter::empty()
        }
        pub fn corrupted(&self) -> u64 {
            unreachable!()
        }
        pub fn fault_deadline(&self) -> Option<Duration> {
            unreachable!()
        }
    }
}
