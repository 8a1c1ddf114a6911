//! pid 1 of a testbed's pid namespace: makes hosts, starts them again, reaps them; answers its clients.
//!
//! One thread and one poll loop. The kernel ends everything below when this process ends.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid};

use super::cgroup;
use super::control::{
    self, Add, Ask, Attach, Fate, Network, Nic, REPLY_MAX, REQUEST_MAX, Reply, Request, Say, Step, StepError,
};
use super::fabric::{self, News};
use super::host::{self, Plan};
use super::net::Netlink;
use super::root::{self, Disk, Ground};
use crate::sys::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, Forked, fork,
};

/// The step of what only the fabric can do.
pub(super) const NO_FABRIC: &str = "ask the network";
const HOST_NAMESPACES: i32 =
    CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP;
/// Where the stage's own file system lies, in its own mount namespace. /tmp exists on every machine.
const SCRATCH: &str = "/tmp";
/// How long a host may take to stop or go on.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The client that is the test.
const TEST: usize = 0;
/// Clients at once: the test, and shells of people who look on.
const CLIENTS_MAX: usize = 64;
/// What waits for a client that does not read, some hundred bytes each: faults that flap every 10 ms, for a minute and more.
const UNREAD_MAX: usize = 16_384;

/// What the keeper decided before the fork.
#[derive(Debug)]
pub(super) struct Begin {
    /// Root of the machine, not only of a user namespace.
    pub(super) root: bool,
    /// The group for this testbed's hosts.
    pub(super) cgroup: Option<PathBuf>,
    /// What joins the hosts.
    pub(super) network: Network,
}

/// One host, running or not.
struct Host {
    index: usize,
    nics: Vec<Nic>,
    routes: Vec<String>,
    names: String,
    generation: u32,
    running: Option<Running>,
}

struct Running {
    pid: Pid,
    alive: OwnedFd,
    control: OwnedFd,
    /// Its end of a veth pair here; 0: none of ours.
    port: u32,
    paused: bool,
}

struct Client {
    id: usize,
    socket: OwnedFd,
    /// What it is told as soon as it reads: nobody else waits for that.
    unread: VecDeque<(Reply, Option<OwnedFd>)>,
}

impl Client {
    fn new(id: usize, socket: OwnedFd) -> Self {
        Self { id, socket, unread: VecDeque::new() }
    }

    /// Says something as soon as the client reads. `false`: it has gone, or has not read for so long that it counts as
    /// gone.
    fn say(&mut self, reply: Reply, fd: Option<OwnedFd>) -> bool {
        // A test that was stopped, in a debugger as it may be, goes on without the oldest news rather than end.
        if self.unread.len() >= UNREAD_MAX && self.id == TEST {
            self.unread.pop_front();
        }
        self.unread.push_back((reply, fd));
        self.unread.len() <= UNREAD_MAX && self.flush()
    }

