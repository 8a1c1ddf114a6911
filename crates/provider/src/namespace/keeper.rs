//! Stays outside every namespace: makes the stage, holds what the kernel does not free by itself, watches the test, and
//! ends last. When it has ended, nothing is left.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SocketFlags, accept_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getppid, kill_process, pidfd_open, set_parent_process_death_signal,
    waitpid,
};

use super::cgroup::Cgroup;
use super::control::{self, Ask, REQUEST_MAX, Reply, Request, Say, Step, StepError};
use super::socket;
use super::stage::{self, Begin};
use crate::limits;
use crate::sys::{self, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, Forked, fork};

/// A testbed that was kept ends by itself after this.
const KEPT_MAX: Duration = Duration::from_secs(24 * 3600);
/// How often a kept testbed looks whether its run's directory is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a stage that could not stand may take to say why.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
const NEVER: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Serves the test process `test`, whose socket is fd 0; returns when the stage is gone and nothing is left of it.
pub(super) fn run(test: Pid) -> io::Result<()> {
    // Out of the terminal's job control: ctrl-C and ctrl-Z go to the test, and reach us through its pidfd.
    rustix::process::setsid()?;
    sys::close_all_but(&[]);
    let alive = pidfd_open(test, PidfdFlags::empty())?;
    // Only after pidfd_open: had the test died before, the descriptor could name a stranger with its number.
    if getppid() != Some(test) {
        return Ok(());
    }
    let socket = sys::take_fd(0);
    // 0 must not be given to something else by the next open.
    let _null = fs::File::open("/dev/null")?;
    let done = keep(&socket, alive);
    if let Err(error) = &done {
        let _test_gone =
            control::send(&socket, &Reply { id: 0, say: Some(Say::Failed(error.failure())) }, None);
    }
    done.map_err(|error| error.error)
}

fn keep(test: &OwnedFd, alive: OwnedFd) -> Result<(), StepError> {
    if sys::threads().step("count threads")? != 1 {
        return Err(io::Error::other("a constructor of this program starts threads before `main`"))
            .step("fork");
    }
    let first = control::receive::<Request>(test, RecvFlags::empty(), REQUEST_MAX).step("hear the test")?;
    let Some((Request { ask, .. }, dir)) = first else { return Ok(()) };
    let Some(Ask::Begin(network)) = ask else {
        return Err(io::Error::other("it does not say what joins the hosts")).step("hear the test");
    };
    limits::raise();
    let root = is_root_of_the_machine().step("read uid_map")?;
    let group = Cgroup::make();
    let begin = Begin { root, cgroup: group.as_ref().map(|group| group.path().to_owned()), network };
    let (ours, theirs) = control::pair().step("socketpair")?;
    let (client, their_client) = control::pair().step("socketpair")?;
    let (go, gate) = control::pair().step("socketpair")?;
    let stage = match fork_stage(root)? {
        Forked::Child => {
            drop((ours, client, go));
            become_stage(test, &begin, theirs, their_client, gate)
        }
        Forked::Parent(pid) => pid,
    };
    drop((theirs, their_client, gate));
    let _lock = dir.as_ref().and_then(|dir| socket::lock(dir).ok());
    let mut keeper = Keeper { stage, socket: ours, dir, listener: None, kept: None };
    let served = keeper.serve(test, alive, &client, &go, root);
    keeper.end(group);
    served
}

fn fork_stage(root: bool) -> Result<Forked, StepError> {
    let user = if root { 0 } else { CLONE_NEWUSER };
    fork(user | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC).step("clone")
}

/// Root means capable in the first user namespace: in a container, or on a host of ours, the user id is 0 as well.
fn is_root_of_the_machine() -> io::Result<bool> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    let fields: Vec<_> = map.split_ascii_whitespace().collect();
    Ok(rustix::process::geteuid().is_root() && fields == ["0", "0", "4294967295"])
}

fn become_stage(test: &OwnedFd, begin: &Begin, keeper: OwnedFd, client: OwnedFd, gate: OwnedFd) -> ! {
    // Kept for good: no later call here changes user or program, which would clear it.
    let armed = set_parent_process_death_signal(Some(Signal::KILL));
    // A keeper that died before that left the gate at end of file.
    let opened = control::receive::<Request>(&gate, RecvFlags::empty(), REQUEST_MAX);
    if armed.is_err() || !matches!(opened, Ok(Some(_))) {
        sys::exit_now(1);
    }
    drop(gate);
    let done = stage::run(begin, keeper, client);
    if let Err(error) = &done {
        let _test_gone = control::send(test, &Reply { id: 0, say: Some(Say::Failed(error.failure())) }, None);
    }
    sys::exit_now(done.is_err().into())
}

struct Keeper {
    stage: Pid,
    socket: OwnedFd,
    /// The run's directory.
    dir: Option<OwnedFd>,
    listener: Option<OwnedFd>,
    /// Since when the testbed is on its own.
    kept: Option<Instant>,
}

