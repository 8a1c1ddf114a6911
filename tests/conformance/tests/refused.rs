//! Where user namespaces are forbidden the message says so by name, with the rule and the remedy: the commonest trouble
//! that a user ever meets. Each case is a machine's rule, laid on a child of this test.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

const NOBODY: u32 = 65_534;

/// What the runner says when it makes a testbed under `rule`, as an ordinary user: as this one, or as nobody.
fn under(rule: &str) -> (bool, String) {
    as_user(rule, NOBODY)
}

/// The same as `user`, where we may choose.
fn as_user(rule: &str, user: u32) -> (bool, String) {
    let folder = conformance::scratch();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a mode");
    let mut runner = Command::new(env!("CARGO_BIN_EXE_conformance-runner"));
    runner.args(["one", rule]).env("NETSPLIT_DIR", folder.path()).env("RUST_BACKTRACE", "1");
    runner.current_dir(folder.path());
    if rustix::process::geteuid().is_root() {
        chown(folder.path(), Some(user), Some(user)).expect("chown");
        runner.uid(user).gid(user);
    }
    let output = runner.output().expect("the runner");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Asserts that the message has its name, says `because`, gives a way out, and nothing that is ours.
fn refused(rule: &str, says: &[&str]) {
    let (made, text) = under(rule);
    assert!(!made, "{rule}: it came up");
    assert!(
        text.starts_with("user namespaces give no rights here, so `namespace` hosts cannot be made"),
        "{text}"
    );
    assert!(text.contains("[userns-restricted]"), "{text}");
    for what in says.iter().chain(&["\nor   run as root, which needs no user namespace"]) {
        assert!(text.contains(what), "{what}: {text}");
    }
    for ours in ["panicked", "backtrace", "stage", "keeper"] {
        assert!(!text.contains(ours), "{ours}: {text}");
    }
}

#[test]
fn an_ordinary_user_needs_nothing_else() {
    let (made, text) = under("none");
    assert!(made, "{text}");
}

/// user.max_user_namespaces = 0.
#[test]
fn a_limit_of_none_is_named_with_its_switch() {
    refused(
        "no-limit",
        &["because user.max_user_namespaces = 0", "fix: sudo sysctl -w user.max_user_namespaces=15000"],
    );
}

/// As Docker's default filter has it.
#[test]
fn a_filter_of_clone_is_named() {
    refused("no-clone", &["because clone is refused: Operation not permitted", "seccomp", "--security-opt"]);
}

/// As Ubuntu's AppArmor has it: a user namespace can be made, and using it is refused.
#[test]
fn a_filter_of_mount_is_named() {
    refused("no-mount", &["because make mounts private is refused", "a security module forbids it"]);
}

/// Root as well is told what was refused. Many times: the word of who met the refusal must come through, however soon
/// another sees that it ended.
#[test]
fn what_was_refused_is_always_said() {
    for _ in 0..20 {
        let (made, text) = as_user("no-mount", 0);
        assert!(!made && text.contains("make mounts private"), "{text}");
        assert!(text.contains("Operation not permitted"), "{text}");
    }
}
