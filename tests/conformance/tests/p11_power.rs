//! P11: kill, pause and restart of a host, with its generation. A disk survives a kill; processes, /tmp and connections
//! do not; names and addresses stay. A paused host loses nothing.

use std::fs;
use std::io::Write as _;
use std::time::Instant;

use conformance::programs::{PORT, beat, echo_client, echo_server, ticker};
use conformance::{MIB, error_of, fails, run, scratch};
use netsplit::Reason;
use netsplit::model::Verdict;
use netsplit::prelude::*;
use netsplit::settings::Settings;
use tokio::time::timeout;

#[netsplit::test(hosts = 2, needs = ["kill"])]
async fn a_disk_survives_and_memory_does_not(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    const KEPT: [&str; 5] = ["/srv/x", "/var/log/x", "/root/x", "/opt/x", "/etc/x"];
    const GONE: [&str; 3] = ["/tmp/x", "/run/x", "/dev/shm/x"];
    let addresses = (a.address(), a.address6());
    a.run(keep).args(KEPT).args(GONE).await?;
    let process = a.start(beat).arg("up").ready("up").await?;
    assert_eq!(a.generation(), 1);
    a.kill().await?;
    a.restart().await?;
    assert_eq!((a.generation(), a.address(), a.address6()), (2, addresses.0, addresses.1));
    a.run("cat").args(KEPT).await?.expect_stdout(&KEPT.concat())?;
    for gone in GONE {
        fails(a.get(gone).await, Reason::NoSuchFile);
    }
    let said = process.stdout()?.len();
    // A host that runs is killed first; its programs find it as it was.
    a.restart().await?;
    assert_eq!((a.generation(), b.generation()), (3, 1));
    a.run("hostname").await?.expect_stdout("a")?;
    a.run("cat /srv/x").await?.expect_stdout("/srv/x")?;
    assert_eq!(process.stdout()?.len(), said, "what ran on it says no more");
    b.start(echo_server).ready("listening").await?;
    a.run(echo_client).args(["b", "again"]).await.map(drop)
}

/// What a daemon left on the host ends with it as well.
#[netsplit::test(hosts = 1, needs = ["kill", "programs"])]
async fn no_process_survives(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.start(sh("setsid --fork sleep 1000; echo all; sleep 1000")).ready("all").await?;
    a.restart().await?;
    a.run(sh("! pgrep -x sleep")).await.map(drop)
}

/// `keep PATHS…`: writes its own name to each file, for good.
#[netsplit::program]
async fn keep(paths: Vec<String>) -> std::io::Result<()> {
    for path in paths {
        let mut file = fs::File::create(&path)?;
        file.write_all(path.as_bytes())?;
        file.sync_all()?;
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["kill"])]
async fn a_killed_host_is_down_until_it_is_restarted(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    let (process, other) = (a.start("sleep 1000").await?, b.start("sleep 1000").await?);
    a.kill().await?;
    let outcome = process.wait().await?;
    assert_eq!(outcome, Outcome::AgentLost { reason: "the host was killed by the test".into() });
    assert_eq!(outcome.exit_code(), 243);
    for text in [
        fails(a.run("true").await, Reason::HostDown),
        fails(a.start("true").await, Reason::HostDown),
        fails(a.write("/srv/x", "x").await, Reason::HostDown),
        fails(a.get("/srv/x").await, Reason::HostDown),
        fails(a.connect(PORT).await, Reason::HostDown),
    ] {
        assert!(text.contains("host a is down: the test killed it"), "{text}");
        assert!(text.contains("fix: restart a first"), "{text}");
    }
    fails(a.kill().await, Reason::HostDown);
    fails(a.pause().await, Reason::HostDown);
    fails(a.resume().await, Reason::HostDown);
    assert_eq!(other.outcome(), None);
    // What was written before is still to be waited for, and what ran on it is over.
    assert_eq!(error_of(process.wait_for("x").await).name(), Reason::HostDown);
    a.restart().await?;
    a.run("true").await?;
    assert_eq!(process.outcome(), Some(outcome), "nothing that ran on it runs again");
    Ok(())
}

