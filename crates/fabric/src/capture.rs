//! Captures of a segment: what it shows of frames goes to the captures that run. Which frame stands in which, where and with
//! what words is [`netsplit_netmodel::capture`]'s, and no I/O is here: a [`writer`] of its own thread has that.
//!
//! **When** is when the fabric read a frame, or handed it over. Super-frames stand as they came; where a link takes them
//! apart, their segments do. Checksums that a host left to its device are finished.

pub(crate) mod writer;

use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime};

pub(crate) use netsplit_netmodel::capture::{Capture, Point, Remark, Sight, View};

use writer::{Item, Queue};

/// What to capture, and where to.
#[derive(Debug)]
pub struct CaptureSpec {
    /// Takes the packets, in the format pcapng, from where it stands. A slow one is waited for when the capture or the
    /// fabric ends.
    pub file: File,
    /// Whose packets.
    pub ports: CaptureFilter,
    /// How many bytes are kept of each packet. 0: all.
    pub snap_bytes: u32,
}

/// Which packets a capture has.
///
/// Each packet stands on the interface of a port, with a comment if it did not fare plainly: `dropped: cut`, `rejected`,
/// `held`, `duplicated`, `corrupted`; for frames to several ports `to b: dropped: cut`. A packet that is dropped after
/// it was sent, because it waited or was under way, stands there a second time, on its receiver's interface: `dropped:
/// lost, on its way`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaptureFilter {
    /// All: each packet when it was sent, inbound on its sender's interface, and when it was delivered, outbound on its
    /// receiver's. Between the two lies its delay.
    All,
    /// What the host of these ports, one on each of its networks, would see, each packet once: those it sent, with what
    /// became of them, and those it was given. And, with a comment, those to it that were dropped.
    Ports(Vec<String>),
    /// What links were offered and what they delivered, as for [`All`](Self::All).
    Links {
        /// The sender's and the receiver's port of each.
        links: Vec<[String; 2]>,
        /// The links back, too.
        both_ways: bool,
    },
}

/// What a capture has written.
#[derive(Debug)]
pub struct CaptureReport {
    /// Packets in the file.
    pub packets: u64,
    /// Packets that are missing there: the file did not take them in time, or failed before.
    pub lost: u64,
    /// How long the file is.
    pub bytes: u64,
    /// Why writing ended early.
    pub error: Option<io::Error>,
}

/// The captures that run. Each has few: they are told apart by their numbers.
#[derive(Debug)]
pub(crate) struct Captures {
    /// When the fabric began, since 1970.
    begun: Duration,
    /// With their numbers.
    captures: Vec<(u64, Capture<Queue>)>,
    id_next: u64,
}

