//! The commands of a script: those of every shell, as far as they are needed, and `repeat COUNT TEXT`, which writes much.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal};

use super::{Command, UNKNOWN};

/// How much `repeat` writes at once, about.
const PIECE: usize = 64 << 10;

/// Runs one; gives its status.
pub(super) fn run(words: &[&str], command: Command) -> io::Result<u8> {
    let Command { mut stdin, mut stdout, .. } = command;
    let holds = match *words {
        ["true"] | [] => true,
        ["false"] => false,
        ["test", ref question @ ..] => test(question)?,
        ["echo", ref words @ ..] => write(&mut stdout, format!("{}\n", words.join(" ")))?,
        ["printf", format, ref words @ ..] => write(&mut stdout, printf(format, words))?,
        ["pwd"] => write(&mut stdout, format!("{}\n", std::env::current_dir()?.display()))?,
        ["env"] => write(&mut stdout, environment())?,
        ["repeat", count, text] => repeat(&mut stdout, number(count)?, text)?,
        ["cat"] => io::copy(&mut stdin, &mut stdout).map(|_| true)?,
        ["cat", ref files @ ..] => {
            each(files, |file| io::copy(&mut File::open(file)?, &mut stdout).map(drop))?
        }
        ["head", "-c", count] => io::copy(&mut stdin.take(number(count)?), &mut stdout).map(|_| true)?,
        ["sleep", seconds] => {
            std::thread::sleep(Duration::from_secs_f64(number(seconds)?));
            true
        }
        ["kill", signal, process] => kill(signal, number(process)?)?,
        ["ulimit", "-c", "0"] => {
            rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
            true
        }
        ["ls", "-A", folder] => write(&mut stdout, names(folder)?)?,
        ["stat", "-c", format, ref files @ ..] => {
            each(files, |file| write(&mut stdout, stat(format, file)?).map(drop))?
        }
        ["touch", ref files @ ..] => {
            each(files, |file| OpenOptions::new().append(true).create(true).open(file).map(drop))?
        }
        ["mkdir", "-p", ref folders @ ..] => each(folders, |folder| fs::create_dir_all(folder))?,
        ["rm", "-rf", ref files @ ..] => each(files, |file| match fs::remove_dir_all(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => fs::remove_file(file),
            _ => Ok(()),
        })?,
        ["rm", ref files @ ..] => each(files, |file| fs::remove_file(file))?,
        ["mv", from, to] => fs::rename(from, to).map(|()| true)?,
        ["ln", "-s", to, link] => symlink(to, link).map(|()| true)?,
        ["chmod", mode, ref files @ ..] => {
            let mode = u32::from_str_radix(mode, 8).map_err(io::Error::other)?;
            each(files, |file| fs::set_permissions(file, Permissions::from_mode(mode)))?
        }
        ["sync", ref files @ ..] => each(files, |file| File::open(file)?.sync_all())?,
        _ => {
            write(&mut io::stderr(), format!("no command `{}`\n", words.join(" ")))?;
            return Ok(UNKNOWN);
        }
    };
    Ok(u8::from(!holds))
}

/// A line of what is read, byte by byte: the next command reads what follows. 1 at its end.
pub(super) fn line(stdin: &mut File) -> io::Result<(String, u8)> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while stdin.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    Ok((String::from_utf8_lossy(&line).into_owned(), u8::from(byte != *b"\n")))
}

/// A number of a command's words.
pub(super) fn number<T: std::str::FromStr>(word: &str) -> io::Result<T> {
    word.parse().map_err(|_| io::Error::other(format!("`{word}` is no such number")))
}

fn each(files: &[&str], mut what: impl FnMut(&str) -> io::Result<()>) -> io::Result<bool> {
    files.iter().try_for_each(|file| what(file)).map(|()| true)
}

fn write(to: &mut impl Write, bytes: impl AsRef<[u8]>) -> io::Result<bool> {
    to.write_all(bytes.as_ref()).map(|()| true)
}

fn test(question: &[&str]) -> io::Result<bool> {
    Ok(match *question {
        ["-e", file] => Path::new(file).exists(),
        ["-f", file] => Path::new(file).is_file(),
        ["-d", file] => Path::new(file).is_dir(),
        ["-s", file] => fs::metadata(file).is_ok_and(|data| data.len() > 0),
        [one, "=", other] => one == other,
        [one, "!=", other] => one != other,
        _ => return Err(io::Error::other("no such question")),
    })
}

fn printf(format: &str, words: &[&str]) -> Vec<u8> {
    let (mut out, mut words, mut chars) = (Vec::new(), words.iter(), format.chars().peekable());
    while let Some(next) = chars.next() {
        match (next, chars.peek().copied()) {
            ('%', Some('s')) => out.extend(words.next().copied().unwrap_or_default().bytes()),
            ('\\', Some('n')) => out.push(b'\n'),
            ('\\', Some('r')) => out.push(b'\r'),
            ('\\', Some('t')) => out.push(b'\t'),
            ('\\', Some('0'..='7')) => {
                let mut byte = 0_u8;
                for _ in 0..3 {
                    let digit = chars.next_if(|next| next.is_digit(8)).and_then(|digit| digit.to_digit(8));
                    byte = digit.map_or(byte, |digit| (byte << 3) | u8::try_from(digit).unwrap_or(0));
                }
                out.push(byte);
                continue;
            }
            ('%' | '\\', Some(same)) => out.extend(same.to_string().bytes()),
            _ => {
                out.extend(next.to_string().bytes());
                continue;
            }
        }
        chars.next();
    }
    out
}

fn environment() -> String {
    let line = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        format!("{}={}\n", name.to_string_lossy(), value.to_string_lossy())
    };
    std::env::vars_os().map(line).collect()
}

fn repeat(stdout: &mut File, count: usize, text: &str) -> io::Result<bool> {
    let at_once = (PIECE / text.len().max(1)).max(1);
    let piece = text.repeat(at_once.min(count));
    for _ in 0..count / at_once {
        stdout.write_all(piece.as_bytes())?;
    }
    write(stdout, text.repeat(count % at_once))
}

/// `kill -TERM 7`, by the names that are of use here.
fn kill(signal: &str, process: i32) -> io::Result<bool> {
    let signal = match signal.trim_start_matches('-') {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "ABRT" => Signal::ABORT,
        "KILL" | "9" => Signal::KILL,
        "USR1" => Signal::USR1,
        "SEGV" => Signal::SEGV,
        "ALRM" => Signal::ALARM,
        "TERM" => Signal::TERM,
        "STOP" => Signal::STOP,
        other => return Err(io::Error::other(format!("no signal {other}"))),
    };
    let process = Pid::from_raw(process).ok_or_else(|| io::Error::other("no process"))?;
    rustix::process::kill_process(process, signal)?;
    Ok(true)
}

fn names(folder: &str) -> io::Result<String> {
    let mut names = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned() + "\n"))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names.concat())
}

/// `%s` and `%a`: bytes and permissions.
fn stat(format: &str, file: &str) -> io::Result<String> {
    let data = fs::metadata(file)?;
    match format {
        "%s" => Ok(format!("{}\n", data.len())),
        "%a" => Ok(format!("{:o}\n", data.permissions().mode() & 0o7777)),
        _ => Err(io::Error::other("no such format")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printf_writes_bytes() {
        assert_eq!(printf(r"%s: \303\251\n\t100%%\\", &["x"]), "x: é\n\t100%\\".as_bytes());
        assert_eq!(printf(r"\377\0", &[]), [255, 0]);
    }
}
