//! Contents of files: how they are opened, read, written, cut and shared.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use crate::Seen;
use crate::seen::text;

fn content(path: impl AsRef<std::path::Path>) -> io::Result<String> {
    Ok(text(&fs::read(path)?))
}

pub(super) fn write_and_read(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    seen.error("read what is not there", fs::read(&path));
    fs::write(&path, "first and long")?;
    seen.outcome("content", content(&path));
    fs::write(&path, "second")?;
    seen.outcome("content", content(&path));
    fs::write(&path, "")?;
    seen.outcome("content", content(&path));
    fs::write(&path, [0xff, 0xfe])?;
    seen.error("as text", fs::read_to_string(&path));
    Ok(())
}

pub(super) fn create_new(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    let mut file = File::create_new(&path)?;
    file.write_all(b"kept")?;
    seen.error("again", File::create_new(&path));
    seen.error("open with O_EXCL alone", File::options().read(true).custom_flags(libc::O_EXCL).open(&path));
    fs::create_dir(seen.path("dir"))?;
    seen.error("where a folder is", File::create_new(seen.path("dir")));
    seen.error("in no folder", File::create_new(seen.path("none/file")));
    seen.outcome("content", content(&path));
    Ok(())
}

pub(super) fn modes_of_opening(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    fs::write(&path, "content")?;
    let mut reading = File::open(&path)?;
    seen.error("write where one reads", reading.write(b"x"));
    seen.error("cut where one reads", reading.set_len(1));
    let mut writing = OpenOptions::new().write(true).open(&path)?;
    seen.error("read where one writes", reading_of(&mut writing));
    writing.write_all(b"CON")?;
    seen.outcome("written over", content(&path));
    let truncating = OpenOptions::new().write(true).truncate(true).open(&path)?;
    seen.outcome("truncated", truncating.metadata().map(|metadata| metadata.len()));
    seen.error("write without creating", OpenOptions::new().write(true).open(seen.path("none")));
    Ok(())
}

