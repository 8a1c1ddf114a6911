//! What each layer says, as text.

use std::collections::BTreeMap;
use std::fs;
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};

use netsplit_model::{Place, Reason, Trouble, nearest};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Origin;
use super::keys::{KEYS, meant, variable};

type Said = BTreeMap<String, (String, Origin)>;

/// Providers whose tables in `netsplit.toml` later versions read.
const PROVIDERS: [&str; 9] =
    ["namespace", "docker", "swarm", "qemu", "ssh", "serial", "digitalocean", "pool", "simulated"];

/// The layers, put together.
#[derive(Debug)]
pub(super) struct Layers {
    said: Said,
    environment: BTreeMap<String, String>,
    home: PathBuf,
    warnings: Vec<Trouble>,
    /// What is wrong with `netsplit.toml`, but for its values.
    troubles: Vec<Trouble>,
    /// Where its values stand, by key.
    places: BTreeMap<String, Place>,
    /// Its profiles that are not taken, each by itself.
    unused: Vec<Self>,
}

impl Layers {
    pub(super) fn read(
        cwd: &Path,
        flags: &[(String, String)],
        environment: BTreeMap<String, String>,
    ) -> Result<Self, Vec<Trouble>> {
        let home = find_home(cwd);
        let flags: BTreeMap<_, _> = flags.iter().cloned().collect();
        let dot_env = home.join(".env");
        let from_file = read_dot_env(&dot_env)?;
        let profile = flags
            .get("profile")
            .or_else(|| environment.get("NETSPLIT_PROFILE"))
            .or_else(|| from_file.get("NETSPLIT_PROFILE"))
            .filter(|profile| !profile.is_empty());
        let File { mut said, troubles, places, unused, .. } =
            read_toml(&home.join("netsplit.toml"), profile.map(String::as_str))?;
        for key in KEYS {
            let variable = variable(key.name);
            let layers = [
                (from_file.get(&variable), Origin::DotEnv(dot_env.clone())),
                (environment.get(&variable).filter(|value| !value.is_empty()), Origin::Environment),
                (flags.get(key.name), Origin::Flag),
            ];
            for (value, origin) in layers {
                if let Some(value) = value {
                    said.insert(key.name.to_owned(), (value.clone(), origin));
                }
            }
            if let (Some(default), false) = (key.default, said.contains_key(key.name)) {
                said.insert(key.name.to_owned(), (default.to_owned(), Origin::Default));
            }
        }
        let mut warnings = slips(&environment, "");
        warnings.extend(slips(&from_file, &format!(" in {}", dot_env.display())));
        let unused = unused.into_iter().map(|(said, places)| Self::of_profile(said, places)).collect();
        Ok(Self { said, environment, home, warnings, troubles, places, unused })
    }

    /// The layers of another process, already put together.
    pub(super) fn handed(
        said: Said,
        pass: BTreeMap<String, String>,
        dir: &Path,
        warnings: Vec<Trouble>,
    ) -> Self {
        let mut environment = pass;
        environment.insert("NETSPLIT_DIR".to_owned(), dir.to_string_lossy().into_owned());
        let home = dir.to_owned();
        Self { environment, home, warnings, ..Self::of_profile(said, BTreeMap::new()) }
    }

    /// What one profile says, and nobody else.
    fn of_profile(said: Said, places: BTreeMap<String, Place>) -> Self {
        Self {
            said,
            environment: BTreeMap::new(),
            home: PathBuf::new(),
            warnings: Vec::new(),
            troubles: Vec::new(),
            places,
            unused: Vec::new(),
        }
    }

    /// The profiles that are not taken: what is wrong with one would be found by whoever takes it first.
    pub(super) fn unused(&self) -> &[Self] {
        &self.unused
    }

    /// What is wrong before any value is looked at.
    pub(super) fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// Where the value of `key` stands, if it is `netsplit.toml`'s.
    pub(super) fn place(&self, key: &str) -> Option<&Place> {
        let (_, origin) = self.get(key)?;
        self.places.get(key).filter(|_| matches!(origin, Origin::File(..)))
    }

