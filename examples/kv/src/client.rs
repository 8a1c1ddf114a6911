//! A client: asks members one after another until one has done it, or the time is up.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode, Url, header};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use crate::config::parse_peers;
use crate::http::{self, ATTEMPT};
use crate::member::random;
use crate::message::{KEY_BYTES_MAX, Status, VALUE_BYTES_MAX};

/// Between two tries, so that an election is not disturbed by questions who leads.
const PAUSE: Duration = Duration::from_millis(30);

/// Asks the members of a cluster, in the order in which it was told of them and whom they refer it to.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    servers: Vec<Url>,
    timeout: Duration,
    /// Who writes.
    id: u64,
    /// How many writes there were.
    count: u64,
}

/// Why something was not done, as far as the client knows.
#[derive(Debug, Error)]
pub enum Failure {
    /// It was not done, and will not be.
    #[error("not done: {0}")]
    NotDone(String),
    /// It may be done, now or later, or not.
    #[error("unknown whether done: {0}")]
    Unknown(String),
}

/// How asking one member failed.
struct Miss {
    why: String,
    /// Whether the member may have acted on it all the same.
    maybe_done: bool,
    /// Whom to ask instead.
    leader: Option<Url>,
}

impl Client {
    /// A client of `servers`, written as for [`parse_peers`], who gives up after `timeout`.
    ///
    /// # Errors
    /// When `servers` cannot be read.
    pub fn new(servers: &str, timeout: Duration) -> Result<Self, Failure> {
        let not_done = |error: &dyn ToString| Failure::NotDone(error.to_string());
        let servers = servers.split(',').map(parse_peers).collect::<Result<Vec<_>, _>>();
        let servers = servers.map_err(|error| not_done(&error))?;
        let http = http::client().map_err(|error| not_done(&error))?;
        let servers = servers.into_iter().flat_map(BTreeMap::into_values).collect();
        Ok(Self { http, servers, timeout, id: random(), count: 0 })
    }

    /// Writes a value. However many tries it takes, it is applied once at most, and before the client's next one.
    ///
    /// # Errors
    /// When it is not known to be done in time.
    pub async fn put(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(Failure::NotDone(format!("values have up to {VALUE_BYTES_MAX} bytes")));
        }
        self.count += 1;
        self.ask_until(&Method::PUT, key, Some(value)).await.map(|_| ())
    }

    /// The newest value of a key: what was acknowledged before this was called, or later.
    ///
    /// # Errors
    /// When no leader answered in time.
    pub async fn get(&self, key: &str) -> Result<Option<String>, Failure> {
        let response = self.ask_until(&Method::GET, key, None).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        response.text().await.map(Some).map_err(|error| Failure::NotDone(reason(&error)))
    }

    /// All keys and values that the first server has applied, which may be old.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub async fn list(&self) -> Result<BTreeMap<String, String>, Failure> {
        let server = self.servers.first().ok_or_else(|| Failure::NotDone("no servers".into()))?;
        self.json(server, "/kv")
            .await
            .map_err(|error| Failure::NotDone(format!("{server}: {}", reason(&error))))
    }

    /// How each server sees things; `None` of one that does not answer in time.
    pub async fn status(&self) -> Vec<(Url, Option<Status>)> {
        let mut all = Vec::new();
        for server in &self.servers {
            all.push((server.clone(), self.json(server, "/status").await.ok()));
        }
        all
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, server: &Url, path: &str) -> reqwest::Result<T> {
        let mut url = server.clone();
        url.set_path(path);
        self.http.get(url).timeout(self.timeout).send().await?.error_for_status()?.json().await
    }

    /// Asks the servers in turn, and whom they name as the leader, until one has done it.
    async fn ask_until(&self, method: &Method, key: &str, value: Option<&str>) -> Result<Response, Failure> {
        // The last are no names in the path of a URL.
        if key.len() > KEY_BYTES_MAX || ["", ".", ".."].contains(&key) {
            return Err(Failure::NotDone(format!("`{key}` is no key of up to {KEY_BYTES_MAX} bytes")));
        }
        let deadline = Instant::now() + self.timeout;
        let mut servers = self.servers.iter().cycle();
        let (mut leader, mut maybe_done, mut last) = (None, false, "no time".to_owned());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let was_told = leader.is_some();
            let Some(server) = leader.take().or_else(|| servers.next().cloned()).filter(|_| !left.is_zero())
            else {
                let failure = if maybe_done { Failure::Unknown } else { Failure::NotDone };
                return Err(failure(last));
            };
            // Half of the time, so that one dead server leaves enough for another.
            let within = left.min(self.timeout / 2);
            match self.ask(&server, within, method, key, value).await {
                Ok(response) => return Ok(response),
                Err(miss) => {
                    maybe_done |= miss.maybe_done;
                    last = format!("{server}: {}", miss.why);
                    leader = miss.leader;
                }
            }
            if was_told || leader.is_none() {
                sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now()))).await;
            }
        }
    }

    async fn ask(
        &self,
        server: &Url,
        within: Duration,
        method: &Method,
        key: &str,
        value: Option<&str>,
    ) -> Result<Response, Miss> {
        let mut url = server.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().push("kv").push(key);
        }
        let mut request = self.http.request(method.clone(), url).timeout(within);
        if let Some(value) = value {
            request = request.header(ATTEMPT, format!("{}-{}", self.id, self.count)).body(value.to_owned());
        }
        let response = request.send().await.map_err(|error| Miss {
            why: reason(&error),
            maybe_done: !error.is_connect() && !error.is_builder(),
            leader: None,
        })?;
        let status = response.status();
        if status.is_success() || (status == StatusCode::NOT_FOUND && *method == Method::GET) {
            return Ok(response);
        }
        let leader = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()?.parse().ok());
        let is_refusal = status.is_client_error()
            || [StatusCode::TEMPORARY_REDIRECT, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
        let why = response.text().await.ok().filter(|why| !why.is_empty());
        let why = why.map_or_else(|| status.to_string(), |why| why.trim_end().to_owned());
        Err(Miss { why, maybe_done: !is_refusal, leader })
    }
}

/// The error's innermost cause, which says more than the rest.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
