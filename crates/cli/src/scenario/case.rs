//! The life of one case: builds, hosts, files, tests in order, cleanup, verdict.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netsplit::here::HereSpec;
use netsplit::run::{Ending, Finished, HostPlan, Run, RunSpec};
use netsplit::settings::{Deadlines, Settings};
use netsplit::{HostName, Never, Reason, Testbed, Verdict};
use netsplit_model::units::Wanted;
use netsplit_model::{Capabilities, Event, Record, TestReport, Trouble, words};
use netsplit_provider::{Provider, RouterSpec};
use netsplit_scenario::{
    Build, Case, Loaded, Need, Program, Scenario, Step, StepAt, Test, Text, Values, Verb,
};

use super::state::{State, StepResult};
use super::{faults, steps};
use crate::commands::enter;
use crate::interrupt::Interrupt;
use crate::terminal::Screen;

/// How long a build may take.
const BUILD_MAX: Duration = Duration::from_secs(30 * 60);
/// How long the cleanup of one test or case may take.
const CLEANUP_MAX: Duration = Duration::from_secs(60);
/// How long a file that a step behind a failed one names may take to be fetched.
const RESCUE_MAX: Duration = Duration::from_secs(10);
/// How long what comes behind an interrupted step may take: the whole run has 5 s to end.
const INTERRUPTED_MAX: Duration = Duration::from_secs(2);
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
    /// Left alone while a shell is open.
    pub(crate) screen: Screen,
}

