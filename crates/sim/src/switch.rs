//! Handing over the turn: every simulated thread is a thread of the C library with a stack and thread-locals of its own, and
//! one of them runs at a time. What the turn means, and who has it next, is the kernel's.
//!
//! The thread's own OS thread only publishes its stack and the base of its thread-locals, then parks for good. One OS thread,
//! the *carrier*, runs all of them: a switch swaps the registers that calls preserve, the stack pointer and the FS base, in
//! user mode. Whoever gives up the turn lets time pass on its own stack, so that a thread that is next itself switches to
//! nobody. [`Switch::Futex`] hands over from OS thread to OS thread instead, for machines whose FS base only the kernel
//! sets, and to compare: both give the same trace.
#![expect(unsafe_code, reason = "stacks and thread-locals are swapped, which no safe code can do")]

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::BTreeMap;
use std::os::raw::{c_char, c_void};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use crate::front::signals::Interrupted;
use crate::front::statics::{Statics, shared};
use crate::kernel::{CONTROL, Caller, Exit, Kernel, Pid, ThreadId, Wait};

/// How the turn is handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// In user mode, on one OS thread.
    #[default]
    Carrier,
    /// By waking the other's OS thread.
    Futex,
}

/// What a thread runs; its result is that of `pthread_join`.
pub(crate) type Start = Box<dyn FnOnce() -> *mut c_void>;
/// A destructor of thread-locals, and what it is given.
type Destructor = (unsafe extern "C" fn(*mut c_void), *mut c_void);
type KeyDestructor = unsafe extern "C" fn(*mut c_void);

/// The outside of a simulated thread: where it stands while it has no turn.
#[repr(C, align(64))]
pub(crate) struct Context {
    /// Where it stands, and its thread-locals: with the number all that a switch looks at, in one line of the cache.
    stack: Cell<usize>,
    locals: Cell<usize>,
    /// Which thread it is; none yet, while it is in [stock](World).
    id: Cell<ThreadId>,
    /// Futex: 1, it is its turn.
    turn: AtomicU32,
    /// 1: its OS thread has published the context; 2: that OS thread may end.
    up: AtomicU32,
    os_thread: AtomicI64,
    pthread: Cell<libc::pthread_t>,
    start: Cell<Option<Start>>,
    result: Cell<*mut c_void>,
    /// When it ends, its process does.
    is_main: Cell<bool>,
    /// Whether it is of the test and its runner, rather than of a program.
    is_of_test: Cell<bool>,
    destructors: RefCell<Vec<Destructor>>,
}

// SAFETY: what is not atomic is touched by the thread itself or by whoever has the turn, which is one at a time; the turn is
// handed over by a switch on one OS thread, or by a futex with acquire and release.
unsafe impl Sync for Context {}
// SAFETY: as above.
unsafe impl Send for Context {}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "thread {}", self.id().0)
    }
}

impl Context {
    fn new() -> &'static Self {
        // It lives as long as the simulation, which is as long as its OS process.
        Box::leak(Box::new(Self {
            id: Cell::new(ThreadId(u32::MAX)),
            turn: AtomicU32::new(0),
            up: AtomicU32::new(0),
            os_thread: AtomicI64::new(0),
            stack: Cell::new(0),
            locals: Cell::new(0),
            pthread: Cell::new(0),
            start: Cell::new(None),
            result: Cell::new(std::ptr::null_mut()),
            is_main: Cell::new(false),
            is_of_test: Cell::new(false),
            destructors: RefCell::default(),
        }))
    }

    #[inline]
    pub(crate) fn id(&self) -> ThreadId {
        self.id.get()
    }

    #[inline]
    pub(crate) fn is_of_test(&self) -> bool {
        self.is_of_test.get()
    }
}

