//! P5: processes in the background: wait for one, any or all of them, during and after their end; end a whole tree of
//! them, whatever it did to get away. (A01, A06, and defect 9 of testbus: the child of a lost command lived on)

use conformance::programs;
use conformance::script::script;
use conformance::{error_of, fails};
use netsplit::prelude::*;
use netsplit::{Reason, model::Event};

/// A shell that leaves a child in its group, one in a session of its own, and a daemon: `sleep`s of these seconds.
const FAMILY: &str = "sleep 1001 &
    setsid sleep 1002 &
    setsid --fork sh -c 'sleep 1003 & sleep 1004'
    (setsid sh -c 'trap \"\" HUP TERM; sleep 1005 & wait; sleep 1005' &)
    echo family; wait";

/// The seconds of all sleeps of a host that still run.
async fn sleeps(host: &Host) -> netsplit::Result<Vec<String>> {
    let found = host.run(sh("pgrep -xa sleep | cut -d' ' -f3 | sort")).read().await?;
    Ok(found.split_whitespace().map(str::to_owned).collect())
}

/// Until all of them are gone: a killed process is one for another moment.
async fn no_sleeps(host: &Host) -> netsplit::Result {
    host.run(sh("! pgrep -xa sleep")).eventually(secs(10)).await.map(drop)
}

async fn family(host: &Host) -> netsplit::Result<Process> {
    let family = host.start(sh(FAMILY)).ready("family").await?;
    host.run(sh("[ $(pgrep -xc sleep) -ge 5 ]")).eventually(secs(10)).await?;
    assert_eq!(sleeps(host).await?, ["1001", "1002", "1003", "1004", "1005"]);
    Ok(family)
}

#[netsplit::test(hosts = 1)]
async fn wait_during_and_after(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let process = a.start(script("read go; exit 7")).stdin_open().await?;
    assert_eq!(process.outcome(), None);
    let (ended, told) = tokio::join!(process.wait(), process.write("\n"));
    told?;
    assert_eq!(ended?, Outcome::Exited { code: 7 });
    // Again, and by another handle.
    assert_eq!(process.clone().wait().await?, Outcome::Exited { code: 7 });
    assert_eq!(process.outcome(), Some(Outcome::Exited { code: 7 }));
    assert_eq!(process.stop().await?, Outcome::Exited { code: 7 }, "there is nothing to stop");
    assert_eq!(process.kill().await?, Outcome::Exited { code: 7 });
    Ok(())
}

#[netsplit::test(hosts = 2)]
async fn wait_for_any_and_for_all(bed: Testbed) -> netsplit::Result {
    let mut processes = Vec::new();
    for (number, host) in bed.hosts().iter().cycle().take(6).enumerate() {
        processes.push(host.start(script(format!("read go; exit {number}"))).stdin_open().await?);
    }
    for next in [4, 1] {
        let (first, told) = tokio::join!(wait_any(&processes), processes[next].write("\n"));
        told?;
        let (which, outcome) = first?;
        assert_eq!(outcome, Outcome::Exited { code: i32::from(which == 4) * 3 + 1 });
        processes.remove(next);
    }
    for process in &processes {
        process.close_stdin().await?;
    }
    let codes: Vec<_> = wait_all(&processes).await?.iter().map(Outcome::exit_code).collect();
    // `read` failed, and `exit N` was reached or not: `-e` ends the script with 1.
    assert_eq!(codes, [1, 1, 1, 1]);
    assert!(wait_all(&[]).await?.is_empty());
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn stop_kill_and_a_deadline_end_a_process(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let other = a.start(ticks).await?;
    let stopped = a.start(ticks).ready("tick").await?;
    let killed = a.start(ticks).ready("tick").await?;
    let cut = a.start(ticks).within(millis(300)).await?;
    assert_eq!(stopped.stop().await?, Outcome::Signalled { signal: 15, core: false });
    assert_eq!(killed.kill().await?, Outcome::Signalled { signal: 9, core: false });
    assert!(matches!(cut.wait().await?, Outcome::TimedOut { .. }));
    // None of them goes on; who was not asked to end does.
    for ended in [&stopped, &killed, &cut] {
        let written = ended.stdout()?.len();
        tokio::time::sleep(millis(100)).await;
        assert_eq!(ended.stdout()?.len(), written);
    }
    assert_eq!(other.outcome(), None);
    other.wait_for("tick").await.map(drop)
}

#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn stop_ends_the_whole_tree(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let family = family(&a).await?;
    assert_eq!(family.stop().await?, Outcome::Signalled { signal: 15, core: false });
    no_sleeps(&a).await
}

