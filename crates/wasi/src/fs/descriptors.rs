//! Open descriptors. They are plain data, so that an image or a fork has its open files open.

use serde::{Deserialize, Serialize};

use super::{abi::Errno, tree::Node};

/// How many descriptors a guest can have open.
const MOST: usize = 1024;

/// What a descriptor stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Target {
    Stdin,
    Stdout,
    Stderr,
    Node(Node),
}

/// An open descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Descriptor {
    pub(crate) target: Target,
    pub(crate) offset: u64,
    pub(crate) append: bool,
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// The table of open descriptors: 0 to 2 are the standard streams, 3 is the root directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Descriptors(Vec<Option<Descriptor>>);

/// The root directory, the only preopened one.
pub(crate) const ROOT: u32 = 3;

impl Default for Descriptors {
    fn default() -> Self {
        let stream = |target, read| {
            Some(Descriptor { target, offset: 0, append: false, read, write: !read })
        };
        Self(vec![
            stream(Target::Stdin, true),
            stream(Target::Stdout, false),
            stream(Target::Stderr, false),
            stream(Target::Node(Node::ROOT), true),
        ])
    }
}

impl Descriptors {
    pub(crate) fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.0.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    pub(crate) fn get_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.0.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::Badf)
    }

    /// Whether no more can be opened.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MOST && self.0.iter().all(Option::is_some)
    }

    /// Takes the lowest free number, as POSIX does.
    pub(crate) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let free = self.0.iter().position(Option::is_none);
        let fd = match free {
            Some(fd) => fd,
            None if self.0.len() < MOST => {
                self.0.push(None);
                self.0.len() - 1
            }
            None => return Err(Errno::Mfile),
        };
        self.0[fd] = Some(descriptor);
        Ok(fd as u32)
    }

    pub(crate) fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        self.0.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::Badf)
    }

    /// Moves `from` to `to`; gives back what was open as `to`.
    pub(crate) fn renumber(&mut self, from: u32, to: u32) -> Result<Option<Descriptor>, Errno> {
        self.get(to)?;
        let moved = self.remove(from)?;
        Ok(self.0[to as usize].replace(moved))
    }

    /// All that are open on nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node> {
        self.0.iter().flatten().filter_map(|descriptor| match descriptor.target {
            Target::Node(node) => Some(node),
            _ => None,
        })
    }
}
