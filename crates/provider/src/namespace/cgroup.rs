//! Control groups of the second version, where root may make them: they pause a host without its programs noticing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

const PREFIX: &str = "netsplit-";

/// A group for all hosts of one testbed, with a group a host below it.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes the group; `None` where there is no second version, or no right to make one. Groups that keepers left
    /// which were killed together with their test are removed.
    pub(super) fn make() -> Option<Self> {
        let parent = own_group()?;
        remove_stale(&parent);
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        // A file system of another kind would have let us make the folder as well.
        path.join("cgroup.freeze").exists().then_some(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the group and those below it; their processes must have gone.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }
}

/// Puts a process into the group of its host.
pub(super) fn place(group: &Path, host: &str, pid: Pid) -> io::Result<()> {
    let path = group.join(host);
    match fs::create_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write(path.join("cgroup.procs"), pid.as_raw_nonzero().to_string())
}

/// Stops a host, or lets it go on.
pub(super) fn freeze(group: &Path, host: &str, frozen: bool) -> io::Result<()> {
    fs::write(group.join(host).join("cgroup.freeze"), if frozen { "1" } else { "0" })
}

/// Whether every process of the host has stopped.
pub(super) fn is_frozen(group: &Path, host: &str) -> io::Result<bool> {
    let events = fs::read_to_string(group.join(host).join("cgroup.events"))?;
    Ok(events.lines().any(|line| line == "frozen 1"))
}

/// The folder of the group that this process is in.
fn own_group() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        right.starts_with("cgroup2 ").then(|| left.split(' ').nth(4))?
    })?;
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(mount).join(own))
}

fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir(entry.path())?;
        }
    }
    fs::remove_dir(path)
}

fn remove_stale(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let keeper = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if keeper.is_some_and(|keeper| !Path::new(&format!("/proc/{keeper}")).exists()) {
            // Another keeper may be at it too; a group in use cannot be removed.
            let _in_use = remove(&entry.path());
        }
    }
}
