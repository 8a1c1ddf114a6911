//! The runs of a project: `.netsplit/runs`, found by name, cleared by age.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use netsplit_model::{RunId, Verdict, VerdictFile};
use rustix::fs::{FlockOperation, flock};

use crate::layout::RunDir;

/// Where a project's runs lie.
#[derive(Clone, Debug)]
pub struct Runs {
    root: PathBuf,
}

/// One run as listings show it.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its directory.
    pub dir: RunDir,
    /// Its id, the last word of the directory's name.
    pub id: RunId,
    /// Whether it goes on, lives on, or is over.
    pub state: State,
    /// How it ended; `None` while it goes on, and when its runner was killed.
    pub verdict: Option<VerdictFile>,
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its runner lives.
    Running,
    /// Its runner is gone, its testbed lives on.
    Kept,
    /// Nothing of it lives.
    Over,
}

impl Run {
    /// The test's name.
    pub fn test(&self) -> String {
        match &self.verdict {
            Some(verdict) => verdict.test.clone(),
            None => self.dir.read_run().map(|run| run.test).unwrap_or_default(),
        }
    }

    /// How it ended: a runner that ended without a verdict leaves `unknown`.
    pub fn ending(&self) -> Option<Verdict> {
        match (&self.verdict, self.state) {
            (Some(verdict), _) => Some(verdict.verdict),
            (None, State::Running) => None,
            (None, _) => Some(Verdict::Unknown),
        }
    }
}

impl Runs {
    /// The runs below `root`, which is `.netsplit`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// `.netsplit`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a directory for a run that begins now, and locks it: it is running for as long as the lock is held.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn create(&self, test: &str, id: &RunId, now: SystemTime) -> io::Result<(RunDir, File)> {
        let runs = self.root.join("runs");
        fs::create_dir_all(&runs)?;
        let ignore = self.root.join(".gitignore");
        if !ignore.exists() {
            fs::write(ignore, "*\n")?;
        }
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let name = format!("{}-{}-{id}", timestamp(seconds), file_name(test));
        let dir = RunDir::new(runs.join(name));
        fs::create_dir(dir.path())?;
        let lock = File::create(dir.lock())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok((dir, lock))
    }

    /// Makes the link `name` (`last`, `last-failed`) lead to a run.
    ///
    /// # Errors
    /// When the link cannot be made.
    pub fn point(&self, name: &str, dir: &RunDir) -> io::Result<()> {
        let target = Path::new("runs").join(dir.path().file_name().unwrap_or_default());
        // Made beside and renamed over: two runs at once leave one link or the other, never none.
        let beside = self
            .root
            .join(format!(".{name}-{}", dir.path().file_name().unwrap_or_default().to_string_lossy()));
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(target, &beside)?;
        fs::rename(beside, self.root.join(name))
    }

    /// All runs, the oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<Run>> {
        let entries = match fs::read_dir(self.root.join("runs")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths.into_iter().filter(|path| path.is_dir()).map(|path| look(RunDir::new(path))).collect())
    }

    /// The run that a user means: `last`, `last-failed`, the begin of an id, or a directory.
    ///
    /// # Errors
    /// A sentence that says what there is instead.
    pub fn find(&self, name: &str) -> Result<Run, String> {
        if name == "last" || name == "last-failed" {
            let path = self.root.join(name);
            return match fs::canonicalize(&path) {
                Ok(path) => Ok(look(RunDir::new(path))),
                Err(_) => Err(format!(
                    "there is no {} run in {}",
                    name.trim_start_matches("last-"),
                    self.root.display()
                )),
            };
        }
        let path = Path::new(name);
        if name.contains('/') && path.join("run.json").is_file() {
            return Ok(look(RunDir::new(path)));
        }
        let all = self.list().map_err(|error| format!("{} cannot be read: {error}", self.root.display()))?;
        let mut matching: Vec<_> = all.into_iter().filter(|run| run.id.as_str().starts_with(name)).collect();
        // Runs of one test and seed that are simulated have one id: the newest is meant.
        matching.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
        matching.dedup_by(|later, earlier| {
            let is_one = later.id == earlier.id;
            if is_one {
                std::mem::swap(later, earlier);
            }
            is_one
        });
        match matching.len() {
            1 => Ok(matching.remove(0)),
            0 => Err(format!("no run `{name}` in {}", self.root.display())),
            _ => {
                let ids: Vec<_> = matching.iter().map(|run| run.id.to_string()).collect();
                Err(format!("`{name}` is the begin of several runs: {}", ids.join(" ")))
            }
        }
    }

    /// Which runs are beyond the limits: the oldest, but never one that lives, nor the newest failure of a test.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn beyond(&self, runs: u64, bytes: u64, age: Duration, now: SystemTime) -> io::Result<Vec<Run>> {
        let all = self.list()?;
        let mut newest_failure = BTreeMap::new();
        for run in &all {
            if run.ending().is_some_and(|verdict| !matches!(verdict, Verdict::Passed | Verdict::Skipped)) {
                newest_failure.insert(run.test(), run.dir.clone());
            }
        }
        let (mut count, mut sum) = (0, 0);
        let mut beyond = Vec::new();
        for run in all.into_iter().rev() {
            count += 1;
            sum += size(run.dir.path());
            let begun = fs::metadata(run.dir.lock()).and_then(|data| data.modified()).unwrap_or(now);
            let is_old = now.duration_since(begun).unwrap_or_default() > age;
            let is_spared = run.state != State::Over || newest_failure.values().any(|dir| *dir == run.dir);
            if (count > runs || sum > bytes || is_old) && !is_spared {
                beyond.push(run);
            }
        }
        Ok(beyond)
    }
}

