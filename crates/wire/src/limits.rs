//! Every limit of the protocol, with its reason.

use std::time::Duration;

/// Payload bytes of one frame at most: larger ones make control wait behind bulk (1 MiB frames: 6 ms p99 beside 0.35).
pub const FRAME_PAYLOAD_MAX: usize = 64 << 10;
/// What a frame's length may say: a payload, or a hello, with its fields.
pub const FRAME_MAX: usize = FRAME_PAYLOAD_MAX + 64;
/// One message put together from its frames: argv and environment, which Linux limits to 2 MiB on most machines.
pub const MESSAGE_MAX: usize = 4 << 20;
/// Channels open at once on one link: 1,000 commands, each with files and connections beside it.
pub const CHANNELS_MAX: usize = 4096;
/// Credit that each direction of a channel starts with. With `CHANNELS_MAX` it bounds what a peer can make us hold
/// for channels that nobody reads: 128 MiB.
pub const WINDOW: u64 = 32 << 10;
/// Credit that a reader of output or bulk gives in addition, so that a 50 us round trip does not slow a stream down.
pub const WINDOW_BULK: u64 = 1 << 20;
/// What a frame costs beside its payload, so that empty frames cannot be sent without end.
pub const FRAME_COST: u64 = 32;
/// Bytes queued on one channel before `send` refuses: two frames keep the line busy.
pub const QUEUE_MAX: usize = 256 << 10;
/// Bytes sent and not acknowledged. They are kept for a resume; a full pipe of 1 MiB covers 10 Gbit/s at 0.8 ms.
pub const UNACKED_MAX: usize = 1 << 20;
/// Bytes of a standard input that a client has under way at most: what else it says to the process, and how the process
/// ends, must not wait behind what the process does not read.
pub const STDIN_WINDOW: u64 = 256 << 10;
/// Received bytes after which an acknowledgement is due at once.
pub const ACK_BYTES: usize = 128 << 10;
/// How long an acknowledgement may wait for company.
pub const ACK_DELAY: Duration = Duration::from_millis(20);
/// Bulk frames that may pass for every so many of output: output must not starve a file.
pub const OUTPUT_BURST: u32 = 16;

const _: () = assert!(FRAME_PAYLOAD_MAX < QUEUE_MAX);
const _: () = assert!(QUEUE_MAX < UNACKED_MAX, "one channel alone must not stop a link");
const _: () = assert!(ACK_BYTES * 2 < UNACKED_MAX, "acknowledgements must come before the window is full");
