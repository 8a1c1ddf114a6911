//! The network between hosts: faults as guards, what is in force, captures.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use netsplit_model::{Capability, Event, HostName, Place, Reason, Selector, Trouble, nearest};
use netsplit_netmodel::{
    Condition, Ends, FaultError, Faults, Flap, Jitter, Loss, PRESETS, Schedule, Scope, TopologyError, preset,
};
use netsplit_provider::{CaptureFilter, CaptureReport, CaptureSpec, FaultSpec, NetworkReport};

use crate::core::Core;
use crate::engine::run_on;
use crate::error::{Error, Result};
use crate::host::{Host, Hosts};
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

    /// A fault in the parts of which the others are made.
    #[track_caller]
    pub fn fault(&self, verb: &'static str, scope: Result<Scope<HostName>>, condition: Condition) -> Change {
        Change {
            core: Arc::clone(&self.core),
            verb,
            scope,
            condition,
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
        let links = links.into_links(self).and_then(|Links(scope)| one_link(&scope));
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
        let names = parsed.resolve(|name| self.core.named(name));
        names.map_err(|term| self.core.unknown_name(&term.name))
    }
}

fn one_link(scope: &Scope<HostName>) -> Result<(String, CaptureFilter)> {
    let (left, right, both_ways) = match scope {
        Scope::OneWay { from, to } => (from, to, false),
        Scope::BothWays { left, right } => (left, right, true),
        _ => unreachable!("links are one way or both"),
    };
    let ([from], [to]) = (&left[..], &right[..]) else {
        let trouble = Trouble::new(Reason::BadFault, format!("`{scope}` is more than one link"));
        return Err(trouble.fix("capture one link, one host, or all").into());
    };
    let word = if both_ways { "and" } else { "to" };
    let filter = CaptureFilter::Link { from: from.to_string(), to: to.to_string(), both_ways };
    Ok((format!("{from}-{word}-{to}"), filter))
}

/// A change of the network that does nothing until it is awaited; then it is a [`Fault`].
#[must_use = "a change does nothing until it is awaited"]
pub struct Change {
    core: Arc<Core>,
    verb: &'static str,
    scope: Result<Scope<HostName>>,
    condition: Condition,
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
            Some(preset) => self.condition = self.condition.over(&preset.condition),
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

    fn with(mut self, change: impl FnOnce(Condition) -> Condition) -> Self {
        self.condition = change(self.condition);
        self
    }

