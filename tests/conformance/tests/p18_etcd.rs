//! P18 on a real service: etcd on three hosts keeps every write that it acknowledged, whatever is done to its members, and
//! takes writes again when it is over.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use conformance::matrix::{Case, Cluster, Service, nothing_is_missing};
use conformance::programs::say;
use netsplit::prelude::*;
use netsplit::{Error, Reason, Result, Start};
use serde_json::{Value, json};

/// Where clients are served, and how long one is kept waiting.
const CLIENTS: u16 = 2379;
const TIMEOUT: Duration = secs(1);

#[netsplit::test(
    hosts(member = ["a", "b", "c"], client = ["client"]),
    needs = ["network", "pause", "kill", "programs"]
)]
async fn etcd_keeps_what_it_acknowledged(bed: Testbed) -> Result {
    let client = bed.host("client")?;
    for program in ["etcd", "etcdctl"] {
        let found = client.run(sh(format!("command -v {program}"))).exits(Exit::Any).await?;
        if found.code() != Some(0) {
            return Err(Error::new(Reason::MissingCapability, format!("{program} is not installed")));
        }
    }
    let cluster = Cluster::start(&bed, &Etcd).await?;
    nothing_is_missing(&cluster.survives(&Case::all(), |_| false).await?)
}

struct Etcd;

impl Service for Etcd {
    fn start(&self, member: &Host) -> Start {
        member.start(
            "etcd --name %{host} --data-dir /var/lib/etcd --logger zap --log-outputs stderr
            --heartbeat-interval 50 --election-timeout 500 --pre-vote
            --initial-cluster a=http://a:2380,b=http://b:2380,c=http://c:2380 --initial-cluster-token %{run}
            --listen-peer-urls http://%{address}:2380 --initial-advertise-peer-urls http://%{host}:2380
            --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls http://%{host}:2379",
        )
    }

    async fn leader(&self, client: &Host, members: &[Host]) -> Result<String> {
        let urls: Vec<_> = members.iter().map(url).collect();
        let asked = ["etcdctl", "--endpoints", &urls.join(","), "endpoint", "status", "-w", "json"];
        let said = client.run(asked).within(secs(10)).read().await?;
        let statuses: Vec<Value> = serde_json::from_str(&said).unwrap_or_default();
        let leads = |status: &&Value| {
            let id = &status["Status"]["header"]["member_id"];
            !id.is_null() && statuses.iter().all(|other| other["Status"]["leader"] == *id)
        };
        let leader = statuses.iter().find(leads).filter(|_| statuses.len() == members.len());
        let leader =
            members.iter().find(|member| leader.is_some_and(|status| status["Endpoint"] == url(member)));
        let leader = leader.ok_or_else(|| Error::new(Reason::Expect, format!("no one leader: {said}")));
        leader.map(|leader| leader.name().to_string())
    }

    fn writer(&self, client: &Host, member: &Host, prefix: &str) -> Start {
        client.start(etcd_writer).args([&member.address(), prefix])
    }

    /// A read is linearizable unless it is told otherwise: the member that is asked has by then what a majority has.
    async fn read(&self, client: &Host, member: &Host, prefix: &str) -> Result<BTreeSet<String>> {
        let asked = ["etcdctl", "--endpoints", &url(member), "get", prefix, "--prefix", "--keys-only"];
        let said = client.run(asked).eventually(secs(20)).read().await?;
        Ok(said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
}

fn url(member: &Host) -> String {
    format!("http://{}:{CLIENTS}", member.address())
}

/// `etcd_writer ADDRESS PREFIX`: puts one key after another through one member, each on a connection of its own.
#[netsplit::program]
async fn etcd_writer(arguments: Vec<String>) -> io::Result<()> {
    let [address, prefix] = &arguments[..] else { return Err(io::Error::other("ADDRESS PREFIX")) };
    let member = SocketAddr::new(address.parse().map_err(io::Error::other)?, CLIENTS);
    for number in 1_u64.. {
        let key = format!("{prefix}/{number}");
        match put(member, &key) {
            Ok(true) => say(&format!("acked {key}")),
            Ok(false) | Err(_) => say(&format!("failed {key}")),
        }
        thread::sleep(millis(10));
    }
    Ok(())
}

/// Whether etcd says that it was written, by the gateway that serves its protocol as JSON.
fn put(member: SocketAddr, key: &str) -> io::Result<bool> {
    let body = json!({ "key": base64(key.as_bytes()), "value": base64(key.as_bytes()) }).to_string();
    let mut stream = TcpStream::connect_timeout(&member, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let head = format!(
        "POST /v3/kv/put HTTP/1.1\r\nHost: {member}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let bits =
            (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(chunk.get(at).copied().unwrap_or(0)));
        let digit = |at: usize| match at <= chunk.len() {
            true => char::from(DIGITS[bits >> (18 - 6 * at) & 63]),
            false => '=',
        };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[test]
fn base64_is_that_of_the_rfc() {
    let all = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
    assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
}
