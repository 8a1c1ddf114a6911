//! A member's way in and out: what clients and other members ask comes over HTTP, and so do its own questions.
//!
//! | request | answers |
//! |---|---|
//! | `PUT /kv/KEY`, the value as body, `idempotency-key: CLIENT-COUNT` if wanted | 204 |
//! | `GET /kv/KEY` | 200 and the newest value, or 404 |
//! | `GET /kv` | 200 and all that this member has applied, as JSON |
//! | `GET /status` | 200 and [`Status`](crate::Status) as JSON |
//! | `POST /raft/vote`, `POST /raft/append` | for members: 200 and JSON |
//!
//! Of the first two also 307 to the leader and 503 when none is known, which say that nothing was done; and 504, which
//! leaves it open.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Json, Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response as Answered};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use reqwest::Url;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::Config;
use crate::member::{Member, REQUESTS_MAX, random, say};
use crate::message::{Append, KEY_BYTES_MAX, Put, VALUE_BYTES_MAX, Vote};
use crate::raft::{Answer, ELECTION_MIN, Question, Raft, Reply, Request, Response};
use crate::storage::Storage;

/// Bytes of a request at most: entries of one append, escaped by JSON.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long another member may take to answer: less than it takes to be given up as leader.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);
const _: () = assert!(ANSWER_WITHIN.as_millis() < ELECTION_MIN.as_millis());
/// The header that names a write, so that another attempt at it is recognised.
pub(crate) const ATTEMPT: &str = "idempotency-key";

/// What the handlers know.
#[derive(Clone)]
struct Door {
    requests: mpsc::Sender<(Request, Reply)>,
    peers: Arc<BTreeMap<String, Url>>,
}

/// Runs one member, until SIGTERM.
///
/// # Errors
/// When it cannot listen or handle the signal, or its files cannot be read or written.
pub async fn serve(config: Config) -> io::Result<()> {
    let Config { name, listen, peers, data_dir, flaw } = config;
    if !peers.contains_key(&name) {
        return Err(io::Error::other(format!("`{name}` is not among its members")));
    }
    let (storage, saved) = Storage::open(&data_dir).await?;
    say(&format!("restored {} entries of term {}", saved.entries.len(), saved.ballot.term));
    let listener = TcpListener::bind(&listen).await?;
    say(&format!("listening on {}", listener.local_addr()?));
    let others = peers.keys().filter(|peer| **peer != name).cloned().collect();
    let raft = Raft::new(name, others, saved, Instant::now(), random);
    let http = client().map_err(io::Error::other)?;
    // What it acknowledged is saved: it may go at any moment.
    let mut asked = signal(SignalKind::terminate())?;
    let (sender, requests) = mpsc::channel(REQUESTS_MAX);
    let door = Door { requests: sender, peers: peers.clone().into() };
    let member = Member { raft, storage, peers, http, flaw, questions: JoinSet::new() };
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true); // slower without it, no more
    });
    tokio::select! {
        ended = member.run(requests) => ended,
        ended = axum::serve(listener, routes(door)) => ended,
        _asked = asked.recv() => {
            say("stopped");
            Ok(())
        }
    }
}

fn routes(door: Door) -> Router {
    Router::new()
        .route("/kv", get(list))
        .route("/kv/{key}", get(read).put(write))
        .route("/status", get(status))
        .route("/raft/vote", post(vote))
        .route("/raft/append", post(append))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(door)
}

impl Door {
    /// Has the member answer; `None` when it ended meanwhile.
    async fn ask(&self, request: Request) -> Option<Response> {
        let (reply, response) = oneshot::channel();
        self.requests.send((request, reply)).await.ok()?;
        response.await.ok()
    }

