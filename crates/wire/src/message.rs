//! What a client and an agent say to each other. Every operation is a channel that the client opens with a
//! [`Request`]; its answers come back on the same channel.
//!
//! | request | then the client sends | the agent sends |
//! | --- | --- | --- |
//! | [`Start`] | [`ProcessCommand`]s, `STDIN` bytes, at most `limits::STDIN_WINDOW` beyond those taken | [`ProcessEvent`]s, `STDOUT` and `STDERR` bytes; FIN when no stream is open, RESET when it has ended what was left |
//! | [`Put`] | more of it until `last`; then, after `Needs`, the needed files' bytes one after the other, or [`Piped`] for them | [`PutReply`]s |
//! | [`Get`] | | [`GetReply`]s, each file's bytes behind its `Entry` |
//! | [`Dial`] | `BYTES`, FIN | [`DialReply`], then `BYTES`, FIN |
//! | [`Keep`] | | an empty `KeepReply` |
//!
//! A client's RESET cancels: a process is ended with all its children.

use bytes::Bytes;
use prost::{Message, Oneof};

/// Tags of frames: what kind of payload they carry.
pub mod tag {
    /// One of this module's messages.
    pub const MESSAGE: u8 = 0;
    /// Bytes for a process's standard input.
    pub const STDIN: u8 = 1;
    /// Bytes of a process's standard output.
    pub const STDOUT: u8 = 2;
    /// Bytes of a process's standard error.
    pub const STDERR: u8 = 3;
    /// Bytes of a file or a connection.
    pub const BYTES: u8 = 4;
}

/// The first message on a channel.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    /// What is asked for.
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5")]
    pub body: Option<Body>,
}

/// What is asked for.
#[derive(Clone, PartialEq, Oneof)]
pub enum Body {
    /// Run a command.
    #[prost(message, tag = "1")]
    Start(Start),
    /// Put files.
    #[prost(message, tag = "2")]
    Put(Put),
    /// Fetch files.
    #[prost(message, tag = "3")]
    Get(Get),
    /// Connect to a port of the host.
    #[prost(message, tag = "4")]
    Dial(Dial),
    /// Go on when this client has gone.
    #[prost(message, tag = "5")]
    Keep(Keep),
}

/// A command to run.
#[derive(Clone, PartialEq, Message)]
pub struct Start {
    /// Marks the process and all its children, and is how messages call it: `a/etcd.1`.
    #[prost(string, tag = "1")]
    pub process: String,
    /// The words; the first is looked up in PATH unless it has a slash.
    #[prost(string, repeated, tag = "2")]
    pub argv: Vec<String>,
    /// The whole environment but PATH, which the agent sets unless it stands here: `NAME=VALUE`, each with a NUL behind it.
    #[prost(string, tag = "3")]
    pub env: String,
    /// The working directory; empty: `/`.
    #[prost(string, tag = "4")]
    pub cwd: String,
    /// The user to run as; empty: the agent's.
    #[prost(string, tag = "5")]
    pub user: String,
    /// Whether `STDIN` bytes will come; else it reads /dev/null.
    #[prost(bool, tag = "6")]
    pub stdin: bool,
    /// A terminal of its own.
    #[prost(message, optional, tag = "7")]
    pub pty: Option<Pty>,
    /// When it is ended as timed out, in milliseconds; 0: never.
    #[prost(uint64, tag = "8")]
    pub deadline_ms: u64,
    /// Between TERM and KILL, in milliseconds.
    #[prost(uint64, tag = "9")]
    pub grace_ms: u64,
    /// The agent's own executable is to run as this program; argv\[0\] is only its name.
    #[prost(string, tag = "10")]
    pub program: String,
    /// Whether the client waits for its end only: that it has started is then told along with what comes next.
    #[prost(bool, tag = "11")]
    pub until_end: bool,
}

/// Adds a variable to [`Start::env`]. Neither may hold a NUL, nor the name a `=`.
pub fn add_variable(env: &mut String, name: &str, value: &str) {
    for part in [name, "=", value, "\0"] {
        env.push_str(part);
    }
}

