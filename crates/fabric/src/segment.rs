//! Ethernet segments, one a network, on which every directed pair of ports is joined by a link. Frames and time go in,
//! frames and a deadline come out: no I/O, no clock.
//!
//! A frame stays on its network. Those to one address go to its port, broadcast and multicast to all others, each through
//! the link of its own pair; links are made when they are first used. What waits lies in the queue of its link; what is
//! under way lies in one heap, the order of which is time, then coming. Neighbour discovery passes a link that rejects and
//! is not counted by it.
//!
//! A port may be a side of a **box**: what is given to it goes to the box at once, and what the box sends is taken as from
//! a host, before anything else is done.
//!
//! **Super-frames** pass whole a link that is plain, open and has no queue, and count as one packet there. Any other link
//! is offered their segments: made here, of whatever the sender's device still sends whole. What is under way as a
//! super-frame when its link changes stays one packet and keeps its fate, as all packets under way do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use netsplit_netmodel::nat::Side;
use netsplit_netmodel::router::RouterSpec;
use netsplit_netmodel::{Behaviour, Cause, Count, Counters, Delivery, Fate, Link, Passage};

use crate::boxes::{BoxReport, Device};
use crate::buffers::{Buffer, Pool};
use crate::capture::{Point, Remark, Sight};
use crate::frame::{self, PAYLOAD, Segments};
use crate::lateness::Lateness;
use crate::membership::Membership;
use crate::{Limits, Mac, reject};

/// Where frames go out.
pub(crate) trait Outlet {
    /// Hands a frame to port number `port`, for good. Whether its host took it.
    fn send(&mut self, port: usize, frame: &[u8]) -> bool;

    /// Whether anybody wants to [`see`](Self::see) anything. Asked for each frame.
    fn is_watched(&self) -> bool;

    /// Shows a frame, at each point of its way while somebody watches.
    fn see(&mut self, sight: &Sight<'_>, frame: &[u8]);
}

/// What became of frames that no link counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// Sent to an address that no port of its network has, or to a port that is on another network by now.
    pub unaddressed: Count,
    /// With headers that contradict each other.
    pub malformed: Count,
    /// Not offered to their link, because the fabric held as much as it may.
    pub overflow: Count,
    /// Reports about multicast groups, which go only to ports that asked for some.
    pub reports: Count,
}

/// Why frames are dropped that no link dropped, in the words of captures.
const UNADDRESSED: &str = "no port has its address";
const MALFORMED: &str = "malformed";
const OVERFLOW: &str = "the fabric was full";

/// The state of the network.
#[derive(Debug)]
pub(crate) struct Segment {
    seed: u64,
    limits: Limits,
    /// By port number; a name keeps its number.
    names: Vec<String>,
    numbers: BTreeMap<String, usize>,
    /// The network of each port, by number: an index into these names. They are as few as testbeds have networks.
    networks: Vec<usize>,
    network_names: Vec<String>,
    /// By network and address.
    stations: HashMap<(usize, Mac), usize>,
    /// Ports that asked who is in multicast groups.
    queriers: BTreeSet<usize>,
    /// By sender, then receiver.
    wires: Vec<Vec<Option<Box<Wire>>>>,
    /// By the number of the port outside.
    boxes: BTreeMap<usize, BoxHere>,
    /// Of which box a port is a side, by number of port.
    box_sides: Vec<Option<(usize, Side)>>,
    /// What boxes sent, and from which port.
    emitted: VecDeque<(usize, Buffer)>,
    due: BinaryHeap<Reverse<Due>>,
    due_ever: u64,
    pool: Pool,
    scratch: Buffer,
    held: Count,
    strays: Strays,
    lateness: Lateness,
}

/// A link and the frames in its queue.
#[derive(Debug)]
struct Wire {
    link: Link,
    queue: VecDeque<Buffer>,
    /// When the heap has it looked at next.
    armed: Option<Duration>,
}

/// A box, its ports by side, and what passed them.
#[derive(Debug)]
struct BoxHere {
    device: Device,
    ports: [usize; 2],
    received: [Count; 2],
    sent: [Count; 2],
    /// When the heap has it looked at next.
    armed: Option<Duration>,
}

/// Something to do, in the order of time and then of coming.
#[derive(Debug)]
struct Due {
    at: Duration,
    order: u64,
    from: usize,
    to: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Arrive(Delivery, Buffer),
    Release,
    /// The box whose port outside `from` is.
    Box,
}

