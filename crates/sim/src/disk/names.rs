//! Operations on names: how they change directories, in which order they become durable, and what power loss leaves of
//! them. Which operations there are, and when they are allowed, stands in `entries.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::Disk;
use super::node::{Inode, Name, Names, Node, entry_bytes};
use crate::Random;

/// Operations on names that may wait to become durable. When there are more, the older half is committed, as ext4 does
/// when its journal is full. At 300 bytes each, 2.5 MiB a host.
pub(super) const PENDING_MAX: usize = 8192;

/// A name's new meaning.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) directory: Inode,
    pub(super) name: Name,
    pub(super) to: Option<Inode>,
}

/// What becomes durable as a whole or not at all.
#[derive(Debug)]
struct Operation {
    edits: Vec<Edit>,
    /// The directories that it changes, and what the names mean and meant.
    nodes: Vec<Inode>,
    /// Earlier operations on these, which become durable no later.
    after: Vec<u64>,
    /// Whether all earlier ones become durable no later: a directory got another parent. Without that, two such moves that
    /// are durable without the one between them could make a circle.
    after_all: bool,
    at: u64,
}

/// Operations that power loss may undo, in order.
#[derive(Debug, Default)]
pub(super) struct Pending {
    operations: BTreeMap<u64, Operation>,
    next: u64,
}

#[cfg(test)]
impl Pending {
    /// How many operations mean each node.
    pub(super) fn pins(&self) -> BTreeMap<Inode, u32> {
        let mut pins = BTreeMap::new();
        for inode in self.operations.values().flat_map(|operation| &operation.nodes) {
            *pins.entry(*inode).or_default() += 1;
        }
        pins
    }
}

