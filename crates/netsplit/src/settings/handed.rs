//! Settings on their way to a process of ours, which reads no layers of its own: they are those of whoever started it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use netsplit_model::Trouble;
use serde::{Deserialize, Serialize};

use super::layers::Layers;
use super::{Origin, Settings};

/// Every value that was said, with its origin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Handed {
    said: BTreeMap<String, (String, Origin)>,
    pass: BTreeMap<String, String>,
    dir: PathBuf,
    warnings: Vec<Trouble>,
}

impl Handed {
    /// What a process that works in `cwd` hands on.
    pub(crate) fn new(settings: &Settings, cwd: &Path) -> Self {
        let said = settings.shown.iter().filter(|(_, text, origin)| {
            // A key without a default that nobody said is shown as empty.
            *origin != Origin::Default || !text.is_empty()
        });
        Self {
            said: said
                .map(|(name, text, origin)| ((*name).to_owned(), (text.clone(), origin.clone())))
                .collect(),
            pass: settings.pass.clone(),
            dir: cwd.join(&settings.dir),
            warnings: settings.warnings.clone(),
        }
    }

    /// The settings again.
    ///
    /// # Errors
    /// Every value that is wrong; none is, when [`Settings`] were handed on.
    pub(crate) fn take(self) -> Result<Settings, Vec<Trouble>> {
        Settings::from_layers(&Layers::handed(self.said, self.pass, &self.dir, self.warnings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_on_is_what_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let toml = "seeds = 7\npass = ['LANG']\n[profile.ci]\nrequire = ['pty']\n";
        std::fs::write(folder.path().join("netsplit.toml"), toml).unwrap();
        let flags = [("profile", "ci"), ("patience", "3")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        let settings = Settings::load(folder.path(), &flags).unwrap();
        let text = serde_json::to_string(&Handed::new(&settings, folder.path())).unwrap();
        let taken = serde_json::from_str::<Handed>(&text).unwrap().take().unwrap();
        assert_eq!(taken.seeds, Some(7));
        // A seed process is never asked to check itself.
        assert_eq!(format!("{taken:?}"), format!("{:?}", Settings { check: false, ..settings }));
    }
}
