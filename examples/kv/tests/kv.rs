//! The service on three hosts: it forms, it goes on without its leader, and it keeps what it acknowledged whatever is done
//! to its members. Everything that runs on a host is a program of this file.

use std::collections::BTreeSet;

use conformance::matrix::{Case, Cluster, How, Service, Who, nothing_is_missing};
use netsplit::prelude::*;
use netsplit::{Error, Reason, Result, Start};

/// All members, as they and their clients are told.
const MEMBERS: &str = "a:7000,b:7000,c:7000";
/// How long an election may take, and a client that waits for one.
const ELECTED_WITHIN: Duration = secs(20);

/// Faults that one run of the matrix goes through.
const CASES: u64 = 4;
/// From one of them to the next: with another victim and another fault.
const CASE_STEP: u64 = 6;

/// A member: `kv serve`, with these flags beside.
#[netsplit::program(flavor = "multi_thread")]
async fn kvd(machine: Machine, flags: Vec<String>) -> u8 {
    let words = [
        "serve",
        "--name",
        machine.name(),
        "--listen",
        "0.0.0.0:7000",
        "--peers",
        MEMBERS,
        "--data",
        "/var/lib/kv",
    ];
    kv_example::run(words.map(str::to_owned).into_iter().chain(flags).collect()).await
}

/// A client: any other `kv`.
#[netsplit::program]
async fn kvctl(words: Vec<String>) -> u8 {
    kv_example::run(words).await
}

#[netsplit::test(hosts(member = ["a", "b", "c"], client = ["client"]))]
async fn members_form_a_service(bed: Testbed) -> Result {
    let client = bed.host("client")?;
    for member in bed.role("member")? {
        member.start(kvd).ready("listening").await?;
    }
    // Whoever is asked, all see one map.
    let ask = |server: &str, words: &[&str]| client.run(kvctl).args(["--servers", server]).args(words);
    ask("a:7000", &["put", "x", "1"]).eventually(ELECTED_WITHIN).await?;
    ask("b:7000", &["put", "a key/of 2", "two words"]).await?;
    for server in ["a:7000", "b:7000", "c:7000"] {
        ask(server, &["get", "x"]).await?.expect_stdout("1")?;
        ask(server, &["get", "a key/of 2"]).await?.expect_stdout("two words")?;
        ask(server, &["get", "y"]).exits(2).await?;
    }
    eventually(ELECTED_WITHIN, async || agreed(&client).await).await?;
    Ok(())
}

#[netsplit::test(hosts(member = ["a", "b", "c"], client = ["client"]))]
async fn members_stop_when_asked(bed: Testbed) -> Result {
    let client = bed.host("client")?;
    let mut members = Vec::new();
    for member in bed.role("member")? {
        members.push(member.start(kvd).ready("listening").await?);
    }
    let put = ["--servers", MEMBERS, "put", "x", "1"];
    client.run(kvctl).args(put).eventually(ELECTED_WITHIN).await?;
    assert_eq!(members[0].stop().await?, Outcome::Exited { code: 0 });
    members[0].wait_for("^stopped$").await?;
    // The others were not asked.
    client.run(kvctl).args(put).eventually(ELECTED_WITHIN).await?;
    assert_eq!(members[1].outcome(), None);
    Ok(())
}

#[netsplit::test(hosts(member = ["a", "b", "c"], client = ["client"]), needs = ["kill"])]
async fn members_go_on_without_their_leader(bed: Testbed) -> Result {
    let (members, client) = (bed.role("member")?, bed.host("client")?);
    for member in &members {
        member.start(kvd).ready("listening").await?;
    }
    let ask = |words: &[&str]| client.run(kvctl).args(["--servers", MEMBERS]).args(words);
    let leader = bed.find("became leader").on(&members).await?;
    ask(&["put", "before", "1"]).await?;

    leader.kill().await?;
    bed.find("became leader").on_others(&leader).within(ELECTED_WITHIN).await?;
    ask(&["put", "meanwhile", "2"]).await?;
    ask(&["get", "before"]).await?.expect_stdout("1")?;

    leader.restart().await?;
    let again = leader.start(kvd).await?;
    again.wait_for("restored [1-9][0-9]* entries").await?;
    eventually(ELECTED_WITHIN, async || agreed(&client).await).await?;
    let has = client.run(kvctl).args(["--servers", &server(&leader), "list"]).read().await?;
    assert_eq!(has, "before\t1\nmeanwhile\t2");
    Ok(())
}

#[netsplit::test(
    hosts(member = ["a", "b", "c"], client = ["client"]),
    needs = ["network", "pause", "kill"]
)]
async fn what_was_acknowledged_is_kept(bed: Testbed) -> Result {
    let seed = bed.seed() % Case::all().len() as u64;
    let cases: Vec<Case> = (0..CASES).map(|number| case(seed + number * CASE_STEP)).collect();
    survives(&bed, &cases, &[]).await
}

#[netsplit::test(hosts(member = ["a", "b", "c"], client = ["client"]), needs = ["network", "kill"])]
async fn what_was_acknowledged_outlasts_the_power_of_all(bed: Testbed) -> Result {
    power_loss(&bed, &[]).await
}

