//! Alarms reach who waits for them, also when nobody else lets time pass.
#![expect(unsafe_code, reason = "std has no alarms")]

use std::io::Read;

use netsplit_sim::{Config, End, Exit, Host, HostSpec, Spawn};

extern "C" fn handled(_signal: i32) {}

/// Nobody else has a turn meanwhile.
fn waits_for_alarms() -> i32 {
    // SAFETY: the handler does nothing; all others take numbers, or nothing.
    unsafe {
        libc::signal(libc::SIGALRM, handled as *const () as usize);
        assert_eq!((libc::alarm(1), libc::sleep(100)), (0, 99));
        assert_eq!((libc::alarm(1), libc::pause()), (0, -1));
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        libc::alarm(1);
        libc::pause();
    }
    unreachable!("it has no handler any more")
}

#[test]
fn alarms_interrupt_who_waits_alone() {
    let report = netsplit_sim::run(Config { seed: 3, ..Config::default() }, || {
        let host = Host::add(&HostSpec::new("a", [10, 0, 0, 1].into(), "fd6e:7370::1".parse().unwrap()));
        let (mut reader, writer) = std::io::pipe().unwrap();
        let stream = || writer.try_clone().unwrap().into();
        let streams = [stream(), stream(), stream()];
        let process = host.spawn(Spawn::new("sleeper", streams, waits_for_alarms)).unwrap();
        drop(writer);
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(process.exit(), Some(Exit::Signal(libc::SIGALRM)), "{said}");
    });
    assert_eq!(report.end, End::Ended(Exit::Code(0)));
}
