//! `kvd`: the loop that joins the Raft member, its disk, its peers and its clients. Nothing is decided here.
//!
//! One thread runs the loop and owns all state. Threads of `net` bring events in and carry messages out.

mod settings;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use self::settings::Settings;
use crate::failure::{Failure, phrase};
use crate::kv::Store;
use crate::members::{Member, Members};
use crate::net::{spawn_link, spawn_listener};
use crate::protocol::{Frame, RECEIPT, Request, Response, Status, read_frame, write_frame};
use crate::raft::{Action, Answer, Input, Message, Output, Raft, Record, Report, Ticket};
use crate::storage::Storage;

/// Events waiting for the loop. The connections' threads wait when there are more.
const EVENTS_MAX: usize = 1024;
/// Events that share one sync of the disk.
const EVENTS_PER_SYNC_MAX: usize = 128;

/// What a connection brings in.
enum Event {
    Message { from: Member, message: Message },
    Request { request: Request, reply: SyncSender<Response> },
}

/// A client that waits for an answer.
struct Waiting {
    reply: SyncSender<Response>,
    /// The key to read; nothing for a write.
    key: Option<String>,
}

/// All that the loop owns.
struct Server {
    settings: Settings,
    began: Instant,
    raft: Raft,
    storage: Storage,
    store: Store,
    applied: u64,
    links: BTreeMap<Member, SyncSender<Message>>,
    waiting: BTreeMap<Ticket, Waiting>,
    tickets: Ticket,
    save: Vec<Record>,
    act: Vec<Action>,
}

/// Runs a member with the command line `args`, for ever; `--help` prints the flags and returns.
///
/// # Errors
/// When the command line is wrong, the address cannot be listened on, or the disk fails.
pub fn kvd(args: impl IntoIterator<Item = OsString>) -> Result<(), Failure> {
    match Settings::parse(args)? {
        Some(settings) => run(settings).map(|never| match never {}),
        None => {
            say(settings::USAGE);
            Ok(())
        }
    }
}

fn run(settings: Settings) -> Result<Infallible, Failure> {
    let owner = format!("{} of {}", settings.members.name(settings.me), settings.members.names());
    let (storage, saved) = Storage::open(&settings.data, &owner)?;
    if saved.term > 0 || !saved.entries.is_empty() {
        say(&format!("restored {} entries, term {}", saved.entries.len(), saved.term));
    }
    let events = listen(&settings)?;
    let links = start_links(&settings)?;
    let mut server = Server {
        raft: Raft::new(settings.raft_config(), saved, Duration::ZERO),
        settings,
        began: Instant::now(),
        storage,
        store: Store::default(),
        applied: 0,
        links,
        waiting: BTreeMap::new(),
        tickets: 0,
        save: Vec::new(),
        act: Vec::new(),
    };
    loop {
        server.turn(&events)?;
    }
}

fn listen(settings: &Settings) -> Result<Receiver<Event>, Failure> {
    let trouble = |err: io::Error| {
        let what = format!("failed to listen on {}: {}", settings.listen, phrase(&err));
        Failure::new(what, "stop what holds the port, or change --listen")
    };
    let listener = TcpListener::bind(&settings.listen).map_err(trouble)?;
    let address = listener.local_addr().map_err(trouble)?;
    let (sender, events) = sync_channel(EVENTS_MAX);
    let (members, me) = (settings.members.clone(), settings.me);
    let serve = move |mut stream: TcpStream| {
        let from = stream.peer_addr();
        if let (Err(err), Ok(from)) = (serve_connection(&mut stream, &members, me, &sender), from)
            && err.kind() == ErrorKind::InvalidData
        {
            let remedy = "use kvctl, and the same --peers on all members";
            complain(&format!("closed the connection from {from}: {}; {remedy}", phrase(&err)));
        }
    };
    spawn_listener(listener, serve).map_err(trouble)?;
    say(&format!("listening on {address}"));
    Ok(events)
}

fn start_links(settings: &Settings) -> Result<BTreeMap<Member, SyncSender<Message>>, Failure> {
    let (members, me) = (&settings.members, settings.me);
    // A connection that leads nowhere must not cost more than about one election.
    let patience = settings.timing.election_max * 2;
    let start = |peer| match spawn_link(members.name(me), members.place(peer), patience, complain) {
        Ok(link) => Ok((peer, link)),
        Err(err) => {
            let what = format!("failed to start the thread to {}: {}", members.name(peer), phrase(&err));
            Err(Failure::new(what, "raise the limit of threads"))
        }
    };
    Member::all(members.count()).filter(|&member| member != me).map(start).collect()
}

