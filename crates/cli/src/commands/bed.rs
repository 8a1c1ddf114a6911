//! `netsplit bed`: changes the network of a testbed that lives, from outside; what it begins stays until it is healed.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use netsplit::{HostName, check_fault, fault_words};
use netsplit_model::units::{self, Measured};
use netsplit_model::{Event, Reason, Selector, Trouble, nearest};
use netsplit_netmodel::{Condition, ConditionWords, Ends, Fault, FaultState, Flap, Schedule, Scope};
use netsplit_provider::{
    Bed, CaptureFilter, CaptureSpec, FaultReport, FaultSpec, LinkReport, NetworkReport, namespace,
};
use netsplit_report::{Run, screen};
use serde_json::json;

use super::enter::{check_alive, explain};
use super::{find_run, runtime, settings};
use crate::args::{BedArgs, BedVerb, FaultArgs};
use crate::interrupt::Interrupt;
use crate::output::Output;

pub(crate) fn run(args: &BedArgs, output: Output) -> anyhow::Result<ExitCode> {
    let settings = settings(&[], output)?;
    let run = find_run(&settings, &args.run)?;
    check_alive(&run)?;
    let printer = Printer { output, json: args.json };
    runtime()?
        .block_on(async {
            let gone = |error: std::io::Error| {
                Trouble::new(Reason::NoSuchRun, format!("the testbed does not answer: {error}"))
            };
            let bed = namespace::attach(run.dir.path()).map_err(gone)?;
            let routers = routers(&*bed).await;
            let flag = if args.run == "last" { String::new() } else { format!(" --run {}", args.run) };
            Outside { bed, run: flag, hosts: hosts(&run), routers, printer }.obey(&args.verb).await
        })
        .map_err(|error| explain(&run, error))
}

/// A testbed, seen from outside.
struct Outside {
    bed: Arc<dyn Bed>,
    /// The flag that names it, unless it is the last.
    run: String,
    /// With their roles, in the order in which they came up.
    hosts: Vec<(HostName, HostName)>,
    /// Those that are no hosts. Links to them are cut and shaped as any.
    routers: Vec<HostName>,
    printer: Printer,
}

#[derive(Clone, Copy)]
struct Printer {
    output: Output,
    json: bool,
}

/// Every host that the run has had, with its role.
fn hosts(run: &Run) -> Vec<(HostName, HostName)> {
    let mut hosts: Vec<(HostName, HostName)> = Vec::new();
    for record in run.dir.read_events().unwrap_or_default() {
        if let Event::HostReady { host, role, .. } = record.event
            && hosts.iter().all(|(known, _)| *known != host)
        {
            hosts.push((host, role));
        }
    }
    hosts
}

/// The routers of a testbed that are no hosts. Each has a port of its name, and one for its other side.
async fn routers(bed: &dyn Bed) -> Vec<HostName> {
    // Where the network cannot be read, what is asked for fails with the reason.
    let ports = bed.network().await.map(|report| report.ports).unwrap_or_default();
    let routers = ports.iter().filter(|port| port.kind.as_deref() == Some("router"));
    routers.filter_map(|port| HostName::new(&port.name).ok()).collect()
}

