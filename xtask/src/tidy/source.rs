//! What Rust source may say, and where.

use super::scan::Source;

/// The longest line; the formatter does not break comments.
const LINE_MAX: usize = 130;

/// Who may read the environment: one module, the hook that must do so before `main`, and what is no product.
const READS_ENVIRONMENT: [&str; 8] = [
    "crates/netsplit/src/settings",
    "crates/provider/src/hook.rs",
    // Hands its environment on to the program that it becomes.
    "crates/agent/src/unix/shim.rs",
    "crates/cli/src/commands/doctor.rs",
    "examples/",
    "tests/",
    "xtask/",
    "bench/",
];

/// Crates in which bytes and time go in and come out, and nothing else.
const PURE: [&str; 3] = ["crates/model/src/", "crates/wire/src/", "crates/netmodel/src/"];
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "io::stdin",
    "io::stdout",
    "std::thread",
    "std::process",
    "SystemTime",
    "Instant::now",
    "tokio",
    "rand::",
    "RandomState",
];
/// Crates whose code runs in tasks that share a thread.
const ASYNC: [&str; 3] = ["crates/link/src/", "crates/agent/src/", "crates/netsplit/src/"];
/// Begins the virtual time of its tests.
const MAY_START_CLOCKS: &str = "crates/wire/src/testing.rs";

pub(super) fn check(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut say = |line: usize, what: &str| wrong.push(format!("{}:{line}: {what}", source.path));
    if !begins_with_words(&source.text) {
        say(1, "a file begins with `//!`: what lives here, and what does not");
    }
    for (index, (line, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
        if shown_length(line, code) > LINE_MAX {
            say(index + 1, "more than 130 characters");
        }
    }
    let squeezed: String = source.code.split_whitespace().collect();
    let says_unsafe = squeezed.contains("expect(unsafe_code");
    for (number, line) in source.code.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        if !attribute(line, "allow").is_none_or(|text| text.contains("reason")) && !is_generated(source) {
            say(number, "`allow` lasts for ever: `#[expect(…, reason = \"…\")]`");
        }
        if line.contains("#[ignore") && !is_generated(source) {
            say(number, "a test that does not run is no test: mend it, or let it say why it is skipped");
        }
        if has_word(line, "unsafe") && !says_unsafe {
            say(number, "`unsafe` outside of a module that says `#![expect(unsafe_code, reason = …)]`");
        }
    }
    for (number, line) in source.product_lines() {
        if let Some(read) = environment_read(line)
            && !READS_ENVIRONMENT.iter().any(|place| source.path.starts_with(place))
        {
            say(number, &format!("`{read}`: the environment is read in `netsplit::settings` only"));
        }
        let is_pure = PURE.iter().any(|place| source.path.starts_with(place));
        if is_pure
            && let Some(impure) = IMPURE.iter().find(|impure| line.contains(**impure))
            && !(source.path == MAY_START_CLOCKS && *impure == "Instant::now")
        {
            say(number, &format!("`{impure}` in a crate without I/O, clocks and randomness"));
        }
        if line.contains("thread::sleep") && ASYNC.iter().any(|place| source.path.starts_with(place)) {
            say(number, "`thread::sleep` stops every task of its thread: `tokio::time::sleep`");
        }
    }
    wrong
}

/// How long a line is without its strings: a message is one line however long, so that it can be searched for.
fn shown_length(line: &str, code: &str) -> usize {
    let is_comment = line.trim_start().starts_with("//");
    // A table in a comment cannot be broken.
    if is_comment && line.contains('|') {
        return 0;
    }
    let words = code.split_whitespace().map(|word| word.chars().count() + 1).sum();
    if is_comment { line.chars().count() } else { words }
}

fn begins_with_words(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#!"));
    first.is_none_or(|line| line.starts_with("//!"))
}

/// What `line` says of the attribute `name`, up to its end on this line.
fn attribute<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let at =
        [format!("#[{name}("), format!("#![{name}(")].iter().find_map(|begin| line.find(begin.as_str()))?;
    Some(&line[at..])
}

/// Attributes that a macro writes stand in other people's code, where an `expect` might not be met.
fn is_generated(source: &Source) -> bool {
    source.path.starts_with("crates/macros/src/")
}

fn environment_read(line: &str) -> Option<&'static str> {
    ["env::var", "env::temp_dir"].into_iter().find(|read| line.contains(read))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|part| part == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn troubles(path: &str, text: &str) -> usize {
        check(&Source::new(path, &format!("//! Words.\n{text}\n"))).len()
    }

    #[test]
    fn every_file_says_what_it_is() {
        assert_eq!(check(&Source::new("a.rs", "fn main() {}\n")).len(), 1);
        assert_eq!(check(&Source::new("a.rs", "#![no_main]\n//! Words.\n")).len(), 0);
    }

    #[test]
    fn the_environment_has_one_reader() {
        let read = "fn f() { std::env::var(\"X\"); }";
        assert_eq!(troubles("crates/agent/src/a.rs", read), 1);
        assert_eq!(troubles("crates/netsplit/src/settings/keys.rs", read), 0);
        assert_eq!(troubles("crates/agent/src/a.rs", &format!("#[cfg(test)]\nmod tests {{ {read} }}")), 0);
        assert_eq!(troubles("crates/agent/src/a.rs", "// std::env::var(\"X\")"), 0);
    }

    #[test]
    fn pure_crates_have_no_clock() {
        let clock = "fn f() { std::time::Instant::now(); }";
        assert_eq!(troubles("crates/wire/src/mux.rs", clock), 1);
        assert_eq!(troubles("crates/wire/src/testing.rs", clock), 0);
        assert_eq!(troubles("crates/link/src/link.rs", clock), 0);
        assert_eq!(troubles("crates/model/src/a.rs", "use std::fs;"), 1);
    }

    #[test]
    fn exceptions_are_said() {
        assert_eq!(troubles("a.rs", "#[allow(dead_code)]\nfn f() {}"), 1);
        assert_eq!(troubles("a.rs", "#[expect(dead_code, reason = \"x\")]\nfn f() {}"), 0);
        assert_eq!(troubles("a.rs", "#[test]\n#[ignore]\nfn f() {}"), 1);
        assert_eq!(troubles("a.rs", "fn f() { unsafe { g() } }"), 1);
        assert_eq!(troubles("a.rs", "#[expect(unsafe_code, reason = \"x\")]\nfn f() { unsafe { g() } }"), 0);
        assert_eq!(troubles("a.rs", &format!("fn {}() {{}}", "x".repeat(130))), 1);
        assert_eq!(troubles("a.rs", &format!("const X: &str = \"{}\";", "x".repeat(130))), 0);
        assert_eq!(troubles("a.rs", &format!("// {}", "x".repeat(130))), 1);
    }
}
