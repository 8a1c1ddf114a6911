//! Promises of captures, from what a network shows to a file: which ports have an interface, and what a file says of them.

mod parse;

use std::time::Duration;

use netsplit_netmodel::capture::pcapng::{self, Encoder, LinkType};
use netsplit_netmodel::capture::{Capture, Packet, Point, Remark, Sight, Sink, View};
use parse::{Parsed, parse};

const BEGUN: Duration = Duration::from_secs(1_700_000_000);

struct File(Encoder);

impl Sink for File {
    fn interface(&mut self, name: &str) -> u32 {
        self.0.interface(name)
    }

    fn packet(&mut self, packet: Packet) {
        let Packet { interface, at_ns, direction, comment, bytes } = &packet;
        let (interface, at_ns, direction) = (*interface, *at_ns, *direction);
        self.0.packet(&pcapng::Packet { interface, at_ns, direction, bytes, lost_before: 0, comment });
    }
}

/// The file of a capture that began when the first `known` ports were there, of one packet from each port to the next.
fn captured(view: View, known: usize) -> Parsed {
    let names = ["", "a", "b", "c"].map(str::to_owned);
    let file = File(Encoder::new(LinkType::Ip, 2, ["x86_64", "Linux (none)", "netsplit"]));
    let mut capture = Capture::new(file, view, BEGUN, &names[..known]);
    for from in 1..3 {
        let sight = Sight {
            at: Duration::from_nanos(from as u64),
            from,
            to: Some(from + 1),
            point: Point::Sent,
            remark: Remark::Plain,
            is_shared: false,
            names: &names,
        };
        capture.see(&sight, || b"bytes".to_vec());
    }
    capture.sink().0.end(0, &[0, 5]);
    parse(capture.sink().0.made())
}

#[test]
fn a_port_that_comes_later_has_an_interface_with_its_first_packet() {
    let all = captured(View::All, 2);
    assert_eq!(all.interfaces, ["a", "b"], "one that has no name has none, nor one that was not there");
    let packets: Vec<_> = all.packets.iter().map(|seen| (&seen.interface[..], seen.at_ns)).collect();
    let begun = 1_700_000_000_000_000_000;
    assert_eq!(packets, [("a", begun + 1), ("b", begun + 2)]);
    assert_eq!(all.statistics, [[1, 0], [6, 5]]);
    assert!(all.packets.iter().all(|seen| seen.ip() == Some(b"by") && seen.length == 5));
    let link = View::Links { pairs: vec![[2, 3]], both_ways: false };
    assert_eq!(captured(link.clone(), 4).interfaces, ["b", "c"]);
    assert_eq!(captured(link, 2).interfaces, ["b"]);
}
