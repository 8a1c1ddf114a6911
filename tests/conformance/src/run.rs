//! Runs without the attribute, for what it cannot say: a disk's size, two testbeds at once, a run that begins nowhere.

use std::path::PathBuf;

use netsplit::model::Verdict;
use netsplit::run::{Ending, Finished, HostPlan, Run, RunSpec};
use netsplit::settings::Settings;
use netsplit::{HostName, Result, Testbed};

/// Begins a run on the provider that the settings name.
///
/// # Errors
/// When evidence cannot be written.
///
/// # Panics
/// When the settings are wrong.
pub fn begin(test: &str) -> Result<Run> {
    begin_with(test, |_| {})
}

fn begin_with(test: &str, change: impl FnOnce(&mut Settings)) -> Result<Run> {
    let mut settings = Settings::load(&here(), &[]).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    change(&mut settings);
    let provider = settings.provider.as_deref().unwrap_or("namespace");
    let provider = netsplit_provider::by_name(provider).expect("a provider of that name");
    let (test, repeat) = (test.to_owned(), "cargo test -p conformance".to_owned());
    Run::begin(
        settings,
        RunSpec {
            test,
            provider,
            networks: Vec::new(),
            routers: Vec::new(),
            base: here(),
            repeat,
            scenario: Default::default(),
        },
    )
}

fn here() -> PathBuf {
    std::env::current_dir().expect("a working directory")
}

/// Hosts `a`, `b`, … whose disks hold `disk` bytes.
///
/// # Panics
/// Never.
pub fn plans(count: usize, disk: Option<u64>) -> Vec<HostPlan> {
    HostPlan::of_role(&HostName::new("host").expect("a name"), HostName::numbered(count), disk)
}

/// Ends a run that passed, or whose body failed.
pub async fn end(run: Run, result: Result) -> Finished {
    let ending = match result {
        Ok(()) => Ending { verdict: Verdict::Passed, reason: None, tests: Vec::new() },
        Err(error) => {
            let (verdict, reason) = run.judge(error.into());
            Ending { verdict, reason: Some(reason), tests: Vec::new() }
        }
    };
    run.end(ending).await
}

/// Runs `body` on a testbed of its own, and gives what the body did; the testbed must go without trouble.
///
/// # Errors
/// The body's, or that the testbed could not be made.
///
/// # Panics
/// When the testbed did not go as it should.
pub async fn with<T>(
    test: &str,
    hosts: Vec<HostPlan>,
    body: impl AsyncFnOnce(Testbed) -> Result<T>,
) -> Result<T> {
    with_settings(test, hosts, |_| {}, body).await
}

/// As [`with`], with other settings.
///
/// # Errors
/// The body's, or that the testbed could not be made.
///
/// # Panics
/// When the testbed did not go as it should.
pub async fn with_settings<T>(
    test: &str,
    hosts: Vec<HostPlan>,
    change: impl FnOnce(&mut Settings),
    body: impl AsyncFnOnce(Testbed) -> Result<T>,
) -> Result<T> {
    let mut run = begin_with(test, change)?;
    let made = run.make_hosts(hosts).await;
    let done = match made {
        Ok(bed) => body(bed).await,
        Err(error) => Err(error),
    };
    let (result, done) = match done {
        Ok(value) => (Ok(()), Ok(value)),
        Err(error) => (Err(error.clone()), Err(error)),
    };
    let finished = end(run, result).await;
    let teardown = finished.verdict.teardown.expect("a run that ended");
    assert!(teardown.ok, "{:?}", teardown.errors);
    done
}
