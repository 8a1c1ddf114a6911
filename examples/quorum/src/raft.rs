//! One Raft member as a pure state machine: time and inputs go in; records to save and actions come out.
//!
//! After Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), with the read
//! index and the leader's quorum check of Ongaro's dissertation (sections 6.4 and 6.2). No sockets, files,
//! clocks or threads are here: `server` has them, and `sim` plays their part in the tests.

mod election;
mod log;
mod message;
mod reads;
mod replication;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) use self::log::{BATCH_ENTRIES_MAX, Entry};
pub(crate) use self::message::{Message, Outcome};

use self::log::Log;
use crate::kv::{Command, Put};
use crate::members::Member;
use crate::rng::Rng;

/// How long a member waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// A follower that hears no leader stands for election after a random time of at least this …
    pub(crate) election_min: Duration,
    /// … and less than this. A leader that hears no majority for this long steps down.
    pub(crate) election_max: Duration,
    /// How often a leader shows itself.
    pub(crate) heartbeat: Duration,
}

/// What a member is told about itself.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) me: Member,
    /// All members, this one too.
    pub(crate) members: u8,
    pub(crate) timing: Timing,
    /// The deliberately broken variant, see [`Raft::acknowledge_early`].
    pub(crate) ack_early: bool,
    pub(crate) seed: u64,
}

/// What a member must remember across a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) term: u64,
    pub(crate) vote: Option<Member>,
    /// The log; the first entry has index 1.
    pub(crate) entries: Vec<Entry>,
}

/// One change of [`Saved`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The term and the vote in it.
    Ballot { term: u64, vote: Option<Member> },
    /// The entry at `index`. Entries that were at `index` and behind it are gone.
    Entry { index: u64, entry: Entry },
}

/// The name of a request, chosen by whoever handed it in.
pub(crate) type Ticket = u64;

/// What can happen to a member.
#[derive(Debug)]
pub(crate) enum Input {
    /// The deadline may have come.
    Tick,
    Message {
        from: Member,
        message: Message,
    },
    /// A client wants to write.
    Write {
        ticket: Ticket,
        put: Put,
    },
    /// A client wants to read what is newest.
    Read {
        ticket: Ticket,
    },
}

/// What a step asks for. All of `save` must be durable before any of `act` is done, and `act` goes in order.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) save: Vec<Record>,
    pub(crate) act: Vec<Action>,
}

/// Something to do once the step's records are durable.
#[derive(Debug)]
pub(crate) enum Action {
    /// Send, without a promise that it arrives.
    Send { to: Member, message: Message },
    /// Apply the committed entry at `index` to the store. Indices come without gaps, from 1 after a start.
    Apply { index: u64, command: Command },
    /// Answer a client.
    Answer { ticket: Ticket, answer: Answer },
    /// Tell whoever watches.
    Report(Report),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The write is committed.
    Written,
    /// The read may be answered from the store, as it is now.
    Readable,
    /// Nothing was done; ask the leader, when it is known.
    NotLeader(Option<Member>),
    /// Leadership was lost in between; the write may or may not happen.
    Lost,
}

/// A fact worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Follower { leader: Member, term: u64 },
    Candidate { term: u64 },
    Leader { term: u64 },
    SteppedDown { term: u64 },
    CaughtUp { leader: Member, index: u64 },
}

/// What a member is at the moment.
#[derive(Debug)]
enum Role {
    Follower { leader: Option<Member> },
    Candidate { votes: BTreeSet<Member> },
    Leader(Leadership),
}

/// What only a leader knows.
#[derive(Debug)]
struct Leadership {
    peers: BTreeMap<Member, Progress>,
    /// Counts the rounds of messages to all peers, so that a reply shows which round it answers.
    round: u64,
    heartbeat_at: Duration,
    /// Writes to answer once the entry at the index is committed.
    writes: BTreeMap<u64, Ticket>,
    /// Reads to answer once a majority has answered the round.
    reads: Vec<(u64, Ticket)>,
}

/// What a leader knows about one peer.
#[derive(Debug)]
struct Progress {
    /// The next entry to send.
    next: u64,
    /// The peer's log is known to equal ours up to here.
    matched: u64,
    /// Only empty messages go out until one is accepted: the place where the logs part is being looked for.
    probing: bool,
    /// The last round that the peer answered.
    round: u64,
    heard_at: Duration,
}

/// One Raft member.
#[derive(Debug)]
pub(crate) struct Raft {
    config: Config,
    rng: Rng,
    now: Duration,
    term: u64,
    vote: Option<Member>,
    log: Log,
    commit: u64,
    role: Role,
    election_at: Duration,
    /// Set by a restart with data, a lost leader or a gap in the log, until the leader's commit index is
    /// reached.
    behind: bool,
    ballot_saved: (u64, Option<Member>),
    output: Output,
}

