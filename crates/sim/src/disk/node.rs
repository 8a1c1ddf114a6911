//! What a disk is made of: files, directories and what else has an inode; what stat(2) tells of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::changes::{Attributes, Changes, Durable};
use super::pages::{Contents, PAGE};
use crate::errno::{Errno, Result};

/// A name in a directory.
pub(super) type Name = Arc<[u8]>;
/// The names of a directory.
pub(super) type Names = BTreeMap<Name, Inode>;

/// A file, directory or other node of a disk. It stays valid while it has a name or is open, and is then used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Inode(pub(super) u32);

impl Inode {
    /// The directory `/`.
    pub const ROOT: Self = Self(0);

    /// Its number in stat(2) and readdir(3); that of the root is 2, as in ext4.
    pub fn number(self) -> u64 {
        u64::from(self.0) + 2
    }
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe; what is in it is not the disk's.
    Fifo,
    /// The name of a unix socket; the socket is not the disk's.
    Socket,
    /// A device; reading and writing it is not the disk's.
    Device(Device),
}

/// The devices of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// `/dev/null`.
    Null,
    /// `/dev/zero`.
    Zero,
    /// `/dev/full`.
    Full,
    /// `/dev/random` and `/dev/urandom`.
    Random,
    /// `/dev/tty`.
    Tty,
}

impl Kind {
    /// Its bits in `st_mode` (`S_IFMT`).
    pub fn bits(self) -> u32 {
        match self {
            Self::File => libc::S_IFREG,
            Self::Directory => libc::S_IFDIR,
            Self::Symlink => libc::S_IFLNK,
            Self::Fifo => libc::S_IFIFO,
            Self::Socket => libc::S_IFSOCK,
            Self::Device(_) => libc::S_IFCHR,
        }
    }

    /// Its `d_type` in a directory's entries.
    pub fn entry_type(self) -> u8 {
        match self {
            Self::File => libc::DT_REG,
            Self::Directory => libc::DT_DIR,
            Self::Symlink => libc::DT_LNK,
            Self::Fifo => libc::DT_FIFO,
            Self::Socket => libc::DT_SOCK,
            Self::Device(_) => libc::DT_CHR,
        }
    }
}

impl Device {
    /// Its major and minor number (Linux's devices.txt).
    pub fn number(self) -> (u32, u32) {
        match self {
            Self::Null => (1, 3),
            Self::Zero => (1, 5),
            Self::Full => (1, 7),
            Self::Random => (1, 9),
            Self::Tty => (5, 0),
        }
    }
}

/// What stat(2) tells. Times are nanoseconds of the clock that the disk was handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// `st_ino`.
    pub number: u64,
    /// What it is.
    pub kind: Kind,
    /// Permissions, without the kind's bits.
    pub mode: u32,
    /// Names it has; of a directory 2 and one more for each directory in it; 0 once it was removed.
    pub links: u32,
    /// Bytes; of a symbolic link its target's.
    pub size: u64,
    /// Space it takes, in units of 512 bytes.
    pub blocks: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// As it was set last. Reading does not: the disk is mounted `noatime`.
    pub accessed: u64,
    /// When the contents changed.
    pub modified: u64,
    /// When anything of it changed.
    pub changed: u64,
    /// When it was made.
    pub created: u64,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) attributes: Attributes,
    pub(super) durable: Durable,
    pub(super) changes: Changes,
    /// Names it has; a directory has one.
    pub(super) links: u32,
    pub(super) opens: u32,
    /// Durable names and pending operations that mean this node.
    pub(super) pins: u32,
    /// Neither linked nor open any longer: only what is durable of it is still there, for power loss may bring it back.
    pub(super) gone: bool,
    /// Whether a file without a name may be given one (`O_TMPFILE`).
    pub(super) linkable: bool,
    /// The operation that gave it its first name.
    pub(super) birth: Option<u64>,
    /// The last operation that meant it.
    pub(super) last: Option<u64>,
}

