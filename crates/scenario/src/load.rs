//! From files to a scenario: reads a file and what it includes, finds every mistake of all of them, and reads the tests
//! once for each case of the matrix.

mod files;
mod networks;
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use netsplit_model::{Place, Reason, Template, Trouble, nearest};

use self::files::Gathered;
pub(crate) use self::files::shown;
use crate::fields::{self, Fields};
use crate::grammar::{self, DEADLINES, FILE, Kind, LOOP, TOP, WATCH};
use crate::ledger::Ledger;
use crate::names::{Asker, Names, Seen, VariableNames, list};
use crate::read::Reader;
use crate::read::tables::{self, Named, Part, Tables};
use crate::source::Span;
use crate::toml::{self, Value};
use crate::{
    Build, Content, Deadlines, Env, File, FileTemplate, Limit, Loaded, Mistakes, Pattern, Scenario, Sources,
    Text, Variable,
};

/// What the command line changes: `-s KEY=VALUE` and `-n ROLE=N`.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub(crate) set: IndexMap<String, String>,
    pub(crate) hosts: IndexMap<String, u32>,
}

impl Overrides {
    /// Sets a variable, or chooses one value of a matrix key: `KEY=VALUE`.
    ///
    /// # Errors
    /// When there is no `=`.
    pub fn set(&mut self, text: &str) -> Result<(), Box<Trouble>> {
        let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            let trouble = Trouble::new(Reason::BadSetting, format!("`-s {text}` has no `=`"));
            return Err(Box::new(trouble.guess("-s KEY=VALUE")));
        };
        self.set.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Changes how many hosts a role has: `ROLE=N`.
    ///
    /// # Errors
    /// When it has another form, or `N` is no number from 1 on.
    pub fn hosts(&mut self, text: &str) -> Result<(), Box<Trouble>> {
        let pair = text.split_once('=').and_then(|(role, count)| Some((role, count.parse().ok()?)));
        let Some((role, count)) = pair.filter(|(role, count)| !role.is_empty() && *count > 0) else {
            let trouble = Trouble::new(Reason::BadSetting, format!("`-n {text}` is not a role and a count"));
            return Err(Box::new(trouble.guess("-n node=4")));
        };
        self.hosts.insert(role.to_owned(), count);
        Ok(())
    }
}

/// What `lint` found a file to be.
#[derive(Clone, Debug)]
pub enum Linted {
    /// A scenario, with nothing wrong.
    Scenario(Box<Loaded>),
    /// A file for `include`: it has no test. Names that others may know were not asked for.
    Part {
        /// What does not keep it from being included.
        warnings: Vec<Trouble>,
        /// What was read.
        sources: Sources,
    },
}

impl Scenario {
    /// Reads the scenario at `path`, which is also how messages name it, and all that it includes.
    ///
    /// # Errors
    /// Every mistake of every file, at once.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Loaded, Mistakes> {
        let mut ledger = Ledger::default();
        let gathered = files::gather(&mut ledger, path, None);
        scenario(ledger, gathered, overrides.clone())
    }

    /// Reads a scenario from `text`, as if it stood in a file called `name`.
    ///
    /// # Errors
    /// Every mistake of every file, at once.
    pub fn parse(name: &str, text: &str, overrides: &Overrides) -> Result<Loaded, Mistakes> {
        let mut ledger = Ledger::default();
        let gathered = files::gather(&mut ledger, Path::new(name), Some(text.to_owned()));
        scenario(ledger, gathered, overrides.clone())
    }

    /// Whether `text` is a scenario and not only a part of one: it has a `[[test]]`.
    pub fn is_scenario(text: &str) -> bool {
        toml::Document::parse(text, 0).root.get("test").is_some()
    }
}

/// Reads the scenario or the part of one at `path`, for `netsplit lint`.
///
/// # Errors
/// Every mistake of every file, at once.
pub fn lint(path: &Path) -> Result<Linted, Mistakes> {
    let mut ledger = Ledger::default();
    let gathered = files::gather(&mut ledger, path, None);
    if !gathered.parts.last().is_some_and(is_part) {
        return scenario(ledger, gathered, Overrides::default())
            .map(|loaded| Linted::Scenario(Box::new(loaded)));
    }
    let mut loader = Loader::new(ledger, &gathered, Overrides::default());
    loader.names.incomplete = true;
    loader.head();
    loader.networks();
    loader.fixed();
    loader.unused();
    let (troubles, warnings, sources) = loader.ledger.close();
    match troubles.is_empty() {
        true => Ok(Linted::Part { warnings, sources }),
        false => Err(Mistakes { troubles, warnings, sources }),
    }
}

