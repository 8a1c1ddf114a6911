//! What a member is told when it starts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use reqwest::Url;
use thiserror::Error;

/// What one member needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name, one of `peers`.
    pub name: String,
    /// Where it listens: `0.0.0.0:7000`.
    pub listen: String,
    /// All members and where they are reached, this one too. The same at each of them, and for ever.
    pub peers: BTreeMap<String, Url>,
    /// Its own folder, made when it is missing. A member whose folder is lost must not come back under its name.
    pub data_dir: PathBuf,
    /// What it does wrong on purpose.
    pub flaw: Option<Flaw>,
}

/// A mistake for tests to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Says that entries are safe before they are on the disk, where they come a moment later. Only a loss of power in
    /// this moment, of all members that have them, loses an acknowledged write.
    UnsafeAck,
}

/// A text that is no list of members.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{part}` is no member: write a=http://a:7000, members separated by commas")]
pub struct Malformed {
    part: String,
}

/// Reads `a=http://a:7000,b=http://b:7000`; `a:7000` is short for `a=http://a:7000`.
///
/// # Errors
/// When a part is no member, or two have one name.
pub fn parse_peers(text: &str) -> Result<BTreeMap<String, Url>, Malformed> {
    let mut peers = BTreeMap::new();
    for part in text.split(',') {
        let malformed = || Malformed { part: part.to_owned() };
        let (name, address) = part.split_once('=').map_or((None, part), |(name, url)| (Some(name), url));
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let url = Url::parse(&url).ok().filter(|url| url.scheme() == "http").ok_or_else(malformed)?;
        let name = name.or_else(|| url.host_str()).filter(|name| !name.is_empty()).ok_or_else(malformed)?;
        if peers.insert(name.to_owned(), url.clone()).is_some() {
            return Err(malformed());
        }
    }
    Ok(peers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_a_name_and_a_place() {
        let peers = parse_peers("a:7000,b=http://10.0.0.2:7001").unwrap();
        let places: Vec<_> = peers.iter().map(|(name, url)| format!("{name} {url}")).collect();
        assert_eq!(places, ["a http://a:7000/", "b http://10.0.0.2:7001/"]);
        for wrong in ["", "a:7000,", "=a:7000", "a=ftp://a", "a:7000,a:7001"] {
            assert!(parse_peers(wrong).is_err(), "{wrong}");
        }
    }
}