    /// `false`: it has gone.
    fn flush(&mut self) -> bool {
        while let Some((reply, fd)) = self.unread.front() {
            match control::try_send(&self.socket, reply, fd.as_ref().map(AsFd::as_fd)) {
                Ok(true) => drop(self.unread.pop_front()),
                Ok(false) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    /// What is to be waited for: who does not read is not asked what else he wants, which would be answered from here.
    fn awaits(&self) -> PollFlags {
        if self.unread.is_empty() { PollFlags::IN } else { PollFlags::OUT }
    }
}

struct Stage<'a> {
    begin: &'a Begin,
    ground: Ground,
    joint: Joint,
    hosts: BTreeMap<String, Host>,
    /// The newest /etc/hosts.
    names: String,
    clients: Vec<Client>,
    clients_ever: usize,
    /// How many pipes were handed over.
    handed: u32,
    /// Whether the testbed outlives its first client.
    kept: bool,
    keeper: OwnedFd,
}

/// What joins the hosts.
enum Joint {
    Bridge(Netlink, u32),
    Fabric(fabric::Process),
}

/// What the poll loop found.
enum Ready {
    Keeper,
    /// The network's process ended.
    FabricEnded,
    /// It has something to say.
    FabricNews,
    Client(usize),
    /// A host ended, or has something to say.
    Host(String),
}

/// Runs until the keeper or the first client has gone.
pub(super) fn run(begin: &Begin, keeper: OwnedFd, test: OwnedFd) -> Result<(), StepError> {
    let scratch = PathBuf::from(SCRATCH);
    let top = root::survey().step("read /")?;
    root::prepare_stage(&scratch)?;
    let netlink = Netlink::open().step("netlink")?;
    netlink.up(super::net::index("lo").step("find lo")?).step("lo up")?;
    let joint = if begin.network.kernel {
        let bridge = netlink.bridge("bridge").step("make a bridge")?;
        Joint::Bridge(netlink, bridge)
    } else {
        Joint::Fabric(fabric::Process::start(begin.network.seed)?)
    };
    let ground = Ground { scratch, top, root: begin.root };
    let mut stage = Stage {
        begin,
        ground,
        joint,
        hosts: BTreeMap::new(),
        names: String::new(),
        clients: vec![Client::new(TEST, test)],
        clients_ever: 1,
        handed: 0,
        kept: false,
        keeper,
    };
    control::send(&stage.keeper, &Reply { id: 0, say: Some(Say::Stands(true)) }, None).step("greet")?;
    stage.serve().step("serve")
}

impl Stage<'_> {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            for ready in self.wait()? {
                match ready {
                    Ready::Keeper => {
                        if !self.on_keeper()? {
                            return Ok(());
                        }
                    }
                    Ready::Client(id) => {
                        if !self.on_client(id)? {
                            return Ok(());
                        }
                    }
                    Ready::FabricEnded => {
                        // It may have said why.
                        self.on_news();
                        return Err(io::Error::other("the network's process ended"));
                    }
                    Ready::FabricNews => {
                        if !self.on_news() {
                            return Ok(());
                        }
                    }
                    Ready::Host(name) => {
                        if !self.on_host(&name) {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    fn wait(&self) -> io::Result<Vec<Ready>> {
        let running = || self.hosts.iter().filter_map(|(name, host)| Some((name, host.running.as_ref()?)));
        let fabric = self.joint.fabric();
        if fabric.is_some_and(fabric::Process::has_news) {
            return Ok(vec![Ready::FabricNews]);
        }
        let mut fds = vec![PollFd::new(&self.keeper, PollFlags::IN)];
        fds.extend(fabric.map(|fabric| PollFd::new(&fabric.alive, PollFlags::IN)));
        fds.extend(fabric.map(|fabric| PollFd::new(&fabric.control, PollFlags::IN)));
        fds.extend(self.clients.iter().map(|client| PollFd::new(&client.socket, client.awaits())));
        fds.extend(running().map(|(_, running)| PollFd::new(&running.alive, PollFlags::IN)));
        loop {
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        let is_ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let who = std::iter::once(Ready::Keeper)
            .chain(fabric.map(|_| Ready::FabricEnded))
            .chain(fabric.map(|_| Ready::FabricNews))
            .chain(self.clients.iter().map(|client| Ready::Client(client.id)))
            .chain(running().map(|(name, _)| Ready::Host(name.clone())));
        Ok(who.zip(is_ready).filter_map(|(who, ready)| ready.then_some(who)).collect())
    }

    /// The keeper passes on new clients; its end of file means that it died. `false`: the end.
    fn on_keeper(&mut self) -> io::Result<bool> {
        let Some((_, fd)) = control::receive::<Request>(&self.keeper, RecvFlags::empty(), REQUEST_MAX)?
        else {
            return Ok(false); // the parent-death signal is only faster
        };
        if let Some(socket) = fd.filter(|_| self.clients.len() < CLIENTS_MAX) {
            self.clients.push(Client::new(self.clients_ever, socket));
            self.clients_ever += 1;
        }
        Ok(true)
    }

    /// `false`: the end.
    fn on_client(&mut self, id: usize) -> io::Result<bool> {
        let Some(at) = self.clients.iter().position(|client| client.id == id) else { return Ok(true) };
        if !self.clients[at].flush() {
            return Ok(self.on_gone(id));
        }
        if !self.clients[at].unread.is_empty() {
            return Ok(true);
        }
        let request = control::receive::<Request>(&self.clients[at].socket, RecvFlags::DONTWAIT, REQUEST_MAX);
        let (request, fd) = match request {
            Ok(Some(request)) => request,
            // It reads again, and says nothing.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            // A packet that cannot be read is a client that is not ours.
            Ok(None) | Err(_) => return Ok(self.on_gone(id)),
        };
        let Request { id: number, ask: Some(ask) } = request else { return Ok(true) };
        if ask == Ask::Fate(Fate::End.into()) {
            return Ok(false);
        }
        if let (Joint::Fabric(fabric), Ask::EndCapture(_)) = (&mut self.joint, &ask) {
            // A file may take its time.
            return match fabric.ask_later(ask, fd.as_ref().map(AsFd::as_fd), id, number) {
                Ok(()) => Ok(true),
                Err(error) => {
                    Ok(self.say(id, Reply { id: number, say: Some(Say::Failed(error.failure())) }, None))
                }
            };
        }
        let answer = self.obey(id, ask, fd);
        let (say, fd) = match answer {
            Ok((generation, fd)) => (Say::Done(generation), fd),
            Err(error) => (Say::Failed(error.failure()), None),
        };
        let reply = Reply { id: number, say: Some(say) };
        Ok(self.say(id, reply, fd))
    }

    /// Tells one client. `false`: the end.
    fn say(&mut self, id: usize, reply: Reply, fd: Option<OwnedFd>) -> bool {
        let client = self.clients.iter_mut().find(|client| client.id == id);
        client.is_none_or(|client| client.say(reply, fd)) || self.on_gone(id)
    }

    /// A client has gone, and its faults with it. `false`: the end.
    fn on_gone(&mut self, id: usize) -> bool {
        self.clients.retain(|client| client.id != id);
        // With the network gone, too, the next poll says so.
        let _network_gone = self.joint.ask(Ask::Gone(id as u64), None);
        id != TEST || self.kept
    }

    /// Passes on what the network says by itself. `false`: the end.
    fn on_news(&mut self) -> bool {
        while let Joint::Fabric(fabric) = &mut self.joint
            && let Some(news) = fabric.news()
        {
            let goes_on = match news {
                News::All(say) => self.announce(&Reply { id: 0, say: Some(say) }),
                News::Answer(client, reply) => self.say(client, reply, None),
            };
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// Tells every client. `false`: the end.
    fn announce(&mut self, reply: &Reply) -> bool {
        let ids: Vec<_> = self.clients.iter().map(|client| client.id).collect();
        ids.into_iter().all(|id| self.say(id, reply.clone(), None))
    }

    /// Returns the host's generation or the number of a pipe, and the connection that was asked for.
    fn obey(
        &mut self,
        client: usize,
        ask: Ask,
        fd: Option<OwnedFd>,
    ) -> Result<(u32, Option<OwnedFd>), StepError> {
        match ask {
            Ask::Add(add) => self.add(add),
            Ask::Connect(name) => self.connect(&name),
            Ask::Hand(name) => self.hand(&name, fd),
            Ask::Kill(name) => self.kill(&name).map(|()| (0, None)),
            Ask::Start(name) => self.start(&name),
            Ask::Pause(name) => self.pause(&name, true).map(|()| (0, None)),
            Ask::Resume(name) => self.pause(&name, false).map(|()| (0, None)),
            Ask::Fault(fault) => {
                let fault = control::Fault { client: client as u64, ..fault };
                self.joint.ask(Ask::Fault(fault), None).map(|id| (id, None))
            }
            Ask::Heal(heal) => {
                let heal = control::Heal { client: client as u64, ..heal };
                self.joint.ask(Ask::Heal(heal), None).map(|_| (0, None))
            }
            Ask::Capture(capture) => {
                let capture = control::Capture { client: client as u64, ..capture };
                let fd = fd.as_ref().map(AsFd::as_fd);
                self.joint.ask(Ask::Capture(capture), fd).map(|number| (number, None))
            }
            Ask::Report(_) | Ask::EndCapture(_) | Ask::Router(_) => {
                self.joint.ask(ask, fd.as_ref().map(AsFd::as_fd)).map(|number| (number, None))
            }
            Ask::Begin(_) | Ask::Attach(_) | Ask::Detach(_) | Ask::Gone(_) => {
                Err(io::Error::other("not asked of the stage")).step("read a request")
            }
            Ask::Fate(_) => {
                self.kept = true;
                let keep = Request { id: 0, ask: Some(Ask::Fate(Fate::Keep.into())) };
                control::send(&self.keeper, &keep, None).step("tell the keeper")?;
                Ok((0, None))
            }
        }
    }

    fn add(&mut self, add: Add) -> Result<(u32, Option<OwnedFd>), StepError> {
        if self.hosts.contains_key(&add.name) {
            return Err(io::Error::other("there is a host of this name")).step("make a host");
        }
        if !add.names.is_empty() {
            self.names = add.names;
        }
        Disk::of(&self.ground, &add.name).make(add.disk)?;
        let host = Host {
            index: self.hosts.len(),
            nics: add.nics,
            routes: add.routes,
            names: self.names.clone(),
            generation: 0,
            running: None,
        };
        self.hosts.insert(add.name.clone(), host);
        self.start(&add.name)
    }

    fn start(&mut self, name: &str) -> Result<(u32, Option<OwnedFd>), StepError> {
        let host = find(&mut self.hosts, name)?;
        if host.running.is_some() {
            return Err(io::Error::other("it is running")).step("start a host");
        }
        Disk::of(&self.ground, name).write_names(name, &host.names)?;
        host.generation += 1;
        let Host { nics, routes, names, generation, .. } = &*host;
        let plan = Plan { ground: &self.ground, name, nics, routes, names, generation: *generation };
        let (control, theirs) = control::pair().step("socketpair")?;
        let (link, their_link) = control::stream_pair().step("socketpair")?;
        let pid = match fork(HOST_NAMESPACES).step("clone a host")? {
            Forked::Child => host::run(&plan, theirs, their_link),
            Forked::Parent(pid) => pid,
        };
        drop((theirs, their_link));
        let alive = pidfd_open(pid, PidfdFlags::empty()).step("pidfd_open")?;
        let port = self.joint.join(name, host, pid, &alive);
        let placed = match &self.begin.cgroup {
            Some(group) => cgroup::place(group, name, pid).step("place a host in its group"),
            None => Ok(()),
        };
        let wired = control::send(&control, &Request::nudge(), None).step("wire a host");
        host.running =
            Some(Running { pid, alive, control, port: *port.as_ref().unwrap_or(&0), paused: false });
        let generation = host.generation;
        if let Err(error) = port.map(drop).and(placed).and(wired) {
            let reason = self.bury(name);
            return Err(reason.unwrap_or(error));
        }
        Ok((generation, Some(link)))
    }

    fn connect(&mut self, name: &str) -> Result<(u32, Option<OwnedFd>), StepError> {
        let host = find(&mut self.hosts, name)?;
        let running = running(host, "connect")?;
        let (ours, theirs) = control::stream_pair().step("socketpair")?;
        let request = Request { id: 0, ask: Some(Ask::Connect(String::new())) };
        control::send(&running.control, &request, Some(theirs.as_fd())).step("connect")?;
        Ok((host.generation, Some(ours)))
    }

    /// The agent knows the pipe by the number that is returned; it may reach the agent later than this answer the client.
    fn hand(&mut self, name: &str, pipe: Option<OwnedFd>) -> Result<(u32, Option<OwnedFd>), StepError> {
        let pipe = pipe.ok_or_else(|| io::Error::other("no pipe came with it")).step("hand over a pipe")?;
        self.handed = self.handed.wrapping_add(1).max(1);
        let running = running(find(&mut self.hosts, name)?, "hand over a pipe")?;
        let request = Request { id: self.handed.into(), ask: Some(Ask::Hand(String::new())) };
        control::send(&running.control, &request, Some(pipe.as_fd())).step("hand over a pipe")?;
        Ok((self.handed, None))
    }

    fn kill(&mut self, name: &str) -> Result<(), StepError> {
        running(find(&mut self.hosts, name)?, "kill")?;
        self.bury(name);
        Ok(())
    }

    /// Ends a host, if it runs, and waits until nothing of it does. Returns what it said last, if that was trouble.
    fn bury(&mut self, name: &str) -> Option<StepError> {
        let running = self.hosts.get_mut(name)?.running.take()?;
        // A frozen group of the second version still obeys KILL; so does a stopped process.
        let _gone_already = kill_process(running.pid, Signal::KILL);
        let _reaped = waitid(WaitId::PidFd(running.alive.as_fd()), WaitIdOptions::EXITED);
        // At once, rather than when the kernel gets round to it: its neighbours must not send into a dead port while
        // the host comes up again.
        self.joint.part(name, running.port);
        if let (Some(group), true) = (&self.begin.cgroup, running.paused) {
            let _thawed_anyway = cgroup::freeze(group, name, false);
        }
        last_words(&running.control)
    }

    /// A host ended by itself, or somebody outside killed its agent. `false`: the end.
    fn on_host(&mut self, name: &str) -> bool {
        let reason =
            self.bury(name).map_or_else(String::new, |error| format!("{}: {}", error.step, error.error));
        let died = Reply { id: 0, say: Some(Say::Died(control::cut(format!("{name}\n{reason}")))) };
        self.announce(&died)
    }

    fn pause(&mut self, name: &str, pause: bool) -> Result<(), StepError> {
        let step = if pause { "pause" } else { "resume" };
        let running = running(find(&mut self.hosts, name)?, step)?;
        if running.paused == pause {
            return Err(io::Error::other(if pause { "it is paused" } else { "it is not paused" })).step(step);
        }
        match &self.begin.cgroup {
            Some(group) => freeze_group(group, name, pause).step(step)?,
            None => freeze_by_signals(running, pause).step(step)?,
        }
        running.paused = pause;
        Ok(())
    }
}

impl Joint {
    fn fabric(&self) -> Option<&fabric::Process> {
        match self {
            Self::Fabric(fabric) => Some(fabric),
            Self::Bridge(..) => None,
        }
    }

    /// Asks the network's process.
    fn ask(&mut self, ask: Ask, fd: Option<BorrowedFd<'_>>) -> Result<u32, StepError> {
        match self {
            Self::Fabric(fabric) => fabric.ask(ask, fd),
            Self::Bridge(..) => Err(io::Error::other("the kernel joins the hosts")).step(NO_FABRIC),
        }
    }

    /// Gives a host its devices; the number of the one here that belongs to it, if one does.
    fn join(&mut self, name: &str, host: &Host, pid: Pid, alive: &OwnedFd) -> Result<u32, StepError> {
        const STEP: &str = "make a network port";
        let mut port = 0;
        for (number, nic) in host.nics.iter().enumerate() {
            let hardware = <[u8; 6]>::try_from(&nic.hardware[..]).map_err(io::Error::other).step(STEP)?;
            let outer = format!("h{}.{}.{number}", host.index, host.generation);
            let device = host::device_name(number);
            match self {
                Self::Bridge(..) if number > 0 => {
                    return Err(io::Error::other("the kernel's bridge is one network")).step(STEP);
                }
                Self::Bridge(netlink, bridge) => {
                    port = netlink.veth(&outer, *bridge, pid, &device, hardware).step(STEP)?;
                }
                Self::Fabric(fabric) => {
                    let (name, network) = (name.to_owned(), nic.network.clone());
                    let (hardware, pid) = (hardware.to_vec(), pid.as_raw_nonzero().get());
                    let attach = Attach { name, hardware, outer, pid, device, network };
                    fabric.ask(Ask::Attach(attach), Some(alive.as_fd()))?;
                }
            }
        }
        Ok(port)
    }

    /// A host has gone.
    fn part(&mut self, name: &str, port: u32) {
        // Gone already, as it may be.
        match self {
            Self::Bridge(netlink, _) if port != 0 => drop(netlink.delete(port)),
            Self::Bridge(..) => {}
            Self::Fabric(fabric) => drop(fabric.ask(Ask::Detach(name.to_owned()), None)),
        }
    }
}

fn find<'a>(hosts: &'a mut BTreeMap<String, Host>, name: &str) -> Result<&'a mut Host, StepError> {
    hosts.get_mut(name).ok_or_else(|| io::Error::other(format!("no host `{name}`"))).step("find a host")
}

fn running<'a>(host: &'a mut Host, step: &str) -> Result<&'a mut Running, StepError> {
    host.running.as_mut().ok_or_else(|| io::Error::other("it is down")).step(step)
}

fn freeze_group(group: &Path, name: &str, pause: bool) -> io::Result<()> {
    cgroup::freeze(group, name, pause)?;
    let begun = Instant::now();
    while pause && !cgroup::is_frozen(group, name)? {
        if begun.elapsed() > PAUSE_MAX {
            cgroup::freeze(group, name, false)?;
            return Err(io::Error::other("not every process stopped"));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

/// The agent stops all others, then we stop the agent; and the other way round.
fn freeze_by_signals(running: &Running, pause: bool) -> io::Result<()> {
    if pause {
        ask(running, Ask::Pause(String::new()))?;
        kill_process(running.pid, Signal::STOP)?;
    } else {
        kill_process(running.pid, Signal::CONT)?;
        ask(running, Ask::Resume(String::new()))?;
    }
    Ok(())
}

fn ask(running: &Running, ask: Ask) -> io::Result<()> {
    control::send(&running.control, &Request { id: 1, ask: Some(ask) }, None)?;
    if !readable(running.control.as_fd(), PAUSE_MAX)? {
        return Err(io::Error::other("its agent does not answer"));
    }
    match control::receive::<Reply>(&running.control, RecvFlags::empty(), REPLY_MAX)? {
        Some((Reply { say: Some(Say::Done(_)), .. }, _)) => Ok(()),
        _ => Err(io::Error::other("its agent has gone")),
    }
}

fn readable(fd: BorrowedFd<'_>, within: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(within).map_err(io::Error::other)?;
    Ok(poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout))? > 0)
}

/// Why a host's agent ended, if it said so.
fn last_words(control: &OwnedFd) -> Option<StepError> {
    debug_assert!(control.as_raw_fd() >= 0);
    let (reply, _) = control::receive::<Reply>(control, RecvFlags::DONTWAIT, REPLY_MAX).ok()??;
    let Some(Say::Failed(failure)) = reply.say else { return None };
    Some(failure.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_read_is_asked_for_nothing() {
        let (ours, theirs) = control::pair().unwrap();
        let mut client = Client::new(1, ours);
        let died = || Reply { id: 0, say: Some(Say::Died("a".repeat(1000))) };
        while client.unread.is_empty() {
            assert!(client.say(died(), None));
        }
        assert_eq!(client.awaits(), PollFlags::OUT);
        while control::receive::<Reply>(&theirs, RecvFlags::DONTWAIT, REPLY_MAX).is_ok() {}
        assert!(client.flush() && client.awaits() == PollFlags::IN);
        while client.unread.len() < UNREAD_MAX {
            assert!(client.say(died(), None), "it may still read");
        }
        assert!(!client.say(died(), None), "it counts as gone");
        drop(theirs);
        assert!(!client.flush());
    }
}
