//! The network between hosts: faults as guards, and what is in force. Captures have a file of their own.

mod capture;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use netsplit_model::{Capability, Event, HostName, Place, Reason, Selector, Trouble, nearest};
use netsplit_netmodel::{
    Condition, Ends, FaultError, Faults, Flap, Jitter, Loss, PRESETS, Schedule, Scope, TopologyError, preset,
    regions,
};
use netsplit_provider::{CaptureFilter, FaultSpec, NetworkReport};

pub use capture::Capture;
pub(crate) use capture::{capture, new_file, of_host};

use crate::core::Core;
use crate::engine::run_on;
use crate::error::{Error, Result};
use crate::host::Hosts;
use crate::place;
use crate::process::BoxFuture;

/// The network between the hosts of a testbed: [`Testbed::network`](crate::Testbed::network).
///
/// What changes it gives a [`Change`], which is awaited and gives a [`Fault`], which is a guard. Of several faults in
/// force on one link each field is as the newest says that says anything of it; what one takes away comes back when it is
/// healed.
#[derive(Clone)]
pub struct Network {
    core: Arc<Core>,
}

/// Directed links between hosts: `a.to(&b)`, `a.and(&b)`, or in words `"a to members,-a"`.
#[derive(Clone, Debug)]
pub struct Links(Scope<HostName>);

/// What names links.
pub trait IntoLinks {
    /// The links; of words those of this network's hosts.
    ///
    /// # Errors
    /// Words that are no links, or name nobody.
    fn into_links(self, network: &Network) -> Result<Links>;
}

impl IntoLinks for Links {
    fn into_links(self, _network: &Network) -> Result<Links> {
        Ok(self)
    }
}

impl IntoLinks for &str {
    fn into_links(self, network: &Network) -> Result<Links> {
        let Some(Ends { left, right, is_both_ways }) = Ends::parse(self) else {
            let text = format!("`{self}` names no links");
            return Err(Trouble::new(Reason::BadFault, text)
                .fix("`a to b` one way, `a and b` both ways")
                .into());
        };
        let [left, right] = [network.select(left)?, network.select(right)?];
        Ok(Links(if is_both_ways {
            Scope::BothWays { left, right }
        } else {
            Scope::OneWay { from: left, to: right }
        }))
    }
}

/// Names the links between hosts.
pub trait Between {
    /// From each of these to each of `others`, one way.
    fn to(&self, others: impl Hosts) -> Links;

    /// Between each of these and each of `others`, both ways.
    fn and(&self, others: impl Hosts) -> Links;
}

impl<H: ?Sized> Between for H
where
    for<'h> &'h H: Hosts,
{
    fn to(&self, others: impl Hosts) -> Links {
        Links(Scope::OneWay { from: self.hosts(), to: others.hosts() })
    }

    fn and(&self, others: impl Hosts) -> Links {
        Links(Scope::BothWays { left: self.hosts(), right: others.hosts() })
    }
}

