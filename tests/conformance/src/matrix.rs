//! P18: a replicated service of three members under each fault of a matrix. While the fault lasts a majority that is left
//! goes on and a minority says so; after it every member takes writes again, and has every write that was acknowledged.
//!
//! What the service is stands in a [`Service`]; here is what is done to it and asked of it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use netsplit::model::Trouble;
use netsplit::netmodel::{Cause, FaultState};
use netsplit::prelude::*;
use netsplit::{Error, Fault, Reason, Result, Start};
use tokio::task::JoinSet;

/// Within this time after a fault is healed each member takes writes again, times `patience`.
pub const WRITABLE_WITHIN: Duration = secs(20);
/// Within this time a cluster with nothing wrong has one leader.
const HEALTHY_WITHIN: Duration = secs(60);
/// How long members are left to a fault that fails no write: some elections.
const HELD: Duration = secs(1);
/// How soon a writer knows that a member does not answer, times `patience`: its own deadline is a second.
const FAILS_WITHIN: Duration = secs(20);
/// Of so many missing writes a message tells.
const SHOWN_MAX: usize = 6;
/// A line of a writer whose write was acknowledged.
const ACKED: &str = "^acked ";

/// Whom a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The leader.
    Leader,
    /// One follower.
    Follower,
    /// The leader and a follower.
    Majority,
    /// All, each by itself.
    EachAlone,
}

/// What a fault does to those it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The other members do not hear them. All: each is not heard by the next, and the last by the first.
    CutOneWay,
    /// They and the other members do not hear one another.
    CutBothWays,
    /// Nobody hears them, nor do they, clients included.
    Isolate,
    /// They stand still.
    Pause,
    /// Their power goes; afterwards they are started with the disk they had.
    Kill,
}

/// One field of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Whom it strikes.
    pub who: Who,
    /// What it does to them.
    pub how: How,
}

impl Case {
    /// All 20, those first that take a leader from its majority.
    pub fn all() -> Vec<Self> {
        let hows = [How::CutOneWay, How::CutBothWays, How::Isolate, How::Pause, How::Kill];
        let whos = [Who::Leader, Who::Follower, Who::Majority, Who::EachAlone];
        whos.into_iter().flat_map(|who| hows.map(|how| Self { who, how })).collect()
    }

    /// Whether two members hear each other and run.
    fn leaves_majority(self) -> bool {
        match self.who {
            Who::Leader | Who::Follower => true,
            Who::Majority => matches!(self.how, How::CutOneWay | How::CutBothWays),
            Who::EachAlone => false,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.who {
            Who::Leader => "leader",
            Who::Follower => "follower",
            Who::Majority => "majority",
            Who::EachAlone => "each alone",
        };
        let how = match self.how {
            How::CutOneWay => "cut one way",
            How::CutBothWays => "cut both ways",
            How::Isolate => "isolate",
            How::Pause => "pause",
            How::Kill => "kill",
        };
        write!(f, "{who}, {how}")
    }
}

/// A replicated service: how its members are started, written to and read.
pub trait Service {
    /// The command that is a member on `member`, with the disk that the host has.
    fn start(&self, member: &Host) -> Start;

    /// The name of the one leader, when all members run and follow it.
    fn leader(&self, client: &Host, members: &[Host]) -> impl Future<Output = Result<String>>;

    /// A command on `client` that goes on writing `prefix/1`, `prefix/2` and so on, each once and to `member` first, and
    /// says `acked KEY` or `failed KEY` of each; of none later than a second after it began.
    fn writer(&self, client: &Host, member: &Host, prefix: &str) -> Start;

    /// The keys below `prefix` that `member` has, once it has all that was acknowledged before.
    fn read(
        &self,
        client: &Host,
        member: &Host,
        prefix: &str,
    ) -> impl Future<Output = Result<BTreeSet<String>>>;
}

/// What one case found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which.
    pub case: Case,
    /// How many writes were acknowledged.
    pub acked: usize,
    /// Acknowledged writes that a member does not have: `a lacks KEY`.
    pub missing: Vec<String>,
    /// From the end of the fault until each member took writes again.
    pub writable_after: Duration,
    /// The whole case.
    pub took: Duration,
}

impl Found {
    /// The case and the first few of what is missing after it.
    fn what_is_missing(&self) -> String {
        let (shown, more) = self.missing.split_at(self.missing.len().min(SHOWN_MAX));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        format!("{}: {}{more}", self.case, shown.join(", "))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, acked, missing, writable_after, took } = self;
        let (writable_after, took) = (writable_after.as_secs_f64(), took.as_secs_f64());
        let missing = missing.len();
        write!(
            f,
            "{:<27} {took:>5.1} s, {acked:>4} acknowledged, {missing} missing, writable after {writable_after:.1} s",
            case.to_string()
        )
    }
}

