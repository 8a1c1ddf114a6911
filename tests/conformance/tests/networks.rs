//! Hosts on more than one network: a host between two routes, a router that is none translates or filters, and links to
//! all of them are cut as any.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use conformance::programs::{PORT, say};
use netsplit::prelude::*;
use netsplit::{Process, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket, lookup_host};
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

/// Who may answer a datagram depends on the kind of router; as whom its sender is seen, too.
#[netsplit::test(
    hosts(k1 = 1, k2 = 1, k3 = 1, k4 = 1, k5 = 1, k6 = 1, k7 = 1, server = 1, other = 1),
    networks(
        net = "server, other",
        n1 = "k1",
        n2 = "k2",
        n3 = "k3",
        n4 = "k4",
        n5 = "k5",
        n6 = "k6",
        n7 = "k7"
    ),
    routers(
        r1(inside = "n1", outside = "net", kind = "router"),
        r2(inside = "n2", outside = "net", kind = "full-cone"),
        r3(inside = "n3", outside = "net", kind = "cgnat"),
        r4(inside = "n4", outside = "net", kind = "restricted"),
        r5(inside = "n5", outside = "net", kind = "home"),
        r6(inside = "n6", outside = "net", kind = "symmetric"),
        r7(inside = "n7", outside = "net", kind = "firewall")
    )
)]
async fn who_gets_in_is_as_the_kind_says(bed: Testbed) -> netsplit::Result {
    let [server, other] = [bed.host("server")?, bed.host("other")?];
    let _other = other.start(passes_on).ready("listening").await?;
    let _server = server.start(answers).ready("listening").await?;
    let mut asked = Vec::new();
    for number in 1..=7 {
        asked.push(bed.host(&format!("k{number}"))?.start(calls).await?);
    }
    let wanted = [
        "seen as 10.1.0.1 5000; other other-port same",
        "seen as 10.0.255.2 5000; other other-port same",
        "seen as 10.0.255.3 another; other other-port same",
        "seen as 10.0.255.4 5000; other-port same",
        "seen as 10.0.255.5 5000; same",
        "seen as 10.0.255.6 another; same",
        "seen as 10.7.0.7 5000; same",
    ];
    for (process, wanted) in asked.iter().zip(wanted) {
        process.wait().await?;
        let heard = String::from_utf8_lossy(&process.stdout()?).trim().to_owned();
        assert_eq!(heard, wanted, "{}", process.host());
    }
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

/// Asks the server by a datagram, and says as whom it was seen and what came within a second.
#[netsplit::program]
async fn calls(_machine: Machine) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5000)).await?;
    socket.send_to(b"who am I?", (address_of("server").await?, PORT)).await?;
    let (mut seen, mut words) = (String::new(), BTreeSet::new());
    let mut buffer = [0; 100];
    while let Ok(received) = timeout(secs(1), socket.recv_from(&mut buffer)).await {
        let text = String::from_utf8_lossy(&buffer[..received?.0]).into_owned();
        match text.strip_prefix("same ") {
            Some(address) => {
                let (ip, port) = address.split_once(':').unwrap_or_default();
                seen = format!("{ip} {}", if port == "5000" { port } else { "another" });
                words.insert("same".to_owned());
            }
            None => drop(words.insert(text)),
        }
    }
    let words: Vec<_> = words.into_iter().collect();
    say(&format!("seen as {seen}; {}", words.join(" ")));
    Ok(())
}

/// Tells whoever asks who he is, and has him called from another port and from another host.
#[netsplit::program]
async fn answers(_machine: Machine) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let beside = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT + 1)).await?;
    let other = (address_of("other").await?, PORT);
    say("listening");
    loop {
        let (_, from) = socket.recv_from(&mut [0; 100]).await?;
        socket.send_to(format!("same {from}").as_bytes(), from).await?;
        beside.send_to(b"other-port", from).await?;
        beside.send_to(from.to_string().as_bytes(), other).await?;
    }
}

/// Calls whom it is told to.
#[netsplit::program]
async fn passes_on(_machine: Machine) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    say("listening");
    let mut buffer = [0; 100];
    loop {
        let (length, _) = socket.recv_from(&mut buffer).await?;
        let to = String::from_utf8_lossy(&buffer[..length]).into_owned();
        socket.send_to(b"other", to).await?;
    }
}

async fn address_of(host: &str) -> io::Result<IpAddr> {
    let mut addresses = lookup_host((host, PORT)).await?;
    let address = addresses.find(SocketAddr::is_ipv4).ok_or(io::ErrorKind::NotFound)?;
    Ok(address.ip())
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
