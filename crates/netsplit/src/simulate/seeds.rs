//! Which seeds a test is simulated with.

use std::collections::HashSet;

use netsplit_sim::Random;

use crate::settings::Settings;

/// A seed's range, so that it stays short enough to be typed; more for very many seeds, which are all different.
const RANGE: u64 = 1_000_000;

/// The seeds of one test.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    One(u64),
    /// Made of a base, always the same.
    Many {
        base: u64,
        seeds: Vec<u64>,
    },
}

/// What settings and attribute ask for. A seed that was said is the only one, unless their number was said as near: then
/// it is their base.
pub(super) fn plan(settings: &Settings, attribute: Option<usize>, random: impl FnOnce() -> u64) -> Plan {
    let is_only = settings.seeds.is_none() || settings.is_nearer("seed", "seeds");
    match (settings.seed, settings.seeds.or(attribute)) {
        (Some(seed), _) if is_only => Plan::One(seed),
        (seed, Some(count)) if count > 1 => {
            let base = seed.unwrap_or_else(random);
            Plan::Many { base, seeds: derive(base, count) }
        }
        (seed, _) => Plan::One(seed.unwrap_or_else(random)),
    }
}

/// So many different seeds, in an order of their own.
fn derive(base: u64, count: usize) -> Vec<u64> {
    let range = RANGE.max(10 * count as u64);
    let mut random = Random::new(base, "seeds");
    let mut known = HashSet::with_capacity(count);
    std::iter::repeat_with(|| random.below(range)).filter(|seed| known.insert(*seed)).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(toml: &str, flags: &[(&str, &str)], attribute: Option<usize>) -> Plan {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("netsplit.toml"), toml).unwrap();
        let flags: Vec<_> = flags.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        plan(&Settings::load(folder.path(), &flags).unwrap(), attribute, || 4711)
    }

    #[test]
    fn a_seed_that_was_said_is_the_only_one() {
        assert_eq!(planned("", &[("seed", "7")], None), Plan::One(7));
        assert_eq!(planned("", &[("seed", "7")], Some(1000)), Plan::One(7));
        assert_eq!(planned("seeds = 50", &[("seed", "7")], None), Plan::One(7), "it was said nearer");
        assert_eq!(planned("", &[("seed", "7"), ("seeds", "1")], Some(1000)), Plan::One(7));
        assert_eq!(planned("", &[], None), Plan::One(4711));
    }

    #[test]
    fn many_have_a_base_and_are_always_the_same() {
        let many = |base, count| Plan::Many { base, seeds: derive(base, count) };
        assert_eq!(planned("", &[("seed", "7"), ("seeds", "20")], None), many(7, 20));
        assert_eq!(planned("", &[], Some(20)), many(4711, 20));
        assert_eq!(planned("seeds = 30", &[], Some(20)), many(4711, 30));
        assert_eq!(planned("seeds = 30\nseed = 8", &[], None), many(8, 30));
        let (some, more) = (derive(1, 10), derive(1, 2000));
        assert_eq!(more[..10], some);
        assert_eq!(more.iter().collect::<HashSet<_>>().len(), 2000);
        assert_ne!(derive(2, 10), some);
    }
}
