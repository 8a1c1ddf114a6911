//! What a provider can do. A test states what it needs; what is missing is a skip with its name, never a silence.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! capabilities {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal),* $(,)?) => {
        /// One thing that a provider can do to its hosts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum Capability {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Capability {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word that users write.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it is, in a phrase.
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

capabilities! {
    /// Kill a host as if its power were cut, and start it again with the disk it had.
    Kill "kill",
    /// Stop a host for a while and let it go on.
    Pause "pause",
    /// Run a command on a terminal of its own.
    Pty "pty",
    /// Connect from the test into a host.
    Connect "connect",
    /// Run foreign programs, not only those that the test binary brings.
    Programs "programs",
    /// Commands may run as any user of the host.
    Users "users",
    /// Cut and shape the network between hosts.
    Network "network",
    /// Set, skew and stop a host's clock.
    Clock "clock",
    /// Make a host's disk fail, fill or forget.
    Disk "disk",
    /// Restart the host's kernel.
    Reboot "reboot",
}

impl Capability {
    /// The capability called `word`.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|capability| capability.as_str() == word)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one provider can do here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(BTreeSet<Capability>);

impl Capabilities {
    /// Whether it can.
    pub fn has(&self, capability: Capability) -> bool {
        self.0.contains(&capability)
    }

    /// The first of `needs` that it cannot do.
    pub fn missing(&self, needs: &[Capability]) -> Option<Capability> {
        needs.iter().copied().find(|need| !self.has(*need))
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = Capability> {
        self.0.iter().copied()
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}
