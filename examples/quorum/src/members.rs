//! Who takes part and where: the parser of `--peers` and `--servers`, and the members' names and addresses.

use std::fmt;
use std::net::IpAddr;

use crate::failure::Failure;

/// Members of one service. A leader sends every write to each of them; more than seven is a mistake in the
/// list.
pub(crate) const MEMBERS_MAX: usize = 15;
/// Bytes of a name: a DNS label.
pub(crate) const NAME_BYTES_MAX: usize = 63;
/// Bytes of a host: a DNS name.
const HOST_BYTES_MAX: usize = 253;

/// One member, as its place in the sorted list of names, which is the same on all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member(pub(crate) u8);

impl Member {
    /// All members of a service of `count`.
    pub(crate) fn all(count: u8) -> impl Iterator<Item = Self> {
        (0..count).map(Self)
    }
}

/// A host and a port. The host is looked up anew at each connection, since a restarted host may have moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// When there is no host, it is too long, or the port is not a number from 1 to 65535.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let bad = |why: &str| Failure::new(format!("`{text}` is not an address: {why}"), "write host:port");
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("it has no port"))?;
        let port = port.parse().map_err(|_| bad("its port is not a number up to 65535"))?;
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if inner.is_empty() || inner.len() > HOST_BYTES_MAX {
            return Err(bad("its host is empty or too long"));
        }
        if port == 0 {
            return Err(bad("port 0 cannot be connected to"));
        }
        Ok(Self { host: inner.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A name and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) address: Address,
}

/// Reads `a=a:7000,b=b:7000`. Without `name=` the name is the host, or the whole address when the host is a
/// number.
///
/// # Errors
/// When an address or name is malformed, there are none, or too many.
pub(crate) fn parse_places(text: &str) -> Result<Vec<Place>, Failure> {
    let places: Vec<Place> =
        text.split(',').map(|part| parse_place(part.trim())).collect::<Result<_, _>>()?;
    if places.len() > MEMBERS_MAX {
        let what = format!("{} members are over the limit of {MEMBERS_MAX}", places.len());
        return Err(Failure::new(what, "shorten the list"));
    }
    Ok(places)
}

fn parse_place(text: &str) -> Result<Place, Failure> {
    let Some((name, address)) = text.split_once('=') else {
        let address = Address::parse(text)?;
        let is_number = address.host.parse::<IpAddr>().is_ok();
        let name = if is_number { address.to_string() } else { address.host.clone() };
        return Ok(Place { name, address });
    };
    if name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || name.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        let what = format!("`{name}` in `{text}` is not a name");
        return Err(Failure::new(what, format!("use 1 to {NAME_BYTES_MAX} visible characters")));
    }
    Ok(Place { name: name.to_owned(), address: Address::parse(address)? })
}

/// All members, sorted by name.
#[derive(Clone, Debug)]
pub(crate) struct Members {
    places: Vec<Place>,
}

impl Members {
    /// The members at `places`.
    ///
    /// # Errors
    /// When two have one name, or a name is too long to be sent.
    pub(crate) fn new(mut places: Vec<Place>) -> Result<Self, Failure> {
        places.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = places.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let what = format!("`{}` is in --peers twice", pair[0].name);
            return Err(Failure::new(what, "give each member its own name: --peers a=host:port,b=host:port"));
        }
        if let Some(place) = places.iter().find(|place| place.name.len() > NAME_BYTES_MAX) {
            return Err(Failure::new(
                format!("the name `{}` is too long", place.name),
                "write name=host:port",
            ));
        }
        Ok(Self { places })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u8 {
        u8::try_from(self.places.len()).unwrap_or(u8::MAX)
    }

    /// The member called `name`.
    pub(crate) fn find(&self, name: &str) -> Option<Member> {
        Member::all(self.count()).find(|&member| self.place(member).name == name)
    }

    /// The name and address of `member`.
    ///
    /// # Panics
    /// When `member` is of another service.
    pub(crate) fn place(&self, member: Member) -> &Place {
        &self.places[usize::from(member.0)]
    }

    /// The name of `member`.
    pub(crate) fn name(&self, member: Member) -> &str {
        &self.place(member).name
    }

    /// All names, as `a,b,c`.
    pub(crate) fn names(&self) -> String {
        self.places.iter().map(|place| place.name.as_str()).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let shown = parse_places(text).and_then(Members::new).map(|members| {
            let show = |place: &Place| format!("{}@{}", place.name, place.address);
            members.places.iter().map(show).collect::<Vec<_>>().join(" ")
        });
        match (shown, expected) {
            (Ok(shown), Ok(expected)) => assert_eq!(shown, expected),
            (Err(failure), Err(part)) => assert!(failure.to_string().contains(part), "{failure}"),
            (other, expected) => panic!("{other:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn lists_of_members() {
        check("c=h3:7,a=h1:7,b=h2:8", Ok("a@h1:7 b@h2:8 c@h3:7"));
        check("b:7000, a:7000", Ok("a@a:7000 b@b:7000"));
        check("127.0.0.1:7,a=[::1]:8", Ok("127.0.0.1:7@127.0.0.1:7 a@[::1]:8"));
        check("a=x:1,a=y:1", Err("`a` is in --peers twice"));
        check("a", Err("it has no port"));
        check("a:70000", Err("its port is not"));
        check("a:0", Err("port 0"));
        check("", Err("it has no port"));
        check("=a:1", Err("is not a name"));
        check(&vec!["a:1"; 16].join(","), Err("over the limit"));
    }
}