/// The variables of [`Start::env`]; what is none is passed over.
pub fn variables(env: &str) -> impl Iterator<Item = (&str, &str)> + Clone {
    env.split_terminator('\0').filter_map(|variable| variable.split_once('='))
}

/// A terminal's size.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Pty {
    /// Lines.
    #[prost(uint32, tag = "1")]
    pub rows: u32,
    /// Characters a line.
    #[prost(uint32, tag = "2")]
    pub columns: u32,
}

/// To a running process.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessCommand {
    /// What to do.
    #[prost(oneof = "Command", tags = "1, 2, 3, 4")]
    pub command: Option<Command>,
}

/// What to do to a process.
#[derive(Clone, Copy, PartialEq, Eq, Oneof)]
pub enum Command {
    /// Send its process group a signal.
    #[prost(int32, tag = "1")]
    Signal(i32),
    /// End it and all its children: TERM, grace, KILL; `true`: KILL at once. Also behind the agent's FIN, when it has ended
    /// itself.
    #[prost(bool, tag = "2")]
    End(bool),
    /// Its terminal has another size.
    #[prost(message, tag = "3")]
    Resize(Pty),
    /// No more `STDIN` will come.
    #[prost(bool, tag = "4")]
    StdinEnd(bool),
}

/// From a process.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessEvent {
    /// What happened.
    #[prost(oneof = "Happened", tags = "1, 2, 3")]
    pub event: Option<Happened>,
}

/// What happened to a process.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum Happened {
    /// It runs.
    #[prost(uint32, tag = "1")]
    Started(u32),
    /// It ended; all that it wrote was sent before this.
    #[prost(message, tag = "2")]
    Ended(Ended),
    /// So many more bytes of `STDIN` are no longer in the agent's hands: written, or dropped with nobody to read them.
    #[prost(uint64, tag = "3")]
    Taken(u64),
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Ended {
    /// Which of the ways.
    #[prost(enumeration = "How", tag = "1")]
    pub how: i32,
    /// The exit code, or the signal's number.
    #[prost(int32, tag = "2")]
    pub number: i32,
    /// Whether it dumped core.
    #[prost(bool, tag = "3")]
    pub core: bool,
    /// For what could not start: the sentence.
    #[prost(string, tag = "4")]
    pub text: String,
}

/// The ways in which a process ends, as an agent sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum How {
    /// By itself.
    Exited = 0,
    /// By a signal.
    Signalled = 1,
    /// A bare name that PATH does not have.
    NoSuchProgram = 2,
    /// Nothing is at its path.
    NoSuchFile = 3,
    /// A directory, a text without interpreter, no right.
    NotExecutable = 4,
    /// It could not start for another reason.
    NotStarted = 5,
    /// By its deadline.
    TimedOut = 6,
}

/// Files to put, all or a part of them.
#[derive(Clone, PartialEq, Message)]
pub struct Put {
    /// Parents before children.
    #[prost(message, repeated, tag = "1")]
    pub entries: Vec<Entry>,
    /// Whether these are the last.
    #[prost(bool, tag = "2")]
    pub last: bool,
}

/// In place of a needed file's bytes: they come through a pipe that was handed to the agent.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Piped {
    /// By which number the agent knows the pipe.
    #[prost(uint32, tag = "1")]
    pub pipe: u32,
    /// Sent a second time, after `Drained`: the file is still the one that was hashed.
    #[prost(bool, tag = "2")]
    pub whole: bool,
}

/// A file, folder or link.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Entry {
    /// Put: the absolute path on the host. Got: relative to what was asked for, empty for itself.
    #[prost(string, tag = "1")]
    pub path: String,
    /// What it is.
    #[prost(enumeration = "Kind", tag = "2")]
    pub kind: i32,
    /// Permission bits.
    #[prost(uint32, tag = "3")]
    pub mode: u32,
    /// A file's length in bytes.
    #[prost(uint64, tag = "4")]
    pub size: u64,
    /// A file's blake3 hash, 32 bytes, when it is known beforehand.
    #[prost(bytes = "bytes", tag = "5")]
    pub hash: Bytes,
    /// Where a link points.
    #[prost(string, tag = "6")]
    pub target: String,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// A regular file.
    File = 0,
    /// A folder.
    Folder = 1,
    /// A symbolic link.
    Link = 2,
}

