//! Which crate may know which: arrows point down only.
//!
//! A new arrow is a change of the architecture: it is argued for in ARCHITECTURE.md and then stands here.

use std::collections::BTreeSet;

/// What each package may depend on, itself below everything it names. Anything may know `netsplit-model`, which knows
/// nothing; what only tests need may be anything that lies below.
const ALLOWED: [(&str, &[&str]); 21] = [
    ("netsplit-model", &[]),
    ("netsplit-wire", &[]),
    ("netsplit-netmodel", &[]),
    ("netsplit-fabric", &["netsplit-netmodel"]),
    ("netsplit-sim", &["netsplit-netmodel"]),
    ("netsplit-macros", &[]),
    ("netsplit-link", &["netsplit-wire"]),
    ("netsplit-agent", &["netsplit-link", "netsplit-wire"]),
    (
        "netsplit-provider",
        &["netsplit-agent", "netsplit-link", "netsplit-fabric", "netsplit-sim", "netsplit-netmodel"],
    ),
    ("netsplit-report", &[]),
    // It draws its excerpts as reports do, and its words of the network are those of the model.
    ("netsplit-scenario", &["netsplit-netmodel", "netsplit-report"]),
    (
        "netsplit",
        &[
            "netsplit-macros",
            "netsplit-provider",
            "netsplit-report",
            "netsplit-link",
            "netsplit-wire",
            "netsplit-netmodel",
            "netsplit-sim",
        ],
    ),
    (
        "netsplit-cli",
        &[
            "netsplit",
            "netsplit-scenario",
            "netsplit-report",
            "netsplit-provider",
            "netsplit-agent",
            "netsplit-link",
            "netsplit-wire",
            "netsplit-netmodel",
        ],
    ),
    ("conformance", &["netsplit", "netsplit-provider"]),
    // What it asks of the kernel it will ask of the simulator; no case knows of either.
    ("reality", &["netsplit-sim"]),
    ("simulated-crates", &["netsplit-sim"]),
    // Counts what is left behind as the conformance suite does; measures the network without hosts of a testbed.
    (
        "netsplit-bench",
        &["netsplit", "netsplit-provider", "netsplit-fabric", "netsplit-netmodel", "conformance"],
    ),
    // Simulations without the rest of netsplit, beside peers.
    ("netsplit-bench-sim", &["netsplit-sim", "netsplit-netmodel"]),
    // Their programs know nothing of netsplit; their tests do, and one promise is asked of them as of etcd.
    ("kv-example", &["netsplit", "conformance"]),
    ("quorum-example", &["netsplit", "conformance"]),
    ("xtask", &[]),
];

/// One manifest's edges to other packages of the workspace.
struct Manifest {
    path: String,
    name: String,
    needs: BTreeSet<String>,
    /// What only its tests need.
    tests_need: BTreeSet<String>,
}

pub(super) fn check(files: &[(String, String)]) -> Vec<String> {
    let is_member = |path: &str| path.ends_with("/Cargo.toml") && path != "fuzz/Cargo.toml";
    let manifests = files.iter().filter(|(path, _)| is_member(path));
    manifests.filter_map(|(path, text)| parse(path, text)).flat_map(|manifest| wrong(&manifest)).collect()
}

fn parse(path: &str, text: &str) -> Option<Manifest> {
    let table: toml::Table = text.parse().ok()?;
    let name = table.get("package")?.get("name")?.as_str()?.to_owned();
    let of = |key: &str| {
        let names = table.get(key).and_then(toml::Value::as_table).into_iter().flat_map(|table| table.keys());
        names.filter(|other| is_ours(other) && **other != name).cloned().collect()
    };
    let (needs, tests_need) = (of("dependencies"), of("dev-dependencies"));
    Some(Manifest { path: path.to_owned(), needs, tests_need, name })
}

fn is_ours(name: &str) -> bool {
    name.starts_with("netsplit") || ALLOWED.iter().any(|(ours, _)| *ours == name)
}

fn allowed(name: &str) -> Option<&'static [&'static str]> {
    ALLOWED.iter().find(|(known, _)| *known == name).map(|(_, needs)| *needs)
}

fn wrong(manifest: &Manifest) -> Vec<String> {
    let Manifest { path, name, needs, tests_need } = manifest;
    let Some(may) = allowed(name) else {
        return vec![format!("{path}: package `{name}` has no line in xtask/src/tidy/edges.rs")];
    };
    let is_model = |other: &str| other == "netsplit-model" && name != "netsplit-model";
    let edges = needs.iter().filter(|other| !is_model(other) && !may.contains(&other.as_str()));
    let test_edges = tests_need.iter().filter(|other| !is_model(other) && !lies_below(name, other));
    edges
        .chain(test_edges)
        .map(|other| format!("{path}: new edge {name} -> {other}; see xtask/src/tidy/edges.rs"))
        .collect()
}

/// Whether `name` leads to `other` in some steps.
fn lies_below(name: &str, other: &str) -> bool {
    allowed(name).unwrap_or_default().iter().any(|next| *next == other || lies_below(next, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn troubles(name: &str, dependencies: &str) -> usize {
        let text = format!("[package]\nname = \"{name}\"\n{dependencies}");
        check(&[("x/Cargo.toml".to_owned(), text)]).len()
    }

    #[test]
    fn arrows_point_down() {
        assert_eq!(
            troubles("netsplit-link", "[dependencies]\nnetsplit-wire.workspace = true\nbytes = \"1\""),
            0
        );
        assert_eq!(troubles("netsplit-wire", "[dependencies]\nnetsplit-link.workspace = true"), 1);
        assert_eq!(troubles("netsplit-agent", "[dependencies]\nnetsplit-model.workspace = true"), 0);
        assert_eq!(troubles("netsplit-provider", "[dependencies]\nnetsplit-wire.workspace = true"), 1);
        assert_eq!(troubles("netsplit-provider", "[dev-dependencies]\nnetsplit-wire.workspace = true"), 0);
        assert_eq!(troubles("netsplit-new", ""), 1);
    }

    #[test]
    fn the_table_has_no_circle() {
        for (name, _) in ALLOWED {
            assert!(!lies_below(name, name), "{name}");
        }
    }
}