/// Whether all of a file may stand in an include, and something does.
fn is_part(part: &Part) -> bool {
    let entries = &part.root.entries;
    let known = |word: &str| grammar::PART_WORDS.contains(&word) || TOP.get(word).is_none();
    !entries.is_empty()
        && entries
            .iter()
            .all(|entry| known(&entry.key.name) && !["steps", "step"].contains(&entry.key.name.as_str()))
        && entries.iter().any(|entry| grammar::PART_WORDS.contains(&entry.key.name.as_str()))
}

fn scenario(ledger: Ledger, gathered: Gathered, overrides: Overrides) -> Result<Loaded, Mistakes> {
    let broken = gathered.broken_main;
    let mut loader = Loader::new(ledger, &gathered, overrides);
    let scenario = if broken { None } else { loader.scenario() };
    let (troubles, warnings, sources) = loader.ledger.close();
    match scenario.filter(|_| troubles.is_empty()) {
        Some(scenario) => Ok(Loaded { scenario, warnings, sources }),
        None => Err(Mistakes { troubles: or_bug(troubles), warnings, sources }),
    }
}

/// A scenario without mistakes that could not be read is our mistake.
fn or_bug(troubles: Vec<Trouble>) -> Vec<Trouble> {
    debug_assert!(!troubles.is_empty(), "nothing was read and nothing is wrong");
    match troubles.is_empty() {
        true => {
            vec![Trouble::new(Reason::Bug, "the scenario was not understood, and netsplit does not know why")]
        }
        false => troubles,
    }
}

/// Reads what was gathered.
struct Loader<'t> {
    ledger: Ledger,
    main: Option<&'t Part>,
    names: Names,
    tables: Tables<'t>,
    overrides: Overrides,
    /// The `-s` that no table of variables has.
    set: IndexMap<String, String>,
    name: String,
    file: String,
    folder: Arc<PathBuf>,
    used: crate::read::steps::Used,
    templates: IndexMap<PathBuf, Option<FileTemplate>>,
}

/// What the top says beside the tables.
#[derive(Default)]
struct Head {
    about: Option<String>,
    tags: Vec<String>,
    within: Option<Limit>,
    needs: Vec<(netsplit_model::Capability, Span)>,
    deadlines: Deadlines,
}

/// What is the same in every case.
struct Fixed {
    env: Env,
    files: IndexMap<String, File>,
    variables: IndexMap<String, Variable>,
    never: Vec<Pattern>,
    builds: Vec<(String, Build)>,
}

impl<'t> Loader<'t> {
    fn new(mut ledger: Ledger, gathered: &'t Gathered, mut overrides: Overrides) -> Self {
        let mut names = Names { incomplete: gathered.incomplete, ..Names::default() };
        let given = overrides.set.clone();
        let tables = tables::collect(&mut ledger, &gathered.parts, &mut names, &mut overrides);
        let main = gathered.parts.last().filter(|_| !gathered.broken_main);
        let set = std::mem::take(&mut overrides.set);
        for (name, value) in &set {
            let span = gathered.span;
            let variable = VariableNames { span, uses: Vec::new(), constant: Some(value.clone()) };
            names.variables.insert(name.clone(), variable);
        }
        let mut loader = Self {
            ledger,
            main,
            names,
            tables,
            overrides,
            set,
            name: gathered.name.clone(),
            file: gathered.file.clone(),
            folder: Arc::clone(&gathered.folder),
            used: crate::read::steps::Used::default(),
            templates: IndexMap::new(),
        };
        loader.note_anywhere(&gathered.parts);
        loader.overrides.set = given;
        loader
    }

    fn scenario(&mut self) -> Option<Scenario> {
        let head = self.head();
        self.no_hosts();
        let (networks, routers) = self.networks();
        let fixed = self.fixed();
        let cases = self.cases(&head);
        self.unused();
        self.no_tests();
        self.unused_overrides();
        self.unused_matrix();
        self.own_files(!fixed.builds.is_empty());
        let builds = fixed.builds.into_iter().filter(|(name, _)| self.used.commands.contains(name));
        Some(Scenario {
            name: self.name.clone(),
            file: self.file.clone(),
            folder: Arc::clone(&self.folder),
            about: head.about,
            tags: head.tags,
            within: head.within,
            roles: std::mem::take(&mut self.tables.roles),
            networks,
            routers,
            env: fixed.env,
            files: fixed.files,
            variables: fixed.variables,
            builds: builds.map(|(_, build)| build).collect(),
            never: fixed.never,
            deadlines: head.deadlines,
            cases: cases?,
        })
    }

