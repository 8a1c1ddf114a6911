//! The table of faults in force: which conditions hold for which links from when to when. What a link then does is
//! `link`'s part; here no packet is known.

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use netsplit_model::units::Wanted;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    Behaviour, Condition, ConditionError, Flapping, FlappingError, LinkId, Links, Scope, Topology,
    TopologyError, Turn, nanos,
};

/// When a fault is in force, from the moment it is asked for. The default: at once, until it is healed.
///
/// Written, times are in nanoseconds, and what is not asked for is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// How long until it is in force, at most 366 days.
    #[serde(default, skip_serializing_if = "Duration::is_zero", with = "nanos")]
    pub after: Duration,
    /// How long from then on until it ends by itself, flapping or not: 1 ms to 366 days.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nanos::option")]
    pub lasts: Option<Duration>,
    /// Whether it comes and goes meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flap: Option<Flap>,
}

/// How a fault comes and goes; see [`Flapping`]. It begins in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flap {
    /// How long it is in force: 1 ms to 366 days.
    #[serde(with = "nanos")]
    pub down: Duration,
    /// How long it is lifted: 1 ms to 366 days.
    #[serde(with = "nanos")]
    pub up: Duration,
    /// How much longer or shorter each of these may be, less than either. Chance is a function of the table's seed and
    /// the fault's id.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "nanos::option")]
    pub jitter: Option<Duration>,
}

/// What is wanted of which links and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault<H = usize> {
    /// Of which links.
    pub scope: Scope<H>,
    /// What.
    pub condition: Condition,
    /// When.
    #[serde(default)]
    pub schedule: Schedule,
}

/// What a fault does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultState {
    /// It is not in force yet.
    Waiting,
    /// Its condition holds.
    InForce,
    /// It flaps, and its condition does not hold for a while.
    Lifted,
    /// Its time is over, or it was healed. It is no longer in the table.
    Ended,
}

/// An instant at which a fault turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultTurn {
    /// Which.
    pub id: u64,
    /// When, since the run's begin: the instant that its schedule says, however late the table was asked.
    #[serde(with = "nanos")]
    pub at: Duration,
    /// What it does from then on; never [`FaultState::Waiting`].
    pub state: FaultState,
}

/// What has changed since the last time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advance {
    /// Each link that does anything else than what was last told of it, once, in order.
    pub links: Vec<(LinkId, Behaviour)>,
    /// What faults did meanwhile, in order of time, those of one instant in the order in which they began.
    pub turns: Vec<FaultTurn>,
}

