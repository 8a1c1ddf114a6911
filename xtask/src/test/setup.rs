//! What a fresh machine lacks: programs that some tests drive, and a user that is not root.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::shell;
use crate::user::{Ordinary, is_root};

/// Programs that suites drive, with their Debian packages. Without them those tests say that they are skipped.
const PROGRAMS: [(&str, &str); 5] = [
    ("etcd", "etcd-server"),
    ("etcdctl", "etcd-client"),
    ("iperf3", "iperf3"),
    ("ping", "iputils-ping"),
    ("tshark", "tshark"),
];
/// What TAP devices come from.
const TUN: &str = "/dev/net/tun";
/// What is no part of a checkout.
const NOT_SOURCE: [&str; 4] = ["target", ".git", ".netsplit", "corpus"];

/// Installs what is missing, as far as that can be done here. The ordinary user, when we are root.
pub(crate) fn machine() -> Result<Option<Ordinary>> {
    let missing: BTreeSet<_> =
        PROGRAMS.iter().filter(|(program, _)| !shell::has(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() || !is_root() || !shell::has("apt-get") {
        for package in &missing {
            println!("missing: {package}; what needs it is skipped");
        }
    } else {
        install(&missing)?;
    }
    if is_root() { Ordinary::get().map(Some) } else { Ok(None) }
}

fn install(packages: &BTreeSet<&str>) -> Result<()> {
    let apt = |words: &[&str]| {
        let mut command = shell::command("apt-get");
        // Services that come with packages are not started: tests start their own.
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").args(["-qq", "-y"]).args(words);
        shell::succeeds(&mut command)
    };
    let names: Vec<_> = packages.iter().copied().collect();
    let wanted = [&["install", "--no-install-recommends"], &names[..]].concat();
    // A machine that has not been asked for long has old lists.
    let installed = apt(&wanted)? || (apt(&["update"])? && apt(&wanted)?);
    if !installed {
        println!("{} cannot be installed; what needs it is skipped", names.join(" "));
    }
    Ok(())
}

/// As long as it lives every user may make TAP devices: in a namespace of their own, as the kernel means it.
pub(crate) struct OpenTun(Permissions);

impl OpenTun {
    /// `None` where they may already, or nobody can.
    pub(crate) fn begin() -> Option<Self> {
        let before = fs::metadata(TUN).ok()?.permissions();
        let is_closed = before.mode() & 0o006 != 0o006;
        (is_closed && fs::set_permissions(TUN, Permissions::from_mode(0o666)).is_ok()).then_some(Self(before))
    }
}

impl Drop for OpenTun {
    fn drop(&mut self) {
        let _removed_meanwhile = fs::set_permissions(TUN, self.0.clone());
    }
}

/// A copy of the checkout where every user may look at it.
pub(crate) fn reachable_copy() -> Result<tempfile::TempDir> {
    let folder = tempfile::Builder::new().prefix("xtask-checkout-").tempdir()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    copy_tree(&shell::root(), folder.path())?;
    Ok(folder)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if NOT_SOURCE.iter().any(|not| name == *not) {
            continue;
        }
        let target: PathBuf = to.join(&name);
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