#[derive(Debug)]
pub(super) enum Body {
    File(Contents),
    Directory(Directory),
    Symlink(Box<[u8]>),
    Special(Kind),
}

#[derive(Debug)]
pub(super) struct Directory {
    pub(super) parent: Inode,
    pub(super) names: Names,
    /// The names that survive power loss.
    pub(super) durable: Names,
    /// How many directories are in it.
    pub(super) directories: u32,
    /// Bytes that its names take, as ext4 stores them.
    pub(super) bytes: u64,
}

/// Bytes that "." and ".." take in a directory, as in ext4.
const DOTS: u64 = 24;

impl Directory {
    pub(super) fn new(parent: Inode) -> Self {
        Self { parent, names: Names::new(), durable: Names::new(), directories: 0, bytes: DOTS }
    }

    /// Pages it takes; with `more` bytes of names.
    pub(super) fn pages(&self, more: u64) -> u64 {
        (self.bytes + more).div_ceil(PAGE)
    }

    pub(super) fn recount(&mut self) {
        self.bytes = DOTS + self.names.keys().map(|name| entry_bytes(name)).sum::<u64>();
    }
}

/// What a name takes in a directory: 8 bytes and its own, in units of four (`ext4_dir_entry_2`).
pub(super) fn entry_bytes(name: &[u8]) -> u64 {
    (8 + name.len() as u64).next_multiple_of(4)
}

impl Node {
    pub(super) fn new(body: Body, now: u64, mode: u32) -> Self {
        let (atime, mtime, ctime, btime) = (now, now, now, now);
        let attributes =
            Attributes { size: 0, mode: mode & 0o7777, uid: 0, gid: 0, atime, mtime, ctime, btime };
        Self {
            body,
            attributes,
            durable: Durable { contents: Contents::default(), attributes },
            changes: Changes::default(),
            links: 0,
            opens: 0,
            pins: 0,
            gone: false,
            linkable: false,
            birth: None,
            last: None,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match &self.body {
            Body::File(_) => Kind::File,
            Body::Directory(_) => Kind::Directory,
            Body::Symlink(_) => Kind::Symlink,
            Body::Special(kind) => *kind,
        }
    }

    pub(super) fn directory(&self) -> Result<&Directory> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub(super) fn directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    /// What reading and writing it means, or why neither is possible.
    pub(super) fn contents(&self) -> Result<&Contents> {
        match &self.body {
            Body::File(contents) => Ok(contents),
            Body::Directory(_) => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Pages that count against the disk's capacity.
    pub(super) fn pages(&self) -> u64 {
        match &self.body {
            Body::File(contents) => contents.count(),
            Body::Directory(directory) => directory.pages(0),
            Body::Symlink(_) | Body::Special(_) => 0,
        }
    }

    pub(super) fn stat(&self, inode: Inode) -> Stat {
        let attributes = &self.attributes;
        let (links, size) = match &self.body {
            Body::File(_) => (self.links, attributes.size),
            Body::Directory(_) if self.links == 0 => (0, 0),
            Body::Directory(directory) => (2 + directory.directories, directory.pages(0) * PAGE),
            Body::Symlink(target) => (self.links, target.len() as u64),
            Body::Special(_) => (self.links, 0),
        };
        Stat {
            number: inode.number(),
            kind: self.kind(),
            mode: attributes.mode,
            links,
            size,
            blocks: self.pages() * (PAGE / 512),
            uid: attributes.uid,
            gid: attributes.gid,
            accessed: attributes.atime,
            modified: attributes.mtime,
            changed: attributes.ctime,
            created: attributes.btime,
        }
    }

    /// Notes that its attributes are changed, at this time.
    pub(super) fn touch(&mut self, now: u64) {
        self.attributes.ctime = now;
        self.changes.end(self.attributes);
    }
}
