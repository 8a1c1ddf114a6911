//! Signals: what a process does about each, which ones wait to be done, and which thread does them. That handlers run, and
//! where, is the front end's.

use std::collections::BTreeMap;

use super::file::Caller;
use super::process::{Exit, Pid, Process};
use super::sched::{On, ThreadId, Wait};
use super::{Call, Kernel, Nanos};
use crate::errno::Errno;

/// Signals are numbered from 1.
const SIGNALS: i32 = 64;
/// Waits for signals, apart from addresses of programs and from files.
const WAITS: usize = 3 << 62;

/// A set of signals, as `sigset_t` begins.
pub(crate) type Mask = u64;

/// The set of one signal; of none, if there is no such signal.
pub(crate) fn bit(signal: i32) -> Mask {
    if (1..=SIGNALS).contains(&signal) { 1 << (signal - 1) } else { 0 }
}

/// What a program asked for with `sigaction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Action {
    /// The address of its function, `SIG_DFL` or `SIG_IGN`.
    pub(crate) handler: usize,
    pub(crate) flags: i32,
    /// What is held back while it runs.
    pub(crate) mask: Mask,
}

/// The signals of a process.
#[derive(Debug, Default)]
pub(super) struct Signals {
    actions: BTreeMap<i32, Action>,
    /// Those that nobody has done or taken yet.
    pending: Mask,
}

/// What becomes of a signal.
enum Fate {
    Nothing,
    Stops,
    GoesOn,
    Ends,
    Handled,
}

impl Signals {
    fn fate(&self, signal: i32) -> Fate {
        let handler = self.actions.get(&signal).map_or(libc::SIG_DFL, |action| action.handler);
        match signal {
            0 => Fate::Nothing,
            libc::SIGKILL => Fate::Ends,
            libc::SIGSTOP => Fate::Stops,
            _ if handler == libc::SIG_IGN => Fate::Nothing,
            _ if handler != libc::SIG_DFL => Fate::Handled,
            libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => Fate::Stops,
            libc::SIGCONT => Fate::GoesOn,
            // SIGPIPE is what Rust programs ignore.
            libc::SIGCHLD | libc::SIGPIPE | libc::SIGURG | libc::SIGWINCH => Fate::Nothing,
            _ => Fate::Ends,
        }
    }
}

impl Kernel {
    /// What a process does about a signal, and what it is to do from now on.
    ///
    /// # Errors
    /// `EINVAL` for what is no signal, and to change what nobody may.
    pub(crate) fn signal_action(
        &mut self,
        pid: Pid,
        signal: i32,
        new: Option<Action>,
    ) -> Result<Action, Errno> {
        let is_fixed = [libc::SIGKILL, libc::SIGSTOP].contains(&signal);
        if bit(signal) == 0 || (is_fixed && new.is_some()) {
            return Err(Errno::EINVAL);
        }
        let signals = &mut self.process_mut(pid).signals;
        let before = signals.actions.get(&signal).copied().unwrap_or_default();
        if let Some(new) = new {
            signals.actions.insert(signal, new);
            if new.handler == libc::SIG_IGN {
                signals.pending &= !bit(signal);
            }
        }
        Ok(before)
    }

    /// What a thread holds back; `change` gives what it is to hold back from now on.
    pub(crate) fn change_signal_mask(&mut self, thread: ThreadId, change: impl FnOnce(Mask) -> Mask) -> Mask {
        let mask = &mut self.thread_mut(thread).signal_mask;
        let before = *mask;
        *mask = change(before) & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP));
        before
    }

    /// Those of a process that are held back and wait.
    pub(crate) fn pending_signals(&self, pid: Pid) -> Mask {
        self.process(pid).signals.pending
    }

    /// Sends a signal to a process, or to a group; how many took it. 0 only asks.
    pub(crate) fn signal(&mut self, pid: Pid, is_group: bool, signal: i32) -> usize {
        let is_meant =
            |(other, process): &(Pid, &Process)| if is_group { process.group == pid } else { *other == pid };
        let meant: Vec<_> = self.live_processes().filter(is_meant).map(|(pid, _)| pid).collect();
        for pid in &meant {
            self.signal_process(*pid, None, signal);
        }
        meant.len()
    }

    /// Sends a signal to a process, for this thread of it to do if it may.
    pub(crate) fn signal_process(&mut self, pid: Pid, thread: Option<ThreadId>, signal: i32) {
        match self.process(pid).signals.fate(signal) {
            Fate::Nothing => {}
            Fate::Stops => self.stop(pid),
            Fate::GoesOn => self.go_on(pid),
            Fate::Ends if self.is_awaited(pid, signal) => self.post(pid, thread, signal),
            Fate::Ends => self.end_process(pid, Exit::Signal(signal)),
            Fate::Handled => {
                if signal == libc::SIGCONT {
                    self.go_on(pid);
                }
                self.post(pid, thread, signal);
            }
        }
    }

    /// Whether every thread holds it back, to take it with `sigwait`.
    fn is_awaited(&self, pid: Pid, signal: i32) -> bool {
        let mut threads = self.process(pid).threads.iter();
        signal != libc::SIGKILL && threads.all(|thread| self.thread(*thread).signal_mask & bit(signal) != 0)
    }

    fn post(&mut self, pid: Pid, thread: Option<ThreadId>, signal: i32) {
        let process = self.process_mut(pid);
        process.signals.pending |= bit(signal);
        // As Linux does: the first thread, if it may.
        let candidates: Vec<_> = thread.into_iter().chain(process.threads.iter().copied()).collect();
        let may = |thread: &ThreadId| self.thread(*thread).signal_mask & bit(signal) == 0;
        if let Some(thread) = candidates.into_iter().find(may) {
            self.interrupt(thread);
        }
        self.wake_address(WAITS | pid.index(), usize::MAX);
    }

    /// The next signal that a thread is to do: it is no longer pending.
    pub(crate) fn take_handled(&mut self, thread: ThreadId) -> Option<(i32, Action)> {
        let caller = self.caller(thread);
        let mask = self.thread(thread).signal_mask;
        let signals = &mut self.process_mut(caller.process).signals;
        let signal = first(signals.pending & !mask)?;
        signals.pending &= !bit(signal);
        let action = signals.actions.get_mut(&signal)?;
        let taken = *action;
        if taken.flags & libc::SA_RESETHAND != 0 {
            action.handler = libc::SIG_DFL;
        }
        (taken.handler > libc::SIG_IGN).then_some((signal, taken))
    }

    /// Whether a process has signals that wait.
    #[inline]
    pub(crate) fn has_signals(&self, thread: ThreadId) -> bool {
        self.process(self.process_of(thread)).signals.pending != 0
    }

    /// Takes one of these signals; waits for it.
    ///
    /// # Errors
    /// `EAGAIN` once the time is over.
    pub(crate) fn await_signal(&mut self, caller: Caller, wanted: Mask, until: Option<Nanos>) -> Call<i32> {
        let signals = &mut self.process_mut(caller.process).signals;
        if let Some(signal) = first(signals.pending & wanted) {
            signals.pending &= !bit(signal);
            return Ok(signal);
        }
        if until.is_some_and(|until| until <= self.now) {
            return Err(Errno::EAGAIN.into());
        }
        let on = On::Address(WAITS | caller.process.index());
        Err(Wait { on, until, what: "sigwait" }.into())
    }
}

fn first(mask: Mask) -> Option<i32> {
    (mask != 0).then(|| i32::try_from(mask.trailing_zeros() + 1).unwrap_or(0))
}
