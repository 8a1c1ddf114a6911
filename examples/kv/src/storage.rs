//! What a member must remember when its power is gone: the ballot, in a small file that is replaced as a whole, and the
//! log, in a file that is appended to.
//!
//! A record of the log is its length, the CRC-32 of the rest, and the entry as JSON. Behind the last record that is whole
//! there may be remains of writes that were never synced; nobody was told of them, and they are cut off.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::message::{Ballot, Entry};

/// Bytes of length and checksum.
const HEAD_BYTES: usize = 8;
/// Bytes of an entry at most: a value of 64 KiB that JSON escapes, and the rest.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// The files of one member.
#[derive(Debug)]
pub(crate) struct Storage {
    folder: PathBuf,
    log: File,
    /// Where each record ends.
    ends: Vec<u64>,
    /// Whether something was written and not synced.
    is_dirty: bool,
}

/// What was found in the files.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    pub(crate) ballot: Ballot,
    pub(crate) entries: Vec<Entry>,
}

impl Storage {
    /// Opens the files in `folder`, or makes them.
    ///
    /// # Errors
    /// When the folder or a file cannot be used, or has something else in it.
    pub(crate) async fn open(folder: &Path) -> io::Result<(Self, Saved)> {
        create_folder(folder).await?;
        let ballot = match fs::read(folder.join("ballot")).await {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ballot::default(),
            Err(error) => return Err(error),
        };
        let path = folder.join("log");
        let log = OpenOptions::new().append(true).create(true).open(&path).await?;
        let (entries, ends) = parse(&fs::read(&path).await?)?;
        log.set_len(ends.last().copied().unwrap_or(0)).await?;
        // What was read may be in memory only, when the program before ended between writing and syncing.
        log.sync_all().await?;
        sync_folder(folder).await?;
        let storage = Self { folder: folder.to_owned(), log, ends, is_dirty: false };
        Ok((storage, Saved { ballot, entries }))
    }

    /// Replaces the ballot; it is safe when this returns.
    ///
    /// # Errors
    /// When that fails: what the file says is then unknown.
    pub(crate) async fn save_ballot(&self, ballot: &Ballot) -> io::Result<()> {
        let new = self.folder.join("ballot.new");
        let mut file = File::create(&new).await?;
        file.write_all(&serde_json::to_vec(ballot)?).await?;
        file.flush().await?;
        file.sync_all().await?;
        fs::rename(&new, self.folder.join("ballot")).await?;
        sync_folder(&self.folder).await
    }

    /// Keeps the first `kept` entries and writes `entries` behind them. They are safe after [`sync`](Self::sync).
    ///
    /// # Errors
    /// When that fails: what the file says is then unknown.
    pub(crate) async fn write(&mut self, kept: usize, entries: &[Entry]) -> io::Result<()> {
        if kept < self.ends.len() {
            self.ends.truncate(kept);
            self.log.set_len(self.end()).await?;
            // Otherwise an old record could be whole behind a new one that has taken the place of its neighbour.
            self.log.sync_data().await?;
        }
        if entries.is_empty() {
            return Ok(());
        }
        let (begin, mut bytes) = (self.end(), Vec::new());
        for entry in entries {
            write_record(entry, &mut bytes)?;
            self.ends.push(begin + bytes.len() as u64);
        }
        self.log.write_all(&bytes).await?;
        self.log.flush().await?;
        self.is_dirty = true;
        Ok(())
    }

    /// Whether something was written and not synced.
    pub(crate) fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Waits until all that was written is on the disk.
    ///
    /// # Errors
    /// When that fails: what is on the disk is then unknown.
    pub(crate) async fn sync(&mut self) -> io::Result<()> {
        if self.is_dirty {
            self.log.sync_data().await?;
            self.is_dirty = false;
        }
        Ok(())
    }

    fn end(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }
}

