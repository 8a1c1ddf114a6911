//! Tests of the pure member: single steps by hand, then whole worlds of `sim` by the seed.

use std::thread;
use std::time::Duration;

use super::sim::{Plan, Verdict, run};
use super::*;

const TIMING: Timing = Timing {
    election_min: Duration::from_millis(300),
    election_max: Duration::from_millis(600),
    heartbeat: Duration::from_millis(75),
};
const ME: Member = Member(0);
const B: Member = Member(1);
const C: Member = Member(2);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn member(members: u8, saved: Saved) -> Raft {
    let config = Config { me: ME, members, timing: TIMING, ack_early: false, seed: 1 };
    Raft::new(config, saved, Duration::ZERO)
}

fn nothing(term: u64) -> Entry {
    Entry { term, command: Command::Nothing }
}

fn put() -> Put {
    Put { client: 1, sequence: 1, key: "x".into(), value: "1".into() }
}

fn saved(term: u64, terms: &[u64]) -> Saved {
    Saved { term, vote: None, entries: terms.iter().copied().map(nothing).collect() }
}

fn receive(raft: &mut Raft, now: Duration, from: Member, message: Message) -> Output {
    raft.step(now, Input::Message { from, message })
}

fn answers(output: &Output) -> Vec<(Ticket, Answer)> {
    let answer = |action: &Action| match *action {
        Action::Answer { ticket, answer } => Some((ticket, answer)),
        _ => None,
    };
    output.act.iter().filter_map(answer).collect()
}

fn reports(output: &Output) -> Vec<Report> {
    let report = |action: &Action| match *action {
        Action::Report(report) => Some(report),
        _ => None,
    };
    output.act.iter().filter_map(report).collect()
}

fn accepted(term: u64, round: u64, matched: u64) -> Message {
    Message::AppendReply { term, round, outcome: Outcome::Accepted { matched } }
}

/// Of three members, the leader of the term after `saved`, at the time 1 s.
fn leader(saved: Saved) -> Raft {
    let mut raft = member(3, saved);
    raft.step(ms(1000), Input::Tick);
    let term = raft.term();
    let output = receive(&mut raft, ms(1000), B, Message::VoteReply { term, granted: true });
    assert_eq!(reports(&output), [Report::Leader { term }]);
    raft
}

#[test]
fn a_single_member_is_its_own_majority() {
    let mut raft = member(1, Saved::default());
    assert!(raft.step(ms(299), Input::Tick).act.is_empty());
    let output = raft.step(ms(600), Input::Tick);
    assert_eq!(reports(&output), [Report::Candidate { term: 1 }, Report::Leader { term: 1 }]);
    let output = raft.step(ms(600), Input::Write { ticket: 1, put: put() });
    assert_eq!(answers(&output), [(1, Answer::Written)]);
    assert_eq!(output.save.len(), 1);
    let output = raft.step(ms(600), Input::Read { ticket: 2 });
    assert_eq!(answers(&output), [(2, Answer::Readable)]);
}

#[test]
fn the_vote_is_saved_and_given_once() {
    let mut raft = member(3, Saved::default());
    let vote = Message::Vote { term: 1, last_index: 0, last_term: 0 };
    let output = receive(&mut raft, ms(1), B, vote.clone());
    assert_eq!(output.save, [Record::Ballot { term: 1, vote: Some(B) }]);
    for (from, granted) in [(C, false), (B, true)] {
        let output = receive(&mut raft, ms(2), from, vote.clone());
        let [Action::Send { message: Message::VoteReply { granted: seen, .. }, .. }] = output.act[..] else {
            panic!("{output:?}")
        };
        assert_eq!(seen, granted);
    }
}

#[test]
fn a_shorter_log_gets_no_vote() {
    for (last_index, last_term, granted) in [(3, 1, false), (1, 2, false), (2, 2, true), (1, 3, true)] {
        let mut raft = member(3, saved(3, &[1, 2]));
        let output = receive(&mut raft, ms(1), B, Message::Vote { term: 4, last_index, last_term });
        let [Action::Send { message: Message::VoteReply { granted: seen, .. }, .. }] = output.act[..] else {
            panic!("{output:?}")
        };
        assert_eq!(seen, granted, "a log that ends with {last_index} of term {last_term}");
    }
}

#[test]
fn an_entry_of_an_earlier_term_is_not_committed_by_counting() {
    let mut raft = leader(saved(3, &[1, 3]));
    receive(&mut raft, ms(1001), B, accepted(4, 1, 2));
    assert_eq!(raft.commit, 0, "two of three have entry 2, but it is of term 3");
    receive(&mut raft, ms(1002), B, accepted(4, 1, 3));
    assert_eq!(raft.commit, 3);
}