    /// What looks wrong and keeps nothing from running.
    pub(super) fn warnings(&self) -> &[Trouble] {
        &self.warnings
    }

    pub(super) fn get(&self, key: &str) -> Option<(&str, &Origin)> {
        self.said.get(key).map(|(text, origin)| (text.as_str(), origin))
    }

    /// A variable of this process's environment.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }

    pub(super) fn dir(&self) -> PathBuf {
        let said = self.variable("NETSPLIT_DIR").filter(|dir| !dir.is_empty());
        said.map_or_else(|| self.home.join(".netsplit"), PathBuf::from)
    }

    pub(super) fn shown(&self) -> Vec<(&'static str, String, Origin)> {
        let show = |key: &super::Key| {
            let (text, origin) = self.get(key.name).unwrap_or(("", &Origin::Default));
            (key.name, text.to_owned(), origin.clone())
        };
        KEYS.iter().map(show).collect()
    }
}

/// Variables that nobody reads, and that look like settings.
fn slips(variables: &BTreeMap<String, String>, place: &str) -> Vec<Trouble> {
    let slip = |name: &String| {
        let near = meant(name)?;
        let text = format!("no setting is called {name}{place}; did you mean {near}?");
        Some(Trouble::new(Reason::BadSetting, text))
    };
    variables.keys().filter_map(slip).collect()
}

/// The folder that a project is known by: of the nearest `netsplit.toml`, workspace manifest or `.git`.
fn find_home(cwd: &Path) -> PathBuf {
    let is_home = |folder: &&Path| {
        let is_workspace = || {
            fs::read_to_string(folder.join("Cargo.toml"))
                .is_ok_and(|text| text.lines().any(|line| line.trim_start().starts_with("[workspace")))
        };
        folder.join("netsplit.toml").is_file() || folder.join(".git").exists() || is_workspace()
    };
    cwd.ancestors().find(is_home).unwrap_or(cwd).to_owned()
}

fn read_dot_env(path: &Path) -> Result<BTreeMap<String, String>, Vec<Trouble>> {
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let wrong = |error: dotenvy::Error| {
        vec![Trouble::new(Reason::BadSetting, format!("{} cannot be read: {error}", path.display()))]
    };
    let lines = dotenvy::from_path_iter(path).map_err(wrong)?;
    lines.collect::<Result<_, _>>().map_err(wrong)
}

/// The values of `netsplit.toml`, and what is wrong with it.
struct File {
    path: PathBuf,
    text: String,
    said: Said,
    places: BTreeMap<String, Place>,
    troubles: Vec<Trouble>,
    /// The values of each profile that is not taken, and their places.
    unused: Vec<(Said, BTreeMap<String, Place>)>,
}

fn read_toml(path: &Path, profile: Option<&str>) -> Result<File, Vec<Trouble>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match profile {
            Some(profile) => return Err(vec![no_file_of(profile, path)]),
            None => String::new(),
        },
        Err(error) => {
            let text = format!("{} cannot be read: {error}", path.display());
            return Err(vec![Trouble::new(Reason::BadSetting, text)]);
        }
        Ok(text) => text,
    };
    let mut file = File {
        path: path.to_owned(),
        text: text.clone(),
        said: Said::new(),
        places: BTreeMap::new(),
        troubles: Vec::new(),
        unused: Vec::new(),
    };
    match DeTable::parse(&text) {
        Ok(table) => file.read(table.get_ref(), profile),
        Err(error) => file.wrong(error.span(), error.message().to_owned()),
    }
    Ok(file)
}

fn no_file_of(profile: &str, path: &Path) -> Trouble {
    let text =
        format!("no profile `{profile}`: there is no netsplit.toml, which would be {}", path.display());
    Trouble::new(Reason::BadSetting, text)
}

