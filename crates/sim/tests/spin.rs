//! A program that never gives up its turn does not hang a test: it is stopped and named.

use std::process::Command;
use std::time::Duration;

use netsplit_sim::{Config, Host, HostSpec, Spawn};

/// Set for the process that spins.
const SPINS: &str = "SPINS";

#[inline(never)]
fn spin_for_ever() -> i32 {
    let mut number = 0u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
    }
}

/// Does nothing but in the process that [`a_program_that_spins_is_stopped_and_named`] begins.
#[test]
fn spins() {
    if std::env::var_os(SPINS).is_none() {
        return;
    }
    let config = Config { seed: 5, spin: Some(Duration::from_millis(300)), ..Config::default() };
    let report = netsplit_sim::run(config, || {
        let (_reader, writer) = std::io::pipe().unwrap();
        let host = Host::add(&HostSpec::new("a", [10, 0, 0, 1].into(), "fd6e:7370::1".parse().unwrap()));
        let stream = || writer.try_clone().unwrap().into();
        let streams = [stream(), stream(), stream()];
        host.spawn(Spawn::new("spinner", streams, spin_for_ever)).unwrap();
        std::thread::sleep(Duration::from_secs(1));
    });
    panic!("it came to an end: {report:?}");
}

#[test]
fn a_program_that_spins_is_stopped_and_named() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["spins", "--exact", "--nocapture"]).env(SPINS, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(71), "{text}");
    for part in ["spinner on host a, seed 5, spins without ever giving up its turn", "spin_for_ever"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
}
