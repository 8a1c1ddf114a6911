//! Captures of simulated links: what the network shows goes into files of this machine. Which packet stands in which file, and
//! with what words, is netmodel's.
//!
//! A packet is written when it is seen, by whoever has the turn then, and takes no virtual time: a simulation that crashes, or is
//! killed, leaves all that happened until then.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use netsplit_netmodel::capture::pcapng::{self, Encoder, LinkType};
use netsplit_netmodel::capture::{Capture, Packet, Sink, View};

use crate::network::CaptureReport;

/// The captures of a testbed.
#[derive(Debug, Default)]
pub(super) struct Captures {
    running: Arc<Mutex<Running>>,
    /// Captures so far.
    ever: u32,
}

type Running = BTreeMap<u32, Capture<Output>>;

/// A capture's file.
#[derive(Debug)]
struct Output {
    file: File,
    encoder: Encoder,
    report: CaptureReport,
}

impl Captures {
    /// Begins one; its number.
    pub(super) fn begin(&mut self, file: File, view: View) -> u32 {
        self.ever += 1;
        let names = netsplit_sim::network(|net, _, _| net.host_names().to_vec());
        let begun = since_1970().saturating_sub(netsplit_sim::now());
        self.lock().insert(self.ever, Capture::new(Output::new(file), view, begun, &names));
        let running = Arc::clone(&self.running);
        netsplit_sim::network(|net, _, _| {
            net.watch(Some(Box::new(move |sight, bytes| {
                for capture in lock(&running).values_mut() {
                    capture.see(sight, bytes);
                }
            })));
        });
        self.ever
    }

    /// Completes the file of one. `None`: there is none of that number.
    pub(super) fn end(&mut self, id: u32) -> Option<CaptureReport> {
        let mut capture = self.lock().remove(&id)?;
        if self.lock().is_empty() {
            netsplit_sim::network(|net, _, _| net.watch(None));
        }
        Some(capture.sink().complete())
    }

    /// Completes the files of all.
    pub(super) fn end_all(&mut self) {
        let all: Vec<_> = self.lock().keys().copied().collect();
        for id in all {
            self.end(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        lock(&self.running)
    }
}

/// It is always free: nobody gives up the turn while he has it.
fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

impl Output {
    fn new(file: File) -> Self {
        // The same on every machine.
        let encoder = Encoder::new(LinkType::Ip, 0, ["x86_64", "Linux (simulated)", "netsplit"]);
        let mut output = Self { file, encoder, report: CaptureReport::default() };
        output.write();
        output
    }

    /// After an error nothing more is written: a file with a hole in it could not be read beyond that.
    fn write(&mut self) {
        let Self { file, encoder, report } = self;
        if report.error.is_none() {
            // The file is this machine's, whosever turn it is.
            match netsplit_sim::outside(|| file.write_all(encoder.made())) {
                Ok(()) => report.bytes += encoder.made().len() as u64,
                Err(error) => report.error = Some(error.to_string()),
            }
        }
        encoder.clear();
    }

    fn complete(&mut self) -> CaptureReport {
        self.encoder.end(u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX), &[]);
        self.write();
        self.report.clone()
    }
}

impl Sink for Output {
    fn interface(&mut self, name: &str) -> u32 {
        // It goes with the first packet.
        self.encoder.interface(name)
    }

    fn packet(&mut self, packet: Packet) {
        let Packet { interface, at_ns, direction, comment, bytes } = &packet;
        self.encoder.packet(&pcapng::Packet {
            interface: *interface,
            at_ns: *at_ns,
            direction: *direction,
            bytes,
            lost_before: 0,
            comment,
        });
        self.write();
        let count =
            if self.report.error.is_none() { &mut self.report.packets } else { &mut self.report.lost };
        *count += 1;
    }
}