impl Network {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core) }
    }

    /// Drops every packet on these links, silently.
    #[track_caller]
    pub fn cut(&self, links: impl IntoLinks) -> Change {
        self.on_links("cut", links, Condition::new().cut())
    }

    /// Refuses every packet on these links: the sender gets a TCP reset, or an ICMP message.
    #[track_caller]
    pub fn reject(&self, links: impl IntoLinks) -> Change {
        self.on_links("reject", links, Condition::new().reject())
    }

    /// Keeps packets back until the fault is healed; then they arrive, in order.
    #[track_caller]
    pub fn hold(&self, links: impl IntoLinks) -> Change {
        self.on_links("hold", links, Condition::new().hold())
    }

    /// Shapes these links: say how, [`delay`](Change::delay) and so on.
    #[track_caller]
    pub fn link(&self, links: impl IntoLinks) -> Change {
        self.on_links("link", links, Condition::new())
    }

    /// Cuts each of these hosts off from all others, also from one another.
    #[track_caller]
    pub fn isolate(&self, hosts: impl Hosts) -> Change {
        self.cutting(Scope::Isolate { hosts: hosts.hosts() })
    }

    /// Cuts groups off from one another. Hosts in none see all.
    #[track_caller]
    pub fn partition<H: Hosts>(&self, groups: impl IntoIterator<Item = H>) -> Change {
        self.cutting(Scope::Partition { groups: groups.into_iter().map(Hosts::hosts).collect() })
    }

    /// Each of these hosts hears a majority of them, and no two the same one.
    #[track_caller]
    pub fn ring(&self, hosts: impl Hosts) -> Change {
        self.cutting(Scope::Ring { hosts: hosts.hosts() })
    }

    /// Two halves of these hosts do not hear each other, and `middle` hears both.
    #[track_caller]
    pub fn bridge(&self, hosts: impl Hosts, middle: impl Hosts) -> Change {
        self.cutting(Scope::Bridge { hosts: hosts.hosts(), middle: middle.hosts() })
    }

    /// Puts hosts into regions of a cloud ([`regions::REGIONS`]): between them, and between hosts of one region, packets
    /// take as long as there. Hosts that have no place keep the links they had.
    #[track_caller]
    pub fn regions<'r, H: Hosts>(&self, places: impl IntoIterator<Item = (&'r str, H)>) -> Change {
        let places: Vec<_> = places.into_iter().map(|(name, hosts)| (name, hosts.hosts())).collect();
        let shown = places.iter().map(|(name, hosts)| format!("{name} {}", listed(hosts)));
        let what = format!("regions {}", shown.collect::<Vec<_>>().join(" | "));
        let parts = region_parts(&places);
        Change {
            what: Some(what),
            parts,
            ..self.fault("", Ok(Scope::Isolate { hosts: Vec::new() }), Condition::new())
        }
    }

    /// A fault in the parts of which the others are made.
    #[track_caller]
    pub fn fault(&self, verb: &'static str, scope: Result<Scope<HostName>>, condition: Condition) -> Change {
        Change {
            core: Arc::clone(&self.core),
            verb,
            what: None,
            parts: scope.map(|scope| vec![Part { scope, condition }]),
            mistakes: Vec::new(),
            schedule: Schedule::default(),
            name: None,
            control: false,
            at: place::of(Location::caller()),
        }
    }

    #[track_caller]
    fn on_links(&self, verb: &'static str, links: impl IntoLinks, condition: Condition) -> Change {
        self.fault(verb, links.into_links(self).map(|Links(scope)| scope), condition)
    }

    #[track_caller]
    fn cutting(&self, scope: Scope<HostName>) -> Change {
        self.fault("", Ok(scope), Condition::new().cut())
    }

    /// Heals the fault of this name, or all that were begun here.
    ///
    /// # Errors
    /// Nothing in force is called that; or the network did not heal.
    #[track_caller]
    pub fn heal<'a>(&'a self, name: &'a str) -> impl Future<Output = Result> + Send + 'a {
        let at = place::of(Location::caller());
        async move {
            let found = self.core.faults().into_iter().filter(|fault| fault.name.as_deref() == Some(name));
            let found: Vec<_> = found.collect();
            if found.is_empty() {
                let names: Vec<_> = self.core.faults().into_iter().filter_map(|fault| fault.name).collect();
                let near = nearest(name, names.iter().map(String::as_str));
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                let text = format!("no fault called `{name}` is in force{near}");
                return self.core.noted(Err(Error::new(Reason::UnknownName, text)), at);
            }
            for fault in found {
                let healed = heal(&self.core, fault.number).await;
                self.core.noted(healed, at.clone())?;
            }
            Ok(())
        }
    }

    /// Heals every fault that was begun here and is in force.
    ///
    /// # Errors
    /// The network did not heal.
    #[track_caller]
    pub fn heal_all(&self) -> impl Future<Output = Result> + Send + '_ {
        let at = place::of(Location::caller());
        async move {
            for fault in self.core.faults() {
                let healed = heal(&self.core, fault.number).await;
                self.core.noted(healed, at.clone())?;
            }
            Ok(())
        }
    }

    /// Reads from the network what is in force on which links, and what has happened to packets.
    ///
    /// # Errors
    /// The testbed has gone, or its network is not netsplit's.
    #[track_caller]
    pub fn report(&self) -> impl Future<Output = Result<NetworkReport>> + Send + '_ {
        let at = place::of(Location::caller());
        async move {
            settle(&self.core).await;
            let core = Arc::clone(&self.core);
            let report = async move { core.bed.network().await.map_err(Error::from) };
            self.core.noted(run_on(&self.core.engine, report).await.and_then(|report| report), at)
        }
    }

    /// Writes the packets of these links into the evidence, for Wireshark.
    #[track_caller]
    pub fn capture(&self, links: impl IntoLinks) -> impl Future<Output = Result<Capture>> + Send + 'static {
        let links = links.into_links(self).and_then(|Links(scope)| capture::one_link(&scope));
        capture(&self.core, links, place::of(Location::caller()))
    }

    /// Writes the packets of all links into the evidence, for Wireshark.
    #[track_caller]
    pub fn capture_all(&self) -> impl Future<Output = Result<Capture>> + Send + 'static {
        capture(&self.core, Ok(("all".to_owned(), CaptureFilter::All)), place::of(Location::caller()))
    }

    fn select(&self, selector: &str) -> Result<Vec<HostName>> {
        let parsed = Selector::parse(selector);
        let parsed = parsed.map_err(|error| Error::new(Reason::UnknownHost, error.to_string()))?;
        let router = |name: &str| self.core.stations().into_iter().find(|station| station.as_str() == name);
        let names = parsed.resolve(|name| self.core.named(name).or_else(|| Some(vec![router(name)?])));
        names.map_err(|term| self.core.unknown_name(&term.name))
    }
}

