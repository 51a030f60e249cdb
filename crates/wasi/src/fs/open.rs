//! Open files: opening and closing descriptors, and reading and changing what they are open on.

use super::{
    abi::{Errno, FDFLAG_APPEND, FileType, encode_fdstat, fstflags, oflags, rights},
    descriptors::{Descriptor, DescriptorTarget},
    inode::{Device, FileContent, InodeKind, Node},
    tree::Fs,
};
use crate::clock::realtime;

impl Fs {
    /// Opens the file at `path`, relative to `base`; returns its descriptor.
    pub fn open(
        &mut self,
        base: Node,
        path: &str,
        follow: bool,
        oflags: u32,
        rights: u64,
        fdflags: u32,
    ) -> Result<u32, Errno> {
        // Checked first: a call that fails for this reason must not create or truncate a file.
        if self.descriptors.is_full() {
            return Err(Errno::Mfile);
        }
        let write = rights & rights::FD_WRITE != 0;
        let create = oflags & oflags::CREATE != 0;
        let exclusive = create && oflags & oflags::EXCLUSIVE != 0;
        let node = match self.lookup(base, path, follow && !exclusive) {
            Ok(_) if exclusive => return Err(Errno::Exist),
            Ok(node) => node,
            Err(Errno::Noent) if create => {
                let place = self.place(base, path)?;
                if place.must_be_directory || oflags & oflags::DIRECTORY != 0 {
                    return Err(Errno::Isdir);
                }
                // Fails for a link without a target: its target is not created.
                let file = InodeKind::File { content: FileContent::default() };
                self.add(place.directory, place.name, file)?
            }
            Err(error) => return Err(error),
        };
        let stat = self.stat(node)?;
        match stat.kind {
            kind if kind != FileType::Directory && oflags & oflags::DIRECTORY != 0 => {
                return Err(Errno::Notdir);
            }
            FileType::SymbolicLink => return Err(Errno::Loop),
            FileType::Directory if create || write || oflags & oflags::TRUNCATE != 0 => {
                return Err(Errno::Isdir);
            }
            FileType::RegularFile if write && matches!(node, Node::Layer(..)) => {
                return Err(Errno::Rofs);
            }
            FileType::RegularFile if oflags & oflags::TRUNCATE != 0 => self.set_len(node, 0)?,
            _ => {}
        }
        let fd = self.descriptors.insert(Descriptor {
            target: DescriptorTarget::Node(node),
            offset: 0,
            append: fdflags & FDFLAG_APPEND != 0,
            read: rights & rights::FD_READ != 0,
            write,
        })?;
        self.retain(node);
        Ok(fd)
    }

    pub fn close_descriptor(&mut self, fd: u32) -> Result<(), Errno> {
        if let DescriptorTarget::Node(node) = self.descriptors.remove(fd)?.target {
            self.close(node);
        }
        Ok(())
    }

    /// Returns the node that a descriptor is open on.
    pub fn node(&self, fd: u32) -> Result<Node, Errno> {
        match self.descriptors.get(fd)?.target {
            DescriptorTarget::Node(node) => Ok(node),
            _ => Err(Errno::Notdir),
        }
    }

    /// Returns the node that a descriptor is open on for writing.
    pub fn writable(&self, fd: u32) -> Result<Node, Errno> {
        let descriptor = self.descriptors.get(fd)?;
        match descriptor.target {
            DescriptorTarget::Node(node) if descriptor.write => Ok(node),
            _ => Err(Errno::Inval),
        }
    }

    pub fn is_control(&self, node: Node) -> bool {
        self.inode(node)
            .is_some_and(|inode| matches!(inode.kind, InodeKind::Device(Device::Control)))
    }

    /// True if the descriptor is open on the control device for reading.
    pub fn reads_control(&self, fd: u32) -> bool {
        self.descriptors.get(fd).is_ok_and(|descriptor| match descriptor.target {
            DescriptorTarget::Node(node) => descriptor.read && self.is_control(node),
            _ => false,
        })
    }

    /// Returns the `fdstat` record of a descriptor.
    pub fn fdstat(&self, fd: u32) -> Result<[u8; 24], Errno> {
        let descriptor = self.descriptors.get(fd)?;
        let kind = match descriptor.target {
            DescriptorTarget::Node(node) => self.stat(node)?.kind,
            _ => FileType::CharacterDevice,
        };
        let mut rights = rights::ALL;
        if !descriptor.read {
            rights &= !rights::FD_READ;
        }
        if !descriptor.write && kind != FileType::Directory {
            rights &= !rights::FD_WRITE;
        }
        Ok(encode_fdstat(kind, if descriptor.append { FDFLAG_APPEND as u16 } else { 0 }, rights))
    }

    /// Moves a descriptor's offset; returns the new one.
    pub fn seek(&mut self, fd: u32, offset: i64, whence: u32) -> Result<u64, Errno> {
        let descriptor = self.descriptors.get(fd)?;
        let DescriptorTarget::Node(node) = descriptor.target else { return Err(Errno::Spipe) };
        let from = match whence {
            0 => 0,
            1 => descriptor.offset,
            2 => self.stat(node)?.size,
            _ => return Err(Errno::Inval),
        };
        let to = from
            .checked_add_signed(offset)
            .filter(|to| i64::try_from(*to).is_ok())
            .ok_or(Errno::Inval)?;
        self.descriptors.get_mut(fd)?.offset = to;
        Ok(to)
    }

    /// Sets the times that `flags` choose: to the given ones, or to the present.
    pub fn set_times_by_flags(
        &mut self,
        node: Node,
        accessed: u64,
        modified: u64,
        flags: u32,
    ) -> Result<(), Errno> {
        let choose =
            |set: u32, set_now: u32, given: u64| match (flags & set != 0, flags & set_now != 0) {
                (true, true) => Err(Errno::Inval),
                (true, false) => Ok(Some(given)),
                (false, true) => Ok(Some(realtime())),
                (false, false) => Ok(None),
            };
        let accessed = choose(fstflags::ATIME, fstflags::ATIME_NOW, accessed)?;
        let modified = choose(fstflags::MTIME, fstflags::MTIME_NOW, modified)?;
        self.set_times(node, accessed, modified)
    }
}
