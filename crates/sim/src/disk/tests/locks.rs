//! Locks, by example.

use super::*;
use Lock::{Exclusive, Shared};

const FILE: Inode = Inode::ROOT;
const END: u64 = u64::MAX;

fn held(process: u32, lock: Lock, start: u64, end: u64) -> Held {
    Held { owner: Owner::Process(process), lock, start, end }
}

fn holder(description: u64, lock: Lock) -> Held {
    Held { owner: Owner::Description(description), lock, start: 0, end: END }
}

#[test]
fn whole_files_are_locked_by_descriptions() {
    let mut locks = Locks::default();
    assert_eq!(locks.lock_file(FILE, 1, Shared), Ok(()));
    assert_eq!(locks.lock_file(FILE, 2, Shared), Ok(()));
    assert_eq!(locks.lock_file(FILE, 2, Exclusive), Err(holder(1, Shared)), "and what 2 held is lost");
    assert_eq!(locks.lock_file(FILE, 1, Exclusive), Ok(()));
    assert_eq!(locks.lock_file(FILE, 1, Exclusive), Ok(()));
    assert_eq!(locks.lock_file(FILE, 2, Shared), Err(holder(1, Exclusive)));
    assert!(locks.unlock_file(FILE, 1) && !locks.unlock_file(FILE, 1));
    assert_eq!(locks.lock_file(FILE, 2, Exclusive), Ok(()));
    assert_eq!(locks.lock_range(FILE, held(7, Exclusive, 0, END)), Ok(()), "ranges are another matter");
}

#[test]
fn ranges_are_split_and_replaced_by_their_owner() {
    let mut locks = Locks::default();
    assert_eq!(locks.lock_range(FILE, held(1, Exclusive, 0, 100)), Ok(()));
    assert_eq!(locks.lock_range(FILE, held(1, Shared, 40, 60)), Ok(()));
    assert_eq!(locks.barring(FILE, &held(2, Shared, 0, END)), Some(held(1, Exclusive, 0, 40)));
    assert_eq!(locks.lock_range(FILE, held(2, Shared, 40, 60)), Ok(()));
    assert_eq!(locks.lock_range(FILE, held(1, Exclusive, 50, 51)), Err(held(2, Shared, 40, 60)));
    assert_eq!(locks.lock_range(FILE, held(2, Shared, 60, 61)), Err(held(1, Exclusive, 60, 100)));
    assert!(locks.unlock_range(FILE, Owner::Process(1), 60, 70));
    assert_eq!(locks.lock_range(FILE, held(2, Exclusive, 60, 70)), Ok(()));
    assert_eq!(locks.barring(FILE, &held(2, Exclusive, 61, END)), Some(held(1, Exclusive, 70, 100)));
    assert!(!locks.unlock_range(FILE, Owner::Process(3), 0, END));
}

#[test]
fn processes_and_descriptions_keep_each_other_out() {
    let mut locks = Locks::default();
    let description = Held { start: 5, end: 6, ..holder(9, Exclusive) };
    assert_eq!(locks.lock_range(FILE, description), Ok(()));
    assert_eq!(locks.lock_range(FILE, held(1, Shared, 0, 10)), Err(description));
    assert!(locks.release_file(FILE, Owner::Description(9)));
    assert_eq!(locks.lock_range(FILE, held(1, Shared, 0, 10)), Ok(()));
}

#[test]
fn an_owner_that_ends_lets_go_of_all() {
    let mut locks = Locks::default();
    let other = Inode(3);
    for inode in [FILE, other] {
        assert_eq!(locks.lock_range(inode, held(1, Exclusive, 0, 10)), Ok(()));
    }
    assert_eq!(locks.lock_range(other, held(2, Exclusive, 10, 20)), Ok(()));
    assert_eq!(locks.release_all(Owner::Process(1)), [FILE, other]);
    assert_eq!(locks.release_all(Owner::Process(1)), []);
    assert_eq!(locks.barring(other, &held(3, Exclusive, 0, END)), Some(held(2, Exclusive, 10, 20)));
}

#[test]
fn a_new_file_inherits_no_locks_with_its_inode() {
    let mut host = Host::new();
    let file = host.write("/tmp/f", "");
    host.disk.sync_all();
    host.disk.locks().lock_file(file, 1, Exclusive).unwrap();
    host.unlink("/tmp/f").unwrap();
    host.disk.sync_all();
    host.disk.close(file);
    assert_eq!(host.write("/tmp/g", ""), file, "used again");
    assert_eq!(host.disk.locks().lock_file(file, 2, Exclusive), Ok(()));
}
