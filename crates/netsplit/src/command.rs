//! What to run: a text, exact words, a script, or a program of the test.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use netsplit_model::{HostName, Reason, Scope, Trouble, words};
use tokio::io::AsyncRead;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::program::AsProgram;

/// A command before its templates are filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// One text that is split into words as a shell does, and nothing more.
    Text(String),
    /// Exact words, in which `%{…}` is filled in.
    Exact(Vec<String>),
    /// Exact words that are taken as they are.
    Literal(Vec<String>),
    /// A script for `/bin/sh -eu`.
    Script(String),
    /// An executable file of this machine, brought to the host by content.
    Local(PathBuf),
    /// A program of the test itself, and its words.
    Program(String, Vec<String>),
}

/// Anything that can be run: `"kvctl get x"`, `["grep", "-c", "x"]`, a program of the test, [`sh`].
///
/// ```
/// # use netsplit::prelude::*;
/// # fn run(leader: &Host, client: &Host) -> netsplit::Run {
/// client.run(["ping", "-c1", leader.name().as_ref()])
/// # }
/// ```
pub trait IntoWords {
    /// The command.
    fn into_words(self) -> Words;
}

/// A script for `/bin/sh -eu`, for what needs pipes, redirections or several commands.
pub fn sh(script: impl Into<String>) -> Words {
    Words::Script(script.into())
}

/// An executable file of this machine, brought to the host by content: `local(env!("CARGO_BIN_EXE_kvd"))`. A relative
/// path begins in the package's folder.
pub fn local(file: impl Into<PathBuf>) -> Words {
    Words::Local(file.into())
}

impl IntoWords for Words {
    fn into_words(self) -> Words {
        self
    }
}

impl IntoWords for &str {
    fn into_words(self) -> Words {
        Words::Text(self.to_owned())
    }
}

impl IntoWords for String {
    fn into_words(self) -> Words {
        Words::Text(self)
    }
}

impl IntoWords for &String {
    fn into_words(self) -> Words {
        Words::Text(self.clone())
    }
}

impl<S: AsRef<str>, const N: usize> IntoWords for [S; N] {
    fn into_words(self) -> Words {
        Words::Exact(self.iter().map(|word| word.as_ref().to_owned()).collect())
    }
}

impl<S: AsRef<str>> IntoWords for &[S] {
    fn into_words(self) -> Words {
        Words::Exact(self.iter().map(|word| word.as_ref().to_owned()).collect())
    }
}

impl<S: AsRef<str>> IntoWords for Vec<S> {
    fn into_words(self) -> Words {
        self.as_slice().into_words()
    }
}

impl<P: AsProgram> IntoWords for P {
    fn into_words(self) -> Words {
        Words::Program(P::NAME.to_owned(), Vec::new())
    }
}

/// A program of the test with words: `(kvctl, ["get", "x"])`.
impl<P: AsProgram, S: AsRef<str>, const N: usize> IntoWords for (P, [S; N]) {
    fn into_words(self) -> Words {
        let words = self.1.iter().map(|word| word.as_ref().to_owned()).collect();
        Words::Program(P::NAME.to_owned(), words)
    }
}

/// What a process reads from its standard input.
#[derive(Default)]
pub(crate) enum Input {
    /// Nothing: /dev/null.
    #[default]
    None,
    /// These bytes, then its end.
    Bytes(bytes::Bytes),
    /// What this file holds, then its end.
    File(PathBuf),
    /// What comes from here, then its end.
    Stream(Pin<Box<dyn AsyncRead + Send>>),
    /// What the test writes, until it closes it.
    Open,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Bytes(_) => "bytes",
            Self::File(_) => "a file",
            Self::Stream(_) => "a stream",
            Self::Open => "open",
        })
    }
}

/// Everything about a process that is to be started.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) words: Words,
    pub(crate) args: Vec<String>,
    pub(crate) scope: Scope,
    pub(crate) cwd: String,
    pub(crate) user: String,
    pub(crate) input: Input,
    /// Rows and columns.
    pub(crate) pty: Option<(u32, u32)>,
    pub(crate) within: Option<Duration>,
    pub(crate) name: Option<String>,
    /// What `./x` is relative to, when not the run's own base.
    pub(crate) base: Option<PathBuf>,
}

impl Spec {
    pub(crate) fn new(words: Words) -> Self {
        Self {
            words,
            args: Vec::new(),
            scope: Scope::new("command"),
            cwd: String::new(),
            user: String::new(),
            input: Input::None,
            pty: None,
            within: None,
            name: None,
            base: None,
        }
    }

