//! P9: a cut takes one direction away and leaves the other, also from connections that stand; healed, all is as before.

use netsplit::prelude::*;

/// Whether a ping gets through and back.
async fn pings(from: &Host, to: &Host) -> bool {
    from.run(["ping", "-c1", "-W1", to.name().as_str()])
        .exits(Exit::Any)
        .await
        .is_ok_and(|output| output.code() == Some(0))
}

#[netsplit::test(hosts = 3)]
async fn who_is_isolated_is_heard_again_after_the_heal(bed: Testbed) -> netsplit::Result {
    let [a, b, c] = [bed.host("a")?, bed.host("b")?, bed.host("c")?];
    assert!(pings(&a, &b).await);
    let cut = bed.network().isolate(&a).await?;
    assert_eq!(cut.what(), "isolate a");
    assert!(!pings(&a, &b).await && !pings(&b, &a).await && pings(&b, &c).await);
    let report = bed.network().report().await?;
    assert_eq!((report.faults.len(), report.faults[0].links, report.faults[0].verified), (1, 4, 4));
    cut.heal().await?;
    assert!(pings(&a, &b).await);
    assert!(bed.network().report().await?.faults.is_empty());
    let slow = bed.network().link(a.to(&b)).delay(millis(50)).loss(0.0).await?;
    assert_eq!(slow.what(), "link a to b delay 50ms, loss 0%");
    Ok(())
}
