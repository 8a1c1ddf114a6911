//! What testbed, hosts and processes share: the state of one run's hosts.

mod environment;
mod faults;
mod lives;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netsplit_link::Link;
use netsplit_model::{
    Capabilities, Capability, Event, HostName, Place, ProcessName, Reason, Scope, Template, Trouble, excerpt,
    nearest,
};
use netsplit_provider::{Bed, FaultTurned, MadeHost};
use tokio::runtime::Handle;
use tokio::sync::watch;

use self::environment::Peers;
pub(crate) use self::faults::FaultBegins;
pub(crate) use self::lives::{lost, watch_bed};
use crate::disk::DiskFaultInForce;
use crate::ends::Ends;
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::network::{self, InForce};
use crate::recorder::{Recorder, Scope as WaitScope};
use crate::settings::Settings;

/// A testbed's state. Held by every handle that a test has.
pub(crate) struct Core {
    pub(crate) run: String,
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    pub(crate) recorder: Recorder,
    pub(crate) engine: Handle,
    pub(crate) bed: Arc<dyn Bed>,
    pub(crate) provider: &'static str,
    pub(crate) capabilities: Capabilities,
    /// What `./x` is relative to: the scenario's folder, or the crate.
    pub(crate) base: PathBuf,
    pub(crate) ends: Ends,
    /// How many faults heal whose guards were dropped.
    pub(crate) healing: watch::Sender<usize>,
    state: Mutex<State>,
}

struct State {
    /// In the order in which they were made.
    hosts: Vec<HostState>,
    /// Routers that are no hosts: faults may be about them.
    routers: Vec<HostName>,
    peers: Peers,
    variables: BTreeMap<String, String>,
    /// The run's scope, then those of nested tests, the innermost last.
    scopes: Vec<Scope>,
    /// The last failure that the API returned, unless something succeeded after it.
    failure: Option<Trouble>,
    warnings: Vec<Trouble>,
    /// Faults of the network, in the order in which they began.
    faults: Vec<InForce>,
    faults_ever: u32,
    /// How many are being begun, whose numbers in the network we do not know yet.
    faults_beginning: usize,
    /// What unknown faults did meanwhile: one of those, perhaps.
    fault_news: Vec<FaultTurned>,
    /// What the network calls the faults that were begun here, also those that have ended.
    own_faults: HashSet<u32>,
    /// Faults of disks in force, in the order in which they began.
    disk_faults: Vec<DiskFaultInForce>,
    /// Captures that were not ended, by the network's numbers.
    captures: BTreeMap<u32, PathBuf>,
    /// Where fetched files were put in the evidence.
    fetched: HashSet<PathBuf>,
    /// Whether the verdict is given: what ends from now on is not lost.
    over: bool,
}

/// What a host is, for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) name: HostName,
    pub(crate) role: HostName,
    /// Its number within its role, from 0, and how many the role has.
    pub(crate) index: usize,
    pub(crate) count: usize,
}

pub(crate) struct HostState {
    pub(crate) info: Arc<Info>,
    pub(crate) address: String,
    pub(crate) address6: String,
    pub(crate) generation: u32,
    pub(crate) power: Power,
    pub(crate) link: Option<Link>,
    /// Whether its agent must be asked whether it lives.
    falls_silent: bool,
    gate: Gate,
    scope: Scope,
    /// What every process and template on it can know of it.
    facts: Scope,
    /// How many processes of each name were started here.
    processes: HashMap<String, u32>,
    /// Those that run without a terminal.
    piped: HashSet<ProcessName>,
    /// Changes with every change of power.
    changed: watch::Sender<()>,
}

/// Whether a host runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    Up,
    Paused,
    /// The test killed it.
    Killed,
    /// It went by itself; why.
    Lost(String),
}

