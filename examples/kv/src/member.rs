//! One member at work: takes what comes in, saves what must be saved, and only then lets anything out.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::iter;
use std::time::Duration;

use reqwest::Url;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::config::Flaw;
use crate::http;
use crate::raft::{Answer, Output, Raft, Reply, Request};
use crate::storage::Storage;

/// Requests that wait at most: of some hundred clients, each with one.
pub(crate) const REQUESTS_MAX: usize = 256;
/// With [`Flaw::UnsafeAck`], how long entries wait for the disk.
const SYNCED_AFTER: Duration = Duration::from_millis(50);

/// One member and what it needs.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) raft: Raft,
    pub(crate) storage: Storage,
    pub(crate) peers: BTreeMap<String, Url>,
    pub(crate) http: reqwest::Client,
    pub(crate) flaw: Option<Flaw>,
    /// The questions that other members are being asked.
    pub(crate) questions: JoinSet<(String, Answer)>,
}

impl Member {
    /// Works until nobody can ask any more.
    ///
    /// # Errors
    /// When something could not be saved. The member must end then: what is on the disk is unknown.
    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<(Request, Reply)>) -> io::Result<()> {
        let mut saved_ballot = self.raft.ballot().clone();
        let mut sync_at = None;
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        loop {
            let deadline = self.raft.deadline();
            let wake_at = sync_at.map_or(deadline, |at| deadline.min(at));
            tokio::select! {
                // A leader that was heard while the disk was busy comes before the time that has passed.
                biased;
                count = requests.recv_many(&mut asked, REQUESTS_MAX) => {
                    if count == 0 {
                        return Ok(());
                    }
                }
                Some(answer) = self.questions.join_next() => answered.push(answer),
                () = sleep_until(wake_at) => {}
            }
            answered.extend(iter::from_fn(|| self.questions.try_join_next()));
            let now = Instant::now();
            for (request, reply) in asked.drain(..) {
                self.raft.request(now, request, reply);
            }
            for answer in answered.drain(..) {
                let (peer, answer) = answer.map_err(io::Error::other)?;
                self.raft.answered(now, &peer, answer);
            }
            self.raft.tick(now);
            if *self.raft.ballot() != saved_ballot {
                saved_ballot = self.raft.ballot().clone();
                self.storage.save_ballot(&saved_ballot).await?;
            }
            let (kept, entries) = self.raft.unsaved();
            self.storage.write(kept, entries).await?;
            sync_at = match self.flaw {
                None => None,
                Some(Flaw::UnsafeAck) if !self.storage.is_dirty() => None,
                Some(Flaw::UnsafeAck) => {
                    Some(sync_at.unwrap_or_else(|| now + SYNCED_AFTER)).filter(|at| now < *at)
                }
            };
            if sync_at.is_none() {
                self.storage.sync().await?;
            }
            self.let_out();
        }
    }

    fn let_out(&mut self) {
        for output in self.raft.saved() {
            match output {
                Output::Answer(reply, response) => {
                    let _ = reply.send(response); // whoever asked may have gone
                }
                Output::Ask { peer, question } => {
                    let (http, url) = (self.http.clone(), self.peers[&peer].clone());
                    self.questions.spawn(async move { (peer, http::ask(&http, &url, question).await) });
                }
                Output::Say(line) => say(&line),
            }
        }
    }
}

/// Writes a line for whoever watches, if anybody does.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A number that nobody chose, from the randomness that the standard library asks the system for.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}
