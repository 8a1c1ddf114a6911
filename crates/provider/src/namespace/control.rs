//! What the test, `netsplit enter` and the like say to keeper and stage, and how descriptors travel: one message a
//! packet, each with at most one descriptor.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use prost::{Message, Oneof};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Bytes of a request at most: it may hold the names of some 3,000 hosts.
pub(super) const REQUEST_MAX: usize = 192 << 10;
/// Bytes of an answer at most.
pub(super) const REPLY_MAX: usize = 8 << 10;

/// Bytes of a text in an answer at most; a step has at most as many, and both with their lengths fit into a packet.
const TEXT_MAX: usize = REPLY_MAX / 2 - 64;

/// From a client to the stage, or to the keeper.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    /// Repeated in every answer.
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(oneof = "Ask", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19")]
    pub(super) ask: Option<Ask>,
}

impl Request {
    /// Says only that it comes. Not empty: an empty packet is an end of file.
    pub(super) fn nudge() -> Self {
        Self { id: 1, ask: None }
    }
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Ask {
    /// Make a host.
    #[prost(message, tag = "2")]
    Add(Add),
    /// A new connection to an agent.
    #[prost(string, tag = "3")]
    Connect(String),
    /// Cut a host's power.
    #[prost(string, tag = "4")]
    Kill(String),
    /// Start a killed host.
    #[prost(string, tag = "5")]
    Start(String),
    #[prost(string, tag = "6")]
    Pause(String),
    #[prost(string, tag = "7")]
    Resume(String),
    /// Outlive the test, or end.
    #[prost(enumeration = "Fate", tag = "8")]
    Fate(i32),
    /// Pass the pipe that comes with this packet on to the agent of this host.
    #[prost(string, tag = "9")]
    Hand(String),
    /// What joins the hosts (the keeper's first request).
    #[prost(message, tag = "10")]
    Begin(Network),
    /// Join a host; the pidfd of its agent comes with this packet (network's process only).
    #[prost(message, tag = "11")]
    Attach(Attach),
    /// A host has gone (network's process only).
    #[prost(string, tag = "12")]
    Detach(String),
    /// Begin a fault.
    #[prost(message, tag = "13")]
    Fault(Fault),
    /// End the fault of this number.
    #[prost(message, tag = "14")]
    Heal(Heal),
    /// Write what is in force and what has happened, as JSON, into the file that comes with this packet.
    #[prost(bool, tag = "15")]
    Report(bool),
    /// A client has gone, and with it its faults and captures (network's process only).
    #[prost(uint64, tag = "16")]
    Gone(u64),
    /// Write packets into the file that comes with this packet.
    #[prost(message, tag = "17")]
    Capture(Capture),
    /// End the capture of this number, and write what it came to, as JSON, into the file that comes with this packet.
    #[prost(uint32, tag = "18")]
    EndCapture(u32),
    /// Run the router that this JSON describes.
    #[prost(string, tag = "19")]
    Router(String),
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Fault {
    /// Who asked for it; the stage says so.
    #[prost(uint64, tag = "1")]
    pub(super) client: u64,
    /// A `FaultSpec` as JSON.
    #[prost(string, tag = "2")]
    pub(super) spec: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Capture {
    /// Who asked for it; the stage says so.
    #[prost(uint64, tag = "1")]
    pub(super) client: u64,
    /// A `CaptureFilter` as JSON.
    #[prost(string, tag = "2")]
    pub(super) filter: String,
}

/// What joins the hosts.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Network {
    /// A bridge of the kernel's, rather than the fabric.
    #[prost(bool, tag = "1")]
    pub(super) kernel: bool,
    /// Of all chance in it.
    #[prost(uint64, tag = "2")]
    pub(super) seed: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Attach {
    /// The host.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// Six bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) hardware: Vec<u8>,
    /// What the outer end of its veth pair is called, if it gets one.
    #[prost(string, tag = "3")]
    pub(super) outer: String,
    /// Its agent.
    #[prost(int32, tag = "4")]
    pub(super) pid: i32,
    /// `eth0`.
    #[prost(string, tag = "5")]
    pub(super) device: String,
    #[prost(string, tag = "6")]
    pub(super) network: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Fate {
    Keep = 0,
    End = 1,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Add {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// At least one: its networks, the one of its name first. On several it is a router.
    #[prost(message, repeated, tag = "2")]
    pub(super) nics: Vec<Nic>,
    /// `10.1.0.0/16 10.0.0.2`: where packets for another network go.
    #[prost(string, repeated, tag = "3")]
    pub(super) routes: Vec<String>,
    /// Bytes; 0: no limit of its own.
    #[prost(uint64, tag = "4")]
    pub(super) disk: u64,
    /// /etc/hosts of this host and of every one made before it; empty: as before.
    #[prost(string, tag = "5")]
    pub(super) names: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Heal {
    /// Who asked for it; the stage says so.
    #[prost(uint64, tag = "1")]
    pub(super) client: u64,
    /// The fault's number.
    #[prost(uint32, tag = "2")]
    pub(super) id: u32,
}

/// One network device of a host.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Nic {
    #[prost(string, tag = "1")]
    pub(super) network: String,
    #[prost(string, tag = "2")]
    pub(super) address: String,
    #[prost(string, tag = "3")]
    pub(super) address6: String,
    /// Six bytes.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) hardware: Vec<u8>,
}

/// From the stage.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Reply {
    /// The request's; 0 when nobody asked.
    #[prost(uint64, tag = "1")]
    pub(super) id: u64,
    #[prost(oneof = "Say", tags = "2, 3, 4, 5, 6")]
    pub(super) say: Option<Say>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
pub(super) enum Say {
    /// It is done; the host's generation, or the number of the pipe. A connection travels with the packet where one was
    /// asked for.
    #[prost(uint32, tag = "2")]
    Done(u32),
    #[prost(message, tag = "3")]
    Failed(Failure),
    /// A host has gone, and no client asked for it.
    #[prost(string, tag = "4")]
    Died(String),
    /// The stage stands: the connection to it travels with this packet (keeper only).
    #[prost(bool, tag = "5")]
    Stands(bool),
    /// A fault did something by itself.
    #[prost(message, tag = "6")]
    Turned(Turned),
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Turned {
    /// The fault's number.
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(enumeration = "State", tag = "2")]
    pub(super) state: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(super) enum State {
    Ended = 0,
    InForce = 1,
    Lifted = 2,
}

/// What went wrong, for a message with the remedy.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct Failure {
    /// Which call: `clone`, `mount proc`.
    #[prost(string, tag = "1")]
    pub(super) step: String,
    /// 0: no error of the kernel's.
    #[prost(int32, tag = "2")]
    pub(super) errno: i32,
    #[prost(string, tag = "3")]
    pub(super) text: String,
}

impl Failure {
    pub(super) fn of(step: &str, error: &io::Error) -> Self {
        let text = cut(error.to_string());
        Self { step: cut(step.to_owned()), errno: error.raw_os_error().unwrap_or(0), text }
    }
}

/// A text that fits into an answer: of a longer one the begin.
pub(super) fn cut(mut text: String) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// The step at which something failed.
#[derive(Debug)]
pub(super) struct StepError {
    pub(super) step: String,
    pub(super) error: io::Error,
}

impl StepError {
    pub(super) fn failure(&self) -> Failure {
        Failure::of(&self.step, &self.error)
    }
}

impl From<Failure> for StepError {
    fn from(Failure { step, errno, text }: Failure) -> Self {
        let error = if errno == 0 { io::Error::other(text) } else { io::Error::from_raw_os_error(errno) };
        Self { step, error }
    }
}

/// Names the step of an error.
pub(super) trait Step<T> {
    fn step(self, step: impl Into<String>) -> Result<T, StepError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: impl Into<String>) -> Result<T, StepError> {
        self.map_err(|error| StepError { step: step.into(), error: error.into() })
    }
}

/// A pair of sockets that keep packets apart.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// A pair of sockets for a link.
pub(super) fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// Sends one packet. A peer that is gone is an error, never a signal.
pub(super) fn send(socket: impl AsFd, message: &impl Message, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    send_with(socket, message, fd, SendFlags::empty())
}

/// Sends one packet if that needs no wait; whether it did.
pub(super) fn try_send(
    socket: impl AsFd,
    message: &impl Message,
    fd: Option<BorrowedFd<'_>>,
) -> io::Result<bool> {
    match send_with(socket, message, fd, SendFlags::DONTWAIT) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        sent => sent.map(|()| true),
    }
}

fn send_with(
    socket: impl AsFd,
    message: &impl Message,
    fd: Option<BorrowedFd<'_>>,
    flags: SendFlags,
) -> io::Result<()> {
    let body = message.encode_to_vec();
    debug_assert!(!body.is_empty(), "an empty packet is an end of file");
    if body.len() > REQUEST_MAX {
        return Err(io::Error::other("too many hosts for one packet"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.map(|fd| [fd]);
    if let Some(fds) = &fds {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    rustix::io::retry_on_intr(|| {
        sendmsg(&socket, &[IoSlice::new(&body)], &mut control, flags | SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// Receives one packet of at most `max` bytes and the descriptor that came with it; `None` when the peer is gone.
pub(super) fn receive<M: Message + Default>(
    socket: impl AsFd,
    flags: RecvFlags,
    max: usize,
) -> io::Result<Option<(M, Option<OwnedFd>)>> {
    let mut body = vec![0; max];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(&socket, &mut [IoSliceMut::new(&mut body)], &mut control, flags)
    });
    let received = match received {
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        other => other?,
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::other("a packet beyond the limit"));
    }
    let message = M::decode(&body[..received.bytes]).map_err(io::Error::other)?;
    Ok(Some((message, fd)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_fits_into_a_packet() {
        let (ours, theirs) = pair().unwrap();
        let failure =
            Failure::of(&"step".repeat(REPLY_MAX), &io::Error::other(format!("a{}", "ä".repeat(REPLY_MAX))));
        assert_eq!([failure.step.len(), failure.text.len()], [TEXT_MAX, TEXT_MAX - 1]);
        let reply = Reply { id: 1, say: Some(Say::Failed(failure)) };
        send(&ours, &reply, None).unwrap();
        let (read, _) = receive::<Reply>(&theirs, RecvFlags::empty(), REPLY_MAX).unwrap().unwrap();
        assert_eq!(read, reply);
        assert_eq!(cut("short".to_owned()), "short");
    }
}
