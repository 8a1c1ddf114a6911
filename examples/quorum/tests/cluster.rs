//! Three real members on this machine: writes, a killed leader, more writes, a restart; and what `kvctl`
//! says.
//!
//! Nothing here waits for a time, only for lines and exits; the limit is for a run that hangs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);
/// Tries to get ports that nobody else took between looking and listening.
const TRIES: usize = 5;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// One running member. Killed when dropped.
struct Member {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Member {
    fn start(name: &str, listen: &str, peers: &str, data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kvd"))
            .args(["--name", name, "--listen", listen, "--peers", peers, "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kvd was built");
        let (sender, lines) = channel();
        forward(child.stdout.take().expect("its output is piped"), sender.clone());
        forward(child.stderr.take().expect("its errors are piped"), sender);
        Self { child, lines, seen: Vec::new() }
    }

    /// The first line, of all so far and to come, that contains `part`; nothing when the output ends before.
    fn line(&mut self, part: &str) -> Option<String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(line) = self.seen.iter().find(|line| line.contains(part)) {
                return Some(line.clone());
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no `{part}` within {LIMIT:?}, only {:#?}", self.seen)
                }
            }
        }
    }

    /// What `kill -9` does, to this child alone.
    fn kill(&mut self) {
        self.child.kill().expect("the child runs");
        self.child.wait().expect("the child can be waited for");
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes on the lines of `stream` until it ends.
fn forward(stream: impl Read + Send + 'static, lines: Sender<String>) {
    let stream = BufReader::new(stream);
    thread::spawn(move || stream.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
}

/// Three members and their data, gone at the end.
struct Cluster {
    members: Vec<Member>,
    addresses: Vec<String>,
    directory: PathBuf,
}

impl Cluster {
    fn start(test: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("kvd-cluster-{test}-{}", process::id()));
        for _ in 0..TRIES {
            let _ = fs::remove_dir_all(&directory);
            let mut cluster =
                Self { members: Vec::new(), addresses: free_addresses(), directory: directory.clone() };
            cluster.members = (0..NAMES.len()).map(|member| cluster.run(member)).collect();
            if cluster.members.iter_mut().all(|member| member.line("listening on ").is_some()) {
                return cluster;
            }
        }
        panic!("no free ports in {TRIES} tries");
    }

    fn run(&self, member: usize) -> Member {
        let named = |(name, address): (&&str, &String)| format!("{name}={address}");
        let peers: Vec<String> = NAMES.iter().zip(&self.addresses).map(named).collect();
        let data = self.directory.join(NAMES[member]);
        Member::start(NAMES[member], &self.addresses[member], &peers.join(","), &data)
    }

    fn kvctl(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvctl"));
        command.env("KVCTL_SERVERS", self.addresses.join(",")).args(["--timeout", "20s"]).args(words);
        command.output().expect("kvctl was built")
    }

    /// Runs `kvctl`, which must succeed; its output.
    fn ask(&self, words: &[&str]) -> String {
        let output = self.kvctl(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("it prints UTF-8")
    }

    /// Asks for the status until `holds` is true of it; that status.
    fn status(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let status = self.ask(&["status"]);
            if holds(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "no {what} within {LIMIT:?}: {status}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The one member that says it leads.
    fn leader(&self) -> usize {
        let status = self.status("single leader", |status| status.matches("\tleader\t").count() == 1);
        let line = status.lines().find(|line| line.contains("\tleader\t")).expect("it is in there");
        NAMES.iter().position(|name| line.starts_with(name)).expect("members say their names")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.members.clear();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Addresses that were free a moment ago.
fn free_addresses() -> Vec<String> {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("some port is free");
    let listeners: Vec<TcpListener> = NAMES.iter().map(bind).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("it is bound").to_string()).collect()
}

#[test]
fn a_killed_leader_is_replaced_and_catches_up() {
    let mut cluster = Cluster::start("killed");
    assert_eq!(cluster.ask(&["put", "x", "1"]), "OK\n");
    assert_eq!(cluster.ask(&["get", "x"]), "1\n");

    let leader = cluster.leader();
    assert_eq!(cluster.ask(&["--servers", &cluster.addresses[leader], "list"]), "x\t1\n");
    cluster.members[leader].kill();
    assert_eq!(cluster.ask(&["put", "y", "-2"]), "OK\n");
    assert_eq!(cluster.ask(&["get", "x"]), "1\n");
    assert_eq!(cluster.ask(&["status"]).lines().filter(|line| line.ends_with("\tunreachable")).count(), 1);

    cluster.members[leader] = cluster.run(leader);
    let restarted = &mut cluster.members[leader];
    let restored = restarted.line("restored ").expect("it had data");
    assert!(restored.contains(" entries, term "), "{restored}");
    let caught_up = restarted.line("caught up with ").expect("it runs");
    assert!(caught_up.contains(" at index "), "{caught_up}");
    assert_eq!(cluster.ask(&["get", "y"]), "-2\n");
}

#[test]
fn all_can_be_killed_and_forget_nothing() {
    let mut cluster = Cluster::start("all");
    for number in 0..20 {
        assert_eq!(cluster.ask(&["put", &format!("key{number}"), &number.to_string()]), "OK\n");
    }
    cluster.members.iter_mut().for_each(Member::kill);
    let output = cluster.kvctl(&["status"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");

    cluster.members = (0..NAMES.len()).map(|member| cluster.run(member)).collect();
    for number in 0..20 {
        assert_eq!(cluster.ask(&["get", &format!("key{number}")]), format!("{number}\n"));
    }
    let output = cluster.kvctl(&["get", "key20"]);
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(2), b"no such key\n".as_slice()));
}

#[test]
fn garbage_from_the_network_closes_the_connection_and_no_more() {
    let mut cluster = Cluster::start("garbage");
    cluster.ask(&["put", "x", "1"]);
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 1, 0xff], &[0, 0, 0, 0], &[0, 0, 0, 2, b'G', 7]]
    {
        for address in &cluster.addresses {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.set_read_timeout(Some(LIMIT)).expect("the limit is not zero");
            stream.write_all(garbage).expect("it reads");
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest); // an end or a reset: both are a closed connection
            assert_eq!(rest, b"");
        }
    }
    for member in &mut cluster.members {
        assert!(member.line("a frame of 1195725856 bytes is over the limit").is_some());
    }
    assert_eq!(cluster.ask(&["get", "x"]), "1\n");
}

#[test]
fn a_minority_writes_nothing_and_says_so() {
    let mut cluster = Cluster::start("minority");
    cluster.ask(&["put", "x", "1"]);
    let leader = cluster.leader();
    for member in (0..NAMES.len()).filter(|&member| member != leader) {
        cluster.members[member].kill();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvctl"));
    command.args(["--servers", &cluster.addresses.join(","), "--timeout", "300ms"]);
    let output = command.args(["put", "x", "2"]).output().expect("kvctl was built");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("may or may not have happened") || said.contains("not done"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    cluster.status("end of the leadership", |status| !status.contains("\tleader\t"));
}
