//! The tree: inodes that the session owns, with read-only layers mounted into it.

#[cfg(any(test, feature = "oracles"))]
mod audit;

use std::{collections::BTreeMap, sync::Arc};

use cellblock_exec::Limit;
use serde::{Deserialize, Serialize};

use super::{
    abi::{Errno, FileType, Stat},
    descriptors::Descriptors,
    layer::Layer,
    path::Place,
};
use crate::clock::realtime;

/// A file or directory: one of the session's own or one of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Node {
    Own(u32),
    /// The layer's place among the mounts, and the node in it.
    Layer(u16, u32),
}

impl Node {
    pub(crate) const ROOT: Node = Node::Own(0);
}

/// A guest's file system.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Fs {
    inodes: Vec<Option<Inode>>,
    free: Vec<u32>,
    pub(super) mounts: Vec<Mount>,
    pub(super) descriptors: Descriptors,
    /// What the session may write.
    pub(crate) quota: Quota,
    /// What it has written.
    used: Quota,
    /// Rises with every change; an inode's `changed` is its value at that inode's last change.
    pub(crate) changes: u64,
    /// The quota that was hit last, since the caller took it.
    pub(crate) hit: Option<Limit>,
}

/// Bytes and number of files: allowed, or used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Quota {
    pub(crate) bytes: u64,
    pub(crate) files: u64,
}

impl Quota {
    /// No limit at all: for what cellblock itself does while it makes an image.
    pub(crate) const UNLIMITED: Self = Self { bytes: u64::MAX, files: u64::MAX };
}

/// A mounted layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Mount {
    /// What the layer is called on disk, to find it again when a frozen session is resumed.
    pub(crate) key: String,
    /// `None` only between reading a frozen file system and attaching its layers.
    #[serde(skip)]
    pub(crate) layer: Option<Arc<Layer>>,
    parent: Node,
}

/// A file, directory, link or device of the session's own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Inode {
    pub(super) kind: Kind,
    /// Whether a directory entry leads here.
    linked: bool,
    /// How many descriptors are open on it.
    opens: u32,
    accessed: u64,
    modified: u64,
    pub(super) changed: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Kind {
    Directory {
        entries: Entries,
        parent: Node,
        /// Part of the image's layout: the guest cannot change what is in it.
        sealed: bool,
    },
    File {
        content: Content,
    },
    Link {
        target: Box<str>,
    },
    Device(Device),
}

/// The bytes of a file, shared with artifacts and forks until one side writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Content(pub(crate) Arc<Vec<u8>>);

impl Serialize for Content {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Content {
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
pub(crate) enum Device {
    Null,
    Zero,
    Random,
    /// Where the guest tells how a turn ended.
    Control,
}

/// The entries of a directory, by name and in the order they were made, so that a listing that is read in pieces
/// neither skips nor repeats when entries go meanwhile.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Entries {
    by_name: BTreeMap<Box<str>, (Node, u64)>,
    by_order: BTreeMap<u64, Box<str>>,
    next: u64,
}

impl Entries {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Node)> {
        self.by_name.iter().map(|(name, (node, _))| (&**name, *node))
    }

    fn get(&self, name: &str) -> Option<Node> {
        self.by_name.get(name).map(|(node, _)| *node)
    }

    fn insert(&mut self, name: &str, node: Node) {
        let order = self.next;
        self.next += 1;
        if let Some((_, old)) = self.by_name.insert(name.into(), (node, order)) {
            self.by_order.remove(&old);
        }
        self.by_order.insert(order, name.into());
    }

    fn remove(&mut self, name: &str) -> Option<Node> {
        let (node, order) = self.by_name.remove(name)?;
        self.by_order.remove(&order);
        Some(node)
    }
}

impl Fs {
    /// An empty file system with room for what the image's layout needs.
    pub(crate) fn new() -> Self {
        let mut fs = Self { quota: Quota::UNLIMITED, ..Self::default() };
        fs.inodes.push(Some(Inode::new(Kind::directory(Node::ROOT), 0)));
        fs
    }

    /// Starts counting anew, against this quota.
    pub(crate) fn set_quota(&mut self, quota: Quota) {
        self.quota = quota;
        self.used = Quota::default();
        self.hit = None;
    }