    /// The keys of the top of each file, whose unknown words are mistakes.
    fn head(&mut self) -> Head {
        let Some(part) = self.main else { return Head::default() };
        let ledger = &mut self.ledger;
        let fields = Fields::open(ledger, &part.root, &TOP, part.span.point());
        let about = fields.text(ledger, "about").map(|text| text.value.clone());
        let tags = fields.texts(ledger, "tags").into_iter().map(|text| text.value.clone()).collect();
        let within = fields.limit(ledger, "within");
        let needs = fields.capabilities(ledger, "needs", false);
        if let Some(version) = fields.text(ledger, "netsplit") {
            files::version(ledger, version);
        }
        let deadlines = fields.get("deadlines").map(|(key, entry)| deadlines(ledger, key, entry));
        // Read with all parts, or later with the tests.
        let elsewhere = ["include", "hosts", "networks", "routers", "env", "files", "commands", "variables"];
        for word in elsewhere.iter().chain(&["procedures", "watch", "matrix"]) {
            let _ = fields.get(word);
        }
        let _ = (fields.get("cleanup"), fields.get("test"));
        fields.finish();
        Head { about, tags, within, needs, deadlines: deadlines.unwrap_or_default() }
    }

    fn no_hosts(&mut self) {
        let Some(part) = self.main else { return };
        if self.names.roles.is_empty() && !self.names.incomplete && part.root.get("hosts").is_none() {
            let place = Place { file: self.file.clone(), line: 1, column: 1, width: 0 };
            let trouble =
                Trouble::new(Reason::MissingKey, format!("no hosts in {}", self.file)).at(Some(place));
            self.ledger.mistake(part.span.point(), trouble.guess(r#"hosts.members = ["a", "b", "c"]"#));
        }
    }

    /// A reader of what stands outside of the tests.
    fn reader<'a>(
        &'a mut self,
        values: &'a IndexMap<String, String>,
        folder: &Arc<PathBuf>,
        seen: Seen,
    ) -> Reader<'a> {
        Reader { ledger: &mut self.ledger, names: &self.names, values, seen, folder: Arc::clone(folder) }
    }

    /// Env, files, variables, watch and builds.
    fn fixed(&mut self) -> Fixed {
        let values = IndexMap::new();
        let mut env = Env::new();
        for Named { entry, folder } in std::mem::take(&mut self.tables.env) {
            let mut reader = self.reader(&values, &folder, Seen::default());
            if let Some(value) = reader.variable(entry, Asker::Host) {
                env.insert(entry.key.name.clone(), value);
            }
        }
        let mut files = IndexMap::new();
        for named in std::mem::take(&mut self.tables.files) {
            if let Some(file) = self.file(&named) {
                files.insert(named.entry.key.name.clone(), file);
            }
        }
        let mut variables = IndexMap::new();
        for named in std::mem::take(&mut self.tables.variables) {
            if let Some(variable) = self.variable(&named) {
                variables.insert(named.entry.key.name.clone(), variable);
            }
        }
        for (name, value) in &self.set {
            let place = Place { file: self.file.clone(), line: 1, column: 1, width: 0 };
            variables.insert(name.clone(), Variable::Text(literal(value, place)));
        }
        let never = self.never();
        let builds = self.builds();
        Fixed { env, files, variables, never, builds }
    }

    fn variable(&mut self, named: &Named<'t>) -> Option<Variable> {
        let entry = named.entry;
        if let Some(value) = self.overrides.set.get(&entry.key.name) {
            return Some(Variable::Text(literal(value, self.ledger.place(entry.key.span))));
        }
        let values = IndexMap::new();
        // It is asked for where it is used, where more is known.
        let seen = Seen { anything: true, ..Seen::default() };
        let mut reader = self.reader(&values, &named.folder, seen);
        match &entry.node.value {
            Value::Text(text) => reader.template(text, Asker::Host).map(Variable::Text),
            Value::Table(table) => {
                let fields = Fields::open(reader.ledger, table, &LOOP, entry.key.span);
                let each = fields.must(reader.ledger, "each", None);
                let each = each.and_then(|(key, entry)| fields::text(reader.ledger, &entry.node, key));
                reader.seen.anything = false;
                let hosts = each.and_then(|each| reader.select(each));
                reader.seen.anything = true;
                let text = fields.must(reader.ledger, "as", None);
                let text = text.and_then(|(key, entry)| fields::text(reader.ledger, &entry.node, key));
                let text = text.and_then(|text| reader.template(text, Asker::Host));
                let join = fields.text(reader.ledger, "join").map_or(",", |join| join.value.as_str());
                let join = join.to_owned();
                fields.finish();
                Some(Variable::Each { hosts: hosts?, text: text?, join })
            }
            _ => {
                let kind = Kind::Either(&grammar::TEXT_OR_LOOP);
                fields::wrong(reader.ledger, &entry.node, &entry.key.name, kind)
            }
        }
    }

