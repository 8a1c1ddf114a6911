//! Printing: data on standard output, all else on standard error; colour only where it is wanted; a terminal that has
//! gone is no reason to stop.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use netsplit_model::Trouble;
use netsplit_report::paint::Paint;
use netsplit_report::screen;

use crate::args::When;

/// What became of standard output.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Keeps in mind that data could not be written.
pub(crate) fn lose(written: io::Result<()>) {
    if let Err(error) = written {
        let _not_the_first = LOST.set(error);
    }
}

/// Where and how this process prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) paint: Paint,
    pub(crate) paint_err: Paint,
}

impl Output {
    pub(crate) fn new(color: When) -> Self {
        let paint = |is_terminal: bool| match color {
            When::Always => Paint::Colour,
            When::Never => Paint::Plain,
            When::Auto if is_terminal && netsplit::settings::wants_colour() => Paint::Colour,
            When::Auto => Paint::Plain,
        };
        Self { paint: paint(io::stdout().is_terminal()), paint_err: paint(io::stderr().is_terminal()) }
    }

    /// A line of data. When it cannot be written, [`Self::lost`] says why.
    pub(crate) fn out(self, line: impl AsRef<str>) {
        let mut stdout = io::stdout().lock();
        lose(writeln!(stdout, "{}", line.as_ref()));
    }

    /// Why data could not be written, if it could not. Whoever reads may have had enough (`BrokenPipe`).
    pub(crate) fn lost(self) -> Option<&'static io::Error> {
        LOST.get()
    }

    /// A line for people.
    pub(crate) fn err(self, line: impl AsRef<str>) {
        let mut stderr = io::stderr().lock();
        let _gone = writeln!(stderr, "{}", line.as_ref());
    }

    /// What stopped a command before it did anything.
    pub(crate) fn error(self, error: &anyhow::Error) {
        match error.downcast_ref::<Trouble>() {
            Some(trouble) => self.trouble(trouble),
            None => self.err(format!("{} {error:#}", self.paint_err.error("error:"))),
        }
    }

    /// A message that stopped a command before it did anything.
    pub(crate) fn trouble(self, trouble: &Trouble) {
        let here = std::env::current_dir().unwrap_or_default();
        let text = screen::trouble(trouble, &[here], self.paint_err);
        self.err(format!("{} {}", self.paint_err.error("error:"), text.trim_end()));
    }

    /// A message that stops nothing.
    pub(crate) fn warning(self, trouble: &Trouble) {
        let text = screen::trouble(trouble, &[], self.paint_err);
        self.err(format!("{} {}", self.paint_err.warning("warning:"), text.trim_end()));
    }
}
