//! One Raft member without disk, network or clock: requests, answers and the time go in; what must be saved, and what to
//! say to whom once it is, come out.
//!
//! After Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), with the read index and the
//! leader's check of its quorum from Ongaro's dissertation (sections 6.4 and 6.2). Left out: changes of the members,
//! snapshots, pre-vote.

mod election;
mod log;
mod replication;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use self::log::Log;
use crate::kv::Store;
use crate::message::{Append, Appended, Ballot, Entry, Put, Status, Vote, Voted};
use crate::storage::Saved;

/// How often a leader shows itself.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(60);
/// A follower that hears no leader stands for election after a random time of at least this …
pub(crate) const ELECTION_MIN: Duration = Duration::from_millis(300);
/// … and less than this. A leader that hears no majority for as long steps down.
const ELECTION_MAX: Duration = Duration::from_millis(600);

/// What others ask of a member.
#[derive(Debug)]
pub(crate) enum Request {
    Vote(Vote),
    Append(Append),
    Put(Put),
    /// The newest value of a key.
    Get(String),
    /// All that this member has applied, which may be old.
    List,
    Status,
}

/// What a member answers.
#[derive(Debug)]
pub(crate) enum Response {
    Voted(Voted),
    Appended(Appended),
    Written,
    Value(Option<String>),
    All(BTreeMap<String, String>),
    Status(Status),
    /// Nothing was done; ask the leader, when it is known.
    NotLeader(Option<String>),
    /// Leadership was lost meanwhile: the write may be done, now or later, or not.
    Lost,
}

/// Where an answer goes.
pub(crate) type Reply = oneshot::Sender<Response>;

/// What to do once all that was to save is saved.
#[derive(Debug)]
pub(crate) enum Output {
    Answer(Reply, Response),
    Ask { peer: String, question: Question },
    Say(String),
}

/// What a member asks another one.
#[derive(Clone, Debug)]
pub(crate) enum Question {
    Vote(Vote),
    Append { round: u64, append: Append },
}

/// What came of a [`Question`], with what identifies it; `None`: nothing in time.
#[derive(Debug)]
pub(crate) enum Answer {
    Vote { term: u64, voted: Option<Voted> },
    Append { term: u64, round: u64, appended: Option<Appended> },
}

#[derive(Debug)]
enum Role {
    Follower { leader: Option<String> },
    Candidate { votes: BTreeSet<String> },
    Leader(Leading),
}

/// What only a leader knows.
#[derive(Debug)]
struct Leading {
    peers: BTreeMap<String, Progress>,
    /// Counts what answers can prove: that this member still led when the round began.
    round: u64,
    heartbeat_at: Instant,
    /// Of the entry with which it began: all that was committed before is no later than this.
    first_index: u64,
    /// Writes to answer when the entry at the index is committed.
    writes: BTreeMap<u64, Reply>,
    reads: Vec<Read>,
}

/// What a leader knows of one peer.
#[derive(Debug)]
struct Progress {
    /// The next entry to send.
    next: u64,
    /// The peer has the leader's entries up to here on its disk.
    matched: u64,
    /// There is one question at a time.
    is_asked: bool,
    /// The last question brought no answer: the next one goes out with the next heartbeat.
    is_silent: bool,
    round_asked: u64,
    round_answered: u64,
    heard_at: Instant,
}

/// A read that waits for a majority to answer `round`, and for the entry at `index` to be applied.
#[derive(Debug)]
struct Read {
    round: u64,
    index: u64,
    key: String,
    reply: Reply,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Raft {
    me: String,
    /// The other members.
    others: Vec<String>,
    random: fn() -> u64,
    ballot: Ballot,
    log: Log,
    commit: u64,
    store: Store,
    role: Role,
    election_at: Instant,
    outputs: Vec<Output>,
}

impl Raft {
    /// A member that starts with what it had saved.
    pub(crate) fn new(
        me: String,
        others: Vec<String>,
        saved: Saved,
        now: Instant,
        random: fn() -> u64,
    ) -> Self {
        let mut raft = Self {
            me,
            others,
            random,
            ballot: saved.ballot,
            log: Log::new(saved.entries),
            commit: 0,
            store: Store::default(),
            role: Role::Follower { leader: None },
            election_at: now,
            outputs: Vec::new(),
        };
        raft.restart_election_timer(now);
        raft
    }

