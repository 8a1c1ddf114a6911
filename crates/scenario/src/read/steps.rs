//! Steps: one verb each, and the words that may follow it. They are read in the order in which they run, so that each
//! knows what the earlier ones captured, saved and started.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use netsplit_model::{Capability, Reason, Trouble, nearest};
use netsplit_netmodel::ConditionWords;

use super::Reader;
use super::command::ShellHint;
use super::tables::{CommandTable, ProcedureTable};
use crate::fields::{self, Fields};
use crate::grammar::{Key, Kind, Unspoken, VERBS};
use crate::names::{Asker, FaultSeen, Seen, list};
use crate::source::Span;
use crate::toml::{self, Entry, Node, Origin, Table, Value};
use crate::{
    Command, Find, HowMany, Listen, Never, Run, Since, Start, Step, Stop, Verb, Wait, WaitFor, Where, grammar,
};

/// The most steps of a scenario, procedures and all cases of the matrix counted: some minutes of reading are no test.
const STEPS_MAX: usize = 20_000;

/// A capability that something needs, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepNeed {
    pub(crate) capability: Capability,
    pub(crate) by: String,
    pub(crate) span: Span,
}

/// The procedures and commands that some step names.
#[derive(Debug, Default)]
pub(crate) struct Used {
    pub(crate) procedures: BTreeSet<String>,
    pub(crate) commands: BTreeSet<String>,
}

/// What all steps of one case share.
pub(crate) struct Steps<'a, 't> {
    pub(crate) reader: Reader<'a>,
    pub(crate) commands: &'a [CommandTable<'t>],
    pub(crate) procedures: &'a [ProcedureTable<'t>],
    /// The steps of the matrix case that a key has.
    pub(crate) chosen: Vec<(&'t str, &'a str, &'t Node, Arc<PathBuf>)>,
    pub(crate) needs: Vec<StepNeed>,
    /// The procedures that are being done.
    pub(crate) doing: Vec<String>,
    /// What was done or started by name, so that the rest can be read for its form.
    pub(crate) used: &'a mut Used,
    pub(crate) count: &'a mut usize,
}