    fn file(&mut self, named: &Named<'t>) -> Option<File> {
        let entry = named.entry;
        let Some(table) = entry.node.as_table() else {
            return fields::wrong(&mut self.ledger, &entry.node, &entry.key.name, Kind::Table(&FILE));
        };
        let values = IndexMap::new();
        let mut reader = self.reader(&values, &named.folder, Seen::default());
        let fields = Fields::open(reader.ledger, table, &FILE, entry.key.span);
        let hosts: Vec<_> = reader.names.hosts.keys().map(String::as_str).collect();
        let hint = Some(list("hosts", &hosts)).filter(|hint| !hint.is_empty());
        let on = fields.must(reader.ledger, "on", hint);
        let on = on.and_then(|(key, entry)| fields::text(reader.ledger, &entry.node, key));
        let on = on.and_then(|on| reader.select(on));
        let path = fields.text(reader.ledger, "path").map(|path| reader.host_path(path));
        let mode = fields.mode(reader.ledger, "mode");
        let text = fields.text(reader.ledger, "text");
        let text_content = text.and_then(|text| reader.template(text, Asker::Host)).map(Content::Text);
        let from = fields.text(reader.ledger, "from");
        let from_content = from.and_then(|from| reader.local_path(from)).map(Content::From);
        let template = fields.text(reader.ledger, "template");
        fields.finish();
        let said = ["text", "from", "template"].map(|word| table.get(word));
        let said: Vec<_> = said.into_iter().flatten().collect();
        match said[..] {
            [_] => {}
            [] => {
                let text = format!("the file `{}` needs `text`, `from` or `template`", entry.key.name);
                self.ledger.mistake(entry.key.span, Trouble::new(Reason::MissingKey, text));
            }
            [first, second, ..] => {
                let text = format!(
                    "the file `{}` has both `{}` and `{}`",
                    entry.key.name, first.key.name, second.key.name
                );
                self.ledger.mistake(second.key.span, Trouble::new(Reason::BadValue, text));
            }
        }
        let template_content =
            template.and_then(|text| self.file_template(text, &named.folder)).map(Content::Template);
        let content = text_content.or(from_content).or(template_content);
        let place = self.ledger.place(entry.key.span);
        let path = match path {
            Some(path) => Some(path?),
            None => None,
        };
        Some(File { on: on?, path, content: content?, mode, place })
    }

    fn file_template(&mut self, text: &toml::Text, folder: &Arc<PathBuf>) -> Option<FileTemplate> {
        let path = folder.join(&text.value);
        if let Some(known) = self.templates.get(&path) {
            return known.clone();
        }
        let template = match files::read(&path) {
            Ok(source) => FileTemplate::read(&mut self.ledger, &self.names, &text.value, &path, source),
            Err((reason, why)) => {
                let trouble = Trouble::new(reason, format!("the template `{}` {why}", text.value));
                self.ledger.mistake(text.inner(), trouble);
                None
            }
        };
        self.templates.insert(path, template.clone());
        template
    }

