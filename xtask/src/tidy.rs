//! `cargo xtask tidy`: rules about this repository that no compiler knows. A rule that matters is a test.
//!
//! | file | rules |
//! | --- | --- |
//! | `edges` | which crate may know which |
//! | `source` | what Rust source may say, and where |
//! | `ratchet` | how long functions and files may be; today's exceptions, which may only shrink |
//! | `text` | what any file may say: no notes to self, no paths of one machine, no paths that lead nowhere |

mod edges;
mod ratchet;
mod scan;
mod source;
mod text;

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::shell;
use scan::Source;

/// What is no part of the repository, by name and by place.
const SKIPPED: [&str; 8] =
    ["target", ".git", ".netsplit", "Cargo.lock", "fuzz/target", "fuzz/corpus", "fuzz/artifacts", ".env"];
/// What is read as text.
const TEXTS: [&str; 10] = ["rs", "toml", "md", "yml", "yaml", "json", "sh", "py", "template", "run"];

/// A file of the repository.
struct Repo {
    files: Vec<(String, String)>,
}

/// Reads the repository and prints what is wrong. Whether nothing is.
pub(crate) fn run() -> Result<bool> {
    let root = shell::root();
    let mut repo = Repo { files: Vec::new() };
    read(&root, "", &mut repo)?;
    repo.files.sort();
    let mut wrong = edges::check(&repo.files);
    wrong.extend(text::check(&root, &repo.files));
    let rust = repo.files.iter().filter(|(path, _)| path.ends_with(".rs"));
    let sources: Vec<_> = rust.map(|(path, text)| Source::new(path, text)).collect();
    wrong.extend(sources.iter().flat_map(source::check));
    wrong.extend(ratchet::check(&sources));
    for line in &wrong {
        println!("{line}");
    }
    println!("tidy: {} files, {} troubles", repo.files.len(), wrong.len());
    Ok(wrong.is_empty())
}

fn read(root: &Path, below: &str, repo: &mut Repo) -> Result<()> {
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if SKIPPED.contains(&name.as_str()) || SKIPPED.contains(&path.as_str()) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read(root, &path, repo)?;
        } else if kind.is_file() && TEXTS.contains(&name.rsplit('.').next().unwrap_or_default())
            || path == ".ci/run"
        {
            repo.files.push((path, String::from_utf8_lossy(&fs::read(entry.path())?).into_owned()));
        }
    }
    Ok(())
}