/// The simulation of this OS process.
pub(crate) struct World {
    pub(crate) kernel: Kernel,
    contexts: Vec<&'static Context>,
    controller: &'static Context,
    /// Threads of the OS that stand ready, by what they were asked for with, and how many of that kind were made.
    stock: BTreeMap<Kind, (Vec<&'static Context>, usize)>,
    /// Who ended, and may go once nobody stands on its stack.
    leaving: Option<&'static Context>,
    /// Who ended, and stands in nobody's way.
    dead: Vec<&'static Context>,
    threads: BTreeMap<libc::pthread_t, ThreadId>,
    /// The environment of each process, by its number; 0 where it has none of its own.
    environments: Vec<usize>,
    statics: Statics,
    /// Whose environment and statics are in their places.
    laid_out: Pid,
}

struct Only(UnsafeCell<Option<World>>);
// SAFETY: only `with` reaches it, which checks that nobody else is within.
unsafe impl Sync for Only {}

shared! {
    static WORLD: Only = Only(UnsafeCell::new(None));
    static IS_BORROWED: AtomicBool = AtomicBool::new(false);
    /// Whether there may be something to do for who is given the turn.
    static IS_EVENTFUL: AtomicBool = AtomicBool::new(false);
}

thread_local! {
    static ME: Cell<Option<&'static Context>> = const { Cell::new(None) };
}

/// The simulated thread that runs here; `None`: this thread is of the real world, or looks at the simulated one, where a panic
/// is told to whoever looks at the real one.
#[inline]
pub(crate) fn me() -> Option<&'static Context> {
    ME.get()
}