/// Says of a service whose acknowledged writes are all there that they are.
///
/// # Errors
/// What is missing.
pub fn nothing_is_missing(found: &[Found]) -> Result {
    let wrong = found.iter().filter(|found| !found.missing.is_empty());
    let wrong: Vec<_> = wrong.map(Found::what_is_missing).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let text = format!("acknowledged writes are missing after {} of {} faults", wrong.len(), found.len());
    Err(wrong.into_iter().fold(Trouble::new(Reason::Expect, text), Trouble::saw).into())
}

/// Three members of a service, and a client.
#[derive(Debug)]
pub struct Cluster<'t, S> {
    bed: &'t Testbed,
    service: &'t S,
    client: Host,
    members: Vec<Host>,
}

/// A fault while it lasts.
enum Struck {
    Network(Vec<Fault>),
    Paused(Vec<Host>),
    Killed(Vec<Host>),
}

impl<'t, S: Service> Cluster<'t, S> {
    /// Starts the service on the hosts of the role `member`.
    ///
    /// # Errors
    /// When one could not be started.
    pub async fn start(bed: &'t Testbed, service: &'t S) -> Result<Self> {
        let cluster = Self { bed, service, client: bed.host("client")?, members: bed.role("member")? };
        for member in &cluster.members {
            let _ends_with_its_host = service.start(member).await?;
        }
        Ok(cluster)
    }