impl Core {
    #[expect(clippy::too_many_arguments, reason = "called once, by the run that has all of this")]
    pub(crate) fn new(
        run: String,
        seed: u64,
        settings: Settings,
        recorder: Recorder,
        engine: Handle,
        bed: Arc<dyn Bed>,
        provider: &'static str,
        capabilities: Capabilities,
        base: PathBuf,
    ) -> Arc<Self> {
        let mut scope = Scope::new("run");
        for (name, value) in &settings.pass {
            scope.set(name, value);
        }
        let state = State {
            hosts: Vec::new(),
            routers: Vec::new(),
            peers: Peers::default(),
            variables: BTreeMap::new(),
            scopes: vec![scope],
            failure: None,
            warnings: Vec::new(),
            faults: Vec::new(),
            faults_ever: 0,
            faults_beginning: 0,
            fault_news: Vec::new(),
            own_faults: HashSet::new(),
            disk_faults: Vec::new(),
            captures: BTreeMap::new(),
            fetched: HashSet::new(),
            over: false,
        };
        let state = Mutex::new(state);
        let ends = Ends::default();
        Arc::new(Self {
            run,
            seed,
            settings,
            recorder,
            engine,
            bed,
            provider,
            capabilities,
            base,
            ends,
            healing: watch::Sender::new(0),
            state,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place of its own in the evidence for what is fetched: `path` below `folder`, or beside it. It does not
    /// lead through links that were fetched before: what lies behind them is no evidence.
    pub(crate) fn fetch_place(&self, folder: &Path, path: &Path) -> PathBuf {
        let parents = path.parent().into_iter().flat_map(Path::iter);
        let above = parents
            .fold(folder.to_owned(), |above, name| first_free(&above.join(name), |path| !path.is_symlink()));
        let fetched = &mut self.lock().fetched;
        first_free(&above.join(path.file_name().unwrap_or_default()), |path| {
            !path.is_symlink() && fetched.insert(path.to_owned())
        })
    }

    /// A deadline of the test's own, scaled for slow machines.
    pub(crate) fn scaled(&self, time: Duration) -> Duration {
        time.mul_f64(self.settings.patience)
    }

    /// Fails with a skip unless the provider can do it.
    pub(crate) fn need(&self, capability: Capability) -> Result {
        if self.capabilities.has(capability) {
            return Ok(());
        }
        Err(self.settings.missing(capability.as_str(), self.provider).into())
    }

    /// Notes what an operation returned: a test that ends right after a failure ended because of it.
    pub(crate) fn noted<T>(&self, result: Result<T>, place: Option<Place>) -> Result<T> {
        let result = result.map_err(|error| error.at(place).in_force(self.in_force()));
        self.lock().failure = result.as_ref().err().map(|error| error.trouble().clone());
        result
    }

    /// The failure that the test saw last, unless something succeeded after it.
    pub(crate) fn last_failure(&self) -> Option<Trouble> {
        self.lock().failure.clone()
    }

    pub(crate) fn warn(&self, warning: Trouble) {
        self.recorder.event(Event::WarningRaised { warning: warning.clone() });
        self.lock().warnings.push(warning);
    }

    pub(crate) fn warnings(&self) -> Vec<Trouble> {
        self.lock().warnings.clone()
    }

    /// A new file for packets; its name is made of `name`.
    pub(crate) fn capture_file(&self, name: &str) -> std::io::Result<(PathBuf, std::fs::File)> {
        network::new_file(&self.recorder.dir().captures(), name)
    }

    /// Packets are being written into this file.
    pub(crate) fn add_capture(&self, id: u32, path: PathBuf) {
        self.lock().captures.insert(id, path);
    }

    pub(crate) fn take_capture(&self, id: u32) {
        self.lock().captures.remove(&id);
    }

    pub(crate) fn take_captures(&self) -> BTreeMap<u32, PathBuf> {
        std::mem::take(&mut self.lock().captures)
    }

    // ── hosts ──

    pub(crate) fn infos(&self) -> Vec<Arc<Info>> {
        self.lock().hosts.iter().map(|host| Arc::clone(&host.info)).collect()
    }

    pub(crate) fn names(&self) -> Vec<HostName> {
        self.lock().hosts.iter().map(|host| host.info.name.clone()).collect()
    }

    /// The hosts that a host's or role's name means, or `all`.
    pub(crate) fn named(&self, name: &str) -> Option<Vec<HostName>> {
        let state = self.lock();
        let all = || state.hosts.iter().map(|host| &host.info);
        let pick = |matches: &dyn Fn(&Info) -> bool| -> Vec<HostName> {
            all().filter(|info| matches(info)).map(|info| info.name.clone()).collect()
        };
        let found = match name {
            "all" => pick(&|_| true),
            _ if all().any(|info| info.name.as_str() == name) => pick(&|info| info.name.as_str() == name),
            _ => pick(&|info| info.role.as_str() == name),
        };
        (!found.is_empty()).then_some(found)
    }

    /// The error for a name that is no host's.
    pub(crate) fn unknown_host(&self, name: &str) -> Error {
        let infos = self.infos();
        let plays: Vec<_> =
            infos.iter().filter(|info| info.role.as_str() == name).map(|info| info.name.clone()).collect();
        if !plays.is_empty() {
            let text = format!("`{name}` is no host but the role of {}", excerpt::names(&plays));
            return Trouble::new(Reason::UnknownHost, text).fix(format!("bed.role(\"{name}\")")).into();
        }
        self.unknown("host", name, infos.iter().map(|info| info.name.as_str()))
    }

    /// The error for a name that is no role's.
    pub(crate) fn unknown_role(&self, name: &str) -> Error {
        let infos = self.infos();
        if let Some(host) = infos.iter().find(|info| info.name.as_str() == name) {
            let text = format!("`{name}` is no role but a host, of the role `{}`", host.role);
            return Trouble::new(Reason::UnknownHost, text).fix(format!("bed.host(\"{name}\")")).into();
        }
        self.unknown("role", name, infos.iter().map(|info| info.role.as_str()))
    }

    /// The error for a name in a selector that is no host's and no role's.
    pub(crate) fn unknown_name(&self, name: &str) -> Error {
        let infos = self.infos();
        let names = infos.iter().flat_map(|info| [info.name.as_str(), info.role.as_str()]);
        self.unknown("host or role", name, names)
    }

    fn unknown<'n>(&self, what: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> Error {
        let hint = nearest(name, known).map(|near| format!("; did you mean `{near}`?"));
        let text = format!("no {what} `{name}`{}", hint.unwrap_or_default());
        let hosts: Vec<_> = self.names().iter().map(ToString::to_string).collect();
        Trouble::new(Reason::UnknownHost, text).saw(format!("hosts: {}", hosts.join(" "))).into()
    }

    pub(crate) fn with_host<T>(&self, name: &HostName, look: impl FnOnce(&mut HostState) -> T) -> T {
        let mut state = self.lock();
        let host = state.hosts.iter_mut().find(|host| host.info.name == *name);
        look(host.expect("a handle's host exists for as long as its testbed"))
    }

    /// The link to a host that runs.
    pub(crate) fn link(&self, name: &HostName) -> Result<Link> {
        self.with_host(name, |host| match (&host.power, &host.link) {
            (Power::Up | Power::Paused, Some(link)) => Ok(link.clone()),
            (Power::Lost(reason), _) => Err(lost(name, reason)),
            _ => {
                let text = format!("host {name} is down: the test killed it");
                Err(Trouble::new(Reason::HostDown, text).fix(format!("restart {name} first")).into())
            }
        })
    }

    /// Says so when the test itself paused all of `hosts`, and nothing on them could go on.
    pub(crate) fn unless_paused(&self, hosts: &[HostName], trouble: Trouble) -> Trouble {
        if hosts.is_empty() || !hosts.iter().all(|host| self.is_paused(host)) {
            return trouble;
        }
        let are = if hosts.len() == 1 { "is" } else { "are" };
        let names = excerpt::names(hosts);
        trouble.because(format!("{names} {are} paused")).fix(format!("resume {names} first"))
    }

    /// Whether the test itself paused it.
    pub(crate) fn is_paused(&self, host: &HostName) -> bool {
        self.with_host(host, |host| host.power == Power::Paused)
    }

    /// The error for a host on which nothing moved for too long; `text` says what, and how long.
    pub(crate) fn stalled(&self, name: &HostName, text: String) -> Error {
        let trouble = Trouble::new(Reason::CommandTimedOut, text);
        self.unless_paused(std::slice::from_ref(name), trouble).into()
    }

    /// A host was made; its agent is on its way.
    pub(crate) fn register(&self, info: &Arc<Info>, made: &MadeHost) {
        let mut state = self.lock();
        state.peers.add(&info.name, &made.address);
        state.hosts.push(HostState {
            facts: environment::facts(info, made, &self.run, self.seed),
            info: Arc::clone(info),
            address: made.address.to_string(),
            address6: made.address6.to_string(),
            generation: 0,
            power: Power::Killed,
            link: None,
            falls_silent: self.bed.falls_silent(),
            gate: Gate::default(),
            scope: Scope::new(format!("host {}", info.name)),
            processes: HashMap::new(),
            piped: HashSet::new(),
            changed: watch::Sender::new(()),
        });
    }

    /// A name for a new process.
    pub(crate) fn new_process(&self, host: &HostName, name: &str) -> ProcessName {
        self.with_host(host, |state| {
            let plain = ProcessName::new(host.clone(), name, 1);
            let number = state.processes.entry(plain.name().to_owned()).or_default();
            *number += 1;
            ProcessName::new(host.clone(), name, *number)
        })
    }

    /// A process runs without a terminal.
    pub(crate) fn piped(&self, process: &ProcessName) {
        self.with_host(process.host(), |host| host.piped.insert(process.clone()));
    }

    /// A process runs no more.
    pub(crate) fn ended(&self, process: &ProcessName) {
        self.with_host(process.host(), |host| host.piped.remove(process));
    }

    /// Whether a process in `scope` runs without a terminal: many programs then hold back what they write.
    pub(crate) fn is_any_piped(&self, scope: &WaitScope) -> bool {
        self.lock().hosts.iter().flat_map(|host| &host.piped).any(|process| scope.covers(process))
    }

    // ── variables ──

    pub(crate) fn set_variable(&self, name: &str, value: &str) {
        self.lock().variables.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.lock().variables.get(name).cloned()
    }

    /// Fills in `%{…}` for `host`.
    pub(crate) fn render(&self, host: &HostName, text: &str, what: &str) -> Result<String> {
        if !text.contains('%') {
            return Ok(text.to_owned());
        }
        let template = Template::parse(text).map_err(|error| {
            let column = text[..error.span().start].chars().count() + 1;
            Error::new(Reason::UnsetVariable, format!("{error}, column {column} of `{what}` on {host}"))
        })?;
        let values = self.values(host);
        let known: Vec<&str> = values.keys().map(String::as_str).collect();
        template.render(text, |name| values.get(name).cloned(), known).map_err(|unset| {
            let text = format!("{unset} of `{what}` on {host}; nothing was started");
            let trouble = Trouble::new(Reason::UnsetVariable, text);
            match unset.nearest {
                Some(nearest) => trouble.fix(format!("`%{{{nearest}}}`")).into(),
                None => trouble
                    .saw(format!("set are: {}", values.into_keys().collect::<Vec<_>>().join(" ")))
                    .guess(format!("`%%{{{}}}`, if the command itself is to see it", unset.name))
                    .into(),
            }
        })
    }

    /// Everything that `%{…}` can name on `host`.
    pub(crate) fn values(&self, host: &HostName) -> BTreeMap<String, String> {
        let state = self.lock();
        let mut values = state.variables.clone();
        if let Some(own) = state.hosts.iter().find(|known| known.info.name == *host) {
            values.extend(environment::values_of(&own.facts));
        }
        values
    }
}

/// The first of `path`, `path.2` and so on that is free.
fn first_free(path: &Path, mut is_free: impl FnMut(&Path) -> bool) -> PathBuf {
    let mut free = path.to_owned();
    for number in 2.. {
        if is_free(&free) {
            break;
        }
        let mut numbered = path.as_os_str().to_owned();
        numbered.push(format!(".{number}"));
        free = numbered.into();
    }
    free
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "run {}", self.run)
    }
}
