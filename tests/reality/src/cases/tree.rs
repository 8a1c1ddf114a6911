//! Folders, names, renames, links and what is known of a file beside its content.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::Seen;
use crate::seen::text;

/// The names in a folder, sorted.
fn names(path: impl AsRef<Path>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn content(path: impl AsRef<Path>) -> io::Result<String> {
    Ok(text(&fs::read(path)?))
}

/// A folder over one that is not empty: POSIX allows two errors, and XFS gives the other one.
fn not_empty(result: io::Result<()>) -> io::Result<()> {
    result.map_err(|error| match error.raw_os_error() {
        Some(libc::EEXIST) => io::Error::from_raw_os_error(libc::ENOTEMPTY),
        _ => error,
    })
}

pub(super) fn listing(seen: &Seen) -> io::Result<()> {
    seen.outcome("empty", names(seen.dir()));
    fs::write(seen.path("b"), "")?;
    fs::write(seen.path(".hidden"), "")?;
    fs::create_dir(seen.path("a"))?;
    fs::write(seen.path("a/below"), "")?;
    symlink("nowhere", seen.path("c"))?;
    seen.outcome("names", names(seen.dir()));
    let mut kinds = Vec::new();
    for entry in fs::read_dir(seen.dir())? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        kinds.push((name, kind.is_dir(), kind.is_file(), kind.is_symlink()));
    }
    kinds.sort();
    seen.note("is folder, file, link", kinds);
    seen.error("of a file", fs::read_dir(seen.path("b")));
    seen.error("of what is not there", fs::read_dir(seen.path("none")));
    Ok(())
}

pub(super) fn listing_of_a_thousand(seen: &Seen) -> io::Result<()> {
    for number in 0..1000 {
        File::create(seen.path(&format!("a file with the number {number:04}")))?;
    }
    let all = names(seen.dir())?;
    let expected = (0..1000).map(|number| format!("a file with the number {number:04}"));
    seen.note("all, each once", all.into_iter().eq(expected));
    let mut removed = 0;
    for entry in fs::read_dir(seen.dir())? {
        fs::remove_file(entry?.path())?;
        removed += 1;
    }
    seen.note("removed while they were listed", removed);
    seen.outcome("left", names(seen.dir()));
    Ok(())
}

pub(super) fn create_dir(seen: &Seen) -> io::Result<()> {
    seen.error("create", fs::create_dir(seen.path("dir")));
    seen.error("again", fs::create_dir(seen.path("dir")));
    seen.error("below nothing", fs::create_dir(seen.path("none/dir")));
    fs::write(seen.path("file"), "")?;
    seen.error("over a file", fs::create_dir(seen.path("file")));
    seen.error("below a file", fs::create_dir(seen.path("file/dir")));
    seen.error("all", fs::create_dir_all(seen.path("a/b/c")));
    seen.error("all again", fs::create_dir_all(seen.path("a/b/c")));
    seen.error("all below a file", fs::create_dir_all(seen.path("file/b/c")));
    seen.error("all over a file", fs::create_dir_all(seen.path("file")));
    seen.error("all of the empty path", fs::create_dir_all(""));
    seen.outcome("names", names(seen.dir()));
    Ok(())
}

pub(super) fn remove(seen: &Seen) -> io::Result<()> {
    fs::create_dir_all(seen.path("full/below"))?;
    fs::write(seen.path("file"), "")?;
    seen.error("folder as a file", fs::remove_file(seen.path("full/below")));
    seen.error("file as a folder", fs::remove_dir(seen.path("file")));
    seen.error("folder that is not empty", fs::remove_dir(seen.path("full")));
    seen.error("file that is not there", fs::remove_file(seen.path("none")));
    seen.error("folder that is not there", fs::remove_dir(seen.path("none")));
    seen.error("below a file", fs::remove_file(seen.path("file/none")));
    seen.error("dot", fs::remove_dir(seen.path("full/.")));
    seen.error("dot dot", fs::remove_dir(seen.path("full/below/..")));
    seen.error("empty folder", fs::remove_dir(seen.path("full/below")));
    seen.error("then the other", fs::remove_dir(seen.path("full")));
    seen.error("file", fs::remove_file(seen.path("file")));
    seen.outcome("left", names(seen.dir()));
    Ok(())
}

