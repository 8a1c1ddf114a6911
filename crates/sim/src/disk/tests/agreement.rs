//! The same calls, by chance, on a disk and on the file system of this machine, must have the same outcomes.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs as real;
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags, RenameFlags};

use super::*;

/// Directories above the one that calls begin in: more than a path can climb, which has one ".." at most. Symbolic links
/// have none, as 40 of them in a path would climb out of any folder made for a test.
const DEPTH: usize = 3;

#[derive(Clone, Debug)]
enum Call {
    Open { path: String, flags: i32, write: bool },
    Close(usize),
    Read { file: usize, offset: u64, len: usize },
    Write { file: usize, offset: u64, len: usize, byte: u8 },
    Truncate { file: usize, size: u64 },
    Allocate { file: usize, how: Allocate, offset: u64, len: u64 },
    Copy { from: usize, at: u64, to: usize, offset: u64, len: usize },
    State(usize),
    Name { file: usize, path: String },
    Mkdir(String),
    Rmdir(String),
    Unlink(String),
    Rename { from: String, to: String, flags: u32 },
    Link { from: String, to: String, follow: bool },
    Symlink { target: String, path: String },
    Readlink(String),
    Stat { path: String, follow: bool },
    List(String),
    Chmod { path: String, mode: u32 },
    RealPath(String),
}

/// What a call gave: a text that both sides make alike, or an error.
type Outcome = Result<String, i32>;

fn path() -> impl Strategy<Value = String> {
    let name = || prop_oneof![8 => "[abcd]", 1 => Just(".".to_owned())];
    let long = prop_oneof![30 => Just(None), 1 => Just(Some("x".repeat(256)))];
    let parts = (prop::collection::vec(name(), 1..4), prop::option::weighted(0.15, 0..3usize), long);
    (parts, prop::bool::weighted(0.15), prop::bool::weighted(0.01)).prop_map(
        |((mut parts, up, long), slash, empty)| {
            if let Some(at) = up {
                parts.insert(at.min(parts.len()), "..".to_owned());
            }
            parts.extend(long);
            if empty { String::new() } else { parts.join("/") + if slash { "/" } else { "" } }
        },
    )
}

fn flags() -> impl Strategy<Value = i32> {
    let some = |flag: i32, weight| prop::bool::weighted(weight).prop_map(move |on| if on { flag } else { 0 });
    let all = (
        some(libc::O_CREAT, 0.6),
        some(libc::O_EXCL, 0.2),
        some(libc::O_TRUNC, 0.2),
        some(libc::O_DIRECTORY, 0.1),
        some(libc::O_NOFOLLOW, 0.1),
        some(libc::O_PATH, 0.05),
        some(libc::O_TMPFILE, 0.05),
    );
    all.prop_map(|(a, b, c, d, e, f, g)| a | b | c | d | e | f | g)
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![0..200u64, 4000..4200u64, 0..40_000u64]
}

