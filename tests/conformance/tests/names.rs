//! Hosts are found by name, reach each other over IPv4 and IPv6, and are told apart by their names.

use conformance::programs::{echo_client, echo_server};
use conformance::{fails, run};
use netsplit::Reason;
use netsplit::model::NameError;
use netsplit::prelude::*;
use tokio::task::JoinSet;

/// Has every host talk to every other.
async fn all_talk(bed: &Testbed, each: usize) -> netsplit::Result {
    let hosts = bed.hosts();
    for host in &hosts {
        host.start(echo_server).ready("listening on 7000").await?;
    }
    let mut all: JoinSet<netsplit::Result> = JoinSet::new();
    for (number, host) in hosts.iter().enumerate() {
        for step in 1..=each {
            let (host, other) = (host.clone(), hosts[(number + step) % hosts.len()].clone());
            all.spawn(async move {
                let said = host.run(echo_client).args([other.name().as_str(), "hello"]).read().await?;
                let mut lines: Vec<_> = said.lines().collect();
                lines.sort_unstable();
                assert_eq!(
                    lines,
                    [format!("4: {host} says hello"), format!("6: {host} says hello")],
                    "{other}"
                );
                Ok(())
            });
        }
    }
    while let Some(ended) = all.join_next().await {
        ended.expect("no panic")?;
    }
    Ok(())
}

#[netsplit::test(hosts(server = 2, client = ["alice", "bob"]))]
async fn hosts_reach_each_other_by_name(bed: Testbed) -> netsplit::Result {
    let names: Vec<_> = bed.hosts().iter().map(|host| host.name().to_string()).collect();
    assert_eq!(names, ["server0", "server1", "alice", "bob"]);
    all_talk(&bed, 3).await?;
    // Who is seen to call is who calls.
    let server = bed.host("server0")?;
    for host in bed.hosts() {
        let pattern = format!("connected ({}|{})$", host.address().replace('.', r"\."), host.address6());
        if host != server {
            server.wait_for(pattern).await?;
        }
    }
    Ok(())
}

#[netsplit::program]
async fn addresses_of(names: Vec<String>) -> std::io::Result<()> {
    use std::io::Write;
    use std::net::ToSocketAddrs;
    for name in names {
        let found = (&*name, 7).to_socket_addrs()?.map(|address| address.ip().to_string());
        writeln!(std::io::stdout(), "{}", found.collect::<Vec<_>>().join(" "))?;
    }
    Ok(())
}

/// A program that takes the first address must not find another one on simulated hosts than on others.
#[netsplit::test(hosts = 2)]
async fn a_name_has_its_addresses_in_one_order(bed: Testbed) -> netsplit::Result {
    let [a, b] = [bed.host("a")?, bed.host("b")?];
    let both = |host: &Host| format!("{} {}", host.address6(), host.address());
    let wanted = format!("{}\n{}\n", both(&b), both(&a));
    a.run(addresses_of).args(["b", "a"]).await?.expect_stdout(&wanted)
}

/// Foreign programs find them as well, and themselves.
#[netsplit::test(hosts = 3, needs = ["programs"])]
async fn names_are_known_to_any_program(bed: Testbed) -> netsplit::Result {
    for host in bed.hosts() {
        for other in bed.hosts() {
            for (family, address) in [("ahostsv4", other.address()), ("ahostsv6", other.address6())] {
                let script = format!("getent {family} {other} | cut -d' ' -f1 | head -1");
                host.run(sh(script)).await?.expect_stdout(&address)?;
            }
        }
        host.run("getent hosts localhost").await?;
        host.run("getent hosts no-such-host").exits(2).await?;
    }
    Ok(())
}

/// `resolve NAME`: prints each address of a name once, IPv4 first; fails where there is none.
#[netsplit::program]
async fn resolve(words: Vec<String>) -> std::io::Result<()> {
    let found = tokio::net::lookup_host((words[0].as_str(), 0)).await?;
    let all: std::collections::BTreeSet<_> = found.map(|address| address.ip()).collect();
    all.iter().for_each(|address| conformance::programs::say(&address.to_string()));
    Ok(())
}

#[netsplit::test(hosts = 3)]
async fn names_have_both_addresses(bed: Testbed) -> netsplit::Result {
    for host in bed.hosts() {
        for other in bed.hosts() {
            let wanted = format!("{}\n{}", other.address(), other.address6());
            host.run(resolve).arg(other.name().as_str()).await?.expect_stdout(&wanted)?;
        }
        host.run(resolve).arg("localhost").await?;
        host.run(resolve).arg("no-such-host").exits(1).await?;
        host.run("cat /etc/hostname").await?.expect_stdout(host.name().as_str())?;
    }
    assert_eq!(bed.addresses(7000), "a:7000,b:7000,c:7000");
    Ok(())
}

#[netsplit::test(hosts = 60)]
async fn sixty_hosts_come_up_and_talk(bed: Testbed) -> netsplit::Result {
    all_talk(&bed, 1).await
}

#[netsplit::test(hosts(member = 3, client = ["alice"]))]
async fn hosts_are_selected_by_name_and_role(bed: Testbed) -> netsplit::Result {
    let names = |selector: &str| -> netsplit::Result<String> {
        let hosts = bed.select(selector)?;
        Ok(hosts.iter().map(|host| host.name().to_string()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(names("all")?, "member0 member1 member2 alice");
    assert_eq!(names("member,-member1")?, "member0 member2");
    assert_eq!(names("client")?, "alice");
    let text = fails(bed.host("alise"), Reason::UnknownHost);
    assert!(text.contains("did you mean `alice`?"), "{text}");
    let text = fails(bed.role("members").map(drop), Reason::UnknownHost);
    assert!(text.contains("no role `members`; did you mean `member`?"), "{text}");
    fails(bed.select("member9").map(drop), Reason::UnknownHost);
    Ok(())
}

#[netsplit::test(hosts(member = 2, client = ["alice"]))]
async fn a_host_and_a_role_are_not_taken_for_each_other(bed: Testbed) -> netsplit::Result {
    let text = fails(bed.host("member"), Reason::UnknownHost);
    assert!(text.contains("`member` is no host but the role of member0, member1"), "{text}");
    assert!(text.contains("fix: bed.role(\"member\")"), "{text}");
    assert!(text.contains("names.rs:"), "{text}");
    let text = fails(bed.role("alice"), Reason::UnknownHost);
    assert!(text.contains("`alice` is no role but a host, of the role `client`"), "{text}");
    assert!(text.contains("fix: bed.host(\"alice\")"), "{text}");
    // What is near of the other kind helps nobody.
    let text = fails(bed.host("membe"), Reason::UnknownHost);
    assert!(!text.contains("`member`"), "{text}");
    assert!(fails(bed.select("nobody"), Reason::UnknownHost).contains("names.rs:"));
    Ok(())
}

#[test]
fn a_name_is_given_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut plans = run::plans(3, None);
    plans[2].name = plans[0].name.clone();
    let text = fails(runtime.block_on(run::with("twice", plans, async |_| Ok(()))), Reason::DuplicateName);
    assert!(text.contains("host `a` is named twice") && text.contains("fix: "), "{text}");
}

#[test]
fn a_bad_name_is_none() {
    for bad in ["", "A", "-a", "a-", "1a", "a_b", "a.b", "all", "here", "localhost", &"a".repeat(64)] {
        let error: Result<netsplit::HostName, NameError> = netsplit::HostName::new(bad);
        let text = error.expect_err(bad).to_string();
        assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
    }
}
