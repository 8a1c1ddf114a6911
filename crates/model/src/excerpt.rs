//! What a message shows of what is long: some names of many, the lines of two texts about where they differ.

/// Names that are shown of many.
const NAMES_MAX: usize = 6;
/// Lines of a text that are shown whole.
const LINES_MAX: usize = 8;
/// Lines that are shown before the first that differs.
const LINES_BEFORE: usize = 2;
/// Lines that are shown from there on.
const LINES_FROM: usize = 4;
/// Characters of a line that are shown.
const CHARS_MAX: usize = 300;
/// How many of them stand before the place that is meant.
const CHARS_BEFORE: usize = 60;

/// The names, or the first ones and how many more there are: `a, b and 58 more`.
pub fn names<S: ToString>(all: &[S]) -> String {
    let shown: Vec<_> = all.iter().map(ToString::to_string).collect();
    // One name takes no more room than the word that there is one more.
    if shown.len() <= NAMES_MAX + 1 {
        return shown.join(", ");
    }
    format!("{} and {} more", shown[..NAMES_MAX].join(", "), shown.len() - NAMES_MAX)
}

/// What was wanted and what was said instead, both about where they begin to differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, in words: `in line 3 of 200`; empty when both are one line.
    pub place: String,
    /// What was wanted.
    pub wanted: String,
    /// What was said.
    pub said: String,
}

/// Where two texts differ.
pub fn difference(wanted: &str, said: &str) -> Difference {
    let (wanted, said): (Vec<_>, Vec<_>) = (lines(wanted).collect(), lines(said).collect());
    let alike = wanted.iter().zip(&said).take_while(|(wanted, said)| wanted == said).count();
    let place = match said.len() {
        _ if alike == said.len() && alike == wanted.len() => "only in newlines at its end".to_owned(),
        0 | 1 if wanted.len() <= 1 => String::new(),
        count if alike < count => format!("in line {} of {count}", alike + 1),
        count => format!("after its last line, {count}"),
    };
    let chars = match (wanted.get(alike), said.get(alike)) {
        (Some(wanted), Some(said)) => {
            wanted.chars().zip(said.chars()).take_while(|(wanted, said)| wanted == said).count()
        }
        _ => 0,
    };
    Difference { place, wanted: about(&wanted, alike, chars), said: about(&said, alike, chars) }
}

/// Lines without the newline that ends them; a carriage return is part of them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.strip_suffix('\n').unwrap_or(text).split('\n')
}

/// The lines about the one at `at`, of which `alike` characters are as they should be.
fn about(lines: &[&str], at: usize, alike: usize) -> String {
    let (from, to) = if lines.len() <= LINES_MAX {
        (0, lines.len())
    } else {
        (at.saturating_sub(LINES_BEFORE).min(lines.len()), (at + LINES_FROM).min(lines.len()))
    };
    let mut shown = Vec::new();
    shown.extend((from > 0).then(|| left_out(from)));
    for (index, line) in lines.iter().enumerate().take(to).skip(from) {
        shown.push(cut(line, if index == at { alike } else { 0 }));
    }
    shown.extend((to < lines.len()).then(|| left_out(lines.len() - to)));
    shown.join("\n")
}

/// The first and last lines of a text, and how many stand between them.
pub fn ends(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let shown = |lines: &[&str]| lines.iter().map(|line| cut(line, 0)).collect::<Vec<_>>();
    if lines.len() <= LINES_MAX {
        return shown(&lines).join("\n");
    }
    let (first, last) = (&lines[..LINES_MAX / 2], &lines[lines.len() - LINES_MAX / 2..]);
    [shown(first), vec![left_out(lines.len() - LINES_MAX)], shown(last)].concat().join("\n")
}

fn left_out(count: usize) -> String {
    if count == 1 { "… 1 more line".to_owned() } else { format!("… {count} more lines") }
}

/// A line as far as it is shown; of a long one what stands about the character `at`.
fn cut(line: &str, at: usize) -> String {
    let line = line.replace('\r', "\\r");
    if line.chars().count() <= CHARS_MAX {
        return line;
    }
    let from = at.saturating_sub(CHARS_BEFORE);
    let shown: String = line.chars().skip(from).take(CHARS_MAX).collect();
    let (before, behind) = (if from > 0 { "…" } else { "" }, from + CHARS_MAX < line.chars().count());
    format!("{before}{shown}{}", if behind { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_names_stand_for_many() {
        assert_eq!(names(&["a", "b"]), "a, b");
        let many: Vec<_> = (0..60).map(|number| format!("n{number}")).collect();
        assert_eq!(names(&many), "n0, n1, n2, n3, n4, n5 and 54 more");
    }

    fn numbered(numbers: impl IntoIterator<Item = u32>) -> String {
        numbers.into_iter().map(|number| format!("{number}\n")).collect()
    }

    #[test]
    fn texts_are_shown_about_their_first_difference() {
        let differ = |wanted: &str, said: &str| {
            let Difference { place, wanted, said } = difference(wanted, said);
            (place, wanted.replace('\n', "|"), said.replace('\n', "|"))
        };
        let own = |place: &str, wanted: &str, said: &str| (place.into(), wanted.into(), said.into());
        assert_eq!(differ("a", "b"), own("", "a", "b"));
        assert_eq!(differ("", "b"), own("", "", "b"));
        assert_eq!(differ("a\nb", "a\r\nb"), own("in line 1 of 2", "a|b", "a\\r|b"));
        assert_eq!(differ("a\n", "a"), own("only in newlines at its end", "a", "a"));
        assert_eq!(differ("5", &numbered(1..=200)), own("in line 1 of 200", "5", "1|2|3|4|… 196 more lines"));
        let but_one = numbered((1..=200).map(|number| if number == 100 { 0 } else { number }));
        assert_eq!(
            differ(&numbered(1..=200), &but_one),
            own(
                "in line 100 of 200",
                "… 97 more lines|98|99|100|101|102|103|… 97 more lines",
                "… 97 more lines|98|99|0|101|102|103|… 97 more lines"
            )
        );
        assert_eq!(
            differ(&numbered(1..=20), &numbered(1..=3)),
            own("after its last line, 3", "… 1 more line|2|3|4|5|6|7|… 13 more lines", "1|2|3")
        );
        let long = |end: &str| format!("{}{end}", "x".repeat(1000));
        let (_, wanted, said) = differ(&long("a"), &long("b"));
        assert_eq!((wanted, said), (format!("…{}a", "x".repeat(60)), format!("…{}b", "x".repeat(60))));
    }

    #[test]
    fn a_long_text_is_shown_by_its_ends() {
        assert_eq!(ends("a\nb\n"), "a\nb");
        assert_eq!(ends(&numbered(1..=10)), "1\n2\n3\n4\n… 2 more lines\n7\n8\n9\n10");
    }
}
