//! What `#[netsplit::test]` makes of an async function: settings, skip, run, verdict, screen.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use netsplit_model::{
    Capability, Event, HostName, Reason, Record, Trouble, Verdict, VerdictFile, excerpt,
    units::{At, Wanted},
    words,
};
use netsplit_provider::simulated::Simulated;
use netsplit_provider::{Provider, RouterSpec};
use netsplit_report::RunDir;
use netsplit_report::paint::Paint;
use netsplit_report::screen::{self, Next};

use crate::command::shorten;
use crate::error::{Error, Result};
use crate::interrupt::Open;
use crate::panics;
use crate::run::{Ending, Finished, HostPlan, Run, RunSpec};
use crate::settings::Settings;
use crate::simulate;
use crate::testbed::Testbed;

/// What the attribute knows of a test.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct TestSpec {
    /// The module that the attribute makes of it: `first::cases::survives`.
    pub module: &'static str,
    /// Roles with their hosts.
    pub hosts: &'static [RoleSpec],
    /// Networks by name, with a selector of the hosts on each; none: one that joins all.
    pub networks: &'static [(&'static str, &'static str)],
    /// Routers that are no hosts: name, network inside, network outside, kind.
    pub routers: &'static [[&'static str; 4]],
    /// Capabilities by name.
    pub needs: &'static [&'static str],
    /// How many seeds it is simulated with.
    pub seeds: Option<usize>,
    pub package: &'static str,
    pub crate_name: &'static str,
    /// Whether it is an integration test rather than a unit test.
    pub integration: bool,
    /// Whether it is a unit test of a binary, or of an example.
    pub binary: bool,
    pub should_panic: bool,
    pub multi_thread: bool,
    /// The folder of the package's manifest.
    pub manifest_dir: &'static str,
}

impl TestSpec {
    /// Module path and name within its crate, as test names are, with the mode: `cases::survives::namespace`.
    pub(crate) fn name(&self, mode: Mode) -> String {
        let path = self.module.split_once("::").map_or(self.module, |(_, path)| path);
        format!("{path}::{}", mode.name())
    }
}