impl<'t> Steps<'_, 't> {
    /// A list of steps.
    pub(crate) fn list(&mut self, node: &'t Node, word: &str) -> Vec<Step> {
        match &node.value {
            Value::Array(nodes) => self.each(nodes),
            Value::Table(table) if matches!(table.origin, Origin::Header(_)) => {
                fields::step_header(self.reader.ledger, node.span, node);
                Vec::new()
            }
            _ => fields::wrong(self.reader.ledger, node, word, Kind::Steps).unwrap_or_default(),
        }
    }

    fn each(&mut self, nodes: &'t [Node]) -> Vec<Step> {
        if let Some(Node { span, value: Value::Table(Table { origin: Origin::Header(_), .. }) }) =
            nodes.first()
        {
            fields::step_header(self.reader.ledger, *span, &nodes[0]);
            return Vec::new();
        }
        nodes.iter().filter_map(|node| self.step(node)).collect()
    }

    pub(crate) fn step(&mut self, node: &'t Node) -> Option<Step> {
        *self.count += 1;
        if *self.count > STEPS_MAX {
            if *self.count == STEPS_MAX + 1 {
                let text =
                    format!("more than {STEPS_MAX} steps, with what procedures and the matrix make of them");
                self.reader.ledger.mistake(node.span, Trouble::new(Reason::LongTest, text));
            }
            return None;
        }
        let Some(table) = node.as_table() else {
            return fields::wrong(self.reader.ledger, node, "steps", Kind::Steps);
        };
        if let Origin::Header(header) = table.origin {
            fields::step_header(self.reader.ledger, header, node);
            return None;
        }
        let (verb, entry) = self.verb(node, table)?;
        self.check_words(table, verb);
        let what = format!("a `{}` step", verb.word);
        let fields = Fields::of_step(table, verb.takes, what, entry.key.span);
        let text = one_line(verb, entry, table, &self.reader);
        let read = self.read(verb, entry, &fields);
        if read.is_some() {
            fields.finish();
        }
        let sources = &self.reader.ledger.sources;
        let lines = sources.line_of(node.span.start)..=sources.line_of(node.span.end.saturating_sub(1));
        let verb = read?;
        let text = if let Verb::Do { name, .. } = &verb { format!("do {name}") } else { text };
        Some(Step { place: self.reader.ledger.place(entry.key.span), lines, text, verb })
    }

    /// The one verb of a step.
    fn verb(&mut self, node: &Node, table: &'t Table) -> Option<(&'static grammar::Verb, &'t Entry)> {
        let is_verb = |entry: &&Entry| {
            grammar::Verb::named(&entry.key.name).is_some() || Unspoken::verb(&entry.key.name).is_some()
        };
        let verbs: Vec<_> = table.entries.iter().filter(is_verb).collect();
        let ledger = &mut *self.reader.ledger;
        match verbs[..] {
            [entry] => match grammar::Verb::named(&entry.key.name) {
                Some(verb) => Some((verb, entry)),
                None => {
                    if let Some(unspoken) = Unspoken::verb(&entry.key.name) {
                        fields::not_yet(ledger, entry.key.span, unspoken);
                    }
                    self.assume_capture(table);
                    None
                }
            },
            [first, second, ..] => {
                let text = format!(
                    "`{}` and `{}` are two verbs, and a step has one",
                    first.key.name, second.key.name
                );
                ledger.mistake(
                    second.key.span,
                    Trouble::new(Reason::OneVerb, text).hint("make it a step of its own"),
                );
                self.assume_capture(table);
                None
            }
            [] => {
                self.no_verb(node, table);
                self.assume_capture(table);
                None
            }
        }
    }

    fn no_verb(&mut self, node: &Node, table: &Table) {
        let known = || VERBS.iter().map(|verb| verb.word).chain(Unspoken::verbs());
        let modifiers = || VERBS.iter().flat_map(|verb| verb.takes).map(|key| key.word);
        let word = |entry: &Entry| entry.key.name.clone();
        let strangers =
            table.entries.iter().filter(|entry| !modifiers().any(|known| known == entry.key.name));
        let strangers: Vec<_> = strangers.collect();
        for entry in &strangers {
            if let Some(near) = nearest(&word(entry), known()) {
                let trouble =
                    Trouble::new(Reason::UnknownKey, format!("unknown word `{}` in a step", word(entry)));
                return self
                    .reader
                    .ledger
                    .mistake(entry.key.span, trouble.hint(format!("did you mean `{near}`?")));
            }
        }
        let verb = strangers.into_iter().find(|entry| nearest(&word(entry), modifiers()).is_none());
        if let Some(entry) = verb {
            let words: Vec<_> = VERBS.iter().map(|verb| verb.word).collect();
            let trouble = Trouble::new(Reason::UnknownKey, format!("unknown verb `{}`", word(entry)));
            let hint = format!("a step does one of: {}", words.join(" "));
            return self.reader.ledger.mistake(entry.key.span, trouble.hint(hint));
        }
        let trouble = Trouble::new(Reason::OneVerb, "this step has no verb");
        self.reader
            .ledger
            .mistake(node.span, trouble.hint("it begins with what to do: `run`, `start`, `wait_for` …"));
    }

    /// Words that do not go with the verb.
    fn check_words(&mut self, table: &Table, verb: &'static grammar::Verb) {
        let ledger = &mut *self.reader.ledger;
        for entry in &table.entries {
            let word = entry.key.name.as_str();
            if word == verb.word || verb.takes(word).is_some() {
                continue;
            }
            let others: Vec<_> = grammar::Verb::taking(word).map(|verb| format!("`{verb}`")).collect();
            if let Some(unspoken) = Unspoken::modifier(word) {
                fields::not_yet(ledger, entry.key.span, unspoken);
            } else if !others.is_empty() {
                let text = format!("`{word}` does not go with `{}`", verb.word);
                let takes: Vec<_> = verb.takes.iter().map(|key| key.word).collect();
                let takes = list(&format!("`{}` takes", verb.word), &takes);
                let hint = [format!("it goes with {}", others.join(", ")), takes];
                let hint: Vec<_> = hint.into_iter().filter(|part| !part.is_empty()).collect();
                ledger.mistake(entry.key.span, Trouble::new(Reason::UnknownKey, text).hint(hint.join("; ")));
            } else {
                let place = format!("in a `{}` step", verb.word);
                fields::unknown_word(ledger, entry, &place, verb.takes.iter().map(|key| key.word));
            }
        }
    }

    /// A step that cannot be read may still give a name, of which later steps shall not be told that nobody has it.
    fn assume_capture(&mut self, table: &Table) {
        if let Some(entry) = table.get("as")
            && let Some(text) = entry.node.as_text()
        {
            let (name, span) = (&text.value, text.inner());
            self.reader.seen.captured.insert(name.clone(), span);
            self.reader.seen.faults.insert(name.clone(), FaultSeen { span, healed: None });
        }
    }

    pub(super) fn need(&mut self, capability: Capability, by: &str, span: Span) {
        self.needs.push(StepNeed { capability, by: by.to_owned(), span });
    }

    fn read(&mut self, verb: &'static grammar::Verb, entry: &'t Entry, fields: &Fields<'t>) -> Option<Verb> {
        match verb.word {
            "run" | "sh" => self.run(verb.word, entry, fields).map(|step| Verb::Run(Box::new(step))),
            "start" => self.start(entry, fields).map(|step| Verb::Start(Box::new(step))),
            "wait" => self.wait(verb, entry, fields).map(|step| Verb::Wait(Box::new(step))),
            "stop" => {
                let grace = fields.duration(self.reader.ledger, "within");
                let process = self.process(verb, entry, fields)?;
                Some(Verb::Stop(Stop { process, grace }))
            }
            "wait_for" => self.wait_for(verb, entry, fields).map(Verb::WaitFor),
            "find" => self.find(verb, entry, fields).map(Verb::Find),
            "never" => self.never(verb, entry, fields).map(Verb::Never),
            "kill" => self.kill(verb, entry),
            "signal" => self.signal(verb, entry, fields),
            "pause" | "resume" | "restart" => self.power(verb, entry, fields),
            "heal" => self.heal(verb, entry).map(Verb::Heal),
            "capture" => self.capture(verb, entry).map(Verb::Capture),
            "regions" => self.regions(verb, entry, fields).map(Verb::Regions),
            _ if verb.is_fault() => self.fault(verb, entry, fields).map(|step| Verb::Fault(Box::new(step))),
            "put" => self.put(verb, entry, fields).map(|step| Verb::Put(Box::new(step))),
            "get" => self.get(verb, entry, fields).map(Verb::Get),
            "note" => {
                let text = self.value(verb, entry)?;
                self.reader.template(text, Asker::Runner).map(Verb::Note)
            }
            "expect" => self.expect(verb, entry, fields).map(|step| Verb::Expect(Box::new(step))),
            "do" => self.procedure(verb, entry),
            "together" => self.together(entry),
            "sleep" => {
                let time = fields::duration(self.reader.ledger, &entry.node, &verb.as_key());
                let why = fields.must(self.reader.ledger, "why", None);
                let why = why.and_then(|(key, entry)| fields::text(self.reader.ledger, &entry.node, key));
                let why = why.and_then(|why| self.reader.template(why, Asker::Runner));
                Some(Verb::Sleep { time: time?, why: why? })
            }
            _ => {
                debug_assert!(false, "the grammar has a verb `{}` that nobody reads", verb.word);
                None
            }
        }
    }

    /// The verb's own value, which is a text.
    pub(super) fn value(&mut self, verb: &'static grammar::Verb, entry: &'t Entry) -> Option<&'t toml::Text> {
        fields::text(self.reader.ledger, &entry.node, &verb.as_key())
    }

    /// `on`, which must be there.
    pub(super) fn on_text(&mut self, fields: &Fields<'t>) -> Option<&'t toml::Text> {
        let hosts: Vec<_> = self.reader.names.hosts.keys().map(String::as_str).collect();
        let hint = Some(list("hosts", &hosts)).filter(|hint| !hint.is_empty());
        let (key, entry) = fields.must(self.reader.ledger, "on", hint)?;
        fields::text(self.reader.ledger, &entry.node, key)
    }

    fn run(&mut self, word: &str, entry: &'t Entry, fields: &Fields<'t>) -> Option<Run> {
        let on = self.on_text(fields);
        let on = on.and_then(|text| self.reader.select_or_here(text));
        let asker = if matches!(on, Some(Where::Here)) { Asker::Runner } else { Asker::Host };
        if asker == Asker::Runner {
            self.reader.names.makes_files.set(true);
        }
        let eventually = fields.duration(self.reader.ledger, "eventually");
        let command = if word == "sh" {
            self.reader.script_command(fields, entry, asker)
        } else {
            self.command(fields, entry, asker, ShellHint::Run)
        };
        self.command_needs(entry, fields, command.as_ref(), asker);
        let checks = self.reader.checks(fields, asker);
        Some(Run { on: on?, command: command?, eventually, checks })
    }

    fn command(
        &mut self,
        fields: &Fields<'t>,
        entry: &'t Entry,
        asker: Asker,
        hint: ShellHint,
    ) -> Option<Command> {
        let command = self.reader.step_command(fields, entry, self.commands, asker, hint);
        if let Some(named) = self.named_command(entry).map(|named| named.key.name.clone()) {
            self.used.commands.insert(named);
        }
        command
    }

    fn named_command(&self, entry: &Entry) -> Option<&CommandTable<'t>> {
        let first = match &entry.node.value {
            Value::Text(text) => text.value.split_whitespace().next()?,
            Value::Array(nodes) => nodes.first()?.as_text()?.value.as_str(),
            _ => return None,
        };
        self.commands.iter().find(|table| table.key.name == first)
    }

    /// Programs need a provider that runs them; a user and a terminal are more.
    fn command_needs(&mut self, entry: &Entry, fields: &Fields<'_>, command: Option<&Command>, asker: Asker) {
        let span_of = |word: &str| fields.peek(word).map_or(entry.key.span, |entry| entry.key.span);
        if asker == Asker::Host {
            self.need(Capability::Programs, &entry.key.name, entry.key.span);
        }
        let pty = command.is_some_and(|command| command.pty);
        if pty && asker == Asker::Runner {
            let trouble = Trouble::new(Reason::BadValue, "what runs on `here` has no terminal of its own");
            self.reader.ledger.mistake(span_of("pty"), trouble);
        } else if pty {
            self.need(Capability::Pty, "pty", span_of("pty"));
        }
        if command.is_some_and(|command| command.user.is_some()) {
            self.need(Capability::Users, "user", span_of("user"));
        }
    }

    fn start(&mut self, entry: &'t Entry, fields: &Fields<'t>) -> Option<Start> {
        let on = self.on_text(fields).and_then(|text| self.reader.select(text));
        let command = self.command(fields, entry, Asker::Host, ShellHint::Start);
        self.command_needs(entry, fields, command.as_ref(), Asker::Host);
        let name = match &command {
            Some(command) => Some(command.name.clone()),
            None => self.likely_name(entry, fields),
        };
        if let Some(name) = name {
            self.reader.seen.processes.insert(name, entry.key.span);
        }
        Some(Start { on: on?, command: command? })
    }

    /// What a process whose command has a mistake would be called.
    fn likely_name(&self, entry: &Entry, fields: &Fields<'_>) -> Option<String> {
        let name = fields.peek("name").and_then(|name| name.node.as_text()).map(|name| name.value.as_str());
        let first = || match &entry.node.value {
            Value::Text(text) => text.value.split_whitespace().next(),
            Value::Array(nodes) => nodes.first().and_then(Node::as_text).map(|text| text.value.as_str()),
            _ => None,
        };
        name.or_else(first).map(super::process_name)
    }

    fn process(
        &mut self,
        verb: &'static grammar::Verb,
        entry: &'t Entry,
        fields: &Fields<'t>,
    ) -> Option<crate::Process> {
        let on = fields.get("on");
        let on = on.and_then(|(key, entry)| {
            Some((entry.key.span, fields::text(self.reader.ledger, &entry.node, key)?))
        });
        let text = self.value(verb, entry)?;
        self.reader.process(text, on)
    }

    fn wait(&mut self, verb: &'static grammar::Verb, entry: &'t Entry, fields: &Fields<'t>) -> Option<Wait> {
        let process = self.process(verb, entry, fields);
        let within = fields.duration(self.reader.ledger, "within");
        let checks = self.reader.checks(fields, Asker::Host);
        Some(Wait { process: process?, within, checks })
    }

    fn listen(&mut self, fields: &Fields<'t>) -> Option<Listen> {
        let Some((key, entry)) = fields.get("on") else {
            return Some(Listen { hosts: None, process: None });
        };
        let text = fields::text(self.reader.ledger, &entry.node, key)?;
        self.reader.listen(text)
    }

    fn pattern(&mut self, verb: &'static grammar::Verb, entry: &'t Entry) -> Option<crate::Pattern> {
        let text = self.value(verb, entry)?;
        self.reader.pattern(text, Asker::Runner)
    }

    fn wait_for(
        &mut self,
        verb: &'static grammar::Verb,
        entry: &'t Entry,
        fields: &Fields<'t>,
    ) -> Option<WaitFor> {
        let pattern = self.pattern(verb, entry);
        let on = self.listen(fields);
        let within = fields.duration(self.reader.ledger, "within");
        let since = self.since(fields);
        let hosts = match fields.get("at_least") {
            Some((key, entry)) => {
                let wanted = self.how_many(key, entry);
                self.check_how_many(wanted, on.as_ref(), entry);
                wanted
            }
            None => Some(HowMany::AtLeast(1)),
        };
        let save = self.reader.save(fields, true);
        Some(WaitFor { pattern: pattern?, on: on?, within, since: since?, hosts: hosts?, save })
    }

    fn how_many(&mut self, key: &Key, entry: &Entry) -> Option<HowMany> {
        match &entry.node.value {
            Value::Text(text) if text.value == "all" => Some(HowMany::All),
            _ => {
                let count = fields::count(self.reader.ledger, &entry.node, key.word, key.kind)?;
                Some(HowMany::AtLeast(usize::try_from(count).unwrap_or(usize::MAX)))
            }
        }
    }

    /// So many hosts must be meant, where it is known who is.
    fn check_how_many(&mut self, wanted: Option<HowMany>, on: Option<&Listen>, entry: &Entry) {
        let (Some(HowMany::AtLeast(wanted)), Some(on)) = (wanted, on) else { return };
        let meant = match &on.hosts {
            Some(hosts) => self.reader.known_hosts(hosts).map(|hosts| hosts.len()),
            None => Some(self.reader.names.hosts.len()),
        };
        let Some(meant) = meant else { return };
        if wanted > meant {
            let text = format!("a line on {wanted} hosts, of {meant} that are meant");
            let trouble = Trouble::new(Reason::BadValue, text).hint("\"all\" is each of them");
            self.reader.ledger.mistake(entry.node.span, trouble);
        }
    }

    fn find(&mut self, verb: &'static grammar::Verb, entry: &'t Entry, fields: &Fields<'t>) -> Option<Find> {
        let pattern = self.pattern(verb, entry);
        let on = self.listen(fields);
        let within = fields.duration(self.reader.ledger, "within");
        let since = self.since(fields);
        let save = self.reader.save(fields, true);
        let name = self.captures(fields);
        Some(Find { pattern: pattern?, on: on?, name: name?, within, since: since?, save })
    }

    /// The name that `as` gives to a host.
    fn captures(&mut self, fields: &Fields<'t>) -> Option<String> {
        let (key, entry) = fields.must(self.reader.ledger, "as", None)?;
        let text = fields::text(self.reader.ledger, &entry.node, key)?;
        let (name, span) = (text.value.clone(), text.inner());
        if ["all", "here"].contains(&name.as_str()) {
            let trouble = Trouble::new(Reason::BadName, format!("`{name}` has a meaning of its own"));
            self.reader.ledger.mistake(span, trouble);
            return None;
        }
        let taken = self.reader.names.host_taken(&name);
        self.reader.new_name(&name, span, "a host", taken)?;
        if let Some(first) = self.reader.seen.saved.get(&name).copied() {
            self.reader.ledger.duplicate(format!("`{name}` is already a saved value"), span, first);
            return None;
        }
        self.reader.seen.captured.insert(name.clone(), span);
        Some(name)
    }

    fn since(&mut self, fields: &Fields<'t>) -> Option<Option<Since>> {
        let Some((key, entry)) = fields.get("since") else { return Some(None) };
        let text = fields::text(self.reader.ledger, &entry.node, key)?;
        let words = [
            ("begin", Since::Begin),
            ("test", Since::Test),
            ("disturbance", Since::Disturbance),
            ("now", Since::Now),
        ];
        if let Some((_, since)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(Some(*since));
        }
        match netsplit_model::units::duration(&text.value) {
            Ok(time) => Some(Some(Since::Ago(time))),
            Err(_) => match nearest(&text.value, words.iter().map(|(word, _)| *word)) {
                Some(near) => {
                    let trouble =
                        Trouble::new(Reason::BadValue, format!("`since` knows no `{}`", text.value));
                    self.reader
                        .ledger
                        .mistake(text.inner(), trouble.hint(format!("did you mean `\"{near}\"`?")));
                    None
                }
                None => fields::wrong(self.reader.ledger, &entry.node, key.word, key.kind),
            },
        }
    }

    fn never(
        &mut self,
        verb: &'static grammar::Verb,
        entry: &'t Entry,
        fields: &Fields<'t>,
    ) -> Option<Never> {
        let pattern = self.pattern(verb, entry);
        let on = self.listen(fields);
        let since = self.since(fields);
        let lasts = fields.must(self.reader.ledger, "for", None);
        let lasts = lasts.and_then(|(key, entry)| fields::duration(self.reader.ledger, &entry.node, key));
        Some(Never { pattern: pattern?, on: on?, lasts: lasts?, since: since?.unwrap_or(Since::Now) })
    }

    fn kill(&mut self, verb: &'static grammar::Verb, entry: &'t Entry) -> Option<Verb> {
        let text = self.value(verb, entry)?;
        if text.value.contains('/') {
            return self.reader.process(text, None).map(Verb::KillProcess);
        }
        self.need(Capability::Kill, "kill", entry.key.span);
        self.reader.select(text).map(Verb::KillHosts)
    }

    fn signal(
        &mut self,
        verb: &'static grammar::Verb,
        entry: &'t Entry,
        fields: &Fields<'t>,
    ) -> Option<Verb> {
        let signal = self.value(verb, entry);
        let signal = signal.and_then(|text| self.reader.signal(&text.value, text.inner()));
        let on = self.on_text(fields)?;
        let on = self.reader.process(on, None);
        Some(Verb::Signal { signal: signal?, on: on? })
    }

    fn power(&mut self, verb: &'static grammar::Verb, entry: &'t Entry, fields: &Fields<'t>) -> Option<Verb> {
        let capability = if verb.word == "restart" { Capability::Kill } else { Capability::Pause };
        self.need(capability, verb.word, entry.key.span);
        let text = self.value(verb, entry);
        let on = text.and_then(|text| {
            if text.value.contains('/') {
                let trouble = Trouble::new(
                    Reason::BadValue,
                    format!("`{}` is for hosts, not for a process", verb.word),
                );
                let signal = if verb.word == "resume" { "CONT" } else { "STOP" };
                let hint = format!(r#"`{{ signal = "{signal}", on = "{}" }}` is for one"#, text.value);
                let trouble = if verb.word == "restart" { trouble } else { trouble.hint(hint) };
                self.reader.ledger.mistake(text.inner(), trouble);
                return None;
            }
            self.reader.select(text)
        });
        Some(match verb.word {
            "pause" => {
                let lasts = fields.duration(self.reader.ledger, "for");
                Verb::Pause { on: on?, lasts }
            }
            "restart" => {
                let within = fields.duration(self.reader.ledger, "within");
                Verb::Restart { on: on?, within }
            }
            _ => Verb::Resume(on?),
        })
    }

    fn together(&mut self, entry: &'t Entry) -> Option<Verb> {
        let Some(nodes) = entry.node.as_array() else {
            return fields::wrong(self.reader.ledger, &entry.node, "together", Kind::Steps);
        };
        let before = self.reader.seen.clone();
        let mut after = before.clone();
        let mut steps = Vec::new();
        for node in nodes {
            self.reader.seen = before.clone();
            steps.extend(self.step(node));
            self.same_faults(&before, &after);
            after.join(std::mem::take(&mut self.reader.seen));
        }
        self.reader.seen = after;
        if nodes.is_empty() {
            self.reader
                .ledger
                .mistake(entry.node.span, Trouble::new(Reason::BadValue, "nothing is done together"));
        }
        (steps.len() == nodes.len()).then_some(Verb::Together(steps))
    }

    /// Faults that two steps begin at the same time under one name.
    fn same_faults(&mut self, before: &Seen, others: &Seen) {
        let own: Vec<_> =
            self.reader.seen.faults.iter().map(|(name, fault)| (name.clone(), *fault)).collect();
        for (name, fault) in own {
            let is_new = before.faults.get(&name).is_none_or(|known| known.span != fault.span);
            let other = others.faults.get(&name).filter(|other| is_new && other.span != fault.span);
            if let Some(FaultSeen { span: first, healed: None }) = other {
                let text = format!("a fault `{name}` is in force already");
                self.reader.ledger.duplicate(text, fault.span, *first);
            }
        }
    }

    /// `do`: a procedure, or the steps of a matrix case.
    fn procedure(&mut self, verb: &'static grammar::Verb, entry: &'t Entry) -> Option<Verb> {
        let text = self.value(verb, entry)?;
        let whole = text.value.strip_prefix("%{").and_then(|rest| rest.strip_suffix('}'));
        if let Some(key) = whole
            && let Some((_, case, node, folder)) = self.chosen.iter().find(|(axis, ..)| *axis == key).cloned()
        {
            self.reader.names.note_use(key);
            return self.inner(case.to_owned(), node, &folder, text.inner());
        }
        let name = match whole {
            Some(key) if self.reader.names.value(key, Asker::Runner, &self.reader.seen).is_ok() => {
                self.reader.names.note_use(key);
                // None when it is read alone: the matrix has this name, and which case is not known.
                self.reader.constant(key)?
            }
            Some(key) => {
                let why = self.reader.names.value(key, Asker::Runner, &self.reader.seen).err()?;
                let sources = &self.reader.ledger.sources;
                let trouble = self.reader.names.unset(
                    key,
                    &why,
                    text.inner(),
                    Asker::Runner,
                    &self.reader.seen,
                    sources,
                );
                self.reader.ledger.mistake(text.inner(), trouble);
                return None;
            }
            None => text.value.clone(),
        };
        let Some(table) = self.procedures.iter().find(|table| table.key.name == name) else {
            self.no_procedure(&name, text.inner());
            return None;
        };
        self.used.procedures.insert(name.clone());
        let folder = Arc::clone(&table.folder);
        self.inner(name, table.steps, &folder, text.inner())
    }

    fn no_procedure(&mut self, name: &str, span: Span) {
        if self.reader.names.incomplete || self.reader.names.procedures.contains_key(name) {
            return;
        }
        let trouble = Trouble::new(Reason::UnknownName, format!("no procedure `{name}`"));
        let known: Vec<_> = self.reader.names.procedures.keys().map(String::as_str).collect();
        let case = self.reader.names.matrix.contains_key(name);
        let hint = match nearest(name, known.iter().copied()) {
            _ if case => format!("did you mean `\"%{{{name}}}\"`, the steps of the matrix case?"),
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => {
                "there are none; `[procedures.NAME]` with `steps` makes one".to_owned()
            }
            None => list("procedures", &known),
        };
        self.reader.ledger.mistake(span, trouble.hint(hint));
    }

    /// The steps that a `do` stands for.
    fn inner(&mut self, name: String, node: &'t Node, folder: &Arc<PathBuf>, span: Span) -> Option<Verb> {
        if self.doing.contains(&name) {
            let way: Vec<_> = self.doing.iter().chain([&name]).map(|name| format!("`{name}`")).collect();
            let text = format!("`{name}` does itself: {}", way.join(" does "));
            self.reader.ledger.mistake(span, Trouble::new(Reason::Circle, text));
            return None;
        }
        self.doing.push(name.clone());
        let outside = std::mem::replace(&mut self.reader.folder, Arc::clone(folder));
        let steps = match &node.value {
            Value::Table(_) => self.step(node).into_iter().collect(),
            _ => self.list(node, "steps"),
        };
        self.reader.folder = outside;
        self.doing.pop();
        Some(Verb::Do { name, steps })
    }
}

