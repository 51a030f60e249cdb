//! Finding nodes by their paths.

use super::{
    abi::Errno,
    inode::{InodeKind, Node},
    tree::Fs,
};

/// The maximum length of a path in bytes (Linux's `PATH_MAX`, which counts a zero at the end).
pub const MAX_PATH: usize = 4095;
/// The maximum length of a name in bytes (Linux's `NAME_MAX`).
pub const MAX_NAME: usize = 255;
/// The maximum number of symbolic links that one walk follows (Linux's `MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// The place of an entry that need not exist.
pub struct Place<'p> {
    pub directory: Node,
    pub name: &'p str,
    /// True if the path ended in a slash, so that the entry has to be a directory.
    pub must_be_directory: bool,
}

/// Checks the length and encoding of a path from the guest.
pub fn parse(bytes: &[u8]) -> Result<&str, Errno> {
    if bytes.len() > MAX_PATH {
        return Err(Errno::Nametoolong);
    }
    if bytes.contains(&0) {
        return Err(Errno::Inval);
    }
    std::str::from_utf8(bytes).map_err(|_| Errno::Ilseq)
}

impl Fs {
    /// Returns the node at `path`, relative to `base`. A link at its end is followed if `follow` is
    /// true.
    pub fn lookup(&self, base: Node, path: &str, follow: bool) -> Result<Node, Errno> {
        if path.is_empty() {
            return Err(Errno::Noent);
        }
        let mut links = MAX_LINKS;
        let node = self.walk(base, path, follow || path.ends_with('/'), &mut links)?;
        if self.is_hidden(node) {
            return Err(Errno::Noent);
        }
        Ok(node)
    }

    /// Returns the place that `path` names, relative to `base`. Its parent has to exist.
    pub fn place<'p>(&self, base: Node, path: &'p str) -> Result<Place<'p>, Errno> {
        let trimmed = path.trim_end_matches('/');
        if trimmed.is_empty() {
            return Err(if path.is_empty() { Errno::Noent } else { Errno::Exist });
        }
        let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
        if name == "." || name == ".." {
            return Err(Errno::Inval);
        }
        if name.len() > MAX_NAME {
            return Err(Errno::Nametoolong);
        }
        let base = if path.starts_with('/') { Node::ROOT } else { base };
        let directory = self.walk(base, parent, true, &mut MAX_LINKS.clone())?;
        if !self.is_directory(directory) {
            return Err(Errno::Notdir);
        }
        Ok(Place { directory, name, must_be_directory: trimmed.len() != path.len() })
    }

    fn walk(
        &self,
        base: Node,
        path: &str,
        follow_last: bool,
        links: &mut u32,
    ) -> Result<Node, Errno> {
        let mut at = if path.starts_with('/') { Node::ROOT } else { base };
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        while let Some(name) = names.next() {
            if name.len() > MAX_NAME {
                return Err(Errno::Nametoolong);
            }
            let next = match name {
                "." | ".." if !self.is_directory(at) => return Err(Errno::Notdir),
                "." => at,
                // The root is its own parent: there is nothing above it.
                ".." => self.parent(at)?,
                name => self.child(at, name)?,
            };
            at = match self.link_target(next) {
                Some(target) if follow_last || names.peek().is_some() => {
                    *links = links.checked_sub(1).ok_or(Errno::Loop)?;
                    // Each level of recursion uses one of the links that a walk may follow.
                    self.walk(at, target, true, links)?
                }
                _ => next,
            };
        }
        if path.ends_with('/') && !self.is_directory(at) {
            return Err(Errno::Notdir);
        }
        Ok(at)
    }

    fn link_target(&self, node: Node) -> Option<&str> {
        match &self.inode(node)?.kind {
            InodeKind::Link { target } => Some(target),
            _ => None,
        }
    }
}
