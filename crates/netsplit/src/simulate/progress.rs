//! How far the seeds of a test are, past the harness's capture: one line that changes on a terminal, else a line now and
//! then, so that nobody kills a job for its silence.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::settings;

/// How often a line is written where lines stay.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// Tests side by side share a terminal: the first that comes has its line.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// The progress of one test.
pub(super) struct Progress<'a> {
    test: &'a str,
    wanted: usize,
    begun: Instant,
    last: Instant,
    has_terminal: bool,
}

impl<'a> Progress<'a> {
    pub(super) fn new(test: &'a str, wanted: usize) -> Self {
        let is_terminal = std::io::stderr().is_terminal() && !settings::is_dumb();
        let has_terminal = is_terminal && !IS_TAKEN.swap(true, Ordering::Relaxed);
        Self { test, wanted, begun: Instant::now(), last: Instant::now(), has_terminal }
    }

    /// Tells it, if it is time.
    pub(super) fn tell(&mut self, done: usize, failed: usize) {
        if !self.has_terminal && self.last.elapsed() < LINE_EVERY {
            return;
        }
        self.last = Instant::now();
        let line = line(done, self.wanted, failed, self.begun.elapsed());
        if self.has_terminal {
            write(&format!("\r\x1b[2K{line}"));
        } else {
            write(&format!("{line}   {}\n", self.test));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.has_terminal {
            write("\r\x1b[2K");
            IS_TAKEN.store(false, Ordering::Relaxed);
        }
    }
}

fn write(text: &str) {
    let _nobody_listens = std::io::stderr().write_all(text.as_bytes());
}

fn line(done: usize, wanted: usize, failed: usize, took: Duration) -> String {
    let rate = done as f64 / took.as_secs_f64().max(0.001);
    // Where a seed takes seconds, whole numbers would be 0.
    let rate = if rate < 10.0 { format!("{rate:.1}/s") } else { format!("{rate:.0}/s") };
    format!("seeds {} of {} · {failed} failed · {rate}", grouped(done), grouped(wanted))
}

/// A number with its thousands apart: `1,000`.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_many_and_how_fast() {
        assert_eq!(line(312, 1000, 0, Duration::from_millis(7610)), "seeds 312 of 1,000 · 0 failed · 41/s");
        assert_eq!(line(3, 1_000_000, 2, Duration::from_secs(2)), "seeds 3 of 1,000,000 · 2 failed · 1.5/s");
        assert_eq!(grouped(90_210), "90,210");
    }
}
