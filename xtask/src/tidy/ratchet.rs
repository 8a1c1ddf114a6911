//! How long functions and files may be. New code meets the limits; what is longer today stands here with its size, may
//! shrink, and may not grow.

use super::scan::{Source, end_of_item};

const FUNCTION_MAX: usize = 70;
const FILE_MAX: usize = 800;

/// Functions beyond the limit: file, name, lines.
const FUNCTIONS: [(&str, &str, usize); 0] = [];
/// Files beyond the limit: lines that are no test's.
const FILES: [(&str, usize); 0] = [];

pub(super) fn check(sources: &[Source]) -> Vec<String> {
    check_but(sources, &FUNCTIONS, &FILES)
}

fn check_but(sources: &[Source], functions: &[(&str, &str, usize)], files: &[(&str, usize)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut known_functions = functions.to_vec();
    let mut known_files = files.to_vec();
    for source in sources {
        let path = source.path.as_str();
        for (name, line, length) in long_functions(source) {
            let known = known_functions.iter().position(|known| (known.0, known.1) == (path, name));
            let limit = known.map_or(FUNCTION_MAX, |at| known_functions.swap_remove(at).2);
            wrong.extend(compare(&format!("{path}:{line}: `{name}`"), length, limit, known.is_some()));
        }
        let length = source.product_lines().count();
        if length > FILE_MAX {
            let known = known_files.iter().position(|known| known.0 == path);
            let limit = known.map_or(FILE_MAX, |at| known_files.swap_remove(at).1);
            wrong.extend(compare(path, length, limit, known.is_some()));
        }
    }
    let done = known_functions.iter().map(|(path, name, _)| format!("{path}: `{name}`"));
    let done = done.chain(known_files.iter().map(|(path, _)| (*path).to_owned()));
    wrong.extend(done.map(|what| format!("{what} is short now: take it out of xtask/src/tidy/ratchet.rs")));
    wrong
}

fn compare(what: &str, length: usize, limit: usize, known: bool) -> Option<String> {
    if length > limit {
        Some(format!("{what} has {length} lines, {limit} are allowed"))
    } else if known && length < limit {
        Some(format!("{what} has {length} lines now: write so in xtask/src/tidy/ratchet.rs"))
    } else {
        None
    }
}

/// Functions of more lines than are allowed, tests aside: name, line, lines.
fn long_functions(source: &Source) -> Vec<(&str, usize, usize)> {
    let code = source.code.as_str();
    let mut long = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let is_word =
            code[..at].chars().next_back().is_some_and(|before| before.is_alphanumeric() || before == '_');
        let name = code[at + 3..].split(|letter: char| !letter.is_alphanumeric() && letter != '_').next();
        let (Some(name), Some(end)) =
            (name.filter(|name| !name.is_empty() && !is_word), end_of_item(code, at))
        else {
            continue;
        };
        let line = code[..at].matches('\n').count() + 1;
        let length = code[at..end].matches('\n').count() + 1;
        if length > FUNCTION_MAX && !source.is_test_line(line) {
            long.push((name, line, length));
        }
    }
    long
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!("//! Words.\nfn f(x: [u8; 2]) {{\n{}}}\n", "    g();\n".repeat(lines - 2))
    }

    #[test]
    fn functions_end() {
        assert_eq!(check_but(&[Source::new("a.rs", &function(70))], &[], &[]).len(), 0);
        assert_eq!(check_but(&[Source::new("a.rs", &function(71))], &[], &[]).len(), 1);
        assert_eq!(check_but(&[Source::new("tests/a.rs", &function(71))], &[], &[]).len(), 0);
    }

    #[test]
    fn files_end() {
        assert_eq!(check_but(&[Source::new("a.rs", &"//!\n".repeat(800))], &[], &[]).len(), 0);
        assert_eq!(check_but(&[Source::new("a.rs", &"//!\n".repeat(801))], &[], &[]).len(), 1);
    }

    #[test]
    fn exceptions_only_shrink() {
        assert_eq!(compare("f", 90, 80, true).map(|text| text.contains("allowed")), Some(true));
        assert_eq!(compare("f", 80, 80, true), None);
        assert!(compare("f", 75, 80, true).is_some());
        assert_eq!(compare("f", 60, 70, false), None);
    }
}