/// One role of a test.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum RoleSpec {
    /// Nobody named the hosts.
    Numbered(usize),
    /// Hosts with names, of the role `host`.
    Named(&'static [&'static str]),
    /// A role with so many hosts.
    Role(&'static str, usize),
    /// A role with named hosts.
    RoleNamed(&'static str, &'static [&'static str]),
}

/// Where a test runs.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// In virtual time, each seed in a process of its own.
    Simulated,
    /// On this provider.
    Provider(&'static str),
    /// Where `NETSPLIT_PROVIDER` says.
    Elsewhere,
}

impl Mode {
    fn is_simulated(self, settings: &Settings) -> bool {
        match self {
            Self::Simulated => true,
            Self::Provider(_) => false,
            Self::Elsewhere => settings.provider.as_deref() == Some("simulated"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Provider(name) => name,
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// A test that did not pass; shown, it is the whole screen.
pub struct TestFailure {
    screen: String,
    /// Whether the test's body is at fault, rather than what should have carried it.
    is_own: bool,
}

impl TestFailure {
    pub(crate) fn new(screen: String, is_own: bool) -> Self {
        Self { screen, is_own }
    }

    fn not_begun(screen: String) -> Self {
        Self { screen, is_own: false }
    }
}

impl fmt::Debug for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.screen)
    }
}

/// What a test's body may return: nothing, or a `Result` whose error can be shown.
#[doc(hidden)]
pub trait IntoTestResult {
    /// Nothing, or the error as it is and as it is shown.
    fn into_test_result(self) -> Result<(), (Option<Error>, String)>;
}

impl IntoTestResult for () {
    fn into_test_result(self) -> Result<(), (Option<Error>, String)> {
        Ok(())
    }
}

impl<E: fmt::Debug + 'static> IntoTestResult for Result<(), E> {
    fn into_test_result(self) -> Result<(), (Option<Error>, String)> {
        self.map_err(|error| ((&error as &dyn Any).downcast_ref::<Error>().cloned(), format!("{error:?}")))
    }
}

/// How much longer than its deadline a body may block its thread before its hosts are ended.
pub(crate) const BLOCKED_MAX: Duration = Duration::from_secs(2);

/// How a test's body ended.
enum Body {
    Returned(Result<(), (Option<Error>, String)>),
    Panicked(Box<dyn Any + Send>),
    TimedOut,
}

/// Runs one test in one mode.
///
/// # Errors
/// With the screen, when it did not pass.
///
/// # Panics
/// When the body panicked and `#[should_panic]` is to see it.
#[doc(hidden)]
pub fn run_test<F, T>(spec: &TestSpec, mode: Mode, body: impl FnOnce(Testbed) -> F) -> Result<(), TestFailure>
where
    F: Future<Output = T>,
    T: IntoTestResult,
{
    let cwd = std::env::current_dir().unwrap_or_default();
    let settings = Settings::load(&cwd, &[]).map_err(|troubles| show_all(spec, &troubles))?;
    let provider = provider(&settings, mode).map_err(|trouble| show_all(spec, &[trouble]))?;
    let run_spec = run_spec(spec, mode, provider, cwd);
    let skip = skip(spec, &settings, &*run_spec.provider);
    if skip.is_none() && mode.is_simulated(&settings) {
        return simulate::all(spec, settings, &run_spec);
    }
    let run = Run::begin(settings, run_spec).map_err(|error| show_all(spec, &[error.into()]))?;
    let _open = Open::test(&spec.name(mode), Some(run.dir().path()));
    let runtime = runtime(spec).map_err(|error| TestFailure::not_begun(format!("no runtime: {error}")))?;
    let (finished, panic) = runtime.block_on(async move {
        match skip {
            Some(reason) => (run.end(Ending::of(reason)).await, None),
            None => carry_out(spec, run, body).await,
        }
    });
    match panic {
        Some(payload) if spec.should_panic && finished.verdict.verdict == Verdict::Failed => {
            resume_unwind(payload)
        }
        _ => conclude(spec, &finished),
    }
}

/// The runtime of a test's body.
pub(crate) fn runtime(spec: &TestSpec) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = if spec.multi_thread {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.enable_all().build()
}

/// How a `#[should_panic]` test ends. A testbed that broke is not the panic that was wanted: it is said, and the
/// harness misses its panic.
///
/// # Panics
/// When the test's body failed.
#[doc(hidden)]
pub fn panic_if_failed(result: Result<(), TestFailure>) {
    match result {
        Err(failure) if failure.is_own => panic!("{failure:?}"),
        Err(failure) => say(&failure.screen),
        Ok(()) => {}
    }
}

fn provider(settings: &Settings, mode: Mode) -> Result<Arc<dyn Provider>, Trouble> {
    let name = match mode {
        _ if mode.is_simulated(settings) => return Ok(Arc::new(Simulated)),
        Mode::Provider(name) => name,
        _ => settings.provider.as_deref().ok_or_else(|| {
            Trouble::new(
                Reason::UnknownProvider,
                "`elsewhere` runs where NETSPLIT_PROVIDER says, and it says nothing",
            )
            .fix("NETSPLIT_PROVIDER=namespace cargo test elsewhere -- --ignored")
        })?,
    };
    netsplit_provider::by_name(name).ok_or_else(|| crate::run::unknown_provider(name))
}

pub(crate) fn run_spec(spec: &TestSpec, mode: Mode, provider: Arc<dyn Provider>, base: PathBuf) -> RunSpec {
    let test = spec.name(mode);
    RunSpec {
        provider,
        networks: spec.networks.iter().map(|(name, _)| (*name).to_owned()).collect(),
        routers: spec.routers.iter().map(|words| router(*words)).collect(),
        base,
        repeat: repeat(spec, mode, &test),
        test,
        scenario: Default::default(),
    }
}

/// Runs a test in a run that has begun, to its verdict and the end of its testbed; with what it panicked with.
pub(crate) async fn carry_out<F, T>(
    spec: &TestSpec,
    mut run: Run,
    body: impl FnOnce(Testbed) -> F,
) -> (Finished, Option<Box<dyn Any + Send>>)
where
    F: Future<Output = T>,
    T: IntoTestResult,
{
    panics::watch();
    let made = make_hosts(spec, &mut run).await;
    if let Ok(bed) = &made {
        run.settings().warnings.iter().for_each(|warning| bed.warn(warning.clone()));
    }
    let limit = run.settings().deadlines.test;
    let (ended, panic) = match made {
        Err(error) => (Err(error.into()), None),
        Ok(bed) => body_of(spec, &run, limit, body(bed)).await,
    };
    if let (Ok(()), Some(bed)) = (&ended, run.testbed()) {
        panics::survived().into_iter().for_each(|panic| bed.warn(panic));
    }
    let ending = match ended {
        Ok(()) => Ending { verdict: Verdict::Passed, reason: None, tests: Vec::new() },
        Err(trouble) => {
            let (verdict, trouble) = run.judge(trouble);
            Ending { verdict, reason: Some(trouble), tests: Vec::new() }
        }
    };
    (run.end(ending).await, panic)
}

/// Runs the body and tells how it ended, with what it panicked with.
async fn body_of<T: IntoTestResult>(
    spec: &TestSpec,
    run: &Run,
    limit: Duration,
    body: impl Future<Output = T>,
) -> (Result<(), Trouble>, Option<Box<dyn Any + Send>>) {
    let began = run.now();
    // A body that blocks its thread hears of no deadline; what it waits for ends with the hosts.
    let (name, roots, dir) = (spec.module, roots(spec), run.dir().clone());
    let blocked = move || {
        with_last(still_running(limit), &dir)
            .because("it blocks its thread, which no deadline ends; its hosts were ended, and it still does not return")
            .fix("a wait that has a timeout; until it returns, this process goes on")
    };
    let tell = move |trouble: &Trouble| {
        let text = screen::trouble(trouble, &roots, Paint::Plain);
        let _nobody_listens = writeln!(std::io::stderr(), "\n{name}: {}", text.trim_end());
    };
    let watchdog = run.end_hosts_after(limit + BLOCKED_MAX, blocked, tell);
    let body = guarded(limit, body).await;
    drop(watchdog);
    let took = run.now() - began;
    let trouble = match body {
        _ if took > limit + BLOCKED_MAX => timed_out(run, limit)
            .because("it blocks its thread, which no deadline ends: its hosts were ended")
            .fix("a client with a timeout, or an asynchronous one"),
        Body::Returned(Ok(())) if took > limit => timed_out(run, limit),
        Body::Returned(Ok(())) => return (Ok(()), None),
        Body::Returned(Err((Some(error), _))) => error.into(),
        Body::Returned(Err((None, text))) => own_error(run, &text),
        Body::Panicked(payload) => {
            let trouble = own_error(run, panics::text(&*payload)).at(panics::place(&*payload));
            return (Err(trouble), Some(payload));
        }
        Body::TimedOut => timed_out(run, limit),
    };
    (Err(trouble), None)
}

/// Why the test cannot run here; or, when that may not be skipped, why it fails.
fn skip(spec: &TestSpec, settings: &Settings, provider: &dyn Provider) -> Option<Trouble> {
    let able = settings.able(provider);
    for need in spec.needs {
        let known = Capability::named(need);
        if known.is_some_and(|capability| able.has(capability)) {
            continue;
        }
        return Some(settings.missing(need, provider.name()));
    }
    None
}

async fn make_hosts(spec: &TestSpec, run: &mut Run) -> Result<Testbed> {
    let mut hosts = Vec::new();
    for role in spec.hosts {
        let bad = |error: netsplit_model::NameError| Error::new(Reason::BadName, error.to_string());
        let (role, names) = match role {
            RoleSpec::Numbered(count) => ("host", HostName::numbered(*count)),
            RoleSpec::Named(names) => ("host", parse(names).map_err(bad)?),
            RoleSpec::Role(role, count) => (*role, HostName::new(role).map_err(bad)?.of_role(*count)),
            RoleSpec::RoleNamed(role, names) => (*role, parse(names).map_err(bad)?),
        };
        hosts.extend(HostPlan::of_role(&HostName::new(role).map_err(bad)?, names, None));
    }
    crate::run::join(&mut hosts, spec.networks.iter().copied())?;
    run.make_hosts(hosts).await
}

fn router(words: [&str; 4]) -> RouterSpec {
    let [name, inside, outside, kind] = words.map(str::to_owned);
    RouterSpec { name, inside, outside, kind }
}

fn parse(names: &[&str]) -> Result<Vec<HostName>, netsplit_model::NameError> {
    names.iter().map(|name| HostName::new(name)).collect()
}

/// Runs the body until it ends, panics or takes too long.
async fn guarded<T: IntoTestResult>(limit: Duration, body: impl Future<Output = T>) -> Body {
    let mut body = pin!(body);
    let caught = std::future::poll_fn(|context| {
        // Whatever the body leaves half done is dropped with it; the run's own state is behind locks that recover.
        match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Body::Returned(value.into_test_result())),
            Err(payload) => Poll::Ready(Body::Panicked(payload)),
        }
    });
    tokio::time::timeout(limit, caught).await.unwrap_or(Body::TimedOut)
}

