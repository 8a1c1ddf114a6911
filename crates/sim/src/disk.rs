//! The files of one simulated host, in memory: POSIX's semantics with Linux's errors. Nothing here does I/O, reads a clock
//! or holds a random state: `now` and [`Random`](crate::Random) are arguments. Descriptors, offsets, working directories,
//! umask and who waits for a lock are the kernel's.
//!
//! Start at [`Disk`]. Nodes are found by [`resolve`](Disk::resolve) and [`open`](Disk::open), each from a directory and a
//! path, and then used by their [`Inode`]. [`Faults`] is what is wrong with a disk, [`Locks`] who has locked what.
//!
//! # What survives power loss
//!
//! What programs may rely on of ext4 (`data=ordered`, default options), and no more than that:
//!
//! | done | survives [`Crash::Strict`] | survives [`Crash::Chance`] |
//! | --- | --- | --- |
//! | fsync of a file | its contents, size and attributes as of then | at least these |
//! | fdatasync of a file | its contents and size as of then; not mode, owner, times | at least these |
//! | fsync or fdatasync of a file that is new | also the name it was made with, and the directories above it | as before |
//! | fsync of a directory | all that happened to its names, and what came before on the same nodes | at least that |
//! | sync, syncfs | everything | everything |
//! | writes, truncation, chmod … of a file, not synced | none | for each file the first few, by chance, in order |
//! | the same with [`Faults::torn`] | none | the first few, and any 512-byte sectors of later writes before a cut |
//! | names made, moved, removed, not synced | none | for each directory the first few, by chance, in order |
//! | rename over a file, not synced | the old file | the old or the new one, never neither, never both names |
//! | rename of a file whose contents were not synced | | a file under the new name that may be empty |
//!
//! An operation on names is atomic, also between two directories. It never survives without the earlier ones on the same
//! directories and files: a file that was linked elsewhere and then unlinked here is somewhere.
//!
//! Weaker than ext4, on purpose: an fsync of anything commits all of ext4's journal, of which programs do not know;
//! a file's fsync does not make its *rename* durable; a rename over a file does not flush the new one (`auto_da_alloc`).
//! Stronger: what was not written back is lost without age, Linux writes back what is older than 30 s; only past limits
//! (16 MiB of changes of a file, 8192 operations on names) is the older half made durable. Within one write nothing is
//! torn unless asked for.
//!
//! # What is simplified
//!
//! | matter | here |
//! | --- | --- |
//! | users | everybody is root: permissions are kept and told, and only execution is refused by them |
//! | mounts | one file system, `/tmp`, `/run` and `/dev/shm` on it: no `EXDEV`; whoever starts a host empties them |
//! | reading | changes no times (`noatime`) |
//! | space | blocks of 4 KiB for contents and directories; one inode for each 16 KiB of capacity; symbolic links are free |
//! | a directory that was removed, still open | is empty, and has no ".." |
//! | mmap, extended attributes, quotas, leases, mandatory locks, inotify | none |

mod changes;
mod durable;
mod entries;
mod faults;
mod file;
mod locks;
mod names;
mod node;
mod pages;
mod path;
mod rename;
#[cfg(test)]
mod tests;

pub use durable::Crash;
pub use entries::{Entry, Opened};
pub use faults::{Cost, Faults, Operation};
pub use file::{Allocate, SIZE_MAX, Sought};
pub use locks::{Held, Lock, Locks, Owner};
pub use node::{Device, Inode, Kind, Stat};

use names::Pending;
use node::{Body, Directory, Node};
use pages::PAGE;

use crate::errno::{Errno, Result};

/// Bytes of a name.
pub const NAME_MAX: usize = 255;
/// Bytes from which on a symbolic link's target is too long.
const PATH_TARGET_MAX: usize = 4096;
/// Bytes of a disk that was not given another capacity.
const CAPACITY: u64 = 1 << 30;
/// Bytes of capacity for each inode, as mke2fs gives.
const BYTES_PER_INODE: u64 = 16 << 10;
/// Inodes that even the smallest disk has: for what is on it from the begin, and some.
const INODES_MIN: u64 = 64;

