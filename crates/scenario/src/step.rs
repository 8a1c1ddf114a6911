//! A step as the runner takes it: everything parsed, every name known. What is not yet known when a scenario is read
//! (addresses, captured hosts, saved values) stands in [`Text`]s and [`Pattern`]s as `%{…}`.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use globset::GlobMatcher;
use indexmap::IndexMap;
use netsplit_model::{HostName, Place, Reason, Selector, Template, Term, Trouble, Unset};
use regex::bytes::{Regex, RegexBuilder};

use crate::{Capture, Fault, Heal, Regions};

/// One thing to do.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its verb in the user's file.
    pub place: Place,
    /// The lines it is written on.
    pub lines: RangeInclusive<u32>,
    /// It in one line, for progress: ``find `became leader` on members as leader``.
    pub text: String,
    /// What to do.
    pub verb: Verb,
}

/// What a step does, with exactly the words that may follow its verb.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Verb {
    /// `run`, `sh`: to its end on each host.
    Run(Box<Run>),
    /// `start`: goes on when it runs, or is ready.
    Start(Box<Start>),
    /// `wait`: until a started process ends.
    Wait(Box<Wait>),
    /// `stop`: asks, then kills.
    Stop(Stop),
    /// `wait_for`: until a line matches.
    WaitFor(WaitFor),
    /// `find … as`: whose line is the newest.
    Find(Find),
    /// `never … for`: fails when a line matches.
    Never(Never),
    /// `kill = "a"`: the power of hosts.
    KillHosts(Select),
    /// `kill = "a/kvd"`: a process and its children.
    KillProcess(Process),
    /// `signal … on`.
    Signal {
        /// Its number.
        signal: i32,
        /// To whom.
        on: Process,
    },
    /// `pause`.
    Pause {
        /// Which hosts.
        on: Select,
        /// They resume by themselves so much later; the step does not wait.
        lasts: Option<Duration>,
    },
    /// `resume`.
    Resume(Select),
    /// `restart`: power again, for hosts that were killed.
    Restart {
        /// Which hosts.
        on: Select,
        /// How long it may take; else `deadlines.host`.
        within: Option<Duration>,
    },
    /// A fault of the network.
    Fault(Box<Fault>),
    /// `regions`: the delays between places on earth.
    Regions(Regions),
    /// `heal`.
    Heal(Heal),
    /// `capture`.
    Capture(Capture),
    /// `put`.
    Put(Box<Put>),
    /// `get`.
    Get(Get),
    /// `note`.
    Note(Text),
    /// `expect`.
    Expect(Box<Expect>),
    /// `do`: the steps of a procedure or of a matrix case, which are all here.
    Do {
        /// What it is called.
        name: String,
        /// In order.
        steps: Vec<Step>,
    },
    /// `together`: at the same time.
    Together(Vec<Step>),
    /// `sleep … why`.
    Sleep {
        /// How long.
        time: Duration,
        /// Why nothing can be waited for.
        why: Text,
    },
}

/// `run`, `sh`.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where.
    pub on: Where,
    /// What.
    pub command: Command,
    /// It is repeated until it is as expected, at most for so long.
    pub eventually: Option<Duration>,
    /// How it must end and what it must write.
    pub checks: Checks,
}

/// `start`.
#[derive(Clone, Debug)]
pub struct Start {
    /// Where.
    pub on: Select,
    /// What; `ready` is in it.
    pub command: Command,
}

/// `wait`.
#[derive(Clone, Debug)]
pub struct Wait {
    /// For whom.
    pub process: Process,
    /// How long it may take; else `deadlines.wait`.
    pub within: Option<Duration>,
    /// How it must end and what it must have written.
    pub checks: Checks,
}

/// `stop`.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Whom.
    pub process: Process,
    /// Between asking and killing; else `deadlines.grace`.
    pub grace: Option<Duration>,
}

