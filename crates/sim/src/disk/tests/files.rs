//! Reading, writing and space, by example.

use super::*;

#[test]
fn holes_read_as_zeros_and_take_no_space() {
    let mut host = Host::new();
    let file = host.file("/tmp/f");
    let free = host.disk.space().blocks_free;
    host.put(file, 1 << 40, b"far");
    assert_eq!(host.disk.space().blocks_free, free - 1);
    let stat = host.disk.stat(file);
    assert_eq!((stat.size, stat.blocks), ((1 << 40) + 3, 8));
    let mut bytes = [1; 100];
    assert_eq!(host.disk.read_at(file, 5000, &mut bytes), Ok(100));
    assert_eq!(bytes, [0; 100]);
    assert_eq!(host.disk.read_at(file, (1 << 40) + 1, &mut bytes), Ok(2));
    assert_eq!(&bytes[..2], b"ar");
    assert_eq!(host.disk.read_at(file, (1 << 40) + 3, &mut bytes), Ok(0));
}

#[test]
fn data_and_holes_are_found() {
    let mut host = Host::new();
    let file = host.file("/tmp/f");
    host.put(file, 8192, b"x");
    host.disk.truncate(1, file, 20_000).unwrap();
    let seek = |offset, sought| host.disk.seek(file, offset, sought);
    assert_eq!(seek(0, Sought::Data), Ok(8192));
    assert_eq!(seek(8200, Sought::Data), Ok(8200));
    assert_eq!(seek(0, Sought::Hole), Ok(0));
    assert_eq!(seek(8192, Sought::Hole), Ok(12_288));
    assert_eq!(seek(12_288, Sought::Data), Err(Errno::ENXIO));
    assert_eq!(seek(20_000, Sought::Hole), Err(Errno::ENXIO));
    host.disk.allocate(1, file, Allocate::Extend, 0, 20_000).unwrap();
    assert_eq!(host.disk.seek(file, 5, Sought::Hole), Ok(20_000), "the end");
}

#[test]
fn appending_writes_at_the_end() {
    let mut host = Host::new();
    let file = host.write("/tmp/f", "one");
    assert_eq!(host.disk.append(1, file, b" two"), Ok((3, 4)));
    assert_eq!(host.text("/tmp/f").unwrap(), "one two");
}

#[test]
fn files_end_at_16_tib() {
    let mut host = Host::new();
    let file = host.file("/tmp/f");
    assert_eq!(host.disk.write_at(1, file, SIZE_MAX - 1, b"xy"), Ok(1));
    assert_eq!(host.disk.write_at(1, file, SIZE_MAX, b"x"), Err(Errno::EFBIG));
    assert_eq!(host.disk.truncate(1, file, SIZE_MAX + 1), Err(Errno::EFBIG));
    assert_eq!(host.disk.allocate(1, file, Allocate::Extend, SIZE_MAX, 1), Err(Errno::EFBIG));
    assert_eq!(host.disk.truncate(1, file, SIZE_MAX), Ok(()));
}

#[test]
fn a_full_disk_writes_what_fits_and_then_nothing() {
    let mut disk = Disk::new(Some(100 * 4096));
    let free = disk.space().blocks_free;
    let file = disk.open(1, Inode::ROOT, b"/f", WRITE, 0o644).unwrap().inode;
    let fits = usize::try_from(free).unwrap() * 4096;
    assert_eq!(disk.write_at(1, file, 100, &vec![1; fits + 4096]), Ok(fits - 100));
    assert_eq!(disk.write_at(1, file, fits as u64, b"x"), Err(Errno::ENOSPC));
    assert_eq!(disk.write_at(1, file, 5, b"over"), Ok(4), "what is there can be overwritten");
    assert_eq!(disk.make_directory(1, Inode::ROOT, b"/d", 0o755).map(|_| ()), Err(Errno::ENOSPC));
    assert_eq!(disk.allocate(1, file, Allocate::Extend, 0, fits as u64 + 4096), Err(Errno::ENOSPC));
    disk.truncate(1, file, 4096).unwrap();
    assert_eq!(disk.space().blocks_free, free - 1);
    assert!(disk.make_directory(1, Inode::ROOT, b"/d", 0o755).is_ok());
    audit(&disk);
}

#[test]
fn inodes_and_names_are_bounded() {
    let mut disk = Disk::new(Some(1 << 20));
    let mut made = 0;
    let last = loop {
        match disk.open(1, Inode::ROOT, format!("/{made}").as_bytes(), WRITE, 0o644) {
            Ok(opened) => disk.close(opened.inode),
            Err(errno) => break errno,
        }
        made += 1;
    };
    assert_eq!((last, disk.space().inodes_free, disk.space().inodes), (Errno::ENOSPC, 0, 64));
    disk.unlink(1, Inode::ROOT, b"/0").unwrap();
    disk.open(1, Inode::ROOT, b"/again", WRITE, 0o644).unwrap();
    let mut host = Host::new();
    let before = host.disk.stat(Inode::ROOT).size;
    for number in 0..100 {
        host.write(&format!("/{number:0100}"), "");
    }
    assert_eq!((before, host.disk.stat(Inode::ROOT).size), (4096, 3 * 4096));
    audit(&disk);
}

#[test]
fn a_copy_shares_no_fate_with_what_it_was_copied_from() {
    let mut host = Host::new();
    let from = host.write("/tmp/from", &"text".repeat(50_000));
    let to = host.file("/tmp/to");
    assert_eq!(host.disk.copy(1, (from, 4), (to, 0), u64::MAX), Ok(199_996));
    host.disk.truncate(1, from, 0).unwrap();
    assert_eq!(host.text("/tmp/to").unwrap(), "text".repeat(49_999));
    assert_eq!(host.disk.copy(1, (to, 0), (to, 10), 20), Err(Errno::EINVAL));
    assert_eq!(host.disk.copy(1, (to, 199_996), (from, 0), 20), Ok(0));
}

#[test]
fn installed_files_are_there_and_survive() {
    let mut host = Host::new();
    host.disk.install(1, b"/etc/app/conf.d/main", b"old and longer", 0o600).unwrap();
    host.disk.install(1, b"/etc/app/conf.d/main", b"new", 0o600).unwrap();
    host.crash(Crash::Strict);
    assert_eq!(host.text("/etc/app/conf.d/main").unwrap(), "new");
    assert_eq!(host.disk.install(1, b"/etc/app/conf.d", b"", 0o600), Err(Errno::EISDIR));
    audit(&host.disk);
}
