//! The frames on the wire, between members and between client and member.
//!
//! A frame is its length in four bytes, big-endian, and then as many bytes: one that says which kind it is,
//! and the kind's fields in order as `codec` writes them. A member that connects says `Hello` first and then
//! sends messages; each is answered with one byte [`RECEIPT`], which says that it arrived and nothing more. A
//! client sends requests and gets one response to each.

use std::io::{self, Read, Write};

use crate::codec::{Malformed, Reader, Writer};
use crate::kv::{KEY_BYTES_MAX, PAGE_ENTRIES_MAX, Page, Put, VALUE_BYTES_MAX};
use crate::members::NAME_BYTES_MAX;
use crate::raft::{BATCH_ENTRIES_MAX, Message, Outcome};

/// Bytes of a frame behind its length. The largest is a batch of entries, which is a bit over half of this.
pub(crate) const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of an address: a DNS name, a colon and a port.
const ADDRESS_BYTES_MAX: usize = 262;
/// What a member answers to each message, so that a sender notices a connection that leads nowhere.
pub(crate) const RECEIPT: u8 = b'.';

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The first frame between members: who speaks, and to whom it believes to speak.
    Hello {
        from: String,
        to: String,
    },
    Message(Message),
    Request(Request),
    Response(Response),
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Put(Put),
    Get {
        key: String,
    },
    /// What this member has applied, leader or not: the keys behind one, or from the first.
    List {
        after: String,
    },
    Status,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Response {
    /// The write happened.
    Written,
    /// The newest value.
    Value(Option<String>),
    /// Nothing was done; the leader is at this address, if it is known.
    NotLeader(Option<String>),
    /// The write may or may not happen.
    Lost,
    Listed(Page),
    Status(Status),
}

/// What a member says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) term: u64,
    pub(crate) commit: u64,
    pub(crate) last: u64,
}

/// Writes one frame, in one piece.
///
/// # Errors
/// When the frame is over the limit or the stream fails.
pub(crate) fn write_frame(stream: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let payload = frame.encode();
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= FRAME_BYTES_MAX);
    let length = length.ok_or_else(|| io::Error::other("a frame to send is over the limit"))?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&payload);
    stream.write_all(&bytes)
}

/// Reads one frame; nothing when the stream ended before it.
///
/// # Errors
/// When the stream fails or ends within the frame, or the frame is malformed or over the limit.
pub(crate) fn read_frame(stream: &mut impl Read) -> io::Result<Option<Frame>> {
    let mut length = [0; 4];
    let first = stream.read(&mut length)?;
    if first == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[first..])?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        let what = format!("a frame of {length} bytes is over the limit of {FRAME_BYTES_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload)?;
    let frame = Frame::decode(&payload).map_err(|Malformed(why)| {
        io::Error::new(io::ErrorKind::InvalidData, format!("a frame is malformed: {why}"))
    })?;
    Ok(Some(frame))
}

impl Frame {
    /// The frame without its length.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Self::Hello { from, to } => {
                out.byte(b'H');
                out.text(from);
                out.text(to);
            }
            Self::Message(message) => encode_message(&mut out, message),
            Self::Request(request) => encode_request(&mut out, request),
            Self::Response(response) => encode_response(&mut out, response),
        }
        out.into_bytes()
    }

    /// Reads what [`Frame::encode`] wrote.
    ///
    /// # Errors
    /// When it is anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader::new(bytes);
        let kind = input.byte()?;
        let frame = match kind {
            b'H' => Self::Hello { from: input.text(NAME_BYTES_MAX)?, to: input.text(NAME_BYTES_MAX)? },
            b'V' | b'v' | b'A' | b'a' | b'r' => Self::Message(decode_message(kind, &mut input)?),
            b'P' | b'G' | b'L' | b'S' => Self::Request(decode_request(kind, &mut input)?),
            b'w' | b'g' | b'n' | b'l' | b'p' | b's' => Self::Response(decode_response(kind, &mut input)?),
            _ => return Err(Malformed("its kind is unknown")),
        };
        input.end(frame)
    }
}

