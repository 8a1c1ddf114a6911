//! From a path to a node or to a place for one, as `fs/namei.c` of Linux does it.

use super::node::{Body, Inode, Node};
use super::{Disk, NAME_MAX};
use crate::errno::{Errno, Result};

/// Bytes of a path, with the 0 at its end.
const PATH_MAX: usize = 4096;
/// Symbolic links that one path may lead through.
const LINKS_MAX: u32 = 40;

/// Where the last component of a path stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) directory: Inode,
    pub(super) last: Last<'a>,
    /// Whether the path ends in a slash, and so means a directory.
    pub(super) slash: bool,
}

/// The last component of a path.
#[derive(Clone, Copy)]
pub(super) enum Last<'a> {
    Name(&'a [u8]),
    Dot,
    DotDot,
    Root,
}

/// What open(2) found.
pub(super) enum Found<'a> {
    /// A node, and whether the path says it is a directory.
    Node(Inode, bool),
    /// Where one could be made.
    Absent(Inode, &'a [u8]),
}

/// How far a path's last component is followed.
#[derive(Clone, Copy)]
pub(super) struct Follow {
    /// Whether a symbolic link there is.
    pub(super) links: bool,
    /// Whether what is not there is to be made.
    pub(super) create: bool,
}

impl Disk {
    /// The node that a path means, beginning at the directory `at` unless it begins with a slash; if the last component is
    /// a symbolic link, what that leads to if `follow`.
    pub fn resolve(&self, at: Inode, path: &[u8], follow: bool) -> Result<Inode> {
        match self.find(at, path, Follow { links: follow, create: false })? {
            Found::Node(inode, directory) => {
                if directory {
                    self.node(inode).directory().map(|_| inode)
                } else {
                    Ok(inode)
                }
            }
            Found::Absent(..) => Err(Errno::ENOENT),
        }
    }

    /// As `resolve`, for an open(2) that may make a file.
    pub(super) fn find<'a>(&'a self, at: Inode, path: &'a [u8], follow: Follow) -> Result<Found<'a>> {
        self.find_on(at, path, follow, &mut 0)
    }

