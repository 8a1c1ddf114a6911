//! P4: files round-trip byte by byte at every size at which a buffer has its edge, with their modes; what a host has is
//! not sent again; what cannot be is refused by name and leaves nothing half done. (A09, and defects 1 to 3 of testbus: only
//! the last 4 KiB arrived, an empty upload did nothing, the second use of a file found it missing)

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use conformance::script::script;
use conformance::{MIB, SIZES, error_of, fails, load, log, run, scratch};
use netsplit::Reason;
use netsplit::prelude::*;

#[netsplit::test(hosts = 1)]
async fn files_round_trip_at_every_size(bed: Testbed) -> netsplit::Result {
    let (a, folder) = (bed.host("a")?, scratch());
    let file = folder.path().join("f");
    // Up and down over one path: what was longer leaves no rest.
    for size in SIZES.into_iter().chain(SIZES.into_iter().rev()) {
        let bytes = load::noise(size);
        fs::write(&file, &bytes).expect("a file");
        a.put(&file, "/srv/f").await?;
        load::assert_same(&a.get("/srv/f").await?.bytes()?, &bytes, &format!("put of {size}"));
        a.write("/srv/w", bytes.clone()).await?;
        load::assert_same(&a.get("/srv/w").to(folder.path().join("w")).await?.bytes()?, &bytes, "write");
        a.run(script("stat -c %s /srv/f /srv/w")).await?.expect_stdout(&format!("{size}\n{size}"))?;
    }
    Ok(())
}

#[netsplit::test(hosts = 2)]
async fn a_hundred_mebibytes_there_across_and_back(bed: Testbed) -> netsplit::Result {
    let (a, b, folder) = (bed.host("a")?, bed.host("b")?, scratch());
    let (file, bytes) = (folder.path().join("big"), load::noise(100 * MIB));
    fs::write(&file, &bytes).expect("a file");
    a.put(&file, "/srv/big").await?;
    a.copy_to(&b, "/srv/big").await?;
    let back = b.get("/srv/big").to(folder.path().join("back")).await?;
    load::assert_same(&back.bytes()?, &bytes, "100 MiB");
    Ok(())
}

/// A file that was left alone for so long is known by its looks, and may come another way.
fn rest() {
    std::thread::sleep(Duration::from_millis(120));
}

#[netsplit::test(hosts = 2)]
async fn large_files_at_rest_round_trip(bed: Testbed) -> netsplit::Result {
    let (a, b, folder) = (bed.host("a")?, bed.host("b")?, scratch());
    for size in [MIB - 1, MIB, MIB + 1, 3 * MIB + 4097, 33 * MIB + 7] {
        let (file, bytes) = (folder.path().join("f"), load::noise(size));
        fs::write(&file, &bytes).expect("a file");
        rest();
        tokio::try_join!(a.put(&file, "/srv/f").into_future(), b.put(&file, "/srv/f").into_future())?;
        for host in [&a, &b] {
            load::assert_same(&host.get("/srv/f").await?.bytes()?, &bytes, &format!("put of {size}"));
        }
        a.run(script("ls -A /srv")).await?.expect_stdout("f")?;
    }
    Ok(())
}

/// The same file to the same place at once: each is whole, whoever is last.
#[netsplit::test(hosts = 1)]
async fn puts_to_one_place_do_not_meet(bed: Testbed) -> netsplit::Result {
    let (a, folder) = (bed.host("a")?, scratch());
    let file = folder.path().join("f");
    let mut puts = tokio::task::JoinSet::new();
    for number in 0..8_u8 {
        let file = file.with_extension(number.to_string());
        fs::write(&file, [number].repeat(4 * MIB)).expect("a file");
        if number == 3 {
            rest();
        }
        puts.spawn(a.put(&file, "/srv/f").into_future());
    }
    while let Some(put) = puts.join_next().await {
        put.expect("no panic")?;
    }
    let bytes = a.get("/srv/f").await?.bytes()?;
    load::assert_same(&bytes, &bytes[..1].repeat(4 * MIB), "the last one");
    a.run(script("ls -A /srv")).await?.expect_stdout("f")
}

