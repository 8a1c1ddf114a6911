//! Hosts of these tests: a network namespace each, joined by a fabric. Where a test runs, and with which kind of port.
#![expect(unsafe_code, reason = "unsharing a namespace has no safe form")]
#![expect(clippy::print_stdout, reason = "what was skipped is said, in helpers of tests")]

use std::fmt::Display;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use netsplit_fabric::{Change, Fabric, Limits, LinkReport, Mac, Port, PortError, PortKind, Report};
use netsplit_netmodel::{Behaviour, Condition};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, gettid, move_into_link_name_space, unshare_unsafe};

use crate::net::{self, Netlink};

/// Says to a test that it runs inside, and with which ports.
const INSIDE: &str = "NETSPLIT_FABRIC_TEST_PORTS";
/// Longer than anything here takes on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Hosts `a`, `b`, … and the fabric that joins them.
pub(crate) struct World {
    pub(crate) kind: PortKind,
    pub(crate) fabric: Fabric,
    pub(crate) hosts: Vec<Host>,
}

/// A network namespace with a device `eth0`. A thread keeps it.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) v4: IpAddr,
    pub(crate) v6: IpAddr,
    namespace: File,
    _keeper: SyncSender<()>,
}

/// Runs `body` in namespaces of its own, with either kind of port: as root with root's means, and in a user namespace.
/// `test` is the test's name.
pub(crate) fn each(test: &str, hosts: usize, body: impl FnOnce(World)) {
    if let Ok(kind) = std::env::var(INSIDE) {
        let kind = if kind == "tap" { PortKind::Tap } else { PortKind::Packet };
        if let Some(world) = World::new(kind, hosts) {
            body(world);
        }
        return;
    }
    let mut ways = vec![vec!["--user", "--map-root-user", "--net"]];
    if rustix::process::geteuid().is_root() {
        ways.push(vec!["--net"]);
    }
    for way in ways {
        if !Command::new("unshare").args(&way).arg("true").status().is_ok_and(|status| status.success()) {
            println!("skipped: `unshare {}` is not permitted here", way.join(" "));
            continue;
        }
        for kind in ["tap", "packet"] {
            let test_itself = std::env::current_exe().unwrap();
            let words = [test, "--exact", "--nocapture", "--test-threads=1"];
            let inside =
                Command::new("unshare").args(&way).arg(test_itself).args(words).env(INSIDE, kind).output();
            let inside = inside.unwrap();
            let [output, errors] = [&inside.stdout, &inside.stderr].map(|text| String::from_utf8_lossy(text));
            print!("{output}");
            assert!(output.contains("1 passed"), "{kind} ports, unshare {way:?}: {output}{errors}");
        }
    }
}

impl World {
    /// `None`, having said why, where there can be none.
    fn new(kind: PortKind, hosts: usize) -> Option<Self> {
        let fabric = Fabric::start(1, Limits::default()).unwrap();
        let mut world = Self { kind, fabric, hosts: Vec::new() };
        for _host in 0..hosts {
            match world.add() {
                Ok(()) => {}
                Err(error @ PortError::NoTun { .. }) => {
                    println!("skipped: {error}");
                    return None;
                }
                Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
            }
        }
        println!("{kind:?} ports, {:?}", world.report().scheduling);
        Some(world)
    }

    fn add(&mut self) -> Result<(), PortError> {
        let number = u8::try_from(self.hosts.len() + 1).unwrap();
        let host = self.make(number, "")?;
        self.hosts.push(host);
        Ok(())
    }

    /// Another host, on this network. Those on `""` are 10.0.0.x and fd6e:7370::x, on others 203.0.113.x and 2001:db8::x.
    pub(crate) fn add_on(&mut self, network: &str) {
        let number = u8::try_from(self.hosts.len() + 1).unwrap();
        self.hosts.push(self.make(number, network).unwrap());
    }

    /// Ends a host, and has one of the same name and addresses come up in its place.
    pub(crate) fn replace(&mut self, index: usize) {
        // At once; the kernel would take its time to free the namespace.
        self.hosts[index].run(|| Netlink::open().unwrap().delete(net::index("eth0").unwrap()).unwrap());
        self.hosts[index] = self.make(u8::try_from(index + 1).unwrap(), "").unwrap();
    }

