//! Finds the files of a scenario: itself, and what it includes.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use netsplit_model::{Reason, Trouble};

use crate::fields;
use crate::grammar::{self, TOP};
use crate::ledger::Ledger;
use crate::read::tables::Part;
use crate::source::Span;
use crate::toml::{self, Document, Table};

/// A scenario is written by hand: what is longer is another file named by mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most files of one scenario.
const FILES_MAX: usize = 64;

/// The parts of a scenario: what it includes first, itself last.
pub(super) struct Gathered {
    pub(super) parts: Vec<Part>,
    /// A part is missing or cannot be read.
    pub(super) incomplete: bool,
    /// The scenario itself is.
    pub(super) broken_main: bool,
    /// The scenario's own text.
    pub(super) span: Span,
    pub(super) name: String,
    pub(super) file: String,
    pub(super) folder: Arc<PathBuf>,
}

/// Reads the scenario at `path`, or `text` as if it stood there, and all that it includes.
pub(super) fn gather(ledger: &mut Ledger, path: &Path, text: Option<String>) -> Gathered {
    let file = shown(path);
    let name = path.file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned());
    let mut gatherer =
        Gatherer { ledger, parts: Vec::new(), open: Vec::new(), known: Vec::new(), incomplete: false };
    let text = match text {
        Some(text) => Ok(text),
        None => read(path),
    };
    let mut span = Span::new(0..0);
    let mut broken_main = true;
    match text {
        Ok(text) => {
            let whole = gatherer.part(path, text, None);
            span = whole.0;
            broken_main = !whole.1;
        }
        Err((reason, why)) => gatherer.ledger.mistake_at(None, Trouble::new(reason, format!("{file} {why}"))),
    }
    let incomplete = gatherer.incomplete;
    let parts = gatherer.parts;
    Gathered { parts, incomplete, broken_main, span, name, file, folder: Arc::new(folder_of(path)) }
}

struct Gatherer<'a> {
    ledger: &'a mut Ledger,
    parts: Vec<Part>,
    /// The files that lead here, the scenario first.
    open: Vec<(PathBuf, String)>,
    known: Vec<PathBuf>,
    incomplete: bool,
}

impl Gatherer<'_> {
    /// Reads one text; returns where it stands and whether it is TOML.
    fn part(&mut self, path: &Path, text: String, included: Option<Span>) -> (Span, bool) {
        let name = shown(path);
        let base = self.ledger.sources.add(&name, path, text.clone());
        let document = Document::parse(&text, base.start);
        let is_toml = document.syntax.is_empty();
        for syntax in document.syntax {
            let trouble = Trouble::new(Reason::Syntax, syntax.text);
            self.ledger.mistake(
                syntax.span,
                match syntax.hint {
                    Some(hint) => trouble.hint(hint),
                    None => trouble,
                },
            );
        }
        if !is_toml {
            // What follows from a slip of the pen is no mistake of its own.
            self.incomplete = true;
            return (base, false);
        }
        for twice in &document.twice {
            self.twice(twice);
        }
        let identity = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.known.push(identity.clone());
        self.open.push((identity, name));
        self.includes(&document.root, path);
        self.open.pop();
        let folder = Arc::new(folder_of(path));
        self.parts.push(Part { root: document.root, span: base, folder, included });
        (base, true)
    }

    fn twice(&mut self, twice: &toml::Twice) {
        if twice.closed {
            let line = self.ledger.sources.named_from(twice.first, twice.again);
            let text = format!("`{}` cannot be added to here", twice.name);
            let hint = format!("it begins {line}, and TOML wants all of it there");
            self.ledger.mistake(twice.again, Trouble::new(Reason::DuplicateName, text).hint(hint));
        } else {
            self.ledger.duplicate(format!("`{}` is there twice", twice.name), twice.again, twice.first);
        }
    }

    fn includes(&mut self, root: &Table, from: &Path) {
        let (Some(entry), Some(key)) = (root.get("include"), TOP.get("include")) else { return };
        for text in fields::texts(self.ledger, &entry.node, key) {
            self.include(text, from);
        }
    }

    fn include(&mut self, text: &toml::Text, from: &Path) {
        let written = Path::new(&text.value);
        if written.extension().is_some_and(|extension| extension == "sh") {
            let text_ = "including a script needs the verbs of the shell, which this version does not have";
            self.incomplete = true;
            return self.ledger.mistake(text.inner(), Trouble::new(Reason::NotYet, text_));
        }
        if written.is_absolute() || text.value.is_empty() {
            let trouble =
                Trouble::new(Reason::BadValue, "an included file is named from the folder of this one");
            self.incomplete = true;
            return self.ledger.mistake(text.inner(), trouble);
        }
        let path = tidy(&folder_of(from).join(written));
        let identity = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if let Some(at) = self.open.iter().position(|(open, _)| *open == identity) {
            let way: Vec<_> = self.open[at..].iter().map(|(_, name)| name.as_str()).collect();
            let first = way.first().copied().unwrap_or_default();
            let text_ = format!("{first} includes itself: {} includes {first}", way.join(" includes "));
            return self.ledger.mistake(text.inner(), Trouble::new(Reason::Circle, text_));
        }
        if self.known.contains(&identity) {
            return;
        }
        if self.known.len() >= FILES_MAX {
            let trouble = Trouble::new(Reason::BadValue, format!("more than {FILES_MAX} files"));
            return self.ledger.mistake(text.inner(), trouble);
        }
        match read(&path) {
            Ok(read) => {
                self.part(&path, read, Some(text.inner()));
            }
            Err((reason, why)) => {
                self.incomplete = true;
                let trouble = Trouble::new(reason, format!("the included file `{}` {why}", text.value));
                self.ledger.mistake(text.inner(), trouble);
            }
        }
    }
}

