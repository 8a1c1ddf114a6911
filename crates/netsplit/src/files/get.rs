//! From a host: into files of this machine, each checked by hash before it gets its name.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use netsplit_link::{Channel, Link, LinkError, Priority, Received};
use netsplit_model::{Event, HostName, Reason, units::Wanted};
use netsplit_wire::message::{Body, Entry, Get, GetAnswer, GetReply, Kind, Request, tag};
use prost::Message;

use super::{absolute, refused, unreadable};
use crate::core::{Core, lost};
use crate::error::{Error, Result};

/// What of a host's permissions holds here: a program of a host's must not run as its owner on this machine.
const HERE: u32 = 0o777;

/// Fetches `path` and everything below it to `to`.
pub(super) async fn tree(core: &Arc<Core>, host: &HostName, path: &str, to: &Path) -> Result {
    absolute(path)?;
    let link = core.link(host)?;
    let limit = core.settings.deadlines.wait;
    let fetched = async {
        let channel = in_time(limit, ask(&link, path)).await?.map_err(Stopped::Link)?;
        let mut fetch = Fetch { channel, to, limit, files: 0, bytes: 0 };
        fetch.all().await.map(|()| (fetch.files, fetch.bytes))
    };
    let (files, bytes) = fetched.await.map_err(|stopped| match stopped {
        Stopped::Link(error) => lost(host, &core.why_lost(host, &error.to_string())),
        Stopped::Here(path, error) => unreadable(&path, &error),
        Stopped::Said(answer) => refused(host, &answer, "get"),
        Stopped::Broken(text) => Error::new(Reason::FileRefused, format!("get `{path}` from {host}: {text}")),
        Stopped::Silent => {
            let text = format!("get `{path}` from {host}: nothing came for {}", Wanted(limit));
            core.stalled(host, text)
        }
    })?;
    core.recorder.event(Event::FileGot { host: host.clone(), path: path.to_owned(), files, bytes });
    Ok(())
}

async fn ask(link: &Link, path: &str) -> Result<Channel, LinkError> {
    let channel = link.open(Priority::Control).await?;
    channel.receiver.widen();
    let request = Request::from(Body::Get(Get { path: path.to_owned() }));
    channel.sender.send_message(&request).await?;
    Ok(channel)
}

async fn in_time<T>(limit: Duration, done: impl Future<Output = T>) -> Result<T, Stopped> {
    tokio::time::timeout(limit, done).await.map_err(|_| Stopped::Silent)
}

enum Stopped {
    Link(LinkError),
    Here(PathBuf, io::Error),
    Said(netsplit_wire::message::Refused),
    Broken(&'static str),
    /// Nothing came for too long.
    Silent,
}

struct Fetch<'a> {
    channel: Channel,
    to: &'a Path,
    /// How long nothing may come.
    limit: Duration,
    files: u64,
    bytes: u64,
}

impl Fetch<'_> {
    async fn all(&mut self) -> Result<(), Stopped> {
        // A folder may forbid writing into it; it gets its mode when all is there.
        let mut folders = Vec::new();
        loop {
            match self.answer().await? {
                GetAnswer::Entry(entry) => {
                    let path = place(self.to, &entry)?;
                    let here = |error| Stopped::Here(path.clone(), error);
                    match entry.kind() {
                        Kind::Folder => {
                            fs::create_dir_all(&path).map_err(here)?;
                            folders.push((path, entry.mode));
                        }
                        Kind::Link => make_link(&path, &entry.target).map_err(here)?,
                        Kind::File => self.file(&path, entry.mode).await?,
                    }
                }
                GetAnswer::Done(_) => break,
                GetAnswer::Refused(refused) => return Err(Stopped::Said(refused)),
                GetAnswer::End(_) => return Err(Stopped::Broken("an end without its file")),
            }
        }
        for (path, mode) in folders.into_iter().rev() {
            fs::set_permissions(&path, Permissions::from_mode((mode & HERE) | 0o700))
                .map_err(|error| Stopped::Here(path, error))?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Received, Stopped> {
        in_time(self.limit, self.channel.receiver.receive()).await
    }

    async fn answer(&mut self) -> Result<GetAnswer, Stopped> {
        match self.receive().await? {
            Received::Message(message) => {
                let answer = GetReply::decode(message).ok().and_then(|reply| reply.answer);
                answer.ok_or(Stopped::Broken("an answer that cannot be read"))
            }
            Received::Lost(error) => Err(Stopped::Link(error)),
            _ => Err(Stopped::Broken("the agent gave up")),
        }
    }

    async fn file(&mut self, path: &Path, mode: u32) -> Result<(), Stopped> {
        let here = |error| Stopped::Here(path.to_owned(), error);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(here)?;
        }
        let (temporary, mut file) = Temporary::beside(path).map_err(here)?;
        let mut hasher = blake3::Hasher::new();
        let hash = loop {
            match self.receive().await? {
                Received::Data(tag::BYTES, bytes) => {
                    self.bytes += bytes.len() as u64;
                    hasher.update(&bytes);
                    file.write_all(&bytes).map_err(here)?;
                }
                Received::Message(message) => {
                    match GetReply::decode(message).ok().and_then(|reply| reply.answer) {
                        Some(GetAnswer::End(hash)) => break hash,
                        Some(GetAnswer::Refused(refused)) => return Err(Stopped::Said(refused)),
                        _ => return Err(Stopped::Broken("a file without its end")),
                    }
                }
                Received::Lost(error) => return Err(Stopped::Link(error)),
                _ => return Err(Stopped::Broken("the agent gave up")),
            }
        };
        if hasher.finalize().as_bytes()[..] != hash[..] {
            return Err(Stopped::Broken("its bytes are not those of its hash"));
        }
        file.set_permissions(Permissions::from_mode(mode & HERE)).map_err(here)?;
        fs::rename(&temporary.0, path).map_err(here)?;
        self.files += 1;
        Ok(())
    }
}

