//! Unix sockets and pipes: streams, datagrams, names in the file system and beside it; what may be polled.

use std::fs;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net as blocking;
use std::thread;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixDatagram, UnixListener, UnixStream, unix::pipe};
use tokio::time;

use crate::Seen;
use crate::seen::text;
use crate::tcp::{A_WHILE, read, read_all};

pub(super) async fn stream(seen: Seen) -> io::Result<()> {
    let path = seen.path("socket");
    let listener = UnixListener::bind(&path)?;
    let mut client = UnixStream::connect(&path).await?;
    let (mut server, from) = listener.accept().await?;
    seen.note("the client has a name", !from.is_unnamed());
    seen.note("the server's name", server.local_addr()?.as_pathname() == Some(path.as_path()));
    seen.note("the client's peer", client.peer_addr()?.as_pathname() == Some(path.as_path()));
    client.write_all(b"question").await?;
    client.shutdown().await?;
    seen.outcome("server reads", read_all(&mut server).await);
    server.write_all(b"answer").await?;
    drop(server);
    seen.outcome("client reads", read_all(&mut client).await);
    Ok(())
}

pub(super) async fn names_in_the_file_system(seen: Seen) -> io::Result<()> {
    let path = seen.path("socket");
    seen.error("connect to what is not there", UnixStream::connect(&path).await);
    let listener = UnixListener::bind(&path)?;
    seen.error("bind again", UnixListener::bind(&path));
    drop(listener);
    seen.note("the name outlives its listener", path.exists());
    seen.error("connect to it", UnixStream::connect(&path).await);
    seen.error("bind over it", UnixListener::bind(&path));
    fs::remove_file(&path)?;
    seen.error("bind once it is removed", UnixListener::bind(&path));
    fs::write(seen.path("file"), "no socket")?;
    seen.error("connect to a file", UnixStream::connect(seen.path("file")).await);
    seen.error("open a socket's name", fs::File::open(&path));
    seen.error("bind in no folder", UnixListener::bind(seen.path("none/socket")));
    seen.error("too long a name", UnixListener::bind(seen.path(&"x".repeat(120))));
    Ok(())
}

pub(super) async fn renamed_and_removed(seen: Seen) -> io::Result<()> {
    let (path, other) = (seen.path("socket"), seen.path("other"));
    let listener = UnixListener::bind(&path)?;
    fs::rename(&path, &other)?;
    let mut client = UnixStream::connect(&other).await?;
    fs::remove_file(&other)?;
    let (mut server, _) = listener.accept().await?;
    client.write_all(b"joined").await?;
    seen.outcome("read", read(&mut server).await);
    seen.error("connect by the name that was", UnixStream::connect(&path).await);
    Ok(())
}

/// A name that is in no folder, goes with its listener, and is free at once.
pub(super) fn names_beside_the_file_system(seen: &Seen) -> io::Result<()> {
    let name = seen.dir().to_string_lossy().into_owned();
    let address = blocking::SocketAddr::from_abstract_name(name.as_bytes())?;
    seen.error("connect to nobody", blocking::UnixStream::connect_addr(&address));
    let listener = blocking::UnixListener::bind_addr(&address)?;
    seen.error("bind again", blocking::UnixListener::bind_addr(&address));
    let mut client = blocking::UnixStream::connect_addr(&address)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"abstract")?;
    drop(client);
    let mut all = String::new();
    server.read_to_string(&mut all)?;
    seen.note("read", all);
    drop((server, listener));
    seen.error("bind once it is gone", blocking::UnixListener::bind_addr(&address));
    Ok(())
}

pub(super) async fn ends_of_a_pair(seen: Seen) -> io::Result<()> {
    let (mut one, mut other) = UnixStream::pair()?;
    one.write_all(b"half").await?;
    one.shutdown().await?;
    seen.outcome("read", read_all(&mut other).await);
    seen.error("write after shutdown", one.write_all(b"x").await);
    other.write_all(b"other half").await?;
    seen.outcome("read", read(&mut one).await);
    drop(other);
    seen.outcome("read", read(&mut one).await);
    let (mut one, other) = UnixStream::pair()?;
    drop(other);
    seen.error("write to one who has gone", one.write_all(b"x").await);
    seen.outcome("read", read(&mut one).await);
    Ok(())
}

pub(super) async fn close_over_unread_bytes(seen: Seen) -> io::Result<()> {
    let (mut one, mut other) = UnixStream::pair()?;
    one.write_all(b"nobody reads this").await?;
    other.write_all(b"answer").await?;
    drop(other);
    seen.outcome("read", read(&mut one).await);
    seen.outcome("read", read(&mut one).await);
    seen.error("write", one.write_all(b"x").await);
    Ok(())
}

pub(super) async fn full_stream(seen: Seen) -> io::Result<()> {
    let (mut one, mut other) = UnixStream::pair()?;
    let writer = tokio::spawn(async move { one.write_all(&vec![9; 4 << 20]).await });
    time::sleep(A_WHILE / 2).await;
    seen.note("written before anybody reads", writer.is_finished());
    let mut bytes = Vec::new();
    other.read_to_end(&mut bytes).await?;
    seen.note("bytes", bytes.len());
    seen.error("writer", writer.await?);
    Ok(())
}

