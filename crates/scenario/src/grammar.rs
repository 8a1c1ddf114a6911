//! The language as data: every word, where it may stand, what it takes and what it means. The reader, the nearest-word
//! hints, the JSON Schema and the reference page are all made from it, so none can say what another does not.

mod faults;
mod tables;
mod verbs;

pub(crate) use tables::ALL as SHAPES;
pub(crate) use tables::{
    COMMAND, DEADLINES, FILE, FLAP, HOST, LOOP, OUTPUT, PART_WORDS, PROCEDURE, PROVIDERS, ROUTER, TEST, TOP,
    WATCH,
};
pub(crate) use verbs::VERBS;

use netsplit_model::Capability;
use netsplit_netmodel::nat::NatKind;
use netsplit_netmodel::{Distribution, PRESETS};

/// The version of netsplit that speaks this grammar.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A test with more steps than this is asked to become two.
pub(crate) const STEPS_A_TEST: usize = 12;

/// A table with known keys.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Its name in the schema.
    pub(crate) slug: &'static str,
    /// Where a key of it stands, behind `unknown word …`: `in a host`.
    pub(crate) place: &'static str,
    /// Its headline in the reference.
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    pub(crate) keys: &'static [Key],
}

/// A word with a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) word: &'static str,
    pub(crate) kind: Kind,
    pub(crate) must: bool,
    /// As it may be written.
    pub(crate) example: &'static str,
    /// One sentence.
    pub(crate) about: &'static str,
}

/// A step's first word.
#[derive(Debug)]
pub(crate) struct Verb {
    pub(crate) word: &'static str,
    pub(crate) kind: Kind,
    /// A whole step.
    pub(crate) example: &'static str,
    pub(crate) about: &'static str,
    /// The words that may follow.
    pub(crate) takes: &'static [Key],
}

/// A word of the language that this version does not speak.
#[derive(Debug)]
pub(crate) struct Unspoken {
    pub(crate) word: &'static str,
    /// What it waits for: `needs the emulated network`.
    pub(crate) needs: &'static str,
}

/// What may stand behind a word.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    Texts,
    Name,
    Duration,
    Size,
    Count,
    Number,
    Lines,
    HowMany,
    Flag,
    Regex,
    Regexes,
    Hosts,
    HostsOrHere,
    HostsOrProcess,
    Process,
    /// Directed links: `a to b`, `a and b`.
    Links,
    /// Groups of hosts.
    Groups,
    /// Hosts, links, or `all`.
    HostsOrLinks,
    /// What `as` called a fault, or `all`.
    FaultName,
    /// Regions of a cloud, each with its hosts.
    Regions,
    /// A time of a link's.
    Delay,
    /// How much may wait for a line.
    Queue,
    /// A part of all packets.
    Share,
    Rate,
    /// A mean number of packets.
    Packets,
    Mtu,
    Distribution,
    Preset,
    /// A network of the file's.
    Network,
    /// What a router does.
    RouterDoes,
    Command,
    Path,
    Paths,
    Mode,
    Signal,
    Since,
    Exit,
    Json,
    Save,
    Expect,
    Same,
    Version,
    Capabilities,
    Variable,
    HostNames,
    Hint,
    Steps,
    Tests,
    Axis,
    Table(&'static Shape),
    /// A table whose keys are names of the user's.
    Map(&'static Self),
    /// The first that fits.
    Either(&'static [Self]),
}

/// What a command may be.
pub(crate) static TEXT_OR_COMMAND: [Kind; 2] = [Kind::Text, Kind::Table(&COMMAND)];
/// What a variable may be.
pub(crate) static TEXT_OR_LOOP: [Kind; 2] = [Kind::Text, Kind::Table(&LOOP)];

const fn key(word: &'static str, kind: Kind, example: &'static str, about: &'static str) -> Key {
    Key { word, kind, must: false, example, about }
}

impl Key {
    const fn must(mut self) -> Self {
        self.must = true;
        self
    }
}

impl Shape {
    pub(crate) fn get(&self, word: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.word == word)
    }

    pub(crate) fn words(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.word)
    }
}

