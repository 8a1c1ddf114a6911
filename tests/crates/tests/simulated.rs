//! Every case on simulated hosts: it prints what is right, and its seed says all that happens: in another process, another
//! folder, another environment, and with the other way to hand over turns.

use std::io::Read;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netsplit_sim::{Config, End, Exit, Host, HostSpec, Process, Spawn, Switch};
use simulated_crates::{CASES, Case, Main};

/// In the environment of a process that is to run a case: its name, the seed, how turns are handed over.
const ASKED: &str = "SIMULATED_CASE";
/// Where it writes what came of it.
const OUTCOME: &str = "SIMULATED_OUTCOME";

/// What came of a case, as text: first what depends on the seed, then what does not.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    trace: String,
    rest: String,
}

/// Runs a case in an OS process of its own, whose folder and environment are padded by so many bytes.
fn run(case: &Case, seed: u64, switch: Switch, padding: usize) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let within = folder.path().join("x".repeat(padding.min(200)));
    std::fs::create_dir_all(&within).unwrap();
    let outcome = folder.path().join("outcome");
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_case_in_a_process_of_its_own", "--nocapture", "--test-threads", "1"]);
    child.env(ASKED, format!("{}:{seed}:{switch:?}", case.name)).env(OUTCOME, &outcome);
    child.env("PADDING", "x".repeat(padding)).current_dir(within);
    let output = child.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let outcome = std::fs::read_to_string(&outcome).unwrap_or_else(|error| {
        panic!("{} with seed {seed} has no outcome ({error}, {}):\n{told}", case.name, output.status)
    });
    let (trace, rest) = outcome.split_once('\n').unwrap();
    Outcome { trace: trace.to_owned(), rest: format!("{rest}{told}") }
}

/// That a case prints what is right, and that its seed says all.
fn holds(name: &str) {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    let first = run(case, 1, Switch::Carrier, 0);
    assert_eq!(first.rest, format!("Ended(Code(0)), 0 traps\n{}", case.prints));
    assert_eq!(run(case, 1, Switch::Carrier, 5000), first, "another process, folder and environment");
    assert_eq!(run(case, 1, Switch::Futex, 0), first, "the other way to hand over turns");
    let other = run(case, 2, Switch::Carrier, 0);
    assert_ne!(other.trace, first.trace, "another seed");
    assert_eq!(other.rest, first.rest, "another seed");
}

macro_rules! cases {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { holds($name); })*

        #[test]
        fn every_case_is_tested() {
            let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
            assert_eq!([$($name),*], names[..]);
        }
    };
}

cases! {
    axum_and_reqwest: "axum and reqwest",
    hyper: "hyper",
    codecs: "tokio_util codecs",
    tonic: "tonic",
    quinn: "quinn",
    rustls: "rustls with ring",
    rusqlite: "rusqlite from four threads",
    redb: "redb",
    memmap2: "memmap2",
    files: "tokio::fs with fsync",
    rayon: "rayon",
    tracing: "tracing-subscriber",
    hickory_configured: "hickory with a configuration of its own",
    hickory_from_system: "hickory with resolv.conf",
}

/// Not a test of its own: what the others run, in OS processes that are asked for a case.
#[test]
#[expect(unsafe_code, reason = "threads of a simulation stay parked, so that its OS process ends at once")]
fn a_case_in_a_process_of_its_own() {
    let Ok(asked) = std::env::var(ASKED) else { return };
    let mut parts = asked.rsplitn(3, ':');
    let switch = if parts.next() == Some("Futex") { Switch::Futex } else { Switch::Carrier };
    let seed = parts.next().unwrap().parse().unwrap();
    let name = parts.next().unwrap();
    let case = *CASES.iter().find(|case| case.name == name).unwrap();
    let printed = Arc::new(Mutex::new(String::new()));
    let theirs = Arc::clone(&printed);
    let limit = Duration::from_secs(600);
    let config = Config { seed, switch, limit, ..Config::default() };
    let report = netsplit_sim::run(config, move || {
        simulate(&case, &theirs);
    });
    let end = match &report.end {
        End::Ended(exit) => format!("Ended({exit:?})"),
        other => format!("{other:?}"),
    };
    let trace = format!(
        "{:016x} at {:?}, {} events, {} turns",
        report.trace, report.now, report.events, report.turns
    );
    let outcome = format!("{trace}\n{end}, {} traps\n{}", report.traps, printed.lock().unwrap());
    std::fs::write(std::env::var_os(OUTCOME).unwrap(), outcome).unwrap();
    // SAFETY: nothing of this process is of use any more.
    unsafe { libc::_exit(0) }
}

/// The control process: it has the hosts, and waits for the client.
fn simulate(case: &Case, printed: &Arc<Mutex<String>>) {
    let client = add_host("client", 1);
    for (path, contents) in case.files {
        client.write_file(path, contents.as_bytes()).unwrap();
    }
    for (index, (name, main)) in case.servers.iter().enumerate() {
        start(add_host(name, 2 + u8::try_from(index).unwrap()), name, *main, printed);
    }
    finish(start(client, "client", case.client, printed));
    if let Some(main) = case.after_power_loss {
        client.power_off();
        client.power_on();
        finish(start(client, "client", main, printed));
    }
}

fn add_host(name: &str, number: u8) -> Host {
    let address = Ipv4Addr::new(10, 0, 0, number);
    let address6 = Ipv6Addr::new(0xfd6e, 0x7370, 0, 0, 0, 0, 0, number.into());
    Host::add(&HostSpec::new(name, address, address6))
}

/// A process whose output, and that of all others, comes together.
fn start(host: Host, name: &str, main: Main, printed: &Arc<Mutex<String>>) -> Started {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let (stdin, _writer) = std::io::pipe().unwrap();
    let writer = OwnedFd::from(writer);
    let streams = [stdin.into(), writer.as_fd().try_clone_to_owned().unwrap(), writer];
    let main = move || {
        main();
        0
    };
    let environment = vec![("HOME".into(), "/root".into())];
    let spawn = Spawn { environment, ..Spawn::new(name, streams, main) };
    let process = host.spawn(spawn).unwrap();
    let printed = Arc::clone(printed);
    let output = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        printed.lock().unwrap().push_str(&text);
    });
    Started { process, output }
}

struct Started {
    process: Process,
    output: std::thread::JoinHandle<()>,
}

/// Waits until a process has ended, and its output has.
fn finish(started: Started) {
    started.output.join().unwrap();
    assert_eq!(started.process.exit(), Some(Exit::Code(0)));
}
