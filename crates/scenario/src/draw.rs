//! Draws the mistakes of a scenario with the lines they stand in (UX §3.5).

use std::fmt;

use netsplit_model::Trouble;
use netsplit_report::draw::{self, Level};
use netsplit_report::paint::Paint;

use crate::Sources;

/// All mistakes of a scenario, with the texts they stand in.
#[derive(Clone, Debug)]
pub struct Mistakes {
    /// At least one, in the order of the files and of their lines.
    pub troubles: Vec<Trouble>,
    /// What is more a matter of taste.
    pub warnings: Vec<Trouble>,
    /// What was read.
    pub sources: Sources,
}

impl Mistakes {
    /// All of them, then how many there are: `3 mistakes in 2 files, nothing was run`.
    pub fn draw(&self, paint: Paint) -> String {
        let mut out = String::new();
        for trouble in &self.troubles {
            out += &self.sources.draw(trouble, Level::Error, paint);
        }
        for trouble in &self.warnings {
            out += &self.sources.draw(trouble, Level::Warning, paint);
        }
        out + &self.summary() + "\n"
    }

    /// `3 mistakes in 2 files, nothing was run`.
    pub fn summary(&self) -> String {
        let mut files: Vec<_> = self.troubles.iter().filter_map(|trouble| trouble.place.as_ref()).collect();
        files.sort_by(|a, b| a.file.cmp(&b.file));
        files.dedup_by(|a, b| a.file == b.file);
        let count = |number: usize, what: &str| match number {
            1 => format!("1 {what}"),
            _ => format!("{number} {what}s"),
        };
        let mistakes = count(self.troubles.len(), "mistake");
        match files.len() {
            0 => format!("{mistakes}, nothing was run"),
            number => format!("{mistakes} in {}, nothing was run", count(number, "file")),
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.draw(Paint::Plain).trim_end())
    }
}

impl std::error::Error for Mistakes {}

impl Sources {
    /// `trouble` with the line it is about, as lines that each end with a newline.
    pub fn draw(&self, trouble: &Trouble, level: Level, paint: Paint) -> String {
        draw::trouble(
            trouble,
            level,
            |place| self.line(&place.file, place.line).filter(|_| place.width > 0).map(str::to_owned),
            paint,
        )
    }
}
