//! What is left of a tree of this machine's processes once its root is killed: processes, namespaces, mounts, devices,
//! groups, temporary files.
//!
//! Two traps (research/namespace-hosts.md §3). Orphans wait for the machine's first process, which may look after them
//! late or never, and a zombie keeps its namespaces: so the counting process must be a subreaper, and reaps. And an
//! exiting process has lost its command line before it is gone: so a process counts by its number and its namespaces,
//! never by its name. Namespaces have numbers that are given again; who holds one must be older than the count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, wait};

/// A process of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// When it began, in clock ticks since the machine did.
    pub began: u64,
    /// Its state, as in /proc.
    pub state: char,
}

/// Makes this process the parent of all orphans below it.
///
/// # Errors
/// The kernel's.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// All processes of this machine.
///
/// # Panics
/// Without /proc.
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries.flatten().filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The process with this number.
pub fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let (state, parent, began) = (fields.first()?.chars().next()?, fields.get(1)?, fields.get(19)?);
    Some(Process { pid, parent: parent.parse().ok()?, began: began.parse().ok()?, state })
}

/// The time in clock ticks since the machine began, as processes' beginnings are counted.
///
/// # Panics
/// Without /proc.
pub fn ticks() -> u64 {
    let uptime = fs::read_to_string("/proc/uptime").expect("/proc/uptime");
    let hundredths: String = uptime.split(' ').next().unwrap_or_default().replace('.', "");
    hundredths.parse::<u64>().expect("a number") * rustix::param::clock_ticks_per_second() / 100
}

/// The children of a process, the oldest first.
pub fn children(of: i32) -> Vec<Process> {
    let mut found: Vec<_> = processes().into_iter().filter(|process| process.parent == of).collect();
    found.sort_by_key(|process| (process.began, process.pid));
    found
}

/// Everything below a process.
pub fn descendants(of: i32) -> Vec<Process> {
    let all = processes();
    let mut known = BTreeSet::from([of]);
    loop {
        let more: Vec<_> = all
            .iter()
            .filter(|process| known.contains(&process.parent) && !known.contains(&process.pid))
            .map(|process| process.pid)
            .collect();
        if more.is_empty() {
            known.remove(&of);
            return all.into_iter().filter(|process| known.contains(&process.pid)).collect();
        }
        known.extend(more);
    }
}

/// The process of a command: the oldest that carries its mark, as the agent gives it to every child.
pub fn marked(run: &str, process: &str) -> Option<i32> {
    let mark = format!("NETSPLIT_PROCESS={run}.{process}");
    let carries = |pid: i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let mut all: Vec<_> = processes().into_iter().filter(|process| carries(process.pid)).collect();
    all.sort_by_key(|process| (process.began, process.pid));
    all.first().map(|process| process.pid)
}

/// Ends a process as `kill -9` does.
pub fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended by itself.
        let _gone = kill_process(pid, Signal::KILL);
    }
}

/// What a tree of processes holds that must go with it.
#[derive(Debug, Default)]
pub struct Holdings {
    /// Its processes, with when they began.
    pub processes: BTreeMap<i32, u64>,
    /// Its namespaces, `net:[4026532000]`, but for those that this process is in as well.
    pub namespaces: BTreeSet<String>,
}

impl Holdings {
    /// Adds what is there now below `root`, which may be over before it was looked at.
    pub fn note(&mut self, root: i32) {
        let own: BTreeSet<_> = namespaces_of(std::process::id().cast_signed()).collect();
        for process in process(root).into_iter().chain(descendants(root)) {
            self.processes.insert(process.pid, process.began);
            self.namespaces.extend(namespaces_of(process.pid).filter(|name| !own.contains(name)));
        }
    }

    /// What of it is still there: processes, and whoever holds one of its namespaces and is older than `ticks`.
    pub fn left(&self, ticks: u64) -> Vec<String> {
        let mut left = Vec::new();
        for process in processes() {
            let is_ours = self.processes.get(&process.pid) == Some(&process.began);
            let held = || held_by(process.pid).find(|name| self.namespaces.contains(name));
            if is_ours {
                left.push(format!("process {} ({})", process.pid, process.state));
            } else if let Some(name) = (process.began <= ticks).then(held).flatten() {
                left.push(format!("{name}, held by process {}", process.pid));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        left.extend(mounts.lines().filter(|line| is_ours(line)).map(str::to_owned));
        left
    }
}

fn namespaces_of(pid: i32) -> impl Iterator<Item = String> {
    links(format!("/proc/{pid}/ns"))
}

/// Namespaces that a process is in or holds by a descriptor.
fn held_by(pid: i32) -> impl Iterator<Item = String> {
    namespaces_of(pid).chain(links(format!("/proc/{pid}/fd")).filter(|name| name.contains(":[")))
}

fn links(folder: String) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(fs::read_link(entry.path()).ok()?.to_str()?.to_owned()))
}

/// A mount of a testbed's that this process sees, which it must not.
fn is_ours(mount: &str) -> bool {
    let source = mount.split(" - ").nth(1).and_then(|right| right.split(' ').nth(1));
    source == Some("netsplit") || mount.contains(" nsfs ")
}

/// What is on this machine outside of processes: network devices, our groups, our temporary files.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    devices: BTreeSet<String>,
    groups: BTreeSet<PathBuf>,
    temporary: BTreeSet<String>,
}

impl Machine {
    /// As it is now.
    pub fn now() -> Self {
        let groups = Path::new("/sys/fs/cgroup");
        let near = [groups.to_owned(), groups.join("unified")];
        let groups = near.iter().flat_map(|parent| {
            names(parent)
                .into_iter()
                .filter(|name| is_stale(name))
                .map(|name| parent.join(name))
                .collect::<Vec<_>>()
        });
        let temporary = names(&std::env::temp_dir()).into_iter().filter(|name| name.contains("netsplit"));
        Self {
            devices: names(Path::new("/sys/class/net")),
            groups: groups.collect(),
            temporary: temporary.collect(),
        }
    }

    /// What is there now and was not then.
    pub fn since(&self, then: &Self) -> Vec<String> {
        let devices = self.devices.difference(&then.devices).cloned();
        let groups = self.groups.difference(&then.groups).map(|path| path.display().to_string());
        devices.chain(groups).chain(self.temporary.difference(&then.temporary).cloned()).collect()
    }
}

/// A group of ours whose keeper is over. Others are in use, by tests beside this one.
fn is_stale(group: &str) -> bool {
    let keeper = group.strip_prefix("netsplit-").and_then(|keeper| keeper.parse().ok());
    keeper.is_some_and(|keeper| process(keeper).is_none())
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Reaps what has ended. Whether no child is left, running or not.
pub fn reap() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// Waits until `done`, for so long; gives how long it took.
///
/// # Errors
/// When it is not done in time.
pub fn until(within: Duration, mut done: impl FnMut() -> bool) -> Result<Duration, Duration> {
    let begun = Instant::now();
    loop {
        if done() {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > within {
            return Err(begun.elapsed());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
