//! Puts files where they are wanted: into a temporary file beside the place, checked by hash, then renamed over it.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use netsplit_link::{Channel, Received, Receiver, Sender};
use netsplit_wire::message::{
    Entry, Kind, Needs, Piped, Put, PutAnswer, PutReply, Refused, Request, Trouble, tag,
};
use prost::Message;
use tokio::net::unix::pipe;

use super::{CHUNK, ENTRIES_MAX, refused};
use crate::agent::Shared;

/// Bytes moved from a pipe between two looks at the rest of the world.
const PIPED_AT_ONCE: usize = 1 << 20;
/// Bytes of a file copied between two looks at it.
const COPIED_AT_ONCE: u64 = 4 << 20;

/// Serves one put: `first` and what follows of it, then the bytes that this host does not have.
pub(crate) async fn put(agent: &Shared, first: Put, channel: Channel) {
    let Channel { sender, mut receiver } = channel;
    let Some(entries) = manifest(first, &mut receiver).await else { return };
    let answer = match place_all(agent, &entries, &sender, &mut receiver).await {
        Ok(()) => PutAnswer::Done(true),
        Err(Stopped::Refused(refused)) => PutAnswer::Refused(refused),
        Err(Stopped::ClientGone) => return,
    };
    let _gone = sender.send_message(&PutReply::from(answer)).await;
    sender.finish();
}

enum Stopped {
    Refused(Refused),
    ClientGone,
}

impl Stopped {
    fn at(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |error| Self::Refused(refused(path, &error))
    }
}

/// All entries, however many messages they come in; `None` when the client has gone or sends no end of them.
async fn manifest(first: Put, receiver: &mut Receiver) -> Option<Vec<Entry>> {
    let Put { mut entries, mut last } = first;
    while !last {
        let Received::Message(message) = receiver.receive().await else { return None };
        let Some(netsplit_wire::message::Body::Put(more)) = Request::decode(message).ok()?.body else {
            return None;
        };
        entries.extend(more.entries);
        last = more.last;
        if entries.len() > ENTRIES_MAX {
            return None;
        }
    }
    Some(entries)
}

async fn place_all(
    agent: &Shared,
    entries: &[Entry],
    sender: &Sender,
    receiver: &mut Receiver,
) -> Result<(), Stopped> {
    let mut needed = Vec::new();
    let mut coming = std::collections::HashSet::new();
    let mut repeated = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let path = Path::new(&entry.path);
        match entry.kind() {
            Kind::Folder => make_folder(path, entry.mode).map_err(Stopped::at(path))?,
            Kind::Link => make_link(path, &entry.target).map_err(Stopped::at(path))?,
            Kind::File if copy_known(agent, entry).await.map_err(Stopped::at(path))? => {}
            // The same content twice in one put is sent once.
            Kind::File if !coming.insert(entry.hash.clone()) => repeated.push(entry),
            Kind::File => needed.push(number),
        }
    }
    let numbers = needed.iter().filter_map(|number| u32::try_from(*number).ok()).collect();
    let answer = PutReply::from(PutAnswer::Needs(Needs { entries: numbers }));
    sender.send_message(&answer).await.map_err(|_| Stopped::ClientGone)?;
    let mut source = Source { receiver, rest: Bytes::new() };
    for number in needed {
        receive_file(agent, &entries[number], sender, &mut source).await?;
    }
    for entry in repeated {
        let path = Path::new(&entry.path);
        if !copy_known(agent, entry).await.map_err(Stopped::at(path))? {
            return Err(Stopped::Refused(changed(path)));
        }
    }
    Ok(())
}

fn changed(path: &Path) -> Refused {
    let text = "its bytes are not those that were announced".to_owned();
    Refused { path: path.display().to_string(), trouble: Trouble::Changed.into(), text }
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match fs::create_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !path.is_dir() => return Err(error),
        _ => {}
    }
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))
}

