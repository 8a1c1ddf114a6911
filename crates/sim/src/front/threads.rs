//! Threads and what is theirs: start, join, destructors of thread-locals, turns, identity. Cancellation, scheduling classes
//! and affinity are not simulated.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::collections::BTreeMap;
use std::os::raw::{c_char, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::statics::shared;
use super::{define, fail, next_symbol, statics, tell};
use crate::errno::Errno;
use crate::kernel::{Caller, Nanos, On, Pid, Wait};
use crate::switch::{self, Context};

type KeyDestructor = unsafe extern "C" fn(*mut c_void);
/// A program's addresses have no more.
const ADDRESS_BITS: u32 = 47;

type ThreadMain = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

/// A key of thread-locals; the C library keeps its destructor to itself.
#[derive(Clone, Copy)]
struct Key {
    key: libc::pthread_key_t,
    destructor: Option<KeyDestructor>,
}

/// Keys in order of creation. The C library has a thousand for all: processes share them, by what was created before them.
#[derive(Default)]
struct Keys {
    /// Of threads outside of a simulation, before there was one.
    outside: Vec<Key>,
    /// Of the C library's, those that any process may have.
    pool: Vec<libc::pthread_key_t>,
    processes: BTreeMap<Pid, Vec<Key>>,
}

shared! { static KEYS: Mutex<Option<Keys>> = Mutex::new(None); }

/// Runs the destructors of the calling thread's keys once; whether there was any.
pub(crate) fn run_key_destructors(me: &'static Context) -> bool {
    let process = tell(me, |_, caller| caller.process);
    let own = |keys: &mut Keys| {
        let of_process = keys.processes.get(&process).into_iter().flatten();
        keys.outside.iter().chain(of_process).copied().collect::<Vec<_>>()
    };
    let mut found = false;
    for Key { key, destructor } in with_keys(own) {
        let Some(destructor) = destructor else { continue };
        let value = unsafe { libc::pthread_getspecific(key) };
        if !value.is_null() {
            unsafe {
                libc::pthread_setspecific(key, std::ptr::null());
                destructor(value);
            }
            found = true;
        }
    }
    found
}

fn with_keys<T>(f: impl FnOnce(&mut Keys) -> T) -> T {
    // Its lock is of the real world: one of the simulation would ask it again.
    switch::outside(|| {
        let mut keys = KEYS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        f(keys.get_or_insert_default())
    })
}

/// A key that the process has not; one more of the C library's if it has all.
fn new_key(process: Pid, destructor: Option<KeyDestructor>) -> Result<libc::pthread_key_t, i32> {
    with_keys(|keys| {
        let own = keys.processes.entry(process).or_default();
        let is_free = |key: &libc::pthread_key_t| own.iter().all(|own| own.key != *key);
        let key = match keys.pool.iter().copied().find(is_free) {
            Some(key) => key,
            None => {
                let mut key = 0;
                match unsafe { real_key_create(&raw mut key, None) } {
                    0 => keys.pool.push(key),
                    failed => return Err(failed),
                }
                key
            }
        };
        own.push(Key { key, destructor });
        Ok(key)
    })
}

unsafe fn real_key_create(key: *mut libc::pthread_key_t, destructor: Option<KeyDestructor>) -> i32 {
    type Function = unsafe extern "C" fn(*mut libc::pthread_key_t, Option<KeyDestructor>) -> i32;
    shared! { static FOUND: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0); }
    let address = next_symbol(&FOUND, c"pthread_key_create");
    unsafe { std::mem::transmute::<usize, Function>(address)(key, destructor) }
}

/// What a start closure carries: raw pointers that its C caller handed over for the new thread.
struct Given(*mut c_void);
// SAFETY: `pthread_create` hands the pointer to the new thread, and its caller knows.
unsafe impl Send for Given {}

/// The number of a thread as programs see it, and of their process.
pub(super) fn thread_number(me: &'static Context) -> i32 {
    100_000 + i32::try_from(me.id().0).unwrap_or_default()
}

