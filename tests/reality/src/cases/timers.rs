//! Timers of tokio and clocks of std. What is noted holds on a machine that is busy with other things, too.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;
use tokio::time::{self, Interval, MissedTickBehavior};

use crate::Seen;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub(super) async fn sleep_is_never_short(seen: Seen) -> io::Result<()> {
    for length in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(1500), ms(30)] {
        let begun = Instant::now();
        time::sleep(length).await;
        seen.note("it took as long", (length, begun.elapsed() >= length));
    }
    Ok(())
}

pub(super) async fn sleeps_end_in_order(seen: Seen) -> io::Result<()> {
    let (late, early, middle) = (time::sleep(ms(60)), time::sleep(ms(20)), time::sleep(ms(40)));
    tokio::pin!(late, early, middle);
    let (mut is_early, mut is_middle) = (true, true);
    for _ in 0..3 {
        // By deadline: on a machine that stood still meanwhile, all have ended and the first of them is taken.
        let ended = tokio::select! {
            biased;
            () = &mut early, if is_early => { is_early = false; 20 }
            () = &mut middle, if is_middle => { is_middle = false; 40 }
            () = &mut late => 60,
        };
        seen.note("ended", ended);
    }
    Ok(())
}

pub(super) async fn sleep_until_the_past(seen: Seen) -> io::Result<()> {
    let past = time::Instant::now();
    thread::sleep(ms(5));
    time::sleep_until(past).await;
    seen.note("it ended", true);
    let sleep = time::sleep(Duration::MAX);
    tokio::pin!(sleep);
    seen.note("for ever ended", time::timeout(ms(10), &mut sleep).await.is_ok());
    sleep.as_mut().reset(time::Instant::now() + ms(5));
    sleep.as_mut().await;
    seen.note("ended once it was reset", sleep.is_elapsed());
    Ok(())
}

pub(super) async fn reset_to_later(seen: Seen) -> io::Result<()> {
    let begun = time::Instant::now();
    let sleep = time::sleep(ms(5));
    tokio::pin!(sleep);
    sleep.as_mut().reset(begun + ms(40));
    sleep.as_mut().await;
    seen.note("not before its new deadline", begun.elapsed() >= ms(40));
    seen.note("the deadline", sleep.deadline() - begun);
    Ok(())
}

pub(super) async fn timeouts(seen: Seen) -> io::Result<()> {
    let ready = time::timeout(Duration::ZERO, async { "at once" }).await;
    seen.note("of what is ready", ready.is_ok());
    let never = std::future::pending::<()>();
    let error = time::timeout(ms(5), never).await.err();
    seen.note("of what never is", error.map(|error| io::Error::from(error).kind()));
    let begun = Instant::now();
    let inner =
        time::timeout(ms(10), time::timeout(Duration::from_secs(600), time::sleep(ms(3_600_000)))).await;
    seen.note("the outer is first", inner.is_err() && begun.elapsed() >= ms(10));
    let inner =
        time::timeout(Duration::from_secs(600), time::timeout(ms(10), time::sleep(ms(3_600_000)))).await;
    seen.note("the inner is first", matches!(inner, Ok(Err(_))));
    Ok(())
}

