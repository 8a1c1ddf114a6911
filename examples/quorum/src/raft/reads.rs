//! Reads that are as new as they look: a leader answers only after a majority confirmed that it still leads.

use super::{Answer, Raft, Role, Ticket};

impl Raft {
    pub(super) fn on_read(&mut self, ticket: Ticket) {
        let Role::Leader(lead) = &mut self.role else { return self.refuse(ticket) };
        let is_first = lead.reads.is_empty();
        // A round that is already under way may have been answered before this read came in.
        lead.reads.push((lead.round + 1, ticket));
        if is_first {
            self.send_round();
        }
        self.answer_reads();
    }

    /// Answers the reads whose round a majority has answered, and begins a round for those that still need
    /// one.
    pub(super) fn answer_reads(&mut self) {
        let Role::Leader(lead) = &mut self.role else { return };
        if lead.reads.is_empty() || self.log.term_at(self.commit) != Some(self.term) {
            return; // a new leader does not know what is committed before its own first entry is
        }
        let mut rounds: Vec<u64> = lead.peers.values().map(|progress| progress.round).collect();
        rounds.push(lead.round);
        let confirmed = self.reached_by_quorum(rounds);
        let Role::Leader(lead) = &mut self.role else { return };
        let (done, waiting) =
            std::mem::take(&mut lead.reads).into_iter().partition(|(round, _)| *round <= confirmed);
        lead.reads = waiting;
        let needs_round = lead.reads.iter().any(|(round, _)| *round > lead.round) && confirmed == lead.round;
        let done: Vec<(u64, Ticket)> = done;
        for (_, ticket) in done {
            self.answer(ticket, Answer::Readable);
        }
        if needs_round {
            self.send_round();
        }
    }

    /// Whether a majority, this leader included, was heard within the longest election timeout.
    pub(super) fn hears_quorum(&self) -> bool {
        let Role::Leader(lead) = &self.role else { return false };
        let patience = self.config.timing.election_max;
        let heard = lead.peers.values().filter(|peer| self.now.saturating_sub(peer.heard_at) < patience);
        heard.count() + 1 >= self.quorum()
    }
}
