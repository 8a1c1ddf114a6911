//! Faults in force: the guard, and how one begins and heals. How it turns by itself is in `core/faults.rs`.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use netsplit_model::{Capability, Event, HostName, Reason, Trouble};
use netsplit_netmodel::{FaultState, Schedule};
use netsplit_provider::FaultSpec;
use tokio::task::JoinHandle;

use super::{Change, Part, check_fault, check_name};
use crate::core::{Core, FaultBegins};
use crate::engine::{run_on, stopped};
use crate::error::Result;
use crate::place;

/// A fault of the network. Dropped, it heals; [`heal`](Self::heal) also says whether it did.
#[must_use = "a fault heals when its guard is dropped"]
pub struct Fault {
    core: Arc<Core>,
    number: u32,
    what: String,
    is_left: bool,
}

impl Fault {
    /// Itself in words: `isolate a`.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Heals it. When this returns the network was read back: its links do what they did before.
    ///
    /// # Errors
    /// The network did not heal.
    #[track_caller]
    pub fn heal(self) -> impl Future<Output = Result> + Send {
        let at = place::of(Location::caller());
        // Dropped before it has come to that, this drops the guard.
        async move { self.core.noted(heal(&self.core, self.number).await, at) }
    }

    /// Leaves it in force until the run ends, or [`Network::heal`](super::Network::heal) heals it by its name.
    pub fn leave(mut self) {
        self.is_left = true;
    }

    /// The number by which the run's log knows it.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        let Some(fault) = lift(&self.core, self.number) else { return };
        let core = Arc::clone(&self.core);
        // What the test asks of the network next waits for it: see `settle`.
        let heals = core.heals();
        self.core.engine.spawn(async move {
            if let Err(trouble) = heal_parts(&core, fault.ids).await {
                core.warn(trouble);
            }
            drop(heals);
        });
    }
}

/// A fault in force, as the run knows it.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    /// Its number in this run.
    pub(crate) number: u32,
    /// Its parts' numbers in the network, of those that have not ended.
    pub(crate) ids: Vec<u32>,
    pub(crate) name: Option<String>,
    pub(crate) what: String,
    /// Since when it is what it is: in force, or not.
    pub(crate) since: Duration,
    /// When its time is over, if it keeps one.
    pub(crate) ends: Option<Duration>,
    /// It waits for its time, or is lifted for a while.
    pub(crate) is_lifted: bool,
    /// Somebody else began it.
    pub(crate) is_foreign: bool,
    /// Hosts that we do not reach ourselves while it is in force.
    pub(crate) unreached: Vec<HostName>,
}

impl InForce {
    /// Its name in the log.
    pub(crate) fn label(number: u32) -> String {
        format!("f{number}")
    }

    /// Whether we do not reach this host ourselves, because of it and now.
    pub(crate) fn closes(&self, host: &HostName) -> bool {
        !self.is_lifted && self.unreached.contains(host)
    }
}

/// What is asked of the network.
struct Asked {
    parts: Vec<Part>,
    name: Option<String>,
    what: String,
    schedule: Schedule,
    /// The hosts and routers that it names.
    on: Vec<HostName>,
    control: bool,
}

/// A fault that is being begun. When nobody waits for it any more it is healed as soon as it has begun.
struct Begins {
    core: Arc<Core>,
    task: Option<JoinHandle<Result<Fault>>>,
}

impl Drop for Begins {
    fn drop(&mut self) {
        let Some(task) = self.task.take() else { return };
        let heals = self.core.heals();
        self.core.engine.spawn(async move {
            drop(task.await);
            drop(heals);
        });
    }
}

/// Begins a fault, once what is wrong with it would have been said.
pub(super) async fn begin(change: Change) -> Result<Fault> {
    let core = Arc::clone(&change.core);
    core.need(Capability::Network)?;
    if let Some(mistake) = change.mistakes.first() {
        return Err(mistake.clone().into());
    }
    let what = change.words(change.parts.as_ref().map_err(Clone::clone)?);
    let Change { parts, name, schedule, control, .. } = change;
    let parts = parts?;
    for part in &parts {
        check_fault(&core.stations(), &what, &part.scope, &part.condition, schedule)?;
    }
    check_name(&core, name.as_deref())?;
    settle(&core).await;
    let on: BTreeSet<HostName> = parts.iter().flat_map(|part| part.scope.hosts()).cloned().collect();
    let asked = Asked { parts, name, what, schedule, on: on.into_iter().collect(), control };
    let task = core.engine.spawn(carry_out(Arc::clone(&core), asked));
    let mut begins = Begins { core, task: Some(task) };
    let Some(task) = &mut begins.task else { unreachable!("it was put there") };
    let begun = task.await;
    begins.task = None;
    begun.map_err(|error| stopped(&error))?
}

