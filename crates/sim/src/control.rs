//! What a test does to the simulated world: hosts, their power, clocks and disks, processes on them, the network. All of it is
//! called on threads of the simulation, takes no virtual time, and never waits.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use netsplit_netmodel::Route;

use crate::disk;
use crate::front::c_strings;
use crate::front::statics::Statics;
use crate::kernel::{
    CONTROL, Descriptor, Exit, HostId, HostPlan, Kernel, Nanos, Over, Pid, Plan, Rules, Waiting,
};
use crate::net::{Net, NicSpec, Outbox};
use crate::random::Random;
use crate::switch::{self, Switch};

/// What a simulation is told before it begins.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Of all chance.
    pub seed: u64,
    /// How much virtual time it may take.
    pub limit: Duration,
    /// How many processors each host says it has.
    pub cpus: usize,
    /// How the turn is handed from thread to thread. It makes no difference to what happens.
    pub switch: Switch,
    /// Whether what bypasses libc's functions is caught.
    pub filter: bool,
    /// How much time of the processor one thread may use without giving up its turn; then this OS process ends, with a message.
    pub spin: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            limit: Duration::from_secs(24 * 3600),
            cpus: 4,
            switch: Switch::Carrier,
            filter: true,
            spin: Some(Duration::from_secs(30)),
        }
    }
}

/// What came of a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// A hash of all that happened, in order. The same seed gives the same.
    pub trace: u64,
    /// How much virtual time has passed.
    pub now: Duration,
    /// Packets, timers and deadlines that came due.
    pub events: u64,
    /// How often a thread was given its turn.
    pub turns: u64,
    /// What bypassed libc's functions and was caught.
    pub traps: u64,
    /// Why it ended.
    pub end: End,
}

/// Why a simulation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The control process ended.
    Ended(Exit),
    /// Nothing can ever happen again; these wait.
    Deadlock(Vec<Stuck>),
    /// It took more virtual time than it may; these wait.
    Limit(Vec<Stuck>),
    /// More than a million packets and timers were to come within a second; these wait.
    Flood(Vec<Stuck>),
}

/// A thread that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// The name of its host; of the control process empty.
    pub host: String,
    /// The name of its process.
    pub process: String,
    /// Its number.
    pub thread: u32,
    /// What it waits for.
    pub waits_for: String,
}

impl From<Waiting> for Stuck {
    fn from(waiting: Waiting) -> Self {
        let Waiting { thread, host, process, what } = waiting;
        Self { host, process, thread: thread.0, waits_for: what }
    }
}

/// Runs those of the executable's constructors that the loader would run after `hook`, which does not return to it.
pub fn run_later_constructors(hook: extern "C" fn()) {
    crate::front::statics::construct_rest(hook);
}

/// Simulates: runs `test` as the control process, whose files and standard streams are this machine's, and all that it begins,
/// until it returns. Only once in an OS process, which should then end by `_exit`: threads of killed processes stay parked.
///
/// # Panics
/// When this OS process has simulated before.
pub fn run(config: Config, test: impl FnOnce() + Send + 'static) -> Report {
    let limit = Nanos::try_from(config.limit.as_nanos()).unwrap_or(Nanos::MAX);
    let statics = Statics::new();
    crate::front::memory::reserve();
    let has_own_statics = statics.are_own();
    let mut kernel = Kernel::new(Rules { seed: config.seed, limit, cpus: config.cpus, has_own_statics });
    let host =
        kernel.add_host(&HostPlan { name: String::new(), nics: Vec::new(), routes: Vec::new(), disk: None });
    let plan = Plan { host, name: "test".into(), stdio: [None; 3], cwd: b"/".to_vec() };
    let control = kernel.add_process(plan);
    debug_assert_eq!(control, CONTROL);
    let begin = move || {
        begin_process(
            CONTROL,
            Box::new(move || {
                test();
                0
            }),
        )
    };
    let filter = if config.filter { crate::front::trap::install } else { || () };
    crate::front::spin::over(false);
    switch::run((kernel, statics), config.switch, config.spin, begin, filter);
    crate::front::spin::over(true);
    switch::with(|world| report(&world.kernel))
}

fn report(kernel: &Kernel) -> Report {
    let stuck = || kernel.waiting().into_iter().map(Stuck::from).collect();
    Report {
        trace: kernel.trace.0,
        now: Duration::from_nanos(kernel.now),
        events: kernel.counts.events,
        turns: kernel.counts.turns,
        traps: kernel.counts.traps,
        end: match kernel.over() {
            Some(Over::Ended(exit)) => End::Ended(*exit),
            Some(Over::Limit) => End::Limit(stuck()),
            Some(Over::Flood) => End::Flood(stuck()),
            Some(Over::Deadlock) | None => End::Deadlock(stuck()),
        },
    }
}