fn reading_of(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

pub(super) fn append(seen: &Seen) -> io::Result<()> {
    let path = seen.path("log");
    let appending = || OpenOptions::new().append(true).create(true).open(&path);
    let (mut one, mut other) = (appending()?, appending()?);
    for round in 0..2 {
        write!(one, "one {round}; ")?;
        write!(other, "other {round}; ")?;
    }
    seen.outcome("content", content(&path));
    one.seek(SeekFrom::Start(0))?;
    one.write_all(b"the end")?;
    seen.outcome("position after it", one.stream_position());
    other.set_len(4)?;
    one.write_all(b"after the cut")?;
    seen.outcome("content", content(&path));
    Ok(())
}

/// On Linux a file that is opened for appending is appended to wherever one says.
pub(super) fn append_at_an_offset(seen: &Seen) -> io::Result<()> {
    let path = seen.path("log");
    fs::write(&path, "abc")?;
    let mut file = OpenOptions::new().append(true).read(true).open(&path)?;
    seen.outcome("write at 0", file.write_at(b"def", 0));
    seen.outcome("content", content(&path));
    seen.outcome("read from the start", reading_of(&mut file));
    Ok(())
}

pub(super) fn seeks(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    fs::write(&path, "0123456789")?;
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    seen.outcome("from the end", file.seek(SeekFrom::End(-3)));
    seen.outcome("read", reading_of(&mut file));
    seen.outcome("back", file.seek(SeekFrom::Current(-6)));
    seen.outcome("read", reading_of(&mut file));
    seen.outcome("before the start", file.seek(SeekFrom::Current(-11)));
    seen.outcome("far before the start", file.seek(SeekFrom::End(-100)));
    seen.outcome("position", file.stream_position());
    seen.outcome("beyond the end", file.seek(SeekFrom::Start(15)));
    seen.outcome("read there", reading_of(&mut file));
    seen.outcome("length", file.metadata().map(|metadata| metadata.len()));
    file.write_all(b"!")?;
    seen.outcome("content", content(&path));
    Ok(())
}

pub(super) fn offsets(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    seen.outcome("write at 4", file.write_at(b"efgh", 4));
    seen.outcome("write at 0", file.write_at(b"abcd", 0));
    seen.outcome("position", file.stream_position());
    let mut buffer = [0; 4];
    seen.outcome("read at 2", file.read_at(&mut buffer, 2).map(|length| text(&buffer[..length])));
    seen.outcome("read at 6", file.read_at(&mut buffer, 6).map(|length| text(&buffer[..length])));
    seen.outcome("read at 8", file.read_at(&mut buffer, 8));
    seen.outcome("read at 1000", file.read_at(&mut buffer, 1000));
    seen.error("read exactly beyond the end", file.read_exact_at(&mut buffer, 6));
    seen.outcome("read from the position", reading_of(&mut file));
    Ok(())
}

pub(super) fn holes(seen: &Seen) -> io::Result<()> {
    let path = seen.path("sparse");
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    file.write_all_at(b"end", 3 << 20)?;
    file.write_all_at(b"start", 0)?;
    seen.outcome("length", file.metadata().map(|metadata| metadata.len()));
    let bytes = fs::read(&path)?;
    let is_zero = |from: usize, to: usize| bytes[from..to].iter().all(|byte| *byte == 0);
    seen.note("the hole is zeros", is_zero(5, 3 << 20));
    file.set_len(1 << 40)?;
    seen.outcome("length of a large one", file.metadata().map(|metadata| metadata.len()));
    let mut buffer = [9; 16];
    seen.outcome("read in it", file.read_at(&mut buffer, 1 << 39));
    seen.note("zeros", buffer == [0; 16]);
    seen.outcome("end", file.seek(SeekFrom::End(0)));
    Ok(())
}

pub(super) fn cut_and_grown(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    fs::write(&path, "abcdefgh")?;
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    file.seek(SeekFrom::Start(6))?;
    file.set_len(3)?;
    seen.outcome("position stays", file.stream_position());
    seen.outcome("read beyond the end", reading_of(&mut file));
    file.set_len(5)?;
    seen.outcome("what was cut does not come back", content(&path));
    file.write_all(b"!")?;
    seen.outcome("content", content(&path));
    Ok(())
}

pub(super) fn two_handles(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    let mut one = File::create(&path)?;
    let mut other = OpenOptions::new().read(true).write(true).open(&path)?;
    one.write_all(b"hello ")?;
    seen.outcome("read at once", reading_of(&mut other));
    one.write_all(b"world")?;
    seen.outcome("read the rest", reading_of(&mut other));
    other.rewind()?;
    other.write_all(b"H")?;
    one.write_all(b"!")?;
    seen.outcome("content", content(&path));
    File::create(&path)?;
    seen.outcome("read once it was truncated", reading_of(&mut other));
    one.write_all(b"x")?;
    seen.outcome(
        "length after a write at the old position",
        fs::metadata(&path).map(|metadata| metadata.len()),
    );
    Ok(())
}

pub(super) fn clones_share_a_position(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    fs::write(&path, "abcdef")?;
    let mut file = File::open(&path)?;
    let mut clone = file.try_clone()?;
    let mut two = [0; 2];
    for handle in [&mut file, &mut clone] {
        handle.read_exact(&mut two)?;
        seen.note("read", text(&two));
    }
    drop(file);
    seen.outcome("rest", reading_of(&mut clone));
    Ok(())
}

pub(super) fn removed_while_open(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    fs::write(&path, "still ")?;
    let mut file = OpenOptions::new().read(true).append(true).open(&path)?;
    fs::remove_file(&path)?;
    seen.note("exists", path.exists());
    file.write_all(b"here")?;
    seen.outcome("read", reading_of(&mut file));
    fs::write(&path, "another")?;
    file.rewind()?;
    seen.outcome("read", reading_of(&mut file));
    seen.outcome("content", content(&path));
    Ok(())
}

pub(super) fn buffered(seen: &Seen) -> io::Result<()> {
    let path = seen.path("lines");
    let mut writer = io::BufWriter::new(File::create(&path)?);
    for number in 0..5 {
        writeln!(writer, "line {number}")?;
    }
    seen.outcome("before the flush", content(&path));
    writer.flush()?;
    seen.outcome("lines", BufReader::new(File::open(&path)?).lines().collect::<io::Result<Vec<_>>>());
    writer.write_all(b"dropped, hence flushed")?;
    drop(writer);
    let mut reader = BufReader::new(File::open(&path)?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    seen.note("first", first);
    reader.seek_relative(7)?;
    seen.outcome("rest", reader.lines().collect::<io::Result<Vec<_>>>());
    Ok(())
}

pub(super) fn vectored(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    let mut file = File::create(&path)?;
    let parts = [IoSlice::new(b"in "), IoSlice::new(b""), IoSlice::new(b"parts")];
    seen.outcome("write", file.write_vectored(&parts));
    let (mut one, mut other) = ([0; 4], [b'.'; 8]);
    let mut into = [io::IoSliceMut::new(&mut one), io::IoSliceMut::new(&mut other)];
    seen.outcome("read", File::open(&path)?.read_vectored(&mut into));
    seen.note("buffers", (text(&one), text(&other)));
    Ok(())
}

pub(super) fn large(seen: &Seen) -> io::Result<()> {
    let path = seen.path("large");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[at as usize % 3]).collect();
    fs::write(&path, &bytes)?;
    seen.note("the same is read", fs::read(&path)? == bytes);
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    file.seek(SeekFrom::Start(4095))?;
    file.write_all(&[1; 4098])?;
    let mut expected = bytes;
    expected[4095..4095 + 4098].fill(1);
    seen.note("with a change across pages", fs::read(&path)? == expected);
    seen.outcome("copied", fs::copy(&path, seen.path("copy")));
    seen.note("the copy is the same", fs::read(seen.path("copy"))? == expected);
    Ok(())
}

pub(super) fn syncs(seen: &Seen) -> io::Result<()> {
    let path = seen.path("file");
    let mut file = File::create(&path)?;
    file.write_all(b"durable")?;
    seen.error("sync_data", file.sync_data());
    seen.error("sync_all", file.sync_all());
    seen.error("of a file that is read", File::open(&path)?.sync_all());
    seen.error("of a folder", File::open(seen.dir())?.sync_all());
    seen.outcome("content", content(&path));
    Ok(())
}

pub(super) fn replaced_at_once(seen: &Seen) -> io::Result<()> {
    let (path, temporary) = (seen.path("state"), seen.path(".state.new"));
    fs::write(&path, "old")?;
    let mut reader = File::open(&path)?;
    let mut file = File::create_new(&temporary)?;
    file.write_all(b"new")?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    File::open(seen.dir())?.sync_all()?;
    seen.outcome("content", content(&path));
    seen.outcome("who had it open reads", reading_of(&mut reader));
    seen.note("the temporary name is gone", !temporary.exists());
    Ok(())
}

pub(super) fn locks(seen: &Seen) -> io::Result<()> {
    let path = seen.path("lock");
    let (one, other) = (File::create(&path)?, File::open(&path)?);
    one.lock()?;
    seen.note("the other's lock", other.try_lock().map_err(io::Error::from).map_err(|error| error.kind()));
    let shared = other.try_lock_shared().map_err(io::Error::from).map_err(|error| error.kind());
    seen.note("the other's shared lock", shared);
    one.unlock()?;
    seen.note("once it is free", other.try_lock_shared().is_ok());
    seen.note("a second reader", one.try_lock_shared().is_ok());
    seen.note("a writer among readers", one.try_lock().is_ok());
    drop(other);
    seen.note("a writer alone", one.try_lock().is_ok());
    let clone = one.try_clone()?;
    drop(one);
    seen.note("while a clone is there", File::open(&path)?.try_lock().is_ok());
    drop(clone);
    seen.note("when all are gone", File::open(&path)?.try_lock().is_ok());
    Ok(())
}

pub(super) fn lock_that_waits(seen: &Seen) -> io::Result<()> {
    let path = seen.path("lock");
    let mut holder = File::create(&path)?;
    holder.lock()?;
    let theirs = path.clone();
    let waiter = std::thread::spawn(move || {
        let file = File::open(&theirs)?;
        file.lock()?;
        content(&theirs)
    });
    std::thread::sleep(std::time::Duration::from_millis(20));
    holder.write_all(b"written under the lock")?;
    drop(holder);
    seen.outcome("the waiter reads", waiter.join().unwrap_or_else(|_| Ok("panicked".to_owned())));
    Ok(())
}

pub(super) fn devices(seen: &Seen) -> io::Result<()> {
    seen.outcome("read of null", fs::read("/dev/null").map(|bytes| bytes.len()));
    let mut null = OpenOptions::new().write(true).open("/dev/null")?;
    seen.outcome("write to null", null.write(b"nothing"));
    let mut buffer = [1; 32];
    seen.outcome("read of zero", File::open("/dev/zero")?.read(&mut buffer));
    seen.note("zeros", buffer == [0; 32]);
    let mut full = OpenOptions::new().write(true).open("/dev/full")?;
    seen.error("write to full", full.write(b"x"));
    seen.outcome("read of urandom", File::open("/dev/urandom")?.read(&mut buffer));
    seen.note("not zeros", buffer != [0; 32]);
    Ok(())
}
