//! Bytes on their way to a transport: small ones are joined, large ones are passed on without a copy.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

use crate::frame::Frame;

/// Payloads shorter than this are copied behind their heads, so that one write has fewer pieces.
const COPY_MAX: usize = 2048;

/// A queue of bytes that a transport drains. It is a [`Buf`] with as many slices as it has pieces.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Bytes>,
    /// Heads and small payloads behind the last piece.
    tail: BytesMut,
    bytes: usize,
}

impl Outbox {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes wait.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Forgets everything: the transport is gone.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn push(&mut self, frame: &Frame) {
        let before = self.tail.len();
        frame.encode_head(&mut self.tail);
        self.bytes += self.tail.len() - before;
        let payload = frame.payload();
        self.bytes += payload.len();
        if payload.len() < COPY_MAX {
            self.tail.extend_from_slice(payload);
        } else {
            self.seal();
            self.pieces.push_back(payload.clone());
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&self.tail[..], |piece| &piece[..])
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        let all = self.pieces.iter().map(|piece| &piece[..]).chain(tail);
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(all) {
            *slice = IoSlice::new(piece);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "advanced beyond the end");
        self.bytes -= count;
        while let Some(front) = self.pieces.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.pieces.pop_front();
        }
        self.tail.advance(count);
    }
}
