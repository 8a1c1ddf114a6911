//! Links between hosts: each ordered pair on a network has a `netmodel::Link` of its own, made when it is first used.
//! Packets go in; events that give them to their receivers come out. What a receiver does with one is not known here.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use netsplit_netmodel::capture::{Point, Remark};
use netsplit_netmodel::{Behaviour, Cause, Counters, Delivery, Fate, Link, Passage};

use super::capture::{self, Watcher};
use super::hosts::{Hop, NetworkIndex};
use super::packet::{Body, Fragment, Packet, Pool, UDP_HEADER, Unreachable};
use super::{Event, HostIndex, NEVER, NOBODY, Nanos, Outbox};

/// The network between hosts.
pub(super) struct Wires {
    seed: u64,
    pub(super) pool: Pool,
    ends: Vec<Ends>,
    /// What links are named by, by number of port.
    names: Vec<String>,
    /// By network.
    tables: Vec<Table>,
    wires: Vec<Wire>,
    datagrams_ever: u64,
    pub(super) delays: Delays,
    pub(super) watcher: Option<Watcher>,
    /// Packets with a flipped bit, which their receivers' checksums found.
    pub(super) corrupted: u64,
}

/// A host as its links know it.
struct Ends {
    name: String,
    /// The number of its port on each of its networks.
    ports: Vec<(NetworkIndex, usize)>,
    /// Whether it sends on what is for others.
    is_router: bool,
}

/// The wires of a network.
#[derive(Default)]
struct Table {
    /// Hosts that there is room for, in each direction.
    stride: usize,
    /// By sender and receiver; 0 where there is no wire yet, else one more than its index.
    numbers: Vec<u32>,
}

/// How long packets take where nothing was asked for: time must pass, or programs that answer each other at once would never
/// let it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// Between hosts, beside what a link's condition says.
    pub network: Nanos,
    /// From a host to itself.
    pub loopback: Nanos,
}

impl Default for Delays {
    /// Two machines on one switch; two processes on one machine.
    fn default() -> Self {
        Self { network: 50_000, loopback: 10_000 }
    }
}

/// A link and the packets in its queue.
struct Wire {
    hop: Hop,
    /// Whether its receiver sends on what is for others.
    is_to_router: bool,
    link: Link,
    queue: VecDeque<Box<Packet>>,
    /// When the kernel has it looked at next.
    armed: Nanos,
}

/// The IP packets of an Ethernet, and those of a host to itself.
pub(super) const MTU: usize = 1500;
pub(super) const MTU_LOOPBACK: usize = 65_536;

/// Three questions, a second each (`mcast_solicit`, `retrans_time`).
pub(super) const NEIGHBOUR_TIMEOUT: Nanos = 3_000_000_000;

impl Wires {
    pub(super) fn new(seed: u64, delays: Delays) -> Self {
        Self {
            seed,
            pool: Pool::default(),
            ends: Vec::new(),
            names: Vec::new(),
            tables: Vec::new(),
            wires: Vec::new(),
            datagrams_ever: 0,
            delays,
            watcher: None,
            corrupted: 0,
        }
    }

    pub(super) fn add_network(&mut self) {
        self.tables.push(Table::default());
    }

    /// Adds a host with its networks, and what its links on each are named by.
    pub(super) fn add_host(&mut self, name: &str, networks: Vec<(NetworkIndex, String)>, is_router: bool) {
        let hosts = self.ends.len() + 1;
        let mut ports = Vec::new();
        for (network, port) in networks {
            self.tables[network.at()].make_room(hosts);
            ports.push((network, self.names.len()));
            self.names.push(port);
        }
        self.ends.push(Ends { name: name.to_owned(), ports, is_router });
    }

    pub(super) fn name(&self, host: HostIndex) -> &str {
        &self.ends[host.at()].name
    }

    /// The ports of a host, by number, with their names.
    pub(super) fn ports(&self, host: HostIndex) -> impl Iterator<Item = (usize, &str)> {
        self.ends[host.at()].ports.iter().map(|(_, port)| (*port, self.names[*port].as_str()))
    }