impl Segment {
    pub(crate) fn new(seed: u64, limits: Limits) -> Self {
        Self {
            seed,
            limits,
            names: Vec::new(),
            numbers: BTreeMap::new(),
            networks: Vec::new(),
            network_names: Vec::new(),
            stations: HashMap::new(),
            queriers: BTreeSet::new(),
            wires: Vec::new(),
            boxes: BTreeMap::new(),
            box_sides: Vec::new(),
            emitted: VecDeque::new(),
            due: BinaryHeap::new(),
            due_ever: 0,
            pool: Pool::default(),
            scratch: Vec::new(),
            held: Count::default(),
            strays: Strays::default(),
            lateness: Lateness::default(),
        }
    }

    /// Makes `name` a port of `network` with address `mac`, and gives its number. A port that left comes back as the one
    /// it was: its links are those of before.
    pub(crate) fn join(&mut self, name: &str, network: &str, mac: Mac) -> usize {
        let number = self.number(name).unwrap_or(self.names.len());
        if number == self.names.len() {
            self.names.push(name.to_owned());
            self.numbers.insert(name.to_owned(), number);
            self.wires.push(Vec::new());
            self.networks.push(0);
            self.box_sides.push(None);
        }
        self.leave(number);
        let known = self.network_names.iter().position(|known| known == network);
        self.networks[number] = known.unwrap_or_else(|| {
            self.network_names.push(network.to_owned());
            self.network_names.len() - 1
        });
        self.stations.insert((self.networks[number], mac), number);
        number
    }

    /// The network of a port.
    pub(crate) fn network(&self, number: usize) -> &str {
        &self.network_names[self.networks[number]]
    }

    /// Has a box stand between two networks. One of the same name leaves for it, with all that it knew.
    ///
    /// # Errors
    /// What is wrong with it; nothing was changed.
    pub(crate) fn join_box(&mut self, spec: &RouterSpec) -> Result<(), String> {
        let device = Device::new(self.seed, spec)?;
        let join = |side: Side| self.join(&spec.port_name(side), &spec.side(side).network, device.mac(side));
        let ports = Side::ALL.map(join);
        let [_, outside] = ports;
        for side in Side::ALL {
            self.box_sides[ports[side as usize]] = Some((outside, side));
        }
        let none = [Count::default(); 2];
        self.boxes.insert(outside, BoxHere { device, ports, received: none, sent: none, armed: None });
        Ok(())
    }

    /// What a port's box sent from it and was given there. `None`: it is no box's.
    pub(crate) fn box_counts(&self, number: usize) -> Option<[Count; 2]> {
        let (outside, side) = self.box_sides[number]?;
        let here = self.boxes.get(&outside)?;
        Some([here.received[side as usize], here.sent[side as usize]])
    }

    /// All boxes, in the order of their ports.
    pub(crate) fn boxes(&self) -> impl Iterator<Item = BoxReport> {
        self.boxes.values().map(|here| here.device.report())
    }

    /// Takes a port's address away. If it is a box's the box leaves.
    pub(crate) fn leave(&mut self, number: usize) {
        if let Some((outside, _)) = self.box_sides[number]
            && let Some(here) = self.boxes.remove(&outside)
        {
            for port in here.ports {
                self.box_sides[port] = None;
                self.leave(port);
            }
        }
        self.stations.retain(|_, station| *station != number);
        self.queriers.remove(&number);
    }

    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn strays(&self) -> Strays {
        self.strays
    }

    pub(crate) fn held(&self) -> Count {
        self.held
    }

    pub(crate) fn lateness(&self) -> &Lateness {
        &self.lateness
    }

    /// Every link that was used or changed, by sender and then receiver.
    pub(crate) fn links(&self) -> impl Iterator<Item = (&str, &str, &Behaviour, &Counters)> {
        self.wires.iter().zip(&self.names).flat_map(|(wires, from)| {
            wires.iter().zip(&self.names).filter_map(move |(wire, to)| {
                let link = &wire.as_ref()?.link;
                Some((from.as_str(), to.as_str(), link.behaviour(), link.counters()))
            })
        })
    }

    /// What a link does.
    pub(crate) fn behaviour(&self, [from, to]: [usize; 2]) -> Behaviour {
        let wire = self.wires[from].get(to).and_then(Option::as_ref);
        wire.map_or_else(Behaviour::default, |wire| *wire.link.behaviour())
    }

