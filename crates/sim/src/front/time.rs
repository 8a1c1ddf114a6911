//! Clocks and sleep. Clocks of CPU time are real: nothing that is simulated should depend on them.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use super::{Interrupted, ask, define, fail, int, new_fd, simulated, tell, zero};
use crate::errno::{Errno, Result};
use crate::kernel::{Caller, Clock, Kernel, Nanos, On, SECOND, Setting, Stop, Wait};
use crate::switch::{self, Context};

/// Which of a host's clocks a number means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Wall,
    Monotonic,
    /// CPU time: real.
    Cpu,
}

impl Which {
    fn of(clock: i32) -> Result<Self> {
        match clock {
            libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => Ok(Self::Wall),
            libc::CLOCK_MONOTONIC
            | libc::CLOCK_MONOTONIC_RAW
            | libc::CLOCK_MONOTONIC_COARSE
            | libc::CLOCK_BOOTTIME => Ok(Self::Monotonic),
            libc::CLOCK_PROCESS_CPUTIME_ID | libc::CLOCK_THREAD_CPUTIME_ID => Ok(Self::Cpu),
            _ => Err(Errno::EINVAL),
        }
    }

    fn read(self, clock: Clock, now: Nanos) -> Nanos {
        if self == Self::Wall { clock.wall(now) } else { clock.monotonic(now) }
    }

    /// When it shows `at`.
    fn when(self, clock: Clock, at: Nanos) -> Nanos {
        if self == Self::Wall { clock.when_wall(at) } else { clock.when_monotonic(at) }
    }
}

/// Nanoseconds of a `timespec`.
pub(super) unsafe fn nanos(time: *const libc::timespec) -> Result<Nanos> {
    let libc::timespec { tv_sec, tv_nsec } = *time;
    let (Ok(seconds), Ok(nanos)) = (Nanos::try_from(tv_sec), Nanos::try_from(tv_nsec)) else {
        return Err(Errno::EINVAL);
    };
    if nanos >= SECOND {
        return Err(Errno::EINVAL);
    }
    Ok(seconds.saturating_mul(SECOND).saturating_add(nanos))
}

pub(super) fn timespec(time: Nanos) -> libc::timespec {
    libc::timespec { tv_sec: (time / SECOND).cast_signed(), tv_nsec: (time % SECOND).cast_signed() }
}

/// The virtual instant after `time` of the caller's host.
pub(super) fn after(kernel: &mut Kernel, caller: Caller, time: Nanos) -> Nanos {
    let now = kernel.now;
    kernel.clock(caller.host).after(now, time)
}

/// The virtual instant at which a clock shows `at`: what waits with absolute deadlines are given.
pub(super) fn when(me: &'static Context, clock: i32, at: Nanos) -> Nanos {
    let which = Which::of(clock).unwrap_or(Which::Wall);
    tell(me, |kernel, caller| which.when(*kernel.clock(caller.host), at))
}

fn read(me: &'static Context, which: Which) -> Nanos {
    let look = |kernel: &mut Kernel, caller: Caller| which.read(*kernel.clock(caller.host), kernel.now);
    let (is_late, shown) =
        tell(me, |kernel, caller| (kernel.clock_read(caller.thread), look(kernel, caller)));
    if !is_late {
        return shown;
    }
    // Who spins until others have done something lets them.
    let _handlers_ran = switch::wait(me, Wait { on: On::Time, until: Some(0), what: "clock" });
    tell(me, look)
}

/// Sleeps; a handler of a signal ends it.
fn sleep_until(me: &'static Context, until: Nanos) -> Result<()> {
    match switch::wait(me, Wait { on: On::Time, until: Some(until), what: "sleep" }) {
        Interrupted::No => Ok(()),
        Interrupted::Restarts | Interrupted::Fails => Err(Errno::EINTR),
    }
}

/// Sleeps for a time of the host's; gives what is left of it when a handler of a signal ended it.
pub(super) fn sleep_for(me: &'static Context, time: Nanos) -> std::result::Result<(), Nanos> {
    let monotonic =
        |kernel: &mut Kernel, caller: Caller| Which::Monotonic.read(*kernel.clock(caller.host), kernel.now);
    let (until, begun) = tell(me, |kernel, caller| (after(kernel, caller, time), monotonic(kernel, caller)));
    sleep_until(me, until).map_err(|_| {
        let slept = tell(me, monotonic) - begun;
        time.saturating_sub(slept)
    })
}

