//! Captures: what a network shows of packets becomes packets of a file for Wireshark. Here is which packet stands in which
//! capture, where and with what words, and [`pcapng`], the format. No I/O: a [`Sink`] has that.
//!
//! | view | a packet that was sent | that was given to its receiver | that was dropped |
//! | --- | --- | --- | --- |
//! | all, links | at its sender | at its receiver, once more | the packet at its sender says so |
//! | ports, its sender | at the port | is not there | the packet says so |
//! | ports, its receiver | is not there | at the port | at the port, as if it had been given |
//!
//! **Where** is the interface, one a port. Inbound is what a host sent to the network, outbound what it was given. **When**
//! is when the network took the packet, or handed it over. **Words** (a packet's comment) say what else became of it; a packet
//! that was sent once and is given once has none.
//!
//! A packet may be dropped after it was written: when it has waited (held, or for a line), or when its link is cut while
//! it is under way. A file is written as things happen, in the order of time, so that it stands there once more, outbound
//! at its receiver and at that instant: `dropped: cut, on its way`. That is the one packet which a port's capture has twice.
//!
//! A packet to several ports is one packet at its sender, whose words say for each port what became of it there.

pub mod pcapng;
mod remark;

use std::time::Duration;

pub use remark::Remark;

/// A packet at one point of its way.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'n> {
    /// When, since the network's begin.
    pub at: Duration,
    /// The sender's port.
    pub from: usize,
    /// The receiver's. `None`: it has none, or several.
    pub to: Option<usize>,
    /// Where.
    pub point: Point,
    /// What is to be said of it.
    pub remark: Remark,
    /// Whether it is one of those that were sent to several.
    pub is_shared: bool,
    /// Those of ports, by number.
    pub names: &'n [String],
}

/// Where a packet is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Its sender gave it.
    Sent,
    /// Of what its sender gave for several, the one for `to`.
    SentToOne,
    /// All of these were seen.
    SentToAll,
    /// Its receiver was given it.
    Given,
    /// Its receiver is not given it, though it was sent.
    Missed,
}

/// Which way a packet went, seen from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A host sent it.
    Inbound = 1,
    /// A host was given it, or would have been.
    Outbound = 2,
}

/// Whose packets, with ports by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// All.
    All,
    /// What the host of these ports would see, and what it would have been given.
    Ports(Vec<usize>),
    /// What links were offered, and what they delivered.
    Links {
        /// The sender and the receiver of each.
        pairs: Vec<[usize; 2]>,
        /// The links back, too.
        both_ways: bool,
    },
}

/// A packet for a file.
#[derive(Debug)]
pub struct Packet {
    /// As the sink numbered it.
    pub interface: u32,
    /// Since 1970.
    pub at_ns: u64,
    /// Which way it went.
    pub direction: Direction,
    /// What became of it; empty for one that fared plainly.
    pub comment: String,
    /// Itself, as the network has it.
    pub bytes: Vec<u8>,
}

/// Takes what stands in a capture, in the order of time.
pub trait Sink {
    /// Describes the next interface, and gives its number.
    fn interface(&mut self, name: &str) -> u32;

    /// Takes a packet.
    fn packet(&mut self, packet: Packet);
}

/// A capture: what of all that is seen goes into its sink.
#[derive(Debug)]
pub struct Capture<S> {
    sink: S,
    view: View,
    /// When the network began, since 1970.
    begun: Duration,
    /// Numbers of interfaces, by port.
    interfaces: Vec<Option<u32>>,
    group: Option<Group>,
}

/// A packet to several ports while it is offered to them.
#[derive(Debug, Default)]
struct Group {
    is_seen: bool,
    remarks: Vec<(usize, Remark)>,
    /// What comes behind its sender's packet, although it is known before.
    after: Vec<Packet>,
}

impl Sight<'_> {
    /// The packet's words.
    fn comment(&self) -> String {
        let remark = self.remark;
        if self.point != Point::Missed {
            return remark.to_string();
        }
        let late = if matches!(remark, Remark::Dropped(_)) { ", on its way" } else { "" };
        let to = self.to.filter(|_| self.is_shared).map(|to| format!("to {}: ", self.names[to]));
        format!("{}{remark}{late}", to.unwrap_or_default())
    }
}

impl<S: Sink> Capture<S> {
    /// Begins one. Ports with a name that it is about have an interface from the begin; later ones have theirs with their
    /// first packet.
    pub fn new(sink: S, view: View, begun: Duration, names: &[String]) -> Self {
        let mut capture = Self { sink, view, begun, interfaces: Vec::new(), group: None };
        for port in (0..names.len()).filter(|port| !names[*port].is_empty()) {
            if capture.view.is_about(port) {
                capture.interface(port, names);
            }
        }
        capture
    }

