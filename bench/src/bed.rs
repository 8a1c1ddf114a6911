//! A testbed for a bench: hosts of the namespace provider, evidence where `NETSPLIT_DIR` says.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use netsplit::model::Verdict;
use netsplit::run::{Ending, HostPlan, Run, RunSpec};
use netsplit::settings::Settings;
use netsplit::{HostName, Testbed};

/// What no command of a bench takes.
const LONG: Duration = Duration::from_secs(600);

/// A testbed and its run, which removes its evidence when it ends.
pub(crate) struct Bed {
    run: Run,
    pub(crate) hosts: Testbed,
    /// How long its hosts took to come up.
    pub(crate) ready: Duration,
}

impl Bed {
    /// Makes so many hosts.
    pub(crate) async fn new(hosts: usize) -> Result<Self> {
        let here = std::env::current_dir()?;
        let mut settings = Settings::load(&here, &[]).map_err(|wrong| anyhow!("{wrong:?}"))?;
        (settings.deadlines.run, settings.deadlines.wait) = (LONG, LONG);
        let spec = RunSpec {
            test: "bench".to_owned(),
            provider: netsplit_provider::by_name("namespace").context("no namespace provider")?,
            networks: Vec::new(),
            routers: Vec::new(),
            base: here,
            repeat: "cargo xtask bench".to_owned(),
            scenario: Default::default(),
        };
        let mut run = Run::begin(settings, spec)?;
        let plans = HostPlan::of_role(&HostName::new("host")?, HostName::numbered(hosts), None);
        let begun = Instant::now();
        let hosts = run.make_hosts(plans).await?;
        Ok(Self { run, hosts, ready: begun.elapsed() })
    }

    /// The only host, or the first.
    pub(crate) fn host(&self) -> Result<netsplit::Host> {
        self.hosts.hosts().into_iter().next().context("a testbed without hosts")
    }

    /// Takes it down and removes its evidence.
    pub(crate) async fn end(self) -> Result<()> {
        drop(self.hosts);
        let finished =
            self.run.end(Ending { verdict: Verdict::Passed, reason: None, tests: Vec::new() }).await;
        std::fs::remove_dir_all(finished.dir.path())?;
        match finished.verdict.teardown {
            Some(teardown) if teardown.ok => Ok(()),
            other => Err(anyhow!("the testbed did not go as it should: {other:?}")),
        }
    }
}
