//! The life of one case: builds, hosts, files, tests in order, cleanup, verdict.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netsplit::here::HereSpec;
use netsplit::run::{Ending, Finished, HostPlan, Run, RunSpec};
use netsplit::settings::{Deadlines, Settings};
use netsplit::{HostName, Never, Reason, Verdict};
use netsplit_model::units::Wanted;
use netsplit_model::{Capabilities, Event, Record, TestReport, Trouble, words};
use netsplit_provider::Provider;
use netsplit_scenario::{Build, Case, Loaded, Need, Program, Scenario, StepAt, Test, Text, Values, Verb};

use super::state::{State, StepResult};
use super::steps;
use crate::commands::enter;
use crate::interrupt::Interrupt;

/// How long a build may take.
const BUILD_MAX: Duration = Duration::from_secs(30 * 60);
/// How long the cleanup of one test or case may take.
const CLEANUP_MAX: Duration = Duration::from_secs(60);
/// How long `watch.never` looks: longer than any run.
const FOR_EVER: Duration = Duration::from_secs(30 * 24 * 3600);

type Watch<'f> = Pin<Box<dyn Future<Output = Trouble> + 'f>>;

/// What a case is run with.
pub(crate) struct CaseRun<'a> {
    pub(crate) loaded: &'a Loaded,
    pub(crate) case: &'a Case,
    pub(crate) settings: Settings,
    pub(crate) provider: Arc<dyn Provider>,
    /// The command that repeats it; `%{seed}` stands for the seed.
    pub(crate) repeat: String,
    /// Stops before this step and opens a shell there.
    pub(crate) stop_before: Option<StepAt>,
    /// Told the seed, once the run has one.
    pub(crate) began: Box<dyn FnOnce(u64) + 'a>,
    /// Told of every event.
    pub(crate) listener: Box<dyn FnMut(&Record) + Send>,
    pub(crate) interrupt: Interrupt,
}

/// Runs a case to its verdict.
///
/// # Errors
/// When no run could begin at all: no evidence can be written.
pub(crate) async fn run_case(case_run: CaseRun<'_>) -> Result<Finished, Box<Trouble>> {
    let CaseRun { loaded, case, mut settings, provider, repeat, stop_before, began, listener, interrupt } =
        case_run;
    let scenario = &loaded.scenario;
    settings.deadlines = deadlines(scenario, &settings);
    let able = provider.capabilities();
    let name = provider.name();
    let spec = RunSpec {
        test: case.name.clone(),
        provider,
        base: scenario.folder.as_ref().clone(),
        repeat,
        scenario: texts(loaded),
    };
    let mut run = Run::begin(settings.clone(), spec).map_err(|error| Box::new(error.into()))?;
    began(run.seed());
    run.listen(listener);
    let reports = Reports::default();
    let life = Life {
        scenario,
        case,
        settings: &settings,
        able: &able,
        provider: name,
        reports: &reports,
        stop_before,
    };
    let outcome = tokio::select! {
        outcome = life.whole(&mut run) => outcome,
        () = interrupt.wait() => Err(Trouble::new(Reason::Interrupted, "the run was interrupted")),
    };
    let (verdict, reason) = match outcome {
        Ok(()) => reports.sum(),
        Err(trouble) => {
            let (verdict, trouble) = run.judge(trouble);
            reports.close(run.now(), verdict, &trouble);
            (verdict, Some(trouble))
        }
    };
    Ok(run.end(Ending { verdict, reason, tests: reports.take() }).await)
}

/// The scenario's own deadlines over those of the settings, scaled as they are.
fn deadlines(scenario: &Scenario, settings: &Settings) -> Deadlines {
    let own = &scenario.deadlines;
    let pick = |own: Option<Duration>, or: Duration| own.map_or(or, |time| time.mul_f64(settings.patience));
    let or = settings.deadlines;
    Deadlines {
        host: pick(own.host, or.host),
        start: pick(own.start, or.start),
        run: pick(own.run, or.run),
        wait: pick(own.wait, or.wait),
        test: pick(own.test, or.test),
        grace: pick(own.grace, or.grace),
    }
}

fn texts(loaded: &Loaded) -> BTreeMap<String, String> {
    let own = |name: &str| Some((name.to_owned(), loaded.sources.text(name)?.to_owned()));
    loaded.sources.names().filter_map(own).collect()
}

/// The nested tests so far. Kept outside of what an interrupt drops.
#[derive(Default)]
struct Reports(Mutex<Vec<TestReport>>);

