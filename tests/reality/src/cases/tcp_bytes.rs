//! How bytes pass a TCP connection: whole, in order, slowly, and across reads that were given up; options of its sockets.

use std::io;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time;

use crate::Seen;
use crate::seen::text;
use crate::tcp::{A_WHILE, BUFFER, V4, arrived, fill, narrow_pair, pair, read, read_all};

/// More than both buffers of a [`narrow_pair`] hold.
const LARGE: usize = 4 << 20;

pub(super) async fn echo(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    for word in ["one", "two", "three"] {
        client.write_all(word.as_bytes()).await?;
        let heard = read(&mut server).await?;
        server.write_all(heard.to_uppercase().as_bytes()).await?;
        seen.outcome("answer", read(&mut client).await);
    }
    Ok(())
}

pub(super) async fn small_writes_keep_their_order(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    let reader = tokio::spawn(async move { read_all(&mut server).await });
    let mut expected = String::new();
    for number in 0..500 {
        let word = format!("{number} ");
        client.write_all(word.as_bytes()).await?;
        expected.push_str(&word);
    }
    client.shutdown().await?;
    seen.note("all came, in order", reader.await?? == expected);
    Ok(())
}

pub(super) async fn large_write_and_a_slow_reader(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = narrow_pair().await?;
    let is_done = Arc::new(AtomicBool::new(false));
    let done = is_done.clone();
    let writer = tokio::spawn(async move {
        let bytes: Vec<u8> = (0..LARGE).map(pattern).collect();
        client.write_all(&bytes).await?;
        done.store(true, Ordering::SeqCst);
        client.shutdown().await
    });
    time::sleep(A_WHILE).await;
    seen.note("written before anybody reads", is_done.load(Ordering::SeqCst));
    let (mut count, mut is_right) = (0, true);
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = server.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        is_right &= buffer[..length].iter().enumerate().all(|(at, byte)| *byte == pattern(count + at));
        count += length;
        if count < 1 << 18 {
            time::sleep(Duration::from_millis(1)).await;
        }
    }
    seen.note("bytes", count);
    seen.note("each is right", is_right);
    seen.error("writer", writer.await?);
    Ok(())
}

pub(super) async fn full_until_somebody_reads(seen: Seen) -> io::Result<()> {
    let (client, mut server) = narrow_pair().await?;
    let taken = fill(&client).await?;
    seen.note("it took some", taken >= BUFFER as usize / 2 && taken < LARGE);
    let mut buffer = vec![0; taken];
    seen.outcome("the reader gets all", server.read_exact(&mut buffer).await.map(|read| read == taken));
    client.writable().await?;
    seen.error("write", client.try_write(b"x"));
    seen.outcome("read", read(&mut server).await.map(|text| text.len()));
    Ok(())
}

pub(super) async fn both_ways_at_once(seen: Seen) -> io::Result<()> {
    let (client, server) = narrow_pair().await?;
    let both = |stream: TcpStream| {
        tokio::spawn(async move {
            let (mut from, mut to) = stream.into_split();
            let writer = tokio::spawn(async move {
                to.write_all(&vec![3; LARGE / 4]).await?;
                to.shutdown().await
            });
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes).await?;
            writer.await??;
            Ok::<_, io::Error>(bytes.len())
        })
    };
    let (one, other) = (both(client), both(server));
    seen.outcome("one reads", one.await?);
    seen.outcome("the other reads", other.await?);
    Ok(())
}

pub(super) async fn proxy(seen: Seen) -> io::Result<()> {
    let (mut client, mut near) = pair().await?;
    let (mut far, mut server) = pair().await?;
    let between = tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
    client.write_all(b"there").await?;
    client.shutdown().await?;
    seen.outcome("server reads", read_all(&mut server).await);
    server.write_all(b"and back").await?;
    drop(server);
    seen.outcome("client reads", read_all(&mut client).await);
    seen.outcome("passed", between.await?);
    Ok(())
}

pub(super) async fn cancelled_read(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    for _ in 0..3 {
        let read = time::timeout(Duration::from_millis(5), read(&mut server)).await;
        seen.note("read something", read.is_ok());
    }
    client.write_all(b"nothing is lost").await?;
    seen.outcome("read", read(&mut server).await);
    Ok(())
}

/// What a reader of an exact amount had taken when it was dropped is gone.
pub(super) async fn cancelled_exact_read(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    client.write_all(b"abc").await?;
    arrived(&server).await?;
    let mut buffer = [0; 6];
    let exact = time::timeout(Duration::from_millis(20), server.read_exact(&mut buffer)).await;
    seen.note("six came", exact.is_ok());
    client.write_all(b"def").await?;
    seen.outcome("read", read(&mut server).await);
    Ok(())
}

pub(super) async fn cancelled_line(seen: Seen) -> io::Result<()> {
    let (mut client, server) = pair().await?;
    let mut lines = BufReader::new(server).lines();
    client.write_all(b"first\nsec").await?;
    seen.outcome("line", lines.next_line().await);
    let cut = time::timeout(Duration::from_millis(20), lines.next_line()).await;
    seen.note("a whole line came", cut.is_ok());
    client.write_all(b"ond\nthird").await?;
    client.shutdown().await?;
    for _ in 0..3 {
        seen.outcome("line", lines.next_line().await);
    }
    Ok(())
}

pub(super) async fn cancelled_write(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = narrow_pair().await?;
    let bytes: Vec<u8> = (0..LARGE).map(pattern).collect();
    let written = time::timeout(A_WHILE, client.write_all(&bytes)).await;
    seen.note("all was written", written.is_ok());
    drop(client);
    let mut came = Vec::new();
    server.read_to_end(&mut came).await?;
    seen.note("a part came", !came.is_empty() && came.len() < LARGE);
    seen.note("it is the first part", bytes.starts_with(&came));
    Ok(())
}