/// `wait_for`.
#[derive(Clone, Debug)]
pub struct WaitFor {
    /// What a line must match.
    pub pattern: Pattern,
    /// Whose lines.
    pub on: Listen,
    /// How long it may take; else `deadlines.wait`.
    pub within: Option<Duration>,
    /// From when on.
    pub since: Option<Since>,
    /// On how many of the hosts.
    pub hosts: HowMany,
    /// What to keep of the line.
    pub save: Vec<Save>,
}

/// `find … as`.
#[derive(Clone, Debug)]
pub struct Find {
    /// What a line must match.
    pub pattern: Pattern,
    /// Whose lines.
    pub on: Listen,
    /// The name of the host from here on.
    pub name: String,
    /// How long it may take; else `deadlines.wait`.
    pub within: Option<Duration>,
    /// From when on.
    pub since: Option<Since>,
    /// What to keep of the line.
    pub save: Vec<Save>,
}

/// `never … for`.
#[derive(Clone, Debug)]
pub struct Never {
    /// What no line may match.
    pub pattern: Pattern,
    /// Whose lines.
    pub on: Listen,
    /// How long to look.
    pub lasts: Duration,
    /// From when on.
    pub since: Since,
}

/// `put`.
#[derive(Clone, Debug)]
pub struct Put {
    /// Where.
    pub on: Select,
    /// What.
    pub what: Content,
    /// The path on the hosts.
    pub path: Text,
    /// The rights, when said.
    pub mode: Option<u32>,
}

/// `get`.
#[derive(Clone, Debug)]
pub struct Get {
    /// From whom.
    pub on: Select,
    /// The path on the hosts.
    pub path: Text,
    /// Where it goes among the fetched files; only kept as evidence when not said.
    pub to: Option<Text>,
}

/// `expect`.
#[derive(Clone, Debug)]
pub struct Expect {
    /// What is judged.
    pub what: Judged,
    /// What must hold of the value, or of each file. For files `at_least` and `at_most` count them.
    pub matcher: Matcher,
    /// How the files must agree.
    pub same: Option<Same>,
}

/// What `expect` judges.
#[derive(Clone, Debug)]
pub enum Judged {
    /// `%{NAME}`.
    Value(Text),
    /// Files that `get` fetched; at least one must be there.
    Files {
        /// As written.
        glob: String,
        /// For paths relative to the fetched files.
        matcher: GlobMatcher,
    },
    /// Started processes.
    Processes {
        /// Which.
        which: Process,
        /// Whether they are to run; else to have ended.
        run: bool,
    },
}

/// How files agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// Byte by byte.
    Bytes,
    /// Each is the begin of the longest.
    Prefix,
}

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// This text.
    Text(Text),
    /// A copy of this file or folder of the runner's machine.
    From(LocalPath),
    /// What this template makes on each host.
    Template(crate::FileTemplate),
}

/// A path that the user wrote relative to the folder of the file it stands in.
#[derive(Clone, Debug)]
pub struct LocalPath {
    /// As written.
    pub path: Text,
    /// Where it counts from.
    pub folder: Arc<PathBuf>,
}

/// What runs, with all that belongs to it: the step's own words over those of the named command.
#[derive(Clone, Debug)]
pub struct Command {
    /// What its processes are called: `etcd` in `a/etcd`.
    pub name: String,
    /// What runs.
    pub program: Program,
    /// Environment, nearer than that of the test; `None` takes a variable away.
    pub env: Env,
    /// The user of the host.
    pub user: Option<String>,
    /// The folder on the host.
    pub cwd: Option<Text>,
    /// What it reads; nothing when not said.
    pub stdin: Option<Text>,
    /// On a terminal of its own.
    pub pty: bool,
    /// How long it may take to end, or to be ready; else `deadlines.run` or `.start`.
    pub within: Option<Duration>,
    /// What a line must match before it counts as started.
    pub ready: Option<Pattern>,
    /// The signal that asks it to end.
    pub stop: i32,
}

