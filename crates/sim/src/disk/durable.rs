//! What fsync(2) and its like make durable, and what power loss leaves.

use super::Disk;
use super::changes::Durable;
use super::node::{Body, Inode, Node};
use super::pages::Contents;
use crate::Random;

/// How much of what was not synced power loss takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// All of it.
    Strict,
    /// By chance: of the operations on each file and on the names of each directory some first ones have reached the disk,
    /// and with [`Faults::torn`](super::Faults::torn) some sectors of later writes.
    Chance,
}

impl Disk {
    /// Makes a file durable, as fsync(2): contents, attributes and, if it was made since, its first name. Of a directory: what
    /// happened to the names in it.
    pub fn sync(&mut self, inode: Inode) {
        if self.faults.lost_sync {
            return;
        }
        self.node_mut(inode).sync();
        self.sync_names(inode);
    }

    /// As [`sync`](Self::sync) without the attributes but for the size, as fdatasync(2).
    pub fn sync_data(&mut self, inode: Inode) {
        if self.faults.lost_sync {
            return;
        }
        let node = self.node_mut(inode);
        let before = node.durable.attributes;
        node.sync();
        node.durable.attributes = before;
        node.durable.attributes.size = node.attributes.size;
        if node.durable.attributes != node.attributes {
            node.changes.end(node.attributes);
        }
        self.sync_names(inode);
    }

    /// Makes everything durable, as sync(2) and syncfs(2).
    pub fn sync_all(&mut self) {
        if self.faults.lost_sync {
            return;
        }
        self.commit_all();
        for node in self.nodes.iter_mut().flatten().filter(|node| !node.gone) {
            node.sync();
        }
    }

    fn sync_names(&mut self, inode: Inode) {
        let node = self.node(inode);
        let operation = if node.is_directory() { node.last } else { node.birth };
        self.commit_until(operation);
    }

    /// What a failed sync leaves: what waited to be written counts as written and is not, until it is written again, as
    /// Linux marks pages clean whose writing failed.
    pub(super) fn lose_changes(&mut self, inode: Inode) {
        self.node_mut(inode).changes.forget();
    }

    /// Power loss. Whatever was open is closed (inodes from before are not to be used, nor closed), and locks are released;
    /// the tree is then what was durable, and `crash` says what else.
    pub fn crash(&mut self, crash: Crash, random: &mut Random) {
        match crash {
            Crash::Strict => self.commit_none(),
            Crash::Chance => self.commit_some(random),
        }
        let torn = self.faults.torn;
        for node in self.nodes.iter_mut().flatten() {
            match crash {
                Crash::Strict => node.changes.forget(),
                Crash::Chance => node.changes.crash(torn, random, &mut node.durable),
            }
            node.attributes = node.durable.attributes;
            if let Body::File(contents) = &mut node.body {
                *contents = node.durable.contents.clone();
            }
        }
        self.locks.clear();
        self.restore();
    }
}

impl Node {
    fn sync(&mut self) {
        let nothing = Contents::default();
        let contents = match &self.body {
            Body::File(contents) => contents,
            _ => &nothing,
        };
        let durable: &mut Durable = &mut self.durable;
        self.changes.sync(contents, self.attributes, durable);
    }
}