    async fn answer(&self, uri: &Uri, request: Request) -> Answered {
        match self.ask(request).await {
            Some(Response::Voted(voted)) => Json(voted).into_response(),
            Some(Response::Appended(appended)) => Json(appended).into_response(),
            Some(Response::All(all)) => Json(all).into_response(),
            Some(Response::Status(status)) => Json(status).into_response(),
            Some(Response::Written) => StatusCode::NO_CONTENT.into_response(),
            Some(Response::Value(Some(value))) => value.into_response(),
            Some(Response::Value(None)) => (StatusCode::NOT_FOUND, "no such key\n").into_response(),
            Some(Response::NotLeader(leader)) => self.refer(uri, leader.as_deref()),
            Some(Response::Lost) => {
                (StatusCode::GATEWAY_TIMEOUT, "the leader was lost meanwhile\n").into_response()
            }
            None => (StatusCode::GATEWAY_TIMEOUT, "the member has ended\n").into_response(),
        }
    }

    fn refer(&self, uri: &Uri, leader: Option<&str>) -> Answered {
        let there = leader.and_then(|leader| self.peers.get(leader)?.join(uri.path()).ok());
        match there {
            Some(url) => {
                let headers = [(header::LOCATION, url.to_string())];
                (StatusCode::TEMPORARY_REDIRECT, headers, "it follows another\n").into_response()
            }
            None => (StatusCode::SERVICE_UNAVAILABLE, "it knows no leader\n").into_response(),
        }
    }
}

async fn write(
    State(door): State<Door>,
    uri: Uri,
    Path(key): Path<String>,
    headers: HeaderMap,
    value: String,
) -> Answered {
    if key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the key or the value is too long\n").into_response();
    }
    let (client, sequence) = match headers.get(ATTEMPT).map(|attempt| attempt.to_str().ok().and_then(parse)) {
        None => (random(), 1),
        Some(Some(attempt)) => attempt,
        Some(None) => {
            return (StatusCode::BAD_REQUEST, "the attempt is not CLIENT-COUNT\n").into_response();
        }
    };
    door.answer(&uri, Request::Put(Put { client, sequence, key, value })).await
}

/// Reads `CLIENT-COUNT`, where writes are counted from 1.
fn parse(attempt: &str) -> Option<(u64, u64)> {
    let (client, count) = attempt.split_once('-')?;
    let count = count.parse().ok().filter(|&count| count > 0)?;
    Some((client.parse().ok()?, count))
}

async fn read(State(door): State<Door>, uri: Uri, Path(key): Path<String>) -> Answered {
    door.answer(&uri, Request::Get(key)).await
}

async fn list(State(door): State<Door>, uri: Uri) -> Answered {
    door.answer(&uri, Request::List).await
}

async fn status(State(door): State<Door>, uri: Uri) -> Answered {
    door.answer(&uri, Request::Status).await
}

async fn vote(State(door): State<Door>, uri: Uri, Json(vote): Json<Vote>) -> Answered {
    door.answer(&uri, Request::Vote(vote)).await
}

async fn append(State(door): State<Door>, uri: Uri, Json(append): Json<Append>) -> Answered {
    door.answer(&uri, Request::Append(append)).await
}

/// What asks others: directly, whatever the environment says, and itself looking at redirections.
pub(crate) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()
}

/// Asks the member at `url`.
pub(crate) async fn ask(http: &reqwest::Client, url: &Url, question: Question) -> Answer {
    match question {
        Question::Vote(vote) => {
            Answer::Vote { term: vote.term, voted: exchange(http, url, "/raft/vote", &vote).await }
        }
        Question::Append { round, append } => {
            let appended = exchange(http, url, "/raft/append", &append).await;
            Answer::Append { term: append.term, round, appended }
        }
    }
}

/// What came back in time, if anything did.
async fn exchange<T: DeserializeOwned>(
    http: &reqwest::Client,
    url: &Url,
    path: &str,
    question: &impl Serialize,
) -> Option<T> {
    let url = url.join(path).ok()?;
    let response = http.post(url).json(question).timeout(ANSWER_WITHIN).send().await.ok()?;
    response.error_for_status().ok()?.json().await.ok()
}