    /// Its sink, which has all that was seen so far.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Takes what is seen, if it is one of its packets; `bytes` tells what the packet is.
    pub fn see(&mut self, sight: &Sight<'_>, bytes: impl Fn() -> Vec<u8>) {
        match sight.point {
            Point::SentToOne => self.note(sight),
            Point::SentToAll => return self.close_group(sight, bytes),
            Point::Sent | Point::Given | Point::Missed => {}
        }
        if let Some((port, direction)) = self.view.place(sight) {
            self.add(sight, port, direction, sight.comment(), bytes());
        }
    }

    /// Keeps what became of a group's packet at one port for the packet at its sender.
    fn note(&mut self, sight: &Sight<'_>) {
        let group = self.group.get_or_insert_default();
        let is_seen = self.view.place(&Sight { point: Point::Sent, ..*sight });
        let Some((_, Direction::Inbound)) = is_seen else { return };
        group.is_seen = true;
        let Some(to) = sight.to else { return };
        // Segments of one super-frame mostly fare alike.
        if sight.remark != Remark::Plain && group.remarks.last() != Some(&(to, sight.remark)) {
            group.remarks.push((to, sight.remark));
        }
    }

    fn close_group(&mut self, sight: &Sight<'_>, bytes: impl Fn() -> Vec<u8>) {
        let group = self.group.take().unwrap_or_default();
        let is_seen = match &self.view {
            View::All => true,
            View::Ports(ports) => ports.contains(&sight.from),
            View::Links { .. } => group.is_seen,
        };
        if is_seen {
            let say = |(to, remark): &(usize, Remark)| format!("to {}: {remark}", sight.names[*to]);
            let comment = group.remarks.iter().map(say).collect::<Vec<_>>().join("; ");
            self.add(sight, sight.from, Direction::Inbound, comment, bytes());
        }
        group.after.into_iter().for_each(|packet| self.sink.packet(packet));
    }

    fn add(&mut self, sight: &Sight<'_>, port: usize, direction: Direction, comment: String, bytes: Vec<u8>) {
        let interface = self.interface(port, sight.names);
        let at_ns = u64::try_from((self.begun + sight.at).as_nanos()).unwrap_or(u64::MAX);
        let packet = Packet { interface, at_ns, direction, comment, bytes };
        match &mut self.group {
            Some(group) => group.after.push(packet),
            None => self.sink.packet(packet),
        }
    }

    /// The number of a port's interface, which is described when it is first used.
    fn interface(&mut self, port: usize, names: &[String]) -> u32 {
        if self.interfaces.len() <= port {
            self.interfaces.resize(port + 1, None);
        }
        *self.interfaces[port].get_or_insert_with(|| self.sink.interface(&names[port]))
    }
}

impl View {
    fn is_about(&self, port: usize) -> bool {
        match self {
            Self::All => true,
            Self::Ports(ports) => ports.contains(&port),
            Self::Links { pairs, .. } => pairs.iter().flatten().any(|end| *end == port),
        }
    }

    /// At which port a packet stands that is seen here, and which way it goes. `None`: nowhere.
    fn place(&self, sight: &Sight<'_>) -> Option<(usize, Direction)> {
        let Sight { from, to, point, remark, .. } = *sight;
        let at_sender = Some((from, Direction::Inbound));
        let at_receiver = to.map(|to| (to, Direction::Outbound));
        let all = || match point {
            Point::Sent => at_sender,
            Point::Given | Point::Missed => at_receiver,
            // What is sent to several stands at its sender when all were seen.
            Point::SentToOne | Point::SentToAll => None,
        };
        match self {
            Self::All => all(),
            Self::Links { pairs, both_ways } => {
                let is_it = |pair: &[usize; 2]| {
                    let ends = to.map(|to| [from, to]);
                    ends == Some(*pair) || *both_ways && ends == Some([pair[1], pair[0]])
                };
                pairs.iter().any(is_it).then(all).flatten()
            }
            Self::Ports(ports) => {
                let (is_from, is_to) = (ports.contains(&from), to.is_some_and(|to| ports.contains(&to)));
                match point {
                    Point::Sent if is_from => at_sender,
                    Point::Sent | Point::SentToOne if is_to && remark.is_end() => at_receiver,
                    Point::Given if is_to => at_receiver,
                    Point::Missed if is_to || is_from => at_receiver,
                    Point::Sent | Point::SentToOne | Point::SentToAll | Point::Given | Point::Missed => None,
                }
            }
        }
    }
}