impl Verb {
    pub(crate) fn named(word: &str) -> Option<&'static Self> {
        VERBS.iter().find(|verb| verb.word == word)
    }

    pub(crate) fn takes(&self, word: &str) -> Option<&'static Key> {
        self.takes.iter().find(|key| key.word == word)
    }

    /// Whether it begins a fault, which `as` may name.
    pub(crate) fn is_fault(&self) -> bool {
        faults::ALL.iter().any(|verb| verb.word == self.word)
    }

    /// The verbs that `word` goes with.
    pub(crate) fn taking(word: &str) -> impl Iterator<Item = &'static str> {
        VERBS.iter().filter(move |verb| verb.takes(word).is_some()).map(|verb| verb.word)
    }
}

impl Unspoken {
    pub(crate) fn verb(word: &str) -> Option<&'static Self> {
        verbs::UNSPOKEN_VERBS.iter().find(|unspoken| unspoken.word == word)
    }

    /// The verbs among them.
    pub(crate) fn verbs() -> impl Iterator<Item = &'static str> {
        verbs::UNSPOKEN_VERBS.iter().map(|unspoken| unspoken.word)
    }

    pub(crate) fn modifier(word: &str) -> Option<&'static Self> {
        verbs::UNSPOKEN_MODIFIERS.iter().find(|unspoken| unspoken.word == word)
    }

    pub(crate) fn top(word: &str) -> Option<&'static Self> {
        tables::UNSPOKEN_TOP.iter().find(|unspoken| unspoken.word == word)
    }

    /// All of them, with where they would stand.
    pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static Self)> {
        let verbs = verbs::UNSPOKEN_VERBS.iter().map(|unspoken| ("a step's verb", unspoken));
        let modifiers = verbs::UNSPOKEN_MODIFIERS.iter().map(|unspoken| ("in a step", unspoken));
        let top = tables::UNSPOKEN_TOP.iter().map(|unspoken| ("at the top", unspoken));
        verbs.chain(modifiers).chain(top)
    }
}

