//! The process that runs a testbed's emulated network, beside the stage: a fabric has threads, and the stage, which forks
//! hosts, must have one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use netsplit_fabric::{Fabric, Limits, Mac, Port, PortError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::control::{self, Ask, Attach, REPLY_MAX, REQUEST_MAX, Reply, Request, Say, Step, StepError};
use super::net::Netlink;
use super::sys::{self, Forked, fork};

/// How long the process may take for one thing: making a device takes a millisecond.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A host's device, in its own namespace.
const DEVICE: &str = "eth0";

/// The stage's side.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) alive: OwnedFd,
    control: OwnedFd,
}

impl Process {
    /// Forks it off: this process must have one thread.
    pub(super) fn start(seed: u64) -> Result<Self, StepError> {
        let (control, theirs) = control::pair().step("socketpair")?;
        let pid = match fork(0).step("fork the network's process")? {
            Forked::Child => run(theirs, seed),
            Forked::Parent(pid) => pid,
        };
        let alive = pidfd_open(pid, PidfdFlags::empty()).step("pidfd_open")?;
        Ok(Self { alive, control })
    }

    /// Asks for one thing, and waits until it is done.
    pub(super) fn ask(&self, ask: Ask, fd: Option<BorrowedFd<'_>>) -> Result<u32, StepError> {
        const STEP: &str = "ask the network's process";
        control::send(&self.control, &Request { id: 1, ask: Some(ask) }, fd).step(STEP)?;
        if !is_readable(&self.control, ANSWER_MAX).step(STEP)? {
            return Err(io::Error::from(io::ErrorKind::TimedOut)).step(STEP);
        }
        match control::receive::<Reply>(&self.control, RecvFlags::empty(), REPLY_MAX).step(STEP)? {
            Some((Reply { say: Some(Say::Done(number)), .. }, _)) => Ok(number),
            Some((Reply { say: Some(Say::Failed(failure)), .. }, _)) => Err(failure.into()),
            _ => Err(io::Error::other("it has ended")).step(STEP),
        }
    }
}

fn is_readable(fd: &OwnedFd, within: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(within).map_err(io::Error::other)?;
    Ok(poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout))? > 0)
}

/// The process itself. It ends with the stage, which is pid 1 of its namespace.
fn run(control: OwnedFd, seed: u64) -> ! {
    sys::close_all_but(&[control.as_raw_fd()]);
    let _only_for_ps = rustix::thread::set_name(c"netsplit-fabric");
    let done = serve(&control, seed);
    sys::exit_now(done.is_err().into())
}

fn serve(control: &OwnedFd, seed: u64) -> io::Result<()> {
    let fabric = Fabric::start(seed, Limits::default()).map_err(io::Error::other)?;
    let netlink = Netlink::open()?;
    let mut network = Network { fabric, netlink, veths: Vec::new() };
    while let Some((request, fd)) = control::receive::<Request>(control, RecvFlags::empty(), REQUEST_MAX)? {
        let Request { id, ask: Some(ask) } = request else { continue };
        let say = match network.obey(ask, fd) {
            Ok(number) => Say::Done(number),
            Err(error) => Say::Failed(error.failure()),
        };
        control::send(control, &Reply { id, say: Some(say) }, None)?;
    }
    Ok(())
}

struct Network {
    fabric: Fabric,
    netlink: Netlink,
    /// Outer ends of hosts whose port is a packet socket, by name.
    veths: Vec<(String, u32)>,
}

impl Network {
    fn obey(&mut self, ask: Ask, fd: Option<OwnedFd>) -> Result<u32, StepError> {
        match (ask, fd) {
            (Ask::Attach(attach), Some(agent)) => self.attach(&attach, agent.as_fd()).map(|()| 0),
            (Ask::Detach(name), _) => self.detach(&name).map(|()| 0),
            _ => Err(io::Error::other("no such question")).step("ask the network's process"),
        }
    }

    /// A pidfd stands for its process's namespaces (Linux 5.8).
    fn attach(&mut self, attach: &Attach, agent: BorrowedFd<'_>) -> Result<(), StepError> {
        let mac = attach.hardware.as_slice().try_into().map(Mac).map_err(whole);
        let mac = mac.step("read a hardware address")?;
        let port = match Port::tap(&attach.name, DEVICE, mac, Some(agent)) {
            Err(PortError::NoTun { .. }) => self.veth(attach, mac)?,
            port => port.map_err(whole).step("make a network port")?,
        };
        self.fabric.attach(port).map_err(whole).step("attach a network port")
    }

    /// Where no TAP device can be had.
    fn veth(&mut self, attach: &Attach, mac: Mac) -> Result<Port, StepError> {
        const STEP: &str = "make a network port";
        let outer = &attach.outer;
        let pid = Pid::from_raw(attach.pid).ok_or(io::ErrorKind::InvalidInput).step(STEP)?;
        let index = self.netlink.veth(outer, 0, pid, mac.0).step(STEP)?;
        self.veths.push((attach.name.clone(), index));
        // Our own stack would speak on it unasked. A kernel without IPv6 has no such file.
        let _no_ipv6 = std::fs::write(format!("/proc/sys/net/ipv6/conf/{outer}/disable_ipv6"), "1");
        Port::packet(&attach.name, outer, mac).map_err(whole).step("make a network port")
    }

    /// At once, rather than when the kernel gets round to it: an open TAP device would keep its namespace.
    fn detach(&mut self, name: &str) -> Result<(), StepError> {
        self.fabric.detach(name).map_err(whole).step("detach a network port")?;
        if let Some(at) = self.veths.iter().position(|(of, _)| of == name) {
            let (_, index) = self.veths.swap_remove(at);
            // It went with its host's namespace.
            let _gone_already = self.netlink.delete(index);
        }
        Ok(())
    }
}

/// An error with its causes, which travels as text.
fn whole(error: impl std::error::Error) -> io::Error {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    io::Error::other(text)
}
