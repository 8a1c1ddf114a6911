//! Packets that come to somebody and are for others: sent on by hosts as Linux does, by routers that are no hosts as
//! `netmodel` has it, or their senders are told why not.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netsplit_netmodel::nat::{self, Content, End, Flow, FlowKind, Fragment, Heading, Refusal, Side, View};
use netsplit_netmodel::router::{Router, RouterDrop, RouterSpec};

use super::address::{Endpoint, Ip};
use super::capture;
use super::hosts::{Hop, NetworkIndex, Route};
use super::packet::{Body, Packet, Unreachable};
use super::wires::NEIGHBOUR_TIMEOUT;
use super::{Event, HostIndex, NOBODY, Nanos, Net, NicSpec, Outbox};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// A router that is no host, and the networks of its sides.
pub(super) struct Gateway {
    router: Router,
    networks: [NetworkIndex; 2],
}

impl Net {
    /// Adds a router that is no host, between two networks. Faults name it by the number that this gives.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add_router(
        &mut self,
        now: Nanos,
        out: &mut Outbox,
        spec: &RouterSpec,
    ) -> Result<HostIndex, String> {
        let router = Router::new(self.seed, spec)?;
        let mut nics = Vec::new();
        for side in [Side::Outside, Side::Inside] {
            let at = spec.side(side);
            let (Some((v4, 16)), Some((v6, 64))) = (at.v4, at.v6) else {
                return Err(format!(
                    "its address on network `{}` is not of a /16, or not of a /64",
                    at.network
                ));
            };
            nics.push((NicSpec { network: at.network.clone(), v4, v6 }, spec.port_name(side)));
        }
        let networks = Side::ALL.map(|side| self.network(&spec.side(side).network));
        let host = self.push_host(&spec.name, nics, &[]);
        self.hosts[host.at()].gateway = Some(Box::new(Gateway { router, networks }));
        self.advance_faults(now, out);
        Ok(host)
    }

    /// Sends on a packet that came to a host or router and is for another.
    #[cold]
    pub(super) fn forward(&mut self, now: Nanos, out: &mut Outbox, mut packet: Box<Packet>) {
        let here = packet.hop.to;
        let sent = match &mut self.hosts[here.at()].gateway {
            Some(gateway) => gateway.pass(now, &mut packet).map(|(network, next)| {
                let to = self.owner(next);
                Hop { from: here, to, network }
            }),
            None => self.step_on(&mut packet),
        };
        match sent {
            Ok(Hop { to: NOBODY, .. }) => self.find_nobody(now, out, packet),
            Ok(hop) => {
                packet.hop = hop;
                self.wires.send(now, out, packet);
            }
            Err(drop) => {
                let what = match drop {
                    RouterDrop::NoRoute => Some(Unreachable::Network),
                    RouterDrop::Expired => Some(Unreachable::Expired),
                    _ => None,
                };
                if let Some(answer) = what.and_then(|what| self.rejection(&packet, what)) {
                    self.wires.send(now, out, answer);
                }
                self.wires.pool.give_back(packet);
            }
        }
    }

    /// What a host does with a packet for another.
    fn step_on(&self, packet: &mut Packet) -> Result<Hop, RouterDrop> {
        let route = self.route(packet.hop.to, packet.destination.ip);
        let Route { hop, .. } = route.map_err(|_| RouterDrop::NoRoute)?;
        if packet.count_hop() { Ok(hop) } else { Err(RouterDrop::Expired) }
    }

    /// Nobody answers who has the address. A host tells the sender once that is clear, a router that is none does not.
    fn find_nobody(&mut self, now: Nanos, out: &mut Outbox, packet: Box<Packet>) {
        let is_host = self.hosts[packet.hop.to.at()].gateway.is_none();
        if is_host && let Some(mut answer) = self.rejection(&packet, Unreachable::Host) {
            answer.hop = Hop::loopback(answer.hop.from);
            out.timers.push((now + NEIGHBOUR_TIMEOUT, Event::arrival(answer)));
        }
        self.wires.pool.give_back(packet);
    }

    /// What tells the sender of a packet, in the name of the address where it came.
    fn rejection(&mut self, packet: &Packet, what: Unreachable) -> Option<Box<Packet>> {
        let here = &self.hosts[packet.hop.to.at()];
        let own: Ip = here.address_on(packet.hop.network, packet.source.ip.is_v4())?;
        let mut answer = self.wires.pool.refusal(packet, what)?;
        answer.source = Endpoint { ip: own, port: 0 };
        Some(answer)
    }
}