    /// The ports of both ends of a step, which is on a network that both are on.
    pub(super) fn ports_of(&self, hop: Hop) -> [usize; 2] {
        [hop.from, hop.to].map(|host| {
            let ports = &self.ends[host.at()].ports;
            let at = ports.iter().find(|(network, _)| *network == hop.network);
            at.expect("a host on the network of its links").1
        })
    }

    /// The names of the ports of both ends.
    pub(super) fn names_of(&self, hop: Hop) -> [&str; 2] {
        self.ports_of(hop).map(|port| self.names[port].as_str())
    }

    /// By their numbers.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// The index of the wire of a pair.
    #[inline]
    fn wire(&mut self, hop: Hop) -> u32 {
        match self.tables[hop.network.at()].number(hop) {
            0 => self.make(hop),
            number => number - 1,
        }
    }

    #[cold]
    fn make(&mut self, hop: Hop) -> u32 {
        let [from, to] = self.names_of(hop);
        let link = Link::new(self.seed, &format!("{from}>{to}"));
        let is_to_router = self.ends[hop.to.at()].is_router;
        self.wires.push(Wire { hop, is_to_router, link, queue: VecDeque::new(), armed: NEVER });
        let number = u32::try_from(self.wires.len()).expect("fewer links than packets");
        self.tables[hop.network.at()].set(hop, number);
        number - 1
    }

    /// What a link does.
    pub(super) fn behaviour(&self, hop: Hop) -> Behaviour {
        let number = self.tables[hop.network.at()].number(hop);
        let wire = (number as usize).checked_sub(1).map(|index| &self.wires[index]);
        wire.map_or_else(Behaviour::default, |wire| *wire.link.behaviour())
    }

    /// Every link that was used or changed, in the order in which they were.
    pub(super) fn links(&self) -> impl Iterator<Item = (Hop, &Behaviour, &Counters)> {
        self.wires.iter().map(|wire| (wire.hop, wire.link.behaviour(), wire.link.counters()))
    }

    pub(super) fn change(&mut self, now: Nanos, out: &mut Outbox, hop: Hop, behaviour: Behaviour) {
        let index = self.wire(hop);
        self.wires[index as usize].link.change(Duration::from_nanos(now), behaviour);
        self.release(now, out, index);
    }

    /// Whether several segments may pass a pair's link as one. To routers each goes by itself: the next link may not take
    /// them otherwise.
    #[inline]
    pub(super) fn takes_super(&mut self, hop: Hop) -> bool {
        if hop.is_loopback() || hop.to == NOBODY {
            return true;
        }
        let index = self.wire(hop);
        let wire = &self.wires[index as usize];
        let behaviour = wire.link.behaviour();
        !wire.is_to_router
            && behaviour.is_plain()
            && behaviour.passage() != Passage::Hold
            && wire.queue.is_empty()
    }

    /// Sends a packet. A datagram that is too long for the link's packets goes in parts.
    #[inline]
    pub(super) fn send(&mut self, now: Nanos, out: &mut Outbox, packet: Box<Packet>) {
        let hop = packet.hop;
        if hop.is_loopback() {
            out.timers.push((now + self.delays.loopback, Event::arrival(packet)));
        } else if hop.to == NOBODY {
            self.find_nobody(now, out, packet);
        } else if packet.length() as usize > MTU && matches!(packet.body, Body::Udp) && !self.takes_super(hop)
        {
            self.send_parts(now, out, packet);
        } else {
            self.offer(now, out, packet);
        }
    }

    /// Nobody answers who has the address, and the sender's own host says so.
    #[cold]
    fn find_nobody(&mut self, now: Nanos, out: &mut Outbox, mut packet: Box<Packet>) {
        packet.hop = Hop::loopback(packet.hop.from);
        if let Some(answer) = self.pool.refusal(&packet, Unreachable::Host) {
            out.timers.push((now + NEIGHBOUR_TIMEOUT, Event::arrival(answer)));
        }
        self.pool.give_back(packet);
    }

