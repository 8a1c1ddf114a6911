//! P18 on the example: it keeps what it acknowledged, whatever is done to its members; the version of it that acknowledges
//! too early does not, and that is noticed.

use std::collections::BTreeSet;

use conformance::matrix::{Case, Cluster, Service, nothing_is_missing};
use netsplit::prelude::*;
use netsplit::{Error, Reason, Result, Start};

const KVD: &str = env!("CARGO_BIN_EXE_kvd");
/// Where the client has it.
const KVCTL: &str = "/opt/kvctl";

#[netsplit::test(
    hosts(member = ["a", "b", "c"], client = ["client"]),
    needs = ["network", "pause", "kill", "programs"]
)]
async fn the_service_keeps_what_it_acknowledged(bed: Testbed) -> Result {
    bed.host("client")?.put(env!("CARGO_BIN_EXE_kvctl"), KVCTL).await?;
    let cluster = Cluster::start(&bed, &Quorum { flags: &[] }).await?;
    nothing_is_missing(&cluster.survives(&Case::all(), |_| false).await?)
}

/// A matrix in which this passes would say nothing.
#[netsplit::test(
    hosts(member = ["a", "b", "c"], client = ["client"]),
    needs = ["network", "pause", "kill", "programs"]
)]
async fn a_service_that_acknowledges_too_early_is_caught(bed: Testbed) -> Result {
    bed.host("client")?.put(env!("CARGO_BIN_EXE_kvctl"), KVCTL).await?;
    let cluster = Cluster::start(&bed, &Quorum { flags: &["--ack-early"] }).await?;
    let found = cluster.survives(&Case::all(), |found| !found.missing.is_empty()).await?;
    let error = nothing_is_missing(&found).expect_err("no case saw a write lost");
    // Only the leader of before had it, and it follows another now.
    let caught = found.last().expect("a case");
    for member in ["a", "b", "c"] {
        let lacks = format!("{member} lacks ");
        assert!(caught.missing.iter().any(|missing| missing.starts_with(&lacks)), "{error}");
    }
    Ok(())
}

struct Quorum {
    flags: &'static [&'static str],
}

impl Service for Quorum {
    fn start(&self, member: &Host) -> Start {
        member.start(local(KVD)).args(["--peers", "a:7000,b:7000,c:7000"]).args(self.flags)
    }

    async fn leader(&self, client: &Host, members: &[Host]) -> Result<String> {
        agreed(client, &servers(members)).await
    }

    fn writer(&self, client: &Host, member: &Host, prefix: &str) -> Start {
        let put = format!("{KVCTL} --servers {} --timeout 1s put", server(member));
        client.start(sh(format!(
            "number=0
            while number=$((number + 1)); do
                key={prefix}/$number
                if {put} $key $number > /dev/null 2>&1; then echo acked $key; else echo failed $key; fi
                sleep 0.01
            done"
        )))
    }

    async fn read(&self, client: &Host, member: &Host, prefix: &str) -> Result<BTreeSet<String>> {
        eventually(secs(60), async || agreed(client, "a:7000,b:7000,c:7000").await).await?;
        let listed = client.run([KVCTL, "--servers", &server(member), "list"]).read().await?;
        let keys = listed.lines().filter_map(|line| line.split('\t').next());
        Ok(keys.filter(|key| key.starts_with(prefix)).map(str::to_owned).collect())
    }
}

/// The leader, once every member has applied all that any of them has.
async fn agreed(client: &Host, servers: &str) -> Result<String> {
    let status = client.run([KVCTL, "--servers", servers, "status"]).read().await?;
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

fn servers(members: &[Host]) -> String {
    members.iter().map(server).collect::<Vec<_>>().join(",")
}

fn server(member: &Host) -> String {
    format!("{}:7000", member.name())
}
