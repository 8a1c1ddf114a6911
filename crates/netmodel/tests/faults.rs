//! What the table of faults promises, asked through the public API: stories with the texts they give, and what holds
//! whatever is asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use netsplit_netmodel::{
    Advance, Behaviour, Condition, Fault, FaultState, FaultTurn, Faults, Flap, Flapping, LinkId, Links,
    Schedule, Scope, Topology,
};
use proptest::prelude::*;

const SEED: u64 = 4711;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn table(host_count: usize) -> Faults {
    let mut faults = Faults::new(SEED);
    for host in 0..host_count {
        assert_eq!(faults.add_host(), host);
    }
    faults
}

fn fault(scope: Scope, condition: Condition) -> Fault {
    Fault { scope, condition, schedule: Schedule::default() }
}

fn one_way(from: usize, to: usize) -> Scope {
    Scope::OneWay { from: vec![from], to: vec![to] }
}

fn isolate(host: usize) -> Scope {
    Scope::Isolate { hosts: vec![host] }
}

/// `1 in-force at 10ms; 0>1 cut`: turns, then links.
fn shown(advance: &Advance) -> String {
    let turn = |turn: &FaultTurn| format!("{} {:?} at {:?}", turn.id, turn.state, turn.at);
    let link = |(link, behaviour): &(LinkId, Behaviour)| format!("{}>{} {behaviour}", link.from, link.to);
    advance.turns.iter().map(turn).chain(advance.links.iter().map(link)).collect::<Vec<_>>().join("; ")
}

#[track_caller]
fn check(faults: &mut Faults, now: Duration, expect: &str) {
    assert_eq!(shown(&faults.advance(now)), expect);
}

#[test]
fn a_fault_begins_and_is_healed() {
    let mut faults = table(3);
    check(&mut faults, ms(0), "");
    faults.begin(ms(5), 7, fault(one_way(0, 1), Condition::new().cut())).unwrap();
    assert_eq!(faults.deadline(), Some(ms(5)));
    check(&mut faults, ms(6), "7 InForce at 5ms; 0>1 cut");
    assert_eq!(faults.deadline(), None);
    check(&mut faults, ms(7), "");
    faults.heal(ms(9), 7).unwrap();
    assert_eq!(faults.deadline(), Some(ms(9)));
    check(&mut faults, ms(9), "7 Ended at 9ms; 0>1 nothing");
    assert_eq!((faults.deadline(), faults.list().count()), (None, 0));
}

#[test]
fn newer_faults_cover_older_ones_field_by_field() {
    let mut faults = table(2);
    let conditions = [Condition::new().delay(ms(50)).loss(0.1), Condition::new().delay(ms(5)).cut()];
    for (id, condition) in (1..).zip(conditions) {
        faults.begin(ms(0), id, fault(one_way(0, 1), condition)).unwrap();
    }
    check(&mut faults, ms(0), "1 InForce at 0ns; 2 InForce at 0ns; 0>1 cut, delay 5ms, loss 10%");
    // What is covered may go unseen.
    faults.begin(ms(1), 3, fault(one_way(0, 1), Condition::new().loss(0.1))).unwrap();
    check(&mut faults, ms(1), "3 InForce at 1ms");
    faults.heal(ms(2), 1).unwrap();
    check(&mut faults, ms(2), "1 Ended at 2ms");
    faults.heal(ms(3), 2).unwrap();
    check(&mut faults, ms(3), "2 Ended at 3ms; 0>1 loss 10%");
}

