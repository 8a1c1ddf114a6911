//! What does not come through a function of the C library: system calls made by an instruction, and the processor's clock.
//! A filter on the carrier's OS thread catches both. What is known is done as if it had come through its function; all else is
//! told, with a backtrace once for each place, and fails with `ENOSYS`.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::os::raw::c_void;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::statics::shared;
use super::{tell, threads};
use crate::kernel::{EPOCH, SPIN};
use crate::switch::{self, call, me, netsplit_sim_call_end};

/// System calls that a simulated thread may make in no other way than through us: those of network, time, chance, waiting
/// and processes.
const CAUGHT: [i64; 43] = [
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_ctl,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_pipe2,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_time,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_sched_yield,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_io_uring_setup,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_pidfd_open,
    libc::SYS_pause,
    libc::SYS_inotify_init1,
    libc::SYS_signalfd4,
];

shared! {
/// Reads of the processor's clock give virtual nanoseconds and a little more each time: who measures their noise needs some.
static TICKS: AtomicU64 = AtomicU64::new(0);
/// Who handles faults that are not ours.
static SEGV_BEFORE: Mutex<Option<libc::sigaction>> = Mutex::new(None);
static SEGV_HANDLER: AtomicUsize = AtomicUsize::new(0);
/// Instructions that were told of.
static TOLD: Mutex<Vec<usize>> = Mutex::new(Vec::new());
}

/// Puts the filter on the calling OS thread.
pub(crate) fn install() {
    // SAFETY: both handlers are functions of the type that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        // A handler may give the turn away: the signal must stay open for the others. Never on the alternate stack, which
        // all simulated threads of a carrier would share.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        action.sa_sigaction = on_call as *const () as usize;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut());
        let mut before: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        libc::sigaction(libc::SIGSEGV, &raw const action, &raw mut before);
        SEGV_HANDLER.store(before.sa_sigaction, Ordering::Relaxed);
        *SEGV_BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(before);
        libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV, 0, 0, 0);
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let mut filter = filter();
        let program = libc::sock_fprog {
            len: u16::try_from(filter.len()).expect("a short filter"),
            filter: filter.as_mut_ptr(),
        };
        let done = call(
            libc::SYS_seccomp,
            [
                libc::SECCOMP_SET_MODE_FILTER.into(),
                libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW.cast_signed(),
                (&raw const program).addr().cast_signed() as i64,
                0,
                0,
                0,
            ],
        );
        assert_eq!(done, 0, "the kernel takes no filter of system calls");
    }
}

/// Lets pass what is not caught, and what is made by our own instruction.
fn filter() -> Vec<libc::sock_filter> {
    const LOAD: u16 = 0x20;
    const IS: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let ours = (&raw const netsplit_sim_call_end).addr() as u64;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut filter = vec![step(LOAD, 0, 0, 0)];
    for (index, number) in CAUGHT.iter().enumerate() {
        let to_check = u8::try_from(CAUGHT.len() - index).expect("a short list");
        filter.push(step(IS, to_check, 0, u32::try_from(*number).expect("a number of a call")));
    }
    let [low, high] = [ours & 0xffff_ffff, ours >> 32].map(|half| u32::try_from(half).unwrap_or_default());
    filter.extend([
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(LOAD, 0, 0, 8),
        step(IS, 0, 3, low),
        step(LOAD, 0, 0, 12),
        step(IS, 0, 1, high),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_TRAP),
    ]);
    filter
}

unsafe extern "C" fn on_call(_signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    let number = i64::from(info.cast::<i32>().add(6).read());
    let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
    let read = |register: i32| registers[register as usize];
    let arguments =
        [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8, libc::REG_R9].map(read);
    let result = match me() {
        None => call(number, arguments),
        Some(me) => {
            let saved = *libc::__errno_location();
            let result = threads::by_number(me, number, arguments);
            if result.is_none() {
                report(&format!("system call {number}"), read(libc::REG_RIP) as usize);
            }
            tell(me, |kernel, _| kernel.counts.traps += 1);
            *libc::__errno_location() = saved;
            result.unwrap_or_else(|| -i64::from(libc::ENOSYS))
        }
    };
    registers[libc::REG_RAX as usize] = result;
}

unsafe extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    /// Of a general protection: what PR_TSC_SIGSEGV makes of `rdtsc`.
    const SI_KERNEL: i32 = 0x80;
    let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
    let place = registers[libc::REG_RIP as usize] as usize;
    let code = if (*info).si_code == SI_KERNEL {
        std::ptr::with_exposed_provenance::<[u8; 3]>(place).read()
    } else {
        [0; 3]
    };
    let length = match code {
        [0x0f, 0x31, _] => 2,
        [0x0f, 0x01, 0xf9] => 3,
        _ => return pass_on(signal, info, context),
    };
    let ticks = match me() {
        Some(me) => tell(me, |kernel, caller| {
            kernel.clock_read(caller.thread);
            kernel.counts.traps += 1;
            let noise = 20 + kernel.noise(200);
            let ticks = TICKS.fetch_add(noise, Ordering::Relaxed);
            EPOCH + kernel.now + ticks
        }),
        // Outside of the simulation the carrier's own code reads it: any growing number will do.
        None => TICKS.fetch_add(SPIN, Ordering::Relaxed),
    };
    registers[libc::REG_RAX as usize] = (ticks & 0xffff_ffff).cast_signed();
    registers[libc::REG_RDX as usize] = (ticks >> 32).cast_signed();
    registers[libc::REG_RIP as usize] += length;
}

