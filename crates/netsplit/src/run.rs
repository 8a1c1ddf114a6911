//! One run from its directory to its verdict: what tests, scenarios and the command line have in common.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use netsplit_link::{Priority, Received};
use netsplit_model::{
    Event, FORMAT, HostName, NetworkSummary, Reason, Record, RunId, Selector, Teardown, Term, TestReport,
    Trouble, Verdict, VerdictFile,
};
use netsplit_provider::{BedSpec, Guard, HostSpec, NetworkSpec, Provider, RouterSpec};
use netsplit_report::{RunDir, RunFile, Runs, junit};
use netsplit_wire::message::{Body, Keep as KeepMessage, Request};
use serde::{Deserialize, Serialize};

use crate::core::{Core, Info, watch_bed};
use crate::counted;
use crate::disk::DiskFaultInForce;
use crate::engine::{Engine, WhileWanted};
use crate::error::{Error, Result};
use crate::here::{self, HereOutput, HereSpec};
use crate::network::{InForce, end_captures};
use crate::recorder::{QUIET, Recorder};
use crate::settings::{Keep, NetworkSettings, Settings};
use crate::test::BLOCKED_MAX;
use crate::testbed::Testbed;

/// Attempts at a name for a run's directory: ids are short, and many runs of one seed may begin in one second.
const NAMES_MAX: usize = 1000;

/// A host to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// Its name.
    pub name: HostName,
    /// Its role.
    pub role: HostName,
    /// Its number within its role, and how many the role has.
    pub index: usize,
    /// How many hosts the role has.
    pub count: usize,
    /// What its disk holds at most, in bytes.
    pub disk: Option<u64>,
    /// The networks that it is on; none: the only one.
    pub networks: Vec<String>,
}

impl HostPlan {
    /// The hosts `names`, which play `role`.
    pub fn of_role(role: &HostName, names: Vec<HostName>, disk: Option<u64>) -> Vec<Self> {
        let count = names.len();
        let plan =
            |(index, name)| Self { name, role: role.clone(), index, count, disk, networks: Vec::new() };
        names.into_iter().enumerate().map(plan).collect()
    }
}

/// Puts hosts on networks, each named with a selector of those on it. A host's first network is the one of its name.
///
/// # Errors
/// A selector that is none, or names nobody.
pub fn join<'n>(hosts: &mut [HostPlan], networks: impl Iterator<Item = (&'n str, &'n str)>) -> Result {
    for (network, selector) in networks {
        let wrong = |text: String| Trouble::new(Reason::UnknownHost, format!("network `{network}`: {text}"));
        let parsed = Selector::parse(selector).map_err(|error| wrong(error.to_string()))?;
        let named = |name: &str| {
            let is_it =
                |host: &&HostPlan| name == "all" || host.name.as_str() == name || host.role.as_str() == name;
            let found: Vec<_> = hosts.iter().filter(is_it).map(|host| host.name.clone()).collect();
            (!found.is_empty()).then_some(found)
        };
        let unknown = |term: &Term| wrong(format!("no host or role `{}`", term.name));
        let on_it = parsed.resolve(named).map_err(unknown)?;
        for host in hosts.iter_mut().filter(|host| on_it.contains(&host.name)) {
            host.networks.push(network.to_owned());
        }
    }
    Ok(())
}

/// What a run is about.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// The test's name.
    pub test: String,
    /// What makes the hosts.
    pub provider: Arc<dyn Provider>,
    /// The networks by name; none: one that joins all hosts.
    pub networks: Vec<String>,
    /// Routers between networks that are no hosts.
    pub routers: Vec<RouterSpec>,
    /// What `./x` is relative to.
    pub base: PathBuf,
    /// The command that repeats it, without its seed.
    pub repeat: String,
    /// The scenario's texts, by file name.
    pub scenario: BTreeMap<String, String>,
}

/// A run that goes on.
pub struct Run {
    settings: Settings,
    spec: RunSpec,
    runs: Runs,
    dir: RunDir,
    id: RunId,
    seed: u64,
    engine: Engine,
    recorder: Recorder,
    core: Option<Arc<Core>>,
    /// How many commands of each name ran here.
    here: Mutex<BTreeMap<String, u32>>,
    /// Once one did.
    guard: Mutex<Option<Guard>>,
    /// Of the directory, for as long as the run lasts; `None`: it belongs to whoever made it.
    lock: Option<File>,
}

