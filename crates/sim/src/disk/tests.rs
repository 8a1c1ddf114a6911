//! What is asked of a disk: by example, by chance beside the file system of the machine, and by chance against its own
//! promises about power loss.

mod agreement;
mod contents;
mod faults;
mod files;
mod locks;
mod names;
mod power;
mod survival;

use super::*;
use crate::Random;

const READ: i32 = libc::O_RDONLY;
const WRITE: i32 = libc::O_RDWR | libc::O_CREAT;

/// A disk and the few things that most tests do with it, by paths from the root.
struct Host {
    disk: Disk,
    now: u64,
}

impl Host {
    fn new() -> Self {
        Self { disk: Disk::new(None), now: 1 }
    }

    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn open(&mut self, path: &str, flags: i32) -> Result<Inode> {
        let now = self.tick();
        self.disk.open(now, Inode::ROOT, path.as_bytes(), flags, 0o644).map(|opened| opened.inode)
    }

    /// Opens a file, new or not, and leaves it open.
    fn file(&mut self, path: &str) -> Inode {
        self.open(path, WRITE).unwrap()
    }

    fn write(&mut self, path: &str, text: &str) -> Inode {
        let file = self.file(path);
        self.put(file, 0, text.as_bytes());
        file
    }

    fn put(&mut self, file: Inode, offset: u64, bytes: &[u8]) {
        let now = self.tick();
        assert_eq!(self.disk.write_at(now, file, offset, bytes), Ok(bytes.len()));
    }

    fn make(&mut self, path: &str) -> Result<Inode> {
        let now = self.tick();
        self.disk.make_directory(now, Inode::ROOT, path.as_bytes(), 0o755)
    }

    fn symlink(&mut self, target: &str, path: &str) -> Result<Inode> {
        let now = self.tick();
        self.disk.make_symlink(now, target.as_bytes(), Inode::ROOT, path.as_bytes())
    }

    fn rename(&mut self, from: &str, to: &str, flags: u32) -> Result<()> {
        let now = self.tick();
        self.disk.rename(now, (Inode::ROOT, from.as_bytes()), (Inode::ROOT, to.as_bytes()), flags)
    }

    fn link(&mut self, from: &str, to: &str) -> Result<()> {
        let now = self.tick();
        let inode = self.find(from)?;
        self.disk.link(now, inode, Inode::ROOT, to.as_bytes())
    }

    fn unlink(&mut self, path: &str) -> Result<()> {
        let now = self.tick();
        self.disk.unlink(now, Inode::ROOT, path.as_bytes())
    }

    fn remove(&mut self, path: &str) -> Result<()> {
        let now = self.tick();
        self.disk.remove_directory(now, Inode::ROOT, path.as_bytes())
    }

    fn find(&self, path: &str) -> Result<Inode> {
        self.disk.resolve(Inode::ROOT, path.as_bytes(), false)
    }

    fn sync(&mut self, path: &str) {
        let inode = self.find(path).unwrap();
        self.disk.sync(inode);
    }

    fn crash(&mut self, crash: Crash) {
        self.disk.crash(crash, &mut Random::new(7, "crash"));
    }

    fn text(&self, path: &str) -> Result<String> {
        self.disk.contents(path.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn names(&self, path: &str) -> Vec<String> {
        let entries = self.disk.list(self.find(path).unwrap()).unwrap();
        let mut names: Vec<_> =
            entries.iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect();
        names.sort();
        names
    }
}

/// That a disk's counts are those of what is on it.
fn audit(disk: &Disk) {
    let nodes = || disk.nodes.iter().flatten();
    let present = || nodes().filter(|node| !node.gone);
    assert_eq!(disk.live, present().count() as u64, "nodes");
    assert_eq!(disk.used, present().map(Node::pages).sum::<u64>(), "pages");
    assert_eq!(disk.nodes.len(), nodes().count() + disk.free.len(), "inodes to be used again");
    for node in present().filter(|node| node.is_directory()) {
        let directory = node.directory().unwrap();
        let below = directory.names.values().filter(|inode| disk.node(**inode).is_directory());
        assert_eq!(directory.directories as usize, below.count(), "directories in a directory");
        let mut recounted = Directory::new(directory.parent);
        recounted.names = directory.names.clone();
        recounted.recount();
        assert_eq!(directory.bytes, recounted.bytes, "bytes of names");
    }
    let mut pins = disk.pending.pins();
    for inode in
        nodes().filter_map(|node| node.directory().ok()).flat_map(|directory| directory.durable.values())
    {
        *pins.entry(*inode).or_default() += 1;
    }
    for (node, number) in disk.nodes.iter().zip(0..) {
        let expected = pins.get(&Inode(number)).copied().unwrap_or_default();
        assert_eq!(node.as_ref().map_or(0, |node| node.pins), expected, "pins of {number}");
    }
}