    /// The command as a user would write it, for messages.
    pub(crate) fn shown(&self) -> String {
        let mut text = match &self.words {
            Words::Text(text) => text.clone(),
            Words::Exact(exact) | Words::Literal(exact) => match &exact[..] {
                [shell, flags, script, ..] if shell == SHELL[0] && flags == SHELL[1] => shown_script(script),
                _ => words::join(exact.iter().map(String::as_str)),
            },
            Words::Script(script) => shown_script(script),
            Words::Local(file) => file_name(file),
            Words::Program(name, exact) => {
                let name = name.rsplit('/').next().unwrap_or(name);
                words::join([name].into_iter().chain(exact.iter().map(String::as_str)))
            }
        };
        if !self.args.is_empty() {
            text.push(' ');
            text.push_str(&words::join(self.args.iter().map(String::as_str)));
        }
        shorten(&text, 120)
    }
}

/// What runs a script.
const SHELL: [&str; 2] = ["/bin/sh", "-euc"];

/// A script as messages show it: its first line.
fn shown_script(script: &str) -> String {
    let mut lines = script.trim().lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("sh: {first} …") } else { format!("sh: {first}") }
}

fn file_name(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

/// Cuts a long text in its middle.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let count = one_line.chars().count();
    if count <= max {
        return one_line;
    }
    let half = max / 2 - 1;
    let head: String = one_line.chars().take(half).collect();
    let tail: String = one_line.chars().skip(count - half).collect();
    format!("{head}…{tail}")
}

/// A command for one host: words filled in, and what must be brought there first.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) argv: Vec<String>,
    /// The test's own program, which needs no file.
    pub(crate) program: String,
    /// A file of the user's that is the program: here, and there.
    pub(crate) bring: Option<PathBuf>,
    /// How the process is called.
    pub(crate) name: String,
}

/// Fills in a command for `host`.
pub(crate) fn resolve(core: &Core, host: &HostName, spec: &Spec) -> Result<Resolved> {
    let shown = spec.shown();
    let mut argv = match &spec.words {
        Words::Text(text) => split(text)?,
        Words::Exact(exact) | Words::Literal(exact) => exact.clone(),
        Words::Script(script) => vec![SHELL[0].into(), SHELL[1].into(), script.clone()],
        Words::Local(file) => vec![file_name(file)],
        Words::Program(name, exact) => [name].into_iter().chain(exact).cloned().collect(),
    };
    argv.extend(spec.args.iter().cloned());
    if !matches!(spec.words, Words::Literal(_)) {
        argv = argv.iter().map(|word| core.render(host, word, &shown)).collect::<Result<Vec<_>>>()?;
    }
    let program = if let Words::Program(name, _) = &spec.words { name.clone() } else { String::new() };
    let first =
        argv.first().cloned().ok_or_else(|| Error::new(Reason::CouldNotStart, "the command is empty"))?;
    let base_name = first.rsplit('/').next().unwrap_or(&first).to_owned();
    let name = match &spec.words {
        Words::Script(_) => "sh".to_owned(),
        _ => base_name,
    };
    let name = spec.name.clone().unwrap_or(name);
    let base = spec.base.as_ref().unwrap_or(&core.base);
    let is_ours = program.is_empty() && first.contains('/') && !first.starts_with('/');
    let bring = match &spec.words {
        Words::Local(file) => Some(base.join(file)),
        _ => is_ours.then(|| base.join(first.strip_prefix("./").unwrap_or(&first))),
    };
    if let Some(file) = &bring {
        check_file(file, &first)?;
    }
    Ok(Resolved { argv, program, bring, name })
}

fn split(text: &str) -> Result<Vec<String>> {
    let split = words::split(text).map_err(|error| {
        let column = text[..error.span().start].chars().count() + 1;
        let trouble = Trouble::new(
            Reason::ShellInCommand,
            format!("{error}, column {column} of `{}`", shorten(text, 120)),
        );
        match error {
            words::WordsError::Empty => Trouble::new(Reason::CouldNotStart, error.to_string()),
            words::WordsError::Shell { .. } => {
                trouble.fix("run it with sh(…), or put the character in quotes")
            }
            _ => trouble,
        }
    })?;
    Ok(split.into_iter().map(|word| word.text).collect())
}

fn check_file(file: &Path, name: &str) -> Result {
    let trouble = match std::fs::metadata(file) {
        Ok(data) if data.is_file() => return Ok(()),
        Ok(_) => Trouble::new(
            Reason::CouldNotStart,
            format!("`{name}` is a folder, not a program: {}", file.display()),
        ),
        Err(error) => {
            Trouble::new(Reason::NoSuchFile, format!("no file `{name}` here: {}: {error}", file.display()))
        }
    };
    Err(trouble
        .because(
            "a command word with a slash is a file of yours; a bare word is looked up in the host's PATH",
        )
        .guess("build it first, or write the host's own path from its root")
        .into())
}
