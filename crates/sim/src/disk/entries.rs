//! Making, naming, moving and removing: which of it is allowed, with Linux's errors in Linux's order.

use super::names::Edit;
use super::node::{Body, Directory, Inode, Kind, Name, Node, entry_bytes};
use super::path::{Found, Last};
use super::{Disk, PATH_TARGET_MAX};
use crate::errno::{Errno, Result};

/// What opening gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What was opened.
    pub inode: Inode,
    /// What it is: who opens a device, a pipe or the like serves that.
    pub kind: Kind,
    /// Whether it was made.
    pub created: bool,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Box<[u8]>,
    /// What it means.
    pub inode: Inode,
    /// What that is.
    pub kind: Kind,
}

/// The bit of `O_TMPFILE` that is not `O_DIRECTORY`.
const TMPFILE: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

impl Disk {
    /// Opens what a path means, with the flags of open(2), or makes it with these permissions (the caller has applied its
    /// umask). It stays until as many [`close`](Self::close).
    pub fn open(&mut self, now: u64, at: Inode, path: &[u8], flags: i32, mode: u32) -> Result<Opened> {
        // With O_PATH all flags but three are ignored.
        let flags = if flags & libc::O_PATH == 0 { flags } else { flags & PATH_FLAGS };
        let create = flags & libc::O_CREAT != 0;
        let exclusive = create && flags & libc::O_EXCL != 0;
        let directory = flags & libc::O_DIRECTORY != 0;
        if create && directory || !directory && flags & TMPFILE != 0 {
            return Err(Errno::EINVAL);
        }
        if flags & TMPFILE != 0 {
            return self.open_nameless(now, at, path, flags, mode);
        }
        let follow = super::path::Follow { links: flags & libc::O_NOFOLLOW == 0 && !exclusive, create };
        match self.find(at, path, follow)? {
            Found::Node(..) if exclusive => Err(Errno::EEXIST),
            Found::Node(inode, directory) => self.open_node(now, inode, flags, directory),
            Found::Absent(directory, name) => {
                let name = Name::from(name);
                let inode = self.create(now, directory, name, Body::File(Default::default()), mode)?;
                Ok(self.opened(inode, true))
            }
        }
    }

    fn open_node(&mut self, now: u64, inode: Inode, flags: i32, directory: bool) -> Result<Opened> {
        let kind = self.node(inode).kind();
        if flags & libc::O_CREAT != 0 && kind == Kind::Directory {
            return Err(Errno::EISDIR);
        }
        if (directory || flags & libc::O_DIRECTORY != 0) && kind != Kind::Directory {
            return Err(Errno::ENOTDIR);
        }
        if flags & libc::O_PATH == 0 {
            let writes = flags & (libc::O_ACCMODE | libc::O_TRUNC) != 0;
            match kind {
                Kind::Symlink => return Err(Errno::ELOOP),
                Kind::Directory if writes => return Err(Errno::EISDIR),
                Kind::Socket => return Err(Errno::ENXIO),
                Kind::File if flags & libc::O_TRUNC != 0 => self.truncate(now, inode, 0)?,
                _ => {}
            }
        }
        Ok(self.opened(inode, false))
    }

    /// A file without a name, on the disk of this directory (`O_TMPFILE`).
    fn open_nameless(&mut self, now: u64, at: Inode, path: &[u8], flags: i32, mode: u32) -> Result<Opened> {
        if flags & libc::O_ACCMODE == libc::O_RDONLY {
            return Err(Errno::EINVAL);
        }
        let directory = self.resolve(at, path, flags & libc::O_NOFOLLOW == 0)?;
        self.node(directory).directory()?;
        self.room(0)?;
        let mut node = Node::new(Body::File(Default::default()), now, mode);
        node.linkable = flags & libc::O_EXCL == 0;
        let inode = self.insert(node);
        Ok(self.opened(inode, true))
    }

    fn opened(&mut self, inode: Inode, created: bool) -> Opened {
        self.hold(inode);
        Opened { inode, kind: self.node(inode).kind(), created }
    }

    /// Counts one more that has it open: a descriptor that was duplicated, a process whose working directory it is.
    pub fn hold(&mut self, inode: Inode) {
        self.node_mut(inode).opens += 1;
    }

    /// Ends an [`open`](Self::open) or a [`hold`](Self::hold).
    pub fn close(&mut self, inode: Inode) {
        let node = self.node_mut(inode);
        debug_assert!(node.opens > 0, "closed no more often than opened");
        node.opens = node.opens.saturating_sub(1);
        self.settle(inode);
    }

    /// Makes a directory, as mkdir(2).
    pub fn make_directory(&mut self, now: u64, at: Inode, path: &[u8], mode: u32) -> Result<Inode> {
        let (directory, name) = self.vacant(at, path, true)?;
        self.create(now, directory, name, Body::Directory(Directory::new(directory)), mode)
    }

    /// Makes a file, pipe, socket or device, as mknod(2). What has a call of its own is `EINVAL`.
    pub fn make_node(&mut self, now: u64, at: Inode, path: &[u8], kind: Kind, mode: u32) -> Result<Inode> {
        let body = match kind {
            Kind::File => Body::File(Default::default()),
            Kind::Directory | Kind::Symlink => return Err(Errno::EINVAL),
            kind => Body::Special(kind),
        };
        let (directory, name) = self.vacant(at, path, false)?;
        self.create(now, directory, name, body, mode)
    }

