//! The tables of a scenario and of its includes: first who and what has a name, so that order does not matter, then
//! what they say.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use netsplit_model::{Capability, HostName, Reason, Template, Trouble, nearest};

use super::checks::hint;
use super::good_key;
use crate::Role;
use crate::fields::{self, Fields};
use crate::grammar::{self, HOST, Kind, PART_WORDS, TOP};
use crate::ledger::Ledger;
use crate::load::Overrides;
use crate::names::{HOST_WORDS, Names, VariableNames, list};
use crate::source::Span;
use crate::toml::{Entry, Key, Node, Table, Value};

/// The most hosts of a scenario: what one machine can make (DESIGN.md's bars end at 500), with room.
pub(crate) const HOSTS_MAX: usize = 1000;

/// One file: the scenario itself or an include.
pub(crate) struct Part {
    pub(crate) root: Table,
    /// All of its text.
    pub(crate) span: Span,
    pub(crate) folder: Arc<PathBuf>,
    /// The `include` that names it; none for the scenario itself.
    pub(crate) included: Option<Span>,
}

/// A command as it is written.
pub(crate) struct CommandTable<'t> {
    pub(crate) key: &'t Key,
    pub(crate) node: &'t Node,
    pub(crate) folder: Arc<PathBuf>,
}

/// Steps by name.
pub(crate) struct ProcedureTable<'t> {
    pub(crate) key: &'t Key,
    pub(crate) steps: &'t Node,
    pub(crate) folder: Arc<PathBuf>,
}

/// A key of the matrix.
pub(crate) struct Axis<'t> {
    pub(crate) key: &'t Key,
    /// Each value, or each case's name with its steps.
    pub(crate) values: IndexMap<String, Option<&'t Node>>,
}

/// An entry of a table of the user's names, and the folder of its file.
pub(crate) struct Named<'t> {
    pub(crate) entry: &'t Entry,
    pub(crate) folder: Arc<PathBuf>,
}

/// What all parts say together, as far as it has names.
#[derive(Default)]
pub(crate) struct Tables<'t> {
    pub(crate) roles: Vec<Role>,
    pub(crate) host_needs: Vec<(Capability, Span)>,
    /// `None`: its name is wrong.
    pub(crate) networks: Vec<(Option<HostName>, &'t Entry)>,
    pub(crate) routers: Vec<&'t Entry>,
    pub(crate) commands: Vec<CommandTable<'t>>,
    pub(crate) files: Vec<Named<'t>>,
    pub(crate) variables: Vec<Named<'t>>,
    pub(crate) procedures: Vec<ProcedureTable<'t>>,
    pub(crate) env: Vec<Named<'t>>,
    pub(crate) watch: Vec<Named<'t>>,
    pub(crate) axes: Vec<Axis<'t>>,
}

/// The tables of the users' names, with what each names.
const MAPS: &[(&str, &str)] = &[
    ("hosts", "a role"),
    ("networks", "a network"),
    ("routers", "a router"),
    ("env", "a variable"),
    ("files", "a file"),
    ("commands", "a command"),
    ("variables", "a variable"),
    ("procedures", "a procedure"),
    ("matrix", "a matrix key"),
];

/// Collects what all `parts` name. Each part's unknown words are mistakes.
pub(crate) fn collect<'t>(
    ledger: &mut Ledger,
    parts: &'t [Part],
    names: &mut Names,
    overrides: &mut Overrides,
) -> Tables<'t> {
    let mut collector = Collector { ledger, names, overrides, tables: Tables::default() };
    for part in parts {
        collector.part(part);
    }
    collector.routers_apart();
    collector.circles();
    collector.tables
}

struct Collector<'a, 't> {
    ledger: &'a mut Ledger,
    names: &'a mut Names,
    overrides: &'a mut Overrides,
    tables: Tables<'t>,
}

