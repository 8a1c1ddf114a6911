//! The way into a process's standard input: what feeds it, and how much may be under way.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
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
}

impl Stdin {
    pub(super) fn new(sender: Sender, taken: watch::Receiver<u64>) -> Self {
        Self { sender, sent: Arc::default(), taken }
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

    /// Feeds an input to its end; stops when the process is gone.
    pub(super) async fn feed(self, input: Input) {
        let done = match input {
            Input::None | Input::Open => return,
            Input::Bytes(bytes) => self.write(bytes).await.is_ok(),
            Input::Stream(stream) => self.carry(stream).await,
            Input::File(path) => self.carry_file(path).await,
        };
        if done {
            let end = ProcessCommand::from(Command::StdinEnd(true));
            let _gone = self.sender.send_message(&end).await;
        }
    }

    async fn carry(&self, mut stream: impl AsyncRead + Unpin) -> bool {
        loop {
            let mut bytes = Vec::with_capacity(PIECE_MAX);
            match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return true,
                Ok(_) if self.write(bytes.into()).await.is_err() => return false,
                Ok(_) => {}
            }
        }
    }

    async fn carry_file(&self, path: PathBuf) -> bool {
        use std::io::Read;
        let Ok(mut file) = std::fs::File::open(path) else { return true };
        loop {
            let mut bytes = Vec::with_capacity(PIECE_MAX);
            match (&mut file).take(PIECE_MAX as u64).read_to_end(&mut bytes) {
                Ok(0) | Err(_) => return true,
                Ok(_) if self.write(bytes.into()).await.is_err() => return false,
                Ok(_) => {}
            }
        }
    }
}
