//! Before `main`: this executable may have been started to be a keeper, a program of the test, a shim, a guard, or the
//! process in which one seed of a test is simulated. What each of them does is elsewhere.
#![expect(unsafe_code, reason = "a constructor is placed by link section")]

use std::io::Write;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use netsplit_model::{Reason, Trouble};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::{guard, namespace, program, simulation, sys};

/// What a process is to become, set only between our own processes.
pub(crate) const BECOME: &str = "NETSPLIT_BECOME";
/// The argument of this executable when it is started again. A libtest `main` that gets this far, because the hook is
/// missing, refuses it rather than run all tests again.
const AGAIN_ARGUMENT: &str = "--netsplit-agent";

static HOOK_RAN: AtomicBool = AtomicBool::new(false);

// rustc keeps `#[used]` statics of every crate that is linked, so nothing has to refer to this one.
#[used]
// SAFETY: the section holds pointers to functions that the loader calls before `main`; this is one.
// Behind the simulator's own, which must be the first.
#[unsafe(link_section = ".init_array.00101")]
static HOOK: extern "C" fn() = before_main;

extern "C" fn before_main() {
    HOOK_RAN.store(true, Ordering::Relaxed);
    let Some(role) = std::env::var(BECOME).ok().filter(|role| !role.is_empty()) else { return };
    // No command may inherit the role: a command may be a netsplit test binary itself.
    sys::remove_variable(BECOME);
    sys::ignore_sigpipe();
    // Rust must not unwind into the loader, and `exit` would run the destructors of code that never began.
    let status = std::panic::catch_unwind(|| become_role(&role)).unwrap_or(101);
    let _closed = std::io::stdout().flush();
    sys::exit_now(status)
}

fn become_role(role: &str) -> i32 {
    match role.split_once(':') {
        Some(("keeper", pid)) => match process(pid) {
            Some(test) => namespace::become_keeper(test),
            None => refuse(role),
        },
        Some(("simulate", rest)) => match rest.split_once(':').map(|(pid, name)| (process(pid), name)) {
            Some((Some(test), name)) => {
                netsplit_sim::run_later_constructors(before_main);
                simulate(test, name)
            }
            _ => refuse(role),
        },
        Some(("program", name)) => match program::find(name) {
            Ok(program) => {
                netsplit_sim::run_later_constructors(before_main);
                (program.run)(std::env::args_os().skip(1).collect())
            }
            Err(text) => tell(&text),
        },
        Some(("shim", rest)) => match netsplit_agent::unix::shim::failure_fd(rest) {
            Some(fd) => {
                let failure = sys::take_fd(fd);
                // It returns only when it failed, and has told the agent why.
                netsplit_agent::unix::shim::run(rest, failure.as_fd(), BECOME);
                127
            }
            None => refuse(role),
        },
        None if role == guard::ROLE => guard::run(),
        _ => refuse(role),
    }
}

fn process(number: &str) -> Option<Pid> {
    number.parse().ok().and_then(Pid::from_raw)
}

/// Simulates a seed for the process `test`, and no longer than that lives.
fn simulate(test: Pid, name: &str) -> i32 {
    let tied = set_parent_process_death_signal(Some(Signal::KILL));
    // Only after that: had it died before, there would be no signal.
    match simulation::find(name) {
        _ if tied.is_err() || getppid() != Some(test) => 70,
        Ok(simulation) => (simulation.run)(),
        Err(text) => tell(&text),
    }
}

fn refuse(role: &str) -> i32 {
    tell(&format!("{BECOME}=`{role}` is no role of netsplit's\nfix: unset {BECOME}"))
}

#[expect(clippy::print_stderr, reason = "there is nobody else to tell")]
fn tell(text: &str) -> i32 {
    eprintln!("{text}");
    70
}

/// The command that starts this executable again to become `role`.
///
/// # Errors
/// When it would become nothing.
pub(crate) fn again(role: &str) -> Result<Command, Trouble> {
    if !HOOK_RAN.load(Ordering::Relaxed) {
        let text = "this program cannot be its own agent: netsplit's start-up hook did not run";
        return Err(Trouble::new(Reason::NoAgent, text)
            .fix("link netsplit into the executable itself, not into a library that is loaded later"));
    }
    if std::env::var_os(BECOME).is_some_and(|role| !role.is_empty()) {
        let text = format!("{BECOME} is set, but this process became no agent");
        return Err(Trouble::new(Reason::NoAgent, text).fix(format!("unset {BECOME}")));
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg(AGAIN_ARGUMENT).env(BECOME, role);
    Ok(command)
}
