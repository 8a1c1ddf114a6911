//! Files to, from and between hosts.

mod get;
mod hash;
mod pump;
mod put;

use std::fs;
use std::future::IntoFuture;
use std::os::unix::fs::PermissionsExt;
use std::panic::Location;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use netsplit_model::{HostName, Place, Reason, Trouble as UserTrouble};
use netsplit_wire::message::{Refused, Trouble};

use crate::core::Core;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::place;
use crate::process::BoxFuture;

/// Where programs of the user's lie on a host, by content.
const PROGRAMS: &str = "/var/lib/netsplit/programs";

/// Brings a file or folder to a host. Awaited, it is there.
#[must_use = "nothing is copied until it is awaited"]
#[derive(Debug)]
pub struct Put {
    core: Arc<Core>,
    host: HostName,
    from: PathBuf,
    to: String,
    mode: Option<u32>,
    at: Option<Place>,
}

impl Put {
    pub(crate) fn new(
        core: &Arc<Core>,
        host: &HostName,
        from: PathBuf,
        to: String,
        at: &'static Location<'static>,
    ) -> Self {
        Self { core: Arc::clone(core), host: host.clone(), from, to, mode: None, at: place::of(at) }
    }

    /// Gives files these permissions instead of their own.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }
}

impl IntoFuture for Put {
    type Output = Result;
    type IntoFuture = BoxFuture<Result>;

    fn into_future(self) -> BoxFuture<Result> {
        Box::pin(async move {
            let from = self.core.base.join(&self.from);
            let put = put::tree(&self.core, &self.host, &from, &self.to, self.mode).await;
            self.core.noted(put, self.at)
        })
    }
}

/// Writes a file on a host. Awaited, it is there.
#[must_use = "nothing is written until it is awaited"]
#[derive(Debug)]
pub struct Write {
    core: Arc<Core>,
    host: HostName,
    path: String,
    contents: Bytes,
    mode: u32,
    at: Option<Place>,
}

impl Write {
    pub(crate) fn new(
        core: &Arc<Core>,
        host: &HostName,
        path: String,
        contents: Bytes,
        at: &'static Location<'static>,
    ) -> Self {
        Self { core: Arc::clone(core), host: host.clone(), path, contents, mode: 0o644, at: place::of(at) }
    }

    /// Gives it these permissions; 0644 unless said.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }
}

impl IntoFuture for Write {
    type Output = Result;
    type IntoFuture = BoxFuture<Result>;

    fn into_future(self) -> BoxFuture<Result> {
        Box::pin(async move {
            let put = put::contents(&self.core, &self.host, &self.path, self.contents, self.mode).await;
            self.core.noted(put, self.at)
        })
    }
}

/// Fetches a file or folder of a host. Awaited, it lies in the run's evidence, with its permissions but for the
/// set-user-id, set-group-id and sticky bits.
#[must_use = "nothing is fetched until it is awaited"]
#[derive(Debug)]
pub struct Get {
    core: Arc<Core>,
    host: HostName,
    path: String,
    to: Option<PathBuf>,
    at: Option<Place>,
}

impl Get {
    pub(crate) fn new(
        core: &Arc<Core>,
        host: &HostName,
        path: String,
        at: &'static Location<'static>,
    ) -> Self {
        Self { core: Arc::clone(core), host: host.clone(), path, to: None, at: place::of(at) }
    }

    /// Where it is to lie on this machine, instead of the run's evidence.
    pub fn to(mut self, path: impl Into<PathBuf>) -> Self {
        self.to = Some(path.into());
        self
    }
}

impl IntoFuture for Get {
    type Output = Result<Fetched>;
    type IntoFuture = BoxFuture<Result<Fetched>>;

    fn into_future(self) -> BoxFuture<Result<Fetched>> {
        Box::pin(async move {
            let to = self.to.map_or_else(
                || {
                    let files = self.core.recorder.dir().files(&self.host);
                    self.core.fetch_place(&files, &below_root(&self.path))
                },
                |to| self.core.base.join(to),
            );
            let got = get::tree(&self.core, &self.host, &self.path, &to)
                .await
                .map(|()| Fetched { core: Arc::clone(&self.core), path: to });
            self.core.noted(got, self.at)
        })
    }
}

/// What was fetched from a host, as it lies on this machine.
#[derive(Clone, Debug)]
pub struct Fetched {
    core: Arc<Core>,
    path: PathBuf,
}

