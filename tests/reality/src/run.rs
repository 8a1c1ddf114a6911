//! Running cases one after another, each in a task, a folder and a deadline of its own; comparing what they saw.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time;

use crate::Seen;
use crate::cases::{CASES, Case, Run};
use crate::seen::told;

/// How long one case may take. The slowest needs a fraction of a second.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Where cases may work.
#[derive(Clone, Debug)]
pub struct Place {
    /// A folder that exists, for nobody else's use. Its path is of 60 bytes at most: names of Unix sockets are in it.
    pub dir: PathBuf,
}

/// Runs every case, one after another, in the runtime of the caller, which has its clock and its I/O enabled. A block of text
/// for each: its name, then indented lines.
pub async fn run_all(place: &Place) -> String {
    let mut text = String::new();
    for case in CASES {
        text.push_str(&block(case.name, &run_one(place, case).await));
    }
    text
}

/// Runs one case; what it saw, and, behind a `!`, how it failed if it did.
pub async fn run_one(place: &Place, case: &Case) -> Vec<String> {
    let dir = place.dir.join(case.name.replace("::", "-"));
    let seen = Seen::new(dir.clone());
    if let Err(error) = fs::create_dir(&dir) {
        return vec![format!("! no folder to work in: {}", told(&error))];
    }
    let notes = seen.clone();
    let mut task = match case.run {
        Run::Task(run) => tokio::spawn(run(notes)),
        Run::Blocking(run) => tokio::task::spawn_blocking(move || run(&notes)),
    };
    match time::timeout(DEADLINE, &mut task).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => seen.line(format!("! gave up: {}", told(&error))),
        Ok(Err(error)) => seen.line(format!("! {error}")),
        Err(_) => {
            task.abort();
            seen.line("! did not end in time".to_owned());
        }
    }
    // What cannot be removed is the business of whoever made the place.
    let _ = fs::remove_dir_all(&dir);
    seen.lines()
}

/// Each case that differs between two texts of [`run_all`], with both of its blocks. Empty if they agree.
pub fn differences(expected: &str, seen: &str) -> String {
    let (expected, seen) = (blocks(expected), blocks(seen));
    let names = expected.keys().chain(seen.keys().filter(|name| !expected.contains_key(*name)));
    let differing = names.filter(|name| expected.get(*name) != seen.get(*name));
    let of = |side: &BTreeMap<&str, String>, name: &str| {
        side.get(name).map_or_else(|| "    (no such case)\n".to_owned(), Clone::clone)
    };
    differing
        .map(|name| {
            let (expected, seen) = (of(&expected, name), of(&seen, name));
            format!("{name}\n  expected\n{expected}  seen\n{seen}")
        })
        .collect()
}

fn block(name: &str, lines: &[String]) -> String {
    let lines: String = lines.iter().map(|line| format!("    {line}\n")).collect();
    format!("{name}\n{lines}")
}

/// The lines below each name.
fn blocks(text: &str) -> BTreeMap<&str, String> {
    let mut blocks = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        if line.starts_with(' ') {
            let block: &mut String = blocks.entry(name).or_default();
            block.push_str(line);
            block.push('\n');
        } else {
            name = line;
            blocks.entry(name).or_default();
        }
    }
    blocks
}
