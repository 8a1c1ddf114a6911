//! P12: an agent that is killed in the middle of a command, from outside: the command is agent-lost at once and not a
//! failure of what was tested, its children are gone, other hosts notice nothing, and the host can be used again.
//! (A10, and defect 9 of testbus: its client hung for ever and the child lived on)
//!
//! Only the machine itself can kill a namespace host's agent, so this looks for processes of this machine; on a provider
//! whose hosts are elsewhere it is a skip.

use std::process::Command;
use std::{env, fs};

use conformance::{census, error_of, fails, scratch};
use netsplit::model::{Event, Verdict, VerdictFile};
use netsplit::prelude::*;
use netsplit::{Error, Reason};

/// How the test below is to end: the lost host comes back, or the test ends with the loss in one of the ways in
/// which tests end.
const END: &str = "CONFORMANCE_END";

/// Kills the agent of the host that `process` runs on.
async fn kill_agent(bed: &Testbed, process: &Process) -> netsplit::Result {
    let own = census::marked(bed.run_id(), &process.name().to_string());
    let agent = own.and_then(census::process).map(|process| process.parent);
    match agent {
        Some(agent) => {
            census::kill(agent);
            // It has gone when it has closed its files. Nobody is awaited: what comes of it is not looked at meanwhile.
            let holds = || fs::read_dir(format!("/proc/{agent}/fd")).is_ok_and(|files| files.count() > 0);
            assert!(census::until(secs(10), || !holds()).is_ok(), "the agent lives on");
        }
        None => {
            return Err(Error::new(Reason::MissingCapability, "its hosts' agents are not on this machine"));
        }
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["programs"])]
async fn a_killed_agent_loses_its_commands_and_nothing_else(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let other = b.start("sleep 1000").await?;
    a.write("/srv/disk", "stays").await?;
    let script = "setsid --fork sleep 1000; sleep 1000 & echo last words; wait";
    let process = a.start(sh(script)).ready("last words").await?;
    let children = census::marked(bed.run_id(), &process.name().to_string());
    kill_agent(&bed, &process).await?;
    if env::var(END).as_deref() == Ok("at once") {
        return Ok(());
    }
    let killed = bed.now();

    let outcome = process.wait().await?;
    let Outcome::AgentLost { reason } = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("the host was lost: its agent "), "{reason}");
    assert_eq!(outcome.exit_code(), 243);
    assert!(bed.now() - killed < secs(10), "a second is promised");
    let lost = error_of(a.run("true").await);
    assert_eq!((lost.name(), lost.verdict()), (Reason::HostLost, Verdict::Infra), "{lost}");
    assert!(lost.to_string().contains("try: restart a, if its loss is part of the test"), "{lost}");
    fails(process.wait_for("more").await, Reason::HostLost);

    let is_gone = || children.and_then(census::process).is_none();
    eventually(secs(10), async || if is_gone() { Ok(()) } else { Err("a child lives on") })
        .await
        .expect("gone");
    let events = conformance::log::events(&bed);
    let lost_in_log = events.iter().filter(|record| matches!(record.event, Event::HostLost { .. })).count();
    assert_eq!(lost_in_log, 1);

    assert_eq!(other.outcome(), None);
    b.run("true").await?;
    match env::var(END).as_deref() {
        Ok("error") => return Err(lost),
        Ok("panic") => panic!("the value is not what it was"),
        Ok("own") => return a.run("false").await.map(drop),
        // What was expected of it holds for want of a host.
        Ok("pass") => return a.never("panic").lasting(millis(100)).await,
        _ => {}
    }
    a.restart().await?;
    a.run("cat /srv/disk").await?.expect_stdout("stays")?;
    assert_eq!((a.generation(), process.outcome()), (2, Some(outcome)));
    Ok(())
}

/// A command that is under way as `run` is told the same, and does not hang.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_run_under_way_is_told(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let marker = a.start("sleep 1000").await?;
    let (ran, killed) = tokio::join!(a.run(sh("echo up; sleep 1000")), async {
        a.wait_for("up").await?;
        kill_agent(&bed, &marker).await
    });
    killed?;
    let error = error_of(ran);
    assert_eq!((error.name(), error.verdict()), (Reason::HostLost, Verdict::Infra), "{error}");
    a.restart().await
}

/// Also while what is left of it is still on its way out.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_lost_host_can_be_restarted_at_once(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for generation in 2..=9 {
        let crowd =
            a.start(sh("for n in $(seq 50); do sleep 1000 & done; echo crowd; wait")).ready("crowd").await?;
        kill_agent(&bed, &crowd).await?;
        assert!(matches!(crowd.wait().await?, Outcome::AgentLost { .. }));
        a.restart().await?;
        assert_eq!(a.generation(), generation);
        a.run("true").await?;
    }
    // News of the old ones does not take the new one along.
    tokio::time::sleep(millis(100)).await;
    a.run("true").await.map(drop)
}

/// However the test ends because of it, the verdict is `infra`: it comes from what happened, not from the error's type.
#[test]
fn the_verdict_of_a_lost_host_is_infra() {
    for end in ["error", "panic", "own", "pass", "at once"] {
        let folder = scratch();
        let output = Command::new(env::current_exe().expect("this binary"))
            .args(["a_killed_agent_loses_its_commands_and_nothing_else::namespace", "--exact"])
            .env("NETSPLIT_DIR", folder.path())
            .env(END, end)
            .output()
            .expect("a child");
        let shown = String::from_utf8_lossy(&output.stdout);
        let verdict = folder.path().join("last/verdict.json");
        let text = fs::read_to_string(&verdict).unwrap_or_else(|error| panic!("{error}: {shown}"));
        let verdict: VerdictFile = serde_json::from_str(&text).expect("a verdict");
        let reason = verdict.reason.expect("a reason");
        assert_eq!((verdict.verdict, reason.name), (Verdict::Infra, Reason::HostLost), "{end}: {shown}");
        assert!(reason.text.contains("host a was lost"), "{end}: {}", reason.text);
        assert!(verdict.teardown.expect("a teardown").ok);
        assert!(!output.status.success() && shown.contains("infra"), "{end}: {shown}");
    }
}