/// A command that is under way when its host is killed is told so, and not left waiting.
#[netsplit::test(hosts = 1, needs = ["kill"])]
async fn a_command_under_way_ends_with_its_host(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let begun = bed.now();
    let (ran, killed) = tokio::join!(a.run(beat).arg("up"), async {
        a.wait_for("up").await?;
        a.kill().await
    });
    killed?;
    let error = error_of(ran);
    assert_eq!(error.name(), Reason::HostDown, "{error}");
    assert!(matches!(error.outcome(), Some(Outcome::AgentLost { .. })), "{error}");
    assert!(bed.now() - begun < secs(20));
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["kill"])]
async fn others_reach_a_restarted_host_at_once(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    for _ in 0..5 {
        a.start(echo_server).ready("listening").await?;
        // IPv4 and IPv6, each named; the neighbours' tables still hold who it was.
        let said = b.run(echo_client).args(["a", "hello"]).within(secs(5)).read().await?;
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["4: b says hello", "6: b says hello"]);
        a.restart().await?;
    }
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["pause"])]
async fn a_paused_host_goes_on_where_it_was(bed: Testbed) -> netsplit::Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    a.start(echo_server).ready("listening").await?;
    let ticking = b.start(ticker).arg("a").ready("tick 5").await?;
    a.pause().await?;
    fails(a.pause().await, Reason::HostDown);
    // What was on its way may still arrive; then nothing does.
    tokio::time::sleep(millis(100)).await;
    let before = ticking.stdout()?;
    // One that begins meanwhile waits as well.
    let late = b.start(echo_client).args(["a", "meanwhile"]).await?;
    tokio::time::sleep(millis(300)).await;
    assert_eq!(late.outcome(), None);
    assert_eq!(ticking.stdout()?, before, "its echo came from a paused host");
    a.resume().await?;
    fails(a.resume().await, Reason::HostDown);
    late.wait_for("b says meanwhile").await?;
    // The connection is the same one: its numbers go on without a gap.
    bed.wait_for("tick").on(&b).await?;
    let next = String::from_utf8_lossy(&before).lines().count() + 10;
    ticking.wait_for(format!("^tick {next}$")).await?;
    assert_eq!((ticking.outcome(), a.generation()), (None, 1));
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["pause"])]
async fn a_command_meets_a_paused_host_at_its_deadline(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let clock = a.start(beat).arg("tick").ready("tick").await?;
    a.pause().await?;
    let (waited, resumed) = tokio::join!(a.run("true").within(secs(30)), async {
        tokio::time::sleep(millis(200)).await;
        a.resume().await
    });
    resumed?;
    waited?;
    bed.wait_for("tick").await?;
    clock.kill().await?;
    Ok(())
}

/// A wait on a paused host ends at its deadline, and a kill of it does not wait for it to answer.
#[netsplit::test(hosts = 1, needs = ["pause", "kill"])]
async fn a_paused_host_can_be_killed(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let process = a.start("sleep 1000").await?;
    a.pause().await?;
    fails(process.wait().within(millis(50)).await, Reason::CommandTimedOut);
    fails(a.wait_for("x").within(millis(50)).await, Reason::WaitTimedOut);
    a.kill().await?;
    assert!(matches!(process.wait().await?, Outcome::AgentLost { .. }));
    a.restart().await?;
    a.pause().await?;
    a.restart().await?;
    a.run("true").await?;
    assert_eq!(a.generation(), 3);
    Ok(())
}

