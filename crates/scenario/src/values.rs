//! What `%{…}` is while a scenario runs, and the files that templates make. Addresses, captured hosts and saved values
//! come from the runner; all else stands in the scenario.

use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};
use netsplit_model::{HostName, Reason, Trouble, nearest};
use regex::bytes::Regex;

use crate::ledger::Ledger;
use crate::names::{HOST_WORDS, Names, list};
use crate::source::Span;
use crate::{Case, Pattern, Scenario, Text, Variable};

/// What a template knows of the host it is filled in for, beside all variables.
const TEMPLATE_WORDS: &[&str] = &["host", "index", "address", "address6", "role", "count", "peers"];

/// A host that is there.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// Its name.
    pub name: HostName,
    /// Its IPv4 address.
    pub address: String,
    /// Its IPv6 address.
    pub address6: String,
}

/// What `%{…}` is, at one moment of a run.
#[expect(missing_debug_implementations, reason = "two of its fields are functions")]
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// What is run.
    pub scenario: &'a Scenario,
    /// Which case of it.
    pub case: &'a Case,
    /// All hosts.
    pub hosts: &'a [HostFacts],
    /// The run's id.
    pub run: &'a str,
    /// The run's seed.
    pub seed: u64,
    /// What steps captured and saved; the host is the one that asks, which may have saved a value of its own.
    pub made: &'a dyn Fn(&str, Option<&HostName>) -> Option<String>,
    /// Where `files.NAME` lies on a host.
    pub file: &'a dyn Fn(&str, &HostName) -> Option<String>,
}

/// A file for `template`, which was read and parsed.
#[derive(Clone, Debug)]
pub struct FileTemplate {
    /// As the scenario names it.
    pub name: String,
    source: String,
}

impl Values<'_> {
    /// What `%{name}` is for `host`, or for the runner itself.
    pub fn get(&self, name: &str, host: Option<&HostName>) -> Option<String> {
        if HOST_WORDS.contains(&name) {
            return self.of_host(name, host?);
        }
        if let Some(file) = name.strip_prefix("file:") {
            return (self.file)(file, host?);
        }
        match name {
            "run" => return Some(self.run.to_owned()),
            "seed" => return Some(self.seed.to_string()),
            _ => {}
        }
        if let Some(value) = self.case.values.get(name) {
            return Some(value.clone());
        }
        match self.scenario.variables.get(name) {
            Some(Variable::Text(text)) => text.render(|name| self.get(name, host)).ok(),
            Some(Variable::Each { hosts, text, join }) => {
                let hosts = hosts.resolve(|name| self.scenario.named(name)).ok()?;
                let each = hosts.iter().map(|host| text.render(|name| self.get(name, Some(host))).ok());
                Some(each.collect::<Option<Vec<_>>>()?.join(join))
            }
            None => (self.made)(name, host),
        }
    }

    /// `text` with all values filled in.
    ///
    /// # Errors
    /// A value that no step made: a captured host or a saved value.
    pub fn text(&self, text: &Text, host: Option<&HostName>) -> Result<String, Box<Trouble>> {
        text.render(|name| self.get(name, host)).map_err(|unset| {
            let trouble = Trouble::new(Reason::UnsetVariable, unset.to_string());
            Box::new(trouble.at(Some(text.place.clone())))
        })
    }

    /// `pattern` with all values filled in.
    ///
    /// # Errors
    /// A value that no step made: a captured host or a saved value.
    pub fn pattern(&self, pattern: &Pattern) -> Result<Regex, Box<Trouble>> {
        pattern.regex(|name| self.get(name, None))
    }

    /// What `template` makes for `host`.
    ///
    /// # Errors
    /// A value that is not set, or an operation that the template's language does not have.
    pub fn template(&self, template: &FileTemplate, host: &HostName) -> Result<String, Box<Trouble>> {
        let environment = environment();
        let bad = |error: &minijinja::Error| {
            let line = error.line().map(|line| format!(":{line}")).unwrap_or_default();
            let text =
                format!("the template {}{line} does not work for {host}: {}", template.name, said(error));
            Box::new(Trouble::new(Reason::UnsetVariable, text))
        };
        let compiled =
            environment.template_from_named_str(&template.name, &template.source).map_err(|e| bad(&e))?;
        compiled.render(self.template_values(host)).map_err(|error| bad(&error))
    }

    fn template_values(&self, host: &HostName) -> Value {
        let variables = self.scenario.variables.keys().chain(self.case.values.keys());
        let mut values: Vec<(String, Value)> = variables
            .filter_map(|name| Some((name.clone(), Value::from(self.get(name, Some(host))?))))
            .collect();
        values.extend(self.host_values(host));
        let role = self.role(host);
        let peers = role.map(|(_, hosts, _)| hosts).unwrap_or_default();
        let peers: Vec<_> = peers.iter().map(|peer| Value::from_pairs(self.host_values(peer))).collect();
        values.push(("peers".to_owned(), Value::from(peers)));
        Value::from_pairs(values)
    }

    fn host_values(&self, host: &HostName) -> Vec<(String, Value)> {
        let value = |word: &&str| {
            let text = self.of_host(word, host)?;
            let number = ["index", "count"].contains(word).then(|| text.parse::<u64>().ok()).flatten();
            Some(((*word).to_owned(), number.map_or_else(|| Value::from(text.clone()), Value::from)))
        };
        HOST_WORDS.iter().filter_map(value).collect()
    }

    fn of_host(&self, word: &str, host: &HostName) -> Option<String> {
        let facts = self.hosts.iter().find(|facts| facts.name == *host);
        let (role, hosts, index) = self.role(host)?;
        Some(match word {
            "host" => host.to_string(),
            "role" => role.to_string(),
            "index" => index.to_string(),
            "count" => hosts.len().to_string(),
            "address" => facts?.address.clone(),
            "address6" => facts?.address6.clone(),
            _ => return None,
        })
    }

    /// The role of a host, all hosts of the role, and which of them it is.
    fn role(&self, host: &HostName) -> Option<(&HostName, &[HostName], usize)> {
        self.scenario.roles.iter().find_map(|role| {
            let index = role.hosts.iter().position(|one| one == host)?;
            Some((&role.name, role.hosts.as_slice(), index))
        })
    }
}

