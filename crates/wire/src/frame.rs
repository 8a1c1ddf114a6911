//! Frames as bytes. Sizes are checked before anything is allocated.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::limits::FRAME_MAX;

/// The peer broke the protocol; the link must be closed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// A length beyond what a frame may have.
    #[error("a frame of {0} bytes, {FRAME_MAX} are allowed")]
    FrameTooLong(u64),
    /// A varint of more than ten bytes, or a frame that ends inside its fields.
    #[error("a frame ends inside its fields")]
    Truncated,
    /// A kind that this version does not know.
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    /// What came first is no hello of ours.
    #[error("the peer does not speak netsplit's protocol")]
    NoHello,
    /// No version that both speak.
    #[error("the peer speaks versions {theirs_min} to {theirs}, we speak {ours_min} to {ours}")]
    Version {
        /// The peer's oldest.
        theirs_min: u32,
        /// The peer's newest.
        theirs: u32,
        /// Our oldest.
        ours_min: u32,
        /// Our newest.
        ours: u32,
    },
    /// A second hello, or one of the wrong side.
    #[error("a hello where none is due")]
    UnexpectedHello,
    /// A frame for a channel that cannot be: never opened, closed, or with an id of our own.
    #[error("a frame for channel {0}, which is not open")]
    NoSuchChannel(u32),
    /// More channels than are allowed.
    #[error("more than {0} channels")]
    TooManyChannels(usize),
    /// More bytes than the channel's credit.
    #[error("channel {0} was sent more than its credit")]
    CreditExceeded(u32),
    /// An acknowledgement of what was never sent.
    #[error("an acknowledgement of frames that were never sent")]
    BadAck,
    /// A message longer than is allowed, or none that can be read.
    #[error("a message of channel {0} is too long or cannot be read")]
    BadMessage(u32),
    /// The peer no longer has the session that we wanted to go on with.
    #[error("the peer has forgotten the session")]
    SessionLost,
    /// Nothing came for longer than the limit.
    #[error("no answer for {0:?}")]
    Silent(std::time::Duration),
}

pub(crate) const MORE: u8 = 0x80;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(Bytes),
    Data { channel: u32, tag: u8, more: bool, payload: Bytes },
    Fin { channel: u32 },
    Reset { channel: u32 },
    Credit { channel: u32, cost: u64 },
    Ping,
    Pong,
    Ack { count: u64 },
    Open { channel: u32 },
}

impl Frame {
    /// Takes one frame from the front of `input`; `None` until it is whole.
    pub(crate) fn decode(input: &mut BytesMut) -> Result<Option<Self>, ProtocolError> {
        let Some((length, head)) = peek_varint(input)? else { return Ok(None) };
        if length > FRAME_MAX as u64 {
            return Err(ProtocolError::FrameTooLong(length));
        }
        let length = usize::try_from(length).map_err(|_| ProtocolError::FrameTooLong(length))?;
        // Whoever reads makes room as it sees fit: made here, the beginning of a frame would be moved twice.
        if input.len() < head + length {
            return Ok(None);
        }
        input.advance(head);
        Self::parse(input.split_to(length).freeze()).map(Some)
    }

    fn parse(mut body: Bytes) -> Result<Self, ProtocolError> {
        if body.is_empty() {
            return Err(ProtocolError::Truncated);
        }
        let frame = match body.get_u8() {
            0 => return Ok(Self::Hello(body)),
            1 => {
                let channel = channel(&mut body)?;
                if body.is_empty() {
                    return Err(ProtocolError::Truncated);
                }
                let tag = body.get_u8();
                return Ok(Self::Data { channel, tag: tag & !MORE, more: tag & MORE != 0, payload: body });
            }
            2 => Self::Fin { channel: channel(&mut body)? },
            3 => Self::Reset { channel: channel(&mut body)? },
            4 => Self::Credit { channel: channel(&mut body)?, cost: varint(&mut body)? },
            5 => Self::Ping,
            6 => Self::Pong,
            7 => Self::Ack { count: varint(&mut body)? },
            8 => Self::Open { channel: channel(&mut body)? },
            kind => return Err(ProtocolError::UnknownKind(kind)),
        };
        // Fields that a newer minor version may have appended are skipped.
        Ok(frame)
    }