/// Runs `f` in the real world: whatever it calls is real, and takes no time of the simulation.
pub fn outside<T>(f: impl FnOnce() -> T) -> T {
    struct Back(Option<&'static Context>);
    impl Drop for Back {
        fn drop(&mut self) {
            ME.set(self.0);
        }
    }
    let _back = Back(ME.replace(None));
    f()
}

/// As [`with`], for a thread of the simulation, which has the turn: no other one is within, nor is this one, which finds
/// itself outside of the simulation while it is.
#[inline]
pub(crate) fn with_turn<T>(me: &'static Context, f: impl FnOnce(&mut World) -> T) -> T {
    if cfg!(debug_assertions) {
        assert!(!IS_BORROWED.swap(true, Ordering::Relaxed), "the world is looked at already");
    }
    ME.set(None);
    let broken = Broken;
    // SAFETY: a context is found only by its own thread, so that the caller has the turn; and only while it is not within.
    let done = f(unsafe { (*WORLD.0.get()).as_mut() }.expect("there is a simulation"));
    std::mem::forget(broken);
    ME.set(Some(me));
    if cfg!(debug_assertions) {
        IS_BORROWED.store(false, Ordering::Relaxed);
    }
    done
}

/// Ends this OS process when a panic leaves the world half changed: it is no program's.
struct Broken;

impl Drop for Broken {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Looks at, or changes, the world.
///
/// # Panics
/// When called from within itself, or before there is a world.
#[inline]
pub(crate) fn with<T>(f: impl FnOnce(&mut World) -> T) -> T {
    assert!(!IS_BORROWED.swap(true, Ordering::Acquire), "the world is looked at already");
    let me = ME.replace(None);
    let broken = Broken;
    // SAFETY: the flag was free and is ours now, so that no other reference exists until it is given back; nor does one of
    // `with_turn`, from within which nobody calls this, as builds with assertions make sure.
    let done = f(unsafe { (*WORLD.0.get()).as_mut() }.expect("there is a simulation"));
    std::mem::forget(broken);
    ME.set(me);
    IS_BORROWED.store(false, Ordering::Release);
    done
}

core::arch::global_asm!(
    // A system call that the filter lets pass: netsplit_sim_call(number, a, b, c, d, e, f).
    ".globl netsplit_sim_call, netsplit_sim_call_end, netsplit_sim_switch",
    "netsplit_sim_call: mov rax, rdi; mov rdi, rsi; mov rsi, rdx; mov rdx, rcx; mov r10, r8; mov r8, r9",
    "mov r9, [rsp+8]; syscall",
    "netsplit_sim_call_end: ret",
    // netsplit_sim_switch(save stack here, new stack, new base of thread-locals).
    "netsplit_sim_switch: push rbp; push rbx; push r12; push r13; push r14; push r15; mov [rdi], rsp",
    "mov rsp, rsi; wrfsbase rdx; pop r15; pop r14; pop r13; pop r12; pop rbx; pop rbp; ret",
);

unsafe extern "C" {
    fn netsplit_sim_call(number: i64, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64) -> i64;
    /// The address after the only `syscall` instruction that the filter lets pass.
    pub(crate) static netsplit_sim_call_end: u8;
    fn netsplit_sim_switch(save: *const Cell<usize>, stack: usize, locals: usize);
}

/// A system call of the real world; a negative errno when it failed.
///
/// # Safety
/// As the call of that number with these arguments.
pub(crate) unsafe fn call(number: i64, arguments: [i64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the caller's.
    unsafe { netsplit_sim_call(number, a, b, c, d, e, f) }
}

fn futex_wait(word: &AtomicU32, seen: u32) {
    let private_wait = i64::from(libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG);
    // SAFETY: the word outlives the call, which only reads it.
    unsafe { call(libc::SYS_futex, [word.as_ptr() as i64, private_wait, i64::from(seen), 0, 0, 0]) };
}

fn futex_wake(word: &AtomicU32) {
    let private_wake = i64::from(libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG);
    // SAFETY: the call uses the address only.
    unsafe { call(libc::SYS_futex, [word.as_ptr() as i64, private_wake, i64::from(i32::MAX), 0, 0, 0]) };
}

/// The base of this thread's thread-locals.
fn locals() -> usize {
    let base: usize;
    // SAFETY: reads a register; the carrier is used only where the instruction may be.
    unsafe { core::arch::asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

/// Whether the FS base may be set in user mode: HWCAP2_FSGSBASE.
pub(crate) fn can_carry() -> bool {
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & 2 != 0 }
}

// ---- the spawner ---------------------------------------------------------------------------------------------------------

/// What the spawner is asked for.
enum Request {
    Create { attributes: *const libc::pthread_attr_t, contexts: Vec<&'static Context> },
    Bury(Vec<&'static Context>),
}

/// What threads of the OS have in common that are as good as each other: the sizes of their stack and its guard; `None` for
/// what a simulation begins itself.
type Kind = Option<[usize; 2]>;

/// Threads that are made or buried at a time: to ask the spawner is dearer than what it does.
const BATCH_MAX: usize = 64;

const IDLE: u32 = 0;
const ASKED: u32 = 1;
const ANSWERED: u32 = 2;

struct Desk {
    state: AtomicU32,
    request: UnsafeCell<Option<Request>>,
    answer: AtomicU32,
}
// SAFETY: `request` is written before `state` becomes ASKED, and read before it becomes ANSWERED, each with release and
// acquire; one asks at a time, as one has the turn.
unsafe impl Sync for Desk {}

shared! {
    static DESK: Desk =
        Desk { state: AtomicU32::new(IDLE), request: UnsafeCell::new(None), answer: AtomicU32::new(0) };
}

/// Makes and buries the OS threads of all simulated ones, outside of the filter, while whoever asks waits. So one OS thread
/// of a simulation runs at any moment, also within the C library, and none but the carrier inherits the filter: an OS thread
/// ends with all signals blocked, where a trapped call would kill the process.
fn spawner() {
    loop {
        while DESK.state.load(Ordering::Acquire) != ASKED {
            futex_wait(&DESK.state, IDLE);
            futex_wait(&DESK.state, ANSWERED);
        }
        // SAFETY: ASKED was seen: the request is whole, and whoever asked waits.
        let request = unsafe { (*DESK.request.get()).take() };
        let answer = match request {
            Some(Request::Create { attributes, contexts }) => create(attributes, &contexts),
            Some(Request::Bury(contexts)) => {
                bury(&contexts);
                0
            }
            None => libc::EINVAL,
        };
        DESK.answer.store(answer.unsigned_abs(), Ordering::Relaxed);
        DESK.state.store(ANSWERED, Ordering::Release);
        futex_wake(&DESK.state);
    }
}

/// Those for which the OS gives none keep 0 for their handle.
fn create(attributes: *const libc::pthread_attr_t, contexts: &[&'static Context]) -> i32 {
    let mut failed = 0;
    for context in contexts {
        let mut pthread = 0;
        let argument = std::ptr::from_ref(*context).cast_mut().cast();
        // SAFETY: the attributes are the caller's of pthread_create, who waits; the context lives for ever.
        failed = unsafe { real_pthread_create()(&mut pthread, attributes, trampoline, argument) };
        if failed != 0 {
            break;
        }
        context.pthread.set(pthread);
    }
    for context in contexts.iter().filter(|context| context.pthread.get() != 0) {
        while context.up.load(Ordering::Acquire) == 0 {
            futex_wait(&context.up, 0);
        }
    }
    failed
}

fn bury(contexts: &[&Context]) {
    for context in contexts {
        context.up.store(2, Ordering::Release);
        futex_wake(&context.up);
    }
    let pid = i64::from(std::process::id());
    for context in contexts {
        let thread = context.os_thread.load(Ordering::Relaxed);
        // SAFETY: signal 0 only asks whether the thread is there.
        while unsafe { call(libc::SYS_tgkill, [pid, thread, 0, 0, 0, 0]) } == 0 {
            std::thread::yield_now();
        }
    }
}

fn ask(request: Request) -> i32 {
    // SAFETY: the spawner reads it only once the state says so.
    unsafe { *DESK.request.get() = Some(request) };
    DESK.state.store(ASKED, Ordering::Release);
    futex_wake(&DESK.state);
    while DESK.state.load(Ordering::Acquire) != ANSWERED {
        futex_wait(&DESK.state, ASKED);
    }
    DESK.state.store(IDLE, Ordering::Relaxed);
    i32::try_from(DESK.answer.load(Ordering::Relaxed)).unwrap_or(libc::EAGAIN)
}

type PthreadCreate = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    extern "C" fn(*mut c_void) -> *mut c_void,
    *mut c_void,
) -> i32;

fn real_pthread_create() -> PthreadCreate {
    shared! { static FOUND: AtomicUsize = AtomicUsize::new(0); }
    let address = crate::front::next_symbol(&FOUND, c"pthread_create");
    // SAFETY: the C library's function of this name has this type.
    unsafe { std::mem::transmute::<usize, PthreadCreate>(address) }
}

/// Where every simulated thread's OS thread begins.
extern "C" fn trampoline(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `create` hands over a context that lives for ever.
    let context: &'static Context = unsafe { &*argument.cast::<Context>() };
    ME.set(Some(context));
    // SAFETY: gettid has no arguments.
    context.os_thread.store(unsafe { call(libc::SYS_gettid, [0; 6]) }, Ordering::Relaxed);
    if world_switch() == Switch::Carrier {
        park(context);
        return context.result.get();
    }
    publish(context);
    take_turn(context);
    entry();
    context.result.get()
}

fn publish(context: &Context) {
    context.up.store(1, Ordering::Release);
    futex_wake(&context.up);
}

/// Publishes where the context stands, on this very stack, and waits until it has ended.
fn park(context: &Context) {
    let all = [u64::MAX; 16];
    // A handler would run on this stack, below this frame, where the context stands.
    // SAFETY: a full set of signals, of the size that sigset_t has.
    outside(|| unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr().cast(), std::ptr::null_mut())
    });
    let here = std::ptr::from_ref(&all) as usize;
    // The context begins a page below this frame: six registers, where to go, and an end for unwinders.
    let top = (here - 4096) & !63;
    // SAFETY: below this frame the stack is nobody's; the page in between is for the calls of this function.
    unsafe {
        std::ptr::with_exposed_provenance_mut::<usize>(top + 48).write(entry as *const () as usize);
        std::ptr::with_exposed_provenance_mut::<usize>(top + 56).write(0);
    }
    context.stack.set(top);
    context.locals.set(locals());
    publish(context);
    while context.up.load(Ordering::Acquire) != 2 {
        futex_wait(&context.up, 1);
    }
}

fn take_turn(context: &Context) {
    while context.turn.swap(0, Ordering::Acquire) == 0 {
        futex_wait(&context.turn, 0);
    }
}

fn give_turn(context: &Context) {
    context.turn.store(1, Ordering::Release);
    futex_wake(&context.turn);
}

shared! { static SWITCH: AtomicU32 = AtomicU32::new(0); }

fn world_switch() -> Switch {
    if SWITCH.load(Ordering::Relaxed) == 0 { Switch::Carrier } else { Switch::Futex }
}

// ---- threads -------------------------------------------------------------------------------------------------------------

/// Begins a thread of a process. The thread that asks goes on; the new one waits for its turn.
///
/// # Errors
/// As `pthread_create`.
pub(crate) fn start_thread(
    process: Pid,
    is_main: bool,
    attributes: *const libc::pthread_attr_t,
    start: Start,
) -> Result<libc::pthread_t, i32> {
    let context = ready_context(attributes)?;
    context.is_main.set(is_main);
    context.is_of_test.set(process == CONTROL);
    context.start.set(Some(start));
    let maker = me().map(Context::id);
    with(|world| {
        // A thread begins with what its maker holds back; a process with nothing.
        let maker = maker.filter(|maker| world.kernel.process_of(*maker) == process);
        let mask = maker.map_or(0, |maker| world.kernel.change_signal_mask(maker, |mask| mask));
        let id = world.kernel.add_thread(process, mask);
        context.id.set(id);
        debug_assert_eq!(world.contexts.len(), id.0 as usize);
        world.contexts.push(context);
        world.threads.insert(context.pthread.get(), id);
    });
    Ok(context.pthread.get())
}

/// An OS thread of these attributes, parked. Each time that one has to be made, as many more are as there were.
fn ready_context(attributes: *const libc::pthread_attr_t) -> Result<&'static Context, i32> {
    let kind = kind_of(attributes);
    let stock = |world: &mut World| match kind {
        Ok(kind) => {
            let (ready, made) = world.stock.entry(kind).or_default();
            (ready.pop(), (*made).clamp(1, BATCH_MAX))
        }
        Err(Unlike) => (None, 1),
    };
    let count = match with(stock) {
        (Some(context), _) => return Ok(context),
        (None, count) => count,
    };
    bury_dead();
    let contexts: Vec<_> = (0..count).map(|_| Context::new()).collect();
    let failed = ask(Request::Create { attributes, contexts: contexts.clone() });
    let mut made: Vec<_> = contexts.into_iter().filter(|context| context.pthread.get() != 0).collect();
    let context = made.pop().ok_or(failed)?;
    if let Ok(kind) = kind {
        with(|world| {
            let (ready, ever) = world.stock.entry(kind).or_default();
            *ever += made.len() + 1;
            ready.extend(made);
        });
    }
    Ok(context)
}

/// A thread like no other.
struct Unlike;

/// What threads of these attributes have in common. Those that bring their stack, or begin detached, are made one by one.
fn kind_of(attributes: *const libc::pthread_attr_t) -> Result<Kind, Unlike> {
    unsafe extern "C" {
        fn pthread_attr_getdetachstate(attributes: *const libc::pthread_attr_t, state: *mut i32) -> i32;
    }
    if attributes.is_null() {
        return Ok(None);
    }
    let (mut stack, mut size, mut guard, mut state) = (std::ptr::null_mut(), 0, 0, 0);
    // SAFETY: the attributes are the caller's of pthread_create; these only read them.
    let failed = unsafe {
        libc::pthread_attr_getstack(attributes, &mut stack, &mut size)
            | libc::pthread_attr_getguardsize(attributes, &mut guard)
            | pthread_attr_getdetachstate(attributes, &mut state)
    };
    // The C library tells where a stack begins by its end, which is 0 where there is none.
    let brings_stack = stack.addr().wrapping_add(size) != 0;
    if failed != 0 || brings_stack || state != libc::PTHREAD_CREATE_JOINABLE {
        return Err(Unlike);
    }
    Ok(Some([size, guard]))
}

/// The first thing that a simulated thread does, on its own stack with its own thread-locals.
extern "C" fn entry() {
    let context = me().expect("a simulated thread");
    after_switch();
    if let Some(start) = context.start.take() {
        context.result.set(start());
    }
    run_destructors(context);
    let next = with(|world| {
        world.threads.remove(&context.pthread.get());
        if context.is_main.get() {
            let code = i32::try_from(context.result.get().addr().cast_signed()).unwrap_or(255);
            let process = world.kernel.process_of(context.id());
            world.kernel.end_process(process, Exit::Code(code));
        } else {
            world.kernel.end_thread(context.id());
        }
        world.leaving = Some(context);
        world.next()
    });
    ME.set(None);
    match world_switch() {
        // SAFETY: the next context stands where it gave up its turn; this one is never resumed.
        Switch::Carrier => unsafe {
            netsplit_sim_switch(&raw const context.stack, next.stack.get(), next.locals.get());
        },
        // Its OS thread ends by returning: to unwind it would end in `extern "C"`.
        Switch::Futex => give_turn(next),
    }
}

/// Destructors of thread-locals, then of keys, until none is left; still simulated, in turn and in virtual time.
fn run_destructors(context: &'static Context) {
    loop {
        loop {
            let last = context.destructors.borrow_mut().pop();
            let Some((destructor, argument)) = last else { break };
            // SAFETY: registered for this thread by code that waits for exactly this call.
            unsafe { destructor(argument) };
        }
        if !crate::front::run_key_destructors(context) && context.destructors.borrow().is_empty() {
            return;
        }
    }
}

/// Registers a destructor of the running thread's locals.
pub(crate) fn at_thread_end(context: &Context, destructor: KeyDestructor, argument: *mut c_void) {
    context.destructors.borrow_mut().push((destructor, argument));
}

/// The thread of this handle, if it has not ended.
pub(crate) fn thread_of(world: &World, pthread: libc::pthread_t) -> Option<ThreadId> {
    world.threads.get(&pthread).copied()
}

impl World {
    /// Lets time pass until somebody has the turn; the controller's when it is over.
    fn next(&mut self) -> &'static Context {
        let next = self.kernel.pick();
        crate::front::spin::turned(self.kernel.counts.turns);
        let process = next.map_or(CONTROL, |id| self.kernel.process_of(id));
        if process != self.laid_out {
            self.lay_out(process);
        }
        IS_EVENTFUL.store(self.leaving.is_some() || self.kernel.has_signals(), Ordering::Relaxed);
        next.map_or(self.controller, |id| self.contexts[id.0 as usize])
    }

    /// `environ`, and what is static, are each process's own.
    fn lay_out(&mut self, process: Pid) {
        let from = std::mem::replace(&mut self.laid_out, process);
        // SAFETY: nobody else of the simulation runs, and who is outside of it waits for its end.
        unsafe {
            let left = (*environ()).expose_provenance();
            *self.environment(from) = left;
            let own = *self.environment(process);
            *environ() = std::ptr::with_exposed_provenance_mut(own);
        }
        self.statics.change(from, process);
        if self.kernel.exit_of(from).is_some() {
            self.statics.forget(from);
        }
    }

    /// Gives a process variables of its own: pointers to `NAME=value`, the last one null, that live for ever.
    pub(crate) fn set_environment(&mut self, process: Pid, variables: *mut *mut c_char) {
        *self.environment(process) = variables.expose_provenance();
    }

    fn environment(&mut self, process: Pid) -> &mut usize {
        if self.environments.len() <= process.index() {
            self.environments.resize(process.index() + 1, 0);
        }
        &mut self.environments[process.index()]
    }
}

/// Where the C library has the environment.
pub(crate) fn environ() -> *mut *mut *mut c_char {
    unsafe extern "C" {
        static mut environ: *mut *mut c_char;
    }
    &raw mut environ
}

/// Whose thread it is, for reports: host, process, number and seed.
pub(crate) fn describe(context: &'static Context) -> String {
    let number = context.id().0;
    if IS_BORROWED.load(Ordering::Relaxed) {
        return format!("thread {number}, within a call,");
    }
    with(|world| {
        let kernel = &world.kernel;
        let Caller { process, host, .. } = kernel.caller(context.id());
        let (host, process, seed) = (kernel.host_name(host), kernel.process_name(process), kernel.rules.seed);
        let on = if host.is_empty() { String::new() } else { format!(" on host {host}") };
        format!("thread {number} of {process}{on}, seed {seed},")
    })
}

/// Waits; returns when the thread has the turn again, and has done the signals that it was given.
pub(crate) fn wait(context: &'static Context, wait: Wait) -> Interrupted {
    let next = with_turn(context, |world| {
        world.kernel.wait(context.id(), wait);
        world.next()
    });
    give(context, next)
}

/// Lets the others go first.
pub(crate) fn yield_now(context: &'static Context) {
    let next = with_turn(context, |world| {
        world.kernel.yield_turn(context.id());
        world.next()
    });
    give(context, next);
}

/// Gives up the turn of a thread whose process has ended. It never returns.
pub(crate) fn leave_for_ever(context: &'static Context) -> ! {
    let next = with(World::next);
    give(context, next);
    unreachable!("an ended thread has no turn")
}

fn give(from: &'static Context, to: &'static Context) -> Interrupted {
    if std::ptr::eq(from, to) {
        // What let time pass may have sent it a signal: its own alarm.
        return after_switch();
    }
    match world_switch() {
        Switch::Carrier => {
            // SAFETY: `to` stands where it gave up its turn, or at its beginning; `from` is resumed the same way.
            unsafe { netsplit_sim_switch(&raw const from.stack, to.stack.get(), to.locals.get()) }
        }
        Switch::Futex => {
            give_turn(to);
            take_turn(from);
        }
    }
    after_switch()
}

/// What a thread does first when it has been given the turn.
fn after_switch() -> Interrupted {
    if !IS_EVENTFUL.load(Ordering::Relaxed) {
        return Interrupted::No;
    }
    // The controller is no simulated thread; when it has the turn it is over.
    let Some(me) = me() else { return Interrupted::No };
    let has_signals = with_turn(me, |world| {
        // Only now is nobody on the stack of a thread that ended, so that its OS thread may go and free it.
        world.dead.extend(world.leaving.take());
        world.kernel.pending_signals(me.id()) != 0
    });
    if has_signals { crate::front::signals::handle(me) } else { Interrupted::No }
}

/// Lets the OS threads of ended threads end too: before more are made, and before one is joined.
pub(crate) fn bury_dead() {
    let dead = with(|world| std::mem::take(&mut world.dead));
    if !dead.is_empty() {
        ask(Request::Bury(dead));
    }
}

/// Begins a thread of the real world. It has begun: what the standard library keeps of threads is a process's of the
/// simulation from now on.
pub(crate) fn beside(name: &str, main: impl FnOnce() + Send + 'static) {
    let met = Arc::new(Barrier::new(2));
    let there = Arc::clone(&met);
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        there.wait();
        main();
    });
    thread.expect("the OS gives a thread");
    met.wait();
}

