//! Addresses as the stack compares them: IPv4 in the form that IPv6 has for it, so that one number is one address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Family;
use super::packet::mix;

/// An address of either family, as IPv6 writes it: IPv4 is `::ffff:a.b.c.d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ip(u128);

/// An address and a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Endpoint {
    pub(super) ip: Ip,
    pub(super) port: u16,
}

impl Ip {
    pub(super) const ANY_V4: Self = Self(0xffff_0000_0000);
    pub(super) const ANY_V6: Self = Self(0);
    pub(super) const LOOPBACK_V4: Self = Self(0xffff_7f00_0001);
    pub(super) const LOOPBACK_V6: Self = Self(1);
    const BROADCAST: Self = Self(0xffff_ffff_ffff);

    pub(super) fn new(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self(Self::ANY_V4.0 | u128::from(u32::from(ip))),
            IpAddr::V6(ip) => Self(ip.into()),
        }
    }

    pub(super) fn any(family: Family) -> Self {
        match family {
            Family::V4 => Self::ANY_V4,
            Family::V6 => Self::ANY_V6,
        }
    }

    pub(super) fn bits(self) -> u128 {
        self.0
    }

    #[inline]
    pub(super) fn is_v4(self) -> bool {
        self.0 >> 32 == 0xffff
    }

    #[inline]
    pub(super) fn is_any(self) -> bool {
        self == Self::ANY_V6 || self == Self::ANY_V4
    }

    #[inline]
    pub(super) fn is_loopback(self) -> bool {
        self.0 >> 24 == 0x00ff_ff7f || self == Self::LOOPBACK_V6
    }

    #[inline]
    pub(super) fn is_multicast(self) -> bool {
        self.0 >> 28 == 0x000f_fffe || self.0 >> 120 == 0xff
    }

    /// A group that every host is in: `224.0.0.1`, `ff02::1`.
    pub(super) fn is_all_hosts(self) -> bool {
        const ALL_V4: u128 = 0xffff_e000_0001;
        const ALL_V6: u128 = 0xff02 << 112 | 1;
        matches!(self.0, ALL_V4 | ALL_V6)
    }

    /// The broadcast to all, or to the network of a host at `own`.
    pub(super) fn is_broadcast(self, own: Self) -> bool {
        self == Self::BROADCAST || (self.ends_as_broadcast() && self.is_beside(own))
    }

    /// Whether it may be a broadcast.
    #[inline]
    pub(super) fn ends_as_broadcast(self) -> bool {
        self.is_v4() && self.0 & 0xffff == 0xffff
    }

    /// Whether both are on one network: /16 and /64, as testbeds have them.
    pub(super) fn is_beside(self, other: Self) -> bool {
        match (self.is_v4(), other.is_v4()) {
            (true, true) => self.0 >> 16 == other.0 >> 16,
            (false, false) => self.0 >> 64 == other.0 >> 64,
            _ => false,
        }
    }

    /// Whether its first `bits` of 128 are those of another of its family.
    pub(super) fn begins_as(self, other: Self, bits: u32) -> bool {
        self.is_v4() == other.is_v4() && (self.0 ^ other.0).leading_zeros() >= bits
    }

    /// The usual form: IPv4 is itself.
    pub(super) fn address(self) -> IpAddr {
        let v6 = Ipv6Addr::from(self.0);
        v6.to_ipv4_mapped().filter(|_| self.is_v4()).map_or(IpAddr::V6(v6), IpAddr::V4)
    }
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { ip: Ip::new(address.ip()), port: address.port() }
    }

    /// A number that spreads well.
    #[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
    pub(super) fn hash(self) -> u64 {
        mix(mix(self.port.into(), self.ip.0 as u64), (self.ip.0 >> 64) as u64)
    }

    /// As a socket of this family shows it.
    pub(super) fn shown(self, family: Family) -> SocketAddr {
        match family {
            Family::V4 => match self.ip.address() {
                IpAddr::V6(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, self.port)),
                ip => SocketAddr::from((ip, self.port)),
            },
            Family::V6 => SocketAddr::from((Ipv6Addr::from(self.ip.bits()), self.port)),
        }
    }
}