fn call() -> impl Strategy<Value = Call> {
    let slot = || 0..4usize;
    let len = || prop_oneof![0..300usize, 3000..9000usize];
    let how = prop_oneof![
        Just(Allocate::Extend),
        Just(Allocate::KeepSize),
        Just(Allocate::PunchHole),
        Just(Allocate::ZeroRange),
        Just(Allocate::ZeroKeepSize)
    ];
    let moved = prop_oneof![
        6 => Just(0),
        1 => Just(libc::RENAME_NOREPLACE),
        1 => Just(libc::RENAME_EXCHANGE),
        1 => Just(libc::RENAME_EXCHANGE | libc::RENAME_NOREPLACE)
    ];
    let files = prop_oneof![
        4 => (path(), flags(), any::<bool>()).prop_map(|(path, flags, write)| Call::Open { path, flags, write }),
        1 => slot().prop_map(Call::Close),
        2 => (slot(), offset(), len()).prop_map(|(file, offset, len)| Call::Read { file, offset, len }),
        3 => (slot(), offset(), len(), 1..255u8)
            .prop_map(|(file, offset, len, byte)| Call::Write { file, offset, len, byte }),
        1 => (slot(), offset()).prop_map(|(file, size)| Call::Truncate { file, size }),
        1 => (slot(), how, offset(), offset()).prop_map(|(file, how, offset, len)| Call::Allocate { file, how, offset, len }),
        1 => (slot(), offset(), slot(), offset(), len())
            .prop_map(|(from, at, to, offset, len)| Call::Copy { from, at, to, offset, len }),
        1 => slot().prop_map(Call::State),
        1 => (slot(), path()).prop_map(|(file, path)| Call::Name { file, path }),
    ];
    let names = prop_oneof![
        3 => path().prop_map(Call::Mkdir),
        1 => path().prop_map(Call::Rmdir),
        1 => path().prop_map(Call::Unlink),
        3 => (path(), path(), moved).prop_map(|(from, to, flags)| Call::Rename { from, to, flags }),
        1 => (path(), path(), any::<bool>()).prop_map(|(from, to, follow)| Call::Link { from, to, follow }),
        2 => (path(), path()).prop_map(|(target, path)| Call::Symlink { target: target.replace("..", "."), path }),
        1 => path().prop_map(Call::Readlink),
        1 => (path(), any::<bool>()).prop_map(|(path, follow)| Call::Stat { path, follow }),
        1 => path().prop_map(Call::List),
        1 => (path(), 0..0o1000u32).prop_map(|(path, mode)| Call::Chmod { path, mode: mode | 0o700 }),
        1 => path().prop_map(Call::RealPath),
    ];
    prop_oneof![files, names]
}

/// Files that a call opened, and whether they can be written and read.
struct Opens<T>([Option<(T, bool, bool)>; 4]);

impl<T> Opens<T> {
    /// The file in a slot if it may be written (`true`) or read.
    fn get(&self, slot: usize, write: bool) -> Possibly<&T> {
        let (file, writes, reads) = self.0[slot].as_ref().ok_or(libc::EBADF)?;
        if if write { *writes } else { *reads } { Ok(file) } else { Err(libc::EBADF) }
    }

    fn put(&mut self, file: T, write: bool, flags: i32) -> Option<T> {
        let path = flags & libc::O_PATH != 0;
        let slot = self.0.iter().position(Option::is_none).unwrap_or_default();
        self.0[slot].replace((file, write && !path, !path)).map(|(file, ..)| file)
    }
}

type Possibly<T> = Result<T, i32>;

fn done<T>(result: Result<T, Errno>) -> Outcome {
    result.map(|_| "done".to_owned()).map_err(|errno| errno.0)
}

fn access(write: bool) -> i32 {
    if write { libc::O_RDWR } else { libc::O_RDONLY }
}

/// The disk's side.
struct Ours {
    disk: Disk,
    base: Inode,
    above: String,
    opens: Opens<Inode>,
}

impl Ours {
    fn new() -> Self {
        let mut disk = Disk::new(None);
        let mut above = String::new();
        for _ in 0..=DEPTH {
            above += "/0";
            disk.make_directory(0, Inode::ROOT, above.as_bytes(), 0o755).unwrap();
        }
        let base = disk.resolve(Inode::ROOT, above.as_bytes(), true).unwrap();
        Self { disk, base, above: "/0".to_owned(), opens: Opens(Default::default()) }
    }

