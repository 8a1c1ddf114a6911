//! The table of all settings: `.env.template`, `doctor --settings` and the check of names come from it.

use netsplit_model::nearest;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in `netsplit.toml`, with its table: `deadlines.run`.
    pub name: &'static str,
    /// What it is when nobody says anything; `None`: it depends.
    pub default: Option<&'static str>,
    /// What it does.
    pub about: &'static str,
}

const fn key(name: &'static str, default: Option<&'static str>, about: &'static str) -> Key {
    Key { name, default, about }
}

/// All settings that `netsplit.toml` may hold.
pub const KEYS: &[Key] = &[
    key("provider", None, "what makes hosts: namespace; a Rust test names its own unless this is set"),
    key("require", Some(""), "providers and capabilities that may not be skipped, separated by commas"),
    key("tests", Some("tests"), "what a bare `netsplit run` runs, separated by commas"),
    key(
        "pass",
        Some(""),
        "variables of your shell that hosts may see, separated by commas; nothing else leaks in",
    ),
    key("deadlines.host", Some("30s"), "how long a host may take to come up"),
    key("deadlines.start", Some("30s"), "how long a started process may take to become ready"),
    key("deadlines.run", Some("60s"), "how long a command may take, or a process that is waited for"),
    key("deadlines.wait", Some("30s"), "how long a line may take to come, or the next piece of a file"),
    key("deadlines.test", Some("10m"), "how long a whole test may take"),
    key("deadlines.grace", Some("2s"), "how long a process has between TERM and KILL"),
    key("network.model", Some("fabric"), "what joins hosts: fabric, or kernel for line rate without faults"),
    key("network.late", Some("2ms"), "how late packets of the fabric may be, 99 of 100"),
    key("network.late_is", Some("warn"), "what a run in which they were later is: warn, infra"),
    key("patience", Some("1"), "by what all deadlines are multiplied, for slow machines"),
    key("keep", Some("never"), "whether the testbed outlives its run: never, failed, always"),
    key("seed", None, "the seed of every random draw; chosen and printed unless set"),
    key(
        "seeds",
        None,
        "with how many seeds a test is simulated; as many as it says itself, or one, unless set",
    ),
    key("jobs", None, "how many tests run at once; half the processors unless set"),
    key("junit", None, "where a JUnit file of all tests of a `netsplit run` is written"),
    key("retention.runs", Some("50"), "how many runs stay on disk"),
    key("retention.size", Some("2GiB"), "how much the runs on disk may hold"),
    key("retention.age", Some("14d"), "how old a run on disk may be"),
];

/// Variables that have no key: what they say belongs to a process, not to a project.
pub(super) const ENVIRONMENT_ONLY: [(&str, &str); 3] = [
    (
        "NETSPLIT_DIR",
        "where `.netsplit` lies; else beside the nearest netsplit.toml, workspace manifest or .git",
    ),
    ("NETSPLIT_CHECK", "1: each seed is simulated twice, in two processes that must not differ"),
    ("NETSPLIT_PROFILE", "which profile of netsplit.toml holds"),
];

/// What netsplit itself tells the processes that it starts, behind `NETSPLIT_`.
const OWN: [&str; 12] = [
    "BECOME", "PROCESS", "HOST", "ROLE", "INDEX", "COUNT", "ADDRESS", "ADDRESS6", "PEERS", "RUN", "STARTED",
    "SEED",
];

/// The known variable that is nearest to an unknown one, which looks like a slip.
pub(super) fn meant(name: &str) -> Option<String> {
    let word = name.strip_prefix("NETSPLIT_")?;
    let mut known: Vec<_> = KEYS.iter().map(|key| variable(key.name)).collect();
    known.extend(ENVIRONMENT_ONLY.iter().map(|(name, _)| (*name).to_owned()));
    if OWN.contains(&word) || known.iter().any(|known| known == name) {
        return None;
    }
    let words = known.iter().filter_map(|known| known.strip_prefix("NETSPLIT_"));
    nearest(word, words).map(|near| format!("NETSPLIT_{near}"))
}

/// The variable of the setting `key`: `NETSPLIT_DEADLINES_RUN`.
pub(super) fn variable(key: &str) -> String {
    format!("NETSPLIT_{}", key.replace('.', "_").to_uppercase())
}

/// The text of `.env.template`: every variable, commented out, with what it does.
#[cfg(test)]
pub(crate) fn env_template() -> String {
    let mut text =
        String::from("# netsplit's settings. Copy to .env and take away the # of what you want to set.\n");
    for key in KEYS {
        let default = key.default.unwrap_or_default();
        text += &format!("\n# {}\n# {}={default}\n", key.about, variable(key.name));
    }
    for (name, about) in ENVIRONMENT_ONLY {
        text += &format!("\n# {about}\n# {name}=\n");
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_template_in_the_repository_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.env.template");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text != super::env_template() && std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, super::env_template()).unwrap();
        }
        assert!(text == super::env_template(), "fix: UPDATE=1 cargo test -p netsplit template");
    }
}
