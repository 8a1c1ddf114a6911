//! rename(2) and renameat2(2).

use super::Disk;
use super::names::Edit;
use super::node::{Inode, Name};
use super::path::{Last, Place};
use crate::errno::{Errno, Result};

/// A name that is to be moved, or to be moved to.
struct End {
    directory: Inode,
    name: Name,
    inode: Option<Inode>,
    slash: bool,
}

impl Disk {
    /// Moves what `from` names to `to`, in place of what is there, at once, as renameat2(2) with its flags
    /// (`RENAME_NOREPLACE`, `RENAME_EXCHANGE`). Each path begins at the directory beside it.
    pub fn rename(&mut self, now: u64, from: (Inode, &[u8]), to: (Inode, &[u8]), flags: u32) -> Result<()> {
        let exchange = flags & libc::RENAME_EXCHANGE != 0;
        let keep = flags & libc::RENAME_NOREPLACE != 0;
        if flags & !(libc::RENAME_EXCHANGE | libc::RENAME_NOREPLACE) != 0 || exchange && keep {
            return Err(Errno::EINVAL);
        }
        let (old, new) = (self.place(from.0, from.1)?, self.place(to.0, to.1)?);
        let Last::Name(old_name) = old.last else { return Err(Errno::EBUSY) };
        let Last::Name(new_name) = new.last else {
            return Err(if keep { Errno::EEXIST } else { Errno::EBUSY });
        };
        let old = self.end(old, old_name)?;
        let moved = old.inode.ok_or(Errno::ENOENT)?;
        let new = self.end(new, new_name)?;
        if keep && new.inode.is_some() {
            return Err(Errno::EEXIST);
        }
        if exchange {
            return self.exchange(now, old, moved, new);
        }
        self.check_slashes(&old, moved, new.slash)?;
        self.check_circle(&old, moved, &new, Errno::ENOTEMPTY)?;
        if new.inode == Some(moved) {
            return Ok(());
        }
        self.check_replaced(moved, &new)?;
        if new.inode.is_none() {
            self.room_for_name(new.directory, &new.name)?;
        }
        let across = self.node(moved).is_directory() && old.directory != new.directory;
        let away = Edit { directory: old.directory, name: old.name, to: None };
        let here = Edit { directory: new.directory, name: new.name, to: Some(moved) };
        self.edit(now, vec![away, here], across);
        Ok(())
    }

    fn exchange(&mut self, now: u64, old: End, moved: Inode, new: End) -> Result<()> {
        let other = new.inode.ok_or(Errno::ENOENT)?;
        if new.slash {
            self.node(other).directory()?;
        }
        self.check_slashes(&old, moved, false)?;
        self.check_circle(&old, moved, &new, Errno::EINVAL)?;
        if moved == other {
            return Ok(());
        }
        let directories = self.node(moved).is_directory() || self.node(other).is_directory();
        let across = directories && old.directory != new.directory;
        let there = Edit { directory: old.directory, name: old.name, to: Some(other) };
        let here = Edit { directory: new.directory, name: new.name, to: Some(moved) };
        self.edit(now, vec![there, here], across);
        Ok(())
    }

    fn end(&self, place: Place<'_>, name: &[u8]) -> Result<End> {
        let inode = self.entry(place.directory, name)?;
        Ok(End { directory: place.directory, name: Name::from(name), inode, slash: place.slash })
    }

    /// A path that ends in a slash names a directory.
    fn check_slashes(&self, old: &End, moved: Inode, new_slash: bool) -> Result<()> {
        if (old.slash || new_slash) && !self.node(moved).is_directory() {
            return Err(Errno::ENOTDIR);
        }
        Ok(())
    }

    /// A directory is not moved into itself (`EINVAL`), nor to the place of one that it is in.
    fn check_circle(&self, old: &End, moved: Inode, new: &End, otherwise: Errno) -> Result<()> {
        if old.directory == new.directory {
            return Ok(());
        }
        if self.node(new.directory).links > 0 && self.is_below(new.directory, moved) {
            return Err(Errno::EINVAL);
        }
        match new.inode {
            Some(inode) if self.node(old.directory).links > 0 && self.is_below(old.directory, inode) => {
                Err(otherwise)
            }
            _ => Ok(()),
        }
    }

    /// A directory replaces an empty directory, anything else what is no directory.
    fn check_replaced(&self, moved: Inode, new: &End) -> Result<()> {
        let Some(replaced) = new.inode.map(|inode| self.node(inode)) else { return Ok(()) };
        match (self.node(moved).is_directory(), replaced.directory()) {
            (true, Ok(directory)) if directory.names.is_empty() => Ok(()),
            (true, Ok(_)) => Err(Errno::ENOTEMPTY),
            (true, Err(_)) => Err(Errno::ENOTDIR),
            (false, Ok(_)) => Err(Errno::EISDIR),
            (false, Err(_)) => Ok(()),
        }
    }
}
