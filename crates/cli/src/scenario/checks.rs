//! Judges what commands wrote, what was saved, and what was fetched.

use std::fs;
use std::path::{Path, PathBuf};

use netsplit::HostName;
use netsplit_model::{Place, Reason, Trouble, excerpt};
use netsplit_scenario::{Checks, Expect, JsonCheck, JsonValue, Judged, Matcher, Number, Same, Save, Saved};
use serde_json::Value;

use super::state::{State, StepResult};
use super::steps;

/// Characters of a line or of what was wanted that a message shows.
const SHOWN_MAX: usize = 1000;

/// An output to judge, and how messages call it: ``stdout of `etcdctl get x` on b``.
pub(super) struct Said<'a> {
    pub(super) text: &'a str,
    pub(super) what: String,
    pub(super) name: Reason,
    pub(super) host: Option<&'a HostName>,
}

/// Judges both streams and what must be JSON, then keeps what is to be saved.
pub(super) fn outputs(
    state: &State<'_>,
    checks: &Checks,
    shown: &str,
    host: Option<&HostName>,
    stdout: &str,
    stderr: &str,
    place: &Place,
) -> StepResult {
    let on = host.map_or_else(|| "here".to_owned(), |host| format!("on {host}"));
    let said =
        |stream: &str, text, name| Said { text, what: format!("{stream} of `{shown}` {on}"), name, host };
    if let Some(matcher) = &checks.stdout {
        matches(state, matcher, &said("stdout", stdout, Reason::ExpectStdout), place)?;
    }
    if let Some(matcher) = &checks.stderr {
        matches(state, matcher, &said("stderr", stderr, Reason::ExpectStderr), place)?;
    }
    json(state, &checks.json, &said("stdout", stdout, Reason::ExpectStdout))?;
    checks.save.iter().try_for_each(|save| keep(state, save, &said("stdout", stdout, Reason::ExpectStdout)))
}

/// Judges a text.
pub(super) fn matches(state: &State<'_>, matcher: &Matcher, said: &Said<'_>, place: &Place) -> StepResult {
    let place = matcher.place.as_ref().unwrap_or(place);
    let fail = |wanted: String| Err(differs(said, "differs", wanted, place));
    let text = said.text;
    if let Some(equals) = &matcher.equals {
        let wanted = state.text(equals, said.host)?;
        if chomp(text) != chomp(&wanted) {
            return Err(differs_from(said, &wanted, place));
        }
    }
    for part in &matcher.has {
        let wanted = state.text(part, said.host)?;
        if !text.contains(&wanted) {
            return fail(format!("a text that has `{wanted}`"));
        }
    }
    for pattern in &matcher.matches {
        let regex = state.pattern(pattern)?;
        if !regex.is_match(text.as_bytes()) {
            return fail(format!("a text that matches `{pattern}`"));
        }
    }
    if let Some(lines) = &matcher.lines {
        let wanted = number(state, lines, said)?;
        let count = text.lines().count();
        if (count as f64 - wanted).abs() > f64::EPSILON {
            return fail(format!("{wanted} lines, not {count}"));
        }
    }
    if let Some(is_empty) = matcher.is_empty
        && text.is_empty() != is_empty
    {
        return fail(if is_empty { "nothing".to_owned() } else { "something".to_owned() });
    }
    bounds(state, matcher, said, place)
}

fn bounds(state: &State<'_>, matcher: &Matcher, said: &Said<'_>, place: &Place) -> StepResult {
    let limits = [(&matcher.at_least, "at least"), (&matcher.at_most, "at most")];
    for (limit, word) in limits {
        let Some(limit) = limit else { continue };
        let limit = number(state, limit, said)?;
        let Ok(value) = said.text.trim().parse::<f64>() else {
            return Err(differs(said, "is no number", format!("{word} {limit}"), place));
        };
        let holds = if word == "at least" { value >= limit } else { value <= limit };
        if !holds {
            return Err(differs(said, "is out of bounds", format!("{word} {limit}"), place));
        }
    }
    Ok(())
}

fn number(state: &State<'_>, number: &Number, said: &Said<'_>) -> StepResult<f64> {
    match number {
        Number::Is(number) => Ok(*number),
        Number::Of(text) => {
            let value = state.text(text, said.host)?;
            value.trim().parse().map_err(|_| {
                let trouble =
                    Trouble::new(Reason::BadValue, format!("`{text}` is `{value}`, which is no number"));
                Box::new(trouble.at(Some(text.place.clone())))
            })
        }
    }
}

fn json(state: &State<'_>, checks: &[JsonCheck], said: &Said<'_>) -> StepResult {
    if checks.is_empty() {
        return Ok(());
    }
    let whole = parse(said, &checks[0].place)?;
    for check in checks {
        let path = check.path.join(".");
        let Some(value) = at(&whole, &check.path) else {
            let wanted = format!("`{path}` in it");
            return Err(differs(said, "has no such value", wanted, &check.place));
        };
        let (holds, wanted) = match &check.value {
            JsonValue::Is(wanted) => (value == wanted, wanted.to_string()),
            JsonValue::Text(text) => {
                let wanted = state.text(text, said.host)?;
                (plain(value) == wanted, wanted)
            }
        };
        if !holds {
            let said = Said { text: &plain(value), what: format!("`{path}` in {}", said.what), ..*said };
            return Err(differs_from(&said, &wanted, &check.place));
        }
    }
    Ok(())
}

fn parse(said: &Said<'_>, place: &Place) -> StepResult<Value> {
    serde_json::from_str(said.text).map_err(|error| {
        let how = format!("is not JSON: line {}, column {}", error.line(), error.column());
        differs(said, &how, "JSON".to_owned(), place)
    })
}

fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| match value {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    })
}

/// A value of JSON as a text: a string without its quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Keeps a part of an output for later steps.
pub(super) fn keep(state: &State<'_>, save: &Save, said: &Said<'_>) -> StepResult {
    let value = match &save.what {
        Saved::Stdout => chomp(said.text).to_owned(),
        Saved::Json(path) => {
            let whole = parse(said, &save.place)?;
            let found = at(&whole, path).map(plain);
            let path = path.join(".");
            found.ok_or_else(|| differs(said, "has no such value", format!("`{path}` in it"), &save.place))?
        }
        Saved::Group(pattern) => {
            let regex = state.pattern(pattern)?;
            let captures = regex.captures(said.text.as_bytes());
            let group = captures.as_ref().and_then(|captures| captures.get(1).or_else(|| captures.get(0)));
            let text = group.map(|group| String::from_utf8_lossy(group.as_bytes()).into_owned());
            text.ok_or_else(|| {
                differs(said, "has nothing to save", format!("a match of `{pattern}`"), &save.place)
            })?
        }
    };
    state.save(&save.name, said.host, value);
    Ok(())
}

/// Judges a value, fetched files or processes.
pub(super) async fn expect(state: &State<'_>, expect: &Expect, place: &Place) -> StepResult {
    match &expect.what {
        Judged::Value(text) => {
            let value = state.text(text, None)?;
            let said = Said { text: &value, what: format!("`{text}`"), name: Reason::Expect, host: None };
            matches(state, &expect.matcher, &said, place)
        }
        Judged::Files { glob, matcher } => {
            let mut files: Vec<_> = files_below(&state.fetched)
                .into_iter()
                .filter(|path| path.strip_prefix(&state.fetched).is_ok_and(|path| matcher.is_match(path)))
                .collect();
            files.sort();
            judge_files(state, expect, glob, &files, place)
        }
        Judged::Processes { which, run } => steps::expect_processes(state, which, *run, place).await,
    }
}

fn judge_files(
    state: &State<'_>,
    expect: &Expect,
    glob: &str,
    files: &[PathBuf],
    place: &Place,
) -> StepResult {
    if files.is_empty() {
        let trouble = Trouble::new(Reason::Expect, format!("no fetched file is called like `{glob}`"));
        return Err(Box::new(trouble.at(Some(place.clone()))));
    }
    let counted = Matcher {
        at_least: expect.matcher.at_least.clone(),
        at_most: expect.matcher.at_most.clone(),
        ..Matcher::default()
    };
    let count = files.len().to_string();
    let said = Said {
        text: &count,
        what: format!("the number of files `{glob}`"),
        name: Reason::Expect,
        host: None,
    };
    bounds(state, &counted, &said, place)?;
    let of_each = Matcher { at_least: None, at_most: None, ..expect.matcher.clone() };
    let mut texts = Vec::new();
    for path in files {
        let name = path.strip_prefix(&state.fetched).unwrap_or(path).display().to_string();
        let bytes = fs::read(path).map_err(|error| {
            let trouble = Trouble::new(Reason::FileRefused, format!("`{name}` cannot be read: {error}"));
            Box::new(trouble.at(Some(place.clone())))
        })?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let said = Said { text: &text, what: format!("`{name}`"), name: Reason::Expect, host: None };
        matches(state, &of_each, &said, place)?;
        texts.push((name, bytes));
    }
    expect.same.map_or(Ok(()), |same| agree(same, &texts, place))
}

/// Compares each file with the longest.
fn agree(same: Same, files: &[(String, Vec<u8>)], place: &Place) -> StepResult {
    let Some((longest, whole)) = files.iter().max_by_key(|(_, bytes)| bytes.len()) else { return Ok(()) };
    for (name, bytes) in files {
        let agrees = match same {
            Same::Bytes => bytes == whole,
            Same::Prefix => whole.starts_with(bytes),
        };
        if !agrees {
            let at = bytes
                .iter()
                .zip(whole)
                .position(|(a, b)| a != b)
                .unwrap_or_else(|| bytes.len().min(whole.len()));
            let line = whole[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            let what = if same == Same::Prefix { "is no beginning of" } else { "differs from" };
            let text = format!("`{name}` {what} `{longest}`: byte {at}, line {line}");
            let nth =
                |bytes: &[u8]| cut(String::from_utf8_lossy(bytes).lines().nth(line - 1).unwrap_or_default());
            let trouble = Trouble::new(Reason::Expect, text).wanted(nth(whole), nth(bytes));
            return Err(Box::new(trouble.at(Some(place.clone()))));
        }
    }
    Ok(())
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(entry.path()),
                Ok(kind) if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

fn chomp(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The failure of a text that should be another.
fn differs_from(said: &Said<'_>, wanted: &str, place: &Place) -> Box<Trouble> {
    let found = excerpt::difference(chomp(wanted), chomp(said.text));
    let text = format!("{} differs {}", said.what, found.place);
    let trouble = Trouble::new(said.name, text.trim_end()).wanted(found.wanted, found.said);
    Box::new(trouble.at(Some(place.clone())))
}

/// The failure of a text that is not as it should be.
fn differs(said: &Said<'_>, how: &str, wanted: String, place: &Place) -> Box<Trouble> {
    let text = format!("{} {how}", said.what);
    let trouble = Trouble::new(said.name, text).wanted(cut(&wanted), excerpt::ends(chomp(said.text)));
    Box::new(trouble.at(Some(place.clone())))
}
