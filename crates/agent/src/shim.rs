//! What our own executable does in the child of a command with a terminal: leads a session, takes the terminal, takes
//! on the user, and becomes the program. An errno on the failure pipe says why it did not.

use std::env;
use std::fmt::Write;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Gid, Uid, ioctl_tiocsctty, setsid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::users::User;

/// What the child is told, as the text of its role: `shim:FD,UID,GID,GROUP+GROUP,ROLE,PROGRAM`, empty where there is
/// nothing to say.
#[derive(Debug)]
pub(crate) struct Shim {
    pub(crate) failure: RawFd,
    pub(crate) user: Option<User>,
    pub(crate) program: PathBuf,
}

impl Shim {
    pub(crate) fn role(&self, inner_role: Option<&str>) -> String {
        let mut text = format!("shim:{},", self.failure);
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
    let parts: Vec<&str> = role.splitn(6, ',').collect();
    let [_, uid, gid, groups, inner_role, program] = parts[..] else {
        return io::Error::other("a shim without a program");
    };
    if let Err(error) = prepare(failure, uid, gid, groups) {
        return error;
    }
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    command.arg0(arguments.next().unwrap_or_default()).args(arguments);
    if !inner_role.is_empty() {
        command.env(role_variable, inner_role);
    }
    command.exec()
}

fn prepare(failure: BorrowedFd<'_>, uid: &str, gid: &str, groups: &str) -> io::Result<()> {
    rustix::io::fcntl_setfd(failure, rustix::io::FdFlags::CLOEXEC)?;
    setsid()?;
    ioctl_tiocsctty(rustix::stdio::stdin())?;
    let number = |text: &str| text.parse::<u32>().map_err(io::Error::other);
    if !uid.is_empty() {
        let groups =
            groups.split('+').map(|id| number(id).map(Gid::from_raw)).collect::<io::Result<Vec<_>>>()?;
        let (uid, gid) = (Uid::from_raw(number(uid)?), Gid::from_raw(number(gid)?));
        // This process has one thread: what is set for it is set for the process.
        set_thread_groups(&groups)?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
    }
    Ok(())
}
