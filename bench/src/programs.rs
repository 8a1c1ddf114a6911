//! What the benches run on hosts and, for comparison, on the spot: this program under other words.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;

/// One line of a log, 100 bytes with its end.
const LINE: &str =
    "2026-01-01T00:00:00.000Z INFO replica: applied entry term=7 index=1048576 key=color bytes=4096 ok=1\n";

/// Writes so many bytes of lines, 64 KiB at a time.
pub(crate) fn lines(bytes: &str) -> Result<()> {
    let mut left: usize = bytes.parse()?;
    let block = LINE.repeat((64 << 10) / LINE.len());
    let mut stdout = io::stdout().lock();
    while left > 0 {
        let some = left.min(block.len());
        stdout.write_all(&block.as_bytes()[..some])?;
        left -= some;
    }
    Ok(stdout.flush()?)
}

/// For each line read writes one with its number and the time.
pub(crate) fn ticks() -> Result<()> {
    let mut stdout = io::stdout().lock();
    for (number, line) in io::stdin().lock().lines().enumerate() {
        line?;
        let text = format!("tick {number} at {}\n", now().as_nanos());
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
    }
    Ok(())
}

/// Says where it listens, takes one connection and all that comes, and says how quickly it came: Gbit/s.
pub(crate) fn drain(address: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let listener = TcpListener::bind(format!("{address}:0"))?;
    stdout.write_all(format!("{}\n", listener.local_addr()?).as_bytes())?;
    stdout.flush()?;
    let (mut stream, _) = listener.accept()?;
    let mut block = vec![0; 256 << 10];
    let mut bytes = stream.read(&mut block)?;
    let begun = Instant::now();
    loop {
        match stream.read(&mut block)? {
            0 => break,
            some => bytes += some,
        }
    }
    let rate = bytes as f64 * 8.0 / 1e9 / begun.elapsed().as_secs_f64();
    Ok(stdout.write_all(format!("{rate}\n").as_bytes())?)
}

/// Connects, and writes as much as goes in so many milliseconds.
pub(crate) fn pour(address: &str, milliseconds: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let enough = Duration::from_millis(milliseconds.parse()?);
    let block = vec![0; 256 << 10];
    let begun = Instant::now();
    while begun.elapsed() < enough {
        stream.write_all(&block)?;
    }
    stream.shutdown(Shutdown::Write)?;
    // The other end closes when it has all.
    let _end = stream.read(&mut [0])?;
    Ok(())
}

/// The number after this one, by chance.
pub(crate) fn throw(mut dice: u64) -> u64 {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^ (dice << 17)
}

/// The time that all processes of a machine share.
pub(crate) fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