fn listed(hosts: &[HostName]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The links within each region and between each two of them.
fn region_parts(places: &[(&str, Vec<HostName>)]) -> Result<Vec<Part>> {
    let bad = |text: String| Trouble::new(Reason::BadFault, text);
    let mut found: BTreeMap<&HostName, &str> = BTreeMap::new();
    for (name, host) in places.iter().flat_map(|(name, hosts)| hosts.iter().map(move |host| (*name, host))) {
        if let Some(first) = found.insert(host, name) {
            return Err(bad(format!("{host} is in {first} and in {name}")).into());
        }
    }
    let mut parts = Vec::new();
    for (index, (from, left)) in places.iter().enumerate() {
        for (to, right) in &places[index..] {
            let Some(condition) = regions::between(from, to) else {
                let name = if regions::REGIONS.contains(from) { to } else { from };
                let near = nearest(name, regions::REGIONS).map(|near| format!("; did you mean `{near}`?"));
                let trouble = bad(format!("no region `{name}`{}", near.unwrap_or_default()));
                return Err(trouble.saw(format!("regions: {}", regions::REGIONS.join(" "))).into());
            };
            // A host has no link to itself.
            if from != to || left.len() > 1 {
                let scope = Scope::BothWays { left: left.clone(), right: right.clone() };
                parts.push(Part { scope, condition });
            }
        }
    }
    if parts.is_empty() { Err(bad("no two hosts have a place".into()).into()) } else { Ok(parts) }
}

/// What happens to some links.
struct Part {
    scope: Scope<HostName>,
    condition: Condition,
}

/// A change of the network that does nothing until it is awaited; then it is a [`Fault`].
#[must_use = "a change does nothing until it is awaited"]
pub struct Change {
    core: Arc<Core>,
    verb: &'static str,
    /// Its words, when its parts do not say them.
    what: Option<String>,
    parts: Result<Vec<Part>>,
    mistakes: Vec<Trouble>,
    schedule: Schedule,
    name: Option<String>,
    control: bool,
    at: Option<Place>,
}

impl Change {
    /// Each packet arrives so much later.
    pub fn delay(self, delay: Duration) -> Self {
        self.with(|condition| condition.delay(delay))
    }

    /// By how much delays differ, and how they are spread; it wants a [`delay`](Self::delay).
    pub fn jitter(self, jitter: Jitter) -> Self {
        self.with(|condition| condition.jitter(jitter))
    }

    /// This share of packets is lost, each by itself: 0.1 is 10 %.
    pub fn loss(self, share: f64) -> Self {
        self.with(|condition| condition.loss(share))
    }

    /// Packets are lost in bursts.
    pub fn losing(self, loss: Loss) -> Self {
        self.with(|condition| condition.losing(loss))
    }

    /// This share of packets arrives twice.
    pub fn duplicate(self, share: f64) -> Self {
        self.with(|condition| condition.duplicate(share))
    }

    /// This share of packets is overtaken by those that come within `by`.
    pub fn reorder(self, share: f64, by: Duration) -> Self {
        self.with(|condition| condition.reorder(share, by))
    }

    /// This share of packets arrives with one bit flipped.
    pub fn corrupt(self, share: f64) -> Self {
        self.with(|condition| condition.corrupt(share))
    }

    /// So many bits pass in a second.
    pub fn rate(self, bits_per_s: u64) -> Self {
        self.with(|condition| condition.rate(bits_per_s))
    }

    /// So many bytes wait for the line at most; it wants a [`rate`](Self::rate).
    pub fn queue(self, bytes: u64) -> Self {
        self.with(|condition| condition.queue(bytes))
    }

    /// Longer packets are dropped.
    pub fn mtu(self, bytes: u32) -> Self {
        self.with(|condition| condition.mtu(bytes))
    }

    /// What usual links are like: `lan`, `wan`, `geo` and so on. What is said beside it wins.
    pub fn preset(mut self, name: &str) -> Self {
        match preset(name) {
            Some(preset) => return self.with(|condition| condition.over(&preset.condition)),
            None => {
                let names = PRESETS.iter().map(|preset| preset.name);
                let near = nearest(name, names.clone()).map(|near| format!("; did you mean `{near}`?"));
                let text = format!("no preset `{name}`{}", near.unwrap_or_default());
                let known = names.collect::<Vec<_>>().join(" ");
                self.mistakes.push(Trouble::new(Reason::BadFault, text).saw(format!("presets: {known}")));
            }
        }
        self
    }

    /// Refuses packets rather than drop them silently.
    pub fn rejecting(self) -> Self {
        self.with(Condition::reject)
    }

    /// What it is called; nothing else in force may be called that.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// It heals by itself after so long.
    pub fn lasting(mut self, time: Duration) -> Self {
        self.schedule.lasts = Some(time);
        self
    }

    /// It begins so much later.
    pub fn after(mut self, time: Duration) -> Self {
        self.schedule.after = time;
        self
    }

    /// It is in force for `down`, then lifted for `up`, and so on.
    pub fn flap(mut self, down: Duration, up: Duration) -> Self {
        self.schedule.flap = Some(Flap { down, up, jitter: None });
        self
    }

    /// When it is in force, in one value.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Cuts off netsplit, too: while the fault is in force nothing is heard of these hosts, and they hear nothing of us.
    /// Otherwise the way by which a test reaches its hosts is never touched.
    pub fn control(mut self) -> Self {
        self.control = true;
        self
    }

    fn with(mut self, change: impl Fn(Condition) -> Condition) -> Self {
        for part in self.parts.iter_mut().flatten() {
            part.condition = change(part.condition);
        }
        self
    }

    /// The fault in words: `isolate a`, `link a to b delay 50ms`.
    fn words(&self, parts: &[Part]) -> String {
        let of = |Part { scope, condition }: &Part| fault_words(self.verb, scope, condition);
        let words = || parts.iter().map(of).collect::<Vec<_>>().join(", ");
        self.what.clone().unwrap_or_else(words)
    }

    async fn begin(self) -> Result<Fault> {
        let (core, at) = (Arc::clone(&self.core), self.at.clone());
        core.noted(begin(self).await, at)
    }
}

impl IntoFuture for Change {
    type Output = Result<Fault>;
    type IntoFuture = BoxFuture<Result<Fault>>;

    fn into_future(self) -> BoxFuture<Result<Fault>> {
        Box::pin(self.begin())
    }
}

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
    pub fn heal(mut self) -> impl Future<Output = Result> + Send {
        let at = place::of(Location::caller());
        self.is_left = true;
        async move { self.core.noted(heal(&self.core, self.number).await, at) }
    }

    /// Leaves it in force until the run ends, or [`Network::heal`] heals it by its name.
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
        let task = self.core.engine.spawn(async move {
            for id in fault.ids {
                if let Err(trouble) = heal_in_bed(&core, id).await {
                    core.warn(trouble);
                }
            }
        });
        self.core.is_healing(task);
    }
}

