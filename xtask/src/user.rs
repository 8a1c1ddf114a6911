//! The ordinary user as whom rootless things run when we are root.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::shell;

const NAME: &str = "netsplit-test";

/// An ordinary user with a folder of its own for as long as this lives.
pub(crate) struct Ordinary {
    uid: u32,
    gid: u32,
    folder: TempDir,
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

impl Ordinary {
    /// Finds the user, or makes it.
    pub(crate) fn get() -> Result<Self> {
        let ids = match look_up()? {
            Some(ids) => ids,
            None => {
                let shell = ["--create-home", "--shell", "/bin/sh", NAME];
                if !shell::succeeds(shell::command("useradd").args(shell))? {
                    bail!("the user `{NAME}` cannot be made");
                }
                look_up()?.with_context(|| format!("there is no user `{NAME}`"))?
            }
        };
        let folder = tempfile::Builder::new().prefix("xtask-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let (uid, gid) = ids;
        chown(folder.path(), Some(uid), Some(gid))?;
        Ok(Self { uid, gid, folder })
    }

    /// A folder that this user owns.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a folder below [`Self::folder`].
    pub(crate) fn make_folder(&self, name: &str) -> Result<std::path::PathBuf> {
        let path = self.folder().join(name);
        fs::create_dir_all(&path)?;
        chown(&path, Some(self.uid), Some(self.gid))?;
        Ok(path)
    }

    /// Lets `command` run as this user, who has nothing of root's in its environment.
    pub(crate) fn takes<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let name = |variable: &str| (variable.to_owned(), NAME);
        command.uid(self.uid).gid(self.gid).envs(["USER", "LOGNAME"].map(name)).env("HOME", self.folder())
    }

    /// Whether this user can run the file at `path`.
    pub(crate) fn reaches(&self, path: &Path) -> bool {
        let mut command = Command::new("test");
        command.arg("-x").arg(path).current_dir("/");
        self.takes(&mut command).status().is_ok_and(|status| status.success())
    }
}

fn look_up() -> Result<Option<(u32, u32)>> {
    let users = fs::read_to_string("/etc/passwd")?;
    let fields =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == NAME);
    let Some(fields) = fields else { return Ok(None) };
    let number =
        |at: usize| fields.get(at).and_then(|text| text.parse().ok()).context("/etc/passwd is damaged");
    Ok(Some((number(2)?, number(3)?)))
}
