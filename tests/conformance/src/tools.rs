//! A few of the programs that every machine has, by their names and for hosts that run programs of the test only. Where a
//! host has its own, `run("true")` means that one.

use std::io::{self, Write};
use std::time::Duration;
use std::{fs, thread};

use netsplit::Machine;

use crate::programs::say;

/// `true`: succeeds.
#[netsplit::program]
pub async fn r#true() {}

/// `false`: fails.
#[netsplit::program]
pub async fn r#false() -> u8 {
    1
}

/// `echo WORDS…`: prints the words.
#[netsplit::program]
pub async fn echo(words: Vec<String>) {
    say(&words.join(" "));
}

/// `printf FORMAT WORDS…`: prints the format once for each word, which stands for `%s`.
///
/// # Errors
/// Without a format, and when nobody reads it.
#[netsplit::program]
pub async fn printf(words: Vec<String>) -> io::Result<()> {
    let (format, words) = words.split_first().ok_or_else(|| io::Error::other("printf FORMAT"))?;
    let text: String = words.iter().map(|word| format.replace("%s", word)).collect();
    io::stdout().write_all(text.as_bytes())
}

/// `cat FILES…`: prints files; without any, its input.
///
/// # Errors
/// When one cannot be read.
#[netsplit::program]
pub async fn cat(files: Vec<String>) -> io::Result<()> {
    let mut to = io::stdout();
    if files.is_empty() {
        io::copy(&mut io::stdin().lock(), &mut to)?;
    }
    for file in files {
        io::copy(&mut fs::File::open(file)?, &mut to)?;
    }
    to.flush()
}

/// `sleep SECONDS`: waits.
///
/// # Errors
/// When that is no time.
#[netsplit::program]
pub async fn sleep(words: Vec<String>) -> io::Result<()> {
    let seconds = words.first().and_then(|word| word.parse().ok());
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    thread::sleep(time.ok_or_else(|| io::Error::other("sleep SECONDS"))?);
    Ok(())
}

/// `hostname`: prints the host's name.
#[netsplit::program]
pub async fn hostname(machine: Machine) {
    say(machine.name());
}

/// `env [-0]`: prints the environment, a variable a line or with a NUL behind each.
///
/// # Errors
/// When nobody reads it.
#[netsplit::program]
pub async fn env(words: Vec<String>) -> io::Result<()> {
    let end = if words.first().is_some_and(|word| word == "-0") { '\0' } else { '\n' };
    let lines: String = std::env::vars().map(|(name, value)| format!("{name}={value}{end}")).collect();
    io::stdout().write_all(lines.as_bytes())
}

/// `printenv NAME`: prints the value of a variable; fails where there is none.
#[netsplit::program]
pub async fn printenv(words: Vec<String>) -> u8 {
    match std::env::var(words.join(" ")) {
        Ok(value) => say(&value),
        Err(_) => return 1,
    }
    0
}
