//! Reading the tree: inodes that the session owns, with read-only layers mounted into it.
//!
//! [`change`](super::change) has the operations that change it, [`content`](super::content) those
//! on the bytes of a file, [`path`](super::path) finds nodes by their paths.

use std::sync::Arc;

use cellblock_exec::Limit;
use serde::{Deserialize, Serialize};

use super::{
    abi::{Errno, FileType, Stat},
    descriptors::Descriptors,
    inode::{Inode, InodeKind, Node},
    layer::{Layer, LayerNode},
};

/// A guest's file system.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Fs {
    /// The inodes by their numbers; `None` for a number that is free.
    pub inodes: Vec<Option<Inode>>,
    /// The free numbers.
    pub free: Vec<u32>,
    pub mounts: Vec<Mount>,
    pub descriptors: Descriptors,
    /// The bytes and files that the session may have.
    pub quota: Quota,
    /// The bytes and files that count against the quota.
    pub used: Quota,
    /// The number of changes so far. An inode has the number of its last change.
    pub changes: u64,
    /// The quota that was last exceeded, until the caller takes it.
    pub hit: Option<Limit>,
}

/// A number of bytes and a number of files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    pub bytes: u64,
    pub files: u64,
}

impl Quota {
    /// No limit, for cellblock's own writes while it makes an image.
    pub const UNLIMITED: Self = Self { bytes: u64::MAX, files: u64::MAX };
}

/// A mounted layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// The layer's name on disk, by which a resumed session finds it again.
    pub key: String,
    /// `None` only after a frozen file system has been read, until its layers are attached.
    #[serde(skip)]
    pub layer: Option<Arc<Layer>>,
    pub parent: Node,
}

impl Fs {
    /// Creates an empty file system with an unlimited quota.
    pub fn new() -> Self {
        let mut fs = Self { quota: Quota::UNLIMITED, ..Self::default() };
        fs.inodes.push(Some(Inode::new(InodeKind::directory(Node::ROOT), 0)));
        fs
    }

    /// Sets the quota. What is used so far does not count against it.
    pub fn set_quota(&mut self, quota: Quota) {
        self.quota = quota;
        self.used = Quota::default();
        self.hit = None;
    }

    pub fn inode(&self, node: Node) -> Option<&Inode> {
        match node {
            Node::Own(index) => self.inodes.get(index as usize)?.as_ref(),
            Node::Layer(..) => None,
        }
    }

    pub fn layer_node(&self, layer: u16, index: u32) -> Option<(&Layer, &LayerNode)> {
        let layer = self.mounts.get(layer as usize)?.layer.as_deref()?;
        Some((layer, layer.node(index)?))
    }

    pub fn is_directory(&self, node: Node) -> bool {
        match node {
            Node::Own(_) => {
                matches!(self.inode(node), Some(Inode { kind: InodeKind::Directory { .. }, .. }))
            }
            Node::Layer(layer, index) => {
                self.layer_node(layer, index).is_some_and(|(_, node)| !node.is_file())
            }
        }
    }

    /// True if paths only pass through the node: see [`LayerNode::hidden`].
    pub fn is_hidden(&self, node: Node) -> bool {
        match node {
            Node::Own(_) => false,
            Node::Layer(layer, index) => {
                self.layer_node(layer, index).is_none_or(|(_, node)| node.hidden)
            }
        }
    }

    pub fn parent(&self, node: Node) -> Result<Node, Errno> {
        match node {
            Node::Own(_) => match self.inode(node).ok_or(Errno::Noent)? {
                // The parent of a removed directory can be removed, too, and its number can be the
                // number of another inode.
                Inode { kind: InodeKind::Directory { .. }, linked: false, .. } => Err(Errno::Noent),
                Inode { kind: InodeKind::Directory { parent, .. }, .. } => Ok(*parent),
                _ => Err(Errno::Notdir),
            },
            Node::Layer(layer, 0) => {
                self.mounts.get(layer as usize).map(|mount| mount.parent).ok_or(Errno::Noent)
            }
            Node::Layer(layer, index) => {
                let (_, node) = self.layer_node(layer, index).ok_or(Errno::Noent)?;
                Ok(Node::Layer(layer, node.parent))
            }
        }
    }

