//! Simulated hosts as testbeds: what an agent on one does for a client, power, clocks, disks, and the network between them.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "programs of hosts write, and so does a case")]

mod captures;
#[path = "../../../netmodel/tests/nat/packets.rs"]
#[expect(dead_code, reason = "the translator's tests' packets, of which captures need the reader")]
mod packets;
#[path = "../../../netmodel/tests/capture/parse.rs"]
mod parse;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use netsplit_agent::How;
use netsplit_link::{Channel, Config, Link, Received, SessionId};
use netsplit_model::{HostName, Reason};
use netsplit_netmodel::{Condition, Fault, FaultState, Schedule, Scope};
use netsplit_provider::program::PROGRAMS;
use netsplit_provider::simulated::Simulated;
use netsplit_provider::{
    Bed, BedEvent, BedSpec, ClockFault, DiskFault, FaultSpec, HostSpec, MadeHost, NetworkSpec, Power,
    Program, Provider,
};
use netsplit_sim::{End, Exit};
use netsplit_wire::message::{
    Body, Command as Say, Dial, DialReply, Ended, Entry, Get, Happened, Kind, ProcessCommand, ProcessEvent,
    Put, PutAnswer, PutReply, Request, Start, tag,
};
use prost::Message;

/// Which case this process simulates: there is one simulation a process.
const CASE: &str = "SIMULATED_CASE";
/// Where that process may leave files.
const FOLDER: &str = "SIMULATED_FOLDER";

/// Simulates `body` in a process of its own, and in another: the same happens in both. What each has left in its folder.
#[track_caller]
fn simulate<F: Future<Output = ()>>(
    name: &str,
    body: impl FnOnce() -> F + Send + 'static,
) -> [tempfile::TempDir; 2] {
    if std::env::var(CASE).is_ok_and(|case| case == name) {
        let config = netsplit_sim::Config { seed: 7, limit: Duration::from_secs(3600), ..Default::default() };
        let report = netsplit_sim::run(config, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(body());
        });
        let is_well = report.end == End::Ended(Exit::Code(0));
        if is_well {
            println!("trace {:x}", report.trace);
        } else {
            eprintln!("{report:#?}");
        }
        // Threads of killed processes stay.
        #[expect(clippy::exit, reason = "a simulation ends its process")]
        std::process::exit(if is_well { 0 } else { 1 });
    }
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(this);
    command.args(["--exact", name, "--nocapture"]).env(CASE, name).stderr(Stdio::inherit());
    // One seed, one outcome: in every process, whatever its environment.
    let folders = ["one", "another"].map(|name| tempfile::Builder::new().prefix(name).tempdir().unwrap());
    let traces = folders.each_ref().map(|folder| {
        let output = command.env(FOLDER, folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", output.status);
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().find(|line| line.starts_with("trace ")).unwrap().to_owned()
    });
    assert_eq!(traces[0], traces[1]);
    folders
}

macro_rules! program {
    ($program:ident, $run:expr) => {
        const _: () = {
            #[linkme::distributed_slice(PROGRAMS)]
            static PROGRAM: Program =
                Program { name: concat!("simulated/", stringify!($program)), run: $run };
        };
    };
}
use program;

program!(words, |words: Vec<OsString>| {
    let variable = std::env::var("X").unwrap_or_default();
    println!("{words:?} X={variable} in {}", std::env::current_dir().unwrap().display());
    eprintln!("to stderr");
    words.len().try_into().unwrap()
});
program!(capitals, |_| {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    print!("{}", text.to_uppercase());
    0
});
program!(sleeps, |_| {
    println!("sleeping");
    std::thread::sleep(Duration::from_secs(1000));
    0
});
program!(panics, |_| panic!("the disk is on fire"));
program!(echoes, |_| {
    let listener = TcpListener::bind("[::]:7").unwrap();
    println!("listening");
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 100];
        let count = stream.read(&mut bytes).unwrap();
        stream.write_all(&bytes[..count]).unwrap();
    }
});
// Exits 0 when host `b` echoes in time.
program!(asks, |_| {
    let told = || {
        let address = std::net::ToSocketAddrs::to_socket_addrs("b:7")?.next().unwrap();
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.write_all(b"hello")?;
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).map(|()| bytes)
    };
    let told: std::io::Result<_> = told();
    println!("{told:?}");
    i32::from(!told.is_ok_and(|bytes| bytes == *b"hello"))
});

