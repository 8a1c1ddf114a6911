//! A program that spins without ever giving up its turn: nothing else of the simulation can happen. It is stopped, with its host,
//! its stack and the seed, once it has used so much time of the processor.
#![expect(unsafe_code, reason = "the thread that spins is told by a signal")]

use std::os::raw::c_void;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::statics::shared;
use crate::switch;

/// How often the watchdog looks.
const LOOK: Duration = Duration::from_millis(200);
/// What the process exits with when a thread spins; it has printed `error: WHO spins …` and the frames of its stack.
pub const SPINS: i32 = 71;

shared! {
    /// Turns given so far.
    static TURNS: AtomicU64 = AtomicU64::new(0);
    static IS_OVER: AtomicBool = AtomicBool::new(false);
}

/// A turn was given: nobody spins.
#[inline]
pub(crate) fn turned(turns: u64) {
    TURNS.store(turns, Ordering::Relaxed);
}

/// The simulation is over, or has not begun.
pub(crate) fn over(is_over: bool) {
    IS_OVER.store(is_over, Ordering::Relaxed);
}

/// Watches the calling OS thread, which carries all simulated ones, from one of its own.
pub(crate) fn watch(limit: Duration) {
    // SAFETY: the handler has the type that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_flags = libc::SA_SIGINFO;
        action.sa_sigaction = on_spin as *const () as usize;
        libc::sigaction(libc::SIGVTALRM, &raw const action, std::ptr::null_mut());
    }
    // SAFETY: names the calling thread.
    let carrier = unsafe { libc::pthread_self() };
    switch::beside("sim-watchdog", move || {
        let (mut seen, mut since) = (u64::MAX, Duration::ZERO);
        while !IS_OVER.load(Ordering::Relaxed) {
            let turns = TURNS.load(Ordering::Relaxed);
            let used = processor_time(carrier);
            if turns != seen {
                (seen, since) = (turns, used);
            } else if used.saturating_sub(since) > limit {
                // SAFETY: the carrier lives until the simulation is over, and then nobody is told.
                unsafe { libc::pthread_kill(carrier, libc::SIGVTALRM) };
                return;
            }
            std::thread::sleep(LOOK);
        }
    });
}

/// What a thread has used of the processor. Waiting and other processes do not count.
fn processor_time(thread: libc::pthread_t) -> Duration {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both only write to where they are told; a thread that has gone has no clock, which they say.
    let failed = unsafe {
        libc::pthread_getcpuclockid(thread, &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
    };
    if failed {
        return Duration::ZERO;
    }
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Runs on the stack of the thread that spins.
#[expect(clippy::print_stderr, reason = "the process ends here, and says why")]
extern "C" fn on_spin(_signal: i32, _info: *mut libc::siginfo_t, _context: *mut c_void) {
    let who = switch::me().map(switch::describe);
    switch::outside(|| {
        let trace = std::backtrace::Backtrace::force_capture().to_string();
        // Above the handler's frames stand those of the program that it interrupted.
        let lines: Vec<_> = trace.lines().collect();
        let handler = lines.iter().position(|line| line.contains("on_spin")).map_or(0, |place| place + 1);
        let frames: Vec<_> = lines.into_iter().skip(handler).take(40).collect();
        let who = who.as_deref().unwrap_or("the simulator itself");
        eprintln!("error: {who} spins without ever giving up its turn\n{}", frames.join("\n"));
        // SAFETY: ends this process; nothing of the simulation goes on.
        unsafe { libc::_exit(SPINS) }
    });
}
