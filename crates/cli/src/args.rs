//! What may be typed. Help, completions and man pages are made from this.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, RangedU64ValueParser, StringValueParser, TypedValueParser};
use clap::{Arg, ArgAction, Args, Parser, Subcommand, ValueEnum};
use netsplit_model::Reason;

/// Tests for systems that run on more than one host.
#[derive(Debug, Parser)]
#[command(name = "netsplit", version, max_term_width = 100, propagate_version = true)]
#[command(
    after_help = "First steps:  netsplit doctor   ·   netsplit new first.toml -- ./server   ·   netsplit run first.toml"
)]
pub(crate) struct Cli {
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

const RUN_EXITS: &str = "Exit codes, the first that applies:
  2    a wrong flag, or any bad scenario: nothing was run
  70   a bug of netsplit
  130  interrupted (143: by SIGTERM)
  1    at least one failed
  3    none failed, but something that a test needs was not there
  5    at least one is unknown
  4    nothing ran: no name matched, or all were skipped
  0    all passed; some may have been skipped";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run scenarios
    #[command(after_help = RUN_EXITS)]
    Run(RunArgs),
    /// Write a scenario that runs, for a command of yours
    New(NewArgs),
    /// Show every mistake of scenarios, and what they need; run nothing
    Lint(LintArgs),
    /// List runs
    Runs(RunsArgs),
    /// Show what the processes of a run wrote, all hosts by time
    Logs(LogsArgs),
    /// Open a shell in a host of a kept or running testbed
    Enter(EnterArgs),
    /// Change the network of a kept or running testbed, from outside
    Bed(BedArgs),
    /// Try what can run here, and say what is missing
    Doctor(DoctorArgs),
    /// End kept testbeds and remove runs beyond the limits
    Clean(CleanArgs),
    /// Explain a message by the name in its brackets
    Explain(ExplainArgs),
    /// List what links usually are like, for `preset`
    Presets(PresetsArgs),
    /// Print a JSON Schema
    Schema(SchemaArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Write man pages
    Man(ManArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Scenarios, folders of them, or FILE:LINE to stop before the step on that line
    #[arg(value_name = "FILE|DIR|FILE:LINE")]
    pub(crate) inputs: Vec<String>,
    /// What makes the hosts; several: each scenario on each
    #[arg(short, long, value_name = "PROVIDER", value_parser = provider())]
    pub(crate) provider: Vec<String>,
    /// How many run at once
    #[arg(short, long, value_name = "N", value_parser = one_or_more())]
    pub(crate) jobs: Option<usize>,
    /// Changes how many hosts a role has
    #[arg(short = 'n', long = "hosts", value_name = "ROLE=N")]
    pub(crate) hosts: Vec<String>,
    /// Sets a variable, or picks one value of the matrix
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Runs only what has this in its name, or this @tag; a - before it excludes
    #[arg(short, long, value_name = "PATTERN", allow_hyphen_values = true)]
    pub(crate) filter: Vec<String>,
    /// The seed of every random draw
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Runs everything so often
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,
    /// Repeats until something does not pass
    #[arg(long)]
    pub(crate) until_fail: bool,
    /// Multiplies every deadline, for slow machines
    #[arg(long, value_name = "FACTOR")]
    pub(crate) patience: Option<String>,
    /// Whether testbeds outlive their runs: never, failed, always
    #[arg(long, value_name = "WHEN", value_parser = Known(|| KEEP.to_vec()), hide_possible_values = true)]
    pub(crate) keep: Option<String>,
    /// Begins nothing new after so many that did not pass
    #[arg(long, value_name = "N", value_parser = one_or_more())]
    pub(crate) stop_after: Option<usize>,
    /// Lists what would run
    #[arg(long)]
    pub(crate) list: bool,
    /// How results are printed
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Writes a JUnit file of everything
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// How progress is shown
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: Progress,
    /// Which profile of netsplit.toml holds
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Shows less: only what did not pass
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub(crate) quiet: bool,
}

/// What `--keep` may say.
const KEEP: [&str; 3] = ["never", "failed", "always"];

/// A text whose usual words a shell completes. Any other is taken as well: where it is used, it is answered with the remedy.
#[derive(Clone, Copy)]
struct Known(fn() -> Vec<&'static str>);

impl TypedValueParser for Known {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> clap::error::Result<String> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.0)().into_iter().map(PossibleValue::new)))
    }
}

fn provider() -> Known {
    Known(|| netsplit_provider::names().to_vec())
}

fn messages() -> Vec<&'static str> {
    Reason::ALL.iter().map(|reason| reason.as_str()).collect()
}