/// Where a run has its evidence: a directory that has its `run.json`, and what names the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunPlace {
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pub(crate) seed: u64,
}

/// How a run ended, as the test says.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, unless it passed.
    pub reason: Option<Trouble>,
    /// The nested tests.
    pub tests: Vec<TestReport>,
}

impl Ending {
    /// That of a run that ended because of `reason`.
    pub(crate) fn of(reason: Trouble) -> Self {
        Self { verdict: reason.verdict(), reason: Some(reason), tests: Vec::new() }
    }
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its directory.
    pub dir: RunDir,
    /// What `verdict.json` says.
    pub verdict: VerdictFile,
    /// Whether its testbed lives on.
    pub kept: bool,
}

impl Run {
    /// Makes the run's directory and begins its log.
    ///
    /// # Errors
    /// When evidence cannot be written.
    pub fn begin(settings: Settings, spec: RunSpec) -> Result<Self> {
        let seed = settings.seed.unwrap_or_else(random_seed);
        let (place, lock) = make_place(&settings, &spec, seed, None)?;
        let _only_a_link = Runs::new(&settings.dir).point("last", &RunDir::new(&place.dir));
        Ok(Self { lock: Some(lock), ..Self::begin_at(settings, spec, place)? })
    }

    /// Begins the log of a run whose directory somebody else made, and keeps.
    ///
    /// # Errors
    /// When evidence cannot be written.
    pub(crate) fn begin_at(settings: Settings, spec: RunSpec, place: RunPlace) -> Result<Self> {
        let dir = RunDir::new(&place.dir);
        let first = Event::RunBegan {
            format: FORMAT,
            run: place.id.clone(),
            test: spec.test.clone(),
            provider: spec.provider.name().to_owned(),
            seed: place.seed,
        };
        let no_room = |error| no_room(&settings, &error);
        let recorder = Recorder::begin(dir.clone(), first).map_err(no_room)?;
        let engine = Engine::start().map_err(no_room)?;
        let ticking = recorder.clone();
        engine.handle().spawn(tick(ticking));
        Ok(Self {
            runs: Runs::new(&settings.dir),
            settings,
            spec,
            dir,
            id: RunId::from_text(&place.id),
            seed: place.seed,
            engine,
            recorder,
            core: None,
            here: Mutex::default(),
            guard: Mutex::default(),
            lock: None,
        })
    }

    /// The settings it runs with.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The run's id.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The run's directory.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// The seed of every random draw.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How long it has lasted.
    pub fn now(&self) -> Duration {
        self.recorder.now()
    }

    /// Tells `listener` of each event from now on, right after it was written. It must not block.
    pub fn listen(&self, listener: impl FnMut(&Record) + Send + 'static) {
        self.recorder.listen(Box::new(listener));
    }

    /// Writes an event of a nested test or a step.
    pub fn event(&self, event: Event) -> Duration {
        self.recorder.event(event)
    }

    /// Runs a command on this machine, with its output in the evidence. It ends with all its group when the future
    /// is dropped, and when this process is killed.
    ///
    /// # Errors
    /// When this program cannot be started again to see to that, or the run is over; how the command ended is in what is
    /// returned.
    pub async fn here(&self, spec: HereSpec) -> Result<HereOutput> {
        let number = {
            let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
            let number = here.entry(spec.name.clone()).or_default();
            *number += 1;
            *number
        };
        here::run(self.engine.handle(), &self.recorder, self.guard()?, number, spec).await
    }

    /// What ends this run's own commands when this process is killed.
    fn guard(&self) -> Result<Guard> {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        match &*guard {
            Some(guard) => Ok(guard.clone()),
            None => Ok(guard.insert(Guard::start()?).clone()),
        }
    }