/// Runs on the engine, to its end: a fault that the network has belongs to a guard, whatever becomes of who asked for it.
async fn carry_out(core: Arc<Core>, asked: Asked) -> Result<Fault> {
    let Asked { parts, name, what, schedule, on, control } = asked;
    // Routers are no hosts of ours: there is no way to close.
    let hosts = core.names();
    let is_reached = |host: &&HostName| control && hosts.contains(host);
    let unreached = on.iter().filter(is_reached).cloned().collect();
    let number = core.next_fault();
    let fault = InForce::label(number);
    let event =
        Event::FaultBegan { fault: fault.clone(), name: name.clone(), what: what.clone(), on, control };
    let since = core.recorder.disturbance(event, format!("`{what}` began"));
    let is_lifted = !schedule.after.is_zero();
    if is_lifted {
        core.recorder.event(Event::FaultTurned { fault: fault.clone(), in_force: false });
    }
    let _news_waits = core.begins_fault();
    let specs = specs(parts, name.as_ref(), &what, schedule);
    let ids = begin_parts(&core, specs).await.inspect_err(|_| {
        core.recorder.event(Event::FaultEnded { fault, why: "refused".into() });
    })?;
    let guard = Fault { core: Arc::clone(&core), number, what: what.clone(), is_left: false };
    let ends = schedule.lasts.map(|lasts| since + schedule.after + lasts);
    core.add_fault(InForce { number, ids, name, what, since, ends, is_lifted, is_foreign: false, unreached });
    Ok(guard)
}

/// What is asked of the network. Its first part has the name.
fn specs(parts: Vec<Part>, name: Option<&String>, what: &str, schedule: Schedule) -> Vec<FaultSpec> {
    let name_of = |index: usize| name.filter(|_| index == 0).cloned();
    let spec = |(index, Part { scope, condition }): (usize, Part)| FaultSpec {
        name: name_of(index),
        what: what.to_owned(),
        fault: netsplit_netmodel::Fault {
            scope: scope
                .try_map(|host| Ok::<_, std::convert::Infallible>(host.to_string()))
                .unwrap_or_else(|never| match never {}),
            condition,
            schedule,
        },
        outlives_asker: false,
    };
    parts.into_iter().enumerate().map(spec).collect()
}

/// Begins all parts of a fault, or none.
async fn begin_parts(core: &Core, specs: Vec<FaultSpec>) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for spec in specs {
        match core.bed.begin_fault(spec).await {
            Ok(id) => {
                core.owns_fault(id);
                ids.push(id);
            }
            Err(trouble) => {
                if let Err(stays) = heal_parts(core, ids).await {
                    core.warn(stays);
                }
                return Err(trouble.into());
            }
        }
    }
    Ok(ids)
}

/// Heals a fault once those that were dropped before it are healed.
pub(super) async fn heal(core: &Arc<Core>, number: u32) -> Result {
    settle(core).await;
    // One whose time was over is healed.
    let Some(fault) = lift(core, number) else { return Ok(()) };
    let (task, heals) = (Arc::clone(core), core.heals());
    let healed = async move {
        let healed = heal_parts(&task, fault.ids).await;
        drop(heals);
        healed
    };
    run_on(&core.engine, healed).await?.map_err(Into::into)
}

/// Heals each of these, also when one does not; the first that did not says why.
async fn heal_parts(core: &Core, ids: Vec<u32>) -> Result<(), Trouble> {
    let mut all = Ok(());
    for id in ids {
        let healed = match core.bed.heal(id).await {
            // One that the network does not know any more ended by itself at this very moment.
            Err(trouble) if trouble.name == Reason::BadFault => Ok(()),
            healed => healed,
        };
        all = all.and(healed);
    }
    all
}

/// Takes a fault from the run's list: from now on it is none, though the network has not healed yet.
fn lift(core: &Core, number: u32) -> Option<InForce> {
    let fault = core.take_fault(number)?;
    let event = Event::FaultEnded { fault: InForce::label(number), why: "healed".into() };
    core.recorder.disturbance(event, format!("`{}` was healed", fault.what));
    core.reach(&fault.unreached);
    Some(fault)
}

/// Waits until faults whose guards were dropped are healed.
pub(crate) async fn settle(core: &Core) {
    // The core has the other end.
    let _none_heals = core.healing.subscribe().wait_for(|count| *count == 0).await.is_ok();
}

/// Notes a fault that somebody else began, as with `netsplit bed`. What it does meanwhile waits for `_news_waits`.
pub(crate) async fn note_foreign(core: Arc<Core>, id: u32, _news_waits: FaultBegins) {
    let report = core.bed.network().await.unwrap_or_default();
    let Some(fault) = report.faults.into_iter().find(|fault| fault.id == id) else { return };
    let number = core.next_fault();
    let (name, what) = (fault.name, fault.what);
    let event = Event::FaultBegan {
        fault: InForce::label(number),
        name: name.clone(),
        what: format!("{what}, from outside"),
        on: Vec::new(),
        control: false,
    };
    let since = core.recorder.disturbance(event, format!("`{what}` began, from outside"));
    let is_lifted = fault.state != FaultState::InForce;
    if is_lifted {
        core.recorder.event(Event::FaultTurned { fault: InForce::label(number), in_force: false });
    }
    core.add_fault(InForce {
        number,
        ids: vec![id],
        name,
        what,
        since,
        ends: None,
        is_lifted,
        is_foreign: true,
        unreached: Vec::new(),
    });
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({})", self.what)
    }
}
