//! How TCP connections end: in halves, in order, by reset.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::tcp::ReuniteError;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time;

use crate::Seen;
use crate::seen::{text, told};
use crate::tcp::{V4, arrived, nobody_at, pair, read, read_all, write_until_error};

pub(super) async fn half_close(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    client.write_all(b"question").await?;
    client.shutdown().await?;
    seen.outcome("server reads", read_all(&mut server).await);
    server.write_all(b"answer").await?;
    seen.outcome("client reads", read(&mut client).await);
    server.shutdown().await?;
    seen.outcome("client reads", read(&mut client).await);
    Ok(())
}

pub(super) async fn end_is_read_again_and_again(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    server.write_all(b"last").await?;
    drop(server);
    for _ in 0..3 {
        seen.outcome("read", read(&mut client).await);
    }
    Ok(())
}

pub(super) async fn write_after_own_shutdown(seen: Seen) -> io::Result<()> {
    let (mut client, _server) = pair().await?;
    client.shutdown().await?;
    seen.error("write", client.write_all(b"x").await);
    seen.error("second shutdown", client.shutdown().await);
    seen.error("write", client.write_all(b"x").await);
    Ok(())
}

pub(super) async fn write_after_the_peers_close(seen: Seen) -> io::Result<()> {
    let (mut client, server) = pair().await?;
    drop(server);
    seen.outcome("read", read(&mut client).await);
    seen.error("first write", client.write_all(b"x").await);
    seen.error("writes from then on", write_until_error(&client).await);
    seen.outcome("read", read(&mut client).await);
    Ok(())
}

pub(super) async fn write_before_the_peers_close_is_seen(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    server.write_all(b"bye").await?;
    drop(server);
    // Nothing was read yet: neither the last words nor the end.
    seen.error("writes", write_until_error(&client).await);
    seen.outcome("read", read(&mut client).await);
    seen.outcome("read", read(&mut client).await);
    Ok(())
}

pub(super) async fn reset_by_zero_linger(seen: Seen) -> io::Result<()> {
    let (client, mut server) = pair().await?;
    client.set_zero_linger()?;
    drop(client);
    seen.outcome("read", read(&mut server).await);
    seen.outcome("read again", read(&mut server).await);
    seen.error("write", server.write_all(b"x").await);
    seen.error("peer", server.peer_addr());
    seen.error("shutdown", server.shutdown().await);
    Ok(())
}

pub(super) async fn reset_is_told_to_the_first_who_asks(seen: Seen) -> io::Result<()> {
    let (client, mut server) = pair().await?;
    client.set_zero_linger()?;
    drop(client);
    wait_for_the_reset(&server).await?;
    seen.error("write", server.write_all(b"x").await);
    seen.error("write again", server.write_all(b"x").await);
    seen.outcome("read", read(&mut server).await);
    Ok(())
}

pub(super) async fn reset_as_an_error_of_the_socket(seen: Seen) -> io::Result<()> {
    let (client, mut server) = pair().await?;
    seen.note("error while all is well", server.take_error()?.is_some());
    client.set_zero_linger()?;
    drop(client);
    wait_for_the_reset(&server).await?;
    seen.outcome("error", server.take_error().map(|error| error.map(|error| told(&error))));
    seen.note("error, asked again", server.take_error()?.is_some());
    seen.outcome("read", read(&mut server).await);
    Ok(())
}

pub(super) async fn reset_by_unread_bytes(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    client.write_all(b"nobody reads this").await?;
    arrived(&server).await?;
    server.write_all(b"answer").await?;
    drop(server);
    seen.outcome("read", read(&mut client).await);
    seen.outcome("read", read(&mut client).await);
    seen.outcome("read", read(&mut client).await);
    Ok(())
}

pub(super) async fn reset_leaves_what_had_come(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    client.write_all(b"had come").await?;
    arrived(&server).await?;
    client.set_zero_linger()?;
    drop(client);
    wait_for_the_reset(&server).await?;
    seen.outcome("read", read(&mut server).await);
    seen.outcome("read", read(&mut server).await);
    Ok(())
}

pub(super) async fn reset_ends_a_read_that_waits(seen: Seen) -> io::Result<()> {
    let (client, mut server) = pair().await?;
    let waiting = tokio::spawn(async move { read(&mut server).await });
    time::sleep(Duration::from_millis(20)).await;
    client.set_zero_linger()?;
    drop(client);
    seen.outcome("read", waiting.await?);
    Ok(())
}

