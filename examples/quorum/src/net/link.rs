//! The way to one peer: a thread that sends messages, opens connections, and gives up those that lead
//! nowhere.
//!
//! A message that cannot be sent is dropped: Raft sends again. The peer's own messages come in on connections
//! that the peer opens. After a partition TCP would wait long before it tries again, so a connection on which
//! no receipt came for a while is replaced by a new one.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::connect;
use crate::failure::phrase;
use crate::members::Place;
use crate::protocol::{Frame, write_frame};
use crate::raft::Message;

/// Messages waiting for one peer: some seconds of heartbeats. More are dropped, as they would be stale.
const QUEUE_MAX: usize = 64;
/// How long a peer must be unreachable before that is said: at a start, members come up one after another.
const COMPLAIN_AFTER: Duration = Duration::from_secs(1);

/// The way from one member to another.
struct Link {
    from: String,
    to: Place,
    patience: Duration,
    connection: Option<Connection>,
    failing_since: Option<Instant>,
    complained: bool,
}

/// An open connection and what is known of its health.
struct Connection {
    stream: TcpStream,
    /// Messages sent and not yet answered by a receipt.
    unanswered: usize,
    /// When the last receipt came, or the first message that waits for one was sent.
    progress_at: Instant,
}

/// Starts the thread that sends from the member called `from` to the peer `to`. `patience` is how long a
/// connection may take to open and to show that it works; `complain` is told what hinders it, once per
/// outage.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn spawn_link<F>(
    from: &str,
    to: &Place,
    patience: Duration,
    complain: F,
) -> io::Result<SyncSender<Message>>
where
    F: Fn(&str) + Send + 'static,
{
    let (sender, queue) = sync_channel(QUEUE_MAX);
    let mut link = Link {
        from: from.to_owned(),
        to: to.clone(),
        patience,
        connection: None,
        failing_since: None,
        complained: false,
    };
    thread::Builder::new().name(format!("to {}", to.name)).spawn(move || link.run(&queue, complain))?;
    Ok(sender)
}

impl Link {
    fn run(&mut self, queue: &Receiver<Message>, complain: impl Fn(&str)) {
        while let Ok(message) = queue.recv() {
            match self.send(message) {
                Ok(()) => (self.failing_since, self.complained) = (None, false),
                Err(err) => {
                    self.connection = None;
                    while queue.try_recv().is_ok() {} // stale by the time the peer is back
                    self.note_failure(&err, &complain);
                }
            }
        }
    }

    fn send(&mut self, message: Message) -> io::Result<()> {
        if !self.connection.as_mut().is_some_and(|connection| connection.is_healthy(self.patience)) {
            self.connection = None;
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(&self.from, &self.to, self.patience)?),
        };
        connection.send(message)
    }

    fn note_failure(&mut self, err: &io::Error, complain: &impl Fn(&str)) {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= COMPLAIN_AFTER && !self.complained {
            self.complained = true;
            let Place { name, address } = &self.to;
            let why = phrase(err);
            complain(&format!("cannot reach {name} at {address}: {why}; start kvd there or correct --peers"));
        }
    }
}

impl Connection {
    fn open(from: &str, to: &Place, patience: Duration) -> io::Result<Self> {
        let mut stream = connect(&to.address, patience)?;
        write_frame(&mut stream, &Frame::Hello { from: from.to_owned(), to: to.name.clone() })?;
        Ok(Self { stream, unanswered: 0, progress_at: Instant::now() })
    }

    fn send(&mut self, message: Message) -> io::Result<()> {
        if self.unanswered == 0 {
            self.progress_at = Instant::now();
        }
        self.unanswered += 1;
        write_frame(&mut self.stream, &Frame::Message(message))
    }

    /// Whether the peer has not closed it, and receipts keep coming as long as some are due.
    fn is_healthy(&mut self, patience: Duration) -> bool {
        let is_open = self.take_receipts().is_ok();
        is_open && (self.unanswered == 0 || self.progress_at.elapsed() < patience)
    }

    /// Takes the receipts that have come, without waiting for more.
    fn take_receipts(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let mut receipts = [0; 256];
        loop {
            match self.stream.read(&mut receipts) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.unanswered = self.unanswered.saturating_sub(count);
                    self.progress_at = Instant::now();
                }
                Err(err) if err.kind() == ErrorKind::WouldBlock => break,
                Err(err) if err.kind() == ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        self.stream.set_nonblocking(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Address;
    use crate::protocol::{RECEIPT, read_frame};
    use std::io::Write;
    use std::net::TcpListener;

    fn message(term: u64) -> Message {
        Message::VoteReply { term, granted: false }
    }

    fn term(stream: &mut TcpStream) -> u64 {
        match read_frame(stream) {
            Ok(Some(Frame::Message(message))) => message.term(),
            other => panic!("{other:?} instead of a message"),
        }
    }

    #[test]
    fn a_silent_connection_is_replaced() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let to = Place { name: "b".into(), address };
        let patience = Duration::from_millis(50);
        let sender = spawn_link("a", &to, patience, |_| {}).unwrap();
        let hello = Some(Frame::Hello { from: "a".into(), to: "b".into() });

        sender.send(message(1)).unwrap();
        let (mut first, _) = listener.accept().unwrap();
        assert_eq!(read_frame(&mut first).unwrap(), hello);
        assert_eq!(term(&mut first), 1);
        first.write_all(&[RECEIPT]).unwrap();
        thread::sleep(patience * 2);
        sender.send(message(2)).unwrap();
        assert_eq!(term(&mut first), 2, "an answered connection stays however long it is idle");
        thread::sleep(patience * 2);
        sender.send(message(3)).unwrap();
        let (mut second, _) = listener.accept().unwrap();
        assert_eq!(read_frame(&mut second).unwrap(), hello);
        assert_eq!(term(&mut second), 3);
    }
}
