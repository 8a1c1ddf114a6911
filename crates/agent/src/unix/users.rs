//! Users of this host, read from its own /etc/passwd and /etc/group: a foreign root may have another libc than ours.

use std::fs;
use std::path::Path;

/// A user of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// All of them, its own first.
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

impl User {
    /// Whether it is in more groups than its own.
    pub(super) fn has_groups(&self) -> bool {
        self.groups.len() > 1
    }
}

/// The user called `name`, or with that number.
pub(super) fn find(name: &str) -> Option<User> {
    let passwd = read(Path::new("/etc/passwd"));
    let group = read(Path::new("/etc/group"));
    parse(name, &passwd, &group)
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn parse(name: &str, passwd: &str, group: &str) -> Option<User> {
    let user =
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| match fields[..] {
            [login, _, uid, gid, _, home, ..] if login == name || uid == name => {
                Some((login.to_owned(), uid.parse().ok()?, gid.parse().ok()?, home.to_owned()))
            }
            _ => None,
        });
    let (name, uid, gid, home) = match user {
        Some(user) => user,
        // A number needs no entry.
        None => (name.to_owned(), name.parse().ok()?, name.parse().ok()?, "/".to_owned()),
    };
    let mut groups: Vec<u32> = group
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let (id, members) = (fields.nth(2)?, fields.next()?);
            members.split(',').any(|member| member == name).then(|| id.parse().ok())?
        })
        .collect();
    groups.insert(0, gid);
    Some(User { name, uid, gid, groups, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\netcd:x:101:102::/var/lib/etcd:/bin/false\nbroken\n";
    const GROUP: &str = "root:x:0:\nssl:x:50:etcd,www\netcd:x:102:\n";

    #[test]
    fn users_are_found_by_name_and_number() {
        let etcd = parse("etcd", PASSWD, GROUP).unwrap();
        assert_eq!((etcd.uid, etcd.gid, etcd.home.as_str()), (101, 102, "/var/lib/etcd"));
        assert_eq!(etcd.groups, [102, 50]);
        assert_eq!(parse("101", PASSWD, GROUP), Some(etcd));
        assert_eq!(parse("65534", PASSWD, GROUP).map(|user| user.uid), Some(65534));
        assert_eq!(parse("nobody", PASSWD, GROUP), None);
    }
}