/// FUTEX_WAIT and what is like it.
unsafe fn futex(me: &'static Context, address: usize, operation: i32, value: u32, rest: [i64; 3]) -> i64 {
    let word = unsafe { &*std::ptr::with_exposed_provenance::<AtomicU32>(address) };
    let is_wall = operation & libc::FUTEX_CLOCK_REALTIME != 0;
    let [time, second, third] = rest;
    match operation & libc::FUTEX_CMD_MASK {
        command @ (libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET) => {
            if word.load(Ordering::SeqCst) != value {
                return -i64::from(libc::EAGAIN);
            }
            let time = std::ptr::with_exposed_provenance::<libc::timespec>(time.cast_unsigned() as usize);
            let until = match (time.is_null(), unsafe { time_of(time) }) {
                (true, _) => None,
                (_, Err(errno)) => return -i64::from(errno.0),
                (_, Ok(time)) if command == libc::FUTEX_WAIT => {
                    Some(tell(me, |kernel, caller| super::time::after(kernel, caller, time)))
                }
                (_, Ok(time)) => {
                    let clock = if is_wall { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
                    Some(super::time::when(me, clock, time))
                }
            };
            if wait_address(me, address, until, "a lock") { 0 } else { -i64::from(libc::ETIMEDOUT) }
        }
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
            let (woken, yields) = tell(me, |kernel, caller| {
                let woken = kernel.wake_address(place_of(caller, address), value as usize);
                (woken, woken > 0 && kernel.yields())
            });
            if yields {
                switch::yield_now(me);
            }
            woken as i64
        }
        command @ (libc::FUTEX_REQUEUE | libc::FUTEX_CMP_REQUEUE) => {
            if command == libc::FUTEX_CMP_REQUEUE && word.load(Ordering::SeqCst) != third as u32 {
                return -i64::from(libc::EAGAIN);
            }
            tell(me, |kernel, caller| {
                let [from, to] = [address, second as usize].map(|address| place_of(caller, address));
                let woken = kernel.wake_address(from, value as usize);
                let moved = kernel.requeue_address(from, to, time.try_into().unwrap_or(0));
                (woken + moved) as i64
            })
        }
        _ => -i64::from(libc::ENOSYS),
    }
}

unsafe fn time_of(time: *const libc::timespec) -> crate::errno::Result<Nanos> {
    if time.is_null() { Ok(0) } else { unsafe { super::time::nanos(time) } }
}

/// What the kernel calls an address: in statics each process has one of its own.
pub(super) fn place_of(caller: Caller, address: usize) -> usize {
    if statics::are_at(address) { address | caller.process.index() << ADDRESS_BITS } else { address }
}

/// Waits at an address; whether somebody woke it, rather than the time.
pub(super) fn wait_address(
    me: &'static Context,
    address: usize,
    until: Option<Nanos>,
    what: &'static str,
) -> bool {
    let place = tell(me, |_, caller| place_of(caller, address));
    switch::wait(me, Wait { on: On::Address(place), until, what });
    tell(me, |kernel, caller| kernel.was_woken(caller.thread))
}

/// System calls by number that are simulated; `None`: not this one. A negative errno tells of failure.
pub(super) unsafe fn by_number(me: &'static Context, number: i64, a: [i64; 6]) -> Option<i64> {
    let pointer =
        |value: i64| std::ptr::with_exposed_provenance_mut::<c_void>(value.cast_unsigned() as usize);
    let result =
        |value: i64| if value < 0 { -i64::from(unsafe { *libc::__errno_location() }) } else { value };
    let int = |value: i64| value as i32;
    Some(match number {
        libc::SYS_futex => unsafe {
            futex(me, a[0].cast_unsigned() as usize, int(a[1]), a[2] as u32, [a[3], a[4], a[5]])
        },
        libc::SYS_getrandom => {
            let bytes = unsafe { std::slice::from_raw_parts_mut(pointer(a[0]).cast(), a[1] as usize) };
            tell(me, |kernel, caller| kernel.random(caller.process).fill(bytes));
            a[1]
        }
        libc::SYS_clock_gettime => {
            match unsafe { super::time::clock_gettime_here(me, int(a[0]), pointer(a[1]).cast()) } {
                Ok(()) => 0,
                Err(errno) => -i64::from(errno.0),
            }
        }
        libc::SYS_nanosleep | libc::SYS_clock_nanosleep => {
            let (clock, flags, [time, left]) = match number {
                libc::SYS_nanosleep => (libc::CLOCK_MONOTONIC, 0, [a[0], a[1]].map(pointer)),
                _ => (int(a[0]), int(a[1]), [a[2], a[3]].map(pointer)),
            };
            match unsafe { super::time::clock_sleep(me, clock, flags, time.cast(), left.cast()) } {
                Ok(()) => 0,
                Err(errno) => -i64::from(errno.0),
            }
        }
        libc::SYS_gettid => thread_number(me).into(),
        libc::SYS_getpid => i64::from(tell(me, |_, caller| caller.process.number())),
        libc::SYS_sched_yield => {
            switch::yield_now(me);
            0
        }
        libc::SYS_io_uring_setup | libc::SYS_clone3 | libc::SYS_pidfd_open | libc::SYS_membarrier => {
            -i64::from(libc::ENOSYS)
        }
        libc::SYS_fork | libc::SYS_vfork | libc::SYS_execve => -i64::from(libc::ENOSYS),
        _ => return unsafe { super::trap::by_function(number, a, &pointer, &result) },
    })
}

