//! Seeds from outside: which are simulated, what is told of them, what is left, and that nothing is when it is cut short.
//! Each is simulated in a process of its own, whatever that does in it. (A18: a failure names the command that repeats it)
// As a user's crate may.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::AtomicU8;

use conformance::programs::say;
use conformance::{census, scratch};
use netsplit::Reason;
use netsplit::model::{Verdict, VerdictFile};
use netsplit::prelude::*;

/// What the tests below tell those that they run in a child.
const CHILD: &str = "CONFORMANCE_SEEDS";

fn asked() -> String {
    std::env::var(CHILD).unwrap_or_default()
}

/// `lies`: where its memory is, of each kind.
#[netsplit::program]
async fn lies() {
    static ONE: AtomicU8 = AtomicU8::new(1);
    let local = 1_u8;
    let lent = tokio::task::spawn_blocking(|| Box::into_raw(Box::new([1_u8; 4000])).addr()).await;
    let own = Box::new([1_u8; 64]);
    let lent = lent.expect("an address");
    say(&format!("{:p} {:p} {:p} {:x}", &raw const ONE, &raw const local, &raw const *own, lent));
}

#[netsplit::test(hosts = 1)]
async fn does_as_asked(bed: Testbed) -> netsplit::Result {
    say(&format!("seed {} does `{}`", bed.seed(), asked()));
    match &*asked() {
        "fail" => return Err(netsplit::Error::new(Reason::Expect, format!("{} is no good", bed.seed()))),
        "fail odd" => assert!(bed.seed().is_multiple_of(2), "{} is odd", bed.seed()),
        "abort" => std::process::abort(),
        "exit" => leave(),
        "lie" => {
            for _ in 0..20 {
                bed.note(bed.host("a")?.run(lies).read().await?);
            }
        }
        "spawn" => {
            let refused = Command::new("true").output().expect_err("no executable");
            assert_eq!(refused.kind(), std::io::ErrorKind::NotFound, "{refused}");
        }
        "diverge" => bed.note(std::env::current_dir()?.display().to_string()),
        // In real time: what waits in virtual time has waited at once.
        "wait" => loop {
            std::hint::spin_loop();
        },
        "warn" => bed.warn(netsplit::model::Trouble::new(Reason::Expect, "it rains")),
        _ => {}
    }
    Ok(())
}

#[expect(clippy::exit, reason = "a program may")]
fn leave() -> ! {
    std::process::exit(0)
}

#[netsplit::test(hosts = 1, seeds = 4)]
async fn has_four(bed: Testbed) -> netsplit::Result {
    say(&format!("one of four: {}", bed.seed()));
    if asked() == "fail" { Err(netsplit::Error::new(Reason::Expect, "no")) } else { Ok(()) }
}

#[netsplit::test(hosts = 1)]
#[should_panic(expected = "the disk is on fire")]
async fn a_panic_that_is_wanted(_bed: Testbed) {
    panic!("the disk is on fire");
}

#[netsplit::test(hosts = 1, needs = ["reboot"])]
async fn a_skip_is_one(_bed: Testbed) -> netsplit::Result {
    Ok(())
}

fn command(test: &str, asked: &str, folder: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args([&format!("{test}::simulated"), "--exact"]).env("NETSPLIT_DIR", folder).env(CHILD, asked);
    for name in ["NETSPLIT_SEED", "NETSPLIT_SEEDS", "NETSPLIT_CHECK"] {
        command.env_remove(name);
    }
    command.envs(settings.iter().copied());
    command
}

struct Ran {
    output: Output,
    said: String,
    /// By directory, oldest first.
    verdicts: Vec<VerdictFile>,
    folder: tempfile::TempDir,
}

fn run(test: &str, asked: &str, settings: &[(&str, &str)]) -> Ran {
    let folder = scratch();
    let output = command(test, asked, folder.path(), settings).output().expect("a child");
    let said =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    let entries = fs::read_dir(folder.path().join("runs")).expect("runs").flatten();
    let verdict = |path| fs::read_to_string(path).expect("a verdict");
    let verdicts = entries.map(|entry| verdict(entry.path().join("verdict.json")));
    let verdicts = verdicts.map(|text| serde_json::from_str(&text).expect("a verdict")).collect();
    Ran { output, said, verdicts, folder }
}

