//! To a host: what it has by content is not sent.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use netsplit_link::{Channel, Link, LinkError, Priority, Received};
use netsplit_model::{Event, HostName, Reason, units::Wanted};
use netsplit_wire::message::{
    Body, Entry, Kind, Needs, Piped, Put, PutAnswer, PutReply, Refused, Request, tag,
};
use prost::Message;

use super::hash::{self, Hashed, Stamp};
use super::pump::{self, Meter, Pumped};
use super::{absolute, refused, unreadable};
use crate::core::{Core, lost};
use crate::error::{Error, Result};

/// Bytes read and sent at a time.
const CHUNK: usize = 64 << 10;
/// Entries in one message of a manifest; some 200 bytes each.
const ENTRIES_MAX: usize = 2000;
/// From this size on a file goes through a pipe, where there can be one: it takes two more messages.
const PIPED_MIN: u64 = 1 << 20;

/// One entry with where its bytes come from.
struct Item {
    entry: Entry,
    source: Source,
}

enum Source {
    None,
    File(PathBuf, Option<Stamp>),
    Bytes(Bytes),
}

/// Puts a file or folder of this machine to `to`.
pub(super) async fn tree(
    core: &Arc<Core>,
    host: &HostName,
    from: &Path,
    to: &str,
    mode: Option<u32>,
) -> Result {
    absolute(to)?;
    fs::metadata(from).map_err(|error| unreadable(from, &error))?;
    let to = if to.ends_with('/') { format!("{to}{}", name_of(from)?) } else { to.to_owned() };
    let (from, place) = (from.to_owned(), to.clone());
    let items = blocking(core, move || collect(&from, &place, mode)).await?;
    send(core, host, &to, items).await
}

/// What a file or folder is called, however it was named: `..` is no name.
fn name_of(from: &Path) -> Result<String> {
    let name = match from.file_name() {
        Some(name) => Some(name.to_owned()),
        None => {
            let whole = fs::canonicalize(from).map_err(|error| unreadable(from, &error))?;
            whole.file_name().map(ToOwned::to_owned)
        }
    };
    let name = name.and_then(|name| name.to_str().map(str::to_owned));
    name.ok_or_else(|| {
        Error::new(Reason::FileRefused, format!("`{}` has no name that is UTF-8", from.display()))
    })
}

/// Writes `contents` to `path`.
pub(crate) async fn contents(
    core: &Arc<Core>,
    host: &HostName,
    path: &str,
    contents: Bytes,
    mode: u32,
) -> Result {
    absolute(path)?;
    let hash = blake3::hash(&contents);
    let entry = file_entry(path, mode, contents.len() as u64, &hash);
    send(core, host, path, vec![Item { entry, source: Source::Bytes(contents) }]).await
}

/// Puts one program, whose hash is known, so that it can be executed.
pub(super) async fn program(
    core: &Arc<Core>,
    host: &HostName,
    from: &Path,
    hashed: Hashed,
    to: &str,
) -> Result {
    let data = fs::metadata(from).map_err(|error| unreadable(from, &error))?;
    if data.permissions().mode() & 0o111 == 0 {
        let text =
            format!("`{}` is not executable (mode {:o})", from.display(), data.permissions().mode() & 0o7777);
        let trouble = netsplit_model::Trouble::new(Reason::CouldNotStart, text);
        return Err(trouble.fix(format!("chmod +x {}", from.display())).into());
    }
    let entry = file_entry(to, 0o755, hashed.size, &hashed.hash);
    send(core, host, to, vec![Item { entry, source: Source::File(from.to_owned(), hashed.stamp) }]).await
}

/// Reads and hashes beside the test, which may have one thread only.
async fn blocking<T: Send + 'static>(
    core: &Core,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = core.engine.spawn_blocking(work).await;
    done.map_err(|error| Error::new(Reason::Bug, format!("reading files: {error}")))?
}

fn file_entry(path: &str, mode: u32, size: u64, hash: &blake3::Hash) -> Entry {
    Entry {
        path: path.to_owned(),
        kind: Kind::File.into(),
        mode,
        size,
        hash: Bytes::copy_from_slice(hash.as_bytes()),
        target: String::new(),
    }
}

