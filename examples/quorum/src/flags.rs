//! The command line: flags first, each once, as `--flag value` or `--flag=value`; then the words.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use crate::failure::Failure;

/// A command line taken apart.
#[derive(Debug)]
pub(crate) struct Flags {
    values: BTreeMap<String, String>,
    /// What stands after the flags. A word that begins with `-` is a word here, so that `put x -1` works.
    pub(crate) words: Vec<String>,
}

impl Flags {
    /// Takes `args` apart. `known` are the flags with a value, `switches` those without.
    ///
    /// # Errors
    /// When a flag is unknown, given twice or lacks its value, or an argument is not UTF-8.
    pub(crate) fn parse(
        args: impl IntoIterator<Item = OsString>,
        known: &[&str],
        switches: &[&str],
    ) -> Result<Self, Failure> {
        let mut flags = Self { values: BTreeMap::new(), words: Vec::new() };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let arg = utf8(arg)?;
            let Some(flag) = arg.strip_prefix("--") else {
                flags.words.push(arg);
                flags.words.extend(args.map(utf8).collect::<Result<Vec<_>, _>>()?);
                break;
            };
            let (name, inline) =
                flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            let value = match inline {
                _ if switches.contains(&name) => String::new(),
                _ if !known.contains(&name) => {
                    return Err(Failure::new(format!("unknown flag --{name}"), "--help lists them"));
                }
                Some(value) => value.to_owned(),
                None => args.next().map(utf8).transpose()?.ok_or_else(|| lacks_value(name))?,
            };
            if flags.values.insert(name.to_owned(), value).is_some() {
                return Err(Failure::new(format!("--{name} is given twice"), "keep one"));
            }
        }
        Ok(flags)
    }

    /// Whether `name` was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The value of `name`.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The time that `name` was set to, or `default`.
    ///
    /// # Errors
    /// When the value is not a time.
    pub(crate) fn time(&self, name: &str, default: Duration) -> Result<Duration, Failure> {
        let Some(text) = self.value(name) else { return Ok(default) };
        parse_time(text).ok_or_else(|| {
            Failure::new(
                format!("--{name} `{text}` is not a time"),
                "write it like 500ms or 5s, up to an hour",
            )
        })
    }
}

fn utf8(arg: OsString) -> Result<String, Failure> {
    arg.into_string().map_err(|arg| Failure::new(format!("{arg:?} is not UTF-8"), "only text can be used"))
}

fn lacks_value(name: &str) -> Failure {
    Failure::new(format!("--{name} has no value"), "--help shows what it takes")
}

/// Reads `5s`, `500ms`, or `500` which is milliseconds; from a millisecond to an hour.
fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit_ms) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 1000),
        (None, None) => (text, 1),
    };
    let ms = number.parse::<u64>().ok()?.checked_mul(unit_ms)?;
    (1..=3_600_000).contains(&ms).then(|| Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, Failure> {
        Flags::parse(line.split(' ').map(OsString::from), &["timeout", "servers"], &["help"])
    }

    #[test]
    fn flags_come_first() {
        let flags = parse("--timeout 5s --servers=a:1 --help put x --timeout").unwrap();
        assert_eq!(flags.time("timeout", Duration::ZERO).unwrap(), Duration::from_secs(5));
        assert_eq!(flags.value("servers"), Some("a:1"));
        assert!(flags.has("help"));
        assert_eq!(flags.words, ["put", "x", "--timeout"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            ("--tiemout 5s", "unknown flag --tiemout"),
            ("--timeout", "--timeout has no value"),
            ("--timeout 5s --timeout 6s", "--timeout is given twice"),
        ] {
            let failure = parse(line).unwrap_err().to_string();
            assert!(failure.contains(part), "{failure}");
        }
        assert!(parse("--timeout soon").unwrap().time("timeout", Duration::ZERO).is_err());
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("1500"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_time("75ms"), Some(Duration::from_millis(75)));
        assert_eq!(parse_time("2s"), Some(Duration::from_secs(2)));
        for text in ["", "s", "0", "-1s", "1m", "99999999999999999999", "18446744073709551615s"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