/// Runs a case to its verdict.
///
/// # Errors
/// When no run could begin at all: no evidence can be written.
pub(crate) async fn run_case(case_run: CaseRun<'_>) -> Result<Finished, Box<Trouble>> {
    let CaseRun {
        loaded,
        case,
        mut settings,
        provider,
        repeat,
        stop_before,
        began,
        listener,
        interrupt,
        screen,
    } = case_run;
    let scenario = &loaded.scenario;
    settings.deadlines = deadlines(scenario, &settings);
    let able = settings.able(&*provider);
    let name = provider.name();
    let spec = RunSpec {
        test: case.name.clone(),
        provider,
        networks: scenario.networks.iter().map(|network| network.name.to_string()).collect(),
        routers: scenario.routers.iter().map(router).collect(),
        // Each path of a scenario is joined to the folder of its own file.
        base: PathBuf::new(),
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
        stopped: Cell::new(None),
        screen: &screen,
        interrupt: &interrupt,
        open: Cell::default(),
        judged: Cell::default(),
    };
    let (verdict, reason) = match life.whole(&mut run).await {
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

fn router(router: &netsplit_scenario::Router) -> RouterSpec {
    RouterSpec {
        name: router.name.to_string(),
        inside: router.inside.to_string(),
        outside: router.outside.to_string(),
        kind: router.kind.name().to_owned(),
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

    /// The gravest verdict, with the reason of the first test that has it.
    fn sum(&self) -> (Verdict, Option<Trouble>) {
        self.with(|all| {
            let gravest = all.iter().rev().max_by_key(|report| report.verdict);
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
    /// The step before which it stopped.
    stopped: Cell<Option<StepAt>>,
    screen: &'a Screen,
    interrupt: &'a Interrupt,
    open: Cell<Option<Open<'a>>>,
    /// Why the open test failed, while its cleanup goes on.
    judged: Cell<Option<Trouble>>,
}

/// The nested test that goes on.
#[derive(Clone, Copy)]
struct Open<'a> {
    test: &'a Test,
    /// How many of its steps are done.
    done: usize,
    /// How many steps of its cleanup are done.
    cleaned: usize,
}

impl<'a> Life<'a> {
    /// Everything but the verdict. An error decides over the reports.
    async fn whole(&self, run: &mut Run) -> Result<(), Trouble> {
        let bed = self.unless_interrupted(self.set_up(run)).await?;
        let state = State::new(self.scenario, self.case, bed, run, self.settings);
        let steps = async {
            self.put_files(&state).await.map_err(|trouble| *trouble)?;
            self.within_limit(&state).await
        };
        let mut ended = self.unless_interrupted(steps).await;
        if let Some(at) = self.stopped.get() {
            let shell = async {
                self.shell(&state, at).await;
                Ok(())
            };
            ended = self.unless_interrupted(shell).await.and(ended);
        }
        let late = async {
            self.interrupt.wait().await;
            tokio::time::sleep(INTERRUPTED_MAX).await;
        };
        tokio::select! {
            () = self.wind_up(&state) => {}
            () = late => {
                let text = format!("cleanup was cut off {} after the interrupt", Wanted(INTERRUPTED_MAX));
                state.bed.warn(Trouble::new(Reason::Interrupted, text));
            }
        }
        ended
    }

    async fn unless_interrupted<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        tokio::select! {
            done = work => done,
            () = self.interrupt.wait() => Err(self.interrupted()),
        }
    }

    /// What must be there before the first file and step.
    async fn set_up(&self, run: &mut Run) -> Result<Testbed, Trouble> {
        if let Some(skip) = self.missing(&self.case.needs) {
            return Err(skip);
        }
        for build in &self.scenario.builds {
            self.build(run, build).await?;
        }
        run.make_hosts(self.plans()).await.map_err(Trouble::from)
    }

    /// All tests, in the time that the scenario has.
    async fn within_limit(&self, state: &State<'_>) -> Result<(), Trouble> {
        let mut watch = Some(self.watch(state)?);
        let tests = self.tests(state, &mut watch);
        let Some(limit) = &self.scenario.within else { return tests.await };
        let time = state.scaled(limit.time);
        match tokio::time::timeout(time, tests).await {
            Ok(ended) => ended,
            // What a test has failed of already is the cause, not the cleanup that was going on.
            Err(_) => {
                Err(self.judged.take().unwrap_or_else(|| self.timed_out(time).at(Some(limit.place.clone()))))
            }
        }
    }

    /// Does what comes behind the steps, whatever ended them: of the test that was open, then of the case.
    async fn wind_up(&self, state: &State<'_>) {
        faults::end(state).await;
        if self.open.get().is_some_and(|open| open.cleaned == 0) {
            self.rescue(state).await;
        }
        self.clean_up_test(state).await;
        // The case's own cleanup runs with the environment of its last test.
        let Some(last) = self.case.tests.last() else { return };
        for step in &self.case.cleanup {
            self.clean_up(state, last, step).await;
        }
        faults::end(state).await;
    }

    /// Why something cannot run here; or, when it may not be skipped, why it fails.
    fn missing(&self, needs: &[Need]) -> Option<Trouble> {
        let need = needs.iter().find(|need| !self.able.has(need.capability))?;
        let word = need.capability.as_str();
        let by = if need.by == "needs" { String::new() } else { format!(" (`{}` does)", need.by) };
        let text = format!("needs `{word}`{by}, {}", self.settings.cannot(word, self.provider));
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
        let mut plans: Vec<_> = self.scenario.roles.iter().flat_map(plans).collect();
        for plan in &mut plans {
            plan.networks = self.scenario.networks_of(&plan.name).map(ToString::to_string).collect();
        }
        plans
    }

    /// Runs what makes a program, here, before any host is made.
    async fn build(&self, run: &Run, build: &Build) -> Result<(), Trouble> {
        let (argv, shown) = self.build_argv(run, &build.program)?;
        let spec = HereSpec {
            name: format!("build-{}", build.command),
            argv,
            env: Vec::new(),
            base: build.program.folder.as_ref().clone(),
            cwd: build.program.folder.as_ref().clone(),
            stdin: None,
            within: BUILD_MAX,
        };
        let output = run.here(spec).await.map_err(Trouble::from)?;
        if output.outcome.is_success() {
            return Ok(());
        }
        let mut trouble = steps::here_failed(&shown, &output);
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
        test: &'a Test,
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
        steps::record_environment(state, test);
        self.open.set(Some(Open { test, done: 0, cleaned: 0 }));
        let limit =
            test.within.as_ref().map_or(self.settings.deadlines.test, |limit| state.scaled(limit.time));
        let steps = tokio::time::timeout(limit, self.steps(state, test, number));
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
            Race::Steps(Err(_)) => {
                let place = test.within.as_ref().map_or(&test.place, |limit| &limit.place);
                Some(self.timed_out(limit).at(Some(place.clone())))
            }
            Race::Forbidden(trouble) => {
                *watch = None;
                Some(*trouble)
            }
        };
        let done = self.open.get().map_or(0, |open| u32::try_from(open.done).unwrap_or(u32::MAX));
        // Before the cleanup, which may bring a lost host back.
        let judged = match failure {
            Some(trouble) => Some(state.run.judge(trouble)),
            None => state.run.spoiled().map(|trouble| (trouble.verdict(), trouble)),
        };
        // What a test's faults did shall not happen to what comes behind its steps.
        faults::end(state).await;
        if judged.is_some() {
            self.rescue(state).await;
        }
        self.judged.set(judged.as_ref().map(|(_, trouble)| trouble.clone()));
        self.clean_up_test(state).await;
        self.judged.set(None);
        faults::end(state).await;
        Ok(match judged {
            None => (Verdict::Passed, None, done),
            Some((verdict, trouble)) => (verdict, Some(trouble), done),
        })
    }

    async fn steps(&self, state: &State<'_>, test: &'a Test, number: usize) -> Result<(), Ended> {
        for (index, step) in test.steps.iter().enumerate() {
            if self.stop_before == Some(StepAt { test: number, step: index }) {
                self.stopped.set(self.stop_before);
                let text = format!("stopped before line {}, as asked", step.place.line);
                return Err(Ended::Stopped(Box::new(Trouble::new(Reason::Interrupted, text))));
            }
            let id = format!("{}.{}", number + 1, index + 1);
            steps::step(state, test, step, id).await.map_err(Ended::Failed)?;
            self.open.set(Some(Open { test, done: index + 1, cleaned: 0 }));
        }
        Ok(())
    }

    /// Opens a shell before a step. No deadline of a test counts in it.
    async fn shell(&self, state: &State<'_>, at: StepAt) {
        let test = &self.case.tests[at.test];
        let step = &test.steps[at.step];
        let host = first_host(state, step);
        let _held = self.screen.hold();
        let step = format!("step {} of `{}`: {}", at.step + 1, test.name, step.text);
        enter::at_stop(state.run.dir(), host.as_ref(), &step).await;
    }

    /// Fetches what steps behind the one that failed would have fetched: it is evidence now.
    async fn rescue(&self, state: &State<'_>) {
        let Some(open) = self.open.get() else { return };
        // A `get` that began has said itself why not; one inside a step of steps may not have been reached.
        let (begun, later) =
            open.test.steps[open.done.min(open.test.steps.len())..].split_at_checked(1).unwrap_or_default();
        let begun = begun.iter().filter(|step| !matches!(step.verb, Verb::Get(_)));
        for step in gets(begun.chain(later)) {
            let get = steps::step(state, open.test, step, "get".into());
            let why = match tokio::time::timeout(RESCUE_MAX, get).await {
                Ok(Ok(())) => continue,
                Ok(Err(trouble)) => trouble.text,
                Err(_) => format!("it took longer than {}", Wanted(RESCUE_MAX)),
            };
            state.bed.note(format!("line {} fetched nothing: {why}", step.place.line));
        }
    }

    /// Runs what is left of the cleanup of the test that is open, which ends with it.
    async fn clean_up_test(&self, state: &State<'_>) {
        while let Some(open) = self.open.get() {
            let Some(step) = open.test.cleanup.get(open.cleaned) else { break };
            // Before it runs: one that is cut off is not begun again.
            self.open.set(Some(Open { cleaned: open.cleaned + 1, ..open }));
            self.clean_up(state, open.test, step).await;
        }
        self.open.set(None);
    }

    /// Its errors are their own record and change no verdict.
    async fn clean_up(&self, state: &State<'_>, test: &Test, step: &Step) {
        let done = tokio::time::timeout(CLEANUP_MAX, steps::step(state, test, step, "cleanup".into()));
        let mut warning = match done.await {
            Ok(Ok(())) => return,
            Ok(Err(trouble)) => *trouble,
            Err(_) => {
                let text = format!("it was still running after {}", Wanted(CLEANUP_MAX));
                Trouble::new(Reason::TestTimedOut, text).at(Some(step.place.clone()))
            }
        };
        warning.text = format!("cleanup: {}", warning.text);
        state.bed.warn(warning);
    }

    fn timed_out(&self, limit: Duration) -> Trouble {
        let mut text = format!("it was still running after {}", Wanted(limit));
        if let Some((at, _)) = self.at() {
            text += &format!(", in {at}");
        }
        Trouble::new(Reason::TestTimedOut, text).guess("a longer `within`")
    }

    fn interrupted(&self) -> Trouble {
        let text = "the run was interrupted";
        // One that has stopped before a step is in none.
        match self.at().filter(|_| self.stopped.get().is_none()) {
            Some((at, step)) => {
                Trouble::new(Reason::Interrupted, format!("{text} in {at}")).at(Some(step.place.clone()))
            }
            None => Trouble::new(Reason::Interrupted, text),
        }
    }

    /// The step that goes on, and how it is called.
    fn at(&self) -> Option<(String, &Step)> {
        let open = self.open.get()?;
        let step = open.test.steps.get(open.done)?;
        Some((format!("step {} of {}: {}", open.done + 1, open.test.steps.len(), step.text), step))
    }
}

/// The `get` steps among `steps`, wherever they stand.
fn gets<'s>(steps: impl IntoIterator<Item = &'s Step>) -> Vec<&'s Step> {
    let inner = |step: &'s Step| match &step.verb {
        Verb::Get(_) => vec![step],
        Verb::Do { steps, .. } | Verb::Together(steps) => gets(steps),
        _ => Vec::new(),
    };
    steps.into_iter().flat_map(inner).collect()
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

/// The host that a shell before `step` is opened on.
fn first_host(state: &State<'_>, step: &Step) -> Option<HostName> {
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
        Verb::Fault(fault) => fault.links.first(),
        Verb::Put(put) => Some(&put.on),
        Verb::Get(get) => Some(&get.on),
        _ => None,
    };
    let meant = select.and_then(|select| state.hosts(select).ok()).and_then(|hosts| hosts.first().cloned());
    meant.or_else(|| state.bed.hosts().first().cloned()).map(|host| host.name().clone())
}
