//! What a member remembers across a crash: one file that is only ever appended to, and synced before an
//! answer.
//!
//! The file is a sequence of frames. A frame is the four bytes `KVD1`, the payload's length and its CRC-32
//! (which covers the frame's offset too, so that no value can pose as a frame), then the payload: one or more
//! records. One frame is one write and one sync. So a crash can tear the last frame only: it was not answered
//! for, and is dropped. A bad frame with a good one behind it is damage, which is not repaired here.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::codec::{Malformed, Reader, Writer, crc32};
use crate::failure::{Failure, phrase};
use crate::members::Member;
use crate::raft::{Record, Saved};

/// The file's name in the data directory.
const FILE_NAME: &str = "raft.log";
const MAGIC: [u8; 4] = *b"KVD1";
const HEADER_BYTES: usize = 12;
/// Bytes of a payload. Records that do not fit together go into several frames, each with its own sync.
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the note of whose file it is: the names of all members.
const OWNER_BYTES_MAX: usize = 2048;

/// The open file.
#[derive(Debug)]
pub(crate) struct Storage {
    file: File,
    path: PathBuf,
    length: u64,
}

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) saved: Saved,
    owner: Option<String>,
    /// Bytes of the good frames; what is behind them was torn.
    pub(crate) length: usize,
}

/// Why a file cannot be used, and where it begins to be so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    offset: usize,
    why: &'static str,
}

impl Storage {
    /// Opens the file in `directory`, or begins one, for the member that `owner` describes.
    ///
    /// # Errors
    /// When the directory cannot be used, another process uses it, it is another member's, or the file is
    /// damaged.
    pub(crate) fn open(directory: &Path, owner: &str) -> Result<(Self, Saved), Failure> {
        let path = directory.join(FILE_NAME);
        let trouble = |doing: &str, err: &std::io::Error| {
            let what = format!("failed to {doing} `{}`: {}", path.display(), phrase(err));
            Failure::new(what, "set --data to a directory that can be written")
        };
        fs::create_dir_all(directory).map_err(|err| trouble("create the directory of", &err))?;
        let mut options = OpenOptions::new();
        let open = options.read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(|err| trouble("open", &err))?;
        lock(&file, &path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|err| trouble("read", &err))?;
        let replay = replay(&bytes).map_err(|damage| damaged(&path, &damage))?;
        let mut storage = Self { file, path: path.clone(), length: replay.length as u64 };
        storage.file.set_len(storage.length).map_err(|err| trouble("cut the torn end of", &err))?;
        match replay.owner {
            Some(known) if known != owner => return Err(foreign(&path, &known, owner)),
            Some(_) => {}
            None => storage.write_frame(&encode_frame(&owner_payload(owner), storage.length))?,
        }
        // The file's name must survive too, else the first acknowledged writes go with it.
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|err| trouble("sync the directory of", &err))?;
        Ok((storage, replay.saved))
    }

    /// Appends `records`; they are durable when this returns.
    ///
    /// # Errors
    /// When writing or syncing fails. What is on disk is then unknown, so the process must end and read it
    /// anew.
    pub(crate) fn save(&mut self, records: &[Record]) -> Result<(), Failure> {
        let mut rest = records;
        while !rest.is_empty() {
            let (frame, used) = next_frame(rest, self.length);
            self.write_frame(&frame)?;
            rest = &rest[used..];
        }
        Ok(())
    }

    fn write_frame(&mut self, frame: &[u8]) -> Result<(), Failure> {
        let seek = self.file.seek(SeekFrom::Start(self.length));
        let written = seek.and_then(|_| self.file.write_all(frame)).and_then(|()| self.file.sync_data());
        written.map_err(|err| {
            let what = format!("failed to write `{}`: {}", self.path.display(), phrase(&err));
            Failure::new(what, "make room or mend the disk, then start kvd again")
        })?;
        self.length += frame.len() as u64;
        Ok(())
    }
}

fn lock(file: &File, path: &Path) -> Result<(), Failure> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let what = format!("`{}` is in use by another kvd", path.display());
            Err(Failure::new(what, "give each member its own --data"))
        }
        Err(TryLockError::Error(err)) => {
            let what = format!("failed to lock `{}`: {}", path.display(), phrase(&err));
            Err(Failure::new(what, "set --data to a local directory"))
        }
    }
}

fn foreign(path: &Path, known: &str, owner: &str) -> Failure {
    let what = format!("`{}` belongs to {known}, not to {owner}", path.display());
    Failure::new(what, "set --data to this member's own directory, or correct --name and --peers")
}

fn damaged(path: &Path, damage: &Damage) -> Failure {
    let what = format!("`{}` is damaged at byte {}: {}", path.display(), damage.offset, damage.why);
    Failure::new(what, "put back a good copy; a member that merely forgets it can lose acknowledged writes")
}

