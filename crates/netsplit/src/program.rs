//! Programs of the test itself, and what they know of the host they run on.

use std::ffi::OsString;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::time::{Duration, Instant};

use netsplit_model::HostName;
use netsplit_model::units::At;
use netsplit_sim::Random;

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
    peers: Vec<Peer>,
    seed: u64,
    /// When the process was started, in the run's time, and since when we know.
    started: Duration,
    known_since: Instant,
}

/// Another host of the testbed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    name: String,
    address: String,
}

impl Peer {
    /// Its name, which resolves to its addresses.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IPv4 address.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Machine {
    /// The machine that this process runs on, from the variables that every process on a host sees.
    fn here() -> Self {
        Self::from_variables(machine_variable)
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name| variable(name).unwrap_or_default();
        let peer = |pair: &str| {
            let (name, address) = pair.split_once('=')?;
            Some(Peer { name: name.to_owned(), address: address.to_owned() })
        };
        Self {
            name: text("NETSPLIT_HOST"),
            role: text("NETSPLIT_ROLE"),
            index: text("NETSPLIT_INDEX").parse().unwrap_or(0),
            address: text("NETSPLIT_ADDRESS"),
            address6: text("NETSPLIT_ADDRESS6"),
            peers: text("NETSPLIT_PEERS").split(',').filter_map(peer).collect(),
            seed: text("NETSPLIT_SEED").parse().unwrap_or(0),
            started: Duration::from_nanos(text("NETSPLIT_STARTED").parse().unwrap_or(0)),
            known_since: Instant::now(),
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

    /// The other hosts, in the order in which they were made.
    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The run's seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How long the run has lasted, by this host's clock: as exact as the start of this process was quick.
    pub fn now(&self) -> Duration {
        self.started + self.known_since.elapsed()
    }

    /// The stream of random numbers that this host has for `purpose`: the same for the same seed, whatever is drawn for
    /// other purposes and on other hosts. Each call gives it from its begin.
    pub fn random(&self, purpose: &str) -> Random {
        Random::new(self.seed, &format!("{}/{purpose}", self.name))
    }

    /// Prints a line with the time of [`now`](Self::now): `2.104s elected`.
    #[expect(clippy::print_stdout, reason = "what a program says is its output")]
    pub fn log(&self, text: impl Display) {
        println!("{} {text}", At(self.now()));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(host: &str, seed: &str) -> Machine {
        let variables = [
            ("NETSPLIT_HOST", host),
            ("NETSPLIT_PEERS", "b=10.0.0.2,c=10.0.0.3"),
            ("NETSPLIT_SEED", seed),
            ("NETSPLIT_STARTED", "1500000000"),
        ];
        Machine::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_machine_knows_its_peers_and_its_time() {
        let known = machine("a", "7");
        let peers: Vec<_> = known.peers().iter().map(|peer| (peer.name(), peer.address())).collect();
        assert_eq!(peers, [("b", "10.0.0.2"), ("c", "10.0.0.3")]);
        assert!(known.now() >= Duration::from_millis(1500) && known.now() < Duration::from_secs(1000));
        assert_eq!(Machine::from_variables(|_| None).peers(), []);
    }

    #[test]
    fn its_chance_hangs_on_seed_host_and_purpose_alone() {
        let draw = |host, seed, purpose| machine(host, seed).random(purpose).draw();
        assert_eq!(draw("a", "7", "election"), draw("a", "7", "election"));
        let others = [("b", "7", "election"), ("a", "8", "election"), ("a", "7", "backoff")];
        for (host, seed, purpose) in others {
            assert_ne!(draw(host, seed, purpose), draw("a", "7", "election"), "{host} {seed} {purpose}");
        }
    }
}
