//! A thread that prints while runs go on: a terminal that is stopped, or a pipe that nobody reads, holds up no run.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many lines may wait; whoever prints more waits with them.
const WAITING_MAX: usize = 10_000;

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Data.
    Out,
    /// What people read.
    Err,
}

/// Clones print by the same thread.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<(Stream, String)>,
    /// The last line of the terminal, which changes.
    live: Option<String>,
    live_is_new: bool,
    is_printing: bool,
    /// Somebody else has the terminal.
    is_held: bool,
}

impl Printer {
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        thread::Builder::new().name("printer".into()).spawn(move || own.print())?;
        Ok(Self { shared })
    }

    /// Prints a line above the one that changes.
    pub(crate) fn line(&self, stream: Stream, line: String) {
        let room = |state: &mut State| state.lines.len() >= WAITING_MAX;
        let mut state = self.shared.wait_while(room);
        state.lines.push_back((stream, line));
        self.shared.changed.notify_all();
    }

    /// Shows this as the line that changes; `None` takes it away.
    pub(crate) fn live(&self, line: Option<String>) {
        let mut state = self.shared.lock();
        (state.live, state.live_is_new) = (line, true);
        self.shared.changed.notify_all();
    }

    /// Prints what waits, and then nothing until it is released.
    pub(crate) fn hold(&self) {
        self.live(None);
        self.shared.wait_while(State::is_busy).is_held = true;
    }

    pub(crate) fn release(&self) {
        self.shared.lock().is_held = false;
        self.shared.changed.notify_all();
    }

    /// Waits until everything is printed.
    pub(crate) fn flush(&self) {
        drop(self.shared.wait_while(State::is_busy));
    }
}

impl State {
    fn has_more(&self) -> bool {
        !self.is_held && (!self.lines.is_empty() || self.live_is_new)
    }

    fn is_busy(&mut self) -> bool {
        self.has_more() || self.is_printing
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, condition: impl FnMut(&mut State) -> bool) -> MutexGuard<'_, State> {
        self.changed.wait_while(self.lock(), condition).unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: without end, for the process may end while a write waits.
    fn print(&self) {
        let mut drawn = false;
        loop {
            let mut state = self.wait_while(|state| !state.has_more());
            let lines = std::mem::take(&mut state.lines);
            let live = state.live.clone();
            (state.live_is_new, state.is_printing) = (false, true);
            drop(state);
            self.changed.notify_all();
            write(&lines, live.as_deref(), drawn);
            drawn = live.is_some();
            self.lock().is_printing = false;
            self.changed.notify_all();
        }
    }
}

/// A terminal or reader that has gone is no reason to stop, nor to keep a line from the other.
fn write(lines: &VecDeque<(Stream, String)>, live: Option<&str>, drawn: bool) {
    let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr().lock());
    if drawn {
        let _gone = stderr.write_all(b"\r\x1b[K");
    }
    for (stream, line) in lines {
        match stream {
            Stream::Out => crate::output::lose(writeln!(stdout, "{line}")),
            Stream::Err => {
                let _gone = writeln!(stderr, "{line}");
            }
        }
    }
    if let Some(line) = live {
        let _gone = write!(stderr, "▸ {line}");
    }
    let _gone = stdout.flush().and_then(|()| stderr.flush());
}
