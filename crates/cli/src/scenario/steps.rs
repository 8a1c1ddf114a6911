//! What each verb does.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use netsplit::here::{HereOutput, HereSpec};
use netsplit::{Exit, Host, Line, Outcome, Process, Verdict, Wait};
use netsplit_model::units::Wanted;
use netsplit_model::{Event, Place, Reason, Trouble, excerpt, words};
use netsplit_report::clean;
use netsplit_scenario::{
    Command, Content, Env, Exit as ExitWord, Find, Get, HowMany, Listen, Never, Program, Put, Run, Since,
    Start, Step, Stop, Test, Text, Verb, Wait as WaitStep, WaitFor, Where,
};

use super::checks::{self, Said};
use super::faults;
use super::state::{Failure, State, StepResult};

/// How often `eventually` tries again.
const TRY_EVERY: Duration = Duration::from_millis(50);
/// Stands before how often a command was tried.
const TRIED: &str = ", tried ";
/// How many further failures of steps that were done together are told in full.
const OTHERS_MAX: usize = 4;

type Boxed<'f, T> = Pin<Box<dyn Future<Output = T> + 'f>>;

/// Does one step, called `id` in the log; a failure has its place.
pub(super) fn step<'f>(
    state: &'f State<'_>,
    test: &'f Test,
    step: &'f Step,
    id: String,
) -> Boxed<'f, StepResult> {
    Box::pin(async move {
        state.run.event(Event::StepBegan {
            step: id.clone(),
            text: step.text.clone(),
            line: step.place.line,
        });
        let done = verb(state, test, step, &id).await.map_err(|trouble| placed(*trouble, &step.place));
        let verdict = done.as_ref().map_or_else(|trouble| trouble.verdict(), |()| Verdict::Passed);
        state.run.event(Event::StepEnded { step: id, verdict });
        done
    })
}

/// Gives a failure the step's place, unless it knows a better one in the scenario.
fn placed(mut trouble: Trouble, place: &Place) -> Failure {
    let knows = trouble.place.as_ref().is_some_and(|known| !known.file.ends_with(".rs"));
    if !knows {
        trouble.place = Some(place.clone());
    }
    Box::new(trouble)
}

async fn verb(state: &State<'_>, test: &Test, step: &Step, id: &str) -> StepResult {
    match &step.verb {
        Verb::Run(run) => do_run(state, test, run, &step.place).await,
        Verb::Start(start) => do_start(state, test, start).await,
        Verb::Wait(wait) => do_wait(state, wait, &step.place).await,
        Verb::Stop(stop) => do_stop(state, stop, &step.place).await,
        Verb::WaitFor(wait) => wait_for(state, wait, &step.place).await,
        Verb::Find(find) => do_find(state, find, &step.place).await,
        Verb::Never(never) => do_never(state, never, &step.place).await,
        Verb::KillHosts(on) => each(state.hosts(on)?, |host| async move { host.kill().await }).await,
        Verb::KillProcess(process) => {
            let processes = state.processes(process.hosts.as_ref(), &process.process, &step.place)?;
            each(processes, |process| async move { process.kill().await.map(drop) }).await
        }
        Verb::Signal { signal, on } => {
            let processes = state.processes(on.hosts.as_ref(), &on.process, &step.place)?;
            each(processes, |process| async move { process.signal(*signal).await }).await
        }
        Verb::Pause { on, lasts } => pause(state, state.hosts(on)?, *lasts).await,
        Verb::Resume(on) => each(state.hosts(on)?, |host| async move { host.resume().await }).await,
        Verb::Restart { on, within } => restart(state, state.hosts(on)?, *within).await,
        Verb::Fault(fault) => faults::begin(state, fault).await,
        Verb::Regions(regions) => faults::regions(state, regions).await,
        Verb::Heal(what) => faults::heal(state, what).await,
        Verb::Capture(what) => faults::capture(state, what).await,
        Verb::Put(put) => do_put(state, put).await,
        Verb::Get(get) => do_get(state, get).await,
        Verb::Note(text) => {
            state.bed.note(state.text(text, None)?);
            Ok(())
        }
        Verb::Expect(expect) => checks::expect(state, expect, &step.place).await,
        Verb::Do { name, steps } => {
            for (number, inner) in steps.iter().enumerate() {
                let done = self::step(state, test, inner, format!("{id}.{}", number + 1)).await;
                done.map_err(|trouble| done_by(name, &step.place, trouble))?;
            }
            Ok(())
        }
        Verb::Together(steps) => {
            let inner = |(number, inner)| self::step(state, test, inner, format!("{id}.{}", number + 1));
            all_failures(join_all(steps.iter().enumerate().map(inner).collect()).await)
        }
        Verb::Sleep { time, .. } => {
            tokio::time::sleep(*time).await;
            Ok(())
        }
        other => {
            let text = format!("this version does not do `{other:?}`");
            Err(Box::new(Trouble::new(Reason::Bug, text)))
        }
    }
}

