//! Datagrams over IPv4 and IPv6.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time;

use crate::Seen;
use crate::seen::text;
use crate::tcp::{A_WHILE, V4, V6};

/// Two sockets that know each other alone.
async fn connected() -> io::Result<(UdpSocket, UdpSocket)> {
    let (one, other) = (UdpSocket::bind(V4).await?, UdpSocket::bind(V4).await?);
    one.connect(other.local_addr()?).await?;
    other.connect(one.local_addr()?).await?;
    Ok((one, other))
}

async fn receive(socket: &UdpSocket) -> io::Result<String> {
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).await?;
    Ok(text(&buffer[..length]))
}

/// A port at which no datagram of others is taken, while the sockets are kept.
async fn deaf() -> io::Result<((UdpSocket, UdpSocket), SocketAddr)> {
    let pair = connected().await?;
    let address = pair.0.local_addr()?;
    Ok((pair, address))
}

pub(super) async fn exchange(seen: Seen) -> io::Result<()> {
    let (one, other) = (UdpSocket::bind(V4).await?, UdpSocket::bind(V4).await?);
    seen.outcome("send", one.send_to(b"question", other.local_addr()?).await);
    let mut buffer = [0; 64];
    let (length, from) = other.recv_from(&mut buffer).await?;
    seen.note("received", text(&buffer[..length]));
    seen.note("from the sender", from == one.local_addr()?);
    other.send_to(b"answer", from).await?;
    seen.outcome("received", receive(&one).await);
    Ok(())
}

pub(super) async fn over_v6(seen: Seen) -> io::Result<()> {
    let (one, other) = (UdpSocket::bind(V6).await?, UdpSocket::bind(V6).await?);
    one.send_to(b"six", other.local_addr()?).await?;
    let mut buffer = [0; 64];
    let (length, from) = other.recv_from(&mut buffer).await?;
    seen.note("received", text(&buffer[..length]));
    seen.note("from", from.ip());
    Ok(())
}

pub(super) async fn cut_to_the_buffer(seen: Seen) -> io::Result<()> {
    let (one, other) = connected().await?;
    one.send(b"a long datagram").await?;
    one.send(b"next").await?;
    let mut small = [0; 6];
    seen.outcome("received", other.recv(&mut small).await);
    seen.note("it is", text(&small));
    seen.outcome("received", receive(&other).await);
    Ok(())
}

pub(super) async fn empty(seen: Seen) -> io::Result<()> {
    let (one, other) = connected().await?;
    seen.outcome("send", one.send(b"").await);
    one.send(b"not empty").await?;
    seen.outcome("received", receive(&other).await);
    seen.outcome("received", receive(&other).await);
    Ok(())
}

pub(super) async fn largest(seen: Seen) -> io::Result<()> {
    let (one, other) = connected().await?;
    let bytes = vec![5; 65_508];
    seen.outcome("one byte too many", one.send(&bytes).await);
    seen.outcome("the largest", one.send(&bytes[1..]).await);
    let mut buffer = vec![0; 1 << 17];
    seen.outcome("received", other.recv(&mut buffer).await);
    Ok(())
}

pub(super) async fn boundaries_and_order(seen: Seen) -> io::Result<()> {
    let (one, other) = connected().await?;
    for number in 0..50 {
        one.send("x".repeat(number).as_bytes()).await?;
    }
    let mut lengths = Vec::new();
    for _ in 0..50 {
        lengths.push(receive(&other).await?.len());
    }
    seen.note("lengths", lengths);
    Ok(())
}

pub(super) async fn refused_when_connected(seen: Seen) -> io::Result<()> {
    let (_kept, address) = deaf().await?;
    let socket = UdpSocket::bind(V4).await?;
    socket.connect(address).await?;
    seen.outcome("send", socket.send(b"anybody?").await);
    seen.outcome("receive", receive(&socket).await);
    let later = time::timeout(A_WHILE, receive(&socket)).await;
    seen.note("told a second time", later.is_ok());
    Ok(())
}

/// The next call tells of what the one before met.
pub(super) async fn refused_is_told_to_the_next_send(seen: Seen) -> io::Result<()> {
    let (_kept, address) = deaf().await?;
    let socket = UdpSocket::bind(V4).await?;
    socket.connect(address).await?;
    socket.send(b"one").await?;
    let ready = socket.ready(Interest::ERROR).await?;
    seen.note("an error is there", ready.is_error());
    seen.outcome("second send", socket.send(b"two").await);
    Ok(())
}

pub(super) async fn unconnected_is_not_told(seen: Seen) -> io::Result<()> {
    let (_kept, address) = deaf().await?;
    let socket = UdpSocket::bind(V4).await?;
    seen.outcome("send", socket.send_to(b"one", address).await);
    seen.note("told of it", time::timeout(A_WHILE, receive(&socket)).await.is_ok());
    seen.outcome("send", socket.send_to(b"two", address).await);
    Ok(())
}

pub(super) async fn connected_hears_its_peer_alone(seen: Seen) -> io::Result<()> {
    let (one, other) = connected().await?;
    let stranger = UdpSocket::bind(V4).await?;
    stranger.send_to(b"from a stranger", other.local_addr()?).await?;
    one.send(b"from the peer").await?;
    seen.outcome("received", receive(&other).await);
    seen.note("more", time::timeout(A_WHILE / 2, receive(&other)).await.is_ok());
    other.connect(stranger.local_addr()?).await?;
    stranger.send_to(b"a stranger no more", other.local_addr()?).await?;
    seen.outcome("received", receive(&other).await);
    Ok(())
}

