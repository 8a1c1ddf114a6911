//! Signals: handlers, what they interrupt, what is held back. A handler is everybody's of a process, so each case has signals
//! of its own.
#![expect(unsafe_code, reason = "std has no signals")]

use std::io::{self, Read, Write};
use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::Seen;

/// How often handlers ran.
static COUNT: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_signal: i32) {
    COUNT.fetch_add(1, Ordering::SeqCst);
}

/// Has `handler` run for a signal from now on.
fn handle(signal: i32, handler: libc::sighandler_t, flags: i32) -> io::Result<()> {
    // SAFETY: the handler only counts, or is none.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler, flags);
        checked(libc::sigaction(signal, &raw const action, std::ptr::null_mut()))
    }
}

fn handler() -> libc::sighandler_t {
    count as *const () as usize
}

fn checked(done: i32) -> io::Result<()> {
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn raise(signal: i32) -> io::Result<()> {
    // SAFETY: the case has given the signal a handler, or holds it back.
    checked(unsafe { libc::raise(signal) })
}

/// What the calling thread holds back.
fn mask(how: i32, signal: i32) -> io::Result<()> {
    // SAFETY: the set is filled in before it is read.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, signal);
        checked(libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()))
    }
}

fn is_pending(signal: i32) -> bool {
    // SAFETY: the set is filled in before it is read.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&raw mut set);
        libc::sigismember(&raw const set, signal) == 1
    }
}

pub(super) async fn awaited(seen: Seen) -> io::Result<()> {
    let mut first = signal(SignalKind::user_defined1())?;
    let mut other = signal(SignalKind::window_change())?;
    for _ in 0..2 {
        // SAFETY: the runtime has given it a handler.
        checked(unsafe { libc::kill(std::process::id().cast_signed(), libc::SIGUSR1) })?;
        seen.note("the one that was sent", first.recv().await);
    }
    let none = tokio::time::timeout(Duration::from_millis(20), other.recv()).await;
    seen.note("the one that was not", none.is_err());
    Ok(())
}

pub(super) fn handlers_run_before_raise_returns(seen: &Seen) -> io::Result<()> {
    let before = COUNT.load(Ordering::SeqCst);
    handle(libc::SIGUSR2, handler(), 0)?;
    raise(libc::SIGUSR2)?;
    raise(libc::SIGUSR2)?;
    seen.note("ran", COUNT.load(Ordering::SeqCst) - before);
    handle(libc::SIGUSR2, libc::SIG_IGN, 0)?;
    raise(libc::SIGUSR2)?;
    seen.note("ignored", COUNT.load(Ordering::SeqCst) - before);
    handle(libc::SIGUSR2, handler(), libc::SA_RESETHAND)?;
    raise(libc::SIGUSR2)?;
    // SAFETY: reads what is done about the signal.
    let left = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        checked(libc::sigaction(libc::SIGUSR2, std::ptr::null(), &raw mut action))?;
        action.sa_sigaction == libc::SIG_DFL
    };
    seen.note("once", (COUNT.load(Ordering::SeqCst) - before, left));
    seen.outcome("no signal", handle(65, handler(), 0));
    seen.outcome("nobody's", handle(libc::SIGKILL, handler(), 0));
    Ok(())
}

pub(super) fn held_back(seen: &Seen) -> io::Result<()> {
    let before = COUNT.load(Ordering::SeqCst);
    handle(libc::SIGIO, handler(), 0)?;
    mask(libc::SIG_BLOCK, libc::SIGIO)?;
    raise(libc::SIGIO)?;
    raise(libc::SIGIO)?;
    seen.note("waits", (COUNT.load(Ordering::SeqCst) - before, is_pending(libc::SIGIO)));
    let inherited = thread::spawn(|| raise(libc::SIGIO).is_ok() && is_pending(libc::SIGIO));
    seen.note("in a thread of this one", inherited.join().ok());
    mask(libc::SIG_UNBLOCK, libc::SIGIO)?;
    seen.note("let through", (COUNT.load(Ordering::SeqCst) - before, is_pending(libc::SIGIO)));
    Ok(())
}

pub(super) fn taken_by_waiting(seen: &Seen) -> io::Result<()> {
    mask(libc::SIG_BLOCK, libc::SIGURG)?;
    raise(libc::SIGURG)?;
    let mut taken = 0;
    // SAFETY: the set is filled in before it is read.
    let (done, none) = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGURG);
        let done = libc::sigwait(&raw const set, &raw mut taken);
        let time = libc::timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        (done, libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const time))
    };
    let none = if none < 0 { Err(io::Error::last_os_error()) } else { Ok(none) };
    seen.note("taken", (done, taken == libc::SIGURG));
    seen.outcome("no other", none);
    mask(libc::SIG_UNBLOCK, libc::SIGURG)
}

