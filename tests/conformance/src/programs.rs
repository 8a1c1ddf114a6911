//! What hosts run: programs that need nothing of the machine they come from.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};

use netsplit::Machine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::signal::unix::{SignalKind, signal};

/// Where the servers of this suite listen.
pub const PORT: u16 = 7000;

/// `echo_server`: sends back what comes, on IPv4 and IPv6, each connection to its end.
///
/// # Errors
/// When the port is taken.
#[netsplit::program]
pub async fn echo_server() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).await?;
    say(&format!("listening on {PORT}"));
    loop {
        let (stream, peer) = listener.accept().await?;
        say(&format!("connected {}", peer.ip().to_canonical()));
        tokio::spawn(async move {
            let (mut from, mut to) = stream.into_split();
            match tokio::io::copy(&mut from, &mut to).await {
                Ok(bytes) => say(&format!("closed after {bytes}")),
                Err(_) => say("broken"),
            }
        });
    }
}

/// `echo_client HOST WORDS…`: says the words to the host's echo server over each of its addresses, and prints what
/// comes back with the family it came over.
///
/// # Errors
/// When the host has no name, or does not answer.
#[netsplit::program]
pub async fn echo_client(machine: Machine, arguments: Vec<String>) -> io::Result<()> {
    let (host, words) = arguments.split_first().ok_or_else(|| io::Error::other("no host"))?;
    let text = format!("{} says {}", machine.name(), words.join(" "));
    for address in lookup_host((host.as_str(), PORT)).await? {
        let family = if address.is_ipv4() { 4 } else { 6 };
        let answer = converse(address, &text).await?;
        say(&format!("{family}: {answer}"));
    }
    Ok(())
}

async fn converse(address: SocketAddr, text: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// `ticker HOST`: keeps one connection to the host's echo server, and prints a line for each number that comes back.
///
/// # Errors
/// When the connection breaks.
#[netsplit::program]
pub async fn ticker(arguments: Vec<String>) -> io::Result<()> {
    let host = arguments.first().ok_or_else(|| io::Error::other("no host"))?;
    let mut stream = TcpStream::connect((host.as_str(), PORT)).await?;
    let mut number = 0_u64;
    loop {
        number += 1;
        stream.write_all(&number.to_le_bytes()).await?;
        let mut back = [0; 8];
        stream.read_exact(&mut back).await?;
        say(&format!("tick {}", u64::from_le_bytes(back)));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// `flood_server`: sends zeros to whoever connects, without end, and says who has gone.
///
/// # Errors
/// When the port is taken.
#[netsplit::program]
pub async fn flood_server() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).await?;
    say(&format!("listening on {PORT}"));
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            while stream.write_all(&[0; 65_536]).await.is_ok() {}
            say("gone");
        });
    }
}

/// `idle_server`: keeps whoever connects, reads nothing, and says nothing.
///
/// # Errors
/// When the port is taken.
#[netsplit::program]
pub async fn idle_server() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).await?;
    say(&format!("listening on {PORT}"));
    let mut kept = Vec::new();
    loop {
        kept.push(listener.accept().await?);
    }
}

/// `beat WORD`: says the word, again every 10 ms.
#[netsplit::program]
pub async fn beat(words: Vec<String>) {
    loop {
        say(&words.join(" "));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// `polite`: when it is asked to end it says so, and does.
///
/// # Errors
/// When signals cannot be handled.
#[netsplit::program]
pub async fn polite() -> io::Result<u8> {
    let mut asked = signal(SignalKind::terminate())?;
    say("up");
    asked.recv().await;
    say("bye");
    Ok(5)
}

/// `stubborn`: says no whenever it is asked to end.
///
/// # Errors
/// When signals cannot be handled.
#[netsplit::program]
pub async fn stubborn() -> io::Result<()> {
    let mut asked = signal(SignalKind::terminate())?;
    say("up");
    while asked.recv().await.is_some() {
        say("no");
    }
    Ok(())
}

/// Writes a line at once, as a program does whose output is waited for.
#[expect(clippy::print_stdout, reason = "a program's own output")]
pub fn say(line: &str) {
    println!("{line}");
}