/// A fault that is one: whoever handled them before does.
unsafe fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut c_void) {
    type Handler = unsafe extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void);
    // Outside of the simulation, in which handlers are not changed.
    switch::outside(|| match SEGV_HANDLER.load(Ordering::Relaxed) {
        libc::SIG_DFL | libc::SIG_IGN => {
            let mut default: libc::sigaction = std::mem::zeroed();
            default.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(signal, &raw const default, std::ptr::null_mut());
        }
        handler => std::mem::transmute::<usize, Handler>(handler)(signal, info, context),
    });
}

/// Tells once for each place of what bypassed us.
#[expect(clippy::print_stderr, reason = "there is nobody else to tell, and it would be lost in a log")]
fn report(what: &str, place: usize) {
    switch::outside(|| {
        let mut told = TOLD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.contains(&place) {
            return;
        }
        told.push(place);
        let trace = std::backtrace::Backtrace::force_capture().to_string();
        let frames = trace.lines().filter(|line| !line.trim_start().starts_with("at "));
        let frames: Vec<_> = frames.skip(4).take(12).collect();
        eprintln!(
            "warning: {what} was made by an instruction, which is not simulated; it failed\n{}",
            frames.join("\n")
        );
    });
}

/// Calls that have a function here are that function's.
pub(super) unsafe fn by_function(
    number: i64,
    a: [i64; 6],
    pointer: &dyn Fn(i64) -> *mut c_void,
    result: &dyn Fn(i64) -> i64,
) -> Option<i64> {
    use super::{polling, sockets, time};
    let int = |value: i64| value as i32;
    let length = |value: i64| value as libc::socklen_t;
    let done: i64 = match number {
        libc::SYS_socket => sockets::socket(int(a[0]), int(a[1]), int(a[2])).into(),
        libc::SYS_socketpair => {
            sockets::socketpair(int(a[0]), int(a[1]), int(a[2]), pointer(a[3]).cast()).into()
        }
        libc::SYS_connect => sockets::connect(int(a[0]), pointer(a[1]).cast(), length(a[2])).into(),
        libc::SYS_bind => sockets::bind(int(a[0]), pointer(a[1]).cast(), length(a[2])).into(),
        libc::SYS_listen => sockets::listen(int(a[0]), int(a[1])).into(),
        libc::SYS_accept => sockets::accept(int(a[0]), pointer(a[1]).cast(), pointer(a[2]).cast()).into(),
        libc::SYS_accept4 => {
            sockets::accept4(int(a[0]), pointer(a[1]).cast(), pointer(a[2]).cast(), int(a[3])).into()
        }
        libc::SYS_sendmsg => sockets::sendmsg(int(a[0]), pointer(a[1]).cast(), int(a[2])) as i64,
        libc::SYS_recvmsg => sockets::recvmsg(int(a[0]), pointer(a[1]).cast(), int(a[2])) as i64,
        libc::SYS_sendto => sockets::sendto(
            int(a[0]),
            pointer(a[1]).cast(),
            a[2] as usize,
            int(a[3]),
            pointer(a[4]).cast(),
            length(a[5]),
        ) as i64,
        libc::SYS_recvfrom => sockets::recvfrom(
            int(a[0]),
            pointer(a[1]).cast(),
            a[2] as usize,
            int(a[3]),
            pointer(a[4]).cast(),
            pointer(a[5]).cast(),
        ) as i64,
        libc::SYS_epoll_create1 => polling::epoll_create1(int(a[0])).into(),
        libc::SYS_epoll_ctl => {
            polling::epoll_ctl(int(a[0]), int(a[1]), int(a[2]), pointer(a[3]).cast()).into()
        }
        libc::SYS_epoll_wait | libc::SYS_epoll_pwait => {
            polling::epoll_wait(int(a[0]), pointer(a[1]).cast(), int(a[2]), int(a[3])).into()
        }
        libc::SYS_poll => polling::poll(pointer(a[0]).cast(), a[1] as libc::nfds_t, int(a[2])).into(),
        libc::SYS_ppoll => {
            polling::ppoll(pointer(a[0]).cast(), a[1] as libc::nfds_t, pointer(a[2]).cast(), std::ptr::null())
                .into()
        }
        libc::SYS_eventfd2 => polling::eventfd(a[0] as u32, int(a[1])).into(),
        libc::SYS_pipe2 => polling::pipe2(pointer(a[0]).cast(), int(a[1])).into(),
        libc::SYS_timerfd_create => time::timerfd_create(int(a[0]), int(a[1])).into(),
        libc::SYS_gettimeofday => time::gettimeofday(pointer(a[0]).cast(), std::ptr::null_mut()).into(),
        libc::SYS_time => time::time(pointer(a[0]).cast()),
        _ => return None,
    };
    Some(result(done))
}
