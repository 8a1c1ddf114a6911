//! TCP connections from this process into a host, through its agent: real in every mode, whatever the network between
//! the hosts does.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use netsplit_link::{Channel, LinkError, Priority, Received, Receiver, Sender};
use netsplit_model::{Capability, HostName, Reason, Trouble};
use netsplit_wire::message::{Body, Dial, DialReply, Request, tag};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::core::{Core, lost};
use crate::error::{Error, Result};

type ReadFuture = Pin<Box<dyn Future<Output = (Receiver, Received)> + Send>>;
type WriteFuture = Pin<Box<dyn Future<Output = std::result::Result<(), LinkError>> + Send>>;

/// A connection to a port of a host. Reading and writing are those of any stream; shutting down sends FIN.
pub struct HostStream {
    sender: Sender,
    read: Reading,
    write: Option<WriteFuture>,
}

enum Reading {
    Idle(Option<Receiver>),
    Waiting(ReadFuture),
    Bytes(Receiver, Bytes),
    Ended,
}

/// Fails when the test paused the host: nobody there can answer before it goes on.
pub(crate) fn check_awake(core: &Core, host: &HostName, port: u16) -> Result {
    if !core.is_paused(host) {
        return Ok(());
    }
    let trouble = Trouble::new(Reason::HostDown, format!("no connection to port {port} of {host}"));
    Err(core.unless_paused(std::slice::from_ref(host), trouble).into())
}

/// Connects; waits for a host that is paused, as a connection to one does.
pub(crate) async fn connect(core: &Arc<Core>, host: &HostName, port: u16) -> Result<HostStream> {
    core.need(Capability::Connect)?;
    let link = core.link(host)?;
    let why = |error: LinkError| lost(host, &core.why_lost(host, &error.to_string()));
    let Channel { sender, mut receiver } = link.open(Priority::Control).await.map_err(why)?;
    let request = Request::from(Body::Dial(Dial { port: port.into() }));
    sender.send_message(&request).await.map_err(why)?;
    let limit = core.settings.deadlines.wait;
    let answer = tokio::time::timeout(limit, receiver.receive()).await;
    let refused = match answer {
        Ok(Received::Message(message)) => match DialReply::decode(message) {
            Ok(reply) => reply.refused,
            Err(error) => error.to_string(),
        },
        Ok(Received::Lost(error)) => return Err(why(error)),
        Ok(_) => "the agent gave the connection up".to_owned(),
        Err(_) => format!("no answer for {}", netsplit_model::units::Wanted(limit)),
    };
    if !refused.is_empty() {
        let text = format!("no connection to port {port} of {host}: {refused}");
        return Err(Trouble::new(Reason::ConnectionRefused, text)
            .guess("wait for the line that says it listens")
            .into());
    }
    sender.set_priority(Priority::Output);
    receiver.widen();
    Ok(HostStream { sender, read: Reading::Idle(Some(receiver)), write: None })
}

impl AsyncRead for HostStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match &mut self.read {
                Reading::Ended => return Poll::Ready(Ok(())),
                Reading::Idle(receiver) => {
                    let Some(mut receiver) = receiver.take() else { return Poll::Ready(Ok(())) };
                    self.read = Reading::Waiting(Box::pin(async move {
                        let received = receiver.receive().await;
                        (receiver, received)
                    }));
                }
                Reading::Waiting(future) => match future.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready((receiver, Received::Data(tag::BYTES, bytes))) => {
                        self.read = Reading::Bytes(receiver, bytes);
                    }
                    Poll::Ready((_, Received::Finished)) => self.read = Reading::Ended,
                    Poll::Ready(_) => {
                        self.read = Reading::Ended;
                        return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                    }
                },
                Reading::Bytes(_, bytes) => {
                    let some = bytes.len().min(out.remaining());
                    out.put_slice(&bytes[..some]);
                    bytes.advance(some);
                    if bytes.is_empty()
                        && let Reading::Bytes(receiver, _) = std::mem::replace(&mut self.read, Reading::Ended)
                    {
                        self.read = Reading::Idle(Some(receiver));
                    }
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for HostStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.as_mut().poll_flush(context))?;
        let some = bytes.len().min(64 << 10);
        let (sender, piece) = (self.sender.clone(), Bytes::copy_from_slice(&bytes[..some]));
        self.write = Some(Box::pin(async move { sender.send(tag::BYTES, piece).await }));
        // Accepted; whether there is room is waited for by the next write.
        let _pending = self.poll_flush(context)?;
        Poll::Ready(Ok(some))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(write) = &mut self.write else { return Poll::Ready(Ok(())) };
        let sent = std::task::ready!(write.as_mut().poll(context));
        self.write = None;
        Poll::Ready(sent.map_err(|_| io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.as_mut().poll_flush(context))?;
        self.sender.finish();
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for HostStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostStream")
    }
}

/// A port of 127.0.0.1 that leads to a port of a host, until this is dropped.
#[must_use = "the port leads nowhere once this is dropped"]
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Forward {
    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn forward(core: &Arc<Core>, host: &HostName, port: u16) -> Result<Forward> {
    core.need(Capability::Connect)?;
    core.link(host)?;
    let (core, host) = (Arc::clone(core), host.clone());
    let listen = |error: io::Error| {
        Error::new(Reason::ConnectionRefused, format!("no port of 127.0.0.1 can be opened: {error}"))
    };
    // On the engine, so that it works in every runtime and while the test blocks.
    let engine = core.engine.clone();
    let listener =
        crate::engine::run_on(&engine, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).await?.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let task = engine.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (core, host) = (Arc::clone(&core), host.clone());
            tokio::spawn(async move {
                // A connection that is refused there is closed here: that is what a client sees.
                if let Ok(mut there) = connect(&core, &host, port).await {
                    let _nodelay = stream.set_nodelay(true);
                    if tokio::io::copy_bidirectional(&mut stream, &mut there).await.is_err() {
                        // An answer that broke off must not look whole: dropped so, it ends with a reset.
                        let _gone = stream.set_zero_linger();
                    }
                }
            });
        }
    });
    Ok(Forward { address, task })
}