    /// Makes a symbolic link that leads to `target`, as symlink(2).
    pub fn make_symlink(&mut self, now: u64, target: &[u8], at: Inode, path: &[u8]) -> Result<Inode> {
        match target.len() {
            0 => return Err(Errno::ENOENT),
            PATH_TARGET_MAX.. => return Err(Errno::ENAMETOOLONG),
            _ => {}
        }
        let (directory, name) = self.vacant(at, path, false)?;
        self.create(now, directory, name, Body::Symlink(target.into()), 0o777)
    }

    /// Where a symbolic link leads.
    pub fn read_link(&self, inode: Inode) -> Result<&[u8]> {
        match &self.node(inode).body {
            Body::Symlink(target) => Ok(target),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Gives a node one more name, as link(2); a directory cannot have it, nor what lost its last one.
    pub fn link(&mut self, now: u64, inode: Inode, at: Inode, path: &[u8]) -> Result<()> {
        let (directory, name) = self.vacant(at, path, false)?;
        let node = self.node(inode);
        if node.is_directory() {
            return Err(Errno::EPERM);
        }
        if node.links == 0 && !node.linkable {
            return Err(Errno::ENOENT);
        }
        let nameless = node.links == 0;
        self.room_for_name(directory, &name)?;
        let number = self.edit(now, vec![Edit { directory, name, to: Some(inode) }], false);
        if nameless {
            self.node_mut(inode).birth = Some(number);
        }
        Ok(())
    }

    /// Takes a name from what is no directory, as unlink(2).
    pub fn unlink(&mut self, now: u64, at: Inode, path: &[u8]) -> Result<()> {
        let place = self.place(at, path)?;
        let Last::Name(name) = place.last else { return Err(Errno::EISDIR) };
        let inode = self.entry(place.directory, name)?.ok_or(Errno::ENOENT)?;
        if self.node(inode).is_directory() {
            return Err(Errno::EISDIR);
        }
        if place.slash {
            return Err(Errno::ENOTDIR);
        }
        let (directory, name) = (place.directory, Name::from(name));
        self.edit(now, vec![Edit { directory, name, to: None }], false);
        Ok(())
    }

    /// Removes an empty directory, as rmdir(2).
    pub fn remove_directory(&mut self, now: u64, at: Inode, path: &[u8]) -> Result<()> {
        let place = self.place(at, path)?;
        let name = match place.last {
            Last::Name(name) => name,
            Last::Dot => return Err(Errno::EINVAL),
            Last::DotDot => return Err(Errno::ENOTEMPTY),
            Last::Root => return Err(Errno::EBUSY),
        };
        let inode = self.entry(place.directory, name)?.ok_or(Errno::ENOENT)?;
        if !self.node(inode).directory()?.names.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        let (directory, name) = (place.directory, Name::from(name));
        self.edit(now, vec![Edit { directory, name, to: None }], false);
        Ok(())
    }

    /// What is in a directory, "." and ".." apart, in an order that is neither that of the names nor that of their making,
    /// and the same whenever the names are.
    pub fn list(&self, directory: Inode) -> Result<Vec<Entry>> {
        let names = &self.node(directory).directory()?.names;
        let entry = |(name, inode): (&Name, &Inode)| {
            let kind = self.node(*inode).kind();
            Entry { name: Box::from(&**name), inode: *inode, kind }
        };
        let mut entries: Vec<_> = names.iter().map(entry).collect();
        entries.sort_by_cached_key(|entry| scattered(&entry.name));
        Ok(entries)
    }

    /// Where something new can get a name.
    fn vacant(&self, at: Inode, path: &[u8], directory: bool) -> Result<(Inode, Name)> {
        let place = self.place(at, path)?;
        let Last::Name(name) = place.last else { return Err(Errno::EEXIST) };
        if self.entry(place.directory, name)?.is_some() {
            return Err(Errno::EEXIST);
        }
        if place.slash && !directory {
            return Err(Errno::ENOENT);
        }
        Ok((place.directory, Name::from(name)))
    }

    fn create(&mut self, now: u64, directory: Inode, name: Name, body: Body, mode: u32) -> Result<Inode> {
        let more = self.room_for_name(directory, &name)?;
        let own = u64::from(matches!(body, Body::Directory(_)));
        self.room(more + own)?;
        let inode = self.insert(Node::new(body, now, mode));
        let number = self.edit(now, vec![Edit { directory, name, to: Some(inode) }], false);
        self.node_mut(inode).birth = Some(number);
        Ok(inode)
    }

    /// That a directory is still there and can hold one more name. Pages that it takes.
    pub(super) fn room_for_name(&self, directory: Inode, name: &[u8]) -> Result<u64> {
        let node = self.node(directory);
        if node.links == 0 {
            return Err(Errno::ENOENT);
        }
        let directory = node.directory()?;
        let more = directory.pages(entry_bytes(name)) - directory.pages(0);
        if more > self.free_pages() { Err(Errno::ENOSPC) } else { Ok(more) }
    }
}

/// Of the flags of open(2), those that count beside `O_PATH`.
const PATH_FLAGS: i32 = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;

/// A hash (FNV-1a) in whose order names are listed, as ext4 lists them by a hash: programs that take some other order for
/// granted are wrong, and here they see it.
fn scattered(name: &[u8]) -> u64 {
    name.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
