//! Power loss by chance: whatever happened before, each file and each directory is as it was at some moment since it was
//! last synced, and nothing is lost or found that was not.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Directories that are there from the begin and move about; the first one is the root of the others.
const FOLDERS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Create { folder: usize, name: usize },
    Write { folder: usize, name: usize, offset: u64, len: usize },
    Truncate { folder: usize, name: usize, size: u64 },
    Unlink { folder: usize, name: usize },
    Link { folder: usize, name: usize, to: usize, as_name: usize },
    Rename { folder: usize, name: usize, to: usize, as_name: usize, exchange: bool },
    Move { folder: usize, to: usize },
    Sync { folder: usize, name: usize, data: bool },
    SyncFolder(usize),
    SyncAll,
    Crash { strict: bool, seed: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let folder = || 0..FOLDERS;
    let name = || 0..3usize;
    let offset = || prop_oneof![0..2000u64, 4000..4200u64, 0..20_000u64];
    let moved = (folder(), name(), folder(), name(), prop::bool::weighted(0.2));
    prop_oneof![
        6 => (folder(), name()).prop_map(|(folder, name)| Step::Create { folder, name }),
        6 => (folder(), name(), offset(), 1..6000usize)
            .prop_map(|(folder, name, offset, len)| Step::Write { folder, name, offset, len }),
        1 => (folder(), name(), offset()).prop_map(|(folder, name, size)| Step::Truncate { folder, name, size }),
        1 => (folder(), name()).prop_map(|(folder, name)| Step::Unlink { folder, name }),
        1 => (folder(), name(), folder(), name())
            .prop_map(|(folder, name, to, as_name)| Step::Link { folder, name, to, as_name }),
        4 => moved.prop_map(|(folder, name, to, as_name, exchange)| Step::Rename { folder, name, to, as_name, exchange }),
        2 => (1..FOLDERS, folder()).prop_map(|(folder, to)| Step::Move { folder, to }),
        3 => (folder(), name(), any::<bool>()).prop_map(|(folder, name, data)| Step::Sync { folder, name, data }),
        1 => folder().prop_map(Step::SyncFolder),
        1 => Just(Step::SyncAll),
        1 => (any::<bool>(), any::<u64>()).prop_map(|(strict, seed)| Step::Crash { strict, seed }),
    ]
}

/// When a node was made, by which it is known again after power loss.
type Made = u64;

/// What a file or directory was at each moment since it was last synced; the first is what was synced.
type Moments<T> = Vec<T>;

struct World {
    disk: Disk,
    now: u64,
    torn: bool,
    folders: Vec<Inode>,
    files: BTreeMap<Made, Moments<Vec<u8>>>,
    names: BTreeMap<Made, Moments<BTreeMap<String, Made>>>,
    /// Where and when a file got its first name: its directory and the moment there.
    births: BTreeMap<Made, (Made, usize)>,
    /// Files that had a durable name and lost none since.
    safe: BTreeSet<Made>,
}

fn word(name: usize) -> String {
    ["a", "b", "c"][name].to_owned()
}

impl World {
    fn new(torn: bool) -> Self {
        let mut disk = Disk::new(None);
        let mut folders = Vec::new();
        for number in 0..FOLDERS {
            let path = if number == 0 { "/w".to_owned() } else { format!("/w/x{number}") };
            let now = number as u64 + 1;
            folders.push(disk.make_directory(now, Inode::ROOT, path.as_bytes(), 0o755).unwrap());
        }
        disk.sync_all();
        disk.set_faults(Faults { torn, ..Faults::default() });
        let mut world = Self {
            disk,
            now: 100,
            torn,
            folders,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            births: BTreeMap::new(),
            safe: BTreeSet::new(),
        };
        world.begin();
        world
    }

    /// Takes what is as what is durable.
    fn begin(&mut self) {
        (self.files, self.names) = (BTreeMap::new(), BTreeMap::new());
        (self.births, self.safe) = (BTreeMap::new(), BTreeSet::new());
        for folder in self.folders.clone() {
            self.names.insert(self.disk.stat(folder).created, vec![self.look(folder)]);
            for entry in self.disk.list(folder).unwrap() {
                if entry.kind == Kind::File {
                    let made = self.disk.stat(entry.inode).created;
                    self.files.insert(made, vec![self.read(entry.inode)]);
                    self.safe.insert(made);
                }
            }
        }
    }

