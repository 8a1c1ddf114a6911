//! What hosts say about the multicast groups that they are in. As a snooping switch does (RFC 4541, section 2.1.1), the
//! fabric passes reports on only to ports behind which somebody asked: with 500 hosts, every host's reports to every
//! other were a quarter of a million frames before the first test began.

use crate::frame::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6};

/// What a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// Its sender asks who is in a group.
    Query,
    /// Its sender is in a group, or leaves it.
    Report,
}

const IGMP: u8 = 2;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;

impl Membership {
    /// `None`: the frame is about something else.
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let byte = |at: usize| frame.get(at).copied();
        match frame::network(frame)? {
            // RFC 3376 section 4, RFC 2236 section 2.1.
            (ETHERTYPE_IPV4, ip) if byte(ip + 9)? == IGMP => {
                match byte(ip + usize::from(byte(ip)? & 0x0f) * 4)? {
                    0x11 => Some(Self::Query),
                    0x12 | 0x16 | 0x17 | 0x22 => Some(Self::Report),
                    _ => None,
                }
            }
            // RFC 3810 section 5: always behind a hop-by-hop header with the router alert, which is eight bytes long.
            (ETHERTYPE_IPV6, ip) if byte(ip + 6)? == HOP_BY_HOP && byte(ip + 40)? == ICMPV6 => {
                match byte(ip + 40 + (usize::from(byte(ip + 41)?) + 1) * 8)? {
                    130 => Some(Self::Query),
                    131 | 132 | 143 => Some(Self::Report),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PAYLOAD;

    /// A frame of this type with these bytes from its network header on.
    fn frame(ethertype: u16, packet: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; PAYLOAD];
        frame[PAYLOAD - 2..].copy_from_slice(&ethertype.to_be_bytes());
        frame.extend(packet);
        frame
    }

    #[test]
    fn reports_and_queries_are_told_from_other_frames() {
        let v4 = |options: usize, protocol: u8, kind: u8| {
            let mut packet = vec![0; 20 + options * 4];
            (packet[0], packet[9]) = (0x45 + u8::try_from(options).unwrap(), protocol);
            packet.extend([kind, 0, 0, 0]);
            Membership::of(&frame(ETHERTYPE_IPV4, &packet))
        };
        assert_eq!(v4(1, IGMP, 0x22), Some(Membership::Report));
        assert_eq!(v4(0, IGMP, 0x11), Some(Membership::Query));
        assert_eq!(v4(0, 17, 0x22), None);
        let v6 = |next: u8, after: u8, kind: u8| {
            let mut packet = vec![0; 48];
            (packet[0], packet[6], packet[40]) = (0x60, next, after);
            packet.extend([kind, 0, 0, 0]);
            Membership::of(&frame(ETHERTYPE_IPV6, &packet))
        };
        assert_eq!(v6(HOP_BY_HOP, ICMPV6, 143), Some(Membership::Report));
        assert_eq!(v6(HOP_BY_HOP, ICMPV6, 130), Some(Membership::Query));
        assert_eq!(v6(HOP_BY_HOP, ICMPV6, 135), None, "neighbour discovery goes to all");
        assert_eq!(v6(ICMPV6, 143, 143), None);
        assert_eq!(Membership::of(&[0; 8]), None, "too short for anything");
    }
}
