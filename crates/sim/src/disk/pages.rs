//! What a file contains: pages, shared until one of their owners writes. Sizes and what is durable are not known here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a page, which is also the file system's block.
pub(super) const PAGE: u64 = 4096;
const BYTES: usize = 4096;
/// As `PAGE`, for memory.
static ZEROS: [u8; BYTES] = [0; BYTES];

/// A page's bytes.
pub(super) type Page = Arc<[u8]>;

/// Pages by number. One that is missing is a hole, which reads as zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    pages: BTreeMap<u64, Page>,
}

/// A page of zeros.
pub(super) fn zeros() -> Page {
    Arc::from(ZEROS.as_slice())
}

/// The part of `range` that lies in its first page: that page's number, where in it the part begins, and how long it is.
pub(super) fn first_part(range: &Range<u64>) -> (u64, usize, usize) {
    let (page, at) = (range.start / PAGE, range.start % PAGE);
    let len = (PAGE - at).min(range.end - range.start);
    (page, usize::try_from(at).unwrap_or_default(), usize::try_from(len).unwrap_or_default())
}

impl Contents {
    /// How many pages take space.
    pub(super) fn count(&self) -> u64 {
        self.pages.len() as u64
    }

    pub(super) fn get(&self, page: u64) -> Option<&Page> {
        self.pages.get(&page)
    }

    /// Lays a page, or makes a hole. Whether there was a page before.
    pub(super) fn put(&mut self, page: u64, bytes: Option<Page>) -> bool {
        match bytes {
            Some(bytes) => self.pages.insert(page, bytes).is_some(),
            None => self.pages.remove(&page).is_some(),
        }
    }

    /// Fills `into` with what stands from `offset` on.
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) {
        let mut range = offset..offset + into.len() as u64;
        let mut rest = into;
        while !rest.is_empty() {
            let (page, at, len) = first_part(&range);
            let (here, behind) = rest.split_at_mut(len);
            match self.pages.get(&page) {
                Some(bytes) => here.copy_from_slice(&bytes[at..at + len]),
                None => here.fill(0),
            }
            range.start += len as u64;
            rest = behind;
        }
    }

    /// Writes bytes that lie within one page.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (page, at, len) = first_part(&(offset..offset + bytes.len() as u64));
        debug_assert_eq!(len, bytes.len(), "a write within one page");
        let page = self.pages.entry(page).or_insert_with(zeros);
        Arc::make_mut(page)[at..at + len].copy_from_slice(bytes);
    }

    /// Makes zeros of a range: whole pages become holes, parts of pages are overwritten.
    pub(super) fn clear(&mut self, range: Range<u64>) {
        let whole = range.start.div_ceil(PAGE)..range.end / PAGE;
        if !whole.is_empty() {
            while let Some((&page, _)) = self.pages.range(whole.clone()).next() {
                self.pages.remove(&page);
            }
        }
        for part in partial(&range) {
            let (page, at, len) = first_part(&part);
            if let Some(bytes) = self.pages.get_mut(&page) {
                Arc::make_mut(bytes)[at..at + len].fill(0);
            }
        }
    }

    /// The first offset from `offset` on that lies in a page.
    pub(super) fn data_from(&self, offset: u64) -> Option<u64> {
        let page = *self.pages.range(offset / PAGE..).next()?.0;
        Some(offset.max(page * PAGE))
    }

    /// The first offset from `offset` on that lies in a hole.
    pub(super) fn hole_from(&self, offset: u64) -> u64 {
        let first = offset / PAGE;
        let run =
            self.pages.range(first..).zip(first..).take_while(|((page, _), expected)| *page == expected);
        offset.max((first + run.count() as u64) * PAGE)
    }
}

/// The parts of a range that do not cover their pages.
fn partial(range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
    let (start, end) = (range.start, range.end);
    let head = start..end.min(start.next_multiple_of(PAGE));
    let tail = start.max(end - end % PAGE)..end;
    let twice = head == tail;
    [head, tail].into_iter().skip(usize::from(twice)).filter(|part| !part.is_empty())
}
