//! Standing for election, voting, and taking over.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::{Ballot, ELECTION_MAX, HEARTBEAT, Leading, Output, Progress, Question, Raft, Role};
use crate::message::{Entry, Vote, Voted};

impl Raft {
    /// Begins a new term as its candidate.
    pub(super) fn stand(&mut self, now: Instant) {
        let term = self.ballot.term + 1;
        self.ballot = Ballot { term, vote: Some(self.me.clone()) };
        self.role = Role::Candidate { votes: BTreeSet::from([self.me.clone()]) };
        self.restart_election_timer(now);
        self.say(format!("became candidate of term {term}"));
        let (last_index, last_term) = (self.log.last_index(), self.log.last_term());
        for peer in self.others.clone() {
            let vote = Vote { term, candidate: self.me.clone(), last_index, last_term };
            self.outputs.push(Output::Ask { peer, question: Question::Vote(vote) });
        }
        self.lead_if_elected(now);
    }

    /// Answers a candidate.
    pub(super) fn vote(&mut self, now: Instant, vote: Vote) -> Voted {
        if vote.term > self.ballot.term {
            self.step_down(now, vote.term);
        }
        let is_free = self.ballot.vote.as_ref().is_none_or(|voted| *voted == vote.candidate);
        // Only a log as new as this one can have everything that is committed.
        let is_current = (vote.last_term, vote.last_index) >= (self.log.last_term(), self.log.last_index());
        let granted = vote.term == self.ballot.term && is_free && is_current;
        if granted {
            self.ballot.vote = Some(vote.candidate);
            self.restart_election_timer(now);
        }
        Voted { term: self.ballot.term, granted }
    }

    /// Takes a peer's answer to a candidate.
    pub(super) fn voted(&mut self, now: Instant, peer: &str, term: u64, voted: Option<Voted>) {
        let Some(voted) = voted else { return };
        if voted.term > self.ballot.term {
            return self.step_down(now, voted.term);
        }
        if term == self.ballot.term
            && voted.granted
            && let Role::Candidate { votes } = &mut self.role
        {
            votes.insert(peer.to_owned());
            self.lead_if_elected(now);
        }
    }

    fn lead_if_elected(&mut self, now: Instant) {
        let Role::Candidate { votes } = &self.role else { return };
        let members = self.others.len() + 1;
        if votes.len() * 2 <= members {
            return;
        }
        let first_index = self.log.last_index() + 1;
        let progress = |peer: &String| (peer.clone(), Progress::new(first_index, now));
        self.role = Role::Leader(Leading {
            peers: self.others.iter().map(progress).collect(),
            round: 0,
            heartbeat_at: now + HEARTBEAT,
            first_index,
            writes: BTreeMap::new(),
            reads: Vec::new(),
        });
        self.say(format!("became leader of term {}", self.ballot.term));
        // Entries of earlier terms are committed only along with one of this term, so there must be one.
        self.log.push(Entry { term: self.ballot.term, put: None });
    }
}

impl Leading {
    /// Whether a majority, this member included, was heard of late.
    pub(super) fn hears_majority(&self, now: Instant) -> bool {
        let heard = self.peers.values().filter(|peer| now < peer.heard_at + ELECTION_MAX).count();
        (heard + 1) * 2 > self.peers.len() + 1
    }

    /// Has every peer asked once more.
    pub(super) fn begin_heartbeat(&mut self, now: Instant) {
        self.round += 1;
        self.heartbeat_at = now + HEARTBEAT;
        for peer in self.peers.values_mut() {
            peer.is_silent = false;
        }
    }
}

impl Progress {
    fn new(next: u64, now: Instant) -> Self {
        Self {
            next,
            matched: 0,
            is_asked: false,
            is_silent: false,
            round_asked: 0,
            round_answered: 0,
            heard_at: now,
        }
    }
}
