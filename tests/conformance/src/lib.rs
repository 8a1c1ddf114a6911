//! Helpers of the conformance suite; the promises themselves are in `tests/`, one file a promise.
//!
//! [`load`] makes bytes and compares them, [`log`] reads a run's evidence back, [`run`] begins runs without the attribute.
//! [`programs`], [`tools`] and [`traffic`] are what hosts run, [`measure`] counts what their network did, [`matrix`] strikes a
//! replicated service, [`census`] counts what is left of a tree of processes of this machine.

pub mod census;
pub mod load;
pub mod log;
pub mod matrix;
pub mod measure;
pub mod programs;
pub mod run;
pub mod tools;
pub mod traffic;

use std::path::Path;

use netsplit::{Error, Outcome, Reason, model::NotStartedKind};

/// Sizes at which buffers of every layer have their edges, up and down (A09): pages, pipes, frames, windows.
pub const SIZES: [usize; 11] = [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, MIB - 1, MIB, MIB + 1];

/// A mebibyte.
pub const MIB: usize = 1 << 20;

/// An empty folder of this machine that is removed when it goes.
///
/// # Panics
/// When /tmp is full.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder in /tmp")
}

/// `path` as a relative path from where the test runs: `../../tmp/x`.
///
/// # Panics
/// When `path` is not absolute.
pub fn from_here(path: &Path) -> String {
    let here = std::env::current_dir().expect("a working directory");
    let up = "../".repeat(here.components().count() - 1);
    format!("{up}{}", path.strip_prefix("/").expect("an absolute path").display())
}

/// The error of something that must fail.
///
/// # Panics
/// When it did not fail.
#[track_caller]
pub fn error_of<T>(result: netsplit::Result<T>) -> Error {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error,
    }
}

/// Asserts that something failed for this reason; gives its whole message.
///
/// # Panics
/// When it succeeded or failed otherwise.
#[track_caller]
pub fn fails<T>(result: netsplit::Result<T>, reason: Reason) -> String {
    let error = error_of(result);
    assert_eq!(error.name(), reason, "{error}");
    error.to_string()
}

/// Asserts that a command could not start for this reason, as outcome, reason and exit code say; gives its message.
///
/// # Panics
/// When it started or failed otherwise.
#[track_caller]
pub fn could_not_start<T>(result: netsplit::Result<T>, kind: NotStartedKind) -> String {
    let error = error_of(result);
    let outcome = error.outcome().unwrap_or_else(|| panic!("no outcome: {error}"));
    match outcome {
        Outcome::CouldNotStart(not) => assert_eq!(not.kind, kind, "{error}"),
        other => panic!("{other:?}: {error}"),
    }
    let is_missing = kind == NotStartedKind::NoSuchProgram;
    let reason = if is_missing { Reason::NoSuchProgram } else { Reason::CouldNotStart };
    assert_eq!((error.name(), outcome.exit_code()), (reason, 241), "{error}");
    error.to_string()
}
