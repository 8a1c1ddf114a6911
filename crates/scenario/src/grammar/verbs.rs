//! The verbs of steps, and for each the words that may follow it.

use super::{Key, Kind, OUTPUT, Unspoken, Verb, faults, key};

const TEXT_OR_OUTPUT: Kind = {
    static KINDS: [Kind; 2] = [Kind::Text, Kind::Table(&OUTPUT)];
    Kind::Either(&KINDS)
};
const ON: Key = key("on", Kind::Hosts, r#""members,-leader""#, "The hosts, all at the same time.").must();
const ON_OR_HERE: Key = key(
    "on",
    Kind::HostsOrHere,
    r#""client""#,
    "The hosts, all at the same time; `here` is the machine netsplit runs on.",
)
.must();
const ON_STARTED: Key =
    key("on", Kind::Hosts, r#""members""#, "The hosts on which it runs; all of them when not said.");
const LISTEN: Key = key(
    "on",
    Kind::HostsOrProcess,
    r#""a/kvd""#,
    "The hosts whose output is looked at, or one process; all hosts when not said.",
);
const WITHIN: Key = key("within", Kind::Duration, r#""10s""#, "How long it may take.");
const SINCE: Key = key(
    "since",
    Kind::Since,
    r#""test""#,
    "From when on lines count: the last disturbance when not said, or `begin` of the run, this `test`, `now`, or so long ago.",
);
const ENV: Key = key(
    "env",
    Kind::Map(&Kind::Variable),
    r#"{ GOGC = "50" }"#,
    "Environment of the process, nearer than all others; `false` takes a variable away.",
);
const USER: Key = key("user", Kind::Name, r#""nobody""#, "The user of the host that it runs as.");
const CWD: Key = key("cwd", Kind::Path, r#""/var/lib/kv""#, "The folder in which it runs.");
const STDIN: Key = key("stdin", Kind::Text, r#""yes\n""#, "What it reads; without it, its input is empty.");
const PTY: Key = key("pty", Kind::Flag, "true", "It runs on a terminal of its own.");
const NAME: Key =
    key("name", Kind::Name, r#""writer""#, "What the process is called; its program's name when not said.");
const READY: Key =
    key("ready", Kind::Regex, r#""listening on""#, "The step is done when a line matched this.");
const EVENTUALLY: Key = key(
    "eventually",
    Kind::Duration,
    r#""5s""#,
    "It is repeated until it is as expected, at most for so long.",
);
const EXIT: Key = key("exit", Kind::Exit, r#""nonzero""#, "How it must end; 0 when not said.");
const STDOUT: Key = key(
    "stdout",
    TEXT_OR_OUTPUT,
    r#""OK""#,
    "What it must write: the text, or `stdout.has`, `.matches`, `.lines` ….",
);
const STDERR: Key =
    key("stderr", TEXT_OR_OUTPUT, r#"{ has = "denied" }"#, "What it must write to its error output.");
const JSON: Key = key(
    "json",
    Kind::Json,
    r#"{ "members.0.name" = "a" }"#,
    "Values that its output must have, which is JSON.",
);
const SAVE: Key = key(
    "save",
    Kind::Save,
    r#"{ rate = "([0-9.]+) ops/s" }"#,
    "Values for `%{NAME}` in later steps: a regular expression's group 1, `json:PATH`, or `stdout`.",
);
const SAVE_LINE: Key = key(
    "save",
    Kind::Save,
    r#"{ port = "port ([0-9]+)" }"#,
    "Values for `%{NAME}` in later steps: group 1 of a regular expression on the line that came.",
);

const RUNS: &[Key] =
    &[ON_OR_HERE, WITHIN, EVENTUALLY, EXIT, STDOUT, STDERR, JSON, SAVE, ENV, USER, CWD, STDIN, PTY, NAME];

/// All verbs, in the order of the reference.
pub(crate) const VERBS: &[Verb] = &[
    Verb {
        word: "run",
        kind: Kind::Command,
        example: r#"{ run = "kvctl get x", on = "client", stdout = "1" }"#,
        about: "Runs a command to its end on each host.",
        takes: RUNS,
    },
    Verb {
        word: "sh",
        kind: Kind::Text,
        example: r#"{ sh = "sort orders/* | uniq -c", on = "here" }"#,
        about: "Runs a script with `/bin/sh -eu` to its end on each host.",
        takes: RUNS,
    },
    Verb {
        word: "start",
        kind: Kind::Command,
        example: r#"{ start = "./kvd --name %{host}", on = "members", ready = "listening" }"#,
        about: "Starts a command on each host and goes on; with `ready`, when all are.",
        takes: &[ON, READY, WITHIN, ENV, USER, CWD, STDIN, PTY, NAME],
    },
    Verb {
        word: "wait",
        kind: Kind::Process,
        example: r#"{ wait = "writer", on = "client", within = "2m" }"#,
        about: "Waits until a started process ends.",
        takes: &[ON_STARTED, WITHIN, EXIT, STDOUT, STDERR, JSON, SAVE],
    },
    Verb {
        word: "stop",
        kind: Kind::Process,
        example: r#"{ stop = "kvd", on = "b" }"#,
        about: "Asks a started process to end, and kills it and its children after the grace.",
        takes: &[ON_STARTED, key("within", Kind::Duration, r#""5s""#, "The grace before it is killed.")],
    },
    Verb {
        word: "wait_for",
        kind: Kind::Regex,
        example: r#"{ wait_for = "became leader", on = "members,-leader", within = "10s" }"#,
        about: "Waits until a line matches, on one of the hosts or on as many as `at_least` says.",
        takes: &[
            LISTEN,
            WITHIN,
            SINCE,
            key("at_least", Kind::HowMany, r#""all""#, "On how many of the hosts; 1 when not said."),
            SAVE_LINE,
        ],
    },
    Verb {
        word: "find",
        kind: Kind::Regex,
        example: r#"{ find = "became leader", on = "members", as = "leader" }"#,
        about: "Waits until a line matches and names the host of the newest such line.",
        takes: &[
            key("as", Kind::Name, r#""leader""#, "The name that is a host from here on.").must(),
            LISTEN,
            WITHIN,
            SINCE,
            SAVE_LINE,
        ],
    },
    Verb {
        word: "never",
        kind: Kind::Regex,
        example: r#"{ never = "split brain", for = "2s" }"#,
        about: "Fails when a line matches.",
        takes: &[
            key("for", Kind::Duration, r#""2s""#, "How long it looks.").must(),
            LISTEN,
            key("since", Kind::Since, r#""test""#, "From when on lines count; `now` when not said."),
        ],
    },
    Verb {
        word: "kill",
        kind: Kind::HostsOrProcess,
        example: r#"{ kill = "leader" }"#,
        about: "Cuts the power of hosts; with `HOST/NAME`, kills a process and its children.",
        takes: &[],
    },
    Verb {
        word: "signal",
        kind: Kind::Signal,
        example: r#"{ signal = "USR1", on = "a/kvd" }"#,
        about: "Sends a signal to a started process.",
        takes: &[key("on", Kind::Process, r#""a/kvd""#, "The process, on one host or on several.").must()],
    },
    Verb {
        word: "pause",
        kind: Kind::Hosts,
        example: r#"{ pause = "leader", for = "5s" }"#,
        about: "Stops all that runs on hosts, until they resume.",
        takes: &[key(
            "for",
            Kind::Duration,
            r#""5s""#,
            "They resume by themselves so much later; the step does not wait.",
        )],
    },
    Verb {
        word: "resume",
        kind: Kind::Hosts,
        example: r#"{ resume = "leader" }"#,
        about: "Lets paused hosts go on.",
        takes: &[],
    },
    Verb {
        word: "restart",
        kind: Kind::Hosts,
        example: r#"{ restart = "leader" }"#,
        about: "Gives hosts their power again, with the disk they had; done when they are ready.",
        takes: &[WITHIN],
    },
    faults::CUT,
    faults::REJECT,
    faults::HOLD,
    faults::SHAPE,
    faults::ISOLATE,
    faults::PARTITION,
    faults::RING,
    faults::BRIDGED,
    faults::REGIONS,
    faults::HEAL,
    faults::CAPTURE,
    Verb {
        word: "put",
        kind: Kind::Path,
        example: r#"{ put = "conf/", on = "members", to = "/etc/kv" }"#,
        about: "Copies a file or folder beside the scenario to hosts; with `text`, writes a file of that path there.",
        takes: &[
            ON,
            key(
                "to",
                Kind::Path,
                r#""/etc/kv""#,
                "The path on the hosts; one that ends in `/` is a folder to put it into.",
            ),
            key(
                "text",
                Kind::Text,
                r#""peers = %{peers}""#,
                "What the file holds; then `put` is the path on the hosts.",
            ),
            key(
                "mode",
                Kind::Mode,
                r#""0600""#,
                "Its rights, in octal; those of the copied file, else \"0644\".",
            ),
        ],
    },
    Verb {
        word: "get",
        kind: Kind::Path,
        example: r#"{ get = "/var/lib/kv/order.log", on = "node", to = "orders/" }"#,
        about: "Fetches a file or folder into the run's evidence; also when a step before it in its test failed, or ctrl-C ended the run.",
        takes: &[
            ON,
            key(
                "to",
                Kind::Path,
                r#""orders/""#,
                "Where `expect` finds it; a name that ends in `/` has one entry for each host.",
            ),
        ],
    },
    Verb {
        word: "note",
        kind: Kind::Text,
        example: r#"{ note = "now the leader goes" }"#,
        about: "Writes a line into the log and the timeline.",
        takes: &[],
    },
    Verb {
        word: "expect",
        kind: Kind::Expect,
        example: r#"{ expect = "orders/*", same = "prefix" }"#,
        about: "Judges a saved value, files that `get` fetched, or whether processes run.",
        takes: &[
            key(
                "runs",
                Kind::Flag,
                "true",
                "The started process has not ended, or, when false, has; `expect` is one such as \"members/kvd\".",
            ),
            key(
                "same",
                Kind::Same,
                r#""prefix""#,
                "The files are equal byte by byte, or each is the begin of the longest.",
            ),
            key(
                "equals",
                Kind::Text,
                r#""green""#,
                "The value, or each file, is this; one last newline is ignored.",
            ),
            key("has", Kind::Texts, r#""green""#, "The value, or each file, contains this, or all of these."),
            key(
                "matches",
                Kind::Regexes,
                r#"'^v\d'"#,
                "A part of the value, or of each file, matches this, or all of these.",
            ),
            key("lines", Kind::Lines, "3", "The value, or each file, has this many lines."),
            key("is_empty", Kind::Flag, "false", "The value, or each file, is empty or is not."),
            key(
                "at_least",
                Kind::Number,
                "100",
                "The value is a number and not less; so many files there are, or more.",
            ),
            key(
                "at_most",
                Kind::Number,
                "1000",
                "The value is a number and not more; so many files there are, or fewer.",
            ),
        ],
    },
    Verb {
        word: "do",
        kind: Kind::Name,
        example: r#"{ do = "form" }"#,
        about: "Does the steps of a procedure, or of a matrix case: `do = \"%{fault}\"`.",
        takes: &[],
    },
    Verb {
        word: "together",
        kind: Kind::Steps,
        example: r#"{ together = [{ kill = "a" }, { kill = "b" }] }"#,
        about: "Does steps at the same time; done when all are.",
        takes: &[],
    },
    Verb {
        word: "sleep",
        kind: Kind::Duration,
        example: r#"{ sleep = "2s", why = "the lease runs out" }"#,
        about: "Waits without looking at anything, which is rarely right.",
        takes: &[key("why", Kind::Text, r#""the lease runs out""#, "Why no line can be waited for.").must()],
    },
];

pub(super) const UNSPOKEN_VERBS: &[Unspoken] = &[
    Unspoken { word: "clock", needs: "clocks that can be set" },
    Unspoken { word: "disk", needs: "disks that can fail" },
    Unspoken { word: "reboot", needs: "hosts with a kernel of their own" },
    Unspoken { word: "check", needs: "checkers of histories" },
    Unspoken { word: "barrier", needs: "barriers between programs" },
    Unspoken { word: "lock", needs: "locks between programs" },
    Unspoken { word: "kv", needs: "values shared between programs" },
];

pub(super) const UNSPOKEN_MODIFIERS: &[Unspoken] = &[
    Unspoken { word: "jump", needs: "clocks that can be set" },
    Unspoken { word: "model", needs: "checkers of histories" },
    Unspoken { word: "history", needs: "checkers of histories" },
];
