//! Writes a capture's file: a thread of its own, so that the fabric's waits for no disk, and the queue between them.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime};

use netsplit_netmodel::capture::pcapng::{self, Encoder, LinkType};
use netsplit_netmodel::capture::{Packet, Sink};

use crate::CaptureReport;
use crate::frame::{self, HEADER, PAYLOAD};

/// What may wait for the disk: a 1 Gbit/s stream for an eighth of a second.
pub(crate) const QUEUE_BYTES_MAX: usize = 16 << 20;
/// How old what is not written yet may grow: a run that is killed leaves what happened until then.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// What is written at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What the writer is told.
#[derive(Debug)]
pub(crate) enum Item {
    /// There is a capture: until then nothing is written.
    Begin,
    /// The next interface, by its name.
    Interface(String),
    /// As the fabric has it: with its virtio-net header, and perhaps an unfinished checksum.
    Packet(Packet, /* lost before it, at its interface */ u64),
    /// Nothing follows. How many each interface lost.
    End(Vec<u64>),
}

/// The fabric's end: what it puts in costs no wait. Dropping it lets the writer end.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Without a bound of its own: [`QUEUE_BYTES_MAX`] counts packets with all they take, and a name of each port is all
    /// that comes besides.
    items: Sender<Item>,
    waiting_bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    /// By interface: in all, and since the last packet that was not lost.
    lost: Vec<[u64; 2]>,
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Inlet {
    items: Receiver<Item>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// The writer's state.
#[derive(Debug)]
struct Writer {
    file: File,
    encoder: Encoder,
    /// Packets that are not written yet.
    buffered: u64,
    flushed_at: Instant,
    report: CaptureReport,
}

/// Both ends of a queue that holds `bytes_max`.
pub(crate) fn queue(bytes_max: usize) -> (Queue, Inlet) {
    let (sender, items) = channel();
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    let inlet = Inlet { items, waiting_bytes: Arc::clone(&waiting_bytes) };
    (Queue { items: sender, waiting_bytes, bytes_max, lost: Vec::new() }, inlet)
}

impl Queue {
    /// Puts in what is not counted: it is little and must not be lost.
    pub(crate) fn control(&mut self, item: Item) {
        // The writer ends after us, unless it panicked, which was shown.
        let _panicked = self.items.send(item);
    }
}

impl Sink for Queue {
    fn interface(&mut self, name: &str) -> u32 {
        let number = u32::try_from(self.lost.len()).expect("fewer ports than memory has bytes");
        self.control(Item::Interface(name.to_owned()));
        self.lost.push([0; 2]);
        number
    }

    /// Counts it as lost when there is no room.
    fn packet(&mut self, packet: Packet) {
        let [in_all, before] = &mut self.lost[packet.interface as usize];
        let bytes = held_bytes(&packet);
        if self.waiting_bytes.load(Ordering::Relaxed) + bytes > self.bytes_max {
            *in_all += 1;
            *before += 1;
            return;
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let item = Item::Packet(packet, std::mem::take(before));
        self.control(item);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let lost = self.lost.iter().map(|[in_all, _before]| *in_all).collect();
        self.control(Item::End(lost));
    }
}

/// What a packet takes while it waits.
fn held_bytes(packet: &Packet) -> usize {
    size_of::<Item>() + packet.bytes.capacity() + packet.comment.capacity()
}

/// Writes what comes until nothing more does.
pub(crate) fn run(file: File, snap_bytes: u32, inlet: &Inlet) -> CaptureReport {
    let report = CaptureReport { packets: 0, lost: 0, bytes: 0, error: None };
    let Ok(Item::Begin) = inlet.items.recv() else { return report };
    let encoder = begun(snap_bytes);
    let mut writer = Writer { file, encoder, buffered: 0, flushed_at: Instant::now(), report };
    while let Some(item) = writer.next(inlet) {
        match item {
            Item::Begin => unreachable!("a capture begins once"),
            Item::Interface(name) => {
                // As the queue has numbered it.
                writer.encoder.interface(&name);
            }
            Item::Packet(packet, lost_before) => {
                let bytes = held_bytes(&packet);
                writer.packet(packet, lost_before);
                inlet.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
            Item::End(lost) => writer.end(&lost),
        }
        writer.flush_if_due();
    }
    writer.flush();
    writer.report
}

fn begun(snap_bytes: u32) -> Encoder {
    let system = rustix::system::uname();
    let os = format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy());
    Encoder::new(LinkType::Ethernet, snap_bytes, [&system.machine().to_string_lossy(), &os, "netsplit"])
}

impl Writer {
    /// Waits for the next item. What is in the buffer waits no longer than it may.
    fn next(&mut self, inlet: &Inlet) -> Option<Item> {
        if self.encoder.made().is_empty() {
            return inlet.items.recv().ok();
        }
        match inlet.items.recv_timeout(FLUSH_AFTER) {
            Ok(item) => Some(item),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                self.flush();
                inlet.items.recv().ok()
            }
        }
    }

    fn packet(&mut self, mut packet: Packet, lost_before: u64) {
        if self.report.error.is_some() {
            self.report.lost += 1;
            return;
        }
        if packet.bytes.len() >= PAYLOAD {
            frame::finish_checksum(&mut packet.bytes);
        }
        let Packet { interface, at_ns, direction, comment, bytes } = &packet;
        self.encoder.packet(&pcapng::Packet {
            interface: *interface,
            at_ns: *at_ns,
            direction: *direction,
            bytes: bytes.get(HEADER..).unwrap_or_default(),
            lost_before,
            comment,
        });
        self.buffered += 1;
    }

    fn end(&mut self, lost: &[u64]) {
        self.report.lost += lost.iter().sum::<u64>();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.encoder.end(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), lost);
    }

    fn flush_if_due(&mut self) {
        if self.encoder.made().len() >= BUFFER_BYTES || self.flushed_at.elapsed() >= FLUSH_AFTER {
            self.flush();
        }
    }

    /// After an error nothing more is written: a file with a hole in it could not be read beyond that.
    fn flush(&mut self) {
        if self.report.error.is_none() {
            let made = self.encoder.made();
            match self.file.write_all(made) {
                Ok(()) => {
                    self.report.packets += self.buffered;
                    self.report.bytes += made.len() as u64;
                }
                Err(error) => {
                    self.report.lost += self.buffered;
                    self.report.error = Some(error);
                }
            }
        }
        self.encoder.clear();
        self.buffered = 0;
        self.flushed_at = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Read;

    use netsplit_netmodel::capture::Direction;
    use rustix::pipe::{PipeFlags, pipe_with};

    use crate::parse::parse;

    use super::*;

    fn packet(interface: u32, length: usize) -> Packet {
        let bytes = vec![0; HEADER + length];
        Packet { interface, at_ns: 1, direction: Direction::Inbound, comment: String::new(), bytes }
    }

    fn begin(bytes_max: usize) -> (Queue, Inlet) {
        let (mut queue, inlet) = queue(bytes_max);
        queue.control(Item::Begin);
        assert_eq!(["a", "b"].map(|name| queue.interface(name)), [0, 1]);
        (queue, inlet)
    }

    #[test]
    fn what_finds_no_room_is_counted_where_it_is_missing() {
        let (mut queue, inlet) = begin(3000);
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        (0..3).for_each(|_| queue.packet(packet(0, 1000)));
        queue.packet(packet(1, 1000));
        let waiting = Arc::clone(&queue.waiting_bytes);
        let writer = std::thread::spawn(move || run(write.into(), 0, &inlet));
        while waiting.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
        queue.packet(packet(0, 1000));
        drop(queue);
        let report = writer.join().unwrap();
        let mut file = Vec::new();
        File::from(read).read_to_end(&mut file).unwrap();
        let parsed = parse(&file);
        let packets: Vec<_> =
            parsed.packets.iter().map(|seen| (&seen.interface[..], seen.lost_before)).collect();
        assert_eq!(packets, [("a", 0), ("a", 0), ("a", 1)]);
        assert_eq!(parsed.statistics, [[4, 1], [1, 1]]);
        assert_eq!((report.packets, report.lost, report.bytes), (3, 2, file.len() as u64));
        assert!(report.error.is_none());
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_the_first_error_stays() {
        let full = match OpenOptions::new().write(true).open("/dev/full") {
            Ok(file) => file,
            Err(error) => return println!("skipped: `/dev/full` cannot be opened ({error})"),
        };
        let (mut queue, inlet) = begin(QUEUE_BYTES_MAX);
        (0..10).for_each(|_| queue.packet(packet(0, 100_000)));
        drop(queue);
        let report = run(full, 0, &inlet);
        assert_eq!((report.packets, report.lost, report.bytes), (0, 10, 0));
        assert_eq!(report.error.unwrap().kind(), std::io::ErrorKind::StorageFull);
    }

    #[test]
    fn what_happened_is_in_the_file_while_nothing_more_does() {
        let (mut queue, inlet) = begin(QUEUE_BYTES_MAX);
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let writer = std::thread::spawn(move || run(write.into(), 0, &inlet));
        queue.packet(packet(0, 60));
        let mut file = Vec::new();
        while parse(&file).packets.is_empty() {
            let mut bytes = [0; 4096];
            let length = rustix::io::read(&read, &mut bytes).unwrap();
            file.extend_from_slice(&bytes[..length]);
        }
        drop(queue);
        assert_eq!(writer.join().unwrap().packets, 1);
    }
}