/// Serves one connection until it ends, whether a member or a client is at its other end.
fn serve_connection(
    stream: &mut TcpStream,
    members: &Members,
    me: Member,
    events: &SyncSender<Event>,
) -> io::Result<()> {
    let invalid = |what: String| io::Error::new(ErrorKind::InvalidData, what);
    let mut peer = None;
    while let Some(frame) = read_frame(stream)? {
        match (frame, peer) {
            (Frame::Hello { from, to }, None) => {
                if to != members.name(me) {
                    return Err(invalid(format!(
                        "it is meant for `{to}`, and this is `{}`",
                        members.name(me)
                    )));
                }
                let member = members.find(&from).filter(|&member| member != me);
                peer = Some(member.ok_or_else(|| invalid(format!("`{from}` is no peer of this member")))?);
            }
            (Frame::Message(message), Some(from)) => {
                let event = Event::Message { from, message };
                events.send(event).map_err(io::Error::other)?;
                stream.write_all(&[RECEIPT])?;
            }
            (Frame::Request(request), None) => {
                let (reply, response) = sync_channel(1);
                events.send(Event::Request { request, reply }).map_err(io::Error::other)?;
                let response = response.recv().map_err(io::Error::other)?;
                write_frame(stream, &Frame::Response(response))?;
            }
            _ => return Err(invalid("a frame came out of turn".into())),
        }
    }
    Ok(())
}

impl Server {
    /// Waits for events or the deadline, and does what follows from them.
    fn turn(&mut self, events: &Receiver<Event>) -> Result<(), Failure> {
        let wait = self.raft.deadline().saturating_sub(self.began.elapsed());
        // The listener holds a sender for ever, so an error is a timeout.
        if let Ok(event) = events.recv_timeout(wait) {
            self.take(event);
            events.try_iter().take(EVENTS_PER_SYNC_MAX - 1).for_each(|event| self.take(event));
        }
        self.step(Input::Tick);
        // Together, so that events that came together share a sync. Nothing is said or sent before it.
        self.storage.save(&std::mem::take(&mut self.save))?;
        for action in std::mem::take(&mut self.act) {
            self.act(action);
        }
        Ok(())
    }

    fn step(&mut self, input: Input) {
        let Output { save, act } = self.raft.step(self.began.elapsed(), input);
        self.save.extend(save);
        self.act.extend(act);
    }

    fn take(&mut self, event: Event) {
        let (request, reply) = match event {
            Event::Message { from, message } => return self.step(Input::Message { from, message }),
            Event::Request { request, reply } => (request, reply),
        };
        self.tickets += 1;
        let ticket = self.tickets;
        let (key, input) = match request {
            Request::Put(put) => (None, Input::Write { ticket, put }),
            Request::Get { key } => (Some(key), Input::Read { ticket }),
            Request::List { after } => {
                let _ = reply.try_send(Response::Listed(self.store.page(&after)));
                return;
            }
            Request::Status => {
                let _ = reply.try_send(Response::Status(self.status()));
                return;
            }
        };
        self.waiting.insert(ticket, Waiting { reply, key });
        self.step(input);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send { to, message } => {
                // A full queue drops the message; Raft sends again.
                let _ = self.links.get(&to).map(|link| link.try_send(message));
            }
            Action::Apply { index, command } => {
                self.applied += 1;
                assert_eq!(index, self.applied, "entries are applied in order and without gaps");
                self.store.apply(command);
            }
            Action::Answer { ticket, answer } => self.answer(ticket, answer),
            Action::Report(report) => say(&line(report, &self.settings.members)),
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        let Some(Waiting { reply, key }) = self.waiting.remove(&ticket) else { return };
        let response = match answer {
            Answer::Written => Response::Written,
            Answer::Readable => Response::Value(key.and_then(|key| self.store.get(&key).map(str::to_owned))),
            Answer::NotLeader(leader) => Response::NotLeader(
                leader.map(|leader| self.settings.members.place(leader).address.to_string()),
            ),
            Answer::Lost => Response::Lost,
        };
        let _ = reply.try_send(response); // the client may have gone
    }

    fn status(&self) -> Status {
        Status {
            name: self.settings.members.name(self.settings.me).to_owned(),
            role: self.raft.role().to_owned(),
            term: self.raft.term(),
            // What is committed and not yet applied would not be listed.
            commit: self.applied,
            last: self.raft.last_index(),
        }
    }
}

/// The line that says `report`. Others wait for these lines, so they are part of the interface.
fn line(report: Report, members: &Members) -> String {
    match report {
        Report::Follower { leader, term } => {
            format!("became follower of {}, term {term}", members.name(leader))
        }
        Report::Candidate { term } => format!("became candidate, term {term}"),
        Report::Leader { term } => format!("became leader, term {term}"),
        Report::SteppedDown { term } => format!("stepped down, term {term}"),
        Report::CaughtUp { leader, index } => {
            format!("caught up with {} at index {index}", members.name(leader))
        }
    }
}

/// Prints one fact at once. Whoever closed the output does not want it.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Prints one complaint.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::parse_places;

    #[test]
    fn lines_are_as_documented() {
        let members = Members::new(parse_places("a:1,b:1,c:1").unwrap()).unwrap();
        let leader = Member(1);
        for (report, expected) in [
            (Report::Follower { leader, term: 3 }, "became follower of b, term 3"),
            (Report::Candidate { term: 3 }, "became candidate, term 3"),
            (Report::Leader { term: 3 }, "became leader, term 3"),
            (Report::SteppedDown { term: 3 }, "stepped down, term 3"),
            (Report::CaughtUp { leader, index: 7 }, "caught up with b at index 7"),
        ] {
            assert_eq!(line(report, &members), expected);
        }
    }
}
