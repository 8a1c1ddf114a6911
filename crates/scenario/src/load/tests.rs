//! The tests of a scenario, read once for each case of the matrix with the values of that case.

use std::sync::Arc;

use indexmap::IndexMap;
use netsplit_model::{Capability, Place, Reason, Trouble};

use super::{Head, Loader};
use crate::fields::{self, Fields};
use crate::grammar::{Kind, STEPS_A_TEST, TEST, Verb};
use crate::names::{Asker, Names, Seen};
use crate::read::Reader;
use crate::read::steps::{StepNeed, Steps};
use crate::read::tables::Part;
use crate::source::Span;
use crate::toml::{Entry, Node, Table, Value};
use crate::{Case, Need, Test};

/// The most cases of a matrix: each is a whole run.
const CASES_MAX: usize = 1000;

/// The values of one case: the key, the value or the case's name, and its steps.
type Values<'t> = Vec<(&'t str, String, Option<&'t Node>)>;

impl<'t> Loader<'t> {
    /// The tests, once for each combination of the matrix. `None` when they cannot be read.
    pub(super) fn cases(&mut self, head: &Head) -> Option<Vec<Case>> {
        let part = self.main?;
        let combinations = self.combinations()?;
        let mut count = 0;
        let mut cases = Vec::new();
        for values in combinations {
            cases.extend(self.case(part, head, &values, &mut count));
        }
        (!cases.is_empty()).then_some(cases)
    }

