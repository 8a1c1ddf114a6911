//! The changes of one file that power loss may undo: its data and attributes, not where it stands in which directory.

use std::collections::VecDeque;
use std::ops::Range;

use super::pages::{Contents, PAGE, Page, first_part};
use crate::Random;

/// What a disk writes as one, torn or not.
const SECTOR: usize = 512;
/// Bytes of a file that may wait to be written, 16 MiB; past that the older half is written back, as Linux does past a
/// share of memory (`vm.dirty_ratio`). It bounds what changes hold beside the file itself.
pub(super) const DIRTY_MAX: usize = 16 << 20;
/// What a change takes beside its bytes.
const CHANGE: usize = 64;

/// What stat(2) tells of a file and chmod(2), chown(2) and utimensat(2) change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) atime: u64,
    pub(super) mtime: u64,
    pub(super) ctime: u64,
    pub(super) btime: u64,
}

/// A step of an operation.
#[derive(Debug)]
enum Change {
    /// All of a page was written.
    Page(u64, Page),
    /// Part of a page was written.
    Bytes(u64, Box<[u8]>),
    /// A range became zeros, as far as possible without taking space.
    Clear(Range<u64>),
    /// The operation is over, and the attributes are these.
    End(Attributes),
}

/// Operations on a file since it was last synced, in order.
#[derive(Debug, Default)]
pub(super) struct Changes {
    steps: VecDeque<Change>,
    operations: usize,
    bytes: usize,
}

/// What of a file survives power loss.
#[derive(Clone, Debug)]
pub(super) struct Durable {
    pub(super) contents: Contents,
    pub(super) attributes: Attributes,
}

impl Changes {
    /// Notes that all of a page was written.
    pub(super) fn page(&mut self, number: u64, page: Page) {
        self.bytes += page.len();
        self.push(Change::Page(number, page));
    }

    /// Notes that part of a page was written.
    pub(super) fn part(&mut self, offset: u64, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.push(Change::Bytes(offset, bytes.into()));
    }

    /// Notes that a range was cut off or punched out.
    pub(super) fn clear(&mut self, range: Range<u64>) {
        self.push(Change::Clear(range));
    }

    /// Ends an operation. Whether so much waits that some should be written back.
    pub(super) fn end(&mut self, attributes: Attributes) -> bool {
        self.operations += 1;
        self.push(Change::End(attributes));
        self.bytes > DIRTY_MAX
    }

    fn push(&mut self, change: Change) {
        self.bytes += CHANGE;
        self.steps.push_back(change);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Forgets all of it: nothing of it will reach the disk by itself.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Makes all of it durable, given what the file is now.
    pub(super) fn sync(&mut self, now: &Contents, attributes: Attributes, durable: &mut Durable) {
        let mut last = None;
        for step in std::mem::take(self).steps {
            let page = match step {
                Change::Page(page, _) => page,
                Change::Bytes(offset, _) => offset / PAGE,
                Change::Clear(range) => {
                    durable.contents.clear(range);
                    last = None;
                    continue;
                }
                Change::End(_) => continue,
            };
            // A page that was written a hundred times is taken over once.
            if last != Some(page) {
                durable.contents.put(page, now.get(page).cloned());
                last = Some(page);
            }
        }
        durable.attributes = attributes;
    }

    /// Makes the older half durable.
    pub(super) fn write_back(&mut self, durable: &mut Durable) {
        self.apply(self.operations.div_ceil(2), durable);
    }

    /// What power loss leaves: some of the first operations, and of the writes after them some sectors, if it tears.
    pub(super) fn crash(&mut self, torn: bool, random: &mut Random, durable: &mut Durable) {
        if self.is_empty() {
            return;
        }
        let kept = random.below(self.operations as u64 + 1);
        self.apply(usize::try_from(kept).unwrap_or(self.operations), durable);
        if torn {
            self.tear(random, durable);
        }
        self.forget();
    }

    fn apply(&mut self, operations: usize, durable: &mut Durable) {
        let goal = self.operations.saturating_sub(operations);
        while self.operations > goal {
            let Some(step) = self.steps.pop_front() else { return };
            self.bytes -= CHANGE;
            match step {
                Change::Page(page, bytes) => {
                    self.bytes -= bytes.len();
                    durable.contents.put(page, Some(bytes));
                }
                Change::Bytes(offset, bytes) => {
                    self.bytes -= bytes.len();
                    durable.contents.write(offset, &bytes);
                }
                Change::Clear(range) => durable.contents.clear(range),
                Change::End(attributes) => {
                    self.operations -= 1;
                    durable.attributes = attributes;
                }
            }
        }
    }

    /// Lets each sector of what was written before the next cut reach the disk or not, and so the size.
    fn tear(&self, random: &mut Random, durable: &mut Durable) {
        for step in &self.steps {
            match step {
                Change::Page(page, bytes) => tear_write(&mut durable.contents, page * PAGE, bytes, random),
                Change::Bytes(offset, bytes) => tear_write(&mut durable.contents, *offset, bytes, random),
                Change::Clear(_) => break,
                Change::End(attributes) => {
                    if random.happens(0.5) {
                        durable.attributes.size = durable.attributes.size.max(attributes.size);
                    }
                }
            }
        }
        // What lies behind the size is zeros, whenever it grows later.
        durable.contents.clear(durable.attributes.size..u64::MAX);
    }
}

fn tear_write(contents: &mut Contents, offset: u64, bytes: &[u8], random: &mut Random) {
    let (_, at, _) = first_part(&(offset..offset + bytes.len() as u64));
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes.len().min((at + start) / SECTOR * SECTOR + SECTOR - at);
        if random.happens(0.5) {
            contents.write(offset + start as u64, &bytes[start..end]);
        }
        start = end;
    }
}