#[netsplit::test(hosts = 1)]
async fn modes_are_kept(bed: Testbed) -> netsplit::Result {
    let (a, folder) = (bed.host("a")?, scratch());
    let file = folder.path().join("f");
    for mode in [0o600, 0o644, 0o755, 0o700, 0o444, 0o555, 0o611, 0o750] {
        fs::write(&file, format!("{mode}")).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a mode");
        a.put(&file, "/srv/f").await?;
        a.run(script("stat -c %a /srv/f")).await?.expect_stdout(&format!("{mode:o}"))?;
        assert_eq!(a.get("/srv/f").to(folder.path().join("back")).await?.mode()?, mode);
        fs::remove_file(&file).expect("it was there");
        a.write("/srv/w", "w").mode(mode).await?;
        a.run(script("stat -c %a /srv/w")).await?.expect_stdout(&format!("{mode:o}"))?;
    }
    // Programs of a host do not run as their owner here.
    a.run(script("chmod 6755 /srv/w")).await?;
    assert_eq!(a.get("/srv/w").to(folder.path().join("back")).await?.mode()?, 0o755);
    fs::write(&file, "x").expect("a file");
    a.put(&file, "/srv/f").mode(0o640).await?;
    a.write("/srv/w", "w").await?;
    a.run(script("stat -c %a /srv/f /srv/w")).await?.expect_stdout("640\n644")
}

/// Everything below a folder: path, kind or mode, content.
fn tree(root: &Path) -> BTreeMap<String, (String, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let data = fs::symlink_metadata(&path).expect("it is there");
        let mode = data.permissions().mode() & 0o7777;
        let what = if data.is_symlink() {
            (format!("link to {}", fs::read_link(&path).expect("a link").display()), Vec::new())
        } else if data.is_dir() {
            waiting
                .extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            (format!("folder {mode:o}"), Vec::new())
        } else {
            (format!("file {mode:o}"), fs::read(&path).expect("a file"))
        };
        all.insert(path.strip_prefix(root).expect("below").display().to_string(), what);
    }
    all
}

/// A tree with all that trees have.
fn plant(root: &Path) {
    for name in ["deep/er/and deeper", "empty", "ünï"] {
        fs::create_dir_all(root.join(name)).expect("a folder");
    }
    fs::write(root.join("deep/er/and deeper/a file.txt"), load::noise(70_000)).expect("a file");
    fs::write(root.join("ünï/☃ $HOME 'quoted' %{host}"), "snow").expect("a file");
    fs::write(root.join("same"), load::noise(70_000)).expect("a file");
    fs::write(root.join("nothing"), "").expect("a file");
    fs::set_permissions(root.join("same"), fs::Permissions::from_mode(0o751)).expect("a mode");
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o711)).expect("a mode");
    symlink("deep/er", root.join("link")).expect("a link");
    symlink("/no/where", root.join("dangling")).expect("a link");
}

#[netsplit::test(hosts = 2)]
async fn trees_round_trip(bed: Testbed) -> netsplit::Result {
    let (a, b, folder) = (bed.host("a")?, bed.host("b")?, scratch());
    let (planted, back) = (folder.path().join("planted"), folder.path().join("back"));
    fs::create_dir(&planted).expect("a folder");
    plant(&planted);
    a.put(&planted, "/srv/new/tree").await?;
    a.copy_to(&b, "/srv/new/tree").at_path("/opt/other tree").await?;
    b.get("/opt/other tree").to(&back).await?;
    assert_eq!(tree(&back), tree(&planted));
    // A file that is there twice is sent once; from the other host it comes by itself.
    assert_eq!(log::sent(&bed)[0], 70_000 + 4);
    a.put(&planted, "/srv/new/tree").await?;
    assert_eq!(log::sent(&bed)[2], 0, "all of it was there");
    let fetched = b.get("/opt/other tree/ünï").await?;
    assert!(fetched.path().starts_with(bed.evidence()), "it lies in the evidence");
    assert_eq!(tree(fetched.path()), tree(&planted.join("ünï")));
    Ok(())
}

