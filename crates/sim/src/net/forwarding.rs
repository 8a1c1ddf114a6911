//! Packets that come to a host and are for another: sent on as Linux does, or their senders are told why not.

use super::address::{Endpoint, Ip};
use super::hosts::{Hop, Route};
use super::packet::{Packet, Unreachable};
use super::wires::NEIGHBOUR_TIMEOUT;
use super::{Event, NOBODY, Nanos, Net, Outbox};

impl Net {
    /// Sends on a packet that came to a host and is for another.
    #[cold]
    pub(super) fn forward(&mut self, now: Nanos, out: &mut Outbox, mut packet: Box<Packet>) {
        let Ok(Route { hop, source }) = self.route(packet.hop.to, packet.destination.ip) else {
            return self.reject(now, out, packet, Unreachable::Network);
        };
        if packet.hops <= 1 {
            return self.reject(now, out, packet, Unreachable::Expired);
        }
        if packet.destination.ip.is_broadcast(source) {
            self.wires.pool.give_back(packet);
        } else if hop.to == NOBODY {
            self.find_nobody_for(now, out, packet);
        } else {
            packet.hops -= 1;
            packet.hop = hop;
            self.wires.send(now, out, packet);
        }
    }

    /// Tells a packet's sender why it goes no further.
    fn reject(&mut self, now: Nanos, out: &mut Outbox, packet: Box<Packet>, what: Unreachable) {
        if let Some(answer) = self.rejection(&packet, what) {
            self.wires.send(now, out, answer);
        }
        self.wires.pool.give_back(packet);
    }

    /// Nobody answers who has the address, and its sender is told once that is clear.
    fn find_nobody_for(&mut self, now: Nanos, out: &mut Outbox, packet: Box<Packet>) {
        if let Some(mut answer) = self.rejection(&packet, Unreachable::Host) {
            answer.hop = Hop { to: answer.hop.from, ..answer.hop };
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