fn one_or_more() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// An object a line
    Json,
    /// Text, and annotations for the forge
    Github,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A line that changes on a terminal, else a line now and then
    Auto,
    /// A line now and then
    Lines,
    None,
}

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The file to write
    pub(crate) file: PathBuf,
    /// How many hosts run the command
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = one_or_more())]
    pub(crate) hosts: usize,
    /// The command that each host runs
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Scenarios, or folders of them
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Prints one object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// A run to look at: the begin of its id, last, last-failed, or its folder
    pub(crate) run: Option<String>,
    /// Only those that did not pass
    #[arg(long)]
    pub(crate) failed: bool,
    /// Only those of tests with this in their name
    #[arg(long, value_name = "NAME")]
    pub(crate) test: Option<String>,
    /// Prints one object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The begin of a run's id, last, last-failed, or its folder; the last one when it is left out
    pub(crate) run: Option<String>,
    /// Hosts or processes: `a`, `b/etcd`
    #[arg(value_name = "HOST")]
    pub(crate) hosts: Vec<String>,
    /// Goes on as long as the run does
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only what came after this time of the run, or this long before its end with a -
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Only lines that match
    #[arg(long, value_name = "REGEX")]
    pub(crate) grep: Option<String>,
    /// Prints an object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EnterArgs {
    /// The begin of a run's id, last, or its folder; the last one when it is left out
    pub(crate) run: Option<String>,
    /// The host; may be left out when there is one
    pub(crate) host: Option<String>,
    /// What to run there instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BedArgs {
    /// The begin of a run's id, last, or its folder
    #[arg(long, value_name = "RUN", default_value = "last")]
    pub(crate) run: String,
    /// Prints one object
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: BedVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BedVerb {
    /// Drop every packet on links, silently: cut a to b
    Cut(FaultArgs),
    /// Refuse every packet on links: reject a and b
    Reject(FaultArgs),
    /// Keep packets back until it is healed: hold a to b
    Hold(FaultArgs),
    /// Shape links: link a to b delay=50ms loss=10%
    Link(FaultArgs),
    /// Cut hosts off from all others: isolate a
    Isolate(FaultArgs),
    /// Cut groups off from one another: partition a,b c
    Partition(FaultArgs),
    /// Let each hear a majority, no two the same: ring members
    Ring(FaultArgs),
    /// Halve hosts but for a middle that hears both: bridge members c
    Bridge(FaultArgs),
    /// End faults by name or number, or all
    Heal {
        /// Names or numbers, or all
        #[arg(required = true, value_name = "FAULT")]
        faults: Vec<String>,
    },
    /// List the faults in force, read back from the network
    Faults,
    /// Show what happened to packets, by link
    Links,
    /// Write packets into a file for Wireshark until ctrl-C: capture a, capture a to b, capture all
    Capture {
        /// A host, two with to or and between them, or all
        #[arg(required = true, value_name = "WHAT")]
        what: Vec<String>,
        /// The file
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Ends by itself after this
        #[arg(long = "for", value_name = "TIME")]
        lasts: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct FaultArgs {
    /// Hosts, roles, all; `to` one way, `and` both ways; KEY=VALUE of a link
    #[arg(required = true, value_name = "WORDS")]
    pub(crate) words: Vec<String>,
    /// What it is called
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// It heals by itself after this
    #[arg(long = "for", value_name = "TIME")]
    pub(crate) lasts: Option<String>,
    /// It begins so much later
    #[arg(long, value_name = "TIME")]
    pub(crate) after: Option<String>,
    /// It comes and goes: in force for DOWN, lifted for UP
    #[arg(long, value_name = "DOWN/UP")]
    pub(crate) flap: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Only this provider
    #[arg(value_parser = provider())]
    pub(crate) provider: Option<String>,
    /// Exits with 3 unless this provider can run here
    #[arg(long, value_name = "PROVIDER", value_parser = provider())]
    pub(crate) require: Vec<String>,
    /// Shows every setting with where it comes from
    #[arg(long)]
    pub(crate) settings: bool,
    /// Prints one object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CleanArgs {
    /// Removes every run that is over
    #[arg(long)]
    pub(crate) all: bool,
    /// Says what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The name in the brackets of a message; all names when not said
    #[arg(value_parser = Known(messages), hide_possible_values = true)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PresetsArgs {
    /// How long packets take between regions of a cloud, for `regions`
    #[arg(long)]
    pub(crate) regions: bool,
    /// Prints one object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Of what
    #[arg(default_value = "scenario")]
    pub(crate) of: SchemaOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// Scenario files
    Scenario,
    /// Lines of events.jsonl
    Events,
    /// verdict.json
    Verdict,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The folder to write them into
    pub(crate) dir: PathBuf,
}
