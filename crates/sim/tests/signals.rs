//! Whom a program can signal: the processes of its host, and nobody else.
#![expect(unsafe_code, reason = "std has no signals")]

use std::io::Read;

use netsplit_sim::{Config, End, Exit, Host, HostSpec, Spawn};

fn kill(pid: i32, signal: i32) -> Option<i32> {
    // SAFETY: the call takes numbers only.
    let done = unsafe { libc::kill(pid, signal) };
    (done != 0).then(|| std::io::Error::last_os_error().raw_os_error().unwrap_or_default())
}

fn signals_others() -> i32 {
    // The first process is the test, which lives on no host.
    assert_eq!(kill(1, libc::SIGKILL), Some(libc::ESRCH));
    assert_eq!(kill(-1, libc::SIGKILL), Some(libc::EPERM));
    assert_eq!(kill(1000, 0), Some(libc::ESRCH));
    assert_eq!(kill(0, 0), None);
    assert_eq!(kill(std::process::id().cast_signed(), libc::SIGTERM), None);
    unreachable!("it has no handler")
}

#[test]
fn a_program_reaches_its_own_host_only() {
    let report = netsplit_sim::run(Config { seed: 3, ..Config::default() }, || {
        let host = Host::add(&HostSpec::new("a", [10, 0, 0, 1].into(), "fd6e:7370::1".parse().unwrap()));
        let (mut reader, writer) = std::io::pipe().unwrap();
        let stream = || writer.try_clone().unwrap().into();
        let streams = [stream(), stream(), stream()];
        let process = host.spawn(Spawn::new("killer", streams, signals_others)).unwrap();
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(process.exit(), Some(Exit::Signal(libc::SIGTERM)), "{said}");
    });
    assert_eq!(report.end, End::Ended(Exit::Code(0)));
}
