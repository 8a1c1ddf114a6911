//! The settings of `kvd`: its flags, read and checked once.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::failure::Failure;
use crate::flags::Flags;
use crate::members::{Member, Members, parse_places};
use crate::raft::{Config, Timing};
use crate::rng::random_seed;

/// What `--help` prints.
pub(super) const USAGE: &str = "\
usage: kvd --peers LIST [flags]
  --peers a=a:7000,b=b:7000    all members, this one too; without `name=` the host is the name
  --name a                     this member's name in the list; default: the host's name
  --listen 0.0.0.0:7000        where to listen
  --data /var/lib/kv           directory of this member alone
  --election-min 300ms         a follower waits at least this long for its leader …
  --election-max 600ms         … and less than this, at random
  --heartbeat 75ms             how often a leader shows itself
  --seed N                     seed of the random waits; default: a random one
  --ack-early                  BROKEN on purpose: acknowledge writes before they are replicated";

const FLAGS: [&str; 8] =
    ["name", "listen", "peers", "data", "election-min", "election-max", "heartbeat", "seed"];

/// What `kvd` was told.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) members: Members,
    pub(super) me: Member,
    pub(super) listen: String,
    pub(super) data: PathBuf,
    pub(super) timing: Timing,
    ack_early: bool,
    seed: u64,
}

impl Settings {
    /// Reads the command line; nothing when it asks for help.
    ///
    /// # Errors
    /// When a flag is wrong or they do not fit together.
    pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, Failure> {
        let flags = Flags::parse(args, &FLAGS, &["help", "ack-early"])?;
        if flags.has("help") {
            return Ok(None);
        }
        if let Some(word) = flags.words.first() {
            return Err(Failure::new(format!("`{word}` is not a flag"), "--help lists the flags"));
        }
        let Some(peers) = flags.value("peers") else {
            return Err(Failure::new("--peers is missing", "list all members: --peers a=a:7000,b=b:7000"));
        };
        let members = Members::new(parse_places(peers)?)?;
        let name = flags.value("name").map_or_else(host_name, |name| Ok(name.to_owned()))?;
        let Some(me) = members.find(&name) else {
            let what = format!("`{name}` is not among the peers {}", members.names());
            return Err(Failure::new(what, "set --name to one of them, or add it to --peers"));
        };
        Ok(Some(Self {
            members,
            me,
            listen: listen(flags.value("listen").unwrap_or(":7000")),
            data: flags.value("data").unwrap_or("/var/lib/kv").into(),
            timing: timing(&flags)?,
            ack_early: flags.has("ack-early"),
            seed: flags.value("seed").map_or_else(|| Ok(random_seed()), seed)?,
        }))
    }

    /// What the Raft member is told.
    pub(super) fn raft_config(&self) -> Config {
        Config {
            me: self.me,
            members: self.members.count(),
            timing: self.timing,
            ack_early: self.ack_early,
            seed: self.seed,
        }
    }
}

/// `:7000` means all of the host's addresses.
fn listen(text: &str) -> String {
    if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() }
}

fn timing(flags: &Flags) -> Result<Timing, Failure> {
    let timing = Timing {
        election_min: flags.time("election-min", Duration::from_millis(300))?,
        election_max: flags.time("election-max", Duration::from_millis(600))?,
        heartbeat: flags.time("heartbeat", Duration::from_millis(75))?,
    };
    if timing.election_min >= timing.election_max {
        return Err(Failure::new(
            "--election-min is not below --election-max",
            "leave room for chance between them",
        ));
    }
    if timing.heartbeat * 2 > timing.election_min {
        let what = "--heartbeat is more than half of --election-min";
        return Err(Failure::new(what, "a follower must be able to miss one heartbeat"));
    }
    Ok(timing)
}

fn seed(text: &str) -> Result<u64, Failure> {
    text.parse().map_err(|_| Failure::new(format!("--seed `{text}` is not a number"), "give one from 0 up"))
}

fn host_name() -> Result<String, Failure> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => Err(Failure::new(
            "--name is missing and the host has no name",
            "set --name to this member's name",
        )),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Settings, Failure> {
        Settings::parse(line.split(' ').map(OsString::from))
            .map(|settings| settings.expect("no help was asked for"))
    }

    #[test]
    fn defaults_are_those_of_the_usage() {
        let settings = parse("--name b --peers a:7000,b:7000,c:7000").unwrap();
        assert_eq!((settings.me, settings.members.count()), (Member(1), 3));
        assert_eq!((settings.listen.as_str(), settings.data), ("0.0.0.0:7000", PathBuf::from("/var/lib/kv")));
        let Timing { election_min, election_max, heartbeat } = settings.timing;
        assert_eq!([heartbeat, election_min, election_max].map(|time| time.as_millis()), [75, 300, 600]);
        assert!(!settings.ack_early);
        for flag in FLAGS {
            assert!(USAGE.contains(&format!("--{flag} ")), "{flag}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            ("--name a", "--peers is missing"),
            ("--name d --peers a:1,b:1", "`d` is not among the peers a,b; "),
            ("--name a --peers a:1 start", "`start` is not a flag"),
            ("--name a --peers a:1 --heartbeat 200ms", "--heartbeat is more than half"),
            ("--name a --peers a:1 --election-max 300ms", "is not below --election-max"),
            ("--name a --peers a:1 --seed x", "--seed `x`"),
        ] {
            let failure = parse(line).unwrap_err().to_string();
            assert!(failure.contains(part), "{failure}");
        }
    }
}
