//! Commands: words, scripts, and the words of a step over those of a named command.

use std::sync::Arc;

use netsplit_model::{Reason, Template, Trouble, nearest, signal, words};

use super::{Reader, process_name};
use crate::fields::{self, Fields};
use crate::grammar::{self, COMMAND, Key, Kind};
use crate::ledger::Ledger;
use crate::names::{Asker, OwnFile};
use crate::read::tables::CommandTable;
use crate::source::Span;
use crate::toml::{self, Entry, Node, Value};
use crate::{Command, Env, Program, Text};

/// How a shell is asked for where a command needs one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ShellHint {
    Run,
    Start,
    Table,
    Build,
}

impl ShellHint {
    fn text(self) -> &'static str {
        match self {
            Self::Run => "write `sh = '…'` instead of `run`",
            Self::Start => "give `[commands.NAME]` an `sh = '…'` and start it by its name",
            Self::Table => "write `sh = '…'` instead of `run`",
            Self::Build => r#"write `["sh", "-c", "…"]`"#,
        }
    }
}

/// Programs to whom a `$NAME` in an argument means something: it is theirs to read.
const READ_DOLLARS: &[&str] = &[
    "sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "busybox", "awk", "gawk", "mawk", "sed", "grep",
    "egrep", "rg", "jq", "yq", "perl", "python", "python3", "ruby", "node", "php", "lua", "make", "expect",
    "envsubst", "ssh", "su", "xargs",
];

/// A word of a command: what it says, and where.
pub(crate) struct Word<'t> {
    pub(crate) text: String,
    pub(crate) span: Span,
    /// The text that it is a part of.
    pub(crate) source: &'t toml::Text,
}