    /// Writes all but a DATA frame's payload, whose length is counted.
    pub(crate) fn encode_head(&self, out: &mut BytesMut) {
        let mut fields = [0; 24];
        let mut rest = &mut fields[..];
        match self {
            Self::Hello(_) => rest.put_u8(0),
            Self::Data { channel, tag, more, .. } => {
                rest.put_u8(1);
                put_varint(&mut rest, (*channel).into());
                rest.put_u8(if *more { *tag | MORE } else { *tag });
            }
            Self::Fin { channel } => {
                rest.put_u8(2);
                put_varint(&mut rest, (*channel).into());
            }
            Self::Reset { channel } => {
                rest.put_u8(3);
                put_varint(&mut rest, (*channel).into());
            }
            Self::Credit { channel, cost } => {
                rest.put_u8(4);
                put_varint(&mut rest, (*channel).into());
                put_varint(&mut rest, *cost);
            }
            Self::Ping => rest.put_u8(5),
            Self::Pong => rest.put_u8(6),
            Self::Ack { count } => {
                rest.put_u8(7);
                put_varint(&mut rest, *count);
            }
            Self::Open { channel } => {
                rest.put_u8(8);
                put_varint(&mut rest, (*channel).into());
            }
        }
        let left = rest.len();
        let used = fields.len() - left;
        put_varint(out, (used + self.payload().len()) as u64);
        out.put_slice(&fields[..used]);
    }

    /// What follows the head.
    pub(crate) fn payload(&self) -> &Bytes {
        static EMPTY: Bytes = Bytes::new();
        match self {
            Self::Hello(payload) | Self::Data { payload, .. } => payload,
            _ => &EMPTY,
        }
    }
}

fn channel(body: &mut Bytes) -> Result<u32, ProtocolError> {
    u32::try_from(varint(body)?).map_err(|_| ProtocolError::Truncated)
}

fn varint(body: &mut Bytes) -> Result<u64, ProtocolError> {
    let (value, bytes) = peek_varint(body)?.ok_or(ProtocolError::Truncated)?;
    body.advance(bytes);
    Ok(value)
}

/// The varint at the front of `input` and how many bytes it has; `None` until it is whole.
fn peek_varint(input: &[u8]) -> Result<Option<(u64, usize)>, ProtocolError> {
    let mut value = 0;
    for (index, byte) in input.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if index == 9 && bits > 1 {
            return Err(ProtocolError::Truncated);
        }
        value |= bits << (index * 7);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if input.len() >= 10 { Err(ProtocolError::Truncated) } else { Ok(None) }
}

fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8((value & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(frame: &Frame) -> BytesMut {
        let mut out = BytesMut::new();
        frame.encode_head(&mut out);
        out.put_slice(frame.payload());
        out
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        let payload = || prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        prop_oneof![
            payload().prop_map(Frame::Hello),
            (any::<u32>(), 0..128u8, any::<bool>(), payload())
                .prop_map(|(channel, tag, more, payload)| Frame::Data { channel, tag, more, payload }),
            any::<u32>().prop_map(|channel| Frame::Fin { channel }),
            any::<u32>().prop_map(|channel| Frame::Reset { channel }),
            (any::<u32>(), any::<u64>()).prop_map(|(channel, cost)| Frame::Credit { channel, cost }),
            Just(Frame::Ping),
            Just(Frame::Pong),
            any::<u64>().prop_map(|count| Frame::Ack { count }),
            any::<u32>().prop_map(|channel| Frame::Open { channel }),
        ]
    }

    proptest! {
        #[test]
        fn a_frame_survives_its_bytes_in_any_pieces(frames in prop::collection::vec(any_frame(), 1..5), cut in 1..40usize) {
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| encode(frame).to_vec()).collect();
            let (mut input, mut seen) = (BytesMut::new(), Vec::new());
            for piece in bytes.chunks(cut) {
                input.put_slice(piece);
                while let Some(frame) = Frame::decode(&mut input).unwrap() {
                    seen.push(frame);
                }
            }
            prop_assert_eq!(seen, frames);
            prop_assert!(input.is_empty());
        }

        #[test]
        fn no_bytes_panic_or_allocate_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Frame::decode(&mut input) {}
            prop_assert!(input.capacity() <= 2 * FRAME_MAX + 200);
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
        let mut out = BytesMut::new();
        put_varint(&mut out, FRAME_MAX as u64 + 1);
        assert_eq!(Frame::decode(&mut out), Err(ProtocolError::FrameTooLong(FRAME_MAX as u64 + 1)));
        let mut out = BytesMut::from(&[0xff; 11][..]);
        assert_eq!(Frame::decode(&mut out), Err(ProtocolError::Truncated));
    }
}