    /// Whether a sender's super-frames may pass whole to all others.
    pub(crate) fn passes_super_frames(&self, from: usize) -> bool {
        self.wires[from].iter().flatten().all(|wire| wire.link.behaviour().is_plain())
    }

    /// Whether a link takes time.
    pub(crate) fn takes_time(&self) -> bool {
        self.wires.iter().flatten().flatten().any(|wire| wire.link.behaviour().takes_time())
    }

    /// Changes what a link does.
    pub(crate) fn change(
        &mut self,
        now: Duration,
        [from, to]: [usize; 2],
        behaviour: Behaviour,
        out: &mut impl Outlet,
    ) {
        self.wire(from, to).link.change(now, behaviour);
        self.release(now, from, to, out);
        self.settle(now, out);
    }

    /// When [`Self::step`] is to be called next.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.due.peek().map(|Reverse(due)| due.at)
    }

    /// Does what is due first, if it is due by now. `false`: nothing is.
    pub(crate) fn step(&mut self, now: Duration, out: &mut impl Outlet) -> bool {
        if self.deadline().is_none_or(|at| at > now) {
            return false;
        }
        let Some(Reverse(Due { at, from, to, what, .. })) = self.due.pop() else { return false };
        match what {
            What::Release => {
                self.wire(from, to).armed = None;
                self.release(now, from, to, out);
            }
            What::Arrive(delivery, mut buffer) => {
                self.lateness.add(now - at);
                self.held.packets -= 1;
                self.held.bytes -= buffer.len() as u64;
                self.arrive(now, from, to, delivery, &mut buffer, out);
                self.pool.give_back(buffer);
            }
            What::Box => {
                if let Some(here) = self.boxes.get_mut(&from) {
                    here.armed = None;
                    here.device.tick(now);
                    self.collect(from);
                }
            }
        }
        self.settle(now, out);
        true
    }

    /// Takes a frame that port `from` sent. It may be changed on its way.
    pub(crate) fn receive(&mut self, now: Duration, from: usize, frame: &mut [u8], out: &mut impl Outlet) {
        self.take(now, from, frame, out);
        self.settle(now, out);
    }

    /// Takes what boxes sent, and what they send upon that: it ends, because each hop is counted.
    fn settle(&mut self, now: Duration, out: &mut impl Outlet) {
        while let Some((from, mut buffer)) = self.emitted.pop_front() {
            self.take(now, from, &mut buffer, out);
            self.pool.give_back(buffer);
        }
    }

    /// Hands a frame to the box that has port `to` on one side.
    fn enter_box(&mut self, now: Duration, (outside, side): (usize, Side), frame: &[u8]) {
        let buffer = self.pool.copy(frame);
        if let Some(here) = self.boxes.get_mut(&outside) {
            add(&mut here.sent[side as usize], frame);
            here.device.receive(now, side, buffer);
            self.collect(outside);
        }
    }

    /// Fetches what a box sends, and has the heap look at it when it wants that.
    fn collect(&mut self, outside: usize) {
        let Some(here) = self.boxes.get_mut(&outside) else { return };
        while let Some((side, buffer)) = here.device.transmit() {
            add(&mut here.received[side as usize], &buffer);
            self.emitted.push_back((here.ports[side as usize], buffer));
        }
        if let Some(at) = here.device.deadline()
            && here.armed.is_none_or(|armed| armed > at)
        {
            here.armed = Some(at);
            self.push(at, outside, outside, What::Box);
        }
    }

    fn take(&mut self, now: Duration, from: usize, frame: &mut [u8], out: &mut impl Outlet) {
        let Some(destination) = frame::destination(frame) else {
            add(&mut self.strays.malformed, frame);
            return self.see_sent(now, from, Point::Sent, Remark::Stray(MALFORMED), frame, out);
        };
        if !destination.is_group() {
            match self.stations.get(&(self.networks[from], destination)) {
                Some(to) if *to != from => self.pass(now, [from, *to], Point::Sent, frame, out),
                _ => {
                    add(&mut self.strays.unaddressed, frame);
                    self.see_sent(now, from, Point::Sent, Remark::Stray(UNADDRESSED), frame, out);
                }
            }
            return;
        }
        let is_other = |to: &usize| *to != from && self.networks[*to] == self.networks[from];
        let mut others: BTreeSet<usize> = self.stations.values().copied().filter(is_other).collect();
        match Membership::of(frame) {
            Some(Membership::Query) => drop(self.queriers.insert(from)),
            Some(Membership::Report) => {
                others.retain(|to| self.queriers.contains(to));
                add(&mut self.strays.reports, frame);
            }
            None => {}
        }
        // Each has its own copy: a link may flip a bit.
        let mut copy = self.pool.copy(frame);
        for to in others {
            copy.clear();
            copy.extend_from_slice(frame);
            self.pass(now, [from, to], Point::SentToOne, &mut copy, out);
        }
        self.pool.give_back(copy);
        self.see_sent(now, from, Point::SentToAll, Remark::Plain, frame, out);
    }

    /// Offers a frame, or its segments, to the link of its pair.
    fn pass(
        &mut self,
        now: Duration,
        [from, to]: [usize; 2],
        point: Point,
        frame: &mut [u8],
        out: &mut impl Outlet,
    ) {
        let wire = self.wire(from, to);
        let is_rejected = wire.link.behaviour().passage() == Passage::Reject;
        if is_rejected && reject::is_neighbour_discovery(frame) {
            self.see(now, [from, to], point, Remark::Plain, frame, out);
            self.give(now, [from, to], Remark::Plain, frame, out);
        } else if !frame::is_super(frame) || wire.takes_whole() {
            self.offer(now, [from, to], point, frame, out);
        } else if let Some(mut segments) = Segments::of(frame) {
            let mut scratch = std::mem::take(&mut self.scratch);
            while segments.next_into(&mut scratch) {
                self.offer(now, [from, to], point, &mut scratch, out);
            }
            self.scratch = scratch;
        } else {
            add(&mut self.strays.malformed, frame);
            self.see(now, [from, to], point, Remark::Stray(MALFORMED), frame, out);
        }
    }

    fn offer(
        &mut self,
        now: Duration,
        [from, to]: [usize; 2],
        point: Point,
        frame: &mut [u8],
        out: &mut impl Outlet,
    ) {
        let bytes = frame.len() as u64;
        if self.held.packets >= self.limits.packets || self.held.bytes + bytes > self.limits.bytes {
            add(&mut self.strays.overflow, frame);
            self.see(now, [from, to], point, Remark::Stray(OVERFLOW), frame, out);
            return;
        }
        let link = &mut self.wire(from, to).link;
        let fate = link.offer(now, packet_bytes(frame));
        if out.is_watched() {
            let is_held = link.behaviour().passage() == Passage::Hold;
            self.see(now, [from, to], point, Remark::of_fate(&fate, is_held), frame, out);
        }
        match fate {
            Fate::Queued => {
                let buffer = self.hold(frame);
                self.wire(from, to).queue.push_back(buffer);
                self.arm(from, to);
            }
            fate => self.carry_out(now, from, to, fate, frame, out),
        }
    }

    /// Carries out the fates of what may leave a link's queue.
    fn release(&mut self, now: Duration, from: usize, to: usize, out: &mut impl Outlet) {
        while let Some(fate) = self.wire(from, to).link.release(now) {
            let mut buffer =
                self.wire(from, to).queue.pop_front().expect("a link releases no more than it queued");
            self.held.packets -= 1;
            self.held.bytes -= buffer.len() as u64;
            if let Fate::Dropped(cause) = fate {
                self.see(now, [from, to], Point::Missed, Remark::Dropped(cause), &buffer, out);
            }
            self.carry_out(now, from, to, fate, &mut buffer, out);
            self.pool.give_back(buffer);
        }
        self.arm(from, to);
    }

    fn carry_out(
        &mut self,
        now: Duration,
        from: usize,
        to: usize,
        fate: Fate,
        frame: &mut [u8],
        out: &mut impl Outlet,
    ) {
        match fate {
            Fate::Queued => unreachable!("what is queued stays where it is"),
            Fate::Dropped(cause) => self.refuse(now, [from, to], cause, frame, out),
            Fate::Sent { first, duplicate } => {
                // The second first: the copy that goes out at once may have its bit flipped.
                let second = duplicate.map(|delivery| (delivery, self.hold(frame)));
                self.send(now, from, to, first, frame, out);
                if let Some((delivery, buffer)) = second {
                    self.push(delivery.at, from, to, What::Arrive(delivery, buffer));
                }
            }
        }
    }

    /// Lets one copy travel. What is due now goes at once, unless something else is due before it.
    fn send(
        &mut self,
        now: Duration,
        from: usize,
        to: usize,
        delivery: Delivery,
        frame: &mut [u8],
        out: &mut impl Outlet,
    ) {
        let is_next = delivery.at <= now && self.deadline().is_none_or(|at| at > delivery.at);
        if is_next {
            self.arrive(now, from, to, delivery, frame, out);
        } else {
            let buffer = self.hold(frame);
            self.push(delivery.at, from, to, What::Arrive(delivery, buffer));
        }
    }

    fn arrive(
        &mut self,
        now: Duration,
        from: usize,
        to: usize,
        delivery: Delivery,
        frame: &mut [u8],
        out: &mut impl Outlet,
    ) {
        let (flipped_bit, remark) = (delivery.flipped_bit, Remark::of_delivery(&delivery));
        match self.wire(from, to).link.arrive(delivery) {
            Ok(()) => {
                if let Some(bit) = flipped_bit {
                    frame::flip(frame, bit);
                }
                self.give(now, [from, to], remark, frame, out);
            }
            Err(cause) => {
                self.see(now, [from, to], Point::Missed, Remark::Dropped(cause), frame, out);
                self.refuse(now, [from, to], cause, frame, out);
            }
        }
    }

    /// Answers the sender of a frame that its link rejects. The answer comes from nowhere: no link delays or counts it.
    fn refuse(
        &mut self,
        now: Duration,
        [from, to]: [usize; 2],
        cause: Cause,
        frame: &mut [u8],
        out: &mut impl Outlet,
    ) {
        if cause != Cause::Reject {
            return;
        }
        // An answer quotes it as it would have been on a wire.
        frame::finish_checksum(frame);
        if let Some(answer) = reject::answer(frame) {
            self.give(now, [to, from], Remark::Answer, &answer, out);
        }
    }

    fn give(
        &mut self,
        now: Duration,
        [from, to]: [usize; 2],
        remark: Remark,
        frame: &[u8],
        out: &mut impl Outlet,
    ) {
        if self.networks[from] != self.networks[to] {
            add(&mut self.strays.unaddressed, frame);
            self.see(now, [from, to], Point::Missed, Remark::Stray(UNADDRESSED), frame, out);
        } else if let Some(side) = self.box_sides[to] {
            self.see(now, [from, to], Point::Given, remark, frame, out);
            self.enter_box(now, side, frame);
        } else if out.send(to, frame) {
            self.see(now, [from, to], Point::Given, remark, frame, out);
        } else {
            self.see(now, [from, to], Point::Missed, Remark::NOT_TAKEN, frame, out);
        }
    }

    /// Shows a frame between two ports to who watches.
    #[inline]
    fn see(
        &self,
        at: Duration,
        [from, to]: [usize; 2],
        point: Point,
        remark: Remark,
        frame: &[u8],
        out: &mut impl Outlet,
    ) {
        if out.is_watched() {
            out.see(&self.sight(at, (from, Some(to)), point, remark, frame), frame);
        }
    }

    /// Shows a frame that goes to no port, or to all others.
    fn see_sent(
        &self,
        at: Duration,
        from: usize,
        point: Point,
        remark: Remark,
        frame: &[u8],
        out: &mut impl Outlet,
    ) {
        if out.is_watched() {
            out.see(&self.sight(at, (from, None), point, remark, frame), frame);
        }
    }

    fn sight(
        &self,
        at: Duration,
        (from, to): (usize, Option<usize>),
        point: Point,
        remark: Remark,
        frame: &[u8],
    ) -> Sight<'_> {
        let is_shared = frame::destination(frame).is_some_and(|receiver| receiver.is_group());
        Sight { at, from, to, point, remark, is_shared, names: &self.names }
    }

    fn wire(&mut self, from: usize, to: usize) -> &mut Wire {
        let wires = &mut self.wires[from];
        if wires.len() <= to {
            wires.resize_with(to + 1, || None);
        }
        let (names, seed) = (&self.names, self.seed);
        wires[to].get_or_insert_with(|| {
            let link = Link::new(seed, &format!("{}>{}", names[from], names[to]));
            Box::new(Wire { link, queue: VecDeque::new(), armed: None })
        })
    }

    fn hold(&mut self, frame: &[u8]) -> Buffer {
        self.held.packets += 1;
        self.held.bytes += frame.len() as u64;
        self.pool.copy(frame)
    }

    /// Has the heap look at a link's queue when that may be released.
    fn arm(&mut self, from: usize, to: usize) {
        let wire = self.wire(from, to);
        if let Some(at) = wire.link.deadline()
            && wire.armed.is_none_or(|armed| armed > at)
        {
            wire.armed = Some(at);
            self.push(at, from, to, What::Release);
        }
    }

    fn push(&mut self, at: Duration, from: usize, to: usize, what: What) {
        self.due.push(Reverse(Due { at, order: self.due_ever, from, to, what }));
        self.due_ever += 1;
    }
}

