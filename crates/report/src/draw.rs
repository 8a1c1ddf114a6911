//! Draws troubles as UX §3.5 and §4.2 have them: the fact with its name, the place, the source line, carets with what is
//! said beside them, what was seen, and the ways out.

use std::fmt::Write as _;

use netsplit_model::{Place, Trouble};

use crate::paint::Paint;

/// The column at whose left the name in brackets ends, when the fact leaves room for it.
const NAME_ENDS_AT: usize = 100;
/// A source line longer than this is shown around its place only.
const LINE_CHARS_MAX: usize = 160;
/// How much of a long line stands before the place.
const LINE_CHARS_BEFORE: usize = 60;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A run ended with it: its verdict says how bad it is.
    Reason,
    /// Nothing runs.
    Error,
    /// It runs all the same.
    Warning,
}

/// `trouble` with the line it is about, as `line` finds it; lines that each end with a newline.
pub fn trouble(
    trouble: &Trouble,
    level: Level,
    line: impl Fn(&Place) -> Option<String>,
    paint: Paint,
) -> String {
    let mut out = head(trouble, level, paint);
    let mut hint = trouble.hint.as_deref();
    if let Some(place) = &trouble.place {
        let _ = writeln!(out, "  --> {}", paint.path(place));
        if let Some(line) = line(place) {
            out += &snippet(place, &line, hint.take(), paint);
        }
    }
    if let Some(hint) = hint {
        let _ = writeln!(out, "      {hint}");
    }
    rest(trouble, paint, &mut out);
    out
}

fn head(trouble: &Trouble, level: Level, paint: Paint) -> String {
    let (label, painted) = match level {
        Level::Reason => ("", String::new()),
        Level::Error => ("error: ", paint.error("error:") + " "),
        Level::Warning => ("warning: ", paint.warning("warning:") + " "),
    };
    let name = format!("[{}]", trouble.name);
    let taken = label.len() + trouble.text.chars().count() + name.len();
    let gap = NAME_ENDS_AT.saturating_sub(taken).max(2);
    format!("{painted}{}{:gap$}{}\n", clean(&trouble.text), "", paint.dim(name))
}

/// The source line, and carets below it.
fn snippet(place: &Place, line: &str, hint: Option<&str>, paint: Paint) -> String {
    let column = usize::try_from(place.column).unwrap_or(usize::MAX).saturating_sub(1);
    let width = match place.width {
        // A compiler says where a call begins, and not where its name ends.
        0 => line.chars().skip(column).take_while(|c| c.is_alphanumeric() || *c == '_').count().max(1),
        width => usize::try_from(width).unwrap_or(usize::MAX),
    };
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
    let carets = paint.mark("^".repeat(width.min(room)));
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
            let _ = writeln!(out, "{label:<8} {}", indented(text));
        }
    }
    for (index, line) in trouble.saw.iter().enumerate() {
        let label = if index == 0 { "saw" } else { "" };
        let _ = writeln!(out, "{label:<8} {}", indented(line));
    }
    for fault in &trouble.in_force {
        let _ = writeln!(out, "in force {fault}");
    }
    for help in &trouble.help {
        let text = help.to_string();
        match text.split_once(' ') {
            Some((label, text)) => {
                let _ = writeln!(out, "{} {text}", paint.help(label));
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

/// Lines that stand under one another behind a label.
fn indented(text: &str) -> String {
    text.split('\n').map(clean).collect::<Vec<_>>().join("\n         ")
}

fn clean(text: &str) -> String {
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use netsplit_model::Reason;

    use super::*;

    fn trouble(column: u32, width: u32) -> Trouble {
        let place = Place { file: "x.toml".into(), line: 1, column, width };
        Trouble::new(Reason::UnknownKey, "unknown word `wihtin`")
            .hint("did you mean `within`?")
            .at(Some(place))
    }

    fn draw(text: &str, about: &Trouble, paint: Paint) -> String {
        super::trouble(about, Level::Error, |_| Some(text.to_owned()), paint)
    }

    #[test]
    fn carets_stand_under_their_place_also_behind_tabs_and_in_long_lines() {
        let plain = |text: &str, column, width| {
            let drawn = draw(text, &trouble(column, width), Paint::Plain);
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
        let plain = draw("  wihtin = 1", &trouble(3, 6), Paint::Plain);
        assert_eq!(plain.lines().next().unwrap().len(), 100);
        let mut coloured = draw("  wihtin = 1", &trouble(3, 6), Paint::Colour);
        assert!(coloured.contains("\x1b[1;31merror:\x1b[0m"), "{coloured}");
        for code in ["1;31", "1;33", "1;32", "36", "2", "0"] {
            coloured = coloured.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(coloured, plain);
    }
}
