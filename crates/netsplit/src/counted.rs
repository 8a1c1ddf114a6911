//! What happened on the network of a run, told once at its end: links.json, the log, the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use netsplit_model::{Capability, Event, LateSummary, NetworkSummary, Reason, Trouble, units::Wanted};
use netsplit_netmodel::{Cause, Condition, Counters};
use netsplit_provider::{LinkReport, NetworkReport};

use crate::core::Core;
use crate::network::settle;

/// How long the network may take to tell.
const REPORT_MAX: Duration = Duration::from_secs(10);
/// Links that the log names; links.json has more.
const LINKS_LOGGED: usize = 1000;
/// Of fewer deliveries nobody can say what 99 of 100 are.
const LATE_COUNT_MIN: u64 = 100;

/// Reads the network for the last time. `None`: it is not ours, or has gone.
pub(crate) async fn read(core: &Core) -> Option<NetworkReport> {
    if !core.capabilities.has(Capability::Network) || core.names().is_empty() {
        return None;
    }
    let read = async {
        settle(core).await;
        core.bed.network().await
    };
    tokio::time::timeout(REPORT_MAX, read).await.ok()?.ok()
}

/// Writes links.json and the log's lines, and gives the verdict's part.
pub(crate) fn tell(core: &Core, report: &NetworkReport) -> NetworkSummary {
    if !report.links.is_empty() {
        let path = core.recorder.dir().links_json();
        // Its sum stands in the verdict.
        let _only_a_view = serde_json::to_vec_pretty(report).map(|text| std::fs::write(path, text));
    }
    let is_worth =
        |link: &&LinkReport| link.condition != Condition::new() || link.counters.dropped().packets > 0;
    for link in report.links.iter().filter(is_worth).take(LINKS_LOGGED) {
        core.recorder.event(Event::LinkCounted {
            from: link.from.clone(),
            to: link.to.clone(),
            offered: link.counters.offered.packets,
            delivered: link.counters.delivered.packets,
            dropped: dropped(&link.counters),
            queued_bytes_max: link.counters.queued_bytes_max,
        });
    }
    summary(core.faults_ever(), report)
}

fn summary(faults: u32, report: &NetworkReport) -> NetworkSummary {
    let mut all = BTreeMap::new();
    for link in &report.links {
        for (cause, packets) in dropped(&link.counters) {
            *all.entry(cause).or_default() += packets;
        }
    }
    let sum = |of: fn(&Counters) -> u64| report.links.iter().map(|link| of(&link.counters)).sum();
    NetworkSummary {
        faults,
        offered: sum(|counters| counters.offered.packets),
        delivered: sum(|counters| counters.delivered.packets),
        dropped: all,
        ports: kinds(report),
        late: LateSummary {
            deliveries: report.lateness.count,
            p50_ns: report.lateness.p50_ns,
            p99_ns: report.lateness.p99_ns,
            max_ns: report.lateness.max_ns,
        },
    }
}

/// How hosts are joined: of all in one way its word, else each, in order. Routers are joined in the network itself.
fn kinds(report: &NetworkReport) -> String {
    let kinds = report.ports.iter().filter_map(|port| port.kind.as_deref());
    let kinds: BTreeSet<_> = kinds.filter(|kind| *kind != "router").collect();
    kinds.into_iter().collect::<Vec<_>>().join(", ")
}

/// Packets by the cause of their loss, without those that are none.
fn dropped(counters: &Counters) -> BTreeMap<String, u64> {
    let of = |cause: Cause| {
        let packets = counters.dropped_by(cause).packets;
        (packets > 0).then(|| (cause.to_string(), packets))
    };
    Cause::ALL.into_iter().filter_map(of).collect()
}

/// What is said of a network that was later than the test allows.
pub(crate) fn too_late(summary: &NetworkSummary, limit: Duration) -> Option<Trouble> {
    let late = &summary.late;
    let p99 = Duration::from_nanos(late.p99_ns);
    if late.deliveries < LATE_COUNT_MIN || p99 <= limit {
        return None;
    }
    let milliseconds = |time: Duration| format!("{:.1}ms", time.as_secs_f64() * 1e3);
    let text =
        format!("the network between hosts was late: p99 {}, limit {}", milliseconds(p99), Wanted(limit));
    Some(
        Trouble::new(Reason::FabricLate, text)
            .because("the machine had no processor free for it when packets were due")
            .guess("--jobs 1, or a machine that does less else")
            .or(format!("network.late = \"{}ms\"", p99.as_millis() + 1)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_in_are_those_of_hosts() {
        let port = |kind: Option<&str>| netsplit_provider::PortReport {
            name: "a".into(),
            kind: kind.map(str::to_owned),
            refused: 0,
        };
        let said = |kinds: &[Option<&str>]| {
            let ports = kinds.iter().copied().map(port).collect();
            super::kinds(&NetworkReport { ports, ..NetworkReport::default() })
        };
        assert_eq!(said(&[Some("router"), None, Some("tap"), Some("tap")]), "tap");
        assert_eq!(said(&[Some("tap"), Some("packet"), Some("router")]), "packet, tap");
        assert_eq!(said(&[None]), "");
    }

    #[test]
    fn late_is_what_is_beyond_the_limit() {
        let late = |deliveries, p99_ns| {
            let late = LateSummary { deliveries, p99_ns, ..LateSummary::default() };
            let summary = NetworkSummary { late, ..NetworkSummary::default() };
            too_late(&summary, Duration::from_millis(2)).map(|trouble| trouble.text)
        };
        let said = late(100, 7_100_000);
        assert_eq!(said.as_deref(), Some("the network between hosts was late: p99 7.1ms, limit 2ms"));
        assert_eq!(late(99, 7_100_000), None, "too few to tell");
        assert_eq!(late(1000, 2_000_000), None);
    }
}