/// What was fetched is evidence: a later state of the file does not replace it.
#[netsplit::test(hosts = 1)]
async fn what_was_fetched_stays(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.write("/srv/state", "first").await?;
    let first = a.get("/srv/state").await?;
    a.write("/srv/state", "second").await?;
    let second = a.get("/srv/state").await?;
    assert_eq!((first.text()?.as_str(), second.text()?.as_str()), ("first", "second"));
    assert!(second.path().ends_with("srv/state.2"), "{}", second.path().display());
    Ok(())
}

#[netsplit::test(hosts = 1)]
async fn thousands_of_small_files(bed: Testbed) -> netsplit::Result {
    let (a, folder) = (bed.host("a")?, scratch());
    let many = folder.path().join("many");
    fs::create_dir(&many).expect("a folder");
    for number in 0..2500 {
        fs::write(many.join(number.to_string()), number.to_string()).expect("a file");
    }
    a.put(&many, "/srv/many").await?;
    a.get("/srv/many").to(folder.path().join("back")).await?;
    assert_eq!(tree(&folder.path().join("back")), tree(&many));
    Ok(())
}

#[netsplit::test(hosts = 2)]
async fn what_a_host_has_is_not_sent_again(bed: Testbed) -> netsplit::Result {
    let (a, b, folder) = (bed.host("a")?, bed.host("b")?, scratch());
    let (file, bytes) = (folder.path().join("f"), load::noise(2 * MIB));
    fs::write(&file, &bytes).expect("a file");
    let size = bytes.len() as u64;
    a.put(&file, "/srv/f").await?;
    a.put(&file, "/srv/f").await?;
    a.put(&file, "/srv/elsewhere").await?;
    b.put(&file, "/srv/f").await?;
    assert_eq!(log::sent(&bed), [size, 0, 0, size]);
    load::assert_same(&a.get("/srv/elsewhere").await?.bytes()?, &bytes, "the second use");
    a.run(script("rm /srv/f")).await?;
    a.put(&file, "/srv/f").await?;
    assert_eq!(log::sent(&bed)[4], 0, "it is still elsewhere");
    load::assert_same(&a.get("/srv/f").await?.bytes()?, &bytes, "the third use");
    Ok(())
}

/// `overwrites FILE`: its first byte.
#[netsplit::program]
async fn overwrites(arguments: Vec<String>) -> std::io::Result<()> {
    fs::File::options().write(true).open(&arguments[0])?.write_all(b"x")
}

#[netsplit::test(hosts = 1)]
async fn what_was_overwritten_between_is_sent_again(bed: Testbed) -> netsplit::Result {
    let (a, folder) = (bed.host("a")?, scratch());
    let (file, bytes) = (folder.path().join("f"), load::noise(100_000));
    fs::write(&file, &bytes).expect("a file");
    a.put(&file, "/srv/f").await?;
    // Of the same size, at the same place.
    a.run(overwrites).arg("/srv/f").await?;
    a.put(&file, "/srv/f").await?;
    assert_eq!(log::sent(&bed), [100_000, 100_000]);
    load::assert_same(&a.get("/srv/f").await?.bytes()?, &bytes, "put again");
    // And here: the file has other content at the same path, size and mode.
    let other: Vec<u8> = bytes.iter().rev().copied().collect();
    fs::write(&file, &other).expect("a file");
    a.put(&file, "/srv/f").await?;
    load::assert_same(&a.get("/srv/f").await?.bytes()?, &other, "the new content");
    Ok(())
}

/// `reads_twice FILE`: as it is opened now, and as it is after a line of standard input.
#[netsplit::program]
async fn reads_twice(arguments: Vec<String>) -> std::io::Result<()> {
    let mut file = fs::File::open(&arguments[0])?;
    conformance::programs::say("open");
    std::io::stdin().read_line(&mut String::new())?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    write!(std::io::stdout(), "{text}{}", fs::read_to_string(&arguments[0])?)
}