/// The files of one host, from its root.
#[derive(Debug)]
pub struct Disk {
    nodes: Vec<Option<Node>>,
    /// Inodes to be used again, the next one last.
    free: Vec<Inode>,
    /// Nodes that are named or open.
    live: u64,
    /// Pages that these take.
    used: u64,
    /// Pages that there are.
    pages: u64,
    inodes: u64,
    pending: Pending,
    locks: Locks,
    faults: Faults,
    /// When a disk with a rate is done with what it was asked for.
    busy_until: u64,
}

/// Space on a disk, as statvfs(3) tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes of a block.
    pub block: u64,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks that are free.
    pub blocks_free: u64,
    /// Inodes in all.
    pub inodes: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
}

impl Disk {
    /// A disk of so many bytes, by default 1 GiB, with the directories and devices of a host on it, durable.
    pub fn new(capacity: Option<u64>) -> Self {
        let capacity = capacity.unwrap_or(CAPACITY);
        let mut disk = Self {
            nodes: Vec::new(),
            free: Vec::new(),
            live: 0,
            used: 0,
            pages: u64::MAX,
            inodes: u64::MAX,
            pending: Pending::default(),
            locks: Locks::default(),
            faults: Faults::default(),
            busy_until: 0,
        };
        let root = disk.insert(Node::new(Body::Directory(Directory::new(Inode::ROOT)), 0, 0o755));
        disk.node_mut(root).links = 1;
        disk.furnish();
        disk.sync_all();
        disk.pages = capacity / PAGE;
        disk.inodes = (capacity / BYTES_PER_INODE).max(INODES_MIN);
        disk
    }

    /// Lays what every host has. All of it is new, on a disk without limits: nothing of it can fail.
    fn furnish(&mut self) {
        for (path, mode) in DIRECTORIES {
            let made = self.make_directory(0, Inode::ROOT, path.as_bytes(), mode);
            debug_assert!(made.is_ok(), "{path}");
        }
        for (path, device) in DEVICES {
            let made = self.make_node(0, Inode::ROOT, path.as_bytes(), Kind::Device(device), 0o666);
            debug_assert!(made.is_ok(), "{path}");
        }
    }

