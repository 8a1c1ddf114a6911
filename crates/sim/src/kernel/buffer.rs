//! Bytes between a writer and a reader on one machine: a pipe, or one direction of a unix socket.

use std::collections::VecDeque;

use super::epoll::epoll_bits::{ERR, HUP, IN, OUT};
use super::file::{FileId, Kind, Timing};
use super::{Call, Kernel};
use crate::errno::Errno;
use crate::slab::Id;

/// What a pipe holds, as Linux has it.
const PIPE_MAX: usize = 64 << 10;
/// What a standard output holds that nobody reads, while statics are everybody's.
const STANDARD_MAX: usize = 256 << 20;
/// Writes to pipes of at most so many bytes are not cut in two.
const ATOMIC_MAX: usize = 4096;

/// Bytes under way. It goes when both ends have.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: VecDeque<u8>,
    room: usize,
    /// Writes of so many bytes are whole or not at all.
    atomic: usize,
    pub(super) reader: Option<FileId>,
    pub(super) writer: Option<FileId>,
    /// Whether its writer left without having read what was written to it: told once, behind the last byte.
    pub(super) is_reset: bool,
}

/// The number of a buffer.
pub(crate) type BufferId = Id<Buffer>;

impl Buffer {
    pub(super) fn new(room: usize, atomic: usize) -> Self {
        Self { bytes: VecDeque::new(), room, atomic, reader: None, writer: None, is_reset: false }
    }

    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    fn room_left(&self) -> usize {
        self.room.saturating_sub(self.bytes.len())
    }

    pub(super) fn has_room(&self) -> bool {
        self.room_left() >= self.atomic.max(1)
    }

    pub(super) fn reader_bits(&self) -> u32 {
        (if self.bytes.is_empty() { 0 } else { IN }) | (if self.writer.is_none() { HUP } else { 0 })
    }

    pub(super) fn writer_bits(&self) -> u32 {
        match self.reader {
            None => OUT | ERR,
            Some(_) if self.has_room() => OUT,
            Some(_) => 0,
        }
    }

    /// Copies what fits out of it.
    pub(super) fn take(&mut self, into: &mut [u8], peek: bool) -> usize {
        let count = into.len().min(self.bytes.len());
        let (first, second) = self.bytes.as_slices();
        let split = count.min(first.len());
        into[..split].copy_from_slice(&first[..split]);
        into[split..count].copy_from_slice(&second[..count - split]);
        if !peek {
            self.bytes.drain(..count);
        }
        count
    }

    /// Copies what fits into it.
    pub(super) fn put(&mut self, bytes: &[u8]) -> usize {
        let room = self.room_left();
        let count = if bytes.len() <= self.atomic && bytes.len() > room { 0 } else { bytes.len().min(room) };
        self.bytes.extend(&bytes[..count]);
        count
    }
}

impl Kernel {
    /// A pipe: its reading end and its writing end.
    pub(crate) fn open_pipe(&mut self, room: Option<usize>, is_nonblocking: bool) -> (FileId, FileId) {
        let buffer = self.buffers.insert(Buffer::new(room.unwrap_or(PIPE_MAX), ATOMIC_MAX));
        let reader = self.open_file(Kind::PipeReader(buffer), is_nonblocking);
        let writer = self.open_file(Kind::PipeWriter(buffer), is_nonblocking);
        let ends = &mut self.buffers[buffer];
        (ends.reader, ends.writer) = (Some(reader), Some(writer));
        (reader, writer)
    }

    /// Where statics are everybody's, has a pipe hold so much that no writer waits: the standard library writes under a lock in
    /// one, and who waited there would stop all others, and for ever if it was killed.
    pub(super) fn widen(&mut self, file: FileId) {
        if self.rules.has_own_statics {
            return;
        }
        if let Kind::PipeWriter(buffer) = self.kind(file) {
            let buffer = *buffer;
            self.buffers[buffer].room = STANDARD_MAX;
        }
    }

    /// Reads from a buffer through `file`; 0: its writer has closed.
    pub(super) fn read_buffer(
        &mut self,
        file: FileId,
        buffer: BufferId,
        into: &mut [u8],
        peek: bool,
        timing: Timing,
    ) -> Call<usize> {
        let ends = &mut self.buffers[buffer];
        if ends.bytes.is_empty() && !into.is_empty() && ends.writer.is_some() {
            return Err(self.not_now(file, timing, "read"));
        }
        if ends.bytes.is_empty() && std::mem::take(&mut ends.is_reset) {
            return Err(Errno::ECONNRESET.into());
        }
        let had_room = ends.has_room();
        let taken = ends.take(into, peek);
        if let Some(writer) = ends.writer
            && !had_room
            && ends.has_room()
        {
            self.notify(writer, OUT);
        }
        Ok(taken)
    }

    /// Writes what there is room for through `file`.
    pub(super) fn write_buffer(
        &mut self,
        file: FileId,
        buffer: BufferId,
        bytes: &[u8],
        timing: Timing,
    ) -> Call<usize> {
        let ends = &mut self.buffers[buffer];
        let Some(reader) = ends.reader else { return Err(Errno::EPIPE.into()) };
        let put = ends.put(bytes);
        if put == 0 && !bytes.is_empty() {
            return Err(self.not_now(file, timing, "write"));
        }
        self.notify(reader, IN);
        Ok(put)
    }

    /// Nobody reads any more.
    pub(super) fn close_reader(&mut self, buffer: BufferId) {
        let ends = &mut self.buffers[buffer];
        ends.reader = None;
        match ends.writer {
            Some(writer) => self.notify(writer, OUT | ERR),
            None => drop(self.buffers.remove(buffer)),
        }
    }

    /// Nobody writes any more.
    pub(super) fn close_writer(&mut self, buffer: BufferId) {
        let ends = &mut self.buffers[buffer];
        ends.writer = None;
        match ends.reader {
            Some(reader) => self.notify(reader, IN | HUP),
            None => drop(self.buffers.remove(buffer)),
        }
    }
}
