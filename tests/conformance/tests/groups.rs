//! Datagrams to many at once, by programs that name no device: to a group that they joined, and to everybody.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use conformance::programs::say;
use netsplit::prelude::*;
use tokio::net::UdpSocket;

const PORT: u16 = 5353;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP6: &str = "ff12::1:2:3";

#[netsplit::program]
async fn member() -> io::Result<()> {
    let four = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    four.join_multicast_v4(GROUP, Ipv4Addr::UNSPECIFIED)?;
    let six = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT + 1)).await?;
    six.join_multicast_v6(&GROUP6.parse().expect("an address"), 0)?;
    say("joined");
    let (mut bytes, mut bytes6) = ([0; 100], [0; 100]);
    loop {
        let count = tokio::select! {
            got = four.recv(&mut bytes) => got?,
            got = six.recv(&mut bytes6) => {
                bytes = bytes6;
                got?
            }
        };
        say(&format!("heard {}", String::from_utf8_lossy(&bytes[..count])));
    }
}

#[netsplit::program]
async fn speaker() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.set_broadcast(true)?;
    socket.send_to(b"group", (GROUP, PORT)).await?;
    socket.send_to(b"all", (Ipv4Addr::BROADCAST, PORT)).await?;
    let six = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await?;
    six.send_to(b"group6", (GROUP6, PORT + 1)).await?;
    Ok(())
}

#[netsplit::test(hosts = 3)]
async fn groups_and_broadcasts_need_no_device(bed: Testbed) -> netsplit::Result {
    let (b, c) = (bed.host("b")?, bed.host("c")?);
    let members = [b.start(member).ready("joined").await?, c.start(member).ready("joined").await?];
    bed.host("a")?.run(speaker).await?;
    for process in &members {
        for word in ["group", "all", "group6"] {
            process.wait_for(format!("^heard {word}$")).since_begin().await?;
        }
    }
    Ok(())
}