/// A fault in force, as the run knows it.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    /// Its number in this run.
    pub(crate) number: u32,
    /// Its parts' numbers in the network.
    pub(crate) ids: Vec<u32>,
    pub(crate) name: Option<String>,
    pub(crate) what: String,
    /// Since when it is what it is: in force, or not.
    pub(crate) since: Duration,
    /// It waits for its time, or is lifted for a while.
    pub(crate) is_lifted: bool,
    /// Hosts that we do not reach ourselves meanwhile.
    pub(crate) unreached: Vec<HostName>,
}

impl InForce {
    /// Its name in the log.
    pub(crate) fn label(number: u32) -> String {
        format!("f{number}")
    }
}

async fn begin(change: Change) -> Result<Fault> {
    let core = Arc::clone(&change.core);
    core.need(Capability::Network)?;
    if let Some(mistake) = change.mistakes.first() {
        return Err(mistake.clone().into());
    }
    let what = change.words(change.parts.as_ref().map_err(Clone::clone)?);
    let parts = change.parts?;
    for part in &parts {
        check_fault(&core.stations(), &what, &part.scope, &part.condition, change.schedule)?;
    }
    check_name(&core, change.name.as_deref())?;
    settle(&core).await;
    let hosts: BTreeSet<HostName> = parts.iter().flat_map(|part| part.scope.hosts()).cloned().collect();
    let on: Vec<HostName> = hosts.into_iter().collect();
    // Nobody has a way to a router, which has no agent.
    let hosts = core.names();
    let reached = on.iter().filter(|name| change.control && hosts.contains(name));
    let unreached: Vec<_> = reached.cloned().collect();
    let number = core.next_fault();
    let name = change.name;
    let event = Event::FaultBegan {
        fault: InForce::label(number),
        name: name.clone(),
        what: what.clone(),
        on,
        control: change.control,
    };
    let since = core.recorder.disturbance(event, format!("`{what}` began"));
    let is_lifted = !change.schedule.after.is_zero();
    if is_lifted {
        core.recorder.event(Event::FaultTurned { fault: InForce::label(number), in_force: false });
    }
    let _news_waits = core.begins_fault();
    let asker = Arc::clone(&core);
    let specs = specs(parts, name.as_ref(), &what, change.schedule);
    match run_on(&core.engine, async move { begin_all(&asker, specs).await }).await.and_then(|begun| begun) {
        Ok(ids) => {
            core.set_reached(&unreached, false);
            let what = what.clone();
            core.add_fault(InForce { number, ids, name, what, since, is_lifted, unreached });
        }
        Err(error) => {
            core.recorder.event(Event::FaultEnded { fault: InForce::label(number), why: "refused".into() });
            return Err(error);
        }
    }
    Ok(Fault { core, number, what, is_left: false })
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
async fn begin_all(core: &Core, specs: Vec<FaultSpec>) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    for spec in specs {
        match core.bed.begin_fault(spec).await {
            Ok(id) => ids.push(id),
            Err(trouble) => {
                for id in ids {
                    core.bed.heal(id).await?;
                }
                return Err(trouble.into());
            }
        }
    }
    Ok(ids)
}

