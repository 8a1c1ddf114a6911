//! How a simulation ends whose test does not: by name, and before the machine's memory does.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use netsplit_sim::{Config, End, Host, HostSpec, Spawn};

/// Set for the process that simulates: which end.
const ENDS: &str = "ENDS";

/// Answers every datagram with two.
fn storm(begins: bool) -> i32 {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 7)).unwrap();
    if begins {
        socket.send_to(b"x", "10.0.0.1:7").unwrap();
    }
    let mut byte = [0; 1];
    loop {
        let (_, from) = socket.recv_from(&mut byte).unwrap();
        socket.send_to(&byte, from).unwrap();
        socket.send_to(&byte, from).unwrap();
    }
}

fn flood() {
    let (_reader, writer) = std::io::pipe().unwrap();
    for number in [1, 2] {
        let address = [10, 0, 0, number].into();
        let host = Host::add(&HostSpec::new(
            format!("h{number}"),
            address,
            format!("fd6e:7370::{number}").parse().unwrap(),
        ));
        let stream = || writer.try_clone().unwrap().into();
        host.spawn(Spawn::new("storm", [stream(), stream(), stream()], move || storm(number == 2))).unwrap();
    }
    std::thread::sleep(Duration::from_secs(3600));
}

/// Does nothing but in the processes that the tests below begin.
#[test]
#[expect(clippy::exit, reason = "threads of the simulation stay parked")]
fn ends() {
    let Some(how) = std::env::var_os(ENDS) else { return };
    let is_flood = how == "flood";
    let test = if is_flood { flood } else { || std::thread::park() };
    let report = netsplit_sim::run(Config { seed: 5, ..Config::default() }, test);
    let is_right = match &report.end {
        End::Flood(_) => is_flood && report.now < Duration::from_secs(1),
        End::Deadlock(_) => !is_flood,
        _ => false,
    };
    std::process::exit(if is_right { 42 } else { 1 });
}

fn ends_as(how: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["ends", "--exact", "--nocapture"]).env(ENDS, how).output().unwrap();
    assert_eq!(output.status.code(), Some(42), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn packets_that_breed_packets_are_a_flood() {
    ends_as("flood");
}

#[test]
fn a_test_that_waits_for_nothing_is_a_deadlock() {
    ends_as("deadlock");
}
