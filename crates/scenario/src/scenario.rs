//! A whole scenario, read and found right. `load.rs` makes it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use netsplit_model::{Capability, HostName, Place, Reason, Trouble};
use netsplit_netmodel::nat::NatKind;

use crate::{Content, Env, Pattern, Program, Select, Sources, Step, Text, Verb};

/// What a scenario file and its includes say.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without `.toml`: the test's name.
    pub name: String,
    /// The file, as the user named it.
    pub file: String,
    /// The folder it lies in: `here` commands and `build` run there.
    pub folder: Arc<PathBuf>,
    /// One sentence on what it shows.
    pub about: Option<String>,
    /// Words to choose it by.
    pub tags: Vec<String>,
    /// Deadline of the whole.
    pub within: Option<Limit>,
    /// Who takes part, in the order written.
    pub roles: Vec<Role>,
    /// The networks, in the order written; none: one that joins all hosts.
    pub networks: Vec<Network>,
    /// Routers between networks that are no hosts, in the order written.
    pub routers: Vec<Router>,
    /// Environment of all processes.
    pub env: Env,
    /// Files that are there before the first step.
    pub files: IndexMap<String, File>,
    /// Texts by name.
    pub variables: IndexMap<String, Variable>,
    /// Commands to run here before any host is made.
    pub builds: Vec<Build>,
    /// What no line of any process may match.
    pub never: Vec<Pattern>,
    /// How long things may take.
    pub deadlines: Deadlines,
    pub(crate) cases: Vec<Case>,
}

/// A scenario, and what is said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Fully checked.
    pub scenario: Scenario,
    /// What does not keep it from running.
    pub warnings: Vec<Trouble>,
    /// What was read.
    pub sources: Sources,
}

/// Hosts that play one part.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its name.
    pub name: HostName,
    /// Its hosts, in order; at least one.
    pub hosts: Vec<HostName>,
    /// How much their disks hold, in bytes.
    pub disk: Option<u64>,
    /// The tables of providers: what only they know, as JSON.
    pub hints: IndexMap<String, serde_json::Value>,
    /// Where it is written.
    pub place: Place,
}

/// A network and who is on it. A host's first network is the one of its name.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its name.
    pub name: HostName,
    /// The hosts on it, each once.
    pub hosts: Vec<HostName>,
}

/// A router between two networks that is no host.
#[derive(Clone, Debug)]
pub struct Router {
    /// Its name, unlike any host's or role's.
    pub name: HostName,
    /// The network whose hosts it translates or protects.
    pub inside: HostName,
    /// The network of all others.
    pub outside: HostName,
    /// What it does.
    pub kind: NatKind,
}

/// A file that is on its hosts before the first step.
#[derive(Clone, Debug)]
pub struct File {
    /// The hosts that get it.
    pub on: Select,
    /// Where it lies; anywhere when not said, and `%{file:NAME}` tells.
    pub path: Option<Text>,
    /// What it holds.
    pub content: Content,
    /// Its rights, when said.
    pub mode: Option<u32>,
    /// Where it is written.
    pub place: Place,
}

/// A text by name.
#[derive(Clone, Debug)]
pub enum Variable {
    /// This.
    Text(Text),
    /// One for each host, joined.
    Each {
        /// The hosts.
        hosts: Select,
        /// What each becomes.
        text: Text,
        /// What stands between.
        join: String,
    },
}

/// A command that runs here, before any host is made; when it fails, the verdict is `infra: build-failed`.
#[derive(Clone, Debug)]
pub struct Build {
    /// The command it belongs to.
    pub command: String,
    /// What runs, in its folder.
    pub program: Program,
    /// Where it is written.
    pub place: Place,
}

/// How long things may take when a step does not say. `None` is what the settings say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// Until a host is ready.
    pub host: Option<Duration>,
    /// Until a started process is ready.
    pub start: Option<Duration>,
    /// Until a command ended, or a process that is waited for.
    pub run: Option<Duration>,
    /// Until a line came.
    pub wait: Option<Duration>,
    /// Until a test is over.
    pub test: Option<Duration>,
    /// Between asking a process to end and killing it.
    pub grace: Option<Duration>,
}

/// A run of the tests on hosts of its own: one for each combination of the matrix, or the only one.
#[derive(Clone, Debug)]
pub struct Case {
    /// `nfs`, or `nfs[version=4.1]`, or `nfs[version=4.1,proto=tcp]`.
    pub name: String,
    /// Its matrix values; for a key whose values are steps, the name of the case.
    pub values: IndexMap<String, String>,
    /// In order.
    pub tests: Vec<Test>,
    /// Always run, after the last test.
    pub cleanup: Vec<Step>,
    /// What it needs of a provider, each capability once, with the first place that needs it. Those that only one test
    /// says it needs are not here but there.
    pub needs: Vec<Need>,
}