    /// Makes the hosts; it is done when every agent has answered.
    ///
    /// # Errors
    /// With the rule that forbids it here and the remedy, or the host that did not come up.
    pub async fn make_hosts(&mut self, hosts: Vec<HostPlan>) -> Result<Testbed> {
        check_names(&hosts)?;
        let name = |name: &String| {
            HostName::new(name).map_err(|error| Error::new(Reason::BadName, error.to_string()))
        };
        let routers = self.spec.routers.iter().map(|router| name(&router.name)).collect::<Result<_>>()?;
        self.spec.networks.iter().try_for_each(|network| name(network).map(drop))?;
        let network = NetworkSpec {
            model: self.settings.network.model,
            seed: self.seed,
            networks: self.spec.networks.clone(),
            routers: self.spec.routers.clone(),
        };
        let bed_spec = BedSpec { dir: self.dir.path().to_owned(), run: self.id.to_string(), network };
        let provider = Arc::clone(&self.spec.provider);
        let (name, capabilities) = (provider.name(), self.settings.able(&*provider));
        let bed = self.engine.run(async move { provider.begin(bed_spec).await }).await??;
        let core = Core::new(
            self.id.to_string(),
            self.seed,
            self.settings.clone(),
            self.recorder.clone(),
            self.engine.handle().clone(),
            bed,
            name,
            capabilities,
            self.spec.base.clone(),
        );
        core.set_routers(routers);
        self.core = Some(Arc::clone(&core));
        let making = Arc::clone(&core);
        self.engine.run(async move { make(making, hosts).await }).await??;
        self.engine.handle().spawn(watch_bed(Arc::clone(&core)));
        Ok(Testbed { core })
    }

    /// What decides a test that ended with `error`: a host that was lost decides over everything that came of it.
    pub fn judge(&self, error: Trouble) -> (Verdict, Trouble) {
        let trouble = match self.spoiled() {
            Some(spoiled) if spoiled.name == Reason::DiskFull => spoiled.saw(error.text),
            Some(spoiled) if error.verdict() == Verdict::Failed => {
                spoiled.saw(format!("then: {}", error.text)).at(error.place)
            }
            _ => self.settings.unless_required(error, self.spec.provider.name()),
        };
        (trouble.verdict(), trouble)
    }

    /// Why a test whose body ended well did not pass: evidence is missing, or a host was lost, without which much
    /// holds that would not.
    pub fn spoiled(&self) -> Option<Trouble> {
        if let Some(broken) = self.recorder.broken() {
            return Some(broken);
        }
        let (host, reason) = self.core.as_ref()?.any_lost()?;
        Some(crate::core::lost(&host, &reason).into())
    }

    /// The failure that the test saw last, unless something succeeded after it.
    pub fn last_failure(&self) -> Option<Trouble> {
        self.core.as_ref()?.last_failure()
    }

    /// What the testbed's processes wait for, for messages about a test that takes too long.
    pub fn testbed(&self) -> Option<Testbed> {
        self.core.as_ref().map(|core| Testbed { core: Arc::clone(core) })
    }

    /// Ends all hosts after `time`, unless what is returned is dropped before. Where that frees nobody within [`BLOCKED_MAX`],
    /// what `blocked` gives is why the run failed: whoever should have said so may never come back.
    pub(crate) fn end_hosts_after(
        &self,
        time: Duration,
        blocked: impl FnOnce() -> Trouble + Send + 'static,
        tell: impl FnOnce(&Trouble) + Send + 'static,
    ) -> Option<WhileWanted> {
        let core = Arc::clone(self.core.as_ref()?);
        let path = self.dir.verdict_json();
        let mut file = self.verdict(&Ending { verdict: Verdict::Unknown, reason: None, tests: Vec::new() });
        let task = self.engine.handle().spawn(async move {
            tokio::time::sleep(time).await;
            core.set_over();
            end_captures(&core).await;
            let _seen_again_at_the_end = core.bed.end().await;
            tokio::time::sleep(BLOCKED_MAX).await;
            let blocked = blocked();
            (file.verdict, file.seconds) = (blocked.verdict(), core.recorder.now().as_secs_f64());
            file.reason = Some(blocked.clone());
            // Written before it is told: whoever hears of it may end this process at once.
            let _told_at_least = write_json(&path, &file);
            tell(&blocked);
        });
        Some(WhileWanted(task))
    }

