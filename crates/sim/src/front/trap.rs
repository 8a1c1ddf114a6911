//! What does not come through a function of the C library: system calls made by an instruction, and the processor's clock.
//! A filter on the carrier's OS thread catches both. What is known is done as if it had come through its function; all else is
//! told, with a backtrace once for each place, and fails with `ENOSYS`.
#![expect(unsafe_code, reason = "C functions take pointers from their callers")]

use std::os::raw::{c_char, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::statics::shared;
use super::{numbers, tell};
use crate::kernel::{EPOCH, FD_BASE, SPIN};
use crate::switch::{self, call, me, netsplit_sim_call_end};

/// System calls that a simulated thread may make in no other way than through us: those of network, time, chance, waiting
/// and processes.
const CAUGHT: &[i64] = &[
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
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
];

/// Those on files by name: caught, and done for real for the control process.
pub(super) const OF_FILES: &[i64] = &[
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_creat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_mknod,
    libc::SYS_mknodat,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_truncate,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_getcwd,
    libc::SYS_chmod,
    libc::SYS_fchmodat,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_utimensat,
    libc::SYS_statfs,
];

/// Those on descriptors: caught where the number is a simulated file's, or a standard stream's.
const OF_DESCRIPTORS: &[i64] = &[
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_fstat,
    libc::SYS_getdents64,
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
    const IS_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    // Where the number, the address of the instruction and the first argument stand.
    const NUMBER: u32 = 0;
    const ADDRESS: u32 = 8;
    const FIRST: u32 = 16;
    const STREAMS: u32 = 3;
    let ours = (&raw const netsplit_sim_call_end).addr() as u64;
    let [low, high] = [ours & 0xffff_ffff, ours >> 32].map(|half| u32::try_from(half).unwrap_or_default());
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let always: Vec<_> = CAUGHT.iter().chain(OF_FILES).collect();
    let number = |number: &i64| u32::try_from(*number).expect("a number of a call");
    let after = |index: usize, of: usize| u8::try_from(of - index).expect("a short list");
    let mut filter = vec![step(LOAD, 0, 0, NUMBER)];
    // Behind the numbers: one step lets pass, three look at a descriptor, then comes the address.
    for (index, caught) in always.iter().enumerate() {
        let whose = after(index, always.len() + OF_DESCRIPTORS.len() + 3);
        filter.push(step(IS, whose, 0, number(caught)));
    }
    for (index, caught) in OF_DESCRIPTORS.iter().enumerate() {
        filter.push(step(IS, after(index, OF_DESCRIPTORS.len()), 0, number(caught)));
    }
    filter.extend([
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(LOAD, 0, 0, FIRST),
        step(IS_AT_LEAST, 1, 0, FD_BASE.cast_unsigned()),
        step(IS_AT_LEAST, 4, 0, STREAMS),
        step(LOAD, 0, 0, ADDRESS),
        step(IS, 0, 3, low),
        step(LOAD, 0, 0, ADDRESS + 4),
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
        // Nothing may be allocated here: the C library's allocator itself asks how many processors there are.
        Some(_) if number == libc::SYS_openat && is_of_machine(arguments[1]) => call(number, arguments),
        Some(_) if number == libc::SYS_futex && is_between_worlds(arguments) => -i64::from(libc::EAGAIN),
        Some(me) => {
            let saved = *libc::__errno_location();
            let result = numbers::by_number(me, number, arguments);
            if result.is_none() {
                let what = format!(
                    "system call {number} was made by an instruction, which is not simulated; it failed"
                );
                report(&what, read(libc::REG_RIP) as usize);
            }
            tell(me, |kernel, _| kernel.counts.traps += 1);
            *libc::__errno_location() = saved;
            result.unwrap_or_else(|| -i64::from(libc::ENOSYS))
        }
    };
    registers[libc::REG_RAX as usize] = result;
}

/// A futex of the C library's own, as of its allocator. Who waits for it may be of the real world, and is woken. Who holds it
/// may be as well, and lets go soon; what a simulated thread holds, which has no turn now, stays held: whether it was let go.
unsafe fn is_between_worlds([word, operation, value, ..]: [i64; 6]) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    match operation as i32 & libc::FUTEX_CMD_MASK {
        libc::FUTEX_WAKE => {
            call(libc::SYS_futex, [word, operation, value, 0, 0, 0]);
            false
        }
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
            let word = &*std::ptr::with_exposed_provenance::<AtomicU32>(word.cast_unsigned() as usize);
            let begun = real_time();
            while word.load(Ordering::SeqCst) == value as u32 {
                if real_time() - begun > PATIENCE {
                    return false;
                }
                call(libc::SYS_sched_yield, [0; 6]);
            }
            true
        }
        _ => false,
    }
}

/// This machine's monotonic clock.
unsafe fn real_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let into = (&raw mut time).expose_provenance() as i64;
    call(libc::SYS_clock_gettime, [libc::CLOCK_MONOTONIC.into(), into, 0, 0, 0, 0]);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Whether a path is one by which the C library asks about the machine.
unsafe fn is_of_machine(path: i64) -> bool {
    let path = std::ptr::with_exposed_provenance::<c_char>(path.cast_unsigned() as usize);
    !path.is_null()
        && [c"/proc/", c"/sys/"].iter().any(|of| libc::strncmp(path, of.as_ptr(), of.count_bytes()) == 0)
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
    if me().is_some() && is_vdso(place) {
        report(
            "a clock was read from the kernel's page (vDSO), which is not simulated; it showed nonsense",
            place,
        );
    }
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

/// Whether code is of the page that the kernel maps into every process, by which the C library reads clocks.
unsafe fn is_vdso(place: usize) -> bool {
    /// It has one to four pages.
    const SIZE: usize = 4 * 4096;
    let start = libc::getauxval(libc::AT_SYSINFO_EHDR) as usize;
    (start..start + SIZE).contains(&place)
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
        eprintln!("warning: {what}\n{}", frames.join("\n"));
    });
}