    fn combinations(&mut self) -> Option<Vec<Values<'t>>> {
        let total =
            self.tables.axes.iter().map(|axis| axis.values.len()).try_fold(1usize, usize::checked_mul);
        let first = self.tables.axes.first().map(|axis| axis.key.span);
        if total.is_none_or(|total| total > CASES_MAX) {
            let trouble =
                Trouble::new(Reason::BadValue, format!("the matrix has more than {CASES_MAX} cases"));
            self.ledger.mistake_at(first, trouble);
            return None;
        }
        let mut all: Vec<Values<'t>> = vec![Vec::new()];
        for axis in &self.tables.axes {
            let with = |values: &Values<'t>| {
                let add = |(value, steps): (&String, &Option<&'t Node>)| {
                    let mut values = values.clone();
                    values.push((axis.key.name.as_str(), value.clone(), *steps));
                    values
                };
                axis.values.iter().map(add).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(with).collect();
        }
        // An empty key is a mistake of its own; the tests are read all the same.
        Some(if all.is_empty() { vec![Vec::new()] } else { all })
    }

    fn case(&mut self, part: &'t Part, head: &Head, of: &Values<'t>, count: &mut usize) -> Option<Case> {
        let values: IndexMap<_, _> =
            of.iter().map(|(key, value, _)| ((*key).to_owned(), value.clone())).collect();
        let chosen = of.iter().filter_map(|(key, value, node)| {
            Some((*key, value.as_str(), (*node)?, Arc::clone(&part.folder)))
        });
        let reader = Reader {
            ledger: &mut self.ledger,
            names: &self.names,
            values: &values,
            seen: Seen::default(),
            folder: Arc::clone(&part.folder),
        };
        let mut steps = Steps {
            reader,
            commands: &self.tables.commands,
            procedures: &self.tables.procedures,
            chosen: chosen.collect(),
            needs: Vec::new(),
            doing: Vec::new(),
            used: &mut self.used,
            count,
        };
        let mut needs: Vec<StepNeed> = Vec::new();
        let tests = steps.tests(part, &mut needs);
        steps.reader.seen.faults.clear();
        let cleanup = match part.root.get("cleanup") {
            Some(entry) => steps.list(&entry.node, "cleanup"),
            None => Vec::new(),
        };
        needs.append(&mut steps.needs);
        let stated = head.needs.iter().chain(&self.tables.host_needs);
        let stated = stated.map(|(capability, span)| stated_need(*capability, *span));
        let networks = self.network_need();
        let needs: Vec<_> = stated.chain(networks).chain(needs).collect();
        let needs = self.needs(needs);
        Some(Case { name: case_name(&self.name, of), values, tests: tests?, cleanup, needs })
    }

    /// Each capability once, the first place that needs it.
    fn needs(&self, found: Vec<StepNeed>) -> Vec<Need> {
        let mut needs: Vec<Need> = Vec::new();
        for StepNeed { capability, by, span } in found {
            if needs.iter().all(|need| need.capability != capability) {
                needs.push(Need { capability, by, place: self.ledger.place(span) });
            }
        }
        needs.sort_by_key(|need| need.capability);
        needs
    }

    /// Procedures that nobody does, commands that nobody runs and cases that nobody chooses are read for their form.
    pub(super) fn unused(&mut self) {
        let values = IndexMap::new();
        let mut used = std::mem::take(&mut self.used);
        let reader = Reader {
            ledger: &mut self.ledger,
            names: &self.names,
            values: &values,
            seen: Seen { anything: true, ..Seen::default() },
            folder: Arc::clone(&self.folder),
        };
        let mut count = 0;
        let mut scratch = crate::read::steps::Used::default();
        let mut steps = Steps {
            reader,
            commands: &self.tables.commands,
            procedures: &self.tables.procedures,
            chosen: Vec::new(),
            needs: Vec::new(),
            doing: Vec::new(),
            used: &mut scratch,
            count: &mut count,
        };
        for procedure in self.tables.procedures.iter().filter(|it| !used.procedures.contains(&it.key.name)) {
            steps.reader.folder = Arc::clone(&procedure.folder);
            steps.doing.push(procedure.key.name.clone());
            steps.list(procedure.steps, "steps");
            steps.doing.pop();
        }
        steps.reader.folder = Arc::clone(&self.folder);
        for axis in self.tables.axes.iter().filter(|axis| !self.names.used.borrow().contains(&axis.key.name))
        {
            for node in axis.values.values().flatten() {
                match &node.value {
                    Value::Table(_) => drop(steps.step(node)),
                    _ => drop(steps.list(node, "steps")),
                }
            }
        }
        for command in self.tables.commands.iter().filter(|it| !used.commands.contains(&it.key.name)) {
            steps.reader.table_command(command, Asker::Host);
        }
        std::mem::swap(&mut self.used, &mut used);
    }

    /// A file without a test, of which nothing else tells why.
    pub(super) fn no_tests(&mut self) {
        let Some(part) = self.main else { return };
        let astray = |entry: &Entry| ["test", "steps", "step", "tests"].contains(&entry.key.name.as_str());
        if part.root.entries.iter().any(astray) || self.ledger.has(Reason::StepsAstray) {
            return;
        }
        let place = Place { file: self.file.clone(), line: 1, column: 1, width: 0 };
        let trouble = Trouble::new(Reason::MissingKey, format!("no test in {}", self.file)).at(Some(place));
        self.ledger
            .mistake(part.span.point(), trouble.guess(r#"[[test]] with a name = "…" and steps = […]"#));
    }

    /// Notes what any step captures or saves, to tell `not yet` from `never`.
    pub(super) fn note_anywhere(&mut self, parts: &[Part]) {
        for part in parts {
            for word in ["test", "procedures", "matrix", "cleanup"] {
                if let Some(entry) = part.root.get(word) {
                    note_names(&entry.node, &mut self.names);
                }
            }
        }
    }
}

fn note_names(node: &Node, into: &mut Names) {
    match &node.value {
        Value::Array(nodes) => nodes.iter().for_each(|node| note_names(node, into)),
        Value::Table(table) => {
            if let Some(text) = table.get("as").and_then(|entry| entry.node.as_text()) {
                let is_fault = |entry: &Entry| Verb::named(&entry.key.name).is_some_and(Verb::is_fault);
                let of_fault = table.entries.iter().any(is_fault);
                let names = if of_fault { &mut into.faults } else { &mut into.anywhere };
                names.entry(text.value.clone()).or_insert_with(|| text.inner());
            }
            let saved = table.get("save").and_then(|entry| entry.node.as_table());
            for entry in saved.iter().flat_map(|saved| &saved.entries) {
                into.anywhere.entry(entry.key.name.clone()).or_insert(entry.key.span);
            }
            table.entries.iter().for_each(|entry| note_names(&entry.node, into));
        }
        _ => {}
    }
}

fn stated_need(capability: Capability, span: Span) -> StepNeed {
    StepNeed { capability, by: "needs".to_owned(), span }
}

/// `nfs[version=4.1,proto=tcp]`.
fn case_name(scenario: &str, values: &Values<'_>) -> String {
    if values.is_empty() {
        return scenario.to_owned();
    }
    let values: Vec<_> = values.iter().map(|(key, value, _)| format!("{key}={value}")).collect();
    format!("{scenario}[{}]", values.join(","))
}

impl<'t> Steps<'_, 't> {
    /// All `[[test]]` of the scenario. What their steps need goes into `needs`, unless the test says it needs it.
    fn tests(&mut self, part: &'t Part, needs: &mut Vec<StepNeed>) -> Option<Vec<Test>> {
        let entry = part.root.get("test")?;
        let nodes = match &entry.node.value {
            Value::Array(nodes) => nodes,
            Value::Table(_) => {
                let trouble =
                    Trouble::new(Reason::BadValue, "a test begins with `[[test]]`, in double brackets");
                self.reader.ledger.mistake(entry.node.span, trouble);
                return None;
            }
            _ => return fields::wrong(self.reader.ledger, &entry.node, "test", Kind::Tests),
        };
        let mut names: IndexMap<&str, Span> = IndexMap::new();
        let mut tests = Vec::new();
        for node in nodes {
            let Some(table) = node.as_table() else {
                fields::wrong::<()>(self.reader.ledger, node, "test", Kind::Tests);
                continue;
            };
            if let Some(name) = table.get("name").and_then(|entry| entry.node.as_text()) {
                match names.get(name.value.as_str()) {
                    Some(first) => {
                        let text = format!("two tests are called `{}`", name.value);
                        self.reader.ledger.duplicate(text, name.inner(), *first);
                    }
                    None => {
                        names.insert(&name.value, name.inner());
                    }
                }
            }
            let before = self.needs.len();
            let test = self.test(node.span, table);
            let found = self.needs.split_off(before);
            let stated = test.as_ref().map(|test| test.needs.clone()).unwrap_or_default();
            let own = |need: &StepNeed| stated.iter().any(|stated| stated.capability == need.capability);
            needs.extend(found.into_iter().filter(|need| !own(need)));
            tests.extend(test);
        }
        Some(tests)
    }

    fn test(&mut self, header: Span, table: &'t Table) -> Option<Test> {
        let fields = Fields::open(self.reader.ledger, table, &TEST, header);
        let name = fields.must(self.reader.ledger, "name", None);
        let place = name.map(|(_, entry)| self.reader.ledger.place(entry.key.span));
        let name = name.and_then(|(key, entry)| fields::text(self.reader.ledger, &entry.node, key));
        if let Some(name) = name.filter(|name| name.value.trim().is_empty()) {
            self.reader.ledger.mistake(name.inner(), Trouble::new(Reason::BadName, "a test's name is empty"));
        }
        let within = fields.limit(self.reader.ledger, "within");
        let repeat = fields.count(self.reader.ledger, "repeat").unwrap_or(1);
        let keep_going = fields.flag(self.reader.ledger, "keep_going").unwrap_or(false);
        let needs = fields.capabilities(self.reader.ledger, "needs", false);
        let ledger = &self.reader.ledger;
        let needs = needs.into_iter().map(|(capability, span)| Need {
            capability,
            by: "needs".to_owned(),
            place: ledger.place(span),
        });
        let needs = needs.collect();
        let env = self.reader.env(&fields, Asker::Host);
        // Faults end with their test.
        self.reader.seen.faults.clear();
        let steps = fields.must(self.reader.ledger, "steps", None);
        let steps = steps.map(|(_, entry)| self.test_steps(entry));
        let cleanup = match fields.get("cleanup") {
            Some((_, entry)) => self.list(&entry.node, "cleanup"),
            None => Vec::new(),
        };
        fields.finish();
        let name = name?.value.clone();
        Some(Test { name, steps: steps?, cleanup, needs, within, env, repeat, keep_going, place: place? })
    }

    fn test_steps(&mut self, entry: &'t Entry) -> Vec<crate::Step> {
        if let Some(nodes) = entry.node.as_array() {
            if nodes.is_empty() {
                let trouble = Trouble::new(Reason::BadValue, "a test without steps shows nothing");
                self.reader.ledger.mistake(entry.node.span, trouble);
            }
            if let Some(next) = nodes.get(STEPS_A_TEST) {
                let line = self.reader.ledger.sources.line_of(next.span.start);
                let text = format!("{} steps in one test; a test is a paragraph", nodes.len());
                let hint = format!("begin another `[[test]]` before line {line}, or where the story turns");
                self.reader.ledger.warning(entry.key.span, Trouble::new(Reason::LongTest, text).hint(hint));
            }
        }
        self.list(&entry.node, "steps")
    }
}
