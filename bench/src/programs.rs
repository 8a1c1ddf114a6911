//! What the benches run on hosts and, for comparison, on the spot: this program under other words.

use std::io::{self, BufRead, Write};
use std::time::Duration;

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

/// The time that all processes of a machine share.
pub(crate) fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
