//! From what was typed to scenarios: files, folders, FILE:LINE.

use std::fs;
use std::path::{Path, PathBuf};

use netsplit_model::{Reason, Trouble};
use netsplit_scenario::Scenario;

/// A scenario file, and the line before which to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    pub(crate) file: PathBuf,
    pub(crate) line: Option<u32>,
}

/// All scenarios that `words` name; folders are searched, and hold what has a `[[test]]`.
///
/// # Errors
/// When a name leads nowhere, or a folder has no scenario.
pub(crate) fn find(words: &[String]) -> Result<Vec<Input>, Trouble> {
    let mut found = Vec::new();
    for word in words {
        let (path, line) = split(word);
        if path.is_dir() {
            let before = found.len();
            search(&path, &mut found);
            if found.len() == before {
                return Err(Trouble::new(Reason::NoSuchFile, format!("no scenario in `{}`", path.display()))
                    .because("a scenario is a *.toml with a [[test]]")
                    .guess("netsplit new first.toml -- ./server"));
            }
        } else if path.is_file() {
            check_kind(&path)?;
            found.push(Input { file: path, line });
        } else {
            return Err(Trouble::new(Reason::NoSuchFile, format!("no file or folder `{}`", path.display())));
        }
    }
    Ok(found)
}

/// `FILE:22`, when there is no file of that whole name.
fn split(word: &str) -> (PathBuf, Option<u32>) {
    let whole = PathBuf::from(word);
    if whole.exists() {
        return (whole, None);
    }
    match word.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?))) {
        Some((file, line)) => (PathBuf::from(file), Some(line)),
        None => (whole, None),
    }
}

fn check_kind(path: &Path) -> Result<(), Trouble> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if ending == "toml" {
        return Ok(());
    }
    let text = format!("`{}` is no scenario: its name does not end in .toml", path.display());
    let trouble = Trouble::new(Reason::NotYet, text);
    Err(match ending {
        "sh" => trouble.because("shell scripts need the `bed` verbs, which this version does not have"),
        _ => trouble.guess("netsplit new first.toml -- ./server"),
    })
}

fn search(folder: &Path, found: &mut Vec<Input>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            search(&path, found);
        } else if name.ends_with(".toml")
            && fs::read_to_string(&path).is_ok_and(|text| Scenario::is_scenario(&text))
        {
            found.push(Input { file: path, line: None });
        }
    }
}
