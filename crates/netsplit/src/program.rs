//! Programs of the test itself, and what they know of the host they run on.

use std::ffi::OsString;
use std::fmt::Debug;
use std::future::Future;

use netsplit_model::HostName;

use crate::settings::machine_variable;

/// What `#[netsplit::program]` makes of an async function: a value that hosts can run.
pub trait AsProgram: Copy {
    /// Its module and name: `first::cases/kvd`, on a host `kvd`.
    const NAME: &'static str;
}

/// The host that this program runs on.
#[derive(Clone, Debug)]
pub struct Machine {
    name: String,
    role: String,
    index: usize,
    address: String,
    address6: String,
    seed: u64,
}

impl Machine {
    /// The machine that this process runs on, from the variables that every process on a host sees.
    fn here() -> Self {
        let text = |name| machine_variable(name).unwrap_or_default();
        Self {
            name: text("NETSPLIT_HOST"),
            role: text("NETSPLIT_ROLE"),
            index: text("NETSPLIT_INDEX").parse().unwrap_or(0),
            address: text("NETSPLIT_ADDRESS"),
            address6: text("NETSPLIT_ADDRESS6"),
            seed: text("NETSPLIT_SEED").parse().unwrap_or(0),
        }
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its role.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Its number within its role, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its IPv4 address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its IPv6 address.
    pub fn address6(&self) -> &str {
        &self.address6
    }

    /// The run's seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// What a program may return: nothing, an exit code, or a `Result` whose error is printed.
pub trait IntoExitCode {
    /// The process's exit code.
    fn into_exit_code(self) -> i32;
}

impl IntoExitCode for () {
    fn into_exit_code(self) -> i32 {
        0
    }
}

impl IntoExitCode for u8 {
    fn into_exit_code(self) -> i32 {
        self.into()
    }
}

impl<T: IntoExitCode, E: Debug> IntoExitCode for Result<T, E> {
    #[expect(clippy::print_stderr, reason = "as a main function would")]
    fn into_exit_code(self) -> i32 {
        match self {
            Ok(value) => value.into_exit_code(),
            Err(error) => {
                eprintln!("Error: {error:?}");
                1
            }
        }
    }
}

/// Runs a program's body in a runtime of its own. Called by the code that `#[netsplit::program]` makes.
#[doc(hidden)]
#[expect(clippy::print_stderr, reason = "as a main function would")]
pub fn run_program<F, T>(
    multi_thread: bool,
    arguments: Vec<OsString>,
    body: impl FnOnce(Machine, Vec<String>) -> F,
) -> i32
where
    F: Future<Output = T>,
    T: IntoExitCode,
{
    let mut builder = if multi_thread {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: no runtime: {error}");
            return 70;
        }
    };
    let arguments = match arguments.into_iter().map(OsString::into_string).collect() {
        Ok(arguments) => arguments,
        Err(argument) => {
            eprintln!("Error: an argument is no UTF-8: {argument:?}");
            return 64;
        }
    };
    let code = runtime.block_on(body(Machine::here(), arguments)).into_exit_code();
    // Tasks that block for ever do not hold up the end of the program, as with a main function that returns.
    runtime.shutdown_background();
    code
}

/// The host that this program runs on; `None` outside of one.
pub fn machine() -> Option<Machine> {
    machine_variable("NETSPLIT_HOST").filter(|name| HostName::new(name).is_ok()).map(|_| Machine::here())
}
