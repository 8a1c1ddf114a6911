//! The test's side: starts the keeper, asks the stage, learns of deaths.

use std::collections::HashMap;
use std::io::{self, Seek};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netsplit_link::Socket;
use netsplit_model::{HostName, Reason, Teardown, Trouble};
use netsplit_netmodel::FaultState;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::RecvFlags;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::control::{
    self, Add, Ask, Capture, Failure, Fate, Fault, Heal, Network, Nic, REPLY_MAX, Reply, Request, Say, State,
};
use super::{diagnose, socket};
use crate::bed::{
    Bed, BedEvent, BedSpec, BoxFuture, BoxTransport, HostSpec, MadeHost, NetworkModel, NetworkSpec, Power,
};
use crate::hook;
use crate::network::{CaptureReport, CaptureSpec, FaultSpec, FaultTurned, NetworkReport};
use crate::plan::{HostPlan, NicPlan, Plan, hardware};

/// How long a keeper may take to say that its stage stands.
const KEEPER_MAX: Duration = Duration::from_secs(20);
/// How long the stage may take for one thing asked of it.
const ASK_MAX: Duration = Duration::from_secs(60);
/// How long a testbed may take to end.
const END_MAX: Duration = Duration::from_secs(20);
/// Hosts that are asked for before the first has answered.
const ADD_AHEAD: usize = 32;

type Answer = Result<(u32, Option<OwnedFd>), Failure>;
type Pending = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>>;

/// A testbed of namespaces.
#[derive(Debug)]
pub(super) struct Testbed {
    socket: Arc<UnixDatagram>,
    pending: Pending,
    next: Mutex<u64>,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<BedEvent>>,
    keeper: Mutex<Option<Keeper>>,
    plan: Mutex<Plan>,
}

/// The keeper of a testbed that is ours. Its socket's end of file says that nothing is left.
#[derive(Debug)]
struct Keeper {
    child: Child,
    socket: UnixDatagram,
}

impl Testbed {
    pub(super) async fn begin(spec: BedSpec) -> Result<Self, Trouble> {
        let NetworkSpec { model, networks, routers, .. } = spec.network.clone();
        if model == NetworkModel::Kernel && (networks.len() > 1 || !routers.is_empty()) {
            return Err(crate::bed::no_network());
        }
        let plan = Plan::new(networks, routers)?;
        let (keeper, socket) = start_keeper(&spec).await?;
        let bed = Self::over(socket).map_err(|error| broken(&error))?;
        *lock(&bed.keeper) = Some(keeper);
        for router in plan.routers() {
            let text = serde_json::to_string(&router).map_err(|error| broken(&error.into()))?;
            bed.do_it(Ask::Router(text), &format!("make router {}", router.name)).await?;
        }
        *lock(&bed.plan) = plan;
        Ok(bed)
    }

    pub(super) fn attach(dir: &Path) -> io::Result<Self> {
        Self::over(socket::dial(dir)?)
    }

    fn over(socket: OwnedFd) -> io::Result<Self> {
        let socket = Arc::new(asynchronous(socket)?);
        let pending: Pending = Arc::new(Mutex::new(Some(HashMap::new())));
        #[expect(clippy::disallowed_methods, reason = "one death for each time that a host came up")]
        let (tell, events) = mpsc::unbounded_channel();
        tokio::spawn(listen(Arc::clone(&socket), Arc::clone(&pending), tell));
        Ok(Self {
            socket,
            pending,
            next: Mutex::new(0),
            events: tokio::sync::Mutex::new(events),
            keeper: Mutex::new(None),
            plan: Mutex::default(),
        })
    }

