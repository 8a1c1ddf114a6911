//! Reading and writing of regular files.

use std::ops::Range;

use super::Disk;
use super::changes::Attributes;
use super::node::{Body, Inode, Node};
use super::pages::{Contents, PAGE, Page, first_part, zeros};
use crate::errno::{Errno, Result};

/// Bytes that a file can have: 16 TiB less a block, as in ext4.
pub const SIZE_MAX: u64 = (1 << 44) - PAGE;
/// Bytes that a copy between files moves at once.
const COPY: usize = 64 << 10;

/// What fallocate(2) is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Space, and that the file reaches to the end of it (mode 0).
    Extend,
    /// Space (`FALLOC_FL_KEEP_SIZE`).
    KeepSize,
    /// Zeros that take no space (`FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE`).
    PunchHole,
    /// Zeros, and that the file reaches to the end of them (`FALLOC_FL_ZERO_RANGE`).
    ZeroRange,
    /// Zeros (`FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE`).
    ZeroKeepSize,
}

/// What lseek(2) looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// What takes space (`SEEK_DATA`).
    Data,
    /// What does not, or the end (`SEEK_HOLE`).
    Hole,
}

/// What a file takes and may take while one operation changes it.
struct Writing<'a> {
    node: &'a mut Node,
    room: u64,
    taken: u64,
}

