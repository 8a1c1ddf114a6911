//! Steps that change the network: their links, figures, times and names. What cannot be, and can be known without
//! running anything, is a mistake here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use netsplit_model::units::Wanted;
use netsplit_model::{Capability, HostName, Reason, Trouble, nearest};
use netsplit_netmodel::regions::REGIONS;
use netsplit_netmodel::{
    Condition, ConditionWords, Ends, FaultError, Faults, Flap, Schedule, Scope, Topology, TopologyError,
    WordError,
};

use super::Reader;
use super::steps::Steps;
use crate::fields::{self, Fields};
use crate::grammar::{self, FLAP, Key};
use crate::names::{FaultSeen, Whom, list};
use crate::source::Span;
use crate::toml::{self, Entry, Node, Value};
use crate::{Capture, Fault, FaultLinks, Heal, LinkEnds, Regions, Select, Where};

impl<'t> Steps<'_, 't> {
    /// `cut`, `reject`, `hold`, `link`, `isolate`, `partition`, `ring`, `bridge`.
    pub(super) fn fault(
        &mut self,
        verb: &'static grammar::Verb,
        entry: &'t Entry,
        fields: &Fields<'t>,
    ) -> Option<Fault> {
        self.need(Capability::Network, verb.word, entry.key.span);
        let name = self.reader.fault_name(fields);
        let schedule = self.reader.schedule(fields);
        let control = fields.flag(self.reader.ledger, "control").unwrap_or(false);
        let (word, condition) = match verb.word {
            "cut" => ("cut", Some(Condition::new().cut())),
            "reject" => ("reject", Some(Condition::new().reject())),
            "hold" => ("hold", Some(Condition::new().hold())),
            "link" => ("link", self.reader.condition(entry, fields)),
            _ => ("", Some(Condition::new().cut())),
        };
        let links = self.links(verb, entry, fields);
        Some(Fault {
            verb: word,
            links: links?,
            condition: condition?,
            schedule: schedule?,
            name: name?,
            control,
        })
    }

    fn links(
        &mut self,
        verb: &'static grammar::Verb,
        entry: &'t Entry,
        fields: &Fields<'t>,
    ) -> Option<FaultLinks> {
        let (links, spans) = match verb.word {
            "partition" => self.groups(verb, entry)?,
            "bridge" => {
                let middle = fields.must(self.reader.ledger, "middle", None);
                let middle =
                    middle.and_then(|(key, entry)| fields::text(self.reader.ledger, &entry.node, key));
                let middle = middle.and_then(|text| self.reader.stations(text));
                let hosts = self.value(verb, entry).and_then(|text| self.reader.stations(text));
                (FaultLinks::Bridge { hosts: hosts?, middle: middle? }, Vec::new())
            }
            "isolate" | "ring" => {
                let hosts = self.value(verb, entry).and_then(|text| self.reader.stations(text))?;
                let is_ring = verb.word == "ring";
                (if is_ring { FaultLinks::Ring(hosts) } else { FaultLinks::Isolate(hosts) }, Vec::new())
            }
            _ => {
                let text = self.value(verb, entry)?;
                (FaultLinks::Ends(self.reader.ends(text, Whom::Stations)?), Vec::new())
            }
        };
        let at = entry.node.as_text().map_or(entry.node.span, toml::Text::inner);
        self.reader.check_links(&links, at, &spans).then_some(links)
    }

    /// The groups of a partition, and where each stands.
    fn groups(&mut self, verb: &'static grammar::Verb, entry: &'t Entry) -> Option<(FaultLinks, Vec<Span>)> {
        let Some(nodes) = entry.node.as_array() else {
            return fields::wrong(self.reader.ledger, &entry.node, verb.word, verb.kind);
        };
        if nodes.len() < 2 {
            let count = nodes.len();
            let error = TopologyError::TooFew { what: "partition", least: 2, of: "groups", count };
            let trouble = Trouble::new(Reason::BadFault, error.to_string());
            self.reader.ledger.mistake(entry.node.span, trouble.hint(r#"such as ["a,b", "c"]"#));
            return None;
        }
        let mut group = |node: &'t Node| {
            let text = fields::text(self.reader.ledger, node, &verb.as_key())?;
            Some((self.reader.stations(text)?, text.inner()))
        };
        let groups: Vec<_> = nodes.iter().map(&mut group).collect();
        let (groups, spans) = groups.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
        Some((FaultLinks::Partition(groups), spans))
    }

    /// `heal`: a fault of this test, by its name.
    pub(super) fn heal(&mut self, verb: &'static grammar::Verb, entry: &'t Entry) -> Option<Heal> {
        self.need(Capability::Network, verb.word, entry.key.span);
        let text = self.value(verb, entry)?;
        let (name, _) = self.reader.expand(text, 0..text.value.len())?;
        let span = text.inner();
        let seen = &mut self.reader.seen;
        if name == "all" {
            seen.faults.values_mut().for_each(|fault| fault.healed = fault.healed.or(Some(span)));
            return Some(Heal::All);
        }
        match seen.faults.get_mut(&name) {
            Some(FaultSeen { healed: Some(first), .. }) => {
                let first = *first;
                let hint = format!("first {}", self.reader.ledger.sources.named_from(first, span));
                let trouble =
                    Trouble::new(Reason::UnknownName, format!("the fault `{name}` is healed already"));
                self.reader.ledger.mistake(span, trouble.hint(hint));
                None
            }
            Some(fault) => {
                fault.healed = Some(span);
                Some(Heal::Named(name))
            }
            None if seen.anything || self.reader.names.incomplete => Some(Heal::Named(name)),
            None => {
                self.reader.unknown_fault(&name, span);
                None
            }
        }
    }

    pub(super) fn capture(&mut self, verb: &'static grammar::Verb, entry: &'t Entry) -> Option<Capture> {
        self.need(Capability::Network, verb.word, entry.key.span);
        let text = self.value(verb, entry)?;
        let (filled, _) = self.reader.expand(text, 0..text.value.len())?;
        if filled.trim() == "all" {
            return Some(Capture::All);
        }
        if Ends::parse(&filled).is_none() {
            return self.reader.select(text).map(Capture::Hosts);
        }
        let ends = self.reader.ends(text, Whom::Hosts)?;
        let links = FaultLinks::Ends(ends.clone());
        self.reader.check_links(&links, text.inner(), &[]).then_some(Capture::Links(ends))
    }

    pub(super) fn regions(
        &mut self,
        verb: &'static grammar::Verb,
        entry: &'t Entry,
        fields: &Fields<'t>,
    ) -> Option<Regions> {
        self.need(Capability::Network, verb.word, entry.key.span);
        let name = self.reader.fault_name(fields);
        let Some(table) = entry.node.as_table().filter(|table| !table.entries.is_empty()) else {
            return fields::wrong(self.reader.ledger, &entry.node, verb.word, verb.kind);
        };
        let (mut places, mut spans, mut is_whole) = (Vec::new(), Vec::new(), true);
        for entry in &table.entries {
            let region = REGIONS.into_iter().find(|region| *region == entry.key.name);
            if region.is_none() {
                let trouble = Trouble::new(Reason::UnknownName, format!("no region `{}`", entry.key.name));
                let hint = match nearest(&entry.key.name, REGIONS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => list("regions", &REGIONS),
                };
                self.reader.ledger.mistake(entry.key.span, trouble.hint(hint));
            }
            let text = fields::text(self.reader.ledger, &entry.node, &verb.as_key());
            let hosts = text.and_then(|text| Some((self.reader.stations(text)?, text.inner())));
            is_whole &= region.is_some() && hosts.is_some();
            if let (Some(region), Some((hosts, span))) = (region, hosts) {
                places.push((region, hosts));
                spans.push(span);
            }
        }
        if places.len() > 1 {
            let groups = places.iter().map(|(_, hosts)| hosts.clone()).collect();
            is_whole &= self.reader.check_links(&FaultLinks::Partition(groups), entry.node.span, &spans);
        }
        is_whole.then_some(Regions { places, name: name? })
    }
}

