//! A real sshd on a loopback port with keys of its own, and a shared connection to it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::exec::on_the_spot;

const SSHD: &str = "/usr/sbin/sshd";

/// Ends the daemon when it goes.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A connection to a daemon of our own that stands, and is shared by every command. It ends when it goes.
pub(crate) struct Shared {
    _daemon: Daemon,
    folder: TempDir,
    port: u16,
}

impl Shared {
    /// Makes one, or says why not.
    pub(crate) fn connect() -> Result<Result<Self, String>> {
        if !Path::new(SSHD).is_file() {
            return Ok(Err("openssh-server is not installed".into()));
        }
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let shared = Self { _daemon: start(folder.path(), port)?, folder, port };
        let master = shared.ssh().args(["-M", "-N", "-f", "127.0.0.1"]).stderr(Stdio::null()).status()?;
        if !master.success() {
            let log = fs::read_to_string(shared.folder.path().join("log")).unwrap_or_default();
            bail!("no shared connection: {master}\n{log}");
        }
        Ok(Ok(shared))
    }

    /// `ssh host true`.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.ssh();
        command.args(["127.0.0.1", "true"]);
        command
    }

    fn ssh(&self) -> Command {
        let folder = self.folder.path();
        let mut command = Command::new("ssh");
        command.args(["-F", "/dev/null", "-p", &self.port.to_string(), "-o", "BatchMode=yes"]);
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        command.args(["-o", "LogLevel=ERROR", "-o"]);
        command.arg(format!("ControlPath={}", folder.join("control").display()));
        command.arg("-i").arg(folder.join("user"));
        command
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The connection ends with its daemon otherwise.
        let _ended = self.ssh().args(["-O", "exit", "127.0.0.1"]).stderr(Stdio::null()).status();
    }
}

fn start(folder: &Path, port: u16) -> Result<Daemon> {
    for key in ["host", "user"] {
        on_the_spot(
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(key)),
        )?;
    }
    fs::copy(folder.join("user.pub"), folder.join("authorized"))?;
    let here = folder.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host\nAuthorizedKeysFile {here}/authorized\n\
         PidFile {here}/pid\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
    );
    fs::write(folder.join("config"), config)?;
    let child = Command::new(SSHD)
        .arg("-D")
        .arg("-f")
        .arg(folder.join("config"))
        .arg("-E")
        .arg(folder.join("log"))
        .stdin(Stdio::null())
        .spawn()
        .context(SSHD)?;
    let daemon = Daemon(child);
    let begun = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if begun.elapsed() > Duration::from_secs(5) {
            bail!("sshd does not listen: {}", fs::read_to_string(folder.join("log")).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(daemon)
}