/// One field of the matrix a seed, on disks that forget what was not synced.
#[netsplit::test(
    hosts(member = ["a", "b", "c"], client = ["client"]),
    needs = ["network", "pause", "kill", "disk"],
    seeds = 20
)]
async fn what_was_acknowledged_is_kept_with_any_seed(bed: Testbed) -> Result {
    survives(&bed, &[case(bed.seed())], &[]).await
}

/// The service with its flaw: run by the test below, which wants it to fail.
#[netsplit::test(
    hosts(member = ["a", "b", "c"], client = ["client"]),
    needs = ["network", "kill", "disk"]
)]
async fn flawed(bed: Testbed) -> Result {
    if std::env::var_os(FLAWED).is_none() {
        return Ok(());
    }
    power_loss(&bed, &["--unsafe-ack"]).await
}

/// Acknowledged before it was synced, and then the power went: some seed finds it, and finds it every time, in any process,
/// folder and environment.
#[test]
fn a_seed_that_finds_the_flaw_finds_it_every_time() {
    let all = run_flawed(&["NETSPLIT_SEED=1", "NETSPLIT_SEEDS=40"], None);
    let seed = all.split("seed     ").nth(1).and_then(|rest| rest.split(':').next()).expect(&all).to_owned();
    let scratch = tempfile::tempdir().unwrap();
    let again = [
        run_flawed(&[&format!("NETSPLIT_SEED={seed}")], None),
        run_flawed(&[&format!("NETSPLIT_SEED={seed}"), "PADDING=a longer environment"], Some(scratch.path())),
    ];
    let traces: BTreeSet<_> = [&all, &again[0], &again[1]].map(|text| trace(text, &seed)).into();
    assert_eq!(traces.len(), 1, "{again:#?}");
}

/// Set where the flawed service is to be tested.
const FLAWED: &str = "KV_FLAWED";

/// Runs the flawed service's test, which fails; what it printed.
fn run_flawed(variables: &[&str], folder: Option<&std::path::Path>) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["flawed::simulated", "--exact", "--nocapture"]).env(FLAWED, "1");
    command.envs(variables.iter().filter_map(|variable| variable.split_once('=')));
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let output = command.output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!output.status.success() && text.contains("acknowledged writes are missing"), "{text}");
    text
}

/// The trace of this seed, as its screen tells it.
fn trace(text: &str, seed: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(&format!("seed     {seed}:"))).expect(text);
    line.rsplit("trace ").next().unwrap_or_default().to_owned()
}

/// The field of the matrix that has this number; they go round.
fn case(number: u64) -> Case {
    let all = Case::all();
    let index = usize::try_from(number % all.len() as u64).expect("there are few");
    all[index]
}

/// Members with these flags keep what they acknowledge through `cases`, and take writes again after each.
async fn survives(bed: &Testbed, cases: &[Case], flags: &[&str]) -> Result {
    let service = Kv { flags };
    let cluster = Cluster::start(bed, &service).await?;
    nothing_is_missing(&cluster.survives(cases, |_| false).await?)
}

/// All members with these flags lose their power while they are written to, and have all that they acknowledged when
/// they are back.
async fn power_loss(bed: &Testbed, flags: &[&str]) -> Result {
    survives(bed, &[Case { who: Who::EachAlone, how: How::Kill }], flags).await
}

struct Kv<'f> {
    flags: &'f [&'f str],
}

impl Service for Kv<'_> {
    fn start(&self, member: &Host) -> Start {
        member.start(kvd).args(self.flags)
    }

    async fn leader(&self, client: &Host, _members: &[Host]) -> Result<String> {
        agreed(client).await
    }

    fn writer(&self, client: &Host, member: &Host, prefix: &str) -> Start {
        client.start(kvctl).args(["--servers", &server(member), "--timeout-ms", "1000", "write", prefix])
    }

    async fn read(&self, client: &Host, member: &Host, prefix: &str) -> Result<BTreeSet<String>> {
        eventually(secs(60), async || agreed(client).await).await?;
        let listed = client.run(kvctl).args(["--servers", &server(member), "list"]).read().await?;
        let keys = listed.lines().filter_map(|line| line.split('\t').next());
        Ok(keys.filter(|key| key.starts_with(prefix)).map(str::to_owned).collect())
    }
}

/// The leader, once every member follows it and has applied all that any of them has.
async fn agreed(client: &Host) -> Result<String> {
    let status = client.run(kvctl).args(["--servers", MEMBERS, "status"]).read().await?;
    let lines: Vec<Vec<&str>> = status.lines().map(|line| line.split('\t').collect()).collect();
    let [name, role, term, commit, last] = [0, 1, 2, 3, 4];
    let leaders: Vec<_> = lines.iter().filter(|line| line.get(role) == Some(&"leader")).collect();
    let same =
        |line: &&Vec<&str>| line.get(term..) == leaders[0].get(term..) && line.get(commit) == line.get(last);
    match leaders[..] {
        [leader] if lines.iter().all(|line| same(&line)) => Ok(leader[name].to_owned()),
        _ => Err(Error::new(Reason::Expect, format!("the members do not agree:\n{status}"))),
    }
}

fn server(member: &Host) -> String {
    format!("{}:7000", member.name())
}