impl Wire {
    fn takes_whole(&self) -> bool {
        let behaviour = self.link.behaviour();
        behaviour.is_plain() && behaviour.passage() != Passage::Hold && self.queue.is_empty()
    }
}

/// What a link counts of a frame: the packet without its Ethernet header.
fn packet_bytes(frame: &[u8]) -> u32 {
    u32::try_from(frame.len().saturating_sub(PAYLOAD)).unwrap_or(u32::MAX)
}

fn add(count: &mut Count, frame: &[u8]) {
    count.packets += 1;
    count.bytes += u64::from(packet_bytes(frame));
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[cfg(test)]
mod tests {
    use netsplit_netmodel::Condition;
    use netsplit_netmodel::nat::NatKind;

    use crate::frame::HEADER;
    use crate::packets;
    use netsplit_netmodel::Route;
    use netsplit_netmodel::router::{RouterDrop, RouterSide};

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LIMITS: Limits = Limits { packets: 10, bytes: 1 << 20 };

    /// What went out: port and the frame's last byte.
    #[derive(Default)]
    struct Out(Vec<(usize, u8)>);

    impl Outlet for Out {
        fn send(&mut self, port: usize, frame: &[u8]) -> bool {
            self.0.push((port, *frame.last().unwrap()));
            true
        }

        fn is_watched(&self) -> bool {
            false
        }

        fn see(&mut self, _sight: &Sight<'_>, _frame: &[u8]) {}
    }

    fn mac(number: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, number])
    }

    fn three() -> Segment {
        let mut segment = Segment::new(1, LIMITS);
        assert_eq!(["a", "b", "c"].map(|name| segment.join(name, "", mac(name.as_bytes()[0]))), [0, 1, 2]);
        segment
    }

    fn frame(to: Mac, mark: u8) -> Vec<u8> {
        [&[0; HEADER][..], &to.0, &[2, 0, 0, 0, 0, 1, 0x12, 0x34, mark]].concat()
    }

    /// Sends marked frames from `a` at these instants.
    fn offer(segment: &mut Segment, to: Mac, frames: &[(Duration, u8)], out: &mut Out) {
        for (at, mark) in frames {
            while segment.step(*at, out) {}
            segment.receive(*at, 0, &mut frame(to, *mark), out);
        }
    }

    fn behaviour(condition: Condition) -> Behaviour {
        Behaviour::of([&condition]).unwrap()
    }

    #[test]
    fn frames_find_their_port_and_groups_find_all_others() {
        let (mut segment, mut out) = (three(), Out::default());
        offer(&mut segment, mac(b'c'), &[(MS, 1)], &mut out);
        offer(&mut segment, Mac([0xff; 6]), &[(MS, 2)], &mut out);
        offer(&mut segment, mac(b'z'), &[(MS, 3)], &mut out);
        offer(&mut segment, mac(b'a'), &[(MS, 4)], &mut out);
        assert_eq!(out.0, [(2, 1), (1, 2), (2, 2)]);
        assert_eq!(segment.strays().unaddressed.packets, 2);
        segment.receive(MS, 0, &mut [0; PAYLOAD - 1], &mut out);
        assert_eq!(segment.strays().malformed.packets, 1);
        let links: Vec<_> = segment.links().map(|(from, to, ..)| (from, to)).collect();
        assert_eq!(links, [("a", "b"), ("a", "c")], "made when they are used");
    }

    #[test]
    fn a_port_that_comes_back_has_its_links() {
        let (mut segment, mut out) = (three(), Out::default());
        segment.change(MS, [0, 1], behaviour(Condition::new().cut()), &mut out);
        segment.leave(1);
        offer(&mut segment, mac(b'b'), &[(MS, 1)], &mut out);
        assert_eq!(segment.strays().unaddressed.packets, 1);
        assert_eq!(segment.join("b", "", mac(b'n')), 1);
        offer(&mut segment, mac(b'n'), &[(MS, 2)], &mut out);
        segment.change(MS, [0, 1], Behaviour::default(), &mut out);
        offer(&mut segment, mac(b'n'), &[(MS, 3)], &mut out);
        assert_eq!(out.0, [(1, 3)]);
    }

    #[test]
    fn frames_stay_on_their_network() {
        let (mut segment, mut out) = (three(), Out::default());
        // The same address on another network is another station.
        assert_eq!(segment.join("d", "lan", mac(b'b')), 3);
        assert_eq!(segment.join("a@lan", "lan", mac(b'a')), 4);
        assert_eq!((segment.network(0), segment.network(3)), ("", "lan"));
        offer(&mut segment, Mac([0xff; 6]), &[(MS, 1)], &mut out);
        offer(&mut segment, mac(b'b'), &[(MS, 2)], &mut out);
        segment.receive(MS, 4, &mut frame(mac(b'b'), 3), &mut out);
        segment.receive(MS, 4, &mut frame(Mac([0xff; 6]), 4), &mut out);
        segment.receive(MS, 4, &mut frame(mac(b'c'), 5), &mut out);
        assert_eq!(out.0, [(1, 1), (2, 1), (1, 2), (3, 3), (3, 4)]);
        assert_eq!(segment.strays().unaddressed.packets, 1);
    }

    #[test]
    fn what_is_under_way_to_a_port_that_moves_is_lost() {
        let (mut segment, mut out) = (three(), Out::default());
        segment.change(MS, [0, 1], behaviour(Condition::new().delay(10 * MS)), &mut out);
        offer(&mut segment, mac(b'b'), &[(MS, 1)], &mut out);
        assert_eq!(segment.join("b", "lan", mac(b'b')), 1);
        while segment.step(20 * MS, &mut out) {}
        assert!(out.0.is_empty());
        assert_eq!(segment.strays().unaddressed.packets, 1);
    }

    /// A box between `lan` and another network.
    fn box_spec(name: &str, other: &str, own: u8) -> RouterSpec {
        let side = |network: &str, address: [u8; 4]| RouterSide {
            network: network.to_owned(),
            v4: Some((address.into(), 24)),
            v6: None,
        };
        RouterSpec {
            name: name.to_owned(),
            inside: side("lan", [10, 0, 0, own]),
            outside: side(other, [10, 0, own, 1]),
            routes: Vec::new(),
            behaviour: NatKind::Router.behaviour(),
        }
    }

    /// A datagram of `a`, 10.0.0.9, in a frame to a box's port.
    fn datagram(segment: &Segment, port: &str, to: &str) -> Vec<u8> {
        let packet = packets::udp(packets::end("10.0.0.9:1"), packets::end(to), b"!");
        let number = segment.number(port).unwrap();
        let station = |(_, station): &(&(usize, Mac), &usize)| **station == number;
        let ((_, to), _) = segment.stations.iter().find(station).unwrap();
        [&[0; HEADER][..], &to.0, &mac(b'a').0, &[8, 0], &packet].concat()
    }

    #[test]
    fn a_box_asks_and_gives_up_when_that_is_due() {
        let (mut segment, mut out) = (Segment::new(1, LIMITS), Out::default());
        segment.join_box(&box_spec("x", "far", 1)).unwrap();
        assert_eq!([segment.join("a", "lan", mac(b'a')), segment.join("b", "far", mac(b'b'))], [2, 3]);
        let mut packet = datagram(&segment, "x@inside", "10.0.1.7:1");
        segment.receive(MS, 2, &mut packet, &mut out);
        assert_eq!((out.0.len(), out.0[0].0), (1, 3), "it asks");
        while let Some(at) = segment.deadline() {
            assert!(segment.step(at, &mut out));
        }
        assert_eq!(out.0.len(), 3);
        let dropped = segment.boxes().next().unwrap().dropped;
        assert_eq!(dropped[&RouterDrop::Unresolved].packets, 1);
        let number = segment.number("x@inside").unwrap();
        assert_eq!(segment.box_counts(number).unwrap().map(|count| count.packets), [0, 1]);
    }

    #[test]
    fn boxes_that_route_in_a_circle_end() {
        let (mut segment, mut out) = (Segment::new(1, LIMITS), Out::default());
        for (name, own, other) in [("x", 1, 2), ("y", 2, 1)] {
            let mut spec = box_spec(name, name, own);
            let via = std::net::Ipv4Addr::new(10, 0, 0, other).into();
            spec.routes = vec![Route { to: std::net::Ipv4Addr::UNSPECIFIED.into(), prefix_bits: 0, via }];
            segment.join_box(&spec).unwrap();
        }
        let number = segment.join("a", "lan", mac(b'a'));
        let mut packet = datagram(&segment, "x@inside", "192.0.2.1:1");
        segment.receive(MS, number, &mut packet, &mut out);
        let forwarded: u64 = segment.boxes().map(|report| report.to_inside.packets).sum();
        assert_eq!(forwarded, 63);
    }

    #[test]
    fn a_box_leaves_whole_and_for_a_host() {
        let (mut segment, mut out) = (three(), Out::default());
        segment.join_box(&box_spec("x", "", 1)).unwrap();
        segment.join_box(&box_spec("x", "", 2)).unwrap();
        assert_eq!((segment.names().len(), segment.boxes().count()), (5, 1));
        assert_eq!(segment.join("x@inside", "", mac(b'x')), 3);
        assert_eq!((segment.boxes().count(), segment.stations.len()), (0, 4));
        assert_eq!([3, 4].map(|number| segment.box_counts(number)), [None; 2]);
        offer(&mut segment, mac(b'x'), &[(MS, 1)], &mut out);
        assert_eq!(out.0, [(3, 1)]);
        let mut wrong = box_spec("x", "lan", 1);
        wrong.outside.network = "lan".to_owned();
        assert!(segment.join_box(&wrong).is_err());
    }

    #[test]
    fn what_is_due_together_goes_in_the_order_it_came() {
        let (mut segment, mut out) = (three(), Out::default());
        segment.change(MS, [0, 1], behaviour(Condition::new().delay(10 * MS)), &mut out);
        segment.change(MS, [0, 2], behaviour(Condition::new().delay(5 * MS)), &mut out);
        offer(&mut segment, mac(b'b'), &[(MS, 1), (MS, 2)], &mut out);
        offer(&mut segment, mac(b'c'), &[(6 * MS, 3)], &mut out);
        offer(&mut segment, mac(b'b'), &[(6 * MS, 4)], &mut out);
        assert_eq!((segment.deadline(), segment.step(10 * MS, &mut out)), (Some(11 * MS), false));
        // Healed while packets are under way: what comes then does not overtake them.
        segment.change(10 * MS, [0, 1], Behaviour::default(), &mut out);
        offer(&mut segment, mac(b'b'), &[(10 * MS, 5)], &mut out);
        while segment.step(20 * MS, &mut out) {}
        assert_eq!(out.0, [(1, 1), (1, 2), (2, 3), (1, 4), (1, 5)]);
        assert_eq!(segment.lateness().max(), 9 * MS);
        assert_eq!((segment.held(), segment.deadline()), (Count::default(), None));
    }

    #[test]
    fn what_waits_has_a_limit() {
        let (mut segment, mut out) = (three(), Out::default());
        segment.change(MS, [0, 1], behaviour(Condition::new().hold()), &mut out);
        segment.change(MS, [0, 2], behaviour(Condition::new().delay(MS)), &mut out);
        let frames: Vec<_> = (0..12).map(|mark| (MS, mark)).collect();
        offer(&mut segment, mac(b'c'), &frames[..3], &mut out);
        offer(&mut segment, mac(b'b'), &frames, &mut out);
        assert_eq!((segment.held().packets, segment.strays().overflow.packets), (10, 5));
        segment.change(MS, [0, 1], Behaviour::default(), &mut out);
        while segment.step(2 * MS, &mut out) {}
        let marks: Vec<u8> = out.0.iter().filter(|(port, _)| *port == 1).map(|(_, mark)| *mark).collect();
        assert_eq!(marks, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(segment.held(), Count::default());
        let waiting: u64 = segment.links().map(|(.., counters)| counters.queued.packets).sum();
        assert_eq!(waiting, 0);
    }

    #[test]
    fn a_paced_link_is_released_when_its_line_is_free() {
        let (mut segment, mut out) = (three(), Out::default());
        // One byte a millisecond.
        segment.change(MS, [0, 1], behaviour(Condition::new().rate(8000)), &mut out);
        offer(&mut segment, mac(b'b'), &[(MS, 1), (MS, 2), (MS, 3)], &mut out);
        let mut at = Vec::new();
        while let Some(deadline) = segment.deadline() {
            let before = out.0.len();
            while segment.step(deadline, &mut out) {}
            at.extend(std::iter::repeat_n(deadline, out.0.len() - before));
        }
        assert_eq!((at, out.0), (vec![2 * MS, 3 * MS, 4 * MS], vec![(1, 1), (1, 2), (1, 3)]));
    }
}