define! {
    /// A thread of the calling process. It runs once it has its turn.
    fn pthread_create(
        into: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        main: ThreadMain,
        argument: *mut c_void,
    ) -> i32 |me, real| {
        let given = Given(argument);
        let start = Box::new(move || {
            let given = given;
            main(given.0)
        });
        let process = tell(me, |_, caller| caller.process);
        match switch::start_thread(process, false, attributes, start) {
            Ok(thread) => {
                *into = thread;
                0
            }
            Err(errno) => errno,
        }
    }

    /// Waits in virtual time; then the C library frees what was the thread's.
    fn pthread_join(thread: libc::pthread_t, result: *mut *mut c_void) -> i32 |me, real| {
        while let Some(id) = switch::with(|world| switch::thread_of(world, thread)) {
            switch::wait(me, Wait { on: On::Thread(id), until: None, what: "pthread_join" });
        }
        switch::bury_dead();
        real()
    }

    /// The key is the calling process's no more.
    fn pthread_key_delete(key: libc::pthread_key_t) -> i32 |me, real| {
        let process = tell(me, |_, caller| caller.process);
        with_keys(|keys| {
            let own = keys.processes.entry(process).or_default();
            match own.iter().position(|own| own.key == key) {
                Some(place) => {
                    own.remove(place);
                    0
                }
                None => libc::EINVAL,
            }
        })
    }

    /// Destructors of thread-locals run in the thread, in turn and in virtual time.
    fn __cxa_thread_atexit_impl(
        destructor: KeyDestructor,
        argument: *mut c_void,
        _library: *mut c_void,
    ) -> i32 |me, real| {
        switch::at_thread_end(me, destructor, argument);
        0
    }

    /// Gives the turn away. If nobody else can run a microsecond passes, so that spinning ends.
    fn sched_yield() -> i32 |me, real| {
        switch::yield_now(me);
        0
    }

    /// A number of its own.
    fn gettid() -> i32 |me, real| { thread_number(me) }

    /// As many processors as the simulation says.
    fn sched_getaffinity(_pid: i32, size: usize, set: *mut u8) -> i32 |me, real| {
        let cpus = tell(me, |kernel, _| kernel.rules.cpus);
        std::ptr::write_bytes(set, 0, size);
        for cpu in (0..cpus).filter(|cpu| cpu / 8 < size) {
            *set.add(cpu / 8) |= 1 << (cpu % 8);
        }
        0
    }

    /// Has no effect: there is one processor, and turns.
    fn sched_setaffinity(_pid: i32, _size: usize, _set: *const c_void) -> i32 |me, real| { 0 }

    /// As many processors as the simulation says; all else is real.
    fn sysconf(name: i32) -> libc::c_long |me, real| {
        match name {
            libc::_SC_NPROCESSORS_ONLN | libc::_SC_NPROCESSORS_CONF => {
                tell(me, |kernel, _| kernel.rules.cpus).try_into().unwrap_or(1)
            }
            _ => real(),
        }
    }

    /// Names of threads would be the carrier's.
    fn pthread_setname_np(_thread: libc::pthread_t, _name: *const c_char) -> i32 |me, real| { 0 }

    /// What has a function is that function; what is simulated by number; all else is real.
    fn syscall(number: i64, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64) -> i64 |me, real| {
        match by_number(me, number, [a, b, c, d, e, f]) {
            Some(value @ -4095..0) => fail(Errno(i32::try_from(-value).unwrap_or(libc::EINVAL))).into(),
            Some(value) => value,
            None => real(),
        }
    }

    /// Draws from the calling process's own stream.
    fn getrandom(into: *mut u8, count: usize, _flags: u32) -> isize |me, real| {
        let bytes = std::slice::from_raw_parts_mut(into, count);
        tell(me, |kernel, caller| kernel.random(caller.process).fill(bytes));
        count.cast_signed()
    }

    /// Draws from the calling process's own stream.
    fn getentropy(into: *mut u8, count: usize) -> i32 |me, real| {
        let bytes = std::slice::from_raw_parts_mut(into, count);
        tell(me, |kernel, caller| kernel.random(caller.process).fill(bytes));
        0
    }

    /// Draws from the calling process's own stream.
    fn arc4random() -> u32 |me, real| {
        tell(me, |kernel, caller| kernel.random(caller.process).draw() as u32)
    }

    /// Draws from the calling process's own stream.
    fn arc4random_buf(into: *mut u8, count: usize) -> () |me, real| {
        let bytes = std::slice::from_raw_parts_mut(into, count);
        tell(me, |kernel, caller| kernel.random(caller.process).fill(bytes));
    }
}

/// Keys are made outside of simulations too, and their destructors must be known.
///
/// # Safety
/// As the C function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pthread_key_create(
    key: *mut libc::pthread_key_t,
    destructor: Option<KeyDestructor>,
) -> i32 {
    let Some(me) = switch::me() else {
        let failed = unsafe { real_key_create(key, destructor) };
        if failed == 0 {
            let key = unsafe { *key };
            with_keys(|keys| keys.outside.push(Key { key, destructor }));
        }
        return failed;
    };
    match new_key(tell(me, |_, caller| caller.process), destructor) {
        Ok(new) => {
            unsafe { *key = new };
            0
        }
        Err(failed) => failed,
    }
}