    fn never(&mut self) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for Named { entry, folder } in std::mem::take(&mut self.tables.watch) {
            let values = IndexMap::new();
            let mut reader = self.reader(&values, &folder, Seen::default());
            let Some(table) = entry.node.as_table() else {
                fields::wrong::<()>(reader.ledger, &entry.node, "watch", Kind::Table(&WATCH));
                continue;
            };
            let fields = Fields::open(reader.ledger, table, &WATCH, entry.key.span);
            for text in fields.texts(reader.ledger, "never") {
                patterns.extend(reader.pattern(text, Asker::Runner));
            }
            fields.finish();
        }
        patterns
    }

    fn builds(&mut self) -> Vec<(String, Build)> {
        let values = IndexMap::new();
        let mut builds = Vec::new();
        let commands = std::mem::take(&mut self.tables.commands);
        for command in &commands {
            let Some(table) = command.node.as_table() else { continue };
            let Some(entry) = table.get("build") else { continue };
            let Some(key) = grammar::COMMAND.get("build") else { continue };
            let mut reader = self.reader(&values, &command.folder, Seen::default());
            let Some(program) = reader.build(key, &entry.node, &command.folder) else { continue };
            let name = command.key.name.clone();
            let place = self.ledger.place(entry.key.span);
            builds.push((name.clone(), Build { command: name, program, place }));
        }
        self.tables.commands = commands;
        builds
    }

    /// What hosts are to get must be there, unless something that runs here may make it first.
    fn own_files(&mut self, builds: bool) {
        if builds || self.names.makes_files.get() {
            return;
        }
        for own in self.names.own_files.take() {
            if own.path.exists() {
                continue;
            }
            let text = format!("the file `{}` is not there", own.written);
            let trouble = Trouble::new(Reason::NoSuchFile, text);
            match own.is_program {
                true => {
                    self.ledger.warning(own.span, trouble.hint("a path with a `/` is a file beside this one"))
                }
                false => self.ledger.mistake(own.span, trouble),
            }
        }
    }

    /// A `-s` or `-n` that changes nothing is a slip.
    fn unused_overrides(&mut self) {
        let roles: Vec<_> = self.names.roles.keys().map(String::as_str).collect();
        for role in self.overrides.hosts.keys() {
            let trouble = Trouble::new(
                Reason::BadSetting,
                format!("`-n {role}=…`: {} has no role `{role}`", self.file),
            );
            let near = nearest(role, roles.iter().copied());
            let hint = near.map_or_else(|| list("roles", &roles), |near| format!("did you mean `{near}`?"));
            self.ledger.mistake_at(None, trouble.hint(hint));
        }
        let used = self.names.used.borrow();
        for name in self.set.keys().filter(|name| !used.contains(*name)) {
            let text = format!("`-s {name}=…`: nothing in {} asks for `%{{{name}}}`", self.file);
            let trouble = Trouble::new(Reason::BadSetting, text);
            let known = self.names.variables.keys().chain(self.names.matrix.keys());
            let known: Vec<_> = known.map(String::as_str).filter(|known| known != name).collect();
            let near = nearest(name, known.iter().copied());
            let hint = near.map_or_else(|| list("known", &known), |near| format!("did you mean `{near}`?"));
            self.ledger.mistake_at(None, if hint.is_empty() { trouble } else { trouble.hint(hint) });
        }
    }

    /// A key of the matrix that nobody asks for makes tests that are all the same.
    fn unused_matrix(&mut self) {
        if self.ledger.has_mistakes() {
            return;
        }
        let used = self.names.used.borrow();
        for axis in
            self.tables.axes.iter().filter(|axis| !used.contains(&axis.key.name) && axis.values.len() > 1)
        {
            let name = &axis.key.name;
            let text =
                format!("nothing asks for `%{{{name}}}`: its {} cases are the same", axis.values.len());
            let steps = axis.values.values().any(Option::is_some);
            let trouble = Trouble::new(Reason::MissingKey, text);
            self.ledger.warning(
                axis.key.span,
                match steps {
                    true => trouble.hint(format!(r#"`{{ do = "%{{{name}}}" }}` does the steps of the case"#)),
                    false => trouble,
                },
            );
        }
    }
}

/// A text in which nothing is filled in.
fn literal(value: &str, place: Place) -> Text {
    let escaped = value.replace('%', "%%");
    let template =
        Template::parse(&escaped).unwrap_or_else(|_| unreachable!("every percent sign is doubled"));
    Text::new(&escaped, template, place)
}

fn deadlines(ledger: &mut Ledger, key: &grammar::Key, entry: &toml::Entry) -> Deadlines {
    let Some(table) = entry.node.as_table() else {
        return fields::wrong(ledger, &entry.node, key.word, key.kind).unwrap_or_default();
    };
    let fields = Fields::open(ledger, table, &DEADLINES, entry.key.span);
    let mut of = |word: &str| fields.duration(ledger, word);
    let deadlines = Deadlines {
        host: of("host"),
        start: of("start"),
        run: of("run"),
        wait: of("wait"),
        test: of("test"),
        grace: of("grace"),
    };
    fields.finish();
    deadlines
}
