//! What names mean where: hosts and roles, what earlier steps captured, saved and started, and what `%{…}` may say. An
//! unknown name is answered with the nearest known one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::PathBuf;

use indexmap::IndexMap;
use netsplit_model::{HostName, Reason, Trouble, nearest};

use crate::source::{Sources, Span};

/// Words of `%{…}` that only a host can answer.
pub(crate) const HOST_WORDS: &[&str] = &["host", "role", "index", "count", "address", "address6"];
/// Words of `%{…}` that the run answers.
pub(crate) const RUN_WORDS: &[&str] = &["run", "seed"];
/// How many names a hint lists.
const LISTED: usize = 12;

/// What the tables of a scenario and its includes name.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) roles: IndexMap<String, (Span, Vec<HostName>)>,
    pub(crate) hosts: IndexMap<String, (Span, HostName)>,
    pub(crate) networks: IndexMap<String, Span>,
    /// `None`: its name is wrong.
    pub(crate) routers: IndexMap<String, (Span, Option<HostName>)>,
    /// Who is on each network, routers included, when all of them are right and there are several.
    pub(crate) joined: Option<Vec<BTreeSet<HostName>>>,
    pub(crate) files: IndexMap<String, Span>,
    pub(crate) commands: IndexMap<String, Span>,
    pub(crate) procedures: IndexMap<String, Span>,
    pub(crate) variables: IndexMap<String, VariableNames>,
    pub(crate) matrix: IndexMap<String, Span>,
    /// What any step captures or saves.
    pub(crate) anywhere: IndexMap<String, Span>,
    /// What any step calls a fault.
    pub(crate) faults: IndexMap<String, Span>,
    /// A file could not be read, or a part is read alone: what is unknown here may be known there.
    pub(crate) incomplete: bool,
    /// What some `%{…}` asked for.
    pub(crate) used: RefCell<BTreeSet<String>>,
    /// Files of the user's that hosts are to get.
    pub(crate) own_files: RefCell<Vec<OwnFile>>,
    /// Whether a step runs here: it may make such a file.
    pub(crate) makes_files: Cell<bool>,
}

/// A file or folder beside a scenario.
#[derive(Debug)]
pub(crate) struct OwnFile {
    pub(crate) path: PathBuf,
    /// As the user wrote it, and where.
    pub(crate) written: String,
    pub(crate) span: Span,
    /// A program to start: it may be made before the run.
    pub(crate) is_program: bool,
}

/// A variable, and the names that its text asks for.
#[derive(Debug)]
pub(crate) struct VariableNames {
    pub(crate) span: Span,
    pub(crate) uses: Vec<String>,
    /// Its text, when it is the same for everybody.
    pub(crate) constant: Option<String>,
}

/// What earlier steps did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) captured: IndexMap<String, Span>,
    pub(crate) saved: IndexMap<String, Span>,
    pub(crate) processes: IndexMap<String, Span>,
    /// The faults of the present test by their names.
    pub(crate) faults: IndexMap<String, FaultSeen>,
    /// Where `get` put files.
    pub(crate) fetched: Vec<String>,
    /// Steps that are read for their form only, as nobody does them: they may use what any step makes.
    pub(crate) anything: bool,
}

/// A fault that has a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultSeen {
    /// Its `as`.
    pub(crate) span: Span,
    /// The `heal` that ended it.
    pub(crate) healed: Option<Span>,
}

/// Who may be named where hosts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Hosts, roles and captured names.
    Hosts,
    /// These and routers: whom faults are about.
    Stations,
    /// Hosts and roles: who is on a network.
    Members,
}

/// Who asks for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A process or file of a host.
    Host,
    /// The runner itself: there is no `%{host}`.
    Runner,
}

/// Why a name of `%{…}` has no value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    Nobody,
    NeedsHost(&'static str),
    Later,
    Claims,
    Through(String),
}

impl Names {
    /// Whether `name` is a host, a role or a captured name.
    pub(crate) fn is_host(&self, name: &str, seen: &Seen) -> bool {
        self.roles.contains_key(name)
            || self.hosts.contains_key(name)
            || seen.captured.contains_key(name)
            || name == "all"
            || (seen.anything && (self.anywhere.contains_key(name) || self.incomplete))
    }

    /// The same, or a router where those may be named.
    pub(crate) fn is_named(&self, name: &str, whom: Whom, seen: &Seen) -> bool {
        self.is_host(name, seen) || (whom == Whom::Stations && self.routers.contains_key(name))
    }