#[test]
fn one_seed_is_a_run_like_any_other() {
    let Ran { output, verdicts, folder, .. } = run("does_as_asked", "", &[]);
    assert!(output.status.success());
    assert_eq!(verdicts.len(), 1);
    assert_eq!((verdicts[0].verdict, &*verdicts[0].test), (Verdict::Passed, "does_as_asked::simulated"));
    assert!(folder.path().join("last/events.jsonl").is_file());

    let Ran { output, said, verdicts, folder } = run("does_as_asked", "fail", &[("NETSPLIT_SEED", "17")]);
    assert!(!output.status.success());
    assert_eq!((verdicts[0].verdict, verdicts[0].seed), (Verdict::Failed, 17));
    let repeat = "repeat   NETSPLIT_SEED=17 cargo test -p conformance --test seeds does_as_asked::simulated -- --exact";
    for line in [repeat, "seed 17 does `fail`", "17 is no good  ", "seed     17: "] {
        assert!(said.contains(line), "{line}\nin {said}");
    }
    assert_eq!(
        fs::canonicalize(folder.path().join("last-failed")).expect("a link"),
        fs::canonicalize(folder.path().join("last")).expect("a link")
    );
    let id = |verdict: &VerdictFile| verdict.run.clone();
    let other = run("does_as_asked", "", &[("NETSPLIT_SEED", "17")]);
    assert_eq!(id(&other.verdicts[0]), id(&verdicts[0]), "one seed, one log: also the id in it");
}

#[test]
fn what_a_test_is_needs_no_seed() {
    let ran = run("a_panic_that_is_wanted", "", &[]);
    assert!(ran.output.status.success(), "{}", ran.said);
    let ran = run("a_skip_is_one", "", &[("NETSPLIT_SEEDS", "5")]);
    assert!(
        ran.output.status.success() && ran.said.contains("skipped: a_skip_is_one::simulated: "),
        "{}",
        ran.said
    );
    assert_eq!((ran.verdicts.len(), ran.verdicts[0].verdict), (1, Verdict::Skipped));
    let ran = run("does_as_asked", "warn", &[]);
    assert!(ran.said.contains("warning: does_as_asked::simulated: it rains"), "{}", ran.said);
}

#[test]
fn many_seeds_leave_only_their_failures() {
    let many = [("NETSPLIT_SEEDS", "12"), ("NETSPLIT_SEED", "5")];
    let ran = run("does_as_asked", "", &many);
    assert!(ran.output.status.success() && ran.verdicts.is_empty(), "{}", ran.said);

    let first = run("does_as_asked", "fail odd", &many);
    assert!(!first.output.status.success());
    let line = |ran: &Ran| ran.said.lines().find(|line| line.starts_with("failed   ")).map(str::to_owned);
    let summary = line(&first).expect("a summary");
    assert_eq!(line(&run("does_as_asked", "fail odd", &many)), Some(summary.clone()), "the same seeds again");
    let (_, listed) = summary.split_once("failed: ").expect("a list");
    let listed: Vec<u64> = listed.split(' ').map(|seed| seed.parse().expect("a seed")).collect();
    let counts = format!("failed   {} of 12 seeds passed, {} failed: ", 12 - listed.len(), listed.len());
    assert!(summary.starts_with(&counts), "{summary}");
    assert!(listed.iter().all(|seed| seed % 2 == 1) && listed.is_sorted());
    assert_eq!(first.verdicts.len(), listed.len().min(3));
    assert!(first.verdicts.iter().all(|verdict| listed.contains(&verdict.seed)));
    let again = "again    NETSPLIT_SEED=5 NETSPLIT_SEEDS=12 cargo test -p conformance --test seeds does_as_asked::simulated";
    let shown = first.verdicts.iter().map(|verdict| verdict.seed).min().expect("a failure");
    let repeat = format!("repeat   NETSPLIT_SEED={shown} cargo test");
    assert!(first.said.contains(again) && first.said.contains(&repeat), "{}", first.said);
    assert!(first.said.contains(&format!("{shown} is odd")), "its whole screen: {}", first.said);
    assert!(!first.said.contains("netsplit enter"), "nobody enters a simulation: {}", first.said);
}

#[test]
fn the_attribute_says_how_many_and_the_settings_know_better() {
    let failed = |settings: &[(&str, &str)]| run("has_four", "fail", settings).said;
    assert!(failed(&[]).contains("failed   0 of 4 seeds passed, 4 failed: "));
    assert!(failed(&[("NETSPLIT_SEEDS", "2")]).contains("failed   0 of 2 seeds passed, 2 failed: "));
    let one = failed(&[("NETSPLIT_SEED", "9")]);
    assert!(one.contains("one of four: 9\n") && !one.contains("seeds passed"), "{one}");
    let stopped = failed(&[("NETSPLIT_SEEDS", "40")]);
    assert!(stopped.contains("were not begun after 10 that did not pass"), "{stopped}");
}

