//! What steps leave for later ones: captured hosts, saved values, started processes, files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netsplit::settings::Settings;
use netsplit::{Capture, Fault, Host, HostName, Process, Testbed};
use netsplit_model::{Place, Reason, Trouble, excerpt, nearest};
use netsplit_scenario::{Case, HostFacts, Pattern, ProcessRef, Scenario, Select, Text, Values};

/// A failure of a step, with its place.
pub(super) type Failure = Box<Trouble>;
/// What a step returns.
pub(super) type StepResult<T = ()> = Result<T, Failure>;

/// One case as it runs.
pub(super) struct State<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) case: &'a Case,
    pub(super) bed: Testbed,
    pub(super) run: &'a netsplit::run::Run,
    settings: &'a Settings,
    facts: Vec<HostFacts>,
    /// Where fetched files lie.
    pub(super) fetched: PathBuf,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    captured: BTreeMap<String, HostName>,
    /// By name; each host that saved one has its own, and `None` is nobody in particular.
    saved: BTreeMap<String, BTreeMap<Option<HostName>, String>>,
    /// Where each file lies on each host.
    files: BTreeMap<(String, HostName), String>,
    /// By host and name, the oldest first.
    processes: BTreeMap<(HostName, String), Vec<Process>>,
    /// The faults of the present test, with what `as` called them.
    faults: Vec<(Option<String>, Fault)>,
    captures: Vec<Capture>,
    /// When the present test began.
    test_began: Duration,
}

