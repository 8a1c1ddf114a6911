//! To a host: what it has by content is not sent.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use netsplit_link::{Channel, LinkError, Priority, Received};
use netsplit_model::{Event, HostName, Reason};
use netsplit_wire::message::{Body, Entry, Kind, Put, PutAnswer, PutReply, Request, tag};
use prost::Message;

use super::{absolute, refused, unreadable};
use crate::core::{Core, lost};
use crate::error::{Error, Result};

/// Bytes read and sent at a time.
const CHUNK: usize = 64 << 10;
/// Entries in one message of a manifest; some 200 bytes each.
const ENTRIES_MAX: usize = 2000;
/// Hashes remembered in this process.
const HASHES_MAX: usize = 4096;

/// One entry with where its bytes come from.
struct Item {
    entry: Entry,
    source: Source,
}

enum Source {
    None,
    File(PathBuf),
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
    let name = from.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_folder = fs::metadata(from).map_err(|error| unreadable(from, &error))?.is_dir();
    let to = if to.ends_with('/') && !is_folder {
        format!("{to}{name}")
    } else {
        to.trim_end_matches('/').to_owned()
    };
    let items = collect(from, &to, mode)?;
    send(core, host, &to, items).await
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
    hash: blake3::Hash,
    to: &str,
) -> Result {
    let data = fs::metadata(from).map_err(|error| unreadable(from, &error))?;
    if data.permissions().mode() & 0o111 == 0 {
        let text =
            format!("`{}` is not executable (mode {:o})", from.display(), data.permissions().mode() & 0o7777);
        let trouble = netsplit_model::Trouble::new(Reason::CouldNotStart, text);
        return Err(trouble.fix(format!("chmod +x {}", from.display())).into());
    }
    let entry = file_entry(to, 0o755, data.len(), &hash);
    send(core, host, to, vec![Item { entry, source: Source::File(from.to_owned()) }]).await
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
            let hash = hash_file(&path)?;
            let mode = mode.unwrap_or_else(|| data.permissions().mode() & 0o7777);
            items.push(Item { entry: file_entry(&to, mode, data.len(), &hash), source: Source::File(path) });
        } else if is_first {
            return Err(Error::new(
                Reason::FileRefused,
                format!("`{}` is neither a file nor a folder", path.display()),
            ));
        }
    }
    Ok(items)
}

/// The blake3 hash of a file; remembered for as long as the file looks the same, so that many hosts cost one look.
pub(super) fn hash_file(path: &Path) -> Result<blake3::Hash> {
    static KNOWN: Mutex<Option<HashMap<Stamp, blake3::Hash>>> = Mutex::new(None);
    let wrong = |error: io::Error| unreadable(path, &error);
    let mut file = File::open(path).map_err(wrong)?;
    let stamp = Stamp::of(&file.metadata().map_err(wrong)?);
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(hash) = known().get_or_insert_default().get(&stamp) {
        return Ok(*hash);
    }
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; 256 << 10];
    loop {
        match file.read(&mut chunk).map_err(wrong)? {
            0 => break,
            count => hasher.update(&chunk[..count]),
        };
    }
    let hash = hasher.finalize();
    let mut known = known();
    let known = known.get_or_insert_default();
    if known.len() >= HASHES_MAX {
        known.clear();
    }
    known.insert(stamp, hash);
    Ok(hash)
}

/// What changes when a file does.
#[derive(PartialEq, Eq, Hash)]
struct Stamp([i128; 5]);

impl Stamp {
    fn of(data: &Metadata) -> Self {
        let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let (modified, changed) =
            (time(data.mtime(), data.mtime_nsec()), time(data.ctime(), data.ctime_nsec()));
        Self([data.dev().into(), data.ino().into(), data.size().into(), modified, changed])
    }
}

/// Sends the manifest, then the bytes that the host asks for.
async fn send(core: &Arc<Core>, host: &HostName, to: &str, items: Vec<Item>) -> Result {
    let link = core.link(host)?;
    let why = |error: LinkError| lost(host, &core.why_lost(host, &error.to_string()));
    let mut channel = link.open(Priority::Bulk).await.map_err(why)?;
    let parts = items.chunks(ENTRIES_MAX);
    let count = parts.len();
    for (number, part) in parts.enumerate() {
        let entries = part.iter().map(|item| item.entry.clone()).collect();
        let put = Put { entries, last: number + 1 == count };
        channel.sender.send_message(&Request::from(Body::Put(put))).await.map_err(why)?;
    }
    let mut sent = 0;
    loop {
        match answer(&mut channel).await.map_err(why)? {
            Some(PutAnswer::Needs(needs)) => {
                let needed =
                    needs.entries.iter().filter_map(|number| items.get(usize::try_from(*number).ok()?));
                for item in needed {
                    sent += item.entry.size;
                    match send_item(&channel, item).await {
                        Ok(()) => {}
                        Err(Stopped::Here(error)) => return Err(error),
                        // The host has said why it wants no more.
                        Err(Stopped::There(LinkError::Closed)) => break,
                        Err(Stopped::There(error)) => return Err(why(error)),
                    }
                }
            }
            Some(PutAnswer::Done(_)) => break,
            Some(PutAnswer::Refused(said)) => return Err(refused(host, &said, "put")),
            None => {
                return Err(Error::new(
                    Reason::FileRefused,
                    format!("put `{to}` on {host}: the agent gave up"),
                ));
            }
        }
    }
    core.recorder.event(Event::FilePut {
        host: host.clone(),
        path: to.to_owned(),
        files: items.iter().filter(|item| item.entry.kind() == Kind::File).count() as u64,
        bytes: items.iter().map(|item| item.entry.size).sum(),
        sent,
    });
    Ok(())
}

async fn answer(channel: &mut Channel) -> std::result::Result<Option<PutAnswer>, LinkError> {
    match channel.receiver.receive().await {
        Received::Message(message) => Ok(PutReply::decode(message).ok().and_then(|reply| reply.answer)),
        Received::Lost(error) => Err(error),
        _ => Ok(None),
    }
}

enum Stopped {
    Here(Error),
    There(LinkError),
}

async fn send_item(channel: &Channel, item: &Item) -> std::result::Result<(), Stopped> {
    match &item.source {
        Source::None => Ok(()),
        Source::Bytes(bytes) if bytes.is_empty() => Ok(()),
        Source::Bytes(bytes) => channel.sender.send(tag::BYTES, bytes.clone()).await.map_err(Stopped::There),
        Source::File(path) => {
            let wrong = |error: io::Error| Stopped::Here(unreadable(path, &error));
            let mut file = File::open(path).map_err(wrong)?;
            let mut left = item.entry.size;
            while left > 0 {
                let some = left.min(CHUNK as u64);
                let mut chunk = Vec::with_capacity(CHUNK);
                (&mut file).take(some).read_to_end(&mut chunk).map_err(wrong)?;
                if chunk.is_empty() {
                    let text = format!("`{}` changed while it was copied: it became shorter", path.display());
                    return Err(Stopped::Here(Error::new(Reason::FileChanged, text)));
                }
                left -= chunk.len() as u64;
                channel.sender.send(tag::BYTES, chunk.into()).await.map_err(Stopped::There)?;
            }
            Ok(())
        }
    }
}
