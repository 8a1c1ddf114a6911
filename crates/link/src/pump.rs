//! The one task that reads and writes a transport.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use netsplit_wire::Outbox;
use tokio::io::AsyncReadExt;

use crate::link::{LinkError, Shared, Transport};

/// Bytes handed to the transport at a time: a few frames, so that control need not wait behind many.
const WRITE_MAX: usize = 256 << 10;
/// Room made for reads: what a unix socket holds, so that most frames of a bulk move arrive whole. Untouched pages of it
/// cost nothing.
const READ_MAX: usize = 256 << 10;
/// With less room than this there is new room made: small messages share one buffer.
const READ_MIN: usize = 16 << 10;
/// A deadline for a link that has none.
const FAR: Duration = Duration::from_secs(24 * 3600);

/// The time as the runtime sees it, so that a paused clock is obeyed.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Starts carrying over `transport`, from which `input` has been read already.
pub(crate) fn start(shared: &Arc<Shared>, transport: impl Transport, input: BytesMut) {
    let number = {
        let mut state = shared.lock();
        state.transport += 1;
        state.transport
    };
    shared.pump.notify_one();
    tokio::spawn(run(Arc::clone(shared), number, transport, input));
}

/// Ends the link unless another transport than `number` has come within `lease`.
pub(crate) async fn expire(shared: Arc<Shared>, number: u64, lease: Duration) {
    tokio::time::sleep(lease).await;
    let replaced = shared.lock().transport != number;
    if !replaced {
        shared.end(LinkError::NotResumed(lease));
    }
}

async fn run(shared: Arc<Shared>, number: u64, mut transport: impl Transport, mut input: BytesMut) {
    let why = match carry(&shared, number, &mut transport, &mut input).await {
        Ok(why) => why,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => LinkError::Ended,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => LinkError::Ended,
        Err(error) => LinkError::Broken(error.to_string()),
    };
    shared.lost(number, why);
}

async fn carry(
    shared: &Arc<Shared>,
    number: u64,
    transport: &mut impl Transport,
    input: &mut BytesMut,
) -> io::Result<LinkError> {
    let mut outbox = Outbox::new();
    let sleep = tokio::time::sleep(FAR);
    tokio::pin!(sleep);
    loop {
        {
            let mut state = shared.lock();
            if state.ended.is_some() || state.transport != number {
                // What woke us may have been meant for the pump that replaced us.
                shared.pump.notify_one();
                return Ok(LinkError::Closed);
            }
            let now = now();
            let done = state.mux.receive(now, input).and_then(|()| state.mux.timeout(now));
            if let Err(error) = done {
                shared.dispatch(&mut state);
                return Ok(LinkError::Protocol(error));
            }
            state.mux.transmit(now, &mut outbox, WRITE_MAX);
            shared.dispatch(&mut state);
            let deadline = state.mux.deadline().unwrap_or_else(|| now + FAR).into();
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
        }
        let asked = shared.pump.notified();
        tokio::pin!(asked);
        let end = poll_fn(|context| {
            let read = poll_read(transport, input, context)?;
            if read == Some(0) {
                return Poll::Ready(Ok::<_, io::Error>(true));
            }
            let wrote = poll_write(transport, &mut outbox, context)?;
            let told = asked.as_mut().poll(context).is_ready() | sleep.as_mut().poll(context).is_ready();
            if read.is_some() || wrote || told { Poll::Ready(Ok(false)) } else { Poll::Pending }
        })
        .await?;
        if end {
            return Ok(LinkError::Ended);
        }
    }
}

/// Reads what is there, once; `None` when nothing is.
fn poll_read(
    transport: &mut impl Transport,
    input: &mut BytesMut,
    context: &mut std::task::Context<'_>,
) -> io::Result<Option<usize>> {
    if input.capacity() - input.len() < READ_MIN {
        input.reserve(READ_MAX);
    }
    // The future holds nothing between polls, so a new one each time is the same read.
    match pin!(transport.read_buf(input)).poll(context) {
        Poll::Pending => Ok(None),
        Poll::Ready(read) => read.map(Some),
    }
}

/// Writes what waits, as far as it goes. Returns whether there is room for more.
fn poll_write(
    transport: &mut impl Transport,
    outbox: &mut Outbox,
    context: &mut std::task::Context<'_>,
) -> io::Result<bool> {
    let before = outbox.len();
    while outbox.has_remaining() {
        let mut slices = [io::IoSlice::new(&[]); 64];
        let used = outbox.chunks_vectored(&mut slices);
        match Pin::new(&mut *transport).poll_write_vectored(context, &slices[..used]) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(count)) => outbox.advance(count),
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
    if outbox.is_empty() {
        // Nothing is kept back by the transport: what is written is on its way.
        let _flushed = Pin::new(transport).poll_flush(context)?;
    }
    Ok(outbox.len() < before)
}
