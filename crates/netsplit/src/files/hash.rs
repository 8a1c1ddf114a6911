//! The hashes of this machine's files, remembered for as long as a file looks the same.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

use super::unreadable;
use crate::error::Result;

/// Hashes remembered in this process.
const HASHES_MAX: usize = 4096;
/// Bytes hashed at a time.
const CHUNK: usize = 256 << 10;
/// From this size on several threads hash a file.
const SPLIT_MIN: u64 = 16 << 20;
/// A file that changed so lately may change again without looking different: file systems count time in ticks.
const SETTLED_AFTER: Duration = Duration::from_millis(50);

/// A file's blake3 hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed {
    pub(super) hash: blake3::Hash,
    pub(super) size: u64,
    /// How the file looked, if that is enough to know it by.
    pub(super) stamp: Option<Stamp>,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp([i128; 5]);

impl Stamp {
    pub(super) fn of(data: &Metadata) -> Self {
        let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let (modified, changed) =
            (time(data.mtime(), data.mtime_nsec()), time(data.ctime(), data.ctime_nsec()));
        Self([data.dev().into(), data.ino().into(), data.size().into(), modified, changed])
    }

    /// Whether any change after `now`, the time since 1970, will show.
    fn is_settled(&self, now: Duration) -> bool {
        let Self([.., modified, changed]) = self;
        let settled = now.saturating_sub(SETTLED_AFTER).as_nanos();
        i128::try_from(settled).is_ok_and(|settled| *modified.max(changed) < settled)
    }
}

type Slot = Arc<Mutex<Option<blake3::Hash>>>;

/// The hash of a file. Many hosts that want the same file at once cost one look.
pub(super) fn file(path: &Path) -> Result<Hashed> {
    let wrong = |error: io::Error| unreadable(path, &error);
    let file = File::open(path).map_err(wrong)?;
    let data = file.metadata().map_err(wrong)?;
    let stamp = Stamp::of(&data);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if !stamp.is_settled(now) {
        return Ok(Hashed { hash: read(&file, data.len()).map_err(wrong)?, size: data.len(), stamp: None });
    }
    let slot = slot(stamp);
    let mut known = lock(&slot);
    if let Some(hash) = *known {
        return Ok(Hashed { hash, size: data.len(), stamp: Some(stamp) });
    }
    let hash = read(&file, data.len()).map_err(wrong)?;
    let is_same = Stamp::of(&std::fs::metadata(path).map_err(wrong)?) == stamp;
    if is_same {
        *known = Some(hash);
    }
    Ok(Hashed { hash, size: data.len(), stamp: is_same.then_some(stamp) })
}

/// Where the hash of such a file is kept, or will be by whoever is at it.
fn slot(stamp: Stamp) -> Slot {
    static KNOWN: Mutex<Option<HashMap<Stamp, Slot>>> = Mutex::new(None);
    let mut known = lock(&KNOWN);
    let known = known.get_or_insert_default();
    if known.len() >= HASHES_MAX {
        known.clear();
    }
    Arc::clone(known.entry(stamp).or_default())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(file: &File, size: u64) -> io::Result<blake3::Hash> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    if size < SPLIT_MIN || threads == 1 {
        let mut hasher = blake3::Hasher::new();
        update(&mut hasher, file, 0, u64::MAX)?;
        return Ok(hasher.finalize());
    }
    // Halves are seldom equal: twice as many parts as processors even that out.
    let [left, right] = halves(file, 0, size, threads.ilog2() + 1)?;
    Ok(merge_subtrees_root(&left, &right, Mode::Hash))
}

/// The two subtrees of a part of a file, the left one on a thread of its own.
fn halves(file: &File, from: u64, size: u64, depth: u32) -> io::Result<[ChainingValue; 2]> {
    let middle = left_subtree_len(size);
    std::thread::scope(|scope| {
        let left = scope.spawn(|| subtree(file, from, middle, depth - 1));
        let right = subtree(file, from + middle, size - middle, depth - 1)?;
        let left = left.join().map_err(|_| io::Error::other("a thread that hashed ended badly"))??;
        Ok([left, right])
    })
}

fn subtree(file: &File, from: u64, size: u64, depth: u32) -> io::Result<ChainingValue> {
    if depth > 0 && size >= SPLIT_MIN {
        let [left, right] = halves(file, from, size, depth)?;
        return Ok(merge_subtrees_non_root(&left, &right, Mode::Hash));
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(from);
    update(&mut hasher, file, from, size)?;
    if hasher.count() < size {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
    }
    Ok(hasher.finalize_non_root())
}

/// Adds so many bytes of a file, or all that there are.
fn update(hasher: &mut blake3::Hasher, file: &File, mut from: u64, size: u64) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut left = size;
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK);
        let count = match file.read_at(&mut chunk[..some], from) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        hasher.update(&chunk[..count]);
        from += count as u64;
        left -= count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_just_changed_is_not_known_by_its_looks() {
        let stamp = Stamp([1, 1, 1, 5_000_000_000, 7_000_000_000]);
        assert!(!stamp.is_settled(Duration::from_secs(7)));
        assert!(!stamp.is_settled(Duration::from_secs(7) + SETTLED_AFTER));
        assert!(stamp.is_settled(Duration::from_millis(7001) + SETTLED_AFTER));
    }

    #[test]
    fn a_file_at_rest_is_hashed_again_once_it_changes() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, "one").unwrap();
        std::thread::sleep(SETTLED_AFTER * 2);
        let hashed = file(&path).unwrap();
        assert!(hashed.stamp.is_some());
        std::fs::write(&path, "two").unwrap();
        assert_eq!(file(&path).unwrap().hash, blake3::hash(b"two"));
    }

    #[test]
    fn many_threads_come_to_the_same_hash_as_one() {
        use std::io::Write;
        for size in [SPLIT_MIN, SPLIT_MIN + 1, 3 * SPLIT_MIN + 4097] {
            let bytes: Vec<u8> = (0..size).map(|at| ((at / 1021 + at) % 251).try_into().unwrap()).collect();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let [left, right] = halves(&file, 0, size, 3).unwrap();
            assert_eq!(merge_subtrees_root(&left, &right, Mode::Hash), blake3::hash(&bytes), "{size}");
            assert_eq!(read(&file, size).unwrap(), blake3::hash(&bytes), "{size}");
        }
    }
}
