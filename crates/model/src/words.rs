//! Splits a command into words as a shell does, and does nothing more: no variables, no globs, no pipes.

use std::ops::Range;

use thiserror::Error;

/// One word, without its quotes, and where it stands in the text, in bytes, with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word as the program will see it.
    pub text: String,
    /// Where it was written.
    pub span: Range<usize>,
}

/// Why a text is not words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WordsError {
    /// A quote or backslash with nothing behind it.
    #[error("this quote has no end")]
    Open {
        /// The quote.
        span: Range<usize>,
    },
    /// A character that only a shell understands.
    #[error("`{what}` needs a shell, and a command is started without one")]
    Shell {
        /// The characters: `|`, `>`, `&&`, `$(`.
        what: String,
        /// Where they stand.
        span: Range<usize>,
    },
    /// No word at all.
    #[error("the command is empty")]
    Empty,
}

impl WordsError {
    /// Where the mistake stands in the text.
    pub fn span(&self) -> Range<usize> {
        match self {
            Self::Open { span } | Self::Shell { span, .. } => span.clone(),
            Self::Empty => 0..0,
        }
    }
}

/// The words of `text`. `'…'` is literal, `"…"` knows `\"`, `\\`, `\$` and `` \` ``, a backslash outside quotes makes
/// the next character literal; white space, newlines too, separates.
///
/// # Errors
/// When a quote stays open, when a bare `|`, `>`, `<`, `&`, `;`, `` ` `` or `$(` shows that a shell was meant, or when
/// there is no word.
pub fn split(text: &str) -> Result<Vec<Word>, WordsError> {
    let mut words = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some(&(start, first)) = rest.peek() {
        if first.is_whitespace() {
            rest.next();
            continue;
        }
        let mut word = String::new();
        let mut end = start;
        let mut joined_lines_only = true;
        while let Some(&(at, c)) = rest.peek() {
            if c.is_whitespace() {
                break;
            }
            rest.next();
            end = at + c.len_utf8();
            joined_lines_only &= c == '\\' && text[end..].starts_with('\n');
            match c {
                '\'' | '"' => end = quoted(&mut rest, at, c, &mut word)?,
                '\\' => {
                    let (at, c) = rest.next().ok_or(WordsError::Open { span: at..end })?;
                    end = at + c.len_utf8();
                    // A backslash before a newline joins the lines, as in a shell.
                    if c != '\n' {
                        word.push(c);
                    }
                }
                '|' | '>' | '<' | '&' | ';' | '`' => return Err(shell(text, at)),
                '$' if text[end..].starts_with('(') => return Err(shell(text, at)),
                c => word.push(c),
            }
        }
        if !joined_lines_only {
            words.push(Word { text: word, span: start..end });
        }
    }
    if words.is_empty() { Err(WordsError::Empty) } else { Ok(words) }
}

/// The first `$NAME` or `${NAME}` of a word as it is written that a shell would fill in: not in `'…'`, nor behind a
/// backslash.
pub fn variable(written: &str) -> Option<Range<usize>> {
    let (mut literal, mut quoted) = (false, false);
    let mut rest = written.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '\\' if !literal => drop(rest.next()),
            '\'' if !quoted => literal = !literal,
            '"' if !literal => quoted = !quoted,
            '$' if !literal => {
                let behind = &written[at + 1..];
                let (open, close) = if behind.starts_with('{') { (1, 1) } else { (0, 0) };
                let name = &behind[open..];
                let length =
                    name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
                let is_name = length > 0 && !name.starts_with(|c: char| c.is_ascii_digit());
                if is_name && (close == 0 || name[length..].starts_with('}')) {
                    return Some(at..at + 1 + open + length + close);
                }
            }
            _ => {}
        }
    }
    None
}

fn shell(text: &str, at: usize) -> WordsError {
    let long = ["&&", "||", ">>", "<<", "$("].into_iter().find(|long| text[at..].starts_with(long));
    let what = long.unwrap_or_else(|| &text[at..=at]);
    WordsError::Shell { what: what.to_owned(), span: at..at + what.len() }
}

