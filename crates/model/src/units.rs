//! Durations and sizes as users write and read them: always with a unit.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// Why a text is no duration or size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// A number alone.
    #[error("`{text}` has no unit; write {example}")]
    NoUnit {
        /// The text as given.
        text: String,
        /// The same with a likely unit.
        example: String,
    },
    /// A unit nobody knows.
    #[error("`{unit}` is no unit of {what}; known: {known}")]
    UnknownUnit {
        /// The unit as given.
        unit: String,
        /// `a duration` or `a size`.
        what: &'static str,
        /// All units.
        known: &'static str,
    },
    /// No number where one is due.
    #[error("`{text}` is not {what}; write for example {example}")]
    NoNumber {
        /// The text as given.
        text: String,
        /// `a duration` or `a size`.
        what: &'static str,
        /// A right one.
        example: &'static str,
    },
    /// More than the type holds.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

const TIMES: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9), ("d", 86400e9)];
const SIZES: [(&str, f64); 8] = [
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

/// Reads `10s`, `1m30s`, `500ms`, `1.5h`, `14d`.
///
/// # Errors
/// When a number, a unit or the whole is missing or out of range.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let sum = sum(text, "a duration", "10s", "ns us ms s m h d", &TIMES)?;
    if sum > u64::MAX as f64 {
        return Err(UnitError::TooLarge(text.to_owned()));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked against the range above"
    )]
    Ok(Duration::from_nanos(sum.round() as u64))
}

/// Reads `64KiB`, `2GiB`, `1.5MB` as bytes.
///
/// # Errors
/// When a number, a unit or the whole is missing or out of range.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let sum = sum(text, "a size", "64MiB", "B kB MB GB KiB MiB GiB TiB", &SIZES)?;
    if sum > u64::MAX as f64 {
        return Err(UnitError::TooLarge(text.to_owned()));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked against the range above"
    )]
    Ok(sum.round() as u64)
}

fn sum(
    text: &str,
    what: &'static str,
    example: &'static str,
    known: &'static str,
    units: &[(&str, f64)],
) -> Result<f64, UnitError> {
    let mut rest = text.trim();
    let mut sum = 0.0;
    let no_number = || UnitError::NoNumber { text: text.to_owned(), what, example };
    if rest.is_empty() {
        return Err(no_number());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| no_number())?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let unit = &rest[..letters];
        rest = rest[letters..].trim_start();
        if unit.is_empty() {
            let unit = example.trim_start_matches(|c: char| c.is_ascii_digit());
            return Err(UnitError::NoUnit { text: text.to_owned(), example: format!("{number}{unit}") });
        }
        let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        sum +=
            number * factor.ok_or_else(|| UnitError::UnknownUnit { unit: unit.to_owned(), what, known })?;
    }
    Ok(sum)
}

/// A wanted time, as a user would write it: `10s`, `1m30s`, `250ms`.
#[derive(Clone, Copy, Debug)]
pub struct Wanted(pub Duration);

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        if nanos < 1_000_000_000 {
            let (unit, factor) = match nanos {
                0..1_000 => ("ns", 1),
                1_000..1_000_000 => ("us", 1_000),
                _ => ("ms", 1_000_000),
            };
            return write!(f, "{}{unit}", trim_zeros(nanos as f64 / f64::from(factor)));
        }
        let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
        let seconds = (nanos % 60_000_000_000) as f64 / 1e9;
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if seconds > 0.0 {
            write!(f, "{}s", trim_zeros(seconds))?;
        }
        Ok(())
    }
}

fn trim_zeros(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A measured time: `0.02s`, `2.87s`, `41.2s`, `12m03s`.
#[derive(Clone, Copy, Debug)]
pub struct Measured(pub Duration);

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        let text = match seconds {
            ..10.0 => format!("{seconds:.2}s"),
            ..600.0 => format!("{seconds:.1}s"),
            ..3600.0 => format!("{}m{:02}s", self.0.as_secs() / 60, self.0.as_secs() % 60),
            _ => format!("{}h{:02}m", self.0.as_secs() / 3600, self.0.as_secs() / 60 % 60),
        };
        f.pad(&text)
    }
}

/// An instant of a run: seconds since its begin with milliseconds, `2.104s`.
#[derive(Clone, Copy, Debug)]
pub struct At(pub Duration);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.3}s", self.0.as_secs_f64()))
    }
}

/// A number of bytes: `812 B`, `1.2 MiB`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut number = self.0 as f64;
        let mut unit = 0;
        while number >= 1024.0 && unit + 1 < units.len() {
            number /= 1024.0;
            unit += 1;
        }
        let text = match unit {
            0 => format!("{} B", self.0),
            _ if number >= 10.0 => format!("{number:.0} {}", units[unit]),
            _ => format!("{number:.1} {}", units[unit]),
        };
        f.pad(&text)
    }
}

/// So many of `what`, which takes an s where there is not one: `1 host`, `3 hosts`.
pub fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let read = |text| duration(text).map(|time| time.as_millis());
        for (text, millis) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("14d", 1_209_600_000),
            ("0s", 0),
        ] {
            assert_eq!(read(text), Ok(millis), "{text}");
        }
        assert_eq!(read("5").unwrap_err().to_string(), "`5` has no unit; write 5s");
        assert_eq!(
            read("5 sec").unwrap_err().to_string(),
            "`sec` is no unit of a duration; known: ns us ms s m h d"
        );
        for bad in ["", "s", "-1s", "1..2s", "99999999999999d"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(size("64KiB"), Ok(65536));
        assert_eq!(size("1.5MB"), Ok(1_500_000));
        assert_eq!(size("64").unwrap_err().to_string(), "`64` has no unit; write 64MiB");
        assert!(size("64mib").is_err());
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in ["10s", "1m30s", "500ms", "1h30m", "2.5s", "250us"] {
            assert_eq!(Wanted(duration(text).unwrap()).to_string(), text);
        }
        assert_eq!(Measured(Duration::from_millis(2874)).to_string(), "2.87s");
        assert_eq!(Measured(Duration::from_millis(41_230)).to_string(), "41.2s");
        assert_eq!(Bytes(1_258_291).to_string(), "1.2 MiB");
    }
}