/// An error that is not ours. When it is about one of ours, that one is the reason.
fn own_error(run: &Run, text: &str) -> Trouble {
    match run.last_failure() {
        Some(failure) if text.contains(failure.text.lines().next().unwrap_or_default()) => failure,
        _ => {
            let text = text.trim();
            let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
            let trouble = Trouble::new(Reason::TestError, format!("the test ended with: {first}"));
            if rest.is_empty() { trouble } else { trouble.saw(rest) }
        }
    }
}

fn timed_out(run: &Run, limit: Duration) -> Trouble {
    let trouble = still_running(limit);
    match run.last_failure() {
        Some(failure) => trouble.saw(format!("last: {}", failure.text)),
        None => with_last(trouble, run.dir()),
    }
}

fn still_running(limit: Duration) -> Trouble {
    Trouble::new(Reason::TestTimedOut, format!("the test was still running after {}", Wanted(limit)))
}

fn with_last(trouble: Trouble, dir: &RunDir) -> Trouble {
    last_done(&dir.read_events().unwrap_or_default()).into_iter().fold(trouble, Trouble::saw)
}

/// What the body did last, of what may take long.
pub(crate) fn last_done(records: &[Record]) -> Option<String> {
    records.iter().rev().find_map(|record| {
        let what = match &record.event {
            Event::WaitBegan { pattern, on, .. } => {
                format!("waited for `{pattern}` on {}", excerpt::names(on))
            }
            Event::ProcessStarted { process, argv, .. } => {
                let shown = words::join(argv.iter().map(String::as_str));
                format!("started `{}` as {process}", shorten(&shown, 80))
            }
            _ => return None,
        };
        Some(format!("last: {what}, at {}", At(record.time())))
    })
}