pub(super) async fn ten_thousand(seen: Seen) -> io::Result<()> {
    let early = Arc::new(AtomicU32::new(0));
    let mut sleeps = JoinSet::new();
    for number in 0..10_000_u64 {
        let early = early.clone();
        let deadline = time::Instant::now() + ms(number * 7919 % 100);
        sleeps.spawn(async move {
            time::sleep_until(deadline).await;
            if time::Instant::now() < deadline {
                early.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let mut ended = 0;
    while let Some(sleep) = sleeps.join_next().await {
        ended += u32::from(sleep.is_ok());
    }
    seen.note("ended", ended);
    seen.note("too early", early.load(Ordering::SeqCst));
    Ok(())
}

pub(super) async fn dropped_sleeps_wake_nobody(seen: Seen) -> io::Result<()> {
    let mut sleeps = JoinSet::new();
    for _ in 0..1000 {
        sleeps.spawn(time::sleep(Duration::from_secs(3600)));
    }
    time::sleep(ms(5)).await;
    sleeps.abort_all();
    let mut cancelled = 0;
    while let Some(sleep) = sleeps.join_next().await {
        cancelled += u32::from(sleep.is_err_and(|error| error.is_cancelled()));
    }
    seen.note("cancelled", cancelled);
    Ok(())
}

/// The ticks of an interval whose second tick is waited for too late: in periods since the first.
async fn late_ticks(behaviour: MissedTickBehavior) -> (Interval, time::Instant, Vec<Duration>) {
    let period = ms(20);
    let mut interval = time::interval(period);
    interval.set_missed_tick_behavior(behaviour);
    let first = interval.tick().await;
    time::sleep(period * 5 / 2).await;
    let mut ticks = Vec::new();
    for _ in 0..4 {
        ticks.push(interval.tick().await - first);
    }
    (interval, first, ticks)
}

pub(super) async fn interval(seen: Seen) -> io::Result<()> {
    let begun = time::Instant::now();
    let mut interval = time::interval_at(begun + ms(10), ms(15));
    let mut ticks = Vec::new();
    for _ in 0..4 {
        let tick = interval.tick().await;
        seen.note("not early", time::Instant::now() >= tick);
        ticks.push(tick - begun);
    }
    seen.note("ticks", ticks);
    seen.note("period", interval.period());
    Ok(())
}

pub(super) async fn missed_ticks_in_a_burst(seen: Seen) -> io::Result<()> {
    let (_, _, ticks) = late_ticks(MissedTickBehavior::Burst).await;
    seen.note("ticks", ticks);
    Ok(())
}

pub(super) async fn missed_ticks_skipped(seen: Seen) -> io::Result<()> {
    let (_, _, ticks) = late_ticks(MissedTickBehavior::Skip).await;
    // Not exactly: the first may have been late as well.
    seen.note("the late one is not early", ticks[0] >= ms(20));
    seen.note("the next is the next of the grid", ticks[1] >= ms(60));
    seen.note("all are of the grid", ticks.iter().all(|tick| tick.as_nanos() % ms(20).as_nanos() == 0));
    Ok(())
}

pub(super) async fn missed_ticks_delay_the_others(seen: Seen) -> io::Result<()> {
    let (_, _, ticks) = late_ticks(MissedTickBehavior::Delay).await;
    // Not exactly: the first may have been late as well.
    seen.note("the late one is not early", ticks[0] >= ms(20));
    seen.note("the next is a period after it was taken", ticks[1] >= ms(70));
    seen.note("then each a period later", ticks.windows(2).all(|two| two[1] >= two[0] + ms(20)));
    Ok(())
}

pub(super) async fn interval_reset(seen: Seen) -> io::Result<()> {
    let (mut interval, _, _) = late_ticks(MissedTickBehavior::Burst).await;
    interval.reset_immediately();
    let at = interval.tick().await;
    seen.note("the next is a period later", interval.tick().await - at);
    let before = time::Instant::now();
    interval.reset();
    seen.note("a period from now", interval.tick().await >= before + ms(20));
    Ok(())
}

pub(super) fn clocks_go_forward(seen: &Seen) -> io::Result<()> {
    let (begun, wall) = (Instant::now(), SystemTime::now());
    let mut last = begun;
    let mut backwards = 0;
    for _ in 0..10_000 {
        let now = Instant::now();
        backwards += u32::from(now < last);
        last = now;
    }
    seen.note("steps backwards", backwards);
    thread::sleep(ms(20));
    seen.note("a sleep is seen by Instant", begun.elapsed() >= ms(20));
    let by_wall = wall.elapsed().is_ok_and(|elapsed| elapsed >= ms(10));
    seen.note("and by SystemTime", by_wall);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    seen.note("it is after 1970", since.is_ok_and(|since| since > Duration::ZERO));
    Ok(())
}

pub(super) fn sleeping_threads(seen: &Seen) -> io::Result<()> {
    let sleeper = |length: Duration| {
        thread::spawn(move || {
            let begun = Instant::now();
            thread::sleep(length);
            begun.elapsed() >= length
        })
    };
    let sleepers: Vec<_> = (0..20).map(|number| sleeper(ms(number * 3))).collect();
    let in_time = sleepers.into_iter().filter_map(|sleeper| sleeper.join().ok()).filter(|long| *long).count();
    seen.note("slept long enough", in_time);
    Ok(())
}

/// Two clocks, of a thread that sleeps and of a task that does, tell the same time.
pub(super) async fn threads_and_tasks_share_a_clock(seen: Seen) -> io::Result<()> {
    let begun = Instant::now();
    let thread = tokio::task::spawn_blocking(|| {
        thread::sleep(ms(30));
        Instant::now()
    });
    time::sleep(ms(10)).await;
    let task = Instant::now();
    let thread = thread.await?;
    seen.note("the task slept", task - begun >= ms(10));
    seen.note("the thread slept", thread - begun >= ms(30));
    seen.note("the task sees the thread's time as past", Instant::now() >= thread);
    Ok(())
}
