//! Which first fragments have passed, so that what follows them does, too. RFC 4787, REQ-14, wants those out of order as
//! well: these are refused, because nothing waits here.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use super::packet::{End, Fragment, Head};
use super::{Refusal, Side};

/// How long the rest of a packet may take: as long as Linux waits for it.
const LIFE: Duration = Duration::from_secs(30);
/// Packets under way in parts.
const PACKETS_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Fragments {
    passed: BTreeMap<Key, Passed>,
}

/// A packet in parts, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    from: Side,
    ends: [IpAddr; 2],
    protocol: u8,
    id: u32,
}

/// The same, as it goes on.
#[derive(Clone, Copy, Debug)]
struct Passed {
    to: Side,
    ends: [IpAddr; 2],
    until: Duration,
}

fn ends(head: &Head, packet: &[u8]) -> [IpAddr; 2] {
    [End::Source, End::Destination].map(|end| head.end(packet, end))
}

impl Fragments {
    /// Has a later part pass as its first did.
    pub(super) fn follow(
        &self,
        now: Duration,
        from: Side,
        head: &Head,
        fragment: Fragment,
        packet: &mut [u8],
    ) -> Result<Side, Refusal> {
        let key = Key { from, ends: ends(head, packet), protocol: head.protocol, id: fragment.id };
        let first = self.passed.get(&key).filter(|first| first.until > now).ok_or(Refusal::Fragment)?;
        for (index, end) in [End::Source, End::Destination].into_iter().enumerate() {
            if let IpAddr::V4(address) = first.ends[index] {
                head.rewrite_address(packet, end, address);
            }
        }
        Ok(first.to)
    }

    /// Notes that a first part has passed, which came with these addresses.
    pub(super) fn note(
        &mut self,
        now: Duration,
        [from, to]: [Side; 2],
        head: &Head,
        fragment: Fragment,
        [came, packet]: [&[u8]; 2],
    ) {
        if self.passed.len() >= PACKETS_MAX {
            self.passed.retain(|_, first| first.until > now);
        }
        if self.passed.len() < PACKETS_MAX {
            let key = Key { from, ends: ends(head, came), protocol: head.protocol, id: fragment.id };
            self.passed.insert(key, Passed { to, ends: ends(head, packet), until: now + LIFE });
        }
    }
}
