//! What one member does with what it is told.

use super::*;

/// A member of three and the time, which passes by hand.
struct Bench {
    raft: Raft,
    now: Instant,
}

impl Bench {
    fn new(saved: Saved) -> Self {
        let now = Instant::now();
        let others = vec!["b".to_owned(), "c".to_owned()];
        Self { raft: Raft::new("a".into(), others, saved, now, || 0), now }
    }

    /// A leader whose first entry is saved here and nowhere else.
    fn leader() -> Self {
        let mut bench = Self::new(Saved::default());
        bench.now += ELECTION_MIN;
        bench.raft.tick(bench.now);
        let asked = bench.raft.saved();
        assert_eq!(asked.iter().filter(|output| matches!(output, Output::Ask { .. })).count(), 2);
        bench.votes("b", Voted { term: 1, granted: true });
        assert_eq!(bench.raft.status().role, "leader");
        bench.raft.saved();
        bench
    }

    fn votes(&mut self, peer: &str, voted: Voted) {
        let answer = Answer::Vote { term: self.raft.ballot().term, voted: Some(voted) };
        self.raft.answered(self.now, peer, answer);
    }

    /// `peer` has all before `next`, and says so to a question of `round`.
    fn has(&mut self, peer: &str, round: u64, next: u64) {
        let term = self.raft.ballot().term;
        let appended = Some(Appended { term, accepted: true, next });
        self.raft.answered(self.now, peer, Answer::Append { term, round, appended });
    }

    fn request(&mut self, request: Request) -> oneshot::Receiver<Response> {
        let (reply, response) = oneshot::channel();
        self.raft.request(self.now, request, reply);
        response
    }

    /// Saves, and lets out what is to be let out.
    fn save(&mut self) {
        for output in self.raft.saved() {
            if let Output::Answer(reply, response) = output {
                let _ = reply.send(response);
            }
        }
    }

    fn appends(&mut self, term: u64, prev: (u64, u64), commit: u64, terms: &[u64]) -> Appended {
        let entries = terms.iter().map(|&term| entry(term)).collect();
        let (prev_index, prev_term) = prev;
        let append = Append { term, leader: "b".into(), prev_index, prev_term, commit, entries };
        self.raft.append(self.now, append)
    }
}

fn entry(term: u64) -> Entry {
    Entry { term, put: None }
}

fn put() -> Request {
    Request::Put(Put { client: 1, sequence: 1, key: "x".into(), value: "1".into() })
}

fn saved(term: u64, terms: &[u64]) -> Saved {
    Saved { ballot: Ballot { term, vote: None }, entries: terms.iter().map(|&term| entry(term)).collect() }
}

#[test]
fn a_write_is_acknowledged_when_a_majority_has_saved_it() {
    let mut leader = Bench::leader();
    let mut written = leader.request(put());
    // A follower that has it makes no majority with a leader that is still writing it.
    leader.has("b", 0, 3);
    leader.raft.advance_commit();
    assert_eq!(leader.raft.commit, 1);
    leader.save();
    assert!(matches!(written.try_recv(), Ok(Response::Written)));

    let mut alone = Bench::leader();
    let mut written = alone.request(put());
    alone.save();
    assert!(written.try_recv().is_err());
}

#[test]
fn a_read_waits_for_a_majority_that_was_asked_after_it() {
    let mut leader = Bench::leader();
    leader.has("b", 0, 2);
    leader.save();
    let mut value = leader.request(Request::Get("x".into()));
    leader.has("c", 0, 2);
    leader.save();
    assert!(value.try_recv().is_err(), "that was asked before the read came");
    leader.has("b", 1, 2);
    leader.save();
    assert!(matches!(value.try_recv(), Ok(Response::Value(None))));
}

#[test]
fn a_leader_that_hears_no_majority_steps_down() {
    let mut leader = Bench::leader();
    let mut written = leader.request(put());
    leader.now += ELECTION_MAX;
    leader.raft.tick(leader.now);
    leader.save();
    assert_eq!(leader.raft.status().role, "follower");
    assert!(matches!(written.try_recv(), Ok(Response::Lost)));
    let mut refused = leader.request(put());
    leader.save();
    assert!(matches!(refused.try_recv(), Ok(Response::NotLeader(None))));
}

#[test]
fn one_vote_a_term_for_a_log_as_new_as_ones_own() {
    let mut bench = Bench::new(saved(2, &[1, 2]));
    let vote = |term, candidate: &str, last_index, last_term| Vote {
        term,
        candidate: candidate.into(),
        last_index,
        last_term,
    };
    let mut granted = |vote| bench.raft.vote(bench.now, vote).granted;
    assert!(!granted(vote(1, "b", 9, 9)), "of an old term");
    assert!(!granted(vote(3, "b", 3, 1)), "longer, but older");
    assert!(!granted(vote(3, "b", 1, 2)), "shorter");
    assert!(granted(vote(3, "b", 2, 2)));
    assert!(granted(vote(3, "b", 2, 2)), "asked again");
    assert!(!granted(vote(3, "c", 2, 2)), "it has voted");
    assert!(granted(vote(4, "c", 2, 2)));
}

#[test]
fn entries_of_earlier_terms_are_not_committed_by_themselves() {
    let mut bench = Bench::new(saved(2, &[1, 2]));
    bench.now += ELECTION_MIN;
    bench.raft.tick(bench.now);
    bench.votes("c", Voted { term: 3, granted: true });
    bench.save();
    bench.has("b", 0, 3);
    bench.save();
    assert_eq!(bench.raft.commit, 0);
    bench.has("b", 0, 4);
    bench.save();
    assert_eq!(bench.raft.commit, 3);
}

#[test]
fn a_follower_replaces_what_its_leader_has_not() {
    let mut bench = Bench::new(saved(2, &[1, 2, 2]));
    let gap = bench.appends(3, (7, 3), 0, &[3]);
    assert_eq!((gap.accepted, gap.next), (false, 4));
    let other = bench.appends(3, (3, 3), 0, &[3]);
    assert_eq!((other.accepted, other.next), (false, 2));
    let fits = bench.appends(3, (1, 1), 2, &[3]);
    assert_eq!((fits.accepted, fits.next), (true, 3));
    assert_eq!(bench.raft.unsaved(), (1, &[entry(3)][..]));
    assert_eq!((bench.raft.commit, bench.raft.log.last_index()), (2, 2));
    // A message that comes late takes nothing away.
    let late = bench.appends(3, (0, 0), 0, &[1]);
    assert_eq!((late.accepted, late.next, bench.raft.log.last_index()), (true, 2, 2));
    let stale = bench.appends(2, (2, 3), 0, &[2]);
    assert_eq!((stale.accepted, stale.term), (false, 3));
}
