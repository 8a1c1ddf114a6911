//! The log from leader to followers, and what is committed.

use super::message::Batch;
use super::{Action, Answer, Entry, Message, Outcome, Raft, Record, Report, Role, Ticket};
use crate::kv::{Command, Put};
use crate::members::Member;

impl Raft {
    pub(super) fn on_write(&mut self, ticket: Ticket, put: Put) {
        let Role::Leader(_) = &self.role else { return self.refuse(ticket) };
        let index = self.append_own(Command::Put(put));
        if self.config.ack_early {
            self.acknowledge_early(ticket);
        } else if let Role::Leader(lead) = &mut self.role {
            lead.writes.insert(index, ticket);
        }
        for peer in self.peers() {
            self.send_entries(peer);
        }
        self.advance_commit();
    }

    /// DELIBERATELY BROKEN, behind `--ack-early`: answers a write that is on no disk but this leader's. When
    /// the leader is lost before a majority has the entry, an acknowledged write is lost with it. Tests must
    /// notice.
    fn acknowledge_early(&mut self, ticket: Ticket) {
        self.answer(ticket, Answer::Written);
    }

    /// Answers that somebody else must be asked.
    pub(super) fn refuse(&mut self, ticket: Ticket) {
        let leader = match &self.role {
            Role::Follower { leader } => *leader,
            Role::Candidate { .. } | Role::Leader(_) => None,
        };
        self.answer(ticket, Answer::NotLeader(leader));
    }

    /// Adds an entry of this leader's term to its own log; returns the index.
    pub(super) fn append_own(&mut self, command: Command) -> u64 {
        let index = self.log.last_index() + 1;
        self.put_entry(index, Entry { term: self.term, command });
        index
    }

    fn put_entry(&mut self, index: u64, entry: Entry) {
        assert!(index > self.commit, "entry {index} is committed and cannot be replaced");
        self.output.save.push(Record::Entry { index, entry: entry.clone() });
        self.log.put(index, entry);
    }

    /// Shows itself to all peers, with the entries that each of them lacks.
    pub(super) fn send_round(&mut self) {
        let Role::Leader(lead) = &mut self.role else { return };
        lead.round += 1;
        lead.heartbeat_at = self.now + self.config.timing.heartbeat;
        for peer in self.peers() {
            self.send_append(peer);
        }
    }

    /// Sends `to` what it lacks, if anything, unless its place is still being looked for.
    fn send_entries(&mut self, to: Member) {
        let Role::Leader(lead) = &self.role else { return };
        let Some(progress) = lead.peers.get(&to) else { return };
        if !progress.probing && progress.next <= self.log.last_index() {
            self.send_append(to);
        }
    }

    fn send_append(&mut self, to: Member) {
        let Role::Leader(lead) = &mut self.role else { return };
        let Some(progress) = lead.peers.get_mut(&to) else { return };
        let prev_index = progress.next - 1;
        let prev_term = self.log.term_at(prev_index).unwrap_or(0);
        let entries = if progress.probing { Vec::new() } else { self.log.batch_from(progress.next) };
        // Taken as received; if it was not, the next heartbeat leaves a gap and is rejected.
        progress.next += entries.len() as u64;
        let (term, round, commit) = (self.term, lead.round, self.commit);
        self.send(to, Message::Append { term, round, prev_index, prev_term, commit, entries });
    }

    /// A follower's side of the replication, in the leader's term.
    pub(super) fn on_append(&mut self, leader: Member, round: u64, batch: Batch) {
        if let Role::Leader(_) = &self.role {
            return; // a term has one leader; whoever says otherwise is no member
        }
        self.follow(leader);
        let outcome = match self.log.term_at(batch.prev_index) {
            Some(term) if term == batch.prev_term => self.accept(leader, batch),
            Some(_) => {
                self.behind = true;
                // Skip all of the term in question at once, but nothing that is committed.
                let next = self.log.first_of_term(batch.prev_index).max(self.commit + 1);
                Outcome::Rejected { next }
            }
            None => {
                self.behind = true;
                Outcome::Rejected { next: self.log.last_index() + 1 }
            }
        };
        self.send(leader, Message::AppendReply { term: self.term, round, outcome });
    }

