//! Threads of std, what they wait for, and runtimes in them.

use std::cell::RefCell;
use std::io;
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task;
use tokio::time;

use crate::Seen;

const SHORT: Duration = Duration::from_millis(20);

/// Ends a thread by a panic that nobody prints.
fn fall(why: &'static str) -> ! {
    panic::resume_unwind(Box::new(why))
}

pub(super) fn join(seen: &Seen) -> io::Result<()> {
    let threads: Vec<_> = (0..8_u32).map(|number| thread::spawn(move || number * number)).collect();
    let results: Vec<_> = threads.into_iter().map(|thread| thread.join().ok()).collect();
    seen.note("results", results);
    let fallen = thread::spawn(|| fall("over"));
    let why = fallen.join().map_err(|why| why.downcast_ref::<&str>().map(ToString::to_string));
    seen.note("one that panicked", why.map(|_: ()| ()));
    let named = thread::Builder::new().name("worker-7".to_owned());
    let name = named.spawn(|| thread::current().name().map(ToOwned::to_owned))?;
    seen.note("name", name.join().ok().flatten());
    let sum: u32 = thread::scope(|scope| {
        let numbers = [1, 2, 3];
        let threads = numbers.map(|number| scope.spawn(move || number * 10));
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    });
    seen.note("sum of a scope", sum);
    Ok(())
}

pub(super) fn channels(seen: &Seen) -> io::Result<()> {
    let (send, receive) = mpsc::channel();
    let other = send.clone();
    seen.note("nothing yet", receive.recv_timeout(SHORT));
    let sender = thread::spawn(move || (0..5).all(|number| send.send(number).is_ok()));
    seen.note("sent", sender.join().ok());
    drop(other);
    seen.note("received", receive.iter().collect::<Vec<i32>>());
    seen.note("senders are gone", receive.recv_timeout(SHORT) == Err(RecvTimeoutError::Disconnected));
    let (send, receive) = mpsc::channel();
    drop(receive);
    seen.note("send to nobody", send.send(1).is_err());
    Ok(())
}

pub(super) fn narrow_channels(seen: &Seen) -> io::Result<()> {
    let (send, receive) = mpsc::sync_channel(0);
    seen.note("nobody takes it", send.try_send(0).is_err());
    let is_taken = Arc::new(AtomicBool::new(false));
    let taken = is_taken.clone();
    let sender = thread::spawn(move || {
        let sent = send.send(7).is_ok();
        sent && taken.load(Ordering::SeqCst)
    });
    thread::sleep(SHORT);
    is_taken.store(true, Ordering::SeqCst);
    seen.note("received", receive.recv().ok());
    seen.note("the sender waited", sender.join().ok());
    let (send, _receive) = mpsc::sync_channel(2);
    let sent: Vec<_> = (0..3).map(|number| send.try_send(number).is_ok()).collect();
    seen.note("a channel of two takes", sent);
    Ok(())
}

pub(super) fn conditions(seen: &Seen) -> io::Result<()> {
    let state = Arc::new((Mutex::new(0_u32), Condvar::new()));
    let theirs = state.clone();
    let counter = thread::spawn(move || {
        for _ in 0..3 {
            thread::sleep(SHORT / 10);
            *theirs.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            theirs.1.notify_all();
        }
    });
    let (mutex, condition) = &*state;
    let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
    let guard = condition.wait_while(guard, |count| *count < 3).unwrap_or_else(PoisonError::into_inner);
    seen.note("count", *guard);
    let begun = Instant::now();
    let (guard, timeout) = condition
        .wait_timeout_while(guard, SHORT, |count| *count < 4)
        .unwrap_or_else(PoisonError::into_inner);
    seen.note("timed out", timeout.timed_out() && begun.elapsed() >= SHORT);
    drop(guard);
    seen.note("counter", counter.join().is_ok());
    Ok(())
}

pub(super) fn parking(seen: &Seen) -> io::Result<()> {
    thread::current().unpark();
    thread::park();
    seen.note("a token that was there", true);
    let begun = Instant::now();
    while begun.elapsed() < SHORT {
        thread::park_timeout(SHORT);
    }
    seen.note("a park with a timeout ends", true);
    let is_set = Arc::new(AtomicBool::new(false));
    let set = is_set.clone();
    let parked = thread::spawn(move || {
        while !set.load(Ordering::SeqCst) {
            thread::park();
        }
    });
    thread::sleep(SHORT / 2);
    is_set.store(true, Ordering::SeqCst);
    parked.thread().unpark();
    seen.note("woken by another", parked.join().is_ok());
    Ok(())
}

