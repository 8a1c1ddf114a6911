//! Commands of a simulated host: programs of the test, each run in a simulated process of its own.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use netsplit_agent::{
    Child, Ended, Exit, How, Start, Streams, System, Tree, environment, not_started, variables,
};
use netsplit_sim::{Process, Spawn};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal};
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};

use crate::hook;
use crate::program::{self, PROGRAMS, Program};

/// What a program that panicked exits with, as one with a `main` does.
const PANICKED: i32 = 101;
/// What Linux takes for one word, and for all of a process: a quarter of a stack of 8 MiB.
const WORD_MAX: usize = 128 << 10;
const WORDS_MAX: usize = 2 << 20;

/// Runs programs of the test. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Programs {
    /// How many run.
    running: Arc<watch::Sender<usize>>,
}

impl Programs {
    /// Waits until none runs.
    pub(super) async fn all_ended(&self) {
        // It cannot fail: this is who sends.
        let _none = self.running.subscribe().wait_for(|running| *running == 0).await.is_ok();
    }

    fn start(&self, start: &Start, program: Program) -> io::Result<Child> {
        let pair = || pipe_with(PipeFlags::CLOEXEC);
        let (their_stdin, stdin) = match start.stdin {
            true => pair().map(|(reader, writer)| (reader, Some(writer)))?,
            false => (OwnedFd::from(File::open("/dev/null")?), None),
        };
        let ((stdout, their_stdout), (stderr, their_stderr)) = (pair()?, pair()?);
        let arguments: Vec<_> = start.argv[1..].iter().map(OsString::from).collect();
        let process = netsplit_sim::spawn(Spawn {
            name: short(program.name).to_owned(),
            arguments: [short(program.name).into()].into_iter().chain(arguments.clone()).collect(),
            environment: environment(start, "root", "/root")
                .into_iter()
                // It would be read as if it were ours.
                .filter(|(name, _)| *name != hook::BECOME)
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            cwd: directory(start).to_owned(),
            stdin: their_stdin,
            stdout: their_stdout,
            stderr: their_stderr,
            main: Box::new(move || run(program, arguments)),
        })?;
        let exit = self.follow(process).inspect_err(|_| {
            netsplit_sim::signal(process.pid, libc::SIGKILL);
        })?;
        let pid = pid(process)?;
        Ok(Child { pid, streams: Streams::Pipes { stdin, stdout, stderr }, exit })
    }

    /// What will say how a process ended.
    fn follow(&self, process: Process) -> io::Result<oneshot::Receiver<Exit>> {
        // tokio has no safe type for it; a pipe's readiness and descriptor are the same thing.
        let ended = pipe::Receiver::from_owned_fd_unchecked(process.pidfd()?)?;
        let (sender, receiver) = oneshot::channel();
        let running = Arc::clone(&self.running);
        running.send_modify(|running| *running += 1);
        tokio::spawn(async move {
            let how = || process.exit().ok_or_else(|| io::ErrorKind::WouldBlock.into());
            let exit = loop {
                let _is_so_while_the_runtime_lives = ended.readable().await;
                if let Ok(how) = ended.try_io(how) {
                    break exit(how);
                }
            };
            // Nobody may be waiting any more: the client has gone.
            let _gone = sender.send(exit);
            running.send_modify(|running| *running -= 1);
        });
        Ok(receiver)
    }
}

impl System for Programs {
    fn spawn(&self, host: &str, start: &Start) -> Result<Child, Ended> {
        let program = find(&PROGRAMS, start)?;
        if start.pty.is_some() {
            return Err(not_started(How::NotStarted, format!("there are no terminals on {host}")));
        }
        if !start.user.is_empty() {
            let text = format!("no user `{}` on {host}: a simulated host has one only", start.user);
            return Err(not_started(How::NotStarted, text));
        }
        let directory = directory(start);
        if !directory.is_dir() {
            let text = format!("the working directory `{}` is not a directory", directory.display());
            return Err(not_started(How::NotStarted, text));
        }
        let name = short(program.name);
        if let Some(trouble) = unfit(start) {
            return Err(not_started(How::NotStarted, format!("`{name}` has {trouble}")));
        }
        self.start(start, program).map_err(|error| not_started(How::NotStarted, format!("`{name}`: {error}")))
    }

    fn signal_group(&self, leader: Pid, signal: Signal) {
        reach(leader, signal.as_raw());
    }

    // Programs of simulated hosts start no others.
    fn signal(&self, tree: &Tree, signal: Signal) {
        reach(tree.leader, signal.as_raw());
    }

    fn kill(&self, tree: &Tree) {
        reach(tree.leader, libc::SIGKILL);
    }

    fn is_empty(&self, tree: &Tree) -> bool {
        !reach(tree.leader, 0)
    }
}

/// Sends a signal to a process, which is its whole tree; whether it is there.
fn reach(leader: Pid, signal: i32) -> bool {
    netsplit_sim::signal(leader.as_raw_nonzero().get().unsigned_abs(), signal)
}

fn pid(process: Process) -> io::Result<Pid> {
    Pid::from_raw(process.pid.cast_signed()).ok_or_else(|| io::Error::other("a process without a number"))
}

