//! Hosts on more than one network: a host between two routes, a router that is none translates or filters, and links to
//! all of them are cut as any.

use netsplit::Reason;
use netsplit::prelude::*;

/// Whether a ping gets through and back.
async fn pings(from: &Host, to: &str) -> netsplit::Result<bool> {
    let words = ["ping", "-c1", "-W2", to];
    Ok(from.run(words).exits(Exit::Any).await?.code() == Some(0))
}

#[netsplit::test(
    hosts(left = 1, right = 1, middle = 1),
    networks(one = "left, middle", two = "right, middle")
)]
async fn a_host_between_two_networks_routes(bed: Testbed) -> netsplit::Result {
    let [left, right] = [bed.host("left")?, bed.host("right")?];
    assert!(pings(&left, "right").await? && pings(&right, "left").await?);
    assert!(pings(&left, "middle.one").await? && pings(&right, "middle.two").await?);
    left.run("ping -4 -c1 -W2 right").await?;
    let cut = bed.network().cut("middle to right").await?;
    assert!(!pings(&left, "right").await? && pings(&left, "middle").await?);
    let report = bed.network().report().await?;
    assert_eq!((report.faults[0].links, report.faults[0].verified), (1, 1));
    cut.heal().await?;
    assert!(pings(&left, "right").await?);
    // Between them there is nothing to be cut.
    let refused = bed.network().cut("left to right").await.expect_err("they have no network in common");
    assert_eq!(refused.name(), Reason::BadFault);
    assert!(refused.to_string().contains("left and right have no network in common"), "{refused}");
    assert!(bed.network().report().await?.faults.is_empty());
    let middle = bed.host("middle")?;
    middle.kill().await?;
    assert!(!pings(&left, "right").await?);
    middle.restart().await?;
    assert!(pings(&left, "right").await?);
    Ok(())
}

#[netsplit::test(
    hosts(left = 1, right = 1, middle = 1),
    networks(one = "left, middle", two = "right, middle")
)]
async fn a_host_on_two_networks_is_captured_on_both(bed: Testbed) -> netsplit::Result {
    let network = bed.network();
    let captures = [
        bed.host("middle")?.capture().await?,
        network.capture("middle and right").await?,
        network.capture("left and middle").await?,
    ];
    let refused = network.capture("left and right").await.expect_err("they have no network in common");
    assert_eq!(refused.name(), Reason::BadFault);
    assert!(pings(&bed.host("left")?, "right").await?);
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
    let echo = server.start(peer).ready("listening").await?;
    for client in bed.role("client")? {
        let from = client.run(ask).await?;
        from.expect_stdout("10.1.255.1")?;
    }
    assert!(pings(&c1, "server").await? && pings(&c1, "c2").await?);
    assert!(!pings(&server, "c1").await?, "nobody outside knows the way in");
    let cut = bed.network().cut("gw to server").await?;
    assert!(!pings(&c1, "server").await?);
    cut.heal().await?;
    assert!(pings(&c1, "server").await?);
    echo.kill().await?;
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
    let isolated = bed.network().isolate("gw").control().await?;
    assert!(!pings(&client, "server").await?);
    isolated.heal().await?;
    let cut = bed.network().cut("gw and server").control().await?;
    client.run("true").await?;
    let waits = server.run("true").within(secs(60)).into_future();
    assert!(tokio::time::timeout(millis(500), waits).await.is_err(), "it waits");
    cut.heal().await?;
    assert!(pings(&client, "server").await?);
    server.run("true").await.map(drop)
}

#[netsplit::test(
    hosts(office = 1, outside = 1),
    networks(lan = "office", net = "outside"),
    routers(wall(inside = "lan", outside = "net", kind = "firewall"))
)]
async fn a_firewall_lets_out_and_not_in(bed: Testbed) -> netsplit::Result {
    let [office, outside] = [bed.host("office")?, bed.host("outside")?];
    assert!(pings(&office, "outside").await?);
    assert!(!pings(&outside, "office").await?);
    Ok(())
}

/// Tells whoever connects who he is.
#[netsplit::program]
async fn peer(_machine: Machine) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:7000").await?;
    conformance::programs::say("listening");
    loop {
        let (mut stream, from) = listener.accept().await?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, from.ip().to_string().as_bytes()).await?;
    }
}

/// Asks the server who we are.
#[netsplit::program]
async fn ask(_machine: Machine) -> std::io::Result<()> {
    let mut stream = tokio::net::TcpStream::connect("10.1.0.3:7000").await?;
    let mut said = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut said).await?;
    conformance::programs::say(&said);
    Ok(())
}
