//! How TCP connections and listeners begin, and how they fail to.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time;

use crate::Seen;
use crate::tcp::{A_WHILE, V4, V6, nobody_at, read, read_all};

pub(super) async fn refused(seen: Seen) -> io::Result<()> {
    let (_held, nobody) = nobody_at(V4)?;
    seen.error("connect", TcpStream::connect(nobody).await);
    seen.error("connect again", TcpStream::connect(nobody).await);
    Ok(())
}

pub(super) async fn refused_v6(seen: Seen) -> io::Result<()> {
    let (_held, nobody) = nobody_at(V6)?;
    seen.error("connect", TcpStream::connect(nobody).await);
    Ok(())
}

pub(super) async fn refused_once_the_listener_is_gone(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let address = listener.local_addr()?;
    let mut client = TcpStream::connect(address).await?;
    // The accepted stream keeps the port from others.
    let (mut server, _) = listener.accept().await?;
    drop(listener);
    seen.error("connect", TcpStream::connect(address).await);
    server.write_all(b"still here").await?;
    seen.outcome("the accepted stream", read(&mut client).await);
    Ok(())
}

pub(super) async fn accepted_in_order(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(TcpStream::connect(listener.local_addr()?).await?);
    }
    for client in &clients {
        let (server, from) = listener.accept().await?;
        seen.note("the next is this client", from == client.local_addr()?);
        seen.note("peers agree", server.peer_addr()? == from && client.peer_addr()? == server.local_addr()?);
    }
    Ok(())
}

pub(super) async fn addresses(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let address = listener.local_addr()?;
    seen.note("a port was chosen", address.port() != 0);
    seen.note("host of the listener", address.ip());
    let client = TcpStream::connect(address).await?;
    seen.note("host of the client", client.local_addr()?.ip());
    seen.note("the client has another port", client.local_addr()?.port() != address.port());
    seen.note("the client's peer is the listener", client.peer_addr()? == address);
    Ok(())
}

pub(super) async fn over_v6(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V6).await?;
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    let (mut server, from) = listener.accept().await?;
    seen.note("host of the client", from.ip());
    client.write_all(b"six").await?;
    seen.outcome("read", read(&mut server).await);
    seen.note("local address", server.local_addr()?.ip());
    Ok(())
}

pub(super) async fn families_do_not_mix(seen: Seen) -> io::Result<()> {
    let (_four, four) = nobody_at(V4)?;
    let (_six, six) = nobody_at(V6)?;
    seen.error("bind of IPv4 to ::1", TcpSocket::new_v4()?.bind(V6));
    seen.error("bind of IPv6 to 127.0.0.1", TcpSocket::new_v6()?.bind(V4));
    seen.error("connect of IPv4 to ::1", TcpSocket::new_v4()?.connect(six).await);
    seen.note("families differ", four.is_ipv4() && six.is_ipv6());
    Ok(())
}

pub(super) async fn address_in_use(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let address = listener.local_addr()?;
    seen.error("second listener", TcpListener::bind(address).await);
    seen.error("second bind", TcpSocket::new_v4()?.bind(address));
    drop(listener);
    seen.error("listener once the first is gone", TcpListener::bind(address).await);
    Ok(())
}

/// The port of a stream that was closed here first is waited for by plain sockets, and not by those that reuse it.
pub(super) async fn address_of_a_closed_stream(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let address = listener.local_addr()?;
    let mut client = TcpStream::connect(address).await?;
    let (server, _) = listener.accept().await?;
    drop((server, listener));
    seen.outcome("the client reads", read(&mut client).await);
    drop(client);
    seen.error("plain bind", TcpSocket::new_v4()?.bind(address));
    let reusing = TcpSocket::new_v4()?;
    seen.note("reuses addresses at first", reusing.reuseaddr()?);
    reusing.set_reuseaddr(true)?;
    seen.error("reusing bind", reusing.bind(address));
    seen.error("reusing listen", reusing.listen(1));
    Ok(())
}

