//! Before `main`: this executable may have been started to be a keeper, a program of the test, or a shim.
#![expect(unsafe_code, reason = "a constructor is placed by link section")]

use std::io::Write;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Pid;

use super::{keeper, sys};
use crate::program;

/// What a process is to become, set only between our own processes.
pub(super) const BECOME: &str = "NETSPLIT_BECOME";
/// The argument of a keeper. A libtest `main` that gets this far, because the hook is missing, refuses it rather than
/// run all tests again.
pub(super) const KEEPER_ARGUMENT: &str = "--netsplit-agent";

static HOOK_RAN: AtomicBool = AtomicBool::new(false);

// rustc keeps `#[used]` statics of every crate that is linked, so nothing has to refer to this one.
#[used]
// SAFETY: the section holds pointers to functions that the loader calls before `main`; this is one.
#[unsafe(link_section = ".init_array")]
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
        Some(("keeper", pid)) => match pid.parse().ok().and_then(Pid::from_raw) {
            Some(test) => keeper::run(test).map_or(70, |()| 0),
            None => refuse(role),
        },
        Some(("program", name)) => match program::find(name) {
            Ok(program) => (program.run)(std::env::args_os().skip(1).collect()),
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
        _ => refuse(role),
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

/// Whether this executable can be started as a keeper.
pub(super) fn ran() -> bool {
    HOOK_RAN.load(Ordering::Relaxed)
}

/// Whether the variable is set although this process became nothing by it.
pub(super) fn is_left_over() -> bool {
    std::env::var_os(BECOME).is_some_and(|role| !role.is_empty())
}