pub(super) async fn peek(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    client.write_all(b"twice").await?;
    let mut buffer = [0; 3];
    for _ in 0..2 {
        let length = server.peek(&mut buffer).await?;
        seen.note("peek", text(&buffer[..length]));
    }
    seen.outcome("read", read(&mut server).await);
    drop(client);
    seen.outcome("peek at the end", server.peek(&mut buffer).await);
    Ok(())
}

pub(super) async fn nothing_to_read(seen: Seen) -> io::Result<()> {
    let (mut client, server) = pair().await?;
    let mut buffer = [0; 8];
    let early = server.try_read(&mut buffer).map_err(|error| error.kind());
    seen.note("try_read", early);
    client.write_all(b"now").await?;
    arrived(&server).await?;
    seen.outcome("try_read", server.try_read(&mut buffer));
    let late = server.try_read(&mut buffer).map_err(|error| error.kind());
    seen.note("try_read", late);
    Ok(())
}

pub(super) async fn nothing_at_all(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    seen.outcome("write of nothing", client.write(b"").await);
    client.write_all(b"x").await?;
    seen.outcome("read into nothing", server.read(&mut []).await);
    seen.outcome("read", read(&mut server).await);
    Ok(())
}

pub(super) async fn vectored(seen: Seen) -> io::Result<()> {
    let (mut client, server) = pair().await?;
    let parts = [IoSlice::new(b"in "), IoSlice::new(b""), IoSlice::new(b"parts")];
    seen.outcome("write", client.write_vectored(&parts).await);
    arrived(&server).await?;
    let (mut one, mut other) = ([0; 4], [0; 8]);
    let mut into = [io::IoSliceMut::new(&mut one), io::IoSliceMut::new(&mut other)];
    seen.outcome("read", server.try_read_vectored(&mut into));
    seen.note("buffers", (text(&one), text(&other[..4])));
    Ok(())
}

pub(super) async fn read_in_pieces(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    client.write_all(b"abcdefghij").await?;
    let mut piece = [0; 4];
    arrived(&server).await?;
    for _ in 0..2 {
        seen.outcome("read", server.read_exact(&mut piece).await.map(|_| text(&piece)));
    }
    drop(client);
    seen.outcome("rest", read_all(&mut server).await);
    Ok(())
}

pub(super) async fn numbers(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    client.write_u32(0xdead_beef).await?;
    client.write_i16_le(-2).await?;
    client.write_f64(0.5).await?;
    drop(client);
    seen.outcome("u32", server.read_u32().await);
    seen.outcome("i16", server.read_i16_le().await);
    seen.outcome("f64", server.read_f64().await);
    seen.outcome("u8 beyond the end", server.read_u8().await);
    Ok(())
}

pub(super) async fn no_delay(seen: Seen) -> io::Result<()> {
    let (mut client, mut server) = pair().await?;
    seen.outcome("at first", client.nodelay());
    client.set_nodelay(true)?;
    seen.outcome("set", client.nodelay());
    seen.outcome("at the peer", server.nodelay());
    for word in ["a", "b"] {
        client.write_all(word.as_bytes()).await?;
        seen.outcome("read", read(&mut server).await);
    }
    client.set_nodelay(false)?;
    seen.outcome("set back", client.nodelay());
    Ok(())
}

pub(super) async fn options(seen: Seen) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    seen.outcome("keepalive at first", socket.keepalive());
    socket.set_keepalive(true)?;
    seen.outcome("keepalive", socket.keepalive());
    socket.set_recv_buffer_size(65_536)?;
    seen.outcome("receive buffer is enough", socket.recv_buffer_size().map(|size| size >= 65_536));
    socket.set_send_buffer_size(65_536)?;
    seen.outcome("send buffer is enough", socket.send_buffer_size().map(|size| size >= 65_536));
    seen.outcome("reuseport at first", socket.reuseport());
    seen.outcome("device", socket.device());
    let (client, _server) = pair().await?;
    client.set_ttl(17)?;
    seen.outcome("ttl", client.ttl());
    Ok(())
}

#[expect(deprecated, reason = "a close that waits is what is looked at")]
pub(super) async fn linger_is_kept(seen: Seen) -> io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    seen.outcome("at first", socket.linger());
    for linger in [Some(Duration::from_secs(5)), Some(Duration::ZERO), None] {
        socket.set_linger(linger)?;
        seen.outcome("set", socket.linger());
    }
    let (client, _server) = pair().await?;
    client.set_zero_linger()?;
    seen.outcome("of a stream", client.linger());
    Ok(())
}

/// A close that waits for what was written, and finds that it has come.
#[expect(deprecated, reason = "a close that waits is what is looked at")]
pub(super) async fn linger_delivers(seen: Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4).await?;
    let socket = TcpSocket::new_v4()?;
    socket.set_linger(Some(Duration::from_secs(5)))?;
    let mut client = socket.connect(listener.local_addr()?).await?;
    let (mut server, _) = listener.accept().await?;
    client.write_all(b"before the close").await?;
    let begun = time::Instant::now();
    tokio::task::spawn_blocking(move || drop(client)).await?;
    seen.note("closed before its time", begun.elapsed() < Duration::from_secs(5));
    seen.outcome("read", read_all(&mut server).await);
    Ok(())
}

fn pattern(at: usize) -> u8 {
    (at % 251).try_into().unwrap_or_default()
}