fn look(dir: RunDir) -> Run {
    let name = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let id = RunId::from_text(name.rsplit('-').next().unwrap_or_default());
    let state = state(&dir);
    // A verdict of another format is shown as none.
    let verdict = dir.read_verdict().unwrap_or_default();
    Run { dir, id, state, verdict }
}

/// Whether the run in `dir` goes on, lives on, or is over.
pub fn state(dir: &RunDir) -> State {
    if is_locked(&dir.lock()) {
        State::Running
    } else if is_locked(&dir.path().join("bed.lock")) {
        State::Kept
    } else {
        State::Over
    }
}

fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

fn size(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => size(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// A test's name as part of a file's.
fn file_name(test: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' };
    let name: String = test.chars().map(keep).take(80).collect();
    let name: Vec<_> = name.split('-').filter(|part| !part.is_empty()).collect();
    if name.is_empty() { "run".to_owned() } else { name.join("-") }
}

/// Seconds since 1970 as `20261120-104233` (UTC), so that names sort by time.
fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days after 1970.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_names_that_sort() {
        assert_eq!(timestamp(0), "19700101-000000");
        assert_eq!(timestamp(951_827_696), "20000229-123456");
        assert_eq!(timestamp(1_795_257_753), "20261121-104233");
        assert_eq!(file_name("etcd-partition › a leader cut off"), "etcd-partition-a-leader-cut-off");
    }

    #[test]
    fn runs_are_found_and_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let runs = Runs::new(folder.path().join(".netsplit"));
        let at = |day: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400);
        for (day, id) in [(1, "aaaa"), (2, "aabb"), (3, "cccc")] {
            let (dir, _lock) = runs.create("t", &RunId::from_text(id), at(day)).unwrap();
            let verdict = VerdictFile {
                format: [1, 0],
                run: id.into(),
                test: "t".into(),
                verdict: if id == "aabb" { Verdict::Failed } else { Verdict::Passed },
                reason: None,
                tests: Vec::new(),
                seconds: 1.0,
                seed: 1,
                provider: "namespace".into(),
                repeat: String::new(),
                network: None,
                warnings: Vec::new(),
                teardown: None,
            };
            fs::write(dir.verdict_json(), serde_json::to_vec(&verdict).unwrap()).unwrap();
            runs.point("last", &dir).unwrap();
        }
        assert_eq!(runs.find("last").unwrap().id.as_str(), "cccc");
        assert_eq!(runs.find("aab").unwrap().ending(), Some(Verdict::Failed));
        assert_eq!(runs.find("aa").unwrap_err(), "`aa` is the begin of several runs: aaaa aabb");
        let (again, lock) = runs.create("t", &RunId::from_text("aaaa"), at(9)).unwrap();
        assert_eq!(runs.find("aaa").unwrap().dir, again, "the newest of one id");
        drop(lock);
        fs::remove_dir_all(again.path()).unwrap();
        let ids = |limit| -> Vec<String> {
            let beyond =
                runs.beyond(limit, 1 << 30, Duration::from_secs(1 << 40), SystemTime::now()).unwrap();
            beyond.iter().map(|run| run.id.to_string()).collect()
        };
        assert_eq!(ids(2), ["aaaa"]);
        assert_eq!(ids(0), ["cccc", "aaaa"], "the newest failure stays");
        let (dir, lock) = runs.create("t", &RunId::from_text("dddd"), at(4)).unwrap();
        assert_eq!(runs.find("dddd").unwrap().state, State::Running);
        drop(lock);
        assert_eq!(look(dir).ending(), Some(Verdict::Unknown), "its runner was killed");
    }
}
