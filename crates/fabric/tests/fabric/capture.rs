//! Promises of captures: what stands in their files of what hosts did.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use netsplit_fabric::{CaptureFilter, CaptureReport, CaptureSpec, FabricError};
use netsplit_netmodel::{Cause, Condition};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::parse::{Parsed, Seen, parse};
use crate::world::{World, each, eventually};
use crate::{MS, connect, exactly, meet, send, socket, transfer};

/// A capture and its file.
pub(crate) struct Capture<'w> {
    world: &'w World,
    id: u64,
    file: File,
}

impl<'w> Capture<'w> {
    pub(crate) fn begin(world: &'w World, ports: CaptureFilter) -> Self {
        let file = File::from(memfd_create("capture", MemfdFlags::CLOEXEC).unwrap());
        let spec = CaptureSpec { file: file.try_clone().unwrap(), ports, snap_bytes: 0 };
        Self { world, id: world.fabric.capture(spec).unwrap(), file }
    }

    /// What is in the file now.
    fn now(&self) -> Vec<u8> {
        // Not by its place, which is the writer's, too.
        let mut bytes = vec![0; usize::try_from(self.file.metadata().unwrap().len()).unwrap()];
        std::os::unix::fs::FileExt::read_exact_at(&self.file, &mut bytes, 0).unwrap();
        bytes
    }

    pub(crate) fn end(self) -> (CaptureReport, Parsed, File) {
        let report = self.world.fabric.end_capture(self.id).unwrap();
        let bytes = self.now();
        let parsed = parse(&bytes);
        assert!(report.error.is_none(), "{report:?}");
        assert_eq!((report.bytes, report.packets), (bytes.len() as u64, parsed.packets.len() as u64));
        (report, parsed, self.file)
    }
}

fn port(name: &str) -> CaptureFilter {
    CaptureFilter::Ports(vec![name.to_owned()])
}

/// Datagrams of [`send`]: interface, whether it is inbound, comment, and when.
fn datagrams(parsed: &Parsed) -> Vec<(&str, bool, &str, Duration)> {
    let is_one = |seen: &&Seen| seen.bytes.ends_with(b"there");
    let tell = |seen| {
        let Seen { interface, is_inbound, comment, at_ns, .. }: &Seen = seen;
        (&interface[..], *is_inbound, &comment[..], Duration::from_nanos(*at_ns))
    };
    parsed.packets.iter().filter(is_one).map(tell).collect()
}

fn told(parsed: &Parsed) -> Vec<(&str, bool, &str)> {
    datagrams(parsed)
        .into_iter()
        .map(|(interface, is_inbound, comment, _at)| (interface, is_inbound, comment))
        .collect()
}

#[test]
fn a_capture_has_what_links_did() {
    each("capture::a_capture_has_what_links_did", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        meet(a, b);
        let (near, far) = (socket(a, a.v4), socket(b, b.v4));
        let captures = [CaptureFilter::All, port("a"), port("b")].map(|ports| Capture::begin(&world, ports));
        world.set("a", "b", Condition::new().delay(10 * MS));
        send(&near, &far).unwrap();
        exactly(&far, 1);
        world.set("a", "b", Condition::new().duplicate(1.0));
        send(&near, &far).unwrap();
        exactly(&far, 2);
        world.set("a", "b", Condition::new().cut());
        let dropped = || world.link("a", "b").counters.dropped_by(Cause::Cut).packets;
        let before = dropped();
        send(&near, &far).unwrap();
        eventually(|| if dropped() > before { Ok(()) } else { Err("nothing was dropped") });
        let [all, one, other] = captures.map(Capture::end);
        assert_eq!(
            told(&all.1),
            [
                ("a", true, ""),
                ("b", false, ""),
                ("a", true, "duplicated"),
                ("b", false, ""),
                ("b", false, "duplicate"),
                ("a", true, "dropped: cut"),
            ]
        );
        assert_eq!(told(&one.1), [("a", true, ""), ("a", true, "duplicated"), ("a", true, "dropped: cut")]);
        assert_eq!(
            told(&other.1),
            [("b", false, ""), ("b", false, ""), ("b", false, "duplicate"), ("b", false, "dropped: cut")]
        );
        let times: Vec<_> = datagrams(&all.1).into_iter().map(|(.., at)| at).collect();
        assert!(times[1] - times[0] >= 10 * MS, "{times:?}");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert!(now.abs_diff(times[0]) < Duration::from_secs(3600), "{times:?} at {now:?}");
        assert_eq!(all.0.lost, 0);
    });
}

#[test]
fn a_file_has_what_happened_before_its_capture_ends() {
    each("capture::a_file_has_what_happened_before_its_capture_ends", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        meet(a, b);
        let capture = Capture::begin(&world, port("b"));
        let (near, far) = (socket(a, a.v6), socket(b, b.v6));
        send(&near, &far).unwrap();
        eventually(|| match &datagrams(&parse(&capture.now()))[..] {
            [("b", false, "", _)] => Ok(()),
            others => Err(format!("{others:?}")),
        });
        let id = capture.id;
        capture.end();
        let error = world.fabric.end_capture(id).unwrap_err();
        assert!(matches!(error, FabricError::UnknownCapture { .. }), "{error}");
        let nobody =
            CaptureSpec { file: File::open("/dev/null").unwrap(), ports: port("nobody"), snap_bytes: 0 };
        let error = world.fabric.capture(nobody).unwrap_err();
        assert_eq!(error.to_string(), "there is no port `nobody`\ntry: one of a, b");
    });
}

