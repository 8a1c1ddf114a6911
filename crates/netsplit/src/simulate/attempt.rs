//! One seed from outside: its directory, its process, what that said; twice when it is to be checked.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use netsplit_model::{FORMAT, Reason, RunId, Trouble, Verdict, VerdictFile, units::Wanted};
use netsplit_provider::simulation;
use netsplit_report::{RunDir, Runs, junit, screen};
use netsplit_sim::{Random, SPINS};
use rustix::process::Signal;

use super::order::{self, Ended, Order, Report};
use super::{child, diverge, is_bad};
use crate::error::Result;
use crate::interrupt::Open;
use crate::run::{self, Finished, RunPlace, RunSpec};
use crate::settings::{Handed, Settings};
use crate::test::{self, TestSpec};

/// How much longer than its test a process may take: its testbed ends within 20 seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// Lines that a process printed before it crashed, of those that are told.
const LAST_LINES: usize = 12;
/// In front of a command that repeats a difference.
const CHECK: &str = "NETSPLIT_CHECK=1 ";
/// What the second of two processes has in its environment beside the first's. It moves the stack as well.
const PADDING: (&str, usize) = ("PADDING", 5000);

/// A test as it is simulated: what all its seeds have in common.
pub(super) struct Outside<'a> {
    spec: &'a TestSpec,
    pub(super) settings: &'a Settings,
    pub(super) run: &'a RunSpec,
    runs: Runs,
    handed: Handed,
    /// Where the second process of each seed works, if there is one.
    aside: Option<Aside>,
}

/// One seed that was simulated.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) seed: u64,
    pub(super) verdict: VerdictFile,
    dir: RunDir,
    kept: bool,
    /// What its process wrote.
    printed: String,
    /// `3.002s in 0.04s, 12034 events, trace 7f3a99…`; nothing when it crashed.
    facts: Option<String>,
    /// Of the directory.
    _lock: Option<File>,
}

impl Attempt {
    /// Whether its test did not pass.
    pub(super) fn is_bad(&self) -> bool {
        is_bad(self.verdict.verdict)
    }

    /// Removes all that is left of it.
    pub(super) fn remove(self) {
        let _only_a_leftover = fs::remove_dir_all(self.dir.path());
    }

    /// Where its evidence is.
    pub(super) fn shown_dir(&self) -> String {
        screen::shown_path(self.dir.path())
    }

    /// Says what it printed, as if the test had printed it here.
    pub(super) fn say_printed(&self) {
        let printed = self.printed.trim_end();
        if !printed.is_empty() {
            test::say(printed);
        }
    }

    #[cfg(test)]
    pub(super) fn for_test(seed: u64, dir: &Path, reason: Option<Trouble>) -> Self {
        let place = RunPlace { id: "7k3f".into(), dir: dir.to_owned(), seed };
        let verdict = reason.as_ref().map_or(Verdict::Passed, Trouble::verdict);
        let verdict = VerdictFile { verdict, reason, ..verdict_of(&place, "a test", "", None) };
        Self {
            seed,
            verdict,
            dir: RunDir::new(dir),
            kept: false,
            printed: String::new(),
            facts: None,
            _lock: None,
        }
    }
}

/// One process of a seed.
struct Ran {
    verdict: VerdictFile,
    report: Option<Report>,
    printed: String,
    took: Duration,
}

impl<'a> Outside<'a> {
    /// # Errors
    /// When evidence cannot be written.
    pub(super) fn new(spec: &'a TestSpec, settings: &'a Settings, run: &'a RunSpec) -> Result<Self> {
        let aside = settings.check.then(|| Aside::make(&settings.dir, &run.base)).transpose()?;
        let handed = Handed::new(settings, &run.base);
        Ok(Self { spec, settings, run, runs: Runs::new(&settings.dir), handed, aside })
    }

    /// Simulates a seed.
    ///
    /// # Errors
    /// When there can be no process for it, or no evidence.
    pub(super) fn attempt(&self, seed: u64) -> Result<Attempt> {
        // One seed gives one log, and the run's id stands in it.
        let id = RunId::from_random((Random::new(seed, &self.run.test).draw() & 0xf_ffff) as u32);
        let (place, lock) = run::make_place(self.settings, self.run, seed, Some(&id))?;
        let _open = Open::seed(&self.run.test, seed, &place.dir);
        let mut ran = self.process(&place, None)?;
        if let Some(aside) = &self.aside {
            let again = RunPlace { dir: place.dir.join("again"), ..place.clone() };
            fs::create_dir(&again.dir)?;
            let other = self.process(&again, Some(aside))?;
            match diverge::compare(&ran.side(&place), &other.side(&again)) {
                Some(trouble) => {
                    ran.verdict = self.decide(&place, ran.report.as_ref(), trouble);
                }
                None => fs::remove_dir_all(&again.dir)?,
            }
        }
        Ok(Attempt {
            seed,
            facts: ran.report.as_ref().map(|report| facts(report, ran.took)),
            kept: matches!(&ran.report, Some(Report { ended: Ended::Finished { kept: true, .. }, .. })),
            verdict: ran.verdict,
            dir: RunDir::new(place.dir),
            printed: ran.printed,
            _lock: Some(lock),
        })
    }