#[test]
fn a_write_is_answered_once_a_majority_has_it() {
    let mut raft = leader(Saved::default());
    let output = raft.step(ms(1001), Input::Write { ticket: 7, put: put() });
    assert_eq!(answers(&output), []);
    let output = receive(&mut raft, ms(1002), C, accepted(1, 1, 2));
    assert_eq!(answers(&output), [(7, Answer::Written)]);
}

#[test]
fn acknowledging_early_does_not_wait() {
    let mut raft = leader(Saved::default());
    raft.config.ack_early = true;
    let output = raft.step(ms(1001), Input::Write { ticket: 7, put: put() });
    assert_eq!(answers(&output), [(7, Answer::Written)]);
    assert_eq!(answers(&receive(&mut raft, ms(1002), C, accepted(1, 1, 2))), []);
}

#[test]
fn a_read_waits_for_a_round_that_began_after_it() {
    let mut raft = leader(Saved::default());
    receive(&mut raft, ms(1001), B, accepted(1, 1, 1));
    let output = raft.step(ms(1002), Input::Read { ticket: 5 });
    assert_eq!(answers(&output), []);
    let output = receive(&mut raft, ms(1003), C, accepted(1, 1, 1));
    assert_eq!(answers(&output), [], "the first round was sent before the read came");
    let output = receive(&mut raft, ms(1004), C, accepted(1, 2, 1));
    assert_eq!(answers(&output), [(5, Answer::Readable)]);
}

#[test]
fn a_read_waits_for_the_first_commit_of_the_term() {
    let mut raft = leader(saved(3, &[1]));
    raft.step(ms(1002), Input::Read { ticket: 5 });
    let output = receive(&mut raft, ms(1003), B, accepted(4, 2, 1));
    assert_eq!(answers(&output), []);
    let output = receive(&mut raft, ms(1003), B, accepted(4, 2, 2));
    assert_eq!(answers(&output), [(5, Answer::Readable)]);
}

#[test]
fn a_leader_without_a_majority_steps_down() {
    let mut raft = leader(Saved::default());
    raft.step(ms(1001), Input::Write { ticket: 1, put: put() });
    raft.step(ms(1002), Input::Read { ticket: 2 });
    assert!(reports(&raft.step(ms(1500), Input::Tick)).is_empty());
    let output = raft.step(ms(1600), Input::Tick);
    assert_eq!(reports(&output), [Report::SteppedDown { term: 1 }]);
    assert_eq!(answers(&output), [(1, Answer::Lost), (2, Answer::NotLeader(None))]);
    assert_eq!(answers(&raft.step(ms(1601), Input::Read { ticket: 3 })), [(3, Answer::NotLeader(None))]);
}

#[test]
fn a_restarted_follower_says_when_it_has_caught_up() {
    let mut raft = member(3, saved(3, &[1, 3]));
    let append = |prev_index, commit, entries: &[u64]| Message::Append {
        term: 4,
        round: 1,
        prev_index,
        prev_term: if prev_index == 2 { 3 } else { 4 },
        commit,
        entries: entries.iter().copied().map(nothing).collect(),
    };
    let output = receive(&mut raft, ms(1), B, append(2, 0, &[]));
    assert_eq!(reports(&output), [Report::Follower { leader: B, term: 4 }], "commit index 0 tells nothing");
    assert_eq!(reports(&receive(&mut raft, ms(2), B, append(2, 4, &[4]))), []);
    let output = receive(&mut raft, ms(3), B, append(3, 4, &[4]));
    assert_eq!(reports(&output), [Report::CaughtUp { leader: B, index: 4 }]);
    assert_eq!(reports(&receive(&mut raft, ms(4), B, append(4, 5, &[4]))), [], "once is enough");
    assert_eq!(answers(&raft.step(ms(5), Input::Read { ticket: 1 })), [(1, Answer::NotLeader(Some(B)))]);
}

#[test]
fn what_is_committed_is_never_replaced() {
    let mut raft = member(3, saved(1, &[1, 1]));
    let append = |term, prev_index, commit, entries| Message::Append {
        term,
        round: 1,
        prev_index,
        prev_term: u64::from(prev_index > 0),
        commit,
        entries,
    };
    receive(&mut raft, ms(1), B, append(1, 2, 2, vec![]));
    assert_eq!(raft.commit, 2);
    let output = receive(&mut raft, ms(2), C, append(2, 0, 0, vec![nothing(2)]));
    assert_eq!((raft.commit, raft.log.term_at(1)), (2, Some(1)));
    assert_eq!(output.save, [Record::Ballot { term: 2, vote: None }]);
}