pub(crate) fn conclude(spec: &TestSpec, finished: &Finished) -> Result<(), TestFailure> {
    match finished.verdict.verdict {
        Verdict::Passed | Verdict::Skipped => {
            say_aside(&finished.verdict);
            Ok(())
        }
        _ => Err(TestFailure { screen: screen(spec, finished), is_own: is_own(&finished.verdict) }),
    }
}

/// Whether the test's body is at fault.
pub(crate) fn is_own(verdict: &VerdictFile) -> bool {
    let reason = verdict.reason.as_ref().map(|reason| reason.name);
    verdict.verdict == Verdict::Failed && reason != Some(Reason::RequiredCapability)
}

/// Tells the skip and the warnings of a test that its harness calls `ok`, a line each, past the harness's capture.
pub(crate) fn say_aside(verdict: &VerdictFile) {
    let line = |label, trouble: &Trouble| {
        let text = trouble.text.lines().next().unwrap_or_default();
        format!("{label}: {}: {text}\n", verdict.test)
    };
    let skip = verdict.reason.iter().map(|reason| line("skipped", reason));
    let warnings = verdict.warnings.iter().filter(|warning| is_news(warning));
    let lines: String = skip.chain(warnings.map(|warning| line("warning", warning))).collect();
    // At once, so that lines of tests side by side do not mix. It is in the evidence when nobody listens.
    let _nobody_listens = std::io::stderr().write_all(lines.as_bytes());
}

