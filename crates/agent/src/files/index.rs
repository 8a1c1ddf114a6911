//! Which content lies where on this host: a file that was put and not touched since can be copied instead of sent.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files remembered; the oldest are not forgotten first, all are: it is only a saving.
const REMEMBERED_MAX: usize = 16_384;

/// Where content with a known hash was put.
#[derive(Debug, Default)]
pub(crate) struct Index {
    files: HashMap<blake3::Hash, Place>,
}

#[derive(Clone, Debug)]
struct Place {
    path: PathBuf,
    stamp: Stamp,
}

/// What changes when a file does.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }
}

impl Index {
    /// Remembers that `path` holds content of `hash`, which was just written there.
    pub(crate) fn remember(&mut self, hash: blake3::Hash, path: &Path) {
        let Ok(data) = std::fs::metadata(path) else { return };
        if self.files.len() >= REMEMBERED_MAX {
            self.files.clear();
        }
        self.files.insert(hash, Place { path: path.to_owned(), stamp: Stamp::of(&data) });
    }

    /// A file that still holds content of `hash`.
    pub(crate) fn find(&mut self, hash: &blake3::Hash) -> Option<PathBuf> {
        let place = self.files.get(hash)?;
        let is_same = std::fs::metadata(&place.path).is_ok_and(|data| Stamp::of(&data) == place.stamp);
        if is_same {
            return Some(place.path.clone());
        }
        self.files.remove(hash);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touched_file_is_not_taken_for_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "one").unwrap();
        let (mut index, hash) = (Index::default(), blake3::hash(b"one"));
        index.remember(hash, &path);
        assert_eq!(index.find(&hash), Some(path.clone()));
        std::fs::write(&path, "two").unwrap();
        assert_eq!(index.find(&hash), None);
        assert_eq!(index.find(&hash), None, "and it is forgotten");
    }
}