    pub fn child(&self, directory: Node, name: &str) -> Result<Node, Errno> {
        match directory {
            Node::Own(_) => match &self.inode(directory).ok_or(Errno::Noent)?.kind {
                InodeKind::Directory { entries, .. } => entries.get(name).ok_or(Errno::Noent),
                _ => Err(Errno::Notdir),
            },
            Node::Layer(layer, index) => {
                let (_, node) = self.layer_node(layer, index).ok_or(Errno::Noent)?;
                // A file of a layer can have children: see `LayerNode`.
                let missing = if node.is_file() && node.children.is_empty() {
                    Errno::Notdir
                } else {
                    Errno::Noent
                };
                node.children.get(name).map(|child| Node::Layer(layer, *child)).ok_or(missing)
            }
        }
    }

    pub fn stat(&self, node: Node) -> Result<Stat, Errno> {
        match node {
            Node::Own(index) => {
                let inode = self.inode(node).ok_or(Errno::Noent)?;
                let (kind, size) = match &inode.kind {
                    InodeKind::Directory { .. } => (FileType::Directory, 0),
                    InodeKind::File { content } => (FileType::RegularFile, content.0.len() as u64),
                    InodeKind::Link { target } => (FileType::SymbolicLink, target.len() as u64),
                    InodeKind::Device(_) => (FileType::CharacterDevice, 0),
                };
                let Inode { accessed, modified, .. } = *inode;
                Ok(Stat { inode: u64::from(index) + 1, kind, size, accessed, modified })
            }
            Node::Layer(layer, index) => {
                let (layer_ref, node) = self.layer_node(layer, index).ok_or(Errno::Noent)?;
                let kind = if node.is_file() { FileType::RegularFile } else { FileType::Directory };
                let size = layer_ref.content(index).map_or(0, <[u8]>::len) as u64;
                let inode = (u64::from(layer) + 1) << 32 | u64::from(index);
                Ok(Stat { inode, kind, size, accessed: 0, modified: 0 })
            }
        }
    }

    /// Passes the entries of a directory after `cookie` to `take`, each with the cookie to continue
    /// from, until `take` returns false. As in POSIX, a directory that was removed while it was
    /// open has no entries.
    pub fn list(
        &self,
        directory: Node,
        cookie: u64,
        mut take: impl FnMut(u64, &str, Node) -> bool,
    ) -> Result<(), Errno> {
        const DOTS: u64 = 2;
        if !self.is_directory(directory) {
            return Err(Errno::Notdir);
        }
        if self.inode(directory).is_some_and(|inode| !inode.linked) {
            return Ok(());
        }
        if cookie == 0 && !take(1, ".", directory) {
            return Ok(());
        }
        if cookie <= 1 && !take(2, "..", self.parent(directory)?) {
            return Ok(());
        }
        let from = cookie.saturating_sub(DOTS);
        match directory {
            Node::Own(_) => {
                let InodeKind::Directory { entries, .. } =
                    &self.inode(directory).ok_or(Errno::Noent)?.kind
                else {
                    return Err(Errno::Notdir);
                };
                for (order, name) in entries.by_order.range(from..) {
                    let node = entries.get(name).ok_or(Errno::Noent)?;
                    if !take(order + 1 + DOTS, name, node) {
                        break;
                    }
                }
            }
            Node::Layer(layer, index) => {
                let (_, node) = self.layer_node(layer, index).ok_or(Errno::Noent)?;
                for (next, (name, child)) in (1..).zip(&node.children).skip(from as usize) {
                    if !take(next + DOTS, name, Node::Layer(layer, *child)) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns an inode to change it.
    pub fn inode_mut(&mut self, node: Node) -> Result<&mut Inode, Errno> {
        match node {
            Node::Own(index) => {
                self.inodes.get_mut(index as usize).and_then(Option::as_mut).ok_or(Errno::Noent)
            }
            Node::Layer(..) => Err(Errno::Rofs),
        }
    }

    /// Counts a change of `from` bytes to `to` against the quota.
    pub fn charge(&mut self, from: u64, to: u64) -> Result<(), Errno> {
        if to <= from {
            self.used.bytes = self.used.bytes.saturating_sub(from - to);
            return Ok(());
        }
        match self.used.bytes.checked_add(to - from) {
            Some(used) if used <= self.quota.bytes => self.used.bytes = used,
            _ => {
                self.hit = Some(Limit::Disk);
                return Err(Errno::Nospc);
            }
        }
        Ok(())
    }
}