/// What is executed.
#[derive(Clone, Debug)]
pub struct Program {
    /// The words; behind a script they are its `$1` and so on.
    pub words: Vec<Text>,
    /// For `/bin/sh -eu -c`.
    pub script: Option<Text>,
    /// A first word with a slash that does not begin with one is a file of this folder.
    pub folder: Arc<PathBuf>,
}

/// Variables that a scope sets, or takes away.
pub type Env = IndexMap<String, Option<Text>>;

/// How a process must end and what it must have written.
#[derive(Clone, Debug, Default)]
pub struct Checks {
    /// How it must end.
    pub exit: Exit,
    /// What it must have written.
    pub stdout: Option<Matcher>,
    /// What it must have written to its error output.
    pub stderr: Option<Matcher>,
    /// What its output must have as JSON.
    pub json: Vec<JsonCheck>,
    /// What is kept for later steps.
    pub save: Vec<Save>,
}

/// How a process must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With one of these codes.
    Codes(Vec<u8>),
    /// With any code but 0.
    Nonzero,
    /// It does not matter how.
    Any,
    /// By this signal.
    Signal(i32),
}

/// What must hold of a text. All that is said must hold.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    /// Where it is said.
    pub place: Option<Place>,
    /// It is this; one last newline of it is ignored.
    pub equals: Option<Text>,
    /// It contains each of these.
    pub has: Vec<Text>,
    /// A part of it matches each of these.
    pub matches: Vec<Pattern>,
    /// It has so many lines.
    pub lines: Option<Number>,
    /// It is empty, or is not.
    pub is_empty: Option<bool>,
    /// As a number it is not less.
    pub at_least: Option<Number>,
    /// As a number it is not more.
    pub at_most: Option<Number>,
}

/// A number, or a text that becomes one.
#[derive(Clone, Debug)]
pub enum Number {
    /// Known.
    Is(f64),
    /// Known when it runs.
    Of(Text),
}

/// A value that JSON must have.
#[derive(Clone, Debug)]
pub struct JsonCheck {
    /// Where it is said.
    pub place: Place,
    /// The way to it: keys, and indexes of lists.
    pub path: Vec<String>,
    /// The value.
    pub value: JsonValue,
}

/// A value of JSON.
#[derive(Clone, Debug)]
pub enum JsonValue {
    /// A text with `%{…}` filled in; it also equals a number that is written so.
    Text(Text),
    /// Any other.
    Is(serde_json::Value),
}

/// A value to keep.
#[derive(Clone, Debug)]
pub struct Save {
    /// Its name in `%{…}`.
    pub name: String,
    /// Where it is said.
    pub place: Place,
    /// What is kept.
    pub what: Saved,
}

/// What of an output is kept.
#[derive(Clone, Debug)]
pub enum Saved {
    /// Group 1 of the first match.
    Group(Pattern),
    /// The value at this path, as text.
    Json(Vec<String>),
    /// All of stdout, without one last newline.
    Stdout,
}

/// Where something runs.
#[derive(Clone, Debug)]
pub enum Where {
    /// On the machine netsplit runs on.
    Here,
    /// On these hosts.
    Hosts(Select),
}

/// Whose lines are looked at.
#[derive(Clone, Debug)]
pub struct Listen {
    /// All hosts when not said.
    pub hosts: Option<Select>,
    /// One process on each of them, else all.
    pub process: Option<ProcessRef>,
}

/// A started process, on one host or on several.
#[derive(Clone, Debug)]
pub struct Process {
    /// All hosts on which it was started when not said.
    pub hosts: Option<Select>,
    /// Which.
    pub process: ProcessRef,
}

/// A process of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessRef {
    /// Its name.
    pub name: String,
    /// Which of that name, from 1; the newest when not said.
    pub number: Option<u32>,
}