fn check_name(core: &Core, name: Option<&str>) -> Result {
    let other = core.faults().into_iter().find(|fault| name.is_some() && fault.name.as_deref() == name);
    let Some(other) = other else { return Ok(()) };
    let text = format!("a fault `{}` is in force already: {}", name.unwrap_or_default(), other.what);
    Err(Error::new(Reason::DuplicateName, text))
}

/// A fault in words: `isolate a`, `link a to b delay 50ms`. `verb` is that of a fault of links, else empty.
pub fn fault_words(verb: &str, scope: &Scope<HostName>, condition: &Condition) -> String {
    match verb {
        "" if *condition == Condition::new().cut() => scope.to_string(),
        "link" | "" => format!("{verb} {scope} {condition}").trim_start().to_owned(),
        verb => format!("{verb} {scope}"),
    }
}

/// Says what is wrong with a fault between hosts called `names`, before anything is asked of their network.
///
/// # Errors
/// [`Reason::BadFault`], or [`Reason::UnknownHost`].
pub fn check_fault(
    names: &[HostName],
    what: &str,
    scope: &Scope<HostName>,
    condition: &Condition,
    schedule: Schedule,
) -> Result<(), Trouble> {
    let bad = |text: String| Trouble::new(Reason::BadFault, format!("`{what}` cannot be: {text}"));
    let mistakes: Vec<_> = condition.mistakes().iter().map(ToString::to_string).collect();
    if !mistakes.is_empty() {
        return Err(bad(mistakes.join("; ")));
    }
    if *condition == Condition::new() {
        return Err(bad("it does nothing".into()).fix("say what: delay, loss, rate, …"));
    }
    let index = |host: HostName| {
        let known = names.iter().position(|name| *name == host);
        known.ok_or_else(|| Trouble::new(Reason::UnknownHost, format!("no host `{host}`")))
    };
    let scope = scope.clone().try_map(index)?;
    let mut table = Faults::new(0);
    for _host in names {
        table.add_host();
    }
    let fault = netsplit_netmodel::Fault { scope, condition: *condition, schedule };
    table.begin(Duration::ZERO, 1, fault).map_err(|error| {
        bad(match error {
            FaultError::Scope(error) => in_names(&error, names),
            other => other.to_string(),
        })
    })
}