#[netsplit::test(hosts = 1)]
async fn an_existing_file_is_replaced_at_once(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.write("/srv/f", "old old old").await?;
    let holds = a.start(reads_twice).arg("/srv/f").stdin_open();
    let holds = holds.ready("open").await?;
    a.write("/srv/f", "new").await?;
    holds.write("go\n").await?;
    holds.wait().await?;
    // Who had it open reads what it was; nobody ever reads a mixture.
    assert_eq!(String::from_utf8_lossy(&holds.stdout()?), "open\nold old oldnew");
    a.run(script("ls -A /srv")).await?.expect_stdout("f")
}

#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_program_that_runs_is_replaced_at_once(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.run("cp /bin/sleep /srv/sleep").await?;
    a.start("/srv/sleep 1000").await?;
    a.write("/srv/sleep", "#!/bin/sh\necho replaced").mode(0o755).await?;
    a.run("/srv/sleep").await?.expect_stdout("replaced")?;
    a.run("find /srv -name '.netsplit*'").await?.expect_stdout("")
}

#[netsplit::test(hosts = 1)]
async fn a_parent_that_is_missing_is_made(bed: Testbed) -> netsplit::Result {
    let (a, folder) = (bed.host("a")?, scratch());
    let file = folder.path().join("f.txt");
    fs::write(&file, "x").expect("a file");
    a.put(&file, "/srv/1/2/3/f").await?;
    a.put(&file, "/srv/into/").await?;
    a.write("/srv/w/1/2", "y").await?;
    a.run(script("cat /srv/1/2/3/f /srv/into/f.txt /srv/w/1/2")).await?.expect_stdout("xxy")
}

#[netsplit::test(hosts = 2)]
async fn a_path_that_ends_with_a_slash_is_a_folder_to_put_it_into(bed: Testbed) -> netsplit::Result {
    let (a, b, folder) = (bed.host("a")?, bed.host("b")?, scratch());
    let conf = folder.path().join("conf");
    fs::create_dir(&conf).expect("a folder");
    fs::write(conf.join("f"), "x").expect("a file");
    a.put(&conf, "/srv/into/").await?;
    a.put(conf.join("."), "/srv/dot/").await?;
    // Without it, the path is the folder's own.
    a.put(&conf, "/srv/as").await?;
    a.run(script("cat /srv/into/conf/f /srv/dot/conf/f /srv/as/f")).await?.expect_stdout("xxx")?;
    a.copy_to(&b, "/srv/as/f").at_path("/opt/files/").await?;
    a.copy_to(&b, "/srv/as/").at_path("/opt/folders/").await?;
    a.copy_to(&b, "/srv/as/").await?;
    b.run(script("cat /opt/files/f /opt/folders/as/f /srv/as/f")).await?.expect_stdout("xxx")
}

#[netsplit::test(hosts = 2)]
async fn what_cannot_be_is_refused_by_name(bed: Testbed) -> netsplit::Result {
    let (a, b, folder) = (bed.host("a")?, bed.host("b")?, scratch());
    let file = folder.path().join("f");
    fs::write(&file, "x").expect("a file");
    let missing = fails(a.put(folder.path().join("missing"), "/srv/x").await, Reason::NoSuchFile);
    assert!(missing.contains("missing` here"), "{missing}");
    let missing = fails(a.get("/srv/missing").await, Reason::NoSuchFile);
    assert!(missing.contains("`/srv/missing` on a: nothing is there"), "{missing}");
    fails(a.copy_to(&b, "/srv/missing").await, Reason::NoSuchFile);
    // A file over a folder, a folder over a file, a file below a file.
    a.run(script("mkdir -p /srv/folder/full")).await?;
    fails(a.put(&file, "/srv/folder").await, Reason::FileRefused);
    fails(a.write("/srv/folder/", "x").await, Reason::FileRefused);
    a.write("/srv/file", "stays").await?;
    fails(a.put(folder.path(), "/srv/file").await, Reason::FileRefused);
    fails(a.write("/srv/file/below", "x").await, Reason::FileRefused);
    a.run(script("cat /srv/file; echo; ls -A /srv")).await?.expect_stdout("stays\nfile\nfolder")?;
    fails(a.get("/dev/null").await, Reason::FileRefused);
    // Paths on a host begin at its root.
    for path in ["srv/x", "./x", "", "~/x"] {
        let text = fails(a.write(path, "x").await, Reason::BadValue);
        assert!(text.contains("must begin with `/`") && text.contains("fix: `/"), "{text}");
        fails(a.put(&file, path).await, Reason::BadValue);
        fails(a.get(path).await, Reason::BadValue);
    }
    Ok(())
}

