//! Faults of the network: they belong to the test that began them, and end with it.

use netsplit::{Between, HostName, Hosts};
use netsplit_model::{Reason, Trouble};
use netsplit_scenario::{Capture, Fault, Heal, LinkEnds, Regions};

use super::state::{Failure, State, StepResult};
use super::steps::boxed;

/// Begins a fault.
pub(super) async fn begin(state: &State<'_>, fault: &Fault) -> StepResult {
    let scope = fault.links.scope(|select| state.stations(select))?;
    let change = state.bed.network().fault(fault.verb, Ok(scope), fault.condition);
    let change = named(change.schedule(fault.schedule), fault.name.as_deref());
    let change = if fault.control { change.control() } else { change };
    let begun = change.await.map_err(boxed)?;
    state.has_begun(fault.name.as_deref(), begun);
    Ok(())
}

fn named(change: netsplit::Change, name: Option<&str>) -> netsplit::Change {
    match name {
        Some(name) => change.named(name),
        None => change,
    }
}

/// Hosts and routers.
struct Stations(Vec<HostName>);

impl Hosts for Stations {
    fn hosts(self) -> Vec<HostName> {
        self.0
    }
}

/// Puts hosts into regions: a delay for each pair of them, and one within each.
pub(super) async fn regions(state: &State<'_>, of: &Regions) -> StepResult {
    let mut places = Vec::new();
    for (region, select) in &of.places {
        places.push((*region, Stations(state.stations(select)?)));
    }
    let change = named(state.bed.network().regions(places), of.name.as_deref());
    state.has_begun(of.name.as_deref(), change.await.map_err(boxed)?);
    Ok(())
}

/// Ends faults before their test does. One whose time was over is healed.
pub(super) async fn heal(state: &State<'_>, what: &Heal) -> StepResult {
    let name = match what {
        Heal::All => None,
        Heal::Named(name) => Some(name.as_str()),
    };
    let mut failure: Option<Failure> = None;
    for fault in state.take_faults(name) {
        if let Err(error) = fault.heal().await {
            failure.get_or_insert_with(|| boxed(error));
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Writes packets into the evidence until the test ends.
pub(super) async fn capture(state: &State<'_>, what: &Capture) -> StepResult {
    match what {
        Capture::All => state.captures(state.bed.network().capture_all().await.map_err(boxed)?),
        Capture::Hosts(select) => {
            for host in state.hosts(select)? {
                state.captures(host.capture().await.map_err(boxed)?);
            }
        }
        Capture::Links(LinkEnds { left, right, is_both_ways }) => {
            for from in &state.hosts(left)? {
                for to in state.hosts(right)?.iter().filter(|to| to.name() != from.name()) {
                    let link = if *is_both_ways { from.and(to) } else { from.to(to) };
                    state.captures(state.bed.network().capture(link).await.map_err(boxed)?);
                }
            }
        }
    }
    Ok(())
}

/// Heals what the test began and did not heal, and ends its captures. What goes wrong is a warning: the verdict is made.
pub(super) async fn end(state: &State<'_>) {
    if let Err(trouble) = heal(state, &Heal::All).await {
        state.bed.warn(*trouble);
    }
    for capture in state.take_captures() {
        let path = capture.path().to_owned();
        let warning = match capture.end().await {
            Ok(report) if report.lost > 0 || report.error.is_some() => {
                let why = report.error.map(|error| format!(": {error}")).unwrap_or_default();
                let text =
                    format!("{} is not whole: {} packets are missing{why}", path.display(), report.lost);
                Trouble::new(Reason::DiskFull, text)
            }
            Ok(_) => continue,
            Err(error) => error.into(),
        };
        state.bed.warn(warning);
    }
}
