//! What `docs/partition-rust.md` shows.

use netsplit::prelude::*;
use netsplit::{Error, Reason};

const ETCD: &str = "etcd --name %{host} --data-dir /var/lib/etcd
    --initial-cluster a=http://a:2380,b=http://b:2380,c=http://c:2380
    --listen-peer-urls http://%{address}:2380 --initial-advertise-peer-urls http://%{host}:2380
    --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://%{host}:2379";

#[netsplit::test(hosts(member = ["a", "b", "c"], client = ["client"]), needs = ["network", "programs"])]
async fn a_leader_that_is_cut_off_loses_nothing(bed: Testbed) -> netsplit::Result {
    let (members, client) = (bed.role("member")?, bed.host("client")?);
    if client.run("which etcd etcdctl").exits(Exit::Any).await?.code() != Some(0) {
        return Err(Error::new(Reason::MissingCapability, "etcd is not installed")); // a skip
    }
    // `etcdctl` on the client, which asks this member alone.
    let ask = |member: &Host, words: &str| {
        let endpoint = format!("http://{}:2379", member.name());
        client.run(format!("etcdctl --command-timeout 2s {words}")).env("ETCDCTL_ENDPOINTS", endpoint)
    };
    for member in &members {
        member.start(ETCD).await?;
    }
    let leader = bed.find("became leader").on(&members).await?;
    ask(&leader, "put before 1").eventually(secs(10)).await?;

    let others = bed.select(&format!("member,-{}", leader.name()))?;
    let cut = bed.network().cut(leader.and(&others)).await?; // in force when this returns: it was read back
    let second = bed.find("became leader").on(&others).await?; // since the cut
    ask(&second, "put meanwhile 2").eventually(secs(10)).await?;
    ask(&leader, "put nowhere 3").exits(Exit::Nonzero).await?; // the client reaches it, and it reaches no majority
    cut.heal().await?;

    for member in &members {
        for (key, value) in [("before", "1"), ("meanwhile", "2")] {
            let get = ask(member, &format!("get {key} --print-value-only")); // no older than any acknowledged write
            get.eventually(secs(10)).await?.expect_stdout(value)?;
        }
    }
    Ok(())
}

// The docs show what stands above.

#[test]
fn the_docs_show_this_test() {
    let (own, docs) = (include_str!("etcd_partition.rs"), include_str!("../../../docs/partition-rust.md"));
    let shown = own.split("\n// The docs show").next().and_then(|text| text.split_once("\n\n"));
    let (_about, shown) = shown.expect("a test");
    assert!(docs.contains(shown.trim()), "docs/partition-rust.md shows another test than this:\n{shown}");
}