impl FileTemplate {
    /// Reads a template and asks for all its names.
    pub(crate) fn read(
        ledger: &mut Ledger,
        names: &Names,
        name: &str,
        path: &Path,
        source: String,
    ) -> Option<Self> {
        let span = ledger.sources.add(&crate::load::shown(path), path, source.clone());
        let environment = environment();
        let compiled = match environment.template_from_named_str(name, &source) {
            Ok(compiled) => compiled,
            Err(error) => {
                let range = error.range().map_or(0..0, |range| range.start..range.end.max(range.start));
                let at = Span::new(span.start + range.start..span.start + range.end.min(source.len()));
                ledger.mistake(
                    at,
                    Trouble::new(Reason::Syntax, format!("this is no template: {}", said(&error))),
                );
                return None;
            }
        };
        let mut undeclared: Vec<_> = compiled.undeclared_variables(false).into_iter().collect();
        undeclared.sort();
        let globals: Vec<_> = environment.globals().map(|(name, _)| name.to_owned()).collect();
        let mut known = true;
        for name in undeclared.into_iter().filter(|name| !globals.contains(name)) {
            names.note_use(&name);
            let is_known = TEMPLATE_WORDS.contains(&name.as_str())
                || names.variables.contains_key(&name)
                || names.matrix.contains_key(&name)
                || names.incomplete;
            if !is_known {
                known = false;
                unknown(ledger, names, &name, &source, span);
            }
        }
        known.then(|| Self { name: name.to_owned(), source })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }
}

fn unknown(ledger: &mut Ledger, names: &Names, name: &str, source: &str, span: Span) {
    let at = find_word(source, name);
    let at = at.map_or_else(|| span.point(), |at| Span::new(span.start + at..span.start + at + name.len()));
    if name == "secrets" {
        let text = "`secrets` needs keys that are made for each run, which this version does not have";
        return ledger.mistake(at, Trouble::new(Reason::NotYet, text));
    }
    let known = names.variables.keys().chain(names.matrix.keys()).map(String::as_str);
    let known: Vec<_> = TEMPLATE_WORDS.iter().copied().chain(known).collect();
    let trouble = Trouble::new(Reason::UnknownVariable, format!("`{name}` is not set"));
    let hint = nearest(name, known.iter().copied());
    let hint =
        hint.map_or_else(|| list("known in a template", &known), |near| format!("did you mean `{near}`?"));
    ledger.mistake(at, trouble.hint(hint));
}

/// Where a template first says `word` between braces.
fn find_word(source: &str, word: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(word).map(|(at, _)| at).find(|&at| {
        let before = source[..at].chars().next_back();
        let behind = source[at + word.len()..].chars().next();
        let opened = [source[..at].rfind("{{"), source[..at].rfind("{%")].into_iter().flatten().max();
        let closed = [source[..at].rfind("}}"), source[..at].rfind("%}")].into_iter().flatten().max();
        opened > closed && !before.is_some_and(|c| is_part(c) || c == '.') && !behind.is_some_and(is_part)
    })
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Lines that only hold a `{% … %}` leave nothing behind, and the last newline stays: as in files written by hand.
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    environment.set_debug(true);
    // A file for a host is no web page.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment
}

/// What went wrong, without the engine's name for it where there is more to say.
fn said(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    what.replacen("invalid", "wrong", 1)
}