/// Makes `folder` and what it lies in, so that it outlasts a loss of power.
async fn create_folder(folder: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for folder in folder.ancestors() {
        if folder.as_os_str().is_empty() || fs::try_exists(folder).await? {
            break;
        }
        missing.push(folder);
    }
    for folder in missing.into_iter().rev() {
        fs::create_dir(folder).await?;
        sync_folder(parent(folder)).await?;
    }
    // Also when it was there: whoever made it may have ended before this.
    sync_folder(parent(folder)).await
}

fn parent(folder: &Path) -> &Path {
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or_else(|| Path::new("."))
}

/// Makes safe which files are in `folder`, and under which names.
async fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder).await?.sync_all().await
}

fn write_record(entry: &Entry, bytes: &mut Vec<u8>) -> io::Result<()> {
    let payload = serde_json::to_vec(entry)?;
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(crc32fast::hash(&payload).to_le_bytes());
    bytes.extend(payload);
    Ok(())
}

/// The entries of all whole records from the first on, and where each ends.
fn parse(bytes: &[u8]) -> io::Result<(Vec<Entry>, Vec<u64>)> {
    let (mut entries, mut ends, mut rest) = (Vec::new(), Vec::new(), bytes);
    while let Some((payload, behind)) = record(rest) {
        entries.push(serde_json::from_slice(payload)?);
        rest = behind;
        ends.push((bytes.len() - rest.len()) as u64);
    }
    Ok((entries, ends))
}

/// The payload of the first record and what is behind it; `None` when it is not whole.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
    let (length, crc) = head.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    // Zeros, which a file may have where nothing came to the disk, are no record though their checksum fits.
    if length == 0 || length > ENTRY_BYTES_MAX {
        return None;
    }
    let (payload, behind) = rest.split_at_checked(length)?;
    (crc32fast::hash(payload).to_le_bytes() == *crc).then_some((payload, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Put;

    fn entry(sequence: u64) -> Entry {
        let put = Put { client: 1, sequence, key: "x".into(), value: "v".repeat(20) };
        Entry { term: 1, put: Some(put) }
    }

    async fn entries(folder: &Path) -> Vec<Entry> {
        Storage::open(folder).await.unwrap().1.entries
    }

    #[tokio::test]
    async fn what_was_saved_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("some/where");
        let (mut storage, saved) = Storage::open(&folder).await.unwrap();
        assert_eq!((saved.ballot, saved.entries), (Ballot::default(), Vec::new()));
        let ballot = Ballot { term: 7, vote: Some("b".into()) };
        storage.save_ballot(&ballot).await.unwrap();
        storage.write(0, &[entry(1), entry(2), entry(3)]).await.unwrap();
        storage.write(1, &[entry(4)]).await.unwrap();
        storage.sync().await.unwrap();
        let (mut storage, saved) = Storage::open(&folder).await.unwrap();
        assert_eq!((saved.ballot, saved.entries), (ballot, vec![entry(1), entry(4)]));
        storage.write(2, &[entry(5)]).await.unwrap();
        assert_eq!(entries(&folder).await, [entry(1), entry(4), entry(5)]);
    }

    #[tokio::test]
    async fn remains_of_a_write_are_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let (mut storage, _) = Storage::open(folder.path()).await.unwrap();
        storage.write(0, &[entry(1), entry(2)]).await.unwrap();
        let whole = fs::read(folder.path().join("log")).await.unwrap();
        let mut spoilt = whole.clone();
        *spoilt.last_mut().unwrap() ^= 1;
        let zeros = [&whole[..whole.len() / 2], &[0; 64]].concat();
        let cases = [&whole[..whole.len() - 1], &whole[..whole.len() / 2 + 3], &spoilt, &zeros];
        for (number, remains) in cases.into_iter().enumerate() {
            fs::write(folder.path().join("log"), remains).await.unwrap();
            let (mut storage, saved) = Storage::open(folder.path()).await.unwrap();
            assert_eq!(saved.entries, [entry(1)], "case {number}");
            storage.write(1, &[entry(3)]).await.unwrap();
            assert_eq!(entries(folder.path()).await, [entry(1), entry(3)], "case {number}");
        }
    }
}
