//! Measurements of the network between hosts, and whether they are what was asked. Tolerances stand here, with their
//! reasons.

use std::collections::BTreeMap;
use std::time::Duration;

use netsplit::netmodel::{Count, Counters, Passage};
use netsplit::prelude::*;
use netsplit::{LinkReport, NetworkReport, Process, Result};

use crate::traffic::{udp_hear, udp_send};

/// How long packets under way may take to arrive, on a busy machine.
const QUIET_MAX: Duration = Duration::from_secs(20);
/// How often a burst is sent again for a receiver that came too late.
const MEASURED_MAX: usize = 6;

/// A burst of datagrams of [`udp_send`].
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Over IPv4 or IPv6: 4 or 6.
    pub family: u8,
    /// How many.
    pub count: u32,
    /// How long each is, without headers.
    pub bytes: usize,
    /// How far apart they are on average.
    pub pace: Duration,
}

impl Burst {
    /// So many over IPv4, of 100 bytes, as fast as a socket takes them without loss.
    pub fn of(count: u32) -> Self {
        Self { family: 4, count, bytes: 100, pace: Duration::from_micros(50) }
    }

    /// The same over a family, 4 or 6.
    #[must_use]
    pub fn over(self, family: u8) -> Self {
        Self { family, ..self }
    }

    /// The same with datagrams of so many bytes.
    #[must_use]
    pub fn long(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// The same with so much time between datagrams.
    #[must_use]
    pub fn every(self, pace: Duration) -> Self {
        Self { pace, ..self }
    }
}

/// What came of a burst.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How many were sent.
    pub sent: u64,
    /// How many came, copies included.
    pub got: u64,
    /// How many different ones.
    pub distinct: u64,
    /// Those that came behind later ones.
    pub late: u64,
    /// Uninterrupted runs of those that did not come.
    pub runs: u64,
    /// Of them the kernel threw away so many for a wrong checksum; in a simulation the network knows how many.
    pub checksum: u64,
    /// And so many for want of room in the socket.
    pub overflow: u64,
    /// How long the quickest was under way, and at which times a tenth, half, nine tenths and all had come.
    pub times: [Duration; 5],
    /// What the link counted meanwhile.
    pub link: Counted,
}

/// What a link counted between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Packets handed to it.
    pub offered: u64,
    /// Packets that it handed on.
    pub delivered: u64,
    /// Packets that it dropped.
    pub dropped: u64,
}

impl Seen {
    /// Those that did not come.
    pub fn lost(&self) -> u64 {
        self.sent - self.distinct
    }

    /// How long half of them took, or less.
    pub fn median(&self) -> Duration {
        self.times[2]
    }
}

/// Programs that hear datagrams, one on each host.
#[derive(Debug)]
pub struct Ears {
    bed: Testbed,
    ears: BTreeMap<String, Process>,
}

