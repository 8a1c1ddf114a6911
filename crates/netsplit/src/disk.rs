//! A host's disk: how it fails, for as long as a guard lives.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use netsplit_model::units::Wanted;
use netsplit_model::{Capability, Event, HostName, Reason, Trouble};
use netsplit_provider::DiskFault as Spec;

use crate::core::Core;
use crate::engine::run_on;
use crate::error::Result;
use crate::host::Host;
use crate::{network, place};

/// A host's disk.
#[must_use = "a disk does nothing by itself"]
#[derive(Clone)]
pub struct Disk {
    core: Arc<Core>,
    host: HostName,
}

impl Disk {
    pub(crate) fn new(host: &Host) -> Self {
        Self { core: Arc::clone(&host.core), host: host.name().clone() }
    }

    /// While this lasts, a write that was not synced when the power is cut may be there in part; else it is there as a
    /// whole or not at all.
    ///
    /// # Errors
    /// `missing-capability` where disks cannot fail.
    #[track_caller]
    pub fn torn_writes(&self) -> impl Future<Output = Result<DiskFault>> + Send + 'static {
        self.begin("torn-writes".to_owned(), Ok(Spec::TornWrites))
    }

    /// Nothing more can be written: ENOSPC.
    ///
    /// # Errors
    /// `missing-capability` where disks cannot fail.
    #[track_caller]
    pub fn full(&self) -> impl Future<Output = Result<DiskFault>> + Send + 'static {
        self.begin("full".to_owned(), Ok(Spec::Full))
    }

    /// This share of reads, writes and syncs fails with EIO, by the seed: 0.01 is one of a hundred.
    ///
    /// # Errors
    /// `missing-capability` where disks cannot fail; a share that is not from 0 to 1.
    #[track_caller]
    pub fn errors(&self, share: f64) -> impl Future<Output = Result<DiskFault>> + Send + 'static {
        let what = format!("errors {}%", share * 100.0);
        let wrong = || format!("a disk of which a share of {share} fails: it is from 0 to 1");
        let spec = if (0.0..=1.0).contains(&share) { Ok(Spec::Errors { share }) } else { Err(wrong()) };
        self.begin(what, spec)
    }

    /// Each read, write and sync takes so much longer.
    ///
    /// # Errors
    /// `missing-capability` where disks cannot fail.
    #[track_caller]
    pub fn slow(&self, latency: Duration) -> impl Future<Output = Result<DiskFault>> + Send + 'static {
        self.begin(format!("slow {}", Wanted(latency)), Ok(Spec::Slow { latency }))
    }

    /// No read, write or sync is answered until this ends.
    ///
    /// # Errors
    /// `missing-capability` where disks cannot fail.
    #[track_caller]
    pub fn stuck(&self) -> impl Future<Output = Result<DiskFault>> + Send + 'static {
        self.begin("stuck".to_owned(), Ok(Spec::Stuck))
    }

    /// Ends every fault of this disk, also those that were left.
    ///
    /// # Errors
    /// One that did not heal.
    #[track_caller]
    pub fn heal(&self) -> impl Future<Output = Result> + Send + 'static {
        let (core, host, at) = (Arc::clone(&self.core), self.host.clone(), place::of(Location::caller()));
        async move {
            let mut healed = core.need(Capability::Disk);
            for fault in core.disk_faults().into_iter().filter(|fault| fault.host == host) {
                healed = healed.and(heal(&core, fault.number).await);
            }
            core.noted(healed, at)
        }
    }

    #[track_caller]
    fn begin(
        &self,
        what: String,
        spec: std::result::Result<Spec, String>,
    ) -> impl Future<Output = Result<DiskFault>> + Send + 'static {
        let (core, host, at) = (Arc::clone(&self.core), self.host.clone(), place::of(Location::caller()));
        async move { core.noted(begin(&core, host, what, spec).await, at) }
    }
}

/// A fault of a disk. Dropped, it heals; [`heal`](Self::heal) also says whether it did.
#[must_use = "a fault heals when its guard is dropped"]
pub struct DiskFault {
    core: Arc<Core>,
    number: u32,
    what: String,
    is_left: bool,
}

impl DiskFault {
    /// Itself in words: `stuck disk of a`.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Heals it.
    ///
    /// # Errors
    /// The disk did not heal.
    #[track_caller]
    pub fn heal(self) -> impl Future<Output = Result> + Send {
        let at = place::of(Location::caller());
        async move { self.core.noted(heal(&self.core, self.number).await, at) }
    }

    /// Leaves it in force until the run ends, or [`Disk::heal`] heals it.
    pub fn leave(mut self) {
        self.is_left = true;
    }
}

impl Drop for DiskFault {
    fn drop(&mut self) {
        if self.is_left {
            return;
        }
        let Some(fault) = lift(&self.core, self.number) else { return };
        let core = Arc::clone(&self.core);
        // What the test does to disks or network next waits for it.
        let heals = core.heals();
        self.core.engine.spawn(async move {
            if let Err(trouble) = core.bed.heal_disk_fault(fault.id).await {
                core.warn(trouble);
            }
            drop(heals);
        });
    }
}

/// A fault in force, as the run knows it.
#[derive(Clone, Debug)]
pub(crate) struct DiskFaultInForce {
    /// Its number in this run.
    pub(crate) number: u32,
    /// What the testbed calls it.
    id: u32,
    pub(crate) host: HostName,
    pub(crate) what: String,
    pub(crate) since: Duration,
}

impl DiskFaultInForce {
    /// Its name in the log.
    pub(crate) fn label(number: u32) -> String {
        format!("d{number}")
    }
}

async fn begin(
    core: &Arc<Core>,
    host: HostName,
    what: String,
    spec: std::result::Result<Spec, String>,
) -> Result<DiskFault> {
    core.need(Capability::Disk)?;
    let spec = spec.map_err(|text| Trouble::new(Reason::BadFault, text))?;
    network::settle(core).await;
    let task = Arc::clone(core);
    // Runs to its end: a fault that the disk has belongs to a guard, whatever becomes of who asked for it.
    run_on(&core.engine, async move {
        let number = task.next_fault();
        let fault = DiskFaultInForce::label(number);
        let event = Event::DiskBegan { fault: fault.clone(), host: host.clone(), what: what.clone() };
        let what = format!("{what} disk of {host}");
        let since = task.recorder.disturbance(event, format!("`{what}` began"));
        let id = task.bed.begin_disk_fault(&host, spec).await.inspect_err(|_| {
            task.recorder.event(Event::DiskEnded { fault, why: "refused".into() });
        })?;
        let guard = DiskFault { core: Arc::clone(&task), number, what: what.clone(), is_left: false };
        task.add_disk_fault(DiskFaultInForce { number, id, host, what, since });
        Ok(guard)
    })
    .await?
}

async fn heal(core: &Arc<Core>, number: u32) -> Result {
    network::settle(core).await;
    // One that was healed is.
    let Some(fault) = lift(core, number) else { return Ok(()) };
    let bed = Arc::clone(&core.bed);
    run_on(&core.engine, async move { bed.heal_disk_fault(fault.id).await }).await?.map_err(Into::into)
}

/// Takes a fault from the run's list: from now on it is none, though the disk has not healed yet.
fn lift(core: &Core, number: u32) -> Option<DiskFaultInForce> {
    let fault = core.take_disk_fault(number)?;
    let event = Event::DiskEnded { fault: DiskFaultInForce::label(number), why: "healed".into() };
    core.recorder.disturbance(event, format!("`{}` was healed", fault.what));
    Some(fault)
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", self.host)
    }
}

impl fmt::Debug for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskFault({})", self.what)
    }
}