    fn follow(&mut self, leader: Member) {
        self.restart_election_timer();
        if !matches!(self.role, Role::Follower { leader: Some(known) } if known == leader) {
            self.role = Role::Follower { leader: Some(leader) };
            self.report(Report::Follower { leader, term: self.term });
        }
    }

    fn accept(&mut self, leader: Member, batch: Batch) -> Outcome {
        let mut matched = batch.prev_index;
        for entry in batch.entries {
            let known = self.log.term_at(matched + 1);
            if known != Some(entry.term) {
                if matched < self.commit {
                    // What is committed is never replaced, whatever the network says.
                    return Outcome::Rejected { next: self.commit + 1 };
                }
                self.put_entry(matched + 1, entry);
            }
            matched += 1;
        }
        self.commit_to(batch.commit.min(matched));
        // The leader's commit index says nothing until it covers an entry of the leader's own term.
        let is_telling = self.log.term_at(self.commit) == Some(self.term);
        if self.behind && is_telling && self.commit >= batch.commit {
            self.behind = false;
            self.report(Report::CaughtUp { leader, index: self.commit });
        }
        Outcome::Accepted { matched }
    }

    /// The leader's side of an answer.
    pub(super) fn on_append_reply(&mut self, from: Member, round: u64, outcome: Outcome) {
        let last_index = self.log.last_index();
        let Role::Leader(lead) = &mut self.role else { return };
        let Some(progress) = lead.peers.get_mut(&from) else { return };
        if round > lead.round {
            return; // no answer to anything this leader said
        }
        progress.heard_at = self.now;
        progress.round = progress.round.max(round);
        match outcome {
            Outcome::Accepted { matched } if matched > last_index => return,
            Outcome::Accepted { matched } => {
                progress.matched = progress.matched.max(matched);
                progress.next = progress.next.max(matched + 1);
                progress.probing = false;
                self.advance_commit();
                self.send_entries(from);
            }
            // While probing, only an answer to the last probe leads further back; the others are late.
            Outcome::Rejected { next } if progress.probing && next >= progress.next => {}
            Outcome::Rejected { next } => {
                progress.next = next.clamp(1, progress.next);
                progress.probing = true;
                self.send_append(from);
            }
        }
        self.answer_reads();
    }

    /// Commits what a majority has, if it ends with an entry of this term.
    pub(super) fn advance_commit(&mut self) {
        let Role::Leader(lead) = &self.role else { return };
        let mut matched: Vec<u64> = lead.peers.values().map(|progress| progress.matched).collect();
        matched.push(self.log.last_index());
        let index = self.reached_by_quorum(matched);
        // An entry of an earlier term on a majority can still be replaced (the paper's figure 8).
        if self.log.term_at(index) == Some(self.term) {
            self.commit_to(index);
        }
    }

    /// The largest number that a majority of `numbers`, one a member, reaches.
    pub(super) fn reached_by_quorum(&self, mut numbers: Vec<u64>) -> u64 {
        debug_assert_eq!(numbers.len(), usize::from(self.config.members));
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers[self.quorum() - 1]
    }

    fn commit_to(&mut self, target: u64) {
        while self.commit < target {
            let index = self.commit + 1;
            let Some(entry) = self.log.get(index) else { return };
            let command = entry.command.clone();
            self.commit = index;
            self.output.act.push(Action::Apply { index, command });
            if let Role::Leader(lead) = &mut self.role
                && let Some(ticket) = lead.writes.remove(&index)
            {
                self.answer(ticket, Answer::Written);
            }
        }
    }
}