fn make_link(path: &Path, target: &str) -> io::Result<()> {
    make_parent(path)?;
    let temporary = Temporary::beside(path)?;
    symlink(target, &temporary.path)?;
    temporary.become_final(path)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Copies content that this host has. Returns whether it had it.
async fn copy_known(agent: &Shared, entry: &Entry) -> io::Result<bool> {
    let Ok(hash) = <[u8; 32]>::try_from(&entry.hash[..]).map(blake3::Hash::from_bytes) else {
        return Ok(false);
    };
    let path = Path::new(&entry.path);
    let known = agent.index.lock().unwrap_or_else(PoisonError::into_inner).find(&hash);
    let Some(known) = known else { return Ok(false) };
    if known == path {
        fs::set_permissions(path, Permissions::from_mode(entry.mode & 0o7777))?;
    } else {
        make_parent(path)?;
        let temporary = Temporary::beside(path)?;
        copy(&File::open(&known)?, &temporary.create()?, entry.size).await?;
        temporary.finish(path, entry.mode)?;
    }
    agent.index.lock().unwrap_or_else(PoisonError::into_inner).remember(hash, path);
    Ok(true)
}

/// Copies in the kernel if it can, a few MiB at a time so that the rest of the agent goes on.
async fn copy(from: &File, mut to: &File, size: u64) -> io::Result<()> {
    let mut left = size;
    while left > 0 {
        match io::copy(&mut from.take(left.min(COPIED_AT_ONCE)), &mut to)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => left -= count,
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// The bytes of all needed files, one behind the other.
struct Source<'a> {
    receiver: &'a mut Receiver,
    rest: Bytes,
}

impl Source<'_> {
    /// Whether the next file comes through a pipe, and which.
    async fn pipe(&mut self) -> Result<Option<u32>, Stopped> {
        if !self.rest.is_empty() {
            return Ok(None);
        }
        match self.receiver.receive().await {
            Received::Data(tag::BYTES, bytes) => {
                self.rest = bytes;
                Ok(None)
            }
            Received::Message(message) => match Piped::decode(message) {
                Ok(piped) => Ok(Some(piped.pipe)),
                Err(_) => Err(Stopped::ClientGone),
            },
            _ => Err(Stopped::ClientGone),
        }
    }

    /// Waits until the client is sure of what it sent through a pipe.
    async fn sure(&mut self) -> Result<(), Stopped> {
        match self.receiver.receive().await {
            Received::Message(message) if Piped::decode(message.clone()).is_ok_and(|piped| piped.whole) => {
                Ok(())
            }
            _ => Err(Stopped::ClientGone),
        }
    }

    async fn next(&mut self, limit: u64) -> Result<Bytes, Stopped> {
        while self.rest.is_empty() {
            match self.receiver.receive().await {
                Received::Data(tag::BYTES, bytes) => self.rest = bytes,
                _ => return Err(Stopped::ClientGone),
            }
        }
        let some = usize::try_from(limit).unwrap_or(usize::MAX).min(self.rest.len()).min(CHUNK);
        Ok(self.rest.split_to(some))
    }
}

async fn receive_file(
    agent: &Shared,
    entry: &Entry,
    sender: &Sender,
    source: &mut Source<'_>,
) -> Result<(), Stopped> {
    let path = Path::new(&entry.path);
    let stopped = Stopped::at(path);
    make_parent(path).map_err(&stopped)?;
    let temporary = Temporary::beside(path).map_err(&stopped)?;
    let file = temporary.create().map_err(&stopped)?;
    let pipe = if entry.size == 0 { None } else { source.pipe().await? };
    let hash = match pipe {
        Some(number) => {
            let hash = receive_piped(agent, entry, number, &file).await?;
            let drained = PutReply::from(PutAnswer::Drained(true));
            sender.send_message(&drained).await.map_err(|_| Stopped::ClientGone)?;
            source.sure().await?;
            hash
        }
        None => receive_bytes(entry, file, source).await?,
    };
    temporary.finish(path, entry.mode).map_err(&stopped)?;
    agent.index.lock().unwrap_or_else(PoisonError::into_inner).remember(hash, path);
    Ok(())
}

async fn receive_bytes(
    entry: &Entry,
    mut file: File,
    source: &mut Source<'_>,
) -> Result<blake3::Hash, Stopped> {
    let path = Path::new(&entry.path);
    let mut hasher = blake3::Hasher::new();
    let mut left = entry.size;
    while left > 0 {
        let bytes = source.next(left).await?;
        left -= bytes.len() as u64;
        hasher.update(&bytes);
        file.write_all(&bytes).map_err(Stopped::at(path))?;
    }
    let hash = hasher.finalize();
    if hash.as_bytes()[..] != entry.hash[..] {
        return Err(Stopped::Refused(changed(path)));
    }
    Ok(hash)
}

/// The kernel moves the bytes: nothing is left of them here to hash, so the client answers for them.
async fn receive_piped(
    agent: &Shared,
    entry: &Entry,
    number: u32,
    file: &File,
) -> Result<blake3::Hash, Stopped> {
    let path = Path::new(&entry.path);
    let hash = blake3::Hash::from_slice(&entry.hash).map_err(|_| Stopped::Refused(changed(path)))?;
    let Some(pipe) = agent.pipes.take(number).await else {
        let error = io::Error::new(io::ErrorKind::TimedOut, "its bytes did not come");
        return Err(Stopped::Refused(refused(path, &error)));
    };
    if !drain(pipe, file, entry.size).await.map_err(Stopped::at(path))? {
        return Err(Stopped::ClientGone);
    }
    Ok(hash)
}

/// Moves `size` bytes from a pipe into a file. Whether so many came.
async fn drain(pipe: OwnedFd, file: &File, size: u64) -> io::Result<bool> {
    let pipe = pipe::Receiver::from_owned_fd(pipe)?;
    let mut left = size;
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(usize::MAX).min(PIPED_AT_ONCE);
        pipe.readable().await?;
        match pipe.try_io(|| move_some(&pipe, file, some)) {
            Ok(0) => return Ok(false),
            Ok(moved) => left = left.saturating_sub(moved as u64),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        tokio::task::yield_now().await;
    }
    Ok(true)
}

fn move_some(pipe: &pipe::Receiver, mut file: &File, some: usize) -> io::Result<usize> {
    match rustix::pipe::splice(pipe, None, file, None, some, rustix::pipe::SpliceFlags::NONBLOCK) {
        // A file system that cannot.
        Err(rustix::io::Errno::INVAL) => {
            let mut bytes = vec![0; some.min(CHUNK)];
            let count = rustix::io::read(pipe, &mut bytes)?;
            file.write_all(&bytes[..count])?;
            Ok(count)
        }
        moved => Ok(moved?),
    }
}

/// A file that has not its final name yet; removed unless it gets it.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn beside(path: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        if path.file_name().is_none() {
            return Err(io::Error::other("no file name"));
        }
        // Its own: the same path may be wanted twice at once.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = path.with_file_name(format!(".netsplit-{number}"));
        // One that a killed agent left.
        let _none = fs::remove_file(&path);
        Ok(Self { path })
    }

    fn create(&self) -> io::Result<File> {
        File::options().write(true).create_new(true).open(&self.path)
    }

    fn finish(self, path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(&self.path, Permissions::from_mode(mode & 0o7777))?;
        self.become_final(path)
    }

    fn become_final(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is not there any more when it got its name.
        let _renamed = fs::remove_file(&self.path);
    }
}