impl Fetched {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// When it is a folder.
    #[track_caller]
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let read = fs::read(&self.path).map_err(|error| self.unreadable(&error));
        self.core.noted(read, place::of(Location::caller()))
    }

    /// The file as text; bytes that are no UTF-8 are replaced.
    ///
    /// # Errors
    /// When it is a folder.
    #[track_caller]
    pub fn text(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }

    /// The file's permissions.
    ///
    /// # Errors
    /// When it has been removed.
    #[track_caller]
    pub fn mode(&self) -> Result<u32> {
        let data = fs::metadata(&self.path).map_err(|error| self.unreadable(&error));
        let mode = data.map(|data| data.permissions().mode() & 0o7777);
        self.core.noted(mode, place::of(Location::caller()))
    }

    fn unreadable(&self, error: &std::io::Error) -> Error {
        Error::new(Reason::FileRefused, format!("`{}` cannot be read: {error}", self.path.display()))
    }
}

/// Copies a file or folder from one host to another. Awaited, it is there.
#[must_use = "nothing is copied until it is awaited"]
#[derive(Debug)]
pub struct CopyTo {
    from: Host,
    to: Host,
    path: String,
    at_path: Option<String>,
    at: Option<Place>,
}

impl CopyTo {
    pub(crate) fn new(from: &Host, to: &Host, path: String, at: &'static Location<'static>) -> Self {
        Self { from: from.clone(), to: to.clone(), path, at_path: None, at: place::of(at) }
    }

    /// Where it is to lie on the other host. A path that ends with `/` is a folder to put it into.
    pub fn at_path(mut self, path: impl Into<String>) -> Self {
        self.at_path = Some(path.into());
        self
    }

    /// Where it is to lie, in full: on its way it has another name.
    fn place(&self) -> String {
        let path = self.path.trim_end_matches('/');
        match &self.at_path {
            Some(folder) if folder.ends_with('/') => {
                format!("{folder}{}", path.rsplit('/').next().unwrap_or_default())
            }
            Some(place) => place.clone(),
            None => path.to_owned(),
        }
    }
}

impl IntoFuture for CopyTo {
    type Output = Result;
    type IntoFuture = BoxFuture<Result>;

    fn into_future(self) -> BoxFuture<Result> {
        Box::pin(async move {
            let core = Arc::clone(&self.from.core);
            let between = core.recorder.dir().path().join(format!("copy-{}", crate::entropy::number()));
            let copied = async {
                get::tree(&core, self.from.name(), &self.path, &between).await?;
                put::tree(&core, self.to.name(), &between, &self.place(), None).await
            };
            let copied = copied.await;
            let _not_there =
                if between.is_dir() { fs::remove_dir_all(&between) } else { fs::remove_file(&between) };
            core.noted(copied, self.at)
        })
    }
}

/// Brings a program of the user's to a host, under a name made of its content, and returns where it lies.
pub(crate) async fn bring_program(core: &Arc<Core>, host: &HostName, file: &Path) -> Result<String> {
    let hashed = hash::file(file)?;
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or("program");
    let to = format!("{PROGRAMS}/{}/{name}", &hashed.hash.to_hex()[..16]);
    put::program(core, host, file, hashed, &to).await?;
    Ok(to)
}

/// The error for what a host refused.
fn refused(host: &HostName, refused: &Refused, doing: &str) -> Error {
    let (path, text) = (&refused.path, &refused.text);
    let trouble = match refused.trouble() {
        Trouble::NoSpace => UserTrouble::new(
            Reason::HostDiskFull,
            format!("{doing} `{path}` on {host}: no space is left there"),
        )
        .because("a host's disk is memory of this machine, and limited by its `disk` where one is set")
        .guess("a larger `disk`, or fewer files"),
        Trouble::NotFound => {
            UserTrouble::new(Reason::NoSuchFile, format!("{doing} `{path}` on {host}: nothing is there"))
        }
        Trouble::Changed => {
            UserTrouble::new(Reason::FileChanged, format!("`{path}` changed while it was copied to {host}"))
                .guess("copy a file that nobody writes to")
        }
        Trouble::Other => {
            UserTrouble::new(Reason::FileRefused, format!("{doing} `{path}` on {host}: {text}"))
        }
    };
    trouble.into()
}

/// The error for a file of this machine.
fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let (name, what) = match error.kind() {
        std::io::ErrorKind::NotFound => (Reason::NoSuchFile, "no file or folder".to_owned()),
        _ => (Reason::FileRefused, format!("{error}:")),
    };
    Error::new(name, format!("{what} `{}` here", path.display()))
}

/// What a path names below the root, where `..` leads nowhere.
fn below_root(path: &str) -> PathBuf {
    let mut below = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => below.push(name),
            Component::ParentDir => {
                below.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    below
}

fn absolute(path: &str) -> Result {
    if path.starts_with('/') {
        return Ok(());
    }
    let text = format!("`{path}` is no path on a host: it must begin with `/`");
    Err(UserTrouble::new(Reason::BadValue, text).fix(format!("`/{path}`")).into())
}
