//! Which directed links a fault's words mean: from hosts, given by their indexes, to sets of links.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A link in one direction, between two hosts of a testbed by their indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkId {
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
}

/// Hosts by their indexes.
pub type Group = BTreeSet<usize>;

/// A selection of directed links, in order.
pub type Links = BTreeSet<LinkId>;

/// The hosts of a testbed, each of which reaches every other over a link of its own.
///
/// Each method gives the links that a fault takes away, or is about. Hosts that are not named keep all their links.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    host_count: usize,
}

/// Why words select no links.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopologyError {
    /// Nobody is meant.
    #[error("group {group} is empty")]
    EmptyGroup {
        /// Which, from 1.
        group: usize,
    },
    /// A host cannot be on two sides.
    #[error("host {host} is in group {first} and in group {second}")]
    Overlap {
        /// The host's index.
        host: usize,
        /// Which groups, from 1.
        first: usize,
        /// The later one.
        second: usize,
    },
    /// A host is named twice where each has its place.
    #[error("host {host} is named twice")]
    Twice {
        /// The host's index.
        host: usize,
    },
    /// No such host.
    #[error("there is no host {host}; the testbed has {host_count}")]
    UnknownHost {
        /// The index asked for.
        host: usize,
        /// How many there are.
        host_count: usize,
    },
    /// Too few to do so.
    #[error("a {what} needs at least {least} {of}; these are {count}")]
    TooFew {
        /// `partition`, `ring` or `bridge`.
        what: &'static str,
        /// How many it needs.
        least: usize,
        /// `groups` or `hosts`.
        of: &'static str,
        /// How many were given.
        count: usize,
    },
    /// A host has no link to itself.
    #[error("a host has no link to itself, and nobody else is meant")]
    NoLink,
}

impl Topology {
    /// A testbed of so many hosts.
    pub fn new(host_count: usize) -> Self {
        Self { host_count }
    }

    /// `X to Y`: from each host of `from` to each of `to`. Hosts in both have no link to themselves.
    ///
    /// # Errors
    /// An empty group, an unknown host, or one host on both sides and no other.
    pub fn one_way(&self, from: &Group, to: &Group) -> Result<Links, TopologyError> {
        self.check([from, to])?;
        let pairs = from.iter().flat_map(|from| to.iter().map(|to| LinkId { from: *from, to: *to }));
        let links: Links = pairs.filter(|link| link.from != link.to).collect();
        if links.is_empty() { Err(TopologyError::NoLink) } else { Ok(links) }
    }

    /// `X and Y`: both ways.
    ///
    /// # Errors
    /// As [`one_way`](Self::one_way).
    pub fn both_ways(&self, left: &Group, right: &Group) -> Result<Links, TopologyError> {
        let mut links = self.one_way(left, right)?;
        links.extend(self.one_way(right, left)?);
        Ok(links)
    }

    /// Every link between hosts of different groups: within a group all see each other.
    ///
    /// # Errors
    /// Fewer than two groups, an empty one, an unknown host, or a host in two.
    pub fn partition(&self, groups: &[Group]) -> Result<Links, TopologyError> {
        if groups.len() < 2 {
            return Err(TopologyError::TooFew {
                what: "partition",
                least: 2,
                of: "groups",
                count: groups.len(),
            });
        }
        self.check(groups)?;
        check_apart(groups)?;
        let mut links = Links::new();
        for (index, left) in groups.iter().enumerate() {
            for right in &groups[index + 1..] {
                links.extend(self.both_ways(left, right)?);
            }
        }
        Ok(links)
    }

    /// Every link to and from each of these hosts, among themselves too: each is alone.
    ///
    /// # Errors
    /// Nobody, an unknown host, or the only host of the testbed.
    pub fn isolate(&self, hosts: &Group) -> Result<Links, TopologyError> {
        self.both_ways(hosts, &(0..self.host_count).collect())
    }

    /// Each host hears a majority of these hosts, itself included, and no two hear the same one: those next to it in the
    /// order given, which closes to a ring (Jepsen's `majorities-ring-perfect`, which shuffles them first). Where a
    /// majority is an even number it is heard further from one side, so that some links are taken away one way only.
    ///
    /// # Errors
    /// Fewer than three hosts, one named twice, or an unknown one.
    pub fn ring(&self, hosts: &[usize]) -> Result<Links, TopologyError> {
        self.check_places("ring", hosts)?;
        let count = hosts.len();
        let majority = count / 2 + 1;
        let mut links = Links::new();
        for first in 0..count {
            let at = |step: usize| hosts[(first + step) % count];
            let to = at(majority / 2);
            links.extend((majority..count).map(|step| LinkId { from: at(step), to }));
        }
        Ok(links)
    }