impl Keeper {
    fn serve(
        &mut self,
        test: &OwnedFd,
        alive: OwnedFd,
        client: &OwnedFd,
        go: &OwnedFd,
        root: bool,
    ) -> Result<(), StepError> {
        let stage_alive = pidfd_open(self.stage, PidfdFlags::empty()).step("pidfd_open")?;
        if !root {
            write_maps(self.stage)?;
        }
        control::send(go, &Request::nudge(), None).step("open the gate")?;
        // The stage says that it stands, or ends after it has told the test why not.
        match control::receive::<Reply>(&self.socket, RecvFlags::empty(), REQUEST_MAX)
            .step("hear the stage")?
        {
            Some((Reply { say: Some(Say::Stands(_)), .. }, _)) => {}
            _ => return wait_for(&stage_alive).step("wait for the stage"),
        }
        self.listener = self.dir.as_ref().and_then(|dir| socket::listen(dir).ok());
        let stands = Reply { id: 0, say: Some(Say::Stands(true)) };
        control::send(test, &stands, Some(client.as_fd())).step("answer the test")?;
        self.watch(&alive, &stage_alive).step("watch")
    }

    /// Until the stage has ended, or the test has and did not leave the testbed to us.
    fn watch(&mut self, alive: &OwnedFd, stage_alive: &OwnedFd) -> io::Result<()> {
        loop {
            let timeout = if self.kept.is_some() { LOOK_EVERY } else { NEVER };
            let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
            if self.kept.is_some_and(|since| since.elapsed() > KEPT_MAX || !self.is_reachable()) {
                return Ok(());
            }
            let mut fds = vec![
                PollFd::new(stage_alive, PollFlags::IN),
                PollFd::new(&self.socket, PollFlags::IN),
                // A kept testbed's test is over, and its pidfd would say so without end: even unasked, once it is reaped.
                PollFd::new(if self.kept.is_some() { stage_alive } else { alive }, PollFlags::IN),
            ];
            fds.extend(self.listener.as_ref().map(|listener| PollFd::new(listener, PollFlags::IN)));
            match poll(&mut fds, Some(&timeout)) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready[0] {
                return Ok(());
            }
            // Before the test's death: "keep" may have come first.
            if ready[1] {
                self.on_stage()?;
                continue;
            }
            // The poll above looks at one after the other: "keep" may have come between.
            if ready[2] && self.kept.is_none() && !has_word(&self.socket)? {
                return Ok(());
            }
            if ready.get(3).is_some_and(|ready| *ready) {
                self.introduce()?;
            }
        }
    }

    fn on_stage(&mut self) -> io::Result<()> {
        let asked = control::receive::<Request>(&self.socket, RecvFlags::empty(), REQUEST_MAX)?;
        match asked {
            Some((Request { ask: Some(Ask::Fate(_)), .. }, _)) => self.kept = Some(Instant::now()),
            Some(_) => {}
            // It ends; its pidfd will say so.
            None => std::thread::sleep(Duration::from_millis(1)),
        }
        Ok(())
    }

    /// Whether others can still find this testbed: not once the run's directory is removed.
    fn is_reachable(&self) -> bool {
        self.listener.is_some() && self.dir.as_ref().is_some_and(socket::is_there)
    }

    /// Passes a new client on to the stage, if it is of our user.
    fn introduce(&self) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let Ok(client) = accept_with(listener, SocketFlags::CLOEXEC) else { return Ok(()) };
        let peer = rustix::net::sockopt::socket_peercred(&client)?;
        let ours = rustix::process::geteuid();
        if peer.uid == ours || peer.uid.is_root() {
            control::send(&self.socket, &Request::nudge(), Some(client.as_fd()))?;
        }
        Ok(())
    }

    fn end(self, group: Option<Cgroup>) {
        // Our child, not yet waited for: the number is still its own.
        let _gone_already = kill_process(self.stage, Signal::KILL);
        // The stage is reaped only after every process of its pid namespace is: then nothing of it runs.
        let _reaped = waitpid(Some(self.stage), WaitOptions::empty());
        if let Some(group) = group {
            // Left for the next keeper if a process outside put something into it.
            let _in_use = group.remove();
        }
        if let Some(dir) = &self.dir {
            socket::unlink(dir);
        }
    }
}

/// Whether something can be received without waiting.
fn has_word(socket: &OwnedFd) -> io::Result<bool> {
    Ok(poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&Timespec::default()))? > 0)
}

/// Lets a stage that could not stand end by itself: killed at once, it might not have told the test why.
fn wait_for(stage: &OwnedFd) -> io::Result<()> {
    let timeout = Timespec::try_from(LAST_WORDS_MAX).map_err(io::Error::other)?;
    poll(&mut [PollFd::new(stage, PollFlags::IN)], Some(&timeout))?;
    Ok(())
}

/// One user and one group, by ourselves: no program and no right is needed for that.
fn write_maps(pid: Pid) -> Result<(), StepError> {
    let of = |file: &str| PathBuf::from(format!("/proc/{}/{file}", pid.as_raw_nonzero()));
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // Absent before Linux 3.19, where it was not needed.
    let _absent = fs::write(of("setgroups"), "deny");
    fs::write(of("uid_map"), format!("0 {uid} 1")).step("write uid_map")?;
    fs::write(of("gid_map"), format!("0 {gid} 1")).step("write gid_map")
}
