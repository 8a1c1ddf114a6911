//! What our own executable does in the child of a command with a terminal, or of one as a user with groups: leads a
//! session, takes the terminal, takes on the user, and becomes the program. An errno on the failure pipe says why it did
//! not.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fmt::Write;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::process::{Gid, Uid, ioctl_tiocsctty, setsid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::users::User;

/// What the child is told, as the text of its role: `shim:FD,TERMINAL,UID,GID,GROUP+GROUP,ROLE,PROGRAM`, empty where
/// there is nothing to say.
#[derive(Debug)]
pub(super) struct Shim {
    pub(super) failure: RawFd,
    /// Whether standard input is a terminal to take.
    pub(super) terminal: bool,
    pub(super) user: Option<User>,
    pub(super) program: PathBuf,
}

impl Shim {
    pub(super) fn role(&self, inner_role: Option<&str>) -> String {
        let mut text = format!("shim:{},{},", self.failure, if self.terminal { "terminal" } else { "" });
        match &self.user {
            Some(user) => {
                let groups: Vec<_> = user.groups.iter().map(ToString::to_string).collect();
                let _infallible = write!(text, "{},{},{}", user.uid, user.gid, groups.join("+"));
            }
            None => text.push_str(",,"),
        }
        let _infallible = write!(text, ",{},{}", inner_role.unwrap_or_default(), self.program.display());
        text
    }
}

/// Becomes what `role` (without `shim:`) says; returns only when it could not, after it has said so on the pipe.
///
/// `failure` is the pipe whose number stands first in `role`; `role_variable` is set for the program when it is one of
/// the test's own.
pub fn run(role: &str, failure: BorrowedFd<'_>, role_variable: &str) -> io::Error {
    let error = become_program(role, failure, role_variable);
    let errno = error.raw_os_error().unwrap_or(rustix::io::Errno::INVAL.raw_os_error());
    let _reader_gone = rustix::io::write(failure, &errno.to_ne_bytes());
    error
}

/// The number of the failure pipe in `role`.
pub fn failure_fd(role: &str) -> Option<RawFd> {
    role.split(',').next()?.parse().ok()
}

fn become_program(role: &str, failure: BorrowedFd<'_>, role_variable: &str) -> io::Error {
    let parts: Vec<&str> = role.splitn(7, ',').collect();
    let [_, terminal, uid, gid, groups, inner_role, program] = parts[..] else {
        return io::Error::other("a shim without a program");
    };
    let prepared = rustix::io::fcntl_setfd(failure, rustix::io::FdFlags::CLOEXEC)
        .map_err(io::Error::from)
        .and_then(|()| if terminal.is_empty() { Ok(()) } else { take_terminal() })
        .and_then(|()| if uid.is_empty() { Ok(()) } else { take_on(uid, gid, groups) });
    if let Err(error) = prepared {
        return error;
    }
    let variables = env::vars_os().map(|(name, value)| joined(&name, &value));
    let role = (!inner_role.is_empty()).then(|| joined(role_variable.as_ref(), inner_role.as_ref()));
    execute(program.as_ref(), env::args_os(), variables.chain(role))
}

fn joined(name: &OsStr, value: &OsStr) -> OsString {
    let mut text = name.to_owned();
    text.push("=");
    text.push(value);
    text
}

/// execve. Not std's `exec`, which is `execvp`: that gives a file without a format to /bin/sh, and a command without a
/// terminal is told that it has none.
fn execute(
    program: &OsStr,
    arguments: impl Iterator<Item = OsString>,
    variables: impl Iterator<Item = OsString>,
) -> io::Error {
    let texts = |all: &mut dyn Iterator<Item = OsString>| {
        all.map(|text| CString::new(text.into_vec())).collect::<Result<Vec<_>, _>>()
    };
    let (mut arguments, mut variables) = (arguments, variables);
    let all = (CString::new(program.as_bytes()), texts(&mut arguments), texts(&mut variables));
    let (Ok(program), Ok(arguments), Ok(variables)) = all else {
        return io::ErrorKind::InvalidInput.into();
    };
    let pointers =
        |all: &[CString]| all.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (arguments, variables) = (pointers(&arguments), pointers(&variables));
    #[expect(unsafe_code, reason = "no safe function executes a file as it is, or resets a signal")]
    // SAFETY: SIG_DFL is a valid disposition (we ignore the signal, a program must not inherit that). The path is a
    // NUL-terminated string, both lists are of such strings and end with a null pointer, and all of it outlives the call.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::execve(program.as_ptr(), arguments.as_ptr(), variables.as_ptr());
    }
    io::Error::last_os_error()
}

fn take_terminal() -> io::Result<()> {
    setsid()?;
    Ok(ioctl_tiocsctty(rustix::stdio::stdin())?)
}

fn take_on(uid: &str, gid: &str, groups: &str) -> io::Result<()> {
    let number = |text: &str| text.parse::<u32>().map_err(io::Error::other);
    let groups = groups.split('+').map(|id| number(id).map(Gid::from_raw)).collect::<io::Result<Vec<_>>>()?;
    let (uid, gid) = (Uid::from_raw(number(uid)?), Gid::from_raw(number(gid)?));
    // This process has one thread: what is set for it is set for the process.
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}
