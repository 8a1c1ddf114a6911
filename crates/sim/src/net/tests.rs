//! Tests of the network: a small driver in place of the kernel, and what programs see through sockets.

mod connecting;
mod datagrams;
mod faults;
mod networks;
mod properties;
mod streams;

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use netsplit_netmodel::{Condition, Fault, Schedule, Scope};

use super::*;
use crate::errno::{Errno, Result};

const MS: Nanos = 1_000_000;
const S: Nanos = 1000 * MS;

/// The network, its events in order, and what was told of sockets.
struct World {
    net: Net,
    now: Nanos,
    order: u64,
    due: BTreeMap<(Nanos, u64), Event>,
    out: Outbox,
    news: Vec<(SocketId, u32)>,
    trace: u64,
    events: u64,
}

impl World {
    /// Hosts `a`, `b` and so on, at 10.0.0.1, 10.0.0.2 and so on.
    fn new(seed: u64, hosts: usize) -> Self {
        let mut world = Self {
            net: Net::new(seed, Delays::default()),
            now: 0,
            order: 0,
            due: BTreeMap::new(),
            out: Outbox::default(),
            news: Vec::new(),
            trace: 0,
            events: 0,
        };
        for at in 0..hosts {
            let letter = char::from(b'a' + u8::try_from(at).unwrap());
            world.add(&letter.to_string());
        }
        world
    }

    fn add(&mut self, name: &str) -> HostIndex {
        let last = u8::try_from(self.net.hosts.len() + 1).unwrap();
        let (v4, v6) = (Ipv4Addr::new(10, 0, 0, last), format!("fd00::{last}").parse().unwrap());
        let nic = NicSpec { network: String::new(), v4, v6 };
        self.net.add_host(self.now, &mut self.out, name, &[nic], &[])
    }

    fn call<T>(&mut self, f: impl FnOnce(&mut Net, Nanos, &mut Outbox) -> T) -> T {
        let value = f(&mut self.net, self.now, &mut self.out);
        self.collect();
        value
    }

    fn collect(&mut self) {
        for (at, event) in self.out.timers.drain(..) {
            assert!(at >= self.now, "time does not go back");
            self.due.insert((at, self.order), event);
            self.order += 1;
        }
        self.news.append(&mut self.out.ready);
    }

    fn step(&mut self, until: Nanos) -> bool {
        let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= until) else { return false };
        let ((at, _), event) = entry.remove_entry();
        self.now = at;
        self.events += 1;
        let what = self.net.handle(at, &mut self.out, event);
        self.trace = mix(self.trace, what ^ at);
        self.collect();
        true
    }

    /// Lets so much time pass.
    fn run(&mut self, time: Nanos) {
        let until = self.now + time;
        while self.step(until) {}
        self.now = until;
    }

    /// Lets time pass until nothing is to happen any more.
    fn run_out(&mut self) {
        while self.step(NEVER) {}
    }

    fn socket(&mut self, host: u32, kind: Kind) -> SocketId {
        self.net.socket(HostIndex(host), Family::V4, kind)
    }

    fn bound(&mut self, host: u32, kind: Kind, address: &str) -> SocketId {
        let id = self.socket(host, kind);
        self.net.bind(id, address.parse().unwrap()).unwrap();
        id
    }

    fn listener(&mut self, host: u32, port: u16, backlog: i32) -> SocketId {
        let id = self.bound(host, Kind::Stream, &format!("0.0.0.0:{port}"));
        self.net.listen(id, backlog).unwrap();
        id
    }

    fn connect(&mut self, id: SocketId, to: &str) -> Result<()> {
        let to: SocketAddr = to.parse().unwrap();
        self.call(|net, now, out| net.connect(now, out, id, to))
    }

    fn connecting(&mut self, host: u32, to: &str) -> SocketId {
        let id = self.socket(host, Kind::Stream);
        assert_eq!(self.connect(id, to), Err(Errno::EINPROGRESS));
        id
    }

    /// A connection from host 0 to host 1: both ends.
    fn pair(&mut self) -> [SocketId; 2] {
        let listener = self.listener(1, 80, 8);
        let client = self.connecting(0, "10.0.0.2:80");
        self.run(MS);
        let (server, _) = self.net.accept(listener).unwrap();
        self.close(listener);
        [client, server]
    }

    fn send(&mut self, id: SocketId, data: &[u8]) -> Result<usize> {
        self.call(|net, now, out| net.send(now, out, id, &[IoSlice::new(data)], None))
    }

    fn send_to(&mut self, id: SocketId, data: &[u8], to: &str) -> Result<usize> {
        let to = to.parse().unwrap();
        self.call(|net, now, out| net.send(now, out, id, &[IoSlice::new(data)], Some(to)))
    }

    fn receive(&mut self, id: SocketId, room: usize) -> Result<(Vec<u8>, Received)> {
        let mut buf = vec![0; room];
        let received =
            self.call(|net, now, out| net.recv(now, out, id, &mut [IoSliceMut::new(&mut buf)], false))?;
        buf.truncate(received.bytes);
        Ok((buf, received))
    }

    fn read(&mut self, id: SocketId) -> Result<Vec<u8>> {
        self.receive(id, 1 << 16).map(|(data, _)| data)
    }

    fn close(&mut self, id: SocketId) {
        self.call(|net, now, out| net.close(now, out, id));
    }

    fn shutdown(&mut self, id: SocketId, how: Shutdown) -> Result<()> {
        self.call(|net, now, out| net.shutdown(now, out, id, how))
    }

    fn set(&mut self, id: SocketId, option: Opt, value: i32) {
        self.call(|net, now, out| net.set_option(now, out, id, option, value)).unwrap();
    }

    fn begin(&mut self, id: u64, scope: Scope, condition: Condition) {
        let fault = Fault { scope, condition, schedule: Schedule::default() };
        self.call(|net, now, out| net.begin_fault(now, out, id, fault)).unwrap();
    }

    fn one_way(&mut self, id: u64, from: usize, to: usize, condition: Condition) {
        self.begin(id, Scope::OneWay { from: vec![from], to: vec![to] }, condition);
    }

    fn both_ways(&mut self, id: u64, left: usize, right: usize, condition: Condition) {
        self.begin(id, Scope::BothWays { left: vec![left], right: vec![right] }, condition);
    }

    fn heal(&mut self, id: u64) {
        self.call(|net, now, out| net.heal_fault(now, out, id)).unwrap();
    }

    /// What was told of a socket since the last time.
    fn news(&mut self, id: SocketId) -> u32 {
        let bits = self.news.iter().filter(|news| news.0 == id).fold(0, |bits, news| bits | news.1);
        self.news.retain(|news| news.0 != id);
        bits
    }

    fn offered(&self, from: u32, to: u32) -> u64 {
        let link = self.net.links().find(|link| (link.from.0, link.to.0) == (from, to));
        link.map_or(0, |link| link.counters.offered.packets)
    }

    /// What the only link from one host to another does.
    fn behaviour(&self, from: u32, to: u32) -> String {
        self.net.links_between(HostIndex(from), HostIndex(to)).next().unwrap().1.to_string()
    }

    fn is_error(&mut self, id: SocketId, error: Errno) -> bool {
        self.net.take_error(id) == Some(error)
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
