//! Signals as programs handle them: a handler runs on a thread of its process, when that thread has its turn and before it
//! returns from the call in which it waited. Timers by signal, alternate stacks and `signalfd` are not simulated.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::os::raw::c_void;

use super::{ask, define, fail, tell, zero};
use crate::errno::{Errno, Result};
use crate::kernel::{Action, Kernel, Mask, Nanos, Pid, bit};
use crate::switch::{self, Context};

/// What came of the signals that a thread was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// There was none.
    No,
    /// All handlers let calls go on that they interrupted (`SA_RESTART`).
    Restarts,
    /// Calls that they interrupted fail with `EINTR`.
    Fails,
}

/// Runs the handlers of what the calling thread has to do.
pub(crate) fn handle(me: &'static Context) -> Interrupted {
    let mut interrupted = Interrupted::No;
    while let Some((signal, action)) = switch::with(|world| world.kernel.take_handled(me.id())) {
        let held_back = if action.flags & libc::SA_NODEFER == 0 { bit(signal) } else { 0 };
        let before = change_mask(me, |mask| mask | action.mask | held_back);
        // SAFETY: the thread's own errno; the handler was given as a function of the type that its flags tell.
        unsafe {
            let errno = *libc::__errno_location();
            call(signal, action);
            *libc::__errno_location() = errno;
        }
        change_mask(me, |_| before);
        let restarts = action.flags & libc::SA_RESTART != 0 && interrupted != Interrupted::Fails;
        interrupted = if restarts { Interrupted::Restarts } else { Interrupted::Fails };
    }
    if tell(me, |kernel, caller| kernel.exit_of(caller.process).is_some()) {
        switch::leave_for_ever(me);
    }
    interrupted
}

unsafe fn call(signal: i32, action: Action) {
    type Simple = unsafe extern "C" fn(i32);
    type Informed = unsafe extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void);
    if action.flags & libc::SA_SIGINFO == 0 {
        return std::mem::transmute::<usize, Simple>(action.handler)(signal);
    }
    let mut info: libc::siginfo_t = std::mem::zeroed();
    info.si_signo = signal;
    let mut context: libc::ucontext_t = std::mem::zeroed();
    let handler = std::mem::transmute::<usize, Informed>(action.handler);
    handler(signal, &raw mut info, (&raw mut context).cast());
}

fn change_mask(me: &'static Context, change: impl FnOnce(Mask) -> Mask) -> Mask {
    switch::with(|world| world.kernel.change_signal_mask(me.id(), change))
}

/// Runs a call with another mask, if there is one; what that lets through interrupts it.
pub(super) unsafe fn with_mask<T>(
    me: &'static Context,
    mask: *const libc::sigset_t,
    f: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if mask.is_null() {
        return f();
    }
    let mask = mask.cast::<Mask>().read();
    let before = change_mask(me, |_| mask);
    let done = if handle(me) == Interrupted::No { f() } else { Err(Errno::EINTR) };
    change_mask(me, |_| before);
    done
}

/// Sends a signal; a process that it ends runs no further.
fn send(me: &'static Context, signal: i32, to: impl FnOnce(&mut Kernel, Pid) -> bool) -> Result<()> {
    if signal != 0 && bit(signal) == 0 {
        return Err(Errno::EINVAL);
    }
    let is_there = tell(me, |kernel, caller| to(kernel, caller.process));
    // What it sent to itself is done when the call returns.
    handle(me);
    if is_there { Ok(()) } else { Err(Errno::ESRCH) }
}

unsafe fn change(
    me: &'static Context,
    how: i32,
    new: *const libc::sigset_t,
    old: *mut libc::sigset_t,
) -> i32 {
    let new = if new.is_null() { None } else { Some(new.cast::<Mask>().read()) };
    if new.is_some() && ![libc::SIG_BLOCK, libc::SIG_UNBLOCK, libc::SIG_SETMASK].contains(&how) {
        return libc::EINVAL;
    }
    let before = change_mask(me, |mask| match (new, how) {
        (None, _) => mask,
        (Some(new), libc::SIG_BLOCK) => mask | new,
        (Some(new), libc::SIG_UNBLOCK) => mask & !new,
        (Some(new), _) => new,
    });
    if !old.is_null() {
        write_set(old, before);
    }
    // What was let through is done at once.
    handle(me);
    0
}

unsafe fn write_set(into: *mut libc::sigset_t, mask: Mask) {
    into.write(std::mem::zeroed());
    into.cast::<Mask>().write(mask);
}

/// Takes one of a set of signals, by a deadline.
unsafe fn await_one(me: &'static Context, set: *const libc::sigset_t, until: Option<Nanos>) -> Result<i32> {
    let wanted = set.cast::<Mask>().read();
    ask(me, |kernel, caller| kernel.await_signal(caller, wanted, until))
}