fn encode_message(out: &mut Writer, message: &Message) {
    match message {
        Message::Vote { term, last_index, last_term } => {
            out.byte(b'V');
            [term, last_index, last_term].into_iter().for_each(|&number| out.number(number));
        }
        Message::VoteReply { term, granted } => {
            out.byte(b'v');
            out.number(*term);
            out.byte(u8::from(*granted));
        }
        Message::Append { term, round, prev_index, prev_term, commit, entries } => {
            out.byte(b'A');
            [term, round, prev_index, prev_term, commit].into_iter().for_each(|&number| out.number(number));
            out.number(entries.len() as u64);
            entries.iter().for_each(|entry| out.entry(entry));
        }
        Message::AppendReply { term, round, outcome } => {
            let (kind, index) = match *outcome {
                Outcome::Accepted { matched } => (b'a', matched),
                Outcome::Rejected { next } => (b'r', next),
            };
            out.byte(kind);
            [*term, *round, index].into_iter().for_each(|number| out.number(number));
        }
    }
}

fn decode_message(kind: u8, input: &mut Reader<'_>) -> Result<Message, Malformed> {
    let term = input.number()?;
    Ok(match kind {
        b'V' => Message::Vote { term, last_index: input.number()?, last_term: input.number()? },
        b'v' => Message::VoteReply { term, granted: input.byte()? == 1 },
        b'A' => {
            let (round, prev_index, prev_term) = (input.number()?, input.number()?, input.number()?);
            let (commit, count) = (input.number()?, input.number()?);
            if count > BATCH_ENTRIES_MAX as u64 {
                return Err(Malformed("it has more entries than one message may carry"));
            }
            let entries = (0..count).map(|_| input.entry()).collect::<Result<_, _>>()?;
            Message::Append { term, round, prev_index, prev_term, commit, entries }
        }
        b'a' => Message::AppendReply {
            term,
            round: input.number()?,
            outcome: Outcome::Accepted { matched: input.number()? },
        },
        _ => Message::AppendReply {
            term,
            round: input.number()?,
            outcome: Outcome::Rejected { next: input.number()? },
        },
    })
}

fn encode_request(out: &mut Writer, request: &Request) {
    match request {
        Request::Put(put) => {
            out.byte(b'P');
            out.put(put);
        }
        Request::Get { key } => {
            out.byte(b'G');
            out.text(key);
        }
        Request::List { after } => {
            out.byte(b'L');
            out.text(after);
        }
        Request::Status => out.byte(b'S'),
    }
}

fn decode_request(kind: u8, input: &mut Reader<'_>) -> Result<Request, Malformed> {
    Ok(match kind {
        b'P' => Request::Put(input.put()?),
        b'G' => Request::Get { key: input.text(KEY_BYTES_MAX)? },
        b'L' => Request::List { after: input.text(KEY_BYTES_MAX)? },
        _ => Request::Status,
    })
}

fn encode_response(out: &mut Writer, response: &Response) {
    let mut optional = |kind, text: &Option<String>| {
        out.byte(kind);
        out.byte(u8::from(text.is_some()));
        text.iter().for_each(|text| out.text(text));
    };
    match response {
        Response::Written => out.byte(b'w'),
        Response::Value(value) => optional(b'g', value),
        Response::NotLeader(leader) => optional(b'n', leader),
        Response::Lost => out.byte(b'l'),
        Response::Listed(Page { entries, more }) => {
            out.byte(b'p');
            out.byte(u8::from(*more));
            out.number(entries.len() as u64);
            entries.iter().flat_map(|(key, value)| [key, value]).for_each(|text| out.text(text));
        }
        Response::Status(status) => {
            out.byte(b's');
            out.text(&status.name);
            out.text(&status.role);
            [status.term, status.commit, status.last].into_iter().for_each(|number| out.number(number));
        }
    }
}

