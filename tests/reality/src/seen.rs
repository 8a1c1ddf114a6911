//! The notes of one case, and the forms in which things are noted. What is noted must not depend on the machine.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What one case has seen so far, in lines. Clones write into the same notes.
#[derive(Clone, Debug)]
pub struct Seen {
    dir: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Seen {
    /// Empty notes of a case that works in `dir`, which exists and is empty.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, lines: Arc::default() }
    }

    /// The folder that is the case's own.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in the case's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Notes a value.
    pub(crate) fn note(&self, what: &str, value: impl Debug) {
        self.line(format!("{what}: {value:?}"));
    }

    /// Notes how a call ended: its value, or its error.
    pub(crate) fn outcome<T: Debug>(&self, what: &str, result: io::Result<T>) {
        let told = result.map_or_else(|error| told(&error), |value| format!("ok {value:?}"));
        self.line(format!("{what}: {told}"));
    }

    /// Notes an error, or that there was none, of a call whose value is of no interest.
    pub(crate) fn error<T>(&self, what: &str, result: io::Result<T>) {
        let told = result.err().map_or_else(|| "ok".to_owned(), |error| told(&error));
        self.line(format!("{what}: {told}"));
    }

    pub(crate) fn line(&self, line: String) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// The lines that are there now.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An error by the name of its number, from which its kind follows, or by its kind where it came from no kernel. The names
/// of kinds alone would not do: std has none for some errors, and may find one.
pub(crate) fn told(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else {
        return format!("{:?}", error.kind());
    };
    let name = NUMBERS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
    name.map_or_else(|| format!("error {number}"), ToOwned::to_owned)
}

macro_rules! numbers {
    ($($name:ident)*) => { [$((libc::$name, stringify!($name))),*] };
}

/// The errors that cases meet, and some that a kernel may give in their place.
const NUMBERS: [(i32, &str); 30] = numbers! {
    EPERM ENOENT ENXIO EBADF EAGAIN EEXIST ENOTDIR EISDIR EINVAL ENOSPC EPIPE ENAMETOOLONG ENOTEMPTY ELOOP EDESTADDRREQ
    EMSGSIZE EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ECONNABORTED ECONNRESET ENOTCONN ETIMEDOUT ECONNREFUSED
    EACCES ENOSYS ENOTSUP ENOPROTOOPT ENETUNREACH EINPROGRESS
};

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
