//! Captures: packets of a host, a link or all, as files for Wireshark in the run's evidence.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use netsplit_model::{Capability, HostName, Place, Reason, Trouble, units::Wanted};
use netsplit_netmodel::Scope;
use netsplit_provider::{CaptureFilter, CaptureReport, CaptureSpec};
use tokio::time::{Instant, timeout_at};

use crate::core::Core;
use crate::engine::run_on;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::place;

/// How long the captures of a run may take to end, all together: what they have in memory is a few MiB.
const END_MAX: Duration = Duration::from_secs(5);

/// The one link that is meant, with a name for its file.
pub(super) fn one_link(scope: &Scope<HostName>) -> Result<(String, CaptureFilter)> {
    let (left, right, both_ways) = match scope {
        Scope::OneWay { from, to } => (from, to, false),
        Scope::BothWays { left, right } => (left, right, true),
        _ => unreachable!("links are one way or both"),
    };
    let ([from], [to]) = (&left[..], &right[..]) else {
        let trouble = Trouble::new(Reason::BadFault, format!("`{scope}` is more than one link"));
        return Err(trouble.fix("capture one link, one host, or all").into());
    };
    let word = if both_ways { "and" } else { "to" };
    let filter = CaptureFilter::Link { from: from.to_string(), to: to.to_string(), both_ways };
    Ok((format!("{from}-{word}-{to}"), filter))
}

/// Packets that are being written into the evidence. It ends with the run, or by [`end`](Self::end).
#[must_use = "a capture that is dropped goes on until the run ends"]
pub struct Capture {
    core: Arc<Core>,
    id: u32,
    path: PathBuf,
}

impl Capture {
    /// The file, for Wireshark (pcapng). It is complete after [`end`](Self::end), and when the run has ended.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends it; how much was written.
    ///
    /// # Errors
    /// The testbed has gone.
    #[track_caller]
    pub fn end(self) -> impl Future<Output = Result<CaptureReport>> + Send {
        let at = place::of(Location::caller());
        async move {
            let (core, id) = (Arc::clone(&self.core), self.id);
            core.take_capture(id);
            let report = async move { core.bed.end_capture(id).await.map_err(Error::from) };
            self.core.noted(run_on(&self.core.engine, report).await.and_then(|report| report), at)
        }
    }
}

pub(crate) fn capture(
    core: &Arc<Core>,
    what: Result<(String, CaptureFilter)>,
    at: Option<Place>,
) -> impl Future<Output = Result<Capture>> + Send + 'static {
    let core = Arc::clone(core);
    async move {
        let begun = async {
            core.need(Capability::Network)?;
            let (name, filter) = what?;
            let (path, file) = core.capture_file(&name).map_err(|error| {
                Trouble::new(Reason::DiskFull, format!("no file for a capture of {name}: {error}"))
            })?;
            let asker = Arc::clone(&core);
            let spec = CaptureSpec { file, filter };
            let kept = path.clone();
            let asked = async move {
                let id = asker.bed.capture(spec).await.map_err(Error::from)?;
                asker.add_capture(id, kept);
                Ok::<_, Error>(id)
            };
            let id = run_on(&core.engine, asked).await??;
            Ok(Capture { core: Arc::clone(&core), id, path })
        };
        let begun = begun.await;
        core.noted(begun, at)
    }
}

/// Ends the captures that the test did not end, for their files to be complete before the network goes. Runs on the
/// engine. What goes wrong is a warning: they decide nothing.
pub(crate) async fn end_all(core: &Core) {
    let open = core.take_captures();
    let is_whole = |report: &CaptureReport| report.lost == 0 && report.error.is_none();
    let until = Instant::now() + END_MAX;
    for (id, path) in open {
        let why = match timeout_at(until, core.bed.end_capture(id)).await {
            Ok(Ok(report)) if is_whole(&report) => continue,
            Ok(Ok(report)) => {
                let error = report.error.map(|error| format!(": {error}")).unwrap_or_default();
                format!("{} packets are missing{error}", report.lost)
            }
            Ok(Err(trouble)) => trouble.text,
            Err(_) => format!("it did not end within {}", Wanted(END_MAX)),
        };
        core.warn(Trouble::new(Reason::DiskFull, format!("{} is not whole: {why}", path.display())));
    }
}

/// What one host sends and gets.
pub(crate) fn of_host(host: &Host) -> (String, CaptureFilter) {
    (host.name().to_string(), CaptureFilter::Host(host.name().to_string()))
}

/// A new file for the evidence.
pub(crate) fn new_file(folder: &Path, name: &str) -> std::io::Result<(PathBuf, File)> {
    std::fs::create_dir_all(folder)?;
    let mut number = 1;
    loop {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        let path = folder.join(format!("{name}{suffix}.pcapng"));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capture({})", self.path.display())
    }
}
