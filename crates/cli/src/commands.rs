//! A file a verb.

pub(crate) mod bed;
pub(crate) mod clean;
pub(crate) mod doctor;
pub(crate) mod enter;
pub(crate) mod explain;
pub(crate) mod generate;
pub(crate) mod inputs;
pub(crate) mod lint;
pub(crate) mod logs;
pub(crate) mod new;
pub(crate) mod presets;
pub(crate) mod run;
pub(crate) mod runs;

use netsplit::settings::Settings;
use netsplit_model::{Event, HostName, ProcessName, Reason, Record, Trouble, nearest};
use netsplit_report::{Run, Runs};

use crate::output::Output;

/// The settings of this process, with what its command line says over them.
fn settings(flags: &[(String, String)], output: Output) -> anyhow::Result<Settings> {
    let cwd = std::env::current_dir()?;
    let settings = Settings::load(&cwd, flags).inspect(|settings| {
        for warning in &settings.warnings {
            output.warning(warning);
        }
    });
    settings.map_err(|mut troubles| {
        let last = troubles.pop();
        for trouble in &troubles {
            output.trouble(trouble);
        }
        last.map_or_else(|| anyhow::anyhow!("the settings cannot be read"), anyhow::Error::from)
    })
}

/// The run that a user means.
fn find_run(settings: &Settings, name: &str) -> anyhow::Result<Run> {
    Runs::new(&settings.dir).find(name).map_err(|text| {
        let trouble = Trouble::new(Reason::NoSuchRun, text).guess("netsplit runs");
        anyhow::Error::from(trouble)
    })
}

/// The run that a user means, and the hosts and processes of it: where the first word is one of the last run, the run
/// was left out.
fn find_names<'w>(
    settings: &Settings,
    words: impl IntoIterator<Item = &'w String>,
) -> anyhow::Result<(Run, Vec<String>)> {
    let words: Vec<_> = words.into_iter().cloned().collect();
    let Some((first, rest)) = words.split_first() else { return Ok((find_run(settings, "last")?, words)) };
    if !["last", "last-failed"].contains(&first.as_str())
        && let Ok(last) = find_run(settings, "last")
        && has(&last, first)
    {
        return Ok((last, words));
    }
    Ok((find_run(settings, first)?, rest.to_vec()))
}

/// Whether a run has a host or a process of this name.
fn has(run: &Run, name: &str) -> bool {
    let records = run.dir.read_events().unwrap_or_default();
    records.iter().any(|record| match &record.event {
        Event::HostReady { host, .. } => host.as_str() == name,
        Event::ProcessStarted { process, .. } => is_named(process, name),
        _ => false,
    })
}

/// Whether `name` means the process: its host, `a/etcd` or `a/etcd.2`.
fn is_named(process: &ProcessName, name: &str) -> bool {
    process.host().as_str() == name
        || process.to_string() == name
        || format!("{}/{}", process.host(), process.name()) == name
}

/// The hosts that a run has had, by name.
fn hosts(run: &Run) -> Vec<HostName> {
    let ready = |record: Record| match record.event {
        Event::HostReady { host, .. } => Some(host),
        _ => None,
    };
    let mut hosts: Vec<_> = run.dir.read_events().unwrap_or_default().into_iter().filter_map(ready).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

/// The message for what a run does not have; `what`: `host`, `host or process`.
fn unknown_host(run: &Run, what: &str, name: &str) -> Trouble {
    let hosts = hosts(run);
    let near = nearest(name, hosts.iter().map(HostName::as_str));
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let text = format!("no {what} `{name}` in run {}{hint}", run.id);
    Trouble::new(Reason::UnknownHost, text).saw(listed(&hosts))
}

fn listed(hosts: &[HostName]) -> String {
    let names: Vec<_> = hosts.iter().map(HostName::as_str).collect();
    format!("hosts: {}", names.join(" "))
}

/// A runtime for one command.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
