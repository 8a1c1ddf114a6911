//! A host's clock: what a test does to it.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use netsplit_model::units::Wanted;
use netsplit_model::{Capability, Event, HostName, Reason, Trouble};
use netsplit_provider::ClockFault;

use crate::core::Core;
use crate::engine::run_on;
use crate::error::Result;
use crate::host::Host;
use crate::place;

/// A host's clock. What is done to it holds until it is changed again, also when the host is started again; deadlines and
/// times of the test and its log are those of the true time.
#[must_use = "a clock does nothing by itself"]
#[derive(Clone)]
pub struct Clock {
    core: Arc<Core>,
    host: HostName,
}

impl Clock {
    pub(crate) fn new(host: &Host) -> Self {
        Self { core: Arc::clone(&host.core), host: host.name().clone() }
    }

    /// The time of day jumps forward. Time that is measured (`Instant`) does not.
    ///
    /// # Errors
    /// `missing-capability` where clocks cannot be set.
    #[track_caller]
    pub fn jump(&self, by: Duration) -> impl Future<Output = Result> + Send + 'static {
        self.shift("jump", "", by, |nanos| ClockFault::Jump { nanos })
    }

    /// The time of day jumps back, as after a step of NTP.
    ///
    /// # Errors
    /// `missing-capability` where clocks cannot be set.
    #[track_caller]
    pub fn jump_back(&self, by: Duration) -> impl Future<Output = Result> + Send + 'static {
        self.shift("jump", "-", by, |nanos| ClockFault::Jump { nanos: -nanos })
    }

    /// The time of day is ahead of the true one by so much, whatever it was before; by nothing: it is true again.
    ///
    /// # Errors
    /// `missing-capability` where clocks cannot be set.
    #[track_caller]
    pub fn skew(&self, ahead: Duration) -> impl Future<Output = Result> + Send + 'static {
        self.shift("skew", "", ahead, |nanos| ClockFault::Skew { nanos })
    }

    /// The time of day is behind the true one by so much, whatever it was before.
    ///
    /// # Errors
    /// `missing-capability` where clocks cannot be set.
    #[track_caller]
    pub fn skew_back(&self, behind: Duration) -> impl Future<Output = Result> + Send + 'static {
        self.shift("skew", "-", behind, |nanos| ClockFault::Skew { nanos: -nanos })
    }

    /// All its clocks run faster by so many millionths from now on, or slower when negative; 0: at the true rate.
    ///
    /// # Errors
    /// `missing-capability` where clocks cannot be set; below -1000000 they would run backwards.
    #[track_caller]
    pub fn drift_ppm(&self, ppm: i32) -> impl Future<Output = Result> + Send + 'static {
        let wrong = (ppm <= -1_000_000).then(|| format!("a drift of {ppm}ppm: time would not go on"));
        self.change(format!("drift {ppm}ppm"), wrong.map_or(Ok(ClockFault::Drift { ppm }), Err))
    }

    #[track_caller]
    fn shift(
        &self,
        verb: &str,
        sign: &str,
        by: Duration,
        fault: impl Fn(i64) -> ClockFault,
    ) -> impl Future<Output = Result> + Send + 'static {
        let what = format!("{verb} {sign}{}", Wanted(by));
        let nanos = i64::try_from(by.as_nanos()).map_err(|_| format!("`{what}`: clocks do not reach so far"));
        self.change(what, nanos.map(fault))
    }

    #[track_caller]
    fn change(
        &self,
        what: String,
        fault: std::result::Result<ClockFault, String>,
    ) -> impl Future<Output = Result> + Send + 'static {
        let (core, host, at) = (Arc::clone(&self.core), self.host.clone(), place::of(Location::caller()));
        async move { core.noted(carry_out(&core, host, what, fault).await, at) }
    }
}

async fn carry_out(
    core: &Arc<Core>,
    host: HostName,
    what: String,
    fault: std::result::Result<ClockFault, String>,
) -> Result {
    core.need(Capability::Clock)?;
    let fault = fault.map_err(|text| Trouble::new(Reason::BadFault, text))?;
    let (bed, name) = (Arc::clone(&core.bed), host.clone());
    run_on(&core.engine, async move { bed.change_clock(&name, fault).await }).await??;
    let said = format!("clock of {host}: {what}");
    core.recorder.disturbance(Event::ClockChanged { host, what }, said);
    Ok(())
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.host)
    }
}
