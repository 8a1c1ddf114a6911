//! P14, what every provider owes of it: two runs side by side, with hosts of the same names, do not touch each other.
//! (A22)

use conformance::programs::{PORT, echo_client, echo_server};
use conformance::{error_of, run};
use netsplit::prelude::*;

#[test]
fn two_runs_do_not_touch_each_other() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(side_by_side()).unwrap_or_else(|error| panic!("{error}"));
}

async fn side_by_side() -> netsplit::Result {
    let (mut first, mut second) = (run::begin("first")?, run::begin("second")?);
    assert_ne!(first.id(), second.id());
    assert_ne!(first.dir(), second.dir());
    let one = first.make_hosts(run::plans(2, None)).await?;
    let two = second.make_hosts(run::plans(2, None)).await?;
    let (a, other_a) = (one.host("a")?, two.host("a")?);
    assert_eq!(a.address(), other_a.address());
    // The server of one is not the other's, at the same address and port.
    a.start(echo_server).ready("listening").await?;
    one.host("b")?.run(echo_client).args(["a", "hello"]).await?;
    let refused = error_of(two.host("b")?.run(echo_client).args(["a", "hello"]).await);
    assert!(refused.to_string().contains("refused"), "{refused}");
    assert!(other_a.connect(PORT).await.is_err());
    // Files, processes, waits, environment.
    a.write("/srv/x", "one").await?;
    other_a.run("test ! -e /srv/x").await?;
    let (process, other) = (a.start("sleep 1001").await?, other_a.start("sleep 1001").await?);
    assert_eq!(process.name(), other.name());
    process.kill().await?;
    one.set_env("ONE", "1");
    other_a.run(sh("echo ${ONE-none}")).await?.expect_stdout("none")?;
    two.never("listening").await?;
    // Power, and the end of one.
    a.kill().await?;
    assert_eq!(other.outcome(), None);
    other_a.run("true").await?;
    assert!(run::end(first, Ok(())).await.verdict.teardown.is_some_and(|teardown| teardown.ok));
    assert_eq!(other.outcome(), None);
    other_a.run("pgrep -x sleep").await?;
    let finished = run::end(second, Ok(())).await;
    assert!(finished.verdict.teardown.is_some_and(|teardown| teardown.ok));
    assert!(one.host("a")?.run("true").await.is_err(), "a testbed that is over");
    assert!(two.host("a")?.run("true").await.is_err());
    Ok(())
}
