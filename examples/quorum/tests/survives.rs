//! The service on three hosts: what the README shows. `cargo test -p quorum-example --test survives`

use netsplit::prelude::*;

const KVD: &str = env!("CARGO_BIN_EXE_kvd");
const KVCTL: &str = env!("CARGO_BIN_EXE_kvctl");

#[netsplit::test(hosts = 3, needs = ["programs"])]
async fn survives_losing_the_leader(bed: Testbed) -> netsplit::Result {
    bed.set_env("KVCTL_SERVERS", bed.addresses(7000));
    for host in bed.hosts() {
        host.start(local(KVD))
            .args(["--listen", ":7000", "--peers", &bed.addresses(7000)])
            .ready("listening")
            .await?;
    }
    let leader = bed.find("became leader").await?;
    leader.run(local(KVCTL)).args(["put", "x", "1"]).await?;

    leader.kill().await?; // as if its power were cut
    let second = bed.find("became leader").on_others(&leader).within(secs(10)).await?;
    second.run(local(KVCTL)).args(["get", "x"]).await?.expect_stdout("1")?;

    leader.restart().await?; // with the disk it had
    let again = leader.start(local(KVD)).args(["--listen", ":7000", "--peers", &bed.addresses(7000)]).await?;
    again.wait_for(r"caught up with \w+ at index (?<index>\d+)").within(secs(10)).await?;
    Ok(())
}
