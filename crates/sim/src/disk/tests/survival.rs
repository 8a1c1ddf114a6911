//! What programs rely on, and what they wrongly do, when power fails: by example.

use std::collections::BTreeSet;

use super::*;

/// What comes of something in a hundred crashes by chance.
fn outcomes(
    faults: &Faults,
    before: impl Fn(&mut Host),
    after: impl Fn(&Host) -> String,
) -> BTreeSet<String> {
    let outcome = |seed| {
        let mut host = Host::new();
        host.disk.set_faults(faults.clone());
        before(&mut host);
        host.disk.crash(Crash::Chance, &mut Random::new(seed, "crash"));
        audit(&host.disk);
        after(&host)
    };
    (0..100).map(outcome).collect()
}

fn set(expected: &[&str]) -> BTreeSet<String> {
    expected.iter().map(|text| (*text).to_owned()).collect()
}

fn shown(host: &Host, path: &str) -> String {
    host.text(path).unwrap_or_else(|errno| format!("{errno:?}"))
}

#[test]
fn what_was_not_synced_is_lost() {
    let mut host = Host::new();
    let file = host.write("/tmp/f", "synced");
    host.sync("/tmp/f");
    host.put(file, 0, b"SYNCED and more");
    host.write("/tmp/g", "never");
    host.crash(Crash::Strict);
    assert_eq!((shown(&host, "/tmp/f"), host.names("/tmp")), ("synced".to_owned(), vec!["f".to_owned()]));
    audit(&host.disk);
}

#[test]
fn a_new_file_survives_with_its_name_and_the_directories_above_when_it_is_synced() {
    let mut host = Host::new();
    for path in ["/srv/a", "/srv/a/b"] {
        host.make(path).unwrap();
    }
    host.write("/srv/a/b/f", "text");
    host.sync("/srv/a/b/f");
    host.write("/srv/a/b/g", "text");
    host.crash(Crash::Strict);
    assert_eq!(
        (shown(&host, "/srv/a/b/f"), host.names("/srv/a/b")),
        ("text".to_owned(), vec!["f".to_owned()])
    );
}

#[test]
fn fdatasync_keeps_contents_and_size_and_not_the_mode() {
    let mut host = Host::new();
    let file = host.write("/tmp/f", "old");
    host.sync("/tmp/f");
    host.put(file, 0, b"longer");
    host.disk.set_mode(90, file, 0o600).unwrap();
    host.disk.sync_data(file);
    host.crash(Crash::Strict);
    let stat = host.disk.stat(host.find("/tmp/f").unwrap());
    assert_eq!((shown(&host, "/tmp/f"), stat.mode), ("longer".to_owned(), 0o644));
}

#[test]
fn a_rename_is_durable_with_its_directory_and_not_with_its_file() {
    let replace = |host: &mut Host| {
        host.disk.install(1, b"/srv/f", b"old", 0o644).unwrap();
        host.write("/srv/f.new", "new");
        host.sync("/srv/f.new");
        host.rename("/srv/f.new", "/srv/f", 0).unwrap();
        host.sync("/srv/f");
    };
    let mut host = Host::new();
    replace(&mut host);
    host.crash(Crash::Strict);
    assert_eq!((shown(&host, "/srv/f"), shown(&host, "/srv/f.new")), ("old".to_owned(), "new".to_owned()));
    let mut host = Host::new();
    replace(&mut host);
    host.sync("/srv");
    host.crash(Crash::Strict);
    assert_eq!((shown(&host, "/srv/f"), host.names("/srv")), ("new".to_owned(), vec!["f".to_owned()]));
    let found = outcomes(&Faults::default(), replace, |host| shown(host, "/srv/f"));
    assert_eq!(found, set(&["new", "old"]), "never neither");
}

#[test]
fn a_rename_of_what_was_not_synced_may_leave_an_empty_file() {
    let replace = |host: &mut Host| {
        host.disk.install(1, b"/srv/f", b"old", 0o644).unwrap();
        host.write("/srv/f.new", "new");
        host.rename("/srv/f.new", "/srv/f", 0).unwrap();
        host.sync("/srv");
    };
    let found = outcomes(&Faults::default(), replace, |host| shown(host, "/srv/f"));
    assert_eq!(found, set(&["", "new"]));
}

#[test]
fn truncating_and_writing_anew_may_leave_nothing() {
    let rewrite = |host: &mut Host| {
        host.disk.install(1, b"/srv/f", b"old", 0o644).unwrap();
        let file = host.open("/srv/f", WRITE | libc::O_TRUNC).unwrap();
        host.put(file, 0, b"new");
    };
    let found = outcomes(&Faults::default(), rewrite, |host| shown(host, "/srv/f"));
    assert_eq!(found, set(&["", "new", "old"]));
}

#[test]
fn writes_are_torn_only_where_that_was_asked_for() {
    let write = |host: &mut Host| {
        host.disk.install(1, b"/srv/f", &[b'a'; 1536], 0o644).unwrap();
        host.write("/srv/f", &"b".repeat(1536));
    };
    let show =
        |host: &Host| shown(host, "/srv/f").as_bytes().chunks(512).map(|sector| sector[0] as char).collect();
    assert_eq!(outcomes(&Faults::default(), write, show), set(&["aaa", "bbb"]));
    let torn = Faults { torn: true, ..Faults::default() };
    assert_eq!(outcomes(&torn, write, show), set(&["aaa", "aab", "aba", "abb", "baa", "bab", "bba", "bbb"]));
}

