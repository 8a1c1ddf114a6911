//! Runs that tests look at from outside: one that holds a testbed until it is killed, one that counts what is left of
//! others, one under the rules of machines that forbid user namespaces.
//!
//! | words | |
//! | --- | --- |
//! | `hold HOSTS` | comes up, starts a child and a daemon on each host, says `up`, and stays |
//! | `one RULE` | comes up with one host under `none`, `no-clone`, `no-mount` or `no-limit`, and goes; prints the trouble |
//! | `survey VICTIM KILLS SEED` | kills `runner`, `keeper`, `stage`, `agent` or `both` of `hold`s at random moments, and counts |
//! | `cases` | runs that end in every way; counts after each |

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use conformance::{census, run};
use netsplit::prelude::*;
use netsplit::{Error, Reason, Result};
use seccompiler::{
    SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// How long everything may take to go: a second is promised, and the machine may be busy with others.
const GONE_MAX: Duration = Duration::from_secs(8);

#[expect(clippy::print_stdout, reason = "the caller reads it")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["hold", hosts] => block_on(hold(hosts.parse().expect("a number"))),
        ["one", rule] => restrict(rule).and_then(|()| block_on(one())),
        ["survey", victim, kills, seed] => {
            survey(victim, kills.parse().expect("a number"), seed.parse().expect("a number"))
        }
        ["cases"] => cases(),
        _ => Err(Error::new(Reason::BadValue, "no such words")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(future: impl Future<Output = Result>) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(wrong)?;
    runtime.block_on(future)
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::new(Reason::TestError, error.to_string())
}

// ── what is killed ──

/// A command with a child of its own, and a daemon that has left it.
const TREE: &str = "setsid --fork sleep 1000; sleep 1000 & echo here; wait";

async fn hold(hosts: usize) -> Result {
    let mut run = run::begin("hold")?;
    let bed = run.make_hosts(run::plans(hosts, None)).await?;
    for host in bed.hosts() {
        host.start(sh(TREE)).ready("here").await?;
    }
    conformance::programs::say("up");
    std::future::pending().await
}

async fn one() -> Result {
    run::with("one", run::plans(1, None), async |bed| bed.host("a")?.run("true").await.map(drop)).await
}

// ── machines that forbid user namespaces ──

fn restrict(rule: &str) -> Result {
    match rule {
        "none" => Ok(()),
        "no-limit" => no_limit().map_err(wrong),
        // AppArmor's way on Ubuntu: a user namespace can be made, and gives no rights.
        "no-mount" => filter(&[(libc_numbers::MOUNT, None)], 1),
        // Docker's way: clone3 is unknown, so that glibc falls back to clone, whose flags a filter can see.
        "no-clone" => {
            filter(&[(libc_numbers::CLONE3, None)], 38)?;
            filter(&[(libc_numbers::CLONE, Some(())), (libc_numbers::UNSHARE, Some(()))], 1)
        }
        _ => Err(Error::new(Reason::BadValue, "no such rule")),
    }
}

/// The calls' numbers here; seccompiler wants numbers, and this crate has no libc.
#[cfg(target_arch = "x86_64")]
mod libc_numbers {
    pub(crate) const CLONE: i64 = 56;
    pub(crate) const MOUNT: i64 = 165;
    pub(crate) const UNSHARE: i64 = 272;
    pub(crate) const CLONE3: i64 = 435;
}
#[cfg(target_arch = "aarch64")]
mod libc_numbers {
    pub(crate) const CLONE: i64 = 220;
    pub(crate) const MOUNT: i64 = 40;
    pub(crate) const UNSHARE: i64 = 97;
    pub(crate) const CLONE3: i64 = 435;
}

/// Refuses calls with `errno` from here on, in this process and all that come of it; those with a condition only when
/// their first argument asks for a user namespace.
fn filter(calls: &[(i64, Option<()>)], errno: u32) -> Result {
    const NEWUSER: u64 = 0x1000_0000;
    let rules = |only_users: Option<()>| -> Result<Vec<SeccompRule>> {
        let Some(()) = only_users else { return Ok(Vec::new()) };
        let asks =
            SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(NEWUSER), NEWUSER);
        Ok(vec![SeccompRule::new(vec![asks.map_err(wrong)?]).map_err(wrong)?])
    };
    let rules: BTreeMap<_, _> =
        calls.iter().map(|(call, only)| Ok((*call, rules(*only)?))).collect::<Result<_>>()?;
    let here = std::env::consts::ARCH.try_into().map_err(wrong)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), here);
    let program: seccompiler::BpfProgram = filter.map_err(wrong)?.try_into().map_err(wrong)?;
    seccompiler::apply_filter(&program).map_err(wrong)
}

