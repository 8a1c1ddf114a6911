//! A world for the pure member: a network, disks, clients and misfortune, all drawn from one seed.
//!
//! Messages travel as the bytes of `protocol` and are delayed, dropped, duplicated and cut off; disks hold
//! the bytes of `storage`, and a crash while saving keeps a random part of what was not yet synced, or
//! garbles it. What must hold in any world is asserted here on the way; what `--ack-early` may break is in
//! the [`Verdict`].

mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::history::{Kind, Operation, is_linearizable};
use super::{Action, Answer, Config, Entry, Input, Output, Raft, Report, Ticket, Timing};
use crate::kv::{Command, Put, Store};
use crate::members::Member;
use crate::protocol::Frame;
use crate::rng::Rng;
use crate::storage::{next_frame, replay};

/// The moment between two steps of the world. Inputs that come to a member within one share a sync, as in
/// `server`.
const MOMENT: Duration = Duration::from_millis(1);
const TIMING: Timing = Timing {
    election_min: Duration::from_millis(300),
    election_max: Duration::from_millis(600),
    heartbeat: Duration::from_millis(75),
};
const KEYS: u64 = 8;
const CLIENTS: u64 = 4;
/// How long a client tries before it gives up, and how long it waits for one answer.
const GIVE_UP: Duration = Duration::from_millis(1500);
const RETRY: Duration = Duration::from_millis(250);

/// What distinguishes one world from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) members: u8,
    pub(super) ack_early: bool,
    /// How long things go wrong before all is healed.
    pub(super) chaos: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) acknowledged: usize,
    /// Acknowledged writes that are in no log's committed part.
    pub(super) lost: usize,
    pub(super) linearizable: bool,
    pub(super) leaders: usize,
    pub(super) crashes: usize,
}

#[derive(Debug)]
struct Node {
    /// Nothing while it is down.
    raft: Option<Raft>,
    store: Store,
    applied: u64,
    disk: Vec<u8>,
}

#[derive(Debug)]
enum Flight {
    Message { from: Member, bytes: Vec<u8> },
    Request { ticket: Ticket, operation: usize },
}

#[derive(Debug)]
struct Client {
    /// The operation under way, in the history.
    operation: Option<usize>,
    ticket: Ticket,
    target: Member,
    act_at: Duration,
    give_up_at: Duration,
}

#[derive(Debug)]
pub(super) struct World {
    plan: Plan,
    rng: Rng,
    now: Duration,
    nodes: Vec<Node>,
    flights: BTreeMap<(Duration, u64), (Member, Flight)>,
    flown: u64,
    cut: BTreeSet<(Member, Member)>,
    drop_percent: u64,
    /// When the next misfortune comes; nothing once all is healed.
    chaos_at: Option<Duration>,
    clients: Vec<Client>,
    history: Vec<Operation>,
    /// Orders beginnings and ends of operations, also within a moment.
    events: u64,
    tickets: Ticket,
    leaders: BTreeMap<u64, Member>,
    /// What some member committed, by index; and its term when it did.
    chosen: Vec<(Entry, u64)>,
    crashes: usize,
}

/// Lets the world of `plan` run its course.
pub(super) fn run(plan: Plan) -> Verdict {
    let mut world = World::new(plan);
    world.run_for(plan.chaos);
    world.heal();
    world.run_for(Duration::from_secs(2));
    let before = world.acknowledged().count();
    world.run_for(Duration::from_secs(1));
    assert!(world.acknowledged().count() > before, "seed {}: no progress after all is healed", plan.seed);
    world.clients.clear();
    world.run_for(Duration::from_millis(500));
    world.check_agreement();
    world.verdict()
}