/// Hosts, by their names, roles and captured names, which all are known.
#[derive(Clone, Debug)]
pub struct Select {
    /// As written.
    pub text: String,
    /// The names that join and that are taken away.
    pub selector: Selector,
    /// Where it is written.
    pub place: Place,
}

/// From when on lines count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The begin of the run.
    Begin,
    /// The begin of the test.
    Test,
    /// The last fault, heal, power change or signal, else the begin of the run.
    Disturbance,
    /// The begin of the step.
    Now,
    /// So long before the begin of the step.
    Ago(Duration),
}

/// On how many hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowMany {
    /// On so many, or more.
    AtLeast(usize),
    /// On each.
    All,
}

/// A text with `%{…}`, all of whose names are known.
#[derive(Clone, Debug)]
pub struct Text {
    text: Arc<str>,
    template: Template,
    /// Where it is written.
    pub place: Place,
}

/// A regular expression. Values that `%{…}` puts into it stand for themselves.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Arc<str>,
    /// Compiled, when nothing has to be filled in.
    regex: Option<Regex>,
    template: Template,
    /// Where it is written.
    pub place: Place,
}

impl Default for Exit {
    fn default() -> Self {
        Self::Codes(vec![0])
    }
}

impl Program {
    /// Whether `word`, as the first, names a file beside the scenario rather than a program of the host.
    pub fn is_local(word: &str) -> bool {
        word.contains('/') && !word.starts_with('/')
    }
}

impl Select {
    /// The hosts meant.
    ///
    /// # Errors
    /// The first term that `lookup` does not know: a captured name that nobody captured yet.
    pub fn resolve(&self, lookup: impl Fn(&str) -> Option<Vec<HostName>>) -> Result<Vec<HostName>, &Term> {
        self.selector.resolve(lookup)
    }
}

impl Text {
    pub(crate) fn new(text: &str, template: Template, place: Place) -> Self {
        Self { text: text.into(), template, place }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names it asks for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.template.names().map(|(name, _)| name)
    }

    /// The text with every name replaced by what `lookup` says.
    ///
    /// # Errors
    /// The first name without a value.
    pub fn render(&self, lookup: impl Fn(&str) -> Option<String>) -> Result<String, Unset> {
        self.template.render(&self.text, lookup, [])
    }
}

impl Pattern {
    pub(crate) fn new(text: &str, regex: Option<Regex>, template: Template, place: Place) -> Self {
        Self { text: text.into(), regex, template, place }
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names it asks for.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.template.names().map(|(name, _)| name)
    }

    /// The regular expression with every name replaced by what `lookup` says, taken literally. `^` and `$` are the begin
    /// and the end of a line.
    ///
    /// # Errors
    /// The first name without a value; a value that makes it no regular expression, as in the name of a group.
    pub fn regex(&self, lookup: impl Fn(&str) -> Option<String>) -> Result<Regex, Box<Trouble>> {
        if let Some(regex) = &self.regex {
            return Ok(regex.clone());
        }
        let bad =
            |name: Reason, text: String| Box::new(Trouble::new(name, text).at(Some(self.place.clone())));
        let literal = |name: &str| lookup(name).map(|value| format!("(?:{})", regex::escape(&value)));
        let text = self.template.render(&self.text, literal, []);
        let text = text.map_err(|unset| bad(Reason::UnsetVariable, unset.to_string()))?;
        compile(&text)
            .map_err(|error| bad(Reason::BadRegex, format!("`{text}` is no regular expression: {error}")))
    }
}

/// Compiles what lines, and outputs of several lines, are matched with.
pub(crate) fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).multi_line(true).build()
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Some(hosts) => write!(f, "{hosts}/{}", self.process),
            None => self.process.fmt(f),
        }
    }
}

impl fmt::Display for ProcessRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{}.{number}", self.name),
            None => f.write_str(&self.name),
        }
    }
}
