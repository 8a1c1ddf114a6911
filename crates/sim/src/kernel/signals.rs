//! Signals: what a process does about each, which ones wait to be done, and which thread does them. How handlers
//! run is the front end's.

use std::collections::BTreeMap;

use super::file::Caller;
use super::process::{Exit, Pid};
use super::sched::{On, Thread, ThreadId, Wait};
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
    /// Those that no thread has done or taken yet.
    pending: Mask,
}

/// The signals of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ThreadSignals {
    /// What it holds back.
    mask: Mask,
    /// Those that were sent to it and not yet done or taken.
    pending: Mask,
}

impl ThreadSignals {
    /// Of a new thread, which holds these back.
    pub(super) fn new(mask: Mask) -> Self {
        Self { mask, pending: 0 }
    }
}

/// What becomes of a signal.
enum Fate {
    Nothing,
    Stops,
    GoesOn,
    Ends,
    Handled(Action),
}

impl Signals {
    fn fate(&self, signal: i32) -> Fate {
        let action = self.actions.get(&signal).copied().unwrap_or_default();
        match signal {
            libc::SIGKILL => Fate::Ends,
            libc::SIGSTOP => Fate::Stops,
            _ if action.handler == libc::SIG_IGN => Fate::Nothing,
            _ if action.handler != libc::SIG_DFL => Fate::Handled(action),
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
        }
        Ok(before)
    }

    /// What a thread holds back; `change` gives what it is to hold back from now on.
    pub(crate) fn change_signal_mask(&mut self, thread: ThreadId, change: impl FnOnce(Mask) -> Mask) -> Mask {
        let mask = &mut self.thread_mut(thread).signals.mask;
        let before = *mask;
        *mask = change(before) & !(bit(libc::SIGKILL) | bit(libc::SIGSTOP));
        before
    }

    /// Whether any has ever been left for a thread to do.
    #[inline]
    pub(crate) fn has_signals(&self) -> bool {
        self.has_signals
    }

    /// Those that a thread could do or take, if it held nothing back.
    pub(crate) fn pending_signals(&self, thread: ThreadId) -> Mask {
        let Thread { process, signals, .. } = self.thread(thread);
        signals.pending | self.process(*process).signals.pending
    }

    /// Sends a signal to a process, or to one thread of it; whether it is there. 0 only asks.
    pub(crate) fn signal(&mut self, pid: Pid, thread: Option<ThreadId>, signal: i32) -> bool {
        let is_there = self.exit_of(pid).is_none();
        if is_there && signal != 0 {
            self.send_signal(pid, thread, signal);
        }
        is_there
    }

    fn send_signal(&mut self, pid: Pid, thread: Option<ThreadId>, signal: i32) {
        if signal == libc::SIGCONT {
            self.go_on(pid);
        }
        let process = self.process_mut(pid);
        let is_handled = matches!(process.signals.fate(signal), Fate::Handled(_));
        // As Linux has it: the first thread, if it may.
        let candidates: Vec<_> = thread.map_or_else(|| process.threads.clone(), |thread| vec![thread]);
        let may = |thread: &ThreadId| self.thread(*thread).signals.mask & bit(signal) == 0;
        let ready = candidates.into_iter().find(may);
        let is_fixed = [libc::SIGKILL, libc::SIGSTOP].contains(&signal);
        if is_fixed || (ready.is_some() && !is_handled) {
            return self.suffer(pid, signal);
        }
        self.has_signals = true;
        match thread {
            Some(thread) => self.thread_mut(thread).signals.pending |= bit(signal),
            None => self.process_mut(pid).signals.pending |= bit(signal),
        }
        if let Some(ready) = ready {
            self.interrupt(ready);
        }
        self.wake_address(WAITS | pid.index(), usize::MAX);
    }

    /// Does to a process what a signal does without a handler.
    fn suffer(&mut self, pid: Pid, signal: i32) {
        match self.process(pid).signals.fate(signal) {
            Fate::Nothing | Fate::GoesOn | Fate::Handled(_) => {}
            Fate::Stops => self.stop(pid),
            Fate::Ends => self.end_process(pid, Exit::Signal(signal)),
        }
    }

    /// The next handler that a thread is to run. What has none is done to the process, which may end by it.
    pub(crate) fn take_handled(&mut self, thread: ThreadId) -> Option<(i32, Action)> {
        let pid = self.process_of(thread);
        loop {
            let signal = first(self.pending_signals(thread) & !self.thread(thread).signals.mask)?;
            self.take(thread, signal);
            let signals = &mut self.process_mut(pid).signals;
            match signals.fate(signal) {
                Fate::Handled(action) => {
                    if action.flags & libc::SA_RESETHAND != 0 {
                        signals.actions.remove(&signal);
                    }
                    return Some((signal, action));
                }
                _ => self.suffer(pid, signal),
            }
        }
    }

    /// It is pending no more.
    fn take(&mut self, thread: ThreadId, signal: i32) {
        let Thread { process, signals, .. } = self.thread_mut(thread);
        let pid = *process;
        let was_its = signals.pending & bit(signal) != 0;
        signals.pending &= !bit(signal);
        if !was_its {
            self.process_mut(pid).signals.pending &= !bit(signal);
        }
    }

    /// Takes one of these signals; waits for it.
    ///
    /// # Errors
    /// `EAGAIN` once the time is over.
    pub(crate) fn await_signal(&mut self, caller: Caller, wanted: Mask, until: Option<Nanos>) -> Call<i32> {
        if let Some(signal) = first(self.pending_signals(caller.thread) & wanted) {
            self.take(caller.thread, signal);
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