impl Outside {
    async fn obey(&self, verb: &BedVerb) -> anyhow::Result<ExitCode> {
        let cut = Condition::new().cut();
        match verb {
            BedVerb::Cut(args) => self.links("cut", cut, args).await,
            BedVerb::Reject(args) => self.links("reject", Condition::new().reject(), args).await,
            BedVerb::Hold(args) => self.links("hold", Condition::new().hold(), args).await,
            BedVerb::Link(args) => self.links("link", Condition::new(), args).await,
            BedVerb::Isolate(args) => {
                let hosts = self.select(&args.words.join(" "))?;
                self.begin("", Scope::Isolate { hosts }, cut, args).await
            }
            BedVerb::Partition(args) => {
                let groups = args.words.iter().map(|group| self.select(group)).collect::<Result<_, _>>()?;
                self.begin("", Scope::Partition { groups }, cut, args).await
            }
            BedVerb::Ring(args) => {
                let hosts = self.select(&args.words.join(" "))?;
                self.begin("", Scope::Ring { hosts }, cut, args).await
            }
            BedVerb::Bridge(args) => {
                let [hosts, middle] = &args.words[..] else {
                    let trouble = Trouble::new(Reason::BadFault, "a bridge is of hosts and a middle");
                    return Err(trouble.fix("netsplit bed bridge HOSTS MIDDLE").into());
                };
                let (hosts, middle) = (self.select(hosts)?, self.select(middle)?);
                self.begin("", Scope::Bridge { hosts, middle }, cut, args).await
            }
            BedVerb::Heal { faults } => self.heal(faults).await,
            BedVerb::Faults => self.faults().await,
            BedVerb::Links => self.show_links().await,
            BedVerb::Capture { what, to, lasts } => self.capture(what, to, lasts.as_deref()).await,
        }
    }

    async fn links(
        &self,
        verb: &'static str,
        mut condition: Condition,
        args: &FaultArgs,
    ) -> anyhow::Result<ExitCode> {
        let (settings, words): (Vec<_>, Vec<_>) = args.words.iter().partition(|word| word.contains('='));
        let mut figures = ConditionWords::new();
        for setting in &settings {
            let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
            figures.set(key, value);
        }
        let figures = figures.finish().map_err(|mistakes| {
            let texts: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            Trouble::new(Reason::BadFault, texts.join("; "))
        })?;
        if verb != "link" && figures != Condition::new() {
            let trouble = Trouble::new(Reason::BadFault, format!("`{verb}` takes no figures"));
            return Err(trouble.fix("netsplit bed link a to b delay=50ms").into());
        }
        condition = figures.over(&condition);
        let text = words.into_iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        let Some(Ends { left, right, is_both_ways }) = Ends::parse(&text) else {
            let trouble = Trouble::new(Reason::BadFault, format!("`{text}` names no links"));
            return Err(trouble.fix("`a to b` one way, `a and b` both ways").into());
        };
        let (left, right) = (self.select(left)?, self.select(right)?);
        let scope = if is_both_ways {
            Scope::BothWays { left, right }
        } else {
            Scope::OneWay { from: left, to: right }
        };
        self.begin(verb, scope, condition, args).await
    }

