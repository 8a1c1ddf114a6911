//! From a host: into files of this machine, each checked by hash before it gets its name.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use netsplit_link::{Channel, LinkError, Priority, Received};
use netsplit_model::{Event, HostName, Reason};
use netsplit_wire::message::{Body, Entry, Get, GetAnswer, GetReply, Kind, Request, tag};
use prost::Message;

use super::{absolute, refused, unreadable};
use crate::core::{Core, lost};
use crate::error::{Error, Result};

/// Fetches `path` and everything below it to `to`.
pub(super) async fn tree(core: &Arc<Core>, host: &HostName, path: &str, to: &Path) -> Result {
    absolute(path)?;
    let link = core.link(host)?;
    let why = |error: LinkError| lost(host, &core.why_lost(host, &error.to_string()));
    let channel = link.open(Priority::Control).await.map_err(why)?;
    channel.receiver.widen();
    let request = Request::from(Body::Get(Get { path: path.to_owned() }));
    channel.sender.send_message(&request).await.map_err(why)?;
    let mut fetch = Fetch { channel, to, files: 0, bytes: 0 };
    match fetch.all().await {
        Ok(()) => {}
        Err(Stopped::Link(error)) => return Err(why(error)),
        Err(Stopped::Here(path, error)) => return Err(unreadable(&path, &error)),
        Err(Stopped::Said(answer)) => return Err(refused(host, &answer, "get")),
        Err(Stopped::Broken(text)) => {
            return Err(Error::new(Reason::FileRefused, format!("get `{path}` from {host}: {text}")));
        }
    }
    core.recorder.event(Event::FileGot {
        host: host.clone(),
        path: path.to_owned(),
        files: fetch.files,
        bytes: fetch.bytes,
    });
    Ok(())
}

enum Stopped {
    Link(LinkError),
    Here(PathBuf, io::Error),
    Said(netsplit_wire::message::Refused),
    Broken(&'static str),
}

struct Fetch<'a> {
    channel: Channel,
    to: &'a Path,
    files: u64,
    bytes: u64,
}

impl Fetch<'_> {
    async fn all(&mut self) -> std::result::Result<(), Stopped> {
        // A folder may forbid writing into it; it gets its mode when all is there.
        let mut folders = Vec::new();
        loop {
            match self.answer().await? {
                GetAnswer::Entry(entry) => {
                    let path = self.place(&entry)?;
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
            fs::set_permissions(&path, Permissions::from_mode(mode | 0o700))
                .map_err(|error| Stopped::Here(path, error))?;
        }
        Ok(())
    }

    async fn answer(&mut self) -> std::result::Result<GetAnswer, Stopped> {
        match self.channel.receiver.receive().await {
            Received::Message(message) => {
                let answer = GetReply::decode(message).ok().and_then(|reply| reply.answer);
                answer.ok_or(Stopped::Broken("an answer that cannot be read"))
            }
            Received::Lost(error) => Err(Stopped::Link(error)),
            _ => Err(Stopped::Broken("the agent gave up")),
        }
    }

    /// Where an entry is to lie. A host must not write outside of what it was asked for.
    fn place(&self, entry: &Entry) -> std::result::Result<PathBuf, Stopped> {
        let relative = Path::new(&entry.path);
        if relative.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(Stopped::Broken("a path that leads elsewhere"));
        }
        let path = if entry.path.is_empty() { self.to.to_owned() } else { self.to.join(relative) };
        let is_inside = |parent: &Path| parent == self.to || !parent.is_symlink();
        if path.ancestors().skip(1).take_while(|parent| parent.starts_with(self.to)).all(is_inside) {
            Ok(path)
        } else {
            Err(Stopped::Broken("a path through a link"))
        }
    }

    async fn file(&mut self, path: &Path, mode: u32) -> std::result::Result<(), Stopped> {
        let here = |error| Stopped::Here(path.to_owned(), error);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(here)?;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".netsplit-{name}"));
        let mut file = File::create(&temporary).map_err(here)?;
        let mut hasher = blake3::Hasher::new();
        let hash = loop {
            match self.channel.receiver.receive().await {
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
        fs::set_permissions(&temporary, Permissions::from_mode(mode)).map_err(here)?;
        fs::rename(&temporary, path).map_err(here)?;
        self.files += 1;
        Ok(())
    }
}

fn make_link(path: &Path, target: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, path)
}
