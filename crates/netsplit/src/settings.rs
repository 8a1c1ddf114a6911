//! Everything a user can set, and the only place that reads the environment.
//!
//! The nearest wins: flag, `NETSPLIT_*`, `.env`, profile, `netsplit.toml`, default. Flag, variable and key are one
//! name: `--keep`, `NETSPLIT_KEEP`, `keep`; within a table `NETSPLIT_DEADLINES_RUN`, `deadlines.run`.

mod handed;
mod keys;
mod layers;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netsplit_model::{Capabilities, Capability, Reason, Trouble, nearest, units};
use netsplit_provider::{NetworkModel, Provider};
use serde::{Deserialize, Serialize};

pub(crate) use handed::Handed;
pub use keys::{KEYS, Key};
use layers::Layers;

/// What a run does with its testbed when it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Takes it down.
    #[default]
    Never,
    /// Keeps it unless the test passed.
    Failed,
    /// Keeps it.
    Always,
}

/// Seeds of one test: all of them, and how each ended, are in memory.
const SEEDS_MAX: usize = 1_000_000;

/// How long things may take, before `patience`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// A host to come up.
    pub host: Duration,
    /// A started process to become ready.
    pub start: Duration,
    /// A command to end.
    pub run: Duration,
    /// A line to come, or the next piece of a file.
    pub wait: Duration,
    /// A whole test.
    pub test: Duration,
    /// Between TERM and KILL.
    pub grace: Duration,
}

/// Which runs are kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At most so many.
    pub runs: u64,
    /// At most so many bytes.
    pub size: u64,
    /// At most so old.
    pub age: Duration,
}

/// What joins the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkSettings {
    /// Who carries their packets.
    pub model: NetworkModel,
    /// How late the fabric may be, at its 99th percentile; not scaled by `patience`.
    pub late: Duration,
    /// Whether a run in which it was later is `infra`, rather than warned of.
    pub late_is_infra: bool,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// A variable of the environment.
    Environment,
    /// The file `.env`.
    DotEnv(PathBuf),
    /// `netsplit.toml`, with the profile if it stands there.
    File(PathBuf, Option<String>),
    /// Built in.
    Default,
}

/// All settings of a process, resolved.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What makes hosts, when it was said.
    pub provider: Option<String>,
    /// Providers and capabilities that may not be skipped.
    pub require: Vec<String>,
    /// What a bare `netsplit run` runs.
    pub tests: Vec<PathBuf>,
    /// Variables of this process's environment that hosts may see, with their values here.
    pub pass: BTreeMap<String, String>,
    /// How long things may take; scaled by `patience` already.
    pub deadlines: Deadlines,
    /// By what all deadlines are multiplied.
    pub patience: f64,
    /// What joins the hosts.
    pub network: NetworkSettings,
    /// What becomes of the testbed.
    pub keep: Keep,
    /// The seed of every random draw, when it was said.
    pub seed: Option<u64>,
    /// How many seeds a test is simulated with, when it was said.
    pub seeds: Option<usize>,
    /// Whether each seed is simulated twice, and the two compared.
    pub check: bool,
    /// Tests at once, when it was said.
    pub jobs: Option<usize>,
    /// Which runs stay on disk.
    pub retention: Retention,
    /// Where `.netsplit` is.
    pub dir: PathBuf,
    /// Where a copy of junit.xml of all tests is to be written.
    pub junit: Option<PathBuf>,
    /// Every key with its value as text and where that comes from.
    pub shown: Vec<(&'static str, String, Origin)>,
    /// What looks wrong and keeps nothing from running.
    pub warnings: Vec<Trouble>,
}

impl Settings {
    /// Whether a variable is as it was passed from the user's shell: then it is the user's, and in no file.
    pub fn is_passed(&self, name: &str, value: &str) -> bool {
        self.pass.get(name).is_some_and(|passed| passed == value)
    }

    /// Reads all layers for a process that works in `cwd`; `flags` are what its command line says, by key.
    ///
    /// # Errors
    /// Every value that is wrong, with where it stands.
    pub fn load(cwd: &Path, flags: &[(String, String)]) -> Result<Self, Vec<Trouble>> {
        let environment = std::env::vars_os().filter_map(utf8).collect();
        Self::from_layers(&Layers::read(cwd, flags, environment)?)
    }

    /// What `provider` can do with these settings.
    pub fn able(&self, provider: &dyn Provider) -> Capabilities {
        let able = provider.capabilities();
        able.iter().filter(|capability| !self.forgoes(*capability)).collect()
    }

