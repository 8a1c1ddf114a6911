//! Standing for election, voting, and taking over.

use std::collections::{BTreeMap, BTreeSet};

use super::{Leadership, Message, Progress, Raft, Report, Role};
use crate::kv::Command;
use crate::members::Member;

impl Raft {
    /// Begins a new term as its candidate.
    pub(super) fn stand(&mut self) {
        // A member that had a leader and lost it may be the one who was cut off.
        self.behind |= matches!(self.role, Role::Follower { leader: Some(_) });
        self.term += 1;
        self.vote = Some(self.config.me);
        self.role = Role::Candidate { votes: BTreeSet::from([self.config.me]) };
        self.restart_election_timer();
        self.report(Report::Candidate { term: self.term });
        let (last_index, last_term) = (self.log.last_index(), self.log.last_term());
        for peer in self.peers() {
            self.send(peer, Message::Vote { term: self.term, last_index, last_term });
        }
        self.lead_if_elected();
    }

    /// Whether `candidate`, whose log ends so, has this member's vote in the present term.
    pub(super) fn grants_vote(&mut self, candidate: Member, last_index: u64, last_term: u64) -> bool {
        let is_free = self.vote.is_none_or(|vote| vote == candidate);
        // Only a log as new as ours can hold everything that is committed.
        let is_current = (last_term, last_index) >= (self.log.last_term(), self.log.last_index());
        let granted = is_free && is_current;
        if granted {
            self.vote = Some(candidate);
            self.restart_election_timer();
        }
        granted
    }

    pub(super) fn on_vote_reply(&mut self, from: Member, granted: bool) {
        if let Role::Candidate { votes } = &mut self.role
            && granted
        {
            votes.insert(from);
            self.lead_if_elected();
        }
    }

    fn lead_if_elected(&mut self) {
        let Role::Candidate { votes } = &self.role else { return };
        if votes.len() < self.quorum() {
            return;
        }
        let next = self.log.last_index() + 1;
        let (now, round) = (self.now, 0);
        let begin = |peer| (peer, Progress { next, matched: 0, probing: false, round, heard_at: now });
        self.role = Role::Leader(Leadership {
            peers: self.peers().map(begin).collect(),
            round,
            heartbeat_at: now,
            writes: BTreeMap::new(),
            reads: Vec::new(),
        });
        self.behind = false;
        self.report(Report::Leader { term: self.term });
        // Entries of earlier terms are committed only along with one of this term, so there must be one.
        self.append_own(Command::Nothing);
        self.send_round();
        self.advance_commit();
    }
}