pub(super) async fn without_a_destination(seen: Seen) -> io::Result<()> {
    let socket = UdpSocket::bind(V4).await?;
    seen.outcome("send", socket.send(b"to whom?").await);
    seen.outcome("peer", socket.peer_addr());
    seen.outcome("send to port 0", socket.send_to(b"x", V4).await);
    let six = UdpSocket::bind(V6).await?;
    seen.outcome("send to IPv6", socket.send_to(b"x", six.local_addr()?).await);
    Ok(())
}

pub(super) async fn peek(seen: Seen) -> io::Result<()> {
    let (one, other) = (UdpSocket::bind(V4).await?, UdpSocket::bind(V4).await?);
    one.send_to(b"stays", other.local_addr()?).await?;
    let mut buffer = [0; 3];
    for _ in 0..2 {
        let (length, from) = other.peek_from(&mut buffer).await?;
        seen.note("peek", (text(&buffer[..length]), from == one.local_addr()?));
    }
    seen.outcome("received", receive(&other).await);
    let nothing = other.try_recv(&mut buffer).map_err(|error| error.kind());
    seen.note("try_recv", nothing);
    Ok(())
}

pub(super) async fn address_in_use(seen: Seen) -> io::Result<()> {
    let socket = UdpSocket::bind(V4).await?;
    let address = socket.local_addr()?;
    seen.error("second bind", UdpSocket::bind(address).await);
    drop(socket);
    seen.error("bind once it is gone", UdpSocket::bind(address).await);
    let nobody: SocketAddr = ([192, 0, 2, 1], 0).into();
    seen.error("bind to a host's address that is not ours", UdpSocket::bind(nobody).await);
    Ok(())
}

/// A receiver that does not keep up loses the newest.
pub(super) async fn overrun(seen: Seen) -> io::Result<()> {
    let (one, other) = connected().await?;
    for number in 0..400_u32 {
        let mut datagram = vec![0; 60_000];
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        one.send(&datagram).await?;
    }
    // What is still under way would else find room that was made meanwhile.
    time::sleep(A_WHILE).await;
    let mut numbers = Vec::new();
    let mut buffer = vec![0; 60_000];
    while let Ok(length) = time::timeout(A_WHILE, other.recv(&mut buffer)).await {
        length?;
        numbers.push(u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]));
    }
    seen.note("some came, some did not", !numbers.is_empty() && numbers.len() < 400);
    seen.note("the first came, in order", (0_u32..).zip(&numbers).all(|(expected, came)| expected == *came));
    Ok(())
}

pub(super) async fn options(seen: Seen) -> io::Result<()> {
    let socket = UdpSocket::bind(V4).await?;
    seen.outcome("broadcast at first", socket.broadcast());
    socket.set_broadcast(true)?;
    seen.outcome("broadcast", socket.broadcast());
    socket.set_ttl(9)?;
    seen.outcome("ttl", socket.ttl());
    seen.outcome("multicast loop at first", socket.multicast_loop_v4());
    seen.outcome("multicast ttl at first", socket.multicast_ttl_v4());
    socket.set_multicast_loop_v4(false)?;
    socket.set_multicast_ttl_v4(3)?;
    seen.outcome("multicast loop", socket.multicast_loop_v4());
    seen.outcome("multicast ttl", socket.multicast_ttl_v4());
    Ok(())
}

pub(super) async fn groups_are_joined_once(seen: Seen) -> io::Result<()> {
    let socket = UdpSocket::bind(V4).await?;
    let group = Ipv4Addr::new(239, 7, 7, 7);
    seen.error("join", socket.join_multicast_v4(group, Ipv4Addr::LOCALHOST));
    seen.error("join again", socket.join_multicast_v4(group, Ipv4Addr::LOCALHOST));
    seen.error("leave", socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST));
    seen.error("leave again", socket.leave_multicast_v4(group, Ipv4Addr::LOCALHOST));
    seen.error("join no group", socket.join_multicast_v4(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST));
    Ok(())
}

pub(super) async fn cancelled_receive(seen: Seen) -> io::Result<()> {
    let (one, other) = connected().await?;
    seen.note("received", time::timeout(A_WHILE / 5, receive(&other)).await.is_ok());
    one.send(b"kept").await?;
    seen.outcome("received", receive(&other).await);
    Ok(())
}

pub(super) fn blocking(seen: &Seen) -> io::Result<()> {
    let (one, other) = (std::net::UdpSocket::bind(V4)?, std::net::UdpSocket::bind(V4)?);
    other.set_read_timeout(Some(A_WHILE))?;
    let mut buffer = [0; 64];
    let begun = Instant::now();
    seen.error("receive", other.recv_from(&mut buffer));
    seen.note("it waited", begun.elapsed() >= A_WHILE - Duration::from_millis(10));
    one.connect(other.local_addr()?)?;
    one.send(b"in a thread")?;
    seen.outcome("receive", other.recv(&mut buffer).map(|length| text(&buffer[..length])));
    other.set_nonblocking(true)?;
    seen.error("receive", other.recv(&mut buffer));
    Ok(())
}
