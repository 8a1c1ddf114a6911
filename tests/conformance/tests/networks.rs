//! Hosts on more than one network: a host between two routes, a router that is none translates or filters, and links to
//! all of them are cut as any.

use std::io;
use std::net::Ipv6Addr;

use conformance::programs::{PORT, say};
use netsplit::prelude::*;
use netsplit::{Process, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::timeout;

/// Whether a ping gets through and back.
async fn pings(from: &Host, to: &str) -> netsplit::Result<bool> {
    let words = ["ping", "-c1", "-W2", to];
    Ok(from.run(words).exits(Exit::Any).await?.code() == Some(0))
}

/// Has all hosts tell whoever connects who he is.
async fn listen(bed: &Testbed) -> netsplit::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for host in bed.hosts() {
        processes.push(host.start(peer).ready("listening").await?);
    }
    Ok(processes)
}

/// As whom a host that listens sees another, over IPv4 or IPv6; `None`: nothing gets through and back.
async fn seen_as(from: &Host, to: &str, family: u8) -> netsplit::Result<Option<String>> {
    let done = from.run(ask).args([to, &family.to_string()]).exits(Exit::Any).await?;
    Ok((done.code() == Some(0)).then(|| done.stdout().trim().to_owned()))
}

/// Whether a host that listens is reached over both families; `None`: over one of them.
async fn reaches(from: &Host, to: &str) -> netsplit::Result<Option<bool>> {
    let [v4, v6] = [seen_as(from, to, 4).await?.is_some(), seen_as(from, to, 6).await?.is_some()];
    Ok((v4 == v6).then_some(v4))
}

#[netsplit::test(
    hosts(left = 1, right = 1, middle = 1),
    networks(one = "left, middle", two = "right, middle")
)]
async fn a_host_between_two_networks_routes(bed: Testbed) -> netsplit::Result {
    let [left, right] = [bed.host("left")?, bed.host("right")?];
    let _listening = listen(&bed).await?;
    assert_eq!((reaches(&left, "right").await?, reaches(&right, "left").await?), (Some(true), Some(true)));
    for (from, to) in [(&left, "middle.one"), (&right, "middle.two"), (&left, "middle.two")] {
        assert_eq!(reaches(from, to).await?, Some(true), "{from} to {to}");
    }
    // Addresses are of networks: 10.N.0.NUMBER.
    assert_eq!(seen_as(&left, "right", 4).await?.as_deref(), Some("10.0.0.1"));
    assert_eq!(seen_as(&right, "middle", 6).await?.as_deref(), Some("fd6e:7370:0:1::2"));
    let cut = bed.network().cut("middle to right").await?;
    assert_eq!((reaches(&left, "right").await?, reaches(&left, "middle").await?), (Some(false), Some(true)));
    let report = bed.network().report().await?;
    assert_eq!((report.faults[0].links, report.faults[0].verified), (1, 1));
    let links = report.links.iter().map(|link| format!("{} {}", link.from, link.to));
    let links: Vec<_> = links.filter(|link| link.contains("middle")).collect();
    for link in ["left middle", "middle left", "middle@two right", "right middle@two"] {
        assert!(links.iter().any(|known| known == link), "{link}: {links:?}");
    }
    cut.heal().await?;
    assert_eq!(reaches(&left, "right").await?, Some(true));
    // Between them there is nothing to be cut.
    let refused = bed.network().cut("left to right").await.expect_err("they have no network in common");
    assert_eq!(refused.name(), Reason::BadFault);
    assert!(refused.to_string().contains("left and right have no network in common"), "{refused}");
    assert!(bed.network().report().await?.faults.is_empty());
    let middle = bed.host("middle")?;
    middle.kill().await?;
    assert_eq!(reaches(&left, "right").await?, Some(false));
    middle.restart().await?;
    assert_eq!(reaches(&left, "right").await?, Some(true));
    Ok(())
}

#[netsplit::test(
    hosts(left = 1, right = 1, middle = 1),
    networks(one = "left, middle", two = "right, middle")
)]
async fn a_host_on_two_networks_is_captured_on_both(bed: Testbed) -> netsplit::Result {
    let network = bed.network();
    let _listening = listen(&bed).await?;
    let captures = [
        bed.host("middle")?.capture().await?,
        network.capture("middle and right").await?,
        network.capture("left and middle").await?,
    ];
    let refused = network.capture("left and right").await.expect_err("they have no network in common");
    assert_eq!(refused.name(), Reason::BadFault);
    assert_eq!(reaches(&bed.host("left")?, "right").await?, Some(true));
    for capture in captures {
        let path = capture.path().to_owned();
        let report = capture.end().await?;
        // The question and the answer, at either end of each link.
        assert!(report.packets >= 4, "{}: {report:?}", path.display());
    }
    Ok(())
}