#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn kill_ends_the_whole_tree(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let family = family(&a).await?;
    assert_eq!(family.kill().await?, Outcome::Signalled { signal: 9, core: false });
    no_sleeps(&a).await
}

/// Also when the process itself has ended, and only what it left is there.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_deadline_ends_the_whole_tree(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    fails(a.run(sh(FAMILY)).within(secs(1)).await, Reason::CommandTimedOut);
    no_sleeps(&a).await
}

#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn ending_one_tree_leaves_the_others(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let other = a.start(sh("setsid --fork sleep 2001; sleep 2002")).await?;
    let tree = a.start(sh("setsid --fork sleep 3001; sleep 3002")).await?;
    a.run(sh("[ $(pgrep -xc sleep) -eq 4 ]")).eventually(secs(10)).await?;
    tree.kill().await?;
    a.run(sh("! pgrep -xa sleep | grep 300")).eventually(secs(10)).await?;
    assert_eq!(sleeps(&a).await?, ["2001", "2002"]);
    assert_eq!(other.outcome(), None);
    Ok(())
}

/// The process has ended and its streams are closed: what it left behind is still its own.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn what_an_ended_process_left_is_ended_too(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let script = "setsid --fork sleep 1001 >/dev/null 2>&1; sleep 1002 >/dev/null 2>&1 &
        env -i sleep 1003 >/dev/null 2>&1 & (trap '' TERM; sleep 1004 >/dev/null 2>&1) &";
    for at_once in [true, false] {
        let other = a.start(sh("setsid --fork sleep 2001 >/dev/null 2>&1")).await?;
        let process = a.start(sh(script)).await?;
        assert!(process.wait().await?.is_success());
        assert!(other.wait().await?.is_success());
        a.run(sh("[ $(pgrep -xc sleep) -eq 5 ]")).eventually(secs(10)).await?;
        // Again, and when nothing is left to end.
        for _ in 0..3 {
            let ended = if at_once { process.kill().await? } else { process.stop().await? };
            assert!(ended.is_success(), "{ended}");
            a.run(sh("[ $(pgrep -xa sleep | cut -d' ' -f3) = 2001 ]")).eventually(secs(1)).await?;
        }
        other.kill().await?;
        no_sleeps(&a).await?;
    }
    Ok(())
}

/// Its end is ordered at the moment at which it ends by itself, and at every moment about it.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn what_a_process_left_is_ended_at_any_moment(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    // Much output makes the time long in which it has exited and not all has come.
    let script = "setsid --fork sleep 1001 >/dev/null 2>&1; echo up; read go; head -c 60000 /dev/zero";
    for micros in (0..20_000).step_by(400) {
        let process = a.start(sh(script)).stdin_open().ready("up").await?;
        process.write("\n").await?;
        tokio::time::sleep(Duration::from_micros(micros)).await;
        process.kill().await?;
        no_sleeps(&a).await?;
    }
    Ok(())
}

