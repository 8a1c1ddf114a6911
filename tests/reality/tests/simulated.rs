//! The cases on the simulated kernel: under both runtimes they see what the real one shows.

use std::fs::File;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netsplit_sim::{Config, End, Exit, Host, HostSpec, Spawn};
use reality::{Place, differences, run_all};
use tokio::runtime::{Builder, Runtime};

const EXPECTED: &str = include_str!("../expected.txt");
/// Names of unix sockets lie below it.
const PLACE: &str = "/tmp/r";

type Build = fn() -> Runtime;

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn two_workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs all cases as a process on a host of its own; gives what they saw.
fn seen_on(name: &str, number: u16, build: Build) -> String {
    let address = [10, 0, 0, u8::try_from(number).unwrap()].into();
    let address6 = Ipv6Addr::new(0xfd6e, 0x7370, 0, 0, 0, 0, 0, number);
    let host = Host::add(&HostSpec::new(name, address, address6));
    let seen = Arc::new(Mutex::new(String::new()));
    let told = Arc::clone(&seen);
    let (_nothing, stdin) = std::io::pipe().unwrap();
    let (output, stdout) = std::io::pipe().unwrap();
    let main = move || {
        std::fs::create_dir_all(PLACE).unwrap();
        let runtime = build();
        *told.lock().unwrap() = runtime.block_on(run_all(&Place { dir: PLACE.into() }));
        runtime.shutdown_timeout(Duration::from_secs(1));
        0
    };
    let stderr = stdout.try_clone().unwrap();
    let streams = [stdin.into(), stdout.into(), stderr.into()];
    let process = host.spawn(Spawn::new("cases", streams, main)).unwrap();
    let said = std::io::read_to_string(File::from(OwnedFd::from(output))).unwrap();
    assert_eq!(process.exit(), Some(Exit::Code(0)), "{said}");
    let seen = seen.lock().unwrap();
    seen.clone()
}

#[test]
fn the_simulated_kernel_shows_what_the_real_one_does() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let report = netsplit_sim::run(Config { seed: 1, ..Config::default() }, move || {
        for (number, (name, build)) in
            [("one", one_thread as Build), ("two", two_workers)].into_iter().enumerate()
        {
            let number = u16::try_from(number + 1).unwrap();
            let text = seen_on(name, number, build);
            told.lock().unwrap().push(text);
        }
    });
    assert_eq!(report.end, End::Ended(Exit::Code(0)), "{report:#?}");
    for (text, what) in seen.lock().unwrap().iter().zip(["one thread", "two workers"]) {
        let differences = differences(EXPECTED, text);
        assert!(differences.is_empty(), "{what} saw other things:\n{differences}");
    }
}