/// netmodel knows hosts by their numbers.
fn in_names(error: &TopologyError, names: &[HostName]) -> String {
    match error {
        TopologyError::Overlap { host, first, second } => {
            format!("{} is in group {first} and in group {second}", names[*host])
        }
        TopologyError::Twice { host } => format!("{} is named twice", names[*host]),
        other => other.to_string(),
    }
}

/// Heals a fault once those that were dropped before it are healed.
async fn heal(core: &Arc<Core>, number: u32) -> Result {
    settle(core).await;
    // One whose time was over is healed.
    let Some(fault) = lift(core, number) else { return Ok(()) };
    let task = Arc::clone(core);
    let heal_all = async move {
        for id in fault.ids {
            heal_in_bed(&task, id).await?;
        }
        Ok(())
    };
    run_on(&core.engine, heal_all).await?
}

/// One that the network does not know any more ended by itself at this very moment.
async fn heal_in_bed(core: &Core, id: u32) -> Result<(), Trouble> {
    match core.bed.heal(id).await {
        Err(trouble) if trouble.name == Reason::BadFault => Ok(()),
        healed => healed,
    }
}

/// Takes a fault from the run's list: from now on it is none, though the network has not healed yet.
fn lift(core: &Core, number: u32) -> Option<InForce> {
    let fault = core.take_fault(number)?;
    let event = Event::FaultEnded { fault: InForce::label(number), why: "healed".into() };
    core.recorder.disturbance(event, format!("`{}` was healed", fault.what));
    core.set_reached(&fault.unreached, true);
    Some(fault)
}

/// Waits until faults whose guards were dropped are healed.
pub(crate) async fn settle(core: &Core) {
    for task in core.healing() {
        let _healed_or_said_so = task.await;
    }
}

/// Notes a fault that somebody else began, as with `netsplit bed`.
pub(crate) async fn note_foreign(core: Arc<Core>, id: u32) {
    let _news_waits = core.begins_fault();
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
    let (ids, unreached) = (vec![id], Vec::new());
    core.add_fault(InForce { number, ids, name, what, since, unreached, is_lifted: false });
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network({:?})", self.core.names())
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.parts.as_ref().map(|parts| self.words(parts));
        write!(f, "Change({})", words.unwrap_or_else(|error| error.to_string()))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({})", self.what)
    }
}