    /// Sends a request; the answer comes by itself.
    async fn ask(&self, ask: Ask, fd: Option<OwnedFd>) -> Result<oneshot::Receiver<Answer>, Trouble> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut next = lock(&self.next);
            *next += 1;
            *next
        };
        match &mut *lock(&self.pending) {
            Some(pending) => pending.insert(id, sender),
            None => return Err(lost()),
        };
        let request = Request { id, ask: Some(ask) };
        let send = || match control::send(&*self.socket, &request, fd.as_ref().map(AsFd::as_fd)) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::AGAIN.raw_os_error()) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            other => other,
        };
        self.socket.async_io(Interest::WRITABLE, send).await.map_err(|_| lost())?;
        Ok(receiver)
    }

    async fn answer(
        &self,
        receiver: oneshot::Receiver<Answer>,
        what: &str,
    ) -> Result<(u32, Option<OwnedFd>), Trouble> {
        match timeout(ASK_MAX, receiver).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(failure))) => Err(diagnose::explain(&failure, what)),
            Ok(Err(_)) => Err(lost()),
            Err(_) => {
                Err(Trouble::new(Reason::TestbedLost, format!("{what}: no answer from the testbed for 60s")))
            }
        }
    }

    async fn do_it(&self, ask: Ask, what: &str) -> Result<(u32, Option<OwnedFd>), Trouble> {
        let answer = self.ask(ask, None).await?;
        self.answer(answer, what).await
    }

    /// Asks for something long, which comes in a file rather than a packet.
    async fn read<T: DeserializeOwned>(&self, ask: Ask, what: &'static str) -> Result<T, Trouble> {
        let failed = |error: io::Error| broken(&error);
        let file = memfd_create(c"netsplit", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let theirs = file.try_clone().map_err(failed)?;
        let answer = self.ask(ask, Some(theirs)).await?;
        self.answer(answer, what).await?;
        let mut file = std::fs::File::from(file);
        file.rewind().map_err(failed)?;
        serde_json::from_reader(io::BufReader::new(file)).map_err(|error| failed(error.into()))
    }

    fn made(&self, name: &HostName, generation: u32, link: Option<OwnedFd>) -> Result<MadeHost, Trouble> {
        let known = lock(&self.plan).addresses(name);
        let (address, address6) = known.unwrap_or((Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED));
        let transport = transport(link).map_err(|error| broken(&error))?;
        Ok(MadeHost { name: name.clone(), address, address6, generation, transport })
    }
}

