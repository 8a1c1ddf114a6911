//! Routes.

use core::net::IpAddr;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Where packets go whose destination begins with these bits. The longest prefix counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The first bits; further ones do not matter.
    pub to: IpAddr,
    /// How many. 0: all of this family.
    pub prefix_bits: u8,
    /// The next router, on one of the networks of who asks.
    pub via: IpAddr,
}

impl fmt::Display for Route {
    /// `10.1.0.0/16 10.0.0.2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.to, self.prefix_bits, self.via)
    }
}
