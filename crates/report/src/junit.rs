//! A run for tools that read JUnit: a suite a run, a case a nested test.

use std::io;
use std::time::Duration;

use netsplit_model::{HostName, Reason, Stream, TestReport, Trouble, Verdict, VerdictFile};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite, XmlString};

use crate::layout::RunDir;
use crate::tail::last_lines;

/// Bytes of output in a case at most.
const OUTPUT_MAX: usize = 64 << 10;
/// Lines of each stream in a case that did not pass.
const LINES: usize = 50;

/// Several runs as one document.
///
/// # Errors
/// When it cannot be written as XML.
pub fn document(runs: &[(RunDir, VerdictFile)]) -> io::Result<String> {
    let mut report = Report::new("netsplit");
    for (dir, verdict) in runs {
        report.add_test_suite(suite(dir, verdict));
    }
    let text = report.to_string().map_err(io::Error::other)?;
    // The schema that most readers follow, Jenkins's junit-10.xsd, counts what was skipped in each suite only.
    let skipped: usize = report.test_suites.iter().map(|suite| suite.skipped).sum();
    Ok(text.replacen(&format!(" skipped=\"{skipped}\""), "", 1))
}

fn suite(dir: &RunDir, run: &VerdictFile) -> TestSuite {
    let mut suite = TestSuite::new(&*run.test);
    for (name, value) in [("run", &run.run), ("provider", &run.provider), ("repeat", &run.repeat)] {
        suite.add_property(Property::new(name, &**value));
    }
    suite.add_property(Property::new("seed", run.seed.to_string()));
    suite.set_time(Duration::from_secs_f64(run.seconds.max(0.0)));
    if run.tests.is_empty() {
        suite.add_test_case(case(dir, run, &whole(run)));
    }
    for test in &run.tests {
        suite.add_test_case(case(dir, run, test));
    }
    // A run whose nested tests all passed can still have failed: a host was lost, a watch saw a line.
    let is_told = run.tests.is_empty() || run.tests.iter().any(|test| test.verdict == run.verdict);
    if !is_told {
        suite.add_test_case(case(dir, run, &whole(run)));
    }
    suite
}

fn whole(run: &VerdictFile) -> TestReport {
    TestReport {
        name: run.test.clone(),
        verdict: run.verdict,
        reason: run.reason.clone(),
        began: 0.0,
        seconds: run.seconds,
        steps: 0,
    }
}

fn case(dir: &RunDir, run: &VerdictFile, test: &TestReport) -> TestCase {
    let mut case = TestCase::new(&*test.name, status(test));
    case.set_classname(&*run.test);
    case.set_time(Duration::from_secs_f64(test.seconds.max(0.0)));
    if !matches!(test.verdict, Verdict::Passed | Verdict::Skipped) {
        case.set_system_out(XmlString::new(tails(dir)));
    }
    case
}

fn status(test: &TestReport) -> TestCaseStatus {
    let name = test.reason.as_ref().map_or(Reason::Unfinished, |reason| reason.name);
    let text = test.reason.as_ref().map(Trouble::to_string).unwrap_or_default();
    let first =
        test.reason.as_ref().and_then(|reason| reason.text.lines().next()).unwrap_or_default().to_owned();
    match test.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(first);
            status
        }
        Verdict::Failed => non_success(NonSuccessKind::Failure, name.to_string(), first, text),
        verdict => non_success(NonSuccessKind::Error, format!("{verdict}: {name}"), first, text),
    }
}

fn non_success(kind: NonSuccessKind, name: String, message: String, text: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(name);
    status.set_message(message);
    status.set_description(text);
    status
}

/// The last lines of every stream of every host.
fn tails(dir: &RunDir) -> String {
    let mut text = String::new();
    let hosts = std::fs::read_dir(dir.path().join("hosts")).into_iter().flatten().flatten();
    let mut hosts: Vec<_> = hosts.filter_map(|host| HostName::new(host.file_name().to_str()?).ok()).collect();
    hosts.sort();
    for host in hosts {
        let files = std::fs::read_dir(dir.host(&host)).into_iter().flatten().flatten();
        let mut files: Vec<_> = files.map(|file| file.path()).filter(|path| is_stream(path)).collect();
        files.sort();
        for path in files {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            text.push_str(&format!("── {host}/{name}\n"));
            for line in last_lines(&path, LINES).unwrap_or_default() {
                text.push_str(&line.text);
                text.push('\n');
            }
        }
    }
    if text.len() > OUTPUT_MAX {
        let cut = text.len() - OUTPUT_MAX;
        let cut = (cut..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text = format!("… {cut} bytes left out\n{}", &text[cut..]);
    }
    text
}

fn is_stream(path: &std::path::Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    Stream::ALL.iter().any(|stream| ending == Some(stream.as_str()))
}
