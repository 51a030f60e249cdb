//! The bytes and times of a file.

use std::sync::Arc;

use cellblock_exec::Limit;

use super::{
    abi::Errno,
    inode::{Device, InodeKind, Node},
    tree::Fs,
};
use crate::clock::realtime;

impl Fs {
    /// Reads at `offset` into `buffer`; returns the number of bytes read.
    pub fn read_at(&self, node: Node, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let content: &[u8] = match node {
            Node::Own(_) => match &self.inode(node).ok_or(Errno::Badf)?.kind {
                InodeKind::File { content } => &content.0,
                InodeKind::Device(device) => return read_device(*device, buffer),
                InodeKind::Directory { .. } => return Err(Errno::Isdir),
                InodeKind::Link { .. } => return Err(Errno::Inval),
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

    /// Writes all of `bytes` at `offset`, or nothing. The file grows as needed.
    pub fn write_at(&mut self, node: Node, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
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

    /// Sets the length of a file.
    pub fn set_len(&mut self, node: Node, len: u64) -> Result<(), Errno> {
        let content = self.make_room(node, len)?;
        content.resize(len as usize, 0);
        content.shrink_to_fit();
        Ok(())
    }

    /// Replaces the content of a file.
    pub fn replace(&mut self, node: Node, content: Arc<Vec<u8>>) -> Result<(), Errno> {
        self.charge(self.file_len(node)?, content.len() as u64)?;
        self.touch(node)?;
        match &mut self.inode_mut(node)?.kind {
            InodeKind::File { content: old } => old.0 = content,
            _ => return Err(Errno::Isdir),
        }
        Ok(())
    }

    /// Sets the times that are given.
    pub fn set_times(
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

    fn file_len(&self, node: Node) -> Result<u64, Errno> {
        match &self.inode(node).ok_or(Errno::Rofs)?.kind {
            InodeKind::File { content } => Ok(content.0.len() as u64),
            InodeKind::Directory { .. } => Err(Errno::Isdir),
            _ => Err(Errno::Inval),
        }
    }

    /// Charges a file's new length to the quota and reserves memory for it. The caller sets the
    /// length.
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
            InodeKind::File { content } => Ok(Arc::make_mut(&mut content.0)),
            _ => Err(Errno::Inval),
        }
    }

    /// Counts a change of the file.
    fn touch(&mut self, node: Node) -> Result<(), Errno> {
        self.changes += 1;
        let changes = self.changes;
        let inode = self.inode_mut(node)?;
        inode.changed = changes;
        inode.modified = realtime();
        Ok(())
    }
}

fn read_device(device: Device, buffer: &mut [u8]) -> Result<usize, Errno> {
    /// The maximum of one read, so that it cannot hold its thread for long.
    const MAX_BYTES: usize = 64 * 1024;
    let count = buffer.len().min(MAX_BYTES);
    let buffer = &mut buffer[..count];
    match device {
        Device::Null | Device::Control => return Ok(0),
        Device::Zero => buffer.fill(0),
        Device::Random => getrandom::fill(buffer).map_err(|_| Errno::Again)?,
    }
    Ok(count)
}
