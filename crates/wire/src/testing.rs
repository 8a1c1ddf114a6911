//! Two muxes joined in memory, driven by operations, checked against what was sent. Property tests and the fuzzer use
//! the same operations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::ACK_DELAY;
use crate::{
    ChannelId, Config, Event, Incoming, Mux, Outbox, Priority, ProtocolError, SendError, SessionId,
    read_hello,
};

/// Something a user of a link, or the world, does.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Open a channel on one side.
    Open(bool, Priority),
    /// Send a message of so many bytes on the side's n-th live channel.
    Send(bool, u8, u8, u32),
    /// Say that no more follows.
    Finish(bool, u8),
    /// Give a channel up.
    Release(bool, u8),
    /// Read at most so many times.
    Read(bool, u8, u8),
    /// Let the peer send more.
    Widen(bool, u8),
    /// Carry at most so many bytes one way.
    Carry(bool, u16),
    /// Break the transport: what is on its way is lost; then a new one.
    Break,
    /// Let time pass, in milliseconds.
    Pass(u8),
}

impl Op {
    /// Reads an operation from the front of a fuzzer's bytes.
    pub fn from_bytes(bytes: &mut &[u8]) -> Option<Self> {
        if bytes.remaining() < 6 {
            return None;
        }
        let (kind, side, channel, tag) =
            (bytes.get_u8(), bytes.get_u8() & 1 == 1, bytes.get_u8(), bytes.get_u8());
        let size = bytes.get_u16();
        Some(match kind % 10 {
            0 => {
                Self::Open(side, [Priority::Control, Priority::Output, Priority::Bulk][usize::from(tag % 3)])
            }
            1 => Self::Send(side, channel, tag & 0x7f, u32::from(size)),
            2 => Self::Send(side, channel, tag & 0x7f, u32::from(size) * 16),
            3 => Self::Finish(side, channel),
            4 => Self::Release(side, channel),
            5 | 6 => Self::Read(side, channel, tag),
            7 => Self::Widen(side, channel),
            8 if tag < 16 => Self::Break,
            8 => Self::Pass(tag),
            _ => Self::Carry(side, size),
        })
    }
}

/// Arbitrary bytes come in at either end, in one piece or byte by byte: they are taken or refused, and both ways agree.
/// This is what a stranger can do to us.
///
/// # Panics
/// When the mux does, or when it depends on how the bytes were cut.
pub fn receive_arbitrary(bytes: &[u8]) {
    let now = Instant::now();
    let hello = read_hello(&mut BytesMut::from(bytes));
    let mut greeted = greeting();
    greeted.extend_from_slice(bytes);
    for is_initiator in [true, false] {
        // As it comes, and behind a hello that is right.
        for input in [bytes, &greeted] {
            let whole = receive_all(is_initiator, now, input, input.len().max(1));
            let cut = receive_all(is_initiator, now, input, 1);
            // Which of two faults is found first may depend on it; whether there is one may not.
            assert_eq!(whole.is_some(), cut.is_some(), "cut otherwise: {whole:?} and {cut:?}");
        }
    }
    if let Ok(Some(hello)) = hello {
        let mut mux = Mux::acceptor(config("agent"), hello.clone(), now);
        mux.detach();
        let _refused = mux.resume(hello, now);
        let _sent = mux.transmit(now, &mut Outbox::new(), 1 << 16);
    }
}

/// What an initiator sends first.
fn greeting() -> BytesMut {
    let now = Instant::now();
    let mut mux = Mux::initiator(config("client"), SessionId([7; 16]));
    mux.attach(now);
    let mut out = Outbox::new();
    mux.transmit(now, &mut out, 1 << 10);
    let length = out.len();
    BytesMut::from(&out.copy_to_bytes(length)[..])
}

