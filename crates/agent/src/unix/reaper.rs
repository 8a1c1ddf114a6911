//! The only place that waits for children. As pid 1 the agent inherits orphans, and two reapers would steal from each
//! other (`waitpid(-1)` takes any child's status), so neither std's `Child::wait` nor tokio's process module is used.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::system::Exit;

type Table = Arc<Mutex<HashMap<Pid, oneshot::Sender<Exit>>>>;

#[derive(Debug)]
pub(super) struct Reaper {
    children: Table,
}

impl Reaper {
    pub(super) fn start() -> io::Result<Self> {
        let children = Table::default();
        let mut deaths = signal(SignalKind::child())?;
        let table = Arc::clone(&children);
        tokio::spawn(async move {
            while deaths.recv().await.is_some() {
                reap(&table);
            }
        });
        Ok(Self { children })
    }

    /// Starts a child by `spawn` and gives what will say how it ended. The table is held meanwhile, so that the child
    /// cannot be reaped before it is known.
    pub(super) fn spawn<T>(
        &self,
        spawn: impl FnOnce() -> io::Result<(Pid, T)>,
    ) -> io::Result<(T, oneshot::Receiver<Exit>)> {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        let (pid, value) = spawn()?;
        let (sender, receiver) = oneshot::channel();
        children.insert(pid, sender);
        Ok((value, receiver))
    }

    /// Reaps who has ended, before the signal has found its way here.
    pub(super) fn look(&self) {
        reap(&self.children);
    }
}

fn reap(table: &Table) {
    let mut children = table.lock().unwrap_or_else(PoisonError::into_inner);
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if let Some(waiter) = children.remove(&pid) {
            // Nobody may be waiting any more: the client has gone.
            let _gone = waiter.send(exit(status));
        }
    }
}

fn exit(status: WaitStatus) -> Exit {
    let core = status.as_raw() & 0x80 != 0;
    match status.terminating_signal() {
        Some(number) => Exit::Signal { number, core },
        None => Exit::Code(status.exit_status().unwrap_or(-1)),
    }
}