struct Made {
    bed: Arc<dyn Bed>,
    links: Vec<Link>,
}

async fn make(names: &[&str]) -> Made {
    let network = NetworkSpec::default();
    let bed = Simulated.begin(BedSpec { dir: "/".into(), run: "x".to_owned(), network }).await.unwrap();
    let spec = |name: &&str| HostSpec { name: host(name), disk: None, networks: Vec::new() };
    let mut links = Vec::new();
    bed.add_hosts(names.iter().map(spec).collect(), &mut |made| links.push(dial(made))).await.unwrap();
    for link in &links {
        link.connected().await.unwrap();
    }
    Made { bed, links }
}

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn dial(made: MadeHost) -> Link {
    let number = u8::try_from(made.generation).unwrap();
    Link::dial(quiet(), SessionId([number; 16]), None, made.transport)
}

/// One that is stopped on purpose does not answer.
fn quiet() -> Config {
    Config { heartbeat: None, ..Config::default() }
}

fn start(words: &[&str]) -> Start {
    Start {
        argv: words.iter().map(|word| (*word).to_owned()).collect(),
        env: "X=1\0".to_owned(),
        process: "run.a/x".to_owned(),
        cwd: "/tmp".to_owned(),
        grace_ms: 1000,
        ..Start::default()
    }
}

async fn begin(link: &Link, start: Start) -> Channel {
    link.request(&Request::from(Body::Start(start))).await.unwrap()
}

