//! What callers hold: one channel of a link, or one half of it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use netsplit_wire::{ChannelId, Incoming, Priority, SendError, limits, message::tag};
use prost::Message;

use crate::link::{LinkError, Shared};

/// One channel. Dropping it gives it up; the peer learns so.
#[derive(Debug)]
pub struct Channel {
    /// Our half.
    pub sender: Sender,
    /// The peer's half.
    pub receiver: Receiver,
}

/// Sends on a channel. Clones share the channel; a message is queued whole or not at all.
#[derive(Clone, Debug)]
pub struct Sender {
    held: Arc<Held>,
}

/// Receives from a channel.
#[derive(Debug)]
pub struct Receiver {
    held: Arc<Held>,
    partial: BytesMut,
}

/// Releases the channel when neither half is left.
#[derive(Debug)]
struct Held {
    link: Arc<Shared>,
    id: ChannelId,
    /// Whether the peer waits to hear of the release.
    is_urgent: AtomicBool,
}

/// What came on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A whole message.
    Message(Bytes),
    /// Bytes of a stream, with its tag.
    Data(u8, Bytes),
    /// The peer sends no more.
    Finished,
    /// The peer gave the channel up.
    Reset,
    /// The link is over.
    Lost(LinkError),
}

impl Channel {
    pub(crate) fn new(link: Arc<Shared>, id: ChannelId) -> Self {
        let held = Arc::new(Held { link, id, is_urgent: AtomicBool::new(true) });
        Self {
            sender: Sender { held: Arc::clone(&held) },
            receiver: Receiver { held, partial: BytesMut::new() },
        }
    }
}

impl Sender {
    /// Queues bytes of the stream `tag`; waits while the queue is full.
    ///
    /// # Errors
    /// When the channel or the link is closed.
    pub async fn send(&self, tag: u8, payload: Bytes) -> Result<(), LinkError> {
        self.queue(tag, payload).await?;
        self.held.link.pump.notify_one();
        Ok(())
    }

    async fn queue(&self, tag: u8, payload: Bytes) -> Result<(), LinkError> {
        poll_fn(|context| {
            let mut state = self.held.link.lock();
            if let Some(error) = &state.ended {
                return Poll::Ready(Err(error.clone()));
            }
            match state.mux.send(self.held.id, tag, payload.clone()) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(SendError::Closed) => Poll::Ready(Err(LinkError::Closed)),
                Err(SendError::Full) => {
                    state.wakers.entry(self.held.id).or_default().writers.add(context.waker());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Queues a message; waits while the queue is full.
    ///
    /// # Errors
    /// When the channel or the link is closed.
    pub async fn send_message(&self, message: &impl Message) -> Result<(), LinkError> {
        self.send(tag::MESSAGE, message.encode_to_vec().into()).await
    }

    /// Queues a message that nobody waits for: it goes out with whatever is sent next, be it the answer to a heartbeat.
    ///
    /// # Errors
    /// As [`Self::send_message`].
    pub async fn send_message_later(&self, message: &impl Message) -> Result<(), LinkError> {
        self.queue(tag::MESSAGE, message.encode_to_vec().into()).await
    }

    /// Waits until the peer has given the channel up, or the link is over. What it sent before may still be unread. Once
    /// both have finished there is nothing to give up.
    pub async fn given_up(&self) {
        poll_fn(|context| {
            let mut state = self.held.link.lock();
            if state.ended.is_some() || state.mux.is_given_up(self.held.id) {
                return Poll::Ready(());
            }
            state.wakers.entry(self.held.id).or_default().writers.add(context.waker());
            Poll::Pending
        })
        .await;
    }

    /// Says that we send no more, once what is queued has gone.
    pub fn finish(&self) {
        self.held.link.lock().mux.finish(self.held.id);
        self.held.link.pump.notify_one();
    }

    /// Sets what this channel's frames yield to.
    pub fn set_priority(&self, priority: Priority) {
        self.held.link.lock().mux.set_priority(self.held.id, priority);
    }
}

impl Receiver {
    /// The next message or piece of a stream. May be dropped and called again: nothing is lost.
    pub async fn receive(&mut self) -> Received {
        loop {
            match self.next().await {
                Err(error) => return Received::Lost(error),
                Ok(Incoming::Finished) => return Received::Finished,
                Ok(Incoming::Reset) => return Received::Reset,
                Ok(Incoming::Data { tag, payload, .. }) if tag != tag::MESSAGE => {
                    return Received::Data(tag, payload);
                }
                Ok(Incoming::Data { more: false, payload, .. }) if self.partial.is_empty() => {
                    return Received::Message(payload);
                }
                Ok(Incoming::Data { more, payload, .. }) => {
                    if self.partial.len() + payload.len() > limits::MESSAGE_MAX {
                        return Received::Reset;
                    }
                    self.partial.extend_from_slice(&payload);
                    if !more {
                        return Received::Message(self.partial.split().freeze());
                    }
                }
            }
        }
    }

    async fn next(&self) -> Result<Incoming, LinkError> {
        poll_fn(|context| {
            let mut state = self.held.link.lock();
            if let Some(incoming) = state.mux.receive_from(self.held.id) {
                if state.mux.has_urgent() {
                    self.held.link.pump.notify_one(); // credit goes back
                }
                return Poll::Ready(Ok(incoming));
            }
            if let Some(error) = &state.ended {
                return Poll::Ready(Err(error.clone()));
            }
            state.wakers.entry(self.held.id).or_default().reader = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Lets the peer learn along with whatever is sent next that the channel was given up, be it an answer to a heartbeat:
    /// it has finished, and does not wait for us.
    pub fn release_later(&self) {
        self.held.is_urgent.store(false, Ordering::Relaxed);
    }

    /// Lets the peer have more under way: for output and bulk, see [`limits::WINDOW_BULK`].
    pub fn widen(&self) {
        self.held.link.lock().mux.widen(self.held.id, limits::WINDOW_BULK);
        self.held.link.pump.notify_one();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.link.release(self.id, self.is_urgent.load(Ordering::Relaxed));
    }
}