/// The first of the frames that hold `records`, to be written at `offset`; and how many records are in it.
///
/// # Panics
/// When `records` is empty.
pub(crate) fn next_frame(records: &[Record], offset: u64) -> (Vec<u8>, usize) {
    let mut payload = encode_record(&records[0]);
    let mut used = 1;
    for record in &records[1..] {
        let bytes = encode_record(record);
        if payload.len() + bytes.len() > PAYLOAD_BYTES_MAX {
            break;
        }
        payload.extend_from_slice(&bytes);
        used += 1;
    }
    (encode_frame(&payload, offset), used)
}

fn encode_frame(payload: &[u8], offset: u64) -> Vec<u8> {
    assert!((1..=PAYLOAD_BYTES_MAX).contains(&payload.len()), "a record fits into a frame");
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut frame = MAGIC.to_vec();
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&crc32(&[&offset.to_be_bytes(), payload]).to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn owner_payload(owner: &str) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(b'O');
    out.text(owner);
    out.into_bytes()
}

fn encode_record(record: &Record) -> Vec<u8> {
    let mut out = Writer::default();
    match record {
        Record::Ballot { term, vote } => {
            out.byte(b'B');
            out.number(*term);
            out.byte(u8::from(vote.is_some()));
            out.byte(vote.map_or(0, |vote| vote.0));
        }
        Record::Entry { index, entry } => {
            out.byte(b'E');
            out.number(*index);
            out.entry(entry);
        }
    }
    out.into_bytes()
}

/// What the file with these bytes says.
///
/// # Errors
/// When a bad frame is not the last, or a good one says what cannot be.
pub(crate) fn replay(bytes: &[u8]) -> Result<Replay, Damage> {
    let mut replay = Replay::default();
    while replay.length < bytes.len() {
        let offset = replay.length;
        let Some(payload) = payload_at(bytes, offset) else {
            let behind = offset + 1..bytes.len().saturating_sub(HEADER_BYTES);
            return match behind.into_iter().find(|&place| payload_at(bytes, place).is_some()) {
                Some(_) => Err(Damage { offset, why: "its frame is bad and a good one follows" }),
                None => Ok(replay),
            };
        };
        let mut input = Reader::new(payload);
        while !input.is_empty() {
            replay_record(&mut replay, &mut input).map_err(|Malformed(why)| Damage { offset, why })?;
        }
        replay.length += HEADER_BYTES + payload.len();
    }
    Ok(replay)
}

/// The payload of the frame at `offset`, if there is a good one.
fn payload_at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let (magic, rest) = bytes.get(offset..)?.split_first_chunk::<4>()?;
    if *magic != MAGIC {
        return None;
    }
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    if !(1..=PAYLOAD_BYTES_MAX).contains(&length) {
        return None;
    }
    let payload = rest.get(..length)?;
    let good = crc32(&[&(offset as u64).to_be_bytes(), payload]) == u32::from_be_bytes(*crc);
    good.then_some(payload)
}

