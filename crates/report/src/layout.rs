//! Which file of a run is what (UX §6).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use netsplit_model::{HostName, ProcessName, Record, Stream, VerdictFile};
use serde::{Deserialize, Serialize};

/// The directory of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

/// The contents of `run.json`: what was asked, and everything that differs between two runs of one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFile {
    /// The format of this directory.
    pub format: [u32; 2],
    /// The run's id.
    pub run: String,
    /// The test's name.
    pub test: String,
    /// What makes the hosts.
    pub provider: String,
    /// The seed.
    pub seed: u64,
    /// The command line.
    pub argv: Vec<String>,
    /// Where it was run.
    pub cwd: PathBuf,
    /// When it began, in seconds since 1970 (UTC).
    pub began: u64,
    /// The process that ran it.
    pub pid: u32,
    /// netsplit's version.
    pub version: String,
    /// The kernel, as `uname -srm` says it.
    pub kernel: String,
    /// The user's number.
    pub user: u32,
    /// blake3 of the executable that ran it, when it could be read.
    pub executable: Option<String>,
    /// The scenario's file and blake3 of each text of it.
    #[serde(default)]
    pub scenario: BTreeMap<String, String>,
    /// Every setting with its value and origin.
    pub settings: BTreeMap<String, (String, String)>,
    /// The command that repeats it.
    pub repeat: String,
}

impl RunDir {
    /// The run in `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The append-only log.
    pub fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    /// What was asked.
    pub fn run_json(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// How it ended.
    pub fn verdict_json(&self) -> PathBuf {
        self.path.join("verdict.json")
    }

    /// The verdict for other tools.
    pub fn junit_xml(&self) -> PathBuf {
        self.path.join("junit.xml")
    }

    /// Captured packets.
    pub fn captures(&self) -> PathBuf {
        self.path.join("captures")
    }

    /// What happened on every link.
    pub fn links_json(&self) -> PathBuf {
        self.path.join("links.json")
    }

    /// The socket of its testbed, while that lives.
    pub fn bed_sock(&self) -> PathBuf {
        self.path.join("bed.sock")
    }

    /// Locked by whoever runs it, for as long as it runs.
    pub fn lock(&self) -> PathBuf {
        self.path.join(".lock")
    }

    /// The scenario's texts as they were.
    pub fn scenario(&self) -> PathBuf {
        self.path.join("scenario")
    }

    /// What belongs to one host.
    pub fn host(&self, host: &HostName) -> PathBuf {
        self.path.join("hosts").join(host.as_str())
    }

    /// Files that were fetched from a host.
    pub fn files(&self, host: &HostName) -> PathBuf {
        self.host(host).join("files")
    }

    /// What processes of a host see in their environment: whoever enters it sees the same.
    pub fn environment(&self, host: &HostName) -> PathBuf {
        self.host(host).join("environment.json")
    }

    /// Writes what processes of a host see, but for what is called like a secret. `None`: it was taken away, also from
    /// whoever enters the host.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_environment(
        &self,
        host: &HostName,
        variables: &BTreeMap<String, Option<String>>,
    ) -> io::Result<()> {
        let open: BTreeMap<_, _> = variables.iter().filter(|(name, _)| !is_secret(name)).collect();
        fs::create_dir_all(self.host(host))?;
        fs::write(self.environment(host), serde_json::to_vec_pretty(&open)?)
    }

    /// Reads what processes of a host see; nothing when nobody wrote it.
    pub fn read_environment(&self, host: &HostName) -> BTreeMap<String, Option<String>> {
        let text = fs::read(self.environment(host)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// The bytes of one stream of one process; absent when it wrote none.
    pub fn stream(&self, process: &ProcessName, stream: Stream) -> PathBuf {
        self.host(process.host()).join(format!("{}.{stream}", process.file_stem()))
    }

    /// Reads `run.json`.
    ///
    /// # Errors
    /// When it is absent or of another format.
    pub fn read_run(&self) -> io::Result<RunFile> {
        Ok(serde_json::from_slice(&fs::read(self.run_json())?)?)
    }

    /// Reads `verdict.json`; `None` when there is none yet, or never will be.
    ///
    /// # Errors
    /// When it is of another format.
    pub fn read_verdict(&self) -> io::Result<Option<VerdictFile>> {
        match fs::read(self.verdict_json()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        }
    }

    /// Reads the events up to the last whole line. A line that is none of ours is left out.
    ///
    /// # Errors
    /// When the log is absent.
    pub fn read_events(&self) -> io::Result<Vec<Record>> {
        let text = fs::read(self.events())?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = text[..whole].split_inclusive(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

/// Whether a variable is called so that its value stays out of every file.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_uppercase();
    ["TOKEN", "SECRET", "PASSWORD"].iter().any(|word| name.contains(word)) || name.ends_with("_KEY")
}