define! {
    /// Signals a process of the host. Each is a group of its own; all at once cannot be signalled.
    fn kill(pid: i32, signal: i32) -> i32 |me, real| {
        if pid == -1 {
            return fail(Errno::EPERM);
        }
        zero(send(me, signal, |kernel, own| {
            let meant = if pid == 0 { Some(own) } else { kernel.neighbour(own, pid.saturating_abs()) };
            meant.is_some_and(|pid| kernel.signal(pid, None, signal))
        }))
    }

    /// Signals the calling thread.
    fn raise(signal: i32) -> i32 |me, real| {
        zero(send(me, signal, |kernel, own| {
            kernel.signal(own, Some(me.id()), signal)
        }))
    }

    /// Signals the process, for this thread to handle it.
    fn pthread_kill(thread: libc::pthread_t, signal: i32) -> i32 |me, real| {
        let Some(thread) = switch::with(|world| switch::thread_of(world, thread)) else { return libc::ESRCH };
        let sent = send(me, signal, |kernel, _| {
            kernel.signal(kernel.process_of(thread), Some(thread), signal)
        });
        sent.map_or_else(|errno| errno.0, |()| 0)
    }

    /// What the calling process does about a signal.
    fn sigaction(signal: i32, new: *const libc::sigaction, old: *mut libc::sigaction) -> i32 |me, real| {
        let wanted = if new.is_null() {
            None
        } else {
            let mask = (&raw const (*new).sa_mask).cast::<Mask>().read();
            Some(Action { handler: (*new).sa_sigaction, flags: (*new).sa_flags, mask })
        };
        let before = tell(me, |kernel, caller| kernel.signal_action(caller.process, signal, wanted));
        zero(before.map(|before| {
            if !old.is_null() {
                old.write(std::mem::zeroed());
                (*old).sa_sigaction = before.handler;
                (*old).sa_flags = before.flags;
                write_set(&raw mut (*old).sa_mask, before.mask);
            }
        }))
    }

    /// What the calling process does about a signal; calls that it interrupts go on.
    fn signal(signal: i32, handler: libc::sighandler_t) -> libc::sighandler_t |me, real| {
        let action = Action { handler, flags: libc::SA_RESTART, mask: 0 };
        match tell(me, |kernel, caller| kernel.signal_action(caller.process, signal, Some(action))) {
            Ok(before) => before.handler,
            Err(errno) => {
                fail(errno);
                libc::SIG_ERR
            }
        }
    }

    /// What the calling thread holds back.
    fn pthread_sigmask(how: i32, new: *const libc::sigset_t, old: *mut libc::sigset_t) -> i32 |me, real| {
        change(me, how, new, old)
    }

    /// What the calling thread holds back.
    fn sigprocmask(how: i32, new: *const libc::sigset_t, old: *mut libc::sigset_t) -> i32 |me, real| {
        match change(me, how, new, old) {
            0 => 0,
            errno => fail(Errno(errno)),
        }
    }

    /// What is held back and waits.
    fn sigpending(into: *mut libc::sigset_t) -> i32 |me, real| {
        write_set(into, tell(me, |kernel, caller| {
            let held_back = kernel.change_signal_mask(caller.thread, |mask| mask);
            kernel.pending_signals(caller.thread) & held_back
        }));
        0
    }

    /// Waits in virtual time for one of these, which all threads hold back. It returns its error.
    fn sigwait(set: *const libc::sigset_t, signal: *mut i32) -> i32 |me, real| {
        match await_one(me, set, None) {
            Ok(taken) => {
                *signal = taken;
                0
            }
            Err(errno) => errno.0,
        }
    }

    /// As `sigwait`; of what is told about the signal, its number.
    fn sigwaitinfo(set: *const libc::sigset_t, info: *mut libc::siginfo_t) -> i32 |me, real| {
        waited(await_one(me, set, None), info)
    }

    /// As `sigwaitinfo`, for so long.
    fn sigtimedwait(
        set: *const libc::sigset_t,
        info: *mut libc::siginfo_t,
        time: *const libc::timespec,
    ) -> i32 |me, real| {
        match super::polling::deadline_in(me, time) {
            Ok(until) => waited(await_one(me, set, until), info),
            Err(errno) => fail(errno),
        }
    }

    /// Says that there is a stack for signals already: all threads are carried by one, whose it would be.
    fn sigaltstack(_new: *const c_void, old: *mut libc::stack_t) -> i32 |me, real| {
        if !old.is_null() {
            *old = std::mem::zeroed();
        }
        0
    }
}

unsafe fn waited(taken: Result<i32>, info: *mut libc::siginfo_t) -> i32 {
    if let (Ok(signal), false) = (taken, info.is_null()) {
        info.write(std::mem::zeroed());
        (*info).si_signo = signal;
    }
    super::int(taken)
}
