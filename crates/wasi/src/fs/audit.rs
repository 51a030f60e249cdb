//! Invariants of a file system.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    inode::{Inode, InodeKind, Node},
    tree::{Fs, Quota},
};

impl Fs {
    /// Panics if an invariant is broken. The quota has to count from the beginning of the file
    /// system.
    pub fn audit(&self) {
        let mut opens = BTreeMap::<Node, u32>::new();
        self.descriptors.nodes().for_each(|node| *opens.entry(node).or_default() += 1);
        let reachable = self.reachable();
        let mut counted = Quota::default();
        for (index, inode) in self.inodes.iter().enumerate() {
            let node = Node::Own(index as u32);
            let Some(inode) = inode else {
                assert!(
                    self.free.contains(&(index as u32)),
                    "a number that is never free again: {index}"
                );
                assert!(
                    !reachable.contains(&node) && !opens.contains_key(&node),
                    "{index} is free but in use"
                );
                continue;
            };
            if node == Node::ROOT {
                continue;
            }
            counted.files += 1;
            counted.bytes += inode.kind.len();
            assert_eq!(inode.linked, reachable.contains(&node), "{index}: {inode:?}");
            assert_eq!(
                inode.opens,
                opens.get(&node).copied().unwrap_or_default(),
                "{index}: {inode:?}"
            );
            assert!(inode.linked || inode.opens > 0, "a leak: {index}: {inode:?}");
        }
        let free: BTreeSet<u32> = self.free.iter().copied().collect();
        assert_eq!(free.len(), self.free.len(), "a number is free twice");
        assert!(
            free.iter().all(|index| self.inodes[*index as usize].is_none()),
            "a number in use is free"
        );
        assert_eq!(self.used, counted);
        assert!(
            self.used.bytes <= self.quota.bytes && self.used.files <= self.quota.files,
            "{:?}",
            self.used
        );
    }

    /// Returns the nodes that a path leads to. Each has one name, and each directory knows its
    /// parent.
    fn reachable(&self) -> BTreeSet<Node> {
        let mut reachable = BTreeSet::new();
        let mut todo = vec![Node::ROOT];
        while let Some(directory) = todo.pop() {
            assert!(reachable.insert(directory), "two names for {directory:?}");
            let Some(Inode { kind: InodeKind::Directory { entries, .. }, .. }) =
                self.inode(directory)
            else {
                continue;
            };
            assert_eq!(entries.by_name.len(), entries.by_order.len());
            for (name, (node, order)) in &entries.by_name {
                assert_eq!(entries.by_order.get(order), Some(name));
                if self.is_directory(*node) {
                    assert_eq!(self.parent(*node), Ok(directory));
                }
                todo.push(*node);
            }
        }
        reachable
    }
}
