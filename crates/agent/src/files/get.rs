//! Gives files and trees of this host as they are at this moment.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use netsplit_link::{LinkError, Sender};
use netsplit_wire::message::{Entry, GetAnswer, GetReply, Kind, tag};
use rustix::fs::{Mode, OFlags};

use super::{CHUNK, ENTRIES_MAX, refused};

/// Bytes of a file that says it holds none. Those of the kernel are shorter, and some have no end.
const UNSIZED_MAX: usize = 64 << 20;

/// Sends `path` and everything below it.
pub(crate) async fn get(path: &str, sender: &Sender) {
    let answer = match walk(Path::new(path), sender).await {
        Ok(()) => GetAnswer::Done(true),
        Err(Stopped::Refused(path, error)) => GetAnswer::Refused(refused(&path, &error)),
        Err(Stopped::ClientGone) => return,
    };
    let _gone = tell(sender, answer).await;
    sender.finish();
}

enum Stopped {
    Refused(PathBuf, io::Error),
    ClientGone,
}

impl From<LinkError> for Stopped {
    fn from(_: LinkError) -> Self {
        Self::ClientGone
    }
}

async fn tell(sender: &Sender, answer: GetAnswer) -> Result<(), LinkError> {
    sender.send_message(&GetReply::from(answer)).await
}

/// Sends a file, or a tree with parents before children and names in order.
async fn walk(root: &Path, sender: &Sender) -> Result<(), Stopped> {
    let stopped = |path: &Path| {
        let path = path.to_owned();
        move |error| Stopped::Refused(path, error)
    };
    let mut waiting = vec![PathBuf::new()];
    let mut count = 0;
    while let Some(relative) = waiting.pop() {
        let path = if relative.as_os_str().is_empty() { root.to_owned() } else { root.join(&relative) };
        // What was asked for may be a link to it; links inside stay links.
        let data = if count == 0 { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        let data = data.map_err(stopped(&path))?;
        count += 1;
        if count > ENTRIES_MAX {
            return Err(Stopped::Refused(root.to_owned(), io::Error::other("too many files")));
        }
        if data.is_dir() {
            tell(sender, GetAnswer::Entry(entry(&relative, Kind::Folder, &data))).await?;
            waiting.extend(children(&path, &relative).map_err(stopped(&path))?);
        } else if data.is_symlink() {
            let target = fs::read_link(&path).map_err(stopped(&path))?;
            let target = target.display().to_string();
            tell(sender, GetAnswer::Entry(Entry { target, ..entry(&relative, Kind::Link, &data) })).await?;
        } else if data.is_file() {
            let file = open(&path).map_err(stopped(&path))?;
            tell(sender, GetAnswer::Entry(entry(&relative, Kind::File, &data))).await?;
            send_file(file, data.len(), sender).await.map_err(|error| match error {
                Ok(error) => Stopped::Refused(path, error),
                Err(gone) => gone.into(),
            })?;
        } else if count == 1 {
            return Err(Stopped::Refused(path, io::Error::other("is neither a file nor a folder")));
        }
        // Sockets, pipes and devices inside a tree hold no bytes to fetch.
    }
    Ok(())
}

fn entry(relative: &Path, kind: Kind, data: &Metadata) -> Entry {
    Entry {
        path: relative.display().to_string(),
        kind: kind.into(),
        mode: data.permissions().mode() & 0o7777,
        size: if kind == Kind::File { data.len() } else { 0 },
        ..Entry::default()
    }
}

/// The names in a folder, the last first: they are taken from the end.
fn children(path: &Path, relative: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort_by(|a, b| b.cmp(a));
    Ok(names.into_iter().map(|name| relative.join(name)).collect())
}

/// Opens a file for what it has now: who reads it never waits.
fn open(path: &Path) -> io::Result<File> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// Sends what the file holds now, at most `size` bytes: a log that grows meanwhile has an end here. Files of
/// procfs say that they hold nothing; what they have is told by reading them.
async fn send_file(file: File, size: u64, sender: &Sender) -> Result<(), Result<io::Error, LinkError>> {
    let mut hasher = blake3::Hasher::new();
    let (mut file, mut left) = (file.take(if size == 0 { u64::MAX } else { size }), UNSIZED_MAX);
    loop {
        let chunk = read(&mut file).map_err(Ok)?;
        if chunk.is_empty() {
            break;
        }
        if size == 0 {
            let rest = left.checked_sub(chunk.len());
            left = rest.ok_or_else(|| Ok(io::Error::other("has no length, and more than 64 MiB")))?;
        }
        hasher.update(&chunk);
        sender.send(tag::BYTES, chunk.into()).await.map_err(Err)?;
    }
    let hash = Bytes::copy_from_slice(hasher.finalize().as_bytes());
    tell(sender, GetAnswer::End(hash)).await.map_err(Err)
}

/// The next bytes of a file; none are left also when more are still to come.
fn read(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    match file.take(CHUNK as u64).read_to_end(&mut chunk) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(chunk),
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn nobody_waits_for_what_is_still_to_come() {
        let (reader, writer) = pipe().unwrap();
        rustix::io::write(&writer, b"now").unwrap();
        // The pipe as a path, which waits for its writer unless it is opened so.
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        let mut file = open(Path::new(&path)).unwrap();
        assert_eq!(read(&mut file).unwrap(), b"now");
        assert_eq!(read(&mut file).unwrap(), b"");
    }
}