pub(super) unsafe fn clock_gettime_here(
    me: &'static Context,
    clock: i32,
    time: *mut libc::timespec,
) -> Result<()> {
    let which = Which::of(clock)?;
    if which == Which::Cpu {
        // Of the carrier, and by the instruction that the filter lets pass: the C library's own would be caught.
        switch::call(libc::SYS_clock_gettime, [clock.into(), time.expose_provenance() as i64, 0, 0, 0, 0]);
    } else {
        *time = timespec(read(me, which));
    }
    Ok(())
}

pub(super) unsafe fn clock_sleep(
    me: &'static Context,
    clock: i32,
    flags: i32,
    time: *const libc::timespec,
    left: *mut libc::timespec,
) -> Result<()> {
    let which = Which::of(clock)?;
    let time = nanos(time)?;
    if flags & libc::TIMER_ABSTIME != 0 {
        let until = tell(me, |kernel, caller| which.when(*kernel.clock(caller.host), time));
        return sleep_until(me, until);
    }
    sleep_for(me, time).map_err(|rest| {
        if !left.is_null() {
            *left = timespec(rest);
        }
        Errno::EINTR
    })
}

define! {
    /// The host's clocks; those of CPU time are real.
    fn clock_gettime(clock: i32, time: *mut libc::timespec) -> i32 |me, real| {
        zero(clock_gettime_here(me, clock, time))
    }

    /// The wall clock.
    fn gettimeofday(time: *mut libc::timeval, _zone: *mut libc::c_void) -> i32 |me, real| {
        let now = read(me, Which::Wall);
        *time = libc::timeval {
            tv_sec: (now / SECOND).cast_signed(),
            tv_usec: (now % SECOND / 1000).cast_signed(),
        };
        0
    }

    /// The wall clock in seconds.
    fn time(into: *mut libc::time_t) -> libc::time_t |me, real| {
        let now = (read(me, Which::Wall) / SECOND).cast_signed();
        if !into.is_null() {
            *into = now;
        }
        now
    }

    /// The wall clock, as C11 reads it.
    fn timespec_get(into: *mut libc::timespec, base: i32) -> i32 |me, real| {
        *into = timespec(read(me, Which::Wall));
        base
    }

    /// The time zone of hosts is UTC.
    fn localtime_r(time: *const libc::time_t, into: *mut libc::tm) -> *mut libc::tm |me, real| {
        libc::gmtime_r(time, into)
    }

    /// The time zone of hosts is UTC.
    fn localtime(time: *const libc::time_t) -> *mut libc::tm |me, real| { libc::gmtime(time) }

    /// The time zone of hosts is UTC.
    fn mktime(from: *mut libc::tm) -> libc::time_t |me, real| { libc::timegm(from) }

    /// Sleeps in virtual time.
    fn nanosleep(time: *const libc::timespec, left: *mut libc::timespec) -> i32 |me, real| {
        zero(clock_sleep(me, libc::CLOCK_MONOTONIC, 0, time, left))
    }

    /// Sleeps in virtual time. It returns its error, as the C library's does.
    fn clock_nanosleep(
        clock: i32,
        flags: i32,
        time: *const libc::timespec,
        left: *mut libc::timespec,
    ) -> i32 |me, real| {
        match clock_sleep(me, clock, flags, time, left) {
            Ok(()) => 0,
            Err(errno) => errno.0,
        }
    }

    /// Sleeps in virtual time.
    fn usleep(micros: u32) -> i32 |me, real| {
        if sleep_for(me, Nanos::from(micros) * 1000).is_ok() { 0 } else { fail(Errno::EINTR) }
    }

    /// Sleeps in virtual time; gives the seconds that were left when a handler ended it.
    fn sleep(seconds: u32) -> u32 |me, real| {
        sleep_for(me, Nanos::from(seconds) * SECOND).map_or_else(|left| left.div_ceil(SECOND) as u32, |()| 0)
    }

    /// Sends the process SIGALRM in so many virtual seconds; gives what was left of the alarm before.
    fn alarm(seconds: u32) -> u32 |me, real| {
        let setting = Setting { value: Nanos::from(seconds) * SECOND, interval: 0 };
        let left = tell(me, |kernel, caller| kernel.set_alarm(caller, setting)).value;
        // As Linux rounds: what is left is not nothing.
        if left == 0 { 0 } else { ((left + SECOND / 2) / SECOND).max(1) as u32 }
    }

    /// Sets the alarm of the process. Timers of CPU time are refused.
    fn setitimer(which: i32, new: *const libc::itimerval, old: *mut libc::itimerval) -> i32 |me, real| {
        if which != libc::ITIMER_REAL {
            return fail(Errno::ENOSYS);
        }
        if new.is_null() {
            return fail(Errno::EFAULT);
        }
        let (value, interval) = (micros((*new).it_value), micros((*new).it_interval));
        let (Ok(value), Ok(interval)) = (value, interval) else { return fail(Errno::EINVAL) };
        let before = tell(me, |kernel, caller| kernel.set_alarm(caller, Setting { value, interval }));
        if !old.is_null() {
            *old = itimerval(before);
        }
        0
    }

    /// How the alarm of the process is set.
    fn getitimer(which: i32, now: *mut libc::itimerval) -> i32 |me, real| {
        if which != libc::ITIMER_REAL {
            return fail(Errno::ENOSYS);
        }
        *now = itimerval(tell(me, |kernel, caller| kernel.alarm_setting(caller)));
        0
    }

    /// A timer descriptor on the host's clocks.
    fn timerfd_create(clock: i32, flags: i32) -> i32 |me, real| {
        let is_wall = match Which::of(clock) {
            Ok(Which::Wall) => true,
            Ok(Which::Monotonic) => false,
            _ => return fail(Errno::EINVAL),
        };
        int(tell(me, |kernel, caller| {
            let file = kernel.open_timer(caller.host, is_wall, flags & libc::TFD_NONBLOCK != 0);
            new_fd(kernel, caller, file)
        }))
    }

    /// Sets a timer. That the wall clock was set (`TFD_TIMER_CANCEL_ON_SET`) is not told.
    fn timerfd_settime(
        fd: i32,
        flags: i32,
        new: *const libc::itimerspec,
        old: *mut libc::itimerspec,
    ) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        let wanted = match (nanos(&(*new).it_value), nanos(&(*new).it_interval)) {
            (Ok(value), Ok(interval)) => Setting { value, interval },
            _ => return fail(Errno::EINVAL),
        };
        let is_absolute = flags & libc::TFD_TIMER_ABSTIME != 0;
        let before = ask(me, |kernel, _| kernel.set_timer(file, wanted, is_absolute).map_err(Stop::from));
        zero(before.map(|before| if !old.is_null() { *old = itimerspec(before) }))
    }

    /// How a timer is set.
    fn timerfd_gettime(fd: i32, now: *mut libc::itimerspec) -> i32 |me, real| {
        let file = simulated!(me, fd, real);
        let setting = ask(me, |kernel, _| kernel.timer_setting(file).map_err(Stop::from));
        zero(setting.map(|setting| *now = itimerspec(setting)))
    }
}

/// Nanoseconds of a `timeval`.
fn micros(time: libc::timeval) -> Result<Nanos> {
    match (Nanos::try_from(time.tv_sec), Nanos::try_from(time.tv_usec)) {
        (Ok(seconds), Ok(micros)) if micros < 1_000_000 => {
            Ok(seconds.saturating_mul(SECOND).saturating_add(micros * 1000))
        }
        _ => Err(Errno::EINVAL),
    }
}

fn itimerval(setting: Setting) -> libc::itimerval {
    let timeval = |time: Nanos| libc::timeval {
        tv_sec: (time / SECOND).cast_signed(),
        tv_usec: (time % SECOND).div_ceil(1000).min(999_999).cast_signed(),
    };
    libc::itimerval { it_value: timeval(setting.value), it_interval: timeval(setting.interval) }
}

fn itimerspec(setting: Setting) -> libc::itimerspec {
    libc::itimerspec { it_value: timespec(setting.value), it_interval: timespec(setting.interval) }
}
