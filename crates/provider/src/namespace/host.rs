//! One host from the inside: pid 1 of its namespaces. Builds its root, waits until it is wired, becomes the agent.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::PathBuf;

use netsplit_agent::{Agent, Settings, unix};
use netsplit_link::Socket;
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::control::{self, Ask, Nic, REQUEST_MAX, Reply, Request, Say, Step, StepError};
use super::net::{self, Netlink};
use super::root::{self, Disk, Ground};
use crate::hook::BECOME;
use crate::limits;
use crate::plan::{self, PREFIX_BITS};
use crate::sys;

/// What the stage knows at the fork, so that a host needs no message before it can begin.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) ground: &'a Ground,
    pub(super) name: &'a str,
    /// At least one.
    pub(super) nics: &'a [Nic],
    pub(super) routes: &'a [String],
    /// /etc/hosts.
    pub(super) names: &'a str,
    pub(super) generation: u32,
}

/// Runs the host until its stage or the test lets go of it. `control` goes to the stage, `link` to the test.
pub(super) fn run(plan: &Plan<'_>, control: OwnedFd, link: OwnedFd) -> ! {
    // Nothing of the stage may live on in a host: a socket held here would hide an end of file.
    sys::close_all_but(&[control.as_raw_fd(), link.as_raw_fd()]);
    // As a member of a group of its own: signals for the stage's group are not for hosts.
    let _leads_already = rustix::process::setsid();
    let done = build(plan, &control).and_then(|()| serve(plan, control.try_clone(), link));
    if let Err(error) = done {
        // The stage passes it on; with the stage gone there is nobody to tell.
        let _stage_gone = say(&control, 0, Say::Failed(error.failure()));
    }
    sys::exit_now(1)
}

fn say(control: &OwnedFd, id: u64, say: Say) -> io::Result<()> {
    control::send(control, &Reply { id, say: Some(say) }, None)
}

fn build(plan: &Plan<'_>, control: &OwnedFd) -> Result<(), StepError> {
    let disk = Disk::of(plan.ground, plan.name);
    let read_only = root::enter(plan.ground, &disk)?;
    rustix::system::sethostname(plan.name.as_bytes()).step("sethostname")?;
    // The first packet says that the stage has put eth0 here.
    let wired =
        control::receive::<Request>(control, RecvFlags::empty(), REQUEST_MAX).step("wait for the network")?;
    if wired.is_none() {
        sys::exit_now(0);
    }
    wire(plan)?;
    // For `doctor`, which asks a host rather than guess.
    let note = read_only.join("\n");
    std::fs::create_dir_all("/run/netsplit").step("mkdir /run/netsplit")?;
    std::fs::write("/run/netsplit/read-only", note).step("write /run/netsplit")
}

fn wire(plan: &Plan<'_>) -> Result<(), StepError> {
    let netlink = Netlink::open().step("netlink")?;
    netlink.up(net::index("lo").step("find lo")?).step("lo up")?;
    if plan.nics.len() > 1 {
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let _no_ipv6 = std::fs::write(format!("/proc/sys/net/{switch}"), "1");
        }
    }
    // An unprivileged program may bind low ports and ping, as on a machine of its own.
    let _kernel_older = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    let groups = "/proc/sys/net/ipv4/ping_group_range";
    // Rootless, only group 0 exists here.
    let _kernel_older = std::fs::write(groups, "0 2147483647").or_else(|_| std::fs::write(groups, "0 0"));
    let neighbours = plan::neighbours(plan.names);
    for (number, nic) in plan.nics.iter().enumerate() {
        let name = device_name(number);
        wire_device(&netlink, &name, nic)?;
        let is_near = |(address, _): &&(IpAddr, [u8; 6])| plan::is_near(*address, &nic.address);
        let near: Vec<_> = neighbours.iter().filter(is_near).copied().collect();
        // A socket of its own: what is not taken, as IPv6 by a kernel without it, is answered there.
        let index = net::index(&name).step(format!("find {name}"))?;
        Netlink::open().and_then(|netlink| netlink.neighbours(index, &near)).step("name neighbours")?;
        if number == 0 {
            netlink.route_groups(index).step("route groups")?;
        }
    }
    for route in plan.routes {
        let text = format!("route {route}");
        let (to, prefix_bits, via) = read_route(route).step(&text)?;
        match netlink.route(to, prefix_bits, via) {
            Err(error) if to.is_ipv6() && is_no_ipv6(&error) => {}
            other => other.step(text)?,
        }
    }
    Ok(())
}