pub(super) fn barriers(seen: &Seen) -> io::Result<()> {
    let barrier = Arc::new(Barrier::new(4));
    let arrived = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (barrier, arrived) = (barrier.clone(), arrived.clone());
            thread::spawn(move || {
                arrived.fetch_add(1, Ordering::SeqCst);
                let leads = barrier.wait().is_leader();
                (leads, arrived.load(Ordering::SeqCst))
            })
        })
        .collect();
    let passed: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
    seen.note("leaders", passed.iter().filter(|(leads, _)| *leads).count());
    seen.note("all had arrived", passed.iter().all(|(_, arrived)| *arrived == 4));
    Ok(())
}

pub(super) fn locks(seen: &Seen) -> io::Result<()> {
    let count = Arc::new(Mutex::new(0_u32));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..1000 {
                    *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                    if round % 100 == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
    });
    seen.note("count", *count.lock().unwrap_or_else(PoisonError::into_inner));
    let theirs = count.clone();
    let fallen = thread::spawn(move || {
        let _guard = theirs.lock();
        fall("with the lock")
    });
    seen.note("panicked", fallen.join().map(|_: ()| ()).is_err());
    seen.note("poisoned", count.is_poisoned());
    let lock = RwLock::new(1);
    let (one, other) = (lock.read(), lock.read());
    seen.note("two read", one.is_ok() && other.is_ok());
    seen.note("a writer gets in", lock.try_write().is_ok());
    drop((one, other));
    seen.note("a writer gets in when they have gone", lock.try_write().is_ok());
    Ok(())
}

pub(super) fn done_once(seen: &Seen) -> io::Result<()> {
    let (cell, once) = (OnceLock::new(), Once::new());
    let (made, called) = (AtomicU32::new(0), AtomicU32::new(0));
    let work = || {
        once.call_once(|| {
            thread::sleep(SHORT / 4);
            called.fetch_add(1, Ordering::SeqCst);
        });
        *cell.get_or_init(|| {
            thread::sleep(SHORT / 4);
            made.fetch_add(1, Ordering::SeqCst) + 1
        })
    };
    let values: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().ok()).collect()
    });
    seen.note("values", values);
    seen.note("called", called.load(Ordering::SeqCst));
    Ok(())
}

pub(super) fn locals(seen: &Seen) -> io::Result<()> {
    struct Told(&'static str, mpsc::Sender<&'static str>);
    impl Drop for Told {
        fn drop(&mut self) {
            // The receiver is there until the thread was joined.
            let _ = self.1.send(self.0);
        }
    }
    thread_local! {
        static LOCAL: RefCell<Option<Told>> = const { RefCell::new(None) };
        static COUNT: RefCell<u32> = const { RefCell::new(0) };
    }
    let (send, receive) = mpsc::channel();
    let worker = thread::spawn(move || {
        LOCAL.set(Some(Told("the thread's local has gone", send)));
        COUNT.set(5);
        COUNT.take()
    });
    seen.note("their count", worker.join().ok());
    seen.note("ours", COUNT.take());
    seen.note("told", receive.recv().ok());
    Ok(())
}

pub(super) async fn blocking_tasks(seen: Seen) -> io::Result<()> {
    let tasks: Vec<_> = (0..32_u64)
        .map(|number| {
            task::spawn_blocking(move || {
                thread::sleep(Duration::from_millis(number % 4));
                number
            })
        })
        .collect();
    let mut sum = 0;
    for task in tasks {
        sum += task.await?;
    }
    seen.note("sum", sum);
    let fallen = task::spawn_blocking(|| fall("in a thread of the runtime"));
    seen.note("one that panicked", fallen.await.is_err_and(|error: task::JoinError| error.is_panic()));
    let handle = Handle::current();
    let inner = task::spawn_blocking(move || handle.block_on(async { tokio::spawn(async { 7 }).await }));
    seen.note("the runtime, from a thread of it", inner.await??);
    Ok(())
}

pub(super) async fn tasks_fall_and_are_aborted(seen: Seen) -> io::Result<()> {
    let fallen = tokio::spawn(async { fall("in a task") });
    seen.note("panicked", fallen.await.is_err_and(|error: task::JoinError| error.is_panic()));
    let (send, receive) = oneshot::channel::<()>();
    let waiting = tokio::spawn(async move {
        let _send = send;
        std::future::pending::<()>().await;
    });
    waiting.abort();
    seen.note("aborted", waiting.await.is_err_and(|error| error.is_cancelled()));
    seen.note("what it held has gone", receive.await.is_err());
    Ok(())
}

