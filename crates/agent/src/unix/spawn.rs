//! Starts the child of a command, or says why it cannot be.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use netsplit_wire::message::{Ended, How, Pty, Start};
use rustix::io::Errno;
use rustix::process::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::Unix;
use super::shim::Shim;
use super::users::{self, User};
use crate::streams::resize;
use crate::system::{self, Child, Streams, not_started as not};

/// Starts what `start` describes.
pub(super) fn spawn(unix: &Unix, host: &str, start: &Start) -> Result<Child, Ended> {
    let user = match start.user.as_str() {
        "" => None,
        name => Some(
            users::find(name).ok_or_else(|| not(How::NotStarted, format!("no user `{name}` on {host}")))?,
        ),
    };
    let environment = environment(unix, start, user.as_ref());
    let name = start.argv.first().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| not(How::NotStarted, "the command is empty".into()))?;
    let program = match start.program.as_str() {
        "" => find_program(name, path_of(&environment))?,
        _ => unix.own_program.clone(),
    };
    let cwd = if start.cwd.is_empty() { "/" } else { &start.cwd };
    if cwd != "/" && !Path::new(cwd).is_dir() {
        return Err(not(How::NotStarted, format!("the working directory `{cwd}` is not a directory")));
    }
    let mut command = Command::new(&program);
    // A program of the test is found by its module too, and goes by its own name.
    let shown = if start.program.is_empty() { name } else { name.rsplit('/').next().unwrap_or(name) };
    command.arg0(shown).args(&start.argv[1..]).env_clear().envs(environment).current_dir(cwd);
    if !start.program.is_empty() {
        command.env(unix.role_variable, format!("program:{}", start.program));
    }
    let started = match start.pty {
        Some(size) => on_terminal(unix, start, size, &program, user.as_ref(), &command),
        None => on_pipes(unix, start, &program, user.as_ref(), command),
    };
    started.map_err(|error| explain(&error, &program, name, user.as_ref()))
}

fn on_pipes(
    unix: &Unix,
    start: &Start,
    program: &Path,
    user: Option<&User>,
    mut command: Command,
) -> io::Result<Child> {
    let mut report = None;
    match user {
        // std takes on a user, but none of its groups.
        Some(user) if user.has_groups() => {
            let shimmed = behind_shim(unix, start, false, program, Some(user), &command)?;
            (command, report) = (shimmed.0, Some(shimmed.1));
        }
        Some(user) => {
            command.uid(user.uid).gid(user.gid);
        }
        None => {}
    }
    command
        .stdin(if start.stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let ((pid, streams), exit) = unix.reaper.spawn(|| {
        let mut child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let missing = || io::Error::other("a pipe is missing");
        let stdout = child.stdout.take().ok_or_else(missing)?.into();
        let stderr = child.stderr.take().ok_or_else(missing)?.into();
        let stdin = child.stdin.take().map(OwnedFd::from);
        Ok((pid, (pid, Streams::Pipes { stdin, stdout, stderr })))
    })?;
    report.map_or(Ok(()), Report::read)?;
    Ok(Child { pid, streams, exit })
}

fn on_terminal(
    unix: &Unix,
    start: &Start,
    size: Pty,
    program: &Path,
    user: Option<&User>,
    command: &Command,
) -> io::Result<Child> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(&name, flags, rustix::fs::Mode::empty())?;
    resize(&master, size)?;

    let (mut command, report) = behind_shim(unix, start, true, program, user, command)?;
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    let (pid, exit) = unix
        .reaper
        .spawn(|| command.spawn().map(|child| (Pid::from_child(&child), Pid::from_child(&child))))?;
    report.read()?;
    Ok(Child { pid, streams: Streams::Terminal { master }, exit })
}

/// A child that leads a session or has groups needs code between fork and exec. std's `pre_exec` is unsafe and makes it a
/// full fork, so our own executable is run first: it prepares itself and then becomes the program.
fn behind_shim(
    unix: &Unix,
    start: &Start,
    terminal: bool,
    program: &Path,
    user: Option<&User>,
    command: &Command,
) -> io::Result<(Command, Report)> {
    let (failed, failure) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // Inherited for as long as the spawn takes: this thread starts no other child meanwhile.
    rustix::io::fcntl_setfd(&failure, rustix::io::FdFlags::empty())?;
    let shim =
        Shim { failure: failure.as_raw_fd(), terminal, user: user.cloned(), program: program.to_owned() };
    let inner_role = (!start.program.is_empty()).then(|| format!("program:{}", start.program));
    let environment = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut shimmed = Command::new(&unix.own_program);
    shimmed
        .arg0(&start.argv[0])
        .args(&start.argv[1..])
        .env_clear()
        .envs(environment)
        .env(unix.role_variable, shim.role(inner_role.as_deref()))
        .current_dir(command.get_current_dir().unwrap_or_else(|| Path::new("/")));
    Ok((shimmed, Report { failed, failure }))
}