    /// Two halves that do not see each other, and `middle`, which sees both: the others of `hosts` are halved in the
    /// order given, the first half the smaller. For halves of one's own choice, [`partition`](Self::partition) them.
    ///
    /// # Errors
    /// An empty middle, fewer than two others, a host named twice, or an unknown one.
    pub fn bridge(&self, hosts: &[usize], middle: &Group) -> Result<Links, TopologyError> {
        self.check_places("bridge", hosts)?;
        self.check([middle])?;
        let others: Vec<_> = hosts.iter().filter(|host| !middle.contains(host)).copied().collect();
        if others.len() < 2 {
            let count = others.len();
            return Err(TopologyError::TooFew {
                what: "bridge",
                least: 2,
                of: "hosts beside its middle",
                count,
            });
        }
        let (left, right) = others.split_at(others.len() / 2);
        self.partition(&[left.iter().copied().collect(), right.iter().copied().collect()])
    }

    fn check<'g>(&self, groups: impl IntoIterator<Item = &'g Group>) -> Result<(), TopologyError> {
        for (index, group) in groups.into_iter().enumerate() {
            let Some(last) = group.last() else { return Err(TopologyError::EmptyGroup { group: index + 1 }) };
            self.check_host(*last)?;
        }
        Ok(())
    }

    fn check_host(&self, host: usize) -> Result<(), TopologyError> {
        let host_count = self.host_count;
        if host < host_count { Ok(()) } else { Err(TopologyError::UnknownHost { host, host_count }) }
    }

    fn check_places(&self, what: &'static str, hosts: &[usize]) -> Result<(), TopologyError> {
        let mut seen = Group::new();
        for host in hosts {
            self.check_host(*host)?;
            if !seen.insert(*host) {
                return Err(TopologyError::Twice { host: *host });
            }
        }
        if hosts.len() < 3 {
            return Err(TopologyError::TooFew { what, least: 3, of: "hosts", count: hosts.len() });
        }
        Ok(())
    }
}

fn check_apart(groups: &[Group]) -> Result<(), TopologyError> {
    for (second, group) in groups.iter().enumerate() {
        for (first, earlier) in groups[..second].iter().enumerate() {
            if let Some(host) = group.intersection(earlier).next() {
                return Err(TopologyError::Overlap { host: *host, first: first + 1, second: second + 1 });
            }
        }
    }
    Ok(())
}

/// The two ends that `X to Y` or `X and Y` name, each the text of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends<'t> {
    /// What stands before the word.
    pub left: &'t str,
    /// What stands behind it.
    pub right: &'t str,
    /// Whether the word is `and`.
    pub is_both_ways: bool,
}

impl<'t> Ends<'t> {
    /// Reads `X to Y` or `X and Y`. `None` unless exactly one of the two words stands there once, between two texts.
    pub fn parse(text: &'t str) -> Option<Self> {
        let mut found = None;
        for word in ["to", "and"] {
            for at in word_starts(text, word) {
                if found.replace((at, word)).is_some() {
                    return None;
                }
            }
        }
        let (at, word) = found?;
        let (left, right) = (text[..at].trim(), text[at + word.len()..].trim());
        let is_whole = !left.is_empty() && !right.is_empty();
        is_whole.then_some(Self { left, right, is_both_ways: word == "and" })
    }
}

