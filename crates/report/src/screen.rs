//! What a person reads of a run on a terminal (UX §4.2): the same screen from Rust and from scenarios.

use std::fs;
use std::path::{Path, PathBuf};

use netsplit_model::units::Measured;
use netsplit_model::{Help, Place, Trouble, Verdict, VerdictFile};

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
    let failed: Vec<_> = run.tests.iter().filter(|test| test.verdict == run.verdict).collect();
    let name = match failed.first() {
        Some(test) => format!("{} › {}", run.test, test.name),
        None => run.test.clone(),
    };
    let right = format!("{} · run {}", run.provider, run.run);
    let head = format!("{:<9}{name}", run.verdict.as_str());
    let gap = WIDTH.saturating_sub(head.chars().count() + right.chars().count()).max(2);
    let name_painted = format!("{}{name}", paint.verdict_padded(run.verdict, 9));
    out.push_str(&format!("{name_painted}{}{}\n", " ".repeat(gap), paint.dim(right)));
    if let Some(reason) = &run.reason {
        out.push_str(&trouble(reason, roots, paint));
    }
    for warning in &run.warnings {
        out.push_str(&format!("warning: {}\n", trouble(warning, roots, paint).trim_end()));
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

/// A message with its source line.
pub fn trouble(trouble: &Trouble, roots: &[PathBuf], paint: Paint) -> String {
    let mut out = String::new();
    let name = format!("[{}]", trouble.name);
    let mut lines = trouble.text.lines();
    let first = lines.next().unwrap_or_default();
    let gap = WIDTH.saturating_sub(first.chars().count() + name.chars().count()).max(2);
    out.push_str(&format!("{first}{}{}\n", " ".repeat(gap), paint.dim(name)));
    for line in lines {
        out.push_str(&format!("{line}\n"));
    }
    if let Some(place) = &trouble.place {
        out.push_str(&source(place, roots, paint));
    }
    if let Some(because) = &trouble.because {
        out.push_str(&format!("because  {because}\n"));
    }
    for (label, text) in [("wanted", &trouble.wanted), ("said", &trouble.said)] {
        if let Some(text) = text {
            out.push_str(&labelled(label, text));
        }
    }
    for (index, line) in trouble.saw.iter().enumerate() {
        out.push_str(&labelled(if index == 0 { "saw" } else { "" }, line));
    }
    for help in &trouble.help {
        let (word, text) = match help {
            Help::Fix(text) => ("fix:", text),
            Help::Try(text) => ("try:", text),
            Help::Or(text) => ("or", text),
        };
        let fill = " ".repeat(9 - word.len());
        out.push_str(&format!("{}{fill}{text}\n", paint.help(word)));
    }
    out
}

fn labelled(label: &str, text: &str) -> String {
    let text = if text.is_empty() { "(nothing)" } else { text };
    format!("{label:<9}{}\n", text.replace('\n', "\n         "))
}

/// The line that a place means, with what is meant underlined. Only the place itself when the file is not there.
pub fn source(place: &Place, roots: &[PathBuf], paint: Paint) -> String {
    let mut out = format!("  --> {}\n", paint.path(place));
    let Some(line) = find_line(place, roots) else { return out };
    let number = place.line.to_string();
    let line = line.replace('\t', " ");
    let column = usize::try_from(place.column).unwrap_or(1).saturating_sub(1);
    let width = match place.width {
        0 => line.chars().skip(column).take_while(|c| c.is_alphanumeric() || *c == '_').count().max(1),
        width => usize::try_from(width).unwrap_or(1),
    };
    out.push_str(&format!("{number} | {line}\n"));
    let marks = paint.mark("^".repeat(width));
    out.push_str(&format!("{} | {}{marks}\n", " ".repeat(number.len()), " ".repeat(column)));
    out
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