/// Moves into a user namespace of our own that allows none below it.
#[expect(unsafe_code, reason = "unshare may give a process a file table of its own")]
fn no_limit() -> io::Result<()> {
    let (user, group) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    // SAFETY: the only flag asks for a user namespace; descriptors are not touched.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER)? };
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    fs::write("/proc/sys/user/max_user_namespaces", "0")
}

// ── counting ──

/// A small generator: the seed is printed by the test, and repeats the moments.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[expect(clippy::print_stdout, reason = "the caller reads it")]
fn survey(victim: &str, kills: u32, seed: u64) -> Result {
    census::adopt_orphans().map_err(wrong)?;
    let machine = census::Machine::now();
    let mut dice = Dice(seed);
    for number in 0..kills {
        let took = kill_one(victim, &mut dice)
            .map_err(|error| wrong(format!("{victim}, kill {number} of seed {seed}: {error}")))?;
        println!("{victim} {number}: gone after {} ms", took.as_millis());
    }
    // A group that a killed keeper left goes with the next run.
    block_on(one())?;
    let new = census::Machine::now().since(&machine);
    if new.is_empty() { Ok(()) } else { Err(wrong(format!("left: {}", new.join(" ")))) }
}

fn kill_one(victim: &str, dice: &mut Dice) -> Result<Duration> {
    let mut held = census::Holdings::default();
    let mut runner = start_hold()?;
    let root = runner.id().cast_signed();
    // Some as early as a keeper can be, most while hosts come up, some while they run.
    let moment = match dice.below(5) {
        0 => dice.below(12),
        1 => {
            wait_until_up(&mut runner)?;
            dice.below(20)
        }
        _ => dice.below(250),
    };
    std::thread::sleep(Duration::from_millis(moment));
    let victims = find(victim, root, dice);
    held.note(root);
    for pid in &victims {
        census::kill(*pid);
    }
    let ticks = census::ticks();
    let is_over = victims.contains(&root);
    let below = |held: &mut census::Holdings| {
        held.note(root);
        census::descendants(root).into_iter().filter(|process| process.state != 'Z').count()
    };
    if !is_over && victim != "agent" {
        // The runner lives on, alone.
        census::until(GONE_MAX, || below(&mut held) == 0)
            .map_err(|_| wrong(format!("the runner still has {:?}", census::descendants(root))))?;
    }
    census::kill(root);
    let reaped = census::until(GONE_MAX, || {
        let none_is_left = census::reap();
        none_is_left && held.left(ticks).is_empty()
    });
    // What `Child` would reap was reaped above.
    drop(runner);
    reaped.map_err(|_| wrong(format!("left: {}", held.left(ticks).join("; "))))
}

