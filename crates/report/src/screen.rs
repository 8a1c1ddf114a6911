//! What a person reads of a run on a terminal (UX §4.2): the same screen from Rust and from scenarios.

use std::fs;
use std::path::{Path, PathBuf};

use netsplit_model::units::Measured;
use netsplit_model::{Place, Trouble, Verdict, VerdictFile};

use crate::draw::{self, Level};
use crate::layout::RunDir;
use crate::paint::Paint;

/// Columns that a screen uses when it can.
const WIDTH: usize = 100;

/// How to repeat a run and how to look inside, as the one who ran it would type it.
#[derive(Clone, Debug, Default)]
pub struct Next {
    /// The command that repeats it.
    pub repeat: String,
    /// The command that repeats it and stops just before what failed.
    pub stop_before: Option<String>,
    /// How to look into a host of a run like this.
    pub look: Option<String>,
}

/// A run that did not pass, on one screen.
pub fn failure(dir: &RunDir, run: &VerdictFile, next: &Next, roots: &[PathBuf], paint: Paint) -> String {
    let mut out = String::new();
    for (index, told) in told(run).iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push_str(&head(run, told, paint));
        if let Some(reason) = told.reason {
            out.push_str(&trouble(reason, roots, paint));
        }
    }
    for warning in &run.warnings {
        out.push_str(&draw::trouble(warning, Level::Warning, |place| find_line(place, roots), paint));
    }
    let repeat = if next.repeat.is_empty() { &run.repeat } else { &next.repeat };
    out.push_str(&format!("repeat   {repeat}\n"));
    if let Some(stop) = &next.stop_before {
        out.push_str(&format!("or       {stop}   stops just before it\n"));
    }
    out.push_str(&format!("evidence {}\n", paint.path(shown_path(dir.path()))));
    if let Some(look) = &next.look {
        out.push_str(&format!("inside   {look}\n"));
    }
    out
}

/// A verdict that is told, with its reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told<'a> {
    /// The nested test; `None` when it is the whole run.
    pub test: Option<&'a str>,
    /// How it ended.
    pub verdict: Verdict,
    /// Why.
    pub reason: Option<&'a Trouble>,
}

/// What is told of a run that did not pass: each nested test that failed, and the run itself when its reason is none of
/// theirs.
pub fn told(run: &VerdictFile) -> Vec<Told<'_>> {
    let is_bad = |verdict| !matches!(verdict, Verdict::Passed | Verdict::Skipped);
    let tests = run.tests.iter().filter(|test| is_bad(test.verdict) || test.verdict == run.verdict);
    let tests = tests.map(|test| Told {
        test: Some(&test.name),
        verdict: test.verdict,
        reason: test.reason.as_ref(),
    });
    let mut told: Vec<_> = tests.collect();
    let own = Told { test: None, verdict: run.verdict, reason: run.reason.as_ref() };
    if !told.iter().any(|told| (told.verdict, told.reason) == (own.verdict, own.reason)) {
        told.insert(0, own);
    }
    if !is_bad(run.verdict) {
        told.truncate(1);
    }
    told
}

fn head(run: &VerdictFile, told: &Told<'_>, paint: Paint) -> String {
    let name = told.test.map_or_else(|| run.test.clone(), |test| format!("{} › {test}", run.test));
    let right = format!("{} · run {}", run.provider, run.run);
    let head = format!("{:<9}{name}", told.verdict.as_str());
    let gap = WIDTH.saturating_sub(head.chars().count() + right.chars().count()).max(2);
    format!("{}{name}{}{}\n", paint.verdict_padded(told.verdict, 9), " ".repeat(gap), paint.dim(right))
}

/// A message with its source line, which is looked for below `roots`.
pub fn trouble(trouble: &Trouble, roots: &[PathBuf], paint: Paint) -> String {
    draw::trouble(trouble, Level::Reason, |place| find_line(place, roots), paint)
}

/// Compilers name files relative to a folder that they do not name: the workspace's, mostly.
fn find_line(place: &Place, roots: &[PathBuf]) -> Option<String> {
    let file = Path::new(&place.file);
    let text = roots
        .iter()
        .map(|root| root.join(file))
        .chain([file.to_owned()])
        .find_map(|path| fs::read_to_string(path).ok())?;
    text.lines().nth(usize::try_from(place.line).ok()?.checked_sub(1)?).map(str::to_owned)
}

/// One line for a run that passed or was skipped.
pub fn summary(run: &VerdictFile, paint: Paint) -> String {
    let time = Measured(std::time::Duration::from_secs_f64(run.seconds.max(0.0)));
    let what = match &run.reason {
        Some(reason) if run.verdict == Verdict::Skipped => {
            reason.text.lines().next().unwrap_or_default().to_owned()
        }
        _ => String::new(),
    };
    format!("{}{:>7}  {}  {what}", paint.verdict_padded(run.verdict, 9), time.to_string(), run.test)
        .trim_end()
        .to_owned()
}

/// A path as short as it can be from here.
pub fn shown_path(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