/// Says where the procedure `name` was called of which a step failed.
fn done_by(name: &str, place: &Place, mut trouble: Failure) -> Failure {
    let call = format!("done by `{name}` in {}:{}", place.file, place.line);
    trouble.hint = Some(trouble.hint.map_or_else(|| call.clone(), |hint| format!("{hint}, {call}")));
    trouble
}

/// What happened in several steps as one failure: the first, with the others' in short.
fn all_failures(results: Vec<StepResult>) -> StepResult {
    let mut failures = results.into_iter().filter_map(Result::err);
    let Some(mut first) = failures.next() else { return Ok(()) };
    let others: Vec<_> = failures.collect();
    also_failed(&mut first, others.iter());
    Err(first)
}

/// Tells in `first` of others that failed beside it.
fn also_failed<'t>(first: &mut Failure, others: impl ExactSizeIterator<Item = &'t Failure>) {
    let left = others.len().saturating_sub(OTHERS_MAX);
    for other in others.take(OTHERS_MAX) {
        // Of one step on several hosts each has where this was written in Rust: no place of the user's.
        let of_scenario = other.place.as_ref().filter(|place| !place.file.ends_with(".rs"));
        let place = of_scenario.map(|place| format!("{}:{}: ", place.file, place.line));
        let said =
            other.said.as_ref().and_then(|said| said.lines().next()).map(|said| format!(", said {said}"));
        first.saw.push(format!(
            "also failed  {}{}{}",
            place.unwrap_or_default(),
            other.text,
            said.unwrap_or_default()
        ));
    }
    if left > 0 {
        first.saw.push(format!("also failed  {left} more"));
    }
}

/// Does something to several at the same time; the first failure, in their order, once all are done.
async fn each<T, F>(all: Vec<T>, act: impl Fn(T) -> F) -> StepResult
where
    F: Future<Output = netsplit::Result>,
{
    let acts: Vec<Boxed<'_, StepResult>> = all
        .into_iter()
        .map(|one| {
            let act = act(one);
            Box::pin(async move { act.await.map_err(boxed) }) as Boxed<'_, StepResult>
        })
        .collect();
    join(acts).await
}

