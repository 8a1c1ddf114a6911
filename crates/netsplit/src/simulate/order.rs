//! What the process of one seed is told and what it answers: a line of JSON each way, on the socket that is its standard
//! input.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use netsplit_model::{Trouble, Verdict, VerdictFile};
use serde::{Deserialize, Serialize};

use crate::run::RunPlace;
use crate::settings::Handed;

/// What the process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Where its evidence goes; its directory exists.
    pub(super) place: RunPlace,
    pub(super) settings: Handed,
    /// The test's name with its mode.
    pub(super) test: String,
    /// The command that repeats it; `%{seed}` stands for the seed.
    pub(super) repeat: String,
    /// What `./x` is relative to.
    pub(super) base: PathBuf,
}

/// How it went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) ended: Ended,
    /// Of all that happened.
    pub(super) trace: u64,
    /// How long it lasted, in simulated time.
    pub(super) now: Duration,
    /// Simulated events.
    pub(super) events: u64,
}

/// How the run ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Ended {
    /// With a verdict, which is in its directory as well.
    Finished {
        verdict: Box<VerdictFile>,
        /// Whether its testbed lives on.
        kept: bool,
    },
    /// Before it had one; the first of these decides.
    Stopped(Vec<Trouble>),
}

impl Ended {
    /// The exit code of its process.
    pub(super) fn exit_code(&self) -> i32 {
        let verdict = match self {
            Self::Finished { verdict, .. } => verdict.verdict,
            Self::Stopped(troubles) => troubles.first().map_or(Verdict::Unknown, Trouble::verdict),
        };
        Verdict::exit_code(&[verdict]).into()
    }
}

/// The order that this process was started with, and the way back.
///
/// # Errors
/// When nobody sent one.
pub(super) fn receive() -> io::Result<(Order, UnixStream)> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // A test that reads its standard input finds nothing there, as anywhere.
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    let mut line = String::new();
    BufReader::new(&socket).read_line(&mut line)?;
    Ok((serde_json::from_str(&line)?, socket))
}

/// Answers.
///
/// # Errors
/// When nobody listens.
pub(super) fn send(mut answer: &UnixStream, report: &Report) -> io::Result<()> {
    answer.write_all(&line(report)?)
}

/// A value on its way.
///
/// # Errors
/// Never, for what is sent here.
pub(super) fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