/// All files below `from`, parents before children, names in order.
fn collect(from: &Path, to: &str, mode: Option<u32>) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    while let Some((path, to)) = waiting.pop() {
        let wrong = |error: io::Error| unreadable(&path, &error);
        // What was named may be a link to what is meant; links inside a folder stay links.
        let is_first = items.is_empty();
        let data = if is_first { fs::metadata(&path) } else { fs::symlink_metadata(&path) }.map_err(wrong)?;
        if data.is_dir() {
            let entry = Entry {
                path: to.clone(),
                kind: Kind::Folder.into(),
                mode: data.permissions().mode() & 0o7777,
                ..Entry::default()
            };
            items.push(Item { entry, source: Source::None });
            let mut names = fs::read_dir(&path)
                .and_then(|entries| {
                    entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()
                })
                .map_err(wrong)?;
            names.sort_by(|a, b| b.cmp(a));
            for name in names {
                let Some(text) = name.to_str() else {
                    let text = format!("`{}` has a name that is no UTF-8", path.join(&name).display());
                    return Err(Error::new(Reason::FileRefused, text));
                };
                waiting.push((path.join(&name), format!("{to}/{text}")));
            }
        } else if data.is_symlink() {
            let target = fs::read_link(&path).map_err(wrong)?.display().to_string();
            let entry = Entry { path: to, kind: Kind::Link.into(), mode: 0o777, target, ..Entry::default() };
            items.push(Item { entry, source: Source::None });
        } else if data.is_file() {
            let hashed = hash::file(&path)?;
            let mode = mode.unwrap_or_else(|| data.permissions().mode() & 0o7777);
            let entry = file_entry(&to, mode, hashed.size, &hashed.hash);
            items.push(Item { entry, source: Source::File(path, hashed.stamp) });
        } else if is_first {
            return Err(Error::new(
                Reason::FileRefused,
                format!("`{}` is neither a file nor a folder", path.display()),
            ));
        }
    }
    Ok(items)
}

/// Brings all items to the host, and notes it.
async fn send(core: &Arc<Core>, host: &HostName, to: &str, items: Vec<Item>) -> Result {
    let link = core.link(host)?;
    let limit = core.settings.deadlines.wait;
    let sent = exchange(core, host, &link, &items).await.map_err(|stopped| match stopped {
        Stopped::Here(error) => error,
        Stopped::There(error) => lost(host, &core.why_lost(host, &error.to_string())),
        Stopped::Said(said) => refused(host, &said, "put"),
        Stopped::GaveUp => {
            Error::new(Reason::FileRefused, format!("put `{to}` on {host}: the agent gave up"))
        }
        Stopped::Silent => {
            core.stalled(host, format!("put `{to}` on {host}: nothing was taken for {}", Wanted(limit)))
        }
    })?;
    core.recorder.event(Event::FilePut {
        host: host.clone(),
        path: to.to_owned(),
        files: items.iter().filter(|item| item.entry.kind() == Kind::File).count() as u64,
        bytes: items.iter().map(|item| item.entry.size).sum(),
        sent,
    });
    Ok(())
}

enum Stopped {
    Here(Error),
    There(LinkError),
    Said(Refused),
    GaveUp,
    /// Nothing was taken for too long.
    Silent,
}

type Sent<T = ()> = std::result::Result<T, Stopped>;

async fn in_time<T>(core: &Core, done: impl Future<Output = std::result::Result<T, LinkError>>) -> Sent<T> {
    let done = tokio::time::timeout(core.settings.deadlines.wait, done).await;
    done.map_err(|_| Stopped::Silent)?.map_err(Stopped::There)
}

/// Sends the manifest, then the bytes that the host asks for; gives how many.
async fn exchange(core: &Core, host: &HostName, link: &Link, items: &[Item]) -> Sent<u64> {
    let mut channel = in_time(core, link.open(Priority::Bulk)).await?;
    let parts = items.chunks(ENTRIES_MAX);
    let count = parts.len();
    for (number, part) in parts.enumerate() {
        let entries = part.iter().map(|item| item.entry.clone()).collect();
        let put = Request::from(Body::Put(Put { entries, last: number + 1 == count }));
        in_time(core, channel.sender.send_message(&put)).await?;
    }
    let mut sent = 0;
    loop {
        match in_time(core, answer(&mut channel)).await?.ok_or(Stopped::GaveUp)? {
            PutAnswer::Done(_) => return Ok(sent),
            PutAnswer::Drained(_) => return Err(Stopped::GaveUp),
            PutAnswer::Refused(said) => return Err(Stopped::Said(said)),
            PutAnswer::Needs(Needs { entries }) => {
                for item in entries.iter().filter_map(|number| items.get(usize::try_from(*number).ok()?)) {
                    sent += item.entry.size;
                    match send_item(core, host, &mut channel, item).await {
                        // The host has said why it wants no more.
                        Err(Stopped::There(LinkError::Closed)) => break,
                        done => done?,
                    }
                }
            }
        }
    }
}

async fn answer(channel: &mut Channel) -> std::result::Result<Option<PutAnswer>, LinkError> {
    match channel.receiver.receive().await {
        Received::Message(message) => Ok(PutReply::decode(message).ok().and_then(|reply| reply.answer)),
        Received::Lost(error) => Err(error),
        _ => Ok(None),
    }
}

