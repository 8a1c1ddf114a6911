//! What translators and firewalls do, in the field's words, and the names of the usual kinds.

use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

/// A usual kind of box, by the name that users write. The [module](crate::nat) has the table of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NatKind {
    /// Forwards, and knows of no flows.
    Router,
    /// The usual home router: endpoint-independent mapping, address and port-dependent filtering.
    Home,
    /// Endpoint-independent mapping and filtering.
    FullCone,
    /// Endpoint-independent mapping, address-dependent filtering.
    Restricted,
    /// Address and port-dependent mapping and filtering, with random ports. Also called `corporate`.
    Symmetric,
    /// A provider's, which many homes share (RFC 6888).
    Cgnat,
    /// Translates nothing: lets in what belongs to flows that began inside.
    Firewall,
}

/// On what of its peer an end's mapping depends, or who may use it (RFC 4787, sections 4.1 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NatRule {
    /// On nothing.
    EndpointIndependent,
    /// On the peer's address.
    AddressDependent,
    /// On the peer's address and port.
    AddressAndPortDependent,
}

/// Which port outside an end inside gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// The same, if it is free; else one of its range, below 1024 or not, and of its parity (RFC 4787, REQ-3 and REQ-4).
    Kept,
    /// Any from 1024 on.
    Random,
    /// Any of a block that its host has for itself: so many ports for each host (RFC 6888, REQ-4).
    Blocks(NonZeroU16),
}

/// All that a translator or firewall does. [`NatKind::behaviour`] gives the usual ones; any field may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatBehaviour {
    /// How IPv4 is translated. `None`: it is not.
    pub mapping: Option<NatRule>,
    /// Who gets in, over IPv4 and IPv6. `None`: all; where IPv4 is translated, to ends that have a mapping.
    pub filtering: Option<NatRule>,
    /// Which ports mappings have.
    pub ports: Ports,
    /// Whether those inside reach each other by their addresses outside (RFC 4787, REQ-9).
    pub hairpin: bool,
    /// How long a UDP session lives without packets. RFC 4787, REQ-5: at least 2 minutes. Protocols without ports, too.
    pub udp_timeout: Duration,
    /// How long an ICMP query's session lives without packets. RFC 5508, REQ-2: at least 60 seconds.
    pub icmp_timeout: Duration,
    /// How long an established TCP connection lives without packets. RFC 5382, REQ-5: at least 2 hours 4 minutes.
    pub tcp_established_timeout: Duration,
    /// The same before it is established, and after both sides ended it or one reset it. RFC 5382, REQ-5: at least 4 minutes.
    pub tcp_transitory_timeout: Duration,
    /// How many mappings there may be; a new flow that needs one more is refused.
    pub mappings_max: usize,
    /// How many sessions there may be. Each takes some 200 bytes.
    pub sessions_max: usize,
}

const MINUTE: Duration = Duration::from_secs(60);
/// RFC 6888 leaves the number to providers. With this one 126 hosts find room.
const BLOCK: NonZeroU16 = NonZeroU16::new(512).expect("it is not zero");

/// What has no flows.
const ROUTER: NatBehaviour = NatBehaviour {
    mapping: None,
    filtering: None,
    ports: Ports::Kept,
    hairpin: true,
    udp_timeout: MINUTE.saturating_mul(5),
    icmp_timeout: MINUTE,
    tcp_established_timeout: MINUTE.saturating_mul(124),
    tcp_transitory_timeout: MINUTE.saturating_mul(4),
    mappings_max: 1 << 14,
    sessions_max: 1 << 16,
};

impl NatKind {
    /// All, those that are passed more easily first.
    pub const ALL: [Self; 7] = [
        Self::Router,
        Self::FullCone,
        Self::Cgnat,
        Self::Restricted,
        Self::Home,
        Self::Symmetric,
        Self::Firewall,
    ];

    /// The kind of this name, `corporate` being another name of `symmetric`.
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "corporate" { "symmetric" } else { name };
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What users write.
    pub fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Home => "home",
            Self::FullCone => "full-cone",
            Self::Restricted => "restricted",
            Self::Symmetric => "symmetric",
            Self::Cgnat => "cgnat",
            Self::Firewall => "firewall",
        }
    }

    /// What it does.
    pub fn behaviour(self) -> NatBehaviour {
        use NatRule::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
        let rules = |mapping, filtering| NatBehaviour { mapping, filtering: Some(filtering), ..ROUTER };
        match self {
            Self::Router => ROUTER,
            Self::Home => rules(Some(EndpointIndependent), AddressAndPortDependent),
            Self::FullCone => rules(Some(EndpointIndependent), EndpointIndependent),
            Self::Restricted => rules(Some(EndpointIndependent), AddressDependent),
            Self::Symmetric => NatBehaviour {
                ports: Ports::Random,
                hairpin: false,
                udp_timeout: 2 * MINUTE,
                ..rules(Some(AddressAndPortDependent), AddressAndPortDependent)
            },
            Self::Cgnat => NatBehaviour {
                ports: Ports::Blocks(BLOCK),
                udp_timeout: 2 * MINUTE,
                ..rules(Some(EndpointIndependent), EndpointIndependent)
            },
            Self::Firewall => rules(None, AddressAndPortDependent),
        }
    }
}

impl fmt::Display for NatKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        for kind in NatKind::ALL {
            assert_eq!(NatKind::named(kind.name()), Some(kind));
        }
        assert_eq!(NatKind::named("corporate"), Some(NatKind::Symmetric));
        assert_eq!(NatKind::named("cone"), None);
    }

    #[test]
    fn timeouts_are_no_shorter_than_their_rfcs_want() {
        for kind in NatKind::ALL {
            let behaviour = kind.behaviour();
            assert!(behaviour.udp_timeout >= 2 * MINUTE, "RFC 4787, REQ-5");
            assert!(behaviour.icmp_timeout >= MINUTE, "RFC 5508, REQ-2");
            assert!(behaviour.tcp_established_timeout >= 124 * MINUTE, "RFC 5382, REQ-5");
            assert!(behaviour.tcp_transitory_timeout >= 4 * MINUTE, "RFC 5382, REQ-5");
        }
    }
}
