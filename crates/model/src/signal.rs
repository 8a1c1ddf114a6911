//! Signals by name, with the numbers of Linux on x86-64 and arm64.

const NAMES: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// SIGKILL.
pub const KILL: i32 = 9;
/// SIGTERM.
pub const TERM: i32 = 15;

/// The name of `signal` without `SIG`, or its number as text when it has none.
pub fn name(signal: i32) -> String {
    NAMES
        .iter()
        .find(|(_, number)| *number == signal)
        .map_or_else(|| signal.to_string(), |(name, _)| (*name).to_owned())
}

/// The signal that `text` names: `KILL`, `SIGKILL`, `kill` or `9`.
pub fn parse(text: &str) -> Option<i32> {
    let upper = text.to_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let by_name = NAMES.iter().find(|(name, _)| *name == short).map(|(_, number)| *number);
    by_name.or_else(|| short.parse().ok().filter(|number| (1..=64).contains(number)))
}

/// All names, for messages that list them.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_and_numbers_agree() {
        for text in ["KILL", "SIGKILL", "sigkill", "9"] {
            assert_eq!(super::parse(text), Some(9), "{text}");
        }
        assert_eq!(super::name(15), "TERM");
        assert_eq!(super::name(40), "40");
        assert_eq!(super::parse("99"), None);
    }
}