pub(super) async fn waking_across_threads(seen: Seen) -> io::Result<()> {
    let notify = Arc::new(Notify::new());
    let theirs = notify.clone();
    let thread = thread::spawn(move || {
        thread::sleep(SHORT / 2);
        theirs.notify_one();
    });
    seen.note("notified", time::timeout(Duration::from_secs(5), notify.notified()).await.is_ok());
    seen.note("thread", thread.join().is_ok());
    let (send, mut receive) = tokio::sync::mpsc::channel(2);
    let sender = thread::spawn(move || (0..20).all(|number| send.blocking_send(number).is_ok()));
    let mut came = Vec::new();
    while let Some(number) = receive.recv().await {
        came.push(number);
    }
    seen.note("came", came);
    seen.note("sender", sender.join().ok());
    let (send, receive) = oneshot::channel();
    let waiting = thread::spawn(move || receive.blocking_recv());
    seen.note("sent", send.send("to a thread"));
    seen.note("received", waiting.join().ok().and_then(Result::ok));
    Ok(())
}

pub(super) async fn permits(seen: Seen) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(3));
    let (now, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut tasks = task::JoinSet::new();
    for _ in 0..12 {
        let (permits, now, most) = (permits.clone(), now.clone(), most.clone());
        tasks.spawn(async move {
            let permit = permits.acquire().await;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            time::sleep(SHORT / 4).await;
            now.fetch_sub(1, Ordering::SeqCst);
            permit.is_ok()
        });
    }
    seen.note("had a permit", tasks.join_all().await.into_iter().filter(|had| *had).count());
    seen.note("at most at a time", most.load(Ordering::SeqCst) <= 3);
    Ok(())
}

pub(super) fn runtimes_in_threads(seen: &Seen) -> io::Result<()> {
    let threads: Vec<_> = (0..2)
        .map(|workers| {
            thread::spawn(move || {
                let runtime = match workers {
                    0 => Builder::new_current_thread().enable_all().build()?,
                    _ => Builder::new_multi_thread().worker_threads(2).enable_all().build()?,
                };
                runtime.block_on(async {
                    let begun = Instant::now();
                    let mut tasks = task::JoinSet::new();
                    for number in 0..10_u32 {
                        tasks.spawn(async move {
                            time::sleep(SHORT / 4).await;
                            number
                        });
                    }
                    let sum: u32 = tasks.join_all().await.into_iter().sum();
                    Ok::<_, io::Error>((sum, begun.elapsed() >= SHORT / 4))
                })
            })
        })
        .collect();
    for thread in threads {
        seen.outcome("sum", thread.join().unwrap_or_else(|_| fall("a runtime's thread")));
    }
    Ok(())
}

/// A runtime that ends does not wait for its tasks, and drops what they hold.
pub(super) fn end_of_a_runtime(seen: &Seen) -> io::Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let held = Arc::new(());
    let theirs = held.clone();
    runtime.spawn(async move {
        time::sleep(Duration::from_secs(3600)).await;
        drop(theirs);
    });
    runtime.block_on(time::sleep(Duration::from_millis(5)));
    drop(runtime);
    seen.note("owners of what a task held", Arc::strong_count(&held));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let is_ended = Arc::new(AtomicBool::new(false));
    let ended = is_ended.clone();
    let (send, begun) = oneshot::channel();
    runtime.spawn_blocking(move || {
        let sent = send.send(()).is_ok();
        thread::sleep(SHORT);
        ended.store(sent, Ordering::SeqCst);
    });
    // A task that has begun in a thread cannot be dropped: it is waited for.
    seen.note("it began", runtime.block_on(begun).is_ok());
    drop(runtime);
    seen.note("a blocking task ended before its runtime", is_ended.load(Ordering::SeqCst));
    Ok(())
}

/// Others sleep meanwhile, and have their turns when their time has come.
pub(super) fn spins_on_the_clock(seen: &Seen) -> io::Result<()> {
    let (done, begun) = (AtomicU32::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(20));
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while done.load(Ordering::SeqCst) < 2 && begun.elapsed() < Duration::from_secs(10) {
                    std::hint::spin_loop();
                }
            });
        }
    });
    seen.note("done in time", begun.elapsed() < Duration::from_secs(5));
    Ok(())
}

pub(super) fn parallelism(seen: &Seen) -> io::Result<()> {
    seen.outcome("at least one", thread::available_parallelism().map(|count| count.get() >= 1));
    let turns = AtomicU32::new(0);
    thread::scope(|scope| {
        // Each spins until the other has had its turn.
        for own in 0..2 {
            let turns = &turns;
            scope.spawn(move || {
                for _ in 0..10 {
                    while turns.load(Ordering::SeqCst) % 2 != own {
                        thread::yield_now();
                    }
                    turns.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    seen.note("turns", turns.load(Ordering::SeqCst));
    Ok(())
}