    /// Mounts `layer` at `path`, whose parent has to exist.
    pub(crate) fn mount(&mut self, path: &str, key: &str, layer: Arc<Layer>) -> Result<(), Errno> {
        let place = self.place(Node::ROOT, path)?;
        let index = u16::try_from(self.mounts.len()).map_err(|_| Errno::Nospc)?;
        let (parent, name) = (place.directory, place.name);
        self.mounts.push(Mount { key: key.to_owned(), layer: Some(layer), parent });
        self.directory_mut(parent)?.0.insert(name, Node::Layer(index, 0));
        self.entries_changed(parent);
        Ok(())
    }

    /// The mounted layers; those of a file system that was just read have to be attached.
    pub(crate) fn mounts_mut(&mut self) -> &mut [Mount] {
        &mut self.mounts
    }

    /// Makes the directories of `path` that do not exist yet.
    pub(crate) fn make_directories(&mut self, path: &str) -> Result<Node, Errno> {
        let mut at = Node::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = match self.child(at, name) {
                Ok(node) => node,
                Err(Errno::Noent) => self.add(at, name, Kind::directory(at))?,
                Err(error) => return Err(error),
            };
        }
        if self.is_directory(at) { Ok(at) } else { Err(Errno::Notdir) }
    }

    /// Keeps the guest from changing what is in this directory.
    pub(crate) fn seal(&mut self, path: &str) -> Result<(), Errno> {
        let node = self.lookup(Node::ROOT, path, false)?;
        match &mut self.inode_mut(node)?.kind {
            Kind::Directory { sealed, .. } => *sealed = true,
            _ => return Err(Errno::Notdir),
        }
        Ok(())
    }

    pub(super) fn inode(&self, node: Node) -> Option<&Inode> {
        match node {
            Node::Own(index) => self.inodes.get(index as usize)?.as_ref(),
            Node::Layer(..) => None,
        }
    }

    fn inode_mut(&mut self, node: Node) -> Result<&mut Inode, Errno> {
        match node {
            Node::Own(index) => {
                self.inodes.get_mut(index as usize).and_then(Option::as_mut).ok_or(Errno::Noent)
            }
            Node::Layer(..) => Err(Errno::Rofs),
        }
    }

    fn layer_node(&self, layer: u16, index: u32) -> Option<(&Layer, &super::layer::LayerNode)> {
        let layer = self.mounts.get(layer as usize)?.layer.as_deref()?;
        Some((layer, layer.node(index)?))
    }

    pub(super) fn is_directory(&self, node: Node) -> bool {
        match node {
            Node::Own(_) => {
                matches!(self.inode(node), Some(Inode { kind: Kind::Directory { .. }, .. }))
            }
            Node::Layer(layer, index) => {
                self.layer_node(layer, index).is_some_and(|(_, node)| !node.is_file())
            }
        }
    }

    /// Whether the node is only passed through: see [`LayerNode::hidden`](super::layer::LayerNode::hidden).
    pub(super) fn is_hidden(&self, node: Node) -> bool {
        match node {
            Node::Own(_) => false,
            Node::Layer(layer, index) => {
                self.layer_node(layer, index).is_none_or(|(_, node)| node.hidden)
            }
        }
    }

    pub(super) fn parent(&self, node: Node) -> Result<Node, Errno> {
        match node {
            Node::Own(_) => match self.inode(node).ok_or(Errno::Noent)? {
                // What was above a removed directory may be gone, too, and its number may be another's.
                Inode { kind: Kind::Directory { .. }, linked: false, .. } => Err(Errno::Noent),
                Inode { kind: Kind::Directory { parent, .. }, .. } => Ok(*parent),
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

    pub(super) fn child(&self, directory: Node, name: &str) -> Result<Node, Errno> {
        match directory {
            Node::Own(_) => match &self.inode(directory).ok_or(Errno::Noent)?.kind {
                Kind::Directory { entries, .. } => entries.get(name).ok_or(Errno::Noent),
                _ => Err(Errno::Notdir),
            },
            Node::Layer(layer, index) => {
                let (_, node) = self.layer_node(layer, index).ok_or(Errno::Noent)?;
                // A file may have children here: see `LayerNode`.
                let missing = if node.is_file() && node.children.is_empty() {
                    Errno::Notdir
                } else {
                    Errno::Noent
                };
                node.children.get(name).map(|child| Node::Layer(layer, *child)).ok_or(missing)
            }
        }
    }

    pub(crate) fn stat(&self, node: Node) -> Result<Stat, Errno> {
        match node {
            Node::Own(index) => {
                let inode = self.inode(node).ok_or(Errno::Noent)?;
                let (kind, size) = match &inode.kind {
                    Kind::Directory { .. } => (FileType::Directory, 0),
                    Kind::File { content } => (FileType::RegularFile, content.0.len() as u64),
                    Kind::Link { target } => (FileType::SymbolicLink, target.len() as u64),
                    Kind::Device(_) => (FileType::CharacterDevice, 0),
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

    /// The entries of a directory that come after `cookie`, each with the cookie that it is continued from, until `take`
    /// says no. A removed directory that is still open has none, as POSIX has it.
    pub(super) fn list(
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
                let Kind::Directory { entries, .. } =
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

    /// Reads at `offset` into `buffer`; gives the number of bytes read.
    pub(super) fn read_at(
        &self,
        node: Node,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        let content: &[u8] = match node {
            Node::Own(_) => match &self.inode(node).ok_or(Errno::Badf)?.kind {
                Kind::File { content } => &content.0,
                Kind::Device(device) => return read_device(*device, buffer),
                Kind::Directory { .. } => return Err(Errno::Isdir),
                Kind::Link { .. } => return Err(Errno::Inval),
            },
            Node::Layer(layer, index) => {
                let (layer, _) = self.layer_node(layer, index).ok_or(Errno::Badf)?;
                layer.content(index).ok_or(Errno::Isdir)?
            }
        };
        let rest = content.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    /// Writes at `offset`; the file grows as needed. All or nothing.
    pub(super) fn write_at(&mut self, node: Node, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::Fbig)?;
        let content = self.make_room(node, end.max(self.file_len(node)?))?;
        // There is room for `end` bytes in memory, so the number fits.
        let (start, end) = (offset as usize, end as usize);
        if content.len() == start {
            content.extend_from_slice(bytes);
        } else {
            if content.len() < end {
                content.resize(end, 0);
            }
            content[start..end].copy_from_slice(bytes);
        }
        Ok(())
    }

    pub(super) fn set_len(&mut self, node: Node, len: u64) -> Result<(), Errno> {
        let content = self.make_room(node, len)?;
        content.resize(len as usize, 0);
        content.shrink_to_fit();
        Ok(())
    }

    /// Puts a whole file into the workspace or elsewhere, its parents too.
    pub(crate) fn put_file(&mut self, path: &str, content: Arc<Vec<u8>>) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.make_directories(parent)?;
        if self.child(directory, name) == Err(Errno::Noent) {
            return self.add(directory, name, Kind::File { content: Content(content) }).map(drop);
        }
        let node = self.lookup(directory, name, true)?;
        self.charge(self.file_len(node)?, content.len() as u64)?;
        self.touch(node)?;
        match &mut self.inode_mut(node)?.kind {
            Kind::File { content: old } => old.0 = content,
            _ => return Err(Errno::Isdir),
        }
        Ok(())
    }

    /// Makes a symbolic link at `path`.
    pub(crate) fn make_link(&mut self, path: &str, target: &str) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.make_directories(parent)?;
        self.link(directory, name, target)
    }

    /// Puts a device at `path`.
    pub(crate) fn put_device(&mut self, path: &str, device: Device) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.make_directories(parent)?;
        self.add(directory, name, Kind::Device(device)).map(drop)
    }

    /// Adds an entry to a directory of the session's own.
    pub(super) fn add(&mut self, directory: Node, name: &str, kind: Kind) -> Result<Node, Errno> {
        // Before anything else: a program that only makes sure that a directory is there expects this error.
        if self.child(directory, name).is_ok() {
            return Err(Errno::Exist);
        }
        self.entries_mut(directory)?;
        if self.used.files >= self.quota.files {
            self.hit = Some(Limit::Files);
            return Err(Errno::Nospc);
        }
        let len = kind.len();
        self.charge(0, len)?;
        self.used.files += 1;
        self.changes += 1;
        let inode = Inode::new(kind, self.changes);
        let index = match self.free.pop() {
            Some(index) => {
                self.inodes[index as usize] = Some(inode);
                index
            }
            None => {
                self.inodes.push(Some(inode));
                (self.inodes.len() - 1) as u32
            }
        };
        self.entries_mut(directory)?.insert(name, Node::Own(index));
        self.entries_changed(directory);
        Ok(Node::Own(index))
    }

    /// Makes a symbolic link.
    pub(super) fn link(&mut self, directory: Node, name: &str, target: &str) -> Result<(), Errno> {
        self.add(directory, name, Kind::Link { target: target.into() }).map(drop)
    }

    /// Removes a file (or, with `directory`, an empty directory).
    pub(super) fn remove(&mut self, place: &Place<'_>, directory: bool) -> Result<(), Errno> {
        let Place { directory: parent, name, must_be_directory } = *place;
        let node = self.child(parent, name)?;
        self.entries_mut(parent)?;
        match (&self.inode(node).ok_or(Errno::Rofs)?.kind, directory) {
            (Kind::Directory { .. }, false) => return Err(Errno::Isdir),
            (Kind::Directory { entries, sealed, .. }, true) => {
                if *sealed {
                    return Err(Errno::Rofs);
                }
                if !entries.by_name.is_empty() {
                    return Err(Errno::Notempty);
                }
            }
            (_, true) => return Err(Errno::Notdir),
            (_, false) if must_be_directory => return Err(Errno::Notdir),
            (_, false) => {}
        }
        self.entries_mut(parent)?.remove(name);
        self.entries_changed(parent);
        self.inode_mut(node)?.linked = false;
        self.release(node);
        Ok(())
    }

    /// Moves an entry, replacing a file or an empty directory of the same kind.
    pub(super) fn rename(&mut self, from: &Place<'_>, to: &Place<'_>) -> Result<(), Errno> {
        let node = self.child(from.directory, from.name)?;
        self.entries_mut(from.directory)?;
        self.entries_mut(to.directory)?;
        let is_directory = match &self.inode(node).ok_or(Errno::Rofs)?.kind {
            Kind::Directory { sealed: true, .. } => return Err(Errno::Rofs),
            kind => matches!(kind, Kind::Directory { .. }),
        };
        if !is_directory && (from.must_be_directory || to.must_be_directory) {
            return Err(Errno::Notdir);
        }
        // A directory cannot become its own descendant.
        let mut ancestor = to.directory;
        while is_directory && ancestor != Node::ROOT {
            if ancestor == node {
                return Err(Errno::Inval);
            }
            ancestor = self.parent(ancestor)?;
        }
        let replaced = match self.child(to.directory, to.name) {
            Ok(old) if old == node => return Ok(()),
            Ok(old) => match (is_directory, self.is_directory(old)) {
                (true, false) => return Err(Errno::Notdir),
                (false, true) => return Err(Errno::Isdir),
                _ => true,
            },
            Err(Errno::Noent) => false,
            Err(error) => return Err(error),
        };
        if replaced {
            self.remove(to, is_directory)?;
        }
        self.entries_mut(from.directory)?.remove(from.name);
        self.entries_mut(to.directory)?.insert(to.name, node);
        self.entries_changed(from.directory);
        self.entries_changed(to.directory);
        self.changes += 1;
        let changes = self.changes;
        let inode = self.inode_mut(node)?;
        inode.changed = changes;
        if let Kind::Directory { parent, .. } = &mut inode.kind {
            *parent = to.directory;
        }
        Ok(())
    }

    /// Keeps the files but not the open descriptors: those of a lost interpreter give way to the image's.
    pub(crate) fn restart(&mut self, image: &Fs) {
        self.descriptors = image.descriptors.clone();
        self.inodes.iter_mut().flatten().for_each(|inode| inode.opens = 0);
        let open: Vec<Node> = self.descriptors.nodes().collect();
        open.into_iter().for_each(|node| self.retain(node));
        (0..self.inodes.len()).for_each(|index| self.release(Node::Own(index as u32)));
    }

    /// Counts a descriptor that was opened on `node`.
    pub(super) fn retain(&mut self, node: Node) {
        if let Ok(inode) = self.inode_mut(node) {
            inode.opens += 1;
        }
    }

    /// Counts a descriptor that was closed.
    pub(super) fn close(&mut self, node: Node) {
        if let Ok(inode) = self.inode_mut(node) {
            inode.opens = inode.opens.saturating_sub(1);
            self.release(node);
        }
    }

    /// Frees an inode that nothing leads to any more.
    fn release(&mut self, node: Node) {
        let Node::Own(index) = node else { return };
        match self.inode(node) {
            Some(inode) if !inode.linked && inode.opens == 0 => {
                self.used.bytes = self.used.bytes.saturating_sub(inode.kind.len());
                self.used.files = self.used.files.saturating_sub(1);
                self.inodes[index as usize] = None;
                self.free.push(index);
            }
            _ => {}
        }
    }

    pub(super) fn set_times(
        &mut self,
        node: Node,
        accessed: Option<u64>,
        modified: Option<u64>,
    ) -> Result<(), Errno> {
        let inode = self.inode_mut(node)?;
        inode.accessed = accessed.unwrap_or(inode.accessed);
        inode.modified = modified.unwrap_or(inode.modified);
        Ok(())
    }

    /// The entries of a directory that the guest may change. Nothing can be put into a directory that was removed while
    /// it was open: nothing would lead there, and a path through it could come back to itself.
    fn entries_mut(&mut self, directory: Node) -> Result<&mut Entries, Errno> {
        if self.inode(directory).is_some_and(|inode| !inode.linked) {
            return Err(Errno::Noent);
        }
        match self.directory_mut(directory)? {
            (_, true) => Err(Errno::Rofs),
            (entries, false) => Ok(entries),
        }
    }

    /// The entries of a directory, and whether it is sealed.
    fn directory_mut(&mut self, directory: Node) -> Result<(&mut Entries, bool), Errno> {
        match &mut self.inode_mut(directory)?.kind {
            Kind::Directory { entries, sealed, .. } => Ok((entries, *sealed)),
            _ => Err(Errno::Notdir),
        }
    }

    /// Python's import system looks at a directory's time to see whether its listing is still good.
    fn entries_changed(&mut self, directory: Node) {
        if let Ok(inode) = self.inode_mut(directory) {
            inode.modified = realtime();
        }
    }

    fn file_len(&self, node: Node) -> Result<u64, Errno> {
        match &self.inode(node).ok_or(Errno::Rofs)?.kind {
            Kind::File { content } => Ok(content.0.len() as u64),
            Kind::Directory { .. } => Err(Errno::Isdir),
            _ => Err(Errno::Inval),
        }
    }

    /// Charges for a file's new length and makes room for it in memory; the length itself stays as it is.
    fn make_room(&mut self, node: Node, len: u64) -> Result<&mut Vec<u8>, Errno> {
        let old = self.file_len(node)?;
        self.charge(old, len)?;
        let more = usize::try_from(len.saturating_sub(old)).unwrap_or(usize::MAX);
        if self.content_mut(node)?.try_reserve(more).is_err() {
            // The quota is larger than the host's memory.
            self.charge(len, old)?;
            self.hit = Some(Limit::Disk);
            return Err(Errno::Nospc);
        }
        self.touch(node)?;
        self.content_mut(node)
    }

    fn content_mut(&mut self, node: Node) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.inode_mut(node)?.kind {
            Kind::File { content } => Ok(Arc::make_mut(&mut content.0)),
            _ => Err(Errno::Inval),
        }
    }

    fn touch(&mut self, node: Node) -> Result<(), Errno> {
        self.changes += 1;
        let changes = self.changes;
        let inode = self.inode_mut(node)?;
        inode.changed = changes;
        inode.modified = realtime();
        Ok(())
    }

    fn charge(&mut self, from: u64, to: u64) -> Result<(), Errno> {
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

impl Inode {
    fn new(kind: Kind, changed: u64) -> Self {
        let now = realtime();
        Self { kind, linked: true, opens: 0, accessed: now, modified: now, changed }
    }
}

impl Kind {
    pub(super) fn directory(parent: Node) -> Self {
        Kind::Directory { entries: Entries::default(), parent, sealed: false }
    }

    /// What it costs of the byte quota.
    fn len(&self) -> u64 {
        match self {
            Kind::File { content } => content.0.len() as u64,
            Kind::Link { target } => target.len() as u64,
            Kind::Directory { .. } | Kind::Device(_) => 0,
        }
    }
}

fn read_device(device: Device, buffer: &mut [u8]) -> Result<usize, Errno> {
    /// One read gives no more than this, so that it cannot hold its thread for long.
    const MOST: usize = 64 * 1024;
    let count = buffer.len().min(MOST);
    let buffer = &mut buffer[..count];
    match device {
        Device::Null | Device::Control => return Ok(0),
        Device::Zero => buffer.fill(0),
        Device::Random => getrandom::fill(buffer).map_err(|_| Errno::Again)?,
    }
    Ok(count)
}