/// A file without its name yet; removed unless it got it.
struct Temporary(PathBuf);

impl Temporary {
    /// A new file in the folder of `path`. Its name is one that no host knows: a link may wait under any other.
    fn beside(path: &Path) -> io::Result<(Self, File)> {
        let path = path.with_file_name(format!(".netsplit-{:016x}", crate::entropy::number()));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok((Self(path), file))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _renamed = fs::remove_file(&self.0);
    }
}

/// Where an entry is to lie. A host must not write outside of what it was asked for.
fn place(to: &Path, entry: &Entry) -> Result<PathBuf, Stopped> {
    if entry.path.is_empty() {
        // What is asked for is followed there; a link in its place would lead elsewhere here.
        return match entry.kind() {
            Kind::Link => Err(Stopped::Broken("a link in place of what it leads to")),
            Kind::File | Kind::Folder => Ok(to.to_owned()),
        };
    }
    let relative = Path::new(&entry.path);
    if relative.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(Stopped::Broken("a path that leads elsewhere"));
    }
    let path = to.join(relative);
    // A file or link takes the place of a link; a folder is made where something is.
    let replaces = usize::from(entry.kind() != Kind::Folder);
    if path.ancestors().skip(replaces).take_while(|part| *part != to).any(Path::is_symlink) {
        return Err(Stopped::Broken("a path through a link"));
    }
    Ok(path)
}

fn make_link(path: &Path, target: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where an entry of this kind and path is to lie below `to`.
    fn lies(to: &Path, kind: Kind, path: &str) -> Result<PathBuf, &'static str> {
        let entry = Entry { path: path.to_owned(), kind: kind.into(), ..Entry::default() };
        place(to, &entry).map_err(|stopped| match stopped {
            Stopped::Broken(text) => text,
            _ => panic!("refused for another reason"),
        })
    }

    #[test]
    fn entries_lie_below_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("to");
        fs::create_dir(&to).unwrap();
        for kind in [Kind::File, Kind::Folder, Kind::Link] {
            assert_eq!(lies(&to, kind, "a/b"), Ok(to.join("a/b")));
            for path in ["..", "/x", "a/../x", "./x"] {
                assert_eq!(lies(&to, kind, path), Err("a path that leads elsewhere"), "{path}");
            }
        }
        assert_eq!(lies(&to, Kind::File, ""), Ok(to.clone()));
        assert_eq!(lies(&to, Kind::Folder, ""), Ok(to.clone()));
        assert_eq!(lies(&to, Kind::Link, ""), Err("a link in place of what it leads to"));
    }

    #[test]
    fn nothing_lies_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("to");
        fs::create_dir_all(to.join("own")).unwrap();
        symlink(folder.path(), to.join("own/link")).unwrap();
        for kind in [Kind::File, Kind::Folder, Kind::Link] {
            assert_eq!(lies(&to, kind, "own/link/x"), Err("a path through a link"), "{kind:?}");
        }
        // A folder that is a link would be given its mode where the link leads.
        assert_eq!(lies(&to, Kind::Folder, "own/link"), Err("a path through a link"));
        assert_eq!(lies(&to, Kind::File, "own/link"), Ok(to.join("own/link")));
        // What the user gave as the place may be a link.
        let link = folder.path().join("place");
        symlink(&to, &link).unwrap();
        assert_eq!(lies(&link, Kind::Folder, "own/x"), Ok(link.join("own/x")));
    }

    #[test]
    fn a_temporary_file_goes_unless_it_gets_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        drop(Temporary::beside(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let (temporary, _file) = Temporary::beside(&path).unwrap();
        fs::rename(&temporary.0, &path).unwrap();
        drop(temporary);
        assert!(path.exists());
    }
}
