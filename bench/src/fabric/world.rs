//! Hosts of the bench of the fabric: a network namespace each, which a process keeps.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow};
use netsplit_fabric::{Change, Fabric, Limits, Mac, Port, PortError, PortKind};
use netsplit_netmodel::{Behaviour, Condition};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::net::{self, Netlink};

/// Hosts joined by a fabric.
pub(super) struct World {
    pub(super) fabric: Fabric,
    pub(super) hosts: Vec<Host>,
    kind: PortKind,
}

/// A network namespace with a device `eth0`.
pub(super) struct Host {
    pub(super) name: String,
    pub(super) v4: IpAddr,
    mac: Mac,
    namespace: File,
    keeper: Child,
}

/// Why no TAP device can be had here, if so.
pub(super) fn no_tap() -> Option<String> {
    match Port::tap("probe", "probe", Mac([2, 0, 0, 0, 0, 1]), None) {
        Err(PortError::NoTun { error, .. }) => Some(format!("/dev/net/tun cannot be opened: {error}")),
        _ => None,
    }
}

/// Two hosts joined by nothing but a veth pair.
pub(super) fn veth_pair() -> Result<[Host; 2]> {
    let [one, other] = [Host::new(0)?, Host::new(1)?];
    let pid = other.pid()?;
    one.run(|| Netlink::open()?.veth("eth0", 0, pid, "eth0", other.mac.0))??;
    one.up()?;
    other.up()?;
    Ok([one, other])
}

impl World {
    pub(super) fn new(kind: PortKind, hosts: usize) -> Result<Self> {
        let mut world = Self { fabric: Fabric::start(1, Limits::default())?, hosts: Vec::new(), kind };
        for number in 0..hosts {
            world.add(u8::try_from(number)?, &format!("h{number}of{hosts}"))?;
        }
        Ok(world)
    }

    /// `outer` is the outer end of its veth pair, if it needs one.
    fn add(&mut self, number: u8, outer: &str) -> Result<()> {
        let host = Host::new(number)?;
        let port = if self.kind == PortKind::Tap {
            Port::tap(&host.name, "eth0", host.mac, Some(host.namespace.as_fd()))?
        } else {
            Netlink::open()?.veth(outer, 0, host.pid()?, "eth0", host.mac.0)?;
            // Our own stack would speak on it unasked. A kernel without IPv6 has no such file.
            let _no_ipv6 = std::fs::write(format!("/proc/sys/net/ipv6/conf/{outer}/disable_ipv6"), "1");
            Port::packet(&host.name, outer, host.mac)?
        };
        self.fabric.attach(port)?;
        host.up()?;
        self.hosts.push(host);
        Ok(())
    }

    /// Sets one directed link to what `condition` wants.
    pub(super) fn set(&self, from: &str, to: &str, condition: Condition) -> Result<()> {
        let behaviour = Behaviour::of([&condition])?;
        Ok(self.fabric.set(vec![Change { from: from.to_owned(), to: to.to_owned(), behaviour }])?)
    }
}

impl Host {
    fn new(number: u8) -> Result<Self> {
        let mut keeper = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare")?;
        // It answers once it is there.
        keeper.stdin.as_mut().context("no stdin")?.write_all(b"\n")?;
        keeper.stdout.as_mut().context("no stdout")?.read_exact(&mut [0])?;
        let name = if number < 26 { char::from(b'a' + number).to_string() } else { format!("h{number}") };
        Ok(Self {
            name,
            v4: Ipv4Addr::new(10, 0, 0, number + 1).into(),
            mac: Mac([2, 0, 10, 0, 0, number + 1]),
            namespace: File::open(format!("/proc/{}/ns/net", keeper.id()))?,
            keeper,
        })
    }

    fn pid(&self) -> Result<Pid> {
        Pid::from_raw(i32::try_from(self.keeper.id())?).context("no process")
    }

    /// Brings its devices up, with its address.
    fn up(&self) -> Result<()> {
        self.run(|| {
            let netlink = Netlink::open()?;
            let eth0 = net::index("eth0")?;
            netlink.up(net::index("lo")?)?;
            netlink.up(eth0)?;
            netlink.address(eth0, self.v4, 24)
        })?
        .with_context(|| format!("bringing up {}", self.name))
    }

    /// Runs `body` on this host. Its sockets and processes stay there.
    pub(super) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(body())
            });
            inside.join().map_err(|_panic| anyhow!("a panic on host {}", self.name))?
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _reaped = self.keeper.wait();
    }
}