pub(super) async fn both_close_at_once(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    client.write_all(b"from the client").await?;
    server.write_all(b"from the server").await?;
    let (one, other) = tokio::join!(client.shutdown(), server.shutdown());
    seen.error("shutdown", one);
    seen.error("shutdown", other);
    seen.outcome("client reads", read_all(&mut client).await);
    seen.outcome("server reads", read_all(&mut server).await);
    seen.error("write", client.write_all(b"x").await);
    Ok(())
}

pub(super) async fn dropped_half_is_a_half_close(seen: Seen) -> io::Result<()> {
    let (client, mut server) = pair().await?;
    let (mut from, to) = client.into_split();
    drop(to);
    seen.outcome("server reads", read(&mut server).await);
    server.write_all(b"to the other half").await?;
    seen.outcome("client reads", read(&mut from).await);
    drop(from);
    seen.error("server writes", write_until_error(&server).await);
    Ok(())
}

pub(super) async fn forgotten_half_is_no_close(seen: Seen) -> io::Result<()> {
    let (client, mut server) = pair().await?;
    let (from, to) = client.into_split();
    to.forget();
    let waits = time::timeout(Duration::from_millis(50), read(&mut server)).await.is_err();
    seen.note("server waits", waits);
    drop(from);
    seen.outcome("server reads", read(&mut server).await);
    Ok(())
}

pub(super) async fn joined_halves(seen: Seen) -> io::Result<()> {
    let (client, mut server) = pair().await?;
    let (other, _peer) = pair().await?;
    let (from, to) = client.into_split();
    let (_other_from, other_to) = other.into_split();
    let Err(ReuniteError(from, _)) = from.reunite(other_to) else {
        seen.line("halves of two streams are joined".to_owned());
        return Ok(());
    };
    let Ok(mut client) = from.reunite(to) else {
        seen.line("halves of one stream are not joined".to_owned());
        return Ok(());
    };
    client.write_all(b"one again").await?;
    drop(client);
    seen.outcome("read", read_all(&mut server).await);
    Ok(())
}

pub(super) async fn readiness_tells_the_end(seen: Seen) -> io::Result<()> {
    let (client, mut server) = pair().await?;
    server.write_all(b"x").await?;
    let ready = client.ready(Interest::READABLE).await?;
    seen.note("readable", ready.is_readable());
    server.shutdown().await?;
    loop {
        let ready = client.ready(Interest::READABLE).await?;
        if ready.is_read_closed() {
            seen.note("read closed, write closed", (ready.is_read_closed(), ready.is_write_closed()));
            break;
        }
        time::sleep(Duration::from_millis(1)).await;
    }
    drop(server);
    seen.error("writes", write_until_error(&client).await);
    wait_for_the_reset(&client).await?;
    seen.note("write closed", true);
    Ok(())
}

pub(super) async fn clients_port_is_free_after_a_reset(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    // A port that was asked for: one that a connect chose may belong to other streams as well.
    let (socket, from) = nobody_at(V4)?;
    let client = socket.connect(listener.local_addr()?).await?;
    let (mut server, _) = listener.accept().await?;
    client.set_zero_linger()?;
    drop(client);
    seen.outcome("server reads", read(&mut server).await);
    let socket = TcpSocket::new_v4()?;
    seen.error("bind to the client's port", socket.bind(from));
    let mut again = socket.connect(listener.local_addr()?).await?;
    let (mut server, peer) = listener.accept().await?;
    seen.note("the same address connects again", peer == from);
    again.write_all(b"again").await?;
    seen.outcome("server reads", read(&mut server).await);
    Ok(())
}

pub(super) async fn exact_read_that_ends_early(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    client.write_all(b"abc").await?;
    drop(client);
    let mut buffer = [0; 6];
    seen.outcome("read of six", server.read_exact(&mut buffer).await);
    seen.note("what had come", text(&buffer[..3]));
    Ok(())
}

/// Waits until the peer's reset has come, without taking it as an error.
async fn wait_for_the_reset(stream: &TcpStream) -> io::Result<()> {
    while !stream.ready(Interest::READABLE | Interest::WRITABLE).await?.is_write_closed() {
        time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
