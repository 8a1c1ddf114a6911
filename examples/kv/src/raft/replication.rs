//! The log from leader to followers, what is committed, and what clients are told.

use std::mem;

use tokio::time::Instant;

use super::{Output, Question, Raft, Read, Reply, Response, Role, reached_by_majority};
use crate::message::{Append, Appended, Entry, Put};

impl Raft {
    pub(super) fn put(&mut self, put: Put, reply: Reply) {
        let Role::Leader(leading) = &mut self.role else { return self.refuse(reply) };
        self.log.push(Entry { term: self.ballot.term, put: Some(put) });
        leading.writes.insert(self.log.last_index(), reply);
    }

    pub(super) fn get(&mut self, key: String, reply: Reply) {
        let Role::Leader(leading) = &mut self.role else { return self.refuse(reply) };
        leading.round += 1; // only questions that go out from now on prove anything
        let (round, index) = (leading.round, self.commit.max(leading.first_index));
        leading.reads.push(Read { round, index, key, reply });
    }

    /// Answers a leader.
    pub(super) fn append(&mut self, now: Instant, append: Append) -> Appended {
        let Append { term, leader, prev_index, prev_term, commit, entries } = append;
        let known_term = self.ballot.term;
        if term < known_term {
            return Appended { term: known_term, accepted: false, next: 0 };
        }
        self.follow(now, term, leader);
        let next = match self.log.term_at(prev_index) {
            Some(known) if known == prev_term => {
                let next = self.take(prev_index + 1, entries);
                self.commit_to(commit.min(next - 1));
                return Appended { term, accepted: true, next };
            }
            // Leaves out all of the term in question at once.
            Some(_) => self.log.first_of_term(prev_index),
            None => self.log.last_index() + 1,
        };
        Appended { term, accepted: false, next }
    }

    fn follow(&mut self, now: Instant, term: u64, leader: String) {
        if term > self.ballot.term || matches!(self.role, Role::Candidate { .. }) {
            self.step_down(now, term);
        }
        self.restart_election_timer(now);
        if let Role::Follower { leader: known } = &mut self.role
            && known.as_ref() != Some(&leader)
        {
            *known = Some(leader.clone());
            self.say(format!("became follower of term {term}, led by {leader}"));
        }
    }

    /// Has `entries` from `index` on; gives the index behind them.
    fn take(&mut self, mut index: u64, entries: Vec<Entry>) -> u64 {
        for entry in entries {
            let known = self.log.term_at(index);
            if known.is_some_and(|term| term != entry.term) {
                assert!(index > self.commit, "entry {index} is committed and cannot be replaced");
                self.log.truncate(index);
            }
            if known != Some(entry.term) {
                self.log.push(entry);
            }
            index += 1;
        }
        index
    }

    /// Takes a peer's answer to a leader.
    pub(super) fn appended(
        &mut self,
        now: Instant,
        peer: &str,
        term: u64,
        round: u64,
        appended: Option<Appended>,
    ) {
        if let Some(appended) = appended.as_ref().filter(|appended| appended.term > self.ballot.term) {
            return self.step_down(now, appended.term);
        }
        let Role::Leader(leading) = &mut self.role else { return };
        let Some(progress) = leading.peers.get_mut(peer).filter(|_| term == self.ballot.term) else { return };
        progress.is_asked = false;
        let Some(Appended { accepted, next, .. }) = appended else {
            progress.is_silent = true;
            return;
        };
        progress.heard_at = now;
        progress.round_answered = round;
        if accepted {
            progress.matched = progress.matched.max(next - 1);
            progress.next = next;
        } else {
            progress.next = next.min(progress.next - 1).max(progress.matched + 1);
        }
    }

    /// Asks every peer that lacks an entry or has not been asked in this round, and is not being asked.
    pub(super) fn ask_peers(&mut self) {
        let Role::Leader(leading) = &mut self.role else { return };
        for (peer, progress) in &mut leading.peers {
            let is_due = progress.next <= self.log.last_index() || progress.round_asked < leading.round;
            if !is_due || progress.is_asked || progress.is_silent {
                continue;
            }
            progress.is_asked = true;
            progress.round_asked = leading.round;
            let prev_index = progress.next - 1;
            let append = Append {
                term: self.ballot.term,
                leader: self.me.clone(),
                prev_index,
                prev_term: self.log.term_at(prev_index).unwrap_or(0),
                commit: self.commit,
                entries: self.log.batch_from(progress.next),
            };
            let question = Question::Append { round: leading.round, append };
            self.outputs.push(Output::Ask { peer: peer.clone(), question });
        }
    }

    /// Commits what a majority has saved, if it ends with an entry of this term.
    pub(super) fn advance_commit(&mut self) {
        let Role::Leader(leading) = &self.role else { return };
        let mut saved: Vec<u64> = leading.peers.values().map(|progress| progress.matched).collect();
        saved.push(self.log.saved_index());
        let index = reached_by_majority(saved);
        // An entry of an earlier term that a majority has can still be replaced (the paper's figure 8).
        if self.log.term_at(index) == Some(self.ballot.term) {
            self.commit_to(index);
        }
    }

    fn commit_to(&mut self, target: u64) {
        while self.commit < target {
            let Some(entry) = self.log.get(self.commit + 1) else { return };
            self.commit += 1;
            if let Some(put) = &entry.put {
                self.store.apply(put);
            }
            if let Role::Leader(leading) = &mut self.role
                && let Some(reply) = leading.writes.remove(&self.commit)
            {
                self.answer(reply, Response::Written);
            }
        }
    }

    /// Answers the reads that are proven to be the newest.
    pub(super) fn answer_reads(&mut self) {
        let Role::Leader(leading) = &mut self.role else { return };
        let mut rounds: Vec<u64> = leading.peers.values().map(|progress| progress.round_answered).collect();
        rounds.push(leading.round);
        let proven = reached_by_majority(rounds);
        let is_ready = |read: &Read| read.round <= proven && read.index <= self.commit;
        let (ready, waiting) = mem::take(&mut leading.reads).into_iter().partition(is_ready);
        leading.reads = waiting;
        for Read { key, reply, .. } in ready {
            let value = self.store.get(&key).cloned();
            self.answer(reply, Response::Value(value));
        }
    }
}