impl Reports {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<TestReport>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin(&self, name: &str, now: Duration) {
        let report = TestReport {
            name: name.to_owned(),
            verdict: Verdict::Unknown,
            reason: None,
            began: now.as_secs_f64(),
            seconds: -1.0,
            steps: 0,
        };
        self.with(|all| all.push(report));
    }

    fn end(&self, now: Duration, verdict: Verdict, reason: Option<Trouble>, steps: u32) {
        self.with(|all| {
            if let Some(last) = all.last_mut() {
                (last.verdict, last.reason, last.steps) = (verdict, reason, steps);
                last.seconds = now.as_secs_f64() - last.began;
            }
        });
    }

    /// Ends the test that is open, if one is.
    fn close(&self, now: Duration, verdict: Verdict, reason: &Trouble) {
        let is_open = self.with(|all| all.last().is_some_and(|last| last.seconds < 0.0));
        if is_open {
            self.end(now, verdict, Some(reason.clone()), 0);
        }
    }

    /// The gravest verdict, with its reason.
    fn sum(&self) -> (Verdict, Option<Trouble>) {
        self.with(|all| {
            let gravest = all.iter().max_by_key(|report| report.verdict);
            match gravest {
                // Some were skipped for what they need, the others passed.
                Some(report)
                    if report.verdict == Verdict::Skipped
                        && all.iter().any(|one| one.verdict == Verdict::Passed) =>
                {
                    (Verdict::Passed, None)
                }
                Some(report) => (report.verdict, report.reason.clone()),
                None => (Verdict::Passed, None),
            }
        })
    }

    fn take(&self) -> Vec<TestReport> {
        self.with(std::mem::take)
    }
}

struct Life<'a> {
    scenario: &'a Scenario,
    case: &'a Case,
    settings: &'a Settings,
    able: &'a Capabilities,
    provider: &'static str,
    reports: &'a Reports,
    stop_before: Option<StepAt>,
}