    /// Goes through `cases` until `enough` says so, each on a cluster that is well.
    ///
    /// # Errors
    /// What did not go as the matrix wants it, and in which case.
    pub async fn survives(&self, cases: &[Case], enough: impl Fn(&Found) -> bool) -> Result<Vec<Found>> {
        let mut all = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            self.bed.note(format!("case {number}: {case}"));
            let found = self.case(number, *case).await.map_err(|error| {
                let trouble = error.trouble().clone();
                Error::from(Trouble { text: format!("{case}: {}", trouble.text), ..trouble })
            })?;
            say(&format!("{found}"));
            let is_enough = enough(&found);
            all.push(found);
            if is_enough {
                break;
            }
        }
        Ok(all)
    }

    async fn case(&self, number: usize, case: Case) -> Result<Found> {
        let begun = self.bed.now();
        let leader =
            eventually(HEALTHY_WITHIN, async || self.service.leader(&self.client, &self.members).await);
        let leader = leader.await?;
        let prefix = format!("case{number}");
        let mut writers = Vec::new();
        for member in &self.members {
            let writes = self.service.writer(&self.client, member, &format!("{prefix}/{}", member.name()));
            writers.push(writes.ready(ACKED).await?);
        }
        let (hit, others) = self.sides(case.who, &leader);
        let dropped = self.dropped().await?;
        let fault = self.strike(case.how, &hit, &others).await?;
        self.hold(case, &hit, &writers).await?;
        if let Struck::Network(faults) = &fault {
            self.dropped_more(dropped, faults).await?;
        }
        self.mend(fault).await?;
        let mended = self.bed.now();
        // The first may have been begun before.
        acks(&writers, 2, mended, WRITABLE_WITHIN).await?;
        let writable_after = self.bed.now() - mended;
        let acked = self.acked(writers).await?;
        let missing = self.missing(&prefix, &acked).await?;
        let took = self.bed.now() - begun;
        Ok(Found { case, acked: acked.len(), missing, writable_after, took })
    }

    /// Whom a fault strikes, and the other members.
    fn sides(&self, who: Who, leader: &str) -> (Vec<Host>, Vec<Host>) {
        let leads = |host: &&Host| host.name().as_str() == leader;
        let (leader, followers): (Vec<_>, Vec<_>) = self.members.iter().partition(leads);
        let hit: Vec<&Host> = match who {
            Who::Leader => leader,
            Who::Follower => vec![followers[0]],
            Who::Majority => vec![leader[0], followers[0]],
            Who::EachAlone => self.members.iter().collect(),
        };
        let is_hit = |host: &&Host| hit.iter().any(|hit| hit.name() == host.name());
        let (hit, others): (Vec<_>, Vec<_>) = self.members.iter().partition(is_hit);
        (hit.into_iter().cloned().collect(), others.into_iter().cloned().collect())
    }

    async fn strike(&self, how: How, hit: &[Host], others: &[Host]) -> Result<Struck> {
        let network = self.bed.network();
        let (hit, is_all) = (hit.to_vec(), others.is_empty());
        let faults = match how {
            How::CutOneWay if is_all => {
                let mut faults = Vec::new();
                for (host, next) in hit.iter().zip(hit.iter().cycle().skip(1)) {
                    faults.push(network.cut(host.to(next)).await?);
                }
                faults
            }
            How::CutBothWays if is_all => vec![network.partition(&hit).await?],
            How::CutOneWay => vec![network.cut(hit.to(others)).await?],
            How::CutBothWays => vec![network.cut(hit.and(others)).await?],
            How::Isolate => vec![network.isolate(&hit).await?],
            How::Pause => {
                for host in &hit {
                    host.pause().await?;
                }
                return Ok(Struck::Paused(hit));
            }
            How::Kill => {
                for host in &hit {
                    host.kill().await?;
                }
                return Ok(Struck::Killed(hit));
            }
        };
        let report = network.report().await?;
        assert_eq!(report.faults.len(), faults.len(), "{:?}", report.faults);
        for fault in &report.faults {
            assert_eq!((fault.state, fault.verified), (FaultState::InForce, fault.links), "{fault:?}");
            assert!(fault.links > 0, "{fault:?}");
        }
        Ok(Struck::Network(faults))
    }

    /// Until those that must not acknowledge writes have said so, and those that must have done it.
    async fn hold(&self, case: Case, hit: &[Host], writers: &[Process]) -> Result {
        let since = self.bed.now();
        let is_hit = |index: usize| hit.iter().any(|host| host.name() == self.members[index].name());
        let is_majority = |index: usize| is_hit(index) == (case.who == Who::Majority);
        let chosen = |choose: &dyn Fn(usize) -> bool| -> Vec<Process> {
            let indexed = writers.iter().enumerate();
            indexed.filter(|(index, _)| choose(*index)).map(|(_, writer)| writer.clone()).collect()
        };
        let deaf = match (case.leaves_majority(), case.how) {
            (false, _) => chosen(&|_| true),
            // Whoever is only not heard may send its clients elsewhere.
            (true, How::CutOneWay) => Vec::new(),
            (true, _) => chosen(&|index| !is_majority(index)),
        };
        if deaf.is_empty() {
            tokio::time::sleep(HELD).await;
        }
        // The first may have been begun before.
        lines(&deaf, "^failed ", 2, since, FAILS_WITHIN).await?;
        if case.leaves_majority() {
            let majority = chosen(&is_majority);
            acks(&majority, 2, self.bed.now(), WRITABLE_WITHIN).await?;
        }
        for writer in deaf {
            writer.never(ACKED).await?;
        }
        Ok(())
    }

    async fn mend(&self, struck: Struck) -> Result {
        match struck {
            Struck::Network(faults) => {
                for fault in faults {
                    fault.heal().await?;
                }
                assert!(self.bed.network().report().await?.faults.is_empty());
            }
            Struck::Paused(hosts) => {
                for host in hosts {
                    host.resume().await?;
                }
            }
            Struck::Killed(hosts) => {
                for host in &hosts {
                    host.restart().await?;
                    let _ends_with_its_host = self.service.start(host).await?;
                }
            }
        }
        Ok(())
    }

    /// Packets that the network has dropped because of a cut.
    async fn dropped(&self) -> Result<u64> {
        let links = self.bed.network().report().await?.links;
        Ok(links.iter().map(|link| link.counters.dropped_by(Cause::Cut).packets).sum())
    }

    /// Until the fault has taken a packet, as it must of members that talk all the time.
    async fn dropped_more(&self, before: u64, faults: &[Fault]) -> Result {
        let took = eventually(secs(20), async || {
            if self.dropped().await? > before {
                Ok(())
            } else {
                let what: Vec<_> = faults.iter().map(Fault::what).collect();
                Err(Error::new(Reason::Expect, format!("`{}` dropped nothing", what.join(", "))))
            }
        });
        took.await
    }

    /// Ends the writers; what they were told is written.
    async fn acked(&self, writers: Vec<Process>) -> Result<BTreeSet<String>> {
        let mut acked = BTreeSet::new();
        for writer in writers {
            writer.stop().await?;
            let said = String::from_utf8_lossy(&writer.stdout()?).into_owned();
            let (whole, _cut_short) = said.rsplit_once('\n').unwrap_or_default();
            acked.extend(whole.lines().filter_map(|line| line.strip_prefix("acked ")).map(str::to_owned));
        }
        Ok(acked)
    }

    async fn missing(&self, prefix: &str, acked: &BTreeSet<String>) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for member in &self.members {
            let has = self.service.read(&self.client, member, prefix).await?;
            missing.extend(acked.difference(&has).map(|key| format!("{} lacks {key}", member.name())));
        }
        Ok(missing)
    }
}

/// Waits until each of these writers had so many writes acknowledged.
async fn acks(writers: &[Process], count: usize, since: Duration, within: Duration) -> Result {
    lines(writers, ACKED, count, since, within).await
}

/// Waits until each of these processes wrote so many such lines.
async fn lines(
    processes: &[Process],
    pattern: &'static str,
    count: usize,
    since: Duration,
    within: Duration,
) -> Result {
    let mut waits = JoinSet::<Result>::new();
    for process in processes {
        let process = process.clone();
        waits.spawn(async move {
            let mut line = process.wait_for(pattern).since(since).within(within).await?;
            for _ in 1..count {
                line = process.wait_for(pattern).after(&line).within(within).await?;
            }
            Ok(())
        });
    }
    while let Some(waited) = waits.join_next().await {
        waited.unwrap_or_else(|error| panic!("{error}"))?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what a test says about itself")]
fn say(line: &str) {
    println!("{line}");
}
