//! The agent of a simulated host, from the process that it is: for one client, which is at its standard input.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;

use netsplit_agent::{Agent, Settings};
use netsplit_sim::{Host, Process, Spawn};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::programs::Programs;
use crate::bed::BoxTransport;

/// What is kept of an agent's last words: a panic and where it was.
const WORDS_MAX: usize = 4096;

/// An agent that was started: the way to it, and what it may say when it ends badly.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) transport: BoxTransport,
    pub(super) process: Process,
    pub(super) words: Words,
}

/// Starts an agent on `host`. Must be called in a tokio runtime.
pub(super) fn start(host: Host, settings: Settings) -> io::Result<Started> {
    let (ours, theirs) = StdStream::pair()?;
    // It must not wait for us when it has something to say.
    let (words, said) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let streams = [theirs.into(), said.try_clone()?, said];
    let process = host.spawn(Spawn::new("agent", streams, move || run(settings)))?;
    ours.set_nonblocking(true)?;
    let transport = Box::new(UnixStream::from_std(ours)?);
    Ok(Started { transport, process, words: Words(pipe::Receiver::from_owned_fd_unchecked(words)?) })
}

/// What comes out of an agent that is not for its client.
#[derive(Debug)]
pub(super) struct Words(pipe::Receiver);

impl Words {
    /// Waits until the agent has ended, and gives the last of what it said.
    pub(super) async fn last(mut self) -> String {
        let mut words = Vec::new();
        while let Ok(1..) = self.0.read_buf(&mut words).await {
            let too_many = words.len().saturating_sub(WORDS_MAX);
            words.drain(..too_many);
        }
        String::from_utf8_lossy(&words).trim().to_owned()
    }
}

fn run(settings: Settings) -> i32 {
    match serve(settings) {
        Ok(()) => 0,
        Err(error) => {
            let _nobody_listens = writeln!(io::stderr(), "{error}");
            1
        }
    }
}

/// Serves the client until its link is over, and what it ran has ended.
fn serve(settings: Settings) -> io::Result<()> {
    let link: OwnedFd = io::stdin().as_fd().try_clone_to_owned()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let link = StdStream::from(link);
        link.set_nonblocking(true)?;
        let programs = Programs::default();
        let agent = Agent::new(settings, programs.clone());
        agent.serve(UnixStream::from_std(link)?).await;
        programs.all_ended().await;
        Ok(())
    })
}
