//! Event queues, eventfd, poll and select, pipes.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use super::signals::with_mask;
use super::time::{after, nanos};
use super::{ask_once, define, descriptor, fail, int, new_fd, simulated, tell, zero};
use crate::errno::{Errno, Result};
use crate::kernel::{Descriptor, Interest, Nanos, PollEntry, Timing};
use crate::switch::Context;

const MILLISECOND: Nanos = 1_000_000;

/// When a wait of so many milliseconds is over; negative: never.
fn deadline(me: &'static Context, milliseconds: i32) -> Option<Nanos> {
    let time = Nanos::try_from(milliseconds).ok()? * MILLISECOND;
    Some(tell(me, |kernel, caller| if time == 0 { kernel.now } else { after(kernel, caller, time) }))
}

pub(super) unsafe fn deadline_in(me: &'static Context, time: *const libc::timespec) -> Result<Option<Nanos>> {
    if time.is_null() {
        return Ok(None);
    }
    let time = nanos(time)?;
    Ok(Some(tell(me, |kernel, caller| after(kernel, caller, time))))
}

unsafe fn take_events(
    me: &'static Context,
    epoll: crate::kernel::FileId,
    into: *mut libc::epoll_event,
    max: i32,
    until: Option<Nanos>,
) -> Result<i32> {
    let max = usize::try_from(max).ok().filter(|max| *max > 0).ok_or(Errno::EINVAL)?;
    let timing = Timing { is_nonblocking: false, until };
    let take = |index: usize, event: Interest| unsafe {
        into.add(index).write_unaligned(libc::epoll_event { events: event.mask, u64: event.data });
    };
    let count = ask_once(me, |kernel, caller| {
        let count = kernel.take_events(epoll, max, timing, take)?;
        if count == 0 {
            // Who only looks whether something has happened must see time pass.
            kernel.clock_read(caller.thread);
        }
        Ok(count)
    })?;
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

unsafe fn poll_files(me: &'static Context, fds: &mut [libc::pollfd], until: Option<Nanos>) -> Result<i32> {
    let mut entries: Vec<_> = fds
        .iter()
        .map(|fd| {
            let wanted = u32::from(fd.events.cast_unsigned());
            match (fd.fd < 0, descriptor(me, fd.fd)) {
                (true, _) => PollEntry { file: None, wanted, found: 0 },
                (_, Descriptor::Simulated(file)) => PollEntry { file: Some(file), wanted, found: 0 },
                // A file of this machine is ready at any time.
                (_, Descriptor::Real) => {
                    let always = u32::from((libc::POLLIN | libc::POLLOUT).cast_unsigned());
                    PollEntry { file: None, wanted, found: wanted & always }
                }
                (_, Descriptor::Closed) => {
                    PollEntry { file: None, wanted, found: u32::from(libc::POLLNVAL.cast_unsigned()) }
                }
            }
        })
        .collect();
    let count = ask_once(me, |kernel, _| kernel.poll(&mut entries, until))?;
    for (fd, entry) in fds.iter_mut().zip(entries) {
        fd.revents = u16::try_from(entry.found & 0xffff).unwrap_or_default().cast_signed();
    }
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

unsafe fn open_pipe(me: &'static Context, into: *mut i32, flags: i32) -> Result<()> {
    let [reader, writer] = tell(me, |kernel, caller| {
        let (reader, writer) = kernel.open_pipe(None, flags & libc::O_NONBLOCK != 0);
        Ok([new_fd(kernel, caller, reader)?, new_fd(kernel, caller, writer)?])
    })?;
    into.write(reader);
    into.add(1).write(writer);
    Ok(())
}

fn open_event(me: &'static Context, count: u32, flags: i32) -> Result<i32> {
    tell(me, |kernel, caller| {
        let is_semaphore = flags & libc::EFD_SEMAPHORE != 0;
        let file = kernel.open_event(count.into(), is_semaphore, flags & libc::EFD_NONBLOCK != 0);
        new_fd(kernel, caller, file)
    })
}

fn open_epoll(me: &'static Context) -> Result<i32> {
    tell(me, |kernel, caller| {
        let file = kernel.open_epoll();
        new_fd(kernel, caller, file)
    })
}

/// The sets of `select` as a list for `poll`.
unsafe fn select_files(
    me: &'static Context,
    count: i32,
    sets: [*mut libc::fd_set; 3],
    until: Option<Nanos>,
) -> Result<i32> {
    let wanted = [libc::POLLIN, libc::POLLOUT, libc::POLLPRI];
    let mut fds = Vec::new();
    for fd in 0..count {
        let mut events = 0;
        for (set, bit) in sets.iter().zip(wanted) {
            if !set.is_null() && libc::FD_ISSET(fd, *set) {
                events |= bit;
            }
        }
        if events != 0 {
            fds.push(libc::pollfd { fd, events, revents: 0 });
        }
    }
    poll_files(me, &mut fds, until)?;
    for set in sets.into_iter().filter(|set| !set.is_null()) {
        libc::FD_ZERO(set);
    }
    let mut found = 0;
    for fd in fds {
        for (set, bit) in sets.iter().zip(wanted) {
            if !set.is_null() && fd.revents & bit != 0 {
                libc::FD_SET(fd.fd, *set);
                found += 1;
            }
        }
    }
    Ok(found)
}

define! {
    /// A simulated event queue.
    fn epoll_create1(_flags: i32) -> i32 |me, real| { int(open_epoll(me)) }

    /// A simulated event queue.
    fn epoll_create(_size: i32) -> i32 |me, real| { int(open_epoll(me)) }

    /// Watches simulated descriptors. One of this machine never becomes ready: what reaches a simulated program from there
    /// would be no part of its seed.
    fn epoll_ctl(epoll: i32, operation: i32, fd: i32, event: *mut libc::epoll_event) -> i32 |me, real| {
        let epoll = simulated!(me, epoll, real);
        let file = match descriptor(me, fd) {
            Descriptor::Simulated(file) => file,
            Descriptor::Real => return 0,
            Descriptor::Closed => return fail(Errno::EBADF),
        };
        let interest = || {
            let event = event.read_unaligned();
            Interest { mask: event.events, data: event.u64 }
        };
        zero(tell(me, |kernel, _| match operation {
            libc::EPOLL_CTL_ADD => kernel.watch(epoll, file, fd, interest()),
            libc::EPOLL_CTL_MOD => kernel.watch_again(epoll, file, fd, interest()),
            libc::EPOLL_CTL_DEL => kernel.unwatch(epoll, file, fd),
            _ => Err(Errno::EINVAL),
        }))
    }

    /// Waits for events in virtual time.
    fn epoll_wait(epoll: i32, into: *mut libc::epoll_event, max: i32, milliseconds: i32) -> i32 |me, real| {
        let epoll = simulated!(me, epoll, real);
        let until = deadline(me, milliseconds);
        int(take_events(me, epoll, into, max, until))
    }

    /// As `epoll_wait`, holding back other signals.
    fn epoll_pwait(
        epoll: i32,
        into: *mut libc::epoll_event,
        max: i32,
        milliseconds: i32,
        mask: *const libc::sigset_t,
    ) -> i32 |me, real| {
        let epoll = simulated!(me, epoll, real);
        let until = deadline(me, milliseconds);
        int(with_mask(me, mask, || take_events(me, epoll, into, max, until)))
    }

    /// As `epoll_pwait`, with nanoseconds.
    fn epoll_pwait2(
        epoll: i32,
        into: *mut libc::epoll_event,
        max: i32,
        time: *const libc::timespec,
        mask: *const libc::sigset_t,
    ) -> i32 |me, real| {
        let epoll = simulated!(me, epoll, real);
        let until = deadline_in(me, time);
        int(until.and_then(|until| with_mask(me, mask, || take_events(me, epoll, into, max, until))))
    }

    /// A simulated counter.
    fn eventfd(count: u32, flags: i32) -> i32 |me, real| { int(open_event(me, count, flags)) }

    /// Waits in virtual time. Descriptors of this machine count as ready.
    fn poll(fds: *mut libc::pollfd, count: libc::nfds_t, milliseconds: i32) -> i32 |me, real| {
        let until = deadline(me, milliseconds);
        int(poll_files(me, slice(fds, count as usize), until))
    }

    /// As `poll`, holding back other signals.
    fn ppoll(
        fds: *mut libc::pollfd,
        count: libc::nfds_t,
        time: *const libc::timespec,
        mask: *const libc::sigset_t,
    ) -> i32 |me, real| {
        let until = deadline_in(me, time);
        int(until.and_then(|until| with_mask(me, mask, || poll_files(me, slice(fds, count as usize), until))))
    }

    /// As `poll`. Simulated descriptors have numbers beyond what its sets hold, so that it only sleeps or sees standard
    /// streams.
    fn select(
        count: i32,
        read: *mut libc::fd_set,
        write: *mut libc::fd_set,
        except: *mut libc::fd_set,
        time: *mut libc::timeval,
    ) -> i32 |me, real| {
        let until = if time.is_null() {
            None
        } else {
            let micros = (*time).tv_sec * 1_000_000 + (*time).tv_usec;
            let time = Nanos::try_from(micros).unwrap_or_default() * 1000;
            Some(tell(me, |kernel, caller| after(kernel, caller, time)))
        };
        int(select_files(me, count, [read, write, except], until))
    }

    /// A simulated pipe.
    fn pipe(into: *mut i32) -> i32 |me, real| { zero(open_pipe(me, into, 0)) }

    /// A simulated pipe.
    fn pipe2(into: *mut i32, flags: i32) -> i32 |me, real| { zero(open_pipe(me, into, flags)) }
}

unsafe fn slice<'s, T>(start: *mut T, count: usize) -> &'s mut [T] {
    if count == 0 { &mut [] } else { std::slice::from_raw_parts_mut(start, count) }
}