/// What a host is asked for stays in the place where it is to lie here.
#[netsplit::test(hosts = 1)]
async fn nothing_is_written_elsewhere_here(bed: Testbed) -> netsplit::Result {
    let (a, folder) = (bed.host("a")?, scratch());
    a.write("/srv/t/d/f", "escaped").await?;
    let (out, other) = (folder.path().join("out"), folder.path().join("other"));
    fs::create_dir(&out).expect("a folder");
    fs::create_dir(&other).expect("a folder");
    symlink(&other, out.join("d")).expect("a link");
    let text = fails(a.get("/srv/t").to(&out).await, Reason::FileRefused);
    assert!(text.contains("through a link"), "{text}");
    assert_eq!(fs::read_dir(&other).expect("a folder").count(), 0);
    // `..` in what is asked for does not lead out of the evidence.
    let fetched = a.get("/../../../../../srv/t/d/f").await?;
    assert_eq!(fetched.text()?, "escaped");
    let path = fs::canonicalize(fetched.path()).expect("it is there");
    let files = fs::canonicalize(bed.evidence()).expect("it is there").join("hosts/a/files");
    assert!(path.starts_with(&files), "{} is not in {}", path.display(), files.display());
    Ok(())
}

/// A host's links lead nowhere here: not beside a file that is written, and not from what was fetched before.
#[netsplit::test(hosts = 1)]
async fn links_of_a_host_lead_nowhere_here(bed: Testbed) -> netsplit::Result {
    let (a, folder) = (bed.host("a")?, scratch());
    let own = folder.path().join("own");
    fs::create_dir(&own).expect("a folder");
    fs::write(own.join("x"), "mine").expect("a file");
    let own = own.display();
    // The host has something at the same path.
    let plant = format!(
        "mkdir -p /srv/d {own}; echo theirs > {own}/x; echo theirs > /srv/d/x
        ln -s {own}/x /srv/d/.netsplit-x; ln -s {own} /srv/d/own; ln -s {own}/x /srv/y"
    );
    a.run(script(plant)).await?;
    let fetched = a.get("/srv/d").await?;
    let mine = folder.path().join("own/x");
    assert_eq!(fs::read_to_string(&mine).expect("a file"), "mine");
    assert_eq!(fs::read_to_string(fetched.path().join("x")).expect("a file"), "theirs\n");
    for link in [".netsplit-x", "own"] {
        assert!(fetched.path().join(link).is_symlink(), "{link} is a link as it was there");
    }
    // Through links that lie in the evidence by now.
    assert_eq!(a.get("/srv/d/own/x").await?.text()?, "theirs\n");
    let through = a.get("/srv/d/own").await?;
    assert_eq!(fs::read_to_string(through.path().join("x")).expect("a file"), "theirs\n");
    assert!(fetched.path().join("own").is_symlink(), "what was fetched stays");
    assert_eq!(fs::read_to_string(&mine).expect("a file"), "mine");
    // What is asked for may be a link there; what lies here is what it leads to.
    let asked = a.get("/srv/y").await?;
    assert!(!asked.path().is_symlink());
    assert_eq!(asked.text()?, "theirs\n");
    Ok(())
}