/// Runs the world until it is over, on an OS thread made for that; then gives it back, for a look.
///
/// # Panics
/// When this OS process has a simulation already, or the OS gives no thread.
pub(crate) fn run(
    (kernel, statics): (Kernel, Statics),
    switch: Switch,
    spin: Option<Duration>,
    begin: impl FnOnce() + Send + 'static,
    filter: fn(),
) {
    let switch = if can_carry() { switch } else { Switch::Futex };
    SWITCH.store(u32::from(switch == Switch::Futex), Ordering::Relaxed);
    let controller = Context::new();
    let world = World {
        kernel,
        contexts: Vec::new(),
        controller,
        stock: BTreeMap::new(),
        leaving: None,
        dead: Vec::new(),
        threads: BTreeMap::new(),
        environments: Vec::new(),
        statics,
        laid_out: CONTROL,
    };
    // SAFETY: nobody looks at the world before there is one.
    let before = unsafe { (*WORLD.0.get()).replace(world) };
    assert!(before.is_none(), "one simulation in an OS process");
    beside("sim-spawner", spawner);
    let carrier = move || {
        if switch == Switch::Carrier {
            controller.locals.set(locals());
        }
        begin();
        if let (Switch::Carrier, Some(limit)) = (switch, spin) {
            crate::front::spin::watch(limit);
        }
        filter();
        let first = with(World::next);
        give(controller, first);
    };
    let carrier = std::thread::Builder::new().name("sim-carrier".into()).spawn(carrier);
    let _ended = carrier.expect("a thread that carries the others").join();
}