/// Whether it is worth saying: what is wrong with a setting is the same for every test of a process.
fn is_news(warning: &Trouble) -> bool {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    warning.name != Reason::BadSetting || said.insert(warning.text.clone())
}

#[expect(clippy::print_stdout, reason = "a test's own output, which its harness captures")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

pub(crate) fn screen(spec: &TestSpec, finished: &Finished) -> String {
    let look = match finished.kept {
        // A simulation ends with its process: nobody can enter it.
        _ if finished.verdict.provider == Simulated.name() => None,
        true => Some(format!("netsplit enter {} HOST", finished.verdict.run)),
        false => Some("NETSPLIT_KEEP=failed, then: netsplit enter last HOST".to_owned()),
    };
    let next = Next { repeat: finished.verdict.repeat.clone(), stop_before: None, look };
    screen::failure(&finished.dir, &finished.verdict, &next, &roots(spec), Paint::Plain)
}

/// The folders that the compiler may have named files relative to.
fn roots(spec: &TestSpec) -> Vec<PathBuf> {
    Path::new(spec.manifest_dir).ancestors().map(Path::to_owned).collect()
}

pub(crate) fn show_all(spec: &TestSpec, troubles: &[Trouble]) -> TestFailure {
    let shown = troubles.iter().map(|trouble| screen::trouble(trouble, &roots(spec), Paint::Plain));
    TestFailure::not_begun(shown.collect::<Vec<_>>().join("\n"))
}

/// The command that repeats a test; `%{seed}` stands for the seed.
fn repeat(spec: &TestSpec, mode: Mode, name: &str) -> String {
    let target = target(spec, Path::new(spec.manifest_dir));
    let (provider, ignored) = match mode {
        Mode::Simulated | Mode::Provider(_) => (String::new(), ""),
        Mode::Elsewhere => ("NETSPLIT_PROVIDER=… ".to_owned(), " --ignored"),
    };
    format!(
        "NETSPLIT_SEED=%{{seed}} {provider}cargo test -p {} {target}{name} -- --exact{ignored}",
        spec.package
    )
}

/// What selects the test's target. Where it cannot be known nothing does, and the test's name selects alone: a target
/// that is wrong runs no test and is green.
fn target(spec: &TestSpec, folder: &Path) -> String {
    let is_there = |name: &String| {
        let tests = folder.join("tests");
        tests.join(format!("{name}.rs")).is_file() || tests.join(name).join("main.rs").is_file()
    };
    let names = [spec.crate_name.to_owned(), spec.crate_name.replace('_', "-")];
    match (spec.integration, spec.binary) {
        (false, false) => "--lib ".to_owned(),
        (false, true) => String::new(),
        (true, _) => {
            names.into_iter().find(is_there).map(|name| format!("--test {name} ")).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(crate_name: &'static str, integration: bool, binary: bool) -> TestSpec {
        TestSpec {
            module: "kv::cases::works",
            hosts: &[],
            networks: &[],
            routers: &[],
            needs: &[],
            seeds: None,
            package: "kv",
            crate_name,
            integration,
            binary,
            should_panic: false,
            multi_thread: false,
            manifest_dir: "/nowhere",
        }
    }

    #[test]
    fn a_repeated_test_is_looked_for_in_its_own_target() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("tests/in_folder")).unwrap();
        for file in ["one_word.rs", "with-hyphen.rs", "in_folder/main.rs"] {
            std::fs::write(folder.path().join("tests").join(file), "").unwrap();
        }
        let target = |name, integration, binary| target(&spec(name, integration, binary), folder.path());
        assert_eq!(target("kv", false, false), "--lib ");
        assert_eq!(target("kvd", false, true), "", "an example looks the same");
        assert_eq!(target("one_word", true, false), "--test one_word ");
        assert_eq!(target("with_hyphen", true, false), "--test with-hyphen ");
        assert_eq!(target("in_folder", true, false), "--test in_folder ");
        assert_eq!(target("elsewhere", true, false), "");
        assert_eq!(
            repeat(&spec("kvd", false, true), Mode::Provider("namespace"), "works::namespace"),
            "NETSPLIT_SEED=%{seed} cargo test -p kv works::namespace -- --exact"
        );
    }
}