    /// Writes the verdict, then takes the testbed down, or leaves it to itself when that was asked for.
    pub async fn end(self, ending: Ending) -> Finished {
        let network = self.end_network().await;
        if let Some(core) = self.core.clone() {
            // What nobody waits for any more is over once the engine comes to this.
            let _told = self.engine.run(async move { core.news().await }).await;
        }
        let ending = match self.spoiled() {
            Some(trouble) if ending.verdict == Verdict::Passed => {
                Ending { verdict: trouble.verdict(), reason: Some(trouble), ..ending }
            }
            _ => ending,
        };
        if let Some(core) = &self.core {
            core.warn_of_failures();
            core.warn_of_panics();
        }
        let ending = self.unless_late(ending, network.as_ref());
        let mut file = VerdictFile { network, ..self.verdict(&ending) };
        let mut warnings = Vec::new();
        // Before teardown: a teardown that fails must not take the verdict along.
        if let Err(error) = write_json(&self.dir.verdict_json(), &file) {
            warnings.push(format!("verdict.json was not written: {error}"));
        }
        self.recorder.event(Event::VerdictGiven { verdict: ending.verdict, reason: ending.reason.clone() });
        let passed = matches!(ending.verdict, Verdict::Passed | Verdict::Skipped);
        let keep = match self.settings.keep {
            Keep::Always => ending.verdict != Verdict::Skipped,
            Keep::Failed => !passed,
            Keep::Never => false,
        };
        let (mut teardown, kept) = self.take_down(keep).await;
        teardown.errors.extend(warnings);
        let errors = teardown.errors.clone();
        self.recorder.event(Event::TeardownEnded { kept, ok: teardown.ok, errors });
        file.teardown = Some(teardown);
        file.warnings = self.core.as_ref().map(|core| core.warnings()).unwrap_or_default();
        self.write_views(&file, passed);
        Finished { dir: self.dir.clone(), verdict: file, kept }
    }

    fn verdict(&self, ending: &Ending) -> VerdictFile {
        VerdictFile {
            format: FORMAT,
            run: self.id.to_string(),
            test: self.spec.test.clone(),
            verdict: ending.verdict,
            reason: ending.reason.clone(),
            tests: ending.tests.clone(),
            seconds: self.recorder.now().as_secs_f64(),
            seed: self.seed,
            provider: self.spec.provider.name().to_owned(),
            repeat: self.spec.repeat.replace("%{seed}", &self.seed.to_string()),
            network: None,
            warnings: self.core.as_ref().map(|core| core.warnings()).unwrap_or_default(),
            teardown: None,
        }
    }

    /// Heals what is still in force, ends what is still written down, and tells what happened to packets.
    async fn end_network(&self) -> Option<NetworkSummary> {
        let core = Arc::clone(self.core.as_ref()?);
        let read = Arc::clone(&core);
        let report = self.engine.run(async move {
            let report = counted::read(&read).await;
            end_captures(&read).await;
            report
        });
        let report = report.await;
        for fault in core.faults().into_iter().filter(|fault| !fault.is_foreign) {
            // The network ends, or heals itself once this process has gone.
            core.take_fault(fault.number);
            core.reach(&fault.unreached);
            let fault = InForce::label(fault.number);
            core.recorder.event(Event::FaultEnded { fault, why: "the run ended".into() });
        }
        for fault in core.disk_faults() {
            core.take_disk_fault(fault.number);
            let fault = DiskFaultInForce::label(fault.number);
            core.recorder.event(Event::DiskEnded { fault, why: "the run ended".into() });
        }
        Some(counted::tell(&core, &report.ok()??))
    }

    /// A verdict that rests on a network that was too late is none, where that was asked for.
    fn unless_late(&self, ending: Ending, network: Option<&NetworkSummary>) -> Ending {
        let NetworkSettings { late, late_is_infra, .. } = self.settings.network;
        let Some(trouble) = network.and_then(|network| counted::too_late(network, late)) else {
            return ending;
        };
        match (&self.core, ending.verdict) {
            (_, Verdict::Passed | Verdict::Failed) if late_is_infra => {
                let then = ending.reason.map(|reason| format!("then: {}", reason.text));
                let trouble = then.into_iter().fold(trouble, Trouble::saw);
                Ending { verdict: trouble.verdict(), reason: Some(trouble), ..ending }
            }
            (Some(core), _) => {
                core.warn(trouble);
                ending
            }
            (None, _) => ending,
        }
    }