pub(super) fn remove_all(seen: &Seen) -> io::Result<()> {
    fs::create_dir_all(seen.path("tree/a/b"))?;
    fs::create_dir(seen.path("outside"))?;
    fs::write(seen.path("outside/kept"), "")?;
    fs::write(seen.path("tree/a/file"), "")?;
    symlink(seen.path("outside"), seen.path("tree/link"))?;
    symlink("nowhere", seen.path("tree/dangling"))?;
    seen.error("the tree", fs::remove_dir_all(seen.path("tree")));
    seen.error("again", fs::remove_dir_all(seen.path("tree")));
    seen.outcome("a link was not followed", names(seen.path("outside")));
    symlink("outside", seen.path("link"))?;
    seen.error("a link itself", fs::remove_dir_all(seen.path("link")));
    seen.outcome("left", names(seen.dir()));
    Ok(())
}

pub(super) fn rename_files(seen: &Seen) -> io::Result<()> {
    fs::write(seen.path("a"), "of a")?;
    fs::write(seen.path("b"), "of b")?;
    seen.error("over another", fs::rename(seen.path("a"), seen.path("b")));
    seen.outcome("content", content(seen.path("b")));
    seen.error("what is gone", fs::rename(seen.path("a"), seen.path("c")));
    seen.error("to itself", fs::rename(seen.path("b"), seen.path("b")));
    seen.error("into no folder", fs::rename(seen.path("b"), seen.path("none/b")));
    seen.error("below a file", fs::rename(seen.path("b"), seen.path("b/b")));
    fs::hard_link(seen.path("b"), seen.path("same"))?;
    seen.error("over another name of its own", fs::rename(seen.path("b"), seen.path("same")));
    seen.outcome("both names stay", names(seen.dir()));
    Ok(())
}

pub(super) fn rename_folders(seen: &Seen) -> io::Result<()> {
    fs::create_dir_all(seen.path("full/below"))?;
    fs::create_dir_all(seen.path("other/below"))?;
    fs::create_dir(seen.path("empty"))?;
    fs::write(seen.path("file"), "")?;
    seen.error("file over a folder", fs::rename(seen.path("file"), seen.path("empty")));
    seen.error("folder over a file", fs::rename(seen.path("empty"), seen.path("file")));
    seen.error("over one that is not empty", not_empty(fs::rename(seen.path("empty"), seen.path("full"))));
    seen.error("full over full", not_empty(fs::rename(seen.path("other"), seen.path("full"))));
    seen.error("into itself", fs::rename(seen.path("full"), seen.path("full/below/in")));
    seen.error("over what it is in", not_empty(fs::rename(seen.path("full/below"), seen.path("full"))));
    seen.error("over an empty one", fs::rename(seen.path("full"), seen.path("empty")));
    seen.outcome("names", names(seen.dir()));
    seen.outcome("below", names(seen.path("empty")));
    seen.error("to another folder", fs::rename(seen.path("empty"), seen.path("other/moved")));
    seen.outcome("up from there", names(seen.path("other/moved/..")));
    Ok(())
}

pub(super) fn folders_in_use(seen: &Seen) -> io::Result<()> {
    fs::create_dir(seen.path("dir"))?;
    fs::write(seen.path("dir/file"), "one ")?;
    let mut file = OpenOptions::new().append(true).open(seen.path("dir/file"))?;
    fs::rename(seen.path("dir"), seen.path("moved"))?;
    file.write_all(b"two")?;
    seen.outcome("a file of a folder that moved", content(seen.path("moved/file")));
    seen.error("by its name that was", fs::read(seen.path("dir/file")));
    let listing = fs::read_dir(seen.path("moved"))?;
    fs::remove_dir_all(seen.path("moved"))?;
    seen.note("listing of a folder that is gone", listing.filter_map(Result::ok).count() <= 1);
    seen.error("create in it", File::create(seen.path("moved/file")));
    Ok(())
}

pub(super) fn folders_are_no_files(seen: &Seen) -> io::Result<()> {
    fs::write(seen.path("file"), "")?;
    seen.error("open for writing", OpenOptions::new().write(true).open(seen.dir()));
    seen.error("create", File::create(seen.dir()));
    seen.error("open for reading", File::open(seen.dir()));
    seen.error("read", fs::read(seen.dir()));
    seen.error("cut", File::open(seen.dir())?.set_len(0));
    seen.error("copy", fs::copy(seen.dir(), seen.path("copy")));
    let directory = |path: &Path| OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path);
    seen.error("O_DIRECTORY of a folder", directory(seen.dir()));
    seen.error("O_DIRECTORY of a file", directory(&seen.path("file")));
    seen.error("hard link to a folder", fs::hard_link(seen.dir(), seen.path("link")));
    Ok(())
}

