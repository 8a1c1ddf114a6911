//! Addresses and routes: which host has which address on which network, and whom it asks for the others. No I/O.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netsplit_model::{HostName, Reason, Trouble, nearest};
use netsplit_netmodel::Route;
use netsplit_netmodel::nat::NatKind;
use netsplit_netmodel::router::{self, RouterSide};
use serde::{Deserialize, Serialize};

use crate::bed::{HostSpec, RouterSpec};

/// The length of a network's prefix: IPv4, IPv6.
pub(crate) const PREFIX_BITS: [u8; 2] = [16, 64];
/// The last 255 addresses of a network are those of routers; the last byte is never 0 or 255, which some programs take for
/// a network or everybody.
const HOSTS_MAX: usize = 254 * 255;
const NETWORKS_MAX: usize = 200;
const ROUTERS_MAX: usize = 254;

/// Networks, the routers between them, and the hosts so far.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    networks: Vec<String>,
    routers: Vec<Router>,
    hosts: Vec<Placed>,
}

#[derive(Debug)]
struct Router {
    name: String,
    kind: NatKind,
    inside: usize,
    outside: usize,
}

#[derive(Debug)]
struct Placed {
    name: HostName,
    /// By their numbers; the first is the one of its name.
    networks: Vec<usize>,
}

/// An address of each family.
type Address = (Ipv4Addr, Ipv6Addr);

/// A router that the fabric runs itself, with its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouterPlan {
    pub(crate) name: String,
    /// A [`NatKind`]'s name.
    pub(crate) kind: String,
    pub(crate) inside: (String, Ipv4Addr, Ipv6Addr),
    pub(crate) outside: (String, Ipv4Addr, Ipv6Addr),
    pub(crate) routes: Vec<Route>,
}

impl RouterPlan {
    /// The router; `None`: there is no such kind.
    pub(crate) fn spec(&self) -> Option<router::RouterSpec> {
        let side = |(network, v4, v6): &(String, Ipv4Addr, Ipv6Addr)| {
            let [bits4, bits6] = PREFIX_BITS;
            RouterSide { network: network.clone(), v4: Some((*v4, bits4)), v6: Some((*v6, bits6)) }
        };
        Some(router::RouterSpec {
            name: self.name.clone(),
            inside: side(&self.inside),
            outside: side(&self.outside),
            routes: self.routes.clone(),
            behaviour: NatKind::named(&self.kind)?.behaviour(),
        })
    }
}

/// A host to make, with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPlan {
    pub(crate) name: HostName,
    /// At least one: its networks, the one of its name first. On several it is a router.
    pub(crate) nics: Vec<NicPlan>,
    /// Where packets for other networks go.
    pub(crate) routes: Vec<Route>,
    /// What its disk holds at most, in bytes.
    pub(crate) disk: Option<u64>,
}

/// A host on one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NicPlan {
    pub(crate) network: String,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

impl Plan {
    /// # Errors
    /// A network or router that cannot be.
    pub(crate) fn new(networks: Vec<String>, routers: Vec<RouterSpec>) -> Result<Self, Trouble> {
        let networks = if networks.is_empty() { vec![String::new()] } else { networks };
        if networks.len() > NETWORKS_MAX || routers.len() > ROUTERS_MAX {
            let text = format!("a testbed has {NETWORKS_MAX} networks and {ROUTERS_MAX} routers at most");
            return Err(Trouble::new(Reason::BadValue, text));
        }
        let mut plan = Self { networks, ..Self::default() };
        for (at, network) in plan.networks.iter().enumerate() {
            if plan.networks[..at].contains(network) {
                return Err(twice("network", network));
            }
        }
        for spec in routers {
            let router = plan.router(&spec)?;
            plan.routers.push(router);
        }
        Ok(plan)
    }

