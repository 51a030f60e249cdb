//! The session's own files, directories, links and devices.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::clock::realtime;

/// The name of a file or directory in the tree: one of the session's own or one of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Node {
    /// An inode by its number.
    Own(u32),
    /// The number of a mount, and a node of the layer that is mounted there.
    Layer(u16, u32),
}

impl Node {
    pub const ROOT: Node = Node::Own(0);
}

/// A file, directory, link or device of the session's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Inode {
    pub kind: InodeKind,
    /// True if a directory entry leads here.
    pub linked: bool,
    /// The number of descriptors that are open on it.
    pub opens: u32,
    pub accessed: u64,
    pub modified: u64,
    /// The value of [`Fs::changes`](super::Fs::changes) at the last change.
    pub changed: u64,
}

impl Inode {
    pub fn new(kind: InodeKind, changed: u64) -> Self {
        let now = realtime();
        Self { kind, linked: true, opens: 0, accessed: now, modified: now, changed }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum InodeKind {
    Directory {
        entries: Entries,
        parent: Node,
        /// Part of the image's layout: the guest cannot change its entries.
        sealed: bool,
    },
    File {
        content: FileContent,
    },
    Link {
        target: Box<str>,
    },
    Device(Device),
}

impl InodeKind {
    pub fn directory(parent: Node) -> Self {
        InodeKind::Directory { entries: Entries::default(), parent, sealed: false }
    }

    /// Returns the bytes that count against the quota.
    pub fn len(&self) -> u64 {
        match self {
            InodeKind::File { content } => content.0.len() as u64,
            InodeKind::Link { target } => target.len() as u64,
            InodeKind::Directory { .. } | InodeKind::Device(_) => 0,
        }
    }
}

/// The bytes of a file. Artifacts and forks share them until one side writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileContent(pub Arc<Vec<u8>>);

impl Serialize for FileContent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for FileContent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes).map(|bytes| Self(Arc::new(bytes)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Device {
    Null,
    Zero,
    Random,
    /// Connects the driver in the guest with the host.
    Control,
}

/// The entries of a directory, by name and in the order of their creation. A listing that is read
/// in pieces follows the order, so it neither skips nor repeats an entry when others are removed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Entries {
    pub by_name: BTreeMap<Box<str>, (Node, u64)>,
    pub by_order: BTreeMap<u64, Box<str>>,
    next: u64,
}

impl Entries {
    pub fn iter(&self) -> impl Iterator<Item = (&str, Node)> {
        self.by_name.iter().map(|(name, (node, _))| (&**name, *node))
    }

    pub fn get(&self, name: &str) -> Option<Node> {
        self.by_name.get(name).map(|(node, _)| *node)
    }

    pub fn insert(&mut self, name: &str, node: Node) {
        let order = self.next;
        self.next += 1;
        if let Some((_, old)) = self.by_name.insert(name.into(), (node, order)) {
            self.by_order.remove(&old);
        }
        self.by_order.insert(order, name.into());
    }

    pub fn remove(&mut self, name: &str) -> Option<Node> {
        let (node, order) = self.by_name.remove(name)?;
        self.by_order.remove(&order);
        Some(node)
    }
}
