//! A host's clock and disk: refused where a provider cannot do it; where it can, asked for as they were said, ended with
//! their guards, in the log and in messages while they last. (A21: what is missing is a skip, never a silence)

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use conformance::{error_of, fails, run};
use netsplit::model::{Capabilities, Event, Teardown, Trouble, Verdict};
use netsplit::prelude::*;
use netsplit::run::{Run, RunSpec};
use netsplit::settings::Settings;
use netsplit::{HostName, Reason};
use netsplit_provider::{
    Bed, BedEvent, BedSpec, BoxFuture, BoxTransport, ClockFault, DiskFault, HostSpec, MadeHost, Power,
    Provider,
};

#[netsplit::test(hosts = 1)]
async fn what_a_provider_cannot_do_is_a_skip(bed: Testbed) -> netsplit::Result {
    let a = bed.host("a")?;
    if bed.need(Capability::Clock).is_err() {
        for error in
            [a.clock().jump(secs(3)).await, a.clock().drift_ppm(200).await, a.clock().skew(secs(1)).await]
        {
            assert_eq!(error_of(error).verdict(), Verdict::Skipped);
        }
    }
    if bed.need(Capability::Disk).is_err() {
        let said = fails(a.disk().stuck().await, Reason::MissingCapability);
        assert!(said.contains("needs `disk`, which `"), "{said}");
        fails(a.disk().heal().await, Reason::MissingCapability);
    }
    Ok(())
}

/// Hosts of this machine that say they can do it, and note what they were asked.
#[derive(Clone, Debug)]
struct Claims {
    hosts: Arc<dyn Provider>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Provider for Claims {
    fn name(&self) -> &'static str {
        "claims"
    }

    fn capabilities(&self) -> Capabilities {
        self.hosts.capabilities().iter().chain([Capability::Clock, Capability::Disk]).collect()
    }

    fn begin(&self, spec: BedSpec) -> BoxFuture<'_, Result<Arc<dyn Bed>, Trouble>> {
        Box::pin(async move {
            let hosts = self.hosts.begin(spec).await?;
            Ok(Arc::new(Noting { hosts, asked: Arc::clone(&self.asked) }) as Arc<dyn Bed>)
        })
    }
}

#[derive(Debug)]
struct Noting {
    hosts: Arc<dyn Bed>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Noting {
    fn note(&self, asked: String) -> u32 {
        let mut all = self.asked.lock().expect("no panic");
        all.push(asked);
        u32::try_from(all.len()).expect("few")
    }
}

impl Bed for Noting {
    fn add_hosts<'a>(
        &'a self,
        hosts: Vec<HostSpec>,
        made: &'a mut (dyn FnMut(MadeHost) + Send),
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        self.hosts.add_hosts(hosts, made)
    }

    fn connect<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<BoxTransport, Trouble>> {
        self.hosts.connect(host)
    }

    fn power<'a>(&'a self, host: &'a HostName, power: Power) -> BoxFuture<'a, Result<(), Trouble>> {
        self.hosts.power(host, power)
    }

    fn start<'a>(&'a self, host: &'a HostName) -> BoxFuture<'a, Result<MadeHost, Trouble>> {
        self.hosts.start(host)
    }

    fn change_clock<'a>(
        &'a self,
        host: &'a HostName,
        fault: ClockFault,
    ) -> BoxFuture<'a, Result<(), Trouble>> {
        self.note(format!("{host} {fault:?}"));
        Box::pin(async { Ok(()) })
    }

    fn begin_disk_fault<'a>(
        &'a self,
        host: &'a HostName,
        fault: DiskFault,
    ) -> BoxFuture<'a, Result<u32, Trouble>> {
        let number = self.note(format!("{host} {fault:?}"));
        let refused = fault == DiskFault::Full;
        let refusal = Trouble::new(Reason::FaultRefused, "it is full already");
        Box::pin(async move { if refused { Err(refusal) } else { Ok(number) } })
    }

    fn heal_disk_fault(&self, fault: u32) -> BoxFuture<'_, Result<(), Trouble>> {
        self.note(format!("heal {fault}"));
        Box::pin(async { Ok(()) })
    }

    fn event(&self) -> BoxFuture<'_, BedEvent> {
        self.hosts.event()
    }

    fn keep(&self) -> BoxFuture<'_, Result<(), Trouble>> {
        self.hosts.keep()
    }

    fn end(&self) -> BoxFuture<'_, Teardown> {
        self.hosts.end()
    }
}