impl Reader<'_> {
    /// The name that `as` gives to a fault: `Some(None)` when it gives none.
    fn fault_name(&mut self, fields: &Fields<'_>) -> Option<Option<String>> {
        let Some((key, entry)) = fields.get("as") else { return Some(None) };
        let text = fields::text(self.ledger, &entry.node, key)?;
        let (name, span) = (text.value.clone(), text.inner());
        if name == "all" {
            let trouble = Trouble::new(Reason::BadName, "`all` has a meaning of its own");
            self.ledger.mistake(span, trouble);
            return None;
        }
        self.new_name(&name, span, "a fault", None)?;
        if let Some(FaultSeen { span: first, healed: None }) = self.seen.faults.get(&name) {
            self.ledger.duplicate(format!("a fault `{name}` is in force already"), span, *first);
            return None;
        }
        self.seen.faults.insert(name.clone(), FaultSeen { span, healed: None });
        Some(Some(name))
    }

    fn unknown_fault(&mut self, name: &str, span: Span) {
        let trouble =
            Trouble::new(Reason::UnknownName, format!("no fault `{name}` was begun before this step"));
        let sources = &self.ledger.sources;
        let known: Vec<_> = self.seen.faults.keys().map(String::as_str).collect();
        let near = nearest(name, known.iter().copied());
        let hint = match (near, self.names.faults.get(name)) {
            (Some(near), _) => {
                let begun = sources.named_from(self.seen.faults[near].span, span);
                format!("did you mean `{near}`, begun {begun}?")
            }
            (None, Some(other)) => {
                let place = sources.named_from(*other, span);
                format!("one is begun {place}, and not in this test before this step")
            }
            (None, None) if self.names.is_host(name, &self.seen) => {
                "`heal` wants the name that `as` gave to a fault, or \"all\"".to_owned()
            }
            (None, None) if known.is_empty() => r#"`as = "…"` in its step names a fault"#.to_owned(),
            (None, None) => list("faults", &known),
        };
        self.ledger.mistake(span, trouble.hint(hint));
    }

    /// Hosts and routers.
    fn stations(&mut self, text: &toml::Text) -> Option<Select> {
        self.select_whom(text, Whom::Stations)
    }

    /// `a to b`, `a and b`.
    fn ends(&mut self, text: &toml::Text, whom: Whom) -> Option<LinkEnds> {
        let whole = 0..text.value.len();
        let (filled, is_exact) = self.expand(text, whole.clone())?;
        let Some(ends) = Ends::parse(&filled) else {
            let trouble = Trouble::new(Reason::BadFault, format!("`{filled}` names no links"));
            self.ledger.mistake(text.inner(), trouble.hint("`a to b` is one way, `a and b` both ways"));
            return None;
        };
        let mut select = |side: &str| {
            let start = side.as_ptr() as usize - filled.as_ptr() as usize;
            let range: Range<usize> = if is_exact { start..start + side.len() } else { whole.clone() };
            let found = self.select_filled(text, range, side.to_owned(), is_exact, whom)?;
            let Where::Hosts(select) = found else {
                let trouble =
                    Trouble::new(Reason::BadValue, "`here` is no host but the machine netsplit runs on");
                self.ledger.mistake(text.inner(), trouble);
                return None;
            };
            Some(select)
        };
        let (left, right) = (select(ends.left), select(ends.right));
        Some(LinkEnds { left: left?, right: right?, is_both_ways: ends.is_both_ways })
    }

    /// Whether there are such links, as far as it is known who is meant. `at`: the verb's value; `groups`: each of them.
    fn check_links(&mut self, links: &FaultLinks, at: Span, groups: &[Span]) -> bool {
        let hosts = self.names.hosts.values().map(|(_, host)| host);
        let routers = self.names.routers.values().filter_map(|(_, router)| router.as_ref());
        let hosts: Vec<_> = hosts.chain(routers).cloned().collect();
        let index = |host| hosts.iter().position(|known| *known == host).ok_or(());
        let known = |select: &Select| -> Result<Vec<usize>, ()> {
            self.known_hosts(select).ok_or(())?.into_iter().map(index).collect()
        };
        let Ok(scope) = links.scope(known) else { return true };
        let error = match Scope::links(&scope, &Topology::new(hosts.len())) {
            Ok(links) if !links.iter().any(|link| self.are_joined(&hosts[link.from], &hosts[link.to])) => {
                let trouble = Trouble::new(Reason::BadFault, "no two of these are on one network");
                self.ledger.mistake(at, trouble.hint(self.between_networks()));
                return false;
            }
            Ok(_) => return true,
            Err(error) => error,
        };
        let (text, span) = match error {
            TopologyError::Overlap { host, first, second } => {
                let text = format!("{} is in group {first} and in group {second}", hosts[host]);
                (text, groups.get(second - 1).copied().unwrap_or(at))
            }
            TopologyError::Twice { host } => (format!("{} is named twice", hosts[host]), at),
            other => (other.to_string(), at),
        };
        self.ledger.mistake(span, Trouble::new(Reason::BadFault, text));
        false
    }

    /// Whether two have a link, as far as that is known.
    fn are_joined(&self, one: &HostName, other: &HostName) -> bool {
        let Some(networks) = &self.names.joined else { return true };
        networks.iter().any(|network| network.contains(one) && network.contains(other))
    }

    /// Whose links may be meant where two hosts have none.
    fn between_networks(&self) -> String {
        let networks = self.names.joined.iter().flatten();
        let mut counts: BTreeMap<&HostName, u32> = BTreeMap::new();
        networks.flatten().for_each(|name| *counts.entry(name).or_default() += 1);
        let between: Vec<_> =
            counts.iter().filter(|(_, count)| **count > 1).map(|(name, _)| name.as_str()).collect();
        match between.is_empty() {
            true => "and nothing joins their networks".to_owned(),
            false => list("with links to several networks", &between),
        }
    }

    /// The figures of a link.
    fn condition(&mut self, verb: &Entry, fields: &Fields<'_>) -> Option<Condition> {
        let mut words = ConditionWords::new();
        let (mut said, mut unread) = (0, Vec::new());
        for word in ConditionWords::KEYS {
            let Some((key, entry)) = fields.get(word) else { continue };
            said += 1;
            let figure = self.figure(key, &entry.node);
            if figure.is_none() {
                unread.push(word);
            }
            words.set(word, &figure.unwrap_or_default());
        }
        if said == 0 && fields.has_strangers() {
            return None; // said of them
        }
        if said == 0 {
            let trouble = Trouble::new(Reason::MissingKey, "this `link` says nothing of its links");
            let hint = list("it takes", &ConditionWords::KEYS);
            self.ledger.mistake(verb.key.span, trouble.hint(hint));
            return None;
        }
        let mistakes = match words.finish() {
            Ok(condition) => return Some(condition),
            Err(mistakes) => mistakes,
        };
        for mistake in mistakes.iter().filter(|mistake| !unread.contains(&mistake.key())) {
            self.wrong_figure(fields, mistake);
        }
        None
    }

    /// A figure as it is written: text, or a plain number.
    fn figure(&mut self, key: &Key, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) => self.expand(text, 0..text.value.len()).map(|(filled, _)| filled),
            Value::Integer(_) | Value::Float(_) => Some(self.ledger.sources.slice(node.span).to_owned()),
            _ => fields::wrong(self.ledger, node, key.word, key.kind),
        }
    }

    fn wrong_figure(&mut self, fields: &Fields<'_>, mistake: &WordError) {
        let Some(entry) = fields.peek(mistake.key()) else { return };
        let value_at = entry.node.as_text().map_or(entry.node.span, toml::Text::inner);
        let (span, trouble) = match mistake {
            WordError::Value { key: key @ ("preset" | "distribution"), value, allowed } => {
                let trouble = Trouble::new(Reason::UnknownName, format!("no {key} `{value}`"));
                (value_at, trouble.hint(allowed))
            }
            WordError::Value { key, value, allowed } => {
                let trouble = Trouble::new(Reason::BadFault, format!("`{key}` cannot be `{value}`"));
                (value_at, trouble.hint(allowed))
            }
            WordError::Alone { key, needs, .. } => {
                let text = format!("`{key}` means nothing without `{needs}`");
                (entry.key.span, Trouble::new(Reason::BadFault, text))
            }
            // Words and what is written twice were looked at before.
            WordError::UnknownKey { .. } | WordError::Twice { .. } => return,
        };
        self.ledger.mistake(span, trouble);
    }

    /// `after`, `for`, `flap`.
    fn schedule(&mut self, fields: &Fields<'_>) -> Option<Schedule> {
        let written = |word: &str| fields.peek(word).is_some();
        let after = fields.duration(self.ledger, "after");
        let lasts = fields.duration(self.ledger, "for");
        let flap = fields.get("flap").map(|(key, entry)| self.flap(key, entry));
        let is_read = after.is_some() == written("after") && lasts.is_some() == written("for");
        let flap = match flap {
            Some(flap) => Some(flap?),
            None => None,
        };
        let schedule = Schedule { after: after.unwrap_or_default(), lasts, flap };
        let Some(error) = schedule_error(schedule) else { return is_read.then_some(schedule) };
        let (word, text) = match &error {
            FaultError::Time { field, time, least } => {
                let word = if *field == "lasts" { "for" } else { field };
                (word, format!("`{word}` is {}; allowed is {} and more", Wanted(*time), Wanted(*least)))
            }
            other => ("flap.jitter", other.to_string()),
        };
        let key = word.split('.').next().unwrap_or(word);
        if let Some(entry) = fields.peek(key) {
            let inner = word.split_once('.').and_then(|(_, inner)| entry.node.as_table()?.get(inner));
            let node = &inner.unwrap_or(entry).node;
            let span = node.as_text().map_or(node.span, toml::Text::inner);
            self.ledger.mistake(span, Trouble::new(Reason::BadFault, text));
        }
        None
    }

    fn flap(&mut self, key: &Key, entry: &Entry) -> Option<Flap> {
        let Some(table) = entry.node.as_table() else {
            return fields::wrong(self.ledger, &entry.node, key.word, key.kind);
        };
        let fields = Fields::open(self.ledger, table, &FLAP, entry.key.span);
        let mut span = |word: &str| {
            let (key, entry) = fields.must(self.ledger, word, None)?;
            fields::duration(self.ledger, &entry.node, key)
        };
        let (down, up) = (span("down"), span("up"));
        let jitter = fields.duration(self.ledger, "jitter");
        fields.finish();
        Some(Flap { down: down?, up: up?, jitter })
    }
}

/// What is wrong with the times of a fault, whatever it does.
fn schedule_error(schedule: Schedule) -> Option<FaultError> {
    let mut table = Faults::new(0);
    let (one, other) = (table.add_host(), table.add_host());
    let scope = Scope::OneWay { from: vec![one], to: vec![other] };
    let fault = netsplit_netmodel::Fault { scope, condition: Condition::new().cut(), schedule };
    table.begin(Duration::ZERO, 1, fault).err()
}