fn start_hold() -> Result<Child> {
    let own = std::env::current_exe().map_err(wrong)?;
    let hold = Command::new(own).args(["hold", "8"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    hold.map_err(wrong)
}

fn wait_until_up(runner: &mut Child) -> Result {
    let stdout = runner.stdout.take().ok_or_else(|| wrong("no stdout"))?;
    let first = BufReader::new(stdout).lines().next();
    match first {
        Some(Ok(line)) if line == "up" => Ok(()),
        other => Err(wrong(format!("the runner did not come up: {other:?}"))),
    }
}

/// The processes to kill: waits until the one that was asked for is there.
fn find(victim: &str, root: i32, dice: &mut Dice) -> Vec<i32> {
    let below = |pid: i32| census::children(pid).into_iter().find(|child| child.state != 'Z');
    let wanted = |dice: &mut Dice| match victim {
        "runner" => Some(vec![root]),
        "keeper" => Some(vec![below(root)?.pid]),
        "both" => Some(vec![root, below(root)?.pid]),
        "stage" => Some(vec![below(below(root)?.pid)?.pid]),
        "agent" => {
            let agents = census::children(below(below(root)?.pid)?.pid);
            let count = u64::try_from(agents.len()).ok().filter(|count| *count > 0)?;
            Some(vec![agents[usize::try_from(dice.below(count)).ok()?].pid])
        }
        _ => None,
    };
    let mut found = Vec::new();
    // A keeper that has not been executed yet is there already; a runner that is over has none any more.
    let _never = census::until(Duration::from_secs(5), || {
        found = wanted(dice).unwrap_or_default();
        !found.is_empty()
    });
    found
}

// ── runs that end by themselves ──

#[expect(clippy::print_stdout, reason = "the caller reads it")]
fn cases() -> Result {
    census::adopt_orphans().map_err(wrong)?;
    let machine = census::Machine::now();
    let names = ["passed", "failed", "killed", "paused", "restarted", "not made", "running", "lost"];
    for name in names {
        let mut held = census::Holdings::default();
        block_on(case(name, &mut held))?;
        let none_is_left = || census::descendants(std::process::id().cast_signed()).is_empty();
        // `end` has waited for the keeper: nothing is waited for here but orphans that nobody reaped yet.
        let gone = census::until(GONE_MAX, || {
            census::reap();
            none_is_left() && census::Machine::now().since(&machine).is_empty()
        });
        let took = gone.map_err(|_| {
            let left = census::descendants(std::process::id().cast_signed());
            wrong(format!("{name}: left are {left:?}, {:?}", census::Machine::now().since(&machine)))
        })?;
        println!("{name}: nothing is left after {} ms, of {}", took.as_millis(), held.processes.len());
    }
    Ok(())
}

async fn case(name: &str, held: &mut census::Holdings) -> Result {
    let mut run = run::begin(name)?;
    let mut plans = run::plans(3, None);
    if name == "not made" {
        plans[2].name = plans[1].name.clone();
    }
    let bed = match run.make_hosts(plans).await {
        Ok(bed) => bed,
        Err(error) => {
            let finished = run::end(run, Err(error)).await;
            return check(&finished);
        }
    };
    let [a, b, _] = &bed.hosts()[..] else { return Err(wrong("not three hosts")) };
    a.start(sh(TREE)).ready("here").await?;
    b.start(sh(TREE)).pty().ready("here").await?;
    let result = match name {
        "failed" => a.run("false").await.map(drop),
        "killed" => a.kill().await,
        "paused" => a.pause().await,
        "restarted" => a.restart().await,
        "lost" => {
            let agent = census::marked(bed.run_id(), "a/sh").and_then(census::process);
            census::kill(agent.ok_or_else(|| wrong("no agent"))?.parent);
            a.run("sleep 1000").await.map(drop)
        }
        _ => Ok(()),
    };
    held.note(std::process::id().cast_signed());
    check(&run::end(run, result).await)
}

fn check(finished: &netsplit::run::Finished) -> Result {
    let teardown = finished.verdict.teardown.clone().unwrap_or_default();
    let sockets = ["bed.sock", "bed.lock"].map(|name| finished.dir.path().join(name).exists());
    if teardown.ok && sockets == [false, false] {
        return Ok(());
    }
    Err(wrong(format!("teardown {:?}, sockets {sockets:?}", teardown.errors)))
}
