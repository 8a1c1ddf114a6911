//! ctrl-C once: open tests are cancelled, evidence is closed, hosts are reaped. Twice: out at once; the kernel reaps.
//! SIGTERM and SIGHUP are one ctrl-C. What is ignored, as under `nohup`, stays so.

use std::future::poll_fn;
use std::process;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How long an interrupted run may take to end: continuous integration kills after 7 s.
const END_MAX: Duration = Duration::from_secs(5);

/// Tells when the run is to be interrupted.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    /// The number of the signal, once one came.
    came: watch::Receiver<Option<i32>>,
}

impl Interrupt {
    /// Listens from now on. Must be called in a runtime.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (tell, came) = watch::channel(None);
        // On a thread of its own: a terminal or pipe that takes no more output holds up the others.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let signals = {
            let _entered = runtime.enter();
            let wanted = kinds.into_iter().filter(|kind| !netsplit::is_ignored(kind.as_raw_value()));
            wanted.map(|kind| Ok((kind, signal(kind)?))).collect::<std::io::Result<Vec<_>>>()?
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(watch_signals(signals, tell)))?;
        Ok(Self { came })
    }

    /// Resolves when the run is to be interrupted.
    pub(crate) async fn wait(&self) {
        let mut came = self.came.clone();
        if came.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The exit code of an interrupted process: 130 for ctrl-C; `None` when it was not interrupted.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        let signal = *self.came.borrow();
        signal.and_then(|signal| u8::try_from(128 + signal).ok())
    }
}

#[expect(clippy::exit, reason = "the second ctrl-C means: now; the kernel reaps what is left")]
async fn watch_signals(mut signals: Vec<(SignalKind, Signal)>, tell: watch::Sender<Option<i32>>) {
    let mut next = async || {
        poll_fn(|context| {
            for (kind, signal) in &mut signals {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(kind.as_raw_value());
                }
            }
            Poll::Pending
        })
        .await
    };
    let first = next().await;
    tell.send_replace(Some(first));
    let _second = tokio::time::timeout(END_MAX, next()).await;
    process::exit(128 + first);
}