impl Bed for Testbed {
    fn add_hosts<'a>(
        &'a self,
        hosts: Vec<HostSpec>,
        made: &'a mut (dyn FnMut(MadeHost) + Send),
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let (plans, names) = lock(&self.plan).add(hosts)?;
            let mut names = Some(names);
            let mut waiting = std::collections::VecDeque::new();
            let mut plans = plans.into_iter();
            loop {
                while waiting.len() < ADD_AHEAD
                    && let Some(plan) = plans.next()
                {
                    // The first brings all names, for all.
                    let (name, add) = (plan.name.clone(), add(plan, names.take().unwrap_or_default()));
                    waiting.push_back((name, self.ask(Ask::Add(add), None).await?));
                }
                let Some((name, answer)) = waiting.pop_front() else { return Ok(()) };
                let (generation, link) = self.answer(answer, &format!("make host {name}")).await?;
                made(self.made(&name, generation, link)?);
            }
        })
    }

    fn connect<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<BoxTransport, Trouble>> {
        Box::pin(async move {
            let what = format!("connect to host {host}");
            let (_, link) = self.do_it(Ask::Connect(host.to_string()), &what).await?;
            transport(link).map_err(|error| broken(&error))
        })
    }

    fn hand<'a>(&'a self, host: &'a HostName, pipe: OwnedFd) -> BoxFuture<'a, Result<Option<u32>, Trouble>> {
        Box::pin(async move {
            let answer = self.ask(Ask::Hand(host.to_string()), Some(pipe)).await?;
            let (number, _) = self.answer(answer, &format!("hand a pipe to host {host}")).await?;
            Ok(Some(number))
        })
    }

    fn power<'a>(&'a self, host: &'a HostName, power: Power) -> BoxFuture<'a, Result<(), Trouble>> {
        Box::pin(async move {
            let name = host.to_string();
            let (ask, verb) = match power {
                Power::Kill => (Ask::Kill(name), "kill"),
                Power::Pause => (Ask::Pause(name), "pause"),
                Power::Resume => (Ask::Resume(name), "resume"),
            };
            self.do_it(ask, &format!("{verb} host {host}")).await.map(drop)
        })
    }

    fn start<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<MadeHost, Trouble>> {
        Box::pin(async move {
            let (generation, link) =
                self.do_it(Ask::Start(host.to_string()), &format!("start host {host}")).await?;
            self.made(host, generation, link)
        })
    }

    fn begin_fault<'a>(&'a self, fault: FaultSpec) -> BoxFuture<'a, Result<u32, Trouble>> {
        Box::pin(async move {
            let what = format!("begin `{}`", fault.what);
            let spec = serde_json::to_string(&fault).map_err(|error| broken(&error.into()))?;
            let answer = self.ask(Ask::Fault(Fault { client: 0, spec }), None).await?;
            Ok(self.answer(answer, &what).await?.0)
        })
    }

    fn heal(&self, fault: u32) -> BoxFuture<'_, Result<(), Trouble>> {
        Box::pin(async move {
            self.do_it(Ask::Heal(Heal { client: 0, id: fault }), "heal a fault").await.map(drop)
        })
    }

    fn network(&self) -> BoxFuture<'_, Result<NetworkReport, Trouble>> {
        Box::pin(self.read(Ask::Report(true), "read the network"))
    }

    fn capture(&self, capture: CaptureSpec) -> BoxFuture<'_, Result<u32, Trouble>> {
        Box::pin(async move {
            let filter = serde_json::to_string(&capture.filter).map_err(|error| broken(&error.into()))?;
            let answer =
                self.ask(Ask::Capture(Capture { client: 0, filter }), Some(capture.file.into())).await?;
            Ok(self.answer(answer, diagnose::BEGIN_CAPTURE).await?.0)
        })
    }

    fn end_capture(&self, capture: u32) -> BoxFuture<'_, Result<CaptureReport, Trouble>> {
        Box::pin(self.read(Ask::EndCapture(capture), diagnose::END_CAPTURE))
    }

    fn event(&self) -> BoxFuture<'_, BedEvent> {
        Box::pin(async move {
            match self.events.lock().await.recv().await {
                Some(event) => event,
                // Everything was said; who asks again waits for ever, as for any event that does not come.
                None => std::future::pending().await,
            }
        })
    }

    fn keep(&self) -> BoxFuture<'_, Result<(), Trouble>> {
        Box::pin(async move { self.do_it(Ask::Fate(Fate::Keep.into()), "keep the testbed").await.map(drop) })
    }

    fn end(&self) -> BoxFuture<'_, Teardown> {
        Box::pin(async move {
            // The stage ends without an answer.
            let _gone_already = self.ask(Ask::Fate(Fate::End.into()), None).await;
            let keeper = lock(&self.keeper).take();
            let Some(mut keeper) = keeper else { return Teardown { ok: true, errors: Vec::new() } };
            let ended = timeout(END_MAX, wait_for_end(&keeper.socket)).await;
            match ended {
                Ok(()) => {
                    // Its socket closed when it ended: this does not wait.
                    let _status = keeper.child.wait();
                    Teardown { ok: true, errors: Vec::new() }
                }
                Err(_) => {
                    let error = format!(
                        "the testbed did not end within 20s; its keeper is process {}",
                        keeper.child.id()
                    );
                    Teardown { ok: false, errors: vec![error] }
                }
            }
        })
    }
}

fn add(plan: HostPlan, names: String) -> Add {
    let nic = |nic: NicPlan| Nic {
        address: nic.v4.to_string(),
        address6: nic.v6.to_string(),
        hardware: hardware(nic.v4).to_vec(),
        network: nic.network,
    };
    Add {
        name: plan.name.to_string(),
        nics: plan.nics.into_iter().map(nic).collect(),
        routes: plan.routes.iter().map(ToString::to_string).collect(),
        disk: plan.disk.unwrap_or(0),
        names,
    }
}

async fn start_keeper(spec: &BedSpec) -> Result<(Keeper, OwnedFd), Trouble> {
    let keeper = hook::again(&format!("keeper:{}", std::process::id()))?;
    let mut keeper = spawn_keeper(keeper, spec).map_err(|error| broken(&error))?;
    let answer = || control::receive::<Reply>(&keeper.socket, RecvFlags::DONTWAIT, REPLY_MAX);
    let answer = timeout(KEEPER_MAX, keeper.socket.async_io(Interest::READABLE, answer)).await;
    let failed = match answer {
        Ok(Ok(Some((Reply { say: Some(Say::Stands(_)), .. }, Some(stage))))) => return Ok((keeper, stage)),
        Ok(Ok(Some((Reply { say: Some(Say::Failed(failure)), .. }, _)))) => {
            diagnose::explain(&failure, "make hosts")
        }
        Ok(_) => diagnose::keeper_ended(keeper.child.wait().ok()),
        Err(_) => {
            let _gone_already = keeper.child.kill();
            diagnose::keeper_silent()
        }
    };
    let _reaped = keeper.child.wait();
    Err(failed)
}