    fn call(&mut self, call: &Call) -> Outcome {
        let (base, disk) = (self.base, &mut self.disk);
        match call {
            Call::Open { path, flags, write } => {
                let opened = disk
                    .open(1, base, path.as_bytes(), flags | access(*write), 0o600)
                    .map_err(|errno| errno.0)?;
                if let Some(old) = self.opens.put(opened.inode, *write, *flags) {
                    self.disk.close(old);
                }
                Ok(format!("{:?}", opened.kind))
            }
            Call::Close(slot) => {
                let (inode, ..) = self.opens.0[*slot].take().ok_or(libc::EBADF)?;
                self.disk.close(inode);
                Ok(String::new())
            }
            Call::Read { file, offset, len } => {
                let mut into = vec![0; *len];
                let got = disk
                    .read_at(*self.opens.get(*file, false)?, *offset, &mut into)
                    .map_err(|errno| errno.0)?;
                Ok(format!("{:?}", &into[..got]))
            }
            Call::Write { file, offset, len, byte } => {
                let file = *self.opens.get(*file, true)?;
                let written = disk.write_at(1, file, *offset, &vec![*byte; *len]).map_err(|errno| errno.0)?;
                Ok(written.to_string())
            }
            Call::Truncate { file, size } => done(disk.truncate(1, *self.opens.get(*file, true)?, *size)),
            Call::Allocate { file, how, offset, len } => {
                done(disk.allocate(1, *self.opens.get(*file, true)?, *how, *offset, *len))
            }
            Call::Copy { from, at, to, offset, len } => {
                let (from, to) = (*self.opens.get(*from, false)?, *self.opens.get(*to, true)?);
                let copied =
                    disk.copy(1, (from, *at), (to, *offset), *len as u64).map_err(|errno| errno.0)?;
                Ok(copied.to_string())
            }
            Call::State(slot) => {
                let (inode, ..) = self.opens.0[*slot].as_ref().ok_or(libc::EBADF)?;
                Ok(stated(disk.stat(*inode)))
            }
            Call::Name { file, path } => {
                let (inode, ..) = self.opens.0[*file].as_ref().ok_or(libc::EBADF)?;
                done(disk.link(1, *inode, base, path.as_bytes()))
            }
            call => self.call_names(call),
        }
    }

    fn call_names(&mut self, call: &Call) -> Outcome {
        let (base, disk) = (self.base, &mut self.disk);
        let find =
            |path: &String, follow| disk.resolve(base, path.as_bytes(), follow).map_err(|errno| errno.0);
        match call {
            Call::Mkdir(path) => done(disk.make_directory(1, base, path.as_bytes(), 0o700)),
            Call::Rmdir(path) => done(disk.remove_directory(1, base, path.as_bytes())),
            Call::Unlink(path) => done(disk.unlink(1, base, path.as_bytes())),
            Call::Rename { from, to, flags } => {
                done(disk.rename(1, (base, from.as_bytes()), (base, to.as_bytes()), *flags))
            }
            Call::Link { from, to, follow } => {
                let inode = find(from, *follow)?;
                done(disk.link(1, inode, base, to.as_bytes()))
            }
            Call::Symlink { target, path } => {
                done(disk.make_symlink(1, target.as_bytes(), base, path.as_bytes()))
            }
            Call::Readlink(path) => {
                let target = disk.read_link(find(path, false)?).map_err(|errno| errno.0)?;
                Ok(String::from_utf8_lossy(target).into_owned())
            }
            Call::Stat { path, follow } => Ok(stated(disk.stat(find(path, *follow)?))),
            Call::List(path) => {
                let directory = find(path, true)?;
                let entries = disk.list(directory).map_err(|errno| errno.0)?;
                let mut names: Vec<_> = entries
                    .iter()
                    .map(|entry| (String::from_utf8_lossy(&entry.name), entry.kind.entry_type()))
                    .collect();
                names.sort();
                Ok(format!("{names:?}"))
            }
            Call::Chmod { path, mode } => {
                let inode = find(path, true)?;
                done(disk.set_mode(1, inode, *mode))
            }
            Call::RealPath(path) => {
                let real = disk.real_path(base, path.as_bytes()).map_err(|errno| errno.0)?;
                Ok(String::from_utf8_lossy(&real).strip_prefix(&self.above).unwrap().to_owned())
            }
            _ => unreachable!("a call about files"),
        }
    }
}

fn stated(stat: Stat) -> String {
    let (size, links) = if stat.kind == Kind::Directory { (0, 0) } else { (stat.size, stat.links) };
    let kind = stat.kind.bits();
    // A symbolic link's own permissions mean nothing.
    let mode = if stat.kind == Kind::Symlink { 0 } else { stat.mode };
    format!("{kind:o} {mode:o} {size} {links}")
}

/// The machine's side.
struct Theirs {
    above: PathBuf,
    base: OwnedFd,
    opens: Opens<OwnedFd>,
    _folder: tempfile::TempDir,
}

