//! Every C function that std, tokio, mio and socket2 call, and with them all that the cases link, is either the simulator's or
//! known to make no difference to a simulated program.

#[path = "symbols/elf.rs"]
mod elf;
#[path = "symbols/inert.rs"]
mod inert;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use self::inert::INERT;

/// The libraries of this name in a folder, the newest first.
fn libraries(folder: &Path, name: &str) -> Vec<PathBuf> {
    let start = format!("lib{name}-");
    let is_meant = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(&start) && name.ends_with(".rlib")
    };
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(is_meant).collect();
    found.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().modified().unwrap()));
    assert!(!found.is_empty(), "no library {name} in {}", folder.display());
    found
}

/// Where cargo puts what it builds: this test too.
fn built() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

fn sysroot() -> PathBuf {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = Command::new(compiler).args(["--print", "target-libdir"]).output().unwrap();
    PathBuf::from(String::from_utf8(told.stdout).unwrap().trim())
}

/// The C functions that somebody wants, each with who does.
fn wanted() -> BTreeMap<String, String> {
    let mut wanted = BTreeMap::new();
    let mut note = |who: &str, path: &Path| {
        let names = elf::symbols(&std::fs::read(path).unwrap()).wanted;
        for name in names {
            wanted.entry(name).or_insert_with(|| who.to_owned());
        }
    };
    note("std", &libraries(&sysroot(), "std")[0]);
    for name in ["tokio", "mio", "socket2"] {
        libraries(&built(), name).iter().for_each(|path| note(name, path));
    }
    note("a crate of the cases", &std::env::current_exe().unwrap());
    wanted
}

#[test]
fn each_function_is_simulated_or_inert() {
    // Lets the linker keep what the cases call.
    assert!(!simulated_crates::CASES.is_empty() && !netsplit_sim::is_simulated());
    let modelled = elf::symbols(&std::fs::read(&libraries(&built(), "netsplit_sim")[0]).unwrap()).defined;
    assert!(modelled.contains("epoll_wait") && modelled.contains("clock_gettime"), "{modelled:?}");
    let inert: BTreeSet<&str> = INERT.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let mut wanted = wanted();
    assert!(wanted.contains_key("epoll_wait") && wanted.contains_key("clock_gettime"), "{wanted:?}");
    wanted.retain(|name, _| !modelled.contains(name) && !inert.contains(name.as_str()));
    let unknown: Vec<_> = wanted.iter().map(|(name, who)| format!("  {name}, wanted by {who}")).collect();
    assert!(
        unknown.is_empty(),
        "functions of the C library that simulated programs would call for real:\n{}\n\
         fix: model each in crates/sim/src/front, or, if it can make no difference to a simulated program, give it to a \
         group of tests/crates/tests/symbols/inert.rs",
        unknown.join("\n")
    );
}

#[test]
fn nothing_stands_twice() {
    let modelled = elf::symbols(&std::fs::read(&libraries(&built(), "netsplit_sim")[0]).unwrap()).defined;
    let mut seen = BTreeSet::new();
    for name in INERT.iter().flat_map(|(_, names)| names.iter().copied()) {
        assert!(seen.insert(name), "{name} is listed twice");
        assert!(!modelled.contains(name), "{name} is simulated, and so not inert");
    }
}
