//! The tables of a scenario file and their keys.

use super::{Key, Kind, Shape, TEXT_OR_COMMAND, TEXT_OR_LOOP, Unspoken, key};

/// All tables with known keys, in the order of the reference.
pub(crate) const ALL: &[&Shape] =
    &[&TOP, &TEST, &HOST, &ROUTER, &COMMAND, &FILE, &LOOP, &PROCEDURE, &WATCH, &DEADLINES, &FLAP, &OUTPUT];

/// The providers whose tables a host may carry.
pub(crate) const PROVIDERS: &[&str] =
    &["namespace", "docker", "swarm", "qemu", "ssh", "serial", "digitalocean", "pool", "simulated"];

/// What of the top may stand in an included file.
pub(crate) const PART_WORDS: &[&str] = &[
    "about",
    "netsplit",
    "include",
    "hosts",
    "networks",
    "routers",
    "env",
    "files",
    "commands",
    "variables",
    "procedures",
    "watch",
];

pub(super) const UNSPOKEN_TOP: &[Unspoken] =
    &[Unspoken { word: "secrets", needs: "keys that are made for each run" }];

const ENV: Key = key(
    "env",
    Kind::Map(&Kind::Variable),
    r#"{ GOGC = "50", LANG = false }"#,
    "Environment of processes; `false` takes a variable away, and what stands nearer to the process wins.",
);

const NEEDS: Key = key(
    "needs",
    Kind::Capabilities,
    r#"["kill"]"#,
    "What a provider must be able to do, beside what the steps show; where it cannot, this is skipped.",
);