impl Theirs {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let above = folder.path().canonicalize().unwrap();
        let base = above.join(["0"; DEPTH].join("/"));
        fs::create_dir_all(&base).unwrap();
        let base = real::open(&base, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        Self { above, base, opens: Opens(Default::default()), _folder: folder }
    }

    fn call(&mut self, call: &Call) -> Outcome {
        self.try_call(call).map_err(|errno| errno.raw_os_error())
    }

    fn try_call(&mut self, call: &Call) -> Result<String, rustix::io::Errno> {
        let base = &self.base;
        match call {
            Call::Open { path, flags, write } => {
                let bits = OFlags::from_bits_retain((flags | access(*write)).cast_unsigned());
                let file = real::openat(base, path.as_str(), bits | OFlags::CLOEXEC, Mode::from(0o600))?;
                let kind = real::FileType::from_raw_mode(real::fstat(&file)?.st_mode);
                self.opens.put(file, *write, *flags);
                Ok(match kind {
                    real::FileType::RegularFile => "File".to_owned(),
                    kind => format!("{kind:?}"),
                })
            }
            Call::Close(slot) => {
                self.opens.0[*slot].take().map(|_| String::new()).ok_or(rustix::io::Errno::BADF)
            }
            Call::Read { file, offset, len } => {
                let mut into = vec![0; *len];
                let got = rustix::io::pread(self.file(*file, false)?, &mut into, *offset)?;
                Ok(format!("{:?}", &into[..got]))
            }
            Call::Write { file, offset, len, byte } => {
                Ok(rustix::io::pwrite(self.file(*file, true)?, &vec![*byte; *len], *offset)?.to_string())
            }
            Call::Truncate { file, size } => gone(real::ftruncate(self.file(*file, true)?, *size)),
            Call::Allocate { file, how, offset, len } => {
                gone(real::fallocate(self.file(*file, true)?, mode(*how), *offset, *len))
            }
            Call::Copy { from, at, to, offset, len } => {
                let (from, to) = (self.file(*from, false)?, self.file(*to, true)?);
                let (mut at, mut offset) = (*at, *offset);
                Ok(real::copy_file_range(from, Some(&mut at), to, Some(&mut offset), *len)?.to_string())
            }
            Call::State(slot) => {
                let (file, ..) = self.opens.0[*slot].as_ref().ok_or(rustix::io::Errno::BADF)?;
                Ok(told(&real::fstat(file)?))
            }
            Call::Name { file, path } => {
                let (file, ..) = self.opens.0[*file].as_ref().ok_or(rustix::io::Errno::BADF)?;
                let name = format!("/proc/self/fd/{}", file.as_raw_fd());
                gone(real::linkat(real::CWD, name.as_str(), base, path.as_str(), AtFlags::SYMLINK_FOLLOW))
            }
            call => self.call_names(call),
        }
    }