pub(super) async fn credentials(seen: Seen) -> io::Result<()> {
    let (one, _other) = UnixStream::pair()?;
    let peer = one.peer_cred()?;
    let own = std::process::id();
    seen.note("the peer is this process", peer.pid().is_some_and(|pid| u32::try_from(pid) == Ok(own)));
    Ok(())
}

pub(super) async fn datagrams(seen: Seen) -> io::Result<()> {
    let (one, other) = UnixDatagram::pair()?;
    one.send(b"a long datagram").await?;
    one.send(b"").await?;
    one.send(b"last").await?;
    let mut small = [0; 6];
    for _ in 0..3 {
        let length = other.recv(&mut small).await?;
        seen.note("received", text(&small[..length]));
    }
    drop(other);
    seen.outcome("send to one who has gone", one.send(b"x").await);
    Ok(())
}

pub(super) async fn datagrams_by_name(seen: Seen) -> io::Result<()> {
    let (path, back) = (seen.path("to"), seen.path("back"));
    let socket = UnixDatagram::bind(&path)?;
    let unnamed = UnixDatagram::unbound()?;
    let named = UnixDatagram::bind(&back)?;
    unnamed.send_to(b"from nobody", &path).await?;
    named.send_to(b"from somebody", &path).await?;
    let mut buffer = [0; 64];
    for _ in 0..2 {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        seen.note("received", text(&buffer[..length]));
        seen.note("from a name", from.as_pathname() == Some(back.as_path()));
    }
    socket.send_to(b"back", &back).await?;
    seen.outcome("received", named.recv(&mut buffer).await);
    seen.error("send to no name", named.send_to(b"x", seen.path("none")).await);
    drop(socket);
    seen.error("send to one who has gone", named.send_to(b"x", &path).await);
    Ok(())
}

pub(super) async fn pipes(seen: Seen) -> io::Result<()> {
    let (mut to, mut from) = pipe::pipe()?;
    to.write_all(b"through").await?;
    seen.outcome("read", read(&mut from).await);
    let nothing = from.try_read(&mut [0; 8]).map_err(|error| error.kind());
    seen.note("try_read", nothing);
    to.write_all(b"the end").await?;
    drop(to);
    seen.outcome("read", read(&mut from).await);
    seen.outcome("read", read(&mut from).await);
    let (mut to, from) = pipe::pipe()?;
    drop(from);
    seen.error("write that nobody can read", to.write_all(b"x").await);
    Ok(())
}

pub(super) async fn full_pipe(seen: Seen) -> io::Result<()> {
    let (mut to, mut from) = pipe::pipe()?;
    to.writable().await?;
    let mut taken = 0;
    while let Ok(length) = to.try_write(&[1; 4096]) {
        taken += length;
    }
    seen.note("it took some", taken >= 4096);
    seen.note("it takes more", time::timeout(A_WHILE / 2, to.writable()).await.is_ok());
    let mut buffer = vec![0; taken];
    from.read_exact(&mut buffer).await?;
    to.writable().await?;
    seen.error("write", to.write_all(b"x").await);
    seen.outcome("read", read(&mut from).await.map(|text| text.len()));
    Ok(())
}

pub(super) fn blocking_pipe(seen: &Seen) -> io::Result<()> {
    let (mut from, mut to) = io::pipe()?;
    let writer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        to.write_all(&vec![2; 1 << 20])
    });
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    seen.note("bytes", bytes.len());
    seen.note("writer", writer.join().is_ok_and(|written| written.is_ok()));
    let (from, mut to) = io::pipe()?;
    drop(from);
    seen.error("write that nobody can read", to.write_all(b"x"));
    Ok(())
}

#[expect(deprecated, reason = "what replaces it is unsafe, and asks the kernel for the same")]
pub(super) async fn what_can_be_polled(seen: Seen) -> io::Result<()> {
    let file = fs::File::create(seen.path("file"))?;
    seen.error("a file", AsyncFd::new(file));
    let folder = fs::File::open(seen.dir())?;
    seen.error("a folder", AsyncFd::new(folder));
    let (one, mut other) = blocking::UnixStream::pair()?;
    one.set_nonblocking(true)?;
    let one = AsyncFd::new(one)?;
    seen.note("ready", time::timeout(A_WHILE / 2, one.readable()).await.is_ok());
    other.write_all(b"ready")?;
    let mut buffer = [0; 8];
    let mut guard = one.readable().await?;
    let length =
        guard.try_io(|one| one.get_ref().read(&mut buffer)).map_err(|_| io::ErrorKind::WouldBlock)??;
    seen.note("read", text(&buffer[..length]));
    let more = guard.try_io(|one| one.get_ref().read(&mut buffer));
    seen.note("more", more.is_ok());
    Ok(())
}