pub(crate) static TOP: Shape = Shape {
    slug: "scenario",
    place: "at the top of the file",
    title: "The file",
    about: "The file's name is the name of the test. Keys of the top stand above the first header.",
    keys: &[
        key(
            "about",
            Kind::Text,
            r#""no write is lost""#,
            "One sentence on what the scenario shows; reports carry it.",
        ),
        key("tags", Kind::Texts, r#"["slow"]"#, "Words to choose scenarios by: `--filter @slow`."),
        NEEDS,
        key("within", Kind::Duration, r#""10m""#, "Deadline of the whole scenario."),
        key(
            "include",
            Kind::Paths,
            r#"["cluster.toml"]"#,
            "Other scenario files, beside this one, whose hosts, networks, routers, env, files, commands, variables, watch and procedures count here too.",
        ),
        key("netsplit", Kind::Version, r#"">=0.1""#, "The oldest netsplit that understands the file."),
        key(
            "hosts",
            Kind::Map(&Kind::Either(&[Kind::Count, Kind::HostNames, Kind::Table(&HOST)])),
            r#"{ members = ["a", "b", "c"], client = 1 }"#,
            "Who takes part: each role with the names of its hosts, their count, or a table.",
        ),
        key(
            "networks",
            Kind::Map(&Kind::Hosts),
            r#"{ home = "client", net = "server" }"#,
            "The networks, each with the hosts on it; without any, all hosts are on one. A host on several routes between them.",
        ),
        key(
            "routers",
            Kind::Map(&Kind::Table(&ROUTER)),
            r#"{ gw = { inside = "home", outside = "net", kind = "home" } }"#,
            "Routers between networks that are no hosts; they may translate addresses, or filter.",
        ),
        ENV,
        key(
            "files",
            Kind::Map(&Kind::Table(&FILE)),
            r#"{ motd = { on = "all", path = "/etc/motd", text = "hello" } }"#,
            "Files that are on the hosts before the first step; `%{file:NAME}` is the path.",
        ),
        key(
            "commands",
            Kind::Map(&Kind::Either(&TEXT_OR_COMMAND)),
            r#"{ kvd = { run = "./kvd --name %{host}", ready = "listening" } }"#,
            "Commands by name: a step's first word that is such a name means the command, and further words are appended.",
        ),
        key(
            "variables",
            Kind::Map(&Kind::Either(&TEXT_OR_LOOP)),
            r#"{ peers = { each = "node", as = "%{host}:7000" } }"#,
            "Texts by name, for `%{NAME}`; `-s NAME=TEXT` sets another.",
        ),
        key(
            "procedures",
            Kind::Map(&Kind::Table(&PROCEDURE)),
            r#"{ form = { steps = [{ start = "kvd", on = "members" }] } }"#,
            "Steps by name, for `do`.",
        ),
        key("watch", Kind::Table(&WATCH), r#"{ never = ["panic:"] }"#, "What is looked for all the time."),
        key(
            "matrix",
            Kind::Map(&Kind::Axis),
            r#"{ version = ["3", "4.1"] }"#,
            "A test for each value, on hosts of its own; several keys multiply, `%{KEY}` is the value, and `-s KEY=VALUE` \
             picks one.",
        ),
        key(
            "deadlines",
            Kind::Table(&DEADLINES),
            r#"{ run = "2m" }"#,
            "How long things may take when a step does not say.",
        ),
        key(
            "cleanup",
            Kind::Steps,
            r#"[{ run = "umount /mnt", on = "client", exit = "any" }]"#,
            "Steps after the last test; they run whatever happened, for 2 s at most after ctrl-C, and their mistakes change no verdict.",
        ),
        key(
            "test",
            Kind::Tests,
            "[[test]]",
            "The tests, in order and on the same hosts; each is a case in JUnit.",
        ),
    ],
};

pub(crate) static TEST: Shape = Shape {
    slug: "test",
    place: "in a `[[test]]`",
    title: "`[[test]]`",
    about: "A paragraph of the story: a name and its steps. When one fails, the later ones are skipped.",
    keys: &[
        key("name", Kind::Text, r#""the cluster forms""#, "What is true when it passed.").must(),
        key(
            "steps",
            Kind::Steps,
            r#"[{ run = "true", on = "a" }]"#,
            "What is done, a step a line, the verb first.",
        )
        .must(),
        key(
            "cleanup",
            Kind::Steps,
            r#"[{ stop = "kvd" }]"#,
            "Steps after the others; they run whatever happened, for 2 s at most after ctrl-C, and their mistakes change no verdict.",
        ),
        NEEDS,
        key("within", Kind::Duration, r#""1m""#, "Deadline of the test."),
        ENV,
        key(
            "repeat",
            Kind::Count,
            "10",
            "How many times it runs, one after another; the first failure ends it.",
        ),
        key("keep_going", Kind::Flag, "true", "The later tests run although this one failed."),
    ],
};

pub(crate) static HOST: Shape = Shape {
    slug: "host",
    place: "in a host",
    title: "`hosts.ROLE`",
    about: "A role as a table. Hosts of a role with a count are named after it: `node0`, `node1` …, or `node` when there is one.",
    keys: &[
        key("count", Kind::Count, "4", "How many; `-n ROLE=N` changes it."),
        key("names", Kind::HostNames, r#"["a", "b"]"#, "Their names, instead of a count."),
        key(
            "needs",
            Kind::Capabilities,
            r#"["pause"]"#,
            "What the provider must be able to do with these hosts.",
        ),
        key("disk", Kind::Size, r#""64MiB""#, "How much its disk holds."),
        key("namespace", Kind::Hint, "{}", "What only this provider knows."),
        key("docker", Kind::Hint, r#"{ image = "debian:12" }"#, "What only this provider knows."),
        key("swarm", Kind::Hint, r#"{ image = "debian:12" }"#, "What only this provider knows."),
        key("qemu", Kind::Hint, r#"{ memory = "1GiB" }"#, "What only this provider knows."),
        key("ssh", Kind::Hint, r#"{ to = "root@rig1" }"#, "What only this provider knows."),
        key("serial", Kind::Hint, r#"{ line = "ttyS0" }"#, "What only this provider knows."),
        key("digitalocean", Kind::Hint, r#"{ region = "ams3" }"#, "What only this provider knows."),
        key("pool", Kind::Hint, "{}", "What only this provider knows."),
        key("simulated", Kind::Hint, "{}", "What only this provider knows."),
    ],
};

pub(crate) static ROUTER: Shape = Shape {
    slug: "router",
    place: "in a router",
    title: "`routers.NAME`",
    about: "A router between two networks. Faults may name it; nothing runs on it. What each kind does: [networks.md](networks.md#kinds-of-routers).",
    keys: &[
        key("inside", Kind::Network, r#""home""#, "The network whose hosts it translates or protects.")
            .must(),
        key("outside", Kind::Network, r#""net""#, "The network of all others.").must(),
        key(
            "kind",
            Kind::RouterDoes,
            r#""home""#,
            "What it does: `router`, which only forwards, when not said; else `home`, `full-cone`, `restricted`, `symmetric`, `cgnat` or `firewall`.",
        ),
    ],
};

pub(crate) static FILE: Shape = Shape {
    slug: "file",
    place: "in a file",
    title: "`files.NAME`",
    about: "A file that is on its hosts before the first step. It has exactly one of `text`, `from`, `template`.",
    keys: &[
        key("on", Kind::Hosts, r#""members""#, "The hosts that get it.").must(),
        key(
            "path",
            Kind::Path,
            r#""/etc/kv.conf""#,
            "Where it lies; without a path only `%{file:NAME}` knows.",
        ),
        key("text", Kind::Text, r#""peers = %{peers}""#, "What is in it, with `%{…}` filled in."),
        key("from", Kind::Path, r#""kv.conf""#, "The file beside the scenario that it is a copy of."),
        key(
            "template",
            Kind::Path,
            r#""kv.conf.j2""#,
            "A minijinja template beside the scenario; it knows host, index, address, address6, role, count, peers and all variables.",
        ),
        key("mode", Kind::Mode, r#""0600""#, "Its rights, in octal; \"0644\" when not said."),
    ],
};

pub(crate) static COMMAND: Shape = Shape {
    slug: "command",
    place: "in a command",
    title: "`commands.NAME`",
    about: "A command with all that belongs to it. It has exactly one of `run` and `sh`; what a step says wins over what stands here.",
    keys: &[
        key(
            "run",
            Kind::Command,
            r#""./kvd --name %{host}""#,
            "Its words: a text that is split as a shell does, or a list.",
        ),
        key(
            "sh",
            Kind::Text,
            r#"'''cat /proc/net/dev | wc -l'''"#,
            "A script for `/bin/sh -eu`; further words are its `$1`, `$2` ….",
        ),
        key("ready", Kind::Regex, r#""listening on""#, "`start` is done when a line matched this."),
        ENV,
        key("user", Kind::Name, r#""nobody""#, "The user of the host that it runs as."),
        key("cwd", Kind::Path, r#""/var/lib/kv""#, "The folder in which it runs."),
        key("stdin", Kind::Text, r#""yes\n""#, "What it reads; without it, its input is empty."),
        key("pty", Kind::Flag, "true", "It runs on a terminal of its own."),
        key("within", Kind::Duration, r#""30s""#, "How long `run` may take, and `start` until it is ready."),
        key(
            "build",
            Kind::Command,
            r#""go build ./cmd/kvd""#,
            "Runs here, in the scenario's folder, before any host is made.",
        ),
        key(
            "stop",
            Kind::Signal,
            r#""INT""#,
            "The signal with which `stop` asks it to end; TERM when not said.",
        ),
    ],
};

pub(crate) static LOOP: Shape = Shape {
    slug: "loop",
    place: "in a variable",
    title: "`variables.NAME`",
    about: "One text made from several hosts: the only loop there is.",
    keys: &[
        key("each", Kind::Hosts, r#""node""#, "The hosts, in order.").must(),
        key("as", Kind::Text, r#""%{host}:7000""#, "What each becomes.").must(),
        key("join", Kind::Text, r#"",""#, "What stands between; a comma when not said."),
    ],
};

pub(crate) static PROCEDURE: Shape = Shape {
    slug: "procedure",
    place: "in a procedure",
    title: "`procedures.NAME`",
    about: "Steps to `do` by name.",
    keys: &[key(
        "steps",
        Kind::Steps,
        r#"[{ start = "kvd", on = "members" }]"#,
        "What is done, a step a line.",
    )
    .must()],
};

pub(crate) static WATCH: Shape = Shape {
    slug: "watch",
    place: "in `watch`",
    title: "`watch`",
    about: "What is looked for in the output of all processes of all hosts, as long as the scenario runs.",
    keys: &[key(
        "never",
        Kind::Regexes,
        r#"["panic:", "DATA RACE"]"#,
        "A line that matches one of these fails the test at once.",
    )],
};

pub(crate) static DEADLINES: Shape = Shape {
    slug: "deadlines",
    place: "in `deadlines`",
    title: "`deadlines`",
    about: "How long things may take when a step does not say `within`; `--patience` multiplies them all.",
    keys: &[
        key("host", Kind::Duration, r#""30s""#, "Until a host is ready."),
        key("start", Kind::Duration, r#""30s""#, "Until a started process is ready."),
        key("run", Kind::Duration, r#""60s""#, "Until a command ended, or a process that is waited for."),
        key("wait", Kind::Duration, r#""30s""#, "Until a line came, or the next piece of a file moved."),
        key("test", Kind::Duration, r#""10m""#, "Until a test is over."),
        key("grace", Kind::Duration, r#""2s""#, "Between asking a process to end and killing it."),
    ],
};

pub(crate) static FLAP: Shape = Shape {
    slug: "flap",
    place: "in `flap`",
    title: "`flap`",
    about: "How a fault comes and goes, for as long as it lasts. It begins in force.",
    keys: &[
        key("down", Kind::Duration, r#""1s""#, "How long it is in force.").must(),
        key("up", Kind::Duration, r#""3s""#, "How long it is lifted.").must(),
        key(
            "jitter",
            Kind::Duration,
            r#""200ms""#,
            "By how much each of the two may be longer or shorter; the seed says by how much.",
        ),
    ],
};

pub(crate) static OUTPUT: Shape = Shape {
    slug: "output",
    place: "in what is expected of output",
    title: "`stdout`, `stderr`",
    about: "What a command must have written; text alone means `equals`. All that is said must hold.",
    keys: &[
        key("equals", Kind::Text, r#""green""#, "It is this; one last newline is ignored."),
        key("has", Kind::Texts, r#"["one", "two"]"#, "It contains this, or all of these."),
        key("matches", Kind::Regexes, r#"'\d+ ops/s'"#, "A part of it matches this, or all of these."),
        key("lines", Kind::Lines, "3", "It has this many lines."),
        key("is_empty", Kind::Flag, "true", "Nothing was written, or something was."),
        key("at_least", Kind::Number, "100", "It is a number, and not less than this."),
        key("at_most", Kind::Number, "1000", "It is a number, and not more than this."),
    ],
};