    /// Lays a file with these contents, in place of what had the path, and the directories above it; durable, as if it had
    /// been there from the begin.
    pub fn install(&mut self, now: u64, path: &[u8], contents: &[u8], mode: u32) -> Result<Inode> {
        for (end, _) in path.iter().enumerate().filter(|(at, byte)| **byte == b'/' && *at > 0) {
            match self.make_directory(now, Inode::ROOT, &path[..end], 0o755) {
                Ok(_) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        let flags = libc::O_CREAT | libc::O_TRUNC | libc::O_WRONLY;
        let inode = self.open(now, Inode::ROOT, path, flags, mode)?.inode;
        let mut written = Ok(0);
        if !contents.is_empty() {
            written = self.write_at(now, inode, 0, contents);
        }
        let honest = std::mem::take(&mut self.faults.lost_sync);
        self.sync(inode);
        self.faults.lost_sync = honest;
        self.close(inode);
        if written? < contents.len() { Err(Errno::ENOSPC) } else { Ok(inode) }
    }

    /// Removes all that is in a directory, durable or not, as if it had been in memory.
    pub fn empty(&mut self, now: u64, directory: &[u8]) -> Result<()> {
        let inode = self.resolve(Inode::ROOT, directory, true)?;
        for entry in self.list(inode)? {
            let path = [directory, b"/", &entry.name].concat();
            if entry.kind == Kind::Directory {
                self.empty(now, &path)?;
                self.remove_directory(now, Inode::ROOT, &path)?;
            } else {
                self.unlink(now, Inode::ROOT, &path)?;
            }
        }
        Ok(())
    }

    /// What is in the file that a path from the root means.
    pub fn contents(&self, path: &[u8]) -> Result<Vec<u8>> {
        let inode = self.resolve(Inode::ROOT, path, true)?;
        let size = self.stat(inode).size;
        let mut contents = vec![0; usize::try_from(size).map_err(|_| Errno::EFBIG)?];
        self.read_at(inode, 0, &mut contents)?;
        Ok(contents)
    }

    /// What stat(2) tells of a node.
    pub fn stat(&self, inode: Inode) -> Stat {
        self.node(inode).stat(inode)
    }

    /// Whether access(2) lets root do this with a node: all but execute what nobody may.
    pub fn access(&self, inode: Inode, wanted: i32) -> Result<()> {
        let node = self.node(inode);
        let refused = wanted & libc::X_OK != 0 && !node.is_directory() && node.attributes.mode & 0o111 == 0;
        if refused { Err(Errno::EACCES) } else { Ok(()) }
    }

    /// Changes permissions, as chmod(2). Those of a symbolic link cannot be (`ENOTSUP`).
    pub fn set_mode(&mut self, now: u64, inode: Inode, mode: u32) -> Result<()> {
        let node = self.node_mut(inode);
        if matches!(node.body, Body::Symlink(_)) {
            return Err(Errno::ENOTSUP);
        }
        node.attributes.mode = mode & 0o7777;
        node.touch(now);
        Ok(())
    }

    /// Changes the owner, the group or both, as chown(2).
    pub fn set_owner(&mut self, now: u64, inode: Inode, uid: Option<u32>, gid: Option<u32>) {
        let node = self.node_mut(inode);
        node.attributes.uid = uid.unwrap_or(node.attributes.uid);
        node.attributes.gid = gid.unwrap_or(node.attributes.gid);
        node.touch(now);
    }

    /// Changes when it was accessed, modified or both, as utimensat(2).
    pub fn set_times(&mut self, now: u64, inode: Inode, accessed: Option<u64>, modified: Option<u64>) {
        let node = self.node_mut(inode);
        node.attributes.atime = accessed.unwrap_or(node.attributes.atime);
        node.attributes.mtime = modified.unwrap_or(node.attributes.mtime);
        node.touch(now);
    }

    /// Who has locked what.
    pub fn locks(&mut self) -> &mut Locks {
        &mut self.locks
    }

    /// Space, and what of it is free.
    pub fn space(&self) -> Space {
        Space {
            block: PAGE,
            blocks: self.pages,
            blocks_free: self.free_pages(),
            inodes: self.inodes,
            inodes_free: self.inodes.saturating_sub(self.live),
        }
    }

    fn free_pages(&self) -> u64 {
        if self.faults.full { 0 } else { self.pages.saturating_sub(self.used) }
    }

    /// That there is room for one more node of so many pages.
    fn room(&self, pages: u64) -> Result<()> {
        let full = self.faults.full || self.live >= self.inodes || pages > self.free_pages();
        if full { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    fn insert(&mut self, node: Node) -> Inode {
        self.live += 1;
        self.used += node.pages();
        if let Some(inode) = self.free.pop() {
            self.nodes[inode.0 as usize] = Some(node);
            return inode;
        }
        self.nodes.push(Some(node));
        Inode(u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX))
    }
}

/// The directories of a host.
const DIRECTORIES: [(&str, u32); 17] = [
    ("/bin", 0o755),
    ("/dev", 0o755),
    ("/dev/shm", 0o1777),
    ("/etc", 0o755),
    ("/home", 0o755),
    ("/opt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/srv", 0o755),
    ("/tmp", 0o1777),
    ("/usr", 0o755),
    ("/var", 0o755),
    ("/var/cache", 0o755),
    ("/var/lib", 0o755),
    ("/var/log", 0o755),
    ("/var/tmp", 0o1777),
];

/// The devices of a host.
const DEVICES: [(&str, Device); 6] = [
    ("/dev/full", Device::Full),
    ("/dev/null", Device::Null),
    ("/dev/random", Device::Random),
    ("/dev/tty", Device::Tty),
    ("/dev/urandom", Device::Random),
    ("/dev/zero", Device::Zero),
];
