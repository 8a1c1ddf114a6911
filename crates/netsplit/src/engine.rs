//! The thread that carries a run: its links, its timers, its evidence. A test body that blocks stops nothing here.

use std::future::Future;
use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinError};

use crate::error::{Error, Result};
use netsplit_model::Reason;

/// One runtime on one thread, for as long as the run lasts.
#[derive(Debug)]
pub(crate) struct Engine {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Engine {
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("netsplit".into()).spawn(move || {
            // Dropping the sender stops as well.
            let _either = runtime.block_on(stopped);
        })?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Where tasks of this run are spawned.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs `future` on the engine, whatever becomes of the caller.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        run_on(&self.handle, future).await
    }
}

/// Runs `future` on `handle`'s runtime, whatever becomes of the caller.
pub(crate) async fn run_on<T: Send + 'static>(
    handle: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T> {
    handle.spawn(future).await.map_err(|error| stopped(&error))
}

/// Runs `future` on `handle`'s runtime, for as long as the caller waits for it.
pub(crate) async fn run_while_awaited<T: Send + 'static>(
    handle: &Handle,
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T> {
    let task = handle.spawn(future);
    let _caller_waits = AbortOnDrop(task.abort_handle());
    task.await.map_err(|error| stopped(&error))
}

pub(crate) fn stopped(error: &JoinError) -> Error {
    Error::new(Reason::Bug, format!("the engine stopped: {error}"))
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A task that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct WhileWanted(pub(crate) tokio::task::JoinHandle<()>);

impl Drop for WhileWanted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.stop.take());
        let is_itself =
            self.thread.as_ref().is_some_and(|thread| thread.thread().id() == thread::current().id());
        if let Some(thread) = self.thread.take().filter(|_| !is_itself) {
            let _panicked = thread.join();
        }
    }
}