    /// The fault in words: `isolate a`, `link a to b delay 50ms`.
    fn words(&self, scope: &Scope<HostName>) -> String {
        let cut = Condition::new().cut();
        match self.verb {
            "" if self.condition == cut => scope.to_string(),
            "link" | "" => format!("{} {scope} {}", self.verb, self.condition).trim_start().to_owned(),
            verb => format!("{verb} {scope}"),
        }
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
            if let Err(trouble) = heal_in_bed(&core, fault.id).await {
                core.warn(trouble);
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
    /// Its number in the network.
    pub(crate) id: u32,
    pub(crate) name: Option<String>,
    pub(crate) what: String,
    pub(crate) since: Duration,
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
    let what = change.words(change.scope.as_ref().map_err(Clone::clone)?);
    let scope = change.scope?;
    check(&core, &what, &scope, &change.condition, change.schedule)?;
    settle(&core).await;
    let hosts: BTreeSet<HostName> = scope.hosts().cloned().collect();
    let on: Vec<HostName> = hosts.into_iter().collect();
    let unreached = if change.control { on.clone() } else { Vec::new() };
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
    let spec = FaultSpec {
        name: name.clone(),
        what: what.clone(),
        fault: netsplit_netmodel::Fault {
            scope: scope
                .try_map(|host| Ok::<_, std::convert::Infallible>(host.to_string()))
                .unwrap_or_else(|never| match never {}),
            condition: change.condition,
            schedule: change.schedule,
        },
        outlives_asker: false,
    };
    let asker = Arc::clone(&core);
    let begun = run_on(&core.engine, async move { asker.bed.begin_fault(spec).await.map_err(Error::from) });
    match begun.await.and_then(|begun| begun) {
        Ok(id) => {
            core.set_reached(&unreached, false);
            core.add_fault(InForce { number, id, name, what: what.clone(), since, unreached });
            Ok(Fault { core, number, what, is_left: false })
        }
        Err(error) => {
            core.recorder.event(Event::FaultEnded { fault: InForce::label(number), why: "refused".into() });
            Err(error)
        }
    }
}

/// Says what is wrong before anything is asked of the network.
fn check(
    core: &Core,
    what: &str,
    scope: &Scope<HostName>,
    condition: &Condition,
    schedule: Schedule,
) -> Result {
    let bad = |text: String| Trouble::new(Reason::BadFault, format!("`{what}` cannot be: {text}"));
    let mistakes: Vec<_> = condition.mistakes().iter().map(ToString::to_string).collect();
    if !mistakes.is_empty() {
        return Err(bad(mistakes.join("; ")).into());
    }
    if *condition == Condition::new() {
        return Err(bad("it does nothing".into()).fix("say what: delay, loss, rate, …").into());
    }
    let names = core.names();
    let index = |host: HostName| {
        let known = names.iter().position(|name| *name == host);
        known.ok_or_else(|| core.unknown_host(host.as_str()))
    };
    let scope = scope.clone().try_map(index)?;
    let mut table = Faults::new(0);
    for _host in &names {
        table.add_host();
    }
    let fault = netsplit_netmodel::Fault { scope, condition: *condition, schedule };
    table.begin(Duration::ZERO, 1, fault).map_err(|error| {
        let text = match error {
            FaultError::Scope(error) => in_names(&error, &names),
            other => other.to_string(),
        };
        bad(text).into()
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
    run_on(&core.engine, async move { heal_in_bed(&task, fault.id).await.map_err(Error::from) }).await?
}

/// One that the network does not know any more ended by itself at this very moment.
async fn heal_in_bed(core: &Core, id: u32) -> std::result::Result<(), Trouble> {
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

/// Packets that are being written into the evidence. It ends with the run, or by [`end`](Self::end).
#[must_use = "a capture that is dropped goes on until the run ends"]
pub struct Capture {
    core: Arc<Core>,
    id: u32,
    path: std::path::PathBuf,
}

impl Capture {
    /// The file, for Wireshark (pcapng). It is complete after [`end`](Self::end), and when the run has ended.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Ends it; how much was written.
    ///
    /// # Errors
    /// The testbed has gone.
    #[track_caller]
    pub fn end(self) -> impl Future<Output = Result<CaptureReport>> + Send {
        let at = place::of(Location::caller());
        async move {
            let (core, id) = (Arc::clone(&self.core), self.id);
            let report = async move { core.bed.end_capture(id).await.map_err(Error::from) };
            self.core.noted(run_on(&self.core.engine, report).await.and_then(|report| report), at)
        }
    }
}

pub(crate) fn capture(
    core: &Arc<Core>,
    what: Result<(String, CaptureFilter)>,
    at: Option<Place>,
) -> impl Future<Output = Result<Capture>> + Send + 'static {
    let core = Arc::clone(core);
    async move {
        let begun = async {
            core.need(Capability::Network)?;
            let (name, filter) = what?;
            let (path, file) = core.capture_file(&name).map_err(|error| {
                Trouble::new(Reason::DiskFull, format!("no file for a capture of {name}: {error}"))
            })?;
            let asker = Arc::clone(&core);
            let spec = CaptureSpec { file, filter };
            let asked = async move { asker.bed.capture(spec).await.map_err(Error::from) };
            let id = run_on(&core.engine, asked).await??;
            Ok(Capture { core: Arc::clone(&core), id, path })
        };
        let begun = begun.await;
        core.noted(begun, at)
    }
}

/// What one host sends and gets.
pub(crate) fn of_host(host: &Host) -> (String, CaptureFilter) {
    (host.name().to_string(), CaptureFilter::Host(host.name().to_string()))
}

/// A new file for the evidence.
pub(crate) fn new_file(folder: &std::path::Path, name: &str) -> std::io::Result<(std::path::PathBuf, File)> {
    std::fs::create_dir_all(folder)?;
    let mut number = 1;
    loop {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let path = folder.join(format!("{name}{suffix}.pcapng"));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network({:?})", self.core.names())
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Change({} {:?} {})", self.verb, self.scope, self.condition)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({})", self.what)
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capture({})", self.path.display())
    }
}