/// How a shim fared.
struct Report {
    failed: OwnedFd,
    failure: OwnedFd,
}

impl Report {
    /// Waits for it. End of file: the program runs. A number: why it does not.
    fn read(self) -> io::Result<()> {
        drop(self.failure);
        let mut errno = [0; 4];
        match rustix::io::read(&self.failed, &mut errno)? {
            4 => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
            _ => Ok(()),
        }
    }
}

fn environment<'a>(unix: &Unix, start: &'a Start, user: Option<&'a User>) -> Vec<(&'a str, &'a str)> {
    let (name, home) = user.map_or(("root", "/root"), |user| (&user.name, &user.home));
    let mut all = system::environment(start, name, home);
    // A client's own word for the role would turn a netsplit test binary into something else than it is.
    all.retain(|(name, _)| *name != unix.role_variable);
    all
}

fn path_of<'a>(environment: &[(&str, &'a str)]) -> &'a str {
    environment.iter().find(|(name, _)| *name == "PATH").map_or("", |(_, value)| value)
}

/// The file that `name` means, as `execvp` would find it.
fn find_program(name: &str, path: &str) -> Result<PathBuf, Ended> {
    if name.contains('/') {
        let file = PathBuf::from(name);
        return match fs::metadata(&file) {
            Err(error) if is_missing(&error) => Err(not(How::NoSuchFile, format!("no file `{name}`"))),
            looked => check(&file, looked).map(|()| file),
        };
    }
    let mut refused = None;
    for directory in path.split(':').filter(|directory| !directory.is_empty()) {
        let file = Path::new(directory).join(name);
        let looked = fs::metadata(&file);
        if looked.as_ref().is_err_and(is_missing) {
            continue;
        }
        match check(&file, looked) {
            Ok(()) => return Ok(file),
            Err(ended) => refused = Some(ended),
        }
    }
    Err(refused.unwrap_or_else(|| not(How::NoSuchProgram, format!("no program `{name}` (PATH={path})"))))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether the kernel would try to run `file`, of which `looked` was found.
fn check(file: &Path, looked: io::Result<fs::Metadata>) -> Result<(), Ended> {
    let shown = file.display();
    match looked {
        Err(error) => Err(not(How::NotExecutable, format!("`{shown}` cannot be looked at: {error}"))),
        Ok(data) if data.is_dir() => Err(not(How::NotExecutable, format!("`{shown}` is a directory"))),
        Ok(data) if data.permissions().mode() & 0o111 == 0 => Err(not(
            How::NotExecutable,
            format!("`{shown}` is not executable (mode {:o})", data.permissions().mode() & 0o7777),
        )),
        Ok(_) => Ok(()),
    }
}

/// Puts the kernel's word into a sentence that names the remedy's place.
fn explain(error: &io::Error, program: &Path, name: &str, user: Option<&User>) -> Ended {
    let shown = program.display();
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOEXEC) => not(
            How::NotExecutable,
            format!(
                "`{shown}` is in no format that the kernel runs, and its first line names no interpreter"
            ),
        ),
        // The file is there: what is missing is what it needs to run.
        Some(Errno::NOENT) => not(
            How::NotExecutable,
            match interpreter(program) {
                Some(interpreter) => {
                    format!("`{shown}` wants `{interpreter}` as its interpreter, which is not there")
                }
                None => format!("`{shown}` wants a loader that is not there"),
            },
        ),
        Some(Errno::ACCESS) => {
            not(How::NotExecutable, format!("`{shown}` may not be executed here: {error}"))
        }
        Some(Errno::TOOBIG) => {
            not(How::NotStarted, format!("`{name}` has too many or too long arguments and variables"))
        }
        Some(Errno::PERM | Errno::INVAL) if user.is_some() => not(
            How::NotStarted,
            format!(
                "`{name}` cannot run as `{}`: this host has one user only",
                user.map_or("", |user| &user.name)
            ),
        ),
        _ => not(How::NotStarted, format!("`{name}`: {error}")),
    }
}

fn interpreter(program: &Path) -> Option<String> {
    let start = fs::read(program).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    String::from_utf8_lossy(line).split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        assert!(find_program("sh", "/nowhere:/bin").is_ok());
        let kind = |name: &str, path: &str| find_program(name, path).unwrap_err().how();
        assert_eq!(kind("no-such-program", "/bin"), How::NoSuchProgram);
        assert_eq!(kind("/no/such/file", "/bin"), How::NoSuchFile);
        assert_eq!(kind("/etc", "/bin"), How::NotExecutable);
        assert_eq!(kind("/etc/passwd", "/bin"), How::NotExecutable);
        assert_eq!(kind("passwd", "/etc"), How::NotExecutable, "found, but not executable");
    }
}