    /// Whether it is these settings that take a capability away.
    fn forgoes(&self, capability: Capability) -> bool {
        capability == Capability::Network && self.network.model == NetworkModel::Kernel
    }

    /// Why there is none of a capability: ``which `namespace` cannot do here``.
    pub fn cannot(&self, capability: &str, provider: &str) -> String {
        let by_setting = Capability::named(capability).is_some_and(|capability| self.forgoes(capability));
        let here = if by_setting { r#"with `network.model = "kernel"`"# } else { "here" };
        format!("which `{provider}` cannot do {here}")
    }

    /// What is said of a capability that `provider` does not have: a skip, or a failure where that is forbidden.
    pub(crate) fn missing(&self, capability: &str, provider: &str) -> Trouble {
        let text = format!("needs `{capability}`, {}", self.cannot(capability, provider));
        let skip = Trouble::new(Reason::MissingCapability, text);
        if self.requires(capability) { required(skip) } else { self.unless_required(skip, provider) }
    }

    /// A skip, for whatever reason, is a failure on a provider that is required.
    pub(crate) fn unless_required(&self, trouble: Trouble, provider: &str) -> Trouble {
        let is_skip = trouble.name == Reason::MissingCapability;
        if is_skip && self.requires(provider) { required(trouble) } else { trouble }
    }

    /// Whether `key` was said, and nearer than `other` was.
    pub(crate) fn is_nearer(&self, key: &str, other: &str) -> bool {
        let rank = |key| self.shown.iter().find(|(name, ..)| *name == key).map(|(.., origin)| origin.rank());
        rank(key) > rank(other)
    }

    fn requires(&self, word: &str) -> bool {
        self.require.iter().any(|required| required == word)
    }

    fn from_layers(layers: &Layers) -> Result<Self, Vec<Trouble>> {
        let (settings, mut troubles) = Self::read(layers);
        troubles.extend(layers.unused().iter().flat_map(|profile| Self::read(profile).1));
        // As they stand in the file; what stands elsewhere comes last.
        troubles.sort_by_key(|trouble| trouble.place.as_ref().map_or(u32::MAX, |place| place.line));
        if troubles.is_empty() { Ok(settings) } else { Err(troubles) }
    }

    /// The settings, and what is wrong with them.
    fn read(layers: &Layers) -> (Self, Vec<Trouble>) {
        let mut read = Reader { layers, troubles: layers.troubles().to_vec() };
        let patience = read.value("patience", |text| {
            text.parse::<f64>()
                .ok()
                .filter(|patience| (0.01..=1000.0).contains(patience))
                .ok_or("a number such as 3")
        });
        let mut deadline = |key| read.value(key, duration).mul_f64(patience);
        let deadlines = Deadlines {
            host: deadline("deadlines.host"),
            start: deadline("deadlines.start"),
            run: deadline("deadlines.run"),
            wait: deadline("deadlines.wait"),
            test: deadline("deadlines.test"),
            grace: deadline("deadlines.grace"),
        };
        let retention = Retention {
            runs: read.value("retention.runs", number),
            size: read.value("retention.size", |text| units::size(text).map_err(|_| "a size such as 2GiB")),
            age: read.value("retention.age", duration),
        };
        let network = NetworkSettings {
            model: read.value("network.model", network_model),
            late: read.value("network.late", duration),
            late_is_infra: read.value("network.late_is", late_is),
        };
        let pass = read.list("pass");
        let settings = Self {
            provider: read.optional("provider", |text| Ok(text.to_owned())),
            require: read.require(),
            tests: read.list("tests").into_iter().map(PathBuf::from).collect(),
            pass: pass
                .iter()
                .filter_map(|name| Some((name.clone(), layers.variable(name)?.to_owned())))
                .collect(),
            deadlines,
            patience,
            network,
            keep: read.value("keep", keep),
            seed: read.optional("seed", number),
            seeds: read.optional("seeds", seeds),
            check: layers.variable("NETSPLIT_CHECK").is_some_and(|said| !["", "0"].contains(&said)),
            jobs: read.optional("jobs", jobs),
            retention,
            dir: layers.dir(),
            junit: read.optional("junit", |text| Ok(PathBuf::from(text))),
            shown: layers.shown(),
            warnings: layers.warnings().to_vec(),
        };
        (settings, read.troubles)
    }
}

/// The failure that a skip is where skips are forbidden.
fn required(skip: Trouble) -> Trouble {
    let text = format!("{}, and `require` forbids to skip it", skip.text);
    Trouble { name: Reason::RequiredCapability, text, ..skip }
}

fn utf8((name, value): (OsString, OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    units::duration(text).map_err(|_| "a duration such as 30s")
}

fn number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a whole number")
}

fn jobs(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|jobs| *jobs > 0).ok_or("a whole number, 1 or more")
}

