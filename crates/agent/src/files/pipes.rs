//! Pipes that were handed to this agent, until the put whose bytes come through one asks for it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Pipes that nobody has asked for; beyond them the oldest is closed, whose put was given up.
const WAITING_MAX: usize = 256;
/// How long a pipe may be on its way: it comes by the stage, the request for it by the link.
const ARRIVAL_MAX: Duration = Duration::from_secs(20);

/// By number, which grows.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    waiting: Mutex<BTreeMap<u32, OwnedFd>>,
    came: Notify,
}

impl Pipes {
    pub(crate) fn hand(&self, number: u32, pipe: OwnedFd) {
        let mut waiting = self.lock();
        waiting.insert(number, pipe);
        if waiting.len() > WAITING_MAX {
            waiting.pop_first();
        }
        drop(waiting);
        self.came.notify_waiters();
    }

    /// The pipe of this number, which may still be on its way; `None` when it does not come.
    pub(crate) async fn take(&self, number: u32) -> Option<OwnedFd> {
        let take = async {
            loop {
                // Listens before it looks: nothing comes between.
                let mut came = std::pin::pin!(self.came.notified());
                came.as_mut().enable();
                let found = self.lock().remove(&number);
                match found {
                    Some(pipe) => return pipe,
                    None => came.await,
                }
            }
        };
        tokio::time::timeout(ARRIVAL_MAX, take).await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, OwnedFd>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_pipe_is_found_whether_it_comes_before_or_after() {
        let pipes = Pipes::default();
        let pipe = || rustix::pipe::pipe().unwrap().0;
        pipes.hand(1, pipe());
        assert!(pipes.take(1).await.is_some());
        let late = async {
            tokio::task::yield_now().await;
            pipes.hand(2, pipe());
        };
        let (taken, ()) = tokio::join!(pipes.take(2), late);
        assert!(taken.is_some());
    }
}
