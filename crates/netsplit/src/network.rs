//! The network between hosts: what may be changed of it, and what is in force. Faults and captures have files of their own.

mod capture;
mod fault;

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use netsplit_model::{HostName, Place, Reason, Selector, Trouble, nearest};
use netsplit_netmodel::{
    Condition, Ends, FaultError, Faults, Flap, Jitter, Loss, PRESETS, Schedule, Scope, TopologyError, preset,
    regions,
};
use netsplit_provider::{CaptureFilter, NetworkReport};

pub use capture::Capture;
pub(crate) use capture::{capture, end_all as end_captures, new_file, of_host};
pub use fault::Fault;
pub(crate) use fault::{InForce, note_foreign, settle};

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

/// What names hosts and routers: hosts, or in words `"members,-a"`, `"gw"`.
pub trait IntoHosts {
    /// Their names; of words those of this network.
    ///
    /// # Errors
    /// Words that are no selector, or name nobody.
    fn into_hosts(self, network: &Network) -> Result<Vec<HostName>>;
}

impl<H: Hosts> IntoHosts for H {
    fn into_hosts(self, _network: &Network) -> Result<Vec<HostName>> {
        Ok(self.hosts())
    }
}

impl IntoHosts for &str {
    fn into_hosts(self, network: &Network) -> Result<Vec<HostName>> {
        network.select(self)
    }
}

/// Groups of hosts: several of one kind, as `["a,b", "c"]` or a vector of vectors, or a tuple: `([&a, &b], &c)`.
pub trait IntoGroups {
    /// The names of each.
    ///
    /// # Errors
    /// Words that are no selector, or name nobody.
    fn into_groups(self, network: &Network) -> Result<Vec<Vec<HostName>>>;
}

impl<G: IntoHosts, const N: usize> IntoGroups for [G; N] {
    fn into_groups(self, network: &Network) -> Result<Vec<Vec<HostName>>> {
        self.into_iter().map(|group| group.into_hosts(network)).collect()
    }
}

impl<G: IntoHosts> IntoGroups for Vec<G> {
    fn into_groups(self, network: &Network) -> Result<Vec<Vec<HostName>>> {
        self.into_iter().map(|group| group.into_hosts(network)).collect()
    }
}

impl<'g, G> IntoGroups for &'g [G]
where
    &'g G: IntoHosts,
{
    fn into_groups(self, network: &Network) -> Result<Vec<Vec<HostName>>> {
        self.iter().map(|group| group.into_hosts(network)).collect()
    }
}

impl<'g, G> IntoGroups for &'g Vec<G>
where
    &'g G: IntoHosts,
{
    fn into_groups(self, network: &Network) -> Result<Vec<Vec<HostName>>> {
        self.as_slice().into_groups(network)
    }
}

macro_rules! groups {
    ($($group:ident)+) => {
        impl<$($group: IntoHosts),+> IntoGroups for ($($group,)+) {
            fn into_groups(self, network: &Network) -> Result<Vec<Vec<HostName>>> {
                #[expect(non_snake_case, reason = "a group is called as its type")]
                let ($($group,)+) = self;
                Ok(vec![$($group.into_hosts(network)?),+])
            }
        }
    };
}
groups!(A B);
groups!(A B C);
groups!(A B C D);

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
    pub fn isolate(&self, hosts: impl IntoHosts) -> Change {
        self.cutting(hosts.into_hosts(self).map(|hosts| Scope::Isolate { hosts }))
    }

    /// Cuts groups off from one another. Hosts in none see all.
    #[track_caller]
    pub fn partition(&self, groups: impl IntoGroups) -> Change {
        self.cutting(groups.into_groups(self).map(|groups| Scope::Partition { groups }))
    }

    /// Each of these hosts hears a majority of them, and no two the same one.
    #[track_caller]
    pub fn ring(&self, hosts: impl IntoHosts) -> Change {
        self.cutting(hosts.into_hosts(self).map(|hosts| Scope::Ring { hosts }))
    }

    /// Two halves of these hosts do not hear each other, and `middle` hears both.
    #[track_caller]
    pub fn bridge(&self, hosts: impl IntoHosts, middle: impl IntoHosts) -> Change {
        let middle = middle.into_hosts(self);
        let scope = |hosts| Ok(Scope::Bridge { hosts, middle: middle? });
        self.cutting(hosts.into_hosts(self).and_then(scope))
    }

    /// Puts hosts into regions of a cloud ([`regions::REGIONS`]): between them, and between hosts of one region, packets
    /// take as long as there. Hosts that have no place keep the links they had.
    #[track_caller]
    pub fn regions<'r, H: IntoHosts>(&self, places: impl IntoIterator<Item = (&'r str, H)>) -> Change {
        let places = places.into_iter().map(|(name, hosts)| Ok((name, hosts.into_hosts(self)?)));
        let places: Result<Vec<_>> = places.collect();
        let shown = places.iter().flatten().map(|(name, hosts)| format!("{name} {}", listed(hosts)));
        let what = format!("regions {}", shown.collect::<Vec<_>>().join(" | "));
        let parts = places.and_then(|places| region_parts(&places));
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
    fn cutting(&self, scope: Result<Scope<HostName>>) -> Change {
        self.fault("", scope, Condition::new().cut())
    }

    /// Heals the fault of this name, whoever began it.
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
            self.core.noted(self.heal_each(found).await, at)
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
            let mut own = self.core.faults();
            own.retain(|fault| !fault.is_foreign);
            self.core.noted(self.heal_each(own).await, at)
        }
    }

    /// Heals each of these, also when one does not; the first that did not says why.
    async fn heal_each(&self, faults: Vec<InForce>) -> Result {
        let mut all = Ok(());
        for fault in faults {
            all = all.and(fault::heal(&self.core, fault.number).await);
        }
        all
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

    /// So many bytes wait for the line at most, and what is more is dropped; it wants a [`rate`](Self::rate). Unless said,
    /// it is what the rate carries in 100 ms, and at least 64 KiB.
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
        core.noted(fault::begin(self).await, at)
    }
}

impl IntoFuture for Change {
    type Output = Result<Fault>;
    type IntoFuture = BoxFuture<Result<Fault>>;

    fn into_future(self) -> BoxFuture<Result<Fault>> {
        Box::pin(self.begin())
    }
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
    let alone = [
        ("queue", condition.queue_bytes.is_some(), "rate", condition.rate_bits_per_s.is_some()),
        ("jitter", condition.jitter.is_some(), "delay", condition.delay.is_some()),
    ];
    if let Some((field, _, needs, _)) = alone.into_iter().find(|(_, is_set, _, has)| *is_set && !has) {
        return Err(bad(format!("`{field}` wants a `{needs}`, too")));
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