    fn make(&self, number: u8, network: &str) -> Result<Host, PortError> {
        let (host, tid) = Host::new(number, network);
        let port = self.port(&host, number, tid)?.on(network);
        self.fabric.attach(port).unwrap();
        host.run(|| {
            let netlink = Netlink::open().unwrap();
            let eth0 = net::index("eth0").unwrap();
            netlink.up(net::index("lo").unwrap()).unwrap();
            netlink.up(eth0).unwrap();
            netlink.address(eth0, host.v4, 24).unwrap();
            netlink.address(eth0, host.v6, 64).unwrap();
        });
        Ok(host)
    }

    fn port(&self, host: &Host, number: u8, tid: Pid) -> Result<Port, PortError> {
        let mac = Mac([2, 0, 10, 0, 0, number]);
        if self.kind == PortKind::Tap {
            return Port::tap(&host.name, "eth0", mac, Some(host.namespace.as_fd()));
        }
        let outer = format!("h{number}");
        Netlink::open().unwrap().veth(&outer, 0, tid, "eth0", mac.0).unwrap();
        Port::packet(&host.name, &outer, mac)
    }

    /// Sets one directed link to what `condition` wants.
    pub(crate) fn set(&self, from: &str, to: &str, condition: Condition) {
        self.set_all(&[(from, to)], condition);
    }

    pub(crate) fn set_all(&self, pairs: &[(&str, &str)], condition: Condition) {
        let behaviour = Behaviour::of([&condition]).unwrap();
        let change = |(from, to): &(&str, &str)| Change { from: (*from).into(), to: (*to).into(), behaviour };
        self.fabric.set(pairs.iter().map(change).collect()).unwrap();
    }

    pub(crate) fn report(&self) -> Report {
        self.fabric.report().unwrap()
    }

    pub(crate) fn link(&self, from: &str, to: &str) -> LinkReport {
        self.report().link(from, to).expect("a link that was used").clone()
    }
}

impl Host {
    fn new(number: u8, network: &str) -> (Self, Pid) {
        let (made, is_made) = sync_channel(1);
        let (keeper, kept) = sync_channel::<()>(0);
        std::thread::spawn(move || {
            // SAFETY: a network namespace is nothing that memory safety rests on.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.unwrap();
            made.send((File::open("/proc/thread-self/ns/net").unwrap(), gettid())).unwrap();
            let _until_the_host_goes = kept.recv();
        });
        let (namespace, tid) = is_made.recv().unwrap();
        let host = Self {
            name: char::from(b'a' + number - 1).to_string(),
            v4: match network {
                "" => Ipv4Addr::new(10, 0, 0, number).into(),
                _ => Ipv4Addr::new(203, 0, 113, number).into(),
            },
            v6: match network {
                "" => Ipv6Addr::new(0xfd6e, 0x7370, 0, 0, 0, 0, 0, number.into()).into(),
                _ => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()).into(),
            },
            namespace,
            _keeper: keeper,
        };
        (host, tid)
    }

    /// Runs `body` on this host. Its sockets stay there.
    pub(crate) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                body()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Has all that is not for its own network go to a router.
    pub(crate) fn route_by(&self, router: IpAddr) {
        let (family, octets) = match router {
            IpAddr::V4(router) => (AddressFamily::INET, router.octets().to_vec()),
            IpAddr::V6(router) => (AddressFamily::INET6, router.octets().to_vec()),
        };
        // linux/rtnetlink.h: struct rtmsg of a unicast route in the main table, and RTA_GATEWAY.
        let family = u8::try_from(family.as_raw()).unwrap();
        let length = u16::try_from(4 + octets.len()).unwrap().to_ne_bytes();
        let body = [&[family, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0], &length[..], &5u16.to_ne_bytes(), &octets];
        let body = body.concat();
        // RTM_NEWROUTE; NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL.
        let total = u32::try_from(16 + body.len()).unwrap().to_ne_bytes();
        let request = [&total[..], &24u16.to_ne_bytes(), &0x605u16.to_ne_bytes(), &[0; 8], &body].concat();
        self.run(|| {
            let flags = SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None).unwrap();
            send(&socket, &request, SendFlags::empty()).unwrap();
            let mut answer = [0; 256];
            recv(&socket, &mut answer[..], RecvFlags::empty()).unwrap();
            assert_eq!(answer[16..20], [0; 4], "no error");
        });
    }

    /// Both addresses with a port.
    pub(crate) fn at(&self, port: u16) -> [SocketAddr; 2] {
        [SocketAddr::new(self.v4, port), SocketAddr::new(self.v6, port)]
    }
}

/// Tries until it succeeds, or nobody would wait longer.
#[track_caller]
pub(crate) fn eventually<T, E: Display>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if begun.elapsed() > PATIENCE => panic!("not within {PATIENCE:?}: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
