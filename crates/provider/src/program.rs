//! Programs of the test itself: async functions that hosts run as commands by executing the test binary.

use std::fmt;

/// A function that a host can run as a command.
#[derive(Clone, Copy)]
pub struct Program {
    /// Its name on the command line.
    pub name: &'static str,
    /// Runs it in this process and returns its exit code. Called before `main`.
    pub run: fn() -> i32,
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
pub fn find(name: &str) -> Option<Program> {
    PROGRAMS.iter().copied().find(|program| program.name == name)
}
