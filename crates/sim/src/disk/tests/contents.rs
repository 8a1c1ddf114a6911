//! What is in one file, by chance: beside a plain vector of bytes, and after power loss beside all that it was.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, len: usize },
    Truncate(u64),
    Allocate { how: Allocate, offset: u64, len: u64 },
    Sync { data: bool },
    Crash { strict: bool, seed: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let offset = || prop_oneof![0..600u64, 3900..4300u64, 0..13_000u64];
    let how = prop_oneof![
        Just(Allocate::Extend),
        Just(Allocate::KeepSize),
        Just(Allocate::PunchHole),
        Just(Allocate::ZeroRange),
        Just(Allocate::ZeroKeepSize)
    ];
    prop_oneof![
        8 => (offset(), prop_oneof![1..600usize, 1..9000usize]).prop_map(|(offset, len)| Step::Write { offset, len }),
        3 => offset().prop_map(Step::Truncate),
        1 => (how, offset(), 1..9000u64).prop_map(|(how, offset, len)| Step::Allocate { how, offset, len }),
        2 => any::<bool>().prop_map(|data| Step::Sync { data }),
        2 => (any::<bool>(), any::<u64>()).prop_map(|(strict, seed)| Step::Crash { strict, seed }),
    ]
}

/// The contents after each operation since the last sync.
struct Oracle(Vec<Vec<u8>>);

impl Oracle {
    fn apply(&mut self, step: &Step, byte: u8) {
        let mut now = self.0.last().unwrap().clone();
        let at = |offset: u64| usize::try_from(offset).unwrap();
        match step {
            Step::Write { offset, len } => {
                let end = at(*offset) + len;
                now.resize(now.len().max(end), 0);
                now[at(*offset)..end].fill(byte);
            }
            Step::Truncate(size) => now.resize(at(*size), 0),
            Step::Allocate { how, offset, len } => {
                let end = at(offset + len);
                if matches!(how, Allocate::Extend | Allocate::ZeroRange) {
                    now.resize(now.len().max(end), 0);
                }
                if !matches!(how, Allocate::Extend | Allocate::KeepSize) {
                    let end = end.min(now.len());
                    now[at(*offset).min(end)..end].fill(0);
                }
            }
            _ => {}
        }
        self.0.push(now);
    }

    fn check(&self, found: &[u8], strict: bool, torn: bool) -> Result<(), TestCaseError> {
        if strict {
            prop_assert_eq!(found, &self.0[0]);
        } else if torn {
            let all = |at| self.0.iter().map(move |moment| moment.get(at).copied().unwrap_or_default());
            for (at, byte) in found.iter().enumerate() {
                prop_assert!(
                    *byte == 0 || all(at).any(|was| was == *byte),
                    "{} at {} out of thin air",
                    byte,
                    at
                );
                prop_assert!(all(at).any(|was| was == *byte), "what was synced is gone at {}", at);
            }
            prop_assert!(self.0.iter().any(|moment| moment.len() == found.len()));
        } else {
            prop_assert!(self.0.iter().any(|moment| moment == found));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_is_what_was_written_and_synced(torn in any::<bool>(), steps in prop::collection::vec(step(), 1..40)) {
        let mut host = Host::new();
        host.disk.set_faults(Faults { torn, ..Faults::default() });
        host.file("/f");
        host.sync("/f");
        let mut oracle = Oracle(vec![Vec::new()]);
        for (step, byte) in steps.iter().zip(1u8..) {
            let (file, now) = (host.find("/f").unwrap(), host.tick());
            match step {
                Step::Write { offset, len } => host.put(file, *offset, &vec![byte; *len]),
                Step::Truncate(size) => host.disk.truncate(now, file, *size).unwrap(),
                Step::Allocate { how, offset, len } => host.disk.allocate(now, file, *how, *offset, *len).unwrap(),
                Step::Sync { data: true } => host.disk.sync_data(file),
                Step::Sync { data: false } => host.disk.sync(file),
                Step::Crash { strict, seed } => {
                    let crash = if *strict { Crash::Strict } else { Crash::Chance };
                    host.disk.crash(crash, &mut Random::new(*seed, "crash"));
                }
            }
            let found = host.disk.contents(b"/f").unwrap();
            match step {
                Step::Sync { .. } => oracle.0 = vec![oracle.0.pop().unwrap()],
                Step::Crash { strict, .. } => {
                    oracle.check(&found, *strict, torn)?;
                    oracle.0 = vec![found.clone()];
                }
                step => oracle.apply(step, byte),
            }
            prop_assert_eq!(&found, oracle.0.last().unwrap());
            audit(&host.disk);
        }
    }
}