impl grammar::Verb {
    /// The verb as the key of its own value.
    pub(super) fn as_key(&self) -> Key {
        Key { word: self.word, kind: self.kind, must: true, example: self.example, about: self.about }
    }
}

/// The step in one line, for progress.
fn one_line(verb: &grammar::Verb, entry: &Entry, table: &Table, reader: &Reader<'_>) -> String {
    let short = |text: &str| {
        let text = reader.shown(text).split_whitespace().collect::<Vec<_>>().join(" ");
        match text.char_indices().nth(60) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        }
    };
    let value = match &entry.node.value {
        Value::Text(text) => short(&text.value),
        Value::Array(nodes) if verb.word == "together" => format!("{} steps", nodes.len()),
        Value::Array(nodes) if verb.word == "partition" => {
            let groups = nodes.iter().filter_map(Node::as_text).map(|text| text.value.as_str());
            short(&groups.collect::<Vec<_>>().join(" | "))
        }
        Value::Array(nodes) => {
            let words = nodes.iter().filter_map(Node::as_text).map(|text| text.value.as_str());
            short(&netsplit_model::words::join(words))
        }
        _ => short(reader.ledger.sources.slice(entry.node.span)),
    };
    let quoted = matches!(verb.kind, Kind::Command | Kind::Regex) || verb.word == "sh";
    let mut line = if quoted { format!("{} `{value}`", verb.word) } else { format!("{} {value}", verb.word) };
    let figures = ConditionWords::KEYS.into_iter().filter(|word| verb.takes(word).is_some());
    for word in figures.chain(["middle", "on", "as", "to", "after", "for"]) {
        let Some(entry) = table.get(word) else { continue };
        match &entry.node.value {
            Value::Text(text) => line += &format!(" {word} {}", short(&text.value)),
            Value::Integer(_) | Value::Float(_) => {
                line += &format!(" {word} {}", reader.ledger.sources.slice(entry.node.span));
            }
            _ => {}
        }
    }
    line
}
