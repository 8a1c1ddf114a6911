//! Captures of simulated links: what stands in their files, which are the same in every process of a seed.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use netsplit_model::Reason;
use netsplit_netmodel::{Condition, Fault, Schedule, Scope};
use netsplit_provider::program::PROGRAMS;
use netsplit_provider::{CaptureFilter, CaptureSpec, FaultSpec, Power, Program};

use crate::packets::{ICMP, ICMPV6, TCP, UDP, read};
use crate::parse::{Parsed, Seen, parse};
use crate::{FOLDER, Made, begin, end, host, make, program, run, simulate, start, writes};

const LENGTH: usize = 300_000;

program!(takes, |_| {
    let listener = TcpListener::bind("[::]:9").unwrap();
    println!("listening");
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    i32::from(stream.read_to_end(&mut bytes).unwrap() != LENGTH)
});
program!(gives, |words: Vec<std::ffi::OsString>| {
    let to = (words[0].to_str().unwrap(), 9);
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(&vec![7; LENGTH]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    i32::from(stream.read(&mut [0]).unwrap() != 0)
});
// A datagram to nobody's port, one in parts, and one to all.
program!(datagrams, |_| {
    let socket = UdpSocket::bind("[::]:0").unwrap();
    for (to, length) in [("b", 5), ("10.0.0.2", 4000), ("fd6e:7370::2", 4001)] {
        socket.send_to(&vec![7; length], (to, 9)).unwrap();
    }
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.send_to(b"to all", (Ipv4Addr::BROADCAST, 9)).map_or(1, |_| 0)
});

/// A file of this process.
fn file(name: &str) -> PathBuf {
    Path::new(&std::env::var_os(FOLDER).unwrap()).join(format!("{name}.pcapng"))
}

async fn capture(made: &Made, name: &str, filter: CaptureFilter) -> u32 {
    let file = File::create_new(file(name)).unwrap();
    made.bed.capture(CaptureSpec { file, filter }).await.unwrap()
}

fn one(name: &str) -> CaptureFilter {
    CaptureFilter::Host(name.to_owned())
}

fn link(from: &str, to: &str, both_ways: bool) -> CaptureFilter {
    CaptureFilter::Link { from: from.to_owned(), to: to.to_owned(), both_ways }
}

async fn fault(made: &Made, from: &str, to: &str, condition: Condition) -> u32 {
    let scope = Scope::OneWay { from: vec![from.to_owned()], to: vec![to.to_owned()] };
    let fault = Fault { scope, condition, schedule: Schedule::default() };
    let spec = FaultSpec { name: None, what: "link".to_owned(), fault, outlives_asker: false };
    made.bed.begin_fault(spec).await.unwrap()
}

/// What was sent has arrived then, and so have answers.
async fn arrive() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn parsed(path: &Path) -> Parsed {
    parse(&fs::read(path).unwrap())
}

/// How many packets of these interfaces say this.
fn count(parsed: &Parsed, interface: &str, comment: &str) -> usize {
    let is_it = |seen: &&Seen| seen.interface == interface && seen.comment == comment;
    parsed.packets.iter().filter(is_it).count()
}

/// Checks sums and lengths of all that nobody has altered; the protocols that there are, and whether some of it
/// goes in parts.
#[track_caller]
fn check_packets(parsed: &Parsed) -> (Vec<u8>, bool) {
    let (mut protocols, mut has_parts) = (Vec::new(), false);
    for seen in parsed.packets.iter().filter(|seen| !seen.comment.contains("corrupted: bit")) {
        let packet = seen.ip().unwrap();
        let is_v4 = packet[0] >> 4 == 4;
        let length = if is_v4 { [packet[2], packet[3]] } else { [packet[4], packet[5]] };
        let length = usize::from(u16::from_be_bytes(length)) + if is_v4 { 0 } else { 40 };
        assert_eq!((length, seen.length), (packet.len(), packet.len()));
        // The sum of what goes in parts is that of the whole, which the simulator's own tests put together.
        let is_part = if is_v4 { packet[6] & 0x3f != 0 || packet[7] != 0 } else { packet[6] == 44 };
        has_parts |= is_part;
        if !is_part {
            protocols.push(read(packet).protocol);
        }
    }
    protocols.sort_unstable();
    protocols.dedup();
    (protocols, has_parts)
}

/// What `tshark` finds wrong in a file. `None`, having said why, without it.
fn complaints(path: &Path) -> Option<String> {
    let bad = "!(frame.comment contains \"corrupted: bit\") && (tcp.checksum.status == 0 || udp.checksum.status == 0 || \
               ip.checksum.status == 0 || icmp.checksum.status == 0 || icmpv6.checksum.status == 0 || _ws.malformed)";
    let checks = ["ip", "tcp", "udp"].map(|protocol| format!("{protocol}.check_checksum:TRUE"));
    let mut command = Command::new("tshark");
    command.args(checks.iter().flat_map(|check| ["-o", check])).args(["-n", "-Y", bad, "-r"]).arg(path);
    match command.env("LC_ALL", "C").output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: `tshark` is not installed");
            None
        }
        Err(error) => panic!("tshark: {error}"),
    }
}