#[test]
fn a_network_that_ends_completes_its_captures() {
    each("capture::a_network_that_ends_completes_its_captures", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        meet(a, b);
        let file = File::from(memfd_create("capture", MemfdFlags::CLOEXEC).unwrap());
        let spec = |ports| CaptureSpec { file: file.try_clone().unwrap(), ports, snap_bytes: 64 };
        let (from, to) = ("a".to_owned(), "b".to_owned());
        world
            .fabric
            .capture(spec(CaptureFilter::Links { links: vec![[from, to]], both_ways: true }))
            .unwrap();
        transfer(connect(a, b), 1 << 20, || ());
        world.fabric.stop().unwrap();
        let mut bytes = Vec::new();
        (&file).seek(SeekFrom::Start(0)).unwrap();
        (&file).read_to_end(&mut bytes).unwrap();
        let parsed = parse(&bytes);
        assert_eq!((parsed.interfaces.len(), parsed.statistics.len()), (2, 2));
        let sent = parsed.packets.iter().filter(|seen| seen.is_inbound && seen.interface == "a");
        assert!(sent.map(|seen| seen.length - 66).sum::<usize>() >= 1 << 20);
    });
}

/// A file that never takes anything.
fn stuck() -> (File, File) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (read.into(), write.into())
}

#[test]
fn a_stuck_file_stops_no_packet() {
    each("capture::a_stuck_file_stops_no_packet", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        let (read, write) = stuck();
        let spec = CaptureSpec { file: write, ports: CaptureFilter::All, snap_bytes: 0 };
        let id = world.fabric.capture(spec).unwrap();
        transfer(connect(a, b), 32 << 20, || ());
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            (&read).read_to_end(&mut bytes).map(|_length| bytes).unwrap()
        });
        let report = world.fabric.end_capture(id).unwrap();
        let parsed = parse(&reader.join().unwrap());
        assert!(report.lost > 0 && report.packets > 0, "{report:?}");
        assert_eq!(parsed.statistics.iter().map(|[_received, lost]| lost).sum::<u64>(), report.lost);
    });
}

/// Lines of what `tshark` reads in a file: these fields, with tabs between them. `None`, having said why, without it.
fn tshark(file: &File, words: &[&str], fields: &[&str]) -> Option<Vec<String>> {
    (&*file).seek(SeekFrom::Start(0)).unwrap();
    let mut command = Command::new("tshark");
    command.args(["-n", "-r", "-"]).args(words).args(["-T", "fields"]);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    match command.stdin(Stdio::from(file.try_clone().unwrap())).env("LC_ALL", "C").output() {
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{errors}");
            Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("tshark: {error}"),
    }
}

#[test]
fn wireshark_reads_a_capture() {
    each("capture::wireshark_reads_a_capture", 2, |world| {
        let [a, b] = &world.hosts[..] else { unreachable!("two were asked for") };
        meet(a, b);
        let capture = Capture::begin(&world, CaptureFilter::All);
        transfer(connect(a, b), 1 << 20, || ());
        world.set("a", "b", Condition::new().reject());
        let (near, far) = (socket(a, a.v4), socket(b, b.v4));
        near.connect(far.local_addr().unwrap()).unwrap();
        near.send(b"there").unwrap();
        near.recv(&mut [0; 64]).unwrap_err();
        let (report, parsed, file) = capture.end();
        let fields = ["frame.time_epoch", "frame.interface_name", "frame.comment", "ip.src"];
        let Some(lines) = tshark(&file, &[], &fields) else {
            return println!("skipped: `tshark` is not installed");
        };
        assert_eq!(lines.len() as u64, report.packets);
        for (line, seen) in lines.iter().zip(&parsed.packets) {
            let at = format!("{}.{:09}", seen.at_ns / 1_000_000_000, seen.at_ns % 1_000_000_000);
            let begin = format!("{at}\t{}\t{}\t", seen.interface, seen.comment);
            assert!(line.starts_with(&begin), "`{line}` for `{begin}`");
        }
        assert!(lines.iter().any(|line| line.ends_with("\ta\trejected\t10.0.0.1")), "{lines:#?}");
        let checks = ["ip.check_checksum", "tcp.check_checksum", "udp.check_checksum"]
            .map(|name| format!("{name}:TRUE"));
        let words: Vec<&str> = checks.iter().flat_map(|check| ["-o", check]).collect();
        let bad = "tcp.checksum.status == 0 || udp.checksum.status == 0 || ip.checksum.status == 0 || _ws.malformed";
        let lines = tshark(
            &file,
            &[&words[..], &["-Y", bad]].concat(),
            &["frame.number", "frame.comment", "_ws.col.Info"],
        );
        assert_eq!(lines.unwrap(), Vec::<String>::new());
    });
}