impl Disk {
    /// Reads what stands from `offset` on; how much that was, 0 at the end.
    pub fn read_at(&self, inode: Inode, offset: u64, into: &mut [u8]) -> Result<usize> {
        let node = self.node(inode);
        let contents = node.contents()?;
        let left = usize::try_from(node.attributes.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = left.min(into.len());
        contents.read(offset, &mut into[..len]);
        Ok(len)
    }

    /// Writes from `offset` on; how much, which is less than all where the disk becomes full or the file too large.
    pub fn write_at(&mut self, now: u64, inode: Inode, offset: u64, bytes: &[u8]) -> Result<usize> {
        self.node(inode).contents()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let left = SIZE_MAX.checked_sub(offset).filter(|left| *left > 0).ok_or(Errno::EFBIG)?;
        let len = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let mut writing = self.writing(inode);
        let written = writing.write(offset, &bytes[..len]);
        let taken = writing.taken;
        self.used += taken;
        if written == 0 {
            return Err(Errno::ENOSPC);
        }
        let size = self.node(inode).attributes.size.max(offset + written as u64);
        self.modified(now, inode, size);
        Ok(written)
    }

    /// Writes at the end. Where that was, and how much.
    pub fn append(&mut self, now: u64, inode: Inode, bytes: &[u8]) -> Result<(u64, usize)> {
        let end = self.node(inode).attributes.size;
        Ok((end, self.write_at(now, inode, end, bytes)?))
    }

    /// Cuts a file off, or lets it grow by a hole.
    pub fn truncate(&mut self, now: u64, inode: Inode, size: u64) -> Result<()> {
        self.node(inode).contents()?;
        if size > SIZE_MAX {
            return Err(Errno::EFBIG);
        }
        if size < self.node(inode).attributes.size {
            self.clear(inode, size..u64::MAX);
        }
        self.modified(now, inode, size);
        Ok(())
    }

    /// Takes or gives back space, as fallocate(2).
    pub fn allocate(&mut self, now: u64, inode: Inode, how: Allocate, offset: u64, len: u64) -> Result<()> {
        let node = self.node(inode);
        match node.body {
            Body::File(_) => {}
            Body::Directory(_) => return Err(Errno::EISDIR),
            _ => return Err(Errno::ENODEV),
        }
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let end = offset.checked_add(len).filter(|end| *end <= SIZE_MAX).ok_or(Errno::EFBIG)?;
        if matches!(how, Allocate::PunchHole | Allocate::ZeroRange | Allocate::ZeroKeepSize) {
            self.clear(inode, offset..end);
        }
        if how != Allocate::PunchHole {
            self.reserve(inode, offset..end)?;
        }
        let size = self.node(inode).attributes.size;
        let grows = matches!(how, Allocate::Extend | Allocate::ZeroRange);
        self.modified(now, inode, if grows { size.max(end) } else { size });
        Ok(())
    }

    /// Copies up to `len` bytes from one place to another, as copy_file_range(2); how many.
    pub fn copy(&mut self, now: u64, from: (Inode, u64), to: (Inode, u64), len: u64) -> Result<u64> {
        self.node(to.0).contents()?;
        let size = self.node(from.0).contents().map(|_| self.node(from.0).attributes.size)?;
        let len = len.min(size.saturating_sub(from.1));
        if from.0 == to.0 && from.1 < to.1.saturating_add(len) && to.1 < from.1.saturating_add(len) {
            return Err(Errno::EINVAL);
        }
        let mut buffer = vec![0; COPY];
        let mut done = 0;
        while done < len {
            let part = usize::try_from(len - done).map_or(COPY, |left| left.min(COPY));
            self.read_at(from.0, from.1 + done, &mut buffer[..part])?;
            match self.write_at(now, to.0, to.1 + done, &buffer[..part]) {
                Ok(written) => done += written as u64,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// The first offset from `offset` on with data, or in a hole. `ENXIO` if there is none before the end.
    pub fn seek(&self, inode: Inode, offset: u64, sought: Sought) -> Result<u64> {
        let node = self.node(inode);
        let (contents, size) = (node.contents()?, node.attributes.size);
        if offset >= size {
            return Err(Errno::ENXIO);
        }
        match sought {
            Sought::Data => contents.data_from(offset).filter(|at| *at < size).ok_or(Errno::ENXIO),
            Sought::Hole => Ok(contents.hole_from(offset).min(size)),
        }
    }

    /// Makes zeros and gives back the pages that hold nothing else.
    fn clear(&mut self, inode: Inode, range: Range<u64>) {
        let node = self.node_mut(inode);
        let Body::File(contents) = &mut node.body else { return };
        let before = contents.count();
        contents.clear(range.clone());
        let less = before - contents.count();
        node.changes.clear(range);
        self.used -= less;
    }

    /// Lays pages of zeros where there are none.
    fn reserve(&mut self, inode: Inode, range: Range<u64>) -> Result<()> {
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        let mut writing = self.writing(inode);
        let zeros = zeros();
        let mut full = false;
        for page in pages {
            if !writing.take(page) {
                full = true;
                break;
            }
            writing.lay_missing(page, &zeros);
        }
        let taken = writing.taken;
        self.used += taken;
        if full { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    fn writing(&mut self, inode: Inode) -> Writing<'_> {
        let room = self.free_pages();
        Writing { node: self.node_mut(inode), room, taken: 0 }
    }

    /// Ends an operation that changed a file's contents.
    fn modified(&mut self, now: u64, inode: Inode, size: u64) {
        let node = self.node_mut(inode);
        // As with a kernel's fine timestamps, who looks before and after sees that something was changed in between.
        let ctime = now.max(node.attributes.ctime + 1);
        node.attributes = Attributes { size, mtime: now, ctime, ..node.attributes };
        if node.changes.end(node.attributes) {
            node.changes.write_back(&mut node.durable);
        }
    }
}

impl Writing<'_> {
    fn contents(&mut self) -> Option<&mut Contents> {
        match &mut self.node.body {
            Body::File(contents) => Some(contents),
            _ => None,
        }
    }

    /// Counts a page, unless it is there already. Whether there is room for it.
    fn take(&mut self, page: u64) -> bool {
        if self.contents().is_some_and(|contents| contents.get(page).is_some()) {
            return true;
        }
        if self.taken >= self.room {
            return false;
        }
        self.taken += 1;
        true
    }

    fn lay_missing(&mut self, page: u64, zeros: &Page) {
        let Some(contents) = self.contents() else { return };
        if contents.get(page).is_none() {
            contents.put(page, Some(zeros.clone()));
            self.node.changes.page(page, zeros.clone());
        }
    }

    /// Writes page by page as long as there is room; how many bytes.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            let at = offset + written as u64;
            let (page, _, len) = first_part(&(at..offset + bytes.len() as u64));
            if !self.take(page) {
                break;
            }
            let part = &bytes[written..written + len];
            let Body::File(contents) = &mut self.node.body else { break };
            if part.len() as u64 == PAGE {
                let whole = Page::from(part);
                contents.put(page, Some(whole.clone()));
                self.node.changes.page(page, whole);
            } else {
                contents.write(at, part);
                self.node.changes.part(at, part);
            }
            written += len;
        }
        written
    }
}