/// Awaits all at the same time; the first failure, in their order, once all are done.
async fn join<T>(futures: Vec<Boxed<'_, StepResult<T>>>) -> StepResult<T>
where
    T: Default,
{
    Ok(join_all(futures).await.into_iter().collect::<StepResult<Vec<T>>>()?.pop().unwrap_or_default())
}

async fn join_all<T>(mut futures: Vec<Boxed<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

pub(super) fn boxed(error: netsplit::Error) -> Failure {
    Box::new(error.into())
}

// ── commands ──

/// A command with its values filled in for one host, or for here.
struct Filled {
    argv: Vec<String>,
    env: BTreeMap<String, Option<String>>,
    cwd: Option<String>,
    stdin: Option<String>,
    folder: PathBuf,
    shown: String,
}

fn fill(state: &State<'_>, test: &Test, command: &Command, host: Option<&Host>) -> StepResult<Filled> {
    let host = host.map(Host::name);
    let text = |text: &Text| state.text(text, host);
    let (argv, shown) = argv(&command.program, &text)?;
    let mut env = BTreeMap::new();
    // The nearest scope last: it wins.
    for scope in [&state.scenario.env, &test.env, &command.env] {
        fill_env(scope, &text, &mut env)?;
    }
    Ok(Filled {
        argv,
        env,
        cwd: command.cwd.as_ref().map(&text).transpose()?,
        stdin: command.stdin.as_ref().map(&text).transpose()?,
        folder: command.program.folder.as_ref().clone(),
        shown,
    })
}

fn fill_env(
    scope: &Env,
    text: &dyn Fn(&Text) -> StepResult<String>,
    env: &mut BTreeMap<String, Option<String>>,
) -> StepResult {
    for (name, value) in scope {
        env.insert(name.clone(), value.as_ref().map(text).transpose()?);
    }
    Ok(())
}

/// Writes down what commands of `test` see on each host, for whoever enters it.
pub(super) fn record_environment(state: &State<'_>, test: &Test) {
    let has_own = |case: &netsplit_scenario::Case| case.tests.iter().any(|test| !test.env.is_empty());
    if state.scenario.env.is_empty() && !state.scenario.cases().iter().any(has_own) {
        return; // as it is anyway
    }
    for host in state.bed.hosts() {
        let own = host.environment().into_iter().filter(|(name, value, _)| !state.is_passed(name, value));
        let mut variables: BTreeMap<_, _> = own.map(|(name, value, _)| (name, Some(value))).collect();
        for (name, value) in state.scenario.env.iter().chain(&test.env) {
            let value = value.as_ref().map(|value| state.text(value, Some(host.name())));
            match value {
                Some(Ok(value)) => drop(variables.insert(name.clone(), Some(value))),
                Some(Err(_)) => drop(variables.remove(name)),
                None => drop(variables.insert(name.clone(), None)),
            }
        }
        let _only_for_those_who_enter = state.run.dir().write_environment(host.name(), &variables);
    }
}

/// The words to execute, and the command as messages show it.
fn argv(program: &Program, text: &dyn Fn(&Text) -> StepResult<String>) -> StepResult<(Vec<String>, String)> {
    let words = program.words.iter().map(text).collect::<StepResult<Vec<_>>>()?;
    let Some(script) = &program.script else {
        let shown = words::join(words.iter().map(String::as_str));
        return Ok((words, shown));
    };
    let script = text(script)?;
    let shown = script.trim().lines().next().unwrap_or_default().to_owned();
    let shell = ["/bin/sh", "-euc", &script, "sh"].map(str::to_owned);
    Ok((shell.into_iter().chain(words).collect(), shown))
}

fn exit(exit: &ExitWord) -> Exit {
    match exit {
        ExitWord::Codes(codes) => Exit::Codes(codes.iter().map(|code| i32::from(*code)).collect()),
        ExitWord::Nonzero => Exit::Nonzero,
        ExitWord::Any => Exit::Any,
        ExitWord::Signal(signal) => Exit::Signal(*signal),
    }
}

async fn do_run(state: &State<'_>, test: &Test, run: &Run, place: &Place) -> StepResult {
    let hosts = match &run.on {
        Where::Here => return repeated(run.eventually, || run_here(state, test, run, place)).await,
        Where::Hosts(select) => state.hosts(select)?,
    };
    let runs: Vec<Boxed<'_, StepResult>> = hosts
        .iter()
        .map(|host| {
            let once = move || run_on(state, test, run, host, place);
            Box::pin(async move { repeated(run.eventually, once).await }) as Boxed<'_, StepResult>
        })
        .collect();
    one_failure(&hosts, join_all(runs).await)
}

/// What happened on several hosts as one failure: the first, with who else failed in the same way, who in another, and who
/// did not.
fn one_failure(hosts: &[impl ToString], results: Vec<StepResult>) -> StepResult {
    let (mut agreed, mut failed) = (Vec::new(), Vec::new());
    for (host, result) in hosts.iter().zip(results) {
        match result {
            Ok(()) => agreed.push(host.to_string()),
            Err(trouble) => failed.push((host.to_string(), trouble)),
        }
    }
    let Some((first, mut trouble)) = failed.first().cloned() else { return Ok(()) };
    let (alike, others): (Vec<_>, Vec<_>) =
        failed.into_iter().partition(|(host, other)| way(host, other) == way(&first, &trouble));
    let alike: Vec<_> = alike.into_iter().map(|(host, _)| host).collect();
    trouble.text =
        trouble.text.replacen(&format!(" on {first}"), &format!(" on {}", excerpt::names(&alike)), 1);
    if !agreed.is_empty() {
        trouble.text = format!("{}; {} did as expected", trouble.text, excerpt::names(&agreed));
    }
    also_failed(&mut trouble, others.iter().map(|(_, other)| other));
    Err(trouble)
}

/// In which way a command failed on `host`: what it said, but for the host's name and how often it was tried.
fn way(host: &str, trouble: &Trouble) -> (String, Option<String>) {
    let text = trouble.text.replacen(&format!(" on {host}"), " on …", 1);
    let text = text.split(TRIED).next().unwrap_or_default().to_owned();
    (text, trouble.said.clone())
}

/// Tries until it succeeds, for so long; the failure says how often.
async fn repeated<F>(eventually: Option<Duration>, once: impl Fn() -> F) -> StepResult
where
    F: Future<Output = StepResult>,
{
    let Some(time) = eventually else { return once().await };
    let (begun, mut tries) = (Instant::now(), 0u32);
    loop {
        tries += 1;
        let Err(mut trouble) = once().await else { return Ok(()) };
        let is_final = matches!(
            trouble.name,
            Reason::NoSuchProgram
                | Reason::NoSuchFile
                | Reason::HostLost
                | Reason::UnsetVariable
                | Reason::CouldNotStart
        );
        if is_final {
            return Err(trouble);
        }
        if begun.elapsed() >= time {
            let times = if tries == 1 { "once".to_owned() } else { format!("{tries} times") };
            trouble.text = format!("{}{TRIED}{times} in {}", trouble.text, Wanted(time));
            return Err(trouble);
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
}

async fn run_on(state: &State<'_>, test: &Test, run: &Run, host: &Host, place: &Place) -> StepResult {
    let filled = fill(state, test, &run.command, Some(host))?;
    let mut command = host
        .run(netsplit::Words::Literal(filled.argv))
        .name(&run.command.name)
        .beside(filled.folder)
        .exits(exit(&run.checks.exit));
    for (name, value) in filled.env {
        command = match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(cwd) = filled.cwd {
        command = command.cwd(cwd);
    }
    if let Some(stdin) = filled.stdin {
        command = command.stdin(stdin);
    }
    if let Some(user) = &run.command.user {
        command = command.user(user);
    }
    if run.command.pty {
        command = command.pty();
    }
    if let Some(within) = run.command.within {
        command = command.within(within);
    }
    let output = command.await.map_err(boxed)?;
    let (stdout, stderr) = (output.stdout(), output.stderr());
    checks::outputs(state, &run.checks, &filled.shown, Some(host.name()), &stdout, &stderr, place)
}

async fn run_here(state: &State<'_>, test: &Test, run: &Run, place: &Place) -> StepResult {
    let filled = fill(state, test, &run.command, None)?;
    let spec = HereSpec {
        name: run.command.name.clone(),
        argv: filled.argv,
        env: filled.env.into_iter().collect(),
        // What `get` fetched lies where an oracle looks for it.
        cwd: filled.cwd.map_or_else(|| filled.folder.clone(), |cwd| filled.folder.join(cwd)),
        base: filled.folder,
        stdin: filled.stdin.map(Into::into),
        within: run.command.within.unwrap_or(Duration::from_secs(600)),
    };
    let output = state.run.here(spec).await.map_err(boxed)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let wanted = exit(&run.checks.exit);
    if !wanted.allows(&output.outcome) {
        return Err(Box::new(here_failed(&filled.shown, &output)));
    }
    checks::outputs(state, &run.checks, &filled.shown, None, &stdout, &stderr, place)
}

/// The failure of a command on this machine.
pub(super) fn here_failed(shown: &str, output: &HereOutput) -> Trouble {
    let trouble = |name| Trouble::new(name, format!("`{shown}` here {}", output.outcome));
    let trouble = match output.outcome {
        Outcome::CouldNotStart(_) => return trouble(Reason::CouldNotStart),
        Outcome::TimedOut { .. } => trouble(Reason::CommandTimedOut),
        _ => trouble(Reason::UnexpectedExit),
    };
    let [stderr, stdout] = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes));
    let lines =
        |text: &str| text.lines().filter(|line| !line.trim().is_empty()).map(clean).collect::<Vec<_>>();
    let said = [lines(&stderr), lines(&stdout)].into_iter().find(|lines| !lines.is_empty());
    let said = said.unwrap_or_else(|| vec!["it wrote nothing".to_owned()]);
    said[said.len().saturating_sub(8)..].iter().fold(trouble, Trouble::saw)
}

async fn do_start(state: &State<'_>, test: &Test, start: &Start) -> StepResult {
    let hosts = state.hosts(&start.on)?;
    let starts =
        hosts.iter().map(|host| Box::pin(start_on(state, test, start, host)) as Boxed<'_, StepResult>);
    one_failure(&hosts, join_all(starts.collect()).await)
}

async fn start_on(state: &State<'_>, test: &Test, start: &Start, host: &Host) -> StepResult {
    let filled = fill(state, test, &start.command, Some(host))?;
    let mut command =
        host.start(netsplit::Words::Literal(filled.argv)).name(&start.command.name).beside(filled.folder);
    for (name, value) in filled.env {
        command = match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if let Some(cwd) = filled.cwd {
        command = command.cwd(cwd);
    }
    if let Some(stdin) = filled.stdin {
        command = command.stdin(stdin);
    }
    if let Some(user) = &start.command.user {
        command = command.user(user);
    }
    if start.command.pty {
        command = command.pty();
    }
    let process = command.await.map_err(boxed)?;
    state.started(&start.command.name, process.clone());
    let Some(ready) = &start.command.ready else { return Ok(()) };
    let wait = process.wait_for(state.pattern(ready)?.as_str());
    let wait = wait.within(start.command.within.unwrap_or_else(|| state.deadline_start()));
    wait.await.map(drop).map_err(boxed)
}

async fn do_wait(state: &State<'_>, wait: &WaitStep, place: &Place) -> StepResult {
    let processes = state.processes(wait.process.hosts.as_ref(), &wait.process.process, place)?;
    let waits = processes
        .into_iter()
        .map(|process| Box::pin(wait_one(state, wait, process, place)) as Boxed<'_, StepResult>);
    join(waits.collect()).await
}

async fn wait_one(state: &State<'_>, wait: &WaitStep, process: Process, place: &Place) -> StepResult {
    let mut end = process.wait();
    if let Some(within) = wait.within {
        end = end.within(within);
    }
    end.exits(exit(&wait.checks.exit)).await.map_err(boxed)?;
    let text = |bytes: netsplit::Result<Vec<u8>>| {
        bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(boxed)
    };
    let (stdout, stderr) = (text(process.stdout())?, text(process.stderr())?);
    let name = process.name().to_string();
    checks::outputs(state, &wait.checks, &name, Some(process.host()), &stdout, &stderr, place)
}

/// Whether processes run, or have ended.
pub(super) async fn expect_processes(
    state: &State<'_>,
    which: &netsplit_scenario::Process,
    run: bool,
    place: &Place,
) -> StepResult {
    let processes = state.processes(which.hosts.as_ref(), &which.process, place)?;
    let hosts: Vec<_> = processes.iter().map(|process| process.host().clone()).collect();
    let looks =
        processes.iter().map(|process| Box::pin(expect_process(process, run)) as Boxed<'_, StepResult>);
    one_failure(&hosts, join_all(looks.collect()).await)
}

async fn expect_process(process: &Process, run: bool) -> StepResult {
    let (name, host) = (process.name().name(), process.host());
    let text = match process.outcome() {
        Some(_) if run => {
            // A failure has its last lines with it.
            let outcome = process.wait().exits(0).await.map_err(boxed)?;
            format!("`{name}` on {host} {outcome}, and was to run")
        }
        None if !run => format!("`{name}` on {host} runs, and was to have ended"),
        _ => return Ok(()),
    };
    Err(Box::new(Trouble::new(Reason::Expect, text)))
}

async fn do_stop(state: &State<'_>, stop: &Stop, place: &Place) -> StepResult {
    let processes = state.processes(stop.process.hosts.as_ref(), &stop.process.process, place)?;
    let grace = stop.grace;
    each(processes, |process| async move {
        let Some(grace) = grace else { return process.stop().await.map(drop) };
        process.signal("TERM").await?;
        match process.wait().within(grace).await {
            Ok(_) => Ok(()),
            Err(_) => process.kill().await.map(drop),
        }
    })
    .await
}

// ── lines ──

fn since(state: &State<'_>, since: Option<Since>, wait: Wait) -> Wait {
    match since {
        None | Some(Since::Disturbance) => wait,
        Some(Since::Begin) => wait.since_begin(),
        Some(Since::Test) => wait.since(state.test_began()),
        Some(Since::Now) => wait.since(state.bed.now()),
        Some(Since::Ago(time)) => wait.since(state.bed.now().saturating_sub(time)),
    }
}

/// The waits that listen to whom is meant: one on all hosts together, or one a host, or one a process.
fn listen(
    state: &State<'_>,
    listen: &Listen,
    pattern: &str,
    apart: bool,
    place: &Place,
) -> StepResult<Vec<Wait>> {
    if let Some(process) = &listen.process {
        let processes = state.processes(listen.hosts.as_ref(), process, place)?;
        return Ok(processes.iter().map(|process| process.wait_for(pattern)).collect());
    }
    let hosts = state.hosts_or_all(listen.hosts.as_ref())?;
    if apart {
        return Ok(hosts.iter().map(|host| host.wait_for(pattern)).collect());
    }
    Ok(vec![state.bed.wait_for(pattern).on(&hosts)])
}

async fn wait_for(state: &State<'_>, wait: &WaitFor, place: &Place) -> StepResult {
    let pattern = state.pattern(&wait.pattern)?;
    let apart = !matches!(wait.hosts, HowMany::AtLeast(1));
    let waits = listen(state, &wait.on, pattern.as_str(), apart, place)?;
    let needed = match wait.hosts {
        HowMany::All => waits.len(),
        HowMany::AtLeast(count) if count > waits.len() => {
            let text = format!("a line on {count} hosts, of {} that are meant now", waits.len());
            return Err(Box::new(Trouble::new(Reason::BadValue, text)));
        }
        HowMany::AtLeast(count) => count,
    };
    let waits = waits.into_iter().map(|one| {
        let one = since(state, wait.since, one);
        let one = if let Some(within) = wait.within { one.within(within) } else { one };
        Box::pin(async move { one.await.map_err(boxed) }) as Boxed<'_, StepResult<Line>>
    });
    for line in first_of(waits.collect(), needed).await? {
        save_line(state, &wait.save, &line)?;
    }
    Ok(())
}

/// Awaits until `needed` have succeeded, or so many have failed that they cannot.
async fn first_of<T>(mut futures: Vec<Boxed<'_, StepResult<T>>>, needed: usize) -> StepResult<Vec<T>> {
    let count = futures.len();
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    let mut is_done = vec![false; count];
    std::future::poll_fn(|context| {
        for (future, is_done) in futures.iter_mut().zip(&mut is_done) {
            if *is_done {
                continue;
            }
            if let Poll::Ready(result) = future.as_mut().poll(context) {
                *is_done = true;
                match result {
                    Ok(value) => found.push(value),
                    Err(trouble) => failed.push(trouble),
                }
            }
        }
        let over = found.len() >= needed || found.len() + (count - found.len() - failed.len()) < needed;
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    match failed.into_iter().next() {
        Some(trouble) if found.len() < needed => Err(trouble),
        _ => Ok(found),
    }
}

fn save_line(state: &State<'_>, saves: &[netsplit_scenario::Save], line: &Line) -> StepResult {
    let what = format!("the line of {}", line.process());
    let said = Said { text: line.text(), what, name: Reason::Expect, host: Some(line.host().name()) };
    saves.iter().try_for_each(|save| checks::keep(state, save, &said))
}

async fn do_find(state: &State<'_>, find: &Find, place: &Place) -> StepResult {
    let pattern = state.pattern(&find.pattern)?;
    let mut waits = listen(state, &find.on, pattern.as_str(), false, place)?;
    let newest = |wait: Wait| {
        let wait = since(state, find.since, wait).newest();
        if let Some(within) = find.within { wait.within(within) } else { wait }
    };
    let line = if waits.len() == 1
        && let Some(wait) = waits.pop()
    {
        newest(wait).await.map_err(boxed)?
    } else {
        let waits = waits.into_iter().map(|wait| {
            let wait = newest(wait);
            Box::pin(async move { wait.await.map_err(boxed) }) as Boxed<'_, StepResult<Line>>
        });
        first_of(waits.collect(), 1).await?.pop().ok_or_else(|| {
            let text = format!("no process said `{}`", find.pattern);
            Box::new(Trouble::new(Reason::WaitTimedOut, text))
        })?
    };
    state.capture(&find.name, line.host().name());
    save_line(state, &find.save, &line)
}

async fn do_never(state: &State<'_>, never: &Never, place: &Place) -> StepResult {
    let pattern = state.pattern(&never.pattern)?;
    let waits = listen(state, &never.on, pattern.as_str(), false, place)?;
    let waits = waits.into_iter().map(|wait| {
        let never = netsplit::Never::from(since(state, Some(never.since), wait)).lasting(never.lasts);
        Box::pin(async move { never.await.map_err(boxed) }) as Boxed<'_, StepResult>
    });
    join(waits.collect()).await
}

// ── power ──

async fn pause(state: &State<'_>, hosts: Vec<Host>, lasts: Option<Duration>) -> StepResult {
    each(hosts.clone(), |host| async move { host.pause().await }).await?;
    if let Some(time) = lasts {
        let bed = state.bed.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            for host in hosts {
                // The test may have resumed, killed or ended it meanwhile.
                if let Err(error) = host.resume().await {
                    bed.note(format!("resume after {}: {error}", Wanted(time)));
                }
            }
        });
    }
    Ok(())
}

async fn restart(state: &State<'_>, hosts: Vec<Host>, within: Option<Duration>) -> StepResult {
    let restarts = each(hosts, |host| async move { host.restart().await });
    let Some(limit) = within else { return restarts.await };
    match tokio::time::timeout(state.scaled(limit), restarts).await {
        Ok(done) => done,
        Err(_) => {
            let text = format!("the restart took longer than {}", Wanted(limit));
            Err(Box::new(Trouble::new(Reason::HostNotReady, text)))
        }
    }
}

// ── files ──

async fn do_put(state: &State<'_>, put: &Put) -> StepResult {
    let hosts = state.hosts(&put.on)?;
    let puts = hosts.iter().map(|host| {
        Box::pin(async move {
            let path = state.text(&put.path, Some(host.name()))?;
            put_content(state, host, &put.what, &path, put.mode).await
        }) as Boxed<'_, StepResult>
    });
    join(puts.collect()).await
}

/// Puts content on a host, wherever it comes from.
pub(super) async fn put_content(
    state: &State<'_>,
    host: &Host,
    what: &Content,
    path: &str,
    mode: Option<u32>,
) -> StepResult {
    let written = match what {
        Content::Text(text) => state.text(text, Some(host.name()))?,
        Content::Template(template) => state.template(template, host.name())?,
        Content::From(from) => {
            let local = from.folder.join(state.text(&from.path, Some(host.name()))?);
            let put = host.put(local, path);
            let put = if let Some(mode) = mode { put.mode(mode) } else { put };
            return put.await.map_err(boxed);
        }
    };
    host.write(path, written).mode(mode.unwrap_or(0o644)).await.map_err(boxed)
}

async fn do_get(state: &State<'_>, get: &Get) -> StepResult {
    let hosts = state.hosts(&get.on)?;
    let many = hosts.len() > 1;
    let gets = hosts.iter().map(|host| {
        Box::pin(async move {
            let path = state.text(&get.path, Some(host.name()))?;
            let mut fetch = host.get(&path);
            if let Some(to) = &get.to {
                let to = state.text(to, None)?;
                // One entry for each host where several give one.
                let to = if to.ends_with('/') || many {
                    format!("{}/{host}", to.trim_end_matches('/'))
                } else {
                    to
                };
                let to = state.fetched.join(to);
                if let Some(parent) = to.parent() {
                    fs::create_dir_all(parent).map_err(|error| {
                        Box::new(Trouble::new(Reason::DiskFull, format!("`{}`: {error}", parent.display())))
                    })?;
                }
                fetch = fetch.to(to);
            }
            fetch.await.map(drop).map_err(boxed)
        }) as Boxed<'_, StepResult>
    });
    join(gets.collect()).await
}