/// Its first bytes are other ones each time they are looked at.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn a_file_that_changes_while_it_is_copied_is_refused(bed: Testbed) -> netsplit::Result {
    use std::os::unix::fs::FileExt;
    let (a, folder) = (bed.host("a")?, scratch());
    let path = folder.path().join("restless");
    fs::write(&path, load::noise(16 * MIB)).expect("a file");
    a.write("/srv/restless", "before").await?;
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, file) = (Arc::clone(&stop), fs::File::options().write(true).open(&path).expect("a file"));
    let writer = std::thread::spawn(move || {
        let mut number = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            number += 1;
            file.write_all_at(&number.to_le_bytes(), 0).expect("a write");
            std::thread::yield_now();
        }
    });
    let mut put = Ok(());
    // On a busy machine the writer may get no turn during a put.
    for _ in 0..20 {
        put = a.put(&path, "/srv/restless").await;
        if put.is_err() {
            break;
        }
        a.write("/srv/restless", "before").await?;
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("no panic");
    let error = error_of(put);
    assert_eq!(error.name(), Reason::FileChanged, "{error}");
    a.run(sh("cat /srv/restless; find /srv -name '.netsplit*'")).await?.expect_stdout("before")?;
    // What no longer changes can be put.
    a.put(&path, "/srv/restless").await?;
    a.run("stat -c %s /srv/restless").await?.expect_stdout(&(16 * MIB).to_string())
}

/// After it was hashed, and while its bytes are on their way: here it only has to look different.
#[netsplit::test(hosts = 2, needs = ["programs"])]
async fn a_file_at_rest_that_changes_while_it_is_copied_is_refused(bed: Testbed) -> netsplit::Result {
    use std::os::unix::fs::FileExt;
    let (a, b, folder) = (bed.host("a")?, bed.host("b")?, scratch());
    let (path, size) = (folder.path().join("f"), 192 * MIB);
    let file = fs::File::create(&path).expect("a file");
    for delay in [1, 5, 10, 20, 40] {
        file.set_len(0).and_then(|()| file.write_all_at(&load::noise(size), 0)).expect("a file");
        // Other bytes each time: b has not seen them.
        file.write_all_at(&[delay], 0).expect("a write");
        rest();
        // Hashes it.
        a.put(&path, "/srv/f").await?;
        let before = a.run("sha256sum /srv/f").await?.stdout();
        let writing = file.try_clone().expect("a descriptor");
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(delay.into()));
            writing.write_all_at(b"changed", size as u64 - 7).expect("a write");
        });
        let put = b.put(&path, "/srv/f").await;
        writer.join().expect("no panic");
        match put {
            Err(error) if error.name() == Reason::FileChanged => {
                return b.run(sh("ls -A /srv")).exits(Exit::Any).await.map(drop);
            }
            put => put?,
        }
        // It was there before it changed, or was not asked for until after: nothing between.
        rest();
        a.put(&path, "/srv/f").await?;
        let after = a.run("sha256sum /srv/f").await?.stdout();
        let put = b.run("sha256sum /srv/f").await?.stdout();
        assert!([&before, &after].contains(&&put), "{put}");
        // Nor does the host take one for the other.
        file.write_all_at(&load::noise(size)[size - 7..], size as u64 - 7).expect("a write");
        b.put(&path, "/srv/again").await?;
        b.run("sha256sum /srv/again").await?.expect_stdout(&before.replace("/srv/f", "/srv/again"))?;
        b.run("rm /srv/again").await?;
        b.run("rm /srv/f").await?;
    }
    panic!("nothing was ever noticed");
}

/// `logs FILE`: writes a line after the other to it, without end.
#[netsplit::program]
async fn logs(arguments: Vec<String>) -> std::io::Result<()> {
    let mut file = fs::File::create(&arguments[0])?;
    for number in 1_u64.. {
        writeln!(file, "line {number}")?;
        if number == 1 {
            conformance::programs::say("up");
        }
        tokio::time::sleep(Duration::from_micros(10)).await;
    }
    Ok(())
}

