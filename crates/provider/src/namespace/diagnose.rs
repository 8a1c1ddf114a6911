//! Why namespace hosts cannot be made here, and what to do about it.

use std::fs;
use std::process::ExitStatus;

use netsplit_model::{Reason, Trouble};
use rustix::io::Errno;

use super::control::Failure;
use super::stage::NO_FABRIC;

/// Steps of the network's process at which a failure is not a host's.
pub(super) const BEGIN_FAULT: &str = "begin a fault";
pub(super) const HEAL_FAULT: &str = "heal a fault";
pub(super) const BEGIN_CAPTURE: &str = "begin a capture";
pub(super) const END_CAPTURE: &str = "end a capture";
pub(super) const RUN_NETWORK: &str = "run the network between hosts";
pub(super) const CHANGE_NETWORK: &str = "change the network";

/// The keeper ended without a word.
pub(super) fn keeper_ended(status: Option<ExitStatus>) -> Trouble {
    let how = status.map_or_else(|| "it ended".to_owned(), |status| status.to_string());
    Trouble::new(Reason::NoAgent, format!("the keeper of the testbed ended before it said hello ({how})"))
        .because("the executable, started again, did not run netsplit's start-up hook")
        .guess("link netsplit into the executable itself, not into a library that is loaded later")
}

/// The keeper did not answer.
pub(super) fn keeper_silent() -> Trouble {
    Trouble::new(Reason::NoAgent, "the keeper of the testbed did not answer within 20s")
        .because("the executable was started through an emulator or loader, or the machine is very slow")
        .guess("start the test binary itself, not `ld.so` or `qemu-user` with it as an argument")
}

/// A failure of keeper, stage or host as a message with the remedy.
pub(super) fn explain(failure: &Failure, what: &str) -> Trouble {
    match failure.step.as_str() {
        NO_FABRIC => return crate::bed::no_network(),
        BEGIN_FAULT | HEAL_FAULT | BEGIN_CAPTURE | END_CAPTURE => {
            return Trouble::new(Reason::BadFault, format!("{what}: {}", failure.text));
        }
        CHANGE_NETWORK => {
            return Trouble::new(Reason::FaultRefused, format!("{what}: {}", failure.text));
        }
        _ => {}
    }
    // Not every failure is the kernel's: then it is none that has a rule or a limit behind it.
    let errno = if failure.errno == 0 { None } else { Some(Errno::from_raw_os_error(failure.errno)) };
    let rootless_steps = ["clone", "write uid_map", "write gid_map", "make mounts private", "mount tmpfs"];
    if rootless_steps.contains(&failure.step.as_str()) && !rustix::process::geteuid().is_root() {
        return no_user_namespaces(failure, errno);
    }
    if failure.step == "clone" && matches!(errno, Some(Errno::PERM | Errno::NOSPC)) {
        return no_user_namespaces(failure, errno);
    }
    if failure.step == "mount /proc" && errno == Some(Errno::PERM) {
        return Trouble::new(Reason::UsernsRestricted, "hosts cannot have a /proc of their own here")
            .because("parts of this machine's /proc are hidden, as in a container")
            .fix("docker run --security-opt systempaths=unconfined --security-opt seccomp=unconfined …")
            .or("run outside the container");
    }
    if matches!(errno, Some(Errno::NOSPC | Errno::NOMEM)) {
        return Trouble::new(Reason::HostNotReady, format!("{what}: {}: {}", failure.step, failure.text))
            .because("the machine has no memory left, or the limit on namespaces is reached")
            .guess("fewer hosts, or: cat /proc/sys/user/max_net_namespaces");
    }
    if matches!(errno, Some(Errno::MFILE)) {
        return Trouble::new(Reason::HostNotReady, format!("{what}: {}: {}", failure.step, failure.text))
            .because("each host takes two of the files that a process may have open")
            .fix("sudo prlimit --pid $$ --nofile=65536, and run it again")
            .or("fewer hosts");
    }
    let detail = if failure.step == what { String::new() } else { format!("{}: ", failure.step) };
    Trouble::new(Reason::HostNotReady, format!("{what}: {detail}{}", failure.text))
}

fn no_user_namespaces(failure: &Failure, errno: Option<Errno>) -> Trouble {
    let trouble = Trouble::new(
        Reason::UsernsRestricted,
        "user namespaces give no rights here, so `namespace` hosts cannot be made",
    );
    let is = |file: &str, value: &str| fs::read_to_string(file).is_ok_and(|text| text.trim() == value);
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return trouble
            .because("user.max_user_namespaces = 0")
            .fix("sudo sysctl -w user.max_user_namespaces=15000")
            .or("run as root, which needs no user namespace");
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return trouble
            .because("kernel.unprivileged_userns_clone = 0 (an older Debian's default)")
            .fix("sudo sysctl -w kernel.unprivileged_userns_clone=1")
            .or("run as root, which needs no user namespace");
    }
    if is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        return trouble
            .because(
                "kernel.apparmor_restrict_unprivileged_userns = 1 (Ubuntu's default: creating one succeeds, using it \
                 does not)",
            )
            .fix(
                "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0   until reboot; for good: \
                 netsplit explain userns-restricted",
            )
            .or("run as root, which needs no user namespace");
    }
    let what = format!("{} is refused: {}", failure.step, failure.text);
    match errno {
        Some(Errno::NOSPC) => trouble
            .because(format!("{what}; a limit on namespaces is reached, here or in a container around this"))
            .guess("cat /proc/sys/user/max_user_namespaces"),
        _ => trouble
            .because(format!(
                "{what}; a seccomp filter or a security module forbids it, as Docker's default profile does"
            ))
            .guess("in Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined")
            .or("run as root, which needs no user namespace"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_is_not_the_kernels_is_said_as_it_is() {
        let failure = Failure { step: "start a host".into(), errno: 0, text: "it is running".into() };
        let trouble = explain(&failure, "start host a");
        assert_eq!(trouble.text, "start host a: start a host: it is running");
        assert_eq!(trouble.name, Reason::HostNotReady);
    }
}
