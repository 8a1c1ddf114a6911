//! Paths, and what has names: by example, with absolute paths and other things that agreement with the machine leaves out.

use super::*;

fn taken(_: Inode) {}

#[test]
fn a_host_has_its_directories_and_devices() {
    let host = Host::new();
    assert_eq!(host.names("/dev"), ["full", "null", "random", "shm", "tty", "urandom", "zero"]);
    let null = host.disk.stat(host.find("/dev/null").unwrap());
    assert_eq!((null.kind, null.mode, null.size), (Kind::Device(Device::Null), 0o666, 0));
    assert_eq!(host.disk.stat(host.find("/tmp").unwrap()).mode, 0o1777);
    assert_eq!(host.disk.stat(Inode::ROOT).number, 2);
}

#[test]
fn paths_lead_through_links_and_dots_and_never_above_the_root() {
    let mut host = Host::new();
    host.write("/etc/hosts", "::1");
    host.symlink("/etc", "/tmp/absolute").unwrap();
    host.symlink("../etc/./hosts", "/tmp/relative").unwrap();
    let hosts = host.find("/etc/hosts").unwrap();
    for path in [
        "/../../etc/hosts",
        "//etc///hosts",
        "/tmp/absolute/hosts",
        "/tmp/relative",
        "/tmp/absolute/../etc/hosts",
    ] {
        assert_eq!(host.disk.resolve(Inode::ROOT, path.as_bytes(), true), Ok(hosts), "{path}");
        assert_eq!(host.disk.real_path(Inode::ROOT, path.as_bytes()).unwrap(), b"/etc/hosts", "{path}");
    }
    let tmp = host.find("/tmp").unwrap();
    assert_eq!(host.disk.resolve(tmp, b"absolute/hosts", false), Ok(hosts));
    assert_eq!(host.disk.path(tmp).unwrap(), b"/tmp");
    assert_eq!(host.disk.path(Inode::ROOT).unwrap(), b"/");
}

#[test]
fn paths_have_limits() {
    let mut host = Host::new();
    for link in 0..41 {
        host.symlink(&format!("/tmp/{}", link + 1), &format!("/tmp/{link}")).unwrap();
    }
    host.write("/tmp/41", "");
    assert!(host.open("/tmp/1", READ).is_ok(), "40 links");
    assert_eq!(host.open("/tmp/0", READ), Err(Errno::ELOOP));
    let name = "n".repeat(255);
    assert!(host.make(&format!("/{name}")).is_ok());
    assert_eq!(host.make(&format!("/{name}n")).map(taken), Err(Errno::ENAMETOOLONG));
    assert_eq!(host.find(&"/.".repeat(2048)), Err(Errno::ENAMETOOLONG));
    assert_eq!(host.find(&"/.".repeat(2047)), Ok(Inode::ROOT));
    assert_eq!(host.find(""), Err(Errno::ENOENT));
    assert_eq!(host.find("/tmp/41/"), Err(Errno::ENOTDIR));
}

#[test]
fn special_nodes_are_told_by_what_they_are() {
    let mut host = Host::new();
    let opened = host.disk.open(1, Inode::ROOT, b"/dev/urandom", libc::O_RDWR | libc::O_TRUNC, 0).unwrap();
    assert_eq!((opened.kind, opened.created), (Kind::Device(Device::Random), false));
    host.disk.make_node(1, Inode::ROOT, b"/run/socket", Kind::Socket, 0o755).unwrap();
    host.disk.make_node(1, Inode::ROOT, b"/run/pipe", Kind::Fifo, 0o644).unwrap();
    assert_eq!(host.open("/run/socket", READ), Err(Errno::ENXIO));
    assert!(host.open("/run/pipe", READ).is_ok());
    let twice = host.disk.make_node(1, Inode::ROOT, b"/run/pipe", Kind::Fifo, 0o644);
    assert_eq!(twice.map(taken), Err(Errno::EEXIST));
    let mut byte = [0];
    assert_eq!(host.disk.read_at(opened.inode, 0, &mut byte), Err(Errno::EINVAL));
}

