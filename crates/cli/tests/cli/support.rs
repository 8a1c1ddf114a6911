//! A folder with scenarios, and the command run in it as a user would.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::OpenptFlags;

/// How long anything here may take on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A folder of its own, removed at the end.
pub(crate) struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // So that nothing of this repository's settings is found.
        fs::create_dir(folder.path().join(".git")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A scenario of one host whose only test has these steps.
    pub(crate) fn scenario(&self, name: &str, steps: &str) -> &Self {
        self.write(name, &format!("hosts.node = [\"a\"]\n[[test]]\nname = \"it\"\nsteps = [\n{steps}\n]\n"))
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.prepare(Command::new(env!("CARGO_BIN_EXE_netsplit")));
        command.args(args);
        command
    }

    /// In the project's folder, with no settings of ours.
    pub(crate) fn prepare(&self, mut command: Command) -> Command {
        command.current_dir(self.path());
        for (name, _) in std::env::vars() {
            if name.starts_with("NETSPLIT_") || name == "GITHUB_ACTIONS" || name == "NO_COLOR" {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran(self.command(args).output().unwrap())
    }

    /// On a terminal of its own.
    pub(crate) fn on_terminal(&self, args: &[&str]) -> Terminal {
        let (master, name) = open_terminal();
        let open = || fs::File::options().read(true).write(true).open(&name).unwrap();
        let mut command = in_session(self, args);
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (mut reader, into) = (fs::File::from(master.try_clone().unwrap()), Arc::clone(&said));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Terminal { master: fs::File::from(master), child, said }
    }

    pub(crate) fn start(&self, args: &[&str]) -> Started {
        Started(self.command(args).spawn().unwrap())
    }

    /// The directory of the last run.
    pub(crate) fn last(&self) -> PathBuf {
        fs::canonicalize(self.path().join(".netsplit/last")).unwrap()
    }

    pub(crate) fn verdict(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.last().join("verdict.json")).unwrap()).unwrap()
    }

    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.last().join("events.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until the log of the last run says so.
    pub(crate) fn wait_for_event(&self, part: &str) {
        let begun = Instant::now();
        loop {
            let path = self.path().join(".netsplit/last/events.jsonl");
            if fs::read_to_string(path).is_ok_and(|text| text.contains(part)) {
                return;
            }
            assert!(begun.elapsed() < LONG, "no event with {part}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A terminal: its other side, and the name of this one.
pub(crate) fn open_terminal() -> (OwnedFd, PathBuf) {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    (master, PathBuf::from(name.into_string().unwrap()))
}

/// In a session of its own, whose terminal is its standard input.
pub(crate) fn in_session(project: &Project, args: &[&str]) -> Command {
    let inner = project.command(args);
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(inner.get_program()).args(inner.get_args());
    for (name, _) in inner.get_envs() {
        command.env_remove(name);
    }
    // A terminal that can change a line, whatever these tests run on.
    command.env("TERM", "xterm").current_dir(project.path());
    command
}

/// A command on a terminal.
pub(crate) struct Terminal {
    pub(crate) master: fs::File,
    pub(crate) child: Child,
    said: Arc<Mutex<String>>,
}

impl Terminal {
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        let begun = Instant::now();
        while !self.said().contains(text) {
            assert!(begun.elapsed() < LONG, "no `{text}` in\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for its end; gives its exit code.
    #[track_caller]
    pub(crate) fn end(&mut self) -> i32 {
        wait(&mut self.child, Duration::from_secs(20));
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

/// A command that has ended.
pub(crate) struct Ran(pub(crate) Output);

impl Ran {
    pub(crate) fn code(&self) -> i32 {
        self.0.status.code().unwrap_or(-1)
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code(), code, "stdout:\n{}\nstderr:\n{}", self.out(), self.err());
        self
    }

    #[track_caller]
    pub(crate) fn says(&self, part: &str) -> &Self {
        assert!(self.out().contains(part), "no `{part}` in stdout:\n{}\nstderr:\n{}", self.out(), self.err());
        self
    }

    #[track_caller]
    pub(crate) fn complains(&self, part: &str) -> &Self {
        assert!(self.err().contains(part), "no `{part}` in stderr:\n{}", self.err());
        self
    }
}

/// A command that runs.
pub(crate) struct Started(pub(crate) Child);

impl Started {
    pub(crate) fn signal(&self, signal: &str) {
        let status =
            Command::new("kill").args([&format!("-{signal}"), &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end; gives how long that took.
    pub(crate) fn end(self) -> (Ran, Duration) {
        let begun = Instant::now();
        let mut child = self.0;
        // Its output is short: it fits into the pipes.
        wait(&mut child, LONG);
        (Ran(child.wait_with_output().unwrap()), begun.elapsed())
    }
}

/// Processes of this machine whose environment has `mark`, which they inherit: what a run left behind.
pub(crate) fn left_behind(mark: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
        .map(|pid| {
            format!("{pid} {}", fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default())
        })
        .collect()
}

/// Waits until nothing with `mark` is left.
#[track_caller]
pub(crate) fn nothing_left(mark: &str) {
    let begun = Instant::now();
    loop {
        let left = left_behind(mark);
        if left.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "left behind: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for a child to end; kills it when it takes too long.
#[track_caller]
pub(crate) fn wait(child: &mut Child, within: Duration) {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > within {
            child.kill().unwrap();
            panic!("still running after {within:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