pub(super) fn names_too_long(seen: &Seen) -> io::Result<()> {
    seen.error("255 bytes", File::create(seen.path(&"n".repeat(255))));
    seen.error("256 bytes", File::create(seen.path(&"n".repeat(256))));
    seen.error("256 bytes, asked for", fs::metadata(seen.path(&"n".repeat(256))));
    seen.error("a path of 5000 bytes", fs::metadata(seen.path(&"d/".repeat(2500))));
    seen.error("a zero byte", File::create(seen.path("a\0b")));
    seen.error("the empty path", File::open(""));
    let unusual = "with spaces,\nlines and ünïcödé";
    fs::write(seen.path(unusual), "")?;
    fs::remove_file(seen.path(&"n".repeat(255)))?;
    seen.outcome("an unusual name", names(seen.dir()));
    Ok(())
}

pub(super) fn dots_and_slashes(seen: &Seen) -> io::Result<()> {
    fs::create_dir(seen.path("dir"))?;
    fs::write(seen.path("file"), "content")?;
    for path in ["./file", "dir/../file", "dir/.././/file", "file/", "file/.", "file/../file", "none/../file"]
    {
        seen.outcome(path, content(seen.path(path)));
    }
    seen.error("create with a slash", File::create(seen.path("new/")));
    seen.error("create a folder with a slash", fs::create_dir(seen.path("new/")));
    seen.error("create dot", fs::create_dir(seen.path("dir/.")));
    seen.error("create dot dot", fs::create_dir(seen.path("dir/..")));
    seen.error("rename to a slash", fs::rename(seen.path("file"), seen.path("other/")));
    seen.error("rename a folder to a slash", fs::rename(seen.path("new"), seen.path("other/")));
    seen.error("remove with a slash", fs::remove_file(seen.path("file/")));
    seen.outcome("names", names(seen.dir()));
    seen.note("above the root is the root", fs::metadata("/../..")?.ino() == fs::metadata("/")?.ino());
    Ok(())
}

pub(super) fn symbolic_links(seen: &Seen) -> io::Result<()> {
    fs::write(seen.path("file"), "content")?;
    symlink("file", seen.path("link"))?;
    seen.outcome("through it", content(seen.path("link")));
    seen.outcome("where it leads", fs::read_link(seen.path("link")));
    seen.error("where a file leads", fs::read_link(seen.path("file")));
    seen.error("over a name", symlink("other", seen.path("link")));
    let (followed, itself) = (fs::metadata(seen.path("link"))?, fs::symlink_metadata(seen.path("link"))?);
    seen.note("followed it is a file", followed.is_file() && !followed.is_symlink());
    seen.note("itself it is a link", itself.is_symlink() && !itself.is_file());
    seen.note("its length is that of its text", itself.len());
    fs::write(seen.path("link"), "written through")?;
    seen.outcome("file", content(seen.path("file")));
    let unfollowed = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(seen.path("link"));
    seen.error("open that does not follow", unfollowed);
    fs::rename(seen.path("link"), seen.path("moved"))?;
    seen.outcome("it moves itself", fs::read_link(seen.path("moved")));
    fs::remove_file(seen.path("moved"))?;
    seen.outcome("left", names(seen.dir()));
    Ok(())
}

pub(super) fn links_to_folders(seen: &Seen) -> io::Result<()> {
    fs::create_dir_all(seen.path("dir/below"))?;
    fs::write(seen.path("dir/file"), "content")?;
    symlink("dir/below", seen.path("link"))?;
    seen.outcome("up from where it leads", content(seen.path("link/../file")));
    fs::write(seen.path("link/new"), "")?;
    seen.outcome("written below", names(seen.path("dir/below")));
    seen.error("remove as a folder", fs::remove_dir(seen.path("link")));
    seen.error("create over it", fs::create_dir(seen.path("link")));
    seen.error("rename a folder over it", fs::rename(seen.path("dir"), seen.path("link")));
    seen.error("remove as a file", fs::remove_file(seen.path("link")));
    seen.outcome("left", names(seen.path("dir/below")));
    Ok(())
}