async fn send_item(core: &Core, host: &HostName, channel: &mut Channel, item: &Item) -> Sent {
    match &item.source {
        Source::None => Ok(()),
        Source::Bytes(bytes) if bytes.is_empty() => Ok(()),
        Source::Bytes(bytes) => in_time(core, channel.sender.send(tag::BYTES, bytes.clone())).await,
        Source::File(path, Some(stamp)) if item.entry.size >= PIPED_MIN => {
            match begin_pipe(core, host).await? {
                Some((number, pipe)) => send_piped(core, channel, path, *stamp, number, pipe).await,
                None => send_bytes(core, channel, path, item.entry.size).await,
            }
        }
        Source::File(path, _) => send_bytes(core, channel, path, item.entry.size).await,
    }
}

/// Through the link. The host checks the hash of what comes.
async fn send_bytes(core: &Core, channel: &Channel, path: &Path, size: u64) -> Sent {
    let wrong = |error: io::Error| Stopped::Here(unreadable(path, &error));
    let mut file = File::open(path).map_err(wrong)?;
    let mut left = size;
    while left > 0 {
        let some = left.min(CHUNK as u64);
        let mut chunk = Vec::with_capacity(CHUNK);
        (&mut file).take(some).read_to_end(&mut chunk).map_err(wrong)?;
        if chunk.is_empty() {
            return Err(Stopped::Here(changed(path, "it became shorter")));
        }
        left -= chunk.len() as u64;
        in_time(core, channel.sender.send(tag::BYTES, chunk.into())).await?;
    }
    Ok(())
}

/// A pipe to the host's agent, with its number there, if the provider's hosts can have one.
async fn begin_pipe(core: &Core, host: &HostName) -> Sent<Option<(u32, OwnedFd)>> {
    let Ok((reader, writer)) = pump::pipe() else { return Ok(None) };
    let number = core.bed.hand(host, reader).await.map_err(|trouble| Stopped::Here(trouble.into()))?;
    Ok(number.map(|number| (number, writer)))
}

/// Through a pipe. Nobody sees the bytes again: that the file is still the one that was hashed is seen by its looks.
async fn send_piped(
    core: &Core,
    channel: &mut Channel,
    path: &Path,
    stamp: Stamp,
    number: u32,
    pipe: OwnedFd,
) -> Sent {
    let wrong = |error: io::Error| Stopped::Here(unreadable(path, &error));
    let file = File::open(path).map_err(wrong)?;
    let data = file.metadata().map_err(wrong)?;
    if Stamp::of(&data) != stamp {
        return Err(Stopped::Here(changed(path, "it is another")));
    }
    let piped = Piped { pipe: number, whole: false };
    in_time(core, channel.sender.send_message(&piped)).await?;
    let same = file.try_clone().map_err(wrong)?;
    let meter = Cancelled(Arc::default());
    let moved = Arc::clone(&meter.0);
    let mut pumping = core.engine.spawn_blocking(move || pump::pump(file, data.len(), &pipe, &moved));
    let pumped = loop {
        let before = meter.0.moved();
        match tokio::time::timeout(core.settings.deadlines.wait, &mut pumping).await {
            Ok(pumped) => break pumped,
            Err(_) if meter.0.moved() == before => return Err(Stopped::Silent),
            Err(_) => {}
        }
    };
    match pumped.map_err(|error| Stopped::Here(Error::new(Reason::Bug, format!("the pump: {error}"))))? {
        Ok(Pumped::Whole) => {}
        Ok(Pumped::Short) => return Err(Stopped::Here(changed(path, "it became shorter"))),
        Ok(Pumped::Closed) => return Err(Stopped::There(LinkError::Closed)),
        Err(error) => return Err(wrong(error)),
    }
    // What lies in a pipe are pages of the file itself: until they are copied, who writes to it changes them.
    match in_time(core, answer(channel)).await? {
        Some(PutAnswer::Drained(_)) => {}
        Some(PutAnswer::Refused(said)) => return Err(Stopped::Said(said)),
        _ => return Err(Stopped::GaveUp),
    }
    if Stamp::of(&same.metadata().map_err(wrong)?) != stamp {
        return Err(Stopped::Here(changed(path, "it was written to")));
    }
    in_time(core, channel.sender.send_message(&Piped { whole: true, ..piped })).await
}

/// Stops a pump whose put nobody waits for any more.
struct Cancelled(Arc<Meter>);

impl Drop for Cancelled {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn changed(path: &Path, how: &str) -> Error {
    Error::new(Reason::FileChanged, format!("`{}` changed while it was copied: {how}", path.display()))
}