/// Gives one end `bytes` in pieces of `piece`, reads all that comes of them, and says how it ended.
fn receive_all(is_initiator: bool, now: Instant, bytes: &[u8], piece: usize) -> Option<ProtocolError> {
    let mut input = BytesMut::new();
    let mut mux = None;
    if is_initiator {
        let mut end = Mux::initiator(config("client"), SessionId([7; 16]));
        end.attach(now);
        mux = Some(end);
    }
    for piece in bytes.chunks(piece) {
        input.extend_from_slice(piece);
        if mux.is_none() {
            match read_hello(&mut input) {
                Ok(None) => continue,
                Ok(Some(hello)) => mux = Some(Mux::acceptor(config("agent"), hello, now)),
                Err(error) => return Some(error),
            }
        }
        let Some(mux) = &mut mux else { continue };
        if let Err(error) = mux.receive(now, &mut input) {
            return Some(error);
        }
    }
    // Only now: what we have sent decides which acknowledgements can be.
    if let Some(mux) = &mut mux {
        assert!(mux.deadline().is_some(), "a link that waits for nothing, not even for life");
        while let Some(event) = mux.poll_event() {
            if let Event::Readable(id) = event {
                while mux.receive_from(id).is_some() {}
            }
        }
        let _sent = mux.transmit(now, &mut Outbox::new(), 1 << 16);
    }
    None
}

/// A fuzzer's bytes as operations on two ends that are joined: nothing is lost, doubled or invented.
///
/// # Panics
/// When something is.
pub fn operate(mut bytes: &[u8]) {
    let mut pair = Pair::new();
    // Enough to fill every window; more only takes longer.
    for _ in 0..400 {
        let Some(op) = Op::from_bytes(&mut bytes) else { break };
        pair.apply(op).unwrap_or_else(|error| panic!("{op:?}: {error}"));
        pair.check(false);
    }
    pair.settle().unwrap_or_else(|error| panic!("at the end: {error}"));
    pair.check(true);
}

/// Both ends and the bytes between them. `false` is the initiator.
#[derive(Debug)]
pub struct Pair {
    /// The ends, by side.
    pub ends: [End; 2],
    /// The virtual time.
    pub now: Instant,
}

/// A message: tag and body, shown short.
#[derive(Clone, PartialEq)]
struct Sent(u8, Vec<u8>);

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{} bytes from {:?}", self.0, self.1.len(), self.1.first())
    }
}

/// One end with what is on its way to the other, and what the test knows of it.
#[derive(Debug)]
pub struct End {
    /// `None`: the acceptor that has not read a hello yet.
    pub mux: Option<Mux>,
    outbox: Outbox,
    inbox: BytesMut,
    greeting: bool,
    /// Channels that this end may still use.
    live: Vec<ChannelId>,
    opened: BTreeSet<ChannelId>,
    /// What was sent on a channel: tag and length of each message, and whether it was finished.
    sent: BTreeMap<ChannelId, (Vec<Sent>, bool)>,
    received: BTreeMap<ChannelId, (Vec<Sent>, bool)>,
    /// Channels on which a message's last frame has not come.
    partial: BTreeSet<ChannelId>,
    counter: u8,
}

impl Pair {
    /// Two ends that have not met.
    pub fn new() -> Self {
        let now = Instant::now();
        let mut mux = Mux::initiator(config("client"), SessionId([7; 16]));
        mux.attach(now);
        Self { ends: [End::new(Some(mux)), End::new(None)], now }
    }

    /// Does one operation.
    ///
    /// # Errors
    /// When an end finds that the other broke the protocol, which is a bug here.
    pub fn apply(&mut self, op: Op) -> Result<(), ProtocolError> {
        match op {
            Op::Open(side, priority) => self.end(side).open(priority),
            Op::Send(side, channel, tag, size) => self.end(side).send(channel, tag, size),
            Op::Finish(side, channel) => self.end(side).finish(channel),
            Op::Release(side, channel) => self.end(side).release(channel),
            Op::Read(side, channel, times) => self.end(side).read(channel, times),
            Op::Widen(side, channel) => self.end(side).widen(channel),
            Op::Carry(side, bytes) => self.carry(side, usize::from(bytes))?,
            Op::Break => self.reconnect(),
            Op::Pass(millis) => self.pass(Duration::from_millis(millis.into()))?,
        }
        Ok(())
    }

    fn end(&mut self, side: bool) -> &mut End {
        &mut self.ends[usize::from(side)]
    }