impl Reader<'_> {
    /// The words of a command. `None` when there is a mistake in them.
    pub(crate) fn words<'t>(
        &mut self,
        node: &'t Node,
        key: (&str, Kind),
        hint: ShellHint,
    ) -> Option<Vec<Word<'t>>> {
        match &node.value {
            Value::Text(text) => split(self.ledger, text, hint),
            Value::Array(nodes) => {
                let word = |node: &'t Node| {
                    let Some(text) = node.as_text() else {
                        return fields::wrong(self.ledger, node, key.0, key.1);
                    };
                    Some(Word { text: text.value.clone(), span: text.inner(), source: text })
                };
                let words: Option<Vec<_>> = nodes.iter().map(word).collect();
                if words.as_ref().is_some_and(|words| words.first().is_none_or(|first| first.text.is_empty()))
                {
                    self.ledger.mistake(node.span, Trouble::new(Reason::BadValue, "the command is empty"));
                    return None;
                }
                words
            }
            _ => fields::wrong(self.ledger, node, key.0, key.1),
        }
    }

    /// The words as texts whose names are known.
    fn texts(&mut self, words: &[Word<'_>], asker: Asker) -> Option<Vec<Text>> {
        let mut known = true;
        for (index, word) in words.iter().enumerate() {
            // Names are checked in the text as written, where their places are.
            let same = index > 0 && std::ptr::eq(words[index - 1].source, word.source);
            known &= same || self.template(word.source, asker).is_some();
        }
        let text = |word: &Word<'_>| {
            let template = Template::parse(&word.text).ok()?;
            Some(Text::new(&word.text, template, self.ledger.place(word.span)))
        };
        let texts: Option<Vec<_>> = words.iter().map(text).collect();
        texts.filter(|_| known)
    }

    /// The command of a `run` or `start`, with what the step itself says about it.
    pub(crate) fn step_command(
        &mut self,
        fields: &Fields<'_>,
        entry: &Entry,
        tables: &[CommandTable<'_>],
        asker: Asker,
        hint: ShellHint,
    ) -> Option<Command> {
        let words = self.words(&entry.node, (&entry.key.name, Kind::Command), hint);
        let named =
            words.as_ref().and_then(|words| tables.iter().find(|table| table.key.name == words[0].text));
        if let (Some(words), None) = (&words, named) {
            self.own_program(words, asker);
            self.nearly_named(words, tables);
        }
        let base = match named {
            Some(table) => self.named_command(table, asker).map(Some),
            None => Some(None),
        };
        let further =
            words.as_ref().and_then(|words| self.texts(&words[usize::from(named.is_some())..], asker));
        let program = words.as_ref().map(|words| words[0].text.clone());
        let own = self.own_words(fields, asker);
        let mut command = match base? {
            Some(mut base) => {
                base.program.words.extend(further?);
                base
            }
            None => {
                let program = Program { words: further?, script: None, folder: Arc::clone(&self.folder) };
                bare(process_name(&words?[0].text), program)
            }
        };
        own.put_over(&mut command);
        let templated = program.is_some_and(|program| program.contains("%{"));
        if matches!(hint, ShellHint::Start) && templated && fields.get("name").is_none() {
            let text = "a process whose program is a `%{…}` needs a `name`";
            self.ledger.mistake(entry.key.span, Trouble::new(Reason::MissingKey, text));
            return None;
        }
        Some(command)
    }

    /// A program of the user's that hosts are to get must be there.
    fn own_program(&mut self, words: &[Word<'_>], asker: Asker) {
        let Some(Word { text, span, .. }) = words.first() else { return };
        let is_own = text.contains('/') && !text.starts_with('/') && !text.contains('%');
        // What nobody starts is not missed.
        if is_own && asker == Asker::Host && !self.seen.anything {
            let (path, written) = (self.folder.join(text), text.clone());
            self.names.own_files.borrow_mut().push(OwnFile { path, written, span: *span, is_program: true });
        }
    }

    /// A word alone that is nearly the name of a command is likely a slip. It may be a program all the same.
    fn nearly_named(&mut self, words: &[Word<'_>], tables: &[CommandTable<'_>]) {
        let [word] = words else { return };
        if let Some(near) = nearest(&word.text, tables.iter().map(|table| table.key.name.as_str())) {
            let text = format!("no command is called `{}`: a program of the hosts is meant", word.text);
            let trouble = Trouble::new(Reason::UnknownName, text);
            self.ledger.warning(word.span, trouble.hint(format!("did you mean `{near}`?")));
        }
    }

    /// The command of an `sh` step.
    pub(crate) fn script_command(
        &mut self,
        fields: &Fields<'_>,
        entry: &Entry,
        asker: Asker,
    ) -> Option<Command> {
        let script = match entry.node.as_text() {
            Some(text) => self.script(text, asker),
            None => fields::wrong(self.ledger, &entry.node, "sh", Kind::Text),
        };
        let own = self.own_words(fields, asker);
        let program = Program { words: Vec::new(), script: Some(script?), folder: Arc::clone(&self.folder) };
        let mut command = bare("sh".to_owned(), program);
        own.put_over(&mut command);
        Some(command)
    }

    fn script(&mut self, text: &toml::Text, asker: Asker) -> Option<Text> {
        if text.value.trim().is_empty() {
            self.ledger.mistake(text.inner(), Trouble::new(Reason::BadValue, "the script is empty"));
            return None;
        }
        self.template(text, asker)
    }

    /// A command of `[commands]`, as it is at this step.
    fn named_command(&mut self, table: &CommandTable<'_>, asker: Asker) -> Option<Command> {
        let folder = std::mem::replace(&mut self.folder, Arc::clone(&table.folder));
        let command = self.table_command(table, asker);
        self.folder = folder;
        command
    }

    pub(crate) fn table_command(&mut self, table: &CommandTable<'_>, asker: Asker) -> Option<Command> {
        let name = process_name(&table.key.name);
        let folder = Arc::clone(&table.folder);
        let inner = match &table.node.value {
            Value::Text(text) => {
                let words = split(self.ledger, text, ShellHint::Table)?;
                self.own_program(&words, asker);
                let words = self.texts(&words, asker)?;
                return Some(bare(name, Program { words, script: None, folder }));
            }
            Value::Table(inner) => inner,
            _ => {
                let kind = Kind::Either(&grammar::TEXT_OR_COMMAND);
                return fields::wrong(self.ledger, table.node, &table.key.name, kind);
            }
        };
        let fields = Fields::open(self.ledger, inner, &COMMAND, table.key.span);
        let own = self.own_words(&fields, asker);
        let program = self.table_program(&fields, table, asker);
        let stop = fields.text(self.ledger, "stop");
        let stop = stop.map(|stop| self.signal(&stop.value, stop.inner()));
        let _ = fields.get("build");
        fields.finish();
        let (words, script) = program?;
        let mut command = bare(name, Program { words, script, folder });
        own.put_over(&mut command);
        match stop {
            Some(stop) => command.stop = stop?,
            None => command.stop = signal::TERM,
        }
        Some(command)
    }

    /// Exactly one of `run` and `sh`.
    fn table_program(
        &mut self,
        fields: &Fields<'_>,
        table: &CommandTable<'_>,
        asker: Asker,
    ) -> Option<(Vec<Text>, Option<Text>)> {
        match (fields.get("run"), fields.get("sh")) {
            (Some((_, run)), None) => {
                let words = self.words(&run.node, ("run", Kind::Command), ShellHint::Table)?;
                self.own_program(&words, asker);
                Some((self.texts(&words, asker)?, None))
            }
            (None, Some((key, sh))) => {
                let text = fields::text(self.ledger, &sh.node, key)?;
                Some((Vec::new(), Some(self.script(text, asker)?)))
            }
            (Some((_, run)), Some((_, sh))) => {
                let text = format!("the command `{}` has both `run` and `sh`", table.key.name);
                let first = self.ledger.sources.named_from(run.key.span, sh.key.span);
                let trouble = Trouble::new(Reason::BadValue, text).hint(format!("`run` is {first}"));
                self.ledger.mistake(sh.key.span, trouble);
                None
            }
            (None, None) => {
                let text = format!("the command `{}` needs `run` or `sh`", table.key.name);
                self.ledger.mistake(table.key.span, Trouble::new(Reason::MissingKey, text));
                None
            }
        }
    }

    /// What a step or a table says about how a command runs.
    fn own_words(&mut self, fields: &Fields<'_>, asker: Asker) -> OwnWords {
        let has = |word: &str| fields.has_word(word);
        let name = if has("name") { fields.text(self.ledger, "name") } else { None };
        let name = name.and_then(|name| self.process_called(name));
        let ready = if has("ready") { fields.text(self.ledger, "ready") } else { None };
        let ready = ready.and_then(|ready| self.pattern(ready, asker));
        let user = fields.text(self.ledger, "user").and_then(|user| self.user(user, asker));
        let cwd = fields.text(self.ledger, "cwd");
        let cwd = cwd.and_then(|cwd| match asker {
            Asker::Host => self.host_path(cwd),
            Asker::Runner => self.template(cwd, asker),
        });
        OwnWords {
            name,
            ready,
            user,
            cwd,
            env: self.env(fields, asker),
            stdin: self.optional(fields, "stdin", asker),
            pty: fields.flag(self.ledger, "pty"),
            within: fields.duration(self.ledger, "within"),
        }
    }

    fn process_called(&mut self, text: &toml::Text) -> Option<String> {
        if text.value.is_empty() || text.value.contains('/') || text.value.contains("%{") {
            let trouble =
                Trouble::new(Reason::BadName, format!("`{}` cannot be the name of a process", text.value));
            self.ledger.mistake(text.inner(), trouble.hint("letters, digits, `-`, `_`, `+` and `@`"));
            return None;
        }
        Some(process_name(&text.value))
    }

    fn user(&mut self, text: &toml::Text, asker: Asker) -> Option<String> {
        if asker == Asker::Runner {
            let trouble = Trouble::new(Reason::BadValue, "what runs on `here` runs as you");
            self.ledger.mistake(text.inner(), trouble);
            return None;
        }
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.$".contains(c);
        if text.value.is_empty() || !text.value.chars().all(good) {
            let trouble =
                Trouble::new(Reason::BadName, format!("`{}` cannot be the name of a user", text.value));
            self.ledger.mistake(text.inner(), trouble);
            return None;
        }
        Some(text.value.clone())
    }

    /// The `env` of a table or step.
    pub(crate) fn env(&mut self, fields: &Fields<'_>, asker: Asker) -> Env {
        let Some((key, entry)) = fields.get("env") else { return Env::new() };
        let Some(table) = entry.node.as_table() else {
            return fields::wrong::<Env>(self.ledger, &entry.node, key.word, key.kind).unwrap_or_default();
        };
        let pair = |entry: &Entry| Some((entry.key.name.clone(), self.variable(entry, asker)?));
        table.entries.iter().filter_map(pair).collect()
    }

    /// One variable of an environment: a text, or `false` to take it away.
    pub(crate) fn variable(&mut self, entry: &Entry, asker: Asker) -> Option<Option<Text>> {
        let name = &entry.key.name;
        if name.is_empty() || name.contains(['=', '\0']) {
            let text = match name.is_empty() {
                true => "a variable needs a name".to_owned(),
                false => format!("`{name}` cannot be the name of a variable"),
            };
            let trouble = Trouble::new(Reason::BadName, text);
            self.ledger.mistake(entry.key.span, trouble);
            return None;
        }
        match &entry.node.value {
            Value::Text(text) => Some(Some(self.template(text, asker)?)),
            Value::Flag(false) => Some(None),
            _ => fields::wrong(self.ledger, &entry.node, name, Kind::Variable),
        }
    }

    /// The command of a `build`, which runs here.
    pub(crate) fn build(
        &mut self,
        key: &Key,
        node: &Node,
        folder: &Arc<std::path::PathBuf>,
    ) -> Option<Program> {
        let words = self.words(node, (key.word, key.kind), ShellHint::Build)?;
        let words = self.texts(&words, Asker::Runner)?;
        Some(Program { words, script: None, folder: Arc::clone(folder) })
    }
}

/// What is said beside the words of a command.
struct OwnWords {
    name: Option<String>,
    ready: Option<crate::Pattern>,
    user: Option<String>,
    cwd: Option<Text>,
    env: Env,
    stdin: Option<Text>,
    pty: Option<bool>,
    within: Option<std::time::Duration>,
}

impl OwnWords {
    /// The nearer words win.
    fn put_over(self, command: &mut Command) {
        command.env.extend(self.env);
        command.name = self.name.unwrap_or_else(|| std::mem::take(&mut command.name));
        command.ready = self.ready.or_else(|| command.ready.take());
        command.user = self.user.or_else(|| command.user.take());
        command.cwd = self.cwd.or_else(|| command.cwd.take());
        command.stdin = self.stdin.or_else(|| command.stdin.take());
        command.pty = self.pty.unwrap_or(command.pty);
        command.within = self.within.or(command.within);
    }
}

fn bare(name: String, program: Program) -> Command {
    Command {
        name,
        program,
        env: Env::new(),
        user: None,
        cwd: None,
        stdin: None,
        pty: false,
        within: None,
        ready: None,
        stop: signal::TERM,
    }
}

fn split<'t>(ledger: &mut Ledger, text: &'t toml::Text, hint: ShellHint) -> Option<Vec<Word<'t>>> {
    match words::split(&text.value) {
        Ok(words) => {
            unfilled(ledger, text, &words, hint);
            if let Some(trouble) = assigned(&text.value, &words[0], hint) {
                ledger.mistake(text.part(words[0].span.clone()), trouble);
                return None;
            }
            let word = |word: words::Word| Word { span: text.part(word.span), text: word.text, source: text };
            let words: Vec<_> = words.into_iter().map(word).collect();
            if words[0].text.is_empty() {
                ledger.mistake(text.inner(), Trouble::new(Reason::BadValue, "the command is empty"));
                return None;
            }
            Some(words)
        }
        Err(error) => {
            let trouble = match &error {
                words::WordsError::Shell { .. } => {
                    Trouble::new(Reason::ShellInCommand, error.to_string()).hint(hint.text())
                }
                _ => Trouble::new(Reason::BadValue, error.to_string()),
            };
            let span = if text.value.is_empty() { text.inner() } else { text.part(error.span()) };
            ledger.mistake(span, trouble);
            None
        }
    }
}