/// Gives a process its first thread.
fn begin_process(pid: Pid, main: Box<dyn FnOnce() -> i32 + Send>) {
    let start = move || {
        // As the standard library's `main`: a panic was told on standard error.
        let code = catch_unwind(AssertUnwindSafe(main)).unwrap_or(101);
        std::ptr::without_provenance_mut((code & 0xff).unsigned_abs() as usize)
    };
    let begun = switch::start_thread(pid, true, std::ptr::null(), Box::new(start));
    begun.expect("the OS gives threads");
}

/// Whether the calling thread is one of a simulation.
pub fn is_simulated() -> bool {
    switch::me().is_some()
}

fn kernel<T>(f: impl FnOnce(&mut Kernel) -> T) -> T {
    switch::with(|world| f(&mut world.kernel))
}

/// Virtual time since the begin.
pub fn now() -> Duration {
    Duration::from_nanos(kernel(|kernel| kernel.now))
}

/// A hash of all that has happened so far, in order.
pub fn trace() -> u64 {
    kernel(|kernel| kernel.trace.0)
}

/// A stream of draws of this simulation's seed, by a name of the caller's.
pub fn random(name: &str) -> Random {
    Random::new(kernel(|kernel| kernel.rules.seed), name)
}

/// A simulated host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host(HostId);

/// A host to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSpec {
    /// Its name, by which all others find it.
    pub name: String,
    /// Its ways into networks, that of its name first. On several it is a router.
    pub nics: Vec<NicSpec>,
    /// Where packets for other networks go.
    pub routes: Vec<Route>,
    /// What its disk holds, in bytes; `None`: 1 GiB.
    pub disk: Option<u64>,
}

impl HostSpec {
    /// One on the only network, which has no name.
    pub fn new(name: impl Into<String>, v4: Ipv4Addr, v6: Ipv6Addr) -> Self {
        let nics = vec![NicSpec { network: String::new(), v4, v6 }];
        Self { name: name.into(), nics, routes: Vec::new(), disk: None }
    }
}

impl Host {
    /// Makes a host: it has power, a disk with the usual folders, and reaches all others on its networks.
    pub fn add(spec: &HostSpec) -> Self {
        let HostSpec { name, nics, routes, disk } = spec.clone();
        let plan = HostPlan { name, nics, routes, disk };
        Self(kernel(|kernel| kernel.add_host(&plan)))
    }

    /// Its number on the [network].
    pub fn index(self) -> usize {
        kernel(|kernel| kernel.host_on_net(self.0)).0 as usize
    }

    /// Lays a file on its disk, durable.
    ///
    /// # Errors
    /// As a program's own attempt.
    pub fn write_file(self, path: &str, contents: &[u8]) -> io::Result<()> {
        kernel(|kernel| {
            let now = kernel.wall(self.0);
            kernel.disk(self.0).install(now, path.as_bytes(), contents, 0o644)?;
            Ok(())
        })
    }

    /// Begins a process on it.
    ///
    /// # Errors
    /// When it has no power.
    pub fn spawn(self, spawn: Spawn) -> io::Result<Process> {
        if !kernel(|kernel| kernel.is_up(self.0)) {
            return Err(io::Error::other("the host has no power"));
        }
        begin(self.0, spawn)
    }

    /// Cuts its power: processes and sockets are gone without a word, and of its disk what was not durable.
    pub fn power_off(self) {
        kernel(|kernel| kernel.power_off(self.0));
    }

    /// Gives it power again, with the disk it had.
    pub fn power_on(self) {
        kernel(|kernel| kernel.power_on(self.0));
    }

    /// Stops all its processes for a while, or lets them go on.
    pub fn pause(self, is_paused: bool) {
        kernel(|kernel| kernel.pause(self.0, is_paused));
    }

    /// Sets its wall clock ahead or back.
    pub fn jump_clock(self, nanos: i64) {
        kernel(|kernel| kernel.clock(self.0).jump(nanos));
    }

    /// Has its wall clock show so much more than the true time, or less, whatever it showed before.
    pub fn skew_clock(self, nanos: i64) {
        kernel(|kernel| kernel.clock(self.0).skew(nanos));
    }

    /// Lets its clocks run fast by so many millionths, or slow.
    pub fn drift_clock(self, ppm: i32) {
        kernel(|kernel| {
            let now = kernel.now;
            kernel.clock(self.0).drift(now, ppm);
        });
    }