impl World {
    fn new(plan: Plan) -> Self {
        let node = || Node { raft: None, store: Store::default(), applied: 0, disk: Vec::new() };
        let client = || Client {
            operation: None,
            ticket: 0,
            target: Member(0),
            act_at: Duration::ZERO,
            give_up_at: Duration::ZERO,
        };
        let mut world = Self {
            plan,
            rng: Rng::new(plan.seed),
            now: Duration::ZERO,
            nodes: Member::all(plan.members).map(|_| node()).collect(),
            flights: BTreeMap::new(),
            flown: 0,
            cut: BTreeSet::new(),
            drop_percent: 0,
            chaos_at: Some(Duration::from_millis(700)),
            clients: (0..CLIENTS).map(|_| client()).collect(),
            history: Vec::new(),
            events: 0,
            tickets: 0,
            leaders: BTreeMap::new(),
            chosen: Vec::new(),
            crashes: 0,
        };
        Member::all(plan.members).for_each(|member| world.start(member));
        world
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.next_event().max(self.now + MOMENT).min(end);
            self.misfortune();
            for client in 0..self.clients.len() {
                self.client_acts(client);
            }
            for member in Member::all(self.plan.members) {
                let inputs = self.arrivals(member);
                self.feed(member, inputs);
            }
        }
    }

    /// When something happens next: an arrival, a deadline, a client or a misfortune.
    fn next_event(&self) -> Duration {
        let arrival = self.flights.keys().next().map(|&(at, _)| at);
        let deadlines = self.nodes.iter().filter_map(|node| node.raft.as_ref()).map(Raft::deadline);
        let clients = self.clients.iter().map(|client| client.act_at);
        deadlines.chain(clients).chain(arrival).chain(self.chaos_at).min().unwrap_or(self.now)
    }

    fn node(&mut self, member: Member) -> &mut Node {
        &mut self.nodes[usize::from(member.0)]
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn any_member(&mut self) -> Member {
        Member(u8::try_from(self.rng.below(self.plan.members.into())).unwrap())
    }

    // Members: starting, stepping, crashing.

    fn start(&mut self, member: Member) {
        let config = Config {
            me: member,
            members: self.plan.members,
            timing: TIMING,
            ack_early: self.plan.ack_early,
            seed: self.rng.number(),
        };
        let now = self.now;
        let node = self.node(member);
        let replay = replay(&node.disk).expect("a crash tears the tail and damages nothing else");
        node.disk.truncate(replay.length);
        node.raft = Some(Raft::new(config, replay.saved, now));
    }

    fn crash(&mut self, member: Member) {
        let node = self.node(member);
        (node.raft, node.store, node.applied) = (None, Store::default(), 0);
        self.crashes += 1;
    }

    /// What reaches `member` at this moment, if it is up.
    fn arrivals(&mut self, member: Member) -> Vec<Input> {
        let due: Vec<_> =
            self.flights.range(..=(self.now, u64::MAX)).map(|(&key, flight)| (key, flight.0)).collect();
        let due: Vec<_> = due.into_iter().filter(|&(_, to)| to == member).collect();
        let flights = due.into_iter().filter_map(|(key, _)| self.flights.remove(&key)).collect::<Vec<_>>();
        flights.into_iter().map(|(_, flight)| self.input(flight)).collect()
    }

    fn input(&self, flight: Flight) -> Input {
        match flight {
            Flight::Message { from, bytes } => match Frame::decode(&bytes) {
                Ok(Frame::Message(message)) => Input::Message { from, message },
                other => panic!("seed {}: {other:?} was sent", self.plan.seed),
            },
            Flight::Request { ticket, operation } => match &self.history[operation] {
                Operation { kind: Kind::Write(_), .. } => Input::Write { ticket, put: self.put(operation) },
                Operation { kind: Kind::Read(_), .. } => Input::Read { ticket },
            },
        }
    }

    /// What `server` does in a turn: steps, then one save, then the actions; with a crash in between at
    /// times.
    fn feed(&mut self, member: Member, inputs: Vec<Input>) {
        let now = self.now;
        let Some(raft) = &mut self.node(member).raft else { return };
        let mut all = Output::default();
        for input in inputs.into_iter().chain([Input::Tick]) {
            let Output { save, act } = raft.step(now, input);
            all.save.extend(save);
            all.act.extend(act);
        }
        let crashes = self.chaos_at.is_some();
        let mut rest = all.save.as_slice();
        while !rest.is_empty() {
            let (frame, used) = next_frame(rest, self.node(member).disk.len() as u64);
            if crashes && self.rng.below(300) == 0 {
                self.tear(member, frame);
                return self.crash(member);
            }
            self.node(member).disk.extend_from_slice(&frame);
            rest = &rest[used..];
        }
        for action in all.act {
            if crashes && self.rng.below(3000) == 0 {
                return self.crash(member);
            }
            self.act(member, action);
        }
    }

    /// Leaves of an unsynced frame what a crash may leave: a part, all of it, or something else.
    fn tear(&mut self, member: Member, mut frame: Vec<u8>) {
        let length = frame.len() as u64;
        let place = |rng: &mut Rng, limit| usize::try_from(rng.below(limit)).unwrap();
        if self.chance(50) {
            let garbled = place(&mut self.rng, length);
            frame[garbled] = 0;
        }
        frame.truncate(place(&mut self.rng, length + 1));
        self.node(member).disk.extend_from_slice(&frame);
    }

    fn act(&mut self, member: Member, action: Action) {
        match action {
            Action::Send { to, message } => {
                let bytes = Frame::Message(message).encode();
                let copies = if self.chaos_at.is_some() && self.chance(2) { 2 } else { 1 };
                for _ in 0..copies {
                    let bytes = bytes.clone();
                    self.fly(Some(member), to, Flight::Message { from: member, bytes });
                }
            }
            Action::Apply { index, .. } => self.applied(member, index),
            Action::Answer { ticket, answer } => self.answered(member, ticket, answer),
            Action::Report(Report::Leader { term }) => self.elected(member, term),
            Action::Report(_) => {}
        }
    }

    /// Sends towards `to`, from a member or a client. Delays differ, so flights overtake each other.
    fn fly(&mut self, from: Option<Member>, to: Member, flight: Flight) {
        let is_cut = from.is_some_and(|from| self.cut.contains(&(from, to)));
        let drop_percent = self.drop_percent;
        if is_cut || self.chance(drop_percent) {
            return;
        }
        let slow = if self.chance(5) { 200 } else { 15 };
        let arrives_at = self.now + Duration::from_millis(1 + self.rng.below(slow));
        self.flown += 1;
        self.flights.insert((arrives_at, self.flown), (to, flight));
    }

    // What must hold in any world.

    /// Election safety and leader completeness.
    fn elected(&mut self, member: Member, term: u64) {
        let seed = self.plan.seed;
        let before = self.leaders.insert(term, member);
        assert_eq!(before, None, "seed {seed}: {member:?} is the second leader of term {term}");
        let raft = self.nodes[usize::from(member.0)].raft.as_ref().unwrap();
        // Late votes can still make a leader of a term that is over; it need not have what came after.
        let earlier = (1..).zip(&self.chosen).filter(|(_, (_, chosen_in))| *chosen_in < term);
        for (index, (entry, _)) in earlier {
            assert_eq!(
                raft.log.get(index),
                Some(entry),
                "seed {seed}: a leader lacks the committed entry {index}"
            );
        }
    }

    /// State machine safety.
    fn applied(&mut self, member: Member, index: u64) {
        let seed = self.plan.seed;
        let node = &mut self.nodes[usize::from(member.0)];
        let raft = node.raft.as_ref().unwrap();
        let entry = raft.log.get(index).unwrap().clone();
        node.applied += 1;
        assert_eq!(node.applied, index, "seed {seed}: entries are applied in order");
        match self.chosen.get(usize::try_from(index - 1).unwrap()) {
            Some((chosen, _)) => {
                assert_eq!(*chosen, entry, "seed {seed}: two entries are committed at {index}")
            }
            None => self.chosen.push((entry.clone(), raft.term())),
        }
        node.store.apply(entry.command);
    }

    /// Log matching: where two logs have an entry of the same index and term, they are equal up to it.
    fn check_matching(&self) {
        let logs: Vec<_> =
            self.nodes.iter().filter_map(|node| node.raft.as_ref()).map(|raft| &raft.log).collect();
        for (number, one) in logs.iter().enumerate() {
            for other in &logs[..number] {
                let shared = one.last_index().min(other.last_index());
                let meet = (1..=shared).rev().find(|&index| one.term_at(index) == other.term_at(index));
                for index in 1..=meet.unwrap_or(0) {
                    assert_eq!(one.get(index), other.get(index), "seed {}: logs differ", self.plan.seed);
                }
            }
        }
    }

    /// Once all is healed and quiet: one leader, and all have committed and applied the same.
    fn check_agreement(&self) {
        self.check_matching();
        let seed = self.plan.seed;
        let rafts: Vec<_> = self.nodes.iter().map(|node| node.raft.as_ref().unwrap()).collect();
        assert_eq!(rafts.iter().filter(|raft| raft.role() == "leader").count(), 1, "seed {seed}: leaders");
        for raft in &rafts {
            assert_eq!(
                raft.last_index(),
                self.chosen.len() as u64,
                "seed {seed}: entries that nobody committed"
            );
            assert_eq!(
                raft.commit,
                raft.last_index(),
                "seed {seed}: a member does not know what is committed"
            );
            assert!(!raft.behind, "seed {seed}: a member never noticed that it caught up");
        }
    }

    fn verdict(&self) -> Verdict {
        let is_chosen =
            |put: &Put| self.chosen.iter().any(|(entry, _)| entry.command == Command::Put(put.clone()));
        let writes =
            self.acknowledged().filter(|&number| matches!(self.history[number].kind, Kind::Write(_)));
        Verdict {
            acknowledged: self.acknowledged().count(),
            lost: writes.filter(|&number| !is_chosen(&self.put(number))).count(),
            linearizable: is_linearizable(&self.history),
            leaders: self.leaders.len(),
            crashes: self.crashes,
        }
    }

    // Misfortune.

    fn misfortune(&mut self) {
        if self.chaos_at.is_none_or(|at| self.now < at) {
            return;
        }
        self.chaos_at = Some(self.now + Duration::from_millis(20 + self.rng.below(400)));
        self.check_matching();
        match self.rng.below(100) {
            0..25 => self.partition(),
            25..35 => {
                let pair = (self.any_member(), self.any_member());
                self.cut.insert(pair);
            }
            35..60 => self.cut.clear(),
            60..70 => {
                let member = self.any_member();
                if self.node(member).raft.is_some() {
                    self.crash(member);
                }
            }
            70..90 => self.start_all(),
            _ => self.drop_percent = [0, 0, 5, 30][usize::try_from(self.rng.below(4)).unwrap()],
        }
    }

    /// Divides the members into two sides that cannot talk to each other.
    fn partition(&mut self) {
        let sides = self.rng.number();
        let side = |member: Member| sides >> member.0 & 1;
        let members = || Member::all(self.plan.members);
        let pairs = members().flat_map(|from| members().map(move |to| (from, to)));
        self.cut = pairs.filter(|&(from, to)| side(from) != side(to)).collect();
    }

    fn start_all(&mut self) {
        for member in Member::all(self.plan.members) {
            if self.node(member).raft.is_none() {
                self.start(member);
            }
        }
    }

    fn heal(&mut self) {
        self.chaos_at = None;
        self.cut.clear();
        self.drop_percent = 0;
        self.start_all();
    }

    // Clients: each does one operation after another.

    fn client_acts(&mut self, client: usize) {
        if self.now < self.clients[client].act_at {
            return;
        }
        if self.now >= self.clients[client].give_up_at {
            self.clients[client].operation = None; // whether it happens remains open
        }
        let operation = match self.clients[client].operation {
            Some(operation) => {
                self.clients[client].target = self.any_member();
                operation
            }
            None => self.begin(client),
        };
        self.tickets += 1;
        let (ticket, target) = (self.tickets, self.clients[client].target);
        self.clients[client].ticket = ticket;
        self.clients[client].act_at = self.now + RETRY;
        self.fly(None, target, Flight::Request { ticket, operation });
    }

    fn begin(&mut self, client: usize) -> usize {
        let number = self.history.len();
        let kind = if self.chance(50) { Kind::Write(number as u64) } else { Kind::Read(None) };
        self.events += 1;
        let key = self.rng.below(KEYS);
        self.history.push(Operation { client: client as u64, key, kind, began: self.events, ended: None });
        self.clients[client].operation = Some(number);
        self.clients[client].give_up_at = self.now + GIVE_UP;
        number
    }

    /// The write that is `operation`: its number serves as the value and as the client's sequence number.
    fn put(&self, operation: usize) -> Put {
        let Operation { client, key, .. } = self.history[operation];
        let number = operation as u64;
        Put { client, sequence: number + 1, key: key.to_string(), value: number.to_string() }
    }

    fn answered(&mut self, member: Member, ticket: Ticket, answer: Answer) {
        let is_lost = self.chance(self.drop_percent);
        let now = self.now;
        let waits = |client: &Client| client.ticket == ticket && client.operation.is_some();
        let Some(client) = self.clients.iter_mut().find(|client| waits(client)).filter(|_| !is_lost) else {
            return;
        };
        let operation = client.operation.unwrap();
        match answer {
            Answer::NotLeader(leader) => {
                client.target = leader.unwrap_or(client.target);
                client.act_at = now + Duration::from_millis(20);
            }
            Answer::Lost => client.act_at = now + Duration::from_millis(20),
            Answer::Written | Answer::Readable => {
                client.operation = None;
                client.act_at = now + Duration::from_millis(1 + self.rng.below(100));
                self.events += 1;
                let operation = &mut self.history[operation];
                operation.ended = Some(self.events);
                if let Kind::Read(value) = &mut operation.kind {
                    let store = &self.nodes[usize::from(member.0)].store;
                    *value = store.get(&operation.key.to_string()).map(|value| value.parse().unwrap());
                }
            }
        }
    }

    fn acknowledged(&self) -> impl Iterator<Item = usize> {
        let ended = |(number, operation): (usize, &Operation)| operation.ended.map(|_| number);
        self.history.iter().enumerate().filter_map(ended)
    }
}
