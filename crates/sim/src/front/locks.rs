//! The C library's own locks. Each is tried for real, and waited for in the simulation: the C library keeps its state, so that
//! recursive and checking kinds stay what they are, and nobody holds up the one OS thread that carries all others.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::sync::atomic::AtomicUsize;

use super::statics::shared;
use super::threads::{place_of, wait_address};
use super::{define, next_symbol, tell};
use crate::kernel::Nanos;
use crate::switch::Context;

/// Calls the C library's function of this name with one pointer.
macro_rules! real {
    ($name:literal, $argument:expr) => {{
        shared! { static FOUND: AtomicUsize = AtomicUsize::new(0); }
        let address = next_symbol(&FOUND, $name);
        unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn(*mut libc::c_void) -> i32>(address)(
                $argument.cast(),
            )
        }
    }};
}

/// Tries until it is not busy, or until a deadline: then `ETIMEDOUT`.
fn acquire(
    me: &'static Context,
    address: usize,
    until: Option<Nanos>,
    what: &'static str,
    mut attempt: impl FnMut() -> i32,
) -> i32 {
    loop {
        match attempt() {
            libc::EBUSY => {}
            done => return done,
        }
        if until.is_some_and(|until| tell(me, |kernel, _| kernel.now >= until)) {
            return libc::ETIMEDOUT;
        }
        wait_address(me, address, until, what);
    }
}

fn wake_all(me: &'static Context, address: usize) {
    tell(me, |kernel, caller| kernel.wake_address(place_of(caller, address), usize::MAX));
}

fn lock_mutex(me: &'static Context, mutex: *mut libc::pthread_mutex_t, until: Option<Nanos>) -> i32 {
    acquire(me, mutex.addr(), until, "pthread_mutex_lock", || real!(c"pthread_mutex_trylock", mutex))
}

fn unlock_mutex(me: &'static Context, mutex: *mut libc::pthread_mutex_t) -> i32 {
    let failed = real!(c"pthread_mutex_unlock", mutex);
    tell(me, |kernel, caller| kernel.wake_address(place_of(caller, mutex.addr()), 1));
    failed
}

fn wait_condition(
    me: &'static Context,
    condition: *mut libc::pthread_cond_t,
    mutex: *mut libc::pthread_mutex_t,
    until: Option<Nanos>,
) -> i32 {
    unlock_mutex(me, mutex);
    let was_woken = wait_address(me, condition.addr(), until, "pthread_cond_wait");
    match lock_mutex(me, mutex, None) {
        0 if !was_woken => libc::ETIMEDOUT,
        result => result,
    }
}

/// The clock of a condition: bit 1 of its flags, as glibc lays it out since 2.25, tells of the monotonic one.
unsafe fn clock_of(condition: *mut libc::pthread_cond_t) -> i32 {
    let flags = unsafe { condition.cast::<u32>().add(8).read() };
    if flags & 2 != 0 { libc::CLOCK_MONOTONIC } else { libc::CLOCK_REALTIME }
}

unsafe fn until_by(me: &'static Context, clock: i32, time: *const libc::timespec) -> Option<Nanos> {
    let at = unsafe { super::time::nanos(time) }.unwrap_or(0);
    Some(super::time::when(me, clock, at))
}

