//! Waits for a line on several hosts at once.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use netsplit_model::Reason;
use tokio::task::JoinSet;

use super::{Line, Wait};
use crate::error::{Error, Result};
use crate::process::BoxFuture;
use crate::recorder::Scope;

/// A wait for a line on several hosts. Awaited, it is a line of each.
#[must_use = "a wait does nothing until it is awaited"]
#[derive(Clone, Debug)]
pub struct AtLeast {
    pub(super) wait: Wait,
    pub(super) hosts: usize,
}

impl AtLeast {
    /// How long to wait; `deadlines.wait` unless said.
    pub fn within(self, time: Duration) -> Self {
        Self { wait: self.wait.within(time), ..self }
    }

    async fn lines(self) -> Result<Vec<Line>> {
        let Self { wait, hosts: wanted } = self;
        let hosts = wait.hosts();
        let mut missing = hosts.len().checked_sub(wanted).ok_or_else(|| {
            let text = format!("a line on {wanted} hosts, of {} that are meant", hosts.len());
            Error::new(Reason::BadValue, text)
        })?;
        let scope = |host| match &wait.scope {
            Scope::Process(_) => wait.scope.clone(),
            Scope::All | Scope::Hosts(_) => Scope::Hosts([host].into()),
        };
        let one = |host| Wait { scope: scope(host), ..wait.clone() }.look();
        let mut waits: JoinSet<_> = hosts.into_iter().map(one).collect();
        let mut lines = Vec::new();
        while lines.len() < wanted {
            match waits.join_next().await {
                Some(Ok(Ok(line))) => lines.push(line),
                Some(Ok(Err(error))) => missing = missing.checked_sub(1).ok_or(error)?,
                ended => return Err(Error::new(Reason::Bug, format!("a wait ended badly: {ended:?}"))),
            }
        }
        Ok(lines)
    }
}

impl IntoFuture for AtLeast {
    type Output = Result<Vec<Line>>;
    type IntoFuture = BoxFuture<Result<Vec<Line>>>;

    fn into_future(self) -> BoxFuture<Result<Vec<Line>>> {
        Box::pin(async move {
            let (core, at) = (Arc::clone(&self.wait.core), self.wait.at.clone());
            let lines = self.lines().await;
            core.noted(lines, at)
        })
    }
}