/// `X=1 kvd`: to a shell, the first word is a variable of the environment.
fn assigned(written: &str, first: &words::Word, hint: ShellHint) -> Option<Trouble> {
    // As written: in quotes it is a program to a shell as well.
    let (name, _) = written[first.span.clone()].split_once('=')?;
    let is_name = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let value = first.text.get(name.len() + 1..).filter(|_| is_name)?;
    let text =
        format!("`{}` before a command needs a shell, and a command is started without one", first.text);
    let trouble = Trouble::new(Reason::ShellInCommand, text);
    Some(trouble.hint(match hint {
        ShellHint::Build => hint.text().to_owned(),
        _ => format!("write `env = {{ {name} = {value:?} }}` beside the command"),
    }))
}

/// Warns of a `$NAME` that a shell would fill in, and nobody does.
fn unfilled(ledger: &mut Ledger, text: &toml::Text, words: &[words::Word], hint: ShellHint) {
    for word in words {
        let program = word.text.rsplit('/').next().unwrap_or_default();
        if READ_DOLLARS.contains(&program) {
            return;
        }
        let start = word.span.start;
        let Some(found) = words::variable(&text.value[word.span.clone()]) else { continue };
        let found = start + found.start..start + found.end;
        let what = format!("`{}` stays as it is: only a shell would fill it in", &text.value[found.clone()]);
        let said = format!("{}, or put it in '…' if it is meant so", hint.text());
        ledger.warning(text.part(found), Trouble::new(Reason::ShellInCommand, what).hint(said));
    }
}