/// Signals a thread again and again until it has ended.
fn pester<T>(thread: thread::JoinHandle<T>, signal: i32) -> Option<T> {
    while !thread.is_finished() {
        // SAFETY: the handle keeps the thread's from being anybody else's.
        unsafe { libc::pthread_kill(thread.as_pthread_t(), signal) };
        thread::sleep(Duration::from_millis(5));
    }
    thread.join().ok()
}

pub(super) fn sleeps_are_interrupted(seen: &Seen) -> io::Result<()> {
    handle(libc::SIGPROF, handler(), libc::SA_RESTART)?;
    let sleeper = thread::spawn(|| {
        let time = libc::timespec { tv_sec: 60, tv_nsec: 0 };
        let mut left = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: both are there.
        let done = checked(unsafe { libc::nanosleep(&raw const time, &raw mut left) });
        (done.map_err(|error| error.kind()), (1..=60).contains(&left.tv_sec))
    });
    seen.note("interrupted, and most was left", pester(sleeper, libc::SIGPROF));
    let patient = thread::spawn(|| {
        let begun = Instant::now();
        thread::sleep(Duration::from_millis(60));
        begun.elapsed() >= Duration::from_millis(60)
    });
    seen.note("std sleeps on", pester(patient, libc::SIGPROF));
    Ok(())
}

pub(super) fn reads_go_on_if_they_may(seen: &Seen) -> io::Result<()> {
    handle(libc::SIGVTALRM, handler(), 0)?;
    let (mut reader, writer) = io::pipe()?;
    let fails = thread::spawn(move || reader.read(&mut [0]).map_err(|error| error.kind()));
    seen.note("interrupted", pester(fails, libc::SIGVTALRM));
    drop(writer);
    handle(libc::SIGVTALRM, handler(), libc::SA_RESTART)?;
    let (mut reader, mut writer) = io::pipe()?;
    let before = COUNT.load(Ordering::SeqCst);
    let goes_on = thread::spawn(move || reader.read(&mut [0]).map_err(|error| error.kind()));
    while COUNT.load(Ordering::SeqCst) < before + 3 {
        // SAFETY: the handle keeps the thread's from being anybody else's.
        unsafe { libc::pthread_kill(goes_on.as_pthread_t(), libc::SIGVTALRM) };
        thread::sleep(Duration::from_millis(1));
    }
    writer.write_all(b"x")?;
    seen.note("goes on", goes_on.join().ok());
    Ok(())
}

/// How often the alarm went off.
static ALARMS: AtomicU32 = AtomicU32::new(0);

extern "C" fn alarmed(_signal: i32) {
    ALARMS.fetch_add(1, Ordering::SeqCst);
}

/// Waits until it has gone off so often.
fn until_alarmed(count: u32) -> bool {
    let begun = Instant::now();
    while ALARMS.load(Ordering::SeqCst) < count && begun.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed() < Duration::from_secs(20)
}

pub(super) fn alarms(seen: &Seen) -> io::Result<()> {
    handle(libc::SIGALRM, alarmed as *const () as usize, libc::SA_RESTART)?;
    // SAFETY: these take numbers.
    let set = |seconds| unsafe { libc::alarm(seconds) };
    seen.note("none before", set(100));
    seen.note("most is left", (90..=100).contains(&set(0)));
    seen.note("none again", set(1));
    seen.note("after a second", until_alarmed(1));
    let time = |millis: i64| libc::timeval { tv_sec: 0, tv_usec: millis * 1000 };
    let timer = |first, then| libc::itimerval { it_value: time(first), it_interval: time(then) };
    let (every, never, mut before) = (timer(5, 10), timer(0, 0), timer(0, 0));
    // SAFETY: all are there.
    let mut change = |new: &libc::itimerval| unsafe {
        checked(libc::setitimer(libc::ITIMER_REAL, &raw const *new, &raw mut before))?;
        Ok::<_, io::Error>(before.it_interval.tv_usec)
    };
    seen.note("not again and again", change(&every)?);
    seen.note("again and again", until_alarmed(4));
    seen.note("every 10 ms", change(&never)?);
    Ok(())
}