/// The text of a file, or why there is none, as the end of a sentence.
pub(super) fn read(path: &Path) -> Result<String, (Reason, String)> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => (Reason::NoSuchFile, "is not there".to_owned()),
        _ => (Reason::NoSuchFile, format!("cannot be read: {}", error.kind())),
    })?;
    if !metadata.is_file() {
        return Err((Reason::NoSuchFile, "is no file".to_owned()));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err((Reason::BadValue, "is longer than 1 MiB".to_owned()));
    }
    let bytes = std::fs::read(path)
        .map_err(|error| (Reason::NoSuchFile, format!("cannot be read: {}", error.kind())))?;
    String::from_utf8(bytes).map_err(|error| {
        (
            Reason::Syntax,
            format!("is no UTF-8 text: byte {} is none of it", error.utf8_error().valid_up_to() + 1),
        )
    })
}

/// `netsplit = ">=0.3"`: whether this version understands the file.
pub(super) fn version(ledger: &mut Ledger, text: &toml::Text) {
    let wanted = text.value.trim().trim_start_matches(">=").trim();
    let numbers =
        |text: &str| text.split('.').map(|part| part.parse::<u64>().ok()).collect::<Option<Vec<_>>>();
    let Some(wanted_numbers) = numbers(wanted).filter(|numbers| numbers.len() <= 3) else {
        let trouble = Trouble::new(Reason::BadValue, format!("`{}` is no version", text.value));
        return ledger.mistake(text.inner(), trouble.hint(r#"such as ">=0.1""#));
    };
    let own = numbers(grammar::VERSION.split('-').next().unwrap_or_default()).unwrap_or_default();
    let padded = |numbers: &[u64]| [0, 1, 2].map(|at| numbers.get(at).copied().unwrap_or(0));
    if padded(&wanted_numbers) > padded(&own) {
        let trouble =
            format!("this scenario wants netsplit {wanted} or newer, and this is {}", grammar::VERSION);
        ledger.mistake(text.inner(), Trouble::new(Reason::NotYet, trouble));
    }
}

/// Never empty: a process that is to run there needs a folder that has a name.
fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new(".")).to_owned()
}

/// The path as a user would write it.
pub(crate) fn shown(path: &Path) -> String {
    tidy(path).display().to_string()
}

/// Without `./`.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}