#[test]
fn schedules_keep_their_instants_however_late_they_are_asked() {
    let mut faults = table(2);
    let flap = Flap { down: ms(10), up: ms(30), jitter: None };
    let schedule = Schedule { after: ms(100), lasts: Some(ms(85)), flap: Some(flap) };
    let flapping = Fault { schedule, ..fault(one_way(1, 0), Condition::new().hold()) };
    faults.begin(ms(1), 1, flapping).unwrap();
    assert_eq!(faults.list().map(|(_, _, state)| state).collect::<Vec<_>>(), [FaultState::Waiting]);
    assert_eq!(faults.deadline(), Some(ms(101)));
    check(&mut faults, ms(100), "");
    check(&mut faults, ms(102), "1 InForce at 101ms; 1>0 hold");
    assert_eq!(faults.deadline(), Some(ms(111)));
    check(&mut faults, ms(140), "1 Lifted at 111ms; 1>0 nothing");
    assert_eq!(faults.list().map(|(_, _, state)| state).collect::<Vec<_>>(), [FaultState::Lifted]);
    check(
        &mut faults,
        ms(200),
        "1 InForce at 141ms; 1 Lifted at 151ms; 1 InForce at 181ms; 1 Ended at 186ms",
    );
    assert_eq!(faults.deadline(), None);
}

#[test]
fn the_isolated_are_so_from_those_who_come_later() {
    let mut faults = table(2);
    let cut = Condition::new().cut();
    faults.begin(ms(0), 1, fault(isolate(0), cut)).unwrap();
    faults.begin(ms(0), 2, fault(Scope::Partition { groups: vec![vec![0], vec![1]] }, cut)).unwrap();
    check(&mut faults, ms(0), "1 InForce at 0ns; 2 InForce at 0ns; 0>1 cut; 1>0 cut");
    assert_eq!(faults.add_host(), 2);
    assert_eq!(faults.deadline(), Some(ms(0)));
    check(&mut faults, ms(3), "0>2 cut; 2>0 cut");
    faults.heal(ms(4), 1).unwrap();
    check(&mut faults, ms(4), "1 Ended at 4ms; 0>2 nothing; 2>0 nothing");
}

#[test]
fn what_came_and_went_between_two_questions_moves_no_link() {
    let mut faults = table(2);
    faults.begin(ms(1), 1, fault(isolate(0), Condition::new().cut())).unwrap();
    assert_eq!(faults.behaviour(LinkId { from: 0, to: 1 }).to_string(), "cut");
    faults.heal(ms(2), 1).unwrap();
    check(&mut faults, ms(2), "1 InForce at 1ms; 1 Ended at 2ms");
    // Time does not go backwards.
    faults.begin(ms(1), 1, fault(isolate(0), Condition::new().cut())).unwrap();
    check(&mut faults, ms(0), "1 InForce at 2ms; 0>1 cut; 1>0 cut");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut faults = table(2);
    let cut = fault(isolate(0), Condition::new().cut());
    faults.begin(ms(0), 1, cut.clone()).unwrap();
    faults.advance(ms(0));
    let scheduled = |schedule| Fault { schedule, ..cut.clone() };
    let flapping = |down, up, jitter| {
        let flap = Some(Flap { down: ms(down), up: ms(up), jitter });
        scheduled(Schedule { flap, ..Schedule::default() })
    };
    let year = Duration::from_secs(366 * 86_400) + ms(1);
    for (id, wrong, expect) in [
        (1, cut.clone(), "fault 1 has begun already"),
        (2, fault(isolate(2), Condition::new().cut()), "there is no host 2; the testbed has 2"),
        (2, fault(isolate(1), Condition::new().loss(2.0)), "`loss` is 200 %; allowed is 0 % to 100 %"),
        (2, flapping(0, 1, None), "`flap.down` is 0s; allowed is 1ms to 8784h"),
        (2, flapping(1, 0, None), "`flap.up` is 0s; allowed is 1ms to 8784h"),
        (
            2,
            flapping(9, 5, Some(ms(5))),
            "`flap.jitter` is 5ms; allowed is less than the shorter of `down` and `up`, 5ms",
        ),
        (
            2,
            scheduled(Schedule { lasts: Some(ms(0)), ..Schedule::default() }),
            "`lasts` is 0s; allowed is 1ms to 8784h",
        ),
        (
            2,
            scheduled(Schedule { after: year, ..Schedule::default() }),
            "`after` is 8784h0.001s; allowed is 0s to 8784h",
        ),
    ] {
        assert_eq!(faults.begin(ms(1), id, wrong).unwrap_err().to_string(), expect);
        assert_eq!((faults.list().count(), faults.deadline()), (1, None), "{expect}");
    }
    assert_eq!(faults.heal(ms(1), 2).unwrap_err().to_string(), "there is no fault 2");
}

