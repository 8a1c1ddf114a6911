//! What several cases over TCP need: pairs of streams, ports where nobody listens, full streams.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time;

use crate::seen::text;

/// Any port of this machine, over IPv4.
pub(crate) const V4: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Any port of this machine, over IPv6.
pub(crate) const V6: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0);
/// A buffer that holds some segments of the loopback interface, and that the kernel does not widen by itself.
pub(crate) const BUFFER: u32 = 160 << 10;
/// Long enough for something that must not happen, were it to happen.
pub(crate) const A_WHILE: Duration = Duration::from_millis(50);

/// A client's stream and the server's end of it.
pub(crate) async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(V4).await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    Ok((client, listener.accept().await?.0))
}

/// As [`pair`], with buffers of a known size at both ends.
pub(crate) async fn narrow_pair() -> io::Result<(TcpStream, TcpStream)> {
    let (listening, client) = (TcpSocket::new_v4()?, TcpSocket::new_v4()?);
    for socket in [&listening, &client] {
        socket.set_send_buffer_size(BUFFER)?;
        socket.set_recv_buffer_size(BUFFER)?;
    }
    listening.bind(V4)?;
    let listener = listening.listen(8)?;
    let client = client.connect(listener.local_addr()?).await?;
    Ok((client, listener.accept().await?.0))
}

/// Waits until bytes have come. That a stream is ready to be read may be said before: tokio assumes it of new ones.
pub(crate) async fn arrived(stream: &TcpStream) -> io::Result<()> {
    stream.peek(&mut [0]).await.map(drop)
}

/// An address at which nobody listens, and nobody will while the socket is kept.
pub(crate) fn nobody_at(any: SocketAddr) -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = if any.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(any)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// One read of at most 64 bytes.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut buffer = [0; 64];
    let length = stream.read(&mut buffer).await?;
    Ok(text(&buffer[..length]))
}

/// Everything up to the end of the stream.
pub(crate) async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    Ok(text(&bytes))
}

/// Writes until nothing has fitted for [`A_WHILE`]; how much was taken.
pub(crate) async fn fill(stream: &TcpStream) -> io::Result<usize> {
    let mut taken = 0;
    while let Ok(ready) = time::timeout(A_WHILE, stream.writable()).await {
        ready?;
        match stream.try_write(&[7; 4096]) {
            Ok(length) => taken += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// Writes single bytes until that fails; the error.
pub(crate) async fn write_until_error(stream: &TcpStream) -> io::Result<()> {
    loop {
        stream.writable().await?;
        match stream.try_write(b"x") {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => time::sleep(Duration::from_millis(1)).await,
        }
    }
}
