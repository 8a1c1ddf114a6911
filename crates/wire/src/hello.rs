//! The greeting: who speaks, which versions, and with which session to go on.

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::frame::{Frame, ProtocolError};
use crate::limits::FRAME_PAYLOAD_MAX;

/// The newest version we speak.
pub const VERSION: u32 = 1;
/// The oldest version we speak.
pub const VERSION_MIN: u32 = 1;
const MAGIC: u32 = 0x6e73_706c;

/// Names a session for as long as both sides remember it: 16 random bytes of the initiator's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(pub [u8; 16]);

/// The first frame on every transport, in each direction.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// `nspl`.
    #[prost(fixed32, tag = "1")]
    pub(crate) magic: u32,
    /// The newest version spoken.
    #[prost(uint32, tag = "2")]
    pub(crate) version: u32,
    /// The oldest version spoken.
    #[prost(uint32, tag = "3")]
    pub(crate) version_min: u32,
    /// The session, as the initiator names it.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) session: Bytes,
    /// How many of the session's counted frames have arrived here.
    #[prost(uint64, tag = "5")]
    pub(crate) received: u64,
    /// From the acceptor: whether it goes on with a session it has.
    #[prost(bool, tag = "6")]
    pub(crate) resumed: bool,
    /// Payload bytes of a frame that this side wants to receive at most.
    #[prost(uint32, tag = "7")]
    pub(crate) frame_max: u32,
    /// Who speaks: a host's name, or what the client is.
    #[prost(string, tag = "8")]
    pub name: String,
    /// How often the host has come up.
    #[prost(uint32, tag = "9")]
    pub generation: u32,
}

impl Hello {
    pub(crate) fn new(name: &str, generation: u32, session: SessionId, frame_max: usize) -> Self {
        Self {
            magic: MAGIC,
            version: VERSION,
            version_min: VERSION_MIN,
            session: Bytes::copy_from_slice(&session.0),
            received: 0,
            resumed: false,
            frame_max: u32::try_from(frame_max).unwrap_or(u32::MAX),
            name: name.to_owned(),
            generation,
        }
    }

    /// The session that the initiator wants to begin or to go on with.
    pub fn session(&self) -> SessionId {
        let mut id = [0; 16];
        let given = self.session.len().min(16);
        id[..given].copy_from_slice(&self.session[..given]);
        SessionId(id)
    }

    pub(crate) fn decode_checked(body: Bytes) -> Result<Self, ProtocolError> {
        let hello = Self::decode(body).map_err(|_| ProtocolError::NoHello)?;
        if hello.magic != MAGIC || hello.session.len() != 16 {
            return Err(ProtocolError::NoHello);
        }
        if hello.version < VERSION_MIN || hello.version_min > VERSION {
            return Err(ProtocolError::Version {
                theirs_min: hello.version_min,
                theirs: hello.version,
                ours_min: VERSION_MIN,
                ours: VERSION,
            });
        }
        Ok(hello)
    }

    pub(crate) fn payload_max(&self) -> usize {
        usize::try_from(self.frame_max).unwrap_or(FRAME_PAYLOAD_MAX).clamp(64, FRAME_PAYLOAD_MAX)
    }
}

/// Takes an initiator's hello from the front of `input`, so that an acceptor can find the session it names; `None`
/// until it is whole.
///
/// # Errors
/// When something else comes first, or no version is common to both.
pub fn read_hello(input: &mut BytesMut) -> Result<Option<Hello>, ProtocolError> {
    check_start(input)?;
    match Frame::decode(input) {
        Ok(None) => Ok(None),
        Ok(Some(Frame::Hello(body))) => Hello::decode_checked(body).map(Some),
        Ok(Some(_)) | Err(_) => Err(ProtocolError::NoHello),
    }
}

/// Refuses a stranger by its first bytes, rather than wait for as many as its first byte seems to announce.
pub(crate) fn check_start(input: &[u8]) -> Result<(), ProtocolError> {
    const START: [u8; 6] = [0, 0x0d, 0x6c, 0x70, 0x73, 0x6e];
    // The length has one byte or two.
    let behind_length = if input.first().is_some_and(|byte| byte & 0x80 != 0) { 2 } else { 1 };
    let start = input.get(behind_length..).unwrap_or_default();
    let seen = start.len().min(START.len());
    if start[..seen] == START[..seen] { Ok(()) } else { Err(ProtocolError::NoHello) }
}