impl<'t> Collector<'_, 't> {
    fn part(&mut self, part: &'t Part) {
        if let Some(included) = part.included {
            self.only_part_words(part, included);
            fields::unknown_words(self.ledger, &part.root, &TOP);
        }
        for (word, what) in MAPS {
            let Some(entry) = part.root.get(word) else { continue };
            if part.included.is_some() && !PART_WORDS.contains(word) {
                continue;
            }
            let Some(table) = entry.node.as_table() else {
                self.no_table(word, entry);
                continue;
            };
            for entry in self.free_entries(table) {
                let named = Named { entry, folder: Arc::clone(&part.folder) };
                self.named(word, what, named);
            }
        }
        if let Some(entry) = part.root.get("watch") {
            self.tables.watch.push(Named { entry, folder: Arc::clone(&part.folder) });
        }
    }

    fn no_table(&mut self, word: &str, entry: &Entry) {
        // Whoever uses a name of it shall not be blamed.
        self.names.incomplete = true;
        let kind = TOP.get(word).map_or(Kind::Hint, |key| key.kind);
        if word == "hosts" {
            let written = self.ledger.sources.slice(entry.node.span).to_owned();
            let what = entry.node.what();
            let trouble =
                Trouble::new(Reason::BadValue, format!("`hosts` is a table of roles, and this is {what}"));
            self.ledger.mistake(
                entry.node.span,
                match written.contains('\n') {
                    true => trouble,
                    false => trouble.hint(format!("did you mean `hosts.node = {written}`?")),
                },
            );
        } else {
            fields::wrong::<()>(self.ledger, &entry.node, word, kind);
        }
    }

    /// An included file has tables of names and nothing that happens.
    fn only_part_words(&mut self, part: &Part, included: Span) {
        for entry in &part.root.entries {
            let word = entry.key.name.as_str();
            if TOP.get(word).is_some() && !PART_WORDS.contains(&word) {
                let written = if word == "test" { "[[test]]" } else { word };
                let text = format!("`{written}` may not stand in an included file");
                let place = self.ledger.sources.named_from(included, entry.key.span);
                let trouble = Trouble::new(Reason::UnknownKey, text).hint(format!("it is included {place}"));
                self.ledger.mistake(entry.key.span, trouble);
            }
        }
    }

    /// The entries of a table of the user's names, without those that were meant for the file or a test.
    fn free_entries(&mut self, table: &'t Table) -> Vec<&'t Entry> {
        let steps = table.entries.iter().any(fields::is_astray_steps);
        let mut own = Vec::new();
        for entry in &table.entries {
            let word = entry.key.name.as_str();
            match entry.under {
                Some(_) if fields::is_astray_steps(entry) => fields::steps_astray(self.ledger, entry, table),
                Some(_) if steps && word == "name" => {}
                Some(header) if ["about", "include", "netsplit", "tags", "needs"].contains(&word) => {
                    fields::key_astray(self.ledger, entry, header);
                }
                _ => own.push(entry),
            }
        }
        own
    }

    fn named(&mut self, word: &str, what: &str, named: Named<'t>) {
        let entry = named.entry;
        let own = ["env", "hosts", "networks", "routers"].contains(&word);
        let good = own || good_key(self.ledger, &entry.key, what);
        let key = &entry.key;
        let first = match word {
            "hosts" => self.names.roles.get(&key.name).map(|(span, _)| *span),
            "networks" => self.names.networks.get(&key.name).copied(),
            "routers" => self.names.routers.get(&key.name).map(|(span, _)| *span),
            "files" => self.names.files.get(&key.name).copied(),
            "commands" => self.names.commands.get(&key.name).copied(),
            "procedures" => self.names.procedures.get(&key.name).copied(),
            "variables" => self.names.variables.get(&key.name).map(|variable| variable.span),
            "matrix" => self.names.matrix.get(&key.name).copied(),
            _ => self
                .tables
                .env
                .iter()
                .find(|one| one.entry.key.name == key.name)
                .map(|one| one.entry.key.span),
        };
        if let Some(first) = first {
            let what = what.split_once(' ').map_or(what, |(_, what)| what);
            return self.ledger.duplicate(
                format!("the {what} `{}` is there twice", key.name),
                key.span,
                first,
            );
        }
        match word {
            "hosts" => self.role(entry),
            "env" => self.tables.env.push(named),
            "networks" => {
                // Also with a wrong name: whoever names the network shall not be blamed.
                self.names.networks.insert(key.name.clone(), key.span);
                let name = self.station_name(key, "a network's name");
                self.tables.networks.push((name, entry));
            }
            "routers" => {
                let name = self.station_name(key, "a router's name");
                self.names.routers.insert(key.name.clone(), (key.span, name));
                self.tables.routers.push(entry);
            }
            "files" => {
                self.names.files.insert(key.name.clone(), key.span);
                self.tables.files.push(named);
            }
            "commands" => {
                self.names.commands.insert(key.name.clone(), key.span);
                let (node, folder) = (&entry.node, named.folder);
                self.tables.commands.push(CommandTable { key, node, folder });
            }
            "procedures" => self.procedure(entry, named.folder),
            "variables" if good => self.variable(named),
            "matrix" if good => self.axis(entry),
            _ => {}
        }
    }

    /// What hosts, networks and routers may be called.
    fn station_name(&mut self, key: &Key, what: &str) -> Option<HostName> {
        match HostName::new(&key.name) {
            Ok(name) => Some(name),
            Err(error) => {
                let error = error.to_string().replace("a host's name", what);
                self.ledger.mistake(key.span, Trouble::new(Reason::BadName, error));
                None
            }
        }
    }

    /// No router is called as a host or a role.
    fn routers_apart(&mut self) {
        for (name, (span, _)) in &self.names.routers {
            let host = self.names.hosts.get(name).map(|(first, _)| ("host", *first));
            let role = || self.names.roles.get(name).map(|(first, _)| ("role", *first));
            if let Some((what, first)) = host.or_else(role) {
                self.ledger.duplicate(format!("`{name}` is both a {what} and a router"), *span, first);
            }
        }
    }

    /// Names of `%{…}` mean one thing each.
    fn value_name(&mut self, key: &Key) -> bool {
        let Some((what, first)) = self.names.value_taken(&key.name) else { return true };
        let text = format!("`{}` is already {what}", key.name);
        match first {
            Some(first) => self.ledger.duplicate(text, key.span, first),
            None => self.ledger.mistake(key.span, Trouble::new(Reason::DuplicateName, text)),
        }
        false
    }

    fn role(&mut self, entry: &'t Entry) {
        let key = &entry.key;
        let count = self.overrides.hosts.shift_remove(&key.name);
        let mut disk = None;
        let mut hints = IndexMap::new();
        let hosts = match &entry.node.value {
            Value::Integer(_) => self.counted(key, &entry.node, count),
            Value::Array(nodes) => self.listed(key, nodes, count),
            Value::Table(table) => {
                let fields = Fields::open(self.ledger, table, &HOST, key.span);
                disk = fields.size(self.ledger, "disk");
                self.tables.host_needs.extend(fields.capabilities(self.ledger, "needs", true));
                hints = self.hints(&fields);
                let hosts = self.table_hosts(&fields, key, count);
                fields.finish();
                hosts
            }
            _ => {
                let kind = Kind::Either(&[Kind::Count, Kind::HostNames]);
                fields::wrong(self.ledger, &entry.node, &format!("hosts.{}", key.name), kind)
            }
        };
        let hosts = hosts.unwrap_or_default();
        // Also when something is wrong with it: whoever names the role shall not be blamed.
        self.names
            .roles
            .insert(key.name.clone(), (key.span, hosts.iter().map(|(host, _)| host.clone()).collect()));
        self.join_hosts(key, &hosts);
        if let Some(name) = self.station_name(key, "a role's name") {
            let hosts = hosts.into_iter().map(|(host, _)| host).collect();
            let place = self.ledger.place(key.span);
            self.tables.roles.push(Role { name, hosts, disk, hints, place });
        }
    }

    fn hints(&mut self, fields: &Fields<'_>) -> IndexMap<String, serde_json::Value> {
        let mut hints = IndexMap::new();
        for provider in grammar::PROVIDERS {
            let Some((key, entry)) = fields.get(provider) else { continue };
            match hint(&entry.node) {
                Some(table) => {
                    hints.insert((*provider).to_owned(), table);
                }
                None => {
                    fields::wrong::<()>(self.ledger, &entry.node, key.word, key.kind);
                }
            }
        }
        hints
    }

    fn table_hosts(
        &mut self,
        fields: &Fields<'_>,
        key: &Key,
        set: Option<u32>,
    ) -> Option<Vec<(HostName, Span)>> {
        match (fields.get("count"), fields.get("names")) {
            (Some((_, count)), None) => self.counted(key, &count.node, set),
            (None, Some((names, entry))) => match entry.node.as_array() {
                Some(nodes) => self.listed(key, nodes, set),
                None => fields::wrong(self.ledger, &entry.node, names.word, names.kind),
            },
            (Some((_, count)), Some(_)) => {
                let text = format!("the role `{}` has both `count` and `names`", key.name);
                self.ledger.mistake(count.key.span, Trouble::new(Reason::BadValue, text));
                None
            }
            (None, None) => self.made(key, key.span, set.unwrap_or(1)),
        }
    }

    fn counted(&mut self, key: &Key, node: &Node, set: Option<u32>) -> Option<Vec<(HostName, Span)>> {
        let count = fields::count(self.ledger, node, &key.name, Kind::Count)?;
        self.made(key, node.span, set.unwrap_or(count))
    }

    fn made(&mut self, key: &Key, span: Span, count: u32) -> Option<Vec<(HostName, Span)>> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count.saturating_add(self.names.hosts.len()) > HOSTS_MAX {
            let text = format!("more than {HOSTS_MAX} hosts");
            self.ledger.mistake(span, Trouble::new(Reason::BadValue, text));
            return None;
        }
        let role = HostName::new(&key.name).ok()?;
        Some(role.of_role(count).into_iter().map(|host| (host, key.span)).collect())
    }

    fn listed(&mut self, key: &Key, nodes: &[Node], set: Option<u32>) -> Option<Vec<(HostName, Span)>> {
        if set.is_some() {
            let text = format!("`-n {}=…` changes a count, and `{}` names its hosts", key.name, key.name);
            self.ledger.mistake(key.span, Trouble::new(Reason::BadSetting, text));
        }
        if nodes.is_empty() {
            self.ledger.mistake(
                key.span,
                Trouble::new(Reason::BadValue, format!("the role `{}` has no host", key.name)),
            );
        }
        let mut hosts = Vec::new();
        for node in nodes {
            let Some(text) = node.as_text() else {
                fields::wrong::<()>(self.ledger, node, &format!("hosts.{}", key.name), Kind::HostNames);
                continue;
            };
            match HostName::new(&text.value) {
                Ok(host) => hosts.push((host, text.inner())),
                Err(error) => {
                    self.ledger.mistake(text.inner(), Trouble::new(Reason::BadName, error.to_string()));
                }
            }
        }
        Some(hosts)
    }

    /// No host has two roles, and no role is called as a host of another.
    fn join_hosts(&mut self, role: &Key, hosts: &[(HostName, Span)]) {
        for (host, span) in hosts {
            let name = host.to_string();
            let of_role = self.names.roles.get(&name).filter(|_| name != role.name).map(|(span, _)| *span);
            let first = self.names.hosts.get(&name).map(|(span, _)| *span).or(of_role);
            match first {
                Some(first) => {
                    self.ledger.duplicate(format!("the host `{name}` is there twice"), *span, first);
                }
                None => {
                    self.names.hosts.insert(name, (*span, host.clone()));
                }
            }
        }
        let other = self.names.hosts.get(&role.name).map(|(span, _)| *span).filter(|span| *span != role.span);
        if let Some(first) = other.filter(|_| hosts.iter().all(|(host, _)| host.as_str() != role.name)) {
            let text = format!("`{}` is both a host and a role", role.name);
            self.ledger.duplicate(text, role.span, first);
        }
    }

    fn procedure(&mut self, entry: &'t Entry, folder: Arc<PathBuf>) {
        let key = &entry.key;
        self.names.procedures.insert(key.name.clone(), key.span);
        let Some(table) = entry.node.as_table() else {
            let kind = Kind::Table(&grammar::PROCEDURE);
            fields::wrong::<()>(self.ledger, &entry.node, &key.name, kind);
            return;
        };
        let fields = Fields::open(self.ledger, table, &grammar::PROCEDURE, key.span);
        if let Some((_, steps)) = fields.must(self.ledger, "steps", None) {
            self.tables.procedures.push(ProcedureTable { key, steps: &steps.node, folder });
        }
        fields.finish();
    }

    fn variable(&mut self, named: Named<'t>) {
        let entry = named.entry;
        if !self.value_name(&entry.key) {
            return;
        }
        let set = self.overrides.set.shift_remove(&entry.key.name);
        let asks = |text: &str| {
            let template = Template::parse(text).ok();
            let names = template.iter().flat_map(Template::names);
            names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        let of_run = |name: &String| !HOST_WORDS.contains(&name.as_str()) && !name.starts_with("file:");
        let (uses, constant) = match (&set, &entry.node.value) {
            (Some(set), _) => (Vec::new(), Some(set.clone())),
            (None, Value::Text(text)) => {
                let uses = asks(&text.value);
                let constant = uses.is_empty().then(|| text.value.replace("%%", "%"));
                (uses, constant)
            }
            (None, Value::Table(table)) => {
                let each = table.get("as").and_then(|entry| entry.node.as_text());
                let uses = each.map(|text| asks(&text.value)).unwrap_or_default();
                (uses.into_iter().filter(of_run).collect(), None)
            }
            _ => (Vec::new(), None),
        };
        let span = entry.key.span;
        self.names.variables.insert(entry.key.name.clone(), VariableNames { span, uses, constant });
        self.tables.variables.push(named);
    }

    fn axis(&mut self, entry: &'t Entry) {
        let key = &entry.key;
        if !self.value_name(key) {
            return;
        }
        self.names.matrix.insert(key.name.clone(), key.span);
        let mut values: IndexMap<String, Option<&'t Node>> = IndexMap::new();
        let mut add = |ledger: &mut Ledger, value: String, span: Span, steps: Option<&'t Node>| {
            if values.contains_key(&value) {
                let text = format!("the value `{value}` is there twice");
                ledger.mistake(span, Trouble::new(Reason::DuplicateName, text));
            }
            values.insert(value, steps);
        };
        match &entry.node.value {
            Value::Array(nodes) => {
                for node in nodes {
                    let value = match &node.value {
                        Value::Text(text) => text.value.clone(),
                        Value::Integer(_) | Value::Float(_) | Value::Flag(_) => {
                            self.ledger.sources.slice(node.span).to_owned()
                        }
                        _ => {
                            fields::wrong::<()>(
                                self.ledger,
                                node,
                                &format!("matrix.{}", key.name),
                                Kind::Axis,
                            );
                            continue;
                        }
                    };
                    add(self.ledger, value, node.span, None);
                }
            }
            Value::Table(table) => {
                for entry in &table.entries {
                    match &entry.node.value {
                        Value::Table(_) | Value::Array(_) => {
                            add(self.ledger, entry.key.name.clone(), entry.key.span, Some(&entry.node));
                        }
                        _ => {
                            let what = entry.node.what();
                            let text = format!(
                                "the case `{}` wants a step or a list of steps, and this is {what}",
                                entry.key.name
                            );
                            let hint = format!(r#"values are a list: matrix.{} = ["…", "…"]"#, key.name);
                            self.ledger
                                .mistake(entry.node.span, Trouble::new(Reason::BadValue, text).hint(hint));
                        }
                    }
                }
            }
            _ => {
                fields::wrong::<()>(self.ledger, &entry.node, &format!("matrix.{}", key.name), Kind::Axis);
                return;
            }
        }
        if entry.node.as_array().is_some_and(<[Node]>::is_empty)
            || entry.node.as_table().is_some_and(|table| table.entries.is_empty())
        {
            let text = format!("`matrix.{}` has no value", key.name);
            self.ledger.mistake(entry.node.span, Trouble::new(Reason::BadValue, text));
        }
        self.pin(key, &mut values);
        self.tables.axes.push(Axis { key, values });
    }

    /// `-s KEY=VALUE` makes one value of several.
    fn pin(&mut self, key: &Key, values: &mut IndexMap<String, Option<&'t Node>>) {
        let Some(set) = self.overrides.set.shift_remove(&key.name) else { return };
        if !values.contains_key(&set) && !values.is_empty() {
            let what = if values.values().any(Option::is_some) { "case" } else { "value" };
            let known: Vec<_> = values.keys().map(String::as_str).collect();
            let text = format!("`-s {}={set}`: the matrix has no {what} `{set}`", key.name);
            let near = nearest(&set, known.iter().copied());
            let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            let hint = near + &list(&format!("{what}s"), &known);
            self.ledger.mistake(key.span, Trouble::new(Reason::BadSetting, text).hint(hint));
            return;
        }
        let steps = values.get(&set).copied().flatten();
        *values = IndexMap::from([(set, steps)]);
    }

    /// A variable must not be made of itself.
    fn circles(&mut self) {
        for (name, variable) in &self.names.variables {
            let mut seen = BTreeSet::new();
            let mut open = vec![name.as_str()];
            let mut circle = false;
            while let Some(next) = open.pop() {
                let Some(inner) = self.names.variables.get(next) else { continue };
                circle |= inner.uses.iter().any(|inner| inner == name);
                open.extend(inner.uses.iter().map(String::as_str).filter(|inner| seen.insert(*inner)));
            }
            if circle {
                let text = format!("the variable `{name}` is made of itself");
                self.ledger.mistake(variable.span, Trouble::new(Reason::Circle, text));
            }
        }
    }
}