impl File {
    fn read(&mut self, table: &DeTable<'_>, profile: Option<&str>) {
        self.read_keys("", table, None);
        let profiles = table.get("profile").and_then(|profiles| profiles.get_ref().as_table());
        for (name, value) in profiles.into_iter().flatten() {
            let Some(keys) = value.get_ref().as_table() else {
                self.wrong(Some(value.span()), format!("profile `{}` is not a table", name.get_ref()));
                continue;
            };
            // Every profile is checked; one is taken.
            if profile == Some(name.get_ref()) {
                self.read_keys("", keys, Some(name.get_ref()));
                continue;
            }
            let (said, places) = (mem::take(&mut self.said), mem::take(&mut self.places));
            self.read_keys("", keys, Some(name.get_ref()));
            let unused = (mem::replace(&mut self.said, said), mem::replace(&mut self.places, places));
            self.unused.push(unused);
        }
        if let Some(profile) =
            profile.filter(|profile| !profiles.is_some_and(|known| known.contains_key(*profile)))
        {
            self.wrong(None, format!("no profile `{profile}`"));
        }
    }

    fn read_keys(&mut self, prefix: &str, table: &DeTable<'_>, profile: Option<&str>) {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let is_table = |name: &str| KEYS.iter().any(|key| key.name.starts_with(&format!("{name}.")));
            if prefix.is_empty()
                && (name == "profile" && profile.is_none() || PROVIDERS.contains(&name.as_str()))
            {
                continue;
            }
            if let Some(inner) = value.get_ref().as_table().filter(|_| is_table(&name)) {
                self.read_keys(&format!("{name}."), inner, profile);
            } else if KEYS.iter().any(|key| key.name == name) {
                match as_text(value) {
                    Some(text) => {
                        let origin = Origin::File(self.path.clone(), profile.map(str::to_owned));
                        self.places.insert(name.clone(), self.place(value.span()));
                        self.said.insert(name, (text, origin));
                    }
                    None => {
                        self.wrong(Some(value.span()), format!("`{name}` takes a text, a number or a list"))
                    }
                }
            } else {
                self.wrong(Some(key.span()), format!("unknown setting `{name}`{}", hint(&name, profile)));
            }
        }
    }

    fn place(&self, span: Range<usize>) -> Place {
        let before = &self.text[..span.start.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let small = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let width = self.text.get(span).map_or(0, |text| text.chars().count());
        Place {
            file: self.path.display().to_string(),
            line: small(line),
            column: small(column),
            width: small(width),
        }
    }

    fn wrong(&mut self, span: Option<Range<usize>>, text: String) {
        let place = span.map(|span| self.place(span));
        let text = if place.is_none() { format!("{text} in {}", self.path.display()) } else { text };
        self.troubles.push(Trouble::new(Reason::BadSetting, text).at(place));
    }
}

/// What is meant by a setting that nobody knows: a key that is nearly it, or the same under the header where it belongs.
fn hint(name: &str, profile: Option<&str>) -> String {
    let (table, key) = name.rsplit_once('.').unwrap_or(("", name));
    let known = || KEYS.iter().map(|known| known.name.rsplit_once('.').unwrap_or(("", known.name)));
    let tables = known().map(|(table, _)| table).chain(["profile"]).filter(|_| table.is_empty());
    let beside = known().filter(|(other, _)| *other == table).map(|(_, key)| key).chain(tables);
    let near = nearest(key, beside).map(|near| format!("`{}{near}`", &name[..name.len() - key.len()]));
    let belongs = known().find(|(_, known)| *known == key).map(|(table, _)| {
        let profile = profile.map(|profile| format!("profile.{profile}"));
        let header: Vec<_> =
            profile.as_deref().into_iter().chain([table]).filter(|part| !part.is_empty()).collect();
        match header[..] {
            [] => format!("`{key}` above the first header"),
            _ => format!("`{key}` under `[{}]`", header.join(".")),
        }
    });
    let meant: Vec<_> = near.into_iter().chain(belongs).collect();
    if meant.is_empty() { String::new() } else { format!("; did you mean {}?", meant.join(", or ")) }
}