/// `eth0` and so on.
pub(super) fn device_name(number: usize) -> String {
    format!("eth{number}")
}

fn wire_device(netlink: &Netlink, name: &str, nic: &Nic) -> Result<(), StepError> {
    let device = net::index(name).step(format!("find {name}"))?;
    // Nobody here has the same address, and no router will answer: asking would only flood the network. A kernel
    // without IPv6 has none of these.
    for quiet in ["dad_transmits", "router_solicitations", "accept_ra"] {
        let _no_ipv6 = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{quiet}"), "0");
    }
    netlink.up(device).step(format!("{name} up"))?;
    for (address, bits) in [&nic.address, &nic.address6].into_iter().zip(PREFIX_BITS) {
        let text = format!("address {address}");
        let address: IpAddr = address.parse().map_err(io::Error::other).step(&text)?;
        match netlink.address(device, address, bits) {
            Err(error) if address.is_ipv6() && is_no_ipv6(&error) => {}
            other => other.step(text)?,
        }
    }
    Ok(())
}

/// `10.1.0.0/16 10.0.0.2`.
fn read_route(text: &str) -> io::Result<(IpAddr, u8, IpAddr)> {
    let parts = text.split_once(' ').and_then(|(to, via)| Some((to.split_once('/')?, via)));
    let ((to, bits), via) = parts.ok_or(io::ErrorKind::InvalidInput)?;
    let address = |text: &str| text.parse::<IpAddr>().map_err(io::Error::other);
    Ok((address(to)?, bits.parse().map_err(io::Error::other)?, address(via)?))
}

/// A kernel without IPv6.
fn is_no_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EOPNOTSUPP) || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

fn serve(plan: &Plan<'_>, control: io::Result<OwnedFd>, link: OwnedFd) -> Result<(), StepError> {
    limits::restore();
    let control = control.step("dup")?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().step("start the runtime")?;
    runtime.block_on(async {
        let settings = Settings {
            host: plan.name.to_owned(),
            generation: plan.generation,
            addresses: addresses(plan.nics),
        };
        let own_program = PathBuf::from("/proc/1/exe");
        let system = unix::Unix::start(own_program, BECOME).step("start the agent")?;
        let agent = Agent::new(settings, system);
        attend(&agent, link).step("take the link")?;
        obey(&agent, control).await.step("listen to the stage")
    })
}

fn addresses(nics: &[Nic]) -> Vec<IpAddr> {
    let texts = nics.iter().flat_map(|nic| [&nic.address, &nic.address6]);
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// Serves one more client.
fn attend(agent: &Agent, link: OwnedFd) -> io::Result<()> {
    let stream = Socket::new(link)?;
    let agent = agent.clone();
    tokio::spawn(async move { agent.serve(stream).await });
    Ok(())
}

/// Does what the stage says, until it is gone.
async fn obey(agent: &Agent, control: OwnedFd) -> io::Result<()> {
    // tokio has no type for packets in order; a datagram socket's readiness and descriptor are the same thing.
    let socket = StdDatagram::from(control);
    socket.set_nonblocking(true)?;
    let socket = UnixDatagram::from_std(socket)?;
    let mut frozen = None;
    loop {
        let next = || control::receive::<Request>(&socket, RecvFlags::DONTWAIT, REQUEST_MAX);
        let Some((Request { id, ask }, fd)) = socket.async_io(Interest::READABLE, next).await? else {
            return Ok(());
        };
        match (ask, fd) {
            (Some(Ask::Connect(_)), Some(link)) => attend(agent, link)?,
            (Some(Ask::Hand(_)), Some(pipe)) => agent.hand(u32::try_from(id).unwrap_or(0), pipe),
            (Some(Ask::Pause(_)), _) => {
                frozen = Some(unix::freeze()?);
                control::send(&socket, &Reply { id, say: Some(Say::Done(0)) }, None)?;
            }
            (Some(Ask::Resume(_)), _) => {
                if let Some(frozen) = frozen.take() {
                    unix::thaw(&frozen)?;
                }
                control::send(&socket, &Reply { id, say: Some(Say::Done(0)) }, None)?;
            }
            _ => {}
        }
    }
}