impl Ears {
    /// Starts one on each host.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn of(bed: &Testbed) -> Result<Self> {
        let mut all = Self { bed: bed.clone(), ears: BTreeMap::new() };
        for host in bed.hosts() {
            all.on(&host).await?;
        }
        // All ask for each other's addresses now: a question that is lost is asked again only a second later.
        for family in [4, 6] {
            all.roll_call(family).await?;
        }
        Ok(all)
    }

    /// Starts one on this host, which came up again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn on(&mut self, host: &Host) -> Result {
        let ear = host.start(udp_hear).stdin_open().ready("^hearing$").await?;
        self.ears.insert(host.name().to_string(), ear);
        Ok(())
    }

    /// Sends a burst from one host to another, and gives what came of it when nothing is under way any more. A receiver
    /// that came too late for some is no measurement of the link: then the same again, at half the pace.
    ///
    /// # Errors
    /// When a program failed.
    ///
    /// # Panics
    /// When counts contradict each other, or no receiver is quick enough.
    pub async fn measure(&self, from: &Host, to: &Host, mut burst: Burst) -> Result<Seen> {
        for _ in 0..MEASURED_MAX {
            let report = self.bed.network().report().await?;
            let (before, damaged) = (link(&report, from, to), damaged(&report));
            self.ask(to, "heard").await?;
            send(from, burst, &[to.name().as_str()]).await?;
            let after = self.quiet(from, to, before.offered.packets + u64::from(burst.count)).await?;
            let mut seen = self.counted(from, to, burst.count).await?;
            seen.checksum += self::damaged(&self.bed.network().report().await?) - damaged;
            let since = |of: fn(&Counters) -> Count| of(&after).packets - of(&before).packets;
            seen.link = Counted {
                offered: since(|counters| counters.offered),
                delivered: since(|counters| counters.delivered),
                dropped: since(Counters::dropped),
            };
            assert!(seen.distinct <= seen.sent && seen.link.offered >= seen.sent, "{seen:?}");
            if seen.overflow == 0 {
                return Ok(seen);
            }
            burst.pace *= 2;
        }
        panic!("no receiver on {to} is quick enough for {burst:?}");
    }

    /// What came of so many by now, when nothing is under way any more; since the last question.
    ///
    /// # Errors
    /// When a program failed.
    pub async fn came(&self, from: &Host, to: &Host, count: u32) -> Result<Seen> {
        self.quiet(from, to, 0).await?;
        self.counted(from, to, count).await
    }

    async fn counted(&self, from: &Host, to: &Host, sent: u32) -> Result<Seen> {
        let count = self.ask(to, &format!("count {} {sent}", from.name())).await?;
        let value = |key: &str| {
            let found = count.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            found
                .and_then(|value| value.parse::<u64>().ok())
                .unwrap_or_else(|| panic!("no `{key}` in {count}"))
        };
        let times = ["min_us", "p10_us", "p50_us", "p90_us", "max_us"];
        Ok(Seen {
            sent: sent.into(),
            got: value("got"),
            distinct: value("distinct"),
            late: value("late"),
            runs: value("runs"),
            checksum: value("checksum"),
            overflow: value("overflow"),
            times: times.map(|key| Duration::from_micros(value(key))),
            link: Counted::default(),
        })
    }

    /// Waits until a link was offered so many packets and nothing is under way on any; gives what it counted by then.
    async fn quiet(&self, from: &Host, to: &Host, offered: u64) -> Result<Counters> {
        let counted = eventually(QUIET_MAX, || async {
            let report = self.bed.network().report().await.map_err(|error| error.to_string())?;
            let seen = link(&report, from, to);
            let moves = |link: &&LinkReport| {
                let is_held = link.condition.passage == Some(Passage::Hold);
                link.counters.under_way.packets > 0 || !is_held && link.counters.queued.packets > 0
            };
            match report.links.iter().find(moves) {
                Some(link) => Err(format!("{link:?} moves")),
                None if seen.offered.packets < offered => Err(format!("{seen:?} is not {offered}")),
                None => Ok(seen),
            }
        });
        let counted = counted.await.map_err(std::io::Error::other)?;
        // From the network to the socket it is the host's kernel's part, whose steps nobody can see: far less than this.
        tokio::time::sleep(millis(50)).await;
        Ok(counted)
    }

    /// Who hears whom: every host says something to every other, and each line is `HOST: SENDERS`.
    ///
    /// # Errors
    /// When a program failed.
    pub async fn roll_call(&self, family: u8) -> Result<Vec<String>> {
        let hosts = self.bed.hosts();
        for host in &hosts {
            self.ask(host, "heard").await?;
        }
        for host in &hosts {
            let others: Vec<_> =
                hosts.iter().filter(|other| *other != host).map(|other| other.name().as_str()).collect();
            send(host, Burst::of(1).over(family), &others).await?;
        }
        self.heard().await
    }

    /// Who was heard since the last question: a line `HOST: SENDERS` for each host.
    ///
    /// # Errors
    /// When a program failed.
    pub async fn heard(&self) -> Result<Vec<String>> {
        let hosts = self.bed.hosts();
        // Any link: none is offered less than nothing.
        self.quiet(&hosts[0], &hosts[1], 0).await?;
        let mut lines = Vec::new();
        for host in &hosts {
            let heard = self.ask(host, "heard").await?;
            lines.push(format!("{}: {}", host.name(), heard.trim_start_matches("heard").trim()));
        }
        Ok(lines)
    }

    async fn ask(&self, host: &Host, question: &str) -> Result<String> {
        let ear = &self.ears[host.name().as_str()];
        ear.write(format!("{question}\n")).await?;
        let word = question.split(' ').next().unwrap_or_default();
        Ok(ear.wait_for(format!("^{word}( |$)")).await?.text().to_owned())
    }
}

