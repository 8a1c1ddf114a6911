//! The provider alone: hosts come up, their agents answer, nothing is left.

use std::time::{Duration, Instant};

use netsplit_link::{Config, Link, Priority, Received, SessionId};
use netsplit_model::HostName;
use netsplit_provider::{BedSpec, HostSpec, NetworkSpec, Provider, namespace::Namespace};
use netsplit_wire::message::{Body, Happened, ProcessEvent, Request, Start, tag};
use prost::Message;

async fn run(link: &Link, argv: &[&str]) -> (String, i32) {
    let mut channel = link.open(Priority::Control).await.unwrap();
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    let start = Start { process: "a/test.1".into(), argv, ..Start::default() };
    channel.sender.send_message(&Request::from(Body::Start(start))).await.unwrap();
    let mut output = Vec::new();
    loop {
        match channel.receiver.receive().await {
            Received::Data(tag::STDOUT | tag::STDERR, bytes) => output.extend_from_slice(&bytes),
            Received::Message(message) => match ProcessEvent::decode(message).unwrap().event.unwrap() {
                Happened::Started(_) | Happened::Taken(_) => {}
                Happened::Ended(ended) => {
                    return (String::from_utf8_lossy(&output).into_owned() + &ended.text, ended.number);
                }
            },
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn hosts_come_up_and_answer() {
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let bed = Namespace
        .begin(BedSpec { dir: dir.path().to_owned(), run: "test".into(), network: NetworkSpec::default() })
        .await
        .unwrap_or_else(|e| panic!("{e}"));
    let names = HostName::numbered(3);
    let mut made = Vec::new();
    let specs =
        names.iter().map(|name| HostSpec { name: name.clone(), disk: None, networks: Vec::new() }).collect();
    bed.add_hosts(specs, &mut |host| made.push(host)).await.unwrap_or_else(|e| panic!("{e}"));
    let mut links = Vec::new();
    for host in made {
        let link = Link::dial(Config::default(), SessionId([1; 16]), None, host.transport);
        let connected = tokio::time::timeout(Duration::from_secs(5), link.connected()).await.unwrap();
        if connected.is_err() {
            panic!("{:?} {:?}", connected, bed.event().await);
        }
        assert_eq!(connected, Ok(host.name.to_string()));
        links.push(link);
    }
    println!("ready after {:?}", begun.elapsed());
    println!(
        "{:?}",
        run(&links[0], &["sh", "-c", "id; hostname; cat /etc/hosts; ip a; mount; ls -la / /var; ps aux"])
            .await
            .0
    );
    let (output, code) = run(&links[0], &["ping", "-c", "1", "-W", "1", "b"]).await;
    println!("{output} {code}");
    let begun = Instant::now();
    for link in links {
        link.close();
    }
    let teardown = bed.end().await;
    println!("ended after {:?}", begun.elapsed());
    assert!(teardown.ok, "{teardown:?}");
}