impl Life<'_> {
    /// Everything but the verdict. An error decides over the reports.
    async fn whole(&self, run: &mut Run) -> Result<(), Trouble> {
        if let Some(skip) = self.missing(&self.case.needs) {
            return Err(skip);
        }
        for build in &self.scenario.builds {
            self.build(run, build).await?;
        }
        let bed = run.make_hosts(self.plans()).await.map_err(Trouble::from)?;
        let state = State::new(self.scenario, self.case, bed.clone(), run, self.settings);
        self.put_files(&state).await.map_err(|trouble| *trouble)?;
        let mut watch = Some(self.watch(&state)?);
        let tests = self.tests(&state, &mut watch);
        let limit = self.scenario.within.map(|time| state.scaled(time));
        let ended = match limit {
            None => tests.await,
            Some(limit) => match tokio::time::timeout(limit, tests).await {
                Ok(ended) => ended,
                Err(_) => Err(timed_out(limit)),
            },
        };
        self.clean_up(&state, &self.case.cleanup, None).await;
        ended
    }

    /// Why something cannot run here; or, when it may not be skipped, why it fails.
    fn missing(&self, needs: &[Need]) -> Option<Trouble> {
        let need = needs.iter().find(|need| !self.able.has(need.capability))?;
        let word = need.capability.as_str();
        let by = if need.by == "needs" { String::new() } else { format!(" (`{}` does)", need.by) };
        let text = format!("needs `{word}`{by}, which `{}` cannot do here", self.provider);
        let is_required =
            self.settings.require.iter().any(|required| required == word || required == self.provider);
        let trouble = if is_required {
            Trouble::new(Reason::RequiredCapability, format!("{text}, and `require` forbids to skip it"))
        } else {
            Trouble::new(Reason::MissingCapability, text)
        };
        Some(trouble.at(Some(need.place.clone())))
    }

    fn plans(&self) -> Vec<HostPlan> {
        let plans =
            |role: &netsplit_scenario::Role| HostPlan::of_role(&role.name, role.hosts.clone(), role.disk);
        self.scenario.roles.iter().flat_map(plans).collect()
    }

    /// Runs what makes a program, here, before any host is made.
    async fn build(&self, run: &Run, build: &Build) -> Result<(), Trouble> {
        let (argv, shown) = self.build_argv(run, &build.program)?;
        let spec = HereSpec {
            name: format!("build-{}", build.command),
            argv,
            env: Vec::new(),
            cwd: build.program.folder.as_ref().clone(),
            stdin: None,
            within: BUILD_MAX,
        };
        let output = run.here(spec).await.map_err(Trouble::from)?;
        if output.outcome.is_success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let mut trouble = steps::here_failed(&shown, &output.outcome, &stderr);
        trouble.name = Reason::BuildFailed;
        trouble.text = format!("the build of `{}` failed: {}", build.command, trouble.text);
        Err(trouble.at(Some(build.place.clone())))
    }

    fn build_argv(&self, run: &Run, program: &Program) -> Result<(Vec<String>, String), Trouble> {
        let values = Values {
            scenario: self.scenario,
            case: self.case,
            hosts: &[],
            run: run.id().as_str(),
            seed: run.seed(),
            made: &|_, _| None,
            file: &|_, _| None,
        };
        let text = |text: &Text| values.text(text, None).map_err(|trouble| *trouble);
        let words = program.words.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let shown = words::join(words.iter().map(String::as_str));
        match &program.script {
            None => Ok((words, shown)),
            Some(script) => {
                let shell = ["/bin/sh".to_owned(), "-euc".to_owned(), text(script)?, "sh".to_owned()];
                Ok((shell.into_iter().chain(words).collect(), "sh".to_owned()))
            }
        }
    }

    /// Puts the scenario's files where they belong, before the first step.
    async fn put_files(&self, state: &State<'_>) -> StepResult {
        for (name, file) in &self.scenario.files {
            for host in state.hosts(&file.on)? {
                let path = match &file.path {
                    Some(path) => state.text(path, Some(host.name()))?,
                    None => format!("/var/lib/netsplit/files/{name}"),
                };
                state.file_lies(name, host.name(), path.clone());
                let put = steps::put_content(state, &host, &file.content, &path, file.mode).await;
                put.map_err(|mut trouble| {
                    trouble.place = Some(file.place.clone());
                    trouble
                })?;
            }
        }
        Ok(())
    }

    /// What no line of any process may match, for as long as the case lasts.
    fn watch<'f>(&self, state: &'f State<'_>) -> Result<Watch<'f>, Trouble> {
        let patterns =
            self.scenario.never.iter().map(|pattern| Ok((pattern.place.clone(), state.pattern(pattern)?)));
        let patterns = patterns.collect::<StepResult<Vec<_>>>().map_err(|trouble| *trouble)?;
        let mut waits: Vec<_> = patterns
            .into_iter()
            .map(|(place, regex)| {
                let never = Never::from(state.bed.wait_for(regex.as_str()).since_begin()).lasting(FOR_EVER);
                let never = Box::pin(async move { never.await });
                (place, never)
            })
            .collect();
        Ok(Box::pin(std::future::poll_fn(move |context| {
            for (place, never) in &mut waits {
                if let std::task::Poll::Ready(Err(error)) = never.as_mut().poll(context) {
                    let mut trouble = Trouble::from(error);
                    trouble.place = Some(place.clone());
                    return std::task::Poll::Ready(trouble);
                }
            }
            std::task::Poll::Pending
        })))
    }

    async fn tests(&self, state: &State<'_>, watch: &mut Option<Watch<'_>>) -> Result<(), Trouble> {
        let mut failed: Option<String> = None;
        for (number, test) in self.case.tests.iter().enumerate() {
            for round in 1..=test.repeat.max(1) {
                let name =
                    if test.repeat > 1 { format!("{} #{round}", test.name) } else { test.name.clone() };
                self.reports.begin(&name, state.bed.now());
                let index = u32::try_from(number + 1).unwrap_or(u32::MAX);
                let steps = u32::try_from(test.steps.len()).unwrap_or(u32::MAX);
                state.run.event(Event::TestBegan { test: index, name, steps });
                let (verdict, reason, done) =
                    self.test(state, watch, test, number, failed.as_deref()).await?;
                state.run.event(Event::TestEnded { test: index, verdict, reason: reason.clone() });
                self.reports.end(state.bed.now(), verdict, reason, done);
                let is_bad = !matches!(verdict, Verdict::Passed | Verdict::Skipped);
                if is_bad && !test.keep_going {
                    failed.get_or_insert_with(|| test.name.clone());
                }
                if is_bad {
                    break;
                }
            }
        }
        Ok(())
    }

    /// One nested test: its verdict, why, and how many steps it did. An error ends the case.
    async fn test(
        &self,
        state: &State<'_>,
        watch: &mut Option<Watch<'_>>,
        test: &Test,
        number: usize,
        failed: Option<&str>,
    ) -> Result<(Verdict, Option<Trouble>, u32), Trouble> {
        if let Some(earlier) = failed {
            let reason = Trouble::new(Reason::EarlierFailed, format!("`{earlier}` failed before it"));
            return Ok((Verdict::Skipped, Some(reason), 0));
        }
        if let Some(skip) = self.missing(&test.needs) {
            return Ok((skip.verdict(), Some(skip), 0));
        }
        state.test_begins();
        let limit = test.within.map_or(self.settings.deadlines.test, |time| state.scaled(time));
        let done = std::cell::Cell::new(0);
        let steps = tokio::time::timeout(limit, self.steps(state, test, number, &done));
        let ended = match watch {
            None => Race::Steps(steps.await),
            Some(never) => tokio::select! {
                biased;
                trouble = never => Race::Forbidden(Box::new(trouble)),
                ended = steps => Race::Steps(ended),
            },
        };
        let failure = match ended {
            Race::Steps(Ok(Ok(()))) => None,
            Race::Steps(Ok(Err(Ended::Failed(trouble)))) => Some(*trouble),
            Race::Steps(Ok(Err(Ended::Stopped(trouble)))) => return Err(*trouble),
            Race::Steps(Err(_)) => Some(timed_out(limit).at(Some(test.place.clone()))),
            Race::Forbidden(trouble) => {
                *watch = None;
                Some(*trouble)
            }
        };
        self.clean_up(state, &test.cleanup, Some(test)).await;
        Ok(match failure {
            None => (Verdict::Passed, None, done.get()),
            Some(trouble) => {
                let (verdict, trouble) = state.run.judge(trouble);
                (verdict, Some(trouble), done.get())
            }
        })
    }

    async fn steps(
        &self,
        state: &State<'_>,
        test: &Test,
        number: usize,
        done: &std::cell::Cell<u32>,
    ) -> Result<(), Ended> {
        for (index, step) in test.steps.iter().enumerate() {
            if self.stop_before == Some(StepAt { test: number, step: index }) {
                let host = first_host(state, step);
                enter::at_stop(state.run.dir(), host.as_ref(), &step.text).await;
                let text = format!("stopped before line {}, as asked", step.place.line);
                return Err(Ended::Stopped(Box::new(Trouble::new(Reason::Interrupted, text))));
            }
            let id = format!("{}.{}", number + 1, index + 1);
            steps::step(state, test, step, id).await.map_err(Ended::Failed)?;
            done.set(done.get() + 1);
        }
        Ok(())
    }

    /// Always runs; its errors are their own record and change no verdict.
    async fn clean_up(&self, state: &State<'_>, steps: &[netsplit_scenario::Step], test: Option<&Test>) {
        // The case's own cleanup runs with the environment of its last test.
        let Some(test) = test.or_else(|| self.case.tests.last()) else { return };
        for step in steps {
            let done =
                tokio::time::timeout(CLEANUP_MAX, steps::step(state, test, step, "cleanup".into())).await;
            let trouble = match done {
                Ok(Ok(())) => continue,
                Ok(Err(trouble)) => *trouble,
                Err(_) => timed_out(CLEANUP_MAX).at(Some(step.place.clone())),
            };
            let mut warning = trouble;
            warning.text = format!("cleanup: {}", warning.text);
            state.bed.warn(warning);
        }
    }
}