/// Runs `body` on such a host; what was asked of it, and the events of clocks and disks in the log.
async fn asked(body: impl AsyncFnOnce(Host) -> netsplit::Result) -> (Vec<String>, Vec<String>) {
    let here = std::env::current_dir().expect("a folder");
    let settings = Settings::load(&here, &[]).expect("settings");
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let hosts = netsplit_provider::by_name("namespace").expect("it is known");
    let spec = RunSpec {
        test: "machine faults".into(),
        provider: Arc::new(Claims { hosts, asked: Arc::clone(&asked) }),
        networks: Vec::new(),
        routers: Vec::new(),
        base: PathBuf::from("."),
        repeat: String::new(),
        scenario: Default::default(),
    };
    let mut begun = Run::begin(settings, spec).expect("a run");
    let bed = begun.make_hosts(run::plans(1, None)).await.unwrap_or_else(|error| panic!("{error}"));
    let done = match bed.host("a") {
        Ok(host) => body(host).await,
        Err(error) => Err(error),
    };
    let finished = run::end(begun, done).await;
    assert_eq!(finished.verdict.verdict, Verdict::Passed, "{:?}", finished.verdict.reason);
    let records = finished.dir.read_events().expect("the log");
    let events = records.into_iter().filter_map(|record| match record.event {
        Event::ClockChanged { host, what } => Some(format!("{host} {what}")),
        Event::DiskBegan { fault, host, what } => Some(format!("{fault} {host} {what}")),
        Event::DiskEnded { fault, why } => Some(format!("{fault} {why}")),
        _ => None,
    });
    let asked = asked.lock().expect("no panic").clone();
    (asked, events.collect())
}

#[tokio::test]
async fn a_clock_is_changed_as_it_was_said() {
    let (asked, events) = asked(async |a| {
        a.clock().jump(secs(3)).await?;
        a.clock().jump_back(millis(1500)).await?;
        a.clock().skew(secs(60)).await?;
        a.clock().skew_back(secs(0)).await?;
        a.clock().drift_ppm(-200).await?;
        fails(a.clock().drift_ppm(-1_000_000).await, Reason::BadFault);
        fails(a.clock().jump(Duration::MAX).await, Reason::BadFault);
        Ok(())
    })
    .await;
    let wanted = [
        "a Jump { nanos: 3000000000 }",
        "a Jump { nanos: -1500000000 }",
        "a Skew { nanos: 60000000000 }",
        "a Skew { nanos: 0 }",
        "a Drift { ppm: -200 }",
    ];
    assert_eq!(asked, wanted);
    assert_eq!(events, ["a jump 3s", "a jump -1.5s", "a skew 1m", "a skew -0s", "a drift -200ppm"]);
}

#[tokio::test]
async fn a_disk_fails_for_as_long_as_its_guard_lives() {
    let (asked, events) = asked(async |a| {
        let slow = a.disk().slow(millis(50)).await?;
        assert_eq!(slow.what(), "slow 50ms disk of a");
        let error = error_of(a.run("false").await).to_string();
        assert!(error.contains("in force slow 50ms disk of a since "), "{error}");
        slow.heal().await?;
        drop(a.disk().torn_writes().await?);
        a.disk().errors(0.01).await?.leave();
        a.disk().stuck().await?.leave();
        a.disk().heal().await?;
        fails(a.disk().full().await, Reason::FaultRefused);
        fails(a.disk().errors(1.5).await, Reason::BadFault);
        a.disk().stuck().await?.leave();
        Ok(())
    })
    .await;
    let wanted = [
        "a Slow { latency: 50ms }",
        "heal 1",
        "a TornWrites",
        "heal 3",
        "a Errors { share: 0.01 }",
        "a Stuck",
        "heal 5",
        "heal 6",
        "a Full",
        "a Stuck",
    ];
    assert_eq!(asked, wanted);
    let wanted = [
        "d1 a slow 50ms",
        "d1 healed",
        "d2 a torn-writes",
        "d2 healed",
        "d3 a errors 1%",
        "d4 a stuck",
        "d3 healed",
        "d4 healed",
        "d5 a full",
        "d5 refused",
        "d6 a stuck",
        "d6 the run ended",
    ];
    assert_eq!(events, wanted);
}
