//! The blocking sockets of std, in threads that wait.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::Seen;
use crate::seen::text;
use crate::tcp::{V4, nobody_at};

/// How long reads and writes with a timeout wait here.
const TIMEOUT: Duration = Duration::from_millis(40);

fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(V4)?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

fn read(mut stream: &TcpStream) -> io::Result<String> {
    let mut buffer = [0; 64];
    let length = stream.read(&mut buffer)?;
    Ok(text(&buffer[..length]))
}

/// Whether `call` took the time of the timeout, a tick of the kernel's clock aside.
fn waits<T>(call: impl FnOnce() -> T) -> (T, bool) {
    let begun = Instant::now();
    let result = call();
    (result, begun.elapsed() >= TIMEOUT - Duration::from_millis(10))
}

pub(super) fn lines(seen: &Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4)?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        let lines = BufReader::new(stream.try_clone()?).lines();
        for line in lines {
            writeln!(stream, "heard {}", line?)?;
        }
        Ok::<_, io::Error>(())
    });
    let mut client = TcpStream::connect(address)?;
    client.write_all(b"one\ntwo\n")?;
    client.shutdown(Shutdown::Write)?;
    for line in BufReader::new(&client).lines() {
        seen.outcome("line", line);
    }
    seen.note("server", server.join().is_ok_and(|ended| ended.is_ok()));
    Ok(())
}

pub(super) fn accept_waits(seen: &Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4)?;
    let address = listener.local_addr()?;
    let begun = Instant::now();
    let client = thread::spawn(move || {
        thread::sleep(TIMEOUT);
        TcpStream::connect(address)
    });
    let (_server, from) = listener.accept()?;
    seen.note("it waited", begun.elapsed() >= TIMEOUT - Duration::from_millis(10));
    let client = client.join().map(|client| client.and_then(|client| client.local_addr()));
    seen.note("for this client", client.is_ok_and(|address| address.is_ok_and(|address| address == from)));
    Ok(())
}

pub(super) fn read_timeout(seen: &Seen) -> io::Result<()> {
    let (client, mut server) = pair()?;
    seen.outcome("at first", client.read_timeout());
    client.set_read_timeout(Some(TIMEOUT))?;
    seen.outcome("is kept", client.read_timeout().map(|timeout| timeout.is_some_and(|t| t >= TIMEOUT)));
    let (result, waited) = waits(|| read(&client));
    seen.outcome("read", result);
    seen.note("it waited", waited);
    server.write_all(b"in time")?;
    seen.outcome("read", read(&client));
    seen.error("timeout of nothing", client.set_read_timeout(Some(Duration::ZERO)));
    client.set_read_timeout(None)?;
    seen.outcome("at last", client.read_timeout());
    Ok(())
}

pub(super) fn write_timeout(seen: &Seen) -> io::Result<()> {
    let (mut client, _server) = pair()?;
    client.set_write_timeout(Some(TIMEOUT))?;
    let block = vec![0; 1 << 20];
    let failed = loop {
        if let Err(error) = client.write(&block) {
            break error;
        }
    };
    seen.error("write that nobody reads", Err::<(), _>(failed));
    Ok(())
}

pub(super) fn non_blocking(seen: &Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4)?;
    listener.set_nonblocking(true)?;
    seen.error("accept", listener.accept());
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let server = loop {
        match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(TIMEOUT / 20),
            accepted => break accepted?.0,
        }
    };
    // On Linux an accepted stream does not inherit the flag.
    server.set_read_timeout(Some(TIMEOUT))?;
    let (result, waited) = waits(|| read(&server));
    seen.outcome("read of the accepted stream", result);
    seen.note("it waited", waited);
    server.set_nonblocking(true)?;
    seen.outcome("read", read(&server));
    client.write_all(b"x")?;
    server.set_nonblocking(false)?;
    server.set_read_timeout(None)?;
    seen.outcome("read", read(&server));
    Ok(())
}

pub(super) fn connect_timeout(seen: &Seen) -> io::Result<()> {
    let listener = TcpListener::bind(V4)?;
    let long = Duration::from_secs(5);
    seen.error("connect", TcpStream::connect_timeout(&listener.local_addr()?, long));
    let (_held, nobody) = nobody_at(V4)?;
    seen.error("connect to nobody", TcpStream::connect_timeout(&nobody, long));
    seen.error("connect in no time", TcpStream::connect_timeout(&nobody, Duration::ZERO));
    Ok(())
}

pub(super) fn shutdowns(seen: &Seen) -> io::Result<()> {
    let (client, mut server) = pair()?;
    client.shutdown(Shutdown::Read)?;
    seen.outcome("read after shutdown", read(&client));
    // A peer is not told of it, and what it writes can be read after all.
    seen.error("the peer writes", server.write_all(b"x"));
    let after_all = loop {
        match read(&client)?.as_str() {
            "" => thread::sleep(TIMEOUT / 40),
            text => break text.to_owned(),
        }
    };
    seen.note("read after all", after_all);
    client.shutdown(Shutdown::Both)?;
    seen.error("write after shutdown", (&client).write(b"x"));
    seen.outcome("the peer reads", read(&server));
    Ok(())
}

/// A thread that reads is woken by a shutdown of another.
pub(super) fn shutdown_wakes_a_reader(seen: &Seen) -> io::Result<()> {
    let (client, _server) = pair()?;
    let reading = client.try_clone()?;
    let reader = thread::spawn(move || read(&reading));
    thread::sleep(TIMEOUT / 2);
    client.shutdown(Shutdown::Both)?;
    seen.outcome("read", reader.join().unwrap_or_else(|_| Ok("panicked".to_owned())));
    Ok(())
}

pub(super) fn clones_are_one_stream(seen: &Seen) -> io::Result<()> {
    let (client, server) = pair()?;
    let mut clone = client.try_clone()?;
    drop(client);
    clone.write_all(b"from the clone")?;
    seen.outcome("read", read(&server));
    server.set_nonblocking(true)?;
    seen.outcome("the end is not there", read(&server));
    server.set_nonblocking(false)?;
    drop(clone);
    seen.outcome("read", read(&server));
    Ok(())
}

pub(super) fn peek_waits(seen: &Seen) -> io::Result<()> {
    let (client, mut server) = pair()?;
    let writer = thread::spawn(move || {
        thread::sleep(TIMEOUT / 2);
        server.write_all(b"later").map(|()| server)
    });
    let mut buffer = [0; 2];
    seen.outcome("peek", client.peek(&mut buffer).map(|length| text(&buffer[..length])));
    seen.outcome("read", read(&client));
    seen.note("writer", writer.join().is_ok());
    Ok(())
}