    fn router(&self, spec: &RouterSpec) -> Result<Router, Trouble> {
        let RouterSpec { name, inside, outside, kind } = spec;
        if self.routers.iter().any(|known| known.name == *name) {
            return Err(twice("router", name));
        }
        let (inside, outside) = (self.network(inside)?, self.network(outside)?);
        if inside == outside {
            let text = format!("both sides of router `{name}` are network `{}`", spec.inside);
            return Err(Trouble::new(Reason::BadValue, text).fix("name two networks"));
        }
        let Some(kind) = NatKind::named(kind) else {
            let known: Vec<_> = NatKind::ALL.iter().map(|kind| kind.name()).collect();
            let near = nearest(kind, known.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
            let text = format!("router `{name}` has no kind `{kind}`{}", near.unwrap_or_default());
            return Err(Trouble::new(Reason::BadValue, text).saw(format!("kinds: {}", known.join(" "))));
        };
        Ok(Router { name: name.clone(), kind, inside, outside })
    }

    fn network(&self, name: &str) -> Result<usize, Trouble> {
        self.networks.iter().position(|network| network == name).ok_or_else(|| {
            let near = nearest(name, self.networks.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let text = format!("no network `{name}`{near}");
            Trouble::new(Reason::UnknownName, text).saw(format!("networks: {}", self.networks.join(" ")))
        })
    }

    /// The routers that the fabric is to run.
    pub(crate) fn routers(&self) -> Vec<RouterPlan> {
        let plan = |(number, router): (usize, &Router)| {
            let side = |network: usize| {
                let (v4, v6) = router_address(network, number);
                (self.networks[network].clone(), v4, v6)
            };
            RouterPlan {
                name: router.name.clone(),
                kind: router.kind.name().to_owned(),
                inside: side(router.inside),
                outside: side(router.outside),
                routes: self.routes(&[router.inside, router.outside], None),
            }
        };
        self.routers.iter().enumerate().map(plan).collect()
    }

    /// Gives new hosts their addresses; all names, old and new, as /etc/hosts.
    ///
    /// # Errors
    /// Two hosts of one name, too many, or one that is on no network, or on one twice.
    pub(crate) fn add(&mut self, specs: Vec<HostSpec>) -> Result<(Vec<HostPlan>, String), Trouble> {
        let first = self.hosts.len();
        let disks: Vec<_> = specs.iter().map(|spec| spec.disk).collect();
        for spec in specs {
            self.place(spec)?;
        }
        let plan = |(offset, disk): (usize, Option<u64>)| {
            let (host, number) = (&self.hosts[first + offset], first + offset);
            let nic = |network: &usize| {
                let (v4, v6) = host_address(*network, number);
                NicPlan { network: self.networks[*network].clone(), v4, v6 }
            };
            HostPlan {
                name: host.name.clone(),
                nics: host.networks.iter().map(nic).collect(),
                routes: self.routes(&host.networks, Some(number)),
                disk,
            }
        };
        let plans = disks.into_iter().enumerate().map(plan).collect();
        Ok((plans, self.names()))
    }

    fn place(&mut self, spec: HostSpec) -> Result<(), Trouble> {
        let HostSpec { name, networks, .. } = spec;
        if self.hosts.iter().any(|known| known.name == name) {
            return Err(twice("host", name.as_str()));
        }
        if self.routers.iter().any(|router| router.name == name.as_str()) {
            let text = format!("`{name}` is a host and a router");
            return Err(Trouble::new(Reason::DuplicateName, text).fix("give each a name of its own"));
        }
        if self.hosts.len() == HOSTS_MAX {
            let text = format!("{} hosts: a testbed has {HOSTS_MAX} at most", HOSTS_MAX + 1);
            return Err(Trouble::new(Reason::BadValue, text));
        }
        let networks = match (&networks[..], self.networks.len()) {
            ([], 1) => vec![0],
            ([], _) => {
                let text = format!("host `{name}` is on no network");
                let known = format!("networks: {}", self.networks.join(" "));
                return Err(Trouble::new(Reason::BadValue, text).saw(known));
            }
            (named, _) => named.iter().map(|network| self.network(network)).collect::<Result<Vec<_>, _>>()?,
        };
        if let Some(at) = (1..networks.len()).find(|at| networks[..*at].contains(&networks[*at])) {
            let text = format!("host `{name}` is on network `{}` twice", self.networks[networks[at]]);
            return Err(Trouble::new(Reason::BadValue, text).fix("name each network once"));
        }
        self.hosts.push(Placed { name, networks });
        Ok(())
    }

    /// The addresses of a host's name.
    pub(crate) fn addresses(&self, name: &HostName) -> Option<Address> {
        let number = self.hosts.iter().position(|host| host.name == *name)?;
        Some(host_address(self.hosts[number].networks[0], number))
    }

    /// Every name on every host: a host's own means its first network, `HOST.NETWORK` each.
    fn names(&self) -> String {
        let mut names = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
        for (number, host) in self.hosts.iter().enumerate() {
            for (place, network) in host.networks.iter().enumerate() {
                let (v4, v6) = host_address(*network, number);
                let mut words = if place == 0 { host.name.to_string() } else { String::new() };
                if self.networks.len() > 1 {
                    words =
                        format!("{words} {}.{}", host.name, self.networks[*network]).trim_start().to_owned();
                }
                names.push_str(&format!("{v4} {words}\n{v6} {words}\n"));
            }
        }
        names
    }

    /// The first step to every network that is not one of `own`, by the fewest routers; `host` is who asks.
    fn routes(&self, own: &[usize], host: Option<usize>) -> Vec<Route> {
        let families = [Family::V4, Family::V6];
        families.into_iter().flat_map(|family| self.routes_of(family, own, host)).collect()
    }

    fn routes_of(&self, family: Family, own: &[usize], host: Option<usize>) -> Vec<Route> {
        let mut first_steps: BTreeMap<usize, Option<IpAddr>> =
            own.iter().map(|network| (*network, None)).collect();
        let mut next: VecDeque<usize> = own.iter().copied().collect();
        while let Some(network) = next.pop_front() {
            let first = first_steps[&network];
            for (to, step) in self.steps(family, network, host) {
                first_steps.entry(to).or_insert_with(|| {
                    next.push_back(to);
                    Some(first.unwrap_or(step))
                });
            }
        }
        let route = |(network, step): (usize, Option<IpAddr>)| {
            let (to, prefix_bits) = (family.of(address(network, 0, 0)), PREFIX_BITS[family as usize]);
            step.map(|via| Route { to, prefix_bits, via })
        };
        first_steps.into_iter().filter_map(route).collect()
    }

    /// Where one router leads from a network, with its address there.
    fn steps(&self, family: Family, from: usize, asker: Option<usize>) -> Vec<(usize, IpAddr)> {
        let mut steps = Vec::new();
        for (number, router) in self.routers.iter().enumerate() {
            let address = family.of(router_address(from, number));
            if router.inside == from {
                steps.push((router.outside, address));
            }
            // Behind a translator, which is one of IPv4, nobody has an address that the others know.
            let is_hidden = family == Family::V4 && router.kind.behaviour().mapping.is_some();
            if router.outside == from && !is_hidden {
                steps.push((router.inside, address));
            }
        }
        for (number, host) in self.hosts.iter().enumerate() {
            if host.networks.contains(&from) && asker != Some(number) {
                let address = family.of(host_address(from, number));
                let others = host.networks.iter().filter(|network| **network != from);
                steps.extend(others.map(|network| (*network, address)));
            }
        }
        steps
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(self, (v4, v6): Address) -> IpAddr {
        match self {
            Self::V4 => v4.into(),
            Self::V6 => v6.into(),
        }
    }
}

/// Every address that /etc/hosts names, with the hardware behind it: [`Plan::names`] has a host's two families one after
/// the other.
pub(crate) fn neighbours(names: &str) -> Vec<(IpAddr, [u8; 6])> {
    let mut neighbours = Vec::new();
    let mut hardware = None;
    for line in names.lines() {
        let Some(Ok(address)) = line.split(' ').next().map(str::parse::<IpAddr>) else { continue };
        match address {
            IpAddr::V4(v4) if v4.is_loopback() => hardware = None,
            IpAddr::V4(v4) => hardware = Some(self::hardware(v4)),
            IpAddr::V6(_) => {}
        }
        neighbours.extend(hardware.map(|hardware| (address, hardware)));
    }
    neighbours
}

/// Whether an address is on the network on which `own` is, and not `own` itself.
pub(crate) fn is_near(address: IpAddr, own: &str) -> bool {
    let Ok(own) = own.parse::<Ipv4Addr>() else { return false };
    let network = u16::from(own.octets()[1]);
    match address {
        IpAddr::V4(address) => address != own && address.octets()[1] == own.octets()[1],
        IpAddr::V6(address) => {
            let [_, _, _, of, _, _, high, low] = address.segments();
            let [_, _, own_high, own_low] = own.octets().map(u16::from);
            of == network && (high, low) != (own_high, own_low)
        }
    }
}

/// Made from its address: a host that comes up again is whom its neighbours remember.
pub(crate) fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0, a, b, c, d]
}

fn twice(what: &str, name: &str) -> Trouble {
    Trouble::new(Reason::DuplicateName, format!("{what} `{name}` is named twice"))
        .fix(format!("give each {what} a name of its own"))
}

/// 10.0.0.1 and fd6e:7370::1 for the first host on the first network, 10.1.0.1 and fd6e:7370:0:1::1 on the second.
fn host_address(network: usize, host: usize) -> Address {
    address(network, host / 254, host % 254 + 1)
}

fn router_address(network: usize, router: usize) -> Address {
    address(network, 255, router + 1)
}

fn address(network: usize, high: usize, low: usize) -> Address {
    // Checked when networks, routers and hosts were named.
    let byte = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    let [network, high, low] = [network, high, low].map(byte);
    let v6 = Ipv6Addr::new(0xfd6e, 0x7370, 0, network.into(), 0, 0, high.into(), low.into());
    (Ipv4Addr::new(10, network, high, low), v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, networks: &[&str]) -> HostSpec {
        let networks = networks.iter().map(|network| (*network).to_owned()).collect();
        HostSpec { name: HostName::new(name).unwrap(), disk: None, networks }
    }

    fn router(name: &str, inside: &str, outside: &str, kind: &str) -> RouterSpec {
        let [name, inside, outside, kind] = [name, inside, outside, kind].map(str::to_owned);
        RouterSpec { name, inside, outside, kind }
    }

    fn plan(networks: &[&str], routers: Vec<RouterSpec>) -> Result<Plan, Trouble> {
        Plan::new(networks.iter().map(|network| (*network).to_owned()).collect(), routers)
    }

    /// The routes over IPv4.
    fn routes(plans: &[HostPlan]) -> Vec<String> {
        let v4 = |plan: &HostPlan| {
            let v4 = plan.routes.iter().filter(|route| route.to.is_ipv4());
            v4.map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        plans.iter().map(|plan| format!("{}: {}", plan.name, v4(plan))).collect()
    }

    #[test]
    fn one_network_has_no_routes() {
        let mut plan = Plan::new(Vec::new(), Vec::new()).unwrap();
        let (plans, names) = plan.add(vec![host("a", &[]), host("b", &[])]).unwrap();
        assert_eq!(routes(&plans), ["a: ", "b: "]);
        assert_eq!(plans[1].nics[0].v4, Ipv4Addr::new(10, 0, 0, 2));
        assert!(names.ends_with("10.0.0.1 a\nfd6e:7370::1 a\n10.0.0.2 b\nfd6e:7370::2 b\n"), "{names}");
        assert_eq!(plan.add(vec![host("a", &[])]).unwrap_err().text, "host `a` is named twice");
        assert_eq!(plan.addresses(&HostName::new("b").unwrap()).unwrap().0, Ipv4Addr::new(10, 0, 0, 2));
    }

    #[test]
    fn a_host_is_on_a_network_once() {
        let mut plan = plan(&["left", "right"], Vec::new()).unwrap();
        let refused = plan.add(vec![host("a", &["left", "right", "left"])]).unwrap_err();
        assert_eq!(refused.text, "host `a` is on network `left` twice");
        assert!(plan.add(vec![host("a", &["left", "right"])]).is_ok());
    }

    #[test]
    fn a_host_on_two_networks_is_a_router() {
        let mut plan = plan(&["left", "right"], Vec::new()).unwrap();
        let hosts = vec![host("a", &["left"]), host("r", &["left", "right"]), host("b", &["right"])];
        let (plans, names) = plan.add(hosts).unwrap();
        assert_eq!(routes(&plans), ["a: 10.1.0.0/16 10.0.0.2", "r: ", "b: 10.0.0.0/16 10.1.0.2"]);
        assert!(names.contains("10.0.0.2 r r.left\n") && names.contains("10.1.0.2 r.right\n"), "{names}");
    }

    #[test]
    fn nobody_has_a_route_behind_a_translator() {
        let routers = || vec![router("gw", "home", "net", "home"), router("fw", "lab", "net", "firewall")];
        let mut plan = plan(&["net", "home", "lab"], routers()).unwrap();
        let hosts = vec![host("s", &["net"]), host("c", &["home"]), host("l", &["lab"])];
        let (plans, _) = plan.add(hosts).unwrap();
        let wanted = [
            "s: 10.2.0.0/16 10.0.255.2",
            "c: 10.0.0.0/16 10.1.255.1, 10.2.0.0/16 10.1.255.1",
            "l: 10.0.0.0/16 10.2.255.2",
        ];
        assert_eq!(routes(&plans), wanted);
        let [gw, _] = &plan.routers()[..] else { panic!("two routers") };
        assert_eq!(gw.inside.1, Ipv4Addr::new(10, 1, 255, 1));
        let lab = Route {
            to: Ipv4Addr::new(10, 2, 0, 0).into(),
            prefix_bits: 16,
            via: Ipv4Addr::new(10, 0, 255, 2).into(),
        };
        assert_eq!(gw.routes[0], lab);
    }

    #[test]
    fn neighbours_are_those_of_the_same_network() {
        let mut plan = plan(&["left", "right"], Vec::new()).unwrap();
        let hosts = vec![host("a", &["left"]), host("r", &["left", "right"]), host("b", &["right"])];
        let (_, names) = plan.add(hosts).unwrap();
        let near = |own: &str| {
            let all = neighbours(&names).into_iter().filter(|(address, _)| is_near(*address, own));
            all.map(|(address, hardware)| format!("{address} {:x}", hardware[5]))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(near("10.0.0.1"), "10.0.0.2 2, fd6e:7370::2 2");
        assert_eq!(near("10.1.0.2"), "10.1.0.3 3, fd6e:7370:0:1::3 3");
    }

    #[test]
    fn what_cannot_be_is_said() {
        let said = |plan: Result<Plan, Trouble>| plan.unwrap_err().text;
        assert_eq!(said(plan(&["x", "x"], Vec::new())), "network `x` is named twice");
        let one = |spec| said(plan(&["home", "net"], vec![spec]));
        assert_eq!(one(router("gw", "hom", "net", "home")), "no network `hom`; did you mean `home`?");
        assert_eq!(one(router("gw", "net", "net", "home")), "both sides of router `gw` are network `net`");
        assert_eq!(
            one(router("gw", "home", "net", "hme")),
            "router `gw` has no kind `hme`; did you mean `home`?"
        );
        let mut two = plan(&["home", "net"], vec![router("gw", "home", "net", "home")]).unwrap();
        assert_eq!(two.add(vec![host("a", &[])]).unwrap_err().text, "host `a` is on no network");
        assert_eq!(two.add(vec![host("gw", &["net"])]).unwrap_err().text, "`gw` is a host and a router");
    }
}
