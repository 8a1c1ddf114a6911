//! The way into a process's standard input: what feeds it, and how much may be under way.

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use netsplit_link::{LinkError, Sender};
use netsplit_wire::limits::STDIN_WINDOW;
use netsplit_wire::message::{Command, ProcessCommand, tag};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::command::Input;

/// Bytes of an input read and sent at a time.
const PIECE_MAX: usize = 64 << 10;

/// Writes to a standard input. Of what the process does not read only so much is sent that whatever else is said to the
/// process, its end above all, does not wait behind it.
#[derive(Clone, Debug)]
pub(crate) struct Stdin {
    sender: Sender,
    /// Bytes sent so far; held while somebody writes, so that writers take turns.
    sent: Arc<Mutex<u64>>,
    /// Bytes that the host has passed on.
    taken: watch::Receiver<u64>,
    /// Why the input that feeds it broke off.
    broken: Arc<OnceLock<String>>,
}

impl Stdin {
    pub(super) fn new(sender: Sender, taken: watch::Receiver<u64>) -> Self {
        Self { sender, sent: Arc::default(), taken, broken: Arc::default() }
    }

    /// Sends `bytes`; waits while too much of what was sent is unread.
    pub(crate) async fn write(&self, mut bytes: Bytes) -> Result<(), LinkError> {
        let mut sent = self.sent.lock().await;
        let mut taken = self.taken.clone();
        while !bytes.is_empty() {
            let has_room = |taken: &u64| sent.saturating_sub(*taken) < STDIN_WINDOW;
            // Who told us how much is taken has gone: nobody reads any more.
            taken.wait_for(has_room).await.map_err(|_| LinkError::Closed)?;
            let piece = bytes.split_to(bytes.len().min(PIECE_MAX));
            let count = piece.len() as u64;
            self.sender.send(tag::STDIN, piece).await?;
            *sent += count;
        }
        Ok(())
    }

    /// As [`Self::write`], but gives up once the host has passed on nothing for `limit`: `None`.
    pub(super) async fn write_in_time(&self, bytes: Bytes, limit: Duration) -> Option<Result<(), LinkError>> {
        let mut taken = self.taken.clone();
        let mut write = pin!(self.write(bytes));
        loop {
            tokio::select! {
                done = &mut write => return Some(done),
                moved = timeout(limit, taken.changed()) => match moved {
                    Ok(Ok(())) => {}
                    // Nobody tells any more what is passed on.
                    Ok(Err(_)) => return timeout(limit, write).await.ok(),
                    Err(_) => return None,
                },
            }
        }
    }

    /// Which input broke off, and why, if it did.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    /// Feeds an input to its end; stops when the process is gone.
    pub(super) async fn feed(self, input: Input) {
        let (name, done) = match input {
            Input::None | Input::Open => return,
            Input::Bytes(bytes) => ("bytes".to_owned(), self.write(bytes).await.map_err(|_| Stopped::There)),
            Input::Stream(stream) => ("the stream".to_owned(), self.carry(stream).await),
            Input::File(path) => (format!("`{}`", path.display()), self.carry_file(&path).await),
        };
        let command = match done {
            Ok(()) => Command::StdinEnd(true),
            Err(Stopped::There) => return,
            // What it got would look whole to it: it is ended before it can do something with a part.
            Err(Stopped::Here(error)) => {
                self.broken.get_or_init(|| format!("{name} broke off: {error}"));
                Command::End(true)
            }
        };
        let _gone = self.sender.send_message(&ProcessCommand::from(command)).await;
    }

    async fn carry(&self, mut stream: impl AsyncRead + Unpin) -> Result<(), Stopped> {
        loop {
            let mut bytes = Vec::with_capacity(PIECE_MAX);
            if stream.read_buf(&mut bytes).await.map_err(Stopped::Here)? == 0 {
                return Ok(());
            }
            self.write(bytes.into()).await.map_err(|_| Stopped::There)?;
        }
    }

    async fn carry_file(&self, path: &Path) -> Result<(), Stopped> {
        use std::io::Read;
        let mut file = std::fs::File::open(path).map_err(Stopped::Here)?;
        loop {
            let mut bytes = Vec::with_capacity(PIECE_MAX);
            if (&mut file).take(PIECE_MAX as u64).read_to_end(&mut bytes).map_err(Stopped::Here)? == 0 {
                return Ok(());
            }
            self.write(bytes.into()).await.map_err(|_| Stopped::There)?;
        }
    }
}

/// Why an input was not fed to its end.
enum Stopped {
    /// It could not be read.
    Here(io::Error),
    /// Nobody takes it any more.
    There,
}