/// Reads up to the closing `quote` and returns the position behind it.
fn quoted(
    rest: &mut std::iter::Peekable<std::str::CharIndices<'_>>,
    start: usize,
    quote: char,
    word: &mut String,
) -> Result<usize, WordsError> {
    while let Some((at, c)) = rest.next() {
        if c == quote {
            return Ok(at + 1);
        }
        match (c, rest.peek()) {
            ('\\', Some(&(_, next))) if quote == '"' && "\"\\$`".contains(next) => {
                word.push(next);
                rest.next();
            }
            _ => word.push(c),
        }
    }
    Err(WordsError::Open { span: start..start + 1 })
}

/// Writes `words` so that [`split`] and a shell read them as they are.
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=+:,./@%{}".contains(c);
    // Some shells make files of `[…]` and `^`, several words of `{…}`, and a program's path of a `=` at the begin.
    let is_plain = word.chars().all(plain) && !word.replace("%{", "").contains('{') && !word.starts_with('=');
    if !word.is_empty() && is_plain {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, words: &[&str]) {
        let split: Vec<_> = split(text).unwrap().into_iter().map(|word| word.text).collect();
        assert_eq!(split, words, "{text}");
    }

    #[test]
    fn splits_as_a_shell() {
        check("etcdctl put color blue", &["etcdctl", "put", "color", "blue"]);
        check("a 'b c' \"d 'e'\" f\\ g", &["a", "b c", "d 'e'", "f g"]);
        check("a''b '' \"\"", &["ab", "", ""]);
        check("etcd --name x\n  --data-dir y", &["etcd", "--name", "x", "--data-dir", "y"]);
        check(r#"echo "a\"b" '\n' "\n""#, &["echo", "a\"b", "\\n", "\\n"]);
        check("grep 'a|b' \"x > y\" $HOME", &["grep", "a|b", "x > y", "$HOME"]);
        check("a \\\n b c\\\nd", &["a", "b", "cd"]);
    }

    #[test]
    fn a_shell_is_named_when_one_is_meant() {
        for (text, what, at) in
            [("a | b", "|", 2), ("a && b", "&&", 2), ("a > f", ">", 2), ("a $(b)", "$(", 2), ("a;b", ";", 1)]
        {
            let error = split(text).unwrap_err();
            assert_eq!(error, WordsError::Shell { what: what.into(), span: at..at + what.len() }, "{text}");
        }
        assert_eq!(split("a 'b"), Err(WordsError::Open { span: 2..3 }));
        assert_eq!(split("  "), Err(WordsError::Empty));
    }

    #[test]
    fn a_variable_is_what_a_shell_would_fill_in() {
        let found = |written: &str| variable(written).map(|range| written[range].to_owned());
        for written in ["$HOME", "${HOME}", "\"$HOME\"", "x'$A'$HOME/y", "it\\'s$HOME", "\"'$HOME'\""] {
            let found = found(written).unwrap_or_default();
            assert!(["$HOME", "${HOME}"].contains(&found.as_str()), "{written}: {found}");
        }
        for written in ["'$HOME'", "\\$HOME", "\"\\$HOME\"", "$", "a$", "$1", "$%{x}", "${x:-y}", "${"] {
            assert_eq!(found(written), None, "{written}");
        }
    }

    #[test]
    fn joined_words_mean_themselves_to_every_shell() {
        let joined = |word: &str| join([word]);
        assert_eq!(joined("--name=%{host},x:1"), "--name=%{host},x:1");
        assert_eq!(joined("m[v=1]"), "'m[v=1]'");
        assert_eq!(joined("{a,b}"), "'{a,b}'");
        assert_eq!(joined("=ls"), "'=ls'");
        assert_eq!(joined("it's"), r"'it'\''s'");
    }

    proptest! {
        #[test]
        fn joined_words_split_as_they_were(words in prop::collection::vec("\\PC*", 1..6)) {
            let text = join(words.iter().map(String::as_str));
            let again: Vec<_> = split(&text).unwrap().into_iter().map(|word| word.text).collect();
            prop_assert_eq!(again, words);
        }
    }
}
