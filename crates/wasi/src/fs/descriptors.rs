//! Open descriptors. They are plain data, so that an image or a fork has its open files open.

use serde::{Deserialize, Serialize};

use super::{abi::Errno, inode::Node};

/// The maximum number of descriptors that a guest can have open.
const MAX_OPEN: usize = 1024;

/// The stream or file that a descriptor is open on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DescriptorTarget {
    Stdin,
    Stdout,
    Stderr,
    Node(Node),
}

/// An open descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    pub target: DescriptorTarget,
    pub offset: u64,
    pub append: bool,
    pub read: bool,
    pub write: bool,
}

/// The table of open descriptors: 0 to 2 are the standard streams, 3 is the root directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors(Vec<Option<Descriptor>>);

/// The root directory, the only preopened one.
pub const ROOT: u32 = 3;

impl Default for Descriptors {
    fn default() -> Self {
        let stream = |target, read| {
            Some(Descriptor { target, offset: 0, append: false, read, write: !read })
        };
        Self(vec![
            stream(DescriptorTarget::Stdin, true),
            stream(DescriptorTarget::Stdout, false),
            stream(DescriptorTarget::Stderr, false),
            stream(DescriptorTarget::Node(Node::ROOT), true),
        ])
    }
}

impl Descriptors {
    pub fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.0.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    pub fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.0.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::Badf)
    }

    /// True if no more descriptors can be opened.
    pub fn is_full(&self) -> bool {
        self.0.len() >= MAX_OPEN && self.0.iter().all(Option::is_some)
    }

    /// Opens the lowest free number, as POSIX requires.
    pub fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let free = self.0.iter().position(Option::is_none);
        let fd = match free {
            Some(fd) => fd,
            None if self.0.len() < MAX_OPEN => {
                self.0.push(None);
                self.0.len() - 1
            }
            None => return Err(Errno::Mfile),
        };
        self.0[fd] = Some(descriptor);
        Ok(fd as u32)
    }

    pub fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        self.0.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::Badf)
    }

    /// Moves `from` to `to`; returns the descriptor that was open as `to`.
    pub fn renumber(&mut self, from: u32, to: u32) -> Result<Option<Descriptor>, Errno> {
        self.get(to)?;
        let moved = self.remove(from)?;
        Ok(self.0[to as usize].replace(moved))
    }

    /// Returns the node of each descriptor that is open on one.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        self.0.iter().flatten().filter_map(|descriptor| match descriptor.target {
            DescriptorTarget::Node(node) => Some(node),
            _ => None,
        })
    }
}