/// A log that grows has an end where it was when it was asked for.
#[netsplit::test(hosts = 1)]
async fn a_file_that_grows_is_fetched_up_to_where_it_was(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.start(logs).arg("/srv/log").ready("up").await?;
    for _ in 0..10 {
        let text = a.get("/srv/log").await?.text()?;
        let whole = text.lines().take(text.matches('\n').count());
        for (number, line) in whole.enumerate() {
            assert_eq!(line, format!("line {}", number + 1));
        }
    }
    Ok(())
}

/// The kernel says of some files that they hold nothing, and gives their bytes all the same.
#[netsplit::test(hosts = 1, needs = ["programs"])]
async fn files_without_a_length_are_fetched_whole(bed: Testbed) -> netsplit::Result {
    let (a, folder) = (bed.host("a")?, scratch());
    for path in ["/proc/version", "/proc/sys/kernel/ostype"] {
        let text = a.run(["cat", path]).await?.stdout();
        assert!(!text.is_empty());
        assert_eq!(a.get(path).await?.text()?, text, "{path}");
    }
    let lines = a.get("/proc/net/dev").await?.text()?;
    assert!(lines.contains("lo:") && lines.contains("eth0:"), "{lines}");
    let fetched = a.get("/proc/sys/kernel/random").to(folder.path().join("tree")).await?;
    assert_eq!(fs::metadata(fetched.path().join("boot_id")).expect("a file").len(), 37);
    a.run("touch /srv/empty").await?;
    assert_eq!(a.get("/srv/empty").await?.bytes()?, b"");
    // One that has no end, or nearly so.
    let text = fails(a.get("/proc/self/pagemap").to(folder.path().join("p")).await, Reason::FileRefused);
    assert!(text.contains("`/proc/self/pagemap` on a: has no length, and more than 64 MiB"), "{text}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing half is left");
    Ok(())
}

/// A host whose disk is full says so, keeps nothing half, and works on.
#[test]
fn a_full_disk_is_named_and_leaves_the_host_usable() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let done = runtime.block_on(run::with("full_disk", run::plans(2, Some(8 << 20)), async |bed| {
        let a = bed.host("a")?;
        a.write("/srv/fits", load::noise(4 * MIB)).await?;
        let text = fails(a.write("/srv/f", load::noise(16 * MIB)).await, Reason::HostDiskFull);
        assert!(text.contains("put `/srv/f` on a: no space is left there"), "{text}");
        a.run(sh("ls -A /srv")).await?.expect_stdout("fits")?;
        let filled = a.run("dd if=/dev/zero of=/srv/zeros bs=64k").exits(Exit::Nonzero).await?;
        assert!(filled.stderr().contains("No space left"), "{}", filled.stderr());
        fails(a.write("/srv/g", "x".repeat(100_000)).await, Reason::HostDiskFull);
        // Commands, their output and fetching go on; the other host's disk is its own.
        a.run("echo still here").await?.expect_stdout("still here")?;
        load::assert_same(&a.get("/srv/fits").await?.bytes()?, &load::noise(4 * MIB), "what was there");
        bed.host("b")?.write("/srv/f", load::noise(4 * MIB)).await?;
        a.run("rm /srv/zeros").await?;
        a.write("/srv/g", "x").await?;
        a.restart().await?;
        a.run("cat /srv/g").await?.expect_stdout("x")
    }));
    done.unwrap_or_else(|error| panic!("{error}"));
}

#[netsplit::test(hosts = 1)]
async fn what_cannot_be_read_says_where_it_was_asked_for(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    a.write("/srv/folder/f", "x").await?;
    let folder = a.get("/srv/folder").await?;
    let text = fails(folder.bytes(), Reason::FileRefused);
    assert!(text.contains("cannot be read") && text.contains("p04_files.rs:"), "{text}");
    assert!(fails(folder.text(), Reason::FileRefused).contains("p04_files.rs:"));
    Ok(())
}