impl Disk {
    /// Changes names, all or none at a crash. Gives the operation's number.
    pub(super) fn edit(&mut self, now: u64, edits: Vec<Edit>, after_all: bool) -> u64 {
        let number = self.pending.next;
        self.pending.next += 1;
        let mut nodes = Vec::with_capacity(4);
        for edit in &edits {
            let before = self.apply(now, edit);
            for node in [Some(edit.directory), edit.to, before].into_iter().flatten() {
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
        }
        let mut after = Vec::with_capacity(nodes.len());
        for inode in &nodes {
            let node = self.node_mut(*inode);
            node.pins += 1;
            after.extend(node.last.replace(number));
        }
        let operation = Operation { edits, nodes: nodes.clone(), after, after_all, at: now };
        self.pending.operations.insert(number, operation);
        for inode in nodes {
            self.settle(inode);
        }
        self.commit_when_full();
        number
    }

    /// Gives a name its new meaning for those who look now. What it meant before.
    fn apply(&mut self, now: u64, edit: &Edit) -> Option<Inode> {
        let before = self.set_name(now, edit);
        if let Some(before) = before {
            let node = self.node_mut(before);
            node.links -= 1;
            node.attributes.ctime = now;
            self.count_directory(edit.directory, before, false);
        }
        if let Some(to) = edit.to {
            let node = self.node_mut(to);
            node.links += 1;
            node.attributes.ctime = now;
            if let Some(directory) = node.directory_mut() {
                directory.parent = edit.directory;
            }
            self.count_directory(edit.directory, to, true);
        }
        before
    }

    fn set_name(&mut self, now: u64, edit: &Edit) -> Option<Inode> {
        let node = self.node_mut(edit.directory);
        (node.attributes.mtime, node.attributes.ctime) = (now, now);
        let directory = node.directory_mut()?;
        let pages = directory.pages(0);
        let before = match edit.to {
            Some(to) => directory.names.insert(edit.name.clone(), to),
            None => directory.names.remove(&edit.name),
        };
        match (before, edit.to) {
            (None, Some(_)) => directory.bytes += entry_bytes(&edit.name),
            (Some(_), None) => directory.bytes -= entry_bytes(&edit.name),
            _ => {}
        }
        let more = directory.pages(0);
        self.used = self.used + more - pages;
        before
    }

    fn count_directory(&mut self, above: Inode, below: Inode, more: bool) {
        if !self.node(below).is_directory() {
            return;
        }
        if let Some(directory) = self.node_mut(above).directory_mut() {
            directory.directories = if more { directory.directories + 1 } else { directory.directories - 1 };
        }
    }

    fn commit_when_full(&mut self) {
        if self.pending.operations.len() > PENDING_MAX {
            for _ in 0..PENDING_MAX / 2 {
                let Some((_, operation)) = self.pending.operations.pop_first() else { return };
                self.commit(operation);
            }
        }
    }

    /// Makes an operation durable, and before it those that it comes after.
    pub(super) fn commit_until(&mut self, number: Option<u64>) {
        let Some(number) = number else { return };
        let mut found = BTreeSet::new();
        let mut open = vec![number];
        while let Some(number) = open.pop() {
            let Some(operation) = self.pending.operations.get(&number) else { continue };
            if !found.insert(number) {
                continue;
            }
            if operation.after_all {
                open.extend(self.pending.operations.range(..number).map(|(number, _)| *number));
            } else {
                open.extend(&operation.after);
            }
        }
        for number in found {
            if let Some(operation) = self.pending.operations.remove(&number) {
                self.commit(operation);
            }
        }
    }

    /// Makes all operations durable.
    pub(super) fn commit_all(&mut self) {
        while let Some((_, operation)) = self.pending.operations.pop_first() {
            self.commit(operation);
        }
    }

    fn commit(&mut self, operation: Operation) {
        for edit in &operation.edits {
            let node = self.node_mut(edit.directory);
            (node.durable.attributes.mtime, node.durable.attributes.ctime) = (operation.at, operation.at);
            let Some(directory) = node.directory_mut() else { continue };
            let before = match edit.to {
                Some(to) => directory.durable.insert(edit.name.clone(), to),
                None => directory.durable.remove(&edit.name),
            };
            if let Some(to) = edit.to {
                self.node_mut(to).pins += 1;
            }
            if let Some(before) = before {
                self.node_mut(before).pins -= 1;
            }
        }
        for inode in operation.nodes {
            self.node_mut(inode).pins -= 1;
            self.settle(inode);
        }
    }

    /// Power loss: of the operations on each directory some first ones become durable, as far as those they come after do.
    pub(super) fn commit_some(&mut self, random: &mut Random) {
        let mut counts: BTreeMap<Inode, u64> = BTreeMap::new();
        for edit in self.pending.operations.values().flat_map(|operation| &operation.edits) {
            *counts.entry(edit.directory).or_default() += 1;
        }
        let mut left: BTreeMap<_, _> =
            counts.into_iter().map(|(directory, count)| (directory, random.below(count + 1))).collect();
        let mut lost = BTreeSet::new();
        for (number, operation) in std::mem::take(&mut self.pending.operations) {
            let mut kept = !operation.after.iter().any(|before| lost.contains(before));
            kept &= !operation.after_all || lost.is_empty();
            for edit in &operation.edits {
                let left = left.entry(edit.directory).or_default();
                kept &= *left > 0;
                *left = left.saturating_sub(1);
            }
            if kept {
                self.commit(operation);
            } else {
                lost.insert(number);
                self.unpin(&operation);
            }
        }
    }

    /// Power loss: none of the operations was.
    pub(super) fn commit_none(&mut self) {
        for operation in std::mem::take(&mut self.pending.operations).into_values() {
            self.unpin(&operation);
        }
    }

    fn unpin(&mut self, operation: &Operation) {
        for inode in &operation.nodes {
            self.node_mut(*inode).pins -= 1;
        }
    }

    /// Shows what is durable as what is: the names after power loss. Whatever has none is gone.
    pub(super) fn restore(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            (node.links, node.opens, node.linkable, node.last, node.birth) = (0, 0, false, None, None);
            if let Some(directory) = node.directory_mut() {
                directory.names = directory.durable.clone();
                directory.directories = 0;
                directory.recount();
            }
        }
        self.node_mut(Inode::ROOT).links = 1;
        let mut open = vec![Inode::ROOT];
        while let Some(above) = open.pop() {
            let names: Vec<_> = self.node(above).directory().map_or_else(|_| Vec::new(), values);
            for below in names {
                let node = self.node_mut(below);
                node.links += 1;
                if let Some(directory) = node.directory_mut() {
                    directory.parent = above;
                    self.count_directory(above, below, true);
                    open.push(below);
                }
            }
        }
        self.sweep();
    }

    /// Frees what has no name, and counts the space that the others take.
    fn sweep(&mut self) {
        (self.used, self.live) = (0, 0);
        self.free.clear();
        for (slot, number) in self.nodes.iter_mut().zip(0u32..) {
            if slot.as_ref().is_none_or(|node| node.links == 0) {
                *slot = None;
                self.free.push(Inode(number));
            }
            if let Some(node) = slot {
                node.gone = false;
                self.used += node.pages();
                self.live += 1;
            }
        }
        self.free.reverse();
    }

    /// Gives back what a node takes once it has no name and nobody has it open.
    pub(super) fn settle(&mut self, inode: Inode) {
        let node = self.node_mut(inode);
        if node.links > 0 || node.opens > 0 {
            return;
        }
        if !node.gone {
            let pages = node.pages();
            node.empty();
            self.used -= pages;
            self.live -= 1;
        }
        self.locks.forget(inode);
        if self.node(inode).pins == 0 {
            self.nodes[inode.0 as usize] = None;
            self.free.push(inode);
        }
    }
}

fn values(directory: &super::node::Directory) -> Vec<Inode> {
    let names: &Names = &directory.names;
    names.values().copied().collect()
}

impl Node {
    /// Drops what nobody can read any longer; what of it was not written back never is.
    fn empty(&mut self) {
        self.gone = true;
        self.changes.forget();
        if let super::node::Body::File(contents) = &mut self.body {
            *contents = super::pages::Contents::default();
        }
    }
}