fn as_text(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(items) => {
            items.iter().map(as_text).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        DeValue::Table(_) | DeValue::Datetime(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Keep, Settings};
    use super::*;

    /// Writes files, then reads the settings of a process in their folder.
    fn load(
        files: &[(&str, &str)],
        environment: &[(&str, &str)],
        flags: &[(&str, &str)],
    ) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let own = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        let flags: Vec<_> = flags.iter().map(own).collect();
        let shown = |troubles: Vec<Trouble>| {
            let texts: Vec<_> = troubles.iter().map(ToString::to_string).collect();
            texts.join("\n").replace(&folder.path().display().to_string(), "DIR")
        };
        Layers::read(folder.path(), &flags, environment.iter().map(own).collect())
            .and_then(|layers| Settings::from_layers(&layers))
            .map_err(shown)
    }

    #[test]
    fn the_nearest_layer_wins() {
        let toml =
            "keep = 'always'\njobs = 4\ndeadlines = { run = '5s', wait = '7s' }\n[profile.ci]\njobs = 1\n";
        let files = [("netsplit.toml", toml), (".env", "NETSPLIT_DEADLINES_RUN=6s\nNETSPLIT_SEED=1\n")];
        let plain = load(&files, &[], &[]).unwrap();
        assert_eq!((plain.keep, plain.jobs, plain.seed), (Keep::Always, Some(4), Some(1)));
        assert_eq!(plain.deadlines.run.as_secs(), 6);
        assert_eq!(plain.deadlines.wait.as_secs(), 7);
        assert_eq!(plain.deadlines.test.as_secs(), 600);
        let environment = [("NETSPLIT_SEED", "2"), ("NETSPLIT_PROFILE", "ci"), ("NETSPLIT_KEEP", "")];
        let ours = load(&files, &environment, &[("keep", "failed"), ("patience", "2")]).unwrap();
        assert_eq!((ours.keep, ours.jobs, ours.seed), (Keep::Failed, Some(1), Some(2)));
        assert_eq!(ours.deadlines.run.as_secs(), 12);
    }

    #[test]
    fn what_must_not_be_skipped_must_exist() {
        let wrong = |require| load(&[], &[("NETSPLIT_REQUIRE", require)], &[]).unwrap_err();
        assert_eq!(
            wrong("pty, user"),
            "no provider or capability `user`; did you mean `users`?  [bad-setting]\n\
             because NETSPLIT_REQUIRE is `pty, user`"
        );
        let unknown = wrong("nothing");
        assert!(unknown.starts_with("no provider or capability `nothing`  [bad-setting]"), "{unknown}");
        assert!(unknown.contains("there is: namespace"), "{unknown}");
        let known = load(&[], &[("NETSPLIT_REQUIRE", "namespace,users,clock")], &[]).unwrap();
        assert_eq!(known.require, ["namespace", "users", "clock"]);
    }

    #[test]
    fn a_variable_that_looks_like_a_setting_is_warned_of() {
        let environment = [
            ("NETSPLIT_KEEPP", "always"),
            ("NETSPLIT_KEEP", "always"),
            ("NETSPLIT_ROLE", "node"),
            ("NETSPLIT_BECOME", "agent"),
            ("NETSPLIT_OF_MY_OWN", "1"),
        ];
        let settings = load(&[(".env", "NETSPLIT_SEDE=1")], &environment, &[]).unwrap();
        let texts: Vec<_> = settings.warnings.iter().map(|warning| warning.text.clone()).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert_eq!(texts[0], "no setting is called NETSPLIT_KEEPP; did you mean NETSPLIT_KEEP?");
        assert!(texts[1].ends_with("/.env; did you mean NETSPLIT_SEED?"), "{}", texts[1]);
    }

    #[test]
    fn only_what_is_passed_on_is_seen() {
        let settings =
            load(&[("netsplit.toml", "pass = ['LANG', 'ABSENT']")], &[("LANG", "C"), ("HOME", "/x")], &[]);
        assert_eq!(settings.unwrap().pass, BTreeMap::from([("LANG".to_owned(), "C".to_owned())]));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let wrong = |toml| load(&[("netsplit.toml", toml)], &[], &[]).unwrap_err();
        assert_eq!(
            wrong("\nkepe = 'always'"),
            "unknown setting `kepe`; did you mean `keep`?  [bad-setting]\n  --> DIR/netsplit.toml:2:1"
        );
        assert_eq!(
            wrong("deadlines = { run = '5' }"),
            "`deadlines.run` is `5`; it takes a duration such as 30s  [bad-setting]\n  --> DIR/netsplit.toml:1:21"
        );
        let all = wrong("keep = 'maybe'\nseed = 'x'\nkepe = 1\n[profile.ci]\njbos = 2\nrequire = ['clok']");
        let lines: Vec<_> = all.lines().filter_map(|line| line.split("toml:").nth(1)).collect();
        assert_eq!(
            lines,
            ["1:8", "2:8", "3:1", "5:1", "6:11"],
            "each mistake at its place, also in a profile that is not taken: {all}"
        );
        assert!(wrong("jobs = ").contains("netsplit.toml:1:8"), "{}", wrong("jobs = "));
        let environment = load(&[], &[("NETSPLIT_KEEP", "maybe")], &[]).unwrap_err();
        assert_eq!(
            environment,
            "NETSPLIT_KEEP is `maybe`; it takes `never`, `failed` or `always`  [bad-setting]"
        );
        assert_eq!(
            load(&[], &[("NETSPLIT_PROFILE", "ci")], &[]).unwrap_err(),
            "no profile `ci`: there is no netsplit.toml, which would be DIR/netsplit.toml  [bad-setting]"
        );
        let other = load(&[("netsplit.toml", "[profile.ci]")], &[], &[("profile", "zz")]).unwrap_err();
        assert_eq!(other, "no profile `zz` in DIR/netsplit.toml  [bad-setting]");
    }

    #[test]
    fn a_key_under_the_wrong_header_is_told_the_right_one() {
        let wrong = |toml| {
            let all = load(&[("netsplit.toml", toml)], &[], &[]).unwrap_err();
            all.lines().next().unwrap().replace("  [bad-setting]", "")
        };
        let cases = [
            ("[deadlines]\njobs = 1", "`deadlines.jobs`; did you mean `jobs` above the first header?"),
            ("[network]\nwait = '1s'", "`network.wait`; did you mean `wait` under `[deadlines]`?"),
            ("wait = '1s'", "`wait`; did you mean `wait` under `[deadlines]`?"),
            ("test = ['a']", "`test`; did you mean `tests`, or `test` under `[deadlines]`?"),
            (
                "[profile.ci.deadlines]\nlate = '1s'",
                "`deadlines.late`; did you mean `late` under `[profile.ci.network]`?",
            ),
            ("[profile.ci.network]\njobs = 1", "`network.jobs`; did you mean `jobs` under `[profile.ci]`?"),
            ("[deadlins]\nrun = '1s'", "`deadlins`; did you mean `deadlines`?"),
            ("[deadlines]\nwiat = '1s'", "`deadlines.wiat`; did you mean `deadlines.wait`?"),
            ("colour = 1", "`colour`"),
        ];
        for (toml, said) in cases {
            assert_eq!(wrong(toml), format!("unknown setting {said}"));
        }
    }

    #[test]
    fn no_layer_takes_no_test_at_once() {
        let wrong = |toml, environment: &[_], flags: &[_]| {
            load(&[("netsplit.toml", toml)], environment, flags).unwrap_err()
        };
        let takes = "is `0`; it takes a whole number, 1 or more  [bad-setting]";
        let place = "\n  --> DIR/netsplit.toml";
        assert_eq!(wrong("jobs = 0", &[], &[]), format!("`jobs` {takes}{place}:1:8"));
        assert_eq!(wrong("[profile.ci]\njobs = 0", &[], &[]), format!("`jobs` {takes}{place}:2:8"));
        assert_eq!(wrong("", &[("NETSPLIT_JOBS", "0")], &[]), format!("NETSPLIT_JOBS {takes}"));
        assert_eq!(wrong("", &[], &[("jobs", "0")]), format!("--jobs {takes}"));
    }
}