#[test]
fn a_process_that_crashes_is_a_failure_with_its_seed_and_last_words() {
    for (asked, how) in [("abort", "ended by SIGABRT"), ("exit", "exited 0")] {
        let ran = run("does_as_asked", asked, &[("NETSPLIT_SEED", "88")]);
        let verdict = &ran.verdicts[0];
        let reason = verdict.reason.as_ref().expect("a reason");
        assert_eq!((verdict.verdict, reason.name), (Verdict::Failed, Reason::SeedCrashed), "{}", ran.said);
        let text = format!("the process that simulated seed 88 {how} before the test had ended");
        assert_eq!(reason.text, text);
        assert!(reason.saw[0].contains(&format!("seed 88 does `{asked}`")), "{reason}");
        assert!(ran.said.contains("repeat   NETSPLIT_SEED=88 "), "{}", ran.said);
    }
}

#[test]
fn a_seed_that_gives_two_runs_is_a_failure_with_both_sides() {
    let check = [("NETSPLIT_CHECK", "1"), ("NETSPLIT_SEED", "3")];
    let ran = run("does_as_asked", "diverge", &check);
    let reason = ran.verdicts[0].reason.as_ref().expect("a reason");
    assert_eq!((ran.verdicts[0].verdict, reason.name), (Verdict::Failed, Reason::Diverged), "{}", ran.said);
    assert!(reason.text.starts_with("one seed gave two runs: event "), "{reason}");
    assert!(
        reason.saw[0].contains("\nfirst   {\"n\":") && reason.saw[0].contains("\nsecond  {\"n\":"),
        "{reason}"
    );
    assert!(ran.said.contains("repeat   NETSPLIT_CHECK=1 NETSPLIT_SEED=3 cargo test"), "{}", ran.said);
    assert!(ran.folder.path().join("last/again/events.jsonl").is_file());
    let left = fs::read_dir(ran.folder.path()).expect("a folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(left.iter().all(|name| !name.starts_with("check-")), "{left:?}");
}

/// Locks may choose by their address who comes next: parking_lot's do.
#[test]
fn memory_lies_where_it_lay() {
    if !Command::new("setarch").args(["-R", "true"]).status().is_ok_and(|status| status.success()) {
        return say("skipped: `personality` is refused here");
    }
    for seed in ["3", "4"] {
        let ran = run("does_as_asked", "lie", &[("NETSPLIT_CHECK", "1"), ("NETSPLIT_SEED", seed)]);
        assert_eq!(ran.verdicts[0].verdict, Verdict::Passed, "{}", ran.said);
    }
}

#[test]
fn nothing_is_executed() {
    let ran = run("does_as_asked", "spawn", &[]);
    assert_eq!(ran.verdicts[0].verdict, Verdict::Passed, "{}", ran.said);
}

/// Waits until a seed's process of `child` waits in its test.
fn until_it_waits(folder: &Path) {
    let waits = || {
        let runs = fs::read_dir(folder.join("runs")).into_iter().flatten().flatten();
        let mut logs =
            runs.map(|run| fs::read_to_string(run.path().join("events.jsonl")).unwrap_or_default());
        logs.any(|log| log.contains("host.ready"))
    };
    census::until(Duration::from_secs(30), waits).expect("it comes up");
}

fn waiting(folder: &Path) -> Child {
    let mut command = command("does_as_asked", "wait", folder, &[("NETSPLIT_SEEDS", "6")]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a child");
    until_it_waits(folder);
    child
}

#[test]
fn whoever_is_cut_short_leaves_no_process() {
    for signal in ["INT", "KILL"] {
        let folder = scratch();
        let mut child = waiting(folder.path());
        let pid = child.id().cast_signed();
        let below = census::descendants(pid);
        assert!(!below.is_empty());
        let number = netsplit::model::signal::parse(signal).expect("a signal");
        let signal = rustix::process::Signal::from_named_raw(number).expect("a signal");
        let pid = rustix::process::Pid::from_raw(pid).expect("a number");
        rustix::process::kill_process(pid, signal).expect("it lives");
        child.wait().expect("it ends");
        let is_left = |process: &&census::Process| {
            census::process(process.pid).is_some_and(|now| now.state != 'Z' && now.began == process.began)
        };
        let gone = census::until(Duration::from_secs(10), || !below.iter().any(|process| is_left(&process)));
        gone.unwrap_or_else(|_| panic!("left: {:?}", below.iter().filter(is_left).collect::<Vec<_>>()));
    }
}