/// Nobody ordered it: what a process left behind goes on when nobody holds the process any more.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_dropped_handle_leaves_what_its_process_left(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.run(sh("setsid --fork sleep 1001 >/dev/null 2>&1")).await?;
    let process = a.start(sh("setsid --fork sleep 1002 >/dev/null 2>&1")).await?;
    process.wait().await?;
    drop(process);
    a.run("sleep 0.2").await?;
    assert_eq!(sleeps(&a).await?, ["1001", "1002"]);
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn who_ignores_term_is_killed_after_the_grace(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let polite = a.start(programs::polite).ready("up").await?;
    let stubborn = a.start(programs::stubborn).ready("up").await?;
    assert_eq!(stubborn.stop().await?, Outcome::Signalled { signal: 9, core: false });
    stubborn.wait_for("^no$").await?;
    assert_eq!(polite.outcome(), None, "another's signal is not its own");
    assert_eq!(polite.stop().await?, Outcome::Exited { code: 5 });
    polite.wait_for("^bye$").await?;
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn signals_that_end_a_process(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for (name, number) in [("HUP", 1), ("SIGINT", 2), ("usr1", 10), ("KILL", 9), ("TERM", 15)] {
        let process = a.start(script("echo up; sleep 1000")).ready("up").await?;
        process.signal(name).await?;
        assert_eq!(process.wait().await?, Outcome::Signalled { signal: number, core: false }, "{name}");
    }
    let process = a.start(script("echo up; sleep 1000")).ready("up").await?;
    // A window has another size, and a pipe no reader: a Rust program goes on.
    process.signal(28).await?;
    process.signal("PIPE").await?;
    fails(process.signal("NOSUCH").await, Reason::BadValue);
    fails(process.signal(99).await, Reason::BadValue);
    assert_eq!(process.outcome(), None);
    process.signal(12).await?;
    assert_eq!(process.wait().await?, Outcome::Signalled { signal: 12, core: false });
    Ok(())
}

#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn signals_by_name_and_number(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    // A signal reaches the whole group, and so the shell's `sleep`.
    let script = "set +e; for s in HUP USR1 USR2 WINCH; do trap \"echo got $s\" $s; done; echo up; while :; do sleep 0.02; done";
    let process = a.start(sh(script)).ready("up").await?;
    process.signal("HUP").await?;
    process.wait_for("got HUP").await?;
    process.signal("SIGUSR1").await?;
    process.wait_for("got USR1").await?;
    process.signal(12).await?;
    process.wait_for("got USR2").await?;
    process.signal("winch").await?;
    process.wait_for("got WINCH").await?;
    fails(process.signal("NOSUCH").await, Reason::BadValue);
    fails(process.signal(99).await, Reason::BadValue);
    process.signal("KILL").await?;
    assert_eq!(process.wait().await?, Outcome::Signalled { signal: 9, core: false });
    Ok(())
}

#[netsplit::program]
async fn ticks() {
    loop {
        programs::say("tick");
        tokio::time::sleep(millis(20)).await;
    }
}

#[netsplit::test(hosts = 1)]
async fn a_stopped_process_goes_on(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let process = a.start(ticks).ready("tick").await?;
    process.signal("STOP").await?;
    // What it wrote before may still be on its way.
    tokio::time::sleep(millis(500)).await;
    process.signal("WINCH").await?;
    assert_eq!(process.outcome(), None);
    bed.never("tick").lasting(millis(200)).await?;
    process.signal("CONT").await?;
    bed.wait_for("tick").await?;
    process.signal("STOP").await?;
    assert_eq!(process.kill().await?, Outcome::Signalled { signal: 9, core: false });
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn what_has_ended_is_not_spoken_to(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let process = a.start(script("exit 3")).await?;
    process.wait().await?;
    fails(process.signal("TERM").await, Reason::ProcessEnded);
    let error = error_of(process.signal("TERM").await).to_string();
    assert!(error.contains("a/shell exited 3 already"), "{error}");
    let signalled = |record: netsplit::model::Record| matches!(record.event, Event::ProcessSignalled { .. });
    assert!(!conformance::log::events(&bed).into_iter().any(signalled), "nothing was sent");
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_dropped_handle_leaves_its_process_running(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    drop(a.start(script("echo up; sleep 0.2; echo still here; sleep 1; echo and here")).await?);
    a.wait_for("still here").await?;
    a.wait_for("and here").await.map(drop)
}

#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_dropped_run_ends_the_whole_tree(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    let run = a.run(sh(FAMILY)).name("family");
    tokio::select! {
        ended = run => panic!("{ended:?}"),
        line = a.wait_for("family") => drop(line?),
    }
    no_sleeps(&a).await?;
    let cancelled = || {
        conformance::log::events(&bed).into_iter().any(|record| {
            matches!(record.event, Event::ProcessEnded { process, outcome: Outcome::Cancelled, .. } if process.name() == "family")
        })
    };
    eventually(secs(5), async || if cancelled() { Ok(()) } else { Err("not cancelled") })
        .await
        .expect("an event");
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn a_dropped_run_ends_its_process(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    tokio::select! {
        ended = a.run(ticks) => panic!("{ended:?}"),
        line = a.wait_for("tick") => drop(line?),
    }
    tokio::time::sleep(millis(500)).await;
    bed.never("tick").since(bed.now()).lasting(millis(200)).await
}

/// A run whose future is dropped before the process has begun starts nothing that stays.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_run_dropped_at_any_moment_leaves_nothing(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for micros in (0..3000).step_by(100) {
        let run = async { a.run("sleep 1000").await };
        let _dropped = tokio::time::timeout(Duration::from_micros(micros), run).await;
    }
    no_sleeps(&a).await
}