    /// Changes what is wrong with its disk.
    pub fn set_disk_faults(self, faults: disk::Faults) {
        kernel(|kernel| kernel.set_disk_faults(self.0, faults));
    }

    /// What is wrong with its disk.
    pub fn disk_faults(self) -> disk::Faults {
        kernel(|kernel| kernel.disk(self.0).faults().clone())
    }
}

/// A process to begin.
pub struct Spawn {
    /// What it is called in reports: `kvd`.
    pub name: String,
    /// The words of its command, as it sees them: the first one is its name.
    pub arguments: Vec<OsString>,
    /// Its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Its folder; `/` if that is not there.
    pub cwd: PathBuf,
    /// Simulated descriptors of the caller, which it gives away.
    pub stdin: OwnedFd,
    /// As `stdin`.
    pub stdout: OwnedFd,
    /// As `stdin`.
    pub stderr: OwnedFd,
    /// What it does; its result is the exit code.
    pub main: Box<dyn FnOnce() -> i32 + Send>,
}

impl Spawn {
    /// One in `/` that is told its name and nothing else, with these standard streams.
    pub fn new(
        name: impl Into<String>,
        [stdin, stdout, stderr]: [OwnedFd; 3],
        main: impl FnOnce() -> i32 + Send + 'static,
    ) -> Self {
        let name = name.into();
        let arguments = vec![name.clone().into()];
        let (environment, cwd, main) = (Vec::new(), PathBuf::from("/"), Box::new(main));
        Self { name, arguments, environment, cwd, stdin, stdout, stderr, main }
    }
}

impl std::fmt::Debug for Spawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spawn({})", self.name)
    }
}

/// A simulated process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
}

/// Begins a process on the calling process's own host.
///
/// # Errors
/// When standard streams are no simulated descriptors.
pub fn spawn(spawn: Spawn) -> io::Result<Process> {
    let me = switch::me().ok_or_else(|| io::Error::other("no thread of a simulation"))?;
    begin(kernel(|kernel| kernel.caller(me.id()).host), spawn)
}

fn begin(host: HostId, spawn: Spawn) -> io::Result<Process> {
    let Spawn { name, arguments, environment, cwd, stdin, stdout, stderr, main } = spawn;
    let me = switch::me().ok_or_else(|| io::Error::other("no thread of a simulation"))?;
    let streams = [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()];
    let variable = |(name, value): &(OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
    let variables = c_strings(environment.iter().map(variable));
    let pid = switch::with(|world| {
        let kernel = &mut world.kernel;
        let caller = kernel.caller(me.id());
        let mut stdio = [None; 3];
        for (file, fd) in stdio.iter_mut().zip(streams) {
            match kernel.descriptor(caller.process, fd) {
                Descriptor::Simulated(simulated) => *file = Some(simulated),
                Descriptor::Real | Descriptor::Closed => {
                    return Err(io::Error::from_raw_os_error(libc::EBADF));
                }
            }
        }
        let cwd = cwd.as_os_str().as_bytes().to_vec();
        let pid = kernel.add_process(Plan { host, name, stdio, cwd });
        world.set_environment(pid, variables.as_mut_ptr());
        Ok(pid)
    })?;
    begin_process(
        pid,
        Box::new(move || {
            crate::front::statics::construct(arguments);
            main()
        }),
    );
    Ok(Process { pid: pid.number().unsigned_abs() })
}

impl Process {
    /// A descriptor that becomes readable when it has ended.
    ///
    /// # Errors
    /// When the caller has too many descriptors.
    pub fn pidfd(self) -> io::Result<OwnedFd> {
        let me = switch::me().ok_or_else(|| io::Error::other("no thread of a simulation"))?;
        let fd = kernel(|kernel| {
            let caller = kernel.caller(me.id());
            let pid = kernel.pid(self.pid.cast_signed()).ok_or(crate::Errno::ESRCH)?;
            let file = kernel.open_pidfd(pid);
            kernel.add_fd(caller.process, file)
        })?;
        Ok(crate::front::owned(fd))
    }

    /// How it ended, if it has.
    pub fn exit(self) -> Option<Exit> {
        kernel(|kernel| kernel.pid(self.pid.cast_signed()).and_then(|pid| kernel.exit_of(pid)))
    }
}

/// Sends a signal to a process; whether it is there. 0 only asks.
pub fn signal(pid: u32, signal: i32) -> bool {
    kernel(|kernel| kernel.pid(pid.cast_signed()).is_some_and(|pid| kernel.signal(pid, None, signal)))
}

/// Does something with the network.
pub fn network<T>(f: impl FnOnce(&mut Net, u64, &mut Outbox) -> T) -> T {
    kernel(|kernel| kernel.on_net(f))
}