fn exit(exit: netsplit_sim::Exit) -> Exit {
    match exit {
        netsplit_sim::Exit::Code(code) => Exit::Code(code),
        netsplit_sim::Exit::Signal(number) => Exit::Signal { number, core: false },
    }
}

/// What a kernel does not take for words: `argv` is an array of C strings, and has a size.
fn unfit(start: &Start) -> Option<&'static str> {
    let values = variables(&start.env).map(|(_, value)| value);
    let all = start.argv.iter().map(String::as_str).chain(values);
    let is_too_much = all.clone().any(|word| word.len() >= WORD_MAX)
        || all.clone().map(str::len).sum::<usize>() >= WORDS_MAX;
    if all.clone().any(|word| word.contains('\0')) {
        return Some("a nul byte in its arguments");
    }
    is_too_much.then_some("too many or too long arguments and variables")
}

fn directory(start: &Start) -> &Path {
    Path::new(if start.cwd.is_empty() { "/" } else { &start.cwd })
}

/// As a process of its own would: what it printed is written, and a panic is an exit.
fn run(program: Program, arguments: Vec<OsString>) -> i32 {
    let code = std::panic::catch_unwind(|| (program.run)(arguments)).unwrap_or(PANICKED);
    let _closed = io::stdout().flush();
    code
}

/// The program that a command means: by its whole name if it is said, else by what follows the module's.
fn find(programs: &[Program], start: &Start) -> Result<Program, Ended> {
    let name = start.argv.first().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| not_started(How::NotStarted, "the command is empty".to_owned()))?;
    if !start.program.is_empty() {
        return program::find_among(programs, &start.program)
            .map_err(|text| not_started(How::NotStarted, text));
    }
    let found: Vec<_> = programs.iter().filter(|program| short(program.name) == name).collect();
    match found[..] {
        [program] => Ok(*program),
        [] => Err(not_started(How::NoSuchProgram, unknown(programs, name))),
        _ => {
            let names: Vec<_> = found.iter().map(|program| program.name).collect();
            let text = format!("`{name}` may be any of {}", names.join(" "));
            Err(not_started(How::NotStarted, text))
        }
    }
}

fn unknown(programs: &[Program], name: &str) -> String {
    let known: BTreeSet<_> = programs.iter().map(|program| short(program.name)).collect();
    let known = known.into_iter().collect::<Vec<_>>().join(" ");
    let known = if known.is_empty() { "none" } else { &known };
    format!("no program `{name}` among those of the test, which are all that simulated hosts run: {known}")
}

/// `kvd` of `first::cases/kvd`.
fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&'static str], program: &str, words: &[&str]) -> Result<&'static str, (How, String)> {
        let programs: Vec<_> = names.iter().map(|name| Program { name, run: |_| 0 }).collect();
        let argv = words.iter().map(|word| (*word).to_owned()).collect();
        let start = Start { argv, program: program.to_owned(), ..Start::default() };
        find(&programs, &start).map(|program| program.name).map_err(|ended| (ended.how(), ended.text))
    }

    #[test]
    fn a_command_is_a_program_of_the_test() {
        let names = ["cases/kvd", "cases/kvctl", "other/kvctl"];
        assert_eq!(found(&names, "", &["kvd", "--port", "1"]), Ok("cases/kvd"));
        assert_eq!(found(&names, "other/kvctl", &["other/kvctl"]), Ok("other/kvctl"));
        let (how, text) = found(&names, "", &["kvctl"]).unwrap_err();
        assert_eq!((how, text.as_str()), (How::NotStarted, "`kvctl` may be any of cases/kvctl other/kvctl"));
        assert_eq!(found(&names, "", &[]).unwrap_err().0, How::NotStarted);
    }

    #[test]
    fn who_names_another_is_told_those_that_there_are() {
        let (how, text) = found(&["b/kvd", "a/kvctl", "b/kvctl"], "", &["/bin/cat"]).unwrap_err();
        assert_eq!(how, How::NoSuchProgram);
        assert!(text.starts_with("no program `/bin/cat`") && text.ends_with(": kvctl kvd"), "{text}");
        assert!(found(&[], "", &["cat"]).unwrap_err().1.ends_with(": none"));
    }

    #[test]
    fn words_that_no_kernel_takes_are_refused() {
        let words = |argv: Vec<String>| unfit(&Start { argv, ..Start::default() });
        assert_eq!(words(vec!["x".repeat(WORD_MAX - 1); 15]), None);
        assert!(words(vec!["x".repeat(WORD_MAX)]).is_some_and(|text| text.contains("too long")));
        assert!(words(vec!["x".repeat(WORD_MAX - 1); 17]).is_some_and(|text| text.contains("too many")));
        assert!(words(vec!["a\0b".to_owned()]).is_some_and(|text| text.contains("nul byte")));
    }

    #[test]
    fn a_panic_is_an_exit() {
        let panics = Program { name: "x/panics", run: |_| panic!("the disk is on fire") };
        let counts = Program { name: "x/counts", run: |words| words.len().try_into().unwrap() };
        assert_eq!(run(panics, Vec::new()), 101);
        assert_eq!(run(counts, vec!["a".into(), "b".into()]), 2);
    }
}