/// Sends a burst to hosts or addresses.
///
/// # Errors
/// When it cannot be sent.
pub async fn send(from: &Host, burst: Burst, targets: &[&str]) -> Result {
    let Burst { family, count, bytes, pace } = burst;
    let words = [family.to_string(), count.to_string(), bytes.to_string(), pace.as_micros().to_string()];
    from.run(udp_send).args(words).args(targets).await.map(drop)
}

/// What a link counted; nothing, if it was never used.
///
/// # Panics
/// When it lost a packet from sight.
pub fn link(report: &NetworkReport, from: &Host, to: &Host) -> Counters {
    let is_it = |link: &&LinkReport| link.from == from.name().as_str() && link.to == to.name().as_str();
    let counters = report.links.iter().find(is_it).map(|link| link.counters).unwrap_or_default();
    let Counters { offered, duplicated, delivered, queued, under_way, .. } = counters;
    let came = offered.packets + duplicated.packets;
    let went = delivered.packets + counters.dropped().packets + queued.packets + under_way.packets;
    assert_eq!(came, went, "{from} to {to}: {counters:?}");
    counters
}

/// Packets that came with a wrong checksum, where the network sees that.
fn damaged(report: &NetworkReport) -> u64 {
    if report.scheduling == "simulated" { report.strays } else { 0 }
}

/// Whether a share is what was asked: `happened` of `all`, each with probability `asked`, in runs of `run` on average.
///
/// It may be five standard deviations off, which chance does once in two million times, and `slack` more, for what is
/// known to blur it. Neither nothing nor all of them is ever right: then `all` was too few to tell.
///
/// # Errors
/// It is not, or they were too few.
pub fn check_share(
    asked: f64,
    all: u64,
    happened: u64,
    run: f64,
    slack: f64,
) -> std::result::Result<(), String> {
    let count = precise(all);
    // Of a chain with two states, which runs of losses are: neighbours resemble each other by 1 - 1/run - p.
    let alike = 1.0 - 1.0 / run - asked / ((1.0 - asked) * run);
    let alike = if run > 1.0 { alike } else { 0.0 };
    let deviation = (asked * (1.0 - asked) / count * (1.0 + alike) / (1.0 - alike)).sqrt();
    let tolerance = 5.0 * deviation + slack;
    let share = precise(happened) / count;
    let text = format!("{happened} of {all} are {share:.4}; asked was {asked}, within {tolerance:.4}");
    if tolerance >= asked || asked + tolerance >= 1.0 {
        Err(format!("{text}: too few to tell"))
    } else if (share - asked).abs() > tolerance {
        Err(text)
    } else {
        Ok(())
    }
}

/// Counts here are far below 2^32.
fn precise(count: u64) -> f64 {
    f64::from(u32::try_from(count).expect("fewer than 2^32"))
}

/// Asserts that a share is what was asked; see [`check_share`].
///
/// # Panics
/// When it is not.
#[track_caller]
pub fn assert_share(what: &str, asked: f64, all: u64, happened: u64) {
    check_share(asked, all, happened, 1.0, 0.0).unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
}
