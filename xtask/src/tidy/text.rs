//! What any file may say: no notes to self, no paths of one machine, no paths that lead nowhere.

use std::path::Path;

/// Notes to self. They are put together here so that this file does not find itself.
const NOTES: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
];
/// Where that word is the user's: a scenario that `netsplit new` writes has lines to fill in.
const NOTES_ALLOWED: [&str; 4] =
    ["crates/scenario/src/new.rs", "crates/cli/src/commands/new.rs", "crates/cli/tests/", "docs/"];

/// Places that exist on one machine only, and hosts that packages come from.
const LOCAL: [&str; 8] = [
    concat!("/wo", "rk/"),
    concat!("/root/", "."),
    concat!("/home/", "tester"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("pypi", ".org"),
    concat!("deb.", "debian.org"),
    concat!("registry.", "npmjs.org"),
];

/// Folders of this repository that a document may name a path in.
const FOLDERS: [&str; 10] = [
    "crates/",
    "docs/",
    "examples/",
    "fuzz/",
    "xtask/",
    "bench/",
    "tests/conformance",
    ".ci/",
    ".config/",
    ".cargo/",
];

pub(super) fn check(root: &Path, files: &[(String, String)]) -> Vec<String> {
    let exists = |path: &str| root.join(path).exists();
    let mut wrong = Vec::new();
    for (path, text) in files {
        for (index, line) in text.lines().enumerate() {
            wrong.extend(line_troubles(path, line).map(|what| format!("{path}:{}: {what}", index + 1)));
        }
        if path.ends_with(".md") {
            let dead = paths_in(text).filter(|named| !exists(named) && !exists(&beside(path, named)));
            wrong.extend(dead.map(|named| format!("{path}: `{named}` does not exist")));
        }
    }
    wrong
}

fn line_troubles(path: &str, line: &str) -> impl Iterator<Item = String> {
    // Scenarios that are wrong on purpose show what is told of them.
    let is_wrong = path.starts_with("crates/scenario/tests/mistakes/");
    let space = (!is_wrong && line.ends_with([' ', '\t', '\r']))
        .then(|| "white space at the end of a line".to_owned());
    let may_note = NOTES_ALLOWED.iter().any(|place| path.starts_with(place));
    let note = NOTES.iter().find(|note| !may_note && line.contains(**note));
    let note = note.map(|note| format!("`{note}`: do it, or write it down where work is planned"));
    let local = LOCAL.iter().find(|local| line.contains(**local));
    let local = local.map(|local| format!("`{local}` names something outside of this repository"));
    [space, note, local].into_iter().flatten()
}

/// Paths of this repository that a document names: in back-ticks, or as the target of a link.
fn paths_in(text: &str) -> impl Iterator<Item = String> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let quoted = quoted.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)));
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let linked = linked.filter(|target| !target.contains(':') && !target.starts_with('#'));
    let plain = |word: &str| !word.contains(['*', '{', '<', '$', '%', ' ', '…']);
    quoted.chain(linked).filter(move |word| plain(word)).map(|word| {
        let word = word.split('#').next().unwrap_or(word);
        let is_line = |part: &str| part.parse::<u32>().is_ok();
        word.rsplit_once(':').filter(|(_, line)| is_line(line)).map_or(word, |(word, _)| word).to_owned()
    })
}

/// `named`, as seen from the folder of `path`.
fn beside(path: &str, named: &str) -> String {
    path.rsplit_once('/').map_or_else(|| named.to_owned(), |(folder, _)| format!("{folder}/{named}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let count = |path: &str, line: &str| line_troubles(path, line).count();
        assert_eq!(count("a.rs", "fn f() {}"), 0);
        assert_eq!(count("a.rs", "fn f() {} "), 1);
        assert_eq!(count("a.rs", &format!("// {}: later", NOTES[0])), 1);
        assert_eq!(count(NOTES_ALLOWED[0], &format!("// {}: later", NOTES[0])), 0);
        assert_eq!(count("a.md", &format!("see {}main", LOCAL[0])), 1);
    }

    #[test]
    fn paths_of_documents() {
        let found = |text: &str| paths_in(text).collect::<Vec<_>>();
        assert_eq!(found("`crates/wire/src/mux.rs:12` and `src/main.rs`"), ["crates/wire/src/mux.rs"]);
        assert_eq!(found("[a](docs/a.md#b) [c](https://x.org/y) [d](#e)"), ["docs/a.md"]);
        assert_eq!(found("`crates/{a,b}/x.rs` `crates/*`"), Vec::<String>::new());
        assert_eq!(beside("docs/a.md", "b.md"), "docs/b.md");
    }
}