    fn process(&self, place: &RunPlace, aside: Option<&Aside>) -> Result<Ran> {
        let mut command = simulation::command(self.spec.module)?;
        if let Some(aside) = aside {
            aside.differ(&mut command);
        }
        let order = Order {
            place: place.clone(),
            settings: self.handed.clone(),
            test: self.run.test.clone(),
            repeat: self.run.repeat.clone(),
            base: self.run.base.clone(),
        };
        let limit = self.settings.deadlines.test + ENDS_WITHIN;
        let ended = child::run(command, &order::line(&order)?, limit)?;
        let report = serde_json::from_slice::<Report>(&ended.answer).ok();
        let verdict = match &report {
            Some(Report { ended: Ended::Finished { verdict, .. }, .. }) => (**verdict).clone(),
            Some(Report { ended: Ended::Stopped(troubles), .. }) if !troubles.is_empty() => {
                self.decide(place, report.as_ref(), troubles[0].clone())
            }
            _ => self.decide(place, None, crash(place.seed, ended.status, limit, &ended.printed)),
        };
        Ok(Ran { verdict, report, printed: ended.printed, took: ended.took })
    }

    /// Writes the verdict of a run whose process did not, or not this one.
    fn decide(&self, place: &RunPlace, report: Option<&Report>, reason: Trouble) -> VerdictFile {
        let (test, dir) = (&self.run.test, RunDir::new(&place.dir));
        let own = verdict_of(place, test, self.run.provider.name(), report);
        // One process alone would not differ.
        let check = if reason.name == Reason::Diverged { CHECK } else { "" };
        let repeat = format!("{check}{}", self.run.repeat.replace("%{seed}", &place.seed.to_string()));
        let verdict = VerdictFile { verdict: reason.verdict(), reason: Some(reason), repeat, ..own };
        // It is on the screen as well, which says where the evidence would be.
        let _no_space = run::write_json(&dir.verdict_json(), &verdict);
        if let Ok(xml) = junit::document(&[(dir.clone(), verdict.clone())]) {
            let _only_a_view = fs::write(dir.junit_xml(), xml);
        }
        verdict
    }

    /// What a user reads of a seed that failed.
    pub(super) fn screen(&self, attempt: &Attempt) -> String {
        let (dir, verdict, kept) = (attempt.dir.clone(), attempt.verdict.clone(), attempt.kept);
        let screen = test::screen(self.spec, &Finished { dir, verdict, kept });
        match &attempt.facts {
            Some(facts) => format!("{screen}seed     {}: {facts}\n", attempt.seed),
            None => format!("{screen}seed     {}\n", attempt.seed),
        }
    }

    /// The command that simulates the same seeds again.
    pub(super) fn repeat_all(&self, base: u64, count: usize) -> String {
        let check = if self.settings.check { CHECK } else { "" };
        let seed = format!("{check}NETSPLIT_SEED={base} NETSPLIT_SEEDS={count} ");
        self.run.repeat.replace("NETSPLIT_SEED=%{seed} ", &seed)
    }

    /// Makes a link such as `last` lead to its evidence.
    pub(super) fn point(&self, name: &str, attempt: &Attempt) {
        let _only_a_link = self.runs.point(name, &attempt.dir);
    }

    /// Once all seeds are over.
    pub(super) fn clear_up(&self, failed: Option<&Attempt>) {
        let nowhere = RunDir::new("");
        let dir = failed.map_or(&nowhere, |attempt| &attempt.dir);
        run::clear_up(&self.runs, self.settings, dir, failed.is_none());
    }
}

impl Ran {
    fn side(&self, place: &RunPlace) -> diverge::Side {
        diverge::Side {
            verdict: self.verdict.verdict,
            reason: self.verdict.reason.as_ref().map(|reason| reason.text.clone()),
            trace: self.report.as_ref().map(|report| report.trace),
            events: fs::read(RunDir::new(&place.dir).events()).unwrap_or_default(),
        }
    }
}

fn facts(report: &Report, took: Duration) -> String {
    let Report { trace, now, events, .. } = report;
    format!(
        "{:.3}s simulated in {:.2}s, {events} events, trace {trace:016x}",
        now.as_secs_f64(),
        took.as_secs_f64()
    )
}

