//! Sessions and mappings: which there are, how long they live, and which ports they have.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use super::view::{Endpoint, ICMP, ICMPV6, TCP};
use super::{NatBehaviour, NatRule, Ports, Refusal};
use crate::draws::{Draws, Purpose};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Where ports begin that anybody may have.
const UNPRIVILEGED: u32 = 1024;
/// How many ports are tried, from a random one on. It bounds what one packet costs; to find all of them taken, most of all
/// ports must be, and then mappings have reached their own limit.
const TRIES_MAX: u32 = 2048;

const ANYBODY: Endpoint = Endpoint(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const LAST: Endpoint = Endpoint(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)), u16::MAX);

/// A flow by its ends; a mapping has in `remote` what it depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) protocol: u8,
    pub(super) inside: Endpoint,
    pub(super) remote: Endpoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Out,
    In,
}

#[derive(Debug)]
pub(super) struct Table {
    behaviour: NatBehaviour,
    draws: Draws,
    draws_ever: u64,
    sessions: BTreeMap<Key, Session>,
    mappings: BTreeMap<Key, Mapping>,
    /// Mappings by protocol and port outside.
    ports: BTreeMap<(u8, u16), Key>,
    /// When sessions are to be looked at, once each: not after they end.
    agenda: BTreeSet<(Duration, Key)>,
    blocks: BTreeMap<IpAddr, Block>,
    blocks_taken: BTreeSet<u32>,
}

#[derive(Debug)]
struct Session {
    /// That of its mapping.
    port: Option<u16>,
    ends_at: Duration,
    agenda_at: Duration,
    tcp: Connection,
}

#[derive(Debug)]
struct Mapping {
    port: u16,
    sessions: usize,
}

/// A host's ports.
#[derive(Debug)]
struct Block {
    number: u32,
    mappings: usize,
}

/// What was seen of a TCP connection, by way.
#[derive(Clone, Copy, Debug, Default)]
struct Connection {
    acked: [bool; 2],
    ended: [bool; 2],
    is_reset: bool,
}

/// Ports to choose from: `count` of them, `step` apart.
#[derive(Clone, Copy, Debug)]
struct Choice {
    first: u32,
    count: u32,
    step: u32,
}