    /// Lets time pass for both.
    ///
    /// # Errors
    /// When an end finds that the other broke the protocol.
    pub fn pass(&mut self, time: Duration) -> Result<(), ProtocolError> {
        self.now += time;
        for end in &mut self.ends {
            if let Some(mux) = &mut end.mux
                && mux.deadline().is_some_and(|deadline| deadline <= self.now)
            {
                match mux.timeout(self.now) {
                    Err(ProtocolError::Silent(_)) | Ok(()) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Moves up to `limit` bytes from `side` to the other.
    ///
    /// # Errors
    /// When the receiver finds that the sender broke the protocol.
    pub fn carry(&mut self, side: bool, limit: usize) -> Result<(), ProtocolError> {
        let now = self.now;
        let from = self.end(side);
        if let Some(mux) = &mut from.mux {
            mux.transmit(now, &mut from.outbox, limit.max(1));
        }
        let bytes = from.outbox.copy_to_bytes(limit.min(from.outbox.len()));
        let to = self.end(!side);
        to.inbox.extend_from_slice(&bytes);
        if to.greeting {
            match read_hello(&mut to.inbox)? {
                None => return Ok(()),
                Some(hello) => {
                    to.greeting = false;
                    match &mut to.mux {
                        Some(mux) => mux.resume(hello, now)?,
                        None => to.mux = Some(Mux::acceptor(config("agent"), hello, now)),
                    }
                }
            }
        }
        if let Some(mux) = &mut to.mux {
            mux.receive(now, &mut to.inbox)?;
        }
        to.take_events();
        self.end(side).take_events();
        Ok(())
    }

    /// The transport breaks; a new one stands at once.
    pub fn reconnect(&mut self) {
        for end in &mut self.ends {
            end.outbox.clear();
            end.inbox.clear();
            if let Some(mux) = &mut end.mux {
                mux.detach();
            }
        }
        self.ends[1].greeting = true;
        if let Some(mux) = &mut self.ends[0].mux {
            mux.attach(self.now);
        }
    }

    /// Carries, reads and passes time until nothing moves any more.
    ///
    /// # Errors
    /// When an end finds that the other broke the protocol.
    pub fn settle(&mut self) -> Result<(), ProtocolError> {
        // 16 MiB at 64 KiB a round, both ways.
        let mut quiet = 0;
        for _ in 0..2000 {
            let before = self.progress();
            for side in [false, true] {
                self.carry(side, 64 << 10)?;
            }
            for end in &mut self.ends {
                for channel in 0..end.live.len() {
                    end.read(u8::try_from(channel).unwrap_or(u8::MAX), u8::MAX);
                }
            }
            self.pass(ACK_DELAY)?;
            let moved = before != self.progress() || self.ends.iter().any(|end| !end.outbox.is_empty());
            quiet = if moved { 0 } else { quiet + 1 };
            // Credit takes a round to come back.
            if quiet == 4 {
                return Ok(());
            }
        }
        panic!("it never settles: {self:?}");
    }

    fn progress(&self) -> Vec<usize> {
        let counts = |end: &End| {
            end.received.values().flat_map(|(messages, _)| messages).map(|sent| 1 + sent.1.len()).sum()
        };
        self.ends.iter().flat_map(|end| [counts(end), end.live.len(), end.opened.len()]).collect()
    }

    /// What each end received is what the other sent: a beginning of it, or all when it was finished.
    pub fn check(&self, settled: bool) {
        for (to, from) in [(0, 1), (1, 0)] {
            for (channel, (received, finished)) in &self.ends[to].received {
                let nothing = (Vec::new(), false);
                let (sent, was_finished) = self.ends[from].sent.get(channel).unwrap_or(&nothing);
                assert!(received.len() <= sent.len(), "more arrived than was sent on {channel}");
                let whole = received.len().saturating_sub(1);
                assert_eq!(received[..whole], sent[..whole], "channel {channel}");
                if let (Some(last), Some(wanted)) = (received.last(), sent.get(whole)) {
                    assert_eq!(last.0, wanted.0);
                    assert!(wanted.1.starts_with(&last.1), "channel {channel} message {whole}");
                }
                if *finished {
                    assert!(was_finished, "channel {channel} ended and was not finished");
                    assert_eq!(received, sent, "channel {channel} was finished");
                }
            }
            if settled {
                self.check_all_arrived(from, to);
            }
        }
    }

    /// Every message has arrived on a channel that the receiver did not give up, unless the sender gave it up without
    /// finishing.
    fn check_all_arrived(&self, from: usize, to: usize) {
        for (channel, (sent, finished)) in &self.ends[from].sent {
            let kept = *finished || self.ends[from].live.contains(channel);
            if kept && self.ends[to].live.contains(channel) {
                let received = self.ends[to].received.get(channel).map_or(&[][..], |(received, _)| received);
                assert_eq!(received, sent, "channel {channel} from {from} to {to}");
            }
        }
    }
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

fn config(name: &str) -> Config {
    Config { name: name.to_owned(), ..Config::default() }
}

impl End {
    fn new(mux: Option<Mux>) -> Self {
        Self {
            greeting: mux.is_none(),
            mux,
            outbox: Outbox::new(),
            inbox: BytesMut::new(),
            live: Vec::new(),
            opened: BTreeSet::new(),
            sent: BTreeMap::new(),
            received: BTreeMap::new(),
            partial: BTreeSet::new(),
            counter: 0,
        }
    }

    fn pick(&self, index: u8) -> Option<ChannelId> {
        let at = usize::from(index).checked_rem(self.live.len())?;
        self.live.get(at).copied()
    }

    fn open(&mut self, priority: Priority) {
        // Few channels with much on them find more than many with nothing.
        if let Some(mux) = &mut self.mux
            && self.live.len() < 6
            && let Ok(id) = mux.open(priority)
        {
            self.live.push(id);
            self.opened.insert(id);
        }
    }

    fn send(&mut self, channel: u8, tag: u8, size: u32) {
        let Some(id) = self.pick(channel) else { return };
        let Some(mux) = &mut self.mux else { return };
        self.counter = self.counter.wrapping_add(1);
        let body: Vec<u8> = (0..size).map(|index| self.counter ^ (index % 251) as u8).collect();
        match mux.send(id, tag, Bytes::from(body.clone())) {
            Ok(()) => self.sent.entry(id).or_default().0.push(Sent(tag, body)),
            Err(SendError::Full | SendError::Closed) => {}
        }
    }

    fn finish(&mut self, channel: u8) {
        if let (Some(id), Some(mux)) = (self.pick(channel), &mut self.mux) {
            mux.finish(id);
            // After the peer's RESET there is nothing to finish.
            if mux.send(id, 0, Bytes::new()) == Err(SendError::Closed) && self.live.contains(&id) {
                self.sent.entry(id).or_default().1 = true;
            }
        }
    }

    fn release(&mut self, channel: u8) {
        if let (Some(id), Some(mux)) = (self.pick(channel), &mut self.mux) {
            mux.release(id);
            self.live.retain(|live| *live != id);
        }
    }

    fn widen(&mut self, channel: u8) {
        if let (Some(id), Some(mux)) = (self.pick(channel), &mut self.mux) {
            mux.widen(id, 64 << 10);
        }
    }

    fn read(&mut self, channel: u8, times: u8) {
        let Some(id) = self.pick(channel) else { return };
        let Some(mux) = &mut self.mux else { return };
        for _ in 0..times {
            let Some(incoming) = mux.receive_from(id) else { return };
            let (messages, finished) = self.received.entry(id).or_default();
            match incoming {
                Incoming::Data { tag, more, payload } => {
                    // A message goes on until its last frame says so.
                    match messages.last_mut() {
                        Some(Sent(_, body)) if self.partial.contains(&id) => body.extend_from_slice(&payload),
                        _ => messages.push(Sent(tag, payload.to_vec())),
                    }
                    if more {
                        self.partial.insert(id);
                    } else {
                        self.partial.remove(&id);
                    }
                }
                Incoming::Finished => *finished = true,
                Incoming::Reset => {
                    mux.release(id);
                    self.live.retain(|live| *live != id);
                }
            }
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.mux.as_mut().and_then(Mux::poll_event) {
            if let Event::Opened(id) = event {
                self.live.push(id);
            }
        }
    }
}