/// Where `word` stands in `text` with white space or an end on both sides, in bytes.
fn word_starts<'t>(text: &'t str, word: &'static str) -> impl Iterator<Item = usize> + 't {
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = text[..*at].chars().next_back();
        let behind = text[at + word.len()..].chars().next();
        before.is_none_or(char::is_whitespace) && behind.is_none_or(char::is_whitespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Topology = Topology { host_count: 5 };

    fn group(hosts: impl IntoIterator<Item = usize>) -> Group {
        hosts.into_iter().collect()
    }

    fn check(links: Result<Links, TopologyError>, expect: &str) {
        let shown = match links {
            Ok(links) => {
                links.iter().map(|link| format!("{}>{}", link.from, link.to)).collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expect);
    }

    #[test]
    fn pairs() {
        check(FIVE.one_way(&group([0, 1]), &group([1, 2])), "0>1 0>2 1>2");
        check(FIVE.both_ways(&group([0]), &group([1, 2])), "0>1 0>2 1>0 2>0");
        check(
            FIVE.one_way(&group([0]), &group([0])),
            "a host has no link to itself, and nobody else is meant",
        );
        check(FIVE.one_way(&group([0]), &group([])), "group 2 is empty");
        check(FIVE.both_ways(&group([0]), &group([5])), "there is no host 5; the testbed has 5");
    }

    #[test]
    fn partitions() {
        let halves = [group([0, 1]), group([2])];
        check(FIVE.partition(&halves), "0>2 1>2 2>0 2>1");
        let alone: Vec<_> = (0..5).map(|host| group([host])).collect();
        assert_eq!(FIVE.partition(&alone).unwrap().len(), 20);
        check(FIVE.partition(&[group([0])]), "a partition needs at least 2 groups; these are 1");
        check(FIVE.partition(&[group([0]), group([])]), "group 2 is empty");
        check(
            FIVE.partition(&[group([0]), group([1]), group([2, 0])]),
            "host 0 is in group 1 and in group 3",
        );
        check(FIVE.partition(&[group([0]), group([9])]), "there is no host 9; the testbed has 5");
    }

    #[test]
    fn the_isolated_are_alone() {
        check(Topology::new(3).isolate(&group([1])), "0>1 1>0 1>2 2>1");
        check(Topology::new(3).isolate(&group([0, 1])), "0>1 0>2 1>0 1>2 2>0 2>1");
        check(
            Topology::new(1).isolate(&group([0])),
            "a host has no link to itself, and nobody else is meant",
        );
        check(FIVE.isolate(&group([])), "group 1 is empty");
    }

    #[test]
    fn each_of_a_ring_hears_a_majority_of_its_own() {
        check(Topology::new(3).ring(&[0, 1, 2]), "0>2 1>0 2>1");
        check(FIVE.ring(&[0, 1, 2, 3, 4]), "0>2 0>3 1>3 1>4 2>0 2>4 3>0 3>1 4>1 4>2");
        for count in 3..12 {
            let topology = Topology::new(count);
            let hosts: Vec<_> = (0..count).rev().collect();
            let cut = topology.ring(&hosts).unwrap();
            let hears =
                |to: usize| group((0..count).filter(|from| !cut.contains(&LinkId { from: *from, to })));
            let heard: BTreeSet<_> = (0..count).map(hears).collect();
            assert_eq!(heard.len(), count, "no two hear the same");
            assert!(heard.iter().all(|heard| heard.len() == count / 2 + 1));
            assert!((0..count).all(|host| hears(host).contains(&host)));
        }
        check(FIVE.ring(&[0, 1]), "a ring needs at least 3 hosts; these are 2");
        check(FIVE.ring(&[0, 1, 0]), "host 0 is named twice");
        check(FIVE.ring(&[0, 1, 7]), "there is no host 7; the testbed has 5");
    }

    #[test]
    fn a_bridge_sees_both_halves() {
        check(FIVE.bridge(&[0, 1, 2, 3, 4], &group([2])), "0>3 0>4 1>3 1>4 3>0 3>1 4>0 4>1");
        check(FIVE.bridge(&[4, 1, 0], &group([0])), "1>4 4>1");
        check(FIVE.bridge(&[0, 1, 2], &group([])), "group 1 is empty");
        check(
            FIVE.bridge(&[0, 1, 2], &group([0, 1])),
            "a bridge needs at least 2 hosts beside its middle; these are 1",
        );
    }

    #[test]
    fn words_name_two_ends() {
        let ends = |left, right, is_both_ways| Some(Ends { left, right, is_both_ways });
        assert_eq!(Ends::parse("a to b"), ends("a", "b", false));
        assert_eq!(Ends::parse(" members, -leader  and\tc "), ends("members, -leader", "c", true));
        assert_eq!(Ends::parse("tomato to andy"), ends("tomato", "andy", false));
        for wrong in ["a b", "a to", "and b", "to", "", "a to b and c", "a to b to c", "a->b"] {
            assert_eq!(Ends::parse(wrong), None, "{wrong}");
        }
    }
}