fn replay_record(replay: &mut Replay, input: &mut Reader<'_>) -> Result<(), Malformed> {
    let saved = &mut replay.saved;
    match input.byte()? {
        b'O' => replay.owner = Some(input.text(OWNER_BYTES_MAX)?),
        b'B' => {
            saved.term = input.number()?;
            let (is_some, vote) = (input.byte()? == 1, Member(input.byte()?));
            saved.vote = is_some.then_some(vote);
        }
        b'E' => {
            let place = input.number()?.checked_sub(1).and_then(|place| usize::try_from(place).ok());
            let place = place.filter(|&place| place <= saved.entries.len());
            saved.entries.truncate(place.ok_or(Malformed("an entry in it leaves a gap"))?);
            saved.entries.push(input.entry()?);
        }
        _ => return Err(Malformed("a record in it is of no known kind")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Command, Put};
    use crate::raft::Entry;
    use std::process;

    /// A directory of one test, gone at its end.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kvd-storage-{name}-{}", process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }

        fn bytes(&self) -> Vec<u8> {
            fs::read(self.0.join(FILE_NAME)).unwrap()
        }

        fn overwrite(&self, bytes: &[u8]) {
            fs::write(self.0.join(FILE_NAME), bytes).unwrap();
        }

        fn open(&self) -> Result<(Storage, Saved), Failure> {
            Storage::open(&self.0, "a of a,b,c")
        }

        fn failure(&self) -> String {
            self.open().unwrap_err().to_string()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn entry(index: u64, term: u64, value: &str) -> Record {
        let put = Put { client: 1, sequence: index, key: "key".into(), value: value.into() };
        Record::Entry { index, entry: Entry { term, command: Command::Put(put) } }
    }

    fn ballot(term: u64) -> Record {
        Record::Ballot { term, vote: Some(Member(2)) }
    }

    /// Three frames: a ballot, two entries, one more; and the file's length after each.
    fn write_three(directory: &Directory) -> [usize; 3] {
        let (mut storage, saved) = directory.open().unwrap();
        assert_eq!(saved, Saved::default());
        let batches =
            [vec![ballot(3)], vec![entry(1, 1, "one"), entry(2, 3, "two")], vec![entry(3, 3, "three")]];
        batches.map(|batch| {
            storage.save(&batch).unwrap();
            directory.bytes().len()
        })
    }

    #[test]
    fn what_was_saved_is_restored() {
        let directory = Directory::new("restore");
        write_three(&directory);
        let (mut storage, saved) = directory.open().unwrap();
        assert_eq!((saved.term, saved.vote, saved.entries.len()), (3, Some(Member(2)), 3));
        storage.save(&[entry(2, 4, "other"), Record::Ballot { term: 4, vote: None }]).unwrap();
        drop(storage);
        let (_, saved) = directory.open().unwrap();
        assert_eq!((saved.term, saved.vote), (4, None));
        assert_eq!(saved.entries.iter().map(|entry| entry.term).collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn a_torn_tail_is_dropped_wherever_it_is_torn() {
        let directory = Directory::new("torn");
        let [_, second, third] = write_three(&directory);
        let whole = directory.bytes();
        for end in second..third {
            directory.overwrite(&whole[..end]);
            let (mut storage, saved) = directory.open().unwrap();
            assert_eq!(saved.entries.len(), 2, "torn at {end}");
            storage.save(&[entry(3, 4, "again")]).unwrap();
            drop(storage);
            assert_eq!(directory.open().unwrap().1.entries[2].term, 4);
        }
    }

    #[test]
    fn a_bad_checksum_at_the_end_is_a_torn_tail() {
        let directory = Directory::new("checksum");
        let [_, second, third] = write_three(&directory);
        let whole = directory.bytes();
        for place in second..third {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            directory.overwrite(&bytes);
            assert_eq!(directory.open().unwrap().1.entries.len(), 2, "flipped at {place}");
        }
        let mut zeros = whole[..second].to_vec();
        zeros.resize(second + 4096, 0);
        directory.overwrite(&zeros);
        assert_eq!(directory.open().unwrap().1.entries.len(), 2);
        assert_eq!(directory.bytes().len(), second);
    }

    #[test]
    fn a_bad_checksum_in_the_middle_is_damage() {
        let directory = Directory::new("damage");
        let [first, second, _] = write_three(&directory);
        let whole = directory.bytes();
        for place in first..second {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            directory.overwrite(&bytes);
            let failure = directory.failure();
            assert!(failure.contains(&format!("is damaged at byte {first}: ")), "{failure}");
            assert_eq!(directory.bytes(), bytes, "damage is evidence and must stay as it is");
        }
    }

    #[test]
    fn a_directory_has_one_owner_and_one_user() {
        let directory = Directory::new("owner");
        let (storage, _) = directory.open().unwrap();
        assert!(directory.failure().contains("is in use by another kvd"));
        drop(storage);
        let failure = Storage::open(&directory.0, "b of a,b,c").unwrap_err().to_string();
        assert!(failure.contains("belongs to a of a,b,c, not to b of a,b,c"), "{failure}");
    }

    #[test]
    fn a_value_cannot_pose_as_a_frame() {
        let directory = Directory::new("pose");
        let [_, _, end] = write_three(&directory);
        // A frame that is text, checksum and all, and good at the offset 7.
        let frames = (0..100_000).map(|number| encode_frame(format!("O{number}").as_bytes(), 7));
        let inner = frames.into_iter().find_map(|frame| String::from_utf8(frame).ok()).unwrap();
        let (mut storage, _) = directory.open().unwrap();
        storage.save(&[entry(4, 4, &inner.repeat(3))]).unwrap();
        drop(storage);
        let mut bytes = directory.bytes();
        bytes[end + 8] ^= 1; // the checksum
        directory.overwrite(&bytes);
        assert_eq!(directory.open().unwrap().1.entries.len(), 3);
    }

    #[test]
    fn much_at_once_goes_into_several_frames() {
        let directory = Directory::new("frames");
        let (mut storage, _) = directory.open().unwrap();
        let large = "v".repeat(60_000);
        storage.save(&(1..=40).map(|index| entry(index, 1, &large)).collect::<Vec<_>>()).unwrap();
        drop(storage);
        assert_eq!(directory.open().unwrap().1.entries.len(), 40);
        assert!(directory.bytes().windows(4).filter(|window| *window == MAGIC).count() >= 4);
    }
}