/// What two processes left is the same, and Wireshark finds nothing wrong with it.
fn check_folders(folders: &[tempfile::TempDir; 2], names: &[&str]) {
    for name in names {
        let paths = folders.each_ref().map(|folder| folder.path().join(format!("{name}.pcapng")));
        let [first, second] = paths.each_ref().map(|path| fs::read(path).unwrap());
        assert!(first == second, "two processes of one seed wrote different {name}.pcapng");
        if let Some(complaints) = complaints(&paths[0]) {
            assert_eq!(complaints, "", "{name}.pcapng");
        }
    }
}

#[test]
fn a_capture_has_what_links_did() {
    let folders = simulate("captures::a_capture_has_what_links_did", || async {
        let made = make(&["a", "b", "c"]).await;
        let [a, b] = [&made.links[0], &made.links[1]];
        let ids = [
            capture(&made, "all", CaptureFilter::All).await,
            capture(&made, "c", one("c")).await,
            capture(&made, "a-to-b", link("a", "b", false)).await,
        ];
        let mut takes = begin(b, start(&["takes"])).await;
        writes(&mut takes).await;
        let condition = Condition::new().delay(Duration::from_millis(20)).loss(0.05).duplicate(0.05);
        let shaped = fault(&made, "a", "b", condition.corrupt(0.01)).await;
        let mut gives = begin(a, start(&["gives", "b"])).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let cut = fault(&made, "a", "b", Condition::new().cut()).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        made.bed.heal(cut).await.unwrap();
        assert_eq!([end(&mut gives).await.1.number, end(&mut takes).await.1.number], [0, 0]);
        // A link that does something to packets takes none that is longer than an Ethernet's.
        assert_eq!(run(a, &["datagrams"]).await.1.number, 0);
        made.bed.heal(shaped).await.unwrap();
        let rejected = fault(&made, "a", "c", Condition::new().reject()).await;
        assert_eq!(run(a, &["datagrams"]).await.1.number, 0);
        assert_eq!(run(a, &["gives", "c"]).await.1.number, 101);
        arrive().await;
        made.bed.heal(rejected).await.unwrap();
        // They are there before the capture ends.
        let before = parsed(&file("all"));
        let mut reports = Vec::new();
        for id in ids {
            reports.push(made.bed.end_capture(id).await.unwrap());
        }
        assert_eq!(run(a, &["datagrams"]).await.1.number, 0);
        let [all, c, a_to_b] = ["all", "c", "a-to-b"].map(|name| parsed(&file(name)));
        assert_eq!(before.packets, all.packets);
        assert!(before.statistics.is_empty() && all.statistics.len() == 3);
        for (report, (name, parsed)) in reports.iter().zip([("all", &all), ("c", &c), ("a-to-b", &a_to_b)]) {
            let length = fs::metadata(file(name)).unwrap().len();
            let told = (report.packets, report.lost, report.bytes, &report.error);
            assert_eq!(told, (parsed.packets.len() as u64, 0, length, &None), "{name}");
        }
        assert_eq!(check_packets(&all), (vec![ICMP, TCP, UDP, ICMPV6], true));

        // What the links' counters say of a to b.
        let report = made.bed.network().await.unwrap();
        let counters =
            report.links.iter().find(|link| (&*link.from, &*link.to) == ("a", "b")).unwrap().counters;
        use netsplit_netmodel::Cause;
        let lost = counters.dropped_by(Cause::Loss).packets;
        assert_eq!(count(&a_to_b, "a", "dropped: lost") as u64, lost);
        let cut = ["a", "b"]
            .map(|at| count(&a_to_b, at, "dropped: cut") + count(&a_to_b, at, "dropped: cut, on its way"));
        assert_eq!(cut.iter().sum::<usize>() as u64, counters.dropped_by(Cause::Cut).packets);
        assert!(cut.iter().all(|count| *count > 0) && lost > 0, "{cut:?}, {lost}");
        assert!(count(&a_to_b, "a", "duplicated") > 0 && count(&a_to_b, "b", "duplicate") > 0);
        assert!(
            a_to_b
                .packets
                .iter()
                .any(|seen| seen.interface == "b" && seen.comment.starts_with("corrupted: bit"))
        );

        // A packet takes 20 ms, and what a link takes by itself; it is the same at both ends.
        let tcp = |at: &str| {
            let is_it = |seen: &&Seen| {
                seen.interface == at && seen.ip().is_some_and(|packet| packet[6] == TCP || packet[9] == TCP)
            };
            a_to_b.packets.iter().find(is_it).unwrap().clone()
        };
        let [sent, given] = ["a", "b"].map(tcp);
        assert_eq!(given.at_ns - sent.at_ns, 20_050_000);
        assert!(sent.is_inbound && !given.is_inbound && sent.bytes == given.bytes);
        assert_eq!(sent.at_ns / 1_000_000_000, 1_767_225_600, "runs begin with 2026");

        // A host has what it was given, and would have been.
        assert_eq!(c.interfaces, ["c"]);
        assert!(c.packets.iter().all(|seen| seen.interface == "c"));
        assert!(count(&c, "c", "rejected") > 0);
        // What went to all was one packet at its sender.
        let is_to_all = |seen: &&Seen| seen.bytes.ends_with(b"to all") && seen.interface == "a";
        let told = all.packets.iter().filter(is_to_all).map(|seen| &seen.comment[..]);
        assert_eq!(told.collect::<Vec<_>>(), ["", "to c: rejected"]);
    });
    check_folders(&folders, &["all", "c", "a-to-b"]);
}

