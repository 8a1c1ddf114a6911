//! Which first fragments have passed, so that what follows them does, too. RFC 4787, REQ-14, wants those out of order as
//! well: these are refused, because nothing waits here.

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::time::Duration;

use super::view::{End, Fragment, Heading, View};
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

/// The addresses of a packet.
pub(super) fn ends(packet: &impl View) -> [IpAddr; 2] {
    End::ALL.map(|end| packet.address(end))
}

impl Fragments {
    /// Has a later part pass as its first did.
    pub(super) fn follow(
        &self,
        now: Duration,
        from: Side,
        Heading { protocol, .. }: Heading,
        Fragment { id, .. }: Fragment,
        packet: &mut impl View,
    ) -> Result<Side, Refusal> {
        let key = Key { from, ends: ends(packet), protocol, id };
        let first = self.passed.get(&key).filter(|first| first.until > now).ok_or(Refusal::Fragment)?;
        for (end, address) in End::ALL.into_iter().zip(first.ends) {
            if let IpAddr::V4(address) = address {
                packet.rewrite_address(end, address);
            }
        }
        Ok(first.to)
    }

    /// Notes that a first part has passed, which came with these addresses and goes with those.
    pub(super) fn note(
        &mut self,
        now: Duration,
        [from, to]: [Side; 2],
        Heading { protocol, .. }: Heading,
        Fragment { id, .. }: Fragment,
        [came, goes]: [[IpAddr; 2]; 2],
    ) {
        if self.passed.len() >= PACKETS_MAX {
            self.passed.retain(|_, first| first.until > now);
        }
        if self.passed.len() < PACKETS_MAX {
            let key = Key { from, ends: came, protocol, id };
            self.passed.insert(key, Passed { to, ends: goes, until: now + LIFE });
        }
    }
}