enum Race<T> {
    Steps(T),
    Forbidden(Box<Trouble>),
}

/// Why a test's steps ended early.
enum Ended {
    Failed(Box<Trouble>),
    Stopped(Box<Trouble>),
}

fn timed_out(limit: Duration) -> Trouble {
    Trouble::new(Reason::TestTimedOut, format!("it was still running after {}", Wanted(limit)))
        .guess("a longer `within`")
}

/// The host that a shell before `step` is opened on.
fn first_host(state: &State<'_>, step: &netsplit_scenario::Step) -> Option<HostName> {
    use netsplit_scenario::Where;
    let select = match &step.verb {
        Verb::Run(run) => match &run.on {
            Where::Hosts(select) => Some(select),
            Where::Here => None,
        },
        Verb::Start(start) => Some(&start.on),
        Verb::KillHosts(on) | Verb::Resume(on) | Verb::Pause { on, .. } | Verb::Restart { on, .. } => {
            Some(on)
        }
        Verb::Put(put) => Some(&put.on),
        Verb::Get(get) => Some(&get.on),
        _ => None,
    };
    let meant = select.and_then(|select| state.hosts(select).ok()).and_then(|hosts| hosts.first().cloned());
    meant.or_else(|| state.bed.hosts().first().cloned()).map(|host| host.name().clone())
}