impl Captures {
    pub(crate) fn new(begun: SystemTime) -> Self {
        let begun = begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { begun, captures: Vec::new(), id_next: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.captures.is_empty()
    }

    /// Begins one, and gives its number. Ports that it is about have an interface from the begin.
    pub(crate) fn begin(&mut self, view: View, mut queue: Queue, names: &[String]) -> u64 {
        let id = self.id_next;
        self.id_next += 1;
        queue.control(Item::Begin);
        self.captures.push((id, Capture::new(queue, view, self.begun, names)));
        id
    }

    /// Its writer ends once it has written what is queued.
    pub(crate) fn end(&mut self, id: u64) {
        self.captures.retain(|(other, _)| *other != id);
    }

    #[cold]
    pub(crate) fn see(&mut self, sight: &Sight<'_>, frame: &[u8]) {
        for (_, capture) in &mut self.captures {
            capture.see(sight, || frame.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom};

    use netsplit_netmodel::{Behaviour, Condition};
    use rustix::fs::{MemfdFlags, memfd_create};

    use crate::frame::{self, HEADER, PAYLOAD};
    use crate::parse::{Parsed, parse};
    use crate::segment::{Outlet, Segment};
    use crate::{Limits, Mac};

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const BEGUN: Duration = Duration::from_secs(1_700_000_000);
    const GROUP: Mac = Mac([0xff; 6]);

    /// Hosts `a`, `b`, `c`, numbered from 0, that take what they are given, unless they are down.
    struct World {
        segment: Segment,
        out: Out,
        files: Vec<(File, writer::Inlet)>,
    }

    struct Out {
        captures: Captures,
        down: Option<usize>,
    }

    impl Outlet for Out {
        fn send(&mut self, port: usize, _frame: &[u8]) -> bool {
            self.down != Some(port)
        }

        fn is_watched(&self) -> bool {
            !self.captures.is_empty()
        }

        fn see(&mut self, sight: &Sight<'_>, frame: &[u8]) {
            self.captures.see(sight, frame);
        }
    }

    fn mac(port: usize) -> Mac {
        Mac([2, 0, 0, 0, 0, port.try_into().unwrap()])
    }

    fn file() -> File {
        memfd_create("capture", MemfdFlags::CLOEXEC).unwrap().into()
    }

    impl World {
        fn new(views: impl IntoIterator<Item = View>) -> Self {
            let mut segment = Segment::new(1, Limits { packets: 4, bytes: 1 << 20 });
            (0..3).for_each(|port| assert_eq!(segment.join(["a", "b", "c"][port], "", mac(port)), port));
            let captures = Captures::new(SystemTime::UNIX_EPOCH + BEGUN);
            let mut world = Self { segment, out: Out { captures, down: None }, files: Vec::new() };
            for view in views {
                let (queue, inlet) = writer::queue(1 << 20);
                world.out.captures.begin(view, queue, world.segment.names());
                world.files.push((file(), inlet));
            }
            world
        }

        fn set(&mut self, at_ms: u32, link: [usize; 2], condition: Condition) {
            self.run(at_ms);
            let behaviour = Behaviour::of([&condition]).unwrap();
            self.segment.change(at_ms * MS, link, behaviour, &mut self.out);
        }

        fn send(&mut self, at_ms: u32, from: usize, to: Mac, mark: u8) {
            self.run(at_ms);
            let mut frame = [&[0; HEADER][..], &to.0, &mac(from).0, &[0x12, 0x34, mark]].concat();
            self.segment.receive(at_ms * MS, from, &mut frame, &mut self.out);
        }

        /// What is due by then happens when it is due.
        fn run(&mut self, until_ms: u32) {
            while let Some(at) = self.segment.deadline().filter(|at| *at <= until_ms * MS) {
                assert!(self.segment.step(at, &mut self.out));
            }
        }

        fn parsed(self, snap_bytes: u32) -> Vec<Parsed> {
            drop(self.out);
            let written = |(mut file, inlet): (File, _)| {
                let report = writer::run(file.try_clone().unwrap(), snap_bytes, &inlet);
                file.seek(SeekFrom::Start(0)).unwrap();
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).unwrap();
                let parsed = parse(&bytes);
                assert_eq!((report.bytes, report.packets), (bytes.len() as u64, parsed.packets.len() as u64));
                assert!(report.lost == 0 && report.error.is_none());
                parsed
            };
            self.files.into_iter().map(written).collect()
        }

        /// A line a packet: `12 a< 3 comment` is packet 3, inbound at `a` after 12 ms.
        fn lines(self) -> Vec<Vec<String>> {
            let line = |packet: &crate::parse::Seen| {
                let at = Duration::from_nanos(packet.at_ns) - BEGUN;
                let way = if packet.is_inbound { '<' } else { '>' };
                let mark = packet.bytes.last().unwrap();
                let words =
                    [at.as_millis().to_string(), format!("{}{way}", packet.interface), mark.to_string()];
                format!("{} {}", words.join(" "), packet.comment).trim_end().to_owned()
            };
            let lines = |parsed: &Parsed| parsed.packets.iter().map(line).collect();
            self.parsed(0).iter().map(lines).collect()
        }
    }

    /// What each of these captures has of what `happens`.
    #[track_caller]
    fn check<const N: usize>(views: [View; N], happens: impl FnOnce(&mut World), expected: [&[&str]; N]) {
        let mut world = World::new(views);
        happens(&mut world);
        world.run(1000);
        assert_eq!(world.lines(), expected);
    }

    fn views() -> [View; 4] {
        [View::All, View::Ports(vec![0]), View::Ports(vec![1]), View::Ports(vec![2])]
    }

    #[test]
    fn a_delay_lies_between_two_packets_and_a_host_has_one() {
        check(
            views(),
            |world| {
                world.set(1, [0, 1], Condition::new().delay(10 * MS));
                world.send(2, 0, mac(1), 7);
                world.send(3, 1, mac(0), 8);
            },
            [&["2 a< 7", "3 b< 8", "3 a> 8", "12 b> 7"], &["2 a< 7", "3 a> 8"], &["3 b< 8", "12 b> 7"], &[]],
        );
    }

    #[test]
    fn what_is_dropped_says_so_at_either_end() {
        check(
            views(),
            |world| {
                world.set(1, [0, 1], Condition::new().cut());
                world.send(2, 0, mac(1), 7);
                world.set(3, [0, 1], Condition::new().loss(1.0));
                world.send(4, 0, mac(1), 8);
                world.set(5, [0, 1], Condition::new().reject());
                world.send(6, 0, mac(1), 9);
                world.send(7, 0, mac(9), 10);
            },
            [
                &[
                    "2 a< 7 dropped: cut",
                    "4 a< 8 dropped: lost",
                    "6 a< 9 rejected",
                    "7 a< 10 dropped: no port has its address",
                ],
                &[
                    "2 a< 7 dropped: cut",
                    "4 a< 8 dropped: lost",
                    "6 a< 9 rejected",
                    "7 a< 10 dropped: no port has its address",
                ],
                &["2 b> 7 dropped: cut", "4 b> 8 dropped: lost", "6 b> 9 rejected"],
                &[],
            ],
        );
    }

    #[test]
    fn what_is_dropped_on_its_way_stands_there_when_it_happens() {
        check(
            views(),
            |world| {
                world.set(1, [0, 1], Condition::new().delay(10 * MS));
                world.send(2, 0, mac(1), 7);
                world.set(3, [0, 1], Condition::new().cut());
                world.run(20);
                world.set(20, [0, 1], Condition::new().hold());
                world.send(21, 0, mac(1), 8);
                world.send(22, 0, mac(1), 9);
                world.set(23, [0, 1], Condition::new().cut());
                world.set(24, [0, 1], Condition::new());
                world.out.down = Some(1);
                world.send(25, 0, mac(1), 10);
            },
            [
                &[
                    "2 a< 7",
                    "12 b> 7 dropped: cut, on its way",
                    "21 a< 8 held",
                    "22 a< 9 held",
                    "23 b> 8 dropped: cut, on its way",
                    "23 b> 9 dropped: cut, on its way",
                    "25 a< 10",
                    "25 b> 10 dropped: its host did not take it",
                ],
                &[
                    "2 a< 7",
                    "12 b> 7 dropped: cut, on its way",
                    "21 a< 8 held",
                    "22 a< 9 held",
                    "23 b> 8 dropped: cut, on its way",
                    "23 b> 9 dropped: cut, on its way",
                    "25 a< 10",
                    "25 b> 10 dropped: its host did not take it",
                ],
                &[
                    "12 b> 7 dropped: cut, on its way",
                    "23 b> 8 dropped: cut, on its way",
                    "23 b> 9 dropped: cut, on its way",
                    "25 b> 10 dropped: its host did not take it",
                ],
                &[],
            ],
        );
    }

    #[test]
    fn what_a_link_alters_says_so() {
        let mut world = World::new([View::All, View::Ports(vec![1])]);
        world.set(1, [0, 1], Condition::new().duplicate(1.0));
        world.send(2, 0, mac(1), 7);
        world.set(3, [0, 1], Condition::new().corrupt(1.0));
        world.send(4, 0, mac(1), 0);
        let lines = world.lines();
        assert_eq!(lines[0][..3], ["2 a< 7 duplicated", "2 b> 7", "2 b> 7 duplicate"]);
        assert_eq!(lines[0][3], "4 a< 0 corrupted");
        let (mark, bit) = lines[0][4].strip_prefix("4 b> ").unwrap().split_once(" corrupted: bit ").unwrap();
        assert_eq!(mark.parse::<u8>().unwrap(), 0x80 >> bit.parse::<u8>().unwrap());
        assert_eq!(lines[1], [1, 2, 4].map(|at| lines[0][at].clone()));
    }

    #[test]
    fn a_frame_to_several_is_one_at_its_sender() {
        check(
            [
                View::All,
                View::Ports(vec![0]),
                View::Ports(vec![1]),
                View::Links { pairs: vec![[0, 2]], both_ways: false },
            ],
            |world| {
                world.send(1, 0, GROUP, 7);
                world.set(2, [0, 1], Condition::new().cut());
                world.send(3, 0, GROUP, 8);
                world.set(4, [0, 2], Condition::new().hold());
                world.send(5, 0, GROUP, 9);
                world.set(6, [0, 2], Condition::new().cut());
            },
            [
                &[
                    "1 a< 7",
                    "1 b> 7",
                    "1 c> 7",
                    "3 a< 8 to b: dropped: cut",
                    "3 c> 8",
                    "5 a< 9 to b: dropped: cut; to c: held",
                    "6 c> 9 to c: dropped: cut, on its way",
                ],
                &[
                    "1 a< 7",
                    "3 a< 8 to b: dropped: cut",
                    "5 a< 9 to b: dropped: cut; to c: held",
                    "6 c> 9 to c: dropped: cut, on its way",
                ],
                &["1 b> 7", "3 b> 8 dropped: cut", "5 b> 9 dropped: cut"],
                &[
                    "1 a< 7",
                    "1 c> 7",
                    "3 a< 8",
                    "3 c> 8",
                    "5 a< 9 to c: held",
                    "6 c> 9 to c: dropped: cut, on its way",
                ],
            ],
        );
    }

    #[test]
    fn a_link_is_one_way_or_both() {
        let link = |both_ways| View::Links { pairs: vec![[0, 1]], both_ways };
        check(
            [link(false), link(true)],
            |world| {
                for (mark, from, to) in [(1, 0, 1), (2, 1, 0), (3, 0, 2), (4, 2, 1)] {
                    world.send(1, from, mac(to), mark);
                }
            },
            [&["1 a< 1", "1 b> 1"], &["1 a< 1", "1 b> 1", "1 b< 2", "1 a> 2"]],
        );
    }

    #[test]
    fn the_fabric_itself_may_be_full() {
        check(
            [View::Ports(vec![0])],
            |world| {
                world.set(1, [0, 1], Condition::new().hold());
                (0..5).for_each(|mark| world.send(2, 0, mac(1), mark));
            },
            [&[
                "2 a< 0 held",
                "2 a< 1 held",
                "2 a< 2 held",
                "2 a< 3 held",
                "2 a< 4 dropped: the fabric was full",
            ]],
        );
    }

    #[test]
    fn packets_are_cut_and_checksums_finished() {
        let mut world = World::new([View::Ports(vec![0])]);
        let mut frame = [&[0; HEADER][..], &mac(1).0, &mac(0).0, &[0x12, 0x34], &[0x12; 40]].concat();
        // From the 14th byte on, in its 17th.
        frame[0] = 1;
        frame[6..8].copy_from_slice(&14u16.to_ne_bytes());
        frame[8..10].copy_from_slice(&16u16.to_ne_bytes());
        world.segment.receive(MS, 0, &mut frame.clone(), &mut world.out);
        let parsed = world.parsed(33).remove(0);
        frame::finish_checksum(&mut frame);
        assert_ne!(frame[PAYLOAD + 16..PAYLOAD + 18], [0x12; 2]);
        let packet = &parsed.packets[0];
        assert_eq!((&packet.bytes[..], packet.length), (&frame[HEADER..HEADER + 33], frame.len() - HEADER));
        assert_eq!((parsed.interfaces, parsed.statistics), (vec!["a".to_owned()], vec![[1, 0]]));
    }
}
