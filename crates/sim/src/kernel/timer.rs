//! Timer descriptors, and alarms of processes.

use super::file::{FileId, Kind, Timing};
use super::process::Process;
use super::{Call, Caller, Event, HostId, Kernel, Nanos, Pid, epoll::epoll_bits::IN};
use crate::errno::{Errno, Result};

/// A timerfd.
#[derive(Debug)]
pub(crate) struct Timer {
    host: HostId,
    is_wall: bool,
    next: Option<Nanos>,
    /// In the host's time; 0: it rings once.
    interval: Nanos,
    pub(super) rings: u64,
    /// Counts settings, so that an earlier one rings no more.
    setting: u64,
}

/// What sends its process SIGALRM.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Alarm {
    next: Option<Nanos>,
    interval: Nanos,
    /// As a [`Timer`]'s.
    setting: u64,
}

/// When a timer rings: in how long, and then how often; 0: not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) value: Nanos,
    pub(crate) interval: Nanos,
}

impl Kernel {
    /// A timer that does not ring yet, on the wall clock or the monotonic one.
    pub(crate) fn open_timer(&mut self, host: HostId, is_wall: bool, is_nonblocking: bool) -> FileId {
        let timer = Timer { host, is_wall, next: None, interval: 0, rings: 0, setting: 0 };
        self.open_file(Kind::Timer(timer), is_nonblocking)
    }

    fn timer(&mut self, id: FileId) -> Result<&mut Timer> {
        match &mut self.files[id].kind {
            Kind::Timer(timer) => Ok(timer),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Sets it; gives what was set before.
    pub(crate) fn set_timer(&mut self, id: FileId, setting: Setting, is_absolute: bool) -> Result<Setting> {
        let before = self.timer_setting(id)?;
        let now = self.now;
        let timer = self.timer(id)?;
        let (host, is_wall) = (timer.host, timer.is_wall);
        timer.setting += 1;
        (timer.rings, timer.interval, timer.next) = (0, setting.interval, None);
        if setting.value > 0 {
            let clock = self.clocks[host.index()];
            let at = match (is_absolute, is_wall) {
                (false, _) => clock.after(now, setting.value),
                (true, true) => clock.when_wall(setting.value),
                (true, false) => clock.when_monotonic(setting.value),
            };
            let at = at.max(now);
            let timer = self.timer(id)?;
            timer.next = Some(at);
            let event = Event::Timer(id, timer.setting);
            self.agenda.push(at, event);
        }
        Ok(before)
    }

    /// How long until it rings, and then how often.
    pub(crate) fn timer_setting(&mut self, id: FileId) -> Result<Setting> {
        let now = self.now;
        let timer = self.timer(id)?;
        let value = timer.next.map_or(0, |next| next.saturating_sub(now).max(1));
        Ok(Setting { value, interval: timer.interval })
    }

    /// An entry of the agenda: it rings, if it is still set so.
    pub(super) fn ring(&mut self, at: Nanos, id: FileId, setting: u64) {
        let Some(Kind::Timer(timer)) = self.files.get_mut(id).map(|file| &mut file.kind) else { return };
        if timer.setting != setting || timer.next != Some(at) {
            return;
        }
        timer.rings += 1;
        timer.next = None;
        let (host, interval) = (timer.host, timer.interval);
        self.pass(at);
        if interval > 0 {
            let next = self.clocks[host.index()].after(at, interval);
            if let Ok(timer) = self.timer(id) {
                timer.next = Some(next);
            }
            self.agenda.push(next, Event::Timer(id, setting));
        }
        self.notify(id, IN);
    }

    /// Reads how often it has rung since the last read.
    pub(super) fn read_timer(&mut self, id: FileId, timing: Timing) -> Call<u64> {
        let rings = std::mem::take(&mut self.timer(id)?.rings);
        if rings == 0 { Err(self.not_now(id, timing, "read of a timer")) } else { Ok(rings) }
    }

    /// Sets the alarm of the caller's process; gives what was set before.
    pub(crate) fn set_alarm(&mut self, caller: Caller, setting: Setting) -> Setting {
        let before = self.alarm_setting(caller);
        let next = self.clocks[caller.host.index()].after(self.now, setting.value);
        let alarm = &mut self.process_mut(caller.process).alarm;
        alarm.next = (setting.value > 0).then_some(next);
        alarm.interval = setting.interval;
        alarm.setting += 1;
        if setting.value > 0 {
            let event = Event::Alarm(caller.process, alarm.setting);
            self.agenda.push(next, event);
        }
        before
    }

    /// How long until the alarm of the caller's process goes off, and then how often.
    pub(crate) fn alarm_setting(&self, caller: Caller) -> Setting {
        let Alarm { next, interval, .. } = self.process(caller.process).alarm;
        Setting { value: next.map_or(0, |next| next.saturating_sub(self.now).max(1)), interval }
    }

    /// An entry of the agenda: it goes off, if it is still set so.
    pub(super) fn go_off(&mut self, at: Nanos, pid: Pid, setting: u64) {
        let Process { host, exit, alarm, .. } = self.process(pid);
        let (host, interval) = (*host, alarm.interval);
        if alarm.setting != setting || exit.is_some() {
            return;
        }
        self.pass(at);
        let next = self.clocks[host.index()].after(at, interval);
        self.process_mut(pid).alarm.next = (interval > 0).then_some(next);
        if interval > 0 {
            self.agenda.push(next, Event::Alarm(pid, setting));
        }
        self.signal(pid, None, libc::SIGALRM);
    }
}