impl<'a> State<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        case: &'a Case,
        bed: Testbed,
        run: &'a netsplit::run::Run,
        settings: &'a Settings,
    ) -> Self {
        let facts = |host: &Host| HostFacts {
            name: host.name().clone(),
            address: host.address(),
            address6: host.address6(),
        };
        let facts = bed.hosts().iter().map(facts).collect();
        let fetched = run.dir().path().join("fetched");
        Self { scenario, case, bed, run, settings, facts, fetched, made: Mutex::default() }
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ── values ──

    fn with_values<T>(&self, look: impl FnOnce(&Values<'_>) -> T) -> T {
        let made = |name: &str, host: Option<&HostName>| self.value(name, host);
        let file =
            |name: &str, host: &HostName| self.made().files.get(&(name.to_owned(), host.clone())).cloned();
        look(&Values {
            scenario: self.scenario,
            case: self.case,
            hosts: &self.facts,
            run: self.bed.run_id(),
            seed: self.bed.seed(),
            made: &made,
            file: &file,
        })
    }

    /// What a step captured or saved. A host sees its own value; others see one only when all that saved agree.
    fn value(&self, name: &str, host: Option<&HostName>) -> Option<String> {
        let made = self.made();
        if let Some(captured) = made.captured.get(name) {
            return Some(captured.to_string());
        }
        let saved = made.saved.get(name)?;
        if let Some(own) = saved.get(&host.cloned()) {
            return Some(own.clone());
        }
        let mut values = saved.values();
        let first = values.next()?;
        values.all(|value| value == first).then(|| first.clone())
    }

    pub(super) fn text(&self, text: &Text, host: Option<&HostName>) -> StepResult<String> {
        let text_or = self.with_values(|values| values.text(text, host));
        text_or.map_err(|trouble| self.explained(*trouble, text.names()))
    }

    /// A pattern as the text of a regular expression.
    pub(super) fn pattern(&self, pattern: &Pattern) -> StepResult<regex::bytes::Regex> {
        let regex = self.with_values(|values| values.pattern(pattern));
        regex.map_err(|trouble| self.explained(*trouble, pattern.names()))
    }

    /// Says so where a name of `names` has no value because hosts saved different ones.
    fn explained<'n>(&self, mut trouble: Trouble, names: impl Iterator<Item = &'n str>) -> Failure {
        let made = self.made();
        let several = names.filter(|_| trouble.name == Reason::UnsetVariable).find_map(|name| {
            let saved = made.saved.get(name).filter(|saved| saved.len() > 1)?;
            let each = saved.iter().filter_map(|(host, value)| {
                let line = value.lines().next().unwrap_or_default();
                Some(format!("`{line}` on {}", host.as_ref()?))
            });
            Some((name, each.collect::<Vec<_>>()))
        });
        if let Some((name, each)) = several {
            trouble.text = format!("`%{{{name}}}` is not one value: it is {}", excerpt::names(&each));
            trouble = trouble.guess("save it on one host, or use it on the host that saved it");
        }
        Box::new(trouble)
    }

    pub(super) fn template(
        &self,
        template: &netsplit_scenario::FileTemplate,
        host: &HostName,
    ) -> StepResult<String> {
        self.with_values(|values| values.template(template, host))
    }

    // ── hosts ──

    pub(super) fn hosts(&self, select: &Select) -> StepResult<Vec<Host>> {
        let names = self.stations(select)?;
        Ok(names.iter().filter_map(|name| self.bed.host(name.as_str()).ok()).collect())
    }

    /// Hosts, and routers where those may be named.
    pub(super) fn stations(&self, select: &Select) -> StepResult<Vec<HostName>> {
        let lookup = |name: &str| {
            let captured = self.made().captured.get(name).cloned();
            let router = || Some(vec![self.scenario.router(name)?.name.clone()]);
            captured.map(|host| vec![host]).or_else(|| self.scenario.named(name)).or_else(router)
        };
        let names = select.resolve(lookup).map_err(|term| {
            let text = format!("`{}` was not captured by any step that ran", term.name);
            Box::new(Trouble::new(Reason::UnknownHost, text).at(Some(select.place.clone())))
        })?;
        if names.is_empty() {
            let text = format!("`{select}` selects no host now");
            return Err(Box::new(Trouble::new(Reason::UnknownHost, text).at(Some(select.place.clone()))));
        }
        Ok(names)
    }

    /// The hosts meant, or all.
    pub(super) fn hosts_or_all(&self, select: Option<&Select>) -> StepResult<Vec<Host>> {
        select.map_or_else(|| Ok(self.bed.hosts()), |select| self.hosts(select))
    }

    pub(super) fn capture(&self, name: &str, host: &HostName) {
        self.made().captured.insert(name.to_owned(), host.clone());
    }

    pub(super) fn save(&self, name: &str, host: Option<&HostName>, value: String) {
        self.made().saved.entry(name.to_owned()).or_default().insert(host.cloned(), value);
    }

    pub(super) fn file_lies(&self, name: &str, host: &HostName, path: String) {
        self.made().files.insert((name.to_owned(), host.clone()), path);
    }

    // ── processes ──

    pub(super) fn started(&self, name: &str, process: Process) {
        let key = (process.host().clone(), name.to_owned());
        self.made().processes.entry(key).or_default().push(process);
    }

    /// The processes that a step means, on the hosts meant or on all that started one.
    pub(super) fn processes(
        &self,
        hosts: Option<&Select>,
        which: &ProcessRef,
        place: &Place,
    ) -> StepResult<Vec<Process>> {
        let hosts: Vec<HostName> = match hosts {
            Some(select) => self.hosts(select)?.iter().map(|host| host.name().clone()).collect(),
            None => {
                let made = self.made();
                self.facts
                    .iter()
                    .map(|facts| facts.name.clone())
                    .filter(|host| made.processes.contains_key(&(host.clone(), which.name.clone())))
                    .collect()
            }
        };
        let processes: Result<Vec<_>, _> = hosts.iter().map(|host| self.process(host, which)).collect();
        let processes = processes
            .map_err(|text| Box::new(Trouble::new(Reason::UnknownName, text).at(Some(place.clone()))))?;
        if processes.is_empty() {
            let text = format!("no process `{which}` was started");
            return Err(Box::new(Trouble::new(Reason::UnknownName, text).at(Some(place.clone()))));
        }
        Ok(processes)
    }

    fn process(&self, host: &HostName, which: &ProcessRef) -> Result<Process, String> {
        let made = self.made();
        let Some(all) = made.processes.get(&(host.clone(), which.name.clone())) else {
            let known = made.processes.keys().filter(|(on, _)| on == host).map(|(_, name)| name.as_str());
            let hint = nearest(&which.name, known)
                .map(|near| format!("; did you mean `{near}`?"))
                .unwrap_or_default();
            return Err(format!("no process `{}` was started on {host}{hint}", which.name));
        };
        let found = match which.number {
            None => all.last(),
            Some(number) => usize::try_from(number).ok().and_then(|number| all.get(number.checked_sub(1)?)),
        };
        found
            .cloned()
            .ok_or_else(|| format!("{} processes `{}` were started on {host}", all.len(), which.name))
    }

    // ── the network ──

    pub(super) fn has_begun(&self, name: Option<&str>, fault: Fault) {
        self.made().faults.push((name.map(str::to_owned), fault));
    }

    /// Hands out the faults that are called so, or all, the newest first. They are healed when they are dropped.
    pub(super) fn take_faults(&self, name: Option<&str>) -> Vec<Fault> {
        let faults = &mut self.made().faults;
        let meant = |own: &Option<String>| name.is_none() || own.as_deref() == name;
        let (mut taken, left): (Vec<_>, Vec<_>) =
            std::mem::take(faults).into_iter().partition(|(own, _)| meant(own));
        *faults = left;
        taken.reverse();
        taken.into_iter().map(|(_, fault)| fault).collect()
    }

    pub(super) fn captures(&self, capture: Capture) {
        self.made().captures.push(capture);
    }

    pub(super) fn take_captures(&self) -> Vec<Capture> {
        std::mem::take(&mut self.made().captures)
    }

    /// Whether a variable comes from the user's shell: its value is in no file.
    pub(super) fn is_passed(&self, name: &str, value: &str) -> bool {
        self.settings.is_passed(name, value)
    }

    // ── time ──

    pub(super) fn test_begins(&self) {
        let now = self.bed.now();
        self.made().test_began = now;
    }

    /// A time of the scenario's, scaled for slow machines.
    pub(super) fn scaled(&self, time: Duration) -> Duration {
        time.mul_f64(self.settings.patience)
    }

    /// How long a started process may take to be ready, before it is scaled.
    pub(super) fn deadline_start(&self) -> Duration {
        self.settings.deadlines.start.div_f64(self.settings.patience)
    }

    pub(super) fn test_began(&self) -> Duration {
        self.made().test_began
    }
}
