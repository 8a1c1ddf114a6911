//! P7: many commands, one after the other and at once, and much output of many. (A08: testbus's stress test was 128 in
//! sequence)

use conformance::MIB;
use conformance::script::script;
use netsplit::prelude::*;
use tokio::task::JoinSet;

#[netsplit::test(hosts = 1)]
async fn commands_in_sequence(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for number in 0..128 {
        a.run(script(format!("echo {number}"))).await?.expect_stdout(&number.to_string())?;
    }
    Ok(())
}

/// Not even zombies.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn nothing_is_left_of_commands(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    for _ in 0..32 {
        a.run("true").await?;
    }
    a.run(sh("set -- /proc/[0-9]*; [ $# -eq 2 ]")).eventually(secs(5)).await.map(drop)
}

#[netsplit::test(hosts = 4)]
async fn a_thousand_at_once(bed: Testbed) -> netsplit::Result {
    let mut all: JoinSet<netsplit::Result> = JoinSet::new();
    for number in 0..1000 {
        let host = bed.hosts()[number % 4].clone();
        all.spawn(async move {
            let says = format!("echo {number} on %{{host}}; exit {}", number % 3);
            let output = host.run(script(says)).exits(Exit::Any).await?;
            output.expect_stdout(&format!("{number} on {host}"))?;
            assert_eq!(output.code().map(i64::from), Some(number as i64 % 3));
            Ok(())
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.expect("no panic")?;
    }
    Ok(())
}

#[netsplit::test(hosts = 2)]
async fn much_output_of_many_at_once(bed: Testbed) -> netsplit::Result {
    let mut all: JoinSet<netsplit::Result> = JoinSet::new();
    for number in 0..20 {
        let host = bed.hosts()[number % 2].clone();
        all.spawn(async move {
            let letter = char::from(b'a' + u8::try_from(number).expect("a letter"));
            let much = format!("repeat {} {letter}", 10 * MIB);
            let bytes = host.run(script(much)).await?.stdout_bytes()?;
            assert_eq!(bytes.len(), 10 * MIB);
            assert!(bytes.iter().all(|byte| char::from(*byte) == letter), "another's bytes");
            Ok(())
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.expect("no panic")?;
    }
    Ok(())
}

/// How many hosts greet each other.
const MANY: usize = 100;
/// Whether all have answered is asked again after this.
const AGAIN: Duration = Duration::from_millis(500);

#[netsplit::test(hosts = 100)]
async fn a_hundred_hosts_hear_each_other(bed: Testbed) -> netsplit::Result {
    let mut greeters = Vec::new();
    for host in bed.hosts() {
        greeters.push(host.start(greeter).await?);
    }
    for process in &greeters {
        process.wait_for("heard all").within(secs(60)).await?;
    }
    let report = bed.network().report().await?;
    let is_used = |link: &&netsplit::LinkReport| link.counters.delivered.packets > 0;
    assert_eq!(report.links.iter().filter(is_used).count() + report.links_left_out, MANY * (MANY - 1));
    Ok(())
}

/// Greets all others until each has answered, and answers all.
#[netsplit::program]
async fn greeter(machine: Machine) -> std::io::Result<()> {
    let socket = tokio::net::UdpSocket::bind("0.0.0.0:7000").await?;
    let all = (1..=MANY).map(|number| std::net::Ipv4Addr::new(10, 0, 0, u8::try_from(number).unwrap_or(0)));
    let mut missing: std::collections::BTreeSet<_> = all.collect();
    missing.remove(&machine.address().parse().expect("an address"));
    let mut buffer = [0; 8];
    loop {
        for other in &missing {
            socket.send_to(b"?", (*other, 7000)).await?;
        }
        let until = tokio::time::Instant::now() + AGAIN;
        while let Ok(received) = tokio::time::timeout_at(until, socket.recv_from(&mut buffer)).await {
            let (_, from) = received?;
            match (buffer[0], from.ip()) {
                (b'?', _) => drop(socket.send_to(b"!", from).await?),
                (_, std::net::IpAddr::V4(who)) if missing.remove(&who) && missing.is_empty() => {
                    conformance::programs::say("heard all");
                }
                _ => {}
            }
        }
    }
}