#[test]
fn names_reach_the_disk_in_order_and_each_number_of_them_may() {
    let make = |host: &mut Host| {
        for name in ["a", "b", "c"] {
            host.make(&format!("/srv/{name}")).unwrap();
        }
    };
    let found = outcomes(&Faults::default(), make, |host| host.names("/srv").concat());
    assert_eq!(found, set(&["", "a", "ab", "abc"]));
}

#[test]
fn directories_that_move_about_never_make_a_circle() {
    let before = |host: &mut Host| {
        for path in ["/p", "/p/a", "/p/a/d", "/p/a/d/c", "/p/a/d/c/b", "/r"] {
            host.make(path).unwrap();
        }
        host.disk.sync_all();
        host.rename("/p/a/d/c", "/r/c", 0).unwrap();
        host.rename("/p/a", "/r/c/b/a", 0).unwrap();
    };
    let found = |host: &Host| {
        let places = ["/p/a/d/c/b", "/p/a/d", "/r/c/b", "/r/c/b/a/d"];
        places.into_iter().filter(|path| host.find(path).is_ok()).collect::<Vec<_>>().join(" ")
    };
    let all = ["/p/a/d/c/b /p/a/d", "/p/a/d /r/c/b", "/r/c/b /r/c/b/a/d"];
    assert_eq!(outcomes(&Faults::default(), before, found), set(&all));
    let mut host = Host::new();
    before(&mut host);
    host.sync("/p");
    host.crash(Crash::Strict);
    assert_eq!(found(&host), all[2]);
}

#[test]
fn a_file_that_was_linked_there_and_unlinked_here_is_somewhere() {
    let before = |host: &mut Host| {
        host.disk.install(1, b"/srv/f", b"text", 0o644).unwrap();
        host.link("/srv/f", "/home/f").unwrap();
        host.unlink("/srv/f").unwrap();
    };
    let found = |host: &Host| format!("{} {}", shown(host, "/srv/f"), shown(host, "/home/f"));
    let all = ["text ENOENT", "text text", "ENOENT text"];
    assert_eq!(outcomes(&Faults::default(), before, found), set(&all));
}

#[test]
fn a_removed_file_comes_back_with_what_was_synced_of_it() {
    let mut host = Host::new();
    let file = host.write("/srv/f", "synced");
    host.sync("/srv/f");
    host.put(file, 0, b"SYNCED");
    host.unlink("/srv/f").unwrap();
    host.disk.close(file);
    host.write("/srv/g", "another");
    audit(&host.disk);
    host.crash(Crash::Strict);
    assert_eq!((shown(&host, "/srv/f"), shown(&host, "/srv/g")), ("synced".to_owned(), "ENOENT".to_owned()));
}

#[test]
fn what_waits_is_bounded_and_the_older_half_is_written_back() {
    let mut host = Host::new();
    let file = host.file("/srv/f");
    host.sync("/srv/f");
    let page = [b'x'; 4096];
    (0..5000).for_each(|number| host.put(file, number * 4096, &page));
    host.crash(Crash::Strict);
    let size = host.disk.stat(host.find("/srv/f").unwrap()).size;
    assert!((1 << 20..5000 * 4096).contains(&size), "{size}");
    for number in 0..9000 {
        let inode = host.write(&format!("/srv/{number}"), "");
        host.disk.close(inode);
    }
    host.crash(Crash::Strict);
    assert_eq!(host.names("/srv").len(), 1 + 4096);
    audit(&host.disk);
}

#[test]
fn power_loss_closes_what_was_open_and_releases_locks() {
    let mut host = Host::new();
    let file = host.write("/srv/f", "text");
    host.sync("/srv/f");
    host.disk.locks().lock_file(file, 1, Lock::Exclusive).unwrap();
    host.unlink("/srv/f").unwrap();
    host.sync("/srv");
    host.crash(Crash::Strict);
    assert!(host.names("/srv").is_empty());
    assert_eq!(host.disk.locks().release_all(Owner::Description(1)), []);
    audit(&host.disk);
}

#[test]
fn a_second_name_is_durable_with_its_directory_and_not_with_its_file() {
    let mut host = Host::new();
    host.disk.install(1, b"/srv/f", b"text", 0o644).unwrap();
    host.crash(Crash::Strict);
    host.link("/srv/f", "/home/f").unwrap();
    host.sync("/srv/f");
    host.crash(Crash::Strict);
    assert!(host.names("/home").is_empty());
    let nameless = host.open("/home", libc::O_TMPFILE | libc::O_RDWR).unwrap();
    host.put(nameless, 0, b"whole");
    let now = host.tick();
    host.disk.link(now, nameless, Inode::ROOT, b"/home/f").unwrap();
    host.disk.sync(nameless);
    host.crash(Crash::Strict);
    assert_eq!(shown(&host, "/home/f"), "whole");
}
