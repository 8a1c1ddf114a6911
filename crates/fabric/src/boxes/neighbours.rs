//! Who has which hardware address on one side of a box, and what waits to know (RFC 826; RFC 4861, section 7.2). Pure.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::Mac;
use crate::buffers::Buffer;

/// How long an address is known that was neither told nor seen again (REACHABLE_TIME of RFC 4861).
const KNOWN_FOR: Duration = Duration::from_secs(30);
/// How often is asked, and how long an answer is waited for (MAX_MULTICAST_SOLICIT and RETRANS_TIMER of RFC 4861).
const ASKED_MAX: u32 = 3;
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// A testbed's network has fewer hosts.
const KNOWN_MAX: usize = 4096;
/// Addresses asked for at once: who scans a network gets no further.
const WANTED_MAX: usize = 256;
/// Packets that wait for one address: a first window of TCP, some times over. With super-frames, 4 MiB.
const WAITING_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// Address, and until when.
    known: BTreeMap<IpAddr, (Mac, Duration)>,
    wanted: BTreeMap<IpAddr, Wanted>,
}

#[derive(Debug)]
struct Wanted {
    asked: u32,
    again_at: Duration,
    waiting: VecDeque<Buffer>,
}

/// What becomes of a packet for a neighbour.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Want {
    Send(Mac, Buffer),
    /// It waits, and somebody has to ask.
    Ask,
    Wait,
    /// It is to be dropped.
    Full(Buffer),
}

impl Neighbours {
    /// A packet for a neighbour.
    pub(super) fn want(&mut self, now: Duration, address: IpAddr, frame: Buffer) -> Want {
        match self.known.get(&address) {
            Some((mac, until)) if *until > now => return Want::Send(*mac, frame),
            Some(_) => drop(self.known.remove(&address)),
            None => {}
        }
        if let Some(wanted) = self.wanted.get_mut(&address) {
            if wanted.waiting.len() >= WAITING_MAX {
                return Want::Full(frame);
            }
            wanted.waiting.push_back(frame);
            return Want::Wait;
        }
        if self.wanted.len() >= WANTED_MAX {
            return Want::Full(frame);
        }
        let wanted = Wanted { asked: 1, again_at: now + ASKED_EVERY, waiting: VecDeque::from([frame]) };
        self.wanted.insert(address, wanted);
        Want::Ask
    }

    /// Notes an address. What has waited for it.
    pub(super) fn learn(&mut self, now: Duration, address: IpAddr, mac: Mac) -> VecDeque<Buffer> {
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&address) {
            self.known.retain(|_, (_, until)| *until > now);
        }
        if self.known.len() < KNOWN_MAX || self.known.contains_key(&address) {
            self.known.insert(address, (mac, now + KNOWN_FOR));
        }
        self.wanted.remove(&address).map(|wanted| wanted.waiting).unwrap_or_default()
    }

    /// Notes that an address was seen to send from where it is known to be. From elsewhere means nothing: a router may have
    /// passed that on.
    pub(super) fn confirm(&mut self, now: Duration, address: IpAddr, mac: Mac) {
        if let Some((known, until)) = self.known.get_mut(&address)
            && *known == mac
            && *until > now
        {
            *until = now + KNOWN_FOR;
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.wanted.values().map(|wanted| wanted.again_at).min()
    }

    /// What is to be asked for again, and what has waited in vain.
    pub(super) fn tick(&mut self, now: Duration) -> (Vec<IpAddr>, Vec<Buffer>) {
        let (mut again, mut lost) = (Vec::new(), Vec::new());
        self.wanted.retain(|address, wanted| {
            if wanted.again_at > now {
                return true;
            }
            if wanted.asked >= ASKED_MAX {
                lost.extend(wanted.waiting.drain(..));
                return false;
            }
            wanted.asked += 1;
            wanted.again_at = now + ASKED_EVERY;
            again.push(*address);
            true
        });
        (again, lost)
    }

    pub(super) fn waiting(&self) -> usize {
        self.wanted.values().map(|wanted| wanted.waiting.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn address(number: u16) -> IpAddr {
        std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number).into()
    }

    #[test]
    fn packets_wait_for_their_neighbour() {
        let mut neighbours = Neighbours::default();
        let now = Duration::from_secs(1);
        assert_eq!(neighbours.want(now, address(1), vec![1]), Want::Ask);
        assert_eq!(neighbours.want(now, address(1), vec![2]), Want::Wait);
        assert!(neighbours.learn(now, address(2), MAC).is_empty());
        assert_eq!(neighbours.learn(now, address(1), MAC), [vec![1], vec![2]]);
        assert_eq!(neighbours.want(now, address(1), vec![3]), Want::Send(MAC, vec![3]));
        assert_eq!(neighbours.deadline(), None);
        let later = now + KNOWN_FOR - Duration::from_secs(1);
        neighbours.confirm(later, address(1), Mac([2, 0, 0, 0, 0, 2]));
        assert_eq!(neighbours.want(now + KNOWN_FOR, address(1), vec![4]), Want::Ask, "it is forgotten");
        neighbours.learn(now, address(1), MAC);
        neighbours.confirm(later, address(1), MAC);
        assert_eq!(neighbours.want(now + KNOWN_FOR, address(1), vec![5]), Want::Send(MAC, vec![5]));
    }

    #[test]
    fn nobody_is_asked_for_ever() {
        let mut neighbours = Neighbours::default();
        assert_eq!(neighbours.want(Duration::ZERO, address(1), vec![1]), Want::Ask);
        let mut asked = 1;
        while let Some(at) = neighbours.deadline() {
            let (again, lost) = neighbours.tick(at);
            asked += again.len();
            assert_eq!(lost.is_empty(), neighbours.deadline().is_some());
        }
        assert_eq!((asked, neighbours.waiting()), (3, 0));
    }

    #[test]
    fn what_waits_has_a_limit() {
        let mut neighbours = Neighbours::default();
        for number in 0..1000 {
            neighbours.want(Duration::ZERO, address(1), vec![1]);
            neighbours.want(Duration::ZERO, address(number), vec![1]);
        }
        assert_eq!(neighbours.waiting(), WAITING_MAX + WANTED_MAX - 1);
        (0..10_000).for_each(|number| drop(neighbours.learn(Duration::ZERO, address(number), MAC)));
        assert_eq!(neighbours.known.len(), KNOWN_MAX);
    }
}