    async fn take_down(&self, keep: bool) -> (Teardown, bool) {
        let Some(core) = &self.core else { return (Teardown { ok: true, errors: Vec::new() }, false) };
        core.set_over();
        let core = Arc::clone(core);
        let done = self.engine.run(async move {
            if keep {
                match keep_all(&core).await {
                    Ok(()) => return (Teardown { ok: true, errors: Vec::new() }, true),
                    Err(error) => {
                        let teardown = core.bed.end().await;
                        let errors = [vec![format!("not kept: {error}")], teardown.errors].concat();
                        return (Teardown { ok: teardown.ok, errors }, false);
                    }
                }
            }
            (core.bed.end().await, false)
        });
        done.await.unwrap_or_else(|error| (Teardown { ok: false, errors: vec![error.to_string()] }, false))
    }

    /// Everything that is made of the run once it is over. What fails here is not worth failing for.
    fn write_views(&self, file: &VerdictFile, passed: bool) {
        let _verdict_stands_without_teardown = write_json(&self.dir.verdict_json(), file);
        if let Ok(xml) = junit::document(&[(self.dir.clone(), file.clone())]) {
            let _only_a_view = fs::write(self.dir.junit_xml(), xml);
        }
        if self.lock.is_some() {
            clear_up(&self.runs, &self.settings, &self.dir, passed);
        }
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Run({})", self.id)
    }
}

/// The message for a provider that does not exist, or not yet.
pub fn unknown_provider(name: &str) -> Trouble {
    let known = netsplit_provider::names();
    let hint = netsplit_model::nearest(name, known.iter().copied());
    let text = match hint {
        Some(near) => format!("no provider `{name}`; did you mean `{near}`?"),
        None => format!("no provider `{name}` in this version; there is: {}", known.join(" ")),
    };
    Trouble::new(Reason::UnknownProvider, text)
}

/// Marks a run that is over as the last that failed, if it did, and removes runs beyond the limits.
pub(crate) fn clear_up(runs: &Runs, settings: &Settings, dir: &RunDir, passed: bool) {
    if !passed {
        let _only_a_link = runs.point("last-failed", dir);
    }
    let limits = settings.retention;
    let beyond = runs.beyond(limits.runs, limits.size, limits.age, SystemTime::now());
    for run in beyond.unwrap_or_default() {
        if run.dir != *dir {
            let _another_run_was_faster = fs::remove_dir_all(run.dir.path());
        }
    }
}

/// A seed that nobody chose: short enough to be typed.
pub(crate) fn random_seed() -> u64 {
    crate::entropy::number() % 1_000_000
}

/// Makes a directory for a run that begins now, with `run.json` in it, and locks it. The id is random unless it is given:
/// then two runs that have it may have begun in one second, and the later's name says a second more.
///
/// # Errors
/// When evidence cannot be written.
pub(crate) fn make_place(
    settings: &Settings,
    spec: &RunSpec,
    seed: u64,
    given: Option<&RunId>,
) -> Result<(RunPlace, File)> {
    let runs = Runs::new(&settings.dir);
    let no_room = |error| no_room(settings, &error);
    let mut now = SystemTime::now();
    let mut tries = 0;
    loop {
        let random = || RunId::from_random((crate::entropy::number() & 0xf_ffff) as u32);
        let id = given.cloned().unwrap_or_else(random);
        tries += 1;
        match runs.create(&spec.test, &id, now) {
            Ok((dir, lock)) => {
                write_facts(&dir, &id, seed, settings, spec).map_err(no_room)?;
                return Ok((RunPlace { id: id.to_string(), dir: dir.path().to_owned(), seed }, lock));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < NAMES_MAX => {
                now += Duration::from_secs(u64::from(given.is_some()));
            }
            Err(error) => return Err(no_room(error)),
        }
    }
}

fn no_room(settings: &Settings, error: &io::Error) -> Error {
    let text = format!("no run can begin in {}: {error}", settings.dir.display());
    let trouble = Trouble::new(Reason::DiskFull, text);
    Error::from(match error.kind() {
        io::ErrorKind::StorageFull => trouble.fix("netsplit clean"),
        _ => trouble.guess("NETSPLIT_DIR=/another/folder"),
    })
}

/// What differs between two runs of one seed stands here, beside the log.
fn write_facts(dir: &RunDir, id: &RunId, seed: u64, settings: &Settings, spec: &RunSpec) -> io::Result<()> {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let shown = settings
        .shown
        .iter()
        .map(|(name, value, origin)| ((*name).to_owned(), (mask(name, value), origin.to_string())));
    let facts = RunFile {
        format: FORMAT,
        run: id.to_string(),
        test: spec.test.clone(),
        provider: spec.provider.name().to_owned(),
        seed,
        argv: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
        cwd: std::env::current_dir().unwrap_or_default(),
        began: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: [uname.sysname(), uname.release(), uname.machine()].map(text).join(" "),
        user: rustix::process::geteuid().as_raw(),
        executable: own_hash(),
        scenario: spec.scenario.iter().map(|(name, text)| (name.clone(), hash_of(text.as_bytes()))).collect(),
        settings: shown.collect(),
        repeat: spec.repeat.replace("%{seed}", &seed.to_string()),
    };
    write_json(&dir.run_json(), &facts)?;
    for (name, text) in &spec.scenario {
        let path = dir.scenario().join(Path::new(name).file_name().unwrap_or_default());
        fs::create_dir_all(dir.scenario())?;
        fs::write(path, text)?;
    }
    Ok(())
}

fn mask(name: &str, value: &str) -> String {
    if netsplit_report::is_secret(name) && !value.is_empty() { "***".to_owned() } else { value.to_owned() }
}

fn hash_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_owned()
}

