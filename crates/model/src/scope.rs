//! Which environment a process sees: scopes from the nearest outwards, each may set a variable or take it away.

use std::collections::BTreeMap;

/// Something that carries environment for what is below it: a command, a test, a host, the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// What it is, for the effective view: `test the cluster forms`.
    pub name: String,
    /// Variables; `None` takes the variable away from everything below.
    pub variables: BTreeMap<String, Option<String>>,
}

/// Scopes, the nearest first.
#[derive(Clone, Copy, Debug)]
pub struct Scopes<'a>(pub &'a [&'a Scope]);

/// One variable of the effective environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effective<'a> {
    /// The variable.
    pub name: &'a str,
    /// The variable's value.
    pub value: &'a str,
    /// The scope it comes from.
    pub scope: &'a str,
}

impl Scope {
    /// An empty scope called `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), variables: BTreeMap::new() }
    }

    /// Sets a variable.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.variables.insert(name.into(), Some(value.into()));
        self
    }

    /// Takes a variable away from everything below.
    pub fn unset(&mut self, name: impl Into<String>) -> &mut Self {
        self.variables.insert(name.into(), None);
        self
    }
}

impl<'a> Scopes<'a> {
    /// The variables that a process sees, by name, each with the scope it comes from: the nearest scope that speaks of it
    /// wins.
    pub fn effective(self) -> impl Iterator<Item = Effective<'a>> {
        let mut said: BTreeMap<&str, Option<Effective<'_>>> = BTreeMap::new();
        for scope in self.0 {
            for (name, value) in &scope.variables {
                let effective = value.as_deref().map(|value| Effective { name, value, scope: &scope.name });
                said.entry(name).or_insert(effective);
            }
        }
        said.into_values().flatten()
    }

    /// What the nearest scope that speaks of `name` says.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.0.iter().find_map(|scope| scope.variables.get(name))?.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_scope_wins_and_may_take_away() {
        let mut command = Scope::new("command");
        command.set("A", "command").unset("C");
        let mut test = Scope::new("test");
        test.set("A", "test").set("B", "test").set("C", "test");
        let mut host = Scope::new("host");
        host.set("B", "host").set("D", "host");
        let scopes = [&command, &test, &host];
        let effective = Scopes(&scopes).effective();
        let shown: Vec<_> = effective.map(|e| format!("{}={} {}", e.name, e.value, e.scope)).collect();
        assert_eq!(shown, ["A=command command", "B=test test", "D=host host"]);
        assert_eq!(Scopes(&scopes).get("C"), None);
        assert_eq!(Scopes(&scopes).get("D"), Some("host"));
    }
}
