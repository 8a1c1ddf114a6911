//! Which links a fault is about, in terms of hosts, as users say it. What that means for a testbed, `topology` knows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Group, Links, Topology, TopologyError};

/// Which links a fault is about, in terms of hosts: by their indexes, or by names before these are looked up.
///
/// It is shown as users say it: `a to b`, `a, b and c`, `isolate a`, `partition a, b | c`, `ring a, b, c`,
/// `bridge a, b with c in the middle`. The verb before the first two is the condition's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Scope<H = usize> {
    /// See [`Topology::one_way`].
    OneWay {
        /// The senders.
        from: Vec<H>,
        /// The receivers.
        to: Vec<H>,
    },
    /// See [`Topology::both_ways`].
    BothWays {
        /// One side.
        left: Vec<H>,
        /// The other.
        right: Vec<H>,
    },
    /// See [`Topology::isolate`]. Links to hosts that are added later belong to it.
    Isolate {
        /// Each is alone.
        hosts: Vec<H>,
    },
    /// See [`Topology::partition`].
    Partition {
        /// Within one, all see each other.
        groups: Vec<Vec<H>>,
    },
    /// See [`Topology::ring`].
    Ring {
        /// In the order of the ring.
        hosts: Vec<H>,
    },
    /// See [`Topology::bridge`].
    Bridge {
        /// Those to be halved, in order. Whether the middle is among them does not matter.
        hosts: Vec<H>,
        /// Who sees both halves.
        middle: Vec<H>,
    },
}

impl<H> Scope<H> {
    /// The same scope of other terms: indexes in the place of names.
    ///
    /// # Errors
    /// The first that `f` gives; hosts are asked for in the order of [`hosts`](Self::hosts).
    pub fn try_map<K, E>(self, mut f: impl FnMut(H) -> Result<K, E>) -> Result<Scope<K>, E> {
        let mut all = |hosts: Vec<H>| hosts.into_iter().map(&mut f).collect::<Result<Vec<K>, E>>();
        Ok(match self {
            Self::OneWay { from, to } => Scope::OneWay { from: all(from)?, to: all(to)? },
            Self::BothWays { left, right } => Scope::BothWays { left: all(left)?, right: all(right)? },
            Self::Isolate { hosts } => Scope::Isolate { hosts: all(hosts)? },
            Self::Partition { groups } => {
                Scope::Partition { groups: groups.into_iter().map(all).collect::<Result<_, E>>()? }
            }
            Self::Ring { hosts } => Scope::Ring { hosts: all(hosts)? },
            Self::Bridge { hosts, middle } => Scope::Bridge { hosts: all(hosts)?, middle: all(middle)? },
        })
    }

    /// Every host that is named, as often as it is, in the order written.
    pub fn hosts(&self) -> impl Iterator<Item = &H> {
        let (first, second, groups): (&[H], &[H], &[Vec<H>]) = match self {
            Self::OneWay { from, to } => (from, to, &[]),
            Self::BothWays { left, right } => (left, right, &[]),
            Self::Isolate { hosts } | Self::Ring { hosts } => (hosts, &[], &[]),
            Self::Partition { groups } => (&[], &[], groups),
            Self::Bridge { hosts, middle } => (hosts, middle, &[]),
        };
        first.iter().chain(second).chain(groups.iter().flatten())
    }

    /// Whether it is about more links when hosts are added.
    pub(crate) fn grows(&self) -> bool {
        matches!(self, Self::Isolate { .. })
    }
}

impl Scope {
    /// The links that it is about.
    ///
    /// # Errors
    /// Those of the method of [`Topology`] that its variant names. A scope without one has none after hosts were added.
    pub fn links(&self, topology: &Topology) -> Result<Links, TopologyError> {
        let group = |hosts: &[usize]| hosts.iter().copied().collect::<Group>();
        match self {
            Self::OneWay { from, to } => topology.one_way(&group(from), &group(to)),
            Self::BothWays { left, right } => topology.both_ways(&group(left), &group(right)),
            Self::Isolate { hosts } => topology.isolate(&group(hosts)),
            Self::Partition { groups } => {
                topology.partition(&groups.iter().map(|hosts| group(hosts)).collect::<Vec<_>>())
            }
            Self::Ring { hosts } => topology.ring(hosts),
            Self::Bridge { hosts, middle } => {
                let middle = group(middle);
                let beside = middle.iter().filter(|host| !hosts.contains(host));
                let all: Vec<_> = hosts.iter().chain(beside).copied().collect();
                topology.bridge(&all, &middle)
            }
        }
    }
}