/// What it wrote to both its outputs, and how it ended.
async fn end(channel: &mut Channel) -> ([String; 2], Ended) {
    let mut output = [Vec::new(), Vec::new()];
    loop {
        match channel.receiver.receive().await {
            Received::Data(tag::STDOUT, bytes) => output[0].extend_from_slice(&bytes),
            Received::Data(_, bytes) => output[1].extend_from_slice(&bytes),
            Received::Message(message) => {
                if let Some(Happened::Ended(ended)) = ProcessEvent::decode(message).unwrap().event {
                    return (output.map(|bytes| String::from_utf8(bytes).unwrap()), ended);
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn run(link: &Link, words: &[&str]) -> ([String; 2], Ended) {
    end(&mut begin(link, start(words)).await).await
}

/// Waits until it has written something.
async fn writes(channel: &mut Channel) -> String {
    loop {
        if let Received::Data(_, bytes) = channel.receiver.receive().await {
            return String::from_utf8(bytes.to_vec()).unwrap();
        }
    }
}

#[test]
fn a_program_has_words_variables_streams_and_an_exit() {
    simulate("a_program_has_words_variables_streams_and_an_exit", || async {
        let made = make(&["a"]).await;
        let ([out, err], ended) = run(&made.links[0], &["words", "one", "two"]).await;
        assert_eq!((ended.how(), ended.number), (How::Exited, 2));
        assert_eq!(out, "[\"one\", \"two\"] X=1 in /tmp\n");
        assert_eq!(err, "to stderr\n");
        let mut channel = begin(&made.links[0], Start { stdin: true, ..start(&["capitals"]) }).await;
        channel.sender.send(tag::STDIN, "hello".into()).await.unwrap();
        channel.sender.send_message(&ProcessCommand::from(Say::StdinEnd(true))).await.unwrap();
        let ([out, _], ended) = end(&mut channel).await;
        assert_eq!((out.as_str(), ended.number), ("HELLO", 0));
        let ([_, err], ended) = run(&made.links[0], &["panics"]).await;
        assert_eq!(ended.number, 101);
        assert!(err.contains("the disk is on fire"), "{err}");
        let (_, ended) = run(&made.links[0], &["cat", "x"]).await;
        assert_eq!(ended.how(), How::NoSuchProgram);
        assert!(ended.text.contains("asks capitals datagrams echoes gives panics"), "{}", ended.text);
        assert!(made.bed.end().await.ok);
    });
}

#[test]
fn processes_end_by_signals_with_their_client_and_with_their_host() {
    simulate("processes_end_by_signals_with_their_client_and_with_their_host", || async {
        let made = make(&["a"]).await;
        let link = &made.links[0];
        for (say, number) in
            [(Say::Signal(15), 15), (Say::Signal(9), 9), (Say::End(false), 15), (Say::End(true), 9)]
        {
            let mut channel = begin(link, start(&["sleeps"])).await;
            assert_eq!(writes(&mut channel).await, "sleeping\n");
            channel.sender.send_message(&ProcessCommand::from(say)).await.unwrap();
            let (_, ended) = end(&mut channel).await;
            assert_eq!((ended.how(), ended.number), (How::Signalled, number));
        }
        let mut channel = begin(link, Start { deadline_ms: 5000, ..start(&["sleeps"]) }).await;
        let begun = netsplit_sim::now();
        assert_eq!(end(&mut channel).await.1.how(), How::TimedOut);
        assert_eq!((netsplit_sim::now() - begun).as_secs(), 5);

        // A second client has an agent of its own, which takes along what it ran.
        let other = made.bed.connect(&host("a")).await.unwrap();
        let other = Link::dial(quiet(), SessionId([9; 16]), None, other);
        let mut channel = begin(&other, start(&["echoes"])).await;
        assert_eq!(writes(&mut channel).await, "listening\n");
        let (_, ended) = run(link, &["echoes"]).await;
        assert_eq!(ended.number, 101, "the port is in use");
        other.close();
        let mut channel = echoes_when_free(link).await;

        made.bed.power(&host("a"), Power::Kill).await.unwrap();
        assert!(matches!(channel.receiver.receive().await, Received::Lost(_)));
        assert!(
            made.bed.connect(&host("a")).await.is_err()
                && made.bed.power(&host("a"), Power::Kill).await.is_err()
        );
        let again = made.bed.start(&host("a")).await.unwrap();
        assert_eq!(again.generation, 2);
        let again = dial(again);
        assert_eq!(run(&again, &["words"]).await.1.number, 0);
    });
}

/// Starts `echoes` as soon as its port is free, and waits until it listens.
async fn echoes_when_free(link: &Link) -> Channel {
    loop {
        let mut channel = begin(link, start(&["echoes"])).await;
        let has_ended = loop {
            match channel.receiver.receive().await {
                Received::Data(tag::STDOUT, _) => break false,
                Received::Message(message) => {
                    if let Some(Happened::Ended(_)) = ProcessEvent::decode(message).unwrap().event {
                        break true;
                    }
                }
                _ => {}
            }
        };
        if !has_ended {
            return channel;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_paused_host_does_nothing_until_it_goes_on() {
    simulate("a_paused_host_does_nothing_until_it_goes_on", || async {
        let made = make(&["a"]).await;
        let mut channel = begin(&made.links[0], start(&["sleeps"])).await;
        writes(&mut channel).await;
        made.bed.power(&host("a"), Power::Pause).await.unwrap();
        assert!(made.bed.power(&host("a"), Power::Pause).await.is_err());
        let words = tokio::time::timeout(Duration::from_secs(60), run(&made.links[0], &["words"])).await;
        assert!(words.is_err());
        made.bed.power(&host("a"), Power::Resume).await.unwrap();
        assert_eq!(run(&made.links[0], &["words"]).await.1.number, 0);
        made.bed.power(&host("a"), Power::Pause).await.unwrap();
        made.bed.power(&host("a"), Power::Kill).await.unwrap();
        let again = dial(made.bed.start(&host("a")).await.unwrap());
        assert_eq!(run(&again, &["words"]).await.1.number, 0, "what comes up is not paused");
    });
}

#[test]
fn faults_hold_between_hosts_and_turn_by_themselves() {
    simulate("faults_hold_between_hosts_and_turn_by_themselves", || async {
        let made = make(&["a", "b"]).await;
        let [a, b] = [&made.links[0], &made.links[1]];
        let mut echoes = begin(b, start(&["echoes"])).await;
        writes(&mut echoes).await;
        let (out, ended) = run(a, &["asks"]).await;
        assert_eq!(ended.number, 0, "{out:?}");
        let id = made.bed.begin_fault(cut(&["a"], None)).await.unwrap();
        let faults = made.bed.network().await.unwrap().faults;
        assert_eq!((faults[0].id, faults[0].links, faults[0].verified), (id, 2, 2));
        assert_eq!(run(a, &["asks"]).await.1.number, 1);
        let refused = made.bed.begin_fault(cut(&["a"], None)).await.unwrap_err();
        assert!(refused.text.contains("in force already"), "{refused}");
        let unknown = FaultSpec { name: None, ..cut(&["x"], None) };
        let refused = made.bed.begin_fault(unknown).await.unwrap_err();
        assert!(refused.text.contains("no host `x`"), "{refused}");
        made.bed.heal(id).await.unwrap();
        assert!(made.bed.heal(id).await.is_err());
        assert_eq!(run(a, &["asks"]).await.1.number, 0);

        let begun = netsplit_sim::now();
        let id = made.bed.begin_fault(cut(&["b"], Some(Duration::from_secs(30)))).await.unwrap();
        assert_eq!(run(a, &["asks"]).await.1.number, 1);
        let BedEvent::FaultTurned(turned) = made.bed.event().await else { panic!() };
        assert_eq!((turned.id, turned.state), (id, FaultState::Ended));
        assert_eq!((netsplit_sim::now() - begun).as_secs(), 30);
        assert_eq!(run(a, &["asks"]).await.1.number, 0);
        let report = made.bed.network().await.unwrap();
        assert!(report.faults.is_empty());
        let lost: u64 = report.links.iter().map(|link| link.counters.dropped().packets).sum();
        assert!(report.links.len() == 2 && lost > 0, "{:?}", report.links);
        assert_eq!(report.ports[1].kind.as_deref(), Some("simulated"));
    });
}

fn cut(hosts: &[&str], lasts: Option<Duration>) -> FaultSpec {
    let scope = Scope::Isolate { hosts: hosts.iter().map(|name| (*name).to_owned()).collect() };
    let schedule = Schedule { lasts, ..Schedule::default() };
    let fault = Fault { scope, condition: Condition::new().cut(), schedule };
    FaultSpec { name: Some("cut".to_owned()), what: "isolate".to_owned(), fault, outlives_asker: false }
}

#[test]
fn clients_reach_servers_and_files() {
    simulate("clients_reach_servers_and_files", || async {
        let made = make(&["a"]).await;
        let link = &made.links[0];
        let mut echoes = begin(link, start(&["echoes"])).await;
        writes(&mut echoes).await;
        for (port, is_refused) in [(7, false), (8, true)] {
            let mut channel = link.request(&Request::from(Body::Dial(Dial { port }))).await.unwrap();
            let Received::Message(reply) = channel.receiver.receive().await else { panic!() };
            let refused = DialReply::decode(reply).unwrap().refused;
            assert_eq!(!refused.is_empty(), is_refused, "{refused}");
            if !is_refused {
                channel.sender.send(tag::BYTES, "ping".into()).await.unwrap();
                let Received::Data(_, bytes) = channel.receiver.receive().await else { panic!() };
                assert_eq!(bytes, "ping");
            }
        }
        assert_eq!(get(link, "/etc/hostname").await, "a\n");
        assert!(get(link, "/etc/hosts").await.contains("10.0.0.1 a\nfd6e:7370::1 a\n"));
        // Twice: the second is copied on the host.
        for path in ["/srv/x/one", "/srv/x/two"] {
            put(link, path, b"some bytes").await;
            assert_eq!(get(link, path).await, "some bytes");
        }
    });
}

async fn get(link: &Link, path: &str) -> String {
    let request = Request::from(Body::Get(Get { path: path.to_owned() }));
    let mut channel = link.request(&request).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        match channel.receiver.receive().await {
            Received::Data(_, more) => bytes.extend_from_slice(&more),
            Received::Message(_) => {}
            Received::Finished => return String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

async fn put(link: &Link, path: &str, bytes: &'static [u8]) {
    let entry = Entry {
        path: path.to_owned(),
        kind: Kind::File.into(),
        mode: 0o640,
        size: bytes.len() as u64,
        hash: blake3::hash(bytes).as_bytes().to_vec().into(),
        ..Entry::default()
    };
    let request = Request::from(Body::Put(Put { entries: vec![entry], last: true }));
    let mut channel = link.request(&request).await.unwrap();
    loop {
        let Received::Message(reply) = channel.receiver.receive().await else { panic!() };
        match PutReply::decode(reply).unwrap().answer.unwrap() {
            PutAnswer::Needs(needs) if needs.entries.is_empty() => {}
            PutAnswer::Needs(_) => channel.sender.send(tag::BYTES, bytes.into()).await.unwrap(),
            PutAnswer::Done(_) => return,
            other => panic!("{other:?}"),
        }
    }
}

program!(writes_times, |_| {
    let begun = std::time::Instant::now();
    let wall = std::time::SystemTime::now();
    std::thread::sleep(Duration::from_secs(10));
    println!(
        "{} {}",
        begun.elapsed().as_millis(),
        wall.elapsed().map_or(-1, |time| time.as_secs().cast_signed())
    );
    std::fs::write("/srv/one", "synced")
        .and_then(|()| std::fs::File::open("/srv/one")?.sync_all())
        .map_or(1, |()| 0)
});

#[test]
fn clocks_and_disks_are_each_hosts_own() {
    simulate("clocks_and_disks_are_each_hosts_own", || async {
        let made = make(&["a", "b"]).await;
        let [a, b] = [&made.links[0], &made.links[1]];
        let mut channel = begin(a, start(&["writes_times"])).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let jump = ClockFault::Jump { nanos: 3600 * 1_000_000_000 };
        made.bed.change_clock(&host("a"), jump).await.unwrap();
        let ([out, err], ended) = end(&mut channel).await;
        assert_eq!((out.as_str(), ended.number), ("10000 3610\n", 0), "{err}");
        let full = made.bed.begin_disk_fault(&host("a"), DiskFault::Full).await.unwrap();
        assert_eq!(run(a, &["writes_times"]).await.1.number, 1);
        made.bed.heal_disk_fault(full).await.unwrap();
        assert_eq!(run(a, &["writes_times"]).await.1.number, 0);
        let ([out, _], ended) = run(b, &["writes_times"]).await;
        assert_eq!((out.as_str(), ended.number), ("10000 10\n", 0));
        // What was synced is there after a loss of power.
        made.bed.power(&host("b"), Power::Kill).await.unwrap();
        let b = dial(made.bed.start(&host("b")).await.unwrap());
        assert_eq!(get(&b, "/srv/one").await, "synced");
    });
}

#[test]
fn what_a_simulation_does_not_have_is_said() {
    simulate("what_a_simulation_does_not_have_is_said", || async {
        let made = make(&["a"]).await;
        assert_eq!(made.bed.keep().await.unwrap_err().name, Reason::MissingCapability);
        for (start, text) in [
            (Start { user: "nobody".to_owned(), ..start(&["words"]) }, "no user `nobody` on a"),
            (Start { cwd: "/none".to_owned(), ..start(&["words"]) }, "the working directory `/none` is not"),
        ] {
            let (_, ended) = end(&mut begin(&made.links[0], start).await).await;
            assert!(ended.how() == How::NotStarted && ended.text.contains(text), "{ended:?}");
        }
    });
}

#[test]
fn a_host_without_its_agent_is_no_host() {
    simulate("a_host_without_its_agent_is_no_host", || async {
        let made = make(&["a", "b"]).await;
        made.links[0].close();
        let died = BedEvent::HostDied(host("a"), "its agent exited 0".to_owned());
        assert_eq!(made.bed.event().await, died);
        assert!(made.bed.power(&host("a"), Power::Kill).await.unwrap_err().text.contains("it is down"));
        let again = dial(made.bed.start(&host("a")).await.unwrap());
        assert_eq!(run(&again, &["words"]).await.1.number, 0);
        // Whom the test switches off is not lost.
        made.bed.power(&host("b"), Power::Kill).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(9), made.bed.event()).await.is_err());
        made.bed.end().await;
        assert_eq!(made.bed.event().await, BedEvent::Ended("it was ended".to_owned()));
    });
}
