//! All processes of one command, and all of a host. A process group misses who called `setsid`, the children's tree
//! misses daemons (their parent is pid 1), so a command's processes are known by group, session, and the mark that each
//! inherits in its environment. Only a process that wipes its environment *and* daemonises is not found; it ends with
//! its host.

use std::collections::HashSet;
use std::fs;
use std::io;

use rustix::process::{Pid, Signal, kill_process};

use crate::system::{MARK, Tree};

/// Scans of /proc before we give up waiting for two that agree: a fork bomb is killed as far as it was seen.
const SCANS_MAX: usize = 50;

/// Sends `signal` once to every process of a command.
pub(super) fn signal(tree: &Tree, signal: Signal) {
    for pid in members(tree) {
        // It may have ended by itself.
        let _gone = kill_process(pid, signal);
    }
}

/// Ends every process of a command: first all are stopped, so that none can fork away, until two scans agree.
pub(super) fn kill(tree: &Tree) {
    let mut stopped = HashSet::new();
    for _ in 0..SCANS_MAX {
        let found = members(tree);
        if found.iter().all(|pid| stopped.contains(pid)) {
            break;
        }
        for pid in found {
            if stopped.insert(pid) {
                let _gone = kill_process(pid, Signal::STOP);
            }
        }
    }
    // Who still carries the mark is certainly one of them; a number that was reused meanwhile is not.
    signal(tree, Signal::KILL);
}

/// Whether no process of a command is left.
pub(super) fn is_empty(tree: &Tree) -> bool {
    members(tree).is_empty()
}

fn members(tree: &Tree) -> Vec<Pid> {
    let own = rustix::process::getpid();
    processes().filter(|pid| *pid != own && has(tree, *pid)).collect()
}

fn has(tree: &Tree, pid: Pid) -> bool {
    let Some(stat) = Stat::read(pid) else { return false };
    if stat.state == 'Z' || stat.state == 'X' {
        return false;
    }
    let leader = tree.leader.as_raw_nonzero().get();
    let is_led = stat.group == leader || stat.session == leader;
    if is_led && !tree.is_leaderless {
        return true;
    }
    // Another user's environment may be unreadable; then group and session must do.
    mark_of(pid).map_or(is_led, |mark| mark == tree.mark.as_bytes())
}

fn mark_of(pid: Pid) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    variables.find_map(|variable| Some(variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?.to_vec()))
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?))
}

struct Stat {
    state: char,
    group: i32,
    session: i32,
}

impl Stat {
    fn read(pid: Pid) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
    }

    /// `PID (NAME) STATE PPID GROUP SESSION …`; the name may hold spaces and parentheses.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let group = fields.nth(1)?.parse().ok()?;
        Some(Self { state, group, session: fields.next()?.parse().ok()? })
    }
}

/// Stops all processes but this one, which must be pid 1 of its namespace. Returns those that were stopped before.
pub(super) fn freeze() -> io::Result<Vec<Pid>> {
    let is_stopped = |pid: &Pid| Stat::read(*pid).is_some_and(|stat| stat.state == 'T');
    let before = processes().filter(is_stopped).collect();
    signal_all(Signal::STOP)?;
    Ok(before)
}

/// Lets all go on but `stopped`.
pub(super) fn thaw(stopped: &[Pid]) -> io::Result<()> {
    signal_all(Signal::CONT)?;
    for pid in stopped {
        let _gone = kill_process(*pid, Signal::STOP);
    }
    Ok(())
}

/// `kill(-1)`: atomic against fork.
fn signal_all(signal: Signal) -> io::Result<()> {
    assert!(
        rustix::process::getpid().is_init(),
        "outside a pid namespace of our own this would hit strangers"
    );
    match rustix::process::kill_process_group(Pid::INIT, signal) {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    fn tree(child: &std::process::Child, mark: &str) -> Tree {
        Tree { leader: Pid::from_child(child), mark: mark.to_owned(), is_leaderless: false }
    }

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let stat = Stat::parse("12 (a) b) (c) S 1 10 11 0 -1 4194560").unwrap();
        assert_eq!((stat.state, stat.group, stat.session), ('S', 10, 11));
        assert!(Stat::parse("12 (a").is_none());
    }

    #[test]
    fn a_process_that_left_its_session_is_found_by_its_mark() {
        let mut child = std::process::Command::new("setsid")
            .args(["--fork", "sh", "-c", "sleep 100 & sleep 100"])
            .env(MARK, "tree-test.1")
            .spawn()
            .unwrap();
        let tree = tree(&child, "tree-test.1");
        while members(&tree).len() < 3 {
            child.try_wait().unwrap();
            std::thread::yield_now();
        }
        kill(&tree);
        while !is_empty(&tree) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }

    /// The number of a leader that was reaped may lead another command by now.
    #[test]
    fn a_group_counts_without_its_leader_unless_it_is_marked_otherwise() {
        let start = |mark: Option<&str>| {
            let mut command = std::process::Command::new("sleep");
            command.arg("100").env_clear().envs(mark.map(|mark| (MARK, mark))).process_group(0);
            let child = command.spawn().unwrap();
            let mut tree = tree(&child, "tree-test.2");
            let led = has(&tree, tree.leader);
            tree.is_leaderless = true;
            let left = has(&tree, tree.leader);
            kill_process(tree.leader, Signal::KILL).unwrap();
            (child, led, left)
        };
        for (mark, is_ours) in [(None, true), (Some("tree-test.2"), true), (Some("tree-test.3"), false)] {
            let (mut child, led, left) = start(mark);
            child.wait().unwrap();
            assert_eq!((led, left), (true, is_ours), "{mark:?}");
        }
    }
}