/// Why a fault cannot begin or be healed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FaultError {
    /// Each fault has an id of its own.
    #[error("fault {id} has begun already")]
    InUse {
        /// The id.
        id: u64,
    },
    /// It never began, or has ended.
    #[error("there is no fault {id}")]
    Unknown {
        /// The id.
        id: u64,
    },
    /// The first mistake of its condition; [`Condition::mistakes`] has all.
    #[error(transparent)]
    Condition(#[from] ConditionError),
    /// It is about no links.
    #[error(transparent)]
    Scope(#[from] TopologyError),
    /// A time of its schedule cannot be.
    #[error("`{field}` is {}; allowed is {} to {}", Wanted(*.time), Wanted(*.least), Wanted(TIME_MAX))]
    Time {
        /// `after`, `lasts`, `flap.down` or `flap.up`.
        field: &'static str,
        /// What it is.
        time: Duration,
        /// The least it may be.
        least: Duration,
    },
    /// It cannot flap so.
    #[error(transparent)]
    Flapping(#[from] FlappingError),
}

/// The shortest span in force or lifted. No emulated network is exact to less, and whoever comes late to a table finds a
/// number of turns that can be told.
const SPAN_MIN: Duration = Duration::from_millis(1);
/// The longest time in a schedule: longer than any run, and far from where sums of instants end.
const TIME_MAX: Duration = Duration::from_secs(366 * 86_400);

/// The faults of a testbed, and what they make of its links.
///
/// All instants are since the run's begin; `now` never goes backwards, and one that does counts as the latest. A fault
/// that begins or is healed is so from that call on; [`advance`](Self::advance) tells what that changes, and is to be
/// called after [`begin`](Self::begin), [`heal`](Self::heal) and [`add_host`](Self::add_host) and at
/// [`deadline`](Self::deadline). To be late is harmless: turns keep their instants, and links get what holds by then.
///
/// Faults that are in force at once are layers in the order in which they began (not that in which they came into
/// force): [field by field, the newest that says anything wins](Condition).
///
/// ```
/// use netsplit_netmodel::{Condition, Fault, Faults, LinkId, Schedule, Scope};
/// use std::time::Duration;
///
/// let s = Duration::from_secs;
/// let mut faults = Faults::new(4711);
/// let [a, b] = [faults.add_host(), faults.add_host()];
/// let cut = Fault {
///     scope: Scope::OneWay { from: vec![a], to: vec![b] },
///     condition: Condition::new().cut(),
///     schedule: Schedule { lasts: Some(s(5)), ..Schedule::default() },
/// };
/// faults.begin(s(1), 1, cut).unwrap();
/// let [(link, behaviour)] = faults.advance(s(1)).links[..] else { panic!() };
/// assert_eq!((link, behaviour.to_string().as_str()), (LinkId { from: a, to: b }, "cut"));
/// assert_eq!(faults.deadline(), Some(s(6)));
/// assert_eq!(faults.advance(s(6)).links[0].1.to_string(), "nothing");
/// ```
#[derive(Debug)]
pub struct Faults {
    seed: u64,
    host_count: usize,
    /// The latest instant it was told of.
    now: Duration,
    /// Those that have not ended, the oldest first.
    entries: Vec<Entry>,
    /// What was last told of each link that did not do the default then.
    told: BTreeMap<LinkId, Behaviour>,
    /// Links that may do something else than what was told, beside those of entries that turned.
    touched: Links,
    /// Not told yet.
    turns: Vec<FaultTurn>,
}

/// A fault that has not ended.
#[derive(Debug)]
struct Entry {
    id: u64,
    fault: Fault,
    links: Links,
    state: FaultState,
    /// Whether that changed since it was last told. It is not added up link by link at each turn: a fault may flap often
    /// before anybody asks.
    has_turned: bool,
    /// When it next comes or goes.
    next: Option<Turn>,
    /// The turns behind the next one.
    flapping: Option<Flapping>,
    ends_at: Option<Duration>,
}

impl Faults {
    /// A testbed without hosts and faults.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            host_count: 0,
            now: Duration::ZERO,
            entries: Vec::new(),
            told: BTreeMap::new(),
            touched: Links::new(),
            turns: Vec::new(),
        }
    }

    /// Adds a host, and gives its index, counted from 0. Faults that are about all links of others, as `isolate` is,
    /// are about those to the new one, too.
    pub fn add_host(&mut self) -> usize {
        let host = self.host_count;
        self.host_count += 1;
        let topology = Topology::new(self.host_count);
        for entry in self.entries.iter_mut().filter(|entry| entry.fault.scope.grows()) {
            let links = entry.fault.scope.links(&topology).expect("hosts that are added make no scope wrong");
            if entry.state == FaultState::InForce {
                self.touched.extend(links.difference(&entry.links));
            }
            entry.links = links;
        }
        host
    }

    /// Begins a fault.
    ///
    /// # Errors
    /// An id in use, a mistake in condition or schedule, or a scope without links. Then nothing has changed.
    pub fn begin(&mut self, now: Duration, id: u64, fault: Fault) -> Result<(), FaultError> {
        let now = self.now.max(now);
        let is_here = |entry: &Entry| entry.id == id && entry.ends_at.is_none_or(|end| end > now);
        if self.entries.iter().any(is_here) {
            return Err(FaultError::InUse { id });
        }
        let links = fault.scope.links(&Topology::new(self.host_count))?;
        if let Some(mistake) = fault.condition.mistakes().into_iter().next() {
            return Err(mistake.into());
        }
        let entry = Entry::new(now, id, fault, links, self.seed)?;
        self.run_until(now);
        self.entries.push(entry);
        self.run_until(now);
        Ok(())
    }

    /// Ends a fault.
    ///
    /// # Errors
    /// When there is none of this id, or it has ended by itself by now.
    pub fn heal(&mut self, now: Duration, id: u64) -> Result<(), FaultError> {
        self.run_until(now);
        let place = self.entries.iter().position(|entry| entry.id == id).ok_or(FaultError::Unknown { id })?;
        self.end(place, self.now);
        Ok(())
    }

    /// Lets time pass until `now`, and tells what has changed since this was last asked.
    pub fn advance(&mut self, now: Duration) -> Advance {
        self.run_until(now);
        for entry in self.entries.iter_mut().filter(|entry| entry.has_turned) {
            entry.has_turned = false;
            self.touched.append(&mut entry.links.clone());
        }
        let mut links = Vec::with_capacity(self.touched.len());
        for link in mem::take(&mut self.touched) {
            let behaviour = self.behaviour(link);
            let told = if behaviour == Behaviour::default() {
                self.told.remove(&link)
            } else {
                self.told.insert(link, behaviour)
            };
            if told.unwrap_or_default() != behaviour {
                links.push((link, behaviour));
            }
        }
        Advance { links, turns: mem::take(&mut self.turns) }
    }

    /// The next instant at which [`advance`](Self::advance) has anything to tell. `None` while nothing will change by
    /// itself.
    pub fn deadline(&self) -> Option<Duration> {
        if self.touched.is_empty() && self.turns.is_empty() {
            self.next_turn().map(|(at, _)| at)
        } else {
            Some(self.now)
        }
    }

    /// The faults that have not ended, the oldest first, with their ids and what they do now.
    pub fn list(&self) -> impl Iterator<Item = (u64, &Fault, FaultState)> {
        self.entries.iter().map(|entry| (entry.id, &entry.fault, entry.state))
    }

    /// What the table wants of a link now. Of one that is not in the testbed: the default.
    pub fn behaviour(&self, link: LinkId) -> Behaviour {
        let in_force = self.entries.iter().filter(|entry| entry.state == FaultState::InForce);
        let layers = in_force.filter(|entry| entry.links.contains(&link)).map(|entry| &entry.fault.condition);
        Behaviour::resolve(&layers.fold(Condition::new(), |below, newer| newer.over(&below)))
    }

    /// Lets all happen that is due by `now`.
    fn run_until(&mut self, now: Duration) {
        self.now = self.now.max(now);
        while let Some((at, place)) = self.next_turn().filter(|(at, _)| *at <= self.now) {
            self.turn(place, at);
        }
    }

    /// When the next fault turns, and its place; of several at once the oldest.
    fn next_turn(&self) -> Option<(Duration, usize)> {
        let turns = self.entries.iter().enumerate();
        turns.filter_map(|(place, entry)| Some((entry.turns_at()?, place))).min()
    }

    fn turn(&mut self, place: usize, at: Duration) {
        let entry = &mut self.entries[place];
        match entry.next.filter(|_| entry.ends_at != Some(at)) {
            None => self.end(place, at),
            Some(turn) => {
                debug_assert_eq!(turn.at, at);
                entry.state = if turn.is_in_force { FaultState::InForce } else { FaultState::Lifted };
                entry.next = entry.flapping.as_mut().and_then(Iterator::next);
                entry.has_turned = true;
                self.turns.push(FaultTurn { id: entry.id, at, state: entry.state });
            }
        }
    }

    fn end(&mut self, place: usize, at: Duration) {
        let mut entry = self.entries.remove(place);
        if entry.state == FaultState::InForce || entry.has_turned {
            self.touched.append(&mut entry.links);
        }
        self.turns.push(FaultTurn { id: entry.id, at, state: FaultState::Ended });
    }
}