/// The executable's hash, once a process: it is some 100 MiB in debug builds.
fn own_hash() -> Option<String> {
    use std::sync::OnceLock;
    static HASH: OnceLock<Option<String>> = OnceLock::new();
    HASH.get_or_init(|| fs::read("/proc/self/exe").ok().map(|bytes| hash_of(&bytes))).clone()
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    fs::write(&beside, text)?;
    fs::rename(beside, path)
}

fn check_names(hosts: &[HostPlan]) -> Result {
    for (index, host) in hosts.iter().enumerate() {
        if hosts[..index].iter().any(|other| other.name == host.name) {
            let text = format!("host `{}` is named twice", host.name);
            return Err(Trouble::new(Reason::DuplicateName, text)
                .fix("give each host a name of its own")
                .into());
        }
    }
    Ok(())
}

/// Makes all hosts and connects to each as soon as it is made.
async fn make(core: Arc<Core>, hosts: Vec<HostPlan>) -> Result {
    let specs = hosts
        .iter()
        .map(|host| HostSpec { name: host.name.clone(), disk: host.disk, networks: host.networks.clone() })
        .collect();
    let mut plans = hosts.into_iter();
    let mut connecting = tokio::task::JoinSet::new();
    let mut made = |made: netsplit_provider::MadeHost| {
        let Some(plan) = plans.next() else { return };
        let info = Arc::new(Info { name: plan.name, role: plan.role, index: plan.index, count: plan.count });
        core.register(&info, &made);
        let core = Arc::clone(&core);
        connecting.spawn(async move { core.connect(info, made).await });
    };
    core.bed.add_hosts(specs, &mut made).await?;
    while let Some(connected) = connecting.join_next().await {
        connected.map_err(|error| Error::new(Reason::Bug, format!("a task ended badly: {error}")))??;
    }
    Ok(())
}

/// Looks after lines without an end, for as long as the run lasts.
async fn tick(recorder: Recorder) {
    loop {
        recorder.unfinished.notified().await;
        loop {
            tokio::time::sleep(QUIET).await;
            if !recorder.match_quiet() {
                break;
            }
        }
    }
}

/// Tells every agent to go on without us, then leaves the testbed to its keeper.
async fn keep_all(core: &Arc<Core>) -> Result {
    for host in core.names() {
        let Ok(link) = core.link(&host) else { continue };
        let wrong = |error: netsplit_link::LinkError| crate::core::lost(&host, &error.to_string());
        let mut channel = link.open(Priority::Control).await.map_err(wrong)?;
        let request = Request::from(Body::Keep(KeepMessage {}));
        channel.sender.send_message(&request).await.map_err(wrong)?;
        // A paused host cannot answer; its agent reads the request when it goes on.
        let answer = tokio::time::timeout(Duration::from_secs(2), channel.receiver.receive()).await;
        if let Ok(Received::Lost(error)) = answer {
            return Err(wrong(error));
        }
    }
    core.bed.keep().await.map_err(Error::from)
}