pub(super) fn links_to_nothing(seen: &Seen) -> io::Result<()> {
    symlink("target", seen.path("link"))?;
    seen.error("open", File::open(seen.path("link")));
    seen.note("exists", seen.path("link").exists());
    seen.error("create anew", File::create_new(seen.path("link")));
    seen.error("create a folder", fs::create_dir(seen.path("link")));
    fs::write(seen.path("link"), "made")?;
    seen.outcome("creating makes its target", content(seen.path("target")));
    symlink("loop b", seen.path("loop a"))?;
    symlink("loop a", seen.path("loop b"))?;
    symlink("self", seen.path("self"))?;
    seen.error("a loop of two", File::open(seen.path("loop a")));
    seen.error("a loop of one", fs::metadata(seen.path("self")));
    seen.error("below a loop", fs::metadata(seen.path("self/file")));
    seen.error("itself", fs::symlink_metadata(seen.path("self")));
    seen.error("try_exists", seen.path("self").try_exists());
    seen.error("empty link", symlink("", seen.path("empty")));
    Ok(())
}

pub(super) fn chains_of_links(seen: &Seen) -> io::Result<()> {
    fs::write(seen.path("0"), "the end")?;
    for number in 1..=41 {
        symlink((number - 1).to_string(), seen.path(&number.to_string()))?;
    }
    seen.outcome("40 links", content(seen.path("40")));
    seen.outcome("41 links", content(seen.path("41")));
    Ok(())
}

pub(super) fn hard_links(seen: &Seen) -> io::Result<()> {
    fs::write(seen.path("one"), "shared")?;
    fs::hard_link(seen.path("one"), seen.path("two"))?;
    let (one, two) = (fs::metadata(seen.path("one"))?, fs::metadata(seen.path("two"))?);
    seen.note("names", (one.nlink(), two.nlink()));
    seen.note("one file", one.ino() == two.ino() && one.dev() == two.dev());
    fs::write(seen.path("two"), "changed")?;
    seen.outcome("by the first name", content(seen.path("one")));
    seen.error("over a name", fs::hard_link(seen.path("one"), seen.path("two")));
    seen.error("of nothing", fs::hard_link(seen.path("none"), seen.path("three")));
    fs::remove_file(seen.path("one"))?;
    seen.outcome("names", fs::metadata(seen.path("two")).map(|metadata| metadata.nlink()));
    let open = File::open(seen.path("two"))?;
    fs::remove_file(seen.path("two"))?;
    seen.outcome("names while it is open", open.metadata().map(|metadata| metadata.nlink()));
    symlink("target", seen.path("link"))?;
    fs::hard_link(seen.path("link"), seen.path("same link"))?;
    seen.outcome("a link is linked itself", fs::read_link(seen.path("same link")));
    Ok(())
}

pub(super) fn metadata(seen: &Seen) -> io::Result<()> {
    fs::write(seen.path("file"), "12345")?;
    let file = fs::metadata(seen.path("file"))?;
    seen.note("file: length, is file, is folder", (file.len(), file.is_file(), file.is_dir()));
    let folder = fs::metadata(seen.dir())?;
    seen.note("folder: is file, is folder", (folder.is_file(), folder.is_dir()));
    seen.note("their inodes differ", file.ino() != folder.ino());
    seen.note("a handle's is the same", File::open(seen.path("file"))?.metadata()?.ino() == file.ino());
    seen.note("format bits", (file.mode() & libc::S_IFMT, folder.mode() & libc::S_IFMT));
    seen.note("of null: a device of characters", fs::metadata("/dev/null")?.file_type().is_char_device());
    seen.error("of nothing", fs::metadata(seen.path("none")));
    seen.error("below a file", fs::metadata(seen.path("file/below")));
    seen.outcome("exists below a file", seen.path("file/below").try_exists());
    Ok(())
}

pub(super) fn permissions(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    let mode =
        |path: &Path| Ok::<_, io::Error>(format!("{:o}", fs::metadata(path)?.permissions().mode() & 0o7777));
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    seen.outcome("created as", mode(&path));
    for bits in [0o644, 0o444, 0o1700, 0o4755] {
        fs::set_permissions(&path, fs::Permissions::from_mode(bits))?;
        seen.outcome("set to", mode(&path));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400))?;
    seen.note("read-only", fs::metadata(&path)?.permissions().readonly());
    fs::copy(&path, seen.path("copy"))?;
    seen.outcome("a copy", mode(&seen.path("copy")));
    symlink("file", seen.path("link"))?;
    fs::set_permissions(seen.path("link"), fs::Permissions::from_mode(0o640))?;
    seen.outcome("set through a link", mode(&path));
    File::open(&path)?.set_permissions(fs::Permissions::from_mode(0o600))?;
    seen.outcome("set by a handle", mode(&path));
    seen.error("of nothing", fs::set_permissions(seen.path("none"), fs::Permissions::from_mode(0o600)));
    Ok(())
}