impl<H: fmt::Display> fmt::Display for Scope<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneWay { from, to } => write!(f, "{} to {}", listed(from), listed(to)),
            Self::BothWays { left, right } => write!(f, "{} and {}", listed(left), listed(right)),
            Self::Isolate { hosts } => write!(f, "isolate {}", listed(hosts)),
            Self::Partition { groups } => {
                let groups: Vec<_> = groups.iter().map(|hosts| listed(hosts)).collect();
                write!(f, "partition {}", groups.join(" | "))
            }
            Self::Ring { hosts } => write!(f, "ring {}", listed(hosts)),
            Self::Bridge { hosts, middle } => {
                let middle_names: Vec<_> = middle.iter().map(ToString::to_string).collect();
                let mut sides: Vec<_> = hosts.iter().map(ToString::to_string).collect();
                sides.retain(|name| !middle_names.contains(name));
                write!(f, "bridge {} with {} in the middle", sides.join(", "), middle_names.join(", "))
            }
        }
    }
}

fn listed<H: fmt::Display>(hosts: &[H]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &str) -> Vec<String> {
        names.chars().map(String::from).collect()
    }

    /// How it is shown, how it is written, and its links in a testbed of a, b, c and d.
    fn check(scope: Scope<String>, shown: &str, written: &str, links: &str) {
        assert_eq!(scope.to_string(), shown);
        assert_eq!(serde_json::to_string(&scope).unwrap(), written);
        assert_eq!(serde_json::from_str::<Scope<String>>(written).unwrap(), scope);
        let named: String = scope.hosts().map(String::as_str).collect();
        let mut asked = String::new();
        let indexes = scope.try_map(|name| {
            asked.push_str(&name);
            "abcd".find(&name).ok_or(name)
        });
        assert_eq!(asked, named, "{shown}");
        let name = |index: usize| &"abcd"[index..=index];
        let found = match indexes.unwrap().links(&Topology::new(4)) {
            Ok(links) => links.iter().map(|link| format!("{}>{}", name(link.from), name(link.to))).collect(),
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(found.join(" "), links, "{shown}");
    }

    #[test]
    fn scopes_are_said_as_in_scenarios() {
        let of = names;
        check(
            Scope::OneWay { from: of("a"), to: of("b") },
            "a to b",
            r#"{"one-way":{"from":["a"],"to":["b"]}}"#,
            "a>b",
        );
        check(
            Scope::BothWays { left: of("ab"), right: of("c") },
            "a, b and c",
            r#"{"both-ways":{"left":["a","b"],"right":["c"]}}"#,
            "a>c b>c c>a c>b",
        );
        check(
            Scope::Isolate { hosts: of("d") },
            "isolate d",
            r#"{"isolate":{"hosts":["d"]}}"#,
            "a>d b>d c>d d>a d>b d>c",
        );
        check(
            Scope::Partition { groups: vec![of("a"), of("bc")] },
            "partition a | b, c",
            r#"{"partition":{"groups":[["a"],["b","c"]]}}"#,
            "a>b a>c b>a c>a",
        );
        check(
            Scope::Ring { hosts: of("abc") },
            "ring a, b, c",
            r#"{"ring":{"hosts":["a","b","c"]}}"#,
            "a>c b>a c>b",
        );
        let bridge = "bridge a, b with c in the middle";
        check(
            Scope::Bridge { hosts: of("abc"), middle: of("c") },
            bridge,
            r#"{"bridge":{"hosts":["a","b","c"],"middle":["c"]}}"#,
            "a>b b>a",
        );
        check(
            Scope::Bridge { hosts: of("ab"), middle: of("c") },
            bridge,
            r#"{"bridge":{"hosts":["a","b"],"middle":["c"]}}"#,
            "a>b b>a",
        );
    }

    #[test]
    fn what_selects_nothing_says_why() {
        let links = |scope: Scope| scope.links(&Topology::new(2)).unwrap_err().to_string();
        assert_eq!(links(Scope::Isolate { hosts: vec![] }), "group 1 is empty");
        assert_eq!(links(Scope::Isolate { hosts: vec![2] }), "there is no host 2; the testbed has 2");
        assert_eq!(
            links(Scope::Partition { groups: vec![vec![0]] }),
            "a partition needs at least 2 groups; these are 1"
        );
        assert_eq!(links(Scope::Ring { hosts: vec![0, 1] }), "a ring needs at least 3 hosts; these are 2");
        let unknown = Scope::OneWay { from: vec!["a"], to: vec!["x", "y"] };
        assert_eq!(unknown.try_map(|name| "ab".find(name).ok_or(name)), Err("x"));
    }

    #[test]
    fn unknown_words_are_refused() {
        for wrong in [r#"{"isolate":{"hosts":[0],"host":1}}"#, r#"{"split":{"hosts":[0]}}"#] {
            assert!(serde_json::from_str::<Scope>(wrong).is_err(), "{wrong}");
        }
    }
}
