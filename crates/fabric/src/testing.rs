//! What a host may do to the network: any frame, on any link. The fuzzer and a property test use the same.

use std::time::Duration;

use netsplit_netmodel::nat::NatKind;
use netsplit_netmodel::router::{RouterSide, RouterSpec};
use netsplit_netmodel::{Behaviour, Condition, Jitter};

use crate::capture::Sight;
use crate::frame::{HEADER, PAYLOAD};
use crate::segment::{Outlet, Segment};
use crate::{Limits, Mac};

/// Ports of hosts: three on one network, one on another behind a translator.
const HOSTS: u8 = 4;

/// Takes what is sent.
struct Sink {
    sent: u64,
}

impl Outlet for Sink {
    fn send(&mut self, _port: usize, frame: &[u8]) -> bool {
        assert!(frame.len() >= PAYLOAD, "a frame without a header went out");
        self.sent += 1;
        true
    }

    fn is_watched(&self) -> bool {
        false
    }

    fn see(&mut self, _sight: &Sight<'_>, _frame: &[u8]) {}
}

/// Sends frames made of `bytes` through a segment whose links do a bit of everything, and lets all of them arrive.
///
/// # Panics
/// When a packet is lost from sight, and on any mistake of ours that the bytes bring about.
pub fn receive_arbitrary(bytes: &[u8]) {
    let limits = Limits { packets: 1000, bytes: 1 << 24 };
    let mut segment = Segment::new(7, limits);
    let mut sink = Sink { sent: 0 };
    for number in 0..HOSTS {
        let network = if number == HOSTS - 1 { "inside" } else { "" };
        segment.join(&number.to_string(), network, mac(number));
    }
    segment.join_box(&translator()).expect("a box that can be");
    let mut now = Duration::ZERO;
    let mut rest = bytes;
    while let [kind, port, length, tail @ ..] = rest {
        let (body, behind) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = behind;
        now += Duration::from_micros(u64::from(*kind) * 10);
        let from = usize::from(*port % HOSTS);
        if *kind >= 240 {
            let pair = [from, (from + 1) % usize::from(HOSTS - 1)];
            if pair[0] != pair[1] && from < usize::from(HOSTS - 1) {
                segment.change(now, pair, behaviour(*port >> 2), &mut sink);
            }
            continue;
        }
        let mut frame = made(*kind, *port, body);
        segment.receive(now, from, &mut frame, &mut sink);
        while segment.step(now, &mut sink) {}
    }
    for _ever in 0..100_000 {
        let Some(at) = segment.deadline() else { break };
        now = now.max(at);
        segment.step(now, &mut sink);
    }
    for (from, to, _, counters) in segment.links() {
        let after = counters.delivered.packets
            + counters.dropped().packets
            + counters.queued.packets
            + counters.under_way.packets;
        assert_eq!(counters.offered.packets + counters.duplicated.packets, after, "{from} to {to}");
    }
}

fn mac(number: u8) -> Mac {
    Mac([2, 0, 10, 0, 0, number + 1])
}

fn translator() -> RouterSpec {
    let side = |network: &str, v4: [u8; 4], v6: u16| RouterSide {
        network: network.to_owned(),
        v4: Some((v4.into(), 24)),
        v6: Some(([0xfd00, v6, 0, 0, 0, 0, 0, 1].into(), 64)),
    };
    RouterSpec {
        name: "box".to_owned(),
        inside: side("inside", [10, 1, 0, 254], 1),
        outside: side("", [10, 0, 0, 254], 2),
        routes: Vec::new(),
        behaviour: NatKind::Home.behaviour(),
    }
}

fn behaviour(choice: u8) -> Behaviour {
    let (ms, new) = (Duration::from_millis, Condition::new());
    let condition = match choice % 8 {
        0 => new.cut(),
        1 => new.reject(),
        2 => new.hold(),
        3 => new.delay(ms(5)).jitter(Jitter::uniform(ms(2))),
        4 => new.loss(0.5).duplicate(0.5).corrupt(0.5),
        5 => new.rate(1_000_000).queue(3000),
        6 => new.mtu(100).reorder(0.5, ms(3)),
        _ => new,
    };
    Behaviour::of([&condition]).expect("a condition that can be")
}

/// A frame: `body` as it is, or behind headers that bring it further.
fn made(kind: u8, port: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    let to = match port >> 4 {
        15 => Mac([0xff; 6]),
        14 => Mac([0x33, 0x33, 0, 0, 0, 1]),
        number => mac(number % HOSTS),
    };
    let ethertype: &[u8] = match kind % 8 {
        0 => return body.to_vec(),
        1 | 2 => &[0x08, 0x00],
        3 | 4 => &[0x86, 0xdd],
        5 => &[0x08, 0x06],
        6 => &[0x81, 0x00],
        _ => &[],
    };
    if kind & 8 != 0 {
        // VIRTIO_NET_HDR_F_NEEDS_CSUM, a kind of super-frame, and lengths as the body has them.
        frame[0] = 1;
        frame[1] = [0, 1, 4, 5][usize::from(kind >> 4 & 3)];
        frame.iter_mut().skip(2).zip(body).for_each(|(header, byte)| *header = *byte);
    }
    frame.extend(to.0);
    frame.extend(mac(port % HOSTS).0);
    frame.extend(ethertype);
    frame.extend(body);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_frame_of_a_host_breaks_the_network(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
            super::receive_arbitrary(&bytes);
        }
    }
}
