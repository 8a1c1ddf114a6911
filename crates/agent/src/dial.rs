//! A connection from a client into this host: bytes both ways over a channel.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::BytesMut;
use netsplit_link::{Channel, Priority, Received, Receiver, Sender};
use netsplit_wire::message::{Dial, DialReply, tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::agent::Settings;

const READ_MAX: usize = 64 << 10;

pub(crate) async fn serve(settings: &Settings, dial: Dial, channel: Channel) {
    let Channel { sender, receiver } = channel;
    let connected = connect(settings, dial.port).await;
    let refused = connected.as_ref().err().map(ToString::to_string).unwrap_or_default();
    if sender.send_message(&DialReply { refused }).await.is_err() {
        return;
    }
    if let Ok(stream) = connected {
        sender.set_priority(Priority::Output);
        receiver.widen();
        carry(stream, &sender, receiver).await;
    } else {
        sender.finish();
    }
}

/// Servers listen on every address, on loopback only, or on one address only.
async fn connect(settings: &Settings, port: u32) -> io::Result<TcpStream> {
    let port = u16::try_from(port).map_err(|_| io::Error::other("there is no such port"))?;
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut refused = io::Error::other("the host has no address");
    for address in loopback.iter().chain(&settings.addresses) {
        match TcpStream::connect(SocketAddr::new(*address, port)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

/// Each way ends by itself, as TCP's ways do; a client that has gone ends both, whatever the server does.
async fn carry(stream: TcpStream, sender: &Sender, receiver: Receiver) {
    let (from, to) = stream.into_split();
    let (outward, inward) = (carry_out(from, sender), carry_in(receiver, to, sender));
    tokio::pin!(outward, inward);
    tokio::select! {
        () = &mut outward => {
            let _either = inward.await;
        }
        client = &mut inward => if client == Client::Listens {
            tokio::select! {
                () = outward => {}
                () = sender.given_up() => {}
            }
        }
    }
}

async fn carry_out(mut from: OwnedReadHalf, sender: &Sender) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ_MAX);
        match from.read_buf(&mut buffer).await {
            // A reset looks like an end on the other side of a relay.
            Ok(0) | Err(_) => return sender.finish(),
            Ok(_) => {
                if sender.send(tag::BYTES, buffer.split().freeze()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What a client does that sends no more.
#[derive(Debug, PartialEq, Eq)]
enum Client {
    Listens,
    Gone,
}

async fn carry_in(mut receiver: Receiver, mut to: OwnedWriteHalf, sender: &Sender) -> Client {
    loop {
        match receiver.receive().await {
            Received::Data(tag::BYTES, bytes) => {
                let written = tokio::select! {
                    biased;
                    written = to.write_all(&bytes) => written,
                    // Nobody waits until the server takes the rest, which it may never do.
                    () = sender.given_up() => return Client::Gone,
                };
                if written.is_err() {
                    return Client::Listens;
                }
            }
            // Dropping the half sends FIN.
            Received::Finished => return Client::Listens,
            Received::Data(..) | Received::Message(_) | Received::Reset | Received::Lost(_) => {
                return Client::Gone;
            }
        }
    }
}