impl Raft {
    /// A member that begins at `now` with what it had saved.
    pub(crate) fn new(config: Config, saved: Saved, now: Duration) -> Self {
        let mut raft = Self {
            rng: Rng::new(config.seed),
            config,
            now,
            term: saved.term,
            vote: saved.vote,
            behind: !saved.entries.is_empty(),
            log: Log::new(saved.entries),
            commit: 0,
            role: Role::Follower { leader: None },
            election_at: now,
            ballot_saved: (saved.term, saved.vote),
            output: Output::default(),
        };
        raft.restart_election_timer();
        raft
    }

    /// Takes one input at the time `now`, which counts from any fixed moment and never goes back.
    pub(crate) fn step(&mut self, now: Duration, input: Input) -> Output {
        self.now = self.now.max(now);
        match input {
            Input::Tick => self.on_tick(),
            Input::Message { from, message } => self.on_message(from, message),
            Input::Write { ticket, put } => self.on_write(ticket, put),
            Input::Read { ticket } => self.on_read(ticket),
        }
        let ballot = (self.term, self.vote);
        if ballot != self.ballot_saved {
            self.ballot_saved = ballot;
            self.output.save.push(Record::Ballot { term: self.term, vote: self.vote });
        }
        debug_assert!(self.commit <= self.log.last_index(), "only entries that are here can be committed");
        std::mem::take(&mut self.output)
    }

    /// When the next [`Input::Tick`] is due.
    pub(crate) fn deadline(&self) -> Duration {
        match &self.role {
            Role::Leader(lead) => lead.heartbeat_at,
            Role::Follower { .. } | Role::Candidate { .. } => self.election_at,
        }
    }

    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.log.last_index()
    }

    /// The role as a word: `leader`, `follower` or `candidate`.
    pub(crate) fn role(&self) -> &'static str {
        match &self.role {
            Role::Follower { .. } => "follower",
            Role::Candidate { .. } => "candidate",
            Role::Leader(_) => "leader",
        }
    }

    fn on_tick(&mut self) {
        if self.now < self.deadline() {
            return;
        }
        match &self.role {
            Role::Leader(_) if !self.hears_quorum() => self.step_down(self.term),
            Role::Leader(_) => self.send_round(),
            Role::Follower { .. } | Role::Candidate { .. } => self.stand(),
        }
    }

    fn on_message(&mut self, from: Member, message: Message) {
        if from == self.config.me || from.0 >= self.config.members {
            return; // no member of ours sent this
        }
        if message.term() > self.term {
            self.step_down(message.term());
        }
        let is_stale = message.term() < self.term;
        match message {
            Message::Vote { last_index, last_term, .. } => {
                let granted = !is_stale && self.grants_vote(from, last_index, last_term);
                self.send(from, Message::VoteReply { term: self.term, granted });
            }
            Message::Append { round, .. } if is_stale => {
                let outcome = Outcome::Rejected { next: self.log.last_index() + 1 };
                self.send(from, Message::AppendReply { term: self.term, round, outcome });
            }
            Message::Append { round, prev_index, prev_term, commit, entries, .. } => {
                self.on_append(from, round, message::Batch { prev_index, prev_term, commit, entries });
            }
            Message::VoteReply { .. } | Message::AppendReply { .. } if is_stale => {}
            Message::VoteReply { granted, .. } => self.on_vote_reply(from, granted),
            Message::AppendReply { round, outcome, .. } => self.on_append_reply(from, round, outcome),
        }
    }

    /// Becomes a follower of nobody yet, in `term` which is the present one or a newer one.
    fn step_down(&mut self, term: u64) {
        if term > self.term {
            self.term = term;
            self.vote = None;
        }
        let role = std::mem::replace(&mut self.role, Role::Follower { leader: None });
        let Role::Leader(lead) = role else { return };
        for ticket in lead.writes.into_values() {
            self.answer(ticket, Answer::Lost);
        }
        for (_, ticket) in lead.reads {
            self.answer(ticket, Answer::NotLeader(None));
        }
        self.behind = true;
        self.restart_election_timer();
        self.report(Report::SteppedDown { term });
    }

    fn restart_election_timer(&mut self) {
        let Timing { election_min, election_max, .. } = self.config.timing;
        self.election_at = self.now + self.rng.between(election_min, election_max);
    }

    /// How many members a majority is.
    fn quorum(&self) -> usize {
        usize::from(self.config.members) / 2 + 1
    }

    fn peers(&self) -> impl Iterator<Item = Member> + use<> {
        let me = self.config.me;
        Member::all(self.config.members).filter(move |&member| member != me)
    }

    fn send(&mut self, to: Member, message: Message) {
        self.output.act.push(Action::Send { to, message });
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.output.act.push(Action::Answer { ticket, answer });
    }

    fn report(&mut self, report: Report) {
        self.output.act.push(Action::Report(report));
    }
}