#[netsplit::test(
    hosts(client = ["c1", "c2"], server = 1),
    networks(home = "client", net = "server"),
    routers(gw(inside = "home", outside = "net", kind = "home"))
)]
async fn behind_a_home_router_nobody_is_reached_and_all_are_seen_as_one(bed: Testbed) -> netsplit::Result {
    let [c1, server] = [bed.host("c1")?, bed.host("server")?];
    let _listening = listen(&bed).await?;
    for client in bed.role("client")? {
        assert_eq!(seen_as(&client, "server", 4).await?.as_deref(), Some("10.1.255.1"));
        assert_eq!(reaches(&client, "server").await?, Some(true), "IPv6 is not translated");
    }
    assert_eq!(reaches(&c1, "c2").await?, Some(true));
    assert_eq!(reaches(&server, "c1").await?, Some(false), "nobody outside knows the way in");
    let cut = bed.network().cut("gw to server").await?;
    assert_eq!(reaches(&c1, "server").await?, Some(false));
    cut.heal().await?;
    assert_eq!(reaches(&c1, "server").await?, Some(true));
    Ok(())
}

/// A router has no agent: a fault that names one, and cuts us off as well, cuts us off from the hosts that it names.
#[netsplit::test(
    hosts(client = 1, server = 1),
    networks(home = "client", net = "server"),
    routers(gw(inside = "home", outside = "net", kind = "home"))
)]
async fn a_router_in_a_fault_that_cuts_us_off(bed: Testbed) -> netsplit::Result {
    let [client, server] = [bed.host("client")?, bed.host("server")?];
    let _listening = listen(&bed).await?;
    let isolated = bed.network().isolate("gw").control().await?;
    assert_eq!(reaches(&client, "server").await?, Some(false));
    isolated.heal().await?;
    let cut = bed.network().cut("gw and server").control().await?;
    assert_eq!(reaches(&client, "client").await?, Some(true));
    let waits = server.run(ask).args(["server", "4"]).within(secs(60)).into_future();
    assert!(timeout(millis(500), waits).await.is_err(), "it waits");
    cut.heal().await?;
    assert_eq!(reaches(&client, "server").await?, Some(true));
    assert_eq!(reaches(&server, "server").await?, Some(true));
    Ok(())
}

#[netsplit::test(
    hosts(office = 1, outside = 1),
    networks(lan = "office", net = "outside"),
    routers(wall(inside = "lan", outside = "net", kind = "firewall"))
)]
async fn a_firewall_lets_out_and_not_in(bed: Testbed) -> netsplit::Result {
    let [office, outside] = [bed.host("office")?, bed.host("outside")?];
    let _listening = listen(&bed).await?;
    assert_eq!(reaches(&office, "outside").await?, Some(true));
    assert_eq!(seen_as(&office, "outside", 4).await?.as_deref(), Some("10.0.0.1"), "nothing is translated");
    assert_eq!(reaches(&outside, "office").await?, Some(false));
    Ok(())
}

#[netsplit::test(
    hosts(office = 1, left = 1, right = 1, middle = 1),
    networks(lan = "office", one = "left, middle", two = "right, middle"),
    routers(wall(inside = "lan", outside = "one", kind = "firewall")),
    needs = ["programs"]
)]
async fn pings_pass_hosts_and_routers(bed: Testbed) -> netsplit::Result {
    let [office, left, right] = [bed.host("office")?, bed.host("left")?, bed.host("right")?];
    assert!(pings(&left, "right").await? && pings(&right, "left").await?);
    assert!(pings(&office, "left").await? && !pings(&left, "office").await?);
    left.run("ping -4 -c1 -W2 right").await.map(drop)
}

/// Tells whoever connects who he is.
#[netsplit::program]
async fn peer(_machine: Machine) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).await?;
    say("listening");
    loop {
        let (mut stream, from) = listener.accept().await?;
        // Whoever was cut off meanwhile is told nothing.
        let _gone = stream.write_all(from.ip().to_canonical().to_string().as_bytes()).await;
    }
}

/// `ask HOST FAMILY`: asks a host who we are.
#[netsplit::program]
async fn ask(_machine: Machine, arguments: Vec<String>) -> io::Result<()> {
    let [host, family] = &arguments[..] else { return Err(io::ErrorKind::InvalidInput.into()) };
    let mut addresses = lookup_host((host.as_str(), PORT)).await?;
    let address = addresses.find(|address| address.is_ipv4() == (family == "4"));
    let address = address.ok_or_else(|| io::Error::other(format!("{host} has no address of IPv{family}")))?;
    let mut stream = timeout(secs(2), TcpStream::connect(address)).await??;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    say(&said);
    Ok(())
}
