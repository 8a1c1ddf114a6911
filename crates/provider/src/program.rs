//! Programs of the test itself: async functions that hosts run as commands, real ones by executing the test binary.

use std::ffi::OsString;
use std::fmt;

/// A function that a host can run as a command.
#[derive(Clone, Copy)]
pub struct Program {
    /// Its module and name: `first::cases/kvd`, on a host `kvd`.
    pub name: &'static str,
    /// Runs it in this process with the words behind its name, and returns its exit code. Called before `main`, or in a
    /// simulated process.
    pub run: fn(Vec<OsString>) -> i32,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program({})", self.name)
    }
}

/// All programs linked into this executable. A link section, because it must be complete before any constructor has
/// run: with link-time optimisation ours may run first.
#[linkme::distributed_slice]
pub static PROGRAMS: [Program];

/// The program called `name`.
///
/// # Errors
/// When there is none, or more than one: functions within functions have one module.
pub fn find(name: &str) -> Result<Program, String> {
    find_among(&PROGRAMS, name)
}

pub(crate) fn find_among(programs: &[Program], name: &str) -> Result<Program, String> {
    let mut found = programs.iter().filter(|program| program.name == name);
    match (found.next(), found.next()) {
        (Some(program), None) => Ok(*program),
        (None, _) => Err(format!("no program `{name}` in this executable")),
        (Some(_), Some(_)) => {
            Err(format!("two programs `{name}` in one module\nfix: give each a name of its own"))
        }
    }
}