define! {
    /// Waits in virtual time.
    fn pthread_mutex_lock(mutex: *mut libc::pthread_mutex_t) -> i32 |me, real| { lock_mutex(me, mutex, None) }

    /// Waits in virtual time.
    fn pthread_mutex_timedlock(
        mutex: *mut libc::pthread_mutex_t,
        time: *const libc::timespec,
    ) -> i32 |me, real| {
        let until = until_by(me, libc::CLOCK_REALTIME, time);
        lock_mutex(me, mutex, until)
    }

    /// Lets one that waits go on.
    fn pthread_mutex_unlock(mutex: *mut libc::pthread_mutex_t) -> i32 |me, real| { unlock_mutex(me, mutex) }

    /// Waits in virtual time.
    fn pthread_cond_wait(
        condition: *mut libc::pthread_cond_t,
        mutex: *mut libc::pthread_mutex_t,
    ) -> i32 |me, real| { wait_condition(me, condition, mutex, None) }

    /// Waits in virtual time, by the clock that the condition was made for.
    fn pthread_cond_timedwait(
        condition: *mut libc::pthread_cond_t,
        mutex: *mut libc::pthread_mutex_t,
        time: *const libc::timespec,
    ) -> i32 |me, real| {
        let until = until_by(me, clock_of(condition), time);
        wait_condition(me, condition, mutex, until)
    }

    /// Waits in virtual time.
    fn pthread_cond_clockwait(
        condition: *mut libc::pthread_cond_t,
        mutex: *mut libc::pthread_mutex_t,
        clock: i32,
        time: *const libc::timespec,
    ) -> i32 |me, real| {
        let until = until_by(me, clock, time);
        wait_condition(me, condition, mutex, until)
    }

    /// Wakes one.
    fn pthread_cond_signal(condition: *mut libc::pthread_cond_t) -> i32 |me, real| {
        tell(me, |kernel, caller| kernel.wake_address(place_of(caller, condition.addr()), 1));
        0
    }

    /// Wakes all.
    fn pthread_cond_broadcast(condition: *mut libc::pthread_cond_t) -> i32 |me, real| {
        wake_all(me, condition.addr());
        0
    }

    /// Waits in virtual time.
    fn pthread_rwlock_rdlock(lock: *mut libc::pthread_rwlock_t) -> i32 |me, real| {
        acquire(me, lock.addr(), None, "pthread_rwlock_rdlock", || real!(c"pthread_rwlock_tryrdlock", lock))
    }

    /// Waits in virtual time.
    fn pthread_rwlock_wrlock(lock: *mut libc::pthread_rwlock_t) -> i32 |me, real| {
        acquire(me, lock.addr(), None, "pthread_rwlock_wrlock", || real!(c"pthread_rwlock_trywrlock", lock))
    }

    /// Lets those that wait try again.
    fn pthread_rwlock_unlock(lock: *mut libc::pthread_rwlock_t) -> i32 |me, real| {
        let failed = real();
        wake_all(me, lock.addr());
        failed
    }

    /// Runs the function once; who comes meanwhile waits in virtual time.
    fn pthread_once(once: *mut libc::pthread_once_t, main: extern "C" fn()) -> i32 |me, real| {
        // What the C library does, without its wait: 0 new, 1 under way, 2 done.
        loop {
            match *once {
                0 => {
                    *once = 1;
                    main();
                    *once = 2;
                    wake_all(me, once.addr());
                    return 0;
                }
                1 => drop(wait_address(me, once.addr(), None, "pthread_once")),
                _ => return 0,
            }
        }
    }

    /// Waits in virtual time.
    fn sem_wait(semaphore: *mut libc::sem_t) -> i32 |me, real| {
        acquire(me, semaphore.addr(), None, "sem_wait", || match real!(c"sem_trywait", semaphore) {
            0 => 0,
            _ => libc::EBUSY,
        })
    }

    /// Waits in virtual time.
    fn sem_timedwait(semaphore: *mut libc::sem_t, time: *const libc::timespec) -> i32 |me, real| {
        let until = until_by(me, libc::CLOCK_REALTIME, time);
        let result = acquire(me, semaphore.addr(), until, "sem_timedwait", || {
            if real!(c"sem_trywait", semaphore) == 0 { 0 } else { libc::EBUSY }
        });
        if result == 0 { 0 } else { super::fail(crate::errno::Errno(result)) }
    }

    /// Lets one that waits go on.
    fn sem_post(semaphore: *mut libc::sem_t) -> i32 |me, real| {
        let failed = real();
        tell(me, |kernel, caller| kernel.wake_address(place_of(caller, semaphore.addr()), 1));
        failed
    }
}