#[test]
fn a_late_copy_of_an_earlier_message_takes_nothing_back() {
    let mut raft = member(3, Saved::default());
    let append = |count| {
        let entries = vec![nothing(1); count];
        Message::Append { term: 1, round: 1, prev_index: 0, prev_term: 0, commit: 0, entries }
    };
    receive(&mut raft, ms(1), B, append(3));
    let output = receive(&mut raft, ms(2), B, append(1));
    assert_eq!((raft.last_index(), output.save), (3, vec![]));
}

#[test]
fn words_of_an_earlier_term_count_for_nothing() {
    let mut raft = leader(saved(3, &[1, 3]));
    receive(&mut raft, ms(1001), B, accepted(3, 1, 3));
    assert_eq!(raft.commit, 0);

    let mut raft = member(3, Saved::default());
    raft.step(ms(1000), Input::Tick);
    raft.step(ms(2000), Input::Tick);
    receive(&mut raft, ms(2001), B, Message::VoteReply { term: 1, granted: true });
    assert_eq!((raft.role(), raft.term()), ("candidate", 2));

    let entries = vec![nothing(1)];
    let append = Message::Append { term: 1, round: 1, prev_index: 0, prev_term: 0, commit: 1, entries };
    let output = receive(&mut raft, ms(2002), B, append);
    assert_eq!((raft.role(), raft.last_index(), output.save), ("candidate", 0, vec![]));
    assert!(matches!(
        output.act[..],
        [Action::Send { to: B, message: Message::AppendReply { term: 2, .. } }]
    ));
}

#[test]
fn messages_that_make_no_sense_do_no_harm() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut raft = member(3, saved(2, &[1, 1, 2]));
        for step in 0..200 {
            let mut number =
                || [0, 1, 2, 3, 4, 7, crate::codec::NUMBER_MAX][usize::try_from(rng.below(7)).unwrap()];
            let (term, round, one, other) = (number() % 1000, number(), number(), number());
            let message = match number() {
                0 => Message::Vote { term, last_index: one, last_term: other },
                1 | 2 => Message::VoteReply { term, granted: one > 2 },
                3 => accepted(term, round, one),
                4 => Message::AppendReply { term, round, outcome: Outcome::Rejected { next: one } },
                count => {
                    let entries = (0..count % 5).map(|_| nothing(number())).collect();
                    Message::Append {
                        term,
                        round,
                        prev_index: one,
                        prev_term: other,
                        commit: number(),
                        entries,
                    }
                }
            };
            let from = Member(u8::try_from(rng.below(5)).unwrap());
            receive(&mut raft, ms(step * 50), from, message);
            raft.step(ms(step * 50), Input::Write { ticket: step, put: put() });
            raft.step(ms(step * 50), Input::Tick);
        }
    }
}

/// The world of `plan`, on a thread with the seed's name, so that a panic anywhere in it says which seed it
/// was.
fn world(plan: Plan) -> Verdict {
    let builder = thread::Builder::new().name(format!("seed {} of {} members", plan.seed, plan.members));
    builder.spawn(move || run(plan)).unwrap().join().expect("the panic above names the seed")
}

fn check_worlds(members: u8, seeds: u64) {
    let mut sum = (0, 0, 0);
    for seed in 0..seeds {
        let verdict = world(Plan { seed, members, ack_early: false, chaos: ms(8000) });
        assert_eq!(verdict.lost, 0, "seed {seed}: acknowledged writes are lost");
        assert!(verdict.linearizable, "seed {seed}: the history is not that of a register");
        sum.0 += u64::try_from(verdict.acknowledged).unwrap();
        sum.1 += u64::try_from(verdict.leaders).unwrap();
        sum.2 += u64::try_from(verdict.crashes).unwrap();
    }
    // Else the worlds were too kind, or too cruel, to show anything.
    let (acknowledged, leaders, crashes) = sum;
    assert!(
        acknowledged > 20 * seeds && leaders > 3 * seeds && crashes > seeds,
        "{sum:?} over {seeds} seeds"
    );
}

#[test]
fn three_members_are_safe_and_recover() {
    check_worlds(3, 150);
}

#[test]
fn five_members_are_safe_and_recover() {
    check_worlds(5, 60);
}

#[test]
fn acknowledging_early_loses_writes() {
    let early = |seed| world(Plan { seed, members: 3, ack_early: true, chaos: ms(8000) });
    let found = (0..60).map(early).filter(|verdict| verdict.lost > 0 && !verdict.linearizable).count();
    assert!(found > 0, "the broken variant is not broken");
}
