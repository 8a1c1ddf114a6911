//! The file system of a host: this machine's folders with a layer of the host's own over each, and folders that are the
//! host's alone.
//!
//! An overlay a top-level folder, for root too: `lowerdir=/` is refused in a user namespace (locked mounts below it),
//! and one way is easier to trust than two. Where even that is refused, because something is mounted below the folder
//! or because layers are stacked too deep, the folder is bound read-only.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    unmount,
};

use super::control::{Step, StepError};
use crate::sys;

/// Folders that every host has for itself, with their modes.
const OWN: [(&str, u32); 14] = [
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("root", 0o700),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/local", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o755),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
    ("boot", 0o755),
];
/// Folders that are made anew each time a host comes up.
const FRESH: [&str; 5] = ["proc", "sys", "dev", "tmp", "run"];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What lies at the top of this machine's root.
#[derive(Clone, Debug)]
pub(super) enum Top {
    /// A folder to put a layer over.
    Folder(String),
    /// A link, with what it says: `bin` → `usr/bin`.
    Link(String, PathBuf),
}

/// What a host's root is made of; the same for all hosts of a testbed.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    /// The stage's own file system, which holds every host's disk.
    pub(super) scratch: PathBuf,
    pub(super) top: Vec<Top>,
    /// Whether we are root of the machine: then overlays use trusted attributes, which rootless cannot set.
    pub(super) root: bool,
}

/// What is at the top of this machine's root and is to be seen on hosts.
pub(super) fn survey() -> io::Result<Vec<Top>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let own = OWN.iter().any(|(own, _)| *own == name) || FRESH.contains(&name.as_str());
        if own || name == "lost+found" {
            continue;
        }
        if let Ok(target) = fs::read_link(entry.path()) {
            found.push(Top::Link(name, target));
        } else if entry.file_type()?.is_dir() {
            found.push(Top::Folder(name));
        }
    }
    Ok(found)
}

/// One host's part of the stage's file system.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    base: PathBuf,
}

impl Disk {
    pub(super) fn of(ground: &Ground, host: &str) -> Self {
        Self { base: ground.scratch.join("hosts").join(host) }
    }

    /// Makes it, with a size of its own when `bytes` is not 0. The stage does this, so that it outlives the host.
    pub(super) fn make(&self, bytes: u64) -> Result<(), StepError> {
        make_folder(&self.base, 0o755).step("mkdir of a host's disk")?;
        if bytes > 0 {
            let options = cstring(&format!("mode=755,size={bytes}"))?;
            mount("netsplit", &self.base, "tmpfs", MountFlags::empty(), Some(&*options))
                .step("mount of a host's disk")?;
        }
        for part in ["root", "upper", "work"] {
            make_folder(&self.base.join(part), 0o755).step("mkdir in a host's disk")?;
        }
        Ok(())
    }

    /// Writes what /etc of this host says of itself. Before the layer is mounted: rootless, the files of the machine
    /// are nobody's, and could not be written through it.
    pub(super) fn write_names(&self, host: &str, names: &str) -> Result<(), StepError> {
        let etc = self.base.join("upper/etc");
        make_folder(&etc, 0o755).step("mkdir etc")?;
        let own =
            [("hosts", names.to_owned()), ("hostname", format!("{host}\n")), ("resolv.conf", String::new())];
        for (file, text) in own {
            fs::write(etc.join(file), text).step(format!("write /etc/{file}"))?;
        }
        Ok(())
    }
}

/// Builds the host's root and moves into it; nothing of the machine's other mounts is left in view. Returns the
/// folders that are read-only.
pub(super) fn enter(ground: &Ground, disk: &Disk) -> Result<Vec<String>, StepError> {
    let root = disk.base.join("root");
    // pivot_root wants a mount; a bind of the folder is one, and costs no second tmpfs.
    mount_bind(&root, &root).step("bind of the root")?;
    let mut read_only = Vec::new();
    for top in &ground.top {
        match top {
            Top::Link(name, target) => match symlink(target, root.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.step(format!("link /{name}"))?,
            },
            Top::Folder(name) => {
                if !layer(ground, disk, name)? {
                    read_only.push(format!("/{name}"));
                }
            }
        }
    }
    for (own, mode) in OWN {
        let path = root.join(own);
        if !path.exists() {
            make_folder(&path, mode).step(format!("mkdir /{own}"))?;
        }
    }
    for (link, target) in [("var/run", "/run"), ("var/lock", "/run/lock")] {
        let _there_already = symlink(target, root.join(link));
    }
    for fresh in FRESH {
        make_folder(&root.join(fresh), 0o755).step(format!("mkdir /{fresh}"))?;
    }
    build_fresh(&root)?;
    move_into(&root)?;
    Ok(read_only)
}

