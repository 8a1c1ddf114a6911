//! Printing: data on standard output, all else on standard error; colour only where it is wanted; a terminal that has
//! gone is no reason to stop.

use std::io::{IsTerminal, Write};

use netsplit_model::Trouble;
use netsplit_report::paint::Paint;
use netsplit_report::screen;

use crate::args::When;

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
        Self {
            paint: paint(std::io::stdout().is_terminal()),
            paint_err: paint(std::io::stderr().is_terminal()),
        }
    }

    /// A line of data.
    pub(crate) fn out(self, line: impl AsRef<str>) {
        let mut stdout = std::io::stdout().lock();
        // Whoever reads may have had enough.
        let _gone = writeln!(stdout, "{}", line.as_ref());
    }

    /// A line for people.
    pub(crate) fn err(self, line: impl AsRef<str>) {
        let mut stderr = std::io::stderr().lock();
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
