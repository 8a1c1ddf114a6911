//! The functions by which programs meet the world, defined here under the C library's names: in a binary that links this crate
//! they are found first. On a simulated thread they ask the kernel of the simulation; on any other they call the next
//! function of that name, which costs a look at a thread-local.
//!
//! A function does what the kernel's would, gives the errno that it would give, or is refused with one that says so
//! (`ENOSYS`); nothing succeeds without being done, but for what makes no difference to a simulated program. What each
//! models and refuses stands with it.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]
#![expect(
    unsafe_op_in_unsafe_fn,
    clippy::undocumented_unsafe_blocks,
    reason = "every function here is as safe as the C function of its name, whose contract its callers keep"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "registers and C's numbers are what their types say, as C casts them"
)]
#![expect(unreachable_pub, reason = "the linker reaches them")]

mod attributes;
mod files;
mod folders;
mod locks;
mod maps;
pub(crate) mod memory;
mod names;
mod numbers;
mod polling;
mod process;
pub(crate) mod signals;
mod sockets;
pub(crate) mod spin;
pub(crate) mod statics;
mod threads;
mod time;
pub(crate) mod trap;
mod users;

use std::ffi::{CStr, CString};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::raw::c_char;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::signals::Interrupted;
pub use self::spin::SPINS;
pub(crate) use self::threads::run_key_destructors;
use crate::errno::{Errno, Result};
use crate::kernel::{Call, Caller, Descriptor, FileId, Kernel, Stop};
use crate::switch::{self, Context};

/// Defines C functions. `real` within a body is the C library's function with the same arguments; `me` the simulated thread.
macro_rules! define {
    ($($(#[$attribute:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty
        |$me:ident, $real:ident| $body:block)*) => {$(
        $(#[$attribute])*
        ///
        /// # Safety
        /// As the C function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            #[allow(unused, reason = "not every function has a use for it")]
            let $real = || -> $result {
                type Function = unsafe extern "C" fn($($type),*) -> $result;
                crate::front::statics::shared! {
                    static FOUND: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
                }
                const NAME: &std::ffi::CStr = match std::ffi::CStr::from_bytes_with_nul(
                    concat!(stringify!($name), "\0").as_bytes(),
                ) {
                    Ok(name) => name,
                    Err(_) => panic!("a name without zeros"),
                };
                let address = crate::front::next_symbol(&FOUND, NAME);
                // What it does within is the real world's, whoever calls.
                crate::switch::outside(|| unsafe {
                    std::mem::transmute::<usize, Function>(address)($($argument),*)
                })
            };
            #[allow(unused, reason = "not every function has a use for it")]
            let Some($me) = crate::switch::me() else { return $real() };
            $body
        }
    )*};
}
pub(crate) use define;

/// The next function of this name after ours: the C library's. Looked up once.
pub(crate) fn next_symbol(found: &AtomicUsize, name: &CStr) -> usize {
    match found.load(Ordering::Relaxed) {
        0 => look_up(found, name),
        address => address,
    }
}

#[cold]
fn look_up(found: &AtomicUsize, name: &CStr) -> usize {
    // Older C libraries answer `dlsym` with the oldest version of these, whose layout differs.
    let versioned = name.to_bytes().starts_with(b"pthread_cond_");
    // SAFETY: both only read the names.
    let address = unsafe {
        let new = if versioned {
            libc::dlvsym(libc::RTLD_NEXT, name.as_ptr(), c"GLIBC_2.3.2".as_ptr())
        } else {
            std::ptr::null_mut()
        };
        if new.is_null() { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } else { new }
    };
    assert!(!address.is_null(), "the C library has no {name:?}");
    let address = address.expose_provenance();
    found.store(address, Ordering::Relaxed);
    address
}

/// Does what a call asks for; waits as often as it must, or until a signal has a handler that calls do not go on after.
fn ask<T>(me: &'static Context, f: impl FnMut(&mut Kernel, Caller) -> Call<T>) -> Result<T> {
    ask_until(me, f, |interrupted| interrupted == Interrupted::Fails)
}

/// As [`ask`], of a call that goes on after no handler.
fn ask_once<T>(me: &'static Context, f: impl FnMut(&mut Kernel, Caller) -> Call<T>) -> Result<T> {
    ask_until(me, f, |interrupted| interrupted != Interrupted::No)
}

fn ask_until<T>(
    me: &'static Context,
    mut f: impl FnMut(&mut Kernel, Caller) -> Call<T>,
    fails: impl Fn(Interrupted) -> bool,
) -> Result<T> {
    let mut is_interrupted = false;
    loop {
        let done = switch::with_turn(me, |world| {
            let caller = world.kernel.caller(me.id());
            f(&mut world.kernel, caller)
        });
        match done {
            Ok(value) => return Ok(value),
            Err(Stop::Fail(errno)) => return Err(errno),
            Err(Stop::Wait(_)) if is_interrupted => return Err(Errno::EINTR),
            Err(Stop::Wait(wait)) => is_interrupted = fails(switch::wait(me, wait)),
        }
    }
}

/// As [`ask`], of what never waits.
fn tell<T>(me: &'static Context, f: impl FnOnce(&mut Kernel, Caller) -> T) -> T {
    switch::with_turn(me, |world| {
        let caller = world.kernel.caller(me.id());
        f(&mut world.kernel, caller)
    })
}

/// What a number stands for to the calling thread.
fn descriptor(me: &'static Context, fd: i32) -> Descriptor {
    tell(me, |kernel, caller| kernel.descriptor(caller.process, fd))
}

/// The simulated file of a descriptor. One of this machine goes to the C library; what is closed fails.
macro_rules! simulated {
    ($me:expr, $fd:expr, $real:expr) => {
        match crate::front::descriptor($me, $fd) {
            crate::kernel::Descriptor::Simulated(file) => file,
            crate::kernel::Descriptor::Real => return $real(),
            crate::kernel::Descriptor::Closed => {
                let failed = crate::front::fail(crate::errno::Errno::EBADF);
                return failed.try_into().unwrap_or_default();
            }
        }
    };
}
use simulated;

/// Sets errno; -1.
fn fail(errno: Errno) -> i32 {
    // SAFETY: the C library gives this thread's own.
    unsafe { *libc::__errno_location() = errno.0 };
    -1
}

/// As C functions tell of success: 0, or -1 and errno.
fn zero(result: Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(errno) => fail(errno),
    }
}

/// A number, or -1 and errno.
fn int(result: Result<i32>) -> i32 {
    result.unwrap_or_else(fail)
}

/// A size, or -1 and errno.
fn size(result: Result<usize>) -> isize {
    match result {
        Ok(size) => size.cast_signed(),
        Err(errno) => fail(errno) as isize,
    }
}

/// A descriptor of the calling process for a new file.
fn new_fd(kernel: &mut Kernel, caller: Caller, file: FileId) -> Result<i32> {
    kernel.add_fd(caller.process, file)
}

/// Strings as C has them, and a null. They live for ever: a process may keep pointers to them.
pub(crate) fn c_strings(texts: impl Iterator<Item = Vec<u8>>) -> &'static mut [*mut c_char] {
    // A zero byte cannot stand in one.
    let pointers = texts.filter_map(|text| CString::new(text).ok()).map(CString::into_raw);
    Box::leak(pointers.chain([std::ptr::null_mut()]).collect())
}

/// A descriptor that was just made for the calling process.
pub(crate) fn owned(fd: i32) -> OwnedFd {
    // SAFETY: nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
