//! Steps that move files and judge them: `put`, `get`, `expect`.

use globset::GlobBuilder;
use netsplit_model::{Reason, Trouble, nearest};

use super::steps::Steps;
use crate::fields::Fields;
use crate::names::{Asker, list};
use crate::source::Span;
use crate::toml::{self, Entry};
use crate::{Content, Expect, Get, Judged, Matcher, Put, Same, Text, grammar};

impl<'t> Steps<'_, 't> {
    pub(super) fn put(
        &mut self,
        verb: &'static grammar::Verb,
        entry: &'t Entry,
        fields: &Fields<'t>,
    ) -> Option<Put> {
        let on = self.on_text(fields).and_then(|text| self.reader.select(text));
        let mode = fields.mode(self.reader.ledger, "mode");
        let value = self.value(verb, entry);
        let (to, text) = (fields.text(self.reader.ledger, "to"), fields.text(self.reader.ledger, "text"));
        let (what, path) = match (to, text) {
            (Some(to), None) => {
                let from = value.and_then(|value| self.reader.local_path(value)).map(Content::From);
                (from, self.reader.host_path(to))
            }
            (None, Some(text)) => {
                let text = self.reader.template(text, Asker::Host).map(Content::Text);
                (text, value.and_then(|value| self.reader.host_path(value)))
            }
            (Some(_), Some(text)) => {
                let trouble = Trouble::new(Reason::BadValue, "`put` has both `to` and `text`");
                let hint = "with `text`, `put` is the path on the hosts";
                self.reader.ledger.mistake(text.inner(), trouble.hint(hint));
                (None, None)
            }
            (None, None) => {
                if fields.peek("to").is_none() && fields.peek("text").is_none() {
                    let trouble = Trouble::new(Reason::MissingKey, "a `put` step needs `to`, or `text`");
                    let hint = r#"such as `to = "/etc/kv"`, the path on the hosts"#;
                    self.reader.ledger.mistake(entry.key.span, trouble.hint(hint));
                }
                (None, None)
            }
        };
        Some(Put { on: on?, what: what?, path: path?, mode })
    }

    pub(super) fn get(
        &mut self,
        verb: &'static grammar::Verb,
        entry: &'t Entry,
        fields: &Fields<'t>,
    ) -> Option<Get> {
        let on = self.on_text(fields).and_then(|text| self.reader.select(text));
        let path = self.value(verb, entry).and_then(|text| self.reader.host_path(text));
        let to = match fields.text(self.reader.ledger, "to") {
            Some(to) => {
                self.reader.seen.fetched.push(to.value.clone());
                Some(self.fetched_path(to)?)
            }
            None => None,
        };
        Some(Get { on: on?, path: path?, to })
    }

    /// A path among the fetched files: it stays there.
    fn fetched_path(&mut self, text: &toml::Text) -> Option<Text> {
        let leaves = text.value.starts_with('/') || text.value.split('/').any(|part| part == "..");
        if leaves || text.value.is_empty() {
            let trouble = Trouble::new(Reason::BadValue, "this leaves the folder of fetched files");
            self.reader.ledger.mistake(text.inner(), trouble.hint(r#"a path such as "orders/""#));
            return None;
        }
        self.reader.template(text, Asker::Runner)
    }

    pub(super) fn expect(
        &mut self,
        verb: &'static grammar::Verb,
        entry: &'t Entry,
        fields: &Fields<'t>,
    ) -> Option<Expect> {
        let text = self.value(verb, entry);
        let is_value = text.is_some_and(|text| is_one_value(&text.value));
        let same = fields.text(self.reader.ledger, "same");
        let same_span = fields.peek("same").map(|entry| entry.key.span);
        let same = match same.map(|text| (text.value.as_str(), text)) {
            None => None,
            Some(("bytes", _)) => Some(Same::Bytes),
            Some(("prefix", _)) => Some(Same::Prefix),
            Some((_, text)) => {
                let trouble =
                    Trouble::new(Reason::BadValue, format!("`{}` is no way to be the same", text.value));
                self.reader.ledger.mistake(text.inner(), trouble.hint(r#""bytes" or "prefix""#));
                return None;
            }
        };
        let matcher = self.reader.matcher(fields, Asker::Runner);
        let matcher = Matcher { place: Some(self.reader.ledger.place(entry.key.span)), ..matcher };
        if verb.takes.iter().all(|key| fields.peek(key.word).is_none()) {
            let trouble = Trouble::new(Reason::MissingKey, "this `expect` says nothing to expect");
            let takes: Vec<_> = verb.takes.iter().map(|key| key.word).collect();
            self.reader.ledger.mistake(entry.key.span, trouble.hint(list("one of", &takes)));
        }
        let run = fields.flag(self.reader.ledger, "runs");
        if let Some(entry) = fields.peek("runs") {
            self.only_runs(verb, entry.key.span, fields);
            let which = self.reader.process(text?, None)?;
            return Some(Expect { what: Judged::Processes { which, run: run? }, matcher, same });
        }
        let what = if is_value {
            if let Some(span) = same_span {
                let trouble = Trouble::new(Reason::BadValue, "`same` compares files, and this is one value");
                self.reader.ledger.mistake(span, trouble);
            }
            self.reader.template(text?, Asker::Runner).map(Judged::Value)
        } else {
            self.files(text?)
        };
        Some(Expect { what: what?, matcher, same })
    }

    /// Whether a process runs says nothing of a text.
    fn only_runs(&mut self, verb: &'static grammar::Verb, span: Span, fields: &Fields<'t>) {
        let others = verb.takes.iter().filter(|key| key.word != "runs");
        for key in others.filter(|key| fields.peek(key.word).is_some()) {
            let text = format!("`runs` is about processes, and `{}` is not", key.word);
            self.reader.ledger.mistake(span, Trouble::new(Reason::BadValue, text));
        }
    }

    fn files(&mut self, text: &toml::Text) -> Option<Judged> {
        if text.value.contains("%{") {
            let trouble = Trouble::new(Reason::BadValue, "files are named without `%{…}`");
            let hint = r#"`*` stands for any name; a value is "%{NAME}" and nothing else"#;
            self.reader.ledger.mistake(text.inner(), trouble.hint(hint));
            return None;
        }
        let glob = match GlobBuilder::new(&text.value).literal_separator(true).build() {
            Ok(glob) if !text.value.is_empty() => glob,
            Ok(_) => {
                self.reader
                    .ledger
                    .mistake(text.inner(), Trouble::new(Reason::BadValue, "this names no file"));
                return None;
            }
            Err(error) => {
                let trouble = Trouble::new(
                    Reason::BadValue,
                    format!("`{}` names no files: {}", text.value, error.kind()),
                );
                self.reader.ledger.mistake(text.inner(), trouble);
                return None;
            }
        };
        let fetched = &self.reader.seen.fetched;
        let first = |path: &str| {
            path.split('/').find(|part| !part.is_empty() && *part != ".").unwrap_or("").to_owned()
        };
        let wanted = first(&text.value);
        let dynamic = |path: &str| path.contains(['*', '?', '[', '{', '%']);
        let found = fetched.iter().any(|to| dynamic(to) || dynamic(&wanted) || first(to) == wanted);
        if !found && !self.reader.seen.anything {
            let trouble =
                Trouble::new(Reason::UnknownName, format!("no earlier `get` fetched `{}`", text.value));
            let names: Vec<_> = fetched.iter().map(String::as_str).collect();
            let hint = match nearest(&wanted, fetched.iter().map(|to| to.trim_end_matches('/'))) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => {
                    r#"a value is written "%{NAME}"; files come with `get … to`"#.to_owned()
                }
                None => list("fetched", &names),
            };
            self.reader.ledger.mistake(text.inner(), trouble.hint(hint));
            return None;
        }
        Some(Judged::Files { glob: text.value.clone(), matcher: glob.compile_matcher() })
    }
}

/// Whether a text is one `%{NAME}` and nothing else.
fn is_one_value(text: &str) -> bool {
    let inner = text.trim().strip_prefix("%{").and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.contains(['{', '}']))
}