/// An agent's answer to files that are put.
#[derive(Clone, PartialEq, Message)]
pub struct PutReply {
    /// The answer.
    #[prost(oneof = "PutAnswer", tags = "1, 2, 3, 4")]
    pub answer: Option<PutAnswer>,
}

/// An agent's answer to files that are put.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum PutAnswer {
    /// Which files' bytes the host does not have, counted over all entries from 0, in order.
    #[prost(message, tag = "1")]
    Needs(Needs),
    /// Everything lies where it was wanted.
    #[prost(bool, tag = "2")]
    Done(bool),
    /// It stopped here; what was complete stays.
    #[prost(message, tag = "3")]
    Refused(Refused),
    /// All bytes of a file that came through a pipe are here: what happens to the file now is no longer its matter.
    #[prost(bool, tag = "4")]
    Drained(bool),
}

/// Numbers of entries.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Needs {
    /// Ascending.
    #[prost(uint32, repeated, tag = "1")]
    pub entries: Vec<u32>,
}

/// A file that could not be kept or given.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Refused {
    /// Its path on the host.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Why.
    #[prost(enumeration = "Trouble", tag = "2")]
    pub trouble: i32,
    /// The kernel's words.
    #[prost(string, tag = "3")]
    pub text: String,
}

/// Kinds of trouble with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum Trouble {
    /// Anything else.
    Other = 0,
    /// Nothing is there.
    NotFound = 1,
    /// No space is left.
    NoSpace = 2,
    /// The bytes that came are not those of the hash.
    Changed = 3,
}

/// A file or tree to fetch.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Get {
    /// Absolute, on the host.
    #[prost(string, tag = "1")]
    pub path: String,
}

/// An agent's answers to a fetch.
#[derive(Clone, PartialEq, Message)]
pub struct GetReply {
    /// The answer.
    #[prost(oneof = "GetAnswer", tags = "1, 2, 3, 4")]
    pub answer: Option<GetAnswer>,
}

/// An agent's answers to a fetch.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub enum GetAnswer {
    /// What comes now; a file's bytes follow.
    #[prost(message, tag = "1")]
    Entry(Entry),
    /// The blake3 hash of the bytes that came.
    #[prost(bytes = "bytes", tag = "2")]
    End(Bytes),
    /// That was all.
    #[prost(bool, tag = "3")]
    Done(bool),
    /// It stopped here.
    #[prost(message, tag = "4")]
    Refused(Refused),
}

/// A connection to make on the host.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Dial {
    /// The TCP port; tried on the host's loopback addresses, then on its own.
    #[prost(uint32, tag = "1")]
    pub port: u32,
}

/// Whether the connection stands.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DialReply {
    /// Empty: it stands. Else why not.
    #[prost(string, tag = "1")]
    pub refused: String,
}

/// What this client runs is to go on when it has gone.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Keep {}

/// It will.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct KeepReply {}

impl From<Body> for Request {
    fn from(body: Body) -> Self {
        Self { body: Some(body) }
    }
}

impl From<Command> for ProcessCommand {
    fn from(command: Command) -> Self {
        Self { command: Some(command) }
    }
}

impl From<Happened> for ProcessEvent {
    fn from(event: Happened) -> Self {
        Self { event: Some(event) }
    }
}

impl From<PutAnswer> for PutReply {
    fn from(answer: PutAnswer) -> Self {
        Self { answer: Some(answer) }
    }
}

impl From<GetAnswer> for GetReply {
    fn from(answer: GetAnswer) -> Self {
        Self { answer: Some(answer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_come_out_as_they_were_added() {
        let all = [("A", ""), ("B", "x=y\n"), ("C", "ü"), ("B", "again")];
        let mut env = String::new();
        for (name, value) in all {
            add_variable(&mut env, name, value);
        }
        assert!(variables(&env).eq(all));
        let odd = "no value\0=named nothing\0\0X=1";
        assert!(variables(odd).eq([("", "named nothing"), ("X", "1")]), "also without the last NUL");
    }
}