#[test]
fn captures_end_with_their_testbed() {
    let folders = simulate("captures::captures_end_with_their_testbed", || async {
        let made = make(&["a", "b"]).await;
        for (filter, text) in [
            (one("x"), "begin a capture: no host `x`"),
            (link("a", "x", true), "no host `x`"),
            (link("a", "a", true), "`a` has no link to itself"),
        ] {
            let spec = CaptureSpec { file: File::create(file("none")).unwrap(), filter };
            let refused = made.bed.capture(spec).await.unwrap_err();
            assert!(refused.name == Reason::BadFault && refused.text.contains(text), "{refused}");
        }
        assert_eq!(fs::metadata(file("none")).unwrap().len(), 0);
        let first = capture(&made, "first", link("a", "b", true)).await;
        capture(&made, "second", one("b")).await;
        made.bed.end_capture(first).await.unwrap();
        assert_eq!(made.bed.end_capture(first).await.unwrap_err().name, Reason::BadFault);
        // One goes on when another ends, and sees that nobody is there.
        made.bed.power(&host("b"), Power::Kill).await.unwrap();
        assert_eq!(run(&made.links[0], &["datagrams"]).await.1.number, 0);
        arrive().await;
        made.bed.end().await;
        let second = parsed(&file("second"));
        assert!(count(&second, "b", "dropped: its host did not take it") > 0, "{:?}", second.packets);
        assert_eq!(second.statistics, [[second.packets.len() as u64, 0]]);
        let full = CaptureSpec { file: File::create("/dev/full").unwrap(), filter: CaptureFilter::All };
        let id = made.bed.capture(full).await.unwrap();
        let report = made.bed.end_capture(id).await.unwrap();
        assert!(report.bytes == 0 && report.error.is_some(), "{report:?}");
    });
    check_folders(&folders, &["first", "second"]);
}