    fn find_on<'a>(
        &'a self,
        at: Inode,
        path: &'a [u8],
        follow: Follow,
        links: &mut u32,
    ) -> Result<Found<'a>> {
        let (mut at, mut path, mut directory) = (at, path, false);
        loop {
            let place = self.walk(at, path, links)?;
            directory |= place.slash;
            let Last::Name(name) = place.last else { return Ok(Found::Node(self.dots(place)?, directory)) };
            if follow.create && place.slash {
                return Err(Errno::EISDIR);
            }
            let Some(inode) = self.entry(place.directory, name)? else {
                return if follow.create {
                    Ok(Found::Absent(place.directory, name))
                } else {
                    Err(Errno::ENOENT)
                };
            };
            match &self.node(inode).body {
                Body::Symlink(target) if follow.links || directory => {
                    count(links)?;
                    (at, path) = (place.directory, target);
                }
                _ => return Ok(Found::Node(inode, directory)),
            }
        }
    }

    /// The place that a path's last component has.
    pub(super) fn place<'a>(&'a self, at: Inode, path: &'a [u8]) -> Result<Place<'a>> {
        self.walk(at, path, &mut 0)
    }

    fn walk<'a>(&'a self, at: Inode, path: &'a [u8], links: &mut u32) -> Result<Place<'a>> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let mut directory = if path[0] == b'/' { Inode::ROOT } else { at };
        let mut parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        let Some(mut last) = parts.next() else {
            return Ok(Place { directory, last: Last::Root, slash: true });
        };
        self.node(directory).directory()?;
        for next in parts {
            directory = self.step(directory, last, links)?;
            self.node(directory).directory()?;
            last = next;
        }
        let last = match last {
            b"." => Last::Dot,
            b".." => Last::DotDot,
            name => Last::Name(name),
        };
        Ok(Place { directory, last, slash: path.ends_with(b"/") })
    }

    /// What a component in the middle of a path leads to.
    fn step(&self, directory: Inode, part: &[u8], links: &mut u32) -> Result<Inode> {
        match part {
            b"." => Ok(directory),
            b".." => self.parent(directory),
            name => {
                let inode = self.entry(directory, name)?.ok_or(Errno::ENOENT)?;
                let Body::Symlink(target) = &self.node(inode).body else { return Ok(inode) };
                count(links)?;
                match self.find_on(directory, target, Follow { links: true, create: false }, links)? {
                    Found::Node(inode, _) => Ok(inode),
                    Found::Absent(..) => Err(Errno::ENOENT),
                }
            }
        }
    }

    /// The node of a path that ends in ".", ".." or is "/".
    fn dots(&self, place: Place<'_>) -> Result<Inode> {
        match place.last {
            Last::DotDot => self.parent(place.directory),
            _ => Ok(place.directory),
        }
    }

    fn parent(&self, directory: Inode) -> Result<Inode> {
        let node = self.node(directory);
        if node.links == 0 { Err(Errno::ENOENT) } else { Ok(node.directory()?.parent) }
    }

    /// What has this name in a directory.
    pub(super) fn entry(&self, directory: Inode, name: &[u8]) -> Result<Option<Inode>> {
        if name.len() > NAME_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        Ok(self.node(directory).directory()?.names.get(name).copied())
    }

    /// The path of a directory from the root, as getcwd(3) tells it. `ENOENT` if it was removed.
    pub fn path(&self, directory: Inode) -> Result<Vec<u8>> {
        let mut names: Vec<&[u8]> = Vec::new();
        let mut below = directory;
        while below != Inode::ROOT {
            let above = self.parent(below)?;
            let mut entries = self.node(above).directory()?.names.iter();
            names.push(entries.find(|(_, inode)| **inode == below).ok_or(Errno::ENOENT)?.0);
            below = above;
        }
        names.push(b"");
        names.reverse();
        let path = names.join(b"/".as_slice());
        Ok(if path.is_empty() { b"/".to_vec() } else { path })
    }

    /// The path from the root, without symbolic links and dots, as realpath(3) tells it.
    pub fn real_path(&self, at: Inode, path: &[u8]) -> Result<Vec<u8>> {
        let inode = self.resolve(at, path, true)?;
        if self.node(inode).is_directory() {
            return self.path(inode);
        }
        let (mut at, mut path) = (at, path);
        loop {
            let place = self.place(at, path)?;
            let Last::Name(name) = place.last else { return Err(Errno::ENOENT) };
            match self.entry(place.directory, name)?.map(|inode| &self.node(inode).body) {
                Some(Body::Symlink(target)) => (at, path) = (place.directory, target),
                _ => {
                    let mut real = self.path(place.directory)?;
                    if real != b"/" {
                        real.push(b'/');
                    }
                    real.extend_from_slice(name);
                    return Ok(real);
                }
            }
        }
    }

    /// Whether `below` is `above` or lies under it.
    pub(super) fn is_below(&self, below: Inode, above: Inode) -> bool {
        let mut directory = below;
        loop {
            if directory == above {
                return true;
            }
            match &self.node(directory).body {
                Body::Directory(body) if directory != Inode::ROOT => directory = body.parent,
                _ => return false,
            }
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "an inode that is neither named nor open is the front end's mistake"
    )]
    pub(super) fn node(&self, inode: Inode) -> &Node {
        self.nodes[inode.0 as usize].as_ref().expect("an inode in use")
    }

    #[expect(clippy::expect_used, reason = "as above")]
    pub(super) fn node_mut(&mut self, inode: Inode) -> &mut Node {
        self.nodes[inode.0 as usize].as_mut().expect("an inode in use")
    }
}

fn count(links: &mut u32) -> Result<()> {
    *links += 1;
    if *links > LINKS_MAX { Err(Errno::ELOOP) } else { Ok(()) }
}