    #[cold]
    fn send_parts(&mut self, now: Nanos, out: &mut Outbox, mut packet: Box<Packet>) {
        let payload = mem::take(&mut packet.payload);
        let datagram = self.datagrams_ever;
        self.datagrams_ever += 1;
        let checksum = if self.watcher.is_some() {
            capture::udp_checksum([packet.source, packet.destination], &payload)
        } else {
            0
        };
        let extension = if packet.destination.ip.is_v4() { 0 } else { 8 };
        // Parts begin at multiples of eight bytes.
        let most = (MTU - packet.ip_header() as usize - extension) / 8 * 8;
        let mut offset = 0;
        while offset < payload.len() {
            let header = if offset == 0 { UDP_HEADER as usize } else { 0 };
            let end = payload.len().min(offset + most - header);
            packet.body = Body::Fragment(Fragment { datagram, offset, total: payload.len(), checksum });
            let mut part = self.pool.copy(&packet);
            part.payload.extend_from_slice(&payload[offset..end]);
            self.offer(now, out, part);
            offset = end;
        }
        self.pool.give_back(packet);
    }

    #[inline]
    fn offer(&mut self, now: Nanos, out: &mut Outbox, packet: Box<Packet>) {
        let index = self.wire(packet.hop);
        let wire = &mut self.wires[index as usize];
        let fate = wire.link.offer(Duration::from_nanos(now), packet.length());
        if self.watcher.is_some() {
            let is_held = wire.link.behaviour().passage() == Passage::Hold;
            let point = if packet.is_shared { Point::SentToOne } else { Point::Sent };
            self.see(now, &packet, point, Remark::of_fate(&fate, is_held));
        }
        match fate {
            Fate::Sent { first, duplicate: None } => self.travel(out, index, first, packet),
            Fate::Queued => {
                self.wires[index as usize].queue.push_back(packet);
                self.arm(out, index);
            }
            fate => self.carry_out(now, out, index, fate, packet),
        }
    }

    #[inline]
    fn travel(&mut self, out: &mut Outbox, index: u32, delivery: Delivery, mut packet: Box<Packet>) {
        let at = nanos(delivery.at) + self.delays.network;
        packet.way = Some((index, delivery));
        out.timers.push((at, Event::arrival(packet)));
    }

    #[cold]
    fn carry_out(&mut self, now: Nanos, out: &mut Outbox, index: u32, fate: Fate, packet: Box<Packet>) {
        match fate {
            Fate::Queued => unreachable!("what is queued stays where it is"),
            Fate::Dropped(cause) => self.drop(now, out, cause, packet),
            Fate::Sent { first, duplicate } => {
                let second = duplicate.map(|delivery| (delivery, self.pool.copy(&packet)));
                self.travel(out, index, first, packet);
                if let Some((delivery, copy)) = second {
                    self.travel(out, index, delivery, copy);
                }
            }
        }
    }

    /// Drops a packet, and tells its sender if its link rejects. The answer comes from nowhere: no link delays or counts it.
    #[cold]
    fn drop(&mut self, now: Nanos, out: &mut Outbox, cause: Cause, packet: Box<Packet>) {
        if cause == Cause::Reject
            && let Some(answer) = self.pool.refusal(&packet, Unreachable::Port)
        {
            out.timers.push((now + self.delays.loopback, Event::arrival(answer)));
        }
        self.pool.give_back(packet);
    }

    /// Carries out the fates of what may leave a link's queue.
    pub(super) fn release(&mut self, now: Nanos, out: &mut Outbox, index: u32) {
        let at = index as usize;
        while let Some(fate) = self.wires[at].link.release(Duration::from_nanos(now)) {
            let packet = self.wires[at].queue.pop_front().expect("a link releases no more than it queued");
            if let Fate::Dropped(cause) = fate
                && self.watcher.is_some()
            {
                self.see(now, &packet, Point::Missed, Remark::Dropped(cause));
            }
            self.carry_out(now, out, index, fate, packet);
        }
        self.arm(out, index);
    }

