//! The tests of this executable that can be simulated, found by name in the fresh process that simulates one seed.
//!
//! What such a process is told, and what it answers, is between the test and itself (`netsplit`).

use std::process::{Child, Command};
use std::{fmt, io};

use netsplit_model::Trouble;

use crate::{hook, sys};

/// A test that can be simulated.
#[derive(Clone, Copy)]
pub struct Simulation {
    /// The module that the attribute makes of it: `first::cases::survives`.
    pub name: &'static str,
    /// Simulates one seed in this process and returns its exit code. Called before `main`; standard input is the way
    /// to whoever asked for it.
    pub run: fn() -> i32,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Simulation({})", self.name)
    }
}

/// All that are linked into this executable; a link section, as [`PROGRAMS`](crate::program::PROGRAMS) is.
#[linkme::distributed_slice]
pub static SIMULATIONS: [Simulation];

/// The command that starts this executable again to simulate one seed of the test `name`. The process dies with the
/// thread that starts it.
///
/// # Errors
/// When the executable would become nothing.
pub fn command(name: &str) -> Result<Command, Trouble> {
    hook::again(&format!("simulate:{}:{name}", std::process::id()))
}

/// Starts what [`command`] gave. The memory of one such process lies where that of every other does: a lock may choose by
/// its own address who comes next, as parking_lot's do.
///
/// # Errors
/// The kernel's.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    sys::with_fixed_addresses(|| command.spawn())
}

/// Whether the kernel puts the memory of each of these processes elsewhere, because [`spawn`] may not forbid it.
pub fn has_random_addresses() -> bool {
    sys::has_random_addresses()
}

/// The test called `name`.
///
/// # Errors
/// When there is none, or more than one: functions within functions have one module.
pub(crate) fn find(name: &str) -> Result<Simulation, String> {
    let mut found = SIMULATIONS.iter().filter(|simulation| simulation.name == name);
    match (found.next(), found.next()) {
        (Some(simulation), None) => Ok(*simulation),
        (None, _) => Err(format!("no test `{name}` in this executable")),
        (Some(_), Some(_)) => {
            Err(format!("two tests `{name}` in one module\nfix: give each a name of its own"))
        }
    }
}
