//! A run for tools that read JUnit: a suite a run, a case a nested test.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use netsplit_model::{Event, ProcessName, Reason, Record, Stream, TestReport, Trouble, Verdict, VerdictFile};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite, XmlString};

use crate::layout::RunDir;
use crate::tail::last_lines_of;

/// Bytes of output in a case at most.
const OUTPUT_MAX: usize = 64 << 10;
/// Lines of each stream in a case that did not pass.
const LINES: usize = 50;

/// Parts of streams.
type Written = BTreeMap<(ProcessName, Stream), Range<u64>>;

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
    let mut tests = run.tests.clone();
    // A run whose nested tests all passed can still have failed: a host was lost, a watch saw a line.
    if !tests.iter().any(|test| test.verdict == run.verdict) {
        tests.push(whole(run));
    }
    let written = written(dir, &tests);
    for (test, written) in tests.iter().zip(&written) {
        suite.add_test_case(case(dir, run, test, written));
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

fn case(dir: &RunDir, run: &VerdictFile, test: &TestReport, written: &Written) -> TestCase {
    let mut case = TestCase::new(&*test.name, status(test));
    case.set_classname(&*run.test);
    case.set_time(Duration::from_secs_f64(test.seconds.max(0.0)));
    if has_output(test) {
        case.set_system_out(XmlString::new(tails(dir, written)));
    }
    case
}

fn has_output(test: &TestReport) -> bool {
    !matches!(test.verdict, Verdict::Passed | Verdict::Skipped)
}

/// Which bytes of which stream came while each of these tests went on, of those whose output is told.
fn written(dir: &RunDir, tests: &[TestReport]) -> Vec<Written> {
    let mut all = vec![Written::new(); tests.len()];
    let told: Vec<_> = (0..).zip(tests).filter(|(_, test)| has_output(test)).collect();
    let Some(log) = File::open(dir.events()).ok().filter(|_| !told.is_empty()) else { return all };
    for line in BufReader::new(log).split(b'\n').map_while(Result::ok) {
        let Ok(record) = serde_json::from_slice::<Record>(&line) else { continue };
        let time = record.time().as_secs_f64();
        let Event::Output { process, stream, offset, bytes } = record.event else { continue };
        for (number, _) in told.iter().filter(|(_, test)| lasts(test).contains(&time)) {
            let written = all[*number].entry((process.clone(), stream)).or_insert(offset..offset);
            written.end = offset + bytes;
        }
    }
    all
}

/// From its beginning to its end, in seconds. What was never ended lasts for ever.
fn lasts(test: &TestReport) -> RangeInclusive<f64> {
    // As long as seconds in decimals may be wrong.
    const ABOUT: f64 = 1e-6;
    let end = if test.seconds < 0.0 { f64::INFINITY } else { test.began + test.seconds + ABOUT };
    test.began - ABOUT..=end
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

/// The last lines of what was written.
fn tails(dir: &RunDir, written: &Written) -> String {
    let mut text = String::new();
    for ((process, stream), part) in written {
        text.push_str(&format!("── {process}.{stream}\n"));
        let path = dir.stream(process, *stream);
        for line in last_lines_of(&path, part.clone(), LINES).unwrap_or_default() {
            text.push_str(&line.text);
            text.push('\n');
        }
    }
    if text.len() > OUTPUT_MAX {
        let cut = text.len() - OUTPUT_MAX;
        let cut = (cut..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text = format!("… {cut} bytes left out\n{}", &text[cut..]);
    }
    text
}