pub(super) async fn shared_port(seen: Seen) -> io::Result<()> {
    let sharing = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseport(true)?;
        Ok::<_, io::Error>(socket)
    };
    let first = sharing()?;
    first.bind(V4)?;
    let first = first.listen(4)?;
    let address = first.local_addr()?;
    let second = sharing()?;
    seen.error("second bind", second.bind(address));
    let second = second.listen(4)?;
    seen.error("bind that does not share", TcpSocket::new_v4()?.bind(address));
    let client = TcpStream::connect(address).await?;
    let accepted = tokio::select! {
        accepted = first.accept() => accepted,
        accepted = second.accept() => accepted,
    };
    seen.note("one of them accepts", accepted?.1 == client.local_addr()?);
    Ok(())
}

pub(super) async fn address_of_nobody_here(seen: Seen) -> io::Result<()> {
    // Addresses of documentation: no host has them.
    let four: SocketAddr = ([192, 0, 2, 1], 0).into();
    let six: SocketAddr = ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 0).into();
    seen.error("bind, IPv4", TcpListener::bind(four).await);
    seen.error("bind, IPv6", TcpListener::bind(six).await);
    Ok(())
}

pub(super) async fn bound_client(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(V4)?;
    let bound = socket.local_addr()?;
    let client = socket.connect(listener.local_addr()?).await?;
    seen.note("the client kept its port", client.local_addr()? == bound);
    seen.note("the server sees it", listener.accept().await?.1 == bound);
    let second = TcpSocket::new_v4()?;
    seen.error("another bind to it", second.bind(bound));
    Ok(())
}

/// A backlog of n holds n + 1 connections that nobody has accepted.
pub(super) async fn backlog_is_full(seen: Seen) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(V4)?;
    let listener = socket.listen(1)?;
    let address = listener.local_addr()?;
    let _first = TcpStream::connect(address).await?;
    let _second = TcpStream::connect(address).await?;
    // Clients are connected a little before the listener counts them.
    time::sleep(A_WHILE / 5).await;
    seen.note("the third connects", time::timeout(A_WHILE, TcpStream::connect(address)).await.is_ok());
    listener.accept().await?;
    let again = time::timeout(A_WHILE * 100, TcpStream::connect(address)).await;
    seen.note("it does when one was accepted", again.is_ok_and(|connected| connected.is_ok()));
    Ok(())
}

pub(super) async fn backlog_keeps_what_clients_wrote(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    client.write_all(b"and gone").await?;
    drop(client);
    time::sleep(A_WHILE).await;
    let (mut server, _) = listener.accept().await?;
    seen.outcome("read", read_all(&mut server).await);
    Ok(())
}

pub(super) async fn backlog_keeps_what_was_reset(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    client.set_zero_linger()?;
    drop(client);
    time::sleep(A_WHILE).await;
    let (mut server, _) = listener.accept().await?;
    seen.outcome("read", read(&mut server).await);
    seen.error("peer", server.peer_addr());
    Ok(())
}

pub(super) async fn listener_goes_with_its_backlog(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let mut client = TcpStream::connect(listener.local_addr()?).await?;
    drop(listener);
    seen.outcome("read", read(&mut client).await);
    seen.error("write", client.write_all(b"x").await);
    Ok(())
}

pub(super) async fn cancelled_accept(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    for _ in 0..3 {
        seen.note("accepted", time::timeout(A_WHILE / 5, listener.accept()).await.is_ok());
    }
    let client = TcpStream::connect(listener.local_addr()?).await?;
    seen.note("accepted later", listener.accept().await?.1 == client.local_addr()?);
    Ok(())
}

/// A socket that connects to its own address is joined to itself.
pub(super) async fn connected_to_itself(seen: Seen) -> io::Result<()> {
    let (socket, address) = nobody_at(V4)?;
    let mut stream = socket.connect(address).await?;
    seen.note("both ends are one", stream.local_addr()? == stream.peer_addr()?);
    stream.write_all(b"to me").await?;
    seen.outcome("read", read(&mut stream).await);
    Ok(())
}

pub(super) async fn many_at_once(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(async move {
        for _ in 0..100 {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
        Ok::<_, io::Error>(())
    });
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..100_u32 {
        clients.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(client.to_string().as_bytes()).await?;
            stream.shutdown().await?;
            Ok::<_, io::Error>(read_all(&mut stream).await? == client.to_string())
        });
    }
    let answers = clients.join_all().await;
    let right = answers.iter().filter(|answer| matches!(answer, Ok(true))).count();
    seen.note("clients with the right answer", right);
    seen.note("the server accepted all", server.await.is_ok_and(|accepted| accepted.is_ok()));
    Ok(())
}