#[test]
fn an_id_is_free_again_once_its_fault_has_ended() {
    let mut faults = table(2);
    let schedule = Schedule { lasts: Some(ms(5)), ..Schedule::default() };
    let short = Fault { schedule, ..fault(one_way(0, 1), Condition::new().cut()) };
    faults.begin(ms(0), 1, short.clone()).unwrap();
    assert!(faults.begin(ms(4), 1, short.clone()).is_err());
    faults.begin(ms(5), 1, short).unwrap();
    check(&mut faults, ms(5), "1 InForce at 0ns; 1 Ended at 5ms; 1 InForce at 5ms; 0>1 cut");
    assert!(faults.heal(ms(10), 1).is_err(), "its time was over");
    check(&mut faults, ms(10), "1 Ended at 10ms; 0>1 nothing");
}

#[test]
fn faults_are_written_with_times_in_nanoseconds() {
    let flap = Flap { down: ms(1), up: ms(3), jitter: None };
    let schedule = Schedule { after: ms(2), lasts: Some(ms(5)), flap: Some(flap) };
    let cut = fault(one_way(0, 1), Condition::new().cut());
    let both = r#"{"scope":{"one-way":{"from":[0],"to":[1]}},"condition":{"passage":"cut"},"schedule":"#;
    for (schedule, text) in [
        (Schedule::default(), "{}"),
        (schedule, r#"{"after":2000000,"lasts":5000000,"flap":{"down":1000000,"up":3000000}}"#),
    ] {
        let fault = Fault { schedule, ..cut.clone() };
        let written = format!("{both}{text}}}");
        assert_eq!(serde_json::to_string(&fault).unwrap(), written);
        assert_eq!(serde_json::from_str::<Fault>(&written).unwrap(), fault);
    }
    let turn = FaultTurn { id: 1, at: ms(1), state: FaultState::InForce };
    assert_eq!(serde_json::to_string(&turn).unwrap(), r#"{"id":1,"at":1000000,"state":"in-force"}"#);
}

/// What is asked of a table.
#[derive(Clone, Debug)]
enum Step {
    Begin(Box<Fault>),
    /// One of those that ever began.
    Heal(prop::sample::Index),
    AddHost,
    Advance,
    Wait(Duration),
}

fn hosts(most: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..6usize, 1..most)
}

fn scope() -> impl Strategy<Value = Scope> {
    prop_oneof![
        1 => (hosts(3), hosts(3)).prop_map(|(from, to)| Scope::OneWay { from, to }),
        1 => (hosts(3), hosts(3)).prop_map(|(left, right)| Scope::BothWays { left, right }),
        3 => hosts(3).prop_map(|hosts| Scope::Isolate { hosts }),
        1 => prop::collection::vec(hosts(2), 1..4).prop_map(|groups| Scope::Partition { groups }),
        1 => Just(vec![0, 1, 2, 3]).prop_shuffle().prop_map(|hosts| Scope::Ring { hosts }),
        1 => (hosts(4), hosts(2)).prop_map(|(hosts, middle)| Scope::Bridge { hosts, middle }),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let new = Condition::new();
    let all =
        [new.cut(), new.hold(), new.delay(ms(5)), new.delay(ms(50)).loss(0.1), new.loss(0.0), new.rate(1000)];
    prop::sample::select(all.to_vec())
}

prop_compose! {
    fn schedule()(
        after in prop_oneof![2 => Just(0), 1 => 0..30u64],
        lasts in prop::option::of(1..60u64),
        flap in prop::option::of((1..20u64, 1..20u64, prop::option::of(0..2u64))),
    ) -> Schedule {
        let flap = flap.map(|(down, up, jitter)| Flap { down: ms(down), up: ms(up), jitter: jitter.map(ms) });
        Schedule { after: ms(after), lasts: lasts.map(ms), flap }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fault = (scope(), condition(), schedule()).prop_map(|(scope, condition, schedule)| Fault {
        scope,
        condition,
        schedule,
    });
    let step = prop_oneof![
        3 => fault.prop_map(|fault| Step::Begin(Box::new(fault))),
        1 => any::<prop::sample::Index>().prop_map(Step::Heal),
        1 => Just(Step::AddHost),
        2 => Just(Step::Advance),
        3 => (0..40u64).prop_map(|time| Step::Wait(ms(time))),
    ];
    prop::collection::vec(step, 1..40)
}

/// A table beside what it should be: every fault that ever began, looked at one by one, and each link as its last change
/// left it.
struct World {
    faults: Faults,
    host_count: usize,
    now: Duration,
    asked: Vec<Asked>,
    links: BTreeMap<LinkId, Behaviour>,
    turns: Vec<FaultTurn>,
}

/// A fault, whose place is its id.
struct Asked {
    fault: Fault,
    at: Duration,
    healed_at: Option<Duration>,
}

impl Asked {
    /// When it comes into force, and when it ends if it is not healed.
    fn span(&self) -> (Duration, Option<Duration>) {
        let begin = self.at + self.fault.schedule.after;
        (begin, self.fault.schedule.lasts.map(|lasts| begin + lasts))
    }

    fn ends_at(&self) -> Option<Duration> {
        self.span().1.into_iter().chain(self.healed_at).min()
    }

    fn is_in_force(&self, id: usize, now: Duration) -> bool {
        let (begin, _) = self.span();
        if now < begin || self.ends_at().is_some_and(|end| now >= end) {
            return false;
        }
        let Some(Flap { down, up, jitter }) = self.fault.schedule.flap else { return true };
        let turns = Flapping::new(begin, down, up).unwrap();
        let name = format!("fault {id}");
        let turns = turns.jitter(jitter.unwrap_or_default(), SEED, &name).unwrap();
        turns.take_while(|turn| turn.at <= now).last().unwrap().is_in_force
    }
}

impl World {
    fn new() -> Self {
        let faults = table(4);
        let (links, turns) = (BTreeMap::new(), Vec::new());
        Self { faults, host_count: 4, now: ms(0), asked: Vec::new(), links, turns }
    }

    fn all(&self) -> Links {
        Topology::new(self.host_count).isolate(&(0..self.host_count).collect()).unwrap()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Begin(fault) => self.begin(*fault),
            Step::Heal(index) if !self.asked.is_empty() => self.heal(index.index(self.asked.len())),
            Step::Heal(_) => {}
            Step::AddHost => {
                assert_eq!(self.faults.add_host(), self.host_count);
                self.host_count += 1;
            }
            Step::Advance => self.advance(),
            Step::Wait(time) => self.now += time,
        }
    }

    fn begin(&mut self, fault: Fault) {
        let links = fault.scope.links(&Topology::new(self.host_count));
        let flap = fault.schedule.flap;
        let is_right =
            flap.is_none_or(|flap| flap.jitter.is_none_or(|jitter| jitter < flap.down.min(flap.up)));
        let before = self.faults.list().count();
        let began = self.faults.begin(self.now, self.asked.len() as u64, fault.clone());
        assert_eq!(began.is_ok(), is_right && links.is_ok(), "{began:?}");
        match began {
            Ok(()) => self.asked.push(Asked { fault, at: self.now, healed_at: None }),
            Err(_) => assert_eq!(self.faults.list().count(), before),
        }
    }

    fn heal(&mut self, id: usize) {
        let has_ended = self.asked[id].ends_at().is_some_and(|end| end <= self.now);
        assert_eq!(self.faults.heal(self.now, id as u64).is_ok(), !has_ended);
        if !has_ended {
            self.asked[id].healed_at = Some(self.now);
        }
    }

    fn advance(&mut self) {
        let Advance { links, turns } = self.faults.advance(self.now);
        for (link, behaviour) in links {
            let before = self.links.insert(link, behaviour).unwrap_or_default();
            assert_ne!(before, behaviour, "{link:?} was told for nothing");
        }
        self.turns.extend(turns);
        assert!(self.faults.deadline().is_none_or(|deadline| deadline > self.now));
        for link in self.all() {
            let told = self.links.get(&link).copied().unwrap_or_default();
            assert_eq!((told, told), (self.faults.behaviour(link), self.wanted(link)), "{link:?}");
        }
        let listed: Vec<_> = self.faults.list().map(|(id, ..)| id).collect();
        let left = (0u64..).zip(&self.asked);
        let left = left.filter(|(_, asked)| asked.ends_at().is_none_or(|end| end > self.now));
        assert_eq!(listed, left.map(|(id, _)| id).collect::<Vec<_>>());
    }

    fn wanted(&self, link: LinkId) -> Behaviour {
        let topology = Topology::new(self.host_count);
        let in_force = self.asked.iter().enumerate().filter(|(id, asked)| asked.is_in_force(*id, self.now));
        let covers = |asked: &&Asked| asked.fault.scope.links(&topology).unwrap().contains(&link);
        let layers = in_force.map(|(_, asked)| asked).filter(covers);
        Behaviour::of(layers.map(|asked| &asked.fault.condition)).unwrap()
    }

    /// Every fault turns in the order of time, begins in force, ends once, when its time is over, and does nothing then.
    fn check_turns(&self) {
        assert!(self.turns.is_sorted_by_key(|turn| turn.at), "{:?}", self.turns);
        for (id, asked) in self.asked.iter().enumerate() {
            let mut turns = self.turns.iter().filter(|turn| turn.id == id as u64).peekable();
            let (begin, _) = asked.span();
            let end = asked.ends_at().filter(|end| *end <= self.now);
            if begin <= self.now && end.is_none_or(|end| begin <= end) && asked.healed_at != Some(begin) {
                let first = turns.peek().expect("it came into force");
                assert_eq!((first.at, first.state), (begin, FaultState::InForce));
            }
            let turns: Vec<_> = turns.collect();
            let ended = turns.iter().filter(|turn| turn.state == FaultState::Ended).map(|turn| turn.at);
            assert_eq!(ended.collect::<Vec<_>>(), end.into_iter().collect::<Vec<_>>(), "fault {id}");
            assert!(end.is_none() || turns.last().is_some_and(|last| last.state == FaultState::Ended));
            assert!(turns.windows(2).all(|pair| pair[0].state != pair[1].state));
        }
    }
}

proptest! {
    #[test]
    fn links_do_what_the_faults_in_force_want(steps in steps()) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.take(step));
        world.advance();
        world.check_turns();
    }

    #[test]
    fn a_healed_network_does_nothing(steps in steps()) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.take(step));
        (0..world.asked.len()).for_each(|id| world.heal(id));
        world.advance();
        world.check_turns();
        assert!(world.all().into_iter().all(|link| world.faults.behaviour(link) == Behaviour::default()));
        assert_eq!((world.faults.list().count(), world.faults.deadline()), (0, None));
    }

    #[test]
    fn nothing_changes_before_its_deadline(faults in prop::collection::vec((scope(), condition(), schedule()), 1..6)) {
        let mut world = World::new();
        for (scope, condition, schedule) in faults {
            world.begin(Fault { scope, condition, schedule });
        }
        world.advance();
        for _ in 0..50 {
            let Some(deadline) = world.faults.deadline() else { break };
            let known = world.turns.len();
            world.now = deadline - Duration::from_nanos(1);
            world.advance();
            assert_eq!((world.turns.len(), world.faults.deadline()), (known, Some(deadline)));
            world.now = deadline;
            world.advance();
            assert!(world.turns.len() > known && world.turns[known..].iter().all(|turn| turn.at == deadline));
        }
        world.check_turns();
    }

    #[test]
    fn late_questions_find_the_same_turns(steps in steps()) {
        let run = |asks_often: bool| {
            let mut world = World::new();
            for step in steps.clone() {
                if asks_often || !matches!(step, Step::Advance) {
                    world.take(step);
                }
            }
            world.advance();
            world
        };
        let (often, once) = (run(true), run(false));
        assert_eq!(often.turns, once.turns);
        let done = |world: &World| world.all().into_iter().map(|link| world.faults.behaviour(link)).collect::<Vec<_>>();
        assert_eq!(done(&often), done(&once));
    }
}