fn seeds(text: &str) -> Result<usize, &'static str> {
    let count = text.parse().ok().filter(|count| (1..=SEEDS_MAX).contains(count));
    count.ok_or("a whole number from 1 to 1000000")
}

fn keep(text: &str) -> Result<Keep, &'static str> {
    match text {
        "never" => Ok(Keep::Never),
        "failed" => Ok(Keep::Failed),
        "always" => Ok(Keep::Always),
        _ => Err("`never`, `failed` or `always`"),
    }
}

fn network_model(text: &str) -> Result<NetworkModel, &'static str> {
    match text {
        "fabric" => Ok(NetworkModel::Fabric),
        "kernel" => Ok(NetworkModel::Kernel),
        _ => Err("`fabric` or `kernel`"),
    }
}

fn late_is(text: &str) -> Result<bool, &'static str> {
    match text {
        "warn" => Ok(false),
        "infra" => Ok(true),
        _ => Err("`warn` or `infra`"),
    }
}

/// Turns texts into values and collects what is wrong.
struct Reader<'a> {
    layers: &'a Layers,
    troubles: Vec<Trouble>,
}

impl Reader<'_> {
    fn value<T: Default>(&mut self, key: &'static str, parse: impl Fn(&str) -> Result<T, &'static str>) -> T {
        self.optional(key, parse).unwrap_or_default()
    }

    /// `None` when nobody said anything and there is no default.
    fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let (text, origin) = self.layers.get(key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(wanted) => {
                let place = self.layers.place(key).cloned();
                let named = if place.is_some() { format!("`{key}`") } else { origin.names(key) };
                let text = format!("{named} is `{text}`; it takes {wanted}");
                self.troubles.push(Trouble::new(Reason::BadSetting, text).at(place));
                None
            }
        }
    }

    fn list(&self, key: &str) -> Vec<String> {
        let text = self.layers.get(key).map_or("", |(text, _)| text);
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }
}

impl Reader<'_> {
    /// A word that nobody can have would require nothing.
    fn require(&mut self) -> Vec<String> {
        let all = self.list("require");
        let mut known = netsplit_provider::names().to_vec();
        known.extend(Capability::ALL.iter().map(|capability| capability.as_str()));
        let Some(unknown) = all.iter().find(|word| !known.contains(&word.as_str())) else { return all };
        let text = format!("no provider or capability `{unknown}`");
        let trouble = match nearest(unknown, known.iter().copied()) {
            Some(near) => Trouble::new(Reason::BadSetting, format!("{text}; did you mean `{near}`?")),
            None => Trouble::new(Reason::BadSetting, text).saw(format!("there is: {}", known.join(" "))),
        };
        let said = self.layers.get("require");
        let because = said.map(|(text, origin)| format!("{} is `{text}`", origin.names("require")));
        let place = self.layers.place("require").cloned();
        let trouble =
            if place.is_some() { trouble.at(place) } else { trouble.because(because.unwrap_or_default()) };
        self.troubles.push(trouble);
        all
    }
}

impl Origin {
    /// The greater, the nearer.
    fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File(_, None) => 1,
            Self::File(_, Some(_)) => 2,
            Self::DotEnv(_) => 3,
            Self::Environment => 4,
            Self::Flag => 5,
        }
    }

    /// How `key` is called there.
    fn names(&self, key: &str) -> String {
        match self {
            Self::Flag => format!("--{key}"),
            Self::Environment => keys::variable(key),
            Self::DotEnv(path) => format!("{} in {}", keys::variable(key), path.display()),
            Self::File(path, None) => format!("`{key}` in {}", path.display()),
            Self::File(path, Some(profile)) => format!("`profile.{profile}.{key}` in {}", path.display()),
            Self::Default => format!("the default of `{key}`"),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::DotEnv(path) => write!(f, "{}", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::File(path, Some(profile)) => write!(f, "{} (profile {profile})", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What a process on a host is told of it.
pub(crate) fn machine_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether a terminal may be painted: not with `NO_COLOR`, not when it is dumb.
pub fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !is_dumb()
}

/// Whether the terminal knows no escape sequences.
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb")
}

/// Whether this process runs in a job of the forge that reads annotations.
pub fn is_github() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// What kind of terminal this process runs on.
pub fn terminal_kind() -> Option<String> {
    std::env::var("TERM").ok().filter(|kind| !kind.is_empty())
}