#[test]
fn what_is_open_outlives_its_names() {
    let mut host = Host::new();
    let file = host.write("/tmp/f", "still here");
    let free = host.disk.space().blocks_free;
    host.unlink("/tmp/f").unwrap();
    let mut bytes = [0; 10];
    assert_eq!(host.disk.read_at(file, 0, &mut bytes), Ok(10));
    assert_eq!((&bytes, host.disk.stat(file).links), (b"still here", 0));
    assert_eq!(host.disk.link(2, file, Inode::ROOT, b"/tmp/back"), Err(Errno::ENOENT));
    assert_eq!(host.disk.space().blocks_free, free);
    host.disk.close(file);
    assert_eq!(host.disk.space().blocks_free, free + 1);
    audit(&host.disk);
}

#[test]
fn a_directory_that_was_removed_is_empty_and_takes_nothing() {
    let mut host = Host::new();
    let gone = host.make("/tmp/d").unwrap();
    host.disk.hold(gone);
    host.remove("/tmp/d").unwrap();
    assert_eq!(host.disk.list(gone), Ok(Vec::new()));
    assert_eq!(host.disk.open(1, gone, b"f", WRITE, 0o644), Err(Errno::ENOENT));
    assert_eq!(host.disk.make_directory(1, gone, b"d", 0o755).map(taken), Err(Errno::ENOENT));
    host.write("/tmp/f", "");
    assert_eq!(host.disk.rename(1, (Inode::ROOT, b"/tmp/f"), (gone, b"f"), 0), Err(Errno::ENOENT));
    assert_eq!(host.disk.path(gone), Err(Errno::ENOENT));
    assert_eq!(host.disk.resolve(gone, b".", true), Ok(gone));
    host.disk.close(gone);
    audit(&host.disk);
}

#[test]
fn a_listing_is_in_an_order_that_only_the_names_decide() {
    let mut hosts = [Host::new(), Host::new()];
    let names = ["a", "b", "c", "d", "e", "f"];
    for (name, other) in names.iter().zip(names.iter().rev()) {
        hosts[0].make(&format!("/srv/{name}")).unwrap();
        hosts[1].make(&format!("/srv/{other}")).unwrap();
    }
    let listed = hosts.map(|host| {
        let entries = host.disk.list(host.find("/srv").unwrap()).unwrap();
        entries.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect::<Vec<_>>()
    });
    assert_eq!(listed[0], listed[1]);
    assert_ne!(listed[0], names);
}

#[test]
fn attributes_are_kept_and_tell_when_they_changed() {
    let mut host = Host::new();
    let file = host.write("/tmp/f", "text");
    let made = host.disk.stat(file);
    assert_eq!((made.mode, made.size, made.blocks, made.links), (0o644, 4, 8, 1));
    host.disk.set_mode(50, file, libc::S_IFREG | 0o4700).unwrap();
    host.disk.set_owner(51, file, Some(1000), None);
    host.disk.set_times(52, file, None, Some(7));
    let now = host.disk.stat(file);
    assert_eq!((now.mode, now.uid, now.gid), (0o4700, 1000, 0));
    assert_eq!((now.accessed, now.modified, now.changed, now.created), (made.accessed, 7, 52, made.created));
    assert_eq!(host.disk.access(file, libc::X_OK | libc::R_OK), Ok(()));
    host.disk.set_mode(53, file, 0o600).unwrap();
    assert_eq!(host.disk.access(file, libc::X_OK), Err(Errno::EACCES));
    host.link("/tmp/f", "/tmp/g").unwrap();
    assert_eq!(host.disk.stat(file).links, 2);
    host.symlink("f", "/tmp/s").unwrap();
    let link = host.find("/tmp/s").unwrap();
    assert_eq!(host.disk.set_mode(54, link, 0o600), Err(Errno::ENOTSUP));
    assert_eq!(host.disk.read_link(link), Ok(b"f".as_slice()));
}

#[test]
fn a_nameless_file_can_be_given_a_name_unless_it_was_refused_one() {
    let mut host = Host::new();
    let flags = libc::O_TMPFILE | libc::O_RDWR;
    let file = host.open("/tmp", flags).unwrap();
    host.put(file, 0, b"whole");
    assert!(host.names("/tmp").is_empty());
    host.disk.link(1, file, Inode::ROOT, b"/tmp/named").unwrap();
    host.disk.close(file);
    assert_eq!(host.text("/tmp/named").unwrap(), "whole");
    let refused = host.open("/tmp", flags | libc::O_EXCL).unwrap();
    assert_eq!(host.disk.link(1, refused, Inode::ROOT, b"/tmp/other"), Err(Errno::ENOENT));
    host.disk.close(refused);
    audit(&host.disk);
}