    async fn begin(
        &self,
        verb: &str,
        scope: Scope<HostName>,
        condition: Condition,
        args: &FaultArgs,
    ) -> anyhow::Result<ExitCode> {
        let schedule = schedule(args)?;
        let what = fault_words(verb, &scope, &condition);
        let names: Vec<_> = self.hosts.iter().map(|(host, _)| host).chain(&self.routers).cloned().collect();
        check_fault(&names, &what, &scope, &condition, schedule)?;
        let scope = scope.try_map(|host| Ok::<_, Trouble>(host.to_string()))?;
        let fault = Fault { scope, condition, schedule };
        let spec = FaultSpec { name: args.name.clone(), what: what.clone(), fault, outlives_asker: true };
        let id = self.bed.begin_fault(spec).await?;
        if self.printer.json {
            let text = json!({ "netsplit": 1, "type": "fault", "id": id, "name": args.name, "what": what });
            self.printer.output.out(text.to_string());
        } else {
            // What `heal` takes, and nothing else: a script keeps it.
            let name = args.name.clone().unwrap_or_else(|| id.to_string());
            self.printer
                .output
                .err(format!("{what} is in force; netsplit bed{} heal {name} ends it", self.run));
            self.printer.output.out(name);
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn heal(&self, wanted: &[String]) -> anyhow::Result<ExitCode> {
        let faults = self.bed.network().await?.faults;
        let mut ids = Vec::new();
        for word in wanted {
            let is_it = |fault: &&FaultReport| {
                word == "all" || fault.id.to_string() == *word || fault.name.as_deref() == Some(word)
            };
            let found: Vec<_> = faults.iter().filter(is_it).map(|fault| fault.id).collect();
            if found.is_empty() && word != "all" {
                return Err(unknown_fault(word, &faults).into());
            }
            ids.extend(found.into_iter().map(|id| (id, word == "all")));
        }
        for (id, may_have_ended) in ids {
            if let Err(trouble) = self.bed.heal(id).await
                && !(may_have_ended && self.has_ended(id).await)
            {
                return Err(trouble.into());
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Whether a fault that was in force is so no longer: its time was over meanwhile, or somebody else healed it.
    async fn has_ended(&self, id: u32) -> bool {
        self.bed.network().await.is_ok_and(|report| report.faults.iter().all(|fault| fault.id != id))
    }

    async fn faults(&self) -> anyhow::Result<ExitCode> {
        let NetworkReport { faults, .. } = self.bed.network().await?;
        let Printer { output, json } = self.printer;
        if json {
            output.out(json!({ "netsplit": 1, "type": "faults", "faults": faults }).to_string());
            return Ok(ExitCode::SUCCESS);
        }
        if faults.is_empty() {
            output.err("no fault is in force");
        }
        for fault in faults {
            let name = fault.name.as_deref().unwrap_or("-");
            let state = match fault.state {
                FaultState::Waiting => "waits",
                FaultState::InForce => "in force",
                FaultState::Lifted => "lifted",
                FaultState::Ended => "ended",
            };
            let links = format!("{} of {} links read back", fault.verified, fault.links);
            let age = Measured(Duration::from_nanos(fault.age_ns));
            output.out(format!("{}\t{name}\t{state}\t{age}\t{}\t{links}", fault.id, fault.what));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn show_links(&self) -> anyhow::Result<ExitCode> {
        let report = self.bed.network().await?;
        let Printer { output, json } = self.printer;
        if json {
            let mut document = serde_json::to_value(&report)?;
            document["netsplit"] = 1.into();
            document["type"] = "links".into();
            output.out(document.to_string());
            return Ok(ExitCode::SUCCESS);
        }
        for link in &report.links {
            output.out(link_line(link));
        }
        if report.links_left_out > 0 {
            output.err(format!("and {} links on which less happened", report.links_left_out));
        }
        let late = report.lateness;
        if late.count > 0 {
            let [p50, p99] = [late.p50_ns, late.p99_ns].map(|ns| ns as f64 / 1e6);
            let of = late.count;
            output.err(format!("delayed packets were late by {p50:.3} ms (p50), {p99:.3} ms (p99) of {of}"));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn capture(&self, what: &[String], to: &Path, lasts: Option<&str>) -> anyhow::Result<ExitCode> {
        let lasts = lasts.map(|text| time("for", text)).transpose()?;
        let filter = self.filter(&what.join(" "))?;
        let file = File::create(to).with_context(|| format!("{} cannot be written", to.display()))?;
        let interrupt = Interrupt::listen()?;
        let id = self.bed.capture(CaptureSpec { file, filter }).await?;
        let end = async {
            match lasts {
                Some(time) => tokio::time::sleep(time).await,
                None => {
                    self.printer.output.err("capturing; ctrl-C ends it");
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = end => {}
            () = interrupt.wait() => {}
        }
        let report = self.bed.end_capture(id).await?;
        if let Some(error) = report.error {
            anyhow::bail!("{} is not whole: {error}", to.display());
        }
        let lost = if report.lost == 0 { String::new() } else { format!(", {} lost", report.lost) };
        let path = screen::shown_path(to);
        self.printer.output.err(format!("{} packets{lost} in {path}", report.packets));
        Ok(ExitCode::SUCCESS)
    }

    fn filter(&self, what: &str) -> Result<CaptureFilter, Trouble> {
        let one = |selector: &str| -> Result<String, Trouble> {
            let hosts = self.select(selector)?;
            match &hosts[..] {
                [only] => Ok(only.to_string()),
                _ => Err(Trouble::new(Reason::BadFault, format!("`{selector}` is {} hosts", hosts.len()))
                    .fix("capture one host, one link, or all")),
            }
        };
        match Ends::parse(what) {
            _ if what == "all" => Ok(CaptureFilter::All),
            Some(Ends { left, right, is_both_ways: both_ways }) => {
                Ok(CaptureFilter::Link { from: one(left)?, to: one(right)?, both_ways })
            }
            None => Ok(CaptureFilter::Host(one(what)?)),
        }
    }

    /// The hosts that a selector means, or the router; `all` are hosts only.
    fn select(&self, text: &str) -> Result<Vec<HostName>, Trouble> {
        let bad = |text: String| Trouble::new(Reason::UnknownHost, text);
        let selector = Selector::parse(text).map_err(|error| bad(error.to_string()))?;
        let named = |name: &str| {
            let is_it = |(host, role): &&(HostName, HostName)| {
                name == "all" || host.as_str() == name || role.as_str() == name
            };
            let hosts = self.hosts.iter().filter(is_it).map(|(host, _)| host);
            let routers = self.routers.iter().filter(|router| router.as_str() == name);
            let found: Vec<_> = hosts.chain(routers).cloned().collect();
            (!found.is_empty()).then_some(found)
        };
        selector.resolve(named).map_err(|term| {
            let known = self.hosts.iter().flat_map(|(host, role)| [host, role]).chain(&self.routers);
            let near = nearest(&term.name, known.map(HostName::as_str))
                .map(|near| format!("; did you mean `{near}`?"));
            let hosts = self.hosts.iter().map(|(host, _)| host).chain(&self.routers);
            let hosts: Vec<_> = hosts.map(HostName::as_str).collect();
            let text = format!("no host or role `{}`{}", term.name, near.unwrap_or_default());
            bad(text).saw(format!("hosts: {}", hosts.join(" ")))
        })
    }
}

fn schedule(args: &FaultArgs) -> Result<Schedule, Trouble> {
    let flap = args.flap.as_deref().map(|text| {
        let Some((down, up)) = text.split_once('/') else {
            let trouble = Trouble::new(Reason::BadValue, format!("--flap {text} has no `/`"));
            return Err(trouble.fix("--flap 1s/3s: in force for 1s, lifted for 3s"));
        };
        Ok(Flap { down: time("flap", down)?, up: time("flap", up)?, jitter: None })
    });
    Ok(Schedule {
        after: args.after.as_deref().map_or(Ok(Duration::ZERO), |text| time("after", text))?,
        lasts: args.lasts.as_deref().map(|text| time("for", text)).transpose()?,
        flap: flap.transpose()?,
    })
}

fn time(flag: &str, text: &str) -> Result<Duration, Trouble> {
    let wrong = |_| Trouble::new(Reason::BadValue, format!("--{flag} takes a time such as 5s, not `{text}`"));
    units::duration(text).map_err(wrong)
}

fn unknown_fault(word: &str, faults: &[FaultReport]) -> Trouble {
    let names = faults.iter().filter_map(|fault| fault.name.as_deref());
    let near = nearest(word, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Trouble::new(Reason::UnknownName, format!("no fault `{word}` is in force{near}"))
        .guess("netsplit bed faults")
}

fn link_line(link: &LinkReport) -> String {
    let LinkReport { from, to, condition, counters } = link;
    let dropped = counters.dropped().packets;
    let lost = if dropped == 0 { String::new() } else { format!(", {dropped} dropped") };
    let does = if *condition == Condition::new() { String::new() } else { format!("\t{condition}") };
    format!(
        "{from} to {to}\t{} of {} packets delivered{lost}{does}",
        counters.delivered.packets, counters.offered.packets
    )
}
