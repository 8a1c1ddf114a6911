//! Draws troubles as UX §3.5 has them: the fact with its name, the place, the source line, carets with what is said
//! beside them, and the ways out. Whether there is colour is the caller's decision.

use std::fmt::{self, Write as _};

use netsplit_model::{Place, Trouble};

use crate::Sources;

/// The column at whose left the name in brackets ends, when the fact leaves room for it.
const NAME_ENDS_AT: usize = 100;
/// A source line longer than this is shown around its place only.
const LINE_CHARS_MAX: usize = 160;
/// How much of a long line stands before the place.
const LINE_CHARS_BEFORE: usize = 60;

/// With or without colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    #[default]
    Plain,
    /// With the escape sequences of a terminal.
    Colour,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing runs.
    Error,
    /// It runs all the same.
    Warning,
}

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
        let mut out = head(trouble, level, paint);
        let mut hint = trouble.hint.as_deref();
        if let Some(place) = &trouble.place {
            let _ = writeln!(out, "  --> {}", paint.path(&place.to_string()));
            if let Some(line) = self.line(&place.file, place.line).filter(|_| place.width > 0) {
                out += &snippet(place, line, hint.take(), paint);
            }
        }
        if let Some(hint) = hint {
            let _ = writeln!(out, "      {hint}");
        }
        rest(trouble, paint, &mut out);
        out
    }
}

fn head(trouble: &Trouble, level: Level, paint: Paint) -> String {
    let (label, painted) = match level {
        Level::Error => ("error:", paint.wrap("1;31", "error:")),
        Level::Warning => ("warning:", paint.wrap("1;33", "warning:")),
    };
    let name = format!("[{}]", trouble.name);
    let taken = label.len() + 1 + trouble.text.chars().count() + name.len();
    let gap = NAME_ENDS_AT.saturating_sub(taken).max(2);
    format!("{painted} {}{:gap$}{name}\n", clean(&trouble.text), "")
}

/// The source line, and carets below it.
fn snippet(place: &Place, line: &str, hint: Option<&str>, paint: Paint) -> String {
    let column = usize::try_from(place.column).unwrap_or(usize::MAX).saturating_sub(1);
    let width = usize::try_from(place.width).unwrap_or(usize::MAX);
    let chars = line.chars().count();
    let (skip, cut) =
        if chars > LINE_CHARS_MAX { (column.saturating_sub(LINE_CHARS_BEFORE), chars) } else { (0, 0) };
    let shown: String = line.chars().skip(skip).take(LINE_CHARS_MAX).map(visible).collect();
    let (dots, dots_wide) = if skip > 0 { ("…", 1) } else { ("", 0) };
    let more = if cut > skip + LINE_CHARS_MAX { "…" } else { "" };
    let number = place.line.to_string();
    let mut out = format!("{number} | {dots}{shown}{more}\n");
    let keep_tab = |c: char| if c == '\t' { '\t' } else { ' ' };
    let before: String = line.chars().skip(skip).take(column - skip).map(keep_tab).collect();
    let room = (skip + LINE_CHARS_MAX).saturating_sub(column).max(1);
    let carets = paint.wrap("1;31", &"^".repeat(width.min(room)));
    let gutter = number.len();
    let _ = write!(out, "{:gutter$} | {:dots_wide$}{before}{carets}", "", "");
    if let Some(hint) = hint {
        let _ = write!(out, " {hint}");
    }
    out.push('\n');
    out
}

fn rest(trouble: &Trouble, paint: Paint, out: &mut String) {
    if let Some(because) = &trouble.because {
        let _ = writeln!(out, "because {because}");
    }
    for (label, text) in [("wanted", &trouble.wanted), ("said", &trouble.said)] {
        if let Some(text) = text {
            let _ = writeln!(out, "{label:<8} {}", text.replace('\n', "\n         "));
        }
    }
    for (index, line) in trouble.saw.iter().enumerate() {
        let label = if index == 0 { "saw" } else { "" };
        let _ = writeln!(out, "{label:<8} {}", line.replace('\n', "\n         "));
    }
    for help in &trouble.help {
        let text = help.to_string();
        match text.split_once(' ') {
            Some((label, text)) => {
                let _ = writeln!(out, "{} {text}", paint.wrap("1;32", label));
            }
            None => {
                let _ = writeln!(out, "{text}");
            }
        }
    }
}

/// What a terminal would obey is shown as a mark, so that every character of a line takes one column.
fn visible(c: char) -> char {
    if c.is_control() && c != '\t' { '·' } else { c }
}

fn clean(text: &str) -> String {
    text.chars().map(visible).collect()
}

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    fn path(self, text: &str) -> String {
        self.wrap("36", text)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use netsplit_model::Reason;

    use super::*;

    fn trouble(column: u32, width: u32) -> Trouble {
        let place = Place { file: "x.toml".into(), line: 1, column, width };
        Trouble::new(Reason::UnknownKey, "unknown word `wihtin`")
            .hint("did you mean `within`?")
            .at(Some(place))
    }

    fn sources(text: &str) -> Sources {
        let mut sources = Sources::default();
        sources.add("x.toml", Path::new("x.toml"), text.into());
        sources
    }

    #[test]
    fn carets_stand_under_their_place_also_behind_tabs_and_in_long_lines() {
        let plain = |text: &str, column, width| {
            let drawn = sources(text).draw(&trouble(column, width), Level::Error, Paint::Plain);
            drawn.lines().skip(2).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(plain("\twihtin = 1", 2, 6), ["1 | \twihtin = 1", "  | \t^^^^^^ did you mean `within`?"]);
        let long = plain(&format!("{}wihtin{}", "x".repeat(300), "y".repeat(300)), 301, 6);
        assert_eq!(long[0].find("wihtin"), long[0].find('…').map(|at| at + "…".len() + 60));
        assert_eq!(long[0].chars().position(|c| c == 'w'), long[1].chars().position(|c| c == '^'));
        assert_eq!(plain("a\u{1b}[31mwihtin", 7, 6)[0], "1 | a·[31mwihtin", "no escape reaches the terminal");
    }

    #[test]
    fn the_name_stands_at_the_right_and_colour_changes_no_text() {
        let sources = sources("  wihtin = 1");
        let plain = sources.draw(&trouble(3, 6), Level::Error, Paint::Plain);
        assert_eq!(plain.lines().next().unwrap().len(), 100);
        let mut coloured = sources.draw(&trouble(3, 6), Level::Error, Paint::Colour);
        assert!(coloured.contains("\x1b[1;31merror:\x1b[0m"), "{coloured}");
        for code in ["1;31", "1;33", "1;32", "36", "0"] {
            coloured = coloured.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(coloured, plain);
    }
}