/// That of a run without one.
fn verdict_of(place: &RunPlace, test: &str, provider: &str, report: Option<&Report>) -> VerdictFile {
    VerdictFile {
        format: FORMAT,
        run: place.id.clone(),
        test: test.to_owned(),
        verdict: Verdict::Unknown,
        reason: None,
        tests: Vec::new(),
        seconds: report.map_or(0.0, |report| report.now.as_secs_f64()),
        seed: place.seed,
        provider: provider.to_owned(),
        repeat: String::new(),
        network: None,
        warnings: Vec::new(),
        teardown: None,
    }
}

/// A process that ended without an answer.
fn crash(seed: u64, status: Option<ExitStatus>, limit: Duration, printed: &str) -> Trouble {
    let Some(status) = status else {
        let text = format!("seed {seed} was still simulated after {}, and was ended", Wanted(limit));
        return last_lines(Trouble::new(Reason::TestTimedOut, text), printed);
    };
    let spins = (status.code() == Some(SPINS)).then(|| printed.rsplit_once("error: ")).flatten();
    if let Some((_, said)) = spins {
        let (who, frames) = said.split_once('\n').unwrap_or((said, ""));
        let frames: Vec<_> = frames.lines().take(LAST_LINES).collect();
        return Trouble::new(Reason::SeedCrashed, who)
            .because("nothing else of the simulation can happen until a thread waits for something or makes a call")
            .saw(frames.join("\n"));
    }
    let how = match (status.signal(), status.code()) {
        (Some(signal), _) => format!("ended by SIG{}", netsplit_model::signal::name(signal)),
        (None, Some(code)) => format!("exited {code}"),
        (None, None) => status.to_string(),
    };
    let text = format!("the process that simulated seed {seed} {how} before the test had ended");
    let mut trouble = Trouble::new(Reason::SeedCrashed, text)
        .because("the test and the programs of all its hosts are one process: one of them ended it");
    if status.signal() == Some(Signal::SEGV.as_raw()) {
        // Here the runtime's own sentence is missing: a handler would need a stack that threads share.
        trouble =
            trouble.guess("look for endless recursion: a stack that overflows ends so when it is simulated");
    }
    last_lines(trouble, printed)
}

fn last_lines(trouble: Trouble, printed: &str) -> Trouble {
    let lines: Vec<_> = printed.lines().collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    if last.is_empty() { trouble } else { trouble.saw(last) }
}

/// Surroundings that should not matter: another working directory, in which all files are found as in the first, and an
/// environment of another size.
struct Aside(PathBuf);

impl Aside {
    fn make(dir: &Path, cwd: &Path) -> io::Result<Self> {
        let name = format!("check-{}-{:08x}", std::process::id(), crate::entropy::number() & 0xffff_ffff);
        let aside = Self(cwd.join(dir).join(name));
        fs::create_dir_all(&aside.0)?;
        for entry in fs::read_dir(cwd)?.flatten() {
            symlink(entry.path(), aside.0.join(entry.file_name()))?;
        }
        Ok(aside)
    }

    fn differ(&self, command: &mut Command) {
        command.current_dir(&self.0).env(PADDING.0, "x".repeat(PADDING.1));
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _only_links = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(script: &str) -> Option<ExitStatus> {
        Command::new("/bin/sh").args(["-c", script]).status().ok()
    }

    #[test]
    fn a_crash_says_how_and_what_was_printed() {
        let printed: String = (0..40).map(|line| format!("line {line}\n")).collect();
        let trouble = crash(17, status("kill -ABRT $$"), Duration::from_secs(1), &printed);
        let text = "the process that simulated seed 17 ended by SIGABRT before the test had ended";
        assert_eq!((trouble.name, &*trouble.text), (Reason::SeedCrashed, text));
        assert_eq!(trouble.saw.len(), 1);
        assert!(trouble.saw[0].starts_with("line 28\n") && trouble.saw[0].ends_with("line 39"));
        assert!(trouble.help.is_empty());
        let overflowed = crash(17, status("kill -SEGV $$"), Duration::from_secs(1), "").to_string();
        assert!(overflowed.contains("endless recursion"), "{overflowed}");
        let exited = crash(17, status("exit 3"), Duration::from_secs(1), "").to_string();
        assert!(exited.contains("seed 17 exited 3 before"), "{exited}");
        let printed =
            "x\nerror: thread 1 of p on host a, seed 17, spins for ever\n   0: p::spin\n   1: main\n";
        let spins = crash(17, status("exit 71"), Duration::from_secs(1), printed);
        assert_eq!(spins.text, "thread 1 of p on host a, seed 17, spins for ever");
        assert_eq!(spins.saw, ["   0: p::spin\n   1: main"]);
        let late = crash(17, None, Duration::from_secs(90), "").to_string();
        assert_eq!(late, "seed 17 was still simulated after 1m30s, and was ended  [test-timed-out]");
    }
}