    /// The kernel is to look at a link when its oldest packet may leave.
    fn arm(&mut self, out: &mut Outbox, index: u32) {
        let wire = &mut self.wires[index as usize];
        let Some(deadline) = wire.link.deadline().map(nanos) else { return };
        if deadline < wire.armed {
            wire.armed = deadline;
            out.timers.push((deadline, Event::release(index)));
        }
    }

    /// At an instant that was armed.
    pub(super) fn on_release(&mut self, now: Nanos, out: &mut Outbox, index: u32) {
        self.wires[index as usize].armed = NEVER;
        self.release(now, out, index);
    }

    /// Ends a packet's way, at a host that takes packets or does not. `None`: its link or a checksum dropped it.
    #[inline]
    pub(super) fn arrive(
        &mut self,
        now: Nanos,
        out: &mut Outbox,
        mut packet: Box<Packet>,
        takes: bool,
    ) -> Option<Box<Packet>> {
        let Some((index, delivery)) = packet.way.take() else {
            if self.watcher.is_some() && !packet.hop.is_loopback() {
                self.see(now, &packet, Point::Given, Remark::Answer);
            }
            return Some(packet);
        };
        let flipped_bit = delivery.flipped_bit;
        let remark = self.watcher.is_some().then(|| Remark::of_delivery(&delivery));
        let arrival = self.wires[index as usize].link.arrive(delivery);
        if let Some(remark) = remark {
            match arrival {
                Ok(()) if takes => self.see(now, &packet, Point::Given, remark),
                Ok(()) => self.see(now, &packet, Point::Missed, Remark::NOT_TAKEN),
                Err(cause) => self.see(now, &packet, Point::Missed, Remark::Dropped(cause)),
            }
        }
        if let Err(cause) = arrival {
            self.drop(now, out, cause, packet);
            return None;
        }
        if flipped_bit.is_some() {
            self.corrupted += 1;
            self.pool.give_back(packet);
            return None;
        }
        Some(packet)
    }

    /// Answers a packet that nobody takes, on the way that it came.
    pub(super) fn refuse(&mut self, now: Nanos, out: &mut Outbox, packet: Box<Packet>, what: Unreachable) {
        if let Some(answer) = self.pool.refusal(&packet, what) {
            self.send(now, out, answer);
        }
        self.pool.give_back(packet);
    }

    /// All that a host sent to several was offered to their links.
    pub(super) fn see_all(&mut self, now: Nanos, packet: &Packet) {
        let [from, _] = self.ports_of(packet.hop);
        if let Some(watcher) = &mut self.watcher {
            capture::show(watcher, &self.names, (now, packet), (from, None), Point::SentToAll, Remark::Plain);
        }
    }

    #[cold]
    fn see(&mut self, now: Nanos, packet: &Packet, point: Point, remark: Remark) {
        let [from, to] = self.ports_of(packet.hop);
        if let Some(watcher) = &mut self.watcher {
            capture::show(watcher, &self.names, (now, packet), (from, Some(to)), point, remark);
        }
    }
}

impl Table {
    fn make_room(&mut self, hosts: usize) {
        if hosts <= self.stride {
            return;
        }
        let stride = hosts.next_power_of_two().max(16);
        let mut numbers = vec![0; stride * stride];
        for (row, old) in numbers.chunks_mut(stride).zip(self.numbers.chunks(self.stride.max(1))) {
            row[..old.len()].copy_from_slice(old);
        }
        (self.stride, self.numbers) = (stride, numbers);
    }

    /// Both ends of a hop are on the network, so that there is room.
    #[inline]
    fn number(&self, hop: Hop) -> u32 {
        self.numbers[hop.from.at() * self.stride + hop.to.at()]
    }

    fn set(&mut self, hop: Hop, number: u32) {
        self.numbers[hop.from.at() * self.stride + hop.to.at()] = number;
    }
}

fn nanos(time: Duration) -> Nanos {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER)
}