fn spawn_keeper(mut keeper: Command, spec: &BedSpec) -> io::Result<Keeper> {
    let (ours, theirs) = control::pair()?;
    let child = keeper
        // fd 0: no descriptor has to be inherited by number.
        .stdin(Stdio::from(theirs))
        // A runner waits for the end of our output: nobody else may hold it.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let dir = rustix::fs::open(
        &spec.dir,
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )?;
    let NetworkSpec { model, seed, .. } = &spec.network;
    let begin = Ask::Begin(Network { kernel: *model == NetworkModel::Kernel, seed: *seed });
    control::send(&ours, &Request { id: 1, ask: Some(begin) }, Some(dir.as_fd()))?;
    Ok(Keeper { child, socket: asynchronous(ours)? })
}

/// tokio has no type for packets in order; a datagram socket's readiness and descriptor are the same thing.
fn asynchronous(socket: OwnedFd) -> io::Result<UnixDatagram> {
    let socket = StdDatagram::from(socket);
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

fn transport(link: Option<OwnedFd>) -> io::Result<BoxTransport> {
    let link = link.ok_or_else(|| io::Error::other("an answer without its connection"))?;
    Ok(Box::new(Socket::new(link)?))
}

async fn wait_for_end(socket: &UnixDatagram) {
    let next = || control::receive::<Reply>(socket, RecvFlags::DONTWAIT, REPLY_MAX);
    while let Ok(Some(_)) = socket.async_io(Interest::READABLE, next).await {}
}

/// Passes answers and news on until the stage is gone; then nobody waits for an answer any more.
async fn listen(socket: Arc<UnixDatagram>, pending: Pending, tell: mpsc::UnboundedSender<BedEvent>) {
    let next = || control::receive::<Reply>(&*socket, RecvFlags::DONTWAIT, REPLY_MAX);
    let mut why = "the testbed's own processes ended".to_owned();
    loop {
        let Ok(Some((Reply { id, say }, fd))) = socket.async_io(Interest::READABLE, next).await else {
            break;
        };
        let answer = match say {
            Some(Say::Done(generation)) => Ok((generation, fd)),
            Some(Say::Failed(Failure { step, text, .. })) if id == 0 => {
                why = format!("{why}: {step}: {text}");
                continue;
            }
            Some(Say::Failed(failure)) => Err(failure),
            Some(Say::Died(text)) => {
                let (name, reason) = text.split_once('\n').unwrap_or((&text, ""));
                if let Ok(host) = HostName::new(name) {
                    // Nobody listens any more when the test is over.
                    let _over = tell.send(BedEvent::HostDied(host, reason.to_owned()));
                }
                continue;
            }
            Some(Say::Turned(turned)) => {
                let state = match turned.state() {
                    State::Ended => FaultState::Ended,
                    State::InForce => FaultState::InForce,
                    State::Lifted => FaultState::Lifted,
                };
                let _over = tell.send(BedEvent::FaultTurned(FaultTurned { id: turned.id, state }));
                continue;
            }
            _ => continue,
        };
        let waiter = lock(&pending).as_mut().and_then(|pending| pending.remove(&id));
        if let Some(waiter) = waiter {
            let _gave_up = waiter.send(answer);
        }
    }
    lock(&pending).take();
    let _over = tell.send(BedEvent::Ended(why));
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lost() -> Trouble {
    Trouble::new(Reason::TestbedLost, "the testbed's own processes have ended")
        .because("its stage or keeper was killed, or the machine ran out of memory")
}

fn broken(error: &io::Error) -> Trouble {
    Trouble::new(Reason::TestbedLost, format!("no testbed could be begun: {error}"))
}