/// A `[[test]]`.
#[derive(Clone, Debug)]
pub struct Test {
    /// What is true when it passed.
    pub name: String,
    /// In order.
    pub steps: Vec<Step>,
    /// Always run, after the others.
    pub cleanup: Vec<Step>,
    /// What its `needs` says, and its steps show.
    pub needs: Vec<Need>,
    /// Its deadline; else `deadlines.test`.
    pub within: Option<Limit>,
    /// Environment of its processes.
    pub env: Env,
    /// How many times it runs.
    pub repeat: u32,
    /// The later tests run although it failed.
    pub keep_going: bool,
    /// Its `name`.
    pub place: Place,
}

/// A deadline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Before it is scaled.
    pub time: Duration,
    /// Its `within`.
    pub place: Place,
}

/// A capability that something needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Which.
    pub capability: Capability,
    /// What needs it: `pause`, `user`, `needs`.
    pub by: String,
    /// Where that stands.
    pub place: Place,
}

/// A step of a case, by number from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepAt {
    /// The test.
    pub test: usize,
    /// The step within the test.
    pub step: usize,
}

impl Scenario {
    /// The runs to make: one without a matrix, else one for each combination of its values.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// All hosts, in order.
    pub fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.roles.iter().flat_map(|role| &role.hosts)
    }

    /// The hosts that `name` means without anything captured: a host's name, a role's, or `all`.
    pub fn named(&self, name: &str) -> Option<Vec<HostName>> {
        if name == "all" {
            return Some(self.hosts().cloned().collect());
        }
        let role = self.roles.iter().find(|role| role.name.as_str() == name);
        let role = role.map(|role| role.hosts.clone());
        role.or_else(|| self.hosts().find(|host| host.as_str() == name).map(|host| vec![host.clone()]))
    }

    /// The router that `name` means, which faults may be about.
    pub fn router(&self, name: &str) -> Option<&Router> {
        self.routers.iter().find(|router| router.name.as_str() == name)
    }

    /// The networks that a host is on, the one of its name first; none when there is only one, without a name.
    pub fn networks_of(&self, host: &HostName) -> impl Iterator<Item = &HostName> {
        let on = self.networks.iter().filter(|network| network.hosts.contains(host));
        on.map(|network| &network.name)
    }

    /// What all cases need of a provider, each capability once, with the first place that needs it.
    pub fn needs(&self) -> Vec<Need> {
        let tests = self.cases.iter().flat_map(|case| case.tests.iter().flat_map(|test| &test.needs));
        let mut needs: Vec<Need> = Vec::new();
        for need in self.cases.iter().flat_map(|case| &case.needs).chain(tests) {
            if needs.iter().all(|known| known.capability != need.capability) {
                needs.push(need.clone());
            }
        }
        needs.sort_by_key(|need| need.capability);
        needs
    }

    /// The step on line `line` of the scenario's own file, for `run FILE:LINE`. The numbers hold for every case.
    ///
    /// # Errors
    /// When no step of a test stands there; says which is next.
    pub fn stop_before(&self, line: u32) -> Result<StepAt, Box<Trouble>> {
        let steps = self.cases.first().map_or(&[][..], |case| &case.tests);
        let steps = steps.iter().enumerate().flat_map(|(test, of)| {
            let own = of.steps.iter().enumerate().filter(|(_, step)| step.place.file == self.file);
            own.map(move |(step, one)| (StepAt { test, step }, one))
        });
        let all: Vec<_> = steps.collect();
        if let Some((at, _)) = all.iter().find(|(_, step)| step.lines.contains(&line)) {
            return Ok(*at);
        }
        let trouble =
            Trouble::new(Reason::BadSetting, format!("no step begins on line {line} of {}", self.file));
        if let Some((_, step)) = all.iter().find(|(_, step)| self.does(step, line)) {
            let because = format!("it belongs to what line {} does", step.place.line);
            return Err(Box::new(trouble.because(because).fix(format!("{}:{}", self.file, step.place.line))));
        }
        let next = all.iter().map(|(_, step)| step).find(|step| *step.lines.start() > line);
        Err(Box::new(match next.or_else(|| all.last().map(|(_, step)| step)) {
            Some(step) => trouble.fix(format!("{}:{}   {}", self.file, step.place.line, step.text)),
            None => trouble,
        }))
    }

    /// Whether `step` does a procedure or a matrix case of which a step stands on line `line`.
    fn does(&self, step: &Step, line: u32) -> bool {
        let Verb::Do { steps, .. } = &step.verb else { return false };
        let here = |inner: &Step| inner.place.file == self.file && inner.lines.contains(&line);
        steps.iter().any(|inner| here(inner) || self.does(inner, line))
    }
}
