//! Scenarios as data: `good/*.toml` must load, `mistakes/*.toml` must not, and what is said stands beside each in a
//! `.txt`. A first line `# -s KEY=VALUE -n ROLE=N` is the command line. `NETSPLIT_BLESS=1` writes the `.txt` anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use netsplit_scenario::{Level, Linted, Loaded, Overrides, Paint, Scenario, Step, Verb, lint};

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let mut files: Vec<_> = entries.filter(is_toml).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    files
}

fn overrides(path: &Path) -> Overrides {
    let text = std::fs::read(path).unwrap();
    let text = String::from_utf8_lossy(&text);
    let mut overrides = Overrides::default();
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("# -")) else { return overrides };
    for argument in format!("-{line}").split(" -").map(|argument| argument.trim_start_matches('-')) {
        match argument.split_once(' ').unwrap() {
            ("s", text) => overrides.set(text).unwrap(),
            ("n", text) => overrides.hosts(text).unwrap(),
            _ => panic!("{argument}"),
        }
    }
    overrides
}

/// Compares with the file beside `path`, or writes it.
fn check(path: &Path, said: &str, wrong: &mut Vec<String>) {
    let beside = path.with_extension("txt");
    if std::env::var_os("NETSPLIT_BLESS").is_some() {
        std::fs::write(&beside, said).unwrap();
    }
    let expected = std::fs::read_to_string(&beside).unwrap_or_default();
    if expected != said {
        wrong.push(format!("=== {}\n--- wanted\n{expected}--- said\n{said}", path.display()));
    }
}

fn warnings(loaded: &Loaded) -> String {
    let draw = |trouble| loaded.sources.draw(trouble, Level::Warning, Paint::Plain);
    loaded.warnings.iter().map(draw).collect()
}

fn steps(steps: &[Step], depth: usize, out: &mut String) {
    for step in steps {
        writeln!(out, "{:indent$}{}  ({})", "", step.text, step.place, indent = depth * 2).unwrap();
        match &step.verb {
            Verb::Do { steps: inner, .. } | Verb::Together(inner) => steps_inner(inner, depth, out),
            _ => {}
        }
    }
}

fn steps_inner(inner: &[Step], depth: usize, out: &mut String) {
    steps(inner, depth + 1, out);
}

fn summary(loaded: &Loaded) -> String {
    let scenario = &loaded.scenario;
    let mut out = String::new();
    let hosts: Vec<_> = scenario.hosts().map(ToString::to_string).collect();
    writeln!(out, "{}  hosts {}", scenario.name, hosts.join(" ")).unwrap();
    for need in scenario.needs() {
        writeln!(out, "needs {} for `{}`  ({})", need.capability, need.by, need.place).unwrap();
    }
    for case in scenario.cases() {
        writeln!(out, "{}", case.name).unwrap();
        for test in &case.tests {
            writeln!(out, "  {}", test.name).unwrap();
            steps(&test.steps, 2, &mut out);
            steps(&test.cleanup, 3, &mut out);
        }
        steps(&case.cleanup, 1, &mut out);
    }
    out + &warnings(loaded)
}

#[test]
fn good_scenarios_load() {
    let mut wrong = Vec::new();
    for path in files("tests/good") {
        match Scenario::load(&path, &overrides(&path)) {
            Ok(loaded) => check(&path, &summary(&loaded), &mut wrong),
            Err(_) if matches!(lint(&path), Ok(Linted::Part { .. })) => {}
            Err(mistakes) => wrong.push(mistakes.draw(Paint::Plain)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mistakes_are_all_said() {
    let mut wrong = Vec::new();
    for path in files("tests/mistakes") {
        match Scenario::load(&path, &overrides(&path)) {
            Ok(loaded) if loaded.warnings.is_empty() => {
                wrong.push(format!("=== {} has no mistake", path.display()))
            }
            Ok(loaded) => check(&path, &warnings(&loaded), &mut wrong),
            Err(mistakes) => check(&path, &mistakes.draw(Paint::Plain), &mut wrong),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