    /// When [`tick`](Self::tick) is due.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.role {
            Role::Leader(leading) => leading.heartbeat_at,
            Role::Follower { .. } | Role::Candidate { .. } => self.election_at,
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        if now < self.deadline() {
            return;
        }
        match &mut self.role {
            Role::Leader(leading) if leading.hears_majority(now) => leading.begin_heartbeat(now),
            Role::Leader(_) => self.step_down(now, self.ballot.term),
            Role::Follower { .. } | Role::Candidate { .. } => self.stand(now),
        }
    }

    /// Takes a request, to which there will be one answer.
    pub(crate) fn request(&mut self, now: Instant, request: Request, reply: Reply) {
        match request {
            Request::Vote(vote) => {
                let voted = self.vote(now, vote);
                self.answer(reply, Response::Voted(voted));
            }
            Request::Append(append) => {
                let appended = self.append(now, append);
                self.answer(reply, Response::Appended(appended));
            }
            Request::Put(put) => self.put(put, reply),
            Request::Get(key) => self.get(key, reply),
            Request::List => self.answer(reply, Response::All(self.store.all().clone())),
            Request::Status => self.answer(reply, Response::Status(self.status())),
        }
    }

    /// Takes what came of a question to `peer`.
    pub(crate) fn answered(&mut self, now: Instant, peer: &str, answer: Answer) {
        match answer {
            Answer::Vote { term, voted } => self.voted(now, peer, term, voted),
            Answer::Append { term, round, appended } => self.appended(now, peer, term, round, appended),
        }
    }

    /// The ballot to save.
    pub(crate) fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// How many entries of the saved log to keep, and those to save behind them.
    pub(crate) fn unsaved(&self) -> (usize, &[Entry]) {
        self.log.unsaved()
    }

    /// All is saved; gives what may be done now.
    pub(crate) fn saved(&mut self) -> Vec<Output> {
        self.log.set_saved();
        self.advance_commit();
        self.answer_reads();
        self.ask_peers();
        mem::take(&mut self.outputs)
    }

    /// Follows nobody yet, in `term` which is the present one or a later one.
    fn step_down(&mut self, now: Instant, term: u64) {
        if term > self.ballot.term {
            self.ballot = Ballot { term, vote: None };
        }
        let role = mem::replace(&mut self.role, Role::Follower { leader: None });
        let Role::Leader(leading) = role else { return };
        self.say(format!("stepped down in term {term}"));
        self.restart_election_timer(now);
        for reply in leading.writes.into_values() {
            self.answer(reply, Response::Lost);
        }
        for read in leading.reads {
            self.answer(read.reply, Response::NotLeader(None));
        }
    }

    fn restart_election_timer(&mut self, now: Instant) {
        let width = u64::try_from((ELECTION_MAX - ELECTION_MIN).as_micros()).unwrap_or(u64::MAX);
        self.election_at = now + ELECTION_MIN + Duration::from_micros((self.random)() % width);
    }

    fn status(&self) -> Status {
        let role = match &self.role {
            Role::Follower { .. } => "follower",
            Role::Candidate { .. } => "candidate",
            Role::Leader(_) => "leader",
        };
        let (name, role) = (self.me.clone(), role.to_owned());
        Status { name, role, term: self.ballot.term, commit: self.commit, last: self.log.last_index() }
    }

    /// Answers that another one must be asked.
    fn refuse(&mut self, reply: Reply) {
        let leader = match &self.role {
            Role::Follower { leader } => leader.clone(),
            Role::Candidate { .. } | Role::Leader(_) => None,
        };
        self.answer(reply, Response::NotLeader(leader));
    }

    fn answer(&mut self, reply: Reply, response: Response) {
        self.outputs.push(Output::Answer(reply, response));
    }

    fn say(&mut self, line: String) {
        self.outputs.push(Output::Say(line));
    }
}

/// The largest number that a majority reaches, of one number a member.
fn reached_by_majority(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers[numbers.len() / 2]
}