    fn call_names(&self, call: &Call) -> Result<String, rustix::io::Errno> {
        let base = &self.base;
        match call {
            Call::Mkdir(path) => gone(real::mkdirat(base, path.as_str(), Mode::from(0o700))),
            Call::Rmdir(path) => gone(real::unlinkat(base, path.as_str(), AtFlags::REMOVEDIR)),
            Call::Unlink(path) => gone(real::unlinkat(base, path.as_str(), AtFlags::empty())),
            Call::Rename { from, to, flags } => gone(real::renameat_with(
                base,
                from.as_str(),
                base,
                to.as_str(),
                RenameFlags::from_bits_retain(*flags),
            )),
            Call::Link { from, to, follow } => {
                let flags = if *follow { AtFlags::SYMLINK_FOLLOW } else { AtFlags::empty() };
                gone(real::linkat(base, from.as_str(), base, to.as_str(), flags))
            }
            Call::Symlink { target, path } => gone(real::symlinkat(target.as_str(), base, path.as_str())),
            Call::Readlink(path) => {
                Ok(real::readlinkat(base, path.as_str(), Vec::new())?.to_string_lossy().into_owned())
            }
            Call::Stat { path, follow } => {
                let flags = if *follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
                Ok(told(&real::statat(base, path.as_str(), flags)?))
            }
            Call::List(path) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let folder = real::openat(base, path.as_str(), flags, Mode::empty())?;
                let dots = [c".".to_owned(), c"..".to_owned()];
                let entries = real::Dir::new(folder)?.map(|entry| entry.unwrap());
                let mut names: Vec<_> = entries
                    .filter(|entry| !dots.contains(&CString::from(entry.file_name())))
                    .map(|entry| {
                        (entry.file_name().to_string_lossy().into_owned(), entry_type(entry.file_type()))
                    })
                    .collect();
                names.sort();
                Ok(format!("{names:?}"))
            }
            Call::Chmod { path, mode } => {
                gone(real::chmodat(base, path.as_str(), Mode::from(*mode), AtFlags::empty()))
            }
            Call::RealPath(path) => {
                // An empty path is nothing, and not the directory that the rest begins with.
                if path.is_empty() {
                    return Err(rustix::io::Errno::NOENT);
                }
                let whole = Path::new("/proc/self/fd").join(base.as_raw_fd().to_string()).join(path);
                let found = fs::canonicalize(whole)
                    .map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap())?;
                let bytes = found.into_os_string().into_vec();
                let rest = bytes.strip_prefix(self.above.as_os_str().as_bytes()).unwrap();
                Ok(String::from_utf8_lossy(rest).into_owned())
            }
            _ => unreachable!("a call about files"),
        }
    }

    fn file(&self, slot: usize, write: bool) -> Result<&OwnedFd, rustix::io::Errno> {
        self.opens.get(slot, write).map_err(rustix::io::Errno::from_raw_os_error)
    }
}

fn gone(result: rustix::io::Result<()>) -> Result<String, rustix::io::Errno> {
    result.map(|()| "done".to_owned())
}

fn mode(how: Allocate) -> FallocateFlags {
    match how {
        Allocate::Extend => FallocateFlags::empty(),
        Allocate::KeepSize => FallocateFlags::KEEP_SIZE,
        Allocate::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        Allocate::ZeroRange => FallocateFlags::ZERO_RANGE,
        Allocate::ZeroKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
    }
}

fn entry_type(kind: real::FileType) -> u8 {
    match kind {
        real::FileType::RegularFile => libc::DT_REG,
        real::FileType::Directory => libc::DT_DIR,
        real::FileType::Symlink => libc::DT_LNK,
        _ => libc::DT_UNKNOWN,
    }
}

fn told(stat: &real::Stat) -> String {
    let kind = stat.st_mode & libc::S_IFMT;
    let (size, links) = if kind == libc::S_IFDIR { (0, 0) } else { (stat.st_size, stat.st_nlink) };
    let mode = if kind == libc::S_IFLNK { 0 } else { stat.st_mode & 0o7777 };
    format!("{kind:o} {mode:o} {size} {links}")
}

/// What a whole tree looks like: each path with what stat(2) tells, and where it leads or what is in it.
fn tree(side: &mut impl FnMut(&Call) -> Outcome, path: &str, out: &mut Vec<String>) {
    for name in ["a", "b", "c", "d"]
        .map(|name| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") })
    {
        let Ok(state) = side(&Call::Stat { path: name.clone(), follow: false }) else { continue };
        let link = side(&Call::Readlink(name.clone()));
        out.push(format!("{name} {state} {link:?}"));
        if state.starts_with("40000 ") {
            tree(side, &name, out);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_disk_does_as_the_machine_does(calls in prop::collection::vec(call(), 1..80)) {
        let (mut ours, mut theirs) = (Ours::new(), Theirs::new());
        for (number, call) in calls.iter().enumerate() {
            let (mine, other) = (ours.call(call), theirs.call(call));
            if other == Err(libc::EOPNOTSUPP) {
                // Not every file system of a machine has all of it; the two have gone apart here.
                return Ok(());
            }
            prop_assert_eq!(mine, other, "call {} of {:#?}", number, &calls[..=number]);
        }
        let (mut mine, mut other) = (Vec::new(), Vec::new());
        tree(&mut |call| ours.call(call), "", &mut mine);
        tree(&mut |call| theirs.call(call), "", &mut other);
        prop_assert_eq!(mine, other);
        audit(&ours.disk);
    }
}
