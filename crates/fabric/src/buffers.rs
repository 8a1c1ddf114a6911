//! Memory of frames that wait: two sizes, kept for the next.

/// A frame that waits. It goes back to its [`Pool`].
pub(crate) type Buffer = Vec<u8>;

/// Frames of the usual MTU fit into the small size. A wait for the line may hold thousands of them; in buffers for
/// super-frames these would take forty times the memory.
const SMALL_BYTES: usize = 2048;
/// How many of each size are kept: 8 MiB and 17 MiB, a 10 Gbit/s stream through 10 ms.
const SMALL_KEPT: usize = 4096;
const LARGE_KEPT: usize = 256;

/// Buffers that were used and are free.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    small: Vec<Buffer>,
    large: Vec<Buffer>,
}

impl Pool {
    pub(crate) fn copy(&mut self, frame: &[u8]) -> Buffer {
        let (kept, size) = if frame.len() <= SMALL_BYTES {
            (&mut self.small, SMALL_BYTES)
        } else {
            (&mut self.large, crate::frame::FRAME_MAX)
        };
        let mut buffer = kept.pop().unwrap_or_else(|| Vec::with_capacity(size));
        buffer.extend_from_slice(frame);
        buffer
    }

    pub(crate) fn give_back(&mut self, mut buffer: Buffer) {
        let (kept, most) = if buffer.capacity() <= SMALL_BYTES {
            (&mut self.small, SMALL_KEPT)
        } else {
            (&mut self.large, LARGE_KEPT)
        };
        if kept.len() < most {
            buffer.clear();
            kept.push(buffer);
        }
    }
}
