//! Changing the tree: adding, removing and moving entries, and freeing inodes.

use std::sync::Arc;

use cellblock_exec::Limit;

use super::{
    abi::Errno,
    inode::{Device, Entries, FileContent, Inode, InodeKind, Node},
    layer::Layer,
    path::Place,
    tree::{Fs, Mount},
};
use crate::clock::realtime;

impl Fs {
    /// Mounts `layer` at `path`, whose parent has to exist.
    pub fn mount(&mut self, path: &str, key: &str, layer: Arc<Layer>) -> Result<(), Errno> {
        let place = self.place(Node::ROOT, path)?;
        let index = u16::try_from(self.mounts.len()).map_err(|_| Errno::Nospc)?;
        let (parent, name) = (place.directory, place.name);
        self.mounts.push(Mount { key: key.to_owned(), layer: Some(layer), parent });
        self.directory_mut(parent)?.0.insert(name, Node::Layer(index, 0));
        self.entries_changed(parent);
        Ok(())
    }

    /// Creates the directories of `path` that do not exist yet.
    pub fn make_directories(&mut self, path: &str) -> Result<Node, Errno> {
        let mut at = Node::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = match self.child(at, name) {
                Ok(node) => node,
                Err(Errno::Noent) => self.add(at, name, InodeKind::directory(at))?,
                Err(error) => return Err(error),
            };
        }
        if self.is_directory(at) { Ok(at) } else { Err(Errno::Notdir) }
    }

    /// Keeps the guest from changing the entries of a directory.
    pub fn seal(&mut self, path: &str) -> Result<(), Errno> {
        let node = self.lookup(Node::ROOT, path, false)?;
        match &mut self.inode_mut(node)?.kind {
            InodeKind::Directory { sealed, .. } => *sealed = true,
            _ => return Err(Errno::Notdir),
        }
        Ok(())
    }

    /// Writes a whole file at `path` and creates its parents.
    pub fn put_file(&mut self, path: &str, content: Arc<Vec<u8>>) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.make_directories(parent)?;
        if self.child(directory, name) == Err(Errno::Noent) {
            let file = InodeKind::File { content: FileContent(content) };
            return self.add(directory, name, file).map(drop);
        }
        let node = self.lookup(directory, name, true)?;
        self.replace(node, content)
    }

    /// Creates a symbolic link at `path` and its parents.
    pub fn make_link(&mut self, path: &str, target: &str) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.make_directories(parent)?;
        self.link(directory, name, target)
    }

    /// Creates a device at `path` and its parents.
    pub fn put_device(&mut self, path: &str, device: Device) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.make_directories(parent)?;
        self.add(directory, name, InodeKind::Device(device)).map(drop)
    }

    /// Adds an entry to a directory of the session's own.
    pub fn add(&mut self, directory: Node, name: &str, kind: InodeKind) -> Result<Node, Errno> {
        // Checked first: a program that only makes sure that a directory exists expects this error.
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

    /// Creates a symbolic link.
    pub fn link(&mut self, directory: Node, name: &str, target: &str) -> Result<(), Errno> {
        self.add(directory, name, InodeKind::Link { target: target.into() }).map(drop)
    }

    /// Removes a file or, with `directory`, an empty directory.
    pub fn remove(&mut self, place: &Place<'_>, directory: bool) -> Result<(), Errno> {
        let Place { directory: parent, name, must_be_directory } = *place;
        let node = self.child(parent, name)?;
        self.entries_mut(parent)?;
        match (&self.inode(node).ok_or(Errno::Rofs)?.kind, directory) {
            (InodeKind::Directory { .. }, false) => return Err(Errno::Isdir),
            (InodeKind::Directory { entries, sealed, .. }, true) => {
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
    pub fn rename(&mut self, from: &Place<'_>, to: &Place<'_>) -> Result<(), Errno> {
        let node = self.child(from.directory, from.name)?;
        self.entries_mut(from.directory)?;
        self.entries_mut(to.directory)?;
        let is_directory = match &self.inode(node).ok_or(Errno::Rofs)?.kind {
            InodeKind::Directory { sealed: true, .. } => return Err(Errno::Rofs),
            kind => matches!(kind, InodeKind::Directory { .. }),
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
        if let InodeKind::Directory { parent, .. } = &mut inode.kind {
            *parent = to.directory;
        }
        Ok(())
    }

    /// Keeps the files of a lost interpreter, and opens the image's descriptors in place of its
    /// own.
    pub fn restart(&mut self, image: &Fs) {
        self.descriptors = image.descriptors.clone();
        self.inodes.iter_mut().flatten().for_each(|inode| inode.opens = 0);
        let open: Vec<Node> = self.descriptors.nodes().collect();
        open.into_iter().for_each(|node| self.retain(node));
        (0..self.inodes.len()).for_each(|index| self.release(Node::Own(index as u32)));
    }

    /// Counts a descriptor that was opened on `node`.
    pub fn retain(&mut self, node: Node) {
        if let Ok(inode) = self.inode_mut(node) {
            inode.opens += 1;
        }
    }

    /// Counts a descriptor that was closed.
    pub fn close(&mut self, node: Node) {
        if let Ok(inode) = self.inode_mut(node) {
            inode.opens = inode.opens.saturating_sub(1);
            self.release(node);
        }
    }

    /// Frees an inode to which no entry and no descriptor leads any more.
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

    /// Returns the entries of a directory that the guest may change. A directory that was removed
    /// while it was open gets no new entries: no path would lead to them, and a path through the
    /// directory could come back to itself.
    fn entries_mut(&mut self, directory: Node) -> Result<&mut Entries, Errno> {
        if self.inode(directory).is_some_and(|inode| !inode.linked) {
            return Err(Errno::Noent);
        }
        match self.directory_mut(directory)? {
            (_, true) => Err(Errno::Rofs),
            (entries, false) => Ok(entries),
        }
    }

    /// Returns the entries of a directory, and true if it is sealed.
    fn directory_mut(&mut self, directory: Node) -> Result<(&mut Entries, bool), Errno> {
        match &mut self.inode_mut(directory)?.kind {
            InodeKind::Directory { entries, sealed, .. } => Ok((entries, *sealed)),
            _ => Err(Errno::Notdir),
        }
    }

    /// Updates a directory's time, by which Python's import system sees that its cached listing is
    /// outdated.
    fn entries_changed(&mut self, directory: Node) {
        if let Ok(inode) = self.inode_mut(directory) {
            inode.modified = realtime();
        }
    }
}
