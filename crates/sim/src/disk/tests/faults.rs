//! What is wrong with a disk on purpose, by example.

use std::num::NonZeroU64;

use super::*;

fn costs(faults: Faults, operation: Operation) -> Vec<Cost> {
    let mut disk = Disk::new(None);
    disk.set_faults(faults);
    let mut random = Random::new(1, "disk");
    (0..1000).map(|_| disk.cost(0, operation, &mut random)).collect()
}

#[test]
fn a_sound_disk_costs_nothing_and_draws_nothing() {
    let (mut disk, mut random) = (Disk::new(None), Random::new(1, "disk"));
    let untouched = random.clone().draw();
    for operation in [Operation::Read(9), Operation::Write(9), Operation::Sync(Inode::ROOT), Operation::Names]
    {
        assert_eq!(disk.cost(5, operation, &mut random), Cost::Free);
    }
    assert_eq!(random.draw(), untouched);
}

#[test]
fn operations_fail_at_their_own_rates() {
    let faults = Faults { read_errors: 0.2, write_errors: 1.0, ..Faults::default() };
    let failed = costs(faults.clone(), Operation::Read(1))
        .iter()
        .filter(|cost| **cost == Cost::Fail(Errno::EIO))
        .count();
    assert!((150..250).contains(&failed), "{failed}");
    assert!(costs(faults.clone(), Operation::Write(1)).iter().all(|cost| *cost == Cost::Fail(Errno::EIO)));
    assert!(costs(faults, Operation::Sync(Inode::ROOT)).iter().all(|cost| *cost == Cost::Free));
}

#[test]
fn a_slow_disk_does_one_thing_after_the_other() {
    let rate = NonZeroU64::new(1_000_000);
    let faults = Faults { latency: 10, rate, ..Faults::default() };
    assert_eq!(
        costs(faults.clone(), Operation::Write(2))[..3],
        [Cost::Wait(2010), Cost::Wait(4010), Cost::Wait(6010)]
    );
    assert_eq!(costs(faults, Operation::Names)[2], Cost::Wait(10));
    let stuck = Faults { stuck: true, ..Faults::default() };
    assert_eq!(costs(stuck, Operation::Names)[0], Cost::Never);
}

#[test]
fn a_disk_made_full_refuses_what_takes_space() {
    let mut host = Host::new();
    let file = host.write("/tmp/f", "text");
    host.disk.set_faults(Faults { full: true, ..Faults::default() });
    host.put(file, 0, b"TEXT");
    assert_eq!(host.disk.write_at(1, file, 4096, b"more"), Err(Errno::ENOSPC));
    assert_eq!(host.open("/tmp/new", WRITE), Err(Errno::ENOSPC));
    assert_eq!(host.disk.space().blocks_free, 0);
    assert_eq!(host.rename("/tmp/f", "/tmp/g", 0), Ok(()));
    host.disk.set_faults(Faults::default());
    assert!(host.open("/tmp/new", WRITE).is_ok());
}

#[test]
fn a_sync_that_lies_makes_nothing_durable() {
    let mut host = Host::new();
    host.disk.set_faults(Faults { lost_sync: true, ..Faults::default() });
    host.write("/tmp/f", "text");
    host.sync("/tmp/f");
    host.sync("/tmp");
    host.disk.sync_all();
    host.crash(Crash::Strict);
    assert_eq!(host.text("/tmp/f"), Err(Errno::ENOENT));
}

#[test]
fn a_sync_that_fails_loses_what_it_should_have_written_though_the_next_one_succeeds() {
    let mut host = Host::new();
    let file = host.write("/tmp/f", "old");
    host.sync("/tmp/f");
    host.put(file, 0, b"new");
    host.disk.set_faults(Faults { sync_errors: 1.0, ..Faults::default() });
    let mut random = Random::new(1, "disk");
    assert_eq!(host.disk.cost(1, Operation::Sync(file), &mut random), Cost::Fail(Errno::EIO));
    host.disk.set_faults(Faults::default());
    assert_eq!(host.disk.cost(1, Operation::Sync(file), &mut random), Cost::Free);
    host.sync("/tmp/f");
    assert_eq!(host.text("/tmp/f").unwrap(), "new");
    host.crash(Crash::Strict);
    assert_eq!(host.text("/tmp/f").unwrap(), "old");
}