    fn look(&self, folder: Inode) -> BTreeMap<String, Made> {
        let entries = self.disk.list(folder).unwrap();
        let made = |entry: &Entry| self.disk.stat(entry.inode).created;
        entries.iter().map(|entry| (String::from_utf8_lossy(&entry.name).into_owned(), made(entry))).collect()
    }

    fn read(&self, file: Inode) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.disk.stat(file).size).unwrap()];
        self.disk.read_at(file, 0, &mut bytes).unwrap();
        bytes
    }

    fn find(&self, folder: usize, name: usize) -> Option<Inode> {
        self.disk.resolve(self.folders[folder], word(name).as_bytes(), false).ok()
    }

    fn do_step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.now += 1;
        match step {
            Step::Crash { strict, seed } => return self.crash(*strict, *seed),
            Step::Write { folder, name, .. } | Step::Truncate { folder, name, .. } => {
                if let Some(file) = self.find(*folder, *name) {
                    self.change(file, step);
                    let now = self.read(file);
                    self.files.get_mut(&self.disk.stat(file).created).unwrap().push(now);
                }
            }
            Step::Sync { .. } | Step::SyncFolder(_) | Step::SyncAll => self.sync(step),
            step => {
                let before = self.everything();
                self.change_names(step);
                self.note_names(&before);
            }
        }
        Ok(())
    }

    /// How many names each file has.
    fn everything(&self) -> BTreeMap<Made, usize> {
        let mut names = BTreeMap::new();
        for made in self.folders.iter().flat_map(|folder| self.look(*folder).into_values()) {
            *names.entry(made).or_default() += 1;
        }
        names
    }

    fn change(&mut self, file: Inode, step: &Step) {
        match step {
            Step::Write { offset, len, .. } => {
                let byte = u8::try_from(self.now % 255 + 1).unwrap();
                self.disk.write_at(self.now, file, *offset, &vec![byte; *len]).unwrap();
            }
            Step::Truncate { size, .. } => self.disk.truncate(self.now, file, *size).unwrap(),
            _ => unreachable!("a step that changes contents"),
        }
    }

    /// Whether it is possible is not what is asked here.
    fn change_names(&mut self, step: &Step) {
        let (now, at) = (self.now, |folder: &usize| self.folders[*folder]);
        let _ = match step {
            Step::Create { folder, name } => {
                let flags = libc::O_CREAT | libc::O_EXCL;
                let opened = self.disk.open(now, at(folder), word(*name).as_bytes(), flags, 0o600);
                opened.map(|opened| {
                    self.disk.close(opened.inode);
                    self.files.insert(now, vec![Vec::new()]);
                    let above = self.disk.stat(self.folders[*folder]).created;
                    self.births.insert(now, (above, self.names[&above].len()));
                })
            }
            Step::Unlink { folder, name } => self.disk.unlink(now, at(folder), word(*name).as_bytes()),
            Step::Link { folder, name, to, as_name } => match self.find(*folder, *name) {
                Some(file) => self.disk.link(now, file, at(to), word(*as_name).as_bytes()),
                None => Ok(()),
            },
            Step::Rename { folder, name, to, as_name, exchange } => {
                let (from, to) = ((at(folder), word(*name)), (at(to), word(*as_name)));
                let flags = if *exchange { libc::RENAME_EXCHANGE } else { 0 };
                self.disk.rename(now, (from.0, from.1.as_bytes()), (to.0, to.1.as_bytes()), flags)
            }
            Step::Move { folder, to } => {
                let (path, name) = (self.disk.path(self.folders[*folder]).unwrap(), format!("x{folder}"));
                self.disk.rename(now, (Inode::ROOT, &path), (at(to), name.as_bytes()), 0)
            }
            _ => unreachable!("a step that changes names"),
        };
    }

    fn note_names(&mut self, before: &BTreeMap<Made, usize>) {
        let after = self.everything();
        self.safe.retain(|made| after.get(made) >= before.get(made));
        for folder in self.folders.clone() {
            let now = self.look(folder);
            let moments = self.names.get_mut(&self.disk.stat(folder).created).unwrap();
            if moments.last() != Some(&now) {
                moments.push(now);
            }
        }
    }

    fn sync(&mut self, step: &Step) {
        match step {
            Step::Sync { folder, name, data } => {
                let Some(file) = self.find(*folder, *name) else { return };
                if *data {
                    self.disk.sync_data(file)
                } else {
                    self.disk.sync(file)
                }
                let made = self.disk.stat(file).created;
                keep_last(self.files.get_mut(&made).unwrap());
                if let Some((above, moment)) = self.births.remove(&made) {
                    self.made_durable(above, moment);
                    self.safe.insert(made);
                }
            }
            Step::SyncFolder(folder) => {
                self.disk.sync(self.folders[*folder]);
                let above = self.disk.stat(self.folders[*folder]).created;
                let last = self.names[&above].len() - 1;
                self.made_durable(above, last);
                self.safe.extend(
                    self.look(self.folders[*folder])
                        .into_values()
                        .filter(|made| self.files.contains_key(made)),
                );
            }
            _ => {
                self.disk.sync_all();
                self.begin();
            }
        }
    }

    /// Drops the moments of a directory before this one.
    fn made_durable(&mut self, above: Made, moment: usize) {
        let moments = self.names.get_mut(&above).unwrap();
        moments.drain(..moment);
        for (folder, at) in self.births.values_mut() {
            if *folder == above {
                *at = at.saturating_sub(moment);
            }
        }
    }

    fn crash(&mut self, strict: bool, seed: u64) -> Result<(), TestCaseError> {
        let crash = if strict { Crash::Strict } else { Crash::Chance };
        self.disk.crash(crash, &mut Random::new(seed, "crash"));
        let mut seen = BTreeSet::new();
        let mut reached = vec![self.folders[0]];
        while let Some(folder) = reached.pop() {
            let made = self.disk.stat(folder).created;
            prop_assert!(seen.insert(made), "a directory has one name");
            let names = self.look(folder);
            prop_assert!(self.names[&made].contains(&names), "{:?} of {:#?}", names, self.names[&made]);
            for entry in self.disk.list(folder).unwrap() {
                match entry.kind {
                    Kind::Directory => reached.push(entry.inode),
                    _ => self.check_file(entry.inode, strict)?,
                }
            }
        }
        prop_assert_eq!(seen.len(), FOLDERS, "no directory is lost");
        let names = self.everything();
        for made in &self.safe {
            prop_assert!(names.contains_key(made), "{} is lost", made);
        }
        audit(&self.disk);
        self.begin();
        Ok(())
    }

    fn check_file(&self, file: Inode, strict: bool) -> Result<(), TestCaseError> {
        let moments = &self.files[&self.disk.stat(file).created];
        let now = self.read(file);
        if strict {
            prop_assert_eq!(&now, &moments[0]);
        } else if !self.torn {
            prop_assert!(moments.contains(&now), "{:?} is none of {} moments", now.len(), moments.len());
        } else {
            let byte = |moment: &Vec<u8>, at: usize| moment.get(at).copied().unwrap_or_default();
            for (at, found) in now.iter().enumerate() {
                prop_assert!(moments.iter().any(|moment| byte(moment, at) == *found), "{} at {}", found, at);
            }
            prop_assert!(moments.iter().any(|moment| moment.len() == now.len()));
        }
        Ok(())
    }
}

fn keep_last<T>(moments: &mut Moments<T>) {
    moments.drain(..moments.len() - 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn power_loss_leaves_a_moment_since_the_last_sync(
        torn in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
        seed in any::<u64>(),
    ) {
        let mut world = World::new(torn);
        for step in &steps {
            world.do_step(step)?;
        }
        audit(&world.disk);
        world.crash(false, seed)?;
    }
}