impl Entry {
    /// # Errors
    /// A mistake in the schedule.
    fn new(now: Duration, id: u64, fault: Fault, links: Links, seed: u64) -> Result<Self, FaultError> {
        let Schedule { after, lasts, flap } = fault.schedule;
        check_time("after", after, Duration::ZERO)?;
        lasts.map_or(Ok(()), |lasts| check_time("lasts", lasts, SPAN_MIN))?;
        let begins_at = now + after;
        let mut flapping = flap.map(|flap| flap.turns(begins_at, id, seed)).transpose()?;
        let next = flapping.as_mut().map_or(Some(Turn { at: begins_at, is_in_force: true }), Iterator::next);
        let ends_at = lasts.map(|lasts| begins_at + lasts);
        Ok(Self { id, fault, links, state: FaultState::Waiting, has_turned: false, next, flapping, ends_at })
    }

    fn turns_at(&self) -> Option<Duration> {
        self.next.map(|turn| turn.at).into_iter().chain(self.ends_at).min()
    }
}

impl Flap {
    fn turns(self, begins_at: Duration, id: u64, seed: u64) -> Result<Flapping, FaultError> {
        check_time("flap.down", self.down, SPAN_MIN)?;
        check_time("flap.up", self.up, SPAN_MIN)?;
        let turns = Flapping::new(begins_at, self.down, self.up)?;
        match self.jitter {
            Some(jitter) => Ok(turns.jitter(jitter, seed, &format!("fault {id}"))?),
            None => Ok(turns),
        }
    }
}

fn check_time(field: &'static str, time: Duration, least: Duration) -> Result<(), FaultError> {
    let is_right = (least..=TIME_MAX).contains(&time);
    if is_right { Ok(()) } else { Err(FaultError::Time { field, time, least }) }
}
