//! The texts that a scenario was read from, and where something stands in them. All texts share one space of offsets,
//! so that a [`Span`] alone tells the file. Drawing is in `draw.rs`.

use std::ops::Range;
use std::path::{Path, PathBuf};

use netsplit_model::Place;

/// Bytes of one of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn new(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }

    /// From the begin of `self` to the end of `other`.
    pub(crate) fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end.max(self.start) }
    }

    /// The point where it begins.
    pub(crate) fn point(self) -> Self {
        Self { start: self.start, end: self.start }
    }
}

/// All texts that were read for one scenario, in the order in which they were read.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

/// One text.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    path: PathBuf,
    text: String,
    /// The offset of its first byte in the space of all texts.
    base: usize,
    /// The offsets of its lines within the text.
    lines: Vec<usize>,
}

impl Sources {
    /// Adds a text and returns the span of all of it.
    pub(crate) fn add(&mut self, name: &str, path: &Path, text: String) -> Span {
        // A byte lies between two texts, so that the end of one is not the begin of the next.
        let base = self.files.last().map_or(0, |last| last.base + last.text.len() + 1);
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let span = Span::new(base..base + text.len());
        self.files.push(Source { name: name.to_owned(), path: path.to_owned(), text, base, lines });
        span
    }

    /// The files, as the user would name them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// What was read from the file called `name`: the run keeps it as evidence.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.files.iter().find(|file| file.name == name).map(|file| file.text.as_str())
    }

    /// Line `number`, from 1, of the file called `name`.
    pub fn line(&self, name: &str, number: u32) -> Option<&str> {
        let file = self.files.iter().find(|file| file.name == name)?;
        file.line(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Where the file called `name` lies on this machine.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.files.iter().find(|file| file.name == name).map(|file| file.path.as_path())
    }

    /// Where `span` stands, for a user: its first line only.
    pub(crate) fn place(&self, span: Span) -> Option<Place> {
        let file = self.file(span)?;
        let (start, end) = (file.clamp(span.start), file.clamp(span.end));
        let index = file.lines.partition_point(|&line| line <= start) - 1;
        let line = file.line(index)?;
        let begin = (start - file.lines[index]).min(line.len());
        let stop = (end - file.lines[index]).clamp(begin, line.len());
        let chars = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        Some(Place {
            file: file.name.clone(),
            line: u32::try_from(index + 1).unwrap_or(u32::MAX),
            column: chars(&line[..begin]).saturating_add(1),
            width: chars(&line[begin..stop]).max(1),
        })
    }

    /// The number of the line on which `at` stands.
    pub(crate) fn line_of(&self, at: usize) -> u32 {
        self.place(Span::new(at..at)).map_or(0, |place| place.line)
    }

    /// How to name the place of `span` from the file in which `from` stands: `line 12`, or `x.toml:12`.
    pub(crate) fn named_from(&self, span: Span, from: Span) -> String {
        let Some(place) = self.place(span) else { return String::new() };
        let here = self.file(from).is_some_and(|file| file.name == place.file);
        if here { format!("on line {}", place.line) } else { format!("in {}:{}", place.file, place.line) }
    }

    /// What is written at `span`.
    pub(crate) fn slice(&self, span: Span) -> &str {
        let Some(file) = self.file(span) else { return "" };
        &file.text[file.clamp(span.start)..file.clamp(span.end)]
    }

    fn file(&self, span: Span) -> Option<&Source> {
        let index = self.files.partition_point(|file| file.base <= span.start);
        self.files.get(index.checked_sub(1)?)
    }
}

impl Source {
    /// Line `index`, from 0, without what ends it.
    fn line(&self, index: usize) -> Option<&str> {
        let start = *self.lines.get(index)?;
        let end = self.lines.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let line = self.text.get(start..end)?;
        Some(line.strip_suffix('\r').unwrap_or(line))
    }

    /// An offset of the space of all texts as one of this text, on the begin of a character.
    fn clamp(&self, at: usize) -> usize {
        let mut at = at.saturating_sub(self.base).min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let mut sources = Sources::default();
        sources.add("first.toml", Path::new("first.toml"), "x = 1\n".into());
        let span = sources.add("a.toml", Path::new("a.toml"), "ü = \"€x\"\r\nlast".into());
        let at = |range: Range<usize>| {
            let place = sources.place(Span::new(span.start + range.start..span.start + range.end)).unwrap();
            format!("{place} {}", place.width)
        };
        assert_eq!(at(0..2), "a.toml:1:1 1");
        assert_eq!(at(6..9), "a.toml:1:6 1");
        assert_eq!(at(9..30), "a.toml:1:7 2", "to the end of its line");
        assert_eq!(at(13..17), "a.toml:2:1 4");
        assert_eq!(at(99..99), "a.toml:2:5 1");
        assert_eq!(sources.place(Span::new(0..1)).unwrap().to_string(), "first.toml:1:1");
        assert_eq!(sources.line("a.toml", 1), Some("ü = \"€x\""));
    }
}