/// Puts the host's layer over `/name`; `false` when it had to be bound read-only.
fn layer(ground: &Ground, disk: &Disk, name: &str) -> Result<bool, StepError> {
    let target = disk.base.join("root").join(name);
    let (upper, work) = (disk.base.join("upper").join(name), disk.base.join("work").join(name));
    for folder in [&target, &upper, &work] {
        make_folder(folder, 0o755).step(format!("mkdir for /{name}"))?;
    }
    let lower = Path::new("/").join(name);
    copy_mode(&lower, &upper).step(format!("chmod /{name}"))?;
    let attributes = if ground.root { "" } else { ",userxattr" };
    let options = format!(
        "lowerdir={},upperdir={},workdir={}{attributes}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let options = cstring(&options)?;
    if mount("overlay", &target, "overlay", MountFlags::empty(), Some(&*options)).is_ok() {
        return Ok(true);
    }
    mount_bind_recursive(&lower, &target).step(format!("bind of /{name}"))?;
    sys::make_read_only(&target).step(format!("mount_setattr of /{name}"))?;
    if name == "etc" {
        bind_own_files(&upper, &target)?;
    }
    Ok(false)
}

/// A read-only /etc still has the host's own names.
fn bind_own_files(upper: &Path, etc: &Path) -> Result<(), StepError> {
    for file in ["hosts", "hostname", "resolv.conf"] {
        let target = etc.join(file);
        // A link would be followed to a file of the machine's.
        if fs::symlink_metadata(&target).is_ok_and(|data| data.is_file()) {
            mount_bind(upper.join(file), target).step(format!("bind of /etc/{file}"))?;
        }
    }
    Ok(())
}

fn build_fresh(root: &Path) -> Result<(), StepError> {
    let fresh = |name: &str, options: &std::ffi::CStr| {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", root.join(name), "tmpfs", flags, Some(options)).step(format!("mount /{name}"))
    };
    fresh("tmp", c"mode=1777")?;
    fresh("run", c"mode=755")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", root.join("proc"), "proc", flags, None).step("mount /proc")?;
    mount("sysfs", root.join("sys"), "sysfs", flags, None).step("mount /sys")?;
    let dev = root.join("dev");
    mount("tmpfs", &dev, "tmpfs", MountFlags::NOSUID, Some(c"mode=755,size=64k")).step("mount /dev")?;
    for device in DEVICES {
        let path = dev.join(device);
        fs::write(&path, "").step(format!("make /dev/{device}"))?;
        // mknod is refused in a user namespace.
        mount_bind(Path::new("/dev").join(device), &path).step(format!("bind of /dev/{device}"))?;
    }
    for folder in ["pts", "shm"] {
        make_folder(&dev.join(folder), 0o755).step(format!("mkdir /dev/{folder}"))?;
    }
    let terminals = c"newinstance,ptmxmode=0666,mode=620";
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", dev.join("pts"), "devpts", flags, Some(terminals)).step("mount /dev/pts")?;
    fresh("dev/shm", c"mode=1777")?;
    let links = [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
    ];
    for (name, target) in links {
        symlink(target, dev.join(name)).step(format!("link /dev/{name}"))?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a process of one thread, which becomes the host's")]
fn move_into(root: &Path) -> Result<(), StepError> {
    std::env::set_current_dir(root).step("chdir")?;
    // The old root goes on top of the new one and is then dropped: no folder for it is needed.
    rustix::process::pivot_root(".", ".").step("pivot_root")?;
    unmount(".", UnmountFlags::DETACH).step("umount of the old root")?;
    std::env::set_current_dir("/").step("chdir")
}

/// Makes the mounts of this namespace its own, and puts the stage's file system at `scratch`.
pub(super) fn prepare_stage(scratch: &Path) -> Result<(), StepError> {
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    mount_change("/", private).step("make mounts private")?;
    mount("netsplit", scratch, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(c"mode=755"))
        .step("mount tmpfs")?;
    make_folder(&scratch.join("hosts"), 0o755).step("mkdir")
}

/// Makes a folder with exactly this mode, whatever the umask.
fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn copy_mode(from: &Path, to: &Path) -> io::Result<()> {
    fs::set_permissions(to, fs::metadata(from)?.permissions())
}

fn cstring(text: &str) -> Result<std::ffi::CString, StepError> {
    std::ffi::CString::new(text).map_err(io::Error::from).step("a path with a NUL")
}