fn decode_response(kind: u8, input: &mut Reader<'_>) -> Result<Response, Malformed> {
    let optional = |input: &mut Reader<'_>, bytes_max| match input.byte()? {
        0 => Ok(None),
        _ => input.text(bytes_max).map(Some),
    };
    Ok(match kind {
        b'w' => Response::Written,
        b'g' => Response::Value(optional(input, VALUE_BYTES_MAX)?),
        b'n' => Response::NotLeader(optional(input, ADDRESS_BYTES_MAX)?),
        b'l' => Response::Lost,
        b'p' => Response::Listed(decode_page(input)?),
        _ => Response::Status(Status {
            name: input.text(NAME_BYTES_MAX)?,
            role: input.text(NAME_BYTES_MAX)?,
            term: input.number()?,
            commit: input.number()?,
            last: input.number()?,
        }),
    })
}

fn decode_page(input: &mut Reader<'_>) -> Result<Page, Malformed> {
    let (more, count) = (input.byte()? == 1, input.number()?);
    if count > PAGE_ENTRIES_MAX as u64 {
        return Err(Malformed("it has more entries than one page may have"));
    }
    let entry = |_| Ok((input.text(KEY_BYTES_MAX)?, input.text(VALUE_BYTES_MAX)?));
    Ok(Page { entries: (0..count).map(entry).collect::<Result<_, _>>()?, more })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Command;
    use crate::raft::Entry;
    use crate::rng::Rng;

    fn put() -> Put {
        Put { client: 1 << 60, sequence: 3, key: "key".into(), value: "value".into() }
    }

    fn samples() -> Vec<Frame> {
        let entries = vec![
            Entry { term: 1, command: Command::Nothing },
            Entry { term: 2, command: Command::Put(put()) },
        ];
        let status = Status { name: "a".into(), role: "leader".into(), term: 3, commit: 2, last: 4 };
        let messages = [
            Message::Vote { term: 1, last_index: 2, last_term: 3 },
            Message::VoteReply { term: 1, granted: true },
            Message::Append { term: 5, round: 4, prev_index: 3, prev_term: 2, commit: 1, entries },
            Message::AppendReply { term: 1, round: 2, outcome: Outcome::Accepted { matched: 3 } },
            Message::AppendReply { term: 1, round: 2, outcome: Outcome::Rejected { next: 3 } },
        ];
        let requests = [
            Request::Put(put()),
            Request::Get { key: "k".into() },
            Request::List { after: String::new() },
            Request::Status,
        ];
        let responses = [
            Response::Written,
            Response::Value(None),
            Response::Value(Some("v".into())),
            Response::NotLeader(Some("b:7000".into())),
            Response::Lost,
            Response::Listed(Page { entries: vec![("k".into(), "v".into())], more: true }),
            Response::Status(status),
        ];
        let hello = Frame::Hello { from: "a".into(), to: "b".into() };
        std::iter::once(hello)
            .chain(messages.into_iter().map(Frame::Message))
            .chain(requests.into_iter().map(Frame::Request))
            .chain(responses.into_iter().map(Frame::Response))
            .collect()
    }

    #[test]
    fn frames_survive_the_round_trip() {
        let mut stream = Vec::new();
        samples().iter().for_each(|frame| write_frame(&mut stream, frame).unwrap());
        let mut input = stream.as_slice();
        for frame in samples() {
            assert_eq!(read_frame(&mut input).unwrap(), Some(frame));
        }
        assert_eq!(read_frame(&mut input).unwrap(), None);
    }

    #[test]
    fn lengths_over_the_limit_are_refused_before_allocation() {
        let err = read_frame(&mut b"GET / HTTP/1.1".as_slice()).unwrap_err();
        assert_eq!(err.to_string(), "a frame of 1195725856 bytes is over the limit of 1048576");
        assert!(read_frame(&mut [0, 0, 0, 9, b'V'].as_slice()).is_err());
        assert!(read_frame(&mut [0, 0].as_slice()).is_err());
    }

    #[test]
    fn damaged_frames_are_errors_or_frames_but_never_a_panic() {
        let mut rng = Rng::new(1);
        for frame in samples() {
            let bytes = frame.encode();
            for end in 0..bytes.len() {
                assert!(Frame::decode(&bytes[..end]).is_err(), "{frame:?} cut to {end} bytes");
            }
            for _ in 0..2000 {
                let mut bytes = bytes.clone();
                let place = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
                bytes[place] = rng.number().to_le_bytes()[0];
                let _ = Frame::decode(&bytes);
            }
        }
    }
}