    /// Answers an unknown host, role, router or captured name.
    pub(crate) fn unknown_host(
        &self,
        name: &str,
        whom: Whom,
        span: Span,
        seen: &Seen,
        sources: &Sources,
    ) -> Trouble {
        if self.routers.contains_key(name) {
            let trouble = Trouble::new(Reason::UnknownHost, format!("`{name}` is a router, not a host"));
            return trouble.hint(match whom {
                Whom::Members => "`inside` and `outside` of a router say on which networks it is",
                _ => "only faults may name a router; nothing runs on it",
            });
        }
        let what = match whom {
            Whom::Hosts => "host, role or captured name",
            Whom::Stations if self.routers.is_empty() => "host, role or captured name",
            Whom::Stations => "host, role, router or captured name",
            Whom::Members => "host or role",
        };
        let trouble = Trouble::new(Reason::UnknownHost, format!("no {what} `{name}`"));
        if let Some(later) = self.anywhere.get(name).filter(|later| **later != span) {
            let place = sources.named_from(*later, span);
            return trouble.hint(match whom {
                Whom::Members => format!("it is captured {place}, and networks are made before any step"),
                _ => format!("it is captured {place}, and not before this step"),
            });
        }
        if self.networks.contains_key(name) {
            return trouble.hint(format!("`{name}` is a network: name the hosts on it"));
        }
        if seen.processes.contains_key(name) {
            return trouble
                .hint(format!("`{name}` is a process: write `all/{name}`, or a host instead of `all`"));
        }
        let hosts: Vec<_> = self.hosts.keys().map(String::as_str).collect();
        let roles: Vec<_> =
            self.roles.keys().map(String::as_str).filter(|role| !hosts.contains(role)).collect();
        let captured: Vec<_> = seen.captured.keys().map(String::as_str).collect();
        let routers: Vec<_> = self.routers.keys().map(String::as_str).collect();
        let routers = if whom == Whom::Stations { routers } else { Vec::new() };
        let all = hosts.iter().chain(&roles).chain(&routers).chain(&captured).copied();
        let hosts = list("hosts", &hosts);
        match nearest(name, all.chain(["all"])) {
            Some(near) => {
                let captured = seen.captured.get(near).map(|captured| sources.named_from(*captured, span));
                let captured = captured.map(|place| format!(", captured {place}")).unwrap_or_default();
                trouble.hint(format!("did you mean `{near}`{captured}? {hosts}"))
            }
            None => {
                let lists =
                    [hosts, list("roles", &roles), list("routers", &routers), list("captured", &captured)];
                let lists: Vec<_> = lists.into_iter().filter(|list| !list.is_empty()).collect();
                trouble.hint(lists.join(" · "))
            }
        }
    }

    /// Whether `%{name}` has a value.
    pub(crate) fn value(&self, name: &str, asker: Asker, seen: &Seen) -> Result<(), Unknown> {
        self.value_within(name, asker, seen, &mut BTreeSet::new())
    }

