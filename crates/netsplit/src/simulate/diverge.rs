//! Two processes simulated one seed: where their runs differ, with what stands around it.

use netsplit_model::{Reason, Trouble, Verdict};
use netsplit_provider::simulation;

/// Events before the first that differs.
const BEFORE: usize = 3;
/// Events of each side from the first that differs on.
const FROM: usize = 3;
/// Characters of an event that are shown; what is left out is in the log.
const SHOWN_MAX: usize = 160;

/// What one process made of a seed.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) verdict: Verdict,
    /// The text of its reason.
    pub(super) reason: Option<String>,
    /// `None`: it crashed.
    pub(super) trace: Option<u64>,
    /// The log, byte for byte.
    pub(super) events: Vec<u8>,
}

/// How two runs of one seed differ; `None`: they do not.
pub(super) fn compare(one: &Side, other: &Side) -> Option<Trouble> {
    let diverged = |text: String| {
        let trouble = Trouble::new(Reason::Diverged, text);
        if simulation::has_random_addresses() {
            return trouble
                .because("`personality` is refused here, so that addresses in memory are random: some locks choose by them")
                .guess("docker run --security-opt seccomp=unconfined");
        }
        trouble
            .guess("what depends on the working directory, the environment, addresses in memory or real time")
    };
    if let Some((line, shown)) = first_difference(&one.events, &other.events) {
        return Some(
            diverged(format!("one seed gave two runs: event {line} is the first that differs")).saw(shown),
        );
    }
    let same = "although their events are the same";
    let reason = |side: &Side| side.reason.clone().unwrap_or_else(|| "no reason".to_owned());
    if (one.verdict, &one.reason) != (other.verdict, &other.reason) {
        let text = format!("one seed gave two verdicts, {same}");
        let (one, other) = [one, other].map(|side| format!("{}: {}", side.verdict, reason(side))).into();
        return Some(diverged(text).wanted(one, other));
    }
    if one.trace != other.trace {
        let shown = |side: &Side| {
            side.trace.map_or_else(|| "none: it crashed".into(), |trace| format!("{trace:016x}"))
        };
        let text = format!("one seed gave two traces, {same}: {} and {}", shown(one), shown(other));
        return Some(diverged(text));
    }
    None
}

/// The number of the first line that differs, and both sides around it.
fn first_difference(one: &[u8], other: &[u8]) -> Option<(usize, String)> {
    if one == other {
        return None;
    }
    let lines =
        |bytes: &[u8]| -> Vec<String> { String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect() };
    let (one, other) = (lines(one), lines(other));
    let differs = |at: &usize| one.get(*at) != other.get(*at);
    // Both may have the same lines, and one of them an end of line more.
    let at = (0..one.len().max(other.len())).find(differs).unwrap_or(one.len());
    let mut shown = Vec::new();
    for line in &one[at.saturating_sub(BEFORE)..at.min(one.len())] {
        shown.push(format!("both    {}", short(line)));
    }
    for (label, side) in [("first ", &one), ("second", &other)] {
        shown.extend(side.iter().skip(at).take(FROM).map(|line| format!("{label}  {}", short(line))));
        if side.len() <= at {
            shown.push(format!("{label}  ends here"));
        }
    }
    Some((at, shown.join("\n")))
}

fn short(line: &str) -> String {
    let mut shown: String = line.chars().take(SHOWN_MAX).collect();
    if shown.len() < line.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(count: usize, change: &[(usize, &str)]) -> Vec<u8> {
        let line = |n: usize| {
            let kind = change.iter().find(|(at, _)| *at == n).map_or("output", |(_, kind)| *kind);
            format!("{{\"n\":{n},\"t\":{},\"kind\":\"{kind}\"}}\n", n * 1000)
        };
        (0..count).map(line).collect::<String>().into_bytes()
    }

    fn side(events: Vec<u8>) -> Side {
        Side { verdict: Verdict::Passed, reason: None, trace: Some(1), events }
    }

    #[test]
    fn the_first_event_that_differs_is_shown_with_those_around_it() {
        assert!(compare(&side(log(20, &[])), &side(log(20, &[]))).is_none());
        let other = side(log(20, &[(7, "host.lost"), (9, "note.added")]));
        let trouble = compare(&side(log(20, &[])), &other).unwrap();
        assert_eq!((trouble.name, trouble.verdict()), (Reason::Diverged, Verdict::Failed));
        assert_eq!(trouble.text, "one seed gave two runs: event 7 is the first that differs");
        let line =
            |label, n: usize, kind| format!("{label}  {{\"n\":{n},\"t\":{},\"kind\":\"{kind}\"}}", n * 1000);
        let mut wanted: Vec<_> = (4..7).map(|n| line("both  ", n, "output")).collect();
        wanted.extend((7..10).map(|n| line("first ", n, "output")));
        wanted.extend([
            line("second", 7, "host.lost"),
            line("second", 8, "output"),
            line("second", 9, "note.added"),
        ]);
        assert_eq!(trouble.saw, [wanted.join("\n")]);
    }

    #[test]
    fn a_log_that_is_shorter_ends_somewhere() {
        let trouble = compare(&side(log(5, &[])), &side(log(4, &[]))).unwrap();
        assert!(trouble.text.contains("event 4"), "{trouble}");
        assert!(
            trouble.saw[0].ends_with("first   {\"n\":4,\"t\":4000,\"kind\":\"output\"}\nsecond  ends here"),
            "{trouble}"
        );
        let long = side(format!("{}\n", "x".repeat(500)).into_bytes());
        assert!(compare(&long, &side(Vec::new())).unwrap().saw[0].contains("xxx…"));
    }

    #[test]
    fn verdicts_and_traces_count_as_well() {
        let failed = Side { verdict: Verdict::Failed, reason: Some("x".into()), ..side(Vec::new()) };
        let text = compare(&side(Vec::new()), &failed).unwrap().to_string();
        assert!(text.contains("two verdicts") && text.contains("passed: no reason"), "{text}");
        let other = Side { trace: Some(255), ..side(Vec::new()) };
        let text = compare(&side(Vec::new()), &other).unwrap().text;
        assert!(text.ends_with("0000000000000001 and 00000000000000ff"), "{text}");
        let crashed = Side { trace: None, ..side(Vec::new()) };
        assert!(compare(&side(Vec::new()), &crashed).unwrap().text.ends_with("none: it crashed"));
    }
}