/// Files and input have a deadline as well: so long may nothing move.
#[test]
fn a_paused_host_keeps_no_file_and_no_input_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let soon = |settings: &mut Settings| settings.deadlines.wait = secs(2);
    let done = runtime.block_on(run::with_settings("paused", run::plans(1, None), soon, async |bed| {
        let a = bed.host("a")?;
        a.write("/srv/f", "here").await?;
        let folder = scratch();
        let large = folder.path().join("large");
        fs::write(&large, vec![b'x'; 4 * MIB]).expect("a file");
        let (cat, deaf) = (a.start("cat").stdin_open().await?, a.start("sleep 1000").stdin_open().await?);
        a.pause().await?;
        let got = timeout(secs(20), a.get("/srv/f")).await.expect("it ends in time");
        let text = fails(got, Reason::CommandTimedOut);
        assert!(text.contains("get `/srv/f` from a: nothing came for 2s"), "{text}");
        assert!(text.contains("a is paused") && text.contains("resume a first"), "{text}");
        let put = timeout(secs(20), a.write("/srv/g", vec![b'x'; 4 * MIB]).into_future()).await;
        let text = fails(put.expect("it ends in time"), Reason::CommandTimedOut);
        assert!(text.contains("put `/srv/g` on a: nothing was taken for 2s"), "{text}");
        assert!(text.contains("a is paused"), "{text}");
        let put = timeout(secs(20), a.put(&large, "/srv/large").into_future()).await;
        let text = fails(put.expect("it ends in time"), Reason::CommandTimedOut);
        assert!(text.contains("put `/srv/large` on a: nothing was taken for 2s"), "{text}");
        let wrote = timeout(secs(20), cat.write(vec![b'x'; 4 * MIB])).await.expect("it ends in time");
        let text = fails(wrote, Reason::CommandTimedOut);
        assert!(text.contains("write to a/cat: nothing was taken for 2s"), "{text}");
        assert!(text.contains("a is paused"), "{text}");
        a.resume().await?;
        assert_eq!(a.get("/srv/f").await?.text()?, "here");
        cat.write("\nafter\n").await?;
        cat.wait_for("^after$").within(secs(20)).await?;
        // A process that reads nothing, on a host that runs.
        let wrote = timeout(secs(20), deaf.write(vec![b'x'; 4 * MIB])).await.expect("it ends in time");
        let text = fails(wrote, Reason::CommandTimedOut);
        assert!(text.contains("write to a/sleep") && !text.contains("paused"), "{text}");
        deaf.kill().await.map(drop)
    }));
    match done {
        Err(error) if error.verdict() != Verdict::Skipped => panic!("{error}"),
        _ => {}
    }
}

/// What moves, however slowly, is no deadline's business.
#[test]
fn a_slow_reader_is_no_deaf_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let soon = |settings: &mut Settings| settings.deadlines.wait = secs(2);
    let done = runtime.block_on(run::with_settings("slow", run::plans(1, None), soon, async |bed| {
        let script = "for n in $(seq 16); do sleep 0.25; head -c 65536; done | wc -c";
        let slow = bed.host("a")?.start(sh(script)).stdin_open().await?;
        let begun = bed.now();
        slow.write(vec![b'x'; MIB]).await?;
        slow.wait_for("^1048576$").within(secs(20)).await?;
        assert!(bed.now() - begun > secs(2), "it was slow");
        Ok(())
    }));
    done.unwrap_or_else(|error| panic!("{error}"));
}

/// What the test had stopped itself stays stopped.
#[netsplit::test(hosts = 1, needs = ["pause"])]
async fn a_resume_wakes_only_what_the_pause_stopped(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let stopped = a.start(beat).arg("stopped").ready("stopped").await?;
    let running = a.start(beat).arg("running").ready("running").await?;
    stopped.signal("STOP").await?;
    a.pause().await?;
    a.resume().await?;
    // What it had written before it was stopped is here by now.
    running.wait_for("^running$").await?;
    stopped.never("^stopped$").since(bed.now()).lasting(millis(100)).await?;
    stopped.signal("CONT").await?;
    stopped.wait_for("^stopped$").await?;
    assert_eq!((stopped.outcome(), running.outcome()), (None, None));
    Ok(())
}

#[netsplit::test(hosts = 3, needs = ["kill", "pause"])]
async fn all_hosts_at_once(bed: Testbed) -> netsplit::Result {
    for _ in 0..3 {
        let (first, second, third) = (bed.host("a")?, bed.host("b")?, bed.host("c")?);
        let all = tokio::join!(first.restart(), second.restart(), third.pause());
        all.0.and(all.1).and(all.2)?;
        let all = tokio::join!(first.run("true"), second.run("true"), third.resume());
        all.0.and(all.1)?;
        all.2?;
    }
    assert_eq!(bed.host("a")?.generation(), 4);
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["pause", "connect"])]
async fn a_connection_to_a_paused_host_is_refused_at_once(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.start(echo_server).ready("listening").await?;
    a.pause().await?;
    let begun = Instant::now();
    let text = fails(a.connect(PORT).await, Reason::HostDown);
    assert!(text.contains("a is paused") && text.contains("fix: resume a first"), "{text}");
    assert!(begun.elapsed() < secs(5), "it waited");
    a.resume().await?;
    a.connect(PORT).await.map(drop)
}
