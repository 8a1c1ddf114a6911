//! A testbed inside a host of another testbed: a program that a host runs may be a netsplit test itself, or bring one.

use conformance::run;
use netsplit::Result;
use netsplit::prelude::*;

/// Begins a run of its own, with two hosts, and has them do something.
#[netsplit::program]
async fn tests_on_its_own(machine: Machine) -> Result {
    // The outer run's folder is not to be seen here.
    let inner = run::with("inner", run::plans(2, None), async |bed| {
        let (a, b) = (bed.host("a")?, bed.host("b")?);
        a.run("hostname").await?.expect_stdout("a")?;
        a.write("/srv/x", "from the inside").await?;
        a.copy_to(&b, "/srv/x").await?;
        let said = b.run("cat /srv/x").read().await?;
        b.kill().await?;
        b.restart().await?;
        b.run("cat /srv/x").await?.expect_stdout(&said)?;
        Ok(said)
    });
    let said = inner.await?;
    conformance::programs::say(&format!("{} says {said}", machine.name()));
    Ok(())
}

#[netsplit::test(hosts = 2, needs = ["programs"])]
async fn a_testbed_on_a_host_of_a_testbed(bed: Testbed) -> Result {
    let (a, b) = (bed.host("a")?, bed.host("b")?);
    // Both at once: their hosts have the same names and addresses, and do not meet.
    let run = |host: &Host| host.run(tests_on_its_own).cwd("/srv").env("NETSPLIT_DIR", "/srv/evidence");
    let (first, second) = tokio::join!(run(&a), run(&b));
    first?.expect_stdout("a says from the inside")?;
    second?.expect_stdout("b says from the inside")?;
    for host in [&a, &b] {
        // Nothing of it is left there, and its evidence is.
        host.run(sh("grep -l passed /srv/evidence/runs/*/verdict.json")).await?;
        host.run(sh("set -- /proc/[0-9]*; [ $# -eq 2 ]")).eventually(secs(5)).await?;
    }
    Ok(())
}

/// And one that is killed with it leaves nothing either.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_testbed_ends_with_the_command_that_made_it(bed: Testbed) -> Result {
    let a = bed.host("a")?;
    let inner = a.start(holds).cwd("/srv").env("NETSPLIT_DIR", "/srv/evidence").ready("up").await?;
    inner.kill().await?;
    a.run(sh("set -- /proc/[0-9]*; [ $# -eq 2 ]")).eventually(secs(5)).await.map(drop)
}

#[netsplit::program]
async fn holds() -> Result {
    run::with("held", run::plans(2, None), async |bed| {
        for host in bed.hosts() {
            host.start(sh("setsid --fork sleep 1000; echo here; sleep 1000")).ready("here").await?;
        }
        conformance::programs::say("up");
        std::future::pending().await
    })
    .await
}
