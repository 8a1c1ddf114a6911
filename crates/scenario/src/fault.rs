//! Faults of the network as the runner takes them: their figures are read, their hosts are selectors.

use netsplit_netmodel::{Condition, Schedule, Scope};

use crate::Select;

/// `cut`, `reject`, `hold`, `link`, `isolate`, `partition`, `ring`, `bridge`.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What its words begin with; nothing when its scope says it: `isolate a`.
    pub verb: &'static str,
    /// Which links.
    pub links: FaultLinks,
    /// What happens to packets there.
    pub condition: Condition,
    /// When.
    pub schedule: Schedule,
    /// What `heal` calls it.
    pub name: Option<String>,
    /// Our own way to its hosts is cut, too.
    pub control: bool,
}

/// Which links a fault is about.
#[derive(Clone, Debug)]
pub enum FaultLinks {
    /// `a to b`, `a and b`.
    Ends(LinkEnds),
    /// Each of these alone.
    Isolate(Select),
    /// Between groups.
    Partition(Vec<Select>),
    /// Each hears a majority.
    Ring(Select),
    /// Two halves.
    Bridge {
        /// Those to be halved.
        hosts: Select,
        /// Who hears both.
        middle: Select,
    },
}

/// `a to b`, `a and b`.
#[derive(Clone, Debug)]
pub struct LinkEnds {
    /// What stands before the word.
    pub left: Select,
    /// What stands behind it.
    pub right: Select,
    /// Whether the word is `and`.
    pub is_both_ways: bool,
}

/// `regions`.
#[derive(Clone, Debug)]
pub struct Regions {
    /// Each region with its hosts.
    pub places: Vec<(&'static str, Select)>,
    /// What `heal` calls it.
    pub name: Option<String>,
}

/// What `heal` ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heal {
    /// Every fault of the test.
    All,
    /// The one that `as` called so.
    Named(String),
}

/// Whose packets `capture` writes.
#[derive(Clone, Debug)]
pub enum Capture {
    /// Those of all links, in one file.
    All,
    /// Those of each of these hosts.
    Hosts(Select),
    /// Those of each of these links.
    Links(LinkEnds),
}

impl FaultLinks {
    /// The scope, with the hosts that `hosts` finds for each selector.
    ///
    /// # Errors
    /// The first that `hosts` gives.
    pub fn scope<H, E>(&self, mut hosts: impl FnMut(&Select) -> Result<Vec<H>, E>) -> Result<Scope<H>, E> {
        Ok(match self {
            Self::Ends(LinkEnds { left, right, is_both_ways: true }) => {
                Scope::BothWays { left: hosts(left)?, right: hosts(right)? }
            }
            Self::Ends(LinkEnds { left, right, .. }) => {
                Scope::OneWay { from: hosts(left)?, to: hosts(right)? }
            }
            Self::Isolate(select) => Scope::Isolate { hosts: hosts(select)? },
            Self::Partition(groups) => {
                Scope::Partition { groups: groups.iter().map(&mut hosts).collect::<Result<_, E>>()? }
            }
            Self::Ring(select) => Scope::Ring { hosts: hosts(select)? },
            Self::Bridge { hosts: halved, middle } => {
                Scope::Bridge { hosts: hosts(halved)?, middle: hosts(middle)? }
            }
        })
    }

    /// The first selector of them.
    pub fn first(&self) -> Option<&Select> {
        match self {
            Self::Ends(ends) => Some(&ends.left),
            Self::Isolate(select) | Self::Ring(select) | Self::Bridge { hosts: select, .. } => Some(select),
            Self::Partition(groups) => groups.first(),
        }
    }
}
