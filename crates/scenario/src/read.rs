//! Makes typed values of what the tree holds: texts, regular expressions, selectors, commands. Each asks the names for
//! what it uses, so what comes out has nothing unknown in it.

pub(crate) mod checks;
pub(crate) mod command;
mod faults;
mod fetched;
pub(crate) mod steps;
pub(crate) mod tables;

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use netsplit_model::{HostName, ProcessName, Reason, Selector, Template, Trouble, check_identifier, nearest};

use crate::ledger::Ledger;
use crate::names::{Asker, Names, OwnFile, Seen, Whom, list};
use crate::source::Span;
use crate::toml::{self, Key};
use crate::{Listen, LocalPath, Pattern, Process, ProcessRef, Select, Text, Where};

/// Reads for one case, up to some step.
pub(crate) struct Reader<'a> {
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) names: &'a Names,
    /// The values of the matrix in this case.
    pub(crate) values: &'a IndexMap<String, String>,
    pub(crate) seen: Seen,
    /// Where relative paths count from.
    pub(crate) folder: Arc<PathBuf>,
}

impl Reader<'_> {
    /// A text with `%{…}`.
    pub(crate) fn template(&mut self, text: &toml::Text, asker: Asker) -> Option<Text> {
        let template = self.parse_template(text, asker)?;
        Some(Text::new(&text.value, template, self.ledger.place(text.inner())))
    }

    fn parse_template(&mut self, text: &toml::Text, asker: Asker) -> Option<Template> {
        let template = match Template::parse(&text.value) {
            Ok(template) => template,
            Err(error) => {
                let trouble = Trouble::new(Reason::BadValue, error.to_string());
                self.ledger
                    .mistake(text.part(error.span()), trouble.hint("a `%{` of its own is written `%%{`"));
                return None;
            }
        };
        let mut known = true;
        for (name, range) in template.names() {
            self.names.note_use(name);
            if let Err(why) = self.names.value(name, asker, &self.seen) {
                let span = text.part(range.clone());
                let trouble = self.names.unset(name, &why, span, asker, &self.seen, &self.ledger.sources);
                self.ledger.mistake(span, trouble);
                known = false;
            }
        }
        known.then_some(template)
    }

    /// A regular expression with `%{…}`, whose values stand for themselves.
    pub(crate) fn pattern(&mut self, text: &toml::Text, asker: Asker) -> Option<Pattern> {
        let template = self.parse_template(text, asker)?;
        if text.value.is_empty() {
            let trouble = Trouble::new(Reason::BadRegex, "an empty expression matches every line");
            self.ledger.mistake(text.inner(), trouble);
            return None;
        }
        // A stand-in of the same length, so that places stay where they are.
        let mut stand_in = text.value.clone();
        for (_, range) in template.names() {
            stand_in.replace_range(range.clone(), &"x".repeat(range.len()));
        }
        let mut parser = regex_syntax::ParserBuilder::new().utf8(false).build();
        if let Err(error) = parser.parse(&stand_in) {
            self.bad_regex(text, &error);
            return None;
        }
        let has_names = template.names().next().is_some();
        let plain = if has_names { Ok(stand_in) } else { template.render(&text.value, |_| None, []) };
        let Ok(regex) = crate::step::compile(&plain.unwrap_or_default()) else {
            let trouble = Trouble::new(Reason::BadRegex, "this expression is too large to compile");
            self.ledger.mistake(text.inner(), trouble);
            return None;
        };
        let place = self.ledger.place(text.inner());
        Some(Pattern::new(&text.value, Some(regex).filter(|_| !has_names), template, place))
    }

    fn bad_regex(&mut self, text: &toml::Text, error: &regex_syntax::Error) {
        let (what, span) = match error {
            regex_syntax::Error::Parse(error) => (error.kind().to_string(), *error.span()),
            regex_syntax::Error::Translate(error) => (error.kind().to_string(), *error.span()),
            _ => (String::new(), regex_syntax::ast::Span::splat(regex_syntax::ast::Position::new(0, 1, 1))),
        };
        let range = span.start.offset..span.end.offset.max(span.start.offset);
        let span = text.part(range);
        let what = what.split(['.', ';']).next().unwrap_or_default().replacen("invalid", "wrong", 1);
        let trouble = Trouble::new(Reason::BadRegex, format!("this is no regular expression: {what}"));
        self.ledger.mistake(span, trouble);
    }

    /// Hosts.
    pub(crate) fn select(&mut self, text: &toml::Text) -> Option<Select> {
        self.select_whom(text, Whom::Hosts)
    }

    /// Those who may be named here.
    pub(crate) fn select_whom(&mut self, text: &toml::Text, whom: Whom) -> Option<Select> {
        match self.select_part(text, 0..text.value.len(), whom)? {
            Where::Hosts(select) => Some(select),
            Where::Here => {
                let trouble =
                    Trouble::new(Reason::BadValue, "`here` is no host but the machine netsplit runs on");
                self.ledger.mistake(text.inner(), trouble.hint("only `run` and `sh` go there"));
                None
            }
        }
    }

    /// Hosts, or `here`.
    pub(crate) fn select_or_here(&mut self, text: &toml::Text) -> Option<Where> {
        let whole = 0..text.value.len();
        self.select_part(text, whole, Whom::Hosts)
    }

    /// The hosts that a part of a text means.
    fn select_part(&mut self, text: &toml::Text, range: std::ops::Range<usize>, whom: Whom) -> Option<Where> {
        let (expanded, exact) = self.expand(text, range.clone())?;
        self.select_filled(text, range, expanded, exact, whom)
    }

    /// The hosts that `expanded` means, which is what `range` of `text` says, `exact`ly or with values filled in.
    fn select_filled(
        &mut self,
        text: &toml::Text,
        range: std::ops::Range<usize>,
        expanded: String,
        exact: bool,
        whom: Whom,
    ) -> Option<Where> {
        let written = &text.value[range.clone()];
        // Where values were filled in, the whole is marked.
        let part = |inner: std::ops::Range<usize>| match exact {
            true => text.part(range.start + inner.start..range.start + inner.end),
            false => text.part(range.clone()),
        };
        if expanded.trim() == "here" {
            return Some(Where::Here);
        }
        let selector = match Selector::parse(&expanded) {
            Ok(selector) => selector,
            Err(error) => {
                let span = if written.is_empty() { text.inner() } else { part(error.span()) };
                self.ledger.mistake(span, Trouble::new(Reason::BadValue, error.to_string()));
                return None;
            }
        };
        let mut known = true;
        for term in &selector.terms {
            let span = part(term.span.clone());
            if term.name == "here" {
                let text = "`here` stands alone: it is no host but the machine netsplit runs on";
                self.ledger.mistake(span, Trouble::new(Reason::BadValue, text));
                known = false;
            } else if !self.names.is_named(&term.name, whom, &self.seen) {
                known = false;
                if !self.names.incomplete {
                    let (seen, sources) = (&self.seen, &self.ledger.sources);
                    let trouble = self.names.unknown_host(&term.name, whom, span, seen, sources);
                    self.ledger.mistake(span, trouble);
                }
            }
        }
        let select = Select { text: expanded, selector, place: self.ledger.place(part(0..written.len())) };
        if known && self.selects_nobody(&select) {
            let text = format!("`{}` leaves nobody", select.text);
            self.ledger.mistake(part(0..written.len()), Trouble::new(Reason::BadValue, text));
            return None;
        }
        known.then_some(Where::Hosts(select))
    }

    /// Fills in what is known while reading: matrix values, constants, and captured names by themselves.
    fn expand(&mut self, text: &toml::Text, range: std::ops::Range<usize>) -> Option<(String, bool)> {
        let written = &text.value[range.clone()];
        if !written.contains("%{") {
            return Some((written.to_owned(), true));
        }
        let template = match Template::parse(written) {
            Ok(template) => template,
            Err(error) => {
                let at = error.span();
                let span = text.part(range.start + at.start..range.start + at.end);
                self.ledger.mistake(span, Trouble::new(Reason::BadValue, error.to_string()));
                return None;
            }
        };
        let mut known = true;
        for (name, at) in template.names() {
            self.names.note_use(name);
            if self.constant(name).is_some() {
                continue;
            }
            known = false;
            let span = text.part(range.start + at.start..range.start + at.end);
            let trouble = match self.names.value(name, Asker::Runner, &self.seen) {
                Ok(()) => self.not_constant(name),
                Err(why) => {
                    self.names.unset(name, &why, span, Asker::Runner, &self.seen, &self.ledger.sources)
                }
            };
            self.ledger.mistake(span, trouble);
        }
        let filled = template.render(written, |name| self.constant(name), []);
        known.then(|| filled.ok()).flatten().map(|filled| (filled, false))
    }

    fn not_constant(&self, name: &str) -> Trouble {
        let trouble =
            Trouble::new(Reason::BadValue, format!("`%{{{name}}}` is not known before the test runs"));
        trouble.hint(match self.names.matrix.contains_key(name) {
            true => "what stands outside of the tests is the same in every case",
            false => "here only values of the matrix, of `-s` and constant variables can be filled in",
        })
    }

    /// What `%{name}` is, when that is known while reading; a captured host is its name.
    pub(crate) fn constant(&self, name: &str) -> Option<String> {
        let captured = || self.seen.captured.contains_key(name).then(|| name.to_owned());
        self.fixed(name).or_else(captured)
    }

    /// The value of a matrix key in this case, or of a variable that is the same for everybody.
    fn fixed(&self, name: &str) -> Option<String> {
        let variable = || self.names.variables.get(name).and_then(|variable| variable.constant.clone());
        self.values.get(name).cloned().or_else(variable)
    }

    /// `text` with what is known while reading, to be shown.
    pub(crate) fn shown(&self, text: &str) -> String {
        let value = |name: &str| Some(self.fixed(name).unwrap_or_else(|| format!("%{{{name}}}")));
        let filled = Template::parse(text).ok().and_then(|template| template.render(text, value, []).ok());
        filled.unwrap_or_else(|| text.to_owned())
    }

    /// Whether all names are known, and what they take away is all that they join.
    fn selects_nobody(&self, select: &Select) -> bool {
        self.known_hosts(select).is_some_and(|hosts| hosts.is_empty())
    }

    /// The hosts meant, when all names are known.
    pub(crate) fn known_hosts(&self, select: &Select) -> Option<Vec<HostName>> {
        let router = |name: &str| Some(vec![self.names.routers.get(name)?.1.clone()?]);
        let named = |name: &str| match name {
            "all" => Some(self.names.hosts.values().map(|(_, host)| host.clone()).collect()),
            _ => {
                // A role without hosts is a mistake of its own.
                let role = self.names.roles.get(name).map(|(_, hosts)| hosts.clone());
                if role.as_ref().is_some_and(Vec::is_empty) {
                    return None;
                }
                let host = || self.names.hosts.get(name).map(|(_, host)| vec![host.clone()]);
                role.or_else(host).or_else(|| router(name))
            }
        };
        if self.names.incomplete { None } else { select.resolve(named).ok() }
    }

    /// `members`, `a/kvd` or `members/kvd`: whose lines.
    pub(crate) fn listen(&mut self, text: &toml::Text) -> Option<Listen> {
        let Some((_, process)) = text.value.split_once('/') else {
            return Some(Listen { hosts: Some(self.select(text)?), process: None });
        };
        let at = text.value.len() - process.len();
        let process = self.process_ref(text, at);
        let Where::Hosts(hosts) = self.select_part(text, 0..at - 1, Whom::Hosts)? else {
            let trouble = Trouble::new(Reason::BadValue, "nothing is started on `here`");
            self.ledger.mistake(text.inner(), trouble);
            return None;
        };
        Some(Listen { hosts: Some(hosts), process: Some(process?) })
    }

    /// `kvd`, `a/kvd` or `members/kvd.2`: a started process. `on` says the hosts when the text does not.
    pub(crate) fn process(&mut self, text: &toml::Text, on: Option<(Span, &toml::Text)>) -> Option<Process> {
        let Some((_, process)) = text.value.split_once('/') else {
            let hosts = on.map(|(_, on)| self.select(on));
            let process = self.process_ref(text, 0)?;
            // `Some(None)`: there is an `on`, and it is wrong.
            return match hosts {
                Some(None) => None,
                hosts => Some(Process { hosts: hosts.flatten(), process }),
            };
        };
        let at = text.value.len() - process.len();
        if let Some((span, _)) = on {
            let text = format!("`{}` says already on which hosts", text.value);
            self.ledger.mistake(span, Trouble::new(Reason::BadValue, text));
        }
        let process = self.process_ref(text, at);
        let hosts = match self.select_part(text, 0..at - 1, Whom::Hosts)? {
            Where::Hosts(hosts) => hosts,
            Where::Here => {
                let trouble = Trouble::new(Reason::BadValue, "nothing is started on `here`");
                self.ledger.mistake(text.inner(), trouble);
                return None;
            }
        };
        Some(Process { hosts: Some(hosts), process: process? })
    }

    /// The process that the text names from `at` on: `kvd` or `kvd.2`.
    fn process_ref(&mut self, text: &toml::Text, at: usize) -> Option<ProcessRef> {
        let written = &text.value[at..];
        let numbered = written.rsplit_once('.').and_then(|(name, number)| Some((name, number.parse().ok()?)));
        let (name, number) = match numbered {
            Some((name, number)) if number > 0 => (name, Some(number)),
            _ => (written, None),
        };
        let name = process_name(name);
        if !self.seen.processes.contains_key(&name) && !self.seen.anything && !self.names.incomplete {
            let span = if written.is_empty() { text.inner() } else { text.part(at..text.value.len()) };
            let text = format!("no process `{written}` was started before this step");
            let started: Vec<_> = self.seen.processes.keys().map(String::as_str).collect();
            let hint = match nearest(&name, started.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if started.is_empty() => "`start` starts one".to_owned(),
                None => list("started", &started),
            };
            self.ledger.mistake(span, Trouble::new(Reason::UnknownName, text).hint(hint));
            return None;
        }
        Some(ProcessRef { name, number })
    }

    /// A path on a host.
    pub(crate) fn host_path(&mut self, text: &toml::Text) -> Option<Text> {
        if !text.value.starts_with(['/', '%']) {
            let text_ = format!("`{}` is no path on a host: it must begin with `/`", text.value);
            self.ledger.mistake(text.inner(), Trouble::new(Reason::BadValue, text_));
            return None;
        }
        self.template(text, Asker::Host)
    }

    /// A path beside the file that says it.
    pub(crate) fn local_path(&mut self, text: &toml::Text) -> Option<LocalPath> {
        if text.value.is_empty() {
            self.ledger.mistake(text.inner(), Trouble::new(Reason::BadValue, "this path is empty"));
            return None;
        }
        let path = self.template(text, Asker::Runner)?;
        if !text.value.contains('%') {
            let path = self.folder.join(&text.value);
            let own = OwnFile { path, written: text.value.clone(), span: text.inner(), is_program: false };
            self.names.own_files.borrow_mut().push(own);
        }
        Some(LocalPath { path, folder: Arc::clone(&self.folder) })
    }

    /// A name that a step gives to something new; `taken` is what has it already.
    pub(crate) fn new_name(
        &mut self,
        name: &str,
        span: Span,
        what: &str,
        taken: Option<(&'static str, Option<Span>)>,
    ) -> Option<()> {
        if !check_identifier(name) {
            let text = format!("`{name}` cannot be the name of {what}");
            let hint = "a letter or `_`, then letters, digits, `_` and `-`";
            self.ledger.mistake(span, Trouble::new(Reason::BadName, text).hint(hint));
            return None;
        }
        if let Some((known, first)) = taken {
            let trouble = Trouble::new(Reason::DuplicateName, format!("`{name}` is already {known}"));
            let first = first.map(|first| self.ledger.sources.named_from(first, span));
            self.ledger.mistake(
                span,
                match first {
                    Some(first) => trouble.hint(format!("first {first}")),
                    None => trouble,
                },
            );
            return None;
        }
        Some(())
    }
}

impl Names {
    /// Says that something asks for `%{name}`.
    pub(crate) fn note_use(&self, name: &str) {
        if !self.used.borrow().contains(name) {
            self.used.borrow_mut().insert(name.to_owned());
            if let Some(variable) = self.variables.get(name) {
                variable.uses.iter().for_each(|inner| self.note_use(inner));
            }
        }
    }
}

/// The name of a process as it is shown: what no file name may contain becomes `_`.
pub(crate) fn process_name(text: &str) -> String {
    let base = text.rsplit('/').next().unwrap_or(text);
    let host = HostName::numbered(1).remove(0);
    ProcessName::new(host, base, 1).name().to_owned()
}

/// Whether a table of the user's names may call something `key`.
pub(crate) fn good_key(ledger: &mut Ledger, key: &Key, what: &str) -> bool {
    let good = check_identifier(&key.name);
    if !good {
        let text = format!("`{}` cannot be the name of {what}", key.name);
        let hint = "a letter or `_`, then letters, digits, `_` and `-`";
        ledger.mistake(key.span, Trouble::new(Reason::BadName, text).hint(hint));
    }
    good
}