    fn value_within<'a>(
        &'a self,
        name: &'a str,
        asker: Asker,
        seen: &Seen,
        through: &mut BTreeSet<&'a str>,
    ) -> Result<(), Unknown> {
        if let Some(word) = HOST_WORDS.iter().find(|word| **word == name) {
            return if asker == Asker::Host { Ok(()) } else { Err(Unknown::NeedsHost(word)) };
        }
        if let Some(file) = name.strip_prefix("file:") {
            return match self.files.contains_key(file) {
                true if asker == Asker::Host => Ok(()),
                true => Err(Unknown::NeedsHost("file")),
                false if self.incomplete => Ok(()),
                false => Err(Unknown::Nobody),
            };
        }
        if let Some(variable) = self.variables.get(name) {
            // A circle is its own mistake.
            if through.insert(name) {
                for inner in &variable.uses {
                    self.value_within(inner, asker, seen, through)
                        .map_err(|_| Unknown::Through(inner.clone()))?;
                }
            }
            return Ok(());
        }
        let known = RUN_WORDS.contains(&name)
            || self.matrix.contains_key(name)
            || seen.captured.contains_key(name)
            || seen.saved.contains_key(name);
        match known {
            true => Ok(()),
            false if self.anywhere.contains_key(name) && seen.anything => Ok(()),
            false if self.anywhere.contains_key(name) => Err(Unknown::Later),
            false if self.incomplete => Ok(()),
            false if self.is_published(name) => Err(Unknown::Claims),
            false => Err(Unknown::Nobody),
        }
    }

    /// `host_server_nfspath`: what a claimed host published.
    fn is_published(&self, name: &str) -> bool {
        let rest = name.strip_prefix("host_");
        rest.is_some_and(|rest| {
            self.roles
                .keys()
                .any(|role| rest.strip_prefix(role.as_str()).is_some_and(|rest| rest.starts_with('_')))
        })
    }

    /// Answers a `%{name}` without a value.
    pub(crate) fn unset(
        &self,
        name: &str,
        why: &Unknown,
        span: Span,
        asker: Asker,
        seen: &Seen,
        sources: &Sources,
    ) -> Trouble {
        let trouble = Trouble::new(Reason::UnknownVariable, format!("`%{{{name}}}` is not set"));
        match why {
            Unknown::Claims => Trouble::new(
                Reason::NotYet,
                format!("`%{{{name}}}` needs claimed hosts, which this version does not have"),
            ),
            Unknown::NeedsHost(word) => {
                trouble.hint(format!("`{word}` is of a host, and this is not on one"))
            }
            Unknown::Through(inner) => {
                trouble.hint(format!("its text asks for `%{{{inner}}}`, which has no value here"))
            }
            Unknown::Later => {
                let later = self.anywhere.get(name).map(|later| sources.named_from(*later, span));
                trouble.hint(format!("it is made {}, and not before this step", later.unwrap_or_default()))
            }
            Unknown::Nobody => {
                let known = self.known_values(asker, seen);
                match nearest(name, known.iter().map(String::as_str)) {
                    Some(near) => trouble.hint(format!("did you mean `%{{{near}}}`?")),
                    None => {
                        let known: Vec<_> = known.iter().map(String::as_str).collect();
                        let trouble = trouble.hint(list("known here", &known));
                        if name.starts_with("file:") {
                            trouble
                        } else {
                            trouble.guess(format!("variables.{name} = \"…\", or -s {name}=…"))
                        }
                    }
                }
            }
        }
    }

    /// The names that `%{…}` may hold for `asker`.
    pub(crate) fn known_values(&self, asker: Asker, seen: &Seen) -> Vec<String> {
        let own = seen.captured.keys().chain(seen.saved.keys()).chain(self.matrix.keys());
        let own = own.chain(self.variables.keys()).cloned();
        let host = HOST_WORDS.iter().filter(|_| asker == Asker::Host).chain(RUN_WORDS);
        let files = self.files.keys().filter(|_| asker == Asker::Host).map(|file| format!("file:{file}"));
        own.chain(host.map(|word| (*word).to_owned())).chain(files).collect()
    }

    /// What already has the name `name` in `%{…}`, so that no other value can have it.
    pub(crate) fn value_taken(&self, name: &str) -> Option<(&'static str, Option<Span>)> {
        if HOST_WORDS.contains(&name) || RUN_WORDS.contains(&name) {
            return Some(("a word of `%{…}`", None));
        }
        let variable = self.variables.get(name).map(|variable| ("a variable", Some(variable.span)));
        variable.or_else(|| self.matrix.get(name).map(|span| ("a matrix key", Some(*span))))
    }

    /// The same for a host that is captured: it is a value, and it is selected by its name.
    pub(crate) fn host_taken(&self, name: &str) -> Option<(&'static str, Option<Span>)> {
        let host = self.hosts.get(name).map(|(span, _)| *span);
        let host = host.or_else(|| self.roles.get(name).map(|(span, _)| *span));
        let router = || self.routers.get(name).map(|(span, _)| ("a router", Some(*span)));
        host.map(|span| ("a host or role", Some(span))).or_else(router).or_else(|| self.value_taken(name))
    }
}

impl Seen {
    /// Adds what `other` saw.
    pub(crate) fn join(&mut self, other: Self) {
        self.captured.extend(other.captured);
        self.saved.extend(other.saved);
        self.processes.extend(other.processes);
        self.fetched.extend(other.fetched);
        for (name, fault) in other.faults {
            let healed = self.faults.get(&name).and_then(|known| known.healed).or(fault.healed);
            self.faults.insert(name, FaultSeen { healed, ..fault });
        }
    }
}

/// `hosts: a b c`, or nothing.
pub(crate) fn list(label: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let more = if names.len() > LISTED { " …" } else { "" };
    format!("{label}: {}{more}", names[..names.len().min(LISTED)].join(" "))
}