impl Table {
    pub(super) fn new(seed: u64, name: &str, behaviour: NatBehaviour) -> Self {
        Self {
            behaviour,
            draws: Draws::new(seed, name),
            draws_ever: 0,
            sessions: BTreeMap::new(),
            mappings: BTreeMap::new(),
            ports: BTreeMap::new(),
            agenda: BTreeSet::new(),
            blocks: BTreeMap::new(),
            blocks_taken: BTreeSet::new(),
        }
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn mappings(&self) -> usize {
        self.mappings.len()
    }

    /// Ends what has had its time. All that is left then lives.
    pub(super) fn expire(&mut self, now: Duration) {
        while let Some((at, key)) = self.agenda.first().copied()
            && at <= now
        {
            self.agenda.pop_first();
            match self.sessions.get_mut(&key) {
                Some(session) if session.ends_at > now => {
                    session.agenda_at = session.ends_at;
                    self.agenda.insert((session.ends_at, key));
                }
                _ => self.end(key),
            }
        }
        debug_assert_eq!(self.agenda.len(), self.sessions.len());
    }

    fn end(&mut self, key: Key) {
        let is_mapped = self.sessions.remove(&key).is_some_and(|session| session.port.is_some());
        if !is_mapped {
            return;
        }
        let key = self.mapping_of(key);
        let Some(mapping) = self.mappings.get_mut(&key) else { return };
        mapping.sessions -= 1;
        if mapping.sessions > 0 {
            return;
        }
        self.ports.remove(&(key.protocol, mapping.port));
        self.mappings.remove(&key);
        if let Some(block) = self.blocks.get_mut(&key.inside.0) {
            block.mappings -= 1;
            if block.mappings == 0 {
                self.blocks_taken.remove(&block.number);
                self.blocks.remove(&key.inside.0);
            }
        }
    }

    /// Notes a packet from inside, and gives the port that it has outside, if it `is_mapped`.
    pub(super) fn open(
        &mut self,
        now: Duration,
        key: Key,
        tcp_flags: Option<u8>,
        is_mapped: bool,
    ) -> Result<Option<u16>, Refusal> {
        if let Some(port) = self.refresh(now, key, Way::Out, tcp_flags) {
            return Ok(port);
        }
        // It begins nothing, but may answer what was let in.
        if tcp_flags.is_some_and(|flags| flags & RST != 0) {
            return self.entered(key, is_mapped);
        }
        if self.sessions.len() >= self.behaviour.sessions_max {
            return Err(Refusal::TableFull);
        }
        let port = if is_mapped { Some(self.map(self.mapping_of(key))?) } else { None };
        let mut tcp = Connection::default();
        tcp.see(Way::Out, tcp_flags);
        let ends_at = now.saturating_add(self.timeout(key.protocol, tcp));
        self.sessions.insert(key, Session { port, ends_at, agenda_at: ends_at, tcp });
        self.agenda.insert((ends_at, key));
        debug_assert!(self.sessions.len() <= self.behaviour.sessions_max);
        Ok(port)
    }

    /// Notes a packet from outside to an end inside.
    pub(super) fn enter(&mut self, now: Duration, key: Key, tcp_flags: Option<u8>) -> Result<(), Refusal> {
        if !self.lets_in(key, None) {
            return Err(Refusal::Unsolicited);
        }
        self.refresh(now, key, Way::In, tcp_flags);
        Ok(())
    }

    /// Notes a packet from `remote` to a port outside, and gives the end inside that has it.
    pub(super) fn enter_mapped(
        &mut self,
        now: Duration,
        protocol: u8,
        port: u16,
        remote: Endpoint,
        tcp_flags: Option<u8>,
    ) -> Result<Endpoint, Refusal> {
        let mapping = *self.ports.get(&(protocol, port)).ok_or(Refusal::Unsolicited)?;
        let key = Key { remote, ..mapping };
        if !self.lets_in(key, Some(mapping)) {
            return Err(Refusal::Unsolicited);
        }
        if self.mapping_of(key) == mapping {
            self.refresh(now, key, Way::In, tcp_flags);
        }
        Ok(mapping.inside)
    }

    /// Whether there is this session.
    pub(super) fn has(&self, key: Key) -> bool {
        self.sessions.contains_key(&key)
    }

    /// The port outside to which a packet from outside came that got in, or would now.
    pub(super) fn entered(&self, key: Key, is_mapped: bool) -> Result<Option<u16>, Refusal> {
        let mapping = is_mapped.then(|| self.mapping_of(key));
        let port = match mapping {
            Some(mapping) => Some(self.mappings.get(&mapping).ok_or(Refusal::Unsolicited)?.port),
            None => None,
        };
        if self.lets_in(key, mapping) { Ok(port) } else { Err(Refusal::Unsolicited) }
    }

    /// The end inside that sent a packet to `remote`, from this port outside.
    pub(super) fn left(&self, protocol: u8, port: u16, remote: Endpoint) -> Result<Endpoint, Refusal> {
        let mapping = *self.ports.get(&(protocol, port)).ok_or(Refusal::Unsolicited)?;
        let key = Key { remote, ..mapping };
        let is_known = self.has(key) && self.mapping_of(key) == mapping;
        if is_known { Ok(mapping.inside) } else { Err(Refusal::Unsolicited) }
    }

    fn mapping_of(&self, key: Key) -> Key {
        let remote = match self.behaviour.mapping {
            None | Some(NatRule::EndpointIndependent) => ANYBODY,
            Some(NatRule::AddressDependent) => Endpoint(key.remote.0, 0),
            Some(NatRule::AddressAndPortDependent) => key.remote,
        };
        Key { remote, ..key }
    }

    /// Whether filtering lets `key.remote` speak to `key.inside`, by way of a mapping.
    fn lets_in(&self, key: Key, mapping: Option<Key>) -> bool {
        let spoke_to = |first: Endpoint, last: Endpoint| {
            let range = Key { remote: first, ..key }..=Key { remote: last, ..key };
            let mut keys = self.sessions.range(range).map(|(key, _)| *key);
            keys.any(|key| mapping.is_none_or(|mapping| self.mapping_of(key) == mapping))
        };
        let address = key.remote.0;
        match self.behaviour.filtering {
            None => true,
            Some(NatRule::EndpointIndependent) => mapping.is_some() || spoke_to(ANYBODY, LAST),
            Some(NatRule::AddressDependent) => spoke_to(Endpoint(address, 0), Endpoint(address, u16::MAX)),
            Some(NatRule::AddressAndPortDependent) => spoke_to(key.remote, key.remote),
        }
    }

    /// Notes a packet of a session, if there is that, and gives the session's port.
    fn refresh(&mut self, now: Duration, key: Key, way: Way, tcp_flags: Option<u8>) -> Option<Option<u16>> {
        let session = self.sessions.get_mut(&key)?;
        session.tcp.see(way, tcp_flags);
        let timeout = timeout(&self.behaviour, key.protocol, session.tcp);
        session.ends_at = now.saturating_add(timeout);
        if session.ends_at < session.agenda_at {
            self.agenda.remove(&(session.agenda_at, key));
            self.agenda.insert((session.ends_at, key));
            session.agenda_at = session.ends_at;
        }
        Some(session.port)
    }

    fn timeout(&self, protocol: u8, tcp: Connection) -> Duration {
        timeout(&self.behaviour, protocol, tcp)
    }

    /// One more session of a mapping, which is made if there is none. Its port.
    fn map(&mut self, key: Key) -> Result<u16, Refusal> {
        if let Some(mapping) = self.mappings.get_mut(&key) {
            mapping.sessions += 1;
            return Ok(mapping.port);
        }
        if self.mappings.len() >= self.behaviour.mappings_max {
            return Err(Refusal::TableFull);
        }
        let port = self.choose(key).ok_or(Refusal::NoPort)?;
        if let Ports::Blocks(_) = self.behaviour.ports {
            let number = self.block(key.inside.0).ok_or(Refusal::NoPort)?;
            self.blocks_taken.insert(number);
            self.blocks.entry(key.inside.0).or_insert(Block { number, mappings: 0 }).mappings += 1;
        }
        self.mappings.insert(key, Mapping { port, sessions: 1 });
        self.ports.insert((key.protocol, port), key);
        debug_assert_eq!(self.mappings.len(), self.ports.len());
        Ok(port)
    }

    fn choose(&mut self, key: Key) -> Option<u16> {
        let own = u32::from(key.inside.1);
        let choice = match self.behaviour.ports {
            Ports::Kept if !self.ports.contains_key(&(key.protocol, key.inside.1)) => {
                return Some(key.inside.1);
            }
            // An identifier is no port.
            Ports::Kept | Ports::Random if key.protocol == ICMP => {
                Choice { first: 0, count: 1 << 16, step: 1 }
            }
            Ports::Kept if own < UNPRIVILEGED => Choice { first: own % 2, count: UNPRIVILEGED / 2, step: 2 },
            Ports::Kept => {
                let count = ((1 << 16) - UNPRIVILEGED) / 2;
                Choice { first: UNPRIVILEGED + own % 2, count, step: 2 }
            }
            Ports::Random => Choice { first: UNPRIVILEGED, count: (1 << 16) - UNPRIVILEGED, step: 1 },
            Ports::Blocks(size) => {
                let size_ports = u32::from(size.get());
                let number = self.block(key.inside.0)?;
                Choice { first: UNPRIVILEGED + number * size_ports, count: size_ports, step: 1 }
            }
        };
        self.draw(key.protocol, choice)
    }

    /// A free port, the first from a random one on. Port 0 is none.
    fn draw(&mut self, protocol: u8, Choice { first, count, step }: Choice) -> Option<u16> {
        let start = self.draws.below(self.draws_ever, Purpose::NatPort, u64::from(count));
        self.draws_ever += 1;
        let start = u32::try_from(start).ok()?;
        let ports = (0..count.min(TRIES_MAX)).map(|index| first + (start + index) % count * step);
        let mut ports = ports.filter_map(|port| u16::try_from(port).ok());
        ports.find(|port| *port != 0 && !self.ports.contains_key(&(protocol, *port)))
    }

    /// The number of a host's block, or of the first that is free.
    fn block(&self, host: IpAddr) -> Option<u32> {
        if let Some(block) = self.blocks.get(&host) {
            return Some(block.number);
        }
        let Ports::Blocks(size) = self.behaviour.ports else { return None };
        (0..blocks(size)).find(|number| !self.blocks_taken.contains(number))
    }
}

/// How many blocks there are.
fn blocks(size: NonZeroU16) -> u32 {
    ((1 << 16) - UNPRIVILEGED) / u32::from(size.get())
}

fn timeout(behaviour: &NatBehaviour, protocol: u8, tcp: Connection) -> Duration {
    match protocol {
        TCP if tcp.is_established() => behaviour.tcp_established_timeout,
        TCP => behaviour.tcp_transitory_timeout,
        ICMP | ICMPV6 => behaviour.icmp_timeout,
        _ => behaviour.udp_timeout,
    }
}

impl Connection {
    fn see(&mut self, way: Way, flags: Option<u8>) {
        let Some(flags) = flags else { return };
        if flags & (SYN | ACK) == SYN && self.is_over() {
            *self = Self::default();
        }
        self.acked[way as usize] |= flags & ACK != 0 && flags & RST == 0;
        self.ended[way as usize] |= flags & FIN != 0;
        self.is_reset |= flags & RST != 0;
    }

    /// Both ends have acknowledged something, whoever began.
    fn is_established(self) -> bool {
        self.acked == [true; 2] && !self.is_over()
    }

    fn is_over(self) -> bool {
        self.is_reset || self.ended == [true; 2]
    }
}