impl Gateway {
    /// The network by which a packet goes out, and its next hop there.
    fn pass(&mut self, now: Nanos, packet: &mut Packet) -> Result<(NetworkIndex, Ip), RouterDrop> {
        let is_inside = packet.hop.network == self.networks[Side::Inside as usize];
        let from = if is_inside { Side::Inside } else { Side::Outside };
        let (to, next) = self.router.pass(Duration::from_nanos(now), from, packet)?;
        Ok((self.networks[to as usize], Ip::new(next)))
    }
}

impl View for Packet {
    fn address(&self, end: End) -> IpAddr {
        self.end(end).ip.address()
    }

    fn heading(&self) -> Result<Heading, Refusal> {
        let (protocol, fragment) = match &self.body {
            Body::Udp => (UDP, None),
            Body::Tcp(_) => (TCP, None),
            Body::Icmp(_) => (if self.destination.ip.is_v4() { ICMP } else { ICMPV6 }, None),
            Body::Fragment(part) => {
                let id = u32::try_from(part.datagram & u64::from(u32::MAX)).unwrap_or_default();
                (UDP, Some(Fragment { is_first: part.offset == 0, id }))
            }
        };
        Ok(Heading { protocol, fragment })
    }

    fn content(&self) -> Result<Content, Refusal> {
        let flow = |[source, destination]: [Endpoint; 2], kind| Flow {
            source: nat::Endpoint(source.ip.address(), source.port),
            destination: nat::Endpoint(destination.ip.address(), destination.port),
            kind,
        };
        let ends = [self.source, self.destination];
        Ok(match &self.body {
            Body::Udp | Body::Fragment(_) => Content::Flow(flow(ends, FlowKind::Other)),
            Body::Tcp(segment) => Content::Flow(flow(ends, FlowKind::Tcp(segment.flags.0))),
            Body::Icmp(icmp) => {
                let (protocol, kind) =
                    if icmp.is_tcp { (TCP, FlowKind::Tcp(0)) } else { (UDP, FlowKind::Other) };
                Content::Error(protocol, flow([icmp.source, icmp.destination], kind))
            }
        })
    }

    fn count_hop(&mut self) -> bool {
        let has_one = self.hops > 1;
        self.hops -= u8::from(has_one);
        has_one
    }

    fn rewrite(&mut self, end: End, nat::Endpoint(ip, port): nat::Endpoint) {
        let (old, new) = (self.end(end), Endpoint { ip: Ip::new(ip), port });
        *self.end_mut(end) = new;
        if let Body::Fragment(part) = &mut self.body {
            part.checksum = capture::mended(part.checksum, old, new);
        }
    }

    fn rewrite_quoted(&mut self, end: End, nat::Endpoint(ip, port): nat::Endpoint) {
        if let Body::Icmp(icmp) = &mut self.body {
            let quoted = match end {
                End::Source => &mut icmp.source,
                End::Destination => &mut icmp.destination,
            };
            *quoted = Endpoint { ip: Ip::new(ip), port };
        }
    }

    fn rewrite_address(&mut self, end: End, to: Ipv4Addr) {
        self.end_mut(end).ip = Ip::new(to.into());
    }
}

impl Packet {
    fn end(&self, end: End) -> Endpoint {
        match end {
            End::Source => self.source,
            End::Destination => self.destination,
        }
    }

    fn end_mut(&mut self, end: End) -> &mut Endpoint {
        match end {
            End::Source => &mut self.source,
            End::Destination => &mut self.destination,
        }
    }
}