impl Kind {
    /// What it wants, in a phrase with an article and mostly an example.
    pub(crate) fn wants(self) -> &'static str {
        match self {
            Self::Text => "text in quotes",
            Self::Texts => r#"text or a list of texts, such as ["slow"]"#,
            Self::Name => r#"a name such as "leader""#,
            Self::Duration | Self::Delay => r#"a duration such as "10s""#,
            Self::Size | Self::Queue => r#"a size such as "64MiB""#,
            Self::Count => "a whole number, 1 or more",
            Self::Number => r#"a number, or a text such as "%{count}" that becomes one"#,
            Self::Lines => r#"a whole number, or a text such as "%{count}" that becomes one"#,
            Self::HowMany => r#"a number of hosts, 1 or more, or "all""#,
            Self::Flag => "`true` or `false`",
            Self::Regex => "a regular expression such as 'became (leader|follower)'",
            Self::Regexes => "a regular expression, or a list of them",
            Self::Hosts => r#"hosts such as "members,-leader""#,
            Self::HostsOrHere => r#"hosts such as "members,-leader", or "here""#,
            Self::HostsOrProcess => r#"hosts such as "members", or a process such as "a/kvd""#,
            Self::Process => r#"a process such as "kvd" or "a/kvd""#,
            Self::Links => r#"links such as "a to b", or "a and b" for both ways"#,
            Self::Groups => r#"a list of groups of hosts, such as ["a,b", "c"]"#,
            Self::HostsOrLinks => r#"hosts such as "a", links such as "a to b", or "all""#,
            Self::FaultName => r#"the name of a fault such as "cut", or "all""#,
            Self::Regions => r#"regions with their hosts, such as { frankfurt = "a", tokyo = "b,c" }"#,
            Self::Share => r#"a share of packets such as "10%" or 0.1"#,
            Self::Rate => r#"a rate such as "10mbit""#,
            Self::Packets => "a mean number of packets, 1 or more",
            Self::Mtu => "a number of bytes, 68 to 65535",
            Self::Distribution => r#""uniform", "normal", "pareto" or "pareto-normal""#,
            Self::Preset => r#"a preset such as "geo""#,
            Self::Network => r#"a network such as "home""#,
            Self::RouterDoes => r#"a kind such as "home""#,
            Self::Command => r#"a command such as "kvctl get x", or a list of its words"#,
            Self::Path => r#"a path such as "/etc/kv.conf""#,
            Self::Paths => r#"a path, or a list of paths such as ["cluster.toml"]"#,
            Self::Mode => r#"a file mode such as "0755""#,
            Self::Signal => r#"a signal such as "TERM""#,
            Self::Since => r#""begin", "test", "disturbance", "now", or a duration such as "5s""#,
            Self::Exit => r#"an exit code, a list of them, "nonzero", "any" or "signal KILL""#,
            Self::Json => r#"paths with their values, such as { "members.0.name" = "a" }"#,
            Self::Save => r#"names with what to save, such as { rate = "([0-9.]+) ops/s" }"#,
            Self::Expect => {
                r#"a value such as "%{rate}", fetched files such as "orders/*", or a process such as "a/kvd""#
            }
            Self::Same => r#""bytes" or "prefix""#,
            Self::Version => r#"a version such as ">=0.1""#,
            Self::Capabilities => r#"capabilities such as ["kill", "pause"]"#,
            Self::Variable => "text in quotes, or `false` to take the variable away",
            Self::HostNames => r#"names such as ["a", "b", "c"]"#,
            Self::Hint => "a table",
            Self::Steps => r#"a list of steps such as [{ run = "true", on = "a" }]"#,
            Self::Tests => "to be written as `[[test]]`",
            Self::Axis => r#"values such as ["3", "4.1"], or a table of steps, each with its case's name"#,
            Self::Table(_) | Self::Map(_) => "a table",
            Self::Either(kinds) => match kinds {
                [Self::Count, Self::HostNames, ..] => r#"a count, names such as ["a", "b"], or a table"#,
                [Self::Text, Self::Table(_)] => r#"text in quotes, or a table"#,
                _ => "a value of another kind",
            },
        }
    }
}

/// The names of all presets.
pub(crate) fn presets() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|preset| preset.name)
}

/// The names of all distributions of delays.
pub(crate) fn distributions() -> impl Iterator<Item = String> {
    Distribution::ALL.iter().map(ToString::to_string)
}

/// The names of all kinds of routers.
pub(crate) fn router_kinds() -> impl Iterator<Item = &'static str> {
    NatKind::ALL.iter().map(|kind| kind.name())
}

/// The words of all capabilities.
pub(crate) fn capabilities() -> impl Iterator<Item = &'static str> {
    Capability::ALL.iter().map(|capability| capability.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_means_two_things_in_one_place() {
        let sorted = |words: Vec<&'static str>| {
            let mut sorted = words.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), words.len(), "{words:?}");
        };
        let verbs = VERBS.iter().map(|verb| verb.word);
        sorted(verbs.chain(verbs::UNSPOKEN_VERBS.iter().map(|unspoken| unspoken.word)).collect());
        for verb in VERBS {
            sorted(verb.takes.iter().map(|key| key.word).chain([verb.word]).collect());
            for key in verb.takes {
                assert!(
                    Verb::named(key.word).is_none(),
                    "`{}` is a verb and follows `{}`",
                    key.word,
                    verb.word
                );
                assert!(Unspoken::verb(key.word).is_none() && Unspoken::modifier(key.word).is_none());
            }
        }
        for shape in tables::ALL {
            sorted(shape.words().collect());
        }
    }

    #[test]
    fn every_word_has_a_sentence() {
        let keys = tables::ALL.iter().flat_map(|shape| shape.keys);
        let keys = keys.chain(VERBS.iter().flat_map(|verb| verb.takes));
        let abouts = keys.map(|key| (key.word, key.about));
        for (word, about) in abouts.chain(VERBS.iter().map(|verb| (verb.word, verb.about))) {
            assert!(about.ends_with('.') && about.len() > 15, "{word}: {about}");
        }
    }
}
