//! Names of hosts and addresses as text, as far as no server is asked.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, lookup_host};

use crate::Seen;
use crate::tcp::{V4, nobody_at, read};

pub(super) async fn localhost(seen: Seen) -> io::Result<()> {
    let found: Vec<SocketAddr> = lookup_host("localhost:80").await?.collect();
    seen.note("found", !found.is_empty());
    seen.note("all are of this machine", found.iter().all(|address| address.ip().is_loopback()));
    seen.note("ports are as asked", found.iter().all(|address| address.port() == 80));
    Ok(())
}

pub(super) async fn numbers(seen: Seen) -> io::Result<()> {
    let of = async |text: &str| Ok::<_, io::Error>(lookup_host(text).await?.collect::<Vec<_>>());
    seen.outcome("IPv4", of("127.0.0.1:80").await);
    seen.outcome("IPv6", of("[::1]:443").await);
    let pair: Vec<SocketAddr> = lookup_host(("10.1.2.3", 5)).await?.collect();
    seen.note("IPv4 and a port", pair);
    let pair: Vec<SocketAddr> = lookup_host(("fd00::7", 5)).await?.collect();
    seen.note("IPv6 and a port", pair);
    Ok(())
}

pub(super) async fn no_addresses(seen: Seen) -> io::Result<()> {
    for text in ["localhost", "localhost:", "localhost:70000", "localhost:http", "127.0.0.1"] {
        seen.error(text, lookup_host(text).await);
    }
    for text in ["256.0.0.1", "1.2.3", "::g", "01.2.3.4", "[::1]"] {
        seen.note(text, text.parse::<IpAddr>().is_ok());
    }
    Ok(())
}

pub(super) async fn first_that_answers(seen: Seen) -> io::Result<()> {
    let (_held, nobody) = nobody_at(V4)?;
    let (_other, nobody_else) = nobody_at(V4)?;
    let listener = TcpListener::bind(V4).await?;
    let address = listener.local_addr()?;
    let stream = TcpStream::connect(&[nobody, address][..]).await?;
    seen.note("it is the second", stream.peer_addr()? == address);
    seen.error("none answers", TcpStream::connect(&[nobody, nobody_else][..]).await);
    seen.error("there is none", TcpStream::connect(&[][..]).await);
    seen.error("none can be bound", TcpListener::bind(&[][..]).await);
    Ok(())
}

pub(super) async fn connect_by_name(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let port = listener.local_addr()?.port();
    let mut client = TcpStream::connect(("localhost", port)).await?;
    let (mut server, _) = listener.accept().await?;
    client.write_all(b"by name").await?;
    seen.outcome("read", read(&mut server).await);
    Ok(())
}

pub(super) fn blocking(seen: &Seen) -> io::Result<()> {
    let found: Vec<SocketAddr> = ("localhost", 1).to_socket_addrs()?.collect();
    seen.note("localhost is of this machine", found.iter().all(|address| address.ip().is_loopback()));
    seen.outcome("a number", "127.0.0.1:9".to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    Ok(())
}