pub(super) fn times(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    fs::write(&path, "one")?;
    let first = fs::metadata(&path)?.modified()?;
    std::thread::sleep(Duration::from_millis(20));
    fs::write(&path, "two")?;
    let second = fs::metadata(&path)?.modified()?;
    seen.note("a write makes it newer", second > first);
    seen.note("not from the future", second <= SystemTime::now());
    let set = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    let file = OpenOptions::new().write(true).open(&path)?;
    file.set_modified(set)?;
    seen.note("set", fs::metadata(&path)?.modified()? == set);
    let accessed = set + Duration::from_secs(5);
    file.set_times(fs::FileTimes::new().set_accessed(accessed))?;
    seen.note("access set alone", fs::metadata(&path)?.accessed()? == accessed);
    seen.note("the other stays", fs::metadata(&path)?.modified()? == set);
    fs::rename(&path, seen.path("moved"))?;
    seen.note("a rename keeps it", fs::metadata(seen.path("moved"))?.modified()? == set);
    (&file).write_all(b"x")?;
    seen.note("a write does not", file.metadata()?.modified()? > set);
    Ok(())
}

pub(super) fn times_of_folders(seen: &Seen) -> io::Result<()> {
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let folder = File::open(seen.dir())?;
    let is_newer_after = |what: &str, change: &dyn Fn() -> io::Result<()>| {
        folder.set_modified(old)?;
        change()?;
        seen.note(what, folder.metadata()?.modified()? > old);
        Ok::<_, io::Error>(())
    };
    is_newer_after("a new file", &|| fs::write(seen.path("a"), "x"))?;
    is_newer_after("a write into it", &|| fs::write(seen.path("a"), "yy"))?;
    is_newer_after("a rename", &|| fs::rename(seen.path("a"), seen.path("b")))?;
    is_newer_after("a listing", &|| names(seen.dir()).map(drop))?;
    is_newer_after("a removal", &|| fs::remove_file(seen.path("b")))?;
    Ok(())
}

pub(super) fn canonical_paths(seen: &Seen) -> io::Result<()> {
    fs::create_dir_all(seen.path("a/b"))?;
    fs::write(seen.path("a/file"), "")?;
    symlink("a/b", seen.path("link"))?;
    let root = fs::canonicalize(seen.dir())?;
    let below = |path: &str| -> io::Result<PathBuf> {
        let path = fs::canonicalize(seen.path(path))?;
        Ok(path.strip_prefix(&root).map_or_else(|_| path.clone(), Path::to_owned))
    };
    for path in [".", "a/./b/../file", "link", "link/../file", "a//b/", "none", "a/file/x", "none/.."] {
        seen.outcome(path, below(path));
    }
    Ok(())
}

pub(super) fn copies(seen: &Seen) -> io::Result<()> {
    fs::write(seen.path("from"), "copied")?;
    fs::write(seen.path("to"), "longer than that was")?;
    seen.outcome("over a file", fs::copy(seen.path("from"), seen.path("to")));
    seen.outcome("content", content(seen.path("to")));
    symlink("from", seen.path("link"))?;
    seen.outcome("through a link", fs::copy(seen.path("link"), seen.path("copy")));
    seen.outcome("it is a file", fs::symlink_metadata(seen.path("copy")).map(|metadata| metadata.is_file()));
    seen.error("of nothing", fs::copy(seen.path("none"), seen.path("copy")));
    seen.error("into no folder", fs::copy(seen.path("from"), seen.path("none/copy")));
    seen.error("over a folder", fs::copy(seen.path("from"), seen.dir()));
    let mut from = File::open(seen.path("from"))?;
    let mut to = OpenOptions::new().append(true).open(seen.path("to"))?;
    seen.outcome("between handles", io::copy(&mut from, &mut to));
    seen.outcome("content", content(seen.path("to")));
    Ok(())
}

pub(super) fn deep_trees(seen: &Seen) -> io::Result<()> {
    let mut path = seen.dir().to_owned();
    for depth in 0..60 {
        path.push(format!("level {depth}"));
    }
    fs::create_dir_all(&path)?;
    fs::write(path.join("file"), "deep")?;
    seen.outcome("content", content(path.join("file")));
    seen.outcome("from there up", names(path.join("../".repeat(60))));
    fs::remove_dir_all(seen.path("level 0"))?;
    seen.outcome("left", names(seen.dir()));
    Ok(())
}
