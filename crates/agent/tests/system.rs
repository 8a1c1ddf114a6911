//! The agent with commands that are no processes: what it owes a client is the same, whatever runs them.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use netsplit_agent::{
    Agent, Child, Ended, Exit, How, Settings, Start, Streams, System, Tree, environment, not_started,
};
use netsplit_link::{Channel, Config, Link, Received, SessionId};
use netsplit_wire::message::{Body, Command, Happened, ProcessCommand, ProcessEvent, Request, tag};
use prost::Message;
use rustix::process::{Pid, Signal};
use tokio::sync::oneshot;

/// Runs `echo`: a thread that gives back what it reads, in capitals, and ends with the number of its words. What is done
/// to it is written down.
#[derive(Clone, Debug, Default)]
struct Echo {
    seen: Arc<Mutex<Vec<String>>>,
    /// Who waits for the end of a command that only a signal ends.
    waits: Arc<Mutex<Option<oneshot::Sender<Exit>>>>,
}

impl Echo {
    fn note(&self, what: String) {
        self.seen.lock().unwrap().push(what);
    }

    fn end(&self, signal: i32) {
        if let Some(waits) = self.waits.lock().unwrap().take() {
            waits.send(Exit::Signal { number: signal, core: false }).unwrap();
        }
    }
}

impl System for Echo {
    fn spawn(&self, host: &str, start: &Start) -> Result<Child, Ended> {
        if start.argv[0] != "echo" {
            return Err(not_started(How::NoSuchProgram, format!("only `echo` on {host}")));
        }
        let variables = environment(start, "root", "/root");
        let shown = variables.iter().filter(|(name, _)| ["HOME", "X"].contains(name));
        self.note(shown.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "));
        let pipe = || rustix::pipe::pipe().unwrap();
        let ((their_in, stdin), (stdout, their_out), (stderr, their_err)) = (pipe(), pipe(), pipe());
        let (sender, exit) = oneshot::channel();
        let words = start.argv.len().try_into().unwrap();
        if start.argv.last().unwrap() == "for-ever" {
            *self.waits.lock().unwrap() = Some(sender);
        } else {
            std::thread::spawn(move || {
                copy_in_capitals(their_in, their_out);
                drop(their_err);
                sender.send(Exit::Code(words)).unwrap();
            });
        }
        let streams = Streams::Pipes { stdin: Some(stdin), stdout, stderr };
        Ok(Child { pid: Pid::from_raw(7).unwrap(), streams, exit })
    }

    fn signal_group(&self, leader: Pid, signal: Signal) {
        self.note(format!("group {} {signal:?}", leader.as_raw_nonzero()));
        self.end(signal.as_raw());
    }

    fn signal(&self, tree: &Tree, signal: Signal) {
        self.note(format!("all of {} {signal:?}", tree.mark));
    }

    fn kill(&self, tree: &Tree) {
        self.note(format!("end of {}", tree.mark));
        self.end(9);
    }

    fn is_empty(&self, _: &Tree) -> bool {
        self.waits.lock().unwrap().is_none()
    }
}

fn copy_in_capitals(from: OwnedFd, to: OwnedFd) {
    let mut text = String::new();
    std::fs::File::from(from).read_to_string(&mut text).unwrap();
    std::fs::File::from(to).write_all(text.to_uppercase().as_bytes()).unwrap();
}

/// A client of an agent whose commands `echo` runs.
fn client(echo: &Echo) -> Link {
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    let addresses: Vec<IpAddr> = Vec::new();
    let agent = Agent::new(Settings { host: "a".to_owned(), generation: 1, addresses }, echo.clone());
    tokio::spawn(async move { agent.serve(theirs).await });
    Link::dial(Config::default(), SessionId([1; 16]), None, ours)
}

fn start(words: &[&str]) -> Request {
    Body::Start(Start {
        argv: words.iter().map(|word| (*word).to_owned()).collect(),
        env: "X=1\0".to_owned(),
        process: "run.a/echo".to_owned(),
        stdin: true,
        grace_ms: 50,
        ..Start::default()
    })
    .into()
}

/// What was written to standard output, and how it ended.
async fn end_of(channel: &mut Channel) -> (String, Ended) {
    let mut output = Vec::new();
    loop {
        match channel.receiver.receive().await {
            Received::Data(tag::STDOUT, bytes) => output.extend_from_slice(&bytes),
            Received::Message(message) => {
                if let Some(Happened::Ended(ended)) = ProcessEvent::decode(message).unwrap().event {
                    return (String::from_utf8(output).unwrap(), ended);
                }
            }
            Received::Data(..) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn streams_and_exit_are_those_of_the_system() {
    let echo = Echo::default();
    let link = client(&echo);
    let mut channel = link.request(&start(&["echo", "a", "b"])).await.unwrap();
    channel.sender.send(tag::STDIN, "hello".into()).await.unwrap();
    channel.sender.send_message(&ProcessCommand::from(Command::StdinEnd(true))).await.unwrap();
    let (output, ended) = end_of(&mut channel).await;
    assert_eq!((output.as_str(), ended.how(), ended.number), ("HELLO", How::Exited, 3));
    assert_eq!(*echo.seen.lock().unwrap(), ["HOME=/root X=1"]);
}

#[tokio::test(flavor = "current_thread")]
async fn what_cannot_start_says_so_in_the_words_of_the_system() {
    let link = client(&Echo::default());
    let (_, ended) = end_of(&mut link.request(&start(&["cat"])).await.unwrap()).await;
    assert_eq!((ended.how(), ended.text.as_str()), (How::NoSuchProgram, "only `echo` on a"));
}

#[tokio::test(flavor = "current_thread")]
async fn signals_and_ends_reach_the_system() {
    let echo = Echo::default();
    let link = client(&echo);
    for (command, number) in [(Command::Signal(10), 10), (Command::End(false), 9)] {
        let mut channel = link.request(&start(&["echo", "for-ever"])).await.unwrap();
        channel.sender.send_message(&ProcessCommand::from(command)).await.unwrap();
        let (_, ended) = end_of(&mut channel).await;
        assert_eq!((ended.how(), ended.number), (How::Signalled, number));
    }
    let seen = echo.seen.lock().unwrap();
    assert!(seen[1].starts_with("group 7") && seen[1].contains("USR1"), "{seen:?}");
    assert!(seen[3].starts_with("all of run.a/echo") && seen[3].contains("TERM"), "{seen:?}");
    assert_eq!(seen[4], "end of run.a/echo");
}
