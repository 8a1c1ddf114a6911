//! A file a verb.

pub(crate) mod clean;
pub(crate) mod doctor;
pub(crate) mod enter;
pub(crate) mod explain;
pub(crate) mod generate;
pub(crate) mod inputs;
pub(crate) mod lint;
pub(crate) mod logs;
pub(crate) mod new;
pub(crate) mod run;
pub(crate) mod runs;

use netsplit::settings::Settings;
use netsplit_model::{Reason, Trouble};
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

/// A runtime for one command.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
